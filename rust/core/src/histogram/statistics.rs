//! Percentiles and CloudWatch's other extended statistics, from the buckets.

use super::{edges, Histogram};

/// Parts of one percent: a percentile has ten decimals at most, as in CloudWatch.
const PARTS: f64 = 1e10;
/// 100%.
const WHOLE: u64 = 1_000_000_000_000;

/// A share of the values, 0%..=100%, in steps of 10^-10 percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percent(u64);

/// A percentage outside 0..=100.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NotPercent(pub f64);

impl std::fmt::Display for NotPercent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "percentile {} is out of range: it must be from 0 to 100", self.0)
    }
}

impl std::error::Error for NotPercent {}

impl Percent {
    /// 0%.
    pub const NONE: Self = Self(0);
    /// 100%.
    pub const ALL: Self = Self(WHOLE);

    /// `percent` is from 0 to 100; further decimals than ten are rounded.
    pub fn new(percent: f64) -> Result<Self, NotPercent> {
        if (0.0..=100.0).contains(&percent) {
            Ok(Self((percent * PARTS).round() as u64))
        } else {
            Err(NotPercent(percent))
        }
    }

    /// Nearest rank: the smallest rank, from 1, at or below which this share of `count` values lies.
    fn rank(self, count: u64) -> u64 {
        let rank = (u128::from(self.0) * u128::from(count)).div_ceil(u128::from(WHOLE));
        (rank as u64).max(1)
    }

    fn of(self, count: u64) -> f64 {
        self.0 as f64 / WHOLE as f64 * count as f64
    }
}

/// A stretch of the sorted values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Span {
    /// What lies between two shares of the values; a value on the cut counts by the part that lies inside.
    Share {
        /// Cut away below.
        from: Percent,
        /// Cut away above.
        to: Percent,
    },
    /// Values above `above` up to and including `up_to`.
    Values {
        /// Exclusive; negative infinity for no bound.
        above: f64,
        /// Inclusive; infinity for no bound.
        up_to: f64,
    },
}

/// What a span holds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Slice {
    /// Number of values; may be fractional.
    pub count: f64,
    /// Their sum.
    pub sum: f64,
}

impl Histogram {
    /// The value at nearest rank; `None` when empty. Percentile 0 is the smallest value, 100 the greatest, both exact.
    pub fn percentile(&self, percent: Percent) -> Option<f64> {
        match (self.count, percent.rank(self.count)) {
            (0, _) => None,
            (_, 1) => Some(self.min),
            (count, rank) if rank == count => Some(self.max),
            (_, rank) => Some(self.at_rank(rank)),
        }
    }

    /// The share of values, in percent, above the first bound up to and including the second; `None` when empty.
    pub fn percentile_rank(&self, above: f64, up_to: f64) -> Option<f64> {
        (self.count > 0).then(|| self.slice(Span::Values { above, up_to }).count / self.count as f64 * 100.0)
    }

    /// Mean of the values of a span; `None` when nothing lies in it.
    pub fn trimmed_mean(&self, span: Span) -> Option<f64> {
        let slice = self.slice(span);
        (slice.count > 0.0).then(|| slice.sum / slice.count)
    }

    /// Inter-quartile mean: of the middle half of the values.
    pub fn interquartile_mean(&self) -> Option<f64> {
        self.trimmed_mean(Span::Share { from: Percent(WHOLE / 4), to: Percent(WHOLE / 4 * 3) })
    }

    /// Mean after every value outside the span has been moved to its nearer end; `None` when empty.
    pub fn winsorized_mean(&self, span: Span) -> Option<f64> {
        let (low, high) = match span {
            Span::Values { above, up_to } => (above, up_to),
            Span::Share { from, to } => (self.percentile(from)?, self.percentile(to)?),
        };
        (self.count > 0).then(|| {
            let sum: f64 = self.groups().map(|(value, count)| value.max(low).min(high) * count as f64).sum();
            sum / self.count as f64
        })
    }

    /// Number and sum of the values of a span.
    pub fn slice(&self, span: Span) -> Slice {
        let mut slice = Slice::default();
        let mut before = 0.0;
        for (value, count) in self.groups() {
            let count = count as f64;
            let inside = match span {
                Span::Values { above, up_to } if above < value && value <= up_to => count,
                Span::Values { .. } => 0.0,
                Span::Share { from, to } => {
                    let (from, to) = (from.of(self.count), to.of(self.count));
                    ((before + count).min(to) - f64::max(before, from)).max(0.0)
                }
            };
            before += count;
            slice.count += inside;
            slice.sum += value * inside;
        }
        slice
    }

    /// The recorded values as far as they are known, ascending: `(value, how often)`.
    pub fn groups(&self) -> impl Iterator<Item = (f64, u64)> + '_ {
        let low = [(0.0, self.zero), (edges::MIN, self.below)];
        let inside = self.slots().map(|(slot, count)| (edges::decimal(slot), count));
        let high = std::iter::once((self.max, self.above));
        low.into_iter()
            .chain(inside)
            .chain(high)
            .filter(|&(_, count)| count > 0)
            .map(|(value, count)| (value.clamp(self.min, self.max), count))
    }

    /// The value at a rank from 1 to `count`, as its bucket shows it.
    pub(super) fn at_rank(&self, rank: u64) -> f64 {
        self.unclamped_at_rank(rank).clamp(self.min, self.max)
    }

    fn unclamped_at_rank(&self, rank: u64) -> f64 {
        if rank <= self.zero {
            return 0.0;
        }
        if rank <= self.zero + self.below {
            return edges::MIN;
        }
        let mut left = rank - self.zero - self.below;
        for (first, at) in self.pages_in_order() {
            if left > self.totals[at] {
                left -= self.totals[at];
                continue;
            }
            for (place, &count) in self.pages[at].iter().enumerate() {
                if left <= count {
                    return edges::decimal(first + place);
                }
                left -= count;
            }
        }
        self.max
    }

    /// For each bound, ascending and inside the range, how many values are at most as great; exact to a bucket's width, so that a
    /// value equal to a bound of three digits is counted at it.
    pub fn cumulative(&self, bounds: &[f64]) -> Vec<u64> {
        let mut slots = self.slots().peekable();
        let mut count = self.zero + self.below;
        let mut up_to = |bound| {
            let last = edges::slot(bound);
            while let Some((_, more)) = slots.next_if(|&(slot, _)| slot <= last) {
                count += more;
            }
            count
        };
        bounds.iter().map(|&bound| up_to(bound)).collect()
    }

    /// Counts by the buckets of Prometheus's native schema 8, ascending: `(k, count)` for `2^((k-1)/256) < value <= 2^(k/256)`.
    ///
    /// Values outside the range are left out: a caller adds [`Histogram::below`] to the first and [`Histogram::above`]
    /// to the last bucket, or to its zero bucket.
    pub fn schema_8(&self) -> Vec<(i32, u64)> {
        let mut buckets: Vec<(i32, u64)> = Vec::new();
        for (slot, count) in self.slots() {
            let k = edges::schema_8(slot);
            match buckets.last_mut() {
                Some(last) if last.0 == k => last.1 += count,
                _ => buckets.push((k, count)),
            }
        }
        buckets
    }
}
