//! A few old messages must not hold a long log: they are given rows of their own, and the log is trimmed past them.

use crate::sources::queue::send::{self, ids_due_ms};
use crate::sources::queue::serve;
use crate::sources::queue::QueueRoom;
use crate::sources::queue::Queues;
use crate::sources::queue::{message_key, QueueId};
use crate::store::chunk::Chunk;
use crate::store::port::{StoreError, Table};

/// Messages that may be gone in vain, and then three for each that is left.
const GONE_MIN: u64 = 4_096;
const GONE_FOR_EACH: u64 = 3;
/// Bytes given rows in one go.
const BYTES_MAX: usize = 4 << 20;

/// Look through the queues for logs that hold little, and forget old deduplication ids.
pub(crate) fn sweep_queues(room: &mut QueueRoom<'_>) -> Result<(), StoreError> {
    for id in room.queues.live().collect::<Vec<_>>() {
        send::forget_ids(room, id);
        keep_stragglers(room, id)?;
    }
    Ok(())
}

/// When a sweep of a queue would find something.
pub(crate) fn sweep_due_ms(queues: &Queues, id: QueueId, wall_ms: u64) -> Option<u64> {
    if is_sparse(queues, id) {
        return Some(0);
    }
    let written_ms = queues.entries[id].id_rows.iter().map(|(written_ms, _)| *written_ms);
    // One of a clock that was ahead begins to age with the next sweep.
    written_ms.map(|written_ms| if written_ms > wall_ms { 0 } else { ids_due_ms(written_ms) }).min()
}

fn is_sparse(queues: &Queues, id: QueueId) -> bool {
    let queue = &queues.entries[id];
    let span = queue.durable.saturating_sub(queue.gone.low());
    let left = queue.machine.len().saturating_sub(queue.kept.len() as u64);
    span.saturating_sub(left) > GONE_MIN + GONE_FOR_EACH * left
}

pub(crate) fn keep_stragglers(room: &mut QueueRoom<'_>, id: QueueId) -> Result<(), StoreError> {
    // A move may yet be refused: nothing is passed before it is durable.
    if room.queues.entries[id].transferring > 0 {
        return Ok(());
    }
    let mut bytes = 0;
    room.queues.entries[id].gone.advance();
    while bytes < BYTES_MAX && is_sparse(room.queues, id) {
        let queue = &room.queues.entries[id];
        let log = queue.log();
        let Some(first) = queue.gone.first_left(0, queue.durable) else { break };
        let chunks = room.ctx.commit.reader.chunks(log, first, 1)?;
        let Some(chunk) = chunks.first() else { break };
        for number in first..chunk.end() {
            let queue = &mut room.queues.entries[id];
            if queue.gone.is(number) {
                continue;
            }
            let row = kept_row(chunk, number);
            bytes += row.len();
            queue.kept.insert(number);
            queue.gone.mark(number);
            room.ctx.commit.pending.set(Table::MessageKept, message_key(log, number), row);
        }
        room.queues.entries[id].gone.advance();
        serve::settle_queue(room, id);
    }
    Ok(())
}

/// A message as its row has it: a chunk of its own.
pub(crate) fn kept_row(chunk: &Chunk, number: u64) -> Vec<u8> {
    let record = chunk.record(number);
    let mut alone = Chunk::starting_at(number);
    alone.push_traced(record.key, record.data, 0, record.arrival_ms, record.trace);
    alone.body().to_vec()
}
