//! Batches that were in flight when the process died. They run alone, one at a time, until the guilty record is found.
//!
//! A crash with many batches in flight accuses all of them and condemns none. A crash while one batch ran alone accuses
//! that batch: it is halved, and its halves run alone. A crash while a single record ran alone counts against the record.

use super::lane::{Batch, Lane, PendingRecord};
use super::protocol::Suspect;

/// Crashes while alone after which a record is given up.
pub(super) const INTERRUPTIONS_MAX: u32 = 3;

/// In no particular order; a handful (at most one per lane, and one more per halving).
#[derive(Debug, Default)]
pub(super) struct Suspects(Vec<Suspect>);

/// What must happen at the front of a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// These many records at the front are not suspects.
    Clear { count: usize },
    /// Some of the suspect's records may still be unread.
    Wait,
    /// These many records at the front run alone.
    Alone { count: usize, interruptions: u32 },
    /// The front record, or the final invoke, killed the process too often.
    Condemn { interruptions: u32 },
}

impl Suspects {
    /// `suspects` as they were written before the crash.
    pub(super) fn new(suspects: Vec<Suspect>) -> Self {
        let accuse = |suspect: Suspect| {
            let is_indivisible = suspect.positions_first >= suspect.positions_last;
            if suspect.alone && is_indivisible {
                return Suspect { interruptions: suspect.interruptions + 1, alone: false, ..suspect };
            }
            suspect
        };
        Self(suspects.into_iter().map(accuse).collect())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Suspect> {
        self.0.iter()
    }

    /// Whether the record belongs to a suspect.
    pub(super) fn contains(&self, record: &PendingRecord) -> bool {
        self.0.iter().any(|suspect| holds(suspect, record))
    }

    /// Look at the front of a lane whose next batch holds at most `limit` records, or more if it `may_grow`. What is found
    /// to run is taken off the list.
    pub(super) fn examine(&mut self, lane: &Lane, limit: usize, may_grow: bool) -> Finding {
        if self.0.is_empty() {
            return Finding::Clear { count: limit };
        }
        let front = lane.pending.front();
        let Some(index) = self.0.iter().position(|suspect| front.is_some_and(|front| holds(suspect, front))) else {
            let count = lane.pending.iter().take(limit).take_while(|record| !self.contains(record)).count();
            return Finding::Clear { count };
        };
        let suspect = self.0[index];
        if may_grow && lane.read_to <= suspect.positions_last {
            return Finding::Wait;
        }
        if suspect.interruptions >= INTERRUPTIONS_MAX {
            self.0.swap_remove(index);
            return Finding::Condemn { interruptions: suspect.interruptions };
        }
        let whole = lane.pending.iter().take_while(|record| holds(&suspect, record)).count();
        if suspect.alone && whole > 1 {
            self.halve(index, lane.pending[whole / 2].position);
            return self.examine(lane, limit, may_grow);
        }
        let count = whole.min(limit);
        self.0[index].positions_first = lane.pending[count - 1].position + 1;
        if self.0[index].positions_first > suspect.positions_last {
            self.0.swap_remove(index);
        }
        Finding::Alone { count, interruptions: suspect.interruptions }
    }

    /// Look at the final invoke of a window, which is next to run.
    pub(super) fn examine_final(&mut self) -> Finding {
        let Some(index) = self.0.iter().position(is_final) else { return Finding::Clear { count: 0 } };
        let interruptions = self.0.swap_remove(index).interruptions;
        if interruptions >= INTERRUPTIONS_MAX {
            return Finding::Condemn { interruptions };
        }
        Finding::Alone { count: 0, interruptions }
    }

    fn halve(&mut self, index: usize, right_first: u64) {
        let whole = self.0[index];
        self.0[index] = Suspect { positions_last: right_first - 1, alone: false, ..whole };
        self.0.push(Suspect { positions_first: right_first, alone: false, ..whole });
    }

    /// Forget those that are done: what lies below `low`, and a final invoke when there is no window.
    pub(super) fn forget_done(&mut self, low: u64, has_window: bool) {
        self.0.retain(|suspect| if is_final(suspect) { has_window } else { suspect.positions_last >= low });
    }

    /// Forget what the log, which ends at `end`, does not hold: the power may have taken the newest records, and nobody may wait for them.
    pub(super) fn forget_lost(&mut self, end: u64) {
        self.0.retain(|suspect| is_final(suspect) || suspect.positions_first < end);
        for suspect in self.0.iter_mut().filter(|suspect| !is_final(suspect)) {
            suspect.positions_last = suspect.positions_last.min(end - 1);
        }
    }
}

/// The suspect that a batch, cut but not yet run alone to an end, stands for.
pub(super) fn of_batch(lane: &Lane, index: u8, lanes: u8, batch: &Batch) -> Option<Suspect> {
    let (positions_first, positions_last) = match batch.len.checked_sub(1) {
        Some(last) => (lane.pending.front()?.position, lane.pending.get(last)?.position),
        None => (1, 0),
    };
    let interruptions = batch.interruptions;
    Some(Suspect { positions_first, positions_last, lane: index, lanes, interruptions, alone: false })
}

/// The final invoke of a window has no records.
fn is_final(suspect: &Suspect) -> bool {
    suspect.positions_first > suspect.positions_last
}

fn holds(suspect: &Suspect, record: &PendingRecord) -> bool {
    (suspect.positions_first..=suspect.positions_last).contains(&record.position)
        && record.key_hash % u32::from(suspect.lanes.max(1)) == u32::from(suspect.lane)
}
