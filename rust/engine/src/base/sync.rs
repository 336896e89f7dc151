//! What structures that threads share are made of. `rust/testing/interleavings` builds the same files of this crate on a `sync` of its own,
//! which plays the orders of the threads' steps.

pub(crate) use std::sync::{atomic, Condvar, Mutex, MutexGuard, PoisonError};
