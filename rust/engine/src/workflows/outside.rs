//! What tasks call outside of the store: services by the app's integrations, and files by its object stores.
//!
//! One function of the app makes these calls, so each is counted, timed, and made again after a crash as the call of any function is. A job
//! that goes on (`.sync`) is asked about now and then until it has ended.

use std::collections::{BTreeMap, BTreeSet};

use forebay_core::workflow::definition::{Pattern, Resource};
use forebay_core::workflow::machine::{
    Call, ErrorDetails, Fact, FrameId, ReadRequest, RunKey, TaskId, Text, WriteRequest,
};
use serde::{Deserialize, Serialize};
use serde_json::{json, Value};

use crate::api::workflow::DeclareIntegrations;
use crate::api::Empty;
use crate::base::ids::uuid_text;
use crate::base::trace::Carried;
use crate::buses::deliver;
use crate::commit::done::Done;
use crate::store::format::keys::STORE;
use crate::store::port::Table;
use crate::workflows::durable::{self, Told};
use crate::workflows::express::InMemory;
use crate::workflows::participant::WorkflowParticipant;
use crate::workflows::row::{CallKind, ExecutionRow, OpenCall, RunId};
use crate::workflows::{Happened, WorkflowRoom, Workflows};

/// The function that makes the calls.
pub(crate) const FUNCTION: &str = "forebay-integrations";
/// Longest time between two questions about a job.
const ASKED_MS_MAX: u64 = 60_000;
/// How long after a question that the function has not answered.
const ASKED_AGAIN_MS: u64 = 5_000;
/// Calls for a Map's run have numbers that no task has.
const OF_RUN: u64 = 1 << 63;

/// What the app can call beside the store. A name may end in `*`, which stands for the rest.
#[derive(Default)]
pub(crate) struct Integrations {
    resources: BTreeSet<String>,
    /// The parameters that calls take, by the resource without its pattern.
    parameters: BTreeMap<String, Vec<String>>,
}

impl From<DeclareIntegrations> for Integrations {
    fn from(declared: DeclareIntegrations) -> Self {
        Self { resources: declared.resources.into_iter().collect(), parameters: declared.parameters }
    }
}

impl Integrations {
    /// Whether it can call a resource: `SERVICE:ACTION`, with the action's pattern.
    pub(crate) fn has(&self, resource: &str) -> bool {
        self.resources.iter().any(|known| match known.strip_suffix('*') {
            Some(beginning) => resource.starts_with(beginning),
            None => known == resource,
        })
    }

    /// What can be called of a service.
    pub(crate) fn of_service(&self, service: &str) -> Vec<&str> {
        let is_of = |known: &&str| known.split_once(':').is_some_and(|(name, _)| name == service);
        self.resources.iter().map(String::as_str).filter(is_of).collect()
    }

    /// The parameters of a call, if its integration names them. `resource` is without its pattern.
    pub(crate) fn parameters(&self, resource: &str) -> Option<&[String]> {
        self.parameters.get(resource).map(Vec::as_slice)
    }
}

/// What a step changes of an execution beside what the machine does.
#[derive(Clone)]
pub(crate) enum Brings {
    /// The task's next call: the question whether its job has ended.
    Call(OpenCall),
    /// How far items are read; `None`: to the end.
    Read(FrameId, Option<Value>),
    /// What has happened to a durable execution.
    Durable(Told),
    /// A child that ran in memory, for whoever writes the results.
    Child(RunId, Box<ExecutionRow>),
}

/// Items that are being read.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Reading {
    request: Value,
    /// Where the next page begins.
    next: Option<Value>,
}

/// The number of the call that reads a Map's items, or writes its results.
pub(crate) fn task_of_run(call: RunKey) -> TaskId {
    TaskId(OF_RUN | call.0)
}

fn run_of_task(task: TaskId) -> RunKey {
    RunKey(task.0 & !OF_RUN)
}

/// Whether a call is one that the run of a frame makes.
pub(crate) fn is_of_frame(task: TaskId, frame: FrameId) -> bool {
    task.0 & OF_RUN != 0 && run_of_task(task).frame() == frame
}

/// The name of a resource as integrations are declared: `elasticmapreduce:addStep.sync`.
pub(crate) fn resource_name(resource: &Resource) -> Option<String> {
    match resource {
        Resource::Service { service, action, .. } => Some(format!("{service}:{action}")),
        Resource::Function(_) | Resource::Activity(_) => None,
    }
}

/// The name of what reads items or writes results, out of its ARN: `s3:getObject`.
pub(crate) fn object_action(arn: &str) -> &str {
    arn.split_once(":::").map_or(arn, |(_, name)| name)
}

/// Say what this process can call.
pub(super) fn integrations_declare(room: &mut WorkflowRoom<'_>, asked: DeclareIntegrations) -> Done {
    room.workflows.integrations = asked.into();
    // Long before the first call, so that it is on disk by then.
    store_number(room);
    Done::at_once(Empty {})
}

/// The number of this store, which services outside know its calls by. Stores of earlier releases are given one.
fn store_number(room: &mut WorkflowRoom<'_>) -> u128 {
    if let Some(known) = room.workflows.store {
        return known;
    }
    let ctx = &mut *room.below.ctx;
    let number = ctx.rng.uuid();
    ctx.commit.pending.set(Table::Meta, STORE.to_vec(), number.to_be_bytes().to_vec());
    ctx.commit.pending.begin_lazily(ctx.now.mono_ns);
    room.workflows.store = Some(number);
    number
}

/// Write down that an integration is to be called.
pub(super) fn call_outside(room: &mut WorkflowRoom<'_>, id: RunId, call: &Call) {
    let Resource::Service { service, action, pattern } = &call.resource else { return };
    let run = room.workflows.runs.get(&id);
    let execution = run.map_or_else(String::new, |run| run.execution.identity().execution_arn.as_str().to_owned());
    let is_old = run.and_then(|run| run.memory.as_ref()).is_some_and(InMemory::has_old_ids);
    let task = call.task.0;
    // A call that is made again after a crash has the same one. One of another store has another, and so has an execution with a name
    // that another had before.
    let call_id = if is_old {
        format!("{execution}/{task}")
    } else {
        format!("{execution}/{}/{:x}.{:x}/{task}", uuid_text(store_number(room)), id.machine, id.number)
    };
    let pattern = match pattern {
        Pattern::RequestResponse => "request",
        Pattern::Sync => "sync",
        Pattern::Sync2 => "sync2",
        Pattern::WaitForTaskToken => "token",
    };
    let payload = json!({"call": {
        "service": service,
        "action": action.split('.').next().unwrap_or_default(),
        "pattern": pattern,
        "parameters": call.arguments.value(),
        "id": call_id,
        "seconds": call.timeout_seconds,
    }});
    let kind = CallKind::Outside { goes_on: call.resource.pattern().is_submitted() };
    room.call_later(id, call.task, FUNCTION, payload.to_string().into(), kind);
}

/// Read the first items of a Map's run.
pub(super) fn begin_reading(room: &mut WorkflowRoom<'_>, id: RunId, call: RunKey, request: &ReadRequest) {
    let Some(run) = room.workflows.runs.get_mut(&id) else { return };
    let request = serde_json::to_value(request).unwrap_or_default();
    run.readings.insert(call.frame(), Reading { request, next: None });
    read_on(room, id, call);
}

/// Read the next items.
pub(super) fn read_on(room: &mut WorkflowRoom<'_>, id: RunId, call: RunKey) {
    let Some(reading) = room.workflows.runs.get(&id).and_then(|run| run.readings.get(&call.frame())) else {
        let cause = "how far the items were read is not known any more: start another execution".to_owned();
        let details = ErrorDetails::new("States.ItemReaderFailed", Some(cause));
        return room.workflows.happened(id, Fact::ReadFailed(call, details));
    };
    let payload = json!({"read": reading.request, "from": reading.next}).to_string();
    room.call_later(id, task_of_run(call), FUNCTION, payload.into(), CallKind::Read(call.frame()));
}

/// Write the results of a Map's run.
pub(super) fn write_results(room: &mut WorkflowRoom<'_>, id: RunId, call: RunKey, request: &WriteRequest) {
    let Some(run) = room.workflows.runs.get(&id) else { return };
    let number = run.map_runs.get(&call.frame()).map(|(_, number)| *number);
    let arn = run.map_runs.get(&call.frame()).map(|(arn, _)| arn.as_str());
    let payload = json!({"write": request, "map_run": number, "map_run_arn": arn}).to_string();
    room.call_later(id, task_of_run(call), FUNCTION, payload.into(), CallKind::Write(call.frame()));
}

/// Have the job of a call that is given up stopped: an event of the same commit tells the function, also one that is not registered now.
pub(super) fn stop_job(room: &mut WorkflowRoom<'_>, call: &OpenCall) {
    if call.kind != CallKind::Job {
        return;
    }
    let asked: Value = serde_json::from_str(call.payload.as_str()).unwrap_or_default();
    let payload = json!({"stop": asked["poll"]}).to_string();
    room.below.events().event_queue_of(FUNCTION);
    if let Err(error) = deliver::invoke(&mut room.below, FUNCTION, &payload, Carried { hops: 0, trace: None }) {
        room.below.ctx.notice(
            crate::observe::operator_events::OperatorEvent::JobNotStopped,
            FUNCTION,
            json!({"job": asked["poll"], "error": error.to_string()}),
        );
    }
}

/// A call that may start a job has ended. If its task was given up meanwhile, nobody waits for the job.
pub(super) fn stop_unwanted_job(
    workflows: &mut Workflows,
    (run, task): (RunId, TaskId),
    payload: &[u8],
    answer: Option<Vec<u8>>,
) {
    if workflows.runs.get(&run).is_some_and(|run| run.calls.contains_key(&task)) {
        return;
    }
    let answer: Option<Value> = answer.and_then(|answer| serde_json::from_slice(&answer).ok());
    let job = answer.map(|mut answer| answer["job"].take()).filter(|job| !job.is_null());
    workflows.unwanted_jobs.extend(job.map(|job| question(payload, &job)));
}

/// The question about a job that a task learns to have begun.
pub(super) fn begun_job(happened: &Happened) -> Option<OpenCall> {
    match &happened.brings {
        Some(Brings::Call(call)) if call.kind == CallKind::Job => Some(call.clone()),
        _ => None,
    }
}

/// Have jobs stopped that nobody waits for. If the commit is refused they are stopped again.
pub(super) fn stop_unwanted_jobs(room: &mut WorkflowRoom<'_>) {
    for call in std::mem::take(&mut room.workflows.unwanted_jobs) {
        stop_job(room, &call);
        room.workflows.unsaved.stopped_jobs.push(call);
        room.below.ctx.commit.pending.urgent = true;
    }
}

/// The function has answered for a call.
pub(super) fn outside_ended(
    part: &mut WorkflowParticipant<'_>,
    run: RunId,
    task: TaskId,
    call: &OpenCall,
    answer: Result<Value, ErrorDetails>,
) {
    if call.kind == CallKind::Job && answer.is_err() {
        // That the question has failed says nothing of the job, which runs on.
        return ask_in(part, run, task, ASKED_AGAIN_MS);
    }
    let answer = answer.and_then(|mut answer| match answer.get("error") {
        None => Ok(answer),
        Some(_) => {
            let error = answer["error"].as_str().unwrap_or("States.TaskFailed").to_owned();
            Err(ErrorDetails::new(error, answer["cause"].take().as_str().map(str::to_owned)))
        }
    });
    let of_run = run_of_task(task);
    let (fact, brings) = match (&call.kind, answer) {
        (CallKind::Read(frame), Ok(mut answer)) => {
            let next = Some(answer["next"].take()).filter(|next| !next.is_null());
            let Value::Array(items) = answer["items"].take() else {
                let cause = "the reader has given no list of items".to_owned();
                let details = ErrorDetails::new("States.ItemReaderFailed", Some(cause));
                return told(part, run, Fact::ReadFailed(of_run, details), None);
            };
            (Fact::Items(of_run, items, next.is_none()), Some(Brings::Read(*frame, next)))
        }
        (CallKind::Read(_), Err(details)) => (Fact::ReadFailed(of_run, details), None),
        (CallKind::Write(_), Ok(mut answer)) => (Fact::Written(of_run, data(&mut answer)), None),
        (CallKind::Write(_), Err(details)) => (Fact::WriteFailed(of_run, details), None),
        (CallKind::Job, Ok(mut answer)) => match answer["running"].as_u64() {
            Some(wait_ms) => {
                return ask_in(part, run, task, wait_ms.clamp(1, ASKED_MS_MAX));
            }
            None => (Fact::TaskSucceeded(task, data(&mut answer)), None),
        },
        (CallKind::Outside { goes_on: true }, Ok(mut answer)) => {
            let job = answer["job"].take();
            let next = (!job.is_null()).then(|| Brings::Call(question(call.payload.as_str().as_bytes(), &job)));
            (Fact::TaskSubmitted(task, data(&mut answer)), next)
        }
        (CallKind::Outside { goes_on: true }, Err(details)) => (Fact::TaskSubmitFailed(task, details), None),
        (_, Ok(mut answer)) => (Fact::TaskSucceeded(task, data(&mut answer)), None),
        (_, Err(details)) => (Fact::TaskFailed(task, details), None),
    };
    told(part, run, fact, brings);
}

pub(super) fn told(part: &mut WorkflowParticipant<'_>, run: RunId, fact: Fact, brings: Option<Brings>) {
    part.workflows.inbox.push_back(Happened { run, fact, is_kept: true, brings });
}

fn ask_in(part: &mut WorkflowParticipant<'_>, run: RunId, task: TaskId, wait_ms: u64) {
    let due_ms = part.ctx.now.wall_ms + wait_ms;
    part.workflows.questions.insert((due_ms, run, task));
    part.arm();
}

/// Ask about jobs again whose time has come, and run durable functions that something is due for. An app that has the function no more may
/// have it again.
pub(super) fn ask_about_jobs(part: &mut WorkflowParticipant<'_>) {
    let now_ms = part.ctx.now.wall_ms;
    while let Some(&(due_ms, run, task)) = part.workflows.questions.first() {
        if due_ms > now_ms {
            return;
        }
        part.workflows.questions.pop_first();
        if !durable::goes_on_waiting(part, run, task) {
            part.begin_call(run, task, false);
        }
    }
}

/// Take what a step changes beside what the machine does.
pub(super) fn take_brought(workflows: &mut Workflows, id: RunId, fact: &Fact, brings: Brings, now_ms: u64) {
    match (brings, fact) {
        (Brings::Durable(told), Fact::Heartbeat(task)) => durable::durable_told(workflows, id, *task, told, now_ms),
        (Brings::Call(call), Fact::TaskSubmitted(task, _)) => {
            if let Some(run) = workflows.runs.get_mut(&id) {
                run.calls.insert(*task, call);
            }
            if let Some(step) = workflows.unsaved.by_run.get_mut(&id) {
                step.calls.push(*task);
            }
        }
        (Brings::Call(_) | Brings::Durable(_), _) => {}
        (Brings::Read(frame, next), _) => {
            let Some(run) = workflows.runs.get_mut(&id) else { return };
            match (next, run.readings.get_mut(&frame)) {
                (Some(next), Some(reading)) => reading.next = Some(next),
                _ => drop(run.readings.remove(&frame)),
            }
        }
        (Brings::Child(child, row), _) => {
            if let Some(step) = workflows.unsaved.by_run.get_mut(&id) {
                step.children.push((child, row));
            }
        }
    }
}

/// The question whether a job has ended, that its submission leaves.
fn question(call: &[u8], job: &Value) -> OpenCall {
    let mut asked: Value = serde_json::from_slice(call).unwrap_or_default();
    let mut about = asked["call"].take();
    // They may be large, and the job has what is needed of them.
    if let Some(about) = about.as_object_mut() {
        about.remove("parameters");
        about.insert("job".into(), job.clone());
    }
    let payload: Text = json!({ "poll": about }).to_string().into();
    OpenCall { function: FUNCTION.to_owned(), payload, kind: CallKind::Job }
}

fn data(answer: &mut Value) -> forebay_core::workflow::machine::Data {
    forebay_core::workflow::machine::Data::new(answer["output"].take())
}
