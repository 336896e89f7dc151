//! `GetExport`: a stage's API as a document.

use serde_json::{json, Map, Value};

use crate::gateway::rest::control::fault::{Fault, Outcome};
use crate::gateway::rest::control::openapi::with_references;
use crate::gateway::rest::control::params::Params;
use crate::gateway::rest::control::stages;
use crate::gateway::rest::control::Control;
use crate::gateway::rest::model::{
    shown, ApiKeySource, Authorizer, Integration, IntegrationType, Method, MethodResponse, RestApi, Stage,
};

/// What an export has.
struct Export<'a> {
    api: &'a RestApi,
    is_3: bool,
    /// `x-amazon-apigateway-integration` and what belongs to it.
    with_integrations: bool,
    /// `x-amazon-apigateway-authorizer`.
    with_authorizers: bool,
}

pub(in crate::gateway::rest::control) fn get_export(control: &mut Control<'_>, params: Params) -> Outcome<Value> {
    let kind = params.named("exportType")?;
    if kind != "oas30" && kind != "swagger" {
        return Err(Fault::bad(format!("No API exporter for type '{kind}'")));
    }
    let stage = stages::stage(control, params)?;
    let id = params.named("restApiId")?;
    let key = (id.to_owned(), stage.deployment_id.clone());
    let deployment = control
        .account
        .deployments
        .get(&key)
        .ok_or_else(|| Fault::missing("Invalid Deployment identifier specified"))?;
    let options = params.texts("parameters")?;
    let extensions = options.get("extensions").map(String::as_str).unwrap_or_default();
    let has = |name: &str| extensions.split(',').any(|one| one.trim() == name || one.trim() == "apigateway");
    let export = Export {
        api: &deployment.api,
        is_3: kind == "oas30",
        with_integrations: has("integrations"),
        with_authorizers: has("authorizers"),
    };
    let version = deployment.api.version.clone().unwrap_or_else(|| date_of(deployment.created_date));
    let document = export.document(stage, &version, control.facts.region);
    let accepts = params.filled("accepts")?.unwrap_or_else(|| "application/json".into());
    let (body, ending) = match accepts.as_str() {
        "application/json" | "*/*" => (serde_json::to_string_pretty(&document).unwrap_or_default(), "json"),
        "application/yaml" => (serde_yaml_ng::to_string(&document).unwrap_or_default(), "yaml"),
        other => {
            return Err(Fault::bad(format!(
                "Invalid export format '{other}'. Valid options are application/json and application/yaml"
            )))
        }
    };
    Ok(json!({
        "body": body,
        "contentType": "application/octet-stream",
        "contentDisposition": format!("attachment; filename=\"{kind}_{version}.{ending}\""),
    }))
}

fn date_of(ms: u64) -> String {
    let at = i64::try_from(ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok()).unwrap_or_default();
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

impl Export<'_> {
    fn document(&self, stage: &Stage, version: &str, region: &str) -> Value {
        let api = self.api;
        let host = format!("{}.execute-api.{region}.amazonaws.com", api.id);
        let mut info = json!({"title": api.name, "version": version});
        if let Some(description) = &api.description {
            info["description"] = json!(description);
        }
        let mut paths = Map::new();
        for resource in api.resources.values().filter(|resource| !resource.methods.is_empty()) {
            let operations = resource.methods.iter().map(|(verb, method)| {
                let name =
                    if verb == "ANY" { "x-amazon-apigateway-any-method".into() } else { verb.to_ascii_lowercase() };
                (name, self.operation(method))
            });
            paths.insert(resource.path.clone(), operations.collect());
        }
        let mut document = if self.is_3 {
            json!({
                "openapi": "3.0.1",
                "info": info,
                "servers": [{
                    "url": format!("https://{host}/{{basePath}}"),
                    "variables": {"basePath": {"default": stage.stage_name}},
                }],
                "paths": paths,
                "components": {},
            })
        } else {
            json!({
                "swagger": "2.0",
                "info": info,
                "host": host,
                "basePath": format!("/{}", stage.stage_name),
                "schemes": ["https"],
                "paths": paths,
            })
        };
        let (schemas, schemes) = (self.schemas(), self.schemes());
        let place = if self.is_3 { &mut document["components"] } else { &mut document };
        if !schemas.is_empty() {
            place[if self.is_3 { "schemas" } else { "definitions" }] = Value::Object(schemas);
        }
        if !schemes.is_empty() {
            place[if self.is_3 { "securitySchemes" } else { "securityDefinitions" }] = Value::Object(schemes);
        }
        if self.with_integrations {
            self.extensions(&mut document);
        }
        document
    }

    fn extensions(&self, document: &mut Value) {
        let api = self.api;
        let mut put = |name: &str, value: Value| document[format!("x-amazon-apigateway-{name}")] = value;
        if !api.binary_media_types.is_empty() {
            put("binary-media-types", json!(api.binary_media_types));
        }
        if let Some(size) = api.minimum_compression_size {
            put("minimum-compression-size", json!(size));
        }
        if api.api_key_source == ApiKeySource::Authorizer {
            put("api-key-source", json!("AUTHORIZER"));
        }
        if let Some(policy) = api.policy.as_deref().and_then(|text| serde_json::from_str(text).ok()) {
            put("policy", policy);
        }
        if !api.request_validators.is_empty() {
            let of = api.request_validators.values().map(|one| {
                let told = json!({
                    "validateRequestParameters": one.validate_request_parameters,
                    "validateRequestBody": one.validate_request_body,
                });
                (one.name.clone().unwrap_or_else(|| one.id.clone()), told)
            });
            put("request-validators", of.collect());
        }
        if !api.gateway_responses.is_empty() {
            let of = api.gateway_responses.iter().map(|(kind, one)| {
                let mut told = shown(one);
                if let Some(members) = told.as_object_mut() {
                    members.retain(|name, value| {
                        !["responseType", "defaultResponse"].contains(&name.as_str())
                            && value.as_object().is_none_or(|of| !of.is_empty())
                    });
                }
                (kind.clone(), told)
            });
            put("gateway-responses", of.collect());
        }
    }

    fn schemas(&self) -> Map<String, Value> {
        let prefix = if self.is_3 { "#/components/schemas/" } else { "#/definitions/" };
        let local = |link: &str| match link.split_once("/models/") {
            Some((before, name)) if before.starts_with("https://apigateway.amazonaws.com/") => {
                format!("{prefix}{name}")
            }
            _ => link.to_owned(),
        };
        let of = self.api.models.values().map(|model| {
            let schema = model.schema.as_deref().and_then(|text| serde_json::from_str::<Value>(text).ok());
            let mut schema = with_references(&schema.unwrap_or_else(|| json!({})), &local);
            if let Some(members) = schema.as_object_mut() {
                members.remove("$schema");
            }
            (model.name.clone(), schema)
        });
        of.collect()
    }

    fn methods(&self) -> impl Iterator<Item = &Method> {
        self.api.resources.values().flat_map(|resource| resource.methods.values())
    }

    fn schemes(&self) -> Map<String, Value> {
        let mut schemes = Map::new();
        if self.methods().any(|method| method.api_key_required) {
            schemes.insert("api_key".into(), json!({"type": "apiKey", "name": "x-api-key", "in": "header"}));
        }
        if self.methods().any(|method| method.authorization_type == "AWS_IAM") {
            let mut scheme = json!({"type": "apiKey", "name": "Authorization", "in": "header"});
            if self.with_authorizers {
                scheme["x-amazon-apigateway-authtype"] = json!("awsSigv4");
            }
            schemes.insert("sigv4".into(), scheme);
        }
        for authorizer in self.api.authorizers.values() {
            schemes.insert(authorizer.name.clone(), self.scheme(authorizer));
        }
        schemes
    }

    fn scheme(&self, authorizer: &Authorizer) -> Value {
        let source = authorizer.identity_source.as_deref().unwrap_or_default();
        let header = source.strip_prefix("method.request.header.").filter(|name| !name.contains(','));
        let mut scheme = json!({"type": "apiKey", "name": header.unwrap_or("Unused"), "in": "header"});
        if self.with_authorizers {
            let mut of = shown(authorizer);
            if let Some(members) = of.as_object_mut() {
                for name in ["id", "name", "authType"] {
                    members.remove(name);
                }
                members.insert("type".into(), json!(authorizer.kind.to_ascii_lowercase()));
                if authorizer.kind != "REQUEST" {
                    members.remove("identitySource");
                }
            }
            scheme["x-amazon-apigateway-authtype"] = json!(authorizer.auth_type);
            scheme["x-amazon-apigateway-authorizer"] = of;
        }
        scheme
    }

    fn reference(&self, model: &str) -> Value {
        json!({"$ref": format!("{}{model}", if self.is_3 { "#/components/schemas/" } else { "#/definitions/" })})
    }

    fn operation(&self, method: &Method) -> Value {
        let mut operation = json!({"responses": {}});
        if let Some(name) = &method.operation_name {
            operation["operationId"] = json!(name);
        }
        let mut declared: Vec<(&String, &bool)> = method.request_parameters.iter().collect();
        as_javas_map(&mut declared);
        let mut parameters: Vec<Value> =
            declared.into_iter().filter_map(|(of, needed)| self.parameter(of, *needed)).collect();
        if !method.request_models.is_empty() {
            if self.is_3 {
                let content = method
                    .request_models
                    .iter()
                    .map(|(kind, model)| (kind.clone(), json!({"schema": self.reference(model)})));
                operation["requestBody"] = json!({"content": content.collect::<Map<_, _>>(), "required": true});
            } else {
                operation["consumes"] = json!(method.request_models.keys().collect::<Vec<_>>());
                for model in method.request_models.values().take(1) {
                    parameters
                        .push(json!({"in": "body", "name": model, "required": true, "schema": self.reference(model)}));
                }
            }
        }
        if !parameters.is_empty() {
            operation["parameters"] = Value::Array(parameters);
        }
        let mut produces: Vec<&String> = Vec::new();
        for (status, response) in &method.method_responses {
            operation["responses"][status] = self.response(response);
            for kind in response.response_models.keys() {
                if !produces.contains(&kind) {
                    produces.push(kind);
                }
            }
        }
        if !self.is_3 && !produces.is_empty() {
            operation["produces"] = json!(produces);
        }
        let security = self.security(method);
        if !security.is_empty() {
            operation["security"] = Value::Array(security);
        }
        if self.with_integrations {
            let validator = method.request_validator_id.as_ref().and_then(|id| self.api.request_validators.get(id));
            if let Some(validator) = validator {
                operation["x-amazon-apigateway-request-validator"] =
                    json!(validator.name.as_ref().unwrap_or(&validator.id));
            }
            if let Some(integration) = &method.integration {
                operation["x-amazon-apigateway-integration"] = shown_integration(integration);
            }
        }
        operation
    }

    fn parameter(&self, of: &str, is_needed: bool) -> Option<Value> {
        let (kind, name) = of.strip_prefix("method.request.")?.split_once('.')?;
        let place = match kind {
            "querystring" | "multivaluequerystring" => "query",
            "header" | "multivalueheader" => "header",
            _ => "path",
        };
        let mut parameter = json!({"name": name, "in": place});
        if is_needed || place == "path" {
            parameter["required"] = json!(true);
        }
        if self.is_3 {
            parameter["schema"] = json!({"type": "string"});
        } else {
            parameter["type"] = json!("string");
            if !is_needed && place != "path" {
                parameter["required"] = json!(false);
            }
        }
        Some(parameter)
    }

    fn response(&self, response: &MethodResponse) -> Value {
        let mut told = json!({"description": format!("{} response", response.status_code)});
        let header = if self.is_3 { json!({"schema": {"type": "string"}}) } else { json!({"type": "string"}) };
        let names = response.response_parameters.keys().filter_map(|of| of.strip_prefix("method.response.header."));
        let headers: Map<String, Value> = names.map(|name| (name.to_owned(), header.clone())).collect();
        if !headers.is_empty() {
            told["headers"] = Value::Object(headers);
        }
        if self.is_3 {
            let content = response
                .response_models
                .iter()
                .map(|(kind, model)| (kind.clone(), json!({"schema": self.reference(model)})));
            told["content"] = content.collect();
        } else if let Some(model) = response.response_models.values().next() {
            told["schema"] = self.reference(model);
        }
        told
    }

    fn security(&self, method: &Method) -> Vec<Value> {
        let mut security = Vec::new();
        let authorizer = method.authorizer_id.as_ref().and_then(|id| self.api.authorizers.get(id));
        if let Some(authorizer) = authorizer {
            security.push(json!({authorizer.name.clone(): method.authorization_scopes}));
        } else if method.authorization_type == "AWS_IAM" {
            security.push(json!({"sigv4": []}));
        }
        if method.api_key_required {
            security.push(json!({"api_key": []}));
        }
        security
    }
}

/// Put parameters in the order in which Java's hash map has them: AWS lists them so, and two exports of one API are the same text.
fn as_javas_map(parameters: &mut [(&String, &bool)]) {
    let mut places: u32 = 16;
    while parameters.len() as u32 * 4 > places * 3 {
        places *= 2;
    }
    let place = |name: &str| {
        let hash = name.encode_utf16().fold(0_u32, |hash, unit| hash.wrapping_mul(31).wrapping_add(unit.into()));
        (hash ^ (hash >> 16)) & (places - 1)
    };
    parameters.sort_by_key(|(name, _)| place(name));
}

/// An integration as a document has it: what is the default is left out.
fn shown_integration(integration: &Integration) -> Value {
    let mut told = shown(integration);
    let responses = integration.integration_responses.values().map(|response| {
        let mut of = shown(response);
        let name = response
            .selection_pattern
            .clone()
            .filter(|pattern| !pattern.is_empty())
            .unwrap_or_else(|| "default".into());
        if let Some(members) = of.as_object_mut() {
            members.remove("selectionPattern");
        }
        (name, of)
    });
    let responses: Map<String, Value> = responses.collect();
    if let Some(members) = told.as_object_mut() {
        for name in ["integrationResponses", "cacheNamespace", "cacheKeyParameters", "connectionType"] {
            members.remove(name);
        }
        if integration.timeout_in_millis == 29_000 {
            members.remove("timeoutInMillis");
        }
        if !integration.cache_key_parameters.is_empty() {
            members.insert("cacheNamespace".into(), json!(integration.cache_namespace));
            members.insert("cacheKeyParameters".into(), json!(integration.cache_key_parameters));
        }
        if integration.connection_type.as_deref() == Some("VPC_LINK") {
            members.insert("connectionType".into(), json!("VPC_LINK"));
        }
        for name in ["type", "passthroughBehavior"] {
            if let Some(Value::String(text)) = members.get_mut(name) {
                text.make_ascii_lowercase();
            }
        }
        if !responses.is_empty() {
            members.insert("responses".into(), Value::Object(responses));
        }
        if integration.kind == IntegrationType::Mock {
            members.remove("uri");
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A table of 16 places holds 12 names, and the 13th doubles it, as the documentation of `java.util.HashMap` says.
    #[test]
    fn parameters_stand_as_javas_map_has_them() {
        let names = [
            "limit", "status", "page", "sort", "colour", "size", "from", "to", "query", "city", "shop", "year", "month",
        ];
        let names = names.map(String::from);
        let ordered = |count: usize| {
            let mut parameters: Vec<(&String, &bool)> = names[..count].iter().map(|name| (name, &true)).collect();
            as_javas_map(&mut parameters);
            parameters.into_iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(ordered(12), "colour shop size city year query limit from page sort to status");
        assert_eq!(ordered(13), "shop city year query sort colour size month limit from page to status");
    }
}
