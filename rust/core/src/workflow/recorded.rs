//! Executions that AWS recorded, as far as their expressions decide them: a Pass state's payload, a Choice's way.

use std::fs;
use std::path::Path as File;

use serde_json::{Map, Value};

use super::choice::ChoiceRule;
use super::jsonata::{Bindings, Guards, JsonataTemplate};
use super::scope::{Entropy, Scope};
use super::template::Template;

struct Constant;

impl Entropy for Constant {
    fn next_u64(&mut self) -> u64 {
        1 << 40
    }
}

/// The input and the one state of a machine that decides the whole execution, and what came out.
fn cases() -> Option<Vec<Value>> {
    let file = File::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/cases/stepfunctions/executions.jsonl");
    let text = fs::read_to_string(file).ok()?;
    Some(text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

fn input_of(case: &Value) -> Value {
    match &case["input"] {
        Value::String(text) => serde_json::from_str(text).unwrap_or(Value::Null),
        other => other.clone(),
    }
}

fn output_of(case: &Value) -> Value {
    match &case["expected"]["output"] {
        Value::String(text) => serde_json::from_str(text).unwrap_or(Value::Null),
        other => other.clone(),
    }
}

#[test]
fn payloads_are_those_that_aws_recorded() {
    let Some(cases) = cases() else {
        eprintln!("skipped: ../shared/cases/stepfunctions is not beside the repository");
        return;
    };
    let (mut count, empty) = (0, Map::new());
    for case in &cases {
        let Some(states) = case["definition"]["States"].as_object().filter(|states| states.len() == 1) else {
            continue;
        };
        let Some(state) = states.values().next().filter(|state| state["Type"] == "Pass") else { continue };
        let (input, output) = (input_of(case), output_of(case));
        // The context object and what is drawn differ from run to run.
        let is_drawn = ["$$.", "MathRandom", "UUID", "<"].iter().any(|mark| case.to_string().contains(mark));
        if is_drawn || case["expected"]["status"] != "SUCCEEDED" {
            continue;
        }
        let built = if let Some(template) = state.get("Parameters").filter(|_| state.as_object().unwrap().len() == 3) {
            let scope = Scope { input: &input, context: &Value::Null, variables: &empty, visits: None };
            Template::parse(template).unwrap().evaluate(&scope, &mut Constant)
        } else if let Some(template) = state.get("Output").filter(|_| state.get("Assign").is_none()) {
            let states = serde_json::json!({"input": input});
            let bindings = Bindings { states: &states, variables: &empty, now_ms: 0 };
            let guards = Guards { time_ms_max: 20_000, ..Guards::default() };
            JsonataTemplate::parse(template, "Output").unwrap().evaluate(&bindings, &guards, &mut Constant, &|| false)
        } else {
            continue;
        };
        count += 1;
        assert_eq!(built, Ok(output), "{case}");
    }
    assert!(count > 50, "only {count} executions were compared");
}

#[test]
fn choices_go_the_ways_that_aws_recorded() {
    let Some(cases) = cases() else {
        eprintln!("skipped: ../shared/cases/stepfunctions is not beside the repository");
        return;
    };
    let (mut count, empty) = (0, Map::new());
    for case in &cases {
        let is_true = match output_of(case)["TestResult.$"].as_str() {
            Some("ConditionTrue") => true,
            Some("ConditionFalse") => false,
            _ => continue,
        };
        let states = case["definition"]["States"].as_object().unwrap();
        let rule = states.values().find_map(|state| state["Choices"].get(0)).unwrap();
        let input = input_of(case);
        let scope = Scope { input: &input, context: &Value::Null, variables: &empty, visits: None };
        count += 1;
        assert_eq!(ChoiceRule::parse(rule).unwrap().evaluate(&scope), Ok(is_true), "{case}");
    }
    assert!(count > 100, "only {count} executions were compared");
}
