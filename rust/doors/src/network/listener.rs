//! The owner's door for other machines: one thread for all that comes through it.

use std::io;
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use forebay_engine::base::error::EngineError;
use forebay_postgres::Door;
use tokio::net::{TcpListener, TcpStream, UnixStream as NearStream};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::server::TlsStream;
use tokio_rustls::TlsAcceptor;

use super::greeting::{welcome, Welcome};
use super::place::Place;
use super::tls::Made;
use super::tunnel;
use crate::socket::frame::PROTOCOL;
use crate::socket::server::{Entrance, CONNECTIONS_MAX};

/// How long somebody who comes may take to say who it is.
const GREETING_WITHIN: Duration = Duration::from_secs(5);
/// How long to wait when a connection cannot be taken, for want of descriptors or memory.
const PAUSE: Duration = Duration::from_millis(20);

/// Listens until it is closed.
pub struct Listener {
    /// Dropped to let nobody else in.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread knows.
struct House {
    acceptor: TlsAcceptor,
    secret: Vec<u8>,
    entrance: Arc<Entrance>,
}

impl Listener {
    /// What is told of a door that no other machine comes through.
    pub fn closed() -> Door {
        Door { protocol: PROTOCOL, address: None, key: Vec::new(), secret: Vec::new() }
    }

    /// Listen. Whoever knows the secret of the door that is given is brought to the entrance.
    pub fn start(place: &Place, entrance: Arc<Entrance>) -> Result<(Self, Door), EngineError> {
        let failed = |error: &dyn std::fmt::Display| {
            EngineError::Closed(format!("no other machine can ask this process: at {}: {error}", place.bind))
        };
        let made = Made::new().map_err(|error| failed(&error))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| failed(&error))?;
        let listener = runtime.block_on(TcpListener::bind(place.bind)).map_err(|error| failed(&error))?;
        let at: SocketAddr = listener.local_addr().map_err(|error| failed(&error))?;
        let door =
            Door { protocol: PROTOCOL, address: Some(place.told(at)), key: made.key, secret: made.secret.clone() };
        let house = Arc::new(House { acceptor: made.acceptor, secret: made.secret, entrance });
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("forebay-network".into())
            .spawn(move || runtime.block_on(listen(listener, stopped, house)))
            .map_err(|error| failed(&error))?;
        Ok((Self { stop: Some(stop), thread: Some(thread) }, door))
    }

    /// Let nobody else in. Who is in goes on.
    pub fn retire(&mut self) {
        drop(self.stop.take());
    }
}

impl Drop for Listener {
    /// Wait until the last word is with those who are in. The owner's end must have hung up before.
    fn drop(&mut self) {
        self.retire();
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so.
            let _ended = thread.join();
        }
    }
}

async fn listen(listener: TcpListener, mut stopped: oneshot::Receiver<()>, house: Arc<House>) {
    let mut inside = JoinSet::new();
    let (retire, retired) = watch::channel(());
    loop {
        let accepted = tokio::select! {
            biased;
            _ = &mut stopped => break,
            Some(_) = inside.join_next(), if !inside.is_empty() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            // As many may be about to say who they are as may be in.
            Ok((stream, _)) if inside.len() < 2 * CONNECTIONS_MAX => {
                inside.spawn(let_in(stream, house.clone(), retired.clone()));
            }
            Ok(_) => {}
            Err(_) => sleep(PAUSE).await,
        }
    }
    drop((listener, retire));
    while inside.join_next().await.is_some() {}
}

async fn let_in(stream: TcpStream, house: Arc<House>, mut retired: watch::Receiver<()>) {
    let greeted = tokio::select! {
        // It is told to everybody at once by the end of the channel.
        _ = retired.changed() => return,
        greeted = timeout(GREETING_WITHIN, hear(stream, &house)) => greeted,
    };
    // Whoever does not know what to say is no concern of the owner's.
    let Ok(Ok(Some(far))) = greeted else { return };
    let Ok((near, ours)) = pair() else { return };
    house.entrance.bring(near, false);
    drop(house);
    tunnel::serve(far, ours).await;
}

/// The connection of somebody who is to come in.
async fn hear(stream: TcpStream, house: &House) -> io::Result<Option<TlsStream<TcpStream>>> {
    tunnel::watch(&stream)?;
    let mut stream = house.acceptor.accept(stream).await?;
    let is_in = welcome(&mut stream, &house.secret).await? == Welcome::In;
    Ok(is_in.then_some(stream))
}

/// Both ends of a connection: the owner's, and ours.
fn pair() -> io::Result<(UnixStream, NearStream)> {
    let (near, ours) = UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    Ok((near, NearStream::from_std(ours)?))
}
