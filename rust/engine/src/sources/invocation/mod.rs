//! Asynchronous invocations: accepted durably, run by the rules of `forebay_core::invocation`, ended in one commit with what their
//! destinations are told.
//!
//! The store is the queue: rows stand in the order in which events are due (`row`). The machine of a function knows the first of
//! them, `WAITING_MAX` at most, and asks for more where little is left. `accept` takes in what callers ask for, `serve` carries out the
//! machine's commands, `ends` writes down what became of an event, `results` keeps it for those who ask, and `expiry` drops what was kept
//! for a time.

pub(crate) mod accept;
pub(crate) mod ends;
mod expiry;
pub(crate) mod kept_results;
pub(crate) mod participant;
mod requests;
mod serve;
#[cfg(test)]
mod tests;

use crate::base::asynchronous::Asynchronous;
use crate::sources::invocation::ends::EndedEvent;
use crate::sources::invocation::expiry::KeptForTime;
use crate::sources::invocation::kept_results::Results;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use forebay_core::alias::Version;
use forebay_core::concurrency::Lease;
use forebay_core::invocation::protocol::{Key, Life};
use forebay_core::invocation::EventQueue;
use forebay_core::Now;

use crate::base::error::EngineError;
use crate::base::json;
use crate::commit::attachment::Attachment;
use crate::commit::rows::{counted, damaged};
use crate::dispatch::attempt_journal::{InFlight, InFlightKind, JournalSlot};
use crate::dispatch::attempts::HandlerId;
use crate::dispatch::versions::{self, qualified, version_of};
use crate::observe::history::RequestEvent;
use crate::observe::meters::EventMeters;
use crate::payload::event::Qualifier;
use crate::payload::event::{parse_key, row_key, Accepted, Event};
use crate::store::port::{StoreError, Table};

use crate::ctx::Ctx;
use crate::dispatch::{Dispatch, DispatchRoom};
use crate::failures::{FailureRoom, Failures, Owner};

/// Asynchronous invocations, with what lies below them.
pub(crate) struct InvocationRoom<'a> {
    pub(crate) ctx: &'a mut Ctx,
    pub(crate) dispatch: &'a mut Dispatch,
    pub(crate) failures: &'a mut Failures,
    pub(crate) events: &'a mut EventQueues,
}

impl<'a> InvocationRoom<'a> {
    pub(crate) fn new(
        ctx: &'a mut Ctx,
        dispatch: &'a mut Dispatch,
        failures: &'a mut Failures,
        events: &'a mut EventQueues,
    ) -> Self {
        Self { ctx, dispatch, failures, events }
    }
}

impl InvocationRoom<'_> {
    pub(crate) fn dispatch(&mut self) -> DispatchRoom<'_> {
        DispatchRoom { ctx: self.ctx, dispatch: self.dispatch }
    }

    pub(crate) fn failures(&mut self) -> FailureRoom<'_> {
        FailureRoom { ctx: self.ctx, dispatch: self.dispatch, failures: self.failures }
    }
}

pub use crate::base::limits::EVENT_BYTES_MAX;
/// Most bytes of waiting events in memory, over all functions; the others are read again when their turn comes.
const AT_HAND_MAX: usize = 32 << 20;
/// Numbers of events that are reserved at once, so that a restart gives none out again.
const NUMBERS: u64 = 1 << 16;
const NEXT_EVENT: &[u8] = b"next_event";

/// The events of one function, or of one of its versions.
pub(crate) struct Events {
    pub(crate) function: String,
    /// Each version has events of its own.
    pub(crate) version: Version,
    /// The function, once it is registered in this process.
    handler: Option<HandlerId>,
    machine: EventQueue,
    /// Waiting events whose payloads are in memory.
    at_hand: BTreeMap<Key, Event>,
    /// Ended ones whose rows go with a message that may still wait for room.
    leaving: BTreeSet<Key>,
    /// Slots that keep what was in flight when the last process died, until it has run alone.
    pub(crate) suspects: BTreeMap<Key, JournalSlot>,
    /// When its timer rings.
    armed: Option<u64>,
    pub(crate) meters: EventMeters,
}

/// The events of all functions.
#[derive(Default)]
pub(crate) struct EventQueues {
    pub(crate) queues: BTreeMap<u64, Events>,
    by_function: BTreeMap<String, u64>,
    next_number: u64,
    /// Numbers below this are reserved durably, or in the commit that gives out the first of them.
    reserved: u64,
    /// Events that are not durable yet. A look into the store may show them all the same, since it sees what waits for the next
    /// commit; they are not to be found there, but come by themselves when they are durable.
    expected: BTreeSet<(u64, Key)>,
    at_hand_bytes: usize,
    /// Events that somebody asked for and that wait for the next commit, those of the commit under way, and those that came of
    /// something else and are durable now.
    pub(crate) accepted: Vec<Accepted>,
    pub(crate) committing: Vec<Accepted>,
    pub(crate) born: Vec<Accepted>,
    /// Events that have ended, whose destinations are to be told.
    pub(crate) ended: Vec<EndedEvent>,
    /// The place for the event that is begun now.
    place: Option<Lease>,
    results: Results,
    kept: KeptForTime,
}

impl Events {
    /// When the event of a key is due, on the wall clock as it is set now.
    pub(crate) fn due_ms(&self, key: Key, now: &Now) -> u64 {
        key.due_ms.saturating_sub(self.machine.ahead_ms(now))
    }

    /// What the function is registered as that they wait for.
    pub(crate) fn name(&self) -> String {
        qualified(&self.function, self.version)
    }
}

impl EventQueues {
    /// An event was refused: it never becomes durable.
    pub(crate) fn forget_expected(&mut self, accepted: &Accepted) {
        self.expected.remove(&(accepted.queue, accepted.key));
        self.kept.forget(accepted);
    }

    /// A row that was to go with a message is gone.
    pub(crate) fn left(&mut self, row: &[u8]) {
        let (Some(id), Some(key)) = (row.first_chunk(), parse_key(row)) else { return };
        if let Some(events) = self.queues.get_mut(&u64::from_be_bytes(*id)) {
            events.leaving.remove(&key);
        }
    }
}

impl InvocationRoom<'_> {
    /// Accept an event by the engine's own doing. Its row joins the commit of what brings it forth.
    pub(crate) fn bear_event(&mut self, queue: u64, event: Event) {
        let events = vec![self.number_event(queue, event)];
        self.write_attachment(&Attachment { events, ..Attachment::default() });
    }

    /// Write what waits for nothing else.
    pub(crate) fn write_attachment(&mut self, bound: &Attachment) {
        bound.join(&mut self.ctx.commit.pending);
        self.ctx.commit.pending.begin_lazily(self.ctx.now.mono_ns);
    }

    pub(crate) fn new_event(
        &self,
        request: u128,
        hops: u32,
        payload: Arc<[u8]>,
        (trace, qualifier): (Option<Arc<str>>, Qualifier),
    ) -> Event {
        let life = Life { accepted_ms: self.ctx.now.wall_ms, hops, ..Life::default() };
        Event {
            request,
            life,
            status: 0,
            error: None,
            qualifier,
            trace,
            deduplication_id: None,
            keeps_result: false,
            payload,
        }
    }

    /// Take a number that no other event has.
    pub(crate) fn take_number(&mut self) -> u64 {
        let events = &mut *self.events;
        let number = events.next_number;
        events.next_number += 1;
        if number >= events.reserved {
            events.reserved = number + NUMBERS;
            self.ctx.commit.pending.set(Table::Meta, NEXT_EVENT.to_vec(), events.reserved.to_be_bytes().to_vec());
        }
        number
    }

    pub(crate) fn number_event(&mut self, queue: u64, event: Event) -> Accepted {
        let number = self.take_number();
        let events = &mut *self.events;
        let known = events.queues.get_mut(&queue);
        let delay_ms = event.life.delay_ms;
        let now = self.ctx.now;
        let key =
            known.map_or(Key { due_ms: now.wall_ms + delay_ms, number }, |one| one.machine.key(number, delay_ms, &now));
        events.expected.insert((queue, key));
        Accepted { queue, key, event, at: now, remembered: None }
    }

    /// Where an event for this function, version or alias waits, and the qualifier. A function need not be registered any more.
    pub(crate) fn event_queue(&mut self, asked: &str) -> Result<(u64, Qualifier), EngineError> {
        if !asked.contains(':') {
            if let Some(&id) = self.events.by_function.get(asked) {
                return Ok((id, None));
            }
        }
        let (handler, qualifier) = match versions::address(&mut self.dispatch(), asked) {
            Ok(found) => found,
            Err(error) => {
                let known = asked.strip_suffix(":$LATEST").and_then(|name| self.events.by_function.get(name));
                return known.map(|&id| (id, None)).ok_or(error);
            }
        };
        let name = self.dispatch.functions[handler].qualified();
        Ok((self.event_queue_of(&name), qualifier))
    }

    /// The queue of a function that may not be registered now.
    pub(crate) fn event_queue_of(&mut self, function: &str) -> u64 {
        let known = self.events.by_function.get(function).copied();
        known.unwrap_or_else(|| self.new_event_queue(function))
    }

    fn new_event_queue(&mut self, function: &str) -> u64 {
        let id = self.ctx.new_mapping_id();
        self.ctx.commit.pending.set(Table::Function, id.to_be_bytes().to_vec(), function.as_bytes().to_vec());
        self.ctx.commit.pending.begin_lazily(self.ctx.now.mono_ns);
        self.add_event_queue(id, function);
        self.bind_events(id);
        id
    }

    fn add_event_queue(&mut self, id: u64, name: &str) {
        let settings = Asynchronous::default().settings(false);
        let (function, version) = version_of(name).unwrap_or((name, Version::Latest));
        let events = Events {
            function: function.to_owned(),
            version,
            handler: None,
            machine: EventQueue::new(settings),
            at_hand: BTreeMap::new(),
            leaving: BTreeSet::new(),
            suspects: BTreeMap::new(),
            armed: None,
            meters: EventMeters::new(&self.ctx.registry, function),
        };
        let (function, meters) = (events.function.clone(), Box::new(events.meters.deliveries.clone()));
        self.failures.owners.insert(id, Owner { function, stream: None, is_rule: false, meters });
        self.events.queues.insert(id, events);
        self.events.by_function.insert(name.to_owned(), id);
    }

    /// Find the functions that have events.
    pub(crate) fn restore_events(&mut self) -> Result<(), StoreError> {
        self.events.kept = KeptForTime::restored(self.ctx)?;
        if let Some(bytes) = self.ctx.commit.reader.get(Table::Meta, NEXT_EVENT)? {
            let next = counted(&bytes, "next_event")?;
            (self.events.next_number, self.events.reserved) = (next, next);
        }
        for (key, name) in self.ctx.commit.reader.scan(Table::Function, &[], None, usize::MAX)? {
            let id = self.ctx.mapping_id_found(&key, "a function's key")?;
            let name = String::from_utf8(name).map_err(|_| damaged("a function's row"))?;
            self.add_event_queue(id, &name);
        }
        Ok(())
    }

    /// Take over an event that was in flight when the last process died; false if it is none any more.
    pub(crate) fn suspect_event(&mut self, record: &InFlight, slot: JournalSlot) -> Result<bool, StoreError> {
        let key = Key { due_ms: record.first, number: record.last };
        let is_there = self.ctx.commit.reader.get(Table::Event, &row_key(record.mapping, key))?.is_some();
        let Some(events) = self.events.queues.get_mut(&record.mapping).filter(|_| is_there) else { return Ok(false) };
        events.machine.suspect(key, record.interruptions + u32::from(record.alone));
        events.suspects.insert(key, slot);
        Ok(true)
    }

    /// A function was registered, or its settings have changed: its events may run. Those of a version that is published no more
    /// have the settings of the function.
    pub(crate) fn bind_events_of(&mut self, handler: HandlerId) {
        let (name, by_function) = (self.dispatch.functions[handler].qualified(), &self.events.by_function);
        let versions = by_function.range(format!("{name}:")..format!("{name};"));
        let ids: Vec<u64> = by_function.get(&name).into_iter().chain(versions.map(|(_, id)| id)).copied().collect();
        for id in ids {
            self.bind_events(id);
        }
    }

    /// Whose settings hold for events.
    fn settles(&self, events: &Events) -> Option<HandlerId> {
        events.handler.or_else(|| self.dispatch.function_names.get(&events.function).copied())
    }

    /// The events of a version that the function, which runs, does not publish any more.
    pub(crate) fn unpublished(&self, queue: u64) -> Option<&Events> {
        let events = self.events.queues.get(&queue)?;
        let is_left =
            self.ctx.started && events.handler.is_none() && self.dispatch.function_names.contains_key(&events.function);
        is_left.then_some(events)
    }

    fn bind_events(&mut self, id: u64) {
        let Some(events) = self.events.queues.get_mut(&id) else { return };
        events.handler = self.dispatch.function_names.get(&events.name()).copied();
        let settling = self.events.queues.get(&id).and_then(|events| self.settles(events));
        if let (Some(handler), Some(events)) = (settling, self.events.queues.get_mut(&id)) {
            let function = &self.dispatch.functions[handler];
            let is_off = function.place.is_some_and(|(id, _)| self.dispatch.permits.pool.reserved(id) == Some(0));
            events.machine.configure(function.asynchronous.settings(is_off));
            serve::pump_events(self, id);
        }
    }

    /// Let every function's events run that may. Nothing is kept of a version that is published no more and has left nothing.
    pub(crate) fn start_events(&mut self) -> Result<(), StoreError> {
        let ids: Vec<u64> = self.events.queues.keys().copied().collect();
        for id in ids {
            match self.unpublished(id).map(Events::name) {
                Some(name) if self.has_left_nothing(id)? => {
                    self.events.queues.remove(&id);
                    self.failures.forget(id);
                    self.events.by_function.remove(&name);
                    self.ctx.commit.pending.remove(Table::Function, id.to_be_bytes().to_vec());
                    self.ctx.commit.pending.begin_lazily(self.ctx.now.mono_ns);
                }
                _ => serve::pump_events(self, id),
            }
        }
        Ok(())
    }

    /// Whether there is neither an event nor a failure in a queue of events.
    fn has_left_nothing(&mut self, id: u64) -> Result<bool, StoreError> {
        for table in [Table::Event, Table::Failure] {
            if !self.ctx.commit.reader.scan(table, &id.to_be_bytes(), None, 1)?.is_empty() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Events have become durable.
    pub(crate) fn events_durable(&mut self, accepted: Vec<Accepted>) {
        let mut touched = BTreeSet::new();
        for Accepted { queue, key, event, at, remembered } in accepted {
            let life = event.life;
            self.events.expected.remove(&(queue, key));
            if let Some(remembered) = remembered {
                self.events.kept.durable(remembered);
            }
            let due_ms = Some(life.born_ms()).filter(|_| life.delay_ms > 0);
            let deduplication_id = event.deduplication_id.clone();
            let what = RequestEvent::Accepted { queue, due_ms, deduplication_id };
            self.ctx.observe.history.note(life.accepted_ms, event.request, what);
            self.events.keep_at_hand_event(queue, key, event);
            let Some(events) = self.events.queues.get_mut(&queue) else { continue };
            events.meters.received.increment();
            events.machine.accepted(key, life, &at);
            touched.insert(queue);
        }
        for queue in touched {
            serve::pump_events(self, queue);
        }
    }
}

/// Refuse what no function can be given.
pub(crate) fn check_payload(payload: &[u8]) -> Result<(), EngineError> {
    if payload.len() > EVENT_BYTES_MAX {
        return Err(EngineError::TooLarge(format!(
            "{} byte payload is too large for the Event invocation type (limit {EVENT_BYTES_MAX} bytes)",
            payload.len()
        )));
    }
    json::check(payload).map_err(|error| {
        EngineError::Invalid(format!(
            "Could not parse request body into json: Could not parse payload into json: {error}"
        ))
    })
}

/// An event in flight, as the attempts file keeps it.
pub(crate) fn slot_record(queue: u64, key: Key, (attempt, interruptions, alone): (u32, u32, bool)) -> InFlight {
    InFlight {
        kind: InFlightKind::Event,
        mapping: queue,
        shard: 0,
        lane: 0,
        lanes: 1,
        first: key.due_ms,
        last: key.number,
        attempt,
        interruptions,
        alone,
    }
}
