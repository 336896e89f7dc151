//! A pattern's text becomes a tree of conditions.
//!
//! Objects are all of their fields, arrays any of their conditions, `$or` any of its objects. Where an event has an array
//! of objects, what one object of the pattern says must hold in one element; an object inside `$or` is another object than
//! its namesake beside it. Everything the language knows stands here; what it does not know is refused, and the error says
//! where.

use super::cidr::Cidr;
use super::json::{self, Unreadable, Value, NESTING_MAX};
use super::matcher::{lower, Bound, Exact, Matcher, Range, Text};
use super::FilterError;

/// Longest pattern, characters.
pub const PATTERN_CHARS_MAX: usize = 4096;

/// The conditions. None can be the name of a field inside `$or`: there it would be a mistake.
const CONDITIONS: [&str; 9] =
    ["exactly", "prefix", "suffix", "equals-ignore-case", "wildcard", "cidr", "anything-but", "numeric", "exists"];

/// Those that anything-but may exclude, beside strings and numbers.
const TEXT_CONDITIONS: [&str; 4] = ["prefix", "suffix", "equals-ignore-case", "wildcard"];

/// An object of a pattern: every field and every `$or` must match.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Node {
    pub(super) fields: Vec<(String, Field)>,
    pub(super) choices: Vec<Vec<Node>>,
}

/// What a pattern says about one field.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Field {
    /// One of these must be met.
    Leaf(Vec<Matcher>),
    /// Its own fields must match.
    Inner(Node),
}

/// When a number of the event equals one of the pattern: what sets the mapping's filters and the topic's policies apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Numbers {
    /// If both are written alike: `300` is not `3.0e2`.
    AsWritten,
    /// If they are the same number.
    ByValue,
}

type Parsed<T> = Result<T, FilterError>;

/// Parse a pattern.
pub(super) fn parse(text: &str, numbers: Numbers) -> Parsed<Node> {
    let length = text.chars().count();
    if length > PATTERN_CHARS_MAX {
        return refuse("", format!("it has {length} characters, at most {PATTERN_CHARS_MAX} are allowed"));
    }
    match json::read_whole(text, NESTING_MAX) {
        Ok(root) => node("", &root, numbers),
        Err(Unreadable::NotJson) => refuse("", "it is not JSON"),
        Err(Unreadable::TooDeep) => refuse("", format!("objects and arrays may lie {NESTING_MAX} deep at most")),
    }
}

fn refuse<T>(path: &str, reason: impl Into<String>) -> Parsed<T> {
    Err(FilterError { path: path.into(), reason: reason.into() })
}

fn node(path: &str, value: &Value<'_>, numbers: Numbers) -> Parsed<Node> {
    let Value::Object(fields) = value else { return refuse(path, "an object is expected") };
    if fields.is_empty() {
        return refuse(path, "an empty object matches nothing; leave it out");
    }
    let mut parsed = Node::default();
    for (index, (name, value)) in fields.iter().enumerate() {
        if fields[index + 1..].iter().any(|(later, _)| later == name) {
            continue; // the last of a name counts
        }
        let path = if path.is_empty() { name.to_string() } else { format!("{path}.{name}") };
        if name == "$or" {
            parsed.choices.push(choices(&path, value, numbers)?);
        } else {
            parsed.fields.push((name.to_string(), field(&path, value, numbers)?));
        }
    }
    Ok(parsed)
}

fn field(path: &str, value: &Value<'_>, numbers: Numbers) -> Parsed<Field> {
    match value {
        Value::Object(_) => Ok(Field::Inner(node(path, value, numbers)?)),
        Value::Array(conditions) if conditions.is_empty() => refuse(path, "an empty array matches nothing"),
        Value::Array(conditions) => {
            let numbered = conditions.iter().enumerate();
            Ok(Field::Leaf(
                numbered
                    .map(|(index, value)| matcher(&format!("{path}[{index}]"), value, numbers))
                    .collect::<Parsed<_>>()?,
            ))
        }
        _ => refuse(path, "an array of conditions or an object is expected"),
    }
}

fn choices(path: &str, value: &Value<'_>, numbers: Numbers) -> Parsed<Vec<Node>> {
    let Value::Array(choices) = value else { return refuse(path, "an array of objects is expected") };
    if choices.len() < 2 {
        return refuse(path, "two or more objects are expected");
    }
    let choice = |(index, value)| {
        let path = format!("{path}[{index}]");
        let choice = node(&path, value, numbers)?;
        match choice.fields.iter().find(|(name, _)| CONDITIONS.contains(&name.as_str())) {
            Some((name, _)) => refuse(&path, format!("{name:?} cannot be a field of $or")),
            None => Ok(choice),
        }
    };
    choices.iter().enumerate().map(choice).collect()
}

fn matcher(path: &str, value: &Value<'_>, numbers: Numbers) -> Parsed<Matcher> {
    match value {
        Value::String(text) => Ok(Matcher::Exactly(Exact::String(text.to_string()))),
        Value::Literal(text) => match text.parse() {
            Ok(number) if numbers == Numbers::ByValue => Ok(Matcher::Exactly(Exact::Number(number))),
            _ => Ok(Matcher::Exactly(Exact::Literal(text.to_string()))),
        },
        Value::Array(_) => refuse(path, "a condition cannot be an array"),
        Value::Object(fields) => {
            let [(name, value)] = fields.as_slice() else {
                return refuse(path, "a condition has exactly one key");
            };
            let path = format!("{path}.{name}");
            match name.as_ref() {
                "exactly" => Ok(Matcher::Exactly(Exact::String(string(&path, value)?))),
                "anything-but" => anything_but(&path, value, numbers),
                "numeric" => numeric(&path, value),
                "cidr" => Cidr::parse(&string(&path, value)?).map(Matcher::Cidr).or_else(|why| refuse(&path, why)),
                "exists" => match value {
                    Value::Literal(text) if text == "true" => Ok(Matcher::Exists(true)),
                    Value::Literal(text) if text == "false" => Ok(Matcher::Exists(false)),
                    _ => refuse(&path, "true or false is expected"),
                },
                _ => text_matcher(&path, name, value)?.map_or_else(|| refuse_unknown(&path, &CONDITIONS), Ok),
            }
        }
    }
}

fn refuse_unknown<T>(path: &str, known: &[&str]) -> Parsed<T> {
    refuse(path, format!("no such condition; there are {}", known.join(", ")))
}

/// A condition on strings; `None` if there is none of this name.
fn text_matcher(path: &str, name: &str, value: &Value<'_>) -> Parsed<Option<Matcher>> {
    let ignored_case = match (name, value) {
        ("prefix" | "suffix", Value::Object(fields)) => match fields.as_slice() {
            [(inner, value)] if inner == "equals-ignore-case" => Some(string(path, value)?),
            _ => return refuse(path, "a string or {\"equals-ignore-case\": string} is expected"),
        },
        _ => None,
    };
    let text = match (name, ignored_case) {
        ("prefix", Some(text)) => Text::PrefixIgnoreCase(lower(&text).collect()),
        ("suffix", Some(text)) => Text::SuffixIgnoreCase(lower(&text).collect()),
        ("prefix", None) => Text::Prefix(string(path, value)?),
        ("suffix", None) => Text::Suffix(string(path, value)?),
        ("equals-ignore-case", _) => Text::EqualsIgnoreCase(lower(&string(path, value)?).collect()),
        ("wildcard", _) => return wildcard(path, &string(path, value)?).map(Some),
        _ => return Ok(None),
    };
    Ok(Some(Matcher::Text(text)))
}

fn string(path: &str, value: &Value<'_>) -> Parsed<String> {
    match value {
        Value::String(text) => Ok(text.to_string()),
        _ => refuse(path, "a string is expected"),
    }
}

/// Strings, or numbers, or one string condition with one or more texts.
fn anything_but(path: &str, value: &Value<'_>, numbers: Numbers) -> Parsed<Matcher> {
    let others = match value {
        Value::Object(fields) => {
            let [(name, value)] = fields.as_slice() else { return refuse(path, "exactly one key is expected") };
            let path = format!("{path}.{name}");
            let values = listed(&path, value)?;
            let other =
                |value| text_matcher(&path, name, value)?.map_or_else(|| refuse_unknown(&path, &TEXT_CONDITIONS), Ok);
            values.iter().map(other).collect::<Parsed<_>>()?
        }
        _ => {
            let values = listed(path, value)?;
            let are_strings = values.iter().all(|value| matches!(value, Value::String(_)));
            let are_numbers = values.iter().all(|value| number(value).is_some());
            if !are_strings && !are_numbers {
                return refuse(path, "a string, a number, a list of either, or one string condition is expected");
            }
            values.iter().map(|value| matcher(path, value, numbers)).collect::<Parsed<_>>()?
        }
    };
    Ok(Matcher::AnythingBut(others))
}

fn listed<'v, 'a>(path: &str, value: &'v Value<'a>) -> Parsed<&'v [Value<'a>]> {
    match value {
        Value::Array(values) if values.is_empty() => refuse(path, "an empty list excludes nothing"),
        Value::Array(values) => Ok(values),
        single => Ok(std::slice::from_ref(single)),
    }
}

fn number(value: &Value<'_>) -> Option<f64> {
    match value {
        Value::Literal(text) => text.parse().ok(),
        _ => None,
    }
}

/// `["=", n]`, or one or two of `<`, `<=`, `>`, `>=`, each with its number.
fn numeric(path: &str, value: &Value<'_>) -> Parsed<Matcher> {
    let usage =
        "[\"=\", number], or one lower and one upper bound at most, as [\">=\", number, \"<\", number], is expected";
    let Value::Array(parts) = value else { return refuse(path, usage) };
    let mut range = Range::default();
    for pair in parts.chunks(2) {
        let [Value::String(comparison), limit] = pair else { return refuse(path, usage) };
        let Some(value) = number(limit) else { return refuse(path, usage) };
        let bound = Some(Bound { value, is_inclusive: comparison.ends_with('=') });
        match comparison.as_ref() {
            "=" if parts.len() == 2 => range = Range { least: bound, most: bound },
            ">" | ">=" if range.least.is_none() => range.least = bound,
            "<" | "<=" if range.most.is_none() => range.most = bound,
            _ => return refuse(path, usage),
        }
    }
    if range == Range::default() {
        return refuse(path, usage);
    }
    if !range.is_possible() {
        return refuse(path, "no number lies between these bounds");
    }
    Ok(Matcher::Numeric(range))
}

/// `*` stands for any text; `\*` and `\\` for themselves.
fn wildcard(path: &str, pattern: &str) -> Parsed<Matcher> {
    let mut pieces = vec![String::new()];
    let mut after_star = false;
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        let is_star = character == '*';
        if is_star && after_star {
            return refuse(path, "two asterisks in a row say no more than one");
        }
        after_star = is_star;
        let literal = match character {
            '*' => None,
            '\\' => match characters.next() {
                Some(escaped @ ('*' | '\\')) => Some(escaped),
                _ => return refuse(path, "a backslash stands before an asterisk or a backslash only"),
            },
            other => Some(other),
        };
        match (literal, pieces.last_mut()) {
            (Some(literal), Some(piece)) => piece.push(literal),
            _ => pieces.push(String::new()),
        }
    }
    match pieces.as_mut_slice() {
        [only] => Ok(Matcher::Exactly(Exact::String(std::mem::take(only)))),
        _ => Ok(Matcher::Text(Text::Wildcard(pieces))),
    }
}
