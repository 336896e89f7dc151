//! Distributed Maps: children that a kill repeats or loses none of, failures that are borne, and children that are given up.

use serde_json::{json, Value};

use crate::api::map_run::MapRunNamed;
use crate::base::error::EngineError;
use crate::dispatch::attempts::{Task, Work};
use crate::runtime::test_engine::{queue, TestEngine, SECOND};
use crate::store::fault::{Fault, Repeat};
use crate::store::port::Table;
use crate::workflows::row::RunId;
use crate::workflows::tests::{arn, function, payload};

fn machine(kind: &str, more: Value) -> Value {
    let processor = json!({"StartAt": "Call", "States": {"Call": {"Type": "Task", "Resource": arn("f"), "End": true}},
        "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": kind}});
    let mut map = json!({"Type": "Map", "MaxConcurrency": 3, "ItemProcessor": processor, "End": true});
    map.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"StartAt": "Each", "States": {"Each": map}})
}

fn with(definition: &Value) -> TestEngine {
    let engine = TestEngine::new();
    engine.register(function("f"));
    engine.json("queue.declare", &queue("q"));
    engine.workflow("w", definition);
    engine
}

fn number(work: &Work) -> u64 {
    payload(work).as_u64().unwrap()
}

#[test]
fn a_kill_repeats_and_loses_no_child() {
    for kind in ["STANDARD", "EXPRESS"] {
        let mut engine = with(&machine(kind, json!({})));
        engine.start("one", &json!([0, 1, 2, 3, 4, 5, 6])).unwrap();
        let mut told = Vec::new();
        for _ in 0..7 {
            let calls = engine.calls();
            assert!(calls.len() <= 3, "{kind}: at most three at once");
            let call = &calls[0];
            told.push(number(call));
            engine.end_call(call, 0, &(number(call) * 2).to_string());
            engine = engine.killed();
        }
        told.sort_unstable();
        assert_eq!(told, [0, 1, 2, 3, 4, 5, 6], "{kind}");
        assert!(engine.calls().is_empty());
        let one = engine.execution("one");
        assert_eq!((&one["status"], &one["output"]), (&json!("SUCCEEDED"), &json!("[0,2,4,6,8,10,12]")), "{kind}");
        let kinds = engine.kinds("one");
        for once in ["MapRunStarted", "MapRunSucceeded", "MapStateSucceeded"] {
            assert_eq!(kinds.iter().filter(|kind| *kind == once).count(), 1, "{once} in {kinds:?}");
        }
        engine.advance(SECOND);
    }
}

#[test]
fn failures_within_the_threshold_are_borne_and_others_fail_the_state_and_stop_its_children() {
    let mut engine = with(&machine("STANDARD", json!({"ToleratedFailureCount": 1})));
    engine.start("one", &json!([0, 1, 2, 3])).unwrap();
    let calls = engine.calls();
    engine.end_call(&calls[0], 1, "{\"errorType\": \"Bad\"}");
    assert_eq!(engine.execution("one")["status"], "RUNNING");
    engine.end_call(&calls[1], 1, "{\"errorType\": \"Bad\"}");
    engine.advance(SECOND);
    let one = engine.execution("one");
    assert_eq!((&one["status"], &one["error"]), (&json!("FAILED"), &json!("States.ExceedToleratedFailureThreshold")));
    engine.end_call(&calls[2], 2, "{}");
    assert!(engine.calls().iter().all(|work| matches!(work.task, Task::Cancel)));
    // What failed is run again, what succeeded is not.
    engine.json("execution.redrive", &json!({"workflow": "w", "name": "one"}));
    let mut engine = engine.killed();
    for _ in 0..4 {
        let call = engine.calls().remove(0);
        engine.end_call(&call, 0, &number(&call).to_string());
        engine = engine.killed();
    }
    assert_eq!(engine.execution("one")["output"], "[0,1,2,3]");
}

/// A child that goes on has its history, and what it had done is not done again.
#[test]
fn children_that_failed_go_on_from_where_they_failed_after_a_redrive() {
    let steps = json!({"StartAt": "Tell", "States": {
        "Tell": {"Type": "Task", "Resource": "arn:aws:states:::sqs:sendMessage", "ResultPath": null, "Next": "Call",
            "Parameters": {"QueueUrl": "q", "MessageBody.$": "$"}},
        "Call": {"Type": "Task", "Resource": arn("f"), "End": true}}});
    let mut definition = machine("STANDARD", json!({}));
    for (name, part) in steps.as_object().unwrap() {
        definition["States"]["Each"]["ItemProcessor"][name] = part.clone();
    }
    let mut engine = with(&definition);
    engine.start("one", &json!(["0", "1", "2"])).unwrap();
    let calls = engine.calls();
    engine.end_call(&calls[1], 0, "\"b\"");
    engine.end_call(&calls[0], 1, "{\"errorType\": \"Bad\"}");
    engine.advance(SECOND);
    assert_eq!(engine.execution("one")["status"], "FAILED");
    let engine = engine.killed();
    engine.json("execution.redrive", &json!({"workflow": "w", "name": "one"}));
    let mut engine = engine.killed();
    let calls = engine.calls();
    assert_eq!(calls.iter().map(payload).collect::<Vec<_>>(), ["0", "2"]);
    for call in &calls {
        engine.end_call(call, 0, &format!("\"{}\"", payload(call).as_str().unwrap()));
    }
    engine.advance(SECOND);
    assert_eq!(engine.execution("one")["output"], r#"["0","b","2"]"#);
    assert_eq!(engine.received("q").len(), 3, "each child tells once");
    let runs = engine.json("map_run.list", &json!({"workflow": "w", "name": "one"}));
    let run = &runs["map_runs"][0];
    assert_eq!((&run["redrive_count"], &run["succeeded"], &run["failed"]), (&json!(1), &json!(3), &json!(0)), "{run}");
}

/// It told what the store did not have yet: after a crash the numbers went back.
#[test]
fn what_is_told_of_a_run_is_durable() {
    let engine = with(&machine("STANDARD", json!({})));
    engine.start("one", &json!([0, 1, 2])).unwrap();
    assert_eq!(engine.calls().len(), 3);
    let mut engine = engine.reopened_slowly();
    engine.register(function("f"));
    (0..9).for_each(|_| engine.engine.disk_done());
    let call = engine.calls().remove(0);
    let list = |engine: &TestEngine| {
        engine.json("map_run.list", &json!({"workflow": "w", "name": "one"}))["map_runs"][0].clone()
    };
    let described = |engine: &TestEngine| engine.json("map_run.describe", &json!({"arn": list(engine)["arn"]}));
    engine.end_call(&call, 0, "1");
    for told in [list(&engine), described(&engine)] {
        assert_eq!((&told["running"], &told["succeeded"]), (&json!(3), &json!(0)));
    }
    (0..9).for_each(|_| engine.engine.disk_done());
    for told in [list(&engine), described(&engine)] {
        assert_eq!((&told["running"], &told["succeeded"]), (&json!(2), &json!(1)));
    }
}

/// The rows of 10,000 executions were read under the engine's lock, and a run of an older one was not found. Later the reader read all rows
/// of the machine, also where the ARN was that of no run.
#[test]
fn a_run_is_found_by_its_name_however_many_executions_came_after_it() {
    let mut engine = with(&machine("STANDARD", json!({})));
    engine.start("one", &json!([7])).unwrap();
    let call = engine.only_call();
    let run = engine.json("map_run.list", &json!({"workflow": "w", "name": "one"}))["map_runs"][0]["arn"].clone();
    let described = |engine: &TestEngine| engine.asked("map_run.describe", &json!({"arn": run}));
    assert_eq!(described(&engine).unwrap()["status"], "RUNNING");
    engine.end_call(&call, 0, "1");
    engine.json("execution.start_many", &json!({"workflow": "w", "inputs": vec!["[]"; 1_100]}));
    engine.advance(SECOND);
    let told = described(&engine).unwrap();
    let arn = engine.execution("one")["arn"].clone();
    assert_eq!((&told["status"], &told["succeeded"], &told["execution_arn"]), (&json!("SUCCEEDED"), &json!(1), &arn));
    let unknown = format!("{}0", run.as_str().unwrap());
    let error = engine.asked("map_run.describe", &json!({"arn": unknown})).unwrap_err();
    assert_eq!(error, EngineError::NotFound(format!("Resource not found: '{unknown}'")));
    let told = engine.engine.with(|rooms| rooms.state_machines().map_run_describe(MapRunNamed { arn: unknown }));
    assert!(matches!(told, Err(EngineError::NotFound(_))), "it is known at once");
    let elsewhere = run.as_str().unwrap().replace(":r:", ":q:");
    assert!(engine.asked("map_run.describe", &json!({"arn": elsewhere})).is_err());
    // One without an item has no child.
    engine.start("none", &json!([])).unwrap();
    let none = engine.json("map_run.list", &json!({"workflow": "w", "name": "none"}))["map_runs"][0].clone();
    let told = engine.json("map_run.describe", &json!({"arn": none["arn"]}));
    assert_eq!((&told, &told["status"]), (&none, &json!("SUCCEEDED")));
    let name = none["arn"].as_str().unwrap().split_once(":mapRun:").unwrap().1;
    let children = engine.json("execution.list", &json!({"workflow": name, "limit": 10}))["executions"].clone();
    assert_eq!(children, json!([]));
    // Only what stands behind the name of its workflow is one of its own.
    let slashed = json!({"workflow": "w", "name": format!("/{}", name.split_once('/').unwrap().1)});
    assert!(matches!(engine.asked("execution.describe", &slashed), Err(EngineError::NotFound(_))));
}

#[test]
fn the_children_of_a_stopped_execution_stop() {
    for kind in ["STANDARD", "EXPRESS"] {
        let mut engine = with(&machine(kind, json!({})));
        engine.start("one", &json!([0, 1, 2, 3])).unwrap();
        assert_eq!(engine.calls().len(), 3);
        engine.json("execution.stop", &json!({"workflow": "w", "name": "one"}));
        engine.advance(SECOND);
        let engine = engine.killed();
        assert!(engine.calls().is_empty(), "{kind}");
        engine.json("workflow.delete", &json!({"name": "w"}));
    }
}

/// They ran on without a parent: the step that had begun them was taken back, and began others.
#[test]
fn express_children_begin_when_the_step_that_begins_them_is_on_the_disk() {
    let mut engine = with(&machine("EXPRESS", json!({})));
    engine.store.fail(1, Fault::Full, Repeat::Always);
    assert!(engine.start("one", &json!([0, 1])).is_err());
    assert!(engine.calls().is_empty());
    engine.store.mend();
    engine.advance(SECOND);
    engine.start("one", &json!([0, 1])).unwrap();
    let calls = engine.calls();
    assert_eq!(calls.len(), 2);
    for call in &calls {
        engine.end_call(call, 0, &number(call).to_string());
    }
    assert_eq!(engine.execution("one")["output"], "[0,1]");
    engine.json("workflow.delete", &json!({"name": "w"}));
}

#[test]
fn children_wait_for_tokens_of_their_own() {
    let send = json!({"StartAt": "Ask", "States": {"Ask": {"Type": "Task", "End": true,
        "Resource": "arn:aws:states:::sqs:sendMessage.waitForTaskToken",
        "Parameters": {"QueueUrl": "q", "MessageBody.$": "$$.Task.Token"}}},
        "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}});
    let map = json!({"StartAt": "Each", "States": {"Each": {"Type": "Map", "ItemProcessor": send, "End": true}}});
    let engine = with(&map);
    engine.start("one", &json!(["a", "b"])).unwrap();
    let engine = engine.killed();
    for (at, token) in engine.received("q").iter().enumerate() {
        engine.json("task.succeed", &json!({"token": token, "output": at.to_string()}));
    }
    let mut output: Vec<u64> = serde_json::from_str(engine.execution("one")["output"].as_str().unwrap()).unwrap();
    output.sort_unstable();
    assert_eq!(output, [0, 1]);
}

#[test]
fn thousands_of_items_are_mapped_inline_and_by_children() {
    let pass = json!({"StartAt": "Keep", "States": {"Keep": {"Type": "Pass", "End": true}}});
    let map = |processor: &Value| json!({"StartAt": "Each", "States": {"Each": {"Type": "Map", "ItemProcessor": processor, "End": true}}});
    let mut distributed = pass.clone();
    distributed["ProcessorConfig"] = json!({"Mode": "DISTRIBUTED", "ExecutionType": "EXPRESS"});
    // More inline would not fit into the 25,000 events of a history.
    for (processor, count) in [(pass, 5_000_u32), (distributed, 10_000)] {
        let mut engine = with(&map(&processor));
        let items: Vec<u32> = (0..count).collect();
        engine.start("one", &json!(items)).unwrap();
        engine.advance(SECOND);
        let one = engine.execution("one");
        assert_eq!(one["status"], "SUCCEEDED", "{}", one["cause"]);
        let output: Vec<u32> = serde_json::from_str(one["output"].as_str().unwrap()).unwrap();
        assert_eq!(output, items);
    }
}

/// An engine whose app reads and writes files.
fn with_files(definition: &Value) -> TestEngine {
    let engine = TestEngine::new();
    engine.register(function("f"));
    engine.register(function("forebay-integrations"));
    let files = json!({"resources": ["s3:getObject", "s3:putObject"], "parameters": {}});
    engine.json("integration.declare", &files);
    engine.workflow("w", definition);
    engine
}

fn reader() -> Value {
    json!({"Resource": "arn:aws:states:::s3:getObject", "ReaderConfig": {"InputType": "JSON"},
        "Parameters": {"Bucket": "b", "Key": "k"}})
}

/// Calls of functions, without those that are taken back.
fn begun(engine: &TestEngine) -> Vec<Work> {
    engine.calls().into_iter().filter(|work| matches!(work.task, Task::Event(_))).collect()
}

/// The page of a Map that had failed and was caught came after the next Map had begun to read: it was the first page of that one.
#[test]
fn a_page_comes_to_the_map_that_has_asked_for_it() {
    let mut definition = machine(
        "EXPRESS",
        json!({"ItemReader": reader(), "Next": "Other",
        "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "Other"}]}),
    );
    definition["States"]["Other"] = machine("EXPRESS", json!({"ItemReader": reader()}))["States"]["Each"].clone();
    let _end = definition["States"]["Each"].as_object_mut().unwrap().remove("End");
    let mut inner = definition["States"]["Other"]["ItemProcessor"].clone();
    inner["States"] = json!({"Call again": inner["States"]["Call"]});
    inner["StartAt"] = json!("Call again");
    definition["States"]["Other"]["ItemProcessor"] = inner;
    let mut engine = with_files(&definition);
    engine.start("one", &json!({})).unwrap();
    let first = begun(&engine).remove(0);
    engine.end_call(&first, 0, &json!({"items": [0], "next": 1}).to_string());
    let (pages, calls): (Vec<_>, Vec<_>) = begun(&engine).into_iter().partition(|work| payload(work).is_object());
    engine.end_call(&calls[0], 1, "{\"errorType\": \"Bad\"}");
    engine.end_call(&pages[0], 0, &json!({"items": ["of the first"], "next": null}).to_string());
    let read = begun(&engine).remove(0);
    engine.end_call(&read, 0, &json!({"items": ["of the other"], "next": null}).to_string());
    let call = begun(&engine).remove(0);
    assert_eq!(payload(&call), "of the other");
    engine.end_call(&call, 0, "1");
    assert_eq!(engine.execution("one")["output"], "[1]");
}

/// They all ran at once after a redrive. What failed in memory has its input in a row.
#[test]
fn children_that_failed_run_no_more_at_once_after_a_redrive_than_before() {
    for kind in ["STANDARD", "EXPRESS"] {
        let mut engine = with(&machine(kind, json!({"MaxConcurrency": 1, "ToleratedFailureCount": 2})));
        engine.start("one", &json!([7, 8, 9, 10])).unwrap();
        for _ in 0..3 {
            let call = engine.only_call();
            engine.end_call(&call, 1, "{\"errorType\": \"Bad\"}");
        }
        engine.advance(SECOND);
        assert_eq!(engine.execution("one")["error"], "States.ExceedToleratedFailureThreshold", "{kind}");
        let engine_killed = engine.killed();
        engine_killed.json("execution.redrive", &json!({"workflow": "w", "name": "one"}));
        let mut engine = engine_killed.killed();
        for item in 7..11 {
            let call = engine.only_call();
            assert_eq!(number(&call), item, "{kind}");
            engine.end_call(&call, 0, &item.to_string());
            engine = engine.killed();
        }
        assert_eq!(engine.execution("one")["output"], "[7,8,9,10]", "{kind}");
    }
}

fn writer() -> Value {
    json!({"Resource": "arn:aws:states:::s3:putObject", "Parameters": {"Bucket": "b"}})
}

/// A long Map's first children were removed after 90 days, and what was written was short: nothing said so.
#[test]
fn children_of_a_map_that_runs_stay_as_long_as_it_does() {
    let rest = json!({"StartAt": "Rest", "States": {"Rest": {"Type": "Wait", "SecondsPath": "$", "End": true}},
        "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}});
    let mut engine = with_files(&machine("STANDARD", json!({"ItemProcessor": rest, "ResultWriter": writer()})));
    engine.start("one", &json!([0, 100 * 86_400])).unwrap();
    engine.advance(91 * 86_400 * SECOND);
    engine.advance(60 * SECOND);
    engine.advance(9 * 86_400 * SECOND);
    let run = payload(&begun(&engine)[0])["map_run"].as_u64().unwrap();
    let results = engine.json("map_run.results", &json!({"map_run": run, "limit": 10}));
    let inputs: Vec<&Value> = results["children"].as_array().unwrap().iter().map(|child| &child["input"]).collect();
    assert_eq!(inputs, ["0", "8640000"]);
}

#[test]
fn results_that_are_not_there_are_an_error() {
    let mut engine = with_files(&machine("STANDARD", json!({"ResultWriter": writer()})));
    engine.start("one", &json!([1, 2, 3])).unwrap();
    for call in begun(&engine) {
        engine.end_call(&call, 0, "1");
    }
    engine.advance(SECOND);
    let run = payload(&begun(&engine)[0])["map_run"].as_u64().unwrap();
    let results = |engine: &TestEngine, after: Value| {
        let page = engine.asked("map_run.results", &json!({"map_run": run, "limit": 2, "after": after}))?;
        Ok::<_, EngineError>((page["children"].as_array().unwrap().len(), page["next"].clone()))
    };
    assert_eq!(results(&engine, Value::Null).unwrap(), (2, json!(1)));
    assert_eq!(results(&engine, json!(1)).unwrap(), (1, Value::Null));
    let last = RunId { machine: run, number: 2 };
    engine.engine.with(|rooms| rooms.ctx.commit.pending.remove(Table::Execution, last.bytes()));
    assert!(results(&engine, json!(1)).unwrap_err().to_string().contains("child 2 of 3"));
}

/// An alert on executions that failed rang for a child whose failure its Map bears.
#[test]
fn children_are_not_counted_as_executions_of_their_workflow() {
    for kind in ["STANDARD", "EXPRESS"] {
        let mut engine = with(&machine(kind, json!({"ToleratedFailureCount": 1})));
        engine.start("one", &json!([0, 1])).unwrap();
        let calls = engine.calls();
        engine.end_call(&calls[0], 0, "0");
        engine.end_call(&calls[1], 1, "{\"errorType\": \"E\"}");
        engine.advance(SECOND);
        assert_eq!(engine.execution("one")["status"], "SUCCEEDED");
        let counted = engine.engine.with(|rooms| {
            let meters = &rooms.workflows.machine("w").unwrap().meters;
            [meters.started.get(), meters.succeeded.get(), meters.failed.get()]
        });
        assert_eq!(counted, [1, 1, 0], "{kind}");
    }
}
