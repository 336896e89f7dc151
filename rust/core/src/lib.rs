//! The rules. Facts in, commands out; `now` is an argument.
//!
//! Nothing here does I/O, starts a thread, reads a clock, draws a random number or knows Python. That absence is what
//! lets a million deliveries a second be simulated and every promise be tested by moving a number.
#![forbid(unsafe_code)]

pub mod alias;
pub mod chain;
pub mod cluster;
pub mod concurrency;
pub mod durable;
pub mod environment;
pub mod gateway;
pub mod histogram;
pub mod invocation;
pub mod now;
pub mod outbox;
pub mod pattern;
pub mod queue;
pub mod schedule;
pub mod schema;
pub mod secret;
pub mod sequence;
pub mod session;
pub mod statistic;
pub mod stream;
pub mod template;
mod timeline;
pub mod token_bucket;
pub mod workflow;

pub use now::Now;
