//! Where a machine begins anew or ends: at a barrier between two numbers of lanes, after a seek, at the end of the shard.

use super::lanes::Lane;
use super::machine::ShardMachine;
use super::suspects::Suspects;

impl ShardMachine {
    /// Where lanes of another number meet: nobody has read past it.
    pub(super) fn raise_barrier(&mut self) {
        let is_other = self.lanes.len() != usize::from(self.settings.parallelization_factor);
        self.intake.barrier = is_other.then(|| self.next());
    }

    /// Take up the new number of lanes once all have met.
    pub(super) fn pass_barrier(&mut self) {
        let Some(barrier) = self.intake.barrier else { return };
        let have_met = self.lanes.iter().all(|lane| lane.is_idle() && lane.read_to >= barrier);
        if have_met && self.window.is_none() {
            self.begin_at(barrier);
        }
    }

    /// Go on where the seek says, once nothing is in flight.
    pub(super) fn restart_at_seek(&mut self) {
        if self.in_flight > 0 {
            return;
        }
        if let Some(position) = self.seek.take() {
            self.window = None;
            self.ended = false;
            self.suspects = Suspects::new(self.suspects_open());
            self.begin_at(position);
        }
    }

    /// All lanes, as many as the settings say, begin at `position`.
    fn begin_at(&mut self, position: u64) {
        self.lanes = (0..self.settings.parallelization_factor).map(|_| Lane::starting_at(position)).collect();
        self.mark_lent();
        self.intake.barrier = None;
        self.intake.configure(&self.settings, self.lanes.len());
        self.progress = true;
    }

    /// A closed shard has ended when everything in it is done.
    pub(super) fn end_shard(&mut self) {
        let Some(end) = self.closed.filter(|_| !self.ended && self.seek.is_none()) else { return };
        if self.window.is_none() && self.lanes.iter().all(|lane| lane.is_idle() && lane.read_to >= end) {
            self.ended = true;
            self.progress = true;
            self.suspects = Suspects::default();
        }
    }
}
