//! What the state itself has to do with metric points: it stores them, and wakes when a minute ends.

use crate::runtime::participants::POINTS;

use crate::api::metrics::Tell;
use crate::api::Empty;
use crate::base::error::EngineError;
use crate::commit::done::Done;
use crate::metrics::points::{Points, RowChange};
use crate::runtime::rooms::Rooms;
use crate::store::port::Table;

/// Look at the clock again when the running minute ends, in which something happened.
pub(crate) fn wake_for_points(rooms: &mut Rooms, due_ms: u64) {
    let due_ns = rooms.ctx.now.mono_ns + due_ms.saturating_sub(rooms.ctx.now.wall_ms) * 1_000_000;
    rooms.ctx.timers.arm(&mut rooms.points_armed, due_ns, POINTS);
}

/// Take in the last of it.
pub(crate) fn close_points(rooms: &mut Rooms, points: &mut Points) {
    if !rooms.ctx.closed && rooms.ctx.registry.is_on() {
        let changes = points.close(&rooms.ctx.registry, rooms.ctx.now.wall_ms);
        keep_points(rooms, changes);
    }
}

/// A store that takes nothing more, or has no room, does without points.
pub(crate) fn keep_points(rooms: &mut Rooms, changes: Vec<RowChange>) {
    if rooms.ctx.commit.failed.is_some() || changes.is_empty() {
        return;
    }
    for RowChange { key, value } in changes {
        match value {
            Some(value) if rooms.ctx.commit.refused.is_none() => {
                rooms.ctx.commit.pending.set(Table::Metric, key, value);
            }
            Some(_) => {}
            None => rooms.ctx.commit.pending.remove(Table::Metric, key),
        }
    }
    rooms.ctx.commit.pending.begin_lazily(rooms.ctx.now.mono_ns);
}

/// Take in what is counted outside the engine.
pub(crate) fn metrics_tell(rooms: &mut Rooms, Tell { told }: Tell) -> Result<Done, EngineError> {
    rooms.ctx.observe.exports.tell(&rooms.ctx.registry, told, rooms.ctx.now.mono_ns).map_err(EngineError::Invalid)?;
    Ok(Done::at_once(Empty {}))
}
