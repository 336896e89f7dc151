//! Receives that can be asked for again: `ReceiveRequestAttemptId` of a FIFO queue.
//!
//! Whoever lost the answer to a receive asks with the same id within five minutes and gets the same messages, as long as
//! nobody has touched them. They are kept in memory only: after a restart the messages come when they are visible again.

use std::collections::{HashMap, VecDeque};

use super::protocol::Handle;

/// How long a receive can be asked for again.
pub(super) const VALID_MS: u64 = 300_000;

#[derive(Debug, Default)]
pub(super) struct Attempts {
    /// Looked up and never walked through.
    by_id: HashMap<String, (u64, Vec<Handle>)>,
    /// (valid until, id), oldest first. An id that was used again stands here twice; the later time counts.
    order: VecDeque<(u64, String)>,
}

impl Attempts {
    /// Remember a receive. Over `most` the oldest ones are forgotten.
    pub(super) fn remember(&mut self, id: &str, handles: Vec<Handle>, until_ms: u64, most: usize) {
        self.by_id.insert(id.to_owned(), (until_ms, handles));
        self.order.push_back((until_ms, id.to_owned()));
        while self.order.len() > most {
            self.forget_oldest();
        }
    }

    pub(super) fn find(&self, id: &str) -> Option<&[Handle]> {
        self.by_id.get(id).map(|(_, handles)| handles.as_slice())
    }

    pub(super) fn due(&mut self, now_ms: u64) {
        while self.order.front().is_some_and(|(until_ms, _)| *until_ms <= now_ms) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let Some((until_ms, id)) = self.order.pop_front() else { return };
        if self.by_id.get(&id).is_some_and(|(latest_ms, _)| *latest_ms == until_ms) {
            self.by_id.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_are_remembered_and_the_oldest_is_forgotten_first() {
        let mut attempts = Attempts::default();
        let handles = |number| vec![Handle { number, receipt: 7 }];
        // (id, which are remembered then)
        for (at, id, known) in [(0, "a", "a"), (1, "b", "ab"), (2, "c", "bc"), (3, "b", "bc"), (4, "d", "bd")] {
            attempts.remember(id, handles(at), at + VALID_MS, 2);
            let found: String = ["a", "b", "c", "d"].into_iter().filter(|id| attempts.find(id).is_some()).collect();
            assert_eq!(found, known, "after {at}");
        }
        assert_eq!(attempts.find("b"), Some(handles(3).as_slice()), "of the last time");
    }
}
