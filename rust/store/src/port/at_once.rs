//! Tickets and results of a store that has done its work when it returns a ticket.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;

use crate::chunk::Chunk;
use crate::format::{ShardId, Table};
use crate::port::write::positions;
use crate::port::{Ahead, Found, Outcome, Read, Reader, Rows, StoreError, Ticket, Token, Write};

/// Results that `poll` has not returned yet.
#[derive(Clone, Debug)]
pub struct AtOnce<T> {
    last: Ticket,
    done: VecDeque<(Ticket, T)>,
}

impl<T> Default for AtOnce<T> {
    fn default() -> Self {
        Self { last: 0, done: VecDeque::new() }
    }
}

impl<T> AtOnce<T> {
    /// Keep a result, and return its ticket.
    pub fn done(&mut self, what: T) -> Ticket {
        self.last += 1;
        self.done.push_back((self.last, what));
        self.last
    }

    /// Return the oldest result that was not returned before.
    pub fn poll(&mut self) -> Option<(Ticket, T)> {
        self.done.pop_front()
    }
}

impl Outcome {
    /// How a commit ended that was carried out at once: `result` has the token for the next one.
    pub(crate) fn at_once(result: Result<Token, StoreError>, writes: &[Write]) -> Result<Self, StoreError> {
        match result {
            Ok(token) => Ok(Self::Committed { token, positions: positions(writes) }),
            Err(error @ (StoreError::Full(_) | StoreError::Locked(_))) => Ok(Self::Busy(error)),
            Err(error) => Err(error),
        }
    }
}

/// The reads of a store that finds everything at once. Each is the [`Read`] of its name.
pub(crate) trait Reads: Send {
    fn chunks(&mut self, shard: ShardId, from: u64, bytes_max: usize) -> Result<Vec<Arc<Chunk>>, StoreError>;
    fn bounds(&mut self, shard: ShardId) -> Result<Option<(u64, u64)>, StoreError>;
    fn sizes(&mut self, shard: ShardId, limit: usize) -> Result<Vec<(u64, u32, u64, u64)>, StoreError>;
    fn row(&mut self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;
    fn rows(&mut self, table: Table, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Rows, StoreError>;
}

/// The reader of such a store.
#[derive(Debug)]
pub(crate) struct ReaderAtOnce<R> {
    reads: R,
    answers: AtOnce<Result<Found, StoreError>>,
}

impl<R> ReaderAtOnce<R> {
    pub(crate) fn over(reads: R) -> Self {
        Self { reads, answers: AtOnce::default() }
    }
}

impl<R: Reads> Reader for ReaderAtOnce<R> {
    fn submit(&mut self, read: Read) -> Ticket {
        let reads = &mut self.reads;
        let found = match read {
            Read::Chunks { shard, from, bytes_max } => reads.chunks(shard, from, bytes_max).map(Found::Chunks),
            Read::Bounds { shard } => reads.bounds(shard).map(Found::Bounds),
            Read::Sizes { shard, limit } => reads.sizes(shard, limit).map(Found::Sizes),
            Read::Row { table, key } => reads.row(table, &key).map(Found::Row),
            Read::Rows { table, prefix, after, limit } => {
                reads.rows(table, &prefix, after.as_deref(), limit).map(Found::Rows)
            }
            Read::Ahead { .. } => Ok(Found::Ahead(Ahead::default())),
        };
        self.answers.done(found)
    }

    fn poll(&mut self, _waker: &Waker) -> Option<(Ticket, Result<Found, StoreError>)> {
        self.answers.poll()
    }
}
