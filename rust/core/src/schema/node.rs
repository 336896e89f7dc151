//! What was seen in one place of all samples, and how two such records become one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::KEYS_MAX;

/// Kinds of values, as bits.
pub(super) mod kind {
    pub(in super::super) const NULL: u16 = 1;
    pub(in super::super) const BOOLEAN: u16 = 1 << 1;
    pub(in super::super) const INTEGER: u16 = 1 << 2;
    pub(in super::super) const NUMBER: u16 = 1 << 3;
    pub(in super::super) const DATE_TIME: u16 = 1 << 4;
    pub(in super::super) const TEXT: u16 = 1 << 5;
    pub(in super::super) const ARRAY: u16 = 1 << 6;
    pub(in super::super) const OBJECT: u16 = 1 << 7;
    /// Something too deep to be looked at.
    pub(in super::super) const CUT: u16 = 1 << 8;
    /// An object with too many keys for them to be names.
    pub(in super::super) const MAP: u16 = 1 << 9;
}

/// What was seen in one place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Values that stood here.
    pub(super) seen: u64,
    /// Objects among them. A field that was seen as often is required.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) objects: u64,
    /// Kinds of values, bits of `kind`.
    pub(super) kinds: u16,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) fields: BTreeMap<String, Node>,
    /// Values of keys that are data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) values: Option<Box<Node>>,
    /// Elements of arrays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) items: Option<Box<Node>>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands it over so")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl Node {
    /// One value of a kind without anything inside.
    pub(super) fn leaf(kind: u16) -> Self {
        Self { seen: 1, kinds: kind, ..Self::default() }
    }

    /// Put in what was seen elsewhere. In whatever order nodes are merged, the result is the same.
    pub fn merge(&mut self, other: Self) {
        self.seen += other.seen;
        self.objects += other.objects;
        self.kinds |= other.kinds;
        for (name, node) in other.fields {
            match self.fields.get_mut(&name) {
                Some(field) => field.merge(node),
                None => drop(self.fields.insert(name, node)),
            }
        }
        merge_boxed(&mut self.values, other.values);
        merge_boxed(&mut self.items, other.items);
        self.settle();
    }

    /// Too many keys are data. Once they are, they stay so: what is merged later is data, too.
    pub(super) fn settle(&mut self) {
        if self.fields.len() > KEYS_MAX || self.kinds & kind::MAP != 0 {
            self.kinds |= kind::MAP;
            for node in std::mem::take(&mut self.fields).into_values() {
                merge_boxed(&mut self.values, Some(Box::new(node)));
            }
        }
    }

    /// How many nodes there are in this one, itself included: what it costs in memory.
    pub fn size(&self) -> usize {
        let boxed = [&self.values, &self.items].into_iter().flatten();
        1 + self.fields.values().map(Self::size).sum::<usize>() + boxed.map(|node| node.size()).sum::<usize>()
    }
}

pub(super) fn merge_boxed(one: &mut Option<Box<Node>>, other: Option<Box<Node>>) {
    match (one.as_mut(), other) {
        (Some(one), Some(other)) => one.merge(*other),
        (None, other) => *one = other,
        (Some(_), None) => {}
    }
}
