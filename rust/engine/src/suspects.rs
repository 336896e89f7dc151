//! Suspects of a crash: batches that were in flight when the last process died. Each is kept in a slot on file until it has
//! run alone, so that a chain of crashes closes in on the guilty record instead of starting over.

use forebay_core::stream::face::Suspect;

use crate::pollers::PollerId;
use crate::port::{ShardId, StoreError};
use crate::slots::{SlotId, SlotRecord};
use crate::state::State;

impl State {
    /// Take over what the last process left: from now on this process keeps it on file.
    pub(crate) fn take_over(&mut self, found: Vec<SlotRecord>) -> Result<(), StoreError> {
        for record in found {
            let slot = self.slots.occupy(record).map_err(|error| StoreError::Failed(error.to_string()))?;
            self.suspects.push((record, slot));
        }
        self.slots.forget_previous().map_err(|error| StoreError::Failed(error.to_string()))
    }

    /// The suspects of one mapping on one shard, and the slots that keep them.
    pub(crate) fn suspects_of(&mut self, mapping: u64, shard: ShardId) -> (Vec<Suspect>, Vec<SlotId>) {
        let (mut suspects, mut slots) = (Vec::new(), Vec::new());
        self.suspects.retain(|(record, slot)| {
            let ours = record.mapping == mapping && record.shard == shard;
            if ours {
                slots.push(*slot);
                suspects.push(Suspect {
                    positions_first: record.first,
                    positions_last: record.last,
                    lane: record.lane,
                    lanes: record.lanes,
                    interruptions: record.interruptions,
                    alone: record.alone,
                });
            }
            !ours
        });
        (suspects, slots)
    }

    /// Keep on file what a poller's machine still suspects. The new slots are written before the old ones are cleared.
    pub(crate) fn keep_suspects(&mut self, id: PollerId) {
        let Some(poller) = self.pollers[id].as_mut() else { return };
        if poller.suspect_slots.is_empty() {
            return;
        }
        let (mapping, shard) = (poller.source.mapping, poller.shard);
        let open = poller.machine.suspects_open();
        let records: Vec<SlotRecord> = open
            .into_iter()
            .map(|suspect| SlotRecord {
                mapping,
                shard,
                lane: suspect.lane,
                lanes: suspect.lanes,
                first: suspect.positions_first,
                last: suspect.positions_last,
                attempt: 1,
                interruptions: suspect.interruptions,
                alone: suspect.alone,
            })
            .collect();
        match self.slots.occupy_many(&records) {
            Ok(slots) => {
                for old in std::mem::replace(&mut poller.suspect_slots, slots) {
                    self.slots.release(old);
                }
            }
            Err(error) => self.fail(StoreError::Failed(error.to_string())),
        }
    }
}
