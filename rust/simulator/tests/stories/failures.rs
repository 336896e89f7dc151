//! Failure records and their destinations.

use forebay_engine::attempts::{Task, Work};
use serde_json::{json, Value};

use crate::rig::{bound, number, Rig};

fn delivered(work: &Work) -> Value {
    match &work.task {
        Task::Deliver(record) => serde_json::from_slice(record).unwrap(),
        task => panic!("{task:?} is no delivery"),
    }
}

/// A started mapping whose batches are given up at once to the destination `d`.
fn giving_up(rig: &Rig) {
    rig.register("destination", "d", 60_000);
    rig.start(&json!({"on_failure": "d"}));
}

fn fail_one(rig: &Rig) -> Work {
    rig.put(&["a"]);
    let batch = rig.batches().remove(0);
    rig.end(batch.token, 1, None);
    rig.works().remove(0)
}

/// The next try of a delivery was due by the wall clock, and the timer rang by the other one: a clock set back by a second left
/// the failure waiting for ever.
#[test]
fn a_delivery_is_tried_again_though_the_clock_was_set_back() {
    let mut rig = Rig::new();
    giving_up(&rig);
    let delivery = fail_one(&rig);
    rig.end(delivery.token, 1, None);
    rig.wall_ms -= 86_400_000;
    rig.pass(2_000);
    assert_eq!(rig.works().len(), 1);
}

/// A mapping lost its destination while a failure was on its way to it: the failure was neither sent nor listed any more.
#[test]
fn a_failure_goes_to_the_destination_it_was_given_up_to() {
    let mut rig = Rig::new();
    giving_up(&rig);
    let delivery = fail_one(&rig);
    rig.end(delivery.token, 1, None);
    rig.told("mapping.update", &json!({"stream": "s", "function": "f", "on_failure": null})).unwrap();
    rig.pass(2_000);
    let again = rig.works().remove(0);
    assert_eq!(delivered(&again)["KinesisBatchInfo"]["startSequenceNumber"], number(0, 0));
    rig.end(again.token, 0, None);
    rig.pass(10);
    assert!(rig.failures().is_empty());
}

/// A confirmed failure was found in the store before its removal was durable, and sent again.
#[test]
fn a_confirmed_failure_is_not_sent_again_while_its_row_is_still_there() {
    let rig = Rig::slow();
    rig.register("destination", "d", 60_000);
    rig.start(&json!({"on_failure": "d"}));
    rig.put(&["a"]);
    rig.disk();
    rig.disk();
    let batch = rig.batches().remove(0);
    rig.end(batch.token, 1, None);
    rig.disk();
    let delivery = rig.works().remove(0);
    rig.end(delivery.token, 0, None);
    // Whatever makes the engine look through its failures.
    rig.register("destination", "other", 60_000);
    assert!(rig.works().is_empty());
}

/// The same, with a delivery under way.
#[test]
fn a_failure_is_with_its_destination_once() {
    let rig = Rig::new();
    giving_up(&rig);
    let _under_way = fail_one(&rig);
    rig.register("destination", "other", 60_000);
    assert!(rig.works().is_empty());
}

/// Deliveries past their deadline counted as handlers that run on, and nothing took them off: after a hundred the app was not
/// ready any more, for good.
#[test]
fn a_destination_that_hangs_does_not_make_the_app_unready() {
    let mut rig = Rig::new();
    giving_up(&rig);
    for _ in 0..101 {
        rig.put(&["a"]);
        let batch = rig.batches().remove(0);
        rig.end(batch.token, 1, None);
        let deliveries = rig.works();
        rig.pass(60_000);
        for delivery in deliveries {
            rig.end(delivery.token, 2, None);
        }
        rig.works();
    }
    assert_eq!(rig.engine().not_ready(), [""; 0]);
}

/// Records that retention dropped unread, and a batch that it took away from a lane, may begin at the same position: one of the
/// two records took the other's place.
#[test]
fn records_dropped_unread_and_a_batch_dropped_with_them_are_both_listed() {
    let mut rig = Rig::new();
    rig.start(&json!({"parallelization_factor": 2, "maximum_retry_attempts": -1}));
    let keys: Vec<String> = (0..20_000).map(|n| format!("k{}", n % 50)).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    for part in keys.chunks(500) {
        rig.put(part);
        rig.pass(1);
    }
    for batch in rig.batches() {
        rig.end(batch.token, 1, None);
    }
    rig.told("stream.alter", &json!({"name": "s", "retention_bytes": 1})).unwrap();
    rig.pass(60_000);
    let listed = rig.failures();
    let unread: Vec<&Value> =
        listed.iter().filter(|failure| failure["id"].as_str().unwrap().ends_with(":unread")).collect();
    assert_eq!(unread.len(), 1, "{} are listed", listed.len());
    assert!(listed.len() > 1);
}

/// A mapping declared on a stream whose first records were long gone began with a failure record about all of them.
#[test]
fn a_mapping_declared_after_retention_has_worked_lists_nothing() {
    let mut rig = Rig::new();
    rig.start(&json!({}));
    rig.told("mapping.delete", &bound()).unwrap();
    rig.put(&["a", "b", "c"]);
    rig.told("stream.alter", &json!({"name": "s", "retention_ms": 1_000})).unwrap();
    rig.pass(120_000);
    rig.told("mapping.declare", &crate::rig::mapping(&json!({}))).unwrap();
    rig.put(&["d"]);
    assert_eq!(rig.batches()[0].positions, [3]);
    assert!(rig.failures().is_empty());
}

/// What retention dropped before it was given up has no data: running it again brought the engine down.
#[test]
fn a_failure_whose_records_are_gone_is_not_run_again() {
    let mut rig = Rig::new();
    rig.start(&json!({}));
    rig.put(&["a"]);
    rig.told("mapping.pause", &bound()).unwrap();
    rig.told("stream.alter", &json!({"name": "s", "retention_ms": 1_000})).unwrap();
    rig.pass(120_000);
    rig.told("mapping.resume", &bound()).unwrap();
    rig.pass(10);
    assert_eq!(rig.failures().len(), 1);
    let answer = rig.told("failed.redrive", &json!({"function": "f"})).unwrap();
    assert!(answer["redriven"].as_u64().is_some());
    rig.pass(10);
    rig.works();
}
