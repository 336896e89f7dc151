//! Commits: everything that waits is taken as one, each room adds its part, and is told what became of it.

use std::any::Any;
use std::sync::Arc;

use serde_json::json;

use crate::commit::attachment::Attachment;
use crate::commit::pending::{adds, Commit, FULL_NS};
use crate::commit::read_jobs::ReadJob;
use crate::observe::operator_events::OperatorEvent;
use crate::payload::failure_key::FailureKey;
use crate::runtime::participants;
use crate::runtime::rooms::Rooms;
use crate::runtime::under_way::{End, TAKEN};
use crate::store::port::{StoreError, Table, Write};

/// For how long a commit is tried before the operator is told why it does not get through, and how often the operator is told, ns.
const TOLD_AFTER_NS: u64 = 10_000_000_000;
const TOLD_EVERY_NS: u64 = 60_000_000_000;

/// Everything that waits, as one commit.
pub(crate) fn take_commit(rooms: &mut Rooms) -> Option<Commit> {
    if rooms.ctx.commit.pending.is_empty() {
        return None;
    }
    let mut pending = std::mem::take(&mut rooms.ctx.commit.pending);
    // A backlog that drains has something else for each commit: puts that waited for one go with it in the next. Never before it, for
    // they build on its rows: a function, a shard, the numbers that are given out.
    let mut with_puts = true;
    let is_apart = rooms.ctx.commit.refused.is_some() && !pending.has_waited;
    if is_apart && (pending.has_more_than_puts() || rooms.any_participant(|one| one.has_progress())) {
        with_puts = false;
        let mut apart = pending.set_puts_apart();
        apart.urgent = !apart.waiters.is_empty() || rooms.any_participant(|one| one.has_puts());
        apart.has_waited = apart.urgent;
        rooms.ctx.commit.pending = apart;
    }
    let has_puts = with_puts && rooms.any_participant(|one| one.has_puts());
    let mut writes = Vec::with_capacity(pending.rows.len());
    participants::each_participant(rooms, |one| one.write(&mut pending, &mut writes, with_puts));
    for ((table, key), value) in &pending.rows {
        writes.push(match value {
            Some(value) => Write::Set { table: *table, key: key.clone(), value: value.clone() },
            None => Write::Remove { table: *table, key: key.clone() },
        });
    }
    for (shard, before) in &pending.trims {
        writes.push(Write::Trim { shard: *shard, before: *before });
    }
    rooms.ctx.commit.reader.changes(&writes);
    rooms.ctx.commit.is_committing = true;
    rooms.ctx.commit.committing_bytes = pending.bytes;
    rooms.ctx.commit.committing = Arc::new(pending.rows);
    Some(Commit {
        writes,
        unwritten: pending.unwritten,
        rows: rooms.ctx.commit.committing.clone(),
        trims: pending.trims,
        waiters: pending.waiters,
        born: pending.born,
        published: pending.published,
        bytes: pending.bytes,
        has_puts,
    })
}

/// The commit ended; `took_ns` is how long it was with the store.
pub(crate) fn committed(rooms: &mut Rooms, commit: Commit, end: End, took_ns: u64) {
    rooms.ctx.commit.is_committing = false;
    rooms.ctx.commit.committing_bytes = 0;
    // What waited for the store to be reached goes on.
    rooms.ctx.ring |= rooms.ctx.commit.unavailable.take().is_some();
    rooms.ctx.commit.delayed = None;
    rooms.ctx.observe.meters.commits.increment();
    rooms.ctx.observe.meters.commit_duration.record(took_ns as f64 / 1e9);
    match end {
        End::Durable { token, positions } if is_as_written(&commit.writes, &positions) => {
            rooms.ctx.commit.token = token;
            commit_durable(rooms, commit);
        }
        End::Durable { .. } => {
            let error = "it gave records other positions than those they were put with";
            let error = StoreError::Failed(error.into());
            commit_failed(rooms, commit, &error.clone(), error);
        }
        End::Refused(error) => {
            rooms.ctx.observe.meters.refused.increment();
            commit_refused(rooms, commit, &error);
        }
        End::Fenced(error) => commit_failed(rooms, commit, &error, StoreError::Lost(TAKEN.into())),
        End::Again(error) | End::Failed(error) => commit_failed(rooms, commit, &error.clone(), error),
    }
    rooms.conduct();
}

/// The commit is tried again: the store cannot be reached, or has not said whether it wrote it. Nothing is handed out meanwhile,
/// and puts wait. `took_ns` is for how long it has been tried: the store may take long to refuse it.
pub(crate) fn commit_delayed(rooms: &mut Rooms, error: StoreError, took_ns: u64) {
    let now_ns = rooms.ctx.now.mono_ns;
    let begun_ns = now_ns.saturating_sub(took_ns);
    let (since, tells_at) = rooms.ctx.commit.delayed.unwrap_or((begun_ns, begun_ns + TOLD_AFTER_NS));
    let is_told = now_ns >= tells_at;
    rooms.ctx.commit.delayed = Some((since, if is_told { now_ns + TOLD_EVERY_NS } else { tells_at }));
    if is_told {
        let seconds = (now_ns - since) / 1_000_000_000;
        let text = format!("no commit has got through for {seconds} s, and puts and handlers wait for it: {error}");
        rooms.ctx.notice(OperatorEvent::Store, "commits", json!({"text": text}));
    }
    rooms.ctx.commit.unavailable = Some(error);
}

/// `told` is for those who wait for it, and `error` for whoever asks later.
fn commit_failed(rooms: &mut Rooms, commit: Commit, told: &StoreError, error: StoreError) {
    rooms.ctx.commit.committing = Arc::default();
    rooms.ctx.observe.meters.failed.increment();
    for (waiter, _) in commit.waiters {
        rooms.ctx.answer(waiter, Err(told.clone().into()));
    }
    rooms.ctx.fail(error);
}

/// Its rows are what the store holds by now: whatever it sets free finds them in memory.
fn commit_durable(rooms: &mut Rooms, commit: Commit) {
    // Rows alone still go through when the disk is full.
    if commit.has_puts && rooms.ctx.commit.refused.take().is_some() {
        rooms.ctx.notice(OperatorEvent::Disk, "", json!({"error": null}));
    }
    rooms.ctx.observe.meters.bytes.add(commit.bytes as u64);
    for (waiter, reply) in commit.waiters {
        rooms.ctx.answer(waiter, Ok(reply));
    }
    commit.published.into_iter().for_each(|one| rooms.ctx.observe.history.publications.note(one));
    rooms.events.born = commit.born;
    participants::each_participant(rooms, |one| one.durable());
    rooms.conduct();
    rooms.ctx.commit.committing = Arc::default();
}

/// The disk is full: what was only accepted is refused, what was already promised is tried again.
fn commit_refused(rooms: &mut Rooms, commit: Commit, error: &StoreError) {
    rooms.ctx.commit.committing = Arc::default();
    // Whoever asked for something that needs no room waits for the commit after this one; unless just that was refused.
    let is_stuck = !commit.has_puts;
    for (waiter, reply) in commit.waiters.into_iter().chain(std::mem::take(&mut rooms.ctx.commit.pending.waiters)) {
        if is_stuck || adds(&reply) {
            rooms.ctx.answer(waiter, Err(error.clone().into()));
        } else {
            rooms.ctx.commit.pending.waiters.push((waiter, reply));
        }
    }
    for (at, value) in commit.rows.iter() {
        rooms.ctx.commit.pending.rows.entry(at.clone()).or_insert_with(|| value.clone());
    }
    for (shard, before) in commit.trims {
        rooms.ctx.commit.pending.trim(shard, before);
    }
    (rooms.ctx.commit.pending.bytes, rooms.ctx.commit.pending.has_waited) = (0, false);
    rooms.ctx.commit.pending.published.clear();
    rooms.ctx.commit.pending.born.extend(commit.born);
    participants::each_participant(rooms, |one| one.refused(error));
    rooms.ctx.commit.pending.urgent = !rooms.ctx.commit.pending.waiters.is_empty();
    rooms.ctx.commit.pending.lazy_since = Some(rooms.ctx.now.mono_ns + FULL_NS);
    if rooms.ctx.commit.refused.replace(error.clone()).is_none() {
        rooms.ctx.notice(OperatorEvent::Disk, "", json!({"error": error.to_string()}));
    }
}

/// The message is durable, and so is what was attached to it: rows that were to go with it are gone.
pub(crate) fn attachment_durable(rooms: &mut Rooms, attachment: Attachment) {
    for (table, row, _) in &attachment.rows {
        match table {
            Table::Event => rooms.events.left(row),
            Table::Failure => FailureKey::parse(row).into_iter().for_each(|key| rooms.failures.deliveries.left(key)),
            _ => {}
        }
    }
    if let Some(published) = attachment.published {
        rooms.ctx.observe.history.publications.note(*published);
    }
}

/// The reader has made a read, or a slice of it.
pub(crate) fn fetched(rooms: &mut Rooms, job: Box<dyn ReadJob>) {
    let room = job.room();
    let job: Box<dyn Any> = job;
    rooms.participant(room, |one| one.read_done(job));
    rooms.conduct();
}

/// Answer who waits for what the reader will not get to any more.
pub(crate) fn abandon_reads(rooms: &mut Rooms) {
    for job in std::mem::take(&mut rooms.ctx.commit.reads) {
        let room = job.room();
        let job: Box<dyn Any> = job;
        rooms.participant(room, |one| one.read_abandoned(job));
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
