//! What the chunks of shards hold, as the reader finds it for retention and for descriptions. A shard has a chunk for each commit that took
//! in records of it, so a look through a million of them would hold the engine's lock for a second.

use std::collections::{BTreeMap, VecDeque};

use crate::base::error::Waiter;
use crate::base::ids::RoomId;
use crate::commit::read_jobs::ReadJob;
use crate::sources::stream::participant::ROOM;
use crate::sources::stream::retention::{ShardSweep, Swept};
use crate::store::port::{Found, Read, ShardId, StoreError};

/// Most shards that are looked through in one read: the reads of pollers wait meanwhile.
const SHARDS_MAX: usize = 64;

/// What the sizes are for.
pub(crate) enum SizesFor {
    /// Retention: what of each shard is to be dropped.
    Sweep { due: VecDeque<ShardSweep>, swept: Vec<Swept> },
    /// Descriptions: the bytes of each shard.
    Streams { shards: VecDeque<ShardId>, bytes: BTreeMap<ShardId, u64>, described: Described },
}

/// The streams that a caller wants described.
pub(crate) enum Described {
    /// The logs of functions, or all other streams.
    All {
        logs: bool,
    },
    One(String),
    /// One that was changed, when the change is durable.
    Changed(String),
}

/// A look through the chunks of shards.
pub(crate) struct SizesRead {
    pub(super) then: SizesFor,
    /// Shards looked through in this read.
    pub(super) reads: usize,
    pub(super) error: Option<StoreError>,
    pub(super) waiter: Option<Waiter>,
}

impl SizesRead {
    pub(crate) fn job(then: SizesFor) -> Box<dyn ReadJob> {
        Box::new(Self { then, reads: 0, error: None, waiter: None })
    }

    /// The next shard to look through.
    pub(super) fn shard(&self) -> Option<ShardId> {
        match &self.then {
            SizesFor::Sweep { due, .. } => due.front().map(|due| due.shard),
            SizesFor::Streams { shards, .. } => shards.front().copied(),
        }
    }
}

impl ReadJob for SizesRead {
    fn room(&self) -> RoomId {
        ROOM
    }

    fn answers(&mut self, waiter: Waiter) {
        self.waiter = Some(waiter);
    }

    fn next(&mut self) -> Option<Read> {
        if self.reads == SHARDS_MAX || self.error.is_some() {
            return None;
        }
        let shard = self.shard()?;
        self.reads += 1;
        Some(Read::Sizes { shard, limit: usize::MAX })
    }

    fn found(&mut self, found: Result<Found, StoreError>) {
        match (found.and_then(Found::sizes), &mut self.then) {
            (Ok(sizes), SizesFor::Sweep { due, swept }) => swept.extend(due.pop_front().map(|due| due.swept(&sizes))),
            (Ok(sizes), SizesFor::Streams { shards, bytes, .. }) => {
                let sum: u64 = sizes.iter().map(|(_, _, bytes, _)| bytes).sum();
                bytes.extend(shards.pop_front().map(|shard| (shard, sum)));
            }
            (Err(error), _) => self.error = Some(error),
        }
    }
}
