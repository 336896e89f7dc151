//! Activities: tasks for workers that ask for them, and what workers tell of them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{json, Value};

use crate::base::error::{Answer, Client, EngineError, Reply, Waiter};
use crate::runtime::test_engine::{TestEngine, SECOND};
use crate::store::fault::{Fault, Repeat};

fn activity() -> Value {
    json!({"StartAt": "Work", "States": {
        "Work": {"Type": "Task", "Resource": "arn:aws:states:r:0:activity:a", "HeartbeatSeconds": 60, "End": true}}})
}

fn ask(engine: &TestEngine, wait_ms: u64) -> Arc<Mutex<Option<Answer>>> {
    ask_for(engine, "a", wait_ms)
}

fn ask_for(engine: &TestEngine, activity: &str, wait_ms: u64) -> Arc<Mutex<Option<Answer>>> {
    let told: Arc<Mutex<Option<Answer>>> = Arc::default();
    let teller = Arc::clone(&told);
    let waiter = Waiter::Call(Box::new(move |answer| *teller.lock().unwrap() = Some(answer)));
    let body = json!({"name": activity, "worker": "bob", "wait_ms": wait_ms});
    engine.engine.request("activity.get_task", body.to_string().as_bytes(), waiter);
    told
}

fn value(told: &Arc<Mutex<Option<Answer>>>) -> Value {
    let answer = told.lock().unwrap().take().expect("an answer");
    let Ok(Reply::Json(bytes) | Reply::Added(bytes)) = answer else { panic!("{answer:?}") };
    serde_json::from_slice(&bytes).unwrap()
}

#[test]
fn a_worker_takes_a_task_over_a_kill_and_tells_its_end() {
    let mut engine = TestEngine::new();
    engine.workflow("w", &activity());
    let told = engine.json("workflow.validate", &json!({"definition": activity().to_string()}));
    assert_eq!((&told["problems"], &told["missing"][0]["code"]), (&json!([]), &json!("NOT_FOUND")), "{told}");
    engine.start("early", &json!({})).unwrap();
    assert_eq!(
        engine.execution("early")["cause"].as_str().map(|cause| cause.starts_with("Activity Does Not Exist")),
        Some(true)
    );
    engine.json("activity.declare", &json!({"name": "a"}));
    let waits = ask(&engine, 10_000);
    engine.start("one", &json!({"n": 1})).unwrap();
    let first = value(&waits);
    assert_eq!(first["input"], "{\"n\":1}");
    engine.start("two", &json!({"n": 2})).unwrap();
    engine = engine.crashed();
    let second = value(&ask(&engine, 0));
    assert_eq!(second["input"], "{\"n\":2}", "the first task has a worker");
    assert_eq!(value(&ask(&engine, 0)), Value::Null);
    let none = ask(&engine, 10_000);
    engine.advance(9 * SECOND);
    assert!(none.lock().unwrap().is_none());
    engine.advance(2 * SECOND);
    assert_eq!(value(&none), Value::Null);
    engine.json("task.succeed", &json!({"token": first["token"], "output": "\"done\""}));
    engine.advance(60 * SECOND);
    assert_eq!(engine.execution("one")["output"], "\"done\"");
    assert_eq!(engine.execution("two")["error"], "States.Timeout");
    let started =
        engine.json("execution.history", &json!({"workflow": "w", "name": "one", "limit": 1_000})).to_string();
    assert!(started.contains("\"workerName\":\"bob\""), "{started}");
}

/// A worker that has hung up once the flag is set.
struct Leaving(Arc<AtomicBool>);

impl Client for Leaving {
    fn answer(self: Box<Self>, answer: Answer) {
        assert!(!self.has_left(), "{answer:?} is told to somebody who has left");
    }

    fn has_left(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A client of AWS's API that hung up while it waited was given the next task, which then waited for its heartbeat or for ever.
#[test]
fn a_worker_that_has_left_takes_no_task_and_no_place() {
    let mut engine = TestEngine::new();
    engine.json("activity.declare", &json!({"name": "a"}));
    engine.workflow("w", &activity());
    let has_left = Arc::new(AtomicBool::new(false));
    let wait = |engine: &TestEngine| {
        let body = json!({"name": "a", "wait_ms": 60_000}).to_string();
        let waiter = Waiter::Client(Box::new(Leaving(Arc::clone(&has_left))));
        engine.engine.request("activity.get_task", body.as_bytes(), waiter);
    };
    (0..1_000).for_each(|_| wait(&engine));
    let refused = ask(&engine, 60_000).lock().unwrap().take();
    assert!(matches!(refused, Some(Err(EngineError::TooMany { .. }))), "{refused:?}");
    has_left.store(true, Ordering::Relaxed);
    let waits = ask(&engine, 60_000);
    engine.advance(61 * SECOND);
    assert_eq!(value(&waits), Value::Null, "it is told in time that there was no task");
    wait(&engine);
    let behind = ask(&engine, 60_000);
    engine.start("one", &json!({"n": 1})).unwrap();
    assert_eq!(value(&behind)["input"], "{\"n\":1}");
}

/// Nobody takes them: tasks that have timed out must not pile up for as long as the app lives.
#[test]
fn a_list_that_no_worker_looks_at_forgets_the_tasks_that_have_ended() {
    let mut engine = TestEngine::new();
    engine.json("activity.declare", &json!({"name": "a"}));
    let mut machine = activity();
    machine["TimeoutSeconds"] = 60.into();
    engine.workflow("w", &machine);
    for _ in 0..5 {
        engine.json("execution.start_many", &json!({"workflow": "w", "inputs": vec!["{}"; 900]}));
        engine.advance(61 * SECOND);
    }
    let listed = engine.engine.with(|rooms| rooms.workflows.activities.listed("a"));
    assert!(listed <= 1_900, "{listed} of 4,500");
    engine.start("one", &json!({"n": 1})).unwrap();
    assert_eq!(value(&ask(&engine, 0))["input"], "{\"n\":1}");
}

/// Each worker that came had all workers of all activities looked through.
#[test]
fn a_worker_that_comes_costs_as_much_however_many_wait_elsewhere() {
    let engine = TestEngine::new();
    let mut took = Vec::new();
    for activity in 0..24 {
        let name = activity.to_string();
        engine.json("activity.declare", &json!({"name": name}));
        let body = json!({"name": name, "wait_ms": 60_000}).to_string();
        let begun = Instant::now();
        for _ in 0..1_000 {
            engine.engine.request("activity.get_task", body.as_bytes(), Waiter::Call(Box::new(drop)));
        }
        took.push(begun.elapsed());
    }
    let least = |times: &[Duration]| times.iter().min().copied().unwrap();
    assert!(least(&took[20..]) < 5 * least(&took[..4]), "{took:?}");
}

#[test]
fn workers_of_several_activities_are_told_in_time() {
    let mut engine = TestEngine::new();
    for name in ["a", "b"] {
        engine.json("activity.declare", &json!({"name": name}));
    }
    engine.workflow("w", &activity());
    let waits = [ask_for(&engine, "a", 30_000), ask_for(&engine, "b", 10_000), ask_for(&engine, "a", 20_000)];
    let is_told = |at: usize| waits[at].lock().unwrap().is_some();
    let told = || [is_told(0), is_told(1), is_told(2)];
    engine.advance(9 * SECOND);
    assert_eq!(told(), [false; 3]);
    engine.advance(2 * SECOND);
    assert_eq!((told(), value(&waits[1])), ([false, true, false], Value::Null));
    // The one that waits longest is the first.
    engine.start("one", &json!({"n": 1})).unwrap();
    assert_eq!(value(&waits[0])["input"], "{\"n\":1}");
    engine.advance(10 * SECOND);
    assert_eq!(value(&waits[2]), Value::Null);
    // Those of an activity that is deleted are told at once.
    let waits = [ask_for(&engine, "a", 5_000), ask_for(&engine, "b", 5_000)];
    engine.json("activity.delete", &json!({"name": "a"}));
    assert_eq!(value(&waits[0]), Value::Null);
    engine.advance(6 * SECOND);
    assert_eq!(value(&waits[1]), Value::Null);
}

/// They were in no list, and nothing ended them: they had waited for the next start of the app, or for a year.
#[test]
fn tasks_of_an_activity_that_is_declared_again_have_its_workers() {
    let mut engine = TestEngine::new();
    engine.json("activity.declare", &json!({"name": "a"}));
    engine.workflow("w", &activity());
    for name in ["one", "two"] {
        engine.start(name, &json!(name)).unwrap();
    }
    let taken = value(&ask(&engine, 0));
    engine.json("activity.delete", &json!({"name": "a"}));
    // It is declared after the next start.
    engine = engine.crashed();
    engine.json("activity.declare", &json!({"name": "a"}));
    let input = |told: &Value| told["input"].clone();
    assert_eq!([input(&taken), input(&value(&ask(&engine, 0)))], ["\"one\"", "\"two\""]);
    assert_eq!(value(&ask(&engine, 0)), Value::Null);
    engine.start("three", &json!("three")).unwrap();
    engine.json("activity.delete", &json!({"name": "a"}));
    engine.advance(600 * SECOND);
    let waits = engine.json("activity.declare", &json!({"name": "a"}));
    assert_eq!(waits["name"], "a");
    assert_eq!(input(&value(&ask(&engine, 0))), "\"three\"");
}

#[test]
fn a_task_that_a_full_disk_kept_from_a_worker_is_given_to_the_next() {
    let mut engine = TestEngine::new();
    engine.json("activity.declare", &json!({"name": "a"}));
    engine.workflow("w", &activity());
    engine.start("one", &json!({"n": 1})).unwrap();
    engine.store.fail(1, Fault::Full, Repeat::Always);
    let refused = ask(&engine, 0);
    engine.advance(SECOND);
    assert!(refused.lock().unwrap().take().unwrap().is_err());
    engine.store.mend();
    engine.advance(SECOND);
    assert_eq!(value(&ask(&engine, 0))["input"], "{\"n\":1}");
}

/// They were cut where they did not come by Python, and AWS refuses them.
#[test]
fn what_somebody_says_that_failed_has_an_error_and_a_cause_of_bounded_length() {
    let mut engine = TestEngine::new();
    engine.json("activity.declare", &json!({"name": "a"}));
    engine.workflow("w", &activity());
    engine.start("one", &json!({})).unwrap();
    engine.start("two", &json!({})).unwrap();
    let token = value(&ask(&engine, 0))["token"].clone();
    let (error, cause) = ("ä".repeat(256), "c".repeat(32_768));
    let fail =
        |error: &str, cause: &str| engine.asked("task.fail", &json!({"token": token, "error": error, "cause": cause}));
    let stop = |error: &str, cause: &str| {
        engine.asked("execution.stop", &json!({"workflow": "w", "name": "two", "error": error, "cause": cause}))
    };
    let long = format!("{cause}c");
    for told in [fail(&error, &long), stop(&error, &long)] {
        let text = told.unwrap_err().to_string();
        assert_eq!(text, "cause has 32769 characters: allowed are at most 32768");
    }
    for told in [fail(&format!("{error}e"), &cause), stop(&format!("{error}e"), &cause)] {
        assert_eq!(told.unwrap_err().to_string(), "error has 257 characters: allowed are at most 256");
    }
    fail(&error, &cause).unwrap();
    stop(&error, &cause).unwrap();
    engine.advance(SECOND);
    for name in ["one", "two"] {
        let told = engine.execution(name);
        assert_eq!((&told["error"], &told["cause"]), (&json!(error), &json!(cause)));
    }
}
