//! The numbers: one registry per engine, cheap handles for whoever counts.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use forebay_core::histogram::Histogram;

use crate::catalogue::{Kind, Metric, METRICS};
use crate::numbers::{Counter, Gauge};

/// Most series of a counter or gauge; further label sets are counted together under [`OTHER`].
pub const SERIES_MAX: usize = 10_000;
/// Most series of a distribution, which is bigger.
pub const DISTRIBUTIONS_MAX: usize = 1_000;
/// The value every label gets when a metric has its most series.
pub const OTHER: &str = "other";

/// Values of which percentiles are wanted. Clones record together; one of a registry that is off records nothing.
#[derive(Clone, Debug)]
pub struct Distribution {
    samples: Arc<Mutex<Samples>>,
    refused: Counter,
    on: bool,
}

/// Every value is in one of these: it begins in `fresh` and wanders down.
#[derive(Debug, Default)]
struct Samples {
    /// Since the last [`Distribution::take`].
    fresh: Histogram,
    /// Of the running minute, before that.
    minute: Histogram,
    /// Of the minute before.
    previous: Histogram,
    /// Older than that.
    older: Histogram,
}

impl Distribution {
    /// Record a value in the catalogue's unit. One that no distribution takes is counted as refused.
    #[inline]
    pub fn record(&self, value: f64) {
        if self.on && lock(&self.samples).fresh.record(value).is_err() {
            self.refused.increment();
        }
    }

    /// Record a value `times` times.
    #[inline]
    pub fn record_n(&self, value: f64, times: u64) {
        if self.on && lock(&self.samples).fresh.record_n(value, times).is_err() {
            self.refused.add(times);
        }
    }

    /// Record everything another histogram holds.
    pub fn merge(&self, values: &Histogram) {
        if self.on {
            lock(&self.samples).fresh.merge(values);
        }
    }

    /// What was recorded since the start.
    pub fn total(&self) -> Histogram {
        let samples = lock(&self.samples);
        let mut total = samples.older.clone();
        for newer in [&samples.previous, &samples.minute, &samples.fresh] {
            total.merge(newer);
        }
        total
    }

    /// What was recorded in the running minute and the one before it.
    pub fn recent(&self) -> Histogram {
        let samples = lock(&self.samples);
        let mut recent = samples.previous.clone();
        recent.merge(&samples.minute);
        recent.merge(&samples.fresh);
        recent
    }

    /// What was recorded since the last call.
    pub(super) fn take(&self) -> Histogram {
        let mut samples = lock(&self.samples);
        let fresh = std::mem::take(&mut samples.fresh);
        samples.minute.merge(&fresh);
        fresh
    }

    /// End the minute: what was taken in it.
    pub(super) fn end_minute(&self) -> Histogram {
        let mut samples = lock(&self.samples);
        let minute = std::mem::take(&mut samples.minute);
        let previous = std::mem::replace(&mut samples.previous, minute);
        samples.older.merge(&previous);
        samples.previous.clone()
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
    /// Its number in this registry.
    pub id: u32,
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
    /// Of what is always 1.
    Info,
}

type Family = BTreeMap<Box<[Box<str>]>, Series>;

/// Every series of every metric.
#[derive(Debug)]
pub struct Registry {
    families: Vec<Mutex<Family>>,
    next_id: AtomicU32,
    refused: Counter,
    on: bool,
}

impl Registry {
    /// A registry that knows its build and nothing else.
    pub fn new() -> Self {
        Self::switched(true)
    }

    /// One that counts nothing: to measure what counting costs. Gauges are kept, since the engine reads some of them itself.
    pub fn off() -> Self {
        Self::switched(false)
    }

    fn switched(on: bool) -> Self {
        let families = METRICS.iter().map(|_| Mutex::default()).collect();
        let mut registry = Self { families, next_id: AtomicU32::new(0), refused: Counter::default(), on };
        registry.refused = registry.counter(Metric::MetricValuesRefused, &[]);
        registry.series(Metric::Build, &[env!("CARGO_PKG_VERSION")], Kind::Info);
        registry
    }

    /// The counter with these label values, made at first use. Keep the handle: finding it again takes a lock.
    ///
    /// # Panics
    /// When the metric is not a counter or has another number of labels than given: the catalogue says.
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

    /// Whether a series is there, or has room beside the others.
    pub fn takes(&self, metric: Metric, labels: &[&str]) -> bool {
        let most = if metric.describe().kind == Kind::Distribution { DISTRIBUTIONS_MAX } else { SERIES_MAX };
        let family = lock(&self.families[metric as usize]);
        family.len() < most || family.contains_key(&boxed(labels))
    }

    /// Whether it counts.
    pub fn is_on(&self) -> bool {
        self.on
    }

    /// Stop showing a series: its function, stream or shard is gone. Handles kept elsewhere count on unseen.
    pub fn forget(&self, metric: Metric, labels: &[&str]) {
        lock(&self.families[metric as usize]).remove(&boxed(labels));
    }

    /// Stop showing every series whose first label is this one and has this value: what it names is gone.
    pub fn forget_all(&self, label: &str, value: &str) {
        for &metric in METRICS.iter().filter(|metric| metric.describe().labels.first() == Some(&label)) {
            let mut family = lock(&self.families[metric as usize]);
            let from = family.range(boxed(&[value])..).map(|(key, _)| key.clone());
            let ours: Vec<_> = from.take_while(|key| &*key[0] == value).collect();
            for key in &ours {
                family.remove(key);
            }
        }
    }

    /// The series of a metric, ordered by label values.
    pub fn gather(&self, metric: Metric) -> Vec<Series> {
        lock(&self.families[metric as usize]).values().cloned().collect()
    }

    /// Look at every series, metric by metric. No other series can be made meanwhile.
    pub(super) fn each(&self, mut look: impl FnMut(Metric, &Series)) {
        for &metric in METRICS {
            lock(&self.families[metric as usize]).values().for_each(|series| look(metric, series));
        }
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
            Kind::Counter if self.on => Numbers::Counter(Counter::new()),
            Kind::Counter => Numbers::Counter(Counter::default()),
            Kind::Gauge => Numbers::Gauge(Gauge::default()),
            Kind::Info => Numbers::Info,
            Kind::Distribution => {
                let (samples, refused) = (Arc::default(), self.refused.clone());
                Numbers::Distribution(Distribution { samples, refused, on: self.on })
            }
        };
        let labels = Arc::new(Labels { text: render(described.labels, &key), values: key.clone() });
        let id = self.next_id.fetch_add(1, Relaxed);
        family.insert(key, Series { id, labels, numbers: numbers.clone() });
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
