//! What waits for the next commit, and what a commit sets free. One commit takes everything that arrived while the one
//! before it was on its way to the disk.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::json;

use crate::base::error::{Answer, EngineError, Reply, Waiter};
use crate::base::trace::check_trace;
use crate::dispatch::attempts::Attempt;
use crate::failures::log::FailureKey;
use crate::observe::history::publications::Published;
use crate::observe::operator_events::OperatorEvent;
use crate::runtime::engine::UNSOLICITED;
use crate::runtime::rooms::State;
use crate::sources::invocation::Accepted;
use crate::sources::queue::{QueueId, SentCommit};
use crate::sources::stream::poller::PollerId;
use crate::sources::stream::shards::Entries;
use crate::store::chunk::Chunk;
use crate::store::damage;
use crate::store::port::{ShardId, StoreError, Table, Write};

/// How long progress alone waits for company before it is committed.
pub(crate) const LAZY_NS: u64 = 5_000_000;
/// How long the engine waits before it tries a full disk again.
const FULL_NS: u64 = 100_000_000;
/// Most bytes accepted and not yet durable; beyond, puts are refused.
const UNCOMMITTED_MAX: usize = 64 << 20;
/// Most bytes of one put: half a frame of the owner's socket.
pub(crate) const PUT_BYTES_MAX: usize = 32 << 20;
/// Most bytes of newest records kept in memory over all shards.
const TAIL_MAX: usize = 32 << 20;

/// Rows by their keys; `None`: to be removed.
pub(crate) type Rows = BTreeMap<(Table, Vec<u8>), Option<Vec<u8>>>;

/// Writes gathered for the next commit.
#[derive(Default)]
pub(crate) struct Pending {
    /// Shards with accepted records.
    pub(crate) shards: Vec<ShardId>,
    pub(crate) rows: Rows,
    trims: BTreeMap<ShardId, u64>,
    /// Queues with messages to be sent.
    pub(crate) sends: Vec<QueueId>,
    /// Queues of which messages are gone.
    pub(crate) settled: Vec<QueueId>,
    /// Attempts to be made when the commit is durable.
    pub(crate) launches: Vec<Attempt>,
    /// Pollers with unsaved progress.
    pub(crate) checkpoints: Vec<PollerId>,
    /// Callers to answer when the commit is durable.
    pub(crate) waiters: Vec<(Waiter, Reply)>,
    /// Failures to send when their rows are durable.
    pub(crate) deliveries: BTreeSet<FailureKey>,
    /// Events that somebody asked for, those that came of something else, whose rows stand in `rows`, and publications.
    pub(crate) accepted: Vec<Accepted>,
    pub(crate) born: Vec<Accepted>,
    pub(crate) published: Vec<Published>,
    /// Somebody waits: commit as soon as the writer is free.
    pub(crate) urgent: bool,
    /// When the oldest write that can wait began to wait, mono ns.
    lazy_since: Option<u64>,
    pub(crate) bytes: usize,
    /// Puts in it were set apart from the commit before, since the disk was full.
    has_waited: bool,
}

/// A commit on its way.
pub(crate) struct Commit {
    /// What the store must carry out.
    pub writes: Vec<Write>,
    appended: Vec<(ShardId, Arc<Chunk>)>,
    sent: Vec<SentCommit>,
    launches: Vec<Attempt>,
    rows: Arc<Rows>,
    trims: BTreeMap<ShardId, u64>,
    waiters: Vec<(Waiter, Reply)>,
    deliveries: BTreeSet<FailureKey>,
    accepted: Vec<Accepted>,
    born: Vec<Accepted>,
    published: Vec<Published>,
    bytes: usize,
}

impl Commit {
    /// Whether it frees room.
    pub(crate) fn trims(&self) -> bool {
        self.writes.iter().any(|write| matches!(write, Write::Trim { .. } | Write::Remove { .. }))
    }
}

impl Pending {
    /// On a full disk what frees room, and what was promised, must not fail with puts that still have no place: take the puts
    /// out, if there is anything else, for the commit after this one. Who waits for it may add nothing (a publication that nobody takes).
    fn set_puts_apart(&mut self) -> Self {
        let is_empty = self.rows.is_empty() && self.trims.is_empty();
        // Whoever waits and adds nothing is to be answered: were they tried with the puts, that would be again and again at once.
        let only_adds = self.waiters.iter().all(|(_, reply)| adds(reply));
        if is_empty && only_adds && self.checkpoints.is_empty() && self.settled.is_empty() {
            return Self::default();
        }
        let (puts, others) =
            std::mem::take(&mut self.waiters).into_iter().partition(|(_, reply): &(Waiter, Reply)| adds(reply));
        self.waiters = others;
        let (shards, accepted) = (std::mem::take(&mut self.shards), std::mem::take(&mut self.accepted));
        let (sends, published) = (std::mem::take(&mut self.sends), std::mem::take(&mut self.published));
        let urgent = !puts.is_empty() || !sends.is_empty();
        let bytes = std::mem::take(&mut self.bytes);
        Self { shards, accepted, sends, published, waiters: puts, urgent, bytes, has_waited: urgent, ..Self::default() }
    }

    pub(crate) fn set(&mut self, table: Table, key: Vec<u8>, value: Vec<u8>) {
        self.rows.insert((table, key), Some(value));
    }

    pub(crate) fn remove(&mut self, table: Table, key: Vec<u8>) {
        self.rows.insert((table, key), None);
    }

    /// Forget a change of a row: it stays as the store has it.
    pub(crate) fn cancel(&mut self, table: Table, key: Vec<u8>) {
        self.rows.remove(&(table, key));
    }

    pub(crate) fn trim(&mut self, shard: ShardId, before: u64) {
        let trim = self.trims.entry(shard).or_insert(before);
        *trim = before.max(*trim);
    }

    pub(crate) fn begin_lazily(&mut self, now_ns: u64) {
        self.lazy_since.get_or_insert(now_ns);
    }

    pub(crate) fn is_empty(&self) -> bool {
        !self.urgent && self.lazy_since.is_none()
    }

    /// When the next commit should begin, mono ns; `None`: nothing waits.
    pub(crate) fn due(&self) -> Option<u64> {
        if self.urgent {
            Some(0)
        } else {
            self.lazy_since.map(|since| since + LAZY_NS)
        }
    }
}

impl State {
    /// Refuse more while too much waits for the disk.
    pub(crate) fn check_room(&self) -> Result<(), EngineError> {
        if let Some(error) = &self.failed {
            return Err(error.clone().into());
        }
        if self.closed {
            return Err(EngineError::Closed("the app is stopped: nothing more is accepted".into()));
        }
        if self.pending.bytes + self.committing_bytes > UNCOMMITTED_MAX {
            return Err(EngineError::TooMany {
                message: format!(
                    "over {UNCOMMITTED_MAX} bytes wait for the disk: put again when earlier puts have returned"
                ),
                reason: "StoreBacklog".into(),
                retry_after_ms: 100,
            });
        }
        Ok(())
    }

    /// Accept records for a stream; the waiter is answered when they are durable.
    pub(crate) fn accept<'a>(&mut self, stream: &str, records: impl Entries<'a>, trace: Option<&str>, waiter: Waiter) {
        match self.accept_all(stream, records, trace) {
            Ok(numbers) => {
                self.pending.waiters.push((waiter, Reply::Numbers(numbers)));
                self.pending.urgent = true;
            }
            Err(error) => self.answer(waiter, Err(error)),
        }
    }

    fn accept_all<'a>(
        &mut self,
        stream: &str,
        records: impl Entries<'a>,
        trace: Option<&str>,
    ) -> Result<Vec<u64>, EngineError> {
        self.check_room()?;
        check_trace(trace)?;
        check_size(records.clone())?;
        let entry = self.streams.get(stream).ok_or_else(|| self.no_stream(stream))?;
        if entry.open_shards().len() == 0 {
            return Err(EngineError::Store(StoreError::Corrupt(format!(
                "stream {stream:?} has lost its open shards: give it new ones, with `forebay stream alter {stream} --shards N`"
            ))));
        }
        let arrival_ms = self.now.wall_ms;
        let (mut numbers, mut data_bytes) = (Vec::with_capacity(records.len()), 0);
        for (key, data) in records {
            let (hash, key_hash) = crate::sources::stream::shards::hash(key);
            let id = entry.route(hash);
            let Some(shard) = self.shards[id as usize].as_mut() else { continue };
            numbers.push(shard.number(shard.next));
            if shard.accept((key, data), key_hash, arrival_ms, trace) {
                self.pending.shards.push(id);
            }
            data_bytes += data.len();
        }
        entry.meters.records.add(numbers.len() as u64);
        entry.meters.bytes.add(data_bytes as u64);
        self.pending.bytes += data_bytes;
        Ok(numbers)
    }

    /// Everything that waits, as one commit.
    pub(crate) fn take_commit(&mut self) -> Option<Commit> {
        if self.pending.is_empty() {
            return None;
        }
        let mut pending = std::mem::take(&mut self.pending);
        // A backlog that drains has something else for each commit: puts that waited for one go with it in the next. Never before it, for
        // they build on its rows: a function, a shard, the numbers that are given out.
        if self.full && !pending.has_waited {
            self.pending = pending.set_puts_apart();
        }
        let mut writes = Vec::with_capacity(pending.shards.len() + pending.rows.len() + pending.checkpoints.len());
        let mut appended = Vec::with_capacity(pending.shards.len());
        for id in pending.shards.drain(..) {
            let Some(chunk) = self.shards[id as usize].as_mut().and_then(|shard| shard.pending.take()) else {
                continue;
            };
            let chunk = Arc::new(chunk);
            writes.push(Write::Append { shard: id, chunk: chunk.clone() });
            appended.push((id, chunk));
        }
        for id in pending.checkpoints.drain(..) {
            let Some(poller) = self.pollers[id].as_mut() else { continue };
            let Some(checkpoint) = poller.unsaved.take() else { continue };
            let key = crate::sources::stream::mapping::checkpoint_key(poller.source.mapping, poller.shard);
            let value = serde_json::to_vec(&checkpoint).unwrap_or_default();
            pending.rows.insert((Table::Checkpoint, key), Some(value));
        }
        let mut sent = Vec::with_capacity(pending.sends.len());
        for id in std::mem::take(&mut pending.sends) {
            sent.push(self.take_sends(id, &mut pending, &mut writes));
        }
        for id in std::mem::take(&mut pending.settled) {
            self.take_settled(id, &mut pending);
        }
        for ((table, key), value) in &pending.rows {
            writes.push(match value {
                Some(value) => Write::Set { table: *table, key: key.clone(), value: value.clone() },
                None => Write::Remove { table: *table, key: key.clone() },
            });
        }
        for accepted in &pending.accepted {
            let (key, value) = accepted.row();
            writes.push(Write::Add { table: Table::Event, key, value });
        }
        for (shard, before) in &pending.trims {
            writes.push(Write::Trim { shard: *shard, before: *before });
        }
        self.is_committing = true;
        self.committing_bytes = pending.bytes;
        self.committing = Arc::new(pending.rows);
        Some(Commit {
            writes,
            appended,
            sent,
            launches: pending.launches,
            rows: self.committing.clone(),
            trims: pending.trims,
            waiters: pending.waiters,
            deliveries: pending.deliveries,
            accepted: pending.accepted,
            born: pending.born,
            published: pending.published,
            bytes: pending.bytes,
        })
    }

    /// The commit ended; `took_ns` is how long it was with the store.
    pub(crate) fn committed(&mut self, commit: Commit, result: Result<(), StoreError>, took_ns: u64) {
        self.is_committing = false;
        self.committing_bytes = 0;
        if result.is_err() {
            self.committing = Arc::default();
        }
        self.meters.commits.increment();
        self.meters.commit_duration.record(took_ns as f64 / 1e9);
        match result {
            Ok(()) => self.commit_durable(commit),
            // Locked: somebody else holds the file for a moment. As on a full disk, nothing was written.
            Err(error @ (StoreError::Full(_) | StoreError::Locked(_))) => {
                self.meters.refused.increment();
                self.commit_refused(commit, &error);
            }
            Err(error) => {
                self.meters.failed.increment();
                let sends = commit.sent.into_iter().flat_map(SentCommit::into_waiters);
                for waiter in commit.waiters.into_iter().map(|(waiter, _)| waiter).chain(sends) {
                    self.answer(waiter, Err(error.clone().into()));
                }
                self.fail(error);
            }
        }
    }

    /// Its rows are what the store holds by now: whatever it sets free finds them in memory.
    fn commit_durable(&mut self, commit: Commit) {
        // Rows alone still go through when the disk is full.
        let had_no_room = self.full;
        self.full &= commit.appended.is_empty() && commit.accepted.is_empty() && commit.sent.is_empty();
        if had_no_room && !self.full {
            self.notice(OperatorEvent::Disk, "", json!({"error": null}));
        }
        self.release_held_slots();
        self.meters.bytes.add(commit.bytes as u64);
        for (waiter, reply) in commit.waiters {
            self.answer(waiter, Ok(reply));
        }
        for (id, chunk) in commit.appended {
            if let Some(shard) = self.shards[id as usize].as_mut() {
                shard.durable = chunk.end();
                shard.oldest_ms.get_or_insert(chunk.last_arrival_ms());
                if shard.pollers.is_empty() {
                    self.tail_bytes -= shard.tail.drain(..).map(|chunk| chunk.body().len()).sum::<usize>();
                } else {
                    self.tail_bytes += chunk.body().len();
                    self.tail_order.push_back((id, chunk.first()));
                    shard.tail.push_back(chunk);
                }
            }
            self.announce(id);
        }
        self.shorten_tails();
        commit.published.into_iter().for_each(|one| self.history.publications.note(one));
        let accepted = commit.born.into_iter().chain(commit.accepted).collect();
        self.events_durable(accepted);
        commit.sent.into_iter().for_each(|sent| self.sends_durable(sent));
        commit.launches.into_iter().for_each(|attempt| self.messages_received(attempt));
        self.drop_slice();
        self.deliver(commit.deliveries);
        self.committing = Arc::default();
    }

    /// Let the oldest chunks go while too many are in memory, and forget the permits of those that are gone already.
    fn shorten_tails(&mut self) {
        while let Some(&(id, first)) = self.tail_order.front() {
            let tail = self.shards[id as usize].as_mut().map(|shard| &mut shard.tail);
            let oldest = tail.filter(|tail| tail.front().is_some_and(|chunk| chunk.first() == first));
            match oldest {
                Some(_) if self.tail_bytes <= TAIL_MAX => return,
                Some(tail) => self.tail_bytes -= tail.pop_front().map_or(0, |chunk| chunk.body().len()),
                None => {}
            }
            self.tail_order.pop_front();
        }
    }

    /// The disk is full: what was only accepted is refused, what was already promised is tried again.
    fn commit_refused(&mut self, commit: Commit, error: &StoreError) {
        // Whoever asked for something that needs no room waits for the commit after this one; unless just that was refused.
        let is_stuck = commit.appended.is_empty() && commit.accepted.is_empty() && commit.sent.is_empty();
        for (waiter, reply) in commit.waiters.into_iter().chain(std::mem::take(&mut self.pending.waiters)) {
            if is_stuck || adds(&reply) {
                self.answer(waiter, Err(error.clone().into()));
            } else {
                self.pending.waiters.push((waiter, reply));
            }
        }
        for (at, value) in commit.rows.iter() {
            self.pending.rows.entry(at.clone()).or_insert_with(|| value.clone());
        }
        for (shard, before) in commit.trims {
            self.pending.trim(shard, before);
        }
        let later = std::mem::take(&mut self.pending.shards);
        for id in commit.appended.iter().map(|(id, _)| *id).chain(later) {
            self.take_back(id);
        }
        (self.pending.bytes, self.pending.has_waited) = (0, false);
        let refused = commit.accepted.into_iter().chain(std::mem::take(&mut self.pending.accepted));
        refused.for_each(|one| self.events.forget_expected(&one));
        self.pending.published.clear();
        self.pending.born.extend(commit.born);
        self.refuse_sends(commit.sent, error);
        self.pending.launches.extend(commit.launches);
        self.pending.deliveries.extend(commit.deliveries);
        self.pending.urgent = !self.pending.waiters.is_empty();
        self.pending.lazy_since = Some(self.now.mono_ns + FULL_NS);
        if !std::mem::replace(&mut self.full, true) {
            self.notice(OperatorEvent::Disk, "", json!({"error": error.to_string()}));
        }
    }

    /// The store takes no further write: acknowledge nothing more, and say so.
    pub(crate) fn fail(&mut self, error: StoreError) {
        if self.failed.is_some() {
            return;
        }
        let error = damage::advised(self.directory.as_deref(), error);
        self.draining = true;
        let waiters = std::mem::take(&mut self.pending.waiters);
        self.pending = Pending::default();
        self.fail_queues(&error);
        for (waiter, _) in waiters {
            self.answer(waiter, Err(error.clone().into()));
        }
        self.answer(Waiter::Bell(UNSOLICITED), Err(error.clone().into()));
        self.failed = Some(error);
    }

    /// Whether there is anything that is not durable yet, in the commit under way or to be written after it.
    pub(crate) fn has_unwritten(&self) -> bool {
        self.is_committing || !self.pending.is_empty()
    }

    /// Hand an answer to whoever waits for it.
    pub(crate) fn answer(&mut self, waiter: Waiter, answer: Answer) {
        match waiter {
            Waiter::Bell(ticket) => {
                self.answered.push((ticket, answer));
                self.ring = true;
            }
            Waiter::Call(call) => call(answer),
        }
    }
}

/// Whether it answers somebody who wants to add something, which a full disk refuses.
fn adds(reply: &Reply) -> bool {
    matches!(reply, Reply::Numbers(_) | Reply::Request(_) | Reply::Added(_))
}

/// Refuse a put that is too large as a whole.
fn check_size<'a>(records: impl Iterator<Item = (&'a str, &'a [u8])>) -> Result<(), EngineError> {
    let bytes: usize = records.map(|(key, data)| key.len() + data.len()).sum();
    if bytes <= PUT_BYTES_MAX {
        return Ok(());
    }
    Err(EngineError::TooLarge(format!(
        "the records of one put have {bytes} bytes together: allowed are at most {PUT_BYTES_MAX}; put them in several calls"
    )))
}

#[cfg(test)]
mod tests;
