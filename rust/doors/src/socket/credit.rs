//! How much one client may have asked and not yet been answered. Beyond, nothing more is read from it until answers are with it.

use crate::base::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Most requests of one client that are not answered.
const REQUESTS_MAX: usize = 4_096;
/// Bytes of answers that wait for one client to read them, from which on nothing more is read from it.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// One client's.
pub(super) struct Credit {
    requests_max: usize,
    answer_bytes_max: usize,
    used: Mutex<Used>,
    changed: Condvar,
}

#[derive(Default)]
struct Used {
    requests: usize,
    answer_bytes: usize,
    /// Nobody is left who could give anything back.
    closed: bool,
}

impl Credit {
    pub(crate) fn new() -> Self {
        Self::bounded(REQUESTS_MAX, ANSWER_BYTES_MAX)
    }

    pub(super) fn bounded(requests_max: usize, answer_bytes_max: usize) -> Self {
        Self { requests_max, answer_bytes_max, used: Mutex::default(), changed: Condvar::new() }
    }

    /// Wait until one more request may be read; false when the connection has ended.
    pub(super) fn take(&self) -> bool {
        let mut used = self.lock();
        while !used.closed && (used.requests >= self.requests_max || used.answer_bytes >= self.answer_bytes_max) {
            used = self.changed.wait(used).unwrap_or_else(PoisonError::into_inner);
        }
        used.requests += 1;
        !used.closed
    }

    /// An answer of so many bytes waits to be written. To be said before whoever writes can see it.
    pub(super) fn answered(&self, bytes: usize) {
        self.lock().answer_bytes += bytes;
    }

    /// So many answers are with the client.
    pub(super) fn give_back(&self, answers: usize, bytes: usize) {
        let mut used = self.lock();
        used.requests -= answers;
        used.answer_bytes -= bytes;
        self.changed.notify_one();
    }

    /// The connection has ended.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Used> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
