//! Messages on their way from queue to queue: dead letters, and their way back.
//!
//! A message leaves its queue in the commit that writes it into the other one. When that cannot be written it is given back.

use std::sync::Arc;

use forebay_core::queue::protocol::{Delivery, Handle, Outcome, Restored, Row, Sent};
use forebay_core::stream::protocol::Backoff;

use serde_json::json;

use crate::base::ids::uuid_text;
use crate::commit::pending::Pending;
use crate::observe::happenings::{Happening, HappeningKind};
use crate::observe::history::batches::Went;
use crate::observe::operator_events::OperatorEvent;
use crate::payload::message::Message;
use crate::payload::messages::{Item, QueueSource};
use crate::sources::queue::body_fetch::Purpose;
use crate::sources::queue::compaction::kept_row;
use crate::sources::queue::QueueRoom;
use crate::sources::queue::Queues;
use crate::sources::queue::{message_key, QueueId};
use crate::sources::queue::{redrive, send, serve};
use crate::store::port::{ShardId, Table};

/// How long a dead letter waits whose move was refused.
const AGAIN_MS: u64 = 1_000;

/// Why messages move.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Transfer {
    /// Received as often as it may be: to the dead-letter queue.
    Buried,
    /// By an operator's request: to the queue with this log, for its entry may be another's when the message has been read, or to
    /// where each came from; by the redrive with this number, or one alone.
    Redriven { to: Option<ShardId>, by: Option<u64> },
}

impl Transfer {
    /// Whether it is by this redrive.
    pub(crate) fn is_of(self, redrive: u64) -> bool {
        matches!(self, Self::Redriven { by: Some(number), .. } if number == redrive)
    }
}

/// Whether a message that could not move is to be tried again: its queue has no room, or there is no such queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Again {
    Yes,
    No,
}

/// A message that leaves a queue.
pub(crate) struct Transferred {
    from: QueueId,
    /// Keeps the queue's entry from being another's.
    source: Arc<QueueSource>,
    item: Item,
    transferring: Transfer,
    /// It stood in a row instead of the log when it became part of a commit.
    was_kept: bool,
}

/// A message was received as often as it may be.
pub(crate) fn dead_letter(room: &mut QueueRoom<'_>, id: QueueId, number: u64, receive_count: u32) {
    let handle = Handle { number, receipt: 0 };
    let delivery = Delivery { handle, receive_count, first_received_ms: 0, alone: false };
    // Out of a FIFO queue none passes an earlier one that is still being read.
    let queue = &mut room.queues.entries[id];
    let before = if queue.row.is_fifo() { queue.wants.iter_mut().find(|want| want.is_burial()) } else { None };
    match before {
        Some(want) => want.then(delivery),
        None => serve::fetch(room, id, vec![delivery], Purpose::Move(Transfer::Buried)),
    }
}

/// The contents of messages that move are at hand.
pub(crate) fn carry(room: &mut QueueRoom<'_>, from: QueueId, transferring: &Transfer, items: Vec<Item>) {
    let carried = items.into_iter().map(|item| carry_one(room, from, *transferring, item, None));
    let refused: Vec<(Transferred, Again)> = carried.filter_map(Result::err).collect();
    // Afterwards, since whatever is served then may have more to move.
    for (moved, again) in refused {
        put_back(room, moved, again);
    }
}

/// Have a message leave with the next commit, with another body if there is one.
pub(crate) fn carry_one(
    room: &mut QueueRoom<'_>,
    from: QueueId,
    transferring: Transfer,
    item: Item,
    body: Option<&str>,
) -> Result<(), (Transferred, Again)> {
    let queue = &room.queues.entries[from];
    let moved = Transferred { from, source: queue.source.clone(), item, transferring, was_kept: false };
    let to = match target(room.queues, from, transferring, &moved.item) {
        Ok(to) => to,
        Err(again) => return Err((moved, again)),
    };
    let (item, source, now_ms) = (moved.item.clone(), moved.source.clone(), room.ctx.now.wall_ms);
    let message = item.message();
    let message = match transferring {
        // A standard queue's retention runs on, a FIFO queue's begins anew.
        Transfer::Buried => message.buried(&source.name, if source.is_fifo { now_ms } else { message.sent_ms }),
        Transfer::Redriven { .. } => message.redriven(now_ms),
    };
    let message = Message { body: body.unwrap_or(message.body), ..message };
    send::send_moved(room, to, &message, item.trace(), moved);
    Ok(())
}

/// Where a message goes, if there is such a queue, it has room, and none that came back since then must go first.
pub(crate) fn target(queues: &Queues, from: QueueId, transferring: Transfer, item: &Item) -> Result<QueueId, Again> {
    let message = item.message();
    if queues.entries[from].machine.is_behind(item.delivery.handle.number, message.group) {
        return Err(Again::Yes);
    }
    let from = &queues.entries[from].row;
    let to = match transferring {
        Transfer::Buried => from.settings.dead_letter_queue.as_ref().and_then(|name| queues.names.get(name)).copied(),
        // None: deleted meanwhile. A redrive that was cancelled may still read what it took up.
        Transfer::Redriven { to: Some(log), .. } => queues.logs.get(&log).copied(),
        Transfer::Redriven { to: None, .. } => queues.names.get(message.source).copied(),
    };
    let takes_it = |to: &QueueId| queues.entries[*to].row.is_fifo() == from.is_fifo();
    let to = to.filter(takes_it).ok_or(Again::No)?;
    let target = &queues.entries[to];
    let has_room = target.machine.room() > target.next - target.durable + target.sends_count;
    has_room.then_some(to).ok_or(Again::Yes)
}

/// A transferring message is part of a commit: what it was here is removed in the same one.
pub(crate) fn leave(queues: &mut Queues, moved: &mut Transferred, pending: &mut Pending) {
    let queue = &mut queues.entries[moved.from];
    let (log, number) = (queue.log(), moved.item.delivery.handle.number);
    queue.transferring += 1;
    if queue.is_deleted {
        return;
    }
    queue.gone.mark(number);
    if queue.stated.remove(&number) {
        pending.remove(Table::MessageState, message_key(log, number));
    }
    moved.was_kept = queue.kept.remove(&number);
    if moved.was_kept {
        pending.remove(Table::MessageKept, message_key(log, number));
    }
    if !std::mem::replace(&mut queue.is_settled, true) {
        queues.settled.push(moved.from);
    }
    redrive::count_moved(queues, moved.from, &moved.transferring, 1);
}

/// A message stands in the other queue.
pub(crate) fn moved(room: &mut QueueRoom<'_>, moved: &Transferred, to: (ShardId, u64)) {
    let now = room.ctx.now;
    room.ctx.observe.history.batches.went(Went {
        at_ms: now.wall_ms,
        from: (room.queues.entries[moved.from].log(), moved.item.delivery.handle.number),
        to,
        sent_ms: moved.item.message().sent_ms,
        is_dead: matches!(moved.transferring, Transfer::Buried),
    });
    let queue = &mut room.queues.entries[moved.from];
    queue.transferring -= 1;
    if queue.transferring == 0 {
        // Now the log may be trimmed past it.
        serve::settle_queue(room, moved.from);
    }
    let queue = &mut room.queues.entries[moved.from];
    match moved.transferring {
        Transfer::Buried => {
            queue.machine.redriven(moved.item.delivery.handle.number);
            queue.meters.dead_letters.increment();
            let (name, to) = (queue.row.name.clone(), queue.row.settings.dead_letter_queue.clone());
            let (message, received) = (uuid_text(moved.item.message().id), moved.item.delivery.receive_count);
            let fields = json!({"to": to, "received": received, "message": message});
            room.ctx.notice(OperatorEvent::DeadLetter, &name, fields);
            let hops = moved.item.message().hops + 1;
            let (arn, dead) = (room.ctx.queue_arn(&name), room.ctx.queue_arn(to.as_deref().unwrap_or_default()));
            room.ctx.happen(|| Happening {
                kind: HappeningKind::DeadLettered,
                detail: json!({
                    "queueArn": arn, "deadLetterQueueArn": dead, "messageId": message, "receiveCount": received,
                })
                .to_string(),
                resources: vec![arn, dead],
                hops,
                trace: None,
            });
        }
        Transfer::Redriven { .. } => {
            queue.machine.completed(&[moved.item.delivery.handle], &Outcome::Success, &Backoff::NONE, &now);
        }
    }
    redrive::move_ended(room, moved.from, &moved.transferring);
    serve::serve_queue(room, moved.from);
}

/// The commit that would have moved a message was refused.
pub(crate) fn move_refused(room: &mut QueueRoom<'_>, moved: Transferred, was_taken: bool) {
    if was_taken {
        let queue = &mut room.queues.entries[moved.from];
        let (log, number) = (queue.log(), moved.item.delivery.handle.number);
        queue.transferring -= 1;
        if queue.is_deleted {
            return;
        }
        // What was purged meanwhile loses its rows, as the refused commit would have had it.
        if number >= queue.purged_below {
            queue.gone.unmark(number);
            queue.stated.insert(number);
            room.ctx.commit.pending.cancel(Table::MessageState, message_key(log, number));
            if moved.was_kept {
                queue.kept.insert(number);
                let row = kept_row(&moved.item.chunk, number);
                room.ctx.commit.pending.set(Table::MessageKept, message_key(log, number), row);
            }
        }
        serve::settle_queue(room, moved.from);
        redrive::count_moved(room.queues, moved.from, &moved.transferring, -1);
    }
    put_back(room, moved, Again::Yes);
}

/// A message stays in its queue, and may be moved again a little later. A redrive tries it again if it is to.
pub(crate) fn put_back(room: &mut QueueRoom<'_>, moved: Transferred, again: Again) {
    let now = room.ctx.now;
    let Transferred { from, item, transferring, .. } = moved;
    let Handle { number, .. } = item.delivery.handle;
    let queue = &mut room.queues.entries[from];
    match transferring {
        Transfer::Buried if number >= queue.purged_below => {
            let message = item.message();
            let row = Row {
                receive_count: item.delivery.receive_count,
                first_received_ms: now.wall_ms,
                visible_at_ms: now.wall_ms + AGAIN_MS,
                ..Row::default()
            };
            let sent = Sent { number, group: message.group, sent_ms: message.sent_ms, delay_ms: 0 };
            queue.machine.restored(&Restored { sent, row, was_running: false }, &now);
            queue.stated.insert(number);
            let key = message_key(queue.log(), number);
            room.ctx.commit.pending.set(Table::MessageState, key, serde_json::to_vec(&row).unwrap_or_default());
            room.ctx.commit.pending.begin_lazily(now.mono_ns);
        }
        // Purged meanwhile.
        Transfer::Buried => {}
        Transfer::Redriven { .. } => {
            redrive::redrive_stuck(room, from, &transferring, item.delivery.handle, again);
            redrive::move_ended(room, from, &transferring);
        }
    }
    serve::serve_queue(room, from);
}
