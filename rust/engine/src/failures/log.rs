//! Records given up: written down in the commit that passes them. From there they go to their destination (`deliveries`), or stay
//! listed for an operator, who may have them run again (`redrives`).

use crate::payload::failure_key::condition_name;
use crate::payload::failure_key::FailureKey;
use crate::payload::failure_key::Part;
use forebay_core::sequence;
use forebay_core::stream::protocol::Condition;
use serde::{Deserialize, Serialize};
use serde_json::value::{to_raw_value, RawValue};
use serde_json::{json, Map, Value};

use std::sync::Arc;

use crate::base::ids::{parse_uuid, uuid_text};
use crate::base::time::iso_millis;
use crate::failures::delivery;
use crate::failures::invocation_record::Ended;
use crate::failures::routed::RoutedFailure;
use crate::failures::search::DELIVERED_WITHIN_MS;
use crate::failures::search::KEYS_MAX;
use crate::failures::search::{Aim, Search, Sweep};
use crate::failures::setback::Setback;
use crate::failures::FailureRoom;
use crate::observe::operator_events::OperatorEvent;
use crate::payload::records::Source;
use crate::store::port::{StoreError, Table};

/// How long a failure stays listed.
pub(crate) const LISTED_FOR_MS: u64 = 14 * 86_400_000;
/// How often listed failures are looked through for those whose time is over.
const SWEEP_MS: u64 = 3_600_000;

/// A failure's row without its records.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct FailureRow {
    pub(crate) failed_ms: u64,
    /// Name of the destination it waits for; `None`: it is only listed.
    pub(crate) destination: Option<String>,
    /// The one it waited for in vain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) undelivered_to: Option<String>,
    pub(crate) delivery_attempts: u32,
    pub(crate) last_error: Option<String>,
    pub(crate) record: Value,
    pub(crate) positions: Vec<u64>,
    /// Of an asynchronous event: how it ended. Its record is made of that and of the payload, which stands where records do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ended: Option<Ended>,
    /// Of an event on a bus that a target did not take. What the target is given stands where records do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) routed: Option<RoutedFailure>,
    /// Trace context of the event, or of the first of the records that has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) trace: Option<String>,
}

impl FailureRow {
    /// What a destination is told, JSON.
    pub(crate) fn text(&self, key: FailureKey, payload: &[u8]) -> String {
        match (&self.ended, &self.routed) {
            // A destination that may be told twice can tell by the delivery id.
            (Some(ended), _) => ended.text(key, payload, Some(&ended.delivery_id(key))),
            (None, Some(routed)) => {
                let body = String::from_utf8_lossy(payload);
                match &routed.http {
                    Some(http) => json!({"body": body, "http_parameters": http}).to_string(),
                    None => body.into_owned(),
                }
            }
            (None, None) => self.record.to_string(),
        }
    }

    /// An event on a bus that a target has not taken, or not yet.
    pub(crate) fn of_event(routed: RoutedFailure, event: u128, trace: Option<&str>, now_ms: u64) -> Self {
        let record = json!({
            "version": "1.0",
            "timestamp": iso_millis(now_ms),
            "requestContext": {
                "requestId": uuid_text(event), "ruleArn": routed.rule_arn, "targetArn": routed.target_arn,
                "condition": routed.error_code,
            },
            "responseContext": {"errorMessage": routed.error_message},
        });
        Self {
            failed_ms: now_ms,
            destination: None,
            undelivered_to: None,
            delivery_attempts: 0,
            last_error: None,
            record,
            positions: Vec::new(),
            ended: None,
            routed: Some(routed),
            trace: trace.map(str::to_owned),
        }
    }

    /// Whether it is an event that waits to be sent for the first time: nothing has failed.
    pub(crate) fn is_unsent(&self) -> bool {
        let is_sent_later = self.routed.as_ref().is_some_and(|routed| routed.http.is_some());
        is_sent_later && self.destination.is_some() && self.delivery_attempts == 0
    }

    /// Of an event on a bus: its id, and the target.
    pub(crate) fn event_and_target(&self) -> Option<(u128, Arc<str>)> {
        let routed = self.routed.as_ref()?;
        let id = self.record["requestContext"]["requestId"].as_str().and_then(parse_uuid)?;
        Some((id, routed.target.as_str().into()))
    }

    /// Whether it is an event that is older than its rule lets one be that is given to a target.
    pub(crate) fn is_too_old(&self, now_ms: u64) -> bool {
        self.routed.as_ref().is_some_and(|routed| self.age_ms(now_ms) >= routed.retry.age_max_ms)
    }

    /// It waited for its turn longer than it may.
    pub(crate) fn expire(&mut self) {
        let Some(routed) = self.routed.as_mut().filter(|routed| routed.error_code.is_empty()) else { return };
        routed.error_code = "THROTTLING".into();
        routed.error_message = "it waited for its turn longer than maximum_event_age".into();
        self.last_error = Some(routed.error_message.clone());
        self.record["requestContext"]["condition"] = routed.error_code.as_str().into();
        self.record["responseContext"]["errorMessage"] = routed.error_message.as_str().into();
    }

    /// A destination has not taken it.
    pub(crate) fn note(&mut self, setback: Setback) {
        let Setback { error, code, is_final, .. } = setback;
        self.delivery_attempts += 1;
        self.last_error = error.or(self.last_error.take());
        // What a dead-letter queue says is no reason of the target's.
        let routed = self.routed.as_mut().filter(|routed| self.destination.as_ref() == Some(&routed.target));
        let Some(routed) = routed.filter(|routed| routed.http.is_some() || is_final) else { return };
        routed.error_code = code.unwrap_or_else(|| "SDK_CLIENT_ERROR".into());
        routed.error_message = self.last_error.clone().unwrap_or_else(|| "the request was not answered in time".into());
        routed.is_final = is_final;
        self.record["requestContext"]["condition"] = routed.error_code.as_str().into();
        self.record["responseContext"]["errorMessage"] = routed.error_message.as_str().into();
    }

    /// Whether it can be run again, or delivered again.
    pub(crate) fn can_be_redriven(&self, payload: &[u8]) -> bool {
        self.destination.is_none() && !payload.is_empty()
    }

    /// How often its target was given it again: the first time was not a retry.
    pub(crate) fn retries(&self) -> u32 {
        self.delivery_attempts.saturating_sub(1)
    }

    pub(crate) fn age_ms(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.failed_ms)
    }

    /// Whether it is an event that its target is to be given, and no dead-letter queue.
    pub(crate) fn is_for_target(&self) -> bool {
        self.routed.as_ref().is_some_and(|routed| self.destination.as_deref() == Some(&routed.target))
    }

    /// Whether its destination is not tried any more. A dead-letter queue is tried for a day, as every destination.
    pub(crate) fn is_tried_no_more(&self, now_ms: u64) -> bool {
        let routed = self.routed.as_ref().filter(|routed| self.destination.as_deref() == Some(&routed.target));
        match routed {
            Some(routed) => routed.is_final || routed.retry.exhausted(self.retries(), self.age_ms(now_ms)).is_some(),
            None => self.age_ms(now_ms) >= DELIVERED_WITHIN_MS,
        }
    }

    /// An event whose target did not take it for a day goes to the dead-letter queue of its rule, if it has one; false: it has none, or
    /// went there already.
    pub(crate) fn turn_to_dead_letter_queue(&mut self) -> bool {
        let queue = self.routed.as_ref().and_then(|routed| routed.dead_letter_queue.as_deref());
        let Some(queue) = queue.map(|name| format!("queue:{name}")) else { return false };
        if self.destination.as_deref() == Some(&queue) {
            return false;
        }
        self.destination = Some(queue);
        true
    }

    /// The record, for people. Numbers of the payload and the response stay as they are written.
    pub(crate) fn shown(&self, payload: &[u8]) -> Option<Box<RawValue>> {
        match &self.ended {
            Some(ended) => RawValue::from_string(ended.record(payload, None)).ok(),
            None => to_raw_value(&self.record).ok(),
        }
    }
}

impl Ended {
    /// What a destination is told of an event.
    pub(crate) fn text(&self, key: FailureKey, payload: &[u8], delivery: Option<&str>) -> String {
        match key.part {
            Part::DeadLetter => self.dead_letter(payload, delivery),
            Part::Whole | Part::Unread => self.record(payload, delivery),
        }
    }

    fn delivery_id(&self, key: FailureKey) -> String {
        format!("{}:{}{}", self.request, key.first, key.part.suffix())
    }
}

/// What is kept of records: packed, their trace context, how their event is written.
pub(crate) type Kept<'a> = (&'a [u8], Option<&'a str>, Option<&'a dyn Fn() -> String>);

/// A `Discard` command's particulars.
#[derive(Clone, Copy)]
pub(crate) struct Discarded {
    pub(crate) condition: Condition,
    pub(crate) lane: u8,
    pub(crate) attempts: u32,
    pub(crate) by_report: bool,
}

/// Why a mapping does not get to read records.
pub(crate) struct Unread {
    pub(crate) what: OperatorEvent,
    pub(crate) condition: &'static str,
    pub(crate) why: &'static str,
}

/// Retention dropped them.
pub(crate) const TRIMMED: Unread = Unread {
    what: OperatorEvent::Expired,
    condition: condition_name(Condition::Trimmed),
    why: "the stream's retention dropped these records before they were read",
};
/// Damage took them, and a salvage could not save them.
pub(crate) const LOST: Unread = Unread {
    what: OperatorEvent::Lost,
    condition: RECORDS_LOST,
    why: "these records were lost to damage, and the store was salvaged without them",
};
/// How it is called in records and metrics that records are lost.
pub(crate) const RECORDS_LOST: &str = "RecordsLost";

/// Row bytes: length of the JSON part, the JSON part, the packed records (renumbered from 0).
pub(crate) fn encode(row: &FailureRow, payload: &[u8]) -> Vec<u8> {
    let head = serde_json::to_vec(row).unwrap_or_default();
    let mut bytes = Vec::with_capacity(4 + head.len() + payload.len());
    bytes.extend_from_slice(&(head.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&head);
    bytes.extend_from_slice(payload);
    bytes
}

pub(crate) fn decode(bytes: &[u8]) -> Option<(FailureRow, &[u8])> {
    let length = u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
    let row = serde_json::from_slice(bytes.get(4..4 + length)?).ok()?;
    Some((row, bytes.get(4 + length..)?))
}

/// Have an event that a target did not take given to the target again.
pub(crate) fn redeliver(room: &mut FailureRoom<'_>, key: FailureKey, mut row: FailureRow, payload: &[u8]) {
    let destination = row.routed.as_ref().map(|routed| routed.target.clone());
    if let Some(routed) = &mut row.routed {
        // Somebody wants its chain to go on, however far it has come.
        (routed.is_final, routed.hops) = (false, 0);
    }
    let failed_ms = room.ctx.now.wall_ms;
    save_failure(
        room,
        key,
        &FailureRow { destination, undelivered_to: None, failed_ms, delivery_attempts: 0, ..row },
        payload,
    );
}

pub(crate) fn save_failure(room: &mut FailureRoom<'_>, key: FailureKey, row: &FailureRow, packed: &[u8]) {
    room.failures.deliveries.replace(key);
    room.ctx.commit.pending.set(Table::Failure, key.bytes(), encode(row, packed));
    if row.destination.is_some() {
        room.failures.undelivered.insert(key);
    }
    room.ctx.commit.pending.urgent = true;
}

/// When failures are looked through next, if there are any.
pub(crate) fn failures_due_ms(room: &mut FailureRoom<'_>) -> Result<Option<u64>, StoreError> {
    if room.ctx.commit.reader.scan(Table::Failure, &[], None, 1)?.is_empty() {
        return Ok(None);
    }
    let swept_ms = room.failures.swept_ms;
    let is_recent = room.ctx.now.wall_ms.abs_diff(swept_ms) < SWEEP_MS;
    Ok(Some(if is_recent { swept_ms.saturating_add(SWEEP_MS) } else { 0 }))
}

/// Look for failures that were kept long enough.
pub(crate) fn sweep_failures(room: &mut FailureRoom<'_>) {
    let wall_ms = room.ctx.now.wall_ms;
    if wall_ms.abs_diff(room.failures.swept_ms) < SWEEP_MS {
        return;
    }
    room.failures.swept_ms = wall_ms;
    let destinations = room.dispatch.destination_names.keys().cloned().collect();
    let sweep = Sweep { wall_ms, destinations, expired: Vec::new(), orphaned: Vec::new() };
    room.ctx.commit.reads.push_back(Search::new(room.failures.owners.keys().copied(), Aim::Sweep(sweep)));
}

/// Drop what was listed for its time, and list what waits for a destination that nothing has.
pub(crate) fn sweep_found(room: &mut FailureRoom<'_>, sweep: Sweep) -> Result<(), StoreError> {
    if room.ctx.now.wall_ms < sweep.wall_ms {
        // The clock was set back while the sweep looked: by the clock as it is now, what it found may be new. Look again.
        room.failures.swept_ms = 0;
        return Ok(());
    }
    if sweep.expired.len() + sweep.orphaned.len() >= KEYS_MAX {
        // There may be more: the next sweep looks again.
        room.failures.swept_ms = 0;
    }
    for key in sweep.expired {
        room.ctx.commit.pending.remove(Table::Failure, key.bytes());
        room.ctx.commit.pending.begin_lazily(room.ctx.now.mono_ns);
    }
    for key in sweep.orphaned {
        let Some(bytes) = room.ctx.row(Table::Failure, &key.bytes())? else { continue };
        let Some((mut row, packed)) = decode(&bytes) else { continue };
        let Some(name) = row.destination.take() else { continue };
        if !room.dispatch.destination_names.contains_key(&name) {
            row.last_error = Some(format!("nothing that runs has had the destination {name:?} for a day"));
            row.undelivered_to = Some(name);
            delivery::notice_undelivered(room, key, &row);
            room.ctx.commit.pending.set(Table::Failure, key.bytes(), encode(&row, packed));
            room.ctx.commit.pending.begin_lazily(room.ctx.now.mono_ns);
        }
    }
    Ok(())
}

/// The same for the same records of the same mapping, so that a destination can tell a repeat.
pub(crate) fn delivery_id(source: &Source, key: FailureKey) -> String {
    let number = sequence::number(source.shard_index, key.first);
    format!("{}:{}:{number}{}", source.mapping, source.shard_id, key.part.suffix())
}

/// Lambda's on-failure record of a stream batch.
/// <https://docs.aws.amazon.com/lambda/latest/dg/kinesis-on-failure-destination.html>
pub(crate) fn failure_record(
    source: &Source,
    (positions, arrivals_ms): (&[u64], Option<(u64, u64)>),
    discarded: Discarded,
    (function_arn, request): (&str, u128),
) -> Map<String, Value> {
    let number = |at: Option<&u64>| at.map_or(0, |&at| sequence::number(source.shard_index, at)).to_string();
    let mut record = Map::new();
    record.insert(
        "requestContext".into(),
        json!({
            "requestId": uuid_text(request), "functionArn": function_arn,
            "condition": condition_name(discarded.condition), "approximateInvokeCount": discarded.attempts,
        }),
    );
    if discarded.condition != Condition::RecordAgeExceeded {
        let error = if discarded.by_report { Value::Null } else { "Unhandled".into() };
        record.insert(
            "responseContext".into(),
            json!({"statusCode": 200, "executedVersion": "$LATEST", "functionError": error}),
        );
    }
    record.insert("version".into(), "1.0".into());
    record.insert("timestamp".into(), Value::Null);
    let mut batch = json!({
        "shardId": source.shard_id,
        "startSequenceNumber": number(positions.first()), "endSequenceNumber": number(positions.last()),
        "batchSize": positions.len(), "streamArn": source.stream_arn,
    });
    if let Some((first_ms, last_ms)) = arrivals_ms {
        batch["approximateArrivalOfFirstRecord"] = iso_millis(first_ms).into();
        batch["approximateArrivalOfLastRecord"] = iso_millis(last_ms).into();
    }
    record.insert("KinesisBatchInfo".into(), batch);
    record
}
