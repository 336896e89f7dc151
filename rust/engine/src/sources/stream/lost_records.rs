//! Records that a salvage could not save: a mapping steps over them, and never without a word. They are in the log, counted, and listed as
//! failed; an operator sees where they are.

use std::collections::BTreeMap;

use forebay_core::sequence;

use crate::api::stream::LostRange;
use crate::failures::log::{LOST, RECORDS_LOST};
use crate::metrics::Metric;
use crate::sources::stream::given_up;
use crate::sources::stream::poller::{Poller, PollerId};
use crate::sources::stream::StreamRoom;
use crate::store::format::lost;
use crate::store::port::{ShardId, StoreError, Table};

/// Most ranges of lost records of one stream that are listed.
const LISTED_MAX: usize = 100;
/// Most spans that are kept. Each lane reads on from one place, so there are hardly more of them than lanes.
const SPANS_MAX: usize = 64;
/// Begins the keys, in [`Table::Meta`], of the rows about what was told: then the mapping and the log, big-endian. The value is, in
/// JSON, the checksum of what was known to be lost, and the spans.
const TOLD: &[u8] = b"told of lost ";

/// Key of the row about a mapping on a log; without a log, what the keys of all its rows begin with.
pub(crate) fn told_key(mapping: u64, shard: Option<ShardId>) -> Vec<u8> {
    let mut key = [TOLD, mapping.to_be_bytes().as_slice()].concat();
    key.extend(shard.iter().flat_map(|shard| shard.to_be_bytes()));
    key
}

/// Runs of lost records among those that are fed, `(first, end)`.
#[derive(Default)]
pub(crate) struct Runs(Vec<(u64, u64)>);

impl Runs {
    /// The next one.
    pub(crate) fn add(&mut self, position: u64) {
        match self.0.last_mut() {
            Some((_, end)) if *end == position => *end += 1,
            _ => self.0.push((position, position + 1)),
        }
    }
}

/// Where a mapping has looked for lost records, and told of those it found: spans that do not touch, the end of each by its first
/// position. It is no single place, for lanes that are far apart read by turns. What lies below all of them is forgotten.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Spans {
    ends: BTreeMap<u64, u64>,
    /// Checksum of what is known to be lost of the log, once it was asked for.
    of: Option<u32>,
}

impl Spans {
    /// The first part of a run that lies in no span.
    fn outside(&self, first: u64, end: u64) -> Option<(u64, u64)> {
        let first = self.ends.range(..=first).next_back().map_or(first, |(_, &seen)| seen.max(first));
        let end = self.ends.range(first..).next().map_or(end, |(&next, _)| next.min(end));
        (first < end).then_some((first, end))
    }

    pub(crate) fn add(&mut self, mut first: u64, mut end: u64) {
        while let Some((&other, &other_end)) = self.ends.range(..=end).next_back().filter(|(_, &seen)| seen >= first) {
            self.ends.remove(&other);
            (first, end) = (first.min(other), end.max(other_end));
        }
        if first < end {
            self.ends.insert(first, end);
        }
        // What is told twice is better than what is never told.
        while self.ends.len() > SPANS_MAX {
            self.ends.pop_first();
        }
    }

    fn forget_below(&mut self, low: u64) {
        while let Some(span) = self.ends.first_entry().filter(|span| *span.get() <= low) {
            span.remove();
        }
    }
}

/// A poller's machine was fed the records of a span, and those that are lost it lets no handler have: tell of each run of them
/// once, over restarts too.
pub(crate) fn step_over(room: &mut StreamRoom<'_>, id: PollerId, (from, to): (u64, u64), runs: Runs) {
    // Nothing was lost as far as is known: the way of every store that is whole.
    let is_whole = |poller: &Poller| poller.lost_seen.ends.is_empty();
    if runs.0.is_empty() && room.streams.pollers[id].as_ref().is_none_or(is_whole) {
        return;
    }
    let mut told = false;
    for (mut first, end) in runs.0 {
        while let Some(poller) = room.streams.pollers[id].as_ref() {
            let Some((untold, _)) = poller.lost_seen.outside(first, end) else { break };
            let found = match lost_around(room, poller.shard, untold) {
                Ok(found) => found.map_or(end, |found| found.max(end)),
                Err(error) => return room.ctx.fail(error),
            };
            let Some(poller) = room.streams.pollers[id].as_ref() else { return };
            let Some((_, until)) = poller.lost_seen.outside(untold, found) else { break };
            tell_lost(room, id, untold, until);
            (first, told) = (until, true);
        }
    }
    let Some(poller) = room.streams.pollers[id].as_mut() else { return };
    poller.lost_seen.add(from, to);
    if let Err(error) = if told { save_told(room, id) } else { Ok(()) } {
        return room.ctx.fail(error);
    }
    if let Some(poller) = room.streams.pollers[id].as_mut() {
        poller.lost_seen.forget_below(poller.machine.low());
    }
}

/// Write down what was told, in the commit that lists it.
fn save_told(room: &mut StreamRoom<'_>, id: PollerId) -> Result<(), StoreError> {
    let Some(poller) = room.streams.pollers[id].as_ref() else { return Ok(()) };
    let (mapping, shard) = (poller.source.mapping, poller.shard);
    let of = match poller.lost_seen.of {
        Some(of) => of,
        None => known_lost(room, shard)?,
    };
    let Some(poller) = room.streams.pollers[id].as_mut() else { return Ok(()) };
    poller.lost_seen.of = Some(of);
    let row = serde_json::to_vec(&(of, Vec::from_iter(&poller.lost_seen.ends))).unwrap_or_default();
    room.ctx.commit.pending.set(Table::Meta, told_key(mapping, Some(shard)), row);
    Ok(())
}

/// What a mapping was told of before, by this process or another, unless more was lost since: then all of it is told anew.
pub(crate) fn told_before(room: &mut StreamRoom<'_>, mapping: u64, shard: ShardId) -> Result<Spans, StoreError> {
    let row = room.ctx.row(Table::Meta, &told_key(mapping, Some(shard)))?;
    let read = row.and_then(|row| serde_json::from_slice::<(u32, Vec<(u64, u64)>)>(&row).ok());
    let Some((of, ends)) = read else { return Ok(Spans::default()) };
    let known = known_lost(room, shard)?;
    let ends = if of == known { ends.into_iter().collect() } else { BTreeMap::new() };
    Ok(Spans { ends, of: Some(known) })
}

/// Checksum of what salvages have noted as lost of a log.
fn known_lost(room: &mut StreamRoom<'_>, shard: ShardId) -> Result<u32, StoreError> {
    let mut crc = crc32fast::Hasher::new();
    for (first, end) in noted_lost(room, shard)? {
        crc.update(&first.to_le_bytes());
        crc.update(&end.to_le_bytes());
    }
    Ok(crc.finalize())
}

/// Where the lost records end that a salvage has noted around a position.
fn lost_around(room: &mut StreamRoom<'_>, shard: ShardId, position: u64) -> Result<Option<u64>, StoreError> {
    let key = lost::key(shard, position);
    let end = match room.ctx.commit.reader.get(Table::Meta, &key)? {
        Some(end) => lost::read(&key, &end).map(|(_, end)| end),
        // It goes on in the midst of them.
        None => {
            let mut noted = noted_lost(room, shard)?.into_iter();
            noted.find(|(first, end)| (*first..*end).contains(&position)).map(|(_, end)| end)
        }
    };
    Ok(end.map(|end| end.min(room.streams.shards[shard as usize].as_ref().map_or(end, |shard| shard.durable))))
}

fn noted_lost(room: &mut StreamRoom<'_>, shard: ShardId) -> Result<Vec<(u64, u64)>, StoreError> {
    let rows = room.ctx.commit.reader.scan(Table::Meta, &lost::prefix(shard), None, usize::MAX)?;
    Ok(rows.iter().filter_map(|(key, value)| lost::read(key, value)).collect())
}

fn tell_lost(room: &mut StreamRoom<'_>, id: PollerId, first: u64, end: u64) {
    let Some(poller) = room.streams.pollers[id].as_mut() else { return };
    poller.lost_seen.add(first, end);
    let source = poller.source.clone();
    let Some(mapping) = room.streams.mappings.get(&source.mapping) else { return };
    let name = format!("{}/{}", source.stream, mapping.row.function);
    room.ctx.registry.counter(Metric::RecordsDiscarded, &[&name, RECORDS_LOST]).add(end - first);
    given_up::list_unread(room, id, first, end, &LOST);
}

/// Where a stream has lost records, and how many: shown with the stream.
pub(crate) fn lost_of(room: &mut StreamRoom<'_>, shards: &[ShardId]) -> Result<(u64, Vec<LostRange>), StoreError> {
    let (mut records, mut ranges) = (0, Vec::new());
    for &id in shards {
        for (first, end) in noted_lost(room, id)? {
            let Some(shard) = room.streams.shards[id as usize].as_ref() else { continue };
            // What retention has dropped is nobody's loss any more.
            let first = first.max(shard.first);
            if first >= end {
                continue;
            }
            records += end - first;
            if ranges.len() < LISTED_MAX {
                ranges.push(LostRange {
                    shard_id: sequence::shard_id(shard.row.index),
                    records: end - first,
                    first_sequence_number: shard.number(first).to_string(),
                    last_sequence_number: shard.number(end - 1).to_string(),
                });
            }
        }
    }
    Ok((records, ranges))
}

#[cfg(test)]
mod tests;
