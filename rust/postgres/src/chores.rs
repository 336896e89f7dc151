//! What the thread of a store does between its calls while this process owns the store.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::writer::Writer;

/// How long commits have the connection for themselves between two slices of what is removed, at the least.
const PAUSE: Duration = Duration::from_millis(20);
/// The same, where the last slice was all that there was: most trims leave nothing, and a queue trims in nearly every commit.
const REST: Duration = Duration::from_secs(1);
/// An opening has other questions.
const LOOKS_AFTER: Duration = Duration::from_secs(5);
/// How often the server is asked whether something there makes commits slower, and how often the operator is told.
const LOOKS_EVERY: Duration = Duration::from_secs(60);
const TELLS_EVERY: Duration = Duration::from_secs(3_600);

/// When what is to be done.
pub(crate) struct Chores {
    sweeps_at: Instant,
    looks_at: Instant,
    tells_at: Instant,
    /// What the operator is to be told next.
    notice: Arc<Mutex<Option<String>>>,
}

impl Chores {
    pub(crate) fn new(notice: Arc<Mutex<Option<String>>>) -> Self {
        let now = Instant::now();
        Self { sweeps_at: now, looks_at: now + LOOKS_AFTER, tells_at: now, notice }
    }

    /// When there is something to do.
    pub(crate) fn due(&self, writer: &Writer) -> Instant {
        if writer.has_left {
            self.sweeps_at.min(self.looks_at)
        } else {
            self.looks_at
        }
    }

    pub(crate) async fn work(&mut self, writer: &mut Writer) {
        let now = Instant::now();
        if writer.has_left && now >= self.sweeps_at {
            writer.sweep().await;
            // Commits have at least as much time as this takes.
            self.sweeps_at = Instant::now() + now.elapsed().max(if writer.has_left { PAUSE } else { REST });
        }
        if now >= self.looks_at {
            self.looks_at = now + LOOKS_EVERY;
            if let Some(held) = writer.held().await.filter(|_| now >= self.tells_at) {
                self.tells_at = now + TELLS_EVERY;
                *self.notice.lock().unwrap_or_else(PoisonError::into_inner) = Some(held.to_string());
            }
        }
    }
}
