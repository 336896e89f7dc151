//! REST APIs: a request, from its head to its answer. What it means is decided in `forebay_core::gateway::rest`.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use forebay_core::gateway::answer::Answer;
use forebay_core::gateway::api::PREFIX;
use forebay_core::gateway::apis::Named;
use forebay_core::gateway::authorizer::Decision;
use forebay_core::gateway::policy::Verdict;
use forebay_core::gateway::request::{Authorized, Request};
use forebay_core::gateway::rest::cache::{self, Wanted};
use forebay_core::gateway::rest::compiled::{Route, Served};
use forebay_core::gateway::rest::conditions::Facts;
use forebay_core::gateway::rest::context::Arrival;
use forebay_core::gateway::rest::failure::{Failure, ResponseType};
use forebay_core::gateway::rest::gate::{self, Caller};
use forebay_core::gateway::rest::log::Log;
use forebay_core::gateway::rest::model::{ApiKeySource, MethodSetting, RestApi, Stage};
use forebay_core::gateway::rest::pipeline::{sign, unrouted};
use forebay_core::gateway::rest::plans::{self, Client};
use forebay_core::gateway::routes;
use forebay_core::gateway::throttle;
use forebay_core::token_bucket::TokenBucket;
use forebay_engine::gateways::caches::SharedCache;
use forebay_engine::gateways::requests;
use forebay_engine::gateways::rest::{Kept, ServedRest};
use forebay_engine::metrics::Metric;
use forebay_engine::runtime::engine::Engine;
use hyper::body::Incoming;
use tokio::sync::{OnceCell, Semaphore};

use crate::aside::Aside;
use crate::clock::now_ms;
use crate::gateway::body::{self, Unread};
use crate::gateway::compress::{compressed, Compressing};
use crate::gateway::deployment::{Kept as KeptFor, KnownToken};
use crate::gateway::head::Head;
use crate::gateway::serve::{self, FULL, LEFT, LEFT_WHY};
use crate::gateway::trail::Trail;
use crate::gateway::{going, rest_authorize, signers, Gateway};

/// KiB of integrations' answers that wait for long templates: no request is under way for longer.
const ANSWERS_KIB_MAX: usize = 64 << 10;
/// So many requests wait for long templates and models before their integrations are asked.
const WAITING_MAX: usize = 64;
/// Most limits of methods that are counted; beyond, all begin anew.
const BUCKETS_MAX: usize = 10_000;
/// Why a request is turned away, for an operator.
const BY_STAGE: &str = "the throttle of the stage for this method";

/// What REST APIs share between requests.
pub(super) struct RestState {
    pub(super) served: Arc<ServedRest>,
    /// Deployments that are served, by the API's id and their own.
    compiled: Mutex<HashMap<(String, String), Compiled>>,
    /// Long templates, the bodies that models are held against, and the models and templates of a deployment when they are read.
    pub(super) long: Aside,
    /// KiB of answers that wait for their templates.
    pub(super) answers: Arc<Semaphore>,
    compiling: Aside,
    compressing: Compressing,
    /// Limits of stages for methods, by the API's id, the stage and the method.
    buckets: Mutex<HashMap<(String, String, String), TokenBucket>>,
    pub(super) decisions: KeptFor<Decision, Failure>,
    /// Tokens of user pools that were found good.
    pub(super) tokens: KeptFor<KnownToken>,
    random: RandomState,
}

/// An API that a request has reached, and the path in it.
pub(super) struct Found<'a> {
    kept: Arc<Kept>,
    api: Arc<RestApi>,
    path: &'a str,
}

impl Found<'_> {
    pub(super) fn name(&self) -> &str {
        &self.api.name
    }

    /// Whether it is to be reached at a port of its own alone.
    pub(super) fn is_closed(&self) -> bool {
        self.api.disable_execute_api_endpoint
    }
}

/// One request that has reached a method.
pub(super) struct Reached<'a> {
    pub(super) engine: &'a Engine,
    pub(super) kept: &'a Kept,
    pub(super) served: &'a Arc<Served>,
    pub(super) stage: &'a Stage,
    pub(super) route: &'a Route,
    pub(super) request: Request<'a>,
    pub(super) arrival: Arrival<'a>,
    pub(super) trail: &'a Trail,
    /// The answers that the stage keeps, if it keeps any.
    pub(super) answers: Option<SharedCache>,
    /// The services that an integration reaches; all of them where none is named.
    pub(super) services: &'a [String],
}

fn locked<T>(of: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // What is in there is whole after every step.
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A deployment, once it has been read.
type Compiled = Arc<OnceCell<Arc<Served>>>;

impl RestState {
    pub(super) fn new(served: Arc<ServedRest>) -> Self {
        Self {
            served,
            compiled: Mutex::default(),
            long: Aside::new(WAITING_MAX),
            answers: Arc::new(Semaphore::new(ANSWERS_KIB_MAX)),
            compiling: Aside::new(0),
            compressing: Compressing::new(),
            buckets: Mutex::default(),
            decisions: KeptFor::default(),
            tokens: KeptFor::default(),
            random: RandomState::new(),
        }
    }

    pub(super) fn kept(&self) -> Arc<Kept> {
        self.served.now()
    }

    /// The REST API of a request: by its host, by `/_apis/{id or name}/…`, or because there is no other API. `is_taken` says which
    /// names belong to APIs of other kinds.
    pub(super) fn find<'a>(
        &self,
        host: &str,
        path: &'a str,
        is_taken: impl Fn(&str) -> bool,
        is_alone: bool,
    ) -> Option<Found<'a>> {
        let kept = self.served.now();
        let apis = &kept.account.apis;
        let named = |name: &str| {
            let by_name = || apis.values().filter(|api| api.name == name).min_by_key(|api| api.created_date);
            apis.get(name).or_else(|| if is_taken(name) { None } else { by_name() }).cloned()
        };
        let by_host = match Named::by(host) {
            Some(Named::Id(id)) => apis.get(id).cloned(),
            Some(Named::Name(name)) => named(name),
            None => None,
        };
        if let Some(api) = by_host {
            return Some(Found { kept, api, path });
        }
        if let Some(rest) = path.strip_prefix(PREFIX) {
            let (name, _) = rest.split_once('/').unwrap_or((rest, ""));
            let api = named(name)?;
            let path = &rest[name.len()..];
            return Some(Found { kept, api, path: if path.is_empty() { "/" } else { path } });
        }
        let only = (is_alone && apis.len() == 1).then(|| apis.values().next().cloned()).flatten()?;
        Some(Found { kept, api: only, path })
    }

    /// The REST API of a name, behind a port of its own: its path begins at the root.
    pub(super) fn only<'a>(&self, name: &str, path: &'a str) -> Option<Found<'a>> {
        let kept = self.served.now();
        let named = kept.account.apis.values().filter(|api| api.name == name);
        let api = named.min_by_key(|api| api.created_date).cloned()?;
        Some(Found { kept, api, path })
    }

    pub(super) fn has_host(&self, host: &str) -> bool {
        let kept = self.served.now();
        let apis = &kept.account.apis;
        let is_known = match Named::by(host) {
            Some(Named::Id(id)) => apis.contains_key(id),
            Some(Named::Name(name)) => apis.contains_key(name) || apis.values().any(|api| api.name == name),
            None => false,
        };
        is_known || kept.served_urls.has_host(host)
    }

    /// A deployment, compiled once: the first request of it waits for that, and those that come meanwhile.
    async fn compiled(&self, kept: &Kept, api: &str, deployment: &str) -> Option<Arc<Served>> {
        let key = (api.to_owned(), deployment.to_owned());
        let known = locked(&self.compiled).get(&key).cloned();
        let place = match known {
            Some(known) => known,
            None => {
                kept.account.deployments.get(&key)?;
                let mut compiled = locked(&self.compiled);
                compiled.retain(|key, _| kept.account.deployments.contains_key(key));
                compiled.entry(key.clone()).or_default().clone()
            }
        };
        if let Some(served) = place.get() {
            return Some(served.clone());
        }
        let api = kept.account.deployments.get(&key)?.api.clone();
        place.get_or_try_init(|| async { self.compile(api).await.ok_or(()) }).await.ok().cloned()
    }

    /// Compile an API beside the thread of all requests: its models and templates may be many.
    pub(super) async fn compile(&self, api: Arc<RestApi>) -> Option<Arc<Served>> {
        self.compiling.place_in_any_case().await?.run(move || Arc::new(Served::compile(api))).await.ok()
    }

    /// Whether one more request of a method may begin in its stage.
    fn admits(&self, api: &str, stage: &Stage, key: &str, now_ns: u64) -> bool {
        let Some((rate, burst)) = throttle::of_method(stage, key) else { return true };
        let Some(full) = throttle::full(rate, burst, now_ns) else { return false };
        let mut buckets = locked(&self.buckets);
        if buckets.len() >= BUCKETS_MAX {
            buckets.clear();
        }
        let bucket = buckets.entry((api.to_owned(), stage.stage_name.clone(), key.to_owned())).or_insert(full);
        throttle::admits(bucket, &full, now_ns)
    }

    /// A number from 0 to 1.
    fn draw(&self, of: &str) -> f64 {
        (self.random.hash_one(of) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Answer a request of a REST API.
pub(super) async fn serve_rest(
    gateway: &Gateway,
    engine: &Engine,
    found: &Found<'_>,
    head: &Head<'_>,
    incoming: Incoming,
) -> Answer {
    let (began, trail) = (Instant::now(), Trail::default());
    let (request_id, extended_id) = (uuid_of(&gateway.ids.next(), &gateway.ids.next()), gateway.ids.next());
    let named = (request_id.as_str(), extended_id.as_str(), &trail);
    let (answer, stage, route) = serve_stage(gateway, engine, found, named, head, incoming).await;
    let (registry, api) = (engine.registry(), found.api.name.as_str());
    // Only what is declared is a label: a client makes none up.
    let labels = [api, stage.as_str(), route.as_str()];
    registry.counter(Metric::ApiRequests, &labels).add(1);
    match answer.status {
        400..=499 => registry.counter(Metric::ApiClientErrors, &labels).add(1),
        500..=599 => registry.counter(Metric::ApiServerErrors, &labels).add(1),
        _ => {}
    }
    registry.distribution(Metric::ApiLatency, &labels[..2]).record(began.elapsed().as_secs_f64());
    if going::is_left() {
        trail.tell(LEFT, LEFT_WHY);
    }
    let way = trail.take();
    if let Some(took) = way.integration {
        registry.distribution(Metric::ApiIntegrationLatency, &labels[..2]).record(took.as_secs_f64());
    }
    if let Some(had_it) = way.cached {
        let metric = if had_it { Metric::ApiCacheHits } else { Metric::ApiCacheMisses };
        registry.counter(metric, &labels[..2]).add(1);
    }
    let answer = compressed(answer, found.api.minimum_compression_size, head, &gateway.rest.compressing).await;
    let asked = requests::Asked {
        at_ms: now_ms(),
        took: began.elapsed(),
        ids: [&request_id, &extended_id],
        api,
        stage: &stage,
        method: head.method,
        place: requests::Place::Path(found.path),
        route: &route,
        function: "",
        status: answer.status,
    };
    serve::note(gateway, head, (&found.api.id, found.path, answer.body.len()), &asked, way);
    answer
}

/// The answer, and the stage and the method that the request has reached, empty where there is none.
async fn serve_stage(
    gateway: &Gateway,
    engine: &Engine,
    found: &Found<'_>,
    (request_id, extended_id, trail): (&str, &str, &Trail),
    head: &Head<'_>,
    incoming: Incoming,
) -> (Answer, String, String) {
    let Found { kept, api, path } = found;
    let (name, rest) = stage_of(path);
    let Some(stage) = kept.account.stages.get(&(api.id.clone(), name.to_owned())) else {
        trail.turned_away("the API has no such stage");
        return (forbidden(request_id, extended_id), String::new(), String::new());
    };
    let reached_stage = stage.stage_name.clone();
    let canary = gate::canary(stage, gateway.rest.draw(request_id));
    let deployment = canary.and_then(|canary| canary.deployment_id.as_deref()).unwrap_or(&stage.deployment_id);
    let Some(served) = gateway.rest.compiled(kept, &api.id, deployment).await else {
        trail.turned_away("the deployment of the stage is gone");
        return (forbidden(request_id, extended_id), reached_stage, String::new());
    };
    let (variables, time_ms) = (gate::variables(stage, canary), now_ms());
    let trace_id = trace_of(request_id, time_ms);
    let request = head.request(rest);
    let open = Authorized::Open;
    let mut arrival = Arrival {
        account: &gateway.account,
        region: &gateway.region,
        domain: &head.host,
        stage: &stage.stage_name,
        stage_variables: &variables,
        deployment,
        is_canary: canary.is_some(),
        full_path: path,
        parameters: &[],
        request_id,
        extended_request_id: extended_id,
        trace_id: &trace_id,
        time_ms,
        authorized: &open,
        api_key: None,
    };
    let Some((route, parameters)) = served.find(head.method, rest) else {
        let failure = Failure::new(ResponseType::MissingAuthenticationToken);
        trail.turned_away("no method of the stage has this verb and this path");
        return (unrouted(&served, &request, &arrival, &failure), reached_stage, String::new());
    };
    let name = format!("{} {}", route.method.http_method, route.resource_path);
    arrival.parameters = &parameters;
    let answers = answers(gateway, &served.api.id, stage, &arrival);
    let (served, services) = (&served, &[][..]);
    let reached = Reached { engine, kept, served, stage, route, request, arrival, trail, answers, services };
    let answer = answer_reached(gateway, &reached, head, incoming).await.unwrap_or_else(|answer| answer);
    (answer, reached_stage, name)
}

/// Answer a request that has reached a method.
async fn answer_reached(
    gateway: &Gateway,
    reached: &Reached<'_>,
    head: &Head<'_>,
    incoming: Incoming,
) -> Result<Answer, Answer> {
    let fail = |failure: Failure| fail(reached, &failure);
    // Before anybody is asked: who waits for an authoriser takes a place, too.
    let Some(_under_way) = gateway.places.request() else {
        reached.trail.turned_away(FULL);
        return Err(fail(Failure::new(ResponseType::Throttled)));
    };
    admitted_by_policy(gateway, reached).map_err(fail)?;
    let ((authorized, client), whole) = if reached.route.method.authorization_type == "AWS_IAM" {
        // A signature is made over the body: it is read before anybody is let in, if the head can be right.
        let arn = arn(gateway, reached);
        let head_is_right = gateway.signers.check_head(head.given(&[]), signers::OF_APIS);
        head_is_right.map_err(|unsigned| fail(unsigned.failure(&arn)))?;
        let whole = take_rest(gateway, reached, head, incoming).await?;
        let signed = gateway.signers.signer(head.given(&whole.bytes), signers::OF_APIS);
        let signer = signed.map_err(|unsigned| fail(unsigned.failure(&arn)))?;
        (let_in(gateway, reached, Some(signer)).await.map_err(fail)?, whole)
    } else {
        (let_in(gateway, reached, None).await.map_err(fail)?, take_rest(gateway, reached, head, incoming).await?)
    };
    let request = Request { body: &whole.bytes, ..reached.request };
    let api_key = client.map(|client| (client.key.id.as_str(), client.key.value.as_str()));
    let arrival = Arrival { authorized: &authorized, api_key, ..reached.arrival };
    let Reached { engine, kept, served, stage, route, trail, services, .. } = *reached;
    let answers = reached.answers.clone();
    Ok(cached(gateway, &Reached { engine, kept, served, stage, route, request, arrival, trail, answers, services })
        .await)
}

/// The cache of a stage that has one. It is taken when a request arrives: one that is under way while the stage is deployed anew and
/// its cache flushed keeps its answer where nobody looks any more.
fn answers(gateway: &Gateway, api: &str, stage: &Stage, arrival: &Arrival<'_>) -> Option<SharedCache> {
    let own = arrival.is_canary && !stage.canary_settings.as_ref().is_some_and(|canary| canary.use_stage_cache);
    stage.cache_cluster_enabled.then(|| gateway.rest.served.caches.answers(api, stage, own))
}

/// Read a body.
async fn take_rest(
    gateway: &Gateway,
    reached: &Reached<'_>,
    head: &Head<'_>,
    incoming: Incoming,
) -> Result<body::Whole, Answer> {
    let fail = |why: &str, kind| {
        reached.trail.turned_away(why);
        fail(reached, &Failure::new(kind))
    };
    body::read(head, incoming, &gateway.bodies).await.map_err(|unread| match unread {
        Unread::TooLarge => fail(unread.why(), ResponseType::RequestTooLarge),
        Unread::NoRoom => fail(unread.why(), ResponseType::Throttled),
        Unread::TooSlow => Answer::message(408, "Request Timeout"),
        Unread::Broken => Answer::message(400, "Bad Request"),
    })
}

/// The ARN of an API.
fn api_arn(gateway: &Gateway, api: &str) -> String {
    format!("arn:aws:execute-api:{}:{}:{api}", gateway.region, gateway.account)
}

/// The ARN of what a request asks for.
pub(super) fn arn(gateway: &Gateway, reached: &Reached<'_>) -> String {
    format!("{}/{}", api_arn(gateway, &reached.served.api.id), place_of(reached))
}

/// The same with the path as routes are found by it, where it was written otherwise.
pub(super) fn readings_of_arn(gateway: &Gateway, reached: &Reached<'_>) -> Vec<String> {
    let arn = api_arn(gateway, &reached.served.api.id);
    readings_of(reached).into_iter().map(|place| format!("{arn}/{place}")).collect()
}

fn fail(reached: &Reached<'_>, failure: &Failure) -> Answer {
    reached.trail.fails(failure);
    // What a client has sent is no fault of the app.
    if let Some(remark) = failure.remark.as_ref().filter(|_| failure.response_type.status() >= 500) {
        let text = format!("{} {}: {remark}", reached.request.method, reached.route.resource_path);
        reached.engine.remark_on_api(&reached.served.api.name, &text);
    }
    reached.exchange(Log::default()).failed(failure)
}

/// Hold a request against the resource policy of its API.
fn admitted_by_policy(gateway: &Gateway, reached: &Reached<'_>) -> Result<(), Failure> {
    let Reached { served, route, request, arrival, .. } = reached;
    let Some(policy) = &served.api.policy else { return Ok(()) };
    let (place, readings, api_arn) = (place_of(reached), readings_of(reached), api_arn(gateway, &served.api.id));
    let facts = Facts {
        source_ip: request.source_ip,
        user_agent: request.values("user-agent").next(),
        referer: request.values("referer").next(),
        is_tls: request.values("x-forwarded-proto").all(|scheme| scheme == "https"),
        now_ms: arrival.time_ms,
    };
    let caller = Caller { api_arn: &api_arn, place: &place, readings: &readings, facts };
    // An authoriser says who is let in; the policy only says who is not.
    let needs_allow = ["NONE", "COGNITO_USER_POOLS"].contains(&route.method.authorization_type.as_str());
    if needs_allow || gate::judge(policy, caller)? == Verdict::Deny {
        gate::admit(policy, caller)?;
    }
    Ok(())
}

/// Who has sent a request, and by which key; the failure of one that is not let in. Of one that needs a signature it is known who
/// has signed.
async fn let_in<'a>(
    gateway: &Gateway,
    reached: &Reached<'a>,
    signer: Option<Authorized>,
) -> Result<(Authorized, Option<Client<'a>>), Failure> {
    let Reached { kept, served, stage, route, request, arrival, .. } = reached;
    let api = &served.api;
    let kind = route.method.authorization_type.as_str();
    let (authorized, usage_key) = match kind {
        "NONE" => (Authorized::Open, None),
        "CUSTOM" => rest_authorize::ask_authorizer(gateway, reached, &arn(gateway, reached)).await?,
        "AWS_IAM" => (signer.ok_or_else(|| Failure::new(ResponseType::MissingAuthenticationToken))?, None),
        "COGNITO_USER_POOLS" => (rest_authorize::ask_user_pool(gateway, reached).await?, None),
        _ => return Err(Failure::new(ResponseType::Unauthorized)),
    };
    let key = route.setting_key(&route.method.http_method);
    let client = if route.method.api_key_required {
        let value = match api.api_key_source {
            // Who reads the request behind this takes the first or the last of several.
            ApiKeySource::Header if request.values("x-api-key").count() > 1 => String::new(),
            ApiKeySource::Header => request.header("x-api-key").to_owned(),
            ApiKeySource::Authorizer => usage_key.unwrap_or_default(),
        };
        let method = format!("{}/{}", route.resource_path, route.method.http_method);
        let place = plans::Place { api: &api.id, stage: &stage.stage_name, method: &method };
        let known = (&kept.account.keys, &kept.account.plans);
        let client = kept.directory.client(known, place, &value)?;
        let mut is_by_key = true;
        let now = (gateway.mono_ns(), arrival.time_ms);
        let admitted = gateway.rest.served.usage().admit(client, place, now, || {
            is_by_key = gateway.rest.admits(&api.id, stage, &key, now.0);
            is_by_key
        });
        admitted.inspect_err(|failure| {
            let (plan, key) = (&client.plan.name, &client.key.id);
            let by_key = || format!("usage plan {plan}, key {key}: {}", failure.response_type.name());
            reached.trail.turned_away(&if is_by_key { by_key() } else { BY_STAGE.to_owned() });
        })?;
        Some(client)
    } else {
        if !gateway.rest.admits(&api.id, stage, &key, gateway.mono_ns()) {
            reached.trail.turned_away(BY_STAGE);
            return Err(Failure::new(ResponseType::Throttled));
        }
        None
    };
    Ok((authorized, client))
}

/// Answer from the stage's cache, or run the request and keep its answer.
async fn cached(gateway: &Gateway, reached: &Reached<'_>) -> Answer {
    let Reached { stage, route, request, arrival, .. } = reached;
    let setting: MethodSetting = gate::setting(stage, &route.setting_key(&route.method.http_method));
    let mut exchange = reached.exchange(Log::default());
    let is_kept = setting.caching_enabled && request.method == "GET" && route.method.integration.is_some();
    let (true, Some(cache)) = (is_kept, &reached.answers) else {
        return reached.run(gateway, exchange).await.0;
    };
    // What the method would refuse is not answered, though another one has asked well.
    let key = match reached.checked(gateway, &mut exchange).await {
        Ok(key) => key,
        Err(failure) => return fail(reached, &failure),
    };
    let wanted = match cache::wanted(request.header("cache-control"), &setting, *arrival.authorized != Authorized::Open)
    {
        Ok(wanted) => wanted,
        Err(failure) => return fail(reached, &failure),
    };
    let known = key.and_then(|key| locked(cache).get(&key, arrival.time_ms));
    let known = known.filter(|_| wanted != Wanted::Fresh);
    reached.trail.looked_in_cache(known.is_some());
    if let Some(known) = known {
        reached.trail.reached("answered from the cache", "cache", "stage", None);
        let mut answer = Answer::clone(&known);
        // It has the ids of the request that it was kept of.
        let was_called = answer.header("x-amzn-trace-id").is_some();
        sign(&mut answer, arrival, was_called);
        if wanted == Wanted::KeptWithWarning {
            let text = "199 Cache-control headers were ignored because the caller was unauthorized.";
            answer.headers.push(("Warning".into(), text.into()));
        }
        return answer;
    }
    let answer = reached.run(gateway, exchange).await.0;
    if let (200, Some(key)) = (answer.status, key) {
        locked(cache).put(key, &Arc::new(answer.clone()), setting.cache_ttl_in_seconds, arrival.time_ms);
    }
    answer
}

/// What a request asks for, as the end of an ARN: `prod/GET/pets`.
fn place_of(reached: &Reached<'_>) -> String {
    let Reached { stage, request, .. } = reached;
    format!("{}/{}/{}", stage.stage_name, request.method, request.path.trim_start_matches('/'))
}

/// The same with the path as others may read it.
fn readings_of(reached: &Reached<'_>) -> Vec<String> {
    let (stage, method) = (&reached.stage.stage_name, reached.request.method);
    let readings = routes::readings(reached.request.path).into_iter();
    readings.map(|path| format!("{stage}/{method}/{path}")).collect()
}

/// The stage that a path names, and the path in it.
fn stage_of(path: &str) -> (&str, &str) {
    let rest = path.trim_start_matches('/');
    let name = rest.split('/').next().unwrap_or_default();
    let behind = &rest[name.len()..];
    (name, if behind.is_empty() { "/" } else { behind })
}

/// What AWS says where there is no such stage.
fn forbidden(request_id: &str, extended_id: &str) -> Answer {
    let mut answer = Answer::message(403, "Forbidden");
    answer.headers.push(("x-amzn-ErrorType".into(), "ForbiddenException".into()));
    answer.headers.push(("x-amzn-RequestId".into(), request_id.to_owned()));
    answer.headers.push(("x-amz-apigw-id".into(), extended_id.to_owned()));
    answer
}

/// The id by which a trace of a request would be known.
pub(super) fn trace_of(request_id: &str, time_ms: u64) -> String {
    format!("Root=1-{:08x}-{}", time_ms / 1_000, &request_id.replace('-', "")[..24])
}

/// A request's id as REST APIs have it, from two of the gateway's own.
pub(super) fn uuid_of(one: &str, other: &str) -> String {
    use sha2::{Digest as _, Sha256};
    let digest = Sha256::new().chain_update(one).chain_update(other).finalize();
    let hex = format!("{:032x}", u128::from_be_bytes(digest[..16].try_into().unwrap_or_default()));
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..32])
}
