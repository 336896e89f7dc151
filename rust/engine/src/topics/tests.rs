//! What an engine does with a publication, seen from inside: all of it is written or nothing is, whatever happens.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

use serde_json::{json, Value};

use crate::api::topic::Publication;
use crate::base::error::{EngineError, Waiter};
use crate::base::trace::{Carried, Origin};
use crate::dispatch::attempts::{Settled, Task};
use crate::payload::message::NewMessage;
use crate::runtime::test_engine::{queue, TestEngine, SECOND};
use crate::sources::queue::send;
use crate::store::fault::{Fault, Repeat};
use crate::store::port::StoreError;
use crate::topics::publish;

/// A topic with two queues and a function.
fn published() -> TestEngine {
    let engine = with_functions(TestEngine::new());
    engine.json("topic.declare", &json!({"name": "t"}));
    for name in ["q1", "q2"] {
        engine.json("queue.declare", &queue(name));
        engine.json("topic.subscribe", &json!({"name": "t", "queue": name}));
    }
    engine.json("topic.subscribe", &json!({"name": "t", "function": "f"}));
    engine
}

/// The functions of the app that runs; one of them tells the topic what became of it.
fn with_functions(engine: TestEngine) -> TestEngine {
    for (name, destination) in [("f", Value::Null), ("told", "topic:t".into())] {
        let asynchronous = json!({
            "maximum_retry_attempts": 0, "maximum_event_age_ms": 21_600_000, "retry_delays_ms": [60_000],
            "on_success": destination,
        });
        engine.register(json!({"kind": "function", "name": name, "timeout_ms": 3_000, "asynchronous": asynchronous}));
    }
    engine
}

/// The process dies at once, and another one begins.
fn crashed(engine: TestEngine) -> TestEngine {
    with_functions(engine.crashed())
}

impl TestEngine {
    fn publish(&self, message: &str) -> Result<Value, EngineError> {
        self.asked("topic.publish", &json!({"name": "t", "message": message}))
    }

    /// The messages that stand in a queue; receiving hides them from nobody.
    fn told(&self, queue: &str) -> Vec<String> {
        let asked = json!({"name": queue, "maximum": 10, "visibility_timeout_ms": 0});
        let answer = self.asked("queue.receive", &asked).unwrap();
        let message = |one: &Value| {
            let body: Value = serde_json::from_str(one["body"].as_str().unwrap()).unwrap();
            body["Message"].as_str().unwrap().to_owned()
        };
        answer.as_array().unwrap().iter().map(message).collect()
    }

    /// Run what waits for functions; the payloads of `f`.
    fn run(&mut self) -> Vec<String> {
        let mut payloads = Vec::new();
        let mut settled = Vec::new();
        loop {
            let (works, _) = self.engine.exchange(std::mem::take(&mut settled), 100);
            if works.is_empty() {
                // What has ended is written down, too.
                self.advance(SECOND);
                return payloads;
            }
            for work in works {
                let Task::Event(payload) = work.task else { panic!("{work:?}") };
                let event: Value = serde_json::from_slice(&payload).unwrap();
                if let Some(message) = event["Records"][0]["Sns"]["Message"].as_str() {
                    payloads.push(message.to_owned());
                }
                settled.push(Settled { token: work.token, status: 0, body: Some(b"1".to_vec()), duration_ns: 1 });
            }
            self.advance(SECOND / 100);
        }
    }

    fn fill_disk(&self) {
        self.store.fail(1, Fault::Full, Repeat::Always);
    }
}

#[test]
fn a_publication_is_everywhere_when_it_is_acknowledged_even_if_the_process_dies_then() {
    let engine = published();
    engine.publish("hello").unwrap();
    let mut engine = crashed(engine);
    assert_eq!([engine.told("q1"), engine.told("q2")], [["hello"], ["hello"]]);
    assert_eq!(engine.run(), ["hello"]);
}

#[test]
fn a_publication_that_a_full_disk_refuses_is_nowhere() {
    let mut engine = published();
    engine.fill_disk();
    assert!(matches!(engine.publish("refused"), Err(EngineError::Store(StoreError::Full(_)))));
    engine.store.mend();
    engine.advance(SECOND);
    engine.publish("taken").unwrap();
    assert_eq!([engine.told("q1"), engine.told("q2")], [["taken"], ["taken"]]);
    assert_eq!(engine.run(), ["taken"]);
    let mut engine = crashed(engine);
    assert_eq!(engine.told("q1"), ["taken"]);
    assert_eq!(engine.run(), Vec::<String>::new());
}

/// It was set apart with what adds something, and nothing made its commit come: seed 31424 of the simulator.
#[test]
fn a_publication_that_nobody_takes_is_answered_on_a_full_disk_whatever_else_is_written() {
    let mut engine = published();
    engine.json("topic.declare", &json!({"name": "unheard"}));
    engine.publish("hello").unwrap();
    let (works, _) = engine.engine.exchange(Vec::new(), 100);
    engine.fill_disk();
    engine.publish("refused").unwrap_err();
    let ended = Settled { token: works[0].token, status: 0, body: Some(b"1".to_vec()), duration_ns: 1 };
    engine.engine.exchange(vec![ended], 0);
    assert!(!engine.engine.idle(), "the end of the event is still to be written");
    let answer = engine.asked("topic.publish", &json!({"name": "unheard", "message": "m"}));
    assert!(answer.is_ok(), "{answer:?}");
    engine.advance(SECOND);
    assert!(engine.engine.idle());
}

/// Each commit of a drain had something else in it, and what was put waited for all of them, long after there was room.
#[test]
fn what_is_put_on_a_full_disk_is_tried_in_the_commit_after_the_next_whatever_ends_meanwhile() {
    let engine = with_functions(published().reopened_slowly());
    let taken = Arc::new(AtomicUsize::new(0));
    let put = || {
        let told = taken.clone();
        let ask = Waiter::Call(Box::new(move |answer| {
            told.fetch_add(usize::from(answer.is_ok()), Ordering::Relaxed);
        }));
        engine.engine.invoke_async("f", b"7", crate::base::trace::Origin::default(), ask);
    };
    (0..9).for_each(|_| put());
    (0..3).for_each(|_| engine.engine.disk_done());
    let (works, _) = engine.engine.exchange(Vec::new(), 9);
    assert_eq!((works.len(), taken.load(Ordering::Relaxed)), (9, 9));
    engine.fill_disk();
    put();
    engine.engine.disk_done();
    engine.store.mend();
    let ended = |token| Settled { token, status: 0, body: Some(b"1".to_vec()), duration_ns: 1 };
    engine.engine.exchange(vec![ended(works[0].token)], 0);
    put();
    let mut commits = 0;
    for work in &works[1..] {
        engine.engine.exchange(vec![ended(work.token)], 0);
        engine.engine.disk_done();
        commits += usize::from(taken.load(Ordering::Relaxed) == 9);
    }
    assert_eq!(commits, 1, "a second one, or more, went before it");
}

#[test]
fn a_record_waits_whole_for_room_on_a_full_disk_and_is_told_once() {
    let mut engine = published();
    let ask = Waiter::Call(Box::new(|answer| drop(answer.unwrap())));
    engine.engine.invoke_async("told", b"7", crate::base::trace::Origin::default(), ask);
    engine.fill_disk();
    assert_eq!(engine.run(), Vec::<String>::new(), "the function is not told before the queues are");
    engine.advance(SECOND);
    assert_eq!(engine.told("q1").len() + engine.told("q2").len(), 0);
    engine.store.mend();
    engine.advance(SECOND);
    assert_eq!([engine.told("q1").len(), engine.told("q2").len()], [1, 1]);
    assert_eq!(engine.run().len(), 1);
    let mut engine = crashed(engine);
    assert_eq!([engine.told("q1").len(), engine.told("q2").len()], [1, 1]);
    assert_eq!(engine.run(), Vec::<String>::new());
}

#[test]
fn a_record_that_waited_for_room_when_the_process_died_is_told_once_by_the_next_one() {
    let mut engine = published();
    let ask = Waiter::Call(Box::new(|answer| drop(answer.unwrap())));
    engine.engine.invoke_async("told", b"7", crate::base::trace::Origin::default(), ask);
    engine.fill_disk();
    engine.run();
    engine.advance(SECOND);
    engine.store.mend();
    let mut engine = crashed(engine);
    // Its event stands in the store and runs again: nothing of its end was written.
    assert_eq!(engine.run().len(), 1);
    assert_eq!([engine.told("q1").len(), engine.told("q2").len()], [1, 1]);
}

#[test]
fn a_topic_keeps_its_subscriptions_over_a_restart_and_loses_them_when_it_is_deleted() {
    let engine = crashed(published());
    let described = engine.asked("topic.describe", &json!({"name": "t"})).unwrap();
    assert_eq!(described["subscriptions"].as_array().unwrap().len(), 3);
    assert!(described["subscriptions"][0]["arn"].as_str().unwrap().starts_with("arn:aws:sns:r:0:t:"));
    let refused = engine.asked("topic.delete", &json!({"name": "t"})).unwrap_err().to_string();
    assert_eq!(refused, "topic \"t\" is a destination of function \"told\", which runs");
    engine.asked("topic.declare", &json!({"name": "other"})).unwrap();
    engine.asked("topic.subscribe", &json!({"name": "other", "queue": "q1", "filter_policy": "{\"a\":[1]}"})).unwrap();
    let refused = engine.asked("queue.delete", &json!({"name": "q1"})).unwrap_err().to_string();
    assert!(refused.contains("is subscribed to topic \"other\""), "{refused}");
    engine.asked("topic.delete", &json!({"name": "other"})).unwrap();
    let engine = crashed(engine);
    assert_eq!(engine.asked("topic.list", &json!({})).unwrap().as_array().unwrap().len(), 1);
}

/// Notes came in a commit of their own: whoever was ended between the two left a topic without its tags, and of two who made one topic
/// both were told that it was theirs.
#[test]
fn a_topic_comes_with_its_notes_and_nobody_makes_it_anew_with_others() {
    let engine = TestEngine::new();
    let declared = |notes: Value| json!({"name": "n", "notes": notes});
    let made = engine.json("topic.declare", &declared(json!({"tag:a": "1"})));
    assert_eq!(made["notes"], json!({"tag:a": "1"}));
    for other in [json!({"tag:a": "2", "tag:b": "1"}), json!({"tag:a": null})] {
        let refused = engine.asked("topic.declare", &declared(other));
        assert!(matches!(refused, Err(EngineError::Conflict(_))), "{refused:?}");
    }
    let engine = crashed(engine);
    engine.json("topic.declare", &json!({"name": "n"}));
    assert_eq!(engine.json("topic.describe", &json!({"name": "n"}))["notes"], json!({"tag:a": "1"}));
    engine.json("topic.declare", &declared(json!({"tag:a": "1", "tag:b": "2"})));
    let engine = crashed(engine);
    assert_eq!(engine.json("topic.describe", &json!({"name": "n"}))["notes"], json!({"tag:a": "1", "tag:b": "2"}));
}

#[test]
fn a_topic_has_a_hundred_subscriptions_at_most() {
    let engine = published();
    let subscribe = |name: String| {
        let mut settings = engine.asked("queue.describe", &json!({"name": "q1"})).unwrap();
        settings["name"] = name.clone().into();
        engine.asked("queue.declare", &settings).unwrap();
        engine.asked("topic.subscribe", &json!({"name": "t", "queue": name}))
    };
    (0..97).for_each(|number| drop(subscribe(format!("more-{number}")).unwrap()));
    let refused = subscribe("one-too-many".into()).unwrap_err().to_string();
    assert_eq!(refused, "topic \"t\" has 100 subscriptions, which is as many as a topic may have");
    assert!(subscribe("more-5".into()).is_ok(), "it is already subscribed");
}

#[test]
fn what_became_of_a_publication_is_told_by_its_id_and_by_those_of_its_copies() {
    let mut engine = published();
    engine.json("queue.declare", &queue("choosy"));
    engine.json("topic.subscribe", &json!({"name": "t", "queue": "choosy", "filter_policy": "{\"a\":[1]}"}));
    let whats = |life: &Value| -> Vec<String> {
        let facts = life["facts"].as_array().unwrap().iter();
        facts.map(|fact| fact["what"].as_str().unwrap().to_owned()).collect()
    };
    engine.fill_disk();
    assert!(engine.publish("refused").is_err());
    engine.store.mend();
    engine.advance(SECOND);
    let id = engine.publish("hello").unwrap();
    let life = engine.json("why", &json!({ "id": id }));
    assert_eq!(whats(&life), ["published", "told", "told", "told", "filtered out"]);
    let facts = life["facts"].as_array().unwrap();
    assert_eq!((&facts[0]["topic"], &facts[4]["queue"]), (&json!("t"), &json!("choosy")));
    let message = engine.json("why", &json!({ "id": facts[1]["id"] }));
    assert_eq!(whats(&message), ["published", "sent"]);
    assert_eq!((&message["facts"][0]["publication"], &message["kept"][0]["queue"]), (&id, &json!("q1")));
    let request = facts.iter().find(|fact| fact["function"] == "f").unwrap();
    assert_eq!(whats(&engine.json("why", &json!({ "id": request["id"] })))[..2], ["published", "accepted"]);
}

/// One to functions alone was remembered at once, and stayed when it was refused.
#[test]
fn what_a_full_disk_refused_is_remembered_by_no_id() {
    let mut engine = with_functions(TestEngine::new());
    engine.json("topic.declare", &json!({"name": "t"}));
    engine.json("topic.subscribe", &json!({"name": "t", "function": "f"}));
    let remembered = |engine: &TestEngine| engine.engine.with(|state| state.ctx.observe.history.publications.len());
    engine.fill_disk();
    assert!(engine.publish("refused").is_err());
    assert_eq!(remembered(&engine), 0);
    engine.store.mend();
    engine.advance(SECOND);
    engine.publish("taken").unwrap();
    assert_eq!(remembered(&engine), 1);
}

/// Their ids were remembered as they were before the messages waited for room, when others had those numbers.
#[test]
fn copies_that_waited_for_room_are_found_by_the_ids_that_they_have_then() {
    let mut engine = published();
    engine.fill_disk();
    engine.engine.with(|state| {
        let ask = Waiter::Call(Box::new(|answer| assert!(answer.is_err())));
        let refused = NewMessage { body: "refused".into(), ..NewMessage::default() };
        send::send_messages(&mut state.queues(), "q2", &[refused], Origin::default(), ask);
        let publication = Publication { message: "waits".into(), ..Publication::default() };
        publish::tell_topic(&mut state.topics(), "t", &publication, Carried::default(), Vec::new()).unwrap();
    });
    engine.advance(SECOND);
    engine.store.mend();
    (0..3).for_each(|_| engine.advance(SECOND));
    assert_eq!([engine.told("q1"), engine.told("q2")], [["waits"], ["waits"]]);
    for queue in ["q1", "q2"] {
        let page = engine.json("queue.peek", &json!({"name": queue, "limit": 1}));
        let life = engine.json("why", &json!({"id": page["messages"][0]["messageId"]}));
        assert_eq!(life["facts"][0]["what"], "published", "{queue}: {life}");
    }
}
