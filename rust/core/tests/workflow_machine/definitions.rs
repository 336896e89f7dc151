//! Recorded refusals of definitions, and statelint's verdicts.

use forebay_core::workflow::definition::{check, invalid_definition, lint, MachineType, Problem};
use serde_json::{json, Value};

use crate::cases::{judge, load, text_of};
use crate::compare::{difference, matches};

/// Refusals that are no matter of the definition.
const MISSES: &[(&str, &str)] = &[
    ("test_create_duplicate_sm_name", "the API refuses the name, not the definition"),
    ("test_multiple_destinations", "the API refuses the logging configuration"),
    ("test_create_with_version_description_no_publish", "the API refuses the version's description"),
];

#[test]
fn recorded_definitions_are_refused_as_on_aws() {
    let Some(cases) = load("definitions.jsonl") else { return };
    let mut failed = Vec::new();
    for case in &cases {
        if let Some(why) = refusal(case) {
            failed.push((case["id"].as_str().unwrap().to_owned(), why));
        }
    }
    judge("definitions", cases.len(), &failed, MISSES);
}

fn refusal(case: &Value) -> Option<String> {
    let machine_type = if case["type"] == "EXPRESS" { MachineType::Express } else { MachineType::Standard };
    let problems = check(&text_of(&case["definition"]), machine_type);
    if let Some(answer) = case.get("answer") {
        let diagnostics: Vec<Value> = problems
            .iter()
            .map(|problem| {
                json!({
                    "code": problem.fault.code(), "location": problem.location, "message": problem.fault.message(),
                    "severity": "ERROR",
                })
            })
            .collect();
        let result = if diagnostics.is_empty() { "OK" } else { "FAIL" };
        let mut actual = json!({"diagnostics": diagnostics, "result": result, "truncated": false});
        actual["ResponseMetadata"] = Value::Null;
        return difference(answer, &actual);
    }
    let expected = match &case["error"] {
        Value::String(text) => text.split_once("operation: ").map_or(text.as_str(), |(_, message)| message),
        error => error["message"].as_str().unwrap(),
    };
    let actual = invalid_definition(&problems).unwrap_or_default();
    (!matches(expected, &actual) && expected != actual).then(|| format!("expected {expected} but was {actual}"))
}

#[test]
fn definitions_have_the_problems_statelint_finds() {
    let Some(cases) = load("statelint.jsonl") else { return };
    let mut failed = Vec::new();
    for case in &cases {
        let problems: Vec<String> = lint(case["definition"].as_str().unwrap()).iter().map(Problem::lint).collect();
        let told = problems.join("\n     ");
        let id = case["id"].as_str().unwrap().to_owned();
        if case["problems"].as_u64().is_some_and(|count| count != problems.len() as u64) {
            failed.push((id, format!("expected {} problems but found {told}", case["problems"])));
            continue;
        }
        for (index, says) in case["says"].as_object().into_iter().flatten() {
            let problem = problems.get(index.parse::<usize>().unwrap());
            // A document without problems has nothing to say.
            if case["problems"] != 0 && !problem.is_some_and(|problem| problem.contains(says.as_str().unwrap())) {
                failed.push((id.clone(), format!("{says} is not said by {told}")));
            }
        }
    }
    judge("statelint", cases.len(), &failed, &[]);
}
