//! A whole engine on a store in memory and a clock that stands: what an app declares, and whatever is asked of it.

use std::sync::{Arc, Mutex, OnceLock};

use forebay_core::Now;
use forebay_engine::base::config::Config;
use forebay_engine::base::error::{Answer, EngineError, Waiter};
use forebay_engine::base::lease::Lease;
use forebay_engine::base::limits::AccountSettings;
use forebay_engine::base::trace::Origin;
use forebay_engine::dispatch::attempt_journal::AttemptJournal;
use forebay_engine::dispatch::attempts::{Settled, Task};
use forebay_engine::dispatch::functions::Registration;
use forebay_engine::runtime::engine::{Engine, Parts};
use forebay_engine::store::fault::{Crash, FaultStore};
use serde_json::{json, Value};

/// Work that is taken in one line.
const WORKS: usize = 16;
const HOUR: u64 = 3_600;
const DAY: u64 = 86_400;

pub(crate) struct TestEngine {
    engine: Engine,
    store: FaultStore,
    now: Now,
    /// What is counted becomes metric points, minute by minute: most of the time that an input takes.
    measures: bool,
    /// Commits of the store before this process.
    found: u64,
    held: Vec<u64>,
}

impl TestEngine {
    /// Open what a store holds; register what the app's code has, and start.
    pub(crate) fn open(
        store: FaultStore,
        slots: AttemptJournal,
        now: Now,
        measures: bool,
    ) -> Result<Self, EngineError> {
        let limits = AccountSettings::of(1_000);
        let config = Config { app: "a".into(), region: "local".into(), account: "0".into(), limits, metrics: measures };
        let parts = Parts {
            store: Box::new(store.clone()),
            slots,
            config,
            manual: Some(now),
            lease: Lease::default(),
            slow_disk: false,
        };
        let (engine, found) = (Engine::open(parts)?, store.commits());
        for settings in registrations() {
            engine.register(settings)?;
        }
        engine.start()?;
        Ok(Self { engine, store, now, measures, found, held: Vec::new() })
    }

    /// Ask in words; `None`: there is no answer yet.
    pub(crate) fn ask(&self, verb: &str, body: &[u8]) -> Option<Answer> {
        let (waiter, told) = ear();
        self.engine.request(verb, body, waiter);
        let answer = told.lock().unwrap().take();
        answer
    }

    /// Do what a line says; tell whether it was understood.
    pub(crate) fn follow(&mut self, line: &[u8]) -> bool {
        let (word, rest) = split(line);
        let word = String::from_utf8_lossy(word);
        let (waiter, told) = ear();
        match &*word {
            "put" => {
                let (stream, rest) = split(rest);
                let (key, data) = split(rest);
                let (stream, key) = (String::from_utf8_lossy(stream), String::from_utf8_lossy(key));
                self.engine.put(&stream, [(&*key, data)].into_iter(), None, waiter);
            }
            "invoke" => {
                let (function, payload) = split(rest);
                self.engine.invoke(&String::from_utf8_lossy(function), payload.into(), None, waiter);
            }
            "event" => {
                let (function, payload) = split(rest);
                let origin = Origin { parent: Some(7), trace: Some("00-1-2-01") };
                self.engine.invoke_async(&String::from_utf8_lossy(function), payload, origin, waiter);
            }
            "work" => {
                let (status, body) = split(rest);
                return self.work(status.first().map_or(0, |digit| digit.wrapping_sub(b'0') % 5), body);
            }
            "wait" => {
                let seconds = String::from_utf8_lossy(rest).parse::<u64>().unwrap_or(1);
                self.wait(seconds);
                return true;
            }
            verb => self.engine.request(verb, rest, waiter),
        }
        let answer = told.lock().unwrap().take();
        answer.is_some_and(|answer| answer.is_ok())
    }

    /// Let time pass, a day at most; an hour where each minute is looked at.
    pub(crate) fn wait(&mut self, seconds: u64) {
        let seconds = seconds.min(if self.measures { HOUR } else { DAY });
        self.now.mono_ns += seconds * 1_000_000_000;
        self.now.wall_ms += seconds * 1_000;
        self.now.entropy = self.now.entropy.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        self.engine.turn(self.now);
    }

    /// Take work and let all of it end, as a handler or a process that means no good would.
    pub(crate) fn work(&mut self, status: u8, body: &[u8]) -> bool {
        let (works, _) = self.engine.exchange(Vec::new(), WORKS);
        self.held.extend(works.iter().filter(|work| !matches!(work.task, Task::Cancel)).map(|work| work.token));
        let body = (!body.is_empty()).then(|| body.to_vec());
        let settled =
            self.held.drain(..).map(|token| Settled { token, status, body: body.clone(), duration_ns: 1_000 });
        let settled: Vec<Settled> = settled.collect();
        let some = !settled.is_empty();
        self.engine.exchange(settled, 0);
        some
    }

    /// End the process, in order or not, and begin the next one. Nothing that was asked for may keep it from opening the store.
    pub(crate) fn restarted(self, in_order: bool) -> Self {
        if in_order {
            self.engine.close();
        }
        let slots = AttemptJournal::left_by(&self.engine.in_flight());
        let store = self.store.crash(Crash::Process);
        Self::open(store, slots, self.now, self.measures)
            .unwrap_or_else(|error| panic!("the store does not open any more: {error}"))
    }

    /// Whether the store holds anything else than when it was opened.
    pub(crate) fn has_written(&self) -> bool {
        self.store.commits() > self.found
    }

    /// What the store holds.
    pub(crate) fn store(&self) -> &FaultStore {
        &self.store
    }
}

/// Where an answer is heard.
fn ear() -> (Waiter, Arc<Mutex<Option<Answer>>>) {
    let told: Arc<Mutex<Option<Answer>>> = Arc::default();
    let teller = told.clone();
    (Waiter::Call(Box::new(move |answer| *teller.lock().unwrap() = Some(answer))), told)
}

/// The first word, and what stands behind the space after it.
pub(crate) fn split(line: &[u8]) -> (&[u8], &[u8]) {
    let at = line.iter().position(|byte| *byte == b' ').unwrap_or(line.len());
    (&line[..at], line.get(at + 1..).unwrap_or_default())
}

fn registrations() -> &'static [Registration] {
    static READ: OnceLock<Vec<Registration>> = OnceLock::new();
    READ.get_or_init(|| functions().map(|settings| serde_json::from_value(settings).unwrap()).into())
}

fn functions() -> [Value; 3] {
    let asynchronous = json!({
        "maximum_retry_attempts": 1, "maximum_event_age_ms": 60_000, "retry_delays_ms": [1_000], "on_success": "queue:q",
        "on_failure": "d", "dead_letter": "topic:t",
    });
    [
        json!({"kind": "function", "name": "f", "timeout_ms": 3_000, "wants": "batch", "asynchronous": asynchronous}),
        json!({"kind": "function", "name": "g", "timeout_ms": 3_000, "reserved_concurrency": 2}),
        json!({"kind": "destination", "name": "d", "type": "object"}),
    ]
}

/// What an app declares, a verb and its body each.
pub(crate) fn declarations() -> Vec<(&'static str, Value)> {
    let queue = |name: &str, dead: Option<&str>| {
        json!({
            "name": name, "visibility_timeout_ms": 30_000, "delay_ms": 0, "retention_ms": 345_600_000,
            "content_based_deduplication": name.contains(".fifo"), "deduplication_scope": "queue",
            "maximum_receive_count": 2, "dead_letter_queue": dead,
        })
    };
    vec![
        ("stream.declare", json!({"name": "s", "shards": 2, "retention_ms": 86_400_000})),
        ("queue.declare", queue("dead", None)),
        ("queue.declare", queue("q", Some("dead"))),
        ("queue.declare", queue("q.fifo", None)),
        ("topic.declare", json!({"name": "t"})),
        ("topic.subscribe", json!({"name": "t", "queue": "q", "filter_policy": "{\"a\": [\"b\"]}"})),
        (
            "mapping.declare",
            json!({
                "stream": "s", "function": "f", "starting_position": "TRIM_HORIZON", "batch_size": 10,
                "maximum_batching_window_ms": 0, "parallelization_factor": 2, "maximum_retry_attempts": 1,
                "maximum_record_age_ms": -1, "bisect_batch_on_function_error": true, "report_batch_item_failures": true,
                "filters": [], "tumbling_window_ms": 0, "on_failure": "d", "include_payload": true,
                "retry_backoff": {"base_ms": 100, "cap_ms": 1_000, "jitter": 0.2}, "enabled": true,
            }),
        ),
        (
            "mapping.declare",
            json!({
                "queue": "q.fifo", "function": "g", "batch_size": 10, "maximum_batching_window_ms": 0,
                "report_batch_item_failures": true, "filters": [], "strict_lambda": false, "enabled": true,
            }),
        ),
    ]
}
