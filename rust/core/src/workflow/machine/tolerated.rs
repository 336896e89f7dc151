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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_bears_failures_up_to_either_of_its_limits() {
        for (count, percentage, failed, all, is_exceeded) in [
            (None, None, 0, Some(10), false),
            (None, None, 1, Some(10), true),
            (None, None, 1, None, true),
            (Some(2), None, 2, None, false),
            (Some(2), None, 3, Some(100), true),
            (Some(0), None, 1, None, true),
            (None, Some(20.0), 2, Some(10), false),
            (None, Some(20.0), 3, Some(10), true),
            (None, Some(0.5), 1, Some(200), false),
            (None, Some(0.5), 2, Some(200), true),
            (None, Some(0.0), 1, None, true),
            (None, Some(0.1), 1_000, None, false),
            (None, Some(100.0), 10, Some(10), false),
            (Some(5), Some(20.0), 3, Some(10), true),
            (Some(1), Some(50.0), 2, Some(10), true),
            (Some(5), Some(50.0), 5, Some(10), false),
            (Some(0), Some(0.0), 0, None, false),
        ] {
            let tolerated = Tolerated { count, percentage };
            assert_eq!(tolerated.is_exceeded(failed, all), is_exceeded, "{tolerated:?} {failed} of {all:?}");
        }
    }
}
