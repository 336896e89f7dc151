//! `EventBridge`'s pattern language in its three dialects: filters of an event source mapping (here), filter policies of a
//! topic's subscriptions (`policy`), rules of a bus (`bus`, and many of them at once: `index`). They share the conditions, and
//! differ in how numbers and addresses are compared, in what a path is, and in the words of their errors.
//!
//! A mapping's filters look at a record's payload and metadata. A record is let through if any filter matches. Each record is read once, whatever the number of filters, and of its
//! objects only fields that some filter names. Matching is linear in the record and in the patterns: nothing is tried
//! twice.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/invocation-eventfiltering.html>

pub mod bus;
mod cidr;
pub mod index;
mod json;
mod matcher;
pub mod policy;
mod tree;

use std::borrow::Cow;
use std::fmt;

use json::Fields;
pub use json::{Value, NESTING_MAX};
pub use tree::PATTERN_CHARS_MAX;
use tree::{Field, Node, Numbers};

/// Most filters of one mapping (AWS: 5, and 10 on request).
pub const FILTERS_MAX: usize = 10;

/// Why a pattern was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterError {
    /// Where in the pattern, as `data.City[0].prefix`; empty for the whole.
    pub path: String,
    /// What is wrong there.
    pub reason: String,
}

impl fmt::Display for FilterError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if self.path.is_empty() { "the root" } else { &self.path };
        write!(formatter, "Invalid filter pattern definition. At {place}: {}.", self.reason)
    }
}

impl std::error::Error for FilterError {}

/// One pattern.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter(Node);

impl Filter {
    /// Parse a pattern's JSON text.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        tree::parse(text, Numbers::AsWritten).map(Self)
    }
}

/// The shape of a source's events: where the payload stands and what else there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    /// Key of the payload, which is matched as JSON by an object and as text by an array of conditions.
    pub payload: &'static str,
    /// Other keys.
    pub metadata: &'static [&'static str],
}

/// Streams: `data`, and the record's own fields beside it.
pub const KINESIS: Source = Source {
    payload: "data",
    metadata: &["kinesisSchemaVersion", "partitionKey", "sequenceNumber", "approximateArrivalTimestamp"],
};

/// Queues: `body`, and the message's own fields beside it.
pub const SQS: Source = Source {
    payload: "body",
    metadata: &[
        "messageId",
        "receiptHandle",
        "attributes",
        "messageAttributes",
        "md5OfBody",
        "eventSource",
        "eventSourceARN",
        "awsRegion",
    ],
};

/// What the filters of a mapping say of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A filter matches, or there is none.
    Pass,
    /// No filter matches.
    NoMatch,
    /// No filter matches, and one wants the payload to be a JSON object or array, which it is not.
    NotJson,
}

/// The filters of a mapping.
#[derive(Clone, Debug, PartialEq)]
pub struct Filters {
    source: Source,
    patterns: Vec<Filter>,
    /// Every field name in any pattern, sorted.
    names: Vec<String>,
    wants_json: bool,
}

/// The payload, read as far as the filters need it.
enum Payload<'a> {
    Json(Value<'a>),
    Text(Value<'a>),
}

/// A record as the filters see it.
struct Event<'a, 'm> {
    source: Source,
    payload: Payload<'a>,
    metadata: &'m [(&'m str, Value<'m>)],
}

impl Filters {
    /// Filters on the events of `source`. A key that such events never have is refused: it would hold back everything.
    pub fn new(source: Source, filters: Vec<Filter>) -> Result<Self, FilterError> {
        if filters.len() > FILTERS_MAX {
            let reason = format!("{} were given, at most {FILTERS_MAX} are allowed", filters.len());
            return Err(FilterError { path: "filters".into(), reason });
        }
        let mut names = Vec::new();
        for Filter(root) in &filters {
            check_keys(source, root)?;
            collect_names(root, &mut names);
        }
        names.sort_unstable();
        names.dedup();
        let wants_json = filters.iter().any(|filter| wants_json(source, &filter.0));
        Ok(Self { source, patterns: filters, names, wants_json })
    }

    /// Whether there is nothing to match.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Whether any pattern names this key, so that a caller need not make metadata that nobody reads.
    pub fn reads(&self, key: &str) -> bool {
        self.names.binary_search_by(|name| name.as_str().cmp(key)).is_ok()
    }

    /// Judge a record by its payload and the metadata that the filters read.
    pub fn judge(&self, payload: &[u8], metadata: &[(&str, Value<'_>)]) -> Verdict {
        if self.patterns.is_empty() {
            return Verdict::Pass;
        }
        let event = Event { source: self.source, payload: self.read(payload), metadata };
        if self.patterns.iter().any(|filter| event.matches(&filter.0)) {
            return Verdict::Pass;
        }
        match event.payload {
            Payload::Text(_) if self.wants_json => Verdict::NotJson,
            _ => Verdict::NoMatch,
        }
    }

    /// Judge a stream's record. `sequence_number` is made only if a filter reads it; `arrival_ms` is wall time.
    pub fn passes_kinesis(&self, record: &KinesisRecord<'_>) -> Verdict {
        let mut metadata = Vec::new();
        for key in KINESIS.metadata.iter().copied().filter(|key| self.reads(key)) {
            let value = match key {
                "kinesisSchemaVersion" => Value::String("1.0".into()),
                "partitionKey" => Value::String(record.partition_key.into()),
                "sequenceNumber" => Value::String(record.sequence_number.to_string().into()),
                _ => Value::Literal(format!("{}.{:03}", record.arrival_ms / 1000, record.arrival_ms % 1000).into()),
            };
            metadata.push((key, value));
        }
        self.judge(record.data, &metadata)
    }

    /// Only objects and arrays count as JSON: a bare number or word is text.
    fn read<'a>(&self, payload: &'a [u8]) -> Payload<'a> {
        if !self.reads(self.source.payload) {
            return Payload::Text(Value::String(Cow::Borrowed("")));
        }
        let Ok(text) = std::str::from_utf8(payload) else {
            return Payload::Text(Value::String(String::from_utf8_lossy(payload)));
        };
        let is_container = text.trim_start().starts_with(['{', '[']);
        let value = if is_container { json::read(text, &|name| self.reads(name)) } else { None };
        match value {
            Some(value) => Payload::Json(value),
            None => Payload::Text(Value::String(Cow::Borrowed(text))),
        }
    }
}

/// What filters see of a stream's record.
#[derive(Clone, Copy, Debug)]
pub struct KinesisRecord<'a> {
    /// Partition key.
    pub partition_key: &'a str,
    /// As `sequence::number` makes it.
    pub sequence_number: u64,
    /// Arrival, wall ms.
    pub arrival_ms: u64,
    /// Payload.
    pub data: &'a [u8],
}

impl Event<'_, '_> {
    fn matches(&self, root: &Node) -> bool {
        let has = |(name, field): &(String, Field)| match (field, &self.payload) {
            _ if name != self.source.payload => {
                let value = self.metadata.iter().find(|(key, _)| key == name).map(|(_, value)| value);
                is_met(field, value)
            }
            (Field::Inner(_), Payload::Json(value)) | (Field::Leaf(_), Payload::Text(value)) => {
                is_met(field, Some(value))
            }
            // JSON is not matched as text, nor text as JSON.
            _ => false,
        };
        root.fields.iter().all(has)
            && root.choices.iter().all(|choices| choices.iter().any(|choice| self.matches(choice)))
    }
}

fn is_met(field: &Field, value: Option<&Value<'_>>) -> bool {
    match field {
        Field::Leaf(matchers) => matchers.iter().any(|matcher| matcher.is_met_by(value)),
        // A field that is absent, or no object, has no fields of its own: a pattern may ask for just that.
        Field::Inner(node) => {
            any_object(value, &mut |fields| is_node_met(node, fields)).unwrap_or_else(|| is_node_met(node, &[]))
        }
    }
}

fn is_node_met(node: &Node, fields: &Fields<'_>) -> bool {
    let value = |name: &str| fields.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value);
    node.fields.iter().all(|(name, field)| is_met(field, value(name)))
        && node.choices.iter().all(|choices| choices.iter().any(|choice| is_node_met(choice, fields)))
}

/// Whether any object in a value, or in the arrays inside it, satisfies all at once; `None` if there is no object.
fn any_object(value: Option<&Value<'_>>, satisfies: &mut dyn FnMut(&Fields<'_>) -> bool) -> Option<bool> {
    match value? {
        Value::Object(fields) => Some(satisfies(fields)),
        Value::Array(elements) => {
            let mut found = None;
            for element in elements.iter().filter(|element| element.is_container()) {
                match any_object(Some(element), satisfies) {
                    Some(true) => return Some(true),
                    Some(false) => found = Some(false),
                    None => {}
                }
            }
            found
        }
        Value::String(_) | Value::Literal(_) => None,
    }
}

fn check_keys(source: Source, root: &Node) -> Result<(), FilterError> {
    for (name, _) in &root.fields {
        if name != source.payload && !source.metadata.contains(&name.as_str()) {
            let reason = format!("no such key; there are {}, {}", source.payload, source.metadata.join(", "));
            return Err(FilterError { path: name.clone(), reason });
        }
    }
    root.choices.iter().flatten().try_for_each(|choice| check_keys(source, choice))
}

fn collect_names(node: &Node, names: &mut Vec<String>) {
    for (name, field) in &node.fields {
        names.push(name.clone());
        if let Field::Inner(inner) = field {
            collect_names(inner, names);
        }
    }
    node.choices.iter().flatten().for_each(|choice| collect_names(choice, names));
}

fn wants_json(source: Source, root: &Node) -> bool {
    let has = |(name, field): &(String, Field)| name == source.payload && matches!(field, Field::Inner(_));
    root.fields.iter().any(has) || root.choices.iter().flatten().any(|choice| wants_json(source, choice))
}
