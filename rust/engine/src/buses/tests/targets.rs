//! Targets that are workflows, and events that are given to a target again: all of it is written or nothing is.

use serde_json::{json, Value};

use super::shop;
use crate::commit::starts::EXPRESS_OPEN_MAX;
use crate::runtime::test_engine::{TestEngine, SECOND};

const PASS: &str = "{\"StartAt\": \"P\", \"States\": {\"P\": {\"Type\": \"Pass\", \"End\": true}}}";

impl TestEngine {
    fn passing_workflow(&self, name: &str) {
        self.json("workflow.declare", &json!({"name": name, "definition": PASS, "type": "STANDARD"}));
    }

    /// An Express workflow, while as many executions as may have not ended.
    fn workflow_without_room(&self, name: &str) {
        self.json("workflow.declare", &json!({"name": name, "definition": PASS, "type": "EXPRESS"}));
        self.engine.with(|rooms| (0..EXPRESS_OPEN_MAX).for_each(|_| rooms.workflows.express.one_more()));
    }

    /// Statuses and inputs of the executions of a workflow.
    fn executions(&self, workflow: &str) -> Vec<(Value, Value)> {
        let list = self.json("execution.list", &json!({"workflow": workflow, "limit": 100}));
        let one = |name: &Value| {
            let described = self.json("execution.describe", &json!({"workflow": workflow, "name": name}));
            (described["status"].clone(), described["input"].clone())
        };
        list["executions"].as_array().unwrap().iter().map(|execution| one(&execution["name"])).collect()
    }

    pub(super) fn listed(&self, rule: &str) -> Vec<Value> {
        let page = self.json("failed.list", &json!({"function": rule, "limit": 10}));
        page["failures"].as_array().unwrap().clone()
    }

    pub(super) fn counted(&self, rule: &str) -> (bool, bool) {
        let page = self.json("metrics.text", &json!({}))["text"].as_str().unwrap().to_owned();
        let counts = |metric: &str| {
            page.lines().any(|line| line.starts_with(metric) && line.contains(rule) && line.ends_with(" 1"))
        };
        (counts("forebay_rule_invocations_total"), counts("forebay_rule_invocations_failed_total"))
    }
}

#[test]
fn an_event_starts_an_execution_in_its_own_commit() {
    let engine = shop(&json!([{"id": "1", "workflow": "w", "input_path": "$.detail"}, {"id": "2", "queue": "q"}]));
    engine.passing_workflow("w");
    engine.fill();
    assert!(engine.ship("shipped").is_err());
    engine.store.mend();
    let mut engine = engine;
    engine.advance(SECOND);
    let id = engine.ship("shipped").unwrap();
    let engine = engine.crashed();
    let ran = (json!("SUCCEEDED"), json!("{\"order\": 12345678901234567890123}"));
    assert_eq!((engine.executions("w"), engine.bodies("q").len()), (vec![ran], 1));
    assert!(engine.listed("shop/shipped").is_empty(), "{id}");
}

#[test]
fn an_event_for_a_workflow_that_is_not_there_is_listed_counted_and_given_again() {
    let mut engine = shop(&json!([{"id": "1", "workflow": "w"}]));
    let id = engine.ship("shipped").unwrap();
    let [failure] = &engine.listed("shop/shipped")[..] else { panic!("one failure") };
    assert!(failure["last_error"].as_str().unwrap().contains("State Machine Does Not Exist"), "{failure}");
    assert_eq!(engine.counted("shipped"), (false, true));
    let whats = engine.json("why", &json!({"id": id}))["facts"].clone();
    assert!(whats.as_array().unwrap().iter().any(|fact| fact["what"] == "not delivered"), "{whats}");
    engine.passing_workflow("w");
    engine.json("failed.redrive", &json!({"function": "shop/shipped"}));
    engine.advance(SECOND);
    let mut engine = engine.crashed();
    engine.advance(SECOND);
    assert_eq!((engine.executions("w").len(), engine.listed("shop/shipped").len()), (1, 0));
}

#[test]
fn a_schedule_starts_an_execution() {
    let mut engine = TestEngine::new();
    engine.passing_workflow("w");
    let asked = json!({"name": "tick", "expression": "rate(1 minutes)", "workflow": "w", "input": "{\"a\": 1}"});
    engine.json("schedule.put", &asked);
    engine.advance(61 * SECOND);
    engine.advance(SECOND);
    assert_eq!(engine.executions("w"), [(json!("SUCCEEDED"), json!("{\"a\": 1}"))]);
}

#[test]
fn what_a_stream_and_a_bus_did_not_take_is_given_to_them_again_once() {
    let mut engine = shop(&json!([
        {"id": "1", "stream": "later", "partition_key_path": "$.source"}, {"id": "2", "bus": "more"},
    ]));
    let id = engine.ship("shipped").unwrap();
    assert_eq!(engine.listed("shop/shipped").len(), 2);
    engine.json("stream.declare", &json!({"name": "later", "shards": 1, "retention_ms": 86_400_000}));
    engine.json("bus.declare", &json!({"name": "more"}));
    engine.rule("more", "all", "{\"source\": [\"shop\"]}", &json!([{"id": "1", "queue": "q"}]));
    // A full disk takes neither what the targets are given nor the rows of the failures.
    engine.json("failed.redrive", &json!({"function": "shop/shipped"}));
    engine.fill();
    engine.advance(SECOND);
    engine.store.mend();
    for _ in 0..5 {
        engine.advance(SECOND);
    }
    let whats = engine.json("why", &json!({"id": id}))["facts"].clone();
    assert_eq!(whats.as_array().unwrap().iter().filter(|fact| fact["what"] == "sent").count(), 2, "{whats}");
    let mut engine = engine.crashed();
    engine.advance(SECOND);
    let shard = engine.json("stream.describe", &json!({"name": "later"}))["shards"][0]["shard_id"].clone();
    let read = json!({"name": "later", "shard_id": shard, "position": "TRIM_HORIZON", "limit": 10});
    let records = engine.json("stream.read", &read)["records"].clone();
    let keys: Vec<&Value> = records.as_array().unwrap().iter().map(|record| &record["partition_key"]).collect();
    assert_eq!(keys, ["shop"]);
    assert_eq!((engine.bodies("q").len(), engine.listed("shop/shipped").len()), (1, 0));
}

#[test]
fn a_target_is_tried_as_often_as_its_rule_says() {
    let mut engine = shop(&json!([{"id": "1", "workflow": "w", "maximum_retry_attempts": 3}]));
    engine.workflow_without_room("w");
    engine.ship("shipped").unwrap();
    let mut tries = Vec::new();
    for _ in 0..12 {
        engine.advance(SECOND);
        let failure = engine.listed("shop/shipped").remove(0);
        tries.push((failure["delivery_attempts"].clone(), failure["destination"].is_null()));
    }
    assert_eq!(tries.last(), Some(&(json!(4), true)), "three retries, then it is listed");
    assert!(tries.iter().all(|(attempts, is_listed)| *is_listed == (attempts == 4)), "{tries:?}");
}

/// It was tried for a day.
#[test]
fn an_event_goes_to_the_dead_letter_queue_when_the_target_that_it_waits_for_is_deleted() {
    let mut engine = shop(&json!([{"id": "1", "workflow": "w", "dead_letter_queue": "dlq"}]));
    engine.workflow_without_room("w");
    let id = engine.ship("shipped").unwrap();
    engine.advance(SECOND);
    assert!(engine.bodies("dlq").is_empty(), "it waits for room");
    engine.json("workflow.delete", &json!({"name": "w"}));
    for _ in 0..10 {
        engine.advance(SECOND);
    }
    let asked = json!({"name": "dlq", "maximum": 10, "visibility_timeout_ms": 0});
    let received = engine.json("queue.receive", &asked);
    assert!(received[0]["body"].as_str().unwrap().contains(&id), "{received}");
    let attributes = &received[0]["messageAttributes"];
    assert_eq!(attributes["ERROR_CODE"]["stringValue"], "NO_RESOURCE", "{received}");
    assert!(attributes["EXHAUSTED_RETRY_CONDITION"].is_null(), "{received}");
    assert!(engine.listed("shop/shipped").is_empty());
}

#[test]
fn a_retry_policy_that_cannot_be_is_refused() {
    let engine = shop(&json!([]));
    for wrong in [
        json!({"maximum_retry_attempts": 186}),
        json!({"maximum_event_age_ms": 59_000}),
        json!({"maximum_event_age_ms": 86_401_000}),
    ] {
        let mut target = json!({"id": "1", "queue": "q"});
        wrong.as_object().unwrap().iter().for_each(|(name, value)| target[name] = value.clone());
        let asked = json!({"bus": "shop", "name": "r", "pattern": "{\"source\": [\"a\"]}", "targets": [target]});
        assert!(engine.asked("rule.put", &asked).is_err(), "{wrong}");
    }
}
