//! The handles through which the engine counts, taken once for each function, mapping and stream.

use forebay_core::alias::Version;
use forebay_core::concurrency::Use;
use forebay_core::environment::{Counts, Initialization};
use forebay_core::invocation::protocol::Condition as EventCondition;
use forebay_core::stream::protocol::Condition;

use crate::metrics::{Counter, Distribution, Gauge, Metric, Registry};
use crate::payload::failure_key::condition_name;

/// Handlers past their timeout of one function, above which the app is not ready.
pub(crate) const OVERDUE_MAX: f64 = 100.0;

pub(crate) struct FunctionMeters {
    pub(crate) succeeded: Counter,
    pub(crate) failed: Counter,
    pub(crate) timed_out: Counter,
    pub(crate) errors: Counter,
    pub(crate) timeouts: Counter,
    pub(crate) duration: Distribution,
    pub(crate) in_flight: Gauge,
    pub(crate) overdue: Gauge,
    /// The same again, of a published version alone.
    of_version: Option<[Counter; 3]>,
}

impl FunctionMeters {
    pub(crate) fn new(registry: &Registry, function: &str, version: Version) -> Self {
        let number = version.to_string();
        let counted = |outcome| registry.counter(Metric::VersionInvocations, &[function, &number, outcome]);
        Self {
            of_version: (version != Version::Latest).then(|| ["success", "error", "timeout"].map(counted)),
            succeeded: registry.counter(Metric::Invocations, &[function, "success"]),
            failed: registry.counter(Metric::Invocations, &[function, "error"]),
            timed_out: registry.counter(Metric::Invocations, &[function, "timeout"]),
            errors: registry.counter(Metric::Errors, &[function]),
            timeouts: registry.counter(Metric::Timeouts, &[function]),
            duration: registry.distribution(Metric::InvocationDuration, &[function]),
            in_flight: registry.gauge(Metric::InFlight, &[function]),
            overdue: registry.gauge(Metric::ZombieHandlers, &[function]),
        }
    }

    /// Count an attempt that has ended, by its status (`_core.pyi`).
    pub(crate) fn ended(&self, status: u8, duration_ns: u64) {
        match status {
            0 => self.succeeded.increment(),
            1 => {
                self.failed.increment();
                self.errors.increment();
            }
            2 => {
                self.timed_out.increment();
                self.errors.increment();
                self.timeouts.increment();
            }
            _ => return,
        }
        if let Some(counters) = &self.of_version {
            counters[usize::from(status)].increment();
        }
        self.duration.record(duration_ns as f64 / 1e9);
    }
}

/// How much of an account's concurrency is in use.
pub(crate) struct AccountMeters {
    unreserved: Gauge,
    claimed: Gauge,
    shown: Option<Use>,
}

impl AccountMeters {
    pub(crate) fn new(registry: &Registry) -> Self {
        Self {
            unreserved: registry.gauge(Metric::UnreservedConcurrency, &[]),
            claimed: registry.gauge(Metric::ClaimedConcurrency, &[]),
            shown: None,
        }
    }

    /// Show what has changed.
    pub(crate) fn show(&mut self, of: Use) {
        if self.shown.replace(of) != Some(of) {
            self.unreserved.set(of.unreserved as f64);
            self.claimed.set(of.claimed as f64);
        }
    }
}

/// One function's provisioned concurrency.
pub(crate) struct ProvisionedMeters {
    pub(crate) invocations: Counter,
    pub(crate) spilled: Counter,
    running: Gauge,
    utilization: Gauge,
    shown: Option<(u32, u32, u32)>,
}

impl ProvisionedMeters {
    pub(crate) fn new(registry: &Registry, function: &str) -> Self {
        let name = [function];
        Self {
            invocations: registry.counter(Metric::ProvisionedInvocations, &name),
            spilled: registry.counter(Metric::ProvisionedSpillover, &name),
            running: registry.gauge(Metric::ProvisionedRunning, &name),
            utilization: registry.gauge(Metric::ProvisionedUtilization, &name),
            shown: None,
        }
    }

    /// Show what is asked for, usable, and in use, where that has changed.
    pub(crate) fn show(&mut self, of: (u32, u32, u32)) {
        if self.shown.replace(of) != Some(of) {
            let (_, usable, in_use) = of;
            self.running.set(f64::from(in_use));
            self.utilization.set(if usable == 0 { 0.0 } else { f64::from(in_use) / f64::from(usable) });
        }
    }
}

/// One function's execution environments.
pub(crate) struct EnvironmentMeters {
    by_state: [Gauge; 4],
    on_demand: Counter,
    provisioned: Counter,
    pub(crate) init_duration: Distribution,
}

impl EnvironmentMeters {
    pub(crate) fn new(registry: &Registry, function: &str) -> Self {
        let by_state = ["starting", "idle", "busy", "ending"];
        let starts = |kind| registry.counter(Metric::EnvironmentStarts, &[function, kind]);
        Self {
            by_state: by_state.map(|state| registry.gauge(Metric::Environments, &[function, state])),
            on_demand: starts("on-demand"),
            provisioned: starts("provisioned"),
            init_duration: registry.distribution(Metric::InitDuration, &[function]),
        }
    }

    pub(crate) fn started(&self, initialization: Initialization) {
        match initialization {
            Initialization::OnDemand => self.on_demand.increment(),
            Initialization::Provisioned => self.provisioned.increment(),
        }
    }

    pub(crate) fn show(&self, counts: Counts) {
        let counts = [counts.starting, counts.idle, counts.busy, counts.ending];
        for (gauge, count) in self.by_state.iter().zip(counts) {
            gauge.set(count as f64);
        }
    }
}

/// What became of a mapping's failure records.
#[derive(Clone)]
pub(crate) struct MappingDeliveries {
    pub(crate) delivered: Counter,
    pub(crate) undelivered: Counter,
    pub(crate) failures: Counter,
    pub(crate) records: Counter,
}

/// What became of the records of a function's events.
#[derive(Clone)]
pub(crate) struct EventDeliveries {
    pub(crate) delivered: Counter,
    pub(crate) undelivered: Counter,
    pub(crate) failures: Counter,
    pub(crate) dead_letter_errors: Counter,
}

pub(crate) struct MappingMeters {
    pub(crate) iterator_age: Distribution,
    pub(crate) batch_size: Distribution,
    pub(crate) lanes_busy: Gauge,
    pub(crate) retries: Counter,
    pub(crate) bisects: Counter,
    pub(crate) filtered: Counter,
    pub(crate) polled: Counter,
    pub(crate) invoked: Counter,
    discarded: [Counter; 5],
    pub(crate) deliveries: MappingDeliveries,
    pub(crate) failed: Counter,
    pub(crate) expired: Counter,
}

const CONDITIONS: [Condition; 5] = [
    Condition::RetryAttemptsExhausted,
    Condition::RecordAgeExceeded,
    Condition::RuntimeInterrupted,
    Condition::Skipped,
    Condition::Trimmed,
];

impl MappingMeters {
    pub(crate) fn new(registry: &Registry, stream: &str, function: &str) -> Self {
        let mapping = format!("{stream}/{function}");
        let name = [mapping.as_str()];
        Self {
            iterator_age: registry.distribution(Metric::IteratorAge, &name),
            batch_size: registry.distribution(Metric::BatchSize, &name),
            lanes_busy: registry.gauge(Metric::LanesBusy, &name),
            retries: registry.counter(Metric::Retries, &name),
            bisects: registry.counter(Metric::Bisects, &name),
            filtered: registry.counter(Metric::RecordsFiltered, &name),
            polled: registry.counter(Metric::RecordsPolled, &name),
            invoked: registry.counter(Metric::RecordsInvoked, &name),
            discarded: CONDITIONS
                .map(|condition| registry.counter(Metric::RecordsDiscarded, &[name[0], condition_name(condition)])),
            deliveries: MappingDeliveries {
                delivered: registry.counter(Metric::DestinationDeliveries, &[function, "confirmed"]),
                undelivered: registry.counter(Metric::DestinationDeliveries, &[function, "failed"]),
                failures: registry.counter(Metric::DestinationFailures, &[function]),
                records: registry.counter(Metric::RecordsDelivered, &name),
            },
            failed: registry.counter(Metric::RecordsFailed, &name),
            expired: registry.counter(Metric::RecordsExpired, &[stream]),
        }
    }

    pub(crate) fn discarded(&self, condition: Condition) -> &Counter {
        let at = CONDITIONS.iter().position(|known| *known == condition).unwrap_or(0);
        &self.discarded[at]
    }
}

pub(crate) struct EventMeters {
    pub(crate) received: Counter,
    pub(crate) age: Distribution,
    dropped: [Counter; 6],
    recursive: Counter,
    pub(crate) deliveries: EventDeliveries,
}

impl EventMeters {
    pub(crate) fn new(registry: &Registry, function: &str) -> Self {
        let name = [function];
        Self {
            received: registry.counter(Metric::AsyncEventsReceived, &name),
            age: registry.distribution(Metric::AsyncEventAge, &name),
            dropped: EventCondition::ALL
                .map(|condition| registry.counter(Metric::AsyncEventsDropped, &[function, condition.as_str()])),
            recursive: registry.counter(Metric::RecursiveInvocationsDropped, &name),
            deliveries: EventDeliveries {
                delivered: registry.counter(Metric::DestinationDeliveries, &[function, "confirmed"]),
                undelivered: registry.counter(Metric::DestinationDeliveries, &[function, "failed"]),
                failures: registry.counter(Metric::DestinationFailures, &name),
                dead_letter_errors: registry.counter(Metric::DeadLetterErrors, &name),
            },
        }
    }

    /// Count an event whose life is over.
    pub(crate) fn ended(&self, condition: EventCondition) {
        if condition == EventCondition::Success {
            return;
        }
        if condition == EventCondition::RecursiveInvocation {
            self.recursive.increment();
        }
        let at = EventCondition::ALL.iter().position(|known| *known == condition).unwrap_or(0);
        self.dropped[at].increment();
    }
}

pub(crate) struct StreamMeters {
    pub(crate) records: Counter,
    pub(crate) bytes: Counter,
}

impl StreamMeters {
    pub(crate) fn new(registry: &Registry, stream: &str) -> Self {
        Self {
            records: registry.counter(Metric::RecordsPut, &[stream]),
            bytes: registry.counter(Metric::BytesPut, &[stream]),
        }
    }
}

pub(crate) struct StoreMeters {
    pub(crate) commits: Counter,
    pub(crate) commit_duration: Distribution,
    pub(crate) bytes: Counter,
    pub(crate) refused: Counter,
    pub(crate) failed: Counter,
}

impl StoreMeters {
    pub(crate) fn new(registry: &Registry) -> Self {
        Self {
            commits: registry.counter(Metric::StoreCommits, &[]),
            commit_duration: registry.distribution(Metric::StoreCommitDuration, &[]),
            bytes: registry.counter(Metric::StoreBytes, &[]),
            refused: registry.counter(Metric::StoreErrors, &["full"]),
            failed: registry.counter(Metric::StoreErrors, &["failed"]),
        }
    }
}
