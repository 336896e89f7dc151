//! Rows without which a store does not open, made again where they are lost, out of those that name them.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::port::{ShardId, Table};
use crate::queue::FIRST_LOG;
use crate::streams::{ShardRow, StreamRow};

/// Key of the number of the next shard's log.
const NEXT_SHARD: &[u8] = b"next_shard";
/// Until an app declares the stream again, with the retention that it had: the longest there is, so that nothing is dropped.
const RETENTION_MS: u64 = 365 * 86_400_000;

/// What the rows that are whole tell of those that should be there.
#[derive(Debug, Default)]
pub(super) struct Mending {
    /// Streams that have shards, and the index of their next one.
    sharded: BTreeMap<String, u32>,
    streams: Vec<Vec<u8>>,
    queues: Vec<Vec<u8>>,
    next_shard: u32,
    has_next_shard: bool,
}

#[derive(Deserialize)]
struct OfQueue {
    queue: String,
}

impl Mending {
    /// Look at a row that is whole.
    pub(super) fn see(&mut self, table: Table, key: &[u8], value: &[u8]) {
        match table {
            Table::Meta => self.has_next_shard |= key == NEXT_SHARD,
            Table::Stream => self.streams.push(key.to_vec()),
            Table::Queue => self.queues.push(key.to_vec()),
            Table::Shard => {
                let Ok(shard) = serde_json::from_slice::<ShardRow>(value) else { return };
                self.see_log(shard.id);
                let next = self.sharded.entry(shard.stream).or_default();
                *next = shard.index.saturating_add(1).max(*next);
            }
            _ => {}
        }
    }

    /// A log that is there, whoever's it was: its number is never given out again.
    pub(super) fn see_log(&mut self, log: ShardId) {
        if log < FIRST_LOG {
            self.next_shard = self.next_shard.max(log + 1);
        }
    }

    /// Whether a row may be copied: a mapping on a queue whose row is lost would keep the store from opening.
    pub(super) fn fits(&self, table: Table, value: &[u8]) -> bool {
        let lost = |of: OfQueue| !self.queues.iter().any(|queue| *queue == of.queue.as_bytes());
        table != Table::QueueMapping || !serde_json::from_slice(value).is_ok_and(lost)
    }

    /// The rows that are made again.
    pub(super) fn made(&self) -> Vec<(Table, Vec<u8>, Vec<u8>)> {
        let mut made = Vec::new();
        for (name, &next_index) in &self.sharded {
            if !self.streams.iter().any(|stream| *stream == name.as_bytes()) {
                let row = StreamRow {
                    name: name.clone(),
                    created_ms: 0,
                    retention_ms: RETENTION_MS,
                    retention_bytes: None,
                    next_index,
                };
                made.push((Table::Stream, name.clone().into_bytes(), serde_json::to_vec(&row).unwrap_or_default()));
            }
        }
        if !self.has_next_shard && !self.sharded.is_empty() {
            made.push((Table::Meta, NEXT_SHARD.to_vec(), self.next_shard.to_be_bytes().to_vec()));
        }
        made
    }
}
