//! Deduplication of a FIFO queue: within five minutes the same id is the same message, also after it was deleted.
//!
//! It knows ids by a digest of 128 bits: 16 bytes of SHA-256 over scope and id, so that two ids are never taken for one, and
//! an id of any length costs the same: about 80 bytes while it is remembered.
//! <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/using-messagededuplicationid-property.html>

use std::collections::{HashMap, VecDeque};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::timeline::Timeline;
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
    /// So many ids are remembered already that no other one can be told from them: refuse the message.
    Full {
        /// When the oldest one is forgotten.
        retry_after_ms: u64,
    },
}

/// The ids of a queue that are remembered.
#[derive(Debug)]
pub struct Deduplication {
    ids_max: u32,
    timeline: Timeline,
    /// (message, remembered until). Looked up and never walked through.
    ids: HashMap<Key, (u64, u64)>,
    /// The same, the next one to be forgotten first. An id that was taken back and came again stands here twice.
    order: VecDeque<(u64, Key)>,
    forgotten: Vec<Key>,
}

impl Deduplication {
    /// Go on with what was kept. At most `ids_max` ids are remembered.
    pub fn new(ids_max: u32, rows: impl IntoIterator<Item = (Key, Row)>, now: &Now) -> Self {
        let timeline = Timeline::new(now);
        let until = |row: &Row| timeline.deadline(row.accepted_ms.saturating_add(WINDOW_MS), WINDOW_MS, now);
        let mut ids = HashMap::new();
        let mut order: Vec<(u64, Key)> = Vec::new();
        for (key, row) in rows {
            ids.insert(key, (row.number, until(&row)));
            order.push((until(&row), key));
        }
        order.sort_unstable();
        Self { ids_max, timeline, ids, order: order.into(), forgotten: Vec::new() }
    }

    /// Ask about a message before it is made durable; `number` is what it will have if it is new.
    pub fn offer(&mut self, key: Key, number: u64, now: &Now) -> Offer {
        let at = self.timeline.at(now);
        self.forget(at);
        if let Some(&(number, _)) = self.ids.get(&key) {
            return Offer::Duplicate { number };
        }
        if self.ids.len() >= self.ids_max as usize {
            let until = self.order.front().map_or(at, |(until, _)| *until);
            return Offer::Full { retry_after_ms: until - at };
        }
        self.ids.insert(key, (number, at + WINDOW_MS));
        self.order.push_back((at + WINDOW_MS, key));
        Offer::New { row: Row { number, accepted_ms: now.wall_ms } }
    }

    /// The message could not be made durable: its id is free again.
    pub fn take_back(&mut self, key: Key) {
        self.ids.remove(&key);
    }

    /// Give the ids that have been forgotten since the last call: their rows may go.
    pub fn due(&mut self, now: &Now) -> Vec<Key> {
        self.forget(self.timeline.at(now));
        std::mem::take(&mut self.forgotten)
    }

    /// Afterwards the first one in the order is the oldest that is remembered.
    fn forget(&mut self, at: u64) {
        while let Some(&(until, key)) = self.order.front() {
            // Else it was taken back, and perhaps accepted anew.
            let is_remembered = self.ids.get(&key).is_some_and(|(_, latest)| *latest == until);
            if is_remembered && at < until {
                return;
            }
            self.order.pop_front();
            if is_remembered {
                self.ids.remove(&key);
                self.forgotten.push(key);
            }
        }
    }

    /// When `due` has something to give next, on the monotonic clock. `offer` is exact without it.
    pub fn next_due(&self) -> Option<u64> {
        self.order.front().map(|(until, _)| self.timeline.mono_ns(*until))
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
