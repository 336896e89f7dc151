//! What operators delete and ask, seen from inside.

use serde_json::{json, Value};

use crate::chunk::Chunk;
use crate::error::Waiter;
use crate::metrics::{Metric, METRICS};
use crate::port::{Store as _, Write};
use crate::rig::{Rig, SECOND};

/// Series whose first label is this one.
fn series(rig: &Rig, label: &str) -> usize {
    let ours = METRICS.iter().filter(|metric| metric.describe().labels.first() == Some(&label));
    ours.map(|&metric| rig.engine.registry().gather(metric).len()).sum()
}

fn mapping() -> Value {
    json!({
        "stream": "s", "function": "f", "starting_position": "TRIM_HORIZON", "batch_size": 10,
        "maximum_batching_window_ms": 0, "parallelization_factor": 1, "maximum_retry_attempts": -1,
        "maximum_record_age_ms": -1, "bisect_batch_on_function_error": false, "report_batch_item_failures": false,
        "filters": [], "tumbling_window_ms": 0, "include_payload": false, "enabled": true,
        "retry_backoff": {"base_ms": 1_000, "cap_ms": 30_000, "jitter": 0.0},
    })
}

/// It was `done`, as a record that was handled.
#[test]
fn a_record_whose_place_a_salvage_kept_is_told_as_lost() {
    let rig = Rig::new();
    rig.json("stream.declare", &json!({"name": "s", "shards": 1, "retention_ms": 86_400_000}));
    let mut store = rig.store.clone();
    let mut rig = rig.reopened_with(&[json!({"kind": "function", "name": "f", "timeout_ms": 3_000})]);
    rig.engine.close();
    let mut chunk = Chunk::starting_at(0);
    chunk.push_lost(rig.now.wall_ms);
    store.commit(&[Write::Append { shard: 0, chunk: chunk.into() }]).unwrap();
    rig = rig.reopened_with(&[json!({"kind": "function", "name": "f", "timeout_ms": 3_000})]);
    rig.json("mapping.declare", &mapping());
    rig.advance(SECOND);
    let life = rig.json("why", &json!({"id": "10000000000000000000"}));
    assert_eq!((&life["kept"][0]["state"], &life["facts"][0]["condition"]), (&json!("lost"), &json!("RecordsLost")));
}

/// A deleted mapping showed its last lag until the restart, and each stream left its series and, for ever, a row of each shard.
#[test]
fn streams_mappings_and_topics_that_are_deleted_leave_nothing_behind() {
    let mut rig = Rig::new();
    rig.register(json!({"kind": "function", "name": "f", "timeout_ms": 3_000}));
    rig.json("topic.declare", &json!({"name": "t"}));
    rig.json("stream.declare", &json!({"name": "s", "shards": 2, "retention_ms": 86_400_000}));
    rig.json("mapping.declare", &mapping());
    let keys: Vec<String> = (0..10).map(|key| key.to_string()).collect();
    let records = keys.iter().map(|key| (key.as_str(), b"x".as_slice()));
    rig.engine.put("s", records, None, Waiter::Call(Box::new(|answer| drop(answer.unwrap()))));
    rig.advance(SECOND);
    let bounds = |rig: &Rig| [0, 1].map(|shard| rig.store.reader().unwrap().bounds(shard).unwrap());
    assert!(bounds(&rig).iter().all(Option::is_some));
    rig.engine.with(|state| state.show_lag());
    assert_eq!(rig.engine.registry().gather(Metric::ShardLag).len(), 2);

    rig.json("mapping.delete", &json!({"stream": "s", "function": "f"}));
    rig.engine.with(|state| state.show_lag());
    let shown = [Metric::ShardLag, Metric::ShardIteratorAge].map(|metric| rig.engine.registry().gather(metric).len());
    assert_eq!((shown, series(&rig, "mapping")), ([0, 0], 0));
    rig.json("stream.delete", &json!({"name": "s"}));
    rig.json("topic.delete", &json!({"name": "t"}));
    rig.advance(SECOND);
    assert_eq!((series(&rig, "stream"), series(&rig, "topic"), bounds(&rig)), (0, 0, [None; 2]));
}
