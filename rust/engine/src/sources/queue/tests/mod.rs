//! What an engine does with queues, seen from inside: rows bound to messages, stragglers, logs that shrink.

mod batches;
mod declaring;
mod deleting;
mod leaving;
mod looking;
mod reading;
mod redriving;
mod suspects;
mod transfers;

use serde_json::{json, Value};

use crate::base::error::{Answer, EngineError};
use crate::base::trace::Carried;
use crate::commit::attachment::Attachment;
use crate::dispatch::attempts::{Settled, Task, Work};
use crate::metrics::Metric;
use crate::payload::message::NewMessage;
use crate::runtime::rooms::Rooms;
use crate::runtime::test_engine::{queue, TestEngine, SECOND};
use crate::sources::queue::message_key;
use crate::sources::queue::outgoing::Sender;
use crate::sources::queue::QueueId;
use crate::sources::queue::{delete, redrive, send};
use crate::store::fault::{Fault, Repeat};
use crate::store::port::{BlockingStore as _, Store, StoreError, Table, Write};

impl TestEngine {
    fn declare(&self, name: &str) {
        self.json("queue.declare", &queue(name));
    }

    fn send(&self, queue: &str, bodies: impl Iterator<Item = String>) -> Answer {
        let messages: Vec<Value> = bodies.map(|body| json!({ "body": body })).collect();
        self.ask("queue.send", &json!({"name": queue, "messages": messages}))
    }

    fn receive(&self, queue: &str) -> Vec<(String, String)> {
        let answer = self.json("queue.receive", &json!({"name": queue, "maximum": 10}));
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        answer.as_array().unwrap().iter().map(|one| (text(&one["body"]), text(&one["receiptHandle"]))).collect()
    }

    fn delete(&self, queue: &str, receipt: &str) {
        self.json("queue.delete_message", &json!({"name": queue, "receipt_handle": receipt}));
    }

    fn visible(&self, queue: &str) -> u64 {
        self.json("queue.depth", &json!({"name": queue}))["visible"].as_u64().unwrap()
    }

    fn log_chunks(&self, queue: &str) -> usize {
        let log = self.engine.with(|state| state.queues.entries[state.queues.queue_id(queue).unwrap()].log());
        self.store.reader().unwrap().sizes(log, usize::MAX).unwrap().len()
    }

    /// While two messages of "dead" are read that a redrive takes to "q", the redrive is cancelled and "q" deleted. What `then` gives
    /// is looked at before any of them has been read.
    fn with_a_redrive_that_is_cut_short<T>(then: impl FnOnce(&mut Rooms, QueueId) -> T) -> (Self, T) {
        let mut engine = Self::new();
        engine.declare("dead");
        engine.declare("q");
        let _until_durable = engine.send("dead", ["a", "b"].into_iter().map(String::from));
        engine.advance(SECOND);
        let engine = engine.reopened();
        let given = engine.engine.with(|state| {
            let (dead, target) = (state.queues.queue_id("dead").unwrap(), state.queues.queue_id("q").unwrap());
            redrive::begin_redrive(&mut state.queues(), dead, Some("q".into()), None).unwrap();
            redrive::send_transfers(&mut state.queues());
            assert_eq!(state.queues.entries[dead].wants.len(), 2, "both are being read");
            redrive::cancel_redrive(&mut state.queues(), dead).unwrap();
            delete::delete_queue(&mut state.queues(), target);
            then(state, target)
        });
        (engine, given)
    }

    fn bind(&self, queue: &str) {
        self.register(json!({"kind": "function", "name": "f", "timeout_ms": 3_000}));
        self.json(
            "mapping.declare",
            &json!({
                "queue": queue, "function": "f", "batch_size": 2, "maximum_batching_window_ms": 0,
                "report_batch_item_failures": false, "filters": [], "strict_lambda": false, "enabled": true,
            }),
        );
    }

    /// What is handed out: tokens, and bodies with receive counts.
    fn take(&self) -> Vec<(u64, Vec<(String, u32)>)> {
        let (works, _) = self.engine.exchange(Vec::new(), 100);
        let one = |work: Work| {
            let Task::Messages { messages, .. } = work.task else { panic!("{work:?}") };
            let items = messages.items.iter();
            (work.token, items.map(|item| (item.message().body.to_owned(), item.delivery.receive_count)).collect())
        };
        works.into_iter().map(one).collect()
    }

    fn settle(&self, token: u64, status: u8) {
        let settled = Settled { token, status, body: None, duration_ns: 1 };
        self.engine.exchange(vec![settled], 0);
    }
}

fn message(body: &str) -> NewMessage {
    NewMessage { body: body.into(), ..NewMessage::default() }
}

#[test]
fn a_bound_row_and_its_message_are_durable_together_or_not_at_all() {
    let mut engine = TestEngine::new();
    engine.declare("q");
    let key = b"done".to_vec();
    let rows = vec![(Table::Event, key.clone(), Some(b"yes".to_vec()))];
    engine.store.fail(1, Fault::Full, Repeat::Always);
    engine.engine.with(|state| {
        send::queue_send(
            &mut state.queues(),
            "q",
            &message("told"),
            Carried::default(),
            Sender::Attachment(Attachment { rows, ..Attachment::default() }),
        )
        .unwrap();
    });
    engine.advance(SECOND);
    assert_eq!(engine.visible("q"), 0);
    assert_eq!(engine.store.reader().unwrap().get(Table::Event, &key).unwrap(), None, "neither without the other");
    engine.store.mend();
    engine.advance(SECOND);
    assert_eq!(engine.visible("q"), 1);
    assert_eq!(engine.store.reader().unwrap().get(Table::Event, &key).unwrap(), Some(b"yes".to_vec()));
    let engine = engine.reopened();
    assert_eq!(engine.receive("q")[0].0, "told");
}

#[test]
fn a_full_disk_refuses_sends_and_lets_deletions_go_on() {
    let mut engine = TestEngine::new();
    engine.declare("q.fifo");
    let body = json!({"name": "q.fifo", "messages": [{"body": "one", "group_id": "g"}]});
    engine.json("queue.send", &body);
    let held = engine.receive("q.fifo");
    engine.store.fail(1, Fault::Full, Repeat::Always);
    let other = json!({"name": "q.fifo", "messages": [{"body": "two", "group_id": "g"}]});
    assert!(matches!(engine.ask("queue.send", &other), Err(EngineError::Store(StoreError::Full(_)))));
    engine.delete("q.fifo", &held[0].1);
    engine.store.mend();
    engine.advance(SECOND);
    engine.json("queue.send", &other);
    assert_eq!(engine.visible("q.fifo"), 1, "its deduplication id was free again");
    let mut engine = engine.reopened();
    engine.json("queue.send", &body);
    assert_eq!(
        engine.receive("q.fifo").len(),
        1,
        "the first one is a duplicate, also after it was deleted and after a restart"
    );
    engine.advance(301 * SECOND);
    engine.json("queue.send", &body);
    assert_eq!(engine.visible("q.fifo"), 2, "and after five minutes no more");
}

#[test]
fn a_dead_letter_whose_move_is_refused_stays_and_moves_once_there_is_room() {
    let mut engine = TestEngine::new();
    engine.declare("dead");
    let mut row = queue("q");
    row["dead_letter_queue"] = "dead".into();
    engine.json("queue.declare", &row);
    engine.send("q", ["x".to_owned()].into_iter()).unwrap();
    for _ in 0..3 {
        assert_eq!(engine.receive("q").len(), 1);
        engine.advance(29 * SECOND);
        engine.store.fail(1, Fault::Full, Repeat::Always);
        engine.advance(2 * SECOND);
        engine.store.mend();
    }
    assert_eq!(engine.visible("dead"), 0, "its move was refused");
    let mut engine = engine.reopened();
    engine.advance(5 * SECOND);
    assert_eq!(engine.receive("q").len(), 0, "it is used up");
    engine.advance(SECOND);
    assert_eq!((engine.visible("q"), engine.visible("dead")), (0, 1));
    let engine = engine.reopened();
    assert_eq!((engine.visible("q"), engine.visible("dead")), (0, 1));
    assert_eq!(engine.receive("dead")[0].0, "x");
}

#[test]
fn a_few_old_messages_hold_no_long_log_and_outlive_a_restart() {
    let mut engine = TestEngine::new();
    engine.declare("q");
    let mut kept = Vec::new();
    for round in 0..2000 {
        engine.send("q", (0..10).map(|n| format!("{round}-{n}"))).unwrap();
        for (body, receipt) in engine.receive("q") {
            if body.ends_with("00-3") && kept.len() < 10 {
                kept.push(body);
            } else {
                engine.delete("q", &receipt);
            }
        }
    }
    assert!(engine.log_chunks("q") > 1000, "{} chunks", engine.log_chunks("q"));
    engine.advance(40 * SECOND);
    engine.advance(SECOND);
    assert!(engine.log_chunks("q") < 450, "{} chunks", engine.log_chunks("q"));
    assert_eq!(engine.visible("q"), kept.len() as u64);
    let mut engine = engine.reopened();
    let found = engine.receive("q");
    assert_eq!(found.iter().map(|(body, _)| body.clone()).collect::<Vec<_>>(), kept);
    for (_, receipt) in found {
        engine.delete("q", &receipt);
    }
    engine.advance(SECOND);
    let rows = engine.store.reader().unwrap().scan(Table::MessageKept, &[], None, 10).unwrap();
    assert_eq!(rows.len(), 0);
    let engine = engine.reopened();
    assert_eq!(engine.visible("q"), 0);
}

#[test]
fn what_was_sent_received_and_deleted_is_so_after_a_restart() {
    let mut engine = TestEngine::new();
    engine.declare("q");
    for round in 0..300 {
        engine.send("q", (0..10).map(|n| format!("{round}-{n}"))).unwrap();
    }
    let mut left: std::collections::BTreeSet<String> = (0..3000).map(|n| format!("{}-{}", n / 10, n % 10)).collect();
    for _ in 0..200 {
        for (at, (body, receipt)) in engine.receive("q").into_iter().enumerate() {
            if at % 3 > 0 {
                engine.delete("q", &receipt);
                left.remove(&body);
            }
        }
    }
    engine.advance(SECOND);
    let mut engine = engine.reopened();
    engine.advance(60 * SECOND);
    let mut found = std::collections::BTreeSet::new();
    loop {
        let some = engine.receive("q");
        if some.is_empty() {
            break;
        }
        found.extend(some.into_iter().map(|(body, _)| body));
    }
    assert_eq!(found, left);
    engine.json("queue.purge", &json!({"name": "q"}));
    engine.advance(SECOND);
    let engine = engine.reopened();
    let depth = engine.json("queue.depth", &json!({"name": "q"}));
    assert_eq!(depth, json!({"visible": 0, "in_flight": 0, "delayed": 0}));
    for table in [Table::MessageState, Table::MessageKept] {
        assert_eq!(engine.store.reader().unwrap().scan(table, &[], None, 10).unwrap().len(), 0, "{table:?}");
    }
}

#[test]
fn what_is_refused_is_refused_in_awss_words() {
    let cases: Value = serde_json::from_str(include_str!("../../../../../../tests/cases/queue_refusals.json")).unwrap();
    let engine = TestEngine::new();
    engine.declare("q");
    let mut fifo = queue("q.fifo");
    fifo["content_based_deduplication"] = false.into();
    engine.json("queue.declare", &fifo);
    for case in cases.as_array().unwrap() {
        let mut messages = case["messages"].clone();
        for message in messages.as_array_mut().unwrap() {
            if let Some(bytes) = message["body_of"].as_u64() {
                message["body"] = "x".repeat(bytes as usize).into();
            }
        }
        let refused = engine.ask("queue.send", &json!({"name": case["queue"], "messages": messages})).unwrap_err();
        let kind = match refused {
            EngineError::Invalid(_) => "InvalidParameterValue",
            EngineError::TooLarge(_) => "RequestTooLarge",
            EngineError::NotFound(_) => "ResourceNotFound",
            _ => "another",
        };
        assert_eq!(
            (refused.to_string().as_str(), kind),
            (case["text"].as_str().unwrap(), case["error"].as_str().unwrap())
        );
    }
}

/// It was served when somebody asked for it: until then nothing expired, and it was said to be empty.
#[test]
fn a_queue_that_no_program_declares_any_more_is_served_all_the_same() {
    let engine = TestEngine::new();
    engine.declare("q");
    engine.send("q", ["a".to_owned()].into_iter()).unwrap();
    let mut engine = engine.reopened();
    let shown = |engine: &TestEngine| engine.engine.registry().gauge(Metric::MessagesVisible, &["q"]).get();
    assert!((shown(&engine) - 1.0).abs() < 0.1);
    engine.advance(345_601 * SECOND);
    engine.advance(SECOND);
    assert!(shown(&engine) < 0.1);
    assert_eq!(engine.log_chunks("q"), 0, "it is expired");
}

/// The engine said so with a panic.
#[test]
fn a_row_of_deduplication_ids_that_names_no_message_is_damaged() {
    let engine = TestEngine::new();
    engine.declare("q.fifo");
    let log = engine.engine.with(|state| state.queues.entries[state.queues.queue_id("q.fifo").unwrap()].log());
    let entry = |number: u64| [[1; 16].as_slice(), &number.to_le_bytes(), &engine.now.wall_ms.to_le_bytes()].concat();
    let (key, value) = (message_key(log, 0), [entry(0), entry(u64::MAX)].concat());
    engine.engine.close();
    engine.store.clone().commit(&[Write::Set { table: Table::Deduplication, key, value }]).unwrap();
    let refused = engine.try_reopened().err().map(|error| error.to_string());
    assert!(refused.as_ref().is_some_and(|text| text.contains("a row of deduplication ids")), "{refused:?}");
}
