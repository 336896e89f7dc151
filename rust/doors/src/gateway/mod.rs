//! The gateway: HTTP APIs and the URLs of functions, on a port of their own.
//!
//! What a request means is decided in `forebay_core::gateway`. Here it is read within limits, brought to its function or to another
//! server, and answered.

mod authorize;
mod body;
mod deployment;
mod head;
mod issuers;
mod late;
mod pages;
mod proxy;
mod reply;
mod rest;
mod rest_authorize;
mod rest_test;
mod serve;
mod sockets;
mod websocket;

pub use late::LateListener;

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use forebay_engine::base::error::EngineError;
use forebay_engine::gateways::Served;
use forebay_engine::runtime::engine::Engine;
use hyper::body::Incoming;
use hyper::{Request as HttpRequest, Response};
use tokio::sync::{watch, Semaphore};

use crate::gateway::deployment::Deployment;
use crate::gateway::issuers::Issuers;
use crate::gateway::proxy::Outside;
use crate::gateway::rest::RestState;
use crate::gateway::sockets::Sockets;
use crate::http::listener::{Body, Limits, Listener, Service};
use crate::http::StartError;

/// What a client of an API may take.
const LIMITS: Limits = Limits {
    connections: 10_000,
    // Request line and headers; what headers alone may have is less, and is looked at apart.
    head_bytes: 16 * 1024,
    head: Duration::from_secs(75),
    connection: None,
    keep_alive: true,
    http2: true,
    stop_grace: Duration::from_secs(2),
};
/// Requests under way at once.
const REQUESTS_MAX: usize = 4_096;
/// Bytes of bodies that are held at once, KiB.
const BODIES_KIB_MAX: usize = 64 * 1024;

/// Where the gateway listens.
#[derive(Clone, Debug)]
pub struct Where {
    /// Name or IP address; one of this machine's.
    pub host: String,
    /// Port; 0 picks a free one.
    pub port: u16,
    /// Other machines may reach it although nothing on the way is encrypted.
    pub plain: bool,
}

impl Where {
    /// Where that is; refused when other machines reach it in plain text and nobody has said that they may.
    pub fn resolve(&self) -> Result<SocketAddr, EngineError> {
        let found = (self.host.as_str(), self.port).to_socket_addrs().ok().and_then(|mut found| found.next());
        let socket = found.ok_or_else(|| EngineError::Invalid(format!("http_host: {:?} has no address", self.host)))?;
        if !self.plain && !socket.ip().is_loopback() {
            return Err(EngineError::Invalid(format!(
                "http_host: {} is not a loopback address, and what goes over the network is not encrypted: say http_tls=False \
                 (`--http-no-tls`) if something before it does that, or use 127.0.0.1",
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
    port: u16,
    requests: Semaphore,
    bodies: Arc<Semaphore>,
    issuers: Issuers,
    outside: Outside,
    ids: reply::Ids,
    sockets: Sockets,
    rest: RestState,
    /// Itself, for connections that outlive the request that opened them.
    me: Weak<Gateway>,
    start: Instant,
}

/// Listen, and serve the APIs of an engine.
fn start(engine: &Arc<Engine>, (account, region): (&str, &str), place: &Where) -> Result<Open, EngineError> {
    let socket = place.resolve()?;
    let served = engine.apis();
    let outside = Outside::new();
    let (closing, called) = watch::channel(false);
    let gateway = Arc::new_cyclic(|me| Gateway {
        engine: Arc::downgrade(engine),
        account: account.to_owned(),
        region: region.to_owned(),
        deployment: RwLock::new(Arc::new(Deployment::new(served.now(), Arc::default(), engine.registry(), 0))),
        served,
        is_loopback: socket.ip().is_loopback(),
        port: socket.port(),
        requests: Semaphore::new(REQUESTS_MAX),
        bodies: Arc::new(Semaphore::new(BODIES_KIB_MAX)),
        issuers: Issuers::new(outside.clone()),
        outside,
        ids: reply::Ids::default(),
        sockets: Sockets::new(called),
        rest: RestState::new(engine.rest_apis()),
        me: me.clone(),
        start: Instant::now(),
    });
    let listener = Listener::start("forebay-gateway", socket, LIMITS, gateway).map_err(|error| match error {
        StartError::Listen(..) => EngineError::Invalid(format!("http_port: {error}; choose another port")),
        _ => EngineError::Invalid(format!("http_host: {error}")),
    })?;
    Ok(Open { listener, closing })
}

/// A gateway that listens.
struct Open {
    listener: Listener,
    /// Says to all connections of WebSocket APIs that the gateway closes.
    closing: watch::Sender<bool>,
}

impl Open {
    fn retire(&mut self) {
        self.closing.send_replace(true);
        self.listener.retire();
    }
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}

impl Gateway {
    fn mono_ns(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }

    /// What is served now. Requests under way keep what they began with.
    fn deployment(&self, engine: &Engine) -> Arc<Deployment> {
        let (apis, urls) = (self.served.now(), self.rest.kept().served_urls.clone());
        // Whoever panicked while it held a pointer has left a whole one.
        let known = self.deployment.read().unwrap_or_else(PoisonError::into_inner).clone();
        if Arc::ptr_eq(&known.declared, &apis) && Arc::ptr_eq(&known.urls, &urls) {
            return known;
        }
        let fresh = Arc::new(Deployment::new(apis, urls, engine.registry(), self.mono_ns()));
        self.deployment.write().unwrap_or_else(PoisonError::into_inner).clone_from(&fresh);
        fresh
    }
}

impl Service for Gateway {
    async fn answer(&self, request: HttpRequest<Incoming>, peer: SocketAddr) -> Response<Body> {
        self.serve(request, peer).await
    }

    async fn ended(&self) {
        self.sockets.ended().await;
    }
}
