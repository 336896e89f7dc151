//! Where a machine begins anew or ends: at a barrier between two numbers of lanes, after a seek, at the end of the shard.

use super::lane::Lane;
use super::machine::ShardMachine;
use super::suspects::Suspects;

/// Where lanes of another number meet: nobody has read past it.
pub(super) fn raise_barrier(machine: &mut ShardMachine) {
    let is_other = machine.lanes.len() != usize::from(machine.settings.parallelization_factor);
    machine.intake.barrier = is_other.then(|| machine.next());
}

/// Take up the new number of lanes once all have met.
pub(super) fn pass_barrier(machine: &mut ShardMachine) {
    let Some(barrier) = machine.intake.barrier else { return };
    let have_met = machine.lanes.iter().all(|lane| lane.is_idle() && lane.read_to >= barrier);
    if have_met && machine.window.is_none() {
        begin_at(machine, barrier);
    }
}

/// Go on where the seek says, once nothing is in flight.
pub(super) fn restart_at_seek(machine: &mut ShardMachine) {
    if machine.in_flight > 0 {
        return;
    }
    if let Some(position) = machine.seek.take() {
        machine.window = None;
        machine.ended = false;
        machine.suspects = Suspects::new(machine.suspects_open());
        begin_at(machine, position);
    }
}

/// All lanes, as many as the settings say, begin at `position`.
fn begin_at(machine: &mut ShardMachine, position: u64) {
    machine.lanes = (0..machine.settings.parallelization_factor).map(|_| Lane::starting_at(position)).collect();
    machine.mark_lent();
    machine.intake.barrier = None;
    machine.intake.configure(&machine.settings, machine.lanes.len());
    machine.progress = true;
}

/// A closed shard has ended when everything in it is done.
pub(super) fn end_shard(machine: &mut ShardMachine) {
    let Some(end) = machine.closed.filter(|_| !machine.ended && machine.seek.is_none()) else { return };
    if machine.window.is_none() && machine.lanes.iter().all(|lane| lane.is_idle() && lane.read_to >= end) {
        machine.ended = true;
        machine.progress = true;
        machine.suspects = Suspects::default();
    }
}
