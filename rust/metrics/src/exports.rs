//! What is counted outside the engine and shown with its own: by resources that are attached to an app, in this process or in a
//! client's.
//!
//! A source tells by how much its counters have grown, how its gauges stand, and which values its distributions have had since it
//! told last. Several sources of one series add up; of a ratio the worst one is shown. A source that falls silent is gone, and its
//! gauges with it; what it counted stays counted.

use std::collections::btree_map::{BTreeMap, Entry};
use std::collections::BTreeSet;

use base64::engine::general_purpose::STANDARD;
use base64::Engine as _;
use forebay_core::histogram::Histogram;
use serde::Deserialize;

use crate::catalogue::{Kind, Metric, Unit, METRICS};
use crate::registry::Registry;

/// Most sources at a time.
pub const SOURCES_MAX: usize = 1_024;
/// Most series that one source tells of at a time.
pub const SAMPLES_MAX: usize = 10_000;

/// What a source tells.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Told {
    /// Names the source; another one than all others.
    source: String,
    /// Seconds for which it counts as there; `None`: until it says otherwise.
    keep: Option<f64>,
    /// Metric by its name in Prometheus, label values in the catalogue's order, number.
    samples: Vec<(String, Vec<String>, Number)>,
}

impl Told {
    /// What an execution environment tells, which counts as there until it is gone: its samples as JSON.
    pub fn in_a_process(source: String, samples: &[u8]) -> Result<Self, String> {
        let samples = serde_json::from_slice(samples).map_err(|error| error.to_string())?;
        Ok(Self { source, keep: None, samples })
    }
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Number {
    /// A counter's growth, a gauge's level.
    Plain(f64),
    /// A distribution's new values, as a histogram's bytes in base64.
    Values(String),
}

type Key = (Metric, Vec<String>);

#[derive(Debug)]
struct Source {
    levels: BTreeMap<Key, f64>,
    gone_at_ns: u64,
}

/// What all sources have told.
#[derive(Debug, Default)]
pub struct Exports {
    sources: BTreeMap<String, Source>,
}

enum Checked {
    Growth(u64),
    Level(f64),
    Values(Box<Histogram>),
}

impl Exports {
    /// Take in what a source tells: all of it or, when it makes no sense, nothing.
    pub fn tell(&mut self, registry: &Registry, told: Told, now_ns: u64) -> Result<(), String> {
        if told.samples.len() > SAMPLES_MAX {
            return Err(format!("{} series are told at once: at most {SAMPLES_MAX} are taken", told.samples.len()));
        }
        let full = self.sources.len() >= SOURCES_MAX;
        let checked = told.samples.into_iter().map(check).collect::<Result<Vec<_>, _>>()?;
        let source = match self.sources.entry(told.source) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(_) if full => return Err(format!("at most {SOURCES_MAX} sources are heard at a time")),
            Entry::Vacant(new) => new.insert(Source { levels: BTreeMap::new(), gone_at_ns: 0 }),
        };
        source.gone_at_ns =
            told.keep.map_or(u64::MAX, |seconds| now_ns.saturating_add((seconds.max(0.0) * 1e9) as u64));
        let mut touched: BTreeSet<Key> = std::mem::take(&mut source.levels).into_keys().collect();
        for ((metric, labels), number) in checked {
            let borrowed: Vec<&str> = labels.iter().map(String::as_str).collect();
            match number {
                Checked::Growth(growth) => registry.counter(metric, &borrowed).add(growth),
                Checked::Values(values) => registry.distribution(metric, &borrowed).merge(&values),
                Checked::Level(level) => {
                    touched.insert((metric, labels.clone()));
                    source.levels.insert((metric, labels), level);
                }
            }
        }
        self.show(registry, touched);
        Ok(())
    }

    /// Forget sources that have fallen silent.
    pub fn expire(&mut self, registry: &Registry, now_ns: u64) {
        let mut touched = BTreeSet::new();
        self.sources.retain(|_, source| {
            let stays = source.gone_at_ns > now_ns;
            if !stays {
                touched.extend(std::mem::take(&mut source.levels).into_keys());
            }
            stays
        });
        self.show(registry, touched);
    }

    /// Forget a source that is gone, at once.
    pub fn leave(&mut self, registry: &Registry, source: &str) {
        if let Some(gone) = self.sources.remove(source) {
            self.show(registry, gone.levels.into_keys().collect());
        }
    }

    fn show(&self, registry: &Registry, touched: BTreeSet<Key>) {
        for key in touched {
            let levels = self.sources.values().filter_map(|source| source.levels.get(&key)).copied();
            let level = match key.0.describe().unit {
                Unit::Ratio => levels.reduce(f64::min),
                _ => levels.reduce(|sum, level| sum + level),
            };
            let labels: Vec<&str> = key.1.iter().map(String::as_str).collect();
            match level {
                Some(level) => registry.gauge(key.0, &labels).set(level),
                None => registry.forget(key.0, &labels),
            }
        }
    }
}

fn check((name, labels, number): (String, Vec<String>, Number)) -> Result<(Key, Checked), String> {
    let metric = METRICS.iter().copied().find(|metric| metric.describe().name == name);
    let metric = metric.ok_or_else(|| format!("there is no metric {name:?}"))?;
    let described = metric.describe();
    if labels.len() != described.labels.len() {
        return Err(format!("{name} has the labels {:?}, given were {labels:?}", described.labels));
    }
    let checked = match (described.kind, number) {
        (Kind::Counter, Number::Plain(growth)) if growth >= 0.0 && growth < 2f64.powi(63) => {
            Checked::Growth(growth as u64)
        }
        (Kind::Gauge, Number::Plain(level)) if level.is_finite() && level >= 0.0 => Checked::Level(level),
        (Kind::Distribution, Number::Values(bytes)) => {
            let bytes = STANDARD.decode(bytes).map_err(|error| format!("{name}: {error}"))?;
            Checked::Values(Box::new(Histogram::from_bytes(&bytes).map_err(|error| format!("{name}: {error}"))?))
        }
        (kind, number) => return Err(format!("{name} is a {}: it takes no {number:?}", kind.as_str())),
    };
    Ok(((metric, labels), checked))
}

#[cfg(test)]
mod tests;
