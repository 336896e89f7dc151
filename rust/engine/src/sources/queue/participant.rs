//! What the runtime brings queues: their timers, permits of their mappings, attempts at batches, and the part of a commit that is theirs.

use crate::base::error::EngineError;
use crate::dispatch::attempt_journal::{InFlight, InFlightKind, JournalSlot};
use crate::dispatch::attempts::HandlerId;
use std::any::Any;
use std::sync::Arc;

use forebay_core::concurrency::Lease;
use serde_json::{json, Value};

use crate::base::ids::RoomId;
use crate::base::timers::Timer;
use crate::commit::pending::Pending;
use crate::commit::read_jobs::ReadJob;
use crate::dispatch::attempts::{Attempt, Task, Token};
use crate::dispatch::job::{Handed, Job};
use crate::dispatch::participant::{Ended, Participant};
use crate::dispatch::waiters::SourceId;
use crate::sources::queue::send::{self, SentCommit};
use crate::sources::queue::{body_fetch, compaction, delete, job, mapping, recovery, redrive, serve};
use crate::sources::queue::{QueueId, QueueJob, QueueRoom};
use crate::store::chunk::Chunk;
use crate::store::port::{Found, Read, ShardId, StoreError, Write};

/// Whose timers, and whose attempts, these are.
pub(crate) const ROOM: RoomId = RoomId(5);
/// Kinds of timers: of a queue, of the window of a mapping, of messages on their way from queue to queue.
pub(crate) const QUEUE: u8 = 0;
pub(crate) const WINDOW: u8 = 1;
pub(crate) const TRANSFERS: u8 = 2;
/// Bytes of messages that one read brings.
pub(crate) const MESSAGES_BYTES: usize = 512 << 10;

impl Job for QueueJob {
    fn room(&self) -> RoomId {
        ROOM
    }

    fn source(&self) -> SourceId {
        self.mapping
    }

    fn described(&self) -> Value {
        json!({"queue": &*self.messages.source.name, "records": self.messages.items.len()})
    }
}

/// A read of a queue's log, from a message on.
pub(crate) struct ReadMessages {
    pub(crate) queue: QueueId,
    pub(crate) log: ShardId,
    pub(crate) from: u64,
    /// What it brought.
    pub(crate) chunks: Option<Result<Vec<Arc<Chunk>>, StoreError>>,
}

impl ReadJob for ReadMessages {
    fn room(&self) -> RoomId {
        ROOM
    }

    fn next(&mut self) -> Option<Read> {
        let read = Read::Chunks { shard: self.log, from: self.from, bytes_max: MESSAGES_BYTES };
        self.chunks.is_none().then_some(read)
    }

    fn found(&mut self, found: Result<Found, StoreError>) {
        self.chunks = Some(found.and_then(Found::chunks));
    }
}

impl Participant for QueueRoom<'_> {
    fn take_over(&mut self, record: &InFlight, slot: JournalSlot) -> Result<bool, StoreError> {
        let is_ours = record.kind == InFlightKind::Messages;
        if is_ours {
            self.queues.suspects.push((*record, slot));
        }
        Ok(is_ours)
    }

    fn resume(&mut self) -> Result<(), StoreError> {
        recovery::restore_queues(self)
    }

    fn start(&mut self) -> Result<(), EngineError> {
        serve::start_queues(self);
        Ok(())
    }

    fn registered(&mut self, _handler: HandlerId, _is_new: bool) -> Result<(), EngineError> {
        self.bind_queue_mappings();
        Ok(())
    }

    fn sweep(&mut self) -> Result<(), EngineError> {
        Ok(compaction::sweep_queues(self)?)
    }

    fn sweep_finds_ms(&mut self) -> Result<Option<u64>, EngineError> {
        Ok(self.queues.live().filter_map(|id| compaction::sweep_due_ms(self.queues, id, self.ctx.now.wall_ms)).min())
    }

    fn due(&mut self, timer: Timer) {
        match timer.kind {
            QUEUE => serve::queue_due(self, timer.id as QueueId),
            WINDOW => mapping::look_again(self, timer.id),
            _ => redrive::send_transfers(self),
        }
    }

    fn grant(&mut self, source: SourceId, permit: Lease) -> Option<Lease> {
        mapping::receive_with(self, source, permit)
    }

    fn hand_out(&mut self, token: Token) -> Option<Handed> {
        let attempt = self.dispatch.attempts.get_mut(token)?;
        let as_event = self.dispatch.functions[attempt.handler].as_event;
        let job = attempt.job.get::<QueueJob>()?;
        self.dispatch.hops_running.insert(attempt.request, job.hops);
        self.dispatch.counted.extend(job::handed_out(self.queues, token, job, (attempt.number, attempt.alone)));
        let task = Task::Messages { messages: job.messages.clone(), as_event };
        Some(Handed { task, reads: job.reports, reports: job.reports })
    }

    fn settled(&mut self, attempt: Attempt, ended: Ended) {
        self.dispatch.hops_running.remove(&attempt.request);
        if let Some(job) = attempt.job.get::<QueueJob>() {
            job::messages_settled(self, job, (&attempt, ended.duration_ns), ended.status, ended.body.as_deref());
        }
    }

    fn all_settled(&mut self) {
        serve::serve_settled_queues(self);
    }

    fn has_puts(&self) -> bool {
        !self.queues.to_send.is_empty()
    }

    fn has_progress(&self) -> bool {
        !self.queues.settled.is_empty()
    }

    fn write(&mut self, pending: &mut Pending, writes: &mut Vec<Write>, puts: bool) {
        if puts {
            for id in std::mem::take(&mut self.queues.to_send) {
                let sent = send::take_sends(self, id, pending, writes);
                self.queues.sent.push(sent);
            }
        }
        for id in std::mem::take(&mut self.queues.settled) {
            serve::take_settled(self.queues, id, pending);
        }
        self.queues.launching = std::mem::take(&mut self.queues.launches);
    }

    fn durable(&mut self) {
        recovery::release_held_slots(self);
        for sent in std::mem::take(&mut self.queues.sent) {
            send::sends_durable(self, sent);
        }
        for attempt in std::mem::take(&mut self.queues.launching) {
            mapping::messages_received(self, attempt);
        }
        delete::drop_slice(self);
    }

    fn refused(&mut self, error: &StoreError) {
        let sent = std::mem::take(&mut self.queues.sent);
        send::refuse_sends(self, sent, error);
        let launching = std::mem::take(&mut self.queues.launching);
        self.queues.launches.extend(launching);
    }

    fn failed(&mut self, error: &StoreError) {
        let sent = std::mem::take(&mut self.queues.sent);
        for waiter in sent.into_iter().flat_map(SentCommit::into_waiters) {
            self.ctx.answer(waiter, Err(error.clone().into()));
        }
        self.queues.to_send.clear();
        self.queues.settled.clear();
        self.queues.launches.clear();
        send::fail_queues(self, error);
    }

    fn read_done(&mut self, job: Box<dyn Any>) {
        let Ok(read) = job.downcast::<ReadMessages>() else { return };
        match read.chunks.unwrap_or_else(|| Ok(Vec::new())) {
            Ok(chunks) => body_fetch::messages_read(self, read.queue, read.from, chunks),
            Err(error) => self.ctx.fail(error),
        }
    }
}
