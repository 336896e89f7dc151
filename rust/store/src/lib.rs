//! Everything of forebay that stands on a disk: the store's port, the stores that implement it, the format of what they keep, and the
//! files beside the embedded store. It knows nothing of streams, queues or functions but the rows that a repair must read.
//!
//! Each store implements [`port::Store`] and passes `tests/conformance.rs`.
#![forbid(unsafe_code)]

pub mod attempt_journal;
pub mod bytes;
pub mod chunk;
pub mod damage_advice;
pub mod directory;
pub mod failpoint;
pub mod fault;
pub mod format;
mod image;
pub mod memory;
pub mod migrate;
pub mod port;
mod span;
pub mod sqlite;
pub mod streams;

pub use format::{CHUNK_BYTES_MAX, POSITION_LIMIT, SHARD_LIMIT};
pub use span::Span;
