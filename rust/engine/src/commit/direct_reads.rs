//! Reads that are made with the engine's lock held, one at a time. Whatever reads more asks for a [`ReadJob`](super::read_jobs::ReadJob).
//!
//! When a store is opened, all rows of what the engine keeps in memory are read here, and nobody waits for the lock yet. Later it is:
//!
//! - a row that something is about to be done with (a failure, an event, a checkpoint, a kept message);
//! - up to 64 rows, 256 of a queue that is being removed, 1,000 of old executions or of an archive's sizes, and the rows after them with
//!   the next turn, request or commit: events to be run, failures to be sent, executions to be listed, steps of an execution, segments of
//!   an archive, rows that `forebay why` looks through;
//! - a chunk or 512 KiB of chunks: a record that is given up after its chunk has left the memory, messages that are shown, or given a
//!   row of their own. A chunk holds what one commit took in of one shard, which is 96 MiB at most, or 32 KiB of a queue's messages.
//!
//! Three reads grow with what they are about: the sizes of all chunks of a shard (a start at a time), of which there is one for each commit
//! that took in records of it; all rows of a mapping, a rule or an execution that is deleted; and what salvages have noted of a shard.
//!
//! The embedded store answers each at once. For a store on another machine the holder of the lock waits, one round trip for each read,
//! until the process may not run the store any more. An opening has some eighty of them, so most of what they find is read ahead.

use std::sync::Arc;

use crate::base::lease::Lease;
use crate::store::chunk::Chunk;
use crate::store::port::{Ahead, Found, Read, Reader, Rows, ShardId, StoreError, Table, Write};

/// What is read ahead at most: rows of a table, their bytes, and logs. All tables together have 13 MB then.
const AHEAD: Read = Read::Ahead { rows_max: 256, bytes_max: 256 << 10, logs_max: 4_096 };

/// A reader for reads that somebody waits for.
pub(crate) struct DirectReads {
    reader: Box<dyn Reader>,
    lease: Lease,
    ahead: Ahead,
}

impl DirectReads {
    pub(crate) fn over(reader: Box<dyn Reader>, lease: Lease) -> Self {
        Self { reader, lease, ahead: Ahead::default() }
    }

    /// Read ahead what an opening wants, until [`Self::opened`].
    pub(crate) fn read_ahead(&mut self) -> Result<(), StoreError> {
        self.ahead = self.read(AHEAD)?.ahead()?;
        Ok(())
    }

    /// These writes are about to be submitted.
    pub(crate) fn changes(&mut self, writes: &[Write]) {
        self.ahead.forget(writes);
    }

    /// The opening is over: what was read ahead goes.
    pub(crate) fn opened(&mut self) {
        self.ahead = Ahead::default();
    }

    /// As [`Read::Chunks`].
    pub(crate) fn chunks(
        &mut self,
        shard: ShardId,
        from: u64,
        bytes_max: usize,
    ) -> Result<Vec<Arc<Chunk>>, StoreError> {
        self.read(Read::Chunks { shard, from, bytes_max })?.chunks()
    }

    /// As [`Read::Bounds`].
    pub(crate) fn bounds(&mut self, shard: ShardId) -> Result<Option<(u64, u64)>, StoreError> {
        self.read(Read::Bounds { shard })?.bounds()
    }

    /// As [`Read::Sizes`].
    pub(crate) fn sizes(&mut self, shard: ShardId, limit: usize) -> Result<Vec<(u64, u32, u64, u64)>, StoreError> {
        self.read(Read::Sizes { shard, limit })?.sizes()
    }

    /// As [`Read::Row`].
    pub(crate) fn get(&mut self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(Read::Row { table, key: key.into() })?.row()
    }

    /// As [`Read::Rows`].
    pub(crate) fn scan(
        &mut self,
        table: Table,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Rows, StoreError> {
        self.read(Read::Rows { table, prefix: prefix.into(), after: after.map(Into::into), limit })?.rows()
    }

    fn read(&mut self, read: Read) -> Result<Found, StoreError> {
        if let Some(found) = self.ahead.answer(&read) {
            return Ok(found);
        }
        let found = self.reader.read_while(read, || self.lease.may_run());
        found.unwrap_or_else(|| Err(StoreError::Lost("this process may not run the store any more".into())))
    }
}
