//! Executions that are stopped, redriven or deleted, and functions that kill their process.

use std::time::Instant;

use forebay_core::workflow::machine::TaskId;
use serde_json::{json, Value};

use crate::base::error::EngineError;
use crate::base::limits::BucketSettings;
use crate::dispatch::attempts::{Settled, Task};
use crate::runtime::test_engine::{TestEngine, SECOND};
use crate::store::fault::{Fault, Repeat};
use crate::store::port::Table;
use crate::workflows::row::{CallKind, OpenCall};
use crate::workflows::tests::{arn, function, payload};

fn two_calls() -> Value {
    json!({"StartAt": "First", "States": {
        "First": {"Type": "Task", "Resource": arn("f"), "ResultPath": "$.first", "Next": "Second"},
        "Second": {"Type": "Task", "Resource": arn("f"), "End": true}}})
}

fn with(definition: &Value) -> TestEngine {
    let engine = TestEngine::new();
    engine.register(function("f"));
    engine.workflow("w", definition);
    engine
}

#[test]
fn a_failed_execution_goes_on_where_it_failed_with_the_definition_that_it_began_with() {
    let mut engine = with(&two_calls());
    engine.start("one", &json!({})).unwrap();
    let first = engine.only_call();
    engine.end_call(&first, 0, "1");
    let second = engine.only_call();
    engine.end_call(&second, 1, "{\"errorType\": \"Down\"}");
    assert_eq!(engine.execution("one")["status"], "FAILED");
    engine.workflow("w", &json!({"StartAt": "Done", "States": {"Done": {"Type": "Succeed"}}}));
    let mut engine = engine.killed();
    let told = engine.json("execution.redrive", &json!({"workflow": "w", "name": "one"}));
    assert_eq!((&told["status"], &told["redrive_count"]), (&json!("RUNNING"), &json!(1)));
    let again = engine.asked("execution.redrive", &json!({"workflow": "w", "name": "one"})).unwrap_err();
    assert!(again.to_string().ends_with("is running"), "{again}");
    let engine_killed = engine.killed();
    engine = engine_killed;
    let second = engine.only_call();
    assert_eq!(payload(&second), json!({"first": 1}), "the first call is not made again");
    engine.end_call(&second, 0, "2");
    let mut engine = engine.killed();
    assert_eq!(engine.execution("one")["output"], "2");
    assert_eq!(engine.kinds("one").iter().filter(|kind| *kind == "ExecutionRedriven").count(), 1);
    let over = engine.asked("execution.redrive", &json!({"workflow": "w", "name": "one"})).unwrap_err();
    assert!(over.to_string().contains("has succeeded"), "{over}");
    engine.advance(SECOND);
}

#[test]
fn what_a_failed_execution_left_goes_after_14_days() {
    let mut engine = with(&json!({"StartAt": "No", "States": {"No": {"Type": "Fail", "Error": "E"}}}));
    engine.start("one", &json!({})).unwrap();
    engine.advance(SECOND);
    let left = |engine: &TestEngine| {
        engine.engine.with(|rooms| rooms.ctx.commit.reader.scan(Table::ExecutionClosed, &[], None, 10)).unwrap().len()
    };
    assert_eq!(left(&engine), 1);
    engine.advance(15 * 86_400 * SECOND);
    engine.advance(60 * SECOND);
    assert_eq!(left(&engine), 0);
    assert!(engine.asked("execution.redrive", &json!({"workflow": "w", "name": "one"})).is_err());
    assert_eq!(engine.execution("one")["status"], "FAILED");
}

#[test]
fn a_full_disk_refuses_a_redrive_and_the_execution_can_be_redriven_later() {
    let mut engine = with(&two_calls());
    engine.start("one", &json!({})).unwrap();
    let first = engine.only_call();
    engine.end_call(&first, 1, "{\"errorType\": \"Down\"}");
    engine.store.fail(1, Fault::Full, Repeat::Always);
    let redrive = json!({"workflow": "w", "name": "one"});
    assert!(engine.asked("execution.redrive", &redrive).is_err());
    engine.store.mend();
    engine.advance(SECOND);
    assert!(engine.calls().is_empty());
    assert_eq!(engine.execution("one")["status"], "FAILED");
    engine.json("execution.redrive", &redrive);
    assert_eq!(engine.calls().len(), 1);
}

#[test]
fn a_function_is_stopped_with_its_execution() {
    let mut engine = with(&two_calls());
    engine.start("one", &json!({})).unwrap();
    let call = engine.only_call();
    engine.json("execution.stop", &json!({"workflow": "w", "name": "one"}));
    let stopped = engine.only_call();
    assert!(matches!(stopped.task, Task::Cancel) && stopped.token == call.token, "{stopped:?}");
    engine.end_call(&call, 2, "{}");
    assert_eq!(engine.execution("one")["status"], "ABORTED");
    assert!(engine.calls().is_empty());
}

/// The first death is one in company. It was given up after two deaths alone, where the log says three and an event has three.
#[test]
fn a_function_that_kills_its_process_is_not_called_without_end() {
    let mut engine = with(&two_calls());
    engine.start("one", &json!({})).unwrap();
    let mut calls = 0;
    while !engine.calls().is_empty() {
        calls += 1;
        assert!(calls <= 5, "it is called again and again");
        engine = engine.killed();
    }
    assert_eq!(calls, 4);
    engine.advance(SECOND);
    let told = engine.execution("one");
    assert_eq!((&told["status"], &told["error"]), (&json!("FAILED"), &json!("Lambda.Unknown")));
}

#[test]
fn a_workflow_is_deleted_with_its_executions_once_none_of_them_runs() {
    let mut engine = with(&two_calls());
    engine.start("one", &json!({})).unwrap();
    let refused = engine.asked("workflow.delete", &json!({"name": "w"})).unwrap_err();
    assert!(refused.to_string().contains("1 executions that run"), "{refused}");
    engine.json("execution.stop", &json!({"workflow": "w", "name": "one"}));
    engine.advance(SECOND);
    engine.json("workflow.delete", &json!({"name": "w"}));
    assert!(matches!(engine.start("two", &json!({})), Err(EngineError::NotFound(_))));
    engine.advance(60 * SECOND);
    engine.advance(SECOND);
    let engine = engine.killed();
    for table in [Table::Machine, Table::Execution, Table::History, Table::ExecutionName, Table::ExecutionClosed] {
        let left = engine.engine.with(|rooms| rooms.ctx.commit.reader.scan(table, &[], None, 10)).unwrap();
        assert!(left.is_empty(), "{table:?}");
    }
    engine.workflow("w", &two_calls());
    engine.start("one", &json!({})).unwrap();
}

/// As on AWS: whoever waits for an execution stops it with itself.
#[test]
fn an_execution_that_is_stopped_stops_the_one_that_it_waits_for() {
    let rest = |seconds: u32| json!({"StartAt": "Rest", "States": {"Rest": {"Type": "Wait", "Seconds": seconds, "End": true}}});
    let starts = |more: Value| {
        let mut task = json!({"Type": "Task", "Resource": "arn:aws:states:::states:startExecution.sync:2", "End": true,
            "Parameters": {"StateMachineArn": "arn:aws:states:r:0:stateMachine:child", "Input": {}, "Name.$": "$.child"}});
        task.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"StartAt": "Start", "States": {"Start": task}})
    };
    let engine = with(&starts(json!({"TimeoutSeconds": 100})));
    engine.workflow("child", &rest(1_000));
    let status = |engine: &TestEngine, name: &str| {
        engine.json("execution.describe", &json!({"workflow": "child", "name": name}))["status"].clone()
    };
    engine.start("stopped", &json!({"child": "a"})).unwrap();
    engine.start("late", &json!({"child": "b"})).unwrap();
    engine.workflow("child", &rest(10));
    engine.start("waits", &json!({"child": "c"})).unwrap();
    let mut engine = engine.killed();
    engine.json("execution.stop", &json!({"workflow": "w", "name": "stopped"}));
    assert_eq!((status(&engine, "a"), status(&engine, "b")), (json!("ABORTED"), json!("RUNNING")));
    engine.advance(11 * SECOND);
    assert_eq!((&engine.execution("waits")["status"], status(&engine, "c")), (&json!("SUCCEEDED"), json!("SUCCEEDED")));
    engine.advance(90 * SECOND);
    assert_eq!(
        (&engine.execution("late")["error"], status(&engine, "b")),
        (&json!("States.Timeout"), json!("ABORTED"))
    );
}

#[test]
fn events_of_a_standard_workflow_are_logged_to_its_group() {
    let engine = TestEngine::new();
    let machine = json!({"StartAt": "Fail", "States": {"Fail": {"Type": "Fail", "Error": "Broken"}}}).to_string();
    let declare = |level: &str| json!({"name": "w", "definition": machine, "log_level": level, "log_group": "g"});
    let refused = engine.asked("workflow.declare", &declare("ALL")).unwrap_err().to_string();
    assert_eq!(refused, "Invalid Logging Configuration: there is no log group \"g\"");
    engine.json("stream.declare", &json!({"name": "log:g", "shards": 1, "retention_ms": 86_400_000}));
    engine.json("workflow.declare", &declare("FATAL"));
    engine.start("one", &json!({"n": 1})).unwrap();
    engine.json("workflow.declare", &declare("OFF"));
    engine.start("two", &json!({"n": 1})).unwrap();
    let read = json!({"name": "log:g", "position": "TRIM_HORIZON", "limit": 100});
    let read = engine.json("stream.read", &read);
    let records = read["records"].as_array().unwrap();
    assert_eq!(records.len(), 1, "{read}");
    assert_eq!(records[0]["partition_key"], "states/w");
    // A group that is gone is no reason to fail.
    engine.json("workflow.declare", &declare("ALL"));
    engine.json("stream.delete", &json!({"name": "log:g"}));
    engine.start("three", &json!({"n": 1})).unwrap();
    assert_eq!(engine.execution("three")["error"], "Broken");
}

#[test]
fn a_child_that_is_over_at_once_is_told_of_after_its_start() {
    // The end was brought first, and the history had no TaskSubmitted.
    let engine = TestEngine::new();
    engine.workflow("child", &json!({"StartAt": "F", "States": {"F": {"Type": "Fail", "Error": "Broken"}}}));
    let arn = engine.json("workflow.describe", &json!({"name": "child"}))["arn"].clone();
    let resource = "arn:aws:states:::states:startExecution.sync";
    let call = json!({"Type": "Task", "Resource": resource, "Parameters": {"StateMachineArn": arn}, "End": true});
    engine.workflow("w", &json!({"StartAt": "Call", "States": {"Call": call}}));
    engine.start("one", &json!({})).unwrap();
    let history = engine.json("execution.history", &json!({"workflow": "w", "name": "one", "limit": 1_000}));
    let events = history["events"].as_array().unwrap();
    let kinds: Vec<&str> = events.iter().filter_map(|event| event["type"].as_str()).collect();
    assert_eq!(kinds[4..], ["TaskSubmitted", "TaskFailed", "ExecutionFailed"]);
}

/// The executions whose end was told since somebody asked.
fn ended(engine: &TestEngine) -> Vec<Value> {
    engine.notices().into_iter().filter(|told| told["what"] == "execution ended").collect()
}

/// Whoever traces makes its spans out of its history. One whose start was not traced has none.
#[test]
fn the_end_of_an_execution_that_is_traced_is_told_when_it_is_durable() {
    let mut engine = with(&two_calls());
    let trace = format!("00-{}-{}-01", "1".repeat(32), "2".repeat(16));
    engine.json("execution.start", &json!({"workflow": "w", "name": "one", "input": "{}", "trace": trace}));
    engine.start("two", &json!({})).unwrap();
    engine.store.fail(1, Fault::Full, Repeat::Always);
    let stop = |name: &str| json!({"workflow": "w", "name": name});
    assert!(engine.asked("execution.stop", &stop("one")).is_err());
    assert!(ended(&engine).is_empty());
    engine.store.mend();
    engine.advance(SECOND);
    for name in ["one", "two"] {
        engine.json("execution.stop", &stop(name));
    }
    let told = ended(&engine);
    assert_eq!(told.len(), 1, "{told:?}");
    let fields = ["workflow", "name", "trace"].map(|field| told[0][field].as_str().unwrap_or_default());
    assert_eq!(fields, ["w", "one", trace.as_str()]);
}

/// It began when the app was started the next time.
#[test]
fn a_start_that_waited_for_the_rate_and_met_a_full_disk_begins_when_there_is_room() {
    let mut engine = TestEngine::new();
    engine.workflow("w", &json!({"StartAt": "A", "States": {"A": {"Type": "Pass", "End": true}}}));
    let one_a_second = Some(BucketSettings { per_second: 1.0, burst: 1 });
    engine.engine.with(|rooms| rooms.ctx.config.limits.workflows.transitions = one_a_second);
    engine.start("one", &json!({})).unwrap();
    engine.start("two", &json!({})).unwrap();
    assert_eq!((engine.execution("one")["status"].as_str(), engine.kinds("two").len()), (Some("SUCCEEDED"), 0));
    engine.store.fail(1, Fault::Full, Repeat::Always);
    engine.advance(2 * SECOND);
    engine.store.mend();
    for _ in 0..8 {
        engine.advance(SECOND);
    }
    assert_eq!(engine.execution("two")["status"], "SUCCEEDED");
}

/// States that earlier releases wrote have such calls. They stayed as long as the execution ran, and each restart made them again.
#[test]
fn a_call_that_no_state_waits_for_goes_with_its_end() {
    let mut engine =
        with(&json!({"StartAt": "Rest", "States": {"Rest": {"Type": "Wait", "Seconds": 60, "End": true}}}));
    engine.start("one", &json!({})).unwrap();
    engine.engine.with(|rooms| {
        let mut room = rooms.state_machines();
        let (&id, run) = room.workflows.runs.iter_mut().next().unwrap();
        let call = OpenCall { function: "f".to_owned(), payload: "1".into(), kind: CallKind::Plain };
        run.calls.insert(TaskId(9), call);
        room.participant().begin_call(id, TaskId(9), true);
    });
    let call = engine.only_call();
    engine.end_call(&call, 0, "1");
    engine.engine.with(|rooms| assert!(rooms.state_machines().workflows.runs.values().all(|run| run.calls.is_empty())));
    assert!(engine.killed().calls().is_empty());
}

/// Nothing in the log told of it: each workflow had to be listed to find what had failed.
#[test]
fn the_log_is_told_of_executions_that_fail() {
    let mut engine = TestEngine::new();
    engine.register(function("f"));
    let call = json!({"Type": "Task", "Resource": arn("f"), "End": true});
    let branch = json!({"StartAt": "Call", "States": {"Call": call}});
    let both = json!({"StartAt": "Both", "States": {"Both": {"Type": "Parallel", "End": true, "Branches": [branch]}}});
    // Of an Express one no states are kept.
    for (kind, state) in [("STANDARD", Some("Call")), ("EXPRESS", None)] {
        let declared = json!({"name": kind, "definition": both.to_string(), "type": kind});
        engine.json("workflow.declare", &declared);
        let start = |engine: &TestEngine, name: &str| {
            engine.json("execution.start", &json!({"workflow": kind, "name": name, "input": "{}"}))["arn"].clone()
        };
        start(&engine, "good");
        let work = engine.only_call();
        engine.end_call(&work, 0, "1");
        let failed = |engine: &TestEngine, settled: Vec<Settled>| {
            let told = engine.notices_with(settled);
            told.into_iter().filter(|one| one["what"] == "execution failed").collect::<Vec<Value>>()
        };
        assert!(failed(&engine, Vec::new()).is_empty());
        let arn = start(&engine, "bad");
        let work = engine.only_call();
        let body = Some(b"{\"errorType\": \"Boom\", \"errorMessage\": \"a secret\"}".to_vec());
        let told = failed(&engine, vec![Settled { token: work.token, status: 1, body, duration_ns: 1 }]);
        let expected = json!({
            "what": "execution failed", "of": kind, "count": 1, "arn": arn, "name": "bad", "status": "FAILED",
            "state": state, "error": "Boom",
        });
        assert_eq!(told, [expected]);
    }
}

/// `why` said of a call that waits behind another one what it says of one that runs.
#[test]
fn a_call_that_waits_for_its_turn_after_a_crash_says_what_runs_alone() {
    let mut engine = with(&two_calls());
    for name in ["one", "two"] {
        engine.start(name, &json!({})).unwrap();
    }
    assert_eq!(engine.calls().len(), 2);
    assert_eq!(engine.execution("one").get("waits"), None);
    engine = engine.killed();
    let call = engine.only_call();
    engine.start("three", &json!({})).unwrap();
    let waits = |engine: &TestEngine, name: &str| engine.execution(name)["waits"][0].clone();
    let behind = json!({"event": 2, "due_ms": null, "held_by": "crash", "alone": "execution one of workflow w"});
    assert_eq!(
        [waits(&engine, "one"), waits(&engine, "two"), waits(&engine, "three")],
        [json!(null), behind.clone(), behind]
    );
    engine.end_call(&call, 0, "1");
    assert_eq!(engine.calls().len(), 1);
    let behind = waits(&engine, "one");
    assert_eq!((&behind["held_by"], &behind["alone"]), (&json!("crash"), &json!("execution two of workflow w")));
}

/// A worker that owns the store for a while said that it would run again what the app did when it died.
#[test]
fn only_the_app_that_goes_on_tells_what_ran_when_the_last_process_died() {
    let engine = with(&two_calls());
    engine.start("one", &json!({})).unwrap();
    assert_eq!(engine.calls().len(), 1);
    let engine = engine.succeeded_by_a_client();
    assert_eq!(engine.notices(), Vec::<Value>::new());
    engine.engine.start().unwrap();
    assert_eq!(engine.notices(), [json!({"what": "interrupted", "of": "", "count": 1, "attempts": 1})]);
}

/// Each state that waited had all attempts looked through for what runs alone, under the engine's lock.
#[test]
fn what_runs_alone_after_a_crash_is_looked_for_once_for_all_states_that_wait() {
    let call = json!({"StartAt": "Call", "States": {"Call": {"Type": "Task", "Resource": arn("f"), "End": true}}});
    let each = |name: &str, one: &Value| json!({"StartAt": name, "States": {name: {"Type": "Map", "ItemProcessor": one, "End": true}}});
    let engine = with(&each("Outer", &each("Inner", &call)));
    engine.workflow("last", &call);
    engine.json("execution.start", &json!({"workflow": "last", "name": "alone", "input": "{}"}));
    let _killed_with = engine.only_call();
    engine.start("one", &json!([[1]])).unwrap();
    for number in 0..10 {
        engine.start(&format!("many-{number}"), &json!(vec![vec![1; 25]; 40])).unwrap();
    }
    let engine = engine.killed();
    assert_eq!(engine.calls().len(), 1);
    let least = |name: &str, count: usize| {
        let times = (0..5).map(|_| {
            let begun = Instant::now();
            let told = engine.execution(name);
            let took = begun.elapsed();
            let waits = told["waits"].as_array().unwrap();
            let alone = waits.last().map(|wait| &wait["alone"]);
            assert_eq!((waits.len(), alone), (count, Some(&json!("execution alone of workflow last"))));
            took
        });
        times.min().unwrap()
    };
    let (one, many) = (least("one", 1), least("many-0", 1_000));
    assert!(many < 20 * one, "{one:?} and {many:?}");
}
