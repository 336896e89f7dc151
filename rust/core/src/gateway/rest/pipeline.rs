//! A request on its way through a method: validated, mapped for its integration, and the integration's answer mapped back.
//!
//! Nothing is done here: [`Exchange::begin`] says what is to be called, and [`Exchange::end`] is told what came of it.

use std::collections::BTreeMap;

use base64::prelude::{Engine as _, BASE64_STANDARD};
use serde_json::{Map, Value};

use super::compiled::{Compiled, Response, Route, Served};
use super::context::{context, params, Arrival};
use super::event::{self, is_binary, media_type};
use super::failure::{Failure, ResponseType};
use super::log::Log;
use super::mapping::{self, plain, push_header, push_mapped, set_header, Sources};
use super::mock;
use super::model::{ContentHandling, Integration, IntegrationType, Passthrough};
use super::uri::{self, Operation, Service, Target};
use super::vtl::{Globals, Input, Params, RenderError};
use crate::gateway::answer::Answer;
use crate::gateway::request::Request;
use crate::gateway::wire;

const JSON: &str = "application/json";
/// Headers of an answer that go no further.
const DROPPED: [&str; 8] =
    ["expect", "host", "keep-alive", "proxy-authenticate", "te", "trailer", "transfer-encoding", "upgrade"];
/// Headers of an answer that are the gateway's own to say: they go on under another name. Source:
/// <https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-known-issues.html>
const REMAPPED: [&str; 10] = [
    "authorization",
    "connection",
    "content-length",
    "content-md5",
    "date",
    "max-forwards",
    "server",
    "user-agent",
    "www-authenticate",
    "x-amzn-requestid",
];

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

/// What is next.
#[derive(Debug)]
pub enum Next {
    /// Call this, within so many ms.
    Call(Command, u32),
    /// The request is answered.
    Answer(Answer),
}

/// One request.
#[derive(Debug)]
pub struct Exchange<'a> {
    served: &'a Served,
    route: &'a Route,
    request: Request<'a>,
    arrival: Arrival<'a>,
    params: Params<'a>,
    context: Map<String, Value>,
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
    pub fn new(served: &'a Served, route: &'a Route, request: Request<'a>, arrival: Arrival<'a>, log: Log) -> Self {
        let context = context(&request, &arrival, &served.api.id, Some(route));
        Self { served, route, request, arrival, params: params(&request, &arrival), context, log }
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
        if let Some(remark) = &failure.remark {
            self.log.line(|| format!("Execution failed due to configuration error: {remark}"));
        }
        let accept = self.request.header("accept");
        let mut answer = failure.answer(&self.served.api, &self.sources(), accept);
        self.log.line(|| format!("Method completed with status: {}", answer.status));
        sign(&mut answer, &self.arrival, false);
        answer
    }

    /// Validate the request and map it.
    pub fn begin(&mut self) -> Result<Next, Failure> {
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
            return Err(Failure::of_setup("No integration defined for method"));
        };
        // It is not deployed. In a draft it is tested, and in a deployment of an earlier release its requests went to the URI itself.
        if integration.is_by_vpc_link() {
            return Err(Failure::of_setup("VPC links are not supported by forebay"));
        }
        match integration.kind {
            IntegrationType::AwsProxy => self.proxy_event(integration),
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

    /// Hold the request against what its method demands.
    pub fn validate(&self) -> Result<(), Failure> {
        self.route.validation.check(&self.content_type(), &self.sources())
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
            self.log.line(|| format!("Endpoint request URI: {}", call.url));
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
            *given = uri::filled(given, path, self.arrival.stage_variables);
        }
        Ok(target)
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
    fn mapped_body(&mut self, integration: &Integration, content_type: String) -> Result<Body, Failure> {
        let template = self.route.request_templates.get(&content_type);
        let is_refused = match integration.passthrough_behavior {
            Passthrough::WhenNoMatch => false,
            Passthrough::WhenNoTemplates => template.is_none() && !self.route.request_templates.is_empty(),
            Passthrough::Never => template.is_none(),
        };
        if is_refused {
            return Err(Failure::new(ResponseType::UnsupportedMediaType));
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
        let rendered = template.render(globals).map_err(|error| match error {
            RenderError::NoJson => Failure::new(ResponseType::BadRequestBody).message("Invalid JSON in request body"),
            RenderError::Template(reason) => Failure::of_setup(reason),
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
                if let Some(values) = mapping::find(source, &sources) {
                    found.insert(name.to_owned(), values);
                }
            }
        }
        let overrides = self.context.get("requestOverride").and_then(|all| all.get(part)).and_then(Value::as_object);
        for (name, value) in overrides.into_iter().flatten() {
            let values = match value {
                Value::Array(items) => items.iter().filter_map(plain).collect(),
                other => plain(other).into_iter().collect(),
            };
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
        let mut url = integration.uri.clone().unwrap_or_default();
        url = uri::filled(&url, &self.mapped(integration, "path"), self.arrival.stage_variables);
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

    /// Map what came of the command.
    pub fn end(&mut self, outcome: Outcome) -> Result<Answer, Failure> {
        let Some(integration) = &self.route.method.integration else {
            return Err(Failure::of_setup("No integration defined for method"));
        };
        let accept = self.request.header("accept").to_owned();
        match outcome {
            Outcome::TimedOut => Err(Failure::new(ResponseType::IntegrationTimeout)),
            Outcome::Unreachable(reason) => Err(Failure::new(ResponseType::IntegrationFailure).remark(reason)),
            Outcome::Refused(reason) => Err(Failure::new(ResponseType::Default5xx).remark(reason)),
            Outcome::Accepted => self.respond(integration, "", Answer { status: 202, ..Answer::default() }),
            Outcome::Function { json, is_error } if integration.kind == IntegrationType::AwsProxy => {
                self.log.body("Endpoint response body before transformations", &json);
                if is_error {
                    return Err(Failure::malformed(
                        "Lambda execution failed with status 200 due to customer function error",
                    ));
                }
                let mut answer = event::reply(&json, &self.served.api.binary_media_types, &accept)?;
                remap(&mut answer.headers);
                Ok(self.finish(answer, true))
            }
            Outcome::Function { json, is_error } => {
                let message = if is_error { error_message(&json) } else { String::new() };
                self.respond(integration, &message, Answer { status: 200, headers: Vec::new(), body: json })
            }
            Outcome::Http(mut answer) if integration.kind == IntegrationType::HttpProxy => {
                self.log_answer(&answer);
                remap(&mut answer.headers);
                Ok(self.finish(answer, true))
            }
            Outcome::Http(answer) => {
                let status = answer.status.to_string();
                self.respond(integration, &status, answer)
            }
        }
    }

    fn log_answer(&mut self, answer: &Answer) {
        self.log.line(|| format!("Received response. Status: {}", answer.status));
        self.log.fields("Endpoint response headers", &answer.headers);
        self.log.body("Endpoint response body before transformations", &answer.body);
    }

    /// Choose the response by the status or the error's message, and map the answer.
    fn respond(&mut self, integration: &Integration, matched: &str, given: Answer) -> Result<Answer, Failure> {
        self.log_answer(&given);
        let response = self.chosen(matched)?;
        let definition = &response.definition;
        if !self.route.method.method_responses.contains_key(&definition.status_code) {
            let reason = format!("Output mapping refers to an invalid method response: {}", definition.status_code);
            return Err(Failure::of_setup(reason));
        }
        let accept = media_type(self.request.header("accept"));
        let (media_type, template) = chosen_template(&response.templates, &accept);
        let mut headers = Vec::new();
        let sources = Sources {
            response_headers: Some(&given.headers),
            response_body: &given.body,
            ..Sources::of_request(&self.context, self.arrival.stage_variables, &self.params, self.request.body)
        };
        for (target, source) in &definition.response_parameters {
            let name = target.strip_prefix("method.response.").and_then(|rest| rest.split_once('.'));
            let Some(("header" | "multivalueheader", name)) = name else { continue };
            for value in mapping::find(source, &sources).unwrap_or_default() {
                push_mapped(&mut headers, name, value);
            }
        }
        let body = match definition.content_handling {
            Some(ContentHandling::ConvertToText) => BASE64_STANDARD.encode(&given.body).into_bytes(),
            Some(ContentHandling::ConvertToBinary) => BASE64_STANDARD
                .decode(&given.body)
                .map_err(|error| Failure::of_setup(format!("Unable to base64 decode the body: {error}")))?,
            None => given.body,
        };
        let is_called = integration.kind != IntegrationType::Mock;
        let body = match template {
            None => body,
            Some(template) => {
                let template = template.as_ref().map_err(|reason| Failure::of_setup(reason.as_str()))?;
                let text = String::from_utf8_lossy(&body);
                let globals = Globals {
                    input: Input { body: &text, params: &self.params },
                    context: &mut self.context,
                    stage_variables: self.arrival.stage_variables,
                };
                template.render(globals).map_err(|error| Failure::of_setup(error.to_string()))?.into_bytes()
            }
        };
        let mut status = definition.status_code.parse().unwrap_or(500);
        self.override_response(&mut status, &mut headers);
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
            push_header(&mut headers, "Content-Type", media_type);
        }
        Ok(self.finish(Answer { status, headers, body }, is_called))
    }

    /// What a template has put into `$context.responseOverride`.
    fn override_response(&self, status: &mut u16, headers: &mut Vec<(String, String)>) {
        let Some(over) = self.context.get("responseOverride") else { return };
        let given = over.get("status").and_then(plain).and_then(|text| text.trim().parse().ok());
        *status = given.filter(|given| (200..=599).contains(given)).unwrap_or(*status);
        for (name, value) in over.get("header").and_then(Value::as_object).into_iter().flatten() {
            headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
            let values = match value {
                Value::Array(items) => items.iter().filter_map(plain).collect(),
                other => plain(other).into_iter().collect::<Vec<_>>(),
            };
            for value in values {
                push_mapped(headers, name, value);
            }
        }
    }

    fn chosen(&self, matched: &str) -> Result<&'a Response, Failure> {
        let route = self.route;
        for response in &route.responses {
            if let Some(pattern) = &response.pattern {
                let pattern = pattern.as_ref().map_err(|reason| Failure::of_setup(reason.as_str()))?;
                if !matched.is_empty() && pattern.is_match(matched) {
                    return Ok(response);
                }
            }
        }
        let others = route.responses.iter().find(|response| response.pattern.is_none());
        others.ok_or_else(|| Failure::of_setup("No match for output mapping and no default output mapping configured"))
    }

    /// Add what the gateway says itself.
    fn finish(&mut self, mut answer: Answer, is_called: bool) -> Answer {
        if !answer.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
            push_header(&mut answer.headers, "Content-Type", JSON);
        }
        self.log.body("Method response body after transformations", &answer.body);
        self.log.fields("Method response headers", &answer.headers);
        self.log.line(|| "Successfully completed execution".into());
        self.log.line(|| format!("Method completed with status: {}", answer.status));
        sign(&mut answer, &self.arrival, is_called);
        answer
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

/// Put the names of an answer's headers out of the way of the gateway's own.
fn remap(headers: &mut Vec<(String, String)>) {
    for (name, _) in headers.iter_mut() {
        let lower = name.to_ascii_lowercase();
        if REMAPPED.contains(&lower.as_str()) {
            *name = format!("x-amzn-Remapped-{name}");
        }
    }
    headers.retain(|(name, _)| !DROPPED.contains(&name.to_ascii_lowercase().as_str()));
}

/// The response's template: by what the client accepts, JSON's, or the first.
fn chosen_template<'t>(
    templates: &'t Compiled,
    accept: &str,
) -> (String, Option<&'t Result<super::vtl::Template, String>>) {
    let found = templates.get_key_value(accept).or_else(|| templates.get_key_value(JSON));
    let found = found.or_else(|| templates.first_key_value());
    found.map_or_else(|| (JSON.to_owned(), None), |(media_type, template)| (media_type.clone(), template.as_ref()))
}

/// `errorMessage` of what a function has raised.
fn error_message(json: &[u8]) -> String {
    let error: Value = serde_json::from_slice(json).unwrap_or_default();
    // An error without a message is an error: it fits no pattern, and not the response of success either.
    error.get("errorMessage").and_then(plain).unwrap_or_else(|| "null".into())
}
