//! When retention looks: every room drops what is too old.

use crate::base::error::EngineError;
use crate::runtime::rooms::Rooms;
use crate::runtime::rooms::SWEEP_NS;
use crate::store::port::ShardId;

impl Rooms {
    /// Drop what is too old or too much.
    pub(crate) fn sweep(&mut self) -> Result<(), EngineError> {
        let wall = self.ctx.now.wall_ms;
        for id in 0..self.streams.shards.len() {
            let Some(shard) = self.streams.shards[id].as_ref() else { continue };
            let Some(stream) = self.streams.by_name.get(&shard.row.stream) else { continue };
            let kept_ms = stream.row.retention_ms;
            let share = stream.row.retention_bytes.map(|bytes| bytes / stream.open_shards().len().max(1) as u64);
            let old = shard.oldest_ms.is_some_and(|oldest| wall.saturating_sub(oldest) > kept_ms);
            if old || (share.is_some() && shard.durable > shard.first) {
                self.streams().sweep_shard(id as ShardId, kept_ms, share)?;
            }
        }
        self.failures().sweep_failures();
        self.queues().sweep_queues()?;
        self.ctx.sweep_at(self.ctx.now.mono_ns + SWEEP_NS);
        Ok(())
    }
}
