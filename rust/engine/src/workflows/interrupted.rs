//! Calls that ran when the last process died: the attempts file holds a slot of each until it is called again, or nobody waits for it.

use forebay_core::workflow::machine::TaskId;

use crate::dispatch::attempt_journal::{InFlight, InFlightKind, JournalSlot};
use crate::workflows::participant::WorkflowParticipant;
use crate::workflows::row::RunId;

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
        None => part.workflows.express.begins_anew(run) || child_begins_anew(part, run),
    };
    if is_open {
        let (crashes, slots) = part.workflows.interrupted.entry((run, task)).or_default();
        *crashes = (*crashes).max(record.interruptions + u32::from(record.alone));
        slots.push(slot);
    }
    is_open
}

/// Whether a child of a distributed Map is begun anew when the app starts: one that runs in memory.
fn child_begins_anew(part: &WorkflowParticipant<'_>, child: RunId) -> bool {
    let parents = part.workflows.childless.iter().filter_map(|parent| part.workflows.runs.get(parent));
    let mut open = parents.flat_map(|run| run.map_runs.iter().map(move |(frame, (_, number))| (run, *frame, *number)));
    open.any(|(run, frame, number)| number == child.machine && run.execution.has_open_child(frame, child.number))
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
