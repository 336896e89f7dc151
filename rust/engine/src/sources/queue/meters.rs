//! The handles through which queues and their mappings are counted.

use forebay_core::queue::protocol::Depth;

use crate::metrics::{Counter, Distribution, Gauge, Metric, Registry};

pub(crate) struct QueueMeters {
    pub(crate) sent: Counter,
    pub(crate) size: Distribution,
    pub(crate) received: Counter,
    pub(crate) empty_receives: Counter,
    pub(crate) deleted: Counter,
    pub(crate) deduplicated: Counter,
    pub(crate) expired: Counter,
    pub(crate) dead_letters: Counter,
    visible: Gauge,
    in_flight: Gauge,
    delayed: Gauge,
    oldest: Gauge,
}

impl QueueMeters {
    pub(crate) fn new(registry: &Registry, queue: &str) -> Self {
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
    pub(crate) fn show(&self, depth: Depth, oldest_age_ms: Option<u64>) {
        self.visible.set(depth.visible as f64);
        self.in_flight.set(depth.in_flight as f64);
        self.delayed.set(depth.delayed as f64);
        self.oldest.set(oldest_age_ms.unwrap_or(0) as f64 / 1e3);
    }
}

pub(crate) struct MappingMeters {
    pub(crate) polled: Counter,
    pub(crate) invoked: Counter,
    pub(crate) batch_size: Distribution,
    pub(crate) retries: Counter,
    pub(crate) failed: Counter,
    pub(crate) done: Counter,
    filtered: Counter,
    no_match: Counter,
    not_json: Counter,
    pub(crate) recursive: Counter,
}

impl MappingMeters {
    pub(crate) fn new(registry: &Registry, queue: &str, function: &str) -> Self {
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
    pub(crate) fn held_back(&self, count: u64, not_json: u64) {
        self.filtered.add(count);
        self.no_match.add(count - not_json);
        self.not_json.add(not_json);
    }
}
