//! What a unit of a store tells other units, where no commit spans both: an outbox that the unit's own commits fill and empty, and cursors
//! at the units that are told. A store whose commit spans all units writes what is told in that commit, and needs neither.
//!
//! Nothing is lost, because an entry is sent after the commit that wrote it, and its row goes after all whom it is for have it. Nothing is
//! done twice, because who is told keeps the highest number of each sender, and moves it in the commit that holds what the entry did there.
//! For that, first copies must arrive in the order of their numbers. So a unit is sent one entry at a time, and a number is never given out
//! again. Then a copy that comes late, or from a former owner, only repeats what is there.

use std::collections::btree_map::Entry as Place;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::cluster::UnitId;

/// One thing to be told, as a row of the unit has it. What it says is the caller's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Grows with each entry of the unit, whomever it is for.
    pub number: u64,
    /// Whom it is for.
    pub to: BTreeSet<UnitId>,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Append the entry to the log of a unit, and say by [`Outbox::sent`] how that ended.
    Send {
        /// Which entry.
        number: u64,
        /// The unit.
        to: UnitId,
    },
    /// Remove the entry's row with the next commit, and say by [`Outbox::removed`] that it is acknowledged.
    Remove {
        /// Which entry.
        number: u64,
    },
}

/// How a [`Command::Send`] has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// The log has it, from now or from before.
    Acknowledged,
    /// It may have it, or not.
    Unknown,
}

/// As many entries as are allowed wait to be told: whatever would tell more must wait, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// The entries of one unit that are not told yet.
#[derive(Clone, Debug)]
pub struct Outbox {
    last: u64,
    entries_max: usize,
    /// Entries whose commit is not acknowledged yet.
    told: VecDeque<Entry>,
    /// By unit: entries that it is sent one after the other. The first of them is under way.
    queues: BTreeMap<UnitId, VecDeque<u64>>,
    /// By entry: how many of those whom it is for do not have it yet. At none, its row is being removed.
    left: BTreeMap<u64, usize>,
}

impl Outbox {
    /// The outbox of a unit that was taken: the highest number that was ever given out, as the unit's rows say, and the entries there are.
    pub fn restored(last: u64, entries_max: usize, entries: impl IntoIterator<Item = Entry>) -> (Self, Vec<Command>) {
        let (queues, left) = Default::default();
        let mut outbox = Self { last, entries_max, told: entries.into_iter().collect(), queues, left };
        outbox.told.make_contiguous().sort_by_key(|entry| entry.number);
        outbox.last = outbox.told.back().map_or(last, |entry| entry.number.max(last));
        let commands = outbox.committed(u64::MAX);
        (outbox, commands)
    }

    /// The highest number that was given out: it is written with each commit that writes an entry.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// How many more entries there may be.
    pub fn room(&self) -> usize {
        self.entries_max.saturating_sub(self.told.len() + self.left.len())
    }

    /// Tell others something: the number under which it is to be written with the commit that holds its reason.
    pub fn tell(&mut self, to: BTreeSet<UnitId>) -> Result<u64, Full> {
        if self.room() == 0 {
            return Err(Full);
        }
        self.last += 1;
        self.told.push_back(Entry { number: self.last, to });
        Ok(self.last)
    }

    /// The commit that wrote the entries up to this number is acknowledged.
    pub fn committed(&mut self, last: u64) -> Vec<Command> {
        let mut commands = Vec::new();
        let written = self.told.partition_point(|entry| entry.number <= last);
        for Entry { number, to } in self.told.drain(..written) {
            self.left.insert(number, to.len());
            if to.is_empty() {
                commands.push(Command::Remove { number });
            }
            for to in to {
                let queue = self.queues.entry(to).or_default();
                queue.push_back(number);
                if queue.len() == 1 {
                    commands.push(Command::Send { number, to });
                }
            }
        }
        commands
    }

    /// A [`Command::Send`] has ended. What nobody knows of is sent again: the same, and nothing else to that unit before.
    pub fn sent(&mut self, number: u64, to: UnitId, sent: Sent) -> Vec<Command> {
        // One that is not under way any more was sent twice, and this is the second answer.
        let Place::Occupied(mut queue) = self.queues.entry(to) else { return Vec::new() };
        if queue.get().front() != Some(&number) {
            return Vec::new();
        }
        if sent == Sent::Unknown {
            return vec![Command::Send { number, to }];
        }
        let mut commands = Vec::new();
        queue.get_mut().pop_front();
        match queue.get().front() {
            Some(&number) => commands.push(Command::Send { number, to }),
            None => drop(queue.remove()),
        }
        if let Some(left) = self.left.get_mut(&number) {
            *left -= 1;
            if *left == 0 {
                commands.push(Command::Remove { number });
            }
        }
        commands
    }

    /// The commit that removed an entry's row is acknowledged.
    pub fn removed(&mut self, number: u64) {
        self.left.remove(&number);
    }
}

/// What a unit has taken of what others told it: the highest number of each. It is restored from the unit's rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cursors(BTreeMap<u64, u64>);

impl FromIterator<(u64, u64)> for Cursors {
    fn from_iter<T: IntoIterator<Item = (u64, u64)>>(rows: T) -> Self {
        Self(rows.into_iter().collect())
    }
}

impl Cursors {
    /// Whether an entry has not been taken before. The cursor has moved then, and is to be written in the commit that holds what the entry
    /// does. A sender is a unit, or whoever else appends with numbers that grow, one at a time.
    pub fn take(&mut self, sender: u64, number: u64) -> bool {
        let cursor = self.0.entry(sender).or_default();
        let is_new = number > *cursor;
        *cursor = number.max(*cursor);
        is_new
    }

    /// The highest number that was taken of a sender; 0: none.
    pub fn of(&self, sender: u64) -> u64 {
        self.0.get(&sender).copied().unwrap_or(0)
    }
}

/// How many pieces of work fit into one commit of at most so many writes, by the writes of each. A piece is not cut: what it did, its
/// entries and its cursor are one commit. `None`: the first is larger than a commit can be.
pub fn fitting(writes: impl IntoIterator<Item = usize>, writes_max: usize) -> Option<usize> {
    let mut sum = 0_usize;
    let fit = |writes: &usize| {
        sum = sum.saturating_add(*writes);
        sum <= writes_max
    };
    let mut pieces = writes.into_iter().peekable();
    let has_some = pieces.peek().is_some();
    let count = pieces.take_while(fit).count();
    (count > 0 || !has_some).then_some(count)
}

#[cfg(test)]
mod tests;
