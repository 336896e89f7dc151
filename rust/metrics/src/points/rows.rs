//! One point in time of every series that has values in it, in memory and as a stored row.
//!
//! A stored row: key `tier, start (8 bytes, big-endian)`; value `01`, then for each series its name, the number of its labels, the
//! labels, and its histogram, each with its length before it. Numbers are 4 bytes, little-endian.

use std::collections::BTreeMap;

use forebay_core::histogram::Histogram;

use crate::catalogue::{Kind, METRICS};
use crate::points::keys::{Keys, SeriesId};
use crate::points::TIERS;

const FORMAT: u8 = 1;

/// The values of one series in one row.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Sample {
    /// A single value.
    One(f64),
    /// A histogram's bytes.
    Many(Box<[u8]>),
}

impl Sample {
    /// `None` when there is no value.
    pub(super) fn of(values: &Histogram) -> Option<Self> {
        match (values.count(), values.max()) {
            (1, Some(value)) => Some(Self::One(value)),
            (_, Some(_)) => Some(Self::Many(values.to_bytes().into())),
            (_, None) => None,
        }
    }

    pub(super) fn histogram(&self) -> Histogram {
        let mut values = Histogram::new();
        match self {
            // What could not be recorded was refused before it came here.
            Self::One(value) => values.record(*value).unwrap_or_default(),
            Self::Many(bytes) => values = Histogram::from_bytes(bytes).unwrap_or_default(),
        }
        values
    }

    fn bytes(&self) -> usize {
        match self {
            Self::One(_) => 0,
            Self::Many(bytes) => bytes.len(),
        }
    }

    /// What two samples of the same time are together.
    fn join(&mut self, other: &Self, kind: Kind) {
        *self = match (kind, &*self, other) {
            (Kind::Counter, Self::One(a), Self::One(b)) => Self::One(a + b),
            (Kind::Gauge, Self::One(a), Self::One(b)) => Self::One(a.max(*b)),
            _ => {
                let mut both = self.histogram();
                both.merge(&other.histogram());
                Self::of(&both).unwrap_or(Self::One(0.0))
            }
        }
    }
}

/// All values that lie in one second, minute and so on.
#[derive(Debug)]
pub(super) struct Row {
    /// Its first second, since 1970.
    pub(super) start: u64,
    /// By number.
    samples: Vec<(SeriesId, Sample)>,
}

impl Row {
    pub(super) fn new(start: u64, mut samples: Vec<(SeriesId, Sample)>) -> Self {
        samples.sort_by_key(|(id, _)| *id);
        samples.shrink_to_fit();
        Self { start, samples }
    }

    /// Everything that several finer rows hold.
    pub(super) fn merged<'a>(start: u64, rows: impl Iterator<Item = &'a Row>) -> Self {
        let mut all: BTreeMap<SeriesId, Histogram> = BTreeMap::new();
        for (id, sample) in rows.flat_map(Row::samples) {
            all.entry(*id).or_default().merge(&sample.histogram());
        }
        let samples = all.iter().filter_map(|(id, values)| Some((*id, Sample::of(values)?)));
        Self::new(start, samples.collect())
    }

    pub(super) fn samples(&self) -> &[(SeriesId, Sample)] {
        &self.samples
    }

    pub(super) fn get(&self, id: SeriesId) -> Option<&Sample> {
        let at = self.samples.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        Some(&self.samples[at].1)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// What it occupies.
    pub(super) fn bytes(&self) -> usize {
        let samples = self.samples.capacity() * size_of::<(SeriesId, Sample)>();
        size_of::<Self>() + samples + self.samples.iter().map(|(_, sample)| sample.bytes()).sum::<usize>()
    }

    /// Add a row of the same time.
    pub(super) fn join(&mut self, other: Self, kind: impl Fn(SeriesId) -> Kind) {
        let mut added = Vec::new();
        for (id, sample) in other.samples {
            match self.samples.binary_search_by_key(&id, |(id, _)| *id) {
                Ok(at) => self.samples[at].1.join(&sample, kind(id)),
                Err(_) => added.push((id, sample)),
            }
        }
        self.samples.append(&mut added);
        self.samples.sort_by_key(|(id, _)| *id);
    }

    pub(super) fn encode(&self, keys: &Keys) -> Vec<u8> {
        let mut out = vec![FORMAT];
        for (id, sample) in &self.samples {
            let Some((metric, labels)) = keys.key(*id) else { continue };
            put(&mut out, metric.describe().name.as_bytes());
            out.extend_from_slice(&(labels.len() as u32).to_le_bytes());
            labels.iter().for_each(|label| put(&mut out, label.as_bytes()));
            match sample {
                Sample::One(_) => put(&mut out, &sample.histogram().to_bytes()),
                Sample::Many(bytes) => put(&mut out, bytes),
            }
        }
        out
    }

    /// Read a stored row; series that this version does not know are left out. `None` when the bytes are not a row.
    pub(super) fn decode(start: u64, mut bytes: &[u8], keys: &mut Keys) -> Option<Self> {
        if *bytes.split_off_first()? != FORMAT {
            return None;
        }
        let mut samples = Vec::new();
        while !bytes.is_empty() {
            let name = take_text(&mut bytes)?;
            let count = take_number(&mut bytes)?;
            let labels =
                (0..count).map(|_| take_text(&mut bytes).map(Into::into)).collect::<Option<Box<[Box<str>]>>>()?;
            let values = Histogram::from_bytes(take(&mut bytes)?).ok()?;
            let known = METRICS.iter().find(|metric| metric.describe().name == name);
            if let Some(&metric) = known.filter(|metric| metric.describe().labels.len() == labels.len()) {
                samples.extend(Sample::of(&values).map(|sample| (keys.id(metric, labels), sample)));
            }
        }
        Some(Self::new(start, samples))
    }
}

/// The key of a stored row.
pub(super) fn key(tier: usize, start: u64) -> Vec<u8> {
    let mut key = vec![tier as u8];
    key.extend_from_slice(&start.to_be_bytes());
    key
}

/// Tier and first second of a stored row.
pub(super) fn read_key(key: &[u8]) -> Option<(usize, u64)> {
    let (&tier, start) = key.split_first()?;
    let tier = usize::from(tier);
    let start = u64::from_be_bytes(start.try_into().ok()?);
    (tier > 0 && tier < TIERS.len() && start % TIERS[tier].0 == 0).then_some((tier, start))
}

fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(bytes);
}

fn take_number(bytes: &mut &[u8]) -> Option<usize> {
    let (number, rest) = bytes.split_first_chunk::<4>()?;
    *bytes = rest;
    Some(u32::from_le_bytes(*number) as usize)
}

fn take<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = take_number(bytes)?;
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

fn take_text<'a>(bytes: &mut &'a [u8]) -> Option<&'a str> {
    std::str::from_utf8(take(bytes)?).ok()
}
