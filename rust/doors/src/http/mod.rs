//! HTTP: the listener that every door uses, with a thread of its own, so that nothing it serves holds up the event loop or the engine.
//! On it the server of metrics and health, which never reads a body and never keeps a connection open.

mod begun;
pub(crate) mod certificate;
mod framing;
pub(crate) mod late;
pub mod listener;
mod operations;
pub(crate) mod patience;
pub(crate) mod pieces;
mod server;
pub(crate) mod spelling;
pub(crate) mod taking;
#[cfg(test)]
mod tests;
pub mod tls;

pub use operations::{Health, Operations};
pub use server::{Address, Server, StartError};
#[cfg(feature = "failpoints")]
pub(crate) use server::{Door, LIMITS};

/// What a door is asked: the path and the header lines that matter.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Path without the query.
    pub path: &'a str,
    /// The `Accept` header, empty when there is none.
    pub accept: &'a str,
    /// Whoever asks gave the token, or none is asked for.
    pub admitted: bool,
}

/// What is sent back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Content type.
    pub content_type: &'static str,
    /// The whole body.
    pub body: Vec<u8>,
}

impl Answer {
    /// A JSON answer.
    pub fn json(status: u16, body: &serde_json::Value) -> Self {
        Self { status, content_type: "application/json", body: body.to_string().into_bytes() }
    }
}

/// What is behind the server. Called on the server's thread, for GET and HEAD alike; it must not wait for anything.
pub trait Routes: Send + Sync + 'static {
    /// The answer to a request; `None` when there is nothing at its path.
    fn answer(&self, request: Request<'_>) -> Option<Answer>;
}
