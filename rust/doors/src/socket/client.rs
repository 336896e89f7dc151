//! A client's end of the socket: the same calls as an engine's, answered through the same bell.

use std::collections::HashMap;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::mutex::lock;
use crate::network::{reach, Unreached};
use crate::socket::frame;
use crate::socket::outgoing::Outgoing;
use crate::socket::pipe::Pipe;
use crate::socket::running::{Next, Running};
use forebay_core::cluster::Stopped;
use forebay_engine::base::bell::Bell;
use forebay_engine::base::error::{Answer, EngineError, Reply, Ticket, Waiter};
use forebay_engine::base::trace::Origin;
use forebay_engine::dispatch::attempts::Settled;
use forebay_engine::environments::assignment::Assignment;
use forebay_engine::store::port::StoreError;
use forebay_postgres::Door;

/// A connection to the owner of a store.
pub struct Client {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Carries the bytes to an owner on another machine.
    tunnel: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    state: Mutex<State>,
    outgoing: Outgoing,
    bell: Bell,
}

#[derive(Default)]
struct State {
    next: u64,
    waiting: HashMap<u64, Waiter>,
    /// When something was heard of the owner last, or asked when nothing was unanswered.
    heard: Option<Instant>,
    /// The owner's name among those that share a store on a server.
    owner: Option<String>,
    answered: Vec<(Ticket, Answer)>,
    lost: bool,
    /// The owner has said that it leaves.
    left: bool,
    /// Why the owner cannot be asked from here.
    away: Option<String>,
    running: Running,
}

impl Client {
    /// Connect to the owner that listens at `path`.
    pub fn connect(path: &Path) -> Result<Self, EngineError> {
        let stream = UnixStream::connect(path).map_err(|error| {
            EngineError::OwnerLost(format!(
                "the store is owned by a process that does not answer at {}: {error}",
                path.display()
            ))
        })?;
        Self::over(stream)
    }

    /// Connect to the owner on another machine, which listens behind this door.
    pub fn connect_far(door: &Door) -> Result<Self, Unreached> {
        let (stream, thread) = reach(door)?;
        let client = Self::over(stream).map_err(|error| Unreached::Later(error.to_string()))?;
        *lock(&client.tunnel) = Some(thread);
        Ok(client)
    }

    fn over(stream: UnixStream) -> Result<Self, EngineError> {
        let failed = |error: std::io::Error| EngineError::OwnerLost(format!("the owner's socket failed: {error}"));
        let reading = stream.try_clone().map_err(failed)?;
        let state = State { next: 1, ..State::default() };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            outgoing: Outgoing::new(Pipe::new(stream)),
            bell: Bell::new().map_err(failed)?,
        });
        let client = Self { shared: shared.clone(), threads: Mutex::default(), tunnel: Mutex::default() };
        let theirs = shared.clone();
        client.spawn("forebay-client", move || theirs.read(reading)).map_err(failed)?;
        client.spawn("forebay-outgoing", move || shared.write()).map_err(failed)?;
        Ok(client)
    }

    /// A client of an owner on another machine, which refuses whatever it is asked.
    pub fn away(why: String) -> Result<Self, EngineError> {
        let failed = |error: std::io::Error| EngineError::OwnerLost(format!("nothing can be waited for: {error}"));
        let (ours, _) = UnixStream::pair().map_err(failed)?;
        let state = State { next: 1, away: Some(why), ..State::default() };
        let bell = Bell::new().map_err(failed)?;
        let shared = Shared { state: Mutex::new(state), outgoing: Outgoing::new(Pipe::new(ours)), bell };
        Ok(Self { shared: Arc::new(shared), threads: Mutex::default(), tunnel: Mutex::default() })
    }

    /// Whether the owner is on another machine.
    pub fn is_away(&self) -> bool {
        lock(&self.shared.state).away.is_some()
    }

    /// What tells this client that the store has another owner by now.
    pub fn changes(&self) -> impl Fn() + Send + Sync + 'static {
        let shared = Arc::downgrade(&self.shared);
        move || {
            if let Some(shared) = shared.upgrade() {
                shared.end();
            }
        }
    }

    /// This is the owner's name among those that share the store.
    pub(crate) fn asks_of(&self, owner: &str) {
        lock(&self.shared.state).owner = Some(owner.to_owned());
    }

    /// The name of the process that is asked, where several share the store.
    pub fn owner(&self) -> Option<String> {
        lock(&self.shared.state).owner.clone()
    }

    /// What tells for how long the owner has said nothing although it owes an answer; `None`: nobody is asked any more.
    pub(crate) fn unheard(&self) -> impl Fn() -> Option<Duration> + Send + 'static {
        let shared = Arc::downgrade(&self.shared);
        move || {
            let shared = shared.upgrade()?;
            let state = lock(&shared.state);
            let since = state.heard.filter(|_| !state.waiting.is_empty());
            (!state.lost).then(|| since.map_or(Duration::ZERO, |since| since.elapsed()))
        }
    }

    /// Run handlers for the owner as long as `may_run` says that this process may, under its name among those that share the store.
    pub fn run_while(&self, member: &str, may_run: impl Fn() -> bool + Send + Sync + 'static) {
        lock(&self.shared.state).running.begin(member, may_run);
    }

    /// What is given has deadlines in the time of the store, which this says; without it in the time of the machine.
    pub fn dates_by(&self, store_ms: impl Fn() -> Option<u64> + Send + Sync + 'static) {
        lock(&self.shared.state).running.dates_by(store_ms);
    }

    /// What is to be called often while this client has the right owner.
    pub fn looks(&self) -> impl Fn() + Send + Sync + 'static {
        let shared = Arc::downgrade(&self.shared);
        move || {
            if let Some(shared) = shared.upgrade() {
                shared.look();
            }
        }
    }

    /// A function that this process has in tasks or threads; its number.
    pub fn function(&self, name: &str, takes_batch: bool) -> usize {
        lock(&self.shared.state).running.function(name, takes_batch)
    }

    /// All functions are declared.
    pub fn start(&self) {
        lock(&self.shared.state).running.start();
    }

    /// The fencing token of what the owner gives; `None`: it gives nothing.
    pub fn fencing_token(&self) -> Option<u64> {
        lock(&self.shared.state).running.epoch
    }

    /// What was given over this connection, as the owner knows it, once nothing more can come over it.
    pub fn stopped(&self) -> Option<Stopped> {
        let state = lock(&self.shared.state);
        state.running.stopped().filter(|_| state.lost)
    }

    /// Take no work any more. What was given is to be ended.
    pub fn leave(&self) {
        let next = lock(&self.shared.state).running.leave();
        self.shared.go_on(next, 0);
    }

    /// Hand over how attempts have ended, and take what the owner gives, each with the number of its function. At most `most` are under way
    /// at once.
    pub fn exchange(&self, settled: Vec<Settled>, most: usize) -> Vec<(Assignment, usize)> {
        let lease = lock(&self.shared.state).running.may_run();
        let Some(lease) = lease else { return Vec::new() };
        let may_run = lease();
        let mut state = lock(&self.shared.state);
        if state.lost {
            return Vec::new();
        }
        let (found, next) = state.running.exchange(settled, may_run);
        let most = state.running.most(most);
        drop(state);
        self.shared.go_on(next, most);
        found
    }

    fn spawn(&self, name: &str, work: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
        let thread = std::thread::Builder::new().name(name.into()).spawn(work)?;
        lock(&self.threads).push(thread);
        Ok(())
    }

    /// The descriptor to watch for the bell.
    pub fn fileno(&self) -> std::os::fd::RawFd {
        self.shared.bell.fileno()
    }

    /// The bell was heard.
    pub fn quiet(&self) {
        self.shared.bell.quiet();
    }

    /// Take a ticket whose answer will come through the bell.
    pub fn ticket(&self) -> Ticket {
        let mut state = lock(&self.shared.state);
        state.next += 1;
        state.next
    }

    /// As `Engine::put`.
    pub fn put<'a>(
        &self,
        stream: &str,
        records: impl Iterator<Item = (&'a str, &'a [u8])>,
        trace: Option<&str>,
        waiter: Waiter,
    ) {
        self.shared.send(waiter, |id| frame::put(id, stream, records, trace));
    }

    /// As `Engine::invoke`.
    pub fn invoke(&self, function: &str, payload: &[u8], trace: Option<&str>, waiter: Waiter) {
        self.shared.send(waiter, |id| frame::invoke(id, function, payload, trace));
    }

    /// As `Engine::invoke_async`.
    pub fn invoke_async(&self, function: &str, payload: &[u8], origin: Origin<'_>, waiter: Waiter) {
        self.shared.send(waiter, |id| frame::invoke_async(id, function, payload, origin));
    }

    /// As `Engine::request`.
    pub fn request(&self, verb: &str, body: &[u8], waiter: Waiter) {
        self.shared.send(waiter, |id| frame::verb(id, verb, body));
    }

    /// Say that this process is to own the store: an owner that runs nothing lets go of it. One of an earlier release does not know that.
    pub(crate) fn wants_store(&self, waiter: Waiter) {
        self.request(frame::WANTED, b"{}", waiter);
    }

    /// The answers that have come.
    pub fn answered(&self) -> Vec<(Ticket, Answer)> {
        std::mem::take(&mut lock(&self.shared.state).answered)
    }

    /// Nothing asked is unanswered, but whether there is work, and nothing that was given is left to be done.
    pub fn idle(&self) -> bool {
        let state = lock(&self.shared.state);
        let open = if state.lost { 0 } else { state.running.open };
        state.waiting.len() == open && state.running.is_idle()
    }

    /// Hang up. What was sent last still goes out, unless the owner is lost. An owner that stands still would keep its successor waiting.
    pub fn close(&self) {
        let is_lost = lock(&self.shared.state).lost;
        self.shared.outgoing.close();
        for thread in std::mem::take(&mut *lock(&self.threads)) {
            let _ended = thread.join();
        }
        if let Some(tunnel) = lock(&self.tunnel).take().filter(|_| !is_lost) {
            let _ended = tunnel.join();
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    fn look(self: &Arc<Self>) {
        let lease = lock(&self.state).running.may_run();
        if let Some(lease) = lease {
            let may_run = lease();
            let next = lock(&self.state).running.look(may_run);
            self.go_on(next, 0);
        }
    }

    fn go_on(self: &Arc<Self>, next: Next, most: u32) {
        let theirs = self.clone();
        match next {
            Next::Nothing => {}
            Next::GiveUp => self.end(),
            Next::Offer(offer) => {
                let body = serde_json::to_vec(&offer).unwrap_or_default();
                let heard = move |answer: Answer| {
                    // An owner of an earlier release knows no runners, and runs all handlers itself.
                    if let Ok(Reply::Json(accepted)) = answer {
                        lock(&theirs.state).running.accepted(&accepted);
                        theirs.bell.ring();
                    }
                };
                self.send(Waiter::Call(Box::new(heard)), |id| frame::verb(id, "runner.offer", &body));
            }
            Next::Ask(parts) => {
                for settled in parts {
                    let theirs = self.clone();
                    let heard = move |answer: Answer| match answer {
                        Ok(reply) => {
                            if lock(&theirs.state).running.answered(reply) {
                                theirs.bell.ring();
                            }
                        }
                        // What was handed over may be lost with it.
                        Err(_) => theirs.end(),
                    };
                    self.send_by(Waiter::Call(Box::new(heard)), true, |id| frame::exchange(id, &settled, most));
                }
            }
        }
    }

    fn send(&self, waiter: Waiter, frame: impl FnOnce(u64) -> Vec<u8>) {
        self.send_by(waiter, false, frame);
    }

    /// `always`: however much waits to be written. What is handed over is bounded by what was given.
    fn send_by(&self, waiter: Waiter, always: bool, frame: impl FnOnce(u64) -> Vec<u8>) {
        let mut state = lock(&self.state);
        if state.lost {
            drop(state);
            // What was never sent was certainly not accepted.
            self.answer(waiter, Err(left()));
            return;
        }
        if let Some(why) = &state.away {
            let error = EngineError::Store(StoreError::Locked(why.clone()));
            drop(state);
            self.answer(waiter, Err(error));
            return;
        }
        state.next += 1;
        let id = state.next;
        if state.waiting.is_empty() {
            state.heard = Some(Instant::now());
        }
        state.waiting.insert(id, waiter);
        drop(state);
        let bytes = frame(id);
        let sent = if bytes.len() > frame::FRAME_MAX {
            Err(EngineError::TooLarge(format!(
                "a request of {} bytes: through the owner's socket {} are allowed",
                bytes.len(),
                frame::FRAME_MAX
            )))
        } else {
            self.outgoing.send(id, bytes, always)
        };
        if let Err(error) = sent {
            self.refuse(id, error);
        }
    }

    fn refuse(&self, id: u64, error: EngineError) {
        let waiter = lock(&self.state).waiting.remove(&id);
        if let Some(waiter) = waiter {
            self.answer(waiter, Err(error));
        }
    }

    fn write(&self) {
        for id in self.outgoing.write() {
            self.refuse(id, left());
        }
    }

    pub(crate) fn answer(&self, waiter: Waiter, answer: Answer) {
        match waiter {
            Waiter::Bell(ticket) => {
                lock(&self.state).answered.push((ticket, answer));
                self.bell.ring();
            }
            Waiter::Call(call) => call(answer),
            Waiter::Client(client) => client.answer(answer),
        }
    }

    fn gone(&self) -> EngineError {
        if lock(&self.state).left {
            left()
        } else {
            lost()
        }
    }

    fn read(&self, mut stream: UnixStream) {
        while let Ok(Some((id, kind, body))) = frame::read(&mut stream) {
            if kind == frame::STOPPED {
                lock(&self.state).left = true;
                break;
            }
            let Some(answer) = frame::parse_answer(kind, body) else { break };
            let mut state = lock(&self.state);
            state.heard = Some(Instant::now());
            let waiter = state.waiting.remove(&id);
            drop(state);
            if let Some(waiter) = waiter {
                self.answer(waiter, answer);
            }
        }
        self.end();
    }

    /// Nothing is asked any more, and whoever waits is told.
    fn end(&self) {
        let mut state = lock(&self.state);
        if std::mem::replace(&mut state.lost, true) {
            return;
        }
        let waiting: Vec<Waiter> = state.waiting.drain().map(|(_, waiter)| waiter).collect();
        drop(state);
        let error = self.gone();
        for waiter in waiting {
            self.answer(waiter, Err(error.clone()));
        }
        // Ticket 0 tells the event loop that the connection is gone.
        self.answer(Waiter::Bell(0), Err(error));
    }
}

pub(super) fn left() -> EngineError {
    EngineError::OwnerLeft("the process that owned the store has stopped and did not accept the request".into())
}

fn lost() -> EngineError {
    EngineError::OwnerLost(
        "the process that owns the store went away before it answered: it may or may not have accepted the request"
            .into(),
    )
}
