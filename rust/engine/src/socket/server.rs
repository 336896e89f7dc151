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

use super::frame::{self, Request};
use crate::engine::Engine;
use crate::error::{EngineError, Waiter};

/// Most connections at once.
const CONNECTIONS_MAX: usize = 256;
/// Most answers that wait for a client to read them; a client that lets more pile up is cut off.
const ANSWERS_MAX: usize = 4_096;

/// Listens until it is dropped.
pub struct Listener {
    path: PathBuf,
    stopping: Arc<AtomicBool>,
    open: Arc<Mutex<Vec<UnixStream>>>,
    thread: Option<JoinHandle<()>>,
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

impl Drop for Listener {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Release);
        // A connection of our own wakes the accepting thread; a refused one means that it has already ended.
        let _woken = UnixStream::connect(&self.path);
        if let Some(thread) = self.thread.take() {
            let _ended = thread.join();
        }
        for stream in self.open.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            let _closed = stream.shutdown(std::net::Shutdown::Both);
        }
        let _gone = std::fs::remove_file(&self.path);
    }
}

fn accept(listener: &UnixListener, engine: &Arc<Engine>, stopping: &AtomicBool, open: &Mutex<Vec<UnixStream>>) {
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
        let mut streams = open.lock().unwrap_or_else(PoisonError::into_inner);
        streams.retain(|stream| stream.peer_addr().is_ok());
        streams.push(kept);
        drop(streams);
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
        if written.is_err() || serving.is_err() {
            connections.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

fn serve(mut stream: UnixStream, engine: &Engine, answers: &SyncSender<Vec<u8>>) {
    while let Ok(Some((id, kind, body))) = frame::read(&mut stream) {
        let Some(request) = frame::request(kind, &body) else { break };
        let reply_to = answers.clone();
        let cut = stream.try_clone();
        let waiter = Waiter::Call(Box::new(move |answer| {
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
            Request::Verb { verb, body } => engine.request(&verb, &body, waiter),
        }
    }
    let _closed = stream.shutdown(std::net::Shutdown::Both);
}

fn write_answers(mut stream: UnixStream, waiting: &Receiver<Vec<u8>>) {
    while let Ok(mut bytes) = waiting.recv() {
        while bytes.len() < 1 << 16 {
            let Ok(more) = waiting.try_recv() else { break };
            bytes.extend_from_slice(&more);
        }
        if stream.write_all(&bytes).is_err() {
            return;
        }
    }
}
