//! From settings to a running end of a store: who owns the directory, which store, which doors.

use std::path::Path;
use std::sync::{mpsc, Arc, Weak};
use std::time::{Duration, Instant};

use forebay_core::Now;
use serde::Deserialize;
use serde_json::json;

use crate::base::config::Config;
use crate::base::error::{EngineError, Reply, Waiter};
use crate::base::limits::AccountSettings;
use crate::dispatch::attempt_journal::AttemptJournal;
use crate::http::{Address, Answer, Operations, Request, Routes, Server, StartError, Token};
use crate::observe::operator_events::OperatorEvent;
use crate::runtime::engine::{Engine, Parts};
use crate::socket::client::Client;
use crate::socket::server::Listener;
use crate::store::damage;
use crate::store::directory::{Directory, Ownership};
use crate::store::memory::MemoryStore;
use crate::store::port::{Durability, Store, StoreError};
use crate::store::sqlite::SqliteStore;

/// How long an owner may take to begin to listen, or to end: a busy disk takes its time to sync and to close.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// What `Engine(settings)` is given.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Settings {
    /// The app's name.
    app: String,
    /// The directory of the store, or `:memory:`.
    store: String,
    /// The app that the store must be of. Without it (a command) it may be anybody's, and is not given a name.
    #[serde(default)]
    store_app: Option<String>,
    /// AWS region of its ARNs.
    region: String,
    /// AWS account of its ARNs.
    account: String,
    /// `power-loss`, `process-crash` or `memory`: what an acknowledged event survives.
    durability: String,
    /// Whether this process owns the store: `elect` (the first comer does), true (it does, or fails) or false (it is a client).
    #[serde(default)]
    #[cfg_attr(test, schemars(with = "Option<serde_json::Value>"))]
    serve: Serve,
    /// Time moves only when it is told to.
    #[serde(default)]
    manual: bool,
    /// Where a manual monotonic clock begins.
    #[serde(default)]
    mono_ns: u64,
    /// Where a manual wall clock begins.
    #[serde(default)]
    wall_ms: u64,
    /// The chance of a manual clock.
    #[serde(default)]
    entropy: u64,
    /// The account's limits.
    #[serde(default)]
    limits: AccountSettings,
    /// Address that metrics are served at.
    #[serde(default)]
    metrics_host: Option<String>,
    /// Port that metrics are served at; 0 or absent: not.
    #[serde(default)]
    metrics_port: Option<u16>,
    /// What a scraper must give; without it only this machine may scrape.
    #[serde(default)]
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    metrics_token: Option<Token>,
    /// Whether anything is counted; false to measure what counting costs.
    #[serde(default = "yes")]
    metrics: bool,
}

fn yes() -> bool {
    true
}

/// Whether this process owns the store.
#[derive(Clone, Debug, Default)]
enum Serve {
    /// The first comer owns it, the others are clients.
    #[default]
    Elect,
    /// Own it, or fail.
    Own,
    /// Be a client of whoever owns it.
    Client,
}

impl<'de> Deserialize<'de> for Serve {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Given {
            Flag(bool),
            Word(String),
        }
        match Given::deserialize(deserializer)? {
            Given::Flag(true) => Ok(Self::Own),
            Given::Flag(false) => Ok(Self::Client),
            Given::Word(word) if word == "elect" => Ok(Self::Elect),
            Given::Word(word) => {
                Err(serde::de::Error::custom(format!("serve is {word:?}: allowed are \"elect\", true, false")))
            }
        }
    }
}

/// One process's end of a store.
pub enum End {
    /// It owns the store and runs the mappings.
    Owner(Owner),
    /// It asks the owner.
    Client(Client),
}

/// An owner: its engine and its doors.
pub struct Owner {
    /// Serves metrics, if asked to.
    http: std::sync::Mutex<Option<Server>>,
    listener: std::sync::Mutex<Option<Listener>>,
    /// The engine.
    pub engine: Arc<Engine>,
    ownership: std::sync::Mutex<Option<Ownership>>,
}

impl Owner {
    /// Close the doors, commit what is left, give the directory free.
    pub fn close(&self) {
        let mut listener = lock(&self.listener).take();
        if let Some(listener) = &mut listener {
            listener.stop_reading();
        }
        self.engine.close();
        // Now everything that was read has its answer.
        drop(listener);
        drop(lock(&self.http).take());
        drop(lock(&self.ownership).take());
    }
}

fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// The pages of an engine: gauges that are worked out on demand are brought up to date first.
struct Pages {
    engine: Weak<Engine>,
    operations: Operations,
}

impl Routes for Pages {
    fn answer(&self, request: Request<'_>) -> Option<Answer> {
        if let ("/metrics", true, Some(engine)) = (request.path, request.admitted, self.engine.upgrade()) {
            engine.show_lag();
        }
        self.operations.answer(request)
    }
}

impl Settings {
    /// Open this process's end.
    pub fn open(self) -> Result<End, EngineError> {
        // Checked here, too, because a client serves no metrics until it takes over.
        if let Some(address) = self.metrics_address() {
            address.resolve().map_err(|error| refused_address(&error))?;
        }
        let durability = match self.durability.as_str() {
            "power-loss" => Durability::PowerLoss,
            "process-crash" => Durability::ProcessCrash,
            "memory" => return self.open_memory(),
            other => {
                return Err(EngineError::Invalid(format!(
                    "durability is {other:?}: allowed are \"power-loss\", \"process-crash\", \"memory\""
                )))
            }
        };
        if self.store == ":memory:" {
            return self.open_memory();
        }
        let path = std::path::absolute(&self.store)
            .map_err(|error| EngineError::Invalid(format!("store={:?}: {error}", self.store)))?;
        if matches!(self.serve, Serve::Client) && !self.manual {
            return self.open_client(&path, durability);
        }
        if matches!(self.serve, Serve::Elect) && !self.manual {
            return self.own_or_join(&path, durability);
        }
        self.own(Directory::own(&path)?, durability)
    }

    /// Own the directory, or be a client of its owner. An owner that begins or ends holds the directory while it does not
    /// listen: it is asked again until it listens or is gone.
    fn own_or_join(&self, path: &Path, durability: Durability) -> Result<End, EngineError> {
        let until = Instant::now() + ANSWER_WITHIN;
        loop {
            match Directory::own(path) {
                Ok(ownership) => return self.own(ownership, durability),
                Err(StoreError::Locked(_)) => match self.join(path) {
                    Ok(client) => return Ok(End::Client(client)),
                    Err(error @ EngineError::Conflict(_)) => return Err(error),
                    Err(error) if Instant::now() >= until => return Err(error),
                    Err(_) => std::thread::sleep(Duration::from_millis(5)),
                },
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Connect to the owner, and make sure that the store is of the same app. An owner of an earlier release does not say whose it is.
    fn join(&self, path: &Path) -> Result<Client, EngineError> {
        let client = Client::connect(&Directory::at(path).socket_path()?)?;
        if self.store_app.is_some() {
            let (sender, answer) = mpsc::sync_channel(1);
            // Nobody hears an answer that comes too late.
            let waiter = Waiter::Call(Box::new(move |answer| drop(sender.send(answer))));
            client.request("health", b"{}", waiter);
            let silent = |_| EngineError::OwnerLost("the process that owns the store does not answer".into());
            let Reply::Json(health) = answer.recv_timeout(ANSWER_WITHIN).map_err(silent)?? else { return Ok(client) };
            let health: serde_json::Value = serde_json::from_slice(&health).unwrap_or_default();
            self.check_app(path, health["app"].as_str())?;
        }
        Ok(client)
    }

    /// Refuse a store of another app: whoever put into it for this one's functions would wait for ever, and functions of the same name
    /// would go on from each other's checkpoints.
    fn check_app(&self, path: &Path, owner: Option<&str>) -> Result<(), EngineError> {
        match (self.store_app.as_deref(), owner) {
            (Some(app), Some(owner)) if app != owner => Err(EngineError::Conflict(format!(
                "the store {} belongs to app {owner:?}, and this one is for app {app:?}. Next: give this app a directory of its own \
                 (store=), or say store_app={owner:?} to share this one on purpose, and after an app was renamed",
                path.display()
            ))),
            _ => Ok(()),
        }
    }

    /// A client; when nobody owns the directory it is taken for the life of this end, so that a command works without an app.
    fn open_client(&self, path: &Path, durability: Durability) -> Result<End, EngineError> {
        if !path.join("forebay.db").exists() {
            return Err(EngineError::NotFound(format!(
                "there is no store in {}: the app that makes it has not started yet, or keeps it elsewhere (commands take --store)",
                path.display()
            )));
        }
        self.own_or_join(path, durability)
    }

    fn open_memory(&self) -> Result<End, EngineError> {
        let store: Box<dyn Store> = Box::new(MemoryStore::new());
        let engine = Arc::new(Engine::open(self.parts(store, AttemptJournal::memory()))?);
        self.with_doors(engine, None)
    }

    fn own(&self, ownership: Ownership, durability: Durability) -> Result<End, EngineError> {
        let directory = ownership.directory().clone();
        let advised = |error| damage::advised(Some(directory.path()), error);
        let mut store = SqliteStore::open(directory.path(), durability).map_err(advised)?;
        let app = store.app(self.store_app.as_deref()).map_err(advised)?;
        self.check_app(directory.path(), app.as_deref())?;
        let (slots, found) = AttemptJournal::open(&directory.file("attempts")).map_err(advised)?;
        let damage = [("acknowledged", store.remark().map(str::to_owned)), ("attempts", found.remark())];
        let engine = Engine::open(self.parts(Box::new(store), slots)).map_err(|error| match error {
            EngineError::Store(error) => EngineError::Store(advised(error)),
            error => error,
        })?;
        let engine = Arc::new(engine);
        engine.with(|state| {
            state.ctx.directory = Some(directory.path().to_owned());
            state.ctx.app = app;
            for (file, text) in damage {
                if let Some(text) = text {
                    state.ctx.notice(OperatorEvent::Damaged, file, json!({"text": text}));
                }
            }
        });
        self.with_doors(engine, Some(ownership))
    }

    fn with_doors(&self, engine: Arc<Engine>, ownership: Option<Ownership>) -> Result<End, EngineError> {
        let http = self.metrics_address().map(|address| serve_metrics(&engine, &address)).transpose()?;
        let listener = match &ownership {
            Some(owned) if !self.manual => Some(Listener::start(&owned.directory().socket_path()?, engine.clone())?),
            _ => None,
        };
        Ok(End::Owner(Owner { http: http.into(), listener: listener.into(), engine, ownership: ownership.into() }))
    }

    fn metrics_address(&self) -> Option<Address> {
        let port = self.metrics_port.filter(|&port| port != 0)?;
        let host = self.metrics_host.clone().unwrap_or_else(|| "127.0.0.1".into());
        Some(Address { host, port, token: self.metrics_token.clone() })
    }

    fn parts(&self, store: Box<dyn Store>, slots: AttemptJournal) -> Parts {
        Parts {
            store,
            slots,
            config: Config {
                app: self.app.clone(),
                region: self.region.clone(),
                account: self.account.clone(),
                limits: self.limits,
                metrics: self.metrics,
            },
            manual: self.manual.then_some(Now { mono_ns: self.mono_ns, wall_ms: self.wall_ms, entropy: self.entropy }),
            slow_disk: false,
        }
    }
}

fn serve_metrics(engine: &Arc<Engine>, address: &Address) -> Result<Server, EngineError> {
    let weak = Arc::downgrade(engine);
    let health =
        Arc::new(move || weak.upgrade().map_or_else(|| vec!["the app is stopped".into()], |engine| engine.not_ready()));
    let operations = Operations::new(engine.registry().clone(), health);
    Server::start(address, Pages { engine: Arc::downgrade(engine), operations })
        .map_err(|error| refused_address(&error))
}

fn refused_address(error: &StartError) -> EngineError {
    match error {
        StartError::Listen(..) => {
            EngineError::Invalid(format!("metrics_port: {error}; choose another port, or 0 for no metrics over HTTP"))
        }
        _ => EngineError::Invalid(format!("metrics_host: {error}")),
    }
}
