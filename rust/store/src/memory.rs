//! The store that keeps nothing: logs and rows in memory, gone with the process. Behind `store=":memory:"`.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::task::Waker;

use crate::chunk::Chunk;
use crate::image::Image;
use crate::port::at_once::{AtOnce, ReaderAtOnce, Reads};
use crate::port::{Done, Outcome, Reader, Rows, ShardId, Store, StoreError, Table, Ticket, Token, Unit, Write};

/// Logs and rows in memory; its readers share them.
#[derive(Debug, Default)]
pub struct MemoryStore {
    image: Arc<RwLock<Image>>,
    failed: Option<StoreError>,
    token: Token,
    answers: AtOnce<Done>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }
}

impl MemoryStore {
    fn carry_out(&mut self, token: Token, writes: &[Write]) -> Result<Outcome, StoreError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        if token != self.token {
            return Ok(Outcome::Fenced);
        }
        let mut image = self.image.write().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = image.check(writes) {
            self.failed = Some(error.clone());
            return Err(error);
        }
        image.apply(writes);
        self.token.commits += 1;
        Outcome::at_once(Ok(self.token), writes)
    }
}

impl Store for MemoryStore {
    fn take(&mut self, _unit: Unit) -> Ticket {
        self.token.epoch += 1;
        let token = self.failed.clone().map_or(Ok(self.token), Err);
        self.answers.done(Done::Taken(token))
    }

    fn submit(&mut self, _unit: Unit, token: Token, writes: &[Write]) -> Ticket {
        let outcome = self.carry_out(token, writes);
        self.answers.done(Done::Ended(outcome))
    }

    fn poll(&mut self, _waker: &Waker) -> Option<(Ticket, Done)> {
        self.answers.poll()
    }

    fn reader(&self) -> Result<Box<dyn Reader>, StoreError> {
        Ok(Box::new(ReaderAtOnce::over(MemoryReader::of(Arc::clone(&self.image)))))
    }

    fn give_back(&mut self) -> Result<bool, StoreError> {
        Ok(false)
    }
}

/// Reads what the store holds at the moment of each call.
#[derive(Debug)]
pub(super) struct MemoryReader {
    image: Arc<RwLock<Image>>,
}

impl MemoryReader {
    pub(super) fn of(image: Arc<RwLock<Image>>) -> Self {
        Self { image }
    }

    fn image(&self) -> RwLockReadGuard<'_, Image> {
        self.image.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reads for MemoryReader {
    fn chunks(&mut self, shard: ShardId, from: u64, bytes_max: usize) -> Result<Vec<Arc<Chunk>>, StoreError> {
        Ok(self.image().chunks(shard, from, bytes_max))
    }

    fn bounds(&mut self, shard: ShardId) -> Result<Option<(u64, u64)>, StoreError> {
        Ok(self.image().bounds(shard))
    }

    fn sizes(&mut self, shard: ShardId, limit: usize) -> Result<Vec<(u64, u32, u64, u64)>, StoreError> {
        Ok(self.image().sizes(shard, limit))
    }

    fn row(&mut self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.image().get(table, key))
    }

    fn rows(&mut self, table: Table, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Rows, StoreError> {
        Ok(self.image().scan(table, prefix, after, limit))
    }
}
