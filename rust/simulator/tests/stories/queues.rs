//! Queues and a disk that takes its time.

use forebay_engine::attempts::Task;
use serde_json::json;

use crate::rig::Rig;

/// Found by the simulator (seed 213): while the disk was at work a mapping with `strict_lambda` received the whole backlog. It waited for
/// places past its visibility timeout, and ran twice.
#[test]
fn what_is_held_for_a_time_is_received_only_while_a_place_is_free() {
    let mut rig = Rig::slow();
    rig.concurrency = 2;
    rig.kill();
    rig.register("function", "f", 1_000);
    rig.told(
        "queue.declare",
        &json!({"name": "q", "visibility_timeout_ms": 30_000, "delay_ms": 0, "retention_ms": 86_400_000,
            "content_based_deduplication": false, "deduplication_scope": "queue", "dead_letter_queue": null,
            "maximum_receive_count": 3}),
    )
    .unwrap();
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
