//! What a restart may skip: one mark per lane.

use serde::{Deserialize, Serialize};

/// Possible numbers of lanes.
const LANES: std::ops::RangeInclusive<usize> = 1..=10;

/// Progress of one mapping on one shard. A record is done if its position is below `marks[lane]`, where the lane is
/// `key_hash % marks.len()`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Per lane: everything of that lane below this position is done. 1..=10 entries; their number is the
    /// parallelization factor that was in force.
    pub marks: Vec<u64>,
    /// The tumbling window in progress, committed with the marks.
    pub window: Option<WindowState>,
    /// The shard was closed and everything in it is done.
    pub ended: bool,
    /// Batches that were tried and are not done, in the order of their lanes and in them, so that retries are counted over a
    /// restart.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tried: Vec<Tried>,
}

/// A batch that was tried and is not done, or waits behind one since a split.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    /// Its lane.
    pub lane: u8,
    /// Position of its last record; `None`: it is the final invoke of the window in progress.
    pub last: Option<u64>,
    /// Attempts that have ended.
    pub runs: u32,
    /// Attempts that failed.
    pub failures: u32,
}

/// State of the tumbling window in progress.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowState {
    /// Window start, wall ms.
    pub start_ms: u64,
    /// Window end, wall ms, exclusive.
    pub end_ms: u64,
    /// JSON text. Over 1 MB only until the final invoke that the size itself brings about.
    pub state: String,
}

impl Checkpoint {
    /// A mapping that begins at `position` with `lanes` lanes.
    pub fn starting_at(position: u64, lanes: u8) -> Self {
        Self { marks: vec![position; usize::from(lanes)], window: None, ended: false, tried: Vec::new() }
    }

    /// Why no machine can go on from this, if none can.
    pub fn flaw(&self) -> Option<String> {
        if !LANES.contains(&self.marks.len()) {
            return Some(format!("it has {} marks: 1 to 10 are possible", self.marks.len()));
        }
        if self.window.as_ref().is_some_and(|window| window.start_ms >= window.end_ms) {
            return Some("its window ends before it begins".into());
        }
        let stray = self.tried.iter().find(|tried| usize::from(tried.lane) >= self.marks.len());
        stray.map(|tried| format!("it counts tries of lane {}, of {} lanes", tried.lane, self.marks.len()))
    }

    /// The position from which records must be read again after a restart.
    pub fn low(&self) -> u64 {
        self.marks.iter().copied().min().unwrap_or(0)
    }
}
