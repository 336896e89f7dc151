//! Suspects of a crash: batches that were in flight when the last process died. Each is kept in a slot on file until it has
//! run alone, so that a chain of crashes closes in on the guilty record instead of starting over.

use forebay_core::stream::protocol::Suspect;

use crate::dispatch::attempt_journal::{InFlight, InFlightKind, JournalSlot};
use crate::sources::stream::poller::PollerId;
use crate::sources::stream::StreamRoom;
use crate::sources::stream::Streams;
use crate::store::port::{ShardId, StoreError};

/// A mapping is gone, and what was suspected of it.
pub(crate) fn forget_suspects(room: &mut StreamRoom<'_>, mapping: u64) {
    for (record, slot) in std::mem::take(&mut room.streams.suspects) {
        if record.mapping == mapping {
            room.dispatch.journal.release(slot);
        } else {
            room.streams.suspects.push((record, slot));
        }
    }
}

/// The suspects of one mapping on one shard, and the slots that keep them.
pub(crate) fn suspects_of(streams: &mut Streams, mapping: u64, shard: ShardId) -> (Vec<Suspect>, Vec<JournalSlot>) {
    let (mut suspects, mut slots) = (Vec::new(), Vec::new());
    streams.suspects.retain(|(record, slot)| {
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
pub(crate) fn keep_suspects(room: &mut StreamRoom<'_>, id: PollerId) {
    let Some(poller) = room.streams.pollers[id].as_mut() else { return };
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
    match room.dispatch.journal.occupy_many(&records) {
        Ok(slots) => {
            for old in std::mem::replace(&mut poller.suspect_slots, slots) {
                room.dispatch.journal.release(old);
            }
        }
        Err(error) => room.ctx.fail(StoreError::Failed(error.to_string())),
    }
}
