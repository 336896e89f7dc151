//! What happens in the engine, as events on the default bus.

use serde_json::{json, Value};

use super::{shop, with_function};
use crate::base::error::Waiter;
use crate::base::trace::Origin;
use crate::dispatch::attempts::Settled;
use crate::runtime::test_engine::{queue, TestEngine, SECOND};

/// A rule that brings every happening to a queue.
fn watched(engine: TestEngine) -> TestEngine {
    engine.json("bus.emit", &json!({"wanted": true}));
    engine.json("queue.declare", &queue("seen"));
    let pattern = "{\"source\": [\"forebay\", \"lambda\", \"aws.rds\", \"aws.cloudwatch\"]}";
    engine.rule("default", "watch", pattern, &json!([{"id": "1", "queue": "seen"}]));
    engine
}

impl TestEngine {
    fn invoke_f(&self, payload: &str) {
        let origin = Origin { parent: None, trace: None };
        self.engine.invoke_async(
            "f",
            payload.as_bytes(),
            origin,
            Waiter::Call(Box::new(|answer| drop(answer.unwrap()))),
        );
    }

    fn seen(&self) -> Vec<Value> {
        self.bodies("seen").iter().map(|body| serde_json::from_str(body).unwrap()).collect()
    }

    /// Run what waits for the function, and let it fail.
    fn fail_events(&mut self) {
        let (works, _) = self.engine.exchange(Vec::new(), 100);
        let body = Some(b"{\"errorMessage\":\"no\"}".to_vec());
        let settled =
            works.iter().map(|work| Settled { token: work.token, status: 1, body: body.clone(), duration_ns: 1 });
        self.engine.exchange(settled.collect(), 0);
    }
}

#[test]
fn an_event_that_was_given_up_is_told_as_lambda_tells_it_in_one_commit() {
    let mut engine = watched(with_function(TestEngine::new()));
    engine.invoke_f("{\"a\":1}");
    engine.advance(SECOND);
    engine.fail_events();
    engine.advance(SECOND);
    let engine = engine.crashed();
    let [event] = &engine.seen()[..] else { panic!("one event") };
    assert_eq!(
        (&event["source"], &event["detail-type"]),
        (&json!("lambda"), &json!("Lambda Function Invocation Result - Failure"))
    );
    assert_eq!(event["detail"]["requestContext"]["condition"], "RetriesExhausted");
    assert_eq!(
        (&event["detail"]["requestPayload"], &event["detail"]["responsePayload"]["errorMessage"]),
        (&json!({"a": 1}), &json!("no"))
    );
}

#[test]
fn nothing_is_told_unless_it_was_asked_for() {
    let mut engine = watched(with_function(TestEngine::new()));
    engine.json("bus.emit", &json!({"wanted": false}));
    engine.invoke_f("1");
    engine.advance(SECOND);
    engine.fail_events();
    engine.advance(SECOND);
    assert!(engine.seen().is_empty());
}

/// A rule on what happens whose own target is gone would tell of itself for ever.
#[test]
fn a_chain_of_happenings_ends() {
    let engine = watched(shop(&json!([{"id": "1", "function": "gone"}])));
    engine.rule("default", "loop", "{\"source\": [\"forebay\"]}", &json!([{"id": "1", "function": "gone"}]));
    engine.ship("shipped").unwrap();
    let mut engine = engine;
    engine.advance(SECOND);
    let page = engine.json("failed.list", &json!({"limit": 100}));
    let listed = page["failures"].as_array().unwrap().len();
    assert!((2..=17).contains(&listed), "{listed}");
    assert_eq!(engine.seen().first().unwrap()["detail"]["of"], "shop/shipped");
}

#[test]
fn what_happens_outside_of_the_engine_can_be_told() {
    let engine = watched(TestEngine::new());
    engine.json("bus.happened", &json!({"kind": "alarm", "detail": "{\"alarmName\":\"a\"}", "resources": ["r"]}));
    assert!(engine.asked("bus.happened", &json!({"kind": "alarm", "detail": "[]"})).is_err());
    let [event] = &engine.seen()[..] else { panic!("one event") };
    assert_eq!((&event["detail-type"], &event["resources"]), (&json!("CloudWatch Alarm State Change"), &json!(["r"])));
}

#[test]
fn every_happening_has_its_schema() {
    let engine = TestEngine::new();
    let list = engine.json("schema.list", &json!({"registry": "aws.events"}));
    assert_eq!(list.as_array().map_or_else(|| list["schemas"].as_array().unwrap().len(), Vec::len), 8, "{list}");
}
