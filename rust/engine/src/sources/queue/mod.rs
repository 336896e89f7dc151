//! Queues: messages in a log, and what has become of them beside it.
//!
//! A queue's messages are appended to a log of its own, one chunk or a few for everything that arrived between two commits
//! (`send`). What became of them stands beside the log: `deletion_bitmap` keeps a bit for each message, and what was received or is
//! retried has a row. The log is trimmed behind what is gone; a few messages that would hold a long log are given rows of
//! their own (`compaction`). Memory holds numbers and groups only; bodies are read when they are handed out (`body_fetch`).
//!
//! `forebay_core::queue::QueueMachine` decides; here its commands are carried out (`serve`). `mapping` feeds functions,
//! `receive` answers whoever asks, `peek` shows messages without receiving them, `transfer` carries messages from queue to queue, `redrive`
//! all of them and `redrive_one` one by an operator's request, `create` makes a queue, `delete` removes it, `recovery` goes on after a restart.

mod body_fetch;
mod check;
mod chunk_cache;
mod compaction;
mod create;
pub(crate) mod delete;
pub(crate) mod deletion_bitmap;
mod job;
pub(crate) mod mapping;
mod mapping_row;
mod meters;
pub(crate) mod outgoing;
pub(crate) mod participant;
pub(crate) mod peek;
mod polls;
mod receive;
mod recovery;
mod recursion;
mod redrive;
mod redrive_one;
pub(crate) mod requests;
pub(crate) mod row;
pub(crate) mod send;
mod serve;
mod size_estimate;
#[cfg(test)]
mod tests;
mod transfer;

use crate::commit::attachment::Attachment;
use crate::dispatch::attempts::Attempt;
use crate::failures::Failures;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use forebay_core::queue::dedup::Deduplication;
use forebay_core::queue::QueueMachine;
use forebay_core::Now;

pub(crate) use check::{check_attributes, check_characters, check_id};
pub(crate) use job::QueueJob;
pub(crate) use mapping::QueueMapping;
pub(crate) use outgoing::{Outgoing, Sender};
pub(crate) use peek::{Life, Quest};
pub(crate) use send::SentCommit;

use crate::dispatch::attempt_journal::{InFlight, JournalSlot};
use crate::payload::messages::QueueSource;
use crate::sources::queue::body_fetch::BodyFetch;
use crate::sources::queue::chunk_cache::ChunkCache;
use crate::sources::queue::deletion_bitmap::DeletionBitmap;
use crate::sources::queue::meters::QueueMeters;
use crate::sources::queue::polls::Polls;
use crate::sources::queue::redrive::Task;
use crate::sources::queue::row::QueueRow;
use crate::sources::queue::size_estimate::SizeEstimate;
use crate::store::format::keys::{message_key, number_of};
use crate::store::port::ShardId;

use crate::ctx::Ctx;
use crate::dispatch::{Dispatch, DispatchRoom};

/// Queues, with what lies below them.
pub(crate) struct QueueRoom<'a> {
    pub(crate) ctx: &'a mut Ctx,
    pub(crate) dispatch: &'a mut Dispatch,
    pub(crate) queues: &'a mut Queues,
}

impl<'a> QueueRoom<'a> {
    pub(crate) fn new(
        ctx: &'a mut Ctx,
        dispatch: &'a mut Dispatch,
        _failures: &'a mut Failures,
        queues: &'a mut Queues,
    ) -> Self {
        Self { ctx, dispatch, queues }
    }
}

impl QueueRoom<'_> {
    pub(crate) fn dispatch(&mut self) -> DispatchRoom<'_> {
        DispatchRoom { ctx: self.ctx, dispatch: self.dispatch }
    }
}

/// Index of a queue in the engine.
pub(crate) type QueueId = usize;

/// Deduplication ids that a queue remembers at most: 6,666 messages a second for five minutes.
const IDS_MAX: u32 = 2_000_000;

/// What AWS says of a queue that there is not.
const NO_QUEUE: &str = "AWS.SimpleQueueService.NonExistentQueue: The specified queue does not exist.";

/// All queues of an engine and what feeds functions from them.
#[derive(Default)]
pub(crate) struct Queues {
    pub(crate) entries: Vec<Queue>,
    pub(crate) names: BTreeMap<String, QueueId>,
    /// The same queues by their logs.
    logs: BTreeMap<ShardId, QueueId>,
    /// Where to look for the number of the next log.
    next_log: ShardId,
    pub(crate) mappings: BTreeMap<u64, QueueMapping>,
    /// Runs of neighbouring messages in all batches: each takes a slot of the attempts file.
    runs: usize,
    /// Queues of which batches have ended in this exchange.
    unserved: Vec<QueueId>,
    /// Mappings that wait for some of those slots.
    crowded: BTreeSet<u64>,
    chunk_cache: ChunkCache,
    /// Queues with messages to be sent, queues of which messages are gone, and attempts to be made when the next commit is durable.
    pub(crate) to_send: Vec<QueueId>,
    pub(crate) settled: Vec<QueueId>,
    pub(crate) launches: Vec<Attempt>,
    /// The same of the commit under way.
    pub(crate) sent: Vec<SentCommit>,
    pub(crate) launching: Vec<Attempt>,
    /// What went with messages that are durable now, for other rooms.
    pub(crate) attached: Vec<Attachment>,
    tasks: BTreeMap<QueueId, Task>,
    /// Redrives begun by this process: each has a number.
    redrives: u64,
    /// Deleted queues that are not wholly removed yet.
    dropping: VecDeque<Dropping>,
    /// Entries of those that are. Each is used again once nothing speaks of its queue.
    vacant: Vec<QueueId>,
    /// What was in flight when the last process died.
    pub(crate) suspects: Vec<(InFlight, JournalSlot)>,
    /// Slots of those, kept until their rows are durable.
    held_slots: Vec<JournalSlot>,
}

/// A deleted queue that is on its way out: its log, and its entry if this process has known it.
struct Dropping {
    log: ShardId,
    entry: Option<QueueId>,
}

/// One queue.
pub(crate) struct Queue {
    row: QueueRow,
    source: Arc<QueueSource>,
    machine: QueueMachine,
    ids: Deduplication,
    /// Rows of deduplication ids, oldest first: when they were written, and their key.
    id_rows: VecDeque<(u64, u64)>,
    /// Number of the next message to be written.
    next: u64,
    /// Messages below this are durable.
    durable: u64,
    /// What waits for the next commit, and how many messages that is.
    sends: Vec<Outgoing>,
    sends_count: u64,
    /// Messages of the engine's own that are on their way here.
    inbound: u64,
    /// Nothing names it any more; what handlers still have of it ends without a meaning.
    is_deleted: bool,
    gone: DeletionBitmap,
    /// Everything below was purged.
    purged_below: u64,
    /// Up to here the log was trimmed.
    trimmed: u64,
    /// Messages that have a row of their state.
    stated: BTreeSet<u64>,
    /// Messages that stand in a row instead of the log.
    kept: BTreeSet<u64>,
    /// It is listed among those with something to be written.
    is_settled: bool,
    /// Messages whose move is part of the commit under way: the log is not trimmed past them.
    transferring: u64,
    wants: VecDeque<BodyFetch>,
    /// Where the read under way begins.
    reading: Option<u64>,
    polls: Polls,
    /// Mappings that read it.
    readers: Vec<u64>,
    weight: SizeEstimate,
    /// When its timer rings.
    armed: Option<u64>,
    meters: QueueMeters,
}

impl Queue {
    pub(crate) fn new(
        row: QueueRow,
        source: Arc<QueueSource>,
        ids: Deduplication,
        meters: QueueMeters,
        now: &Now,
    ) -> Self {
        Self {
            machine: QueueMachine::new(row.of_core(), now),
            row,
            source,
            ids,
            id_rows: VecDeque::new(),
            next: 0,
            durable: 0,
            sends: Vec::new(),
            sends_count: 0,
            inbound: 0,
            is_deleted: false,
            gone: DeletionBitmap::default(),
            purged_below: 0,
            trimmed: 0,
            stated: BTreeSet::new(),
            kept: BTreeSet::new(),
            is_settled: false,
            transferring: 0,
            wants: VecDeque::new(),
            reading: None,
            polls: Polls::default(),
            readers: Vec::new(),
            weight: SizeEstimate::NEW,
            armed: None,
            meters,
        }
    }

    pub(crate) fn log(&self) -> ShardId {
        self.row.log
    }

    /// The number that the next message will have which is sent.
    fn unsent(&self) -> u64 {
        self.next + self.sends_count
    }
}

impl Queues {
    /// Every queue that there is, by name.
    fn live(&self) -> impl Iterator<Item = QueueId> + '_ {
        self.names.values().copied()
    }

    /// Names of the queues whose dead letters go to this one.
    pub(crate) fn buried_in<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a String> {
        let rows = self.live().map(|id| &self.entries[id].row);
        rows.filter(move |row| row.settings.dead_letter_queue.as_deref() == Some(name)).map(|row| &row.name)
    }
}

impl Queues {
    /// A queue's number by its name.
    pub(crate) fn queue_id(&self, name: &str) -> Result<QueueId, crate::base::error::EngineError> {
        self.names.get(name).copied().ok_or_else(|| {
            let known = crate::base::error::declared_are(self.names.keys().map(String::as_str));
            crate::base::error::EngineError::NotFound(format!("{NO_QUEUE} (queue {name:?}: {known})"))
        })
    }
}

impl QueueRoom<'_> {
    /// The app has stopped: whoever waits for a message is told so. Those at the loop are told by it.
    pub(crate) fn answer_open_receives(&mut self, error: &crate::base::error::EngineError) {
        for id in 0..self.queues.entries.len() {
            self.refuse_waiting(id, error);
        }
    }

    /// Answer everybody who waits for a queue with an error.
    fn refuse_waiting(&mut self, id: QueueId, error: &crate::base::error::EngineError) {
        let queue = &mut self.queues.entries[id];
        let polls = std::mem::take(&mut queue.polls).into_waiters();
        let (answers, others) = std::mem::take(&mut queue.wants).into_iter().partition(BodyFetch::is_answer);
        queue.wants = others;
        let waiters: Vec<_> = polls.chain(VecDeque::into_iter(answers).filter_map(BodyFetch::into_waiter)).collect();
        for waiter in waiters {
            self.ctx.answer(waiter, Err(error.clone()));
        }
    }
}
