//! When messages were sent, by their numbers: runs of about a second, since numbers and times grow together.
//!
//! So a message costs nothing here, a queue at most 24 bytes for each second of its retention, and what is too old is found
//! as one number below which everything is. A message may live up to a second longer than its retention, never shorter.

use std::collections::VecDeque;

/// Messages sent within so much time share a run.
const RUN_MS: u64 = 1000;

#[derive(Clone, Copy, Debug)]
struct Run {
    /// First number; the run ends where the next one begins.
    first: u64,
    first_ms: u64,
    last_ms: u64,
    /// Messages of the run that are still there.
    left: u64,
}

#[derive(Debug, Default)]
pub(super) struct Ages {
    /// The first one has messages left.
    runs: VecDeque<Run>,
}

impl Ages {
    /// A message is there. Usually the one with the greatest number yet.
    pub(super) fn add(&mut self, number: u64, sent_ms: u64) {
        match self.runs.back_mut() {
            Some(last) if number >= last.first => {
                // A clock that went back makes nobody older than those before.
                let sent_ms = sent_ms.max(last.last_ms);
                if sent_ms < last.first_ms + RUN_MS {
                    last.last_ms = sent_ms;
                    last.left += 1;
                    return;
                }
                self.runs.push_back(Run { first: number, first_ms: sent_ms, last_ms: sent_ms, left: 1 });
            }
            Some(_) => match self.find(number) {
                Some(index) => self.runs[index].left += 1,
                None => {
                    let sent_ms = sent_ms.min(self.runs[0].first_ms);
                    self.runs.push_front(Run { first: number, first_ms: sent_ms, last_ms: sent_ms, left: 1 });
                }
            },
            None => self.runs.push_back(Run { first: number, first_ms: sent_ms, last_ms: sent_ms, left: 1 }),
        }
    }

    /// A message is gone.
    pub(super) fn remove(&mut self, number: u64) {
        let Some(index) = self.find(number) else {
            debug_assert!(false, "message {number} was never there");
            return;
        };
        let run = &mut self.runs[index];
        debug_assert!(run.left > 0, "message {number} is already gone");
        run.left = run.left.saturating_sub(1);
        while self.runs.front().is_some_and(|run| run.left == 0) {
            self.runs.pop_front();
        }
    }

    /// Everything is gone.
    pub(super) fn clear(&mut self) {
        self.runs.clear();
    }

    /// Every message with a number below this one was sent at `at_ms` or before, those that are away and may come back included.
    pub(super) fn sent_until(&self, at_ms: u64) -> u64 {
        let old = self.runs.partition_point(|run| run.last_ms <= at_ms);
        match self.runs.get(old) {
            // What was sent before the first run is not known any more.
            _ if old == 0 => 0,
            Some(run) => run.first,
            None => u64::MAX,
        }
    }

    /// When everything in the first run that reaches over `below` was sent: once that is too old, `sent_until` gives more.
    pub(super) fn next_end_ms(&self, below: u64) -> Option<u64> {
        let index = self.runs.partition_point(|run| run.first < below);
        self.runs.get(index).map(|run| run.last_ms)
    }

    /// When the message with the greatest number was sent, 0 without one.
    pub(super) fn newest_ms(&self) -> u64 {
        self.runs.back().map_or(0, |run| run.last_ms)
    }

    /// Everything below this number is gone.
    pub(super) fn oldest_number(&self) -> Option<u64> {
        self.runs.front().map(|run| run.first)
    }

    /// When the oldest message was sent, at most a second early.
    pub(super) fn oldest_ms(&self) -> Option<u64> {
        self.runs.front().map(|run| run.first_ms)
    }

    /// Whether there is something below this number.
    pub(super) fn any_below(&self, number: u64) -> bool {
        self.runs.front().is_some_and(|run| run.first < number)
    }

    fn find(&self, number: u64) -> Option<usize> {
        self.runs.partition_point(|run| run.first <= number).checked_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message that was away came back below all others, and was taken for one that is too old.
    #[test]
    fn what_was_sent_before_the_first_run_is_not_too_old() {
        let mut ages = Ages::default();
        ages.add(1, 1_000);
        ages.add(2, 9_000);
        ages.remove(1);
        assert_eq!(ages.sent_until(500), 0);
        ages.add(1, 1_000);
        assert_eq!(ages.sent_until(500), 0);
        assert_eq!(ages.sent_until(5_000), 2);
    }

    /// A message lives less than a second longer than its retention.
    #[test]
    fn a_run_is_of_less_than_a_second() {
        let mut ages = Ages::default();
        for (number, sent_ms) in [(1, 1_000), (2, 1_999), (3, 2_000), (4, 1_500), (5, 3_000)] {
            ages.add(number, sent_ms);
        }
        // (all that was sent so early, is below)
        for (at_ms, below) in [(999, 0), (1_998, 0), (1_999, 3), (2_000, 5), (2_999, 5), (3_000, u64::MAX)] {
            assert_eq!(ages.sent_until(at_ms), below, "{at_ms}");
        }
        // (below, when everything in the first run from there on was sent)
        for (below, end_ms) in [(0, Some(1_999)), (1, Some(1_999)), (3, Some(2_000)), (5, Some(3_000)), (6, None)] {
            assert_eq!(ages.next_end_ms(below), end_ms, "{below}");
        }
    }

    #[test]
    fn a_message_that_comes_back_among_earlier_ones_keeps_their_run() {
        let mut ages = Ages::default();
        for (number, sent_ms) in [(1, 1_000), (5, 9_000), (2, 1_000)] {
            ages.add(number, sent_ms);
        }
        ages.remove(1);
        assert_eq!((ages.oldest_number(), ages.oldest_ms()), (Some(1), Some(1_000)), "2 is there");
        ages.remove(2);
        assert_eq!((ages.oldest_number(), ages.oldest_ms()), (Some(5), Some(9_000)));
    }

    /// Messages that are gone do not count.
    #[test]
    fn what_is_gone_is_not_below_a_number() {
        let mut ages = Ages::default();
        assert!(!ages.any_below(9));
        ages.add(1, 1_000);
        ages.add(2, 9_000);
        assert_eq!([1, 2, 3].map(|number| ages.any_below(number)), [false, true, true]);
        ages.remove(1);
        assert_eq!([1, 2, 3].map(|number| ages.any_below(number)), [false, false, true]);
        ages.remove(2);
        assert!(!ages.any_below(9));
    }
}
