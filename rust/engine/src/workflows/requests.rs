//! `execution.*` and `task.*`

use std::sync::Arc;

use forebay_core::workflow::machine::{Data, ErrorDetails, Fact, Refused, TaskId};

use serde_json::json as object;

use crate::api::activity::{ActivityNamed, GetActivityTask};
use crate::api::map_run::{MapResults, MapRunNamed};
use crate::api::notes::Annotate;
use crate::api::workflow::{
    DeclareIntegrations, DeclareWorkflowAlias, DeleteWorkflowAlias, DeleteWorkflowVersion, DurableCallback,
    DurableCheckpoint, DurableOperations, Execution, ExecutionNamed, Executions, History, Kind, List, Named,
    PublishWorkflow, RedriveStatus, Revision, Start, StartMany, Started, Status, Stop, TaskCall, TaskFailed,
    TaskHeartbeat, TaskSucceeded,
};
use crate::api::Empty;
use crate::base::bytes::{hex, unhex};
use crate::base::error::{EngineError, Reply, Waiter};
use crate::base::limits::{TASK_CAUSE_CHARACTERS_MAX, TASK_ERROR_CHARACTERS_MAX};
use crate::base::trace::check_trace;
use crate::commit::done::{json, Done};
use crate::commit::pending::PUT_BYTES_MAX;
use crate::commit::rows::damaged;
use crate::ctx::Ctx;
use crate::payload::document::read_document;
use crate::store::port::Table;
use crate::workflows::machines::{ReadDeclaration, ReadDefinition};
use crate::workflows::participant::WorkflowParticipant;
use crate::workflows::row::{ExecutionRow, MachineRow, RunId};
use crate::workflows::step::Begin;
use crate::workflows::versions::Chosen;
use crate::workflows::{
    activities, children, durable, express, histories, machines, map_children, map_runs, outside, redrive, supported,
    throttle, turns, versions,
};
use crate::workflows::{Machine, Program, WorkflowRoom};

/// Most items of a page. <https://docs.aws.amazon.com/step-functions/latest/apireference/API_ListExecutions.html>
const PAGE_MAX: usize = 1_000;
/// Rows that are read at once, and about how many bytes of them for one answer.
const ROWS: usize = 64;
pub(crate) const BYTES_MAX: usize = 4 << 20;
/// Most executions that one call starts.
const STARTS_MAX: usize = 10_000;
/// What AWS says of a call that is for the other type of workflows.
pub(crate) const TYPE_NOT_SUPPORTED: &str =
    "State Machine Type Not Supported: 'This operation is not supported by this type of state machine'";
/// Why an Express execution may not be found.
const IN_MEMORY: &str =
    ": Express executions that run, and the last 1,000 that ended, are in the memory of the running app only";
/// Most callers that may wait for ends of executions.
const WAITERS_MAX: usize = 100_000;

/// A start whose input was read.
pub(crate) struct ReadStart {
    asked: Start,
    input: Result<Data, EngineError>,
}

/// Starts whose inputs were read.
pub(crate) struct ReadStarts {
    asked: StartMany,
    inputs: Result<Vec<Data>, EngineError>,
}

fn read_input(input: &str) -> Result<Data, EngineError> {
    read_document("State Machine Execution Input", input)
}

impl Start {
    /// Do what needs nothing of the engine.
    pub(crate) fn read(self) -> ReadStart {
        ReadStart { input: read_input(&self.input), asked: self }
    }
}

impl StartMany {
    /// Do what needs nothing of the engine.
    pub(crate) fn read(self) -> ReadStarts {
        // More than may be started are refused for that.
        let inputs = self.inputs.iter().take(STARTS_MAX).map(|input| read_input(input)).collect();
        ReadStarts { inputs, asked: self }
    }
}

impl WorkflowRoom<'_> {
    pub(crate) fn participant(&mut self) -> WorkflowParticipant<'_> {
        WorkflowParticipant { ctx: self.below.ctx, dispatch: self.below.dispatch, workflows: self.workflows }
    }

    /// Answer when the next commit is durable. What was asked is refused with it on a full disk.
    pub(crate) fn answer_with_commit(&mut self, waiter: Waiter, answer: Result<Vec<u8>, EngineError>) {
        match answer {
            Ok(answer) => {
                self.advance();
                self.below.ctx.commit.pending.waiters.push((waiter, Reply::Added(answer)));
                self.below.ctx.commit.pending.urgent = true;
            }
            Err(error) => self.below.ctx.answer(waiter, Err(error)),
        }
    }

    pub(crate) fn execution_start(&mut self, asked: ReadStart, waiter: Waiter) {
        let started = self.below.ctx.check_room().and_then(|()| self.started(asked)).map(json);
        self.answer_with_commit(waiter, started);
    }

    fn started(&mut self, asked: ReadStart) -> Result<Started, EngineError> {
        let ReadStart { asked, input } = asked;
        let chosen = versions::choose(self, &asked.workflow)?;
        let input = input?;
        check_trace(asked.trace.as_deref())?;
        self.started_with(&chosen, (asked.name, asked.trace), input, false)
    }

    fn started_with(
        &mut self,
        chosen: &Chosen,
        (name, trace): (Option<String>, Option<String>),
        input: Data,
        is_paid: bool,
    ) -> Result<Started, EngineError> {
        let machine = &chosen.machine;
        let workflow = &machine.row.name;
        if machine.row.kind == Kind::Express {
            if !is_paid {
                throttle::take_start(self, Kind::Express)?;
            }
            let (id, name) = express::accept(self, chosen, Begin { name, input, parent: None, depth: 0, trace })?;
            let arn = self.below.ctx.run_arn(&machine.row, id, &name);
            return Ok(Started { name, arn, started_ms: self.below.ctx.now.wall_ms });
        }
        if let Some(name) = &name {
            if let Some((_, known)) = self.begun_before(&machine.row, name, &input)? {
                let arn = self.below.ctx.execution_arn(workflow, name);
                return Ok(Started { name: known.name, arn, started_ms: known.started_ms });
            }
        }
        if !is_paid {
            throttle::take_start(self, Kind::Standard)?;
        }
        let id = self.begin(chosen, Begin { name, input, parent: None, depth: 0, trace })?;
        let told = self.workflows.runs.get(&id).map(|run| (run.row.name.clone(), run.row.started_ms));
        let (name, started_ms) = told.ok_or_else(|| damaged("an execution that has just begun"))?;
        let arn = self.below.ctx.execution_arn(workflow, &name);
        Ok(Started { name, arn, started_ms })
    }

    pub(crate) fn execution_start_many(&mut self, asked: ReadStarts, waiter: Waiter) {
        let started = self.below.ctx.check_room().and_then(|()| self.started_many(asked)).map(json);
        self.answer_with_commit(waiter, started);
    }

    fn started_many(&mut self, asked: ReadStarts) -> Result<Vec<Started>, EngineError> {
        let ReadStarts { asked, inputs } = asked;
        let chosen = versions::choose(self, &asked.workflow)?;
        check_trace(asked.trace.as_deref())?;
        let machine = &chosen.machine;
        if asked.inputs.is_empty() || asked.inputs.len() > STARTS_MAX {
            return Err(EngineError::Invalid(format!(
                "inputs has {} items: allowed are 1 to {STARTS_MAX}",
                asked.inputs.len()
            )));
        }
        express::check_open(self, if machine.row.kind == Kind::Express { asked.inputs.len() } else { 0 })?;
        let inputs = inputs?;
        if inputs.iter().map(Data::size).sum::<usize>() > PUT_BYTES_MAX {
            return Err(EngineError::TooLarge(format!(
                "the inputs have more than {PUT_BYTES_MAX} bytes together: start them in several calls"
            )));
        }
        throttle::take_starts(self, machine.row.kind, inputs.len())?;
        inputs.into_iter().map(|input| self.started_with(&chosen, (None, asked.trace.clone()), input, true)).collect()
    }

    /// Answer when the execution has ended.
    pub(crate) fn execution_start_sync(&mut self, asked: ReadStart, waiter: Waiter) {
        let ReadStart { asked, input } = asked;
        let prepared = self.below.ctx.check_room().and_then(|()| {
            let chosen = versions::choose(self, &asked.workflow)?;
            check_trace(asked.trace.as_deref())?;
            if chosen.machine.row.kind != Kind::Express {
                return Err(EngineError::Invalid(TYPE_NOT_SUPPORTED.into()));
            }
            let input = input?;
            throttle::take_start(self, Kind::Express)?;
            express::prepare_unwritten(
                self,
                &chosen,
                Begin { name: asked.name, input, parent: None, depth: 0, trace: asked.trace },
            )
        });
        match prepared {
            Ok(id) => {
                self.workflows.waiting.add(id, waiter);
                express::begin_in_memory(self, id);
                self.advance();
            }
            Err(error) => self.below.ctx.answer(waiter, Err(error)),
        }
    }

    /// Call what a task would call: a machine of that task alone does it, which nobody else sees.
    pub(crate) fn task_call(&mut self, asked: TaskCall, waiter: Waiter) {
        match self.below.ctx.check_room().and_then(|()| self.prepare_task_call(&asked)) {
            Ok(id) => {
                self.workflows.waiting.add(id, waiter);
                express::begin_in_memory(self, id);
                self.advance();
            }
            Err(error) => self.below.ctx.answer(waiter, Err(error)),
        }
    }

    fn prepare_task_call(&mut self, asked: &TaskCall) -> Result<RunId, EngineError> {
        let state = object!({"Type": "Task", "Resource": asked.resource, "End": true});
        let definition = object!({"StartAt": "Task", "States": {"Task": state}}).to_string();
        supported::check_definition(self, &supported::states(&definition))?;
        let program = Program::read(&definition, Kind::Express)?;
        let now_ms = self.below.ctx.now.wall_ms;
        let row = MachineRow { definition, ..MachineRow::new("TestState".into(), Kind::Express, now_ms) };
        let chosen = Chosen::plain(Arc::new(Machine::new(row, program, self.below.ctx)));
        let input = read_document("State Machine Execution Input", &asked.arguments)?;
        express::prepare_unwritten(self, &chosen, Begin { name: None, input, parent: None, depth: 0, trace: None })
    }

    /// An execution by its name, as the store has it.
    pub(crate) fn found(&mut self, workflow: &str, name: &str) -> Result<(RunId, ExecutionRow), EngineError> {
        if let Some(child) = map_children::found(self, workflow, name)? {
            return Ok(child);
        }
        let machine = self.workflows.machine(workflow)?.row.clone();
        let ended = || {
            let ended = self.workflows.express.ended_of(machine.id).find(|ended| ended.row.name == name)?;
            Some((ended.id, ended.row.clone()))
        };
        let is_running = self.workflows.names.contains_key(&(machine.id, name.to_owned()));
        let found = match if is_running { None } else { ended() } {
            Some(found) => Some(found),
            None => self.find(machine.id, name)?,
        };
        let (id, row) = found.ok_or_else(|| {
            let arn = self.below.ctx.execution_arn(workflow, name);
            let text = format!("Execution Does Not Exist: '{arn}'");
            EngineError::NotFound(match machine.kind {
                Kind::Standard => text,
                Kind::Express => format!("{text}{IN_MEMORY}"),
            })
        })?;
        Ok((id, self.workflows.durable_row(id).unwrap_or(row)))
    }

    /// What is told of an execution of a workflow.
    fn described(&self, workflow: &str, id: RunId, row: ExecutionRow) -> Result<Execution, EngineError> {
        let machine = self.workflows.machine(map_children::workflow_of(workflow))?;
        Ok(map_children::described(self, workflow, &machine.row, (id, row)))
    }

    pub(crate) fn execution_describe(&mut self, named: ExecutionNamed) -> Result<Done, EngineError> {
        let (id, row) = self.found(&named.workflow, &named.name)?;
        let due_ms = self.workflows.runs.get(&id).and_then(|run| run.due_ms);
        let waits = turns::waits_of(self, id);
        Ok(Done::at_once(Execution { due_ms, waits, ..self.described(&named.workflow, id, row)? }))
    }

    /// Answer when the execution has ended.
    pub(crate) fn execution_result(&mut self, named: ExecutionNamed, waiter: Waiter) {
        let found = self.below.ctx.check_room().and_then(|()| self.found(&named.workflow, &named.name));
        match found {
            Ok((id, row)) if row.status == Status::Running && self.workflows.waiting.count() < WAITERS_MAX => {
                self.workflows.waiting.add(id, waiter);
            }
            Ok((_, row)) if row.status == Status::Running => {
                let error = EngineError::TooMany {
                    message: format!("{WAITERS_MAX} callers wait for executions already, which is the most"),
                    reason: "Waiters".into(),
                    retry_after_ms: 1_000,
                };
                self.below.ctx.answer(waiter, Err(error));
            }
            Ok((id, row)) => {
                let answer = self.described(&named.workflow, id, row).map(|told| Reply::Json(json(told)));
                self.below.ctx.answer(waiter, answer);
            }
            Err(error) => self.below.ctx.answer(waiter, Err(error)),
        }
    }

    pub(crate) fn execution_list(&mut self, asked: List) -> Result<Done, EngineError> {
        check_limit(asked.limit)?;
        let of_map = map_children::named_run(self, &asked.workflow)?;
        let (of, machine) = match of_map {
            Some(run) => (run.machine, run.number),
            None => self.workflows.machine(&asked.workflow).map(|of| (of.clone(), of.row.id))?,
        };
        let bad = || EngineError::Invalid("Invalid Token: 'after' is not the `next` of an answer".into());
        let mut after = asked.after.as_deref().map(|text| unhex(text).ok_or_else(bad)).transpose()?;
        if of.row.kind == Kind::Express {
            return Ok(Done::at_once(express::list_in_memory(self, &of.row, &asked, after.as_deref())));
        }
        if asked.status == Some(Status::Running) {
            let after = after.map(|after| RunId::parse(&after).ok_or_else(bad)).transpose()?;
            return Ok(Done::at_once(list_running(self, &asked, (&of.row, machine), after)));
        }
        let (mut executions, mut bytes, mut is_all) = (Vec::new(), 0, false);
        while !is_all && executions.len() < asked.limit && bytes < BYTES_MAX {
            let rows = ROWS.min(asked.limit - executions.len());
            let (rows, all) =
                self.below.ctx.rows_after(Table::Execution, &machine.to_be_bytes(), after.as_deref(), rows)?;
            is_all = all;
            for (key, value) in rows {
                bytes += value.len();
                let row: ExecutionRow = serde_json::from_slice(&value).map_err(|_| damaged("an execution's row"))?;
                after = Some(key);
                if is_asked(&asked, &row) {
                    let id = after.as_deref().and_then(RunId::parse).ok_or_else(|| damaged("an execution's key"))?;
                    let one = map_children::described(self, &asked.workflow, &of.row, (id, row));
                    executions.push(Execution { input: None, output: None, ..one });
                }
            }
        }
        let next = after.filter(|_| !is_all).map(|key| hex(&key));
        Ok(Done::at_once(Executions { executions, next }))
    }

    pub(crate) fn execution_history(&mut self, asked: History) -> Result<Done, EngineError> {
        check_limit(asked.limit)?;
        let (id, _) = self.found(&asked.workflow, &asked.name)?;
        if self.workflows.machine(map_children::workflow_of(&asked.workflow))?.row.kind == Kind::Express {
            return Ok(Done::at_once(express::history_in_memory(self, id, &asked)));
        }
        histories::page(self, id, &asked).map(Done::at_once)
    }

    pub(crate) fn execution_stop(&mut self, asked: Stop, waiter: Waiter) {
        let Stop { workflow, name, error, cause } = asked;
        let checked = self.below.ctx.check_room().and_then(|()| checked_details(error, cause));
        let found = checked.and_then(|details| Ok((details, self.found(&workflow, &name)?)));
        let stopped = found.and_then(|(details, (id, row))| {
            // One that is over stays as it is.
            let _is_over = self.bring(id, Fact::Stop(details));
            let ended = self.workflows.express.ended_of(id.machine).find(|ended| ended.id == id);
            let row = ended.map_or(row, |ended| ended.row.clone());
            let row = self.workflows.runs.get(&id).map_or(row, |run| run.row.clone());
            self.described(&workflow, id, row).map(json)
        });
        self.answer_with_commit(waiter, stopped);
    }
}

impl WorkflowRoom<'_> {
    pub(crate) fn integration_declare(&mut self, asked: DeclareIntegrations) -> Result<Done, EngineError> {
        Ok(outside::integrations_declare(self, asked))
    }

    pub(crate) fn map_run_results(&mut self, asked: MapResults) -> Result<Done, EngineError> {
        children::map_run_results(self, &asked)
    }

    pub(crate) fn workflow_declare(&mut self, asked: ReadDeclaration) -> Result<Done, EngineError> {
        machines::workflow_declare(self, asked)
    }

    pub(crate) fn workflow_annotate(&mut self, asked: Annotate) -> Result<Done, EngineError> {
        machines::workflow_annotate(self, asked)
    }

    pub(crate) fn workflow_delete(&mut self, asked: Named) -> Result<Done, EngineError> {
        machines::workflow_delete(self, &asked)
    }

    pub(crate) fn workflow_list(&mut self, _: Empty) -> Result<Done, EngineError> {
        Ok(machines::workflow_list(self))
    }

    pub(crate) fn workflow_describe(&mut self, asked: Revision) -> Result<Done, EngineError> {
        machines::workflow_describe(self, &asked)
    }

    pub(crate) fn workflow_validate(&mut self, asked: ReadDefinition) -> Result<Done, EngineError> {
        Ok(machines::workflow_validate(self, asked))
    }

    pub(crate) fn map_run_list(&mut self, asked: ExecutionNamed) -> Result<Done, EngineError> {
        map_runs::map_run_list(self, &asked)
    }

    pub(crate) fn map_run_describe(&mut self, asked: MapRunNamed) -> Result<Done, EngineError> {
        map_runs::map_run_describe(self, &asked)
    }

    pub(crate) fn workflow_publish(&mut self, asked: PublishWorkflow) -> Result<Done, EngineError> {
        versions::workflow_publish(self, asked)
    }

    pub(crate) fn workflow_versions(&mut self, asked: Named) -> Result<Done, EngineError> {
        versions::workflow_versions(self, asked)
    }

    pub(crate) fn workflow_delete_version(&mut self, asked: DeleteWorkflowVersion) -> Result<Done, EngineError> {
        versions::workflow_delete_version(self, asked)
    }

    pub(crate) fn workflow_alias(&mut self, asked: DeclareWorkflowAlias) -> Result<Done, EngineError> {
        versions::workflow_alias(self, asked)
    }

    pub(crate) fn workflow_delete_alias(&mut self, asked: DeleteWorkflowAlias) -> Result<Done, EngineError> {
        versions::workflow_delete_alias(self, asked)
    }

    pub(crate) fn durable_operations(&mut self, asked: DurableOperations) -> Result<Done, EngineError> {
        durable::durable_operations(self, asked)
    }

    pub(crate) fn durable_describe(&mut self, asked: ExecutionNamed) -> Result<Done, EngineError> {
        durable::durable_describe(self, asked)
    }

    pub(crate) fn durable_checkpoint(&mut self, asked: DurableCheckpoint, waiter: Waiter) {
        durable::durable_checkpoint(self, asked, waiter);
    }

    pub(crate) fn durable_callback(&mut self, asked: DurableCallback, waiter: Waiter) {
        durable::durable_callback(self, asked, waiter);
    }

    /// Let an execution that failed go on from where it failed; what succeeded stays.
    pub(crate) fn execution_redrive(&mut self, asked: ExecutionNamed, waiter: Waiter) {
        redrive::execution_redrive(self, &asked, waiter);
    }

    pub(crate) fn activity_declare(&mut self, asked: ActivityNamed) -> Result<Done, EngineError> {
        activities::activity_declare(self, asked)
    }

    pub(crate) fn activity_list(&mut self, _: Empty) -> Result<Done, EngineError> {
        Ok(activities::activity_list(self))
    }

    pub(crate) fn activity_describe(&mut self, asked: ActivityNamed) -> Result<Done, EngineError> {
        activities::activity_describe(self, &asked)
    }

    pub(crate) fn activity_delete(&mut self, asked: ActivityNamed) -> Result<Done, EngineError> {
        activities::activity_delete(self, asked)
    }

    pub(crate) fn activity_annotate(&mut self, asked: Annotate) -> Result<Done, EngineError> {
        activities::activity_annotate(self, asked)
    }

    pub(crate) fn activity_get_task(&mut self, asked: GetActivityTask, waiter: Waiter) {
        activities::activity_get_task(self, asked, waiter);
    }
}

impl WorkflowRoom<'_> {
    pub(crate) fn task_succeed(&mut self, asked: TaskSucceeded, waiter: Waiter) {
        let output = read_document("Output", &asked.output);
        let told = output.and_then(|output| self.tell_task(&asked.token, |task| Fact::TaskSucceeded(task, output)));
        self.answer_with_commit(waiter, told);
    }

    pub(crate) fn task_fail(&mut self, asked: TaskFailed, waiter: Waiter) {
        let TaskFailed { token, error, cause } = asked;
        let told = checked_details(error, cause)
            .and_then(|details| self.tell_task(&token, |task| Fact::TaskFailed(task, details)));
        self.answer_with_commit(waiter, told);
    }

    pub(crate) fn task_heartbeat(&mut self, asked: TaskHeartbeat, waiter: Waiter) {
        let told = self.tell_task(&asked.token, Fact::Heartbeat);
        self.answer_with_commit(waiter, told);
    }

    /// Tell the task of a token something.
    fn tell_task(&mut self, token: &str, fact: impl FnOnce(TaskId) -> Fact) -> Result<Vec<u8>, EngineError> {
        self.below.ctx.check_room()?;
        let id = run_of_token(token).ok_or_else(|| EngineError::Invalid("Invalid Token: 'Invalid token'".into()))?;
        let gone = || EngineError::NotFound("Task Timed Out: 'Provided task does not exist anymore'".into());
        let run = self.workflows.runs.get(&id).ok_or_else(gone)?;
        let task = run.execution.task_of_token(token).filter(|&task| !run.held.ends(task)).ok_or_else(gone)?;
        self.bring(id, fact(task)).map_err(|_: Refused| gone())?;
        Ok(json(Empty {}))
    }
}

/// What somebody says that a task or an execution has failed with. What a function has failed with is cut; this is refused, as on AWS.
fn checked_details(error: Option<String>, cause: Option<String>) -> Result<ErrorDetails, EngineError> {
    for (name, text, most) in
        [("error", &error, TASK_ERROR_CHARACTERS_MAX), ("cause", &cause, TASK_CAUSE_CHARACTERS_MAX)]
    {
        let count = text.as_ref().map_or(0, |text| text.chars().count());
        if count > most {
            return Err(EngineError::Invalid(format!("{name} has {count} characters: allowed are at most {most}")));
        }
    }
    Ok(ErrorDetails { error, cause })
}

/// The execution that a token names.
fn run_of_token(token: &str) -> Option<RunId> {
    let mut parts = token.split('.');
    let mut number = || u64::from_str_radix(parts.next()?, 16).ok();
    Some(RunId { machine: number()?, number: number()? })
}

/// What is told of an execution.
pub(crate) fn described(ctx: &Ctx, machine: &MachineRow, id: RunId, row: ExecutionRow) -> Execution {
    let why = row.not_redrivable(ctx.now.wall_ms);
    let redrive_status = match (machine.kind, why) {
        (Kind::Express, _) => None,
        (Kind::Standard, Some(_)) => Some(RedriveStatus::NotRedrivable),
        (Kind::Standard, None) if row.child.is_some() => Some(RedriveStatus::RedrivableByMapRun),
        (Kind::Standard, None) => Some(RedriveStatus::Redrivable),
    };
    Execution {
        workflow: machine.name.clone(),
        arn: ctx.run_arn(machine, id, &row.name),
        name: row.name,
        status: row.status,
        started_ms: row.started_ms,
        stopped_ms: row.stopped_ms,
        due_ms: None,
        waits: Vec::new(),
        redrive_count: row.redrive_count,
        redriven_ms: row.redriven_ms,
        redrive_status,
        redrive_status_reason: why.filter(|_| redrive_status.is_some()).map(|why| why.reason().to_owned()),
        revision: row.revision,
        version: row.version,
        alias: row.alias,
        input: Some(row.input.as_str().to_owned()),
        output: row.output.map(|output| output.as_str().to_owned()),
        error: row.error,
        cause: row.cause,
        operation: row.operation,
    }
}

/// A page of the executions that run, the latest first. In the store any number of those that have ended stand between them.
fn list_running(
    room: &WorkflowRoom<'_>,
    asked: &List,
    (of, machine): (&MachineRow, u64),
    after: Option<RunId>,
) -> Executions {
    let before = after.map_or(u64::MAX, |after| after.number);
    let of_machine = |number| RunId { machine, number };
    let runs = room.workflows.runs.range(of_machine(0)..of_machine(before)).rev();
    let rows = runs.filter(|(_, run)| run.memory.is_none());
    let mut rows =
        rows.filter_map(|(&id, _)| Some((id, room.workflows.durable_row(id).filter(|row| is_asked(asked, row))?)));
    let page: Vec<(RunId, ExecutionRow)> = rows.by_ref().take(asked.limit).collect();
    let last = page.last().map(|(id, _)| hex(&id.bytes()));
    let described =
        |one| Execution { input: None, output: None, ..map_children::described(room, &asked.workflow, of, one) };
    Executions { next: last.filter(|_| rows.next().is_some()), executions: page.into_iter().map(described).collect() }
}

/// Whether an execution is one of those that a list asks for.
pub(super) fn is_asked(asked: &List, row: &ExecutionRow) -> bool {
    asked.status.is_none_or(|status| status == row.status)
        && asked.version.is_none_or(|version| Some(version) == row.version)
        && asked.alias.as_ref().is_none_or(|alias| Some(alias) == row.alias.as_ref())
        && asked.is_redriven.is_none_or(|is_redriven| is_redriven == (row.redrive_count > 0))
}

pub(crate) fn check_limit(limit: usize) -> Result<(), EngineError> {
    if (1..=PAGE_MAX).contains(&limit) {
        return Ok(());
    }
    Err(EngineError::Invalid(format!("limit is {limit}: allowed are 1 to {PAGE_MAX}")))
}
