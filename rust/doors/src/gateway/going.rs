//! Requests that go on to their end, though their clients leave: their handlers run on, so their places stay taken, and they are counted
//! and logged as all others are.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task_local;

/// Requests that go on without their clients: those that stay find places, though one client leaves as many requests as it can.
pub(super) const LEFT_MAX: usize = 1_024;

task_local! {
    /// Set where a request goes on without its client.
    static LEFT: ();
}

/// Whether the client of the request that is under way has left.
pub(super) fn is_left() -> bool {
    LEFT.try_with(|()| ()).is_ok()
}

/// The requests that go on without their clients.
#[derive(Clone)]
pub(super) struct Left(Arc<Leaving>);

struct Leaving {
    now: watch::Sender<usize>,
    dropped: AtomicU64,
    told: Box<dyn Fn(u64) + Send + Sync>,
}

/// The place of one of them.
struct Place(Left);

impl Left {
    /// `told` hears how many were dropped, for whom there was no place.
    pub(super) fn new(told: impl Fn(u64) + Send + Sync + 'static) -> Self {
        let (now, dropped) = (watch::Sender::new(0), AtomicU64::new(0));
        Self(Arc::new(Leaving { now, dropped, told: Box::new(told) }))
    }

    /// Wait until all have ended.
    pub(super) async fn ended(&self) {
        let mut now = self.0.now.subscribe();
        // It is told by this, which is still there.
        let _ = now.wait_for(|now| *now == 0).await;
    }

    /// A place; `None`: as many go on as may.
    fn place(&self) -> Option<Place> {
        let is_one_more = self.0.now.send_if_modified(|now| {
            let is_one_more = *now < LEFT_MAX;
            *now += usize::from(is_one_more);
            is_one_more
        });
        if !is_one_more {
            let dropped = self.0.dropped.fetch_add(1, Ordering::Relaxed) + 1;
            // A line for each would fill the log.
            if dropped.is_power_of_two() {
                (self.0.told)(dropped);
            }
        }
        is_one_more.then(|| Place(self.clone()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0 .0.now.send_modify(|now| *now -= 1);
    }
}

type Request<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A request under way. hyper drops it when its client leaves: what is left of it goes on as a task then. As long as the client stays,
/// it needs none.
pub(super) struct Going<T: Send + 'static> {
    request: Option<Request<T>>,
    left: Left,
}

impl<T: Send + 'static> Going<T> {
    pub(super) fn begin(request: impl Future<Output = T> + Send + 'static, left: &Left) -> Self {
        Self { request: Some(Box::pin(request)), left: left.clone() }
    }
}

impl<T: Send + 'static> Future for Going<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        // One that panics is not there any more when this is dropped.
        let Some(mut request) = self.request.take() else { return Poll::Pending };
        let polled = request.as_mut().poll(context);
        if polled.is_pending() {
            self.request = Some(request);
        }
        polled
    }
}

impl<T: Send + 'static> Drop for Going<T> {
    fn drop(&mut self) {
        // Without a runtime the process ends.
        if let (Some(request), Ok(runtime)) = (self.request.take(), Handle::try_current()) {
            if let Some(place) = self.left.place() {
                runtime.spawn(async move {
                    LEFT.scope((), request).await;
                    drop(place);
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::oneshot;
    use tokio::task::yield_now;
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn a_request_that_is_dropped_goes_on_and_knows_it() {
        let (left, (tell, told), (answer, answered)) = (Left::new(|_| ()), oneshot::channel(), oneshot::channel());
        let request = async move {
            let was_left = is_left();
            let _ = answered.await;
            let _ = tell.send((was_left, is_left()));
        };
        let mut going = Box::pin(Going::begin(request, &left));
        tokio::select! {
            biased;
            () = &mut going => panic!("nobody has answered"),
            () = yield_now() => {}
        }
        drop(going);
        yield_now().await;
        assert_eq!(*left.0.now.borrow(), 1, "it is waited for");
        let _ = answer.send(());
        assert_eq!(told.await, Ok((false, true)));
        left.ended().await;
    }

    #[tokio::test]
    async fn one_that_has_ended_leaves_nothing() {
        let left = Left::new(|_| ());
        assert_eq!(Going::begin(async { 7 }, &left).await, 7);
        let fails = Going::begin(async { panic!("a request that fails") }, &left);
        assert!(tokio::spawn(fails).await.is_err_and(|error| error.is_panic()));
        left.ended().await;
    }

    /// Each port waits for what was left. While one waited, a request that the client of another port left was waited for by nobody.
    #[tokio::test]
    async fn a_request_that_is_left_while_others_are_waited_for_is_waited_for_too() {
        let left = Left::new(|_| ());
        let first = left.place();
        let ended = left.ended();
        tokio::pin!(ended);
        assert!(timeout(Duration::from_millis(1), &mut ended).await.is_err());
        let second = left.place();
        assert!(second.is_some());
        drop(first);
        assert!(timeout(Duration::from_millis(1), &mut ended).await.is_err());
        drop(second);
        ended.await;
    }

    /// A client of HTTP/2 that resets its streams could have all places.
    #[tokio::test]
    async fn no_more_than_so_many_go_on_and_what_is_dropped_is_told() {
        let told = Arc::new(AtomicU64::new(0));
        let tells = told.clone();
        let left = Left::new(move |dropped| tells.store(dropped, Ordering::Relaxed));
        let mut places: Vec<_> = (0..LEFT_MAX).map(|_| left.place()).collect();
        assert!(places.iter().all(Option::is_some));
        assert!((0..5).all(|_| left.place().is_none()));
        assert_eq!(told.load(Ordering::Relaxed), 4, "a line for each power of two");
        places.pop();
        assert!(left.place().is_some());
    }
}
