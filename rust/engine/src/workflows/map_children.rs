//! Children of distributed Maps by name: a run of a Map is named `WORKFLOW/LABEL:ID`, as in its ARN, and a child of it by its index.

use std::sync::Arc;

use crate::api::workflow::Execution;
use crate::base::error::EngineError;
use crate::commit::rows::{counted, damaged};
use crate::store::port::Table;
use crate::workflows::requests::described as described_row;
use crate::workflows::row::{name_key, ExecutionRow, MachineRow, RunId};
use crate::workflows::{Machine, WorkflowRoom};

/// A run whose children are asked for.
pub(super) struct NamedRun {
    pub(super) machine: Arc<Machine>,
    /// The first part of the numbers of its children.
    pub(super) number: u64,
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

/// A new number for a run of an execution, which is found by its ARN from then on.
pub(super) fn new_number(room: &mut WorkflowRoom<'_>, id: RunId, run_arn: &str) -> u64 {
    let number = room.below.ctx.new_mapping_id();
    let run = room.workflows.runs.get(&id).filter(|run| run.memory.is_none());
    if let Some(machine) = run.map(|run| run.row.machine(id)) {
        let (key, value) = (run_key(machine, run_arn), number.to_be_bytes().to_vec());
        room.below.ctx.commit.pending.set(Table::ExecutionName, key, value);
    }
    number
}

/// The run that a name means; `None`: it is the name of a workflow.
pub(super) fn named_run(room: &mut WorkflowRoom<'_>, name: &str) -> Result<Option<NamedRun>, EngineError> {
    if !name.contains('/') {
        return Ok(None);
    }
    let arn = room.below.ctx.arn("states", "mapRun:", name);
    let unknown = || EngineError::NotFound(format!("Resource not found: '{arn}'"));
    let machine = room.workflows.machine(workflow_of(name)).map_err(|_| unknown())?.clone();
    let number = room.below.ctx.row(Table::ExecutionName, &run_key(machine.row.id, &arn))?;
    let number = number.map(|number| counted(&number, "the number of a Map's run")).transpose()?;
    // Of the runs that an earlier release began, those that are under way.
    let mut open = room.workflows.runs.values().flat_map(|run| run.map_runs.values());
    let number = number.or_else(|| open.find(|(open, _)| *open == arn).map(|(_, number)| *number));
    Ok(Some(NamedRun { machine, number: number.ok_or_else(unknown)? }))
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
