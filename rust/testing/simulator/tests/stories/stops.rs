//! Ends and beginnings of the process, and its deadlines.

use forebay_engine::base::error::EngineError;
use forebay_engine::dispatch::attempt_journal::{AttemptJournal, InFlight, InFlightKind, IN_FLIGHT_MAX};
use forebay_engine::dispatch::attempts::Task;
use forebay_engine::store::fault::{Fault, Repeat};
use forebay_engine::store::port::{BlockingStore as _, StoreError, Table, Write};
use serde_json::json;

use crate::test_engine::TestEngine;

/// What was in flight was taken over into slots of its own beside the old ones: with more than half of the file in flight there was
/// no room, and the store could not be opened any more.
#[test]
fn a_crash_with_most_slots_in_flight_can_be_started_after() {
    let mut engine = TestEngine::new();
    engine.start(&json!({}));
    let record = |first| InFlight {
        kind: InFlightKind::Batch,
        mapping: 1,
        shard: 0,
        lane: 0,
        lanes: 1,
        first,
        last: first,
        attempt: 1,
        interruptions: 0,
        alone: false,
    };
    let most = IN_FLIGHT_MAX as u64 * 7 / 8;
    let left: Vec<InFlight> = (0..most).map(record).collect();
    engine.inner().close();
    engine.store = engine.store.crash(forebay_engine::store::fault::Crash::Process);
    engine.open(AttemptJournal::left_by(&left));
    assert_eq!(engine.inner().in_flight().len() as u64, most, "taken over where they stand");
    engine.start(&json!({}));
    assert_eq!(engine.inner().in_flight(), [], "none of their records is in the stream");
}

/// A stop waited for a full disk that took nothing, for ever.
#[test]
fn a_stop_ends_though_the_disk_is_full() {
    let engine = TestEngine::new();
    engine.start(&json!({}));
    engine.put(&["a"]);
    engine.store.fail(1, Fault::Full, Repeat::Always);
    let refused = engine.put(&["b"]);
    let last = engine.put(&["c"]);
    engine.inner().close();
    assert!(matches!(refused.heard(), Some(Err(_))));
    assert!(matches!(last.heard(), Some(Err(_))));
}

/// Deadlines were kept in the order of handing out: an attempt with a shorter timeout waited for the deadline of an older one.
#[test]
fn a_shorter_timeout_counts_while_an_attempt_with_a_longer_one_runs() {
    let mut engine = TestEngine::new();
    engine.start(&json!({"parallelization_factor": 10}));
    engine.register("function", "f", 600_000);
    engine.put(&["a"]);
    assert_eq!(engine.batches().len(), 1);
    engine.register("function", "f", 1_000);
    engine.put(&["b", "c", "d", "e"]);
    let quick = engine.batches();
    assert!(!quick.is_empty());
    engine.pass(1_001);
    let cancelled = engine.works().into_iter().filter(|work| matches!(work.task, Task::Cancel)).count();
    assert_eq!(cancelled, quick.len());
}

/// A deletion forgot the suspects of its mapping in memory, not on file: every start found them again.
#[test]
fn the_suspects_of_a_deleted_mapping_are_let_go() {
    let mut engine = TestEngine::new();
    engine.start(&json!({}));
    engine.put(&["a"]);
    assert_eq!(engine.batches().len(), 1);
    engine.kill();
    assert_eq!(engine.inner().in_flight().len(), 1);
    engine.told("mapping.delete", &crate::test_engine::bound()).unwrap();
    engine.works();
    assert!(engine.inner().in_flight().is_empty());
}

/// A disk that fills, drains and fills again: nothing acknowledged is lost, nothing refused is run, and each time puts go on.
#[test]
fn a_disk_that_fills_and_drains_in_turns_takes_puts_each_time() {
    let mut engine = TestEngine::new();
    engine.start(&json!({}));
    let mut acknowledged = 0;
    for _ in 0..5 {
        let kept = engine.put(&["a", "b"]);
        assert!(matches!(kept.heard(), Some(Ok(_))));
        acknowledged += 2;
        engine.store.fail(1, Fault::Full, Repeat::Always);
        let refused = engine.put(&["c"]);
        engine.pass(200);
        assert!(matches!(refused.heard(), Some(Err(EngineError::Store(StoreError::Full(_))))));
        assert!(engine.inner().not_ready().iter().any(|reason| reason.contains("full")));
        // What was acknowledged is handled while the disk is full.
        for _ in 0..2 {
            let batch = engine.batches().remove(0);
            engine.end(batch.token, 0, None);
        }
        assert!(engine.works().is_empty(), "what was refused is not run");
        engine.store.mend();
        engine.pass(200);
    }
    assert_eq!(engine.marks(1, 0), json!([acknowledged]));
    assert!(
        engine.inner().not_ready().iter().all(|reason| !reason.contains("full")) || {
            engine.put(&["d"]);
            engine.inner().not_ready().is_empty()
        }
    );
}

/// Retries of a batch were counted anew after each restart: a deploy every few minutes, and a poison record stayed for ever.
#[test]
fn retries_are_counted_over_restarts() {
    let mut engine = TestEngine::new();
    engine.start(&json!({"maximum_retry_attempts": 2}));
    engine.put(&["a"]);
    for attempt in 1..=3 {
        engine.pass(200);
        let batch = engine.batches().remove(0);
        engine.end(batch.token, 1, None);
        engine.pass(10);
        assert_eq!(engine.failures().len(), usize::from(attempt == 3), "attempt {attempt}");
        engine.restart();
        engine.start(&json!({"maximum_retry_attempts": 2}));
    }
    engine.pass(1_000);
    assert!(engine.works().is_empty());
}

/// A checkpoint without marks, as a damaged or foreign store may hold, took the engine down with a panic.
#[test]
fn a_checkpoint_that_makes_no_sense_is_told_as_damage() {
    let mut engine = TestEngine::new();
    engine.start(&json!({}));
    engine.inner().close();
    let key = [&1u64.to_be_bytes()[..], &0u32.to_be_bytes()].concat();
    let value = br#"{"marks":[],"window":null,"ended":false}"#.to_vec();
    engine.store.commit(&[Write::Set { table: Table::Checkpoint, key, value }]).unwrap();
    engine.restart();
    engine.register("function", "f", 1_000);
    engine.told("mapping.declare", &crate::test_engine::mapping(&json!({}))).unwrap();
    let refused = engine.inner().start().unwrap_err();
    assert!(matches!(&refused, EngineError::Store(StoreError::Corrupt(text)) if text.contains("0 marks")), "{refused}");
}

/// A stream whose open shards' rows were lost, as in a store that was salvaged, took the engine down at the first put.
#[test]
fn a_stream_that_lost_its_open_shards_says_so_and_can_be_given_others() {
    let mut engine = TestEngine::new();
    engine.start(&json!({}));
    engine.inner().close();
    let key = 0u32.to_be_bytes().to_vec();
    engine.store.commit(&[Write::Remove { table: Table::Shard, key }]).unwrap();
    engine.restart();
    engine.start(&json!({}));
    let Some(Err(EngineError::Store(StoreError::Corrupt(text)))) = engine.put(&["a"]).heard() else {
        panic!("refused")
    };
    assert!(text.contains("forebay stream alter s --shards"), "{text}");
    engine.told("stream.reshard", &json!({"name": "s", "shards": 2})).unwrap();
    assert!(matches!(engine.put(&["a"]).heard(), Some(Ok(_))));
    assert_eq!(engine.batches().len(), 1);
}
