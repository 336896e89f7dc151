//! What is kept of asynchronous invocations.

use serde_json::{json, Value};

use crate::attempts::Settled;
use crate::error::Waiter;
use crate::port::{Store as _, Table};
use crate::rig::{Rig, SECOND};
use crate::trace::Origin;

fn function(name: &str) -> Value {
    let asynchronous = json!({"maximum_retry_attempts": 0, "maximum_event_age_ms": 60_000, "retry_delays_ms": []});
    json!({"kind": "function", "name": name, "timeout_ms": 3_000, "asynchronous": asynchronous})
}

/// Run a version once, with this outcome.
fn run(rig: &mut Rig, version: &str, status: u8) {
    let ask = Waiter::Call(Box::new(|answer| drop(answer.unwrap())));
    rig.engine.invoke_async(version, b"1", Origin::default(), ask);
    let (works, _) = rig.engine.exchange(Vec::new(), 1);
    let body = Some(if status == 0 { b"1".to_vec() } else { br#"{"errorMessage":"no"}"#.to_vec() });
    rig.engine.exchange(vec![Settled { token: works[0].token, status, body, duration_ns: 1 }], 0);
    rig.advance(SECOND);
}

fn kept(rig: &Rig) -> Vec<String> {
    let rows = rig.store.reader().unwrap().scan(Table::Function, &[], None, usize::MAX).unwrap();
    rows.into_iter().map(|(_, name)| String::from_utf8(name).unwrap()).collect()
}

/// Each version that was ever invoked left its row, a queue in memory, and a look through the store at every start.
#[test]
fn a_version_that_is_published_no_more_leaves_nothing_once_nothing_is_left_of_it() {
    let rig = Rig::new();
    let mut rig = rig.reopened_with(&[function("f"), function("f:1"), function("f:2"), function("f:3")]);
    for (version, status) in [("f:1", 0), ("f:2", 1), ("f:3", 0), ("f", 0)] {
        run(&mut rig, version, status);
    }
    let mut rig = rig.reopened();
    rig.advance(SECOND);
    assert_eq!(kept(&rig), ["f:1", "f:2", "f:3", "f"], "before the function is there nothing is known of its versions");

    let mut rig = rig.reopened_with(&[function("f"), function("f:3"), function("f:4")]);
    rig.advance(SECOND);
    assert_eq!(kept(&rig), ["f:2", "f:3", "f"], "a failure is listed, and one is published");
    assert!(rig.engine.with(|state| state.events.by_function.keys().all(|name| name != "f:1")));
    run(&mut rig, "f:4", 0);
    let rig = rig.reopened_with(&[function("f"), function("f:1")]);
    let failed = rig.json("failed.list", &json!({"function": "f", "limit": 10}));
    assert_eq!(failed["failures"].as_array().map(Vec::len), Some(1), "{failed}");
}
