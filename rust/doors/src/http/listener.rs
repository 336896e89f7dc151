//! The listener: an address, a thread, connections within limits, HTTP/1.1 and HTTP/2 on one port.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::pin::pin;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use forebay_core::gateway::client_cert::ClientCert;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Collected, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{HeaderMap, HeaderValue, CONNECTION, EXPECT};
use hyper::rt::{Read, Write};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response, Version};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch, Semaphore};
use tokio::time::{sleep, timeout, timeout_at, Instant};

use crate::http::begun::Begun;
use crate::http::patience::{converse, Clock, End};
use crate::http::server::StartError;
use crate::http::spelling::{Heard, Listened};
pub use crate::http::taking::Least;
use crate::http::taking::Taking;
use crate::http::tls::{self, Tls};

/// The body of an answer: whole, or piece by piece.
pub type Body = BoxBody<Bytes, io::Error>;

/// A body that is there already.
pub fn whole(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never: Infallible| match never {}).boxed()
}

/// Read the body of a request; `None` if it is longer than `most` bytes, or the client went away.
pub async fn read(body: Incoming, most: usize) -> Option<Bytes> {
    Limited::new(body, most).collect().await.ok().map(Collected::to_bytes)
}

/// How long, and how much, is read of a body that is not taken.
const DISCARD: Duration = Duration::from_secs(2);
const DISCARD_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Read what a client goes on to send, for a moment: a connection that is closed before would take the answer with it.
pub(crate) async fn discard(mut body: impl hyper::body::Body<Data = Bytes> + Unpin) {
    let until = Instant::now() + DISCARD;
    let mut left = DISCARD_BYTES_MAX;
    while let Ok(Some(Ok(frame))) = timeout_at(until, body.frame()).await {
        left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
        if left == 0 {
            return;
        }
    }
}

/// Whether a client sends its body only when it is told to go on. hyper tells it so when the body is read first.
pub(crate) fn holds_back(headers: &HeaderMap) -> bool {
    headers.get(EXPECT).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

/// Stands in the extensions of each request of a connection that its service takes for a stranger's.
#[derive(Clone, Copy, Debug)]
pub struct Stranger;

/// What stands behind a listener. It is called on the listener's thread, and must not block it.
pub trait Service: Send + Sync + 'static {
    /// Answer a request of somebody at this address.
    fn answer(&self, request: Request<Incoming>, peer: SocketAddr) -> impl Future<Output = Response<Body>> + Send;

    /// Whether a connection of somebody at this address is a stranger's. It is asked once, as soon as the connection has been accepted.
    fn is_stranger(&self, _peer: SocketAddr) -> bool {
        false
    }

    /// Wait, when the listener stops, for what outlives its request: a connection that speaks another protocol now.
    fn ended(&self) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }
}

/// What a listener and its connections may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections served at once; a further one waits to be accepted.
    pub connections: u32,
    /// Greatest size of a request's head, bytes.
    pub head_bytes: usize,
    /// A connection must begin to speak within this time, and may be without a request for so long.
    pub idle: Duration,
    /// A request's head must be complete so long after its first byte.
    pub head: Duration,
    /// A connection, answers included, ends within this time.
    pub connection: Option<Duration>,
    /// Whether a connection may have more than one request.
    pub keep_alive: bool,
    /// Whether HTTP/2 is spoken, too, by clients that know it beforehand.
    pub http2: bool,
    /// Whether it is kept how the names of headers were spelled: [`Heard`] stands in each request's extensions then.
    pub spelling: bool,
    /// How much of what waits for it a client takes at least; `None`: it may let everything wait.
    pub taken: Option<Least>,
    /// How long answers under way may take when the listener stops, and not only retires.
    pub stop_grace: Duration,
}

/// How long after its last answer a connection stays open when the listener retires.
pub(crate) const LINGER: Duration = Duration::from_millis(100);
/// How long a handshake of TLS may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Requests of one connection of HTTP/2 at once.
const STREAMS_MAX: u32 = 128;

/// A running listener. It stops when this is dropped.
#[derive(Debug)]
pub struct Listener {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    cut: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Listener {
    /// Listen at an address of this machine, and answer on a thread of this name.
    pub fn start(
        name: &str,
        address: SocketAddr,
        limits: Limits,
        service: Arc<impl Service>,
    ) -> Result<Self, StartError> {
        Self::start_over(name, address, limits, None, service)
    }

    /// The same over TLS, where what accepts its connections is given.
    pub(crate) fn start_over(
        name: &str,
        address: SocketAddr,
        limits: Limits,
        tls: Option<Arc<Tls>>,
        service: Arc<impl Service>,
    ) -> Result<Self, StartError> {
        let listener = StdListener::bind(address).map_err(|error| StartError::Listen(address, error))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        let (stop, stopped) = oneshot::channel();
        let (cut, cuts) = oneshot::channel();
        let thread = thread::Builder::new()
            .name(name.into())
            .spawn(move || runtime.block_on(serve(listener, limits, (tls, service), (stopped, cuts))))?;
        Ok(Self { address, stop: Some(stop), cut: Some(cut), thread: Some(thread) })
    }

    /// Where it listens, with the port that was picked.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Take no further connection and no further request, and let answers under way end. Returns at once.
    pub fn retire(&mut self) {
        self.stop = None;
    }

    /// Whether it has retired, and all its connections have ended.
    pub(crate) fn is_over(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Take no further request, let answers under way end within the limits' grace, and wait for the thread.
    pub fn stop(&mut self) {
        self.stop = None;
        self.cut = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported on standard error; stopping goes on.
            let _ = thread.join();
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn serve<S: Service>(
    listener: StdListener,
    limits: Limits,
    (tls, service): (Option<Arc<Tls>>, Arc<S>),
    (mut stopped, cuts): (oneshot::Receiver<()>, oneshot::Receiver<()>),
) {
    let Ok(listener) = TcpListener::from_std(listener) else { return };
    let connections = Arc::new(Semaphore::new(limits.connections as usize));
    let (ending, ends) = watch::channel(());
    if let Some(tls) = tls.clone() {
        // It ends with the thread's runtime.
        tokio::spawn(async move { tls.look_on().await });
    }
    loop {
        let next = async {
            let admitted = Arc::clone(&connections).acquire_owned().await;
            (admitted, listener.accept().await)
        };
        let (admitted, accepted) = tokio::select! {
            _ = &mut stopped => break,
            next = next => next,
        };
        match accepted {
            Ok((stream, peer)) => {
                // An answer in many small pieces must not wait for the client's acknowledgements; where that cannot be set, it is slower.
                let _ = stream.set_nodelay(true);
                let (service, tls) = (Arc::clone(&service), tls.clone());
                let is_stranger = service.is_stranger(peer);
                let told = Told { ends: ends.clone(), heard: None, client: None, is_http2: false, is_stranger };
                let stream = Taking::new(stream, limits.taken);
                tokio::spawn(async move {
                    // Boxed: a future that is moved before it is awaited stands in its task's future more than once, and one with TLS
                    // is larger than what other connections need.
                    let conversation = Box::pin(async move {
                        match tls {
                            Some(tls) => Box::pin(secured(tls, stream, peer, limits, (service, told))).await,
                            None => listened(stream, peer, limits, service, told).await,
                        }
                    });
                    match limits.connection {
                        // Past the deadline the connection is cut; the client sees that itself.
                        Some(within) => drop(timeout(within, conversation).await),
                        None => conversation.await,
                    }
                    drop(admitted);
                });
            }
            // Too many open files, or a client that has gone again: neither is the listener's fault.
            Err(_) => sleep(Duration::from_millis(50)).await,
        }
    }
    drop(listener);
    drop(ending);
    let cut = async {
        // Whoever could say so is gone: that says it, too.
        let _ = cuts.await;
        sleep(limits.stop_grace).await;
    };
    let all = async {
        let _every_place = connections.acquire_many(limits.connections).await;
        service.ended().await;
    };
    tokio::select! {
        () = all => {}
        () = cut => {}
    }
}

/// Hold a connection over TLS.
async fn secured<S: Service>(
    tls: Arc<Tls>,
    stream: Taking<TcpStream>,
    peer: SocketAddr,
    limits: Limits,
    (service, told): (Arc<S>, Told),
) {
    // A handshake that fails, or takes too long, is the client's.
    let Ok(Ok(stream)) = timeout(HANDSHAKE, tls.acceptor().accept(stream)).await else { return };
    let agreed = stream.get_ref().1;
    let is_http2 = agreed.alpn_protocol() == Some(b"h2");
    if let Ok(client) = tls::client(agreed) {
        let told = Told { client: client.map(Arc::new), is_http2, ..told };
        listened(stream, peer, limits, service, told).await;
    }
}

/// Hold a connection; where that is wanted, hear how the names of headers are spelled.
async fn listened<S: Service>(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: SocketAddr,
    limits: Limits,
    service: Arc<S>,
    told: Told,
) {
    if limits.spelling && !told.is_http2 {
        let heard = Heard::default();
        let stream = TokioIo::new(Listened::new(stream, heard.clone()));
        hold(stream, peer, limits, service, Told { heard: Some(heard), ..told }).await;
    } else {
        hold(TokioIo::new(stream), peer, limits, service, told).await;
    }
}

/// What is known of a connection before its first request.
struct Told {
    /// Ends when the listener retires.
    ends: watch::Receiver<()>,
    /// How the names of its headers are spelled.
    heard: Option<Heard>,
    /// Who its client is.
    client: Option<Arc<ClientCert>>,
    /// Whether its client has agreed on HTTP/2.
    is_http2: bool,
    /// Whether its client is a stranger to the service.
    is_stranger: bool,
}

/// Answer what comes over one connection, and end it after the answers under way when `ends` says so. A client that has agreed on HTTP/2
/// speaks nothing else.
async fn hold<S: Service>(
    stream: impl Read + Write + Unpin + Send + 'static,
    peer: SocketAddr,
    limits: Limits,
    service: Arc<S>,
    Told { ends, heard, client, is_http2, is_stranger }: Told,
) {
    let end = Arc::new(End::new(ends, limits.idle, limits.head));
    let of_requests = Arc::clone(&end);
    let answer = service_fn(move |mut request: Request<Incoming>| {
        let (service, end) = (Arc::clone(&service), Arc::clone(&of_requests));
        if let Some(heard) = &heard {
            request.extensions_mut().insert(heard.clone());
        }
        if is_stranger {
            request.extensions_mut().insert(Stranger);
        }
        if let Some(client) = &client {
            request.extensions_mut().insert(client.clone());
        }
        async move {
            let is_http1 = request.version() < Version::HTTP_2;
            let stream = end.asked(is_http1);
            let holds_back = is_http1 && holds_back(request.headers());
            let mut response = service.answer(request, peer).await;
            // A body that was refused may not come: nobody could tell where the next request begins.
            if holds_back && response.status().as_u16() >= 400 {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            end.answered(&mut response, is_http1);
            Ok::<_, Infallible>(match stream {
                None => response,
                Some(stream) => response.map(|body| stream.around(body)),
            })
        }
    });
    let mut stream = Begun::new(stream, Arc::clone(&end));
    let is_http2 = is_http2
        || limits.http2 && {
            let begins = async {
                timeout(limits.idle, stream.begin()).await.ok()?.ok()?;
                timeout(limits.head, stream.is_http2()).await.ok()?.ok()
            };
            tokio::select! {
                biased;
                // Who says nothing in time, or has gone, is not answered.
                begun = begins => match begun { Some(is_http2) => is_http2, None => return },
                () = end.comes() => return,
            }
        };
    if is_http2 {
        end.speaks_http2();
        let mut builder = http2::Builder::new(TokioExecutor::new());
        let head_bytes = u32::try_from(limits.head_bytes).unwrap_or(u32::MAX);
        builder.timer(TokioTimer::new()).max_header_list_size(head_bytes).max_concurrent_streams(STREAMS_MAX);
        // Boxed: it is larger than what the other connections need.
        let mut connection = Box::pin(builder.serve_connection(stream, answer));
        converse(connection.as_mut(), &end, http2::Connection::graceful_shutdown).await;
    } else {
        let mut builder = http1::Builder::new();
        builder
            .timer(Clock(Arc::clone(&end)))
            .header_read_timeout(limits.idle)
            .max_buf_size(limits.head_bytes)
            .keep_alive(limits.keep_alive);
        let connection = pin!(builder.serve_connection(stream, answer).with_upgrades());
        converse(connection, &end, http1::UpgradeableConnection::graceful_shutdown).await;
    }
}

/// Answer what comes over one connection that nothing ends from outside.
#[cfg(feature = "failpoints")]
pub(crate) async fn converse_alone<S: Service>(
    stream: impl Read + Write + Unpin + Send + 'static,
    peer: SocketAddr,
    limits: Limits,
    service: Arc<S>,
) {
    let (_open, ends) = watch::channel(());
    hold(stream, peer, limits, service, Told { ends, heard: None, client: None, is_http2: false, is_stranger: false })
        .await;
}

#[cfg(test)]
mod tests {
    use tokio::io::{duplex, AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
    use tokio::runtime::Builder;

    use super::*;

    const PATIENCE: Duration = Duration::from_millis(200);
    const LIMITS: Limits = Limits {
        connections: 1,
        head_bytes: 16 * 1024,
        idle: PATIENCE,
        head: PATIENCE,
        connection: None,
        keep_alive: true,
        http2: true,
        spelling: false,
        taken: None,
        stop_grace: Duration::ZERO,
    };
    /// What a client of HTTP/2 begins with, and the acknowledgement of the server's settings.
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\0\x04\x01\0\0\0\0";
    /// `GET /` of localhost as stream 1, without a body.
    const GET: &[u8] = b"\0\0\x0e\x01\x05\0\0\0\x01\x82\x86\x84\x41\x09localhost";

    /// Answers later than a client that says nothing may wait.
    struct Late;

    impl Service for Late {
        async fn answer(&self, _: Request<Incoming>, _: SocketAddr) -> Response<Body> {
            sleep(PATIENCE * 3).await;
            Response::new(whole("late"))
        }
    }

    const LARGE: usize = 1 << 20;

    /// Answers with more than a client takes that opens no window.
    struct Large;

    impl Service for Large {
        async fn answer(&self, _: Request<Incoming>, _: SocketAddr) -> Response<Body> {
            Response::new(whole(vec![7; LARGE]))
        }
    }

    fn talk<T>(client: impl AsyncFnOnce(DuplexStream) -> T) -> T {
        talk_to(Late, client)
    }

    /// Talk to a listener with a client; what that gives.
    fn talk_to<T>(service: impl Service, client: impl AsyncFnOnce(DuplexStream) -> T) -> T {
        let runtime = Builder::new_current_thread().enable_time().build().unwrap();
        let (server, other) = duplex(64 * 1024);
        let (_open, ends) = watch::channel(());
        let told = Told { ends, heard: None, client: None, is_http2: false, is_stranger: false };
        let peer = SocketAddr::from(([127, 0, 0, 1], 1));
        runtime.block_on(async {
            let served = hold(TokioIo::new(server), peer, LIMITS, Arc::new(service), told);
            tokio::join!(served, client(other)).1
        })
    }

    #[test]
    fn a_client_that_says_nothing_is_sent_away() {
        for said in [&b""[..], &PREFACE[..5], PREFACE] {
            let least = talk(async |mut wire| {
                let begun = Instant::now();
                wire.write_all(said).await.unwrap();
                wire.read_to_end(&mut Vec::new()).await.unwrap();
                begun.elapsed()
            });
            assert!(least >= PATIENCE, "{said:?}: {least:?}");
        }
    }

    #[test]
    fn whoever_takes_nothing_of_an_answer_of_http2_is_sent_away() {
        // A window of no bytes, and as much as a window of 64 KiB lets through.
        let closed = b"\0\0\x06\x04\0\0\0\0\0\0\x04\0\0\0\0";
        for settings in [&closed[..], b""] {
            let (read, took) = talk_to(Large, async |mut wire| {
                let begun = Instant::now();
                wire.write_all(&[PREFACE, settings, GET].concat()).await.unwrap();
                let mut read = Vec::new();
                wire.read_to_end(&mut read).await.unwrap();
                (read.len(), begun.elapsed())
            });
            assert!(read < LARGE && took >= PATIENCE && took < PATIENCE * 20, "{read} {took:?}");
        }
    }

    #[test]
    fn whoever_waits_for_an_answer_of_http2_is_not() {
        let read = talk(async |mut wire| {
            wire.write_all(&[PREFACE, GET].concat()).await.unwrap();
            let mut read = Vec::new();
            wire.read_to_end(&mut read).await.unwrap();
            read
        });
        assert!(read.windows(4).any(|part| part == b"late"), "{read:?}");
    }
}
