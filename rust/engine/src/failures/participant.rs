//! What the runtime brings failures: the timers of deliveries, attempts at them, and the part of a commit that is theirs.

use crate::base::error::Waiter;
use crate::dispatch::attempts::HandlerId;
use std::any::Any;
use std::sync::Arc;

use crate::base::error::EngineError;
use crate::base::ids::RoomId;
use crate::base::timers::Timer;
use crate::commit::pending::Pending;
use crate::commit::read_jobs::ReadJob;
use crate::dispatch::attempts::{Attempt, Task, Token};
use crate::dispatch::job::{Handed, Job};
use crate::dispatch::participant::{Ended, Participant};
use crate::dispatch::ready_list::Kind;
use crate::dispatch::waiters::SourceId;
use crate::failures::search::Search;
use crate::failures::setback::Setback;
use crate::failures::FailureRoom;
use crate::failures::{delivery, log};
use crate::payload::event::Qualifier;
use crate::payload::failure_key::FailureKey;
use crate::store::port::{Found, Read, StoreError, Write};

/// Whose timers, and whose attempts, these are.
pub(crate) const ROOM: RoomId = RoomId(3);

/// A failure record on its way to a destination.
pub(crate) struct Delivery {
    pub(crate) key: FailureKey,
    pub(crate) record: Arc<[u8]>,
    pub(crate) trace: Option<Arc<str>>,
}

impl Job for Delivery {
    fn room(&self) -> RoomId {
        ROOM
    }

    fn source(&self) -> SourceId {
        self.key.mapping
    }

    fn kind(&self) -> Kind {
        Kind::Delivery
    }

    fn asked_with(&self) -> (Qualifier, Option<Arc<str>>) {
        (None, self.trace.clone())
    }
}

impl ReadJob for Search {
    fn room(&self) -> RoomId {
        ROOM
    }

    fn answers(&mut self, waiter: Waiter) {
        self.waiter = Some(waiter);
    }

    fn next(&mut self) -> Option<Read> {
        self.next_read()
    }

    fn found(&mut self, found: Result<Found, StoreError>) {
        if let Err(error) = found.and_then(Found::rows).map(|rows| self.look_at(&rows)) {
            self.result = Err(error);
        }
    }
}

impl Participant for FailureRoom<'_> {
    fn start(&mut self) -> Result<(), EngineError> {
        // Failures that a process before this one wrote down and could not see confirmed.
        delivery::find_all_undelivered(self);
        Ok(())
    }

    fn registered(&mut self, handler: HandlerId, is_new: bool) -> Result<(), EngineError> {
        let is_destination = self.dispatch.functions[handler].place.is_none();
        if is_destination && is_new && self.ctx.started {
            delivery::find_all_undelivered(self);
        }
        Ok(())
    }

    fn sweep(&mut self) -> Result<(), EngineError> {
        log::sweep_failures(self);
        Ok(())
    }

    fn sweep_finds_ms(&mut self) -> Result<Option<u64>, EngineError> {
        Ok(log::failures_due_ms(self)?)
    }

    fn due(&mut self, timer: Timer) {
        delivery::deliveries_due(self, timer.id);
    }

    fn hand_out(&mut self, token: Token) -> Option<Handed> {
        let delivery = self.dispatch.attempts.get_mut(token)?.job.get::<Delivery>()?;
        Some(Handed { task: Task::Deliver(delivery.record.clone()), reads: true, reports: false })
    }

    fn settled(&mut self, attempt: Attempt, ended: Ended) {
        if let Some(&Delivery { key, .. }) = attempt.job.get() {
            delivery::delivery_ended(self, key, Setback::of(ended.status, ended.body));
        }
    }

    fn write(&mut self, _pending: &mut Pending, _writes: &mut Vec<Write>, _puts: bool) {
        self.failures.committing = std::mem::take(&mut self.failures.undelivered);
    }

    fn durable(&mut self) {
        let keys = std::mem::take(&mut self.failures.committing);
        delivery::deliver(self, keys);
    }

    fn refused(&mut self, _error: &StoreError) {
        let keys = std::mem::take(&mut self.failures.committing);
        self.failures.undelivered.extend(keys);
    }

    fn failed(&mut self, _error: &StoreError) {
        self.failures.undelivered.clear();
    }

    fn read_done(&mut self, job: Box<dyn Any>) {
        let Ok(search) = job.downcast::<Search>() else { return };
        match search.result {
            Ok(true) => self.failures.found.push(*search),
            Ok(false) => self.ctx.commit.reads.push_back(search),
            Err(error) => {
                if let Some(waiter) = search.waiter {
                    self.ctx.answer(waiter, Err(error.clone().into()));
                }
                self.ctx.fail(error);
            }
        }
    }

    fn read_abandoned(&mut self, job: Box<dyn Any>) {
        let waiter = job.downcast::<Search>().ok().and_then(|search| search.waiter);
        if let Some(waiter) = waiter {
            let text = "this process closed the store before it had looked through the failures";
            self.ctx.answer(waiter, Err(EngineError::Closed(text.into())));
        }
    }
}
