//! What is known of executions: every event that a commit has made durable, in its order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use forebay_core::workflow::machine::unpack;
use forebay_engine::store::fault::FaultStore;
use forebay_engine::store::port::{Done, Outcome, Reader, Store, StoreError, Table, Ticket, Token, Unit, Write};
use serde_json::Value;

/// Rows that are read at once after a crash.
const ROWS: usize = 1_000;

/// An execution, as keys of rows begin with it.
pub(super) type Run = [u8; 16];

/// Durable events, by execution.
#[derive(Debug, Default)]
pub(super) struct Witness {
    /// The events of each execution, as `GetExecutionHistory` has them.
    pub(super) histories: BTreeMap<Run, Vec<Value>>,
    /// What a function has answered durably: the output of its task.
    pub(super) done: BTreeSet<String>,
    /// Commits that went through.
    pub(super) commits: u64,
    /// What is wrong.
    pub(super) broken: Option<String>,
}

/// The witness, shared with the store that it watches.
pub(super) type Shared = Arc<Mutex<Witness>>;

/// Lock it.
pub(super) fn open(witness: &Shared) -> MutexGuard<'_, Witness> {
    witness.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Witness {
    fn breaks(&mut self, story: String) {
        self.broken.get_or_insert(story);
    }

    fn committed(&mut self, writes: &[Write]) {
        self.commits += 1;
        for write in writes {
            if let Write::Add { table: Table::History, key, value } = write {
                self.recorded(key, value);
            }
        }
        for write in writes {
            if let Write::Set { table: Table::ExecutionState, key, value } = write {
                self.stands(key, value);
            }
        }
    }

    /// Events of a step are durable: they go on where the ones before have ended.
    fn recorded(&mut self, key: &[u8], value: &[u8]) {
        let (Some(run), Some(events)) = (run_of(key), unpack(value)) else {
            return self.breaks(format!("a history that cannot be read, at {key:?}"));
        };
        let history = self.histories.entry(run).or_default();
        let mut last = history.len() as u32;
        let mut story = None;
        for event in &events {
            if event.id != last + 1 || event.previous >= event.id {
                story = Some(format!("execution {run:?} has {last} events, and {event:?} comes next"));
            }
            last = event.id;
            let told = event.to_json(true);
            let details =
                ["lambdaFunctionSucceededEventDetails", "taskSucceededEventDetails"].map(|name| &told[name]["output"]);
            self.done.extend(details.iter().filter_map(|output| output.as_str()).map(str::to_owned));
            history.push(told);
        }
        if let Some(story) = story {
            self.breaks(story);
        }
    }

    /// An execution's state is that after its last event.
    fn stands(&mut self, key: &[u8], value: &[u8]) {
        let state: Value = serde_json::from_slice(value).unwrap_or_default();
        let known = run_of(key).and_then(|run| self.histories.get(&run)).map_or(0, Vec::len) as u64;
        if state["execution"]["last_event"].as_u64() != Some(known) {
            let story =
                format!("a state stands at event {}, its history has {known}", state["execution"]["last_event"]);
            self.breaks(story);
        }
    }

    /// After a crash: what was durable is there, and at most one commit more.
    pub(super) fn look_again(&mut self, reader: &mut dyn Reader) -> Result<(), StoreError> {
        let known = std::mem::take(&mut self.histories);
        self.done.clear();
        let mut after: Option<Vec<u8>> = None;
        loop {
            let rows = reader.scan(Table::History, &[], after.as_deref(), ROWS)?;
            let Some((last, _)) = rows.last() else { break };
            after = Some(last.clone());
            for (key, value) in &rows {
                self.recorded(key, value);
            }
        }
        for (run, events) in known {
            let found = self.histories.get(&run).map_or(0, Vec::len);
            if found < events.len() {
                self.breaks(format!("execution {run:?} had {} durable events, and {found} are left", events.len()));
            }
        }
        Ok(())
    }

    /// What steps have sent to a queue, as the histories say.
    pub(super) fn sent(&self, queue: &str) -> Sends {
        let mut sends = Sends::default();
        for events in self.histories.values() {
            let mut open: BTreeMap<u64, &Value> = BTreeMap::new();
            for event in events {
                let kind = event["type"].as_str().unwrap_or_default();
                if kind.starts_with("TaskState") {
                    continue;
                }
                if kind == "TaskScheduled" {
                    open.insert(event["id"].as_u64().unwrap_or_default(), event);
                } else if let Some(call) = call_of(events, event).and_then(|id| open.get(&id).copied()) {
                    let waits = call["taskScheduledEventDetails"]["resource"] == "sendMessage.waitForTaskToken";
                    if kind == if waits { "TaskSubmitted" } else { "TaskSucceeded" } {
                        sends.told.extend(message(call, queue));
                    }
                    if kind != "TaskStarted" {
                        open.remove(&call["id"].as_u64().unwrap_or_default());
                    }
                }
            }
            sends.cut_short.extend(open.values().filter_map(|call| message(call, queue)));
        }
        sends
    }
}

/// The bodies of messages to a queue.
#[derive(Debug, Default)]
pub(super) struct Sends {
    /// Those whose tasks tell that they were sent.
    pub(super) told: Vec<String>,
    /// Those whose tasks were aborted with nothing told of them, as an item of a `Map` is when another one fails in the
    /// same turn: the message may be sent by then.
    pub(super) cut_short: Vec<String>,
}

/// The call that an event belongs to: the number of its `TaskScheduled`.
fn call_of(events: &[Value], event: &Value) -> Option<u64> {
    let mut event = event;
    while event["type"] != "TaskScheduled" {
        if !event["type"].as_str()?.starts_with("Task") {
            return None;
        }
        let before = event["previousEventId"].as_u64()?.checked_sub(1)?;
        event = events.get(before as usize)?;
    }
    event["id"].as_u64()
}

/// The body that a call sends to a queue.
fn message(call: &Value, queue: &str) -> Option<String> {
    let details = &call["taskScheduledEventDetails"];
    let sends = details["resource"].as_str()?.starts_with("sendMessage");
    let given: Value = serde_json::from_str(details["parameters"].as_str()?).ok()?;
    (sends && given["QueueUrl"] == queue).then(|| given["MessageBody"].to_string())
}

fn run_of(key: &[u8]) -> Option<Run> {
    key.get(..16)?.try_into().ok()
}

/// A store under observation.
pub(super) struct Watched {
    /// The store itself.
    pub(super) store: FaultStore,
    /// Who is told.
    pub(super) witness: Shared,
    /// What the commit under way writes.
    pub(super) writes: Vec<Write>,
}

impl Store for Watched {
    fn take(&mut self, unit: Unit) -> Ticket {
        self.store.take(unit)
    }

    fn submit(&mut self, unit: Unit, token: Token, writes: &[Write]) -> Ticket {
        self.writes = writes.to_vec();
        self.store.submit(unit, token, writes)
    }

    fn poll(&mut self, waker: &Waker) -> Option<(Ticket, Done)> {
        let told = self.store.poll(waker);
        if let Some((_, Done::Ended(Ok(Outcome::Committed { .. })))) = &told {
            open(&self.witness).committed(&self.writes);
        }
        told
    }

    fn reader(&self) -> Result<Box<dyn Reader>, StoreError> {
        self.store.reader()
    }

    fn give_back(&mut self) -> Result<bool, StoreError> {
        self.store.give_back()
    }
}
