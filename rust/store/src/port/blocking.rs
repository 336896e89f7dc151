//! Calls that wait for the store's result: for a start, a repair, a test.

use std::sync::Arc;
use std::task::{Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use crate::port::{Done, Outcome, Store, StoreError, Ticket, Token, Unit, Write};

/// Calls of a store that wait for their result. No other call may be under way.
pub trait BlockingStore: Store {
    /// Take a unit.
    fn take_now(&mut self, unit: Unit) -> Result<Token, StoreError> {
        let ticket = self.take(unit);
        match wait(|waker| self.poll(waker).filter(|(of, _)| *of == ticket)).1 {
            Done::Taken(token) => token,
            Done::Ended(_) => Err(another(ticket)),
        }
    }

    /// Carry out writes of a unit.
    fn submit_now(&mut self, unit: Unit, token: Token, writes: &[Write]) -> Result<Outcome, StoreError> {
        let ticket = self.submit(unit, token, writes);
        match wait(|waker| self.poll(waker).filter(|(of, _)| *of == ticket)).1 {
            Done::Ended(outcome) => outcome,
            Done::Taken(_) => Err(another(ticket)),
        }
    }

    /// Take everything and carry out these writes.
    fn commit(&mut self, writes: &[Write]) -> Result<(), StoreError> {
        let token = self.take_now(Unit::All)?;
        match self.submit_now(Unit::All, token, writes)? {
            Outcome::Committed { .. } => Ok(()),
            Outcome::Fenced => Err(StoreError::Refused("another process has just taken the store".into())),
            Outcome::Busy(error) | Outcome::Unknown(error) | Outcome::Unavailable(error) => Err(error),
        }
    }
}

impl<S: Store + ?Sized> BlockingStore for S {}

fn another(ticket: Ticket) -> StoreError {
    StoreError::Failed(format!("the store has answered another call than the one with ticket {ticket}"))
}

/// How often it is looked whether to go on waiting.
const LOOK: Duration = Duration::from_millis(20);

/// Call `poll` until it gives something; sleep between, until the waker is woken.
pub(super) fn wait<T>(mut poll: impl FnMut(&Waker) -> Option<T>) -> T {
    if let Some(found) = poll(Waker::noop()) {
        return found;
    }
    let waker = Waker::from(Arc::new(Sleeper(std::thread::current())));
    loop {
        if let Some(found) = poll(&waker) {
            return found;
        }
        std::thread::park();
    }
}

/// The same, until `goes_on` says no.
pub(super) fn wait_while<T>(mut poll: impl FnMut(&Waker) -> Option<T>, mut goes_on: impl FnMut() -> bool) -> Option<T> {
    if let Some(found) = poll(Waker::noop()) {
        return Some(found);
    }
    let waker = Waker::from(Arc::new(Sleeper(std::thread::current())));
    while goes_on() {
        if let Some(found) = poll(&waker) {
            return Some(found);
        }
        std::thread::park_timeout(LOOK);
    }
    None
}

struct Sleeper(Thread);

impl Wake for Sleeper {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
