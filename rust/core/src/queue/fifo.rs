//! The FIFO group-aware batcher: which messages may be taken next.
//!
//! It keeps the order inside a group and holds a group back while one of its messages is in flight. It knows messages by
//! their numbers alone: no body, no receipt, no clock.
//!
//! **How a batch is chosen.** Groups that may be served stand in a line. `take` goes to the first, takes as many of its
//! messages as there is room for, and fills up from the next ones. A group whose messages in flight have all been settled
//! stands at the end of the line again if it has more.
//!
//! **Bounds.** A group with `r` groups before it in the line is served in the `(r + 1)`-th take from then on at the latest.
//! A message costs a fixed number of memory accesses, however many messages and groups wait and however many of them are
//! held back; a delayed one O(log delayed) more. Memory: 12 bytes for a waiting message, about 70 more while it is delayed,
//! and about 75 bytes and its name for a group (`groups.rs`).

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::groups::Groups;
use super::linked_lists::{Ends, LinkedLists};

/// Room for so many delays is kept when the last group goes.
const DELAYS_KEPT: usize = 1024;

/// Most messages a batcher can be made for.
pub const MESSAGES_MAX: u32 = 1_000_000_000;

/// Names a group as long as it has messages. Another group may have the same id later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupId(u32);

/// A message in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// As it was pushed.
    pub number: u64,
    /// Its group, which is held back until every message it has in flight is settled.
    pub group: GroupId,
}

/// The batcher holds as many messages as it was made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full {
    /// That many.
    pub messages_max: u32,
}

#[derive(Clone, Copy, Debug)]
struct Delay {
    until_ms: u64,
    group: u32,
}

/// See the top of this file. Times are milliseconds of any clock that the caller sticks to.
#[derive(Debug)]
pub struct FifoBatcher {
    messages_max: u32,
    chains: LinkedLists,
    groups: Groups,
    line: Ends,
    delays: HashMap<u64, Delay>,
    /// The same delays by time.
    timers: BTreeSet<(u64, u64)>,
    in_flight: usize,
}

impl FifoBatcher {
    /// An empty batcher for at most so many messages, waiting and in flight together (1..=[`MESSAGES_MAX`]).
    pub fn new(messages_max: u32) -> Self {
        Self {
            messages_max: messages_max.clamp(1, MESSAGES_MAX),
            chains: LinkedLists::default(),
            groups: Groups::default(),
            line: Ends::default(),
            delays: HashMap::new(),
            timers: BTreeSet::new(),
            in_flight: 0,
        }
    }

    /// Add a message that may be taken from `visible_at_ms` on (0: at once). Messages of a group are taken in the order of
    /// their numbers; give them in ascending order, or the new one costs a step for each smaller one that waits in its group.
    pub fn push(&mut self, number: u64, group: &str, visible_at_ms: u64) -> Result<(), Full> {
        if self.len() >= self.messages_max as usize {
            return Err(Full { messages_max: self.messages_max });
        }
        self.add(number, group, visible_at_ms);
        Ok(())
    }

    /// `push`, for a caller that keeps the bound itself.
    pub(super) fn add(&mut self, number: u64, group: &str, visible_at_ms: u64) {
        let id = self.groups.open(group);
        self.insert(number, id, visible_at_ms);
        self.place(id);
    }

    /// Count a message that is in flight already, as after a restart. Settled like one that was taken.
    pub fn hold(&mut self, group: &str) -> GroupId {
        let id = self.groups.open(group);
        self.in_flight += 1;
        self.groups[id].launch();
        self.place(id);
        GroupId(id)
    }

    /// Take up to `maximum` messages: as many as possible from the first group in the line, then from the next ones. The
    /// messages of a group stand together and in order.
    pub fn take(&mut self, maximum: usize, now_ms: u64) -> Vec<Taken> {
        self.due(now_ms);
        let mut taken = Vec::with_capacity(maximum.min(self.visible()));
        while taken.len() < maximum && !self.line.is_empty() {
            let id = self.line.first;
            self.leave_line(id);
            self.take_from(id, maximum, &mut taken);
        }
        taken
    }

    fn take_from(&mut self, id: u32, maximum: usize, taken: &mut Vec<Taken>) {
        let group = &mut self.groups[id];
        while taken.len() < maximum {
            let next = self.chains.first(group.waiting);
            if next.is_none_or(|number| !self.delays.is_empty() && self.delays.contains_key(&number)) {
                break;
            }
            let Some(number) = self.chains.pop(&mut group.waiting) else { break };
            taken.push(Taken { number, group: GroupId(id) });
            group.launch();
            self.in_flight += 1;
        }
    }

    /// Take one message out of turn. `None`: it is not the first of its group, or is delayed, or its group is held back.
    pub fn take_first(&mut self, group: &str, number: u64, now_ms: u64) -> Option<Taken> {
        self.due(now_ms);
        let id = self.groups.find(group)?;
        let entry = &self.groups[id];
        if !entry.in_line() || self.chains.first(entry.waiting) != Some(number) {
            return None;
        }
        self.leave_line(id);
        let mut taken = Vec::with_capacity(1);
        self.take_from(id, 1, &mut taken);
        taken.pop()
    }

    /// A message in flight is done.
    ///
    /// # Panics
    /// When its group has nothing in flight: it was settled twice.
    pub fn done(&mut self, group: GroupId) {
        self.land(group);
        self.place(group.0);
    }

    /// A message in flight comes back to its place in its group, to be taken again from `visible_at_ms` on. Whatever of the
    /// group waits behind it waits as well.
    ///
    /// # Panics
    /// When its group has nothing in flight: it was settled twice.
    pub fn back(&mut self, message: Taken, visible_at_ms: u64) {
        self.land(message.group);
        self.insert(message.number, message.group.0, visible_at_ms);
        self.place(message.group.0);
    }

    /// Settle a batch by the rest-of-group rule: see [`rest_of_group`]. What comes back is visible from `visible_at_ms` on.
    /// Gives for each message whether it came back.
    pub fn settle(&mut self, batch: &[Taken], failed: impl Fn(u64) -> bool, visible_at_ms: u64) -> Vec<bool> {
        let back = rest_of_group(batch, failed);
        for (message, is_back) in batch.iter().zip(&back) {
            if *is_back {
                self.back(*message, visible_at_ms);
            } else {
                self.done(message.group);
            }
        }
        back
    }

    /// Let delays end that are over. `take` does it by itself; the counts are right after it.
    pub fn due(&mut self, now_ms: u64) {
        while let Some(&(until_ms, number)) = self.timers.first() {
            if until_ms > now_ms {
                return;
            }
            self.timers.pop_first();
            if let Some(delay) = self.delays.remove(&number) {
                self.place(delay.group);
            }
        }
    }

    /// When the next delay ends.
    pub fn next_due(&self) -> Option<u64> {
        self.timers.first().map(|&(until_ms, _)| until_ms)
    }

    /// Drop every waiting message whose number is below `below`, as too old; gives their numbers. Walks through all groups.
    pub fn expire(&mut self, below: u64) -> Vec<u64> {
        let mut gone = Vec::new();
        let mut changed = Vec::new();
        for (id, group) in self.groups.iter_mut() {
            let before = gone.len();
            while self.chains.first(group.waiting).is_some_and(|number| number < below) {
                gone.extend(self.chains.pop(&mut group.waiting));
            }
            if gone.len() > before {
                changed.push((self.chains.first(group.waiting), id));
            }
        }
        for number in &gone {
            if let Some(delay) = self.delays.remove(number) {
                self.timers.remove(&(delay.until_ms, *number));
            }
        }
        // Groups whose delayed first message is gone join the line by the age of what they have left.
        changed.sort_unstable();
        for (_, id) in changed {
            self.place(id);
        }
        gone
    }

    /// Whether an earlier message of a group waits.
    pub fn is_behind(&self, number: u64, group: &str) -> bool {
        let waiting = self.groups.find(group).map(|id| self.groups[id].waiting);
        waiting.and_then(|waiting| self.chains.first(waiting)).is_some_and(|first| first < number)
    }

    /// Messages waiting and in flight.
    pub fn len(&self) -> usize {
        self.chains.len() + self.in_flight
    }

    /// Whether there is no message.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Messages that wait and are not delayed, those of groups held back included.
    pub fn visible(&self) -> usize {
        self.chains.len() - self.delays.len()
    }

    /// Messages that wait for their delay to end.
    pub fn delayed(&self) -> usize {
        self.delays.len()
    }

    /// Messages taken and not settled.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Groups that have messages.
    pub fn groups(&self) -> usize {
        self.groups.len()
    }

    /// Whether `take` would give something now.
    pub fn is_ready(&self, now_ms: u64) -> bool {
        !self.line.is_empty() || self.timers.iter().take_while(|(at, _)| *at <= now_ms).any(|(_, n)| self.leads(*n))
    }

    /// Name of a group that has messages.
    pub fn name(&self, group: GroupId) -> &Arc<str> {
        &self.groups[group.0].name
    }

    /// Most messages, waiting and in flight together.
    pub fn messages_max(&self) -> u32 {
        self.messages_max
    }

    /// Whether a delayed message is what its group waits for.
    fn leads(&self, number: u64) -> bool {
        self.delays.get(&number).is_some_and(|delay| {
            let group = &self.groups[delay.group];
            group.in_flight() == 0 && self.chains.first(group.waiting) == Some(number)
        })
    }

    fn insert(&mut self, number: u64, id: u32, visible_at_ms: u64) {
        self.chains.insert(&mut self.groups[id].waiting, number);
        if visible_at_ms > 0 {
            self.delays.insert(number, Delay { until_ms: visible_at_ms, group: id });
            self.timers.insert((visible_at_ms, number));
        }
    }

    fn land(&mut self, group: GroupId) {
        self.groups[group.0].land();
        self.in_flight -= 1;
    }

    /// Put a group where it belongs after a change: into the line, out of it, or away.
    fn place(&mut self, id: u32) {
        let group = &self.groups[id];
        let first = self.chains.first(group.waiting);
        let is_delayed = |number| !self.delays.is_empty() && self.delays.contains_key(&number);
        let is_ready = group.in_flight() == 0 && first.is_some_and(|number| !is_delayed(number));
        let is_over = group.in_flight() == 0 && first.is_none();
        match (group.in_line(), is_ready) {
            (false, true) => self.groups.join(&mut self.line, id),
            (true, false) => self.leave_line(id),
            _ => {}
        }
        if is_over {
            self.groups.close(id);
            if self.groups.len() == 0 {
                self.delays.shrink_to(DELAYS_KEPT);
            }
        }
    }

    fn leave_line(&mut self, id: u32) {
        self.groups.leave(&mut self.line, id);
    }
}

/// The rest-of-group rule: with a failed message, every message of its group behind it in the batch comes back, since it
/// must not be done before it. Gives for each message whether it comes back; the other groups of the batch are not touched.
pub fn rest_of_group(batch: &[Taken], failed: impl Fn(u64) -> bool) -> Vec<bool> {
    let mut broken = BTreeSet::new();
    let comes_back =
        |message: &Taken| broken.contains(&message.group) || (failed(message.number) && broken.insert(message.group));
    batch.iter().map(comes_back).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batcher_is_made_for_so_many_messages() {
        for (asked, made) in [(0, 1), (1, 1), (5, 5), (MESSAGES_MAX, MESSAGES_MAX), (u32::MAX, MESSAGES_MAX)] {
            let mut batcher = FifoBatcher::new(asked);
            assert_eq!((batcher.messages_max(), batcher.is_empty()), (made, true));
            batcher.push(0, "a", 0).unwrap();
            assert!(!batcher.is_empty());
            let taken = batcher.take(1, 0);
            assert!(!batcher.is_empty(), "it is in flight");
            batcher.done(taken[0].group);
            assert!(batcher.is_empty());
        }
    }

    #[test]
    fn room_of_many_delays_is_given_back_when_the_last_group_goes() {
        let mut batcher = FifoBatcher::new(MESSAGES_MAX);
        for number in 0..10_000 {
            batcher.push(number, "a", 500).unwrap();
        }
        assert_eq!(batcher.expire(u64::MAX).len(), 10_000);
        assert!(batcher.is_empty() && batcher.delays.capacity() < 2 * DELAYS_KEPT, "{}", batcher.delays.capacity());
    }
}
