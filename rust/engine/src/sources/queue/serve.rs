//! After every fact: carry out what a queue's machine commands, answer who waits, wake who reads, arm the timer.

use crate::sources::queue::participant::{QUEUE, ROOM};
use forebay_core::queue::protocol::{Command, Removal, Row};
use serde_json::json;

use crate::base::timers::Timer;
use crate::commit::pending::Pending;
use crate::observe::operator_events::OperatorEvent;
use crate::sources::queue::body_fetch::{self, BodyFetch, Purpose};
use crate::sources::queue::deletion_bitmap::PageRow;
use crate::sources::queue::QueueRoom;
use crate::sources::queue::Queues;
use crate::sources::queue::{mapping, receive, redrive, transfer};
use crate::sources::queue::{message_key, QueueId};
use crate::store::port::Table;

/// The engine starts: mappings receive, and every queue expires, trims its log and shows its gauges, declared again or not.
pub(crate) fn start_queues(room: &mut QueueRoom<'_>) {
    room.bind_queue_mappings();
    for id in room.queues.live().collect::<Vec<_>>() {
        serve_queue(room, id);
    }
}

/// Do everything a queue can do now. Its mappings receive when they have a place.
pub(crate) fn serve_queue(room: &mut QueueRoom<'_>, id: QueueId) {
    carry_out_queue(room, id);
    receive::answer_polls(room, id);
    let now = room.ctx.now;
    let queue = &mut room.queues.entries[id];
    let depth = queue.machine.depth();
    if depth.visible > 0 {
        for mapping in room.queues.entries[id].readers.clone() {
            mapping::look_again(room, mapping);
        }
    }
    let queue = &mut room.queues.entries[id];
    queue.meters.show(depth, queue.machine.oldest_age_ms(&now));
    if let Some(due) = [queue.machine.next_due(), queue.polls.due()].into_iter().flatten().min() {
        room.ctx.timers.arm(&mut queue.armed, due.max(now.mono_ns), Timer { room: ROOM, kind: QUEUE, id: id as u64 });
    }
}

/// Serve the queues of which batches have ended, once each, however many that were.
pub(crate) fn serve_settled_queues(room: &mut QueueRoom<'_>) {
    let mut unserved = std::mem::take(&mut room.queues.unserved);
    unserved.sort_unstable();
    unserved.dedup();
    unserved.drain(..).for_each(|id| serve_queue(room, id));
    room.queues.unserved = unserved;
}

/// The queue's timer rang.
pub(crate) fn queue_due(room: &mut QueueRoom<'_>, id: QueueId) {
    let now = room.ctx.now;
    let queue = &mut room.queues.entries[id];
    queue.armed = None;
    queue.machine.due(&now);
    serve_queue(room, id);
}

pub(crate) fn carry_out_queue(room: &mut QueueRoom<'_>, id: QueueId) {
    while let Some(command) = room.queues.entries[id].machine.poll() {
        if room.queues.entries[id].is_deleted {
            continue;
        }
        match command {
            Command::Set { number, row } => state_message(room, id, number, row),
            Command::Remove { first, count, reason } => {
                let queue = &room.queues.entries[id];
                match reason {
                    Removal::Deleted => queue.meters.deleted.add(count),
                    Removal::Expired => {
                        queue.meters.expired.add(count);
                        let name = queue.row.name.clone();
                        room.ctx.notice(
                            OperatorEvent::Expired,
                            &name,
                            json!({"queue": name, "sums": {"messages": count}}),
                        );
                    }
                }
                (first..first + count).for_each(|number| message_gone(room, id, number));
            }
            Command::Redrive { number, receive_count } => transfer::dead_letter(room, id, number, receive_count),
            Command::Purge { before } => purged(room, id, before),
        }
    }
}

fn state_message(room: &mut QueueRoom<'_>, id: QueueId, number: u64, row: Row) {
    let queue = &mut room.queues.entries[id];
    let key = message_key(queue.log(), number);
    if row == Row::default() {
        if queue.stated.remove(&number) {
            room.ctx.commit.pending.remove(Table::MessageState, key);
        }
    } else {
        queue.stated.insert(number);
        room.ctx.commit.pending.set(Table::MessageState, key, serde_json::to_vec(&row).unwrap_or_default());
    }
    room.ctx.commit.pending.begin_lazily(room.ctx.now.mono_ns);
}

/// A message is no more: its bit, and what rows it has.
pub(crate) fn message_gone(room: &mut QueueRoom<'_>, id: QueueId, number: u64) {
    let queue = &mut room.queues.entries[id];
    queue.gone.mark(number);
    let log = queue.log();
    if !queue.stated.is_empty() && queue.stated.remove(&number) {
        room.ctx.commit.pending.remove(Table::MessageState, message_key(log, number));
    }
    if !queue.kept.is_empty() && queue.kept.remove(&number) {
        room.ctx.commit.pending.remove(Table::MessageKept, message_key(log, number));
    }
    settle_queue(room, id);
}

fn purged(room: &mut QueueRoom<'_>, id: QueueId, before: u64) {
    let queue = &mut room.queues.entries[id];
    let rows: Vec<u64> = queue.stated.iter().chain(&queue.kept).copied().filter(|number| *number < before).collect();
    queue.gone.mark_below(before);
    queue.purged_below = before;
    for number in rows {
        message_gone(room, id, number);
    }
    settle_queue(room, id);
}

/// Have the next commit write what is gone.
pub(crate) fn settle_queue(room: &mut QueueRoom<'_>, id: QueueId) {
    let queue = &mut room.queues.entries[id];
    if !std::mem::replace(&mut queue.is_settled, true) {
        room.queues.settled.push(id);
    }
    room.ctx.commit.pending.begin_lazily(room.ctx.now.mono_ns);
}

/// Put what is gone into a commit, and trim the log behind it.
pub(crate) fn take_settled(queues: &mut Queues, id: QueueId, pending: &mut Pending) {
    let queue = &mut queues.entries[id];
    let log = queue.log();
    queue.is_settled = false;
    if queue.is_deleted {
        return;
    }
    // A move may yet be refused: before it is durable nothing is trimmed but what was passed before it.
    let low = if queue.transferring == 0 { queue.gone.advance() } else { queue.gone.low() };
    if low > queue.trimmed {
        queue.trimmed = low;
        pending.trim(log, low);
        pending.set(Table::MessagesGone, log.to_be_bytes().to_vec(), low.to_be_bytes().to_vec());
        queues.chunk_cache.trim(log, low);
    }
    for row in queues.entries[id].gone.rows() {
        match row {
            PageRow::Set(page, bits) => pending.set(Table::MessagesGone, message_key(log, page), bits),
            PageRow::Remove(page) => pending.remove(Table::MessagesGone, message_key(log, page)),
        }
    }
    redrive::take_redrive(queues, id, pending);
}

/// Read what deliveries hold and act on it.
pub(crate) fn fetch(
    room: &mut QueueRoom<'_>,
    id: QueueId,
    deliveries: Vec<forebay_core::queue::protocol::Delivery>,
    purpose: Purpose,
) {
    body_fetch::fetch_bodies(room, id, BodyFetch::new(deliveries, purpose));
}
