//! One rule and one event, looked at in full: does it match, and which fields do not.
//!
//! This is the slow way, leaf by leaf and without a table. The index is tested against it.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use super::error::PatternError;
use super::number::comparable;
use super::{is_met, may_be_absent, Alternative, Condition, Conditions, Rule, EVENT_DEPTH_MAX};
use crate::pattern::json::{self, Unreadable, Value};
use crate::pattern::matcher::{Bound, Exact, Matcher, Part, Range, Scalar, Text};

/// What every event has.
const ENVELOPE: [&str; 6] = ["id", "account", "source", "time", "region", "detail-type"];

/// Values that a failure shows of a field that has many.
const VALUES_SHOWN_MAX: usize = 5;
/// Characters that a failure shows of a value.
const VALUE_CHARS_MAX: usize = 200;

/// What a rule says of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Whether it matches.
    pub matches: bool,
    /// The fields that fail, of the alternative of a `$or` that has the fewest. None if the event matches.
    pub failures: Vec<Failure>,
}

/// A field that does not hold what the rule wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The path in the event, its names joined with dots; of fields that fail together, all of them.
    pub path: String,
    /// The conditions as the pattern has them, as `["running", {"prefix": "p"}]`.
    pub condition: String,
    /// The event's values as JSON, joined with commas; empty if the field is absent.
    pub value: String,
    /// What is wrong, in words.
    pub reason: String,
}

/// Why an event cannot be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventError {
    /// What is wrong with it.
    pub reason: String,
}

impl fmt::Display for EventError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Parameter Event is not valid.")
    }
}

impl std::error::Error for EventError {}

/// What `test_event` refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TestError {
    /// The event, which is looked at first.
    Event(EventError),
    /// The pattern.
    Pattern(PatternError),
}

/// `TestEventPattern`: whether an event with its envelope meets a pattern, and if not, which of its fields fail.
pub fn test_event(pattern: &str, event: &str) -> Result<Report, TestError> {
    let fields = read(event).map_err(TestError::Event)?;
    if let Some(missing) = ENVELOPE.iter().find(|name| !fields.iter().any(|(field, _)| field == *name)) {
        return Err(TestError::Event(EventError { reason: format!("it has no \"{missing}\"") }));
    }
    let rule = Rule::parse(pattern).map_err(TestError::Pattern)?;
    Ok(judge(&rule, &flatten(&fields)))
}

pub(super) fn matches(rule: &Rule, event: &str) -> Result<bool, EventError> {
    let fields = read(event)?;
    let leaves = flatten(&fields);
    Ok(rule.alternatives.iter().any(|alternative| matches_one(alternative, &leaves)))
}

pub(super) fn report(rule: &Rule, event: &str) -> Result<Report, EventError> {
    Ok(judge(rule, &flatten(&read(event)?)))
}

type Fields<'a> = [(Cow<'a, str>, Value<'a>)];

fn read(event: &str) -> Result<Vec<(Cow<'_, str>, Value<'_>)>, EventError> {
    let reason = match json::read_whole(event, EVENT_DEPTH_MAX) {
        Ok(Value::Object(fields)) => return Ok(fields),
        Ok(_) => "it is not an object".to_owned(),
        Err(Unreadable::NotJson) => "it is not JSON".to_owned(),
        Err(Unreadable::TooDeep) => format!("objects and arrays may lie {EVENT_DEPTH_MAX} deep at most"),
    };
    Err(EventError { reason })
}

/// A value of an event.
struct Leaf<'a> {
    path: String,
    value: Scalar<'a>,
    /// The elements of arrays it lies in: which array, which element.
    elements: Vec<(usize, usize)>,
}

/// Walks an event.
#[derive(Default)]
struct Flattener<'a> {
    leaves: Vec<Leaf<'a>>,
    elements: Vec<(usize, usize)>,
    arrays: usize,
}

fn flatten<'a>(fields: &'a Fields<'a>) -> Vec<Leaf<'a>> {
    let mut flattener = Flattener::default();
    flattener.object(None, fields);
    flattener.leaves
}

impl<'a> Flattener<'a> {
    fn object(&mut self, path: Option<&str>, fields: &'a Fields<'a>) {
        // Of two with one name the last counts.
        let mut names = HashSet::new();
        for (name, value) in fields.iter().rev() {
            if names.insert(name) {
                let path = path.map_or_else(|| name.to_string(), |path| format!("{path}.{name}"));
                self.value(&path, value);
            }
        }
    }

    fn value(&mut self, path: &str, value: &'a Value<'a>) {
        let scalar = match value {
            Value::Object(fields) => return self.object(Some(path), fields),
            Value::Array(elements) => {
                let array = self.arrays;
                self.arrays += 1;
                for (index, element) in elements.iter().enumerate() {
                    if element.is_container() {
                        self.elements.push((array, index));
                        self.value(path, element);
                        self.elements.pop();
                    } else {
                        self.value(path, element);
                    }
                }
                return;
            }
            Value::String(text) => Scalar::String(text),
            Value::Literal(text) => scalar(text),
        };
        self.leaves.push(Leaf { path: path.to_owned(), value: scalar, elements: self.elements.clone() });
    }
}

/// A number, `true`, `false` or `null`, as bus rules see it.
fn scalar(text: &str) -> Scalar<'_> {
    comparable(text).map_or(Scalar::Word(text), |number| Scalar::Number(text, number))
}

fn matches_one(alternative: &Alternative, leaves: &[Leaf<'_>]) -> bool {
    let all: Vec<Candidates<'_>> =
        alternative.iter().map(|(path, conditions)| candidates(path, conditions, leaves)).collect();
    all.iter().all(Candidates::may_be_met) && agree(&all, &mut Vec::new())
}

/// The elements of arrays that a value lies in.
type Elements = [(usize, usize)];

/// The values of a path.
struct Candidates<'l> {
    wants_absence: bool,
    all: Vec<&'l Elements>,
    /// Those that meet its conditions.
    meeting: Vec<&'l Elements>,
}

impl Candidates<'_> {
    /// Whether it is met, arrays aside.
    fn is_met(&self) -> bool {
        self.wants_absence && self.all.is_empty() || !self.meeting.is_empty()
    }

    fn may_be_met(&self) -> bool {
        self.wants_absence || !self.meeting.is_empty()
    }
}

fn candidates<'l>(path: &str, conditions: &[Condition], leaves: &'l [Leaf<'_>]) -> Candidates<'l> {
    let here = || leaves.iter().filter(|leaf| leaf.path == path);
    let meets = |leaf: &&Leaf<'_>| is_met(conditions, leaf.value);
    Candidates {
        wants_absence: may_be_absent(conditions),
        all: here().map(|leaf| leaf.elements.as_slice()).collect(),
        meeting: here().filter(meets).map(|leaf| leaf.elements.as_slice()).collect(),
    }
}

/// Whether a value of each path can be taken so that all lie in the same elements of the arrays that they share. A path is
/// absent if none of its values lies in the elements that the paths before it, in the order of their names, have taken.
fn agree<'l>(paths: &[Candidates<'l>], taken: &mut Vec<&'l Elements>) -> bool {
    let [path, rest @ ..] = paths else { return true };
    let fits = |elements: &Elements, taken: &[&Elements]| {
        let differs = |(array, element)| {
            taken.iter().any(|other| other.iter().any(|&(there, at)| array == there && element != at))
        };
        !elements.iter().any(|&place| differs(place))
    };
    if path.wants_absence && !path.all.iter().any(|elements| fits(elements, taken)) && agree(rest, taken) {
        return true;
    }
    path.meeting.iter().any(|elements| {
        if !fits(elements, taken) {
            return false;
        }
        taken.push(elements);
        let do_agree = agree(rest, taken);
        taken.pop();
        do_agree
    })
}

fn judge(rule: &Rule, leaves: &[Leaf<'_>]) -> Report {
    if rule.alternatives.iter().any(|alternative| matches_one(alternative, leaves)) {
        return Report { matches: true, failures: Vec::new() };
    }
    let nearest = rule.alternatives.iter().map(|alternative| failures(alternative, leaves)).min_by_key(Vec::len);
    Report { matches: false, failures: nearest.unwrap_or_default() }
}

fn failures(alternative: &Alternative, leaves: &[Leaf<'_>]) -> Vec<Failure> {
    let mut failures = Vec::new();
    let mut in_arrays = Vec::new();
    for (path, conditions) in alternative {
        let candidates = candidates(path, conditions, leaves);
        if !candidates.is_met() {
            failures.push(failure(path, conditions, leaves));
        } else if !candidates.all.is_empty() && candidates.all.iter().all(|elements| !elements.is_empty()) {
            in_arrays.push((path, conditions));
        }
    }
    if failures.is_empty() {
        failures.push(disagreement(&in_arrays, leaves));
    }
    failures
}

fn failure(path: &str, conditions: &[Condition], leaves: &[Leaf<'_>]) -> Failure {
    let wanted: Vec<String> = conditions.iter().map(|condition| described(&condition.matcher)).collect();
    let wanted = wanted.join(", or ");
    let value = values(path, leaves);
    let reason = if value.is_empty() {
        format!("{path} is absent; the rule wants {wanted}")
    } else {
        format!("{path} is {value}; the rule wants {wanted}")
    };
    Failure { path: path.to_owned(), condition: written(conditions), value, reason }
}

/// Every field is met by some element, but no element meets all.
fn disagreement(fields: &[(&String, &Conditions)], leaves: &[Leaf<'_>]) -> Failure {
    let joined =
        |of: &dyn Fn(&(&String, &Conditions)) -> String| fields.iter().map(of).collect::<Vec<_>>().join(" and ");
    let path = joined(&|(path, _)| (*path).clone());
    let reason = format!("{path} are met by different elements of an array; the rule wants one element that meets all");
    Failure {
        condition: joined(&|(_, conditions)| written(conditions)),
        value: joined(&|(path, _)| values(path, leaves)),
        path,
        reason,
    }
}

fn written(conditions: &[Condition]) -> String {
    let texts: Vec<&str> = conditions.iter().map(|condition| condition.text.as_str()).collect();
    format!("[{}]", texts.join(", "))
}

/// The event's values at a path, the first ones of many.
fn values(path: &str, leaves: &[Leaf<'_>]) -> String {
    let mut here = leaves.iter().filter(|leaf| leaf.path == path);
    let mut shown: Vec<String> = here.by_ref().take(VALUES_SHOWN_MAX).map(|leaf| shown(leaf.value)).collect();
    let more = here.count();
    if more > 0 {
        shown.push(format!("and {more} more"));
    }
    shown.join(", ")
}

fn shown(value: Scalar<'_>) -> String {
    match value {
        Scalar::String(text) => quoted(text),
        Scalar::Literal(text) | Scalar::Number(text, _) | Scalar::Word(text) => text.to_owned(),
    }
}

fn quoted(text: &str) -> String {
    match text.char_indices().nth(VALUE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", serde_json::Value::from(&text[..end])),
        None => serde_json::Value::from(text).to_string(),
    }
}

/// A condition in words.
fn described(matcher: &Matcher) -> String {
    match matcher {
        Matcher::Exactly(Exact::String(text)) => quoted(text),
        Matcher::Exactly(Exact::Literal(text)) => text.clone(),
        Matcher::Exactly(Exact::Number(number)) => number.to_string(),
        Matcher::Text(text) => described_text(text),
        Matcher::Numeric(range) => described_range(range),
        Matcher::Cidr(block) => block.to_string(),
        Matcher::AnythingBut(others) => {
            let others: Vec<String> = others.iter().map(described).collect();
            format!("a value that is not {}", others.join(", nor "))
        }
        Matcher::Exists(true) => "any value".to_owned(),
        Matcher::Exists(false) => "the field to be absent".to_owned(),
    }
}

fn described_text(text: &Text) -> String {
    match text {
        Text::Prefix(text) => format!("a text that begins with {}", quoted(text)),
        Text::Suffix(text) => format!("a text that ends with {}", quoted(text)),
        Text::Wildcard(pieces) => format!("a text like {}", quoted(&pieces.join("*"))),
        Text::EqualsIgnoreCase(text) | Text::EitherCase(Part::Whole, text) => format!("{} in any case", quoted(text)),
        Text::PrefixIgnoreCase(text) | Text::EitherCase(Part::Start, text) => {
            format!("a text that begins with {} in any case", quoted(text))
        }
        Text::SuffixIgnoreCase(text) | Text::EitherCase(Part::End, text) => {
            format!("a text that ends with {} in any case", quoted(text))
        }
    }
}

fn described_range(range: &Range) -> String {
    let one = |bound: Bound, strict: &str, inclusive: &str| {
        format!("{} {}", if bound.is_inclusive { inclusive } else { strict }, bound.value)
    };
    match (range.least, range.most) {
        (Some(least), Some(most)) if least == most => format!("the number {}", least.value),
        (Some(least), Some(most)) => format!("a number {} and {}", one(least, ">", ">="), one(most, "<", "<=")),
        (Some(least), None) => format!("a number {}", one(least, ">", ">=")),
        (None, Some(most)) => format!("a number {}", one(most, "<", "<=")),
        (None, None) => "a number".to_owned(),
    }
}
