//! Turns that take too long for the engine's lock: they are made aside, and nothing that happens meanwhile is lost or happens twice.

use std::time::Duration;

use serde_json::{json, Value};

use super::{arn, function, payload};
use crate::base::error::{Answer, EngineError, Reply, Waiter};
use crate::base::trace::Origin;
use crate::payload::message::NewMessage;
use crate::runtime::engine::Engine;
use crate::runtime::rooms::Rooms;
use crate::runtime::test_engine::{queue, TestEngine, SECOND};
use crate::store::fault::{Fault, Repeat};

/// Two branches wait for their tokens; what both have brought is summed by an expression.
fn branches() -> Value {
    let branch = |name: &str| {
        json!({"StartAt": name, "States": {name: {
            "Type": "Task", "Resource": "arn:aws:states:::sqs:sendMessage.waitForTaskToken", "End": true,
            "Arguments": {"QueueUrl": "q", "MessageBody": {"token": "{% $states.context.Task.Token %}"}}}}})
    };
    json!({"StartAt": "Both", "QueryLanguage": "JSONata", "States": {
        "Both": {"Type": "Parallel", "Branches": [branch("A"), branch("B")], "Output": "{% $sum($states.result) %}", "Next": "Call"},
        "Call": {"Type": "Task", "Resource": arn("f"), "Arguments": "{% $states.input * 2 %}", "End": true}}})
}

/// Nothing is evaluated under the lock.
fn patient(engine: TestEngine) -> TestEngine {
    engine.engine.with(|rooms| rooms.workflows.make_turns_aside(0));
    engine
}

fn with(definition: &Value) -> TestEngine {
    let engine = patient(TestEngine::new());
    engine.register(function("f"));
    engine.json("queue.declare", &queue("q"));
    engine.workflow("w", definition);
    engine
}

/// The process dies, and the next one makes turns aside when the test says so.
fn killed_slowly(engine: TestEngine) -> TestEngine {
    let engine = patient(engine.killed().reopened_slowly());
    engine.register(function("f"));
    engine
}

fn tokens(engine: &TestEngine) -> Vec<String> {
    let read = |body: &String| serde_json::from_str::<Value>(body).unwrap()["token"].as_str().unwrap().to_owned();
    engine.received("q").iter().map(read).collect()
}

fn succeed(engine: &TestEngine, token: &str, output: &str) -> Result<Value, EngineError> {
    engine.asked("task.succeed", &json!({"token": token, "output": output}))
}

#[test]
fn what_is_evaluated_aside_ends_as_it_would_under_the_lock() {
    let mut engine = with(&branches());
    engine.start("one", &json!({})).unwrap();
    let tokens = tokens(&engine);
    assert_eq!(tokens.len(), 2);
    succeed(&engine, &tokens[0], "3").unwrap();
    succeed(&engine, &tokens[1], "4").unwrap();
    let call = engine.only_call();
    assert_eq!(payload(&call), json!(14));
    engine.end_call(&call, 0, "\"done\"");
    assert_eq!(engine.execution("one")["output"], "\"done\"");
    let kinds = engine.kinds("one");
    let count = |kind: &str| kinds.iter().filter(|one| *one == kind).count();
    assert_eq!((count("TaskSucceeded"), count("ParallelStateExited")), (2, 1), "{kinds:?}");
}

#[test]
fn an_answer_that_came_while_a_turn_was_made_outlives_a_kill_before_the_turn_is_done() {
    let mut definition = branches();
    definition["States"]["Call"] = json!({"Type": "Succeed"});
    let engine = with(&definition);
    engine.start("one", &json!({})).unwrap();
    let tokens = tokens(&engine);
    succeed(&engine, &tokens[0], "3").unwrap();
    let engine = killed_slowly(engine);
    // It is acknowledged with the commit that holds it, and its turn is not made yet.
    let answer = engine.ask("task.succeed", &json!({"token": tokens[1], "output": "4"}));
    assert!(answer.is_err(), "nothing is acknowledged before it is durable: {answer:?}");
    let order = engine.engine.with(Rooms::next_order).expect("a turn to be made aside");
    let again = succeed(&engine, &tokens[1], "5").unwrap_err();
    assert_eq!(again.to_string(), "Task Timed Out: 'Provided task does not exist anymore'");
    engine.engine.disk_done();
    assert_eq!(engine.execution("one")["status"], "RUNNING");
    drop(order);
    let engine = engine.killed();
    assert_eq!(engine.execution("one")["output"], "7");
}

#[test]
fn a_stop_does_not_wait_for_a_turn_that_is_made_aside() {
    let engine = killed_slowly(with(&branches()));
    engine.ask("execution.start", &json!({"workflow": "w", "name": "one", "input": "{}"})).unwrap_err();
    let order = engine.engine.with(Rooms::next_order).unwrap();
    engine.engine.disk_done();
    engine.ask("execution.stop", &json!({"workflow": "w", "name": "one", "error": "Enough"})).unwrap_err();
    engine.engine.disk_done();
    assert_eq!(engine.execution("one")["status"], "ABORTED");
    let made = order.carry_out();
    engine.engine.with(|rooms| rooms.made(made));
    engine.engine.disk_done();
    assert_eq!(engine.execution("one")["error"], "Enough", "the turn came too late");
    assert_eq!(engine.kinds("one"), ["ExecutionStarted", "ExecutionAborted"]);
}

#[test]
fn an_answer_that_came_while_a_turn_was_made_outlives_a_stop_and_is_gone_on_from_after_a_redrive() {
    let engine = with(&branches());
    engine.start("one", &json!({})).unwrap();
    let tokens = tokens(&engine);
    succeed(&engine, &tokens[0], "3").unwrap();
    let engine = killed_slowly(engine);
    engine.ask("task.succeed", &json!({"token": tokens[1], "output": "4"})).unwrap_err();
    let order = engine.engine.with(Rooms::next_order).expect("a turn to be made aside");
    engine.engine.disk_done();
    engine.ask("execution.stop", &json!({"workflow": "w", "name": "one"})).unwrap_err();
    engine.engine.disk_done();
    drop(order);
    let kinds = engine.kinds("one");
    assert_eq!(
        kinds[kinds.len() - 4..],
        ["TaskSucceeded", "TaskStateAborted", "ParallelStateAborted", "ExecutionAborted"],
        "{kinds:?}"
    );
    let engine = patient(engine.killed());
    engine.register(function("f"));
    engine.json("execution.redrive", &json!({"workflow": "w", "name": "one"}));
    assert_eq!(payload(&engine.only_call()), json!(14));
    assert_eq!(engine.received("q").len(), 2, "no task asks a second time");
}

#[test]
fn a_turn_that_a_full_disk_refuses_is_made_again_when_there_is_room() {
    let mut engine = with(&branches());
    engine.start("one", &json!({})).unwrap();
    let tokens = tokens(&engine);
    succeed(&engine, &tokens[0], "3").unwrap();
    engine = patient(engine.killed().reopened_slowly());
    engine.register(function("f"));
    engine.ask("task.succeed", &json!({"token": tokens[1], "output": "4"})).unwrap_err();
    let order = engine.engine.with(Rooms::next_order).unwrap();
    engine.engine.disk_done();
    engine.store.fail(1, Fault::Full, Repeat::Always);
    let made = order.carry_out();
    engine.engine.with(|rooms| rooms.made(made));
    engine.engine.disk_done();
    assert!(engine.calls().is_empty(), "what is not written is not called");
    assert_eq!(engine.execution("one")["status"], "RUNNING");
    engine.store.mend();
    for _ in 0..4 {
        engine.advance(SECOND);
        engine.engine.disk_done();
    }
    assert_eq!(payload(&engine.only_call()), json!(14));
}

#[test]
fn the_end_of_a_child_is_kept_while_its_parents_turn_is_made() {
    let child = json!({"StartAt": "Rest", "States": {"Rest": {"Type": "Wait", "Seconds": 10, "End": true}}});
    let start = |name: &str| {
        json!({"StartAt": name, "States": {name: {
            "Type": "Task", "Resource": "arn:aws:states:::states:startExecution.sync:2", "End": true, "Output": "{% $states.result.Output %}",
            "Arguments": {"StateMachineArn": "arn:aws:states:r:0:stateMachine:child", "Input": {"name": name}}}}})
    };
    let parent = json!({"StartAt": "Both", "QueryLanguage": "JSONata", "States": {
        "Both": {"Type": "Parallel", "Branches": [start("A"), start("B")], "Output": "{% $states.result.name %}", "End": true}}});
    let engine = with(&parent);
    engine.workflow("child", &child);
    engine.start("one", &json!({})).unwrap();
    let mut engine = killed_slowly(engine);
    engine.advance(11 * SECOND);
    // Both children have ended in one commit; the parent's turns are made by nobody.
    let order = engine.engine.with(Rooms::next_order).expect("the parent's turn");
    engine.engine.disk_done();
    drop(order);
    let engine = patient(engine.killed());
    assert_eq!(engine.execution("one")["output"], r#"["A","B"]"#);
}

#[test]
fn an_express_execution_is_evaluated_aside_too_and_times_out_meanwhile() {
    let engine = patient(TestEngine::new());
    let sum = json!({"StartAt": "A", "QueryLanguage": "JSONata", "States": {
        "A": {"Type": "Pass", "Output": "{% $states.input.a + 1 %}", "End": true}}});
    engine.json("workflow.declare", &json!({"name": "w", "definition": sum.to_string(), "type": "EXPRESS"}));
    let ended = engine.json("execution.start_sync", &json!({"workflow": "w", "input": "{\"a\": 1}"}));
    assert_eq!(ended["output"], "2");
    let mut engine = patient(engine.reopened_slowly());
    let told = engine.ask("execution.start_sync", &json!({"workflow": "w", "input": "{\"a\": 1}", "name": "late"}));
    assert!(told.is_err(), "it has not ended");
    let order = engine.engine.with(Rooms::next_order).unwrap();
    engine.advance(301 * SECOND);
    let made = order.carry_out();
    engine.engine.with(|rooms| rooms.made(made));
    assert_eq!(engine.execution("late")["status"], "TIMED_OUT");
}

/// Nothing rang for it: it ended with the next thing that happened to any execution, or after half a minute.
#[test]
fn a_wait_behind_a_turn_that_was_made_aside_ends_in_time() {
    let mut engine = with(&json!({"StartAt": "A", "QueryLanguage": "JSONata", "States": {
        "A": {"Type": "Pass", "Output": "{% $states.input.a + 1 %}", "Next": "Rest"},
        "Rest": {"Type": "Wait", "Seconds": 5, "End": true}}}));
    engine.start("one", &json!({"a": 1})).unwrap();
    engine.advance(4 * SECOND);
    assert_eq!(engine.execution("one")["status"], "RUNNING");
    engine.advance(2 * SECOND);
    assert_eq!(engine.execution("one")["output"], "2");
}

#[test]
fn machines_take_turns_at_the_evaluator() {
    let engine = with(&branches());
    engine.workflow("v", &branches());
    let engine = killed_slowly(engine);
    for (workflow, name) in [("w", "1"), ("w", "2"), ("w", "3"), ("v", "4")] {
        engine.ask("execution.start", &json!({"workflow": workflow, "name": name, "input": "{}"})).unwrap_err();
    }
    let mut machines = Vec::new();
    while let Some(order) = engine.engine.with(Rooms::next_order) {
        machines.push(order.run.machine);
    }
    let (first, second) = (machines[0], machines[1]);
    assert_ne!(first, second);
    assert_eq!(machines, [first, second, first, first]);
}

/// What an engine with threads of its own answers.
fn answered(engine: &TestEngine, ask: impl FnOnce(&Engine, Waiter)) -> Value {
    let (sender, answers) = std::sync::mpsc::channel::<Answer>();
    ask(&engine.engine, Waiter::Call(Box::new(move |answer| drop(sender.send(answer)))));
    match answers.recv_timeout(Duration::from_secs(30)).unwrap().unwrap() {
        Reply::Json(bytes) | Reply::Added(bytes) => serde_json::from_slice(&bytes).unwrap(),
        other => panic!("{other:?}"),
    }
}

/// An expression that ends with its second.
fn endless() -> Value {
    json!({"StartAt": "A", "QueryLanguage": "JSONata", "States": {
        "A": {"Type": "Pass", "Output": "{% ($f := function($n){$f($n + 1)}; $f(0)) %}", "End": true}}})
}

fn asked(name: &str) -> String {
    json!({"workflow": "w", "name": name, "input": "{}"}).to_string()
}

#[test]
fn a_message_is_acknowledged_while_expressions_run_for_as_long_as_they_may() {
    let engine = TestEngine::new();
    engine.json("queue.declare", &queue("q"));
    engine.workflow("w", &endless());
    let engine = engine.reopened_with_threads();
    for name in ["1", "2", "3"] {
        answered(&engine, |engine, waiter| engine.request("execution.start", asked(name).as_bytes(), waiter));
    }
    acknowledges_meanwhile(&engine);
}

/// A message is acknowledged while the turns of three executions are made, and they end with their errors.
fn acknowledges_meanwhile(engine: &TestEngine) {
    let message = NewMessage { body: "hello".into(), ..NewMessage::default() };
    answered(engine, |engine, waiter| engine.send("q", std::slice::from_ref(&message), Origin::default(), waiter));
    // One after the other takes a second, which the message did not wait for.
    let status = |name: &str| {
        answered(engine, |engine, waiter| engine.request("execution.describe", asked(name).as_bytes(), waiter))
    };
    assert_eq!(status("3")["status"], "RUNNING");
    let ended = answered(engine, |engine, waiter| engine.request("execution.result", asked("3").as_bytes(), waiter));
    assert_eq!(ended["error"], "States.QueryEvaluationError");
    assert!(
        ended["cause"].as_str().unwrap().ends_with("Expression evaluation timeout: Check for infinite loop"),
        "{ended}"
    );
    assert_eq!(status("1")["status"], "FAILED");
}
