//! Runs of distributed Maps, as they are asked for.

use forebay_core::workflow::machine::{Batched, Counts, MapRun};
use serde::Deserialize;

use crate::api::map_run::{self as api, MapRunNamed, MapRuns};
use crate::api::workflow::ExecutionNamed;
use crate::base::error::EngineError;
use crate::commit::done::Done;
use crate::commit::rows::damaged;
use crate::ctx::Ctx;
use crate::store::port::Table;
use crate::workflows::map_children::{named_run, unknown};
use crate::workflows::row::{ChildOf, MachineRow, RunId};
use crate::workflows::WorkflowRoom;

/// As much of an execution's row as is looked at.
#[derive(Deserialize)]
struct RunsRow {
    name: String,
    #[serde(default)]
    child: Option<ChildOf>,
    #[serde(default)]
    map_runs: Vec<MapRun>,
}

/// List the runs of an execution's distributed Maps, in their order. What is not durable yet may be taken back.
pub(super) fn map_run_list(room: &mut WorkflowRoom<'_>, asked: &ExecutionNamed) -> Result<Done, EngineError> {
    let (id, row) = room.found(&asked.workflow, &asked.name)?;
    let machine = room.workflows.machine(&asked.workflow)?.row.clone();
    let runs =
        runs_of(room, id, row.map_runs).into_iter().map(|run| shown(room.below.ctx, &machine, id, &row.name, run));
    Ok(Done::at_once(MapRuns { map_runs: runs.collect() }))
}

/// Describe a run by its ARN: `arn:aws:states:REGION:ACCOUNT:mapRun:MACHINE/LABEL:ID`. One in a child of another Map is not told of.
pub(super) fn map_run_describe(room: &mut WorkflowRoom<'_>, asked: &MapRunNamed) -> Result<Done, EngineError> {
    let arn = &asked.arn;
    let name = arn.split_once(":mapRun:").map_or("", |(_, name)| name);
    let named = match named_run(room, name) {
        Err(EngineError::NotFound(_)) => None,
        named => named?.filter(|run| run.arn == *arn),
    };
    let (run, id) = named.and_then(|run| run.of.map(|id| (run, id))).ok_or_else(|| unknown(arn))?;
    let row = match room.workflows.durable_run(id) {
        Some(run) => {
            let (name, child) = (run.row.name.clone(), run.row.child);
            Some(RunsRow { name, child, map_runs: run.execution.map_run(arn).into_iter().collect() })
        }
        None => room
            .below
            .ctx
            .row(Table::Execution, &id.bytes())?
            .map(|row| serde_json::from_slice(&row).map_err(|_| damaged("an execution's row")))
            .transpose()?,
    };
    let row = row.filter(|row| row.child.is_none()).ok_or_else(|| unknown(arn))?;
    let told = row.map_runs.into_iter().find(|one| one.arn == *arn).ok_or_else(|| unknown(arn))?;
    Ok(Done::at_once(shown(room.below.ctx, &run.machine.row, id, &row.name, told)))
}

fn runs_of(room: &WorkflowRoom<'_>, id: RunId, ended: Vec<MapRun>) -> Vec<MapRun> {
    room.workflows.durable_run(id).map_or(ended, |run| run.execution.map_runs())
}

fn shown(ctx: &Ctx, machine: &MachineRow, id: RunId, name: &str, run: MapRun) -> api::MapRun {
    // A child has one item, unless they are put together.
    let one_each = Batched { pending: run.pending, running: run.running, counts: run.counts };
    let batched = run.batched.unwrap_or(one_each);
    api::MapRun {
        execution_arn: ctx.run_arn(machine, id, name),
        workflow_arn: ctx.workflow_arn(&machine.name),
        arn: run.arn,
        status: format!("{:?}", run.status).to_uppercase(),
        started_ms: run.started_ms,
        stopped_ms: run.stopped_ms,
        max_concurrency: run.concurrency,
        tolerated_failure_count: run.tolerated.count.unwrap_or(0),
        tolerated_failure_percentage: run.tolerated.percentage.unwrap_or(0.0),
        children: counts(batched.pending, run.running, run.counts),
        items: counts(run.pending, batched.running, batched.counts),
        redrive_count: run.redrive_count,
    }
}

fn counts(pending: u64, running: u64, ended: Counts) -> api::MapRunCounts {
    let Counts { succeeded, failed, timed_out, aborted, .. } = ended;
    api::MapRunCounts { pending, running, succeeded, failed, timed_out, aborted }
}
