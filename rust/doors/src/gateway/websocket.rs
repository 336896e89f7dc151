//! WebSocket APIs: a connection from its handshake to its end.

mod ending;
mod visit;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use base64::prelude::{Engine as _, BASE64_STANDARD};
use forebay_core::gateway::answer::{self, Answer, Reader};
use forebay_core::gateway::api::{Api, Route, Stage, Target};
use forebay_core::gateway::apis;
use forebay_core::gateway::client_cert::ClientCert;
use forebay_core::gateway::event::Format;
use forebay_core::gateway::request::{Arrival, Authorized, Header, Request};
use forebay_core::gateway::websocket::{
    self, Happened, CONNECT, DEFAULT, DISCONNECT, FRAME_BYTES_MAX, IDLE, LIFE, MESSAGE_BYTES_MAX,
};
use forebay_engine::api::gateway::Connection;
use forebay_engine::base::error::{EngineError, Reply};
use forebay_engine::gateways::connections::{Mailbox, Outgoing};
use forebay_engine::runtime::engine::Engine;
use futures_util::{SinkExt as _, StreamExt as _};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use sha1::{Digest as _, Sha1};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep_until, timeout, Instant};
use tokio_tungstenite::tungstenite::error::{CapacityError, Error, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::WebSocketStream;

use crate::clock::now_ms;
use crate::gateway::authorize::{self, Asked};
use crate::gateway::body::{room_for, Unread};
use crate::gateway::deployment::{Deployment, StageState};
use crate::gateway::head::Head;
use crate::gateway::serve::{busy, FULL, LEFT, LEFT_WHY, NOTHING, THROTTLED};
use crate::gateway::sockets::Place;
use crate::gateway::trail::Question;
use crate::gateway::turns::{Said, Turns};
use crate::gateway::websocket::ending::{answer_last, sendable};
use crate::gateway::websocket::visit::Visit;
use crate::gateway::{going, Gateway};

/// How long a client may take to read one message.
const SEND_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a client may take to end a connection that is closed.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);
/// Messages of one connection that are handled at once; beyond it, no further one is read.
const AT_ONCE: usize = 64;
/// Memory for each connection: thousands of them are idle.
const BUFFER_BYTES: usize = 2 * 1024;
/// Beyond what the mailbox holds.
const WRITE_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Why a message is not handled.
const GONE: &str = "the API of its connection is gone, or the stage";
/// What a client is told that comes too often, or finds no place.
const TOO_MANY: &str = "Too Many Requests";
/// What a server proves with that it has read a handshake.
const HANDSHAKE: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The API and the stage of a connection, as they are served at a moment.
#[derive(Clone)]
struct Reached {
    deployment: Arc<Deployment>,
    api: Arc<Api>,
    index: usize,
    stage: usize,
}

impl Reached {
    fn stage(&self) -> &Stage {
        &self.api.stages[self.stage]
    }

    fn state(&self) -> &StageState {
        self.deployment.stage(self.index, self.stage)
    }
}

/// All that a connection carries on from its handshake.
pub(super) struct Session {
    gateway: Weak<Gateway>,
    /// What it was opened by.
    opened: Reached,
    headers: Vec<Header<'static>>,
    query: String,
    source_ip: String,
    client_cert: Option<Arc<ClientCert>>,
    host: String,
    /// The path of its handshake.
    path: Box<str>,
    id: String,
    connected_ms: u64,
    authorized: Authorized,
    /// Whether what waits for its turn is handled no more: its client has left, as have too many others.
    pub(super) is_given_up: AtomicBool,
}

/// Answer a handshake; the connection goes on in a task of its own.
pub(super) async fn handshake(
    gateway: &Gateway,
    engine: &Engine,
    (deployment, place, stage): (&Arc<Deployment>, &apis::Place<'_>, usize),
    head: &Head<'_>,
    upgrade: Option<OnUpgrade>,
) -> Answer {
    let mut session = Session {
        gateway: gateway.me.clone(),
        opened: Reached { deployment: deployment.clone(), api: place.api.clone(), index: place.index, stage },
        headers: head.headers.iter().map(|(name, value)| (owned(name), owned(value))).collect(),
        query: head.query.to_owned(),
        source_ip: head.source_ip.clone(),
        client_cert: head.client_cert.clone(),
        host: head.host.clone(),
        path: place.path.into(),
        id: gateway.ids.next(),
        connected_ms: now_ms(),
        authorized: Authorized::Open,
        is_given_up: AtomicBool::new(false),
    };
    let visit = Visit::begin("CONNECT", gateway.ids.next());
    let at = session.opened.api.route_named(CONNECT);
    let opened = open(gateway, engine, &mut session, head, at, &visit).await;
    let (mut answer, ends) = match opened {
        Ok((answer, ends)) => (answer, Some(ends)),
        Err(answer) => (answer, None),
    };
    if going::is_left() {
        visit.trail.tell(LEFT, LEFT_WHY);
    }
    session.note(gateway, (&session.opened, at), &visit, (answer.status, answer.body.len()));
    match (ends, upgrade) {
        (Some(ends), Some(upgrade)) => session.begin(engine, upgrade, ends),
        _ => {
            answer.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("x-amzn-requestid"));
            answer.headers.push(("x-amzn-requestid".into(), visit.id));
        }
    }
    answer
}

/// Have a handshake pass all that may refuse it.
async fn open(
    gateway: &Gateway,
    engine: &Engine,
    session: &mut Session,
    head: &Head<'_>,
    at: Option<usize>,
    visit: &Visit,
) -> Result<(Answer, Place), Answer> {
    let key = check(head).inspect_err(|_| visit.trail.turned_away("it is not a handshake of RFC 6455"))?;
    let Some(ends) = gateway.sockets.admit() else {
        visit.trail.turned_away("as many connections are open as may be");
        return Err(Answer::message(503, "Service Unavailable"));
    };
    let mut headers = vec![("upgrade".into(), "websocket".into()), ("connection".into(), "upgrade".into())];
    headers.push(("sec-websocket-accept".into(), accept(&key)));
    if let Some(at) = at {
        let answer = ask_connect(gateway, engine, session, at, visit).await?;
        if !(200..300).contains(&answer.status) {
            return Err(answer);
        }
        let protocol = answer.header("sec-websocket-protocol").map(str::to_owned);
        headers.extend(protocol.map(|protocol| ("sec-websocket-protocol".into(), protocol)));
    }
    Ok((Answer { status: 101, headers, body: Vec::new() }, ends))
}

async fn ask_connect(
    gateway: &Gateway,
    engine: &Engine,
    session: &mut Session,
    at: usize,
    visit: &Visit,
) -> Result<Answer, Answer> {
    let reached = session.opened.clone();
    if !reached.state().admits(at, gateway.mono_ns()) {
        visit.trail.turned_away(THROTTLED);
        return Err(Answer::message(429, TOO_MANY));
    }
    let Some(_under_way) = gateway.places.request() else {
        visit.trail.turned_away(FULL);
        return Err(busy(false));
    };
    let route = &reached.api.routes[at];
    let authorized = {
        let arrival = session.arrival(&gateway.account, (reached.stage(), route), &visit.id);
        let (request, trail) = (session.request(), &visit.trail);
        let Reached { deployment, api, .. } = &reached;
        let asked = Asked { engine, deployment, api, route, request: &request, arrival: &arrival, trail };
        authorize::authorize(gateway, asked).await?
    };
    session.authorized = authorized;
    if route.definition.target == (Target::Nothing {}) {
        return Ok(Answer { status: 200, headers: Vec::new(), body: Vec::new() });
    }
    let answer = session.invoke(gateway, engine, (&reached, route, visit), Happened::Connect).await;
    let answer = answer.unwrap_or_else(|()| Answer::message(500, "Internal Server Error"));
    reached.state().route(Some(at)).count(answer.status);
    Ok(answer)
}

fn owned(text: &str) -> std::borrow::Cow<'static, str> {
    text.to_owned().into()
}

/// Whether a request is a handshake; its key.
fn check(head: &Head<'_>) -> Result<String, Answer> {
    let values = |name: &str| {
        let found = head.headers.iter().filter(|(known, _)| known == name);
        found.map(|(_, value)| value.to_string()).collect::<Vec<_>>().join(",")
    };
    let has = |name: &str, word: &str| values(name).split(',').any(|one| one.trim().eq_ignore_ascii_case(word));
    if !has("upgrade", "websocket") || !has("connection", "upgrade") || !head.may_upgrade() {
        let mut answer = Answer::message(426, "Upgrade Required");
        answer.headers.push(("upgrade".into(), "websocket".into()));
        return Err(answer);
    }
    if values("sec-websocket-version") != "13" {
        let mut answer = Answer::message(426, "Upgrade Required");
        answer.headers.push(("sec-websocket-version".into(), "13".into()));
        return Err(answer);
    }
    let key = values("sec-websocket-key");
    let is_key = BASE64_STANDARD.decode(&key).is_ok_and(|bytes| bytes.len() == 16);
    if head.method != "GET" || !is_key {
        return Err(Answer::message(400, "Bad Request"));
    }
    Ok(key)
}

fn accept(key: &str) -> String {
    let mut hasher = Sha1::new();
    hasher.update(key);
    hasher.update(HANDSHAKE);
    BASE64_STANDARD.encode(hasher.finalize())
}

/// How a connection ended.
type End = (u16, String);

impl Session {
    /// The API and the stage as they are served now; `None`: one of them is gone.
    fn reached(&self, gateway: &Gateway, engine: &Engine) -> Option<Reached> {
        let deployment = gateway.deployment(engine);
        if Arc::ptr_eq(&deployment, &self.opened.deployment) {
            return Some(self.opened.clone());
        }
        let (index, stage) = deployment.place(&self.opened.api.id, &self.opened.stage().name)?;
        let api = deployment.apis.list()[index].clone();
        Some(Reached { deployment, api, index, stage })
    }

    fn request(&self) -> Request<'_> {
        Request {
            method: "GET",
            path: "/",
            query: &self.query,
            protocol: "HTTP/1.1",
            headers: &self.headers,
            source_ip: &self.source_ip,
            client_cert: self.client_cert.as_deref(),
            body: &[],
        }
    }

    fn arrival<'a>(
        &'a self,
        account: &'a str,
        (stage, route): (&'a Stage, &'a Route),
        request_id: &'a str,
    ) -> Arrival<'a> {
        Arrival {
            account,
            api: &self.opened.api.id,
            domain: &self.host,
            stage: &stage.name,
            stage_variables: &stage.variables,
            route_key: &route.definition.key,
            parameters: &[],
            request_id,
            time_ms: now_ms(),
            authorized: &self.authorized,
        }
    }

    /// Have a route's function handle what has happened. The error has been told to the operator.
    async fn invoke(
        &self,
        gateway: &Gateway,
        engine: &Engine,
        (reached, route, visit): (&Reached, &Route, &Visit),
        happened: Happened<'_>,
    ) -> Result<Answer, ()> {
        let Some(function) = route.definition.target.function() else {
            visit.trail.tell("failed", NOTHING);
            return Err(());
        };
        let arrival = self.arrival(&gateway.account, (reached.stage(), route), &visit.id);
        let request = self.request();
        let connection = websocket::Connection { id: &self.id, connected_ms: self.connected_ms };
        // Who says nothing lets nobody in: the answer of `$connect` has to have a status.
        let format = if matches!(happened, Happened::Connect) { Format::One } else { Format::Two };
        let payload = websocket::event(happened, &request, &arrival, connection);
        let within = Duration::from_millis(route.definition.timeout_ms.into());
        let began = std::time::Instant::now();
        let question = Question { function, authorizer: None, trace: None, is_told: false };
        let invoked = visit.trail.ask(engine, question, payload.into(), within).await;
        reached.state().integration_latency.record(visit.trail.integrated(began).as_secs_f64());
        let told = match invoked {
            Some(Ok(Reply::Json(json) | Reply::Executed { json, .. })) => {
                let read = answer::read(Reader::Http(format), &json);
                read.inspect_err(|text| visit.trail.tell("failed", text))
            }
            Some(Err(EngineError::Function { .. }) | Ok(_)) => return Err(()),
            Some(Err(error)) => Err(error.to_string()),
            None => Err(format!("it took longer than the {within:?} of the route")),
        };
        told.map_err(|text| {
            let text = format!("route {:?}: function {function}: {text}", route.definition.key);
            engine.remark_on_api(&reached.api.name, &text);
        })
    }

    /// Have the connection go on in a task of its own.
    fn begin(self, engine: &Engine, upgrade: OnUpgrade, ends: Place) {
        let mailbox = engine.connections().open(Connection {
            connection_id: self.id.clone(),
            api: self.opened.api.name.clone(),
            api_id: self.opened.api.id.clone(),
            stage: self.opened.stage().name.clone(),
            connected_ms: self.connected_ms,
            last_active_ms: self.connected_ms,
            source_ip: self.source_ip.clone(),
            user_agent: self.request().header("user-agent").to_owned(),
        });
        self.opened.state().opened.add(1);
        // Its API may have been deleted while `$connect` ran: nobody closes it later.
        if self.gateway.upgrade().is_none_or(|gateway| self.reached(&gateway, engine).is_none()) {
            engine.connections().remove(&self.id);
        }
        tokio::spawn(async move { Arc::new(self).live(upgrade, mailbox, ends).await });
    }

    /// Hold the connection until it ends.
    async fn live(self: Arc<Self>, upgrade: OnUpgrade, mut mailbox: Mailbox, mut ends: Place) {
        let mut turns = Turns::default();
        let end = match upgrade.await {
            Ok(upgraded) => self.converse(upgraded, &mut mailbox, &mut ends, &mut turns).await,
            Err(_) => (1006, String::new()),
        };
        let Some(gateway) = self.gateway.upgrade() else { return };
        let Some(engine) = gateway.engine.upgrade() else { return };
        engine.connections().remove(&self.id);
        // Where messages are handled in their order, the end comes behind all of them. Whoever comes meanwhile has the place.
        if turns.last.is_some() && !gateway.sockets.leave(&mut ends) {
            self.is_given_up.store(true, Ordering::Relaxed);
        }
        turns.over().await;
        let Some(reached) = self.reached(&gateway, &engine) else { return };
        let at = reached.api.route_named(DISCONNECT);
        if let Some(at) = at.filter(|&at| reached.api.routes[at].definition.target.function().is_some()) {
            let (code, reason) = &end;
            let happened = Happened::Disconnect { code: *code, reason };
            let visit = Visit::begin("DISCONNECT", gateway.ids.next());
            let _under_way = gateway.places.end().await;
            let route = &reached.api.routes[at];
            let result = self.invoke(&gateway, &engine, (&reached, route, &visit), happened).await;
            let status = result.map_or(500, |answer| answer.status);
            // A handler that the app does not begin any more is not told.
            if !(*ends.word().borrow() && visit.trail.is_not_reached()) {
                reached.state().route(Some(at)).count(status);
                self.note(&gateway, (&reached, Some(at)), &visit, (status, 0));
            }
        }
    }

    async fn converse(
        self: &Arc<Self>,
        upgraded: Upgraded,
        mailbox: &mut Mailbox,
        ends: &mut Place,
        turns: &mut Turns,
    ) -> End {
        let mut socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config())).await;
        let (at_once, waiting) = (Arc::new(Semaphore::new(AT_ONCE)), turns.waiting.clone());
        let dies = Instant::now() + LIFE;
        let mut idles = Instant::now() + IDLE;
        loop {
            // No further message is read while as many are handled, or wait for their turn, as may be.
            let full = [&at_once, &waiting].into_iter().find(|places| places.available_permits() == 0);
            let code = tokio::select! {
                () = one_of(full), if full.is_some() => continue,
                read = socket.next(), if full.is_none() => match read {
                    Some(Ok(Message::Text(text))) => {
                        idles = Instant::now() + IDLE;
                        mailbox.is_active(now_ms());
                        if let Ok(place) = at_once.clone().try_acquire_owned() {
                            let waits = self.opened.api.ordered && turns.last.is_some();
                            let said = self.said(text.as_str(), place, waits);
                            if self.opened.api.ordered {
                                turns.next(self.clone(), said, ends.word());
                            } else {
                                let session = self.clone();
                                tokio::spawn(async move { session.handle(said, None).await });
                            }
                        }
                        continue;
                    }
                    Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => continue,
                    Some(Ok(Message::Binary(_))) => 1003,
                    Some(Ok(Message::Close(frame))) => {
                        // The answer to it is on its way already.
                        let _ = timeout(SEND_TIMEOUT, socket.flush()).await;
                        let told = frame.map(|frame| (frame.code.into(), frame.reason.as_str().to_owned()));
                        return told.unwrap_or((1005, String::new()));
                    }
                    Some(Err(Error::Capacity(CapacityError::MessageTooLong { .. }))) => 1009,
                    Some(Err(Error::Utf8(_))) => 1007,
                    // A client that is cut off has broken no rule.
                    Some(Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake))) => {
                        return (1006, String::new());
                    }
                    Some(Err(Error::Protocol(_) | Error::Capacity(_))) => 1002,
                    Some(Err(_)) | None => return (1006, String::new()),
                },
                outgoing = mailbox.next() => {
                    let message = match sendable(outgoing) {
                        Ok(message) => message,
                        Err(code) => {
                            self.leave();
                            return close(&mut socket, code).await;
                        }
                    };
                    idles = Instant::now() + IDLE;
                    mailbox.is_active(now_ms());
                    match timeout(SEND_TIMEOUT, socket.send(message)).await {
                        Ok(Ok(())) => continue,
                        Ok(Err(_)) => return (1006, String::new()),
                        Err(_) => 1008,
                    }
                }
                () = turns.over(), if turns.last.is_some() => continue,
                () = sleep_until(idles.min(dies)) => 1001,
                () = ends.called() => answer_last(&mut socket, mailbox, (&at_once, &|| self.leave())).await,
            };
            self.leave();
            return close(&mut socket, code).await;
        }
    }

    /// Be known no more: whatever is sent to a connection that is being closed would be lost.
    fn leave(&self) {
        let gateway = self.gateway.upgrade();
        if let Some(engine) = gateway.and_then(|gateway| gateway.engine.upgrade()) {
            engine.connections().remove(&self.id);
        }
    }

    fn said(&self, text: &str, place: OwnedSemaphorePermit, is_to_wait: bool) -> Said {
        let gateway = self.gateway.upgrade();
        let room = gateway.as_ref().and_then(|gateway| room_for(text.len(), &gateway.bodies));
        let waits = gateway.filter(|_| is_to_wait).and_then(|gateway| gateway.sockets.room_to_wait(text.len()));
        let room = room.filter(|_| waits.is_some() || !is_to_wait);
        Said { text: room.map(|room| (text.to_owned(), room)), waits, _place: place }
    }

    /// Bring a message to the function of its route, unless it is too late for it: `over` says why.
    pub(super) async fn handle(&self, said: Said, over: Option<&str>) {
        let Some(gateway) = self.gateway.upgrade() else { return };
        let Some(engine) = gateway.engine.upgrade() else { return };
        let text = said.text.as_ref().map(|(text, _)| text.as_str());
        let found = self.reached(&gateway, &engine);
        let over = over.or(found.is_none().then_some(GONE));
        let reached = found.unwrap_or_else(|| self.opened.clone());
        let at = text.and_then(|text| wanted(&reached.api, text));
        let mut visit = Visit::begin("MESSAGE", gateway.ids.next());
        visit.message = gateway.ids.next();
        let failure = |text| Some(websocket::failure(text, &self.id, &visit.id));
        reached.state().messages.add(1);
        let place = gateway.places.request();
        let (status, told) = match at {
            _ if over.is_some() => {
                visit.trail.turned_away(over.unwrap_or_default());
                (503, None)
            }
            _ if text.is_none() => {
                visit.trail.turned_away(Unread::NoRoom.why());
                (429, failure(TOO_MANY))
            }
            None => {
                visit.trail.turned_away("no route takes this message");
                (403, failure("Forbidden"))
            }
            Some(_) if place.is_none() => {
                visit.trail.turned_away(FULL);
                (429, failure(TOO_MANY))
            }
            Some(at) if !reached.state().admits(at, gateway.mono_ns()) => {
                visit.trail.turned_away(THROTTLED);
                (429, failure(TOO_MANY))
            }
            Some(at) => {
                let route = &reached.api.routes[at];
                let happened =
                    Happened::Message { id: &visit.message, body: text.unwrap_or_default(), is_base64: false };
                match self.invoke(&gateway, &engine, (&reached, route, &visit), happened).await {
                    Ok(answer) => {
                        reached.state().route(Some(at)).count(answer.status);
                        let body = String::from_utf8_lossy(&answer.body).into_owned();
                        (
                            answer.status,
                            (route.definition.responds && !body.is_empty() && body != "null").then_some(body),
                        )
                    }
                    Err(()) => {
                        reached.state().route(Some(at)).count(500);
                        (500, failure("Internal server error"))
                    }
                }
            }
        };
        let bytes = told.as_ref().map_or(0, String::len);
        self.note(&gateway, (&reached, at), &visit, (status, bytes));
        if let Some(told) = told {
            // One that has gone meanwhile is told nothing.
            let _sent = engine.connections().send(&self.id, Outgoing::Text(told.into()));
        }
    }
}

/// The route of a message.
fn wanted(api: &Api, text: &str) -> Option<usize> {
    let key = api.selection.as_ref().and_then(|selection| selection.key(text));
    let named = key.filter(|key| !key.starts_with('$')).and_then(|key| api.route_named(&key));
    named.or_else(|| api.route_named(DEFAULT))
}

/// Wait for one of these places.
async fn one_of(places: Option<&Arc<Semaphore>>) {
    if let Some(places) = places {
        // Nothing closes them.
        let _ = places.acquire().await;
    }
}

/// Close a connection with a code. What the client still sends is read, or the code would not reach it.
async fn close(socket: &mut WebSocketStream<TokioIo<Upgraded>>, code: u16) -> End {
    let frame = CloseFrame { code: CloseCode::from(code), reason: "".into() };
    let closing = async {
        if socket.close(Some(frame)).await.is_ok() {
            let stream = socket.get_mut();
            // Not an array: each connection would hold it from its beginning.
            let mut read = vec![0; 1_024];
            let _ = stream.shutdown().await;
            while stream.read(&mut read).await.is_ok_and(|bytes| bytes > 0) {}
        }
    };
    // A client that does not end it is cut off.
    let _ = timeout(CLOSE_TIMEOUT, closing).await;
    (code, String::new())
}

/// What a connection may take.
pub(super) fn config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(BUFFER_BYTES)
        .write_buffer_size(BUFFER_BYTES)
        .max_write_buffer_size(WRITE_BYTES_MAX)
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(FRAME_BYTES_MAX))
}
