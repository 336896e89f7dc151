//! One step of an execution: what happened is brought to it, and what it commands is carried out or written down.

use std::collections::BTreeMap;

use forebay_core::chain;
use forebay_core::workflow::machine::{
    Command, Data, ErrorDetails, Execution, Fact, Identity, Outcome, Refused, TaskId,
};
use forebay_core::workflow::scope::Entropy;
use serde_json::{json, Value};

use crate::api::workflow::{Kind, Status};
use crate::base::error::EngineError;
use crate::base::ids::uuid_text;
use crate::base::rng::Rng;
use crate::commit::starts::{chain_too_long, WantedStart};
use crate::observe::operator_events::OperatorEvent;
use crate::store::port::Table;
use crate::workflows::aside::Held;
use crate::workflows::outside::task_of_run;
use crate::workflows::row::{check_name, name_key, CallKind, ExecutionRow, MachineRow, OpenCall, Parent, RunId};
use crate::workflows::versions::Chosen;
use crate::workflows::{activities, aside, children, durable, express, logs, map_children, outside, throttle};
use crate::workflows::{Happened, Run, Step, WorkflowRoom};

struct Draws<'a>(&'a mut Rng);

impl Entropy for Draws<'_> {
    fn next_u64(&mut self) -> u64 {
        self.0.next()
    }
}

/// What is asked of a machine: the name of its execution and the input, and what waits for its end.
pub(crate) struct Begin {
    pub(crate) name: Option<String>,
    pub(crate) input: Data,
    pub(crate) parent: Option<Parent>,
    pub(crate) depth: u32,
    pub(crate) trace: Option<String>,
}

impl WorkflowRoom<'_> {
    /// Bring executions what has happened. No commit is taken before all of it is brought.
    pub(crate) fn advance(&mut self) {
        if self.below.ctx.started {
            express::begin_ready(self);
            children::begin_children_anew(self);
        }
        activities::serve_activities(self);
        outside::stop_unwanted_jobs(self);
        while let Some(happened) = throttle::next(self) {
            let job = outside::begun_job(&happened);
            // What is refused came too late: its task has ended, or the execution. Nobody waits for the job that it has begun.
            if self.bring_all(happened).is_err() {
                self.workflows.unwanted_jobs.extend(job);
            }
        }
        self.participant().arm();
    }

    /// Bring an execution a fact.
    pub(crate) fn bring(&mut self, run: RunId, fact: Fact) -> Result<(), Refused> {
        self.bring_all(Happened { run, fact, is_kept: false, brings: None })
    }

    /// Bring an execution a fact, with what it changes beside.
    pub(super) fn bring_all(&mut self, happened: Happened) -> Result<(), Refused> {
        let Happened { run: id, fact, is_kept, brings } = happened;
        let now_ms = self.below.ctx.now.wall_ms;
        let workflows = &mut *self.workflows;
        let patience_ms = workflows.patience_ms();
        let run = workflows.runs.get_mut(&id).ok_or(Refused::Closed)?;
        let is_held_back = run.holds_back(&fact, now_ms);
        if is_held_back && fact == Fact::Due {
            if patience_ms.is_some() {
                workflows.order_turn(id);
            } else {
                aside::bring_held(self, id);
            }
            return Ok(());
        }
        let is_written = run.memory.is_none();
        let before = (is_written && !workflows.unsaved.by_run.contains_key(&id)).then(|| run.clone());
        let mut chained = Vec::new();
        let mut draws = Draws(&mut self.below.ctx.rng);
        let ended = run.ended_by(&fact);
        // What nobody asks for again is not shared, so that its documents need not be copied.
        let again = (is_kept || brings.is_some() || run.machine.program.evaluates).then(|| fact.clone());
        let commands = if is_held_back {
            None
        } else {
            match run.try_turn(fact, now_ms, &mut draws, patience_ms) {
                Ok(commands) => commands,
                Err(refused) => {
                    let task = ended.filter(|_| refused == Refused::NoTask);
                    // Nobody waits for the call's end: a restart need not make it again.
                    if task.and_then(|task| run.calls.remove(&task)).is_some() {
                        self.below.ctx.commit.pending.urgent |= is_written;
                        let step = before.map(|run| Step { before: Some(run), ..Step::default() });
                        workflows.unsaved.by_run.extend(step.map(|step| (id, step)));
                    }
                    return Err(refused);
                }
            }
        };
        if let Some(task) = ended {
            run.calls.remove(&task);
            // A function that has ended leaves the executions that it has begun, as on AWS.
            chained = run.forget_durable(task).into_keys().collect();
        }
        if let Some(before) = before {
            workflows.unsaved.by_run.insert(id, Step { before: Some(before), ..Step::default() });
        }
        if let (Some(brings), Some(fact)) = (brings.clone(), &again) {
            outside::take_brought(workflows, id, fact, brings, now_ms);
        }
        if !chained.is_empty() {
            if let Some(step) = workflows.unsaved.by_run.get_mut(&id) {
                step.given_up.extend(chained);
            }
        }
        if let (None, Some(fact)) = (&commands, &again) {
            workflows.hold(id, fact.clone());
        }
        if let Some(fact) = again.filter(|_| is_kept && is_written) {
            workflows.unsaved.kept.push(Happened { run: id, fact, is_kept, brings });
        }
        self.below.ctx.commit.pending.urgent |= is_written;
        if let Some(commands) = commands {
            self.carry_out_all(id, commands);
        }
        Ok(())
    }

    /// Carry out what a turn commands.
    pub(super) fn carry_out_all(&mut self, id: RunId, commands: Vec<Command>) {
        let is_written = !self.workflows.is_in_memory(id);
        if is_written {
            throttle::spend(self, &commands);
        }
        for command in commands {
            self.carry_out(id, command);
        }
        if !is_written && self.workflows.runs.get(&id).is_some_and(|run| run.row.status != Status::Running) {
            self.participant().ended_in_memory(id);
        }
    }

    fn carry_out(&mut self, id: RunId, command: Command) {
        match command {
            Command::Record(events) => {
                logs::log_events(self, id, &events);
                logs::tell_of_a_long_history(self, id, &events);
                map_children::name_begun(self, id, &events);
                let workflows = &mut *self.workflows;
                if let Some(run) = workflows.runs.get_mut(&id) {
                    if let Some(memory) = &mut run.memory {
                        let row = &run.machine.row;
                        if let Some(bound) = memory.record(row, events, &mut workflows.express.open_bytes) {
                            // Of the workflow: a flood of its executions is one line a second.
                            let arn = run.execution.identity().execution_arn.as_str();
                            let fields = json!({"arn": arn, "text": bound.text()});
                            self.below.ctx.notice(OperatorEvent::EventsLeftOut, &row.name, fields);
                        }
                        return;
                    }
                }
                if let Some(step) = self.workflows.unsaved.by_run.get_mut(&id) {
                    step.events.extend(events);
                }
            }
            Command::Call(call) => self.call(id, &call),
            Command::Cancel(task) => self.give_up_calls(id, |one| one == task),
            Command::WakeAt(at_ms) => self.workflows.set_due(id, Some(at_ms)),
            Command::Continue => {
                if self.workflows.is_in_memory(id) {
                    // Only its time ends a loop of such an execution: others go on before it.
                    self.workflows.set_due(id, Some(self.below.ctx.now.wall_ms + 1));
                } else if self.workflows.patience_ms().is_some() {
                    // It has had its time under the lock.
                    self.workflows.hold(id, Fact::Due);
                } else {
                    self.workflows.happened(id, Fact::Due);
                }
            }
            Command::End(outcome) => self.end(id, outcome),
            Command::Spawn { run, arn, children } => children::spawn(self, id, run, &arn, &children),
            Command::AbortRun(frame) => {
                self.give_up_calls(id, |one| outside::is_of_frame(one, frame));
                children::abort_children(self, id, frame);
            }
            Command::ForgetRun(arn) => map_children::forget(self, id, &arn),
            Command::Read(call, request) => outside::begin_reading(self, id, call, &request),
            Command::ReadMore(call) => outside::read_on(self, id, call),
            Command::Write(call, request) => outside::write_results(self, id, call, &request),
        }
    }

    /// Begin executions that other rooms want to begin in the commit that is gathered.
    pub(crate) fn begin_wanted(&mut self) {
        while let Some(WantedStart { workflow, name, input, depth }) = self.below.ctx.starts.next() {
            let begun = self.workflows.machine(&workflow).cloned().and_then(|machine| {
                let begin = Begin { name: Some(name), input, parent: None, depth, trace: None };
                let kind = machine.row.kind;
                let chosen = Chosen::plain(machine);
                match kind {
                    Kind::Standard => self.begin(&chosen, begin).map(drop),
                    Kind::Express => express::accept_promised(self, &chosen, begin).map(drop),
                }
            });
            // What is wrong with a start was refused when it was asked for; the store is left.
            if let Err(EngineError::Store(error)) = begun {
                self.below.ctx.fail(error);
            }
        }
        self.advance();
    }

    /// Begin an execution; its rows and everything that it does at once join the next commit.
    pub(super) fn begin(&mut self, chosen: &Chosen, asked: Begin) -> Result<RunId, EngineError> {
        let Begin { name, input, parent, depth, trace } = asked;
        if !chain::is_within(depth) {
            return Err(chain_too_long());
        }
        let name = name_of(self, name)?;
        let id = self.new_number(chosen.machine.row.id);
        self.below.ctx.commit.pending.bytes += input.size();
        let run = self.new_run(chosen, id, Begin { name: Some(name), input, parent, depth, trace });
        self.workflows.insert_run(id, run);
        self.workflows.unsaved.by_run.insert(id, Step::default());
        // A new execution takes its start.
        let start = Happened { run: id, fact: Fact::Start, is_kept: false, brings: None };
        if let Some(start) = throttle::admit(self, start) {
            let _started = self.bring_all(start);
        }
        Ok(id)
    }

    /// An execution that has not begun.
    pub(super) fn new_run(&self, chosen: &Chosen, id: RunId, asked: Begin) -> Run {
        let Chosen { machine, version, alias } = chosen;
        let Begin { name, input, parent, depth, trace } = asked;
        let name = name.unwrap_or_default();
        let ctx = &*self.below.ctx;
        let now_ms = ctx.now.wall_ms;
        let identity = Identity {
            execution_arn: ctx.run_arn(&machine.row, id, &name).into(),
            execution_name: name.as_str().into(),
            token_prefix: format!("{:x}.{:x}", id.machine, id.number).into(),
            ..machine.identity.clone()
        };
        let row = ExecutionRow {
            name,
            revision: machine.row.revision,
            status: Status::Running,
            started_ms: now_ms,
            stopped_ms: None,
            input: input.text().clone(),
            output: None,
            error: None,
            cause: None,
            parent,
            depth,
            child: None,
            version: *version,
            alias: alias.clone(),
            trace,
            redrive_count: 0,
            redriven_ms: None,
            events: 0,
            map_runs: Vec::new(),
            operation: None,
        };
        let execution = Execution::new(machine.definition(), identity, input, now_ms);
        Run {
            machine: machine.clone(),
            row,
            execution,
            due_ms: None,
            calls: BTreeMap::new(),
            map_runs: BTreeMap::new(),
            readings: BTreeMap::new(),
            durables: BTreeMap::new(),
            held: Held::default(),
            memory: None,
        }
    }

    /// A number that is greater than those before it: the highest of each machine is known, for the clock may have been set back.
    fn new_number(&mut self, machine: u64) -> RunId {
        let number = (self.below.ctx.now.wall_ms << 16).max(self.workflows.last_number + 1);
        self.workflows.last_number = number;
        RunId { machine, number }
    }

    /// The execution of a name, running or over.
    pub(crate) fn find(&mut self, machine: u64, name: &str) -> Result<Option<(RunId, ExecutionRow)>, EngineError> {
        if let Some(&id) = self.workflows.names.get(&(machine, name.to_owned())) {
            return Ok(self.workflows.runs.get(&id).map(|run| (id, run.row.clone())));
        }
        if name.contains('/') {
            // The names of Maps' runs stand there, too.
            return Ok(None);
        }
        let Some(number) = self.below.ctx.row(Table::ExecutionName, &name_key(machine, name))? else { return Ok(None) };
        let number = crate::commit::rows::counted(&number, "an execution's number")?;
        let id = RunId { machine, number };
        let Some(row) = self.below.ctx.row(Table::Execution, &id.bytes())? else { return Ok(None) };
        let row = serde_json::from_slice(&row).map_err(|_| crate::commit::rows::damaged("an execution's row"))?;
        Ok(Some((id, row)))
    }

    /// The execution that a start with a name means. As on AWS the same start gives the one that runs, and any other is refused.
    pub(super) fn begun_before(
        &mut self,
        machine: &MachineRow,
        name: &str,
        input: &Data,
    ) -> Result<Option<(RunId, ExecutionRow)>, EngineError> {
        check_name(name)?;
        let Some((id, known)) = self.find(machine.id, name)? else { return Ok(None) };
        if known.status != Status::Running || known.input != *input.text() {
            let arn = self.below.ctx.execution_arn(&machine.name, name);
            return Err(EngineError::Conflict(format!("Execution Already Exists: '{arn}'")));
        }
        Ok(Some((id, known)))
    }

    fn end(&mut self, id: RunId, outcome: Outcome) {
        self.workflows.set_due(id, None);
        self.give_up_calls(id, |_| true);
        let now_ms = self.below.ctx.now.wall_ms;
        let Some(run) = self.workflows.runs.get_mut(&id) else { return };
        let child = run.row.child;
        let told = child.map(|_| outcome.clone());
        let (status, details) = match outcome {
            Outcome::Succeeded(output) => {
                run.row.output = Some(output.text().clone());
                (Status::Succeeded, None)
            }
            Outcome::Failed(details) => (Status::Failed, Some(details)),
            Outcome::TimedOut(details) => (Status::TimedOut, Some(details)),
            Outcome::Aborted(details) => (Status::Aborted, Some(details)),
        };
        let details = details.unwrap_or_default().shortened();
        (run.row.status, run.row.stopped_ms) = (status, Some(now_ms));
        (run.row.error, run.row.cause) = (details.error, details.cause);
        run.row.map_runs = run.execution.map_runs();
        run.row.events = run.execution.event_count();
        if let Some((child, outcome)) = child.zip(told) {
            children::tell_parent(self, id, child, outcome);
            return;
        }
        self.tell_followers(id);
        let Some(run) = self.workflows.runs.get(&id) else { return };
        if let Some(parent) = run.row.parent {
            if durable::is_chained(parent.task) {
                let end = durable::end_of(&run.row);
                return durable::child_ended(self.workflows, parent, end);
            }
            let (workflow, row) = (run.machine.row.name.clone(), run.row.clone());
            let fact = self.child_ended(parent, &workflow, &row);
            self.workflows.happened(parent.run, fact);
        }
    }

    /// Tell tasks that wait for an execution that something else has begun.
    fn tell_followers(&mut self, id: RunId) {
        let Some(run) = self.workflows.runs.get(&id) else { return };
        let Some(followers) = self.workflows.followers.get(&id).cloned() else { return };
        let (workflow, row) = (run.machine.row.name.clone(), run.row.clone());
        for parent in followers {
            let call = self.workflows.runs.get(&parent.run).and_then(|run| run.calls.get(&parent.task));
            // It may have been given up, or taken back.
            if call.is_some_and(|call| call.kind == CallKind::Execution(id)) {
                let fact = self.child_ended(parent, &workflow, &row);
                self.workflows.happened(parent.run, fact);
            }
        }
    }

    /// Give calls of an execution up: functions that run are stopped when that is durable.
    fn give_up_calls(&mut self, id: RunId, is_it: impl Fn(TaskId) -> bool) {
        let Some(run) = self.workflows.runs.get_mut(&id) else { return };
        let mut given_up: Vec<TaskId> = run.calls.keys().copied().filter(|&task| is_it(task)).collect();
        let mut jobs: Vec<OpenCall> = given_up.iter().filter_map(|task| run.calls.remove(task)).collect();
        for task in given_up.clone() {
            let chained = run.forget_durable(task);
            given_up.extend(chained.keys());
            jobs.extend(chained.into_values());
        }
        for job in &jobs {
            match job.kind {
                CallKind::Execution(child) | CallKind::Chained { child: Some(child), .. } => {
                    self.workflows.happened(child, Fact::Stop(ErrorDetails::default()));
                }
                _ => outside::stop_job(self, job),
            }
        }
        let Some(run) = self.workflows.runs.get_mut(&id) else { return };
        if run.memory.is_some() {
            self.participant().stop_attempts(id, &given_up);
        } else if let Some(step) = self.workflows.unsaved.by_run.get_mut(&id) {
            step.given_up.extend(given_up);
        }
    }

    /// What the task is told that waits for an execution.
    fn child_ended(&self, parent: Parent, workflow: &str, row: &ExecutionRow) -> Fact {
        let ctx = &*self.below.ctx;
        let mut told = json!({
            "ExecutionArn": ctx.execution_arn(workflow, &row.name),
            "Input": row.input.as_str(),
            "InputDetails": {"Included": true},
            "Name": row.name,
            "StartDate": row.started_ms,
            "StateMachineArn": ctx.workflow_arn(workflow),
            "Status": row.status,
            "StopDate": row.stopped_ms,
        });
        if row.status != Status::Succeeded {
            told["Error"] = json!(row.error);
            told["Cause"] = json!(row.cause);
            let details = ErrorDetails::new("States.TaskFailed", Some(told.to_string()));
            return Fact::TaskFailed(parent.task, details);
        }
        let output = row.output.as_ref().map_or("null", |output| output.as_str());
        let as_json = || serde_json::from_str(output).unwrap_or(Value::Null);
        told["Output"] = if parent.as_json { as_json() } else { output.into() };
        told["OutputDetails"] = json!({"Included": true});
        told["RedriveCount"] = json!(row.redrive_count);
        told["RedriveStatus"] = json!("NOT_REDRIVABLE");
        told["RedriveStatusReason"] = json!("Execution is SUCCEEDED and cannot be redriven");
        Fact::TaskSucceeded(parent.task, Data::new(told))
    }
}

impl Run {
    /// The task whose call is over with a fact. That of another execution goes on after its answer.
    fn ended_by(&self, fact: &Fact) -> Option<TaskId> {
        let task = ended_call(fact)?;
        let is_answer = matches!(fact, Fact::TaskSubmitted(..));
        let goes_on = |call: &OpenCall| is_answer && matches!(call.kind, CallKind::Execution(_));
        (!self.calls.get(&task).is_some_and(goes_on)).then_some(task)
    }
}

/// The name that an execution is given, or a new UUID.
pub(super) fn name_of(room: &mut WorkflowRoom<'_>, given: Option<String>) -> Result<String, EngineError> {
    match given {
        Some(name) => check_name(&name).map(|()| name),
        None => Ok(uuid_text(room.below.ctx.rng.uuid())),
    }
}

/// The task whose call is over with a fact.
pub(super) fn ended_call(fact: &Fact) -> Option<TaskId> {
    match fact {
        Fact::TaskSubmitted(task, _)
        | Fact::TaskSucceeded(task, _)
        | Fact::TaskFailed(task, _)
        | Fact::TaskSubmitFailed(task, _)
        | Fact::TaskStartFailed(task, _) => Some(*task),
        Fact::Items(call, ..) | Fact::ReadFailed(call, _) | Fact::Written(call, _) | Fact::WriteFailed(call, _) => {
            Some(task_of_run(*call))
        }
        _ => None,
    }
}
