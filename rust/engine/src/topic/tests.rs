//! What an engine does with a publication, seen from inside: all of it is written or nothing is, whatever happens.

use std::sync::{Arc, Mutex};

use forebay_core::Now;
use serde_json::{json, Value};

use crate::attempts::{Settled, Task};
use crate::engine::{Engine, Parts};
use crate::error::{Answer, EngineError, Reply, Waiter};
use crate::limits::AccountSettings;
use crate::port::{Durability, StoreError};
use crate::slots::Slots;
use crate::state::Config;
use crate::store::fault::{Crash, Fault, FaultStore, Repeat};

const SECOND: u64 = 1_000_000_000;

struct Rig {
    engine: Engine,
    store: FaultStore,
    now: Now,
}

impl Rig {
    /// A topic with two queues and a function.
    fn new() -> Self {
        let now = Now { mono_ns: 0, wall_ms: 1_600_000_000_000, entropy: 7 };
        let rig = Self::over(FaultStore::new(1, Durability::PowerLoss), now);
        rig.ask("topic.declare", &json!({"name": "t"})).unwrap();
        for name in ["q1", "q2"] {
            let settings = json!({
                "name": name, "visibility_timeout_ms": 30_000, "delay_ms": 0, "retention_ms": 345_600_000,
                "content_based_deduplication": false, "deduplication_scope": "queue", "maximum_receive_count": 10,
            });
            rig.ask("queue.declare", &settings).unwrap();
            rig.ask("topic.subscribe", &json!({"name": "t", "queue": name})).unwrap();
        }
        rig.ask("topic.subscribe", &json!({"name": "t", "function": "f"})).unwrap();
        rig
    }

    fn over(store: FaultStore, now: Now) -> Self {
        let config = Config {
            app: "t".into(),
            region: "r".into(),
            account: "0".into(),
            limits: AccountSettings::of(10),
            metrics: true,
        };
        let parts = Parts {
            store: Box::new(store.clone()),
            slots: Slots::memory(),
            config,
            manual: Some(now),
            slow_disk: false,
        };
        let engine = Engine::open(parts).unwrap();
        for (name, destination) in [("f", Value::Null), ("told", "topic:t".into())] {
            let asynchronous = json!({
                "maximum_retry_attempts": 0, "maximum_event_age_ms": 21_600_000, "retry_delays_ms": [60_000],
                "on_success": destination,
            });
            let registration =
                json!({"kind": "function", "name": name, "timeout_ms": 3_000, "asynchronous": asynchronous});
            engine.register(&serde_json::from_value(registration).unwrap()).unwrap();
        }
        engine.start().unwrap();
        Self { engine, store, now }
    }

    /// The process dies at once, and another one begins.
    fn crashed(self) -> Self {
        let store = self.store.crash(Crash::Process);
        Self::over(store, self.now)
    }

    fn advance(&mut self, ns: u64) {
        self.now.mono_ns += ns;
        self.now.wall_ms += ns / 1_000_000;
        self.engine.turn(self.now);
    }

    fn ask(&self, verb: &str, body: &Value) -> Result<Value, EngineError> {
        let told: Arc<Mutex<Option<Answer>>> = Arc::default();
        let teller = Arc::clone(&told);
        let waiter = Waiter::Call(Box::new(move |answer| *teller.lock().unwrap() = Some(answer)));
        self.engine.request(verb, body.to_string().as_bytes(), waiter);
        let answer = told.lock().unwrap().take();
        match answer.unwrap_or_else(|| Err(EngineError::Closed("no answer yet".into())))? {
            Reply::Json(bytes) | Reply::Added(bytes) => Ok(serde_json::from_slice(&bytes).unwrap()),
            other => panic!("{other:?}"),
        }
    }

    fn publish(&self, message: &str) -> Result<Value, EngineError> {
        self.ask("topic.publish", &json!({"name": "t", "message": message}))
    }

    /// The messages that stand in a queue; receiving hides them from nobody.
    fn told(&self, queue: &str) -> Vec<String> {
        let asked = json!({"name": queue, "maximum": 10, "visibility_timeout_ms": 0});
        let answer = self.ask("queue.receive", &asked).unwrap();
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
    let rig = Rig::new();
    rig.publish("hello").unwrap();
    let mut rig = rig.crashed();
    assert_eq!([rig.told("q1"), rig.told("q2")], [["hello"], ["hello"]]);
    assert_eq!(rig.run(), ["hello"]);
}

#[test]
fn a_publication_that_a_full_disk_refuses_is_nowhere() {
    let mut rig = Rig::new();
    rig.fill_disk();
    assert!(matches!(rig.publish("refused"), Err(EngineError::Store(StoreError::Full(_)))));
    rig.store.mend();
    rig.advance(SECOND);
    rig.publish("taken").unwrap();
    assert_eq!([rig.told("q1"), rig.told("q2")], [["taken"], ["taken"]]);
    assert_eq!(rig.run(), ["taken"]);
    let mut rig = rig.crashed();
    assert_eq!(rig.told("q1"), ["taken"]);
    assert_eq!(rig.run(), Vec::<String>::new());
}

#[test]
fn a_record_waits_whole_for_room_on_a_full_disk_and_is_told_once() {
    let mut rig = Rig::new();
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
    let mut rig = rig.crashed();
    assert_eq!([rig.told("q1").len(), rig.told("q2").len()], [1, 1]);
    assert_eq!(rig.run(), Vec::<String>::new());
}

#[test]
fn a_record_that_waited_for_room_when_the_process_died_is_told_once_by_the_next_one() {
    let mut rig = Rig::new();
    let ask = Waiter::Call(Box::new(|answer| drop(answer.unwrap())));
    rig.engine.invoke_async("told", b"7", crate::trace::Origin::default(), ask);
    rig.fill_disk();
    rig.run();
    rig.advance(SECOND);
    rig.store.mend();
    let mut rig = rig.crashed();
    // Its event stands in the store and runs again: nothing of its end was written.
    assert_eq!(rig.run().len(), 1);
    assert_eq!([rig.told("q1").len(), rig.told("q2").len()], [1, 1]);
}

#[test]
fn a_topic_keeps_its_subscriptions_over_a_restart_and_loses_them_when_it_is_deleted() {
    let rig = Rig::new().crashed();
    let described = rig.ask("topic.describe", &json!({"name": "t"})).unwrap();
    assert_eq!(described["subscriptions"].as_array().unwrap().len(), 3);
    assert!(described["subscriptions"][0]["arn"].as_str().unwrap().starts_with("arn:aws:sns:r:0:t:"));
    let refused = rig.ask("topic.delete", &json!({"name": "t"})).unwrap_err().to_string();
    assert_eq!(refused, "topic \"t\" is a destination of function \"told\", which runs");
    rig.ask("topic.declare", &json!({"name": "other"})).unwrap();
    rig.ask("topic.subscribe", &json!({"name": "other", "queue": "q1", "filter_policy": "{\"a\":[1]}"})).unwrap();
    let refused = rig.ask("queue.delete", &json!({"name": "q1"})).unwrap_err().to_string();
    assert!(refused.contains("is subscribed to topic \"other\""), "{refused}");
    rig.ask("topic.delete", &json!({"name": "other"})).unwrap();
    let rig = rig.crashed();
    assert_eq!(rig.ask("topic.list", &json!({})).unwrap().as_array().unwrap().len(), 1);
}

#[test]
fn a_topic_has_a_hundred_subscriptions_at_most() {
    let rig = Rig::new();
    let subscribe = |name: String| {
        let mut settings = rig.ask("queue.describe", &json!({"name": "q1"})).unwrap();
        settings["name"] = name.clone().into();
        rig.ask("queue.declare", &settings).unwrap();
        rig.ask("topic.subscribe", &json!({"name": "t", "queue": name}))
    };
    (0..97).for_each(|number| drop(subscribe(format!("more-{number}")).unwrap()));
    let refused = subscribe("one-too-many".into()).unwrap_err().to_string();
    assert_eq!(refused, "topic \"t\" has 100 subscriptions, which is as many as a topic may have");
    assert!(subscribe("more-5".into()).is_ok(), "it is subscribed already");
}
