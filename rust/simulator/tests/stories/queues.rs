//! Queues and a disk that takes its time.

use forebay_engine::attempts::Task;
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
