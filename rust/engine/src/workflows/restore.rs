//! What a start reads: machines, executions that run, activities, and starts of Express executions.

use forebay_core::workflow::machine::Fact;

use crate::base::error::EngineError;
use crate::commit::rows::damaged;
use crate::store::format::keys::STORE;
use crate::store::port::Table;
use crate::workflows::calls::AS_JSON;
use crate::workflows::participant::WorkflowParticipant;
use crate::workflows::row::{CallKind, ChildOf, ExecutionRow, MachineRow, Parent, RunId, StateRow};
use crate::workflows::{Program, Run};

/// Rows of executions that are read at once.
const ROWS: usize = 1_000;

/// Read everything that the store has of workflows.
pub(super) fn read(part: &mut WorkflowParticipant<'_>) -> Result<(), EngineError> {
    for (_, value) in part.ctx.commit.reader.scan(Table::Machine, &[], None, usize::MAX)? {
        let row: MachineRow = serde_json::from_slice(&value).map_err(|_| damaged("a state machine's row"))?;
        part.ctx.mapping_id_found(&row.id.to_be_bytes(), "a state machine's id")?;
        // Numbers stand the highest first.
        let latest = part.ctx.commit.reader.scan(Table::Execution, &row.id.to_be_bytes(), None, 1)?;
        let number = latest.first().and_then(|(key, _)| RunId::parse(key)).map_or(0, |id| id.number);
        part.workflows.last_number = part.workflows.last_number.max(number);
        let program = Program::accepted(&row.definition)?;
        part.take_machine(row, program);
    }
    let mut after: Option<Vec<u8>> = None;
    loop {
        let rows = part.ctx.commit.reader.scan(Table::ExecutionState, &[], after.as_deref(), ROWS)?;
        let Some((last, _)) = rows.last() else { break };
        after = Some(last.clone());
        for (key, value) in rows {
            take_run(part, &key, &value)?;
        }
    }
    find_followers(part);
    if let Some(number) = part.ctx.commit.reader.get(Table::Meta, STORE)? {
        let number = number.try_into().map_err(|_| damaged("the number of the store"))?;
        part.workflows.store = Some(u128::from_be_bytes(number));
    }
    part.read_activities()?;
    for (key, value) in part.ctx.commit.reader.scan(Table::ExpressStart, &[], None, usize::MAX)? {
        let last = part.workflows.express.restore(&key, &value)?;
        part.workflows.last_number = part.workflows.last_number.max(last);
    }
    Ok(())
}

/// Find the tasks that wait for executions which something else has begun.
fn find_followers(part: &mut WorkflowParticipant<'_>) {
    let runs = &part.workflows.runs;
    let calls = runs.iter().flat_map(|(&run, of)| of.calls.iter().map(move |(&task, call)| (run, task, call)));
    let followers = calls.filter_map(|(run, task, call)| {
        let CallKind::Execution(child) = call.kind else { return None };
        let parent = runs.get(&child)?.row.parent;
        let is_parent = parent.is_some_and(|parent| (parent.run, parent.task) == (run, task));
        (!is_parent).then(|| (child, Parent { run, task, as_json: call.payload.as_str() == AS_JSON }))
    });
    for (child, parent) in followers.collect::<Vec<_>>() {
        part.workflows.followers.entry(child).or_default().push(parent);
    }
}

/// The machine of a child whose row does not have it; `None`: its parent is no child.
fn machine_of_parent(part: &mut WorkflowParticipant<'_>, child: ChildOf) -> Result<Option<u64>, EngineError> {
    let (mut above, mut machine) = (Some(child), None);
    while let Some(child) = above {
        let Some(row) = part.ctx.commit.reader.get(Table::Execution, &child.run.bytes())? else { break };
        let row: ExecutionRow = serde_json::from_slice(&row).map_err(|_| damaged("an execution's row"))?;
        above = row.child;
        machine = above.map_or(machine, |child| Some(child.machine()));
    }
    Ok(machine)
}

/// Take an execution that runs into memory, as its rows have it.
fn take_run(part: &mut WorkflowParticipant<'_>, key: &[u8], value: &[u8]) -> Result<(), EngineError> {
    let id = RunId::parse(key).ok_or_else(|| damaged("an execution's key"))?;
    let state: StateRow = serde_json::from_slice(value).map_err(|_| damaged("an execution's state"))?;
    let row = part.ctx.commit.reader.get(Table::Execution, key)?.ok_or_else(|| damaged("an execution's row"))?;
    let mut row: ExecutionRow = serde_json::from_slice(&row).map_err(|_| damaged("an execution's row"))?;
    if let Some(child) = row.child.filter(|child| child.machine.is_none()) {
        row.child = Some(ChildOf { machine: machine_of_parent(part, child)?, ..child });
    }
    let machine = part.workflows.revisions.get(&(row.machine(id), row.revision));
    let machine = machine.cloned().ok_or_else(|| damaged("the revision of an execution"))?;
    let StateRow { due_ms, calls, map_runs, readings, durables, held, mut execution } = state;
    execution.share_input();
    if row.input == *execution.input().text() {
        row.input = execution.input().text().clone();
    }
    for (_, run) in map_runs.values() {
        part.ctx.mapping_id_found(&run.to_be_bytes(), "the number of a Map's run")?;
    }
    if !map_runs.is_empty() {
        part.workflows.childless.push(id);
    }
    part.workflows.last_number = part.workflows.last_number.max(id.number);
    // Its start waited for the rate of transitions.
    if execution.event_count() == 0 && held.is_empty() {
        part.workflows.happened(id, Fact::Start);
    }
    if !held.is_empty() {
        part.workflows.happened(id, Fact::Due);
    }
    let run = Run { machine, row, execution, due_ms, calls, map_runs, readings, durables, held, memory: None };
    part.workflows.insert_run(id, run);
    Ok(())
}
