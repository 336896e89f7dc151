//! A commit on its way: submitted, polled for, and submitted again where the store could not be reached, or has not said what became of it.

use std::task::Waker;
use std::time::Instant;

use crate::commit::pending::Commit;
use crate::store::port::{Done, Outcome, Store, StoreError, Ticket, Token, Unit};

/// How long a store that could not be reached is left alone.
const AGAIN_NS: u64 = 100_000_000;

/// A commit that is with the store, or is to be.
pub(crate) struct UnderWay {
    pub(crate) commit: Commit,
    token: Token,
    /// `None`: it is not with the store.
    ticket: Option<Ticket>,
    /// When it is to be submitted, mono ns; 0: at once.
    due_ns: u64,
    pub(crate) begun: Instant,
}

impl UnderWay {
    pub(crate) fn new(commit: Commit, token: Token) -> Self {
        Self { commit, token, ticket: None, due_ns: 0, begun: Instant::now() }
    }

    /// Whether there is something to do for it: it is to be submitted, or the store has something to tell.
    pub(crate) fn is_due(&self, now_ns: u64, woke: bool) -> bool {
        match self.ticket {
            None => self.due_ns <= now_ns,
            Some(_) => woke,
        }
    }

    /// When it is to be submitted again, mono ns.
    pub(crate) fn again_at(&self) -> Option<u64> {
        (self.ticket.is_none() && self.due_ns > 0).then_some(self.due_ns)
    }

    /// Submit it where it is not with the store, and ask how it has ended. The embedded store carries it out meanwhile.
    pub(crate) fn go_on(&mut self, store: &mut dyn Store, waker: &Waker) -> Option<Result<Outcome, StoreError>> {
        let ticket = *self.ticket.get_or_insert_with(|| store.submit(Unit::All, self.token, &self.commit.writes));
        while let Some((of, done)) = store.poll(waker) {
            match done {
                Done::Ended(outcome) if of == ticket => return Some(outcome),
                _ => {}
            }
        }
        None
    }

    /// The same again in a while: a store writes it once.
    pub(crate) fn again(&mut self, now_ns: u64) {
        (self.ticket, self.due_ns) = (None, now_ns + AGAIN_NS);
    }
}

#[cfg(test)]
mod tests;
