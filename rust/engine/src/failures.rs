//! Records given up: written down first, then sent to their destination, then forgotten; or listed for an operator.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use forebay_core::sequence;
use forebay_core::stream::face::Condition;
use serde::{Deserialize, Serialize};
use serde_json::{json, Map, Value};

use crate::attempts::{Attempt, Job};
use crate::chunk::Chunk;
use crate::error::EngineError;
use crate::mappings::Mapping;
use crate::pollers::{PollerId, Records, Source};
use crate::port::Table;
use crate::redrives::Redrive;
use crate::state::{iso_millis, uuid_text, State, Timer};

/// How long a failure stays listed.
pub(crate) const LISTED_FOR_MS: u64 = 14 * 86_400_000;
/// How long a destination that is down is tried.
pub(crate) const DELIVERED_WITHIN_MS: u64 = 24 * 3_600_000;
/// Most deliveries of one mapping under way at once.
const DELIVERIES_MAX: usize = 64;
/// Most keys of undelivered failures kept in memory; beyond, they are found again in the store.
const KEYS_MAX: usize = 10_000;
/// How often listed failures are looked through for those whose time is over.
const SWEEP_MS: u64 = 3_600_000;
/// Failure rows read at once: each may hold a batch of 6 MB.
const ROWS: usize = 64;
const DELIVERY_BACKOFF_MS: (u64, u64) = (1_000, 300_000);

/// Names a failure: mapping, shard's log, first position. The same records given up again take the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FailureKey {
    pub(crate) mapping: u64,
    pub(crate) shard: u32,
    pub(crate) first: u64,
}

impl FailureKey {
    pub(crate) fn bytes(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(20);
        bytes.extend_from_slice(&self.mapping.to_be_bytes());
        bytes.extend_from_slice(&self.shard.to_be_bytes());
        bytes.extend_from_slice(&self.first.to_be_bytes());
        bytes
    }

    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let mapping = u64::from_be_bytes(bytes.get(..8)?.try_into().ok()?);
        let shard = u32::from_be_bytes(bytes.get(8..12)?.try_into().ok()?);
        let first = u64::from_be_bytes(bytes.get(12..20)?.try_into().ok()?);
        Some(Self { mapping, shard, first })
    }

    /// The name shown to people: `<mapping>-<log>-<position>`.
    pub(crate) fn text(self) -> String {
        format!("{}-{}-{}", self.mapping, self.shard, self.first)
    }

    pub(crate) fn from_text(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '-').map(str::parse::<u64>);
        let mut next = || parts.next()?.ok();
        Some(Self { mapping: next()?, shard: u32::try_from(next()?).ok()?, first: next()? })
    }
}

/// A failure's row without its records.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct FailureRow {
    pub(crate) failed_ms: u64,
    /// Name of the destination it waits for; `None`: it is only listed.
    pub(crate) destination: Option<String>,
    pub(crate) delivery_attempts: u32,
    pub(crate) last_error: Option<String>,
    pub(crate) record: Value,
    pub(crate) positions: Vec<u64>,
}

/// A `Discard` command's particulars.
#[derive(Clone, Copy)]
pub(crate) struct Discarded {
    pub(crate) condition: Condition,
    pub(crate) lane: u8,
    pub(crate) attempts: u32,
    pub(crate) by_report: bool,
}

/// What of the failures is in memory.
#[derive(Default)]
pub(crate) struct Failures {
    /// Durable rows that wait for a destination and are not under way.
    waiting: BTreeSet<FailureKey>,
    /// Rows whose delivery failed, by the time of the next try.
    later: BTreeSet<(u64, FailureKey)>,
    under_way: BTreeMap<u64, usize>,
    /// More rows wait in the store than `waiting` holds.
    more: bool,
    pub(crate) redrives: BTreeMap<u64, Redrive>,
    /// When listed failures are next looked through, wall ms.
    next_sweep_ms: u64,
}

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
        let now = self.now;
        let Some(poller) = self.pollers[id].as_ref() else { return };
        let source = poller.source.clone();
        let Some(mapping) = self.mappings.get(&source.mapping) else { return };
        mapping.meters.discarded(discarded.condition).add(records.positions.len() as u64);
        let Some(&first) = records.positions.first() else { return };
        let key = FailureKey { mapping: source.mapping, shard: poller.shard, first };
        let mut packed = Chunk::starting_at(0);
        for (_, record) in records.iter() {
            packed.push(record.key, record.data, record.key_hash, record.arrival_ms);
        }
        let mut record = failure_record(&source, records, discarded, &mapping.row.function_arn, poller.last_request);
        record.insert("timestamp".into(), iso_millis(now.wall_ms).into());
        record.insert("metadata".into(), json!({"deliveryId": delivery_id(&source, first), "lane": discarded.lane}));
        if mapping.row.include_payload {
            record.insert("payload".into(), crate::events::kinesis_event(records).to_string().into());
        }
        let row = FailureRow {
            failed_ms: now.wall_ms,
            destination: mapping.row.on_failure.clone(),
            delivery_attempts: 0,
            last_error: poller.last_error.as_deref().map(str::to_owned),
            record: Value::Object(record),
            positions: records.positions.to_vec(),
        };
        self.pending.set(Table::Failure, key.bytes(), encode(&row, packed.body()));
        if row.destination.is_some() {
            self.pending.deliveries.push(key);
        }
        self.pending.urgent = true;
    }

    /// List records that retention dropped before they were read. Their data is gone; what is known of them is kept.
    pub(crate) fn list_trimmed(&mut self, id: PollerId, first: u64, end: u64) {
        let now = self.now;
        let Some(poller) = self.pollers[id].as_ref() else { return };
        let Some(mapping) = self.mappings.get(&poller.source.mapping) else { return };
        let key = FailureKey { mapping: poller.source.mapping, shard: poller.shard, first };
        let index = poller.source.shard_index;
        let record = json!({
            "version": "1.0",
            "timestamp": iso_millis(now.wall_ms),
            "requestContext": {"functionArn": mapping.row.function_arn, "condition": "RecordsExpired", "approximateInvokeCount": 0},
            "KinesisBatchInfo": {
                "shardId": poller.source.shard_id, "streamArn": poller.source.stream_arn, "batchSize": end - first,
                "startSequenceNumber": sequence::number(index, first).to_string(),
                "endSequenceNumber": sequence::number(index, end - 1).to_string(),
            },
            "metadata": {"deliveryId": delivery_id(&poller.source, first)},
        });
        let destination = mapping.row.on_failure.clone();
        let delivered = destination.is_some();
        let row = FailureRow {
            failed_ms: now.wall_ms,
            destination,
            delivery_attempts: 0,
            last_error: Some("the stream's retention dropped these records before they were read".into()),
            record,
            positions: Vec::new(),
        };
        self.pending.set(Table::Failure, key.bytes(), encode(&row, &[]));
        if delivered {
            self.pending.deliveries.push(key);
        }
        self.pending.urgent = true;
    }

    /// Failures whose rows became durable (or were found at start) want their destination.
    pub(crate) fn deliver(&mut self, keys: impl IntoIterator<Item = FailureKey>) {
        for key in keys {
            if self.failures.waiting.len() < KEYS_MAX {
                self.failures.waiting.insert(key);
            } else {
                self.failures.more = true;
            }
        }
        self.send_deliveries();
    }

    /// Start what may be sent now.
    pub(crate) fn send_deliveries(&mut self) {
        if self.draining {
            return;
        }
        let wall = self.now.wall_ms;
        while let Some(&(at, key)) = self.failures.later.first() {
            if at > wall {
                break;
            }
            self.failures.later.pop_first();
            self.failures.waiting.insert(key);
        }
        // Mapping by mapping: one whose destination is slow or gone must not stand before the others.
        let able = |mapping: &Mapping| mapping.destination.is_some();
        let mappings: Vec<u64> = self.mappings.iter().filter(|(_, mapping)| able(mapping)).map(|(&id, _)| id).collect();
        for mapping in mappings {
            let room = DELIVERIES_MAX.saturating_sub(self.failures.under_way.get(&mapping).copied().unwrap_or(0));
            let all =
                FailureKey { mapping, shard: 0, first: 0 }..=FailureKey { mapping, shard: u32::MAX, first: u64::MAX };
            let keys: Vec<FailureKey> = self.failures.waiting.range(all).copied().take(room).collect();
            for key in keys {
                if self.send(key) {
                    self.failures.waiting.remove(&key);
                }
            }
        }
    }

    /// Hand one failure to its destination; true if it is under way or needs no delivery any more.
    fn send(&mut self, key: FailureKey) -> bool {
        let Some(mapping) = self.mappings.get(&key.mapping) else { return true };
        let Some(slot) = mapping.destination else { return false };
        let row = match self.reader.get(Table::Failure, &key.bytes()) {
            Ok(row) => row,
            Err(error) => {
                self.fail(error);
                return false;
            }
        };
        let Some((row, _)) = row.as_deref().and_then(decode) else { return true };
        let record: Arc<[u8]> = row.record.to_string().into_bytes().into();
        *self.failures.under_way.entry(key.mapping).or_default() += 1;
        self.ready(Attempt::new(slot, Job::Delivery { key, record }, row.delivery_attempts + 1), false);
        true
    }

    /// A destination confirmed, or did not.
    pub(crate) fn delivery_ended(&mut self, key: FailureKey, confirmed: bool, body: Option<Vec<u8>>) {
        if let Some(count) = self.failures.under_way.get_mut(&key.mapping) {
            *count = count.saturating_sub(1);
        }
        if let Some(mapping) = self.mappings.get(&key.mapping) {
            if confirmed {
                mapping.meters.delivered.increment();
            } else {
                mapping.meters.undelivered.increment();
                mapping.meters.delivery_failures.increment();
            }
        }
        if confirmed {
            self.pending.remove(Table::Failure, key.bytes());
            self.pending.begin_lazily(self.now.mono_ns);
            self.refill_deliveries();
        } else {
            self.retry_delivery(key, body);
        }
        self.send_deliveries();
    }

    fn retry_delivery(&mut self, key: FailureKey, body: Option<Vec<u8>>) {
        let wall = self.now.wall_ms;
        let Ok(Some(bytes)) = self.reader.get(Table::Failure, &key.bytes()) else { return };
        let Some((mut row, payload)) = decode(&bytes) else { return };
        row.delivery_attempts += 1;
        row.last_error = body.map(|text| String::from_utf8_lossy(&text).into_owned()).or(row.last_error);
        if wall.saturating_sub(row.failed_ms) >= DELIVERED_WITHIN_MS {
            row.destination = None;
        } else {
            let (base, cap) = DELIVERY_BACKOFF_MS;
            let delay = base.saturating_mul(1 << row.delivery_attempts.saturating_sub(1).min(20)).min(cap);
            self.failures.later.insert((wall + delay, key));
            self.timers.push(self.now.mono_ns + delay * 1_000_000, Timer::Deliveries);
        }
        self.pending.set(Table::Failure, key.bytes(), encode(&row, payload));
        self.pending.begin_lazily(self.now.mono_ns);
    }

    /// Find rows again that did not fit into memory.
    fn refill_deliveries(&mut self) {
        if !self.failures.more || !self.failures.waiting.is_empty() {
            return;
        }
        self.failures.more = false;
        let pending = self.undelivered();
        self.deliver(pending);
    }

    /// Keys of all rows that wait for a destination, from the store.
    pub(crate) fn undelivered(&mut self) -> Vec<FailureKey> {
        let mut keys = Vec::new();
        let mut after: Option<Vec<u8>> = None;
        while let Ok(rows) = self.reader.scan(Table::Failure, &[], after.as_deref(), ROWS) {
            let Some((last, _)) = rows.last() else { break };
            after = Some(last.clone());
            let waiting = rows.iter().filter(|(_, row)| decode(row).is_some_and(|(row, _)| row.destination.is_some()));
            keys.extend(waiting.filter_map(|(key, _)| FailureKey::parse(key)));
            if keys.len() > KEYS_MAX {
                self.failures.more = true;
                break;
            }
        }
        let later: BTreeSet<FailureKey> = self.failures.later.iter().map(|(_, key)| *key).collect();
        keys.retain(|key| !later.contains(key));
        keys
    }

    /// Drop listed failures that are older than their time. Waiting ones stay.
    pub(crate) fn sweep_failures(&mut self) -> Result<(), EngineError> {
        let wall = self.now.wall_ms;
        if wall < self.failures.next_sweep_ms {
            return Ok(());
        }
        self.failures.next_sweep_ms = wall + SWEEP_MS;
        let mut after: Option<Vec<u8>> = None;
        loop {
            let rows = self.reader.scan(Table::Failure, &[], after.as_deref(), ROWS)?;
            let Some((last, _)) = rows.last() else { return Ok(()) };
            after = Some(last.clone());
            for (key, bytes) in rows {
                let Some((row, _)) = decode(&bytes) else { continue };
                if row.destination.is_none() && wall.saturating_sub(row.failed_ms) > LISTED_FOR_MS {
                    self.pending.remove(Table::Failure, key);
                    self.pending.begin_lazily(self.now.mono_ns);
                }
            }
        }
    }
}

/// The same for the same records of the same mapping, so that a destination can tell a repeat.
fn delivery_id(source: &Source, first: u64) -> String {
    format!("{}:{}:{}", source.mapping, source.shard_id, sequence::number(source.shard_index, first))
}

/// Lambda's on-failure record of a stream batch.
/// <https://docs.aws.amazon.com/lambda/latest/dg/kinesis-on-failure-destination.html>
fn failure_record(
    source: &Source,
    records: &Records,
    discarded: Discarded,
    function_arn: &str,
    request: u128,
) -> Map<String, Value> {
    let number = |at: Option<&u64>| at.map_or(0, |&at| sequence::number(source.shard_index, at)).to_string();
    let arrivals: Vec<u64> = {
        let mut all = records.iter().map(|(_, record)| record.arrival_ms);
        let first = all.next().unwrap_or(0);
        vec![first, all.last().unwrap_or(first)]
    };
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
    record.insert(
        "KinesisBatchInfo".into(),
        json!({
            "shardId": source.shard_id,
            "startSequenceNumber": number(records.positions.first()), "endSequenceNumber": number(records.positions.last()),
            "approximateArrivalOfFirstRecord": iso_millis(arrivals[0]),
            "approximateArrivalOfLastRecord": iso_millis(arrivals[1]),
            "batchSize": records.positions.len(), "streamArn": source.stream_arn,
        }),
    );
    record
}

/// How a condition is spelled in records and metrics.
pub(crate) fn condition_name(condition: Condition) -> &'static str {
    match condition {
        Condition::RetryAttemptsExhausted => "RetryAttemptsExhausted",
        Condition::RecordAgeExceeded => "RecordAgeExceeded",
        Condition::RuntimeInterrupted => "RuntimeInterrupted",
        Condition::Skipped => "Skipped",
        Condition::Trimmed => "RecordsExpired",
    }
}
