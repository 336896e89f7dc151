//! The owner's end of the socket: two threads for each connection, one that reads requests and one that writes answers, so
//! that a client that does not read holds up nobody but itself.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{channel, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::net::UnixListener;
use tokio::sync::oneshot;

use crate::mutex::lock;
use crate::socket::connections::{Admitted, Connections};
use crate::socket::credit::Credit;
use crate::socket::frame;
use crate::socket::frame::{Request, WANTED};
use forebay_engine::base::error::{EngineError, Reply, Waiter};
use forebay_engine::base::trace::Origin;
use forebay_engine::runtime::engine::Engine;
use forebay_engine::store::directory::Place;

/// Most connections at once.
pub(crate) const CONNECTIONS_MAX: usize = 256;
/// How long to wait when a connection cannot be taken, for want of descriptors or memory.
const PAUSE: Duration = Duration::from_millis(20);

/// How long clients may take to read their last answers.
const LAST_FRAMES_TIMEOUT: Duration = Duration::from_secs(1);

/// Listens until it is closed.
pub struct Listener {
    place: Place,
    /// Dropped to let the accepting thread go. It needs no connection, which fails when the socket's file has been removed.
    stop: Option<oneshot::Sender<()>>,
    entrance: Arc<Entrance>,
    thread: Option<JoinHandle<()>>,
}

/// Serves the connections that are brought to it, from whichever machine they come.
pub struct Entrance {
    engine: Arc<Engine>,
    connections: Connections,
    /// The engine runs nothing: it is closed when an app wants the store.
    gives_way: bool,
    /// Numbers the clients.
    clients: AtomicU64,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    connections: Vec<Connection>,
    /// No further one is taken.
    is_closed: bool,
}

struct Connection {
    stream: UnixStream,
    writer: JoinHandle<()>,
}

impl Listener {
    /// Listen at `path` (mode 0600). A socket that a dead owner left there is replaced: the caller holds the directory's lock.
    /// `gives_way`: the engine runs nothing, and its process is told when a client wants to own the store.
    pub fn start(path: &Path, engine: Arc<Engine>, gives_way: bool) -> Result<Self, EngineError> {
        let failed =
            |error: std::io::Error| EngineError::Closed(format!("cannot listen at {}: {error}", path.display()));
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build().map_err(failed)?;
        let listener = {
            let _inside = runtime.enter();
            UnixListener::bind(path).map_err(failed)?
        };
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
        let place = Place::of(path).map_err(failed)?;
        let entrance = Arc::new(Entrance {
            engine,
            connections: Connections::at_most(CONNECTIONS_MAX),
            gives_way,
            clients: AtomicU64::new(1),
            open: Mutex::default(),
        });
        let brought_to = entrance.clone();
        let (stop, stopped) = oneshot::channel();
        let accept = move || runtime.block_on(accept(&listener, stopped, &brought_to));
        let thread = std::thread::Builder::new().name("forebay-socket".into()).spawn(accept).map_err(failed)?;
        Ok(Self { place, stop: Some(stop), entrance, thread: Some(thread) })
    }
}

impl Listener {
    /// Where connections are brought to that come another way.
    pub fn entrance(&self) -> Arc<Entrance> {
        self.entrance.clone()
    }

    /// Take no further connection and read no further request. What was read is still answered.
    pub fn stop_reading(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ended = thread.join();
        }
        let _gone = self.place.remove();
        self.entrance.stop_reading();
    }

    /// Wait until every answer and the last frame are with the clients, then hang up. The engine must have been closed before.
    pub fn hang_up(&self) {
        let until = Instant::now() + LAST_FRAMES_TIMEOUT;
        let open = std::mem::take(&mut lock(&self.entrance.open).connections);
        for connection in open {
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

async fn accept(listener: &UnixListener, mut stopped: oneshot::Receiver<()>, entrance: &Entrance) {
    loop {
        let accepted = tokio::select! {
            biased;
            _ = &mut stopped => return,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted.and_then(|(stream, _)| stream.into_std()) {
            Ok(stream) if stream.set_nonblocking(false).is_ok() => stream,
            _ => {
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        entrance.bring(stream, true);
    }
}

impl Entrance {
    /// Serve a connection. One too many is hung up on, as is one that comes when nothing more is read. `is_here`: the client is a process of
    /// this machine, so when it has hung up it is dead, or has done so itself.
    pub(crate) fn bring(&self, stream: UnixStream, is_here: bool) {
        if let Some(admitted) = self.connections.admit() {
            open_connection(stream, self, admitted, is_here);
        }
    }

    fn stop_reading(&self) {
        let mut open = lock(&self.open);
        open.is_closed = true;
        for connection in &open.connections {
            let _no_more = connection.stream.shutdown(std::net::Shutdown::Read);
        }
    }
}

fn open_connection(stream: UnixStream, entrance: &Entrance, admitted: Admitted, is_here: bool) {
    let (Ok(reading), Ok(kept)) = (stream.try_clone(), stream.try_clone()) else { return };
    let mut open = lock(&entrance.open);
    if open.is_closed {
        return;
    }
    let client = entrance.clients.fetch_add(1, Ordering::Relaxed);
    let (answers, waiting) = channel();
    let (engine, gives_way, credit) = (entrance.engine.clone(), entrance.gives_way, Arc::new(Credit::new()));
    let theirs = credit.clone();
    let writer = std::thread::Builder::new().name("forebay-answers".into()).spawn(move || {
        write_answers(stream, &waiting, &theirs);
        theirs.close();
    });
    // Without a thread that answers, nothing may be read: the client is hung up on, as one too many is.
    let Ok(writer) = writer else { return };
    let reader = std::thread::Builder::new().name("forebay-requests".into());
    // Where it cannot be started, nobody is left who could answer, and the writer hangs up.
    let _started = reader.spawn(move || {
        serve(reading, &engine, (client, gives_way), &answers, &credit);
        engine.client_left(client, is_here);
        drop(admitted);
    });
    open.connections.retain(|connection| !connection.writer.is_finished());
    open.connections.push(Connection { stream: kept, writer });
}

fn serve(
    mut stream: UnixStream,
    engine: &Engine,
    (client, gives_way): (u64, bool),
    answers: &Sender<Vec<u8>>,
    credit: &Arc<Credit>,
) {
    // Not read before there is room for its answer: a client that asks faster than it is answered waits in its own writes.
    while credit.take() {
        let Ok(Some((id, kind, body))) = frame::read(&mut stream) else { break };
        let Some(request) = frame::request(kind, &body) else { break };
        let (reply_to, credit) = (answers.clone(), credit.clone());
        let waiter = Waiter::Call(Box::new(move |answer| {
            // Read while the engine was closing: it was not accepted, the next owner may be asked.
            let answer = answer.map_err(|error| match error {
                EngineError::Closed(text) => EngineError::OwnerLeft(text),
                other => other,
            });
            let bytes = frame::answer(id, &answer);
            credit.answered(bytes.len());
            // A writer that has ended means that the client has hung up.
            let _unheard = reply_to.send(bytes);
        }));
        match request {
            Request::Put { stream, records, trace } => {
                let records = records.iter().map(|(key, data)| (key.as_str(), data.as_slice()));
                engine.put(&stream, records, trace.as_deref(), waiter);
            }
            Request::Invoke { function, payload, trace } => {
                engine.invoke(&function, payload.into(), trace.as_deref(), waiter);
            }
            Request::InvokeAsync { function, payload, parent, trace } => {
                let origin = Origin { parent: (parent != 0).then_some(parent), trace: trace.as_deref() };
                engine.invoke_async(&function, &payload, origin, waiter);
            }
            Request::Exchange { settled, most } => engine.runner_exchanges(client, settled, most as usize, waiter),
            Request::Verb { verb, body } if verb == "runner.offer" => engine.runner_offers(client, &body, waiter),
            Request::Verb { verb, body } if verb == "mapping.wanted" => {
                engine.mappings_wanted(client, &body, waiter);
            }
            Request::Verb { verb, .. } if verb == WANTED => {
                if gives_way {
                    engine.hand_over("an app is to own the store");
                }
                if let Waiter::Call(tell) = waiter {
                    tell(Ok(Reply::Json(gives_way.to_string().into_bytes())));
                }
            }
            Request::Verb { verb, body } => engine.request(&verb, &body, waiter),
        }
    }
}

fn write_answers(mut stream: UnixStream, waiting: &Receiver<Vec<u8>>, credit: &Credit) {
    while let Ok(mut bytes) = waiting.recv() {
        let mut answers = 1;
        while bytes.len() < 1 << 16 {
            let Ok(more) = waiting.try_recv() else { break };
            bytes.extend_from_slice(&more);
            answers += 1;
        }
        if stream.write_all(&bytes).is_err() {
            break;
        }
        credit.give_back(answers, bytes.len());
    }
    // Nobody is left who could answer: the client has hung up, or everything that was read from it is answered.
    let _unheard = stream.write_all(&frame::stopped());
    let _closed = stream.shutdown(std::net::Shutdown::Both);
}
