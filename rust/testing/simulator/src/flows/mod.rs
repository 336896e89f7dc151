//! Executions of workflows under kills, power cuts, full and broken disks: a step happens once, and so does what it sends.
//!
//! A world of its own, smaller than the other: callers start, stop and redrive executions; a function answers, fails or says nothing;
//! somebody tells tokens. At the end everything drains, and each message that a history tells of is in its queue once.

mod machines;
mod witness;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use forebay_core::Now;
use forebay_engine::base::config::Config;
use forebay_engine::base::error::{Answer, EngineError, Reply, Waiter};
use forebay_engine::base::lease::Lease;
use forebay_engine::base::limits::{AccountSettings, FunctionLimits};
use forebay_engine::dispatch::attempt_journal::{AttemptJournal, InFlight};
use forebay_engine::dispatch::attempts::{Settled, Task, Token};
use forebay_engine::dispatch::functions::Registration;
use forebay_engine::runtime::engine::{Engine, Parts};
use forebay_engine::store::fault::{Crash, Fault as DiskFault, FaultStore, Repeat};
use forebay_engine::store::port::{Durability, Store as _};
use serde_json::{json, Value};

use crate::chance::Chance;
use crate::ledger::{Counts, Promise, Violation};
use crate::plan::{Fault, Plan};
use machines::{ASKED, FUNCTION, SENT};
use witness::{open, Shared, Watched};

const WALL_START_MS: u64 = 1_577_836_800_000;
const NS_PER_MS: u64 = 1_000_000;
/// Rounds within which everything must have drained.
const DRAINED_WITHIN: usize = 3_000;
/// Turns of an engine that catches up.
const TURNS: usize = 64;

struct Flows {
    faults: BTreeSet<Fault>,
    chance: Chance,
    witness: Shared,
    store: FaultStore,
    engine: Option<Engine>,
    now: Now,
    slots: Vec<InFlight>,
    running: BTreeMap<Token, Value>,
    /// Executions that somebody has started, with their workflow.
    started: Vec<(String, &'static str)>,
    /// Messages of the queue of questions, by their ids.
    asked: BTreeMap<String, Value>,
    told: BTreeSet<String>,
    is_full: bool,
    counts: Counts,
}

/// Live until the steps are used up, then until everything has drained.
pub fn run(plan: &Plan) -> Result<Counts, Violation> {
    let mut flows = Flows::new(plan);
    flows.drive(plan.steps).map_err(|story| Violation { promise: Promise::Workflows, story })?;
    flows.counts.commits = open(&flows.witness).commits;
    Ok(flows.counts)
}

impl Flows {
    fn new(plan: &Plan) -> Self {
        Self {
            faults: plan.faults(),
            chance: Chance::of(plan.seed, "workflows"),
            witness: Shared::default(),
            store: FaultStore::new(plan.seed, Durability::PowerLoss),
            engine: None,
            now: Now { mono_ns: 0, wall_ms: WALL_START_MS, entropy: plan.seed },
            slots: Vec::new(),
            running: BTreeMap::new(),
            started: Vec::new(),
            asked: BTreeMap::new(),
            told: BTreeSet::new(),
            is_full: false,
            counts: Counts::default(),
        }
    }

    fn drive(&mut self, steps: u64) -> Result<(), String> {
        self.start()?;
        for _ in 0..steps {
            match self.chance.below(100) {
                0..=19 => self.start_one(),
                20..=44 => self.let_pass(),
                45..=79 => self.work(true)?,
                80..=91 => self.answer(true),
                92..=95 => self.meddle(),
                _ => self.strike()?,
            }
            self.turn()?;
        }
        self.drain()
    }

    /// Start the process, and declare everything as an app does.
    fn start(&mut self) -> Result<(), String> {
        let store = Watched { store: self.store.clone(), witness: self.witness.clone(), writes: Vec::new() };
        let parts = Parts {
            store: Box::new(store),
            slots: AttemptJournal::left_by(&std::mem::take(&mut self.slots)),
            config: Config {
                app: "simulated".into(),
                region: "local".into(),
                account: "000000000000".into(),
                limits: AccountSettings::of(1_000),
                metrics: false,
            },
            manual: Some(self.now),
            lease: Lease::default(),
            slow_disk: self.chance.one_in(2),
        };
        let engine = Engine::open(parts).map_err(|error| format!("the store does not open: {error}"))?;
        if self.chance.one_in(2) {
            engine.evaluate_aside();
        }
        let registration = Registration {
            kind: "function".into(),
            name: FUNCTION.into(),
            timeout_ms: Some(30_000),
            wants: None,
            isolation: Some("task".into()),
            asynchronous: None,
            invocation_rate: None,
            is_latest: false,
            limits: FunctionLimits::default(),
            environment: None,
            at_once: None,
        };
        engine.register(&registration).map_err(|error| format!("the function cannot be registered: {error}"))?;
        self.engine = Some(engine);
        for queue in [SENT, ASKED] {
            let body = json!({
                "name": queue, "visibility_timeout_ms": 30_000, "delay_ms": 0, "retention_ms": 1_209_600_000,
                "content_based_deduplication": false, "deduplication_scope": "queue", "maximum_receive_count": 1_000,
            });
            self.ask("queue.declare", &body)?;
        }
        for (name, definition) in machines::all() {
            self.ask("workflow.declare", &json!({"name": name, "definition": definition.to_string()}))?;
        }
        let started = self.engine.as_ref().map(Engine::start);
        started.transpose().map_err(|error| format!("the engine does not start: {error}"))?;
        self.turn()
    }

    /// Ask, and let the disk work until there is an answer.
    fn ask(&mut self, verb: &str, body: &Value) -> Result<Option<Value>, String> {
        let Some(engine) = &self.engine else { return Ok(None) };
        let heard: Arc<Mutex<Option<Answer>>> = Arc::default();
        let ear = heard.clone();
        let told = move |answer| *ear.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
        engine.request(verb, body.to_string().as_bytes(), Waiter::Call(Box::new(told)));
        for _ in 0..TURNS {
            if heard.lock().unwrap_or_else(PoisonError::into_inner).is_some() || !engine.disk_busy() {
                break;
            }
            engine.disk_done();
        }
        let answer = heard.lock().unwrap_or_else(PoisonError::into_inner).take();
        match answer {
            Some(Ok(Reply::Json(json) | Reply::Added(json))) => Ok(serde_json::from_slice(&json).ok()),
            // Whoever asks sees later what has become of it.
            None
            | Some(
                Ok(_)
                | Err(
                    EngineError::Store(_)
                    | EngineError::Conflict(_)
                    | EngineError::NotFound(_)
                    | EngineError::Closed(_),
                ),
            ) => Ok(None),
            Some(Err(error)) => Err(format!("{verb} {body} was refused: {error}")),
        }
    }

    /// Let the engine do what is due; the disk may be slower than the process lives.
    fn turn(&mut self) -> Result<(), String> {
        self.now.entropy = self.chance.number();
        if let Some(engine) = &self.engine {
            engine.turn(self.now);
            if engine.disk_busy() && self.chance.one_in(2) {
                engine.disk_done();
                engine.turn(self.now);
            }
        }
        match &open(&self.witness).broken {
            Some(story) => Err(story.clone()),
            None => Ok(()),
        }
    }

    fn let_pass(&mut self) {
        let ms = *self.chance.pick(&[0, 1, 50, 1_000, 30_000, 601_000]);
        self.now.mono_ns += ms * NS_PER_MS;
        self.now.wall_ms += ms;
    }

    fn start_one(&mut self) {
        let all = machines::all();
        let (workflow, _) = all[self.chance.below(all.len() as u64) as usize];
        let name = format!("e{}", self.started.len());
        let items: Vec<u64> = (0..self.chance.below(4)).collect();
        let body = json!({"workflow": workflow, "name": name, "input": json!({"items": items}).to_string()});
        let Some(engine) = &self.engine else { return };
        // Whether it has begun is seen in its history.
        engine.request("execution.start", body.to_string().as_bytes(), Waiter::Call(Box::new(|_| ())));
        self.started.push((name, workflow));
    }

    /// The function is handed calls, and ends some of them.
    fn work(&mut self, may_fail: bool) -> Result<(), String> {
        let Some(engine) = &self.engine else { return Ok(()) };
        let tokens: Vec<Token> = self.running.keys().copied().collect();
        let mut settled = Vec::new();
        for token in tokens {
            if may_fail && self.chance.one_in(3) {
                continue;
            }
            let Some(given) = self.running.remove(&token) else { continue };
            let (status, body) = match self.chance.below(12) {
                0 if may_fail && self.faults.contains(&Fault::Error) => (1, json!({"errorType": "Busy"}).to_string()),
                1 if may_fail && self.faults.contains(&Fault::Error) => (1, json!({"errorType": "Lost"}).to_string()),
                2 if may_fail && self.faults.contains(&Fault::NoAttempt) => (4, String::new()),
                _ => (0, given.to_string()),
            };
            settled.push(Settled { token, status, body: Some(body.into_bytes()), duration_ns: 1_000 });
        }
        let (work, _) = engine.exchange(settled, 50);
        let mut cancelled = Vec::new();
        for one in work {
            match &one.task {
                Task::Cancel => cancelled.push(one.token),
                Task::Event(payload) => {
                    let given: Value = serde_json::from_slice(payload).unwrap_or_default();
                    self.counts.deliveries += 1;
                    if open(&self.witness).done.contains(&given.to_string()) {
                        return Err(format!("the function is called for {given}, whose result is durable"));
                    }
                    self.running.insert(one.token, given);
                }
                _ => {}
            }
        }
        // Cut short: it has nothing to say any more.
        cancelled.retain(|token| self.running.remove(token).is_some());
        let ended = |token| Settled { token, status: 4, body: None, duration_ns: 1_000 };
        if let (Some(engine), false) = (&self.engine, cancelled.is_empty()) {
            engine.exchange(cancelled.into_iter().map(ended).collect(), 0);
        }
        Ok(())
    }

    /// Somebody reads what tasks ask, and tells their ends: some twice, some never.
    fn answer(&mut self, may_fail: bool) {
        let asked = json!({"name": ASKED, "maximum": 10, "visibility_timeout_ms": 1_000});
        if let Ok(Some(Value::Array(messages))) = self.ask("queue.receive", &asked) {
            for message in messages {
                let body =
                    message["body"].as_str().and_then(|body| serde_json::from_str(body).ok()).unwrap_or_default();
                self.asked.insert(message["messageId"].to_string(), body);
            }
        }
        let open: Vec<(String, String)> = self
            .asked
            .iter()
            .filter(|(id, _)| !self.told.contains(*id))
            .map(|(id, body)| (id.clone(), body["token"].as_str().unwrap_or_default().to_owned()))
            .collect();
        for (id, token) in open {
            if may_fail && self.chance.one_in(3) {
                continue;
            }
            let (verb, body) = match self.chance.below(4) {
                0 if may_fail => ("task.fail", json!({"token": token, "error": "No"})),
                1 if may_fail => ("task.heartbeat", json!({"token": token})),
                _ => ("task.succeed", json!({"token": token, "output": "{}"})),
            };
            let answered = self.ask(verb, &body).ok().flatten().is_some();
            if answered && verb != "task.heartbeat" && !self.chance.one_in(8) {
                self.told.insert(id);
            }
        }
    }

    /// An operator stops an execution, or lets one go on that has failed.
    fn meddle(&mut self) {
        let Some(at) = (self.started.len() as u64).checked_sub(1) else { return };
        let (name, workflow) = self.started[self.chance.below(at + 1) as usize].clone();
        let verb = if self.chance.one_in(3) { "execution.stop" } else { "execution.redrive" };
        let _answer = self.ask(verb, &json!({"workflow": workflow, "name": name}));
    }

    fn strike(&mut self) -> Result<(), String> {
        let fault = *self.chance.pick(&[Fault::Kill, Fault::Power, Fault::Stop, Fault::Full, Fault::Broken]);
        if !self.faults.contains(&fault) {
            return Ok(());
        }
        self.counts.strikes(fault);
        match fault {
            Fault::Full if self.is_full => {
                self.store.mend();
                self.is_full = false;
                Ok(())
            }
            Fault::Full => {
                self.store.fail(1, DiskFault::Full, Repeat::Always);
                self.is_full = true;
                Ok(())
            }
            Fault::Broken => {
                self.store.fail(self.chance.between(1, 4), DiskFault::Failed, Repeat::Once);
                for _ in 0..8 {
                    self.let_pass();
                    self.turn()?;
                }
                self.crash(Fault::Kill)
            }
            fault => self.crash(fault),
        }
    }

    fn crash(&mut self, fault: Fault) -> Result<(), String> {
        let Some(engine) = self.engine.take() else { return Ok(()) };
        self.counts.crashes += 1;
        self.slots = engine.in_flight();
        if fault == Fault::Power && self.chance.one_in(2) {
            // The attempts file is written without fsync.
            self.slots.clear();
        }
        if fault == Fault::Stop {
            engine.close();
        }
        self.store = self.store.crash(if fault == Fault::Power { Crash::Power } else { Crash::Process });
        drop(engine);
        self.running.clear();
        self.is_full = false;
        let looked = self.store.reader().and_then(|mut reader| open(&self.witness).look_again(reader.as_mut()));
        looked.map_err(|error| format!("nothing can be read after the crash: {error}"))?;
        self.start()
    }

    /// Let everything come to its end, and hold what histories say against what is there.
    fn drain(&mut self) -> Result<(), String> {
        self.store.mend();
        self.is_full = false;
        self.crash(Fault::Kill)?;
        for round in 0_usize.. {
            for _ in 0..4 {
                self.work(false)?;
                self.turn()?;
            }
            self.answer(false);
            // Past every wait now and then, and else within it.
            let ms = if round.is_multiple_of(4) { 700_000 } else { 5_000 };
            self.now.mono_ns += ms * NS_PER_MS;
            self.now.wall_ms += ms;
            self.turn()?;
            let listed = self.ask("workflow.list", &json!({}))?.unwrap_or_default();
            let running =
                listed.as_array().into_iter().flatten().filter_map(|one| one["running"].as_u64()).sum::<u64>();
            if running == 0 && self.running.is_empty() && self.engine.as_ref().is_some_and(Engine::idle) {
                break;
            }
            if round > DRAINED_WITHIN {
                return Err(format!("{running} executions have not ended: {listed}"));
            }
        }
        self.check()
    }

    fn check(&mut self) -> Result<(), String> {
        for queue in [SENT, ASKED] {
            let asked = json!({"name": queue, "maximum": 10, "visibility_timeout_ms": 43_200_000});
            let mut found: BTreeMap<String, Value> = if queue == ASKED { self.asked.clone() } else { BTreeMap::new() };
            self.now.mono_ns += 43_200_000 * NS_PER_MS;
            self.turn()?;
            while let Some(Value::Array(messages)) = self.ask("queue.receive", &asked)? {
                if messages.is_empty() {
                    break;
                }
                for message in messages {
                    let body = message["body"].as_str().and_then(|body| serde_json::from_str(body).ok());
                    found.insert(message["messageId"].to_string(), body.unwrap_or_default());
                }
                self.turn()?;
            }
            let found: Vec<String> = found.values().map(Value::to_string).collect();
            let sends = open(&self.witness).sent(queue);
            let lost = more_of(&sends.told, &found);
            let unknown = more_of(&more_of(&found, &sends.told), &sends.cut_short);
            if !(lost.is_empty() && unknown.is_empty()) {
                return Err(format!(
                    "histories tell of {} messages in {queue}, and {} are there: lost {:?}, not told of {:?}",
                    sends.told.len(),
                    found.len(),
                    lost.iter().take(3).collect::<Vec<_>>(),
                    unknown.iter().take(3).collect::<Vec<_>>()
                ));
            }
            self.counts.published += found.len() as u64;
        }
        let witness = open(&self.witness);
        for events in witness.histories.values() {
            let last = events.last().map_or("", |event| event["type"].as_str().unwrap_or_default());
            let ends = ["ExecutionSucceeded", "ExecutionFailed", "ExecutionAborted", "ExecutionTimedOut"];
            if !ends.contains(&last) {
                return Err(format!("a history ends in {last}: {events:?}"));
            }
            // A task that begins once more after a redrive asks for the same name again.
            let is_redriven = events.iter().any(|event| event["type"] == "ExecutionRedriven");
            let again = events.iter().any(|event| event.to_string().contains("ExecutionAlreadyExists"));
            if again && !is_redriven {
                return Err(format!("a child execution was started twice: {events:?}"));
            }
            self.counts.ended += 1;
        }
        Ok(())
    }
}

/// What stands in one list more often than in another.
fn more_of(list: &[String], other: &[String]) -> Vec<String> {
    let mut left: BTreeMap<&str, usize> = BTreeMap::new();
    for one in other {
        *left.entry(one).or_default() += 1;
    }
    let mut more = Vec::new();
    for one in list {
        match left.get_mut(one.as_str()) {
            Some(count) if *count > 0 => *count -= 1,
            _ => more.push(one.clone()),
        }
    }
    more
}
