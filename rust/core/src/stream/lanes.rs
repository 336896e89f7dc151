//! One lane: the undone records of its keys in order, and the batches cut from their front.
//!
//! A lane never reorders and never holds a record twice. Everything before its first record is done: that is its mark.

use std::collections::VecDeque;

use super::face::{BatchId, Record};

/// What a lane keeps of a record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    pub(super) position: u64,
    pub(super) arrival_ms: u64,
    pub(super) bytes: u32,
    pub(super) key_hash: u32,
}

impl From<&Record> for Slot {
    fn from(record: &Record) -> Self {
        let Record { position, key_hash, bytes, arrival_ms, passes: _ } = *record;
        Self { position, arrival_ms, bytes, key_hash }
    }
}

/// A batch, or a part of one after a split. Its records are the first `len` of the lane that no earlier batch claims.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Batch {
    /// Number of records; none makes it the final invoke of a tumbling window.
    pub(super) len: usize,
    /// Attempts begun, interrupted ones included.
    pub(super) runs: u32,
    /// Attempts that failed.
    pub(super) failures: u32,
    /// Times in a row it did not reach the function.
    pub(super) refusals: u32,
    /// The last failure was an answer of the function.
    pub(super) by_report: bool,
    /// To be run alone.
    pub(super) alone: bool,
    pub(super) interruptions: u32,
    /// An operator gave it up while it was in flight.
    pub(super) skipped: bool,
}

impl Batch {
    /// The last invoke of a tumbling window.
    pub(super) fn is_final(&self) -> bool {
        self.len == 0
    }
}

/// ```text
/// Free -> Gathering          a record is at hand, and the batching window is not over
/// Free, Gathering -> InFlight
/// InFlight -> Free           done, given up, split
/// InFlight -> Waiting -> Free    back-off
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Free,
    Gathering {
        since_ns: u64,
    },
    /// `until_ns`: when the back-off is over. `wake_ns`: when to look again, which record age may bring forward.
    Waiting {
        until_ns: u64,
        wake_ns: u64,
    },
    InFlight {
        batch: BatchId,
    },
}

/// The lanes' first record must be given room again once this many slots stand empty.
const SLOTS_KEPT: usize = 1024;

#[derive(Debug)]
pub(super) struct Lane {
    /// Undone records, ascending.
    pub(super) slots: VecDeque<Slot>,
    /// Sum of their bytes.
    pub(super) bytes: u64,
    /// Everything of this lane below it was read.
    pub(super) read_to: u64,
    /// The first one is running or next to run; more than one only after a split.
    pub(super) batches: VecDeque<Batch>,
    pub(super) phase: Phase,
}

impl Lane {
    pub(super) fn starting_at(position: u64) -> Self {
        Self { slots: VecDeque::new(), bytes: 0, read_to: position, batches: VecDeque::new(), phase: Phase::Free }
    }

    /// Everything of this lane below the mark is done.
    pub(super) fn mark(&self) -> u64 {
        self.slots.front().map_or(self.read_to, |slot| slot.position)
    }

    pub(super) fn is_in_flight(&self) -> bool {
        matches!(self.phase, Phase::InFlight { .. })
    }

    /// Records that belong to batches already cut.
    pub(super) fn claimed(&self) -> usize {
        self.batches.iter().map(|batch| batch.len).sum()
    }

    /// Nothing read is undone.
    pub(super) fn is_idle(&self) -> bool {
        self.slots.is_empty() && self.batches.is_empty()
    }

    pub(super) fn push(&mut self, slot: Slot) {
        self.bytes += u64::from(slot.bytes);
        self.slots.push_back(slot);
    }

    /// Take the first `count` records out: they are done, or given up.
    pub(super) fn finish(&mut self, count: usize) {
        for slot in self.slots.drain(..count) {
            self.bytes -= u64::from(slot.bytes);
        }
        if self.slots.is_empty() && self.slots.capacity() > SLOTS_KEPT {
            self.slots = VecDeque::new();
        }
    }

    /// Positions of the first `count` records.
    pub(super) fn positions(&self, count: usize) -> Vec<u64> {
        self.slots.range(..count).map(|slot| slot.position).collect()
    }

    /// Split the first batch after `left` records; both halves begin with fresh counts.
    pub(super) fn split(&mut self, left: usize) {
        let Some(whole) = self.batches.pop_front() else { return };
        self.batches.push_front(Batch { len: whole.len - left, ..Batch::default() });
        self.batches.push_front(Batch { len: left, ..Batch::default() });
    }
}
