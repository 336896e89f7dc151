//! The rule that a log has no gap, which every store keeps.

use crate::chunk::Chunk;
use crate::format::{ShardId, CHUNK_BYTES_MAX, POSITION_LIMIT, SHARD_LIMIT};
use crate::port::StoreError;

/// Which positions a log holds: `first..next`, empty when they are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// First position kept.
    pub first: u64,
    /// Position of the next record to be written.
    pub next: u64,
}

impl Span {
    /// The span of a log that was `before` (`None`: never written) once `chunk` stands at its end.
    ///
    /// A chunk that does not follow, or lies outside the format, means that whoever writes has lost count: the store must
    /// stop rather than keep a log with a gap.
    pub fn appended(before: Option<Self>, shard: ShardId, chunk: &Chunk) -> Result<Self, StoreError> {
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
