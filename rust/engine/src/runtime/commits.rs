//! Commits: everything that waits is taken as one, each room adds its part, and is told what became of it.

use std::any::Any;
use std::sync::Arc;

use serde_json::json;

use crate::commit::attachment::Attachment;
use crate::commit::pending::{adds, Commit, FULL_NS};
use crate::commit::read_jobs::ReadJob;
use crate::observe::operator_events::OperatorEvent;
use crate::payload::failure_key::FailureKey;
use crate::runtime::rooms::Rooms;
use crate::runtime::under_way::{End, TAKEN};
use crate::store::port::{StoreError, Table, Write};

/// For how long a commit is tried before the operator is told why it does not get through, and how often the operator is told, ns.
const TOLD_AFTER_NS: u64 = 10_000_000_000;
const TOLD_EVERY_NS: u64 = 60_000_000_000;

impl Rooms {
    /// Everything that waits, as one commit.
    pub(crate) fn take_commit(&mut self) -> Option<Commit> {
        if self.ctx.commit.pending.is_empty() {
            return None;
        }
        let mut pending = std::mem::take(&mut self.ctx.commit.pending);
        // A backlog that drains has something else for each commit: puts that waited for one go with it in the next. Never before it, for
        // they build on its rows: a function, a shard, the numbers that are given out.
        let mut with_puts = true;
        let is_apart = self.ctx.commit.refused.is_some() && !pending.has_waited;
        if is_apart && (pending.has_more_than_puts() || self.any_participant(|one| one.has_progress())) {
            with_puts = false;
            let mut apart = pending.set_puts_apart();
            apart.urgent = !apart.waiters.is_empty() || self.any_participant(|one| one.has_puts());
            apart.has_waited = apart.urgent;
            self.ctx.commit.pending = apart;
        }
        let has_puts = with_puts && self.any_participant(|one| one.has_puts());
        let mut writes = Vec::with_capacity(pending.rows.len());
        self.each_participant(|one| one.write(&mut pending, &mut writes, with_puts));
        for ((table, key), value) in &pending.rows {
            writes.push(match value {
                Some(value) => Write::Set { table: *table, key: key.clone(), value: value.clone() },
                None => Write::Remove { table: *table, key: key.clone() },
            });
        }
        for (shard, before) in &pending.trims {
            writes.push(Write::Trim { shard: *shard, before: *before });
        }
        self.ctx.commit.reader.changes(&writes);
        self.ctx.commit.is_committing = true;
        self.ctx.commit.committing_bytes = pending.bytes;
        self.ctx.commit.committing = Arc::new(pending.rows);
        Some(Commit {
            writes,
            unwritten: pending.unwritten,
            rows: self.ctx.commit.committing.clone(),
            trims: pending.trims,
            waiters: pending.waiters,
            born: pending.born,
            published: pending.published,
            bytes: pending.bytes,
            has_puts,
        })
    }

    /// The commit ended; `took_ns` is how long it was with the store.
    pub(crate) fn committed(&mut self, commit: Commit, end: End, took_ns: u64) {
        self.ctx.commit.is_committing = false;
        self.ctx.commit.committing_bytes = 0;
        // What waited for the store to be reached goes on.
        self.ctx.ring |= self.ctx.commit.unavailable.take().is_some();
        self.ctx.commit.delayed = None;
        self.ctx.observe.meters.commits.increment();
        self.ctx.observe.meters.commit_duration.record(took_ns as f64 / 1e9);
        match end {
            End::Durable { token, positions } if is_as_written(&commit.writes, &positions) => {
                self.ctx.commit.token = token;
                self.commit_durable(commit);
            }
            End::Durable { .. } => {
                let error = "it gave records other positions than those they were put with";
                let error = StoreError::Failed(error.into());
                self.commit_failed(commit, &error.clone(), error);
            }
            End::Refused(error) => {
                self.ctx.observe.meters.refused.increment();
                self.commit_refused(commit, &error);
            }
            End::Fenced(error) => self.commit_failed(commit, &error, StoreError::Lost(TAKEN.into())),
            End::Again(error) | End::Failed(error) => self.commit_failed(commit, &error.clone(), error),
        }
        self.conduct();
    }

    /// The commit is tried again: the store cannot be reached, or has not said whether it wrote it. Nothing is handed out meanwhile,
    /// and puts wait. `took_ns` is for how long it has been tried: the store may take long to refuse it.
    pub(crate) fn commit_delayed(&mut self, error: StoreError, took_ns: u64) {
        let now_ns = self.ctx.now.mono_ns;
        let begun_ns = now_ns.saturating_sub(took_ns);
        let (since, tells_at) = self.ctx.commit.delayed.unwrap_or((begun_ns, begun_ns + TOLD_AFTER_NS));
        let is_told = now_ns >= tells_at;
        self.ctx.commit.delayed = Some((since, if is_told { now_ns + TOLD_EVERY_NS } else { tells_at }));
        if is_told {
            let seconds = (now_ns - since) / 1_000_000_000;
            let text = format!("no commit has got through for {seconds} s, and puts and handlers wait for it: {error}");
            self.ctx.notice(OperatorEvent::Store, "commits", json!({"text": text}));
        }
        self.ctx.commit.unavailable = Some(error);
    }

    /// `told` is for those who wait for it, and `error` for whoever asks later.
    fn commit_failed(&mut self, commit: Commit, told: &StoreError, error: StoreError) {
        self.ctx.commit.committing = Arc::default();
        self.ctx.observe.meters.failed.increment();
        for (waiter, _) in commit.waiters {
            self.ctx.answer(waiter, Err(told.clone().into()));
        }
        self.ctx.fail(error);
    }

    /// Its rows are what the store holds by now: whatever it sets free finds them in memory.
    fn commit_durable(&mut self, commit: Commit) {
        // Rows alone still go through when the disk is full.
        if commit.has_puts && self.ctx.commit.refused.take().is_some() {
            self.ctx.notice(OperatorEvent::Disk, "", json!({"error": null}));
        }
        self.ctx.observe.meters.bytes.add(commit.bytes as u64);
        for (waiter, reply) in commit.waiters {
            self.ctx.answer(waiter, Ok(reply));
        }
        commit.published.into_iter().for_each(|one| self.ctx.observe.history.publications.note(one));
        self.events.born = commit.born;
        self.each_participant(|one| one.durable());
        self.conduct();
        self.ctx.commit.committing = Arc::default();
    }

    /// The disk is full: what was only accepted is refused, what was already promised is tried again.
    fn commit_refused(&mut self, commit: Commit, error: &StoreError) {
        self.ctx.commit.committing = Arc::default();
        // Whoever asked for something that needs no room waits for the commit after this one; unless just that was refused.
        let is_stuck = !commit.has_puts;
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
        (self.ctx.commit.pending.bytes, self.ctx.commit.pending.has_waited) = (0, false);
        self.ctx.commit.pending.published.clear();
        self.ctx.commit.pending.born.extend(commit.born);
        self.each_participant(|one| one.refused(error));
        self.ctx.commit.pending.urgent = !self.ctx.commit.pending.waiters.is_empty();
        self.ctx.commit.pending.lazy_since = Some(self.ctx.now.mono_ns + FULL_NS);
        if self.ctx.commit.refused.replace(error.clone()).is_none() {
            self.ctx.notice(OperatorEvent::Disk, "", json!({"error": error.to_string()}));
        }
    }

    /// The message is durable, and so is what was attached to it: rows that were to go with it are gone.
    pub(crate) fn attachment_durable(&mut self, attachment: Attachment) {
        for (table, row, _) in &attachment.rows {
            match table {
                Table::Event => self.events.left(row),
                Table::Failure => FailureKey::parse(row).into_iter().for_each(|key| self.failures.deliveries.left(key)),
                _ => {}
            }
        }
        if let Some(published) = attachment.published {
            self.ctx.observe.history.publications.note(*published);
        }
    }

    /// The reader has made a read, or a slice of it.
    pub(crate) fn fetched(&mut self, job: Box<dyn ReadJob>) {
        let room = job.room();
        let job: Box<dyn Any> = job;
        self.participant(room, |one| one.read_done(job));
        self.conduct();
    }

    /// Answer who waits for what the reader will not get to any more.
    pub(crate) fn abandon_reads(&mut self) {
        for job in std::mem::take(&mut self.ctx.commit.reads) {
            let room = job.room();
            let job: Box<dyn Any> = job;
            self.participant(room, |one| one.read_abandoned(job));
        }
    }
}

/// Whether records have the positions that were chosen for them, which their callers are told. They have if no other process appends to
/// the logs.
fn is_as_written(writes: &[Write], positions: &[u64]) -> bool {
    let written = writes.iter().filter_map(|write| match write {
        Write::Append { chunk, .. } => Some(chunk.first()),
        _ => None,
    });
    written.eq(positions.iter().copied())
}
