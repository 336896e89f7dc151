//! Recorded calls of `TestState`.

use std::cell::Cell;

use forebay_core::workflow::budget::Budget;
use forebay_core::workflow::machine::test_state::{test_state, test_state_within, Surroundings, TestRefused, Tested};
use forebay_core::workflow::machine::Identity;
use serde_json::{json, Value};

use crate::cases::{judge, load, text_of};
use crate::compare::{difference, matches};

/// Results of the services whose answers are mocked, out of botocore 1.44.8.
const MODELS: &str = include_str!("models.json");

/// Cases that are not as AWS, each with its reason.
const MISSES: &[(&str, &str)] = &[
    (
        "lambda_get_function_task[integer_more_than_maximum_allowed]",
        "the model of botocore 1.44.8 allows a function 32,768 MB of memory; the recorded service allowed 10,240",
    ),
    ("test_sfn_start_execution_success", "the recording's request has another name for the ARN than its answer"),
];

#[test]
fn recorded_tests_of_states_are_answered_as_on_aws() {
    let Some(cases) = load("test_state.jsonl") else { return };
    let models: Value = serde_json::from_str(MODELS).unwrap();
    let mut failed = Vec::new();
    for case in &cases {
        if let Some(why) = check(case, &models) {
            failed.push((case["id"].as_str().unwrap().to_owned(), why));
        }
    }
    judge("TestState", cases.len(), &failed, MISSES);
}

/// Each expression had a second for itself, and a state has any number of them.
#[test]
fn the_expressions_of_a_tested_state_have_their_time_together() {
    let output: Value = (0..20).map(|number| (format!("x{number}"), json!("{% $sum([1..10]) %}"))).collect();
    let state = json!({"Type": "Pass", "QueryLanguage": "JSONata", "Output": output, "End": true});
    let request = json!({"definition": state.to_string(), "input": "{}"});
    let status = |tested: Result<Tested, TestRefused>| match tested {
        Ok(Tested::Answer(answer)) => (answer["status"].clone(), answer["error"].clone()),
        other => panic!("{other:?}"),
    };
    let around = Surroundings::default();
    assert_eq!(status(test_state(&request, &around)).0, "SUCCEEDED");
    let (now, each) = (Cell::new(0), Cell::new(0));
    let clock = || {
        now.set(now.get() + each.get());
        now.get()
    };
    assert_eq!(status(test_state_within(&request, &around, &Budget::whole(&clock))).0, "SUCCEEDED");
    each.set(300);
    let (status, error) = status(test_state_within(&request, &around, &Budget::whole(&clock)));
    assert_eq!(status, "FAILED");
    assert!(error == "States.QueryEvaluationError" || error == "States.Timeout", "{error}");
}

fn surroundings(request: &Value, models: &Value) -> Surroundings {
    let resource = request["definition"]["Resource"].as_str().unwrap_or_default();
    let identity = Identity {
        execution_arn: "arn:aws:states:us-east-1:111111111111:express:machine:name".into(),
        execution_name: "name".into(),
        machine_arn: "arn:aws:states:us-east-1:111111111111:stateMachine:machine".into(),
        machine_name: "machine".into(),
        role_arn: "arn:aws:iam::111111111111:role/role".into(),
        ..Identity::default()
    };
    Surroundings {
        identity,
        model: models.get(resource).cloned(),
        now_ms: 1_704_067_200_000,
        ..Surroundings::default()
    }
}

fn check(case: &Value, models: &Value) -> Option<String> {
    let request = &case["params"];
    let mut surroundings = surroundings(request, models);
    let mut tested = test_state(request, &surroundings);
    if let Ok(Tested::Call(..)) = tested {
        // The recording has what the real function answered as the state's result.
        let answer = &case["answer"];
        let result = answer["inspectionData"].get("result").unwrap_or(&answer["output"]);
        let result = serde_json::from_str(&text_of(result)).unwrap();
        surroundings.answer = Some(Ok(result));
        tested = test_state(request, &surroundings);
    }
    match (tested, case.get("answer"), case.get("error")) {
        (Ok(Tested::Answer(mut actual)), Some(answer), _) => {
            actual["ResponseMetadata"] = json!({});
            difference(answer, &actual)
        }
        (Err(TestRefused { message, .. }), None, Some(Value::String(text))) => {
            let expected = text.split_once("operation: ").map_or(text.as_str(), |(_, message)| message);
            (!matches(expected, &message) && expected != message)
                .then(|| format!("expected {expected} but was {message}"))
        }
        (Err(TestRefused { code, message }), None, Some(error)) => {
            let actual = json!({"Error": {"Code": code, "Message": message}, "message": message});
            let mut error = error.clone();
            error.as_object_mut().unwrap().remove("ResponseMetadata");
            difference(&error, &actual)
        }
        (tested, answer, error) => Some(format!("expected {answer:?} {error:?} but was {tested:?}")),
    }
}
