//! Messages on their way between queues: none is lost to a sweep or a full disk, and a FIFO group keeps its order.

use serde_json::{json, Value};

use crate::base::error::Reply;
use crate::runtime::test_engine::{queue, TestEngine, SECOND};
use crate::sources::queue::{compaction, redrive, serve};
use crate::store::fault::{Fault, Repeat};
use crate::store::port::Store as _;
use crate::store::port::Table;

/// A queue whose messages are dead letters after one receive, and the queue that they go to.
fn with_dead_letters(name: &str, dead: &str) -> TestEngine {
    let engine = TestEngine::new();
    engine.declare(dead);
    let mut source = queue(name);
    (source["dead_letter_queue"], source["maximum_receive_count"]) = (json!(dead), json!(1));
    engine.json("queue.declare", &source);
    engine
}

/// Send to group g, in a chunk of its own.
fn send_in_order(engine: &mut TestEngine, queue: &str, bodies: &[&str]) {
    for body in bodies {
        let message = json!({"body": body, "group_id": "g"});
        let _until_durable = engine.ask("queue.send", &json!({"name": queue, "messages": [message]}));
        engine.advance(SECOND);
    }
}

fn receive_for_a_second(engine: &TestEngine, queue: &str) -> usize {
    let asked = json!({"name": queue, "maximum": 10, "visibility_timeout_ms": 1_000});
    engine.json("queue.receive", &asked).as_array().unwrap().len()
}

fn bodies(engine: &TestEngine, queue: &str) -> Vec<String> {
    engine.receive(queue).into_iter().map(|(body, _)| body).collect()
}

/// What was at hand went before what had to be read.
#[test]
fn a_redrive_keeps_the_order_of_a_fifo_group_that_is_partly_on_disk() {
    let mut engine = TestEngine::new();
    engine.declare("dead.fifo");
    engine.declare("q.fifo");
    send_in_order(&mut engine, "dead.fifo", &["a", "b"]);
    let mut engine = engine.reopened();
    send_in_order(&mut engine, "dead.fifo", &["c", "d"]);
    let _until_durable = engine.ask("queue.redrive", &json!({"name": "dead.fifo", "to": "q.fifo"}));
    (0..3).for_each(|_| engine.advance(SECOND));
    assert_eq!(bodies(&engine, "q.fifo"), ["a", "b", "c", "d"]);
    let redrive = engine.json("queue.describe", &json!({"name": "dead.fifo"}))["redrive"].clone();
    assert_eq!((&redrive["status"], &redrive["moved"]), (&json!("COMPLETED"), &json!(4)));
}

/// Each was fetched by itself: the second was at hand and arrived first.
#[test]
fn dead_letters_of_a_fifo_group_arrive_in_order_when_the_first_has_to_be_read() {
    let mut engine = with_dead_letters("q.fifo", "dead.fifo");
    send_in_order(&mut engine, "q.fifo", &["a", "b", "c"]);
    assert_eq!(receive_for_a_second(&engine, "q.fifo"), 3);
    engine.engine.with(|state| {
        let log = state.queues.entries[state.queues.queue_id("q.fifo").unwrap()].log();
        state.queues.chunk_cache.trim(log, 1);
        assert!(state.queues.chunk_cache.find(log, 0).is_none() && state.queues.chunk_cache.find(log, 1).is_some());
    });
    (0..3).for_each(|_| engine.advance(SECOND));
    assert_eq!(bodies(&engine, "dead.fifo"), ["a", "b", "c"]);
}

/// The sweep let the low mark pass it; when its move was refused it was taken for purged.
#[test]
fn a_dead_letter_outlives_a_sweep_under_its_move_which_a_full_disk_then_refuses() {
    let engine = with_dead_letters("q", "dead");
    engine.send("q", ["x".to_owned()].into_iter()).unwrap();
    assert_eq!(receive_for_a_second(&engine, "q"), 1);
    let mut engine = engine.reopened_slowly();
    engine.engine.with(|state| {
        let id = state.queues.queue_id("q").unwrap();
        serve::serve_queue(&mut state.queues(), id);
    });
    let transferring = |engine: &TestEngine| {
        engine.engine.with(|state| state.queues.entries[state.queues.queue_id("q").unwrap()].transferring)
    };
    for _ in 0..100 {
        if transferring(&engine) > 0 {
            break;
        }
        engine.engine.disk_done();
        engine.advance(SECOND / 20);
    }
    assert_eq!(transferring(&engine), 1, "its move is with the disk");
    engine.store.fail(1, Fault::Full, Repeat::Always);
    engine.advance(31 * SECOND);
    engine.engine.disk_done();
    assert_eq!(transferring(&engine), 0, "refused");
    for _ in 0..8 {
        engine.advance(SECOND / 4);
        engine.engine.disk_done();
    }
    engine.store.mend();
    let mut engine = engine.crashed();
    (0..5).for_each(|_| engine.advance(SECOND));
    let _buried = engine.receive("q");
    engine.advance(SECOND);
    assert_eq!((engine.visible("q"), engine.visible("dead")), (0, 1));
}

/// Its move was durable before its queue knew of it: it stood in both, and came a second time.
#[test]
fn a_dead_letter_on_a_disk_that_was_full_is_in_one_queue_after_a_crash() {
    let engine = with_dead_letters("q", "dead");
    engine.send("q", ["a", "b"].into_iter().map(String::from)).unwrap();
    let mut engine = engine.reopened_slowly();
    let received = [30_000, 1_000].map(|timeout_ms| {
        let asked = json!({"name": "q", "maximum": 1, "visibility_timeout_ms": timeout_ms});
        let ear = engine.ask_later("queue.receive", &asked);
        (0..3).for_each(|_| engine.engine.disk_done());
        let answer = ear.lock().unwrap().take();
        answer
    });
    let [Some(Ok(Reply::Json(held))), Some(Ok(_))] = received else { panic!("{received:?}") };
    let held: Value = serde_json::from_slice(&held).unwrap();
    engine.leave_a_put_waiting();
    engine.ask_later("queue.delete_message", &json!({"name": "q", "receipt_handle": held[0]["receiptHandle"]}));
    engine.advance(SECOND);
    let mut engine = engine.crashed_two_commits_later();
    (0..5).for_each(|_| engine.advance(SECOND));
    assert_eq!((bodies(&engine, "q"), bodies(&engine, "dead")), (Vec::new(), vec!["b".to_owned()]));
}

/// Redrive the one message that is left of a long log, and have it given a row of its own before or after it is carried; then the
/// disk is full, and the process dies. What is found?
fn redriven_while_it_is_kept(is_kept_first: bool) -> Vec<String> {
    let mut engine = TestEngine::new();
    engine.declare("dead");
    engine.declare("q");
    let mut held = String::new();
    for round in 0..430 {
        engine.send("dead", (0..10).map(|n| format!("{round}-{n}"))).unwrap();
        for (body, receipt) in engine.receive("dead") {
            if body == "0-3" {
                held = receipt;
            } else {
                engine.delete("dead", &receipt);
            }
        }
    }
    let visible = json!({"name": "dead", "receipt_handle": held, "visibility_timeout_ms": 0});
    engine.json("queue.change_visibility", &visible);
    engine.store.fail(1, Fault::Full, Repeat::Always);
    engine.engine.with(|state| {
        let dead = state.queues.queue_id("dead").unwrap();
        if is_kept_first {
            compaction::keep_stragglers(&mut state.queues(), dead).unwrap();
        }
        redrive::begin_redrive(&mut state.queues(), dead, Some("q".into()), None).unwrap();
        redrive::send_transfers(&mut state.queues());
        if !is_kept_first {
            compaction::keep_stragglers(&mut state.queues(), dead).unwrap();
        }
        assert!(state.queues.entries[dead].kept.contains(&3));
    });
    engine.advance(SECOND / 2);
    let mut engine = engine.crashed();
    engine.store.mend();
    (0..5).for_each(|_| engine.advance(SECOND));
    let engine = engine.reopened();
    [bodies(&engine, "dead"), bodies(&engine, "q")].concat()
}

/// Its row went with the refused move.
#[test]
fn a_message_that_is_kept_between_its_redrive_and_the_commit_outlives_a_full_disk() {
    assert_eq!(redriven_while_it_is_kept(false), ["0-3"]);
}

/// Its row was then the whole chunk that it had stood in, and the store did not open.
#[test]
fn a_message_that_is_kept_before_its_redrive_outlives_a_full_disk_as_itself() {
    assert_eq!(redriven_while_it_is_kept(true), ["0-3"]);
}

#[test]
fn a_redrive_of_a_fifo_queue_fails_when_groups_stand_behind_what_came_from_no_queue() {
    let mut engine = with_dead_letters("q.fifo", "dead.fifo");
    send_in_order(&mut engine, "dead.fifo", &["stray"]);
    send_in_order(&mut engine, "q.fifo", &["x"]);
    assert_eq!(receive_for_a_second(&engine, "q.fifo"), 1);
    (0..3).for_each(|_| engine.advance(SECOND));
    assert_eq!(engine.visible("dead.fifo"), 2);
    let _until_durable = engine.ask("queue.redrive", &json!({"name": "dead.fifo", "rate": 10.0}));
    (0..5).for_each(|_| engine.advance(SECOND));
    let redrive = engine.json("queue.describe", &json!({"name": "dead.fifo"}))["redrive"].clone();
    assert_eq!((&redrive["status"], &redrive["left"]), (&json!("FAILED"), &json!(2)));
    assert!(redrive["failure_reason"].as_str().unwrap().contains("stay behind them"), "{redrive}");
    assert_eq!(bodies(&engine, "dead.fifo"), ["stray", "x"]);
}

/// It waited in silence.
#[test]
fn a_redrive_that_waits_says_for_what() {
    let mut engine = TestEngine::new();
    engine.declare("dead.fifo");
    engine.declare("q.fifo");
    send_in_order(&mut engine, "dead.fifo", &["a", "b"]);
    let held = engine.json("queue.receive", &json!({"name": "dead.fifo", "maximum": 1}));
    let _until_durable = engine.ask("queue.redrive", &json!({"name": "dead.fifo", "to": "q.fifo"}));
    engine.advance(SECOND);
    let redrive = |engine: &TestEngine| engine.json("queue.describe", &json!({"name": "dead.fifo"}))["redrive"].clone();
    assert_eq!(redrive(&engine)["waits_for"], "1 messages in flight and 0 delayed");
    engine.delete("dead.fifo", held[0]["receiptHandle"].as_str().unwrap());
    (0..3).for_each(|_| engine.advance(SECOND));
    assert_eq!((&redrive(&engine)["status"], &redrive(&engine)["waits_for"]), (&json!("COMPLETED"), &json!(null)));
}

/// One of less than about 5e-11 overflowed, under the engine's lock.
#[test]
fn rates_of_a_redrive_out_of_range_are_refused() {
    let engine = TestEngine::new();
    engine.declare("dead");
    engine.declare("q");
    engine.send("dead", ["x".to_owned()].into_iter()).unwrap();
    for rate in [-1.0, 0.0, 1e-12, 0.000_9, 1_000_001.0, 1e300] {
        let refused = engine.asked("queue.redrive", &json!({"name": "dead", "to": "q", "rate": rate})).unwrap_err();
        assert!(refused.to_string().contains("allowed is 0.001 to 1000000 a second"), "{refused}");
    }
    let _until_durable = engine.ask("queue.redrive", &json!({"name": "dead", "to": "q", "rate": 0.001}));
    assert_eq!(engine.visible("q"), 1);
}

#[test]
fn a_dry_run_says_what_the_move_itself_would_say() {
    let mut engine = TestEngine::new();
    engine.declare("dead");
    engine.declare("q");
    engine.send("dead", ["stray".to_owned()].into_iter()).unwrap();
    let page = engine.json("queue.peek", &json!({"name": "dead", "limit": 1}));
    let id = page["messages"][0]["messageId"].clone();
    let mut source = queue("source");
    (source["dead_letter_queue"], source["maximum_receive_count"]) = (json!("dead"), json!(1));
    engine.json("queue.declare", &source);
    let asked = |to: Option<&str>, dry_run: bool| json!({"name": "dead", "id": id, "to": to, "dry_run": dry_run});
    let told = |engine: &TestEngine, to, dry_run| {
        engine.asked("queue.redrive_message", &asked(to, dry_run)).map_err(|e| e.to_string())
    };
    assert!(told(&engine, None, true).unwrap_err().contains("no queue that it came from"));
    assert_eq!(told(&engine, None, true), told(&engine, None, false));
    assert_eq!(told(&engine, Some("q"), true).unwrap()["redriven"], 1);
    assert_eq!(engine.receive("dead").len(), 1, "it is as it was");
    assert!(told(&engine, Some("q"), true).unwrap_err().contains("it is in flight"));
    engine.advance(SECOND);
}

/// The look drew a new receipt, and who had the message could not delete it any more.
#[test]
fn a_dry_run_leaves_the_receipt_of_a_consumer_that_is_late_in_force() {
    let mut engine = TestEngine::new();
    engine.declare("dead");
    engine.declare("q");
    engine.send("dead", ["x".to_owned()].into_iter()).unwrap();
    let page = engine.json("queue.peek", &json!({"name": "dead", "limit": 1}));
    let held = engine.receive("dead");
    engine.advance(31 * SECOND);
    let asked = json!({"name": "dead", "id": page["messages"][0]["messageId"], "to": "q", "dry_run": true});
    assert_eq!(engine.json("queue.redrive_message", &asked)["redriven"], 1);
    engine.delete("dead", &held[0].1);
    assert_eq!(engine.visible("dead"), 0);
}

#[test]
fn looking_on_after_the_last_number_that_there_can_be_finds_nothing() {
    let engine = TestEngine::new();
    engine.declare("q");
    engine.send("q", ["x".to_owned()].into_iter()).unwrap();
    let page = engine.json("queue.peek", &json!({"name": "q", "limit": 1, "after": u64::MAX}));
    assert_eq!(page, json!({"messages": [], "next": null}));
}

/// They stayed until the time had come that the clock had shown.
#[test]
fn rows_of_deduplication_ids_of_a_clock_that_was_ahead_go_when_those_of_others_do() {
    let mut engine = TestEngine::new();
    engine.declare("q.fifo");
    engine.now.wall_ms += 86_400_000;
    send_in_order(&mut engine, "q.fifo", &["a", "b"]);
    engine.now.wall_ms -= 86_400_000;
    let rows =
        |engine: &TestEngine| engine.store.reader().unwrap().scan(Table::Deduplication, &[], None, 10).unwrap().len();
    engine.advance(SECOND);
    assert_eq!(rows(&engine), 2);
    (0..25).for_each(|_| engine.advance(30 * SECOND));
    assert_eq!(rows(&engine), 0);
}
