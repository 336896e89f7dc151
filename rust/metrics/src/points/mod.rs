//! The metric store: what every series did in each second, minute, five minutes and hour, for as long as CloudWatch keeps them.
//!
//! A counter's value for a second is its growth, a gauge's its greatest level; a distribution's are the values recorded. All
//! of them become histograms, so that every statistic can be asked of every metric. A counter or gauge that was zero for a whole minute has
//! no values in it; in a minute in which it was not, its zeros count.
//!
//! Nothing happens by itself: the engine calls [`Points::roll`] whenever it turns, and commits the rows that come out of it.
//! Seconds are kept in memory alone.

mod keys;
mod pool;
mod rows;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};

use forebay_core::histogram::Histogram;

use crate::catalogue::Metric;
use crate::points::keys::Keys;
pub use crate::points::keys::SeriesId;
use crate::points::rows::{Row, Sample};
use crate::registry::{Numbers, Registry};

/// Most bytes of points in memory; beyond, the oldest ones go, seconds first.
pub const BYTES_MAX: usize = 64 << 20;
/// Rows of a tier that stay while another tier can still give some up.
const ROWS_MIN: usize = 60;
/// A longer pause is not filled with the levels that gauges had meanwhile.
const PAUSE_MAX_S: u64 = 86_400;
const MINUTE: u64 = 60;
const HOUR: u64 = 3_600;
const DAY: u64 = 86_400;
/// Width of a tier's points and how long they are kept, seconds.
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch_concepts.html>
const TIERS: [(u64, u64); 4] = [(1, 3 * HOUR), (MINUTE, 15 * DAY), (5 * MINUTE, 63 * DAY), (HOUR, 455 * DAY)];

/// What becomes of a stored row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowChange {
    /// The row.
    pub key: Vec<u8>,
    /// What it holds from now on; `None`: the row is removed.
    pub value: Option<Vec<u8>>,
}

/// Points of one width, oldest first.
#[derive(Debug)]
struct Tier {
    width: u64,
    keep: u64,
    rows: VecDeque<Row>,
    /// From this second on nothing is missing.
    complete_from: u64,
    /// Up to this second everything is in; not used for seconds.
    complete_to: u64,
}

/// The points of every series.
#[derive(Debug)]
pub struct Points {
    keys: Keys,
    tiers: [Tier; 4],
    /// The running second: what is counted now belongs to it.
    second: u64,
    /// The first second of this process.
    since: u64,
    bytes: usize,
    bytes_max: usize,
    /// Rows to be stored at the next roll.
    unsaved: Vec<RowChange>,
}

impl Points {
    /// Go on from stored rows, which [`Points::roll`] and [`Points::close`] gave. Rows that cannot be read are left out.
    pub fn open(stored: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>, wall_ms: u64) -> Self {
        let now = wall_ms / 1000;
        let tier = |(width, keep)| Tier { width, keep, rows: VecDeque::new(), complete_from: 0, complete_to: 0 };
        let mut points = Self {
            keys: Keys::default(),
            tiers: TIERS.map(tier),
            second: now,
            since: now,
            bytes: 0,
            bytes_max: BYTES_MAX,
            unsaved: Vec::new(),
        };
        for (key, value) in stored {
            let Some((tier, start)) = rows::read_key(&key) else { continue };
            // Further ahead than a clock is ever put right: it would hold everything up.
            if start < now + HOUR {
                let row = Row::decode(start, &value, &mut points.keys);
                points.add(tier, row.unwrap_or_else(|| Row::new(start, Vec::new())));
            }
        }
        let newest = points.tiers.iter().filter_map(|tier| tier.rows.back()).map(|row| row.start).max();
        points.second = newest.map_or(now, |newest| newest.max(now));
        points.since = points.second;
        points.tiers[0].complete_from = points.since;
        for tier in 1..TIERS.len() {
            points.tiers[tier].complete_from = points.found_from(tier);
        }
        points.tiers[1].complete_to = points.second - points.second % MINUTE;
        let mut writes = Vec::new();
        points.fold(&mut writes);
        points.unsaved = writes;
        points
    }

    /// From when on nothing is missing in stored rows: from the first one if a coarser tier knows of something older.
    fn found_from(&self, tier: usize) -> u64 {
        let first = self.tiers[tier].rows.front().map_or(u64::MAX, |row| row.start);
        let coarser = self.tiers[tier + 1..].iter().flat_map(|tier| tier.rows.iter().map(|row| row.start + tier.width));
        match coarser.filter(|&end| end <= first).max() {
            Some(end) if first == u64::MAX => end,
            Some(_) => first,
            None => 0,
        }
    }

    /// Whether the second has changed since the last [`Points::roll`].
    pub fn is_due(&self, wall_ms: u64) -> bool {
        wall_ms / 1000 > self.second
    }

    /// When the running minute ends, if anything happened in it: wall milliseconds.
    pub fn next_due(&self) -> Option<u64> {
        let minute = self.second - self.second % MINUTE;
        let busy = self.tiers[0].rows.back().is_some_and(|row| row.start >= minute);
        busy.then_some((minute + MINUTE) * 1000)
    }

    /// Take in what was counted, begin the second of `wall_ms`, and give the rows to be stored and removed. A clock that goes
    /// back stays in the running second until it has caught up.
    pub fn roll(&mut self, registry: &Registry, wall_ms: u64) -> Vec<RowChange> {
        let now = wall_ms / 1000;
        if now <= self.second {
            return Vec::new();
        }
        let mut writes = std::mem::take(&mut self.unsaved);
        self.sample(registry, now);
        let running = now - now % MINUTE;
        let mut minute = self.second - self.second % MINUTE;
        while minute < running {
            self.end_minute(registry, minute, minute + MINUTE, &mut writes);
            // While nobody turned, nothing happened but that gauges kept their levels.
            let pause = if self.keys.levels().next().is_some() { PAUSE_MAX_S } else { MINUTE };
            minute = (minute + MINUTE).max(running.saturating_sub(pause));
            self.begin_minute(minute);
        }
        self.fold(&mut writes);
        self.second = now;
        self.expire(&mut writes);
        writes
    }

    /// Take in what was counted up to now, without ending anything: before a question is answered.
    pub fn settle(&mut self, registry: &Registry) {
        self.sample(registry, self.second);
    }

    /// The last rows to be stored: the running minute as far as it came.
    pub fn close(&mut self, registry: &Registry, wall_ms: u64) -> Vec<RowChange> {
        let mut writes = self.roll(registry, wall_ms);
        self.settle(registry);
        self.end_minute(registry, self.second - self.second % MINUTE, self.second + 1, &mut writes);
        writes
    }

    /// Put what was counted into the running second. When `now` is later than the second after it, a gauge's level at its end
    /// begins there.
    fn sample(&mut self, registry: &Registry, now: u64) {
        let (mut counted, mut after) = (Vec::new(), Vec::new());
        let Self { keys, second, .. } = self;
        keys.begin_look();
        registry.each(|metric, series| {
            let id = keys.live(metric, series);
            match &series.numbers {
                Numbers::Counter(counter) => match counter.take() {
                    0 => {}
                    growth => counted.push((id, Sample::One(growth as f64))),
                },
                Numbers::Gauge(gauge) => {
                    let (peak, mut level) = (gauge.take_peak(), gauge.get());
                    if differ(peak, keys.level(id)) {
                        counted.push((id, Sample::One(peak)));
                    }
                    if now <= *second + 1 {
                        level = peak;
                    } else if differ(level, peak) {
                        after.push((id, Sample::One(level)));
                    }
                    keys.show(id, level);
                }
                Numbers::Info => {}
                Numbers::Distribution(distribution) => {
                    counted.extend(Sample::of(&distribution.take()).map(|sample| (id, sample)));
                }
            }
        });
        let gone = if now > *second { keys.end_look() } else { Vec::new() };
        after.extend(gone.into_iter().map(|id| (id, Sample::One(0.0))));
        self.add(0, Row::new(self.second, counted));
        self.add(0, Row::new(self.second + 1, after));
    }

    /// Fold the seconds of a minute, as far as `until`, into a row of it.
    fn end_minute(&mut self, registry: &Registry, start: u64, until: u64, writes: &mut Vec<RowChange>) {
        let from = start.max(self.since);
        let mut seconds: BTreeMap<SeriesId, Vec<(u64, f64)>> =
            self.keys.levels().map(|(id, _)| (id, Vec::new())).collect();
        for row in self.tiers[0].between(start, until) {
            for (id, sample) in row.samples() {
                if let Sample::One(value) = sample {
                    seconds.entry(*id).or_default().push((row.start, *value));
                }
            }
        }
        let mut samples: Vec<(SeriesId, Sample)> = Vec::new();
        for (id, values) in seconds {
            let minute = pool::minute(self.keys.kind(id), &values, from, until);
            samples.extend(minute.as_ref().and_then(Sample::of).map(|sample| (id, sample)));
        }
        registry.each(|metric, series| {
            if let Numbers::Distribution(distribution) = &series.numbers {
                let id = self.keys.live(metric, series);
                samples.extend(Sample::of(&distribution.end_minute()).map(|sample| (id, sample)));
            }
        });
        self.add(1, Row::new(start, samples));
        self.write(1, start, writes);
    }

    /// Gauges that are not zero show their level at the start of each minute, so that nobody has to look further back.
    fn begin_minute(&mut self, start: u64) {
        self.second = start;
        let levels = self.keys.levels().map(|(id, level)| (id, Sample::One(level))).collect();
        self.add(0, Row::new(start, levels));
        self.tiers[1].complete_to = start;
    }

    /// Make the points of coarser tiers that have become complete.
    fn fold(&mut self, writes: &mut Vec<RowChange>) {
        for coarse in 2..TIERS.len() {
            let width = self.tiers[coarse].width;
            let end = self.tiers[coarse - 1].complete_to / width * width;
            let mut start = self.tiers[coarse].rows.back().map_or(0, |row| row.start + width);
            loop {
                let first = self.tiers[coarse - 1].between(start, end).next().map(|row| row.start);
                let Some(first) = first else { break };
                start = first - first % width;
                let row = Row::merged(start, self.tiers[coarse - 1].between(start, start + width));
                self.add(coarse, row);
                self.write(coarse, start, writes);
                start += width;
            }
            self.tiers[coarse].complete_to = end;
        }
    }

    /// Put a row in its place: at the end, or into the last one.
    fn add(&mut self, tier: usize, row: Row) {
        if row.is_empty() {
            return;
        }
        let tier = &mut self.tiers[tier];
        match tier.rows.back_mut() {
            Some(last) if last.start == row.start => {
                self.bytes -= last.bytes();
                last.join(row, |id| self.keys.kind(id));
                self.bytes += last.bytes();
            }
            Some(last) if last.start > row.start => {}
            _ => {
                self.bytes += row.bytes();
                tier.rows.push_back(row);
            }
        }
    }

    fn write(&self, tier: usize, start: u64, writes: &mut Vec<RowChange>) {
        if let Some(row) = self.tiers[tier].rows.back().filter(|row| row.start == start) {
            let value = Some(row.encode(&self.keys));
            writes.push(RowChange { key: rows::key(tier, start), value });
        }
    }

    /// Drop what is too old, and the oldest of what is too much.
    fn expire(&mut self, writes: &mut Vec<RowChange>) {
        for tier in 0..TIERS.len() {
            let (width, keep) = (self.tiers[tier].width, self.tiers[tier].keep);
            while self.tiers[tier].rows.front().is_some_and(|row| row.start + width + keep <= self.second) {
                self.drop_oldest(tier, writes);
            }
        }
        while self.bytes > self.bytes_max {
            let Some(tier) = (0..TIERS.len()).find(|&tier| self.tiers[tier].rows.len() > ROWS_MIN) else { break };
            self.drop_oldest(tier, writes);
        }
        if self.keys.is_crowded() {
            let used =
                self.tiers.iter().flat_map(|tier| &tier.rows).flat_map(Row::samples).map(|(id, _)| *id).collect();
            self.keys.keep(&used);
        }
    }

    fn drop_oldest(&mut self, tier: usize, writes: &mut Vec<RowChange>) {
        let Some(row) = self.tiers[tier].rows.pop_front() else { return };
        self.bytes -= row.bytes();
        self.tiers[tier].complete_from = row.start + self.tiers[tier].width;
        if tier > 0 {
            writes.push(RowChange { key: rows::key(tier, row.start), value: None });
        }
    }

    /// The series of a metric, those of earlier processes included: number and label values.
    pub fn series(&self, metric: Metric) -> impl Iterator<Item = (SeriesId, &[Box<str>])> + '_ {
        self.keys.of(metric)
    }

    /// From when on there is a point for each `period` seconds. The period in which this process began counts from there on: before that
    /// there is nothing that seconds know. One of which a part is not kept any more is left out.
    pub fn reach(&self, period: u64) -> u64 {
        let fine = self.tiers.iter().filter(|tier| tier.width <= period);
        let from = fine.map(|tier| tier.complete_from).min().unwrap_or(self.second);
        if from == self.since {
            from
        } else {
            from.next_multiple_of(period)
        }
    }

    /// The second that is running, seconds since 1970.
    pub fn now(&self) -> u64 {
        self.second
    }

    /// The values of these series from one second up to another, not included. Where seconds or minutes are not kept any more, the
    /// points that overlap count whole.
    pub fn pool(&self, ids: &[SeriesId], from: u64, to: u64) -> Histogram {
        let mut pooled = Histogram::new();
        let (mut at, to) = (from, to.min(self.second + 1));
        while at < to {
            at = self.pool_piece(ids, at, to, &mut pooled);
        }
        pooled
    }
}

impl Tier {
    /// Rows that begin from one second up to another, not included.
    fn between(&self, from: u64, to: u64) -> impl Iterator<Item = &Row> {
        let first = self.rows.partition_point(|row| row.start < from);
        self.rows.range(first..).take_while(move |row| row.start < to)
    }
}

fn differ(one: f64, other: f64) -> bool {
    one.to_bits() != other.to_bits()
}
