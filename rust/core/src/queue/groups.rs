//! Message groups, by name and by number, and the lists that they stand in.
//!
//! A group whose last message is gone stands idle until another one needs its room. Forgetting its name at once would cost a random
//! access to memory for each group that is drained, which was most of what a message cost among a million groups; and a group
//! that comes again is found as it was. So room is held for as many groups as had messages at once, until none has.

use std::hash::{BuildHasher as _, RandomState};
use std::ops::{Index, IndexMut};
use std::sync::Arc;

use hashbrown::HashTable;

use super::linked_lists::{Ends, NONE};

/// Room for so many groups is kept when the last group goes.
const GROUPS_KEPT: usize = 1024;
/// In no list.
const OUT: u32 = NONE - 1;
const IDLE: u32 = u32::MAX;

/// A group.
///
/// ```text
/// in line      something waits, its first message is not delayed, nothing is in flight
/// held back    something is in flight, or the first message is delayed
/// idle         it has no message
/// ```
#[derive(Debug)]
pub(super) struct Group {
    pub(super) name: Arc<str>,
    /// Of the name.
    hash: u32,
    pub(super) waiting: Ends,
    /// `IDLE` if it has no message.
    in_flight: u32,
    /// Neighbours in the line, or among the idle ones; `OUT` before a group that is in neither.
    before: u32,
    after: u32,
}

impl Group {
    pub(super) fn in_flight(&self) -> u32 {
        if self.in_flight == IDLE {
            0
        } else {
            self.in_flight
        }
    }

    pub(super) fn in_line(&self) -> bool {
        self.before != OUT && self.in_flight != IDLE
    }

    /// One more message is in flight.
    pub(super) fn launch(&mut self) {
        self.in_flight += 1;
    }

    /// One message in flight is settled.
    pub(super) fn land(&mut self) {
        assert!(self.in_flight() > 0, "a message of a group was settled twice");
        self.in_flight -= 1;
    }
}

#[derive(Debug, Default)]
pub(super) struct Groups {
    list: Vec<Group>,
    /// Those that are not idle.
    live: usize,
    /// The one that has been so longest first.
    idle: Ends,
    /// Looked up and never walked through, so that its order is nobody's business.
    ids: HashTable<u32>,
    /// Senders choose the names: they must not be able to choose the hashes.
    hashes: RandomState,
}

impl Index<u32> for Groups {
    type Output = Group;

    fn index(&self, id: u32) -> &Group {
        &self.list[id as usize]
    }
}

impl IndexMut<u32> for Groups {
    fn index_mut(&mut self, id: u32) -> &mut Group {
        &mut self.list[id as usize]
    }
}

impl Groups {
    /// Groups that have messages.
    pub(super) fn len(&self) -> usize {
        self.live
    }

    /// All of them, those that are idle included.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (u32, &mut Group)> {
        (0..).zip(&mut self.list)
    }

    /// The group with a name, idle or not.
    pub(super) fn find(&self, name: &str) -> Option<u32> {
        self.find_hashed(name, self.hash(name))
    }

    fn hash(&self, name: &str) -> u32 {
        self.hashes.hash_one(name) as u32
    }

    fn find_hashed(&self, name: &str, hash: u32) -> Option<u32> {
        let is_it = |&id: &u32| self[id].hash == hash && *self[id].name == *name;
        self.ids.find(spread(hash), is_it).copied()
    }

    /// The group with a name, which is going to have a message.
    pub(super) fn open(&mut self, name: &str) -> u32 {
        let hash = self.hash(name);
        let id = match self.find_hashed(name, hash) {
            Some(id) if self[id].in_flight != IDLE => return id,
            Some(id) => {
                self.leave_idle(id);
                self[id].in_flight = 0;
                id
            }
            None => self.make(name, hash),
        };
        self.live += 1;
        id
    }

    fn make(&mut self, name: &str, hash: u32) -> u32 {
        let group = Group { name: name.into(), hash, waiting: Ends::default(), in_flight: 0, before: OUT, after: NONE };
        let id = if self.idle.is_empty() {
            self.list.push(group);
            (self.list.len() - 1) as u32
        } else {
            let id = self.idle.first;
            self.leave_idle(id);
            let before = std::mem::replace(&mut self[id], group);
            if let Ok(entry) = self.ids.find_entry(spread(before.hash), |&other| other == id) {
                entry.remove();
            }
            id
        };
        let list = &self.list;
        self.ids.insert_unique(spread(hash), id, |&id| spread(list[id as usize].hash));
        id
    }

    /// The last message of a group that is in no list is gone.
    pub(super) fn close(&mut self, id: u32) {
        self.live -= 1;
        if self.live == 0 && self.list.capacity() > GROUPS_KEPT {
            *self = Self::default();
            return;
        }
        self[id].in_flight = IDLE;
        let mut idle = self.idle;
        self.join(&mut idle, id);
        self.idle = idle;
    }

    fn leave_idle(&mut self, id: u32) {
        let mut idle = self.idle;
        self.leave(&mut idle, id);
        self.idle = idle;
    }

    /// Put a group that is in no list at the end of one.
    pub(super) fn join(&mut self, list: &mut Ends, id: u32) {
        let last = list.last;
        let group = &mut self[id];
        (group.before, group.after) = (last, NONE);
        match last {
            NONE => list.first = id,
            last => self[last].after = id,
        }
        list.last = id;
    }

    /// Take a group out of the list that it is in.
    pub(super) fn leave(&mut self, list: &mut Ends, id: u32) {
        let group = &mut self[id];
        let (before, after) = (std::mem::replace(&mut group.before, OUT), group.after);
        match before {
            NONE => list.first = after,
            before => self[before].after = after,
        }
        match after {
            NONE => list.last = before,
            after => self[after].before = before,
        }
    }
}

/// A hash whose upper bits tell apart as well as its lower ones.
fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_group_comes_back_as_it_was_or_gives_its_room_the_oldest_first() {
        let mut groups = Groups::default();
        let [a, b, c] = ["a", "b", "c"].map(|name| groups.open(name));
        for id in [b, a] {
            groups.close(id);
        }
        assert_eq!((groups.len(), groups.open("a"), groups.open("d")), (1, a, b), "the room of the one idle longest");
        assert_eq!((groups.find("b"), groups.find("c"), groups.find("d")), (None, Some(c), Some(b)));
        assert_eq!((groups.open("e"), groups.len()), (3, 4), "nothing is idle");
    }

    #[test]
    fn names_are_spread_over_the_table() {
        let groups = Groups::default();
        let hashes: std::collections::HashSet<u32> = (0..1_000).map(|n| groups.hash(&n.to_string())).collect();
        assert!(hashes.len() > 990, "{}", hashes.len());
    }

    #[test]
    fn room_is_given_back_when_no_group_has_messages() {
        let mut groups = Groups::default();
        let all: Vec<u32> = (0..10_000).map(|n| groups.open(&n.to_string())).collect();
        for id in all {
            groups.close(id);
        }
        assert_eq!((groups.len(), groups.list.capacity(), groups.find("1")), (0, 0, None));
    }
}
