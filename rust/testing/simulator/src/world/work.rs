//! Handlers and destinations: what they are handed, how long they take, how they end.

use forebay_engine::base::error::EngineError;
use forebay_engine::base::ids::uuid_text;
use forebay_engine::dispatch::attempts::{Settled, Task, Token, Work};
use forebay_engine::payload::messages::Messages;
use forebay_engine::payload::records::Records;
use forebay_engine::store::port::StoreError;
use serde_json::{json, Value};

use super::outcome::Outcome;
use super::{Event, World, NS_PER_MS, NS_PER_US};
use crate::chance::scramble;
use crate::ledger;
use crate::plan::Fault;
use crate::plan::Sabotage;
use crate::shape::Handler;
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
    pub(super) job: Job,
    deadline_ns: u64,
    pub(super) script: Script,
}

/// What a handler has.
#[derive(Debug)]
pub(super) enum Job {
    /// Records for the function of an index; count in the window's state, and whether this is its last invoke.
    Batch {
        function: usize,
        records: Records,
        window: Option<(u64, bool)>,
    },
    /// Messages for a worker.
    Messages(Messages),
    Event,
    Delivery,
}

/// How it is going to end.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Script {
    Returns,
    /// Names these records, by place, as failed.
    Reports(Vec<usize>),
    /// Answers something that is not a report.
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
        let (functions, queues) = (self.shape.functions.len(), self.shape.queues.len());
        match &work.task {
            Task::Cancel => self.cancel(work.token),
            // The saboteur says that it does not reach the function, and lets nobody see it.
            Task::Batch { .. } | Task::Messages { .. } | Task::Event(_) if self.starves(work.handler) => {
                self.settled.push(Settled { token: work.token, status: 3, body: None, duration_ns: 1_000 });
            }
            Task::Deliver(record) => {
                open(&self.ledger).delivers(work.token, record);
                let (script, takes_ns) = self.script_of_destination();
                let deadline_ns = self.time_ns + DELIVERY_TIMEOUT_NS;
                self.run_for(takes_ns, Running { token: work.token, job: Job::Delivery, deadline_ns, script });
            }
            Task::Batch { records, window, .. } => {
                // Functions are registered in order, at every start: their handler ids are their numbers.
                let function = work.handler;
                self.witness(work, function, records);
                let cursed = |seed: u64, one_in: u64| {
                    records.iter().position(|(_, record)| is_cursed(seed, one_in, ledger::name_of(record.data)))
                };
                let reports = self.shape.functions[function].settings.reports;
                let drawn = self.script_of_handler(function, (records.positions.len(), reports), cursed);
                let window = window.as_ref().map(|window| {
                    let state: Value = serde_json::from_str(&window.state).unwrap_or_default();
                    (state["count"].as_u64().unwrap_or(0), window.is_final)
                });
                self.begin(work, Job::Batch { function, records: records.clone(), window }, drawn);
            }
            Task::Messages { messages, .. } => {
                let worker = work.handler - functions;
                self.witness_messages(work.token, worker, messages);
                let cursed = |seed: u64, one_in: u64| {
                    let names = messages.items.iter().map(|item| {
                        let message = item.message();
                        ledger::name_of_body(message.body).unwrap_or(message.id as u32)
                    });
                    names.into_iter().position(|name| is_cursed(seed, one_in, Some(name)))
                };
                let reports = self.shape.queues[worker].worker.reports;
                let drawn = self.script_of_handler(work.handler, (messages.items.len(), reports), cursed);
                self.begin(work, Job::Messages(messages.clone()), drawn);
            }
            Task::Event(payload) if work.handler >= functions + queues => {
                self.witness_event(work, payload);
                let name = work.request as u32;
                let cursed = |seed: u64, one_in: u64| is_cursed(seed, one_in, Some(name)).then_some(0);
                let drawn = self.script_of_handler(work.handler, (1, false), cursed);
                self.begin(work, Job::Event, drawn);
            }
            // Nothing here invokes.
            Task::Invoke(_) | Task::Event(_) => {}
        }
    }

    fn starves(&self, handler: usize) -> bool {
        handler == 0 && self.plan.sabotage == Some(Sabotage::Starved)
    }

    fn begin(&mut self, work: &Work, job: Job, (script, takes_ns): (Script, Option<u64>)) {
        let deadline_ns = self.time_ns + self.handler_of(work.handler).timeout_ms * NS_PER_MS;
        self.run_for(takes_ns, Running { token: work.token, job, deadline_ns, script });
    }

    /// What a handler id stands for: a function of a stream, of a queue, or one that is called.
    fn handler_of(&self, handler: usize) -> &Handler {
        let (functions, queues) = (&self.shape.functions, &self.shape.queues);
        match handler.checked_sub(functions.len()) {
            None => &functions[handler].handler,
            Some(at) if at < queues.len() => &queues[at].handler,
            Some(at) => &self.shape.callees[at - queues.len()].handler,
        }
    }

    /// Show the ledger what a handler gets. This is where the saboteur sits.
    fn witness(&mut self, work: &Work, function: usize, records: &Records) {
        let Task::Batch { window, .. } = &work.task else { return };
        let name = &self.shape.functions[function].handler.name;
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

    fn witness_messages(&mut self, token: Token, worker: usize, messages: &Messages) {
        let mut ledger = open(&self.ledger);
        if self.plan.sabotage == Some(Sabotage::SwappedOrder) && messages.items.len() > 1 {
            let items = messages.items.iter().rev().cloned().collect();
            let swapped = Messages { items, source: messages.source.clone() };
            return ledger.begins_messages(token, worker, &swapped);
        }
        ledger.begins_messages(token, worker, messages);
        if self.plan.sabotage == Some(Sabotage::DoubleFlight) {
            ledger.begins_messages(token + 500_000, worker, messages);
        }
    }

    fn witness_event(&mut self, work: &Work, payload: &[u8]) {
        let mut ledger = open(&self.ledger);
        ledger.begins_event(work.token, work.request, payload);
        if self.plan.sabotage == Some(Sabotage::DoubleFlight) {
            ledger.begins_event(work.token + 500_000, work.request, payload);
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
        let reads = match &running.job {
            Job::Batch { function, .. } => self.shape.functions[*function].settings.reports,
            _ => false,
        };
        let outcome = Outcome::of(&running, reads, timed_out);
        let mut ledger = open(&self.ledger);
        match &running.job {
            Job::Messages(_) => ledger.ends_messages(token, &outcome.messages_end()),
            Job::Event => ledger.ends_event(token, outcome.end),
            Job::Batch { .. } | Job::Delivery => ledger.ends(token, outcome.end, outcome.response.as_ref()),
        }
        drop(ledger);
        if let Some(outcome) = outcome.told(self.plan.sabotage, token, &running.job) {
            let body = outcome.response.map(|response| response.to_string().into_bytes());
            self.settled.push(Settled { token, status: outcome.status, body, duration_ns: 1_000 });
        }
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

    fn script_of_handler(
        &mut self,
        handler: usize,
        batch: (usize, bool),
        cursed: impl Fn(u64, u64) -> Option<usize>,
    ) -> (Script, Option<u64>) {
        let (script, takes_ns) = self.draw_script(handler, batch, cursed);
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

    /// `batch`: how many there are, and whether reports are read. `cursed`: the place of the first that is, by a seed, one in so many.
    fn draw_script(
        &mut self,
        handler: usize,
        (count, reports): (usize, bool),
        cursed: impl Fn(u64, u64) -> Option<usize>,
    ) -> (Script, Option<u64>) {
        let (takes_us, wrong) = (self.handler_of(handler).takes_us, self.handler_of(handler).wrong);
        // In peace nothing takes ten times as long: past a short timeout that is a failure, and a long backlog would never drain.
        let is_slow = self.chance.handlers.one_in(100) && !self.peace;
        let takes_ns = takes_us * NS_PER_US * if is_slow { 10 } else { 1 };
        if self.may(Fault::Killer) && cursed(self.plan.seed, KILLER_ONE_IN).is_some() {
            return (Script::Kills, Some(takes_ns));
        }
        let poison = if self.may(Fault::Poison) { cursed(self.plan.seed, POISON_ONE_IN) } else { None };
        let reports = self.may(Fault::Report) && reports;
        if let Some(place) = poison {
            self.strikes(Fault::Poison);
            return (if reports { Script::Reports(vec![place]) } else { Script::Raises }, Some(takes_ns));
        }
        let drawn = self.chance.handlers.below(1_000);
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
                let most = count as u64;
                let failed = (0..self.chance.handlers.between(1, 3)).map(|_| self.chance.handlers.below(most) as usize);
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

/// Whether a record is, by a seed, one in so many.
fn is_cursed(seed: u64, one_in: u64, name: Option<u32>) -> bool {
    let name = u64::from(name.unwrap_or_default());
    scramble(seed ^ (name + one_in).wrapping_mul(0x9e37_79b9)).is_multiple_of(one_in)
}

impl Job {
    pub(super) fn count(&self) -> usize {
        match self {
            Self::Batch { records, .. } => records.positions.len(),
            Self::Messages(messages) => messages.items.len(),
            Self::Event | Self::Delivery => 0,
        }
    }

    /// What the report calls an item.
    fn name(&self, place: usize) -> String {
        match self {
            Self::Batch { records, .. } => {
                forebay_core::sequence::number(records.source.shard_index, records.positions[place]).to_string()
            }
            Self::Messages(messages) => uuid_text(messages.items[place].message().id),
            Self::Event | Self::Delivery => String::new(),
        }
    }

    /// The answer of a handler that has handled the first `done` records.
    pub(super) fn response(&self, done: usize, failed: &[usize]) -> Option<Value> {
        let window = match self {
            Self::Batch { window, .. } => *window,
            _ => None,
        };
        if window.is_none() && failed.is_empty() {
            return None;
        }
        let named: Vec<Value> = failed.iter().map(|&place| json!({"itemIdentifier": self.name(place)})).collect();
        let mut response = json!({ "batchItemFailures": named });
        if let Some((counted, is_final)) = window {
            response["state"] = if is_final { json!({}) } else { json!({ "count": counted + done as u64 }) };
        }
        Some(response)
    }
}
