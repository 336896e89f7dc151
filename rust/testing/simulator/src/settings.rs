//! A mapping's settings as the simulator draws, changes and declares them.

use serde_json::{json, Value};

use crate::chance::Chance;

/// Where a mapping begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At the oldest record kept.
    Oldest,
    /// After everything that is there.
    Latest,
}

/// Settings of one mapping.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Where it begins.
    pub start: Start,
    /// Most records of a batch.
    pub batch_size: u64,
    /// Batching window, ms.
    pub window_ms: u64,
    /// Lanes of each shard.
    pub lanes: u64,
    /// Retries; `None` for ever.
    pub retries: Option<u64>,
    /// Records older than this are given up, ms; `None` never.
    pub age_ms: Option<u64>,
    /// Split failed batches.
    pub bisect: bool,
    /// Read reports of single failures.
    pub reports: bool,
    /// Tumbling window, ms; 0 for none.
    pub tumbling_ms: u64,
    /// Send failures to the destination.
    pub sends_failures: bool,
    /// Failure records carry the event.
    pub includes_payload: bool,
    /// First delay before a retry, ms.
    pub backoff_ms: u64,
    /// Whether it runs.
    pub enabled: bool,
}

impl Settings {
    /// Draw settings: small batches, so that there are many decisions for each record.
    pub fn draw(chance: &mut Chance) -> Self {
        let tumbles = chance.one_in(8);
        let hurries = chance.one_in(2);
        Self {
            start: if chance.one_in(5) { Start::Latest } else { Start::Oldest },
            batch_size: if chance.one_in(6) { chance.between(20, 60) } else { chance.between(1, 15) },
            window_ms: if hurries { 0 } else { chance.between(1, 400) },
            lanes: if tumbles || chance.one_in(3) { 1 } else { chance.between(2, 10) },
            retries: if chance.one_in(5) { None } else { Some(chance.below(5)) },
            age_ms: chance.one_in(4).then(|| chance.between(60_000, 90_000)),
            bisect: chance.one_in(3),
            reports: chance.one_in(3),
            tumbling_ms: if tumbles { chance.between(200, 5_000) } else { 0 },
            sends_failures: chance.one_in(2),
            includes_payload: chance.one_in(4),
            backoff_ms: if chance.one_in(4) { chance.between(500, 40_000) } else { chance.between(0, 300) },
            enabled: true,
        }
    }

    /// The same with something changed, as an operator or a new version of the app would.
    #[must_use]
    pub fn changed(&self, chance: &mut Chance) -> Self {
        let other = Self::draw(chance);
        let mut changed = Self { start: self.start, enabled: self.enabled, ..self.clone() };
        for _ in 0..=chance.below(2) {
            match chance.below(7) {
                0 => changed.batch_size = other.batch_size,
                1 => changed.window_ms = other.window_ms,
                2 => (changed.lanes, changed.tumbling_ms) = (other.lanes, other.tumbling_ms),
                3 => changed.retries = other.retries,
                4 => changed.age_ms = other.age_ms,
                5 => (changed.bisect, changed.reports) = (other.bisect, other.reports),
                _ => changed.sends_failures = other.sends_failures,
            }
        }
        changed
    }

    /// As `mapping.declare` takes them.
    pub fn to_json(&self, stream: &str, function: &str, destination: &str) -> Value {
        let unlimited = |limit: Option<u64>| limit.map_or(-1, |limit| limit as i64);
        json!({
            "stream": stream, "function": function,
            "starting_position": match self.start { Start::Oldest => "TRIM_HORIZON", Start::Latest => "LATEST" },
            "batch_size": self.batch_size, "maximum_batching_window_ms": self.window_ms,
            "parallelization_factor": self.lanes, "maximum_retry_attempts": unlimited(self.retries),
            "maximum_record_age_ms": unlimited(self.age_ms), "bisect_batch_on_function_error": self.bisect,
            "report_batch_item_failures": self.reports, "filters": [], "tumbling_window_ms": self.tumbling_ms,
            "on_failure": self.sends_failures.then_some(destination), "include_payload": self.includes_payload,
            "retry_backoff": {"base_ms": self.backoff_ms, "cap_ms": self.backoff_ms.max(2_000), "jitter": 0.2},
            "enabled": self.enabled,
        })
    }
}
