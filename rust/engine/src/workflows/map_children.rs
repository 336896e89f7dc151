//! Children of distributed Maps by name: a run of a Map is named `WORKFLOW/LABEL:ID`, as in its ARN, and a child of it by its index.

use std::sync::Arc;

use forebay_core::workflow::machine::{Event, EventKind};

use crate::api::workflow::Execution;
use crate::base::error::EngineError;
use crate::commit::rows::{counted, damaged};
use crate::store::port::Table;
use crate::workflows::requests::described as described_row;
use crate::workflows::row::{name_key, ExecutionRow, MachineRow, RunId};
use crate::workflows::{Machine, WorkflowRoom};

/// A run that is asked for.
pub(super) struct NamedRun {
    pub(super) machine: Arc<Machine>,
    pub(super) arn: String,
    /// The first part of the numbers of its children.
    pub(super) number: u64,
    /// The execution that it is of.
    pub(super) of: Option<RunId>,
}

/// The name of a workflow, without the run of a Map that may stand behind it.
pub(super) fn workflow_of(name: &str) -> &str {
    name.split_once('/').map_or(name, |(workflow, _)| workflow)
}

/// Where the number of a run stands. It is among the names of the machine's executions, which have no `/`.
pub(super) fn run_key(machine: u64, run_arn: &str) -> Vec<u8> {
    let name = run_arn.find('/').map_or("", |at| &run_arn[at..]);
    name_key(machine, name)
}

/// The number of a run and the execution that it is of stand by its name. Rows of earlier releases have the number alone.
fn parse(value: &[u8]) -> Result<(u64, Option<RunId>), EngineError> {
    let (number, of) = value.split_at_checked(8).ok_or_else(|| damaged("the name of a Map's run"))?;
    Ok((counted(number, "the number of a Map's run")?, RunId::parse(of)))
}

/// The number of a run of an execution. A new one is found by its ARN from then on, also without children.
pub(super) fn number_of(room: &mut WorkflowRoom<'_>, id: RunId, run_arn: &str) -> u64 {
    let run = room.workflows.runs.get(&id).filter(|run| run.memory.is_none());
    let Some(machine) = run.map(|run| run.row.machine(id)) else {
        let new = || (room.below.ctx.new_mapping_id(), id);
        return room.workflows.express.map_runs.entry(run_arn.to_owned()).or_insert_with(new).0;
    };
    let key = run_key(machine, run_arn);
    let known = room.below.ctx.row(Table::ExecutionName, &key).map_err(EngineError::from);
    match known.and_then(|known| known.map(|known| parse(&known)).transpose()) {
        Ok(Some((number, _))) => return number,
        Err(EngineError::Store(error)) => room.below.ctx.fail(error),
        Ok(None) | Err(_) => {}
    }
    let number = room.below.ctx.new_mapping_id();
    let value = [number.to_be_bytes().as_slice(), &id.bytes()].concat();
    room.below.ctx.commit.pending.set(Table::ExecutionName, key, value);
    number
}

/// Let runs that have begun be found by their ARNs.
pub(super) fn name_begun(room: &mut WorkflowRoom<'_>, id: RunId, events: &[Event]) {
    for event in events {
        if let EventKind::MapRunStarted(arn) = &event.kind {
            number_of(room, id, arn);
        }
    }
}

/// Nothing is told of a run any more.
pub(super) fn forget(room: &mut WorkflowRoom<'_>, id: RunId, run_arn: &str) {
    let run = room.workflows.runs.get(&id).filter(|run| run.memory.is_none());
    if let Some(machine) = run.map(|run| run.row.machine(id)) {
        room.below.ctx.commit.pending.remove(Table::ExecutionName, run_key(machine, run_arn));
    } else {
        room.workflows.express.map_runs.remove(run_arn);
    }
}

/// The run that a name means; `None`: it is the name of a workflow.
pub(super) fn named_run(room: &mut WorkflowRoom<'_>, name: &str) -> Result<Option<NamedRun>, EngineError> {
    if !name.contains('/') {
        return Ok(None);
    }
    let arn = room.below.ctx.arn("states", "mapRun:", name);
    let machine = room.workflows.machine(workflow_of(name)).map_err(|_| unknown(&arn))?.clone();
    let known = room.below.ctx.row(Table::ExecutionName, &run_key(machine.row.id, &arn))?;
    let in_memory = room.workflows.express.map_runs.get(&arn).map(|(number, of)| (*number, Some(*of)));
    let known = known.map(|known| parse(&known)).transpose()?.or(in_memory);
    let (number, of) = known.ok_or_else(|| unknown(&arn))?;
    Ok(Some(NamedRun { machine, arn, number, of }))
}

pub(super) fn unknown(run_arn: &str) -> EngineError {
    EngineError::NotFound(format!("Resource not found: '{run_arn}'"))
}

/// A child by its name; `None`: the name is that of a workflow.
pub(super) fn found(
    room: &mut WorkflowRoom<'_>,
    workflow: &str,
    name: &str,
) -> Result<Option<(RunId, ExecutionRow)>, EngineError> {
    let Some(run) = named_run(room, workflow)? else { return Ok(None) };
    let arn = room.below.ctx.execution_arn(workflow, name);
    let unknown = || EngineError::NotFound(format!("Execution Does Not Exist: '{arn}'"));
    let id = RunId { machine: run.number, number: name.parse().map_err(|_| unknown())? };
    if let Some(row) = room.workflows.durable_row(id) {
        return Ok(Some((id, row)));
    }
    let row = room.below.ctx.row(Table::Execution, &id.bytes())?.ok_or_else(unknown)?;
    Ok(Some((id, serde_json::from_slice(&row).map_err(|_| damaged("an execution's row"))?)))
}

/// What is told of an execution of a workflow, or of a child of a run.
pub(super) fn described(
    room: &WorkflowRoom<'_>,
    workflow: &str,
    machine: &MachineRow,
    (id, row): (RunId, ExecutionRow),
) -> Execution {
    let told = described_row(room.below.ctx, machine, id, row);
    if workflow.contains('/') {
        let arn = room.below.ctx.execution_arn(workflow, &told.name);
        return Execution { workflow: workflow.to_owned(), arn, ..told };
    }
    told
}
