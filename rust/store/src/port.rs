//! The store's port: what an engine needs from the place where things are kept.
//!
//! Two shapes are enough for everything: a *log* per shard (chunks of records in order) and *rows* (a key and a value in
//! a table). One `commit` is one atomic, durable step; it is the only way anything is written.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::chunk::Chunk;
use crate::directory::Place;
pub use crate::format::{ShardId, Table};

/// One write of a commit.
#[derive(Clone, Debug)]
pub enum Write {
    /// Add a chunk, of one record or more, at the end of a shard's log. Its first position follows the last one of the
    /// log; one that does not is a mistake of the writer, which stops the store.
    Append {
        /// The log.
        shard: ShardId,
        /// The records.
        chunk: Arc<Chunk>,
    },
    /// Drop every chunk of the log whose records all lie below `before`. May leave older records in a chunk that
    /// crosses it. The log remembers its next position even when nothing is left; `u64::MAX` makes the store forget the
    /// log altogether.
    Trim {
        /// The log.
        shard: ShardId,
        /// First position to keep.
        before: u64,
    },
    /// Insert a row that somebody asked to add. As `Append`, and other than `Set`, it is refused when the disk is full, rather than
    /// given the room that is kept for what was promised already.
    Add {
        /// Kind of row.
        table: Table,
        /// Ordered bytewise.
        key: Vec<u8>,
        /// Opaque to the store.
        value: Vec<u8>,
    },
    /// Insert or replace a row.
    Set {
        /// Kind of row.
        table: Table,
        /// Ordered bytewise.
        key: Vec<u8>,
        /// Opaque to the store.
        value: Vec<u8>,
    },
    /// Remove a row; a row that is not there is no error.
    Remove {
        /// Kind of row.
        table: Table,
        /// The row.
        key: Vec<u8>,
    },
}

impl Write {
    /// Whether it takes room that nobody was promised: a full disk refuses it, and nothing else.
    pub fn adds(&self) -> bool {
        matches!(self, Self::Append { .. } | Self::Add { .. })
    }
}

/// Why a store did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum StoreError {
    /// No room: nothing of the commit was written; reads and deletions still work.
    #[error(
        "the disk under the store is full: {0}; make room on it, or keep less (`forebay stream alter`), and ask again"
    )]
    Full(String),
    /// A write or fsync failed: the store takes no further write, since what reached the disk is unknown.
    #[error("the store failed and takes no further write: {0}")]
    Failed(String),
    /// Bytes are not what was written. Says which row or chunk.
    #[error("the store is damaged: {0}")]
    Corrupt(String),
    /// Written by a newer forebay.
    #[error(
        "the store has format {found}, this forebay reads up to {known}: use the newer forebay that wrote it, or go the way back that \
         its docs/guides/upgrade.md tells; if none wrote it, its header is damaged"
    )]
    NewerFormat {
        /// Format on disk.
        found: u32,
        /// Newest format understood.
        known: u32,
    },
    /// What was asked for makes no sense for what is in that directory; nothing was touched.
    #[error("{0}")]
    Refused(String),
    /// Another process owns the directory, or has the store's file locked. Nothing was written.
    #[error("{0}")]
    Locked(String),
    /// Its directory cannot be made, locked or reached. Nothing was touched.
    #[error("the store cannot be opened: {0}")]
    Unreachable(String),
}

impl From<std::io::Error> for StoreError {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::StorageFull => Self::Full(error.to_string()),
            _ => Self::Failed(error.to_string()),
        }
    }
}

/// How much a commit must survive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The commit is on the medium (fsync) when `commit` returns.
    PowerLoss,
    /// The commit survives the death of the process, not of the machine.
    ProcessCrash,
}

/// A place where things are kept. One writer at a time.
pub trait Store: Send {
    /// Carry out all writes or none. On return they are durable as the store's durability says.
    fn commit(&mut self, writes: &[Write]) -> Result<(), StoreError>;
    /// A reader that sees every commit that returned before one of its calls began. Usable from another thread.
    fn reader(&self) -> Result<Box<dyn Reader>, StoreError>;
    /// Give room back to the file system in a small step (at most some ms); true if there is more to give.
    fn give_back(&mut self) -> Result<bool, StoreError>;
    /// Where its file is, if it has one that can be deleted while it is open.
    fn place(&self) -> Option<Place> {
        None
    }
}

/// Rows as `(key, value)`, ascending by key.
pub type Rows = Vec<(Vec<u8>, Vec<u8>)>;

/// Reads from a store.
pub trait Reader: Send {
    /// Chunks of a log in order, beginning with the one that holds `from` or, if that was trimmed, the next one; until
    /// `bytes_max` is reached (at least one chunk if there is any).
    fn chunks(&mut self, shard: ShardId, from: u64, bytes_max: usize) -> Result<Vec<Arc<Chunk>>, StoreError>;
    /// First position kept and next position to be written (equal when everything was trimmed), `None` for a log that
    /// was never written or is forgotten.
    fn bounds(&mut self, shard: ShardId) -> Result<Option<(u64, u64)>, StoreError>;
    /// What each chunk of a log weighs, oldest first, for retention: `(first, count, bytes, last_arrival_ms)`.
    fn sizes(&mut self, shard: ShardId, limit: usize) -> Result<Vec<(u64, u32, u64, u64)>, StoreError>;
    /// One row.
    fn get(&mut self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;
    /// Rows whose key starts with `prefix`, after the key `after` if given.
    fn scan(&mut self, table: Table, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Rows, StoreError>;
}
