//! The one HTTP/1 server: a thread of its own, so that a page never holds up the event loop or the engine.
//!
//! It never reads a request's body and never keeps a connection open: a connection is one request, with a deadline, and there
//! is a greatest number of them.

mod operations;
mod server;
#[cfg(test)]
mod tests;
mod token;

pub use operations::{Health, Operations};
pub(crate) use server::names_loopback;
#[cfg(feature = "failpoints")]
pub(crate) use server::Door;
pub use server::{Address, Server, StartError};
pub use token::Token;

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
