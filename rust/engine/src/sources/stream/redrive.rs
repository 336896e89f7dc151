//! Redrives: records that were given up are run again by an operator's wish.
//!
//! They have the lanes of their keys for themselves: a batch in flight there ends first, and the next one waits.

use crate::failures::search::KEYS_MAX;
use crate::failures::Revived;
use crate::sources::common::check_rate;
use crate::sources::common::spacing_ns;
use crate::sources::stream::participant::StreamRedrive;
use crate::sources::stream::participant::{REDRIVES, ROOM};
use std::collections::BTreeSet;
use std::sync::Arc;

use forebay_core::stream::ShardMachine;

use crate::api::failure;
use crate::base::error::{EngineError, Reply};
use crate::base::timers::Timer;
use crate::commit::done::json;
use crate::dispatch::attempts::{self, Attempt};
use crate::failures::log::{self, decode, encode, FailureRow};
use crate::failures::search::Redriven;
use crate::payload::failure_key::{FailureKey, Part};
use crate::payload::records::Records;
use crate::sources::stream::mapping;
use crate::sources::stream::poller::{self, PollerId};
use crate::sources::stream::shards::{hash, ShardRow};
use crate::sources::stream::StreamRoom;
use crate::sources::stream::Streams;
use crate::store::chunk::Chunk;
use crate::store::port::{ShardId, StoreError, Table};

/// Most failures that the next ones of their mapping go before. Each is read again when it may run.
const HELD_MAX: usize = 16;

/// What is to be run again for one mapping.
#[derive(Default)]
pub(crate) struct Redrive {
    keys: BTreeSet<FailureKey>,
    /// Those of whose keys a handler runs past its deadline. They wait until such a one has ended, and the next ones go first.
    held: BTreeSet<FailureKey>,
    /// What waits for its lanes or runs, and what runs past its deadline and may never end.
    loans: Vec<Loan>,
    spacing_ns: u64,
    next_ns: u64,
}

/// What is run again, and whose lanes it has meanwhile.
struct Loan {
    failure: FailureKey,
    /// Until nothing is in flight in these lanes.
    attempt: Option<Attempt>,
    /// Hashes of its keys: for the shard, and for the lane.
    keys: BTreeSet<(u64, u32)>,
    /// Where these keys are now.
    lenders: Vec<PollerId>,
    is_overdue: bool,
}

impl Loan {
    /// The lanes of its keys in a shard.
    fn keys_in(&self, shard: &ShardRow) -> impl Iterator<Item = u32> + '_ {
        self.keys.range((shard.hash_low, 0)..=(shard.hash_high, u32::MAX)).map(|(_, lane)| *lane)
    }
}

impl Redrive {
    /// One is under way that may be waited for.
    fn is_busy(&self) -> bool {
        self.loans.iter().any(|loan| !loan.is_overdue)
    }
}

/// Run listed failures again, at most `rate` a second and mapping. Gives how many.
pub(crate) fn redrive(
    room: &mut StreamRoom<'_>,
    keys: Vec<FailureKey>,
    rate: Option<f64>,
) -> Result<usize, EngineError> {
    check_rate(rate)?;
    let waiting: usize = room.streams.redrives.values().map(|redrive| redrive.keys.len()).sum();
    if waiting + keys.len() > KEYS_MAX {
        return Err(EngineError::TooMany {
            message: format!("{waiting} failures wait to be run again, allowed are {KEYS_MAX}"),
            reason: "RedriveBacklog".into(),
            retry_after_ms: 1_000,
        });
    }
    let count = keys.len();
    for key in keys {
        let redrive = room.streams.redrives.entry(key.mapping).or_default();
        redrive.spacing_ns = spacing_ns(rate);
        redrive.keys.insert(key);
    }
    send_redrives(room);
    Ok(count)
}

/// All of a function's failures were looked for.
pub(crate) fn redrive_found(room: &mut StreamRoom<'_>, redriven: Redriven) -> Result<Reply, EngineError> {
    let count = if redriven.dry_run { redriven.keys.len() } else { redrive(room, redriven.keys, redriven.rate)? };
    Ok(Reply::Json(json(failure::Redriven { redriven: count, more: redriven.more })))
}

/// Start redrives that are due. One at a time for each mapping: an operator's second look never floods a handler.
pub(crate) fn send_redrives(room: &mut StreamRoom<'_>) {
    let mappings: Vec<u64> = room.streams.redrives.keys().copied().collect();
    for id in mappings {
        if let Err(error) = send_redrive(room, id) {
            return room.ctx.fail(error);
        }
    }
}

fn send_redrive(room: &mut StreamRoom<'_>, id: u64) -> Result<(), StoreError> {
    let now_ns = room.ctx.now.mono_ns;
    let may_go = |redrive: &&mut Redrive| !redrive.is_busy() && redrive.held.len() < HELD_MAX;
    let Some(redrive) = room.streams.redrives.get_mut(&id).filter(may_go) else { return Ok(()) };
    if redrive.next_ns > now_ns {
        room.ctx.timers.push(redrive.next_ns, Timer { room: ROOM, kind: REDRIVES, id: 0 });
        return Ok(());
    }
    let Some(key) = redrive.keys.pop_first() else {
        if redrive.held.is_empty() && redrive.loans.is_empty() {
            room.streams.redrives.remove(&id);
        }
        return Ok(());
    };
    let loan = borrow(room, key)?;
    let (Some(loan), Some(redrive)) = (loan, room.streams.redrives.get_mut(&id)) else {
        room.ctx.timers.push(now_ns, Timer { room: ROOM, kind: REDRIVES, id: 0 });
        return Ok(());
    };
    if redrive.loans.iter().all(|other| other.keys.is_disjoint(&loan.keys)) {
        let lenders = loan.lenders.clone();
        redrive.loans.push(loan);
        lend(room, id, lenders);
    } else {
        hold_redrive(room, id, key);
    }
    Ok(())
}

/// What it takes to hand one failure to its function again; `None` if it is gone or its records are. An event begins anew at once.
fn borrow(room: &mut StreamRoom<'_>, key: FailureKey) -> Result<Option<Loan>, StoreError> {
    let Some(bytes) = room.ctx.row(Table::Failure, &key.bytes())? else { return Ok(None) };
    let Some((row, payload)) = decode(&bytes) else { return Ok(None) };
    if row.ended.is_some() {
        redrive_event(room, key, row, payload);
        pace(room, key.mapping);
        return Ok(None);
    }
    if row.routed.is_some() {
        if row.can_be_redriven(payload) {
            log::redeliver(&mut room.failures(), key, row, payload);
        }
        pace(room, key.mapping);
        return Ok(None);
    }
    let Some(packed) = Chunk::open(0, payload.to_vec()) else { return Ok(None) };
    let Some(handler) = room.streams.mappings.get(&key.mapping).and_then(|mapping| mapping.handler) else {
        return Ok(None);
    };
    let Some(source) = mapping::source(room, key.mapping, key.shard) else { return Ok(None) };
    if row.positions.is_empty() || packed.len() != row.positions.len() {
        return Ok(None);
    }
    let mut keys = BTreeSet::new();
    let mut chunks = Vec::with_capacity(row.positions.len());
    for (at, &position) in row.positions.iter().enumerate() {
        let record = packed.record(at as u64);
        let mut chunk = Chunk::starting_at(position);
        chunk.push_traced(record.key, record.data, record.key_hash, record.arrival_ms, record.trace);
        keys.insert(hash(record.key));
        chunks.push(Arc::new(chunk));
    }
    let records = Records { source, positions: row.positions.into(), chunks: chunks.into() };
    let attempt = Some(Attempt::new(handler, StreamRedrive { key, records }, 1));
    let mut loan = Loan { failure: key, attempt, keys, lenders: Vec::new(), is_overdue: false };
    loan.lenders = lenders(room.streams, &loan);
    Ok(Some(loan))
}

/// The mapping's pollers of the shards in which these keys are. After a reshard it may be another than they came from.
fn lenders(streams: &Streams, loan: &Loan) -> Vec<PollerId> {
    let has_key = |shard: ShardId| {
        streams.shards[shard as usize].as_ref().is_some_and(|shard| loan.keys_in(&shard.row).next().is_some())
    };
    let Some(mapping) = streams.mappings.get(&loan.failure.mapping) else { return Vec::new() };
    mapping.pollers.iter().filter(|(&shard, _)| has_key(shard)).map(|(_, &id)| id).collect()
}

/// Have these pollers' machines lend what the mapping's redrives need of them now.
fn lend(room: &mut StreamRoom<'_>, mapping: u64, pollers: Vec<PollerId>) {
    // All of them first: a redrive begins once it has all its lanes.
    for &id in &pollers {
        lend_from(room, id);
    }
    for id in pollers {
        poller::pump(room, id);
    }
    run_redrive(room, mapping);
}

/// A poller is new: it may have keys of what is run again.
pub(crate) fn lend_from_new(room: &mut StreamRoom<'_>, id: PollerId) {
    let Some(poller) = room.streams.pollers[id].as_ref() else { return };
    let Some(redrive) = room.streams.redrives.get_mut(&poller.source.mapping) else { return };
    let Some(shard) = room.streams.shards[poller.shard as usize].as_ref() else { return };
    for loan in &mut redrive.loans {
        if loan.keys_in(&shard.row).next().is_some() {
            loan.lenders.push(id);
        }
    }
    lend_from(room, id);
}

fn lend_from(room: &mut StreamRoom<'_>, id: PollerId) {
    let now = room.ctx.now;
    let Some(poller) = room.streams.pollers[id].as_mut() else { return };
    let Some(redrive) = room.streams.redrives.get(&poller.source.mapping) else { return };
    let Some(shard) = room.streams.shards[poller.shard as usize].as_ref() else { return };
    poller.machine.lend(redrive.loans.iter().flat_map(|loan| loan.keys_in(&shard.row)).collect(), &now);
}

/// Run what waits for its lanes, if it has them all. If it may wait for ever, the next one goes first.
pub(crate) fn run_redrive(room: &mut StreamRoom<'_>, mapping: u64) {
    let Some(redrive) = room.streams.redrives.get_mut(&mapping) else { return };
    let Some(at) = redrive.loans.iter().position(|loan| loan.attempt.is_some()) else { return };
    let lenders = &redrive.loans[at].lenders;
    let machines = || lenders.iter().filter_map(|&id| Some(&room.streams.pollers[id].as_ref()?.machine));
    if machines().all(ShardMachine::has_lent) {
        let attempt = redrive.loans[at].attempt.take();
        pace(room, mapping);
        attempt.map(|attempt| attempts::ready(&mut room.dispatch(), attempt, false));
    } else if machines().any(ShardMachine::lends_in_vain) {
        let Loan { failure, lenders, .. } = redrive.loans.remove(at);
        hold_redrive(room, mapping, failure);
        lend(room, mapping, lenders);
    }
}

/// One has begun: the next one begins at the rate that was asked for.
fn pace(room: &mut StreamRoom<'_>, mapping: u64) {
    if let Some(redrive) = room.streams.redrives.get_mut(&mapping) {
        redrive.next_ns = room.ctx.now.mono_ns.saturating_add(redrive.spacing_ns);
    }
}

fn hold_redrive(room: &mut StreamRoom<'_>, mapping: u64, failure: FailureKey) {
    if let Some(redrive) = room.streams.redrives.get_mut(&mapping) {
        redrive.held.insert(failure);
    }
    room.ctx.timers.push(room.ctx.now.mono_ns, Timer { room: ROOM, kind: REDRIVES, id: 0 });
}

/// Run an event again as a new one; or, where it is done and only a destination does not know, tell that again.
fn redrive_event(room: &mut StreamRoom<'_>, key: FailureKey, mut row: FailureRow, payload: &[u8]) {
    let Some(ended) = &row.ended else { return };
    let is_told_only = ended.succeeded() || key.part == Part::DeadLetter;
    if let (true, Some(name)) = (is_told_only, row.undelivered_to.take()) {
        row.destination = Some(name);
        row.failed_ms = room.ctx.now.wall_ms;
        row.delivery_attempts = 0;
        log::save_failure(&mut room.failures(), key, &row, payload);
    } else {
        let (ended, trace) = (ended.clone(), row.trace.take());
        room.failures.revived.push(Revived { key, ended, trace, payload: payload.into() });
    }
}

/// A redriven failure succeeded (it is forgotten) or failed again (it stays listed with the new error).
pub(crate) fn redrive_ended(room: &mut StreamRoom<'_>, key: &FailureKey, succeeded: bool, body: Option<Vec<u8>>) {
    if succeeded {
        room.ctx.commit.pending.remove(Table::Failure, key.bytes());
    } else if let Ok(Some(bytes)) = room.ctx.row(Table::Failure, &key.bytes()) {
        if let Some((mut row, payload)) = decode(&bytes) {
            row.last_error = body.map(|text| String::from_utf8_lossy(&text).into_owned());
            room.ctx.commit.pending.set(Table::Failure, key.bytes(), encode(&row, payload));
        }
    }
    room.ctx.commit.pending.begin_lazily(room.ctx.now.mono_ns);
}

/// One has ended: its lanes go on, and then the next. A lane that is wanted again runs a batch of its own in between.
pub(crate) fn redrive_on(room: &mut StreamRoom<'_>, failure: &FailureKey) {
    let Some(redrive) = room.streams.redrives.get_mut(&failure.mapping) else { return };
    if let Some(at) = redrive.loans.iter().position(|loan| loan.failure == *failure) {
        let lenders = redrive.loans.remove(at).lenders;
        lend(room, failure.mapping, lenders);
    }
    send_redrives(room);
}

/// One is past its deadline and may never end: it keeps its lanes, and the next one goes on.
pub(crate) fn redrive_overdue(room: &mut StreamRoom<'_>, failure: &FailureKey) {
    let Some(redrive) = room.streams.redrives.get_mut(&failure.mapping) else { return };
    for loan in redrive.loans.iter_mut().filter(|loan| loan.failure == *failure) {
        loan.is_overdue = true;
    }
    send_redrives(room);
}

/// A handler that ran past its deadline has ended: what waits for its keys may run.
pub(crate) fn release_redrives(room: &mut StreamRoom<'_>, mapping: u64) {
    if let Some(redrive) = room.streams.redrives.get_mut(&mapping) {
        redrive.keys.append(&mut redrive.held);
        send_redrives(room);
    }
}
