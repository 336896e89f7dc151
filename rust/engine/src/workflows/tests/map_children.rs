//! Children of distributed Maps in distributed Maps.

use serde_json::{json, Value};

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
