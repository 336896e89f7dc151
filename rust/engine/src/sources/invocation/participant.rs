//! What the runtime brings asynchronous invocations: their timers, permits, attempts, and the part of a commit that is theirs.

use crate::base::error::EngineError;
use crate::dispatch::attempt_journal::{InFlight, InFlightKind, JournalSlot};
use crate::dispatch::attempts::HandlerId;
use std::sync::Arc;

use forebay_core::concurrency::Lease;
use forebay_core::invocation::protocol::Key;

use crate::base::ids::RoomId;
use crate::base::timers::Timer;
use crate::commit::pending::Pending;
use crate::dispatch::attempts::{Attempt, Task, Token};
use crate::dispatch::job::{Handed, Job};
use crate::dispatch::participant::{Ended, Participant};
use crate::dispatch::waiters::SourceId;
use crate::observe::history::RequestEvent;
use crate::payload::event::{Event, Qualifier};
use crate::sources::invocation::{expiry, kept_results, serve};
use crate::sources::invocation::{slot_record, InvocationRoom};
use crate::store::port::{StoreError, Table, Write};

/// Whose timers, and whose attempts, these are.
pub(crate) const ROOM: RoomId = RoomId(4);
/// Which timers: when a function's events are due, when somebody has waited long enough for a result, when something kept goes.
pub(crate) const QUEUE_TIMER: u8 = 0;
pub(crate) const WAIT_TIMER: u8 = 1;
pub(crate) const EXPIRY_TIMER: u8 = 2;

/// An asynchronous event.
pub(crate) struct EventJob {
    pub(crate) queue: u64,
    pub(crate) key: Key,
    pub(crate) event: Event,
    pub(crate) interruptions: u32,
}

impl Job for EventJob {
    fn room(&self) -> RoomId {
        ROOM
    }

    fn source(&self) -> SourceId {
        self.queue
    }

    fn asked_with(&self) -> (Qualifier, Option<Arc<str>>) {
        (self.event.qualifier.clone(), self.event.trace.clone())
    }
}

impl Participant for InvocationRoom<'_> {
    fn restore(&mut self) -> Result<(), StoreError> {
        self.restore_events()
    }

    fn take_over(&mut self, record: &InFlight, slot: JournalSlot) -> Result<bool, StoreError> {
        if record.kind == InFlightKind::Event {
            self.suspect_event(record, slot)
        } else {
            Ok(false)
        }
    }

    fn start(&mut self) -> Result<(), EngineError> {
        Ok(self.start_events()?)
    }

    fn registered(&mut self, handler: HandlerId, _is_new: bool) -> Result<(), EngineError> {
        if self.dispatch.functions[handler].place.is_some() {
            self.bind_events_of(handler);
        }
        Ok(())
    }

    fn due(&mut self, timer: Timer) {
        let done = match timer.kind {
            WAIT_TIMER => kept_results::waits_due(self),
            EXPIRY_TIMER => expiry::expiry_due(self),
            _ => {
                serve::events_due(self, timer.id);
                Ok(())
            }
        };
        if let Err(error) = done {
            self.ctx.fail(error);
        }
    }

    fn sweep(&mut self) -> Result<(), EngineError> {
        Ok(expiry::expire(self)?)
    }

    fn sweep_finds_ms(&mut self) -> Result<Option<u64>, EngineError> {
        Ok(expiry::expiry_due_ms(self)?)
    }

    fn grant(&mut self, source: SourceId, permit: Lease) -> Option<Lease> {
        serve::start_event(self, source, permit)
    }

    fn hand_out(&mut self, token: Token) -> Option<Handed> {
        let now = self.ctx.now;
        let attempt = self.dispatch.attempts.get_mut(token)?;
        let EventJob { queue, key, event, interruptions } = attempt.job.get()?;
        let facts = (attempt.number, *interruptions, attempt.alone);
        self.dispatch.counted.push((token, slot_record(*queue, *key, facts)));
        let started = RequestEvent::Started { queue: *queue, attempt: attempt.number };
        self.ctx.observe.history.note(now.wall_ms, event.request, started);
        if let Some(events) = self.events.queues.get_mut(queue) {
            let age_ms = now.wall_ms.saturating_sub(event.life.born_ms());
            events.meters.age.record(age_ms as f64 / 1e3);
            if let Some(slot) = events.suspects.remove(key) {
                self.dispatch.journal.release(slot);
            }
        }
        Some(Handed { task: Task::Event(event.payload.clone()), reads: true, reports: false })
    }

    fn settled(&mut self, attempt: Attempt, ended: Ended) {
        if let Some(job) = attempt.job.into::<EventJob>() {
            serve::event_ended(self, job.queue, job.key, job.event, ended.status, ended.body);
        }
    }

    fn has_puts(&self) -> bool {
        !self.events.accepted.is_empty()
    }

    fn write(&mut self, pending: &mut Pending, writes: &mut Vec<Write>, puts: bool) {
        if puts {
            self.events.committing = std::mem::take(&mut self.events.accepted);
        }
        for accepted in &self.events.committing {
            let (key, value) = accepted.row();
            writes.push(Write::Add { table: Table::Event, key, value });
        }
        expiry::write_kept(self, pending, writes);
    }

    fn durable(&mut self) {
        let mut events = std::mem::take(&mut self.events.born);
        events.append(&mut self.events.committing);
        self.events_durable(events);
        if let Err(error) = kept_results::results_durable(self) {
            self.ctx.fail(error);
        }
    }

    fn refused(&mut self, _error: &StoreError) {
        let committing = std::mem::take(&mut self.events.committing);
        let refused = committing.into_iter().chain(std::mem::take(&mut self.events.accepted));
        refused.for_each(|one| self.events.forget_expected(&one));
        expiry::kept_refused(self);
    }

    fn failed(&mut self, error: &StoreError) {
        self.events.accepted.clear();
        kept_results::answer_open_results(self, &error.clone().into());
    }
}
