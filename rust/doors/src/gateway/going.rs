//! Requests that go on to their end, though their clients leave: their handlers run on, so their places stay taken, and they are counted
//! and logged as all others are.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::runtime::Handle;
use tokio::sync::RwLock;
use tokio::task_local;

task_local! {
    /// Set where a request goes on without its client.
    static LEFT: ();
}

/// Whether the client of the request that is under way has left.
pub(super) fn is_left() -> bool {
    LEFT.try_with(|()| ()).is_ok()
}

/// The requests that go on without their clients.
#[derive(Clone, Default)]
pub(super) struct Left(Arc<RwLock<()>>);

impl Left {
    /// Wait until all have ended.
    pub(super) async fn ended(&self) {
        let _nobody_reads = self.0.write().await;
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
            let place = Arc::clone(&self.left.0).try_read_owned();
            runtime.spawn(async move {
                LEFT.scope((), request).await;
                drop(place);
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;
    use tokio::task::yield_now;

    use super::*;

    #[tokio::test]
    async fn a_request_that_is_dropped_goes_on_and_knows_it() {
        let (left, (tell, told), (answer, answered)) = (Left::default(), oneshot::channel(), oneshot::channel());
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
        assert!(left.0.try_write().is_err(), "it is waited for");
        let _ = answer.send(());
        assert_eq!(told.await, Ok((false, true)));
        left.ended().await;
    }

    #[tokio::test]
    async fn one_that_has_ended_leaves_nothing() {
        let left = Left::default();
        assert_eq!(Going::begin(async { 7 }, &left).await, 7);
        let fails = Going::begin(async { panic!("a request that fails") }, &left);
        assert!(tokio::spawn(fails).await.is_err_and(|error| error.is_panic()));
        assert!(left.0.try_write().is_ok());
    }
}
