//! What a model demands of a value: presence, lengths, ranges, patterns, enumerations. In AWS's words, all violations at once.

use std::collections::BTreeSet;
use std::fmt;

use forebay_core::gateway::websocket::MESSAGE_BYTES_MAX;

use crate::aws::fault::Fault;
use crate::aws::model::{Kind, Member, Model, Shape, ShapeId};
use crate::aws::protocol::rest;
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

/// Refuse a query string that is not UTF-8.
pub(super) fn query(query: &str, model: &Model) -> Result<(), Fault> {
    let fault = |text: String| if model.is_rest_xml { Fault::new("InvalidURI", text) } else { Fault::malformed(text) };
    rest::check_pairs(query).map_err(|malformed| fault(malformed.0))
}

/// What the model demands. SQS has words of its own for what is missing, and sees to the rest itself.
pub(super) fn input(model: &Model, input: Option<usize>, value: &Value) -> Result<(), Fault> {
    let Some(shape) = input else { return Ok(()) };
    if model.signing_name == "sqs" {
        return match missing(model, input, value) {
            Some(member) => Err(Fault::new(
                "MissingRequiredParameterException",
                format!("The request must contain the parameter {}.", member.name),
            )
            .code("MissingParameter")),
            None => Ok(()),
        };
    }
    // The one mistake of this service that has a name of its own.
    if model.signing_name == "execute-api" && value.blob("Data").is_some_and(|data| data.len() > MESSAGE_BYTES_MAX) {
        let text = format!("the data has more than {MESSAGE_BYTES_MAX} bytes");
        return Err(Fault::new("PayloadTooLargeException", text).status(413));
    }
    let violations = violations(model, shape, value);
    if violations.is_empty() {
        return Ok(());
    }
    Err(Fault::validation(message(&violations)))
}

/// Everything that a value violates.
pub fn violations(model: &Model, shape: ShapeId, value: &Value) -> Vec<Violation> {
    let mut checker = Checker { model, found: Vec::new() };
    checker.value(model.shape(shape), Path::Input, value);
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

/// Where a value stands. It is written as text only where something is wrong: a put of Kinesis has a thousand values.
#[derive(Clone, Copy)]
enum Path<'p> {
    Input,
    Member(&'p Path<'p>, &'p str),
    Item(&'p Path<'p>, usize),
    Entry(&'p Path<'p>, &'p str),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Input => Ok(()),
            Self::Member(Self::Input, name) => to.write_str(&lower_camel(name)),
            Self::Member(of, name) => write!(to, "{of}.{}", lower_camel(name)),
            Self::Item(of, at) => write!(to, "{of}.{at}.member"),
            Self::Entry(of, key) => write!(to, "{of}.{key}.member"),
        }
    }
}

struct Checker<'m> {
    model: &'m Model,
    found: Vec<Violation>,
}

impl Checker<'_> {
    fn value(&mut self, shape: &Shape, path: Path<'_>, value: &Value) {
        if self.found.len() >= TOLD_MAX {
            return;
        }
        match (&shape.kind, value) {
            (Kind::Structure { members, .. }, Value::Map(_)) => {
                for member in members {
                    let path = Path::Member(&path, member.name);
                    match value.get(member.name) {
                        Some(value) => self.value(self.model.shape(member.shape), path, value),
                        None if member.is_required => {
                            self.refuse(shape, path, &Value::Null, "Member must not be null".into());
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
                    self.value(inner, Path::Item(&path, at + 1), value);
                }
            }
            (Kind::Map(key, held), Value::Map(entries)) => {
                self.size(shape, path, value, entries.len());
                for (name, value) in entries {
                    self.value(self.model.shape(key.shape), path, &Value::Text(name.clone().into_owned()));
                    self.value(self.model.shape(held.shape), Path::Entry(&path, name), value);
                }
            }
            (Kind::Text, Value::Text(text)) => self.text(shape, path, (value, text)),
            (Kind::Blob, Value::Blob(bytes)) => self.size(shape, path, value, bytes.len()),
            (_, Value::Int(_) | Value::Double(_)) => self.range(shape, path, value),
            _ => {}
        }
    }

    fn text(&mut self, shape: &Shape, path: Path<'_>, (value, text): (&Value, &str)) {
        self.size(shape, path, value, text.chars().count());
        if let Some(pattern) = shape.pattern.as_ref().filter(|pattern| !pattern.matches(text)) {
            let told = format!("Member must satisfy regular expression pattern: {}", pattern.text);
            self.refuse(shape, path, value, told);
        }
        if !shape.values.is_empty() && !shape.values.contains(&text) {
            let told = format!("Member must satisfy enum value set: [{}]", shape.values.join(", "));
            self.refuse(shape, path, value, told);
        }
    }

    fn size(&mut self, shape: &Shape, path: Path<'_>, value: &Value, size: usize) {
        if let Some(min) = shape.min.filter(|min| (size as f64) < *min) {
            self.refuse(shape, path, value, format!("Member must have length greater than or equal to {min}"));
        }
        if let Some(max) = shape.max.filter(|max| size as f64 > *max) {
            self.refuse(shape, path, value, format!("Member must have length less than or equal to {max}"));
        }
    }

    fn range(&mut self, shape: &Shape, path: Path<'_>, value: &Value) {
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

    fn refuse(&mut self, shape: &Shape, path: Path<'_>, value: &Value, constraint: String) {
        let value = match value {
            Value::Null => "null".to_owned(),
            value => format!("'{}'", self.shown(shape, value).chars().take(SHOWN_MAX).collect::<String>()),
        };
        self.found.push(Violation { path: path.to_string(), value, constraint });
    }
}

fn lower_camel(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::services::SERVICES;

    #[test]
    fn a_violation_says_where_it_stands() {
        let model = SERVICES.iter().find(|service| service.name == "kinesis").unwrap().model();
        let told = |operation: &str, value: &Value| -> Vec<(String, String)> {
            let input = model.operation(operation).and_then(|operation| operation.input).unwrap();
            violations(model, input, value).into_iter().map(|one| (one.path, one.value)).collect()
        };
        let stands = |path: &str, value: &str| (path.to_owned(), value.to_owned());
        let record = |key: &str| Value::structure().with("PartitionKey", key);
        let data = Value::Blob(vec![1]);
        let records = vec![record("k").with("Data", data.clone()), record("").with("Data", data), record("k")];
        let put = Value::structure().with("StreamName", "a b").with("Records", records);
        let wanted = [
            stands("records.2.member.partitionKey", "''"),
            stands("records.3.member.data", "null"),
            stands("streamName", "'a b'"),
        ];
        assert_eq!(told("PutRecords", &put), wanted);
        let tags = Value::Map(vec![("k".into(), "x".repeat(257).into()), ("".into(), "v".into())]);
        let tagged = Value::structure().with("StreamName", "s").with("Tags", tags);
        let wanted = [stands("tags.k.member", &format!("'{}'", "x".repeat(257))), stands("tags", "''")];
        assert_eq!(told("AddTagsToStream", &tagged), wanted);
    }
}
