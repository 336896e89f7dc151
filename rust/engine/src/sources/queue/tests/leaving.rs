//! What is deleted, purged or paused while something is on its way: nothing stays held, nothing comes back, nothing goes elsewhere.

use serde_json::{json, Value};

use crate::runtime::test_engine::{queue, TestEngine, SECOND};
use crate::sources::queue::compaction;
use crate::store::fault::{Fault, Repeat};
use crate::store::port::Store as _;
use crate::store::port::Table;

fn register(engine: &TestEngine) {
    engine.register(json!({"kind": "function", "name": "f", "timeout_ms": 3_000}));
}

fn map(engine: &TestEngine, fields: &Value) {
    let mut row = json!({
        "queue": "q", "function": "f", "batch_size": 2, "maximum_batching_window_ms": 0,
        "report_batch_item_failures": false, "filters": [], "strict_lambda": false, "enabled": true,
    });
    fields.as_object().unwrap().iter().for_each(|(name, value)| row[name] = value.clone());
    let _until_durable = engine.ask("mapping.declare", &row);
    engine.engine.disk_done();
}

/// What had passed the filters stayed in flight until the next restart, and its FIFO group with it.
#[test]
fn a_mapping_that_is_deleted_while_its_batch_is_filled_up_holds_nothing() {
    let mut engine = TestEngine::new();
    engine.declare("q");
    for passes in [true, false, true, true] {
        // So large that one read brings one of them.
        let body = json!({"pass": passes, "pad": "x".repeat(600_000)}).to_string();
        let _until_durable = engine.send("q", [body].into_iter());
        engine.advance(SECOND);
    }
    let mut engine = engine.reopened_slowly();
    register(&engine);
    // One batch at a time.
    engine.json("function.update", &json!({"name": "f", "rate_limit": 1}));
    map(&engine, &json!({"filters": [r#"{"body": {"pass": [true]}}"#]}));
    let wants = |engine: &TestEngine| {
        engine.engine.with(|state| state.queues.entries[state.queues.queue_id("q").unwrap()].wants.len())
    };
    engine.engine.disk_done();
    let depth = |engine: &TestEngine| engine.json("queue.depth", &json!({"name": "q"}));
    assert_eq!(
        (wants(&engine), depth(&engine)["in_flight"].clone()),
        (1, json!(2)),
        "one is kept, the next one is being read"
    );
    let _until_durable = engine.ask("mapping.delete", &json!({"queue": "q", "function": "f"}));
    (0..5).for_each(|_| engine.engine.disk_done());
    assert_eq!(depth(&engine), json!({"visible": 3, "in_flight": 0, "delayed": 0}));
    engine.advance(SECOND);
}

/// It was delivered to the other queue: by then the entry that the redrive had named was that one's.
#[test]
fn a_cancelled_redrive_delivers_into_no_queue_that_has_taken_the_place_of_its_deleted_target() {
    let (mut engine, (target, reads)) = TestEngine::with_a_redrive_that_is_cut_short(|state, target| {
        (target, std::mem::take(&mut state.ctx.commit.reads))
    });
    assert!(!reads.is_empty(), "they are still being read");
    (0..5).for_each(|_| engine.advance(SECOND));
    engine.declare("other");
    assert_eq!(engine.engine.with(|state| state.queues.queue_id("other").unwrap()), target);
    engine.engine.with(|state| state.ctx.commit.reads.extend(reads));
    (0..5).for_each(|_| engine.advance(SECOND));
    assert_eq!((engine.visible("dead"), engine.visible("other")), (2, 0));
}

/// Purge a queue while a message that has a row of its own is on its way into another one, as a dead letter or by a redrive, and let
/// the disk refuse that. How many messages are there, now and after a restart, and how many rows?
fn purged_while_one_moves(is_burial: bool) -> [usize; 3] {
    let engine = TestEngine::new();
    engine.declare("to");
    let mut source = queue("q");
    if is_burial {
        (source["dead_letter_queue"], source["maximum_receive_count"]) = (json!("to"), json!(1));
    }
    engine.json("queue.declare", &source);
    for round in 0..430 {
        engine.send("q", (0..10).map(|n| format!("{round}-{n}"))).unwrap();
        for (_, receipt) in engine.receive("q").into_iter().filter(|(body, _)| body != "0-3") {
            engine.delete("q", &receipt);
        }
    }
    let mut engine = engine.reopened_slowly();
    let has_begun = |engine: &mut TestEngine, what: &dyn Fn(&crate::sources::queue::Queue) -> bool| {
        (0..100).any(|_| {
            engine.advance(SECOND / 20);
            let is_so = engine.engine.with(|state| what(&state.queues.entries[state.queues.queue_id("q").unwrap()]));
            if !is_so {
                engine.engine.disk_done();
            }
            is_so
        })
    };
    engine.engine.with(|state| {
        let id = state.queues.queue_id("q").unwrap();
        compaction::keep_stragglers(&mut state.queues(), id).unwrap();
    });
    assert!(has_begun(&mut engine, &|queue| queue.kept.contains(&3)));
    (0..3).for_each(|_| {
        engine.advance(SECOND / 20);
        engine.engine.disk_done();
    });
    engine.advance(30 * SECOND);
    if !is_burial {
        let _until_durable = engine.ask("queue.redrive", &json!({"name": "q", "to": "to"}));
    }
    assert!(has_begun(&mut engine, &|queue| queue.transferring > 0), "its move is with the disk");
    let _until_durable = engine.ask("queue.purge", &json!({"name": "q"}));
    engine.store.fail(1, Fault::Full, Repeat::Always);
    engine.engine.disk_done();
    engine.store.mend();
    for _ in 0..20 {
        engine.advance(SECOND / 4);
        engine.engine.disk_done();
    }
    let visible = engine.visible("q") as usize;
    let rows = [Table::MessageState, Table::MessageKept]
        .map(|table| engine.store.reader().unwrap().scan(table, &[], None, 10).unwrap().len());
    let mut engine = engine.crashed();
    (0..3).for_each(|_| engine.advance(SECOND));
    [visible, (engine.visible("q") + engine.visible("to")) as usize, rows.iter().sum()]
}

/// It was back in the queue, and its purge had been answered.
#[test]
fn a_dead_letter_that_is_purged_while_a_full_disk_refuses_its_move_is_gone() {
    assert_eq!(purged_while_one_moves(true), [0, 0, 0]);
}

/// Its rows stayed, and the next process found it there.
#[test]
fn what_is_purged_while_a_full_disk_refuses_its_redrive_is_gone() {
    assert_eq!(purged_while_one_moves(false), [0, 0, 0]);
}

/// Its receive was on disk before a handler could have it, and counted: a restart at the wrong moment made it a dead letter, untried.
#[test]
fn what_no_handler_has_begun_when_the_app_stops_is_as_if_it_had_not_been_received() {
    for is_durable in [true, false] {
        let engine = TestEngine::new();
        engine.declare("q");
        engine.send("q", ["a"].into_iter().map(String::from)).unwrap();
        let mut engine = engine.reopened_slowly();
        register(&engine);
        map(&engine, &json!({"strict_lambda": true}));
        let count = |engine: &TestEngine| {
            engine.json("queue.peek", &json!({"name": "q", "limit": 1}))["messages"][0]["attributes"].clone()
        };
        (0..if is_durable { 5 } else { 1 }).for_each(|_| engine.engine.disk_done());
        assert_eq!(count(&engine)["ApproximateReceiveCount"], "1");
        engine.engine.drain();
        engine.advance(SECOND);
        let engine = engine.reopened();
        assert_eq!((engine.visible("q"), count(&engine)["ApproximateReceiveCount"].clone()), (1, json!("0")));
    }
}
