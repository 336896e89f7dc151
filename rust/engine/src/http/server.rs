//! The server itself: an address, a thread, limits.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{
    HeaderValue, ACCEPT, ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HOST, TRANSFER_ENCODING,
    WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use hyper::rt::{Read, Write};
use hyper::{Method, Request as HttpRequest, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::{oneshot, Semaphore};
use tokio::time::{sleep, timeout};

use crate::http::{Answer, Request, Routes, Token};

/// Connections served at once; a further one waits to be accepted.
const CONNECTIONS_MAX: u32 = 128;
/// A request's head must be complete within this time.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection, answer included, ends within this time.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(30);
/// Greatest size of a request's head, bytes.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// How long answers under way may take when the server stops.
const STOP_GRACE: Duration = Duration::from_secs(1);

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
    /// The name means no address.
    #[error("the host {0:?} has no address")]
    NoAddress(String),
    /// The port is taken, the address is not this machine's, and so on.
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, #[source] io::Error),
    /// The operating system gave no thread or event queue.
    #[error("cannot start the HTTP thread: {0}")]
    Thread(#[from] io::Error),
}

/// A running server. It stops when this is dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Listen, and answer on a thread of its own.
    pub fn start(address: &Address, routes: impl Routes) -> Result<Self, StartError> {
        let socket = address.resolve()?;
        let listener = std::net::TcpListener::bind(socket).map_err(|error| StartError::Listen(socket, error))?;
        listener.set_nonblocking(true)?;
        let bound = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        let (stop, stopped) = oneshot::channel();
        let token = address.token.clone();
        let door = Arc::new(Door { routes, token, loopback: bound.ip().is_loopback() });
        let thread = thread::Builder::new()
            .name("forebay-http".into())
            .spawn(move || runtime.block_on(serve(listener, door, stopped)))?;
        Ok(Self { address: bound, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens, with the port that was picked.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Take no further request, let answers under way end, and wait for the thread: a second or so at most.
    pub fn stop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported on standard error; stopping goes on.
            let _ = thread.join();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn serve<R: Routes>(listener: std::net::TcpListener, door: Arc<Door<R>>, mut stopped: oneshot::Receiver<()>) {
    let Ok(listener) = TcpListener::from_std(listener) else { return };
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX as usize));
    loop {
        let next = async {
            let place = Arc::clone(&permits).acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            _ = &mut stopped => break,
            next = next => next,
        };
        match accepted {
            Ok((stream, _)) => {
                let door = Arc::clone(&door);
                tokio::spawn(async move {
                    // Past the deadline the connection is cut; the client sees that itself.
                    let _ = timeout(CONNECTION_TIMEOUT, door.converse(TokioIo::new(stream))).await;
                    drop(place);
                });
            }
            // Too many open files, or a client that has gone again: neither is the listener's fault.
            Err(_) => sleep(Duration::from_millis(50)).await,
        }
    }
    drop(listener);
    let _ = timeout(STOP_GRACE, permits.acquire_many(CONNECTIONS_MAX)).await;
}

pub(crate) struct Door<R> {
    pub(crate) routes: R,
    pub(crate) token: Option<Token>,
    pub(crate) loopback: bool,
}

impl<R: Routes> Door<R> {
    /// Answer what comes over one connection.
    pub(crate) async fn converse(&self, stream: impl Read + Write + Unpin) {
        let service = hyper::service::service_fn(|request| {
            let response = self.respond(&request);
            async { Ok::<_, Infallible>(response) }
        });
        // An error here is the client's: it sent no HTTP, or went away.
        let _ = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(HEAD_BYTES_MAX)
            .keep_alive(false)
            .serve_connection(stream, service)
            .await;
    }

    fn respond(&self, request: &HttpRequest<Incoming>) -> Response<Full<Bytes>> {
        let answer = self.answer(request);
        let mut response = Response::new(Full::from(answer.body));
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

    fn answer(&self, request: &HttpRequest<Incoming>) -> Answer {
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

/// A page of the web that has its own name resolved to this machine (DNS rebinding) must not read anything.
pub(crate) fn names_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    bare.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}
