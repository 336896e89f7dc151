//! The records of one batch, and where they come from.

use std::sync::Arc;

use crate::store::chunk::{Chunk, RecordView};

/// What all batches of a poller share, as the event shows it.
#[derive(Debug)]
pub struct Source {
    /// Number of the mapping.
    pub mapping: u64,
    /// Stream name.
    pub stream: String,
    /// Stream ARN.
    pub stream_arn: String,
    /// AWS region shown in events.
    pub region: String,
    /// Role ARN shown in events.
    pub role_arn: String,
    /// Index of the shard in its stream.
    pub shard_index: u32,
    /// `shardId-…`.
    pub shard_id: String,
}

/// The records of one batch; cheap to clone, readable without the engine's lock.
#[derive(Clone, Debug)]
pub struct Records {
    /// Where they come from.
    pub source: Arc<Source>,
    /// Ascending positions.
    pub positions: Arc<[u64]>,
    /// Chunks that hold them, ascending.
    pub chunks: Arc<[Arc<Chunk>]>,
}

impl Records {
    /// Index of the chunk that holds a position, looked for from `hint` on.
    pub fn chunk_of(&self, position: u64, hint: usize) -> usize {
        let mut at = hint;
        while self.chunks[at].end() <= position {
            at += 1;
        }
        at
    }

    /// Every record in order, with its position.
    pub fn iter(&self) -> impl Iterator<Item = (u64, RecordView<'_>)> {
        let mut at = 0;
        self.positions.iter().map(move |&position| {
            at = self.chunk_of(position, at);
            (position, self.chunks[at].record(position))
        })
    }
}
