//! Failures that a distributed Map bears, and when they are too many.

use serde::{Deserialize, Serialize};

/// Failures that a run bears.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tolerated {
    /// Items that may fail.
    pub count: Option<u64>,
    /// Percentage of the items that may fail, 0 to 100.
    pub percentage: Option<f64>,
}

impl Tolerated {
    /// Whether so many failures among so many items are too many; without a limit of its own the first one is. `None`: nobody knows yet how
    /// many items there are, and any number of failures may still be few.
    pub(super) fn is_exceeded(&self, failed: u64, all: Option<u64>) -> bool {
        if failed == 0 {
            return false;
        }
        let by_count = self.count.map(|count| failed > count);
        let by_percentage = self.percentage.map(|most| match all {
            Some(all) => failed as f64 * 100.0 > most * all as f64,
            None => most == 0.0,
        });
        match (by_count, by_percentage) {
            (None, None) => true,
            (count, percentage) => count == Some(true) || percentage == Some(true),
        }
    }
}
