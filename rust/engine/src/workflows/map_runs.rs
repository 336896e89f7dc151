//! Runs of distributed Maps, as they are asked for.

use std::any::Any;
use std::ops::ControlFlow;
use std::sync::Arc;

use forebay_core::workflow::machine::{Batched, Counts, MapRun};
use serde::Deserialize;

use crate::api::map_run::{self as api, MapRunNamed, MapRuns};
use crate::api::workflow::ExecutionNamed;
use crate::base::error::{EngineError, Reply, Waiter};
use crate::base::ids::RoomId;
use crate::commit::done::{json, Done};
use crate::commit::read_jobs::ReadJob;
use crate::commit::rows::damaged;
use crate::ctx::Ctx;
use crate::store::port::{Found, Read, StoreError, Table};
use crate::workflows::participant::{WorkflowParticipant, ROOM};
use crate::workflows::row::{MachineRow, RunId};
use crate::workflows::{old, Machine, WorkflowRoom};

/// Rows of one read, and reads of a slice: then others have their turn.
const ROWS: usize = 64;
const READS: usize = 16;

/// Looks through a machine's executions, the latest first, for the one that had a run.
pub(super) struct RunSearch {
    machine: Arc<Machine>,
    arn: String,
    after: Option<Vec<u8>>,
    reads: usize,
    /// `None`: it has not come to the end.
    result: Option<Result<Option<FoundRun>, StoreError>>,
    waiter: Option<Waiter>,
}

/// A run, and the execution that it is of.
struct FoundRun {
    id: RunId,
    name: String,
    run: MapRun,
}

/// As much of an execution's row as is looked at.
#[derive(Deserialize)]
struct RunsRow {
    name: String,
    #[serde(default)]
    map_runs: Vec<MapRun>,
}

impl ReadJob for RunSearch {
    fn room(&self) -> RoomId {
        ROOM
    }

    fn answers(&mut self, waiter: Waiter) {
        self.waiter = Some(waiter);
    }

    fn next(&mut self) -> Option<Read> {
        if self.result.is_some() || self.reads == READS {
            return None;
        }
        self.reads += 1;
        let prefix = self.machine.row.id.to_be_bytes().to_vec();
        Some(Read::Rows { table: Table::Execution, prefix, after: self.after.clone(), limit: ROWS })
    }

    fn found(&mut self, found: Result<Found, StoreError>) {
        self.result = match found.and_then(Found::rows).and_then(|rows| self.look_at(&rows)) {
            Ok(ControlFlow::Continue(())) => None,
            Ok(ControlFlow::Break(found)) => Some(Ok(found)),
            Err(error) => Some(Err(error)),
        };
    }
}

impl RunSearch {
    /// It ends with the run, or where there are no more rows.
    fn look_at(&mut self, rows: &[(Vec<u8>, Vec<u8>)]) -> Result<ControlFlow<Option<FoundRun>>, StoreError> {
        let Some((last, _)) = rows.last() else { return Ok(ControlFlow::Break(None)) };
        self.after = Some(last.clone());
        for (key, value) in rows {
            let row: RunsRow = serde_json::from_slice(value).map_err(|_| damaged("an execution's row"))?;
            if let Some(run) = row.map_runs.into_iter().find(|run| run.arn == self.arn) {
                let id = RunId::parse(key).ok_or_else(|| damaged("an execution's key"))?;
                return Ok(ControlFlow::Break(Some(FoundRun { id, name: row.name, run })));
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// List the runs of an execution's distributed Maps, in their order. What is not durable yet may be taken back.
pub(super) fn map_run_list(room: &mut WorkflowRoom<'_>, asked: &ExecutionNamed) -> Result<Done, EngineError> {
    let (id, row) = room.found(&asked.workflow, &asked.name)?;
    let machine = room.workflows.machine(&asked.workflow)?.row.clone();
    let runs =
        runs_of(room, id, row.map_runs).into_iter().map(|run| shown(room.below.ctx, &machine, id, &row.name, run));
    Ok(Done::at_once(MapRuns { map_runs: runs.collect() }))
}

/// Describe a run by its ARN: `arn:aws:states:REGION:ACCOUNT:mapRun:MACHINE/LABEL:ID`. One whose execution is over is looked for by the reader:
/// rows have inputs and outputs, which is more than may be read under the engine's lock.
pub(super) fn map_run_describe(room: &mut WorkflowRoom<'_>, asked: MapRunNamed) -> Result<Done, EngineError> {
    let MapRunNamed { arn } = asked;
    let name = arn.split_once(":mapRun:").and_then(|(_, rest)| rest.split_once('/')).map(|(name, _)| name);
    let machine = name.and_then(|name| room.workflows.machine(name).ok()).ok_or_else(|| unknown(&arn))?.clone();
    let of = |number| RunId { machine: machine.row.id, number };
    let running = room.workflows.runs.range(of(0)..=of(u64::MAX)).find_map(|(id, _)| {
        let run = room.workflows.durable_run(*id)?;
        let found = run.execution.map_run(&arn)?;
        Some((*id, run.row.name.clone(), found))
    });
    if let Some((id, name, run)) = running {
        return Ok(Done::at_once(shown(room.below.ctx, &machine.row, id, &name, run)));
    }
    let search = RunSearch { machine, arn, after: None, reads: 0, result: None, waiter: None };
    Ok(Done::WhenRead(Box::new(search)))
}

/// The reader has looked through a slice of rows: for a run, or for what is old.
pub(super) fn read_done(part: &mut WorkflowParticipant<'_>, job: Box<dyn Any>) {
    let mut search = match job.downcast::<RunSearch>() {
        Ok(search) => search,
        Err(job) => return old::found_old(part, job),
    };
    let Some(result) = search.result.take() else {
        search.reads = 0;
        return part.ctx.commit.reads.push_back(search);
    };
    let Some(waiter) = search.waiter else { return };
    let answer = match result {
        Ok(Some(FoundRun { id, name, run })) => Ok(json(shown(part.ctx, &search.machine.row, id, &name, run))),
        Ok(None) => Err(unknown(&search.arn)),
        Err(error) => Err(error.into()),
    };
    part.ctx.answer(waiter, answer.map(Reply::Json));
}

/// The app stopped before the reader had come to the end.
pub(super) fn read_abandoned(part: &mut WorkflowParticipant<'_>, job: Box<dyn Any>) {
    if let Some(waiter) = job.downcast::<RunSearch>().ok().and_then(|search| search.waiter) {
        let text = "the app stopped before it had looked up the Map's run";
        part.ctx.answer(waiter, Err(EngineError::Closed(text.into())));
    }
}

fn unknown(arn: &str) -> EngineError {
    EngineError::NotFound(format!("Resource not found: '{arn}'"))
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
