//! The numbers: one registry per engine, cheap handles for whoever counts.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use forebay_core::histogram::Histogram;

use super::catalogue::{Kind, Metric, METRICS};

/// Most series of a counter or gauge; further label sets are counted together under [`OTHER`].
pub const SERIES_MAX: usize = 10_000;
/// Most series of a distribution, which is bigger.
pub const DISTRIBUTIONS_MAX: usize = 1_000;
/// The value every label gets when a metric has its most series.
pub const OTHER: &str = "other";

/// A number that only grows. Clones count together.
#[derive(Clone, Debug, Default)]
pub struct Counter(Arc<AtomicU64>);

impl Counter {
    /// Count one more.
    #[inline]
    pub fn increment(&self) {
        self.add(1);
    }

    /// Count `n` more.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    /// The count since the start.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A number that goes up and down, 0 or more. Clones show the same number.
#[derive(Clone, Debug, Default)]
pub struct Gauge(Arc<AtomicU64>);

impl Gauge {
    /// Show `value`.
    #[inline]
    pub fn set(&self, value: f64) {
        self.0.store(value.to_bits(), Relaxed);
    }

    /// Show `change` more, or less.
    #[inline]
    pub fn add(&self, change: f64) {
        let change = |bits| Some((f64::from_bits(bits) + change).to_bits());
        // The closure always gives a value, so this cannot fail.
        let _ = self.0.fetch_update(Relaxed, Relaxed, change);
    }

    /// The number shown.
    pub fn get(&self) -> f64 {
        f64::from_bits(self.0.load(Relaxed))
    }
}

/// Values of which percentiles are wanted. Clones record together.
#[derive(Clone, Debug)]
pub struct Distribution {
    samples: Arc<Mutex<Histogram>>,
    refused: Counter,
}

impl Distribution {
    /// Record a value in the catalogue's unit. One that no distribution takes is counted as refused.
    #[inline]
    pub fn record(&self, value: f64) {
        self.record_n(value, 1);
    }

    /// Record a value `times` times.
    #[inline]
    pub fn record_n(&self, value: f64, times: u64) {
        if lock(&self.samples).record_n(value, times).is_err() {
            self.refused.add(times);
        }
    }

    /// What was recorded since the start.
    pub fn total(&self) -> Histogram {
        lock(&self.samples).clone()
    }
}

/// The labels of one series.
#[derive(Debug, PartialEq, Eq)]
pub struct Labels {
    /// Values, in the order of the catalogue's names.
    pub values: Box<[Box<str>]>,
    /// `name="value",name="value"`, escaped for every exposition format.
    pub text: Box<str>,
}

/// One series of a metric.
#[derive(Clone, Debug)]
pub struct Series {
    /// Its labels.
    pub labels: Arc<Labels>,
    /// Its numbers.
    pub numbers: Numbers,
}

/// The numbers of a series.
#[derive(Clone, Debug)]
pub enum Numbers {
    /// Of a counter.
    Counter(Counter),
    /// Of a gauge.
    Gauge(Gauge),
    /// Of a distribution.
    Distribution(Distribution),
}

type Family = BTreeMap<Box<[Box<str>]>, Series>;

/// Every series of every metric.
#[derive(Debug)]
pub struct Registry {
    families: Vec<Mutex<Family>>,
    refused: Counter,
}

impl Registry {
    /// A registry that knows its build and nothing else.
    pub fn new() -> Self {
        let families = METRICS.iter().map(|_| Mutex::default()).collect();
        let mut registry = Self { families, refused: Counter::default() };
        registry.refused = registry.counter(Metric::MetricValuesRefused, &[]);
        registry.gauge(Metric::Build, &[env!("CARGO_PKG_VERSION")]).set(1.0);
        registry
    }

    /// The counter with these label values, made at first use. Keep the handle: finding it again takes a lock.
    ///
    /// # Panics
    /// When the metric is no counter or has another number of labels than given: the catalogue says.
    pub fn counter(&self, metric: Metric, labels: &[&str]) -> Counter {
        match self.series(metric, labels, Kind::Counter) {
            Numbers::Counter(counter) => counter,
            _ => unreachable!("the kind was checked"),
        }
    }

    /// The gauge with these label values, made at first use.
    ///
    /// # Panics
    /// As [`Registry::counter`].
    pub fn gauge(&self, metric: Metric, labels: &[&str]) -> Gauge {
        match self.series(metric, labels, Kind::Gauge) {
            Numbers::Gauge(gauge) => gauge,
            _ => unreachable!("the kind was checked"),
        }
    }

    /// The distribution with these label values, made at first use.
    ///
    /// # Panics
    /// As [`Registry::counter`].
    pub fn distribution(&self, metric: Metric, labels: &[&str]) -> Distribution {
        match self.series(metric, labels, Kind::Distribution) {
            Numbers::Distribution(distribution) => distribution,
            _ => unreachable!("the kind was checked"),
        }
    }

    /// Stop showing a series: its function, stream or shard is gone. Handles kept elsewhere count on unseen.
    pub fn forget(&self, metric: Metric, labels: &[&str]) {
        lock(&self.families[metric as usize]).remove(&boxed(labels));
    }

    /// The series of a metric, ordered by label values.
    pub fn gather(&self, metric: Metric) -> Vec<Series> {
        lock(&self.families[metric as usize]).values().cloned().collect()
    }

    fn series(&self, metric: Metric, labels: &[&str], kind: Kind) -> Numbers {
        let described = metric.describe();
        assert!(described.kind == kind, "{} is no {kind:?}", described.name);
        assert!(described.labels.len() == labels.len(), "{} has the labels {:?}", described.name, described.labels);
        let most = if kind == Kind::Distribution { DISTRIBUTIONS_MAX } else { SERIES_MAX };
        let mut family = lock(&self.families[metric as usize]);
        let mut key = boxed(labels);
        if family.len() >= most && !family.contains_key(&key) {
            key = boxed(&vec![OTHER; labels.len()]);
        }
        if let Some(series) = family.get(&key) {
            return series.numbers.clone();
        }
        let numbers = match kind {
            Kind::Counter => Numbers::Counter(Counter::default()),
            Kind::Gauge => Numbers::Gauge(Gauge::default()),
            Kind::Distribution => {
                Numbers::Distribution(Distribution { samples: Arc::default(), refused: self.refused.clone() })
            }
        };
        let labels = Arc::new(Labels { text: render(described.labels, &key), values: key.clone() });
        family.insert(key, Series { labels, numbers: numbers.clone() });
        numbers
    }
}

impl Default for Registry {
    fn default() -> Self {
        Self::new()
    }
}

fn boxed(labels: &[&str]) -> Box<[Box<str>]> {
    labels.iter().map(|&value| value.into()).collect()
}

fn render(names: &[&str], values: &[Box<str>]) -> Box<str> {
    let mut text = String::new();
    for (name, value) in names.iter().zip(values) {
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(name);
        text.push_str("=\"");
        for letter in value.chars() {
            match letter {
                '\\' => text.push_str("\\\\"),
                '"' => text.push_str("\\\""),
                '\n' => text.push_str("\\n"),
                other => text.push(other),
            }
        }
        text.push('"');
    }
    text.into()
}

/// Numbers stay usable after a panic elsewhere: none of them is ever half written.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
