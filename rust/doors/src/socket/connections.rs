//! How many clients are connected at once.

use std::sync::Arc;

use crate::base::sync::atomic::{AtomicUsize, Ordering};

/// The connections of one listener.
pub(super) struct Connections {
    open: Arc<AtomicUsize>,
    most: usize,
}

/// One of them. It is counted until this is dropped.
pub(super) struct Admitted(Arc<AtomicUsize>);

impl Connections {
    pub(super) fn at_most(most: usize) -> Self {
        Self { open: Arc::new(AtomicUsize::new(0)), most }
    }

    /// Count one more, unless there are as many as there may be.
    pub(super) fn admit(&self) -> Option<Admitted> {
        let one_more = |open| (open < self.most).then_some(open + 1);
        self.open.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more).ok()?;
        Some(Admitted(self.open.clone()))
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
