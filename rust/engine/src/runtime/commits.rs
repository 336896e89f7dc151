//! runtime/commits.rs

use crate::commit::attachment::Attachment;
use crate::commit::pending::adds;
use crate::commit::pending::Commit;
use crate::commit::pending::FULL_NS;
use crate::commit::read_jobs::Fetched;
use crate::commit::read_jobs::Read;
use crate::commit::read_jobs::ReadJob;
use crate::failures::log::FailureKey;
use crate::observe::operator_events::OperatorEvent;
use crate::runtime::rooms::Rooms;
use crate::sources::queue::SentCommit;
use crate::store::chunk::Chunk;
use crate::store::port::StoreError;
use crate::store::port::Table;
use crate::store::port::Write;
use serde_json::json;
use std::sync::Arc;

impl Rooms {
    /// The message is durable, and so is what was bound to it: rows that were to go with it are gone.
    pub(crate) fn attachment_durable(&mut self, bound: Attachment) {
        for (table, row, _) in &bound.rows {
            match table {
                Table::Event => self.events.left(row),
                Table::Failure => FailureKey::parse(row).into_iter().for_each(|key| self.failures.deliveries.left(key)),
                _ => {}
            }
        }
        if let Some(published) = bound.published {
            self.ctx.observe.history.publications.note(*published);
        }
    }
}

impl Rooms {
    /// Everything that waits, as one commit.
    pub(crate) fn take_commit(&mut self) -> Option<Commit> {
        if self.ctx.commit.pending.is_empty() {
            return None;
        }
        let mut pending = std::mem::take(&mut self.ctx.commit.pending);
        // A backlog that drains has something else for each commit: puts that waited for one go with it in the next. Never before it, for
        // they build on its rows: a function, a shard, the numbers that are given out.
        if self.ctx.commit.full && !pending.has_waited {
            self.ctx.commit.pending = pending.set_puts_apart();
        }
        let mut writes = Vec::with_capacity(pending.shards.len() + pending.rows.len() + pending.checkpoints.len());
        let mut appended = Vec::with_capacity(pending.shards.len());
        for id in pending.shards.drain(..) {
            let Some(chunk) = self.streams.shards[id as usize].as_mut().and_then(|shard| shard.pending.take()) else {
                continue;
            };
            let chunk = Arc::new(chunk);
            writes.push(Write::Append { shard: id, chunk: chunk.clone() });
            appended.push((id, chunk));
        }
        for id in pending.checkpoints.drain(..) {
            let Some(poller) = self.streams.pollers[id].as_mut() else { continue };
            let Some(checkpoint) = poller.unsaved.take() else { continue };
            let key = crate::sources::stream::mapping::checkpoint_key(poller.source.mapping, poller.shard);
            let value = serde_json::to_vec(&checkpoint).unwrap_or_default();
            pending.rows.insert((Table::Checkpoint, key), Some(value));
        }
        let mut sent = Vec::with_capacity(pending.sends.len());
        for id in std::mem::take(&mut pending.sends) {
            sent.push(self.queues().take_sends(id, &mut pending, &mut writes));
        }
        for id in std::mem::take(&mut pending.settled) {
            self.queues.take_settled(id, &mut pending);
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
        self.ctx.commit.is_committing = true;
        self.ctx.commit.committing_bytes = pending.bytes;
        self.ctx.commit.committing = Arc::new(pending.rows);
        Some(Commit {
            writes,
            appended,
            sent,
            launches: pending.launches,
            rows: self.ctx.commit.committing.clone(),
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
        self.ctx.commit.is_committing = false;
        self.ctx.commit.committing_bytes = 0;
        if result.is_err() {
            self.ctx.commit.committing = Arc::default();
        }
        self.ctx.observe.meters.commits.increment();
        self.ctx.observe.meters.commit_duration.record(took_ns as f64 / 1e9);
        match result {
            Ok(()) => self.commit_durable(commit),
            // Locked: somebody else holds the file for a moment. As on a full disk, nothing was written.
            Err(error @ (StoreError::Full(_) | StoreError::Locked(_))) => {
                self.ctx.observe.meters.refused.increment();
                self.commit_refused(commit, &error);
            }
            Err(error) => {
                self.ctx.observe.meters.failed.increment();
                let sends = commit.sent.into_iter().flat_map(SentCommit::into_waiters);
                for waiter in commit.waiters.into_iter().map(|(waiter, _)| waiter).chain(sends) {
                    self.ctx.answer(waiter, Err(error.clone().into()));
                }
                self.ctx.fail(error);
            }
        }
    }

    /// Its rows are what the store holds by now: whatever it sets free finds them in memory.
    fn commit_durable(&mut self, commit: Commit) {
        // Rows alone still go through when the disk is full.
        let had_no_room = self.ctx.commit.full;
        self.ctx.commit.full &= commit.appended.is_empty() && commit.accepted.is_empty() && commit.sent.is_empty();
        if had_no_room && !self.ctx.commit.full {
            self.ctx.notice(OperatorEvent::Disk, "", json!({"error": null}));
        }
        self.queues().release_held_slots();
        self.ctx.observe.meters.bytes.add(commit.bytes as u64);
        for (waiter, reply) in commit.waiters {
            self.ctx.answer(waiter, Ok(reply));
        }
        for (id, chunk) in commit.appended {
            if let Some(shard) = self.streams.shards[id as usize].as_mut() {
                shard.durable = chunk.end();
                shard.oldest_ms.get_or_insert(chunk.last_arrival_ms());
                if shard.pollers.is_empty() {
                    self.streams.tail_bytes -= shard.tail.drain(..).map(|chunk| chunk.body().len()).sum::<usize>();
                } else {
                    self.streams.tail_bytes += chunk.body().len();
                    self.streams.tail_order.push_back((id, chunk.first()));
                    shard.tail.push_back(chunk);
                }
            }
            self.streams().announce(id);
        }
        self.streams.shorten_tails();
        commit.published.into_iter().for_each(|one| self.ctx.observe.history.publications.note(one));
        let accepted = commit.born.into_iter().chain(commit.accepted).collect();
        self.events().events_durable(accepted);
        commit.sent.into_iter().for_each(|sent| self.queues().sends_durable(sent));
        commit.launches.into_iter().for_each(|attempt| self.queues().messages_received(attempt));
        self.queues().drop_slice();
        self.failures().deliver(commit.deliveries);
        self.conduct();
        self.ctx.commit.committing = Arc::default();
    }
}

impl Rooms {
    /// The disk is full: what was only accepted is refused, what was already promised is tried again.
    fn commit_refused(&mut self, commit: Commit, error: &StoreError) {
        // Whoever asked for something that needs no room waits for the commit after this one; unless just that was refused.
        let is_stuck = commit.appended.is_empty() && commit.accepted.is_empty() && commit.sent.is_empty();
        for (waiter, reply) in commit.waiters.into_iter().chain(std::mem::take(&mut self.ctx.commit.pending.waiters)) {
            if is_stuck || adds(&reply) {
                self.ctx.answer(waiter, Err(error.clone().into()));
            } else {
                self.ctx.commit.pending.waiters.push((waiter, reply));
            }
        }
        for (at, value) in commit.rows.iter() {
            self.ctx.commit.pending.rows.entry(at.clone()).or_insert_with(|| value.clone());
        }
        for (shard, before) in commit.trims {
            self.ctx.commit.pending.trim(shard, before);
        }
        let later = std::mem::take(&mut self.ctx.commit.pending.shards);
        for id in commit.appended.iter().map(|(id, _)| *id).chain(later) {
            self.streams().take_back(id);
        }
        (self.ctx.commit.pending.bytes, self.ctx.commit.pending.has_waited) = (0, false);
        let refused = commit.accepted.into_iter().chain(std::mem::take(&mut self.ctx.commit.pending.accepted));
        refused.for_each(|one| self.events.forget_expected(&one));
        self.ctx.commit.pending.published.clear();
        self.ctx.commit.pending.born.extend(commit.born);
        self.queues().refuse_sends(commit.sent, error);
        self.ctx.commit.pending.launches.extend(commit.launches);
        self.ctx.commit.pending.deliveries.extend(commit.deliveries);
        self.ctx.commit.pending.urgent = !self.ctx.commit.pending.waiters.is_empty();
        self.ctx.commit.pending.lazy_since = Some(self.ctx.now.mono_ns + FULL_NS);
        if !std::mem::replace(&mut self.ctx.commit.full, true) {
            self.ctx.notice(OperatorEvent::Disk, "", json!({"error": error.to_string()}));
        }
    }
}

impl Rooms {
    /// The reader has carried an order out, or a slice of it.
    pub(crate) fn fetched(&mut self, fetched: Fetched) {
        match fetched {
            Fetched::Chunks(read, Ok(chunks)) => self.read_done(read, chunks),
            Fetched::Messages(queue, from, Ok(chunks)) => self.queues().messages_read(queue, from, chunks),
            Fetched::Search(search, Ok(true)) => self.found(*search),
            Fetched::Search(search, Ok(false)) => self.ctx.commit.reads.push_back(ReadJob::Search(search)),
            Fetched::Chunks(_, Err(error)) | Fetched::Messages(_, _, Err(error)) => self.ctx.fail(error),
            Fetched::Search(search, Err(error)) => {
                if let Some(waiter) = search.waiter {
                    self.ctx.answer(waiter, Err(error.clone().into()));
                }
                self.ctx.fail(error);
            }
        }
    }
}

impl Rooms {
    fn read_done(&mut self, read: Read, chunks: Vec<Arc<Chunk>>) {
        let Some(poller) = self.streams.pollers.get_mut(read.poller).and_then(Option::as_mut) else { return };
        if poller.epoch != read.epoch {
            return;
        }
        poller.reading = false;
        for chunk in chunks {
            poller.hold(chunk);
        }
        self.streams().pump(read.poller);
    }
}
