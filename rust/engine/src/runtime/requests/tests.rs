//! What operators delete and ask, seen from inside.

use std::sync::{Arc, Mutex};

use serde_json::{json, Value};

use crate::base::error::{Answer, Reply, Waiter};
use crate::metrics::exposition::{render, Format};
use crate::metrics::{Metric, METRICS};
use crate::runtime::test_engine::{TestEngine, SECOND};
use crate::sources::stream::lag;
use crate::store::chunk::Chunk;
use crate::store::port::{BlockingStore as _, Store as _, Write};

/// Series whose first label is this one.
fn series(engine: &TestEngine, label: &str) -> usize {
    let ours = METRICS.iter().filter(|metric| metric.describe().labels.first() == Some(&label));
    ours.map(|&metric| engine.engine.registry().gather(metric).len()).sum()
}

/// The page of metrics.
fn shown(engine: &TestEngine) -> String {
    engine.engine.show_lag();
    render(engine.engine.registry(), Format::Text)
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
    let engine = TestEngine::new();
    engine.json("stream.declare", &json!({"name": "s", "shards": 1, "retention_ms": 86_400_000}));
    let mut store = engine.store.clone();
    let mut engine = engine.reopened_with(&[json!({"kind": "function", "name": "f", "timeout_ms": 3_000})]);
    engine.engine.close();
    let mut chunk = Chunk::starting_at(0);
    chunk.push_lost(engine.now.wall_ms);
    store.commit(&[Write::Append { shard: 0, chunk: chunk.into() }]).unwrap();
    engine = engine.reopened_with(&[json!({"kind": "function", "name": "f", "timeout_ms": 3_000})]);
    engine.json("mapping.declare", &mapping());
    engine.advance(SECOND);
    let life = engine.json("why", &json!({"id": "10000000000000000000"}));
    assert_eq!((&life["kept"][0]["state"], &life["facts"][0]["condition"]), (&json!("lost"), &json!("RecordsLost")));
}

/// A deleted mapping showed its last lag until the restart, and each stream left its series and, for ever, a row of each shard.
#[test]
fn streams_mappings_and_topics_that_are_deleted_leave_nothing_behind() {
    let mut engine = TestEngine::new();
    engine.register(json!({"kind": "function", "name": "f", "timeout_ms": 3_000}));
    engine.json("topic.declare", &json!({"name": "t"}));
    engine.json("stream.declare", &json!({"name": "s", "shards": 2, "retention_ms": 86_400_000}));
    engine.json("mapping.declare", &mapping());
    let keys: Vec<String> = (0..10).map(|key| key.to_string()).collect();
    let records = keys.iter().map(|key| (key.as_str(), b"x".as_slice()));
    engine.engine.put("s", records, None, Waiter::Call(Box::new(|answer| drop(answer.unwrap()))));
    engine.advance(SECOND);
    let bounds = |engine: &TestEngine| [0, 1].map(|shard| engine.store.reader().unwrap().bounds(shard).unwrap());
    assert!(bounds(&engine).iter().all(Option::is_some));
    engine.engine.with(|state| lag::show_lag(&mut state.streams()));
    assert_eq!(engine.engine.registry().gather(Metric::ShardLag).len(), 2);

    engine.json("mapping.delete", &json!({"stream": "s", "function": "f"}));
    engine.engine.with(|state| lag::show_lag(&mut state.streams()));
    let shown =
        [Metric::ShardLag, Metric::ShardIteratorAge].map(|metric| engine.engine.registry().gather(metric).len());
    assert_eq!((shown, series(&engine, "mapping")), ([0, 0], 0));
    engine.json("stream.delete", &json!({"name": "s"}));
    engine.json("topic.delete", &json!({"name": "t"}));
    engine.advance(SECOND);
    assert_eq!((series(&engine, "stream"), series(&engine, "topic"), bounds(&engine)), (0, 0, [None; 2]));
}

/// Its age was that of the last record handed out: 0 for a mapping that was paused from the start, so no alert ever came.
#[test]
fn a_mapping_that_was_never_handed_anything_is_as_far_behind_as_its_oldest_record_is_old() {
    let function = json!({"kind": "function", "name": "f", "timeout_ms": 3_000});
    let mut engine = TestEngine::new();
    engine.register(function.clone());
    engine.json("stream.declare", &json!({"name": "s", "shards": 1, "retention_ms": 86_400_000}));
    let mut paused = mapping();
    paused["enabled"] = json!(false);
    engine.json("mapping.declare", &paused);
    for data in [b"first".as_slice(), b"second"] {
        engine.engine.put("s", [("k", data)].into_iter(), None, Waiter::Call(Box::new(|answer| drop(answer.unwrap()))));
        engine.advance(60 * SECOND);
    }
    let age = |row: &Value| (row["records"].as_u64().unwrap(), row["iterator_age_ms"].as_u64());
    assert_eq!(age(&engine.json("lag", &json!({}))[0]), (2, Some(120_000)));

    // After a restart no record of it is in memory: the store is asked, once for each place at which the mapping stands.
    engine = engine.reopened_with(&[function]);
    engine.json("mapping.declare", &paused);
    engine.advance(SECOND);
    let described = json!({"stream": "s", "function": "f"});
    assert_eq!(age(&engine.json("mapping.describe", &described)["shards"][0]), (2, None));
    assert_eq!(age(&engine.json("lag", &json!({}))[0]), (2, Some(121_000)));
    assert_eq!(age(&engine.json("mapping.describe", &described)["shards"][0]), (2, Some(121_000)));
    engine.advance(299 * SECOND);
    let page = shown(&engine);
    let line = "forebay_shard_iterator_age_seconds{stream=\"s\",shard=\"shardId-000000000000\",function=\"f\"} 420";
    assert!(page.contains(line), "{page}");
}

/// The page of metrics does not wait for the store: what it does not know yet is on the next one.
#[test]
fn a_page_of_metrics_has_the_store_asked_for_an_age_that_is_not_in_memory() {
    let function = json!({"kind": "function", "name": "f", "timeout_ms": 3_000});
    let mut engine = TestEngine::new();
    engine.register(function.clone());
    engine.json("stream.declare", &json!({"name": "s", "shards": 1, "retention_ms": 86_400_000}));
    let mut paused = mapping();
    paused["enabled"] = json!(false);
    engine.json("mapping.declare", &paused);
    let record = [("k", b"first".as_slice())];
    engine.engine.put("s", record.into_iter(), None, Waiter::Call(Box::new(|answer| drop(answer.unwrap()))));
    engine.advance(SECOND);
    engine = engine.reopened_with(&[function]);
    engine.json("mapping.declare", &paused);
    engine.engine.with(|state| lag::show_lag(&mut state.streams()));
    assert_eq!(engine.engine.registry().gather(Metric::ShardIteratorAge).len(), 0);
    engine.advance(SECOND);
    engine.engine.with(|state| lag::show_lag(&mut state.streams()));
    assert_eq!(engine.engine.registry().gather(Metric::ShardIteratorAge).len(), 1);
}

/// One read looked into every shard that was not in memory, while the reads of all pollers waited.
#[test]
fn lag_has_the_store_asked_about_64_shards_at_a_time() {
    let function = json!({"kind": "function", "name": "f", "timeout_ms": 3_000});
    let mut engine = TestEngine::new();
    engine.register(function.clone());
    engine.json("stream.declare", &json!({"name": "s", "shards": 150, "retention_ms": 86_400_000}));
    let mut paused = mapping();
    paused["enabled"] = json!(false);
    engine.json("mapping.declare", &paused);
    let keys: Vec<String> = (0..3_000).map(|key| key.to_string()).collect();
    let records = keys.iter().map(|key| (key.as_str(), b"x".as_slice()));
    engine.engine.put("s", records, None, Waiter::Call(Box::new(|answer| drop(answer.unwrap()))));
    engine.advance(SECOND);
    let engine = engine.reopened_slowly();
    engine.register(function);
    let told: Arc<Mutex<Option<Answer>>> = Arc::default();
    let ask = |verb: &str, body: &Value| {
        let teller = Arc::clone(&told);
        let waiter = Waiter::Call(Box::new(move |answer| *teller.lock().unwrap() = Some(answer)));
        engine.engine.request(verb, body.to_string().as_bytes(), waiter);
    };
    ask("mapping.declare", &paused);
    (0..9).for_each(|_| engine.engine.disk_done());
    told.lock().unwrap().take();
    ask("lag", &json!({}));
    let reads = (0..9).take_while(|_| {
        engine.engine.disk_done();
        told.lock().unwrap().is_none()
    });
    assert_eq!(reads.count() + 1, 3, "of 150 shards");
    let Some(Ok(Reply::Json(rows))) = told.lock().unwrap().take() else { panic!("no answer") };
    let rows: Vec<Value> = serde_json::from_slice(&rows).unwrap();
    assert!(rows.len() == 150 && rows.iter().all(|row| row["iterator_age_ms"].is_u64()));
}

/// A page that ended within a chunk went on behind the chunks that were read with it.
#[test]
fn pages_of_a_stream_give_each_record_once_wherever_they_end() {
    let engine = TestEngine::new();
    engine.json("stream.declare", &json!({"name": "s", "shards": 1, "retention_ms": 86_400_000}));
    for chunk in 0..4_u8 {
        let records: Vec<[u8; 1]> = (0..5).map(|at| [chunk * 5 + at]).collect();
        let records = records.iter().map(|data| ("k", data.as_slice()));
        engine.engine.put("s", records, None, Waiter::Call(Box::new(|answer| drop(answer.unwrap()))));
    }
    for limit in [1, 3, 5, 7, 100] {
        let (mut cursors, mut found) = (json!(null), Vec::new());
        for _ in 0..25 {
            let read = json!({"name": "s", "position": "TRIM_HORIZON", "limit": limit, "cursors": cursors});
            let page = engine.json("stream.read", &read);
            let given = page["records"].as_array().unwrap().iter();
            found.extend(given.map(|record| record["sequence_number"].as_str().unwrap().parse::<u128>().unwrap()));
            assert_eq!(page["behind"], 20 - found.len(), "with a limit of {limit}");
            cursors = page["cursors"].clone();
        }
        assert_eq!(found.len(), 20, "with a limit of {limit}: {found:?}");
        assert!(found.windows(2).all(|two| two[0] < two[1]), "with a limit of {limit}: {found:?}");
    }
}

/// A gateway keeps what an authoriser has said: it held although other code stood behind the name.
#[test]
fn other_code_behind_a_name_is_told_from_what_was_before() {
    let engine = TestEngine::new();
    for name in ["guard", "guard:1", "guard:2"] {
        engine.register(json!({"kind": "function", "name": name}));
    }
    let points = |version: &str, weights: Value| {
        engine.json(
            "alias.declare",
            &json!({"function": "guard", "name": "live", "version": version, "weights": weights}),
        );
        engine.engine.code_of("guard:live")
    };
    let told = [
        points("1", json!({})),
        points("2", json!({})),
        points("1", json!({"2": 0.1})),
        points("1", json!({"2": 0.9})),
    ];
    for (at, one) in told.iter().enumerate() {
        assert!(!told[..at].contains(one), "{told:?}");
    }
    assert_eq!(points("1", json!({})), told[0]);
    let before = ["guard", "guard:1", "guard:2", "guard:live"].map(|name| engine.engine.code_of(name));
    engine.register(json!({"kind": "function", "name": "guard:1", "timeout_ms": 9_000}));
    let after = ["guard", "guard:1", "guard:2", "guard:live"].map(|name| engine.engine.code_of(name));
    let changed: Vec<bool> = before.iter().zip(&after).map(|(before, after)| before != after).collect();
    assert_eq!(changed, [false, true, false, true]);
}
