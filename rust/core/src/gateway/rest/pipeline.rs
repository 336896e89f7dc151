//! A request on its way through a method: validated, mapped for its integration, and the integration's answer mapped back.
//!
//! Nothing is done here: [`Exchange::begin`] says what is to be called, and [`Exchange::end`] is told what came of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::prelude::{Engine as _, BASE64_STANDARD};
use serde_json::{Map, Value};

use super::aside::Halt;
use super::cache;
use super::compiled::{Route, Served};
use super::context::{context, params, Arrival};
use super::event::{self, is_binary, media_type};
use super::failure::{Failure, ResponseType};
use super::log::Log;
use super::mock;
use super::model::{ContentHandling, Integration, IntegrationType, Passthrough};
use super::parameter_mapping::{self, plain, push_header, set_header, Sources};
use super::uri::{self, Operation, Service, Target};
use super::vtl::{Globals, Input, Params, RenderError};
use crate::gateway::answer::Answer;
use crate::gateway::request::Request;
use crate::gateway::{routes, wire};

pub(super) const JSON: &str = "application/json";

/// What is to be called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// A function.
    Invoke {
        /// Its name, with its alias.
        function: String,
        /// The event, JSON.
        payload: Vec<u8>,
        /// Whether nobody waits for what it answers.
        is_event: bool,
    },
    /// A server.
    Http(Call),
    /// Another service of AWS.
    Service(Service, Call),
}

/// A request of a server or a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The method.
    pub method: String,
    /// The URL, or the query alone where a service is called.
    pub url: String,
    /// The headers.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// What came of a command.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// A function has answered, or raised: JSON.
    Function {
        /// Its answer, or its error.
        json: Vec<u8>,
        /// Whether it raised.
        is_error: bool,
    },
    /// A server or a service has answered.
    Http(Answer),
    /// The call was taken to be run later.
    Accepted,
    /// There was no place for it, or no such function.
    Refused(String),
    /// No answer came: the network, or a server that speaks no HTTP.
    Unreachable(String),
    /// No answer came within the integration's timeout.
    TimedOut,
}

impl Outcome {
    /// Bytes of its body.
    pub fn bytes(&self) -> usize {
        self.body().len()
    }

    pub(super) fn body(&self) -> &[u8] {
        match self {
            Self::Function { json, .. } => json,
            Self::Http(answer) => &answer.body,
            Self::Accepted | Self::Refused(_) | Self::Unreachable(_) | Self::TimedOut => &[],
        }
    }
}

/// What is next.
#[derive(Debug)]
pub enum Next {
    /// Call this, within so many ms.
    Call(Command, u32),
    /// The request is answered.
    Answer(Answer),
    /// It takes long: to be begun again at leisure, beside the thread that serves others ([`Exchange::aside`]).
    Aside,
}

/// One request.
#[derive(Debug)]
pub struct Exchange<'a> {
    pub(super) served: &'a Arc<Served>,
    pub(super) route: &'a Route,
    pub(super) request: Request<'a>,
    pub(super) arrival: Arrival<'a>,
    pub(super) params: Params<'a>,
    pub(super) context: Map<String, Value>,
    /// Whether the method was found to demand nothing more of the request.
    pub(super) is_valid: bool,
    /// Whether nobody else waits for the thread.
    pub(super) is_at_leisure: bool,
    /// What is written about it.
    pub log: Log,
}

/// A body with what it is.
struct Body {
    bytes: Vec<u8>,
    media_type: String,
}

impl<'a> Exchange<'a> {
    /// A request that has reached a method.
    pub fn new(
        served: &'a Arc<Served>,
        route: &'a Route,
        request: Request<'a>,
        arrival: Arrival<'a>,
        log: Log,
    ) -> Self {
        let context = context(&request, &arrival, &served.api.id, Some(route));
        let params = params(&request, &arrival);
        Self { served, route, request, arrival, params, context, is_valid: false, is_at_leisure: false, log }
    }

    /// Where mappings of the request find their values.
    pub fn sources(&self) -> Sources<'_> {
        let Self { context, arrival, params, request, .. } = self;
        Sources::of_request(context, arrival.stage_variables, params, request.body)
    }

    /// The event of an authoriser of the kind REQUEST: that of a proxy, without the body.
    pub fn authorizer_event(&self, method_arn: &str) -> Vec<u8> {
        let request = Request { body: &[], ..self.request };
        let event = event::event(&request, (&self.params, &self.arrival), &self.served.api, self.route);
        let mut event: Map<String, Value> = serde_json::from_slice(&event).unwrap_or_default();
        event.remove("body");
        event.remove("isBase64Encoded");
        event.insert("type".into(), "REQUEST".into());
        event.insert("methodArn".into(), method_arn.into());
        Value::Object(event).to_string().into_bytes()
    }

    /// The answer of a failure.
    pub fn failed(&mut self, failure: &Failure) -> Answer {
        // Whoever tests a method has sent the body.
        if let Some(remark) = failure.invalid.as_ref().or(failure.remark.as_ref()) {
            let is_refused = failure.response_type == ResponseType::BadRequestBody;
            let (content_type, is_clients) = (self.content_type(), failure.response_type.status() < 500);
            self.log.line(|| match is_clients {
                true if is_refused => {
                    format!("Request body does not match model schema for content type {content_type}: {remark}")
                }
                true => format!("Execution failed: {remark}"),
                false => format!("Execution failed due to configuration error: {remark}"),
            });
        }
        let accept = self.request.header("accept");
        let mut answer = failure.answer(&self.served.api, &self.sources(), accept);
        self.log.line(|| format!("Method completed with status: {}", answer.status));
        sign(&mut answer, &self.arrival, false);
        answer
    }

    /// Validate the request and map it.
    pub fn begin(&mut self) -> Result<Next, Failure> {
        let log = self.log.clone();
        // A mock has two templates, and the first one's overrides are not there when it is rendered again.
        let is_mock = self.route.kind() == Some(IntegrationType::Mock);
        let context = is_mock.then(|| self.context.clone());
        match self.mapped_request() {
            Ok(next) => Ok(next),
            Err(Halt::Failed(failure)) => Err(failure),
            Err(Halt::Long) => {
                self.log = log;
                self.context = context.unwrap_or_else(|| std::mem::take(&mut self.context));
                Ok(Next::Aside)
            }
        }
    }

    fn mapped_request(&mut self) -> Result<Next, Halt> {
        if !self.is_at_leisure && self.is_long() {
            return Err(Halt::Long);
        }
        let path = &self.route.resource_path;
        let verb = self.request.method;
        self.log.line(|| format!("HTTP Method: {verb}, Resource Path: {path}"));
        self.log.fields("Method request path", &self.params.path);
        self.log.fields("Method request query string", &self.params.query);
        self.log.fields("Method request headers", &self.params.headers);
        self.log.body("Method request body before transformations", self.request.body);
        self.validate()?;
        let content_type = self.content_type();
        let Some(integration) = &self.route.method.integration else {
            return Err(Failure::of_setup("No integration defined for method").into());
        };
        // It is not deployed. In a draft it is tested, and in a deployment of an earlier release its requests went to the URI itself.
        if integration.is_by_vpc_link() {
            return Err(Failure::of_setup("VPC links are not supported by forebay").into());
        }
        match integration.kind {
            IntegrationType::AwsProxy => Ok(self.proxy_event(integration)?),
            IntegrationType::HttpProxy => {
                let body = Body { bytes: self.request.body.to_vec(), media_type: content_type };
                let call = self.call(integration, body)?;
                Ok(self.send(integration, Command::Http(call)))
            }
            IntegrationType::Http => {
                let body = self.mapped_body(integration, content_type)?;
                let call = self.call(integration, body)?;
                Ok(self.send(integration, Command::Http(call)))
            }
            IntegrationType::Aws => {
                let body = self.mapped_body(integration, content_type)?;
                let command = self.of_service(integration, body)?;
                Ok(self.send(integration, command))
            }
            IntegrationType::Mock => {
                let body = self.mapped_body(integration, content_type)?;
                let status = mock::status(&body.bytes).ok_or_else(|| {
                    Failure::of_setup(
                        "Unable to parse statusCode. It should be an integer that is defined in the request template.",
                    )
                })?;
                self.respond(integration, &status.to_string(), Answer::default()).map(Next::Answer)
            }
        }
    }

    /// Hold the request against what its method demands: once.
    pub fn validate(&mut self) -> Result<(), Failure> {
        if !self.is_valid {
            self.route.validation.check(&self.content_type(), &self.sources())?;
            self.is_valid = true;
        }
        Ok(())
    }

    /// The key of its answer in the cache of a stage.
    pub fn cache_key(&self) -> Option<cache::Key> {
        let integration = self.route.method.integration.as_ref()?;
        Some(cache::key(integration, &self.request, self.arrival.authorized, &self.sources()))
    }

    /// The media type of the request's body.
    fn content_type(&self) -> String {
        let found = media_type(self.request.header("content-type"));
        if found.is_empty() {
            JSON.into()
        } else {
            found
        }
    }

    fn send(&mut self, integration: &Integration, command: Command) -> Next {
        if let Command::Http(call) | Command::Service(_, call) = &command {
            let region = self.arrival.region;
            self.log.line(|| match &command {
                Command::Service(service, _) => format!("Endpoint request URI: {}", service.url(region, &call.url)),
                _ => format!("Endpoint request URI: {}", call.url),
            });
            self.log.fields("Endpoint request headers", &call.headers);
            self.log.body("Endpoint request body after transformations", &call.body);
        }
        if let Command::Invoke { function, payload, .. } = &command {
            self.log.line(|| format!("Endpoint request URI: {function}"));
            self.log.body("Endpoint request body after transformations", payload);
        }
        Next::Call(command, integration.timeout_in_millis)
    }

    /// The function or the service that an integration names. What the client gives is put into the service's path alone: it does not
    /// choose what is called.
    fn target(&self, integration: &Integration, path: &[(String, String)]) -> Result<Target, Failure> {
        let uri = integration.uri.as_deref().unwrap_or_default();
        let uri = uri::filled(uri, &[], self.arrival.stage_variables);
        let mut target = uri::target(&uri).map_err(Failure::of_setup)?;
        if let Target::Service(Service { operation: Operation::Path(given), .. }) = &mut target {
            *given = self.filled(given, path)?;
        }
        Ok(target)
    }

    /// Put what a client gives into a path. One that whoever is asked may read as another path is not handed on: what is open here may be
    /// guarded by another method there.
    fn filled(&self, uri: &str, path: &[(String, String)]) -> Result<String, Failure> {
        let filled = uri::filled_by_client(uri, path, self.arrival.stage_variables);
        let is_its_own = || path.is_empty() || self.served.is_guarded_alike(&self.request, self.route);
        let refused = || Failure::new(ResponseType::BadRequestParameters).message("Invalid path");
        filled.filter(|_| is_its_own()).ok_or_else(refused)
    }

    fn proxy_event(&mut self, integration: &Integration) -> Result<Next, Failure> {
        let Target::Function(function) = self.target(integration, &[])? else {
            return Err(Failure::of_setup("AWS_PROXY is for functions alone"));
        };
        // Lambda's own call is a POST: what is set here would be sent.
        if integration.http_method.as_deref().is_some_and(|method| method != "POST") {
            return Err(Failure { status: Some(500), ..Failure::malformed("Lambda is called with POST alone") });
        }
        let api = &self.served.api;
        let payload = event::event(&self.request, (&self.params, &self.arrival), api, self.route);
        Ok(self.send(integration, Command::Invoke { function, payload, is_event: false }))
    }

    /// The body of the request after its template and its handling.
    fn mapped_body(&mut self, integration: &Integration, content_type: String) -> Result<Body, Halt> {
        let template = self.route.request_templates.get(&content_type);
        let is_refused = match integration.passthrough_behavior {
            Passthrough::WhenNoMatch => false,
            Passthrough::WhenNoTemplates => template.is_none() && !self.route.request_templates.is_empty(),
            Passthrough::Never => template.is_none(),
        };
        if is_refused {
            return Err(Failure::new(ResponseType::UnsupportedMediaType).into());
        }
        let is_bytes = is_binary(&self.served.api.binary_media_types, &content_type);
        let bytes = match integration.content_handling {
            Some(ContentHandling::ConvertToText) if is_bytes => BASE64_STANDARD.encode(self.request.body).into_bytes(),
            Some(ContentHandling::ConvertToBinary) if !is_bytes => BASE64_STANDARD
                .decode(self.request.body)
                .map_err(|_| Failure::new(ResponseType::BadRequestBody).message("Unable to base64 decode the body."))?,
            _ => self.request.body.to_vec(),
        };
        let Some(Some(template)) = template else { return Ok(Body { bytes, media_type: content_type }) };
        let template = template.as_ref().map_err(|reason| Failure::of_setup(reason.as_str()))?;
        let text = String::from_utf8_lossy(&bytes);
        let globals = Globals {
            input: Input { body: &text, params: &self.params },
            context: &mut self.context,
            stage_variables: self.arrival.stage_variables,
        };
        let rendered = template.render(globals, self.is_at_leisure).map_err(|error| match error {
            RenderError::NoJson => {
                Halt::from(Failure::new(ResponseType::BadRequestBody).message("Invalid JSON in request body"))
            }
            RenderError::Template(reason) => Failure::of_setup(reason).into(),
            RenderError::Long => Halt::Long,
        })?;
        Ok(Body { bytes: rendered.into_bytes(), media_type: content_type })
    }

    /// What the mappings say of a part (`header`, `path`, `querystring`), with what a template has put above them.
    fn mapped(&self, integration: &Integration, part: &str) -> Vec<(String, String)> {
        let sources = self.sources();
        let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (target, source) in &integration.request_parameters {
            let Some((kind, name)) = target.strip_prefix("integration.request.").and_then(|rest| rest.split_once('.'))
            else {
                continue;
            };
            if kind == part || kind.strip_prefix("multivalue") == Some(part) {
                if let Some(mut values) = parameter_mapping::find(source, &sources) {
                    if part == "path" {
                        for value in &mut values {
                            into_path(value, source);
                        }
                    }
                    found.insert(name.to_owned(), values);
                }
            }
        }
        let overrides = self.context.get("requestOverride").and_then(|all| all.get(part)).and_then(Value::as_object);
        for (name, value) in overrides.into_iter().flatten() {
            let mut values: Vec<String> = match value {
                Value::Array(items) => items.iter().filter_map(plain).collect(),
                other => plain(other).into_iter().collect(),
            };
            if part == "path" {
                for value in &mut values {
                    *value = wire::as_path(value);
                }
            }
            found.insert(name.clone(), values);
        }
        found
            .into_iter()
            .flat_map(|(name, values)| values.into_iter().map(move |value| (name.clone(), value)))
            .collect()
    }

    /// The request of a server.
    fn call(&self, integration: &Integration, body: Body) -> Result<Call, Failure> {
        let is_proxy = integration.kind == IntegrationType::HttpProxy;
        let uri = integration.uri.as_deref().unwrap_or_default();
        let mut url = self.filled(uri, &self.mapped(integration, "path"))?;
        let mut query: Vec<(String, String)> = Vec::new();
        if is_proxy {
            query.extend(self.params.query.iter().map(|(name, value)| (name.to_string(), value.to_string())));
        }
        let given = self.mapped(integration, "querystring");
        query.retain(|(name, _)| !given.iter().any(|(known, _)| known == name));
        query.extend(given);
        if !query.is_empty() {
            let fields: Vec<String> =
                query.iter().map(|(name, value)| format!("{}={}", wire::encoded(name), wire::encoded(value))).collect();
            url.push(if url.contains('?') { '&' } else { '?' });
            url.push_str(&fields.join("&"));
        }
        if !(url.starts_with("http://") || url.starts_with("https://")) {
            return Err(Failure::of_setup(format!("Invalid endpoint address: {url}")));
        }
        let method =
            integration.http_method.as_deref().filter(|method| *method != "ANY").unwrap_or(self.request.method);
        let headers = self.headers(integration, &body, is_proxy);
        Ok(Call { method: method.to_owned(), url, headers, body: body.bytes })
    }

    fn headers(&self, integration: &Integration, body: &Body, is_proxy: bool) -> Vec<(String, String)> {
        let mut headers = Vec::new();
        if is_proxy {
            for (name, value) in &self.params.headers {
                if !["Host", "Via"].contains(&&**name) && !name.eq_ignore_ascii_case("keep-alive") {
                    push_header(&mut headers, name, value.to_string());
                }
            }
        } else {
            push_header(&mut headers, "Accept", JSON);
            push_header(&mut headers, "Content-Type", body.media_type.clone());
            push_header(&mut headers, "User-Agent", format!("AmazonAPIGateway_{}", self.served.api.id));
        }
        set_header(&mut headers, "X-Amzn-Apigateway-Api-Id", &self.served.api.id);
        set_header(&mut headers, "X-Amzn-Trace-Id", self.arrival.trace_id);
        let given = self.mapped(integration, "header");
        headers.retain(|(name, _)| !given.iter().any(|(known, _)| known.eq_ignore_ascii_case(name)));
        for (name, value) in given {
            push_header(&mut headers, &name, value);
        }
        headers
    }

    fn of_service(&self, integration: &Integration, body: Body) -> Result<Command, Failure> {
        let path = self.mapped(integration, "path");
        let headers = self.headers(integration, &body, false);
        match self.target(integration, &path)? {
            Target::Function(function) => {
                let payload = if body.bytes.is_empty() { b"{}".to_vec() } else { body.bytes };
                if let Err(error) = serde_json::from_slice::<serde::de::IgnoredAny>(&payload) {
                    let message = format!("Could not parse request body into json: {error}");
                    return Err(Failure::new(ResponseType::BadRequestBody).message(message));
                }
                let is_event = headers.iter().any(|(name, value)| {
                    name.eq_ignore_ascii_case("x-amz-invocation-type") && value.trim_matches('\'') == "Event"
                });
                Ok(Command::Invoke { function, payload, is_event })
            }
            Target::Service(service) => {
                let method = integration.http_method.as_deref().filter(|method| *method != "ANY");
                let query = self.mapped(integration, "querystring");
                let fields =
                    query.iter().map(|(name, value)| format!("{}={}", wire::encoded(name), wire::encoded(value)));
                let url = fields.collect::<Vec<_>>().join("&");
                let method = method.unwrap_or(self.request.method).to_owned();
                Ok(Command::Service(service, Call { method, url, headers, body: body.bytes }))
            }
        }
    }
}

/// Make a value fit to stand in a path. What comes out of the client's path is escaped as it came; anything else of the client's is one
/// segment, whatever it holds. What climbs stays as it is: it is refused.
fn into_path(value: &mut String, source: &str) {
    let is_of_client = |place: &str| !place.starts_with("path.");
    let is_foreign = source.strip_prefix("method.request.").is_some_and(is_of_client) || source.starts_with("context.");
    if is_foreign && !routes::climbs(value) {
        *value = wire::encoded(value);
    }
}

/// The answer of a request that has reached no method.
pub fn unrouted(served: &Served, request: &Request<'_>, arrival: &Arrival<'_>, failure: &Failure) -> Answer {
    let context = context(request, arrival, &served.api.id, None);
    let params = params(request, arrival);
    let sources = Sources::of_request(&context, arrival.stage_variables, &params, request.body);
    let mut answer = failure.answer(&served.api, &sources, request.header("accept"));
    sign(&mut answer, arrival, false);
    answer
}

/// Give an answer the ids of its request, which every answer has; that of the trace where something was called.
pub fn sign(answer: &mut Answer, arrival: &Arrival<'_>, is_called: bool) {
    set_header(&mut answer.headers, "x-amzn-RequestId", arrival.request_id);
    set_header(&mut answer.headers, "x-amz-apigw-id", arrival.extended_request_id);
    if is_called {
        set_header(&mut answer.headers, "X-Amzn-Trace-Id", arrival.trace_id);
    }
}
