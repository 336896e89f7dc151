//! What structures that threads share are made of. `rust/testing/interleavings` builds files of this crate and of `forebay-doors` on a `sync` of its own,
//! which plays the orders of the threads' steps.

pub use std::sync::{atomic, Condvar, Mutex, MutexGuard, PoisonError};
