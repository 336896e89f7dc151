//! What a store holds, as plain maps: the content behind the stores that keep everything in memory.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use crate::chunk::Chunk;
use crate::port::{Rows, ShardId, StoreError, Table, Write};
use crate::Span;

#[derive(Clone, Debug)]
struct Log {
    span: Span,
    chunks: VecDeque<Arc<Chunk>>,
}

/// Logs and rows. Cloning shares the chunks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Image {
    logs: BTreeMap<ShardId, Log>,
    rows: BTreeMap<Table, BTreeMap<Vec<u8>, Vec<u8>>>,
}

impl Image {
    /// Refuse what breaks the rule of a log; says nothing about rows, which are always allowed.
    pub(crate) fn check(&self, writes: &[Write]) -> Result<(), StoreError> {
        let mut spans = BTreeMap::new();
        for write in writes {
            match write {
                Write::Append { shard, chunk } => {
                    let before = *spans.entry(*shard).or_insert_with(|| self.logs.get(shard).map(|log| log.span));
                    spans.insert(*shard, Some(Span::appended(before, *shard, chunk)?));
                }
                Write::Trim { shard, before: u64::MAX } => {
                    spans.insert(*shard, None);
                }
                Write::Trim { .. } | Write::Add { .. } | Write::Set { .. } | Write::Remove { .. } => {}
            }
        }
        Ok(())
    }

    /// Carry out writes that [`Self::check`] let pass.
    pub(crate) fn apply(&mut self, writes: &[Write]) {
        for write in writes {
            match write {
                Write::Append { shard, chunk } => self.append(*shard, chunk),
                Write::Trim { shard, before: u64::MAX } => {
                    self.logs.remove(shard);
                }
                Write::Trim { shard, before } => self.trim(*shard, *before),
                Write::Add { table, key, value } | Write::Set { table, key, value } => {
                    self.rows.entry(*table).or_default().insert(key.clone(), value.clone());
                }
                Write::Remove { table, key } => {
                    self.rows.entry(*table).or_default().remove(key);
                }
            }
        }
    }

    fn append(&mut self, shard: ShardId, chunk: &Arc<Chunk>) {
        let first = chunk.first();
        let empty = || Log { span: Span { first, next: first }, chunks: VecDeque::new() };
        let log = self.logs.entry(shard).or_insert_with(empty);
        log.span.next = chunk.end();
        log.chunks.push_back(Arc::clone(chunk));
    }

    fn trim(&mut self, shard: ShardId, before: u64) {
        let Some(log) = self.logs.get_mut(&shard) else { return };
        let gone = log.chunks.partition_point(|chunk| chunk.end() <= before);
        log.chunks.drain(..gone);
        log.span.first = log.chunks.front().map_or(log.span.next, |chunk| chunk.first());
    }

    pub(crate) fn chunks(&self, shard: ShardId, from: u64, bytes_max: usize) -> Vec<Arc<Chunk>> {
        let Some(log) = self.logs.get(&shard) else { return Vec::new() };
        let mut bytes = 0;
        let mut found = Vec::new();
        for chunk in log.chunks.range(log.chunks.partition_point(|chunk| chunk.end() <= from)..) {
            bytes += chunk.body().len();
            found.push(Arc::clone(chunk));
            if bytes >= bytes_max {
                break;
            }
        }
        found
    }

    pub(crate) fn bounds(&self, shard: ShardId) -> Option<(u64, u64)> {
        self.logs.get(&shard).map(|log| (log.span.first, log.span.next))
    }

    pub(crate) fn sizes(&self, shard: ShardId, limit: usize) -> Vec<(u64, u32, u64, u64)> {
        let chunks = self.logs.get(&shard).into_iter().flat_map(|log| &log.chunks);
        chunks
            .take(limit)
            .map(|chunk| (chunk.first(), chunk.len() as u32, chunk.body().len() as u64, chunk.last_arrival_ms()))
            .collect()
    }

    pub(crate) fn get(&self, table: Table, key: &[u8]) -> Option<Vec<u8>> {
        self.rows.get(&table)?.get(key).cloned()
    }

    pub(crate) fn scan(&self, table: Table, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Rows {
        let Some(rows) = self.rows.get(&table) else { return Rows::new() };
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        rows.range::<[u8], _>((start, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .take(limit)
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    }
}
