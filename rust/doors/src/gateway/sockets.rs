//! The places of the connections of WebSocket APIs, and the word to all of them that the gateway closes.

use std::sync::Arc;

use tokio::sync::{watch, OwnedSemaphorePermit, Semaphore};

/// Connections of WebSocket APIs at once.
const SOCKETS_MAX: usize = 10_000;

/// The places.
#[derive(Debug)]
pub(super) struct Sockets {
    places: Arc<Semaphore>,
    closing: watch::Receiver<bool>,
}

/// A place; it is free again when this is dropped.
pub(super) struct Place {
    _permit: OwnedSemaphorePermit,
    closing: watch::Receiver<bool>,
}

impl Sockets {
    pub(super) fn new(closing: watch::Receiver<bool>) -> Self {
        Self { places: Arc::new(Semaphore::new(SOCKETS_MAX)), closing }
    }

    /// A place, unless all are taken or the gateway closes.
    pub(super) fn admit(&self) -> Option<Place> {
        let is_closing = *self.closing.borrow();
        let permit = self.places.clone().try_acquire_owned().ok().filter(|_| !is_closing)?;
        Some(Place { _permit: permit, closing: self.closing.clone() })
    }

    /// Wait until no place is taken.
    pub(super) async fn ended(&self) {
        let _every_place = self.places.acquire_many(SOCKETS_MAX as u32).await;
    }
}

impl Place {
    /// Where it is said that the gateway closes.
    pub(super) fn word(&self) -> watch::Receiver<bool> {
        self.closing.clone()
    }

    /// Wait until the gateway closes.
    pub(super) async fn called(&mut self) {
        // Whoever could say so is gone: that says it, too.
        let _ = self.closing.wait_for(|is_closing| *is_closing).await;
    }
}
