//! Results on their way from the thread that talks to the server to whoever polls for them.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use forebay_store::port::Ticket;

/// Results that `poll` has not returned yet, and who is to be woken by the next one.
#[derive(Debug)]
pub(crate) struct Answers<T>(Mutex<Waiting<T>>);

#[derive(Debug)]
struct Waiting<T> {
    done: VecDeque<(Ticket, T)>,
    waker: Option<Waker>,
}

impl<T> Default for Answers<T> {
    fn default() -> Self {
        Self(Mutex::new(Waiting { done: VecDeque::new(), waker: None }))
    }
}

impl<T> Answers<T> {
    /// Keep a result, and wake who waits for it.
    pub(crate) fn done(&self, ticket: Ticket, what: T) {
        let waker = {
            let mut waiting = self.lock();
            waiting.done.push_back((ticket, what));
            waiting.waker.take()
        };
        // Outside of the lock: who is woken may poll at once.
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Return the oldest result that was not returned before, or remember whom to wake.
    pub(crate) fn poll(&self, waker: &Waker) -> Option<(Ticket, T)> {
        let mut waiting = self.lock();
        let found = waiting.done.pop_front();
        if found.is_none() {
            waiting.waker = Some(waker.clone());
        }
        found
    }

    fn lock(&self) -> MutexGuard<'_, Waiting<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
