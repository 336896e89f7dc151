//! Suspects of a crash: batches that were in flight when the last process died. Each is kept in a slot on file until it has
//! run alone, so that a chain of crashes closes in on the guilty record instead of starting over.

use forebay_core::stream::protocol::Suspect;
use serde_json::json;

use crate::dispatch::attempt_journal::{InFlight, InFlightKind, JournalError, JournalSlot};
use crate::observe::operator_events::OperatorEvent;
use crate::runtime::rooms::State;
use crate::sources::stream::poller::PollerId;
use crate::store::port::{ShardId, StoreError};

impl State {
    /// Take over what the last process left, in the slots where it stands. What belongs to a mapping that is gone is let go.
    pub(crate) fn take_over(&mut self) -> Result<(), StoreError> {
        let failed = |error: JournalError| StoreError::Failed(error.to_string());
        let adopted = self.slots.adopt().map_err(failed)?;
        if !adopted.is_empty() {
            self.notice(OperatorEvent::Interrupted, "", json!({"attempts": adopted.len()}));
        }
        for (record, slot) in adopted {
            let is_ours = match record.kind {
                InFlightKind::Event => self.suspect_event(&record, slot)?,
                InFlightKind::Batch if self.mappings.contains_key(&record.mapping) => {
                    self.suspects.push((record, slot));
                    true
                }
                InFlightKind::Messages => {
                    self.queues.suspects.push((record, slot));
                    true
                }
                InFlightKind::Batch => false,
            };
            if !is_ours {
                self.slots.release(slot);
            }
        }
        self.slots.flush().map_err(failed)
    }

    /// A mapping is gone, and what was suspected of it.
    pub(crate) fn forget_suspects(&mut self, mapping: u64) {
        for (record, slot) in std::mem::take(&mut self.suspects) {
            if record.mapping == mapping {
                self.slots.release(slot);
            } else {
                self.suspects.push((record, slot));
            }
        }
    }

    /// The suspects of one mapping on one shard, and the slots that keep them.
    pub(crate) fn suspects_of(&mut self, mapping: u64, shard: ShardId) -> (Vec<Suspect>, Vec<JournalSlot>) {
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

    /// Something begins beside suspects that are past their deadline: if the process dies now, it need not have been them.
    pub(crate) fn acquit_joined(&mut self) -> Result<(), JournalError> {
        for token in std::mem::take(&mut self.ready_list.joined) {
            for &slot in self.attempts.get_mut(token).map_or(&[][..], |attempt| &attempt.file_slots) {
                self.slots.join(slot)?;
            }
        }
        Ok(())
    }

    /// Keep on file what a poller's machine still suspects. The new slots are written before the old ones are cleared.
    pub(crate) fn keep_suspects(&mut self, id: PollerId) {
        let Some(poller) = self.pollers[id].as_mut() else { return };
        let open = poller.machine.suspects_open();
        if open.is_empty() && poller.suspect_slots.is_empty() {
            return;
        }
        let (mapping, shard) = (poller.source.mapping, poller.shard);
        let records: Vec<InFlight> = open
            .into_iter()
            .map(|suspect| InFlight {
                kind: InFlightKind::Batch,
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
