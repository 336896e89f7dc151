//! The store's end in the engine: tickets here, the work on a thread of its own.

use std::sync::atomic::AtomicU64;
use std::sync::{mpsc as std_mpsc, Arc, Mutex, PoisonError};
use std::task::Waker;
use std::time::Duration;

use forebay_store::port::{Done, Reader, Store, StoreError, Ticket, Token, Unit, Write};
use tokio::sync::mpsc;
use tokio::time::{timeout_at, Instant};

use crate::answers::Answers;
use crate::batch::Batch;
use crate::chores::Chores;
use crate::promises::Promises;
use crate::reader::{serve, Answered, Ask, PostgresReader, READS_MAX};
use crate::settings::Settings;
use crate::writer::Writer;

/// Most calls that wait. A unit has one commit under way, so there are never as many.
const CALLS_MAX: usize = 64;
/// How long a store that is closed waits for its last call.
const CLOSE_WITHIN: Duration = Duration::from_secs(3);

/// What the thread is asked to do.
enum Call {
    Take(Ticket),
    Commit(Ticket, Box<Batch>),
    Release(Token),
    Reader(mpsc::Receiver<Ask>, Arc<Answers<Answered>>),
    Close(std_mpsc::SyncSender<()>),
}

/// Logs and rows in a schema of a PostgreSQL server.
pub struct PostgresStore {
    promises: Promises,
    calls: mpsc::Sender<Call>,
    answers: Arc<Answers<Done>>,
    last: Ticket,
    failed: Option<StoreError>,
    /// What the operator is to be told next.
    notice: Arc<Mutex<Option<String>>>,
    /// The thread does not live on in a process that this one forks.
    process: u32,
}

impl PostgresStore {
    /// Connect, and make the store where there is none. Waits for the server.
    ///
    /// [`StoreError::Refused`]: the server lets nobody in, or promises less than the settings ask for; [`StoreError::Unavailable`]: it
    /// cannot be reached; [`StoreError::NewerFormat`]: a newer forebay made the store.
    pub fn open(settings: Settings) -> Result<Self, StoreError> {
        let (calls, called) = mpsc::channel(CALLS_MAX);
        let answers = Arc::new(Answers::default());
        let (tell, told) = std_mpsc::sync_channel(1);
        let (of_thread, notice) = (answers.clone(), Arc::<Mutex<Option<String>>>::default());
        let told_by = notice.clone();
        std::thread::Builder::new()
            .name("forebay-postgres".into())
            .spawn(move || run(&settings, called, &of_thread, &told_by, &tell))
            .map_err(|error| StoreError::Unreachable(format!("no thread can be started: {error}")))?;
        let opened = told.recv().map_err(|_| StoreError::Failed("the thread of the store has ended".into()))?;
        let promises = opened?;
        Ok(Self { promises, calls, answers, last: 0, failed: None, notice, process: std::process::id() })
    }

    /// What the server said of itself when the store was opened.
    pub fn promises(&self) -> &Promises {
        &self.promises
    }

    /// Send a call to the thread, or say why it cannot be.
    fn call(&mut self, call: impl FnOnce(Ticket) -> Result<Call, StoreError>) -> Result<(), StoreError> {
        if self.process != std::process::id() {
            return Err(StoreError::Failed("the store belongs to the process that this one was forked from".into()));
        }
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let call = call(self.last)?;
        self.calls.try_send(call).map_err(|_| StoreError::Failed("the thread of the store has ended".into()))
    }
}

impl Store for PostgresStore {
    fn take(&mut self, _unit: Unit) -> Ticket {
        self.last += 1;
        if let Err(error) = self.call(|ticket| Ok(Call::Take(ticket))) {
            self.answers.done(self.last, Done::Taken(Err(error)));
        }
        self.last
    }

    fn submit(&mut self, _unit: Unit, token: Token, writes: &[Write]) -> Ticket {
        self.last += 1;
        if let Err(error) = self.call(|ticket| Ok(Call::Commit(ticket, Box::new(Batch::of(token, writes)?)))) {
            self.answers.done(self.last, Done::Ended(Err(error)));
        }
        self.last
    }

    fn release(&mut self, _unit: Unit, token: Token) {
        // Where it cannot be told, the unit is taken as from a process that has died.
        drop(self.call(|_| Ok(Call::Release(token))));
    }

    fn poll(&mut self, waker: &Waker) -> Option<(Ticket, Done)> {
        let found = self.answers.poll(waker)?;
        if let Done::Taken(Err(error)) | Done::Ended(Err(error)) = &found.1 {
            self.failed.get_or_insert_with(|| error.clone());
        }
        Some(found)
    }

    fn reader(&self) -> Result<Box<dyn Reader>, StoreError> {
        let (asks, asked) = mpsc::channel(READS_MAX);
        let answers = Arc::new(Answers::default());
        let call = Call::Reader(asked, answers.clone());
        let ended = |_| StoreError::Failed("the thread of the store has ended".into());
        self.calls.try_send(call).map_err(ended)?;
        Ok(Box::new(PostgresReader::new(asks, answers)))
    }

    fn notice(&mut self) -> Option<String> {
        self.notice.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The server's own vacuum does it.
    fn give_back(&mut self) -> Result<bool, StoreError> {
        Ok(false)
    }
}

impl Drop for PostgresStore {
    /// Wait until the last call is through, so that a unit that was given up is free.
    fn drop(&mut self) {
        if self.process != std::process::id() {
            return;
        }
        let (tell, told) = std_mpsc::sync_channel(1);
        if self.calls.try_send(Call::Close(tell)).is_ok() {
            // Whether it was through or took too long: there is nothing else to do.
            let _ = told.recv_timeout(CLOSE_WITHIN);
        }
    }
}

/// The thread: connects, says how that went, and answers calls until the store and its readers are gone.
fn run(
    settings: &Settings,
    mut calls: mpsc::Receiver<Call>,
    answers: &Answers<Done>,
    notice: &Arc<Mutex<Option<String>>>,
    tell: &std_mpsc::SyncSender<Result<Promises, StoreError>>,
) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            drop(tell.send(Err(StoreError::Unreachable(format!("no event loop can be made: {error}")))));
            return;
        }
    };
    runtime.block_on(async {
        let generation = Arc::new(AtomicU64::new(0));
        let mut writer = match Writer::open(settings.clone(), generation.clone()).await {
            Ok((writer, promises)) => {
                drop(tell.send(Ok(promises)));
                writer
            }
            Err(error) => {
                drop(tell.send(Err(error)));
                return;
            }
        };
        let mut readers = tokio::task::JoinSet::new();
        let mut chores = Chores::new(notice.clone());
        loop {
            let called =
                if writer.owns { timeout_at(chores.due(&writer), calls.recv()).await } else { Ok(calls.recv().await) };
            let call = match called {
                Ok(Some(call)) => call,
                Ok(None) => break,
                Err(_) => {
                    chores.work(&mut writer).await;
                    continue;
                }
            };
            match call {
                Call::Take(ticket) => answers.done(ticket, Done::Taken(writer.take().await)),
                Call::Commit(ticket, batch) => answers.done(ticket, Done::Ended(writer.commit(&batch).await)),
                Call::Release(token) => writer.release(token).await,
                Call::Reader(asked, answers) => {
                    readers.spawn(serve(settings.clone(), generation.clone(), asked, answers));
                }
                Call::Close(tell) => drop(tell.send(())),
            }
            // Under load there is always a call.
            if writer.owns && chores.due(&writer) <= Instant::now() {
                chores.work(&mut writer).await;
            }
        }
        // Readers live on without their store, as they do beside an embedded one.
        while readers.join_next().await.is_some() {}
    });
}
