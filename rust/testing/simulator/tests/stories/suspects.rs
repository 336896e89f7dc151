//! What was in flight when the process died runs alone; invocations and handlers that never end beside it.

use forebay_engine::dispatch::attempts::{Task, Work};
use serde_json::json;

use crate::rig::Rig;

/// A process that died while a batch was in flight, and the next one, in which it runs alone.
fn after_a_crash(rig: &mut Rig, settings: &serde_json::Value) {
    rig.register("function", "g", 60_000);
    rig.start(settings);
    rig.put(&["a"]);
    assert_eq!(rig.batches().len(), 1);
    rig.kill();
    rig.register("function", "g", 60_000);
    rig.start(settings);
}

fn is_invoke(work: &Work) -> bool {
    matches!(work.task, Task::Invoke(_))
}

/// A suspect whose handler invoked another function waited for an answer that waited for the suspect: both stood until the
/// timeout, at every try.
#[test]
fn a_suspect_may_invoke_a_function() {
    let mut rig = Rig::new();
    after_a_crash(&mut rig, &json!({}));
    assert_eq!(rig.batches().len(), 1, "it runs alone");
    let answer = rig.invoke("g");
    let works = rig.works();
    assert!(works.len() == 1 && is_invoke(&works[0]));
    rig.end(works[0].token, 0, Some(&json!(7)));
    assert!(matches!(answer.heard(), Some(Ok(_))));
}

/// The same with a handler that was there before: the suspect waited for it, and it for an invocation that waited for the suspect.
#[test]
fn an_invocation_does_not_wait_for_a_suspect_that_waits_for_its_caller() {
    let mut rig = Rig::new();
    after_a_crash(&mut rig, &json!({}));
    let suspect = rig.batches().remove(0);
    rig.end(suspect.token, 0, None);
    // Another crash: the suspect's place is behind one that runs.
    rig.put(&["b"]);
    assert_eq!(rig.batches().len(), 1);
    rig.kill();
    rig.register("function", "g", 60_000);
    let before = rig.invoke_when_started("g");
    let works = rig.works();
    assert!(works.iter().any(is_invoke));
    assert!(works.iter().any(|work| matches!(work.task, Task::Batch { .. })), "neither waits for the other");
    assert!(before.heard().is_none());
}

/// A suspect whose handler never ended kept everything else waiting, for ever.
#[test]
fn a_suspect_that_never_ends_holds_up_its_own_lane_only() {
    let mut rig = Rig::new();
    after_a_crash(&mut rig, &json!({"parallelization_factor": 2}));
    rig.put(&["b", "c", "d", "e", "f"]);
    let suspect = rig.batches();
    assert_eq!(suspect.len(), 1);
    rig.pass(1_001);
    let works = rig.works();
    assert!(works.iter().any(|work| matches!(work.task, Task::Cancel)));
    assert!(works.iter().any(|work| matches!(work.task, Task::Batch { .. })), "the other lane goes on");
}

/// A record whose handler hung was given up for what others had done: three times the process died of what had begun beside it when
/// its deadline was over, and each time its slot said that it was alone.
#[test]
fn a_suspect_that_only_hangs_is_not_given_up_for_the_crashes_of_others() {
    let settings = json!({"parallelization_factor": 2});
    for (others_begin, given_up) in [(true, 0), (false, 1)] {
        let mut rig = Rig::new();
        after_a_crash(&mut rig, &settings);
        for _ in 0..3 {
            assert_eq!(rig.batches()[0].positions, [0], "alone");
            rig.put(&["b", "c", "d", "e", "f"]);
            rig.pass(1_001);
            if others_begin {
                let beside = rig.batches();
                assert!(!beside.is_empty());
                // They run to an end; the next one of their lane is what kills.
                for batch in beside {
                    rig.end(batch.token, 0, None);
                }
                rig.pass(10);
            }
            rig.kill();
            rig.start(&settings);
        }
        rig.pass(10);
        assert_eq!(rig.failures().len(), given_up, "others begin: {others_begin}");
    }
}

/// Invocations beyond the places there are are refused as Lambda throttles, with a time to come again.
#[test]
fn an_invocation_without_a_place_is_throttled() {
    let mut rig = Rig::new();
    rig.concurrency = 1;
    rig.restart();
    rig.register("function", "g", 60_000);
    rig.start(&json!({}));
    let first = rig.invoke("g");
    assert!(first.heard().is_none());
    let Some(Err(forebay_engine::base::error::EngineError::TooMany { message, reason, retry_after_ms })) =
        rig.invoke("g").heard()
    else {
        panic!("it is refused")
    };
    assert_eq!((message.as_str(), reason.as_str()), ("Rate Exceeded.", "ConcurrentInvocationLimitExceeded"));
    assert_eq!(retry_after_ms, 1_000);
    let work = rig.works().remove(0);
    assert!(rig.invoke("g").heard().is_some(), "it runs, and has its place");
    rig.end(work.token, 0, None);
    assert!(rig.invoke("g").heard().is_none(), "there is a place again");
}

/// Waiting invocations were bounded by their number alone: 10,000 of 6 MB each.
#[test]
fn waiting_invocations_are_bounded_by_their_payloads_too() {
    let rig = Rig::new();
    rig.register("function", "g", 60_000);
    rig.start(&json!({}));
    let large = vec![b' '; 6 << 20];
    let refused = (0..20).filter(|_| rig.invoke_with("g", &large).heard().is_some()).count();
    assert_eq!(refused, 10);
    assert_eq!(rig.works().len(), 10);
    assert!(rig.invoke_with("g", &large).heard().is_none(), "those have begun");
}
