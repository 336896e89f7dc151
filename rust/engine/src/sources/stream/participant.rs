//! What the runtime brings streams: timers of pollers and redrives, attempts at batches, and the part of a commit that is theirs.

use crate::base::error::EngineError;
use crate::dispatch::attempt_journal::JournalSlot;
use crate::dispatch::attempts::HandlerId;
use std::any::Any;
use std::sync::Arc;

use forebay_core::sequence;
use forebay_core::stream::protocol::{BatchId, Outcome, Report, Window};
use forebay_core::stream::report::{self, Response};
use serde_json::Value;

use crate::base::ids::RoomId;
use crate::base::timers::Timer;
use crate::commit::pending::Pending;
use crate::dispatch::attempt_journal::{InFlight, InFlightKind};
use crate::dispatch::attempts::{Attempt, Task, Token};
use crate::dispatch::job::{Handed, Job};
use crate::dispatch::participant::{Ended, Participant};
use crate::dispatch::permits;
use crate::dispatch::waiters::SourceId;
use crate::observe::history::batches::{runs_of, Failed, Tried, Which};
use crate::observe::operator_events::batch_of;
use crate::payload::failure_key::FailureKey;
use crate::payload::records::Records;
use crate::sources::stream::lag::{self, ArrivalRead};
use crate::sources::stream::poller::{self, Poller, PollerId};
use crate::sources::stream::put::{self, ReadRecords};
use crate::sources::stream::sizes::SizesRead;
use crate::sources::stream::StreamRoom;
use crate::sources::stream::{mapping, recovery, redrive, retention, shards, suspects};
use crate::store::port::{StoreError, Table, Write};

/// Whose timers, and whose attempts, these are.
pub(crate) const ROOM: RoomId = RoomId(0);
/// Kinds of timers.
pub(crate) const POLLER: u8 = 0;
pub(crate) const REDRIVES: u8 = 1;

/// A batch of a stream.
pub(crate) struct StreamBatch {
    pub(crate) poller: PollerId,
    pub(crate) batch: BatchId,
    pub(crate) records: Records,
    pub(crate) lane: u8,
    pub(crate) window: Option<Window>,
    pub(crate) interruptions: u32,
}

/// Records that had been given up, run again by an operator's wish.
pub(crate) struct StreamRedrive {
    pub(crate) key: FailureKey,
    pub(crate) records: Records,
}

impl Job for StreamBatch {
    fn room(&self) -> RoomId {
        ROOM
    }

    fn source(&self) -> SourceId {
        self.records.source.mapping
    }

    fn described(&self) -> Value {
        let mut batch = batch_of(&self.records.source, &self.records.positions);
        batch["lane"] = self.lane.into();
        batch
    }
}

impl Job for StreamRedrive {
    fn room(&self) -> RoomId {
        ROOM
    }

    fn source(&self) -> SourceId {
        self.key.mapping
    }

    fn described(&self) -> Value {
        batch_of(&self.records.source, &self.records.positions)
    }

    fn is_redrive(&self) -> bool {
        true
    }
}

impl Participant for StreamRoom<'_> {
    fn restore(&mut self) -> Result<(), StoreError> {
        recovery::restore_all(self)
    }

    fn take_over(&mut self, record: &InFlight, slot: JournalSlot) -> Result<bool, StoreError> {
        let is_ours = record.kind == InFlightKind::Batch && self.streams.mappings.contains_key(&record.mapping);
        if is_ours {
            self.streams.suspects.push((*record, slot));
        }
        Ok(is_ours)
    }

    fn start(&mut self) -> Result<(), EngineError> {
        mapping::bind_mappings(self)
    }

    fn registered(&mut self, _handler: HandlerId, _is_new: bool) -> Result<(), EngineError> {
        mapping::bind_mappings(self)
    }

    fn sweep(&mut self) -> Result<(), EngineError> {
        retention::sweep_shards(self);
        Ok(())
    }

    fn sweep_finds_ms(&mut self) -> Result<Option<u64>, EngineError> {
        Ok(retention::shards_due_ms(self))
    }

    fn due(&mut self, timer: Timer) {
        match timer.kind {
            POLLER => poller::poller_due(self, timer.id as PollerId),
            _ => redrive::send_redrives(self),
        }
    }

    fn hand_out(&mut self, token: Token) -> Option<Handed> {
        let attempt = self.dispatch.attempts.get_mut(token)?;
        let as_event = self.dispatch.functions[attempt.handler].as_event;
        let (records, window, suspect) = if let Some(StreamRedrive { records, .. }) = attempt.job.get() {
            (records.clone(), None, None)
        } else {
            let batch = attempt.job.get::<StreamBatch>()?;
            if let Some(poller) = self.streams.pollers[batch.poller].as_mut() {
                self.dispatch.counted.push((token, in_flight(poller, batch, attempt)));
                if let Some(mapping) = self.streams.mappings.get(&poller.source.mapping) {
                    mapping.meters.lanes_busy.add(1.0);
                    mapping.meters.invoked.add(batch.records.positions.len() as u64);
                    mapping.meters.batch_size.record(batch.records.positions.len() as f64);
                    if let (Some(&last), Some(chunk)) = (batch.records.positions.last(), batch.records.chunks.last()) {
                        let age_ms = self.ctx.now.wall_ms.saturating_sub(chunk.meta(last).arrival_ms);
                        mapping.meters.iterator_age.record(age_ms as f64 / 1e3);
                    }
                }
            }
            (batch.records.clone(), batch.window.clone(), attempt.alone.then_some(batch.poller))
        };
        let mapping = self.streams.mappings.get(&records.source.mapping);
        let reads = mapping.is_some_and(|mapping| mapping.row.reads_response());
        let reports = mapping.is_some_and(|mapping| mapping.row.settings.report_batch_item_failures);
        if let Some(poller) = suspect {
            suspects::keep_suspects(self, poller);
        }
        Some(Handed { task: Task::Batch { records, window, as_event }, reads, reports })
    }

    fn overdue(&mut self, token: Token) {
        let Some(attempt) = self.dispatch.attempts.get_mut(token) else { return };
        if let Some(&StreamBatch { poller: id, batch, .. }) = attempt.job.get() {
            let now = self.ctx.now;
            if let Some(poller) = self.streams.pollers[id].as_mut() {
                poller.machine.overdue(batch, &now);
            }
            poller::pump(self, id);
        } else if let Some(&StreamRedrive { key, .. }) = attempt.job.get() {
            redrive::redrive_overdue(self, &key);
        }
    }

    fn settled(&mut self, attempt: Attempt, ended: Ended) {
        let Ended { status, body, duration_ns, .. } = ended;
        if let Some(StreamBatch { poller, batch, records, window, .. }) = attempt.job.get() {
            let (poller, batch, mapping) = (*poller, *batch, records.source.mapping);
            let reads = window.is_some() || reads_response(self, mapping);
            let outcome = outcome_of(status, reads, records.source.shard_index, body.as_deref());
            keep_at_hand(self, poller, status, records);
            note_batch(self, &attempt, (poller, records), (status, duration_ns), &outcome, body.as_deref());
            batch_ended(self, poller, batch, (attempt.request, status), &outcome, body);
            if attempt.timed_out {
                redrive::release_redrives(self, mapping);
            }
        } else if let Some(StreamRedrive { key, records }) = attempt.job.get() {
            // A batch of which any record failed again stays listed whole.
            let reads = reads_response(self, key.mapping);
            let outcome = outcome_of(status, reads, records.source.shard_index, body.as_deref());
            let succeeded = matches!(outcome, Outcome::Success { report: Report::AllSucceeded, .. });
            note_redrive(self, &attempt, (status, duration_ns), &outcome, body.as_deref());
            redrive::redrive_ended(self, key, succeeded, body);
            redrive::redrive_on(self, key);
            if attempt.timed_out {
                redrive::release_redrives(self, key.mapping);
            }
        }
    }

    fn has_puts(&self) -> bool {
        !self.streams.puts.is_empty()
    }

    fn has_progress(&self) -> bool {
        !self.streams.unsaved.is_empty()
    }

    fn write(&mut self, pending: &mut Pending, writes: &mut Vec<Write>, puts: bool) {
        if puts {
            for id in std::mem::take(&mut self.streams.puts) {
                let shard = self.streams.shards[id as usize].as_mut();
                let Some(chunk) = shard.and_then(|shard| shard.pending.take()).map(Arc::new) else { continue };
                writes.push(Write::Append { shard: id, chunk: chunk.clone() });
                self.streams.appended.push((id, chunk));
            }
        }
        for id in std::mem::take(&mut self.streams.unsaved) {
            let Some(poller) = self.streams.pollers[id].as_mut() else { continue };
            let Some(checkpoint) = poller.unsaved.take() else { continue };
            let key = crate::sources::stream::mapping::checkpoint_key(poller.source.mapping, poller.shard);
            pending.set(Table::Checkpoint, key, serde_json::to_vec(&checkpoint).unwrap_or_default());
        }
    }

    fn durable(&mut self) {
        for (id, chunk) in std::mem::take(&mut self.streams.appended) {
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
            poller::announce(self, id);
            self.wake_followers(id);
        }
        put::shorten_tails(self.streams);
    }

    fn refused(&mut self, _error: &StoreError) {
        let later = std::mem::take(&mut self.streams.puts);
        let appended = std::mem::take(&mut self.streams.appended);
        for id in appended.into_iter().map(|(id, _)| id).chain(later) {
            shards::take_back(self, id);
        }
    }

    fn failed(&mut self, _error: &StoreError) {
        self.streams.puts.clear();
        self.streams.unsaved.clear();
    }

    fn read_abandoned(&mut self, job: Box<dyn Any>) {
        match job.downcast::<SizesRead>() {
            Ok(mut read) => retention::sizes_abandoned(self, &mut read),
            Err(job) => lag::arrivals_abandoned(self, job),
        }
    }

    fn read_done(&mut self, job: Box<dyn Any>) {
        let job = match job.downcast::<SizesRead>() {
            Ok(read) => return retention::sizes_found(self, read),
            Err(job) => job,
        };
        let read = match job.downcast::<ArrivalRead>() {
            Ok(read) => return lag::arrivals_found(self, *read),
            Err(job) => job.downcast::<ReadRecords>(),
        };
        let Ok(read) = read else { return };
        match read.chunks.unwrap_or_else(|| Ok(Vec::new())) {
            Ok(chunks) => {
                let Some(poller) = self.streams.pollers.get_mut(read.poller).and_then(Option::as_mut) else { return };
                if poller.epoch != read.epoch {
                    return;
                }
                poller.reading = false;
                for chunk in chunks {
                    poller.hold(chunk);
                }
                poller::pump(self, read.poller);
            }
            Err(error) => self.ctx.fail(error),
        }
    }
}

/// Batches of a poller that are out of its machine and not yet handed out.
pub(crate) fn ready_of(room: &mut StreamRoom<'_>, poller: PollerId) -> Vec<(Token, BatchId)> {
    let tokens = permits::untaken(&room.dispatch());
    let batch_of = |token: Token| {
        let batch = room.dispatch.attempts.get_mut(token)?.job.get::<StreamBatch>()?;
        (batch.poller == poller).then_some((token, batch.batch))
    };
    tokens.into_iter().filter_map(batch_of).collect()
}

/// Remember an attempt at a batch of a stream, and count what failed.
fn note_batch(
    room: &mut StreamRoom<'_>,
    attempt: &Attempt,
    (poller, records): (PollerId, &Records),
    (status, took_ns): (u8, u64),
    outcome: &Outcome,
    body: Option<&[u8]>,
) {
    let (Some(&first), Some(&last)) = (records.positions.first(), records.positions.last()) else { return };
    let (Some(poller), Some(StreamBatch { lane, .. })) = (room.streams.pollers[poller].as_ref(), attempt.job.get())
    else {
        return;
    };
    if let Some(mapping) = room.streams.mappings.get(&poller.source.mapping) {
        mapping.meters.failed.add(match outcome {
            Outcome::Success { report: Report::AllSucceeded, .. } | Outcome::Interrupted => 0,
            Outcome::Success { report: Report::Failed(positions), .. } => positions.len() as u64,
            _ => records.positions.len() as u64,
        });
    }
    let tried = Tried {
        at_ms: room.ctx.now.wall_ms,
        mapping: poller.source.mapping,
        log: poller.shard,
        first,
        last,
        which: Which::Lane(*lane, poller.machine.lanes().max(1) as u32),
        about: attempt.about((status, took_ns), failed_of(outcome), body),
    };
    room.ctx.observe.history.batches.tried(tried);
}

/// Remember that a batch which had been given up was run again.
fn note_redrive(
    room: &mut StreamRoom<'_>,
    attempt: &Attempt,
    ended: (u8, u64),
    outcome: &Outcome,
    body: Option<&[u8]>,
) {
    let Some(StreamRedrive { key, records }) = attempt.job.get() else { return };
    let (Some(&first), Some(&last)) = (records.positions.first(), records.positions.last()) else { return };
    room.ctx.observe.history.batches.tried(Tried {
        at_ms: room.ctx.now.wall_ms,
        mapping: key.mapping,
        log: key.shard,
        first,
        last,
        which: Which::of(&runs_of(records.positions.iter().copied())),
        about: attempt.about(ended, failed_of(outcome), body),
    });
}

fn reads_response(room: &StreamRoom<'_>, mapping: u64) -> bool {
    room.streams.mappings.get(&mapping).is_some_and(|mapping| mapping.row.reads_response())
}

/// A batch that was not handled may be given up: retention must not have taken its records meanwhile.
fn keep_at_hand(room: &mut StreamRoom<'_>, id: PollerId, status: u8, records: &Records) {
    if let (true, Some(poller)) = (status != 0, room.streams.pollers[id].as_mut()) {
        for chunk in records.chunks.iter() {
            poller.hold(chunk.clone());
        }
    }
}

fn batch_ended(
    room: &mut StreamRoom<'_>,
    id: PollerId,
    batch: BatchId,
    (request, status): (u128, u8),
    outcome: &Outcome,
    body: Option<Vec<u8>>,
) {
    let now = room.ctx.now;
    let Some(poller) = room.streams.pollers[id].as_mut() else { return };
    poller.last_request = request;
    if let Some(mapping) = room.streams.mappings.get_mut(&poller.source.mapping) {
        mapping.meters.lanes_busy.add(-1.0);
        mapping.last_result = if status == 0 { "OK" } else { "PROBLEM: Function call failed" };
    }
    if status != 0 {
        poller.last_error = body.map(|text| String::from_utf8_lossy(&text).into());
    }
    poller.machine.completed(batch, outcome, &now);
    poller::pump(room, id);
    suspects::keep_suspects(room, id);
}

/// What must be found on file if the process dies.
fn in_flight(poller: &Poller, batch: &StreamBatch, attempt: &Attempt) -> InFlight {
    InFlight {
        kind: InFlightKind::Batch,
        mapping: poller.source.mapping,
        shard: poller.shard,
        lane: batch.lane,
        lanes: poller.machine.lanes() as u8,
        // The final invoke of a window has no records: 1 to 0, as `Suspect` wants it.
        first: batch.records.positions.first().copied().unwrap_or(1),
        last: batch.records.positions.last().copied().unwrap_or(0),
        attempt: attempt.number,
        interruptions: batch.interruptions,
        alone: attempt.alone,
    }
}

/// Which records of a batch an attempt left unhandled.
fn failed_of(outcome: &Outcome) -> Failed {
    match outcome {
        Outcome::Success { report: Report::AllSucceeded, .. } => Failed::None,
        Outcome::Success { report: Report::Failed(positions), .. } => {
            positions.iter().min().map_or(Failed::None, |first| Failed::From(*first))
        }
        _ => Failed::All,
    }
}

/// What an attempt means to the rules. `reads`: the response matters.
fn outcome_of(status: u8, reads: bool, shard_index: u32, body: Option<&[u8]>) -> Outcome {
    match status {
        0 if reads => read_response(shard_index, body),
        0 => Outcome::Success { report: Report::AllSucceeded, state: None },
        2 => Outcome::Timeout,
        3 => Outcome::NotInvoked,
        4 => Outcome::Interrupted,
        _ => Outcome::Error,
    }
}

fn read_response(shard_index: u32, body: Option<&[u8]>) -> Outcome {
    let Ok(response) = Response::read(body) else {
        return Outcome::Success { report: Report::Malformed, state: None };
    };
    let position_of = |text: &str| sequence::parse(text).filter(|(shard, _)| *shard == shard_index).map(|(_, at)| at);
    Outcome::Success { report: report::failures(&response, position_of), state: response.window_state() }
}
