//! What a document says, as the parts of an API.

use std::collections::BTreeMap;

use serde_json::{json, Value};

use super::{given, Change};
use crate::gateway::openapi;
use crate::gateway::rest::control::fault::{Fault, Outcome};
use crate::gateway::rest::control::params::Params;
use crate::gateway::v2::made::{Members, Parts};
use crate::gateway::v2::Home;

impl Change<'_> {
    /// Take a document's routes, authorisers and CORS in place of what is there. Stages stay.
    pub(super) fn import(&mut self, params: Params) -> Outcome<()> {
        given(params, &["Body"], &["ApiId"])?;
        let body = params.named("Body")?;
        let imported = openapi::import(body).map_err(Fault::bad)?;
        let title = openapi::title(body).unwrap_or_else(|| self.api.id.clone());
        let created = self.api.parts.api.get("CreatedDate").cloned().unwrap_or_else(|| self.now());
        let mut parts = Parts::default();
        parts.api.insert("Name".into(), json!(title));
        parts.api.insert("ProtocolType".into(), json!("HTTP"));
        parts.api.insert("CreatedDate".into(), created);
        if let Some(cors) = imported.cors.as_object() {
            let names = [
                ("allow_origins", "AllowOrigins"),
                ("allow_methods", "AllowMethods"),
                ("allow_headers", "AllowHeaders"),
                ("expose_headers", "ExposeHeaders"),
                ("allow_credentials", "AllowCredentials"),
                ("max_age", "MaxAge"),
            ];
            let found = names.iter().filter_map(|(own, name)| Some(((*name).to_owned(), cors.get(*own)?.clone())));
            let found: Members = found.filter(|(_, value)| !value.is_null()).collect();
            parts.api.insert("CorsConfiguration".into(), json!(found));
        }
        self.api.parts = parts;
        self.check_api()?;
        let mut known = BTreeMap::new();
        for authorizer in &imported.authorizers {
            self.take_authorizer(authorizer, &mut known);
        }
        for route in &imported.routes {
            self.take_route(route, &known);
        }
        self.changed(json!({})).map(drop)
    }

    fn function_arn(&self, function: &Value) -> Value {
        let Home { region, account } = self.facts.home;
        json!(format!("arn:aws:lambda:{region}:{account}:function:{}", function.as_str().unwrap_or_default()))
    }

    fn take_authorizer(&mut self, of: &Value, known: &mut BTreeMap<String, (String, &'static str)>) {
        let name = of["name"].as_str().unwrap_or_default().to_owned();
        if of["by"].get("iam").is_some() {
            known.insert(name, (String::new(), "AWS_IAM"));
            return;
        }
        let id = self.new_id(|api| &api.parts.authorizers);
        let mut members = Members::new();
        members.insert("AuthorizerId".into(), json!(id));
        members.insert("Name".into(), json!(name));
        members.insert("IdentitySource".into(), of["identity_sources"].clone());
        let kind = if let Some(jwt) = of["by"].get("jwt") {
            members.insert("AuthorizerType".into(), json!("JWT"));
            let wanted = json!({"Issuer": jwt["issuer"], "Audience": jwt["audiences"]});
            members.insert("JwtConfiguration".into(), wanted);
            "JWT"
        } else {
            let by = &of["by"]["lambda"];
            members.insert("AuthorizerType".into(), json!("REQUEST"));
            members.insert("AuthorizerUri".into(), self.function_arn(&by["function"]));
            members.insert("AuthorizerPayloadFormatVersion".into(), by["payload_format"].clone());
            members.insert("EnableSimpleResponses".into(), by["simple_responses"].clone());
            members.insert("AuthorizerResultTtlInSeconds".into(), by["ttl"].clone());
            "CUSTOM"
        };
        known.insert(name, (id.clone(), kind));
        self.api.parts.authorizers.insert(id, members);
    }

    fn take_route(&mut self, of: &Value, known: &BTreeMap<String, (String, &'static str)>) {
        let (integration, route) = (self.new_id(|api| &api.parts.integrations), self.new_id(|api| &api.parts.routes));
        let function = of["target"].get("function").map(|function| self.function_arn(function));
        let (kind, method) = if function.is_some() { ("AWS_PROXY", "POST") } else { ("HTTP_PROXY", "ANY") };
        let members = json!({
            "ConnectionType": "INTERNET",
            "IntegrationId": integration,
            "IntegrationType": kind,
            "IntegrationMethod": method,
            "IntegrationUri": function.unwrap_or_else(|| of["target"]["url"].clone()),
            "PayloadFormatVersion": of["payload_format"],
            "TimeoutInMillis": of["timeout_ms"],
        });
        let mut told = json!({
            "ApiKeyRequired": false,
            "AuthorizationType": "NONE",
            "RouteId": route,
            "RouteKey": of["key"],
            "Target": format!("integrations/{integration}"),
        });
        if let Some((id, kind)) = of["authorizer"].as_str().and_then(|name| known.get(name)) {
            told["AuthorizationType"] = json!(kind);
            if !id.is_empty() {
                told["AuthorizerId"] = json!(id);
            }
            told["AuthorizationScopes"] = of["scopes"].clone();
        }
        self.api.parts.integrations.extend(members.as_object().map(|members| (integration, members.clone())));
        self.api.parts.routes.extend(told.as_object().map(|members| (route, members.clone())));
    }
}
