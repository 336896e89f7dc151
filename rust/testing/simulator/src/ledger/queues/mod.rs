//! Messages of queues: where each one is, who has it, and what may become of it.
//!
//! A message is at one place: a number in the log of one queue. It leaves because a handler or a receiver is done with it, because it is
//! too old, because somebody purges the queue, or because it moves to another queue in the same commit.

mod found;
mod hands;
mod store;

use std::collections::{BTreeMap, VecDeque};

use forebay_engine::dispatch::attempts::Token;
use forebay_engine::store::port::ShardId;

use super::log::Fate;
use super::turns::Turn;
use super::{Ledger, Promise};
use crate::chance::NumberMap;
use crate::queues::QueueSettings;
use crate::queues::WorkerSettings;
use crate::shape::TOLD;

/// For how long an id is remembered.
const IDS_FOR_NS: u64 = 300_000_000_000;
/// What the wall clock, which is read in milliseconds, rounds away.
const ROUNDED_NS: u64 = 1_000_000;
/// Between the receive of a batch that waits for the disk and its handler.
const HANDED_WITHIN_NS: u64 = 500_000_000;

type Refuted = (Promise, String);

/// What is known of all queues.
#[derive(Debug, Default)]
pub(super) struct Queues {
    pub(super) messages: Vec<Message>,
    pub(super) unanswered: usize,
    by_id: NumberMap<u128, u32>,
    /// The newest message of each queue with a deduplication id.
    keys: NumberMap<(ShardId, u32), u32>,
    pub(super) logs: BTreeMap<ShardId, Log>,
    pub(super) names: BTreeMap<String, ShardId>,
    workers: Vec<Worker>,
    flights: NumberMap<Token, Flight>,
    /// Messages that the commit at hand writes elsewhere, with the place that they must leave.
    moving: Vec<(ShardId, u64)>,
    /// Counts how often somebody set the clock.
    pub(super) clock_sets: u32,
    /// When that was last.
    clock_set_ns: Option<u64>,
}

#[derive(Debug)]
pub(super) struct Message {
    id: u128,
    group: u16,
    fate: Fate,
    key: Option<u32>,
    /// It is a copy of this one.
    publication: Option<u32>,
    /// Not before it is durable, nor after it is over.
    place: Option<(ShardId, u64)>,
    sent_ns: u64,
    delay_ms: u64,
    clock_sets: u32,
    /// A commit says that it is over.
    ended: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Waiting,
    /// In a handler's batch.
    Flying(u64),
    /// Somebody has it at least until then, in the batch `by`: a receiver outside, or a handler that holds it for a time only.
    Held {
        until_ns: u64,
        /// As far as its holder was told, so that a crash leaves it.
        told_ns: u64,
        by: u64,
    },
    Done,
}

#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) message: u32,
    pub(super) group: u16,
    state: State,
    /// Receives that ended in failure: it was received more often than that.
    failures: u32,
    /// Receives as they were told last: about as many there were.
    received: u32,
    sent_ms: u64,
    gone: bool,
    /// It stands in a row of its own.
    kept: bool,
    /// Its receiver wanted it deleted, and may have been too late.
    may_go: bool,
    /// Its chain has gone through as many functions as any may: mappings receive it, and no handler is given it. Without dead letters it
    /// stays.
    pub(super) stopped: bool,
}

/// A queue's log.
#[derive(Debug)]
pub(super) struct Log {
    name: String,
    pub(super) is_fifo: bool,
    pub(super) entries: Vec<Entry>,
    pub(super) low: u64,
    /// Of a FIFO queue: messages of each group that are not known to be over, in order; and the batch that a handler has of it.
    pub(super) groups: Vec<VecDeque<u64>>,
    pub(super) busy: Vec<(u64, u32)>,
    /// Messages that are done and not gone from the store yet, and since when.
    unsaved: VecDeque<(u64, u64)>,
    /// Messages that wait for a handler or are in somebody's hands.
    left: usize,
    pub(super) purged_below: u64,
    /// An operator has messages moved.
    redrives: bool,
    visibility_ms: u64,
    /// The least of before, and until when it may still be that of a batch that waits for the disk, ns.
    visibility_before: (u64, u64),
    retention_least_ms: u64,
    /// The smallest count that could send a message to the dead letters, and the greatest in this life of the process.
    receives_least: u32,
    receives_most: u32,
    /// The oldest message that waits for its turn.
    pub(super) turn: Option<Turn>,
}

#[derive(Debug, Default)]
struct Worker {
    /// Counts how often its mapping was deleted; what an earlier one began is no concern of the next.
    mapping: u32,
    in_flight: u32,
    batch_most: u32,
    concurrency_most: u32,
    strict: bool,
}

#[derive(Debug)]
struct Flight {
    worker: usize,
    mapping: u32,
    log: ShardId,
    numbers: Vec<u64>,
    batch: u64,
    zombie: bool,
    strict: bool,
}

/// How a handler's batch ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MessagesEnd {
    /// All is done but for these, by their place in the batch.
    Done {
        /// Ascending.
        failed: Vec<usize>,
    },
    /// The whole batch failed.
    Failed,
    /// It did not reach the function, or we cut it short.
    NoAttempt,
}

/// The text of a message, `filling` bytes longer than its name.
pub fn body_of(name: u32, filling: usize) -> String {
    let mut body = format!("m{name}:");
    body.extend(std::iter::repeat_n('.', filling));
    body
}

/// The name of a message by its text.
pub fn name_of_body(body: &str) -> Option<u32> {
    body.strip_prefix('m')?.split_once(':')?.0.parse().ok()
}

/// The number of a group.
fn group_number(group: &str) -> u16 {
    group.strip_prefix('g').and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

impl Log {
    fn entry(&mut self, number: u64) -> Option<&mut Entry> {
        self.entries.get_mut(usize::try_from(number).ok()?)
    }

    fn is_used_up(&self, entry: &Entry) -> bool {
        // The last receive of what is stopped is told by nobody.
        entry.received + u32::from(entry.stopped) >= self.receives_least
    }
}

impl Ledger {
    /// A queue is about to be declared or to change.
    pub fn declares_queue(&mut self, name: &str, settings: &QueueSettings) {
        self.tell(|| format!("declares queue {name}: {settings:?}"));
        let Some(log) = self.queues.names.get(name) else { return };
        if let Some(log) = self.queues.logs.get_mut(log) {
            log.takes(settings, self.now.time_ns);
        }
    }

    /// The mapping of a worker is about to be declared or to change.
    pub fn declares_worker(&mut self, worker: usize, settings: &WorkerSettings) {
        let workers = &mut self.queues.workers;
        if workers.len() <= worker {
            workers.resize_with(worker + 1, Worker::default);
        }
        let worker = &mut workers[worker];
        worker.batch_most = worker.batch_most.max(settings.batch_size);
        worker.concurrency_most = worker.concurrency_most.max(settings.maximum_concurrency.unwrap_or(u32::MAX));
        worker.strict = settings.strict;
    }

    /// The mapping of a worker is about to be deleted.
    pub fn deletes_worker(&mut self, worker: usize) {
        if let Some(worker) = self.queues.workers.get_mut(worker) {
            (worker.mapping, worker.in_flight) = (worker.mapping + 1, 0);
        }
    }

    /// Somebody sets the wall clock: what was measured before says little.
    pub fn sets_clock(&mut self) {
        self.queues.clock_sets += 1;
        self.queues.clock_set_ns = Some(self.now.time_ns);
        for entry in self.queues.logs.values_mut().flat_map(|log| &mut log.entries) {
            if let State::Held { until_ns, told_ns, .. } = &mut entry.state {
                (*until_ns, *told_ns) = (0, 0);
            }
        }
    }

    /// A message is about to be sent; gives its name.
    pub fn sends(&mut self, group: u16, key: Option<u32>, delay_ms: u64) -> u32 {
        let queues = &mut self.queues;
        queues.unanswered += 1;
        queues.messages.push(Message {
            id: 0,
            group,
            fate: Fate::Waiting,
            key,
            publication: None,
            place: None,
            sent_ns: self.now.time_ns,
            delay_ms,
            clock_sets: queues.clock_sets,
            ended: false,
        });
        queues.messages.len() as u32 - 1
    }

    /// Messages from `first` on were accepted under these ids; `Err`: they were not, or (`true`) nobody knows.
    pub fn sent(&mut self, first: u32, count: u32, answer: Result<&[u128], bool>) {
        for (at, name) in (first..first + count).enumerate() {
            let message = &mut self.queues.messages[name as usize];
            if !matches!(message.fate, Fate::Waiting | Fate::Unknown) {
                return self.broken(Promise::DurableAck, format!("message {name} was answered twice"));
            }
            self.queues.unanswered -= usize::from(message.fate == Fate::Waiting);
            let is_there = message.place.is_some() || message.ended;
            match answer {
                Ok(ids) => self.accept(name, ids.get(at).copied()),
                Err(true) => message.fate = Fate::Unknown,
                Err(false) => {
                    self.counts.refused += 1;
                    message.fate = Fate::Refused;
                    if is_there {
                        self.broken(Promise::DurableAck, format!("message {name} was refused and is in the queue"));
                    }
                }
            }
        }
    }

    fn accept(&mut self, name: u32, id: Option<u128>) {
        self.counts.acknowledged += 1;
        let queues = &mut self.queues;
        let other = id.and_then(|id| queues.by_id.get(&id)).copied();
        let message = &queues.messages[name as usize];
        let story = match other {
            Some(other) if other == name => {
                queues.messages[name as usize].fate = Fate::Acknowledged;
                return;
            }
            Some(other) => {
                let first = &queues.messages[other as usize];
                let age_ns = message.sent_ns - first.sent_ns;
                let is_known = message.clock_sets == first.clock_sets && self.counts.crashes == 0;
                if message.key.is_some() && first.key == message.key && (age_ns <= IDS_FOR_NS + ROUNDED_NS || !is_known)
                {
                    // What it says is in the queue already: it must not be there itself.
                    queues.messages[name as usize].fate = Fate::Refused;
                    self.counts.deduplicated += 1;
                    return;
                }
                format!(
                    "message {name} was taken for message {other}, sent {age_ns} ns before: {:?}, {:?}",
                    message.key, first.key
                )
            }
            None => format!("message {name} was acknowledged as {id:?}, which the store does not hold"),
        };
        self.broken(Promise::DurableAck, story);
    }

    /// A receiver is about to have its message deleted.
    pub fn deletes_message(&mut self, log: ShardId, number: u64) {
        if let Some(entry) = self.queues.logs.get_mut(&log).and_then(|log| log.entry(number)) {
            entry.may_go = true;
        }
    }

    /// The queue has taken that up, or (`None`) refused it; `Some(true)`: it is durable.
    pub fn deleted_message(&mut self, id: ShardId, number: u64, taken: Option<bool>) {
        self.tell(|| format!("deleted {number} of log {id}: {taken:?}"));
        let now_ns = self.now.time_ns;
        let Some(log) = self.queues.logs.get_mut(&id) else { return };
        let Some(entry) = log.entry(number) else { return };
        let is_gone = entry.gone && !entry.kept;
        match taken {
            None => entry.may_go = false,
            Some(false) => {}
            Some(true) if is_gone => {}
            Some(true) => {
                let story = format!("{number} of log {id} was deleted, and the store still holds it");
                return self.broken(Promise::DurableAck, story);
            }
        }
        if taken == Some(false) && !is_gone && log.entries[number as usize].state != State::Done {
            log.is_done(number, now_ns);
        }
    }

    /// An operator is about to purge a queue.
    pub fn purges(&mut self, queue: &str) {
        self.tell(|| format!("purges {queue}"));
        if let Some(log) = self.log_of(queue) {
            log.purged_below = log.entries.len() as u64;
        }
    }

    /// An operator has the messages of a queue moved.
    pub fn moves(&mut self, queue: &str) {
        self.tell(|| format!("moves {queue}"));
        if let Some(log) = self.log_of(queue) {
            log.redrives = true;
        }
    }

    /// Whether a log is a queue's.
    pub(super) fn is_queue(&self, log: ShardId) -> bool {
        self.queues.logs.contains_key(&log)
    }

    fn log_of(&mut self, queue: &str) -> Option<&mut Log> {
        let log = self.queues.names.get(queue)?;
        self.queues.logs.get_mut(log)
    }

    /// Batches in handlers.
    pub(super) fn batches_in_hand(&self) -> usize {
        self.queues.flights.len()
    }

    /// Batches in handlers that are within their deadline.
    pub(super) fn batches_in_time(&self) -> usize {
        self.queues.flights.values().filter(|flight| !flight.zombie).count()
    }

    pub(super) fn has_messages_left(&self) -> bool {
        self.queues.logs.values().any(Log::is_behind)
    }

    /// A message that a worker should have had by now, if there is one.
    pub(super) fn message_left(&self) -> Option<String> {
        let log = self.queues.logs.values().find(|log| log.is_behind())?;
        let is_left = |entry: &&Entry| !entry.is_over() && !entry.stopped;
        let entry = log.entries.iter().find(is_left);
        Some(format!("{} messages of {}, the first is {entry:?}", log.left, log.name))
    }

    /// Whether a queue without dead letters keeps messages whose chain was stopped: it gives them back again and again.
    pub fn keeps_stopped(&self) -> bool {
        let mut entries = self.queues.logs.values().flat_map(|log| &log.entries);
        entries.any(|entry| entry.stopped && !entry.is_over())
    }
}

impl Log {
    /// The least time for which a batch that is handed out now was received.
    fn visibility_least(&self, now_ns: u64) -> u64 {
        let (before_ms, until_ns) = self.visibility_before;
        if now_ns < until_ns {
            self.visibility_ms.min(before_ms)
        } else {
            self.visibility_ms
        }
    }

    /// Whether there is something for its worker, if it has one.
    fn is_behind(&self) -> bool {
        self.left > 0 && !self.name.contains("-dead") && self.name != TOLD
    }

    fn takes(&mut self, settings: &QueueSettings, now_ns: u64) {
        if settings.visibility_ms != self.visibility_ms {
            self.visibility_before = (self.visibility_least(now_ns), now_ns + HANDED_WITHIN_NS);
            self.visibility_ms = settings.visibility_ms;
        }
        self.retention_least_ms = self.retention_least_ms.min(settings.retention_ms);
        let receives = if settings.dead_letters { settings.receives_max } else { u32::MAX };
        self.receives_least = self.receives_least.min(receives);
        self.receives_most = self.receives_most.max(receives);
    }

    fn is_done(&mut self, number: u64, now_ns: u64) {
        let entry = &mut self.entries[number as usize];
        entry.state = State::Done;
        if !entry.gone || entry.kept {
            self.left -= usize::from(!entry.stopped);
            self.unsaved.push_back((number, now_ns));
        }
    }
}

impl Entry {
    /// Whether it is nobody's concern any more.
    pub(super) fn is_over(&self) -> bool {
        self.state == State::Done || (self.gone && !self.kept)
    }

    /// Whether it was never received, and could be.
    pub(super) fn is_untried(&self) -> bool {
        self.state == State::Waiting && self.received == 0 && !self.may_go
    }
}

impl Message {
    /// Whether its delay is over for certain.
    pub(super) fn is_due(&self, now_ns: u64, clock_sets: u32) -> bool {
        now_ns > self.sent_ns + self.delay_ms * 1_000_000 && self.clock_sets == clock_sets
    }

    /// Whether retention may have taken it.
    fn is_old(&self, sent_ms: u64, least_ms: u64, now: super::Moment, clock_sets: u32) -> bool {
        let age_ms = (now.time_ns - self.sent_ns).div_ceil(1_000_000);
        age_ms >= least_ms || now.wall_ms.saturating_sub(sent_ms) >= least_ms || self.clock_sets != clock_sets
    }
}
