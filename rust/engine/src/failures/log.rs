//! Records given up: written down in the commit that passes them. From there they go to their destination (`deliveries`), or stay
//! listed for an operator, who may have them run again (`redrives`).

use forebay_core::sequence;
use forebay_core::stream::protocol::Condition;
use serde::{Deserialize, Serialize};
use serde_json::{json, Map, Value};

use crate::base::ids::uuid_text;
use crate::base::time::iso_millis;
use crate::commit::read_jobs::ReadJob;
use crate::failures::search::{Aim, Search, Sweep};
use crate::observe::history::batches::GivenUp;
use crate::observe::operator_events::{batch_of, OperatorEvent};
use crate::payload::records::{Records, Source};
use crate::runtime::rooms::State;
use crate::sources::invocation::record::Ended;
use crate::sources::stream::poller::PollerId;
use crate::sources::stream::redrive::KEYS_MAX;
use crate::store::chunk::Chunk;
use crate::store::port::{StoreError, Table};

/// How long a failure stays listed.
pub(crate) const LISTED_FOR_MS: u64 = 14 * 86_400_000;
/// How often listed failures are looked through for those whose time is over.
const SWEEP_MS: u64 = 3_600_000;

/// Names a failure: mapping, shard's log, first position; or a function's events, 0, the event's number. The same records given up
/// again take the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FailureKey {
    pub(crate) mapping: u64,
    pub(crate) shard: u32,
    pub(crate) first: u64,
    pub(crate) part: Part,
}

/// What a failure holds. The number is part of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Part {
    /// A batch, or an event.
    Whole = 0,
    /// Records that retention dropped, or damage took, from there on, before they were read. A batch may begin at the same position.
    Unread = 1,
    /// An event, for the dead-letter queue; its other destination may have to be told of it, too.
    DeadLetter = 2,
}

impl Part {
    const ALL: [Self; 3] = [Self::Whole, Self::Unread, Self::DeadLetter];

    /// What ends a failure's name and its delivery id.
    fn suffix(self) -> &'static str {
        match self {
            Self::Whole => "",
            Self::Unread => ":unread",
            Self::DeadLetter => ":dead-letter",
        }
    }
}

impl FailureKey {
    pub(crate) fn bytes(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(21);
        bytes.extend_from_slice(&self.mapping.to_be_bytes());
        bytes.extend_from_slice(&self.shard.to_be_bytes());
        bytes.extend_from_slice(&self.first.to_be_bytes());
        if self.part != Part::Whole {
            bytes.push(self.part as u8);
        }
        bytes
    }

    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let mapping = u64::from_be_bytes(bytes.get(..8)?.try_into().ok()?);
        let shard = u32::from_be_bytes(bytes.get(8..12)?.try_into().ok()?);
        let first = u64::from_be_bytes(bytes.get(12..20)?.try_into().ok()?);
        let number = bytes.get(20).copied().unwrap_or(0);
        let part = Part::ALL.into_iter().find(|part| *part as u8 == number)?;
        Some(Self { mapping, shard, first, part })
    }

    /// The name shown to people: `<mapping>-<log>-<position>`.
    pub(crate) fn text(self) -> String {
        format!("{}-{}-{}{}", self.mapping, self.shard, self.first, self.part.suffix())
    }

    pub(crate) fn from_text(text: &str) -> Option<Self> {
        let part = Part::ALL.into_iter().rev().find(|part| text.ends_with(part.suffix()))?;
        let name = text.strip_suffix(part.suffix())?;
        let mut parts = name.splitn(3, '-').map(str::parse::<u64>);
        let mut next = || parts.next()?.ok();
        Some(Self { mapping: next()?, shard: u32::try_from(next()?).ok()?, first: next()?, part })
    }
}

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
    /// Trace context of the event, or of the first of the records that has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) trace: Option<String>,
}

impl FailureRow {
    /// What a destination is told, JSON.
    pub(crate) fn text(&self, key: FailureKey, payload: &[u8]) -> String {
        match &self.ended {
            // A destination that may be told twice can tell by the delivery id.
            Some(ended) => ended.text(key, payload, Some(&ended.delivery_id(key))),
            None => self.record.to_string(),
        }
    }

    /// The record, for people.
    pub(crate) fn shown(&self, payload: &[u8]) -> Value {
        match &self.ended {
            Some(ended) => serde_json::from_str(&ended.record(payload, None)).unwrap_or_default(),
            None => self.record.clone(),
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
type Kept<'a> = (&'a [u8], Option<&'a str>, Option<&'a dyn Fn() -> String>);

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
    what: OperatorEvent,
    condition: &'static str,
    why: &'static str,
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

impl State {
    /// Write the failure of a batch down; it joins the commit that passes its records.
    pub(crate) fn discard(&mut self, id: PollerId, discarded: Discarded, records: &Records) {
        let mut packed = Chunk::starting_at(0);
        for (_, record) in records.iter() {
            packed.push_traced(record.key, record.data, record.key_hash, record.arrival_ms, record.trace);
        }
        let mut arrivals = records.iter().map(|(_, record)| record.arrival_ms);
        let first_ms = arrivals.next();
        let arrivals_ms = first_ms.map(|first_ms| (first_ms, arrivals.last().unwrap_or(first_ms)));
        let event = || {
            let mut text = Vec::new();
            crate::payload::kinesis_event::write_kinesis_event(records, None, &mut text);
            String::from_utf8(text).unwrap_or_default()
        };
        let trace = records.iter().find_map(|(_, record)| record.trace);
        self.write_failure(id, discarded, &records.positions, arrivals_ms, (packed.body(), trace, Some(&event)));
    }

    /// The same for records that retention has dropped meanwhile: their data is gone, what is known of them is kept.
    pub(crate) fn discard_unseen(&mut self, id: PollerId, discarded: Discarded, positions: &[u64]) {
        self.write_failure(id, discarded, positions, None, (&[], None, None));
    }

    fn write_failure(
        &mut self,
        id: PollerId,
        discarded: Discarded,
        positions: &[u64],
        arrivals_ms: Option<(u64, u64)>,
        (packed, trace, event): Kept<'_>,
    ) {
        let Some(poller) = self.pollers[id].as_ref() else { return };
        let source = poller.source.clone();
        let Some(mapping) = self.mappings.get(&source.mapping) else { return };
        mapping.meters.discarded(discarded.condition).add(positions.len() as u64);
        let Some(&first) = positions.first() else { return };
        let key = FailureKey { mapping: source.mapping, shard: poller.shard, first, part: Part::Whole };
        let (arn, request) = (&mapping.row.function_arn, poller.last_request);
        let mut record = failure_record(&source, (positions, arrivals_ms), discarded, (arn, request));
        record.insert("timestamp".into(), iso_millis(self.now.wall_ms).into());
        record.insert("metadata".into(), json!({"deliveryId": delivery_id(&source, key), "lane": discarded.lane}));
        if let (true, Some(event)) = (mapping.row.include_payload, event) {
            record.insert("payload".into(), event().into());
        }
        let row = FailureRow {
            failed_ms: self.now.wall_ms,
            destination: mapping.row.on_failure.clone(),
            undelivered_to: None,
            delivery_attempts: 0,
            last_error: poller.last_error.as_deref().map(str::to_owned),
            record: Value::Object(record),
            positions: positions.to_vec(),
            ended: None,
            trace: trace.map(str::to_owned),
        };
        self.history.batches.given_up(GivenUp {
            at_ms: self.now.wall_ms,
            key,
            positions: positions.into(),
            last: positions.last().copied().unwrap_or(first),
            condition: condition_name(discarded.condition),
            told_ms: None,
            destination: row.destination.as_deref().map(Into::into),
        });
        let mut batch = batch_of(&source, positions);
        (batch["condition"], batch["request"]) =
            (condition_name(discarded.condition).into(), uuid_text(request).into());
        (batch["attempts"], batch["lane"]) = (discarded.attempts.into(), discarded.lane.into());
        (batch["id"], batch["destinations"]) = (key.text().into(), Vec::from_iter(row.destination.clone()).into());
        let function = mapping.row.function.clone();
        self.notice(OperatorEvent::GaveUp, &function, batch);
        self.save_failure(key, &row, packed);
    }

    pub(crate) fn save_failure(&mut self, key: FailureKey, row: &FailureRow, packed: &[u8]) {
        self.deliveries.replace(key);
        self.pending.set(Table::Failure, key.bytes(), encode(row, packed));
        if row.destination.is_some() {
            self.pending.deliveries.insert(key);
        }
        self.pending.urgent = true;
    }

    /// List records that a mapping does not get to read. Their data is gone; what is known of them is kept.
    pub(crate) fn list_unread(&mut self, id: PollerId, first: u64, end: u64, unread: &Unread) {
        let Some(poller) = self.pollers[id].as_ref() else { return };
        let Some(mapping) = self.mappings.get(&poller.source.mapping) else { return };
        let key = FailureKey { mapping: poller.source.mapping, shard: poller.shard, first, part: Part::Unread };
        let index = poller.source.shard_index;
        let record = json!({
            "version": "1.0",
            "timestamp": iso_millis(self.now.wall_ms),
            "requestContext": {"functionArn": mapping.row.function_arn, "condition": unread.condition, "approximateInvokeCount": 0},
            "KinesisBatchInfo": {
                "shardId": poller.source.shard_id, "streamArn": poller.source.stream_arn, "batchSize": end - first,
                "startSequenceNumber": sequence::number(index, first).to_string(),
                "endSequenceNumber": sequence::number(index, end - 1).to_string(),
            },
            "metadata": {"deliveryId": delivery_id(&poller.source, key)},
        });
        let row = FailureRow {
            failed_ms: self.now.wall_ms,
            destination: mapping.row.on_failure.clone(),
            undelivered_to: None,
            delivery_attempts: 0,
            last_error: Some(unread.why.into()),
            record,
            positions: Vec::new(),
            ended: None,
            trace: None,
        };
        self.history.batches.given_up(GivenUp {
            at_ms: self.now.wall_ms,
            key,
            positions: Box::default(),
            last: end - 1,
            condition: unread.condition,
            told_ms: None,
            destination: row.destination.as_deref().map(Into::into),
        });
        let mut batch = batch_of(&poller.source, &[first, end - 1]);
        (batch["records"], batch["id"]) = ((end - first).into(), key.text().into());
        batch["destinations"] = Vec::from_iter(row.destination.clone()).into();
        if unread.what == OperatorEvent::Lost {
            batch["sums"] = json!({"runs": 1, "records": end - first});
        }
        let function = mapping.row.function.clone();
        self.notice(unread.what, &function, batch);
        self.save_failure(key, &row, &[]);
    }

    /// A mapping is gone: its failures go with it.
    pub(crate) fn forget_failures(&mut self, mapping: u64) {
        self.redrives.remove(&mapping);
        self.deliveries.forget(mapping);
    }

    /// Whatever has failures: mappings, and functions' events.
    fn failing(&self) -> impl Iterator<Item = u64> + '_ {
        self.mappings.keys().chain(self.events.queues.keys()).copied()
    }

    /// Look for failures that were kept long enough.
    pub(crate) fn sweep_failures(&mut self) {
        let wall_ms = self.now.wall_ms;
        if wall_ms.abs_diff(self.failures_swept_ms) < SWEEP_MS {
            return;
        }
        self.failures_swept_ms = wall_ms;
        let destinations = self.destination_names.keys().cloned().collect();
        let sweep = Sweep { wall_ms, destinations, expired: Vec::new(), orphaned: Vec::new() };
        self.reads.push_back(ReadJob::Search(Search::new(self.failing(), Aim::Sweep(sweep))));
    }

    /// Drop what was listed for its time, and list what waits for a destination that nothing has.
    pub(crate) fn sweep_found(&mut self, sweep: Sweep) -> Result<(), StoreError> {
        if sweep.expired.len() + sweep.orphaned.len() >= KEYS_MAX {
            // There may be more: the next sweep looks again.
            self.failures_swept_ms = 0;
        }
        for key in sweep.expired {
            self.pending.remove(Table::Failure, key.bytes());
            self.pending.begin_lazily(self.now.mono_ns);
        }
        for key in sweep.orphaned {
            let Some(bytes) = self.row(Table::Failure, &key.bytes())? else { continue };
            let Some((mut row, packed)) = decode(&bytes) else { continue };
            let Some(name) = row.destination.take() else { continue };
            if !self.destination_names.contains_key(&name) {
                row.last_error = Some(format!("nothing that runs has had the destination {name:?} for a day"));
                row.undelivered_to = Some(name);
                self.notice_undelivered(key, &row);
                self.pending.set(Table::Failure, key.bytes(), encode(&row, packed));
                self.pending.begin_lazily(self.now.mono_ns);
            }
        }
        Ok(())
    }
}

/// The same for the same records of the same mapping, so that a destination can tell a repeat.
fn delivery_id(source: &Source, key: FailureKey) -> String {
    let number = sequence::number(source.shard_index, key.first);
    format!("{}:{}:{number}{}", source.mapping, source.shard_id, key.part.suffix())
}

/// Lambda's on-failure record of a stream batch.
/// <https://docs.aws.amazon.com/lambda/latest/dg/kinesis-on-failure-destination.html>
fn failure_record(
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

/// How a condition is spelled in records and metrics.
pub(crate) const fn condition_name(condition: Condition) -> &'static str {
    match condition {
        Condition::RetryAttemptsExhausted => "RetryAttemptsExhausted",
        Condition::RecordAgeExceeded => "RecordAgeExceeded",
        Condition::RuntimeInterrupted => "RuntimeInterrupted",
        Condition::Skipped => "Skipped",
        Condition::Trimmed => "RecordsExpired",
    }
}
