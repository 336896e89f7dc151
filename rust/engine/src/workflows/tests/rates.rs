//! Rates of starts and transitions, and calls that wait for them or for their functions.

use serde_json::{json, Value};

use crate::api::bus::Entry;
use crate::base::limits::{BucketSettings, WorkflowLimits};
use crate::base::trace::Carried;
use crate::buses::put;
use crate::runtime::test_engine::{TestEngine, SECOND};
use crate::workflows::tests::{arn, function, payload};
use crate::workflows::throttle::ANSWER_BYTES_MAX;

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
            put::accept_event(&mut rooms.event_buses(), "default", &entry, Carried { hops: 0, trace: None });
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

fn call(resource: &str) -> Value {
    json!({"StartAt": "Call", "States": {"Call": {"Type": "Task", "Resource": arn(resource), "End": true}}})
}

/// Each function that was registered had the calls of all others tried.
#[test]
fn a_function_that_registers_has_its_own_calls_tried_alone() {
    let engine = TestEngine::new();
    engine.register(function("f"));
    engine.workflow("w", &call("f"));
    for number in 0..50 {
        engine.start(&format!("e{number}"), &json!({})).unwrap();
    }
    let engine = engine.crashed();
    let tried = || engine.engine.with(|rooms| rooms.workflows.tried);
    assert_eq!(tried(), 50);
    for number in 0..20 {
        engine.register(function(&format!("other-{number}")));
    }
    assert_eq!(tried(), 50);
    engine.register(function("f"));
    assert_eq!((tried(), engine.calls().len()), (100, 10), "as many as may run at once");
}

/// What waited for an alias was tried when the next function registered, whichever that was. After the last one nothing tried it.
#[test]
fn a_call_of_an_alias_begins_when_the_app_has_declared_it() {
    let alias = |engine: &TestEngine| {
        engine.json("alias.declare", &json!({"function": "f", "name": "live", "version": "1"}));
    };
    let engine = TestEngine::new();
    for name in ["f", "f:1"] {
        engine.register(function(name));
    }
    alias(&engine);
    engine.workflow("w", &call("f:live"));
    engine.start("one", &json!({})).unwrap();
    let engine = engine.crashed();
    for name in ["f", "f:1"] {
        engine.register(function(name));
    }
    assert!(engine.calls().is_empty());
    alias(&engine);
    assert_eq!(engine.only_call().qualifier.as_deref(), Some("live"));
}

/// All answers waited in memory for their tokens: as many as there were executions, with 256 KiB each.
#[test]
fn functions_are_not_called_while_so_many_bytes_of_answers_wait() {
    let mut engine = TestEngine::new();
    engine.register(function("f"));
    // What ends enters no state, and takes no token.
    let mut then = call("f");
    then["States"]["Call"] = json!({"Type": "Task", "Resource": arn("f"), "Next": "Done"});
    then["States"]["Done"] = json!({"Type": "Pass", "Result": 1, "End": true});
    engine.workflow("w", &then);
    let (count, answer) = (400, json!("x".repeat(250_000)).to_string());
    for number in 0..count {
        engine.start(&format!("e{number}"), &json!({})).unwrap();
    }
    engine.engine.with(|rooms| rooms.ctx.config.limits.workflows.transitions = so_many(1));
    let answered = |engine: &mut TestEngine| {
        let mut answered = 0;
        loop {
            let calls = engine.calls();
            if calls.is_empty() {
                return answered;
            }
            for call in calls {
                engine.end_call(&call, 0, &answer);
                answered += 1;
            }
        }
    };
    let first = answered(&mut engine);
    let fit = ANSWER_BYTES_MAX / answer.len();
    // Beside them those that ran then, and a few that have had their tokens meanwhile.
    assert!((fit..=fit + 10 + 5).contains(&first), "{first}");
    // An Express execution waits for no rate, and its calls neither.
    let quick = json!({"name": "x", "definition": call("f").to_string(), "type": "EXPRESS"});
    engine.json("workflow.declare", &quick);
    engine.json("execution.start", &json!({"workflow": "x", "input": "{}"}));
    assert_eq!(answered(&mut engine), 1);
    engine.engine.with(|rooms| rooms.ctx.config.limits.workflows.transitions = None);
    engine.advance(SECOND);
    assert_eq!(answered(&mut engine), count - first);
    engine.advance(SECOND);
    let page = engine.json("execution.list", &json!({"workflow": "w", "limit": 1_000, "status": "SUCCEEDED"}));
    assert_eq!(page["executions"].as_array().unwrap().len(), count);
}

/// What was done without limits was owed to those that came later: a night's import stopped all workflows for hours.
#[test]
fn limits_that_are_taken_away_owe_nothing_when_they_are_given_again() {
    let mut engine = TestEngine::new();
    engine.workflow("w", &json!({"StartAt": "A", "States": {"A": {"Type": "Pass", "End": true}}}));
    let limit = |engine: &TestEngine, of| {
        engine.engine.with(|rooms| rooms.ctx.config.limits.workflows.transitions = of);
    };
    let start = |engine: &mut TestEngine, name: &str| {
        engine.start(name, &json!({})).unwrap();
        engine.advance(1);
    };
    limit(&engine, so_many(5));
    start(&mut engine, "limited");
    limit(&engine, None);
    for number in 0..100 {
        start(&mut engine, &format!("free-{number}"));
    }
    limit(&engine, so_many(5));
    start(&mut engine, "again");
    assert_eq!(engine.execution("again")["status"], "SUCCEEDED");
}

/// What functions had answered waited for its token in memory, and an app that stopped called them again.
#[test]
fn an_app_that_stops_writes_the_answers_that_wait_for_the_rate() {
    let mut engine = TestEngine::new();
    engine.register(function("f"));
    let mut then = call("f");
    then["States"]["Call"] = json!({"Type": "Task", "Resource": arn("f"), "Next": "Again"});
    then["States"]["Again"] = json!({"Type": "Task", "Resource": arn("f"), "End": true});
    engine.workflow("w", &then);
    engine.start("one", &json!({})).unwrap();
    engine.engine.with(|rooms| rooms.ctx.config.limits.workflows.transitions = so_many(1));
    engine.workflow("x", &json!({"StartAt": "A", "States": {"A": {"Type": "Pass", "End": true}}}));
    engine.json("execution.start", &json!({"workflow": "x", "input": "{}"}));
    let first = engine.only_call();
    engine.end_call(&first, 0, "\"answered\"");
    assert!(engine.calls().is_empty(), "it waits for its token");
    engine.engine.drain();
    engine.engine.turn(engine.now);
    assert!(engine.engine.idle());
    let engine = engine.reopened_with(&[function("f")]);
    assert_eq!(payload(&engine.only_call()), "answered", "what comes next is called, and not the first again");
}

/// Another limit filled the buckets of starts: whoever was refused had a new burst with each update of the app.
#[test]
fn a_bucket_is_full_again_when_its_own_limit_changes() {
    let engine = TestEngine::new();
    let pass = json!({"StartAt": "A", "States": {"A": {"Type": "Pass", "End": true}}}).to_string();
    let kinds = ["STANDARD", "EXPRESS"];
    for kind in kinds {
        engine.json("workflow.declare", &json!({"name": kind, "definition": pass, "type": kind}));
    }
    let start = |kind: &str| engine.asked("execution.start", &json!({"workflow": kind, "input": "{}"})).is_ok();
    let limit = |change: fn(&mut WorkflowLimits)| {
        engine.engine.with(|rooms| change(&mut rooms.ctx.config.limits.workflows));
    };
    limit(|limits| (limits.standard_starts, limits.express_starts) = (so_many(1), so_many(1)));
    assert_eq!(kinds.map(start), [true, true]);
    limit(|limits| limits.transitions = so_many(100));
    assert_eq!(kinds.map(start), [false, false]);
    limit(|limits| limits.express_starts = so_many(2));
    assert_eq!(kinds.map(start), [false, true]);
}

/// An execution without end failed one day with no word before: it had reached its limit of 25,000 events.
#[test]
fn an_operator_is_warned_once_before_a_history_reaches_its_limit() {
    let mut engine = TestEngine::new();
    let ends = json!([{"Variable": "$.end", "IsPresent": true, "Next": "End"}]);
    let endless = json!({"StartAt": "Go", "States": {
        "Go": {"Type": "Choice", "Choices": ends, "Default": "On"},
        "On": {"Type": "Pass", "Next": "Go"},
        "End": {"Type": "Succeed"},
    }});
    engine.workflow("w", &endless);
    let arn = engine.start("one", &json!({})).unwrap();
    let mut told = engine.notices();
    while engine.execution("one")["status"] == "RUNNING" {
        engine.advance(SECOND / 100);
        told.extend(engine.notices());
    }
    let warned: Vec<Value> = told.into_iter().filter(|one| one["what"] == "history long").collect();
    let expected = json!({
        "what": "history long", "of": "w", "count": 1, "arn": arn["arn"], "name": "one", "events": 20_000, "most": 25_000,
    });
    assert_eq!(warned, [expected]);
    assert_eq!(engine.engine.with(|rooms| rooms.workflows.machine("w").unwrap().meters.long_histories.get()), 1);
}
