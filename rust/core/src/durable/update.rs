//! What a checkpoint says of one operation.

use serde::Deserialize;
use serde_json::Value;

use crate::workflow::machine::Text;

use super::{Durable, Invoke, Kind, Operation, Status, BYTES_MAX, OPERATIONS_MAX};

/// Longest id of an operation.
const ID_MAX: usize = 64;
/// Longest wait, in seconds: 366 days.
const WAIT_SECONDS_MAX: u64 = 31_622_400;

/// What has become of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Action {
    /// It has begun.
    Start,
    /// It has a result.
    Succeed,
    /// It has failed.
    Fail,
    /// It is to be tried again.
    Retry,
    /// It is given up.
    Cancel,
}

/// One update of `CheckpointDurableExecution`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Update {
    /// The operation's id.
    pub id: String,
    /// The context that it is in.
    #[serde(default)]
    pub parent_id: Option<String>,
    /// Its name.
    #[serde(default)]
    pub name: Option<String>,
    /// What it is.
    #[serde(rename = "Type")]
    pub kind: Kind,
    /// What it is for the SDK.
    #[serde(default)]
    pub sub_type: Option<String>,
    /// What has become of it.
    pub action: Action,
    /// Its result, or the event of another function.
    #[serde(default)]
    pub payload: Option<String>,
    /// Its error.
    #[serde(default)]
    pub error: Option<Value>,
    /// `ReplayChildren`.
    #[serde(default)]
    pub context_options: Option<Value>,
    /// `NextAttemptDelaySeconds`.
    #[serde(default)]
    pub step_options: Option<Value>,
    /// `WaitSeconds`.
    #[serde(default)]
    pub wait_options: Option<Value>,
    /// `TimeoutSeconds`, `HeartbeatTimeoutSeconds`.
    #[serde(default)]
    pub callback_options: Option<Value>,
    /// `FunctionName`.
    #[serde(default)]
    pub chained_invoke_options: Option<Value>,
}

/// Why a checkpoint changes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Its token was used, or is of an invocation before.
    OldToken,
    /// The code has changed: an operation is not what it was.
    NonDeterministic(String),
    /// It cannot be.
    Invalid(String),
}

impl Durable {
    pub(super) fn update(
        &mut self,
        update: &Update,
        now_ms: u64,
        callback_id: &mut dyn FnMut(&str) -> String,
    ) -> Result<Option<Invoke>, Refused> {
        if update.kind == Kind::Execution {
            self.result = Some(match update.action {
                Action::Succeed => Ok(update.payload.clone().unwrap_or_else(|| "null".into())),
                _ => Err(update.error.clone().unwrap_or_default()),
            });
            return Ok(None);
        }
        if update.id.is_empty() || update.id.len() > ID_MAX {
            return Err(Refused::Invalid(format!("the id {:?} has 1 to {ID_MAX} characters", update.id)));
        }
        self.bytes += update.payload.as_ref().map_or(0, String::len);
        if self.bytes > BYTES_MAX {
            return Err(Refused::Invalid(format!("the operations of an execution hold at most {BYTES_MAX} bytes")));
        }
        let known = self.operations.find(&update.id);
        if let Some(operation) = known.and_then(|at| self.operations.get(at)) {
            same(operation, update)?;
            if operation.is_over() {
                return Err(Refused::NonDeterministic(format!(
                    "operation {} ({}) has already ended: the code does other things than when it ran before",
                    update.id,
                    shown(operation.kind, operation.name.as_deref())
                )));
            }
        }
        let at = match known {
            Some(at) => at,
            None if self.operations.len() >= OPERATIONS_MAX => {
                return Err(Refused::Invalid(format!("an execution has at most {OPERATIONS_MAX} operations")));
            }
            None => self.operations.push(begun(update, now_ms)),
        };
        self.changed.insert(at);
        // It was invoked when it first began: its end is on the way.
        if known.is_some() && (update.kind, update.action) == (Kind::ChainedInvoke, Action::Start) {
            return Ok(None);
        }
        let acted = self.operations.change(at, |operation| act(operation, update, now_ms, callback_id));
        acted.unwrap_or(Ok(None))
    }
}

fn act(
    operation: &mut Operation,
    update: &Update,
    now_ms: u64,
    callback_id: &mut dyn FnMut(&str) -> String,
) -> Result<Option<Invoke>, Refused> {
    let seconds =
        |of: &Option<Value>, name: &str| of.as_ref().and_then(|of| of[name].as_u64()).filter(|given| *given > 0);
    let later = |seconds: u64| now_ms.saturating_add(seconds.saturating_mul(1_000));
    match (update.kind, update.action) {
        (Kind::Step, Action::Start) => {
            operation.attempt += 1;
            (operation.status, operation.next_ms) = (Status::Started, None);
        }
        (Kind::Step, Action::Retry) => {
            let delay = seconds(&update.step_options, "NextAttemptDelaySeconds").unwrap_or(0);
            (operation.status, operation.next_ms) = (Status::Pending, Some(later(delay)));
            operation.error.clone_from(&update.error);
            operation.result = update.payload.as_deref().map(Text::from);
            operation.attempt = operation.attempt.max(1);
        }
        (Kind::Wait, Action::Start) => {
            let wait = seconds(&update.wait_options, "WaitSeconds").unwrap_or(0);
            if !(1..=WAIT_SECONDS_MAX).contains(&wait) {
                return Err(Refused::Invalid(format!("WaitSeconds={wait}: allowed are 1 to {WAIT_SECONDS_MAX}")));
            }
            operation.next_ms = Some(later(wait));
        }
        (Kind::Callback, Action::Start) => {
            operation.callback_id.get_or_insert_with(|| callback_id(&update.id));
            operation.next_ms = seconds(&update.callback_options, "TimeoutSeconds").map(later);
            let heartbeat = seconds(&update.callback_options, "HeartbeatTimeoutSeconds");
            operation.heartbeat_ms = heartbeat.map(|seconds| seconds.saturating_mul(1_000));
            operation.heartbeat_due_ms = heartbeat.map(later);
        }
        (Kind::ChainedInvoke, Action::Start) => {
            let function = update.chained_invoke_options.as_ref().and_then(|of| of["FunctionName"].as_str());
            let function = function.ok_or_else(|| Refused::Invalid("FunctionName is missing".into()))?;
            let payload = update.payload.clone().unwrap_or_else(|| "null".into());
            return Ok(Some(Invoke { id: update.id.clone(), function: function.to_owned(), payload }));
        }
        (Kind::Context, Action::Start) => {}
        (_, Action::Succeed) => {
            let options = update.context_options.as_ref();
            operation.replay_children = options.is_some_and(|of| of["ReplayChildren"] == true);
            operation.error = None;
            operation.result = update.payload.as_deref().map(Text::from);
            operation.over(Status::Succeeded, now_ms);
        }
        (_, Action::Fail) => operation.end(Err(update.error.clone().unwrap_or_default()), now_ms),
        (_, Action::Cancel) => operation.over(Status::Cancelled, now_ms),
        (kind, action) => return Err(Refused::Invalid(format!("{action:?} is not an action of {kind:?}"))),
    }
    Ok(None)
}

fn begun(update: &Update, now_ms: u64) -> Operation {
    Operation {
        id: update.id.clone(),
        parent_id: update.parent_id.clone(),
        name: update.name.clone(),
        kind: update.kind,
        sub_type: update.sub_type.clone(),
        status: Status::Started,
        started_ms: now_ms,
        ended_ms: None,
        attempt: 0,
        next_ms: None,
        heartbeat_ms: None,
        heartbeat_due_ms: None,
        result: None,
        error: None,
        callback_id: None,
        replay_children: false,
        is_stopped: false,
    }
}

/// An operation must be what it was when the function ran before: the SDK finds it by its place.
fn same(known: &Operation, update: &Update) -> Result<(), Refused> {
    let is_same = known.kind == update.kind
        && known.name == update.name
        && known.sub_type == update.sub_type
        && known.parent_id == update.parent_id;
    if is_same {
        return Ok(());
    }
    Err(Refused::NonDeterministic(format!(
        "operation {} was {} when the function ran before, and is {} now: keep the order of operations while executions run, or give \
         changed code another function name",
        update.id,
        shown(known.kind, known.name.as_deref()),
        shown(update.kind, update.name.as_deref())
    )))
}

fn shown(kind: Kind, name: Option<&str>) -> String {
    let kind = format!("{kind:?}").to_lowercase();
    name.map_or_else(|| format!("a {kind} without a name"), |name| format!("{kind} {name:?}"))
}
