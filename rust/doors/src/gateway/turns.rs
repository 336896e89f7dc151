//! The messages of one connection of a WebSocket API that are handled one after the other.

use std::future::Future;
use std::sync::atomic::Ordering;
use std::sync::Arc;

use tokio::sync::{watch, OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, JoinHandle};

use crate::gateway::websocket::Session;

/// KiB of the messages of one connection that wait for their turn: while as much waits, no further one is read.
const WAITING_KIB_MAX: usize = 128;
/// Why a message is not handled any more.
const STOPS: &str = "the app stops";
const TOO_MANY_LEFT: &str = "its client has left, and so many others whose messages wait for their turn";

/// A message that was read, with its place among those of its connection.
pub(super) struct Said {
    /// Its text, with its room among all bodies; `None`: there was none.
    pub(super) text: Option<(String, OwnedSemaphorePermit)>,
    /// Its room among all that wait for their turn, if it waits.
    pub(super) waits: Option<OwnedSemaphorePermit>,
    pub(super) _place: OwnedSemaphorePermit,
}

/// The messages of a connection that are handled one after the other.
pub(super) struct Turns {
    pub(super) last: Option<JoinHandle<()>>,
    /// Of all that wait for their turn, in KiB.
    pub(super) waiting: Arc<Semaphore>,
}

impl Default for Turns {
    fn default() -> Self {
        Self { last: None, waiting: Arc::new(Semaphore::new(WAITING_KIB_MAX)) }
    }
}

impl Turns {
    /// Have a message handled behind those before it. One that has not begun when the gateway closes is turned away.
    pub(super) fn next(&mut self, session: Arc<Session>, mut said: Said, closing: watch::Receiver<bool>) {
        let kib = said.text.as_ref().map_or(0, |(text, _)| text.len().div_ceil(1_024));
        // The last one that is read may have more than there is left.
        let held = kib.clamp(1, self.waiting.available_permits().max(1)) as u32;
        let waits = self.waiting.clone().try_acquire_many_owned(held);
        let before = self.last.take();
        self.last = Some(tokio::spawn(Box::pin(async move {
            over(before).await;
            drop((waits, said.waits.take()));
            let is_given_up = session.is_given_up.load(Ordering::Relaxed);
            let over = closing.borrow().then_some(STOPS).or(is_given_up.then_some(TOO_MANY_LEFT));
            session.handle(said, over).await;
        })));
    }

    /// Wait until all have been handled.
    pub(super) async fn over(&mut self) {
        over(self.last.as_mut()).await;
        self.last = None;
    }
}

async fn over(message: Option<impl Future<Output = Result<(), JoinError>>>) {
    if let Some(message) = message {
        // A panic has been reported on standard error; the next one has its turn.
        let _ = message.await;
    }
}
