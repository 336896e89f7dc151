//! Children of distributed Maps as they are asked for, and those of Maps in Maps.

use serde_json::{json, Value};

use crate::base::error::EngineError;
use crate::runtime::test_engine::{TestEngine, SECOND};
use crate::store::port::Table;
use crate::workflows::tests::{arn, function, payload};

fn distributed(flow: &Value) -> Value {
    let mut processor = flow.clone();
    processor["ProcessorConfig"] = json!({"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"});
    json!({"StartAt": "Each", "States": {"Each": {"Type": "Map", "ItemProcessor": processor, "End": true}}})
}

fn with(definition: &Value) -> TestEngine {
    let engine = TestEngine::new();
    engine.register(function("f"));
    engine.workflow("w", definition);
    engine
}

fn call() -> Value {
    json!({"StartAt": "Call", "States": {"Call": {"Type": "Task", "Resource": arn("f"), "End": true}}})
}

/// The machine of a child's child was looked for by the number of a Map's run: after a restart the store was "damaged".
#[test]
fn the_children_of_a_map_in_a_map_go_on_after_a_kill() {
    let mut inner = distributed(&call());
    inner["States"] = json!({"Inner": inner["States"]["Each"]});
    inner["StartAt"] = json!("Inner");
    let mut engine = with(&distributed(&inner));
    engine.start("one", &json!([[1, 2], [3]])).unwrap();
    for _ in 0..3 {
        engine = engine.killed();
        let call = engine.calls().remove(0);
        engine.end_call(&call, 0, &payload(&call).to_string());
        engine.advance(SECOND);
    }
    assert_eq!(engine.execution("one")["output"], "[[1,2],[3]]");
    // What is old is looked for: nothing of it is.
    engine.advance(60 * SECOND);
    let engine = engine.killed();
    let left = engine.engine.with(|rooms| rooms.ctx.commit.reader.scan(Table::Execution, &[], None, 10)).unwrap();
    assert_eq!(left.len(), 6);
}

#[test]
fn the_children_of_a_run_are_listed_and_described_by_its_name() {
    let mut engine = with(&distributed(&call()));
    engine.start("one", &json!([1, 2, 3])).unwrap();
    let calls = engine.calls();
    engine.end_call(&calls[0], 0, "10");
    engine.end_call(&calls[1], 1, "{\"errorType\": \"Bad\", \"errorMessage\": \"it is\"}");
    engine.advance(SECOND);
    let engine = engine.killed();
    let runs = engine.json("map_run.list", &json!({"workflow": "w", "name": "one"}));
    let run = runs["map_runs"][0]["arn"].as_str().unwrap().split_once(":mapRun:").unwrap().1.to_owned();
    let list = |status: Value| {
        let asked = json!({"workflow": run, "limit": 10, "status": status});
        engine.json("execution.list", &asked)["executions"].as_array().unwrap().clone()
    };
    assert_eq!(list(Value::Null).iter().map(|one| one["name"].clone()).collect::<Vec<_>>(), ["2", "1", "0"]);
    let failed = list(json!("FAILED"));
    assert_eq!((failed.len(), &failed[0]["error"], &failed[0]["workflow"]), (1, &json!("Bad"), &json!(run)));
    let child = engine.json("execution.describe", &json!({"workflow": run, "name": "0"}));
    assert_eq!((&child["output"], &child["input"]), (&json!("10"), &json!("1")));
    assert!(child["arn"].as_str().unwrap().ends_with(&format!(":execution:{run}:0")), "{child}");
    let history = engine.json("execution.history", &json!({"workflow": run, "name": "1", "limit": 100}));
    assert_eq!(history["events"].as_array().unwrap().last().unwrap()["type"], "ExecutionFailed");
    for (workflow, name) in [(run.as_str(), "3"), (run.as_str(), "x"), ("w/none:0", "0"), ("none/a:0", "0")] {
        let told = engine.asked("execution.describe", &json!({"workflow": workflow, "name": name}));
        assert!(matches!(told, Err(EngineError::NotFound(_))), "{workflow} {name}");
    }
    let refused = engine.asked("execution.redrive", &json!({"workflow": run, "name": "1"})).unwrap_err();
    assert!(refused.to_string().contains("a redrive of the execution that began it"), "{refused}");
}

#[test]
fn the_name_of_a_run_goes_with_its_execution() {
    let mut engine = with(&distributed(&call()));
    engine.start("one", &json!([1])).unwrap();
    let call = engine.calls().remove(0);
    engine.end_call(&call, 0, "10");
    engine.advance(SECOND);
    engine.json("workflow.delete", &json!({"name": "w"}));
    engine.advance(60 * SECOND);
    engine.advance(SECOND);
    let engine = engine.killed();
    for table in [Table::Execution, Table::ExecutionName, Table::History] {
        let left = engine.engine.with(|rooms| rooms.ctx.commit.reader.scan(table, &[], None, 10)).unwrap();
        assert!(left.is_empty(), "{table:?}");
    }
}

/// `why` could not say until when a Wait state waits, or a retry is due.
#[test]
fn an_execution_says_when_it_goes_on_by_itself() {
    let rest = json!({"StartAt": "Rest", "States": {"Rest": {"Type": "Wait", "Seconds": 60, "End": true}}});
    let engine = with(&rest);
    engine.start("one", &json!({})).unwrap();
    let told = engine.execution("one");
    assert_eq!(told["due_ms"].as_u64().unwrap() - told["started_ms"].as_u64().unwrap(), 60_000);
}

/// The names of runs of which nothing is told any more stayed for as long as the store lived.
#[test]
fn the_names_of_runs_of_which_nothing_is_told_go() {
    let again = json!({"Variable": "$.n", "NumericLessThan": 1_003, "Next": "Count"});
    let mut rounds = distributed(&call());
    let mut each = rounds["States"]["Each"].clone();
    each.as_object_mut().unwrap().remove("End");
    each.as_object_mut().unwrap().extend([
        ("ItemsPath".to_owned(), json!("$.items")),
        ("ResultPath".to_owned(), Value::Null),
        ("Next".to_owned(), json!("Enough")),
    ]);
    rounds["StartAt"] = json!("Count");
    rounds["States"] = json!({
        "Count": {"Type": "Pass", "Parameters": {"n.$": "States.MathAdd($.n, 1)", "items": []}, "Next": "Each"},
        "Each": each,
        "Enough": {"Type": "Choice", "Choices": [again], "Default": "Done"},
        "Done": {"Type": "Succeed"}});
    let mut engine = with(&rounds);
    engine.start("one", &json!({"n": 0})).unwrap();
    engine.advance(SECOND);
    assert_eq!(engine.execution("one")["status"], "SUCCEEDED");
    let names = engine.engine.with(|rooms| rooms.ctx.commit.reader.scan(Table::ExecutionName, &[], None, 2_000));
    let runs = names.unwrap().iter().filter(|(key, _)| key[8..].contains(&b'/')).count();
    assert_eq!(runs, 1_000);
    let told = engine.json("map_run.list", &json!({"workflow": "w", "name": "one"}))["map_runs"].clone();
    for run in [&told[0], &told[999]] {
        assert_eq!(&engine.json("map_run.describe", &json!({"arn": run["arn"]})), run);
    }
}

/// A definition with one is refused now, and what a release before has accepted goes on.
#[test]
fn a_run_of_an_express_execution_is_found_while_that_runs() {
    let engine = TestEngine::new();
    let declare = |definition: &Value| {
        engine.asked("workflow.declare", &json!({"name": "w", "definition": definition.to_string(), "type": "EXPRESS"}))
    };
    let refused = declare(&distributed(&call())).unwrap_err().to_string();
    assert!(refused.contains("Express state machine does not support a Map state in DISTRIBUTED mode"), "{refused}");
    declare(&call()).unwrap();
    let rows = engine.engine.with(|rooms| rooms.ctx.commit.reader.scan(Table::Machine, &[], None, 10)).unwrap();
    let (key, row) = &rows[0];
    let mut row: Value = serde_json::from_slice(row).unwrap();
    row["definition"] = distributed(&call()).to_string().into();
    engine.set_row(Table::Machine, key.clone(), row.to_string().into_bytes());
    let mut engine = engine.killed();
    engine.start("one", &json!([1])).unwrap();
    let call = engine.only_call();
    let run = engine.json("map_run.list", &json!({"workflow": "w", "name": "one"}))["map_runs"][0].clone();
    let described = |engine: &TestEngine| engine.asked("map_run.describe", &json!({"arn": run["arn"]}));
    assert_eq!(described(&engine).unwrap(), run);
    engine.end_call(&call, 0, "10");
    assert_eq!(engine.execution("one")["output"], "[10]");
    assert!(matches!(described(&engine), Err(EngineError::NotFound(_))));
    engine.engine.with(|rooms| assert!(rooms.workflows.express.map_runs.is_empty()));
}
