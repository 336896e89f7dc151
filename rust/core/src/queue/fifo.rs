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
//! and about 120 bytes and its name for a group that has messages.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::chain::{Chains, Ends, NONE};

/// Room for so many groups is kept when the last group goes.
const GROUPS_KEPT: usize = 1024;

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

/// A group that has messages, waiting or in flight.
///
/// ```text
/// in line      something waits, its first message is not delayed, nothing is in flight
/// held back    something is in flight, or the first message is delayed
/// ```
#[derive(Debug)]
struct Group {
    name: Arc<str>,
    waiting: Ends,
    in_flight: u32,
    in_line: bool,
    /// Neighbours in the line.
    before: u32,
    after: u32,
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
    chains: Chains,
    groups: Vec<Group>,
    groups_free: Vec<u32>,
    /// Looked up and never walked through, so that its order is nobody's business.
    ids: HashMap<Arc<str>, u32>,
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
            chains: Chains::default(),
            groups: Vec::new(),
            groups_free: Vec::new(),
            ids: HashMap::new(),
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
        let id = self.open(group);
        self.insert(number, id, visible_at_ms);
        self.place(id);
    }

    /// Count a message that is in flight already, as after a restart. Settled like one that was taken.
    pub fn hold(&mut self, group: &str) -> GroupId {
        let id = self.open(group);
        self.in_flight += 1;
        self.groups[id as usize].in_flight += 1;
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
        let group = &mut self.groups[id as usize];
        while taken.len() < maximum {
            let next = self.chains.first(group.waiting);
            if next.is_none_or(|number| !self.delays.is_empty() && self.delays.contains_key(&number)) {
                break;
            }
            let Some(number) = self.chains.pop(&mut group.waiting) else { break };
            taken.push(Taken { number, group: GroupId(id) });
            group.in_flight += 1;
            self.in_flight += 1;
        }
    }

    /// Take one message out of turn. `None`: it is not the first of its group, or is delayed, or its group is held back.
    pub fn take_first(&mut self, group: &str, number: u64, now_ms: u64) -> Option<Taken> {
        self.due(now_ms);
        let id = self.find(group)?;
        let entry = &self.groups[id as usize];
        if !entry.in_line || self.chains.first(entry.waiting) != Some(number) {
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
        for (id, group) in self.groups.iter_mut().enumerate() {
            let before = gone.len();
            while self.chains.first(group.waiting).is_some_and(|number| number < below) {
                gone.extend(self.chains.pop(&mut group.waiting));
            }
            if gone.len() > before {
                changed.push((self.chains.first(group.waiting), id as u32));
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
        self.ids.len()
    }

    /// Whether `take` would give something now.
    pub fn is_ready(&self, now_ms: u64) -> bool {
        !self.line.is_empty() || self.timers.iter().take_while(|(at, _)| *at <= now_ms).any(|(_, n)| self.leads(*n))
    }

    /// Name of a group that has messages.
    pub fn name(&self, group: GroupId) -> &Arc<str> {
        &self.groups[group.0 as usize].name
    }

    /// Most messages, waiting and in flight together.
    pub fn messages_max(&self) -> u32 {
        self.messages_max
    }

    /// Whether a delayed message is what its group waits for.
    fn leads(&self, number: u64) -> bool {
        self.delays.get(&number).is_some_and(|delay| {
            let group = &self.groups[delay.group as usize];
            group.in_flight == 0 && self.chains.first(group.waiting) == Some(number)
        })
    }

    fn find(&self, name: &str) -> Option<u32> {
        self.ids.get(name).copied()
    }

    fn open(&mut self, name: &str) -> u32 {
        if let Some(id) = self.find(name) {
            return id;
        }
        let name: Arc<str> = name.into();
        let group = Group {
            name: Arc::clone(&name),
            waiting: Ends::default(),
            in_flight: 0,
            in_line: false,
            before: NONE,
            after: NONE,
        };
        let id = match self.groups_free.pop() {
            Some(id) => {
                self.groups[id as usize] = group;
                id
            }
            None => {
                self.groups.push(group);
                (self.groups.len() - 1) as u32
            }
        };
        self.ids.insert(name, id);
        id
    }

    fn insert(&mut self, number: u64, id: u32, visible_at_ms: u64) {
        self.chains.insert(&mut self.groups[id as usize].waiting, number);
        if visible_at_ms > 0 {
            self.delays.insert(number, Delay { until_ms: visible_at_ms, group: id });
            self.timers.insert((visible_at_ms, number));
        }
    }

    fn land(&mut self, group: GroupId) {
        let group = &mut self.groups[group.0 as usize];
        assert!(group.in_flight > 0, "a message of group {:?} was settled twice", group.name);
        group.in_flight -= 1;
        self.in_flight -= 1;
    }

    /// Put a group where it belongs after a change: into the line, out of it, or away.
    fn place(&mut self, id: u32) {
        let group = &self.groups[id as usize];
        let first = self.chains.first(group.waiting);
        if first.is_none() && group.in_flight == 0 {
            return self.close(id);
        }
        let is_delayed = |number| !self.delays.is_empty() && self.delays.contains_key(&number);
        let is_ready = group.in_flight == 0 && first.is_some_and(|number| !is_delayed(number));
        match (group.in_line, is_ready) {
            (false, true) => self.join_line(id),
            (true, false) => self.leave_line(id),
            _ => {}
        }
    }

    fn close(&mut self, id: u32) {
        if self.groups[id as usize].in_line {
            self.leave_line(id);
        }
        let name = std::mem::take(&mut self.groups[id as usize].name);
        self.ids.remove(&name);
        self.groups_free.push(id);
        if self.ids.is_empty() && self.groups.capacity() > GROUPS_KEPT {
            *self = Self::new(self.messages_max);
        }
    }

    fn join_line(&mut self, id: u32) {
        let last = self.line.last;
        let group = &mut self.groups[id as usize];
        (group.in_line, group.before, group.after) = (true, last, NONE);
        match last {
            NONE => self.line.first = id,
            last => self.groups[last as usize].after = id,
        }
        self.line.last = id;
    }

    fn leave_line(&mut self, id: u32) {
        let group = &mut self.groups[id as usize];
        let (before, after) = (group.before, group.after);
        group.in_line = false;
        match before {
            NONE => self.line.first = after,
            before => self.groups[before as usize].after = after,
        }
        match after {
            NONE => self.line.last = before,
            after => self.groups[after as usize].before = before,
        }
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
