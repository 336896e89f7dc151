//! What a restart may skip: one mark per lane.

use serde::{Deserialize, Serialize};

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
        Self { marks: vec![position; usize::from(lanes)], window: None, ended: false }
    }

    /// The position from which records must be read again after a restart.
    pub fn low(&self) -> u64 {
        self.marks.iter().copied().min().unwrap_or(0)
    }
}
