//! What becomes of executions when the process is killed, the disk is full or an app is upgraded: each step happens once.

mod activities;
mod aside;
mod durable;
mod express;
mod jobs;
mod life;
mod map;
mod map_children;
mod rates;
mod starts;

use std::time::Duration;

use serde_json::{json, Value};

use crate::base::error::{Answer, EngineError, Reply, Waiter};
use crate::dispatch::attempts::{Settled, Task, Work};
use crate::runtime::test_engine::{queue, TestEngine, SECOND};
use crate::store::fault::{Fault, Repeat};
use crate::store::port::{StoreError, Table};

pub(super) fn function(name: &str) -> Value {
    json!({"kind": "function", "name": name, "timeout_ms": 3_000})
}

pub(super) fn arn(name: &str) -> String {
    format!("arn:aws:lambda:r:0:function:{name}")
}

/// Calls a function, sends a message with what it gave, waits an hour, calls it again.
fn order() -> Value {
    json!({"StartAt": "Charge", "States": {
        "Charge": {"Type": "Task", "Resource": arn("f"), "ResultPath": "$.charged", "Next": "Tell"},
        "Tell": {"Type": "Task", "Resource": "arn:aws:states:::sqs:sendMessage", "ResultPath": null, "Next": "Rest",
            "Parameters": {"QueueUrl": "http://localhost/000000000000/q", "MessageBody.$": "$.charged"}},
        "Rest": {"Type": "Wait", "Seconds": 3_600, "Next": "Ship"},
        "Ship": {"Type": "Task", "Resource": arn("f"), "End": true},
    }})
}

fn with(definition: &Value) -> TestEngine {
    let engine = TestEngine::new();
    engine.register(function("f"));
    engine.json("queue.declare", &queue("q"));
    engine.workflow("w", definition);
    engine
}

impl TestEngine {
    pub(super) fn workflow(&self, name: &str, definition: &Value) -> Value {
        self.json("workflow.declare", &json!({"name": name, "definition": definition.to_string()}))
    }

    pub(super) fn start(&self, name: &str, input: &Value) -> Result<Value, EngineError> {
        self.asked("execution.start", &json!({"workflow": "w", "name": name, "input": input.to_string()}))
    }

    pub(super) fn execution(&self, name: &str) -> Value {
        self.json("execution.describe", &json!({"workflow": "w", "name": name}))
    }

    pub(super) fn kinds(&self, name: &str) -> Vec<String> {
        let page = self.json("execution.history", &json!({"workflow": "w", "name": name, "limit": 1_000}));
        page["events"].as_array().unwrap().iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect()
    }

    /// Calls of functions that are handed out now.
    pub(super) fn calls(&self) -> Vec<Work> {
        self.engine.exchange(Vec::new(), 100).0
    }

    pub(super) fn only_call(&self) -> Work {
        let mut calls = self.calls();
        assert_eq!(calls.len(), 1);
        calls.remove(0)
    }

    pub(super) fn end_call(&mut self, work: &Work, status: u8, body: &str) {
        let body = Some(body.as_bytes().to_vec());
        self.engine.exchange(vec![Settled { token: work.token, status, body, duration_ns: 1 }], 0);
        self.advance(SECOND / 100);
    }

    pub(super) fn received(&self, queue: &str) -> Vec<String> {
        let asked = json!({"name": queue, "maximum": 10, "visibility_timeout_ms": 0});
        let answer = self.asked("queue.receive", &asked).unwrap();
        answer.as_array().unwrap().iter().map(|one| one["body"].as_str().unwrap().to_owned()).collect()
    }

    /// Write a row as another release has written it.
    pub(super) fn set_row(&self, table: Table, key: Vec<u8>, value: Vec<u8>) {
        self.engine.with(|rooms| {
            rooms.ctx.commit.pending.set(table, key, value);
            rooms.ctx.commit.pending.urgent = true;
        });
        self.engine.turn(self.now);
    }

    pub(super) fn killed(self) -> Self {
        let engine = self.crashed();
        engine.register(function("f"));
        engine
    }
}

pub(super) fn payload(work: &Work) -> Value {
    let Task::Event(payload) = &work.task else { panic!("{work:?}") };
    serde_json::from_slice(payload).unwrap()
}

#[test]
fn an_execution_goes_on_from_its_rows_after_a_kill_at_each_commit() {
    let mut engine = with(&order());
    engine.start("one", &json!({"id": 7})).unwrap();
    let mut engine_killed = engine.killed();
    let charge = engine_killed.only_call();
    assert_eq!(payload(&charge), json!({"id": 7}));
    // Killed while the function runs: it is called again.
    engine = engine_killed.killed();
    let charge = engine.only_call();
    engine.end_call(&charge, 0, "\"paid\"");
    engine = engine.killed();
    assert!(engine.calls().is_empty(), "what has ended is not called again");
    assert_eq!(engine.received("q"), ["paid"], "the message went with the step");
    engine.advance(1_800 * SECOND);
    engine = engine.killed();
    engine.advance(1_799 * SECOND);
    assert!(engine.calls().is_empty());
    engine.advance(SECOND);
    engine_killed = engine.killed();
    let ship = engine_killed.only_call();
    assert_eq!(payload(&ship), json!({"id": 7, "charged": "paid"}));
    engine_killed.end_call(&ship, 0, "{\"shipped\": true}");
    let engine = engine_killed.killed();
    let told = engine.execution("one");
    assert_eq!((&told["status"], &told["output"]), (&json!("SUCCEEDED"), &json!("{\"shipped\":true}")));
    assert_eq!(engine.received("q"), ["paid"]);
    let kinds = engine.kinds("one");
    let once = ["ExecutionStarted", "TaskSucceeded", "WaitStateEntered", "WaitStateExited", "ExecutionSucceeded"];
    for kind in once {
        assert_eq!(kinds.iter().filter(|one| *one == kind).count(), 1, "{kind} in {kinds:?}");
    }
    assert_eq!(kinds.iter().filter(|one| *one == "LambdaFunctionSucceeded").count(), 2);
}

#[test]
fn a_step_that_a_full_disk_refuses_is_made_when_there_is_room_and_its_function_is_not_called_again() {
    let mut engine = with(&order());
    engine.start("one", &json!({})).unwrap();
    let charge = engine.only_call();
    engine.store.fail(1, Fault::Full, Repeat::Always);
    engine.end_call(&charge, 0, "\"paid\"");
    engine.advance(SECOND);
    assert!(matches!(engine.start("two", &json!({})), Err(EngineError::Store(StoreError::Full(_)))));
    assert_eq!(engine.execution("one")["status"], "RUNNING");
    assert!(!engine.kinds("one").contains(&"TaskSucceeded".to_owned()));
    engine.store.mend();
    engine.advance(SECOND);
    assert!(engine.calls().is_empty());
    assert_eq!(engine.received("q"), ["paid"]);
    engine.advance(3_600 * SECOND);
    let ship = engine.only_call();
    engine.end_call(&ship, 0, "1");
    assert_eq!(engine.execution("one")["output"], "1");
    assert_eq!(engine.received("q"), ["paid"], "once");
    engine.start("two", &json!({})).unwrap();
}

#[test]
fn a_name_stands_for_one_execution() {
    let mut engine = with(&order());
    let first = engine.start("one", &json!({"n": 1})).unwrap();
    assert_eq!(first["arn"], "arn:aws:states:r:0:execution:w:one");
    assert_eq!(engine.start("one", &json!({"n": 1})).unwrap(), first);
    let refused = engine.start("one", &json!({"n": 2})).unwrap_err();
    let text = "Execution Already Exists: 'arn:aws:states:r:0:execution:w:one'";
    assert_eq!(refused, EngineError::Conflict(text.into()));
    engine.json("execution.stop", &json!({"workflow": "w", "name": "one", "error": "Enough"}));
    engine.advance(SECOND);
    assert_eq!(engine.start("one", &json!({"n": 1})).unwrap_err(), EngineError::Conflict(text.into()));
    let told = engine.execution("one");
    assert_eq!((&told["status"], &told["error"]), (&json!("ABORTED"), &json!("Enough")));
    assert!(engine.start("a b", &json!({})).unwrap_err().to_string().starts_with("Invalid Name: 'a b'"));
    let missing = engine.asked("execution.describe", &json!({"workflow": "w", "name": "none"})).unwrap_err();
    assert!(missing.to_string().starts_with("Execution Does Not Exist: 'arn:"));
}

#[test]
fn a_task_waits_for_its_token_over_a_restart_and_is_told_once() {
    let machine = json!({"StartAt": "Ask", "States": {"Ask": {
        "Type": "Task", "Resource": "arn:aws:states:::sqs:sendMessage.waitForTaskToken", "End": true, "HeartbeatSeconds": 60,
        "Parameters": {"QueueUrl": "q", "MessageBody": {"token.$": "$$.Task.Token"}}}}});
    let engine = with(&machine);
    engine.start("one", &json!({})).unwrap();
    let mut engine = engine.killed();
    let body: Value = serde_json::from_str(&engine.received("q")[0]).unwrap();
    let token = body["token"].as_str().unwrap().to_owned();
    for _ in 0..3 {
        engine.advance(50 * SECOND);
        engine.json("task.heartbeat", &json!({"token": token}));
    }
    let guess = format!("{}0", &token[..token.len() - 1]);
    let refused = engine.asked("task.succeed", &json!({"token": guess, "output": "1"}));
    assert!(guess == token || refused.is_err());
    assert!(engine.asked("task.succeed", &json!({"token": "x", "output": "1"})).is_err());
    engine.json("task.succeed", &json!({"token": token, "output": "{\"answer\": 1}"}));
    let again = engine.asked("task.succeed", &json!({"token": token, "output": "2"})).unwrap_err();
    assert_eq!(again.to_string(), "Task Timed Out: 'Provided task does not exist anymore'");
    assert_eq!(engine.execution("one")["output"], "{\"answer\":1}");
    engine.start("silent", &json!({})).unwrap();
    engine.advance(61 * SECOND);
    assert_eq!(engine.execution("silent")["error"], "States.Timeout");
}

#[test]
fn executions_keep_the_definition_that_they_began_with() {
    let mut engine = with(&order());
    engine.start("old", &json!({})).unwrap();
    let charge = engine.only_call();
    engine.end_call(&charge, 0, "\"paid\"");
    let other = json!({"StartAt": "Done", "States": {"Done": {"Type": "Succeed"}}});
    assert_eq!(engine.workflow("w", &other)["revision"], 2);
    engine = engine.killed();
    engine.start("new", &json!({})).unwrap();
    assert_eq!(engine.execution("new")["status"], "SUCCEEDED");
    engine.advance(3_600 * SECOND);
    assert_eq!(engine.calls().len(), 1, "the old one ships");
}

#[test]
fn a_child_execution_ends_its_parents_task_in_the_same_commit() {
    let child = json!({"StartAt": "Rest", "States": {"Rest": {"Type": "Wait", "Seconds": 10, "End": true}}});
    let parent = json!({"StartAt": "Run", "States": {"Run": {
        "Type": "Task", "Resource": "arn:aws:states:::states:startExecution.sync:2", "End": true, "OutputPath": "$.Output",
        "Parameters": {"StateMachineArn": "arn:aws:states:r:0:stateMachine:child", "Input": {"n": 1}}}}});
    let engine = with(&parent);
    engine.workflow("child", &child);
    engine.start("one", &json!({})).unwrap();
    let mut engine = engine.killed();
    engine.advance(10 * SECOND);
    let engine = engine.killed();
    assert_eq!(engine.execution("one")["output"], "{\"n\":1}");
}

#[test]
fn who_waits_for_an_execution_is_told_its_end_and_that_the_app_stops() {
    let mut engine = with(&order());
    engine.start("one", &json!({})).unwrap();
    let (sender, answers) = std::sync::mpsc::channel::<Answer>();
    let ask = |engine: &TestEngine| {
        let sender = sender.clone();
        let waiter = Waiter::Call(Box::new(move |answer| drop(sender.send(answer))));
        engine.engine.request("execution.result", b"{\"workflow\": \"w\", \"name\": \"one\"}", waiter);
    };
    ask(&engine);
    let charge = engine.only_call();
    engine.end_call(&charge, 1, "{\"errorType\": \"NoMoney\", \"errorMessage\": \"none left\"}");
    let Ok(Reply::Json(told)) = answers.recv_timeout(Duration::from_secs(1)).unwrap() else { panic!() };
    let told: Value = serde_json::from_slice(&told).unwrap();
    assert_eq!((&told["status"], &told["error"]), (&json!("FAILED"), &json!("NoMoney")));
    engine.json("execution.start", &json!({"workflow": "w", "name": "two", "input": "{}"}));
    let (sender, answers) = std::sync::mpsc::channel::<Answer>();
    let waiter = Waiter::Call(Box::new(move |answer| drop(sender.send(answer))));
    engine.engine.request("execution.result", b"{\"workflow\": \"w\", \"name\": \"two\"}", waiter);
    engine.engine.close();
    assert!(matches!(answers.recv_timeout(Duration::from_secs(1)).unwrap(), Err(EngineError::OwnerLost(_))));
}

#[test]
fn what_is_not_built_is_refused_when_it_is_declared_with_its_place() {
    let engine = TestEngine::new();
    let declare = |definition: Value, kind: &str| {
        let asked = json!({"name": "w", "definition": definition.to_string(), "type": kind});
        engine.asked("workflow.declare", &asked).unwrap_err().to_string()
    };
    let task =
        |resource: &str| json!({"StartAt": "A", "States": {"A": {"Type": "Task", "Resource": resource, "End": true}}});
    let text = declare(task("arn:aws:states:::dynamodb:getItem"), "STANDARD");
    assert!(
        text.starts_with("/States/A/Resource: \"arn:aws:states:::dynamodb:getItem\" cannot be called here"),
        "{text}"
    );
    assert!(text.ends_with("With boto3, aws-sdk:dynamodb:getItem does the same"), "{text}");
    let text = declare(task("arn:aws:states:::lambda:invoke.sync"), "STANDARD");
    assert!(text.ends_with("the app's integrations call: `App.integrate`"), "{text}");
    engine.json("integration.declare", &json!({"resources": ["elasticmapreduce:addStep.sync"]}));
    let text = declare(task("arn:aws:states:::elasticmapreduce:addSte"), "STANDARD");
    assert!(text.ends_with("`App.integrate`. Of elasticmapreduce that is elasticmapreduce:addStep.sync"), "{text}");
    let text = declare(task("arn:aws:states:::aws-sdk:s3:getObject"), "STANDARD");
    assert!(text.ends_with("aws-sdk:s3 needs boto3 (`pip install \"forebay[aws]\"`)"), "{text}");
    let waits = declare(task("arn:aws:states:::states:startExecution.sync"), "EXPRESS");
    assert!(waits.contains("Express state machine does not support '.sync' service integration"), "{waits}");
    let text = declare(json!({"StartAt": "A", "States": {"A": {"Type": "Pass"}}}), "STANDARD");
    assert!(text.starts_with("Invalid State Machine Definition: '"), "{text}");
    let inner = json!({"StartAt": "B", "States": {"B": {"Type": "Pass", "End": true}},
        "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}});
    let reader = json!({"Resource": "arn:aws:states:::s3:getObject", "ReaderConfig": {"InputType": "JSON"},
        "Parameters": {"Bucket": "b", "Key": "k"}});
    let map = json!({"StartAt": "A", "States": {"A": {"Type": "Map", "ItemReader": reader, "ItemProcessor": inner, "End": true}}});
    let text = declare(map, "STANDARD");
    assert!(
        text.starts_with("/States/A/ItemReader/Resource: \"arn:aws:states:::s3:getObject\": no object store"),
        "{text}"
    );
    assert_eq!(engine.json("workflow.list", &json!({})), json!([]));
}

/// The list of names was mapped as if the files' contents had been, and nobody's owner was looked at.
#[test]
fn what_a_reader_does_not_do_is_refused() {
    let engine = TestEngine::new();
    let inner = json!({"StartAt": "B", "States": {"B": {"Type": "Pass", "End": true}},
        "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}});
    let problems = |config: Value| {
        let reader = json!({"Resource": "arn:aws:states:::s3:listObjectsV2", "ReaderConfig": config, "Parameters": {"Bucket": "b"}});
        let map = json!({"Type": "Map", "ItemReader": reader, "ItemProcessor": inner, "End": true});
        let definition = json!({"StartAt": "A", "States": {"A": map}}).to_string();
        let told = engine.json("workflow.validate", &json!({"definition": definition, "type": "STANDARD"}));
        let places =
            told["problems"].as_array().unwrap().iter().map(|one| one["location"].as_str().unwrap().to_owned());
        places.filter(|place| !place.ends_with("/Resource")).collect::<Vec<_>>()
    };
    assert_eq!(problems(json!({"Transformation": "NONE"})), Vec::<String>::new());
    let place = |name: &str| vec![format!("/States/A/ItemReader/ReaderConfig/{name}")];
    assert_eq!(problems(json!({"Transformation": "LOAD_AND_FLATTEN"})), place("Transformation"));
    assert_eq!(problems(json!({"ExpectedBucketOwner": "1"})), place("ExpectedBucketOwner"));
}

/// A release that refuses more than the one before must open what that one has accepted.
#[test]
fn a_definition_that_is_refused_now_runs_on_where_an_earlier_release_accepted_it() {
    let definition =
        json!({"QueryLanguage": "JSONata", "StartAt": "A", "States": {"A": {"Type": "Pass", "End": true}}});
    let engine = with(&definition);
    let mut refused = definition;
    refused["TimeoutSeconds"] = "{% 5 %}".into();
    engine.engine.with(|rooms| {
        let rows = rooms.ctx.commit.reader.scan(Table::Machine, &[], None, 10).unwrap();
        let (key, row) = rows.first().unwrap().clone();
        let mut row: Value = serde_json::from_slice(&row).unwrap();
        row["definition"] = refused.to_string().into();
        rooms.ctx.commit.pending.set(Table::Machine, key, row.to_string().into_bytes());
        rooms.ctx.commit.pending.urgent = true;
    });
    let mut engine = engine.killed();
    engine.start("one", &json!({})).unwrap();
    engine.advance(SECOND);
    assert_eq!(engine.execution("one")["status"], "SUCCEEDED");
    let declare = |definition: &Value| {
        engine.asked("workflow.declare", &json!({"name": "w", "definition": definition.to_string()}))
    };
    assert_eq!(declare(&refused).unwrap()["revision"], 1, "an app that has not changed starts");
    refused["Comment"] = "changed".into();
    assert!(declare(&refused).unwrap_err().to_string().contains("/TimeoutSeconds"));
}

#[test]
fn executions_that_ended_90_days_ago_are_removed() {
    let wait = json!({"StartAt": "Rest", "States": {"Rest": {"Type": "Wait", "Seconds": 31_536_000, "End": true}}});
    let mut engine = with(&wait);
    engine.start("long", &json!({})).unwrap();
    engine.start("short", &json!({})).unwrap();
    engine.json("execution.stop", &json!({"workflow": "w", "name": "short"}));
    let list = |engine: &TestEngine| {
        let page = engine.json("execution.list", &json!({"workflow": "w", "limit": 10}));
        let names = page["executions"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap().to_owned());
        names.collect::<Vec<_>>()
    };
    engine.advance(SECOND);
    assert_eq!(list(&engine), ["short", "long"], "the latest first");
    engine.advance(91 * 86_400 * SECOND);
    engine.advance(60 * SECOND);
    assert_eq!(list(&engine), ["long"]);
    engine.start("short", &json!({})).unwrap();
}

#[test]
fn another_room_begins_an_execution_in_the_commit_under_way() {
    let engine = with(&order());
    let start = |input: &str, hops| engine.engine.with(|rooms| rooms.ctx.start_execution("w", input, hops));
    let id = start("{\"id\": 7}", 3).unwrap();
    let mut engine_killed = engine.killed();
    let name = crate::base::ids::uuid_text(id);
    assert_eq!(engine_killed.execution(&name)["input"], "{\"id\": 7}");
    assert_eq!(payload(&engine_killed.only_call()), json!({"id": 7}));
    let start = |workflow: &str, input: &str, hops| {
        engine_killed.engine.with(|rooms| rooms.ctx.start_execution(workflow, input, hops)).unwrap_err()
    };
    assert_eq!(
        start("none", "{}", 0),
        EngineError::NotFound("State Machine Does Not Exist: 'arn:aws:states:r:0:stateMachine:none'".into())
    );
    assert!(start("w", "{", 0).to_string().starts_with("Invalid State Machine Execution Input: '"));
    assert!(start("w", "{}", 16).to_string().contains("16 executions have started one another"));
    engine_killed.advance(SECOND);
    // What a full disk refuses does not begin later.
    engine_killed.store.fail(1, Fault::Full, Repeat::Always);
    let refused = engine_killed.engine.with(|rooms| rooms.ctx.start_execution("w", "{}", 0)).unwrap();
    engine_killed.advance(SECOND);
    engine_killed.store.mend();
    engine_killed.advance(SECOND);
    let name = crate::base::ids::uuid_text(refused);
    assert!(engine_killed.asked("execution.describe", &json!({"workflow": "w", "name": name})).is_err());
}
