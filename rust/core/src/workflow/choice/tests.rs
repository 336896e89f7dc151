//! Each operator on values of each kind, the texts of failures, and hostile rules.
#![allow(clippy::needless_pass_by_value)] // Tables of `json!` read best without a `&` each.

use serde_json::{json, Map};

use super::*;

fn evaluate(rule: &Value, input: &Value) -> Result<bool, EvaluationError> {
    let context = json!({"Execution": {"Name": "run"}});
    let variables: Map<String, Value> = [("limit".to_owned(), json!(10))].into_iter().collect();
    let rule = ChoiceRule::parse(rule).unwrap();
    rule.evaluate(&Scope { input, context: &context, variables: &variables, visits: None })
}

#[track_caller]
fn check(operator: &str, operand: Value, variable: Value, expected: bool) {
    let rule = json!({"Variable": "$.v", operator: operand, "Next": "A"});
    assert_eq!(evaluate(&rule, &json!({"v": variable, "other": 5, "text": "b"})), Ok(expected), "{operator}");
}

#[test]
fn numbers_compare_by_value() {
    check("NumericEquals", json!(1.0), json!(1), true);
    check("NumericEquals", json!(9_007_199_254_740_993_i64), json!(9_007_199_254_740_992_i64), false);
    check("NumericLessThan", json!(1), json!(0.5), true);
    check("NumericGreaterThanEquals", json!(1), json!(1), true);
    check("NumericLessThanEqualsPath", json!("$.other"), json!(5), true);
    check("NumericGreaterThanPath", json!("$limit"), json!(11), true);
    check("NumericEquals", json!(1), json!("1"), false);
    check("NumericEqualsPath", json!("$.text"), json!(1), false);
}

#[test]
fn texts_and_moments_compare_in_their_order() {
    check("StringLessThan", json!("b"), json!("a"), true);
    check("StringGreaterThanPath", json!("$.text"), json!("c"), true);
    check("StringEquals", json!("a"), json!(["a"]), false);
    // U+FF5E is one unit and comes after the two units of U+1F600.
    check("StringGreaterThan", json!("\u{1F600}"), json!("\u{FF5E}"), true);
    check("TimestampEquals", json!("2012-10-09T19:00:55Z"), json!("2012-10-09T20:00:55+01:00"), true);
    check("TimestampLessThan", json!("2012-10-09T19:00:55Z"), json!("2012-10-09T19:00:54.999Z"), true);
    check("TimestampEquals", json!("2012-10-09T19:00:55Z"), json!("2012-10-09T19:00:55"), false);
    check("BooleanEquals", json!(true), json!(true), true);
    check("BooleanEquals", json!(false), json!(0), false);
}

#[test]
fn kinds_are_told_apart() {
    check("IsNull", json!(true), json!(null), true);
    check("IsNull", json!(false), json!(0), true);
    check("IsNumeric", json!(true), json!(1.5), true);
    check("IsString", json!(true), json!(""), true);
    check("IsBoolean", json!(false), json!("true"), true);
    check("IsTimestamp", json!(true), json!("2012-10-09T19:00:55Z"), true);
    check("IsTimestamp", json!(false), json!("2023-02-24"), true);
    check("IsPresent", json!(true), json!(null), true);
}

#[test]
fn wildcards_match_any_text_and_can_be_escaped() {
    for (pattern, text, expected) in [
        ("log-*.txt", "log-2026.txt", true),
        ("log-*.txt", "log-.txt.gz", false),
        ("*", "", true),
        ("a*b*c", "a-b-b-c", true),
        ("a*a", "a", false),
        ("foo*", "foo23", true),
        (r"a\*b", "a*b", true),
        (r"a\*b", "a-b", false),
        (r"a\\*", r"a\x", true),
        ("", "", true),
        ("", "a", false),
        ("**ab**", "xaby", true),
        ("*ab*b", "xab", false),
        ("*ab*b", "xabb", true),
    ] {
        check("StringMatches", json!(pattern), json!(text), expected);
    }
    check("StringMatches", json!("*"), json!(1), false);
}

#[test]
fn what_is_missing_fails_the_state_unless_it_is_asked_for() {
    let missing = |operator: &str, operand: Value| evaluate(&json!({"Variable": "$.x", operator: operand}), &json!({}));
    let cause = "Invalid path '$.x' : No results for path: $['x']";
    assert_eq!(missing("IsNull", json!(true)), Err(EvaluationError::runtime(cause)));
    assert_eq!(missing("NumericEquals", json!(1)), Err(EvaluationError::runtime(cause)));
    assert_eq!(missing("IsPresent", json!(true)), Ok(false));
    assert_eq!(missing("IsPresent", json!(false)), Ok(true));
    assert_eq!(evaluate(&json!({"Variable": "$.a[?(@.b)]", "IsPresent": true}), &json!({"a": []})), Ok(false));
}

#[test]
fn combinations_stop_as_soon_as_they_are_decided() {
    let present = json!({"Variable": "$.x", "IsPresent": true});
    let large = json!({"Variable": "$.x", "NumericGreaterThan": 5});
    assert_eq!(evaluate(&json!({"And": [present, large]}), &json!({})), Ok(false));
    assert_eq!(evaluate(&json!({"And": [present, large]}), &json!({"x": 6})), Ok(true));
    assert_eq!(evaluate(&json!({"Or": [{"Not": present}, large]}), &json!({})), Ok(true));
    assert_eq!(evaluate(&json!({"Or": [{"Not": present}, large]}), &json!({"x": 1})), Ok(false));
    assert_eq!(evaluate(&json!({"Variable": "$$.Execution.Name", "StringEquals": "run"}), &json!({})), Ok(true));
}

#[test]
fn what_is_no_rule_is_refused_with_its_place() {
    let refused = |rule: Value| {
        let problem = ChoiceRule::parse(&rule).map(|_| ()).unwrap_err();
        format!("{} at {}", problem.message, problem.place)
    };
    assert_eq!(refused(json!({"NumericEquals": 1})), "These fields are required: [Variable] at ");
    assert_eq!(
        refused(json!({"Variable": "$.a", "NumericEquals": "1"})),
        "Expected value of type [NUMBER] at /NumericEquals"
    );
    assert_eq!(
        refused(json!({"Not": {"Or": [{"Variable": "$.a", "TimestampEquals": "today"}]}})),
        "String does not match RFC3339 timestamp at /Not/Or[0]/TimestampEquals"
    );
    assert_eq!(refused(json!({"And": []})), "Value cannot be empty at /And");
    for rule in [
        json!({"Variable": "$.a"}),
        json!({"Variable": "$.a", "IsNull": true, "IsString": true}),
        json!({"Variable": "$.a", "NullEquals": null}),
        json!({"Variable": "$.a", "BooleanLessThan": true}),
        json!({"Variable": "$.a", "IsNullPath": "$.b"}),
        json!({"Variable": "a", "IsNull": true}),
        json!({"Variable": "$.a", "NumericEqualsPath": 1}),
        json!([]),
    ] {
        assert!(ChoiceRule::parse(&rule).is_err(), "{rule}");
    }
}

#[test]
fn rules_nest_32_deep() {
    let around: [fn(&Value) -> Value; 3] =
        [|rule| json!({ "Not": rule }), |rule| json!({"And": [rule]}), |rule| json!({"Or": [rule]})];
    for around in around {
        let nested = |depth: usize| {
            let plain = json!({"Variable": "$.a", "IsNull": true});
            ChoiceRule::parse(&(0..depth).fold(plain, |rule, _| around(&rule)))
        };
        assert!(nested(32).is_ok());
        for depth in [33, 34] {
            assert_eq!(nested(depth).unwrap_err().message, "Choice rules nest at most 32 levels deep");
        }
    }
}

/// A definite path leads to what is there, also to an empty list; another to a list, which is empty where nothing is there.
#[test]
fn a_variable_is_present_where_its_path_leads_to_something() {
    let input = json!({"a": [], "b": [1], "n": (0..20_000).collect::<Vec<_>>()});
    for (path, is_present) in [("$.a", true), ("$.b", true), ("$.a[*]", false), ("$.b[*]", true), ("$.c", false)] {
        for asked in [true, false] {
            let rule = json!({"Variable": path, "IsPresent": asked});
            assert_eq!(evaluate(&rule, &input), Ok(is_present == asked), "{path}");
        }
    }
    let endless = evaluate(&json!({"Variable": "$.n[?(@ in $.n)]", "IsPresent": true}), &input).unwrap_err();
    assert_eq!(endless.error, "States.DataLimitExceeded", "what looks at too much is not missing");
}

#[test]
fn a_pattern_of_many_wildcards_takes_little_time() {
    let started = std::time::Instant::now();
    check("StringMatches", json!("*a".repeat(20_000)), json!("a".repeat(19_999) + "b"), false);
    assert!(started.elapsed().as_secs() < 5);
}
