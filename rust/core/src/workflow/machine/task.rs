//! Task states: the call that goes out, and what is told of it.

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::data::Data;
use super::exit::Exit;
use super::failure::{Failure, TIMEOUT};
use super::frame::{FrameId, OpenTask, Step, TaskId};
use super::history::{CallKind, CallPhase, ErrorDetails, EventKind, Scheduled};
use super::{context, exit, failure, map, map_run, Call, Command, Execution, Fact, Refused, Turn};
use crate::workflow::definition::{Pattern, Resource, StateKind, Task};
use crate::workflow::digest::digits;
use crate::workflow::query::Documents;

/// What stands for a token in a state that is written.
pub(super) fn token_hash(token: &str) -> String {
    digits(&Sha256::digest(token.as_bytes()))
}

/// What a task is called with.
struct Settings {
    timeout_seconds: Option<u64>,
    heartbeat_seconds: Option<u64>,
    role_arn: Option<String>,
}

pub(super) fn begin_task(
    execution: &mut Execution,
    turn: &mut Turn<'_>,
    id: FrameId,
    task: &Task,
) -> Result<(), Failure> {
    let task_id = TaskId(execution.next_task);
    let token = token(execution, turn, task, task_id);
    let arguments = Data::new(exit::arguments(execution, turn, id, token.as_deref())?);
    let settings = task_settings(execution, turn, id, task, token.as_deref())?;
    let Some(frame) = execution.frames.get(&id) else { return Ok(()) };
    let state = turn.definition.state(frame.state);
    if arguments.is_over_limit() {
        return Err(Failure::too_large(&state.name));
    }
    if turn.inspection.is_some() {
        return inspect_answer(execution, turn, id, arguments.value());
    }
    let kind = CallKind::from(&task.resource);
    record_scheduled(execution, turn, id, &kind, &arguments, &settings);
    let seconds = |seconds: Option<u64>| seconds.map(|seconds| seconds.saturating_mul(1_000));
    let has_heartbeat = token.is_some();
    let heartbeat_ms = seconds(settings.heartbeat_seconds).filter(|_| has_heartbeat);
    let timeout_ms = seconds(settings.timeout_seconds);
    // Both times of an activity begin when a worker takes it.
    let is_activity = matches!(kind, CallKind::Activity(_));
    let due_ms = |ms: Option<u64>| ms.filter(|_| !is_activity).map(|ms| turn.now_ms.saturating_add(ms));
    let open = OpenTask {
        id: task_id,
        kind,
        is_submitted: false,
        token_hash: token.as_deref().map(token_hash),
        due_ms: due_ms(timeout_ms),
        timeout_ms: timeout_ms.filter(|_| is_activity),
        heartbeat_ms,
        heartbeat_due_ms: due_ms(heartbeat_ms),
    };
    turn.commands.push(Command::Call(Box::new(Call {
        task: task_id,
        state: state.name.clone(),
        resource: task.resource.clone(),
        arguments,
        token,
        timeout_seconds: settings.timeout_seconds,
        heartbeat_seconds: settings.heartbeat_seconds,
        role_arn: settings.role_arn,
    })));
    execution.next_task += 1;
    if let Some(frame) = execution.frames.get_mut(&id) {
        frame.step = Step::Task(Box::new(open));
    }
    Ok(())
}

/// `TestState` makes no call: it has the answer, or asks for it.
pub(super) fn inspect_answer(
    execution: &mut Execution,
    turn: &mut Turn<'_>,
    id: FrameId,
    arguments: &Value,
) -> Result<(), Failure> {
    let Some(inspection) = &mut turn.inspection else { return Ok(()) };
    match inspection.answer.clone() {
        Some(Ok(result)) => {
            let is_task = matches!(execution.frames.get(&id), Some(frame) if turn.definition.state(frame.state).kind == StateKind::Task);
            if is_task {
                turn.inspect("result", &result);
            }
            exit::exit_state(execution, turn, id, Exit::with(result))
        }
        Some(Err(details)) => Err(Failure::of_state(details)),
        None => {
            inspection.arguments = Some(arguments.clone());
            Ok(())
        }
    }
}

/// A token nobody can guess, for tasks that are answered by one.
fn token(execution: &Execution, turn: &mut Turn<'_>, task: &Task, id: TaskId) -> Option<String> {
    let is_token =
        matches!(task.resource, Resource::Activity(_)) || task.resource.pattern() == Pattern::WaitForTaskToken;
    is_token.then(|| {
        let (high, low) = (turn.entropy.next_u64(), turn.entropy.next_u64());
        format!("{}.{}.{high:016x}{low:016x}", execution.identity.token_prefix, id.0)
    })
}

fn task_settings(
    execution: &Execution,
    turn: &mut Turn<'_>,
    id: FrameId,
    task: &Task,
    token: Option<&str>,
) -> Result<Settings, Failure> {
    let Some(frame) = execution.frames.get(&id) else { return Err(Failure::timeout(false)) };
    let state = turn.definition.state(frame.state);
    let context = context::context(execution, turn, frame, token);
    let effective = super::exit::effective_input(state, frame.input.value(), &context, &frame.variables)?;
    let documents = Documents { root: &effective, ..turn.documents(frame, &context) };
    let timeout = task.timeout.as_ref();
    let timeout = timeout.map(|operand| operand.seconds("TimeoutSeconds", &documents, turn.entropy)).transpose()?;
    let heartbeat = task.heartbeat.as_ref();
    let heartbeat =
        heartbeat.map(|operand| operand.seconds("HeartbeatSeconds", &documents, turn.entropy)).transpose()?;
    let credentials = task.credentials.as_ref();
    let credentials = credentials.map(|payload| payload.evaluate(&documents, turn.entropy)).transpose()?;
    let role_arn = credentials.as_ref().and_then(|credentials| credentials.get("RoleArn")).and_then(Value::as_str);
    Ok(Settings { timeout_seconds: timeout, heartbeat_seconds: heartbeat, role_arn: role_arn.map(ToOwned::to_owned) })
}

fn record_scheduled(
    execution: &mut Execution,
    turn: &mut Turn<'_>,
    id: FrameId,
    kind: &CallKind,
    arguments: &Data,
    settings: &Settings,
) {
    let region = execution.identity.region.clone();
    record_call(execution, turn, id, kind, || {
        CallPhase::Scheduled(Box::new(Scheduled {
            parameters: arguments.text().clone(),
            region,
            timeout_seconds: settings.timeout_seconds,
            heartbeat_seconds: settings.heartbeat_seconds,
            role_arn: settings.role_arn.clone(),
        }))
    });
    // An activity starts when a worker takes it.
    if !matches!(kind, CallKind::Activity(_)) {
        record_call(execution, turn, id, kind, || CallPhase::Started(None));
    }
}

fn record_call(
    execution: &mut Execution,
    turn: &mut Turn<'_>,
    id: FrameId,
    kind: &CallKind,
    phase: impl FnOnce() -> CallPhase,
) {
    let Some(frame) = execution.frames.get(&id) else { return };
    let previous = frame.last;
    let event = execution.record(turn, previous, || EventKind::Call(kind.clone(), phase()));
    failure::set_last(execution, id, event);
}

/// The frame that waits for a task.
fn open_task(execution: &mut Execution, task: TaskId) -> Result<(FrameId, &mut OpenTask), Refused> {
    let found = execution.frames.iter_mut().find_map(|(id, frame)| match &mut frame.step {
        Step::Task(open) if open.id == task => Some((*id, &mut **open)),
        _ => None,
    });
    found.ok_or(Refused::NoTask)
}

pub(super) fn heartbeat(execution: &mut Execution, turn: &Turn<'_>, task: TaskId) -> Result<(), Refused> {
    let (_, open) = open_task(execution, task)?;
    open.heartbeat_due_ms = open.heartbeat_ms.map(|ms| turn.now_ms.saturating_add(ms));
    Ok(())
}

/// As if heartbeats had come that keep a task until then.
pub(super) fn beats_until(execution: &mut Execution, task: TaskId, until_ms: u64) {
    if let Ok((_, open)) = open_task(execution, task) {
        open.heartbeat_due_ms = open.heartbeat_due_ms.map(|due_ms| due_ms.max(until_ms));
    }
}

pub(super) fn task_started(
    execution: &mut Execution,
    turn: &mut Turn<'_>,
    task: TaskId,
    worker: Option<String>,
) -> Result<(), Refused> {
    let (id, open) = open_task(execution, task)?;
    if open.is_submitted || !matches!(open.kind, CallKind::Activity(_)) {
        return Err(Refused::NotExpected);
    }
    open.is_submitted = true;
    // A task of an earlier release has been timed since it was scheduled.
    open.due_ms = open.timeout_ms.map(|ms| turn.now_ms.saturating_add(ms)).or(open.due_ms);
    open.heartbeat_due_ms = open.heartbeat_ms.map(|ms| turn.now_ms.saturating_add(ms));
    let kind = open.kind.clone();
    record_call(execution, turn, id, &kind, || CallPhase::Started(worker));
    Ok(())
}

pub(super) fn task_submitted(
    execution: &mut Execution,
    turn: &mut Turn<'_>,
    task: TaskId,
    output: &Data,
) -> Result<(), Refused> {
    let (id, open) = open_task(execution, task)?;
    // The action of a call that goes on after its answer has its pattern behind a full stop.
    let goes_on = matches!(&open.kind, CallKind::Service { action, .. } if action.contains('.'));
    if open.is_submitted || !goes_on {
        return Err(Refused::NotExpected);
    }
    open.is_submitted = true;
    let kind = open.kind.clone();
    record_call(execution, turn, id, &kind, || CallPhase::Submitted(output.text().clone()));
    Ok(())
}

pub(super) fn task_succeeded(
    execution: &mut Execution,
    turn: &mut Turn<'_>,
    task: TaskId,
    output: Data,
) -> Result<(), Refused> {
    match record_succeeded(execution, turn, task, &output)? {
        Ok(id) => leave_task(execution, turn, id, output),
        Err(failure) => task_failed(execution, turn, task, failure.details, CallPhase::Failed)?,
    }
    Ok(())
}

/// Write down that a task has succeeded. Nothing is written where its answer is too large: then it has failed.
fn record_succeeded(
    execution: &mut Execution,
    turn: &mut Turn<'_>,
    task: TaskId,
    output: &Data,
) -> Result<Result<FrameId, Failure>, Refused> {
    let (id, open) = open_task(execution, task)?;
    let kind = open.kind.clone();
    if output.is_over_limit() {
        return Ok(Err(Failure::too_large(kind.name())));
    }
    record_call(execution, turn, id, &kind, || CallPhase::Succeeded(output.text().clone()));
    Ok(Ok(id))
}

/// Leave a task's state with its answer.
pub(super) fn leave_task(execution: &mut Execution, turn: &mut Turn<'_>, id: FrameId, output: Data) {
    if let Some(frame) = execution.frames.get_mut(&id) {
        frame.step = Step::Begin;
    }
    if let Err(failure) = exit::exit_state(execution, turn, id, Exit::with(output.into_value())) {
        failure::fail(execution, turn, id, failure);
    }
}

pub(super) fn task_failed(
    execution: &mut Execution,
    turn: &mut Turn<'_>,
    task: TaskId,
    details: ErrorDetails,
    phase: fn(ErrorDetails) -> CallPhase,
) -> Result<(), Refused> {
    let details = details.shortened();
    let id = record_failed(execution, turn, task, &details, phase)?;
    if let Some(frame) = execution.frames.get_mut(&id) {
        frame.step = Step::Begin;
    }
    failure::fail(execution, turn, id, Failure::of_state(details));
    Ok(())
}

fn record_failed(
    execution: &mut Execution,
    turn: &mut Turn<'_>,
    task: TaskId,
    details: &ErrorDetails,
    phase: fn(ErrorDetails) -> CallPhase,
) -> Result<FrameId, Refused> {
    let (id, open) = open_task(execution, task)?;
    let kind = open.kind.clone();
    // What an activity or a callback fails with as States.Timeout is a time-out in the history, too.
    let is_timeout = details.error.as_deref() == Some(TIMEOUT);
    let phase = if is_timeout { CallPhase::TimedOut } else { phase };
    record_call(execution, turn, id, &kind, || phase(details.clone()));
    Ok(id)
}

/// Write down that a task has succeeded; its state is left after a redrive.
pub(super) fn note_success(
    execution: &mut Execution,
    turn: &mut Turn<'_>,
    task: TaskId,
    output: Data,
) -> Result<(), Refused> {
    match record_succeeded(execution, turn, task, &output)? {
        Ok(id) => {
            if let Some(frame) = execution.frames.get_mut(&id) {
                frame.step = Step::Answered(output);
            }
        }
        Err(failure) => note_failure(execution, turn, task, failure.details, CallPhase::Failed)?,
    }
    Ok(())
}

/// Write down that a task has failed; its state begins once more after a redrive.
pub(super) fn note_failure(
    execution: &mut Execution,
    turn: &mut Turn<'_>,
    task: TaskId,
    details: ErrorDetails,
    phase: fn(ErrorDetails) -> CallPhase,
) -> Result<(), Refused> {
    let id = record_failed(execution, turn, task, &details.shortened(), phase)?;
    if let Some(frame) = execution.frames.get_mut(&id) {
        frame.step = Step::Failed;
    }
    Ok(())
}

/// A task took too long, or was silent for too long.
pub(super) fn task_due(execution: &mut Execution, turn: &mut Turn<'_>, id: FrameId) {
    let Some(Step::Task(open)) = execution.frames.get(&id).map(|frame| &frame.step) else { return };
    let (task, kind) = (open.id, open.kind.clone());
    let is_heartbeat = open.due_ms.is_none_or(|due_ms| turn.now_ms < due_ms);
    turn.commands.push(Command::Cancel(task));
    let failure = Failure::timeout(is_heartbeat);
    let details = failure.details.clone();
    record_call(execution, turn, id, &kind, || CallPhase::TimedOut(details));
    if let Some(frame) = execution.frames.get_mut(&id) {
        frame.step = Step::Begin;
    }
    failure::fail(execution, turn, id, failure);
}

/// What has happened to an execution that ends before it could go on from it: it is written down, and a redrive goes on from it.
pub(super) fn take_note(execution: &mut Execution, turn: &mut Turn<'_>, fact: Fact) -> Result<(), Refused> {
    match fact {
        Fact::TaskStarted(task, worker) => task_started(execution, turn, task, worker),
        Fact::TaskSubmitted(task, output) => task_submitted(execution, turn, task, &output),
        Fact::TaskSucceeded(task, output) => note_success(execution, turn, task, output),
        Fact::TaskFailed(task, details) => note_failure(execution, turn, task, details, CallPhase::Failed),
        Fact::TaskSubmitFailed(task, details) => note_failure(execution, turn, task, details, CallPhase::SubmitFailed),
        Fact::TaskStartFailed(task, details) => note_failure(execution, turn, task, details, CallPhase::StartFailed),
        Fact::ChildEnded(run, index, outcome) => map_run::count_child(execution, turn, run, index, &outcome),
        Fact::Items(call, items, is_last) => map::keep_items(execution, call, items, is_last),
        // What failed to be read, and what was written, is tried anew. The rest says nothing that lasts.
        Fact::ReadFailed(..)
        | Fact::Written(..)
        | Fact::WriteFailed(..)
        | Fact::Heartbeat(_)
        | Fact::Start
        | Fact::Due
        | Fact::Stop(_)
        | Fact::Redrive => Ok(()),
    }
}

impl From<&Resource> for CallKind {
    fn from(resource: &Resource) -> Self {
        match resource {
            Resource::Function(arn) => Self::Function(arn.clone()),
            Resource::Activity(arn) => Self::Activity(arn.clone()),
            Resource::Service { service, action, .. } => {
                Self::Service { service: service.clone(), action: action.clone() }
            }
        }
    }
}

impl CallKind {
    /// The name that AWS's texts about too long results give it.
    pub fn name(&self) -> &str {
        match self {
            Self::Service { service, .. } => service,
            Self::Function(arn) | Self::Activity(arn) => arn,
        }
    }
}
