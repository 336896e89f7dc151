//! The engine: it owns stores, threads and sockets, and carries out what `forebay_core` decides.
#![forbid(unsafe_code)]

pub mod attempts;
pub mod bell;
pub mod chunk;
mod commits;
mod deliveries;
pub mod directory;
pub mod engine;
pub mod error;
pub mod events;
pub mod failpoint;
mod failures;
pub mod functions;
pub mod http;
mod mapping_row;
mod mappings;
mod measuring;
mod meters;
pub mod metrics;
pub mod open;
mod outbox;
mod outcomes;
pub mod pollers;
pub mod port;
mod redrives;
mod restore;
mod retention;
pub mod slots;
pub mod socket;
pub mod state;
pub mod store;
pub mod streams;
mod suspects;
mod threads;
mod verbs;
