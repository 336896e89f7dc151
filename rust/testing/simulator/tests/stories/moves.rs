//! Mappings that begin, move, pause and go.

use forebay_engine::base::error::EngineError;
use forebay_engine::store::fault::{Fault, Repeat};
use forebay_engine::store::port::StoreError;
use serde_json::json;

use crate::test_engine::bound;
use crate::test_engine::mapping;
use crate::test_engine::TestEngine;

/// A mapping declared at LATEST counted the records that waited for the disk. The disk was full and refused them, other records
/// took their positions, and the mapping passed them by.
#[test]
fn a_mapping_at_latest_runs_what_takes_the_place_of_a_refused_put() {
    let engine = TestEngine::slow();
    engine.start(&json!({}));
    engine.told("mapping.delete", &bound()).unwrap();
    engine.store.fail(1, Fault::Full, Repeat::Once);
    let refused = engine.put(&["a", "b"]);
    let declared = engine.ask("mapping.declare", &mapping(&json!({"starting_position": "LATEST"})));
    engine.disk();
    assert!(matches!(refused.heard(), Some(Err(EngineError::Store(StoreError::Full(_))))));
    engine.disk();
    engine.disk();
    assert!(matches!(declared.heard(), Some(Ok(_))), "a declaration needs no room");
    let kept = engine.put(&["c"]);
    engine.disk();
    assert!(matches!(kept.heard(), Some(Ok(_))));
    engine.disk();
    assert_eq!(engine.batches()[0].positions, [0]);
}

/// The number of a deleted mapping was given to the next one after a restart; whatever stood under that number became its progress.
#[test]
fn the_number_of_a_deleted_mapping_is_never_given_again() {
    let mut engine = TestEngine::new();
    engine.start(&json!({}));
    engine.told("mapping.delete", &bound()).unwrap();
    engine.restart();
    engine.start(&json!({}));
    engine.put(&["a"]);
    let works = engine.works();
    let forebay_engine::dispatch::attempts::Task::Batch { records, .. } = &works[0].task else {
        panic!("a batch is due")
    };
    assert_eq!(records.source.mapping, 2);
}

/// Rows that waited for their commit when a mapping was deleted were written after it, and stayed for ever.
#[test]
fn a_deleted_mapping_leaves_no_row_that_was_on_its_way() {
    let engine = TestEngine::slow();
    engine.start(&json!({}));
    engine.put(&["a"]);
    engine.disk();
    engine.disk();
    let batch = engine.batches().remove(0);
    // Its failure is with the disk while the mapping goes.
    engine.end(batch.token, 1, None);
    engine.told("mapping.delete", &bound()).unwrap();
    for table in [forebay_engine::store::port::Table::Failure, forebay_engine::store::port::Table::Checkpoint] {
        assert!(engine.reader().scan(table, &[], None, 10).unwrap().is_empty(), "{table:?}");
    }
}

/// What waited for its turn when a mapping was deleted was handed out all the same.
#[test]
fn nothing_of_a_deleted_mapping_is_handed_out() {
    let mut engine = TestEngine::new();
    engine.concurrency = 1;
    engine.restart();
    engine.start(&json!({"parallelization_factor": 10}));
    engine.put(&["a", "b", "c", "d", "e"]);
    let first = engine.batches();
    assert_eq!(first.len(), 1);
    engine.told("mapping.delete", &bound()).unwrap();
    engine.end(first[0].token, 0, None);
    assert!(engine.works().is_empty());
}

/// What waited for its turn when a mapping was paused was handed out all the same.
#[test]
fn a_pause_takes_back_what_nobody_has_taken() {
    let mut engine = TestEngine::new();
    engine.concurrency = 1;
    engine.restart();
    engine.start(&json!({"parallelization_factor": 10}));
    engine.put(&["a", "b", "c", "d", "e"]);
    let first = engine.batches();
    engine.told("mapping.pause", &bound()).unwrap();
    engine.end(first[0].token, 0, None);
    engine.pass(1_000);
    assert!(engine.works().is_empty());
    engine.told("mapping.resume", &bound()).unwrap();
    let second = engine.batches();
    assert_eq!(second.len(), 1, "it goes on at once: nothing has failed");
}

/// A seek waited in memory for a batch in flight. It was acknowledged, the process was killed, and the mapping went on where it
/// had been.
#[test]
fn a_seek_that_was_acknowledged_survives_though_a_batch_was_in_flight() {
    let mut engine = TestEngine::new();
    engine.start(&json!({}));
    engine.put(&["a", "b", "c"]);
    let done = engine.batches();
    engine.end(done[0].token, 0, None);
    engine.pass(10);
    let _in_flight = engine.batches();
    engine.told("mapping.seek", &json!({"stream": "s", "function": "f", "position": "LATEST"})).unwrap();
    assert_eq!(engine.marks(1, 0), json!([3]));
    engine.kill();
    engine.start(&json!({}));
    assert!(engine.works().is_empty());
}

/// A batch that failed for the last time after its mapping had moved back was written down as failed, and ran again.
#[test]
fn what_was_in_flight_when_a_mapping_moved_is_not_given_up() {
    let engine = TestEngine::new();
    engine.start(&json!({}));
    engine.put(&["a"]);
    let batch = engine.batches().remove(0);
    engine.told("mapping.seek", &json!({"stream": "s", "function": "f", "position": "TRIM_HORIZON"})).unwrap();
    engine.end(batch.token, 1, None);
    assert!(engine.failures().is_empty());
    assert_eq!(engine.batches()[0].positions, [0]);
}

/// After a seek to the beginning parents and children ran side by side, so the records of a key changed places.
#[test]
fn children_wait_for_their_parents_after_a_seek_to_the_beginning() {
    let engine = TestEngine::new();
    engine.start(&json!({}));
    engine.put(&["a"]);
    let parent = engine.batches().remove(0);
    engine.end(parent.token, 0, None);
    engine.told("stream.reshard", &json!({"name": "s", "shards": 2})).unwrap();
    engine.put(&["a"]);
    let child = engine.batches().remove(0);
    engine.end(child.token, 0, None);
    engine.told("mapping.seek", &json!({"stream": "s", "function": "f", "position": "TRIM_HORIZON"})).unwrap();
    let again = engine.batches();
    assert_eq!(again.iter().map(|batch| batch.shard).collect::<Vec<_>>(), [0]);
    engine.end(again[0].token, 0, None);
    assert_eq!(engine.batches()[0].shard, child.shard);
}

/// After a seek of one parent to one of its records, children went on with what they had read beside it.
#[test]
fn descendants_wait_for_a_shard_that_is_moved_back_alone() {
    let engine = TestEngine::new();
    engine.start(&json!({}));
    engine.put(&["a", "a"]);
    for _ in 0..2 {
        let parent = engine.batches().remove(0);
        engine.end(parent.token, 0, None);
    }
    for shards in [2, 1] {
        engine.told("stream.reshard", &json!({"name": "s", "shards": shards})).unwrap();
    }
    engine.put(&["a", "a", "a"]);
    let grandchild = engine.batches().remove(0);
    let back = json!({"stream": "s", "function": "f", "sequence_number": crate::test_engine::number(0, 1)});
    engine.told("mapping.seek", &back).unwrap();
    engine.end(grandchild.token, 0, None);
    let again = engine.batches();
    assert_eq!(again.iter().map(|batch| batch.shard).collect::<Vec<_>>(), [0], "it has two more records at hand");
    engine.end(again[0].token, 0, None);
    assert_eq!(engine.batches()[0].shard, grandchild.shard);
}

/// A pause while a child waited for its parent, and a resume: the child began beside it.
#[test]
fn a_resume_lets_no_child_begin_before_its_parent_is_over() {
    let engine = TestEngine::new();
    engine.start(&json!({}));
    engine.put(&["a"]);
    let parent = engine.batches().remove(0);
    engine.told("stream.reshard", &json!({"name": "s", "shards": 2})).unwrap();
    engine.put(&["a"]);
    engine.told("mapping.pause", &bound()).unwrap();
    engine.told("mapping.resume", &bound()).unwrap();
    assert!(engine.works().is_empty());
    engine.end(parent.token, 0, None);
    assert_eq!(engine.batches().len(), 1);
}

/// A stream was resharded while a put waited for the disk. The disk was full: the shard had been closed behind records that it
/// never got, never came to its end, and its children waited for it.
#[test]
fn a_shard_closed_behind_a_refused_put_ends_before_it() {
    let engine = TestEngine::slow();
    engine.start(&json!({}));
    engine.store.fail(1, Fault::Full, Repeat::Once);
    let refused = engine.put(&["a", "b"]);
    engine.told("stream.reshard", &json!({"name": "s", "shards": 2})).unwrap();
    assert!(matches!(refused.heard(), Some(Err(_))));
    engine.put(&["c"]);
    engine.disk();
    engine.disk();
    assert_eq!(engine.batches().len(), 1, "a child's record");
}

/// The same, and the process was killed between the two commits: the next one read for ever at the end of the closed shard.
#[test]
fn a_shard_closed_behind_a_lost_put_ends_where_its_log_does() {
    let mut engine = TestEngine::slow();
    engine.start(&json!({}));
    engine.store.fail(1, Fault::Full, Repeat::Always);
    engine.put(&["a"]);
    engine.disk();
    // The disk is known to be full: the put goes apart from the reshard.
    engine.put(&["b"]);
    engine.ask("stream.reshard", &json!({"name": "s", "shards": 2}));
    engine.disk();
    engine.store.mend();
    engine.kill();
    engine.start(&json!({}));
    engine.pass(1_000);
    engine.put(&["c"]);
    for _ in 0..4 {
        engine.disk();
    }
    assert_eq!(engine.batches().len(), 1, "a child's record");
}

/// The state of a tumbling window was not read when the window was taken away while a batch ran: a success counted as a failure.
#[test]
fn a_batch_that_began_in_a_window_ends_in_it() {
    let engine = TestEngine::new();
    engine.start(&json!({"tumbling_window_ms": 1_000}));
    engine.put(&["a"]);
    let batch = engine.batches().remove(0);
    engine.told("mapping.update", &json!({"stream": "s", "function": "f", "tumbling_window_ms": 0})).unwrap();
    engine.end(batch.token, 0, Some(&json!({"state": {"count": 1}})));
    assert!(engine.failures().is_empty());
    let last = engine.batches();
    assert!(last[0].positions.is_empty(), "the window's final invoke");
}

/// A mapping was moved to LATEST while one lane ran and another waited to retry. Skipping the one that waited wrote a failure record for
/// records that the move had passed by.
#[test]
fn what_a_seek_has_passed_by_cannot_be_skipped() {
    let engine = TestEngine::new();
    engine.start(&json!({"parallelization_factor": 2, "maximum_retry_attempts": 5}));
    engine.put(&["a", "b", "c", "d", "e", "f"]);
    let batches = engine.batches();
    assert_eq!(batches.len(), 2, "both lanes run");
    engine.end(batches[0].token, 1, None);
    let mut seek = bound();
    seek["position"] = "LATEST".into();
    engine.ask("mapping.seek", &seek);
    let described = engine.told("mapping.describe", &bound()).unwrap();
    for lane in described["shards"][0]["lanes"].as_array().unwrap() {
        let mut skip = bound();
        skip["batch"] = lane["batch"].clone();
        engine.ask("mapping.skip", &skip);
    }
    engine.end(batches[1].token, 1, None);
    assert!(engine.failures().is_empty());
}
