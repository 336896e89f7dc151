//! Runners: other processes that share the store and run handlers for this one, which owns it.
//!
//! ```text
//! offers      a process says which functions it has. What it ran before has stopped
//! exchanges   it hands outcomes over and waits for work; it has some such questions open, also while it works
//! given       work that has its permit goes to whoever has the least under way, this process's own loop among them
//! gone        its process is dead, or has stopped what it ran: each of its attempts has failed, as one in a process that died. A process
//!             that has lost its connection says so in the store
//! ```
//!
//! Only a process that is known to live is given anything, and nothing is taken back from one that may still run it. What a runner leaves
//! over is handed out as it is without runners.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use forebay_core::cluster::Stopped;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::api::account::Process;
use crate::api::Empty;
use crate::base::error::{EngineError, Reply, Waiter};
use crate::commit::done;
use crate::commit::done::Done;
use crate::dispatch::attempts::{Settled, Token, Work};
use crate::dispatch::Dispatch;
use crate::environments::assignment;
use crate::environments::faults::Fault;
use crate::environments::tails::Tails;
use crate::metrics::Metric;
use crate::observe::operator_events::OperatorEvent;
use crate::runtime::rooms::Rooms;
use crate::runtime::{environments, hand_out, settle};

/// Most functions that one process offers.
const OFFERED_MAX: usize = 10_000;
/// Most attempts that one process has under way, whatever it says itself.
const OUT_MAX: usize = 1_024;
/// How many questions for work a process has open. Each is answered with what is ready then: of a hundred things that come one after the
/// other it gets its share, and not the first alone.
pub const QUESTIONS: usize = 32;
/// An answer with so many bytes of work is not added to.
const ANSWER_BYTES: usize = 8 << 20;
/// Work of more bytes than that does not go to another process.
const WORK_BYTES_MAX: usize = 32 << 20;

/// What the gauge of attempts calls this process.
const OWNER: &str = "owner";

/// What a process says that offers to run handlers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Offer {
    /// Its name among those that share the store.
    pub member: String,
    /// Its functions, and whether each takes a batch rather than Lambda's event.
    pub functions: Vec<(String, bool)>,
}

/// The answer.
#[derive(Debug, Serialize, Deserialize)]
pub struct Accepted {
    /// The owner's epoch, which is the fencing token of all that is run for it.
    pub epoch: u64,
    /// What the owner calls the connection. An owner of an earlier release does not say it.
    #[serde(default)]
    pub connection: Option<u64>,
}

/// All of them, and what they run.
#[derive(Default)]
pub(crate) struct Runners {
    /// By the number of the connection.
    by_client: BTreeMap<u64, Runner>,
    /// Who has an attempt.
    given: HashMap<Token, u64>,
    /// What turned out to be too large for another process.
    kept: Vec<Work>,
    /// The invocations whose lines are wanted: those of other processes are not seen here.
    pub(crate) tails: Arc<Tails>,
}

#[derive(Default)]
struct Runner {
    member: String,
    offered: HashMap<String, (u32, bool)>,
    /// Which of its functions runs a handler's work, for the handlers that were looked at.
    by_handler: Vec<Option<u32>>,
    /// How many attempts it takes at once; 0: none any more.
    most: usize,
    out: BTreeSet<Token>,
    /// Its open questions, the oldest first.
    waiting: VecDeque<Waiter>,
    /// The next answer.
    answer: Vec<u8>,
    /// It was seen among the living processes.
    was_seen: bool,
}

impl Runner {
    fn takes(&self) -> bool {
        let is_open = self.was_seen && !self.waiting.is_empty() && self.answer.len() < ANSWER_BYTES;
        is_open && self.out.len() < self.most.min(OUT_MAX)
    }

    /// Learn which of its functions run the handlers that were not looked at.
    fn learn(&mut self, dispatch: &Dispatch) {
        for function in &dispatch.functions[self.by_handler.len()..] {
            let offered = function.place.and_then(|_| self.offered.get(&function.qualified()));
            let fits = offered.filter(|(_, takes_batch)| *takes_batch != function.as_event);
            self.by_handler.push(fits.map(|(number, _)| *number));
        }
    }
}

impl Runners {
    /// Have an attempt stopped by the process that runs it; false: this process runs it. `interrupted`: it will be run again.
    pub(crate) fn stop(&mut self, token: Token, interrupted: bool) -> bool {
        let Some(runner) = self.given.get(&token).and_then(|client| self.by_client.get_mut(client)) else {
            return false;
        };
        assignment::put_stop(token, interrupted, &mut runner.answer);
        true
    }

    /// Work that stays here although it was meant for another process.
    pub(crate) fn kept(&mut self) -> Vec<Work> {
        std::mem::take(&mut self.kept)
    }

    /// Stop what other processes run. It will be run again.
    pub(crate) fn interrupt(&mut self) {
        let given: Vec<Token> = self.given.keys().copied().collect();
        for token in given {
            self.stop(token, true);
        }
    }

    /// The engine has ended: nobody is answered any more.
    pub(crate) fn close(&mut self) {
        self.by_client.clear();
    }
}

/// The runners, with all that is theirs to give.
pub(crate) struct RunnerRoom<'a>(pub(crate) &'a mut Rooms);

impl RunnerRoom<'_> {
    /// Give runners what is theirs of the work that is ready, and answer those for whom there is something.
    pub(crate) fn feed(&mut self) {
        if self.0.runners.by_client.is_empty() {
            return;
        }
        if self.0.ctx.started && !self.0.ctx.is_paused() {
            self.share();
        }
        for runner in self.0.runners.by_client.values_mut() {
            // A question too many takes the place of the oldest.
            while runner.waiting.len() > QUESTIONS
                || (!runner.waiting.is_empty() && (runner.most == 0 || !runner.answer.is_empty()))
            {
                let Some(waiter) = runner.waiting.pop_front() else { break };
                self.0.ctx.answer(waiter, Ok(Reply::Assignments(std::mem::take(&mut runner.answer))));
            }
        }
    }

    /// Give what is ready to whoever has the least under way, until that is this process.
    fn share(&mut self) {
        let mut unable = BTreeSet::new();
        let mut has_given = false;
        while let Some((client, own)) = self.next_runner(&unable) {
            let runners = &mut self.0.runners;
            let Some(runner) = runners.by_client.get_mut(&client) else { break };
            if runner.out.len() >= own {
                break;
            }
            runner.learn(&self.0.dispatch);
            let (Dispatch { ready_list, attempts, .. }, by_handler) = (&mut self.0.dispatch, &runner.by_handler);
            let function =
                |token| attempts.get(token).and_then(|attempt| by_handler.get(attempt.handler).copied().flatten());
            let next = ready_list.next_for_another(!runners.tails.any(), |token| function(token).is_some());
            match next.and_then(|token| function(token).map(|function| (token, function))) {
                Some((token, function)) => {
                    self.give_to(client, token, function);
                    has_given = true;
                }
                None => {
                    unable.insert(client);
                }
            }
        }
        if has_given && !environments::attempts_are_counted(self.0) {
            self.0.runners.by_client.values_mut().for_each(|runner| runner.answer.clear());
        }
    }

    /// The runner with the least under way, and how much this process would have if it kept all but one of what is ready.
    fn next_runner(&self, unable: &BTreeSet<u64>) -> Option<(u64, usize)> {
        let ready = self.0.dispatch.ready_list.shared();
        if ready == 0 {
            return None;
        }
        let able = self.0.runners.by_client.iter().filter(|(client, one)| one.takes() && !unable.contains(*client));
        let (client, _) = able.min_by_key(|(_, one)| one.out.len())?;
        let in_processes: usize = self.0.environments.by_handler.values().map(|pool| pool.working.len()).sum();
        let elsewhere = self.0.runners.given.len() + in_processes;
        Some((*client, (self.0.dispatch.ready_list.runs() + ready - 1).saturating_sub(elsewhere)))
    }

    fn give_to(&mut self, client: u64, token: Token, function: u32) {
        let Some((work, handed)) = hand_out::hand_out(self.0, token) else { return };
        let Some(runner) = self.0.runners.by_client.get_mut(&client) else { return };
        let begins = runner.answer.len();
        let is_put = assignment::put(&work, function, (handed.reads, handed.reports), &mut runner.answer);
        if is_put && runner.answer.len() - begins <= WORK_BYTES_MAX {
            runner.out.insert(token);
            self.0.runners.given.insert(token, client);
        } else {
            runner.answer.truncate(begins);
            self.0.runners.kept.push(work);
            self.0.ctx.ring = true;
        }
    }

    pub(crate) fn offers(&mut self, client: u64, body: &[u8], waiter: Waiter) {
        let offer = match serde_json::from_slice::<Offer>(body) {
            Ok(offer) if offer.functions.len() <= OFFERED_MAX => offer,
            Ok(offer) => {
                let many = offer.functions.len();
                let text = format!("functions has {many} entries: a process may offer at most {OFFERED_MAX}");
                return self.0.ctx.answer(waiter, Err(EngineError::Invalid(text)));
            }
            Err(error) => return self.0.ctx.answer(waiter, Err(EngineError::Invalid(error.to_string()))),
        };
        let of_member =
            |(number, one): (&u64, &Runner)| (*number != client && one.member == offer.member).then_some(*number);
        let former: Vec<u64> = self.0.runners.by_client.iter().filter_map(of_member).collect();
        if former.iter().any(|&other| other > client) {
            // It was on its way when the connection was lost. What runs over the newer one is not stopped.
            let text = "this process has connected again since";
            return self.0.ctx.answer(waiter, Err(EngineError::OwnerLost(text.into())));
        }
        for former in former {
            self.gone(former, "it has connected again, and has stopped what it ran");
        }
        let runner = self.0.runners.by_client.entry(client).or_default();
        let former = std::mem::replace(&mut runner.member, offer.member);
        if former != runner.member {
            self.0.ctx.registry.forget(Metric::ProcessAttempts, &[&former]);
        }
        let numbered = offer.functions.into_iter().zip(0..);
        runner.offered = numbered.map(|((name, takes_batch), number)| (name, (number, takes_batch))).collect();
        runner.by_handler.clear();
        let epoch = self.0.ctx.commit.token.epoch;
        let accepted = Accepted { epoch, connection: Some(client) };
        self.0.ctx.answer(waiter, Ok(Reply::Json(done::json(accepted))));
    }

    pub(crate) fn exchanges(&mut self, client: u64, mut settled: Vec<Settled>, most: usize, waiter: Waiter) {
        let Some(runner) = self.0.runners.by_client.get_mut(&client) else {
            let text = "this process was silent for too long: what it ran has failed, and runs elsewhere";
            return self.0.ctx.answer(waiter, Err(EngineError::OwnerLost(text.into())));
        };
        runner.most = most;
        runner.waiting.push_back(waiter);
        settled.retain(|one| runner.out.remove(&one.token));
        for one in &settled {
            self.0.runners.given.remove(&one.token);
        }
        settle::settle_all(self.0, settled);
    }

    /// It runs nothing any more of what it was given.
    fn gone(&mut self, client: u64, why: &str) {
        let Some(runner) = self.0.runners.by_client.remove(&client) else { return };
        self.0.ctx.registry.forget(Metric::ProcessAttempts, &[&runner.member]);
        if runner.out.is_empty() {
            let text = format!("process {} runs no handlers of this store any more: {why}", runner.member);
            self.0.ctx.notice(OperatorEvent::Process, &runner.member, json!({"text": text, "expected": true}));
        } else {
            let text = format!("process {} ran {} attempts, which have failed: {why}", runner.member, runner.out.len());
            self.0.ctx.notice(OperatorEvent::Api, "", json!({"text": text}));
        }
        for &token in &runner.out {
            self.0.runners.given.remove(&token);
        }
        for token in runner.out {
            environments::fail_attempt(self.0, token, &Fault::HungUp);
        }
    }

    pub(crate) fn process_list(&mut self, _: Empty) -> Result<Done, EngineError> {
        Ok(Done::at_once(self.processes()))
    }

    /// What each process runs, this one first.
    fn processes(&self) -> Vec<Process> {
        let here = self.0.dispatch.ready_list.runs() - self.0.runners.given.len();
        let own = Process { member: None, running: here };
        let runners = self.0.runners.by_client.values();
        let runners = runners.map(|one| Process { member: Some(one.member.clone()), running: one.out.len() });
        std::iter::once(own).chain(runners).collect()
    }

    /// Bring the gauge of each process up to date.
    pub(crate) fn show(&self) {
        for one in self.processes() {
            let name = one.member.as_deref().unwrap_or(OWNER);
            self.0.ctx.registry.gauge(Metric::ProcessAttempts, &[name]).set(one.running as f64);
        }
    }

    /// `stopped`: what each process says that it ran, and has stopped. It may have connected again since.
    pub(crate) fn members_live(&mut self, living: &[String], stopped: &BTreeMap<String, Stopped>) {
        let epoch = self.0.ctx.commit.token.epoch;
        let mut gone = Vec::new();
        for (client, runner) in &mut self.0.runners.by_client {
            let is_living = living.contains(&runner.member);
            let says = stopped.get(&runner.member);
            if runner.was_seen && !is_living {
                gone.push((*client, "it is dead, or has left"));
            } else if says.is_some_and(|says| says.epoch == epoch && says.connection >= *client) {
                gone.push((*client, "it has lost its connection to this one, and has stopped what it ran"));
            }
            runner.was_seen |= is_living;
        }
        for (client, why) in gone {
            self.gone(client, why);
        }
    }

    /// A client has hung up. `has_stopped`: it is certain that it runs nothing any more.
    pub(crate) fn left(&mut self, client: u64, has_stopped: bool) {
        if has_stopped {
            return self.gone(client, "it has ended");
        }
        if let Some(runner) = self.0.runners.by_client.get_mut(&client) {
            runner.waiting.clear();
        }
    }
}

#[cfg(test)]
mod tests;
