//! Events for API destinations: durable with the event, sent at a rate, tried again, given up in the way that the answer asks for.

use serde_json::{json, Value};

use super::shop;
use crate::dispatch::attempts::{Settled, Task};
use crate::runtime::test_engine::{TestEngine, SECOND};

const REFUSED_BRIEFLY: &str = r#"{"error_code":"THROTTLING","error_message":"HTTP 429","retry_after_ms":60000}"#;
const REFUSED_FOR_EVER: &str = r#"{"error_code":"SDK_CLIENT_ERROR","error_message":"HTTP 404","is_final":true}"#;

fn with_destination(target: &Value) -> TestEngine {
    let engine = shop(&json!([target]));
    engine.serve(None);
    engine
}

impl TestEngine {
    fn serve(&self, rate: Option<u32>) {
        let name = "api_destination:crm";
        self.register(json!({"kind": "destination", "name": name, "at_once": 64, "invocation_rate": rate}));
    }

    /// The requests that are handed out now, each answered so.
    fn requests(&mut self, answer: Option<&str>) -> Vec<Value> {
        let (works, _) = self.engine.exchange(Vec::new(), 100);
        let (mut requests, mut settled) = (Vec::new(), Vec::new());
        for work in works {
            let Task::Deliver(record) = work.task else { panic!("{work:?}") };
            requests.push(serde_json::from_slice(&record).unwrap());
            let body = answer.map(|text| text.as_bytes().to_vec());
            settled.push(Settled { token: work.token, status: 0, body, duration_ns: 1 });
        }
        self.engine.exchange(settled, 0);
        self.advance(0);
        requests
    }

    fn requests_after(&mut self, seconds: u64) -> usize {
        self.advance(seconds * SECOND);
        self.requests(None).len()
    }
}

#[test]
fn a_request_is_there_with_its_event_and_is_sent_after_a_crash() {
    let target = json!({"id": "1", "api_destination": "crm", "input_path": "$.detail",
        "http_parameters": {"path_parameter_values": ["$.detail-type"], "header_parameters": {"X-From": "$.source"}}});
    let engine = with_destination(&target);
    let id = engine.ship("shipped").unwrap();
    let mut engine = engine.crashed();
    engine.serve(None);
    engine.advance(SECOND);
    let [request] = &engine.requests(None)[..] else { panic!("one request") };
    let parameters = json!({
        "path_parameter_values": ["shipped"], "header_parameters": {"X-From": "shop"}, "query_string_parameters": {},
    });
    assert_eq!(*request, json!({"body": "{\"order\": 12345678901234567890123}", "http_parameters": parameters}));
    engine.advance(SECOND);
    let whats = engine.json("why", &json!({"id": id}))["facts"].clone();
    assert!(whats.as_array().unwrap().iter().any(|fact| fact["what"] == "sent"), "{whats}");
    let mut engine = engine.crashed();
    engine.serve(None);
    assert_eq!((engine.requests_after(1), engine.listed("shop/shipped").len()), (0, 0));
}

#[test]
fn an_event_that_waits_to_be_sent_is_no_failure_and_counts_when_it_was_sent() {
    let mut engine = with_destination(&json!({"id": "1", "api_destination": "crm"}));
    engine.ship("shipped").unwrap();
    assert_eq!((engine.listed("shop/shipped").len(), engine.counted("shipped")), (0, (false, false)));
    engine.advance(SECOND);
    engine.requests(None);
    assert_eq!(engine.counted("shipped"), (true, false));
}

#[test]
fn an_endpoint_that_asks_for_time_gets_it() {
    let mut engine = with_destination(&json!({"id": "1", "api_destination": "crm"}));
    engine.ship("shipped").unwrap();
    engine.advance(SECOND);
    assert_eq!(engine.requests(Some(REFUSED_BRIEFLY)).len(), 1);
    engine.advance(SECOND);
    let [failure] = &engine.listed("shop/shipped")[..] else { panic!("one failure") };
    assert_eq!((&failure["last_error"], &failure["delivery_attempts"]), (&json!("HTTP 429"), &json!(1)));
    assert_eq!(engine.requests_after(57), 0);
    assert_eq!(engine.requests_after(3), 1);
    engine.advance(SECOND);
    assert!(engine.listed("shop/shipped").is_empty());
}

#[test]
fn an_endpoint_that_will_never_take_it_has_it_dead_lettered_at_once() {
    let target = json!({"id": "1", "api_destination": "crm", "dead_letter_queue": "dlq"});
    let mut engine = with_destination(&target);
    let id = engine.ship("shipped").unwrap();
    engine.advance(SECOND);
    assert_eq!(engine.requests(Some(REFUSED_FOR_EVER)).len(), 1);
    engine.advance(SECOND);
    engine.advance(SECOND);
    let asked = json!({"name": "dlq", "maximum": 10, "visibility_timeout_ms": 0});
    let letters = engine.asked("queue.receive", &asked).unwrap();
    let [letter] = &letters.as_array().unwrap()[..] else { panic!("{letters}") };
    let text = letter.to_string();
    assert!(text.contains("HTTP 404") && text.contains("SDK_CLIENT_ERROR"), "{text}");
    assert!(!text.contains("EXHAUSTED_RETRY_CONDITION"), "{text}");
    assert_eq!((engine.requests_after(600), engine.counted("shipped")), (0, (false, true)));
    let whats = engine.json("why", &json!({"id": id}))["facts"].clone();
    let last = whats.as_array().unwrap().last().unwrap();
    assert_eq!((&last["what"], &last["error"]), (&json!("tried no more"), &json!("HTTP 404")), "{whats}");
}

#[test]
fn retries_end_as_the_rule_says_and_a_redrive_sends_again() {
    let mut engine = with_destination(&json!({"id": "1", "api_destination": "crm", "maximum_retry_attempts": 1}));
    engine.ship("shipped").unwrap();
    for _ in 0..10 {
        engine.advance(SECOND);
        engine.requests(Some(r#"{"error_code":"TIMEOUT","error_message":"no answer within 5 s"}"#));
    }
    let [failure] = &engine.listed("shop/shipped")[..] else { panic!("one failure") };
    assert_eq!((&failure["delivery_attempts"], &failure["redrivable"]), (&json!(2), &json!(true)));
    engine.json("failed.redrive", &json!({"function": "shop/shipped"}));
    assert_eq!(engine.requests_after(1), 1);
    engine.advance(SECOND);
    assert!(engine.listed("shop/shipped").is_empty());
}

#[test]
fn without_retries_it_is_sent_once() {
    let mut engine = with_destination(&json!({"id": "1", "api_destination": "crm", "maximum_retry_attempts": 0}));
    engine.ship("shipped").unwrap();
    engine.advance(SECOND);
    assert_eq!(engine.requests(Some(REFUSED_BRIEFLY)).len(), 1);
    engine.advance(SECOND);
    assert_eq!((engine.listed("shop/shipped").len(), engine.requests_after(120)), (1, 0));
}

#[test]
fn a_rate_holds_over_all_rules_and_nothing_is_lost_by_it() {
    let mut engine = with_destination(&json!({"id": "1", "api_destination": "crm"}));
    engine.rule("shop", "also", "{\"source\": [\"shop\"]}", &json!([{"id": "1", "api_destination": "crm"}]));
    engine.serve(Some(2));
    for _ in 0..5 {
        engine.ship("shipped").unwrap();
    }
    engine.advance(0);
    let first = engine.requests(None).len();
    let mut later = Vec::new();
    for _ in 0..10 {
        later.push(engine.requests_after(0));
        engine.advance(SECOND / 2);
    }
    assert_eq!((first, later.iter().max(), first + later.iter().sum::<usize>()), (1, Some(&1), 10), "{later:?}");
    let page = engine.json("metrics.text", &json!({}))["text"].as_str().unwrap().to_owned();
    let mut waits = page.lines().filter(|line| line.starts_with("forebay_rule_throttled_total{"));
    assert!(waits.any(|line| line.contains("\"also\"") && !line.ends_with(" 0")), "{page}");
}

#[test]
fn an_event_that_waited_for_its_turn_longer_than_it_may_goes_the_way_of_those_given_up() {
    let target = json!({"id": "1", "api_destination": "crm", "maximum_event_age_ms": 60_000});
    let mut engine = with_destination(&target);
    engine.serve(Some(1));
    for _ in 0..100 {
        engine.ship("shipped").unwrap();
    }
    let mut sent = 0;
    for _ in 0..120 {
        sent += engine.requests_after(1);
    }
    let given_up = engine.listed("shop/shipped");
    assert!(given_up[0]["last_error"].as_str().unwrap().contains("maximum_event_age"), "{given_up:?}");
    assert!((55..=62).contains(&sent), "{sent}");
    assert_eq!(given_up.len(), 10, "a page of those that were given up");
}

#[test]
fn parameters_are_an_api_destinations_alone() {
    let engine = shop(&json!([]));
    let target = json!({"id": "1", "queue": "q", "http_parameters": {"header_parameters": {"a": "b"}}});
    let asked = json!({"bus": "shop", "name": "r", "pattern": "{\"source\": [\"a\"]}", "targets": [target]});
    let error = engine.asked("rule.put", &asked).unwrap_err().to_string();
    assert!(error.contains("only an API destination"), "{error}");
}
