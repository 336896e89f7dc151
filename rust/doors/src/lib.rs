//! How an engine is reached from outside: how it opens, the socket of its owner, its HTTP server.
#![forbid(unsafe_code)]

mod aside;
pub mod ask;
pub mod aws;
mod clock;
#[cfg(feature = "failpoints")]
pub mod fuzzing;
pub mod gateway;
pub mod http;
pub mod member;
pub mod migrate;
mod mutex;
pub mod network;
pub mod on_server;
pub mod open;
pub mod socket;
mod unreached;

// `rust/testing/interleavings` builds some files of `socket/` on a `base::sync` of its own: they name it by this path in both crates.
use forebay_engine::base;
