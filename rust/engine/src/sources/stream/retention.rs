//! Retention: what is too old or too much is dropped, whoever has read it, and the disk gets its room back.

use std::collections::VecDeque;

use serde_json::json;

use crate::base::error::{EngineError, Reply};
use crate::failures::log::TRIMMED;
use crate::observe::operator_events::OperatorEvent;
use crate::sources::stream::mapping::Mapping;
use crate::sources::stream::poller::{self, PollerId};
use crate::sources::stream::sizes::{Described, SizesFor, SizesRead};
use crate::sources::stream::StreamRoom;
use crate::sources::stream::{given_up, lag};
use crate::store::port::ShardId;

/// A shard of which something may have to be dropped.
#[derive(Clone, Copy)]
pub(crate) struct ShardSweep {
    pub(crate) shard: ShardId,
    kept_ms: u64,
    /// The most bytes of it that are kept.
    share: Option<u64>,
    wall_ms: u64,
}

/// What of a shard is to be dropped.
pub(crate) struct Swept {
    by: ShardSweep,
    /// The first position to keep; `None`: nothing is dropped.
    before: Option<u64>,
    /// When the newest record of the oldest chunk that is kept arrived.
    oldest_ms: Option<u64>,
}

impl ShardSweep {
    /// What is to be dropped, by `(first, count, bytes, last_arrival_ms)` of each chunk.
    pub(crate) fn swept(self, sizes: &[(u64, u32, u64, u64)]) -> Swept {
        let mut total: u64 = sizes.iter().map(|(_, _, bytes, _)| bytes).sum();
        let mut swept = Swept { by: self, before: None, oldest_ms: None };
        for &(first, count, bytes, last_ms) in sizes {
            let over = self.share.is_some_and(|share| total > share);
            if self.wall_ms.saturating_sub(last_ms) <= self.kept_ms && !over {
                swept.oldest_ms = Some(last_ms);
                break;
            }
            swept.before = Some(first + u64::from(count));
            total -= bytes;
        }
        swept
    }
}

/// Have the reader look for what is too old or too much.
pub(crate) fn sweep_shards(room: &mut StreamRoom<'_>) {
    if room.streams.is_sweeping {
        return;
    }
    let due: VecDeque<ShardSweep> =
        (0..room.streams.shards.len()).filter_map(|id| sweep_due(room, id as ShardId)).collect();
    if !due.is_empty() {
        room.streams.is_sweeping = true;
        room.ctx.commit.reads.push_back(SizesRead::job(SizesFor::Sweep { due, swept: Vec::new() }));
    }
}

/// When the first shard is to be swept. By bytes, that may be at once; and so it is while the age of unread records grows, which the
/// metrics show.
pub(crate) fn shards_due_ms(room: &StreamRoom<'_>) -> Option<u64> {
    let mut pollers = room.streams.mappings.values().flat_map(|mapping| lag::pollers_of(room.streams, mapping));
    if room.streams.is_sweeping || pollers.any(|(_, poller)| lag::behind(room.streams, poller) > 0) {
        return Some(0);
    }
    let due_ms = |id: ShardId| {
        let shard = room.streams.shards[id as usize].as_ref()?;
        let kept_ms = room.streams.by_name.get(&shard.row.stream)?.row.retention_ms;
        match sweep_due(room, id) {
            Some(_) => Some(0),
            None => shard.oldest_ms.map(|oldest_ms| oldest_ms.saturating_add(kept_ms).saturating_add(1)),
        }
    };
    (0..room.streams.shards.len()).filter_map(|id| due_ms(id as ShardId)).min()
}

/// How a shard is to be swept, if it is to be.
fn sweep_due(room: &StreamRoom<'_>, id: ShardId) -> Option<ShardSweep> {
    let shard = room.streams.shards[id as usize].as_ref()?;
    let stream = room.streams.by_name.get(&shard.row.stream)?;
    let (kept_ms, wall_ms) = (stream.row.retention_ms, room.ctx.now.wall_ms);
    let share = stream.row.retention_bytes.map(|bytes| bytes / stream.open_shards().len().max(1) as u64);
    let old = shard.oldest_ms.is_some_and(|oldest| wall_ms.saturating_sub(oldest) > kept_ms);
    let is_due = old || (share.is_some() && shard.durable > shard.first);
    is_due.then_some(ShardSweep { shard: id, kept_ms, share, wall_ms })
}

/// Drop what the reader has found, unless the stream's settings have changed meanwhile: then the next sweep looks again.
pub(crate) fn shard_swept(room: &mut StreamRoom<'_>, swept: &Swept) {
    let Swept { by, before, oldest_ms } = *swept;
    let due = sweep_due(room, by.shard);
    if due.is_none_or(|due| (due.kept_ms, due.share) != (by.kept_ms, by.share)) {
        return;
    }
    let Some(shard) = room.streams.shards[by.shard as usize].as_mut() else { return };
    let first = before.map_or(shard.first, |before| before.max(shard.first));
    // Records that came after the read have set none yet if there were others: the next sweep looks again.
    if oldest_ms.is_some() || first >= shard.durable {
        shard.oldest_ms = oldest_ms;
    }
    let dropped = first - shard.first;
    if dropped == 0 {
        return;
    }
    shard.first = first;
    while shard.tail.front().is_some_and(|chunk| chunk.end() <= first) {
        room.streams.tail_bytes -= shard.tail.pop_front().map_or(0, |chunk| chunk.body().len());
    }
    let (pollers, stream) = (shard.pollers.clone(), shard.row.stream.clone());
    room.ctx.commit.pending.trim(by.shard, first);
    room.ctx.commit.pending.begin_lazily(room.ctx.now.mono_ns);
    // Told now, while what was read can still be read again for the failures' rows.
    for poller in pollers {
        trim_poller(room, poller, first);
    }
    tell_unread(room, &stream, dropped);
}

/// Records that a mapping does not get are listed for it. Where there is none, or the code has it no more, the log tells of them.
fn tell_unread(room: &mut StreamRoom<'_>, stream: &str, dropped: u64) {
    let reads = |mapping: &Mapping| mapping.row.stream == stream && mapping.is_handled();
    if dropped > 0 && !room.streams.mappings.values().any(reads) {
        room.ctx.notice(OperatorEvent::Unread, stream, json!({"sums": {"records": dropped}}));
    }
}

/// Retention drops what lies below `first`. What was read is given up while its data is still there, what was not is listed.
pub(crate) fn trim_poller(room: &mut StreamRoom<'_>, id: PollerId, first: u64) {
    let now = room.ctx.now;
    let Some(poller) = room.streams.pollers[id].as_mut() else { return };
    if poller.machine.low() >= first {
        return;
    }
    let lost = poller.machine.skipped_to(first, &now);
    if lost > 0 {
        if let Some(mapping) = room.streams.mappings.get(&poller.source.mapping) {
            mapping.meters.expired.add(lost);
        }
        given_up::list_unread(room, id, first - lost, first, &TRIMMED);
    }
    poller::pump(room, id);
}

/// The reader has looked through some shards: go on with the others, or use what it has found.
pub(crate) fn sizes_found(room: &mut StreamRoom<'_>, mut read: Box<SizesRead>) {
    if let Some(error) = read.error.take() {
        return match read.waiter.take() {
            Some(waiter) => room.ctx.answer(waiter, Err(error.into())),
            None => room.ctx.fail(error),
        };
    }
    if let SizesFor::Sweep { swept, .. } = &mut read.then {
        for swept in std::mem::take(swept) {
            shard_swept(room, &swept);
        }
    }
    if read.shard().is_some() {
        read.reads = 0;
        return room.ctx.commit.reads.push_back(read);
    }
    let SizesRead { then, waiter, .. } = *read;
    match then {
        SizesFor::Sweep { .. } => room.streams.is_sweeping = false,
        SizesFor::Streams { bytes, described, .. } => {
            let answer = room.descriptions(&described, &bytes);
            match (waiter, answer) {
                (Some(waiter), Ok(answer)) if matches!(described, Described::Changed(_)) => {
                    room.ctx.answer_durable(waiter, answer);
                }
                (Some(waiter), answer) => room.ctx.answer(waiter, answer.map(Reply::Json)),
                (None, _) => {}
            }
        }
    }
}

/// The app stopped before the reader was done.
pub(crate) fn sizes_abandoned(room: &mut StreamRoom<'_>, read: &mut SizesRead) {
    if let Some(waiter) = read.waiter.take() {
        let text = "this process closed the store before it had looked through the shards";
        let error = match &read.then {
            // Asked again of the next owner, a split would be refused.
            SizesFor::Streams { described: Described::Changed(name), .. } => {
                EngineError::OwnerLost(format!("{text} of stream {name:?}, which may have been changed"))
            }
            _ => EngineError::Closed(text.into()),
        };
        room.ctx.answer(waiter, Err(error));
    }
}

#[cfg(test)]
mod tests;
