//! Child executions of distributed Maps.
//!
//! A Standard child begins in the commit of its parent's step, and ends in that of another one. An Express child runs in memory: what its parent
//! has not been told of is begun anew after a crash.

use forebay_core::workflow::definition::MachineType;
use forebay_core::workflow::machine::{Child, Data, ErrorDetails, Fact, FrameId, Outcome, RunKey};

use crate::api::map_run::{MapResults, MapResultsPage};
use crate::api::workflow::Status;
use crate::base::error::EngineError;
use crate::commit::done::Done;
use crate::commit::rows::damaged;
use crate::store::port::Table;
use crate::workflows::express::InMemory;
use crate::workflows::outside::Brings;
use crate::workflows::requests::{check_limit, described, BYTES_MAX};
use crate::workflows::row::{ChildOf, ExecutionRow, RunId};
use crate::workflows::{map_children, redrive, Happened, Run, Step, WorkflowRoom};

/// Begin children of a Map's run.
pub(super) fn spawn(room: &mut WorkflowRoom<'_>, id: RunId, key: RunKey, arn: &str, children: &[Child]) {
    let known = room.workflows.runs.get(&id).and_then(|run| run.map_runs.get(&key.frame()));
    let number = match known.filter(|(known, _)| known == arn) {
        Some((_, number)) => *number,
        None => map_children::number_of(room, id, arn),
    };
    let Some(run) = room.workflows.runs.get_mut(&id) else { return };
    run.map_runs.insert(key.frame(), (arn.to_owned(), number));
    for child in children {
        begin_child(room, id, key, number, child, false);
    }
}

fn begin_child(room: &mut WorkflowRoom<'_>, parent: RunId, key: RunKey, number: u64, child: &Child, is_again: bool) {
    let id = RunId { machine: number, number: u64::from(child.index) };
    let now_ms = room.below.ctx.now.wall_ms;
    let Some(run) = room.workflows.runs.get(&parent) else { return };
    let machine = run.row.child.map(|_| run.row.machine(parent));
    let child_of = ChildOf { run: parent, key, index: child.index, machine };
    // A child of one in memory is in memory, too.
    let is_in_memory = child.machine_type == MachineType::Express || run.memory.is_some();
    let may_go_on = !is_in_memory && run.execution.redrive_count() > 0;
    let input = match redriven(room, id, child, may_go_on) {
        Ok(Some(input)) => input,
        Ok(None) => return,
        Err(EngineError::Store(error)) => return room.below.ctx.fail(error),
        Err(error) => {
            let details = ErrorDetails::new("States.Runtime", Some(error.to_string()));
            return tell_parent(room, id, child_of, Outcome::Failed(details));
        }
    };
    let Some(run) = room.workflows.runs.get(&parent) else { return };
    let row = ExecutionRow {
        name: child.index.to_string(),
        started_ms: now_ms,
        stopped_ms: None,
        input: input.text().clone(),
        parent: None,
        child: Some(child_of),
        redrive_count: 0,
        redriven_ms: None,
        events: 0,
        map_runs: Vec::new(),
        ..run.row.clone()
    };
    let prefix = format!("{:x}.{:x}", id.machine, id.number).into();
    let child = Child { input: Some(input), ..child.clone() };
    let execution = run.execution.child(run.machine.definition(), key.frame(), &child, prefix, now_ms);
    let Some(execution) = execution else { return };
    let (machine, memory) = (run.machine.clone(), is_in_memory.then(|| InMemory::of_child(is_again)));
    let (calls, map_runs, readings, durables, held) = Default::default();
    let began = Run { machine, row, execution, due_ms: None, calls, map_runs, readings, durables, held, memory };
    room.workflows.insert_run(id, began);
    if is_in_memory {
        room.workflows.express.one_more();
        // What has not begun durably must not run: its parent's step may be taken back.
        if let Some(step) = room.workflows.unsaved.by_run.get_mut(&parent).filter(|_| !is_again) {
            step.begun.push(id);
            return;
        }
    } else {
        room.workflows.unsaved.by_run.insert(id, Step::default());
    }
    // Its turn comes after that of its parent, which may have many.
    room.workflows.happened(id, Fact::Start);
}

/// Let a child go on from where it failed, or give the input that it begins with; `None`: it goes on.
fn redriven(
    room: &mut WorkflowRoom<'_>,
    id: RunId,
    child: &Child,
    may_go_on: bool,
) -> Result<Option<Data>, EngineError> {
    if may_go_on && redrive::child_redriven(room, id)? {
        return Ok(None);
    }
    if let Some(input) = &child.input {
        return Ok(Some(input.clone()));
    }
    let row = room.below.ctx.row(Table::Execution, &id.bytes())?;
    let Some(row) = row else {
        let cause = "it ended more than 90 days ago: nobody has its input any more".to_owned();
        return Err(EngineError::NotFound(cause));
    };
    let row: ExecutionRow = serde_json::from_slice(&row).map_err(|_| damaged("an execution's row"))?;
    Data::parse(row.input.as_str()).map(Some).map_err(|_| damaged("an execution's input").into())
}

/// Stop the children of a run that is given up.
pub(super) fn abort_children(room: &mut WorkflowRoom<'_>, id: RunId, frame: FrameId) {
    // A redrive finds its children by the number.
    let given_up = room.workflows.runs.get(&id).and_then(|run| run.map_runs.get(&frame));
    let Some(&(_, number)) = given_up else { return };
    let of = |index| RunId { machine: number, number: index };
    let children: Vec<RunId> = room.workflows.runs.range(of(0)..=of(u64::MAX)).map(|(id, _)| *id).collect();
    for child in children {
        room.workflows.happened(child, Fact::Stop(ErrorDetails::default()));
    }
}

/// Tell a parent the end of its child, unless it has given that up. What ended in memory is told once.
pub(super) fn tell_parent(room: &mut WorkflowRoom<'_>, id: RunId, child: ChildOf, outcome: Outcome) {
    let parent = room.workflows.runs.get(&child.run);
    let map_run = parent.and_then(|run| run.map_runs.get(&child.key.frame()));
    if map_run.is_some_and(|(_, number)| *number == id.machine) {
        let is_kept = room.workflows.is_in_memory(id);
        // A writer has results out of the children's rows, and a redrive the inputs of those that did not succeed.
        let is_asked_for = |run: &&Run| run.machine.program.writes_results || run.row.status != Status::Succeeded;
        let ended = room.workflows.runs.get(&id).filter(|_| is_kept).filter(is_asked_for);
        let brings = ended.map(|run| Brings::Child(id, Box::new(run.row.clone())));
        let fact = Fact::ChildEnded(child.key, child.index, outcome);
        room.workflows.inbox.push_back(Happened { run: child.run, fact, is_kept, brings });
    }
}

/// After a restart, begin the children anew that ran in memory.
pub(super) fn begin_children_anew(room: &mut WorkflowRoom<'_>) {
    for parent in std::mem::take(&mut room.workflows.childless) {
        let Some(run) = room.workflows.runs.get(&parent) else { continue };
        for (key, children) in run.execution.open_children(run.machine.clone().definition()) {
            let number = room.workflows.runs.get(&parent).and_then(|run| run.map_runs.get(&key.frame()));
            let Some(number) = number.map(|(_, number)| *number) else { continue };
            for child in &children {
                let id = RunId { machine: number, number: u64::from(child.index) };
                if !room.workflows.runs.contains_key(&id) {
                    begin_child(room, parent, key, number, child, true);
                }
            }
        }
    }
}

/// Give the results of a Map's run, for whoever writes them.
pub(super) fn map_run_results(room: &mut WorkflowRoom<'_>, asked: &MapResults) -> Result<Done, EngineError> {
    check_limit(asked.limit)?;
    let first = asked.after.map_or(0, |after| after + 1);
    let (mut children, mut next, mut bytes) = (Vec::new(), None, 0);
    for number in first.. {
        if children.len() >= asked.limit || bytes >= BYTES_MAX {
            next = number.checked_sub(1);
            break;
        }
        let id = RunId { machine: asked.map_run, number };
        let Some(row) = room.below.ctx.row(Table::Execution, &id.bytes())? else {
            let count = children_of(room, asked.map_run);
            if number < count {
                let text = format!("child {number} of {count} of the Map's run {} has left no result", asked.map_run);
                return Err(EngineError::NotFound(text));
            }
            break;
        };
        bytes += row.len();
        let row: ExecutionRow = serde_json::from_slice(&row).map_err(|_| damaged("an execution's row"))?;
        let of = row.machine(id);
        let machine = room.workflows.revisions.range((of, 0)..=(of, u32::MAX)).next_back();
        let Some((_, machine)) = machine else { break };
        children.push(described(room.below.ctx, &machine.row, id, row));
    }
    Ok(Done::at_once(MapResultsPage { children, next }))
}

/// How many children a run that is under way has begun.
fn children_of(room: &WorkflowRoom<'_>, number: u64) -> u64 {
    let of_run = |run: &Run| {
        let (frame, _) = run.map_runs.iter().find(|(_, (_, of))| *of == number)?;
        run.execution.children_begun(*frame)
    };
    room.workflows.runs.values().find_map(of_run).unwrap_or(0)
}
