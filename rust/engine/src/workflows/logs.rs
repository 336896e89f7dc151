//! Logs of machines: their events are records of a log group, in the form that Step Functions writes them to CloudWatch Logs. The app's own
//! log is told of executions that fail, and of those whose history becomes too long.

use forebay_core::workflow::machine::{Event, EVENTS_MAX};
use serde_json::{json, Value};

use crate::api::logs::{group_stream, record, stream_note};
use crate::api::notes::Annotate;
use crate::api::workflow::{LogLevel, Status};
use crate::base::error::EngineError;
use crate::ctx::Ctx;
use crate::dispatch::attempts::HandlerId;
use crate::observe::history::RequestEvent;
use crate::observe::operator_events::OperatorEvent;
use crate::sources::stream::put;
use crate::workflows::participant::WorkflowParticipant;
use crate::workflows::row::{MachineRow, RunId};
use crate::workflows::{Run, WorkflowRoom};

/// At this event of an execution an operator is warned: there is time to split what remains into executions of its own.
const EVENTS_WARNED: u32 = 20_000;

/// The log stream of a machine.
fn log_stream(machine: &str) -> String {
    format!("states/{machine}")
}

/// Make the log stream of a machine in its group. Refused if there is no such group.
pub(super) fn open_log(room: &mut WorkflowRoom<'_>, row: &MachineRow) -> Result<(), EngineError> {
    let Some(group) = &row.log_group else { return Ok(()) };
    let name = group_stream(group);
    let note = stream_note(&log_stream(&row.name));
    let streams = room.below.streams();
    let Some(stream) = streams.streams.by_name.get(&name) else {
        return Err(EngineError::NotFound(format!("Invalid Logging Configuration: there is no log group {group:?}")));
    };
    if stream.row.notes.contains_key(&note) {
        return Ok(());
    }
    let notes = [(note, Some(row.updated_ms.to_string()))].into();
    room.below.streams().stream_annotate(Annotate { name, notes }).map(drop)
}

/// Give the log of an execution's machine its events. They join the commit of the execution's step.
pub(super) fn log_events(room: &mut WorkflowRoom<'_>, id: RunId, events: &[Event]) {
    let Some(run) = room.workflows.runs.get(&id) else { return };
    let row = &run.machine.row;
    let Some(group) = row.log_group.as_ref().filter(|_| row.log_level != LogLevel::Off) else { return };
    let (key, name) = (log_stream(&row.name), group_stream(group));
    let arn = &run.execution.identity().execution_arn;
    let logged = events.iter().filter(|event| row.log_level.has(&event.kind));
    let records: Vec<Vec<u8>> = logged
        .map(|event| record(event.at_ms, &message(event, arn, row.include_execution_data, run.row.redrive_count)))
        .collect();
    if records.is_empty() {
        return;
    }
    let is_in_memory = run.memory.is_some();
    let entries = records.iter().map(|record| (key.as_str(), record.as_slice()));
    // As on AWS, an execution does not care for its log: the group may have been deleted meanwhile.
    let is_put = put::accept_all(&mut room.below.streams(), &name, entries, None).is_ok();
    if is_put && is_in_memory {
        room.below.ctx.commit.pending.urgent = true;
    }
}

/// Remember for which execution a function ran that has failed: `why` is asked by its request's id, which causes and logs have.
pub(super) fn note_failed_call(
    part: &mut WorkflowParticipant<'_>,
    id: RunId,
    (handler, request): (HandlerId, u128),
    body: Option<&[u8]>,
) {
    let Some(run) = part.workflows.runs.get(&id) else { return };
    let execution = part.ctx.run_arn(&run.machine.row, id, &run.row.name).into();
    let error: Value = body.and_then(|body| serde_json::from_slice(body).ok()).unwrap_or_default();
    let error = error["errorType"].as_str().unwrap_or("Lambda.Unknown").into();
    let function = part.dispatch.functions[handler].name.as_str().into();
    let what = RequestEvent::CallFailed { function, execution, error };
    let now_ms = part.ctx.now.wall_ms;
    part.ctx.observe.history.note(now_ms, request, what);
}

/// <https://docs.aws.amazon.com/step-functions/latest/dg/cw-logs.html>
fn message(event: &Event, arn: &str, with_data: bool, redrive_count: u32) -> String {
    let mut event = event.to_json(with_data);
    let details = event.as_object_mut().and_then(|fields| {
        let key = fields.keys().find(|key| key.ends_with("EventDetails")).cloned()?;
        fields.remove(&key)
    });
    let text = |name: &str| event[name].to_string();
    let timestamp_ms = (event["timestamp"].as_f64().unwrap_or_default() * 1_000.0).round() as u64;
    let logged = json!({
        "id": text("id"),
        "type": event["type"],
        "details": details.unwrap_or(Value::Object(serde_json::Map::new())),
        "previous_event_id": text("previousEventId"),
        "event_timestamp": timestamp_ms.to_string(),
        "execution_arn": arn,
        "redrive_count": redrive_count.to_string(),
    });
    logged.to_string()
}

/// The app's log tells of an execution whose history comes near its limit, once: at the limit it fails.
pub(super) fn tell_of_a_long_history(room: &mut WorkflowRoom<'_>, id: RunId, events: &[Event]) {
    if events.iter().all(|event| event.id != EVENTS_WARNED) {
        return;
    }
    let Some(run) = room.workflows.runs.get(&id).filter(|run| run.memory.is_none()) else { return };
    run.machine.meters.long_histories.increment();
    let machine = &run.machine.row;
    let fields = json!({
        "arn": room.below.ctx.run_arn(machine, id, &run.row.name),
        "name": run.row.name,
        "events": EVENTS_WARNED,
        "most": EVENTS_MAX,
    });
    room.below.ctx.notice(OperatorEvent::HistoryLong, &machine.name, fields);
}

/// The app's log tells of an execution that has failed. A child of a distributed Map fails with its Map, or is tolerated.
pub(super) fn tell_of_failure(ctx: &mut Ctx, id: RunId, run: &Run) {
    let (row, machine) = (&run.row, &run.machine);
    if row.child.is_some() || !matches!(row.status, Status::Failed | Status::TimedOut) {
        return;
    }
    let fields = json!({
        "arn": ctx.run_arn(&machine.row, id, &row.name),
        "name": row.name,
        "status": row.status,
        "state": run.execution.last_state(machine.definition()),
        "error": row.error,
    });
    ctx.notice(OperatorEvent::ExecutionFailed, &machine.row.name, fields);
}
