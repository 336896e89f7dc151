//! A simulator of forebay's whole engine: virtual time, a store that fails and crashes on demand, handlers, callers and an operator,
//! all drawn from one seed; and a ledger that holds what it sees against the promises.
//!
//! One seed is one run. A run that breaks a promise is repeated by one command, and shrunk to the fewest steps and kinds of faults that
//! still break it.
#![forbid(unsafe_code)]

pub mod chance;
pub mod events;
pub mod flows;
pub mod ledger;
pub mod plan;
pub mod queues;
pub mod settings;
pub mod shape;
pub mod shrink;
pub mod topics;
pub mod watched;
pub mod world;
