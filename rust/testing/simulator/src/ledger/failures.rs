//! Failure records: written down once, for a reason that the ledger has seen, and kept until confirmed.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use forebay_core::stream::checkpoint::Checkpoint;
use forebay_engine::dispatch::attempts::Token;
use forebay_engine::payload::records::Records;
use forebay_engine::store::port::{ShardId, Table, Write};
use serde::Deserialize;

use super::log::{key_number, Shard};
use super::progress::{Flight, Kind, Progress, State};
use super::rows::{BatchRow, Row};
use super::{Ledger, Mapping, Promise};

/// How long a failure without a destination stays listed, ms.
const LISTED_FOR_MS: u64 = 14 * 86_400_000;
/// Crashes while alone after which a record may be given up.
const INTERRUPTIONS: u32 = 3;

/// A failure row that is durable.
#[derive(Debug)]
pub(super) struct Failure {
    mapping: u64,
    shard: ShardId,
    positions: Vec<u64>,
    failed_ms: u64,
    /// The same moment as the record tells it.
    timestamp: String,
    /// It waits for a destination.
    sent: bool,
    /// In this life of the process: it is with its destination, was confirmed, was run again with success.
    under_way: bool,
    confirmed: bool,
    redriven: bool,
}

impl Failure {
    /// Whatever a checkpoint covers of its records is listed.
    pub(super) fn list_again(&self, shards: &BTreeMap<ShardId, Shard>, mappings: &mut BTreeMap<u64, Mapping>) {
        let mapping = mappings.get_mut(&self.mapping);
        let progress = mapping.and_then(|mapping| mapping.progress.get_mut(&self.shard));
        let (Some(progress), Some(shard)) = (progress, shards.get(&self.shard)) else { return };
        for place in self.positions.iter().filter_map(|&position| shard.place(position)) {
            if progress.states[place] == State::Passed {
                progress.states[place] = State::Listed;
            }
        }
    }
}

/// A delivery as a destination gets it.
#[derive(Debug, Deserialize)]
struct Delivery {
    metadata: Metadata,
    timestamp: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    delivery_id: String,
}

/// A failure's row key.
pub(super) fn row_key(mapping: u64, shard: ShardId, first: u64) -> Vec<u8> {
    let mut key = mapping.to_be_bytes().to_vec();
    key.extend_from_slice(&shard.to_be_bytes());
    key.extend_from_slice(&first.to_be_bytes());
    key
}

fn parse_key(key: &[u8]) -> Option<(u64, ShardId)> {
    let mapping = u64::from_be_bytes(key.get(..8)?.try_into().ok()?);
    Some((mapping, u32::from_be_bytes(key.get(8..12)?.try_into().ok()?)))
}

fn position(number: &str) -> Option<u64> {
    Some((number.parse::<u64>().ok()? - 10_000_000_000_000_000_000) / 1_000_000)
}

impl Ledger {
    /// Whether records that a row tells to have failed did so before their mapping was moved. What is given up after that, a
    /// checkpoint in the same commit passes; what retention took unread is gone, whenever that was.
    pub(super) fn is_of_before_move(&self, key: &[u8], passes_waiting: bool) -> bool {
        let Some((id, shard_id)) = parse_key(key).filter(|(_, shard_id)| self.shards.contains_key(shard_id)) else {
            return false;
        };
        let progress = self.mappings.get(&id).and_then(|mapping| mapping.progress.get(&shard_id));
        let Some(progress) = progress else { return false };
        progress.sought && (progress.old_commit == Some(self.counts.commits) || !passes_waiting)
    }

    /// Whether the record that this failure begins with waits, and a checkpoint among these writes passes it.
    pub(super) fn passes_waiting(&self, key: &[u8], writes: &[Write]) -> bool {
        let (Some((id, shard_id)), Some(Ok(first))) = (parse_key(key), key.get(12..).map(TryInto::try_into)) else {
            return false;
        };
        let progress = self.mappings.get(&id).and_then(|mapping| mapping.progress.get(&shard_id));
        let (Some(progress), Some(shard)) = (progress, self.shards.get(&shard_id)) else { return false };
        let saved = writes.iter().find_map(|write| match write {
            Write::Set { table: Table::Checkpoint, key: of, value } if *of == key[..12] => Some(value),
            _ => None,
        });
        let saved: Option<Checkpoint> = saved.and_then(|value| serde_json::from_slice(value).ok());
        saved.is_some_and(|saved| progress.passes_waiting(shard, &saved, u64::from_be_bytes(first)))
    }

    /// A failure row is durable, or was rewritten. `was_known`: it is not news, for a power cut has taken its removal, or what it names
    /// waits anew since the mapping was moved. `passes_waiting`: the same commit passes what waited.
    pub(super) fn failure_is(&mut self, key: &[u8], row: Option<&Row>, was_known: bool, passes_waiting: bool) {
        let (id, shard_id, row): (u64, ShardId, &BatchRow) = match (parse_key(key), row) {
            (_, Some(Row::Event(_))) => return,
            (Some((id, shard_id)), Some(Row::Batch(row))) => (id, shard_id, row),
            _ => return self.broken(Promise::FailureRecords, format!("a row that cannot be read: {key:?}")),
        };
        let batch = &row.record.batch;
        let range = position(&batch.start_sequence_number).zip(position(&batch.end_sequence_number));
        let unread = row.positions.is_empty();
        let positions: Cow<'_, [u64]> = match range {
            Some((first, last)) if unread => (first..=last).collect(),
            _ => (&row.positions).into(),
        };
        if positions.len() as u64 != batch.size {
            let story = format!("a failure record speaks of {} records and names {positions:?}", batch.size);
            return self.broken(Promise::FailureRecords, story);
        }
        let sent = row.is_sent;
        if let Some(known) = self.failures.get_mut(key).filter(|known| known.positions == *positions) {
            // Given up twice within a millisecond, they tell the same moment.
            let is_again = known.failed_ms != row.failed_ms || (passes_waiting && row.delivery_attempts == 0);
            (known.sent, known.failed_ms) = (sent, row.failed_ms);
            if !is_again {
                return;
            }
            (known.confirmed, known.redriven) = (false, false);
        }
        let condition = (row.record.request_context.condition.as_str(), unread);
        if was_known {
            // Its records were counted when it was written.
        } else if let Err((promise, story)) = self.list((id, shard_id), &positions, condition, row.failed_ms) {
            self.broken(promise, format!("mapping {id}, shard {shard_id}: {story}"));
        }
        self.counts.failed += if unread || was_known { 0 } else { positions.len() as u64 };
        let failure = Failure {
            mapping: id,
            shard: shard_id,
            positions: positions.into_owned(),
            failed_ms: row.failed_ms,
            timestamp: row.record.timestamp.clone(),
            sent,
            under_way: false,
            confirmed: false,
            redriven: false,
        };
        self.failures.insert(key.to_vec(), failure);
    }

    /// These records are written down as failed.
    fn list(
        &mut self,
        (id, shard_id): (u64, ShardId),
        positions: &[u64],
        (condition, unread): (&str, bool),
        wall_ms: u64,
    ) -> Result<(), (Promise, String)> {
        let (Some(mapping), Some(shard)) = (self.mappings.get_mut(&id), self.shards.get(&shard_id)) else {
            return Ok(());
        };
        let settings = &mapping.settings;
        let (skips, changed) = (mapping.skips, mapping.changed);
        let progress = mapping.progress.entry(shard_id).or_insert_with(|| Progress::starting_at(shard.start));
        progress.follow(shard);
        let reason = match condition {
            "RetryAttemptsExhausted" => {
                let attempts =
                    positions.first().and_then(|first| progress.failed.get(first)).map_or(0, |failed| failed.1);
                let is_exact = settings.age_ms.is_none() && shard.trimmed == shard.start;
                let due = settings.retries.map_or(u64::MAX, |retries| retries + 1);
                changed || (attempts > 0 && (!is_exact || attempts == due))
            }
            "RecordAgeExceeded" => {
                settings.age_ms.is_some_and(|age_ms| {
                    let is_old = |place: usize| wall_ms.saturating_sub(shard.records[place].arrival_ms) >= age_ms;
                    positions.iter().all(|&position| shard.place(position).is_some_and(is_old))
                }) || changed
            }
            "RuntimeInterrupted" => {
                positions.len() == 1 && progress.alone.get(&positions[0]).is_some_and(|&alone| alone >= INTERRUPTIONS)
            }
            "Skipped" => skips,
            "RecordsExpired" => true,
            _ => false,
        };
        if !reason {
            let failed = positions.first().and_then(|first| progress.failed.get(first));
            let story = format!("{positions:?} are given up as {condition} after {failed:?} failed attempts");
            return Err((Promise::FailureRecords, story));
        }
        for &position in positions {
            let Some(place) = shard.place(position) else {
                return Err((Promise::FailureRecords, format!("{position} is written down as failed and not durable")));
            };
            let entry = shard.records[place];
            match progress.states[place] {
                State::Waiting | State::GivenUp | State::Dropped if unread => {
                    // Such a record may name more than was lost: what other lanes had read goes on to run.
                    progress.states[place] = State::Dropped;
                    continue;
                }
                State::Waiting | State::GivenUp | State::Dropped => {}
                _ if unread => continue,
                state => {
                    let story = format!("{position} is given up as {condition} and was {state:?}");
                    return Err((Promise::FailureRecords, story));
                }
            }
            let key = usize::from(entry.key);
            progress.give_up_before(shard, key, entry.nth).map_err(|story| (Promise::Order, story))?;
            progress.states[place] = State::Listed;
            progress.keys[key].next = progress.keys[key].next.max(entry.nth + 1);
        }
        if let Some(first) = positions.first() {
            progress.failed.remove(first);
        }
        Ok(())
    }

    /// A failure row is gone.
    pub(super) fn failure_removed(&mut self, key: &[u8]) {
        let Some(failure) = self.failures.remove(key) else { return };
        let is_old = !failure.sent && self.now.wall_ms.saturating_sub(failure.failed_ms) > LISTED_FOR_MS;
        let is_orphan = self.mappings.get(&failure.mapping).is_none_or(|mapping| mapping.deleted);
        if !(failure.confirmed || failure.redriven || is_old || is_orphan) {
            let (shard, positions) = (failure.shard, failure.positions);
            self.broken(
                Promise::FailureRecords,
                format!("the failure of {positions:?} of shard {shard} is gone, unconfirmed"),
            );
        }
    }

    /// Whether these records can only begin because an operator has their failure run again: it is written down, and they are over, even
    /// if they were handled since, after their mapping was moved.
    pub(super) fn is_listed(&self, mapping: u64, shard: ShardId, first: u64) -> bool {
        let state = |mapping: &super::Mapping| {
            let place = self.shards.get(&shard)?.place(first)?;
            mapping.progress.get(&shard)?.states.get(place).copied().filter(|_| mapping.redrives)
        };
        match self.mappings.get(&mapping).and_then(state) {
            Some(State::Listed) => true,
            Some(state) => state.is_over() && self.failures.contains_key(&row_key(mapping, shard, first)),
            None => false,
        }
    }

    pub(super) fn begin_redrive(&mut self, key: &[u8], records: &Records) -> Result<(), (Promise, String)> {
        match self.failures.get(key) {
            Some(failure) if failure.redriven => {
                return Err((Promise::Duplicates, "a failure is run again after it succeeded".into()))
            }
            Some(_) => {}
            None => return Err((Promise::FailureRecords, "a failure is run again that is not written down".into())),
        }
        let Some(mapping) = self.mappings.get_mut(&records.source.mapping) else { return Ok(()) };
        let keys: BTreeSet<u16> = records.iter().filter_map(|(_, record)| key_number(record.key)).collect();
        let flies =
            |key: &&u16| mapping.is_redriving(**key) || mapping.progress.values().any(|progress| progress.flies(**key));
        if let Some(key) = keys.iter().find(flies) {
            return Err((Promise::Exclusion, format!("a failure is run again while its key k{key} is in flight")));
        }
        mapping.redriving.insert(key.to_vec(), keys);
        Ok(())
    }

    pub(super) fn redriven(&mut self, flight: &Flight, succeeded: bool) {
        if let Some(mapping) = self.mappings.get_mut(&flight.mapping) {
            mapping.redriving.remove(&flight.failure);
        }
        if let Some(failure) = self.failures.get_mut(&flight.failure) {
            failure.redriven |= succeeded;
        }
    }

    /// A failure record is handed to a destination.
    pub fn delivers(&mut self, token: Token, record: &[u8]) {
        let delivery: Option<Delivery> = serde_json::from_slice(record).ok();
        let (id, timestamp) =
            delivery.map_or_else(Default::default, |told| (told.metadata.delivery_id, told.timestamp));
        if let Some(key) = self.delivers_event(&id) {
            return self.take_off(Flight::delivery(token, (0, 0), (key, 0)));
        }
        let Some((mapping, shard, key)) = self.row_of_delivery(&id) else {
            return self.broken(Promise::FailureRecords, format!("a destination gets {id:?}, which names nothing"));
        };
        let (failed_ms, story) = match self.failures.get_mut(&key) {
            None => (0, Some("before it was written down, or after it was confirmed")),
            // Another failure of the same records has taken the place of this one when it was on its way already.
            Some(failure) if failure.timestamp != timestamp && !(failure.under_way || failure.confirmed) => (0, None),
            Some(failure) => {
                let was_under_way = std::mem::replace(&mut failure.under_way, true);
                let confirmed = failure.confirmed.then_some("again after it was confirmed");
                (failure.failed_ms, confirmed.or(was_under_way.then_some("twice at once")))
            }
        };
        if let Some(story) = story {
            self.broken(Promise::FailureRecords, format!("the failure {id} is sent {story}"));
        }
        self.take_off(Flight::delivery(token, (mapping, shard), (key, failed_ms)));
    }

    fn row_of_delivery(&self, id: &str) -> Option<(u64, ShardId, Vec<u8>)> {
        let mut parts = id.split(':');
        let mapping: u64 = parts.next()?.parse().ok()?;
        let index: u32 = parts.next()?.strip_prefix("shardId-")?.parse().ok()?;
        let first = position(parts.next()?)?;
        let shard = self.shard_of(&self.mappings.get(&mapping)?.stream, index)?;
        let mut key = row_key(mapping, shard, first);
        if parts.next() == Some("unread") {
            key.push(1);
        }
        Some((mapping, shard, key))
    }

    pub(super) fn delivered(&mut self, flight: &Flight, confirmed: bool) {
        debug_assert!(flight.kind == Kind::Delivery);
        self.delivered_event(&flight.failure, confirmed);
        let failure = self.failures.get_mut(&flight.failure);
        // By now it may be that of the same records, given up again.
        if let Some(failure) = failure.filter(|failure| failure.failed_ms == flight.failed_ms) {
            failure.under_way = false;
            failure.confirmed |= confirmed;
            self.counts.confirmed += u64::from(confirmed);
        }
    }

    /// Failures that wait for a destination.
    pub fn undelivered(&self) -> usize {
        let is_live = |failure: &&Failure| self.mappings.get(&failure.mapping).is_some_and(|mapping| !mapping.deleted);
        let of_streams = self.failures.values().filter(|failure| failure.sent && !failure.confirmed).filter(is_live);
        of_streams.count() + self.undelivered_events()
    }

    /// After a crash nothing is under way, and what was confirmed may be confirmed again.
    pub(super) fn forget_deliveries(&mut self) {
        for failure in self.failures.values_mut() {
            (failure.under_way, failure.confirmed, failure.redriven) = (false, false, false);
        }
    }
}

impl Mapping {
    fn is_redriving(&self, key: u16) -> bool {
        self.redriving.values().any(|keys| keys.contains(&key))
    }

    /// The first of these records whose key is run again just now.
    pub(super) fn redriven_among(&self, records: &Records) -> Option<u64> {
        if self.redriving.is_empty() {
            return None;
        }
        let is_redriving = |key: &str| key_number(key).is_some_and(|key| self.is_redriving(key));
        records.iter().find(|(_, record)| is_redriving(record.key)).map(|(position, _)| position)
    }
}
