//! Rows as they will be once everything written so far is durable: what the store holds, below what waits for a commit or is with one.

use std::collections::BTreeMap;

use crate::runtime::rooms::State;
use crate::store::port::{Rows, StoreError, Table};

/// Rows read at once: each may hold a batch of 6 MB.
const ROWS: usize = 64;

/// What the commits under way do to a row.
pub(crate) enum OnItsWay {
    /// Write it so.
    In(Vec<u8>),
    /// Remove it.
    Out,
    /// Nothing.
    No,
}

impl State {
    /// A row as it will be once everything written so far is durable.
    pub(crate) fn row(&mut self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        match self.row_on_its_way(table, key) {
            OnItsWay::In(row) => Ok(Some(row)),
            OnItsWay::Out => Ok(None),
            OnItsWay::No => self.reader.get(table, key),
        }
    }

    /// What the commits under way do to a row.
    pub(crate) fn row_on_its_way(&self, table: Table, key: &[u8]) -> OnItsWay {
        let at = (table, key.to_vec());
        match self.pending.rows.get(&at).or_else(|| self.committing.get(&at)) {
            Some(Some(row)) => OnItsWay::In(row.clone()),
            Some(None) => OnItsWay::Out,
            None => OnItsWay::No,
        }
    }

    /// The rows of a table after a key, `limit` at most, as they will be once everything written so far is durable; and whether
    /// there are no others.
    pub(crate) fn rows_after(
        &mut self,
        table: Table,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<(Rows, bool), StoreError> {
        let stored = self.reader.scan(table, prefix, after, limit)?;
        let all = stored.len() < limit;
        // What stands beyond the last row that was read comes with later ones.
        let end = stored.last().filter(|_| !all).map(|(key, _)| key.clone());
        let mut rows: BTreeMap<Vec<u8>, Vec<u8>> = stored.into_iter().collect();
        let from = (table, after.unwrap_or(prefix).to_vec());
        for changed in [&*self.committing, &self.pending.rows] {
            for ((of, key), value) in changed.range(from.clone()..) {
                if *of != table || !key.starts_with(prefix) || end.as_ref().is_some_and(|end| key > end) {
                    break;
                }
                match value {
                    Some(value) if Some(key.as_slice()) != after => drop(rows.insert(key.clone(), value.clone())),
                    _ => drop(rows.remove(key)),
                }
            }
        }
        Ok((rows.into_iter().collect(), all))
    }

    /// Remove what commits under way write of a table, where the key starts with `prefix`.
    pub(crate) fn remove_rows_on_their_way(&mut self, table: Table, prefix: &[u8]) {
        let under_way = self.pending.rows.keys().chain(self.committing.keys());
        let ours = under_way.filter(|(of, key)| *of == table && key.starts_with(prefix));
        for key in ours.map(|(_, key)| key.clone()).collect::<Vec<_>>() {
            self.pending.remove(table, key);
        }
    }

    /// Remove every row whose key starts with `prefix`, durable or on its way.
    pub(crate) fn remove_rows(&mut self, table: Table, prefix: &[u8]) -> Result<(), StoreError> {
        self.remove_rows_on_their_way(table, prefix);
        let mut after: Option<Vec<u8>> = None;
        loop {
            let rows = self.reader.scan(table, prefix, after.as_deref(), ROWS)?;
            let Some((last, _)) = rows.last() else { return Ok(()) };
            after = Some(last.clone());
            for (key, _) in rows {
                self.pending.remove(table, key);
            }
        }
    }
}
