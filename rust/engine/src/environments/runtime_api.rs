//! The Lambda Runtime API: how an environment of any language asks for work and answers. One endpoint for each environment,
//! on loopback, on a thread of its own.
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{HeaderMap, HeaderValue, CONTENT_TYPE, HOST};
use hyper::rt::{Read, Write};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::sync::{oneshot, Notify, Semaphore};

use crate::base::host::names_loopback;
use crate::base::ids::uuid_text;
use crate::base::limits::RESPONSE_BYTES_MAX;
use crate::base::trace::x_ray;
use crate::dispatch::attempts::Task;
use crate::dispatch::program::Program;
use crate::environments::frame::Said;
use crate::environments::mailbox::{Invocation, Mailbox};
use crate::payload::event::Qualifier;
use crate::payload::kinesis_event::write_kinesis_event;

/// Where the API's paths begin.
const BASE: &str = "/2018-06-01/runtime/";
/// Connections of one environment; a further one waits to be accepted.
const CONNECTIONS_MAX: usize = 16;

/// The engine's side of an endpoint.
#[derive(Debug)]
pub(crate) struct Endpoint {
    address: SocketAddr,
    pending: Arc<PendingInvocations>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Endpoint {
    /// Listen. What the environment says is told by the ring of its mailbox.
    pub(crate) fn start(mailbox: Arc<Mailbox>, program: &Program) -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let pending = Arc::new(PendingInvocations::new(mailbox, program.function_arn.clone()));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        let (stop, stopped) = oneshot::channel();
        let served = pending.clone();
        let thread = std::thread::Builder::new().name("forebay-runtime-api".into());
        let thread = thread.spawn(move || runtime.block_on(serve(listener, served, stopped)))?;
        Ok(Self { address, pending, stop: Some(stop), thread: Some(thread) })
    }

    /// `AWS_LAMBDA_RUNTIME_API`
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Give an invocation to whoever asks next.
    pub(crate) fn give(&self, invocation: &Invocation) {
        self.pending.give(invocation);
    }

    /// The next thing that was said.
    pub(crate) fn said(&self) -> Option<Said> {
        self.pending.said()
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported on standard error; ending goes on.
            let _ended = thread.join();
        }
    }
}

#[derive(Debug)]
struct NextInvocation {
    id: String,
    /// Told apart from an earlier invocation with the same request id.
    nonce: String,
    deadline_ms: u64,
    event: Bytes,
    /// The version or alias that was asked for.
    qualifier: Qualifier,
    /// In the form of X-Ray.
    trace: String,
    fetched: bool,
}

impl NextInvocation {
    fn of(invocation: &Invocation) -> Self {
        let mut event = Vec::new();
        match &invocation.work.task {
            Task::Invoke(payload) | Task::Event(payload) | Task::Deliver(payload) => event.extend_from_slice(payload),
            Task::Batch { records, window, .. } => write_kinesis_event(records, window.as_ref(), &mut event),
            Task::Messages { messages, .. } => event.extend_from_slice(messages.event().to_string().as_bytes()),
            Task::Cancel => {}
        }
        let id = uuid_text(invocation.work.request);
        let trace = match invocation.work.traces()[..] {
            [one] => x_ray(one),
            _ => None,
        };
        // Else made of the time by which it must end and of its id: nobody traces it further.
        let trace = trace.unwrap_or_else(|| {
            format!("Root=1-{:08x}-{};Sampled=0", invocation.work.deadline_ms / 1000, &id.replace('-', "")[8..])
        });
        Self {
            id,
            qualifier: invocation.work.qualifier.clone(),
            trace,
            nonce: format!("{:016x}", invocation.work.token),
            deadline_ms: invocation.work.deadline_ms,
            event: event.into(),
            fetched: false,
        }
    }
}

#[derive(Debug, Default)]
struct DeskState {
    /// It has asked for work before.
    asked: bool,
    current: Option<NextInvocation>,
    /// Id of the invocation that was answered last.
    answered: Option<String>,
    said: VecDeque<Said>,
}

/// Where requests and the engine meet.
#[derive(Debug)]
pub(crate) struct PendingInvocations {
    state: Mutex<DeskState>,
    given: Notify,
    mailbox: Arc<Mailbox>,
    function_arn: String,
}

type Reply = Response<Full<Bytes>>;

impl PendingInvocations {
    pub(crate) fn new(mailbox: Arc<Mailbox>, function_arn: String) -> Self {
        Self { state: Mutex::default(), given: Notify::new(), mailbox, function_arn }
    }

    pub(crate) fn give(&self, invocation: &Invocation) {
        self.lock().current = Some(NextInvocation::of(invocation));
        self.given.notify_one();
    }

    pub(crate) fn said(&self) -> Option<Said> {
        self.lock().said.pop_front()
    }

    /// Answer what comes over one connection, until it ends.
    pub(crate) async fn converse(&self, stream: impl Read + Write + Unpin) {
        let service = hyper::service::service_fn(|request| async { Ok::<_, Infallible>(self.answer(request).await) });
        // Without a time limit: a handler may take long between its event and its answer, on the same connection. An error here is
        // the client's: it sent no HTTP, or went away.
        let _ended = hyper::server::conn::http1::Builder::new().serve_connection(stream, service).await;
    }

    fn lock(&self) -> MutexGuard<'_, DeskState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, mut state: MutexGuard<'_, DeskState>, said: Said) {
        state.said.push_back(said);
        drop(state);
        self.mailbox.ring();
    }

    async fn answer(&self, request: Request<Incoming>) -> Reply {
        let host = request.headers().get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        if !names_loopback(host) {
            return refusal(421, "InvalidHost", "this endpoint answers under 127.0.0.1 and localhost only");
        }
        let path = request.uri().path().to_owned();
        let Some(rest) = path.strip_prefix(BASE) else {
            return refusal(404, "NotFound", "there is nothing at this path");
        };
        let parts: Vec<&str> = rest.split('/').collect();
        match (request.method(), parts.as_slice()) {
            (&Method::GET, ["invocation", "next"]) => self.next().await,
            (&Method::POST, ["invocation", id, "response"]) => self.response(id, request).await,
            (&Method::POST, ["invocation", id, "error"]) => self.error(id, request).await,
            (&Method::POST, ["init", "error"]) => self.init_error(request).await,
            _ => refusal(404, "NotFound", "there is nothing at this path"),
        }
    }

    async fn next(&self) -> Reply {
        {
            let mut state = self.lock();
            if state.current.as_ref().is_some_and(|current| current.fetched) {
                return not_now("the invocation before has no answer yet");
            }
            if !std::mem::replace(&mut state.asked, true) {
                self.tell(state, Said::Initialized);
            }
        }
        loop {
            let given = self.given.notified();
            if let Some(reply) = self.hand_over() {
                return reply;
            }
            given.await;
        }
    }

    fn hand_over(&self) -> Option<Reply> {
        let mut state = self.lock();
        let current = state.current.as_mut().filter(|current| !current.fetched)?;
        current.fetched = true;
        let invoked = match &current.qualifier {
            Some(qualifier) => format!("{}:{qualifier}", self.function_arn),
            None => self.function_arn.clone(),
        };
        let mut reply = Response::new(Full::new(current.event.clone()));
        let headers = reply.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        for (name, value) in [
            ("lambda-runtime-aws-request-id", current.id.clone()),
            ("lambda-runtime-deadline-ms", current.deadline_ms.to_string()),
            ("lambda-runtime-invoked-function-arn", invoked),
            ("lambda-runtime-invocation-id", current.nonce.clone()),
            ("lambda-runtime-trace-id", current.trace.clone()),
        ] {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(name, value);
            }
        }
        Some(reply)
    }

    /// The refusal of an answer that is not the current invocation's.
    fn refuse(&self, id: &str, headers: &HeaderMap) -> Option<Reply> {
        let state = self.lock();
        let Some(current) = state.current.as_ref().filter(|current| current.fetched && current.id == id) else {
            return Some(if state.answered.as_deref() == Some(id) {
                not_now("this invocation has been answered")
            } else {
                refusal(400, "InvalidRequestID", "Invalid request ID")
            });
        };
        match headers.get("lambda-runtime-invocation-id") {
            Some(given) if given.as_bytes() != current.nonce.as_bytes() => {
                Some(refusal(400, "InvalidInvocationId", "Invalid invocation ID"))
            }
            _ => None,
        }
    }

    async fn response(&self, id: &str, request: Request<Incoming>) -> Reply {
        if let Some(reply) = self.refuse(id, request.headers()) {
            return reply;
        }
        let (reply, said) = match Limited::new(request.into_body(), RESPONSE_BYTES_MAX).collect().await {
            Ok(body) => (accepted(), Said::returned(&body.to_bytes())),
            Err(error) if error.is::<http_body_util::LengthLimitError>() => {
                let text = format!(
                    "Response payload size exceeded maximum allowed payload size ({RESPONSE_BYTES_MAX} bytes)."
                );
                let object = json!({"errorMessage": text, "errorType": "Function.ResponseSizeTooLarge"});
                let said = Said::Raised(object.to_string().into_bytes());
                (refusal(413, "RequestEntityTooLarge", &text), said)
            }
            Err(_) => return refusal(400, "InvalidRequest", "the body ended before its end"),
        };
        self.settle(id, reply, said)
    }

    async fn error(&self, id: &str, request: Request<Incoming>) -> Reply {
        if let Some(reply) = self.refuse(id, request.headers()) {
            return reply;
        }
        match error_object(request).await {
            Some(object) => self.settle(id, accepted(), Said::Raised(object)),
            None => too_large(),
        }
    }

    /// Close the invocation, unless it was answered while the body came in.
    fn settle(&self, id: &str, reply: Reply, said: Said) -> Reply {
        let mut state = self.lock();
        if state.current.as_ref().is_none_or(|current| current.id != id) {
            return not_now("this invocation has been answered");
        }
        state.current = None;
        state.answered = Some(id.to_owned());
        self.tell(state, said);
        reply
    }

    async fn init_error(&self, request: Request<Incoming>) -> Reply {
        if self.lock().asked {
            return not_now("it has been initialized");
        }
        match error_object(request).await {
            Some(object) => {
                self.tell(self.lock(), Said::CannotStart(object));
                accepted()
            }
            None => too_large(),
        }
    }
}

/// The error object of a request; one made of its header where the body is none. `None`: it is too large, or cut off.
async fn error_object(request: Request<Incoming>) -> Option<Vec<u8>> {
    let named = request.headers().get("lambda-runtime-function-error-type").and_then(|name| name.to_str().ok());
    let named = named.unwrap_or("Runtime.Unknown").to_owned();
    let body = Limited::new(request.into_body(), RESPONSE_BYTES_MAX).collect().await.ok()?.to_bytes();
    match serde_json::from_slice::<serde_json::Value>(&body) {
        Ok(serde_json::Value::Object(_)) => Some(body.to_vec()),
        _ => {
            let text = String::from_utf8_lossy(&body).into_owned();
            Some(json!({"errorType": named, "errorMessage": text}).to_string().into_bytes())
        }
    }
}

fn reply(status: u16, body: &serde_json::Value) -> Reply {
    let mut reply = Response::new(Full::from(body.to_string().into_bytes()));
    *reply.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    reply
}

fn accepted() -> Reply {
    reply(202, &json!({"status": "OK"}))
}

fn refusal(status: u16, kind: &str, text: &str) -> Reply {
    reply(status, &json!({"errorType": kind, "errorMessage": text}))
}

fn too_large() -> Reply {
    refusal(413, "RequestEntityTooLarge", "the error is too large")
}

fn not_now(text: &str) -> Reply {
    refusal(403, "InvalidStateTransition", text)
}

async fn serve(listener: TcpListener, pending: Arc<PendingInvocations>, mut stopped: oneshot::Receiver<()>) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let next = async {
            let place = permits.clone().acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            _ = &mut stopped => return,
            next = next => next,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let pending = pending.clone();
        tokio::spawn(async move {
            pending.converse(TokioIo::new(stream)).await;
            drop(place);
        });
    }
}
