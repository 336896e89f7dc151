//! What was in a handler's hands when the process died.

use std::sync::Arc;

use serde_json::json;

use crate::dispatch::attempts::{self, Attempt};
use crate::dispatch::invoke::Invoke;
use crate::runtime::test_engine::{TestEngine, SECOND};

#[test]
fn what_a_handler_had_when_the_process_died_comes_back_counted_and_alone_one_by_one() {
    let mut engine = TestEngine::new();
    engine.declare("q");
    engine.bind("q");
    engine.send("q", ["a", "b", "c"].into_iter().map(str::to_owned)).unwrap();
    let mut works = engine.take();
    works.sort_by_key(|(_, items)| items[0].0.clone());
    assert_eq!(works[0].1, [("a".to_owned(), 1), ("b".to_owned(), 1)]);
    engine.settle(works[1].0, 0);
    engine.advance(SECOND);
    let mut engine = engine.crashed();
    engine.bind("q");
    engine.send("q", ["d".to_owned()].into_iter()).unwrap();
    for body in ["a", "b"] {
        let works = engine.take();
        assert_eq!(works.len(), 1, "nothing runs beside a suspect: {works:?}");
        assert_eq!(works[0].1, [(body.to_owned(), 2)]);
        engine.settle(works[0].0, 0);
        engine.advance(SECOND);
    }
    let works = engine.take();
    assert_eq!(works[0].1, [("d".to_owned(), 1)]);
    engine.settle(works[0].0, 0);
    engine.advance(SECOND);
    assert!(engine.crashed().take().is_empty());
}

/// A suspect that its function's rate kept from starting was looked at again when something else happened: every 30 seconds.
#[test]
fn a_suspect_that_is_kept_back_by_a_rate_starts_when_its_time_has_come() {
    let engine = TestEngine::new();
    engine.declare("q");
    engine.bind("q");
    engine.send("q", ["a", "b", "c"].into_iter().map(str::to_owned)).unwrap();
    assert_eq!(engine.take().len(), 2, "two batches are in flight");
    let mut engine = engine.crashed();
    engine.bind("q");
    engine.json("function.update", &json!({"name": "f", "rate_limit": 1}));
    for body in ["a", "b"] {
        let works = engine.take();
        assert_eq!(works[0].1[0].0, body);
        engine.settle(works[0].0, 0);
        engine.advance(0);
    }
    assert!(engine.take().is_empty(), "the rate is used up");
    engine.advance(SECOND / 100); // what was deleted is written by now
    assert_eq!(engine.engine.turn(engine.now), Some(SECOND));
    engine.advance(SECOND);
    assert_eq!(engine.take()[0].1[0].0, "c");
}

/// What a strict mapping had received waited for suspects while its visibility timeout ran, and began when that was over: it ran twice.
#[test]
fn what_is_received_for_a_time_only_does_not_wait_for_a_suspect_in_hand() {
    let engine = TestEngine::new();
    engine.declare("q");
    engine.declare("s");
    engine.bind("q");
    engine.send("q", ["a".to_owned()].into_iter()).unwrap();
    assert_eq!(engine.take().len(), 1);
    engine.send("s", ["b".to_owned()].into_iter()).unwrap();
    let mut engine = engine.crashed();
    engine.register(json!({"kind": "function", "name": "f", "timeout_ms": 3_000}));
    engine.json(
        "mapping.declare",
        &json!({
            "queue": "s", "function": "f", "batch_size": 2, "maximum_batching_window_ms": 0,
            "report_batch_item_failures": false, "filters": [], "strict_lambda": true, "enabled": true,
        }),
    );
    engine.bind("q");
    let mut works = engine.take();
    engine.advance(SECOND / 100);
    works.extend(engine.take());
    assert_eq!(works.len(), 1);
    assert_eq!(works[0].1, [("a".to_owned(), 2)], "the suspect, alone");
    assert_eq!(engine.visible("s"), 1);
    engine.settle(works[0].0, 0);
    works = engine.take();
    engine.advance(SECOND / 100);
    works.extend(engine.take());
    assert_eq!(works[0].1, [("b".to_owned(), 1)], "and that was not a receive");
}

/// Nobody looked at its line again before the suspect had ended, whose handler may be waiting for just that.
#[test]
fn an_invocation_that_waits_beside_a_suspect_for_its_rate_starts_when_its_time_has_come() {
    let engine = TestEngine::new();
    engine.declare("q");
    engine.bind("q");
    engine.send("q", ["a".to_owned()].into_iter()).unwrap();
    assert_eq!(engine.take().len(), 1);
    let mut engine = engine.crashed();
    engine.bind("q");
    engine.json("function.update", &json!({"name": "f", "rate_limit": 1}));
    assert_eq!(engine.take().len(), 1, "the suspect runs");
    engine.engine.with(|state| {
        // As they wait where all environments of their function have work.
        for _ in 0..2 {
            let job = Invoke { payload: Arc::from(*b"1"), qualifier: None, trace: None, waiter: None };
            state.dispatch.ready_list.invoke_bytes += 1;
            let handler = state.dispatch.function_names["f"];
            attempts::ready(&mut state.dispatch(), Attempt::new(handler, job, 1), false);
        }
    });
    let invoked = |engine: &TestEngine| engine.engine.exchange(Vec::new(), 10).0.len();
    assert_eq!(invoked(&engine), 1);
    engine.advance(SECOND / 100);
    assert_eq!(engine.engine.turn(engine.now), Some(SECOND));
    engine.advance(SECOND);
    assert_eq!(invoked(&engine), 1);
}
