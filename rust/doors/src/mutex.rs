//! One way to take a mutex.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Take it, even from a thread that panicked: what the doors keep behind a mutex is put there whole.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
