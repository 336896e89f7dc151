//! What a lane is doing, for people.

use super::lane::Phase;
use super::ShardMachine;

/// One lane at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneStatus {
    /// `idle`, `gathering`, `running`, `waiting`, or `lent` to what is run again.
    pub name: &'static str,
    /// First position of the batch that runs or is next to run.
    pub first: Option<u64>,
    /// Records read and not done.
    pub records: usize,
    /// Number of the attempt that runs or comes next, from 1; 0 without a batch.
    pub attempt: u32,
    /// When a back-off is over, mono ns.
    pub retry_at_ns: Option<u64>,
}

/// What a lane is doing; `None` beyond the lanes in force.
pub fn lane_status(machine: &ShardMachine, lane: usize) -> Option<LaneStatus> {
    let lane = machine.lanes.get(lane)?;
    let batch = lane.batches.front();
    let (name, retry_at_ns, running) = match lane.phase {
        Phase::Free => ("idle", None, false),
        Phase::Gathering { .. } => ("gathering", None, false),
        Phase::Waiting { until_ns, .. } => ("waiting", Some(until_ns), false),
        Phase::InFlight { .. } => ("running", None, true),
        Phase::Lent { .. } => ("lent", None, false),
    };
    Some(LaneStatus {
        name,
        first: lane.pending.front().map(|record| record.position),
        records: lane.pending.len(),
        attempt: batch.map_or(0, |batch| if running { batch.runs } else { batch.runs + 1 }),
        retry_at_ns,
    })
}

/// The lane of a record, and how it stands there: `done`, `running`, `retried` (waits for its next attempt), `waiting`, or
/// `unread`.
pub fn standing(machine: &ShardMachine, position: u64, key_hash: u32) -> (usize, &'static str) {
    let index = key_hash as usize % machine.lanes.len().max(1);
    let Some(lane) = machine.lanes.get(index).filter(|lane| position < lane.read_to) else { return (index, "unread") };
    let Ok(at) = lane.pending.binary_search_by_key(&position, |record| record.position) else {
        return (index, "done");
    };
    let in_batch = lane.batches.front().is_some_and(|batch| at < batch.len);
    let name = match lane.phase {
        Phase::InFlight { .. } if in_batch => "running",
        Phase::Waiting { .. } if in_batch => "retried",
        _ => "waiting",
    };
    (index, name)
}

/// Lanes that wait out a back-off.
pub fn lanes_waiting(machine: &ShardMachine) -> usize {
    machine.lanes.iter().filter(|lane| matches!(lane.phase, Phase::Waiting { .. })).count()
}
