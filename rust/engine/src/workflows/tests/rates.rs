//! Rates of starts and transitions.

use serde_json::json;

use crate::api::bus::Entry;
use crate::base::limits::BucketSettings;
use crate::base::trace::Carried;
use crate::runtime::test_engine::{TestEngine, SECOND};

fn so_many(burst: u64) -> Option<BucketSettings> {
    Some(BucketSettings { per_second: 1.0, burst })
}

/// Who was let go and found no token went to the end, and was counted again; one that was stopped let another pass the others.
#[test]
fn what_waits_for_the_rate_goes_on_in_its_order_and_is_counted_once() {
    let mut engine = TestEngine::new();
    let two =
        json!({"StartAt": "A", "States": {"A": {"Type": "Pass", "Next": "B"}, "B": {"Type": "Pass", "End": true}}});
    engine.workflow("w", &two);
    engine.engine.with(|rooms| rooms.ctx.config.limits.workflows.transitions = so_many(4));
    let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
    for name in names {
        engine.start(name, &json!({})).unwrap();
    }
    engine.json("execution.stop", &json!({"workflow": "w", "name": "c"}));
    let done = |engine: &TestEngine| {
        names.into_iter().filter(|name| engine.execution(name)["status"] == "SUCCEEDED").collect::<String>()
    };
    assert_eq!(done(&engine), "ab");
    for expected in ["abde", "abdefg", "abdefgh"] {
        engine.advance(4 * SECOND);
        assert_eq!(done(&engine), expected);
    }
    let throttled = engine.engine.with(|rooms| rooms.workflows.machine("w").unwrap().meters.throttled.get());
    assert_eq!(throttled, 6);
}

/// A rule started any number of executions, whatever the app's limits were.
#[test]
fn a_start_by_a_rule_takes_a_token_and_waits_for_it() {
    let mut engine = TestEngine::new();
    engine.workflow("w", &json!({"StartAt": "A", "States": {"A": {"Type": "Pass", "End": true}}}));
    let targets = json!([{"id": "1", "workflow": "w"}]);
    let rule = json!({"bus": "default", "name": "r", "pattern": "{\"source\": [\"s\"]}", "targets": targets});
    engine.json("rule.put", &rule);
    engine.engine.with(|rooms| rooms.ctx.config.limits.workflows.standard_starts = so_many(1));
    let entry = Entry { source: "s".into(), detail_type: "d".into(), detail: "{}".into(), ..Entry::default() };
    engine.engine.with(|rooms| {
        for _ in 0..2 {
            rooms.event_buses().accept_event("default", &entry, Carried { hops: 0, trace: None });
        }
        rooms.ctx.commit.pending.urgent = true;
    });
    let started = |engine: &TestEngine| {
        let page = engine.json("execution.list", &json!({"workflow": "w", "limit": 10}));
        page["executions"].as_array().unwrap().len()
    };
    engine.advance(SECOND / 100);
    assert_eq!(started(&engine), 1);
    let waiting = engine.json("failed.list", &json!({"function": "default/r", "limit": 10}))["failures"].clone();
    assert!(waiting[0]["last_error"].as_str().unwrap().contains("Rate exceeded"), "{waiting}");
    for _ in 0..10 {
        engine.advance(SECOND);
    }
    assert_eq!(started(&engine), 2);
}
