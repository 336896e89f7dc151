//! One process among those that share a store: it beats, watches the others, and takes the store when its owner has died.
//!
//! [`forebay_core::cluster::Lease`] decides; a thread of this module asks the server, with a connection of its own, so that a long commit
//! holds no beat up.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{mpsc as std_mpsc, Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use forebay_core::cluster::{Command, Head, Lease, Member, Rules, Stopped, Taken, View};
use forebay_store::port::StoreError;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_postgres::Row;

use crate::link::{Asking, Link};
use crate::schema::{raise, sql, GIVE_BACK, LEAVE};
use crate::session::{answer, ended};
use crate::settings::Settings;
use crate::writer::{Writer, ALL};

/// Most results that wait to be heard: each question and each take has one.
const RESULTS_MAX: usize = 64;
/// How long a take may take: a commit of the former owner that is under way holds the head for a moment.
const TAKE_WITHIN: Duration = Duration::from_secs(3);
/// How long leaving may take. Without it the others find out by themselves.
const LEAVE_WITHIN: Duration = Duration::from_secs(2);

/// What a process is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// It owns the store: [`Settings::taken`] opens it with this epoch, which is the fencing token of all that it runs.
    Taken(u64),
    /// Hand out nothing more, finish what runs, and give the store up: an operator wants another process to own it.
    HandOver,
    /// Hand out nothing more, stop what runs, close the store within a second, and say so by [`Membership::stopped`]: another process may
    /// take it soon, or has it by now.
    StandDown,
}

/// A process that shares a store, until it is dropped.
pub struct Membership {
    lease: Arc<Mutex<Lease>>,
    seen: Arc<Mutex<Seen>>,
    /// How far the server's clock is ahead of [`now_ns`]; the least there is: it has not said so yet.
    ahead_ms: Arc<AtomicI64>,
    results: mpsc::Sender<Heard>,
    events: Mutex<std_mpsc::Receiver<Event>>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
    /// The thread does not live on in a process that this one forks.
    process: u32,
}

/// What the thread has seen of the store, and is to say there.
#[derive(Default)]
struct Seen {
    head: Option<Head>,
    /// What the members say that they ran, and have stopped.
    stopped: BTreeMap<Member, Stopped>,
    /// What this process says of itself, and for which owner it ran that.
    own_stopped: Option<(Member, Stopped)>,
    /// Who owned the store before this process took it, if it was not given up.
    former: Option<Member>,
    /// Why the last beat has no answer, and why the last take has none.
    unanswered: Option<StoreError>,
    untaken: Option<StoreError>,
}

impl Seen {
    /// Say no more what was stopped for an owner that is not the one of the head: connections are counted from one again. A failover that has
    /// lost a take may lead to another owner of the same epoch.
    fn forget_stopped(&mut self) {
        let (Some(head), Some((owner, stopped))) = (&self.head, &self.own_stopped) else { return };
        if head.epoch != stopped.epoch || head.owner.as_ref().is_some_and(|now| now != owner) {
            self.own_stopped = None;
        }
    }
}

/// What the thread hears.
enum Heard {
    Answered { number: u64, beats: bool, view: Result<View, StoreError> },
    Taken(Result<Option<u64>, StoreError>),
    Lost,
    Leave,
}

impl Membership {
    /// Join the processes that share the store, under the name of the settings, and make the store where there is none. Waits for the
    /// server, and has the errors of [`PostgresStore::open`](crate::PostgresStore::open).
    pub fn join(settings: Settings) -> Result<Self, StoreError> {
        Self::join_by(settings, Rules::default())
    }

    /// The same, by other times than those that all processes have.
    pub fn join_by(settings: Settings, rules: Rules) -> Result<Self, StoreError> {
        let lease = Arc::new(Mutex::new(Lease::new(settings.member().into(), settings.format(), rules)));
        let seen = Arc::new(Mutex::new(Seen::default()));
        let ahead_ms = Arc::new(AtomicI64::new(i64::MIN));
        let (results, heard) = mpsc::channel(RESULTS_MAX);
        let (tell, events) = std_mpsc::channel();
        let (opened, joined) = std_mpsc::sync_channel(1);
        let thread = Watch {
            settings,
            rules,
            lease: lease.clone(),
            seen: seen.clone(),
            ahead_ms: ahead_ms.clone(),
            results: results.clone(),
            tell,
        };
        let thread = std::thread::Builder::new()
            .name("forebay-member".into())
            .spawn(move || thread.run(heard, &opened))
            .map_err(|error| StoreError::Unreachable(format!("no thread can be started: {error}")))?;
        joined.recv().map_err(|_| StoreError::Failed("the thread of the member has ended".into()))??;
        Ok(Self {
            lease,
            seen,
            ahead_ms,
            results,
            events: Mutex::new(events),
            thread: Mutex::new(Some(thread)),
            process: std::process::id(),
        })
    }

    /// The fencing token of what may be handed out now; `None`: nothing may.
    pub fn may_run(&self) -> Option<u64> {
        lock(&self.lease).may_run(ALL as u32, now_ns())
    }

    /// Whether this process may run what that one gives it, which owns the store.
    pub fn may_run_for(&self, owner: &str) -> bool {
        lock(&self.lease).may_run_for(owner, now_ns())
    }

    /// Whether its beats get through: the last one that did is young enough.
    pub fn is_alive(&self) -> bool {
        lock(&self.lease).is_alive(now_ns())
    }

    /// The processes that live, as far as this one knows.
    pub fn living(&self) -> Vec<Member> {
        lock(&self.lease).living(now_ns()).into_iter().cloned().collect()
    }

    /// The processes that are known and have died, as far as this one knows.
    pub fn silent(&self) -> Vec<Member> {
        lock(&self.lease).silent().into_iter().cloned().collect()
    }

    /// What time it is at the store's server, ms since 1970; `None`: it has not said so yet.
    pub fn store_ms(&self) -> Option<u64> {
        let ahead_ms = self.ahead_ms.load(Ordering::Relaxed);
        ((now_ns() / 1_000_000) as i64).checked_add(ahead_ms).and_then(|ms| u64::try_from(ms).ok())
    }

    /// The next thing that this process is told, if it comes in time.
    pub fn event(&self, within: Duration) -> Option<Event> {
        lock(&self.events).recv_timeout(within).ok()
    }

    /// The head of the store as it was seen last.
    pub fn head(&self) -> Option<Head> {
        lock(&self.seen).head.clone()
    }

    /// Who owned the store before this process took it, if it was not given up.
    pub fn former(&self) -> Option<Member> {
        lock(&self.seen).former.clone()
    }

    /// What the members say that they ran for an owner whom they cannot reach, and have stopped.
    pub fn stopped_by(&self) -> BTreeMap<Member, Stopped> {
        lock(&self.seen).stopped.clone()
    }

    /// All that this process ran for this owner over this connection has ended, and nothing will begin: the next beat says so, if the store
    /// has no other owner by now.
    pub fn has_stopped(&self, owner: &str, stopped: Stopped) {
        let mut seen = lock(&self.seen);
        seen.own_stopped = Some((owner.into(), stopped));
        seen.forget_stopped();
    }

    /// Why its beats do not get through at present.
    pub fn unanswered(&self) -> Option<String> {
        lock(&self.seen).unanswered.as_ref().map(ToString::to_string)
    }

    /// Why it could not take the store when it tried last.
    pub fn untaken(&self) -> Option<String> {
        lock(&self.seen).untaken.as_ref().map(ToString::to_string)
    }

    /// All that ran before the last [`Event::StandDown`] has stopped. Until then this process takes nothing.
    pub fn stopped(&self) {
        lock(&self.lease).stopped();
    }

    /// The store was taken, and cannot be opened here: it is given back, and this process does not take it for a while.
    pub fn declined(&self) {
        lock(&self.lease).declined(ALL as u32, now_ns());
        drop(self.results.try_send(Heard::Lost));
    }

    /// What kept the store from being opened here has passed: this process may take it at once.
    pub fn accepts(&self) {
        lock(&self.lease).accepts(ALL as u32);
        drop(self.results.try_send(Heard::Lost));
    }

    /// Whether it could not be opened here a short time ago, and is not for this process for a while.
    pub fn has_declined(&self) -> bool {
        !lock(&self.lease).declines().is_empty()
    }

    /// A commit was fenced, or the store was given up.
    pub fn lost(&self) {
        lock(&self.lease).lost(ALL as u32);
        // The thread looks at once whether it belongs here; if it is busy, it looks soon anyway.
        drop(self.results.try_send(Heard::Lost));
    }

    /// Share the store no more. What this process owned it must have given up before.
    pub fn leave(&self) {
        let thread = lock(&self.thread).take();
        if self.process != std::process::id() || self.results.blocking_send(Heard::Leave).is_err() {
            // Its handle is of no use in a process that was forked.
            std::mem::forget(thread);
            return;
        }
        if let Some(thread) = thread {
            // A thread that panicked has said so.
            drop(thread.join());
        }
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.leave();
    }
}

/// The thread's part.
struct Watch {
    settings: Settings,
    rules: Rules,
    lease: Arc<Mutex<Lease>>,
    seen: Arc<Mutex<Seen>>,
    ahead_ms: Arc<AtomicI64>,
    results: mpsc::Sender<Heard>,
    tell: std_mpsc::Sender<Event>,
}

impl Watch {
    fn run(self, heard: mpsc::Receiver<Heard>, opened: &std_mpsc::SyncSender<Result<(), StoreError>>) {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                drop(opened.send(Err(StoreError::Unreachable(format!("no event loop can be made: {error}")))));
                return;
            }
        };
        tokio::task::LocalSet::new().block_on(&runtime, async {
            // It looks at what the server promises, and makes the store.
            let made = Writer::open(self.settings.clone(), Arc::default()).await;
            let joined = made.map(drop);
            let has_joined = joined.is_ok();
            drop(opened.send(joined));
            if has_joined {
                self.watch(heard).await;
            }
        });
    }

    async fn watch(&self, mut heard: mpsc::Receiver<Heard>) {
        let link = Link::new(self.settings.clone());
        loop {
            let now = now_ns();
            let commands = lock(&self.lease).time(now);
            self.obey(&link, commands);
            let wait = Duration::from_nanos(lock(&self.lease).next_due().saturating_sub(now_ns()));
            let commands = match timeout(wait, heard.recv()).await {
                Err(_) | Ok(Some(Heard::Lost)) => continue,
                Ok(Some(Heard::Answered { number, beats, view: Ok(view) })) => {
                    let mut seen = lock(&self.seen);
                    let head = view.heads.iter().find(|head| head.unit == ALL as u32).cloned();
                    if head.as_ref().map(|head| head.epoch) != seen.head.as_ref().map(|head| head.epoch) {
                        seen.untaken = None; // it has been taken since
                    }
                    seen.head = head;
                    seen.forget_stopped();
                    seen.stopped.clone_from(&view.stopped);
                    if beats {
                        seen.unanswered = None;
                    }
                    drop(seen);
                    let mut lease = lock(&self.lease);
                    let commands = lease.answered(number, &view, now_ns());
                    if let Some(ahead_ms) = lease.store_time().ahead_ms() {
                        self.ahead_ms.store(ahead_ms, Ordering::Relaxed);
                    }
                    drop(lease);
                    commands
                }
                Ok(Some(Heard::Answered { number, view: Err(error), .. })) => {
                    let soon = self.rules.watch_ns;
                    // Rights that are lacking are not there a moment later.
                    let wait = if matches!(error, StoreError::Refused(_)) { 4 * soon } else { soon };
                    lock(&self.lease).unanswered(number, now_ns() + wait);
                    lock(&self.seen).unanswered = Some(error);
                    continue;
                }
                Ok(Some(Heard::Taken(taken))) => self.taken(taken),
                Ok(Some(Heard::Leave) | None) => break,
            };
            self.obey(&link, commands);
        }
        drop(link.within(LEAVE_WITHIN, async |asking| leave(&self.settings, asking).await).await);
    }

    /// A take has ended. The store is told of only if this process may still run it.
    fn taken(&self, taken: Result<Option<u64>, StoreError>) -> Vec<Command> {
        lock(&self.seen).untaken = taken.as_ref().err().cloned();
        let told = taken.ok().flatten().map_or(Taken::No, Taken::Yes);
        let mut lease = lock(&self.lease);
        let commands = lease.taken(ALL as u32, told, now_ns());
        if let Some(epoch) = lease.may_run(ALL as u32, now_ns()) {
            self.say(Event::Taken(epoch));
        }
        commands
    }

    fn obey(&self, link: &Rc<Link>, commands: Vec<Command>) {
        for command in commands {
            match command {
                Command::Ask { number, beat } => {
                    let (settings, link, results) = (self.settings.clone(), link.clone(), self.results.clone());
                    let wait = Duration::from_nanos(self.rules.answer_ns);
                    let beat = beat.map(|number| Beat {
                        number,
                        declines: self.declines(),
                        stopped: self.stopped(),
                        gone: self.gone(),
                    });
                    tokio::task::spawn_local(async move {
                        let beats = beat.is_some();
                        let view = link.within(wait, async |asking| ask(&settings, asking, beat).await).await;
                        let is_written = beats && view.is_ok();
                        drop(results.send(Heard::Answered { number, beats, view }).await);
                        if is_written {
                            // Its row may have been removed, and its door with it.
                            let asked = async |asking: &Asking| settings.keep_door(&asking.session).await;
                            drop(link.within(TAKE_WITHIN, asked).await);
                        }
                    });
                }
                Command::Take { epoch, deaths, .. } => {
                    let mut seen = lock(&self.seen);
                    seen.former = seen.head.as_ref().and_then(|head| head.owner.clone());
                    drop(seen);
                    let (settings, link, results) = (self.settings.clone(), link.clone(), self.results.clone());
                    tokio::task::spawn_local(async move {
                        let asked = async |asking: &Asking| take(&settings, asking, epoch, deaths).await;
                        let taken = link.within(TAKE_WITHIN, asked).await;
                        drop(results.send(Heard::Taken(taken)).await);
                    });
                }
                // Either is commanded again if it is not heard.
                Command::GiveBack { epoch, .. } => {
                    let (settings, link, declines) = (self.settings.clone(), link.clone(), self.declines());
                    tokio::task::spawn_local(async move {
                        let asked = async |asking: &Asking| give_back(&settings, asking, epoch, &declines).await;
                        drop(link.within(TAKE_WITHIN, asked).await);
                    });
                }
                Command::Raise { from, to } => {
                    let (settings, link) = (self.settings.clone(), link.clone());
                    tokio::task::spawn_local(async move {
                        let text = raise(&settings.quoted_schema(), settings.steps, from, to);
                        let asked = async |asking: &Asking| answer(asking.session.client.batch_execute(&text)).await;
                        drop(link.within(TAKE_WITHIN, asked).await);
                    });
                }
                Command::HandOver { .. } => self.say(Event::HandOver),
                Command::StandDown => self.say(Event::StandDown),
            }
        }
    }

    /// The units that are not for this process at present, as the store has them.
    fn declines(&self) -> Vec<i32> {
        lock(&self.lease).declines().into_iter().map(|unit| unit as i32).collect()
    }

    /// What this process ran for another one and has stopped, as the store has it.
    fn stopped(&self) -> Vec<i64> {
        let seen = lock(&self.seen);
        seen.own_stopped.as_ref().map_or_else(Vec::new, |(_, said)| vec![said.epoch as i64, said.connection as i64])
    }

    /// The members that this one knows to be gone.
    fn gone(&self) -> Vec<Member> {
        lock(&self.lease).forgettable().into_iter().cloned().collect()
    }

    fn say(&self, event: Event) {
        // Whoever listened is being dropped, and leaves.
        drop(self.tell.send(event));
    }
}

/// What a process writes into its row.
struct Beat {
    number: u64,
    declines: Vec<i32>,
    stopped: Vec<i64>,
    gone: Vec<Member>,
}

/// Write the beat, if there is one, and look at members and heads.
async fn ask(settings: &Settings, asking: &Asking, beat: Option<Beat>) -> Result<View, StoreError> {
    let client = &asking.session.client;
    let rows = match beat {
        Some(Beat { number, declines, stopped, gone }) => {
            let (number, format, version) = (number as i64, settings.format() as i32, env!("CARGO_PKG_VERSION"));
            let member = settings.member();
            client.query(&asking.beat, &[&member, &number, &version, &format, &declines, &stopped, &gone]).await
        }
        None => client.query(&asking.ask, &[]).await,
    };
    view(&rows.map_err(|error| ended(&error))?)
}

/// Take the unit, if its head has this epoch.
async fn take(settings: &Settings, asking: &Asking, epoch: u64, deaths: u32) -> Result<Option<u64>, StoreError> {
    let (epoch, deaths) = (epoch as i64, deaths as i32);
    let taken = asking.session.client.query_opt(&asking.take, &[&ALL, &settings.member(), &epoch, &deaths]).await;
    let epoch =
        taken.and_then(|row| row.map(|row| row.try_get::<_, i64>(0)).transpose()).map_err(|error| ended(&error))?;
    Ok(epoch.map(|epoch| epoch as u64))
}

/// Give the unit back, if its head has this epoch, and say what is not for this process.
async fn give_back(settings: &Settings, asking: &Asking, epoch: u64, declines: &[i32]) -> Result<u64, StoreError> {
    let (text, epoch) = (sql(&settings.quoted_schema(), GIVE_BACK), epoch as i64);
    answer(asking.session.client.execute(&text, &[&ALL, &settings.member(), &epoch, &declines])).await
}

async fn leave(settings: &Settings, asking: &Asking) -> Result<u64, StoreError> {
    let text = sql(&settings.quoted_schema(), LEAVE);
    answer(asking.session.client.execute(&text, &[&settings.member()])).await
}

/// Rows of members, and of heads: `(unit or null, name or null, beat or epoch, drained or deaths, wanted or null, format understood or had,
/// units declined or null, what time it is, epoch and connection stopped or null)`.
fn view(rows: &[Row]) -> Result<View, StoreError> {
    let mut seen = View::default();
    for row in rows {
        let mut read = || -> Result<(), tokio_postgres::Error> {
            let (unit, name): (Option<i32>, Option<String>) = (row.try_get(0)?, row.try_get(1)?);
            seen.now_ms = u64::try_from(row.try_get::<_, i64>(7)?).ok();
            let (number, deaths, format): (i64, i32, i32) = (row.try_get(2)?, row.try_get(3)?, row.try_get(5)?);
            match (unit, name) {
                (Some(unit), owner) => {
                    let (epoch, deaths, wanted) = (number as u64, deaths as u32, row.try_get(4)?);
                    seen.heads.push(Head { unit: unit as u32, owner, epoch, deaths, wanted });
                    seen.format = format as u32;
                }
                (None, Some(name)) => {
                    if deaths != 0 {
                        seen.drained.insert(name.clone());
                    }
                    let declined: Vec<i32> = row.try_get(6)?;
                    seen.declined.insert(name.clone(), declined.into_iter().map(|unit| unit as u32).collect());
                    if let [epoch, connection] = row.try_get::<_, Vec<i64>>(8)?[..] {
                        let stopped = Stopped { epoch: epoch as u64, connection: connection as u64 };
                        seen.stopped.insert(name.clone(), stopped);
                    }
                    seen.formats.insert(name.clone(), format as u32);
                    seen.beats.insert(name, number as u64);
                }
                (None, None) => {}
            }
            Ok(())
        };
        read().map_err(|error| ended(&error))?;
    }
    Ok(seen)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A clock that goes on while the machine sleeps, ns.
fn now_ns() -> u64 {
    #[cfg(target_os = "linux")]
    let clock = rustix::time::ClockId::Boottime;
    #[cfg(not(target_os = "linux"))]
    let clock = rustix::time::ClockId::Monotonic;
    let now = rustix::time::clock_gettime(clock);
    (now.tv_sec as u64).saturating_mul(1_000_000_000).saturating_add(now.tv_nsec as u64)
}
