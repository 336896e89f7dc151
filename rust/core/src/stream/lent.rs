//! Lanes lent out: what is run again from outside of the machine has the lanes of its keys for itself, as their own batches have.

use super::lanes::Lane;
use super::machine::ShardMachine;
use crate::Now;

impl ShardMachine {
    /// Lend the lanes of these keys, told by their hashes, and no others any more: they begin nothing. Their batches in flight end
    /// first ([`Self::has_lent`]).
    pub fn lend(&mut self, keys: Vec<u32>, now: &Now) {
        self.lent = keys;
        self.mark_lent();
        self.advance(now);
    }

    /// Whether nothing of the lent lanes is in flight.
    pub fn has_lent(&self) -> bool {
        !self.lanes.iter().any(|lane| lane.lent && lane.is_in_flight())
    }

    /// Whether a batch in a lent lane is past its deadline: it may never end.
    pub fn lends_in_vain(&self) -> bool {
        let is_overdue = |lane: &Lane| lane.is_in_flight() && !lane.is_running();
        self.lanes.iter().any(|lane| lane.lent && is_overdue(lane))
    }

    /// Find the lanes of the lent keys, among as many as there are now.
    pub(super) fn mark_lent(&mut self) {
        self.lanes.iter_mut().for_each(|lane| lane.lent = false);
        let lanes = self.lanes.len();
        for &key in &self.lent {
            self.lanes[key as usize % lanes].lent = true;
        }
    }
}
