//! What differs between two versions of a schema, and whether readers of the old one can read the new events.

use std::collections::HashSet;
use std::fmt;

use super::document::Document;
use super::fit::described;
use super::shapes::{Additional, Id, Shape, Shapes, ANY};

/// What happened to a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// It was always there, and need not be any more.
    MadeOptional,
    /// It is always there now.
    MadeRequired,
    /// Other values stand there: before, now.
    Retyped(String, String),
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Where, as `$.detail.items[].sku`.
    pub place: String,
    /// What happened.
    pub kind: ChangeKind,
    /// Whether code that was written for the old schema may fail on a new event.
    pub breaks_readers: bool,
}

impl fmt::Display for Change {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, kind, breaks_readers } = self;
        match kind {
            ChangeKind::Added => write!(formatter, "{place}: added")?,
            ChangeKind::Removed => write!(formatter, "{place}: removed")?,
            ChangeKind::MadeOptional => write!(formatter, "{place}: made optional")?,
            ChangeKind::MadeRequired => write!(formatter, "{place}: made required")?,
            ChangeKind::Retyped(old, new) => write!(formatter, "{place}: {old} became {new}")?,
        }
        formatter.write_str(if *breaks_readers { " (breaks old readers)" } else { "" })
    }
}

/// The changes from one document to another, in the order of their places.
pub fn compare(old: &Document, new: &Document) -> Vec<Change> {
    let mut comparison = Comparison { old: &old.shapes, new: &new.shapes, seen: HashSet::new(), changes: Vec::new() };
    comparison.schema("$", old.root, new.root);
    comparison.changes.sort_by(|one, other| one.place.cmp(&other.place));
    comparison.changes
}

struct Comparison<'a> {
    old: &'a Shapes,
    new: &'a Shapes,
    /// Pairs that were compared: a schema may hold itself, and one that many refer to is told once.
    seen: HashSet<(Id, Id)>,
    changes: Vec<Change>,
}

impl Comparison<'_> {
    fn tell(&mut self, place: &str, kind: ChangeKind, breaks_readers: bool) {
        self.changes.push(Change { place: place.into(), kind, breaks_readers });
    }

    fn schema(&mut self, place: &str, old_id: Id, new_id: Id) {
        if !self.seen.insert((old_id, new_id)) {
            return;
        }
        let (old, new) = (&self.old.table[old_id], &self.new.table[new_id]);
        let (was, is) = (told(old), told(new));
        if was != is {
            self.tell(place, ChangeKind::Retyped(was, is), !fits(old, new));
        } else if (&old.limits, &old.choices) != (&new.limits, &new.choices) {
            self.tell(place, ChangeKind::Retyped(was, format!("{is} with other bounds")), true);
        }
        self.properties(place, old, new);
        self.alternatives(place, old, new);
        if let (Some(old), Some(new)) = (old.items, new.items) {
            self.schema(&format!("{place}[]"), old, new);
        }
        match (old.additional, new.additional) {
            (Additional::Schema(old), Additional::Schema(new)) => self.schema(&format!("{place}.*"), old, new),
            (old, new) if old != new && !matches!((old, new), (Additional::Schema(_), _)) => {
                let breaks_readers = old == Additional::Nothing;
                let kind = ChangeKind::Retyped(beside(old).into(), beside(new).into());
                self.tell(&format!("{place}.*"), kind, breaks_readers);
            }
            (Additional::Schema(_), new) => {
                let kind = ChangeKind::Retyped("keys of one schema".into(), beside(new).into());
                self.tell(&format!("{place}.*"), kind, new == Additional::Anything);
            }
            _ => {}
        }
    }

    fn properties(&mut self, place: &str, old: &Shape, new: &Shape) {
        for (name, old_id) in &old.properties {
            let place = format!("{place}.{name}");
            let (was_required, is_required) = (old.required.contains(name), new.required.contains(name));
            let Some(new_id) = new.properties.get(name) else {
                self.tell(&place, ChangeKind::Removed, was_required);
                continue;
            };
            match (was_required, is_required) {
                (true, false) => self.tell(&place, ChangeKind::MadeOptional, true),
                (false, true) => self.tell(&place, ChangeKind::MadeRequired, false),
                _ => {}
            }
            self.schema(&place, *old_id, *new_id);
        }
        for name in new.properties.keys().filter(|name| !old.properties.contains_key(*name)) {
            self.tell(&format!("{place}.{name}"), ChangeKind::Added, old.additional == Additional::Nothing);
        }
    }

    /// What `allOf` and its like hold, one beside the other.
    fn alternatives(&mut self, place: &str, old: &Shape, new: &Shape) {
        for (old, new, name) in [
            (old.all_of.as_slice(), new.all_of.as_slice(), "allOf"),
            (&old.any_of, &new.any_of, "anyOf"),
            (&old.one_of, &new.one_of, "oneOf"),
            (old.not.as_slice(), new.not.as_slice(), "not"),
        ] {
            if old.len() != new.len() {
                let told = |ids: &[Id]| format!("{} schemas of {name}", ids.len());
                self.tell(place, ChangeKind::Retyped(told(old), told(new)), true);
            }
            old.iter().zip(new).for_each(|(old, new)| self.schema(&format!("{place}({name})"), *old, *new));
        }
    }
}

fn beside(additional: Additional) -> &'static str {
    match additional {
        Additional::Anything => "any other keys",
        Additional::Nothing => "no other keys",
        Additional::Schema(_) => "keys of one schema",
    }
}

/// A type for a reader: `string (date-time) or null`.
fn told(shape: &Shape) -> String {
    if shape.types == ANY {
        return "anything".into();
    }
    let format = shape.format.as_ref().map(|format| format!(" ({format})")).unwrap_or_default();
    described(shape.types) + &format
}

/// Whether every new value is one that readers of the old schema know.
fn fits(old: &Shape, new: &Shape) -> bool {
    let is_known_format = old.format == new.format || old.format.is_none() || old.format.as_deref() == Some("double");
    new.types & !old.types == 0 && is_known_format
}
