//! A request on its way back: what came of its integration is mapped to an answer of its method.

use base64::prelude::{Engine as _, BASE64_STANDARD};
use serde_json::Value;

use super::aside::{Halt, BODY_BYTES_HERE_MAX};
use super::compiled::{Compiled, Response};
use super::event::{self, media_type};
use super::failure::{Failure, ResponseType};
use super::log::Log;
use super::model::{ContentHandling, Integration, IntegrationType};
use super::parameter_mapping::{self, plain, push_header, push_mapped, Sources};
use super::pipeline::{sign, Exchange, Outcome, JSON};
use super::vtl::{Globals, Input, RenderError, Template};
use crate::gateway::answer::Answer;

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

/// How a request has ended.
#[derive(Debug)]
pub enum Ended {
    /// With this answer.
    Answer(Answer),
    /// To map its answer takes long: it is to be ended again at leisure, with the same ([`Exchange::aside`]).
    Aside(Outcome),
}

impl<'a> Exchange<'a> {
    /// Map what came of the command.
    pub fn end(&mut self, outcome: Outcome) -> Result<Ended, Failure> {
        let Some(integration) = &self.route.method.integration else {
            return Err(Failure::of_setup("No integration defined for method"));
        };
        let may_be_long = !self.is_at_leisure && !integration.kind.is_proxy();
        if may_be_long && outcome.bytes() > BODY_BYTES_HERE_MAX {
            return Ok(Ended::Aside(outcome));
        }
        let again = may_be_long.then(|| (outcome.clone(), self.log.clone()));
        match self.mapped_answer(integration, outcome) {
            Ok(answer) => Ok(Ended::Answer(answer)),
            Err(Halt::Failed(failure)) => Err(failure),
            Err(Halt::Long) => {
                let (outcome, log) = again.unwrap_or((Outcome::Accepted, Log::default()));
                self.log = log;
                Ok(Ended::Aside(outcome))
            }
        }
    }

    fn mapped_answer(&mut self, integration: &Integration, outcome: Outcome) -> Result<Answer, Halt> {
        let accept = self.request.header("accept").to_owned();
        match outcome {
            Outcome::TimedOut => Err(Failure::new(ResponseType::IntegrationTimeout).into()),
            Outcome::Unreachable(reason) => Err(Failure::new(ResponseType::IntegrationFailure).remark(reason).into()),
            Outcome::Refused(reason) => Err(Failure::new(ResponseType::Default5xx).remark(reason).into()),
            Outcome::Accepted => self.respond(integration, "", Answer { status: 202, ..Answer::default() }),
            Outcome::Function { json, is_error } if integration.kind == IntegrationType::AwsProxy => {
                self.log.body("Endpoint response body before transformations", &json);
                if is_error {
                    let text = "Lambda execution failed with status 200 due to customer function error";
                    return Err(Failure::malformed(text).into());
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
    pub(super) fn respond(&mut self, integration: &Integration, matched: &str, given: Answer) -> Result<Answer, Halt> {
        // Nothing has answered behind a mock.
        if integration.kind != IntegrationType::Mock {
            self.log_answer(&given);
        }
        let response = self.chosen(matched)?;
        let definition = &response.definition;
        if !self.route.method.method_responses.contains_key(&definition.status_code) {
            let reason = format!("Output mapping refers to an invalid method response: {}", definition.status_code);
            return Err(Failure::of_setup(reason).into());
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
            for value in parameter_mapping::find(source, &sources).unwrap_or_default() {
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
                let rendered = template.render(globals, self.is_at_leisure).map_err(|error| match error {
                    RenderError::Long => Halt::Long,
                    other => Failure::of_setup(other.to_string()).into(),
                })?;
                rendered.into_bytes()
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
fn chosen_template<'t>(templates: &'t Compiled, accept: &str) -> (String, Option<&'t Result<Template, String>>) {
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
