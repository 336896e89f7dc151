//! The end of an event: one commit removes it and tells its destinations, or writes down that they must be told.

use forebay_core::invocation::protocol::{Condition, Key};
use serde_json::json;

use crate::base::ids::{parse_uuid, uuid_text};
use crate::base::trace::kept;
use crate::destinations::{Notification, Target};
use crate::failures::log::{FailureKey, FailureRow, Part};
use crate::observe::history::RequestEvent;
use crate::observe::operator_events;
use crate::runtime::rooms::State;
use crate::sources::invocation::record::Ended;
use crate::sources::invocation::row::{row_key, Event};
use crate::sources::invocation::Asynchronous;
use crate::store::port::Table;

impl State {
    /// An event's life is over.
    pub(crate) fn end_event(&mut self, id: u64, key: Key, event: &Event, condition: Condition) {
        let Some(events) = self.events.queues.get(&id) else { return };
        let has_succeeded = condition == Condition::Success;
        events.meters.ended(condition);
        self.history.note(self.now.wall_ms, event.request, RequestEvent::Ended { queue: id, condition });
        let wishes = wishes(self.settles(events).map(|slot| &self.functions[slot].asynchronous), has_succeeded);
        if wishes.is_empty() && has_succeeded {
            self.pending.remove(Table::Event, row_key(id, key));
            return self.pending.begin_lazily(self.now.mono_ns);
        }
        if !has_succeeded {
            let (name, attempts) = (events.name(), event.life.failures);
            let destinations: Vec<&str> = wishes.iter().map(|(_, name)| name.as_str()).collect();
            let fields = json!({
                "condition": condition.as_str(), "attempts": attempts, "request": uuid_text(event.request),
                "destinations": destinations, "id": FailureKey { mapping: id, shard: 0, first: key.number, part: Part::Whole }.text(),
            });
            self.notice(operator_events::OperatorEvent::GaveUp, &name, fields);
        }
        let Some(events) = self.events.queues.get(&id) else { return };
        let ended = Ended {
            request: uuid_text(event.request),
            arn: self.function_arn(&events.function),
            function: events.function.clone(),
            version: events.version.to_string(),
            qualifier: event.qualifier.as_deref().map(str::to_owned),
            condition: condition.as_str().to_owned(),
            attempts: event.life.failures + u32::from(has_succeeded),
            accepted_ms: event.life.accepted_ms,
            at_ms: self.now.wall_ms,
            hops: event.life.hops,
            status: status_of(event, condition),
            response: event.error.as_deref().map(str::to_owned),
        };
        // It goes in the commit that tells of it.
        let mut rows = vec![(Table::Event, row_key(id, key), None)];
        if wishes.is_empty() {
            self.keep_ended(id, key, (Part::Whole, None), ended, event);
            self.pending.remove(Table::Event, row_key(id, key));
            return;
        }
        for (part, name) in wishes {
            let failure = FailureKey { mapping: id, shard: 0, first: key.number, part };
            let target = Target::of(&name);
            // A chain that was stopped goes on in no function, not even as a failure.
            let is_stopped = condition == Condition::RecursiveInvocation && matches!(target, Target::Function(_));
            if is_stopped {
                self.keep_ended(id, key, (part, None), ended.clone(), event);
                continue;
            }
            let notification = Notification::of(&ended, event.trace.as_deref(), failure, &event.payload, target);
            match self.tell(target, notification, rows.clone()) {
                Ok(may_be_later) => {
                    if may_be_later && !rows.is_empty() {
                        self.event_leaves(id, key);
                    }
                    rows.clear();
                    self.count_delivery(failure, 0, true);
                    self.history.note(self.now.wall_ms, event.request, RequestEvent::Told { destination: name.into() });
                }
                Err(_) => self.keep_ended(id, key, (part, Some(name)), ended.clone(), event),
            }
        }
        for (table, row, _) in rows {
            self.pending.remove(table, row);
        }
        self.pending.begin_lazily(self.now.mono_ns);
    }

    /// Write down what a destination is still to be told; without one, that it is listed.
    fn keep_ended(
        &mut self,
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
            trace: event.trace.as_deref().map(str::to_owned),
        };
        self.save_failure(FailureKey { mapping: id, shard: 0, first: key.number, part }, &row, &event.payload);
    }

    /// Give an event that had failed another life. Its row goes in the commit that brings it back.
    pub(crate) fn revive_event(&mut self, failure: FailureKey, ended: &Ended, trace: Option<&str>, payload: &[u8]) {
        let request = parse_uuid(&ended.request).unwrap_or_else(|| self.rng.uuid());
        let qualifier = ended.qualifier.as_deref().map(Into::into);
        let event = self.new_event(request, 0, payload.into(), (kept(trace), qualifier));
        self.pending.remove(Table::Failure, failure.bytes());
        self.history.note(self.now.wall_ms, request, RequestEvent::Redriven);
        self.bear_event(failure.mapping, event);
        self.pending.urgent = true;
    }
}

/// Which destinations want to be told.
fn wishes(settings: Option<&Asynchronous>, has_succeeded: bool) -> Vec<(Part, String)> {
    let Some(settings) = settings else { return Vec::new() };
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
