//! The engine: it owns stores, threads and sockets, and carries out what `forebay_core` decides.
#![forbid(unsafe_code)]

pub mod attempts;
pub mod bell;
mod bytes;
pub mod chunk;
mod commits;
mod deliveries;
pub mod directory;
pub mod engine;
pub mod environments;
pub mod error;
pub mod events;
pub mod failpoint;
mod failures;
pub mod functions;
#[cfg(feature = "failpoints")]
pub mod fuzzing;
mod history;
pub mod http;
pub mod invocation;
mod json;
pub mod limits;
mod lines;
mod mapping_row;
mod mappings;
mod measuring;
mod meters;
pub mod metrics;
mod notices;
pub mod open;
mod orders;
mod outbox;
mod outcomes;
mod places;
pub mod pollers;
pub mod port;
pub mod queue;
mod redrives;
mod restore;
mod retention;
#[cfg(test)]
mod rig;
mod rows;
mod search;
pub mod slots;
pub mod socket;
pub mod state;
pub mod store;
pub mod streams;
mod suspects;
mod sync;
mod threads;
pub mod topic;
pub mod trace;
mod verbs;
mod versions;
mod wakes;
