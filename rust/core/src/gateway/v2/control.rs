//! The calls of `apigatewayv2` that make, change and delete APIs: what each changes, answers and refuses.
//!
//! A member that forebay could not honour is refused, and nothing is kept of a call that is.

mod import;
mod parts;
mod stages;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde_json::{json, Value};
use sha2::{Digest as _, Sha256};

use super::made::{stage as stage_of, text, MadeApi, MadeApis, Members};
use super::{no_api, shown_made, Home};
use crate::gateway::rest::control::fault::{Fault, Outcome};
use crate::gateway::rest::control::params::Params;

/// Most APIs that calls have made.
const APIS_MAX: usize = 600;
/// Most integrations of an API. Source: <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-quotas.html>
const INTEGRATIONS_MAX: usize = 300;
/// Most deployments of an API that are kept.
const DEPLOYMENTS_MAX: usize = 50;
/// How long an integration may take unless it is said, ms.
const TIMEOUT_MS: u64 = 30_000;

/// The calls that change something.
pub const OPERATIONS: &[&str] = &[
    "CreateApi",
    "UpdateApi",
    "DeleteApi",
    "ImportApi",
    "ReimportApi",
    "DeleteCorsConfiguration",
    "CreateRoute",
    "UpdateRoute",
    "DeleteRoute",
    "CreateIntegration",
    "UpdateIntegration",
    "DeleteIntegration",
    "CreateAuthorizer",
    "UpdateAuthorizer",
    "DeleteAuthorizer",
    "CreateStage",
    "UpdateStage",
    "DeleteStage",
    "DeleteRouteSettings",
    "CreateDeployment",
    "UpdateDeployment",
    "DeleteDeployment",
    RESET,
];
/// The call that forgets what authorisers have said. It changes no API, so it is for those of a program, too.
pub const RESET: &str = "ResetAuthorizersCache";

/// What a call is not told by its members.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Now, ms since 1970.
    pub now_ms: u64,
    /// The name of the app.
    pub app: &'a str,
    /// Where the app stands on AWS.
    pub home: Home<'a>,
    /// Where ids come from: different for each call.
    pub seed: [u8; 32],
}

/// Members that an API has here.
const API: &[&str] =
    &["Name", "ProtocolType", "RouteSelectionExpression", "Description", "CorsConfiguration", "Version", "Tags"];
/// Members that may be said as what they are in any case.
const AS_ALWAYS: &[(&str, &str)] = &[
    ("ApiKeyRequired", "false"),
    ("ApiKeySelectionExpression", "\"$request.header.x-api-key\""),
    ("ConnectionType", "\"INTERNET\""),
    ("DataTraceEnabled", "false"),
    ("DisableExecuteApiEndpoint", "false"),
    ("DisableSchemaValidation", "false"),
    ("FailOnWarnings", "false"),
    ("FailOnWarnings", "true"),
    ("IpAddressType", "\"ipv4\""),
    ("LoggingLevel", "\"OFF\""),
    ("PassthroughBehavior", "\"WHEN_NO_MATCH\""),
];
/// Members that say what a call is about.
const NAMING: &[&str] = &["ApiId", "RouteId", "IntegrationId", "AuthorizerId", "StageName", "DeploymentId"];

/// Carry out a call that changes something: what it answers, and the id of the API that has changed or is gone.
///
/// # Errors
///
/// What AWS answers to the same mistake. Nothing was changed then.
pub fn call(apis: &mut MadeApis, facts: &Facts<'_>, operation: &str, members: &Members) -> Outcome<(Value, String)> {
    let params = Params(members);
    if ["CreateApi", "ImportApi"].contains(&operation) {
        if apis.len() >= APIS_MAX {
            return Err(Fault::limit(format!("Maximum number of APIs for this account reached: {APIS_MAX}")));
        }
        let mut change = Change { facts, api: MadeApi::default(), drawn: 0 };
        change.api.id = loop {
            let id = change.id(10);
            if !apis.contains_key(&id) {
                break id;
            }
        };
        if operation == "CreateApi" {
            change.create(params)?;
        } else {
            change.import(params)?;
        }
        let (answer, api) = (shown_made(&change.api, facts.home), change.api);
        let id = api.id.clone();
        apis.insert(id.clone(), api.into());
        return Ok((answer, id));
    }
    let id = params.named("ApiId")?;
    let known = apis.get(id).ok_or_else(|| no_api(facts.home, id))?;
    if operation == "DeleteApi" {
        apis.remove(id);
        return Ok((json!({}), id.to_owned()));
    }
    let mut change = Change { facts, api: MadeApi::clone(known), drawn: 0 };
    let answer = change.carry_out(operation, params)?;
    apis.insert(id.to_owned(), change.api.into());
    Ok((answer, id.to_owned()))
}

/// A call under way.
struct Change<'a> {
    facts: &'a Facts<'a>,
    api: MadeApi,
    drawn: u32,
}

fn missing(kind: &str, id: &str) -> Fault {
    Fault::missing(format!("Invalid {kind} identifier specified {id}"))
}

/// What is given of the members that a kind of thing has. One that could not be honoured is refused.
fn given(params: Params, known: &[&str], besides: &[&str]) -> Outcome<Members> {
    let mut found = Members::new();
    for (name, value) in params.0 {
        let is_empty = match value {
            Value::Null => true,
            Value::Object(fields) => fields.is_empty() && !known.contains(&name.as_str()),
            _ => false,
        };
        if is_empty || besides.contains(&name.as_str()) || is_as_always(name, value) {
            continue;
        }
        if !known.contains(&name.as_str()) {
            return Err(Fault::bad(format!("{name} is not supported by forebay: leave it out")));
        }
        found.insert(name.clone(), value.clone());
    }
    Ok(found)
}

fn is_as_always(name: &str, value: &Value) -> bool {
    AS_ALWAYS.contains(&(name, &value.to_string()))
}

/// Put given members over those that are known. An empty text takes one away.
fn put(over: &mut Members, given: Members) {
    for (name, value) in given {
        if value == "" {
            over.remove(&name);
        } else {
            over.insert(name, value);
        }
    }
}

impl Change<'_> {
    fn id(&mut self, characters: usize) -> String {
        const LETTERS: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
        self.drawn += 1;
        let bytes = Sha256::new().chain_update(self.facts.seed).chain_update(self.drawn.to_be_bytes()).finalize();
        bytes.iter().take(characters).map(|byte| char::from(LETTERS[usize::from(*byte) % 36])).collect()
    }

    /// An id that nothing among these has.
    fn new_id<T>(&mut self, among: impl Fn(&MadeApi) -> &BTreeMap<String, T>) -> String {
        loop {
            let id = self.id(7);
            if !among(&self.api).contains_key(&id) {
                return id;
            }
        }
    }

    fn now(&self) -> Value {
        json!(self.facts.now_ms / 1_000)
    }

    fn carry_out(&mut self, operation: &str, params: Params) -> Outcome<Value> {
        match operation {
            "UpdateApi" => self.update(params),
            "ReimportApi" => {
                self.import(params)?;
                Ok(shown_made(&self.api, self.facts.home))
            }
            "DeleteCorsConfiguration" => {
                self.api.parts.api.remove("CorsConfiguration");
                self.changed(json!({}))
            }
            "CreateRoute" => self.put_route(None, params),
            "UpdateRoute" => self.put_route(Some(params.named("RouteId")?), params),
            "DeleteRoute" => {
                let id = params.named("RouteId")?;
                let gone = self.api.parts.routes.remove(id).ok_or_else(|| missing("Route", id))?;
                self.forget_settings(text(&gone, "RouteKey"));
                self.changed(json!({}))
            }
            "CreateIntegration" => self.put_integration(None, params),
            "UpdateIntegration" => self.put_integration(Some(params.named("IntegrationId")?), params),
            "DeleteIntegration" => {
                let id = params.named("IntegrationId")?;
                let wanted = format!("integrations/{id}");
                if let Some(route) = self.api.parts.routes.values().find(|route| text(route, "Target") == wanted) {
                    let key = text(route, "RouteKey");
                    return Err(Fault::conflict(format!("Cannot delete Integration {id}: the route {key} uses it")));
                }
                self.api.parts.integrations.remove(id).ok_or_else(|| missing("Integration", id))?;
                self.changed(json!({}))
            }
            "CreateAuthorizer" => self.put_authorizer(None, params),
            "UpdateAuthorizer" => self.put_authorizer(Some(params.named("AuthorizerId")?), params),
            "DeleteAuthorizer" => {
                let id = params.named("AuthorizerId")?;
                if let Some(route) = self.api.parts.routes.values().find(|route| text(route, "AuthorizerId") == id) {
                    let key = text(route, "RouteKey");
                    return Err(Fault::conflict(format!("Cannot delete Authorizer {id}: the route {key} uses it")));
                }
                self.api.parts.authorizers.remove(id).ok_or_else(|| missing("Authorizer", id))?;
                self.changed(json!({}))
            }
            "CreateStage" => self.create_stage(params),
            "UpdateStage" => self.update_stage(params),
            "DeleteStage" => {
                let name = params.named("StageName")?;
                let gone = self.api.stages.remove(name).ok_or_else(|| missing("Stage", name))?;
                self.forget_automatic(text(&gone, "DeploymentId"));
                Ok(json!({}))
            }
            "DeleteRouteSettings" => self.delete_route_settings(params),
            "CreateDeployment" => self.create_deployment(params),
            "UpdateDeployment" => {
                let id = params.named("DeploymentId")?;
                let description = given(params, &["Description"], NAMING)?;
                let found = self.api.deployments.get_mut(id).ok_or_else(|| missing("Deployment", id))?;
                put(&mut found.members, description);
                Ok(json!(found.members))
            }
            "DeleteDeployment" => {
                let id = params.named("DeploymentId")?;
                if self.api.stages.values().any(|stage| text(stage, "DeploymentId") == id) {
                    let text = "Active stages pointing to this deployment must be moved or deleted";
                    return Err(Fault::bad(text));
                }
                self.api.deployments.remove(id).ok_or_else(|| missing("Deployment", id))?;
                Ok(json!({}))
            }
            _ => Err(Fault::unsupported(operation)),
        }
    }

    // --- the API itself

    fn create(&mut self, params: Params) -> Outcome<()> {
        let mut members = given(params, API, &["RouteKey", "Target"])?;
        let kind = text(&members, "ProtocolType").to_owned();
        if text(&members, "Name").is_empty() || text(&members, "Name").len() > 128 {
            return Err(Fault::bad("Invalid API name specified: it has 1 to 128 characters"));
        }
        if !["HTTP", "WEBSOCKET"].contains(&kind.as_str()) {
            return Err(Fault::bad("Invalid protocol specified. Must be one of [HTTP, WEBSOCKET]"));
        }
        members.insert("CreatedDate".into(), self.now());
        self.api.parts.api = members;
        self.check_api()?;
        match (params.filled("Target")?, params.filled("RouteKey")?) {
            (Some(target), key) => self.quick_create(&target, key.as_deref().unwrap_or("$default"))?,
            (None, Some(_)) => return Err(Fault::bad("RouteKey is for an API that is created with a Target")),
            (None, None) => {}
        }
        self.changed(json!({})).map(drop)
    }

    fn check_api(&mut self) -> Outcome<()> {
        let members = &mut self.api.parts.api;
        if text(members, "ProtocolType") == "WEBSOCKET" {
            if members.contains_key("CorsConfiguration") {
                return Err(Fault::bad("CorsConfiguration is for HTTP APIs alone"));
            }
            if text(members, "RouteSelectionExpression").is_empty() {
                return Err(Fault::bad("RouteSelectionExpression is required for WEBSOCKET APIs"));
            }
        } else {
            const SELECTION: &str = "${request.method} ${request.path}";
            if ![SELECTION, "$request.method $request.path", ""].contains(&text(members, "RouteSelectionExpression")) {
                return Err(Fault::bad(format!("RouteSelectionExpression of an HTTP API is {SELECTION}")));
            }
            members.insert("RouteSelectionExpression".into(), json!(SELECTION));
        }
        Ok(())
    }

    /// An API with one route and a stage that deploys by itself.
    fn quick_create(&mut self, target: &str, key: &str) -> Outcome<()> {
        if self.api.parts.is_websocket() {
            return Err(Fault::bad("Target is for HTTP APIs alone"));
        }
        let is_function = target.starts_with("arn:");
        let integration = json!({
            "IntegrationType": if is_function { "AWS_PROXY" } else { "HTTP_PROXY" },
            "IntegrationUri": target,
            "IntegrationMethod": if is_function { "POST" } else { "ANY" },
            "PayloadFormatVersion": if is_function { "2.0" } else { "1.0" },
        });
        let Value::Object(integration) = integration else { return Ok(()) };
        let made = self.put_integration(None, Params(&integration))?;
        let wanted = format!("integrations/{}", made["IntegrationId"].as_str().unwrap_or_default());
        let route: Members =
            [("RouteKey".to_owned(), json!(key)), ("Target".to_owned(), json!(wanted))].into_iter().collect();
        self.put_route(None, Params(&route))?;
        let mut stage = stage_of("$default");
        stage.insert("AutoDeploy".into(), json!(true));
        self.create_stage(Params(&stage)).map(drop)
    }

    fn update(&mut self, params: Params) -> Outcome<Value> {
        for name in ["Target", "RouteKey"] {
            if params.filled(name)?.is_some() {
                return Err(Fault::bad(format!(
                    "{name} is not supported by forebay here: change the route and its integration"
                )));
            }
        }
        let members = given(params, API, &["ApiId"])?;
        put(&mut self.api.parts.api, members);
        self.check_api()?;
        self.changed(json!({}))?;
        Ok(shown_made(&self.api, self.facts.home))
    }
}
