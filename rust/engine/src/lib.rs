//! The engine: it owns stores, threads and sockets, and carries out what `forebay_core` decides.
#![forbid(unsafe_code)]

pub mod chunk;
pub mod directory;
pub mod failpoint;
pub mod http;
pub mod metrics;
pub mod port;
pub mod slots;
pub mod store;
