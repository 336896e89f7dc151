//! Queues that are deleted, and redrives: what lasts, what is held, and what they may not do to each other.

use serde_json::json;

use crate::base::error::EngineError;
use crate::runtime::test_engine::{queue, TestEngine, SECOND};
use crate::store::port::{Store as _, Table};

fn left_of(engine: &TestEngine, log: u32) -> usize {
    let mut reader = engine.store.reader().unwrap();
    let tables = [Table::MessageState, Table::MessagesGone, Table::MessageKept, Table::Deduplication];
    let rows = tables.map(|table| reader.scan(table, &log.to_be_bytes(), None, usize::MAX).unwrap().len());
    rows.iter().sum::<usize>() + reader.sizes(log, usize::MAX).unwrap().len()
}

#[test]
fn a_deleted_queue_is_gone_at_once_and_what_it_held_goes_in_slices_also_over_a_crash() {
    let mut engine = TestEngine::new();
    engine.declare("q.fifo");
    for n in 0..900 {
        let message = json!({"body": n.to_string(), "group_id": (n % 50).to_string()});
        let _until_durable = engine.ask("queue.send", &json!({"name": "q.fifo", "messages": [message]}));
        engine.advance(SECOND / 100);
    }
    for (_, receipt) in engine.receive("q.fifo").into_iter().take(5) {
        engine.delete("q.fifo", &receipt);
    }
    engine.advance(SECOND);
    let log = engine.engine.with(|state| state.queues.entries[state.queues.queue_id("q.fifo").unwrap()].log());
    let before = left_of(&engine, log);
    assert!(before > 1_000, "{before}");

    let _until_durable = engine.ask("queue.delete", &json!({"name": "q.fifo"}));
    engine.engine.turn(engine.now);
    assert!(matches!(engine.ask("queue.depth", &json!({"name": "q.fifo"})), Err(EngineError::NotFound(_))));
    engine.advance(SECOND / 100);
    let left = left_of(&engine, log);
    assert!(0 < left && left < before, "{left} of {before}");

    let mut engine = engine.crashed();
    engine.declare("q.fifo");
    (0..20).for_each(|_| engine.advance(SECOND / 100));
    assert_eq!(left_of(&engine, log), 0);
    assert_eq!(engine.store.reader().unwrap().bounds(log).unwrap(), None, "the log itself is forgotten");
    assert_eq!(engine.visible("q.fifo"), 0, "the name begins anew");
    let engine = engine.crashed();
    assert_eq!(engine.engine.with(|state| state.queues.dropping.len()), 0);
}

#[test]
fn what_is_in_a_handlers_hands_when_its_queue_is_deleted_ends_without_a_meaning() {
    let mut engine = TestEngine::new();
    engine.declare("q");
    engine.bind("q");
    let _until_durable = engine.send("q", ["a", "b", "c"].into_iter().map(String::from));
    engine.advance(SECOND);
    let taken = engine.take();
    assert_eq!(taken.len(), 2);
    assert!(matches!(engine.ask("queue.delete", &json!({"name": "q"})), Err(EngineError::Conflict(_))));
    engine.json("mapping.delete", &json!({"queue": "q", "function": "f"}));
    let _until_durable = engine.ask("queue.delete", &json!({"name": "q"}));
    engine.advance(SECOND);
    for ((token, _), status) in taken.into_iter().zip([0, 1]) {
        engine.settle(token, status);
    }
    engine.advance(60 * SECOND);
    engine.declare("q");
    engine.advance(SECOND);
    assert_eq!(engine.visible("q"), 0);
    assert!(engine.engine.with(|state| state.ctx.commit.failed.is_none()));
}

#[test]
fn a_redrive_goes_on_after_a_crash_where_it_was_and_at_its_rate() {
    let mut engine = TestEngine::new();
    engine.declare("dead");
    engine.declare("q");
    for _ in 0..10 {
        let _until_durable = engine.send("dead", (0..10).map(|n| n.to_string()));
        engine.advance(SECOND / 10);
    }
    let _until_durable = engine.ask("queue.redrive", &json!({"name": "dead", "to": "q", "rate": 10.0}));
    (0..30).for_each(|_| engine.advance(SECOND / 10));
    let moved = engine.visible("q");
    assert!((25..=32).contains(&moved), "{moved}");
    assert!(matches!(engine.ask("queue.delete", &json!({"name": "q"})), Err(EngineError::Conflict(_))));

    let mut engine = engine.crashed();
    let redrive = engine.json("queue.describe", &json!({"name": "dead"}))["redrive"].clone();
    assert_eq!((&redrive["to"], &redrive["rate"], &redrive["messages"]), (&json!("q"), &json!(10.0), &json!(100)));
    assert_eq!(redrive["moved"], engine.visible("q"), "the count and the messages are of one commit");
    (0..20).for_each(|_| engine.advance(SECOND / 10));
    let moved = engine.visible("q") - moved;
    assert!((18..=22).contains(&moved), "{moved} in two seconds");
    assert!(matches!(engine.ask("queue.redrive", &json!({"name": "dead", "to": "q"})), Err(EngineError::Conflict(_))));

    let _until_durable = engine.ask("queue.cancel_redrive", &json!({"name": "dead"}));
    engine.advance(SECOND);
    let stays = engine.visible("dead");
    let mut engine = engine.crashed();
    engine.advance(SECOND);
    assert_eq!((engine.visible("dead"), engine.visible("q")), (stays, 100 - stays), "a cancelled one stays cancelled");
    let _until_durable = engine.ask("queue.redrive", &json!({"name": "dead", "to": "q"}));
    (0..20).for_each(|_| engine.advance(SECOND / 10));
    assert_eq!((engine.visible("dead"), engine.visible("q")), (0, 100));
    let redrive = engine.json("queue.describe", &json!({"name": "dead"}))["redrive"].clone();
    assert_eq!((&redrive["status"], &redrive["moved"]), (&json!("COMPLETED"), &json!(stays)));
}

/// The message was lost: it left its queue for the log of one that was deleted.
#[test]
fn a_dead_letter_stays_when_its_redrive_is_cancelled_and_the_target_deleted_while_it_is_read() {
    let (mut engine, ()) = TestEngine::with_a_redrive_that_is_cut_short(|_, _| ());
    engine.advance(SECOND);
    assert_eq!(engine.visible("dead"), 2);
    assert_eq!(engine.reopened().visible("dead"), 2);
}

/// Those were taken up again and again, were counted each time, and nothing else moved.
#[test]
fn a_redrive_passes_over_what_came_from_no_queue_and_moves_all_else() {
    let mut engine = TestEngine::new();
    engine.declare("dead");
    for _ in 0..10 {
        let _until_durable = engine.send("dead", (0..10).map(|n| n.to_string()));
        engine.advance(SECOND / 10);
    }
    let mut source = queue("q");
    (source["dead_letter_queue"], source["maximum_receive_count"]) = (json!("dead"), json!(1));
    engine.json("queue.declare", &source);
    for _ in 0..2 {
        let _until_durable = engine.send("q", (0..10).map(|n| n.to_string()));
        engine.advance(SECOND);
        let _held = engine.ask("queue.receive", &json!({"name": "q", "maximum": 10, "visibility_timeout_ms": 1_000}));
        (0..5).for_each(|_| engine.advance(SECOND));
        let _buried = engine.ask("queue.receive", &json!({"name": "q", "maximum": 10}));
        engine.advance(SECOND);
    }
    assert_eq!((engine.visible("dead"), engine.visible("q")), (120, 0));
    let _until_durable = engine.ask("queue.redrive", &json!({"name": "dead"}));
    (0..10).for_each(|_| engine.advance(SECOND));
    assert_eq!((engine.visible("dead"), engine.visible("q")), (100, 20));
    let redrive = engine.json("queue.describe", &json!({"name": "dead"}))["redrive"].clone();
    assert_eq!((&redrive["status"], &redrive["moved"]), (&json!("COMPLETED"), &json!(20)));
}

/// Each left its entry, the series of its counters, and, over restarts too, the number of its log: a million of them ended the store.
#[test]
fn ten_thousand_queues_made_and_deleted_leave_nothing_behind() {
    let mut engine = TestEngine::new();
    engine.declare("stays");
    let rows = |engine: &TestEngine| {
        let mut reader = engine.store.reader().unwrap();
        let all = [Table::Meta, Table::Queue, Table::QueueMapping, Table::MessageState, Table::MessagesGone];
        all.map(|table| reader.scan(table, &[], None, usize::MAX).unwrap().len())
    };
    engine.advance(SECOND);
    let before = rows(&engine);
    let series = |engine: &TestEngine| {
        let registry = engine.engine.registry();
        crate::metrics::METRICS.iter().map(|&metric| registry.gather(metric).len()).sum::<usize>()
    };
    let series_before = series(&engine);
    for number in 0..10_000 {
        let name = format!("job-{number}");
        engine.declare(&name);
        let _until_durable = engine.send(&name, ["a", "b"].into_iter().map(String::from));
        engine.advance(SECOND / 1_000);
        let held = engine.receive(&name);
        engine.delete(&name, &held[0].1);
        let _until_durable = engine.ask("queue.delete", &json!({ "name": name }));
        engine.advance(SECOND / 1_000);
    }
    (0..10).for_each(|_| engine.advance(SECOND / 100));
    let (entries, holes) = engine.engine.with(|state| (state.queues.entries.len(), state.streams.shards.len()));
    assert!(entries <= 4 && holes == 0, "{entries} entries, {holes} shards");
    assert_eq!(series(&engine), series_before);
    let [meta, rest @ ..] = rows(&engine);
    assert_eq!(rest, before[1..]);
    assert!(meta <= before[0] + 1, "{meta} rows where there were {}", before[0]);
    let engine = engine.crashed();
    assert_eq!(engine.engine.with(|state| (state.queues.entries.len(), state.streams.shards.len())), (1, 0));
}

#[test]
fn an_entry_is_not_used_again_while_a_handler_has_messages_of_its_deleted_queue() {
    let mut engine = TestEngine::new();
    engine.declare("old");
    engine.bind("old");
    let _until_durable = engine.send("old", ["a", "b"].into_iter().map(String::from));
    engine.advance(SECOND);
    let taken = engine.take();
    engine.json("mapping.delete", &json!({"queue": "old", "function": "f"}));
    let _until_durable = engine.ask("queue.delete", &json!({"name": "old"}));
    (0..5).for_each(|_| engine.advance(SECOND));
    engine.declare("new");
    let _until_durable = engine.send("new", ["c", "d"].into_iter().map(String::from));
    engine.advance(SECOND);
    // Settled into the new one these would be its own two messages.
    for (token, _) in taken {
        engine.settle(token, 0);
    }
    engine.advance(SECOND);
    assert_eq!(engine.visible("new"), 2);
    engine.declare("next");
    let (entries, logs) = engine.engine.with(|state| {
        let logs: std::collections::BTreeSet<_> =
            state.queues.entries.iter().map(crate::sources::queue::Queue::log).collect();
        (state.queues.entries.len(), logs.len())
    });
    assert_eq!((entries, logs), (2, 2), "now it is");
}

#[test]
fn numbers_of_logs_begin_again_at_the_end_and_pass_over_those_in_use() {
    let engine = TestEngine::new();
    engine.declare("first");
    let log = |name: &str| engine.engine.with(|state| state.queues.entries[state.queues.queue_id(name).unwrap()].log());
    engine.engine.with(|state| state.queues.next_log = crate::store::SHARD_LIMIT - 1);
    engine.declare("last");
    engine.declare("again");
    assert_eq!(log("first"), crate::store::format::FIRST_QUEUE_LOG);
    assert_eq!(log("last"), crate::store::SHARD_LIMIT - 1);
    assert_eq!(log("again"), log("first") + 1);
}
