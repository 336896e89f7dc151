//! The metrics verbs, and how the engine's points come to roll: whenever the clock is looked at in a new second.

use serde_json::json;

use super::Done;
use crate::error::EngineError;
use crate::metrics::exports::Told;
use crate::metrics::query::{self, Question};
use crate::port::Write;
use crate::state::{State, Timer};

impl State {
    /// Take in what was counted in the second that has ended, if one has.
    pub(crate) fn roll_points(&mut self) {
        let wall_ms = self.now.wall_ms;
        if self.closed || !self.registry.is_on() || !self.points.is_due(wall_ms) {
            return;
        }
        if wall_ms / 60_000 > self.points.now() / 60 {
            // Too much to work out each second; between, the gauges keep their levels.
            self.show_lag();
        }
        self.exports.expire(&self.registry, self.now.mono_ns);
        let writes = self.points.roll(&self.registry, wall_ms);
        self.keep_points(writes);
        if let Some(due_ms) = self.points.next_due() {
            let due_ns = self.now.mono_ns + due_ms.saturating_sub(wall_ms) * 1_000_000;
            self.timers.arm(&mut self.points_armed, due_ns, Timer::Points);
        }
    }

    /// Take in the last of it.
    pub(crate) fn close_points(&mut self) {
        if !self.closed && self.registry.is_on() {
            let writes = self.points.close(&self.registry, self.now.wall_ms);
            self.keep_points(writes);
        }
    }

    /// A store that takes nothing more, or has no room, does without points.
    fn keep_points(&mut self, writes: Vec<Write>) {
        if self.failed.is_some() || writes.is_empty() {
            return;
        }
        for write in writes {
            match write {
                Write::Set { table, key, value } if !self.full => self.pending.set(table, key, value),
                Write::Remove { table, key } => self.pending.remove(table, key),
                _ => {}
            }
        }
        self.pending.begin_lazily(self.now.mono_ns);
    }

    /// Take in what is counted outside the engine.
    pub(super) fn metrics_tell(&mut self, told: Told) -> Result<Done, EngineError> {
        self.exports.tell(&self.registry, told, self.now.mono_ns).map_err(EngineError::Invalid)?;
        Ok(Done::at_once(json!({})))
    }

    pub(super) fn metrics_list(&mut self) -> Done {
        self.show_lag();
        Done::at_once(query::list(&mut self.points, &self.registry))
    }

    pub(super) fn metrics_statistic(&mut self, question: &Question) -> Result<Done, EngineError> {
        self.show_lag();
        query::statistic(&mut self.points, &self.registry, question).map(Done::at_once).map_err(EngineError::Invalid)
    }

    pub(super) fn metrics_series(&mut self, question: &Question) -> Result<Done, EngineError> {
        self.show_lag();
        query::series(&mut self.points, &self.registry, question).map(Done::at_once).map_err(EngineError::Invalid)
    }
}
