//! Looking at messages, with the engine locked meanwhile.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::Arc;

use serde_json::json;

use crate::runtime::test_engine::TestEngine;
use crate::store::chunk::Chunk;
use crate::store::port::{Reader, Rows, ShardId, Store as _, StoreError, Table};

/// Counts how often chunks are read.
struct Counting(Box<dyn Reader>, Arc<AtomicUsize>);

impl Reader for Counting {
    fn chunks(&mut self, shard: ShardId, from: u64, bytes_max: usize) -> Result<Vec<Arc<Chunk>>, StoreError> {
        self.1.fetch_add(1, Relaxed);
        self.0.chunks(shard, from, bytes_max)
    }

    fn bounds(&mut self, shard: ShardId) -> Result<Option<(u64, u64)>, StoreError> {
        self.0.bounds(shard)
    }

    fn sizes(&mut self, shard: ShardId, limit: usize) -> Result<Vec<(u64, u32, u64, u64)>, StoreError> {
        self.0.sizes(shard, limit)
    }

    fn get(&mut self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.0.get(table, key)
    }

    fn scan(&mut self, table: Table, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Rows, StoreError> {
        self.0.scan(table, prefix, after, limit)
    }
}

/// Messages that are sent one by one stand in a chunk each, and each was read by itself: a thousand reads under the lock.
#[test]
fn a_look_through_a_queue_reads_many_messages_at_once() {
    let engine = TestEngine::new();
    engine.declare("q");
    for n in 0..1_000 {
        engine.send("q", [n.to_string()].into_iter()).unwrap();
    }
    let engine = engine.reopened();
    assert_eq!(engine.log_chunks("q"), 1_000);
    let reads = Arc::new(AtomicUsize::new(0));
    let reader = Counting(engine.store.reader().unwrap(), Arc::clone(&reads));
    engine.engine.with(|state| state.ctx.commit.reader = Box::new(reader));
    let page = engine.json("queue.peek", &json!({"name": "q", "limit": 1_000}));
    assert_eq!((page["messages"].as_array().unwrap().len(), reads.load(Relaxed)), (1_000, 1));
}
