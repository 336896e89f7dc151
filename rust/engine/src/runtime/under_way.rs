//! A commit under way: submitted, polled for, and submitted again if the store could not be reached or did not say whether it wrote it.

use std::task::Waker;
use std::time::Instant;

use crate::commit::pending::Commit;
use crate::store::port::{Done, Outcome, Store, StoreError, Ticket, Token, Unit};

/// How long a store that could not be reached is left alone.
const AGAIN_NS: u64 = 100_000_000;

/// Why an engine, which has one unit, runs nothing more when a commit is fenced.
pub(crate) const TAKEN: &str = "another process has taken the store, and goes on with what is in it";

/// How a commit has ended, as far as the engine is concerned.
pub(crate) enum End {
    Durable {
        /// For the next commit.
        token: Token,
        /// Where each append begins.
        positions: Vec<u64>,
    },
    /// Nothing was written, and other writes may follow.
    Refused(StoreError),
    /// It is to be submitted again, as it is.
    Again(StoreError),
    /// Another process has taken the store. The error is for those who wait for the commit.
    Fenced(StoreError),
    /// The engine writes nothing more.
    Failed(StoreError),
}

/// A commit that is with the store or is to be submitted.
pub(crate) struct UnderWay {
    pub(crate) commit: Commit,
    token: Token,
    /// `None`: it is not with the store.
    ticket: Option<Ticket>,
    /// When it is to be submitted, mono ns; 0: at once.
    due_ns: u64,
    /// The store has answered `Unknown` to it before.
    is_doubtful: bool,
    pub(crate) begun: Instant,
}

impl UnderWay {
    pub(crate) fn new(commit: Commit, token: Token) -> Self {
        Self { commit, token, ticket: None, due_ns: 0, is_doubtful: false, begun: Instant::now() }
    }

    /// Whether it is to be submitted or the store has a result for it.
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
        self.commit.write_values();
        let ticket = *self.ticket.get_or_insert_with(|| store.submit(Unit::All, self.token, &self.commit.writes));
        while let Some((of, done)) = store.poll(waker) {
            match done {
                Done::Ended(outcome) if of == ticket => return Some(outcome),
                _ => {}
            }
        }
        None
    }

    /// What an outcome means for this commit, which is not with the store any more. Once it may have been written, no later outcome but
    /// `Committed` says whether it was.
    pub(crate) fn end(&mut self, outcome: Result<Outcome, StoreError>) -> End {
        self.ticket = None;
        match outcome {
            Ok(Outcome::Committed { token, positions }) => End::Durable { token, positions },
            Ok(Outcome::Busy(error)) => End::Refused(error),
            Ok(Outcome::Unavailable(error)) => End::Again(error),
            Ok(Outcome::Unknown(error)) => {
                self.is_doubtful = true;
                End::Again(error)
            }
            Ok(Outcome::Fenced) if self.is_doubtful => End::Fenced(StoreError::Unknown(TAKEN.into())),
            Ok(Outcome::Fenced) => End::Fenced(StoreError::Lost(TAKEN.into())),
            Err(error) => End::Failed(error),
        }
    }

    /// The error for those who wait for it when the engine stops before it has ended.
    pub(crate) fn given_up(&self, error: Option<StoreError>) -> StoreError {
        let is_known = self.ticket.is_none() && !self.is_doubtful;
        let waits = if is_known { "nothing was written" } else { "this process waited no longer for its answer" };
        let error = error.unwrap_or_else(|| StoreError::Unavailable(waits.into()));
        if is_known {
            error
        } else {
            StoreError::Unknown(error.to_string())
        }
    }

    /// Submit the same again in a while: the store writes it once.
    pub(crate) fn again(&mut self, now_ns: u64) {
        self.due_ns = now_ns + AGAIN_NS;
    }
}

#[cfg(test)]
mod tests;
