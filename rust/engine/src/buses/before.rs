//! Rows as they were before changes that are not durable, so that a commit that a full disk refuses can be taken back.

use std::collections::BTreeMap;

/// Rows by name: of the next commit, and of the one under way.
pub(super) struct Before<K, R> {
    unsaved: BTreeMap<K, R>,
    committing: BTreeMap<K, R>,
}

impl<K, R> Default for Before<K, R> {
    fn default() -> Self {
        Self { unsaved: BTreeMap::new(), committing: BTreeMap::new() }
    }
}

impl<K: Ord, R> Before<K, R> {
    /// A row is changed; this is what it was.
    pub(super) fn note(&mut self, name: K, row: R) {
        self.unsaved.entry(name).or_insert(row);
    }

    /// Whether the next commit changes any.
    pub(super) fn has_unsaved(&self) -> bool {
        !self.unsaved.is_empty()
    }

    /// Those that the next commit changes become those of the commit under way.
    pub(super) fn commit(&mut self) -> impl Iterator<Item = &K> {
        self.committing = std::mem::take(&mut self.unsaved);
        self.committing.keys()
    }

    /// The commit under way is durable.
    pub(super) fn durable(&mut self) {
        self.committing.clear();
    }

    /// Nothing was written: the rows to go back to. What was under way came first.
    pub(super) fn refused(&mut self) -> BTreeMap<K, R> {
        let mut rows = std::mem::take(&mut self.unsaved);
        rows.append(&mut self.committing);
        rows
    }

    /// Whether the next commit changes this one.
    pub(super) fn is_unsaved<Q: Ord + ?Sized>(&self, name: &Q) -> bool
    where
        K: std::borrow::Borrow<Q>,
    {
        self.unsaved.contains_key(name)
    }

    /// What there is to go back to changes, too.
    pub(super) fn change<Q: Ord + ?Sized>(&mut self, name: &Q, change: impl Fn(&mut R))
    where
        K: std::borrow::Borrow<Q>,
    {
        for rows in [&mut self.unsaved, &mut self.committing] {
            if let Some(row) = rows.get_mut(name) {
                change(row);
            }
        }
    }

    /// It is gone, or was replaced: there is nothing to go back to.
    pub(super) fn forget<Q: Ord + ?Sized>(&mut self, name: &Q)
    where
        K: std::borrow::Borrow<Q>,
    {
        self.unsaved.remove(name);
        self.committing.remove(name);
    }
}
