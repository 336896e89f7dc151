//! Execution environments: processes that run functions. Work for them never enters the Python exchange: it goes from its
//! line to an idle environment's thread as a command, and from there as a frame; the answer is settled under the lock.
//!
//! One thread attends each environment ([`attendant`]), since only it may wait for that process; the rules of when one starts
//! and goes are the core's ([`forebay_core::environment`]).

mod attendant;
mod control_group;
mod faults;
pub mod frame;
mod launching;
mod link;
pub(crate) mod mailbox;
mod manual;
mod memory;
pub(crate) mod output;
mod process;
mod report;
pub(crate) mod runtime_api;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use forebay_core::environment::{Command, EnvironmentId, Environments, Initialization, Phase, Settings};
use serde::Deserialize;

use crate::base::timers::Timer;
use crate::dispatch::attempts::{HandlerId, Job, Settled, Task, Token};
use crate::dispatch::ready_list::Kind;
use crate::environments::faults::Fault;
use crate::environments::mailbox::{Invocation, Mailbox, ProcessCommand, StopReason};
pub(crate) use crate::environments::memory::kept_by as memory_kept_by;
pub use crate::environments::memory::would_be_kept_by as memory_would_be_kept_by;
pub use crate::environments::process::{end_with_parent, Program};
use crate::metrics::exports::Told;
use crate::observe::meters::EnvironmentMeters;
use crate::runtime::rooms::State;
use crate::store::port::StoreError;

/// Which environment of which function.
pub(crate) type Key = (HandlerId, EnvironmentId);

/// How a function's environments are registered.
#[derive(Clone, Debug, Deserialize)]
pub struct Declared {
    /// What they run.
    #[serde(flatten)]
    pub program: Program,
    /// Kept initialised ahead of need.
    pub provisioned: usize,
    /// Most at once.
    pub maximum: usize,
    /// Most that can be asked for ahead of need. Where no maximum was given, so many as are provisioned may run.
    pub provisioned_maximum: usize,
    /// How long one may take to start.
    pub init_timeout_ms: u64,
    /// The same for one that starts ahead of need.
    pub provisioned_init_timeout_ms: u64,
    /// How long one that is not provisioned waits for work.
    pub idle_timeout_ms: u64,
    /// Replaced after so many invocations.
    #[serde(default)]
    pub recycle_invocations: Option<u64>,
    /// Replaced at this age.
    #[serde(default)]
    pub recycle_ms: Option<u64>,
}

impl Declared {
    fn settings(&self) -> Settings {
        let ns = |ms: u64| ms.saturating_mul(1_000_000);
        let maximum = self.maximum.max(1);
        Settings {
            provisioned: self.provisioned.min(maximum),
            maximum,
            init_ns: ns(self.init_timeout_ms),
            provisioned_init_ns: ns(self.provisioned_init_timeout_ms),
            idle_ns: ns(self.idle_timeout_ms),
            recycle_invocations: self.recycle_invocations,
            recycle_ns: self.recycle_ms.map(ns),
        }
    }
}

/// The name of an environment where it tells what is measured in it.
fn source((slot, id): Key) -> String {
    format!("environment {slot} {id}")
}

/// One environment to be started.
pub(crate) struct Launch {
    pub(crate) key: Key,
    pub(crate) function: String,
    pub(crate) program: Arc<Program>,
    pub(crate) mailbox: Arc<Mailbox>,
    initialization: Initialization,
}

impl Launch {
    /// Work waits for it.
    fn is_on_demand(&self) -> bool {
        self.initialization == Initialization::OnDemand
    }

    /// `AWS_LAMBDA_INITIALIZATION_TYPE`
    pub(crate) fn initialization_type(&self) -> &'static str {
        match self.initialization {
            Initialization::OnDemand => "on-demand",
            Initialization::Provisioned => "provisioned-concurrency",
        }
    }
}

/// One function's environments and the work that waits for them.
struct Pool {
    machine: Environments,
    settings: Settings,
    /// What was declared: the most at once, and the most that can be provisioned.
    maximum: usize,
    provisioned_maximum: usize,
    program: Arc<Program>,
    /// Attempts that wait, in order. All have a place.
    line: VecDeque<Token>,
    posts: BTreeMap<EnvironmentId, Arc<Mailbox>>,
    working: BTreeMap<Token, EnvironmentId>,
    armed: Option<u64>,
    meters: EnvironmentMeters,
}

/// Every function's environments.
#[derive(Default)]
pub(crate) struct Pools {
    by_slot: BTreeMap<HandlerId, Pool>,
    /// Functions whose line is not empty.
    hungry: BTreeSet<HandlerId>,
    /// The function that was served last: the next one is served first.
    served: HandlerId,
    /// Environments to be started, for the launching thread.
    pub(crate) launches: VecDeque<Launch>,
    pub(crate) stopped: bool,
}

impl Pools {
    /// Attempts that wait for an environment.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = Token> + '_ {
        self.by_slot.values().flat_map(|pool| pool.line.iter().copied())
    }

    /// Put an attempt in its function's line, if it has one; a suspect of a crash goes first.
    pub(crate) fn queue_attempt(&mut self, slot: HandlerId, token: Token, alone: bool) -> bool {
        let Some(pool) = self.by_slot.get_mut(&slot) else { return false };
        if alone {
            pool.line.push_front(token);
        } else {
            pool.line.push_back(token);
        }
        self.hungry.insert(slot);
        true
    }

    /// How many attempts a function's environments can take at once; `None` if it does not run in any.
    pub(crate) fn most(&self, slot: HandlerId) -> Option<usize> {
        self.by_slot.get(&slot).map(|pool| pool.settings.maximum)
    }

    /// How many of a function's environments can be provisioned; `None` if it does not run in any.
    pub(crate) fn most_provisioned(&self, slot: HandlerId) -> Option<usize> {
        self.by_slot.get(&slot).map(|pool| pool.provisioned_maximum)
    }

    /// Forget attempts that were not handed out.
    pub(crate) fn withdraw(&mut self, is_withdrawn: impl Fn(Token) -> bool) {
        for pool in self.by_slot.values_mut() {
            pool.line.retain(|&token| !is_withdrawn(token));
        }
    }

    /// End the environment that an attempt runs in, if it runs in one.
    pub(crate) fn stop_attempt(&mut self, slot: HandlerId, token: Token, now_ns: u64) -> bool {
        let Some(pool) = self.by_slot.get_mut(&slot) else { return false };
        if let Some(id) = pool.working.get(&token) {
            pool.machine.stopping(*id, now_ns);
            if let Some(mailbox) = pool.posts.get(id) {
                mailbox.put(ProcessCommand::End(StopReason::Deadline), true);
            }
        }
        true
    }

    /// End everything and start nothing more.
    pub(crate) fn stop(&mut self) {
        self.stopped = true;
        self.launches.clear();
        for pool in self.by_slot.values_mut() {
            pool.machine.stop();
            for mailbox in pool.posts.values() {
                mailbox.put(ProcessCommand::End(StopReason::Stopped), true);
            }
        }
    }
}

impl State {
    /// Run a function in environments from now on.
    pub(crate) fn declare_environments(&mut self, slot: HandlerId, declared: &Declared) {
        let program = Arc::new(declared.program.clone());
        let name = self.functions[slot].qualified();
        let meters = EnvironmentMeters::new(&self.registry, &name);
        let pool = self.pools.by_slot.entry(slot).or_insert_with(|| Pool {
            machine: Environments::new(declared.settings()),
            settings: declared.settings(),
            maximum: declared.settings().maximum,
            provisioned_maximum: declared.provisioned_maximum,
            program: program.clone(),
            line: VecDeque::new(),
            posts: BTreeMap::new(),
            working: BTreeMap::new(),
            armed: None,
            meters,
        });
        pool.program = program;
        pool.settings = declared.settings();
        (pool.maximum, pool.provisioned_maximum) = (pool.settings.maximum, declared.provisioned_maximum);
        pool.machine.configure(declared.settings());
        self.tend(slot);
        self.wait_for_more(slot);
    }

    /// Keep so many of a function's environments ready ahead of need; false if it does not run in any.
    pub(crate) fn provision_environments(&mut self, slot: HandlerId, provisioned: usize) -> bool {
        let Some(pool) = self.pools.by_slot.get_mut(&slot) else { return false };
        pool.settings.provisioned = provisioned;
        pool.settings.maximum = pool.maximum.max(provisioned);
        pool.machine.configure(pool.settings.clone());
        self.tend(slot);
        self.wait_for_more(slot);
        true
    }

    /// There may be more environments than before: what waited for one of the function's attempts to end need not.
    fn wait_for_more(&mut self, slot: HandlerId) {
        if let Some(unit) = self.unit_of(slot) {
            self.wait_for_permit(unit);
        }
    }

    /// Start what is provisioned: the app runs now.
    pub(crate) fn start_environments(&mut self) {
        let slots: Vec<HandlerId> = self.pools.by_slot.keys().copied().collect();
        for slot in slots {
            self.tend(slot);
        }
    }

    /// A function's timer rang.
    pub(crate) fn environments_due(&mut self, slot: HandlerId) {
        if let Some(pool) = self.pools.by_slot.get_mut(&slot) {
            pool.armed = None;
        }
        self.tend(slot);
    }

    /// Do what is due in a pool, carry out its commands, and set its timer.
    fn tend(&mut self, slot: HandlerId) {
        let (now, running) = (self.now.mono_ns, self.started && !self.draining);
        let Some(pool) = self.pools.by_slot.get_mut(&slot) else { return };
        if running && pool.machine.next_due().is_some_and(|due| due <= now) {
            pool.machine.due(now);
        }
        for command in pool.machine.commands() {
            match command {
                Command::Start(id, initialization) => match Mailbox::new() {
                    Ok(mailbox) => {
                        let mailbox = Arc::new(mailbox);
                        pool.posts.insert(id, mailbox.clone());
                        pool.meters.started(initialization);
                        let (function, program) = (self.functions[slot].name.clone(), pool.program.clone());
                        let launch = Launch { key: (slot, id), function, program, mailbox, initialization };
                        self.pools.launches.push_back(launch);
                    }
                    // Out of descriptors: as one that could not start. What waits for it asks again.
                    Err(_) => drop(pool.machine.exited(id, now)),
                },
                Command::End(id, ending) => {
                    if let Some(mailbox) = pool.posts.get(&id) {
                        mailbox.put(ProcessCommand::End(StopReason::Rule(ending)), true);
                    }
                }
            }
        }
        let counts = pool.machine.counts();
        pool.meters.show(counts);
        if let Some((_, unit)) = self.functions[slot].place {
            self.permits.environments_ready(unit, counts.idle + counts.busy);
        }
        if let (true, Some(due)) = (running, pool.machine.next_due()) {
            self.timers.arm(&mut pool.armed, due.max(now), Timer::Environments(slot));
        }
    }

    /// Give permits to what waits for them, hand waiting work to idle environments, and ask for more of them where it still waits.
    /// `own` looks for commands itself.
    pub(crate) fn feed_environments(&mut self, own: Option<Key>) {
        self.give_permits();
        if self.pools.hungry.is_empty() || self.draining || !self.started {
            return;
        }
        let mut commands: Vec<(Arc<Mailbox>, Invocation, bool)> = Vec::new();
        let served = self.pools.served;
        let (first, second) = (self.pools.hungry.range(served + 1..), self.pools.hungry.range(..=served));
        let slots: Vec<HandlerId> = first.chain(second).copied().collect();
        for slot in slots {
            while let Some((id, token)) = self.match_one(slot) {
                let Some(invocation) = self.invocation(token) else { continue };
                let Some(pool) = self.pools.by_slot.get_mut(&slot) else { break };
                pool.working.insert(token, id);
                self.pools.served = slot;
                if let Some(mailbox) = pool.posts.get(&id) {
                    commands.push((mailbox.clone(), invocation, own != Some((slot, id))));
                }
            }
            self.ask_for_more(slot);
        }
        if commands.is_empty() {
            return;
        }
        if let Err(error) = self.count_attempts() {
            // Attempts that cannot be counted must not run; the store has failed, so nothing runs any more.
            self.fail(StoreError::Failed(error.to_string()));
            return;
        }
        for (mailbox, invocation, ring) in commands {
            mailbox.put(ProcessCommand::Work(invocation), ring);
        }
    }

    /// The first waiting attempt of a function that may run now, and an environment that is free for it.
    fn match_one(&mut self, slot: HandlerId) -> Option<(EnvironmentId, Token)> {
        let pool = self.pools.by_slot.get_mut(&slot)?;
        let (attempts, ready_list) = (&mut self.attempts, &self.ready_list);
        let at = pool.line.iter().position(|&token| {
            attempts.get_mut(token).is_some_and(|attempt| {
                attempt.alone || attempt.job.kind() == Kind::Invoke || ready_list.batch_may_run()
            })
        })?;
        let id = pool.machine.claim(self.now.mono_ns)?;
        Some((id, pool.line.remove(at)?))
    }

    fn invocation(&mut self, token: Token) -> Option<Invocation> {
        let work = self.hand_out(token)?;
        let (reads, reports) = match &work.task {
            Task::Batch { records, .. } => {
                self.mappings.get(&records.source.mapping).map_or((false, false), |mapping| {
                    (mapping.row.reads_response(), mapping.row.report_batch_item_failures)
                })
            }
            Task::Messages { .. } => match self.attempts.get_mut(token).map(|attempt| &attempt.job) {
                Some(Job::Messages(job)) => (job.reports, job.reports),
                _ => (false, false),
            },
            _ => (true, false),
        };
        Some(Invocation { work, reads, reports })
    }

    fn ask_for_more(&mut self, slot: HandlerId) {
        let now = self.now.mono_ns;
        let Some(pool) = self.pools.by_slot.get_mut(&slot) else { return };
        if pool.line.is_empty() {
            self.pools.hungry.remove(&slot);
        } else {
            pool.machine.wanted(pool.line.len(), now);
        }
        self.tend(slot);
    }

    /// An environment takes work from now on.
    pub(crate) fn environment_initialized(&mut self, (slot, id): Key, took_ns: u64) {
        let now = self.now.mono_ns;
        let Some(pool) = self.pools.by_slot.get_mut(&slot) else { return };
        pool.machine.initialized(id, now);
        pool.meters.init_duration.record(took_ns as f64 / 1e9);
        self.tend(slot);
        self.feed_environments(Some((slot, id)));
    }

    /// An environment has answered; `goes_on`: it can take another invocation.
    pub(crate) fn environment_answered(&mut self, (slot, id): Key, settled: Settled, goes_on: bool) {
        let now = self.now.mono_ns;
        if let Some(pool) = self.pools.by_slot.get_mut(&slot) {
            pool.working.remove(&settled.token);
            if goes_on {
                pool.machine.answered(id, now);
            } else {
                pool.machine.stopping(id, now);
            }
        }
        self.settle(settled);
        self.tend(slot);
        self.feed_environments(Some((slot, id)));
    }

    /// What is attached to the app has measured something in an environment.
    pub(crate) fn environment_measured(&mut self, told: Told) -> Result<(), String> {
        self.exports.tell(&self.registry, told, self.now.mono_ns)
    }

    /// An environment is gone, with what it worked on, if it did.
    pub(crate) fn environment_exited(&mut self, (slot, id): Key, fault: &Fault, lost: Option<Settled>) {
        let now = self.now.mono_ns;
        self.exports.leave(&self.registry, &source((slot, id)));
        let Some(pool) = self.pools.by_slot.get_mut(&slot) else { return };
        pool.posts.remove(&id);
        let phase = pool.machine.exited(id, now);
        if let Some(lost) = lost {
            pool.working.remove(&lost.token);
            self.settle(lost);
        } else if let Some(&token) = pool.working.iter().find(|(_, &worker)| worker == id).map(|(token, _)| token) {
            // It was handed work and went before it had it.
            pool.working.remove(&token);
            self.fail_attempt(token, fault);
        } else if phase == Some(Phase::Starting) || matches!(fault, Fault::InitTimeout(_)) {
            self.fail_first(slot, fault);
        }
        self.tend(slot);
        self.feed_environments(None);
    }

    /// What waited longest for an environment that could not start has failed: it is what Lambda's invocation gets.
    fn fail_first(&mut self, slot: HandlerId, fault: &Fault) {
        let Some(token) = self.pools.by_slot.get_mut(&slot).and_then(|pool| pool.line.pop_front()) else { return };
        if matches!(fault, Fault::Stopped) || self.hand_out(token).is_none() {
            return;
        }
        match self.count_attempts() {
            Ok(()) => self.fail_attempt(token, fault),
            Err(error) => self.fail(StoreError::Failed(error.to_string())),
        }
    }

    fn fail_attempt(&mut self, token: Token, fault: &Fault) {
        let Some(request) = self.attempts.get_mut(token).map(|attempt| attempt.request) else { return };
        self.settle(Settled { token, status: fault.status(), body: fault.body(request), duration_ns: 0 });
    }
}
