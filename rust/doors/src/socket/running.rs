//! A client's part in running handlers for the owner: what it has offered, what it was given, what is asked next.

use std::collections::BTreeMap;
use std::sync::Arc;

use forebay_core::cluster::{on_machine, Stopped};
use forebay_engine::base::error::Reply;
use forebay_engine::base::time::machine_ms;
use forebay_engine::dispatch::attempts::{Settled, Token};
use forebay_engine::environments::assignment::{assignments, AssignedTask, Assignment};
use forebay_engine::runtime::runners::{Accepted, Offer, QUESTIONS};

/// Whether this process may run what the owner gives it.
type MayRun = dyn Fn() -> bool + Send + Sync;
/// What time it is at the store.
type StoreMs = dyn Fn() -> Option<u64> + Send + Sync;

/// Outcomes of so many bytes go together. One alone may have more; the greatest frame has several times as many.
const OUTCOME_BYTES: usize = 8 << 20;
/// How an attempt has ended that was not begun, because this process ends.
const INTERRUPTED: u8 = 4;

#[derive(Default)]
pub(super) struct Running {
    /// This process's name among those that share the store, and its lease; `None`: it runs nothing for others.
    lease: Option<(String, Arc<MayRun>)>,
    store_ms: Option<Box<StoreMs>>,
    /// Its functions, and whether each takes a batch.
    functions: Vec<(String, bool)>,
    /// All functions are declared that are declared at a start.
    has_started: bool,
    /// How many functions the owner was told of.
    offered: usize,
    /// The owner's epoch, once it has accepted.
    pub(super) epoch: Option<u64>,
    /// What the owner calls this connection.
    connection: Option<u64>,
    /// How many questions for work are not answered.
    pub(super) open: usize,
    answers: Vec<Vec<u8>>,
    /// What was given and has not ended, with the function that runs it.
    out: BTreeMap<Token, usize>,
    /// It takes nothing more.
    leaves: bool,
}

/// What is to be done next.
pub(super) enum Next {
    /// Nothing.
    Nothing,
    /// Say which functions there are.
    Offer(Offer),
    /// Hand outcomes over, and ask for work: so many questions.
    Ask(Vec<Vec<Settled>>),
    /// Say that the owner is lost: it may hold this process for dead, or be held for dead itself.
    GiveUp,
}

impl Running {
    /// Run handlers for the owner while that is so. `member`: this process's name.
    pub(super) fn begin(&mut self, member: &str, may_run: impl Fn() -> bool + Send + Sync + 'static) {
        let may_run: Arc<MayRun> = Arc::new(may_run);
        self.lease = Some((member.to_owned(), may_run));
    }

    /// Deadlines are in the time that this says.
    pub(super) fn dates_by(&mut self, store_ms: impl Fn() -> Option<u64> + Send + Sync + 'static) {
        self.store_ms = Some(Box::new(store_ms));
    }

    /// A deadline as this machine's clock says it.
    fn on_machine(&self, deadline_ms: u64) -> u64 {
        let now_ms = self.store_ms.as_ref().and_then(|store_ms| store_ms());
        now_ms.map_or(deadline_ms, |now_ms| on_machine(deadline_ms, now_ms, machine_ms()))
    }

    /// What is asked before work is begun. It is asked without the client's lock.
    pub(super) fn may_run(&self) -> Option<Arc<MayRun>> {
        self.lease.as_ref().map(|(_, may_run)| may_run.clone())
    }

    /// A function of this process; its number.
    pub(super) fn function(&mut self, name: &str, takes_batch: bool) -> usize {
        let known = self.functions.iter().position(|(known, _)| known == name);
        known.unwrap_or_else(|| {
            self.functions.push((name.to_owned(), takes_batch));
            self.functions.len() - 1
        })
    }

    pub(super) fn start(&mut self) {
        self.has_started = true;
    }

    /// Take nothing more.
    pub(super) fn leave(&mut self) -> Next {
        self.leaves = true;
        if self.epoch.is_some() {
            self.ask(Vec::new())
        } else {
            Next::Nothing
        }
    }

    /// How many attempts this process takes at once, of so many at most.
    pub(super) fn most(&self, most: usize) -> u32 {
        if self.leaves {
            0
        } else {
            most as u32
        }
    }

    /// Nothing that was given is left to be done.
    pub(super) fn is_idle(&self) -> bool {
        self.out.is_empty() && self.answers.is_empty()
    }

    /// Time has passed.
    pub(super) fn look(&mut self, may_run: bool) -> Next {
        let Some((member, _)) = self.lease.as_ref().filter(|_| self.has_started && !self.leaves) else {
            return Next::Nothing;
        };
        if !may_run {
            return if self.out.is_empty() { Next::Nothing } else { Next::GiveUp };
        }
        if self.offered == self.functions.len() {
            return Next::Nothing;
        }
        self.offered = self.functions.len();
        Next::Offer(Offer { member: member.clone(), functions: self.functions.clone() })
    }

    pub(super) fn accepted(&mut self, answer: &[u8]) {
        let accepted = serde_json::from_slice::<Accepted>(answer).ok();
        self.epoch = accepted.as_ref().map(|accepted| accepted.epoch);
        self.connection = accepted.and_then(|accepted| accepted.connection);
    }

    /// What is to be said of this connection when all that was begun over it has ended; `None`: the owner gave nothing, or is of an earlier
    /// release.
    pub(super) fn stopped(&self) -> Option<Stopped> {
        Some(Stopped { epoch: self.epoch?, connection: self.connection? })
    }

    /// The answer to a question has come; whether there is something to do.
    pub(super) fn answered(&mut self, reply: Reply) -> bool {
        self.open -= 1;
        match reply {
            Reply::Assignments(bytes) if !bytes.is_empty() => self.answers.push(bytes),
            _ => {}
        }
        !self.answers.is_empty()
    }

    /// Take what has come, and hand over how attempts have ended: `(what is to be done, for which function, what to ask)`.
    pub(super) fn exchange(&mut self, mut settled: Vec<Settled>, may_run: bool) -> (Vec<(Assignment, usize)>, Next) {
        let answers = std::mem::take(&mut self.answers);
        if !answers.is_empty() && !may_run {
            // The owner may have given it to somebody else by now.
            return (Vec::new(), Next::GiveUp);
        }
        // What ended before this connection was made is nobody's.
        settled.retain(|one| self.out.remove(&one.token).is_some());
        let mut found = Vec::new();
        for bytes in answers {
            let Some(given) = assignments(&bytes) else { return (Vec::new(), Next::GiveUp) };
            for mut assignment in given {
                match &mut assignment.task {
                    AssignedTask::Run(run) if !self.leaves => {
                        run.deadline_ms = self.on_machine(run.deadline_ms);
                        let function = run.function;
                        self.out.insert(assignment.token, function);
                        found.push((assignment, function));
                    }
                    AssignedTask::Run(_) => {
                        settled.push(Settled {
                            token: assignment.token,
                            status: INTERRUPTED,
                            body: None,
                            duration_ns: 0,
                        });
                    }
                    AssignedTask::Stop | AssignedTask::Interrupt => {
                        if let Some(&function) = self.out.get(&assignment.token) {
                            found.push((assignment, function));
                        }
                    }
                }
            }
        }
        let asks = !settled.is_empty() || (self.open < QUESTIONS && !self.leaves);
        (found, if asks && self.epoch.is_some() { self.ask(settled) } else { Next::Nothing })
    }

    fn ask(&mut self, settled: Vec<Settled>) -> Next {
        let mut parts = divided(settled);
        if !self.leaves {
            parts.resize_with(parts.len().max(QUESTIONS.saturating_sub(self.open)), Vec::new);
        }
        self.open += parts.len();
        Next::Ask(parts)
    }
}

/// Outcomes in parts that are not too large for a frame; one that is empty where there are none.
fn divided(settled: Vec<Settled>) -> Vec<Vec<Settled>> {
    let (mut parts, mut bytes) = (vec![Vec::new()], 0);
    for one in settled {
        let more = one.body.as_ref().map_or(0, Vec::len);
        if bytes > 0 && bytes + more > OUTCOME_BYTES {
            parts.push(Vec::new());
            bytes = 0;
        }
        bytes += more;
        if let Some(last) = parts.last_mut() {
            last.push(one);
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn running() -> Running {
        let mut running = Running::default();
        running.begin("m", || true);
        assert_eq!(running.function("f", false), 0);
        assert_eq!(running.function("g", true), 1);
        assert_eq!(running.function("f", false), 0);
        running
    }

    fn asked(next: Next) -> usize {
        let Next::Ask(parts) = next else { panic!("no question") };
        parts.len()
    }

    #[test]
    fn functions_are_offered_once_all_are_declared_and_again_when_there_are_more() {
        let mut running = running();
        assert!(matches!(running.look(true), Next::Nothing));
        running.start();
        assert!(matches!(running.look(false), Next::Nothing), "nothing may be run at the moment");
        let Next::Offer(offer) = running.look(true) else { panic!("no offer") };
        assert_eq!(offer.functions, [("f".into(), false), ("g".into(), true)]);
        assert!(matches!(running.look(true), Next::Nothing));
        running.function("h", false);
        assert!(matches!(running.look(true), Next::Offer(_)));
    }

    #[test]
    fn some_questions_are_open_and_outcomes_are_told_at_once() {
        let mut running = running();
        assert!(matches!(running.exchange(Vec::new(), true).1, Next::Nothing), "nobody has accepted");
        running.accepted(br#"{"epoch": 7}"#);
        assert_eq!(asked(running.exchange(Vec::new(), true).1), QUESTIONS);
        assert!(matches!(running.exchange(Vec::new(), true).1, Next::Nothing));
        let stale = Settled { token: 3, status: 0, body: None, duration_ns: 0 };
        assert!(matches!(running.exchange(vec![stale], true).1, Next::Nothing), "it was not given by this owner");
        assert!(!running.answered(Reply::Assignments(Vec::new())));
        assert_eq!(asked(running.exchange(Vec::new(), true).1), 1);
        running.out = [(3, 0)].into();
        let ended = Settled { token: 3, status: 0, body: None, duration_ns: 0 };
        assert_eq!(asked(running.exchange(vec![ended], true).1), 1, "it takes the place of the oldest");
        assert_eq!((running.epoch, running.open), (Some(7), QUESTIONS + 1));
    }

    #[test]
    fn what_has_stopped_is_named_by_epoch_and_connection_where_the_owner_says_both() {
        let mut running = running();
        assert_eq!(running.stopped(), None, "nobody has accepted");
        running.accepted(br#"{"epoch": 7, "connection": 3}"#);
        assert_eq!(running.stopped(), Some(Stopped { epoch: 7, connection: 3 }));
        running.accepted(br#"{"epoch": 7}"#);
        assert_eq!((running.stopped(), running.epoch), (None, Some(7)), "an owner of an earlier release");
    }

    #[test]
    fn what_comes_when_the_owner_may_have_given_it_to_another_is_not_begun() {
        let mut running = running();
        running.accepted(br#"{"epoch": 7}"#);
        asked(running.exchange(Vec::new(), true).1);
        assert!(running.answered(Reply::Assignments(vec![1])));
        let (begun, next) = running.exchange(Vec::new(), false);
        assert!(begun.is_empty() && matches!(next, Next::GiveUp));
    }

    /// Twelve responses of 5.5 MB that ended at the same moment were one frame that was too large. The connection ended, and all that this
    /// process ran had failed.
    #[test]
    fn large_outcomes_that_end_together_go_in_several_frames() {
        let mut running = running();
        running.accepted(br#"{"epoch": 7}"#);
        running.out = (0..14).map(|token| (token, 0)).collect();
        let large = |token| Settled { token, status: 0, body: Some(vec![b'1'; 5_500_000]), duration_ns: 0 };
        let small = |token| Settled { token, status: 0, body: None, duration_ns: 0 };
        let ended = (0..12).map(large).chain((12..14).map(small)).collect();
        let Next::Ask(parts) = running.exchange(ended, true).1 else { panic!("no question") };
        let tokens: Vec<Token> = parts.iter().flatten().map(|one| one.token).collect();
        assert_eq!(tokens, (0..14).collect::<Vec<_>>());
        let bytes = |part: &[Settled]| part.iter().filter_map(|one| one.body.as_ref()).map(Vec::len).sum::<usize>();
        assert!(parts.iter().all(|part| bytes(part) <= OUTCOME_BYTES));
    }
}
