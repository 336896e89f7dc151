//! What a commit writes.

use std::sync::Arc;

use crate::chunk::Chunk;
use crate::format::{ShardId, Table};

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
    /// given the room that is kept for what was already promised.
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

/// The position of the first record of each chunk, as its writer has chosen it.
pub(crate) fn positions(writes: &[Write]) -> Vec<u64> {
    let firsts = writes.iter().filter_map(|write| match write {
        Write::Append { chunk, .. } => Some(chunk.first()),
        _ => None,
    });
    firsts.collect()
}
