//! The way to an owner on another machine.

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use forebay_postgres::Door;
use tokio::net::{TcpStream, UnixStream as NearStream};
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;

use super::greeting::{greet, Welcome};
use super::tls::connector;
use super::tunnel;

/// How long it may take until the owner has answered the greeting.
const REACH_WITHIN: Duration = Duration::from_secs(3);
/// The name of every owner: its key tells who it is.
const NAME: &str = "forebay";

/// Why an owner cannot be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unreached {
    /// It will not answer as long as it owns the store.
    Never(String),
    /// It may answer soon.
    Later(String),
}

/// Connect, and give this process's end, and the thread that carries the bytes until that end is hung up.
pub(crate) fn reach(door: &Door) -> Result<(UnixStream, JoinHandle<()>), Unreached> {
    let Some(address) = door.address.clone() else {
        return Err(Unreached::Never("it does not listen for other machines".into()));
    };
    let later = |error: io::Error| Unreached::Later(error.to_string());
    let (near, ours) = UnixStream::pair().map_err(later)?;
    ours.set_nonblocking(true).map_err(later)?;
    let (tell, told) = mpsc::sync_channel(1);
    let door = door.clone();
    let thread = std::thread::Builder::new().name("forebay-tunnel".into()).spawn(move || {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return drop(tell.send(Err(later(error)))),
        };
        runtime.block_on(async {
            let connected = timeout(REACH_WITHIN, connect(&address, &door)).await;
            let silent = format!("it does not answer at {address}");
            let connected = connected.unwrap_or(Err(Unreached::Later(silent)));
            let near = NearStream::from_std(ours).map_err(later);
            // Whoever waits for this is told, or the connection is dropped.
            match connected.and_then(|far| near.map(|near| (far, near))) {
                Ok((far, near)) if tell.send(Ok(())).is_ok() => tunnel::ask(far, near).await,
                Ok(_) => {}
                Err(error) => drop(tell.send(Err(error))),
            }
        });
    });
    let thread = thread.map_err(later)?;
    told.recv().unwrap_or_else(|_| Err(Unreached::Later("the thread of the connection has ended".into())))?;
    Ok((near, thread))
}

async fn connect(address: &str, door: &Door) -> Result<TlsStream<TcpStream>, Unreached> {
    let later = |error: io::Error| Unreached::Later(format!("it does not answer at {address}: {error}"));
    let stream = TcpStream::connect(address).await.map_err(later)?;
    tunnel::watch(&stream).map_err(later)?;
    let wrong = |error: &dyn std::fmt::Display| Unreached::Never(format!("its key cannot be used: {error}"));
    let connector = connector(&door.key).map_err(|error| wrong(&error))?;
    let name = ServerName::try_from(NAME).map_err(|error| wrong(&error))?;
    let mut stream = connector.connect(name, stream).await.map_err(later)?;
    match greet(&mut stream, &door.secret).await.map_err(later)? {
        Welcome::In => Ok(stream),
        // It may have opened another door meanwhile.
        Welcome::Stranger => Err(Unreached::Later(format!("it does not let this process in at {address}"))),
        Welcome::OtherProtocol => Err(Unreached::Never("it speaks another protocol".into())),
    }
}
