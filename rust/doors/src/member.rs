//! One process among those that share a store on a server: it stands by, runs the store while it owns it, and stops when it must.

use std::collections::BTreeSet;
use std::fs;
use std::hash::{BuildHasher as _, RandomState};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use forebay_core::cluster::Stopped;
use forebay_engine::base::error::EngineError;
use forebay_engine::base::lease::{Held, Lease};
use forebay_engine::runtime::engine::Engine;
use forebay_engine::store::attempt_journal::{AttemptJournal, Found};
use forebay_engine::store::directory::{fits_socket, private_directory};
use forebay_engine::store::port::StoreError;
use forebay_postgres::{Event, Membership, Settings};

use crate::mutex::lock;
use crate::unreached::{pause_after, Unreached};

/// Where sockets and attempts files are, if not in `/tmp`.
const RUN_DIR: &str = "FOREBAY_RUN_DIR";
/// How often it is looked whether the store has another owner.
const LOOK: Duration = Duration::from_millis(100);
/// How long a store that was taken may fail to open for a reason that passes.
const OPENS_WITHIN: Duration = Duration::from_secs(15);
/// Why an engine must stop whose process may not run the store any more.
const SILENT: &str = "this process has not reached the store's server for too long, and another one may take the store";
/// The same, where this process reaches the server by now.
const TAKEN_ELSEWHERE: &str = "another process has the store, and this one has not given it up: it had not reached the server for too long, or a failover of \
                               the server has lost that it took the store";

/// Why an engine is to be closed that could go on.
const WANTED_ELSEWHERE: &str = "another process is to own the store";

/// Who owns the store, as this process sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// This process, with this epoch.
    This(u64),
    /// Another one, by its name.
    Other(String),
}

/// A process that shares a store, until it leaves.
pub struct Member {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// The thread does not live on in a process that this one forks.
    process: u32,
}

struct Shared {
    settings: Settings,
    membership: Membership,
    state: Mutex<State>,
    changed: Condvar,
    leaves: AtomicBool,
}

/// The store, as this process has taken it.
struct HeldLease {
    shared: Arc<Shared>,
    epoch: u64,
}

impl Held for HeldLease {
    fn may_run(&self) -> bool {
        self.shared.holds(self.epoch)
    }

    fn wall_ms(&self) -> Option<u64> {
        self.shared.membership.store_ms()
    }

    fn standbys(&self) -> usize {
        let own = self.shared.settings.member();
        self.shared.membership.living().iter().filter(|name| *name != own).count()
    }
}

#[derive(Default)]
struct State {
    /// The epoch with which this process has taken the store.
    taken: Option<u64>,
    /// Since when it fails to open the store.
    fails_since: Option<Instant>,
    /// Why it could not open the store that it had taken last.
    declined: Option<EngineError>,
    /// Something may run here that began before the store was lost.
    runs: bool,
    /// An operator wants another process to own the store that this one owns.
    hands_over: bool,
    /// The engine is being closed: another process may have the store at any moment.
    closes: bool,
    /// The epoch of which attempts go on although the store was handed over.
    left: Option<u64>,
    engine: Weak<Engine>,
    /// Other processes lived when it was looked last.
    has_others: bool,
    /// The owner of whom this process is a client, and what tells the client that there is another one.
    follows: Option<Follows>,
    /// An owner that cannot be reached.
    unreached: Option<Unreached>,
}

struct Follows {
    owner: Option<String>,
    /// When the client is told although the owner is the same: it could not be reached, and may be by then.
    again: Option<Instant>,
    tell: Box<dyn Fn() + Send>,
    /// Called each time that it is looked at.
    look: Box<dyn Fn() + Send>,
}

impl Member {
    /// Join the processes that share a store, and make the store where there is none. Waits for the server.
    pub fn join(settings: Settings) -> Result<Arc<Self>, StoreError> {
        let settings = settings.named(&new_name());
        let shared = Arc::new(Shared {
            membership: Membership::join(settings.clone())?,
            settings,
            state: Mutex::default(),
            changed: Condvar::new(),
            leaves: AtomicBool::new(false),
        });
        let watched = shared.clone();
        let thread = std::thread::Builder::new().name("forebay-lease".into()).spawn(move || watched.watch());
        let thread = thread.map_err(|error| StoreError::Unreachable(format!("no thread can be started: {error}")))?;
        Ok(Arc::new(Self { shared, thread: Mutex::new(Some(thread)), process: std::process::id() }))
    }

    /// The store.
    pub(crate) fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    /// Who owns the store; waits for somebody who lives, for a bounded time. `None`: nobody does yet.
    pub(crate) fn owner(&self, within: Duration) -> Option<Owner> {
        let until = Instant::now() + within;
        let mut state = lock(&self.shared.state);
        loop {
            if let Some(epoch) = state.taken.filter(|&epoch| self.shared.holds(epoch)) {
                return Some(Owner::This(epoch));
            }
            if let Some(other) = self.shared.living_owner() {
                return Some(Owner::Other(other));
            }
            let left = until.checked_duration_since(Instant::now())?;
            let waited = self.shared.changed.wait_timeout(state, left.min(LOOK));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Wait until this process is told something, or the time has passed.
    pub(crate) fn wait(&self, within: Duration) {
        let state = lock(&self.shared.state);
        drop(self.shared.changed.wait_timeout(state, within));
    }

    /// What the engine asks before each hand-out.
    pub(crate) fn lease(&self, epoch: u64) -> Lease {
        Lease::new(HeldLease { shared: self.shared.clone(), epoch })
    }

    /// The engine of the store that this process owns, with this epoch. Where it was told to stand down while it opened the store, nobody
    /// has told the engine.
    pub(crate) fn runs(&self, engine: &Arc<Engine>, epoch: u64) {
        let mut state = lock(&self.shared.state);
        state.engine = Arc::downgrade(engine);
        state.runs = true;
        state.closes = false;
        state.follows = None;
        let hands_over = state.hands_over;
        drop(state);
        if !self.holds(epoch) {
            engine.stand_down(&self.shared.why_lost());
        } else if hands_over {
            engine.hand_over(WANTED_ELSEWHERE);
        }
    }

    /// The engine of the store that this process owns is about to give the store up.
    pub(crate) fn closes(&self) {
        lock(&self.shared.state).closes = true;
    }

    /// Whether it is about to.
    pub(crate) fn is_closing(&self) -> bool {
        lock(&self.shared.state).closes
    }

    /// Whether it is certain that this process owns the store, with this epoch.
    pub(crate) fn holds(&self, epoch: u64) -> bool {
        self.shared.holds(epoch)
    }

    /// Whether an operator wants another process to own the store that this one owns, and may run.
    pub fn hands_over(&self) -> bool {
        lock(&self.shared.state).hands_over && self.shared.membership.may_run().is_some()
    }

    /// `tell` is called once: when the store has another owner than this one, or `again` has passed. `look` is called often until then.
    pub(crate) fn follows(
        &self,
        owner: String,
        again: Option<Duration>,
        (tell, look): (impl Fn() + Send + 'static, impl Fn() + Send + 'static),
    ) {
        let again = again.map(|again| Instant::now() + again);
        let mut state = lock(&self.shared.state);
        if again.is_none() {
            state.unreached = None;
        }
        state.follows = Some(Follows { owner: Some(owner), again, tell: Box::new(tell), look: Box::new(look) });
    }

    /// The owner could not be reached; for how long that has been so.
    pub(crate) fn unreached(&self, owner: &str) -> Duration {
        self.shared.unreached(owner, |unreached, now| now.saturating_duration_since(unreached.since))
    }

    /// The owner of this machine does not listen: whether the server is to be asked how it is reached from others.
    pub(crate) fn asks_of(&self, owner: &str) -> bool {
        self.shared.unreached(owner, Unreached::asks)
    }

    /// The owner, which is elsewhere, could not be reached: leave it and the server alone for a while, unless there is another owner.
    pub(crate) fn rest(&self, owner: &str) {
        let until = Instant::now() + pause_after(self.unreached(owner));
        let owns = || matches!(self.owner(Duration::ZERO), Some(Owner::Other(now)) if now == owner);
        while Instant::now() < until && owns() {
            self.wait(LOOK.min(until.saturating_duration_since(Instant::now())));
        }
    }

    /// The store is open: what it runs from here on may run.
    pub(crate) fn opened(&self) {
        let mut state = lock(&self.shared.state);
        state.fails_since = None;
        state.declined = None;
    }

    /// The store that this process has taken could not be opened. Where that does not pass, another process is to have it, and this one
    /// does not take it again at once. Else it takes the store anew: an opening that fails late has given up what it had.
    pub(crate) fn not_opened(&self, epoch: u64, error: &EngineError) {
        let mut state = lock(&self.shared.state);
        // What the opening had begun was closed with it.
        state.runs = false;
        let since = *state.fails_since.get_or_insert_with(Instant::now);
        let passes = matches!(error, EngineError::OwnerLost(_)) && since.elapsed() < OPENS_WITHIN;
        let holds = self.shared.holds(epoch);
        let declines = holds && !passes && self.shared.membership.living().len() > 1;
        state.taken = state.taken.filter(|&taken| taken != epoch);
        if declines {
            state.fails_since = None;
            state.declined = Some(error.clone());
        }
        drop(state);
        if declines {
            self.shared.membership.declined();
        } else if holds {
            self.shared.membership.lost();
        }
        // It may have been told to stand down meanwhile.
        self.shared.membership.stopped();
    }

    /// Why this process does not take the store at present, if it could not open it.
    pub(crate) fn declined(&self) -> Option<EngineError> {
        lock(&self.shared.state).declined.clone().filter(|_| self.shared.membership.has_declined())
    }

    /// A text, and why this process does not reach the server, or cannot take the store.
    pub(crate) fn with_trouble(&self, text: String) -> String {
        self.shared.with_trouble(text)
    }

    /// Whether this process may run what the owner of the store gives it.
    pub(crate) fn may_run_for(&self, owner: &str) -> bool {
        self.shared.membership.may_run_for(owner)
    }

    /// All that this process ran for this owner over a connection that is closed has ended: the owner is told so by the store.
    pub fn has_stopped(&self, owner: &str, stopped: Stopped) {
        self.shared.membership.has_stopped(owner, stopped);
    }

    /// What this process ran before it lost the store, or for an owner that is gone, has not ended: another process is to own the store,
    /// and nobody where there is none.
    pub fn decline(&self) {
        lock(&self.shared.state).taken = None;
        self.shared.membership.declined();
    }

    /// That has ended: this process may own the store again.
    pub fn accept(&self) {
        self.shared.membership.accepts();
    }

    /// What time it is at the store; `None`: its server has not said so yet.
    pub(crate) fn store_ms(&self) -> Option<u64> {
        self.shared.membership.store_ms()
    }

    /// Nothing runs here any more of the time before the store was lost or given up. Until then this process takes nothing.
    pub fn stopped(&self) {
        let mut state = lock(&self.shared.state);
        state.taken = None;
        state.runs = false;
        state.hands_over = false;
        let left = state.left.take();
        drop(state);
        if let Some(epoch) = left {
            self.forget_attempts(epoch);
        }
        self.shared.membership.lost();
        self.shared.membership.stopped();
    }

    /// Share the store no more. What this process owned it must have given up before.
    pub fn leave(&self) {
        self.shared.leaves.store(true, Ordering::Relaxed);
        self.shared.membership.leave();
        let thread = lock(&self.thread).take();
        if self.process != std::process::id() {
            // Its handle is of no use here.
            std::mem::forget(thread);
        } else if let Some(thread) = thread {
            // A thread that panicked has said so.
            drop(thread.join());
        }
    }

    /// The process that owned the store before and did not give it up, if it is another one.
    pub(crate) fn former(&self) -> Option<String> {
        self.shared.membership.former().filter(|former| former != self.settings().member())
    }

    /// The attempts file of this process while it owns the store. What owners before it left on this machine is in it, if they have died:
    /// nobody can read what is on another one. It need not be the last owner: where a record kills the processes of two machines in turn,
    /// that one ran elsewhere.
    pub(crate) fn journal(&self, epoch: u64) -> Result<(AttemptJournal, Found), StoreError> {
        let own = attempts_of(self.settings().member(), epoch)?;
        let membership = &self.shared.membership;
        let mut dead: BTreeSet<String> = membership.silent().into_iter().chain(membership.former()).collect();
        dead.remove(self.settings().member());
        for left in dead.iter().filter(|name| is_here(name)).map(|name| attempts_left(name)) {
            for left in left? {
                AttemptJournal::inherit(&own, &left)?;
                drop(fs::remove_file(&left));
            }
        }
        AttemptJournal::open(&own)
    }

    /// Attempts of this process go on: they are a trace of its death until [`Self::stopped`].
    pub(crate) fn keep_attempts(&self, epoch: u64) {
        lock(&self.shared.state).left = Some(epoch);
    }

    /// The attempts of this process have ended, or were interrupted by it: they are no trace of its death.
    pub(crate) fn forget_attempts(&self, epoch: u64) {
        if let Ok(own) = attempts_of(self.settings().member(), epoch) {
            // One that stays costs the next owner on this machine a look.
            drop(fs::remove_file(own));
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.leave();
    }
}

impl Shared {
    fn holds(&self, epoch: u64) -> bool {
        self.membership.may_run() == Some(epoch)
    }

    fn watch(&self) {
        while !self.leaves.load(Ordering::Relaxed) {
            match self.membership.event(LOOK) {
                Some(Event::Taken(epoch)) => {
                    let mut state = lock(&self.state);
                    state.taken = Some(epoch);
                    if let Some(client) = state.follows.take() {
                        (client.tell)();
                    }
                }
                Some(Event::HandOver) => self.hand_over(),
                Some(Event::StandDown) => self.stand_down(),
                None => self.look(),
            }
            self.changed.notify_all();
        }
    }

    /// What is known of an owner that could not be reached.
    fn unreached<T>(&self, owner: &str, look: impl FnOnce(&mut Unreached, Instant) -> T) -> T {
        let (mut state, now) = (lock(&self.state), Instant::now());
        let found = state.unreached.take().filter(|unreached| unreached.owner == owner);
        look(state.unreached.insert(found.unwrap_or_else(|| Unreached::new(owner, now))), now)
    }

    /// A text, and why this process does not reach the server, or cannot take the store.
    fn with_trouble(&self, text: String) -> String {
        if let Some(why) = self.membership.unanswered() {
            return format!("{text}. This process's beats do not get through: {why}");
        }
        match self.membership.untaken() {
            Some(why) => format!("{text}. This process could not take the store: {why}"),
            None => text,
        }
    }

    fn hand_over(&self) {
        let mut state = lock(&self.state);
        state.hands_over = true;
        let engine = state.engine.upgrade().filter(|_| state.runs);
        drop(state);
        if let Some(engine) = engine {
            engine.hand_over(WANTED_ELSEWHERE);
        }
    }

    fn stand_down(&self) {
        let mut state = lock(&self.state);
        state.taken = None;
        state.fails_since = None;
        state.hands_over = false;
        let (engine, runs) = (state.engine.upgrade(), state.runs);
        // Whom this process gives the store up for owns it rightly.
        let has_next = state.closes && self.is_elsewhere();
        drop(state);
        if let Some(engine) = engine.filter(|_| runs && !has_next) {
            engine.stand_down(&self.why_lost());
        }
        if !runs {
            self.membership.stopped();
        }
    }

    /// Why what runs here must stop.
    fn why_lost(&self) -> String {
        if self.is_elsewhere() {
            TAKEN_ELSEWHERE.into()
        } else {
            self.with_trouble(SILENT.into())
        }
    }

    /// Whether another process has the store by what this one sees, whose beats get through.
    fn is_elsewhere(&self) -> bool {
        let owner = self.membership.head().and_then(|head| head.owner);
        self.membership.is_alive() && owner.is_some_and(|owner| owner != self.settings.member())
    }

    /// Whether the client that this process is has the wrong owner by now; and which of those that run handlers for the owner live.
    fn look(&self) {
        let mut state = lock(&self.state);
        let owner = self.living_owner();
        let is_over =
            |client: &mut Follows| client.owner != owner || client.again.is_some_and(|again| again <= Instant::now());
        if let Some(client) = state.follows.take_if(is_over) {
            (client.tell)();
        }
        if let Some(client) = &state.follows {
            (client.look)();
        }
        let engine = state.engine.upgrade().filter(|_| state.runs);
        let living = self.membership.living();
        let had_others = std::mem::replace(&mut state.has_others, living.len() > 1);
        drop(state);
        if let Some(engine) = engine.filter(|_| had_others || living.len() > 1) {
            engine.members_live(&living, &self.membership.stopped_by());
        }
    }

    /// The process that owns the store, if it lives and is not this one.
    fn living_owner(&self) -> Option<String> {
        let owner = self.membership.head()?.owner?;
        let lives = owner != self.settings.member() && self.membership.living().contains(&owner);
        lives.then_some(owner)
    }
}

/// A name that no other process has: the machine's name, the process's number, and a number by chance.
fn new_name() -> String {
    let machine = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let chance = RandomState::new().hash_one(Instant::now().elapsed());
    format!("{machine}/{}/{chance:016x}", std::process::id())
}

/// A member's name in words.
pub(crate) fn described(name: &str) -> String {
    match name.split('/').collect::<Vec<_>>()[..] {
        [machine, process, _] => format!("process {process} on {machine}"),
        _ => format!("process {name}"),
    }
}

/// Whether the member of this name runs on this machine.
pub(crate) fn is_here(name: &str) -> bool {
    let machine = rustix::system::uname();
    name.split('/').next() == machine.nodename().to_str().ok()
}

/// Where the member of this name listens while it owns the store. All processes of the machine find the same place, since they share the
/// directory.
pub(crate) fn socket_of(name: &str) -> Result<PathBuf, StoreError> {
    let path = file_of(name, "sock")?;
    if fits_socket(&path) {
        return Ok(path);
    }
    Ok(private(&usual_run_dir())?.join(format!("{}.sock", number_of(name)?)))
}

fn attempts_of(name: &str, epoch: u64) -> Result<PathBuf, StoreError> {
    file_of(name, &format!("{epoch}.attempts"))
}

/// The attempts files of a member, oldest first: it has one for each time that it owned the store and was not closed.
fn attempts_left(name: &str) -> Result<Vec<PathBuf>, StoreError> {
    let run_dir = run_dir()?;
    let begins = number_of(name)?;
    let unreadable = |error| StoreError::Failed(format!("the directory {} cannot be read: {error}", run_dir.display()));
    let mut found = Vec::new();
    for entry in fs::read_dir(&run_dir).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let words: Vec<_> = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().split('.').collect();
        if let [number, epoch, "attempts"] = words[..] {
            if let (true, Ok(epoch)) = (number == begins, epoch.parse::<u64>()) {
                found.push((epoch, path));
            }
        }
    }
    found.sort_unstable();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

fn file_of(name: &str, kind: &str) -> Result<PathBuf, StoreError> {
    Ok(run_dir()?.join(format!("{}.{kind}", number_of(name)?)))
}

/// The last part of a member's name, which is hexadecimal in every name that we have made.
fn number_of(name: &str) -> Result<&str, StoreError> {
    let number = name.rsplit('/').next().filter(|number| number.bytes().all(|byte| byte.is_ascii_hexdigit()));
    number.ok_or_else(|| StoreError::Corrupt(format!("the head of the store names {name:?} as its owner")))
}

/// The private directory of sockets and attempts files of this machine's members.
pub(crate) fn run_dir() -> Result<PathBuf, StoreError> {
    match std::env::var_os(RUN_DIR) {
        Some(given) if !given.is_empty() => private(Path::new(&given)),
        _ => private(&usual_run_dir()),
    }
}

/// Where it is, if nothing else is said.
fn usual_run_dir() -> PathBuf {
    Path::new("/tmp").join(format!("forebay-{}", rustix::process::geteuid().as_raw()))
}

fn private(path: &Path) -> Result<PathBuf, StoreError> {
    private_directory(path, rustix::process::geteuid().as_raw())
        .map_err(|error| StoreError::Unreachable(format!("the directory {} of sockets: {error}", path.display())))
}
