//! Lanes lent out: what is run again from outside of the machine has the lanes of its keys for itself, as their own batches have.

use super::lane::{Lane, Phase};
use super::machine::ShardMachine;
use crate::Now;

impl ShardMachine {
    /// Lend the lanes of these keys, told by their hashes, and no others any more: they begin nothing. What they have in flight ends
    /// first, and so does a suspect of a crash that is their next batch ([`Self::has_lent`]).
    pub fn lend(&mut self, keys: Vec<u32>, now: &Now) {
        self.lent = keys;
        self.mark_lent();
        self.advance(now);
    }

    /// Whether any lane is lent or to be lent.
    pub fn lends(&self) -> bool {
        !self.lent.is_empty()
    }

    /// Whether all lanes that are to be lent are. It stays so until others are to be lent.
    pub fn has_lent(&self) -> bool {
        !self.lanes.iter().any(|lane| lane.lent && (lane.is_in_flight() || lane.is_next_alone()))
    }

    /// Whether a batch in a lane that is to be lent is past its deadline: it may never end.
    pub fn lends_in_vain(&self) -> bool {
        let is_overdue = |lane: &Lane| lane.is_in_flight() && !lane.is_running();
        self.lanes.iter().any(|lane| lane.lent && is_overdue(lane))
    }

    /// Find the lanes of the lent keys, among as many as there are now.
    pub(super) fn mark_lent(&mut self) {
        let lanes = self.lanes.len();
        for lane in &mut self.lanes {
            lane.lent = false;
        }
        for &key in &self.lent {
            self.lanes[key as usize % lanes].lent = true;
        }
        for lane in self.lanes.iter_mut().filter(|lane| !lane.lent && matches!(lane.phase, Phase::Lent { .. })) {
            lane.phase = Phase::Free;
        }
    }

    /// Keep a lane for the borrower. What becomes too old meanwhile is given up in its time.
    pub(super) fn keep_lent(&mut self, index: usize, now: &Now) {
        let lane = &mut self.lanes[index];
        let oldest = self.settings.maximum_record_age_ms.zip(lane.pending.front());
        let wake_ns = oldest.map(|(age_ms, oldest)| oldest.expires_ns(age_ms, now));
        lane.phase = Phase::Lent { wake_ns };
    }
}
