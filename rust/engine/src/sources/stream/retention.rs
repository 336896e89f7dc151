//! Retention: what is too old or too much is dropped, whoever has read it, and the disk gets its room back.

use serde_json::json;

use crate::base::error::EngineError;
use crate::failures::log::TRIMMED;
use crate::observe::operator_events::OperatorEvent;
use crate::sources::stream::mapping::Mapping;
use crate::sources::stream::poller::PollerId;
use crate::sources::stream::StreamRoom;
use crate::store::port::ShardId;

impl StreamRoom<'_> {
    /// Drop what is too old or too much.
    pub(crate) fn sweep_shards(&mut self) -> Result<(), EngineError> {
        let wall = self.ctx.now.wall_ms;
        for id in 0..self.streams.shards.len() {
            let Some(shard) = self.streams.shards[id].as_ref() else { continue };
            let Some(stream) = self.streams.by_name.get(&shard.row.stream) else { continue };
            let kept_ms = stream.row.retention_ms;
            let share = stream.row.retention_bytes.map(|bytes| bytes / stream.open_shards().len().max(1) as u64);
            let old = shard.oldest_ms.is_some_and(|oldest| wall.saturating_sub(oldest) > kept_ms);
            if old || (share.is_some() && shard.durable > shard.first) {
                self.sweep_shard(id as ShardId, kept_ms, share)?;
            }
        }
        Ok(())
    }

    pub(crate) fn sweep_shard(&mut self, id: ShardId, kept_ms: u64, share: Option<u64>) -> Result<(), EngineError> {
        let wall = self.ctx.now.wall_ms;
        let sizes = self.ctx.commit.reader.sizes(id, usize::MAX)?;
        let mut total: u64 = sizes.iter().map(|(_, _, bytes, _)| bytes).sum();
        let mut before = None;
        let mut oldest = None;
        for (first, count, bytes, last_ms) in sizes {
            let over = share.is_some_and(|share| total > share);
            if wall.saturating_sub(last_ms) <= kept_ms && !over {
                oldest = Some(last_ms);
                break;
            }
            before = Some(first + u64::from(count));
            total -= bytes;
        }
        let Some(shard) = self.streams.shards[id as usize].as_mut() else { return Ok(()) };
        shard.oldest_ms = oldest;
        let Some(before) = before else { return Ok(()) };
        let dropped = before.saturating_sub(shard.first);
        shard.first = before;
        while shard.tail.front().is_some_and(|chunk| chunk.end() <= before) {
            self.streams.tail_bytes -= shard.tail.pop_front().map_or(0, |chunk| chunk.body().len());
        }
        let (pollers, stream) = (shard.pollers.clone(), shard.row.stream.clone());
        self.ctx.commit.pending.trim(id, before);
        self.ctx.commit.pending.begin_lazily(self.ctx.now.mono_ns);
        // Told now, while what was read can still be read again for the failures' rows.
        for poller in pollers {
            self.trim_poller(poller, before);
        }
        self.tell_unread(&stream, dropped);
        Ok(())
    }

    /// Records that a mapping does not get are listed for it. Where there is none, or the code has it no more, the log tells of them.
    fn tell_unread(&mut self, stream: &str, dropped: u64) {
        let reads = |mapping: &Mapping| mapping.row.stream == stream && mapping.is_handled();
        if dropped > 0 && !self.streams.mappings.values().any(reads) {
            self.ctx.notice(OperatorEvent::Unread, stream, json!({"sums": {"records": dropped}}));
        }
    }

    /// Retention drops what lies below `first`. What was read is given up while its data is still there, what was not is listed.
    pub(crate) fn trim_poller(&mut self, id: PollerId, first: u64) {
        let now = self.ctx.now;
        let Some(poller) = self.streams.pollers[id].as_mut() else { return };
        if poller.machine.low() >= first {
            return;
        }
        let lost = poller.machine.skipped_to(first, &now);
        if lost > 0 {
            if let Some(mapping) = self.streams.mappings.get(&poller.source.mapping) {
                mapping.meters.expired.add(lost);
            }
            self.list_unread(id, first - lost, first, &TRIMMED);
        }
        self.pump(id);
    }
}
