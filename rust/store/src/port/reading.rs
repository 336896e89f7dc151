//! Reads: what can be asked of a reader, and what it finds.

use std::sync::Arc;
use std::task::Waker;

use crate::chunk::Chunk;
use crate::format::{ShardId, Table};
use crate::port::blocking::{wait, wait_while};
use crate::port::{Ahead, StoreError, Ticket};

/// Rows as `(key, value)`, ascending by key.
pub type Rows = Vec<(Vec<u8>, Vec<u8>)>;

/// One read, of one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// Chunks of a log in order, beginning with the one that holds `from` or, if that was trimmed, the next one; until `bytes_max` is
    /// reached (at least one chunk if there is any).
    Chunks {
        /// The log.
        shard: ShardId,
        /// Position of the first record wanted.
        from: u64,
        /// Bytes of chunks' bodies.
        bytes_max: usize,
    },
    /// First position kept and next position to be written (equal when everything was trimmed), `None` for a log that was never
    /// written or is forgotten.
    Bounds {
        /// The log.
        shard: ShardId,
    },
    /// What each chunk of a log weighs, oldest first, for retention: `(first, count, bytes, last_arrival_ms)`.
    Sizes {
        /// The log.
        shard: ShardId,
        /// Most chunks.
        limit: usize,
    },
    /// One row.
    Row {
        /// Kind of row.
        table: Table,
        /// The row.
        key: Vec<u8>,
    },
    /// Rows whose key starts with `prefix`, after the key `after` if given.
    Rows {
        /// Kind of row.
        table: Table,
        /// What their keys begin with.
        prefix: Vec<u8>,
        /// The last row that is not wanted.
        after: Option<Vec<u8>>,
        /// Most rows.
        limit: usize,
    },
    /// What an opening wants in any case: every row of each table that is small, and where logs begin and end. A store that answers at
    /// once leaves it to the reads that ask for each of them.
    Ahead {
        /// Most rows of a table.
        rows_max: usize,
        /// Most bytes of a table's rows.
        bytes_max: usize,
        /// Most logs.
        logs_max: usize,
    },
}

/// What a read has found, as [`Read`] says of each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Of [`Read::Chunks`].
    Chunks(Vec<Arc<Chunk>>),
    /// Of [`Read::Bounds`].
    Bounds(Option<(u64, u64)>),
    /// Of [`Read::Sizes`].
    Sizes(Vec<(u64, u32, u64, u64)>),
    /// Of [`Read::Row`].
    Row(Option<Vec<u8>>),
    /// Of [`Read::Rows`].
    Rows(Rows),
    /// Of [`Read::Ahead`].
    Ahead(Ahead),
}

impl Found {
    /// What [`Read::Chunks`] has found.
    pub fn chunks(self) -> Result<Vec<Arc<Chunk>>, StoreError> {
        match self {
            Self::Chunks(chunks) => Ok(chunks),
            _ => Err(another()),
        }
    }

    /// What [`Read::Bounds`] has found.
    pub fn bounds(self) -> Result<Option<(u64, u64)>, StoreError> {
        match self {
            Self::Bounds(bounds) => Ok(bounds),
            _ => Err(another()),
        }
    }

    /// What [`Read::Sizes`] has found.
    pub fn sizes(self) -> Result<Vec<(u64, u32, u64, u64)>, StoreError> {
        match self {
            Self::Sizes(sizes) => Ok(sizes),
            _ => Err(another()),
        }
    }

    /// What [`Read::Row`] has found.
    pub fn row(self) -> Result<Option<Vec<u8>>, StoreError> {
        match self {
            Self::Row(row) => Ok(row),
            _ => Err(another()),
        }
    }

    /// What [`Read::Rows`] has found.
    pub fn rows(self) -> Result<Rows, StoreError> {
        match self {
            Self::Rows(rows) => Ok(rows),
            _ => Err(another()),
        }
    }

    /// What [`Read::Ahead`] has found.
    pub fn ahead(self) -> Result<Ahead, StoreError> {
        match self {
            Self::Ahead(ahead) => Ok(ahead),
            _ => Err(another()),
        }
    }
}

fn another() -> StoreError {
    StoreError::Failed("the store has answered another read than the one that was asked for".into())
}

/// Reads from a store.
pub trait Reader: Send {
    /// Ask for a read. A store that cannot be reached answers later; an error means what [`Done`](crate::port::Done) says of errors.
    fn submit(&mut self, read: Read) -> Ticket;
    /// Return the result of a read that was not returned before. `None`: there is none; the `waker` of the newest such call is woken
    /// when there is. Never waits.
    fn poll(&mut self, waker: &Waker) -> Option<(Ticket, Result<Found, StoreError>)>;
}

/// Reads that wait for their result, for repairs and tests. No other read may be under way.
impl dyn Reader + '_ {
    /// As [`Read::Chunks`].
    pub fn chunks(&mut self, shard: ShardId, from: u64, bytes_max: usize) -> Result<Vec<Arc<Chunk>>, StoreError> {
        self.read(Read::Chunks { shard, from, bytes_max })?.chunks()
    }

    /// As [`Read::Bounds`].
    pub fn bounds(&mut self, shard: ShardId) -> Result<Option<(u64, u64)>, StoreError> {
        self.read(Read::Bounds { shard })?.bounds()
    }

    /// As [`Read::Sizes`].
    pub fn sizes(&mut self, shard: ShardId, limit: usize) -> Result<Vec<(u64, u32, u64, u64)>, StoreError> {
        self.read(Read::Sizes { shard, limit })?.sizes()
    }

    /// As [`Read::Row`].
    pub fn get(&mut self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(Read::Row { table, key: key.into() })?.row()
    }

    /// As [`Read::Rows`].
    pub fn scan(
        &mut self,
        table: Table,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Rows, StoreError> {
        self.read(Read::Rows { table, prefix: prefix.into(), after: after.map(Into::into), limit })?.rows()
    }

    /// Any read, while `goes_on` does; `None`: it was given up, and its result may still come.
    pub fn read_while(&mut self, read: Read, goes_on: impl FnMut() -> bool) -> Option<Result<Found, StoreError>> {
        let ticket = self.submit(read);
        wait_while(|waker| self.poll(waker).filter(|(of, _)| *of == ticket), goes_on).map(|(_, found)| found)
    }

    /// Any read.
    pub fn read(&mut self, read: Read) -> Result<Found, StoreError> {
        let ticket = self.submit(read);
        wait(|waker| self.poll(waker).filter(|(of, _)| *of == ticket)).1
    }
}
