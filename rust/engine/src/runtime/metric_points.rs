//! What the state itself has to do with metric points: it stores them, and wakes when a minute ends.

use crate::runtime::participants::POINTS;

use crate::api::metrics::Tell;
use crate::api::Empty;
use crate::base::error::EngineError;
use crate::commit::done::Done;
use crate::metrics::points::{Points, RowChange};
use crate::runtime::rooms::Rooms;
use crate::store::port::Table;

impl Rooms {
    /// Look at the clock again when the running minute ends, in which something happened.
    pub(crate) fn wake_for_points(&mut self, due_ms: u64) {
        let due_ns = self.ctx.now.mono_ns + due_ms.saturating_sub(self.ctx.now.wall_ms) * 1_000_000;
        self.ctx.timers.arm(&mut self.points_armed, due_ns, POINTS);
    }

    /// Take in the last of it.
    pub(crate) fn close_points(&mut self, points: &mut Points) {
        if !self.ctx.closed && self.ctx.registry.is_on() {
            let changes = points.close(&self.ctx.registry, self.ctx.now.wall_ms);
            self.keep_points(changes);
        }
    }

    /// A store that takes nothing more, or has no room, does without points.
    pub(crate) fn keep_points(&mut self, changes: Vec<RowChange>) {
        if self.ctx.commit.failed.is_some() || changes.is_empty() {
            return;
        }
        for RowChange { key, value } in changes {
            match value {
                Some(value) if self.ctx.commit.refused.is_none() => {
                    self.ctx.commit.pending.set(Table::Metric, key, value);
                }
                Some(_) => {}
                None => self.ctx.commit.pending.remove(Table::Metric, key),
            }
        }
        self.ctx.commit.pending.begin_lazily(self.ctx.now.mono_ns);
    }

    /// Take in what is counted outside the engine.
    pub(crate) fn metrics_tell(&mut self, Tell { told }: Tell) -> Result<Done, EngineError> {
        self.ctx.observe.exports.tell(&self.ctx.registry, told, self.ctx.now.mono_ns).map_err(EngineError::Invalid)?;
        Ok(Done::at_once(Empty {}))
    }
}
