//! Recorded calls of `TestState`.

use std::cell::Cell;

use forebay_core::workflow::budget::Budget;
use forebay_core::workflow::definition::Resource;
use forebay_core::workflow::machine::test_state::{
    resource, resource_text, test_state, test_state_within, Surroundings, TestRefused, Tested,
};
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

/// What a test answers, as a text where it is refused.
fn tested(state: &Value, more: &Value) -> Result<Value, String> {
    let mut request = json!({"definition": state.to_string(), "input": "{}", "roleArn": "arn:aws:iam::1:role/r"});
    request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    match test_state(&request, &Surroundings::default()) {
        Ok(Tested::Answer(answer)) => Ok(answer),
        Ok(Tested::Call(..)) => Err("it calls".to_owned()),
        Err(refused) => Err(format!("{}: {}", refused.code, refused.message)),
    }
}

#[test]
fn a_tested_state_names_its_resource() {
    let arn = "arn:aws:states:::sqs:sendMessage";
    let task = json!({"Type": "Task", "Resource": arn, "End": true});
    let flow = json!({"StartAt": "A", "States": {"A": {"Type": "Pass", "Next": "B"}, "B": task}});
    for request in [json!({"definition": task.to_string()}), json!({"definition": flow, "stateName": "B"})] {
        assert!(matches!(resource(&request), Some(Resource::Service { service, .. }) if service.as_str() == "sqs"));
        assert_eq!(resource_text(&request).as_deref(), Some(arn));
    }
    let pass = json!({"definition": flow, "stateName": "A"});
    assert!(resource(&pass).is_none() && resource_text(&pass).is_none());
    let wrong = json!({"definition": {"Type": "Task", "Resource": "nothing"}});
    assert!(resource(&wrong).is_none() && resource_text(&wrong).as_deref() == Some("nothing"));
}

#[test]
fn a_tested_state_has_the_variables_that_are_given() {
    let state = json!({"Type": "Pass", "QueryLanguage": "JSONata", "Output": "{% $a + 1 %}", "End": true});
    let answer = tested(&state, &json!({"variables": r#"{"a":41}"#})).unwrap();
    assert_eq!((&answer["status"], &answer["output"]), (&json!("SUCCEEDED"), &json!("42")));
    let refused = tested(&state, &json!({"variables": "[]"})).unwrap_err();
    assert_eq!(refused, "ValidationException: Variables must be a valid JSON object");
}

#[test]
fn a_tested_wait_takes_no_time() {
    let answer = tested(&json!({"Type": "Wait", "Seconds": 100, "Next": "B"}), &json!({})).unwrap();
    assert_eq!(answer, json!({"status": "SUCCEEDED", "output": "{}", "nextState": "B"}));
}

/// A test whose time is over before its state has begun has failed by that, and one that is to be retried by what it failed with.
#[test]
fn a_test_tells_what_it_failed_with() {
    let state = json!({"Type": "Pass", "End": true});
    let request = json!({"definition": state.to_string()});
    let late = test_state_within(&request, &Surroundings::default(), &Budget::whole(&|| 1_000));
    let Ok(Tested::Answer(answer)) = late else { panic!("{late:?}") };
    assert_eq!((&answer["status"], &answer["error"]), (&json!("FAILED"), &json!("States.Timeout")));
    let task = json!({"Type": "Task", "Resource": "arn:aws:lambda:r:1:function:f", "End": true, "Retry": [{"ErrorEquals": ["E"]}]});
    let mock = json!({"mock": {"errorOutput": {"error": "E", "cause": "c"}}});
    let answer = tested(&task, &mock).unwrap();
    assert_eq!(answer, json!({"status": "RETRIABLE", "error": "E", "cause": "c"}));
}

#[test]
fn a_tested_map_bears_the_failures_of_the_iterations_that_it_has() {
    let map = |more: Value| {
        let mut map = json!({"Type": "Map", "End": true, "MaxConcurrency": 3, "ToleratedFailurePercentage": 25,
            "ItemProcessor": {"ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "EXPRESS"},
                "StartAt": "A", "States": {"A": {"Type": "Pass", "End": true}}}});
        map.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        map
    };
    let request = |result: &str, failed: u64, reads: Option<&str>| {
        let mut configuration = json!({"mapIterationFailureCount": failed});
        if let Some(items) = reads {
            configuration["mapItemReaderData"] = json!(items);
        }
        json!({"mock": {"result": result}, "input": "[1,2,3,4]", "inspectionLevel": "DEBUG", "stateConfiguration": configuration})
    };
    let answer = tested(&map(json!({})), &request("[1]", 1, None)).unwrap();
    assert_eq!(
        (&answer["status"], &answer["output"]),
        (&json!("SUCCEEDED"), &json!("[1]")),
        "all that there is may have failed"
    );
    let seen = &answer["inspectionData"];
    assert_eq!((&seen["input"], &seen["maxConcurrency"]), (&json!("[1,2,3,4]"), &json!(3)), "documents are texts");
    let refused = tested(&map(json!({})), &request("[1]", 2, None)).unwrap_err();
    assert!(refused.ends_with("must be less than or equal to the number of Map iterations"), "{refused}");
    let reader =
        map(json!({"ItemReader": {"Resource": "arn:aws:states:::s3:getObject", "ReaderConfig": {"InputType": "JSON"},
        "Parameters": {"Bucket": "b", "Key": "k"}}}));
    for (items, status) in [("[1,2,3,4,5,6,7,8]", "SUCCEEDED"), ("[1,2,3,4,5,6,7]", "FAILED")] {
        assert_eq!(tested(&reader, &request("[1,2,3]", 2, Some(items))).unwrap()["status"], status, "{items}");
    }
    let refused = tested(&reader, &request("[1]", 0, Some("{}"))).unwrap_err();
    assert_eq!(refused, "ValidationException: MapItemReaderData must be a valid JSON array");
}

#[test]
fn a_mocked_result_is_held_against_its_state() {
    let task = json!({"Type": "Task", "Resource": "arn:aws:states:::sqs:sendMessage", "End": true});
    let mock = |mode: Value| tested(&task, &json!({"mock": {"result": "{}", "fieldValidationMode": mode}}));
    assert_eq!(mock(json!("NONE")).unwrap()["status"], "SUCCEEDED");
    assert_eq!(mock(json!(null)).unwrap()["status"], "SUCCEEDED");
    for mode in ["STRICT", "PRESENT"] {
        let refused = mock(json!(mode)).unwrap_err();
        assert!(refused.contains(&format!("fieldValidationMode {mode} is not supported")), "{refused}");
    }
    let branch = json!({"StartAt": "A", "States": {"A": {"Type": "Pass", "End": true}}});
    for (branches, expected) in [(json!([branch]), "ValidationException"), (json!([]), "InvalidDefinition")] {
        let state = json!({"Type": "Parallel", "Branches": branches, "End": true});
        let refused = tested(&state, &json!({"mock": {"result": "[1,2]"}})).unwrap_err();
        assert!(refused.starts_with(expected), "{refused}");
    }
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
