//! What is asked of the reader: reading takes longer than the lock may be held, so it is handed out and comes back as a fact.

use std::sync::Arc;

use crate::failures::search::Search;
use crate::sources::queue::QueueId;
use crate::sources::stream::poller::PollerId;
use crate::store::chunk::Chunk;
use crate::store::port::{Reader, ShardId, StoreError};

/// Bytes of messages that one read brings.
pub(crate) const MESSAGES_BYTES: usize = 512 << 10;

/// A read the reader thread (or a manual turn) must make.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Read {
    pub(crate) poller: PollerId,
    pub(crate) epoch: u32,
    pub(crate) shard: ShardId,
    pub(crate) from: u64,
    pub(crate) bytes: usize,
}

/// What the reader is asked to do.
pub(crate) enum ReadJob {
    Chunks(Read),
    /// Messages of a queue's log, from a number on.
    Messages(QueueId, ShardId, u64),
    Search(Box<Search>),
}

/// What it brings back.
pub(crate) enum Fetched {
    Chunks(Read, Result<Vec<Arc<Chunk>>, StoreError>),
    Messages(QueueId, u64, Result<Vec<Arc<Chunk>>, StoreError>),
    /// Whether everything has been looked through.
    Search(Box<Search>, Result<bool, StoreError>),
}

impl ReadJob {
    pub(crate) fn carry_out(self, reader: &mut dyn Reader) -> Fetched {
        match self {
            Self::Chunks(read) => Fetched::Chunks(read, reader.chunks(read.shard, read.from, read.bytes)),
            Self::Messages(queue, log, from) => {
                Fetched::Messages(queue, from, reader.chunks(log, from, MESSAGES_BYTES))
            }
            Self::Search(mut search) => {
                let result = search.go_on(reader);
                Fetched::Search(search, result)
            }
        }
    }
}
