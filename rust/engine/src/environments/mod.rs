//! Execution environments: processes that run functions. Work for them never enters the Python exchange: it goes from its
//! line to an idle environment's thread as a command, and from there as a frame; the answer is settled under the lock.
//!
//! One thread attends each environment ([`attendant`]), since only it may wait for that process; the rules of when one starts
//! and goes are the core's ([`forebay_core::environment`]).

pub mod assignment;
pub(crate) mod attendant;
pub(crate) mod control_group;
pub(crate) mod faults;
pub mod frame;
mod link;
pub(crate) mod mailbox;
mod manual;
pub(crate) mod memory;
pub(crate) mod output;
pub(crate) mod process;
mod report;
mod requests;
pub(crate) mod runtime_api;
pub mod tails;

use crate::base::ids::RoomId;
use crate::dispatch::program::Declared;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use forebay_core::environment::{Command, EnvironmentId, Environments, Initialization, Phase, Settings};

use crate::base::timers::Timer;
use crate::dispatch::attempts::{HandlerId, Settled, Token};
pub use crate::dispatch::program::Program;
use crate::dispatch::ready_list::Kind;
use crate::environments::faults::Fault;
use crate::environments::mailbox::{Mailbox, ProcessCommand, StopReason};
pub(crate) use crate::environments::memory::kept_by as memory_kept_by;
pub use crate::environments::memory::would_be_kept_by as memory_would_be_kept_by;
pub use crate::environments::process::end_with_parent;
use crate::environments::tails::Tails;
use crate::metrics::exports::Told;
use crate::observe::meters::EnvironmentMeters;
use crate::observe::operator_events::OperatorEvent;

use crate::ctx::Ctx;
use crate::dispatch::permits;
use crate::dispatch::{Dispatch, DispatchRoom};

/// Whose timers these are.
pub(crate) const ROOM: RoomId = RoomId(2);

/// Execution environments, with what lies below them.
pub(crate) struct EnvironmentRoom<'a> {
    pub(crate) ctx: &'a mut Ctx,
    pub(crate) dispatch: &'a mut Dispatch,
    pub(crate) environments: &'a mut Pools,
}

impl EnvironmentRoom<'_> {
    pub(crate) fn dispatch(&mut self) -> DispatchRoom<'_> {
        DispatchRoom { ctx: self.ctx, dispatch: self.dispatch }
    }
}

/// Which environment of which function.
pub(crate) type Key = (HandlerId, EnvironmentId);

/// The name of an environment where it tells what is measured in it.
pub(crate) fn source((handler, id): Key) -> String {
    format!("environment {handler} {id}")
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
pub(crate) struct Pool {
    pub(crate) machine: Environments,
    settings: Settings,
    /// What was declared: the most at once, and the most that can be provisioned.
    maximum: usize,
    provisioned_maximum: usize,
    program: Arc<Program>,
    pub(crate) posts: BTreeMap<EnvironmentId, Arc<Mailbox>>,
    pub(crate) working: BTreeMap<Token, EnvironmentId>,
    armed: Option<u64>,
    meters: EnvironmentMeters,
}

/// Every function's environments.
#[derive(Default)]
pub(crate) struct Pools {
    pub(crate) by_handler: BTreeMap<HandlerId, Pool>,
    /// Environments to be started, for the launching thread.
    pub(crate) launches: VecDeque<Launch>,
    pub(crate) stopped: bool,
}

impl Pools {
    /// End the environment that an attempt runs in, if it runs in one.
    pub(crate) fn stop_attempt(&mut self, handler: HandlerId, token: Token, now_ns: u64) -> bool {
        let Some(pool) = self.by_handler.get_mut(&handler) else { return false };
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
        for pool in self.by_handler.values_mut() {
            pool.machine.stop();
            for mailbox in pool.posts.values() {
                mailbox.put(ProcessCommand::End(StopReason::Stopped), true);
            }
        }
    }
}

impl EnvironmentRoom<'_> {
    /// Run a function in environments from now on.
    pub(crate) fn declare_environments(&mut self, handler: HandlerId, declared: &Declared) {
        let program = Arc::new(declared.program.clone());
        let name = self.dispatch.functions[handler].qualified();
        let meters = EnvironmentMeters::new(&self.ctx.registry, &name);
        let pool = self.environments.by_handler.entry(handler).or_insert_with(|| Pool {
            machine: Environments::new(declared.settings()),
            settings: declared.settings(),
            maximum: declared.settings().maximum,
            provisioned_maximum: declared.provisioned_maximum,
            program: program.clone(),
            posts: BTreeMap::new(),
            working: BTreeMap::new(),
            armed: None,
            meters,
        });
        if pool.program != program {
            pool.machine.replace();
            pool.program = program;
        }
        pool.settings = declared.settings();
        (pool.maximum, pool.provisioned_maximum) = (pool.settings.maximum, declared.provisioned_maximum);
        pool.machine.configure(declared.settings());
        self.dispatch.process_lines.declare(handler, pool.settings.maximum, pool.provisioned_maximum);
        self.tend(handler);
        self.wait_for_more(handler);
    }

    /// Keep so many of a function's environments ready ahead of need.
    pub(crate) fn provision_environments(&mut self, handler: HandlerId, provisioned: usize) {
        let Some(pool) = self.environments.by_handler.get_mut(&handler) else { return };
        pool.settings.provisioned = provisioned;
        pool.settings.maximum = pool.maximum.max(provisioned);
        pool.machine.configure(pool.settings.clone());
        self.dispatch.process_lines.declare(handler, pool.settings.maximum, pool.provisioned_maximum);
        self.tend(handler);
        self.wait_for_more(handler);
    }

    /// There may be more environments than before: what waited for one of the function's attempts to end need not.
    fn wait_for_more(&mut self, handler: HandlerId) {
        if let Some(unit) = permits::unit_of(self.dispatch, handler) {
            permits::wait_for_permit(&mut self.dispatch(), unit);
        }
    }

    /// Start what is provisioned: the app runs now.
    pub(crate) fn start_environments(&mut self) {
        let handlers: Vec<HandlerId> = self.environments.by_handler.keys().copied().collect();
        for handler in handlers {
            self.tend(handler);
        }
    }

    /// A function's timer rang.
    pub(crate) fn environments_due(&mut self, handler: HandlerId) {
        if let Some(pool) = self.environments.by_handler.get_mut(&handler) {
            pool.armed = None;
        }
        self.tend(handler);
    }

    /// Do what is due in a pool, carry out its commands, and set its timer.
    pub(crate) fn tend(&mut self, handler: HandlerId) {
        let (now, running) = (self.ctx.now.mono_ns, self.ctx.started && !self.ctx.draining);
        let Some(pool) = self.environments.by_handler.get_mut(&handler) else { return };
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
                        let (function, program) = (self.dispatch.functions[handler].name.clone(), pool.program.clone());
                        let launch = Launch { key: (handler, id), function, program, mailbox, initialization };
                        self.environments.launches.push_back(launch);
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
        if let Some((_, unit)) = self.dispatch.functions[handler].place {
            self.dispatch.permits.environments_ready(unit, counts.idle + counts.busy);
        }
        if let (true, Some(due)) = (running, pool.machine.next_due()) {
            self.ctx.timers.arm(&mut pool.armed, due.max(now), Timer { room: ROOM, kind: 0, id: handler as u64 });
        }
    }

    /// The first waiting attempt of a function that may run now, and an environment that is free for it.
    pub(crate) fn match_one(&mut self, handler: HandlerId) -> Option<(EnvironmentId, Token)> {
        let pool = self.environments.by_handler.get_mut(&handler)?;
        let (attempts, ready_list) = (&mut self.dispatch.attempts, &self.dispatch.ready_list);
        let at = self.dispatch.process_lines.position(handler, |&token| {
            attempts.get_mut(token).is_some_and(|attempt| {
                attempt.alone || attempt.job.kind() == Kind::Invoke || ready_list.batch_may_run()
            })
        })?;
        let id = pool.machine.claim(self.ctx.now.mono_ns)?;
        Some((id, self.dispatch.process_lines.remove(handler, at)?))
    }

    pub(crate) fn ask_for_more(&mut self, handler: HandlerId) {
        let now = self.ctx.now.mono_ns;
        let Some(pool) = self.environments.by_handler.get_mut(&handler) else { return };
        self.dispatch.process_lines.looked_through(handler);
        let waiting = self.dispatch.process_lines.len_of(handler);
        if waiting > 0 {
            pool.machine.wanted(waiting, now);
        }
        self.tend(handler);
    }

    /// An environment takes work from now on.
    pub(crate) fn environment_initialized(&mut self, (handler, id): Key, took_ns: u64) {
        let now = self.ctx.now.mono_ns;
        let Some(pool) = self.environments.by_handler.get_mut(&handler) else { return };
        pool.machine.initialized(id, now);
        pool.meters.init_duration.record(took_ns as f64 / 1e9);
        self.tend(handler);
    }

    /// What is attached to the app has measured something in an environment.
    pub(crate) fn environment_measured(&mut self, told: Told) -> Result<(), String> {
        self.ctx.observe.exports.tell(&self.ctx.registry, told, self.ctx.now.mono_ns)
    }
}

/// What the end of an environment means to the work of its function.
pub(crate) enum Ended {
    /// Nothing of it.
    Idle,
    /// It worked on this attempt, and had not answered.
    Lost(Token),
    /// It ended before it could take work: what waits longest has failed.
    NeverStarted,
}

impl EnvironmentRoom<'_> {
    /// An environment is given an attempt to work on.
    pub(crate) fn give(&mut self, (handler, id): Key, token: Token) -> Option<Arc<Mailbox>> {
        let pool = self.environments.by_handler.get_mut(&handler)?;
        pool.working.insert(token, id);
        self.dispatch.process_lines.served(handler);
        pool.posts.get(&id).cloned()
    }

    /// An environment has answered; `goes_on`: it can take another invocation.
    pub(crate) fn answered(&mut self, (handler, id): Key, token: Token, goes_on: bool) {
        let now = self.ctx.now.mono_ns;
        if let Some(pool) = self.environments.by_handler.get_mut(&handler) {
            pool.working.remove(&token);
            if goes_on {
                pool.machine.answered(id, now);
            } else {
                pool.machine.stopping(id, now);
            }
        }
    }

    /// An environment is gone; `settled`: the attempt that its end is the answer of, if there is one.
    pub(crate) fn exited(&mut self, (handler, id): Key, fault: &Fault, settled: Option<Token>) -> Ended {
        let now = self.ctx.now.mono_ns;
        self.ctx.observe.exports.leave(&self.ctx.registry, &source((handler, id)));
        let Some(pool) = self.environments.by_handler.get_mut(&handler) else { return Ended::Idle };
        pool.posts.remove(&id);
        let phase = pool.machine.exited(id, now);
        if let Some(token) = settled {
            pool.working.remove(&token);
            return Ended::Idle;
        }
        // It was handed work and went before it had it.
        if let Some(&token) = pool.working.iter().find(|(_, &worker)| worker == id).map(|(token, _)| token) {
            pool.working.remove(&token);
            return Ended::Lost(token);
        }
        if phase == Some(Phase::Starting) || matches!(fault, Fault::InitTimeout(_)) {
            Ended::NeverStarted
        } else {
            Ended::Idle
        }
    }
}

/// Who the threads of environments tell what happens in them. Each call takes the engine's lock.
pub(crate) trait EnvironmentEvents: Send + Sync {
    /// An environment takes work from now on.
    fn initialized(&self, key: Key, took_ns: u64);
    /// What is attached to the app has measured something in an environment.
    fn measured(&self, told: Told) -> Result<(), String>;
    /// An environment has answered; `goes_on`: it can take another invocation.
    fn answered(&self, key: Key, settled: Settled, goes_on: bool);
    /// Have the log say something about an environment; `request`: what it works on.
    fn notice(&self, what: OperatorEvent, function: &str, request: Option<u128>, text: &str);
    /// An environment is gone, with what it worked on, if it did.
    fn exited(&self, key: Key, fault: &Fault, lost: Option<Settled>);
    /// The invocations whose lines are wanted.
    fn tails(&self) -> &Tails;
    /// A moment on the machine's clock that is as far from its present as the given one is from the engine's, wall ms.
    fn on_the_machines_clock(&self, wall_ms: u64) -> u64;
}
