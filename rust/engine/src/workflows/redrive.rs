//! Executions that failed, and go on from where they failed.

use std::collections::BTreeMap;

use forebay_core::workflow::machine::{Ended, ErrorDetails, Execution, Fact, FrameId, NotRedrivable, Outcome};
use serde::{Deserialize, Serialize};

use crate::api::workflow::{ExecutionNamed, Kind, Status};
use crate::base::error::{EngineError, Waiter};
use crate::commit::done::json;
use crate::commit::rows::damaged;
use crate::store::port::Table;
use crate::workflows::outside::Reading;
use crate::workflows::requests::{described, TYPE_NOT_SUPPORTED};
use crate::workflows::row::{ExecutionRow, MachineRow, MapRuns, RunId};
use crate::workflows::{children, throttle, Happened, Program, Run, Step, WorkflowRoom};

/// [`ClosedRow`], as it is written.
#[derive(Serialize)]
pub(crate) struct ClosedRef<'a> {
    pub(crate) machine: &'a MachineRow,
    pub(crate) execution: &'a Execution,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) map_runs: &'a MapRuns,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) readings: &'a BTreeMap<FrameId, Reading>,
}

/// What an execution that failed needs to go on: its state, and its definition, which may have been changed since.
#[derive(Deserialize)]
struct ClosedRow {
    machine: MachineRow,
    execution: Execution,
    /// The runs of its distributed Maps: their children go on, too. Rows of earlier releases have none.
    #[serde(default)]
    map_runs: MapRuns,
    #[serde(default)]
    readings: BTreeMap<FrameId, Reading>,
}

impl ExecutionRow {
    /// Why a redrive of it is refused; `None`: it is not.
    pub(crate) fn not_redrivable(&self, now_ms: u64) -> Option<NotRedrivable> {
        let ended = self.stopped_ms.filter(|_| self.status != Status::Running).map(|stopped_ms| Ended {
            has_succeeded: self.status == Status::Succeeded,
            stopped_ms,
            events: self.events,
            redrives: self.redrive_count,
        });
        ended.map_or(Some(NotRedrivable::Running), |ended| ended.not_redrivable(now_ms))
    }
}

/// Let an execution that failed go on from where it failed; what succeeded stays.
pub(super) fn execution_redrive(room: &mut WorkflowRoom<'_>, asked: &ExecutionNamed, waiter: Waiter) {
    let redriven = room.below.ctx.check_room().and_then(|()| redriven(room, asked));
    room.answer_with_commit(waiter, redriven);
}

fn redriven(room: &mut WorkflowRoom<'_>, asked: &ExecutionNamed) -> Result<Vec<u8>, EngineError> {
    if asked.workflow.contains('/') {
        let text = "Execution Not Redrivable: a child of a distributed Map goes on with a redrive of the execution that began it";
        return Err(EngineError::Conflict(text.into()));
    }
    if room.workflows.machine(&asked.workflow)?.row.kind == Kind::Express {
        return Err(EngineError::Invalid(TYPE_NOT_SUPPORTED.into()));
    }
    let (id, row) = room.found(&asked.workflow, &asked.name)?;
    let arn = room.below.ctx.execution_arn(&asked.workflow, &asked.name);
    let refused =
        |why: NotRedrivable| EngineError::Conflict(format!("Execution Not Redrivable: '{arn}' {}", why.what()));
    let now_ms = room.below.ctx.now.wall_ms;
    let is_running = room.workflows.runs.contains_key(&id);
    let why = if is_running { Some(NotRedrivable::Running) } else { row.not_redrivable(now_ms) };
    if let Some(why) = why {
        return Err(refused(why));
    }
    let closed = room.below.ctx.row(Table::ExecutionClosed, &id.bytes())?;
    let closed = closed.ok_or_else(|| refused(NotRedrivable::Period))?;
    let closed: ClosedRow = serde_json::from_slice(&closed).map_err(|_| damaged("what an execution left"))?;
    // Rows of earlier releases do not say how many events there are.
    if let Some(why) = closed.execution.not_redrivable(now_ms) {
        return Err(refused(why));
    }
    throttle::take_start(room, Kind::Standard)?;
    take_back(room, id, row, closed)?;
    let Ok(()) = room.bring(id, Fact::Redrive) else {
        room.workflows.remove_run(id);
        room.workflows.unsaved.by_run.remove(&id);
        return Err(refused(NotRedrivable::Running));
    };
    let Some(run) = room.workflows.runs.get_mut(&id) else {
        return Err(damaged("an execution that goes on").into());
    };
    // The turn may not have been made yet.
    run.row.redrive_count += 1;
    run.row.redriven_ms = Some(room.below.ctx.now.wall_ms);
    Ok(json(described(room.below.ctx, &run.machine.row, id, run.row.clone())))
}

/// Let a child of a redriven Map go on from where it failed. `false`: there is none to go on, and it begins.
pub(super) fn child_redriven(room: &mut WorkflowRoom<'_>, id: RunId) -> Result<bool, EngineError> {
    let ctx = &mut *room.below.ctx;
    let Some(closed) = ctx.row(Table::ExecutionClosed, &id.bytes())? else { return Ok(false) };
    let row = ctx.row(Table::Execution, &id.bytes())?.ok_or_else(|| damaged("an execution's row"))?;
    let mut row: ExecutionRow = serde_json::from_slice(&row).map_err(|_| damaged("an execution's row"))?;
    let closed: ClosedRow = serde_json::from_slice(&closed).map_err(|_| damaged("what an execution left"))?;
    if let Some(why) = closed.execution.not_redrivable(ctx.now.wall_ms) {
        if let Some(child) = row.child {
            let cause = format!("it {}", why.what());
            let outcome = Outcome::Failed(ErrorDetails::new("States.NotRedrivable", Some(cause)));
            children::tell_parent(room, id, child, outcome);
        }
        return Ok(true);
    }
    row.redrive_count += 1;
    row.redriven_ms = Some(ctx.now.wall_ms);
    take_back(room, id, row, closed)?;
    // Its turn comes after that of its parent, which may have many.
    room.workflows.inbox.push_back(Happened { run: id, fact: Fact::Redrive, is_kept: false, brings: None });
    Ok(true)
}

/// Take an execution into memory again, with the definition that it began with.
fn take_back(room: &mut WorkflowRoom<'_>, id: RunId, row: ExecutionRow, closed: ClosedRow) -> Result<(), EngineError> {
    let ClosedRow { machine, execution, map_runs, readings } = closed;
    let revision = (row.machine(id), machine.revision);
    if !room.workflows.revisions.contains_key(&revision) {
        let (key, value) = (machine.key(), serde_json::to_vec(&machine).unwrap_or_default());
        // Twenty others have come after it: nobody else can start one with it.
        let program = Program::accepted(&machine.definition)?;
        room.participant().take_machine(machine, program);
        room.below.ctx.commit.pending.set(Table::Machine, key, value);
    }
    let machine = room.workflows.revisions.get(&revision).cloned();
    let machine = machine.ok_or_else(|| damaged("the revision of an execution"))?;
    let row =
        ExecutionRow { status: Status::Running, stopped_ms: None, error: None, cause: None, operation: None, ..row };
    let (calls, durables, held) = Default::default();
    let run = Run { machine, row, execution, due_ms: None, calls, map_runs, readings, durables, held, memory: None };
    room.workflows.insert_run(id, run);
    room.workflows.unsaved.by_run.insert(id, Step { is_redriven: true, ..Step::default() });
    Ok(())
}
