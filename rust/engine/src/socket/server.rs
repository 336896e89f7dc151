//! The owner's end of the socket: two threads for each connection, one that reads requests and one that writes answers, so
//! that a client that does not read holds up nobody but itself.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{sync_channel, Receiver, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::frame::{self, Request};
use crate::engine::Engine;
use crate::error::{EngineError, Waiter};

/// Most connections at once.
const CONNECTIONS_MAX: usize = 256;
/// Most answers that wait for a client to read them; a client that lets more pile up is cut off.
const ANSWERS_MAX: usize = 4_096;

/// How long clients may take to read their last answers.
const FAREWELL_WITHIN: Duration = Duration::from_secs(1);

/// Listens until it is closed.
pub struct Listener {
    path: PathBuf,
    stopping: Arc<AtomicBool>,
    open: Arc<Mutex<Vec<Connection>>>,
    thread: Option<JoinHandle<()>>,
}

struct Connection {
    stream: UnixStream,
    writer: JoinHandle<()>,
}

impl Listener {
    /// Listen at `path` (mode 0600). A socket that a dead owner left there is replaced: the caller holds the directory's lock.
    pub fn start(path: &Path, engine: Arc<Engine>) -> Result<Self, EngineError> {
        let failed =
            |error: std::io::Error| EngineError::Closed(format!("cannot listen at {}: {error}", path.display()));
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let listener = UnixListener::bind(path).map_err(failed)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
        let stopping = Arc::new(AtomicBool::new(false));
        let open = Arc::new(Mutex::new(Vec::new()));
        let (flag, streams) = (stopping.clone(), open.clone());
        let accept = move || accept(&listener, &engine, &flag, &streams);
        let thread = std::thread::Builder::new().name("forebay-socket".into()).spawn(accept).map_err(failed)?;
        Ok(Self { path: path.to_owned(), stopping, open, thread: Some(thread) })
    }
}

impl Listener {
    /// Take no further connection and read no further request. What was read is still answered.
    pub fn stop_reading(&mut self) {
        self.stopping.store(true, Ordering::Release);
        // A connection of our own wakes the accepting thread; a refused one means that it has already ended.
        let _woken = UnixStream::connect(&self.path);
        if let Some(thread) = self.thread.take() {
            let _ended = thread.join();
        }
        let _gone = std::fs::remove_file(&self.path);
        for connection in self.open.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let _no_more = connection.stream.shutdown(std::net::Shutdown::Read);
        }
    }

    /// Wait until every answer and a farewell are with the clients, then hang up. The engine must have been closed before.
    pub fn hang_up(&self) {
        let until = Instant::now() + FAREWELL_WITHIN;
        for connection in self.open.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            while !connection.writer.is_finished() && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(1));
            }
            let _closed = connection.stream.shutdown(std::net::Shutdown::Both);
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.stop_reading();
        }
        self.hang_up();
    }
}

fn accept(listener: &UnixListener, engine: &Arc<Engine>, stopping: &AtomicBool, open: &Mutex<Vec<Connection>>) {
    let connections = Arc::new(AtomicUsize::new(0));
    for stream in listener.incoming() {
        if stopping.load(Ordering::Acquire) {
            return;
        }
        let Ok(stream) = stream else { continue };
        if connections.load(Ordering::Acquire) >= CONNECTIONS_MAX {
            continue;
        }
        let (Ok(reading), Ok(kept)) = (stream.try_clone(), stream.try_clone()) else { continue };
        connections.fetch_add(1, Ordering::AcqRel);
        let (answers, waiting) = sync_channel(ANSWERS_MAX);
        let (engine, count) = (engine.clone(), connections.clone());
        let writer = std::thread::Builder::new().name("forebay-answers".into());
        let reader = std::thread::Builder::new().name("forebay-requests".into());
        let written = writer.spawn(move || write_answers(stream, &waiting));
        let serving = reader.spawn(move || {
            serve(reading, &engine, &answers);
            count.fetch_sub(1, Ordering::AcqRel);
        });
        if serving.is_err() {
            connections.fetch_sub(1, Ordering::AcqRel);
        }
        if let Ok(writer) = written {
            let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
            open.retain(|connection| !connection.writer.is_finished());
            open.push(Connection { stream: kept, writer });
        }
    }
}

fn serve(mut stream: UnixStream, engine: &Engine, answers: &SyncSender<Vec<u8>>) {
    while let Ok(Some((id, kind, body))) = frame::read(&mut stream) {
        let Some(request) = frame::request(kind, &body) else { break };
        let reply_to = answers.clone();
        let cut = stream.try_clone();
        let waiter = Waiter::Call(Box::new(move |answer| {
            // Read while the engine was closing: it was not accepted, the next owner may be asked.
            let answer = answer.map_err(|error| match error {
                EngineError::Closed(text) => EngineError::OwnerLeft(text),
                other => other,
            });
            if reply_to.try_send(frame::answer(id, &answer)).is_err() {
                if let Ok(stream) = cut {
                    let _cut_off = stream.shutdown(std::net::Shutdown::Both);
                }
            }
        }));
        match request {
            Request::Put { stream, records } => {
                engine.put(&stream, records.iter().map(|(key, data)| (key.as_str(), data.as_slice())), waiter);
            }
            Request::Invoke { function, payload } => engine.invoke(&function, payload.into(), waiter),
            Request::InvokeAsync { function, payload, parent } => {
                engine.invoke_async(&function, &payload, (parent != 0).then_some(parent), waiter);
            }
            Request::Verb { verb, body } => engine.request(&verb, &body, waiter),
        }
    }
}

fn write_answers(mut stream: UnixStream, waiting: &Receiver<Vec<u8>>) {
    while let Ok(mut bytes) = waiting.recv() {
        while bytes.len() < 1 << 16 {
            let Ok(more) = waiting.try_recv() else { break };
            bytes.extend_from_slice(&more);
        }
        if stream.write_all(&bytes).is_err() {
            break;
        }
    }
    // Nobody is left who could answer: the client has hung up, or everything that was read from it is answered.
    let _unheard = stream.write_all(&frame::farewell());
    let _closed = stream.shutdown(std::net::Shutdown::Both);
}
