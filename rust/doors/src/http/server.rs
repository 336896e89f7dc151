//! The server of metrics and health: an address, who is let in, what is refused.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use forebay_engine::base::host::names_loopback;
use forebay_engine::base::token::Token;
use hyper::body::Incoming;
use hyper::header::{
    HeaderValue, ACCEPT, ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HOST, TRANSFER_ENCODING,
    WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Method, Request as HttpRequest, Response, StatusCode};
use serde_json::json;

use crate::http::listener::{whole, Body, Limits, Listener, Service};
use crate::http::{Answer, Request, Routes};

/// What a connection of a probe or a scraper may take.
pub(crate) const LIMITS: Limits = Limits {
    connections: 128,
    head_bytes: 16 * 1024,
    idle: Duration::from_secs(10),
    head: Duration::from_secs(10),
    connection: Some(Duration::from_secs(30)),
    keep_alive: false,
    http2: false,
    spelling: false,
    taken: None,
    stop_grace: Duration::from_secs(1),
};

/// Where to listen.
#[derive(Clone, Debug)]
pub struct Address {
    /// Name or IP address; one of this machine's.
    pub host: String,
    /// Port; 0 picks a free one.
    pub port: u16,
    /// What lets somebody in. An address that other machines reach has one.
    pub token: Option<Token>,
}

impl Address {
    /// Where that is; refused when other machines reach it and it has no token.
    pub fn resolve(&self) -> Result<SocketAddr, StartError> {
        let no_address = || StartError::NoAddress(self.host.clone());
        let found = (self.host.as_str(), self.port).to_socket_addrs().map_err(|_| no_address())?.next();
        let socket = found.ok_or_else(no_address)?;
        if self.token.is_none() && !socket.ip().is_loopback() {
            return Err(StartError::NotLoopback(socket.ip()));
        }
        Ok(socket)
    }
}

/// Why the server does not run.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The host is not loopback, and nobody would be asked for a token.
    #[error(
        "{0} is not a loopback address: give a token as well, that not everybody who reaches it reads the metrics \
         (`start(metrics_token=...)`, or FOREBAY_METRICS_TOKEN for `forebay run`), or use 127.0.0.1"
    )]
    NotLoopback(IpAddr),
    /// AWS's wire API would be open to other machines, and nobody would need a key.
    #[error(
        "{0} is not a loopback address: make an access key first, that not everybody who reaches it may use it (`{1}`), \
         or use 127.0.0.1"
    )]
    NoKeys(IpAddr, String),
    /// The name means no address.
    #[error("the host {0:?} has no address")]
    NoAddress(String),
    /// The port is taken, the address is not this machine's, and so on.
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, #[source] io::Error),
    /// The file of the access log cannot be opened.
    #[error("the access log {} cannot be opened: {}", .0.display(), .1)]
    AccessLog(PathBuf, #[source] io::Error),
    /// The operating system gave no thread or event queue.
    #[error("cannot start the HTTP thread: {0}")]
    Thread(#[from] io::Error),
}

/// Serves the pages of an operator: each connection is one request. It stops when this is dropped.
#[derive(Debug)]
pub struct Server(Listener);

impl Server {
    /// Listen, and answer on a thread of its own.
    pub fn start(address: &Address, routes: impl Routes) -> Result<Self, StartError> {
        let socket = address.resolve()?;
        let door = Door { routes, token: address.token.clone(), loopback: socket.ip().is_loopback() };
        Ok(Self(Listener::start("forebay-http", socket, LIMITS, Arc::new(door))?))
    }

    /// Where it listens, with the port that was picked.
    pub fn address(&self) -> SocketAddr {
        self.0.address()
    }

    /// Take no further request, let answers under way end, and wait for the thread: a second or so at most.
    pub fn stop(&mut self) {
        self.0.stop();
    }
}

pub(crate) struct Door<R> {
    pub(crate) routes: R,
    pub(crate) token: Option<Token>,
    pub(crate) loopback: bool,
}

impl<R: Routes> Service for Door<R> {
    async fn answer(&self, request: HttpRequest<Incoming>, _: SocketAddr) -> Response<Body> {
        self.respond(&request)
    }
}

impl<R: Routes> Door<R> {
    fn respond(&self, request: &HttpRequest<Incoming>) -> Response<Body> {
        let answer = self.find(request);
        let mut response = Response::new(whole(answer.body));
        *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(answer.content_type));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if answer.status == 405 {
            headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        if answer.status == 401 {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }

    fn find(&self, request: &HttpRequest<Incoming>) -> Answer {
        let refuse = |status, reason| Answer::json(status, &json!({ "error": reason }));
        let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if request.headers().get_all(HOST).iter().count() > 1 {
            return refuse(400, "a request names one host");
        }
        if self.loopback && !names_loopback(header(HOST)) {
            return refuse(421, "this server answers under 127.0.0.1, [::1] and localhost only");
        }
        if ![Method::GET, Method::HEAD].contains(request.method()) {
            return refuse(405, "only GET and HEAD are answered");
        }
        if request.headers().contains_key(TRANSFER_ENCODING) || !["", "0"].contains(&header(CONTENT_LENGTH)) {
            return refuse(413, "a request must not have a body");
        }
        let admitted = self.token.as_ref().is_none_or(|token| token.admits(header(AUTHORIZATION)));
        let asked = Request { path: request.uri().path(), accept: header(ACCEPT), admitted };
        self.routes.answer(asked).unwrap_or_else(|| refuse(404, "there is nothing at this path"))
    }
}
