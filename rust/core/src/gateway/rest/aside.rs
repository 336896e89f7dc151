//! A request that takes long is worked on beside the thread that serves all others: it takes with it what it has borrowed.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::compiled::Served;
use super::context::Arrival;
use super::failure::Failure;
use super::log::Log;
use super::pipeline::Exchange;
use crate::gateway::client_cert::ClientCert;
use crate::gateway::request::{Authorized, Header, Request};

/// Bytes of a body that is validated and mapped on the thread of all requests.
pub(super) const BODY_BYTES_HERE_MAX: usize = 16 * 1024;

/// Why a mapping has ended early.
pub(super) enum Halt {
    Failed(Failure),
    /// It takes longer than others may be made to wait.
    Long,
}

impl From<Failure> for Halt {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// What a request has come to.
#[derive(Debug, Default)]
pub struct State {
    context: Map<String, Value>,
    log: Log,
    is_valid: bool,
}

/// A request that borrows nothing.
#[derive(Debug)]
pub struct Aside {
    served: Arc<Served>,
    /// The place of its method.
    route: usize,
    method: String,
    path: String,
    query: String,
    protocol: String,
    headers: Vec<Header<'static>>,
    source_ip: String,
    client_cert: Option<ClientCert>,
    body: Vec<u8>,
    account: String,
    region: String,
    domain: String,
    stage: String,
    stage_variables: Vec<(String, String)>,
    deployment: String,
    is_canary: bool,
    full_path: String,
    parameters: Vec<(String, String)>,
    request_id: String,
    extended_request_id: String,
    trace_id: String,
    time_ms: u64,
    authorized: Authorized,
    api_key: Option<(String, String)>,
    state: State,
}

impl Exchange<'_> {
    /// Whether it may take long to look at the request's body.
    pub fn is_long(&self) -> bool {
        let is_mapped = self.route.kind().is_some_and(|kind| !kind.is_proxy());
        let is_checked = self.route.validation.reads_body() && !self.is_valid;
        self.request.body.len() > BODY_BYTES_HERE_MAX && (is_mapped || is_checked)
    }

    /// Take the request aside. What it has come to there is given back to it by [`Self::resume`].
    pub fn aside(&mut self) -> Aside {
        let Self { request, arrival, .. } = self;
        let owned = |(name, value): &Header<'_>| (name.to_string().into(), value.to_string().into());
        let pair = |(one, other): (&str, &str)| (one.to_owned(), other.to_owned());
        Aside {
            served: Arc::clone(self.served),
            route: self.route.at,
            method: request.method.to_owned(),
            path: request.path.to_owned(),
            query: request.query.to_owned(),
            protocol: request.protocol.to_owned(),
            headers: request.headers.iter().map(owned).collect(),
            source_ip: request.source_ip.to_owned(),
            client_cert: request.client_cert.cloned(),
            body: request.body.to_vec(),
            account: arrival.account.to_owned(),
            region: arrival.region.to_owned(),
            domain: arrival.domain.to_owned(),
            stage: arrival.stage.to_owned(),
            stage_variables: arrival.stage_variables.to_vec(),
            deployment: arrival.deployment.to_owned(),
            is_canary: arrival.is_canary,
            full_path: arrival.full_path.to_owned(),
            parameters: arrival.parameters.iter().copied().map(pair).collect(),
            request_id: arrival.request_id.to_owned(),
            extended_request_id: arrival.extended_request_id.to_owned(),
            trace_id: arrival.trace_id.to_owned(),
            time_ms: arrival.time_ms,
            authorized: arrival.authorized.clone(),
            api_key: arrival.api_key.map(pair),
            state: self.state(),
        }
    }

    fn state(&mut self) -> State {
        State {
            context: std::mem::take(&mut self.context),
            log: std::mem::take(&mut self.log),
            is_valid: self.is_valid,
        }
    }

    /// Go on from what the request has come to.
    pub fn resume(&mut self, state: State) {
        State { context: self.context, log: self.log, is_valid: self.is_valid } = state;
    }

    /// Do all that it asks for, however long it takes.
    #[must_use]
    pub fn at_leisure(mut self) -> Self {
        self.is_at_leisure = true;
        self
    }
}

impl Aside {
    /// Work on the request at leisure.
    pub fn with<T>(self, work: impl FnOnce(&mut Exchange<'_>) -> T) -> (T, State) {
        let route = self.served.route_at(self.route);
        let request = Request {
            method: &self.method,
            path: &self.path,
            query: &self.query,
            protocol: &self.protocol,
            headers: &self.headers,
            source_ip: &self.source_ip,
            client_cert: self.client_cert.as_ref(),
            body: &self.body,
        };
        let parameters: Vec<(&str, &str)> = self.parameters.iter().map(|(one, other)| (&**one, &**other)).collect();
        let arrival = Arrival {
            account: &self.account,
            region: &self.region,
            domain: &self.domain,
            stage: &self.stage,
            stage_variables: &self.stage_variables,
            deployment: &self.deployment,
            is_canary: self.is_canary,
            full_path: &self.full_path,
            parameters: &parameters,
            request_id: &self.request_id,
            extended_request_id: &self.extended_request_id,
            trace_id: &self.trace_id,
            time_ms: self.time_ms,
            authorized: &self.authorized,
            api_key: self.api_key.as_ref().map(|(id, value)| (&**id, &**value)),
        };
        let mut exchange = Exchange::new(&self.served, route, request, arrival, Log::default()).at_leisure();
        exchange.resume(self.state);
        let told = work(&mut exchange);
        (told, exchange.state())
    }
}
