//! Values of a stretch of time, put together from the widest points that fit.

use forebay_core::histogram::Histogram;

use crate::catalogue::Kind;
use crate::points::keys::SeriesId;
use crate::points::rows::Sample;
use crate::points::{Points, MINUTE, TIERS};

/// The values of a counter or gauge in the seconds of one minute from `from` up to `until`, one for each second; `None` when all
/// are zero. `seconds`, from the minute's beginning on: a counter's growth where it grew, a gauge's level where it changed.
pub(super) fn minute(kind: Kind, seconds: &[(u64, f64)], from: u64, until: u64) -> Option<Histogram> {
    let mut values = Histogram::new();
    // What could not be recorded was refused before it came here.
    let mut add = |value: f64, times: u64| values.record_n(value, times).unwrap_or_default();
    match kind {
        Kind::Distribution | Kind::Info => return None,
        Kind::Counter => {
            let inside = seconds.iter().filter(|(second, _)| (from..until).contains(second));
            let grew = inside.map(|&(_, growth)| add(growth, 1)).count() as u64;
            add(0.0, until.saturating_sub(from).saturating_sub(grew));
        }
        Kind::Gauge => {
            let (mut level, mut at) = (0.0, from);
            for &(second, next) in seconds.iter().filter(|(second, _)| *second < until) {
                add(level, second.saturating_sub(at));
                (level, at) = (next, second.max(at));
            }
            add(level, until.saturating_sub(at));
        }
    }
    (values.max() > Some(0.0)).then_some(values)
}

impl Points {
    /// Add the values of one piece of the stretch from `at` to `to`; where the next piece begins.
    pub(super) fn pool_piece(&self, ids: &[SeriesId], at: u64, to: u64, pooled: &mut Histogram) -> u64 {
        for tier in (1..TIERS.len()).rev() {
            let (points, end) = (&self.tiers[tier], at + TIERS[tier].0);
            let fits = at.is_multiple_of(points.width) && end <= to;
            if fits && points.complete_from <= at && end <= points.complete_to {
                self.pool_rows(tier, ids, at, pooled);
                return end;
            }
        }
        let kept = self.tiers.iter().position(|tier| tier.complete_from <= at).unwrap_or(TIERS.len() - 1);
        if kept == 0 {
            let end = to.min(at - at % MINUTE + MINUTE);
            self.pool_seconds(ids, at, end, pooled);
            return end;
        }
        let points = &self.tiers[kept];
        let start = at - at % points.width;
        let end = start + points.width;
        self.pool_rows(kept, ids, start, pooled);
        if end <= points.complete_to {
            end
        } else {
            // It is still running: the row is what an earlier process left of it, and finer points go on from there.
            self.tiers[kept - 1].complete_from.clamp(at + 1, end)
        }
    }

    fn pool_rows(&self, tier: usize, ids: &[SeriesId], start: u64, pooled: &mut Histogram) {
        for row in self.tiers[tier].between(start, start + 1) {
            ids.iter().filter_map(|&id| row.get(id)).for_each(|sample| pooled.merge(&sample.histogram()));
        }
    }

    /// Seconds of one minute.
    fn pool_seconds(&self, ids: &[SeriesId], from: u64, until: u64, pooled: &mut Histogram) {
        let begun = from - from % MINUTE;
        for &id in ids {
            let mut seconds = Vec::new();
            for row in self.tiers[0].between(begun, until) {
                match (self.keys.kind(id), row.get(id)) {
                    (Kind::Distribution, Some(sample)) if row.start >= from => pooled.merge(&sample.histogram()),
                    (Kind::Counter | Kind::Gauge, Some(Sample::One(value))) => seconds.push((row.start, *value)),
                    _ => {}
                }
            }
            if let Some(values) = minute(self.keys.kind(id), &seconds, from, until) {
                pooled.merge(&values);
            }
        }
    }
}
