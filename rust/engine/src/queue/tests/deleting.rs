//! Queues that are deleted, and redrives: what lasts, what is held, and what they may not do to each other.

use serde_json::json;

use crate::error::EngineError;
use crate::port::{Store as _, Table};
use crate::rig::{queue, Rig, SECOND};

fn left_of(rig: &Rig, log: u32) -> usize {
    let mut reader = rig.store.reader().unwrap();
    let tables = [Table::MessageState, Table::MessagesGone, Table::MessageKept, Table::Deduplication];
    let rows = tables.map(|table| reader.scan(table, &log.to_be_bytes(), None, usize::MAX).unwrap().len());
    rows.iter().sum::<usize>() + reader.sizes(log, usize::MAX).unwrap().len()
}

#[test]
fn a_deleted_queue_is_gone_at_once_and_what_it_held_goes_in_slices_also_over_a_crash() {
    let mut rig = Rig::new();
    rig.declare("q.fifo");
    for n in 0..900 {
        let message = json!({"body": n.to_string(), "group_id": (n % 50).to_string()});
        let _until_durable = rig.ask("queue.send", &json!({"name": "q.fifo", "messages": [message]}));
        rig.advance(SECOND / 100);
    }
    for (_, receipt) in rig.receive("q.fifo").into_iter().take(5) {
        rig.delete("q.fifo", &receipt);
    }
    rig.advance(SECOND);
    let log = rig.engine.with(|state| state.queues.entries[state.queue_id("q.fifo").unwrap()].log());
    let before = left_of(&rig, log);
    assert!(before > 1_000, "{before}");

    let _until_durable = rig.ask("queue.delete", &json!({"name": "q.fifo"}));
    rig.engine.turn(rig.now);
    assert!(matches!(rig.ask("queue.depth", &json!({"name": "q.fifo"})), Err(EngineError::NotFound(_))));
    rig.advance(SECOND / 100);
    let left = left_of(&rig, log);
    assert!(0 < left && left < before, "{left} of {before}");

    let mut rig = rig.crashed();
    rig.declare("q.fifo");
    (0..20).for_each(|_| rig.advance(SECOND / 100));
    assert_eq!(left_of(&rig, log), 0);
    assert_eq!(rig.store.reader().unwrap().bounds(log).unwrap(), None, "the log itself is forgotten");
    assert_eq!(rig.visible("q.fifo"), 0, "the name begins anew");
    let rig = rig.crashed();
    assert_eq!(rig.engine.with(|state| state.queues.dropping.len()), 0);
}

#[test]
fn what_is_in_a_handlers_hands_when_its_queue_is_deleted_ends_without_a_meaning() {
    let mut rig = Rig::new();
    rig.declare("q");
    rig.bind("q");
    let _until_durable = rig.send("q", ["a", "b", "c"].into_iter().map(String::from));
    rig.advance(SECOND);
    let taken = rig.take();
    assert_eq!(taken.len(), 2);
    assert!(matches!(rig.ask("queue.delete", &json!({"name": "q"})), Err(EngineError::Conflict(_))));
    rig.json("mapping.delete", &json!({"queue": "q", "function": "f"}));
    let _until_durable = rig.ask("queue.delete", &json!({"name": "q"}));
    rig.advance(SECOND);
    for ((token, _), status) in taken.into_iter().zip([0, 1]) {
        rig.settle(token, status);
    }
    rig.advance(60 * SECOND);
    rig.declare("q");
    rig.advance(SECOND);
    assert_eq!(rig.visible("q"), 0);
    assert!(rig.engine.with(|state| state.failed.is_none()));
}

#[test]
fn a_redrive_goes_on_after_a_crash_where_it_was_and_at_its_rate() {
    let mut rig = Rig::new();
    rig.declare("dead");
    rig.declare("q");
    for _ in 0..10 {
        let _until_durable = rig.send("dead", (0..10).map(|n| n.to_string()));
        rig.advance(SECOND / 10);
    }
    let _until_durable = rig.ask("queue.redrive", &json!({"name": "dead", "to": "q", "rate": 10.0}));
    (0..30).for_each(|_| rig.advance(SECOND / 10));
    let moved = rig.visible("q");
    assert!((25..=32).contains(&moved), "{moved}");
    assert!(matches!(rig.ask("queue.delete", &json!({"name": "q"})), Err(EngineError::Conflict(_))));

    let mut rig = rig.crashed();
    let redrive = rig.json("queue.describe", &json!({"name": "dead"}))["redrive"].clone();
    assert_eq!((&redrive["to"], &redrive["rate"], &redrive["messages"]), (&json!("q"), &json!(10.0), &json!(100)));
    assert_eq!(redrive["moved"], rig.visible("q"), "the count and the messages are of one commit");
    (0..20).for_each(|_| rig.advance(SECOND / 10));
    let moved = rig.visible("q") - moved;
    assert!((18..=22).contains(&moved), "{moved} in two seconds");
    assert!(matches!(rig.ask("queue.redrive", &json!({"name": "dead", "to": "q"})), Err(EngineError::Conflict(_))));

    let _until_durable = rig.ask("queue.cancel_redrive", &json!({"name": "dead"}));
    rig.advance(SECOND);
    let stays = rig.visible("dead");
    let mut rig = rig.crashed();
    rig.advance(SECOND);
    assert_eq!((rig.visible("dead"), rig.visible("q")), (stays, 100 - stays), "a cancelled one stays cancelled");
    let _until_durable = rig.ask("queue.redrive", &json!({"name": "dead", "to": "q"}));
    (0..20).for_each(|_| rig.advance(SECOND / 10));
    assert_eq!((rig.visible("dead"), rig.visible("q")), (0, 100));
    let redrive = rig.json("queue.describe", &json!({"name": "dead"}))["redrive"].clone();
    assert_eq!((&redrive["status"], &redrive["moved"]), (&json!("COMPLETED"), &json!(stays)));
}

/// The message was lost: it left its queue for the log of one that was deleted.
#[test]
fn a_dead_letter_stays_when_its_redrive_is_cancelled_and_the_target_deleted_while_it_is_read() {
    let (mut rig, ()) = Rig::with_a_redrive_that_is_cut_short(|_, _| ());
    rig.advance(SECOND);
    assert_eq!(rig.visible("dead"), 2);
    assert_eq!(rig.reopened().visible("dead"), 2);
}

/// Those were taken up again and again, were counted each time, and nothing else moved.
#[test]
fn a_redrive_passes_over_what_came_from_no_queue_and_moves_all_else() {
    let mut rig = Rig::new();
    rig.declare("dead");
    for _ in 0..10 {
        let _until_durable = rig.send("dead", (0..10).map(|n| n.to_string()));
        rig.advance(SECOND / 10);
    }
    let mut source = queue("q");
    (source["dead_letter_queue"], source["maximum_receive_count"]) = (json!("dead"), json!(1));
    rig.json("queue.declare", &source);
    for _ in 0..2 {
        let _until_durable = rig.send("q", (0..10).map(|n| n.to_string()));
        rig.advance(SECOND);
        let _held = rig.ask("queue.receive", &json!({"name": "q", "maximum": 10, "visibility_timeout_ms": 1_000}));
        (0..5).for_each(|_| rig.advance(SECOND));
        let _buried = rig.ask("queue.receive", &json!({"name": "q", "maximum": 10}));
        rig.advance(SECOND);
    }
    assert_eq!((rig.visible("dead"), rig.visible("q")), (120, 0));
    let _until_durable = rig.ask("queue.redrive", &json!({"name": "dead"}));
    (0..10).for_each(|_| rig.advance(SECOND));
    assert_eq!((rig.visible("dead"), rig.visible("q")), (100, 20));
    let redrive = rig.json("queue.describe", &json!({"name": "dead"}))["redrive"].clone();
    assert_eq!((&redrive["status"], &redrive["moved"]), (&json!("COMPLETED"), &json!(20)));
}

/// Each left its entry, the series of its counters, and, over restarts too, the number of its log: a million of them ended the store.
#[test]
fn ten_thousand_queues_made_and_deleted_leave_nothing_behind() {
    let mut rig = Rig::new();
    rig.declare("stays");
    let rows = |rig: &Rig| {
        let mut reader = rig.store.reader().unwrap();
        let all = [Table::Meta, Table::Queue, Table::QueueMapping, Table::MessageState, Table::MessagesGone];
        all.map(|table| reader.scan(table, &[], None, usize::MAX).unwrap().len())
    };
    rig.advance(SECOND);
    let before = rows(&rig);
    let series = |rig: &Rig| {
        let registry = rig.engine.registry();
        crate::metrics::METRICS.iter().map(|&metric| registry.gather(metric).len()).sum::<usize>()
    };
    let series_before = series(&rig);
    for number in 0..10_000 {
        let name = format!("job-{number}");
        rig.declare(&name);
        let _until_durable = rig.send(&name, ["a", "b"].into_iter().map(String::from));
        rig.advance(SECOND / 1_000);
        let held = rig.receive(&name);
        rig.delete(&name, &held[0].1);
        let _until_durable = rig.ask("queue.delete", &json!({ "name": name }));
        rig.advance(SECOND / 1_000);
    }
    (0..10).for_each(|_| rig.advance(SECOND / 100));
    let (entries, holes) = rig.engine.with(|state| (state.queues.entries.len(), state.shards.len()));
    assert!(entries <= 4 && holes == 0, "{entries} entries, {holes} shards");
    assert_eq!(series(&rig), series_before);
    let [meta, rest @ ..] = rows(&rig);
    assert_eq!(rest, before[1..]);
    assert!(meta <= before[0] + 1, "{meta} rows where there were {}", before[0]);
    let rig = rig.crashed();
    assert_eq!(rig.engine.with(|state| (state.queues.entries.len(), state.shards.len())), (1, 0));
}

#[test]
fn an_entry_is_not_used_again_while_a_handler_has_messages_of_its_deleted_queue() {
    let mut rig = Rig::new();
    rig.declare("old");
    rig.bind("old");
    let _until_durable = rig.send("old", ["a", "b"].into_iter().map(String::from));
    rig.advance(SECOND);
    let taken = rig.take();
    rig.json("mapping.delete", &json!({"queue": "old", "function": "f"}));
    let _until_durable = rig.ask("queue.delete", &json!({"name": "old"}));
    (0..5).for_each(|_| rig.advance(SECOND));
    rig.declare("new");
    let _until_durable = rig.send("new", ["c", "d"].into_iter().map(String::from));
    rig.advance(SECOND);
    // Settled into the new one these would be its own two messages.
    for (token, _) in taken {
        rig.settle(token, 0);
    }
    rig.advance(SECOND);
    assert_eq!(rig.visible("new"), 2);
    rig.declare("next");
    let (entries, logs) = rig.engine.with(|state| {
        let logs: std::collections::BTreeSet<_> = state.queues.entries.iter().map(super::super::Queue::log).collect();
        (state.queues.entries.len(), logs.len())
    });
    assert_eq!((entries, logs), (2, 2), "now it is");
}

#[test]
fn numbers_of_logs_begin_again_at_the_end_and_pass_over_those_in_use() {
    let rig = Rig::new();
    rig.declare("first");
    let log = |name: &str| rig.engine.with(|state| state.queues.entries[state.queue_id(name).unwrap()].log());
    rig.engine.with(|state| state.queues.next_log = crate::store::SHARD_LIMIT - 1);
    rig.declare("last");
    rig.declare("again");
    assert_eq!(log("first"), super::super::FIRST_LOG);
    assert_eq!(log("last"), crate::store::SHARD_LIMIT - 1);
    assert_eq!(log("again"), log("first") + 1);
}
