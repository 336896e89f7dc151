//! `tests/cases/filters.json`: what a filter lets pass, with the source of each row; and the bounds that a table cannot hold.

use std::fmt::Write;

use forebay_core::pattern::{Filter, FilterError, Filters, KinesisRecord, Value, Verdict, KINESIS, NESTING_MAX, SQS};
use proptest::prelude::*;
use serde_json::Value as Json;

const TABLE: &str = include_str!("../../../tests/cases/filters.json");

/// A string is the text itself; `{"bytes": [...]}` are bytes; anything else is written as JSON.
fn bytes_of(payload: &Json) -> Vec<u8> {
    match (payload, payload["bytes"].as_array()) {
        (_, Some(bytes)) => bytes.iter().filter_map(Json::as_u64).map(|byte| byte as u8).collect(),
        (Json::String(text), _) => text.as_bytes().to_vec(),
        (other, _) => other.to_string().into_bytes(),
    }
}

fn filters_of(row: &Json) -> Result<Filters, FilterError> {
    let source = if row["events"] == "sqs" { SQS } else { KINESIS };
    let patterns = row["patterns"].as_array().into_iter().flatten();
    let parsed: Result<Vec<Filter>, FilterError> =
        patterns.map(|pattern| Filter::parse(&String::from_utf8_lossy(&bytes_of(pattern)))).collect();
    Filters::new(source, parsed?)
}

/// Each record has the key `key`, arrived at 2020-01-01T00:00:00.5Z, and is a shard's first; each message has an attribute.
fn judge(row: &Json, filters: &Filters, payload: &[u8]) -> Verdict {
    if row["events"] == "sqs" {
        let kind = Value::Object(vec![("stringValue".into(), Value::String("new".into()))]);
        return filters.judge(payload, &[("messageAttributes", Value::Object(vec![("kind".into(), kind)]))]);
    }
    filters.passes_kinesis(&KinesisRecord {
        partition_key: "key",
        sequence_number: 10_000_000_000_000_000_007,
        arrival_ms: 1_577_836_800_500,
        data: payload,
    })
}

fn name_of(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "pass",
        Verdict::NoMatch => "no match",
        Verdict::NotJson => "not json",
    }
}

#[test]
fn every_row_of_the_table_is_judged_as_it_says() {
    let table: Vec<Json> = serde_json::from_str(TABLE).expect("the table is JSON");
    let mut wrong = String::new();
    for row in &table {
        let name = row["name"].as_str().expect("a row has a name");
        assert!(row["source"].as_str().is_some_and(|source| !source.is_empty()), "{name} has no source");
        match (filters_of(row), row["refused"].as_str()) {
            (Err(error), refused) => {
                if refused != Some(&error.to_string()) {
                    let _ = writeln!(wrong, "{name}: expected {refused:?}, refused: {error}");
                }
            }
            (Ok(_), Some(refused)) => {
                let _ = writeln!(wrong, "{name}: not refused with {refused}");
            }
            (Ok(filters), None) => {
                for case in row["cases"].as_array().expect("a row has cases") {
                    let verdict = name_of(judge(row, &filters, &bytes_of(&case["payload"])));
                    if case["expect"] != verdict {
                        let _ =
                            writeln!(wrong, "{name}: {} is {verdict}, expected {}", case["payload"], case["expect"]);
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn a_pattern_may_have_4096_characters_and_no_more() {
    let pattern = |length: usize| format!(r#"{{"data":["{}"]}}"#, "é".repeat(length - 13));
    assert!(Filter::parse(&pattern(4096)).is_ok());
    let error = Filter::parse(&pattern(4097)).map_err(|error| error.to_string());
    let text = "Invalid filter pattern definition. At the root: it has 4097 characters, at most 4096 are allowed.";
    assert_eq!(error, Err(text.to_owned()));
}

#[test]
fn a_pattern_may_nest_a_hundred_deep_and_no_more() {
    let pattern = |depth: usize| format!("{}[1]{}", "{\"data\":".repeat(depth - 1), "}".repeat(depth - 1));
    assert!(Filter::parse(&pattern(NESTING_MAX)).is_ok());
    let error = Filter::parse(&pattern(NESTING_MAX + 1)).map_err(|error| error.reason);
    assert_eq!(error, Err("objects and arrays may lie 100 deep at most".to_owned()));
    let hollow = |depth: usize| format!("{}{{}}{}", "{\"data\":".repeat(depth - 1), "}".repeat(depth - 1));
    let reason = |depth| Filter::parse(&hollow(depth)).map_err(|error| error.reason);
    assert_eq!(reason(NESTING_MAX), Err("an empty object matches nothing; leave it out".to_owned()));
    assert_eq!(reason(NESTING_MAX + 1), Err("objects and arrays may lie 100 deep at most".to_owned()));
}

#[test]
fn an_event_that_nests_deeper_than_that_is_read_without_its_depths() {
    let filters = Filters::new(KINESIS, vec![Filter::parse(r#"{"data":{"a":[1]}}"#).expect("parses")]).expect("fits");
    for (depth, expected) in [(98, Verdict::Pass), (1_000_000, Verdict::NoMatch)] {
        let payload = format!(r#"{{"a":{}1{}}}"#, "[".repeat(depth), "]".repeat(depth));
        let record = KinesisRecord { partition_key: "k", sequence_number: 0, arrival_ms: 0, data: payload.as_bytes() };
        assert_eq!(filters.passes_kinesis(&record), expected, "{depth} deep");
    }
}

#[test]
fn metadata_that_no_filter_reads_need_not_be_made() {
    let filters =
        Filters::new(KINESIS, vec![Filter::parse(r#"{"partitionKey":["a"]}"#).expect("parses")]).expect("fits");
    assert!(filters.reads("partitionKey") && !filters.reads("sequenceNumber"));
}

#[test]
fn filters_are_empty_only_if_there_is_none() {
    assert!(Filters::new(KINESIS, Vec::new()).expect("fits").is_empty());
    let filter = Filter::parse(r#"{"data":["a"]}"#).expect("parses");
    assert!(!Filters::new(KINESIS, vec![filter]).expect("fits").is_empty());
}

/// What a wildcard means, at whatever cost: an asterisk takes no character, or one and more.
fn fits_naively(pattern: &[char], text: &[char]) -> bool {
    match (pattern, text) {
        (['*', pattern @ ..], _) => {
            fits_naively(pattern, text) || (!text.is_empty() && fits_naively(&[&['*'], pattern].concat(), &text[1..]))
        }
        ([expected, pattern @ ..], [character, text @ ..]) => expected == character && fits_naively(pattern, text),
        (pattern, text) => pattern.is_empty() && text.is_empty(),
    }
}

proptest! {
    #[test]
    fn a_wildcard_fits_what_it_means(pattern in r"\*?([aé]{1,2}\*){0,4}[aé]{0,2}", text in "[aé]{0,9}") {
        let filter = Filter::parse(&serde_json::json!({"data": [{"wildcard": pattern}]}).to_string()).expect("parses");
        let verdict = Filters::new(KINESIS, vec![filter]).expect("fits").judge(text.as_bytes(), &[]);
        let characters = |text: &str| text.chars().collect::<Vec<char>>();
        prop_assert_eq!(verdict == Verdict::Pass, fits_naively(&characters(&pattern), &characters(&text)));
    }
}
