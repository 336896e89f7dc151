//! What was in flight when the process died runs alone; invocations and handlers that never end beside it.

use forebay_engine::dispatch::attempts::{Task, Work};
use serde_json::json;

use crate::test_engine::TestEngine;

/// A process that died while a batch was in flight, and the next one, in which it runs alone.
fn after_a_crash(engine: &mut TestEngine, settings: &serde_json::Value) {
    engine.register("function", "g", 60_000);
    engine.start(settings);
    engine.put(&["a"]);
    assert_eq!(engine.batches().len(), 1);
    engine.kill();
    engine.register("function", "g", 60_000);
    engine.start(settings);
}

fn is_invoke(work: &Work) -> bool {
    matches!(work.task, Task::Invoke(_))
}

/// A suspect whose handler invoked another function waited for an answer that waited for the suspect: both stood until the
/// timeout, at every try.
#[test]
fn a_suspect_may_invoke_a_function() {
    let mut engine = TestEngine::new();
    after_a_crash(&mut engine, &json!({}));
    assert_eq!(engine.batches().len(), 1, "it runs alone");
    let answer = engine.invoke("g");
    let works = engine.works();
    assert!(works.len() == 1 && is_invoke(&works[0]));
    engine.end(works[0].token, 0, Some(&json!(7)));
    assert!(matches!(answer.heard(), Some(Ok(_))));
}

/// The same with a handler that was there before: the suspect waited for it, and it for an invocation that waited for the suspect.
#[test]
fn an_invocation_does_not_wait_for_a_suspect_that_waits_for_its_caller() {
    let mut engine = TestEngine::new();
    after_a_crash(&mut engine, &json!({}));
    let suspect = engine.batches().remove(0);
    engine.end(suspect.token, 0, None);
    // Another crash: the suspect's place is behind one that runs.
    engine.put(&["b"]);
    assert_eq!(engine.batches().len(), 1);
    engine.kill();
    engine.register("function", "g", 60_000);
    let before = engine.invoke_when_started("g");
    let works = engine.works();
    assert!(works.iter().any(is_invoke));
    assert!(works.iter().any(|work| matches!(work.task, Task::Batch { .. })), "neither waits for the other");
    assert!(before.heard().is_none());
}

/// A suspect whose handler never ended kept everything else waiting, for ever.
#[test]
fn a_suspect_that_never_ends_holds_up_its_own_lane_only() {
    let mut engine = TestEngine::new();
    after_a_crash(&mut engine, &json!({"parallelization_factor": 2}));
    engine.put(&["b", "c", "d", "e", "f"]);
    let suspect = engine.batches();
    assert_eq!(suspect.len(), 1);
    engine.pass(1_001);
    let works = engine.works();
    assert!(works.iter().any(|work| matches!(work.task, Task::Cancel)));
    assert!(works.iter().any(|work| matches!(work.task, Task::Batch { .. })), "the other lane goes on");
}

/// A record whose handler hung was given up for what others had done: three times the process died of what had begun beside it when
/// its deadline was over, and each time its slot said that it was alone.
#[test]
fn a_suspect_that_only_hangs_is_not_given_up_for_the_crashes_of_others() {
    let settings = json!({"parallelization_factor": 2});
    for (others_begin, given_up) in [(true, 0), (false, 1)] {
        let mut engine = TestEngine::new();
        after_a_crash(&mut engine, &settings);
        for _ in 0..3 {
            assert_eq!(engine.batches()[0].positions, [0], "alone");
            engine.put(&["b", "c", "d", "e", "f"]);
            engine.pass(1_001);
            if others_begin {
                let beside = engine.batches();
                assert!(!beside.is_empty());
                // They run to an end; the next one of their lane is what kills.
                for batch in beside {
                    engine.end(batch.token, 0, None);
                }
                engine.pass(10);
            }
            engine.kill();
            engine.start(&settings);
        }
        engine.pass(10);
        assert_eq!(engine.failures().len(), given_up, "others begin: {others_begin}");
    }
}

/// Invocations beyond the places there are are refused as Lambda throttles, with a time to come again.
#[test]
fn an_invocation_without_a_place_is_throttled() {
    let mut engine = TestEngine::new();
    engine.concurrency = 1;
    engine.restart();
    engine.register("function", "g", 60_000);
    engine.start(&json!({}));
    let first = engine.invoke("g");
    assert!(first.heard().is_none());
    let Some(Err(forebay_engine::base::error::EngineError::TooMany { message, reason, retry_after_ms })) =
        engine.invoke("g").heard()
    else {
        panic!("it is refused")
    };
    assert_eq!((message.as_str(), reason.as_str()), ("Rate Exceeded.", "ConcurrentInvocationLimitExceeded"));
    assert_eq!(retry_after_ms, 1_000);
    let work = engine.works().remove(0);
    assert!(engine.invoke("g").heard().is_some(), "it runs, and has its place");
    engine.end(work.token, 0, None);
    assert!(engine.invoke("g").heard().is_none(), "there is a place again");
}

/// Waiting invocations were bounded by their number alone: 10,000 of 6 MB each.
#[test]
fn waiting_invocations_are_bounded_by_their_payloads_too() {
    let engine = TestEngine::new();
    engine.register("function", "g", 60_000);
    engine.start(&json!({}));
    let large = vec![b' '; 6 << 20];
    let refused = (0..20).filter(|_| engine.invoke_with("g", &large).heard().is_some()).count();
    assert_eq!(refused, 10);
    assert_eq!(engine.works().len(), 10);
    assert!(engine.invoke_with("g", &large).heard().is_none(), "those have begun");
}
