//! What is told of lost records, and that nothing is told twice.

use serde_json::{json, Value};

use super::Spans;
use crate::chunk::Chunk;
use crate::mappings::checkpoint_key;
use crate::port::{Store as _, Table, Write};
use crate::rig::{Rig, SECOND};
use crate::store::lost;

const LOST: [(u64, u64); 3] = [(60, 63), (6_000, 6_003), (19_990, 20_013)];
/// The record of the first lane, which nobody handles, and where the second lane stands: in the midst of lost records.
const MARKS: [u64; 2] = [50, 20_000];

fn function() -> Value {
    json!({"kind": "function", "name": "f", "timeout_ms": 3_000})
}

fn declare(rig: &Rig) {
    let mapping = json!({
        "stream": "s", "function": "f", "starting_position": "TRIM_HORIZON", "batch_size": 10,
        "maximum_batching_window_ms": 0, "parallelization_factor": 2, "maximum_retry_attempts": -1,
        "maximum_record_age_ms": -1, "bisect_batch_on_function_error": false, "report_batch_item_failures": false,
        "filters": [], "tumbling_window_ms": 0, "include_payload": false, "enabled": true,
        "retry_backoff": {"base_ms": 1_000, "cap_ms": 30_000, "jitter": 0.0},
    });
    rig.json("mapping.declare", &mapping);
}

fn note((first, end): (u64, u64)) -> Write {
    Write::Set { table: Table::Meta, key: lost::key(0, first), value: end.to_be_bytes().to_vec() }
}

/// An app on a salvaged store, whose lanes stood far from each other.
fn salvaged() -> Rig {
    let rig = Rig::new().reopened_with(&[function()]);
    rig.json("stream.declare", &json!({"name": "s", "shards": 1, "retention_ms": 86_400_000}));
    declare(&rig);
    let mapping = rig.engine.with(|state| *state.mappings.keys().next().unwrap());
    rig.engine.close();
    let mut chunk = Chunk::starting_at(0);
    for position in 0..20_020 {
        if LOST.iter().any(|&(first, end)| (first..end).contains(&position)) {
            chunk.push_lost(rig.now.wall_ms);
        } else {
            chunk.push("key", b"x", u32::from(position != MARKS[0]), rig.now.wall_ms);
        }
    }
    let marks = json!({"marks": MARKS, "window": null, "ended": false}).to_string().into_bytes();
    let mut writes = vec![
        Write::Append { shard: 0, chunk: chunk.into() },
        Write::Set { table: Table::Checkpoint, key: checkpoint_key(mapping, 0), value: marks },
    ];
    writes.extend(LOST.map(note));
    rig.store.clone().commit(&writes).unwrap();
    again(rig)
}

fn again(rig: Rig) -> Rig {
    let mut rig = rig.reopened_with(&[function()]);
    declare(&rig);
    (0..20).for_each(|_| rig.advance(SECOND));
    rig
}

/// Runs and records that the log is told of, in one notice at most.
fn told(rig: &Rig) -> (u64, u64) {
    let notices = rig.notices();
    let sums: Vec<&Value> =
        notices.iter().filter(|notice| notice["what"] == "lost").map(|notice| &notice["sums"]).collect();
    assert!(sums.len() <= 1, "{notices:?}");
    sums.first().map_or((0, 0), |sums| (sums["runs"].as_u64().unwrap(), sums["records"].as_u64().unwrap()))
}

/// The lane that was ahead had read behind what the other one came to: that was stepped over without a word. And while a lane is
/// stuck, every start told of the same records again.
#[test]
fn lanes_far_apart_tell_of_all_lost_records_and_of_each_once() {
    let rig = salvaged();
    assert_eq!(told(&rig), (4, 29));
    let failed = rig.json("failed.list", &json!({"function": "f", "limit": 10}));
    let mut sizes: Vec<u64> = Vec::new();
    for failure in failed["failures"].as_array().unwrap() {
        sizes.push(failure["record"]["KinesisBatchInfo"]["batchSize"].as_u64().unwrap());
    }
    sizes.sort_unstable();
    assert_eq!(sizes, [3, 3, 10, 13]);
    assert_eq!(rig.engine.with(|state| state.pollers.iter().flatten().next().unwrap().machine.low()), MARKS[0]);

    let rig = again(rig);
    assert_eq!(told(&rig), (0, 0), "a start tells nothing anew");
    rig.engine.close();
    rig.store.clone().commit(&[note((7_000, 7_003))]).unwrap();
    assert_eq!(told(&again(rig)), (4, 29), "what a later salvage lost may lie anywhere");
}

#[test]
fn nothing_is_left_of_what_a_mapping_that_is_gone_was_told() {
    let mut rig = salvaged();
    let rows = |rig: &Rig| rig.store.reader().unwrap().scan(Table::Meta, super::TOLD, None, 9).unwrap().len();
    assert_eq!(rows(&rig), 1);
    rig.json("mapping.delete", &json!({"stream": "s", "function": "f"}));
    rig.advance(SECOND);
    assert_eq!(rows(&rig), 0);
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
    assert_eq!(spans.ends.len(), super::SPANS_MAX);
}
