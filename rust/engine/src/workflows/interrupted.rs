//! Calls that ran when the last process died: the attempts file holds a slot of each until it is called again, or nobody waits for it.

use std::collections::{BTreeMap, BTreeSet};

use forebay_core::workflow::machine::{FrameId, TaskId};

use crate::dispatch::attempt_journal::{InFlight, InFlightKind, JournalSlot};
use crate::workflows::participant::WorkflowParticipant;
use crate::workflows::row::RunId;
use crate::workflows::Workflows;

/// Executions in memory that begin anew when the app starts. There may be very many, and as many records are looked up among them.
pub(super) struct Anew {
    starts: BTreeSet<RunId>,
    /// Runs of distributed Maps by their numbers, which are the machines of their children.
    map_runs: BTreeMap<u64, (RunId, FrameId)>,
}

impl Anew {
    fn of(workflows: &Workflows) -> Self {
        let parents = workflows.childless.iter().filter_map(|id| workflows.runs.get(id).map(|run| (*id, run)));
        let map_runs = parents
            .flat_map(|(id, run)| run.map_runs.iter().map(move |(frame, (_, number))| (*number, (id, *frame))))
            .collect();
        Self { starts: workflows.express.begin_anew().collect(), map_runs }
    }

    fn has(&self, workflows: &Workflows, id: RunId) -> bool {
        let is_child = || {
            let (parent, frame) = self.map_runs.get(&id.machine)?;
            Some(workflows.runs.get(parent)?.execution.has_open_child(*frame, id.number))
        };
        self.starts.contains(&id) || is_child().unwrap_or(false)
    }
}

/// What the attempts file says of a call.
pub(super) fn slot_record(run: RunId, task: TaskId, crashes: u32, alone: bool) -> InFlight {
    InFlight {
        kind: InFlightKind::Task,
        mapping: run.machine,
        shard: 0,
        lane: 0,
        lanes: 1,
        first: run.number,
        last: task.0,
        attempt: 1,
        interruptions: crashes,
        alone,
    }
}

/// A call was running when the last process died. Says whether it is still open.
pub(super) fn take_over_call(part: &mut WorkflowParticipant<'_>, record: &InFlight, slot: JournalSlot) -> bool {
    if record.kind != InFlightKind::Task {
        return false;
    }
    let (run, task) = (RunId { machine: record.mapping, number: record.first }, TaskId(record.last));
    let is_open = match part.workflows.runs.get(&run) {
        Some(run) => run.calls.contains_key(&task),
        None => {
            let anew = part.workflows.anew.take().unwrap_or_else(|| Box::new(Anew::of(part.workflows)));
            let is_open = anew.has(part.workflows, run);
            part.workflows.anew = Some(anew);
            is_open
        }
    };
    if is_open {
        let (crashes, slots) = part.workflows.interrupted.entry((run, task)).or_default();
        *crashes = (*crashes).max(record.interruptions + u32::from(record.alone));
        slots.push(slot);
    }
    is_open
}

/// Give back what the attempts file holds of a call.
pub(super) fn release_slots(part: &mut WorkflowParticipant<'_>, run: RunId, task: TaskId) {
    let (_, slots) = part.workflows.interrupted.remove(&(run, task)).unwrap_or_default();
    for slot in slots {
        part.dispatch.journal.release(slot);
    }
}

/// Give back what it holds of an execution.
pub(super) fn release_slots_of(part: &mut WorkflowParticipant<'_>, run: RunId) {
    let of = |task| (run, TaskId(task));
    let held = part.workflows.interrupted.range(of(0)..=of(u64::MAX));
    for task in held.map(|((_, task), _)| *task).collect::<Vec<TaskId>>() {
        release_slots(part, run, task);
    }
}
