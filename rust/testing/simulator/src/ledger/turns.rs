//! Turns: what waits for nothing but its turn begins before many others do.
//!
//! Now and then the oldest work of each source is looked at that was never tried and could run: a record whose key and shard are free, the
//! first message of its group, an event. The engine gives places in turns, and lanes, groups and events of a source theirs in order; so
//! whatever it is, it must not stand there for long while others begin.
//!
//! A standard queue gives its messages in the order in which they became visible: one with a delay of its own stands behind all that
//! was visible before, which may be a long backlog. So its time begins anew whenever something begins that was there already when it
//! was first seen to be visible. What came later may not hold it up, nor may the work of others.

use std::collections::{BTreeSet, VecDeque};

use super::log::Shard;
use super::progress::{Progress, State};
use super::queues::Log;
use super::{Ledger, Promise};

/// It may wait so long whatever others do: longer than a handler that hangs, a window, and any delay of what was never tried.
const WAITS_NS: u64 = 20_000_000_000;
/// And for so many batches of others: turns of all functions, lanes and groups there are, many times over.
const OTHERS: u64 = 200;

/// The oldest work of a source, since it was first seen to be that.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    /// Position, number or request.
    item: u128,
    /// What is below this may go before it.
    before: u128,
    /// Something did, since it was looked at last.
    gave_way: bool,
    since_ns: u64,
    /// Batches that had begun then.
    begun: u64,
}

/// It is looked at; what has begun meanwhile is no matter any more.
pub(super) fn begins(turn: &mut Option<Turn>, item: u128) {
    let Some(known) = turn else { return };
    known.gave_way |= item < known.before;
    if known.item == item {
        *turn = None;
    }
}

/// Now this is the oldest work of the source, and what may go before it. Gives the turn that is late.
fn look_at(turn: &mut Option<Turn>, oldest: Option<(u128, u128)>, (now_ns, begun): (u64, u64)) -> Option<Turn> {
    *turn = oldest.map(|(item, before)| match turn.filter(|turn| turn.item == item) {
        Some(known) if !known.gave_way => known,
        known => {
            let before = known.map_or(before, |known| known.before);
            Turn { item, before, gave_way: false, since_ns: now_ns, begun }
        }
    });
    turn.filter(|turn| now_ns - turn.since_ns > WAITS_NS && begun - turn.begun > OTHERS)
}

impl Ledger {
    /// Look at whose turn it is. `is_open`: nothing but turns keeps the work of this function.
    pub fn look_at_turns(&mut self, is_open: impl Fn(&str) -> bool, workers: &[(&str, &str)]) {
        let (now_ns, begun) = (self.now.time_ns, self.counts.batches);
        let mut late = None;
        let mut look = |turn: &mut Option<Turn>, item: Option<u128>, before: u128, whose: &str| {
            if let Some(turn) = look_at(turn, item.map(|item| (item, before)), (now_ns, begun)) {
                late = Some((whose.to_owned(), turn));
            }
        };
        for mapping in self.mappings.values_mut().filter(|mapping| !mapping.deleted && mapping.is_durable) {
            // Shards that nothing is left of, nor of any that they came from. A shard has a higher number than its parents.
            let mut over = BTreeSet::new();
            for (id, progress) in &mut mapping.progress {
                let Some(shard) = self.shards.get(id) else { continue };
                let is_free = shard.parents.iter().all(|parent| over.contains(parent));
                progress.follow(shard);
                if is_free && progress.first_left().is_none() {
                    over.insert(*id);
                }
                let item = progress.waits_for_turn(shard).filter(|_| is_free && is_open(&mapping.function));
                look(&mut progress.turn, item.map(u128::from), 0, &mapping.function);
            }
        }
        let queues = &mut self.queues;
        for (queue, function) in workers {
            let Some(log) = queues.names.get(*queue).and_then(|id| queues.logs.get_mut(id)) else { continue };
            let is_due = |name: u32| queues.messages[name as usize].is_due(now_ns, queues.clock_sets);
            let item = log.waits_for_turn(is_due).filter(|_| is_open(function));
            let before = if log.is_fifo { 0 } else { log.entries.len() as u128 };
            look(&mut log.turn, item.map(u128::from), before, function);
        }
        let events = &mut self.events;
        for (id, (line, turn)) in &mut events.lines {
            let Some(function) = events.functions.get(id) else { continue };
            let known = &events.known;
            let is_untried = |request: &u128| known.get(request).is_some_and(super::events::Event::is_untried);
            while line.front().is_some_and(|request| !is_untried(request)) {
                line.pop_front();
            }
            look(turn, line.front().copied().filter(|_| is_open(function)), 0, function);
        }
        if let Some((whose, turn)) = late {
            let (waits_ns, others) = (now_ns - turn.since_ns, begun - turn.begun);
            let story =
                format!("{:x} of {whose} waits for its turn for {waits_ns} ns while {others} others begin", turn.item);
            self.broken(Promise::Turns, story);
        }
    }

    /// Something keeps work from running, or has changed who waits for what.
    pub fn forget_turns(&mut self) {
        let progress = self.mappings.values_mut().flat_map(|mapping| mapping.progress.values_mut());
        progress.for_each(|progress| progress.turn = None);
        self.queues.logs.values_mut().for_each(|log| log.turn = None);
        self.events.lines.values_mut().for_each(|(_, turn)| *turn = None);
    }
}

/// Events of a function in the order in which they came, and whose turn it is.
pub(super) type Line = (VecDeque<u128>, Option<Turn>);

impl Progress {
    /// The first record that is not over, if it was never tried, its key is free, no window waits to be tried again at its end, and
    /// nothing from here on waits after a failure or a crash.
    pub(super) fn waits_for_turn(&mut self, shard: &Shard) -> Option<u64> {
        let (place, _) = self.first_left().filter(|(_, state)| *state == State::Waiting)?;
        let (entry, position) = (shard.records[place], shard.start + place as u64);
        let key = self.keys[usize::from(entry.key)];
        let is_next = key.next == entry.nth && key.batch == 0 && place >= self.tried_to;
        let is_calm = self.failed.values().all(|&(last, _)| last < position)
            && self.alone.range(position..).next().is_none()
            && !self.final_failed;
        (is_next && is_calm).then_some(position)
    }
}

impl Log {
    /// The first message that was never received and could be, unless one before it keeps it.
    fn waits_for_turn(&self, is_due: impl Fn(u32) -> bool) -> Option<u64> {
        let first = self.low.max(self.purged_below);
        let mut entries = self.entries.iter().enumerate().skip(first as usize);
        let left = entries.find(|(_, entry)| !entry.is_over() && !entry.stopped);
        let (number, entry) = left.filter(|(_, entry)| entry.is_untried() && is_due(entry.message))?;
        let is_first = || self.groups.get(usize::from(entry.group)).and_then(VecDeque::front) == Some(&(number as u64));
        let is_busy = || self.busy.get(usize::from(entry.group)).is_some_and(|(_, count)| *count > 0);
        (!self.is_fifo || (is_first() && !is_busy())).then_some(number as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Message 18 of a queue becomes visible when 1000 messages are there; then one of these begins each second, and 20 of others'
    /// batches. After how many seconds is it late?
    fn late_after_s(begin: impl Fn(u64) -> u128, before: u128) -> Option<u64> {
        let mut turn = None;
        (0..100).find(|&second| {
            let late = look_at(&mut turn, Some((18, before)), (second * 1_000_000_000, second * 20));
            begins(&mut turn, begin(second));
            late.is_some()
        })
    }

    /// The ledger: a window whose last invoke had failed kept its shard from being late for good, where later batches had no windows.
    #[test]
    fn a_shard_waits_for_its_turn_until_a_failure_a_crash_or_the_end_of_a_window_lies_behind_it() {
        let mut shard = Shard::default();
        (0..3).for_each(|put| shard.push(put, put as u16, 0, 0));
        let mut progress = Progress::starting_at(0);
        progress.follow(&shard);
        progress.states[0] = State::Done;
        assert_eq!(progress.waits_for_turn(&shard), Some(1));

        progress.final_failed = true;
        assert_eq!(progress.waits_for_turn(&shard), None);
        progress.check_window(None, false).unwrap();
        assert_eq!(progress.waits_for_turn(&shard), Some(1));

        progress.alone.insert(0, 1);
        progress.failed.insert(0, (0, 1));
        assert_eq!(progress.waits_for_turn(&shard), Some(1), "both are over");
        progress.alone.insert(2, 1);
        assert_eq!(progress.waits_for_turn(&shard), None);
        progress.alone.remove(&2);
        progress.failed.insert(0, (2, 1));
        assert_eq!(progress.waits_for_turn(&shard), None);
    }

    #[test]
    fn a_delayed_message_stands_behind_all_that_was_visible_before_it_and_no_longer() {
        assert_eq!(late_after_s(|second| 800 + u128::from(second), 1_000), None);
        assert_eq!(late_after_s(|second| 990 + u128::from(second), 1_000), Some(31));
    }

    #[test]
    fn a_message_that_later_ones_or_the_batches_of_others_hold_up_is_late() {
        assert_eq!(late_after_s(|second| 1_000 + u128::from(second), 1_000), Some(21));
        assert_eq!(late_after_s(|_| u128::MAX, 1_000), Some(21), "nothing of this queue begins");
        assert_eq!(
            late_after_s(|second| 800 + u128::from(second), 0),
            Some(21),
            "what keeps its order gives way to none"
        );
    }
}
