//! Queues and a disk that takes its time.

use forebay_engine::dispatch::attempts::Task;
use forebay_engine::store::fault::{Fault, Repeat};
use serde_json::json;

use crate::test_engine::TestEngine;

fn queue(name: &str) -> serde_json::Value {
    json!({"name": name, "visibility_timeout_ms": 30_000, "delay_ms": 0, "retention_ms": 86_400_000,
        "content_based_deduplication": false, "deduplication_scope": "queue", "dead_letter_queue": null,
        "maximum_receive_count": 3})
}

/// Found by the simulator (seed 213): while the disk was at work a mapping with `strict_lambda` received the whole backlog. It waited for
/// places past its visibility timeout, and ran twice.
#[test]
fn what_is_held_for_a_time_is_received_only_while_a_place_is_free() {
    let mut engine = TestEngine::slow();
    engine.concurrency = 2;
    engine.kill();
    engine.register("function", "f", 1_000);
    engine.told("queue.declare", &queue("q")).unwrap();
    engine.inner().start().unwrap();
    for _ in 0..3 {
        let messages: Vec<_> = (0..10).map(|n| json!({"body": format!("m{n}")})).collect();
        engine.told("queue.send", &json!({"name": "q", "messages": messages})).unwrap();
    }
    engine
        .told(
            "mapping.declare",
            &json!({"queue": "q", "function": "f", "batch_size": 1, "maximum_batching_window_ms": 0,
            "report_batch_item_failures": false, "filters": [], "strict_lambda": true, "enabled": true}),
        )
        .unwrap();
    let mut done = 0;
    for _ in 0..100 {
        engine.pass(5);
        engine.disk();
        let depth = engine.told("queue.depth", &json!({"name": "q"})).unwrap();
        assert!(depth["in_flight"].as_u64().unwrap() <= 2, "{depth}");
        for work in engine.works() {
            assert!(matches!(work.task, Task::Messages { .. }));
            engine.end(work.token, 0, None);
            done += 1;
        }
    }
    assert_eq!(done, 30);
}

/// Found by the simulator (seed 530): with a full disk, a message that waited for room and somebody who waited for an answer, the engine
/// tried the same commit again and again without a pause.
#[test]
fn whoever_adds_nothing_is_answered_while_a_message_waits_for_room() {
    let mut engine = TestEngine::new();
    engine.serve("f", &json!({"on_success": "queue:q"}));
    engine.told("queue.declare", &queue("q")).unwrap();
    engine.inner().start().unwrap();
    engine.invoke_async("f", &json!(1));
    let work = engine.works().remove(0);
    engine.store.fail(1, Fault::Full, Repeat::Always);
    engine.end(work.token, 0, None);
    engine.told("failed.redrive", &json!({"function": "f"})).unwrap();
    engine.pass(1_000);
    assert_eq!(engine.told("queue.depth", &json!({"name": "q"})).unwrap()["visible"], 0);
    engine.store.mend();
    engine.pass(1_000);
    assert_eq!(engine.told("queue.depth", &json!({"name": "q"})).unwrap()["visible"], 1);
}

/// Found by the simulator (seed 14 of the queues): a late receiver was told that its message is deleted while the disk still worked on the
/// deletion that a handler had brought about.
#[test]
fn a_deletion_is_acknowledged_when_it_is_durable_whoever_brought_it_about() {
    let mut engine = TestEngine::slow();
    engine.told("queue.declare", &queue("q")).unwrap();
    engine.inner().start().unwrap();
    engine.told("queue.send", &json!({"name": "q", "messages": [{"body": "m"}]})).unwrap();
    let received = engine.told("queue.receive", &json!({"name": "q", "maximum": 1})).unwrap();
    let body = json!({"name": "q", "receipt_handle": received[0]["receiptHandle"]});
    let first = engine.ask("queue.delete_message", &body);
    engine.pass(1);
    let second = engine.ask("queue.delete_message", &body);
    assert!(first.heard().is_none() && second.heard().is_none(), "nothing of it is on the disk yet");
    engine.disk();
    engine.disk();
    assert!(first.heard().unwrap().is_ok() && second.heard().unwrap().is_ok());
}

/// A queue whose messages are dead letters when they are received for the second time.
fn burying(engine: &TestEngine, end: &str) {
    let (name, dead) = (format!("q{end}"), format!("dead{end}"));
    engine.told("queue.declare", &queue(&dead)).unwrap();
    let mut settings = queue(&name);
    settings["dead_letter_queue"] = dead.into();
    settings["maximum_receive_count"] = 1.into();
    engine.told("queue.declare", &settings).unwrap();
    engine.inner().start().unwrap();
}

fn depth(engine: &TestEngine, queue: &str) -> serde_json::Value {
    engine.told("queue.depth", &json!({"name": queue})).unwrap()["visible"].clone()
}

/// Found by the simulator (seed 200817): a full disk gave a dead letter back to its queue, in which only messages were left that had been
/// sent later. It was taken for one that is too old, and was gone.
#[test]
fn a_dead_letter_that_a_full_disk_gives_back_is_there_still() {
    let mut engine = TestEngine::new();
    burying(&engine, ".fifo");
    for (number, group) in ["a", "b"].into_iter().enumerate() {
        let message = json!({"body": "m", "group_id": group, "deduplication_id": number.to_string()});
        engine.told("queue.send", &json!({"name": "q.fifo", "messages": [message]})).unwrap();
        engine.pass(5_000);
    }
    let receive = json!({"name": "q.fifo", "maximum": 1, "visibility_timeout_ms": 0});
    engine.store.fail(1, Fault::Full, Repeat::Always);
    engine.told("queue.receive", &receive).unwrap();
    engine.told("queue.receive", &receive).unwrap();
    engine.pass(500);
    assert_eq!(depth(&engine, "dead.fifo"), 0, "there is no room for it");
    engine.store.mend();
    engine.pass(5_000);
    engine.told("queue.receive", &receive).unwrap();
    engine.pass(500);
    assert_eq!(depth(&engine, "dead.fifo"), 2, "it, and the other one");
}

/// Found by the simulator (seed 202950): a queue was purged in the commit in which one of its messages became a dead letter. The commit did
/// not say that the message is gone; after a crash it was in both queues.
#[test]
fn a_message_that_moves_while_its_queue_is_purged_is_in_one_queue() {
    let mut engine = TestEngine::slow();
    burying(&engine, "");
    engine.told("queue.send", &json!({"name": "q", "messages": [{"body": "m"}]})).unwrap();
    let receive = json!({"name": "q", "maximum": 1, "visibility_timeout_ms": 0});
    engine.told("queue.receive", &receive).unwrap();
    engine.pass(10);
    engine.disk();
    let _busy = engine.ask("queue.send", &json!({"name": "dead", "messages": [{"body": "other"}]}));
    engine.ask("queue.receive", &receive);
    let purged = engine.ask("queue.purge", &json!({"name": "q"}));
    engine.disk();
    engine.disk();
    assert!(purged.heard().unwrap().is_ok());
    engine.kill();
    burying(&engine, "");
    assert_eq!((depth(&engine, "q"), depth(&engine, "dead")), (0.into(), 2.into()));
}

/// Found by the simulator (seed 210430): a full disk refused a message, and one that the engine had to send after it moved up. It kept the id of
/// its old number, which the next message was given, too.
#[test]
fn what_moves_up_when_a_full_disk_refuses_others_has_an_id_of_its_own() {
    let mut engine = TestEngine::slow();
    engine.serve("f", &json!({"on_success": "queue:q"}));
    for name in ["q", "other"] {
        engine.told("queue.declare", &queue(name)).unwrap();
    }
    engine.inner().start().unwrap();
    let send = |name: &str| json!({"name": name, "messages": [{"body": "m"}]});
    engine.invoke_async("f", &json!(1));
    engine.disk();
    engine.disk();
    let work = engine.works().remove(0);
    let _busy = engine.ask("queue.send", &send("other"));
    let refused = engine.ask("queue.send", &send("q"));
    engine.end(work.token, 0, None);
    engine.store.fail(2, Fault::Full, Repeat::Always);
    engine.disk();
    engine.disk();
    assert!(refused.heard().unwrap().is_err());
    engine.store.mend();
    let taken = engine.ask("queue.send", &send("q"));
    for _ in 0..5 {
        engine.pass(200);
        engine.disk();
    }
    assert!(taken.heard().unwrap().is_ok());
    let received = engine.told("queue.receive", &json!({"name": "q", "maximum": 10})).unwrap();
    let ids: Vec<_> = received.as_array().unwrap().iter().map(|message| message["messageId"].clone()).collect();
    assert_eq!(ids.len(), 2);
    assert_ne!(ids[0], ids[1]);
}

/// Found by the simulator (seed 300261): a mapping with `strict_lambda` was deleted while the disk worked on what it had received. Its batches
/// began all the same, beside those of the mapping that took its place.
#[test]
fn what_a_deleted_mapping_has_received_goes_back_when_the_disk_is_done_with_it() {
    let engine = TestEngine::slow();
    engine.register("function", "f", 1_000);
    engine.told("queue.declare", &queue("q")).unwrap();
    engine.inner().start().unwrap();
    engine.told("queue.send", &json!({"name": "q", "messages": [{"body": "m"}]})).unwrap();
    let mapping = json!({"queue": "q", "function": "f", "batch_size": 1, "maximum_batching_window_ms": 0,
        "report_batch_item_failures": false, "filters": [], "strict_lambda": true, "enabled": true});
    let declared = engine.ask("mapping.declare", &mapping);
    assert!(declared.heard().is_none() && engine.works().is_empty(), "it is received, and not durable");
    let deleted = engine.ask("mapping.delete", &json!({"queue": "q", "function": "f"}));
    for _ in 0..5 {
        engine.disk();
        assert!(engine.works().is_empty());
    }
    assert!(deleted.heard().unwrap().is_ok());
    let depth = engine.told("queue.depth", &json!({"name": "q"})).unwrap();
    assert_eq!((&depth["visible"], &depth["in_flight"]), (&json!(1), &json!(0)));
}

/// Found by the simulator (seed 44): what a mapping with `strict_lambda` had received and nobody had begun went back counted when the
/// mapping was paused. Where one receive is allowed it went to the dead letters, and no handler had seen it.
#[test]
fn what_no_handler_was_given_when_its_mapping_was_paused_counts_as_not_received() {
    let mut engine = TestEngine::slow();
    engine.register("function", "f", 1_000);
    engine.told("queue.declare", &queue("dead")).unwrap();
    let mut settings = queue("q");
    (settings["dead_letter_queue"], settings["maximum_receive_count"]) = ("dead".into(), 1.into());
    engine.told("queue.declare", &settings).unwrap();
    engine.inner().start().unwrap();
    engine.told("queue.send", &json!({"name": "q", "messages": [{"body": "m"}]})).unwrap();
    let bound = json!({"queue": "q", "function": "f"});
    let mapping = json!({"queue": "q", "function": "f", "batch_size": 1, "maximum_batching_window_ms": 0,
        "report_batch_item_failures": false, "filters": [], "strict_lambda": true, "enabled": true});
    let declared = engine.ask("mapping.declare", &mapping);
    assert!(declared.heard().is_none() && engine.works().is_empty(), "it is received, and not durable");
    engine.told("mapping.pause", &bound).unwrap();
    assert!(engine.works().is_empty());
    let visible = |engine: &TestEngine, name: &str| {
        engine.told("queue.depth", &json!({ "name": name })).unwrap()["visible"].clone()
    };
    assert_eq!((visible(&engine, "q"), visible(&engine, "dead")), (json!(1), json!(0)));
    engine.kill();
    engine.register("function", "f", 1_000);
    engine.told("queue.declare", &queue("dead")).unwrap();
    engine.told("queue.declare", &settings).unwrap();
    engine.inner().start().unwrap();
    let received = engine.told("queue.receive", &json!({"name": "q", "maximum": 1})).unwrap();
    assert_eq!(received[0]["attributes"]["ApproximateReceiveCount"], "1");
}
