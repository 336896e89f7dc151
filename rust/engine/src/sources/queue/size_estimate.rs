//! What a queue's messages weigh, about, so that it is known before any of them is read how many fill a batch.

use crate::payload::message::Message;
use crate::payload::messages::Item;
use crate::sources::common::BATCH_BYTES_MAX;
use crate::sources::queue::Queue;

/// What a message's event weighs beside body and attributes, about.
const EVENT_BYTES: u64 = 640;

/// Bytes of a message's event, about.
pub(crate) fn event_bytes(message: &Message<'_>) -> u64 {
    message.size() as u64 + EVENT_BYTES
}

/// The mean of some messages' events, bytes.
pub(crate) fn mean_size(items: &[Item]) -> f64 {
    let bytes: u64 = items.iter().map(|item| event_bytes(&item.message())).sum();
    mean(bytes, items.len() as u64)
}

pub(crate) fn mean(bytes: u64, messages: u64) -> f64 {
    bytes as f64 / messages.max(1) as f64
}

/// Means of bytes of messages' events. No message has a number of its own for it: what leaves unread (expired, deleted by whoever
/// received it) is held for as heavy as the others.
pub(crate) struct SizeEstimate {
    /// Of those that wait.
    waiting: f64,
    /// Of those that were received for a batch last, whether a filter let them through or not: those behind them are most likely alike.
    received: f64,
}

impl SizeEstimate {
    pub(crate) const NEW: Self = Self { waiting: EVENT_BYTES as f64, received: EVENT_BYTES as f64 };

    fn came(&mut self, before: u64, count: u64, mean: f64) {
        if count > 0 {
            self.waiting = (self.waiting * before as f64 + mean * count as f64) / (before + count) as f64;
        }
    }

    fn went(&mut self, left: u64, count: u64, mean: f64) {
        if count > 0 {
            let others = self.waiting * (left + count) as f64 - mean * count as f64;
            let others = if left > 0 { others / left as f64 } else { mean };
            (self.received, self.waiting) = (mean, others.max(EVENT_BYTES as f64));
        }
    }
}

impl Queue {
    /// Messages that wait, be it for a delay to end.
    pub(crate) fn waiting(&self) -> u64 {
        let depth = self.machine.depth();
        depth.visible + depth.delayed
    }

    /// Messages of this mean came, or came back, to those that waited before.
    pub(crate) fn estimate_in(&mut self, before: u64, mean: f64) {
        let count = self.waiting().saturating_sub(before);
        self.weight.came(before, count, mean);
    }

    /// So many messages of this mean, as it turns out, wait no more.
    pub(crate) fn estimate_out(&mut self, count: u64, mean: f64) {
        let left = self.waiting();
        self.weight.went(left, count, mean);
    }

    /// How many messages fill a batch of so many at most.
    pub(crate) fn filling(&self, messages: u32) -> u32 {
        fitting(BATCH_BYTES_MAX, self.weight.waiting).min(messages).max(1)
    }

    /// How many to ask for, to put a batch of so many at most together.
    pub(crate) fn asking(&self, messages: u32) -> u32 {
        self.fitting(messages, 0, self.weight.waiting.max(self.weight.received)).max(1)
    }

    /// How many of so many messages most likely have room in a batch that has so many bytes: what is received beyond them is read in vain
    /// and given back. In a FIFO queue all are asked for: when those before them were large, fewer would leave messages of a group
    /// behind that nobody else may have meanwhile.
    pub(crate) fn fitting(&self, messages: u32, bytes: u64, weight: f64) -> u32 {
        if self.row.is_fifo() {
            return messages;
        }
        fitting(BATCH_BYTES_MAX.saturating_sub(bytes), weight).min(messages)
    }
}

/// How many messages of a weight have room in so many bytes.
fn fitting(bytes: u64, weight: f64) -> u32 {
    (bytes as f64 / weight) as u32
}
