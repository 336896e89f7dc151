//! Ends and beginnings of the process, and its deadlines.

use forebay_engine::attempts::Task;
use forebay_engine::slots::{SlotKind, SlotRecord, Slots, SLOTS_MAX};
use forebay_engine::store::fault::{Fault, Repeat};
use serde_json::json;

use crate::rig::Rig;

/// What was in flight was taken over into slots of its own beside the old ones: with more than half of the file in flight there was
/// no room, and the store could not be opened any more.
#[test]
fn a_crash_with_most_slots_in_flight_can_be_started_after() {
    let mut rig = Rig::new();
    rig.start(&json!({}));
    let record = |first| SlotRecord {
        kind: SlotKind::Batch,
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
    let most = SLOTS_MAX as u64 * 7 / 8;
    let left: Vec<SlotRecord> = (0..most).map(record).collect();
    rig.engine().close();
    rig.store = rig.store.crash(forebay_engine::store::fault::Crash::Process);
    rig.open(Slots::left_by(&left));
    rig.start(&json!({}));
    assert_eq!(rig.engine().in_flight().len() as u64, most);
}

/// A stop waited for a full disk that took nothing, for ever.
#[test]
fn a_stop_ends_though_the_disk_is_full() {
    let rig = Rig::new();
    rig.start(&json!({}));
    rig.put(&["a"]);
    rig.store.fail(1, Fault::Full, Repeat::Always);
    let refused = rig.put(&["b"]);
    let last = rig.put(&["c"]);
    rig.engine().close();
    assert!(matches!(refused.heard(), Some(Err(_))));
    assert!(matches!(last.heard(), Some(Err(_))));
}

/// Deadlines were kept in the order of handing out: an attempt with a shorter timeout waited for the deadline of an older one.
#[test]
fn a_shorter_timeout_counts_while_an_attempt_with_a_longer_one_runs() {
    let mut rig = Rig::new();
    rig.start(&json!({"parallelization_factor": 10}));
    rig.register("function", "f", 600_000);
    rig.put(&["a"]);
    assert_eq!(rig.batches().len(), 1);
    rig.register("function", "f", 1_000);
    rig.put(&["b", "c", "d", "e"]);
    let quick = rig.batches();
    assert!(!quick.is_empty());
    rig.pass(1_001);
    let cancelled = rig.works().into_iter().filter(|work| matches!(work.task, Task::Cancel)).count();
    assert_eq!(cancelled, quick.len());
}

/// A deletion forgot the suspects of its mapping in memory, not on file: every start found them again.
#[test]
fn the_suspects_of_a_deleted_mapping_are_let_go() {
    let mut rig = Rig::new();
    rig.start(&json!({}));
    rig.put(&["a"]);
    assert_eq!(rig.batches().len(), 1);
    rig.kill();
    assert_eq!(rig.engine().in_flight().len(), 1);
    rig.told("mapping.delete", &crate::rig::bound()).unwrap();
    rig.works();
    assert!(rig.engine().in_flight().is_empty());
}
