//! Compares what was recorded with what the machine says: placeholders stand for anything, texts that are JSON for their value.

use serde_json::Value;

/// Words that the recordings put in the place of a value.
const WORDS: &[&str] = &[
    "timestamp",
    "date",
    "start-date",
    "stop-date",
    "start-time",
    "entered-time",
    "snf_role_arn",
    "sfn_role_arn",
    "map_run_arn",
    "activity_arn",
    "a_task_token",
    "a_message_id",
    "RandomNumberGenerated",
];
/// Words that stand for a name inside a text.
const NAMES: &[&str] = &["lambda_function_name", "lambda_function_1_name"];
/// What a comparison leaves out.
const LEFT_OUT: &[&str] = &["SdkHttpMetadata", "SdkResponseMetadata", "ResponseMetadata"];

/// The first difference, with its place.
pub(crate) fn difference(expected: &Value, actual: &Value) -> Option<String> {
    differ("$", expected, actual)
}

fn differ(at: &str, expected: &Value, actual: &Value) -> Option<String> {
    let tell = || Some(format!("{at}: expected {} but was {}", short(expected), short(actual)));
    match (expected, actual) {
        (Value::String(word), _) if WORDS.contains(&word.as_str()) => None,
        (Value::String(pattern), Value::String(text)) => {
            if matches(pattern, text) {
                return None;
            }
            match (parsed(pattern), parsed(text)) {
                (Some(expected), Some(actual)) => differ(at, &expected, &actual),
                _ => tell(),
            }
        }
        // A text that held an object is recorded as the object.
        (_, Value::String(text)) if !expected.is_string() => match serde_json::from_str::<Value>(text) {
            Ok(actual) if !actual.is_string() => differ(at, expected, &actual),
            _ => tell(),
        },
        (Value::String(text), Value::Array(_) | Value::Object(_) | Value::Number(_) | Value::Null | Value::Bool(_)) => {
            match serde_json::from_str::<Value>(text) {
                Ok(expected) if !expected.is_string() => differ(at, &expected, actual),
                _ if matches(text, &actual.to_string()) => None,
                _ => tell(),
            }
        }
        (Value::Number(expected), Value::Number(actual)) if expected.as_f64() == actual.as_f64() => None,
        (Value::Array(expected), Value::Array(actual)) if expected.len() == actual.len() => expected
            .iter()
            .zip(actual)
            .enumerate()
            .find_map(|(index, (expected, actual))| differ(&format!("{at}[{index}]"), expected, actual)),
        (Value::Object(expected), Value::Object(actual)) => {
            let is_left_out = |name: &&String| LEFT_OUT.contains(&name.as_str());
            let missing = expected.keys().filter(|name| !is_left_out(name)).find(|name| !actual.contains_key(*name));
            let more = actual.keys().filter(|name| !is_left_out(name)).find(|name| !expected.contains_key(*name));
            if let Some(name) = missing {
                return Some(format!("{at}: {name} is missing"));
            }
            if let Some(name) = more {
                return Some(format!("{at}: {name} is too many: {}", short(&actual[name])));
            }
            let shared = expected.iter().filter(|(name, _)| !is_left_out(name));
            shared.into_iter().find_map(|(name, value)| differ(&format!("{at}.{name}"), value, &actual[name]))
        }
        _ if expected == actual => None,
        _ => tell(),
    }
}

/// A text's JSON, if it is more than a word.
fn parsed(text: &str) -> Option<Value> {
    let value = serde_json::from_str::<Value>(text).ok()?;
    (!value.is_string() || text.starts_with('"')).then_some(value)
}

/// Whether a text fits a pattern in which `<anything>` stands for any text.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let pattern =
        NAMES.iter().fold(pattern.to_owned(), |pattern, name| pattern.replace(name, "<>").replace("<<>>", "<>"));
    let mut parts = vec![String::new()];
    let mut depth = 0;
    for each in pattern.chars() {
        match each {
            '<' => depth += 1,
            '>' if depth > 0 => {
                depth -= 1;
                if depth == 0 {
                    parts.push(String::new());
                }
            }
            _ if depth > 0 => {}
            _ => parts.last_mut().unwrap().push(each),
        }
    }
    if parts.len() == 1 || depth > 0 {
        return pattern == text;
    }
    let last = parts.pop().unwrap();
    let Some(mut left) = text.strip_prefix(parts[0].as_str()) else { return false };
    for part in &parts[1..] {
        match left.find(part.as_str()) {
            Some(at) => left = &left[at + part.len()..],
            None => return false,
        }
    }
    left.ends_with(&last)
}

fn short(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() > 300 {
        text.chars().take(300).chain("…".chars()).collect()
    } else {
        text
    }
}

#[test]
fn a_placeholder_stands_for_any_text() {
    assert!(matches("arn:<a>:x:<b>", "arn:1:x:2"));
    assert!(!matches("arn:<a>:x", "arn:1:y"));
    assert!(matches("plain", "plain"));
    assert!(matches("<<task_token>:1>", "t.1"));
    assert!(matches("a < b", "a < b"));
}
