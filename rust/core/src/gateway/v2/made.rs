//! HTTP and WebSocket APIs that were made by calls, as a store keeps them, and how each of their stages is served.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{json, Map, Value};

use crate::gateway::api::{Api, Definition};
use crate::gateway::apis::Apis;
use crate::gateway::rest::uri;

/// Members of something by AWS's names, as calls tell of it.
pub type Members = Map<String, Value>;

/// The APIs, by id.
pub type MadeApis = BTreeMap<String, Arc<MadeApi>>;

/// What a deployment is a copy of.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Parts {
    /// The API's own members.
    pub api: Members,
    /// Its routes, by id.
    pub routes: BTreeMap<String, Members>,
    /// Its integrations, by id.
    pub integrations: BTreeMap<String, Members>,
    /// Its authorisers, by id.
    pub authorizers: BTreeMap<String, Members>,
}

/// A deployment.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Deployment {
    /// Its members.
    pub members: Members,
    /// What it serves; `None`: the API as it is, of a stage that deploys by itself.
    pub parts: Option<Parts>,
}

/// An API with all that belongs to it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct MadeApi {
    /// Ten characters.
    pub id: String,
    /// What is configured now.
    pub parts: Parts,
    /// Its stages, by name.
    pub stages: BTreeMap<String, Members>,
    /// Its deployments, by id.
    pub deployments: BTreeMap<String, Deployment>,
}

/// A text of some members; empty where there is none.
pub(super) fn text<'a>(members: &'a Members, name: &str) -> &'a str {
    members.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// A number of some members.
fn number(members: &Members, name: &str) -> Option<u64> {
    members.get(name).and_then(Value::as_u64)
}

/// A stage of a name, with no settings.
pub(super) fn stage(name: &str) -> Members {
    [("StageName".to_owned(), json!(name))].into_iter().collect()
}

/// Every stage as it is served. A stage without a deployment serves nothing.
pub fn served(app: &str, apis: &MadeApis) -> Apis {
    let stages = apis.values().flat_map(|api| {
        api.stages.values().filter_map(move |stage| {
            let parts = api.deployed(stage)?;
            // What does not compile was refused when it was made, but for routes without a target: those were passed over once.
            let compile = |parts: &Parts| parts.compile(app, &api.id, stage);
            compile(parts).or_else(|_| compile(&parts.with_targets())).ok()
        })
    });
    Apis::staged(stages.collect())
}

impl MadeApi {
    /// What a stage serves.
    pub(super) fn deployed(&self, stage: &Members) -> Option<&Parts> {
        let deployment = self.deployments.get(text(stage, "DeploymentId"))?;
        Some(deployment.parts.as_ref().unwrap_or(&self.parts))
    }
}

impl Parts {
    /// Whether messages of sockets are routed.
    pub(super) fn is_websocket(&self) -> bool {
        text(&self.api, "ProtocolType") == "WEBSOCKET"
    }

    /// The API of a stage, ready to be served; the error names what cannot be.
    pub fn compile(&self, app: &str, id: &str, stage: &Members) -> Result<Api, String> {
        let definition: Definition =
            serde_json::from_value(self.definition(id, stage)?).map_err(|error| error.to_string())?;
        let mut api = Api::compile(app, definition)?;
        id.clone_into(&mut api.id);
        api.is_made = true;
        Ok(api)
    }

    /// The same without routes behind which nothing stands.
    fn with_targets(&self) -> Self {
        let mut parts = self.clone();
        parts.routes.retain(|_, route| !text(route, "Target").is_empty());
        parts
    }

    fn definition(&self, id: &str, stage: &Members) -> Result<Value, String> {
        let name = text(&self.api, "Name");
        // A name is a label of metrics and part of a path: one that could be neither gives way to the id.
        let is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        let routes = self.routes.values().map(|route| self.route(route, stage));
        let routes = routes.collect::<Result<Vec<_>, String>>()?;
        let mut authorizers = self.authorizers.values().map(authorizer).collect::<Result<Vec<_>, String>>()?;
        if self.routes.values().any(|route| text(route, "AuthorizationType") == "AWS_IAM") {
            authorizers.push(json!({"name": IAM, "by": {"iam": {}}, "identity_sources": []}));
        }
        let variables: Vec<Value> = stage
            .get("StageVariables")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
            .map(|pair| json!(pair))
            .collect();
        let mut definition = json!({
            "name": if is_plain && !name.is_empty() { name } else { id },
            "kind": if self.is_websocket() { "websocket" } else { "http" },
            "routes": routes,
            "authorizers": authorizers,
            "stages": [{"name": text(stage, "StageName"), "variables": variables}],
        });
        if self.is_websocket() {
            definition["selection"] = self.api.get("RouteSelectionExpression").cloned().unwrap_or_default();
        } else if let Some(cors) = self.api.get("CorsConfiguration") {
            definition["cors"] = cors_of(cors);
        }
        Ok(definition)
    }

    /// A route. One behind which nothing stands is there, too: its requests must not reach another one.
    fn route(&self, route: &Members, stage: &Members) -> Result<Value, String> {
        let key = text(route, "RouteKey");
        let wrong = |what: &str| format!("route {key:?}: {what}");
        let nothing = Members::new();
        let named = text(route, "Target").strip_prefix("integrations/");
        let integration = match named {
            Some(named) => self.integrations.get(named).ok_or_else(|| wrong("its integration is gone"))?,
            None => &nothing,
        };
        let uri = text(integration, "IntegrationUri");
        let target = if named.is_none() {
            json!({"nothing": {}})
        } else if text(integration, "IntegrationType") == "AWS_PROXY" {
            match uri::target(uri) {
                Ok(uri::Target::Function(function)) => json!({ "function": function }),
                _ => return Err(wrong(&format!("IntegrationUri {uri:?} names no function"))),
            }
        } else {
            let handed = text(integration, "IntegrationMethod");
            let own = key.split(' ').next().unwrap_or_default();
            if !["", "ANY"].contains(&handed) && handed != own {
                return Err(wrong("IntegrationMethod: a request is handed on with its own method: say ANY"));
            }
            json!({ "url": uri })
        };
        let authorizer = match text(route, "AuthorizationType") {
            "AWS_IAM" => IAM.into(),
            "JWT" | "CUSTOM" => {
                let found = self.authorizers.get(text(route, "AuthorizerId"));
                text(found.ok_or_else(|| wrong("its authorizer is gone"))?, "Name").into()
            }
            _ => Value::Null,
        };
        let own = stage.get("RouteSettings").and_then(|settings| settings.get(key)).and_then(Value::as_object);
        let of_all = stage.get("DefaultRouteSettings").and_then(Value::as_object);
        let format = match text(integration, "PayloadFormatVersion") {
            "" => "1.0",
            given => given,
        };
        let mut told = json!({
            "key": key,
            "target": target,
            "payload_format": format,
            "authorizer": authorizer,
            "scopes": route.get("AuthorizationScopes").cloned().unwrap_or_else(|| json!([])),
            "throttle": throttle(own, of_all),
            "responds": text(route, "RouteResponseSelectionExpression") == "$default",
        });
        if let Some(timeout) = number(integration, "TimeoutInMillis") {
            told["timeout_ms"] = timeout.into();
        }
        Ok(told)
    }
}

/// The authoriser that stands for a signature.
const IAM: &str = "AWS_IAM";

/// The limit of a route: its own settings, else those of all routes of its stage.
fn throttle(own: Option<&Members>, of_all: Option<&Members>) -> Value {
    let given = |name: &str| [own, of_all].into_iter().flatten().find_map(|settings| settings.get(name));
    match (given("ThrottlingRateLimit").and_then(Value::as_f64), given("ThrottlingBurstLimit")) {
        (None, None) => Value::Null,
        // One alone leaves the other at AWS's own of an account.
        (rate, burst) => json!({"rate": rate.unwrap_or(10_000.0), "burst": burst.cloned().unwrap_or(json!(5_000))}),
    }
}

fn authorizer(members: &Members) -> Result<Value, String> {
    let name = text(members, "Name");
    let by = if text(members, "AuthorizerType") == "JWT" {
        let wanted = members.get("JwtConfiguration").cloned().unwrap_or_default();
        json!({"jwt": {"issuer": wanted["Issuer"].as_str().unwrap_or_default(), "audiences": wanted.get("Audience").cloned().unwrap_or_else(|| json!([]))}})
    } else {
        let Ok(uri::Target::Function(function)) = uri::target(text(members, "AuthorizerUri")) else {
            return Err(format!("authorizer {name:?}: AuthorizerUri names no function"));
        };
        let format = match text(members, "AuthorizerPayloadFormatVersion") {
            "" => "1.0",
            given => given,
        };
        json!({"lambda": {
            "function": function,
            "payload_format": format,
            "simple_responses": members.get("EnableSimpleResponses").and_then(Value::as_bool).unwrap_or_default(),
            "ttl": number(members, "AuthorizerResultTtlInSeconds").unwrap_or(TTL_SECONDS),
        }})
    };
    let sources = members.get("IdentitySource").cloned().unwrap_or_else(|| json!([]));
    Ok(json!({"name": name, "by": by, "identity_sources": sources}))
}

/// How long an answer of an authoriser's function is kept unless it is said.
pub(super) const TTL_SECONDS: u64 = 300;

fn cors_of(cors: &Value) -> Value {
    let list = |name: &str| cors.get(name).cloned().unwrap_or_else(|| json!([]));
    json!({
        "allow_origins": list("AllowOrigins"),
        "allow_methods": list("AllowMethods"),
        "allow_headers": list("AllowHeaders"),
        "expose_headers": list("ExposeHeaders"),
        "allow_credentials": cors.get("AllowCredentials").and_then(Value::as_bool).unwrap_or_default(),
        "max_age": cors.get("MaxAge"),
    })
}
