//! Settings of queues and of the mappings that read them, as the simulator draws, changes and declares them.

use serde_json::{json, Value};

use crate::chance::Chance;

/// Whether a queue of this name keeps order.
pub fn is_fifo(name: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(_, kind)| kind == "fifo")
}

/// Settings of a queue.
#[derive(Clone, Debug, PartialEq)]
pub struct QueueSettings {
    /// How long a receiver has a message, ms.
    pub visibility_ms: u64,
    /// How long a message waits before its first receive, ms.
    pub delay_ms: u64,
    /// How long a message stays, ms.
    pub retention_ms: u64,
    /// Messages that were received too often go to the dead letters.
    pub dead_letters: bool,
    /// How often that is.
    pub receives_max: u32,
}

impl QueueSettings {
    /// Draw settings. `expires`: some messages grow too old.
    pub fn draw(chance: &mut Chance, expires: bool) -> Self {
        Self {
            visibility_ms: chance.between(4_000, 20_000),
            delay_ms: if chance.one_in(4) { chance.between(1, 2_000) } else { 0 },
            retention_ms: if expires && chance.one_in(2) { chance.between(60_000, 90_000) } else { 345_600_000 },
            dead_letters: chance.one_in(2),
            receives_max: chance.between(1, 6) as u32,
        }
    }

    /// The same with something changed.
    #[must_use]
    pub fn changed(&self, chance: &mut Chance, expires: bool) -> Self {
        let other = Self::draw(chance, expires);
        let mut changed = self.clone();
        match chance.below(4) {
            0 => changed.visibility_ms = other.visibility_ms,
            1 => changed.delay_ms = other.delay_ms,
            2 => changed.retention_ms = other.retention_ms,
            _ => (changed.dead_letters, changed.receives_max) = (other.dead_letters, other.receives_max),
        }
        changed
    }

    /// As `queue.declare` takes them.
    pub fn to_json(&self, name: &str, dead: &str) -> Value {
        json!({
            "name": name, "visibility_timeout_ms": self.visibility_ms, "delay_ms": self.delay_ms,
            "retention_ms": self.retention_ms, "content_based_deduplication": false, "deduplication_scope": "queue",
            "dead_letter_queue": self.dead_letters.then_some(dead), "maximum_receive_count": self.receives_max,
        })
    }
}

/// Settings of a mapping on a queue.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkerSettings {
    /// Most messages of a batch.
    pub batch_size: u32,
    /// Batching window, ms.
    pub window_ms: u64,
    /// Most batches in flight.
    pub maximum_concurrency: Option<u32>,
    /// Read reports of single failures.
    pub reports: bool,
    /// First delay of a retry, ms; `None`: a second, and the queue's visibility timeout at most.
    pub retry_ms: Option<u64>,
    /// Hold messages for the visibility timeout, as AWS does.
    pub strict: bool,
}

impl WorkerSettings {
    /// Draw settings.
    pub fn draw(chance: &mut Chance, is_fifo: bool) -> Self {
        let window_ms = if is_fifo || chance.one_in(2) { 0 } else { chance.between(1, 400) };
        let strict = chance.one_in(6);
        let batch_size = if window_ms > 0 && chance.one_in(3) { chance.between(11, 40) } else { chance.between(1, 10) };
        Self {
            batch_size: batch_size as u32,
            window_ms,
            maximum_concurrency: chance.one_in(3).then(|| chance.between(2, 6) as u32),
            reports: chance.one_in(3),
            retry_ms: (!strict && chance.one_in(2)).then(|| chance.between(0, 2_000)),
            strict,
        }
    }

    /// As `mapping.declare` takes them.
    pub fn to_json(&self, queue: &str, function: &str, enabled: bool) -> Value {
        json!({
            "queue": queue, "function": function, "batch_size": self.batch_size,
            "maximum_batching_window_ms": self.window_ms, "maximum_concurrency": self.maximum_concurrency,
            "report_batch_item_failures": self.reports, "filters": [],
            "retry_delay": self.retry_ms.map(|base_ms| json!({"base_ms": base_ms, "cap_ms": base_ms.max(2_000), "jitter": 0.2})),
            "strict_lambda": self.strict, "enabled": enabled,
        })
    }
}
