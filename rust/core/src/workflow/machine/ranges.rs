//! Children of a run by their indices. Those beside each other that have as many items are kept together, so that a hundred thousand of them
//! take no more room than one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A set of children, with how many items each has.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Ranges(BTreeMap<u32, Range>);

/// The last child, and how many items each of them has; the first is the key.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Range(u32, u64);

impl Ranges {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn insert(&mut self, index: u32, items: u64) {
        let before = self.0.range(..index).next_back();
        let before = before.filter(|(_, range)| range.0 + 1 == index && range.1 == items).map(|(first, _)| *first);
        let behind = self.0.get(&(index + 1)).filter(|range| range.1 == items).copied();
        if behind.is_some() {
            self.0.remove(&(index + 1));
        }
        let range = Range(behind.map_or(index, |range| range.0), items);
        self.0.insert(before.unwrap_or(index), range);
    }

    /// Take all of another set; no child is in both.
    pub(super) fn append(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    pub(super) fn first(&self) -> Option<u32> {
        self.0.keys().next().copied()
    }

    pub(super) fn pop_first(&mut self) -> Option<(u32, u64)> {
        let (first, range) = self.0.pop_first()?;
        if first < range.0 {
            self.0.insert(first + 1, range);
        }
        Some((first, range.1))
    }

    /// How many children, and how many items they have together.
    pub(super) fn count(&self) -> (u64, u64) {
        self.0.iter().fold((0, 0), |(children, items), (first, range)| {
            let count = u64::from(range.0 - first) + 1;
            (children + count, items + count * range.1)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Ranges;

    #[test]
    fn neighbours_are_one_range_in_whatever_order_they_come() {
        let mut ranges = Ranges::default();
        for index in [4, 0, 2, 1, 3, 7] {
            ranges.insert(index, 5);
        }
        ranges.insert(5, 1);
        assert_eq!(serde_json::to_string(&ranges).unwrap(), r#"{"0":[4,5],"5":[5,1],"7":[7,5]}"#);
        assert_eq!(ranges.count(), (7, 31));
        let read: Ranges = serde_json::from_str(r#"{"0":[1,5],"9":[9,2]}"#).unwrap();
        let mut all = read.clone();
        assert_eq!(std::iter::from_fn(|| all.pop_first()).collect::<Vec<_>>(), [(0, 5), (1, 5), (9, 2)]);
        assert!(all.is_empty() && all.first().is_none());
        all.append(read);
        let more: Ranges = serde_json::from_str(r#"{"3":[5,2]}"#).unwrap();
        all.append(more);
        assert_eq!((all.is_empty(), all.count()), (false, (6, 18)));
    }
}
