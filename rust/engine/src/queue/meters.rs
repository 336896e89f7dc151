//! The handles through which queues and their mappings are counted.

use forebay_core::queue::face::Depth;

use crate::metrics::{Counter, Distribution, Gauge, Metric, Registry};

pub(super) struct QueueMeters {
    pub(super) sent: Counter,
    pub(super) size: Distribution,
    pub(super) received: Counter,
    pub(super) empty_receives: Counter,
    pub(super) deleted: Counter,
    pub(super) deduplicated: Counter,
    pub(super) expired: Counter,
    pub(super) dead_letters: Counter,
    visible: Gauge,
    in_flight: Gauge,
    delayed: Gauge,
    oldest: Gauge,
}

impl QueueMeters {
    pub(super) fn new(registry: &Registry, queue: &str) -> Self {
        let name = [queue];
        Self {
            sent: registry.counter(Metric::MessagesSent, &name),
            size: registry.distribution(Metric::MessageSize, &name),
            received: registry.counter(Metric::MessagesReceived, &name),
            empty_receives: registry.counter(Metric::EmptyReceives, &name),
            deleted: registry.counter(Metric::MessagesDeleted, &name),
            deduplicated: registry.counter(Metric::MessagesDeduplicated, &name),
            expired: registry.counter(Metric::MessagesExpired, &name),
            dead_letters: registry.counter(Metric::DeadLetters, &name),
            visible: registry.gauge(Metric::MessagesVisible, &name),
            in_flight: registry.gauge(Metric::MessagesInFlight, &name),
            delayed: registry.gauge(Metric::MessagesDelayed, &name),
            oldest: registry.gauge(Metric::OldestMessageAge, &name),
        }
    }

    /// Bring the gauges up to date.
    pub(super) fn show(&self, depth: Depth, oldest_age_ms: Option<u64>) {
        self.visible.set(depth.visible as f64);
        self.in_flight.set(depth.in_flight as f64);
        self.delayed.set(depth.delayed as f64);
        self.oldest.set(oldest_age_ms.unwrap_or(0) as f64 / 1e3);
    }
}

pub(super) struct MappingMeters {
    pub(super) polled: Counter,
    pub(super) invoked: Counter,
    pub(super) batch_size: Distribution,
    pub(super) retries: Counter,
    pub(super) failed: Counter,
    pub(super) done: Counter,
    filtered: Counter,
    no_match: Counter,
    not_json: Counter,
    pub(super) recursive: Counter,
}

impl MappingMeters {
    pub(super) fn new(registry: &Registry, queue: &str, function: &str) -> Self {
        let mapping = format!("{queue}/{function}");
        let name = [mapping.as_str()];
        Self {
            polled: registry.counter(Metric::RecordsPolled, &name),
            invoked: registry.counter(Metric::RecordsInvoked, &name),
            batch_size: registry.distribution(Metric::BatchSize, &name),
            retries: registry.counter(Metric::Retries, &name),
            failed: registry.counter(Metric::RecordsFailed, &name),
            done: registry.counter(Metric::MessagesDone, &name),
            filtered: registry.counter(Metric::RecordsFiltered, &name),
            no_match: registry.counter(Metric::MessagesFiltered, &[name[0], "no_match"]),
            not_json: registry.counter(Metric::MessagesFiltered, &[name[0], "not_json"]),
            recursive: registry.counter(Metric::RecursiveInvocationsDropped, &[function]),
        }
    }

    /// Count messages that no filter let through, and those among them that were not JSON.
    pub(super) fn held_back(&self, count: u64, not_json: u64) {
        self.filtered.add(count);
        self.no_match.add(count - not_json);
        self.not_json.add(not_json);
    }
}
