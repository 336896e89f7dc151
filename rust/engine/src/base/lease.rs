//! Whether this process may run the store that it has opened.

use std::fmt;
use std::sync::Arc;

use forebay_core::cluster::on_machine;

use crate::base::time::machine_ms;

/// Asked before each hand-out. A store that nobody else can take has no lease, and may always be run.
#[derive(Clone, Default)]
pub struct Lease(Option<Arc<dyn Held>>);

/// What is known of the lease of a store that others may take. No call may wait.
pub trait Held: Send + Sync {
    /// Whether this process may run the store now.
    fn may_run(&self) -> bool;
    /// How many others could take it over.
    fn standbys(&self) -> usize;
    /// What time it is at the store, wall ms. Without it the machine's clock counts.
    fn wall_ms(&self) -> Option<u64> {
        None
    }
}

impl Lease {
    /// The lease of a store that others may take.
    pub fn new(held: impl Held + 'static) -> Self {
        Self(Some(Arc::new(held)))
    }

    pub(crate) fn may_run(&self) -> bool {
        self.0.as_ref().is_none_or(|held| held.may_run())
    }

    /// What time it is at the store, wall ms; `None`: what the machine's clock says.
    pub(crate) fn wall_ms(&self) -> Option<u64> {
        self.0.as_ref().and_then(|held| held.wall_ms())
    }

    /// A moment of the store as the machine's clock says it: for whoever looks at that clock.
    pub(crate) fn on_machine(&self, wall_ms: u64) -> u64 {
        self.wall_ms().map_or(wall_ms, |now_ms| on_machine(wall_ms, now_ms, machine_ms()))
    }

    /// How many others could take the store over; `None`: nobody can.
    pub(crate) fn standbys(&self) -> Option<usize> {
        self.0.as_ref().map(|held| held.standbys())
    }
}

/// A lease of which no more is known than whether this process may run the store.
impl<F: Fn() -> bool + Send + Sync> Held for F {
    fn may_run(&self) -> bool {
        self()
    }

    fn standbys(&self) -> usize {
        0
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if self.0.is_some() { "Lease" } else { "no lease" })
    }
}
