//! What is kept of asynchronous invocations.

mod options;

use serde_json::{json, Value};

use crate::base::error::Waiter;
use crate::base::trace::Origin;
use crate::dispatch::attempts::{Settled, Task, Token};
use crate::runtime::test_engine::{queue, TestEngine, SECOND};
use crate::store::port::{Store as _, Table};

fn function(name: &str) -> Value {
    let asynchronous = json!({"maximum_retry_attempts": 0, "maximum_event_age_ms": 60_000, "retry_delays_ms": []});
    json!({"kind": "function", "name": name, "timeout_ms": 3_000, "asynchronous": asynchronous})
}

/// Run a version once, with this outcome.
fn run(engine: &mut TestEngine, version: &str, status: u8) {
    let ask = Waiter::Call(Box::new(|answer| drop(answer.unwrap())));
    engine.engine.invoke_async(version, b"1", Origin::default(), ask);
    let (works, _) = engine.engine.exchange(Vec::new(), 1);
    let body = Some(if status == 0 { b"1".to_vec() } else { br#"{"errorMessage":"no"}"#.to_vec() });
    engine.engine.exchange(vec![Settled { token: works[0].token, status, body, duration_ns: 1 }], 0);
    engine.advance(SECOND);
}

fn kept(engine: &TestEngine) -> Vec<String> {
    let rows = engine.store.reader().unwrap().scan(Table::Function, &[], None, usize::MAX).unwrap();
    rows.into_iter().map(|(_, name)| String::from_utf8(name).unwrap()).collect()
}

/// Each version that was ever invoked left its row, a queue in memory, and a look through the store at every start.
#[test]
fn a_version_that_is_published_no_more_leaves_nothing_once_nothing_is_left_of_it() {
    let engine = TestEngine::new();
    let mut engine = engine.reopened_with(&[function("f"), function("f:1"), function("f:2"), function("f:3")]);
    for (version, status) in [("f:1", 0), ("f:2", 1), ("f:3", 0), ("f", 0)] {
        run(&mut engine, version, status);
    }
    let mut engine = engine.reopened();
    engine.advance(SECOND);
    assert_eq!(
        kept(&engine),
        ["f:1", "f:2", "f:3", "f"],
        "before the function is there nothing is known of its versions"
    );

    let mut engine = engine.reopened_with(&[function("f"), function("f:3"), function("f:4")]);
    engine.advance(SECOND);
    assert_eq!(kept(&engine), ["f:2", "f:3", "f"], "a failure is listed, and one is published");
    assert!(engine.engine.with(|state| state.events.by_function.keys().all(|name| name != "f:1")));
    run(&mut engine, "f:4", 0);
    let engine = engine.reopened_with(&[function("f"), function("f:1")]);
    let failed = engine.json("failed.list", &json!({"function": "f", "limit": 10}));
    assert_eq!(failed["failures"].as_array().map(Vec::len), Some(1), "{failed}");
}

/// `f:$LATEST` was refused where `f` was taken.
#[test]
fn an_event_for_a_function_that_is_not_there_is_taken_with_the_qualifier_of_its_newest_code() {
    let mut engine = TestEngine::new().reopened_with(&[function("f")]);
    run(&mut engine, "f", 0);
    let mut engine = engine.reopened();
    for asked in ["f", "f:$LATEST"] {
        let (sender, receiver) = std::sync::mpsc::channel();
        let told = Waiter::Call(Box::new(move |answer| drop(sender.send(answer))));
        engine.engine.invoke_async(asked, b"1", Origin::default(), told);
        engine.advance(SECOND);
        assert!(receiver.try_recv().unwrap().is_ok(), "{asked}");
    }
}

/// The log had no line of it, though nobody was ever told of the failure.
#[test]
fn a_failure_that_is_listed_since_nothing_has_its_destination_is_told() {
    let mut failing = function("f");
    failing["asynchronous"]["on_failure"] = "on_failure:f".into();
    let mut engine = TestEngine::new().reopened_with(&[failing]);
    run(&mut engine, "f", 1);
    let undelivered =
        |engine: &TestEngine| engine.notices().into_iter().filter(|notice| notice["what"] == "undelivered").count();
    assert_eq!(undelivered(&engine), 0);
    for _ in 0..26 {
        engine.advance(3_600 * SECOND);
    }
    assert_eq!(undelivered(&engine), 1);
    let failed = engine.json("failed.list", &json!({"function": "f", "limit": 10}));
    assert_eq!(failed["failures"].as_array().map(Vec::len), Some(1), "{failed}");
}

fn telling(name: &str, on_success: &str) -> Value {
    let mut function = function(name);
    function["asynchronous"]["on_success"] = on_success.into();
    function
}

fn accept(engine: &TestEngine, function: &str, payload: &[u8]) {
    engine.engine.invoke_async(function, payload, Origin::default(), Waiter::Call(Box::new(drop)));
}

fn well(token: Token) -> Settled {
    Settled { token, status: 0, body: None, duration_ns: 1 }
}

/// Run every event to its end; what destinations are handed meanwhile.
fn delivering(engine: &TestEngine, mut settled: Vec<Settled>) -> Vec<Token> {
    let mut handed = Vec::new();
    loop {
        let (works, _) = engine.engine.exchange(std::mem::take(&mut settled), 100);
        for work in &works {
            match work.task {
                Task::Deliver(_) => handed.push(work.token),
                _ => settled.push(well(work.token)),
            }
        }
        if works.is_empty() {
            return handed;
        }
    }
}

/// Once 4,096 were remembered each was looked for in the store, while everybody else waited for the lock.
#[test]
fn an_event_whose_row_goes_with_a_message_is_remembered_until_the_message_is_durable() {
    let engine = TestEngine::new();
    engine.json("queue.declare", &queue("results"));
    let engine = engine.reopened_slowly();
    engine.register(telling("f", "queue:results"));
    accept(&engine, "f", b"1");
    (0..3).for_each(|_| engine.engine.disk_done());
    let (works, _) = engine.engine.exchange(Vec::new(), 1);
    engine.engine.exchange(vec![well(works[0].token)], 0);
    let leaving =
        || engine.engine.with(|state| state.events.queues.values().map(|one| one.leaving.len()).sum::<usize>());
    let sent = || engine.json("queue.depth", &json!({"name": "results"}))["visible"].clone();
    assert_eq!((leaving(), sent()), (1, json!(0)));
    (0..3).for_each(|_| engine.engine.disk_done());
    assert_eq!((leaving(), sent()), (0, json!(1)));
}

/// Every destination was handed 64, whatever an fsync cost it and however large they were.
#[test]
fn a_destination_is_handed_as_many_records_at_once_as_it_takes_up_to_16_mib() {
    let engine = TestEngine::new();
    engine.register(json!({"kind": "destination", "name": "few", "type": "object", "at_once": 3}));
    engine.register(json!({"kind": "destination", "name": "many", "type": "object", "at_once": 512}));
    engine.register(telling("f", "few"));
    engine.register(telling("g", "many"));
    (0..5).for_each(|_| accept(&engine, "f", b"1"));
    let handed = delivering(&engine, Vec::new());
    assert_eq!(handed.len(), 3);
    assert_eq!(delivering(&engine, vec![well(handed[0])]).len(), 1, "one for the one that is confirmed");

    (0..100).for_each(|_| accept(&engine, "g", b"1"));
    let handed = delivering(&engine, Vec::new());
    assert_eq!(handed.len(), 100);
    assert_eq!(delivering(&engine, handed.into_iter().map(well).collect()).len(), 0);
    let megabyte = format!("\"{}\"", "x".repeat(1_000_000));
    (0..20).for_each(|_| accept(&engine, "g", megabyte.as_bytes()));
    let handed = delivering(&engine, Vec::new());
    assert_eq!(handed.len(), 17);
    assert_eq!(delivering(&engine, handed.into_iter().map(well).collect()).len(), 3);
}

/// Each delivery, and each commit, went through the queues of every function and mapping that there was.
#[test]
fn what_a_delivery_costs_does_not_grow_with_the_functions_beside_it() {
    let visits = |functions: usize| {
        let mut engine = TestEngine::new();
        engine.register(json!({"kind": "destination", "name": "told", "type": "object", "at_once": 8}));
        (0..functions).for_each(|n| engine.register(telling(&format!("f{n}"), "told")));
        for n in 0..functions {
            (0..16).for_each(|_| accept(&engine, &format!("f{n}"), b"1"));
        }
        let (mut handed, mut delivered, before) =
            (Vec::new(), 0, engine.engine.with(|state| state.failures.deliveries.visits));
        for _ in 0..10 * functions {
            handed = delivering(&engine, handed.into_iter().map(well).collect());
            delivered += handed.len();
            engine.advance(SECOND);
        }
        assert_eq!(delivered, 16 * functions);
        (engine.engine.with(|state| state.failures.deliveries.visits) - before) as f64 / delivered as f64
    };
    let (few, many) = (visits(2), visits(64));
    // Its own, when its row is durable and when it has ended.
    assert!(few <= 2.0 && many <= 2.0, "queues looked at for each delivery: {few} of 2 functions, {many} of 64");
}

/// A failure of one function sets the timer of its own queue: nobody else's delivery looks at it.
#[test]
fn what_failed_at_its_destination_is_tried_again_whoever_else_delivers() {
    let mut engine = TestEngine::new();
    engine.register(json!({"kind": "destination", "name": "down", "type": "object", "at_once": 8}));
    engine.register(json!({"kind": "destination", "name": "up", "type": "object", "at_once": 1}));
    engine.register(telling("f", "down"));
    engine.register(telling("g", "up"));
    accept(&engine, "f", b"1");
    let handed = delivering(&engine, Vec::new());
    let failed = |token| Settled { token, status: 1, body: None, duration_ns: 1 };
    assert!(delivering(&engine, handed.into_iter().map(failed).collect()).is_empty());
    (0..4).for_each(|_| accept(&engine, "g", b"1"));
    let handed = delivering(&engine, Vec::new());
    assert_eq!(handed.len(), 1, "of the one that takes one at once");
    engine.advance(2 * SECOND);
    let again = delivering(&engine, Vec::new());
    assert_eq!(again.len(), 1, "the other's is tried again, while this one's is under way");
    assert!(delivering(&engine, again.into_iter().map(well).collect()).is_empty());
    assert_eq!(delivering(&engine, handed.into_iter().map(well).collect()).len(), 1);
}
