//! What takes long is worked out beside a door's one thread for all connections.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{spawn_blocking, JoinError};

/// So much is worked out at once: the machine has other work.
const AT_ONCE: usize = 2;

/// The places of what takes aside.
pub(crate) struct Aside {
    pub(crate) at_once: Arc<Semaphore>,
    waiting: Semaphore,
}

/// A place. It is kept until the work has ended, also when the client leaves.
pub(crate) struct Place {
    _permit: OwnedSemaphorePermit,
}

impl Aside {
    /// Places for which so many wait. Each of these keeps its input.
    pub(crate) fn new(waiting_max: usize) -> Self {
        Self { at_once: Arc::new(Semaphore::new(AT_ONCE)), waiting: Semaphore::new(waiting_max) }
    }

    /// A place for a request that can be refused still; `None`: too many wait.
    pub(crate) async fn place(&self) -> Option<Place> {
        let _waits = self.waiting.try_acquire().ok()?;
        self.place_in_any_case().await
    }

    /// A place for what is not refused any more: its function has run, or others need what it finds out.
    pub(crate) async fn place_in_any_case(&self) -> Option<Place> {
        let permit = self.at_once.clone().acquire_owned().await.ok()?;
        Some(Place { _permit: permit })
    }
}

impl Place {
    /// Work something out.
    pub(crate) async fn run<T: Send + 'static>(
        self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, JoinError> {
        let work = move || {
            let _place = self;
            work()
        };
        spawn_blocking(work).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    const WAITING_MAX: usize = 64;

    #[tokio::test]
    async fn so_much_is_worked_out_at_once_so_much_waits_and_the_rest_is_refused() {
        let aside = Arc::new(Aside::new(WAITING_MAX));
        let held = [aside.place().await.unwrap(), aside.place().await.unwrap()];
        let wait = |aside: Arc<Aside>| tokio::spawn(async move { aside.place().await.is_some() });
        let waiting: Vec<_> = (0..WAITING_MAX).map(|_| wait(aside.clone())).collect();
        while aside.waiting.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert!(aside.place().await.is_none());
        let late = aside.place_in_any_case();
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
        let aside = Arc::new(Aside::new(WAITING_MAX));
        let (go_on, goes_on) = mpsc::channel::<()>();
        let place = aside.place().await.unwrap();
        let client = tokio::spawn(place.run(move || goes_on.recv().ok()));
        tokio::task::yield_now().await;
        client.abort();
        assert!(client.await.unwrap_err().is_cancelled());
        assert_eq!(aside.at_once.available_permits(), AT_ONCE - 1);
        drop(go_on);
        let _whole = aside.at_once.acquire_many(AT_ONCE as u32).await.unwrap();
    }
}
