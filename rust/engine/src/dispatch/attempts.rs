//! Attempts: work handed to Python, its deadline, and what became of it.

use crate::base::trace::gather;
use crate::dispatch::invoke::Invoke;
use crate::dispatch::job::Job;
use crate::observe::history::batches::{error_text, About, Failed};
use std::sync::Arc;

use forebay_core::concurrency::Lease;
use forebay_core::stream::protocol::Window;

use crate::base::error::{EngineError, Waiter};
use crate::dispatch::attempt_journal::{InFlight, JournalError, JournalSlot};
use crate::dispatch::permits;
use crate::dispatch::ready_list::Kind;
use crate::dispatch::Dispatch;
use crate::dispatch::DispatchRoom;
use crate::payload::messages::Messages;
use crate::payload::records::Records;

/// Names an attempt in flight. Never reused while an engine lives.
pub type Token = u64;

/// Index of a registered function or destination.
pub type HandlerId = usize;

/// One try at one piece of work.
pub(crate) struct Attempt {
    pub(crate) handler: HandlerId,
    pub(crate) job: Box<dyn Job>,
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
    pub(crate) fn new(handler: HandlerId, job: impl Job, number: u32) -> Self {
        Self {
            handler,
            job: Box::new(job),
            number,
            request: 0,
            deadline_ns: 0,
            timed_out: false,
            file_slots: Vec::new(),
            alone: false,
            lease: None,
        }
    }

    /// What is remembered of it.
    pub(crate) fn about(&self, (status, took_ns): (u8, u64), failed: Failed, body: Option<&[u8]>) -> About {
        About::Attempt {
            number: self.number,
            request: self.request,
            took_ms: u32::try_from(took_ns / 1_000_000).unwrap_or(u32::MAX),
            status,
            failed,
            error: body.filter(|_| status != 0).map(error_text),
            is_redrive: self.job.is_redrive(),
        }
    }

    /// Whether it was handed out.
    pub(crate) fn is_out(&self) -> bool {
        self.deadline_ns > 0
    }
}

/// What Python is handed: see `_core.pyi`.
#[derive(Clone, Debug)]
pub struct Work {
    /// Names the attempt when it is settled.
    pub token: Token,
    /// The function, or the destination of a delivery.
    pub handler: HandlerId,
    /// Request id, shown as a UUID.
    pub request: u128,
    /// When the attempt must have ended, wall ms.
    pub deadline_ms: u64,
    /// The version or alias that was asked for.
    pub qualifier: Option<Arc<str>>,
    /// The trace context of what is not a batch: see [`Work::traces`].
    pub trace: Option<Arc<str>>,
    /// What to do.
    pub task: Task,
}

impl Work {
    /// The contexts of what it brings, each once, at most 128 of them.
    pub fn traces(&self) -> Vec<&str> {
        let mut found = Vec::new();
        match &self.task {
            Task::Batch { records, .. } if records.chunks.iter().any(|chunk| chunk.is_traced()) => {
                gather(records.iter().filter_map(|(_, record)| record.trace), &mut found);
            }
            Task::Messages { messages, .. } => {
                gather(messages.items.iter().filter_map(crate::payload::messages::Item::trace), &mut found);
            }
            _ => found.extend(self.trace.as_deref()),
        }
        found
    }
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
#[derive(Clone, Debug, PartialEq, Eq)]
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

    /// Whether one with this request id has not ended yet.
    pub(crate) fn has_open(&self, request: u128) -> bool {
        self.entries.iter().filter_map(|(_, attempt)| attempt.as_ref()).any(|attempt| attempt.request == request)
    }

    /// The suspect of a crash that runs alone.
    pub(crate) fn alone(&self) -> Option<&Attempt> {
        let mut attempts = self.entries.iter().filter_map(|(_, attempt)| attempt.as_ref());
        attempts.find(|attempt| attempt.alone && attempt.is_out() && !attempt.timed_out)
    }

    pub(crate) fn get(&self, token: Token) -> Option<&Attempt> {
        let entry = self.entries.get(token as u32 as usize)?;
        entry.1.as_ref().filter(|_| entry.0 == (token >> 32) as u32)
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

/// Tell every caller who still waits for a function that the app has stopped.
pub(crate) fn answer_open_invokes(room: &mut DispatchRoom<'_>) {
    let waiters: Vec<Waiter> = room.dispatch.attempts.iter_mut().filter_map(Invoke::take_waiter).collect();
    for waiter in waiters {
        let text = "this process closed the store before the function had ended";
        room.ctx.answer(waiter, Err(EngineError::OwnerLost(text.into())));
    }
}

/// Put an attempt where it waits for its place; one that has its place, or needs none, where the next exchange finds it.
pub(crate) fn ready(room: &mut DispatchRoom<'_>, mut attempt: Attempt, alone: bool) -> Token {
    attempt.alone = alone;
    if attempt.request == 0 {
        attempt.request = room.ctx.rng.uuid();
    }
    let (kind, lease) = (attempt.job.kind(), attempt.lease);
    let token = room.dispatch.attempts.insert(attempt);
    match lease {
        Some(lease) => permits::seat(room, token, lease),
        None if kind == Kind::Delivery => {
            room.dispatch.ready_list.deliveries.push_back(token);
            room.ctx.ring = true;
        }
        None if alone => room.dispatch.ready_list.alone.push_back(token),
        None => permits::queue_attempt(room, token),
    }
    token
}

/// Write the batches just handed out into their slots, and clear the slots of those that have ended.
pub(crate) fn count_attempts(dispatch: &mut Dispatch) -> Result<(), JournalError> {
    let nothing_begins = dispatch.counted.is_empty() && dispatch.ready_list.joined.is_empty();
    acquit_joined(dispatch)?;
    if !dispatch.counted.is_empty() {
        let records: Vec<InFlight> = dispatch.counted.iter().map(|(_, record)| *record).collect();
        let slots = dispatch.journal.occupy_many(&records)?;
        for ((token, _), slot) in dispatch.counted.drain(..).zip(slots) {
            if let Some(attempt) = dispatch.attempts.get_mut(token) {
                attempt.file_slots.push(slot);
            }
        }
    }
    // What cannot be cleared is cleared by the next call. If the process dies before, its next start says more than is so.
    let cleared = dispatch.journal.flush();
    if nothing_begins {
        Ok(())
    } else {
        cleared
    }
}

/// Something begins beside suspects that are past their deadline: if the process dies now, it need not have been them.
pub(crate) fn acquit_joined(dispatch: &mut Dispatch) -> Result<(), JournalError> {
    for token in std::mem::take(&mut dispatch.ready_list.joined) {
        for &slot in dispatch.attempts.get_mut(token).map_or(&[][..], |attempt| &attempt.file_slots) {
            dispatch.journal.join(slot)?;
        }
    }
    Ok(())
}
