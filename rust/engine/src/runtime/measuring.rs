//! The metric points of a running engine and the questions to them. They have a lock of their own, so that neither the end of a
//! second nor a question about a year holds up a record. Whoever needs both locks takes that of the points first.

use forebay_core::Now;
use serde_json::Value;

use crate::api::metrics::{Named, Statistic, Text};
use crate::api::Empty;
use crate::base::error::{Answer, EngineError, Reply};
use crate::commit::done::json;
use crate::metrics::exposition::{render, Format};
use crate::metrics::points::Points;
use crate::metrics::{query, Registry};
use crate::runtime::engine::{lock, Engine, Shared};
use crate::runtime::metric_points;
use crate::sources::stream::lag;
use crate::store::directory::Place;

/// The thread that takes in what was counted whenever somebody has seen that a second has ended.
pub(crate) fn measure(shared: &Shared) {
    while let Some(mut inner) = shared.wakes.second(shared.lock()) {
        inner.state.ctx.second_ended = false;
        let now = inner.state.ctx.now;
        drop(inner);
        shared.look_for_store();
        shared.roll(&mut lock(&shared.points), now);
    }
}

impl Shared {
    /// Fail where the store's file is gone, though nobody writes just now. It asks the file system, so never call it with the lock held.
    pub(crate) fn look_for_store(&self) {
        let place = self.lock().state.ctx.place.clone();
        let Some(Err(error)) = place.as_ref().map(Place::check) else { return };
        let mut inner = self.enter();
        if !inner.state.ctx.closed {
            inner.state.ctx.fail(error);
        }
        self.leave(inner);
    }

    /// Take in what was counted in the seconds that have ended, if one has.
    pub(crate) fn roll(&self, points: &mut Points, now: Now) {
        if !self.registry.is_on() || !points.is_due(now.wall_ms) {
            return;
        }
        let mut inner = self.lock();
        if inner.state.ctx.closed {
            return;
        }
        if now.wall_ms / 60_000 > points.now() / 60 {
            // Too much to work out each second; between, the gauges keep their levels.
            lag::show_lag(&mut inner.state.streams());
        }
        // From the first second on: a new owner's would have been zero until the minute's end.
        inner.state.show_lease();
        inner.state.ctx.observe.exports.expire(&self.registry, now.mono_ns);
        drop(inner);
        let writes = points.roll(&self.registry, now.wall_ms);
        let mut inner = self.lock();
        metric_points::keep_points(&mut inner.state, writes);
        if let Some(due_ms) = points.next_due() {
            metric_points::wake_for_points(&mut inner.state, due_ms);
        }
        self.leave(inner);
    }
}

/// The questions to the metrics, which are looked at beside the engine's lock.
pub(crate) struct Metrics<'a>(pub(crate) &'a Engine);

impl Metrics<'_> {
    pub(crate) fn text(&self, _: Empty) -> Answer {
        self.0.show_lag();
        let text = render(self.0.registry(), Format::Text);
        Ok(Reply::Json(json(Text { text })))
    }

    pub(crate) fn list(&self, _: Empty) -> Answer {
        self.ask(|points, registry| Ok(query::list(points, registry)))
    }

    pub(crate) fn labels(&self, asked: Named) -> Answer {
        self.ask(|points, registry| query::labels(points, registry, &asked.name))
    }

    pub(crate) fn statistic(&self, asked: Statistic) -> Answer {
        self.ask(|points, registry| query::statistic(points, registry, &asked.into()))
    }

    pub(crate) fn series(&self, asked: Statistic) -> Answer {
        self.ask(|points, registry| query::series(points, registry, &asked.into()))
    }

    fn ask(&self, question: impl FnOnce(&mut Points, &Registry) -> Result<Value, String>) -> Answer {
        let shared = &self.0.shared;
        let now = shared.enter().state.ctx.now;
        let mut points = lock(&shared.points);
        shared.roll(&mut points, now);
        self.0.show_lag();
        question(&mut points, &shared.registry).map(|answer| Reply::Json(json(answer))).map_err(EngineError::Invalid)
    }
}
