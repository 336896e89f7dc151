//! What `EventBridge` and event-ruler answered to patterns and events: `../shared/cases/events`, beside the repository.

use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

use forebay_core::pattern::bus::{test_event, Rule, TestError};
use forebay_core::pattern::index::{Rules, Scratch};
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::value::RawValue;

/// Where event-ruler's automaton answers what its own rules do not say.
const QUIRKS: [(&str, &str); 2] = [
    ("random-83#649", "a block of addresses that holds all holds numbers"),
    ("random-83#7938", "a list that mixes anything-but wildcard with another condition"),
];

#[derive(Deserialize)]
struct Case {
    id: String,
    pattern: Box<RawValue>,
    event: Option<Box<RawValue>>,
    matches: Option<bool>,
    error: Option<serde_json::Value>,
}

/// The cases of a file; none, and a word about it, where the folder is not there.
fn cases(name: &str) -> Vec<Case> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/cases/events").join(name);
    let Ok(lines) = std::fs::read_to_string(&path) else {
        println!("not run: {} is not there; it holds recorded answers of AWS", path.display());
        return Vec::new();
    };
    lines.lines().map(|line| serde_json::from_str(line).expect("a case is JSON")).collect()
}

/// A document, which may stand as text.
fn text(value: &RawValue) -> String {
    serde_json::from_str(value.get()).unwrap_or_else(|_| value.get().to_owned())
}

#[test]
fn patterns_get_the_verdict_or_the_error_that_aws_gave() {
    let mut wrong = String::new();
    for case in cases("patterns.jsonl") {
        let event = text(case.event.as_deref().expect("a case has an event"));
        let answer = match test_event(&text(&case.pattern), &event) {
            Ok(report) => Ok(report.matches),
            Err(TestError::Event(error)) => Err(error.to_string()),
            Err(TestError::Pattern(error)) => Err(error.summary()),
        };
        let expected = match (&case.error, case.matches) {
            (Some(error), _) => Err(first_line(error["Message"].as_str().expect("an error has a message")).to_owned()),
            (None, matches) => Ok(matches.expect("a case has an answer")),
        };
        if answer != expected {
            let _ = writeln!(wrong, "{}: {answer:?}, AWS {expected:?}", case.id);
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn patterns_get_the_verdict_or_the_error_that_event_ruler_gives() {
    let mut wrong = String::new();
    for case in cases("ruler.jsonl") {
        let rule = Rule::parse(&text(&case.pattern));
        let answer = match (&rule, &case.event) {
            (Err(error), _) => Err(error.reason.clone()),
            (Ok(rule), Some(event)) => Ok(rule.matches(&text(event)).expect("an event")),
            (Ok(_), None) => Ok(true),
        };
        let expected = match &case.error {
            Some(error) => Err(first_line(error.as_str().expect("an error is a text")).to_owned()),
            None => Ok(case.matches.unwrap_or(true)),
        };
        let is_quirk = QUIRKS.iter().any(|(id, _)| *id == case.id);
        if (answer != expected) != is_quirk {
            let _ = writeln!(wrong, "{}: {answer:?}, event-ruler {expected:?}", case.id);
            let _ =
                writeln!(wrong, "    {}\n    {}", case.pattern, case.event.map_or_else(String::new, |e| e.to_string()));
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

/// Rules that stand in one index.
const RULES: usize = 200;

#[test]
fn an_index_of_many_rules_says_what_the_rules_say() {
    let cases = cases("ruler.jsonl");
    let mut scratch = Scratch::default();
    for cases in cases.chunks(RULES) {
        let parsed = cases.iter().filter_map(|case| Rule::parse(&text(&case.pattern)).ok()).map(Arc::new);
        let rules: Vec<Arc<Rule>> = parsed.collect();
        let mut index = Rules::default();
        for (key, rule) in rules.iter().enumerate() {
            index.add(key, rule.clone());
        }
        let index = index.index();
        for event in cases.iter().filter_map(|case| case.event.as_deref()) {
            let event = text(event);
            let mut met: Vec<usize> =
                index.matches(event.as_bytes(), &mut scratch).expect("an event").into_iter().copied().collect();
            met.sort_unstable();
            let meets = |key: &usize| rules[*key].matches(&event).expect("an event");
            assert_eq!(met, (0..rules.len()).filter(meets).collect::<Vec<_>>(), "{event}");
        }
    }
}

fn first_line(message: &str) -> &str {
    message.split('\n').next().unwrap_or_default()
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused_without_a_panic(text in r#"(\{"a":|\{"\$or":\[|\[|\{|"[a*\\é]{0,3}"|[\]},:0-9.eE+\-tn"\n u]|prefix|numeric|exists){0,30}"#) {
        if let Err(error) = Rule::parse(&text) {
            prop_assert!(!error.reason.is_empty());
            prop_assert!(error.to_string().starts_with(&error.summary()));
        }
    }
}

#[test]
fn an_error_says_where_it_is() {
    for (pattern, place) in [
        (r#"{"int": 42}"#, "int, line 1, column 11"),
        (r#"{"time": [{"prefix": ["2022-07-13"]}]}"#, "time[0].prefix, line 1, column 23"),
        (
            "{\"detail\": {\n  \"c\": [1, {\"numeric\": [\">\", 0, \">\", 0]}]}}",
            "detail.c[1].numeric, line 2, column 36",
        ),
        (r#"{"a": [{"cidr": "bad"}]}"#, "a[0].cidr"),
        (r#"{"$or": [{"a": [1]}, {"prefix": ["x"]}]}"#, "$or[1].prefix, line 1, column 34"),
        ("[]", "the root, line 1, column 2"),
    ] {
        assert_eq!(Rule::parse(pattern).expect_err(pattern).place(), place, "{pattern}");
    }
    let error = Rule::parse(r#"{"int": 42}"#).expect_err("an error").to_string();
    let lines = "\"int\" must be an object or an array\n at [Source: (String)\"{\"int\": 42}\"; line: 1, column: 11]";
    assert_eq!(error, format!("Event pattern is not valid. Reason: {lines}"));
}

#[test]
fn a_pattern_of_too_much_is_refused() {
    let choices = |names: &str| {
        let choices: Vec<String> = names.chars().map(|name| format!(r#"{{"{name}":[1]}}"#)).collect();
        format!(r#""$or":[{}]"#, choices.join(","))
    };
    let nested = |last: &str| {
        let inner = [("x", "abcdefghij"), ("y", "abcdefghij"), ("z", last)];
        let fields: Vec<String> =
            inner.iter().map(|(name, names)| format!(r#""{name}":{{{}}}"#, choices(names))).collect();
        format!("{{{}}}", fields.join(","))
    };
    assert!(Rule::parse(&nested("abcdefghij")).is_ok(), "1,000 combinations");
    assert_eq!(
        Rule::parse(&nested("abcdefghijk")).expect_err("1,100").reason,
        "The $or make more than 1000 combinations"
    );
    let long = format!(r#"{{"a":["{}"]}}"#, "ä".repeat(4_096 - 10));
    assert!(Rule::parse(&long).is_ok(), "4,096 characters");
    assert!(Rule::parse(&long.replacen('ä', "ää", 1)).is_err(), "4,097 characters");
}

#[test]
fn wildcards_may_have_ten_beginnings_and_no_more() {
    // The numbers are those that event-ruler's evaluator gives: of conditions in a list, and of a list in one anything-but.
    for (wildcards, beginnings, excluded) in [
        ("*:*:*:*", 7, 7),
        ("*x*xx*xxx", 9, 9),
        ("*aaaaaaaa*", 10, 10),
        ("*aaaaaaaaa*", 11, 11),
        ("*:*:*:*:*:event-bus/*", 11, 11),
        ("*a *b *c *d *e", 10, 2),
        ("*a *b *c *d *e *f", 12, 2),
        ("*.bif *.tif *.tiff *.svs", 8, 3),
        ("*/datasync/*.bif */datasync/*.tif", 8, 6),
        ("*/datasync/*.bif */datasync/*.tif */datasync/*.tiff */datasync/*.svs", 16, 10),
        ("*a* *a*b *a*c", 9, 7),
        ("*a* *b* *c* *d*", 12, 6),
        ("x*a* x*b* y*a* y*b*", 6, 4),
        ("a* b* c* d* e* f* g* h* i* j* k* l*", 12, 2),
    ] {
        let conditions: Vec<String> = wildcards.split(' ').map(|one| format!(r#"{{"wildcard":"{one}"}}"#)).collect();
        let refused = Rule::parse(&format!(r#"{{"a":[{}]}}"#, conditions.join(","))).err();
        assert_eq!(refused.is_some(), beginnings > 10, "{wildcards}");
        let list = wildcards.replace(' ', r#"",""#);
        let refused = Rule::parse(&format!(r#"{{"a":[{{"anything-but":{{"wildcard":["{list}"]}}}}]}}"#)).err();
        assert_eq!(refused.is_some(), excluded > 10, "not {wildcards}");
    }
}

#[test]
fn a_report_names_the_fields_that_fail() {
    let event = r#"{"id":"1","account":"1","source":"shop","time":"t","region":"r","detail-type":"d",
        "detail":{"state":"stopped","size":5,"lines":[{"sku":"a","count":1},{"sku":"b","count":2}]}}"#;
    let reasons = |pattern: &str| {
        let report = test_event(pattern, event).expect("a pattern and an event");
        assert_eq!(report.matches, report.failures.is_empty());
        report.failures.into_iter().map(|failure| failure.reason).collect::<Vec<_>>()
    };
    assert_eq!(reasons(r#"{"source":["shop"]}"#), Vec::<String>::new());
    assert_eq!(
        reasons(r#"{"source":["shop"],"detail":{"state":["running",{"prefix":"p"}],"size":[{"numeric":[">",5]}]}}"#),
        [
            "detail.size is 5; the rule wants a number > 5",
            r#"detail.state is "stopped"; the rule wants "running", or a text that begins with "p""#,
        ]
    );
    assert_eq!(
        reasons(r#"{"detail":{"owner":[{"exists":true}],"state":[{"exists":false}]}}"#),
        [
            "detail.owner is absent; the rule wants any value",
            r#"detail.state is "stopped"; the rule wants the field to be absent"#,
        ]
    );
    assert_eq!(
        reasons(r#"{"$or":[{"source":["x"],"region":["y"]},{"account":["2"]}]}"#),
        [r#"account is "1"; the rule wants "2""#],
        "the choice that comes nearest"
    );
    assert_eq!(
        reasons(r#"{"source":["shop"],"detail":{"owner":[{"exists":false}],"lines":{"sku":["a"],"count":[2]}}}"#),
        ["detail.lines.count and detail.lines.sku are met by different elements of an array; the rule wants one element that \
          meets all"]
    );
}
