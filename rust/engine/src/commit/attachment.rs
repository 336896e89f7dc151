//! What is written in the commit that writes a message, and not before.

use std::collections::BTreeMap;

use crate::commit::pending::Pending;
use crate::observe::history::publications::{Fate, Published};
use crate::payload::event::Accepted;
use crate::store::port::Table;

/// A row to be written in the same commit as a message; `None`: to be removed.
pub(crate) type AttachedRow = (Table, Vec<u8>, Option<Vec<u8>>);

/// Rows, events of functions, and what is to be remembered of a publication.
#[derive(Default)]
pub(crate) struct Attachment {
    pub(crate) rows: Vec<AttachedRow>,
    pub(crate) events: Vec<Accepted>,
    pub(crate) published: Option<Box<Published>>,
}

impl Attachment {
    /// Become part of a commit.
    pub(crate) fn join(&self, commit: &mut Pending) {
        for (table, key, value) in &self.rows {
            match value {
                Some(value) => commit.set(*table, key.clone(), value.clone()),
                None => commit.remove(*table, key.clone()),
            }
        }
        for event in &self.events {
            let (key, value) = event.row();
            commit.set(Table::Event, key, value);
            commit.born.push(event.clone());
        }
    }

    /// Messages of its publication have other ids now.
    pub(crate) fn renamed(&mut self, names: &BTreeMap<u128, u128>) {
        for fate in self.published.iter_mut().flat_map(|published| &mut published.fates) {
            if let Fate::Became(id) = fate {
                *id = names.get(id).copied().unwrap_or(*id);
            }
        }
    }

    /// Be no part of any commit again: the one that it joined was refused, and has left behind what must be tried again.
    pub(crate) fn part(&self, left: &mut Pending) {
        for (table, key, _) in &self.rows {
            left.cancel(*table, key.clone());
        }
        for event in &self.events {
            left.cancel(Table::Event, event.row().0);
            left.born.retain(|other| (other.queue, other.key) != (event.queue, event.key));
        }
    }
}
