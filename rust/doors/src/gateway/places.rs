//! The places of what is under way in all APIs.

use tokio::sync::{Semaphore, SemaphorePermit};

/// Requests, messages and handshakes at once.
const REQUESTS_MAX: usize = 4_096;
/// Ends of `WebSocket` connections that are told at once; the others wait.
const ENDS_MAX: usize = 1_024;

/// The places. Ends have their own: a semaphore is fair, so what waits for one takes each that is free, and nothing else gets any.
pub(super) struct Places {
    requests: Semaphore,
    ends: Semaphore,
}

impl Default for Places {
    fn default() -> Self {
        Self { requests: Semaphore::new(REQUESTS_MAX), ends: Semaphore::new(ENDS_MAX) }
    }
}

impl Places {
    /// A place for a request; `None`: all are taken.
    pub(super) fn request(&self) -> Option<SemaphorePermit<'_>> {
        self.requests.try_acquire().ok()
    }

    /// A place for the end of a WebSocket. Nobody could be told that there is none, so it waits for one.
    pub(super) async fn end(&self) -> Option<SemaphorePermit<'_>> {
        self.ends.acquire().await.ok()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    /// Ends waited for places of requests: when a proxy took thousands of connections with it, all APIs answered 503 until the last end was told.
    #[tokio::test]
    async fn ends_that_wait_take_no_place_of_requests() {
        let places = Places::default();
        let mut ends = Vec::new();
        while let Ok(end) = timeout(Duration::from_millis(50), places.end()).await {
            ends.push(end);
        }
        assert_eq!(ends.len(), ENDS_MAX);
        let waits = places.end();
        tokio::pin!(waits);
        assert!(timeout(Duration::from_millis(1), &mut waits).await.is_err());
        let requests: Vec<_> = std::iter::from_fn(|| places.request()).collect();
        assert_eq!(requests.len(), REQUESTS_MAX);
        ends.pop();
        assert!(waits.await.is_some(), "it needs none of those of requests");
    }
}
