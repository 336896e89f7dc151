//! The paths of a document: resources, methods, integrations.

use serde_json::Value;

use crate::gateway::rest::control::fault::{Fault, Outcome};
use crate::gateway::rest::control::integrations::{
    check_integration, check_integration_response, handling_of, kind_of, no_vpc_link, passthrough_of, timeout,
};
use crate::gateway::rest::control::methods::{check_method, check_response};
use crate::gateway::rest::control::openapi::import::Import;
use crate::gateway::rest::control::openapi::{members, security, text_of};
use crate::gateway::rest::control::params::is_status;
use crate::gateway::rest::model::{
    Integration, IntegrationResponse, Method, MethodResponse, Templates, Texts, TlsConfig,
};

const VERBS: &[&str] = &["get", "put", "post", "delete", "options", "head", "patch", "x-amazon-apigateway-any-method"];

/// The verb of a member of a path item; `None` if it is none.
fn verb_of(name: &str) -> Option<String> {
    let lower = name.to_ascii_lowercase();
    match lower.as_str() {
        "x-amazon-apigateway-any-method" => Some("ANY".into()),
        verb if VERBS.contains(&verb) => Some(verb.to_ascii_uppercase()),
        _ => None,
    }
}

fn list<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    value.get(name).and_then(Value::as_array).into_iter().flatten()
}

impl Import<'_, '_> {
    pub(super) fn paths(&mut self, base: &str) {
        for (path, item) in members(self.document, "paths") {
            let whole = format!("{base}{}", if path.starts_with('/') { path.clone() } else { format!("/{path}") });
            let id = match self.resource(&whole) {
                Ok(id) => id,
                Err(fault) => {
                    self.errors.push(format!("Unable to create resource at path '{whole}': {}", fault.message));
                    continue;
                }
            };
            for (name, operation) in item.as_object().into_iter().flatten() {
                let Some(verb) = verb_of(name) else { continue };
                self.operation(&id, &whole, &verb, item, operation);
            }
        }
    }

    fn operation(&mut self, id: &str, path: &str, verb: &str, item: &Value, operation: &Value) {
        let method = match self.method(verb, item, operation) {
            Ok(method) => method,
            Err(fault) => {
                self.errors
                    .push(format!("Unable to put method '{verb}' on resource at path '{path}': {}", fault.message));
                return;
            }
        };
        let integration = match operation.get("x-amazon-apigateway-integration") {
            Some(of) => match self.integration(&method, id, path, verb, of) {
                Ok(integration) => Some(integration),
                Err(fault) => {
                    self.errors.push(format!(
                        "Unable to put integration on '{verb}' for resource at path '{path}': {}",
                        fault.message
                    ));
                    return;
                }
            },
            None => None,
        };
        if let Some(resource) = self.api.resources.get_mut(id) {
            resource.methods.insert(verb.to_owned(), Method { integration, ..method });
            self.api.declared_methods.remove(&(path.to_owned(), verb.to_owned()));
        }
    }

    fn method(&mut self, verb: &str, item: &Value, operation: &Value) -> Outcome<Method> {
        let mut method = Method {
            http_method: verb.to_owned(),
            authorization_type: "NONE".into(),
            operation_name: operation.get("operationId").and_then(text_of),
            ..Method::default()
        };
        let document = self.document;
        let follow = |one: &'_ Value| -> Value {
            let link = one.get("$ref").and_then(Value::as_str).and_then(|link| link.strip_prefix('#'));
            link.and_then(|link| document.pointer(link)).unwrap_or(one).clone()
        };
        for parameter in list(item, "parameters").chain(list(operation, "parameters")).map(follow) {
            let name = parameter.get("name").and_then(text_of).unwrap_or_default();
            let is_required = parameter.get("required").and_then(Value::as_bool).unwrap_or(false);
            let kind = match parameter.get("in").and_then(Value::as_str) {
                Some("path") => "path",
                Some("query") => "querystring",
                Some("header") => "header",
                Some("body") => {
                    if let Some(schema) = parameter.get("schema") {
                        let model = self.model_of(schema)?;
                        for media_type in self.media_types(operation, "consumes") {
                            method.request_models.insert(media_type, model.clone());
                        }
                    }
                    continue;
                }
                _ => continue,
            };
            method.request_parameters.insert(format!("method.request.{kind}.{name}"), is_required);
        }
        if let Some(body) = operation.get("requestBody").map(follow) {
            for (media_type, content) in members(&body, "content") {
                if let Some(schema) = content.get("schema") {
                    let model = self.model_of(schema)?;
                    method.request_models.insert(media_type.clone(), model);
                }
            }
        }
        for (status, response) in members(operation, "responses").map(|(status, one)| (status.clone(), follow(one))) {
            if is_status(&status) {
                let response = self.response(&status, operation, &response)?;
                check_response(&self.api, &response)?;
                method.method_responses.insert(status, response);
            }
        }
        self.security(&mut method, operation)?;
        let name = operation.get("x-amazon-apigateway-request-validator");
        if let Some(name) = name.or_else(|| document.get("x-amazon-apigateway-request-validator")).and_then(text_of) {
            let known = self.api.request_validators.values().find(|one| one.name.as_ref() == Some(&name));
            let known = known.ok_or_else(|| Fault::bad(format!("Invalid Request Validator specified: {name}")))?;
            method.request_validator_id = Some(known.id.clone());
        }
        check_method(&self.api, &mut method)?;
        Ok(method)
    }

    /// Media types of Swagger 2.0: the operation's, else the document's, else JSON.
    fn media_types(&self, operation: &Value, name: &str) -> Vec<String> {
        let own: Vec<String> = list(operation, name).filter_map(text_of).collect();
        let of_all: Vec<String> = list(self.document, name).filter_map(text_of).collect();
        [own, of_all].into_iter().find(|types| !types.is_empty()).unwrap_or_else(|| vec!["application/json".into()])
    }

    /// The model that a schema names; one that stands there itself becomes a model with a name of its own.
    fn model_of(&mut self, schema: &Value) -> Outcome<String> {
        let link = schema.get("$ref").and_then(Value::as_str);
        if let Some(name) = link.and_then(|link| link.rsplit('/').next()) {
            if self.api.models.contains_key(name) {
                return Ok(name.to_owned());
            }
            return Err(Fault::bad(format!("Invalid model identifier specified: {name}")));
        }
        let name = format!("MODEL{}", self.id(6));
        self.model(&name, schema);
        Ok(name)
    }

    fn response(&mut self, status: &str, operation: &Value, of: &Value) -> Outcome<MethodResponse> {
        let mut response = MethodResponse { status_code: status.to_owned(), ..MethodResponse::default() };
        for (header, _) in members(of, "headers") {
            response.response_parameters.insert(format!("method.response.header.{header}"), false);
        }
        if let Some(schema) = of.get("schema") {
            let model = self.model_of(schema)?;
            for media_type in self.media_types(operation, "produces") {
                response.response_models.insert(media_type, model.clone());
            }
        }
        for (media_type, content) in members(of, "content") {
            if let Some(schema) = content.get("schema") {
                let model = self.model_of(schema)?;
                response.response_models.insert(media_type.clone(), model);
            }
        }
        Ok(response)
    }

    /// Who is let in. A scheme that lets nobody in here opens nothing: AWS leaves it out with a warning. Of an authoriser that could not
    /// be made it has been told already.
    fn security(&self, method: &mut Method, operation: &Value) -> Outcome<()> {
        let schemes = self.schemes();
        for (name, scopes) in security(self.document, operation).map_err(Fault::bad)? {
            let Some((_, scheme)) = schemes.iter().find(|(known, _)| *known == name) else {
                return Err(Fault::bad(format!(
                    "security names '{name}', which is not a security scheme of the document"
                )));
            };
            let text = |member: &str| scheme.get(member).and_then(Value::as_str).unwrap_or_default();
            let authorizer = self.api.authorizers.values().find(|one| one.name == *name);
            if let Some(authorizer) = authorizer {
                let kind = if authorizer.kind == "COGNITO_USER_POOLS" { "COGNITO_USER_POOLS" } else { "CUSTOM" };
                kind.clone_into(&mut method.authorization_type);
                method.authorizer_id = Some(authorizer.id.clone());
                method.authorization_scopes = scopes.as_array().into_iter().flatten().filter_map(text_of).collect();
            } else if text("x-amazon-apigateway-authtype").eq_ignore_ascii_case("awsSigv4") {
                method.authorization_type = "AWS_IAM".into();
            } else if text("type") == "apiKey" && text("name").eq_ignore_ascii_case("x-api-key") {
                method.api_key_required = true;
            } else if scheme.get("x-amazon-apigateway-authorizer").is_none() {
                return Err(Fault::bad(format!(
                    "Unsupported security definition type '{}' for '{name}': allowed are a scheme with \
                     x-amazon-apigateway-authorizer, one with x-amazon-apigateway-authtype awsSigv4, and an apiKey in the \
                     header x-api-key",
                    text("type")
                )));
            }
        }
        let own = operation.pointer("/x-amazon-apigateway-auth/type").and_then(Value::as_str);
        if own.is_some_and(|kind| kind.eq_ignore_ascii_case("AWS_IAM")) {
            method.authorization_type = "AWS_IAM".into();
        }
        Ok(())
    }

    /// Texts of a member; what is no text is left out with a warning.
    fn mappings(&mut self, of: &Value, name: &str, path: &str, verb: &str) -> Texts {
        let mut texts = Texts::new();
        for (key, value) in members(of, name) {
            match value {
                Value::String(text) => {
                    texts.insert(key.clone(), text.clone());
                }
                other => self.warnings.push(format!(
                    "Invalid format for '{name}'. Expected type string for property '{key}' of resource '{path}' and method '{verb}' but got '{other}'"
                )),
            }
        }
        texts
    }

    fn integration(&mut self, method: &Method, id: &str, path: &str, verb: &str, of: &Value) -> Outcome<Integration> {
        let text = |member: &str| of.get(member).and_then(text_of);
        let kind = text("type").unwrap_or_default();
        let mut integration = Integration {
            kind: kind_of(&kind).ok_or_else(|| Fault::bad(format!("Invalid integration type specified: '{kind}'")))?,
            http_method: text("httpMethod"),
            uri: text("uri"),
            connection_type: text("connectionType"),
            connection_id: text("connectionId"),
            credentials: text("credentials"),
            request_parameters: self.mappings(of, "requestParameters", path, verb),
            request_templates: templates(of, "requestTemplates"),
            passthrough_behavior: passthrough_of(&text("passthroughBehavior").unwrap_or_default())?,
            content_handling: handling_of(&text("contentHandling").unwrap_or_default())?,
            timeout_in_millis: timeout(of.get("timeoutInMillis").and_then(Value::as_i64).unwrap_or(29_000)),
            cache_namespace: text("cacheNamespace").unwrap_or_else(|| id.to_owned()),
            cache_key_parameters: list(of, "cacheKeyParameters").filter_map(text_of).collect(),
            tls_config: of
                .pointer("/tlsConfig/insecureSkipVerification")
                .and_then(Value::as_bool)
                .map(|skip| TlsConfig { insecure_skip_verification: skip }),
            ..Integration::default()
        };
        check_integration(method, &mut integration)?;
        if integration.is_by_vpc_link() {
            return Err(no_vpc_link());
        }
        for (pattern, one) in members(of, "responses") {
            let response = IntegrationResponse {
                status_code: one.get("statusCode").and_then(text_of).unwrap_or_else(|| "200".into()),
                selection_pattern: (pattern != "default").then(|| pattern.clone()),
                response_parameters: self.mappings(one, "responseParameters", path, verb),
                response_templates: templates(one, "responseTemplates"),
                content_handling: handling_of(&one.get("contentHandling").and_then(text_of).unwrap_or_default())?,
            };
            check_integration_response(method, &response)?;
            integration.integration_responses.insert(response.status_code.clone(), response);
        }
        Ok(integration)
    }
}

fn templates(of: &Value, name: &str) -> Templates {
    let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    members(of, name).map(|(kind, value)| (kind.clone(), text(value))).collect()
}
