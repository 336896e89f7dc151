//! Doors to the decoders that no other crate may call, for the tests that give them hostile bytes. Built for tests alone.

use std::net::SocketAddr;
use std::sync::Arc;

use forebay_engine::fuzzing::hear;
use forebay_engine::metrics::Registry;

use crate::http::listener::converse;
use crate::http::{Door, Health, Operations, LIMITS};

/// Why the runtime whose metrics [`metrics_page`] shows is not ready.
pub const NOT_READY: &str = "the disk of this runtime is full";

/// Say these bytes to the server of metrics, which asks for a token or for none and is not ready; give what it answers.
pub fn metrics_page(bytes: &[u8], token: Option<&str>) -> Vec<u8> {
    let health: Health = Arc::new(|| vec![NOT_READY.into()]);
    let token = token.map(|token| token.to_owned().into());
    let door = Door { routes: Operations::new(Arc::new(Registry::off()), health), token, loopback: true };
    let (door, peer) = (Arc::new(door), SocketAddr::from(([127, 0, 0, 1], 1)));
    hear(bytes, |wire| converse(wire, peer, LIMITS, door))
}

/// Say these bytes to a port of APIs; give what it answers: the header lines of each head that it has read.
pub fn gateway_heads(bytes: &[u8]) -> Vec<u8> {
    crate::gateway::fuzzing::heads(bytes)
}

/// The sizes of the messages that these bytes are to a connection of a WebSocket API.
pub fn gateway_messages(bytes: &[u8]) -> Vec<usize> {
    crate::gateway::fuzzing::messages(bytes)
}
