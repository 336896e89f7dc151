//! Redrives that meet a limit or each other, and messages that move alone.

use serde_json::{json, Value};

use crate::base::error::EngineError;
use crate::runtime::test_engine::{queue, TestEngine, SECOND};
use crate::sources::queue::redrive;
use crate::store::fault::{Fault, Repeat};
use crate::store::port::StoreError;

fn redrive_of(engine: &TestEngine, queue: &str) -> Value {
    engine.json("queue.describe", &json!({ "name": queue }))["redrive"].clone()
}

/// A queue with dead letters, so many, and the queue they came from.
fn buried(count: usize) -> TestEngine {
    let mut engine = TestEngine::new();
    engine.declare("dead");
    let mut source = queue("q");
    (source["dead_letter_queue"], source["maximum_receive_count"]) = (json!("dead"), json!(1));
    engine.json("queue.declare", &source);
    for at in 0..count.div_ceil(10) {
        let _until_durable = engine.send("q", (at * 10..count.min(at * 10 + 10)).map(|n| format!("m{n}")));
        engine.advance(SECOND);
        let _held = engine.ask("queue.receive", &json!({"name": "q", "maximum": 10, "visibility_timeout_ms": 1_000}));
        (0..3).for_each(|_| engine.advance(SECOND));
        let _buried = engine.ask("queue.receive", &json!({"name": "q", "maximum": 10}));
        engine.advance(SECOND);
    }
    assert_eq!((engine.visible("dead"), engine.visible("q")), (count as u64, 0));
    engine
}

fn ids(engine: &TestEngine, queue: &str) -> Vec<String> {
    let page = engine.json("queue.peek", &json!({"name": queue, "limit": 1_000}));
    page["messages"].as_array().unwrap().iter().map(|one| one["messageId"].as_str().unwrap().to_owned()).collect()
}

/// It ended as COMPLETED, and nothing had moved.
#[test]
fn a_redrive_that_meets_the_limit_of_messages_in_flight_waits_and_goes_on() {
    let mut engine = buried(20);
    let held = engine.receive("dead");
    engine.engine.with(|state| {
        let id = state.queues.queue_id("dead").unwrap();
        let settings = state.queues.entries[id].row.of_core();
        let tight = forebay_core::queue::protocol::Settings { in_flight_max: held.len() as u32, ..settings };
        state.queues.entries[id].machine.configure(tight, &state.ctx.now);
    });
    let _until_durable = engine.ask("queue.redrive", &json!({"name": "dead"}));
    (0..5).for_each(|_| engine.advance(SECOND));
    assert_eq!((redrive_of(&engine, "dead")["status"].clone(), engine.visible("q")), (json!("RUNNING"), 0));
    for (_, receipt) in &held {
        engine.delete("dead", receipt);
    }
    (0..5).for_each(|_| engine.advance(SECOND));
    let redrive = redrive_of(&engine, "dead");
    assert_eq!((&redrive["status"], &redrive["moved"], engine.visible("q")), (&json!("COMPLETED"), &json!(10), 10));
}

#[test]
fn a_redrive_that_holds_all_that_may_be_in_flight_itself_fails_and_says_why() {
    let mut engine = buried(10);
    let _until_durable = engine.send("dead", (0..5).map(|n| n.to_string()));
    engine.advance(SECOND);
    engine.engine.with(|state| {
        let id = state.queues.queue_id("dead").unwrap();
        let settings = state.queues.entries[id].row.of_core();
        let tight = forebay_core::queue::protocol::Settings { in_flight_max: 5, ..settings };
        state.queues.entries[id].machine.configure(tight, &state.ctx.now);
    });
    let _until_durable = engine.send("dead", (5..10).map(|n| n.to_string()));
    engine.advance(SECOND);
    let _until_durable = engine.ask("queue.redrive", &json!({"name": "dead"}));
    (0..20).for_each(|_| engine.advance(SECOND));
    let redrive = redrive_of(&engine, "dead");
    assert_eq!((&redrive["status"], &redrive["moved"], &redrive["left"]), (&json!("FAILED"), &json!(10), &json!(10)));
    let reason = redrive["failure_reason"].as_str().unwrap();
    assert!(reason.starts_with("5 messages came from no queue that there is"), "{reason}");
    assert_eq!((engine.visible("dead"), engine.visible("q")), (10, 10), "those it held are given back");
}

#[test]
fn a_redrive_of_a_fifo_queue_waits_for_what_stands_behind_a_message_in_flight() {
    let mut engine = TestEngine::new();
    engine.declare("dead.fifo");
    engine.declare("q.fifo");
    for n in 0..3 {
        let message = json!({"body": n.to_string(), "group_id": "g"});
        let _until_durable = engine.ask("queue.send", &json!({"name": "dead.fifo", "messages": [message]}));
        engine.advance(SECOND);
    }
    let held = engine.json("queue.receive", &json!({"name": "dead.fifo", "maximum": 1}));
    let _until_durable = engine.ask("queue.redrive", &json!({"name": "dead.fifo", "to": "q.fifo"}));
    (0..5).for_each(|_| engine.advance(SECOND));
    assert_eq!((redrive_of(&engine, "dead.fifo")["status"].clone(), engine.visible("q.fifo")), (json!("RUNNING"), 0));
    engine.delete("dead.fifo", held[0]["receiptHandle"].as_str().unwrap());
    (0..3).for_each(|_| engine.advance(SECOND));
    assert_eq!(redrive_of(&engine, "dead.fifo")["status"], "COMPLETED");
    let bodies: Vec<String> = engine.receive("q.fifo").into_iter().map(|(body, _)| body).collect();
    assert_eq!(bodies, ["1", "2"]);
}

/// What was on its way when the first one was cancelled was counted as moved by the second.
#[test]
fn a_redrive_after_a_cancelled_one_counts_its_own_messages_alone() {
    let mut engine = buried(30);
    let mut engine = {
        engine.advance(SECOND);
        engine.reopened()
    };
    engine.engine.with(|state| {
        let dead = state.queues.queue_id("dead").unwrap();
        redrive::begin_redrive(&mut state.queues(), dead, None, Some(0.5)).unwrap();
        redrive::send_transfers(&mut state.queues());
        assert_eq!(state.queues.entries[dead].wants.len(), 1, "one is being read");
        redrive::cancel_redrive(&mut state.queues(), dead).unwrap();
        assert_eq!(redrive::begin_redrive(&mut state.queues(), dead, None, None).unwrap(), 29);
    });
    (0..5).for_each(|_| engine.advance(SECOND));
    assert_eq!((engine.visible("dead"), engine.visible("q")), (0, 30));
    let redrive = redrive_of(&engine, "dead");
    assert_eq!((&redrive["moved"], &redrive["left"], &redrive["status"]), (&json!(29), &json!(0), &json!("COMPLETED")));
}

#[test]
fn one_message_moves_alone_and_edited_and_the_others_stay() {
    let mut engine = buried(25);
    let id = ids(&engine, "dead")[12].clone();
    let asked = json!({"name": "dead", "id": id, "body": "mended", "dry_run": true});
    let shown = engine.json("queue.redrive_message", &asked);
    assert_eq!((&shown["redriven"], &shown["message"]["body"]), (&json!(1), &json!("mended")));
    assert_eq!((engine.visible("dead"), engine.visible("q")), (25, 0), "nothing has moved");

    let _until_durable = engine.ask("queue.redrive_message", &json!({"name": "dead", "id": id, "body": "mended"}));
    engine.advance(SECOND);
    assert_eq!((engine.visible("dead"), engine.visible("q")), (24, 1));
    let again = engine.asked("queue.redrive_message", &json!({"name": "dead", "id": id}));
    assert!(matches!(again, Err(EngineError::NotFound(_))), "{again:?}");
    let engine = engine.crashed();
    let received = engine.json("queue.receive", &json!({"name": "q", "maximum": 10}));
    assert_eq!((&received[0]["body"], &received[0]["messageId"]), (&json!("mended"), &json!(id)));
    assert_eq!(received[0]["attributes"]["ApproximateReceiveCount"], "1");
    assert_eq!(engine.visible("dead"), 24);
}

#[test]
fn a_message_that_cannot_move_now_stays_as_it_was_and_says_why() {
    let mut engine = buried(3);
    let _until_durable = engine.send("dead", ["stray".to_owned()].into_iter());
    engine.advance(SECOND);
    let all = ids(&engine, "dead");
    let refused = |engine: &TestEngine, fields: &Value| {
        let mut asked = json!({"name": "dead", "id": all[0]});
        fields.as_object().unwrap().iter().for_each(|(name, value)| asked[name] = value.clone());
        engine.asked("queue.redrive_message", &asked).unwrap_err().to_string()
    };
    assert!(refused(&engine, &json!({"id": all[3]})).contains("there is no queue that it came from"));
    assert!(refused(&engine, &json!({"body": ""})).contains("MessageBody"));
    assert!(refused(&engine, &json!({"body": "\u{1}"})).contains("Invalid characters"));
    assert!(refused(&engine, &json!({"to": "dead"})).contains("redriven to itself"));
    assert!(refused(&engine, &json!({"id": "x"})).contains("is not a message id"));
    engine.store.fail(1, Fault::Full, Repeat::Always);
    let full = engine.ask("queue.redrive_message", &json!({"name": "dead", "id": all[0], "body": "lost?"}));
    assert!(matches!(full, Err(EngineError::Store(StoreError::Full(_)))), "{full:?}");
    engine.store.mend();
    engine.advance(SECOND);
    let held: std::collections::BTreeSet<String> = engine.receive("dead").into_iter().map(|(body, _)| body).collect();
    assert_eq!(held.into_iter().collect::<Vec<_>>(), ["m0", "m1", "m2", "stray"]);
    assert!(refused(&engine, &json!({})).contains("it is in flight"));
}

#[test]
fn of_a_fifo_group_only_the_first_message_moves_alone() {
    let mut engine = TestEngine::new();
    engine.declare("dead.fifo");
    engine.declare("q.fifo");
    for (n, group) in ["g", "g", "h"].into_iter().enumerate() {
        let message = json!({"body": n.to_string(), "group_id": group});
        let _until_durable = engine.ask("queue.send", &json!({"name": "dead.fifo", "messages": [message]}));
        engine.advance(SECOND);
    }
    let all = ids(&engine, "dead.fifo");
    let asked = |at: usize| json!({"name": "dead.fifo", "id": all[at], "to": "q.fifo"});
    assert!(matches!(engine.asked("queue.redrive_message", &asked(1)), Err(EngineError::Conflict(_))));
    for at in [2, 0, 1] {
        let _until_durable = engine.ask("queue.redrive_message", &asked(at));
        engine.advance(SECOND);
    }
    assert_eq!((engine.visible("dead.fifo"), engine.visible("q.fifo")), (0, 3));
}

/// By its id it was found, by its sequence number only as long as the process remembered the move.
#[test]
fn a_fifo_message_is_found_by_its_sequence_number_among_the_dead_letters_after_a_restart() {
    let mut engine = TestEngine::new();
    engine.declare("dead.fifo");
    let mut source = queue("q.fifo");
    (source["dead_letter_queue"], source["maximum_receive_count"]) = (json!("dead.fifo"), json!(1));
    engine.json("queue.declare", &source);
    let _until_durable =
        engine.ask("queue.send", &json!({"name": "q.fifo", "messages": [{"body": "a", "group_id": "g"}]}));
    engine.advance(SECOND);
    let asked = json!({"name": "q.fifo", "maximum": 1, "visibility_timeout_ms": 1_000});
    let held = engine.json("queue.receive", &asked);
    let sequence = held[0]["attributes"]["SequenceNumber"].clone();
    (0..3).for_each(|_| engine.advance(SECOND));
    let _buried = engine.ask("queue.receive", &asked);
    engine.advance(SECOND);
    assert_eq!(engine.visible("dead.fifo"), 1);
    // In the dead-letter queue the number is another message's.
    let engine = engine.reopened();
    let (mut kept, mut life) = (Vec::new(), engine.json("why", &json!({ "id": sequence })));
    loop {
        kept.extend(life["kept"].as_array().unwrap().clone());
        if life["cursor"].is_null() {
            break;
        }
        life = engine.json("why", &json!({"id": sequence, "cursor": life["cursor"]}));
    }
    let permits: Vec<(&Value, &Value)> = kept.iter().map(|one| (&one["queue"], &one["messageId"])).collect();
    assert!(permits.contains(&(&json!("dead.fifo"), &held[0]["messageId"])), "{permits:?}");
}
