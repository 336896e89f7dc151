//! Stores: what keeps logs and rows. Each implements [`crate::store::port::Store`] and passes `tests/store_conformance.rs`.
//!
//! What all of them share stands here: the bounds of the format and the rule that a log has no gap.

mod beside;
pub mod chunk;
pub(crate) mod damage;
pub mod directory;
pub mod doctor;
pub mod fault;
mod image;
pub(crate) mod lost;
pub mod memory;
mod mending;
pub mod port;
mod salvage_writer;
pub mod sqlite;

use crate::store::chunk::Chunk;
use crate::store::port::{ShardId, StoreError};

/// Shards are numbered below this.
pub const SHARD_LIMIT: ShardId = 1 << 20;
/// Positions of records lie below this.
pub const POSITION_LIMIT: u64 = 1 << 43;
/// Most bytes of one chunk's body.
pub const CHUNK_BYTES_MAX: usize = 512 << 20;

/// Which positions a log holds: `first..next`, empty when they are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    /// First position kept.
    pub(crate) first: u64,
    /// Position of the next record to be written.
    pub(crate) next: u64,
}

impl Span {
    /// The span of a log that was `before` (`None`: never written) once `chunk` stands at its end.
    ///
    /// A chunk that does not follow, or lies outside the format, means that whoever writes has lost count: the store must
    /// stop rather than keep a log with a gap.
    pub(crate) fn appended(before: Option<Self>, shard: ShardId, chunk: &Chunk) -> Result<Self, StoreError> {
        let (first, end) = (chunk.first(), chunk.end());
        if shard >= SHARD_LIMIT || end > POSITION_LIMIT || chunk.body().len() > CHUNK_BYTES_MAX || chunk.is_empty() {
            return Err(StoreError::Failed(format!(
                "a chunk of {} records and {} bytes at {first} of shard {shard} lies outside the format",
                chunk.len(),
                chunk.body().len(),
            )));
        }
        match before {
            Some(span) if span.next != first => Err(StoreError::Failed(format!(
                "a chunk at {first} of shard {shard} does not follow the log, which ends at {}",
                span.next
            ))),
            Some(span) => Ok(Self { first: span.first, next: end }),
            None => Ok(Self { first, next: end }),
        }
    }
}
