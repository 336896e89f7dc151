//! What templates make of a scope, and what is refused.
#![allow(clippy::needless_pass_by_value)] // Tables of `json!` read best without a `&` each.

use serde_json::json;

use super::*;

struct Constant;

impl Entropy for Constant {
    fn next_u64(&mut self) -> u64 {
        7
    }
}

fn evaluate(template: Value, input: &Value) -> Result<Value, EvaluationError> {
    let context = json!({"Execution": {"Input": {"a": 1}}});
    let variables = json!({"total": [1, 2]}).as_object().cloned().unwrap_or_default();
    Template::parse(&template)
        .unwrap()
        .evaluate(&Scope { input, context: &context, variables: &variables, visits: None }, &mut Constant)
}

#[test]
fn paths_and_intrinsics_take_the_place_of_their_fields() {
    let template = json!({
        "literal": "$.a",
        "path.$": "$.a",
        "inner": {"context.$": "$$.Execution.Input", "list": [1, {"variable.$": "$total[0]"}, "$.a"]},
        "text.$": "States.Format('{}!', $.b)",
        "none.$": "$.none[*]",
    });
    let expected = json!({
        "literal": "$.a",
        "path": {"x": 1.0},
        "inner": {"context": {"a": 1}, "list": [1, {"variable": 1}, "$.a"]},
        "text": "hi!",
        "none": [],
    });
    let payload = evaluate(template, &json!({"a": {"x": 1.0}, "b": "hi"})).unwrap();
    assert_eq!(payload.to_string(), expected.to_string());
}

#[test]
fn a_path_that_leads_nowhere_fails_with_its_field_and_the_input() {
    let cause = |template| evaluate(template, &json!({"int-literal": 0})).unwrap_err();
    assert_eq!(
        cause(json!({"deep": {"value.$": "$$.Execution.Input.no_such_jsonpath"}})),
        EvaluationError::runtime(
            "The JSONPath '$$.Execution.Input.no_such_jsonpath' specified for the field 'value.$' could not be found in \
             the input '{\"int-literal\":0}'"
        )
    );
    assert_eq!(
        cause(json!({"value.$": "States.Array($.x)"})).cause,
        "The function 'States.Array($.x)' had the following error: The JsonPath argument for the field '$.x' could not be \
         found in the input '{\"int-literal\":0}'"
    );
}

#[test]
fn a_single_expression_has_a_field_too() {
    let variables = Map::new();
    let scope = Scope { input: &json!({}), context: &Value::Null, variables: &variables, visits: None };
    let expression = FieldExpression::parse("$.ErrorX", "ErrorPath").unwrap();
    assert_eq!(
        expression.evaluate(&scope, &mut Constant).unwrap_err().cause,
        "The JSONPath '$.ErrorX' specified for the field 'ErrorPath' could not be found in the input '{}'"
    );
    let expression = FieldExpression::parse("States.Format('{}', 1)", "CausePath").unwrap();
    assert_eq!(expression.evaluate(&scope, &mut Constant), Ok(json!("1")));
    assert!(FieldExpression::parse("plain", "CausePath").is_err());
}

#[test]
fn what_is_no_expression_is_refused_with_its_place() {
    for value in [json!("text"), json!(1), json!("$."), json!("States.Nope()"), json!(r"States.Array('\x')")] {
        let problem = Template::parse(&json!({"a": [{"b.$": value}]})).unwrap_err();
        assert_eq!(problem.place, "/a[0]");
        assert_eq!(
            problem.message,
            "The value for the field 'b.$' must be a valid JSONPath or a valid intrinsic function call"
        );
    }
}

#[test]
fn payloads_neither_nest_nor_grow_without_end() {
    let mut input = json!(0);
    let template = json!({"a": {"b": {"c.$": "$"}}});
    let refused = (0..100).find_map(|_| match evaluate(template.clone(), &input) {
        Ok(payload) => {
            input = payload;
            None
        }
        Err(error) => Some(error.error),
    });
    assert_eq!(refused.as_deref(), Some("States.Runtime"));

    let mut doubled = json!("x".repeat(100));
    let refused = (0..100).find_map(|_| match evaluate(json!({"a.$": "$", "b.$": "$"}), &doubled) {
        Ok(payload) => {
            doubled = payload;
            None
        }
        Err(error) => Some(error.error),
    });
    assert_eq!(refused.as_deref(), Some("States.DataLimitExceeded"));

    let mut deep = json!(0);
    for _ in 0..101 {
        deep = json!([deep]);
    }
    assert!(Template::parse(&deep).is_err());
}

/// 16 MiB, as they lie in memory, of all that a template has made.
#[test]
fn a_template_builds_so_many_bytes() {
    let variables = Map::new();
    let scope = Scope { input: &json!({}), context: &Value::Null, variables: &variables, visits: None };
    let node = Node::Literal(Value::Null);
    let mut built = BUILT_BYTES_MAX - size_of::<Value>();
    assert_eq!(node.evaluate(&scope, &mut Constant, &mut built), Ok(Value::Null));
    assert_eq!(node.evaluate(&scope, &mut Constant, &mut built).unwrap_err().error, DATA_LIMIT_EXCEEDED);
}
