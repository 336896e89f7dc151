//! One lane: the undone records of its keys in order, and the batches cut from their front.
//!
//! A lane never reorders and never holds a record twice. Everything before its first record is done: that is its mark.

use std::collections::VecDeque;

use super::checkpoint::Tried;
use super::machine::NS_PER_MS;
use super::protocol::{BatchId, Record};
use crate::Now;

/// What a lane keeps of a record.
#[derive(Clone, Copy, Debug)]
pub(super) struct PendingRecord {
    pub(super) position: u64,
    pub(super) arrival_ms: u64,
    pub(super) bytes: u32,
    pub(super) key_hash: u32,
}

impl PendingRecord {
    pub(super) fn is_older(&self, age_ms: u64, now: &Now) -> bool {
        now.wall_ms.saturating_sub(self.arrival_ms) >= age_ms
    }

    /// When it has this age, mono ns: never at once, never later than after the age itself, whatever the wall clock has done.
    pub(super) fn expires_ns(&self, age_ms: u64, now: &Now) -> u64 {
        let left_ms = self.arrival_ms.saturating_add(age_ms).saturating_sub(now.wall_ms).clamp(1, age_ms.max(1));
        now.mono_ns.saturating_add(left_ms.saturating_mul(NS_PER_MS))
    }
}

impl From<&Record> for PendingRecord {
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
    /// It was cut so by a split, and a restart must cut it so again, though it has not failed yet.
    pub(super) half: bool,
    /// Times in a row it did not reach the function.
    pub(super) refusals: u32,
    /// The last failure was an answer of the function.
    pub(super) by_report: bool,
    /// To be run alone.
    pub(super) alone: bool,
    pub(super) interruptions: u32,
    /// An operator gave it up while it was in flight.
    pub(super) skipped: bool,
    /// In flight past its deadline: it may never end, so no suspect waits for it and it holds up no other lane.
    pub(super) overdue: bool,
    /// In flight: when its first record is too old, as far as is known, mono ns; `None` once the batch has been asked for back.
    pub(super) expires_ns: Option<u64>,
}

impl Batch {
    /// Its first `count` records. A part begins with fresh counts.
    pub(super) fn cut_to(self, count: usize) -> Self {
        if count == self.len {
            self
        } else {
            Self { len: count, ..Self::default() }
        }
    }

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
/// Free, Gathering, Waiting -> Lent -> Free
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
    /// See `lane_reservation`. `wake_ns`: when its first record is too old.
    Lent {
        wake_ns: Option<u64>,
    },
}

/// A lane without records gives its memory back if that has room for more than this.
const PENDING_KEPT: usize = 1024;

#[derive(Debug)]
pub(super) struct Lane {
    /// Undone records, ascending.
    pub(super) pending: VecDeque<PendingRecord>,
    /// Sum of their bytes.
    pub(super) bytes: u64,
    /// Everything of this lane below it was read.
    pub(super) read_to: u64,
    /// The first one is running or next to run; more than one only after a split.
    pub(super) batches: VecDeque<Batch>,
    /// Batches that were tried before a restart, to be cut again as they were.
    pub(super) tried: VecDeque<Tried>,
    pub(super) phase: Phase,
    /// Somebody else has it, or waits for it: see `lane_reservation`.
    pub(super) lent: bool,
}

impl Lane {
    pub(super) fn starting_at(position: u64) -> Self {
        Self {
            pending: VecDeque::new(),
            bytes: 0,
            read_to: position,
            batches: VecDeque::new(),
            tried: VecDeque::new(),
            phase: Phase::Free,
            lent: false,
        }
    }

    /// Everything of this lane below the mark is done.
    pub(super) fn mark(&self) -> u64 {
        self.pending.front().map_or(self.read_to, |record| record.position)
    }

    pub(super) fn is_in_flight(&self) -> bool {
        matches!(self.phase, Phase::InFlight { .. })
    }

    /// The next batch as it was tried before a restart. What lies below `front` is done or gone, and forgotten.
    pub(super) fn tried_next(&mut self, front: u64) -> Option<Tried> {
        while self.tried.front().is_some_and(|tried| tried.last.is_some_and(|last| last < front)) {
            self.tried.pop_front();
        }
        self.tried.front().copied()
    }

    /// What a restart must know of the tries of batches that are not done.
    pub(super) fn tries(&self, lane: u8) -> impl Iterator<Item = Tried> + '_ {
        let is_told = self.batches.iter().any(|batch| batch.half || batch.failures > 0);
        let mut end = 0;
        // Of what is in flight it is not known yet whether it will have been a try.
        let mut in_flight = u32::from(self.is_in_flight());
        let cut = self.batches.iter().filter(move |_| is_told).map(move |batch| {
            end += batch.len;
            let last = if batch.is_final() { None } else { self.pending.get(end - 1).map(|record| record.position) };
            let runs = batch.runs - std::mem::take(&mut in_flight);
            Tried { lane, last, runs, failures: batch.failures }
        });
        let mark = self.mark();
        cut.chain(self.tried.iter().copied().filter(move |tried| tried.last.is_none_or(|last| last >= mark)))
    }

    /// In flight, and not past its deadline.
    pub(super) fn is_running(&self) -> bool {
        self.is_in_flight() && self.batches.front().is_some_and(|batch| !batch.overdue)
    }

    /// Its first batch is a suspect of a crash.
    pub(super) fn is_next_alone(&self) -> bool {
        self.batches.front().is_some_and(|batch| batch.alone)
    }

    /// Records that belong to batches already cut.
    pub(super) fn claimed(&self) -> usize {
        self.batches.iter().map(|batch| batch.len).sum()
    }

    /// Nothing read is undone.
    pub(super) fn is_idle(&self) -> bool {
        self.pending.is_empty() && self.batches.is_empty()
    }

    pub(super) fn push(&mut self, record: PendingRecord) {
        self.bytes += u64::from(record.bytes);
        self.pending.push_back(record);
    }

    /// Take the first `count` records out: they are done, or given up.
    pub(super) fn finish(&mut self, count: usize) {
        for record in self.pending.drain(..count) {
            self.bytes -= u64::from(record.bytes);
        }
        if self.pending.is_empty() && self.pending.capacity() > PENDING_KEPT {
            self.pending = VecDeque::new();
        }
    }

    /// Positions of the first `count` records.
    pub(super) fn positions(&self, count: usize) -> Vec<u64> {
        self.pending.range(..count).map(|record| record.position).collect()
    }

    /// Split the first batch after `left` records; both halves begin with fresh counts.
    pub(super) fn split(&mut self, left: usize) {
        let Some(whole) = self.batches.pop_front() else { return };
        for len in [whole.len - left, left] {
            self.batches.push_front(Batch { len, half: true, ..Batch::default() });
        }
    }
}
