//! What an opening reads ahead from a store on another machine, where each read by itself costs a round trip.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use crate::format::{ShardId, Table};
use crate::port::{Found, Read, Rows, Write};

/// After so many rows have been written the opening is over, whether anybody says so or not.
const CHANGED_MAX: usize = 1_024;

/// What a chunk of a log weighs: `(first, count, bytes, last_arrival_ms)`.
type Size = (u64, u32, u64, u64);

/// Whole tables, and where logs begin and end, as one read has found them. Of a store that answers at once it has nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ahead {
    /// Every row of each of these tables.
    pub tables: BTreeMap<Table, BTreeMap<Vec<u8>, Vec<u8>>>,
    /// Of each of these logs the first position kept, the next one to be written, and what its first chunk weighs if it has one.
    pub logs: BTreeMap<ShardId, ((u64, u64), Option<Size>)>,
    /// Rows that have been written since.
    changed: BTreeSet<(Table, Vec<u8>)>,
}

impl Ahead {
    /// What a read would find now; `None`: the store must be asked.
    pub fn answer(&self, read: &Read) -> Option<Found> {
        match read {
            Read::Row { table, key } => {
                let rows = self.tables.get(table)?;
                let is_changed = self.changed.contains(&(*table, key.clone()));
                (!is_changed).then(|| Found::Row(rows.get(key).cloned()))
            }
            Read::Rows { table, prefix, after, limit } => {
                let rows = self.tables.get(table)?;
                let mut changed = self.changed.range((*table, prefix.clone())..);
                if changed.next().is_some_and(|(of, key)| of == table && key.starts_with(prefix)) {
                    return None;
                }
                let from = match after {
                    Some(after) if after >= prefix => Bound::Excluded(after),
                    _ => Bound::Included(prefix),
                };
                let rows = rows.range::<Vec<u8>, _>((from, Bound::Unbounded));
                let rows = rows.take_while(|(key, _)| key.starts_with(prefix)).take(*limit);
                Some(Found::Rows(rows.map(|(key, value)| (key.clone(), value.clone())).collect::<Rows>()))
            }
            Read::Bounds { shard } => Some(Found::Bounds(Some(self.logs.get(shard)?.0))),
            Read::Sizes { shard, limit: 1 } => Some(Found::Sizes(self.logs.get(shard)?.1.into_iter().collect())),
            Read::Sizes { .. } | Read::Chunks { .. } | Read::Ahead { .. } => None,
        }
    }

    /// Forget what these writes are going to change.
    pub fn forget(&mut self, writes: &[Write]) {
        for write in writes {
            match write {
                Write::Append { shard, .. } | Write::Trim { shard, .. } => drop(self.logs.remove(shard)),
                Write::Add { table, key, .. } | Write::Set { table, key, .. } | Write::Remove { table, key } => {
                    if self.tables.contains_key(table) {
                        self.changed.insert((*table, key.clone()));
                    }
                }
            }
        }
        if self.changed.len() > CHANGED_MAX {
            *self = Self::default();
        }
    }
}
