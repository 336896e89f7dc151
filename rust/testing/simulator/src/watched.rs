//! A store that tells the ledger of every commit that went through.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use forebay_engine::store::fault::FaultStore;
use forebay_engine::store::port::{Done, Outcome, Reader, Store, StoreError, Table, Ticket, Token, Unit, Write};

use crate::ledger::Ledger;

/// The ledger, shared by all witnesses.
pub type Shared = Arc<Mutex<Ledger>>;

/// Lock the ledger.
pub fn open(ledger: &Shared) -> MutexGuard<'_, Ledger> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A store under observation.
pub struct Watched {
    /// The store itself.
    pub store: FaultStore,
    /// Who is told.
    pub ledger: Shared,
    /// For the tests of the checkers: keep no failure record.
    pub drops_failures: bool,
    /// What the commit under way writes.
    pub writes: Vec<Write>,
}

impl Store for Watched {
    fn take(&mut self, unit: Unit) -> Ticket {
        self.store.take(unit)
    }

    fn submit(&mut self, unit: Unit, token: Token, writes: &[Write]) -> Ticket {
        let is_failure = |write: &&Write| matches!(write, Write::Set { table: Table::Failure, .. });
        let is_kept = |write: &&Write| !(self.drops_failures && is_failure(write));
        self.writes = writes.iter().filter(is_kept).cloned().collect();
        self.store.submit(unit, token, &self.writes)
    }

    fn poll(&mut self, waker: &Waker) -> Option<(Ticket, Done)> {
        let told = self.store.poll(waker);
        if let Some((_, Done::Ended(outcome))) = &told {
            match outcome {
                Ok(Outcome::Committed { .. }) => open(&self.ledger).committed(&self.writes),
                Ok(Outcome::Busy(error)) | Err(error) => open(&self.ledger).refused(error),
                Ok(Outcome::Fenced | Outcome::Unknown(_) | Outcome::Unavailable(_)) => {}
            }
        }
        told
    }

    fn reader(&self) -> Result<Box<dyn Reader>, StoreError> {
        self.store.reader()
    }

    fn give_back(&mut self) -> Result<bool, StoreError> {
        self.store.give_back()
    }
}
