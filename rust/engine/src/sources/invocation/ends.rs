//! The end of an event: one commit removes it and tells its destinations, or writes down that they must be told.

use crate::base::error::EngineError;
use crate::base::limits::BUS_EVENT_BYTES_MAX;
use crate::observe::happenings::{Happening, HappeningKind};
use forebay_core::invocation::protocol::{Condition, Key};
use serde_json::json;
use std::collections::VecDeque;

use crate::base::asynchronous::Asynchronous;
use crate::base::ids::{parse_uuid, uuid_text};
use crate::base::trace::kept;
use crate::commit::target::Target;
use crate::failures::delivery;
use crate::failures::invocation_record::Ended;
use crate::failures::log::{self, FailureRow};
use crate::observe::history::RequestEvent;
use crate::observe::operator_events;
use crate::payload::event::{row_key, Event};
use crate::payload::failure_key::{FailureKey, Part};
use crate::sources::invocation::kept_results;
use crate::sources::invocation::InvocationRoom;
use crate::store::port::Table;

/// Whether a destination of this store was told, and if so, whether that may be later than this commit.
type Told = Result<bool, EngineError>;

/// An event whose life is over, and which destinations are to be told.
pub(crate) struct EndedEvent {
    id: u64,
    key: Key,
    pub(crate) event: Event,
    condition: Condition,
    pub(crate) ended: Ended,
    /// Those that are not told yet.
    destinations: VecDeque<(Part, String)>,
    /// The event's row, until it goes with what a destination is told.
    pub(crate) row: Option<Vec<u8>>,
}

/// An event's life is over.
pub(crate) fn end_event(room: &mut InvocationRoom<'_>, id: u64, key: Key, event: &Event, condition: Condition) {
    let Some(events) = room.events.queues.get(&id) else { return };
    let has_succeeded = condition == Condition::Success;
    events.meters.ended(condition);
    let name = events.name();
    kept_results::keep_result(room, name, event, condition);
    let Some(events) = room.events.queues.get(&id) else { return };
    room.ctx.observe.history.note(room.ctx.now.wall_ms, event.request, RequestEvent::Ended { queue: id, condition });
    let destinations =
        destinations(room.settles(events).map(|handler| &room.dispatch.functions[handler].asynchronous), has_succeeded);
    if destinations.is_empty() && has_succeeded {
        room.ctx.commit.pending.remove(Table::Event, row_key(id, key));
        return room.ctx.commit.pending.begin_lazily(room.ctx.now.mono_ns);
    }
    if !has_succeeded {
        let (name, attempts) = (events.name(), event.life.failures);
        let names: Vec<&str> = destinations.iter().map(|(_, name)| name.as_str()).collect();
        let fields = json!({
            "condition": condition.as_str(), "attempts": attempts, "request": uuid_text(event.request),
            "destinations": names, "id": FailureKey { mapping: id, shard: 0, first: key.number, part: Part::Whole }.text(),
        });
        room.ctx.notice(operator_events::OperatorEvent::GaveUp, &name, fields);
    }
    let Some(events) = room.events.queues.get(&id) else { return };
    let ended = Ended {
        request: uuid_text(event.request),
        arn: room.ctx.function_arn(&events.function),
        function: events.function.clone(),
        version: events.version.to_string(),
        qualifier: event.qualifier.as_deref().map(str::to_owned),
        condition: condition.as_str().to_owned(),
        attempts: event.life.failures + u32::from(has_succeeded),
        accepted_ms: event.life.accepted_ms,
        at_ms: room.ctx.now.wall_ms,
        hops: event.life.hops,
        status: status_of(event, condition),
        response: event.error.as_deref().map(str::to_owned),
    };
    if !has_succeeded {
        room.ctx.happen(|| failed(&ended, event));
    }
    let row = row_key(id, key);
    if destinations.is_empty() {
        keep_ended(room, id, key, (Part::Whole, None), ended, event);
        room.ctx.commit.pending.remove(Table::Event, row);
        return;
    }
    let event = event.clone();
    room.events.ended.push(EndedEvent { id, key, event, condition, ended, destinations, row: Some(row) });
}

/// What the next destination of an event that has ended is to be told, and whether that goes with the event's row.
pub(crate) fn next_destination(room: &mut InvocationRoom<'_>, end: &mut EndedEvent) -> Option<(FailureKey, String)> {
    while let Some((part, name)) = end.destinations.pop_front() {
        // A chain that was stopped goes on in no function, not even as a failure.
        let target = Target::of(&name);
        if end.condition == Condition::RecursiveInvocation && matches!(target, Target::Function(_)) {
            keep_ended(room, end.id, end.key, (part, None), end.ended.clone(), &end.event);
            continue;
        }
        return Some((FailureKey { mapping: end.id, shard: 0, first: end.key.number, part }, name));
    }
    if let Some(row) = end.row.take() {
        room.ctx.commit.pending.remove(Table::Event, row);
    }
    room.ctx.commit.pending.begin_lazily(room.ctx.now.mono_ns);
    None
}

/// A destination of this store was told, in the commit that removes the event's row, or refused it.
pub(crate) fn destination_told(
    room: &mut InvocationRoom<'_>,
    end: &mut EndedEvent,
    failure: FailureKey,
    name: String,
    told: &Told,
) {
    match told {
        Ok(may_be_later) => {
            if end.row.take().is_some() && *may_be_later {
                room.events.event_leaves(end.id, end.key);
            }
            delivery::count_delivery(&mut room.failures(), failure, 0, true);
            let fact = RequestEvent::Told { destination: name.into() };
            room.ctx.observe.history.note(room.ctx.now.wall_ms, end.event.request, fact);
        }
        Err(_) => keep_ended(room, end.id, end.key, (failure.part, Some(name)), end.ended.clone(), &end.event),
    }
}

/// Write down what a destination is still to be told; without one, that it is listed.
fn keep_ended(
    room: &mut InvocationRoom<'_>,
    id: u64,
    key: Key,
    (part, destination): (Part, Option<String>),
    ended: Ended,
    event: &Event,
) {
    let error = if ended.succeeded() { None } else { ended.response.clone() };
    let row = FailureRow {
        failed_ms: ended.at_ms,
        destination,
        undelivered_to: None,
        delivery_attempts: 0,
        last_error: error,
        record: serde_json::Value::Null,
        positions: Vec::new(),
        ended: Some(ended),
        routed: None,
        trace: event.trace.as_deref().map(str::to_owned),
    };
    log::save_failure(
        &mut room.failures(),
        FailureKey { mapping: id, shard: 0, first: key.number, part },
        &row,
        &event.payload,
    );
}

/// Give an event that had failed another life. Its row goes in the commit that brings it back.
pub(crate) fn revive_event(
    room: &mut InvocationRoom<'_>,
    failure: FailureKey,
    ended: &Ended,
    trace: Option<&str>,
    payload: &[u8],
) {
    let request = parse_uuid(&ended.request).unwrap_or_else(|| room.ctx.rng.uuid());
    let qualifier = ended.qualifier.as_deref().map(Into::into);
    let mut event = room.new_event(request, 0, payload.into(), (kept(trace), qualifier));
    match kept_results::renew_result(room, request) {
        Ok(keeps_result) => event.keeps_result = keeps_result,
        Err(error) => return room.ctx.fail(error),
    }
    room.ctx.commit.pending.remove(Table::Failure, failure.bytes());
    room.ctx.observe.history.note(room.ctx.now.wall_ms, request, RequestEvent::Redriven);
    room.bear_event(failure.mapping, event);
    room.ctx.commit.pending.urgent = true;
}

/// Which destinations are told of an end.
fn destinations(settings: Option<&Asynchronous>, has_succeeded: bool) -> VecDeque<(Part, String)> {
    let Some(settings) = settings else { return VecDeque::new() };
    let (whole, dead_letter) =
        if has_succeeded { (&settings.on_success, &None) } else { (&settings.on_failure, &settings.dead_letter) };
    let whole = whole.iter().map(|name| (Part::Whole, name.clone()));
    whole.chain(dead_letter.iter().map(|name| (Part::DeadLetter, name.clone()))).collect()
}

/// What the record says of the last try.
fn status_of(event: &Event, condition: Condition) -> u16 {
    match condition {
        Condition::ZeroReservedConcurrency | Condition::RecursiveInvocation => 0,
        // It waited for its turn until it was too old, which is what Lambda calls throttled.
        Condition::EventAgeExceeded if event.status == 0 => 429,
        _ => event.status,
    }
}

/// What a Lambda destination tells on EventBridge. A payload for which an event has no room is left out.
fn failed(ended: &Ended, event: &Event) -> Happening {
    let whole = ended.record(&event.payload, None);
    let detail = if whole.len() > BUS_EVENT_BYTES_MAX / 2 { ended.record(b"null", None) } else { whole };
    Happening {
        kind: HappeningKind::InvocationFailed,
        resources: vec![format!("{}:{}", ended.arn, ended.version)],
        detail,
        hops: ended.hops + 1,
        trace: event.trace.as_deref().map(str::to_owned),
    }
}
