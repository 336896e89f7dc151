//! Jobs of integrations: questions that are not answered, and jobs whose tasks were given up.

use serde_json::{json, Value};

use crate::dispatch::attempts::{Task, Work};
use crate::runtime::test_engine::{TestEngine, SECOND};
use crate::workflows::outside::FUNCTION;
use crate::workflows::tests::{function, payload};

const SUBMITTED: &str = "{\"output\": {}, \"job\": 7}";

fn declare(engine: &TestEngine) {
    engine.register(function(FUNCTION));
    engine.json("integration.declare", &json!({"resources": ["oven:bake.sync", "aws-sdk:*"], "parameters": {}}));
}

/// An engine with one execution, which waits for a job.
fn baking() -> TestEngine {
    let engine = TestEngine::new();
    declare(&engine);
    let bake = json!({"Type": "Task", "Resource": "arn:aws:states:::oven:bake.sync", "End": true});
    engine.workflow("w", &json!({"StartAt": "Bake", "States": {"Bake": bake}}));
    engine.start("one", &json!({})).unwrap();
    engine
}

fn begun(engine: &TestEngine) -> Vec<Work> {
    let is_begun = |work: &Work| matches!(work.task, Task::Event(_) | Task::Invoke(_));
    engine.calls().into_iter().filter(is_begun).collect()
}

/// What the function is asked, whether it is called for a task or by an event.
fn asked(work: &Work) -> Value {
    match &work.task {
        Task::Invoke(payload) => serde_json::from_slice(payload).unwrap(),
        _ => payload(work),
    }
}

fn question(engine: &TestEngine) -> Work {
    let question = begun(engine).remove(0);
    assert_eq!(asked(&question)["poll"]["job"], 7);
    question
}

/// The task failed with the first question that was not answered, and the job ran on: a `Retry` would have started another one.
#[test]
fn a_question_that_is_not_answered_is_asked_again() {
    let mut engine = baking();
    let call = engine.only_call();
    engine.end_call(&call, 0, SUBMITTED);
    let first = question(&engine);
    engine.end_call(&first, 1, "{\"errorType\": \"Boom\"}");
    assert!(begun(&engine).is_empty(), "after a pause");
    engine.advance(5 * SECOND);
    let second = question(&engine);
    // It is over its time, and ends later.
    engine.advance(4 * SECOND);
    assert_eq!(engine.execution("one")["status"], "RUNNING");
    assert!(begun(&engine).is_empty(), "two questions are not under way at once");
    engine.end_call(&second, 0, "{\"output\": \"too late\"}");
    engine.advance(5 * SECOND);
    let third = question(&engine);
    assert!(begun(&engine).is_empty());
    engine.end_call(&third, 0, "{\"output\": 1}");
    assert_eq!(engine.execution("one")["output"], "1");
    engine.advance(60 * SECOND);
    assert!(begun(&engine).is_empty());
}

/// An app without the function failed the task after a restart.
#[test]
fn a_job_waits_for_the_function_that_asks_about_it() {
    let mut engine = baking();
    let call = engine.only_call();
    engine.end_call(&call, 0, SUBMITTED);
    let first = question(&engine);
    engine.end_call(&first, 0, "{\"running\": 1000}");
    let mut engine = engine.crashed();
    engine.advance(5 * SECOND);
    assert_eq!(engine.execution("one")["status"], "RUNNING");
    declare(&engine);
    engine.advance(SECOND);
    let again = question(&engine);
    engine.end_call(&again, 0, "{\"output\": 1}");
    assert_eq!(engine.execution("one")["output"], "1");
}

/// The task is told that it has failed, for nobody may ask any more; nobody stopped the job.
#[test]
fn a_question_that_kills_the_process_each_time_fails_the_task_and_stops_the_job() {
    let mut engine = baking();
    let call = engine.only_call();
    engine.end_call(&call, 0, SUBMITTED);
    let mut questions = 0;
    let stop = loop {
        let work = begun(&engine).remove(0);
        if asked(&work).get("stop").is_some() {
            break work;
        }
        questions += 1;
        assert!(questions < 6);
        engine = engine.crashed_with(&[function(FUNCTION)]);
        engine.advance(SECOND);
    };
    assert_eq!((questions, &asked(&stop)["stop"]["job"]), (3, &json!(7)));
    let told = engine.execution("one");
    assert_eq!((&told["status"], &told["error"]), (&json!("FAILED"), &json!("Lambda.Unknown")));
}

/// The answer of a call whose task was given up was dropped, with the name of the job that it had started: a cluster's step ran on.
#[test]
fn a_job_is_stopped_that_is_known_only_after_its_task_was_given_up() {
    // The execution is stopped, or the call takes longer than its function may.
    for is_stopped in [true, false] {
        let mut engine = baking();
        let call = engine.only_call();
        if is_stopped {
            engine.json("execution.stop", &json!({"workflow": "w", "name": "one"}));
        } else {
            engine.advance(4 * SECOND);
        }
        let status = if is_stopped { "ABORTED" } else { "FAILED" };
        assert_eq!(engine.execution("one")["status"], status);
        assert!(begun(&engine).is_empty());
        engine.end_call(&call, 0, SUBMITTED);
        engine.advance(SECOND);
        let stop = begun(&engine).remove(0);
        let told = asked(&stop)["stop"].clone();
        assert_eq!((&told["service"], &told["action"], &told["job"]), (&json!("oven"), &json!("bake"), &json!(7)));
        assert!(begun(&engine).is_empty());
    }
}

#[test]
fn a_call_that_has_started_nothing_stops_nothing() {
    for answer in ["{\"error\": \"Oven.CannotBake\", \"cause\": \"a stone\"}", "no JSON"] {
        let mut engine = baking();
        let call = engine.only_call();
        engine.json("execution.stop", &json!({"workflow": "w", "name": "one"}));
        engine.end_call(&call, 0, answer);
        engine.advance(SECOND);
        assert!(begun(&engine).is_empty());
    }
}

/// It was accepted and called, and then the task failed because no job had begun.
#[test]
fn calls_of_awss_sdk_have_no_sync() {
    let engine = TestEngine::new();
    declare(&engine);
    for (suffix, is_refused) in [("", false), (".waitForTaskToken", false), (".sync", true), (".sync:2", true)] {
        let call =
            json!({"Type": "Task", "Resource": format!("arn:aws:states:::aws-sdk:ecs:runTask{suffix}"), "End": true});
        let definition = json!({"StartAt": "Run", "States": {"Run": call}}).to_string();
        let declared = engine.asked("workflow.declare", &json!({"name": "w", "definition": definition}));
        assert_eq!(declared.is_err(), is_refused, "{suffix}");
        if let Err(error) = declared {
            assert!(error.to_string().starts_with("/States/Run/Resource: "), "{error}");
            assert!(error.to_string().contains("calls of AWS's SDK have no .sync"), "{error}");
            assert!(!error.to_string().contains("  "), "{error}");
        }
    }
}
