//! Plays with loom the orders of the steps of up to three threads that share one of the engine's structures: the orders that mutexes and
//! condition variables allow, and the values that a relaxed load may give. Of two threads it plays every order, of three and of
//! models with many steps those in which no thread is stopped more often than [`PREEMPTIONS_MAX`] where it could go on.
//!
//! Not played: wake-ups that nobody asked for, and waits that end by time. The loops around the structures, of the driver, the reader
//! and the others, are short copies written here, so that a fault in the engine's own loops (`threads.rs`, `socket/`) is not found.
//!
//! The structures are the engine's own files, built here once more on loom's [`sync`]. So the engine knows no checker, neither by a
//! feature nor by a `cfg`.
#![cfg(test)]
// The engine's files have more than one model uses, and are public where the engine is.
#![allow(dead_code, unreachable_pub)]

mod base;
mod metrics;
mod socket;
mod sync;
mod wakes;

/// How often one of three threads may be stopped for another where it could go on. Most faults need one or two; without a bound the
/// orders of three threads take minutes.
const PREEMPTIONS_MAX: usize = 3;

/// Play every order of a model's steps. For two threads.
fn play(model: impl Fn() + Sync + Send + 'static) {
    loom::model::Builder::new().check(model);
}

/// Play the orders of a model's steps with [`PREEMPTIONS_MAX`]. For three threads, and for two with many steps.
fn play_bounded(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(PREEMPTIONS_MAX);
    builder.check(model);
}
