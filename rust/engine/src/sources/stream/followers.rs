//! Readers that wait for the next record of a shard. Whoever waits costs nothing until one comes.

use std::collections::BTreeMap;

use crate::base::error::{EngineError, Waiter};
use crate::store::port::ShardId;

/// Most readers that wait at a time.
const FOLLOWERS_MAX: usize = 20_000;

/// The readers that wait.
#[derive(Default)]
pub(crate) struct Followers {
    waiting: BTreeMap<ShardId, Vec<Waiter>>,
    count: usize,
}

impl Followers {
    pub(crate) fn add(&mut self, shard: ShardId, waiter: Waiter) -> Result<(), (Waiter, EngineError)> {
        if self.count >= FOLLOWERS_MAX {
            self.sweep();
        }
        if self.count >= FOLLOWERS_MAX {
            let error = EngineError::TooMany {
                message: format!("{FOLLOWERS_MAX} readers wait for records already"),
                reason: "WaitingReaders".into(),
                retry_after_ms: 1_000,
            };
            return Err((waiter, error));
        }
        let waiting = self.waiting.entry(shard).or_default();
        // A reader that gives up and waits anew leaves its old place behind.
        let before = waiting.len();
        waiting.retain(|other| !other.has_left());
        self.count -= before - waiting.len();
        waiting.push(waiter);
        self.count += 1;
        Ok(())
    }

    fn sweep(&mut self) {
        for waiting in self.waiting.values_mut() {
            waiting.retain(|waiter| !waiter.has_left());
        }
        self.waiting.retain(|_, waiting| !waiting.is_empty());
        self.count = self.waiting.values().map(Vec::len).sum();
    }

    /// Those that wait for a shard.
    pub(crate) fn take(&mut self, shard: ShardId) -> Vec<Waiter> {
        let taken = self.waiting.remove(&shard).unwrap_or_default();
        self.count -= taken.len();
        taken
    }

    /// All of them.
    pub(crate) fn take_all(&mut self) -> Vec<Waiter> {
        self.count = 0;
        std::mem::take(&mut self.waiting).into_values().flatten().collect()
    }
}
