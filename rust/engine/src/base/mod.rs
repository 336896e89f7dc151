//! What every room stands on: names, times, random numbers, timers, errors.

pub mod asynchronous;
pub mod bell;
pub mod bytes;
pub mod config;
pub mod error;
pub mod host;
pub mod ids;
pub mod json;
pub mod lease;
pub mod limits;
pub(crate) mod one_line;
pub mod rng;
pub mod sync;
pub mod time;
pub mod timers;
pub mod token;
pub mod trace;
