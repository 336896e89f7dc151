//! Whether this process may run the store that it has opened.

use std::fmt;
use std::sync::Arc;

/// Asked before each hand-out. A store that nobody else can take has no lease, and may always be run.
#[derive(Clone, Default)]
pub struct Lease(Option<Arc<dyn Fn() -> bool + Send + Sync>>);

impl Lease {
    /// A lease that `may_run` tells of; it must not wait.
    pub fn new(may_run: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(may_run)))
    }

    pub(crate) fn may_run(&self) -> bool {
        self.0.as_ref().is_none_or(|may_run| may_run())
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if self.0.is_some() { "Lease" } else { "no lease" })
    }
}
