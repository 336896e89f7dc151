//! What is asked of the reader: reading takes longer than the lock may be held, so it is handed out and comes back as a fact.

use crate::base::error::Waiter;
use std::any::Any;

use crate::base::ids::RoomId;
use crate::store::port::Reader;

/// A read that the reader thread (or a manual turn) must make.
pub(crate) trait ReadJob: Any + Send {
    /// Who is brought what it has read.
    fn room(&self) -> RoomId;

    /// Answer this caller with what is read.
    fn answers(&mut self, _waiter: Waiter) {}

    /// Read, and keep what was read.
    fn run(&mut self, reader: &mut dyn Reader);
}
