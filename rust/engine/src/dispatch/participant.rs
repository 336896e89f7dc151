//! What the runtime brings a room that has work of its own: its timers, permits, attempts, and its part of each commit.

use crate::base::error::EngineError;
use crate::dispatch::attempt_journal::{InFlight, JournalSlot};
use crate::dispatch::attempts::HandlerId;
use std::any::Any;

use forebay_core::concurrency::Lease;

use crate::base::timers::Timer;
use crate::commit::pending::Pending;
use crate::dispatch::attempts::{Attempt, Token};
use crate::dispatch::job::Handed;
use crate::dispatch::waiters::SourceId;
use crate::store::port::{StoreError, Write};

/// How an attempt has ended.
pub(crate) struct Ended {
    /// As in [`crate::dispatch::attempts::Settled`]; 2 where it was past its deadline, whatever it said.
    pub(crate) status: u8,
    /// Response or error object, JSON; a delivery's error text.
    pub(crate) body: Option<Vec<u8>>,
    /// The response of one that was past its deadline, or given up, and came to its end.
    pub(crate) late: Option<Vec<u8>>,
    pub(crate) duration_ns: u64,
}

/// A room with work of its own. Its part of a commit stays with it until the commit has ended; one is under way at a time.
pub(crate) trait Participant {
    /// Read what the store holds of its own. Nothing runs yet.
    fn restore(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Take over what was in flight when the last process died, if it is its own.
    fn take_over(&mut self, _record: &InFlight, _slot: JournalSlot) -> Result<bool, StoreError> {
        Ok(false)
    }

    /// Go on from what was restored and taken over.
    fn resume(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    /// The app has started: begin.
    fn start(&mut self) -> Result<(), EngineError> {
        Ok(())
    }

    /// A function or a destination was registered; `is_new`: it was not known before.
    fn registered(&mut self, _handler: HandlerId, _is_new: bool) -> Result<(), EngineError> {
        Ok(())
    }

    /// Drop what is too old or too much.
    fn sweep(&mut self) -> Result<(), EngineError> {
        Ok(())
    }

    /// When `sweep` would find something if nothing happens before, wall ms; a time that has passed: the next sweep may. `None`: never.
    /// Whoever moves a manual clock goes over sweeps that find nothing.
    fn sweep_finds_ms(&mut self) -> Result<Option<u64>, EngineError> {
        Ok(None)
    }

    /// One of its timers rang.
    fn due(&mut self, timer: Timer);

    /// A source of its has a permit: begin work with it, or give it back.
    fn grant(&mut self, _source: SourceId, permit: Lease) -> Option<Lease> {
        Some(permit)
    }

    /// An attempt at a job of its is handed out now.
    fn hand_out(&mut self, token: Token) -> Option<Handed>;

    /// An attempt is past its deadline. It has failed, and may never end.
    fn overdue(&mut self, _token: Token) {}

    /// An attempt has ended.
    fn settled(&mut self, attempt: Attempt, ended: Ended);

    /// All attempts that ended together are settled.
    fn all_settled(&mut self) {}

    /// Whether something was accepted that a full disk refuses.
    fn has_puts(&self) -> bool {
        false
    }

    /// Whether there is progress that a full disk lets through.
    fn has_progress(&self) -> bool {
        false
    }

    /// Put what waits into a commit; what was accepted only with `puts`.
    fn write(&mut self, _pending: &mut Pending, _writes: &mut Vec<Write>, _puts: bool) {}

    /// What was written is durable.
    fn durable(&mut self) {}

    /// The disk is full, nothing was written: refuse what was only accepted, keep what was promised.
    fn refused(&mut self, _error: &StoreError) {}

    /// The store has failed: tell whoever waits.
    fn failed(&mut self, _error: &StoreError) {}

    /// The app has stopped before a read was made that it asked for.
    fn read_abandoned(&mut self, _job: Box<dyn Any>) {}

    /// A read that it asked for has been made.
    fn read_done(&mut self, _job: Box<dyn Any>) {}
}
