//! Durable functions that invoke durable functions: each execution begins and ends once, and its end is told, whenever the process dies.

use serde_json::{json, Value};

use crate::base::error::EngineError;
use crate::dispatch::attempts::{Settled, Work};
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
    assert!(engine.calls().is_empty(), "there is nothing to tell them");
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

fn wait(id: &str, seconds: u64) -> Value {
    json!({"Id": id, "Type": "WAIT", "Action": "START", "WaitOptions": {"WaitSeconds": seconds}})
}

/// A restart ran every waiting function again, a hundred thousand of them at once, though nothing was due.
#[test]
fn a_restart_runs_a_waiting_function_when_something_is_due_and_one_that_ran_at_once() {
    let engine = declared(TestEngine::new());
    for name in ["waits", "runs", "due"] {
        engine.json("execution.start", &json!({"workflow": "outer", "name": name, "input": "{}"}));
    }
    let mut engine = engine;
    let name = |call: &Work| {
        payload(call)["DurableExecutionArn"].as_str().unwrap().split([':', '/']).nth(7).unwrap().to_owned()
    };
    let mut names: Vec<String> = Vec::new();
    for call in engine.calls() {
        names.push(name(&call));
        engine.write(&call, &wait("1", if name(&call) == "due" { 3_600 } else { 86_400 })).unwrap();
        if name(&call) != "runs" {
            engine.waits(&call);
        }
    }
    names.sort();
    assert_eq!(names, ["due", "runs", "waits"]);
    engine.advance(SECOND);
    engine = killed(engine);
    assert_eq!(name(&engine.only_call()), "runs");
    engine = killed(engine);
    let runs = engine.only_call();
    assert_eq!(name(&runs), "runs", "it had not answered");
    engine.waits(&runs);
    engine.advance(3_600 * SECOND);
    let due = engine.only_call();
    assert_eq!((name(&due), &payload(&due)["UpdatedOperationIds"]), ("due".to_owned(), &json!(["1"])));
    // It dies while it runs, and has written nothing since it was told.
    let mut engine = killed(engine);
    let due = engine.only_call();
    assert_eq!(name(&due), "due");
    engine.end_call(&due, 0, "{\"Status\": \"SUCCEEDED\"}");
    engine.advance(86_400 * SECOND);
    let called = engine.answer_calls(|engine, _, call| engine.end_call(call, 0, "{\"Status\": \"SUCCEEDED\"}"));
    assert_eq!((called.len(), engine.statuses("outer")), (2, vec!["SUCCEEDED".to_owned(); 3]));
}

#[test]
fn a_function_runs_again_if_that_it_waits_was_not_on_disk() {
    let engine = declared(TestEngine::new());
    let call = engine.start_outer();
    engine.write(&call, &wait("1", 86_400)).unwrap();
    let body = Some(b"{\"Status\": \"PENDING\"}".to_vec());
    engine.engine.exchange(vec![Settled { token: call.token, status: 0, body, duration_ns: 1 }], 0);
    let mut engine = killed(engine);
    let again = engine.only_call();
    engine.waits(&again);
    assert!(killed(engine).calls().is_empty());
}

/// The numbers of tokens were counted in memory: the next process gave the same one again, and took what a handler of the one before wrote.
#[test]
fn a_handler_that_outlives_its_process_writes_nothing() {
    let engine = declared(TestEngine::new());
    let first = engine.start_outer();
    let mut crashed = engine.crashed();
    crashed.now.entropy += 1; // as the clock of another process
    let engine = killed(crashed);
    let second = engine.only_call();
    let told = engine.write(&first, &wait("1", 60));
    assert!(told.unwrap_err().to_string().contains("Invalid checkpoint token"));
    engine.write(&second, &wait("1", 60)).unwrap();
}
