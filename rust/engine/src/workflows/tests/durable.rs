//! Durable functions that invoke durable functions: each execution begins and ends once, and its end is told, whenever the process dies.

use serde_json::{json, Value};

use crate::base::error::EngineError;
use crate::dispatch::attempts::Work;
use crate::runtime::test_engine::{TestEngine, SECOND};
use crate::store::fault::{Fault, Repeat};
use crate::workflows::tests::{arn, function, payload};

/// What each process of the app declares.
fn declared(engine: TestEngine) -> TestEngine {
    for name in ["outer", "inner"] {
        engine.register(function(name));
        let run = json!({"Type": "Task", "Resource": "arn:aws:states:::forebay:durable", "End": true,
            "Parameters": {"FunctionName": arn(name), "Payload.$": "$"}});
        engine.workflow(name, &json!({"StartAt": "Run", "States": {"Run": run}}));
    }
    engine
}

fn killed(engine: TestEngine) -> TestEngine {
    declared(engine.crashed())
}

impl TestEngine {
    /// Answer calls until there are none; give the functions that were called.
    fn answer_calls(&mut self, mut answer: impl FnMut(&mut Self, &str, &Work)) -> Vec<String> {
        let mut called = Vec::new();
        loop {
            let calls = self.calls();
            if calls.is_empty() {
                called.sort();
                return called;
            }
            for call in calls {
                let event = payload(&call);
                let is_inner = event["DurableExecutionArn"].as_str().unwrap().contains(":inner:");
                let name = if is_inner { "inner" } else { "outer" };
                answer(self, name, &call);
                called.push(name.to_owned());
            }
        }
    }

    fn write(&self, call: &Work, update: &Value) -> Result<Value, EngineError> {
        let token = payload(call)["CheckpointToken"].clone();
        self.asked("durable.checkpoint", &json!({"token": token, "updates": [update]}))
    }

    fn ask_inner(&self, call: &Work) -> Result<Value, EngineError> {
        let update = json!({"Id": "1", "Type": "CHAINED_INVOKE", "Action": "START", "Payload": "{\"n\":1}",
            "ChainedInvokeOptions": {"FunctionName": "inner"}});
        self.write(call, &update)
    }

    fn waits(&mut self, call: &Work) {
        self.end_call(call, 0, "{\"Status\": \"PENDING\"}");
    }

    fn statuses(&self, workflow: &str) -> Vec<String> {
        let page = self.json("execution.list", &json!({"workflow": workflow, "limit": 10}));
        page["executions"].as_array().unwrap().iter().map(|one| one["status"].as_str().unwrap().to_owned()).collect()
    }

    fn start_outer(&self) -> Work {
        self.json("execution.start", &json!({"workflow": "outer", "name": "one", "input": "{}"}));
        self.only_call()
    }
}

#[test]
fn a_durable_function_waits_for_one_that_it_invoked_over_a_kill_at_each_commit() {
    let engine = declared(TestEngine::new());
    let call = engine.start_outer();
    let told = engine.ask_inner(&call).unwrap();
    assert_eq!(told["operations"][0]["Status"], "STARTED");
    let mut engine = killed(engine);
    let called = engine.answer_calls(|engine, name, call| {
        let operations = &payload(call)["InitialExecutionState"]["Operations"];
        if name == "inner" {
            assert_eq!(operations[0]["ExecutionDetails"]["InputPayload"], "{\"n\":1}");
            let wait = json!({"Id": "1", "Type": "WAIT", "Action": "START", "WaitOptions": {"WaitSeconds": 3_600}});
            engine.write(call, &wait).unwrap();
        } else {
            assert_eq!(operations[1]["Status"], "STARTED");
        }
        engine.waits(call);
    });
    assert_eq!(called, ["inner", "outer"], "both run again");
    let mut engine = killed(engine);
    assert_eq!(engine.answer_calls(|engine, _, call| engine.waits(call)), ["inner", "outer"]);
    engine.advance(3_600 * SECOND);
    let inner = engine.only_call();
    engine.end_call(&inner, 0, "{\"Status\": \"SUCCEEDED\", \"Result\": \"[7]\"}");
    // Nobody was told yet.
    let mut engine = killed(engine);
    let outer = engine.only_call();
    let operation = &payload(&outer)["InitialExecutionState"]["Operations"][1];
    assert_eq!(
        (&operation["Status"], &operation["ChainedInvokeDetails"]["Result"]),
        (&json!("SUCCEEDED"), &json!("[7]"))
    );
    engine.end_call(&outer, 0, "{\"Status\": \"SUCCEEDED\", \"Result\": \"8\"}");
    let engine = killed(engine);
    assert!(engine.calls().is_empty());
    assert_eq!(
        (engine.statuses("outer"), engine.statuses("inner")),
        (vec!["SUCCEEDED".into()], vec!["SUCCEEDED".into()])
    );
}

#[test]
fn what_a_full_disk_refuses_begins_no_execution() {
    let mut engine = declared(TestEngine::new());
    let call = engine.start_outer();
    engine.store.fail(1, Fault::Full, Repeat::Always);
    assert!(engine.ask_inner(&call).is_err());
    engine.store.mend();
    engine.advance(10 * SECOND);
    assert!(engine.statuses("inner").is_empty());
    engine.ask_inner(&call).unwrap();
    assert_eq!(engine.statuses("inner"), ["RUNNING"]);
}

#[test]
fn a_function_that_is_stopped_stops_the_one_that_it_invoked_and_one_that_ends_leaves_it() {
    for is_stopped in [true, false] {
        let mut engine = declared(TestEngine::new());
        let outer = engine.start_outer();
        engine.ask_inner(&outer).unwrap();
        let inner = engine.only_call();
        if is_stopped {
            engine.json("execution.stop", &json!({"workflow": "outer", "name": "one"}));
            engine.advance(SECOND);
            assert_eq!(
                (engine.statuses("outer"), engine.statuses("inner")),
                (vec!["ABORTED".into()], vec!["ABORTED".into()])
            );
        } else {
            engine.end_call(&outer, 0, "{\"Status\": \"SUCCEEDED\"}");
            assert_eq!(
                (engine.statuses("outer"), engine.statuses("inner")),
                (vec!["SUCCEEDED".into()], vec!["RUNNING".into()])
            );
            engine.end_call(&inner, 0, "{\"Status\": \"SUCCEEDED\"}");
            assert_eq!(engine.statuses("inner"), ["SUCCEEDED"]);
        }
    }
}

#[test]
fn the_end_of_an_execution_that_ended_in_a_release_before_is_told_after_the_upgrade() {
    let mut engine = declared(TestEngine::new());
    let outer = engine.start_outer();
    engine.ask_inner(&outer).unwrap();
    engine.waits(&outer);
    // That release runs the execution, and has nobody to tell.
    engine.engine.with(|rooms| {
        for run in rooms.workflows.runs.values_mut() {
            run.row.parent = None;
        }
    });
    let inner = engine.only_call();
    engine.end_call(&inner, 0, "{\"Status\": \"SUCCEEDED\", \"Result\": \"7\"}");
    assert!(engine.calls().is_empty());
    let mut engine = killed(engine);
    let mut told = json!(null);
    let called = engine.answer_calls(|engine, _, call| {
        told = payload(call)["InitialExecutionState"]["Operations"][1]["ChainedInvokeDetails"]["Result"].clone();
        engine.waits(call);
    });
    assert_eq!((told, called.contains(&"inner".to_owned())), (json!("7"), false));
}

#[test]
fn a_function_that_this_release_lacks_is_waited_for_when_what_it_invoked_ends() {
    let mut engine = declared(TestEngine::new());
    let outer = engine.start_outer();
    engine.ask_inner(&outer).unwrap();
    engine.waits(&outer);
    let mut engine = engine.crashed();
    engine.register(function("inner"));
    let inner = engine.only_call();
    engine.end_call(&inner, 0, "{\"Status\": \"SUCCEEDED\", \"Result\": \"7\"}");
    assert_eq!(
        (engine.statuses("outer"), engine.statuses("inner")),
        (vec!["RUNNING".into()], vec!["SUCCEEDED".into()])
    );
    engine.register(function("outer"));
    let outer = engine.only_call();
    assert_eq!(payload(&outer)["InitialExecutionState"]["Operations"][1]["Status"], "SUCCEEDED");
}
