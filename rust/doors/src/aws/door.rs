//! The door: an HTTP request comes in, is verified, decoded, carried out, and answered in the protocol in which it came.

use std::hash::BuildHasher as _;
use std::io::Read as _;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use forebay_engine::base::host::names_loopback;
use forebay_engine::base::ids::uuid_text;
use forebay_engine::runtime::engine::Engine;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;

use crate::aws::asker::Asker;
use crate::aws::bodies::{Bodies, Whose, BODY_MAX};
use crate::aws::call::{Call, Output};
use crate::aws::check;
use crate::aws::checksums;
use crate::aws::codec::{self, Protocol};
use crate::aws::early;
use crate::aws::fault::Fault;
use crate::aws::keys::{Found, Key, Keys};
use crate::aws::ledger::{Entry, Ledger, LogTo, NOT_SERVED};
use crate::aws::model::Model;
use crate::aws::owner;
use crate::aws::presigned;
use crate::aws::protocol::aws_chunked;
use crate::aws::protocol::query::{Form, KIND as FORM};
use crate::aws::protocol::rest::{self, Written};
use crate::aws::protocol::text_of_bytes;
use crate::aws::routing::{Asked, Routed, Unrouted};
use crate::aws::services::kinesis_subscription::Subscriptions;
use crate::aws::services::remembered::Remembered;
use crate::aws::sigv4::{self, Given, Refused, Verifier};
use crate::aws::strangers;
use crate::aws::value::{self, Value};
use crate::clock::now_ms;
use crate::gateway::Gateway;
use crate::http::listener::{discard, holds_back, whole, Body, Least, Limits, Listener, Service, Stranger};
use crate::http::StartError;

/// The file of the access keys, in the store's directory.
pub const KEYS: &str = "aws-keys.json";
/// Most characters of a client's name for its request in the log.
const INVOCATION_MAX: usize = 64;
/// Most ids of what one request made that are remembered: as many as a batch of messages has.
const MADE_MAX: usize = 10;
/// What a connection may take: clients keep theirs, and a long poll waits for 20 s.
pub(crate) const LIMITS: Limits = Limits {
    connections: 12_000,
    head_bytes: 64 * 1024,
    idle: Duration::from_secs(75),
    head: Duration::from_secs(10),
    connection: None,
    keep_alive: true,
    http2: true,
    spelling: false,
    taken: Some(Least { bytes: 75 * 1024, within: Duration::from_secs(75) }),
    stop_grace: Duration::from_secs(2),
};

/// Where the door is, and whom it lets in.
#[derive(Clone, Debug)]
pub struct Settings {
    /// An address of this machine.
    pub address: SocketAddr,
    /// Region of every ARN.
    pub region: String,
    /// Account of every ARN.
    pub account: String,
    /// The file of the access keys.
    pub keys: Option<PathBuf>,
    /// Where a line of each request goes.
    pub access_log: Option<LogTo>,
}

/// Listen; the door closes when what is given back is dropped.
pub fn start(engine: &Arc<Engine>, settings: Settings) -> Result<Listener, StartError> {
    let store = settings.keys.as_deref().and_then(Path::parent).map(Path::to_owned);
    let keys = Keys::at(settings.keys);
    if !settings.address.ip().is_loopback() && keys.is_open() {
        return Err(StartError::NoKeys(settings.address.ip(), keys.command()));
    }
    let ledger = Ledger::begin(engine.registry().clone(), engine.calls(), settings.access_log)?;
    let tester: Tester = {
        let (made, engine) = (OnceLock::new(), Arc::clone(engine));
        let (account, region) = (settings.account.clone(), settings.region.clone());
        Box::new(move || Arc::clone(made.get_or_init(|| Gateway::tester(&engine, (&account, &region)))))
    };
    let door = Door {
        tester,
        engine: Arc::clone(engine),
        ledger,
        subscriptions: Arc::default(),
        remembered: Remembered::default(),
        address: settings.address,
        region: settings.region,
        account: settings.account,
        store,
        keys,
        verifier: Verifier::default(),
        is_loopback: settings.address.ip().is_loopback(),
        bodies: Bodies::new(),
        requests: AtomicU64::new(0),
        seeds: [std::hash::RandomState::new(), std::hash::RandomState::new()],
    };
    door.tell_of_no_keys();
    Listener::start("forebay-aws", settings.address, LIMITS, Arc::new(door))
}

struct Door {
    engine: Arc<Engine>,
    ledger: Ledger,
    subscriptions: Arc<Subscriptions>,
    remembered: Remembered,
    address: SocketAddr,
    region: String,
    account: String,
    store: Option<PathBuf>,
    keys: Keys,
    verifier: Verifier,
    is_loopback: bool,
    bodies: Bodies,
    requests: AtomicU64,
    seeds: [std::hash::RandomState; 2],
    tester: Tester,
}

/// Gives what runs methods for tests, which is made when it is first needed.
type Tester = Box<dyn Fn() -> Arc<Gateway> + Send + Sync>;

impl Service for Door {
    /// Nothing else says whose a connection is while there are no keys.
    fn is_stranger(&self, peer: SocketAddr) -> bool {
        self.keys.is_open() && !owner::is_ours(peer, self.address)
    }

    async fn answer(&self, request: Request<Incoming>, client: SocketAddr) -> Response<Body> {
        let mut entry = self.ledger.enter(self.request_id(), client);
        let answer = self.answer_entered(request, &mut entry).await;
        let mut response = match answer {
            Answered::Whole(written) => respond(written),
            Answered::Object(written, body) => respond(written).map(|_| body),
            Answered::Stream(stream, header) => {
                let mut response = Response::new(stream);
                response.headers_mut().extend(header);
                let kind = HeaderValue::from_static("application/vnd.amazon.eventstream");
                response.headers_mut().insert(http::header::CONTENT_TYPE, kind);
                response
            }
        };
        entry.status = response.status().as_u16();
        let (service, id) = (entry.operation.0, uuid_text(entry.id));
        let name = if service == "s3" { "x-amz-request-id" } else { "x-amzn-requestid" };
        let other =
            ["s3", "kinesis"].contains(&service).then(|| ("x-amz-id-2", text_of_bytes(&entry.id.to_be_bytes())));
        for (name, value) in std::iter::once((name, id)).chain(other) {
            if let Ok(value) = HeaderValue::try_from(value) {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}

enum Answered {
    Whole(Written),
    Object(Written, Body),
    Stream(Body, Option<(HeaderName, HeaderValue)>),
}

impl Door {
    async fn answer_entered(&self, request: Request<Incoming>, entry: &mut Entry<'_>) -> Answered {
        // Boxed, so that a long poll keeps nothing of its request but what was read out of it.
        match Box::pin(self.taken(request, entry)).await {
            Ok((routed, call)) => carry_out(routed, &call, entry).await,
            Err(written) => Answered::Whole(written),
        }
    }

    /// Read a request.
    async fn taken(&self, request: Request<Incoming>, entry: &mut Entry<'_>) -> Result<(Routed, Call<'_>), Written> {
        let (head, body) = request.into_parts();
        let is_stranger = head.extensions.get::<Stranger>().is_some();
        let authority = authority(&head.headers, &head.uri);
        let (path, query) = (head.uri.path(), head.uri.query().unwrap_or_default());
        let headers = &head.headers;
        let given = Given { method: head.method.as_str(), path, query, headers, authority: &authority, body: &[] };
        let mut asker = Asker::of(given, is_stranger);
        if let Some((reason, why)) = self.refused_at_once(&head.method, &head.headers, &authority) {
            entry.refused = Some(reason);
            let unread = (403, "AccessDeniedException", why);
            return Err(early::refused(unread, given, asker.service(), entry));
        }
        if early::is_form(given, asker.signature.as_ref().err()) {
            entry.refused = Some(NOT_SERVED);
            if !holds_back(headers) {
                discard(body).await;
            }
            return Err(early::refused(early::FORM_OF_S3, given, Some("s3"), entry));
        }
        // A body of somebody whom nobody knows is not worth its room.
        let whose = self.whose(&mut asker, given);
        let body = self.bodies.read(headers, body, whose).await;
        let body = body.map_err(|unread| early::refused(unread, given, asker.service(), entry))?;
        asker.is_cut = body.is_cut;
        let given = Given { body: &body.bytes, ..given };
        let invocation = given.headers.get("amz-sdk-invocation-id").and_then(|value| value.to_str().ok());
        entry.invocation = invocation.unwrap_or_default().chars().take(INVOCATION_MAX).collect();
        entry.is_in_query_mode = given.headers.get("x-amzn-query-mode").is_some_and(|mode| mode == "true");
        self.prepare(given, &asker, entry)
    }

    /// A UUID of version 4.
    fn request_id(&self) -> u128 {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let half = |seed: &std::hash::RandomState| u128::from(seed.hash_one(number));
        let bits = half(&self.seeds[0]) << 64 | half(&self.seeds[1]);
        bits & !(0xF << 76) & !(0x3 << 62) | (0x4 << 76) | (0x2 << 62)
    }

    /// What no client of AWS sends: a web page's request, or one under a name that is not this machine's.
    fn refused_at_once(
        &self,
        method: &Method,
        headers: &HeaderMap,
        authority: &str,
    ) -> Option<(&'static str, &'static str)> {
        if method == Method::OPTIONS || early::is_of_page(headers) {
            return Some(("web_page", "requests of web pages are not answered: there is no CORS here"));
        }
        if headers.get_all(http::header::HOST).iter().count() > 1 {
            return Some(("other_host", "a request names one host"));
        }
        if self.is_loopback && !names_loopback(authority) {
            return Some((
                "other_host",
                "this port answers under 127.0.0.1, [::1] and localhost only: `--aws-host` (aws_host) has it answer others",
            ));
        }
        None
    }

    /// Whose a request is by its head. Where that alone tells by which key it was signed, the key is kept.
    fn whose(&self, asker: &mut Asker, given: Given<'_>) -> Whose {
        let Ok(signature) = &asker.signature else { return Whose::Unknown };
        let key = match self.keys.find(&signature.key_id) {
            Found::Key(key) => key,
            Found::Open if !signature.is_in_query && asker.is_stranger => return Whose::Claimed,
            Found::Open if !signature.is_in_query => return Whose::Known,
            Found::Open | Found::Nobody => return Whose::Unknown,
        };
        match self.verifier.verify_head(signature, given, &key.secret, now_ms() as i64) {
            Ok(true) => {
                asker.verified = Some(key);
                // Whoever was given a URL has no key.
                if signature.is_in_query {
                    Whose::Claimed
                } else {
                    Whose::Known
                }
            }
            // Some SDKs leave the body's hash out of the head. What else came over this connection proves nothing: it may be a proxy's.
            Ok(false) => Whose::Claimed,
            Err(_) => Whose::Unknown,
        }
    }

    /// Find the operation, see to who asks, and read the input.
    fn prepare(&self, given: Given<'_>, asker: &Asker, entry: &mut Entry<'_>) -> Result<(Routed, Call<'_>), Written> {
        let signed_for = asker.service();
        let (query, headers) = presigned::told(signed_for, given);
        // As it is read, which need not be as it was signed.
        let read = Given { headers: &headers, ..given };
        let form = form_of(read, Form::look);
        let asked = Asked {
            method: given.method,
            path: given.path,
            query: &query,
            headers: read.headers,
            signed_for,
            form: form.as_ref(),
        };
        if matches!(asker.signature, Err(Refused::Missing)) && asked.says_nothing() {
            entry.refused = Some(early::reason(&Refused::Missing));
            entry.error = Some(("AccessDeniedException".into(), early::NOTHING.into()));
            return Err(early::nothing());
        }
        let routed = asked.route().map_err(|unrouted| {
            // Whoever is not let in learns nothing of what is served.
            let Unrouted { model, protocol, fault, operation } = *unrouted;
            entry.operation = (model.signing_name, operation);
            let fault = self.admit(asker, given, (None, operation), entry).err().unwrap_or(fault);
            refused((protocol, model), &fault, entry)
        })?;
        let (service, operation) = (routed.model.signing_name, routed.operation.name);
        (entry.operation, entry.is_served) = ((service, operation), true);
        let admitted = self.admit(asker, given, (Some(service), operation), entry);
        let input = admitted.and_then(|key| {
            // A form is taken apart only now: one of many fields takes its time.
            let form = (routed.protocol == Protocol::Query).then(|| form_of(read, Form::read)).flatten();
            let form = form.transpose().map_err(|malformed| Fault::malformed(malformed.0))?;
            // What it says would be passed over: it may be what tells this operation from another one.
            check::query(given.query, routed.model)?;
            let input = input_of(&routed, read, &query, form)?;
            let mut sums = checksums::of_request(operation, read.headers)?;
            if sums.is_of_list(operation) {
                sums.list = inflated(read, routed.model)?.0.into_owned();
            }
            Ok((key, input, sums))
        });
        let (key, input, sums) = input.map_err(|fault| refused((routed.protocol, routed.model), &fault, entry))?;
        let call = Call {
            engine: &self.engine,
            subscriptions: &self.subscriptions,
            remembered: &self.remembered,
            region: &self.region,
            account: &self.account,
            store: self.store.as_deref(),
            stranger: (asker.is_stranger && key.is_none()).then_some(strangers::USER),
            input,
            sums,
            before: routed.before.clone(),
            origin: format!("http://{}", given.authority),
            is_presigned: sigv4::is_presigned(given.query),
            key_id: entry.key_id.clone(),
            key,
            tester: Some(&self.tester),
            own_id: OnceLock::new(),
        };
        Ok((routed, call))
    }

    /// Let a request in by its key, or say why not. Whose it is stands in `entry` as soon as its signature is found right.
    fn admit(
        &self,
        asker: &Asker,
        given: Given<'_>,
        (service, operation): (Option<&str>, &str),
        entry: &mut Entry<'_>,
    ) -> Result<Option<Arc<Key>>, Fault> {
        let mut refuse = |refused: &Refused, service: &str| {
            entry.refused = Some(early::reason(refused));
            early::refusal(refused, service)
        };
        let service = service.or(asker.service()).unwrap_or_default();
        let signature = asker.signature.as_ref().map_err(|refused| refuse(refused, service))?;
        if signature.service != service {
            refuse(&Refused::Wrong, service);
            let scope = format!("Credential should be scoped to correct service: '{service}'.");
            return Err(Fault::new("InvalidSignatureException", scope).code("SignatureDoesNotMatch").status(403));
        }
        let key = match self.keys.find(&signature.key_id) {
            // A URL is no proof that somebody could sign: a web page can have any of them fetched.
            Found::Open if signature.is_in_query => {
                refuse(&Refused::UnknownKey, service);
                let text = "a presigned URL needs an access key, by which it is verified: `forebay aws keys create`";
                return Err(Fault::new("AccessDeniedException", text).code("AccessDenied").status(403));
            }
            Found::Open if !asker.is_cut && self.is_loopback => {
                entry.key_id.clone_from(&signature.key_id);
                return Ok(None);
            }
            Found::Key(_) if signature.has_token => {
                entry.refused = Some("session_token");
                return Err(early::of_token(service));
            }
            Found::Key(key) => key,
            Found::Open | Found::Nobody => {
                self.tell_of_no_keys();
                return Err(refuse(&Refused::UnknownKey, service));
            }
        };
        let right = match &asker.verified {
            // It was in time when its head came, whenever the body ends.
            Some(verified) if verified.secret == key.secret => sigv4::check_body(signature, given),
            _ => self.verifier.verify(signature, given, &key.secret, now_ms() as i64),
        };
        let whole = if asker.is_cut { Err(Refused::UnknownKey) } else { Ok(()) };
        right.and(whole).map_err(|refused| refuse(&refused, service))?;
        entry.key_id.clone_from(&key.id);
        let is_of_service = key.services.is_empty() || key.services.iter().any(|allowed| allowed == service);
        let why = if !is_of_service {
            format!("it is for {} only", key.services.join(", "))
        } else if key.read_only && !is_reading(operation) {
            "it is read-only".to_owned()
        } else {
            return Ok(Some(key));
        };
        entry.refused = Some("not_allowed");
        let asked = if operation.is_empty() { service.to_owned() } else { format!("{service}:{operation}") };
        let text = format!("the key {} is not authorized to perform: {asked}, because {why}", key.id);
        Err(Fault::new("AccessDeniedException", text).code("AccessDenied").status(403))
    }

    /// Say in the log, once, that nobody is let in, and why.
    fn tell_of_no_keys(&self) {
        if let Some(why) = self.keys.to_tell() {
            self.engine.remark_on_api("", &format!("AWS's API refuses everybody: {KEYS} {why}"));
        }
    }
}

/// Carry an operation out, and write what comes of it.
async fn carry_out(routed: Routed, call: &Call<'_>, entry: &mut Entry<'_>) -> Answered {
    let Routed { service, model, protocol, operation, .. } = routed;
    let done = match strangers::refuse(call, model.signing_name, operation.name) {
        Ok(()) => (service.call)(call, operation.name).await,
        Err(fault) => Err(fault),
    };
    entry.id = call.own_id.get().copied().unwrap_or(entry.id);
    let (value, body) = match done {
        Ok(Output::Value(value)) => (value, None),
        Ok(Output::Object(value, body)) => (value, Some(body)),
        Ok(Output::Stream(stream, header)) => return Answered::Stream(stream, header),
        Err(fault) => return Answered::Whole(refused((protocol, model), &fault, entry)),
    };
    entry.note_failure(&value);
    if !is_reading(operation.name) {
        entry.made = made(&value);
    }
    let mut written = codec::write(protocol, model, operation, &value, &uuid_text(entry.id));
    if model.is_rest_xml && value.get("ContentRange").is_some() {
        written.status = StatusCode::PARTIAL_CONTENT.as_u16();
    }
    match body {
        Some(body) => Answered::Object(written, body),
        None => Answered::Whole(written),
    }
}

/// Write a fault, and keep what the client reads of it.
pub(super) fn refused((protocol, model): (Protocol, &Model), fault: &Fault, entry: &mut Entry<'_>) -> Written {
    entry.error = Some((codec::code(protocol, model, fault).to_owned(), fault.message.clone()));
    let written = codec::write_error(protocol, model, fault, &uuid_text(entry.id));
    let status = codec::status_in_query(model, fault).filter(|_| entry.is_in_query_mode);
    Written { status: status.unwrap_or(written.status), ..written }
}

/// The input of an operation, as its model allows it.
pub(super) fn input_of(
    routed: &Routed,
    given: Given<'_>,
    query: &rest::Pairs,
    form: Option<Form>,
) -> Result<Value, Fault> {
    let Routed { model, protocol, operation, labels, .. } = routed;
    let (body, sum) = inflated(given, model)?;
    let request = rest::Request { labels, query, headers: given.headers, body: &body };
    let input = match (protocol, form, operation.input) {
        (Protocol::Query, Some(mut form), Some(shape)) => {
            if let Some(url) = queue_url(given) {
                form.add("QueueUrl", url);
            }
            if model.signing_name == "sqs" {
                form.rename("MessageAttributes.", "MessageAttribute.");
            }
            crate::aws::protocol::query::read(model, model.shape(shape), &form)
        }
        _ => codec::read(*protocol, model, operation, request),
    };
    let mut input = input.map_err(|malformed| Fault::malformed(malformed.0))?;
    check::input(model, operation.input, &input)?;
    // Browsers resume downloads with it. Its operation has no member for it.
    let resumed = given.headers.get(http::header::IF_RANGE).filter(|_| model.is_rest_xml);
    if let (Some(of), Value::Map(fields)) = (resumed, &mut input) {
        fields.push((value::Key::Borrowed("IfRange"), Value::Text(of.to_str().unwrap_or_default().to_owned())));
    }
    // A checksum behind the body is as good as one in a header.
    let has_sum = || model.members(operation.input).iter().any(|member| member.name == OF_CHUNKS);
    if let (Some(sum), Value::Map(fields)) = (sum.filter(|_| has_sum()), &mut input) {
        fields.retain(|(name, _)| name != OF_CHUNKS);
        fields.push((value::Key::Borrowed(OF_CHUNKS), sum.into()));
    }
    Ok(input)
}

/// Whether an operation changes nothing. What gives a worker its task, ends another one's subscription, or runs something for a test, is none
/// of those.
pub fn is_reading(operation: &str) -> bool {
    let begins =
        ["Get", "BatchGet", "Head", "List", "Describe", "TestEventPattern", "Validate", "Filter", "Search", "Export"];
    begins.iter().any(|word| operation.starts_with(word)) && operation != "GetActivityTask"
}

/// The ids of what an operation made that `why` knows.
fn made(value: &Value) -> Vec<String> {
    let id = |one: &Value| {
        let names = ["MessageId", "SequenceNumber", "EventId", "executionArn"];
        names.into_iter().find_map(|name| one.text(name)).map(str::to_owned)
    };
    let batches = ["Successful", "Records", "Entries"].into_iter().flat_map(|name| value.list(name));
    id(value).into_iter().chain(batches.take(MADE_MAX).filter_map(id)).collect()
}

/// A queue's URL out of the path on which some clients post.
fn queue_url(given: Given<'_>) -> Option<String> {
    let (account, name) = given.path.trim_matches('/').split_once('/')?;
    let is_queue = account.len() == 12 && account.bytes().all(|digit| digit.is_ascii_digit()) && !name.contains('/');
    is_queue.then(|| format!("http://{}/{account}/{name}", given.authority))
}

/// The form of a body, or of the query string; `None` where there is none.
fn form_of<F>(given: Given<'_>, read: impl Fn(&[u8]) -> F) -> Option<F> {
    let kind = given.headers.get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default();
    if kind.starts_with(FORM) && !given.body.is_empty() {
        return Some(read(given.body));
    }
    (given.query.contains("Action=") && given.body.is_empty()).then(|| read(given.query.as_bytes()))
}

/// The member that is a checksum behind a body in chunks.
const OF_CHUNKS: &str = "ChecksumCRC32";
/// A body, and the checksum behind it.
type Inflated<'g> = (std::borrow::Cow<'g, [u8]>, Option<String>);

/// The body without its compression.
fn inflated<'g>(given: Given<'g>, model: &Model) -> Result<Inflated<'g>, Fault> {
    let header = |name: &str| given.headers.get(name).and_then(|value| value.to_str().ok());
    let encoding = header("content-encoding").unwrap_or_default();
    let hash = header("x-amz-content-sha256").filter(|hash| hash.starts_with("STREAMING-"));
    match hash {
        Some(_) if !model.is_rest_xml => {
            return Err(Fault::malformed("x-amz-content-sha256: a body in chunks of its own is for S3 alone"));
        }
        Some(checksums::TRAILER) => {
            let length = header("x-amz-decoded-content-length");
            let whole = aws_chunked::read(given.body, length, header("x-amz-trailer"));
            let (whole, sum) = whole.map_err(|malformed| Fault::malformed(malformed.0))?;
            return Ok((whole.into(), sum));
        }
        Some(signed) => {
            let text = format!("{signed}: signatures of chunks are not verified; sign the whole body");
            return Err(Fault::new("NotImplemented", text).status(501));
        }
        None if encoding.contains("aws-chunked") => {
            return Err(Fault::malformed("aws-chunked: x-amz-content-sha256 does not say how the chunks are signed"));
        }
        None => {}
    }
    // An object of S3 is kept as it was sent.
    if encoding != "gzip" || model.is_rest_xml {
        return Ok((given.body.into(), None));
    }
    let mut whole = Vec::new();
    let mut reader = flate2::read::GzDecoder::new(given.body).take(BODY_MAX as u64 + 1);
    reader.read_to_end(&mut whole).map_err(|_| Fault::malformed("the body is not gzip"))?;
    if whole.len() > BODY_MAX {
        return Err(Fault::new("RequestEntityTooLarge", "the body is too long").status(413));
    }
    Ok((whole.into(), None))
}

fn authority(headers: &HeaderMap, uri: &http::Uri) -> String {
    let host = headers.get(http::header::HOST).and_then(|value| value.to_str().ok());
    host.or(uri.authority().map(http::uri::Authority::as_str)).unwrap_or_default().to_owned()
}

fn respond(written: Written) -> Response<Body> {
    let mut response = Response::new(whole(written.body));
    *response.status_mut() = StatusCode::from_u16(written.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    for (name, value) in written.headers {
        // What no header can hold comes of a handler's own texts, and is left out.
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            headers.append(name, value);
        }
    }
    response
}

/// Where a host and a port are.
pub fn resolve(host: &str, port: u16) -> Result<SocketAddr, StartError> {
    use std::net::ToSocketAddrs as _;
    let found = host.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, port)).ok();
    let looked_up = || (host, port).to_socket_addrs().ok()?.next();
    found.or_else(looked_up).ok_or_else(|| StartError::NoAddress(host.to_owned()))
}
