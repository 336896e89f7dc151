//! What the runtime brings workflows: their rows, their timer, ends of functions, and their part of each commit.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;

use forebay_core::invocation::protocol::INTERRUPTIONS_MAX;
use forebay_core::workflow::machine::{pack, Data, ErrorDetails, Fact, TaskId};
use serde_json::json;

use crate::api::workflow::{Kind, Status};
use crate::base::error::{EngineError, Reply};
use crate::base::ids::RoomId;
use crate::base::timers::Timer;
use crate::commit::done::json;
use crate::commit::pending::{Pending, Unwritten, FULL_NS};
use crate::ctx::Ctx;
use crate::dispatch::attempt_journal::{InFlight, JournalSlot};
use crate::dispatch::attempts::{self, Attempt, HandlerId, Task, Token};
use crate::dispatch::job::{Handed, Job};
use crate::dispatch::participant::{Ended, Participant};
use crate::dispatch::versions::{self, split};
use crate::dispatch::waiters::SourceId;
use crate::dispatch::{answers, Dispatch, DispatchRoom};
use crate::failures::Failures;
use crate::observe::operator_events::OperatorEvent;
use crate::payload::event::Qualifier;
use crate::store::port::{StoreError, Table, Write};
use crate::workflows::activities::POLLS;
use crate::workflows::calls::{error_of, succeeded};
use crate::workflows::interrupted::{release_slots, release_slots_of, slot_record, take_over_call};
use crate::workflows::redrive::ClosedRef;
use crate::workflows::requests::described;
use crate::workflows::row::{name_key, CallKind, MachineRow, OpenCall, RunId, StateRef};
use crate::workflows::step::ended_call;
use crate::workflows::{durable, logs, old, outside, restore, waiting};
use crate::workflows::{Happened, Machine, Program, Run, Step, Steps, Workflows};

pub(crate) const ROOM: RoomId = RoomId(7);
/// An execution goes on by itself.
const TIMER: Timer = Timer { room: ROOM, kind: 0, id: 0 };
/// Most executions that go on in one turn, so that the engine's lock is let go between.
pub(super) const RUNS_OF_A_TURN: usize = 256;

/// A function's call for a task.
pub(super) struct TaskJob {
    pub(super) run: RunId,
    pub(super) task: TaskId,
    payload: Arc<[u8]>,
    qualifier: Qualifier,
    /// How often the process has died while this call ran alone.
    crashes: u32,
    /// It may start a job.
    submits: bool,
    /// Its answer may wait for the rate of transitions.
    may_wait: bool,
    /// Of whoever started the execution.
    trace: Option<Arc<str>>,
}

impl Job for TaskJob {
    fn room(&self) -> RoomId {
        ROOM
    }

    fn source(&self) -> SourceId {
        self.run.machine
    }

    fn asked_with(&self) -> (Qualifier, Option<Arc<str>>) {
        (self.qualifier.clone(), self.trace.clone())
    }

    fn may_wait(&self) -> bool {
        self.may_wait
    }
}

/// Workflows, with what is needed to keep them.
pub(crate) struct WorkflowParticipant<'a> {
    pub(crate) ctx: &'a mut Ctx,
    pub(crate) dispatch: &'a mut Dispatch,
    pub(crate) workflows: &'a mut Workflows,
}

impl<'a> WorkflowParticipant<'a> {
    pub(crate) fn new(
        ctx: &'a mut Ctx,
        dispatch: &'a mut Dispatch,
        _failures: &'a mut Failures,
        workflows: &'a mut Workflows,
    ) -> Self {
        Self { ctx, dispatch, workflows }
    }

    /// Take a machine's row into memory.
    pub(crate) fn take_machine(&mut self, row: MachineRow, program: Arc<Program>) {
        let machine = Arc::new(Machine::new(row, program, self.ctx));
        let row = &machine.row;
        self.workflows.revisions.insert((row.id, row.revision), machine.clone());
        let latest = self.workflows.machines.get(&row.name);
        if latest.is_none_or(|latest| latest.row.revision <= row.revision) {
            self.ctx.starts.declared(&row.name, row.kind == Kind::Express);
            self.workflows.machines.insert(row.name.clone(), machine.clone());
        }
    }

    /// Let the timer ring when the next execution wants to go on.
    pub(crate) fn arm(&mut self) {
        if !self.ctx.started {
            return;
        }
        let now = self.ctx.now;
        let in_ms = |due_ms: u64| due_ms.saturating_sub(now.wall_ms).saturating_mul(1_000_000);
        let due = self.workflows.by_time.first().map(|(due_ms, _)| in_ms(*due_ms));
        let is_full = self.ctx.commit.refused.is_some();
        // On a full disk a step would be refused at once, again and again.
        let due = due.map(|wait_ns| if is_full { wait_ns.max(FULL_NS) } else { wait_ns });
        let is_held = !self.workflows.held.is_empty() || !self.workflows.held_jobs.is_empty();
        let again = is_held.then_some(FULL_NS);
        let question = self.workflows.questions.first().map(|(due_ms, ..)| in_ms(*due_ms));
        let rate = self.workflows.throttles.wait_ns(now.mono_ns);
        let begins = self.workflows.express.has_waiting().then_some(0);
        if let Some(wait_ns) = due.into_iter().chain(again).chain(question).chain(rate).chain(begins).min() {
            // What is due at once is due in this turn, and the lock is not let go in it. A clock that stands still has no later turn.
            let least_ns = u64::from(self.workflows.patience_ms().is_some());
            let due_ns = now.mono_ns.saturating_add(wait_ns.max(least_ns));
            self.ctx.timers.arm(&mut self.workflows.armed, due_ns, TIMER);
        }
    }

    /// Call the function of a task whose step is durable. One that is not registered was perhaps forgotten in this release: a call that was
    /// open before it waits for it.
    pub(crate) fn begin_call(&mut self, run: RunId, task: TaskId, is_new: bool) {
        let Some(of) = self.workflows.runs.get(&run) else { return };
        let may_wait = of.memory.is_none();
        let Some(call) = of.calls.get(&task) else { return };
        let OpenCall { function, payload, kind } = call.clone();
        #[cfg(test)]
        (self.workflows.tried += 1);
        if matches!(kind, CallKind::Execution(_)) {
            return;
        }
        if let CallKind::Chained { child: Some(child), .. } = kind {
            return durable::child_is_waited_for(self, run, task, child);
        }
        if let CallKind::Activity { is_taken, .. } = kind {
            if !is_taken {
                self.workflows.wait_for_worker(&function, (run, task));
            }
            return;
        }
        let suspect = self.workflows.interrupted.get(&(run, task)).map(|(crashes, _)| *crashes);
        if suspect.is_some_and(|crashes| crashes >= INTERRUPTIONS_MAX) {
            release_slots(self, run, task);
            let cause =
                format!("The process has died each time that the function ran ({function}); it is not called again.");
            return self.call_failed(run, task, ErrorDetails::new("Lambda.Unknown", Some(cause)));
        }
        let mut dispatch = DispatchRoom { ctx: self.ctx, dispatch: self.dispatch };
        match versions::address(&mut dispatch, &function) {
            Ok((handler, qualifier)) => {
                let event = if kind == CallKind::Durable {
                    durable::durable_event(self, run, task)
                } else {
                    Some(payload.as_str().to_owned())
                };
                let Some(event) = event else { return };
                let payload: Arc<[u8]> = event.into_bytes().into();
                let mut dispatch = DispatchRoom { ctx: self.ctx, dispatch: self.dispatch };
                let trace = self.workflows.runs.get(&run).and_then(|run| run.row.trace.as_deref()).map(Arc::from);
                let submits = kind == CallKind::Outside { goes_on: true };
                let crashes = suspect.unwrap_or(0);
                let job = TaskJob { run, task, payload, qualifier, crashes, submits, may_wait, trace };
                // What ran when the process died runs alone, so that it is seen which call it was.
                let token = attempts::ready(&mut dispatch, Attempt::new(handler, job, 1), suspect.is_some());
                self.workflows.attempts.insert((run, task), token);
            }
            Err(_) if !is_new || self.has_run(run, task) => {
                let function = split(&function).0.to_owned();
                self.workflows.unregistered.entry(function).or_default().insert((run, task));
            }
            Err(error) => {
                let details = ErrorDetails::new("Lambda.ResourceNotFoundException", Some(error.to_string()));
                self.call_failed(run, task, details);
            }
        }
    }

    /// Make the calls that wait for a function, which is there now, or a version or an alias of it.
    pub(crate) fn call_at_last(&mut self, handler: HandlerId) {
        let function = &self.dispatch.functions[handler].name;
        for (run, task) in self.workflows.unregistered.remove(function).unwrap_or_default() {
            self.begin_call(run, task, false);
        }
    }

    /// Whether a durable function has run for a task before.
    fn has_run(&self, run: RunId, task: TaskId) -> bool {
        let durable = self.workflows.runs.get(&run).and_then(|run| run.durables.get(&task));
        durable.is_some_and(forebay_core::durable::Durable::has_run)
    }

    /// A call has failed for good: say so to what has made it.
    fn call_failed(&mut self, run: RunId, task: TaskId, details: ErrorDetails) {
        let call = self.workflows.runs.get(&run).and_then(|run| run.calls.get(&task)).cloned();
        match call {
            Some(call) if call.kind == CallKind::Job => {
                self.workflows.unwanted_jobs.push(call);
                self.kept(run, Fact::TaskFailed(task, details));
            }
            Some(call) if call.kind.is_outside() => outside::outside_ended(self, run, task, &call, Err(details)),
            Some(OpenCall { kind: CallKind::Chained { task: of, .. }, .. }) => {
                durable::chained_ended(self, run, task, of, Err(details));
            }
            _ => self.kept(run, Fact::TaskFailed(task, details)),
        }
    }

    /// Stop functions whose ends nobody waits for any more.
    pub(crate) fn stop_attempts(&mut self, run: RunId, tasks: &[TaskId]) {
        let tokens = tasks.iter().filter_map(|&task| self.workflows.attempts.get(&(run, task)));
        self.dispatch.unwanted.extend(tokens);
        for &task in tasks {
            release_slots(self, run, task);
        }
    }

    /// Something that happens once: it is told again if the step that comes of it is taken back.
    fn kept(&mut self, run: RunId, fact: Fact) {
        self.workflows.inbox.push_back(Happened { run, fact, is_kept: true, brings: None });
    }

    /// A function's call has ended.
    fn call_ended(&mut self, job: &TaskJob, version: &str, (status, body): (u8, Option<Vec<u8>>), request: u128) {
        let TaskJob { run, task, .. } = *job;
        let call = self.workflows.runs.get(&run).and_then(|run| run.calls.get(&task)).cloned();
        let Some(call) = call else { return };
        let kind = call.kind.clone();
        let body = body.map(|body| String::from_utf8_lossy(&body).into_owned());
        if kind.is_outside() && status < 4 {
            let answer = match (status, body) {
                (0, body) => serde_json::from_str(body.as_deref().unwrap_or("null"))
                    .map_err(|error| ErrorDetails::new("States.Runtime", Some(error.to_string()))),
                (3, body) => Err(ErrorDetails::new("Lambda.ServiceException", body)),
                (_, body) => Err(error_of(body.unwrap_or_default())),
            };
            return outside::outside_ended(self, run, task, &call, answer);
        }
        let failed = |status: u8, body: Option<String>| match status {
            3 => ErrorDetails::new("Lambda.ServiceException", body),
            _ => error_of(body.unwrap_or_default()),
        };
        match kind {
            CallKind::Durable if status < 4 => {
                let answer = match status {
                    0 => serde_json::from_str(body.as_deref().unwrap_or("null"))
                        .map_err(|error| ErrorDetails::new("States.Runtime", Some(error.to_string()))),
                    _ => Err(failed(status, body)),
                };
                return durable::durable_ended(self, run, task, answer);
            }
            CallKind::Chained { task: of, .. } if status < 4 => {
                let answer =
                    if status == 0 { Ok(body.unwrap_or_else(|| "null".into())) } else { Err(failed(status, body)) };
                return durable::chained_ended(self, run, task, of, answer);
            }
            _ => {}
        }
        let fact = match (status, body) {
            (0, body) => match Data::parse(body.as_deref().unwrap_or("null")) {
                Ok(response) => succeeded(task, &kind, &response, version, request),
                Err(error) => {
                    let text = format!("the function's response cannot be read: {error:?}");
                    Fact::TaskFailed(task, ErrorDetails::new("States.Runtime", Some(text)))
                }
            },
            (1 | 2, body) => Fact::TaskFailed(task, error_of(body.unwrap_or_default())),
            (3, body) => Fact::TaskFailed(task, ErrorDetails::new("Lambda.ServiceException", body)),
            // It was interrupted: it is called again, by this process or by the next one.
            _ if self.ctx.draining => return,
            _ => return self.begin_call(run, task, true),
        };
        self.kept(run, fact);
    }
}

impl Participant for WorkflowParticipant<'_> {
    fn take_over(&mut self, record: &InFlight, slot: JournalSlot) -> Result<bool, StoreError> {
        Ok(take_over_call(self, record, slot))
    }

    fn restore(&mut self) -> Result<(), StoreError> {
        restore::read(self).map_err(|error| match error {
            EngineError::Store(error) => error,
            error => StoreError::Corrupt(error.to_string()),
        })
    }

    /// Calls whose end was not told before the restart are made again, but for durable functions that only wait.
    fn start(&mut self) -> Result<(), EngineError> {
        self.workflows.anew = None;
        let runs = self.workflows.runs.iter();
        let open: Vec<(RunId, TaskId)> =
            runs.flat_map(|(&id, run)| run.calls.keys().map(move |&task| (id, task))).collect();
        for (run, task) in open {
            if !durable::goes_on_waiting(self, run, task) {
                self.begin_call(run, task, false);
            }
        }
        self.arm();
        Ok(())
    }

    fn registered(&mut self, handler: HandlerId, _is_new: bool) -> Result<(), EngineError> {
        self.call_at_last(handler);
        Ok(())
    }

    /// The wall clock may have been set.
    fn sweep(&mut self) -> Result<(), EngineError> {
        old::look_for_old(self);
        self.arm();
        Ok(())
    }

    fn sweep_finds_ms(&mut self) -> Result<Option<u64>, EngineError> {
        // The sweep arms what waits anew, by a wall clock that may have been set.
        let waits_ms = self.workflows.by_time.first().map(|(due_ms, _)| *due_ms);
        let question_ms = self.workflows.questions.first().map(|(due_ms, ..)| *due_ms);
        Ok([Some(old::due_ms(self)), waits_ms, question_ms].into_iter().flatten().min())
    }

    fn due(&mut self, timer: Timer) {
        if timer == POLLS {
            return self.end_polls();
        }
        self.workflows.armed = None;
        let held = std::mem::take(&mut self.workflows.held);
        self.workflows.inbox.extend(held);
        let jobs = std::mem::take(&mut self.workflows.held_jobs);
        self.workflows.unwanted_jobs.extend(jobs);
        self.workflows.throttles.is_due = true;
        self.workflows.express.next_turn();
        outside::ask_about_jobs(self);
        let now_ms = self.ctx.now.wall_ms;
        for _ in 0..RUNS_OF_A_TURN {
            let Some(&(_, id)) = self.workflows.by_time.first().filter(|(due_ms, _)| *due_ms <= now_ms) else { break };
            self.workflows.by_time.pop_first();
            self.workflows.happened(id, Fact::Due);
        }
        self.arm();
    }

    fn hand_out(&mut self, token: Token) -> Option<Handed> {
        let attempt = self.dispatch.attempts.get_mut(token)?;
        let &TaskJob { run, task, crashes, ref payload, .. } = attempt.job.get::<TaskJob>()?;
        let (payload, is_alone) = (payload.clone(), attempt.alone);
        self.dispatch.counted.push((token, slot_record(run, task, crashes, is_alone)));
        release_slots(self, run, task);
        Some(Handed { task: Task::Event(payload), reads: true, reports: false })
    }

    /// The task has failed, whatever its function says later.
    fn overdue(&mut self, token: Token) {
        let Some(attempt) = self.dispatch.attempts.get_mut(token) else { return };
        let (handler, request) = (attempt.handler, attempt.request);
        let Some(&TaskJob { run, task, .. }) = attempt.job.get::<TaskJob>() else { return };
        let (_, body) = answers::timeout_error(self.dispatch, handler, request);
        logs::note_failed_call(self, run, (handler, request), Some(body.as_bytes()));
        let call = self.workflows.runs.get(&run).and_then(|run| run.calls.get(&task));
        // A durable function is tried again, and a job is asked about again, when it has really ended: two must not run at once.
        if call.is_none_or(|call| !matches!(call.kind, CallKind::Durable | CallKind::Job)) {
            self.call_failed(run, task, error_of(body));
        }
    }

    fn settled(&mut self, attempt: Attempt, ended: Ended) {
        let (version, request) = (self.dispatch.functions[attempt.handler].version.to_string(), attempt.request);
        if let Some(job) = attempt.job.into::<TaskJob>() {
            self.workflows.attempts.remove(&(job.run, job.task));
            if ended.status == 1 {
                logs::note_failed_call(self, job.run, (attempt.handler, request), ended.body.as_deref());
            }
            if job.submits {
                let answer = if ended.status == 0 { ended.body.clone() } else { ended.late };
                outside::stop_unwanted_job(self.workflows, (job.run, job.task), &job.payload, answer);
            }
            self.call_ended(&job, &version, (ended.status, ended.body), request);
        }
    }

    fn has_puts(&self) -> bool {
        !self.workflows.unsaved.by_run.is_empty() || self.workflows.express.has_puts()
    }

    fn write(&mut self, pending: &mut Pending, writes: &mut Vec<Write>, puts: bool) {
        if !puts {
            return;
        }
        let mut steps = std::mem::take(&mut self.workflows.unsaved);
        for (&id, step) in &mut steps.by_run {
            if let Some(run) = self.workflows.runs.get(&id) {
                write_step(id, run, step, pending, writes);
            }
        }
        self.workflows.committing = steps;
        self.workflows.express.write(pending, writes);
    }

    fn durable(&mut self) {
        for (run, fact) in self.workflows.express.durable() {
            self.workflows.happened(run, fact);
        }
        for (id, step) in std::mem::take(&mut self.workflows.committing).by_run {
            let Some(run) = self.workflows.runs.get(&id) else { continue };
            if step.before.is_none() && !step.is_redriven {
                run.machine.meters.began(&run.row);
            }
            self.stop_attempts(id, &step.given_up);
            for child in step.begun {
                self.workflows.happened(child, Fact::Start);
            }
            let Some(run) = self.workflows.runs.get(&id) else { continue };
            if run.row.status == Status::Running {
                // Those of an app that has not started wait for its start.
                let calls = if self.ctx.started { step.calls } else { Vec::new() };
                for task in calls {
                    self.begin_call(id, task, true);
                }
            } else if !self.workflows.unsaved.by_run.contains_key(&id) {
                self.ended(id);
            }
        }
    }

    /// Steps are taken back with everything that they sent. What happened once is told again.
    fn refused(&mut self, error: &StoreError) {
        let later = std::mem::take(&mut self.workflows.unsaved);
        let first = std::mem::take(&mut self.workflows.committing);
        let kept: Vec<Happened> = first.kept.into_iter().chain(later.kept).collect();
        // Their tasks were given up in steps before, which stay.
        self.workflows.held_jobs.extend(first.stopped_jobs.into_iter().chain(later.stopped_jobs));
        for child in first.by_run.values().chain(later.by_run.values()).flat_map(|step| &step.begun) {
            if self.workflows.remove_run(*child).is_some() {
                self.workflows.express.one_less();
            }
        }
        // What was under way came first, so its state is the one to go back to.
        let before: BTreeMap<RunId, Option<Run>> =
            later.by_run.into_iter().chain(first.by_run).map(|(id, step)| (id, step.before)).collect();
        let mut again = Vec::new();
        for (id, before) in before {
            self.workflows.remove_run(id);
            if let Some(mut run) = before {
                let anew = if run.held.is_empty() {
                    // One whose start waited for the rate of transitions has begun in the step that is taken back.
                    (run.execution.event_count() == 0).then_some(Fact::Start)
                } else {
                    run.held.forget_order();
                    Some(Fact::Due)
                };
                again.extend(anew.map(|fact| Happened { run: id, fact, is_kept: false, brings: None }));
                let calls = run.calls.iter();
                let waits = calls.filter(|(_, call)| matches!(call.kind, CallKind::Activity { is_taken: false, .. }));
                let waits: Vec<(String, TaskId)> = waits.map(|(task, call)| (call.function.clone(), *task)).collect();
                self.workflows.insert_run(id, run);
                for (activity, task) in waits {
                    self.workflows.wait_for_worker(&activity, (id, task));
                }
            } else {
                for waiter in self.workflows.waiting.take(id) {
                    self.ctx.answer(waiter, Err(error.clone().into()));
                }
            }
        }
        for (run, fact) in self.workflows.express.refused() {
            if let Some(task) = ended_call(&fact) {
                let details = ErrorDetails::new("States.TaskFailed", Some(error.to_string()));
                self.workflows.happened(run, Fact::TaskFailed(task, details));
            }
        }
        let held = std::mem::take(&mut self.workflows.held);
        self.workflows.held = kept.into_iter().chain(held).chain(again).collect();
        self.arm();
    }

    fn read_done(&mut self, job: Box<dyn Any>) {
        old::found_old(self, job);
    }

    fn failed(&mut self, error: &StoreError) {
        self.workflows.inbox.clear();
        (self.workflows.unsaved, self.workflows.committing) = (Steps::default(), Steps::default());
        self.answer_waiting(&error.clone().into());
    }
}

impl WorkflowParticipant<'_> {
    /// An execution's end is durable.
    pub(crate) fn ended(&mut self, id: RunId) {
        let Some(run) = self.workflows.remove_run(id) else { return };
        self.workflows.followers.remove(&id);
        // One in memory that began anew may have taken another way.
        release_slots_of(self, id);
        run.machine.meters.ended(&run.row);
        logs::tell_of_failure(self.ctx, id, &run);
        if let Some(trace) = &run.row.trace {
            let (workflow, name) = (&run.machine.row.name, &run.row.name);
            let arn = self.ctx.run_arn(&run.machine.row, id, name);
            let fields = json!({"workflow": workflow, "name": name, "trace": trace});
            self.ctx.notice(OperatorEvent::ExecutionEnded, &arn, fields);
        }
        let waiters = self.workflows.waiting.take(id);
        if waiters.is_empty() {
            return;
        }
        let answer = json(described(self.ctx, &run.machine.row, id, run.row));
        for waiter in waiters {
            self.ctx.answer(waiter, Ok(Reply::Json(answer.clone())));
        }
    }

    /// Tell whoever waits for an execution that nothing more will be said. A worker that waits was given nothing: it may ask the next owner.
    pub(crate) fn answer_waiting(&mut self, error: &EngineError) {
        let unserved = match error {
            EngineError::OwnerLost(_) => EngineError::OwnerLeft("the store was closed before a task came".into()),
            error => error.clone(),
        };
        for waiter in self.workflows.activities.take_waiters() {
            self.ctx.answer(waiter, Err(unserved.clone()));
        }
        for (run, waiter) in self.workflows.waiting.take_all() {
            let error = waiting::told_at_the_end(error, self.workflows.runs.get(&run));
            self.ctx.answer(waiter, Err(error));
        }
    }
}

/// What of a step takes long is copied and written when the engine's lock is free: rows, states and histories.
fn write_step(id: RunId, run: &Run, step: &mut Step, pending: &mut Pending, writes: &mut Vec<Write>) {
    let has_ended = run.row.status != Status::Running;
    let row = || -> Unwritten {
        let row = run.row.clone();
        Box::new(move || serde_json::to_vec(&row).unwrap_or_default())
    };
    let (table, key, value) = (Table::Execution, id.bytes(), Vec::new());
    if step.is_redriven {
        pending.write_later(writes, Write::Set { table, key, value }, row());
        writes.push(Write::Remove { table: Table::ExecutionClosed, key: id.bytes() });
    } else if step.before.is_none() {
        let (name, number) = (name_key(id.machine, &run.row.name), id.number.to_be_bytes().to_vec());
        writes.push(Write::Set { table: Table::ExecutionName, key: name, value: number });
        pending.write_later(writes, Write::Add { table, key, value }, row());
    } else if has_ended {
        pending.write_later(writes, Write::Set { table, key, value }, row());
    }
    if has_ended {
        // One that began in this commit has none.
        if step.before.is_some() {
            writes.push(Write::Remove { table: Table::ExecutionState, key: id.bytes() });
        }
        if run.row.status != Status::Succeeded {
            let run = run.clone();
            let closed = move || {
                let Run { machine, execution, map_runs, readings, .. } = &run;
                let closed = ClosedRef { machine: &machine.row, execution, map_runs, readings };
                serde_json::to_vec(&closed).unwrap_or_default()
            };
            let write = Write::Set { table: Table::ExecutionClosed, key: id.bytes(), value: Vec::new() };
            pending.write_later(writes, write, Box::new(closed));
        }
    } else {
        let run = run.clone();
        let state = move || {
            let state = StateRef {
                due_ms: run.due_ms,
                calls: &run.calls,
                map_runs: &run.map_runs,
                readings: &run.readings,
                durables: &run.durables,
                held: &run.held,
                execution: &run.execution,
            };
            serde_json::to_vec(&state).unwrap_or_default()
        };
        let write = Write::Set { table: Table::ExecutionState, key: id.bytes(), value: Vec::new() };
        pending.write_later(writes, write, Box::new(state));
    }
    for (child, row) in &step.children {
        let value = serde_json::to_vec(row).unwrap_or_default();
        writes.push(Write::Set { table: Table::Execution, key: child.bytes(), value });
    }
    if let Some(first) = step.events.first().map(|event| event.id) {
        let events = std::mem::take(&mut step.events);
        let write = Write::Add { table: Table::History, key: id.history_key(first), value: Vec::new() };
        pending.write_later(writes, write, Box::new(move || pack(events)));
    }
}
