//! API gateways: the APIs that are served. They are declared at each start, as functions are, and are not kept in the store.
//!
//! A door reads them beside the engine's lock: each change is another snapshot, and a request ends by the one that it began with.

pub mod caches;
pub mod calls;
mod certificate;
pub mod connections;
pub mod requests;
pub mod rest;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

use base64::prelude::{Engine as _, BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};

use forebay_core::gateway::api::{Api, Kind};
use forebay_core::gateway::apis::Apis;
use forebay_core::gateway::authorizer::digest;
use forebay_core::gateway::openapi;
use forebay_core::gateway::websocket::MESSAGE_BYTES_MAX;
use ring::rand::{SecureRandom as _, SystemRandom};

use crate::api::gateway::{self, Connection, Declare, Export, Exported, Named, OfConnection, Post, PostMany, Posted};
use crate::api::Empty;
use crate::base::error::{declared_are, EngineError};
use crate::commit::done::Done;
use crate::ctx::Ctx;
use crate::dispatch::functions;
use crate::dispatch::versions::split;
use crate::dispatch::Dispatch;
use crate::gateways::calls::Calls;
use crate::gateways::connections::{Connections, Outgoing};
use crate::gateways::requests::Requests;
use crate::gateways::rest::RestApis;

/// Most APIs of an app.
const APIS_MAX: usize = 600;

/// The APIs, as a door sees them.
#[derive(Debug, Default)]
pub struct Served(RwLock<Arc<Apis>>);

impl Served {
    /// What is served now.
    pub fn now(&self) -> Arc<Apis> {
        // A panic while a pointer was put there has left one of the two there: either may be served.
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn replace(&self, apis: Apis) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(apis);
    }
}

/// Look at what is kept beside the engine's lock. A panic has left it whole there, or with a request that tells less.
fn locked<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The room's state.
#[derive(Debug, Default)]
pub(crate) struct Gateways {
    pub(crate) served: Arc<Served>,
    pub(crate) connections: Arc<Connections>,
    pub(crate) calls: Arc<Calls>,
    pub(crate) requests: Arc<Requests>,
    pub(crate) token: Arc<PageToken>,
}

/// What opens the pages that a door has for whoever works on this machine. A proxy on the machine brings requests of others, and where it says
/// nothing of that, nothing else tells them apart.
#[derive(Default)]
pub struct PageToken(OnceLock<Option<String>>);

impl PageToken {
    /// The token; `None` if the system has no random numbers.
    pub fn get(&self) -> Option<String> {
        self.0.get_or_init(drawn).clone()
    }

    /// Whether somebody knows it.
    pub fn is(&self, given: &str) -> bool {
        // Digests take equally long to compare, whatever is in them.
        self.get().is_some_and(|token| digest(&[&token]) == digest(&[given]))
    }
}

impl fmt::Debug for PageToken {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("PageToken")
    }
}

fn drawn() -> Option<String> {
    let mut bytes = [0; 24];
    SystemRandom::new().fill(&mut bytes).ok()?;
    Some(BASE64_URL_SAFE_NO_PAD.encode(bytes))
}

/// The room, with what it needs.
pub(crate) struct GatewayRoom<'a> {
    pub(crate) ctx: &'a mut Ctx,
    pub(crate) dispatch: &'a mut Dispatch,
    pub(crate) gateways: &'a mut Gateways,
    pub(crate) rest: &'a RestApis,
}

impl GatewayRoom<'_> {
    pub(crate) fn api_declare(&mut self, declare: Declare) -> Result<Done, EngineError> {
        let api = Api::compile(&self.ctx.config.app, declare.definition).map_err(EngineError::Invalid)?;
        let functions = api.routes.iter().filter_map(|route| {
            let definition = &route.definition;
            Some((definition.target.function()?, "route", &definition.key))
        });
        let asked = api.authorizers.iter().filter_map(|one| Some((one.function()?, "authorizer", &one.name)));
        for (name, what, of) in functions.chain(asked) {
            if !self.dispatch.function_names.contains_key(split(name).0) {
                let wrong = functions::no_function(self.dispatch, name);
                return Err(EngineError::NotFound(format!("API {:?}, {what} {of:?}: {wrong}", api.name)));
            }
        }
        let apis = self.gateways.served.now();
        if apis.get(&api.id).is_none() && apis.list().len() >= APIS_MAX {
            return Err(EngineError::Invalid(format!("there are {APIS_MAX} APIs already: no more are allowed")));
        }
        let told = described(&api);
        self.gateways.served.replace(apis.with(api));
        self.close_what_is_gone();
        Ok(Done::at_once(told))
    }

    pub(crate) fn api_list(&mut self, _: Empty) -> Result<Done, EngineError> {
        let mut told: Vec<gateway::Api> = Vec::new();
        for api in self.all().list() {
            let one = described(api);
            match told.iter_mut().find(|known| known.id == one.id) {
                // What calls have made is served stage by stage.
                Some(known) => known.stages.extend(one.stages),
                None => told.push(one),
            }
        }
        Ok(Done::at_once(told))
    }

    pub(crate) fn api_describe(&mut self, named: Named) -> Result<Done, EngineError> {
        Ok(Done::at_once(described(found(&self.all(), &named.name)?)))
    }

    pub(crate) fn api_token(&mut self, _: Empty) -> Result<Done, EngineError> {
        let told = self.gateways.token.get().map(|token| Done::at_once(gateway::Token { token }));
        told.ok_or_else(|| EngineError::Invalid("the system has no random numbers".into()))
    }

    pub(crate) fn api_export(&mut self, asked: Export) -> Result<Done, EngineError> {
        let (apis, config) = (self.all(), &self.ctx.config);
        let api = found(&apis, &asked.name)?;
        let document = openapi::export(api, &config.region, &config.account).map_err(EngineError::Invalid)?;
        Ok(Done::at_once(Exported { body: openapi::written(&document, asked.yaml) }))
    }

    /// What is declared, and what calls have made.
    fn all(&self) -> Apis {
        self.gateways.served.now().and(&self.rest.served.now().served_urls)
    }

    /// Requests under way end by the definition that they began with. Connections are closed.
    pub(crate) fn api_delete(&mut self, named: Named) -> Result<Done, EngineError> {
        let apis = self.gateways.served.now();
        let without = apis.without(&found(&apis, &named.name)?.id);
        self.gateways.served.replace(without);
        self.close_what_is_gone();
        Ok(Done::at_once(Empty {}))
    }

    /// Close the connections whose API or stage is served no more.
    pub(crate) fn close_what_is_gone(&self) {
        if self.gateways.connections.count() == 0 {
            return;
        }
        let apis = self.all();
        let is_served = |id: &str, stage: &str| {
            apis.list().iter().any(|api| api.id == id && api.stages.iter().any(|known| known.name == stage))
        };
        self.gateways.connections.keep_only(is_served);
    }
}

fn found<'a>(apis: &'a Apis, name: &str) -> Result<&'a Api, EngineError> {
    apis.get(name).map(AsRef::as_ref).ok_or_else(|| {
        let known = declared_are(apis.list().iter().map(|api| api.name.as_str()));
        EngineError::NotFound(format!("there is no API {name:?}: {known}"))
    })
}

impl GatewayRoom<'_> {
    pub(crate) fn connection_post(&mut self, post: Post) -> Result<Done, EngineError> {
        let outgoing = outgoing(post.data, post.base64)?;
        self.connection(&post.to)?;
        if self.gateways.connections.send(&post.to.connection_id, outgoing) {
            return Ok(Done::at_once(Empty {}));
        }
        Err(gone(&post.to.connection_id))
    }

    pub(crate) fn connection_post_many(&mut self, post: PostMany) -> Result<Done, EngineError> {
        let outgoing = outgoing(post.data, post.base64)?;
        let connections = &self.gateways.connections;
        let ids = connections.of_api(&post.api, post.connection_ids);
        let sent = ids.iter().filter(|id| connections.send(id, outgoing.clone())).count();
        Ok(Done::at_once(Posted { sent }))
    }

    pub(crate) fn connection_describe(&mut self, asked: OfConnection) -> Result<Done, EngineError> {
        self.connection(&asked).map(Done::at_once)
    }

    /// A connection of the API and the stage that are named.
    fn connection(&self, asked: &OfConnection) -> Result<Connection, EngineError> {
        let found = self.gateways.connections.describe(&asked.connection_id).filter(|found| {
            asked.api.as_ref().is_none_or(|api| *api == found.api || *api == found.api_id)
                && asked
                    .stage
                    .as_ref()
                    .is_none_or(|stage| *stage == found.stage || asked.is_perhaps_stage && !self.is_stage(stage))
        });
        found.ok_or_else(|| gone(&asked.connection_id))
    }

    /// Whether a WebSocket API has a stage of this name.
    fn is_stage(&self, name: &str) -> bool {
        let apis = self.all();
        let mut apis = apis.list().iter().filter(|api| api.kind == Kind::Websocket);
        apis.any(|api| api.stages.iter().any(|stage| stage.name == name))
    }

    pub(crate) fn connection_close(&mut self, asked: OfConnection) -> Result<Done, EngineError> {
        self.connection(&asked)?;
        let connections = &self.gateways.connections;
        if connections.send(&asked.connection_id, Outgoing::Close(1000)) {
            connections.remove(&asked.connection_id);
            return Ok(Done::at_once(Empty {}));
        }
        Err(gone(&asked.connection_id))
    }
}

fn gone(id: &str) -> EngineError {
    EngineError::NotFound(format!("the connection {id:?} has gone"))
}

fn outgoing(data: String, is_base64: bool) -> Result<Outgoing, EngineError> {
    let outgoing = if is_base64 {
        let bytes = BASE64_STANDARD.decode(data);
        Outgoing::Binary(bytes.map_err(|error| EngineError::Invalid(format!("data is not base64: {error}")))?.into())
    } else {
        Outgoing::Text(data.into())
    };
    match outgoing.bytes() {
        0..=MESSAGE_BYTES_MAX => Ok(outgoing),
        bytes => Err(EngineError::Invalid(format!("data has {bytes} bytes: at most 131,072 are allowed"))),
    }
}

fn described(api: &Api) -> gateway::Api {
    let route = |route: &forebay_core::gateway::api::Route| gateway::Route {
        key: route.definition.key.clone(),
        target: route.definition.target.clone(),
        authorizer: route.definition.authorizer.clone(),
        timeout_ms: route.definition.timeout_ms,
    };
    gateway::Api {
        id: api.id.clone(),
        name: api.name.clone(),
        kind: match api.kind {
            Kind::Http => "http",
            Kind::Url => "url",
            Kind::Websocket => "websocket",
        },
        stages: api.stages.iter().map(|stage| stage.name.clone()).collect(),
        routes: api.routes.iter().map(route).collect(),
    }
}
