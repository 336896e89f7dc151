//! Workflows: state machines in Amazon's language, whose executions go on from their rows.
//!
//! A step of an execution is one commit (`step`): its new state, its history, and what its tasks send to queues, topics, buses and other
//! machines of this store (`calls`). A function is called when that is durable, and again after a crash before its end was told. A step
//! that a full disk refuses is taken back with everything that it sent; what a function had answered is brought again when there is room.

pub use crate::workflows::supported::check_callable;

pub(crate) mod activities;
pub(crate) mod aside;
mod calls;
mod children;
mod durable;
mod express;
mod histories;
mod interrupted;
mod logs;
mod machines;
mod map_children;
mod map_runs;
mod old;
mod outside;
mod parameters;
pub(crate) mod participant;
mod redrive;
pub(crate) mod requests;
mod restore;
pub(crate) mod row;
mod step;
mod supported;
#[cfg(test)]
mod tests;
pub(crate) mod throttle;
pub(crate) mod turns;
mod versions;
mod waiting;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use forebay_core::durable::Durable;
use forebay_core::workflow::definition::{invalid_definition, Definition, MachineType, Problem};
use forebay_core::workflow::machine::{Event, Execution, Fact, FrameId, Identity, TaskId};

use crate::api::workflow::{Kind, LogLevel, Status};
use crate::base::error::EngineError;
use crate::buses::BusRoom;
use crate::ctx::Ctx;
use crate::dispatch::attempt_journal::JournalSlot;
use crate::dispatch::attempts::Token;
use crate::metrics::{Counter, Metric, Registry};
use crate::workflows::activities::Activities;
use crate::workflows::aside::{Aside, Held, Slowness};
use crate::workflows::express::{Express, InMemory};
use crate::workflows::old::OldRuns;
use crate::workflows::outside::{Brings, Integrations, Reading};
use crate::workflows::row::{ExecutionRow, MachineRow, MapRuns, OpenCall, Parent, RunId};
use crate::workflows::supported::{durable_of, states, writes_results};
use crate::workflows::throttle::Throttles;
use crate::workflows::waiting::Waiting;

/// Workflows, with what lies below them.
pub(crate) struct WorkflowRoom<'a> {
    pub(crate) below: BusRoom<'a>,
    pub(crate) workflows: &'a mut Workflows,
}

/// All machines of an engine, their executions that run, and what they leave for the next commit.
#[derive(Default)]
pub(crate) struct Workflows {
    /// The latest revisions by name, and all that executions may have begun with.
    machines: BTreeMap<String, Arc<Machine>>,
    revisions: BTreeMap<(u64, u32), Arc<Machine>>,
    runs: BTreeMap<RunId, Run>,
    names: BTreeMap<(u64, String), RunId>,
    /// Executions that want to go on by themselves, by when.
    by_time: BTreeSet<(u64, RunId)>,
    /// What has happened and was not brought to its execution yet.
    inbox: VecDeque<Happened>,
    /// Steps that are not durable yet: of the next commit, and of the one under way.
    unsaved: Steps,
    committing: Steps,
    /// Children in memory that a restart begins anew: their parents.
    childless: Vec<RunId>,
    /// What is brought again when the disk has room.
    held: Vec<Happened>,
    pub(crate) express: Express,
    activities: Activities,
    /// Attempts at calls of functions, from when they wait for their place.
    attempts: BTreeMap<(RunId, TaskId), Token>,
    /// Calls that ran when the last process died, and how often that was so.
    interrupted: BTreeMap<(RunId, TaskId), (u32, Vec<JournalSlot>)>,
    /// While those are found.
    anew: Option<Box<interrupted::Anew>>,
    /// Who waits for the end of an execution.
    waiting: Waiting,
    /// Calls of functions that this process has not registered yet, by the functions.
    unregistered: BTreeMap<String, BTreeSet<(RunId, TaskId)>>,
    /// How often a call was tried.
    #[cfg(test)]
    tried: usize,
    last_number: u64,
    /// When the timer rings.
    armed: Option<u64>,
    /// How far the search for old executions has come, and whether it is under way.
    old: Box<OldRuns>,
    is_looking: bool,
    integrations: Integrations,
    /// Tells this store apart from all others.
    store: Option<u128>,
    /// When jobs are asked about again.
    questions: BTreeSet<(u64, RunId, TaskId)>,
    /// Jobs whose tasks were given up before they were known, and that are to be stopped; and those of them that a full disk has refused.
    unwanted_jobs: Vec<OpenCall>,
    held_jobs: Vec<OpenCall>,
    /// Tasks that wait for an execution that something else has begun.
    followers: BTreeMap<RunId, Vec<Parent>>,
    throttles: Throttles,
    aside: Aside,
    /// How many executions of a machine, or children of a Map's run, run.
    running: BTreeMap<u64, usize>,
    /// Functions that are durable in this process: a row may be of one that no longer is.
    durable_functions: BTreeSet<String>,
}

/// A definition that was read. That takes long: where a request has one, it is read before the engine's lock is taken.
pub(crate) struct Program {
    definition: Definition,
    /// Results of a Map of its are written by an integration.
    writes_results: bool,
    /// Its states evaluate JSONata.
    evaluates: bool,
    /// The durable function that it runs, if that is all that it does.
    durable_of: Option<String>,
}

/// A revision of a machine.
pub(crate) struct Machine {
    row: MachineRow,
    program: Arc<Program>,
    /// What its executions have in common of who they are.
    identity: Identity,
    /// Whether its expressions take long.
    slowness: Slowness,
    meters: Meters,
}

/// An execution that runs.
#[derive(Clone)]
struct Run {
    machine: Arc<Machine>,
    row: ExecutionRow,
    execution: Execution,
    due_ms: Option<u64>,
    calls: BTreeMap<TaskId, OpenCall>,
    map_runs: MapRuns,
    readings: BTreeMap<FrameId, Reading>,
    /// What durable functions have done, by their tasks.
    durables: BTreeMap<TaskId, Durable>,
    held: Held,
    /// It runs in memory alone.
    memory: Option<InMemory>,
}

/// Something that an execution is to be told.
#[derive(Clone)]
pub(crate) struct Happened {
    run: RunId,
    fact: Fact,
    /// It happened outside, once: it is brought again if the step is taken back.
    is_kept: bool,
    /// What its step changes beside.
    brings: Option<Brings>,
}

/// Steps that are written together.
#[derive(Default)]
struct Steps {
    by_run: BTreeMap<RunId, Step>,
    /// What they came of and what does not happen again, in its order.
    kept: Vec<Happened>,
    /// Unwanted jobs whose stops are written beside them.
    stopped_jobs: Vec<OpenCall>,
}

/// What is written of one execution.
#[derive(Default)]
struct Step {
    /// As it was; `None`: it began.
    before: Option<Run>,
    events: Vec<Event>,
    /// It had ended, and goes on.
    is_redriven: bool,
    /// Functions to be called when it is durable, and those whose calls are given up then.
    calls: Vec<TaskId>,
    given_up: Vec<TaskId>,
    /// Children in memory that begin when it is durable, and those that have ended and that are kept for the writer of results.
    begun: Vec<RunId>,
    children: Vec<(RunId, Box<ExecutionRow>)>,
}

struct Meters {
    started: Counter,
    succeeded: Counter,
    failed: Counter,
    timed_out: Counter,
    aborted: Counter,
    throttled: Counter,
    long_histories: Counter,
}

impl Meters {
    fn new(registry: &Registry, workflow: &str) -> Self {
        let counter = |metric| registry.counter(metric, &[workflow]);
        Self {
            started: counter(Metric::ExecutionsStarted),
            succeeded: counter(Metric::ExecutionsSucceeded),
            failed: counter(Metric::ExecutionsFailed),
            timed_out: counter(Metric::ExecutionsTimedOut),
            aborted: counter(Metric::ExecutionsAborted),
            throttled: counter(Metric::ExecutionThrottled),
            long_histories: counter(Metric::LongHistories),
        }
    }

    /// An execution began. A child of a distributed Map is not counted: nobody started it, and its failure may be tolerated.
    fn began(&self, row: &ExecutionRow) {
        if row.child.is_none() {
            self.started.increment();
        }
    }

    fn ended(&self, row: &ExecutionRow) {
        if row.child.is_some() {
            return;
        }
        match row.status {
            Status::Running => {}
            Status::Succeeded => self.succeeded.increment(),
            Status::Failed => self.failed.increment(),
            Status::TimedOut => self.timed_out.increment(),
            Status::Aborted => self.aborted.increment(),
        }
    }
}

impl Program {
    /// Read a definition; refuse one that is wrong.
    fn read(definition: &str, kind: Kind) -> Result<Arc<Self>, EngineError> {
        Self::of(definition, Definition::parse(definition, kind.into()))
    }

    /// Read a definition that the store has.
    fn accepted(definition: &str) -> Result<Arc<Self>, EngineError> {
        Self::of(definition, Definition::accepted(definition))
    }

    fn of(text: &str, definition: Result<Definition, Vec<Problem>>) -> Result<Arc<Self>, EngineError> {
        let states = states(text);
        let (writes_results, durable_of) = (writes_results(&states), durable_of(&states));
        let definition =
            definition.map_err(|problems| EngineError::Invalid(invalid_definition(&problems).unwrap_or_default()))?;
        let evaluates = definition.evaluates_jsonata();
        Ok(Arc::new(Self { definition, writes_results, evaluates, durable_of }))
    }
}

impl Machine {
    fn new(row: MachineRow, program: Arc<Program>, ctx: &Ctx) -> Self {
        let identity = Identity {
            machine_arn: ctx.workflow_arn(&row.name).into(),
            machine_name: row.name.as_str().into(),
            role_arn: ctx.role_of(&row).into(),
            region: ctx.config.region.as_str().into(),
            machine_type: row.kind.into(),
            is_recorded: row.kind == Kind::Standard || row.log_level != LogLevel::Off,
            ..Identity::default()
        };
        let meters = Meters::new(&ctx.registry, &row.name);
        Self { program, identity, slowness: Slowness::default(), meters, row }
    }

    fn definition(&self) -> &Definition {
        &self.program.definition
    }
}

impl From<Kind> for MachineType {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Standard => Self::Standard,
            Kind::Express => Self::Express,
        }
    }
}

impl Workflows {
    fn machine(&self, name: &str) -> Result<&Arc<Machine>, EngineError> {
        self.machines.get(name).ok_or_else(|| {
            EngineError::NotFound(format!("State Machine Does Not Exist: workflow {name:?} is not declared"))
        })
    }

    /// The latest revision of a machine, by its id.
    fn latest(&self, machine: u64) -> Option<&Arc<Machine>> {
        self.revisions.range((machine, 0)..=(machine, u32::MAX)).next_back().map(|(_, machine)| machine)
    }

    fn happened(&mut self, run: RunId, fact: Fact) {
        self.inbox.push_back(Happened { run, fact, is_kept: false, brings: None });
    }

    /// Executions as they were before steps that are not durable.
    fn steps_before(&self) -> impl Iterator<Item = &Run> {
        self.committing.by_run.values().chain(self.unsaved.by_run.values()).filter_map(|step| step.before.as_ref())
    }

    /// What the store has of an execution that runs here.
    fn durable_run(&self, id: RunId) -> Option<&Run> {
        let steps = [&self.committing, &self.unsaved];
        let before = steps.into_iter().find_map(|steps| steps.by_run.get(&id)).and_then(|step| step.before.as_ref());
        before.or_else(|| self.runs.get(&id))
    }

    fn durable_row(&self, id: RunId) -> Option<ExecutionRow> {
        self.durable_run(id).map(|run| run.row.clone())
    }

    /// How many executions of a machine run.
    fn running(&self, machine: u64) -> usize {
        self.running.get(&machine).copied().unwrap_or(0)
    }

    /// Whether something is to be brought to executions, or may begin.
    pub(crate) fn has_work(&self, is_started: bool) -> bool {
        !self.inbox.is_empty()
            || !self.unwanted_jobs.is_empty()
            || self.throttles.is_due
            || (is_started && (self.express.has_ready() || !self.childless.is_empty()))
            || self.activities.match_each_other()
    }

    fn is_in_memory(&self, id: RunId) -> bool {
        self.runs.get(&id).is_some_and(|run| run.memory.is_some())
    }

    /// Let an execution go on by itself at another time.
    fn set_due(&mut self, id: RunId, due_ms: Option<u64>) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        if let Some(before_ms) = std::mem::replace(&mut run.due_ms, due_ms) {
            self.by_time.remove(&(before_ms, id));
        }
        self.by_time.extend(due_ms.map(|due_ms| (due_ms, id)));
    }

    fn insert_run(&mut self, id: RunId, run: Run) {
        self.names.insert((id.machine, run.row.name.clone()), id);
        *self.running.entry(id.machine).or_default() += 1;
        self.by_time.extend(run.due_ms.map(|due_ms| (due_ms, id)));
        self.runs.insert(id, run);
    }

    fn remove_run(&mut self, id: RunId) -> Option<Run> {
        let run = self.runs.remove(&id)?;
        if let Some(running) = self.running.get_mut(&id.machine) {
            *running -= 1;
            if *running == 0 {
                self.running.remove(&id.machine);
            }
        }
        // Names of Express executions need not differ.
        let name = (id.machine, run.row.name.clone());
        if self.names.get(&name) == Some(&id) {
            self.names.remove(&name);
        }
        if let Some(due_ms) = run.due_ms {
            self.by_time.remove(&(due_ms, id));
        }
        Some(run)
    }
}

impl Ctx {
    /// The ARN of a machine's role.
    fn role_of(&self, machine: &MachineRow) -> String {
        machine.role.clone().unwrap_or_else(|| format!("arn:aws:iam::{}:role/forebay", self.config.account))
    }

    /// The ARN of an execution of a machine. One of an Express workflow has its number, since names need not differ.
    fn run_arn(&self, machine: &MachineRow, id: RunId, name: &str) -> String {
        let (region, account, workflow) = (&self.config.region, &self.config.account, &machine.name);
        match machine.kind {
            Kind::Standard => self.execution_arn(workflow, name),
            Kind::Express => format!("arn:aws:states:{region}:{account}:express:{workflow}:{name}:{:x}", id.number),
        }
    }
}
