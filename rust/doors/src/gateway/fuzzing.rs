//! The gateway's readers of what clients send, for the tests that give them hostile bytes. Built for tests alone.

use std::io::{Cursor, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;

use forebay_core::gateway::answer::Answer;
use forebay_core::gateway::forwarded::Trusted;
use forebay_engine::fuzzing::hear;
use hyper::body::Incoming;
use hyper::{Request, Response};
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocket};
use tokio_tungstenite::tungstenite::Message;

use crate::gateway::head::{Entrance, Head};
use crate::gateway::reply::{refusal, response};
use crate::gateway::{websocket, LIMITS};
use crate::http::listener::{converse_alone, Body, Service};
use crate::http::spelling::{names, Heard};

/// Answers each head that is read with its header lines.
struct Heads(Heard);

impl Service for Heads {
    async fn answer(&self, request: Request<Incoming>, peer: SocketAddr) -> Response<Body> {
        let (parts, _) = request.into_parts();
        let spelled = self.0.head(&parts).ok().flatten().map(|lines| names(&lines, &parts)).unwrap_or_default();
        let trusted = Trusted::default();
        let entrance = Entrance { peer, port: 1, is_tls: false, trusted: &trusted };
        match Head::read(&parts, entrance) {
            Ok(mut head) => {
                head.spell(&spelled);
                let lines = head.headers.iter().map(|(name, value)| format!("{name}: {value}\n"));
                let body = lines.collect::<String>().into_bytes();
                response(Answer { status: 200, headers: Vec::new(), body })
            }
            Err((status, text)) => refusal(status, text),
        }
    }
}

/// Say these bytes to a port of APIs; give what it answers: the header lines of each head that it has read.
pub(crate) fn heads(bytes: &[u8]) -> Vec<u8> {
    let heard = Heard::default();
    heard.hear(bytes);
    let (service, peer) = (Arc::new(Heads(heard)), SocketAddr::from(([127, 0, 0, 1], 1)));
    hear(bytes, |wire| converse_alone(wire, peer, LIMITS, service))
}

/// A client that has sent these bytes, and takes all that it is sent.
struct Sent(Cursor<Vec<u8>>);

impl Read for Sent {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Sent {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The sizes of the messages that these bytes are to a connection of a WebSocket API.
pub(crate) fn messages(bytes: &[u8]) -> Vec<usize> {
    let sent = Sent(Cursor::new(bytes.to_vec()));
    let mut socket = WebSocket::from_raw_socket(sent, Role::Server, Some(websocket::config()));
    let mut sizes = Vec::new();
    while let Ok(message) = socket.read() {
        if let Message::Text(_) | Message::Binary(_) = message {
            sizes.push(message.len());
        }
    }
    sizes
}
