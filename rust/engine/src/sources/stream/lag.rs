//! How far a mapping is behind on each shard: how many records are not done, and how old the oldest of them is.
//!
//! The oldest record that is not done is mostly in memory. Where it is not (the mapping is paused, or was never handed anything), the
//! reader looks its arrival up when somebody asks. The answer is kept until the mapping stands elsewhere.

use forebay_core::stream::status;
use std::any::Any;
use std::sync::Arc;

use crate::api::mapping::{Lag, Which};
use crate::base::error::{EngineError, Reply, Waiter};
use crate::base::ids::RoomId;
use crate::commit::done::{json, Done};
use crate::commit::read_jobs::ReadJob;
use crate::metrics::Metric;
use crate::sources::stream::mapping::Mapping;
use crate::sources::stream::participant::ROOM;
use crate::sources::stream::poller::{Poller, PollerId};
use crate::sources::stream::{StreamRoom, Streams};
use crate::store::chunk::Chunk;
use crate::store::port::{Found, Read, ShardId, StoreError};

/// Most arrivals that are looked up in one read, and for one page of metrics: the reads of pollers wait meanwhile.
const ARRIVALS_MAX: usize = 64;

fn has(which: &Which, mapping: &Mapping) -> bool {
    let wanted = |name: &Option<String>, is: &str| name.as_deref().is_none_or(|name| name == is);
    wanted(&which.stream, &mapping.row.stream) && wanted(&which.function, &mapping.row.function)
}

/// When the record at a position of a shard arrived.
#[derive(Clone, Copy)]
pub(crate) struct Arrival {
    position: u64,
    wall_ms: u64,
}

/// A look into the store for the arrivals that are not in memory.
pub(crate) struct ArrivalRead {
    wanted: Vec<(PollerId, ShardId, u64)>,
    /// For the reads after this one.
    others: Vec<(PollerId, ShardId, u64)>,
    found: Result<Vec<(PollerId, Arrival)>, StoreError>,
    /// Whose lag the waiter wants to know.
    which: Which,
    waiter: Option<Waiter>,
}

impl ReadJob for ArrivalRead {
    fn room(&self) -> RoomId {
        ROOM
    }

    fn answers(&mut self, waiter: Waiter) {
        self.waiter = Some(waiter);
    }

    fn next(&mut self) -> Option<Read> {
        let (_, shard, from) = self.wanted.last().filter(|_| self.found.is_ok())?;
        Some(Read::Chunks { shard: *shard, from: *from, bytes_max: 1 })
    }

    fn found(&mut self, found: Result<Found, StoreError>) {
        let Some((poller, _, position)) = self.wanted.pop() else { return };
        match (found.and_then(Found::chunks), &mut self.found) {
            (Ok(chunks), Ok(arrivals)) => {
                let arrival = |chunk| (poller, Arrival { position, wall_ms: arrival_in(chunk, position) });
                arrivals.extend(chunks.first().map(arrival));
            }
            (Err(error), found) => *found = Err(error),
            (Ok(_), Err(_)) => {}
        }
    }
}

/// When the record at a position arrived; the chunk's first one if retention has removed that record.
fn arrival_in(chunk: &Arc<Chunk>, position: u64) -> u64 {
    chunk.meta(position.max(chunk.first())).arrival_ms
}

/// The first position of a shard that is not done, and the one after the last durable record.
fn undone(streams: &Streams, poller: &Poller) -> (u64, u64) {
    let shard = streams.shards[poller.shard as usize].as_ref();
    shard.map_or((0, 0), |shard| (poller.machine.low().max(shard.first), shard.durable))
}

/// How many records are not done.
pub(crate) fn behind(streams: &Streams, poller: &Poller) -> u64 {
    let (position, end) = undone(streams, poller);
    end.saturating_sub(position)
}

/// When the record at this position, the oldest that is not done, arrived, if memory knows.
fn arrival_ms(streams: &Streams, poller: &Poller, position: u64) -> Option<u64> {
    let in_machine = || poller.machine.oldest().filter(|oldest| oldest.0 == position).map(|oldest| oldest.1);
    let looked_up = || poller.arrival.filter(|known| known.position == position).map(|known| known.wall_ms);
    let in_tail = || {
        let tail = &streams.shards[poller.shard as usize].as_ref()?.tail;
        let chunk = tail.get(tail.partition_point(|chunk| chunk.end() <= position))?;
        (chunk.first() <= position).then(|| arrival_in(chunk, position))
    };
    let at_hand = || poller.at_hand(position).map(|chunk| arrival_in(chunk, position));
    in_machine().or_else(looked_up).or_else(at_hand).or_else(in_tail)
}

pub(crate) fn pollers_of<'a>(
    streams: &'a Streams,
    mapping: &'a Mapping,
) -> impl Iterator<Item = (PollerId, &'a Poller)> {
    mapping.pollers.values().filter_map(|&id| Some((id, streams.pollers[id].as_ref()?)))
}

/// What the store must be asked to tell the ages of these mappings.
fn unknown_arrivals(streams: &Streams, which: &Which) -> Vec<(PollerId, ShardId, u64)> {
    let pollers =
        streams.mappings.values().filter(|mapping| has(which, mapping)).flat_map(|one| pollers_of(streams, one));
    let unknown = |(id, poller): (PollerId, &Poller)| {
        let (position, end) = undone(streams, poller);
        (position < end && arrival_ms(streams, poller, position).is_none()).then_some((id, poller.shard, position))
    };
    pollers.filter_map(unknown).collect()
}

/// Age of the oldest record that is not done; `None` where the store must be asked first.
pub(crate) fn iterator_age_ms(room: &StreamRoom<'_>, poller: &Poller) -> Option<u64> {
    let (position, end) = undone(room.streams, poller);
    if position >= end {
        return Some(0);
    }
    Some(room.ctx.now.wall_ms.saturating_sub(arrival_ms(room.streams, poller, position)?))
}

/// Bring the gauges of every shard up to date: for a page of metrics, not on the way of a record. An age that the store must be asked
/// for is on the next page.
pub(crate) fn show_lag(room: &mut StreamRoom<'_>) {
    for mapping in room.streams.mappings.values() {
        let (stream, function) = (mapping.row.stream.as_str(), mapping.row.function.as_str());
        for (_, poller) in pollers_of(room.streams, mapping) {
            let labels = [stream, poller.source.shard_id.as_str(), function];
            room.ctx.registry.gauge(Metric::ShardLag, &labels).set(behind(room.streams, poller) as f64);
            if let Some(age_ms) = iterator_age_ms(room, poller) {
                room.ctx.registry.gauge(Metric::ShardIteratorAge, &labels).set(age_ms as f64 / 1e3);
            }
        }
    }
    let which = Which::default();
    let mut wanted = unknown_arrivals(room.streams, &which);
    wanted.truncate(ARRIVALS_MAX);
    if !wanted.is_empty() && !room.streams.looks_for_arrivals && room.ctx.commit.failed.is_none() {
        room.streams.looks_for_arrivals = true;
        room.ctx.commit.reads.push_back(ArrivalRead::job(wanted, which));
    }
}

pub(crate) fn lag(room: &mut StreamRoom<'_>, which: Which) -> Result<Done, EngineError> {
    let wanted = unknown_arrivals(room.streams, &which);
    if wanted.is_empty() || room.ctx.commit.failed.is_some() {
        return Ok(Done::at_once(lag_rows(room, &which)));
    }
    Ok(Done::WhenRead(ArrivalRead::job(wanted, which)))
}

fn lag_rows(room: &StreamRoom<'_>, which: &Which) -> Vec<Lag> {
    let mappings = room.streams.mappings.values().filter(|mapping| has(which, mapping));
    let rows = mappings.flat_map(|mapping| pollers_of(room.streams, mapping).map(move |(_, poller)| (mapping, poller)));
    let row = |(mapping, poller): (&Mapping, &Poller)| Lag {
        stream: mapping.row.stream.clone(),
        function: mapping.row.function.clone(),
        shard_id: poller.source.shard_id.clone(),
        records: behind(room.streams, poller),
        iterator_age_ms: iterator_age_ms(room, poller),
        lanes_busy: poller.machine.lanes_busy(),
        lanes_waiting: status::lanes_waiting(&poller.machine),
    };
    rows.map(row).collect()
}

/// The store has told arrivals. A read that failed leaves them unknown: whoever handles these records will meet the error.
pub(crate) fn arrivals_found(room: &mut StreamRoom<'_>, read: ArrivalRead) {
    if read.waiter.is_none() {
        room.streams.looks_for_arrivals = false;
    }
    for (id, arrival) in read.found.iter().flatten() {
        if let Some(poller) = room.streams.pollers[*id].as_mut() {
            poller.arrival = Some(*arrival);
        }
    }
    if let Some(waiter) = read.waiter {
        if read.found.is_ok() && !read.others.is_empty() {
            let mut job = ArrivalRead::job(read.others, read.which);
            job.answers(waiter);
            return room.ctx.commit.reads.push_back(job);
        }
        let rows = json(lag_rows(room, &read.which));
        room.ctx.answer(waiter, read.found.map(|_| Reply::Json(rows)).map_err(EngineError::from));
    }
}

/// The app stopped before the store was asked.
pub(crate) fn arrivals_abandoned(room: &mut StreamRoom<'_>, job: Box<dyn Any>) {
    if let Some(waiter) = job.downcast::<ArrivalRead>().ok().and_then(|read| read.waiter) {
        let text = "this process closed the store before it had looked up how old the oldest records are";
        room.ctx.answer(waiter, Err(EngineError::Closed(text.into())));
    }
}

impl ArrivalRead {
    fn job(mut wanted: Vec<(PollerId, ShardId, u64)>, which: Which) -> Box<dyn ReadJob> {
        let others = wanted.split_off(ARRIVALS_MAX.min(wanted.len()));
        Box::new(Self { wanted, others, found: Ok(Vec::new()), which, waiter: None })
    }
}
