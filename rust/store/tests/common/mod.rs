//! What the tests of stores share.
#![allow(dead_code, clippy::unwrap_used, unreachable_pub)]

use std::collections::BTreeMap;
use std::sync::Arc;

use forebay_store::chunk::Chunk;
use forebay_store::port::{Reader, Rows, ShardId, Store, StoreError, Table, Write};

pub const TABLES: [Table; 7] =
    [Table::Meta, Table::Stream, Table::Shard, Table::Mapping, Table::Checkpoint, Table::Failure, Table::Metric];

/// How many a test is told to do by `make deep`, or how many it does ordinarily.
pub fn count(ordinary: u64) -> u64 {
    number("FOREBAY_COUNT").unwrap_or(ordinary)
}

/// Where chance begins: `make deep` never begins twice at the same place.
pub fn seed(ordinary: u64) -> u64 {
    number("FOREBAY_SEED").unwrap_or(ordinary)
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|value| value.parse().unwrap())
}

/// A directory in memory where there is one: a test that never cuts the power gains nothing from waiting for a disk.
pub fn quick_dir() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// A chunk whose records say which position they hold.
pub fn chunk(first: u64, count: u64) -> Arc<Chunk> {
    let mut chunk = Chunk::starting_at(first);
    for position in first..first + count {
        let key = format!("key-{}", position % 7);
        chunk.push(&key, format!("record {position}").as_bytes(), position as u32, 1_000 + position);
    }
    Arc::new(chunk)
}

pub fn append(shard: ShardId, first: u64, count: u64) -> Write {
    Write::Append { shard, chunk: chunk(first, count) }
}

pub fn trim(shard: ShardId, before: u64) -> Write {
    Write::Trim { shard, before }
}

pub fn set(table: Table, key: &[u8], value: &[u8]) -> Write {
    Write::Set { table, key: key.to_vec(), value: value.to_vec() }
}

/// The rows of a stream with these shards, as a salvage would make them again.
pub fn declared(shards: &[ShardId]) -> Vec<Write> {
    let next = shards.iter().max().map_or(0, |last| last + 1);
    let stream = format!(
        r#"{{"name":"s","created_ms":0,"retention_ms":31536000000,"retention_bytes":null,"next_index":{next}}}"#
    );
    let mut rows =
        vec![set(Table::Stream, b"s", stream.as_bytes()), set(Table::Meta, b"next_shard", &next.to_be_bytes())];
    for id in shards {
        let (key, range) = (id.to_be_bytes(), format!(r#""hash_low":0,"hash_high":{}"#, u64::MAX));
        let shard =
            format!(r#"{{"id":{id},"stream":"s","index":{id},{range},"parents":[],"start":0,"closed_at":null}}"#);
        rows.push(set(Table::Shard, &key, shard.as_bytes()));
    }
    rows
}

pub fn remove(table: Table, key: &[u8]) -> Write {
    Write::Remove { table, key: key.to_vec() }
}

pub fn spans(reader: &mut dyn Reader, shard: ShardId, from: u64, bytes_max: usize) -> Vec<(u64, u64)> {
    let chunks = reader.chunks(shard, from, bytes_max).unwrap();
    for chunk in &chunks {
        for position in chunk.first()..chunk.end() {
            assert_eq!(chunk.record(position).data, format!("record {position}").as_bytes());
        }
    }
    chunks.iter().map(|chunk| (chunk.first(), chunk.end())).collect()
}

/// Everything a store holds in the given shards and in all tables, read by every way there is.
#[derive(Debug, PartialEq, Eq)]
pub struct Content {
    logs: BTreeMap<ShardId, Log>,
    rows: Vec<Rows>,
}

#[derive(Debug, PartialEq, Eq)]
struct Log {
    bounds: Option<(u64, u64)>,
    sizes: Vec<(u64, u32, u64, u64)>,
    chunks: Vec<Arc<Chunk>>,
}

impl Content {
    pub fn has_the_rows_of(&self, other: &Self) -> bool {
        self.rows == other.rows
    }
}

pub fn content(store: &dyn Store, shards: &[ShardId]) -> Result<Content, StoreError> {
    let mut reader = store.reader()?;
    let mut logs = BTreeMap::new();
    for &shard in shards {
        let bounds = reader.bounds(shard)?;
        let sizes = reader.sizes(shard, usize::MAX)?;
        let chunks = reader.chunks(shard, 0, usize::MAX)?;
        for chunk in &chunks {
            let again = reader.chunks(shard, chunk.end() - 1, 0)?;
            assert_eq!(again.as_slice(), [Arc::clone(chunk)], "a chunk read on its own is another one");
        }
        logs.insert(shard, Log { bounds, sizes, chunks });
    }
    let mut rows = Vec::new();
    for table in Table::ALL {
        let found = reader.scan(table, b"", None, usize::MAX)?;
        for (key, value) in &found {
            assert_eq!(reader.get(table, key)?.as_ref(), Some(value), "a row read on its own is another one");
        }
        rows.push(found);
    }
    Ok(Content { logs, rows })
}

/// A small generator of numbers, so that a failure can be repeated from its seed.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (bits ^ (bits >> 31)) % limit
    }
}
