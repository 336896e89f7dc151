//! One execution of a definition: facts in, commands out. What it is can be written between two facts and go on elsewhere.
//!
//! A turn runs all frames until each of them waits for a task, a timer or children. It knows no clock and draws no random
//! numbers: both are arguments, so that a turn can be run again.

mod asked;
mod children;
mod context;
mod data;
pub mod driver;
mod exit;
mod failure;
mod frame;
mod history;
mod inspection;
mod map;
mod map_run;
mod mock;
mod packed;
mod ranges;
pub mod reader;
mod redrivable;
mod task;
pub mod test_state;
pub mod time;
mod tolerated;
mod turn;
mod variables;
mod wait;

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use super::text::Text;
pub use children::RESULTS_BYTES_MAX;
pub use context::Identity;
pub use data::{Data, DataError, DATA_MAX};
pub use frame::{Batched, Child, Counts, FrameId, MapRun, MapRunStatus, ReadRequest, RunKey, TaskId, WriteRequest};
pub use map::{INLINE_ITEMS_MAX, ITERATIONS_MAX};
pub use map_run::{CHILDREN_DEFAULT, CHILDREN_MAX, ITEMS_MAX, PAGE_MAX, SPAWN_MAX};
pub use packed::{pack, unpack};
pub use redrivable::{Ended, NotRedrivable};
pub use tolerated::Tolerated;

pub use history::{
    CallKind, CallPhase, ErrorDetails, Event, EventId, EventKind, IterationPhase, Scheduled, CAUSE_CHARS_MAX,
    ERROR_CHARS_MAX, EVENTS_MAX,
};

use failure::Failure;
use frame::{Frame, Step};
use inspection::Inspection;
use turn::Turn;
use variables::{read_frames, Variables};

use super::budget::Budget;
use super::definition::{Body, Definition, FlowIndex, MachineType, Resource};
use super::scope::Entropy;

/// What the states of one turn may cost before others go on; a loop of Pass states never waits by itself.
pub const TURN_COST_MAX: usize = 10_000;
/// Bytes of a state's input that cost as much as another state.
const STATE_BYTES: usize = 64;
/// How much a turn costs between two looks at the clock.
const COST_OF_A_LOOK: usize = 64;
/// Milliseconds that an Express execution may take.
pub const EXPRESS_MS_MAX: u64 = 300_000;
/// Milliseconds that a Standard execution may take: 366 days.
pub const STANDARD_MS_MAX: u64 = 366 * 86_400_000;
/// Milliseconds after its end within which an execution can be redriven: 14 days.
pub const REDRIVE_MS_MAX: u64 = 14 * 86_400_000;
/// Most times an execution can be redriven.
pub const REDRIVES_MAX: u32 = 1_000;

/// Something that happened outside.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Fact {
    /// The execution begins.
    Start,
    /// An activity's worker took the task.
    TaskStarted(TaskId, Option<String>),
    /// The call was answered; the task goes on until its end is told.
    TaskSubmitted(TaskId, Data),
    /// The task has a result.
    TaskSucceeded(TaskId, Data),
    /// The task failed.
    TaskFailed(TaskId, ErrorDetails),
    /// The call of a task that goes on after its answer was refused.
    TaskSubmitFailed(TaskId, ErrorDetails),
    /// The call could not be started.
    TaskStartFailed(TaskId, ErrorDetails),
    /// The task is alive.
    Heartbeat(TaskId),
    /// A reader brings a page of items; whether it is the last.
    Items(RunKey, Vec<Value>, bool),
    /// A reader failed.
    ReadFailed(RunKey, ErrorDetails),
    /// A child execution of a distributed Map ended.
    ChildEnded(RunKey, u32, Outcome),
    /// A writer has written the results; its answer.
    Written(RunKey, Data),
    /// A writer failed.
    WriteFailed(RunKey, ErrorDetails),
    /// A wake-up, or a turn's remainder: what is due goes on.
    Due,
    /// Somebody stops the execution.
    Stop(ErrorDetails),
    /// Somebody lets a failed execution go on.
    Redrive,
}

/// How an execution ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Outcome {
    /// With an output.
    Succeeded(Data),
    /// With an error.
    Failed(ErrorDetails),
    /// It took too long.
    TimedOut(ErrorDetails),
    /// It was stopped.
    Aborted(ErrorDetails),
}

/// What the engine has to do, in this order, after the execution's state has been written.
#[derive(Clone, Debug)]
pub enum Command {
    /// Keep events.
    Record(Vec<Event>),
    /// Make a call.
    Call(Box<Call>),
    /// Give a call up.
    Cancel(TaskId),
    /// Start child executions.
    Spawn {
        /// The run that they are of.
        run: RunKey,
        /// The run's ARN.
        arn: String,
        /// The children.
        children: Vec<Child>,
    },
    /// Stop the children of a frame's run that still run, and give up what it reads or writes.
    AbortRun(FrameId),
    /// The run of an ARN ended so many others ago that nothing is told of it any more.
    ForgetRun(String),
    /// Read the first page of items.
    Read(RunKey, Box<ReadRequest>),
    /// Read the next page of what is being read.
    ReadMore(RunKey),
    /// Write the results of a run's children.
    Write(RunKey, Box<WriteRequest>),
    /// Bring [`Fact::Due`] at this time, in milliseconds since 1970; it replaces an earlier one.
    WakeAt(u64),
    /// Bring [`Fact::Due`] as soon as others had their turn.
    Continue,
    /// The execution is closed.
    End(Outcome),
}

/// A call of a function, an activity or a service.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// The task; a retry is another one.
    pub task: TaskId,
    /// The state's name.
    pub state: Text,
    /// What is called.
    pub resource: Resource,
    /// Its arguments.
    pub arguments: Data,
    /// The task's token, where the resource waits for one.
    pub token: Option<String>,
    /// Seconds until the task times out.
    pub timeout_seconds: Option<u64>,
    /// Seconds until it times out without a heartbeat.
    pub heartbeat_seconds: Option<u64>,
    /// The role to make the call with.
    pub role_arn: Option<String>,
}

/// Why a fact changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The execution is closed.
    Closed,
    /// The task has ended or never was.
    NoTask,
    /// The frame does not wait for this.
    NotExpected,
    /// The execution cannot be redriven: it runs, has succeeded, is Express, or ended too long ago.
    NotRedrivable,
    /// The turn's budget was too short. What the execution is now means nothing: go on from what it was.
    Unfinished,
}

/// An execution.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Execution {
    identity: Identity,
    flow: FlowIndex,
    input: Data,
    started_ms: u64,
    /// When it times out.
    deadline_ms: u64,
    timeout_ms: u64,
    #[serde(deserialize_with = "read_frames")]
    frames: BTreeMap<FrameId, Frame>,
    /// Frames that can go on at once.
    ready: VecDeque<FrameId>,
    next_frame: u32,
    next_task: u64,
    /// The last number that was given to a run of a distributed Map, or to a call of one.
    #[serde(default)]
    last_run_key: u32,
    last_event: EventId,
    /// The history is full: only its last event may still be added.
    is_full: bool,
    outcome: Option<Outcome>,
    stopped_ms: u64,
    redrive_count: u32,
    redriven_ms: u64,
    /// Runs of distributed Maps that have ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    ended_runs: Vec<MapRun>,
}

impl Execution {
    /// An execution that has not begun; bring it [`Fact::Start`].
    pub fn new(definition: &Definition, identity: Identity, input: Data, now_ms: u64) -> Self {
        Self::of_flow(definition, definition.flow(), identity, input, now_ms)
    }

    /// A child execution of a distributed Map, as [`Command::Spawn`] asks for it.
    /// Its tokens begin with `token_prefix`. One without its input is none.
    pub fn child(
        &self,
        definition: &Definition,
        frame: FrameId,
        child: &Child,
        token_prefix: Text,
        now_ms: u64,
    ) -> Option<Self> {
        let parent = self.frames.get(&frame)?;
        let Body::Map(map) = &definition.state(parent.state).body else { return None };
        let Step::Run(run) = &parent.step else { return None };
        let identity = Identity { token_prefix, ..self.identity.child(&run.arn, child) };
        Some(Self::of_flow(definition, map.flow, identity, child.input.clone()?, now_ms))
    }

    fn of_flow(definition: &Definition, flow: FlowIndex, identity: Identity, input: Data, now_ms: u64) -> Self {
        let longest = match identity.machine_type {
            MachineType::Standard => STANDARD_MS_MAX,
            MachineType::Express => EXPRESS_MS_MAX,
        };
        let asked = if flow == definition.flow() { definition.timeout_seconds() } else { None };
        let timeout_ms = asked.map_or(longest, |seconds| longest.min(seconds.saturating_mul(1_000)));
        let mut frame = Frame::new(definition.start(flow), input.clone(), Variables::default(), 0);
        frame.step = Step::Enter;
        Self {
            identity,
            flow,
            input,
            started_ms: now_ms,
            deadline_ms: now_ms.saturating_add(timeout_ms),
            timeout_ms,
            frames: BTreeMap::from([(FrameId(0), frame)]),
            ready: VecDeque::new(),
            next_frame: 1,
            next_task: 1,
            last_run_key: 0,
            last_event: 0,
            is_full: false,
            outcome: None,
            stopped_ms: 0,
            redrive_count: 0,
            redriven_ms: 0,
            ended_runs: Vec::new(),
        }
    }

    /// Who it is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Its input.
    pub fn input(&self) -> &Data {
        &self.input
    }

    /// How it ended, once it has.
    pub fn outcome(&self) -> Option<&Outcome> {
        self.outcome.as_ref()
    }

    /// When it times out.
    pub fn deadline_ms(&self) -> u64 {
        self.deadline_ms
    }

    /// How many events its history has.
    pub fn event_count(&self) -> EventId {
        self.last_event
    }

    /// How often it was redriven.
    pub fn redrive_count(&self) -> u32 {
        self.redrive_count
    }

    /// Children of distributed Maps that run: the run, and what [`Command::Spawn`] asked for.
    pub fn open_children(&self, definition: &Definition) -> Vec<(RunKey, Vec<Child>)> {
        let runs = self.frames.iter().filter_map(|(id, frame)| {
            let (Step::Run(run), Body::Map(map)) = (&frame.step, &definition.state(frame.state).body) else {
                return None;
            };
            let machine_type = map.distributed.as_ref()?.execution_type;
            let open = run.open.iter();
            let children = open.map(|(index, open)| Child { index: *index, input: open.input(), machine_type });
            Some((RunKey::new(*id, run.number), children.collect()))
        });
        runs.collect()
    }

    /// Give the machine's variables before it begins.
    fn set_variables(&mut self, variables: Map<String, Value>) {
        if let Some(frame) = self.frames.get_mut(&FrameId(0)) {
            frame.variables = Variables::new(variables);
        }
    }

    /// Take a fact; the commands are to be carried out after the execution's new state has been written.
    pub fn apply(
        &mut self,
        definition: &Definition,
        fact: Fact,
        now_ms: u64,
        entropy: &mut dyn Entropy,
        budget: &Budget<'_>,
    ) -> Result<Vec<Command>, Refused> {
        let mut turn = Turn::new(definition, now_ms, entropy, budget);
        self.take(&mut turn, fact)?;
        if budget.is_exceeded() {
            return Err(Refused::Unfinished);
        }
        Ok(turn.into_commands())
    }

    fn take(&mut self, turn: &mut Turn<'_>, fact: Fact) -> Result<(), Refused> {
        match (&fact, &self.outcome) {
            (Fact::Redrive, _) => failure::redrive(self, turn)?,
            (_, Some(_)) => return Err(Refused::Closed),
            _ => self.take_open(turn, fact)?,
        }
        self.run(turn);
        self.wake(turn);
        Ok(())
    }

    fn take_open(&mut self, turn: &mut Turn<'_>, fact: Fact) -> Result<(), Refused> {
        match fact {
            Fact::Start if self.last_event == 0 => self.start(turn),
            Fact::Start | Fact::Redrive => return Err(Refused::NotExpected),
            Fact::Due => self.due(turn),
            Fact::Stop(details) => {
                self.begin_late(turn);
                self.stop(turn, details);
            }
            Fact::Heartbeat(task) => task::heartbeat(self, turn, task)?,
            Fact::TaskStarted(task, worker) => task::task_started(self, turn, task, worker)?,
            Fact::TaskSubmitted(task, output) => task::task_submitted(self, turn, task, &output)?,
            Fact::TaskSucceeded(task, output) => task::task_succeeded(self, turn, task, output)?,
            Fact::TaskFailed(task, details) => task::task_failed(self, turn, task, details, CallPhase::Failed)?,
            Fact::TaskSubmitFailed(task, details) => {
                task::task_failed(self, turn, task, details, CallPhase::SubmitFailed)?;
            }
            Fact::TaskStartFailed(task, details) => {
                task::task_failed(self, turn, task, details, CallPhase::StartFailed)?;
            }
            Fact::Items(call, items, is_last) => map::run_items(self, turn, call, items, is_last)?,
            Fact::ChildEnded(run, index, outcome) => map_run::run_child_ended(self, turn, run, index, &outcome)?,
            Fact::Written(call, output) => map_run::run_written(self, turn, call, &output)?,
            Fact::ReadFailed(call, details) | Fact::WriteFailed(call, details) => {
                map_run::run_failed(self, turn, call, details)?;
            }
        }
        Ok(())
    }

    fn start(&mut self, turn: &mut Turn<'_>) {
        let role_arn = self.identity.role_arn.clone();
        let started = EventKind::ExecutionStarted { input: self.input.text().clone(), role_arn };
        self.record(turn, 0, || started);
        self.ready.push_back(FrameId(0));
    }

    /// One that ends before its start could be brought to it began all the same.
    fn begin_late(&mut self, turn: &mut Turn<'_>) {
        if self.last_event == 0 {
            self.start(turn);
        }
    }

    /// Add an event; the machine counts it even where nobody keeps it.
    fn record(&mut self, turn: &mut Turn<'_>, previous: EventId, kind: impl FnOnce() -> EventKind) -> EventId {
        let is_bounded = self.identity.machine_type == MachineType::Standard && self.outcome.is_none();
        if is_bounded && self.last_event + 1 >= EVENTS_MAX {
            self.is_full = true;
            return self.last_event;
        }
        self.last_event = self.last_event.saturating_add(1);
        if self.identity.is_recorded {
            turn.events.push(Event { id: self.last_event, previous, at_ms: turn.now_ms, kind: kind() });
        }
        self.last_event
    }

    /// Let every frame that can go on do so.
    fn run(&mut self, turn: &mut Turn<'_>) {
        let (mut cost, mut looks_at) = (0, COST_OF_A_LOOK);
        while self.outcome.is_none() {
            if self.is_full {
                let cause = format!("The execution reached the maximum number of history events ({EVENTS_MAX}).");
                let failed = Outcome::Failed(ErrorDetails::new("States.Runtime", Some(cause)));
                return self.close(turn, self.last_event, failed);
            }
            if turn.inspection.as_ref().is_some_and(Inspection::is_done) {
                return;
            }
            if turn.budget.is_exceeded() {
                return;
            }
            let Some(id) = self.ready.pop_front() else { return };
            // Where turns are short and many, the clock is not looked at for each state.
            let looks = cost >= looks_at || !turn.budget.is_short();
            if cost >= TURN_COST_MAX || (looks && turn.budget.is_over()) {
                self.ready.push_front(id);
                turn.commands.push(Command::Continue);
                return;
            }
            if cost >= looks_at {
                looks_at = cost + COST_OF_A_LOOK;
            }
            cost += 1 + self.frames.get(&id).map_or(0, |frame| frame.input.size() / STATE_BYTES);
            turn.budget.begin_state();
            self.step(turn, id);
        }
    }

    fn step(&mut self, turn: &mut Turn<'_>, id: FrameId) {
        match self.frames.get(&id).map(|frame| &frame.step) {
            Some(Step::Enter) => self.enter(turn, id),
            Some(Step::Begin) => self.begin(turn, id),
            Some(Step::Answered(output)) => {
                let output = output.clone();
                task::leave_task(self, turn, id, output);
            }
            _ => {}
        }
    }

    fn enter(&mut self, turn: &mut Turn<'_>, id: FrameId) {
        let Some(frame) = self.frames.get(&id) else { return };
        let state = turn.definition.state(frame.state);
        let (previous, input) = (frame.last, frame.input.text().clone());
        let entered = self.record(turn, previous, || EventKind::StateEntered(state.kind, state.name.clone(), input));
        let now_ms = turn.now_ms;
        let Some(frame) = self.frames.get_mut(&id) else { return };
        frame.entered_from = previous;
        frame.entered = entered;
        frame.last = entered;
        frame.entered_ms = now_ms;
        frame.attempts = vec![0; state.retry.len()];
        frame.retry_count = 0;
        self.begin(turn, id);
    }

    /// Do what the state does; what it fails with goes to its retriers and catchers.
    fn begin(&mut self, turn: &mut Turn<'_>, id: FrameId) {
        if self.is_full {
            return;
        }
        if let Err(failure) = self.work(turn, id) {
            failure::fail(self, turn, id, failure);
        }
    }

    fn work(&mut self, turn: &mut Turn<'_>, id: FrameId) -> Result<(), Failure> {
        let Some(frame) = self.frames.get(&id) else { return Ok(()) };
        let state = turn.definition.state(frame.state);
        match &state.body {
            Body::Pass { result } => exit::pass(self, turn, id, result.as_ref()),
            Body::Task(task) => task::begin_task(self, turn, id, task),
            Body::Choice(choice) => exit::choose(self, turn, id, choice),
            Body::Wait(until) => wait::begin_wait(self, turn, id, until),
            Body::Succeed => exit::succeed(self, turn, id),
            Body::Fail(fail) => exit::fail_state(self, turn, id, fail),
            Body::Parallel(branches) => children::begin_parallel(self, turn, id, branches),
            Body::Map(map) => map::begin_map(self, turn, id, map),
        }
    }

    /// Tell when the execution wants to go on by itself.
    fn wake(&self, turn: &mut Turn<'_>) {
        if self.outcome.is_some() || !self.ready.is_empty() {
            return;
        }
        let due = self.frames.values().filter_map(Frame::due_ms).min();
        turn.commands.push(Command::WakeAt(due.map_or(self.deadline_ms, |due| due.min(self.deadline_ms))));
    }

    fn due(&mut self, turn: &mut Turn<'_>) {
        if turn.now_ms >= self.deadline_ms {
            self.begin_late(turn);
            let details = ErrorDetails::default();
            let previous = children::abort_open(self, turn);
            return self.close(turn, previous, Outcome::TimedOut(details));
        }
        let mut due: Vec<(u64, FrameId)> = self
            .frames
            .iter()
            .filter_map(|(id, frame)| frame.due_ms().map(|due_ms| (due_ms, *id)))
            .filter(|(due_ms, _)| *due_ms <= turn.now_ms)
            .collect();
        due.sort_unstable();
        for (_, id) in due {
            if self.outcome.is_none() {
                self.frame_due(turn, id);
            }
        }
    }

    fn frame_due(&mut self, turn: &mut Turn<'_>, id: FrameId) {
        match self.frames.get(&id).map(|frame| &frame.step) {
            Some(Step::Task(_)) => task::task_due(self, turn, id),
            Some(Step::Until { is_retry: true, .. }) => self.make_ready(id, Step::Begin),
            Some(Step::Until { is_retry: false, .. }) => {
                if let Err(failure) = wait::end_wait(self, turn, id) {
                    failure::fail(self, turn, id, failure);
                }
            }
            _ => {}
        }
    }

    fn make_ready(&mut self, id: FrameId, step: Step) {
        if let Some(frame) = self.frames.get_mut(&id) {
            frame.step = step;
            self.ready.push_back(id);
        }
    }

    fn stop(&mut self, turn: &mut Turn<'_>, details: ErrorDetails) {
        let previous = children::abort_open(self, turn);
        self.close(turn, previous, Outcome::Aborted(details));
    }

    fn close(&mut self, turn: &mut Turn<'_>, previous: EventId, outcome: Outcome) {
        children::give_up_open(self, turn);
        self.ready.clear();
        self.stopped_ms = turn.now_ms;
        self.outcome = Some(outcome.clone());
        let kind = match &outcome {
            Outcome::Succeeded(output) => EventKind::ExecutionSucceeded(output.text().clone()),
            Outcome::Failed(details) => EventKind::ExecutionFailed(details.clone().shortened()),
            Outcome::TimedOut(details) => EventKind::ExecutionTimedOut(details.clone().shortened()),
            Outcome::Aborted(details) => EventKind::ExecutionAborted(details.clone().shortened()),
        };
        self.record(turn, previous, || kind);
        if self.identity.machine_type == MachineType::Express || matches!(outcome, Outcome::Succeeded(_)) {
            self.frames.clear();
        }
        turn.commands.push(Command::End(outcome));
    }
}

/// An object without fields, which `null` paths mean.
fn nothing() -> Value {
    Value::Object(Map::new())
}
