//! Turns: what waits for nothing but its turn begins before many others do.
//!
//! Now and then the oldest work of each source is looked at that was never tried and could run: a record whose key and shard are free, the
//! first message of its group, an event. The engine gives places in turns, and lanes, groups and events of a source theirs in order; so
//! whatever it is, it must not stand there for long while others begin.

use std::collections::VecDeque;

use forebay_engine::port::ShardId;

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
    since_ns: u64,
    /// Batches that had begun then.
    begun: u64,
}

/// It is looked at; what has begun meanwhile is no matter any more.
pub(super) fn begins(turn: &mut Option<Turn>, item: u128) {
    if turn.is_some_and(|turn| turn.item == item) {
        *turn = None;
    }
}

impl Ledger {
    /// Look at whose turn it is. `is_open`: nothing but turns keeps the work of this function.
    pub fn look_at_turns(&mut self, is_open: impl Fn(&str) -> bool, workers: &[(&str, &str)]) {
        let (now_ns, begun) = (self.now.time_ns, self.counts.batches);
        let mut late = None;
        let mut look = |turn: &mut Option<Turn>, item: Option<u128>, whose: &str| {
            let known = turn.filter(|turn| Some(turn.item) == item);
            *turn = known.or(item.map(|item| Turn { item, since_ns: now_ns, begun }));
            if known.is_some_and(|turn| now_ns - turn.since_ns > WAITS_NS && begun - turn.begun > OTHERS) {
                late = known.map(|turn| (whose.to_owned(), turn));
            }
        };
        for mapping in self.mappings.values_mut().filter(|mapping| !mapping.deleted && mapping.is_durable) {
            let ids: Vec<ShardId> = mapping.progress.keys().copied().collect();
            for id in ids {
                let Some(shard) = self.shards.get(&id) else { continue };
                let mut parents = shard.parents.iter();
                let is_free = parents.all(|parent| {
                    mapping.progress.get_mut(parent).is_some_and(|progress| progress.first_left().is_none())
                });
                let Some(progress) = mapping.progress.get_mut(&id) else { continue };
                progress.follow(shard);
                let item = progress.waits_for_turn(shard).filter(|_| is_free && is_open(&mapping.function));
                look(&mut progress.turn, item.map(u128::from), &mapping.function);
            }
        }
        let queues = &mut self.queues;
        for (queue, function) in workers {
            let Some(log) = queues.names.get(*queue).and_then(|id| queues.logs.get_mut(id)) else { continue };
            let is_due = |name: u32| queues.messages[name as usize].is_due(now_ns, queues.clock_sets);
            let item = log.waits_for_turn(is_due).filter(|_| is_open(function));
            look(&mut log.turn, item.map(u128::from), function);
        }
        let events = &mut self.events;
        for (id, (line, turn)) in &mut events.lines {
            let Some(function) = events.functions.get(id) else { continue };
            let known = &events.known;
            while line.front().is_some_and(|request| !known.get(request).is_some_and(super::events::Event::is_untried))
            {
                line.pop_front();
            }
            look(turn, line.front().copied().filter(|_| is_open(function)), function);
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

impl Log {
    /// The first message that was never received and could be, unless one before it keeps it.
    fn waits_for_turn(&self, is_due: impl Fn(u32) -> bool) -> Option<u64> {
        let first = self.low.max(self.purged_below);
        let left = self.entries.iter().enumerate().skip(first as usize).find(|(_, entry)| !entry.is_over());
        let (number, entry) = left.filter(|(_, entry)| entry.is_untried() && is_due(entry.message))?;
        let is_first = || self.groups.get(usize::from(entry.group)).and_then(VecDeque::front) == Some(&(number as u64));
        let is_busy = || self.busy.get(usize::from(entry.group)).is_some_and(|(_, count)| *count > 0);
        (!self.is_fifo || (is_first() && !is_busy())).then_some(number as u64)
    }
}
