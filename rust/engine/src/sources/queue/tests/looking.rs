//! Looking at messages, with the engine locked meanwhile.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::Arc;
use std::task::Waker;

use serde_json::json;

use crate::base::lease::Lease;
use crate::commit::direct_reads::DirectReads;
use crate::runtime::test_engine::TestEngine;
use crate::store::port::{Found, Read, Reader, Store as _, StoreError, Ticket};

/// Counts how often chunks are read.
struct Counting(Box<dyn Reader>, Arc<AtomicUsize>);

impl Reader for Counting {
    fn submit(&mut self, read: Read) -> Ticket {
        self.1.fetch_add(usize::from(matches!(read, Read::Chunks { .. })), Relaxed);
        self.0.submit(read)
    }

    fn poll(&mut self, waker: &Waker) -> Option<(Ticket, Result<Found, StoreError>)> {
        self.0.poll(waker)
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
    engine.engine.with(|state| state.ctx.commit.reader = DirectReads::over(Box::new(reader), Lease::default()));
    let page = engine.json("queue.peek", &json!({"name": "q", "limit": 1_000}));
    assert_eq!((page["messages"].as_array().unwrap().len(), reads.load(Relaxed)), (1_000, 1));
}
