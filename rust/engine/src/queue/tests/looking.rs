//! Looking at messages, with the engine locked meanwhile.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::Arc;

use serde_json::json;

use crate::chunk::Chunk;
use crate::port::{Reader, Rows, ShardId, Store as _, StoreError, Table};
use crate::rig::Rig;

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
    let rig = Rig::new();
    rig.declare("q");
    for n in 0..1_000 {
        rig.send("q", [n.to_string()].into_iter()).unwrap();
    }
    let rig = rig.reopened();
    assert_eq!(rig.log_chunks("q"), 1_000);
    let reads = Arc::new(AtomicUsize::new(0));
    let reader = Counting(rig.store.reader().unwrap(), Arc::clone(&reads));
    rig.engine.with(|state| state.reader = Box::new(reader));
    let page = rig.json("queue.peek", &json!({"name": "q", "limit": 1_000}));
    assert_eq!((page["messages"].as_array().unwrap().len(), reads.load(Relaxed)), (1_000, 1));
}
