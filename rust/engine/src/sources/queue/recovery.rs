//! From rows and logs to queues: what an engine finds in its store when it opens it.

use std::collections::BTreeMap;

use forebay_core::queue::dedup::{Deduplication, Key, Row as IdRow};
use forebay_core::queue::protocol::{Restored, Row, Sent};

use crate::commit::rows::damaged;
use crate::dispatch::attempt_journal::{InFlight, InFlightKind};
use crate::payload::message::Message;
use crate::sources::queue::deletion_bitmap::DeletionBitmap;
use crate::sources::queue::mapping::QueueMapping;
use crate::sources::queue::mapping_row::QueueMappingRow;
use crate::sources::queue::meters::MappingMeters;
use crate::sources::queue::row::QueueRow;
use crate::sources::queue::send::ID_BYTES;
use crate::sources::queue::size_estimate::event_bytes;
use crate::sources::queue::QueueRoom;
use crate::sources::queue::{create, delete, redrive, serve};
use crate::sources::queue::{number_of, QueueId, IDS_MAX};
use crate::store::chunk::{Chunk, RecordView};
use crate::store::port::{StoreError, Table};

/// Bytes of a log read at once.
const READ_BYTES: usize = 4 << 20;

/// What the process before left of a queue's messages.
struct Before {
    states: BTreeMap<u64, Row>,
    /// Numbers that were in the hands of handlers when it died, first and last of each run, ascending.
    running: Vec<(u64, u64)>,
}

impl Before {
    fn ran(&self, number: u64) -> bool {
        let after = self.running.partition_point(|&(first, _)| first <= number);
        after > 0 && number <= self.running[after - 1].1
    }
}

/// Read queues, their messages, and their mappings. The attempts file was taken over before.
pub(crate) fn restore_queues(room: &mut QueueRoom<'_>) -> Result<(), StoreError> {
    create::restore_next_log(room)?;
    for (_, value) in room.ctx.commit.reader.scan(Table::Queue, &[], None, usize::MAX)? {
        let row: QueueRow = serde_json::from_slice(&value).map_err(|_| damaged("a queue's row"))?;
        restore_queue(room, row)?;
    }
    for (key, value) in room.ctx.commit.reader.scan(Table::QueueMapping, &[], None, usize::MAX)? {
        let id = room.ctx.mapping_id_found(&key, "a mapping's key")?;
        let row: QueueMappingRow = serde_json::from_slice(&value).map_err(|_| damaged("a mapping's row"))?;
        let queue = *room.queues.names.get(&row.queue).ok_or_else(|| damaged("a mapping's queue"))?;
        let meters = MappingMeters::new(&room.ctx.registry, &row.queue, &row.function);
        let filters = row.parse_filters().map_err(|error| damaged(&error.to_string()))?;
        room.queues.mappings.insert(id, QueueMapping::new(row, queue, filters, meters));
        room.queues.entries[queue].readers.push(id);
    }
    redrive::restore_redrives(room);
    delete::restore_dropping(room)?;
    for (_, slot) in std::mem::take(&mut room.queues.suspects) {
        // Kept until the rows that tell of them are durable.
        room.queues.held_slots.push(slot);
    }
    if !room.queues.held_slots.is_empty() {
        room.ctx.commit.pending.begin_lazily(room.ctx.now.mono_ns);
    }
    Ok(())
}

fn restore_queue(room: &mut QueueRoom<'_>, row: QueueRow) -> Result<(), StoreError> {
    let now = room.ctx.now;
    let log = row.log;
    let mut ids = Vec::new();
    let mut id_rows = Vec::new();
    for (key, value) in room.ctx.commit.reader.scan(Table::Deduplication, &log.to_be_bytes(), None, usize::MAX)? {
        let entries: Vec<(Key, IdRow)> = value.chunks_exact(ID_BYTES).map(read_id).collect();
        if entries.iter().any(|(_, row)| row.number == u64::MAX) {
            // No message has this number: with it `Deduplication` says that an id was taken back.
            return Err(damaged("a row of deduplication ids"));
        }
        let written_ms = entries.last().map_or(0, |(_, row)| row.accepted_ms).min(now.wall_ms);
        id_rows.push((written_ms, number_of(&key).ok_or_else(|| damaged("a deduplication row's key"))?));
        ids.extend(entries);
    }
    let id = create::open_queue(room, row, Deduplication::new(IDS_MAX, ids, &now));
    let (first, next) = room.ctx.commit.reader.bounds(log)?.unwrap_or((0, 0));
    let mut low = 0;
    let mut pages = Vec::new();
    for (key, value) in room.ctx.commit.reader.scan(Table::MessagesGone, &log.to_be_bytes(), None, usize::MAX)? {
        match number_of(&key) {
            Some(page) => pages.push((page, value)),
            None => {
                low = value.as_slice().try_into().map(u64::from_be_bytes).map_err(|_| damaged("a queue's low mark"))?;
            }
        }
    }
    // What a damaged log has lost at its beginning is gone.
    let low = low.max(first);
    let queue = &mut room.queues.entries[id];
    queue.id_rows = id_rows.into();
    queue.gone = DeletionBitmap::restored(low, pages.into_iter());
    (queue.next, queue.durable, queue.trimmed) = (next, next, low);
    let before = before(room, id)?;
    restore_kept(room, id, &before)?;
    restore_log(room, id, first, &before)?;
    serve::carry_out_queue(room, id);
    Ok(())
}

fn before(room: &mut QueueRoom<'_>, id: QueueId) -> Result<Before, StoreError> {
    let log = room.queues.entries[id].log();
    let mut states = BTreeMap::new();
    for (key, value) in room.ctx.commit.reader.scan(Table::MessageState, &log.to_be_bytes(), None, usize::MAX)? {
        let number = number_of(&key).ok_or_else(|| damaged("a message's key"))?;
        states.insert(number, serde_json::from_slice(&value).map_err(|_| damaged("a message's row"))?);
    }
    room.queues.entries[id].stated = states.keys().copied().collect();
    let ours = |slot: &&InFlight| slot.kind == InFlightKind::Messages && slot.shard == log;
    let slots = room.queues.suspects.iter().map(|(slot, _)| slot).filter(ours);
    let mut running: Vec<(u64, u64)> = slots.map(|slot| (slot.first, slot.last)).collect();
    running.sort_unstable();
    Ok(Before { states, running })
}

fn restore_kept(room: &mut QueueRoom<'_>, id: QueueId, before: &Before) -> Result<(), StoreError> {
    let log = room.queues.entries[id].log();
    for (key, body) in room.ctx.commit.reader.scan(Table::MessageKept, &log.to_be_bytes(), None, usize::MAX)? {
        let number = number_of(&key).ok_or_else(|| damaged("a kept message's key"))?;
        let chunk = Chunk::open(number, body).filter(|chunk| chunk.len() == 1);
        let chunk = chunk.ok_or_else(|| damaged("a kept message"))?;
        room.queues.entries[id].kept.insert(number);
        restore_message(room, id, number, &chunk.record(number), before);
    }
    Ok(())
}

fn restore_log(room: &mut QueueRoom<'_>, id: QueueId, first: u64, before: &Before) -> Result<(), StoreError> {
    let queue = &room.queues.entries[id];
    let (log, end) = (queue.log(), queue.durable);
    let mut at = first;
    while at < end {
        let chunks = room.ctx.commit.reader.chunks(log, at, READ_BYTES)?;
        if chunks.is_empty() {
            return Err(damaged("the end of a queue's log"));
        }
        for chunk in chunks {
            for number in chunk.first().max(at)..chunk.end() {
                if !room.queues.entries[id].gone.is(number) {
                    restore_message(room, id, number, &chunk.record(number), before);
                }
            }
            at = chunk.end();
        }
    }
    Ok(())
}

fn restore_message(room: &mut QueueRoom<'_>, id: QueueId, number: u64, record: &RecordView<'_>, before: &Before) {
    let now = room.ctx.now;
    let queue = &mut room.queues.entries[id];
    let Some(message) = Message::of(record) else {
        // Its place was filled when a damaged store was salvaged: there is nothing to hand to anybody.
        return serve::message_gone(room, id, number);
    };
    let was_running = before.ran(number);
    let sent = Sent { number, group: message.group, sent_ms: message.sent_ms, delay_ms: message.delay_ms };
    let row = before.states.get(&number).copied().unwrap_or_default();
    let waited = queue.waiting();
    queue.machine.restored(&Restored { sent, row, was_running }, &now);
    queue.estimate_in(waited, event_bytes(&message) as f64);
}

/// A commit is durable: what was suspected after the last crash is written down.
pub(crate) fn release_held_slots(room: &mut QueueRoom<'_>) {
    for slot in std::mem::take(&mut room.queues.held_slots) {
        room.dispatch.journal.release(slot);
    }
}

fn read_id(bytes: &[u8]) -> (Key, IdRow) {
    let (key, rest) = bytes.split_at(16);
    let (number, accepted) = rest.split_at(8);
    let eight = |bytes: &[u8]| {
        let mut eight = [0; 8];
        eight.copy_from_slice(bytes);
        u64::from_le_bytes(eight)
    };
    let mut sixteen = [0; 16];
    sixteen.copy_from_slice(key);
    (Key(u128::from_le_bytes(sixteen)), IdRow { number: eight(number), accepted_ms: eight(accepted) })
}
