//! `stream.*`

use std::collections::BTreeMap;
use std::sync::Arc;

use forebay_core::sequence;

use crate::api::logs::GROUP;
use crate::api::mapping::Which;
use crate::api::notes::{Annotate, Notes};
use crate::api::stream::{
    Alter, Declare, Merge, Named, Read, Record, Records, Reshard, Shard as ShardAnswer, Split, StartingPosition,
    Stream as Answer, Wait,
};
use crate::api::Empty;
use crate::base::error::{EngineError, Reply, Waiter};
use crate::base::limits::{ANSWER_BYTES_MAX, SHARDS_MAX};
use crate::commit::done::{self, Done};
use crate::observe::meters::StreamMeters;
use crate::sources::stream::shards::{even_ranges, Shard, ShardRow, Stream, StreamRow};
use crate::sources::stream::sizes::{Described, SizesFor, SizesRead};
use crate::sources::stream::StreamRoom;
use crate::sources::stream::Streams;
use crate::sources::stream::{lag, lost_records, mapping, poller};
use crate::store::format::keys::NEXT_SHARD;
use crate::store::format::FIRST_QUEUE_LOG;
use crate::store::port::{ShardId, Table};

/// Bytes of one record of an answer without its key and data, about.
const RECORD_BYTES: usize = 200;

fn check_shards(shards: u32) -> Result<(), EngineError> {
    if (1..=SHARDS_MAX).contains(&shards) {
        return Ok(());
    }
    Err(EngineError::Invalid(format!("shards is {shards}: allowed are 1 to {SHARDS_MAX}")))
}

/// Refuse shards for which there are no numbers left.
fn check_numbers(streams: &Streams, shards: u32) -> Result<(), EngineError> {
    let given = streams.shards.len() as ShardId;
    if given + shards > FIRST_QUEUE_LOG {
        return Err(EngineError::Invalid(format!(
            "shards is {shards}: this store has had {given} shards, allowed are {FIRST_QUEUE_LOG} in its life"
        )));
    }
    Ok(())
}

impl StreamRoom<'_> {
    pub(crate) fn stream_declare(&mut self, declare: Declare) -> Result<Done, EngineError> {
        check_shards(declare.shards)?;
        let known = self.streams.by_name.get(&declare.name).map(|stream| &stream.row.notes);
        if declare.only_new && known.is_some() {
            return Err(EngineError::Conflict(format!("stream {:?} exists already", declare.name)));
        }
        let notes = Annotate { name: declare.name.clone(), notes: declare.notes };
        let notes = notes.applied(known.unwrap_or(&Notes::new()))?;
        if let Some(stream) = self.streams.by_name.get_mut(&declare.name) {
            stream.row.retention_ms = declare.retention_ms;
            stream.row.retention_bytes = declare.retention_bytes;
            stream.row.notes = notes;
        } else {
            check_numbers(self.streams, declare.shards)?;
            let row = StreamRow {
                name: declare.name.clone(),
                created_ms: self.ctx.now.wall_ms,
                retention_ms: declare.retention_ms,
                retention_bytes: declare.retention_bytes,
                next_index: 0,
                notes,
            };
            let arn = self.ctx.stream_arn(&declare.name);
            let meters = StreamMeters::new(&self.ctx.registry, &declare.name);
            self.streams.by_name.insert(declare.name.clone(), Stream::new(row, arn, meters));
            for range in even_ranges(declare.shards) {
                self.add_shard(&declare.name, range, Vec::new(), 0);
            }
        }
        self.save_stream(&declare.name);
        // Without a description: each process declares its streams to an owner that is new, and the chunks of a large one are many.
        Ok(Done::when_durable(Empty {}))
    }

    /// Make a shard of a stream that is already known; the caller saves the stream.
    fn add_shard(&mut self, stream: &str, (hash_low, hash_high): (u64, u64), parents: Vec<ShardId>, start: u64) {
        let Some(entry) = self.streams.by_name.get_mut(stream) else { return };
        let row = ShardRow {
            id: self.streams.shards.len() as ShardId,
            stream: stream.to_owned(),
            index: entry.row.next_index,
            hash_low,
            hash_high,
            parents,
            start,
            closed_at: None,
        };
        entry.row.next_index += 1;
        entry.add(&row);
        self.save_shard(&row);
        self.streams.shards.push(Some(Shard::new(row, None)));
        self.ctx.commit.next_shard = self.streams.shards.len() as ShardId;
        let next = self.ctx.commit.next_shard.to_be_bytes().to_vec();
        self.ctx.commit.pending.set(Table::Meta, NEXT_SHARD.to_vec(), next);
    }

    fn save_stream(&mut self, name: &str) {
        let Some(stream) = self.streams.by_name.get(name) else { return };
        let value = serde_json::to_vec(&stream.row).unwrap_or_default();
        self.ctx.commit.pending.set(Table::Stream, name.as_bytes().to_vec(), value);
        self.ctx.commit.pending.urgent = true;
    }

    pub(crate) fn save_shard(&mut self, row: &ShardRow) {
        let value = serde_json::to_vec(row).unwrap_or_default();
        self.ctx.commit.pending.set(Table::Shard, row.id.to_be_bytes().to_vec(), value);
    }

    pub(crate) fn stream_list(&mut self, _: Empty) -> Result<Done, EngineError> {
        self.list_streams(false)
    }

    pub(crate) fn stream_list_logs(&mut self, _: Empty) -> Result<Done, EngineError> {
        self.list_streams(true)
    }

    fn list_streams(&mut self, logs: bool) -> Result<Done, EngineError> {
        let names = names(self.streams, logs);
        let streams = names.iter().filter_map(|name| self.streams.by_name.get(name));
        let shards = streams.flat_map(|stream| stream.shards.iter().copied()).collect();
        let then = SizesFor::Streams { shards, bytes: BTreeMap::new(), described: Described::All { logs } };
        Ok(Done::WhenRead(SizesRead::job(then)))
    }

    pub(crate) fn stream_describe(&mut self, named: Named) -> Result<Done, EngineError> {
        self.describe_when_read(&named.name, Described::One)
    }

    /// Describe a stream when the reader has looked through its chunks.
    fn describe_when_read(&self, name: &str, described: impl FnOnce(String) -> Described) -> Result<Done, EngineError> {
        let stream = self.streams.by_name.get(name).ok_or_else(|| self.streams.no_stream(name))?;
        let (shards, described) = (stream.shards.iter().copied().collect(), described(name.to_owned()));
        Ok(Done::WhenRead(SizesRead::job(SizesFor::Streams { shards, bytes: BTreeMap::new(), described })))
    }

    /// Describe one stream, or all.
    pub(super) fn descriptions(
        &mut self,
        described: &Described,
        bytes: &BTreeMap<ShardId, u64>,
    ) -> Result<Vec<u8>, EngineError> {
        match described {
            Described::One(name) | Described::Changed(name) => Ok(done::json(self.describe(name, true, bytes)?)),
            Described::All { logs } => {
                let list = names(self.streams, *logs).into_iter().map(|name| self.describe(&name, false, bytes));
                Ok(done::json(list.collect::<Result<Vec<_>, _>>()?))
            }
        }
    }

    /// Describe a stream, of whose shards these bytes are kept.
    pub(crate) fn describe(
        &mut self,
        name: &str,
        with_shards: bool,
        bytes: &BTreeMap<ShardId, u64>,
    ) -> Result<Answer, EngineError> {
        let stream = self.streams.by_name.get(name).ok_or_else(|| self.streams.no_stream(name))?;
        let ids = stream.shards.clone();
        let mut answer = Answer {
            name: name.into(),
            arn: stream.arn.clone(),
            retention_ms: stream.row.retention_ms,
            retention_bytes: stream.row.retention_bytes,
            created_ms: stream.row.created_ms,
            open_shards: stream.open_shards().len(),
            lost_records: 0,
            lost: Vec::new(),
            records: 0,
            bytes: 0,
            shards: with_shards.then(Vec::new),
            notes: stream.row.notes.clone(),
        };
        (answer.lost_records, answer.lost) = lost_records::lost_of(self, &ids)?;
        for id in ids {
            let bytes = bytes.get(&id).copied().unwrap_or_default();
            let Some(shard) = self.streams.shards[id as usize].as_ref() else { continue };
            let kept = shard.durable.saturating_sub(shard.first);
            answer.records += kept;
            answer.bytes += bytes;
            if let Some(shards) = &mut answer.shards {
                shards.push(describe_shard(self.streams, shard, kept, bytes));
            }
        }
        Ok(answer)
    }
}

/// The names of the logs of functions, or those of all other streams.
fn names(streams: &Streams, logs: bool) -> Vec<String> {
    streams.by_name.keys().filter(|name| name.starts_with(GROUP) == logs).cloned().collect()
}

fn describe_shard(streams: &Streams, shard: &Shard, kept: u64, bytes: u64) -> ShardAnswer {
    let parents = shard.row.parents.iter();
    let parents = parents
        .filter_map(|&parent| Some(sequence::shard_id(streams.shards[parent as usize].as_ref()?.row.index)))
        .collect();
    let number = |position: u64| (kept > 0).then(|| shard.number(position).to_string());
    ShardAnswer {
        shard_id: sequence::shard_id(shard.row.index),
        open: shard.row.closed_at.is_none(),
        parents,
        hash_low: shard.row.hash_low.to_string(),
        hash_high: shard.row.hash_high.to_string(),
        starting_sequence_number: shard.number(shard.row.start).to_string(),
        ending_sequence_number: shard.row.closed_at.map(|end| shard.number(end).to_string()),
        first_sequence_number: number(shard.first),
        last_sequence_number: number(shard.durable.saturating_sub(1)),
        records: kept,
        bytes,
    }
}

impl StreamRoom<'_> {
    pub(crate) fn stream_annotate(&mut self, asked: Annotate) -> Result<Done, EngineError> {
        let name = asked.name.clone();
        let Some(stream) = self.streams.by_name.get_mut(&name) else { return Err(self.streams.no_stream(&name)) };
        stream.row.notes = asked.applied(&stream.row.notes)?;
        self.save_stream(&name);
        self.describe_when_read(&name, Described::Changed)
    }

    pub(crate) fn stream_alter(&mut self, alter: Alter) -> Result<Done, EngineError> {
        let Some(stream) = self.streams.by_name.get_mut(&alter.name) else {
            return Err(self.streams.no_stream(&alter.name));
        };
        if let Some(retention_ms) = alter.retention_ms {
            stream.row.retention_ms = retention_ms;
        }
        if let Some(bytes) = alter.retention_bytes {
            stream.row.retention_bytes = (bytes > 0).then_some(bytes);
        }
        self.save_stream(&alter.name);
        self.ctx.sweep_at(self.ctx.now.mono_ns);
        self.describe_when_read(&alter.name, Described::Changed)
    }

    pub(crate) fn stream_delete(&mut self, named: Named) -> Result<Done, EngineError> {
        let stream = self.streams.by_name.get(&named.name).ok_or_else(|| self.streams.no_stream(&named.name))?;
        if let Some(mapping) = self.streams.mappings.values().find(|mapping| mapping.row.stream == named.name) {
            return Err(EngineError::Conflict(format!(
                "stream {:?} is read by function {:?}: delete that mapping first",
                named.name, mapping.row.function
            )));
        }
        for id in stream.shards.clone() {
            let Some(shard) = self.streams.shards[id as usize].take() else { continue };
            self.streams.tail_bytes -= shard.tail.iter().map(|chunk| chunk.body().len()).sum::<usize>();
            // Wholly: what is left of a log is looked at whenever the store is opened, and its number is never given out again.
            self.ctx.commit.pending.trim(id, u64::MAX);
            self.wake_followers(id);
            self.ctx.commit.pending.remove(Table::Shard, id.to_be_bytes().to_vec());
        }
        self.streams.by_name.remove(&named.name);
        self.ctx.registry.forget_all("stream", &named.name);
        self.ctx.commit.pending.remove(Table::Stream, named.name.as_bytes().to_vec());
        self.ctx.commit.pending.urgent = true;
        Ok(Done::when_durable(Empty {}))
    }

    /// Close every open shard and open as many new ones as are wanted; each child names the parents whose ranges it overlaps and
    /// begins above the highest of them, so that a key's sequence numbers keep growing.
    pub(crate) fn stream_reshard(&mut self, reshard: Reshard) -> Result<Done, EngineError> {
        check_shards(reshard.shards)?;
        let Some(stream) = self.streams.by_name.get(&reshard.name) else {
            return Err(self.streams.no_stream(&reshard.name));
        };
        let open: Vec<ShardId> = stream.open_shards().collect();
        if open.len() == reshard.shards as usize {
            return self.describe_when_read(&reshard.name, Described::One);
        }
        self.replace_shards(&reshard.name, open, even_ranges(reshard.shards))
    }

    /// Close an open shard and open two, which share its keys.
    pub(crate) fn stream_split(&mut self, split: Split) -> Result<Done, EngineError> {
        let (id, low, high) = self.open_shard(&split.name, &split.shard)?;
        let at = split.at.parse::<u64>().ok().filter(|at| *at > low && *at <= high).ok_or_else(|| {
            EngineError::Invalid(format!(
                "at is {:?}: the second half of {} can begin from {} to {high}",
                split.at,
                split.shard,
                u128::from(low) + 1
            ))
        })?;
        self.replace_shards(&split.name, vec![id], vec![(low, at - 1), (at, high)])
    }

    /// Close two open shards whose keys adjoin, and open one for all of them.
    pub(crate) fn stream_merge(&mut self, merge: Merge) -> Result<Done, EngineError> {
        let one = self.open_shard(&merge.name, &merge.shard)?;
        let other = self.open_shard(&merge.name, &merge.adjacent)?;
        let (first, second) = if one.1 < other.1 { (one, other) } else { (other, one) };
        if first.2.checked_add(1) != Some(second.1) {
            return Err(EngineError::Invalid(format!(
                "shards {} and {} of stream {:?} are not adjacent",
                merge.shard, merge.adjacent, merge.name
            )));
        }
        // The first parent is the one that was named first.
        self.replace_shards(&merge.name, vec![one.0, other.0], vec![(first.1, second.2)])
    }

    /// A shard that takes records, by its id: its number and the hashes of its keys.
    fn open_shard(&self, stream: &str, shard_id: &str) -> Result<(ShardId, u64, u64), EngineError> {
        let entry = self.streams.by_name.get(stream).ok_or_else(|| self.streams.no_stream(stream))?;
        let mut rows = entry.shards.iter().filter_map(|&id| Some(&self.streams.shards[id as usize].as_ref()?.row));
        let row = rows
            .find(|row| sequence::shard_id(row.index) == shard_id)
            .ok_or_else(|| EngineError::NotFound(format!("stream {stream:?} has no shard {shard_id:?}")))?;
        if row.closed_at.is_some() {
            return Err(EngineError::Invalid(format!("shard {shard_id} of stream {stream:?} is closed")));
        }
        Ok((row.id, row.hash_low, row.hash_high))
    }

    /// Close open shards and open others for the same keys.
    fn replace_shards(
        &mut self,
        name: &str,
        closing: Vec<ShardId>,
        ranges: Vec<(u64, u64)>,
    ) -> Result<Done, EngineError> {
        check_numbers(self.streams, ranges.len() as u32)?;
        let mut ends = Vec::with_capacity(closing.len());
        for id in closing {
            let Some(shard) = self.streams.shards[id as usize].as_mut() else { continue };
            shard.row.closed_at = Some(shard.next);
            let row = shard.row.clone();
            ends.push((row.hash_low, row.hash_high, id, shard.next));
            self.save_shard(&row);
            if let Some(stream) = self.streams.by_name.get_mut(name) {
                stream.close(id);
            }
            self.wake_followers(id);
        }
        for (low, high) in ranges {
            let overlapping = || ends.iter().filter(|(first, last, _, _)| *first <= high && low <= *last);
            let parents = overlapping().map(|(_, _, id, _)| *id).collect();
            let start = overlapping().map(|(_, _, _, end)| *end).max().unwrap_or(0);
            self.add_shard(name, (low, high), parents, start);
        }
        self.save_stream(name);
        self.close_for_mappings(name, &ends.iter().map(|&(_, _, id, end)| (id, end)).collect::<Vec<_>>())?;
        self.describe_when_read(name, Described::Changed)
    }

    fn close_for_mappings(&mut self, stream: &str, closed: &[(ShardId, u64)]) -> Result<(), EngineError> {
        for &(id, end) in closed {
            let pollers =
                self.streams.shards[id as usize].as_ref().map(|shard| shard.pollers.clone()).unwrap_or_default();
            for poller in pollers {
                if let Some(poller) = self.streams.pollers[poller].as_mut() {
                    poller.machine.closed(end, &self.ctx.now);
                }
                poller::pump(self, poller);
            }
        }
        let mappings: Vec<u64> = self
            .streams
            .mappings
            .iter()
            .filter(|(_, mapping)| mapping.row.stream == stream)
            .map(|(&id, _)| id)
            .collect();
        for mapping in mappings {
            mapping::bind(self, mapping)?;
        }
        Ok(())
    }

    /// Answer once a shard has a record at a cursor, or is closed.
    pub(crate) fn stream_wait(&mut self, wait: Wait, waiter: Waiter) {
        let found = self.ctx.commit.failed.clone().map_or(Ok(()), |error| Err(error.into()));
        match found.and_then(|()| self.awaited(&wait)) {
            Err(error) => self.ctx.answer(waiter, Err(error)),
            Ok(None) => self.ctx.answer(waiter, Ok(Reply::Json(b"{}".to_vec()))),
            Ok(Some(id)) => {
                if let Err((waiter, error)) = self.streams.followers.add(id, waiter) {
                    self.ctx.answer(waiter, Err(error));
                }
            }
        }
    }

    /// The shard that is to be waited for; `None`: there is nothing to wait for.
    fn awaited(&self, wait: &Wait) -> Result<Option<ShardId>, EngineError> {
        let stream = self.streams.by_name.get(&wait.name).ok_or_else(|| self.streams.no_stream(&wait.name))?;
        let at: u64 = wait
            .cursor
            .parse()
            .map_err(|_| EngineError::Invalid(format!("cursor {:?} of {} is none of ours", wait.cursor, wait.shard)))?;
        let mut shards = stream.shards.iter().filter_map(|&id| self.streams.shards[id as usize].as_ref());
        let shard = shards
            .find(|shard| sequence::shard_id(shard.row.index) == wait.shard)
            .ok_or_else(|| EngineError::NotFound(format!("stream {:?} has no shard {:?}", wait.name, wait.shard)))?;
        Ok((shard.durable <= at && shard.row.closed_at.is_none()).then_some(shard.row.id))
    }

    /// Tell those who wait for a shard that they may look again.
    pub(crate) fn wake_followers(&mut self, id: ShardId) {
        for waiter in self.streams.followers.take(id) {
            self.ctx.answer(waiter, Ok(Reply::Json(b"{}".to_vec())));
        }
    }

    /// The app has stopped: whoever waits for records is told so.
    pub(crate) fn answer_followers(&mut self, error: &EngineError) {
        for waiter in self.streams.followers.take_all() {
            self.ctx.answer(waiter, Err(error.clone()));
        }
    }

    pub(crate) fn stream_read(&mut self, read: Read) -> Result<Done, EngineError> {
        let stream = self.streams.by_name.get(&read.name).ok_or_else(|| self.streams.no_stream(&read.name))?;
        let (ids, created_ms) = (stream.shards.clone(), stream.row.created_ms);
        let (mut records, mut cursors, mut behind, mut room) = (Vec::new(), BTreeMap::new(), 0, ANSWER_BYTES_MAX);
        for id in ids {
            let Some(shard) = self.streams.shards[id as usize].as_ref() else { continue };
            let (index, durable, closed) = (shard.row.index, shard.durable, shard.row.closed_at.is_some());
            let shard_id = sequence::shard_id(index);
            if read.shard.as_ref().is_some_and(|only| *only != shard_id) {
                continue;
            }
            let mut at = match (&read.cursors, read.position) {
                (Some(cursors), _) => match cursors.get(&shard_id) {
                    Some(cursor) => cursor.parse().map_err(|_| {
                        EngineError::Invalid(format!("cursor {cursor:?} of {shard_id} is none of ours"))
                    })?,
                    None if closed => continue,
                    None => shard.first,
                },
                (None, Some(StartingPosition::Latest)) => durable,
                (None, Some(StartingPosition::AtTimestamp)) => {
                    mapping::position_at(self, id, read.timestamp_ms.unwrap_or(0))?
                }
                (None, _) => shard.first,
            };
            while at < durable && records.len() < read.limit && room > 0 {
                let chunks = self.ctx.commit.reader.chunks(id, at, 1 << 16)?;
                if chunks.is_empty() {
                    break;
                }
                for chunk in &chunks {
                    at = at.max(chunk.first());
                    while at < chunk.end() && records.len() < read.limit && room > 0 {
                        let record = chunk.record(at);
                        room = room.saturating_sub(record.data.len() / 3 * 4 + record.key.len() + RECORD_BYTES);
                        records.push(Record {
                            shard_id: shard_id.clone(),
                            sequence_number: sequence::number(index, at).to_string(),
                            partition_key: record.key.into(),
                            data: record.data.to_vec(),
                            approximate_arrival_timestamp: record.arrival_ms as f64 / 1e3,
                        });
                        at += 1;
                    }
                    // Its rest is for the next page; that of the chunks behind it as well.
                    if at < chunk.end() {
                        break;
                    }
                }
            }
            behind += durable.saturating_sub(at);
            if at < durable || !closed {
                cursors.insert(shard_id, at.to_string());
            }
        }
        Ok(Done::Typed(Arc::new(Records { records, cursors, behind, created_ms })))
    }
}

/// What is carried out in the files that tell of it.
impl StreamRoom<'_> {
    pub(crate) fn lag(&mut self, which: Which) -> Result<Done, EngineError> {
        lag::lag(self, which)
    }
}
