//! Chunks of queues' logs at hand, over all queues, bounded: the newest, and what was read.
//!
//! What is over the bound goes from the oldest on, but what was used since it was looked at last stays for another round.

use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::store::chunk::Chunk;
use crate::store::port::ShardId;

/// Most bytes of chunks at hand.
const BYTES_MAX: usize = 32 << 20;

type Place = (ShardId, u64);

#[derive(Debug, Default)]
pub(crate) struct ChunkCache {
    /// By log and first number.
    chunks: BTreeMap<Place, (Arc<Chunk>, Cell<bool>)>,
    order: VecDeque<Place>,
    bytes: usize,
}

impl ChunkCache {
    pub(crate) fn put(&mut self, log: ShardId, chunk: Arc<Chunk>) {
        let place = (log, chunk.first());
        let bytes = chunk.body().len();
        if self.chunks.insert(place, (chunk, Cell::new(false))).is_some() {
            return;
        }
        self.bytes += bytes;
        self.order.push_back(place);
        while self.bytes > BYTES_MAX {
            let Some(oldest) = self.order.pop_front() else { return };
            let Some((chunk, used)) = self.chunks.get(&oldest) else { continue };
            if used.replace(false) {
                self.order.push_back(oldest);
            } else {
                self.bytes -= chunk.body().len();
                self.chunks.remove(&oldest);
            }
        }
    }

    /// The chunk that holds a message.
    pub(crate) fn find(&self, log: ShardId, number: u64) -> Option<&Arc<Chunk>> {
        let (&(of, _), (chunk, used)) = self.chunks.range(..=(log, number)).next_back()?;
        if of != log || number >= chunk.end() {
            return None;
        }
        used.set(true);
        Some(chunk)
    }

    /// Let go of the chunks of a log that lie below a number.
    pub(crate) fn trim(&mut self, log: ShardId, before: u64) {
        while let Some((&place, (chunk, _))) = self.chunks.range((log, 0)..).next() {
            if place.0 != log || chunk.end() > before {
                return;
            }
            self.bytes -= chunk.body().len();
            self.chunks.remove(&place);
        }
        if self.order.len() > 1024 && self.order.len() > 4 * self.chunks.len() {
            let chunks = &self.chunks;
            self.order.retain(|place| chunks.contains_key(place));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(first: u64, bytes: usize) -> Arc<Chunk> {
        let mut chunk = Chunk::starting_at(first);
        chunk.push("", &vec![0; bytes], 0, 0);
        chunk.push("", &[], 0, 0);
        Arc::new(chunk)
    }

    #[test]
    fn a_message_is_found_in_its_own_log_alone() {
        let mut chunk_cache = ChunkCache::default();
        chunk_cache.put(1, chunk(10, 5));
        chunk_cache.put(2, chunk(12, 5));
        assert!(chunk_cache.find(1, 10).is_some() && chunk_cache.find(1, 11).is_some());
        for (log, number) in [(1, 9), (1, 12), (2, 11), (3, 10), (0, 10)] {
            assert!(chunk_cache.find(log, number).is_none(), "{log} {number}");
        }
        chunk_cache.trim(1, 11);
        assert!(chunk_cache.find(1, 11).is_some());
        chunk_cache.trim(1, 12);
        assert!(chunk_cache.find(1, 11).is_none() && chunk_cache.find(2, 12).is_some());
    }

    #[test]
    fn the_bound_holds_and_what_is_used_stays() {
        let mut chunk_cache = ChunkCache::default();
        for at in 0..100 {
            chunk_cache.put(1, chunk(at * 2, 1 << 20));
            assert!(chunk_cache.bytes <= BYTES_MAX);
            assert!(chunk_cache.find(1, 0).is_some(), "used in every round");
        }
        assert!(chunk_cache.find(1, 20).is_none());
        assert!(chunk_cache.find(1, 198).is_some());
        chunk_cache.trim(1, u64::MAX);
        assert_eq!(chunk_cache.bytes, 0);
    }
}
