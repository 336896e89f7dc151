//! Handlers and destinations: what they are handed, how long they take, how they end.

use forebay_engine::attempts::{Settled, Task, Token, Work};
use forebay_engine::error::EngineError;
use forebay_engine::pollers::Records;
use forebay_engine::port::StoreError;
use serde_json::{json, Value};

use super::{Event, World, NS_PER_MS, NS_PER_US};
use crate::chance::scramble;
use crate::ledger::{self, End};
use crate::plan::{Fault, Sabotage};
use crate::settings::Settings;
use crate::watched::open;

/// How long a destination may take for one record, as the engine has it.
const DELIVERY_TIMEOUT_NS: u64 = 60_000 * NS_PER_MS;
/// One record in so many always fails, or kills.
const POISON_ONE_IN: u64 = 150;
const KILLER_ONE_IN: u64 = 1_500;

/// Work in a handler.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) token: Token,
    /// Index of the function; `None`: a delivery.
    function: Option<usize>,
    deadline_ns: u64,
    script: Script,
    /// Sequence numbers of the records.
    numbers: Vec<u64>,
    /// Count in the window's state when it was handed over, and whether this is its last invoke.
    window: Option<(u64, bool)>,
}

/// How it is going to end.
#[derive(Clone, Debug, PartialEq)]
enum Script {
    Returns,
    /// Names these records, by place, as failed.
    Reports(Vec<usize>),
    /// Answers something that is no report.
    Babbles,
    Raises,
    /// Runs until it is cancelled, and this much longer.
    Hangs {
        on_ns: u64,
    },
    NotInvoked,
    Interrupted,
    Kills,
}

impl World {
    /// Hand over what has ended, take what is ready, until there is no more.
    pub(super) fn exchange(&mut self) {
        loop {
            let Some(engine) = &self.engine else { return };
            let most = *self.chance.handlers.pick(&[4, 64, 1_000]);
            let (works, answers) = engine.exchange(std::mem::take(&mut self.settled), most);
            for (ticket, answer) in answers {
                if let (0, Err(EngineError::Store(StoreError::Failed(_) | StoreError::Corrupt(_)))) = (ticket, answer) {
                    self.lose_store();
                }
            }
            let count = works.len();
            for work in works {
                self.take(&work);
            }
            if count < most {
                return;
            }
        }
    }

    fn take(&mut self, work: &Work) {
        match work.task {
            Task::Cancel => self.cancel(work.token),
            Task::Deliver(ref record) => {
                open(&self.ledger).delivers(work.token, record);
                let (script, takes_ns) = self.script_of_destination();
                let deadline_ns = self.time_ns + DELIVERY_TIMEOUT_NS;
                let running = Running {
                    token: work.token,
                    function: None,
                    deadline_ns,
                    script,
                    numbers: Vec::new(),
                    window: None,
                };
                self.run_for(takes_ns, running);
            }
            Task::Batch { ref records, ref window, .. } => {
                let function = self.function_at(work.slot);
                self.witness(work, function, records);
                let (script, takes_ns) = self.script_of_handler(function, records);
                let window = window.as_ref().map(|window| {
                    let state: Value = serde_json::from_str(&window.state).unwrap_or_default();
                    (state["count"].as_u64().unwrap_or(0), window.is_final)
                });
                let index = records.source.shard_index;
                let numbers = records.positions.iter().map(|&at| forebay_core::sequence::number(index, at)).collect();
                let deadline_ns = self.time_ns + self.shape.functions[function].timeout_ms * NS_PER_MS;
                let function = Some(function);
                self.run_for(takes_ns, Running { token: work.token, function, deadline_ns, script, numbers, window });
            }
            // Nothing here invokes or has queues.
            Task::Invoke(_) | Task::Event(_) | Task::Messages { .. } => {}
        }
    }

    /// Show the ledger what a handler gets. This is where the saboteur sits.
    fn witness(&mut self, work: &Work, function: usize, records: &Records) {
        let Task::Batch { window, .. } = &work.task else { return };
        let name = &self.shape.functions[function].name;
        let mut ledger = open(&self.ledger);
        if self.plan.sabotage == Some(Sabotage::SwappedOrder) && records.positions.len() > 1 {
            let mut positions = records.positions.to_vec();
            positions.reverse();
            let swapped = Records { positions: positions.into(), ..records.clone() };
            return ledger.begins(work.token, name, &swapped, window.as_ref());
        }
        ledger.begins(work.token, name, records, window.as_ref());
        if self.plan.sabotage == Some(Sabotage::DoubleFlight) {
            ledger.begins(work.token + 500_000, name, records, window.as_ref());
        }
    }

    fn run_for(&mut self, takes_ns: Option<u64>, running: Running) {
        let (token, kills) = (running.token, running.script == Script::Kills);
        let at = token as u32 as usize;
        if self.running.len() <= at {
            self.running.resize_with(at + 1, || None);
        }
        self.running[at] = Some(running);
        if let Some(takes_ns) = takes_ns {
            self.after(takes_ns, if kills { Event::Kill { token } } else { Event::Ends { token } });
        }
    }

    pub(super) fn running(&self, token: Token) -> Option<&Running> {
        self.running.get(token as u32 as usize)?.as_ref().filter(|running| running.token == token)
    }

    /// An attempt is past its deadline. One that hangs ends now or some time later; the others end when they would have.
    fn cancel(&mut self, token: Token) {
        open(&self.ledger).expires(token);
        if let Some(Running { script: Script::Hangs { on_ns }, .. }) = self.running(token) {
            self.after(*on_ns, Event::Ends { token });
        }
    }

    /// A handler has ended.
    pub(super) fn end(&mut self, token: Token) {
        if self.running(token).is_none() {
            return;
        }
        let Some(running) = self.running[token as u32 as usize].take() else { return };
        let timed_out = self.time_ns >= running.deadline_ns;
        let settings = running.function.map(|function| self.shape.functions[function].settings.clone());
        let outcome = Outcome::of(&running, settings.as_ref(), timed_out);
        open(&self.ledger).ends(token, outcome.end, outcome.response.as_ref());
        let is_hidden = self.plan.sabotage == Some(Sabotage::UnboundedRetry) && outcome.end == End::Failed;
        let status = if is_hidden { 3 } else { outcome.status };
        let body = outcome.response.map(|response| response.to_string().into_bytes());
        self.settled.push(Settled { token, status, body, duration_ns: 1_000 });
    }

    /// End everything that runs, as a runtime does whose grace is over.
    pub(super) fn interrupt_all(&mut self) {
        let tokens: Vec<Token> = self.running.iter().flatten().map(|running| running.token).collect();
        for token in tokens {
            if let Some(Some(running)) = self.running.get_mut(token as u32 as usize) {
                running.script = Script::Interrupted;
            }
            self.end(token);
        }
    }

    fn script_of_handler(&mut self, function: usize, records: &Records) -> (Script, Option<u64>) {
        let (script, takes_ns) = self.draw_script(function, records);
        match script {
            // Whether it is a poisoned record that fails, or any, was decided where it was drawn.
            Script::Returns | Script::Raises => {}
            Script::Reports(_) | Script::Babbles => self.strikes(Fault::Report),
            Script::Hangs { .. } => self.strikes(Fault::Timeout),
            Script::NotInvoked | Script::Interrupted => self.strikes(Fault::NoAttempt),
            Script::Kills => self.strikes(Fault::Killer),
        }
        (script, takes_ns)
    }

    fn draw_script(&mut self, function: usize, records: &Records) -> (Script, Option<u64>) {
        let seed = self.plan.seed;
        let is_cursed = |one_in: u64, at: &(u64, forebay_engine::chunk::RecordView<'_>)| {
            let name = u64::from(ledger::name_of(at.1.data).unwrap_or_default());
            scramble(seed ^ (name + one_in).wrapping_mul(0x9e37_79b9)).is_multiple_of(one_in)
        };
        let takes_ns = {
            let usual = self.shape.functions[function].takes_us * NS_PER_US;
            // In peace nothing takes ten times as long: past a short timeout that is a failure, and a long backlog would never drain.
            if self.chance.handlers.one_in(100) && !self.peace {
                usual * 10
            } else {
                usual
            }
        };
        if self.may(Fault::Killer) && records.iter().any(|record| is_cursed(KILLER_ONE_IN, &record)) {
            return (Script::Kills, Some(takes_ns));
        }
        let poison = if self.may(Fault::Poison) {
            records.iter().position(|record| is_cursed(POISON_ONE_IN, &record))
        } else {
            None
        };
        let reports = self.may(Fault::Report) && self.shape.functions[function].settings.reports;
        if poison.is_some() {
            self.strikes(Fault::Poison);
        }
        match poison {
            Some(place) if reports => return (Script::Reports(vec![place]), Some(takes_ns)),
            Some(_) => return (Script::Raises, Some(takes_ns)),
            None => {}
        }
        let wrong = self.shape.functions[function].wrong;
        let drawn = self.chance.handlers.below(1_000);
        let count = records.positions.len() as u64;
        let script = match drawn / wrong.max(1) {
            0 if self.may(Fault::Error) => {
                self.strikes(Fault::Error);
                Script::Raises
            }
            1 if self.may(Fault::Timeout) => {
                let on_ns =
                    if self.chance.handlers.one_in(2) { 0 } else { self.chance.handlers.below(4_000) * NS_PER_MS };
                return (Script::Hangs { on_ns }, None);
            }
            2 if self.may(Fault::NoAttempt) => {
                if self.chance.handlers.one_in(2) {
                    Script::NotInvoked
                } else {
                    Script::Interrupted
                }
            }
            3 if reports && self.chance.handlers.one_in(5) => Script::Babbles,
            3 | 4 if reports && count > 0 => {
                let failed =
                    (0..self.chance.handlers.between(1, 3)).map(|_| self.chance.handlers.below(count) as usize);
                Script::Reports(failed.collect())
            }
            _ => Script::Returns,
        };
        (script, Some(takes_ns))
    }

    fn script_of_destination(&mut self) -> (Script, Option<u64>) {
        let is_dead = self.time_ns < self.dead_until_ns;
        if is_dead {
            self.strikes(Fault::Destination);
        }
        if is_dead && self.chance.handlers.one_in(2) {
            return (Script::Hangs { on_ns: 0 }, None);
        }
        let fails = is_dead || (self.may(Fault::Destination) && self.chance.handlers.one_in(5));
        let takes_ns = self.chance.handlers.below(5_000) * NS_PER_US;
        (if fails { Script::Raises } else { Script::Returns }, Some(takes_ns))
    }
}

/// An end, as the engine and the ledger are told.
struct Outcome {
    status: u8,
    end: End,
    response: Option<Value>,
}

impl Outcome {
    fn of(running: &Running, settings: Option<&Settings>, timed_out: bool) -> Self {
        let count = running.numbers.len();
        let reads = settings.is_some_and(|settings| settings.reports);
        let handled = |done: usize| if timed_out { End::Failed } else { End::Handled { done } };
        let plain = |status, end| Self { status, end, response: None };
        match &running.script {
            Script::Returns | Script::Kills => {
                Self { status: 0, end: handled(count), response: running.response(count, &[]) }
            }
            Script::Reports(failed) => {
                let done = if reads { failed.iter().copied().min().unwrap_or(count) } else { count };
                let response = running.response(done, failed);
                // A report in which the first record failed is a failure of the whole.
                let end = if done == 0 && count > 0 { End::Failed } else { handled(done) };
                Self { status: 0, end, response }
            }
            Script::Babbles => {
                let mut response = running.response(if reads { 0 } else { count }, &[]).unwrap_or_else(|| json!({}));
                response["batchItemFailures"] = json!([{"itemIdentifier": ""}]);
                let end = if reads { End::Failed } else { handled(count) };
                Self { status: 0, end, response: Some(response) }
            }
            Script::Raises => plain(1, End::Failed),
            Script::Hangs { .. } => plain(2, End::Failed),
            Script::NotInvoked if timed_out => plain(3, End::Failed),
            Script::Interrupted if timed_out => plain(4, End::Failed),
            Script::NotInvoked => plain(3, End::NoAttempt),
            Script::Interrupted => plain(4, End::NoAttempt),
        }
    }
}

impl Running {
    /// The answer of a handler that has handled the first `done` records.
    fn response(&self, done: usize, failed: &[usize]) -> Option<Value> {
        if self.window.is_none() && failed.is_empty() {
            return None;
        }
        let named: Vec<Value> =
            failed.iter().map(|&place| json!({"itemIdentifier": self.numbers[place].to_string()})).collect();
        let mut response = json!({ "batchItemFailures": named });
        if let Some((counted, is_final)) = self.window {
            response["state"] = if is_final { json!({}) } else { json!({ "count": counted + done as u64 }) };
        }
        Some(response)
    }
}
