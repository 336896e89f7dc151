//! REST APIs, as the store keeps them, and as a door sees them.
//!
//! The core decides what a control call changes; here what has changed is written, and the door's snapshot is replaced.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use forebay_core::gateway::api::Api;
use forebay_core::gateway::apis::Apis;
use forebay_core::gateway::function_url::{self, FunctionUrl, Urls};
use forebay_core::gateway::rest::control::fault::{Fault, Outcome};
use forebay_core::gateway::rest::control::{self, Account, Facts, Row, NEEDS_CERTIFICATE};
use forebay_core::gateway::rest::plans::{Days, Directory, Usage};
use forebay_core::gateway::v2::made::{self, MadeApis};
use forebay_core::gateway::v2::{self, Home};
use serde::Serialize;
use serde_json::json;

use crate::api::rest::{Call, RestAnswer};
use crate::base::error::EngineError;
use crate::base::ids::RoomId;
use crate::base::timers::Timer;
use crate::commit::done::Done;
use crate::commit::rows::damaged;
use crate::ctx::Ctx;
use crate::dispatch::attempts::{Attempt, Token};
use crate::dispatch::job::Handed;
use crate::dispatch::participant::{Ended, Participant};
use crate::dispatch::versions::split;
use crate::dispatch::Dispatch;
use crate::failures::Failures;
use crate::gateways::caches::Caches;
use crate::gateways::certificate;
use crate::observe::operator_events::OperatorEvent;
use crate::store::port::{StoreError, Table};

pub(crate) const ROOM: RoomId = RoomId(11);
const USAGE: Timer = Timer { room: ROOM, kind: 0, id: 0 };
/// How often what keys have used is written.
const KEPT_EVERY_NS: u64 = 1_000_000_000;
/// Most bytes of a row: of an API with all its templates and models, or of a deployment.
const ROW_BYTES_MAX: usize = 16 << 20;

/// What is kept of gateways.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// The REST APIs with all that belongs to them.
    pub account: Account,
    /// The keys and plans of the account, as requests look for them.
    pub directory: Arc<Directory>,
    /// The URLs of functions that were made by AWS's calls.
    pub urls: Urls,
    /// The HTTP and WebSocket APIs that were made by AWS's calls.
    pub http_apis: MadeApis,
    /// URLs and APIs, ready to be served.
    pub served_urls: Arc<Apis>,
}

/// What is kept of gateways, as a door sees it.
#[derive(Debug, Default)]
pub struct ServedRest {
    kept: RwLock<Arc<Kept>>,
    usage: Mutex<Usage>,
    /// What stages keep in memory.
    pub caches: Caches,
}

impl ServedRest {
    /// What is kept now.
    pub fn now(&self) -> Arc<Kept> {
        // A panic while a pointer was put there has left one of the two there: either may be served.
        self.kept.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What the keys of usage plans have used. A door counts; a second later at most it is on its way to the store.
    pub fn usage(&self) -> MutexGuard<'_, Usage> {
        // It is whole after every step.
        self.usage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The room's state.
#[derive(Debug, Default)]
pub(crate) struct RestApis {
    pub(crate) served: Arc<ServedRest>,
    usage_armed: Option<u64>,
}

/// The room, with what it needs.
pub(crate) struct RestRoom<'a> {
    pub(crate) ctx: &'a mut Ctx,
    pub(crate) dispatch: &'a mut Dispatch,
    pub(crate) rest: &'a mut RestApis,
}

impl<'a> RestRoom<'a> {
    pub(crate) fn new(
        ctx: &'a mut Ctx,
        dispatch: &'a mut Dispatch,
        _: &'a mut Failures,
        rest: &'a mut RestApis,
    ) -> Self {
        Self { ctx, dispatch, rest }
    }

    /// `declared`: what the program declares, which has the URLs that no call changes.
    pub(crate) fn rest_call(&mut self, asked: Call, declared: &Apis) -> Result<Done, EngineError> {
        let seed = self.seed();
        let config = &self.ctx.config;
        let usage = match asked.operation.as_str() {
            "GetUsage" | "UpdateUsage" => self.rest.served.usage().clone(),
            _ => Usage::default(),
        };
        let made = (asked.operation == NEEDS_CERTIFICATE).then(|| certificate::make(self.ctx.now.wall_ms)).transpose();
        let made = made.map_err(|text| EngineError::Invalid(format!("no certificate can be made: {text}")))?;
        let facts = Facts {
            now_ms: self.ctx.now.wall_ms,
            account: &config.account,
            region: &config.region,
            seed,
            usage: &usage,
            api_id: asked.api_id.as_deref(),
            certificate: made.as_ref(),
        };
        // What a door reads meanwhile stays as it is; nothing is kept of a call that is refused.
        let mut kept = Kept::clone(&self.rest.served.now());
        let mut grants = Vec::new();
        let done = if function_url::OPERATIONS.contains(&asked.operation.as_str()) {
            self.url_call(&mut kept, &facts, &asked, declared)
        } else {
            control::call(&mut kept.account, &facts, &asked.operation, &asked.params).and_then(|(answer, changed)| {
                let rows = changed.iter().filter_map(|row| written(&kept.account, row).transpose());
                let rows = rows.collect::<Outcome<Vec<_>>>()?;
                for row in changed {
                    match row {
                        Row::Usage(grant) => grants.push(grant),
                        Row::Answers(api, stage) => self.rest.served.caches.forget_answers(&api, &stage),
                        Row::Decisions(api, stage) => self.rest.served.caches.forget_decisions(&api, &stage),
                        _ => {}
                    }
                }
                Ok((answer, rows))
            })
        };
        let (answer, rows) = match done {
            Ok(done) => done,
            Err(fault) => return Ok(Done::at_once(refused(fault))),
        };
        let told = RestAnswer { status: answer.status, error: None, body: answer.body };
        if !grants.is_empty() {
            for grant in &grants {
                self.rest.served.usage().allow(grant);
            }
            self.keep_usage();
            return Ok(Done::when_durable(told));
        }
        if rows.is_empty() {
            return Ok(Done::at_once(told));
        }
        for (table, key, value) in rows {
            match value {
                Some(value) => self.ctx.commit.pending.set(table, key, value),
                None => self.ctx.commit.pending.remove(table, key),
            }
        }
        self.ctx.commit.pending.urgent = true;
        self.rest.served.usage().keep_only(&kept.account.plans);
        let before = self.rest.served.now();
        self.replace(kept);
        if asked.operation.starts_with("Delete") {
            self.tell_deleted(&before.account, &asked.operation);
        }
        self.arm();
        Ok(Done::when_durable(told))
    }

    /// Tell the operator what a call has deleted of what the program declares: its paths are gone, and the program says otherwise.
    fn tell_deleted(&mut self, before: &Account, operation: &str) {
        let now = self.rest.served.now();
        for (id, api) in before.apis.iter().filter(|(_, api)| !api.declared_methods.is_empty()) {
            let after = now.account.apis.get(id);
            let has_method = |name| after.is_some_and(|after| after.declared_methods.contains(name));
            let methods = api.declared_methods.iter().filter(|name| !has_method(name));
            let stages = before.stages.keys().filter(|key| key.0 == *id && !now.account.stages.contains_key(key));
            let mut gone: Vec<String> = stages.map(|(_, stage)| format!("stage {stage}")).collect();
            gone.extend(methods.map(|(path, verb)| format!("{verb} {path}")));
            if gone.is_empty() {
                continue;
            }
            let text = format!(
                "{operation} has deleted {}: methods that the program declares come back at RestApi.deploy and at the next start, \
                 and a stage when it is deployed anew",
                gone.join(", ")
            );
            self.ctx.notice(OperatorEvent::Api, &api.name, json!({ "text": text }));
        }
    }

    /// Make, change or delete an API, as `apigatewayv2` does, or have its authorisers asked anew.
    pub(crate) fn http_api_call(&mut self, asked: Call, declared: &Apis) -> Result<Done, EngineError> {
        let seed = self.seed();
        let config = &self.ctx.config;
        let home = Home { region: &config.region, account: &config.account };
        let facts = v2::control::Facts { now_ms: self.ctx.now.wall_ms, app: &config.app, home, seed };
        if asked.operation == v2::control::RESET {
            let kept = self.rest.served.now();
            return Ok(Done::at_once(match v2::reset((declared, &kept.http_apis), home, &asked.params) {
                Ok((api, stage)) => {
                    self.rest.served.caches.forget_decisions(api, stage);
                    RestAnswer { status: 200, error: None, body: json!({}) }
                }
                Err(fault) => refused(fault),
            }));
        }
        let mut kept = Kept::clone(&self.rest.served.now());
        let done = v2::control::call(&mut kept.http_apis, &facts, &asked.operation, &asked.params)
            .and_then(|(answer, id)| Ok((answer, bytes(kept.http_apis.get(&id).map(|api| &**api))?, id)));
        let (answer, row, id) = match done {
            Ok(done) => done,
            Err(fault) => return Ok(Done::at_once(refused(fault))),
        };
        kept.served_urls = Arc::new(served(&config.app, &kept));
        match row {
            Some(row) => self.ctx.commit.pending.set(Table::HttpApi, id.into_bytes(), row),
            None => self.ctx.commit.pending.remove(Table::HttpApi, id.into_bytes()),
        }
        self.ctx.commit.pending.urgent = true;
        self.replace(kept);
        Ok(Done::when_durable(RestAnswer { status: 200, error: None, body: answer }))
    }

    fn seed(&mut self) -> [u8; 32] {
        let mut seed = [0; 32];
        for part in seed.chunks_exact_mut(8) {
            part.copy_from_slice(&self.ctx.rng.next().to_be_bytes());
        }
        seed
    }

    fn url_call(
        &self,
        kept: &mut Kept,
        facts: &Facts,
        asked: &Call,
        declared: &Apis,
    ) -> Outcome<(control::Answer, Vec<Written>)> {
        let app = self.ctx.config.app.as_str();
        let known = |name: &str, alias: Option<&str>| match alias {
            Some(alias) => self.dispatch.aliases.contains_key(&format!("{name}:{alias}")),
            None => self.dispatch.function_names.contains_key(name),
        };
        let since = |api: &Api| {
            let handler = self.dispatch.function_names.get(split(&api.name).0);
            handler.map_or(facts.now_ms, |&handler| self.dispatch.functions[handler].declared_ms)
        };
        let declared = declared.list().iter().filter_map(|api| FunctionUrl::declared(api, since(api)));
        let declared: Urls = declared.map(|url| (url.key(), url)).collect();
        let urls = (app, &mut kept.urls, &declared);
        let (answer, changed) = function_url::call(urls, facts, &known, &asked.operation, &asked.params)?;
        let Some(key) = changed else { return Ok((answer, Vec::new())) };
        kept.served_urls = Arc::new(served(app, kept));
        let row = bytes(kept.urls.get(&key))?;
        Ok((answer, vec![(Table::FunctionUrl, format!("{}\0{}", key.0, key.1).into_bytes(), row)]))
    }

    fn replace(&mut self, mut kept: Kept) {
        kept.directory = Arc::new(Directory::new(&kept.account.keys, &kept.account.plans));
        self.rest.served.caches.keep_only(&kept.account);
        *self.rest.served.kept.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(kept);
    }

    /// Look each second for what keys have used, while a plan has a key.
    fn arm(&mut self) {
        if self.rest.served.now().account.plans.values().any(|plan| !plan.keys.is_empty()) {
            self.ctx.timers.arm(&mut self.rest.usage_armed, self.ctx.now.mono_ns + KEPT_EVERY_NS, USAGE);
        }
    }

    /// Put what keys have used into the next commit: a row for each key that was used since the last time.
    pub(crate) fn keep_usage(&mut self) {
        let changes = self.rest.served.usage().take_changes();
        let pending = &mut self.ctx.commit.pending;
        pending.urgent |= !changes.is_empty();
        for ((plan, key), days) in changes {
            let key = format!("{plan}\0{key}").into_bytes();
            match days.and_then(|days| serde_json::to_vec(&days).ok()) {
                Some(value) => pending.set(Table::KeyUsage, key, value),
                None => pending.remove(Table::KeyUsage, key),
            }
        }
    }

    fn read(&mut self) -> Result<Kept, StoreError> {
        let (mut account, mut urls) = (Account::default(), Urls::new());
        let reader = &mut self.ctx.commit.reader;
        let mut rows = |table| reader.scan(table, &[], None, usize::MAX);
        for (key, value) in rows(Table::RestApi)? {
            account.apis.insert(text(&key)?, Arc::new(parsed(&value)?));
        }
        for (key, value) in rows(Table::RestDeployment)? {
            account.deployments.insert(pair(&key)?, parsed(&value)?);
        }
        for (key, value) in rows(Table::RestStage)? {
            account.stages.insert(pair(&key)?, parsed(&value)?);
        }
        for (key, value) in rows(Table::ApiKey)? {
            account.keys.insert(text(&key)?, parsed(&value)?);
        }
        for (key, value) in rows(Table::UsagePlan)? {
            account.plans.insert(text(&key)?, parsed(&value)?);
        }
        for (key, value) in rows(Table::ClientCertificate)? {
            account.certificates.insert(text(&key)?, parsed(&value)?);
        }
        for (key, value) in rows(Table::FunctionUrl)? {
            urls.insert(pair(&key)?, parsed(&value)?);
        }
        let mut used: Vec<((String, String), Days)> = Vec::new();
        for (key, value) in rows(Table::KeyUsage)? {
            used.push((pair(&key)?, parsed(&value)?));
        }
        let mut usage = self.rest.served.usage();
        usage.restore(used);
        usage.keep_only(&account.plans);
        drop(usage);
        let mut http_apis = MadeApis::new();
        for (key, value) in self.ctx.commit.reader.scan(Table::HttpApi, &[], None, usize::MAX)? {
            http_apis.insert(text(&key)?, Arc::new(parsed(&value)?));
        }
        let mut kept = Kept { account, urls, http_apis, ..Kept::default() };
        kept.served_urls = Arc::new(served(&self.ctx.config.app, &kept));
        Ok(kept)
    }
}

/// The URLs and the APIs that calls have made.
fn served(app: &str, kept: &Kept) -> Apis {
    // What does not compile was refused when it was made.
    let urls = kept.urls.values().filter_map(|url: &FunctionUrl| url.compile(app).ok());
    urls.fold(Apis::default(), |apis, api| apis.with(api)).and(&made::served(app, &kept.http_apis))
}

fn refused(Fault { code, status, message }: Fault) -> RestAnswer {
    RestAnswer { status, error: Some(code.into()), body: json!({"message": message}) }
}

fn parsed<T: serde::de::DeserializeOwned>(value: &[u8]) -> Result<T, StoreError> {
    serde_json::from_slice(value).map_err(|_| damaged("a row of a REST API"))
}

fn text(key: &[u8]) -> Result<String, StoreError> {
    String::from_utf8(key.to_vec()).map_err(|_| damaged("the key of a row of a REST API"))
}

/// No id has a zero in it.
fn pair(key: &[u8]) -> Result<(String, String), StoreError> {
    let whole = text(key)?;
    let (one, other) = whole.split_once('\0').ok_or_else(|| damaged("the key of a row of a REST API"))?;
    Ok((one.to_owned(), other.to_owned()))
}

/// A row that has changed: its table, its key, and its value unless it is gone.
type Written = (Table, Vec<u8>, Option<Vec<u8>>);

/// `None` of what is kept with the counts of keys, or in memory.
fn written(account: &Account, row: &Row) -> Result<Option<Written>, Fault> {
    let two = |one: &str, other: &str| format!("{one}\0{other}");
    let (table, key, value) = match row {
        Row::Api(id) => (Table::RestApi, id.clone(), bytes(account.apis.get(id).map(|api| &**api))?),
        Row::Deployment(api, id) => {
            let found = account.deployments.get(&(api.clone(), id.clone()));
            (Table::RestDeployment, two(api, id), bytes(found)?)
        }
        Row::Stage(api, name) => {
            let found = account.stages.get(&(api.clone(), name.clone()));
            (Table::RestStage, two(api, name), bytes(found)?)
        }
        Row::Key(id) => (Table::ApiKey, id.clone(), bytes(account.keys.get(id))?),
        Row::Plan(id) => (Table::UsagePlan, id.clone(), bytes(account.plans.get(id))?),
        Row::Certificate(id) => (Table::ClientCertificate, id.clone(), bytes(account.certificates.get(id))?),
        Row::Usage(_) | Row::Answers(..) | Row::Decisions(..) => return Ok(None),
    };
    Ok(Some((table, key.into_bytes(), value)))
}

fn bytes<T: Serialize>(value: Option<&T>) -> Result<Option<Vec<u8>>, Fault> {
    let Some(value) = value else { return Ok(None) };
    let bytes = serde_json::to_vec(value).unwrap_or_default();
    if bytes.len() > ROW_BYTES_MAX {
        return Err(Fault::limit(format!(
            "the API has {} bytes with its models and templates: at most {ROW_BYTES_MAX} are kept",
            bytes.len()
        )));
    }
    Ok(Some(bytes))
}

impl Participant for RestRoom<'_> {
    fn restore(&mut self) -> Result<(), StoreError> {
        let kept = self.read()?;
        self.replace(kept);
        Ok(())
    }

    fn start(&mut self) -> Result<(), EngineError> {
        self.arm();
        Ok(())
    }

    fn due(&mut self, _timer: Timer) {
        self.rest.usage_armed = None;
        self.keep_usage();
        self.arm();
    }

    fn hand_out(&mut self, _token: Token) -> Option<Handed> {
        None
    }

    fn settled(&mut self, _attempt: Attempt, _ended: Ended) {}
}
