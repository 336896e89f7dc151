//! Failure records and their destinations.

use forebay_engine::dispatch::attempts::{Task, Work};
use forebay_engine::store::port::Table;
use serde_json::{json, Value};

use crate::test_engine::bound;
use crate::test_engine::number;
use crate::test_engine::TestEngine;

fn delivered(work: &Work) -> Value {
    match &work.task {
        Task::Deliver(record) => serde_json::from_slice(record).unwrap(),
        task => panic!("{task:?} is not a delivery"),
    }
}

/// A started mapping whose batches are given up at once to the destination `d`.
fn giving_up(engine: &TestEngine) {
    engine.register("destination", "d", 60_000);
    engine.start(&json!({"on_failure": "d"}));
}

fn fail_one(engine: &TestEngine) -> Work {
    engine.put(&["a"]);
    let batch = engine.batches().remove(0);
    engine.end(batch.token, 1, None);
    engine.works().remove(0)
}

/// Of an engine whose disk is slow.
fn fail_slowly(engine: &TestEngine) {
    engine.put(&["a"]);
    engine.disk();
    engine.disk();
    let batch = engine.batches().remove(0);
    engine.end(batch.token, 1, None);
}

/// The next try of a delivery was due by the wall clock, and the timer rang by the other one: a clock set back by a second left
/// the failure waiting for ever.
#[test]
fn a_delivery_is_tried_again_though_the_clock_was_set_back() {
    let mut engine = TestEngine::new();
    giving_up(&engine);
    let delivery = fail_one(&engine);
    engine.end(delivery.token, 1, None);
    engine.wall_ms -= 86_400_000;
    engine.pass(2_000);
    assert_eq!(engine.works().len(), 1);
}

/// A mapping lost its destination while a failure was on its way to it: the failure was neither sent nor listed any more.
#[test]
fn a_failure_goes_to_the_destination_it_was_given_up_to() {
    let mut engine = TestEngine::new();
    giving_up(&engine);
    let delivery = fail_one(&engine);
    engine.end(delivery.token, 1, None);
    engine.told("mapping.update", &json!({"stream": "s", "function": "f", "on_failure": null})).unwrap();
    engine.pass(2_000);
    let again = engine.works().remove(0);
    assert_eq!(delivered(&again)["KinesisBatchInfo"]["startSequenceNumber"], number(0, 0));
    engine.end(again.token, 0, None);
    engine.pass(10);
    assert!(engine.failures().is_empty());
}

/// A confirmed failure was found in the store before its removal was durable, and sent again.
#[test]
fn a_confirmed_failure_is_not_sent_again_while_its_row_is_still_there() {
    let engine = TestEngine::slow();
    giving_up(&engine);
    fail_slowly(&engine);
    engine.disk();
    let delivery = engine.works().remove(0);
    engine.end(delivery.token, 0, None);
    // Whatever makes the engine look through its failures.
    engine.register("destination", "other", 60_000);
    assert!(engine.works().is_empty());
}

/// The same, with a delivery under way.
#[test]
fn a_failure_is_with_its_destination_once() {
    let engine = TestEngine::new();
    giving_up(&engine);
    let _under_way = fail_one(&engine);
    engine.register("destination", "other", 60_000);
    assert!(engine.works().is_empty());
}

/// Deliveries past their deadline counted as handlers that run on, and nothing took them off: after a hundred the app was not
/// ready any more, for good.
#[test]
fn a_destination_that_hangs_does_not_make_the_app_unready() {
    let mut engine = TestEngine::new();
    giving_up(&engine);
    for _ in 0..101 {
        engine.put(&["a"]);
        let batch = engine.batches().remove(0);
        engine.end(batch.token, 1, None);
        let deliveries = engine.works();
        engine.pass(60_000);
        for delivery in deliveries {
            engine.end(delivery.token, 2, None);
        }
        engine.works();
    }
    assert_eq!(engine.inner().not_ready(), [""; 0]);
}

/// Records that retention dropped unread, and a batch that it took away from a lane, may begin at the same position: one of the
/// two records took the other's place.
#[test]
fn records_dropped_unread_and_a_batch_dropped_with_them_are_both_listed() {
    let mut engine = TestEngine::new();
    engine.start(&json!({"parallelization_factor": 2, "maximum_retry_attempts": -1}));
    let keys: Vec<String> = (0..20_000).map(|n| format!("k{}", n % 50)).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    for part in keys.chunks(500) {
        engine.put(part);
        engine.pass(1);
    }
    for batch in engine.batches() {
        engine.end(batch.token, 1, None);
    }
    engine.told("stream.alter", &json!({"name": "s", "retention_bytes": 1})).unwrap();
    engine.pass(60_000);
    let listed = engine.failures();
    let unread: Vec<&Value> =
        listed.iter().filter(|failure| failure["id"].as_str().unwrap().ends_with(":unread")).collect();
    assert_eq!(unread.len(), 1, "{} are listed", listed.len());
    assert!(listed.len() > 1);
    let refused = engine.told("failed.redrive", &json!({"function": "f", "ids": [unread[0]["id"]]})).unwrap_err();
    assert!(refused.to_string().contains("past the stream's retention"), "{refused}");
}

/// A mapping declared on a stream whose first records were long gone began with a failure record about all of them.
#[test]
fn a_mapping_declared_after_retention_has_worked_lists_nothing() {
    let mut engine = TestEngine::new();
    engine.start(&json!({}));
    engine.told("mapping.delete", &bound()).unwrap();
    engine.put(&["a", "b", "c"]);
    engine.told("stream.alter", &json!({"name": "s", "retention_ms": 1_000})).unwrap();
    engine.pass(120_000);
    engine.told("mapping.declare", &crate::test_engine::mapping(&json!({}))).unwrap();
    engine.put(&["d"]);
    assert_eq!(engine.batches()[0].positions, [3]);
    assert!(engine.failures().is_empty());
}

/// What retention dropped before it was given up has no data: running it again brought the engine down.
#[test]
fn a_failure_whose_records_are_gone_is_not_run_again() {
    let mut engine = TestEngine::new();
    engine.start(&json!({}));
    engine.put(&["a"]);
    engine.told("mapping.pause", &bound()).unwrap();
    engine.told("stream.alter", &json!({"name": "s", "retention_ms": 1_000})).unwrap();
    engine.pass(120_000);
    engine.told("mapping.resume", &bound()).unwrap();
    engine.pass(10);
    assert_eq!(engine.failures().len(), 1);
    let answer = engine.told("failed.redrive", &json!({"function": "f"})).unwrap();
    assert!(answer["redriven"].as_u64().is_some());
    engine.pass(10);
    engine.works();
}

/// A failure given up to a destination that is gone from the code waited for ever, in no list of what to look after.
#[test]
fn a_failure_whose_destination_is_gone_is_listed_after_a_day() {
    let mut engine = TestEngine::new();
    giving_up(&engine);
    let _never_confirmed = fail_one(&engine);
    engine.kill();
    engine.start(&json!({}));
    engine.pass(3_600_000);
    assert_eq!(engine.failures()[0]["destination"], "d", "it may be registered yet");
    engine.pass(24 * 3_600_000);
    let listed = engine.failures();
    assert!(listed[0]["destination"].is_null());
    assert!(listed[0]["last_error"].as_str().unwrap().contains("\"d\""));
    assert_eq!(engine.told("failed.redrive", &json!({"function": "f"})).unwrap()["redriven"], 1);
}

/// Over 10,000 that waited for a destination: what was not kept in memory was found again and again, and sent beside itself.
#[test]
fn a_great_many_failures_are_each_with_their_destination_once() {
    const FAILURES: usize = 10_600;
    let mut engine = TestEngine::new();
    giving_up(&engine);
    let keys = vec!["a"; FAILURES];
    for part in keys.chunks(500) {
        engine.put(part);
    }
    let mut sent = std::collections::BTreeSet::new();
    let mut held = Vec::new();
    let mut given_up = 0;
    while sent.len() < FAILURES || !held.is_empty() {
        let works = engine.works();
        if works.is_empty() {
            // Everything that may be sent is: confirm some of it, and let time pass.
            assert!(given_up == FAILURES && !held.is_empty(), "{} of {FAILURES} were sent", sent.len());
            for token in held.drain(..) {
                engine.end(token, 0, None);
            }
            engine.pass(10);
            continue;
        }
        for work in works {
            if let Task::Deliver(_) = work.task {
                assert!(sent.insert(delivered(&work)["metadata"]["deliveryId"].to_string()), "sent twice");
                held.push(work.token);
            } else {
                engine.end(work.token, 1, None);
                given_up += 1;
            }
        }
    }
    engine.pass(1_000);
    assert!(engine.works().is_empty());
    assert!(engine.failures().is_empty());
}

/// Failures were listed in the order of their shards, and what did not fit could not be asked for.
#[test]
fn failures_are_listed_oldest_first_and_page_by_page() {
    let mut engine = TestEngine::new();
    engine.start(&json!({}));
    engine.told("stream.reshard", &json!({"name": "s", "shards": 4})).unwrap();
    for n in 0..20 {
        engine.put(&[format!("k{n}").as_str()]);
        let batch = engine.batches().remove(0);
        engine.end(batch.token, 1, None);
        engine.pass(5);
    }
    let (mut all, mut after) = (Vec::new(), Value::Null);
    loop {
        let page = engine.told("failed.list", &json!({"limit": 6, "after": after})).unwrap();
        let failures = page["failures"].as_array().unwrap();
        assert!(failures.len() <= 6);
        all.extend(failures.iter().map(|failure| failure["failed_ms"].as_u64().unwrap()));
        after = page["next"].clone();
        if after.is_null() {
            break;
        }
    }
    assert_eq!(all.len(), 20);
    assert!(all.is_sorted());
    assert!(engine.told("failed.list", &json!({"limit": 6, "after": "1-2-3"})).is_err());
}

/// A list of failures with their payloads was larger than a frame of the owner's socket, which broke.
#[test]
fn a_page_of_failures_ends_before_it_is_too_large() {
    let engine = TestEngine::new();
    engine.start(&json!({"include_payload": true}));
    let data = vec![b'x'; 1 << 20];
    for _ in 0..12 {
        engine.put_data(&data);
        let batch = engine.batches().remove(0);
        engine.end(batch.token, 1, None);
    }
    let (mut count, mut pages, mut after) = (0, 0, Value::Null);
    while pages == 0 || !after.is_null() {
        let page = engine.told("failed.list", &json!({"limit": 1_000, "after": after})).unwrap();
        assert!(page.to_string().len() < 9 << 20);
        count += page["failures"].as_array().unwrap().len();
        pages += 1;
        after = page["next"].clone();
    }
    assert_eq!((count, pages), (12, 3));
    let read = engine.told("stream.read", &json!({"name": "s", "position": "TRIM_HORIZON", "limit": 100})).unwrap();
    assert!(read.to_string().len() < 11 << 20);
    assert!(read["behind"].as_u64().unwrap() > 0);
}

/// A redrive for a function that nothing runs said how many it had taken up, and forgot them.
#[test]
fn a_redrive_without_its_function_is_refused() {
    let mut engine = TestEngine::new();
    engine.start(&json!({}));
    engine.put(&["a"]);
    let batch = engine.batches().remove(0);
    engine.end(batch.token, 1, None);
    engine.kill();
    let refused = engine.told("failed.redrive", &json!({"function": "f"})).unwrap_err();
    assert!(refused.to_string().contains("start the app that declares it"), "{refused}");
}

/// A failure on its way to its destination was run again by hand as well.
#[test]
fn what_waits_for_its_destination_is_not_redriven() {
    let engine = TestEngine::new();
    giving_up(&engine);
    let _under_way = fail_one(&engine);
    let id = engine.failures()[0]["id"].clone();
    let refused = engine.told("failed.redrive", &json!({"function": "f", "ids": [id]})).unwrap_err();
    assert!(refused.to_string().contains("waits for its destination"), "{refused}");
    assert_eq!(engine.told("failed.redrive", &json!({"function": "f"})).unwrap()["redriven"], 0);
    assert!(engine.told("failed.redrive", &json!({"function": "f", "ids": ["9-9-9"]})).is_err());
}

/// A lane that waited to retry a batch that retention took meanwhile: the batch is given up, and the lane goes on.
#[test]
fn a_lane_stuck_on_what_retention_took_goes_on() {
    let mut engine = TestEngine::new();
    let backoff = json!({"base_ms": 600_000, "cap_ms": 600_000, "jitter": 0.0});
    engine.start(&json!({"maximum_retry_attempts": -1, "retry_backoff": backoff}));
    engine.put(&["a"]);
    let batch = engine.batches().remove(0);
    engine.end(batch.token, 1, None);
    engine.told("stream.alter", &json!({"name": "s", "retention_ms": 1_000})).unwrap();
    engine.pass(60_000);
    let listed = engine.failures();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0]["record"]["requestContext"]["condition"], "RecordsExpired");
    engine.put(&["a"]);
    assert_eq!(engine.batches()[0].positions, [1]);
}

/// A redriven batch whose handler never ended kept every other redrive of its mapping waiting.
#[test]
fn a_redrive_that_never_ends_holds_up_no_other() {
    let mut engine = TestEngine::new();
    engine.start(&json!({"parallelization_factor": 10}));
    give_up_each(&mut engine, &["a", "b"]);
    assert_eq!(engine.told("failed.redrive", &json!({"function": "f"})).unwrap()["redriven"], 2);
    assert_eq!(engine.batches()[0].positions, [0]);
    engine.pass(1_001);
    assert_eq!(engine.batches()[0].positions, [1]);
}

fn give_up_each(engine: &mut TestEngine, keys: &[&str]) {
    for key in keys {
        engine.put(&[key]);
        let batch = engine.batches().remove(0);
        engine.end(batch.token, 1, None);
        engine.pass(10);
    }
}

/// A failure was run again beside another one of its key that ran past its deadline.
#[test]
fn a_redrive_waits_for_one_of_its_keys_that_is_past_its_deadline_and_the_others_do_not() {
    let mut engine = TestEngine::new();
    engine.start(&json!({"parallelization_factor": 10}));
    give_up_each(&mut engine, &["a", "a", "b"]);
    engine.told("failed.redrive", &json!({"function": "f"})).unwrap();
    let late = engine.batches().remove(0);
    assert_eq!(late.positions, [0]);
    engine.pass(1_001);
    let other = engine.batches().remove(0);
    assert_eq!(other.positions, [2]);
    engine.end(other.token, 0, None);
    engine.pass(10);
    assert!(engine.batches().is_empty());
    engine.end(late.token, 2, None);
    engine.pass(10);
    assert_eq!(engine.batches()[0].positions, [1]);
}

/// The same beside a batch of the lane itself.
#[test]
fn a_redrive_waits_for_a_batch_of_its_lane_that_is_past_its_deadline_and_the_others_do_not() {
    let mut engine = TestEngine::new();
    engine.start(&json!({"parallelization_factor": 10}));
    give_up_each(&mut engine, &["a", "b"]);
    engine.put(&["a"]);
    let late = engine.batches().remove(0);
    engine.told("failed.redrive", &json!({"function": "f"})).unwrap();
    assert!(engine.batches().is_empty(), "the lane runs a batch");
    engine.pass(1_001);
    let other = engine.batches().remove(0);
    assert_eq!(other.positions, [1]);
    engine.put(&["a"]);
    engine.end(other.token, 0, None);
    engine.pass(10);
    assert!(engine.batches().is_empty());
    engine.end(late.token, 2, None);
    engine.pass(10);
    let own = engine.batches().remove(0);
    assert_eq!(own.positions, [3], "the lane goes on first");
    engine.end(own.token, 0, None);
    engine.pass(10);
    assert_eq!(engine.batches()[0].positions, [0]);
}

/// Found by the simulator (seed 200599): a mapping moved back while a failure was with its destination, and the same records were given up
/// again. The destination confirmed the first failure, and the second was taken for it: it was neither sent nor listed any more.
#[test]
fn a_failure_that_takes_the_place_of_one_with_its_destination_is_not_confirmed_with_it() {
    let mut engine = TestEngine::new();
    giving_up(&engine);
    let first = fail_one(&engine);
    engine.told("mapping.seek", &json!({"stream": "s", "function": "f", "position": "TRIM_HORIZON"})).unwrap();
    let again = engine.batches().remove(0);
    engine.end(again.token, 1, None);
    assert!(engine.works().is_empty(), "a failure of these records is with the destination");
    let rows = |engine: &TestEngine| engine.reader().scan(Table::Failure, &[], None, 10).unwrap().len();
    engine.end(first.token, 0, None);
    engine.pass(10);
    assert_eq!(rows(&engine), 1, "the second is not confirmed");
    let second = engine.works().remove(0);
    engine.end(second.token, 0, None);
    engine.pass(10);
    assert_eq!(rows(&engine), 0);
}

/// Found by the simulator (seed 54389): a mapping was moved back while the disk wrote what it had given up, and it gave the same records up
/// again. When the first failure was durable, the second was sent, which was not.
#[test]
fn a_failure_that_takes_the_place_of_one_on_its_way_to_the_disk_is_sent_when_it_is_durable() {
    let mut engine = TestEngine::slow();
    giving_up(&engine);
    fail_slowly(&engine);
    assert!(engine.inner().commit_begun());
    engine.pass(5);
    let moved = engine.ask("mapping.seek", &json!({"stream": "s", "function": "f", "position": "TRIM_HORIZON"}));
    let again = engine.batches().remove(0);
    engine.end(again.token, 1, None);
    engine.disk();
    assert!(engine.works().is_empty(), "the second failure is not durable yet");
    engine.disk();
    assert!(moved.heard().is_some());
    let sent = engine.works();
    assert_eq!(sent.len(), 1);
    engine.end(sent[0].token, 0, None);
    engine.pass(10);
    engine.disk();
    assert!(engine.failures().is_empty());
}
