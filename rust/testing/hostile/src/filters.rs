//! JSON as it comes in, patterns as users write them, and the payloads that they judge: the first line is the pattern, the rest the
//! payload.

use forebay_core::pattern::policy::{Attribute, Policy, Scope};
use forebay_core::pattern::{Filter, Filters, Verdict, KINESIS, NESTING_MAX, SQS};
use serde_json::Value;

/// What is accepted can be read whole; what can be read whole is refused for its depth alone.
pub(crate) fn json(bytes: &[u8]) -> bool {
    let (is_json, read) = (forebay_engine::fuzzing::is_json(bytes), serde_json::from_slice::<Value>(bytes));
    assert_eq!(is_json, read.as_ref().is_ok_and(|value| depth(value) <= NESTING_MAX));
    is_json
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

pub(crate) fn json_seeds() -> Vec<Vec<u8>> {
    let cases: Vec<Value> = serde_json::from_str(include_str!("../../../../tests/cases/json.json")).unwrap();
    let texts = cases.iter().filter_map(|case| case["text"].as_str()).map(|text| text.as_bytes().to_vec());
    texts.chain([99, 100, 101].map(|times| ["[".repeat(times), "]".repeat(times)].concat().into_bytes())).collect()
}

fn halves(bytes: &[u8]) -> (&[u8], &[u8]) {
    let at = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    (&bytes[..at], bytes.get(at + 1..).unwrap_or_default())
}

/// Filters of mappings. What is not JSON passes none that looks into it.
pub(crate) fn filters(bytes: &[u8]) -> bool {
    let (pattern, payload) = halves(bytes);
    let is_json = serde_json::from_slice::<serde::de::IgnoredAny>(payload).is_ok();
    let absent = Filter::parse(r#"{"data": {"never there": [{"exists": false}]}}"#).unwrap();
    let judged = Filters::new(KINESIS, vec![absent]).unwrap().judge(payload, &[]);
    assert!(is_json || judged != Verdict::Pass);
    let Some(filter) = std::str::from_utf8(pattern).ok().and_then(|text| Filter::parse(text).ok()) else {
        return false;
    };
    for source in [KINESIS, SQS] {
        let Ok(filters) = Filters::new(source, vec![filter.clone()]) else { continue };
        let first = filters.judge(payload, &[]);
        assert_eq!(first, filters.judge(payload, &[]));
        assert!(
            first != Verdict::NotJson || !serde_json::from_slice::<Value>(payload).is_ok_and(|value| value.is_object())
        );
    }
    true
}

pub(crate) fn filters_seeds() -> Vec<Vec<u8>> {
    let table: Vec<Value> = serde_json::from_str(include_str!("../../../../tests/cases/filters.json")).unwrap();
    let mut seeds = pairs(&table, "patterns", "payload");
    seeds.push([&b"{}\n"[..], "[".repeat(200).as_bytes()].concat());
    seeds.push(
        br#"{"data": {"a": [{"wildcard": "*a*b*c*"}, {"numeric": [">", 1e308, "<=", -0.0]}, {"cidr": "::/0"}]}}
{"a": "aXbXc", "b": [1, {"c": null}]}"#
            .to_vec(),
    );
    seeds.push(br#"{"$or": [{"data": {"a": [1]}}, {"partitionKey": [{"suffix": "k"}]}]}"#.to_vec());
    seeds.push(b"{\"data\": [{\"wildcard\": \"*a*b*\"}]}\nno JSON: aXb".to_vec());
    seeds
}

/// Every pattern of a table with its first payload.
fn pairs(table: &[Value], patterns: &str, payload: &str) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for row in table {
        let first = text(&row["cases"][0][payload]);
        let all = match &row[patterns] {
            Value::Array(patterns) => patterns.clone(),
            one => vec![one.clone()],
        };
        for pattern in all {
            found.push(format!("{}\n{first}", text(&pattern)).into_bytes());
        }
    }
    found
}

/// A text as it is, anything else as JSON.
fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Filter policies of subscriptions, over a message's body and over its attributes.
pub(crate) fn policies(bytes: &[u8]) -> bool {
    let (policy, body) = halves(bytes);
    let (Ok(policy), Ok(body)) = (std::str::from_utf8(policy), std::str::from_utf8(body)) else { return false };
    let attributes: Vec<Attribute<'_>> = ["String", "String.Array", "Number", "Binary"]
        .map(|data_type| Attribute { name: "a", data_type, value: body })
        .to_vec();
    let mut understood = false;
    for scope in [Scope::Attributes, Scope::Body] {
        if let Ok(policy) = Policy::parse(policy, scope) {
            understood = true;
            let passes = policy.passes(body, &attributes);
            assert_eq!(passes, policy.passes(body, &attributes));
        }
    }
    understood
}

pub(crate) fn policies_seeds() -> Vec<Vec<u8>> {
    let table: Vec<Value> = serde_json::from_str(include_str!("../../../../tests/cases/filter_policies.json")).unwrap();
    let mut seeds = pairs(&table, "policy", "body");
    seeds.push(b"{\"a\": [{\"numeric\": [\"=\", 1e0]}]}\n[1, 1.0, \"1\"]".to_vec());
    seeds
}
