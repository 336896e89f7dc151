//! One request, from its head to its answer.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use forebay_core::gateway::access_log::Facts;
use forebay_core::gateway::answer::{self, Answer, Reader};
use forebay_core::gateway::api::{Kind, Route, Target};
use forebay_core::gateway::apis::Place;
use forebay_core::gateway::authorizer::{Authorizer, By, Source};
use forebay_core::gateway::event::{self, For};
use forebay_core::gateway::request::{Arrival, Authorized, Request};
use forebay_core::gateway::wire::query_fields;
use forebay_engine::base::error::{EngineError, Reply};
use forebay_engine::base::host::names_loopback;
use forebay_engine::gateways::requests;
use forebay_engine::runtime::engine::Engine;
use hyper::body::Incoming;
use hyper::header::UPGRADE;
use hyper::http::request::Parts;
use hyper::{Request as HttpRequest, Response};
use tokio::time::timeout;

use crate::clock::now_ms;
use crate::gateway::authorize::{self, Asked};
use crate::gateway::body::{self, Unread};
use crate::gateway::deployment::{Deployment, StageState};
use crate::gateway::head::{Entrance, Head};
use crate::gateway::reply::{refusal, response};
use crate::gateway::signers::{self, Unsigned};
use crate::gateway::trail::{Question, Trail};
use crate::gateway::{going, pages, rest, rest_test, websocket, Alone, Door, Gateway};
use crate::http::listener::Body;
use crate::http::spelling::{self, Heard};

/// Why a request is not let through.
pub(super) const THROTTLED: &str = "the throttle of the route or of the stage";
/// Why a request is not handed on.
const TWO_PATHS: &str = "the server behind the route may read its path as another one, which is not this route's";
/// Why a request has no place.
pub(super) const FULL: &str = "as many requests are under way as may be";
/// Why a request that was let in fails.
pub(super) const NOTHING: &str = "no integration stands behind the route";
/// What becomes of an answer that nobody waits for.
pub(super) const LEFT: &str = "not delivered";
pub(super) const LEFT_WHY: &str = "the client left before it was answered";
/// Headers of CORS that the gateway answers for, where it is configured.
const CORS_HEADERS: &str = "access-control-";

/// Where a request goes.
struct Call<'a> {
    engine: &'a Engine,
    deployment: &'a Deployment,
    head: &'a Head<'a>,
    place: &'a Place<'a>,
    stage: usize,
    route: &'a Route,
    parameters: &'a [(&'a str, &'a str)],
    request_id: &'a str,
    trail: &'a Trail,
}

impl Call<'_> {
    fn authorizer(&self) -> Option<&Authorizer> {
        self.route.authorizer.map(|at| &self.place.api.authorizers[at])
    }

    fn needs_signature(&self) -> bool {
        self.authorizer().is_some_and(|authorizer| authorizer.by == By::Iam {})
    }

    /// Where the route's authoriser finds who asks.
    fn told_by(&self) -> &[Source] {
        self.authorizer().map_or(&[], |authorizer| authorizer.sources.as_slice())
    }
}

pub(super) async fn serve(
    gateway: &Gateway,
    mut request: HttpRequest<Incoming>,
    peer: SocketAddr,
    door: &Door,
) -> Response<Body> {
    let began = Instant::now();
    let upgrade = request.headers().contains_key(UPGRADE).then(|| hyper::upgrade::on(&mut request));
    let (mut parts, body) = request.into_parts();
    let heard = parts.extensions.remove::<Heard>();
    let lines = match heard.as_ref().map_or(Ok(None), |heard| heard.head(&parts)) {
        Ok(lines) => lines,
        Err(text) => return refusal(400, text),
    };
    let mut head = match Head::read(&parts, entrance(gateway, peer, door.port)) {
        Ok(head) => head,
        Err((status, text)) => return refusal(status, text),
    };
    let Some(engine) = gateway.engine.upgrade() else { return refusal(503, "Service Unavailable") };
    let deployment = gateway.deployment(&engine);
    if gateway.is_loopback
        && !names_loopback(&head.host)
        && !deployment.apis.has_host(&head.host)
        && !gateway.rest.has_host(&head.host)
    {
        return refusal(421, "this server answers under 127.0.0.1, [::1], localhost and the hosts of its APIs only");
    }
    let (found, body) = match door.alone.as_deref() {
        Some(Alone::Api(id)) => (deployment.apis.only(id, head.path), body),
        Some(Alone::Rest(name)) => {
            let Some(found) = gateway.rest.only(name, head.path) else {
                return response(Answer::message(404, "Not Found"));
            };
            spell(&mut head, &parts, lines);
            return response(rest::serve_rest(gateway, &engine, &found, &head, body).await);
        }
        None => {
            let lines = (&mut head, &parts, lines);
            match other_than_http(gateway, &engine, &deployment, lines, peer, body).await {
                Ok(answer) => return response(answer),
                Err(body) => {
                    let found = deployment.apis.find(&head.host, head.path);
                    (found.filter(|place| !gateway.is_guarded(false, &place.api.id)), body)
                }
            }
        }
    };
    let Some(place) = found else { return response(Answer::message(404, "Not Found")) };
    let Some((place, stage, path)) = deployment.apis.stage(place.clone()) else {
        return response(no_stage(gateway, &place, &head, began));
    };
    if place.api.kind == Kind::Websocket {
        let answer = websocket::handshake(gateway, &engine, (&deployment, &place, stage), &head, upgrade).await;
        // What follows is not a request.
        if let (Some(heard), 101) = (&heard, answer.status) {
            heard.stop();
        }
        return response(answer);
    }
    response(routed(gateway, (&engine, &deployment), (&place, stage, path), &head, body, began).await)
}

/// Answer a request that names an API, and no stage of it.
fn no_stage(gateway: &Gateway, place: &Place<'_>, head: &Head<'_>, began: Instant) -> Answer {
    let (mut answer, request_id, trail) = (Answer::message(404, "Not Found"), gateway.ids.next(), Trail::default());
    trail.turned_away("the API has no such stage");
    finish(&mut answer, place, head, (&request_id, false));
    let asked = requests::Asked {
        at_ms: now_ms(),
        took: began.elapsed(),
        ids: [&request_id, ""],
        api: &place.api.name,
        stage: "",
        method: head.method,
        place: requests::Place::Path(place.path),
        route: "",
        function: "",
        status: answer.status,
    };
    note(gateway, head, (&place.api.id, place.path, answer.body.len()), &asked, trail.take());
    answer
}

/// Answer a request of an HTTP API or of a URL.
async fn routed(
    gateway: &Gateway,
    (engine, deployment): (&Engine, &Deployment),
    (place, stage, path): (&Place<'_>, usize, &str),
    head: &Head<'_>,
    body: Incoming,
    began: Instant,
) -> Answer {
    let state = deployment.stage(place.index, stage);
    let (request_id, trail) = (gateway.ids.next(), Trail::default());
    let route = place.api.route(head.method, path);
    let preflight = preflight(place, head);
    let is_preflight = preflight.is_some();
    let mut answer = match preflight {
        Some(answer) => {
            trail.reached("answered by the gateway", "as", "a preflight of CORS", None);
            answer
        }
        None => match &route {
            None => {
                trail.turned_away("no route has this method and this path");
                Answer::message(404, "Not Found")
            }
            Some((route, parameters)) => {
                let (index, route) = (*route, &place.api.routes[*route]);
                let (request_id, trail) = (&request_id, &trail);
                let call = Call { engine, deployment, head, place, stage, route, parameters, request_id, trail };
                run(gateway, &call, (state, index, path), body).await.unwrap_or_else(|answer| answer)
            }
        },
    };
    finish(&mut answer, place, head, (&request_id, is_preflight));
    let route = route.map(|(route, _)| route);
    state.route(route).count(answer.status);
    let took = began.elapsed();
    state.latency.record(took.as_secs_f64());
    let definition = route.map(|route| &place.api.routes[route].definition);
    let function = definition.and_then(|definition| definition.target.function());
    let route = definition.map_or("", |definition| &definition.key);
    let stage = place.api.stages[stage].name.as_str();
    let asked = requests::Asked {
        at_ms: now_ms(),
        took,
        ids: [&request_id, ""],
        api: &place.api.name,
        stage,
        method: head.method,
        place: requests::Place::Path(place.path),
        route,
        function: function.unwrap_or_default(),
        status: answer.status,
    };
    if going::is_left() {
        trail.tell(LEFT, LEFT_WHY);
    }
    note(gateway, head, (&place.api.id, place.path, answer.body.len()), &asked, trail.take());
    answer
}

/// Answer what is asked of a REST API, or for a page of this machine; the body comes back if it is neither.
async fn other_than_http(
    gateway: &Gateway,
    engine: &Engine,
    deployment: &Deployment,
    (head, parts, lines): (&mut Head<'_>, &Parts, Option<Vec<u8>>),
    peer: SocketAddr,
    body: Incoming,
) -> Result<Answer, Incoming> {
    // A proxy on this machine brings requests of others.
    if peer.ip().to_canonical().is_loopback() && names_loopback(&head.host) && !head.is_handed_on() {
        let is_page = head.path == pages::PATH;
        if (is_page || head.path == rest_test::PATH) && !knows_token(gateway, head) {
            return Ok(Answer::message(403, "this takes the token that `forebay api link` tells"));
        }
        if is_page {
            let accept = header(head, "accept").unwrap_or_default();
            return Ok(pages::routes(&deployment.apis, &gateway.rest.kept().account, accept));
        }
        if head.path == rest_test::PATH {
            return Ok(crate::gateway::rest_test::test_invoke(gateway, engine, head, body).await);
        }
    }
    let is_alone = deployment.apis.list().is_empty();
    // An API goes before a function's URL of its name, which has an id, too.
    let is_taken = |name: &str| deployment.apis.get(name).is_some_and(|api| api.kind != Kind::Url);
    let host = head.host.clone();
    let Some(found) = gateway.rest.find(&host, head.path, is_taken, is_alone) else { return Err(body) };
    if gateway.is_guarded(true, found.name()) {
        return Ok(Answer::message(404, "Not Found"));
    }
    if found.is_closed() {
        return Ok(Answer::message(403, "Forbidden"));
    }
    spell(head, parts, lines);
    Ok(rest::serve_rest(gateway, engine, &found, head, body).await)
}

/// Whether a request has the token of this process: `?token=…`, or as a bearer.
fn knows_token(gateway: &Gateway, head: &Head<'_>) -> bool {
    let bearer = header(head, "authorization").and_then(|value| value.strip_prefix("Bearer "));
    let field = query_fields(head.query).find(|(name, _)| name == "token");
    bearer.is_some_and(|token| gateway.token.is(token)) || field.is_some_and(|(_, token)| gateway.token.is(&token))
}

fn entrance(gateway: &Gateway, peer: SocketAddr, port: u16) -> Entrance<'_> {
    Entrance { peer, port, is_tls: gateway.is_tls, trusted: &gateway.trusted }
}

/// Remember a request that was answered, and write its line. `length` is that of the answer's body.
pub(super) fn note(
    gateway: &Gateway,
    head: &Head<'_>,
    (api, path, length): (&str, &str, usize),
    asked: &requests::Asked<'_>,
    way: requests::Way,
) {
    if let Some(log) = &gateway.access_log {
        log.write(&Facts {
            account: &gateway.account,
            api,
            domain: &head.host,
            method: head.method,
            path,
            protocol: head.protocol,
            route_key: asked.route,
            stage: asked.stage,
            request_id: asked.ids[0],
            connection_id: "",
            event_type: "",
            source_ip: &head.source_ip,
            user_agent: header(head, "user-agent").unwrap_or_default(),
            client_cert: head.client_cert(),
            status: asked.status,
            length,
            latency_ms: asked.took.as_millis() as u64,
            time_ms: asked.at_ms,
            error: if going::is_left() { LEFT_WHY } else { way.reason(asked.status) },
        });
    }
    gateway.noted.note(asked, way);
}

/// The answer to a preflight, which never reaches a handler.
fn preflight(place: &Place<'_>, head: &Head<'_>) -> Option<Answer> {
    let cors = place.api.cors.as_ref().filter(|_| head.method == "OPTIONS")?;
    let (origin, method) = (header(head, "origin")?, header(head, "access-control-request-method")?);
    Some(Answer { status: 204, headers: cors.preflight(origin, method), body: Vec::new() })
}

/// Add what the gateway says itself.
fn finish(answer: &mut Answer, place: &Place<'_>, head: &Head<'_>, (request_id, is_preflight): (&str, bool)) {
    if let Some(cors) = place.api.cors.as_ref() {
        if !is_preflight {
            answer.headers.retain(|(name, _)| !name.starts_with(CORS_HEADERS));
            answer.headers.extend(cors.headers(header(head, "origin")));
        }
    }
    let name = if place.api.kind == Kind::Url { "x-amzn-requestid" } else { "apigw-requestid" };
    // A handler, or a server that is one of these as well, may have set it.
    answer.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
    answer.headers.push((name.into(), request_id.to_owned()));
}

async fn run(
    gateway: &Gateway,
    call: &Call<'_>,
    (state, index, path): (&StageState, usize, &str),
    body: Incoming,
) -> Result<Answer, Answer> {
    let is_url = call.place.api.kind == Kind::Url;
    let (head, trail) = (call.head, call.trail);
    if !state.admits(index, gateway.mono_ns()) {
        trail.turned_away(THROTTLED);
        return Err(Answer::message(429, "Too Many Requests"));
    }
    if matches!(call.route.definition.target, Target::Url(_)) && !call.place.api.may_hand_on(head.method, path, index) {
        trail.turned_away(TWO_PATHS);
        return Err(Answer::message(400, "Bad Request"));
    }
    let Some(_under_way) = gateway.places.request() else {
        trail.turned_away(FULL);
        return Err(busy(is_url));
    };
    let request = head.request(call.place.path);
    let arrival = arrival_of(gateway, call, &Authorized::Open);
    let asked = Asked {
        engine: call.engine,
        deployment: call.deployment,
        api: &call.place.api,
        route: call.route,
        request: &request,
        arrival: &arrival,
        trail,
    };
    let (authorized, whole) = if call.needs_signature() {
        let refused = |unsigned: Unsigned| {
            trail.turned_away(&unsigned.to_string());
            if is_url {
                signers::forbidden_url()
            } else {
                signers::forbidden()
            }
        };
        // A signature is made over the body: it is read before anybody is let in, if the head can be right.
        let service = if is_url { signers::OF_URLS } else { signers::OF_APIS };
        gateway.signers.check_head(head.given(&[]), service).map_err(refused)?;
        let whole = take(gateway, call, body).await?;
        (gateway.signers.signer(head.given(&whole.bytes), service).map_err(refused)?, whole)
    } else {
        (authorize::authorize(gateway, asked).await?, take(gateway, call, body).await?)
    };
    let request = Request { body: &whole.bytes, ..request };
    let arrival = arrival_of(gateway, call, &authorized);
    let began = Instant::now();
    let answer = integrate(gateway, call, &request, &arrival).await;
    state.integration_latency.record(trail.integrated(began).as_secs_f64());
    Ok(answer)
}

async fn take(gateway: &Gateway, call: &Call<'_>, body: Incoming) -> Result<body::Whole, Answer> {
    body::read(call.head, body, &gateway.bodies).await.map_err(|unread| {
        call.trail.turned_away(unread.why());
        match unread {
            Unread::TooLarge => Answer::message(413, "Request Entity Too Large"),
            Unread::NoRoom => busy(call.place.api.kind == Kind::Url),
            Unread::TooSlow => Answer::message(408, "Request Timeout"),
            Unread::Broken => Answer::message(400, "Bad Request"),
        }
    })
}

fn arrival_of<'a>(gateway: &'a Gateway, call: &'a Call<'a>, authorized: &'a Authorized) -> Arrival<'a> {
    let stage = &call.place.api.stages[call.stage];
    Arrival {
        account: &gateway.account,
        api: &call.place.api.id,
        domain: &call.head.host,
        stage: &stage.name,
        stage_variables: &stage.variables,
        route_key: &call.route.definition.key,
        parameters: call.parameters,
        request_id: call.request_id,
        time_ms: now_ms(),
        authorized,
    }
}

async fn integrate(gateway: &Gateway, call: &Call<'_>, request: &Request<'_>, arrival: &Arrival<'_>) -> Answer {
    let definition = &call.route.definition;
    let is_url = call.place.api.kind == Kind::Url;
    // The function of a URL has as long as its own timeout.
    let within =
        if is_url { Duration::from_secs(24 * 3_600) } else { Duration::from_millis(definition.timeout_ms.into()) };
    let remark = |what: &'static str, text: String| {
        call.trail.tell(what, &text);
        let text = format!("route {:?}: {text}", definition.key);
        call.engine.remark_on_api(&call.place.api.name, &text);
    };
    match &definition.target {
        Target::Function(function) => {
            let (reader, payload) = if is_url {
                (Reader::Url, event::two(request, arrival, For::Url))
            } else {
                (Reader::Http(definition.payload_format), event::event(definition.payload_format, request, arrival))
            };
            let trace = call.head.trace.as_deref();
            let question = Question { function, authorizer: None, trace, is_told: false };
            match call.trail.ask(call.engine, question, payload.into(), within).await {
                Some(Ok(Reply::Json(json) | Reply::Executed { json, .. })) => answer::read(reader, &json)
                    .unwrap_or_else(|text| {
                        remark("failed", format!("function {function}: {text}"));
                        failed(is_url)
                    }),
                Some(Ok(_) | Err(EngineError::Function { .. } | EngineError::TooLarge(_))) => failed(is_url),
                Some(Err(EngineError::TooMany { .. } | EngineError::Closed(_) | EngineError::OwnerLost(_))) => {
                    busy(is_url)
                }
                Some(Err(error)) => {
                    let text = format!("route {:?}: function {function}: {error}", definition.key);
                    call.engine.remark_on_api(&call.place.api.name, &text);
                    failed(is_url)
                }
                None => Answer::message(503, "Service Unavailable"),
            }
        }
        Target::Nothing {} => {
            call.trail.tell("failed", NOTHING);
            failed(is_url)
        }
        Target::Url(url) => {
            match timeout(within, gateway.outside.hand_on((url.as_str(), call.told_by()), request, arrival)).await {
                Ok(Ok(answer)) => {
                    call.trail.tell("handed on", url);
                    answer
                }
                Ok(Err(text)) => {
                    remark("not reached", text);
                    Answer::message(503, "Service Unavailable")
                }
                Err(_) => {
                    call.trail.tell("not waited for", url);
                    Answer::message(503, "Service Unavailable")
                }
            }
        }
    }
}

/// Give the names of headers as they were sent.
fn spell(head: &mut Head<'_>, parts: &Parts, lines: Option<Vec<u8>>) {
    if let Some(lines) = lines {
        head.spell(&spelling::names(&lines, parts));
    }
}

fn header<'a>(head: &'a Head<'_>, name: &str) -> Option<&'a str> {
    head.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| &**value)
}

/// What a handler that raises, or answers nonsense, is to the client.
fn failed(is_url: bool) -> Answer {
    if is_url {
        return Answer { status: 502, headers: Vec::new(), body: b"Internal Server Error".to_vec() };
    }
    Answer::message(500, "Internal Server Error")
}

/// What there is no place for.
pub(super) fn busy(is_url: bool) -> Answer {
    let mut answer =
        if is_url { Answer::message(429, "Rate Exceeded.") } else { Answer::message(503, "Service Unavailable") };
    answer.headers.push(("retry-after".into(), "1".into()));
    answer
}
