//! What was put, what was answered, what is durable.

use std::collections::BTreeMap;

use forebay_engine::store::chunk::Chunk;
use forebay_engine::store::port::ShardId;
use serde::Deserialize;

use super::{Ledger, Promise};
use crate::settings::Start;
use crate::topics::ROUTED;

/// Bytes of a record's data that name it; what follows is filling.
const NAME_BYTES: usize = 8;

/// A record that was put.
#[derive(Debug)]
pub(super) struct Put {
    key: u16,
    fate: Fate,
    /// Log and position where it was found durable.
    place: Option<(ShardId, u64)>,
}

/// What the caller was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Waiting,
    Acknowledged,
    Refused,
    /// The process or the store died first: it may be there or not.
    Unknown,
}

/// How a put was answered.
#[derive(Clone, Debug)]
pub enum Answer {
    /// With sequence numbers.
    Acknowledged(Vec<u64>),
    /// Not accepted: it must never be seen.
    Refused,
    /// The store failed meanwhile.
    Unknown,
}

/// A durable record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) put: u32,
    pub(super) key: u16,
    /// Which one of its key in this log.
    pub(super) nth: u32,
    pub(super) hash: u32,
    pub(super) arrival_ms: u64,
}

/// A shard's log.
#[derive(Debug)]
#[cfg_attr(test, derive(Default))]
pub(super) struct Shard {
    pub(super) index: u32,
    pub(super) parents: Vec<ShardId>,
    /// Position of its first record.
    pub(super) start: u64,
    pub(super) closed_at: Option<u64>,
    /// Everything below was dropped by retention.
    pub(super) trimmed: u64,
    pub(super) records: Vec<Entry>,
    /// Records of each key, in order, as places in `records`.
    pub(super) keys: Vec<Vec<u32>>,
    acknowledged_to: u64,
    pub(super) deleted: bool,
}

/// A shard's row, as far as the ledger reads it.
#[derive(Debug, Deserialize)]
pub(super) struct ShardRow {
    pub(super) id: ShardId,
    stream: String,
    index: u32,
    parents: Vec<ShardId>,
    start: u64,
    closed_at: Option<u64>,
}

impl Shard {
    fn new(row: ShardRow) -> Self {
        Self {
            index: row.index,
            parents: row.parents,
            start: row.start,
            closed_at: row.closed_at,
            trimmed: row.start,
            records: Vec::new(),
            keys: Vec::new(),
            acknowledged_to: row.start,
            deleted: false,
        }
    }

    pub(super) fn end(&self) -> u64 {
        self.start + self.records.len() as u64
    }

    /// Place in `records` of a position.
    pub(super) fn place(&self, position: u64) -> Option<usize> {
        let place = position.checked_sub(self.start)? as usize;
        (place < self.records.len()).then_some(place)
    }

    pub(super) fn push(&mut self, put: u32, key: u16, hash: u32, arrival_ms: u64) {
        let at = usize::from(key);
        if self.keys.len() <= at {
            self.keys.resize(at + 1, Vec::new());
        }
        let nth = self.keys[at].len() as u32;
        self.keys[at].push(self.records.len() as u32);
        self.records.push(Entry { put, key, nth, hash, arrival_ms });
    }

    fn cut_off(&mut self, end: u64) -> Vec<Entry> {
        let lost = self.records.split_off((end.saturating_sub(self.start) as usize).min(self.records.len()));
        for entry in &lost {
            self.keys[usize::from(entry.key)].pop();
        }
        self.acknowledged_to = self.acknowledged_to.min(end);
        lost
    }
}

/// The name of a record inside its data.
pub fn name_of(data: &[u8]) -> Option<u32> {
    let bytes: [u8; NAME_BYTES] = data.get(..NAME_BYTES)?.try_into().ok()?;
    u32::try_from(u64::from_le_bytes(bytes)).ok()
}

/// The number of a key.
pub(super) fn key_number(key: &str) -> Option<u16> {
    key.strip_prefix('k')?.parse().ok()
}

/// Write the data that a record of this name has, `filling` bytes longer than the name.
pub fn write_data(put: u32, filling: usize, to: &mut Vec<u8>) {
    to.extend_from_slice(&u64::from(put).to_le_bytes());
    to.resize(to.len() + filling, b'.');
}

impl Ledger {
    /// A record is about to be put; gives its name.
    pub fn puts(&mut self, key: u16) -> u32 {
        self.unanswered += 1;
        self.puts.push(Put { key, fate: Fate::Waiting, place: None });
        self.puts.len() as u32 - 1
    }

    /// A put of `count` records from `first` on was answered.
    pub fn answered(&mut self, stream: &str, first: u32, count: u32, answer: &Answer) {
        match answer {
            Answer::Acknowledged(numbers) => {
                if numbers.len() != count as usize {
                    self.broken(Promise::DurableAck, format!("{} numbers for {count} records", numbers.len()));
                }
                for (put, number) in (first..).zip(numbers) {
                    self.acknowledge(stream, put, *number);
                }
            }
            Answer::Refused => {
                for put in first..first + count {
                    self.counts.refused += 1;
                    self.close_put(put, Fate::Refused);
                    if self.puts[put as usize].place.is_some() {
                        self.broken(Promise::DurableAck, format!("put {put} was refused and is in the log"));
                    }
                }
            }
            Answer::Unknown => (first..first + count).for_each(|put| self.close_put(put, Fate::Unknown)),
        }
    }

    fn close_put(&mut self, put: u32, fate: Fate) {
        let entry = &mut self.puts[put as usize];
        if entry.fate != Fate::Waiting && entry.fate != Fate::Unknown {
            self.broken(Promise::DurableAck, format!("put {put} was answered twice"));
            return;
        }
        self.unanswered -= usize::from(entry.fate == Fate::Waiting);
        entry.fate = fate;
    }

    fn acknowledge(&mut self, stream: &str, put: u32, number: u64) {
        self.counts.acknowledged += 1;
        self.close_put(put, Fate::Acknowledged);
        let above = number.wrapping_sub(10_000_000_000_000_000_000);
        let (index, position) = ((above % 1_000_000) as usize, above / 1_000_000);
        let shard = self.streams.get(stream).and_then(|shards| shards.get(index)).copied();
        let place = shard.and_then(|id| self.shards.get_mut(&id));
        let found = place.and_then(|shard| {
            shard.acknowledged_to = shard.acknowledged_to.max(position + 1);
            Some(shard.records[shard.place(position)?].put)
        });
        // A stream that was deleted meanwhile has taken the record with it.
        if shard.is_some() && found != Some(put) {
            let found = found.map_or("nothing".into(), |found| format!("put {found}"));
            self.broken(
                Promise::DurableAck,
                format!("put {put} of {stream} was acknowledged as {number}, where the store holds {found}"),
            );
        }
    }

    /// A shard is durable, or changed.
    pub(super) fn shard_is(&mut self, row: ShardRow) {
        if row.stream == ROUTED {
            self.routed.entry(row.id).or_insert(row.start);
            return;
        }
        if let Some(shard) = self.shards.get_mut(&row.id) {
            shard.closed_at = row.closed_at;
            return;
        }
        let shards = self.streams.entry(row.stream.clone()).or_default();
        let at = row.index as usize;
        if shards.len() != at {
            let story = format!("shard {} of {} is number {at} of {}", row.id, row.stream, shards.len());
            return self.broken(Promise::DurableAck, story);
        }
        shards.push(row.id);
        self.shards.insert(row.id, Shard::new(row));
    }

    /// A chunk is durable.
    pub(super) fn appended(&mut self, id: ShardId, chunk: &Chunk) {
        let Some(shard) = self.shards.get_mut(&id) else {
            return self.broken(Promise::DurableAck, format!("records of the unknown shard {id}"));
        };
        if shard.deleted {
            return;
        }
        if chunk.first() != shard.end() || shard.closed_at.is_some_and(|closed| chunk.end() > closed) {
            let story = format!(
                "shard {id} ends at {} (closed at {:?}) and takes {}..{}",
                shard.end(),
                shard.closed_at,
                chunk.first(),
                chunk.end()
            );
            return self.broken(Promise::DurableAck, story);
        }
        for position in chunk.first()..chunk.end() {
            let record = chunk.record(position);
            let known = name_of(record.data).zip(key_number(record.key));
            let Some((name, key, put)) =
                known.and_then(|(name, key)| Some((name, key, self.puts.get_mut(name as usize)?)))
            else {
                return self
                    .broken(Promise::DurableAck, format!("a record at {position} of shard {id} that nobody put"));
            };
            let is_new = put.fate != Fate::Refused && put.place.replace((id, position)).is_none();
            if !is_new || put.key != key {
                let story = format!("put {name} ({:?}) is kept at {position} of shard {id}, under key {key}", put.fate);
                return self.broken(Promise::DurableAck, story);
            }
            shard.push(name, key, record.key_hash, record.arrival_ms);
        }
    }

    /// What a crash left of a log. `may_lose`: the newest may be gone.
    pub(super) fn log_found(
        &mut self,
        id: ShardId,
        first: u64,
        next: u64,
        chunks: &[std::sync::Arc<Chunk>],
        may_lose: bool,
    ) {
        let Some(shard) = self.shards.get_mut(&id) else { return };
        // The power may have taken what retention did, too.
        shard.trimmed = if may_lose { first.max(shard.start) } else { shard.trimmed.max(first) };
        let known_end = shard.end();
        if next < known_end {
            let acknowledged = shard.acknowledged_to;
            let lost = shard.cut_off(next);
            let put = lost.iter().find(|entry| self.puts[entry.put as usize].fate == Fate::Acknowledged);
            if let (Some(entry), false) = (put, may_lose) {
                let story = format!(
                    "put {} of shard {id} was acknowledged (to {acknowledged}); the log ends at {next}",
                    entry.put
                );
                self.broken(Promise::DurableAck, story);
            }
            for entry in lost {
                self.puts[entry.put as usize].place = None;
                self.puts[entry.put as usize].fate = Fate::Unknown;
            }
        }
        for chunk in chunks {
            let shard = &self.shards[&id];
            let changed = (chunk.first()..chunk.end().min(known_end)).find_map(|position| {
                let known = shard.place(position).map(|place| shard.records[place].put);
                let found = name_of(chunk.data(position));
                (known != found).then_some((position, known, found))
            });
            if let Some((position, known, found)) = changed {
                let story = format!("{position} of shard {id} held {known:?} before the crash and {found:?} after it");
                return self.broken(Promise::DurableAck, story);
            }
            if chunk.first() >= known_end {
                self.appended(id, chunk);
            }
        }
    }

    /// Puts that were not answered when the process died never will be.
    pub(super) fn forget_callers(&mut self) {
        for put in self.puts.iter_mut().rev() {
            if self.unanswered == 0 {
                break;
            }
            if put.fate == Fate::Waiting {
                put.fate = Fate::Unknown;
                self.unanswered -= 1;
            }
        }
    }

    /// Where a new mapping begins.
    pub(super) fn starts(&self, stream: &str, start: Start) -> BTreeMap<ShardId, u64> {
        let shards = self.streams.get(stream).into_iter().flatten();
        let begin = |id: &ShardId| {
            let shard = &self.shards[id];
            (*id, if start == Start::Latest { shard.end() } else { shard.trimmed })
        };
        shards.map(begin).collect()
    }

    /// The shard of a stream's index.
    pub(super) fn shard_of(&self, stream: &str, index: u32) -> Option<ShardId> {
        self.streams.get(stream)?.get(index as usize).copied()
    }

    /// A stream is about to be deleted with everything in it.
    pub fn deletes_stream(&mut self, stream: &str) {
        for id in self.streams.remove(stream).unwrap_or_default() {
            if let Some(shard) = self.shards.get_mut(&id) {
                shard.deleted = true;
            }
        }
    }
}
