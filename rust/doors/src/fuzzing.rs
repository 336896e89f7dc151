//! Doors to the decoders that no other crate may call, for the tests that give them hostile bytes. Built for tests alone.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Duration;

use forebay_engine::fuzzing::hear;
use forebay_engine::metrics::Registry;
use hyper::body::Incoming;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use crate::http::listener::{converse_alone, read, whole, Body, Service};
use crate::http::{Door, Health, Operations, LIMITS};

/// Why the runtime whose metrics [`metrics_page`] shows is not ready.
pub const NOT_READY: &str = "the disk of this runtime is full";

/// Say these bytes to the server of metrics, which asks for a token or for none and is not ready; give what it answers.
pub fn metrics_page(bytes: &[u8], token: Option<&str>) -> Vec<u8> {
    let health: Health = Arc::new(|| vec![NOT_READY.into()]);
    let token = token.map(|token| token.to_owned().into());
    let door = Door { routes: Operations::new(Arc::new(Registry::off()), health), token, loopback: true };
    let (door, peer) = (Arc::new(door), SocketAddr::from(([127, 0, 0, 1], 1)));
    hear(bytes, |wire| converse_alone(wire, peer, LIMITS, door))
}

/// Say these bytes to a port of APIs; give what it answers: the header lines of each head that it has read.
pub fn gateway_heads(bytes: &[u8]) -> Vec<u8> {
    crate::gateway::fuzzing::heads(bytes)
}

/// The sizes of the messages that these bytes are to a connection of a WebSocket API.
pub fn gateway_messages(bytes: &[u8]) -> Vec<usize> {
    crate::gateway::fuzzing::messages(bytes)
}

/// What comes before the first frame of a client that knows beforehand that HTTP/2 is spoken.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Most bytes of a body that [`http2`] takes.
const BODY_MAX: usize = 1 << 20;
/// How many turns the server gets before its client hangs up.
const TURNS: usize = 64;
/// How long a connection may go on whose client has hung up.
const ENDS_WITHIN: Duration = Duration::from_secs(5);

/// Answers each request with its path and the length of its body, and counts them.
#[derive(Default)]
struct Counted(AtomicUsize);

impl Service for Counted {
    async fn answer(&self, request: Request<Incoming>, _peer: SocketAddr) -> Response<Body> {
        self.0.fetch_add(1, Ordering::Relaxed);
        let path = request.uri().path().to_owned();
        let length = read(request.into_body(), BODY_MAX).await.map_or(0, |body| body.len());
        Response::new(whole(format!("{path} {length}")))
    }
}

/// Send these bytes as the frames of a client of HTTP/2 that hangs up then; give what it is answered, and how many requests were heard.
///
/// # Panics
/// If the connection does not end.
pub fn http2(bytes: &[u8]) -> (Vec<u8>, usize) {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_time().build() else {
        return (Vec::new(), 0);
    };
    let service = Arc::new(Counted::default());
    let heard = Arc::clone(&service);
    let said = runtime.block_on(async move {
        let (mut client, server) = tokio::io::duplex(4 << 20);
        let peer = SocketAddr::from(([127, 0, 0, 1], 1));
        let held = tokio::spawn(converse_alone(TokioIo::new(server), peer, crate::aws::door::LIMITS, service));
        let mut said = Vec::new();
        let talk = async {
            // A server that has hung up already takes no more, and what it said is read all the same.
            let _ = client.write_all(&[PREFACE, bytes].concat()).await;
            // A server that finds the end of a connection at once hears no request of it.
            for _ in 0..TURNS {
                tokio::task::yield_now().await;
            }
            let _ = client.shutdown().await;
            let _ = client.read_to_end(&mut said).await;
            let _ = held.await;
        };
        assert!(timeout(ENDS_WITHIN, talk).await.is_ok(), "a connection outlives its client");
        said
    });
    (said, heard.0.load(Ordering::Relaxed))
}
