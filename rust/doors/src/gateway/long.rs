//! What takes long is worked out beside the thread of all requests: long templates, the bodies that models are held against, and the
//! models and templates of a deployment when they are read.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;

/// So much is worked out at once: the machine has other work.
const AT_ONCE: usize = 2;
/// So many requests wait for that before their integrations are asked.
const WAITING_MAX: usize = 64;
/// Why a request is turned away, for an operator.
pub(super) const BUSY: &str = "too many requests wait for long templates and models";

/// The places of what takes long.
pub(super) struct Long {
    at_once: Arc<Semaphore>,
    waiting: Semaphore,
}

/// A place. It is kept until the work has ended, also when the client leaves.
pub(super) struct Place {
    _permit: OwnedSemaphorePermit,
}

impl Default for Long {
    fn default() -> Self {
        Self { at_once: Arc::new(Semaphore::new(AT_ONCE)), waiting: Semaphore::new(WAITING_MAX) }
    }
}

impl Long {
    /// A place for a request that can be refused still; `None`: too many wait.
    pub(super) async fn place(&self) -> Option<Place> {
        let _waits = self.waiting.try_acquire().ok()?;
        self.place_in_any_case().await
    }

    /// A place for what is not refused any more: its function has run, or others need what it finds out.
    pub(super) async fn place_in_any_case(&self) -> Option<Place> {
        let permit = self.at_once.clone().acquire_owned().await.ok()?;
        Some(Place { _permit: permit })
    }
}

impl Place {
    /// Work something out; `None` where that has failed.
    pub(super) async fn run<T: Send + 'static>(self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let work = move || {
            let _place = self;
            work()
        };
        spawn_blocking(work).await.ok()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn so_much_is_worked_out_at_once_so_much_waits_and_the_rest_is_refused() {
        let long = Arc::new(Long::default());
        let held = [long.place().await.unwrap(), long.place().await.unwrap()];
        let wait = |long: Arc<Long>| tokio::spawn(async move { long.place().await.is_some() });
        let waiting: Vec<_> = (0..WAITING_MAX).map(|_| wait(long.clone())).collect();
        while long.waiting.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert!(long.place().await.is_none());
        let late = long.place_in_any_case();
        tokio::pin!(late);
        assert!(timeout(Duration::from_millis(1), &mut late).await.is_err(), "it waits, and is not refused");
        drop(held);
        for one in waiting {
            assert!(one.await.unwrap());
        }
        assert!(late.await.is_some());
    }

    #[tokio::test]
    async fn work_keeps_its_place_when_its_client_leaves() {
        let long = Arc::new(Long::default());
        let (go_on, goes_on) = mpsc::channel::<()>();
        let place = long.place().await.unwrap();
        let client = tokio::spawn(place.run(move || goes_on.recv().ok()));
        tokio::task::yield_now().await;
        client.abort();
        assert!(client.await.unwrap_err().is_cancelled());
        assert_eq!(long.at_once.available_permits(), AT_ONCE - 1);
        drop(go_on);
        let _whole = long.at_once.acquire_many(AT_ONCE as u32).await.unwrap();
    }
}
