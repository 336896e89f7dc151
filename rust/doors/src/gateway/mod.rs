//! The gateway: HTTP APIs and the URLs of functions, on a port of their own.
//!
//! What a request means is decided in `forebay_core::gateway`. Here it is read within limits, brought to its function or to another
//! server, and answered.

mod access_log;
mod authorize;
mod body;
mod compress;
mod deployment;
#[cfg(feature = "failpoints")]
pub(crate) mod fuzzing;
mod going;
mod head;
mod issuers;
mod outgoing;
mod pages;
mod places;
mod proxy;
mod reply;
mod rest;
mod rest_authorize;
mod rest_run;
pub(crate) mod rest_test;
mod serve;
mod signers;
mod sockets;
mod trail;
mod turns;
mod websocket;

use std::collections::BTreeMap;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock, PoisonError, RwLock, Weak};
use std::time::{Duration, Instant};

use forebay_core::gateway::forwarded::Trusted;
use forebay_engine::api::settings::ApiPort;
use forebay_engine::base::error::EngineError;
use forebay_engine::gateways::requests::Requests;
use forebay_engine::gateways::{PageToken, Served};
use forebay_engine::runtime::engine::Engine;
use hyper::body::Incoming;
use hyper::{Request as HttpRequest, Response};
use tokio::sync::{watch, Semaphore};

use crate::aws::inside::Inside;
use crate::gateway::access_log::AccessLog;
use crate::gateway::deployment::Deployment;
use crate::gateway::going::{Going, Left, LEFT_MAX};
use crate::gateway::issuers::Issuers;
use crate::gateway::places::Places;
use crate::gateway::proxy::Outside;
use crate::gateway::rest::RestState;
use crate::gateway::signers::Signers;
use crate::gateway::sockets::Sockets;
use crate::http::listener::{Body, Least, Limits, Listener, Service, LINGER};
use crate::http::tls::{Files, Tls};
use crate::http::StartError;

/// What a client of an API may take.
const LIMITS: Limits = Limits {
    connections: 10_000,
    // Request line and headers; what headers alone may have is less, and is looked at apart.
    head_bytes: 16 * 1024,
    idle: Duration::from_secs(75),
    head: Duration::from_secs(10),
    connection: None,
    keep_alive: true,
    http2: true,
    spelling: true,
    // As slow as a body may come, an answer may be taken.
    taken: Some(Least { bytes: 75 * 1024, within: Duration::from_secs(75) }),
    stop_grace: Duration::from_secs(2),
};
/// Bytes of bodies that are held at once, KiB.
const BODIES_KIB_MAX: usize = 64 * 1024;

/// Where the gateway listens.
#[derive(Clone, Debug, Default)]
pub struct Where {
    /// Name or IP address; one of this machine's.
    pub host: String,
    /// The port of all APIs; 0: there is none.
    pub port: u16,
    /// Ports behind which one API is alone.
    pub ports: Vec<ApiPort>,
    /// Other machines may reach it although nothing on the way is encrypted.
    pub plain: bool,
    /// The file of the app's access keys.
    pub keys: Option<PathBuf>,
    /// The issuers of user pools' tokens, by the pools' ids, where they are not Cognito's own.
    pub pools: BTreeMap<String, String>,
    /// What it speaks TLS with.
    pub tls: Option<Files>,
    /// Who is believed where a request comes from.
    pub trusted: Vec<String>,
    /// The access log's file and format.
    pub access_log: Option<(String, String)>,
}

impl Where {
    /// Where that is; refused when other machines reach it in plain text and nobody has said that they may.
    pub fn resolve(&self) -> Result<SocketAddr, EngineError> {
        let found = (self.host.as_str(), self.port).to_socket_addrs().ok().and_then(|mut found| found.next());
        let socket = found.ok_or_else(|| EngineError::Invalid(format!("http_host: {:?} has no address", self.host)))?;
        if self.tls.is_none() && !self.plain && !socket.ip().is_loopback() {
            return Err(EngineError::Invalid(format!(
                "http_host: {} is not a loopback address, and what goes over the network is not encrypted: give a certificate \
                 (http_tls=(certificate, key), `--http-certificate`), say http_tls=False (`--http-no-tls`) if something before it \
                 encrypts, or use 127.0.0.1",
                socket.ip()
            )));
        }
        Ok(socket)
    }
}

/// Who answers the requests of all APIs.
pub(crate) struct Gateway {
    engine: Weak<Engine>,
    account: String,
    region: String,
    served: Arc<Served>,
    deployment: RwLock<Arc<Deployment>>,
    is_loopback: bool,
    /// Where it listens for all APIs.
    address: OnceLock<SocketAddr>,
    is_tls: bool,
    /// APIs that look at the certificates of their clients themselves: nobody reaches them at the port of all.
    guarded: Vec<ApiPort>,
    trusted: Trusted,
    access_log: Option<AccessLog>,
    /// What `forebay why` tells of the newest requests.
    noted: Arc<Requests>,
    /// What opens the pages for whoever works on this machine.
    token: Arc<PageToken>,
    places: Places,
    bodies: Arc<Semaphore>,
    issuers: Issuers,
    outside: Outside,
    ids: reply::Ids,
    sockets: Sockets,
    /// Requests whose clients have left.
    left: Left,
    rest: RestState,
    /// Who asks the services of this process for methods.
    inside: Inside,
    signers: Signers,
    /// The issuers of user pools' tokens, by the pools' ids, where they are not Cognito's own.
    pools: BTreeMap<String, String>,
    /// Itself, for connections that outlive the request that opened them.
    me: Weak<Gateway>,
    start: Instant,
}

/// Listen, and serve the APIs of an engine.
pub(crate) fn start(engine: &Arc<Engine>, names: (&str, &str), place: &Where) -> Result<Open, EngineError> {
    let socket = place.resolve()?;
    let trusted = Trusted::parse(&place.trusted).map_err(EngineError::Invalid)?;
    let access_log = place.access_log.as_ref().map(|(path, format)| AccessLog::open(path, format, engine.registry()));
    let access_log = access_log.transpose().map_err(EngineError::Invalid)?;
    let (closing, called) = watch::channel(false);
    let gateway = Gateway::new(engine, names, (place, socket), called, (trusted, access_log));
    let mut listeners = Vec::with_capacity(1 + place.ports.len());
    let of_all = tls(engine, place, None)?;
    if place.port != 0 {
        let all = Door { gateway: gateway.clone(), port: place.port, alone: None };
        let listener = listen(socket, of_all.clone(), all, "http_port")?;
        gateway.address.get_or_init(|| listener.address());
        listeners.push(listener);
    }
    for own in &place.ports {
        let alone = if own.is_rest { Alone::Rest(own.api.clone()) } else { Alone::Api(own.api.clone()) };
        let one = Door { gateway: gateway.clone(), port: own.port, alone: Some(Arc::new(alone)) };
        let tls = if own.truststore.is_some() { tls(engine, place, Some(own))? } else { of_all.clone() };
        let option = format!("the port of API {:?}", own.name);
        listeners.push(listen(SocketAddr::new(socket.ip(), own.port), tls, one, &option)?);
    }
    Ok(Open { listeners, closing, retired: None })
}

/// What the port of all APIs speaks TLS with, or that of one API, which may have authorities of clients that are its own.
fn tls(engine: &Arc<Engine>, place: &Where, own: Option<&ApiPort>) -> Result<Option<Arc<Tls>>, EngineError> {
    let truststore = own.and_then(|own| own.truststore.as_ref());
    let Some(files) = &place.tls else {
        let of = own.map(|own| format!(" of API {:?}", own.name)).unwrap_or_default();
        let text = "clients show certificates over TLS alone: give http_tls=(certificate, key) (`--http-certificate`, `--http-key`)";
        return truststore.map_or(Ok(None), |_| Err(EngineError::Invalid(format!("truststore{of}: {text}"))));
    };
    let mut files = files.clone();
    if let Some(own) = truststore {
        files.truststore = Some(own.into());
    }
    let (told, of) = (Arc::downgrade(engine), own.map(|own| own.name.clone()).unwrap_or_default());
    let tell = move |text: &str| {
        if let Some(engine) = told.upgrade() {
            engine.remark_on_api(&of, text);
        }
    };
    let tls = Tls::open(files, tell).map_err(EngineError::Invalid)?;
    Ok(Some(Arc::new(tls)))
}

fn listen(at: SocketAddr, tls: Option<Arc<Tls>>, door: Door, option: &str) -> Result<Listener, EngineError> {
    Listener::start_over("forebay-gateway", at, LIMITS, tls, Arc::new(door)).map_err(|error| match error {
        StartError::Listen(..) => EngineError::Invalid(format!("{option}: {error}; choose another port")),
        _ => EngineError::Invalid(format!("http_host: {error}")),
    })
}

/// A port, and who is behind it: all APIs, or one.
#[derive(Clone)]
struct Door {
    gateway: Arc<Gateway>,
    port: u16,
    alone: Option<Arc<Alone>>,
}

/// The only API behind a port.
enum Alone {
    /// An HTTP or a WebSocket API, by its id.
    Api(String),
    /// A REST API, by its name.
    Rest(String),
}

/// A gateway that listens.
pub(crate) struct Open {
    listeners: Vec<Listener>,
    /// Says to all connections of WebSocket APIs that the gateway closes.
    closing: watch::Sender<bool>,
    retired: Option<Instant>,
}

impl Open {
    /// Take no further request. Returns at once.
    pub(crate) fn retire(&mut self) {
        self.retired.get_or_insert_with(Instant::now);
        self.closing.send_replace(true);
        self.listeners.iter_mut().for_each(Listener::retire);
    }

    /// Whether no request can be on its way any more that was sent before its client could know that the gateway has retired.
    pub(crate) fn is_quiet(&self) -> bool {
        self.retired.is_some_and(|at| at.elapsed() >= LINGER) || self.listeners.iter().all(Listener::is_over)
    }
}

impl Gateway {
    fn new(
        engine: &Arc<Engine>,
        (account, region): (&str, &str),
        (place, socket): (&Where, SocketAddr),
        called: watch::Receiver<bool>,
        (trusted, access_log): (Trusted, Option<AccessLog>),
    ) -> Arc<Self> {
        let served = engine.apis();
        let operator = Arc::downgrade(engine);
        let told = move |dropped: u64| {
            if let Some(engine) = operator.upgrade() {
                engine.remark_on_api(
                    "",
                    &format!("{dropped} requests whose clients have left were dropped: {LEFT_MAX} others went on"),
                );
            }
        };
        let outside = Outside::new();
        Arc::new_cyclic(|me| Self {
            engine: Arc::downgrade(engine),
            account: account.to_owned(),
            region: region.to_owned(),
            deployment: RwLock::new(Arc::new(Deployment::new(
                (served.now(), Arc::default()),
                engine.registry(),
                0,
                None,
            ))),
            served,
            is_loopback: socket.ip().is_loopback(),
            is_tls: place.tls.is_some(),
            guarded: place.ports.iter().filter(|own| own.truststore.is_some()).cloned().collect(),
            trusted,
            access_log,
            noted: engine.api_requests(),
            token: engine.page_token(),
            address: OnceLock::new(),
            places: Places::default(),
            bodies: Arc::new(Semaphore::new(BODIES_KIB_MAX)),
            issuers: Issuers::new(outside.clone()),
            outside,
            ids: reply::Ids::default(),
            sockets: Sockets::new(called),
            left: Left::new(told),
            rest: RestState::new(engine.rest_apis()),
            inside: Inside::new(account, region),
            signers: Signers::new(place.keys.clone()),
            pools: place.pools.clone(),
            me: me.clone(),
            start: Instant::now(),
        })
    }

    /// A gateway that listens nowhere: it runs methods for tests.
    pub(crate) fn tester(engine: &Arc<Engine>, names: (&str, &str)) -> Arc<Self> {
        let place = Where { host: "127.0.0.1".into(), ..Where::default() };
        let (_, called) = watch::channel(true);
        Self::new(engine, names, (&place, SocketAddr::from(([127, 0, 0, 1], 0))), called, (Trusted::default(), None))
    }

    /// Whether an API is served at its own port alone.
    fn is_guarded(&self, is_rest: bool, api: &str) -> bool {
        self.guarded.iter().any(|own| own.is_rest == is_rest && own.api == api)
    }

    fn mono_ns(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }

    /// Where this gateway listens, if a URL names an API or a function of its own: only AWS's servers of names know such a host.
    fn home(&self, engine: &Engine, url: &str) -> Option<SocketAddr> {
        let uri: hyper::Uri = url.parse().ok()?;
        let host = uri.host()?.to_ascii_lowercase();
        if self.is_tls {
            return None;
        }
        let is_own = self.deployment(engine).apis.has_host(&host) || self.rest.has_host(&host);
        let mut address = self.address.get().copied().filter(|_| is_own)?;
        if address.ip().is_unspecified() {
            address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
        }
        Some(address)
    }

    /// What is served now. Requests under way keep what they began with.
    fn deployment(&self, engine: &Engine) -> Arc<Deployment> {
        let (apis, urls) = (self.served.now(), self.rest.kept().served_urls.clone());
        // Whoever panicked while it held a pointer has left a whole one.
        let known = self.deployment.read().unwrap_or_else(PoisonError::into_inner).clone();
        if Arc::ptr_eq(&known.declared, &apis) && Arc::ptr_eq(&known.urls, &urls) {
            return known;
        }
        let fresh = Arc::new(Deployment::new((apis, urls), engine.registry(), self.mono_ns(), Some(&known)));
        self.deployment.write().unwrap_or_else(PoisonError::into_inner).clone_from(&fresh);
        fresh
    }
}

impl Service for Door {
    async fn answer(&self, request: HttpRequest<Incoming>, peer: SocketAddr) -> Response<Body> {
        let door = self.clone();
        let request = async move { serve::serve(&door.gateway, request, peer, &door).await };
        Going::begin(request, &self.gateway.left).await
    }

    async fn ended(&self) {
        self.gateway.sockets.ended().await;
        self.gateway.left.ended().await;
    }
}
