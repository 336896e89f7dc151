//! Durable functions: what a function has done so far, so that it can be run again from the beginning and takes what it did from here.
//!
//! AWS's SDK for them writes operations (steps, waits, callbacks, invocations of other functions, contexts around those) and reads them when
//! the function runs again. This is the other side: updates in, answers out; `now` is an argument.

mod operation;
mod operations;
#[cfg(test)]
mod tests;
mod update;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{json, Value};

use crate::workflow::machine::Text;

use operations::Operations;

pub use operation::{InvokeEnd, Kind, Operation, Status};
pub use update::{Action, Refused, Update};

/// Most operations of an execution. Ours: its state is written at each checkpoint.
pub const OPERATIONS_MAX: usize = 3_000;
/// Most bytes of what its operations hold together. Ours, for the same reason: AWS allows 100 MB.
pub const BYTES_MAX: usize = 16 << 20;
/// About how many bytes a page of operations holds; one operation may have more.
const PAGE_BYTES: usize = 4 << 20;
/// Most updates of one checkpoint.
pub const UPDATES_MAX: usize = 1_000;

/// The operations of one execution.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Durable {
    /// The id of the execution itself, as its ARN ends in.
    id: String,
    input: Text,
    started_ms: u64,
    /// In the order in which they began.
    operations: Operations,
    /// Operations that have changed since the function was invoked last, or was last told.
    changed: BTreeSet<usize>,
    /// How many invocations and checkpoints there were.
    generation: u64,
    /// The number of the invocation that runs. It is not written: what a process before has invoked writes nothing any more.
    #[serde(skip)]
    invocation: Option<u64>,
    /// The function has answered that it waits, and nothing has happened since.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    is_waiting: bool,
    /// The last checkpoint: the client's token, and which operations it was answered with.
    last: Option<(String, Vec<usize>)>,
    /// A result that was too large for the function's answer.
    result: Option<Result<String, Value>>,
    /// Invocations that failed one after the other.
    failures: u32,
    bytes: usize,
    /// Why its last checkpoint was refused, if the code has changed.
    #[serde(default)]
    misfit: Option<String>,
}

/// What the token of a checkpoint is made of. It is good once, and in its invocation alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckpointNumber {
    /// Invocations and checkpoints before it.
    pub generation: u64,
    /// The number that was drawn for its invocation: a process that dies forgets those that it has counted, and none is given again.
    pub invocation: u64,
}

/// Another function that is to be invoked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invoke {
    /// The operation that it is.
    pub id: String,
    /// The function's name.
    pub function: String,
    /// Its event, JSON.
    pub payload: String,
}

/// What a checkpoint brings about.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Checkpointed {
    /// Operations that have changed, as `NewExecutionState` has them.
    pub operations: Vec<Value>,
    /// Functions to invoke when it is durable.
    pub invokes: Vec<Invoke>,
}

impl Durable {
    /// An execution that has not run yet.
    pub fn new(id: String, input: Text, now_ms: u64) -> Self {
        Self { id, input, started_ms: now_ms, ..Self::default() }
    }

    /// Whether the function was invoked before.
    pub fn has_run(&self) -> bool {
        self.generation > 0
    }

    /// What the token of the next checkpoint is made of.
    pub fn number(&self) -> CheckpointNumber {
        CheckpointNumber { generation: self.generation, invocation: self.invocation.unwrap_or_default() }
    }

    /// The function is about to be invoked, by a number that was drawn: give the event's operations, the first `most` of them, and the ids
    /// of those that have changed since it ran last. Tokens from before mean nothing any more.
    pub fn invoked(&mut self, invocation: u64, now_ms: u64, most: usize) -> (Vec<Value>, Vec<String>) {
        self.pass_time(now_ms);
        self.generation += 1;
        self.invocation = Some(invocation);
        self.is_waiting = false;
        self.last = None;
        let changed = std::mem::take(&mut self.changed);
        let ids = changed.into_iter().filter_map(|at| self.operations.get(at)).map(|one| one.id.clone()).collect();
        (self.page(0, most), ids)
    }

    /// The function has answered that it waits, and there is nothing to tell it.
    pub fn waits(&mut self) {
        self.is_waiting = true;
    }

    /// Whether the function waits and is to be told nothing yet. `false`: it runs, or is to run.
    pub fn is_waiting(&mut self, now_ms: u64) -> bool {
        self.is_waiting && !self.has_changed(now_ms)
    }

    /// Operations from a place on, as many as a page holds: the first one is the execution itself.
    pub fn page(&self, from: usize, most: usize) -> Vec<Value> {
        let mut room = PAGE_BYTES;
        let mut page = Vec::new();
        if from == 0 {
            room = room.saturating_sub(self.input.len());
            page.push(json!({
                "Id": self.id, "Type": "EXECUTION", "Status": "STARTED", "StartTimestamp": self.started_ms,
                "ExecutionDetails": {"InputPayload": self.input.as_str()},
            }));
        }
        for operation in self.operations.from(from.saturating_sub(1)) {
            let size = operation.size();
            if page.len() >= most || (size > room && !page.is_empty()) {
                break;
            }
            room = room.saturating_sub(size);
            page.push(operation.to_json());
        }
        page
    }

    /// All operations but the execution itself.
    pub fn operations(&self) -> impl Iterator<Item = Value> + '_ {
        self.operations.from(0).map(Operation::to_json)
    }

    /// The operation that has begun or ended last; those that hold others together do not count.
    pub fn last(&self) -> Option<&Operation> {
        let own = self.operations.from(0).filter(|one| !matches!(one.kind, Kind::Context | Kind::Execution));
        own.max_by_key(|one| one.ended_ms.unwrap_or(one.started_ms))
    }

    /// How many operations [`Self::page`] has in all.
    pub fn len(&self) -> usize {
        self.operations.len() + 1
    }

    /// Never: the execution itself is one.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Take the updates of a checkpoint: all of them or none. The same `client_token` again is answered again.
    pub fn checkpoint(
        &mut self,
        number: CheckpointNumber,
        client_token: Option<&str>,
        updates: &[Update],
        now_ms: u64,
        callback_id: &mut dyn FnMut(&str) -> String,
    ) -> Result<Checkpointed, Refused> {
        if self.invocation != Some(number.invocation) {
            return Err(Refused::OldToken);
        }
        if let (Some(given), Some((known, told))) = (client_token, &self.last) {
            if given == known && number.generation.checked_add(1) == Some(self.generation) {
                return Ok(Checkpointed { operations: self.shown(told), invokes: Vec::new() });
            }
        }
        if number.generation != self.generation {
            return Err(Refused::OldToken);
        }
        if updates.len() > UPDATES_MAX {
            return Err(Refused::Invalid(format!("{} updates: allowed are {UPDATES_MAX}", updates.len())));
        }
        let mut next = self.clone();
        let mut invokes = Vec::new();
        for update in updates {
            match next.update(update, now_ms, callback_id) {
                Ok(invoke) => invokes.extend(invoke),
                Err(refused) => {
                    if let Refused::NonDeterministic(text) = &refused {
                        self.misfit = Some(text.clone());
                    }
                    return Err(refused);
                }
            }
        }
        next.pass_time(now_ms);
        next.generation += 1;
        let told: Vec<usize> = std::mem::take(&mut next.changed).into_iter().collect();
        let operations = next.shown(&told);
        next.last = client_token.map(|token| (token.to_owned(), told));
        (next.failures, next.misfit, next.is_waiting) = (0, None, false);
        *self = next;
        Ok(Checkpointed { operations, invokes })
    }

    fn shown(&self, places: &[usize]) -> Vec<Value> {
        places.iter().filter_map(|at| self.operations.get(*at)).map(Operation::to_json).collect()
    }

    /// When something becomes due by itself.
    pub fn due_ms(&self) -> Option<u64> {
        self.operations.open().filter_map(|(_, one)| one.due_ms()).min()
    }

    /// Whether something has changed that the function was not told of.
    pub fn has_changed(&mut self, now_ms: u64) -> bool {
        self.pass_time(now_ms);
        !self.changed.is_empty()
    }

    /// Let time pass: waits end, steps may be tried again, callbacks are too late.
    fn pass_time(&mut self, now_ms: u64) {
        let is_due = |(_, one): &(usize, &Operation)| one.due_ms().is_some_and(|due_ms| due_ms <= now_ms);
        let due: Vec<usize> = self.operations.open().filter(is_due).map(|(at, _)| at).collect();
        for at in due {
            self.operations.change(at, |one| one.pass_time(now_ms));
            self.changed.insert(at);
        }
    }

    /// The operation of a callback that has not ended.
    fn open_callback(&self, callback_id: &str) -> Option<usize> {
        self.operations.open().find(|(_, one)| one.callback_id.as_deref() == Some(callback_id)).map(|(at, _)| at)
    }

    /// Somebody tells the end of a callback; false: it is over, or never was.
    pub fn callback_told(&mut self, callback_id: &str, result: Result<String, Value>, now_ms: u64) -> bool {
        self.pass_time(now_ms);
        let Some(at) = self.open_callback(callback_id) else { return false };
        self.operations.change(at, |one| one.end(result, now_ms));
        self.changed.insert(at);
        true
    }

    /// Somebody tells that a callback is on its way; false: it is over, or never was.
    pub fn callback_heartbeat(&mut self, callback_id: &str, now_ms: u64) -> bool {
        self.pass_time(now_ms);
        let Some(at) = self.open_callback(callback_id) else { return false };
        let heartbeat = |one: &mut Operation| {
            one.heartbeat_due_ms = one.heartbeat_ms.map(|ms| now_ms.saturating_add(ms));
        };
        self.operations.change(at, heartbeat).is_some()
    }

    /// A function that was invoked has ended; false: nobody waits for it.
    pub fn invoke_ended(&mut self, id: &str, end: InvokeEnd, now_ms: u64) -> bool {
        let Some(at) = self.open_invoke(id) else { return false };
        self.operations.change(at, |one| one.end_invoke(end, now_ms));
        self.changed.insert(at);
        true
    }

    /// A function cannot be invoked: give its operation, for the answer to the checkpoint that has asked for it.
    pub fn invoke_refused(&mut self, id: &str, error: Value, now_ms: u64) -> Option<Value> {
        let at = self.open_invoke(id)?;
        let refused = |one: &mut Operation| {
            one.end_invoke(InvokeEnd::Failed(error), now_ms);
            one.to_json()
        };
        self.operations.change(at, refused)
    }

    fn open_invoke(&self, id: &str) -> Option<usize> {
        let is_it = |one: &Operation| one.kind == Kind::ChainedInvoke && !one.is_over();
        self.operations.find(id).filter(|&at| self.operations.get(at).is_some_and(is_it))
    }

    /// An invocation of the function has failed; how often that was so without a checkpoint between.
    pub fn failed(&mut self) -> u32 {
        self.failures += 1;
        self.failures
    }

    /// Why its last checkpoint was refused, if the code has changed since it ran before.
    pub fn misfit(&self) -> Option<&str> {
        self.misfit.as_deref()
    }

    /// The result that was written because it is too large for an answer.
    pub fn result(&self) -> Option<&Result<String, Value>> {
        self.result.as_ref()
    }
}
