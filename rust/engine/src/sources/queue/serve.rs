//! After every fact: carry out what a queue's machine commands, answer who waits, wake who reads, arm the timer.

use crate::sources::queue::participant::{QUEUE, ROOM};
use forebay_core::queue::protocol::{Command, Removal, Row};
use serde_json::json;

use crate::base::timers::Timer;
use crate::commit::pending::Pending;
use crate::observe::operator_events::OperatorEvent;
use crate::sources::queue::body_fetch::{BodyFetch, Purpose};
use crate::sources::queue::deletion_bitmap::PageRow;
use crate::sources::queue::QueueRoom;
use crate::sources::queue::Queues;
use crate::sources::queue::{message_key, QueueId};
use crate::store::port::Table;

impl QueueRoom<'_> {
    /// The engine starts: mappings receive, and every queue expires, trims its log and shows its gauges, declared again or not.
    pub(crate) fn start_queues(&mut self) {
        self.bind_queue_mappings();
        for id in self.queues.live().collect::<Vec<_>>() {
            self.serve_queue(id);
        }
    }

    /// Do everything a queue can do now. Its mappings receive when they have a place.
    pub(crate) fn serve_queue(&mut self, id: QueueId) {
        self.carry_out_queue(id);
        self.answer_polls(id);
        let now = self.ctx.now;
        let queue = &mut self.queues.entries[id];
        let depth = queue.machine.depth();
        if depth.visible > 0 {
            for mapping in self.queues.entries[id].readers.clone() {
                self.look_again(mapping);
            }
        }
        let queue = &mut self.queues.entries[id];
        queue.meters.show(depth, queue.machine.oldest_age_ms(&now));
        if let Some(due) = [queue.machine.next_due(), queue.polls.due()].into_iter().flatten().min() {
            self.ctx.timers.arm(
                &mut queue.armed,
                due.max(now.mono_ns),
                Timer { room: ROOM, kind: QUEUE, id: id as u64 },
            );
        }
    }

    /// Serve the queues of which batches have ended, once each, however many that were.
    pub(crate) fn serve_settled_queues(&mut self) {
        let mut unserved = std::mem::take(&mut self.queues.unserved);
        unserved.sort_unstable();
        unserved.dedup();
        unserved.drain(..).for_each(|id| self.serve_queue(id));
        self.queues.unserved = unserved;
    }

    /// The queue's timer rang.
    pub(crate) fn queue_due(&mut self, id: QueueId) {
        let now = self.ctx.now;
        let queue = &mut self.queues.entries[id];
        queue.armed = None;
        queue.machine.due(&now);
        self.serve_queue(id);
    }

    pub(crate) fn carry_out_queue(&mut self, id: QueueId) {
        while let Some(command) = self.queues.entries[id].machine.poll() {
            if self.queues.entries[id].is_deleted {
                continue;
            }
            match command {
                Command::Set { number, row } => self.state_message(id, number, row),
                Command::Remove { first, count, reason } => {
                    let queue = &self.queues.entries[id];
                    match reason {
                        Removal::Deleted => queue.meters.deleted.add(count),
                        Removal::Expired => {
                            queue.meters.expired.add(count);
                            let name = queue.row.name.clone();
                            self.ctx.notice(
                                OperatorEvent::Expired,
                                &name,
                                json!({"queue": name, "sums": {"messages": count}}),
                            );
                        }
                    }
                    (first..first + count).for_each(|number| self.message_gone(id, number));
                }
                Command::Redrive { number, receive_count } => self.dead_letter(id, number, receive_count),
                Command::Purge { before } => self.purged(id, before),
            }
        }
    }

    fn state_message(&mut self, id: QueueId, number: u64, row: Row) {
        let queue = &mut self.queues.entries[id];
        let key = message_key(queue.log(), number);
        if row == Row::default() {
            if queue.stated.remove(&number) {
                self.ctx.commit.pending.remove(Table::MessageState, key);
            }
        } else {
            queue.stated.insert(number);
            self.ctx.commit.pending.set(Table::MessageState, key, serde_json::to_vec(&row).unwrap_or_default());
        }
        self.ctx.commit.pending.begin_lazily(self.ctx.now.mono_ns);
    }

    /// A message is no more: its bit, and what rows it has.
    pub(crate) fn message_gone(&mut self, id: QueueId, number: u64) {
        let queue = &mut self.queues.entries[id];
        queue.gone.mark(number);
        let log = queue.log();
        if !queue.stated.is_empty() && queue.stated.remove(&number) {
            self.ctx.commit.pending.remove(Table::MessageState, message_key(log, number));
        }
        if !queue.kept.is_empty() && queue.kept.remove(&number) {
            self.ctx.commit.pending.remove(Table::MessageKept, message_key(log, number));
        }
        self.settle_queue(id);
    }

    fn purged(&mut self, id: QueueId, before: u64) {
        let queue = &mut self.queues.entries[id];
        let rows: Vec<u64> =
            queue.stated.iter().chain(&queue.kept).copied().filter(|number| *number < before).collect();
        queue.gone.mark_below(before);
        queue.purged_below = before;
        for number in rows {
            self.message_gone(id, number);
        }
        self.settle_queue(id);
    }

    /// Have the next commit write what is gone.
    pub(crate) fn settle_queue(&mut self, id: QueueId) {
        let queue = &mut self.queues.entries[id];
        if !std::mem::replace(&mut queue.is_settled, true) {
            self.queues.settled.push(id);
        }
        self.ctx.commit.pending.begin_lazily(self.ctx.now.mono_ns);
    }
}

impl Queues {
    /// Put what is gone into a commit, and trim the log behind it.
    pub(crate) fn take_settled(&mut self, id: QueueId, pending: &mut Pending) {
        let queue = &mut self.entries[id];
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
            self.chunk_cache.trim(log, low);
        }
        for row in self.entries[id].gone.rows() {
            match row {
                PageRow::Set(page, bits) => pending.set(Table::MessagesGone, message_key(log, page), bits),
                PageRow::Remove(page) => pending.remove(Table::MessagesGone, message_key(log, page)),
            }
        }
        self.take_redrive(id, pending);
    }
}

impl QueueRoom<'_> {
    /// Read what deliveries hold and act on it.
    pub(crate) fn fetch(
        &mut self,
        id: QueueId,
        deliveries: Vec<forebay_core::queue::protocol::Delivery>,
        purpose: Purpose,
    ) {
        self.fetch_bodies(id, BodyFetch::new(deliveries, purpose));
    }
}
