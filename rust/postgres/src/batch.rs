//! The writes of one commit as the arrays that the server's function takes.

use std::collections::BTreeMap;
use std::sync::Arc;

use forebay_store::chunk::Chunk;
use forebay_store::port::{ShardId, StoreError, Token, Write};
use forebay_store::sqlite::layout::{row_crc, row_name, Head};
use forebay_store::{Span, POSITION_LIMIT};

/// Longest key that an index of PostgreSQL takes, less what stands beside it.
const KEY_BYTES_MAX: usize = 2_600;
/// The count of a step that forgets a log.
const FORGET: i32 = -1;
/// The count of one that trims it.
const TRIM: i32 = 0;

/// A commit on its way.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) token: Token,
    pub(crate) logs: Vec<i32>,
    pub(crate) firsts: Vec<i64>,
    pub(crate) counts: Vec<i32>,
    pub(crate) bytes: Vec<i64>,
    pub(crate) arrivals: Vec<i64>,
    pub(crate) body_crcs: Vec<i64>,
    pub(crate) crcs: Vec<i64>,
    /// `None` where a log is trimmed.
    pub(crate) chunks: Vec<Option<Arc<Chunk>>>,
    pub(crate) set: Rows,
    pub(crate) removed: Rows,
    /// Where each append begins.
    pub(crate) positions: Vec<u64>,
}

/// Rows, a column to a field.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    pub(crate) tables: Vec<i16>,
    pub(crate) keys: Vec<Vec<u8>>,
    /// Empty for rows that are removed.
    pub(crate) crcs: Vec<i64>,
    pub(crate) values: Vec<Vec<u8>>,
}

impl Batch {
    /// Of a row that is written several times the last write counts. The steps of logs keep their order.
    pub(crate) fn of(token: Token, writes: &[Write]) -> Result<Self, StoreError> {
        let mut batch = Self { token, ..Self::default() };
        let mut rows: BTreeMap<(u8, &[u8]), Option<&[u8]>> = BTreeMap::new();
        for write in writes {
            match write {
                Write::Append { shard, chunk } => batch.append(*shard, chunk)?,
                Write::Trim { shard, before: u64::MAX } => batch.step(*shard, 0, FORGET, [0; 4], None),
                Write::Trim { shard, before } => {
                    batch.step(*shard, *before.min(&POSITION_LIMIT), TRIM, [0; 4], None);
                }
                Write::Add { table, key, value } | Write::Set { table, key, value } => {
                    rows.insert((*table as u8, key), Some(value));
                }
                Write::Remove { table, key } => {
                    rows.insert((*table as u8, key), None);
                }
            }
        }
        for ((tab, key), value) in rows {
            if key.len() > KEY_BYTES_MAX {
                return Err(StoreError::Failed(format!(
                    "{} has a key of {} bytes, and PostgreSQL takes {KEY_BYTES_MAX}",
                    row_name(tab, key),
                    key.len()
                )));
            }
            let Some(value) = value else {
                batch.removed.tables.push(i16::from(tab));
                batch.removed.keys.push(key.into());
                continue;
            };
            batch.set.tables.push(i16::from(tab));
            batch.set.keys.push(key.into());
            batch.set.crcs.push(i64::from(row_crc(tab, key, value)));
            batch.set.values.push(value.into());
        }
        Ok(batch)
    }

    fn append(&mut self, shard: ShardId, chunk: &Arc<Chunk>) -> Result<(), StoreError> {
        // The server knows where the log ends; here only the bounds of the format are looked at.
        Span::appended(None, shard, chunk)?;
        let head = Head::of(shard, chunk);
        self.positions.push(chunk.first());
        let facts = [head.bytes as i64, head.last_arrival_ms as i64, head.body_crc().into(), head.crc().into()];
        self.step(shard, chunk.first(), chunk.len() as i32, facts, Some(Arc::clone(chunk)));
        Ok(())
    }

    fn step(&mut self, shard: ShardId, first: u64, count: i32, facts: [i64; 4], chunk: Option<Arc<Chunk>>) {
        let [bytes, arrival, body_crc, crc] = facts;
        self.logs.push(shard as i32);
        self.firsts.push(first as i64);
        self.counts.push(count);
        self.bytes.push(bytes);
        self.arrivals.push(arrival);
        self.body_crcs.push(body_crc);
        self.crcs.push(crc);
        self.chunks.push(chunk);
    }

    /// Whether a log is forgotten or trimmed.
    pub(crate) fn drops(&self) -> bool {
        self.counts.iter().any(|&count| count <= TRIM)
    }

    /// The records of each step; nothing where a log is trimmed.
    pub(crate) fn bodies(&self) -> Vec<Option<&[u8]>> {
        self.chunks.iter().map(|chunk| chunk.as_ref().map(|chunk| chunk.body())).collect()
    }
}
