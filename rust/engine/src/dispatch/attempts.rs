//! Attempts: work handed to Python, its deadline, and what became of it.

use std::sync::Arc;

use forebay_core::concurrency::Lease;
use forebay_core::invocation::protocol::Key;
use forebay_core::stream::protocol::{BatchId, Window};

use crate::base::error::{EngineError, Waiter};
use crate::base::timers::Timer;
use crate::dispatch::attempt_journal::{InFlight, InFlightKind, JournalError, JournalSlot};
use crate::dispatch::ready_list::Kind;
use crate::dispatch::versions::Qualifier;
use crate::failures::log::FailureKey;
use crate::observe::history::RequestEvent;
use crate::payload::messages::Messages;
use crate::payload::records::Records;
use crate::runtime::rooms::State;
use crate::sources::invocation::row::Event;
use crate::sources::queue::QueueJob;
use crate::sources::stream::poller::{Poller, PollerId};
use crate::store::port::StoreError;

/// Names an attempt in flight. Never reused while an engine lives.
pub type Token = u64;

/// Index of a registered function or destination.
pub type HandlerId = usize;

/// What an attempt is about.
pub(crate) enum Job {
    /// A batch of a stream.
    Batch { poller: PollerId, batch: BatchId, records: Records, lane: u8, window: Option<Window>, interruptions: u32 },
    /// Messages of a queue.
    Messages(QueueJob),
    /// Records that had been given up, run again by an operator's wish.
    Redrive { key: FailureKey, records: Records },
    /// A synchronous invocation.
    Invoke { payload: Arc<[u8]>, qualifier: Qualifier, trace: Option<Arc<str>>, waiter: Option<Waiter> },
    /// An asynchronous event.
    Event { queue: u64, key: Key, event: Event, interruptions: u32 },
    /// A failure record on its way to a destination.
    Delivery { key: FailureKey, record: Arc<[u8]>, trace: Option<Arc<str>> },
}

impl Job {
    /// The version or alias, and the trace context, that it was asked for with; a batch has its own.
    fn asked_with(&self) -> (Qualifier, Option<Arc<str>>) {
        match self {
            Self::Invoke { qualifier, trace, .. } => (qualifier.clone(), trace.clone()),
            Self::Event { event, .. } => (event.qualifier.clone(), event.trace.clone()),
            Self::Delivery { trace, .. } => (None, trace.clone()),
            Self::Batch { .. } | Self::Messages(_) | Self::Redrive { .. } => (None, None),
        }
    }

    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Delivery { .. } => Kind::Delivery,
            Self::Invoke { .. } => Kind::Invoke,
            Self::Batch { .. } | Self::Messages(_) | Self::Redrive { .. } | Self::Event { .. } => Kind::Work,
        }
    }
}

/// One try at one piece of work.
pub(crate) struct Attempt {
    pub(crate) slot: HandlerId,
    pub(crate) job: Job,
    pub(crate) number: u32,
    pub(crate) request: u128,
    pub(crate) deadline_ns: u64,
    pub(crate) timed_out: bool,
    /// Where it is counted on file.
    pub(crate) file_slots: Vec<JournalSlot>,
    pub(crate) alone: bool,
    /// Its place, once it has one.
    pub(crate) lease: Option<Lease>,
}

impl Attempt {
    pub(crate) fn new(slot: HandlerId, job: Job, number: u32) -> Self {
        Self {
            slot,
            job,
            number,
            request: 0,
            deadline_ns: 0,
            timed_out: false,
            file_slots: Vec::new(),
            alone: false,
            lease: None,
        }
    }

    /// Whether it was handed out.
    pub(crate) fn is_out(&self) -> bool {
        self.deadline_ns > 0
    }

    /// Whoever waits for its answer and has not had one.
    fn take_waiter(&mut self) -> Option<Waiter> {
        match &mut self.job {
            Job::Invoke { waiter, .. } => waiter.take(),
            _ => None,
        }
    }
}

/// What Python is handed: see `_core.pyi`.
#[derive(Clone, Debug)]
pub struct Work {
    /// Names the attempt when it is settled.
    pub token: Token,
    /// The function, or the destination of a delivery.
    pub slot: HandlerId,
    /// Request id, shown as a UUID.
    pub request: u128,
    /// When the attempt must have ended, wall ms.
    pub deadline_ms: u64,
    /// The version or alias that was asked for.
    pub qualifier: Option<Arc<str>>,
    /// The trace context of what is no batch: see [`Work::traces`].
    pub trace: Option<Arc<str>>,
    /// What to do.
    pub task: Task,
}

/// The kinds of work.
#[derive(Clone, Debug)]
pub enum Task {
    /// Run the function on a JSON payload.
    Invoke(Arc<[u8]>),
    /// Run the function on a batch.
    Batch {
        /// The records.
        records: Records,
        /// The window, if the mapping tumbles.
        window: Option<Window>,
        /// The handler wants Lambda's event dict rather than the records.
        as_event: bool,
    },
    /// Run the function on messages of a queue.
    Messages {
        /// The messages.
        messages: Messages,
        /// The handler wants Lambda's event dict rather than the messages.
        as_event: bool,
    },
    /// Stop an attempt that is past its deadline.
    Cancel,
    /// Hand a failure record (JSON) to a destination.
    Deliver(Arc<[u8]>),
    /// Run the function on an asynchronous event, JSON.
    Event(Arc<[u8]>),
}

/// How Python says an attempt ended: see `_core.pyi`.
#[derive(Clone, Debug)]
pub struct Settled {
    /// The attempt.
    pub token: Token,
    /// 0 returned, 1 raised, 2 stopped after its deadline, 3 never reached the function, 4 interrupted.
    pub status: u8,
    /// Response or error object, JSON; a delivery's error text.
    pub body: Option<Vec<u8>>,
    /// How long the handler ran.
    pub duration_ns: u64,
}

/// Attempts by token: a slab whose tokens carry a generation, so that an old token never names a new attempt.
#[derive(Default)]
pub(crate) struct Attempts {
    entries: Vec<(u32, Option<Attempt>)>,
    free: Vec<u32>,
}

impl Attempts {
    pub(crate) fn insert(&mut self, attempt: Attempt) -> Token {
        let index = self.free.pop().unwrap_or_else(|| {
            self.entries.push((0, None));
            self.entries.len() as u32 - 1
        });
        let entry = &mut self.entries[index as usize];
        entry.1 = Some(attempt);
        u64::from(entry.0) << 32 | u64::from(index)
    }

    fn iter_mut(&mut self) -> impl Iterator<Item = &mut Attempt> {
        self.entries.iter_mut().filter_map(|(_, attempt)| attempt.as_mut())
    }

    pub(crate) fn get_mut(&mut self, token: Token) -> Option<&mut Attempt> {
        let entry = self.entries.get_mut(token as u32 as usize)?;
        if entry.0 == (token >> 32) as u32 {
            entry.1.as_mut()
        } else {
            None
        }
    }

    pub(crate) fn remove(&mut self, token: Token) -> Option<Attempt> {
        let index = token as u32;
        let entry = self.entries.get_mut(index as usize)?;
        if entry.0 != (token >> 32) as u32 {
            return None;
        }
        let attempt = entry.1.take()?;
        entry.0 = entry.0.wrapping_add(1);
        self.free.push(index);
        Some(attempt)
    }
}

impl State {
    /// Batches of a poller that are out of its machine and not yet handed out.
    pub(crate) fn ready_of(&mut self, poller: PollerId) -> Vec<(Token, BatchId)> {
        let tokens = self.untaken();
        let batch_of = |token: Token| match self.attempts.get_mut(token)?.job {
            Job::Batch { poller: owner, batch, .. } if owner == poller => Some((token, batch)),
            _ => None,
        };
        tokens.into_iter().filter_map(batch_of).collect()
    }

    /// Tell every caller who still waits for a function that the app has stopped.
    pub(crate) fn answer_open_invokes(&mut self) {
        let waiters: Vec<Waiter> = self.attempts.iter_mut().filter_map(Attempt::take_waiter).collect();
        for waiter in waiters {
            let text = "the app stopped before the function had ended";
            self.answer(waiter, Err(EngineError::OwnerLost(text.into())));
        }
    }

    /// Forget everything of a mapping that was not handed out.
    pub(crate) fn withdraw_mapping(&mut self, id: u64) {
        for token in self.untaken() {
            let owner = self.attempts.get_mut(token).and_then(|attempt| match &attempt.job {
                Job::Batch { records, .. } => Some(records.source.mapping),
                Job::Redrive { key, .. } | Job::Delivery { key, .. } => Some(key.mapping),
                Job::Invoke { .. } | Job::Event { .. } | Job::Messages(_) => None,
            });
            if owner == Some(id) {
                self.withdraw(token);
            }
        }
    }

    /// Put an attempt where it waits for its place; one that has its place, or needs none, where the next exchange finds it.
    pub(crate) fn ready(&mut self, mut attempt: Attempt, alone: bool) -> Token {
        attempt.alone = alone;
        if attempt.request == 0 {
            attempt.request = self.rng.uuid();
        }
        let (kind, lease) = (attempt.job.kind(), attempt.lease);
        let token = self.attempts.insert(attempt);
        match lease {
            Some(lease) => self.seat(token, lease),
            None if kind == Kind::Delivery => {
                self.ready_list.deliveries.push_back(token);
                self.ring = true;
            }
            None if alone => self.ready_list.alone.push_back(token),
            None => self.queue_attempt(token),
        }
        token
    }

    /// Hand out at most `most` pieces of work. Attempts are counted on disk before this returns.
    pub(crate) fn take(&mut self, most: usize, works: &mut Vec<Work>) {
        while works.len() < most {
            let Some(token) = self.ready_list.cancels.pop_front() else { break };
            if let Some(attempt) = self.attempts.get_mut(token) {
                let slot = attempt.slot;
                let request = attempt.request;
                let task = Task::Cancel;
                works.push(Work { token, slot, request, deadline_ms: 0, qualifier: None, trace: None, task });
            }
        }
        self.give_permits();
        while works.len() < most {
            let Some(token) = self.ready_list.next(self.draining) else { break };
            if let Some(work) = self.hand_out(token) {
                works.push(work);
            }
        }
        if let Err(error) = self.count_attempts() {
            // Attempts that cannot be counted must not run.
            works.retain(|work| matches!(work.task, Task::Cancel));
            self.fail(StoreError::Failed(error.to_string()));
        }
    }

    /// Write the batches just handed out into their slots, and clear the slots of those that have ended.
    pub(crate) fn count_attempts(&mut self) -> Result<(), JournalError> {
        self.acquit_joined()?;
        if !self.counted.is_empty() {
            let records: Vec<InFlight> = self.counted.iter().map(|(_, record)| *record).collect();
            let slots = self.slots.occupy_many(&records)?;
            for ((token, _), slot) in self.counted.drain(..).zip(slots) {
                if let Some(attempt) = self.attempts.get_mut(token) {
                    attempt.file_slots.push(slot);
                }
            }
        }
        self.slots.flush()
    }

    pub(crate) fn hand_out(&mut self, token: Token) -> Option<Work> {
        let now = self.now;
        let attempt = self.attempts.get_mut(token)?;
        let function = &mut self.functions[attempt.slot];
        attempt.deadline_ns = now.mono_ns.saturating_add(function.timeout_ns);
        self.timers.arm(&mut function.armed, attempt.deadline_ns, Timer::Deadline(attempt.slot));
        // In order even when the timeout has become shorter while attempts are in flight.
        let at = function.deadlines.partition_point(|&(deadline, _)| deadline <= attempt.deadline_ns);
        function.deadlines.insert(at, (attempt.deadline_ns, token));
        let kind = attempt.job.kind();
        self.ready_list.began(kind, attempt.alone);
        if let Some(lease) = attempt.lease {
            function.meters.in_flight.add(1.0);
            self.permits.count_source(lease);
        }
        let mut suspect = None;
        let task = match &attempt.job {
            Job::Batch { poller, records, lane, window, interruptions, .. } => {
                suspect = attempt.alone.then_some(*poller);
                if let Some(poller) = self.pollers[*poller].as_mut() {
                    self.counted.push((token, slot_record(poller, records, (*lane, *interruptions), attempt)));
                    if let Some(mapping) = self.mappings.get(&poller.source.mapping) {
                        mapping.meters.lanes_busy.add(1.0);
                        mapping.meters.invoked.add(records.positions.len() as u64);
                        mapping.meters.batch_size.record(records.positions.len() as f64);
                        if let (Some(&last), Some(chunk)) = (records.positions.last(), records.chunks.last()) {
                            poller.last_arrival_ms = chunk.meta(last).arrival_ms;
                            let age_ms = now.wall_ms.saturating_sub(poller.last_arrival_ms);
                            mapping.meters.iterator_age.record(age_ms as f64 / 1e3);
                        }
                    }
                }
                Task::Batch { records: records.clone(), window: window.clone(), as_event: function.as_event }
            }
            Job::Messages(job) => {
                self.hops_running.insert(attempt.request, job.hops);
                self.counted.extend(self.queues.handed_out(token, job, (attempt.number, attempt.alone)));
                Task::Messages { messages: job.messages.clone(), as_event: function.as_event }
            }
            Job::Redrive { records, .. } => {
                Task::Batch { records: records.clone(), window: None, as_event: function.as_event }
            }
            Job::Invoke { payload, .. } => {
                self.ready_list.invoke_bytes -= payload.len();
                Task::Invoke(payload.clone())
            }
            Job::Event { queue, key, event, interruptions } => {
                let (queue, key, number) = (*queue, *key, attempt.number);
                let facts = (number, *interruptions, attempt.alone);
                self.counted.push((token, crate::sources::invocation::slot_record(queue, key, facts)));
                self.history.note(now.wall_ms, event.request, RequestEvent::Started { queue, attempt: number });
                if let Some(events) = self.events.queues.get_mut(&queue) {
                    let age_ms = now.wall_ms.saturating_sub(event.life.accepted_ms);
                    events.meters.age.record(age_ms as f64 / 1e3);
                    if let Some(slot) = events.suspects.remove(&key) {
                        self.slots.release(slot);
                    }
                }
                Task::Event(event.payload.clone())
            }
            Job::Delivery { record, .. } => Task::Deliver(record.clone()),
        };
        let deadline_ms = now.wall_ms + function.timeout_ns / 1_000_000;
        let (slot, request) = (attempt.slot, attempt.request);
        let (qualifier, trace) = attempt.job.asked_with();
        let work = Work { token, slot, request, deadline_ms, qualifier, trace, task };
        if let Some(poller) = suspect {
            self.keep_suspects(poller);
        }
        Some(work)
    }

    /// A function's oldest deadline passed: cancel what is still running.
    pub(crate) fn deadline_due(&mut self, slot: HandlerId) {
        self.functions[slot].armed = None;
        while let Some(&(deadline, token)) = self.functions[slot].deadlines.front() {
            let is_alive = self.attempts.get_mut(token).is_some_and(|attempt| attempt.deadline_ns == deadline);
            if deadline > self.now.mono_ns {
                if is_alive {
                    self.timers.arm(&mut self.functions[slot].armed, deadline, Timer::Deadline(slot));
                    return;
                }
            } else if is_alive {
                self.time_out(token);
            }
            self.functions[slot].deadlines.pop_front();
        }
    }

    /// An attempt is past its deadline. It has failed, and may never end: its lane and its place stay held, nothing else waits.
    fn time_out(&mut self, token: Token) {
        let Some(attempt) = self.attempts.get_mut(token) else { return };
        attempt.timed_out = true;
        let (slot, request, waiter) = (attempt.slot, attempt.request, attempt.take_waiter());
        let is_alone = attempt.alone;
        let is_qualified = matches!(attempt.job, Job::Invoke { qualifier: Some(_), .. });
        let (batch, redrive) = match attempt.job {
            Job::Batch { poller, batch, .. } => (Some((poller, batch)), None),
            Job::Redrive { key, .. } => (None, Some(key)),
            _ => (None, None),
        };
        let kind = attempt.job.kind();
        self.notice_timeout(token);
        if kind != Kind::Delivery {
            self.functions[slot].meters.overdue.add(1.0);
        }
        self.ready_list.overdue(kind, is_alone.then_some(token));
        if !self.pools.stop_attempt(slot, token, self.now.mono_ns) {
            self.ready_list.cancels.push_back(token);
            self.ring = true;
        }
        if let Some(waiter) = waiter {
            let answer = self.invoke_answer(slot, request, is_qualified, (2, None));
            self.answer(waiter, answer);
        }
        if let Some((id, batch)) = batch {
            let now = self.now;
            if let Some(poller) = self.pollers[id].as_mut() {
                poller.machine.overdue(batch, &now);
            }
            self.pump(id);
        }
        if let Some(failure) = redrive {
            self.redrive_overdue(&failure);
        }
    }
}

fn slot_record(poller: &Poller, records: &Records, (lane, interruptions): (u8, u32), attempt: &Attempt) -> InFlight {
    InFlight {
        kind: InFlightKind::Batch,
        mapping: poller.source.mapping,
        shard: poller.shard,
        lane,
        lanes: poller.machine.lanes() as u8,
        // The final invoke of a window has no records: 1 to 0, as `Suspect` wants it.
        first: records.positions.first().copied().unwrap_or(1),
        last: records.positions.last().copied().unwrap_or(0),
        attempt: attempt.number,
        interruptions,
        alone: attempt.alone,
    }
}
