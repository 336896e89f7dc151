//! What to read next, and which of the records read a lane may take.
//!
//! Each lane has its own place up to which it has read, so that a blocked lane stops nobody: when the shared look-ahead
//! is used up, a lane that has more than its share waiting takes no more records and remembers where it stopped; the
//! others read on, however far; later that lane reads again from there, and the others pass over what they have had.
//!
//! Bound, per shard: at most two look-aheads of records are kept, one look-ahead being the larger of two batches per
//! lane and [`LOOK_AHEAD_MIN`].

use super::lane::{Lane, PendingRecord};
use super::protocol::{Fetch, Record, Settings};

/// Least look-ahead, records: small batches are read many at a time.
const LOOK_AHEAD_MIN: usize = 4096;

/// Most records and bytes of one fetch (as Kinesis' `GetRecords`).
const FETCH_RECORDS_MAX: usize = 10_000;
const FETCH_BYTES_MAX: u64 = 10 * 1024 * 1024;

/// A fetch the engine has started.
#[derive(Clone, Copy, Debug)]
struct Outstanding {
    from: u64,
    /// What was known of the log's end then.
    end: u64,
    /// A seek came meanwhile: its records are of no use.
    is_stale: bool,
}

#[derive(Debug)]
pub(super) struct Intake {
    /// Nothing is known to stand at or above it.
    end: u64,
    /// No lane reads past it.
    pub(super) barrier: Option<u64>,
    outstanding: Option<Outstanding>,
    /// Whether the lane that has read furthest is served next, or the one that lags most.
    furthest_first: bool,
    look_ahead: LookAhead,
}

/// Bounds on what the lanes hold, in flight included.
#[derive(Clone, Copy, Debug)]
struct LookAhead {
    records: usize,
    bytes: u64,
    lanes: usize,
}

impl LookAhead {
    fn new(settings: &Settings, lanes: usize) -> Self {
        let batches = 2 * lanes;
        let records = (settings.batch_size as usize * batches).max(LOOK_AHEAD_MIN);
        Self { records, bytes: settings.batch_bytes_max.saturating_mul(batches as u64), lanes }
    }

    fn lane_records(&self) -> usize {
        self.records / self.lanes
    }

    fn lane_bytes(&self) -> u64 {
        self.bytes / self.lanes as u64
    }

    /// Less than half a share waits behind the batch in hand, so the next one is read while that one runs.
    fn is_low(&self, lane: &Lane) -> bool {
        lane.pending.len() - lane.claimed() < self.lane_records() / 2 && lane.bytes < self.lane_bytes() / 4 * 3
    }

    fn is_over(&self, lane: &Lane) -> bool {
        lane.pending.len() >= self.lane_records() || lane.bytes >= self.lane_bytes()
    }
}

/// What a fetch brought besides records.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Taken {
    /// Records that the filters held back.
    pub(super) filtered: u32,
    /// At least one of them stood at a lane's mark, which has moved.
    pub(super) progress: bool,
}

impl Intake {
    pub(super) fn new(settings: &Settings, lanes: usize) -> Self {
        let look_ahead = LookAhead::new(settings, lanes);
        Self { end: u64::MAX, barrier: None, outstanding: None, furthest_first: false, look_ahead }
    }

    pub(super) fn configure(&mut self, settings: &Settings, lanes: usize) {
        self.look_ahead = LookAhead::new(settings, lanes);
    }

    /// The next fetch, when a lane runs low and there may be something for it.
    pub(super) fn wants(&self, lanes: &[Lane]) -> Option<Fetch> {
        if self.outstanding.is_some() {
            return None;
        }
        let limit = self.barrier.unwrap_or(u64::MAX).min(self.end);
        let places =
            lanes.iter().filter(|lane| lane.read_to < limit && self.look_ahead.is_low(lane)).map(|l| l.read_to);
        let from = if self.furthest_first { places.max() } else { places.min() }?;
        let held: usize = lanes.iter().map(|lane| lane.pending.len()).sum();
        let held_bytes: u64 = lanes.iter().map(|lane| lane.bytes).sum();
        let LookAhead { records, bytes, .. } = self.look_ahead;
        let records = records.saturating_sub(held).max(self.look_ahead.lane_records()).min(FETCH_RECORDS_MAX) as u64;
        let bytes = bytes.saturating_sub(held_bytes).max(self.look_ahead.lane_bytes()).min(FETCH_BYTES_MAX);
        Some(Fetch { from, records_max: records.min(limit - from) as u32, bytes_max: bytes.max(1) })
    }

    pub(super) fn fetching(&mut self, from: u64) {
        self.outstanding = Some(Outstanding { from, end: self.end, is_stale: false });
    }

    /// Deal contiguous records out to the lanes.
    pub(super) fn fetched(&mut self, records: &[Record], lanes: &mut [Lane]) -> Taken {
        self.furthest_first = !self.furthest_first;
        let outstanding = self.outstanding.take();
        if outstanding.is_some_and(|fetch| fetch.is_stale) {
            return Taken::default();
        }
        match (records, outstanding) {
            // Nothing was appended since the fetch began, so the log ends here.
            ([], Some(fetch)) if fetch.end == self.end => self.end = fetch.from,
            _ => {}
        }
        let ([first, ..], [.., last]) = (records, records) else { return Taken::default() };
        let end = (last.position + 1).min(self.barrier.unwrap_or(u64::MAX));
        self.deal(&records[..records.len().min(end.saturating_sub(first.position) as usize)], end, lanes)
    }

    fn deal(&self, records: &[Record], end: u64, lanes: &mut [Lane]) -> Taken {
        let Some(first) = records.first().map(|record| record.position) else { return Taken::default() };
        let mut taken = Taken::default();
        let mut held: usize = lanes.iter().map(|lane| lane.pending.len()).sum();
        let mut held_bytes: u64 = lanes.iter().map(|lane| lane.bytes).sum();
        // A lane that has not read up to `first` would miss records; one that stops, stops where its room ended.
        let mut is_open: Vec<bool> = lanes.iter().map(|lane| lane.read_to >= first).collect();
        let count = lanes.len() as u32;
        for record in records {
            let index = (record.key_hash % count) as usize;
            let lane = &mut lanes[index];
            if !is_open[index] || record.position < lane.read_to {
                continue;
            }
            if !record.passes {
                taken.filtered += 1;
                taken.progress |= lane.pending.is_empty();
                continue;
            }
            let is_used_up = held >= self.look_ahead.records || held_bytes >= self.look_ahead.bytes;
            if is_used_up && self.look_ahead.is_over(lane) {
                lane.read_to = record.position;
                is_open[index] = false;
                continue;
            }
            lane.push(PendingRecord::from(record));
            held += 1;
            held_bytes += u64::from(record.bytes);
        }
        for (lane, is_open) in lanes.iter_mut().zip(is_open) {
            if is_open {
                lane.read_to = lane.read_to.max(end);
            }
        }
        taken
    }

    /// The log now ends at `end`.
    pub(super) fn appended(&mut self, end: u64) {
        self.end = end;
    }

    /// Whether a lane has read all there is known to be.
    pub(super) fn is_caught_up(&self, lane: &Lane) -> bool {
        lane.read_to >= self.end
    }

    /// Whether a lane reads no more until all have met.
    pub(super) fn is_at_barrier(&self, lane: &Lane) -> bool {
        self.barrier.is_some_and(|barrier| lane.read_to >= barrier)
    }

    /// What an outstanding fetch brings is to be thrown away.
    pub(super) fn forget_outstanding(&mut self) {
        if let Some(fetch) = &mut self.outstanding {
            fetch.is_stale = true;
        }
    }
}
