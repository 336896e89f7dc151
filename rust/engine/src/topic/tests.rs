//! What an engine does with a publication, seen from inside: all of it is written or nothing is, whatever happens.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

use serde_json::{json, Value};

use super::publish::Publication;
use crate::attempts::{Settled, Task};
use crate::error::{EngineError, Waiter};
use crate::port::StoreError;
use crate::rig::{queue, Rig, SECOND};
use crate::store::fault::{Fault, Repeat};
use crate::trace::Carried;

/// A topic with two queues and a function.
fn published() -> Rig {
    let rig = with_functions(Rig::new());
    rig.json("topic.declare", &json!({"name": "t"}));
    for name in ["q1", "q2"] {
        rig.json("queue.declare", &queue(name));
        rig.json("topic.subscribe", &json!({"name": "t", "queue": name}));
    }
    rig.json("topic.subscribe", &json!({"name": "t", "function": "f"}));
    rig
}

/// The functions of the app that runs; one of them tells the topic what became of it.
fn with_functions(rig: Rig) -> Rig {
    for (name, destination) in [("f", Value::Null), ("told", "topic:t".into())] {
        let asynchronous = json!({
            "maximum_retry_attempts": 0, "maximum_event_age_ms": 21_600_000, "retry_delays_ms": [60_000],
            "on_success": destination,
        });
        rig.register(json!({"kind": "function", "name": name, "timeout_ms": 3_000, "asynchronous": asynchronous}));
    }
    rig
}

/// The process dies at once, and another one begins.
fn crashed(rig: Rig) -> Rig {
    with_functions(rig.crashed())
}

impl Rig {
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
    let rig = published();
    rig.publish("hello").unwrap();
    let mut rig = crashed(rig);
    assert_eq!([rig.told("q1"), rig.told("q2")], [["hello"], ["hello"]]);
    assert_eq!(rig.run(), ["hello"]);
}

#[test]
fn a_publication_that_a_full_disk_refuses_is_nowhere() {
    let mut rig = published();
    rig.fill_disk();
    assert!(matches!(rig.publish("refused"), Err(EngineError::Store(StoreError::Full(_)))));
    rig.store.mend();
    rig.advance(SECOND);
    rig.publish("taken").unwrap();
    assert_eq!([rig.told("q1"), rig.told("q2")], [["taken"], ["taken"]]);
    assert_eq!(rig.run(), ["taken"]);
    let mut rig = crashed(rig);
    assert_eq!(rig.told("q1"), ["taken"]);
    assert_eq!(rig.run(), Vec::<String>::new());
}

/// It was set apart with what adds something, and nothing made its commit come: seed 31424 of the simulator.
#[test]
fn a_publication_that_nobody_takes_is_answered_on_a_full_disk_whatever_else_is_written() {
    let mut rig = published();
    rig.json("topic.declare", &json!({"name": "unheard"}));
    rig.publish("hello").unwrap();
    let (works, _) = rig.engine.exchange(Vec::new(), 100);
    rig.fill_disk();
    rig.publish("refused").unwrap_err();
    let ended = Settled { token: works[0].token, status: 0, body: Some(b"1".to_vec()), duration_ns: 1 };
    rig.engine.exchange(vec![ended], 0);
    assert!(!rig.engine.idle(), "the end of the event is still to be written");
    let answer = rig.asked("topic.publish", &json!({"name": "unheard", "message": "m"}));
    assert!(answer.is_ok(), "{answer:?}");
    rig.advance(SECOND);
    assert!(rig.engine.idle());
}

/// Each commit of a drain had something else in it, and what was put waited for all of them, long after there was room.
#[test]
fn what_is_put_on_a_full_disk_is_tried_in_the_commit_after_the_next_whatever_ends_meanwhile() {
    let rig = with_functions(published().reopened_slowly());
    let taken = Arc::new(AtomicUsize::new(0));
    let put = || {
        let told = taken.clone();
        let ask = Waiter::Call(Box::new(move |answer| {
            told.fetch_add(usize::from(answer.is_ok()), Ordering::Relaxed);
        }));
        rig.engine.invoke_async("f", b"7", crate::trace::Origin::default(), ask);
    };
    (0..9).for_each(|_| put());
    (0..3).for_each(|_| rig.engine.disk_done());
    let (works, _) = rig.engine.exchange(Vec::new(), 9);
    assert_eq!((works.len(), taken.load(Ordering::Relaxed)), (9, 9));
    rig.fill_disk();
    put();
    rig.engine.disk_done();
    rig.store.mend();
    let ended = |token| Settled { token, status: 0, body: Some(b"1".to_vec()), duration_ns: 1 };
    rig.engine.exchange(vec![ended(works[0].token)], 0);
    put();
    let mut commits = 0;
    for work in &works[1..] {
        rig.engine.exchange(vec![ended(work.token)], 0);
        rig.engine.disk_done();
        commits += usize::from(taken.load(Ordering::Relaxed) == 9);
    }
    assert_eq!(commits, 1, "a second one, or more, went before it");
}

#[test]
fn a_record_waits_whole_for_room_on_a_full_disk_and_is_told_once() {
    let mut rig = published();
    let ask = Waiter::Call(Box::new(|answer| drop(answer.unwrap())));
    rig.engine.invoke_async("told", b"7", crate::trace::Origin::default(), ask);
    rig.fill_disk();
    assert_eq!(rig.run(), Vec::<String>::new(), "the function is not told before the queues are");
    rig.advance(SECOND);
    assert_eq!(rig.told("q1").len() + rig.told("q2").len(), 0);
    rig.store.mend();
    rig.advance(SECOND);
    assert_eq!([rig.told("q1").len(), rig.told("q2").len()], [1, 1]);
    assert_eq!(rig.run().len(), 1);
    let mut rig = crashed(rig);
    assert_eq!([rig.told("q1").len(), rig.told("q2").len()], [1, 1]);
    assert_eq!(rig.run(), Vec::<String>::new());
}

#[test]
fn a_record_that_waited_for_room_when_the_process_died_is_told_once_by_the_next_one() {
    let mut rig = published();
    let ask = Waiter::Call(Box::new(|answer| drop(answer.unwrap())));
    rig.engine.invoke_async("told", b"7", crate::trace::Origin::default(), ask);
    rig.fill_disk();
    rig.run();
    rig.advance(SECOND);
    rig.store.mend();
    let mut rig = crashed(rig);
    // Its event stands in the store and runs again: nothing of its end was written.
    assert_eq!(rig.run().len(), 1);
    assert_eq!([rig.told("q1").len(), rig.told("q2").len()], [1, 1]);
}

#[test]
fn a_topic_keeps_its_subscriptions_over_a_restart_and_loses_them_when_it_is_deleted() {
    let rig = crashed(published());
    let described = rig.asked("topic.describe", &json!({"name": "t"})).unwrap();
    assert_eq!(described["subscriptions"].as_array().unwrap().len(), 3);
    assert!(described["subscriptions"][0]["arn"].as_str().unwrap().starts_with("arn:aws:sns:r:0:t:"));
    let refused = rig.asked("topic.delete", &json!({"name": "t"})).unwrap_err().to_string();
    assert_eq!(refused, "topic \"t\" is a destination of function \"told\", which runs");
    rig.asked("topic.declare", &json!({"name": "other"})).unwrap();
    rig.asked("topic.subscribe", &json!({"name": "other", "queue": "q1", "filter_policy": "{\"a\":[1]}"})).unwrap();
    let refused = rig.asked("queue.delete", &json!({"name": "q1"})).unwrap_err().to_string();
    assert!(refused.contains("is subscribed to topic \"other\""), "{refused}");
    rig.asked("topic.delete", &json!({"name": "other"})).unwrap();
    let rig = crashed(rig);
    assert_eq!(rig.asked("topic.list", &json!({})).unwrap().as_array().unwrap().len(), 1);
}

#[test]
fn a_topic_has_a_hundred_subscriptions_at_most() {
    let rig = published();
    let subscribe = |name: String| {
        let mut settings = rig.asked("queue.describe", &json!({"name": "q1"})).unwrap();
        settings["name"] = name.clone().into();
        rig.asked("queue.declare", &settings).unwrap();
        rig.asked("topic.subscribe", &json!({"name": "t", "queue": name}))
    };
    (0..97).for_each(|number| drop(subscribe(format!("more-{number}")).unwrap()));
    let refused = subscribe("one-too-many".into()).unwrap_err().to_string();
    assert_eq!(refused, "topic \"t\" has 100 subscriptions, which is as many as a topic may have");
    assert!(subscribe("more-5".into()).is_ok(), "it is subscribed already");
}

#[test]
fn what_became_of_a_publication_is_told_by_its_id_and_by_those_of_its_copies() {
    let mut rig = published();
    rig.json("queue.declare", &queue("choosy"));
    rig.json("topic.subscribe", &json!({"name": "t", "queue": "choosy", "filter_policy": "{\"a\":[1]}"}));
    let whats = |life: &Value| -> Vec<String> {
        let facts = life["facts"].as_array().unwrap().iter();
        facts.map(|fact| fact["what"].as_str().unwrap().to_owned()).collect()
    };
    rig.fill_disk();
    assert!(rig.publish("refused").is_err());
    rig.store.mend();
    rig.advance(SECOND);
    let id = rig.publish("hello").unwrap();
    let life = rig.json("why", &json!({ "id": id }));
    assert_eq!(whats(&life), ["published", "told", "told", "told", "filtered out"]);
    let facts = life["facts"].as_array().unwrap();
    assert_eq!((&facts[0]["topic"], &facts[4]["queue"]), (&json!("t"), &json!("choosy")));
    let message = rig.json("why", &json!({ "id": facts[1]["id"] }));
    assert_eq!(whats(&message), ["published", "sent"]);
    assert_eq!((&message["facts"][0]["publication"], &message["kept"][0]["queue"]), (&id, &json!("q1")));
    let request = facts.iter().find(|fact| fact["function"] == "f").unwrap();
    assert_eq!(whats(&rig.json("why", &json!({ "id": request["id"] })))[..2], ["published", "accepted"]);
}

/// One to functions alone was remembered at once, and stayed when it was refused.
#[test]
fn what_a_full_disk_refused_is_remembered_by_no_id() {
    let mut rig = with_functions(Rig::new());
    rig.json("topic.declare", &json!({"name": "t"}));
    rig.json("topic.subscribe", &json!({"name": "t", "function": "f"}));
    let remembered = |rig: &Rig| rig.engine.with(|state| state.history.publications.len());
    rig.fill_disk();
    assert!(rig.publish("refused").is_err());
    assert_eq!(remembered(&rig), 0);
    rig.store.mend();
    rig.advance(SECOND);
    rig.publish("taken").unwrap();
    assert_eq!(remembered(&rig), 1);
}

/// Their ids were remembered as they were before the messages waited for room, when others had those numbers.
#[test]
fn copies_that_waited_for_room_are_found_by_the_ids_that_they_have_then() {
    let mut rig = published();
    rig.fill_disk();
    let refused = json!({"name": "q2", "messages": [{"body": "refused"}]}).to_string();
    rig.engine.with(|state| {
        let ask = Waiter::Call(Box::new(|answer| assert!(answer.is_err())));
        state.queue_exchange("queue.send", refused.as_bytes(), ask);
        let publication = Publication { message: "waits".into(), ..Publication::default() };
        state.tell_topic("t", &publication, Carried::default(), Vec::new()).unwrap();
    });
    rig.advance(SECOND);
    rig.store.mend();
    (0..3).for_each(|_| rig.advance(SECOND));
    assert_eq!([rig.told("q1"), rig.told("q2")], [["waits"], ["waits"]]);
    for queue in ["q1", "q2"] {
        let page = rig.json("queue.peek", &json!({"name": queue, "limit": 1}));
        let life = rig.json("why", &json!({"id": page["messages"][0]["messageId"]}));
        assert_eq!(life["facts"][0]["what"], "published", "{queue}: {life}");
    }
}
