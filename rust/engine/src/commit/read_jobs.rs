//! What is asked of the reader: reading takes longer than the lock may be held, so it is handed out and comes back as a fact.

use std::sync::Arc;

use crate::base::error::EngineError;
use crate::failures::search::Search;
use crate::runtime::rooms::State;
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

impl State {
    /// The reader has carried an order out, or a slice of it.
    pub(crate) fn fetched(&mut self, fetched: Fetched) {
        match fetched {
            Fetched::Chunks(read, Ok(chunks)) => self.read_done(read, chunks),
            Fetched::Messages(queue, from, Ok(chunks)) => self.messages_read(queue, from, chunks),
            Fetched::Search(search, Ok(true)) => self.found(*search),
            Fetched::Search(search, Ok(false)) => self.reads.push_back(ReadJob::Search(search)),
            Fetched::Chunks(_, Err(error)) | Fetched::Messages(_, _, Err(error)) => self.fail(error),
            Fetched::Search(search, Err(error)) => {
                if let Some(waiter) = search.waiter {
                    self.answer(waiter, Err(error.clone().into()));
                }
                self.fail(error);
            }
        }
    }

    /// Answer who waits for what the reader will not get to any more.
    pub(crate) fn refuse_searches(&mut self) {
        for order in std::mem::take(&mut self.reads) {
            let ReadJob::Search(search) = order else { continue };
            if let Some(waiter) = search.waiter {
                let text = "the app stopped before it had looked through the failures";
                self.answer(waiter, Err(EngineError::Closed(text.into())));
            }
        }
    }

    fn read_done(&mut self, read: Read, chunks: Vec<Arc<Chunk>>) {
        let Some(poller) = self.pollers.get_mut(read.poller).and_then(Option::as_mut) else { return };
        if poller.epoch != read.epoch {
            return;
        }
        poller.reading = false;
        for chunk in chunks {
            poller.hold(chunk);
        }
        self.pump(read.poller);
    }
}
