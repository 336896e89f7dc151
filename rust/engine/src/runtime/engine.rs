//! The engine: its lock, its clock, its threads, and the calls that come in from outside.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::thread::JoinHandle;
use std::time::Instant;

use crate::base::bell::Bell;
use crate::base::config::Config;
use crate::base::error::{Answer, EngineError, Ticket, Waiter, UNSOLICITED};
use crate::base::lease::Lease;
use crate::base::trace::Origin;
use crate::dispatch::attempt_journal::{AttemptJournal, InFlight};
use crate::dispatch::attempts::{self, HandlerId, Settled, Work};
use crate::dispatch::functions::Registration;
use crate::environments::tails::{Tail, Tails};
use crate::metrics::points::Points;
use crate::metrics::Registry;
use crate::observe::operator_events::OperatorEvent;
use crate::payload::message::NewMessage;
use crate::runtime::rooms::{Rooms, SWEEP_NS};
use crate::runtime::threads::{read_clock, READS};
use crate::runtime::under_way::{End, UnderWay};
use crate::runtime::wakes::{Wakes, Wanted};
use crate::runtime::{commits, environments, functions, hand_out, metric_points, permits, recovery, settle, wanted};
use crate::sources::invocation::{accept, kept_results};
use crate::sources::queue::send;
use crate::sources::stream::{put, shards::Entries};
use crate::store::port::{BlockingStore as _, Outcome, Reader, Store, StoreError, Token, Unit};
use crate::workflows::aside::PATIENCE_MS;
use forebay_core::Now;
use serde_json::json;

/// What an engine is built from.
pub struct Parts {
    /// Where events are kept.
    pub store: Box<dyn Store>,
    /// Where attempts in flight are kept, with those of the process before.
    pub slots: AttemptJournal,
    /// Names.
    pub config: Config,
    /// `Some`: time moves only by [`Engine::turn`], and nothing runs on threads of its own.
    pub manual: Option<Now>,
    /// Whether this process may run the store.
    pub lease: Lease,
    /// Manual time only: what the disk is given waits for [`Engine::disk_done`], so that a test sees what happens meanwhile.
    pub slow_disk: bool,
}

pub(crate) struct Shared {
    pub(crate) state: Mutex<Inner>,
    pub(crate) wakes: Wakes,
    pub(crate) points: Mutex<Points>,
    pub(crate) registry: Arc<Registry>,
    bell: Bell,
    pub(crate) tails: Arc<Tails>,
    pub(crate) start: Instant,
    pub(crate) lease: Lease,
    pub(crate) manual: bool,
    slow_disk: bool,
}

pub(crate) struct Inner {
    pub(crate) state: Rooms,
    /// As [`Wanted::driver_wakes`]; 0 where there is no driver.
    driver_wakes: u64,
    /// The store, while no thread has taken it.
    store: Option<Box<dyn Store>>,
    reader: Option<Box<dyn Reader>>,
    /// The commit under way.
    begun: Option<UnderWay>,
    /// The store has a result for it.
    pub(crate) store_woke: Arc<AtomicBool>,
    /// The reader has a result for one of the reads under way, and how many those are.
    pub(crate) reads_woke: Arc<AtomicBool>,
    pub(crate) reads_under_way: usize,
    next_ticket: Ticket,
    pub(crate) stopping: bool,
    /// Commits that were refused since then.
    refused: u32,
}

/// Expressions may nest deep.
const EVALUATOR_STACK: usize = 8 << 20;

/// One process's running end of a store.
pub struct Engine {
    pub(crate) shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    pub(crate) launcher: Mutex<Option<JoinHandle<()>>>,
}

impl Engine {
    /// Open the state that a store holds. Nothing runs before [`Engine::start`].
    pub fn open(parts: Parts) -> Result<Self, EngineError> {
        let bell = Bell::new().map_err(|error| EngineError::Closed(format!("no bell can be made: {error}")))?;
        let registry = Arc::new(if parts.config.metrics { Registry::new() } else { Registry::off() });
        let start = Instant::now();
        let manual = parts.manual.is_some();
        let now = parts.manual.unwrap_or_else(|| read_clock(start, &parts.lease));
        let seed = if manual { now.entropy } else { now.entropy ^ u64::from(std::process::id()) };
        let limits = parts.config.limits.check()?;
        let mut store = parts.store;
        // The readers of a store on another machine connect meanwhile.
        let (direct, reader) = (store.reader()?, store.reader()?);
        let token = store.take_now(Unit::All)?;
        let lease = parts.lease.clone();
        let direct = (direct, parts.lease, token);
        let mut state = Rooms::new(parts.config, limits, now, seed, direct, parts.slots, registry.clone());
        state.ctx.place = store.place();
        state.ctx.has_threads = !manual;
        let tails: Arc<Tails> = Arc::default();
        state.runners.tails = tails.clone();
        let points = Mutex::new(recovery::restore(&mut state)?);
        let inner = Inner {
            state,
            driver_wakes: if manual { 0 } else { u64::MAX },
            store: Some(store),
            reader: Some(reader),
            begun: None,
            store_woke: Arc::default(),
            reads_woke: Arc::default(),
            reads_under_way: 0,
            next_ticket: 1,
            stopping: false,
            refused: 0,
        };
        let shared = Shared {
            state: Mutex::new(inner),
            wakes: Wakes::default(),
            points,
            registry,
            bell,
            tails,
            start,
            lease,
            manual,
            slow_disk: parts.slow_disk,
        };
        let engine = Self { shared: Arc::new(shared), threads: Mutex::default(), launcher: Mutex::default() };
        if !manual {
            engine.spawn_threads()?;
        }
        Ok(engine)
    }

    fn spawn_threads(&self) -> Result<(), EngineError> {
        let (store, reader) = {
            let mut inner = self.shared.lock();
            inner.state.workflows.make_turns_aside(PATIENCE_MS);
            (inner.store.take(), inner.reader.take())
        };
        let mut threads = lock(&self.threads);
        let failed = |error: std::io::Error| EngineError::Closed(format!("no thread can be started: {error}"));
        if let Some(store) = store {
            let shared = self.shared.clone();
            let driver = std::thread::Builder::new().name("forebay-engine".into());
            threads.push(driver.spawn(move || crate::runtime::threads::drive(&shared, store)).map_err(failed)?);
        }
        if let Some(reader) = reader {
            let shared = self.shared.clone();
            let thread = std::thread::Builder::new().name("forebay-reader".into());
            threads.push(thread.spawn(move || crate::runtime::threads::read(&shared, reader)).map_err(failed)?);
        }
        let shared = self.shared.clone();
        let thread = std::thread::Builder::new().name("forebay-turns".into()).stack_size(EVALUATOR_STACK);
        threads.push(thread.spawn(move || crate::runtime::threads::evaluate(&shared)).map_err(failed)?);
        let shared = self.shared.clone();
        let thread = std::thread::Builder::new().name("forebay-metrics".into());
        threads.push(thread.spawn(move || crate::runtime::measuring::measure(&shared)).map_err(failed)?);
        Ok(())
    }

    /// The registry of this engine's metrics.
    pub fn registry(&self) -> &Arc<Registry> {
        &self.shared.registry
    }

    /// The descriptor to watch for the bell.
    pub fn fileno(&self) -> std::os::fd::RawFd {
        self.shared.bell.fileno()
    }

    /// The bell was heard.
    pub fn quiet(&self) {
        self.shared.bell.quiet();
    }

    /// Let mappings run and begin what waits for its destination.
    pub fn start(&self) -> Result<(), EngineError> {
        self.with(|state| {
            state.ctx.started = true;
            state.ctx.sweep_at(state.ctx.now.mono_ns + SWEEP_NS);
            recovery::tell_of_interrupted(state);
            state.try_each_participant(|one| one.start())?;
            state.environments().start_environments();
            wanted::answer_wanted(state);
            state.ctx.commit.reader.opened();
            Ok(())
        })
    }

    /// Hand out no new work, and refuse the invocations that wait to begin.
    pub fn drain(&self) {
        self.with(permits::drain);
    }

    /// Nothing is handed out and nothing waits for the disk.
    pub fn idle(&self) -> bool {
        self.with(|state| state.idle())
    }

    /// Commit what is left and stop the threads. Accepts nothing any more.
    pub fn close(&self) {
        self.end_environments();
        {
            let mut points = lock(&self.shared.points);
            let mut inner = self.shared.lock();
            metric_points::close_points(&mut inner.state, &mut points);
            inner.state.schemas().end_discovery();
            inner.state.rest_apis().keep_usage();
            inner.state.ctx.draining = true;
            inner.state.ctx.closed = true;
            inner.stopping = true;
            if self.shared.manual {
                inner.carry_out();
                self.shared.settle_inline(&mut inner);
                while inner.carry_out() {
                    self.shared.settle_inline(&mut inner);
                }
            }
            self.shared.wakes.stop(&*inner);
        }
        for thread in lock(&self.threads).drain(..) {
            let _ended = thread.join(); // one that panicked has said so itself
        }
        let mut inner = self.shared.lock();
        // The next start shall not find what has ended. If the file cannot be written, that start says more than is so.
        let _cleared = inner.state.dispatch.journal.flush();
        inner.abandon_commit();
        commits::abandon_reads(&mut inner.state);
        inner.state.runners.close();
        attempts::answer_open_invokes(&mut inner.state.dispatch());
        // Where nothing has run, whoever waits is waiting for what the next owner does, and may ask that one.
        let is_passed_on = !inner.state.ctx.started;
        let error = if is_passed_on { EngineError::OwnerLeft } else { EngineError::OwnerLost };
        let stopped = |text: &str| error(text.into());
        inner.state.queues().answer_open_receives(&stopped("the store's owner closed it before a message came"));
        inner.state.streams().answer_followers(&stopped("the store's owner closed it before a record came"));
        kept_results::answer_open_results(
            &mut inner.state.events(),
            &stopped("the store's owner closed it before the event ended"),
        );
        let text = "the store's owner closed it before the execution had ended: it goes on when the app starts, or in the next owner";
        inner.state.workflows().answer_waiting(&stopped(text));
        wanted::answer_wanted(&mut inner.state);
        if let (Some(mut store), Some(token)) = (inner.store.take(), inner.to_release()) {
            store.release(Unit::All, token);
        }
        inner.reader = None;
    }

    /// The epoch with which the store was taken: it grows whenever another process takes it.
    pub fn epoch(&self) -> u64 {
        self.shared.lock().state.ctx.commit.token.epoch
    }

    /// Run the store no more, because another process has taken it or may take it soon: hand out nothing, accept nothing, and end what
    /// runs in processes. What runs in tasks and threads must be stopped by whoever runs it.
    pub fn stand_down(&self, why: &str) {
        self.with(|state| {
            state.ctx.notice(OperatorEvent::Store, "lease", json!({"text": why}));
            state.ctx.fail(StoreError::Lost(why.into()));
        });
        self.end_environments();
    }

    /// Tell whoever runs the app that another process is to own the store: everything goes on until they drain and close this engine.
    pub fn hand_over(&self, why: &str) {
        self.with(|state| state.ctx.answer(Waiter::Bell(UNSOLICITED), Err(EngineError::OwnerLeft(why.into()))));
    }

    /// Register a function or a destination; the same name again replaces its settings and keeps its handler.
    pub fn register(&self, registration: &Registration) -> Result<HandlerId, EngineError> {
        self.prepare_to_launch(registration)?;
        self.with(|state| functions::register(state, registration))
    }

    /// Take a ticket whose answer will come through the bell.
    pub fn ticket(&self) -> Ticket {
        let mut inner = self.shared.lock();
        let ticket = inner.next_ticket;
        inner.next_ticket += 1;
        ticket
    }

    /// Accept records for a stream, all of one trace context; `waiter` is answered when they are durable.
    pub fn put<'a>(&self, stream: &str, records: impl Entries<'a>, trace: Option<&str>, waiter: Waiter) {
        let refused =
            records.clone().find_map(|(key, data)| crate::sources::stream::shards::check_record(key, data).err());
        self.with(|state| match refused {
            Some(error) => state.ctx.answer(waiter, Err(error)),
            None => put::accept(&mut state.streams(), stream, records, trace, waiter),
        });
    }

    /// Send messages to a queue; `waiter` gets their ids, a JSON array, when they are durable.
    pub fn send(&self, queue: &str, messages: &[NewMessage], origin: Origin<'_>, waiter: Waiter) {
        self.with(|state| send::send_messages(&mut state.queues(), queue, messages, origin, waiter));
    }

    /// Run a function once; `waiter` gets its response. Gives the request's id; `None` if it was refused.
    pub fn invoke(&self, function: &str, payload: Arc<[u8]>, trace: Option<&str>, waiter: Waiter) -> Option<u128> {
        self.with(|state| functions::invoke(state, function, payload, trace, waiter))
    }

    /// The same with the last lines that the invocation writes; `None` if it was refused.
    pub fn invoke_tailed(&self, function: &str, payload: Arc<[u8]>, waiter: Waiter) -> Option<Tail> {
        // Before the lock is given back, so that no line is missed.
        self.with(|state| {
            functions::invoke(state, function, payload, None, waiter).map(|request| self.shared.tails.of(request))
        })
    }

    /// The invocations whose lines are wanted.
    pub fn tails(&self) -> &Tails {
        &self.shared.tails
    }

    /// Accept an event for a function; `waiter` gets its request id when it is durable.
    pub fn invoke_async(&self, function: &str, payload: &[u8], origin: Origin<'_>, waiter: Waiter) {
        self.with(|state| accept::invoke_async(&mut state.events(), function, payload, origin, waiter));
    }

    /// Settle what has ended and take what is ready, at most `most` pieces; and the answers that have come. Ticket 0 is nobody's: its
    /// refusal says that the store has failed, its answer is what is to be logged, a JSON array.
    pub fn exchange(&self, settled: Vec<Settled>, most: usize) -> (Vec<Work>, Vec<(Ticket, Answer)>) {
        let mut inner = self.shared.enter();
        settle::settle_all(&mut inner.state, settled);
        if self.shared.manual {
            self.shared.settle_inline(&mut inner);
        }
        let mut works = Vec::new();
        hand_out::take(&mut inner.state, most, &mut works);
        let mut answered = std::mem::take(&mut inner.state.ctx.commit.answered);
        answered.extend(inner.state.ctx.observe.notices.take().map(|notices| (UNSOLICITED, Ok(notices))));
        inner.state.ctx.ring = most > 0 && inner.state.dispatch.ready_list.rings(inner.state.ctx.is_paused());
        self.shared.leave(inner);
        if !self.shared.manual {
            for work in &mut works {
                work.deadline_ms = self.shared.lease.on_machine(work.deadline_ms);
            }
        }
        (works, answered)
    }

    /// Manual time only: do everything that is due at `now`; when the next turn is needed, mono ns.
    pub fn turn(&self, now: Now) -> Option<u64> {
        self.shared.lock().state.ctx.now = now;
        self.shared.roll(&mut lock(&self.shared.points), now);
        let mut inner = self.shared.lock();
        self.shared.settle_inline(&mut inner);
        environments::feed_environments(&mut inner.state, None);
        let due = crate::runtime::idle::next_due(&mut inner);
        self.shared.leave(inner);
        due
    }

    /// With manual time: evaluate nothing under the lock, as if each expression took long. Such turns are made when the disk works.
    pub fn evaluate_aside(&self) {
        self.with(|state| state.workflows.make_turns_aside(0));
    }

    /// With a slow disk: whether it was given something that [`Engine::disk_done`] would end.
    pub fn disk_busy(&self) -> bool {
        self.shared.lock().disk_busy()
    }

    /// With a slow disk: whether it works on a commit.
    pub fn commit_begun(&self) -> bool {
        self.shared.lock().begun.is_some()
    }

    /// With a slow disk: it has read and written what it was given so far.
    pub fn disk_done(&self) {
        let mut inner = self.shared.lock();
        inner.carry_out();
        self.shared.settle_inline(&mut inner);
    }

    /// The batches in flight, as the next process finds them if this one dies now. For simulated crashes.
    pub fn in_flight(&self) -> Vec<InFlight> {
        self.shared.lock().state.dispatch.journal.records()
    }

    pub(crate) fn with<R>(&self, act: impl FnOnce(&mut Rooms) -> R) -> R {
        let mut inner = self.shared.enter();
        let result = act(&mut inner.state);
        inner.state.conduct();
        if self.shared.manual {
            self.shared.settle_inline(&mut inner);
        }
        self.shared.leave(inner);
        result
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        lock(&self.state)
    }

    /// Lock and look at the clock.
    pub(crate) fn enter(&self) -> MutexGuard<'_, Inner> {
        let mut inner = self.lock();
        self.tell_time(&mut inner.state);
        inner
    }

    pub(crate) fn tell_time(&self, state: &mut Rooms) {
        if !self.manual {
            let clock = read_clock(self.start, &self.lease);
            state.ctx.now = Now { entropy: state.ctx.rng.next(), ..clock };
            let second = state.ctx.now.wall_ms / 1000;
            if second > state.ctx.second {
                (state.ctx.second, state.ctx.second_ended) = (second, true);
            }
        }
    }

    /// Unlock, and wake whoever has something to do now.
    pub(crate) fn leave(&self, mut inner: MutexGuard<'_, Inner>) {
        inner.state.conduct();
        environments::feed_environments(&mut inner.state, None);
        let ring = std::mem::take(&mut inner.state.ctx.ring);
        self.wakes.leave(inner, || {
            if ring {
                self.bell.ring();
            }
        });
    }

    /// Turn, read and commit in place until nothing is left to do at this moment.
    fn settle_inline(&self, inner: &mut Inner) {
        loop {
            inner.state.turn();
            inner.begin_commit();
            if self.slow_disk || !inner.carry_out() {
                break;
            }
        }
        if std::mem::take(&mut inner.state.ctx.ring) {
            self.bell.ring();
        }
    }
}

impl Inner {
    /// Take what waits as a commit, if none is under way, and it should be committed now rather than wait for company.
    pub(crate) fn begin_commit(&mut self) {
        let now = self.state.ctx.now.mono_ns;
        let is_due = || self.stopping || self.state.ctx.commit.pending.due().is_some_and(|due| due <= now);
        if self.begun.is_none() && is_due() {
            let commit = commits::take_commit(&mut self.state);
            self.begun = commit.map(|commit| UnderWay::new(commit, self.state.ctx.commit.token));
        }
    }

    /// The token to give the unit up with. `None`: the store has failed or a commit is under way, so its content is in doubt.
    pub(crate) fn to_release(&self) -> Option<Token> {
        let commit = &self.state.ctx.commit;
        (commit.failed.is_none() && self.begun.is_none()).then_some(commit.token)
    }

    /// Whether a commit is under way.
    pub(crate) fn is_committing(&self) -> bool {
        self.begun.is_some()
    }

    /// The commit under way, if it is to be submitted or the store has a result for it.
    pub(crate) fn commit_to_go_on(&mut self) -> Option<UnderWay> {
        let now = self.state.ctx.now.mono_ns;
        let woke = self.store_woke.swap(false, Ordering::AcqRel);
        self.begun.take_if(|under_way| under_way.is_due(now, woke))
    }

    /// Go on after the store was asked about a commit; `None`: it has not ended. False when no other commit may follow. A full disk must
    /// not keep a process from ending: what it does not take is done again after the next start. A commit that it refused with puts is
    /// tried once more without them. A commit is also tried once more if the store could not be reached.
    pub(crate) fn went_on(
        &mut self,
        mut under_way: UnderWay,
        outcome: Option<Result<Outcome, StoreError>>,
        took_ns: u64,
    ) -> bool {
        let Some(outcome) = outcome else {
            self.begun = Some(under_way);
            return true;
        };
        let end = under_way.end(outcome);
        self.refused += u32::from(self.stopping && !matches!(end, End::Durable { .. }));
        let goes_on = self.refused < 2;
        match end {
            End::Again(error) if goes_on => {
                under_way.again(self.state.ctx.now.mono_ns);
                self.begun = Some(under_way);
                commits::commit_delayed(&mut self.state, error, took_ns);
            }
            End::Again(error) => {
                let error = under_way.given_up(Some(error));
                commits::committed(&mut self.state, under_way.commit, End::Failed(error), took_ns);
            }
            end => commits::committed(&mut self.state, under_way.commit, end, took_ns),
        }
        goes_on
    }

    /// The engine has stopped: those who wait for the commit under way are told.
    fn abandon_commit(&mut self) {
        if let Some(under_way) = self.begun.take() {
            let error = under_way.given_up(None);
            commits::committed(&mut self.state, under_way.commit, End::Failed(error), 0);
        }
    }

    fn disk_busy(&self) -> bool {
        self.begun.is_some() || !self.state.ctx.commit.reads.is_empty() || self.state.workflows.has_orders()
    }

    /// Manual time only: make the reads and the turns that are wanted, and the commit that has begun; true if that may go on.
    fn carry_out(&mut self) -> bool {
        let has_read = !self.state.ctx.commit.reads.is_empty() || self.state.workflows.has_orders();
        if let Some(order) = self.state.next_order() {
            self.state.made(order.carry_out());
        }
        if let Some(reader) = self.reader.as_mut() {
            for mut job in std::mem::take(&mut self.state.ctx.commit.reads) {
                while let Some(read) = job.next() {
                    job.found(reader.read(read));
                }
                commits::fetched(&mut self.state, job);
            }
        }
        // There is no thread to wake: the store is asked each time.
        self.store_woke.store(true, Ordering::Release);
        let (Some(mut under_way), Some(store)) = (self.commit_to_go_on(), self.store.as_mut()) else { return has_read };
        let outcome = under_way.go_on(store.as_mut(), Waker::noop());
        let has_ended = outcome.is_some();
        self.went_on(under_way, outcome, 0) && (has_ended || has_read)
    }
}

impl Wanted for Inner {
    /// A commit that is under way makes the next one wait.
    fn next_due(&self) -> Option<u64> {
        match &self.begun {
            _ if self.store_woke.load(Ordering::Acquire) => Some(0),
            Some(under_way) => [self.state.ctx.timers.next_due(), under_way.again_at()].into_iter().flatten().min(),
            None => self.state.next_due(),
        }
    }

    fn driver_wakes(&mut self) -> &mut u64 {
        &mut self.driver_wakes
    }

    fn has_reads(&self) -> bool {
        self.reads_woke.load(Ordering::Acquire)
            || (self.reads_under_way < READS && !self.state.ctx.commit.reads.is_empty())
    }

    fn has_second(&self) -> bool {
        self.state.ctx.second_ended
    }

    fn has_orders(&self) -> bool {
        self.state.workflows.has_orders()
    }

    fn has_launches(&self) -> bool {
        !self.state.environments.launches.is_empty() || self.state.environments.stopped
    }

    fn is_stopping(&self) -> bool {
        self.stopping
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic under the lock is a broken invariant; the process says so where it happened. Going on with the lock keeps the
    // shutdown path working.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
