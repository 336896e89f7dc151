//! What is told of lost records, and that nothing is told twice.

use serde_json::{json, Value};

use crate::runtime::test_engine::{TestEngine, SECOND};
use crate::sources::stream::lost_records::Spans;
use crate::sources::stream::mapping::checkpoint_key;
use crate::store::chunk::Chunk;
use crate::store::format::lost;
use crate::store::port::{BlockingStore as _, Store as _, Table, Write};

const LOST: [(u64, u64); 3] = [(60, 63), (6_000, 6_003), (19_990, 20_013)];
/// The record of the first lane, which nobody handles, and where the second lane stands: in the midst of lost records.
const MARKS: [u64; 2] = [50, 20_000];

fn function() -> Value {
    json!({"kind": "function", "name": "f", "timeout_ms": 3_000})
}

fn declare(engine: &TestEngine) {
    let mapping = json!({
        "stream": "s", "function": "f", "starting_position": "TRIM_HORIZON", "batch_size": 10,
        "maximum_batching_window_ms": 0, "parallelization_factor": 2, "maximum_retry_attempts": -1,
        "maximum_record_age_ms": -1, "bisect_batch_on_function_error": false, "report_batch_item_failures": false,
        "filters": [], "tumbling_window_ms": 0, "include_payload": false, "enabled": true,
        "retry_backoff": {"base_ms": 1_000, "cap_ms": 30_000, "jitter": 0.0},
    });
    engine.json("mapping.declare", &mapping);
}

fn note((first, end): (u64, u64)) -> Write {
    Write::Set { table: Table::Meta, key: lost::key(0, first), value: lost::value(end) }
}

/// An app on a salvaged store, whose lanes stood far from each other.
fn salvaged() -> TestEngine {
    let engine = TestEngine::new().reopened_with(&[function()]);
    engine.json("stream.declare", &json!({"name": "s", "shards": 1, "retention_ms": 86_400_000}));
    declare(&engine);
    let mapping = engine.engine.with(|state| *state.streams.mappings.keys().next().unwrap());
    engine.engine.close();
    let mut chunk = Chunk::starting_at(0);
    for position in 0..20_020 {
        if LOST.iter().any(|&(first, end)| (first..end).contains(&position)) {
            chunk.push_lost(engine.now.wall_ms);
        } else {
            chunk.push("key", b"x", u32::from(position != MARKS[0]), engine.now.wall_ms);
        }
    }
    let marks = json!({"marks": MARKS, "window": null, "ended": false}).to_string().into_bytes();
    let mut writes = vec![
        Write::Append { shard: 0, chunk: chunk.into() },
        Write::Set { table: Table::Checkpoint, key: checkpoint_key(mapping, 0), value: marks },
    ];
    writes.extend(LOST.map(note));
    engine.store.clone().commit(&writes).unwrap();
    again(engine)
}

fn again(engine: TestEngine) -> TestEngine {
    let mut engine = engine.reopened_with(&[function()]);
    declare(&engine);
    (0..20).for_each(|_| engine.advance(SECOND));
    engine
}

/// Runs and records that the log is told of, in one notice at most.
fn told(engine: &TestEngine) -> (u64, u64) {
    let notices = engine.notices();
    let sums: Vec<&Value> =
        notices.iter().filter(|notice| notice["what"] == "lost").map(|notice| &notice["sums"]).collect();
    assert!(sums.len() <= 1, "{notices:?}");
    sums.first().map_or((0, 0), |sums| (sums["runs"].as_u64().unwrap(), sums["records"].as_u64().unwrap()))
}

/// The lane that was ahead had read behind what the other one came to: that was stepped over without a word. And while a lane is
/// stuck, every start told of the same records again.
#[test]
fn lanes_far_apart_tell_of_all_lost_records_and_of_each_once() {
    let engine = salvaged();
    assert_eq!(told(&engine), (4, 29));
    let failed = engine.json("failed.list", &json!({"function": "f", "limit": 10}));
    let mut sizes: Vec<u64> = Vec::new();
    for failure in failed["failures"].as_array().unwrap() {
        sizes.push(failure["record"]["KinesisBatchInfo"]["batchSize"].as_u64().unwrap());
    }
    sizes.sort_unstable();
    assert_eq!(sizes, [3, 3, 10, 13]);
    assert_eq!(
        engine.engine.with(|state| state.streams.pollers.iter().flatten().next().unwrap().machine.low()),
        MARKS[0]
    );

    let engine = again(engine);
    assert_eq!(told(&engine), (0, 0), "a start tells nothing anew");
    engine.engine.close();
    engine.store.clone().commit(&[note((7_000, 7_003))]).unwrap();
    assert_eq!(told(&again(engine)), (4, 29), "what a later salvage lost may lie anywhere");
}

#[test]
fn nothing_is_left_of_what_a_mapping_that_is_gone_was_told() {
    let mut engine = salvaged();
    let rows = |engine: &TestEngine| {
        engine
            .store
            .reader()
            .unwrap()
            .scan(Table::Meta, crate::sources::stream::lost_records::TOLD, None, 9)
            .unwrap()
            .len()
    };
    assert_eq!(rows(&engine), 1);
    engine.json("mapping.delete", &json!({"stream": "s", "function": "f"}));
    engine.advance(SECOND);
    assert_eq!(rows(&engine), 0);
}

#[test]
fn spans_that_touch_are_one_and_there_are_never_many() {
    let mut spans = Spans::default();
    for (first, end) in [(10, 20), (30, 40), (20, 25), (25, 30), (50, 60), (5, 5)] {
        spans.add(first, end);
    }
    assert_eq!(Vec::from_iter(spans.ends.clone()), [(10, 40), (50, 60)]);
    assert_eq!((spans.outside(10, 40), spans.outside(15, 55)), (None, Some((40, 50))));
    assert_eq!(
        (spans.outside(0, 9), spans.outside(0, 99), spans.outside(55, 99)),
        (Some((0, 9)), Some((0, 10)), Some((60, 99)))
    );
    spans.forget_below(40);
    assert_eq!(Vec::from_iter(spans.ends.clone()), [(50, 60)]);
    (0..10_000).for_each(|at| spans.add(at * 3, at * 3 + 1));
    assert_eq!(spans.ends.len(), crate::sources::stream::lost_records::SPANS_MAX);
}
