//! Runs of distributed Maps, as they are asked for.

use forebay_core::workflow::machine::{Batched, MapRun};

use crate::api::map_run::{self as api, MapRunNamed, MapRuns};
use crate::api::workflow::ExecutionNamed;
use crate::base::error::EngineError;
use crate::commit::done::Done;
use crate::commit::rows::damaged;
use crate::store::port::Table;
use crate::workflows::row::{ExecutionRow, MachineRow, RunId};
use crate::workflows::WorkflowRoom;

/// Executions of a machine, the latest first, among which a run is looked for.
const SEARCHED_MAX: usize = 10_000;
/// Rows that are read at once.
const ROWS: usize = 256;

/// List the runs of an execution's distributed Maps, in their order.
pub(super) fn map_run_list(room: &mut WorkflowRoom<'_>, asked: &ExecutionNamed) -> Result<Done, EngineError> {
    let (id, row) = room.found(&asked.workflow, &asked.name)?;
    let machine = room.workflows.machine(&asked.workflow)?.row.clone();
    let runs = runs_of(room, id, row.map_runs).into_iter().map(|run| shown(room, &machine, id, &row.name, run));
    Ok(Done::at_once(MapRuns { map_runs: runs.collect() }))
}

/// Describe a run by its ARN: `arn:aws:states:REGION:ACCOUNT:mapRun:MACHINE/LABEL:ID`.
pub(super) fn map_run_describe(room: &mut WorkflowRoom<'_>, asked: &MapRunNamed) -> Result<Done, EngineError> {
    let unknown = || EngineError::NotFound(format!("Resource not found: '{}'", asked.arn));
    let name = asked.arn.split_once(":mapRun:").and_then(|(_, rest)| rest.split_once('/')).map(|(name, _)| name);
    let machine = room.workflows.machine(name.ok_or_else(unknown)?).map_err(|_| unknown())?.row.clone();
    let of = |number| RunId { machine: machine.id, number };
    let running = room.workflows.runs.range(of(0)..=of(u64::MAX)).find_map(|(id, run)| {
        let found = run.execution.map_runs().into_iter().find(|run| run.arn == asked.arn)?;
        Some((*id, run.row.name.clone(), found))
    });
    let found = match running {
        Some(found) => Some(found),
        None => find_ended(room, machine.id, &asked.arn)?,
    };
    let (id, name, run) = found.ok_or_else(unknown)?;
    Ok(Done::at_once(shown(room, &machine, id, &name, run)))
}

fn runs_of(room: &WorkflowRoom<'_>, id: RunId, ended: Vec<MapRun>) -> Vec<MapRun> {
    room.workflows.runs.get(&id).map_or(ended, |run| run.execution.map_runs())
}

fn find_ended(
    room: &mut WorkflowRoom<'_>,
    machine: u64,
    arn: &str,
) -> Result<Option<(RunId, String, MapRun)>, EngineError> {
    let mut after: Option<Vec<u8>> = None;
    for _ in 0..SEARCHED_MAX / ROWS {
        let (rows, _) = room.below.ctx.rows_after(Table::Execution, &machine.to_be_bytes(), after.as_deref(), ROWS)?;
        let Some((last, _)) = rows.last() else { return Ok(None) };
        after = Some(last.clone());
        for (key, value) in rows {
            let row: ExecutionRow = serde_json::from_slice(&value).map_err(|_| damaged("an execution's row"))?;
            if let Some(run) = row.map_runs.into_iter().find(|run| run.arn == arn) {
                let id = RunId::parse(&key).ok_or_else(|| damaged("an execution's key"))?;
                return Ok(Some((id, row.name, run)));
            }
        }
    }
    Ok(None)
}

fn shown(room: &WorkflowRoom<'_>, machine: &MachineRow, id: RunId, name: &str, run: MapRun) -> api::MapRun {
    // A child has one item, unless they are put together.
    let one_each = Batched { pending: run.pending, running: run.running, counts: run.counts };
    let batched = run.batched.unwrap_or(one_each);
    let items = api::MapRunItems {
        pending: run.pending,
        running: batched.running,
        succeeded: batched.counts.succeeded,
        failed: batched.counts.failed,
        timed_out: batched.counts.timed_out,
        aborted: batched.counts.aborted,
    };
    api::MapRun {
        execution_arn: room.below.ctx.run_arn(machine, id, name),
        workflow_arn: room.below.ctx.workflow_arn(&machine.name),
        arn: run.arn,
        status: format!("{:?}", run.status).to_uppercase(),
        started_ms: run.started_ms,
        stopped_ms: run.stopped_ms,
        max_concurrency: run.concurrency,
        tolerated_failure_count: run.tolerated.count.unwrap_or(0),
        tolerated_failure_percentage: run.tolerated.percentage.unwrap_or(0.0),
        pending: batched.pending,
        running: run.running,
        succeeded: run.counts.succeeded,
        failed: run.counts.failed,
        timed_out: run.counts.timed_out,
        aborted: run.counts.aborted,
        items,
        redrive_count: run.redrive_count,
    }
}
