//! How long a connection keeps its place: until it says something, between two requests, while a head comes, and until it is closed.
//!
//! hyper has one clock for the silence before a request of HTTP/1 and for its head: it sets it when it begins to wait for a head, and
//! throws it away when the head is there. It is given one here that never rings, and whose life says when hyper waits. What rings is one
//! alarm of each connection, which is not set anew for each request.

use std::collections::HashMap;
use std::future::{poll_fn, Future};
use std::io;
use std::pin::{pin, Pin};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{ready, Context, Poll};
use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::body::{Bytes, Frame, SizeHint};
use hyper::header::{HeaderValue, CONNECTION};
use hyper::rt::{Sleep, Timer};
use hyper::{Response, StatusCode};
use tokio::sync::watch;
use tokio::time::{sleep, timeout, Instant};

use crate::http::listener::{Body, LINGER};
use crate::mutex::lock;

/// How long a client may take to end a connection that has nothing to do.
const LEAVE_MAX: Duration = Duration::from_secs(1);
/// Most bytes of an answer of HTTP/2 that are given away at once: what is given is not known to be taken.
const PIECE_BYTES: usize = 64 * 1024;

/// What a connection and its requests know of its end.
pub(crate) struct End {
    ends: watch::Receiver<()>,
    begun: Instant,
    /// How long it may be without a request, and an answer of HTTP/2 without a client that takes some of it.
    idle: Duration,
    /// How long a head of HTTP/1 may take from its first byte on.
    head: Duration,
    is_http2: AtomicBool,
    /// Requests of HTTP/2 that are under way, with the bodies of their answers.
    streams: AtomicU32,
    /// How many there were.
    streams_ever: AtomicU64,
    /// Those that would send something and must wait for their client: since when, in ns since the beginning.
    stalled: Mutex<HashMap<u64, u64>>,
    /// When the last request was answered, or the last stream ended; this and the times below in ns since the beginning.
    answered_ns: AtomicU64,
    /// Since when hyper waits for a head of HTTP/1; 0: it does not.
    waits_ns: AtomicU64,
    /// Whether something of that head has come.
    has_come: AtomicBool,
    /// When that was seen first; 0: not yet.
    came_ns: AtomicU64,
}

/// A request of HTTP/2 that is under way, with its number.
pub(crate) struct Stream(Arc<End>, u64);

impl Stream {
    /// The body of its answer, with which it ends.
    pub(crate) fn around(self, body: Body) -> Body {
        self.stalls();
        OfStream { body, rest: Bytes::new(), stream: self }.boxed()
    }

    /// What has been given to it waits for its client, or what will be.
    fn stalls(&self) {
        lock(&self.0.stalled).insert(self.1, self.0.now_ns());
    }

    fn flows(&self) {
        lock(&self.0.stalled).remove(&self.1);
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.flows();
        self.0.rest();
        self.0.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The body of an answer to a request of HTTP/2. It is asked for more when its client takes more.
struct OfStream {
    body: Body,
    /// What is there and was not given away.
    rest: Bytes,
    stream: Stream,
}

impl hyper::body::Body for OfStream {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = &mut *self;
        if this.rest.is_empty() {
            let Poll::Ready(polled) = Pin::new(&mut this.body).poll_frame(context) else {
                this.stream.flows();
                return Poll::Pending;
            };
            match polled.map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(data))) => this.rest = data,
                Some(Ok(Err(other))) => return Poll::Ready(Some(Ok(other))),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
        this.stream.stalls();
        let piece = this.rest.split_to(this.rest.len().min(PIECE_BYTES));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (mut hint, rest) = (self.body.size_hint(), self.rest.len() as u64);
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper + rest);
        }
        hint.set_lower(hint.lower() + rest);
        hint
    }
}

/// What hyper is given for a clock.
pub(crate) struct Clock(pub(crate) Arc<End>);

impl Timer for Clock {
    fn sleep(&self, _: Duration) -> Pin<Box<dyn Sleep>> {
        self.0.waits();
        Box::pin(Waiting(Arc::clone(&self.0)))
    }

    fn sleep_until(&self, _: std::time::Instant) -> Pin<Box<dyn Sleep>> {
        self.sleep(Duration::ZERO)
    }

    /// The time is asked for to say when the clock rings, which it does not.
    fn now(&self) -> std::time::Instant {
        self.0.begun.into_std()
    }
}

/// hyper waits for a head as long as this lives.
struct Waiting(Arc<End>);

impl Future for Waiting {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

impl Sleep for Waiting {}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waits_ns.store(0, Ordering::Relaxed);
    }
}

impl End {
    pub(crate) fn new(ends: watch::Receiver<()>, idle: Duration, head: Duration) -> Self {
        Self {
            ends,
            begun: Instant::now(),
            idle,
            head,
            is_http2: AtomicBool::new(false),
            streams: AtomicU32::new(0),
            streams_ever: AtomicU64::new(0),
            stalled: Mutex::default(),
            answered_ns: AtomicU64::new(0),
            waits_ns: AtomicU64::new(0),
            has_come: AtomicBool::new(false),
            came_ns: AtomicU64::new(0),
        }
    }

    pub(crate) fn speaks_http2(&self) {
        self.is_http2.store(true, Ordering::Relaxed);
    }

    /// The time, which is never 0.
    fn now_ns(&self) -> u64 {
        (self.begun.elapsed().as_nanos() as u64).max(1)
    }

    fn at(&self, ns: u64) -> Instant {
        self.begun + Duration::from_nanos(ns)
    }

    /// hyper begins to wait for a head.
    fn waits(&self) {
        self.has_come.store(false, Ordering::Relaxed);
        self.came_ns.store(0, Ordering::Relaxed);
        self.waits_ns.store(self.now_ns(), Ordering::Relaxed);
    }

    /// Something has come over the connection.
    pub(crate) fn comes_in(&self) {
        self.has_come.store(true, Ordering::Relaxed);
    }

    fn rest(&self) {
        self.answered_ns.store(self.now_ns(), Ordering::Relaxed);
    }

    /// A request has come; what stands for it while it is under way, where that is looked at.
    pub(crate) fn asked(self: &Arc<Self>, is_http1: bool) -> Option<Stream> {
        if is_http1 {
            return None;
        }
        self.streams.fetch_add(1, Ordering::Relaxed);
        Some(Stream(Arc::clone(self), self.streams_ever.fetch_add(1, Ordering::Relaxed)))
    }

    /// A request has its answer; one that is the last of its connection says so.
    pub(crate) fn answered(&self, response: &mut Response<Body>, is_http1: bool) {
        self.rest();
        // Whoever could say so is gone: that says it.
        if is_http1 && self.ends.has_changed().is_err() && response.status() != StatusCode::SWITCHING_PROTOCOLS {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
    }

    /// For how long the next request may still be on its way.
    fn linger(&self) -> Duration {
        let answered = self.at(self.answered_ns.load(Ordering::Relaxed));
        LINGER.saturating_sub(answered.elapsed())
    }

    /// Wait until the listener retires and no request can be on its way any more. What a client has sent before it could know of that is
    /// answered: a connection that is closed in its face would have lost it.
    pub(crate) async fn comes(&self) {
        // Whoever could say so is gone: that says it.
        let _ = self.ends.clone().changed().await;
        sleep(self.linger()).await;
    }

    fn has_streams(&self) -> bool {
        self.streams.load(Ordering::Relaxed) > 0
    }

    /// Since when an answer waits for its client, the longest of them.
    fn stalled(&self) -> Option<u64> {
        lock(&self.stalled).values().min().copied()
    }

    /// Whether the client has taken too long.
    fn is_too_long(&self) -> bool {
        self.until().is_some_and(|until| until <= Instant::now())
    }

    /// Until when the client may go on as it does; `None`: it waits for its answer.
    fn until(&self) -> Option<Instant> {
        if self.is_http2.load(Ordering::Relaxed) {
            let answered = self.answered_ns.load(Ordering::Relaxed);
            let since = if self.has_streams() { self.stalled() } else { Some(answered) };
            return since.map(|ns| self.at(ns) + self.idle);
        }
        let waits = self.waits_ns.load(Ordering::Relaxed);
        if waits == 0 {
            return None;
        }
        if !self.has_come.load(Ordering::Relaxed) {
            return Some(self.at(waits) + self.idle);
        }
        let mut came = self.came_ns.load(Ordering::Relaxed);
        if came == 0 {
            came = self.now_ns();
            self.came_ns.store(came, Ordering::Relaxed);
        }
        Some(self.at(came) + self.head)
    }
}

/// Go on with a connection until it has ended, or its client has taken too long; whether that was so.
async fn outlasts<C: Future>(mut connection: Pin<&mut C>, end: &End) -> bool {
    let mut alarm = pin!(sleep(end.idle));
    poll_fn(|context| {
        // An error here is the client's: it sent no HTTP, or went away.
        if connection.as_mut().poll(context).is_ready() {
            return Poll::Ready(false);
        }
        loop {
            let until = end.until();
            if let Some(sooner) = until.filter(|until| *until < alarm.deadline()) {
                alarm.as_mut().reset(sooner);
            }
            ready!(alarm.as_mut().poll(context));
            let now = Instant::now();
            if until.is_some_and(|until| until <= now) {
                return Poll::Ready(true);
            }
            alarm.as_mut().reset(until.unwrap_or(now + end.idle));
        }
    })
    .await
}

/// Have the conversation of a connection, and close it after the answers under way when its listener retires. One that has nothing to say,
/// or says it too slowly, is closed, too.
pub(crate) async fn converse<C: Future>(mut connection: Pin<&mut C>, end: &End, close: impl FnOnce(Pin<&mut C>)) {
    let mut ends = end.ends.clone();
    let is_silent = tokio::select! {
        is_silent = outlasts(connection.as_mut(), end) => Some(is_silent),
        _ = ends.changed() => None,
    };
    match is_silent {
        // HTTP/1 has no word for it.
        Some(is_silent) => {
            if is_silent && end.is_http2.load(Ordering::Relaxed) {
                close(connection.as_mut());
                // One that was told so and does not end it is cut off.
                while timeout(LEAVE_MAX, connection.as_mut()).await.is_err() && !end.is_too_long() {}
            }
        }
        None => {
            tokio::select! {
                _ = outlasts(connection.as_mut(), end) => return,
                () = sleep(end.linger()) => {}
            }
            close(connection.as_mut());
            outlasts(connection, end).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{SocketAddr, TcpStream};
    use std::thread;

    use hyper::body::Incoming;
    use hyper::Request;

    use super::*;
    use crate::http::listener::{whole, Limits, Listener, Service};

    const HEAD: Duration = Duration::from_millis(100);
    const LIMITS: Limits = Limits {
        connections: 8,
        head_bytes: 16 * 1024,
        idle: Duration::from_secs(20),
        head: HEAD,
        connection: None,
        keep_alive: true,
        http2: true,
        spelling: true,
        taken: None,
        stop_grace: Duration::ZERO,
    };
    const PIECE: Duration = Duration::from_millis(10);

    /// Takes longer to answer than a head may take to come.
    struct Late;

    impl Service for Late {
        async fn answer(&self, _: Request<Incoming>, _: SocketAddr) -> Response<Body> {
            sleep(HEAD * 2).await;
            Response::new(whole("late"))
        }
    }

    /// Answers with the request's path at once.
    struct Echo;

    impl Service for Echo {
        async fn answer(&self, request: Request<Incoming>, _: SocketAddr) -> Response<Body> {
            Response::new(whole(request.uri().path().to_owned()))
        }
    }

    fn listen(limits: Limits, service: impl Service) -> (Listener, TcpStream) {
        let listener = Listener::start("test", ([127, 0, 0, 1], 0).into(), limits, Arc::new(service)).unwrap();
        let wire = TcpStream::connect(listener.address()).unwrap();
        wire.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        (listener, wire)
    }

    /// Send a request and read its answer's body, which has as many bytes as its path.
    fn ask(wire: &mut TcpStream, path: &str) -> String {
        write!(wire, "GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        answer(wire, path.len())
    }

    fn answer(wire: &mut TcpStream, length: usize) -> String {
        let mut read = Vec::new();
        let mut byte = [0];
        while !read.ends_with(b"\r\n\r\n") {
            wire.read_exact(&mut byte).unwrap();
            read.push(byte[0]);
        }
        let mut body = vec![0; length];
        wire.read_exact(&mut body).unwrap();
        String::from_utf8(body).unwrap()
    }

    /// Send these bytes one by one, slowly; how long it took until the other side ended the connection.
    fn dribble(wire: &mut TcpStream, bytes: impl Iterator<Item = u8>) -> Duration {
        let begun = std::time::Instant::now();
        wire.set_read_timeout(Some(PIECE)).unwrap();
        for byte in bytes {
            if wire.write_all(&[byte]).is_err() {
                return begun.elapsed();
            }
            match wire.read(&mut [0]) {
                Ok(0) => return begun.elapsed(),
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return begun.elapsed(),
                Ok(_) => panic!("there was an answer"),
                Err(_) => {}
            }
        }
        panic!("all was sent and the connection is open after {:?}", begun.elapsed());
    }

    fn head() -> impl Iterator<Item = u8> {
        b"GET / HTTP/1.1\r\nX: ".iter().copied().chain(std::iter::repeat_n(b'x', 400))
    }

    #[test]
    fn a_head_that_dribbles_is_cut_off_where_an_idle_connection_stays() {
        let (listener, mut idle) = listen(LIMITS, Echo);
        let mut silent = TcpStream::connect(listener.address()).unwrap();
        assert_eq!(ask(&mut idle, "/a"), "/a");
        let mut fresh = TcpStream::connect(listener.address()).unwrap();
        let took = dribble(&mut fresh, head());
        assert!((HEAD..HEAD * 20).contains(&took), "{took:?}");
        // A later head of a connection has no more time.
        let mut known = TcpStream::connect(listener.address()).unwrap();
        assert_eq!(ask(&mut known, "/b"), "/b");
        let took = dribble(&mut known, head());
        assert!((HEAD..HEAD * 20).contains(&took), "{took:?}");
        let mut preface = TcpStream::connect(listener.address()).unwrap();
        let took = dribble(&mut preface, b"PRI * HTTP/2.0\r\n\r\nSM".iter().copied());
        assert!((HEAD..HEAD * 20).contains(&took), "{took:?}");
        for (wire, path) in [(&mut idle, "/c"), (&mut silent, "/d")] {
            assert_eq!(ask(wire, path), path);
        }
    }

    #[test]
    fn a_connection_without_a_request_is_closed() {
        let (_listener, mut wire) = listen(Limits { idle: HEAD, head: HEAD * 100, ..LIMITS }, Echo);
        assert_eq!(ask(&mut wire, "/a"), "/a");
        thread::sleep(HEAD / 2);
        // Its time counts from the answer, which this thread may read late.
        let begun = std::time::Instant::now();
        assert_eq!(ask(&mut wire, "/b"), "/b");
        assert_eq!(wire.read(&mut [0]).unwrap(), 0);
        assert!(begun.elapsed() >= HEAD, "{:?}", begun.elapsed());
    }

    #[test]
    fn whoever_waits_for_its_answer_is_not_cut_off() {
        let (_listener, mut wire) = listen(Limits { idle: HEAD, ..LIMITS }, Late);
        // What comes meanwhile is the beginning of the next head.
        wire.write_all(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTT").unwrap();
        thread::sleep(PIECE);
        wire.write_all(b"P/1.1\r\nHos").unwrap();
        assert_eq!(answer(&mut wire, 4), "late");
        wire.write_all(b"t: a\r\n\r\n").unwrap();
        assert_eq!(answer(&mut wire, 4), "late");
    }

    #[test]
    fn a_head_under_way_ends_in_time_when_the_listener_retires() {
        let (mut listener, mut wire) = listen(LIMITS, Echo);
        wire.write_all(b"GET / HTTP/1.1\r\n").unwrap();
        thread::sleep(PIECE);
        listener.retire();
        let begun = std::time::Instant::now();
        wire.read_to_end(&mut Vec::new()).unwrap();
        assert!(begun.elapsed() < HEAD * 20, "{:?}", begun.elapsed());
    }
}
