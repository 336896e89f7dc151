//! Routes, integrations and authorisers.

use std::collections::BTreeMap;

use serde_json::{json, Value};

use super::{given, missing, put, Change, INTEGRATIONS_MAX, TIMEOUT_MS};
use crate::gateway::api::{check_selected, AUTHORIZERS_MAX, ROUTES_MAX};
use crate::gateway::rest::control::fault::{Fault, Outcome};
use crate::gateway::rest::control::params::Params;
use crate::gateway::rest::uri;
use crate::gateway::routes::RouteKey;
use crate::gateway::v2::made::{text, Members, TTL_SECONDS};

/// A sort of things that an API has.
struct Sort {
    name: &'static str,
    many: &'static str,
    /// The member that names one.
    id: &'static str,
    most: usize,
    /// The members that one has here.
    members: &'static [&'static str],
}

const ROUTES: Sort = Sort {
    name: "Route",
    many: "routes",
    id: "RouteId",
    most: ROUTES_MAX,
    members: &[
        "RouteKey",
        "Target",
        "AuthorizationType",
        "AuthorizerId",
        "AuthorizationScopes",
        "OperationName",
        "RouteResponseSelectionExpression",
    ],
};
const INTEGRATIONS: Sort = Sort {
    name: "Integration",
    many: "integrations",
    id: "IntegrationId",
    most: INTEGRATIONS_MAX,
    members: &[
        "IntegrationType",
        "IntegrationUri",
        "IntegrationMethod",
        "PayloadFormatVersion",
        "TimeoutInMillis",
        "Description",
    ],
};
const AUTHORIZERS: Sort = Sort {
    name: "Authorizer",
    many: "authorizers",
    id: "AuthorizerId",
    most: AUTHORIZERS_MAX,
    members: &[
        "Name",
        "AuthorizerType",
        "AuthorizerUri",
        "AuthorizerPayloadFormatVersion",
        "AuthorizerResultTtlInSeconds",
        "EnableSimpleResponses",
        "IdentitySource",
        "JwtConfiguration",
    ],
};

impl Sort {
    /// One that is known, or a new one where there is room, with what is given over it.
    fn begun(&self, known: &BTreeMap<String, Members>, id: Option<&str>, params: Params) -> Outcome<Members> {
        let mut members = match id {
            Some(id) => known.get(id).cloned().ok_or_else(|| missing(self.name, id))?,
            None if known.len() >= self.most => {
                let text = format!("Maximum number of {} for this API reached: {}", self.many, self.most);
                return Err(Fault::limit(text));
            }
            None => Members::new(),
        };
        put(&mut members, given(params, self.members, &["ApiId", self.id])?);
        Ok(members)
    }
}

impl Change<'_> {
    pub(super) fn put_route(&mut self, id: Option<&str>, params: Params) -> Outcome<Value> {
        let mut members = ROUTES.begun(&self.api.parts.routes, id, params)?;
        let known = id.and_then(|id| self.api.parts.routes.get(id));
        let before = known.map_or("", |route| text(route, "RouteKey")).to_owned();
        let key = text(&members, "RouteKey").to_owned();
        // What has no integration yet is looked at, too.
        let checked =
            if self.api.parts.is_websocket() { check_selected(&key) } else { RouteKey::parse(&key).map(drop) };
        checked.map_err(Fault::bad)?;
        if before != key && self.api.parts.routes.values().any(|route| text(route, "RouteKey") == key) {
            return Err(Fault::conflict(format!("Route with key {key} already exists for this API")));
        }
        if let Some(target) = Some(text(&members, "Target")).filter(|target| !target.is_empty()) {
            let integration = target.strip_prefix("integrations/").unwrap_or_default();
            if !self.api.parts.integrations.contains_key(integration) {
                return Err(missing("Integration", integration));
            }
        }
        let kind = match text(&members, "AuthorizationType") {
            "" => "NONE".to_owned(),
            given => given.to_owned(),
        };
        let wanted = match kind.as_str() {
            "JWT" => Some("JWT"),
            "CUSTOM" => Some("REQUEST"),
            "AWS_IAM" if self.api.parts.is_websocket() => {
                return Err(Fault::bad(
                    "AuthorizationType AWS_IAM is not there for WebSocket APIs: CUSTOM and NONE are",
                ));
            }
            "NONE" | "AWS_IAM" => None,
            other => return Err(Fault::bad(format!("Invalid authorization type specified {other}"))),
        };
        let authorizer = text(&members, "AuthorizerId");
        match (wanted, self.api.parts.authorizers.get(authorizer)) {
            (Some(_), None) => return Err(missing("Authorizer", authorizer)),
            (Some(wanted), Some(found)) if text(found, "AuthorizerType") != wanted => {
                return Err(Fault::bad(format!(
                    "The authorizer {authorizer} does not fit the authorization type {kind}"
                )));
            }
            (None, _) if !authorizer.is_empty() && kind == "NONE" && params.filled("AuthorizerId")?.is_some() => {
                return Err(Fault::bad("AuthorizerId is for the authorization types JWT and CUSTOM"));
            }
            _ => {}
        }
        if wanted.is_none() {
            members.remove("AuthorizerId");
        }
        members.insert("AuthorizationType".into(), json!(kind));
        members.insert("ApiKeyRequired".into(), json!(false));
        let id = id.map_or_else(|| self.new_id(|api| &api.parts.routes), str::to_owned);
        members.insert("RouteId".into(), json!(id));
        if !before.is_empty() && before != key {
            self.forget_settings(&before);
        }
        let answer = json!(members);
        self.api.parts.routes.insert(id, members);
        self.changed(answer)
    }

    pub(super) fn put_integration(&mut self, id: Option<&str>, params: Params) -> Outcome<Value> {
        let mut members = INTEGRATIONS.begun(&self.api.parts.integrations, id, params)?;
        let is_websocket = self.api.parts.is_websocket();
        let kind = text(&members, "IntegrationType");
        match kind {
            "AWS_PROXY" => {}
            "HTTP_PROXY" if !is_websocket => {}
            other => {
                let allowed = if is_websocket { "AWS_PROXY" } else { "AWS_PROXY and HTTP_PROXY" };
                return Err(Fault::bad(format!(
                    "IntegrationType {other:?} is not supported by forebay: allowed are {allowed}"
                )));
            }
        }
        if text(&members, "IntegrationUri").is_empty() {
            return Err(Fault::bad("IntegrationUri is a required parameter for integration"));
        }
        let format = text(&members, "PayloadFormatVersion").to_owned();
        if format.is_empty() && kind == "AWS_PROXY" && !is_websocket {
            return Err(Fault::bad("PayloadFormatVersion is a required parameter for integration"));
        }
        if !["", "1.0", "2.0"].contains(&format.as_str()) || (format == "2.0" && (is_websocket || kind == "HTTP_PROXY"))
        {
            return Err(Fault::bad(format!("Invalid payload format version specified {format}")));
        }
        let is_function = kind == "AWS_PROXY";
        let function = uri::target(text(&members, "IntegrationUri"));
        if is_function && !matches!(function, Ok(uri::Target::Function(_))) {
            return Err(Fault::bad("Invalid IntegrationUri specified: it is not an ARN of a function"));
        }
        let method = text(&members, "IntegrationMethod");
        if is_function && !["", "POST"].contains(&method) {
            return Err(Fault::bad("IntegrationMethod must be POST for AWS_PROXY integrations"));
        }
        if method.is_empty() {
            members.insert("IntegrationMethod".into(), json!(if is_function { "POST" } else { "ANY" }));
        }
        if format.is_empty() {
            members.insert("PayloadFormatVersion".into(), json!("1.0"));
        }
        members.entry("TimeoutInMillis").or_insert(json!(TIMEOUT_MS));
        members.insert("ConnectionType".into(), json!("INTERNET"));
        let id = id.map_or_else(|| self.new_id(|api| &api.parts.integrations), str::to_owned);
        members.insert("IntegrationId".into(), json!(id));
        let answer = json!(members);
        self.api.parts.integrations.insert(id, members);
        self.changed(answer)
    }

    pub(super) fn put_authorizer(&mut self, id: Option<&str>, params: Params) -> Outcome<Value> {
        let mut members = AUTHORIZERS.begun(&self.api.parts.authorizers, id, params)?;
        let name = text(&members, "Name").to_owned();
        let same = |(other, one): (&String, &Members)| Some(other.as_str()) != id && text(one, "Name") == name;
        if self.api.parts.authorizers.iter().any(same) || name == "AWS_IAM" {
            return Err(Fault::conflict(format!("Authorizer with name {name} already exists for this API")));
        }
        let is_websocket = self.api.parts.is_websocket();
        match text(&members, "AuthorizerType") {
            "JWT" if is_websocket => return Err(Fault::bad("JWT authorizers are for HTTP APIs alone")),
            "JWT" => {}
            "REQUEST" => {
                if text(&members, "AuthorizerPayloadFormatVersion").is_empty() && !is_websocket {
                    let text = "AuthorizerPayloadFormatVersion is a required parameter for REQUEST authorizer";
                    return Err(Fault::bad(text));
                }
                members.entry("AuthorizerResultTtlInSeconds").or_insert(json!(TTL_SECONDS));
            }
            other => return Err(Fault::bad(format!("Invalid authorizer type specified {other}"))),
        }
        let id = id.map_or_else(|| self.new_id(|api| &api.parts.authorizers), str::to_owned);
        members.insert("AuthorizerId".into(), json!(id));
        let answer = json!(members);
        self.api.parts.authorizers.insert(id, members);
        self.changed(answer)
    }
}
