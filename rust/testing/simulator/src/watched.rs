//! A store that tells the ledger of every commit that went through.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use forebay_engine::store::fault::FaultStore;
use forebay_engine::store::port::{Reader, Store, StoreError, Table, Write};

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
}

impl Store for Watched {
    fn commit(&mut self, writes: &[Write]) -> Result<(), StoreError> {
        if !self.drops_failures {
            let outcome = self.store.commit(writes);
            match &outcome {
                Ok(()) => open(&self.ledger).committed(writes),
                Err(error) => open(&self.ledger).refused(error),
            }
            return outcome;
        }
        let is_failure = |write: &&Write| matches!(write, Write::Set { table: Table::Failure, .. });
        let kept: Vec<Write> = writes.iter().filter(|write| !is_failure(write)).cloned().collect();
        self.store.commit(&kept)?;
        open(&self.ledger).committed(&kept);
        Ok(())
    }

    fn reader(&self) -> Result<Box<dyn Reader>, StoreError> {
        self.store.reader()
    }

    fn give_back(&mut self) -> Result<bool, StoreError> {
        self.store.give_back()
    }
}
