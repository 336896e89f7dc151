//! Rows without which a store does not open, made again where they are lost, out of those that name them.

use std::collections::BTreeMap;

use forebay_core::stream::checkpoint::Checkpoint;
use forebay_store::format::keys::{log_of, read_checkpoint_key, NEXT_LOG, NEXT_MAPPING, NEXT_SHARD};
use forebay_store::format::rows::{ShardRow, StreamRow};
use forebay_store::format::FIRST_QUEUE_LOG;
use forebay_store::port::{ShardId, Table};
use serde::Deserialize;

/// Until an app declares the stream again, with the retention that it had: the longest there is, so that nothing is dropped.
const RETENTION_MS: u64 = 365 * 86_400_000;

/// What the rows that are whole tell of those that should be there.
#[derive(Debug, Default)]
pub(super) struct Mending {
    /// Streams that have shards.
    sharded: BTreeMap<String, Shards>,
    streams: Vec<Vec<u8>>,
    queues: Vec<Vec<u8>>,
    /// Keys of store-wide facts.
    facts: Vec<Vec<u8>>,
    next_shard: ShardId,
    next_log: ShardId,
    next_mapping: u64,
}

/// The shards of a stream.
#[derive(Debug, Default)]
struct Shards {
    next_index: u32,
    newest: ShardId,
    has_open: bool,
}

#[derive(Deserialize)]
struct OfQueue {
    queue: String,
}

impl Mending {
    /// Look at a row that is whole; the value is a shard's.
    pub(super) fn see(&mut self, table: Table, key: &[u8], value: Option<&[u8]>) {
        match table {
            Table::Meta => self.facts.push(key.to_vec()),
            Table::Stream => self.streams.push(key.to_vec()),
            Table::Queue => self.queues.push(key.to_vec()),
            Table::Shard => {
                let Some(Ok(shard)) = value.map(serde_json::from_slice::<ShardRow>) else { return };
                self.see_log(shard.id);
                let shards = self.sharded.entry(shard.stream).or_default();
                shards.has_open |= shard.closed_at.is_none();
                if shards.next_index <= shard.index {
                    (shards.next_index, shards.newest) = (shard.index.saturating_add(1), shard.id);
                }
            }
            Table::Checkpoint => {
                let Some((mapping, log)) = read_checkpoint_key(key) else { return };
                self.next_mapping = self.next_mapping.max(mapping.saturating_add(1));
                self.see_log(log);
            }
            Table::MessageState | Table::MessagesGone | Table::MessageKept | Table::Deduplication => {
                if let Some(log) = log_of(key) {
                    // Whoever got that number would get the row.
                    self.see_log(log);
                }
            }
            _ => {}
        }
    }

    /// A log that is there, whoever's it was: its number is never given out again.
    pub(super) fn see_log(&mut self, log: ShardId) {
        let next = if log < FIRST_QUEUE_LOG { &mut self.next_shard } else { &mut self.next_log };
        *next = log.saturating_add(1).max(*next);
    }

    /// Whether a row may be copied: a mapping on a queue whose row is lost would keep the store from opening, and a stream without
    /// a shard could not take a record.
    pub(super) fn fits(&self, table: Table, key: &[u8], value: &[u8]) -> bool {
        let lost = |of: OfQueue| !self.queues.iter().any(|queue| *queue == of.queue.as_bytes());
        match table {
            Table::QueueMapping => !serde_json::from_slice(value).is_ok_and(lost),
            Table::Stream => str::from_utf8(key).is_ok_and(|name| self.sharded.contains_key(name)),
            _ => true,
        }
    }

    /// A row as it is copied: where all open shards of a stream are lost, its newest one takes records again, of every key, and those
    /// who had read it to its end read on.
    pub(super) fn mended(&self, table: Table, key: &[u8], value: Vec<u8>) -> Vec<u8> {
        let mended = match table {
            Table::Shard => serde_json::from_slice::<ShardRow>(&value)
                .ok()
                .filter(|row| self.is_opened(row.id))
                .map(|row| serde_json::to_vec(&ShardRow { hash_low: 0, hash_high: u64::MAX, closed_at: None, ..row })),
            Table::Checkpoint if read_checkpoint_key(key).is_some_and(|(_, log)| self.is_opened(log)) => {
                let checkpoint = serde_json::from_slice::<Checkpoint>(&value).ok();
                checkpoint.map(|checkpoint| serde_json::to_vec(&Checkpoint { ended: false, ..checkpoint }))
            }
            _ => None,
        };
        mended.and_then(Result::ok).unwrap_or(value)
    }

    /// Whether a shard was closed and is made to take records again.
    fn is_opened(&self, log: ShardId) -> bool {
        self.sharded.values().any(|shards| !shards.has_open && shards.newest == log)
    }

    /// The rows that are made again.
    pub(super) fn made(&self) -> Vec<(Table, Vec<u8>, Vec<u8>)> {
        let mut made = Vec::new();
        for (name, shards) in &self.sharded {
            if !self.streams.iter().any(|stream| *stream == name.as_bytes()) {
                let row = StreamRow {
                    name: name.clone(),
                    created_ms: 0,
                    retention_ms: RETENTION_MS,
                    retention_bytes: None,
                    next_index: shards.next_index,
                    notes: BTreeMap::new(),
                };
                made.push((Table::Stream, name.clone().into_bytes(), serde_json::to_vec(&row).unwrap_or_default()));
            }
        }
        let counters = [
            (NEXT_SHARD, self.next_shard > 0, self.next_shard.to_be_bytes().to_vec()),
            (NEXT_LOG, self.next_log > 0, self.next_log.to_be_bytes().to_vec()),
            (NEXT_MAPPING, self.next_mapping > 0, self.next_mapping.to_be_bytes().to_vec()),
        ];
        for (key, is_needed, value) in counters {
            if is_needed && !self.facts.iter().any(|fact| fact == key) {
                made.push((Table::Meta, key.to_vec(), value));
            }
        }
        made
    }
}
