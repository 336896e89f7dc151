//! The lives of the process: how it starts, how it ends, what it leaves.

use std::sync::PoisonError;

use forebay_engine::base::config::Config;
use forebay_engine::base::lease::Lease;
use forebay_engine::base::limits::{AccountSettings, FunctionLimits};
use forebay_engine::dispatch::attempt_journal::{AttemptJournal, InFlight};
use forebay_engine::dispatch::functions::Registration;
use forebay_engine::runtime::engine::{Engine, Parts};
use forebay_engine::store::fault::{Crash, FaultStore};
use forebay_engine::store::port::{Durability, Store as _};
use serde_json::{json, Value};

use super::queues::bytes_of;
use super::{Event, World, NS_PER_MS};
use crate::ledger::Ending;
use crate::ledger::Moment;
use crate::ledger::Promise;
use crate::plan::Fault;
use crate::plan::Sabotage;
use crate::shape::DESTINATION;
use crate::watched::open;
use crate::watched::Watched;

/// Steps of a disk within which a question must be answered.
const ANSWERED_WITHIN: usize = 20;

impl World {
    /// Start the process, and declare everything as an app does.
    pub(super) fn start(&mut self) {
        if self.engine.is_some() {
            return;
        }
        self.lives += 1;
        self.born_ns = self.time_ns;
        self.mono_start_ns = self.chance.entropy.below(1 << 40);
        self.disk_waits = false;
        self.store_failed = false;
        let store = Watched {
            store: self.store.clone(),
            ledger: self.ledger.clone(),
            drops_failures: self.plan.sabotage == Some(Sabotage::SilentDrop),
            writes: Vec::new(),
        };
        let suspects: u64 = self.old_slots.iter().map(|slot| (slot.last + 1).saturating_sub(slot.first)).sum();
        self.suspects_over = open(&self.ledger).counts.batches + suspects;
        let now = self.now();
        open(&self.ledger).begins_life(Moment { time_ns: self.time_ns, wall_ms: now.wall_ms });
        let parts = Parts {
            store: Box::new(store),
            slots: AttemptJournal::left_by(&std::mem::take(&mut self.old_slots)),
            config: Config {
                app: "simulated".into(),
                region: "local".into(),
                account: "000000000000".into(),
                limits: AccountSettings::of(self.shape.concurrency as u32),
                metrics: self.shape.metrics,
            },
            manual: Some(now),
            lease: Lease::default(),
            slow_disk: self.shape.slow_disk,
        };
        match Engine::open(parts) {
            Ok(engine) => self.engine = Some(engine),
            Err(error) => return self.broken(Promise::Liveness, format!("the store does not open: {error}")),
        }
        self.turn();
        self.register();
        for stream in 0..self.shape.streams.len() {
            let plan = &self.shape.streams[stream];
            let body = json!({"name": plan.name, "shards": plan.shards, "retention_ms": plan.retention_ms,
                "retention_bytes": plan.retention_bytes});
            self.ask("stream.declare", &body);
        }
        for function in 0..self.shape.functions.len() {
            self.declare(function);
        }
        self.declare_queues();
        self.declare_topics();
        if let Some(Err(error)) = self.engine.as_ref().map(Engine::start) {
            self.broken(Promise::Liveness, format!("the engine does not start: {error}"));
        }
    }

    /// Register functions and the destination.
    pub(super) fn register(&mut self) {
        let Some(engine) = &self.engine else { return };
        let readers = self.shape.functions.len() + self.shape.queues.len();
        let functions = self.shape.handlers().enumerate().map(|(id, handler)| {
            let callee = id.checked_sub(readers).map(|callee| &self.shape.callees[callee]);
            if let Some(callee) = callee {
                open(&self.ledger).serves(&handler.name, &callee.settings);
            }
            let asynchronous = callee.and_then(|callee| serde_json::from_value(callee.settings.to_json()).ok());
            let limits = self.shape.limits[id];
            ("function", &*handler.name, Some(handler.timeout_ms), asynchronous, limits)
        });
        let destination = ("destination", DESTINATION, None, None, FunctionLimits::default());
        let registered =
            functions.chain([destination]).try_for_each(|(kind, name, timeout_ms, asynchronous, limits)| {
                let registration = Registration {
                    kind: kind.into(),
                    name: name.into(),
                    timeout_ms,
                    wants: Some("batch".into()),
                    isolation: Some("task".into()),
                    asynchronous,
                    limits,
                    environment: None,
                    at_once: None,
                    invocation_rate: None,
                    is_latest: false,
                };
                engine.register(&registration).map(drop)
            });
        if let Err(error) = registered {
            self.broken(Promise::Liveness, format!("a function cannot be registered: {error}"));
        }
    }

    /// Declare a function's mapping.
    pub(super) fn declare(&mut self, function: usize) {
        let plan = &self.shape.functions[function];
        let stream = self.shape.streams[plan.stream].name.clone();
        let settings = crate::settings::Settings { enabled: !self.paused[function], ..plan.settings.clone() };
        open(&self.ledger).declares(&stream, &plan.handler.name, &settings);
        self.ask("mapping.declare", &settings.to_json(&stream, &plan.handler.name, DESTINATION));
    }

    /// Ask, and let the disk work until there is an answer; `None` when the disk is full or broken meanwhile.
    pub(super) fn ask(&mut self, verb: &str, body: &Value) -> Option<Value> {
        let engine = self.engine.as_ref()?;
        let heard = std::sync::Arc::new(std::sync::Mutex::new(None));
        let ear = heard.clone();
        let waiter = forebay_engine::base::error::Waiter::Call(Box::new(move |answer| {
            *ear.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
        }));
        engine.request(verb, &bytes_of(body), waiter);
        for _ in 0..ANSWERED_WITHIN {
            if heard.lock().unwrap_or_else(PoisonError::into_inner).is_some() || !engine.disk_busy() {
                break;
            }
            engine.disk_done();
        }
        let answer = heard.lock().unwrap_or_else(PoisonError::into_inner).take();
        match answer {
            Some(Ok(forebay_engine::base::error::Reply::Json(json))) => serde_json::from_slice(&json).ok(),
            Some(Ok(_) | Err(forebay_engine::base::error::EngineError::Store(_))) => None,
            Some(Err(error)) => {
                self.broken(Promise::Liveness, format!("{verb} {body} was refused: {error}"));
                None
            }
            None if self.full => None,
            None => {
                self.broken(Promise::Liveness, format!("{verb} {body} was not answered"));
                None
            }
        }
    }

    /// The store failed: somebody will look after it.
    pub(super) fn lose_store(&mut self) {
        if !self.store_failed {
            self.store_failed = true;
            open(&self.ledger).disk_is_ill = true;
            let delay_ns = self.chance.acts.below(2_000) * NS_PER_MS;
            self.after(delay_ns, Event::Mend);
        }
    }

    /// A record has killed the process.
    pub(super) fn kill_by(&mut self, token: forebay_engine::dispatch::attempts::Token) {
        if self.running(token).is_some() && self.may(Fault::Killer) {
            self.crash(Ending::Kill);
            self.restart_later();
        } else {
            self.end(token);
        }
    }

    pub(super) fn restart_later(&mut self) {
        let delay_ns = self.chance.acts.below(3_000) * NS_PER_MS;
        self.after(delay_ns, Event::Start);
    }

    /// Stop in order: hand out nothing, let handlers end, interrupt the rest, commit.
    pub(super) fn stop(&mut self) {
        let Some(engine) = &self.engine else { return };
        engine.drain();
        let life = self.lives;
        let grace_ns = self.chance.acts.below(4_000) * NS_PER_MS;
        let until_ns = self.time_ns + grace_ns;
        while !open(&self.ledger).is_quiet() && self.time_ns < until_ns {
            let next = self.events.peek().map_or(until_ns, |std::cmp::Reverse((at, _, _))| *at);
            if next > until_ns {
                break;
            }
            self.step();
            // Something else has ended it first.
            if self.engine.is_none() || self.lives > life {
                return;
            }
        }
        self.interrupt_all();
        self.exchange();
        self.crash(Ending::Stop);
    }

    /// The process ends. What it had in memory is gone; the ledger compares what the next one finds.
    pub(super) fn crash(&mut self, ending: Ending) {
        let Some(engine) = self.engine.take() else { return };
        let in_flight = engine.in_flight();
        if ending == Ending::Stop {
            // A stop commits what it has; the store is closed in order.
            engine.close();
        }
        let found = self.slots_found(ending, in_flight);
        self.store = match ending {
            Ending::Stop | Ending::Kill => self.store.crash(Crash::Process),
            Ending::PowerCut | Ending::LossyPowerCut => self.store.crash(Crash::Power),
        };
        drop(engine);
        self.forget_process();
        open(&self.ledger).forget_turns();
        if ending == Ending::LossyPowerCut {
            // That somebody received them may be forgotten: receipts mean nothing any more.
            self.hands.fill(None);
        }
        let read = self.store.reader().and_then(|mut reader| {
            let lies = self.plan.sabotage == Some(Sabotage::LostAck) && ending == Ending::LossyPowerCut;
            let told = if lies { Ending::PowerCut } else { ending };
            open(&self.ledger).crashed(told, &found, reader.as_mut())
        });
        if let Err(error) = read {
            self.broken(Promise::DurableAck, format!("nothing can be read after the crash: {error}"));
        }
        self.old_slots = found;
    }

    /// The attempts file is written without fsync: after a power cut it may be an older one, or empty.
    fn slots_found(&mut self, ending: Ending, in_flight: Vec<InFlight>) -> Vec<InFlight> {
        match ending {
            Ending::Stop | Ending::Kill => in_flight,
            Ending::PowerCut | Ending::LossyPowerCut => {
                if self.chance.acts.one_in(2) {
                    in_flight
                } else {
                    Vec::new()
                }
            }
        }
    }

    /// What belonged to the process: its handlers, its timers, its calls.
    fn forget_process(&mut self) {
        self.running.clear();
        self.settled.clear();
        self.due_ns = None;
        self.disk_waits = false;
        let kept = std::mem::take(&mut self.events);
        let outlives = |event: &Event| {
            !matches!(event, Event::Ends { .. } | Event::Kill { .. } | Event::Disk | Event::Brim { .. } | Event::Fall)
        };
        self.events = kept.into_iter().filter(|std::cmp::Reverse((_, _, event))| outlives(event)).collect();
    }

    /// How a power cut ends the process.
    pub(super) fn power_cut(&self) -> Ending {
        let durability = if self.shape.lossy { Durability::ProcessCrash } else { Durability::PowerLoss };
        match (durability, self.plan.sabotage) {
            (Durability::ProcessCrash, _) | (_, Some(Sabotage::LostAck)) => Ending::LossyPowerCut,
            (Durability::PowerLoss, _) => Ending::PowerCut,
        }
    }

    /// The store of the present life.
    pub(super) fn disk(&self) -> &FaultStore {
        &self.store
    }
}
