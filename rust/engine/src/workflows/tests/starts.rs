//! Starts that name an execution, lists of what runs, and what may be redriven.

use std::sync::{Arc, Mutex};

use serde_json::{json, Value};

use crate::base::error::{Answer, EngineError, Waiter};
use crate::runtime::test_engine::{TestEngine, SECOND};
use crate::store::fault::{Fault, Repeat};
use crate::workflows::tests::{arn, function};

fn start_of(pattern: &str) -> Value {
    let resource = format!("arn:aws:states:::states:startExecution{pattern}");
    let parameters = json!({"StateMachineArn": "child", "Name": "order-1", "Input.$": "$"});
    json!({"StartAt": "Run", "States": {
        "Run": {"Type": "Task", "Resource": resource, "Parameters": parameters, "End": true}}})
}

fn call() -> Value {
    json!({"StartAt": "Call", "States": {"Call": {"Type": "Task", "Resource": arn("f"), "End": true}}})
}

fn with(definition: &Value) -> TestEngine {
    let engine = TestEngine::new();
    engine.register(function("f"));
    engine.workflow("child", &call());
    engine.workflow("w", definition);
    engine
}

/// The same start was `ExecutionAlreadyExistsException`: a task that was tried again failed here, and not on AWS.
#[test]
fn a_task_that_starts_what_runs_already_is_given_it() {
    let mut engine = with(&start_of(""));
    for name in ["one", "two"] {
        engine.start(name, &json!({"a": 1})).unwrap();
    }
    let [one, two] = ["one", "two"].map(|name| engine.execution(name)["output"].clone());
    assert_eq!(one, two);
    assert!(one.as_str().unwrap().contains("execution:child:order-1"), "{one}");
    engine.start("three", &json!({"a": 2})).unwrap();
    let other = engine.execution("three");
    assert_eq!(other["error"], "StepFunctions.ExecutionAlreadyExistsException", "its input is another one");
    let child = engine.only_call();
    engine.end_call(&child, 0, "1");
    engine.start("four", &json!({"a": 1})).unwrap();
    assert_eq!(engine.execution("four")["error"], "StepFunctions.ExecutionAlreadyExistsException", "it is over");
}

/// Each task waits for the one execution, over a restart and a full disk.
#[test]
fn two_tasks_wait_for_one_execution() {
    for is_full in [false, true] {
        let engine = with(&start_of(".sync:2"));
        engine.workflow("v", &start_of(".sync"));
        engine.json("execution.start", &json!({"workflow": "child", "name": "order-1", "input": "{\"a\":1}"}));
        engine.start("one", &json!({"a": 1})).unwrap();
        engine.json("execution.start", &json!({"workflow": "v", "name": "two", "input": "{\"a\":1}"}));
        let two = json!({"workflow": "v", "name": "two"});
        let mut engine = engine.killed();
        assert_eq!(engine.execution("one")["status"], "RUNNING");
        let child = engine.only_call();
        if is_full {
            engine.store.fail(1, Fault::Full, Repeat::Always);
        }
        engine.end_call(&child, 0, "{\"n\": 1}");
        if is_full {
            engine.store.mend();
            engine.advance(SECOND);
        }
        let engine = engine.killed();
        let output = |told: &Value| -> Value { serde_json::from_str(told["output"].as_str().unwrap()).unwrap() };
        let (one, two) = (output(&engine.execution("one")), output(&engine.json("execution.describe", &two)));
        assert_eq!((&one["Output"], &two["Output"]), (&json!({"n": 1}), &json!("{\"n\":1}")), "{is_full}");
        assert_eq!((&one["Name"], &two["Status"]), (&json!("order-1"), &json!("SUCCEEDED")));
    }
}

/// The row of a start that was not durable yet was dropped with its workflow: its caller was told that it runs, and it never did.
#[test]
fn a_workflow_with_accepted_starts_is_not_deleted() {
    let engine = TestEngine::new();
    engine.register(function("f"));
    engine.json("workflow.declare", &json!({"name": "w", "definition": call().to_string(), "type": "EXPRESS"}));
    let engine = engine.reopened_slowly();
    engine.register(function("f"));
    let told: Arc<Mutex<Option<Answer>>> = Arc::default();
    let teller = Arc::clone(&told);
    let waiter = Waiter::Call(Box::new(move |answer| *teller.lock().unwrap() = Some(answer)));
    let start = json!({"workflow": "w", "name": "one", "input": "{}"}).to_string();
    engine.engine.request("execution.start", start.as_bytes(), waiter);
    assert!(told.lock().unwrap().is_none(), "it is on its way to the disk");
    let refused = engine.asked("workflow.delete", &json!({"name": "w"})).unwrap_err();
    assert!(matches!(&refused, EngineError::Conflict(text) if text.contains("has 1 executions that run")), "{refused}");
}

/// In the store those that run stand between those that have ended: a page of them was empty, and had a `next`.
#[test]
fn what_runs_is_listed_whatever_has_ended_since() {
    let wait = json!({"Type": "Wait", "Seconds": 600, "End": true});
    let choose = json!({"Type": "Choice", "Choices": [{"Variable": "$.waits", "IsPresent": true, "Next": "Wait"}],
        "Default": "Done"});
    let flow = json!({"StartAt": "Choose", "States": {"Choose": choose, "Wait": wait, "Done": {"Type": "Succeed"}}});
    let engine = with(&flow);
    for name in ["a", "b", "c"] {
        engine.start(name, &json!({"waits": true})).unwrap();
    }
    let text = "x".repeat(250_000);
    for n in 0..20 {
        engine.start(&format!("over-{n}"), &json!({"text": text})).unwrap();
    }
    let engine = engine.killed();
    let (mut names, mut after) = (Vec::new(), Value::Null);
    loop {
        let asked = json!({"workflow": "w", "status": "RUNNING", "limit": 2, "after": after});
        let page = engine.json("execution.list", &asked);
        let listed = page["executions"].as_array().unwrap();
        assert!(!listed.is_empty());
        names.extend(listed.iter().map(|one| one["name"].as_str().unwrap().to_owned()));
        after = page["next"].clone();
        if after.is_null() {
            break;
        }
    }
    assert_eq!(names, ["c", "b", "a"]);
}

/// It was told that it can be redriven, and the redrive was refused.
#[test]
fn what_is_told_of_a_redrive_is_what_becomes_of_it() {
    let mut engine = with(&call());
    engine.start("one", &json!({})).unwrap();
    let redrive = |engine: &TestEngine| engine.asked("execution.redrive", &json!({"workflow": "w", "name": "one"}));
    let told = |engine: &TestEngine| {
        let one = engine.execution("one");
        (one["redrive_status"].clone(), one["redrive_status_reason"].as_str().map(str::to_owned))
    };
    let no = |reason: &str| (json!("NOT_REDRIVABLE"), Some(reason.to_owned()));
    assert_eq!(told(&engine), no("Execution is RUNNING and cannot be redriven"));
    assert!(redrive(&engine).unwrap_err().to_string().ends_with("is running"));
    let first = engine.only_call();
    engine.end_call(&first, 1, "{\"errorType\": \"Down\"}");
    assert_eq!(told(&engine), (json!("REDRIVABLE"), None));
    // The rows of what may be redriven are still there.
    engine.advance(14 * 86_400 * SECOND + SECOND);
    assert_eq!(told(&engine), no("Execution redrivable period exceeded"));
    assert!(redrive(&engine).unwrap_err().to_string().ends_with("ended more than 14 days ago"));

    let mut engine = with(&call());
    engine.start("one", &json!({})).unwrap();
    let first = engine.only_call();
    engine.end_call(&first, 1, "{\"errorType\": \"Down\"}");
    redrive(&engine).unwrap();
    let second = engine.only_call();
    engine.end_call(&second, 0, "1");
    assert_eq!(told(&engine), no("Execution is SUCCEEDED and cannot be redriven"));
    assert!(redrive(&engine).unwrap_err().to_string().ends_with("has succeeded"));
}
