//! Messages on their way from queue to queue: dead letters, and their way back.
//!
//! A message leaves its queue in the commit that writes it into the other one. When that cannot be written it is given back.

use forebay_core::queue::face::{Delivery, Handle, Hold, Outcome, Receive, Restored, Row, Sent};
use forebay_core::stream::face::Backoff;

use super::batch::Item;
use super::gather::Purpose;
use super::{message_key, QueueId};
use crate::commits::Pending;
use crate::error::EngineError;
use crate::port::Table;
use crate::state::{State, Timer};

/// How long a message waits whose move was refused.
const AGAIN_MS: u64 = 1_000;
/// Most messages of one redrive under way.
const UNDER_WAY_MAX: u32 = 64;
const NS_PER_MS: u64 = 1_000_000;
const NO_DELAY: Backoff = Backoff { base_ms: 0, cap_ms: 0, jitter: 0.0 };

/// Why messages move.
#[derive(Clone, Copy, Debug)]
pub(super) enum Moving {
    /// Received as often as it may be: to the dead-letter queue.
    Buried,
    /// By an operator's wish: to this queue, or to where each came from.
    Redriven { to: Option<QueueId> },
}

/// A message that leaves a queue.
pub(crate) struct Moved {
    from: QueueId,
    item: Item,
    moving: Moving,
    /// It stood in a row instead of the log.
    was_kept: bool,
}

/// A redrive in progress.
pub(super) struct Task {
    to: Option<QueueId>,
    left: u64,
    under_way: u32,
    spacing_ns: u64,
    next_ns: u64,
}

impl State {
    /// A message was received as often as it may be.
    pub(super) fn bury(&mut self, id: QueueId, number: u64, receive_count: u32) {
        let handle = Handle { number, receipt: 0 };
        let delivery = Delivery { handle, receive_count, first_received_ms: 0, alone: false };
        self.fetch(id, vec![delivery], Purpose::Move(Moving::Buried));
    }

    /// The contents of messages that move are at hand.
    pub(super) fn carry(&mut self, from: QueueId, moving: &Moving, items: Vec<Item>) {
        if items.is_empty() {
            self.move_ended(from, moving);
        }
        for item in items {
            let was_kept = self.queues.entries[from].kept.contains(&item.delivery.handle.number);
            let moved = Moved { from, item, moving: *moving, was_kept };
            let Some(to) = self.target(&moved) else {
                self.put_back(moved);
                continue;
            };
            let (item, now_ms) = (moved.item.clone(), self.now.wall_ms);
            let message = item.message();
            let name = self.queues.entries[from].row.name.clone();
            let is_fifo = self.queues.entries[to].row.is_fifo();
            let message = match moving {
                // A standard queue's retention runs on, a FIFO queue's begins anew.
                Moving::Buried => message.moved(&name, if is_fifo { now_ms } else { message.sent_ms }),
                Moving::Redriven { .. } => message.moved("", now_ms),
            };
            self.send_moved(to, &message, moved);
        }
    }

    /// Where a message goes, if there is such a queue and it has room.
    fn target(&self, moved: &Moved) -> Option<QueueId> {
        let from = &self.queues.entries[moved.from].row;
        let to = match moved.moving {
            Moving::Buried => *self.queues.names.get(from.dead_letter_queue.as_ref()?)?,
            Moving::Redriven { to: Some(to) } => to,
            Moving::Redriven { to: None } => *self.queues.names.get(moved.item.message().source)?,
        };
        let target = &self.queues.entries[to];
        let has_room = target.machine.room() > target.next - target.durable + target.sends_count;
        (has_room && target.row.is_fifo() == from.is_fifo()).then_some(to)
    }

    /// A moving message is part of a commit: what it was here is removed in the same one.
    pub(super) fn leave(&mut self, moved: &Moved, pending: &mut Pending) {
        let queue = &mut self.queues.entries[moved.from];
        let (log, number) = (queue.log(), moved.item.delivery.handle.number);
        queue.moving += 1;
        queue.gone.mark(number);
        if queue.stated.remove(&number) {
            pending.remove(Table::MessageState, message_key(log, number));
        }
        if queue.kept.remove(&number) {
            pending.remove(Table::MessageKept, message_key(log, number));
        }
        if !std::mem::replace(&mut queue.is_settled, true) {
            pending.settled.push(moved.from);
        }
    }

    /// A message stands in the other queue.
    pub(super) fn moved(&mut self, moved: &Moved) {
        let now = self.now;
        let queue = &mut self.queues.entries[moved.from];
        queue.moving -= 1;
        if queue.moving == 0 {
            // Now the log may be trimmed past it.
            self.settle_queue(moved.from);
        }
        let queue = &mut self.queues.entries[moved.from];
        match moved.moving {
            Moving::Buried => queue.meters.dead_letters.increment(),
            Moving::Redriven { .. } => {
                queue.machine.completed(&[moved.item.delivery.handle], &Outcome::Success, &NO_DELAY, &now);
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
            queue.gone.unmark(number);
            queue.stated.insert(number);
            self.pending.cancel(Table::MessageState, message_key(log, number));
            if moved.was_kept {
                let body = moved.item.chunk.body().to_vec();
                self.pending.set(Table::MessageKept, message_key(log, number), body);
                self.queues.entries[moved.from].kept.insert(number);
            }
            self.settle_queue(moved.from);
        }
        self.put_back(moved);
    }

    /// A message stays in its queue, and may be moved again a little later.
    fn put_back(&mut self, moved: Moved) {
        let now = self.now;
        let Moved { from, item, moving, .. } = moved;
        let Handle { number, .. } = item.delivery.handle;
        let queue = &mut self.queues.entries[from];
        match moving {
            Moving::Buried if number >= queue.gone.low() || queue.kept.contains(&number) => {
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
                queue.machine.completed(&[item.delivery.handle], &Outcome::Interrupted, &NO_DELAY, &now);
                if let Some(task) = self.queues.tasks.get_mut(&from) {
                    task.next_ns = task.next_ns.max(now.mono_ns + AGAIN_MS * NS_PER_MS);
                }
                self.move_ended(from, &moving);
            }
        }
        self.serve_queue(from);
    }

    fn move_ended(&mut self, from: QueueId, moving: &Moving) {
        if matches!(moving, Moving::Redriven { .. }) {
            if let Some(task) = self.queues.tasks.get_mut(&from) {
                task.under_way = task.under_way.saturating_sub(1);
                self.timers.push(self.now.mono_ns.max(task.next_ns), Timer::Moves);
            }
        }
    }

    /// Move what is visible in a queue to another one, or back to where it came from, at most `rate` messages a second. Gives
    /// how many.
    pub(super) fn begin_redrive(
        &mut self,
        from: QueueId,
        to: Option<&str>,
        rate: Option<f64>,
    ) -> Result<u64, EngineError> {
        let row = &self.queues.entries[from].row;
        let to = to.map(|name| self.queue_id(name)).transpose()?;
        if to == Some(from) {
            return Err(EngineError::Invalid(format!("to: queue {:?} cannot be redriven to itself", row.name)));
        }
        if to.is_some_and(|to| self.queues.entries[to].row.is_fifo() != row.is_fifo()) {
            return Err(EngineError::Invalid(
                "to: a FIFO queue goes to a FIFO queue, a standard one to a standard one".into(),
            ));
        }
        let is_dead_letters =
            self.queues.entries.iter().any(|queue| queue.row.dead_letter_queue.as_ref() == Some(&row.name));
        if to.is_none() && !is_dead_letters {
            return Err(EngineError::Invalid(format!(
                "queue {:?} is no queue's dead-letter queue: say where its messages should go (to)",
                row.name
            )));
        }
        if self.queues.tasks.contains_key(&from) {
            return Err(EngineError::Conflict(format!("queue {:?} is being redriven already", row.name)));
        }
        let spacing_ns = match rate {
            Some(rate) if !(rate > 0.0 && rate.is_finite()) => {
                return Err(EngineError::Invalid(format!("rate is {rate}: allowed is a number above 0")))
            }
            Some(rate) => (1e9 / rate) as u64,
            None => 0,
        };
        let left = self.queues.entries[from].machine.depth().visible;
        if left > 0 {
            let task = Task { to, left, under_way: 0, spacing_ns, next_ns: self.now.mono_ns };
            self.queues.tasks.insert(from, task);
            self.timers.push(self.now.mono_ns, Timer::Moves);
        }
        Ok(left)
    }

    /// How many messages a redrive has still to move.
    pub(super) fn redrive_left(&self, id: QueueId) -> u64 {
        self.queues.tasks.get(&id).map_or(0, |task| task.left + u64::from(task.under_way))
    }

    /// Go on with redrives.
    pub(crate) fn send_moves(&mut self) {
        let ids: Vec<QueueId> = self.queues.tasks.keys().copied().collect();
        for id in ids {
            while self.move_some(id) {}
        }
        self.feed_queues();
    }

    /// Take some messages up; whether there may be more to do at once.
    fn move_some(&mut self, id: QueueId) -> bool {
        let now = self.now;
        let Some(task) = self.queues.tasks.get_mut(&id) else { return false };
        if task.left == 0 {
            if task.under_way == 0 {
                self.queues.tasks.remove(&id);
            }
            return false;
        }
        if task.next_ns > now.mono_ns {
            self.timers.push(task.next_ns, Timer::Moves);
            return false;
        }
        let room = u64::from(UNDER_WAY_MAX.saturating_sub(task.under_way));
        let maximum = if task.spacing_ns > 0 { room.min(1) } else { room.min(task.left) };
        if maximum == 0 {
            return false;
        }
        let receive = Receive { maximum: maximum as u32, hold: Hold::WhileRunning, attempt: None };
        let queue = &mut self.queues.entries[id];
        let deliveries = queue.machine.receive(&receive, &now).unwrap_or_default();
        if deliveries.is_empty() {
            if task.under_way == 0 {
                // Somebody else has taken the rest.
                self.queues.tasks.remove(&id);
            }
            self.carry_out_queue(id);
            return false;
        }
        task.left = task.left.saturating_sub(deliveries.len() as u64);
        task.under_way += deliveries.len() as u32;
        task.next_ns = task.next_ns.max(now.mono_ns) + task.spacing_ns;
        let moving = Moving::Redriven { to: task.to };
        self.carry_out_queue(id);
        for delivery in deliveries {
            // One by one: what is not at hand holds up no other.
            self.fetch(id, vec![delivery], Purpose::Move(moving));
        }
        true
    }
}
