//! What a model demands of a value: presence, lengths, ranges, patterns, enumerations. In AWS's words, all violations at once.

use std::collections::BTreeSet;

use crate::aws::model::{Kind, Member, Model, Shape, ShapeId};
use crate::aws::protocol::xml::plain;
use crate::aws::value::Value;

/// Most violations that are told.
const TOLD_MAX: usize = 20;
/// Most characters of a value that are repeated.
const SHOWN_MAX: usize = 1024;

/// One violation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Where: `records.1.member.partitionKey`.
    pub path: String,
    /// What stands there.
    pub value: String,
    /// What it must be.
    pub constraint: String,
}

/// Everything that a value violates.
pub fn violations(model: &Model, shape: ShapeId, value: &Value) -> Vec<Violation> {
    let mut checker = Checker { model, found: Vec::new() };
    checker.value(model.shape(shape), "", value);
    checker.found
}

/// The members that are required and are not there, by their names.
pub fn missing<'m>(model: &'m Model, shape: Option<ShapeId>, value: &Value) -> Option<&'m Member> {
    model.members(shape).iter().find(|member| member.is_required && value.get(member.name).is_none())
}

/// What is said of violations.
pub fn message(violations: &[Violation]) -> String {
    let count = violations.len();
    let plural = if count == 1 { "" } else { "s" };
    let told: Vec<String> = violations
        .iter()
        .map(|one| format!("Value {} at '{}' failed to satisfy constraint: {}", one.value, one.path, one.constraint))
        .collect();
    format!("{count} validation error{plural} detected: {}", told.join("; "))
}

struct Checker<'m> {
    model: &'m Model,
    found: Vec<Violation>,
}

impl Checker<'_> {
    fn value(&mut self, shape: &Shape, path: &str, value: &Value) {
        if self.found.len() >= TOLD_MAX {
            return;
        }
        match (&shape.kind, value) {
            (Kind::Structure { members, .. }, Value::Map(_)) => {
                for member in members {
                    let name = lower_camel(member.name);
                    let path = if path.is_empty() { name } else { format!("{path}.{name}") };
                    match value.get(member.name) {
                        Some(value) => self.value(self.model.shape(member.shape), &path, value),
                        None if member.is_required => {
                            self.refuse(shape, &path, &Value::Null, "Member must not be null".into());
                        }
                        None => {}
                    }
                }
            }
            (Kind::List(item), Value::List(values)) => {
                self.size(shape, path, value, values.len());
                let mut seen = BTreeSet::new();
                if shape.is_unique && !values.iter().all(|value| seen.insert(format!("{value:?}"))) {
                    self.refuse(shape, path, value, "Member must have unique values".into());
                }
                let inner = self.model.shape(item.shape);
                for (at, value) in values.iter().enumerate() {
                    self.value(inner, &format!("{path}.{}.member", at + 1), value);
                }
            }
            (Kind::Map(key, held), Value::Map(entries)) => {
                self.size(shape, path, value, entries.len());
                for (name, value) in entries {
                    self.value(self.model.shape(key.shape), path, &Value::Text(name.clone().into_owned()));
                    self.value(self.model.shape(held.shape), &format!("{path}.{name}.member"), value);
                }
            }
            (Kind::Text, Value::Text(text)) => self.text(shape, path, text),
            (Kind::Blob, Value::Blob(bytes)) => self.size(shape, path, value, bytes.len()),
            (_, Value::Int(_) | Value::Double(_)) => self.range(shape, path, value),
            _ => {}
        }
    }

    fn text(&mut self, shape: &Shape, path: &str, text: &str) {
        let value = Value::Text(text.to_owned());
        self.size(shape, path, &value, text.chars().count());
        if let Some(pattern) = shape.pattern.as_ref().filter(|pattern| !pattern.matches(text)) {
            self.refuse(
                shape,
                path,
                &value,
                format!("Member must satisfy regular expression pattern: {}", pattern.text),
            );
        }
        if !shape.values.is_empty() && !shape.values.contains(&text) {
            self.refuse(
                shape,
                path,
                &value,
                format!("Member must satisfy enum value set: [{}]", shape.values.join(", ")),
            );
        }
    }

    fn size(&mut self, shape: &Shape, path: &str, value: &Value, size: usize) {
        if let Some(min) = shape.min.filter(|min| (size as f64) < *min) {
            self.refuse(shape, path, value, format!("Member must have length greater than or equal to {min}"));
        }
        if let Some(max) = shape.max.filter(|max| size as f64 > *max) {
            self.refuse(shape, path, value, format!("Member must have length less than or equal to {max}"));
        }
    }

    fn range(&mut self, shape: &Shape, path: &str, value: &Value) {
        let number = value.as_double().unwrap_or_default();
        if let Some(min) = shape.min.filter(|min| number < *min) {
            self.refuse(shape, path, value, format!("Member must have value greater than or equal to {min}"));
        }
        if let Some(max) = shape.max.filter(|max| number > *max) {
            self.refuse(shape, path, value, format!("Member must have value less than or equal to {max}"));
        }
    }

    /// A value as Java writes it: a structure has its shape's name.
    fn shown(&self, shape: &Shape, value: &Value) -> String {
        let joined = |inside: Vec<String>| inside.join(", ");
        match (&shape.kind, value) {
            (Kind::List(item), Value::List(values)) => {
                let inner = self.model.shape(item.shape);
                format!("[{}]", joined(values.iter().take(10).map(|value| self.shown(inner, value)).collect()))
            }
            (Kind::Structure { members, .. }, Value::Map(_)) => {
                let set = members.iter().filter_map(|member| {
                    let value = value.get(member.name)?;
                    Some(format!("{}={}", lower_camel(member.name), self.shown(self.model.shape(member.shape), value)))
                });
                format!("{}({})", shape.name, joined(set.take(10).collect()))
            }
            (Kind::Map(_, held), Value::Map(entries)) => {
                let inner = self.model.shape(held.shape);
                let inside = entries.iter().take(10).map(|(key, value)| format!("{key}={}", self.shown(inner, value)));
                format!("{{{}}}", joined(inside.collect()))
            }
            (_, Value::Blob(bytes)) => format!("java.nio.HeapByteBuffer[pos=0 lim={0} cap={0}]", bytes.len()),
            (_, value) => plain(value),
        }
    }

    fn refuse(&mut self, shape: &Shape, path: &str, value: &Value, constraint: String) {
        let value = match value {
            Value::Null => "null".to_owned(),
            value => format!("'{}'", self.shown(shape, value).chars().take(SHOWN_MAX).collect::<String>()),
        };
        self.found.push(Violation { path: path.to_owned(), value, constraint });
    }
}

fn lower_camel(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}
