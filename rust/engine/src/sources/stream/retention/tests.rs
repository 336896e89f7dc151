//! Retention and descriptions on a slow disk: the reader looks through the chunks, and what happens meanwhile counts.

use std::sync::{Arc, Mutex};

use serde_json::{json, Value};

use crate::base::error::{Answer, EngineError, Reply, Waiter};
use crate::commit::done::Done;
use crate::runtime::commits;
use crate::runtime::test_engine::{TestEngine, SECOND};
use crate::store::port::{Store as _, StoreError};

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
    // What is to be durable is told with the commit after the read.
    (0..3).for_each(|_| engine.engine.disk_done());
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

/// It was read with the engine's lock held, so a change of a stream with many chunks held everything up.
#[test]
fn a_stream_that_was_changed_is_described_when_the_change_is_durable_and_the_reader_is_done() {
    let engine = with_an_old_record();
    let altered = slowly(&engine, "stream.alter", &json!({"name": "s", "retention_ms": 10 * KEPT_MS}));
    assert_eq!((&altered["records"], &altered["retention_ms"]), (&json!(1), &json!(10 * KEPT_MS)));
    let bytes = &altered["bytes"];
    let resharded = slowly(&engine, "stream.reshard", &json!({"name": "s", "shards": 2}));
    assert_eq!(
        (&resharded["open_shards"], &resharded["bytes"], &resharded["shards"][0]["bytes"]),
        (&json!(2), bytes, bytes)
    );
    assert_eq!(resharded["shards"].as_array().unwrap().len(), 3);
    let again = slowly(&engine, "stream.reshard", &json!({"name": "s", "shards": 2}));
    assert_eq!(again, resharded);
}

#[test]
fn a_change_that_the_store_does_not_write_is_not_answered_as_if_it_had() {
    let engine = with_an_old_record();
    let told: Arc<Mutex<Option<Answer>>> = Arc::default();
    let teller = Arc::clone(&told);
    let waiter = Waiter::Call(Box::new(move |answer| *teller.lock().unwrap() = Some(answer)));
    engine.engine.request("stream.alter", br#"{"name": "s", "retention_ms": 60001}"#, waiter);
    engine.engine.with(|rooms| rooms.ctx.fail(StoreError::Failed("the disk is gone".into())));
    engine.engine.disk_done();
    let answer = told.lock().unwrap().take();
    assert!(matches!(answer, Some(Err(EngineError::Store(StoreError::Failed(_))))), "{answer:?}");
}

#[test]
fn a_change_that_an_app_makes_as_it_stops_is_not_asked_of_the_next_owner() {
    let engine = with_an_old_record();
    let told: Arc<Mutex<Option<Answer>>> = Arc::default();
    let teller = Arc::clone(&told);
    engine.engine.with(|rooms| {
        let alter = serde_json::from_value(json!({"name": "s", "retention_ms": 10 * KEPT_MS})).unwrap();
        let Ok(Done::WhenRead(mut job)) = rooms.streams().stream_alter(alter) else { panic!("it is read") };
        job.answers(Waiter::Call(Box::new(move |answer| *teller.lock().unwrap() = Some(answer))));
        rooms.ctx.commit.reads.push_back(job);
        commits::abandon_reads(rooms);
    });
    let answer = told.lock().unwrap().take();
    assert!(matches!(answer, Some(Err(EngineError::OwnerLost(_)))), "{answer:?}");
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
