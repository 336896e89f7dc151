//! Settings of asynchronous invocation, as the simulator draws, changes and registers them; and the options of single calls.

use serde_json::{json, Value};

use crate::chance::Chance;

/// What a caller wants beside the run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wish {
    /// Wait before the first attempt, ms.
    pub delay_ms: u64,
    /// Of the events with one id one is accepted within [`WINDOW_MS`].
    pub id: Option<String>,
    /// The result is kept.
    pub keeps_result: bool,
}

/// How long an id is remembered.
pub const WINDOW_MS: u64 = 60_000;

impl Wish {
    /// Draw the options of a call of a function; most calls have none.
    pub fn draw(chance: &mut Chance, function: &str) -> Self {
        if !chance.one_in(4) {
            return Self::default();
        }
        Self {
            delay_ms: if chance.one_in(2) { chance.between(1, 30_000) } else { 0 },
            id: chance.one_in(2).then(|| format!("{function} {}", chance.below(8))),
            keeps_result: chance.one_in(2),
        }
    }

    /// As a request has them; `None`: there are none.
    pub fn to_json(&self) -> Option<Value> {
        (*self != Self::default()).then(|| {
            json!({
                "delay_ms": self.delay_ms, "deduplication_id": self.id, "keep_result": self.keeps_result,
                "deduplication_window_ms": self.id.as_ref().map(|_| WINDOW_MS),
            })
        })
    }
}

/// How a function is invoked asynchronously.
#[derive(Clone, Debug, PartialEq)]
pub struct EventSettings {
    /// Retries after the first attempt.
    pub retries: u32,
    /// No attempt starts at this age, ms.
    pub age_ms: u64,
    /// Wait before a retry, ms.
    pub delay_ms: u64,
    /// Who is told of an event that was done.
    pub on_success: Option<String>,
    /// Who is told of one that failed for good.
    pub on_failure: Option<String>,
}

impl EventSettings {
    /// Draw settings. `targets`: names of destinations.
    pub fn draw(chance: &mut Chance, targets: &[String]) -> Self {
        let mut target = |one_in: u64| chance.one_in(one_in).then(|| chance.pick(targets).clone());
        let (on_success, on_failure) = (target(3), target(2));
        Self {
            retries: chance.below(3) as u32,
            age_ms: if chance.one_in(4) { 60_000 } else { 21_600_000 },
            delay_ms: if chance.one_in(6) { chance.between(10_000, 60_000) } else { chance.between(0, 2_000) },
            on_success,
            on_failure,
        }
    }

    /// As a registration has them.
    pub fn to_json(&self) -> Value {
        json!({
            "maximum_retry_attempts": self.retries, "maximum_event_age_ms": self.age_ms,
            "retry_delays_ms": [self.delay_ms, 2 * self.delay_ms], "on_success": self.on_success,
            "on_failure": self.on_failure,
        })
    }
}
