//! A running engine for tests: over a store that can fail and crash, under a clock that moves when the test says so.

use std::sync::{Arc, Mutex};

use forebay_core::Now;
use serde_json::Value;

use crate::base::config::Config;
use crate::base::error::{Answer, EngineError, Reply, Waiter};
use crate::base::lease::Lease;
use crate::base::limits::AccountSettings;
use crate::dispatch::attempt_journal::AttemptJournal;
use crate::dispatch::attempts::Settled;
use crate::runtime::engine::{Engine, Parts};
use crate::store::fault::{Crash, FaultStore};
use crate::store::port::Durability;

pub(crate) const SECOND: u64 = 1_000_000_000;

pub(crate) struct TestEngine {
    pub(crate) engine: Engine,
    pub(crate) store: FaultStore,
    pub(crate) now: Now,
}

impl TestEngine {
    pub(crate) fn new() -> Self {
        Self::drawing(7)
    }

    /// One with other random numbers.
    pub(crate) fn drawing(entropy: u64) -> Self {
        let now = Now { mono_ns: 0, wall_ms: 1_600_000_000_000, entropy };
        Self::over(FaultStore::new(1, Durability::PowerLoss), AttemptJournal::memory(), now, false)
    }

    fn over(store: FaultStore, slots: AttemptJournal, now: Now, slow_disk: bool) -> Self {
        let engine = Self::opened(store, slots, now, (true, slow_disk)).unwrap();
        engine.engine.start().unwrap();
        engine
    }

    fn opened(
        store: FaultStore,
        slots: AttemptJournal,
        now: Now,
        (manual, slow_disk): (bool, bool),
    ) -> Result<Self, EngineError> {
        let limits = AccountSettings::of(10);
        let config = Config { app: "t".into(), region: "r".into(), account: "0".into(), limits, metrics: true };
        let parts = Parts {
            store: Box::new(store.clone()),
            slots,
            config,
            manual: manual.then_some(now),
            lease: Lease::default(),
            slow_disk,
        };
        Ok(Self { engine: Engine::open(parts)?, store, now })
    }

    pub(crate) fn advance(&mut self, ns: u64) {
        self.now.mono_ns += ns;
        self.now.wall_ms += ns / 1_000_000;
        self.engine.turn(self.now);
    }

    /// What a verb is answered at once.
    pub(crate) fn ask(&self, verb: &str, body: &Value) -> Answer {
        let told: Arc<Mutex<Option<Answer>>> = Arc::default();
        let teller = Arc::clone(&told);
        let waiter = Waiter::Call(Box::new(move |answer| *teller.lock().unwrap() = Some(answer)));
        self.engine.request(verb, body.to_string().as_bytes(), waiter);
        let answer = told.lock().unwrap().take();
        answer.unwrap_or_else(|| Err(EngineError::Closed("no answer yet".into())))
    }

    /// The same as a value.
    pub(crate) fn asked(&self, verb: &str, body: &Value) -> Result<Value, EngineError> {
        match self.ask(verb, body)? {
            Reply::Json(bytes) | Reply::Added(bytes) => Ok(serde_json::from_slice(&bytes).unwrap()),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn json(&self, verb: &str, body: &Value) -> Value {
        self.asked(verb, body).unwrap()
    }

    /// What the log is to be told.
    pub(crate) fn notices(&self) -> Vec<Value> {
        self.notices_with(Vec::new())
    }

    /// The same once attempts have ended.
    pub(crate) fn notices_with(&self, settled: Vec<Settled>) -> Vec<Value> {
        let (_, answered) = self.engine.exchange(settled, 0);
        let lists = answered.into_iter().filter_map(|(ticket, answer)| match answer {
            Ok(Reply::Json(list)) if ticket == 0 => Some(list),
            _ => None,
        });
        lists.flat_map(|list| serde_json::from_slice::<Vec<Value>>(&list).unwrap()).collect()
    }

    pub(crate) fn register(&self, registration: Value) {
        self.engine.register(&serde_json::from_value(registration).unwrap()).unwrap();
    }

    /// The app stops and starts again.
    pub(crate) fn reopened(self) -> Self {
        self.engine.close();
        Self::over(self.store, AttemptJournal::memory(), self.now, false)
    }

    /// The app stops; what another one hears that opens its store.
    pub(crate) fn try_reopened(self) -> Result<Self, EngineError> {
        self.engine.close();
        Self::opened(self.store, AttemptJournal::memory(), self.now, (true, false))
    }

    /// The app stops and starts again with these functions, which it has registered before that, as a program does.
    pub(crate) fn reopened_with(self, functions: &[Value]) -> Self {
        let engine = self.try_reopened().unwrap();
        for function in functions {
            engine.register(function.clone());
        }
        engine.engine.start().unwrap();
        engine
    }

    /// The app stops and starts again, on a disk that is done when `disk_done` says so.
    pub(crate) fn reopened_slowly(self) -> Self {
        self.engine.close();
        Self::over(self.store, AttemptJournal::memory(), self.now, true)
    }

    /// The app stops and starts again, with the clock and the threads that a program has.
    pub(crate) fn reopened_with_threads(self) -> Self {
        self.engine.close();
        let engine = Self::opened(self.store, AttemptJournal::memory(), self.now, (false, false)).unwrap();
        engine.engine.start().unwrap();
        engine
    }

    /// The process dies and another one starts that has registered these functions before, as a program does.
    pub(crate) fn crashed_with(self, functions: &[Value]) -> Self {
        let slots = AttemptJournal::left_by(&self.engine.in_flight());
        let engine = Self::opened(self.store.crash(Crash::Process), slots, self.now, (true, false)).unwrap();
        for function in functions {
            engine.register(function.clone());
        }
        engine.engine.start().unwrap();
        engine
    }

    /// The process dies and another one owns the store that runs no app.
    pub(crate) fn succeeded_by_a_client(self) -> Self {
        let slots = AttemptJournal::left_by(&self.engine.in_flight());
        Self::opened(self.store.crash(Crash::Process), slots, self.now, (true, false)).unwrap()
    }

    /// The process dies and another one starts.
    pub(crate) fn crashed(self) -> Self {
        let slots = AttemptJournal::left_by(&self.engine.in_flight());
        Self::over(self.store.crash(Crash::Process), slots, self.now, false)
    }
}

/// Settings of a queue as they are declared.
pub(crate) fn queue(name: &str) -> Value {
    serde_json::json!({
        "name": name, "visibility_timeout_ms": 30_000, "delay_ms": 0, "retention_ms": 345_600_000,
        "content_based_deduplication": name.strip_suffix(".fifo").is_some(), "deduplication_scope": "queue",
        "maximum_receive_count": 3,
    })
}
