//! An engine turned by hand over a store that fails on demand: enough to tell a story in a few lines.

use std::sync::{Arc, Mutex};

use forebay_core::sequence;
use forebay_core::Now;
use forebay_engine::base::config::Config;
use forebay_engine::base::error::{Answer, EngineError, Reply, Waiter};
use forebay_engine::base::lease::Lease;
use forebay_engine::base::limits::{AccountSettings, FunctionLimits};
use forebay_engine::base::trace::Origin;
use forebay_engine::dispatch::attempt_journal::AttemptJournal;
use forebay_engine::dispatch::attempts::{Settled, Task, Token, Work};
use forebay_engine::dispatch::functions::Registration;
use forebay_engine::runtime::engine::{Engine, Parts};
use forebay_engine::store::fault::{Crash, FaultStore};
use forebay_engine::store::port::{Durability, Reader, Store, Table};
use serde_json::{json, Value};

const NS_PER_MS: u64 = 1_000_000;

/// One app's engine, its store and its clocks.
pub(crate) struct TestEngine {
    pub(crate) store: FaultStore,
    engine: Option<Engine>,
    pub(crate) mono_ms: u64,
    pub(crate) wall_ms: u64,
    slow_disk: bool,
    pub(crate) concurrency: u32,
}

/// A batch in a handler.
pub(crate) struct Batch {
    pub(crate) token: Token,
    pub(crate) shard: u32,
    pub(crate) positions: Vec<u64>,
}

/// The answer of a call that may come later.
#[derive(Clone, Default)]
pub(crate) struct Ear(Arc<Mutex<Option<Answer>>>);

impl Ear {
    pub(crate) fn heard(&self) -> Option<Answer> {
        self.0.lock().unwrap().clone()
    }

    fn waiter(&self) -> Waiter {
        let ear = self.0.clone();
        Waiter::Call(Box::new(move |answer| *ear.lock().unwrap() = Some(answer)))
    }
}

impl TestEngine {
    pub(crate) fn new() -> Self {
        Self::with_disk(false)
    }

    /// With a disk that does nothing before `disk`.
    pub(crate) fn slow() -> Self {
        Self::with_disk(true)
    }

    fn with_disk(slow_disk: bool) -> Self {
        let store = FaultStore::new(1, Durability::PowerLoss);
        let mut engine =
            Self { store, engine: None, mono_ms: 5, wall_ms: 1_577_836_800_000, slow_disk, concurrency: 1_000 };
        engine.open(AttemptJournal::memory());
        engine
    }

    pub(crate) fn open(&mut self, slots: AttemptJournal) {
        let config = Config {
            app: "story".into(),
            region: "local".into(),
            account: "000000000000".into(),
            limits: AccountSettings::of(self.concurrency),
            metrics: true,
        };
        let (store, slow_disk, manual) = (Box::new(self.store.clone()), self.slow_disk, Some(self.now()));
        self.engine =
            Some(Engine::open(Parts { store, slots, config, manual, lease: Lease::default(), slow_disk }).unwrap());
    }

    pub(crate) fn inner(&self) -> &Engine {
        self.engine.as_ref().unwrap()
    }

    fn now(&self) -> Now {
        Now { mono_ns: self.mono_ms * NS_PER_MS, wall_ms: self.wall_ms, entropy: 1 }
    }

    /// Kill the process and start the next one, in which nothing is declared yet.
    pub(crate) fn kill(&mut self) {
        let left = self.inner().in_flight();
        self.store = self.store.crash(Crash::Process);
        self.engine = None;
        self.open(AttemptJournal::left_by(&left));
    }

    /// Stop in order and start the next one.
    pub(crate) fn restart(&mut self) {
        self.inner().close();
        self.kill();
    }

    /// Let time pass, everything in it done when it is due.
    pub(crate) fn pass(&mut self, ms: u64) {
        let end_ms = self.mono_ms + ms;
        for turns in 0.. {
            assert!(turns < 100_000, "the engine goes round in circles");
            let due_ms = self.inner().turn(self.now()).map_or(end_ms, |due| due.div_ceil(NS_PER_MS));
            if self.mono_ms >= end_ms && due_ms > self.mono_ms {
                return;
            }
            let next_ms = due_ms.clamp(self.mono_ms, end_ms);
            self.wall_ms += next_ms - self.mono_ms;
            self.mono_ms = next_ms;
            if next_ms == end_ms && due_ms >= end_ms {
                self.inner().turn(self.now());
                return;
            }
        }
    }

    /// The slow disk does what it was given.
    pub(crate) fn disk(&self) {
        self.inner().disk_done();
    }

    pub(crate) fn ask(&self, verb: &str, body: &Value) -> Ear {
        let ear = Ear::default();
        self.inner().request(verb, body.to_string().as_bytes(), ear.waiter());
        ear
    }

    /// Ask, with the disk at work until there is an answer.
    pub(crate) fn told(&self, verb: &str, body: &Value) -> Result<Value, EngineError> {
        let ear = self.ask(verb, body);
        for _ in 0..10 {
            if let Some(answer) = ear.heard() {
                return answer.map(|reply| match reply {
                    Reply::Json(json) | Reply::Added(json) => serde_json::from_slice(&json).unwrap(),
                    Reply::Request(request) => Value::String(forebay_engine::base::ids::uuid_text(request)),
                    Reply::Numbers(_) | Reply::Executed { .. } | Reply::Typed(_) | Reply::Assignments(_) => Value::Null,
                });
            }
            self.disk();
        }
        panic!("{verb} {body} was not answered");
    }

    pub(crate) fn put(&self, keys: &[&str]) -> Ear {
        let ear = Ear::default();
        self.inner().put("s", keys.iter().map(|&key| (key, key.as_bytes())), None, ear.waiter());
        ear
    }

    pub(crate) fn put_data(&self, data: &[u8]) {
        self.inner().put("s", [("a", data)].into_iter(), None, Ear::default().waiter());
    }

    pub(crate) fn invoke(&self, function: &str) -> Ear {
        self.invoke_with(function, b"{}")
    }

    pub(crate) fn invoke_with(&self, function: &str, payload: &[u8]) -> Ear {
        let ear = Ear::default();
        self.inner().invoke(function, payload.into(), None, ear.waiter());
        ear
    }

    /// Start, with an invocation before anything else.
    pub(crate) fn invoke_when_started(&self, function: &str) -> Ear {
        self.inner().start().unwrap();
        let ear = self.invoke(function);
        self.start(&json!({}));
        ear
    }

    pub(crate) fn register(&self, kind: &str, name: &str, timeout_ms: u64) {
        let (kind, name) = (kind.into(), name.into());
        let timeout_ms = Some(timeout_ms);
        let registration = Registration {
            kind,
            name,
            timeout_ms,
            wants: Some("batch".into()),
            isolation: None,
            asynchronous: None,
            limits: FunctionLimits::default(),
            environment: None,
            at_once: None,
            invocation_rate: None,
            is_latest: false,
        };
        self.inner().register(&registration).unwrap();
    }

    /// Register a function for asynchronous invocation, with AWS's settings but for these.
    pub(crate) fn serve(&self, name: &str, settings: &Value) {
        let mut asynchronous = json!({
            "maximum_retry_attempts": 2, "maximum_event_age_ms": 21_600_000, "retry_delays_ms": [60_000, 120_000],
        });
        for (name, value) in settings.as_object().unwrap() {
            asynchronous[name] = value.clone();
        }
        let registration = json!({"kind": "function", "name": name, "timeout_ms": 1_000, "asynchronous": asynchronous});
        self.inner().register(&serde_json::from_value(registration).unwrap()).unwrap();
    }

    pub(crate) fn invoke_async(&self, function: &str, payload: &Value) -> Ear {
        let ear = Ear::default();
        self.inner().invoke_async(function, payload.to_string().as_bytes(), Origin::default(), ear.waiter());
        ear
    }

    /// Declare the stream `s` of one shard and the function `f` that reads it, and start.
    pub(crate) fn start(&self, settings: &Value) {
        self.register("function", "f", 1_000);
        self.told("stream.declare", &json!({"name": "s", "shards": 1, "retention_ms": 86_400_000})).unwrap();
        self.told("mapping.declare", &mapping(settings)).unwrap();
        self.inner().start().unwrap();
    }

    /// Everything that may be handed out now.
    pub(crate) fn works(&self) -> Vec<Work> {
        self.inner().exchange(Vec::new(), 1_000).0
    }

    /// The batches among it.
    pub(crate) fn batches(&self) -> Vec<Batch> {
        let batch = |work: Work| match work.task {
            Task::Batch { records, .. } => {
                let (shard, positions) = (records.source.shard_index, records.positions.to_vec());
                Some(Batch { token: work.token, shard, positions })
            }
            _ => None,
        };
        self.works().into_iter().filter_map(batch).collect()
    }

    pub(crate) fn end(&self, token: Token, status: u8, response: Option<&Value>) {
        let body = response.map(|response| response.to_string().into_bytes());
        let settled = Settled { token, status, body, duration_ns: 1 };
        // Nothing is taken in the same breath: the story says when.
        assert!(self.inner().exchange(vec![settled], 0).0.is_empty());
    }

    pub(crate) fn failures(&self) -> Vec<Value> {
        let listed = self.told("failed.list", &json!({"limit": 100_000})).unwrap();
        listed["failures"].as_array().unwrap().clone()
    }

    pub(crate) fn reader(&self) -> Box<dyn Reader> {
        self.store.reader().unwrap()
    }

    /// Marks of the durable checkpoint of a mapping on a shard's log.
    pub(crate) fn marks(&self, mapping: u64, log: u32) -> Value {
        let key = [&mapping.to_be_bytes()[..], &log.to_be_bytes()].concat();
        let row = self.reader().get(Table::Checkpoint, &key).unwrap().unwrap();
        serde_json::from_slice::<Value>(&row).unwrap()["marks"].clone()
    }
}

/// A mapping of `s` to `f`, with some settings of its own.
pub(crate) fn mapping(settings: &Value) -> Value {
    let mut all = json!({
        "stream": "s", "function": "f", "starting_position": "TRIM_HORIZON", "batch_size": 1,
        "maximum_batching_window_ms": 0, "parallelization_factor": 1, "maximum_retry_attempts": 0,
        "maximum_record_age_ms": -1, "bisect_batch_on_function_error": false, "report_batch_item_failures": false,
        "filters": [], "tumbling_window_ms": 0, "on_failure": null, "include_payload": false,
        "retry_backoff": {"base_ms": 100, "cap_ms": 100, "jitter": 0.0}, "enabled": true,
    });
    for (name, value) in settings.as_object().unwrap() {
        all[name] = value.clone();
    }
    all
}

pub(crate) fn bound() -> Value {
    json!({"stream": "s", "function": "f"})
}

/// Sequence number of a position, as text.
pub(crate) fn number(shard: u32, position: u64) -> String {
    sequence::number(shard, position).to_string()
}
