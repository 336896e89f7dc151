//! Which series a number in a row stands for, and what gauges show.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::catalogue::{Kind, Metric};
use crate::registry::{Labels, Series};

/// Names a series inside one [`super::Points`].
pub type SeriesId = u32;

/// Series known, above which those without any point are forgotten.
const CROWD: usize = 50_000;

type Key = (Metric, Box<[Box<str>]>);

#[derive(Debug, Default)]
pub(super) struct Keys {
    names: BTreeMap<SeriesId, Key>,
    ids: BTreeMap<Key, SeriesId>,
    next: SeriesId,
    /// By number in the registry.
    live: HashMap<u32, SeriesId>,
    /// Gauges above zero, with the look at which they were seen last.
    levels: BTreeMap<SeriesId, (f64, u64)>,
    look: u64,
}

impl Keys {
    /// The number of a series, given at first sight.
    pub(super) fn id(&mut self, metric: Metric, labels: Box<[Box<str>]>) -> SeriesId {
        let next = self.next;
        let id = *self.ids.entry((metric, labels.clone())).or_insert(next);
        if id == next {
            self.names.insert(id, (metric, labels));
            self.next += 1;
        }
        id
    }

    /// The number of a series that is being counted.
    pub(super) fn live(&mut self, metric: Metric, series: &Series) -> SeriesId {
        if let Some(&id) = self.live.get(&series.id) {
            return id;
        }
        let Labels { values, .. } = &*series.labels;
        let id = self.id(metric, values.clone());
        self.live.insert(series.id, id);
        id
    }

    /// Its metric and labels.
    pub(super) fn key(&self, id: SeriesId) -> Option<&Key> {
        self.names.get(&id)
    }

    pub(super) fn kind(&self, id: SeriesId) -> Kind {
        self.key(id).map_or(Kind::Counter, |(metric, _)| metric.describe().kind)
    }

    pub(super) fn of(&self, metric: Metric) -> impl Iterator<Item = (SeriesId, &[Box<str>])> + '_ {
        let from_metric = self.ids.range((metric, Box::default())..);
        from_metric.take_while(move |((other, _), _)| *other == metric).map(|((_, labels), id)| (*id, &**labels))
    }

    /// What a gauge showed last.
    pub(super) fn level(&self, id: SeriesId) -> f64 {
        self.levels.get(&id).map_or(0.0, |&(level, _)| level)
    }

    /// A gauge shows this now.
    pub(super) fn show(&mut self, id: SeriesId, level: f64) {
        if level > 0.0 {
            self.levels.insert(id, (level, self.look));
        } else {
            self.levels.remove(&id);
        }
    }

    /// Begin to look at all gauges.
    pub(super) fn begin_look(&mut self) {
        self.look += 1;
    }

    /// Gauges that were not shown since [`Keys::begin_look`]: they are gone, and at zero from now on.
    pub(super) fn end_look(&mut self) -> Vec<SeriesId> {
        let gone: Vec<_> = self.levels.iter().filter(|(_, (_, seen))| *seen < self.look).map(|(id, _)| *id).collect();
        for id in &gone {
            self.levels.remove(id);
        }
        gone
    }

    /// Gauges above zero.
    pub(super) fn levels(&self) -> impl Iterator<Item = (SeriesId, f64)> + '_ {
        self.levels.iter().map(|(id, (level, _))| (*id, *level))
    }

    pub(super) fn is_crowded(&self) -> bool {
        self.names.len() > CROWD
    }

    /// Forget every series but these and the gauges above zero.
    pub(super) fn keep(&mut self, used: &BTreeSet<SeriesId>) {
        let Self { names, ids, live, levels, .. } = self;
        names.retain(|id, _| used.contains(id) || levels.contains_key(id));
        ids.retain(|_, id| names.contains_key(id));
        live.retain(|_, id| names.contains_key(id));
    }
}
