//! The waiting messages of a standard queue: whole ranges that nobody has touched, and those that came back.
//!
//! The two take turns, so that neither starves the other: of two messages taken one is untouched if there is any, and one
//! came back if there is any. An untouched message costs nothing: only the ranges are kept.

use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;

#[derive(Debug, Default)]
pub(super) struct StandardWaiting {
    /// Never taken and never delayed, ascending.
    fresh: VecDeque<Range<u64>>,
    fresh_count: u64,
    /// (visible since, number)
    again: BTreeSet<(u64, u64)>,
    /// (visible from, number)
    later: BTreeSet<(u64, u64)>,
    takes_fresh: bool,
}

impl StandardWaiting {
    /// A message that was never taken. Gives `false` when it cannot stand among the untouched ones, being older than they.
    pub(super) fn push(&mut self, number: u64) -> bool {
        match self.fresh.back_mut() {
            Some(last) if number < last.end => return false,
            Some(last) if number == last.end => last.end += 1,
            _ => self.fresh.push_back(number..number + 1),
        }
        self.fresh_count += 1;
        true
    }

    /// A message that waits from `at_ms` on, and is visible then.
    pub(super) fn wait(&mut self, number: u64, at_ms: u64, now_ms: u64) {
        let side = if at_ms > now_ms { &mut self.later } else { &mut self.again };
        side.insert((at_ms, number));
    }

    /// Take back what `wait` did.
    pub(super) fn remove(&mut self, number: u64, at_ms: u64) {
        let waited = self.again.remove(&(at_ms, number)) || self.later.remove(&(at_ms, number));
        debug_assert!(waited, "message {number} does not wait from {at_ms}");
    }

    pub(super) fn take(&mut self) -> Option<u64> {
        let from_fresh = (self.takes_fresh || self.again.is_empty()) && !self.fresh.is_empty();
        self.takes_fresh = !from_fresh;
        if !from_fresh {
            return self.again.pop_first().map(|(_, number)| number);
        }
        let range = self.fresh.front_mut()?;
        let number = range.start;
        range.start += 1;
        if range.is_empty() {
            self.fresh.pop_front();
        }
        self.fresh_count -= 1;
        Some(number)
    }

    /// Take one that was never taken, out of turn; whether it stood there.
    pub(super) fn take_fresh(&mut self, number: u64) -> bool {
        let at = self.fresh.partition_point(|range| range.end <= number);
        let Some(range) = self.fresh.get(at).filter(|range| range.contains(&number)).cloned() else { return false };
        self.fresh.remove(at);
        for part in [number + 1..range.end, range.start..number] {
            if !part.is_empty() {
                self.fresh.insert(at, part);
            }
        }
        self.fresh_count -= 1;
        true
    }

    pub(super) fn due(&mut self, now_ms: u64) {
        while let Some(entry) = self.later.first().copied().filter(|(at_ms, _)| *at_ms <= now_ms) {
            self.later.remove(&entry);
            self.again.insert(entry);
        }
    }

    pub(super) fn next_due(&self) -> Option<u64> {
        self.later.first().map(|(at_ms, _)| *at_ms)
    }

    /// Drop the untouched messages below `below`.
    pub(super) fn expire_fresh(&mut self, below: u64) -> Vec<Range<u64>> {
        let mut gone = Vec::new();
        while let Some(range) = self.fresh.front_mut().filter(|range| range.start < below) {
            let part = range.start..range.end.min(below);
            range.start = part.end;
            if range.is_empty() {
                self.fresh.pop_front();
            }
            self.fresh_count -= part.end - part.start;
            gone.push(part);
        }
        gone
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(super) fn visible(&self) -> u64 {
        self.fresh_count + self.again.len() as u64
    }

    pub(super) fn delayed(&self) -> u64 {
        self.later.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn untouched_messages_stand_together_in_ranges() {
        let mut line = StandardWaiting::default();
        let pushed = [5, 6, 7, 9, 8, 3, 10].map(|number| line.push(number));
        assert_eq!(pushed, [true, true, true, true, false, false, true], "8 and 3 are older than others");
        assert_eq!(line.visible(), 5);
        assert_eq!(line.expire_fresh(10), [5..8, 9..10]);
        assert_eq!((line.visible(), line.take(), line.take()), (1, Some(10), None));
    }

    #[test]
    fn one_that_is_taken_out_of_turn_leaves_the_others_where_they_were() {
        let mut line = StandardWaiting::default();
        (10..16).for_each(|number| assert!(line.push(number)));
        // (number, whether it stood there, how many are left)
        for (number, stood, left) in
            [(12, true, 5), (12, false, 5), (9, false, 5), (16, false, 5), (10, true, 4), (15, true, 3)]
        {
            assert_eq!((line.take_fresh(number), line.visible()), (stood, left), "{number}");
        }
        let rest: Vec<u64> = std::iter::from_fn(|| line.take()).collect();
        assert_eq!((rest, line.visible()), (vec![11, 13, 14], 0));
    }

    #[test]
    fn what_waits_is_visible_from_its_moment_on() {
        let mut line = StandardWaiting::default();
        for (number, at_ms) in [(1, 500), (2, 300), (3, 100)] {
            line.wait(number, at_ms, 100);
        }
        // (at, visible, delayed, when that changes)
        for (at_ms, visible, delayed, next) in
            [(100, 1, 2, Some(300)), (299, 1, 2, Some(300)), (300, 2, 1, Some(500)), (500, 3, 0, None)]
        {
            line.due(at_ms);
            assert_eq!((line.visible(), line.delayed(), line.next_due()), (visible, delayed, next), "{at_ms}");
        }
        assert_eq!([line.take(), line.take(), line.take(), line.take()], [Some(3), Some(2), Some(1), None]);
    }
}
