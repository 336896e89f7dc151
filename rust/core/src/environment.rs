//! One function's execution environments: when one starts, works, and goes. It never sees a process, only its number.
//!
//! ```text
//!              initialized            claim
//!   starting -------------> idle <------------> busy
//!      |                      |     answered      |
//!      | init limit           | idle too long,    | recycled, stopped at its deadline,
//!      | (exited: init        | recycled          | or ended by itself
//!      |  failed)             v                   |
//!      +------------------> ending <--------------+
//!                             | exited
//!                             v
//!                           (gone)
//! ```
//!
//! Environments start ahead of need up to `provisioned`, and one for each piece of work that waits beyond that, up to
//! `maximum`. The one that worked last works next, so that those that are not needed grow old and retire.
//! <https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html>

use std::collections::BTreeMap;

/// Names an environment of one function; never used twice.
pub type EnvironmentId = u64;

/// Wait after the first provisioned environment in a row that could not start, ns; doubled for each further one.
const HOLD_NS: u64 = 1_000_000_000;
/// Longest such wait, ns.
const HOLD_NS_MAX: u64 = 60_000_000_000;

/// What a function's environments are held to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Kept initialised ahead of need; at most `maximum`.
    pub provisioned: usize,
    /// Most at once, those that are ending included; at least 1.
    pub maximum: usize,
    /// How long one may take to start on demand, ns.
    pub init_ns: u64,
    /// How long a provisioned one may take to start, ns.
    pub provisioned_init_ns: u64,
    /// How long one that is not provisioned waits for work, ns.
    pub idle_ns: u64,
    /// Replaced after so many invocations.
    pub recycle_invocations: Option<u64>,
    /// Replaced at this age, ns, once it is not busy.
    pub recycle_ns: Option<u64>,
}

/// Why an environment was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Initialization {
    /// Work waited for it.
    OnDemand,
    /// Ahead of need.
    Provisioned,
}

/// Where an environment stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It does not take work yet.
    Starting,
    /// It waits for work.
    Idle,
    /// It works on one invocation.
    Busy,
    /// It is being stopped.
    Ending,
}

/// What the engine must do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Start an environment.
    Start(EnvironmentId, Initialization),
    /// Stop one that is not busy.
    End(EnvironmentId, Ending),
}

/// Why an environment that is not busy is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It took too long to start.
    InitTimeout,
    /// There was nothing to do.
    Idle,
    /// It had served long enough.
    Recycled,
}

#[derive(Clone, Debug)]
struct Environment {
    phase: Phase,
    initialization: Initialization,
    /// When it was started.
    started_ns: u64,
    /// When it entered its phase.
    since_ns: u64,
    served: u64,
}

/// How many environments stand where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// In [`Phase::Starting`].
    pub starting: usize,
    /// In [`Phase::Idle`].
    pub idle: usize,
    /// In [`Phase::Busy`].
    pub busy: usize,
    /// In [`Phase::Ending`].
    pub ending: usize,
}

impl Counts {
    fn of(&mut self, phase: Phase) -> &mut usize {
        match phase {
            Phase::Starting => &mut self.starting,
            Phase::Idle => &mut self.idle,
            Phase::Busy => &mut self.busy,
            Phase::Ending => &mut self.ending,
        }
    }

    /// All of them.
    pub fn total(&self) -> usize {
        self.starting + self.idle + self.busy + self.ending
    }
}

/// The environments of one function.
#[derive(Clone, Debug)]
pub struct Environments {
    settings: Settings,
    all: BTreeMap<EnvironmentId, Environment>,
    /// Those that wait for work, the one that worked last at the end.
    idle: Vec<EnvironmentId>,
    counts: Counts,
    /// Provisioned ones that are not ending.
    provisioned: usize,
    next: EnvironmentId,
    /// Provisioned ones in a row that could not start.
    failures: u32,
    /// No provisioned one starts before.
    hold_until_ns: u64,
    /// Those with a lower id run an earlier program.
    current_from: EnvironmentId,
    /// When [`Environments::due`] has something to do, at the latest.
    look_at_ns: Option<u64>,
    stopped: bool,
    commands: Vec<Command>,
}

impl Environments {
    /// None yet; [`Environments::due`] starts those that are provisioned.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            all: BTreeMap::new(),
            idle: Vec::new(),
            counts: Counts::default(),
            provisioned: 0,
            next: 1,
            failures: 0,
            hold_until_ns: 0,
            current_from: 1,
            look_at_ns: Some(0),
            stopped: false,
            commands: Vec::new(),
        }
    }

    /// Hold them to other settings from the next [`Environments::due`] on, which is due at once.
    pub fn configure(&mut self, settings: Settings) {
        self.settings = settings;
        self.look_at_ns = Some(0);
    }

    /// Run another program from now on: those that are there take no further work. One that is busy ends behind its invocation,
    /// one that is starting takes at most one.
    pub fn replace(&mut self) {
        self.current_from = self.next;
        self.look_at_ns = Some(0);
    }

    /// What the engine must do, in order.
    pub fn commands(&mut self) -> Vec<Command> {
        std::mem::take(&mut self.commands)
    }

    /// How many stand where.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// When to call [`Environments::due`], ns.
    pub fn next_due(&self) -> Option<u64> {
        self.look_at_ns
    }

    /// So many pieces of work wait for an environment.
    pub fn wanted(&mut self, waiting: usize, now_ns: u64) {
        let coming = self.counts.idle + self.counts.starting;
        let room = self.settings.maximum.saturating_sub(self.counts.total());
        for _ in 0..waiting.saturating_sub(coming).min(room) {
            self.start(Initialization::OnDemand, now_ns);
        }
    }

    /// Take an environment for one invocation, if one waits.
    pub fn claim(&mut self, now_ns: u64) -> Option<EnvironmentId> {
        let id = self.idle.pop()?;
        self.enter(id, Phase::Busy, now_ns);
        Some(id)
    }

    /// An environment takes work from now on. One that is ending is left to its end.
    pub fn initialized(&mut self, id: EnvironmentId, now_ns: u64) {
        if self.phase(id) == Some(Phase::Starting) {
            self.failures = 0;
            self.rest(id, now_ns);
        }
    }

    /// An invocation has ended in an environment that can take another.
    pub fn answered(&mut self, id: EnvironmentId, now_ns: u64) {
        if self.phase(id) != Some(Phase::Busy) {
            return;
        }
        if let Some(environment) = self.all.get_mut(&id) {
            environment.served += 1;
        }
        if self.is_spent(id, now_ns) {
            self.end(id, Ending::Recycled, now_ns);
            self.look_at(now_ns);
        } else {
            self.rest(id, now_ns);
        }
    }

    /// The engine stops an environment: its invocation is past its deadline, it answers nonsense, it takes too much memory.
    pub fn stopping(&mut self, id: EnvironmentId, now_ns: u64) {
        if self.phase(id).is_some() {
            self.idle.retain(|&other| other != id);
            self.enter(id, Phase::Ending, now_ns);
        }
    }

    /// An environment is gone, stopped or by itself. Gives the phase it was in: one that was starting could not.
    pub fn exited(&mut self, id: EnvironmentId, now_ns: u64) -> Option<Phase> {
        let phase = self.phase(id)?;
        self.stopping(id, now_ns);
        self.all.remove(&id);
        self.counts.ending -= 1;
        if self.provisioned < self.settings.provisioned {
            self.look_at(self.hold_until_ns.max(now_ns));
        }
        Some(phase)
    }

    /// Do what is due: stop what took too long, is too old or has nothing to do; start what is provisioned and not there.
    pub fn due(&mut self, now_ns: u64) {
        self.look_at_ns = None;
        let ids: Vec<EnvironmentId> = self.all.keys().copied().collect();
        for id in ids {
            match self.limit(id) {
                Some((at, ending)) if at <= now_ns => self.end(id, ending, now_ns),
                Some((at, _)) => self.look_at(at),
                None => {}
            }
        }
        if self.provisioned >= self.settings.provisioned || self.stopped {
            return;
        }
        if self.hold_until_ns > now_ns {
            self.look_at(self.hold_until_ns);
            return;
        }
        let room = self.settings.maximum.saturating_sub(self.counts.total());
        for _ in 0..(self.settings.provisioned - self.provisioned).min(room) {
            self.start(Initialization::Provisioned, now_ns);
        }
    }

    /// Start none from now on.
    pub fn stop(&mut self) {
        self.stopped = true;
        self.look_at_ns = None;
    }

    /// Those that are there.
    pub fn ids(&self) -> impl Iterator<Item = EnvironmentId> + '_ {
        self.all.keys().copied()
    }

    fn phase(&self, id: EnvironmentId) -> Option<Phase> {
        self.all.get(&id).map(|environment| environment.phase)
    }

    fn start(&mut self, initialization: Initialization, now_ns: u64) {
        if self.stopped {
            return;
        }
        let id = self.next;
        self.next += 1;
        let environment =
            Environment { phase: Phase::Starting, initialization, started_ns: now_ns, since_ns: now_ns, served: 0 };
        self.all.insert(id, environment);
        self.counts.starting += 1;
        self.provisioned += usize::from(initialization == Initialization::Provisioned);
        self.commands.push(Command::Start(id, initialization));
        if let Some((at, _)) = self.limit(id) {
            self.look_at(at);
        }
    }

    fn rest(&mut self, id: EnvironmentId, now_ns: u64) {
        self.enter(id, Phase::Idle, now_ns);
        self.idle.push(id);
        if let Some((at, _)) = self.limit(id) {
            self.look_at(at);
        }
    }

    fn end(&mut self, id: EnvironmentId, ending: Ending, now_ns: u64) {
        self.stopping(id, now_ns);
        self.commands.push(Command::End(id, ending));
    }

    /// When an environment must be stopped as things stand, and why.
    fn limit(&self, id: EnvironmentId) -> Option<(u64, Ending)> {
        let environment = self.all.get(&id)?;
        let after = |from: u64, ns: u64| from.saturating_add(ns);
        let is_provisioned = environment.initialization == Initialization::Provisioned;
        match environment.phase {
            Phase::Starting => {
                let given = if is_provisioned { self.settings.provisioned_init_ns } else { self.settings.init_ns };
                Some((after(environment.started_ns, given), Ending::InitTimeout))
            }
            Phase::Idle => {
                let idle = (!is_provisioned || self.provisioned > self.settings.provisioned)
                    .then(|| (after(environment.since_ns, self.settings.idle_ns), Ending::Idle));
                let spent = self.settings.recycle_ns.map(|age| (after(environment.started_ns, age), Ending::Recycled));
                let replaced = (id < self.current_from).then_some((0, Ending::Recycled));
                idle.into_iter().chain(spent).chain(replaced).min_by_key(|(at, _)| *at)
            }
            Phase::Busy | Phase::Ending => None,
        }
    }

    fn is_spent(&self, id: EnvironmentId, now_ns: u64) -> bool {
        let Some(environment) = self.all.get(&id) else { return false };
        let age = now_ns.saturating_sub(environment.started_ns);
        id < self.current_from
            || self.settings.recycle_invocations.is_some_and(|most| environment.served >= most)
            || self.settings.recycle_ns.is_some_and(|oldest| age >= oldest)
    }

    fn enter(&mut self, id: EnvironmentId, phase: Phase, now_ns: u64) {
        let Some(environment) = self.all.get_mut(&id) else { return };
        let before = std::mem::replace(&mut environment.phase, phase);
        environment.since_ns = now_ns;
        if environment.initialization == Initialization::Provisioned && phase == Phase::Ending && before != phase {
            self.provisioned -= 1;
            if before == Phase::Starting {
                let hold = (HOLD_NS << self.failures.min(6)).min(HOLD_NS_MAX);
                self.failures = self.failures.saturating_add(1);
                self.hold_until_ns = now_ns.saturating_add(hold);
            }
        }
        *self.counts.of(before) -= 1;
        *self.counts.of(phase) += 1;
    }

    fn look_at(&mut self, at_ns: u64) {
        if !self.stopped {
            self.look_at_ns = Some(self.look_at_ns.map_or(at_ns, |known| known.min(at_ns)));
        }
    }
}
