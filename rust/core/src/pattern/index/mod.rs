//! The rules of a bus, compiled together: which of thousands an event meets.
//!
//! Each alternative of a rule stands in the tables of `values` with one of its paths, the rarest one. An event's bytes are
//! walked once; its values are looked up; what is found is looked at in full. So an event costs what it hits, however many
//! rules there are.

mod join;
mod paths;
mod ranges;
mod values;
mod walk;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use super::bus::{self, Conditions, EventError, Rule};
use paths::Paths;
use values::Values;
use walk::{Found, NONE, NO_ELEMENT};

/// The rules of a bus. One adds and removes them; others hold what `index` gave them as long as they like.
///
/// There are two indexes. A change is made to the one that nobody reads, which then is the one to read; it is made to the
/// other when the next change comes. Only if somebody still holds that one must it be copied.
#[derive(Debug)]
pub struct Rules<K> {
    current: Arc<Index<K>>,
    other: Arc<Index<K>>,
    /// What the other lacks.
    missing: Option<Change<K>>,
}

#[derive(Clone, Debug)]
enum Change<K> {
    Add(K, Arc<Rule>),
    Remove(K),
}

impl<K: Clone + Eq + Hash> Default for Rules<K> {
    fn default() -> Self {
        Self { current: Arc::default(), other: Arc::default(), missing: None }
    }
}

impl<K: Clone + Eq + Hash> Rules<K> {
    /// Add a rule, or put it in the place of the one with this key.
    pub fn add(&mut self, key: K, rule: Arc<Rule>) {
        self.change(Change::Add(key, rule));
    }

    /// Remove a rule; whether there was one.
    pub fn remove(&mut self, key: &K) -> bool {
        let is_there = self.current.rules.contains_key(key);
        if is_there {
            self.change(Change::Remove(key.clone()));
        }
        is_there
    }

    /// The rules as they are now.
    pub fn index(&self) -> Arc<Index<K>> {
        self.current.clone()
    }

    fn change(&mut self, change: Change<K>) {
        let other = Arc::make_mut(&mut self.other);
        if let Some(missing) = self.missing.take() {
            other.apply(missing);
        }
        other.apply(change.clone());
        self.missing = Some(change);
        std::mem::swap(&mut self.current, &mut self.other);
    }
}

/// Rules that do not change, each with its key.
#[derive(Clone, Debug)]
pub struct Index<K> {
    paths: Paths,
    values: Values,
    alternatives: Vec<Option<Alternative<K>>>,
    free: Vec<u32>,
    /// Alternatives that no table can hold: all they want may be absent.
    always: Vec<u32>,
    rules: HashMap<K, (Arc<Rule>, Vec<u32>)>,
}

#[derive(Clone, Debug)]
struct Alternative<K> {
    key: K,
    /// Any alternative of the rule: one number for all of them.
    rule: u32,
    fields: Box<[(u32, Conditions)]>,
    /// The field that it stands in the tables with.
    entered: Option<usize>,
}

impl<K> Default for Index<K> {
    fn default() -> Self {
        Self {
            paths: Paths::default(),
            values: Values::default(),
            alternatives: Vec::new(),
            free: Vec::new(),
            always: Vec::new(),
            rules: HashMap::new(),
        }
    }
}

/// Memory that matching needs; each thread keeps one.
#[derive(Debug, Default)]
pub struct Scratch {
    found: Found,
    /// By path: the event that it was last seen in, and its first value there.
    heads: Vec<(u32, u32)>,
    /// By alternative: the event that it was last looked at for, and, as a rule's first one, met by.
    tried: Vec<u32>,
    met: Vec<u32>,
    candidates: Vec<u32>,
    folded: String,
    event: u32,
}

impl<K: Clone + Eq + Hash> Index<K> {
    /// How many rules there are.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether there is no rule.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The rule with a key.
    pub fn rule(&self, key: &K) -> Option<&Arc<Rule>> {
        self.rules.get(key).map(|(rule, _)| rule)
    }

    /// The keys of the rules that an event meets, each once, in no order. The event is a JSON object in UTF-8.
    pub fn matches<'i>(&'i self, event: &[u8], scratch: &mut Scratch) -> Result<Vec<&'i K>, EventError> {
        let event = std::str::from_utf8(event).map_err(|_| EventError { reason: "it is not UTF-8".into() })?;
        scratch.begin(self);
        scratch.found.walk(event, &self.paths)?;
        scratch.link();
        let Scratch { found, candidates, folded, .. } = scratch;
        candidates.extend_from_slice(&self.always);
        for leaf in found.leaves.iter().filter(|leaf| leaf.path != NONE) {
            self.values.each_met(leaf.path, found.value(leaf, event), folded, candidates);
        }
        let mut keys = Vec::new();
        for at in 0..scratch.candidates.len() {
            let number = scratch.candidates[at] as usize;
            if scratch.tried[number] == scratch.event {
                continue;
            }
            scratch.tried[number] = scratch.event;
            let Some(alternative) = &self.alternatives[number] else { continue };
            if scratch.met[alternative.rule as usize] != scratch.event && alternative.is_met(scratch, event) {
                scratch.met[alternative.rule as usize] = scratch.event;
                keys.push(&alternative.key);
            }
        }
        Ok(keys)
    }

    fn apply(&mut self, change: Change<K>) {
        match change {
            Change::Add(key, rule) => {
                self.remove(&key);
                self.add(key, rule);
            }
            Change::Remove(key) => self.remove(&key),
        }
    }

    fn add(&mut self, key: K, rule: Arc<Rule>) {
        let mut numbers: Vec<u32> = Vec::with_capacity(rule.alternatives.len());
        for paths in &rule.alternatives {
            let fields: Box<[_]> =
                paths.iter().map(|(path, conditions)| (self.paths.add(path), conditions.clone())).collect();
            let number = self.free.pop().unwrap_or_else(|| {
                self.alternatives.push(None);
                self.alternatives.len() as u32 - 1
            });
            let first = *numbers.first().unwrap_or(&number);
            let entered = self.enter(&fields, number);
            self.alternatives[number as usize] = Some(Alternative { key: key.clone(), rule: first, fields, entered });
            numbers.push(number);
        }
        self.rules.insert(key, (rule, numbers));
    }

    /// Enter an alternative with the field that the fewest events are likely to meet.
    fn enter(&mut self, fields: &[(u32, Conditions)], number: u32) -> Option<usize> {
        let costs = fields
            .iter()
            .enumerate()
            .filter_map(|(at, (path, conditions))| Some((self.values.cost(*path, conditions)?, at)));
        let Some((_, at)) = costs.min() else {
            self.always.push(number);
            return None;
        };
        let (path, conditions) = &fields[at];
        self.values.add(*path, conditions, number);
        Some(at)
    }

    fn remove(&mut self, key: &K) {
        let Some((rule, numbers)) = self.rules.remove(key) else { return };
        for (number, paths) in numbers.into_iter().zip(&rule.alternatives) {
            let Some(alternative) = self.alternatives[number as usize].take() else { continue };
            match alternative.entered {
                Some(at) => {
                    let (path, conditions) = &alternative.fields[at];
                    self.values.remove(*path, conditions, number);
                }
                None => self.always.retain(|other| *other != number),
            }
            for ((name, _), (path, _)) in paths.iter().zip(&alternative.fields) {
                self.paths.remove(name, *path);
            }
            self.free.push(number);
        }
    }
}

impl Scratch {
    fn begin<K>(&mut self, index: &Index<K>) {
        if self.event == u32::MAX {
            *self = Self::default();
        }
        self.event += 1;
        self.candidates.clear();
        let (paths, alternatives) = (index.paths.len(), index.alternatives.len());
        self.heads.resize(self.heads.len().max(paths), (0, NONE));
        self.tried.resize(self.tried.len().max(alternatives), 0);
        self.met.resize(self.met.len().max(alternatives), 0);
    }

    /// Chain the values of each path.
    fn link(&mut self) {
        for (at, leaf) in self.found.leaves.iter_mut().enumerate().filter(|(_, leaf)| leaf.path != NONE) {
            let head = &mut self.heads[leaf.path as usize];
            if head.0 == self.event {
                leaf.next = head.1;
            }
            *head = (self.event, at as u32);
        }
    }

    /// The values of a path.
    fn leaves(&self, path: u32) -> impl Iterator<Item = &walk::Leaf> {
        let head = self.heads[path as usize];
        let mut at = if head.0 == self.event { head.1 } else { NONE };
        std::iter::from_fn(move || {
            let leaf = self.found.leaves.get(at as usize)?;
            at = leaf.next;
            Some(leaf)
        })
    }
}

impl<K> Alternative<K> {
    fn is_met(&self, scratch: &Scratch, event: &str) -> bool {
        let mut lies_in_arrays = false;
        for (path, conditions) in &self.fields {
            let (mut is_absent, mut is_met) = (true, false);
            for leaf in scratch.leaves(*path) {
                is_absent = false;
                is_met = is_met || bus::is_met(conditions, scratch.found.value(leaf, event));
                lies_in_arrays |= leaf.element != NO_ELEMENT;
            }
            // In arrays it may be absent where the other values lie.
            let may_lack = bus::may_be_absent(conditions) && (is_absent || lies_in_arrays);
            if !is_met && !may_lack {
                return false;
            }
        }
        !lies_in_arrays || join::agree(&self.in_arrays(scratch, event), &scratch.found.elements)
    }

    fn in_arrays(&self, scratch: &Scratch, event: &str) -> Vec<join::Path> {
        let path = |(path, conditions): &(u32, Conditions)| {
            let is_met = |leaf: &&walk::Leaf| bus::is_met(conditions, scratch.found.value(leaf, event));
            let present = || scratch.leaves(*path).map(|leaf| leaf.element).collect();
            join::Path {
                meeting: scratch.leaves(*path).filter(is_met).map(|leaf| leaf.element).collect(),
                present: bus::may_be_absent(conditions).then(present),
            }
        };
        self.fields.iter().map(path).collect()
    }
}
