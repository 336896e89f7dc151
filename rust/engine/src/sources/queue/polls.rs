//! Receives that wait for messages of a queue: in the order in which they came, and by when their wait is over.

use std::collections::{BTreeMap, BTreeSet};

use crate::api::queue::Receive;
use crate::base::error::Waiter;

/// A receive that waits for messages.
pub(crate) struct Poll {
    pub(crate) request: Receive,
    pub(crate) until_ns: u64,
    pub(crate) waiter: Waiter,
}

/// The receives that wait. Thousands that wait for nothing cost nothing: whoever can be answered is found without a walk.
#[derive(Default)]
pub(crate) struct Polls {
    next: u64,
    waiting: BTreeMap<u64, Poll>,
    deadlines: BTreeSet<(u64, u64)>,
    /// Those that ask for a lost answer again, which needs no message that could be received.
    again: BTreeSet<u64>,
}

impl Polls {
    pub(crate) fn push(&mut self, poll: Poll) {
        self.insert(self.next, poll);
        self.next += 1;
    }

    /// Put one back that was taken.
    pub(crate) fn insert(&mut self, number: u64, poll: Poll) {
        self.deadlines.insert((poll.until_ns, number));
        if poll.request.attempt_id.is_some() {
            self.again.insert(number);
        }
        self.waiting.insert(number, poll);
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Forget those whose client has left.
    pub(crate) fn sweep(&mut self) {
        let left: Vec<u64> =
            self.waiting.iter().filter(|(_, poll)| poll.waiter.has_left()).map(|(&number, _)| number).collect();
        for number in left {
            self.take(number);
        }
    }

    /// Those that ask for a lost answer again.
    pub(crate) fn again(&self) -> Vec<u64> {
        self.again.iter().copied().collect()
    }

    pub(crate) fn take(&mut self, number: u64) -> Option<Poll> {
        let poll = self.waiting.remove(&number)?;
        self.deadlines.remove(&(poll.until_ns, number));
        self.again.remove(&number);
        Some(poll)
    }

    /// The one that has waited longest, with its number.
    pub(crate) fn take_first(&mut self) -> Option<(u64, Poll)> {
        let number = *self.waiting.first_key_value()?.0;
        Some((number, self.take(number)?))
    }

    /// One whose wait is over.
    pub(crate) fn take_over(&mut self, now_ns: u64) -> Option<Poll> {
        let &(_, number) = self.deadlines.first().filter(|(until_ns, _)| *until_ns <= now_ns)?;
        self.take(number)
    }

    /// When the next wait is over.
    pub(crate) fn due(&self) -> Option<u64> {
        self.deadlines.first().map(|(until_ns, _)| *until_ns)
    }

    pub(crate) fn into_waiters(self) -> impl Iterator<Item = Waiter> {
        self.waiting.into_values().map(|poll| poll.waiter)
    }
}
