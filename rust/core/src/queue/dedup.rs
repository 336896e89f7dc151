//! Deduplication of a FIFO queue: within five minutes the same id is the same message, also after it was deleted.
//!
//! It knows ids by a digest of 128 bits: 16 bytes of SHA-256 over scope and id, so that two ids are never taken for one, and
//! an id of any length costs the same: about 45 bytes while it is remembered.
//! <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/using-messagededuplicationid-property.html>

use std::collections::VecDeque;

use hashbrown::HashTable;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::timeline::Timeline;
use crate::Now;

/// How long an id is remembered after it was accepted.
pub const WINDOW_MS: u64 = 300_000;

/// Within what an id must be unique.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Scope {
    /// The queue.
    Queue,
    /// Each message group by itself.
    MessageGroup,
}

/// An id in its scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(pub u128);

impl Key {
    /// Of an id as the sender gave it, or of the body's SHA-256 in its place.
    pub fn new(scope: Scope, group: &str, id: &str) -> Self {
        let mut hash = Sha256::new();
        if scope == Scope::MessageGroup {
            // With its length, so that no other group and id run together to the same text.
            hash.update((group.len() as u64 + 1).to_le_bytes());
            hash.update(group);
        } else {
            hash.update(0_u64.to_le_bytes());
        }
        hash.update(id);
        let mut half = [0; 16];
        half.copy_from_slice(&hash.finalize()[..16]);
        Self(u128::from_be_bytes(half))
    }

    /// A digest is as good as any hash of it.
    fn hash(self) -> u64 {
        self.0 as u64
    }
}

/// Index in the order of what was the so many-th to come into it.
fn place_of(at: u32, gone: u32) -> usize {
    at.wrapping_sub(gone) as usize
}

/// What a restart must know of an id. To be written in the same commit as its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Message that was accepted with it.
    pub number: u64,
    /// When, wall ms.
    pub accepted_ms: u64,
}

/// What a message with an id is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// The first one with it: the id is remembered from now on.
    New {
        /// To be kept.
        row: Row,
    },
    /// It was accepted before: give that message's id and sequence number to the sender, and deliver nothing.
    Duplicate {
        /// That message.
        number: u64,
    },
    /// So many ids are already remembered that no other one can be told from them: refuse the message.
    Full {
        /// When the oldest one is forgotten.
        retry_after_ms: u64,
    },
}

/// An id that is remembered, or, with `NOBODY`, was taken back.
#[derive(Clone, Copy, Debug)]
struct Entry {
    key: Key,
    number: u64,
    until: u64,
}

const NOBODY: u64 = u64::MAX;
/// Room for so many ids is kept when the last one goes.
const ENTRIES_KEPT: usize = 4096;

/// The ids of a queue that are remembered.
#[derive(Debug)]
pub struct Deduplication {
    ids_max: u32,
    timeline: Timeline,
    /// The next one to be forgotten first.
    order: VecDeque<Entry>,
    /// How many went from the front of it, modulo 2^32.
    gone: u32,
    /// Where in the order a key stands, counted from the first one ever. Looked up and never walked through.
    ids: HashTable<u32>,
    forgotten: Vec<Key>,
}

impl Deduplication {
    /// Go on with what was kept. At most `ids_max` ids are remembered.
    pub fn new(ids_max: u32, rows: impl IntoIterator<Item = (Key, Row)>, now: &Now) -> Self {
        let timeline = Timeline::new(now);
        let until = |row: &Row| timeline.deadline(row.accepted_ms.saturating_add(WINDOW_MS), WINDOW_MS, now);
        let entry = |(key, row): (Key, Row)| Entry { key, number: row.number, until: until(&row) };
        let mut order: Vec<Entry> = rows.into_iter().map(entry).collect();
        order.sort_unstable_by_key(|entry| (entry.until, entry.key));
        let ids = HashTable::with_capacity(order.len());
        let mut restored = Self { ids_max, timeline, order: order.into(), gone: 0, ids, forgotten: Vec::new() };
        for at in 0..restored.order.len() {
            // Of an id that was accepted again the later row counts.
            restored.take_back(restored.order[at].key);
            restored.point_at(at);
        }
        restored
    }

    /// Ask about a message before it is made durable; `number` is what it will have if it is new.
    pub fn offer(&mut self, key: Key, number: u64, now: &Now) -> Offer {
        let at = self.timeline.at(now);
        self.forget(at);
        if let Some(place) = self.find(key) {
            return Offer::Duplicate { number: self.order[place].number };
        }
        if self.ids.len() >= self.ids_max as usize {
            let until = self.order.front().map_or(at, |entry| entry.until);
            return Offer::Full { retry_after_ms: until - at };
        }
        self.order.push_back(Entry { key, number, until: self.timeline.after(WINDOW_MS, now) });
        self.point_at(self.order.len() - 1);
        Offer::New { row: Row { number, accepted_ms: now.wall_ms } }
    }

    /// The message could not be made durable: its id is free again.
    pub fn take_back(&mut self, key: Key) {
        if let Some(place) = self.find(key) {
            self.order[place].number = NOBODY;
            self.point_nowhere(key);
            // On a full disk every send comes to this: what was added last goes at once.
            while self.order.back().is_some_and(|entry| entry.number == NOBODY) {
                self.order.pop_back();
            }
        }
    }

    /// Give the ids that have been forgotten since the last call: their rows may go.
    pub fn due(&mut self, now: &Now) -> Vec<Key> {
        self.forget(self.timeline.at(now));
        std::mem::take(&mut self.forgotten)
    }

    /// Afterwards the first one in the order is the oldest that is remembered.
    fn forget(&mut self, at: u64) {
        while let Some(&Entry { key, number, until }) = self.order.front() {
            if number != NOBODY {
                if at < until {
                    return;
                }
                self.point_nowhere(key);
                self.forgotten.push(key);
            }
            self.order.pop_front();
            self.gone = self.gone.wrapping_add(1);
        }
        if self.order.capacity() > ENTRIES_KEPT {
            (self.order, self.ids) = (VecDeque::new(), HashTable::new());
        }
    }

    fn find(&self, key: Key) -> Option<usize> {
        let place = self.ids.find(key.hash(), |&at| self.order[place_of(at, self.gone)].key == key)?;
        Some(place_of(*place, self.gone))
    }

    fn point_at(&mut self, place: usize) {
        let (order, gone) = (&self.order, self.gone);
        let at = gone.wrapping_add(place as u32);
        let hash = |&at: &u32| order[place_of(at, gone)].key.hash();
        self.ids.insert_unique(order[place].key.hash(), at, hash);
    }

    fn point_nowhere(&mut self, key: Key) {
        let (order, gone) = (&self.order, self.gone);
        if let Ok(entry) = self.ids.find_entry(key.hash(), |&at| order[place_of(at, gone)].key == key) {
            entry.remove();
        }
    }

    /// When `due` has something to give next, on the monotonic clock. `offer` is exact without it.
    pub fn next_due(&self) -> Option<u64> {
        self.order.front().map(|entry| self.timeline.mono_ns(entry.until))
    }

    /// Ids that are remembered.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_spread_over_the_table() {
        let keys = (0..1_000).map(|id| Key::new(Scope::Queue, "", &format!("{id}")));
        assert_eq!(keys.map(Key::hash).collect::<std::collections::HashSet<_>>().len(), 1_000);
    }

    #[test]
    fn room_for_so_many_ids_is_kept_when_the_last_one_goes() {
        let [now, later] = [0, WINDOW_MS].map(|ms| Now { mono_ns: ms * 1_000_000, wall_ms: ms, entropy: 7 });
        for (count, keeps) in [(10, true), (ENTRIES_KEPT, true), (ENTRIES_KEPT + 1, false)] {
            let mut ids = Deduplication::new(1_000_000, [], &now);
            for id in 0..count {
                assert!(matches!(ids.offer(Key(id as u128), 1, &now), Offer::New { .. }));
            }
            assert!(!ids.is_empty());
            assert_eq!(ids.due(&later).len(), count);
            assert_eq!((ids.is_empty(), ids.order.capacity() > 0), (true, keeps), "{count}");
        }
    }

    /// Each stayed in the order until its five minutes were over.
    #[test]
    fn ids_that_are_taken_back_leave_no_room_taken() {
        let now = Now { mono_ns: 0, wall_ms: 1_600_000_000_000, entropy: 7 };
        let mut ids = Deduplication::new(10, [], &now);
        assert!(matches!(ids.offer(Key(0), 0, &now), Offer::New { .. }));
        for round in 0..1_000_u128 {
            let keys = [Key(3 * round + 1), Key(3 * round + 2), Key(3 * round + 3)];
            for key in keys {
                assert!(matches!(ids.offer(key, 1, &now), Offer::New { .. }));
            }
            for key in keys {
                ids.take_back(key);
            }
            assert_eq!((ids.len(), ids.order.len()), (1, 1));
        }
        assert_eq!(ids.offer(Key(0), 1, &now), Offer::Duplicate { number: 0 });
        assert!(matches!(ids.offer(Key(1), 1, &now), Offer::New { .. }));
        assert_eq!(ids.offer(Key(1), 2, &now), Offer::Duplicate { number: 1 });
    }
}
