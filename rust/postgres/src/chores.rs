//! What the thread of a store does between its calls.

use std::time::Duration;

use tokio::time::Instant;

use crate::writer::Writer;

/// How long commits have the connection for themselves between two slices of what is removed, at the least.
const PAUSE: Duration = Duration::from_millis(20);

/// When what is left of logs that were forgotten is removed.
pub(crate) struct Chores {
    sweeps_at: Instant,
}

impl Default for Chores {
    fn default() -> Self {
        Self { sweeps_at: Instant::now() }
    }
}

impl Chores {
    /// When there is something to do, if anything is left.
    pub(crate) fn due(&self) -> Instant {
        self.sweeps_at
    }

    pub(crate) async fn work(&mut self, writer: &mut Writer) {
        let now = Instant::now();
        writer.sweep().await;
        // Commits have at least as much time as this takes.
        self.sweeps_at = Instant::now() + now.elapsed().max(PAUSE);
    }
}
