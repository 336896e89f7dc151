//! Messages that are deleted several at once.

use serde_json::{json, Value};

use crate::base::error::EngineError;
use crate::runtime::test_engine::{TestEngine, SECOND};

#[test]
fn messages_are_deleted_together_and_each_that_cannot_be_is_told_why() {
    let mut engine = TestEngine::new();
    engine.declare("q");
    let _until_durable = engine.send("q", ["a", "b", "c"].into_iter().map(String::from));
    engine.advance(SECOND);
    let held: Vec<String> = engine.receive("q").into_iter().map(|(_, receipt)| receipt).collect();
    assert_eq!(held.len(), 3);
    let asked = json!({"name": "q", "receipt_handles": [held[0], "of nobody", held[2]]});
    let told = engine.json("queue.delete_messages", &asked);
    assert_eq!((&told[0], &told[2]), (&Value::Null, &Value::Null));
    assert!(told[1].as_str().unwrap().contains("receipt handle"), "{told}");
    let left = engine.json("queue.depth", &json!({"name": "q"}));
    assert_eq!((&left["visible"], &left["in_flight"]), (&json!(0), &json!(1)));
    let many = json!({"name": "q", "receipt_handles": vec![held[1].as_str(); 11]});
    assert!(matches!(engine.ask("queue.delete_messages", &many), Err(EngineError::Invalid(_))));
    let nowhere = json!({"name": "none", "receipt_handles": []});
    assert!(matches!(engine.ask("queue.delete_messages", &nowhere), Err(EngineError::NotFound(_))));
}
