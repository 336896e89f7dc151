//! The stream that rules and schedules put events into: nobody else puts anything there.

use std::collections::BTreeMap;

use forebay_engine::store::chunk::Chunk;
use forebay_engine::store::port::{Reader, ShardId, StoreError};

use super::{publication_of, Gift, Ledger, Promise};
use crate::topics::{Endpoint, ROUTED};

/// Its shards, with the position after the last record of each.
pub(super) type Routed = BTreeMap<ShardId, u64>;

impl Ledger {
    /// A chunk of it is durable.
    pub(super) fn routed_appended(&mut self, id: ShardId, chunk: &Chunk) {
        let end = self.routed.get(&id).copied().unwrap_or(0);
        if chunk.first() != end {
            let story = format!("shard {id} ends at {end} and takes {}..{}", chunk.first(), chunk.end());
            return self.broken(Promise::DurableAck, story);
        }
        self.routed_records(id, chunk);
    }

    /// What a crash has left of it.
    pub(super) fn find_routed(&mut self, reader: &mut dyn Reader, may_lose: bool) -> Result<(), StoreError> {
        for (id, end) in self.routed.clone() {
            let (_, next) = reader.bounds(id)?.unwrap_or((0, 0));
            if next < end && !may_lose {
                self.broken(Promise::DurableAck, format!("shard {id} ended at {end}, and at {next} after the crash"));
            }
            self.routed.insert(id, end.min(next));
            for chunk in reader.chunks(id, end, usize::MAX)? {
                self.routed_records(id, &chunk);
            }
            self.routed.insert(id, next);
        }
        Ok(())
    }

    fn routed_records(&mut self, id: ShardId, chunk: &Chunk) {
        let known = self.routed.insert(id, chunk.end()).unwrap_or(0);
        let endpoint = Endpoint::Stream(ROUTED.into());
        for position in chunk.first().max(known)..chunk.end() {
            let text = String::from_utf8_lossy(chunk.record(position).data).into_owned();
            self.gave(&text, &endpoint);
            match publication_of(&text) {
                Some(publication) => self.copied(publication, endpoint.clone()),
                None if Gift::of(&text).is_some() => {}
                None => {
                    let story = format!("the record at {position} of shard {id} was put by no rule: {text}");
                    self.broken(Promise::DurableAck, story);
                }
            }
        }
    }
}
