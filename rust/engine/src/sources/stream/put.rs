//! Putting records, and reading those that are not in memory.

use crate::base::error::EngineError;
use crate::base::error::Reply;
use crate::base::error::Waiter;
use crate::base::ids::RoomId;
use crate::base::trace::check_trace;
use crate::commit::pending::check_size;
use crate::commit::read_jobs::ReadJob;
use crate::sources::stream::participant::ROOM;
use crate::sources::stream::poller::PollerId;
use crate::sources::stream::shards::Entries;
use crate::sources::stream::StreamRoom;
use crate::sources::stream::Streams;
use crate::store::chunk::Chunk;
use crate::store::port::{Found, Read, ShardId, StoreError};
use std::sync::Arc;

/// Most bytes of newest records kept in memory over all shards.
const TAIL_MAX: usize = 32 << 20;

/// A read of records that are not in memory.
pub(crate) struct ReadRecords {
    pub(crate) poller: PollerId,
    pub(crate) epoch: u32,
    pub(crate) shard: ShardId,
    pub(crate) from: u64,
    pub(crate) bytes: usize,
    /// What it brought.
    pub(crate) chunks: Option<Result<Vec<Arc<Chunk>>, StoreError>>,
}

impl ReadJob for ReadRecords {
    fn room(&self) -> RoomId {
        ROOM
    }

    fn next(&mut self) -> Option<Read> {
        let read = Read::Chunks { shard: self.shard, from: self.from, bytes_max: self.bytes };
        self.chunks.is_none().then_some(read)
    }

    fn found(&mut self, found: Result<Found, StoreError>) {
        self.chunks = Some(found.and_then(Found::chunks));
    }
}

/// Accept records for a stream; the waiter is answered when they are durable.
pub(crate) fn accept<'a>(
    room: &mut StreamRoom<'_>,
    stream: &str,
    records: impl Entries<'a>,
    trace: Option<&str>,
    waiter: Waiter,
) {
    match room.ctx.check_room().and_then(|()| accept_all(room, stream, records, trace)) {
        Ok(numbers) => {
            room.ctx.commit.pending.waiters.push((waiter, Reply::Numbers(numbers)));
            room.ctx.commit.pending.urgent = true;
        }
        Err(error) => room.ctx.answer(waiter, Err(error)),
    }
}

/// Accept records; whoever waits for them is to be answered when the next commit is durable. Whether there is room is seen to before:
/// they may be a part of something that was accepted.
pub(crate) fn accept_all<'a>(
    room: &mut StreamRoom<'_>,
    stream: &str,
    records: impl Entries<'a>,
    trace: Option<&str>,
) -> Result<Vec<u64>, EngineError> {
    check_trace(trace)?;
    check_size(records.clone())?;
    let entry = room.streams.by_name.get(stream).ok_or_else(|| room.streams.no_stream(stream))?;
    if entry.open_shards().len() == 0 {
        return Err(EngineError::Store(StoreError::Corrupt(format!(
            "stream {stream:?} has lost its open shards: give it new ones, with `forebay stream alter {stream} --shards N`"
        ))));
    }
    let arrival_ms = room.ctx.now.wall_ms;
    let (mut numbers, mut data_bytes) = (Vec::with_capacity(records.len()), 0);
    for (key, data) in records {
        let (hash, key_hash) = crate::sources::stream::shards::hash(key);
        let id = entry.route(hash);
        let Some(shard) = room.streams.shards[id as usize].as_mut() else { continue };
        numbers.push(shard.number(shard.next));
        if shard.accept((key, data), key_hash, arrival_ms, trace) {
            room.streams.puts.push(id);
        }
        data_bytes += data.len();
    }
    entry.meters.records.add(numbers.len() as u64);
    entry.meters.bytes.add(data_bytes as u64);
    room.ctx.commit.pending.bytes += data_bytes;
    Ok(numbers)
}

/// Let the oldest chunks go while too many are in memory, and forget the permits of those that are already gone.
pub(crate) fn shorten_tails(streams: &mut Streams) {
    while let Some(&(id, first)) = streams.tail_order.front() {
        let tail = streams.shards[id as usize].as_mut().map(|shard| &mut shard.tail);
        let oldest = tail.filter(|tail| tail.front().is_some_and(|chunk| chunk.first() == first));
        match oldest {
            Some(_) if streams.tail_bytes <= TAIL_MAX => return,
            Some(tail) => streams.tail_bytes -= tail.pop_front().map_or(0, |chunk| chunk.body().len()),
            None => {}
        }
        streams.tail_order.pop_front();
    }
}
