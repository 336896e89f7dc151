//! Messages on their way from queue to queue: dead letters, and their way back.
//!
//! A message leaves its queue in the commit that writes it into the other one. When that cannot be written it is given back.

use std::sync::Arc;

use forebay_core::queue::face::{Delivery, Handle, Outcome, Restored, Row, Sent};
use forebay_core::stream::face::Backoff;

use serde_json::json;

use super::batch::{Item, QueueSource};
use super::gather::Purpose;
use super::keeping::kept_row;
use super::message::Message;
use super::{message_key, QueueId};
use crate::commits::Pending;
use crate::history::batches::Went;
use crate::notices::What;
use crate::port::{ShardId, Table};
use crate::state::{uuid_text, State};

/// How long a dead letter waits whose move was refused.
const AGAIN_MS: u64 = 1_000;

/// Why messages move.
#[derive(Clone, Copy, Debug)]
pub(super) enum Moving {
    /// Received as often as it may be: to the dead-letter queue.
    Buried,
    /// By an operator's wish: to the queue with this log, for its entry may be another's when the message has been read, or to
    /// where each came from; by the redrive with this number, or one alone.
    Redriven { to: Option<ShardId>, by: Option<u64> },
}

impl Moving {
    /// Whether it is by this redrive.
    pub(super) fn is_of(self, redrive: u64) -> bool {
        matches!(self, Self::Redriven { by: Some(number), .. } if number == redrive)
    }
}

/// Whether a message that could not move is to be tried again: its queue has no room, or there is no such queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Again {
    Yes,
    No,
}

/// A message that leaves a queue.
pub(crate) struct Moved {
    from: QueueId,
    /// Keeps the queue's entry from being another's.
    source: Arc<QueueSource>,
    item: Item,
    moving: Moving,
    /// It stood in a row instead of the log when it became part of a commit.
    was_kept: bool,
}

impl State {
    /// A message was received as often as it may be.
    pub(super) fn bury(&mut self, id: QueueId, number: u64, receive_count: u32) {
        let handle = Handle { number, receipt: 0 };
        let delivery = Delivery { handle, receive_count, first_received_ms: 0, alone: false };
        // Out of a FIFO queue none passes an earlier one that is still being read.
        let queue = &mut self.queues.entries[id];
        let before = if queue.row.is_fifo() { queue.wants.iter_mut().find(|want| want.is_burial()) } else { None };
        match before {
            Some(want) => want.then(delivery),
            None => self.fetch(id, vec![delivery], Purpose::Move(Moving::Buried)),
        }
    }

    /// The contents of messages that move are at hand.
    pub(super) fn carry(&mut self, from: QueueId, moving: &Moving, items: Vec<Item>) {
        let carried = items.into_iter().map(|item| self.carry_one(from, *moving, item, None));
        let refused: Vec<(Moved, Again)> = carried.filter_map(Result::err).collect();
        // Afterwards, since whatever is served then may have more to move.
        for (moved, again) in refused {
            self.put_back(moved, again);
        }
    }

    /// Have a message leave with the next commit, with another body if there is one.
    pub(super) fn carry_one(
        &mut self,
        from: QueueId,
        moving: Moving,
        item: Item,
        body: Option<&str>,
    ) -> Result<(), (Moved, Again)> {
        let queue = &self.queues.entries[from];
        let moved = Moved { from, source: queue.source.clone(), item, moving, was_kept: false };
        let to = match self.target(from, moving, &moved.item) {
            Ok(to) => to,
            Err(again) => return Err((moved, again)),
        };
        let (item, source, now_ms) = (moved.item.clone(), moved.source.clone(), self.now.wall_ms);
        let message = item.message();
        let message = match moving {
            // A standard queue's retention runs on, a FIFO queue's begins anew.
            Moving::Buried => message.buried(&source.name, if source.is_fifo { now_ms } else { message.sent_ms }),
            Moving::Redriven { .. } => message.redriven(now_ms),
        };
        let message = Message { body: body.unwrap_or(message.body), ..message };
        self.send_moved(to, &message, item.trace(), moved);
        Ok(())
    }

    /// Where a message goes, if there is such a queue, it has room, and none that came back since then must go first.
    pub(super) fn target(&self, from: QueueId, moving: Moving, item: &Item) -> Result<QueueId, Again> {
        let message = item.message();
        if self.queues.entries[from].machine.is_behind(item.delivery.handle.number, message.group) {
            return Err(Again::Yes);
        }
        let from = &self.queues.entries[from].row;
        let to = match moving {
            Moving::Buried => from.dead_letter_queue.as_ref().and_then(|name| self.queues.names.get(name)).copied(),
            // None: deleted meanwhile. A redrive that was cancelled may still read what it took up.
            Moving::Redriven { to: Some(log), .. } => self.queues.logs.get(&log).copied(),
            Moving::Redriven { to: None, .. } => self.queues.names.get(message.source).copied(),
        };
        let takes_it = |to: &QueueId| self.queues.entries[*to].row.is_fifo() == from.is_fifo();
        let to = to.filter(takes_it).ok_or(Again::No)?;
        let target = &self.queues.entries[to];
        let has_room = target.machine.room() > target.next - target.durable + target.sends_count;
        has_room.then_some(to).ok_or(Again::Yes)
    }

    /// A moving message is part of a commit: what it was here is removed in the same one.
    pub(super) fn leave(&mut self, moved: &mut Moved, pending: &mut Pending) {
        let queue = &mut self.queues.entries[moved.from];
        let (log, number) = (queue.log(), moved.item.delivery.handle.number);
        queue.moving += 1;
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
            pending.settled.push(moved.from);
        }
        self.count_moved(moved.from, &moved.moving, 1);
    }

    /// A message stands in the other queue.
    pub(super) fn moved(&mut self, moved: &Moved, to: (ShardId, u64)) {
        let now = self.now;
        self.history.batches.went(Went {
            at_ms: now.wall_ms,
            from: (self.queues.entries[moved.from].log(), moved.item.delivery.handle.number),
            to,
            sent_ms: moved.item.message().sent_ms,
            is_dead: matches!(moved.moving, Moving::Buried),
        });
        let queue = &mut self.queues.entries[moved.from];
        queue.moving -= 1;
        if queue.moving == 0 {
            // Now the log may be trimmed past it.
            self.settle_queue(moved.from);
        }
        let queue = &mut self.queues.entries[moved.from];
        match moved.moving {
            Moving::Buried => {
                queue.machine.redriven(moved.item.delivery.handle.number);
                queue.meters.dead_letters.increment();
                let (name, to) = (queue.row.name.clone(), queue.row.dead_letter_queue.clone());
                let (message, received) = (uuid_text(moved.item.message().id), moved.item.delivery.receive_count);
                let fields = json!({"to": to, "received": received, "message": message});
                self.notice(What::DeadLetter, &name, fields);
            }
            Moving::Redriven { .. } => {
                queue.machine.completed(&[moved.item.delivery.handle], &Outcome::Success, &Backoff::NONE, &now);
            }
        }
        self.move_ended(moved.from, &moved.moving);
        self.serve_queue(moved.from);
    }

    /// The commit that would have moved a message was refused.
    pub(super) fn move_refused(&mut self, moved: Moved, was_taken: bool) {
        if was_taken {
            let queue = &mut self.queues.entries[moved.from];
            let (log, number) = (queue.log(), moved.item.delivery.handle.number);
            queue.moving -= 1;
            if queue.is_deleted {
                return;
            }
            // What was purged meanwhile loses its rows, as the refused commit would have had it.
            if number >= queue.purged_below {
                queue.gone.unmark(number);
                queue.stated.insert(number);
                self.pending.cancel(Table::MessageState, message_key(log, number));
                if moved.was_kept {
                    queue.kept.insert(number);
                    let row = kept_row(&moved.item.chunk, number);
                    self.pending.set(Table::MessageKept, message_key(log, number), row);
                }
            }
            self.settle_queue(moved.from);
            self.count_moved(moved.from, &moved.moving, -1);
        }
        self.put_back(moved, Again::Yes);
    }

    /// A message stays in its queue, and may be moved again a little later. A redrive tries it again if it is to.
    pub(super) fn put_back(&mut self, moved: Moved, again: Again) {
        let now = self.now;
        let Moved { from, item, moving, .. } = moved;
        let Handle { number, .. } = item.delivery.handle;
        let queue = &mut self.queues.entries[from];
        match moving {
            Moving::Buried if number >= queue.purged_below => {
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
                self.pending.set(Table::MessageState, key, serde_json::to_vec(&row).unwrap_or_default());
                self.pending.begin_lazily(now.mono_ns);
            }
            // Purged meanwhile.
            Moving::Buried => {}
            Moving::Redriven { .. } => {
                self.redrive_stuck(from, &moving, item.delivery.handle, again);
                self.move_ended(from, &moving);
            }
        }
        self.serve_queue(from);
    }
}
