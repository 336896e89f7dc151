//! Retention and descriptions on a slow disk: the reader looks through the chunks, and what happens meanwhile counts.

use std::sync::{Arc, Mutex};

use serde_json::{json, Value};

use crate::base::error::{Answer, Reply, Waiter};
use crate::runtime::test_engine::{TestEngine, SECOND};
use crate::store::port::Store as _;

const KEPT_MS: u64 = 60_000;

/// A stream with one record that is older than its retention, on a disk that is done when `disk_done` says so.
fn with_an_old_record() -> TestEngine {
    let mut engine = TestEngine::new();
    engine.json("stream.declare", &json!({"name": "s", "shards": 1, "retention_ms": KEPT_MS}));
    put(&engine);
    engine.advance(SECOND);
    engine.now.mono_ns += KEPT_MS * 1_000_000;
    engine.now.wall_ms += KEPT_MS;
    engine.reopened_slowly()
}

fn put(engine: &TestEngine) {
    let records = [("k", b"data".as_slice())].into_iter();
    engine.engine.put("s", records, None, Waiter::Call(Box::new(|answer| drop(answer.unwrap()))));
}

/// What the store holds: the records of the stream and its first position that is not dropped.
fn records(engine: &TestEngine) -> (u64, u64) {
    let (first, next) = engine.store.reader().unwrap().bounds(0).unwrap().unwrap();
    (next - first, next)
}

/// Ask, and let the disk work until there is an answer.
fn slowly(engine: &TestEngine, verb: &str, body: &Value) -> Value {
    let told: Arc<Mutex<Option<Answer>>> = Arc::default();
    let teller = Arc::clone(&told);
    let waiter = Waiter::Call(Box::new(move |answer| *teller.lock().unwrap() = Some(answer)));
    engine.engine.request(verb, body.to_string().as_bytes(), waiter);
    assert!(told.lock().unwrap().is_none(), "the disk has done nothing yet");
    engine.engine.disk_done();
    let answer = told.lock().unwrap().take().unwrap().unwrap();
    let Reply::Json(bytes) = answer else { panic!("{answer:?}") };
    serde_json::from_slice(&bytes).unwrap()
}

fn sweep(engine: &mut TestEngine) {
    engine.advance(30 * SECOND);
}

#[test]
fn a_stream_is_described_when_the_reader_has_looked_through_its_chunks() {
    let engine = with_an_old_record();
    let stream = slowly(&engine, "stream.describe", &json!({"name": "s"}));
    let bytes = stream["bytes"].as_u64().unwrap();
    assert!(bytes > 4, "{stream}");
    assert_eq!((&stream["records"], &stream["shards"][0]["bytes"]), (&json!(1), &json!(bytes)));
    let listed = slowly(&engine, "stream.list", &json!({}));
    assert_eq!((&listed[0]["records"], &listed[0]["bytes"]), (&json!(1), &json!(bytes)));
    assert!(listed[0]["shards"].is_null());
}

#[test]
fn more_shards_than_one_read_looks_through_are_all_described() {
    let mut engine = TestEngine::new();
    engine.json("stream.declare", &json!({"name": "s", "shards": 150, "retention_ms": KEPT_MS}));
    let keys: Vec<String> = (0..3_000).map(|key| key.to_string()).collect();
    let records = keys.iter().map(|key| (key.as_str(), b"data".as_slice()));
    engine.engine.put("s", records, None, Waiter::Call(Box::new(|answer| drop(answer.unwrap()))));
    engine.advance(SECOND);
    let stream = engine.json("stream.describe", &json!({"name": "s"}));
    let bytes = |shard: &Value| shard["bytes"].as_u64().unwrap();
    let shards = stream["shards"].as_array().unwrap();
    assert!(shards.len() == 150 && shards.iter().all(|shard| bytes(shard) > 0));
    assert_eq!(shards.iter().map(bytes).sum::<u64>(), bytes(&stream));
}

#[test]
fn a_record_that_comes_while_the_reader_looks_for_old_ones_is_kept_and_dropped_in_its_turn() {
    let mut engine = with_an_old_record();
    sweep(&mut engine);
    put(&engine);
    for _ in 0..4 {
        engine.engine.disk_done();
        engine.advance(SECOND);
    }
    assert_eq!(records(&engine), (1, 2), "the old one was dropped");
    engine.advance(KEPT_MS * 1_000_000);
    for _ in 0..3 {
        sweep(&mut engine);
        engine.engine.disk_done();
        engine.engine.disk_done();
    }
    assert_eq!(records(&engine), (0, 2), "the newer one is too old by now");
}

#[test]
fn nothing_is_dropped_when_the_retention_was_made_longer_while_the_reader_looked() {
    let mut engine = with_an_old_record();
    sweep(&mut engine);
    engine.engine.request(
        "stream.alter",
        json!({"name": "s", "retention_ms": 10 * KEPT_MS}).to_string().as_bytes(),
        Waiter::Call(Box::new(|answer| drop(answer.unwrap()))),
    );
    for _ in 0..4 {
        engine.engine.disk_done();
        engine.advance(SECOND);
    }
    assert_eq!(records(&engine), (1, 1));
}
