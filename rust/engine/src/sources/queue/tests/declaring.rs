//! Declaring queues that others declare, too.

use serde_json::{json, Value};

use crate::base::error::EngineError;
use crate::runtime::test_engine::{queue, TestEngine, SECOND};

fn declared(name: &str, settings: &Value) -> Value {
    let mut asked = queue(name);
    asked.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
    asked
}

/// Two clients could both be told that they had made a queue, with the settings of only one of them. And a change was lost that
/// another one was made beside.
#[test]
fn of_two_who_make_or_change_a_queue_one_is_refused() {
    let mut engine = TestEngine::new();
    let new = declared("q", &json!({"only_new": true, "notes": {"tag:a": "1"}}));
    assert_eq!(engine.json("queue.declare", &new)["notes"], json!({"tag:a": "1"}), "in the commit that makes it");
    assert!(matches!(engine.asked("queue.declare", &new), Err(EngineError::Conflict(_))));
    engine = engine.crashed();
    let before = engine.json("queue.describe", &json!({"name": "q"}));
    assert_eq!((&before["notes"], &before["modified_ms"]), (&json!({"tag:a": "1"}), &before["created_ms"]));
    engine.advance(SECOND);
    let change = declared("q", &json!({"delay_ms": 1_000, "notes": {"sqs:Policy": "{}"}, "instead_of": before}));
    let after = engine.json("queue.declare", &change);
    assert_eq!(after["notes"], json!({"tag:a": "1", "sqs:Policy": "{}"}));
    assert!(after["modified_ms"].as_u64() > after["created_ms"].as_u64());
    assert!(matches!(engine.asked("queue.declare", &change), Err(EngineError::Conflict(_))));
    engine = engine.crashed();
    assert_eq!(engine.json("queue.describe", &json!({"name": "q"}))["modified_ms"], after["modified_ms"]);
}

/// Of two clients that made one mapping both were told so, and the settings of one were gone. A mapping of the app's code became a client's,
/// and a queue that running code reads could be deleted.
#[test]
fn a_mapping_that_is_to_be_new_changes_none() {
    let engine = TestEngine::new();
    engine.declare("q");
    engine.bind("q");
    let before = engine.json("mapping.describe", &json!({"queue": "q", "function": "f"}));
    let client = |queue: &str, only_new: bool| {
        json!({
            "queue": queue, "function": "f", "batch_size": 3, "maximum_batching_window_ms": 0,
            "report_batch_item_failures": false, "filters": [], "strict_lambda": false, "enabled": true,
            "by_client": true, "only_new": only_new,
        })
    };
    assert!(matches!(engine.asked("mapping.declare", &client("q", true)), Err(EngineError::Conflict(_))));
    assert_eq!(engine.json("mapping.describe", &json!({"queue": "q", "function": "f"})), before);
    engine.json("mapping.declare", &client("q", false));
    assert!(matches!(engine.ask("queue.delete", &json!({"name": "q"})), Err(EngineError::Conflict(_))));
    engine.declare("other");
    engine.json("mapping.declare", &client("other", true));
    assert!(!matches!(engine.ask("queue.delete", &json!({"name": "other"})), Err(EngineError::Conflict(_))));
}

/// Nobody declares such a mapping at the next start: it read nothing from then on, said that it was enabled, and could not be made again.
#[test]
fn a_mapping_that_a_client_has_made_reads_after_a_restart() {
    let function = json!({"kind": "function", "name": "f", "timeout_ms": 3_000});
    let mut engine = TestEngine::new();
    engine.register(function.clone());
    let on_queue = |queue: &str, by_client: bool| {
        json!({
            "queue": queue, "function": "f", "batch_size": 2, "maximum_batching_window_ms": 0,
            "report_batch_item_failures": false, "filters": [], "strict_lambda": false, "enabled": true,
            "by_client": by_client, "only_new": true,
        })
    };
    for queue in ["q", "of-code"] {
        engine.declare(queue);
        engine.json("mapping.declare", &on_queue(queue, queue == "q"));
    }
    let mut settings = json!({
        "function": "f", "starting_position": "TRIM_HORIZON", "batch_size": 100, "maximum_batching_window_ms": 0,
        "parallelization_factor": 1, "maximum_retry_attempts": -1, "maximum_record_age_ms": -1,
        "bisect_batch_on_function_error": false, "report_batch_item_failures": false, "filters": [], "tumbling_window_ms": 0,
        "include_payload": false, "retry_backoff": {"base_ms": 1_000, "cap_ms": 60_000, "jitter": 0.5}, "enabled": true,
    });
    for stream in ["s", "of-code"] {
        engine.json("stream.declare", &json!({"name": stream, "shards": 1, "retention_ms": 86_400_000}));
        settings["stream"] = stream.into();
        settings["by_client"] = (stream == "s").into();
        engine.json("mapping.declare", &settings);
    }
    for _ in 0..2 {
        engine = engine.crashed_with(std::slice::from_ref(&function));
        for (kind, name, is_read) in
            [("queue", "q", true), ("queue", "of-code", false), ("stream", "s", true), ("stream", "of-code", false)]
        {
            let told = engine.json("mapping.describe", &json!({kind: name, "function": "f"}));
            assert_eq!(told["declared"], is_read, "{kind} {name}");
        }
        let _until_durable = engine.send("q", ["a"].into_iter().map(String::from));
        engine.advance(SECOND);
        let taken = engine.take();
        assert_eq!(taken.len(), 1);
        engine.settle(taken[0].0, 0);
        engine.advance(SECOND);
    }
    // What nobody declares any more, as clients' mappings of a release before, is read when a client makes it anew.
    settings["by_client"] = true.into();
    settings["only_new"] = true.into();
    for (kind, mapping) in [("queue", on_queue("of-code", true)), ("stream", settings)] {
        engine.json("mapping.declare", &mapping);
        assert!(matches!(engine.asked("mapping.declare", &mapping), Err(EngineError::Conflict(_))));
        engine = engine.crashed_with(std::slice::from_ref(&function));
        let told = engine.json("mapping.describe", &json!({kind: "of-code", "function": "f"}));
        assert_eq!(told["declared"], true, "{kind}");
    }
    // What the code declares from then on is its own.
    engine.bind("q");
    engine = engine.crashed_with(&[function]);
    assert_eq!(engine.json("mapping.describe", &json!({"queue": "q", "function": "f"}))["declared"], false);
}

/// A group of a standard queue is kept beside the message, wherever that goes, and orders nothing.
#[test]
fn messages_of_a_group_in_a_standard_queue_wait_for_none_of_it() {
    let mut engine = TestEngine::new();
    engine.json("queue.declare", &queue("dead"));
    engine.json("queue.declare", &declared("q", &json!({"dead_letter_queue": "dead", "maximum_receive_count": 1})));
    for body in ["1", "2"] {
        let message = json!({"body": body, "group_id": "g"});
        engine.json("queue.send", &json!({"name": "q", "messages": [message]}));
    }
    let receive = |name: &str| json!({"name": name, "maximum": 10, "visibility_timeout_ms": 0});
    let groups = |messages: &Value| -> Vec<Value> {
        let messages = messages.as_array().unwrap().iter();
        messages.map(|message| message["attributes"]["MessageGroupId"].clone()).collect()
    };
    assert_eq!(groups(&engine.json("queue.receive", &receive("q"))), ["g", "g"]);
    engine.advance(SECOND);
    assert_eq!(groups(&engine.json("queue.receive", &receive("q"))), [""; 0]);
    engine.advance(SECOND);
    engine = engine.crashed();
    assert_eq!(groups(&engine.json("queue.receive", &receive("dead"))), ["g", "g"]);
}
