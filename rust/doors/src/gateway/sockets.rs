//! The places of the connections of WebSocket APIs, and the word to all of them that the gateway closes.

use std::sync::Arc;

use tokio::sync::{watch, OwnedSemaphorePermit, Semaphore};

use crate::gateway::body::room_for;

/// Connections of WebSocket APIs at once.
const SOCKETS_MAX: usize = 10_000;
/// Clients that have left and whose messages still wait for their turn. Those of further ones are handled no more.
const LEFT_MAX: usize = 1_024;
/// KiB of the messages of all connections that wait for their turn: a part of what all bodies may take.
const WAITING_KIB_MAX: usize = 16 * 1_024;

/// The places.
#[derive(Debug)]
pub(super) struct Sockets {
    places: Arc<Semaphore>,
    left: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    closing: watch::Receiver<bool>,
}

/// A place; it is free again when this is dropped.
pub(super) struct Place {
    permit: OwnedSemaphorePermit,
    closing: watch::Receiver<bool>,
}

impl Sockets {
    pub(super) fn new(closing: watch::Receiver<bool>) -> Self {
        let semaphore = |places| Arc::new(Semaphore::new(places));
        let (places, left, waiting) = (semaphore(SOCKETS_MAX), semaphore(LEFT_MAX), semaphore(WAITING_KIB_MAX));
        Self { places, left, waiting, closing }
    }

    /// A place, unless all are taken or the gateway closes.
    pub(super) fn admit(&self) -> Option<Place> {
        let is_closing = *self.closing.borrow();
        let permit = self.places.clone().try_acquire_owned().ok().filter(|_| !is_closing)?;
        Some(Place { permit, closing: self.closing.clone() })
    }

    /// Give back the place of a connection whose client has left: what waits for its turn has another one. False: so many have left that
    /// there is none.
    pub(super) fn leave(&self, place: &mut Place) -> bool {
        match self.left.clone().try_acquire_owned() {
            Ok(permit) => {
                place.permit = permit;
                true
            }
            Err(_) => false,
        }
    }

    /// The room of a message that waits for its turn; `None`: those of all connections take what they may.
    pub(super) fn room_to_wait(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        room_for(bytes, &self.waiting)
    }

    /// Wait until no place is taken.
    pub(super) async fn ended(&self) {
        let _every_place = self.places.acquire_many(SOCKETS_MAX as u32).await;
        let _every_other = self.left.acquire_many(LEFT_MAX as u32).await;
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

#[cfg(test)]
mod tests {
    use super::*;

    /// 10,000 connections that had left kept every client out until their messages had had their turn.
    #[tokio::test]
    async fn who_has_left_keeps_no_place_of_those_who_come() {
        let (_closing, called) = watch::channel(false);
        let sockets = Sockets::new(called);
        let mut places: Vec<Place> = std::iter::from_fn(|| sockets.admit()).collect();
        assert_eq!(places.len(), SOCKETS_MAX);
        let left = places.iter_mut().map(|place| sockets.leave(place)).filter(|has_left| *has_left).count();
        assert_eq!(left, LEFT_MAX, "what waits has a bound");
        let more: Vec<Place> = std::iter::from_fn(|| sockets.admit()).collect();
        assert_eq!(more.len(), LEFT_MAX);
        drop((places, more));
        sockets.ended().await;
    }

    #[test]
    fn messages_of_all_connections_that_wait_have_a_room_of_their_own() {
        let (_closing, called) = watch::channel(false);
        let sockets = Sockets::new(called);
        let rooms: Vec<_> = std::iter::from_fn(|| sockets.room_to_wait(128 * 1_024)).collect();
        assert_eq!(rooms.len(), 128);
        assert!(sockets.room_to_wait(1).is_none());
    }
}
