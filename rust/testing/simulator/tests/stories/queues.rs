//! Queues and a disk that takes its time.

use forebay_engine::dispatch::attempts::Task;
use forebay_engine::store::fault::{Fault, Repeat};
use serde_json::json;

use crate::rig::Rig;

fn queue(name: &str) -> serde_json::Value {
    json!({"name": name, "visibility_timeout_ms": 30_000, "delay_ms": 0, "retention_ms": 86_400_000,
        "content_based_deduplication": false, "deduplication_scope": "queue", "dead_letter_queue": null,
        "maximum_receive_count": 3})
}

/// Found by the simulator (seed 213): while the disk was at work a mapping with `strict_lambda` received the whole backlog. It waited for
/// places past its visibility timeout, and ran twice.
#[test]
fn what_is_held_for_a_time_is_received_only_while_a_place_is_free() {
    let mut rig = Rig::slow();
    rig.concurrency = 2;
    rig.kill();
    rig.register("function", "f", 1_000);
    rig.told("queue.declare", &queue("q")).unwrap();
    rig.engine().start().unwrap();
    for _ in 0..3 {
        let messages: Vec<_> = (0..10).map(|n| json!({"body": format!("m{n}")})).collect();
        rig.told("queue.send", &json!({"name": "q", "messages": messages})).unwrap();
    }
    rig.told(
        "mapping.declare",
        &json!({"queue": "q", "function": "f", "batch_size": 1, "maximum_batching_window_ms": 0,
            "report_batch_item_failures": false, "filters": [], "strict_lambda": true, "enabled": true}),
    )
    .unwrap();
    let mut done = 0;
    for _ in 0..100 {
        rig.pass(5);
        rig.disk();
        let depth = rig.told("queue.depth", &json!({"name": "q"})).unwrap();
        assert!(depth["in_flight"].as_u64().unwrap() <= 2, "{depth}");
        for work in rig.works() {
            assert!(matches!(work.task, Task::Messages { .. }));
            rig.end(work.token, 0, None);
            done += 1;
        }
    }
    assert_eq!(done, 30);
}

/// Found by the simulator (seed 530): with a full disk, a message that waited for room and somebody who waited for an answer, the engine
/// tried the same commit again and again without a pause.
#[test]
fn whoever_adds_nothing_is_answered_while_a_message_waits_for_room() {
    let mut rig = Rig::new();
    rig.serve("f", &json!({"on_success": "queue:q"}));
    rig.told("queue.declare", &queue("q")).unwrap();
    rig.engine().start().unwrap();
    rig.invoke_async("f", &json!(1));
    let work = rig.works().remove(0);
    rig.store.fail(1, Fault::Full, Repeat::Always);
    rig.end(work.token, 0, None);
    rig.told("failed.redrive", &json!({"function": "f"})).unwrap();
    rig.pass(1_000);
    assert_eq!(rig.told("queue.depth", &json!({"name": "q"})).unwrap()["visible"], 0);
    rig.store.mend();
    rig.pass(1_000);
    assert_eq!(rig.told("queue.depth", &json!({"name": "q"})).unwrap()["visible"], 1);
}

/// Found by the simulator (seed 14 of the queues): a late receiver was told that its message is deleted while the disk still worked on the
/// deletion that a handler had brought about.
#[test]
fn a_deletion_is_acknowledged_when_it_is_durable_whoever_brought_it_about() {
    let mut rig = Rig::slow();
    rig.told("queue.declare", &queue("q")).unwrap();
    rig.engine().start().unwrap();
    rig.told("queue.send", &json!({"name": "q", "messages": [{"body": "m"}]})).unwrap();
    let received = rig.told("queue.receive", &json!({"name": "q", "maximum": 1})).unwrap();
    let body = json!({"name": "q", "receipt_handle": received[0]["receiptHandle"]});
    let first = rig.ask("queue.delete_message", &body);
    rig.pass(1);
    let second = rig.ask("queue.delete_message", &body);
    assert!(first.heard().is_none() && second.heard().is_none(), "nothing of it is on the disk yet");
    rig.disk();
    rig.disk();
    assert!(first.heard().unwrap().is_ok() && second.heard().unwrap().is_ok());
}

/// A queue whose messages are dead letters when they are received for the second time.
fn burying(rig: &Rig, end: &str) {
    let (name, dead) = (format!("q{end}"), format!("dead{end}"));
    rig.told("queue.declare", &queue(&dead)).unwrap();
    let mut settings = queue(&name);
    settings["dead_letter_queue"] = dead.into();
    settings["maximum_receive_count"] = 1.into();
    rig.told("queue.declare", &settings).unwrap();
    rig.engine().start().unwrap();
}

fn depth(rig: &Rig, queue: &str) -> serde_json::Value {
    rig.told("queue.depth", &json!({"name": queue})).unwrap()["visible"].clone()
}

/// Found by the simulator (seed 200817): a full disk gave a dead letter back to its queue, in which only messages were left that had been
/// sent later. It was taken for one that is too old, and was gone.
#[test]
fn a_dead_letter_that_a_full_disk_gives_back_is_there_still() {
    let mut rig = Rig::new();
    burying(&rig, ".fifo");
    for (number, group) in ["a", "b"].into_iter().enumerate() {
        let message = json!({"body": "m", "group_id": group, "deduplication_id": number.to_string()});
        rig.told("queue.send", &json!({"name": "q.fifo", "messages": [message]})).unwrap();
        rig.pass(5_000);
    }
    let receive = json!({"name": "q.fifo", "maximum": 1, "visibility_timeout_ms": 0});
    rig.store.fail(1, Fault::Full, Repeat::Always);
    rig.told("queue.receive", &receive).unwrap();
    rig.told("queue.receive", &receive).unwrap();
    rig.pass(500);
    assert_eq!(depth(&rig, "dead.fifo"), 0, "there is no room for it");
    rig.store.mend();
    rig.pass(5_000);
    rig.told("queue.receive", &receive).unwrap();
    rig.pass(500);
    assert_eq!(depth(&rig, "dead.fifo"), 2, "it, and the other one");
}

/// Found by the simulator (seed 202950): a queue was purged in the commit in which one of its messages became a dead letter. The commit did
/// not say that the message is gone; after a crash it was in both queues.
#[test]
fn a_message_that_moves_while_its_queue_is_purged_is_in_one_queue() {
    let mut rig = Rig::slow();
    burying(&rig, "");
    rig.told("queue.send", &json!({"name": "q", "messages": [{"body": "m"}]})).unwrap();
    let receive = json!({"name": "q", "maximum": 1, "visibility_timeout_ms": 0});
    rig.told("queue.receive", &receive).unwrap();
    rig.pass(10);
    rig.disk();
    let _busy = rig.ask("queue.send", &json!({"name": "dead", "messages": [{"body": "other"}]}));
    rig.ask("queue.receive", &receive);
    let purged = rig.ask("queue.purge", &json!({"name": "q"}));
    rig.disk();
    rig.disk();
    assert!(purged.heard().unwrap().is_ok());
    rig.kill();
    burying(&rig, "");
    assert_eq!((depth(&rig, "q"), depth(&rig, "dead")), (0.into(), 2.into()));
}

/// Found by the simulator (seed 210430): a full disk refused a message, and one that the engine had to send after it moved up. It kept the id of
/// its old number, which the next message was given, too.
#[test]
fn what_moves_up_when_a_full_disk_refuses_others_has_an_id_of_its_own() {
    let mut rig = Rig::slow();
    rig.serve("f", &json!({"on_success": "queue:q"}));
    for name in ["q", "other"] {
        rig.told("queue.declare", &queue(name)).unwrap();
    }
    rig.engine().start().unwrap();
    let send = |name: &str| json!({"name": name, "messages": [{"body": "m"}]});
    rig.invoke_async("f", &json!(1));
    rig.disk();
    rig.disk();
    let work = rig.works().remove(0);
    let _busy = rig.ask("queue.send", &send("other"));
    let refused = rig.ask("queue.send", &send("q"));
    rig.end(work.token, 0, None);
    rig.store.fail(2, Fault::Full, Repeat::Always);
    rig.disk();
    rig.disk();
    assert!(refused.heard().unwrap().is_err());
    rig.store.mend();
    let taken = rig.ask("queue.send", &send("q"));
    for _ in 0..5 {
        rig.pass(200);
        rig.disk();
    }
    assert!(taken.heard().unwrap().is_ok());
    let received = rig.told("queue.receive", &json!({"name": "q", "maximum": 10})).unwrap();
    let ids: Vec<_> = received.as_array().unwrap().iter().map(|message| message["messageId"].clone()).collect();
    assert_eq!(ids.len(), 2);
    assert_ne!(ids[0], ids[1]);
}

/// Found by the simulator (seed 300261): a mapping with `strict_lambda` was deleted while the disk worked on what it had received. Its batches
/// began all the same, beside those of the mapping that took its place.
#[test]
fn what_a_deleted_mapping_has_received_goes_back_when_the_disk_is_done_with_it() {
    let rig = Rig::slow();
    rig.register("function", "f", 1_000);
    rig.told("queue.declare", &queue("q")).unwrap();
    rig.engine().start().unwrap();
    rig.told("queue.send", &json!({"name": "q", "messages": [{"body": "m"}]})).unwrap();
    let mapping = json!({"queue": "q", "function": "f", "batch_size": 1, "maximum_batching_window_ms": 0,
        "report_batch_item_failures": false, "filters": [], "strict_lambda": true, "enabled": true});
    let declared = rig.ask("mapping.declare", &mapping);
    assert!(declared.heard().is_none() && rig.works().is_empty(), "it is received, and not durable");
    let deleted = rig.ask("mapping.delete", &json!({"queue": "q", "function": "f"}));
    for _ in 0..5 {
        rig.disk();
        assert!(rig.works().is_empty());
    }
    assert!(deleted.heard().unwrap().is_ok());
    let depth = rig.told("queue.depth", &json!({"name": "q"})).unwrap();
    assert_eq!((&depth["visible"], &depth["in_flight"]), (&json!(1), &json!(0)));
}

/// Found by the simulator (seed 44): what a mapping with `strict_lambda` had received and nobody had begun went back counted when the
/// mapping was paused. Where one receive is allowed it went to the dead letters, and no handler had seen it.
#[test]
fn what_no_handler_was_given_when_its_mapping_was_paused_counts_as_not_received() {
    let mut rig = Rig::slow();
    rig.register("function", "f", 1_000);
    rig.told("queue.declare", &queue("dead")).unwrap();
    let mut settings = queue("q");
    (settings["dead_letter_queue"], settings["maximum_receive_count"]) = ("dead".into(), 1.into());
    rig.told("queue.declare", &settings).unwrap();
    rig.engine().start().unwrap();
    rig.told("queue.send", &json!({"name": "q", "messages": [{"body": "m"}]})).unwrap();
    let bound = json!({"queue": "q", "function": "f"});
    let mapping = json!({"queue": "q", "function": "f", "batch_size": 1, "maximum_batching_window_ms": 0,
        "report_batch_item_failures": false, "filters": [], "strict_lambda": true, "enabled": true});
    let declared = rig.ask("mapping.declare", &mapping);
    assert!(declared.heard().is_none() && rig.works().is_empty(), "it is received, and not durable");
    rig.told("mapping.pause", &bound).unwrap();
    assert!(rig.works().is_empty());
    let visible = |rig: &Rig, name: &str| rig.told("queue.depth", &json!({ "name": name })).unwrap()["visible"].clone();
    assert_eq!((visible(&rig, "q"), visible(&rig, "dead")), (json!(1), json!(0)));
    rig.kill();
    rig.register("function", "f", 1_000);
    rig.told("queue.declare", &queue("dead")).unwrap();
    rig.told("queue.declare", &settings).unwrap();
    rig.engine().start().unwrap();
    let received = rig.told("queue.receive", &json!({"name": "q", "maximum": 1})).unwrap();
    assert_eq!(received[0]["attributes"]["ApproximateReceiveCount"], "1");
}
