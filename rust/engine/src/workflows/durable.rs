//! Durable functions: tasks whose function is run again from the beginning, and takes what it did before from its operations.
//!
//! The function is invoked with what it has done, writes what it does by checkpoints, and answers that it has ended or that it waits. Each
//! checkpoint is a step of the task's execution. A function that waits holds no place: it is invoked again when something is due, when a
//! callback is told, or when a function that it has invoked has ended.

use std::collections::BTreeMap;

use forebay_core::alias::LATEST;
use forebay_core::durable::{CheckpointNumber, Durable, Invoke, InvokeEnd, Refused, Update};
use forebay_core::workflow::machine::{Call, Data, ErrorDetails, Fact, TaskId, DATA_MAX};
use serde_json::{json, Value};

use crate::api::state_wait::LastOperation;
use crate::api::workflow::{
    DurableCallback, DurableCheckpoint, DurableCheckpointed, DurableOperations, DurablePage, ExecutionNamed, Status,
};
use crate::api::Empty;
use crate::base::error::{EngineError, Waiter};
use crate::commit::done::{json, Done};
use crate::dispatch::versions::split;
use crate::dispatch::DispatchRoom;
use crate::store::port::Table;
use crate::workflows::calls::function_name;
use crate::workflows::outside::{self, Brings};
use crate::workflows::parameters::Given;
use crate::workflows::participant::WorkflowParticipant;
use crate::workflows::row::{CallKind, ExecutionRow, OpenCall, Parent, RunId};
use crate::workflows::step::Begin;
use crate::workflows::{versions, Happened, Run, Step, WorkflowRoom, Workflows};

/// Operations of one page.
const PAGE: usize = 1_000;
/// Invocations that fail one after the other before the task has failed.
const FAILURES_MAX: u32 = 3;
/// Invocations of other functions have numbers that no task has.
const CHAINED: u64 = 1 << 62;
/// The error of a task that took too long.
const TIMEOUT: &str = "States.Timeout";

/// What has happened to a durable execution.
#[derive(Clone)]
pub(crate) enum Told {
    /// A callback has ended.
    Callback(String, Result<String, Value>),
    /// A function that it invoked has ended: its call.
    Invoked(TaskId, InvokeEnd),
}

/// A function that waits no longer than this is not noted to wait: it would soon run anyway.
const NOTED_MS: u64 = 60_000;

/// A checkpoint's token: which execution and task it is of, and its number.
struct CheckpointToken {
    run: RunId,
    task: TaskId,
    number: CheckpointNumber,
}

impl CheckpointToken {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.').map(|part| u64::from_str_radix(part, 16).ok());
        let mut next = || parts.next().flatten();
        let (run, task) = (RunId { machine: next()?, number: next()? }, TaskId(next()?));
        // The id of a callback ends otherwise.
        let number = CheckpointNumber { generation: next()?, invocation: next().unwrap_or_default() };
        Some(Self { run, task, number })
    }

    fn text(&self) -> String {
        format!("{}.{:x}", self.beginning(self.number.generation), self.number.invocation)
    }

    fn beginning(&self, generation: u64) -> String {
        let Self { run, task, .. } = self;
        format!("{:x}.{:x}.{:x}.{generation:x}", run.machine, run.number, task.0)
    }
}

impl Run {
    /// A durable task has ended: give the calls of functions that it has invoked, for which nobody waits any more.
    pub(super) fn forget_durable(&mut self, task: TaskId) -> BTreeMap<TaskId, OpenCall> {
        let Some(durable) = self.durables.remove(&task) else { return BTreeMap::new() };
        self.row.operation = durable.last().map(|one| {
            let told = one.to_json();
            let text = |field: &str| told[field].as_str().map(str::to_owned);
            let (kind, status) = (text("Type").unwrap_or_default(), text("Status").unwrap_or_default());
            LastOperation { r#type: kind, name: text("Name"), status }
        });
        let is_its = |call: &OpenCall| matches!(call.kind, CallKind::Chained { task: of, .. } if of == task);
        let (chained, others) = std::mem::take(&mut self.calls).into_iter().partition(|(_, call)| is_its(call));
        self.calls = others;
        chained
    }
}

/// Write down that a durable function is to run.
pub(super) fn begin_durable(
    room: &mut WorkflowRoom<'_>,
    id: RunId,
    call: &Call,
    given: Given<'_>,
) -> Result<(), ErrorDetails> {
    let function = given.text("FunctionName").unwrap_or_default();
    if room.workflows.is_in_memory(id) {
        let text = "a durable function is run by STANDARD workflows: the state of an EXPRESS one is not kept";
        return Err(ErrorDetails::new("States.Runtime", Some(text.into())));
    }
    let now_ms = room.below.ctx.now.wall_ms;
    if let Some(run) = room.workflows.runs.get_mut(&id) {
        run.durables.insert(
            call.task,
            Durable::new(
                call.task.0.to_string(),
                given.value("Payload").map_or_else(|| "null".into(), |payload| payload.to_string().into()),
                now_ms,
            ),
        );
    }
    room.call_later(id, call.task, &function, "".into(), CallKind::Durable);
    Ok(())
}

/// Take what a durable function has done.
pub(crate) fn durable_checkpoint(room: &mut WorkflowRoom<'_>, asked: DurableCheckpoint, waiter: Waiter) {
    let taken = room.below.ctx.check_room().and_then(|()| checkpoint(room, &asked)).map(json);
    room.answer_with_commit(waiter, taken);
}

fn checkpoint(room: &mut WorkflowRoom<'_>, asked: &DurableCheckpoint) -> Result<DurableCheckpointed, EngineError> {
    let token = token_of(room, &asked.token)?;
    let (id, task) = (token.run, token.task);
    let read = |update: &Value| serde_json::from_value::<Update>(update.clone());
    let updates: Vec<Update> = asked
        .updates
        .iter()
        .map(read)
        .collect::<Result<_, _>>()
        .map_err(|error| EngineError::Invalid(format!("an update cannot be read: {error}")))?;
    // A sign of life, which is a step of its own: what follows is taken back with it.
    room.bring(id, Fact::Heartbeat(task)).map_err(|_| gone())?;
    let now_ms = room.below.ctx.now.wall_ms;
    let number = |rng: &mut crate::base::rng::Rng| crate::base::bytes::hex(&rng.uuid().to_be_bytes());
    let secrets: Vec<String> = updates.iter().map(|_| number(&mut room.below.ctx.rng)).collect();
    let mut secrets = secrets.into_iter();
    let prefix = token.beginning(0);
    let mut callback = |_: &str| format!("{prefix}.{}", secrets.next().unwrap_or_default());
    let Some(durable) = room.workflows.runs.get_mut(&id).and_then(|run| run.durables.get_mut(&task)) else {
        return Err(gone());
    };
    let client_token = asked.client_token.as_deref();
    let made = durable.checkpoint(token.number, client_token, &updates, now_ms, &mut callback);
    let made = made.map_err(|refused| {
        EngineError::Invalid(match refused {
            Refused::OldToken => "Invalid checkpoint token: it was used, or the function was invoked again".into(),
            Refused::NonDeterministic(text) => format!("NonDeterministic: {text}"),
            Refused::Invalid(text) => text,
        })
    })?;
    let next = CheckpointToken { number: durable.number(), ..token };
    let mut operations = made.operations;
    for invoke in made.invokes {
        let operation = invoke.id.clone();
        let Err(error) = invoke_chained(room, (id, task), invoke) else { continue };
        let durable = room.workflows.runs.get_mut(&id).and_then(|run| run.durables.get_mut(&task)).ok_or_else(gone)?;
        let told = durable.invoke_refused(&operation, error, now_ms);
        let place = operations.iter_mut().find(|one| one["Id"] == operation.as_str());
        if let Some((place, told)) = place.zip(told) {
            *place = told;
        }
    }
    Ok(DurableCheckpointed { token: next.text(), operations })
}

/// Invoke a function: a durable one by an execution that begins in this commit, any other when this commit is durable. The error of one that
/// cannot be invoked is as AWS has it.
fn invoke_chained(room: &mut WorkflowRoom<'_>, (id, task): (RunId, TaskId), invoke: Invoke) -> Result<(), Value> {
    let Invoke { id: operation, function, payload } = invoke;
    // Numbers of tasks count from one, those of frames have the highest bit.
    let call = TaskId(CHAINED | (room.below.ctx.rng.next() & (CHAINED - 1)));
    let name = function_name(&function);
    let (unqualified, qualifier) = split(name);
    let refused = |kind: &str, text: String| json!({"ErrorType": kind, "ErrorMessage": text});
    if !room.workflows.durable_functions.contains(unqualified) {
        let mut dispatch = DispatchRoom { ctx: room.below.ctx, dispatch: room.below.dispatch };
        crate::dispatch::versions::address(&mut dispatch, name)
            .map_err(|error| refused("ResourceNotFoundException", error.to_string()))?;
        let kind = CallKind::Chained { task, operation, child: None };
        room.call_later(id, call, &function, payload.into(), kind);
        return Ok(());
    }
    let asked = if qualifier.is_none_or(|qualifier| qualifier == LATEST) { unqualified } else { name };
    let chosen = versions::choose(room, asked).map_err(|_| {
        let arn = room.below.ctx.function_arn(name);
        refused("ResourceNotFoundException", format!("Function not found: {arn}"))
    })?;
    if payload.len() > DATA_MAX {
        let text = format!("CHAINED_INVOKE input payload size must be less than or equal to {DATA_MAX} bytes.");
        return Err(refused("InvalidParameterValueException", text));
    }
    let input = Data::parse(&payload).map_err(|_| {
        refused("InvalidRequestContentException", "Could not parse request body into json: it is not JSON".into())
    })?;
    let run = room.workflows.runs.get(&id);
    let (depth, trace) = run.map_or((0, None), |run| (run.row.depth, run.row.trace.clone()));
    let parent = Some(Parent { run: id, task: call, as_json: true });
    let begin = Begin { name: None, input, parent, depth: depth + 1, trace };
    let begun = room.begin(&chosen, begin);
    let child = begun.map_err(|error| refused("RecursiveInvocationException", error.to_string()))?;
    let mut arn = String::new();
    if let Some(run) = room.workflows.runs.get(&child) {
        run.execution.identity().execution_arn.as_str().clone_into(&mut arn);
    }
    if let Some(run) = room.workflows.runs.get_mut(&id) {
        let kind = CallKind::Chained { task, operation, child: Some(child) };
        run.calls.insert(call, OpenCall { function: arn, payload: "".into(), kind });
    }
    Ok(())
}

/// Whether a task is the number of a function that a durable one has invoked.
pub(super) fn is_chained(task: TaskId) -> bool {
    (CHAINED..CHAINED << 1).contains(&task.0)
}

/// How the execution of a durable function has ended, for the one that has invoked it. Types and texts are AWS's.
pub(super) fn end_of(row: &ExecutionRow) -> InvokeEnd {
    let (error, cause) = (row.error.as_deref(), row.cause.as_deref());
    let took_too_long = row.status == Status::TimedOut || error == Some(TIMEOUT);
    match row.status {
        Status::Succeeded => {
            InvokeEnd::Succeeded(row.output.as_ref().map_or("null", |output| output.as_str()).to_owned())
        }
        Status::Aborted if error.is_none() && cause.is_none() => {
            InvokeEnd::Stopped(json!({"ErrorMessage": "Execution stopped by user request"}))
        }
        Status::Aborted => InvokeEnd::Stopped(error_of(error, cause)),
        _ if took_too_long => {
            let seconds = row.stopped_ms.unwrap_or(row.started_ms).saturating_sub(row.started_ms) / 1_000;
            let text = format!("CHAINED_INVOKE timed out after {seconds} seconds.");
            InvokeEnd::TimedOut(json!({"ErrorType": "ChainedInvoke.Timeout", "ErrorMessage": text}))
        }
        _ => failed(error, cause),
    }
}

/// What an invocation has failed with. A cause may be the error of the SDK as a whole, or a function's with its message.
fn failed(error: Option<&str>, cause: Option<&str>) -> InvokeEnd {
    let told: Value = serde_json::from_str(cause.unwrap_or_default()).unwrap_or_default();
    if told.get("ErrorMessage").or(told.get("ErrorType")).is_some() {
        return InvokeEnd::Failed(told);
    }
    InvokeEnd::Failed(error_of(error, told["errorMessage"].as_str().or(cause)))
}

fn error_of(kind: Option<&str>, message: Option<&str>) -> Value {
    let members = [("ErrorType", kind), ("ErrorMessage", message)];
    members.into_iter().filter_map(|(name, text)| text.map(|text| (name, text))).collect()
}

/// Tell a durable function that the execution which it has begun has ended: in the same commit.
pub(super) fn child_ended(workflows: &mut Workflows, parent: Parent, end: InvokeEnd) {
    let call = workflows.runs.get(&parent.run).and_then(|run| run.calls.get(&parent.task));
    // The execution may have ended, and left it.
    let Some(CallKind::Chained { task, .. }) = call.map(|call| &call.kind) else { return };
    let (fact, brings) = (Fact::Heartbeat(*task), Some(Brings::Durable(Told::Invoked(parent.task, end))));
    workflows.inbox.push_back(Happened { run: parent.run, fact, is_kept: false, brings });
}

/// Look after a restart for the execution of a function that was invoked. A release before that ran meanwhile may have ended it, and told nobody.
pub(super) fn child_is_waited_for(part: &mut WorkflowParticipant<'_>, run: RunId, call: TaskId, child: RunId) {
    if part.workflows.runs.contains_key(&child) {
        return;
    }
    let end = match part.ctx.row(Table::Execution, &child.bytes()) {
        Ok(row) => match row.map(|row| serde_json::from_slice::<ExecutionRow>(&row)) {
            Some(Ok(row)) => end_of(&row),
            _ => InvokeEnd::Failed(json!({"ErrorMessage": "its execution is not kept any more"})),
        },
        Err(error) => return part.ctx.fail(error),
    };
    child_ended(part.workflows, Parent { run, task: call, as_json: true }, end);
}

/// A page of a durable execution's operations, for its function.
pub(crate) fn durable_operations(room: &mut WorkflowRoom<'_>, asked: DurableOperations) -> Result<Done, EngineError> {
    let token = token_of(room, &asked.token)?;
    let durable = room.workflows.runs.get(&token.run).and_then(|run| run.durables.get(&token.task)).ok_or_else(gone)?;
    let operations = durable.page(asked.from, PAGE);
    let next = Some(asked.from + operations.len()).filter(|next| *next < durable.len());
    Ok(Done::at_once(DurablePage { operations, next }))
}

/// What the durable function of an execution has done.
pub(crate) fn durable_describe(room: &mut WorkflowRoom<'_>, asked: ExecutionNamed) -> Result<Done, EngineError> {
    let (id, _) = room.found(&asked.workflow, &asked.name)?;
    let durables = room.workflows.runs.get(&id).map(|run| &run.durables);
    let operations = durables.into_iter().flat_map(|all| all.values()).flat_map(Durable::operations);
    Ok(Done::at_once(DurablePage { operations: operations.collect(), next: None }))
}

/// Tell a callback its end, or that it is on its way.
pub(crate) fn durable_callback(room: &mut WorkflowRoom<'_>, asked: DurableCallback, waiter: Waiter) {
    let told = room.below.ctx.check_room().and_then(|()| tell_callback(room, asked)).map(json);
    room.answer_with_commit(waiter, told);
}

fn tell_callback(room: &mut WorkflowRoom<'_>, asked: DurableCallback) -> Result<Empty, EngineError> {
    let DurableCallback { callback_id, result, error, is_heartbeat } = asked;
    let invalid = || EngineError::Invalid("Invalid callback id".into());
    let token = CheckpointToken::parse(&callback_id).ok_or_else(invalid)?;
    let (run, task) = (token.run, token.task);
    let now_ms = room.below.ctx.now.wall_ms;
    let over = || EngineError::NotFound("CallbackTimeoutException: the callback is over, or never was".into());
    let mut known = room.workflows.runs.get(&run).and_then(|run| run.durables.get(&task)).cloned().ok_or_else(over)?;
    if is_heartbeat {
        if !known.callback_heartbeat(&callback_id, now_ms) {
            return Err(over());
        }
        room.bring(run, Fact::Heartbeat(task)).map_err(|_| over())?;
        if let Some(durable) = room.workflows.runs.get_mut(&run).and_then(|run| run.durables.get_mut(&task)) {
            *durable = known;
        }
        return Ok(Empty {});
    }
    let end = match error {
        Some(error) => Err(error),
        None => Ok(result.unwrap_or_default()),
    };
    if !known.callback_told(&callback_id, end.clone(), now_ms) {
        return Err(over());
    }
    let brings = Some(Brings::Durable(Told::Callback(callback_id, end)));
    room.bring_all(Happened { run, fact: Fact::Heartbeat(task), is_kept: false, brings }).map_err(|_| over())?;
    Ok(Empty {})
}

fn token_of(room: &WorkflowRoom<'_>, text: &str) -> Result<CheckpointToken, EngineError> {
    let token = CheckpointToken::parse(text).ok_or_else(|| EngineError::Invalid("Invalid checkpoint token".into()))?;
    let durable = room.workflows.runs.get(&token.run).and_then(|run| run.durables.get(&token.task));
    durable.map(|_| token).ok_or_else(gone)
}

fn gone() -> EngineError {
    EngineError::NotFound("the durable execution has ended".into())
}

/// Take what has happened to a durable execution; its function is invoked again when that is durable.
pub(super) fn durable_told(workflows: &mut Workflows, id: RunId, task: TaskId, told: Told, now_ms: u64) {
    let Some(run) = workflows.runs.get_mut(&id) else { return };
    let Some(durable) = run.durables.get_mut(&task) else { return };
    match told {
        Told::Callback(callback, result) => {
            durable.callback_told(&callback, result, now_ms);
        }
        Told::Invoked(call, end) => {
            let Some(OpenCall { kind: CallKind::Chained { operation, .. }, .. }) = run.calls.remove(&call) else {
                return;
            };
            durable.invoke_ended(&operation, end, now_ms);
        }
    }
    if let Some(step) = workflows.unsaved.by_run.get_mut(&id) {
        step.calls.push(task);
    }
}

/// Have an execution's state written with what is written next. Nobody waits for it: if it is lost, its function runs once more.
fn note(part: &mut WorkflowParticipant<'_>, id: RunId) {
    let Some(run) = part.workflows.runs.get(&id) else { return };
    let step = || Step { before: Some(run.clone()), ..Step::default() };
    part.workflows.unsaved.by_run.entry(id).or_insert_with(step);
    part.ctx.commit.pending.begin_lazily(part.ctx.now.mono_ns);
}

/// Whether a durable function waits and there is nothing to tell it: then it is asked again when something is due. One that ran when the last
/// process died runs again.
pub(super) fn goes_on_waiting(part: &mut WorkflowParticipant<'_>, run: RunId, task: TaskId) -> bool {
    let now_ms = part.ctx.now.wall_ms;
    let was_running = part.workflows.interrupted.contains_key(&(run, task));
    let durable = part.workflows.runs.get_mut(&run).and_then(|run| run.durables.get_mut(&task));
    let Some(durable) = durable.filter(|_| !was_running) else { return false };
    if !durable.is_waiting(now_ms) {
        return false;
    }
    part.workflows.questions.extend(durable.due_ms().map(|due_ms| (due_ms, run, task)));
    true
}

/// The event of a durable function's next invocation; `None`: it runs already.
pub(super) fn durable_event(part: &mut WorkflowParticipant<'_>, run: RunId, task: TaskId) -> Option<String> {
    if part.workflows.attempts.contains_key(&(run, task)) {
        return None;
    }
    let now_ms = part.ctx.now.wall_ms;
    let invocation = part.ctx.rng.next();
    let of = part.workflows.runs.get_mut(&run)?;
    let arn = format!("{}/{}", of.execution.identity().execution_arn, task.0);
    let durable = of.durables.get_mut(&task)?;
    let (operations, updated) = durable.invoked(invocation, now_ms, PAGE);
    let next = if operations.len() < durable.len() { operations.len().to_string() } else { String::new() };
    let token = CheckpointToken { run, task, number: durable.number() };
    let event = json!({
        "DurableExecutionArn": arn,
        "CheckpointToken": token.text(),
        "InitialExecutionState": {"Operations": operations, "NextMarker": next},
        "UpdatedOperationIds": updated,
    });
    Some(event.to_string())
}

/// A durable function has answered.
pub(super) fn durable_ended(
    part: &mut WorkflowParticipant<'_>,
    run: RunId,
    task: TaskId,
    answer: Result<Value, ErrorDetails>,
) {
    let now_ms = part.ctx.now.wall_ms;
    let Some(durable) = part.workflows.runs.get_mut(&run).and_then(|run| run.durables.get_mut(&task)) else {
        return;
    };
    let written = durable.result().cloned();
    let status = answer.as_ref().ok().and_then(|answer| answer["Status"].as_str()).unwrap_or_default();
    match (status, answer.as_ref()) {
        ("SUCCEEDED", Ok(answer)) => {
            let given = answer["Result"].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
            let text = given.or(written.and_then(Result::ok)).unwrap_or_else(|| "null".into());
            let fact = match Data::parse(&text) {
                Ok(result) => Fact::TaskSucceeded(task, result),
                Err(error) => {
                    let cause = format!("the result of the durable function cannot be read: {error:?}");
                    Fact::TaskFailed(task, ErrorDetails::new("States.Runtime", Some(cause)))
                }
            };
            outside::told(part, run, fact, None);
        }
        ("FAILED", Ok(answer)) => {
            let details = match durable.misfit() {
                Some(text) => ErrorDetails::new("NonDeterministic", Some(text.to_owned())),
                None => {
                    let error = written.and_then(Result::err).unwrap_or_else(|| answer["Error"].clone());
                    let name = error["ErrorType"].as_str().unwrap_or("States.TaskFailed").to_owned();
                    ErrorDetails::new(name, Some(error.to_string()))
                }
            };
            outside::told(part, run, Fact::TaskFailed(task, details), None);
        }
        ("PENDING", Ok(_)) if durable.has_changed(now_ms) => part.begin_call(run, task, true),
        ("PENDING", Ok(_)) => {
            durable.waits();
            let due_ms = durable.due_ms();
            if due_ms.is_none_or(|due_ms| due_ms >= now_ms.saturating_add(NOTED_MS)) {
                note(part, run);
            }
            if let Some(due_ms) = due_ms {
                part.workflows.questions.insert((due_ms, run, task));
                part.arm();
            }
        }
        (_, answer) => {
            let failures = durable.failed();
            if failures < FAILURES_MAX {
                part.workflows.questions.insert((now_ms + (500 << failures), run, task));
                return part.arm();
            }
            let details = answer.err().cloned().unwrap_or_else(|| {
                let cause = "the function has answered with no Status: is its handler a durable one?";
                ErrorDetails::new("States.Runtime", Some(cause.into()))
            });
            outside::told(part, run, Fact::TaskFailed(task, details), None);
        }
    }
}

/// A function that a durable one has invoked has ended.
pub(super) fn chained_ended(
    part: &mut WorkflowParticipant<'_>,
    run: RunId,
    call: TaskId,
    task: TaskId,
    answer: Result<String, ErrorDetails>,
) {
    let end = match answer {
        Ok(result) => InvokeEnd::Succeeded(result),
        Err(details) => failed(details.error.as_deref(), details.cause.as_deref()),
    };
    let brings = Some(Brings::Durable(Told::Invoked(call, end)));
    part.workflows.inbox.push_back(Happened { run, fact: Fact::Heartbeat(task), is_kept: true, brings });
}
