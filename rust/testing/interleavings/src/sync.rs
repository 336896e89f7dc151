//! The `sync` of the engine and of the metrics, made of loom.

pub(crate) use std::sync::PoisonError;

pub(crate) use loom::sync::{atomic, Condvar, Mutex, MutexGuard};
