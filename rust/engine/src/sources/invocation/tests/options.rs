//! Events that wait for their time, that are accepted once for an id, and whose results are kept.

use std::sync::{Arc, Mutex};

use serde_json::{json, Value};

use super::super::expiry::RESULTS_MAX;
use super::function;
use crate::base::error::{EngineError, Reply, Waiter};
use crate::base::ids::parse_uuid;
use crate::dispatch::attempts::{Settled, Token};
use crate::payload::event_result::kept_key;
use crate::runtime::test_engine::{TestEngine, SECOND};
use crate::store::fault::{Fault, Repeat};
use crate::store::port::{Store as _, Table};

const DAY: u64 = 86_400 * SECOND;

fn engine() -> TestEngine {
    TestEngine::new().reopened_with(&[function("f"), function("g")])
}

fn invoke(engine: &TestEngine, mut asked: Value) -> Result<String, EngineError> {
    asked["payload"] = json!({"n": 1});
    Ok(engine.asked("events.invoke", &asked)?.as_str().unwrap().to_owned())
}

/// What is handed out now.
fn handed(engine: &TestEngine) -> Vec<Token> {
    engine.engine.exchange(Vec::new(), 100).0.iter().map(|work| work.token).collect()
}

fn end(engine: &mut TestEngine, token: Token, status: u8, body: &str) {
    let settled = Settled { token, status, body: Some(body.into()), duration_ns: 1 };
    engine.engine.exchange(vec![settled], 0);
    engine.advance(SECOND / 100);
}

/// Ask for a result; the answer, once there is one.
fn waiting(engine: &TestEngine, request: &str, wait_ms: u64) -> Arc<Mutex<Option<Result<Value, EngineError>>>> {
    let told = Arc::new(Mutex::new(None));
    let teller = Arc::clone(&told);
    let waiter = Waiter::Call(Box::new(move |answer| {
        let value = answer.map(|reply| match reply {
            Reply::Json(bytes) => serde_json::from_slice::<Value>(&bytes).unwrap(),
            other => panic!("{other:?}"),
        });
        *teller.lock().unwrap() = Some(value);
    }));
    let asked = json!({"function": "f", "request_id": request, "wait_ms": wait_ms});
    engine.engine.request("events.result", asked.to_string().as_bytes(), waiter);
    told
}

fn rows(engine: &TestEngine, table: Table) -> usize {
    engine.store.reader().unwrap().scan(table, &[], None, usize::MAX).unwrap().len()
}

#[test]
fn an_event_with_a_delay_is_handed_out_when_it_is_due_over_any_restart() {
    for crash in [false, true] {
        let mut engine = engine();
        invoke(&engine, json!({"function": "f", "delay_ms": 3_600_000})).unwrap();
        let at_ms = engine.now.wall_ms + 7_200_000;
        invoke(&engine, json!({"function": "f", "at_ms": at_ms})).unwrap();
        invoke(&engine, json!({"function": "f", "at_ms": 5})).unwrap();
        let first = handed(&engine);
        assert_eq!(first.len(), 1, "a moment that has passed is now");
        end(&mut engine, first[0], 0, "1");
        engine.advance(1_800 * SECOND);
        let mut engine = if crash { engine.crashed() } else { engine.reopened() };
        engine.register(function("f"));
        engine.advance(SECOND);
        assert!(handed(&engine).is_empty());
        engine.advance(1_800 * SECOND);
        let second = handed(&engine);
        assert_eq!(second.len(), 1, "the one that was due in an hour");
        end(&mut engine, second[0], 0, "1");
        engine.advance(3_600 * SECOND);
        assert_eq!(handed(&engine).len(), 1);
    }
}

#[test]
fn what_makes_no_sense_is_refused_by_its_name() {
    let engine = engine();
    let year_ms = 365 * 86_400_000_u64;
    for (field, asked) in [
        ("delay and at", json!({"delay_ms": 1, "at_ms": 1})),
        ("365 days", json!({"delay_ms": year_ms + 1})),
        ("365 days", json!({"at_ms": u64::MAX})),
        ("deduplication_id", json!({"deduplication_id": ""})),
        ("deduplication_id", json!({"deduplication_id": "x".repeat(129)})),
        ("deduplication_window", json!({"deduplication_window_ms": 1_000})),
        ("deduplication_window", json!({"deduplication_id": "x", "deduplication_window_ms": 999})),
        ("deduplication_window", json!({"deduplication_id": "x", "deduplication_window_ms": 86_400_001})),
    ] {
        let mut asked = asked;
        asked["function"] = "f".into();
        let refused = invoke(&engine, asked).unwrap_err();
        assert!(matches!(&refused, EngineError::Invalid(text) if text.contains(field)), "{refused}");
    }
    invoke(&engine, json!({"function": "f", "delay_ms": year_ms, "deduplication_id": "\u{e9}".repeat(128)})).unwrap();
    assert_eq!(rows(&engine, Table::Event), 1);
}

#[test]
fn one_event_is_accepted_for_an_id_while_it_is_remembered_over_any_restart() {
    for crash in [false, true] {
        let mut engine = engine();
        let ask = |engine: &TestEngine, function: &str| {
            invoke(engine, json!({"function": function, "deduplication_id": "order-7"})).unwrap()
        };
        let first = ask(&engine, "f");
        assert_eq!(ask(&engine, "f"), first);
        assert_ne!(ask(&engine, "g"), first, "an id is the function's");
        let tokens = handed(&engine);
        assert_eq!(tokens.len(), 2);
        for token in tokens {
            end(&mut engine, token, 0, "1");
        }
        engine.now.entropy += 1; // or the next process would draw the same request ids
        let mut engine = if crash { engine.crashed() } else { engine.reopened() };
        engine.register(function("f"));
        engine.advance(299 * SECOND);
        assert_eq!(ask(&engine, "f"), first, "also after it has run");
        assert!(handed(&engine).is_empty());
        engine.advance(SECOND);
        let second = ask(&engine, "f");
        assert_ne!(second, first);
        assert_eq!(handed(&engine).len(), 1);
        engine.advance(299 * SECOND);
        assert_eq!(ask(&engine, "f"), second, "what goes with the first one's time leaves the second one's");
        (0..2).for_each(|_| engine.advance(60 * SECOND));
        assert_eq!((rows(&engine, Table::EventId), rows(&engine, Table::EventExpiry)), (0, 0), "nothing is left");
    }
}

/// While the first one was on its way to the disk a second one was accepted; and the id of one that was refused was remembered.
#[test]
fn a_second_one_is_answered_with_the_first_one_or_refused_with_it() {
    let engine = engine().reopened_slowly();
    engine.register(function("f"));
    (0..3).for_each(|_| engine.engine.disk_done());
    let ask = |engine: &TestEngine| {
        let told = Arc::new(Mutex::new(None));
        let teller = Arc::clone(&told);
        let waiter = Waiter::Call(Box::new(move |answer| *teller.lock().unwrap() = Some(answer)));
        let asked =
            json!({"function": "f", "payload": 1, "deduplication_id": "a", "deduplication_window_ms": 86_400_000});
        engine.engine.request("events.invoke", asked.to_string().as_bytes(), waiter);
        told
    };
    engine.store.fail(1, Fault::Full, Repeat::Always);
    let (first, second) = (ask(&engine), ask(&engine));
    assert!(first.lock().unwrap().is_none() && second.lock().unwrap().is_none());
    (0..3).for_each(|_| engine.engine.disk_done());
    for told in [first, second] {
        assert!(matches!(told.lock().unwrap().take(), Some(Err(EngineError::Store(_)))));
    }
    engine.store.mend();
    (0..3).for_each(|_| engine.engine.disk_done());
    let (first, second) = (ask(&engine), ask(&engine));
    (0..4).for_each(|_| engine.engine.disk_done());
    let answers = [first, second].map(|told| match told.lock().unwrap().take() {
        Some(Ok(Reply::Added(id))) => id,
        other => panic!("{other:?}"),
    });
    assert_eq!(answers[0], answers[1]);
    assert_eq!(handed(&engine).len(), 1);
}

#[test]
fn a_result_is_told_for_a_day_after_its_event_has_ended() {
    let mut engine = engine();
    let asked = json!({"function": "f", "keep_result": true});
    let (good, bad) = (invoke(&engine, asked.clone()).unwrap(), invoke(&engine, asked).unwrap());
    let plain = invoke(&engine, json!({"function": "f"})).unwrap();
    let result = |engine: &TestEngine, request: &str| {
        engine.asked("events.result", &json!({"function": "f", "request_id": request}))
    };
    assert_eq!(result(&engine, &good).unwrap()["condition"], Value::Null, "it has not ended");
    let tokens = handed(&engine);
    end(&mut engine, tokens[0], 0, r#"{"total":12345678901234567890123}"#);
    end(&mut engine, tokens[1], 1, r#"{"errorMessage":"no","errorType":"E"}"#);
    end(&mut engine, tokens[2], 0, "3");
    let mut engine = engine.reopened_with(&[function("f")]);
    engine.advance(DAY - 2 * SECOND);
    let success = engine.ask("events.result", &json!({"function": "f", "request_id": good})).unwrap();
    let Reply::Json(text) = success else { panic!() };
    assert!(String::from_utf8(text).unwrap().contains("12345678901234567890123"), "with all its digits");
    let success = result(&engine, &good).unwrap();
    assert_eq!((&success["condition"], &success["attempts"]), (&json!("Success"), &json!(1)));
    let failure = result(&engine, &bad).unwrap();
    assert_eq!(failure["condition"], "RetriesExhausted");
    assert_eq!(failure["response"]["errorMessage"], "no");
    let shown = engine.json("why", &json!({"id": good}));
    assert!(shown["kept"].as_array().unwrap().iter().any(|one| one["where"] == "result"), "{shown}");
    for (function, request) in
        [("f", plain.as_str()), ("g", good.as_str()), ("f", "00000000-0000-4000-8000-000000000000")]
    {
        let refused = engine.asked("events.result", &json!({"function": function, "request_id": request})).unwrap_err();
        assert!(matches!(refused, EngineError::NotFound(_)), "{refused}");
    }
    assert!(matches!(result(&engine, "order-7"), Err(EngineError::Invalid(_))));
    engine.advance(3 * SECOND);
    assert!(matches!(result(&engine, &good), Err(EngineError::NotFound(_))), "its day is over");
    (0..2).for_each(|_| engine.advance(40 * SECOND));
    assert_eq!((rows(&engine, Table::EventResult), rows(&engine, Table::EventExpiry)), (0, 0), "nothing is left");
}

#[test]
fn whoever_waits_is_told_when_the_event_has_ended_or_the_time_is_over() {
    let mut engine = engine();
    let request = invoke(&engine, json!({"function": "f", "keep_result": true, "delay_ms": 60_000})).unwrap();
    let (short, long) = (waiting(&engine, &request, 30_000), waiting(&engine, &request, 90_000));
    engine.advance(29 * SECOND);
    assert!(short.lock().unwrap().is_none());
    engine.advance(SECOND);
    let told = short.lock().unwrap().take().unwrap().unwrap();
    assert_eq!((&told["function"], &told["condition"]), (&json!("f"), &Value::Null), "it has not ended");
    engine.advance(30 * SECOND);
    let token = handed(&engine)[0];
    assert!(long.lock().unwrap().is_none());
    let settled = Settled { token, status: 0, body: Some("7".into()), duration_ns: 1 };
    engine.engine.exchange(vec![settled], 0); // and at once: the commit does not wait for company
    assert_eq!(long.lock().unwrap().take().unwrap().unwrap()["response"], 7);
    let open = invoke(&engine, json!({"function": "f", "keep_result": true, "delay_ms": 60_000})).unwrap();
    let told = waiting(&engine, &open, 90_000);
    engine.engine.close();
    assert!(matches!(told.lock().unwrap().take(), Some(Err(EngineError::OwnerLost(_)))));
}

#[test]
fn the_result_of_what_is_run_again_is_that_of_its_last_run() {
    let mut engine = engine();
    let request = invoke(&engine, json!({"function": "f", "keep_result": true})).unwrap();
    let token = handed(&engine)[0];
    end(&mut engine, token, 1, r#"{"errorMessage":"no"}"#);
    engine.advance(DAY / 2);
    engine.json("failed.redrive", &json!({"function": "f"}));
    engine.advance(SECOND);
    let told = waiting(&engine, &request, 90_000);
    assert!(told.lock().unwrap().is_none(), "it runs again");
    let token = handed(&engine)[0];
    end(&mut engine, token, 0, "1");
    assert_eq!(told.lock().unwrap().take().unwrap().unwrap()["condition"], "Success");
    engine.advance(DAY - 60 * SECOND);
    let kept = engine.json("events.result", &json!({"function": "f", "request_id": request}));
    assert_eq!(kept["response"], 1, "for a day from then on");
}

#[test]
fn of_too_many_results_the_oldest_go_before_their_day_is_over() {
    let mut engine = engine();
    let requests: Vec<String> = (0..3)
        .map(|_| {
            let request = invoke(&engine, json!({"function": "f", "keep_result": true})).unwrap();
            let token = handed(&engine)[0];
            end(&mut engine, token, 0, "1");
            request
        })
        .collect();
    engine.engine.with(|state| state.events.kept.counts.results = RESULTS_MAX + 2);
    (0..2).for_each(|_| engine.advance(31 * SECOND));
    let is_kept =
        |request: &String| engine.asked("events.result", &json!({"function": "f", "request_id": request})).is_ok();
    assert_eq!(requests.iter().map(is_kept).collect::<Vec<_>>(), [false, false, true]);
}

/// The row of the second one went in the commit that wrote it, with that of the first one.
#[test]
fn an_id_that_is_accepted_again_while_its_first_event_is_forgotten_is_remembered() {
    let mut engine = engine();
    let ask = |engine: &TestEngine, window_ms: u64| {
        let asked = json!({"function": "f", "deduplication_id": "a", "deduplication_window_ms": window_ms});
        invoke(engine, asked).unwrap()
    };
    let first = ask(&engine, 1_000);
    let token = handed(&engine)[0];
    end(&mut engine, token, 0, "1");
    engine.advance(31 * SECOND);
    let second = ask(&engine, 86_400_000);
    assert_ne!(second, first);
    assert_eq!(ask(&engine, 86_400_000), second);
    let engine = engine.reopened_with(&[function("f")]);
    assert_eq!(ask(&engine, 86_400_000), second);
}

/// Whoever asked for a result with an event that was accepted before without it was told of a request that has none.
#[test]
fn a_result_of_a_repeated_event_is_refused_where_the_first_one_keeps_none() {
    let mut engine = engine();
    let asked =
        |id: &str, keep_result: bool| json!({"function": "f", "deduplication_id": id, "keep_result": keep_result});
    let plain = invoke(&engine, asked("plain", false)).unwrap();
    let kept = invoke(&engine, asked("kept", true)).unwrap();
    for crash in [false, true] {
        let refused = invoke(&engine, asked("plain", true)).unwrap_err();
        let text = refused.to_string();
        assert!(
            matches!(refused, EngineError::Invalid(_)) && text.contains("keep_result") && text.contains(&plain),
            "{text}"
        );
        assert_eq!(invoke(&engine, asked("plain", false)).unwrap(), plain);
        assert_eq!(
            (invoke(&engine, asked("kept", true)).unwrap(), invoke(&engine, asked("kept", false)).unwrap()),
            (kept.clone(), kept.clone())
        );
        engine.now.entropy += 1;
        engine = if crash { engine.crashed() } else { engine.reopened() };
        engine.register(function("f"));
        engine.advance(SECOND);
    }
    let engine = engine.reopened_slowly();
    engine.register(function("f"));
    (0..3).for_each(|_| engine.engine.disk_done());
    let ask = |keep_result| {
        engine.ask(
            "events.invoke",
            &json!({"function": "f", "payload": 1, "deduplication_id": "new", "keep_result": keep_result}),
        )
    };
    assert!(matches!(ask(false), Err(EngineError::Closed(_))), "it waits for the disk");
    assert!(matches!(ask(true), Err(EngineError::Invalid(_))), "before the first one is durable, too");
}

/// The engine took the row for damaged, and failed.
#[test]
fn a_result_that_is_gone_before_it_is_told_is_not_found() {
    let engine = engine();
    let request = invoke(&engine, json!({"function": "f", "keep_result": true})).unwrap();
    let engine = engine.reopened_slowly();
    engine.register(function("f"));
    (0..3).for_each(|_| engine.engine.disk_done());
    let token = handed(&engine)[0];
    let told = waiting(&engine, &request, 90_000);
    engine.engine.exchange(vec![Settled { token, status: 0, body: Some("1".into()), duration_ns: 1 }], 0);
    let key = kept_key(parse_uuid(&request).unwrap());
    engine.engine.with(|state| state.ctx.commit.pending.remove(Table::EventResult, key));
    assert!(told.lock().unwrap().is_none(), "the disk is slow");
    (0..4).for_each(|_| engine.engine.disk_done());
    assert!(matches!(told.lock().unwrap().take(), Some(Err(EngineError::NotFound(_)))));
    assert!(matches!(
        engine.asked("events.result", &json!({"function": "f", "request_id": request})),
        Err(EngineError::NotFound(_))
    ));
}
