//! What is written together, what waits, and what is found when the process dies between two commits.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{json, Value};

use crate::base::error::{Answer, Waiter};
use crate::base::trace::Origin;
use crate::dispatch::attempts::{Settled, Task, Token, Work};
use crate::runtime::settle;
use crate::runtime::test_engine::{queue, TestEngine, SECOND};
use crate::sources::invocation::accept;
use crate::store::fault::{Fault, Repeat};
use crate::store::port::{Store as _, Table};

/// The answer of a call that may come later.
pub(crate) type Ear = Arc<Mutex<Option<Answer>>>;

fn ear() -> (Ear, Waiter) {
    let ear = Ear::default();
    let teller = Arc::clone(&ear);
    (ear, Waiter::Call(Box::new(move |answer| *teller.lock().unwrap() = Some(answer))))
}

fn is_taken(ear: &Ear) -> bool {
    matches!(*ear.lock().unwrap(), Some(Ok(_)))
}

fn settled(token: Token) -> Settled {
    Settled { token, status: 0, body: None, duration_ns: 1 }
}

impl TestEngine {
    /// Ask on a slow disk.
    pub(crate) fn ask_later(&self, verb: &str, body: &Value) -> Ear {
        let (ear, waiter) = ear();
        self.engine.request(verb, body.to_string().as_bytes(), waiter);
        ear
    }

    fn function(&self, name: &str) {
        self.register(json!({"kind": "function", "name": name, "timeout_ms": 3_000}));
    }

    /// Invoke a function asynchronously with its own name.
    fn call(&self, function: &str) -> Ear {
        let (ear, waiter) = ear();
        self.engine.invoke_async(function, json!(function).to_string().as_bytes(), Origin::default(), waiter);
        ear
    }

    /// A slow disk was full and has room again: a commit is on its way to it, and a put waits that was set apart from that.
    pub(crate) fn leave_a_put_waiting(&self) {
        self.function("f");
        self.store.fail(1, Fault::Full, Repeat::Always);
        let refused = self.call("f");
        self.engine.disk_done();
        assert!(matches!(*refused.lock().unwrap(), Some(Err(_))));
        self.store.mend();
        self.ask_later("topic.declare", &json!({"name": "one"}));
        self.call("f");
        self.ask_later("topic.declare", &json!({"name": "two"}));
        self.engine.disk_done();
        assert!(self.engine.commit_begun() && self.engine.with(|state| state.ctx.commit.pending.has_waited));
    }

    /// That commit and the next one are durable, then the process dies.
    pub(crate) fn crashed_two_commits_later(self) -> Self {
        (0..2).for_each(|_| self.engine.disk_done());
        self.crashed()
    }
}

/// Its event went before the row that says whose it is: it was lost, or went to the next new function.
#[test]
fn the_first_event_of_a_function_is_its_own_after_a_crash_on_a_disk_that_was_full() {
    let engine = TestEngine::new().reopened_slowly();
    engine.function("g");
    engine.leave_a_put_waiting();
    let called = engine.call("g");
    let mut engine = engine.crashed_two_commits_later();
    assert!(is_taken(&called));
    for name in ["h", "g", "f"] {
        engine.function(name);
    }
    engine.call("h");
    engine.advance(SECOND);
    let (works, _) = engine.engine.exchange(Vec::new(), 10);
    let run = |work: &Work| {
        let Task::Event(payload) = &work.task else { panic!("{work:?}") };
        let called: String = serde_json::from_slice(payload).unwrap();
        (engine.engine.with(|state| state.dispatch.functions[work.handler].qualified()), called)
    };
    let mut runs: Vec<(String, String)> = works.iter().map(run).collect();
    runs.sort_unstable();
    assert_eq!(runs, ["f", "g", "h"].map(|name| (name.to_owned(), name.to_owned())));
}

/// What is read from a stream that is changed, then put into, before the process dies.
fn read_after_a_crash(verb: &str, change: &Value) -> Value {
    let engine = TestEngine::new();
    let stream = json!({"name": "old", "shards": 1, "retention_ms": 86_400_000, "retention_bytes": null});
    engine.json("stream.declare", &stream);
    let engine = engine.reopened_slowly();
    engine.leave_a_put_waiting();
    engine.ask_later(verb, change);
    let (put, waiter) = ear();
    engine.engine.put(change["name"].as_str().unwrap(), [("key", &b"data"[..])].into_iter(), None, waiter);
    let engine = engine.crashed_two_commits_later();
    assert!(is_taken(&put));
    let read = engine.asked("stream.read", &json!({"name": change["name"], "position": "TRIM_HORIZON", "limit": 10}));
    read.map_or_else(|error| error.to_string().into(), |read| read["records"].clone())
}

/// Records were acknowledged before the rows of their shards were written, and could not be found again.
#[test]
fn what_is_put_into_new_shards_on_a_disk_that_was_full_is_there_after_a_crash() {
    let stream = json!({"name": "new", "shards": 1, "retention_ms": 86_400_000, "retention_bytes": null});
    let declared = read_after_a_crash("stream.declare", &stream);
    assert_eq!(declared.as_array().map(Vec::len), Some(1), "{declared}");
    let resharded = read_after_a_crash("stream.reshard", &json!({"name": "old", "shards": 2}));
    assert_eq!(resharded.as_array().map(Vec::len), Some(1), "{resharded}");
}

/// Its log had no row yet: the next queue got the same.
#[test]
fn what_is_sent_to_a_new_queue_on_a_disk_that_was_full_is_there_after_a_crash() {
    let engine = TestEngine::new().reopened_slowly();
    engine.leave_a_put_waiting();
    engine.ask_later("queue.declare", &queue("new"));
    let sent = engine.ask_later("queue.send", &json!({"name": "new", "messages": [{"body": "x"}]}));
    let engine = engine.crashed_two_commits_later();
    assert!(is_taken(&sent));
    let received = engine.asked("queue.receive", &json!({"name": "new", "maximum": 10}));
    assert_eq!(received.map(|messages| messages[0]["body"].clone()), Ok(json!("x")));
}

/// It stood in one commit with a dead letter that had no place, and ran again after the start.
#[test]
fn what_has_ended_is_written_at_a_stop_though_something_else_finds_the_disk_full() {
    let mut engine = TestEngine::new();
    engine.json("queue.declare", &queue("dead"));
    let mut source = queue("q");
    (source["dead_letter_queue"], source["maximum_receive_count"]) = (json!("dead"), json!(1));
    engine.json("queue.declare", &source);
    engine.json("queue.send", &json!({"name": "q", "messages": [{"body": "x"}]}));
    engine.json("queue.receive", &json!({"name": "q", "maximum": 1, "visibility_timeout_ms": 1_000}));
    engine.function("f");
    engine.call("f");
    let (works, _) = engine.engine.exchange(Vec::new(), 1);
    engine.store.fail(1, Fault::Full, Repeat::Always);
    engine.advance(SECOND);
    engine.engine.exchange(vec![settled(works[0].token)], 0);
    let mut engine = engine.reopened();
    engine.store.mend();
    engine.function("f");
    engine.advance(SECOND);
    assert_eq!(engine.engine.exchange(Vec::new(), 1).0.len(), 0, "it has run");
    engine.json("queue.receive", &json!({"name": "q", "maximum": 1}));
    engine.advance(SECOND);
    assert_eq!(engine.json("queue.depth", &json!({"name": "dead"}))["visible"], 1);
}

/// The thread that writes gave up with the first commit that a full disk refused.
#[test]
fn what_has_ended_is_written_at_a_stop_though_what_is_put_finds_the_disk_full() {
    let engine = TestEngine::new().reopened_with_threads();
    engine.function("f");
    engine.call("f");
    let mut works = Vec::new();
    for _ in 0..1_000 {
        works.extend(engine.engine.exchange(Vec::new(), 1).0);
        if !works.is_empty() {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    engine.store.fail(1, Fault::Full, Repeat::Always);
    let (refused, waiter) = ear();
    {
        // In one moment, so that both are in the first commit of the stop.
        let mut inner = engine.engine.shared.lock();
        settle::settle_all(&mut inner.state, vec![settled(works[0].token)]);
        accept::invoke_async(&mut inner.state.events(), "f", b"1", Origin::default(), waiter);
        inner.stopping = true;
    }
    engine.engine.close();
    assert!(matches!(*refused.lock().unwrap(), Some(Err(_))));
    assert_eq!(engine.store.reader().unwrap().scan(Table::Event, &[], None, 10).unwrap(), []);
}
