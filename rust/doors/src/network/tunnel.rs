//! Bytes between a connection through TLS and a socket on this machine, both ways.

use std::os::fd::AsFd;
use std::time::Duration;

use rustix::net::sockopt;
use tokio::io::{copy, sink, split, AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::time::timeout;

/// How long until a connection over which nothing comes is looked after, how often it is, and how often in vain.
const IDLE: Duration = Duration::from_secs(3);
const PROBE: Duration = Duration::from_secs(1);
const PROBES_MAX: u32 = 3;
/// How long bytes may wait for the other machine's kernel before it is taken for lost, ms.
#[cfg(target_os = "linux")]
const UNHEARD_MS: u32 = 5_000;
/// How long the other end may take to hang up when nothing more is to be said.
const HANG_UP_WITHIN: Duration = Duration::from_secs(1);

/// Have a dead machine, or a network that was cut, noticed within seconds.
pub(super) fn watch(stream: impl AsFd) -> std::io::Result<()> {
    sockopt::set_tcp_nodelay(&stream, true)?;
    sockopt::set_socket_keepalive(&stream, true)?;
    sockopt::set_tcp_keepidle(&stream, IDLE)?;
    sockopt::set_tcp_keepintvl(&stream, PROBE)?;
    sockopt::set_tcp_keepcnt(&stream, PROBES_MAX)?;
    #[cfg(target_os = "linux")]
    sockopt::set_tcp_user_timeout(&stream, UNHEARD_MS)?;
    Ok(())
}

/// The owner's end: until the owner has said the last, or nobody hears it.
pub(super) async fn serve(far: impl AsyncRead + AsyncWrite, near: UnixStream) {
    let (mut from_far, mut to_far) = split(far);
    let (mut from_near, mut to_near) = near.into_split();
    let asks = async {
        // However it ends, nothing more is asked.
        let _ = copy(&mut from_far, &mut to_near).await;
        let _ = to_near.shutdown().await;
        std::future::pending::<()>().await;
    };
    let answers = async {
        let _ = copy(&mut from_near, &mut to_far).await;
        let _ = to_far.shutdown().await;
    };
    tokio::select! {
        () = asks => {}
        () = answers => {}
    }
    // A connection that is closed while something comes in loses what was said last.
    let _ = timeout(HANG_UP_WITHIN, copy(&mut from_far, &mut sink())).await;
}

/// A client's end: until the owner has hung up, or this process has and does not wait for answers.
pub(super) async fn ask(far: impl AsyncRead + AsyncWrite, near: UnixStream) {
    let (mut from_far, mut to_far) = split(far);
    let (mut from_near, mut to_near) = near.into_split();
    let asks = async {
        let _ = copy(&mut from_near, &mut to_far).await;
        let _ = to_far.shutdown().await;
        tokio::time::sleep(HANG_UP_WITHIN).await;
    };
    let answers = async {
        let _ = copy(&mut from_far, &mut to_near).await;
        let _ = to_near.shutdown().await;
    };
    tokio::select! {
        () = asks => {}
        () = answers => {}
    }
}
