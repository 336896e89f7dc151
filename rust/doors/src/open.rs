//! From settings to a running end of a store: who owns the directory, which store, which doors.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{mpsc, Arc, Weak};
use std::time::{Duration, Instant};

use forebay_core::Now;
use forebay_engine::api::settings::{Serve, Settings};
use forebay_engine::base::config::Config;
use forebay_engine::base::error::{EngineError, Reply, Waiter};
use forebay_engine::base::lease::Lease;
use forebay_engine::dispatch::attempt_journal::AttemptJournal;
use forebay_engine::runtime::engine::{Engine, Parts};
use forebay_engine::store::damage_advice;
use forebay_engine::store::directory::{Directory, Ownership};
use forebay_engine::store::memory::MemoryStore;
use forebay_engine::store::port::{Durability, Store, StoreError};
use forebay_engine::store::sqlite::SqliteStore;
use forebay_postgres::is_url;
use serde_json::json;

use crate::aws::door;
use crate::aws::ledger::LogTo;
use crate::gateway;
use crate::http::late::Late;
use crate::http::listener::Listener as HttpListener;
use crate::http::tls::Files;
use crate::http::{Address, Answer, Operations, Request, Routes, Server, StartError};
use crate::member::{socket_of, Member};
use crate::mutex::lock;
use crate::network;
use crate::socket::client::Client;
use crate::socket::server::{Entrance, Listener};

/// How long an owner may take to begin to listen, or to end: a busy disk takes its time to sync and to close.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// How long an owner that is asked to let go of its store may be silent, since it begins or ends.
const SILENT_WITHIN: Duration = Duration::from_secs(1);
/// How long an owner that runs nothing may take to begin to let go of a store: a command that is done, too.
const GIVEN_WAY_WITHIN: Duration = Duration::from_secs(5);

/// Where a store is that an engine runs.
pub(crate) enum Home {
    /// In a directory of this process's.
    Directory(Ownership),
    /// On a server, which several processes share.
    Server(Arc<Member>),
    /// In memory.
    Nowhere,
}

impl Home {
    /// The file of access keys, which is beside a store in a directory.
    fn keys(&self) -> Option<PathBuf> {
        match self {
            Self::Directory(owned) => Some(owned.directory().file(door::KEYS)),
            Self::Server(_) | Self::Nowhere => None,
        }
    }
}

/// One process's end of a store.
pub enum End {
    /// It owns the store and runs the mappings.
    Owner(Box<Owner>),
    /// It asks the owner.
    Client(Client),
}

/// An owner: its engine and its doors.
pub struct Owner {
    /// Serves metrics, if asked to.
    http: Late<Server>,
    /// Serves AWS's wire API, if asked to.
    aws: Late<HttpListener>,
    listener: std::sync::Mutex<Option<Listener>>,
    /// Lets processes of other machines in. It closes after the listener, which tells them its last.
    network: Late<Option<network::Listener>>,
    /// Serves APIs, if asked to.
    apis: Late<gateway::Open>,
    /// The engine.
    pub engine: Arc<Engine>,
    ownership: std::sync::Mutex<Option<Ownership>>,
    /// The process among those that share a store on a server.
    member: Option<Arc<Member>>,
}

impl Owner {
    /// Take no further request of an API; when none can be on its way, begin nothing new, and refuse the invocations that wait to begin.
    /// Tells whether it came to that: if not, it is to be called again.
    pub fn drain(&self) -> bool {
        self.apis.retire(gateway::Open::retire);
        let is_quiet = self.apis.is_so(gateway::Open::is_quiet);
        if is_quiet {
            self.engine.drain();
        }
        is_quiet
    }

    /// Grows whenever another process takes the store; `None`: none can.
    pub fn fencing_token(&self) -> Option<u64> {
        self.member.as_ref().map(|_| self.engine.epoch())
    }

    /// Close the doors, commit what is left, give the store free.
    pub fn close(&self) {
        // A thread may go on when the store was handed over or lost, and end this process yet.
        let gives_way = |member: &Member| member.hands_over() || !member.holds(self.engine.epoch());
        let leaves_some = self.member.as_ref().is_some_and(|member| gives_way(member)) && !self.engine.idle();
        if let Some(member) = &self.member {
            member.closes();
        }
        self.apis.retire(gateway::Open::retire);
        self.network.retire(|network| network.iter_mut().for_each(network::Listener::retire));
        let mut listener = lock(&self.listener).take();
        if let Some(listener) = &mut listener {
            listener.stop_reading();
        }
        self.engine.close();
        // Now everything that was read has its answer.
        drop(listener);
        self.network.close();
        self.apis.close();
        self.http.close();
        self.aws.close();
        drop(lock(&self.ownership).take());
        match &self.member {
            Some(member) if leaves_some => member.keep_attempts(self.engine.epoch()),
            Some(member) => member.forget_attempts(self.engine.epoch()),
            None => {}
        }
    }
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

/// Open this process's end. `member` is this process among those that share a store on a server; a command needs none.
pub fn open(settings: Settings, member: Option<Arc<Member>>) -> Result<End, EngineError> {
    Opening(settings).open(member)
}

/// Join the processes that share the store of these settings, which is on a server.
pub fn join(settings: Settings) -> Result<Arc<Member>, EngineError> {
    Opening(settings).join_members()
}

/// Settings that are being opened.
pub(crate) struct Opening(pub(crate) Settings);

impl Opening {
    fn open(self, member: Option<Arc<Member>>) -> Result<End, EngineError> {
        // Checked here, too, because a client serves no metrics until it takes over.
        if let Some(address) = self.metrics_address() {
            address.resolve().map_err(|error| refused_address(&error))?;
        }
        if let Some(place) = self.api_address(&Home::Nowhere) {
            if self.0.manual {
                let text = "http_port: an app whose time stands still serves no HTTP; leave the port out, or the clock";
                return Err(EngineError::Invalid(text.into()));
            }
            place.resolve()?;
        }
        if is_url(&self.0.store) {
            return self.open_on_server(member);
        }
        let Some(durability) = self.durability()? else { return self.open_memory() };
        if self.0.store == ":memory:" {
            return self.open_memory();
        }
        let path = std::path::absolute(&self.0.store)
            .map_err(|error| EngineError::Invalid(format!("store={:?}: {error}", self.0.store)))?;
        if matches!(self.0.serve, Serve::Client) && !self.0.manual {
            return self.open_client(&path, durability);
        }
        if matches!(self.0.serve, Serve::Elect) && !self.0.manual {
            return self.own_or_join(&path, durability);
        }
        let owned = if self.0.manual { Directory::own(&path)? } else { own_alone(&path)? };
        self.own(owned, durability)
    }

    /// What a commit must survive; `None`: nothing.
    pub(crate) fn durability(&self) -> Result<Option<Durability>, EngineError> {
        match self.0.durability.as_str() {
            "power-loss" => Ok(Some(Durability::PowerLoss)),
            "process-crash" => Ok(Some(Durability::ProcessCrash)),
            "memory" => Ok(None),
            other => Err(EngineError::Invalid(format!(
                "durability is {other:?}: allowed are \"power-loss\", \"process-crash\", \"memory\""
            ))),
        }
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
        if self.0.store_app.is_some() {
            let health = answered(|waiter| client.request("health", b"{}", waiter))?;
            self.check_app(path, health["app"].as_str())?;
        }
        self.want_store(&client);
        Ok(client)
    }

    /// Have an owner that runs nothing let go of the store, where this process is to own it.
    pub(crate) fn want_store(&self, client: &Client) {
        if matches!(self.0.serve, Serve::Elect) {
            client.wants_store(Waiter::Call(Box::new(drop)));
        }
    }

    /// Refuse a store of another app: whoever put into it for this one's functions would wait for ever, and functions of the same name
    /// would go on from each other's checkpoints.
    fn check_app(&self, path: &Path, owner: Option<&str>) -> Result<(), EngineError> {
        match (self.0.store_app.as_deref(), owner) {
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
        let engine = Arc::new(Engine::open(self.parts(store, AttemptJournal::memory(), Lease::default()))?);
        self.with_doors(engine, Home::Nowhere)
    }

    fn own(&self, ownership: Ownership, durability: Durability) -> Result<End, EngineError> {
        let directory = ownership.directory().clone();
        let advised = |error| damage_advice::advised(Some(directory.path()), error);
        let mut store = SqliteStore::open(directory.path(), durability).map_err(advised)?;
        let app = store.app(self.0.store_app.as_deref()).map_err(advised)?;
        self.check_app(directory.path(), app.as_deref())?;
        let (slots, found) = AttemptJournal::open(&directory.file("attempts")).map_err(advised)?;
        let damage = [("acknowledged", store.remark().map(str::to_owned)), ("attempts", found.remark())];
        let engine =
            Engine::open(self.parts(Box::new(store), slots, Lease::default())).map_err(|error| match error {
                EngineError::Store(error) => EngineError::Store(advised(error)),
                error => error,
            })?;
        let engine = Arc::new(engine);
        engine.opened(Some(directory.path()), app, &damage);
        self.with_doors(engine, Home::Directory(ownership))
    }

    pub(crate) fn with_doors(&self, engine: Arc<Engine>, home: Home) -> Result<End, EngineError> {
        let http = self.serve_metrics(&engine)?;
        let aws = self.serve_aws(&engine, &home)?;
        let socket = match &home {
            Home::Directory(owned) if !self.0.manual => Some(owned.directory().socket_path()?),
            Home::Server(member) => Some(socket_of(member.settings().member())?),
            Home::Directory(_) | Home::Nowhere => None,
        };
        let gives_way = matches!(self.0.serve, Serve::Client);
        let listener = socket.map(|path| Listener::start(&path, engine.clone(), gives_way)).transpose()?;
        let apis = self.serve_apis(&engine, &home)?;
        let network = match (&home, &listener) {
            (Home::Server(member), Some(listener)) => let_others_in(&engine, member, listener.entrance())?,
            _ => Late::none(),
        };
        let (ownership, member) = match home {
            Home::Directory(owned) => (Some(owned), None),
            Home::Server(member) => (None, Some(member)),
            Home::Nowhere => (None, None),
        };
        Ok(End::Owner(Box::new(Owner {
            http,
            aws,
            listener: listener.into(),
            network,
            apis,
            engine,
            ownership: ownership.into(),
            member,
        })))
    }

    fn api_address(&self, home: &Home) -> Option<gateway::Where> {
        let (port, ports) = (self.0.http_port.unwrap_or_default(), self.0.http_api_ports.clone());
        if port == 0 && ports.is_empty() {
            return None;
        }
        let host = self.0.http_host.clone().unwrap_or_else(|| "127.0.0.1".into());
        let keys = home.keys();
        let pools = self.0.http_user_pools.clone();
        let files = self.0.http_certificate.as_ref().zip(self.0.http_key.as_ref());
        let tls = files.map(|(certificate, key)| Files {
            certificate: certificate.into(),
            key: key.into(),
            truststore: self.0.http_truststore.clone().map(Into::into),
        });
        let format = self.0.http_access_log_format.clone().unwrap_or_else(|| "common".into());
        Some(gateway::Where {
            host,
            port,
            ports,
            plain: self.0.http_plain,
            keys,
            pools,
            tls,
            trusted: self.0.http_trusted_proxies.clone(),
            access_log: self.0.http_access_log.clone().map(|path| (path, format)),
        })
    }

    fn serve_apis(&self, engine: &Arc<Engine>, home: &Home) -> Result<Late<gateway::Open>, EngineError> {
        let Some(place) = self.api_address(home) else { return Ok(Late::none()) };
        let (begun, told) = (Arc::downgrade(engine), Arc::downgrade(engine));
        let (account, region) = (self.0.account.clone(), self.0.region.clone());
        Late::open(
            move || gateway::start(&alive(&begun)?, (&account, &region), &place),
            self.0.ports_late,
            move |error| remark(&told, error),
        )
    }

    /// Where AWS's wire API is to be, and who may use it.
    fn aws_door(&self, home: &Home) -> Result<Option<door::Settings>, EngineError> {
        let Some(port) = self.0.aws_port.filter(|&port| port != 0) else { return Ok(None) };
        let host = self.0.aws_host.as_deref().unwrap_or("127.0.0.1");
        let address = door::resolve(host, port).map_err(|error| refused_door(&error))?;
        Ok(Some(door::Settings {
            address,
            region: self.0.region.clone(),
            account: self.0.account.clone(),
            keys: home.keys(),
            access_log: self.0.aws_access_log.as_deref().map(|path| match path {
                "-" => LogTo::Stderr,
                path => LogTo::File(path.into()),
            }),
        }))
    }

    fn serve_aws(&self, engine: &Arc<Engine>, home: &Home) -> Result<Late<HttpListener>, EngineError> {
        let Some(settings) = self.aws_door(home)? else { return Ok(Late::none()) };
        let (begun, told) = (Arc::downgrade(engine), Arc::downgrade(engine));
        Late::open(
            move || door::start(&alive(&begun)?, settings.clone()).map_err(|error| refused_door(&error)),
            self.0.ports_late,
            move |error| remark(&told, error),
        )
    }

    fn serve_metrics(&self, engine: &Arc<Engine>) -> Result<Late<Server>, EngineError> {
        let Some(address) = self.metrics_address() else { return Ok(Late::none()) };
        let (begun, told) = (Arc::downgrade(engine), Arc::downgrade(engine));
        Late::open(
            move || serve_metrics(&alive(&begun)?, &address).map_err(|error| refused_address(&error)),
            self.0.ports_late,
            move |error| {
                if let Some(engine) = told.upgrade() {
                    engine.metrics_served(error.map(ToString::to_string).as_deref());
                }
            },
        )
    }

    fn metrics_address(&self) -> Option<Address> {
        let port = self.0.metrics_port.filter(|&port| port != 0)?;
        let host = self.0.metrics_host.clone().unwrap_or_else(|| "127.0.0.1".into());
        Some(Address { host, port, token: self.0.metrics_token.clone() })
    }

    pub(crate) fn parts(&self, store: Box<dyn Store>, slots: AttemptJournal, lease: Lease) -> Parts {
        Parts {
            store,
            slots,
            config: Config {
                // Ids of APIs are made of it, and all who share a store have to make the same.
                app: self.0.store_app.as_ref().unwrap_or(&self.0.app).clone(),
                region: self.0.region.clone(),
                account: self.0.account.clone(),
                limits: self.0.limits,
                metrics: self.0.metrics,
            },
            manual: self.0.manual.then_some(Now {
                mono_ns: self.0.mono_ns,
                wall_ms: self.0.wall_ms,
                entropy: self.0.entropy,
            }),
            lease,
            slow_disk: false,
        }
    }
}

/// What an owner answers.
fn answered(ask: impl FnOnce(Waiter)) -> Result<serde_json::Value, EngineError> {
    let (sender, answer) = mpsc::sync_channel(1);
    // Nobody hears an answer that comes too late.
    ask(Waiter::Call(Box::new(move |answer| drop(sender.send(answer)))));
    let silent = |_| EngineError::OwnerLost("the process that owns the store does not answer".into());
    let Reply::Json(answer) = answer.recv_timeout(ANSWER_WITHIN).map_err(silent)?? else { return Ok(json!(null)) };
    Ok(serde_json::from_slice(&answer).unwrap_or_default())
}

/// Own the directory, or fail. An owner that runs nothing is asked to let go of it, and has some time for that.
fn own_alone(path: &Path) -> Result<Ownership, EngineError> {
    let began = Instant::now();
    let (mut heard, mut silent_within) = (began, SILENT_WITHIN);
    loop {
        let refused = match Directory::own(path) {
            Err(refused @ StoreError::Locked(_)) => refused,
            owned => return Ok(owned?),
        };
        match gives_way(path) {
            // Its socket goes first when it closes.
            Some(true) if began.elapsed() < GIVEN_WAY_WITHIN => {
                (heard, silent_within) = (Instant::now(), ANSWER_WITHIN);
            }
            // It begins or ends.
            None if heard.elapsed() < silent_within => {}
            _ => return Err(refused.into()),
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Ask the owner of a directory to let go of it; whether it does. `None`: it does not answer.
fn gives_way(path: &Path) -> Option<bool> {
    let socket = Directory::at(path).socket_path().ok()?;
    let client = Client::connect(&socket).ok()?;
    match answered(|waiter| client.wants_store(waiter)) {
        Ok(gives_way) => Some(gives_way == json!(true)),
        Err(EngineError::OwnerLost(_) | EngineError::OwnerLeft(_)) => None,
        // It is of an earlier release.
        Err(_) => Some(false),
    }
}

/// Listen for processes of other machines, and say where in the database. The owner does not wait for that.
fn let_others_in(
    engine: &Arc<Engine>,
    member: &Arc<Member>,
    entrance: Arc<Entrance>,
) -> Result<Late<Option<network::Listener>>, EngineError> {
    let (told, member) = (Arc::downgrade(engine), member.clone());
    let begin = move || {
        let settings = member.settings();
        let (listener, door) = match network::Place::of(settings)? {
            Some(place) => network::Listener::start(&place, entrance.clone()).map(|(open, door)| (Some(open), door))?,
            None => (None, network::Listener::closed()),
        };
        settings.tell_door(&door, || !member.is_closing())?;
        Ok(listener)
    };
    let has_failed = AtomicBool::new(false);
    Late::soon(begin, move |error| {
        let was_closed = has_failed.swap(error.is_some(), Ordering::Relaxed);
        let text = match error {
            Some(error) => format!("processes of other machines cannot ask this one yet: {error}"),
            None if was_closed => "processes of other machines can ask this one now".into(),
            None => return,
        };
        if let Some(engine) = told.upgrade() {
            engine.remark_on_api("", &text);
        }
    })
}

/// The engine of a listener that comes later.
fn alive(engine: &Weak<Engine>) -> Result<Arc<Engine>, EngineError> {
    engine.upgrade().ok_or_else(|| EngineError::Closed("the app is stopped".into()))
}

/// Tell the operator that a port is held.
fn remark(engine: &Weak<Engine>, error: Option<&EngineError>) {
    if let (Some(engine), Some(error)) = (engine.upgrade(), error) {
        engine.remark_on_api("all", &format!("{error}; it is served as soon as that can be done"));
    }
}

fn serve_metrics(engine: &Arc<Engine>, address: &Address) -> Result<Server, StartError> {
    let weak = Arc::downgrade(engine);
    let health =
        Arc::new(move || weak.upgrade().map_or_else(|| vec!["the app is stopped".into()], |engine| engine.not_ready()));
    let operations = Operations::new(engine.registry().clone(), health);
    Server::start(address, Pages { engine: Arc::downgrade(engine), operations })
}

fn refused_door(error: &StartError) -> EngineError {
    match error {
        StartError::Listen(..) => EngineError::Invalid(format!("aws_port: {error}; choose another port")),
        StartError::AccessLog(..) => EngineError::Invalid(format!("aws_access_log: {error}")),
        _ => EngineError::Invalid(format!("aws_host: {error}")),
    }
}

fn refused_address(error: &StartError) -> EngineError {
    match error {
        StartError::Listen(..) => {
            EngineError::Invalid(format!("metrics_port: {error}; choose another port, or 0 for no metrics over HTTP"))
        }
        _ => EngineError::Invalid(format!("metrics_host: {error}")),
    }
}
