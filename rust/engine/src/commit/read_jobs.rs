//! What is asked of the reader: reading takes longer than the lock may be held, so it is handed out and comes back as a fact.

use crate::base::error::Waiter;
use std::any::Any;

use crate::base::ids::RoomId;
use crate::store::port::{Found, Read, StoreError};

/// One read after the other that the reader thread (or a manual turn) must make.
pub(crate) trait ReadJob: Any + Send {
    /// Who is brought what it has read.
    fn room(&self) -> RoomId;

    /// Answer this caller with what is read.
    fn answers(&mut self, _waiter: Waiter) {}

    /// What to read next; `None`: nothing more for now.
    fn next(&mut self) -> Option<Read>;

    /// Keep what that has found.
    fn found(&mut self, found: Result<Found, StoreError>);
}
