//! `ImportRestApi` and `PutRestApi`: what a document says becomes an API.

use std::collections::BTreeMap;

use serde_json::{json, Value};

use crate::gateway::rest::control::apis::{self, check_policy, shown_api, shown_with_tags};
use crate::gateway::rest::control::authorizers::check_authorizer;
use crate::gateway::rest::control::fault::{Fault, Outcome};
use crate::gateway::rest::control::gateway_responses::check_gateway_response;
use crate::gateway::rest::control::models::check_schema;
use crate::gateway::rest::control::openapi::{document, members, text_of, with_references};
use crate::gateway::rest::control::params::{Params, RESPONSE_TYPES};
use crate::gateway::rest::control::resources::add;
use crate::gateway::rest::control::Control;
use crate::gateway::rest::model::{
    ApiKeySource, Authorizer, EndpointConfiguration, GatewayResponse, Model, RequestValidator, RestApi, Texts,
};

/// An import under way.
pub(super) struct Import<'i, 'c> {
    control: &'i mut Control<'c>,
    pub(super) api: RestApi,
    pub(super) document: &'i Value,
    /// Whether it is `OpenAPI` 3.
    pub(super) is_3: bool,
    pub(super) warnings: Vec<String>,
    pub(super) errors: Vec<String>,
    /// The ids of resources that were at these paths before.
    known: BTreeMap<String, String>,
}

/// What stands before every path.
fn base_path(document: &Value, mode: &str) -> Outcome<String> {
    let path = if document.get("swagger").is_some() {
        document.get("basePath").and_then(Value::as_str).unwrap_or_default().to_owned()
    } else {
        let server = document.pointer("/servers/0");
        let variable = server.and_then(|server| server.pointer("/variables/basePath/default")).and_then(Value::as_str);
        let url = server.and_then(|server| server.get("url")).and_then(Value::as_str).unwrap_or_default();
        let behind = url.split_once("://").map_or(url, |(_, rest)| rest);
        let of_url = behind.find('/').map_or("", |at| &behind[at..]);
        variable.unwrap_or(of_url).to_owned()
    };
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let kept = match mode {
        "" | "ignore" => &[][..],
        "prepend" => &parts[..],
        "split" => parts.get(1..).unwrap_or_default(),
        other => {
            return Err(Fault::bad(format!(
                "Invalid basepath mode '{other}'. Valid options are ignore, prepend and split"
            )))
        }
    };
    Ok(kept.iter().flat_map(|part| ["/", *part]).collect())
}

/// The parameter that says the API's name, whatever the document's title is. AWS has none.
const KEPT_NAME: &str = "x-forebay-name";

pub(in crate::gateway::rest::control) fn import_rest_api(control: &mut Control<'_>, params: Params) -> Outcome<Value> {
    let document = read(params)?;
    let api = apis::new_api(control, "")?;
    let (api, warnings) = import(control, &document, api, params)?;
    let mut answer = shown_api(&api);
    if !warnings.is_empty() {
        answer["warnings"] = json!(warnings);
    }
    control.keep(api);
    Ok(answer)
}

pub(in crate::gateway::rest::control) fn put_rest_api(control: &mut Control<'_>, params: Params) -> Outcome<Value> {
    let mut api = control.api(params)?.clone();
    let document = read(params)?;
    match params.text("mode")? {
        Some("overwrite") => {
            let known = api.resources;
            api = RestApi {
                id: api.id,
                created_date: api.created_date,
                root_resource_id: api.root_resource_id,
                endpoint_configuration: api.endpoint_configuration,
                tags: api.tags,
                policy: api.policy,
                disable_execute_api_endpoint: api.disable_execute_api_endpoint,
                documentation_parts: api.documentation_parts,
                documentation_versions: api.documentation_versions,
                // Emptied by the import, which takes the ids of paths that stay.
                resources: known,
                ..RestApi::default()
            };
        }
        None | Some("" | "merge") => {}
        Some(other) => {
            return Err(Fault::bad(format!("Invalid mode '{other}'. Valid options are merge and overwrite")))
        }
    }
    let (api, warnings) = import(control, &document, api, params)?;
    let mut answer = shown_with_tags(&api);
    if !warnings.is_empty() {
        answer["warnings"] = json!(warnings);
    }
    control.keep(api);
    Ok(answer)
}

fn import(
    control: &mut Control<'_>,
    document: &Value,
    api: RestApi,
    params: Params,
) -> Outcome<(RestApi, Vec<String>)> {
    let options = params.texts("parameters")?;
    let mode = options.get("basepath").or_else(|| options.get("basePath")).map_or("", String::as_str);
    let base = base_path(document, mode)?;
    let is_merge = params.text("mode")? != Some("overwrite");
    let mut import = Import {
        is_3: document.get("openapi").is_some(),
        known: api.resources.values().map(|one| (one.path.clone(), one.id.clone())).collect(),
        control,
        api,
        document,
        warnings: Vec::new(),
        errors: Vec::new(),
    };
    if !is_merge {
        let root = import.api.root_resource_id.clone();
        import.api.resources.retain(|id, _| *id == root);
        import.api.resources.values_mut().for_each(|root| root.methods.clear());
    }
    if let Some(kind) = options.get("endpointConfigurationTypes") {
        import.api.endpoint_configuration =
            EndpointConfiguration { types: vec![kind.clone()], ..EndpointConfiguration::default() };
    }
    import.settings()?;
    // In one step: whoever was killed between two would not find the API by its name any more.
    if let Some(name) = options.get(KEPT_NAME).filter(|name| !name.is_empty()) {
        import.api.name.clone_from(name);
    }
    import.models();
    import.validators();
    import.authorizers();
    import.gateway_responses();
    import.paths(&base);
    let Import { api, warnings, errors, .. } = import;
    if !errors.is_empty() {
        return Err(Fault::bad(format!("Errors found during import:\n\t{}", errors.join("\n\t"))));
    }
    if params.flag("failOnWarnings")?.unwrap_or(false) && !warnings.is_empty() {
        return Err(Fault::bad(format!("Warnings found during import:\n\t{}", warnings.join("\n\t"))));
    }
    Ok((api, warnings))
}

fn read(params: Params) -> Outcome<Value> {
    const INVALID: &str = "Invalid OpenAPI input.";
    let invalid = || Fault::bad(INVALID);
    let document = document(params.named("body")?).ok_or_else(invalid)?;
    let version = |name: &str| document.get(name).and_then(text_of).unwrap_or_default();
    let openapi = version("openapi");
    if !openapi.is_empty() && !openapi.starts_with("3.0") {
        return Err(Fault::bad(format!(
            "{INVALID} A REST API is read from OpenAPI 2.0 and 3.0, and this is {openapi}"
        )));
    }
    // The example of AWS without either is Swagger 2.0.
    let has_paths = document.get("paths").is_some_and(Value::is_object);
    if version("swagger").starts_with('2') || !openapi.is_empty() || (has_paths && document.get("info").is_some()) {
        return Ok(document);
    }
    Err(invalid())
}

impl Import<'_, '_> {
    /// An id of so many characters.
    pub(super) fn id(&mut self, characters: usize) -> String {
        self.control.id(characters)
    }

    fn settings(&mut self) -> Outcome<()> {
        let document = self.document;
        let info = document.get("info").unwrap_or(&Value::Null);
        if let Some(title) = info.get("title").and_then(text_of).filter(|title| !title.is_empty()) {
            self.api.name = title;
        }
        if self.api.name.is_empty() {
            return Err(Fault::bad("API name cannot be empty: the document needs info.title"));
        }
        if let Some(description) = info.get("description").and_then(text_of) {
            self.api.description = Some(description);
        }
        self.api.version = info.get("version").and_then(text_of).or(self.api.version.take());
        let extension = |name: &str| document.get(format!("x-amazon-apigateway-{name}"));
        if let Some(types) = extension("binary-media-types").and_then(Value::as_array) {
            self.api.binary_media_types = types.iter().filter_map(text_of).collect();
        }
        match extension("api-key-source").and_then(Value::as_str) {
            Some(text) if text.eq_ignore_ascii_case("AUTHORIZER") => self.api.api_key_source = ApiKeySource::Authorizer,
            Some(_) => self.api.api_key_source = ApiKeySource::Header,
            None => {}
        }
        if let Some(size) = extension("minimum-compression-size").and_then(Value::as_u64) {
            self.api.minimum_compression_size = u32::try_from(size).ok();
        }
        if let Some(policy) = extension("policy") {
            let policy = policy.to_string();
            check_policy(&policy)?;
            self.api.policy = Some(policy);
        }
        if let Some(endpoints) = extension("endpoint-configuration") {
            if let Some(flag) = endpoints.get("disableExecuteApiEndpoint").and_then(Value::as_bool) {
                self.api.disable_execute_api_endpoint = flag;
            }
            if let Some(ids) = endpoints.get("vpcEndpointIds").and_then(Value::as_array) {
                self.api.endpoint_configuration.vpc_endpoint_ids = ids.iter().filter_map(text_of).collect();
            }
        }
        Ok(())
    }

    /// A schema with references to the API's models.
    pub(super) fn canonical(&self, schema: &Value) -> Value {
        let id = &self.api.id;
        let rewrite = |text: &str| {
            let name = text.strip_prefix("#/definitions/").or_else(|| text.strip_prefix("#/components/schemas/"));
            name.map_or_else(
                || text.to_owned(),
                |name| format!("https://apigateway.amazonaws.com/restapis/{id}/models/{name}"),
            )
        };
        let mut schema = with_references(schema, &rewrite);
        sort_required(&mut schema);
        schema
    }

    /// Make a model; the old one of that name is replaced and keeps its id.
    pub(super) fn model(&mut self, name: &str, schema: &Value) {
        if !name.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            self.errors.push(format!("Unable to create model for '{name}': Model name must be alphanumeric: {name}"));
            return;
        }
        let text = self.canonical(schema).to_string();
        if let Err(fault) = check_schema(Some(&text), "application/json") {
            self.errors.push(format!("Unable to create model for '{name}': {}", fault.message));
            return;
        }
        let id = self.api.models.get(name).map_or_else(|| self.control.id(6), |known| known.id.clone());
        let model = Model {
            id,
            name: name.to_owned(),
            description: schema.get("description").and_then(text_of),
            schema: Some(text),
            content_type: "application/json".into(),
        };
        self.api.models.insert(name.to_owned(), model);
    }

    fn models(&mut self) {
        let document = self.document;
        let schemas: Vec<_> = if self.is_3 {
            document.get("components").into_iter().flat_map(|of| members(of, "schemas")).collect()
        } else {
            members(document, "definitions").collect()
        };
        for (name, schema) in schemas {
            self.model(name, schema);
        }
    }

    fn validators(&mut self) {
        for (name, of) in members(self.document, "x-amazon-apigateway-request-validators") {
            let flag = |member: &str| of.get(member).and_then(Value::as_bool).unwrap_or(false);
            let known = self.api.request_validators.values().find(|one| one.name.as_ref() == Some(name));
            let id = known.map_or_else(|| self.control.id(6), |one| one.id.clone());
            let validator = RequestValidator {
                id: id.clone(),
                name: Some(name.clone()),
                validate_request_body: flag("validateRequestBody"),
                validate_request_parameters: flag("validateRequestParameters"),
            };
            self.api.request_validators.insert(id, validator);
        }
    }

    /// What the document's security schemes are, by name.
    pub(super) fn schemes(&self) -> Vec<(&String, &Value)> {
        if self.is_3 {
            self.document.get("components").into_iter().flat_map(|of| members(of, "securitySchemes")).collect()
        } else {
            members(self.document, "securityDefinitions").collect()
        }
    }

    fn authorizers(&mut self) {
        let schemes: Vec<(String, Value)> =
            self.schemes().into_iter().map(|(name, scheme)| (name.clone(), scheme.clone())).collect();
        for (name, scheme) in schemes {
            let Some(of) = scheme.get("x-amazon-apigateway-authorizer") else { continue };
            let text = |member: &str| of.get(member).and_then(text_of);
            let header = scheme.get("name").and_then(text_of).map(|name| format!("method.request.header.{name}"));
            let kind = text("type").unwrap_or_else(|| "token".into()).to_ascii_uppercase();
            let known = self.api.authorizers.values().find(|one| one.name == name);
            let id = known.map_or_else(|| self.control.id(6), |one| one.id.clone());
            let authorizer = Authorizer {
                id: id.clone(),
                name: name.clone(),
                provider_arns: of
                    .get("providerARNs")
                    .and_then(Value::as_array)
                    .into_iter()
                    .flatten()
                    .filter_map(text_of)
                    .collect(),
                auth_type: scheme
                    .get("x-amazon-apigateway-authtype")
                    .and_then(text_of)
                    .or_else(|| Some("custom".into())),
                authorizer_uri: text("authorizerUri"),
                authorizer_credentials: text("authorizerCredentials"),
                identity_source: text("identitySource").or(if kind == "REQUEST" { None } else { header }),
                identity_validation_expression: text("identityValidationExpression"),
                authorizer_result_ttl_in_seconds: text("authorizerResultTtlInSeconds").and_then(|ttl| ttl.parse().ok()),
                kind,
            };
            match check_authorizer(&authorizer) {
                Ok(()) => {
                    self.api.authorizers.insert(id, authorizer);
                }
                Err(fault) => self.errors.push(format!("Unable to create authorizer '{name}': {}", fault.message)),
            }
        }
    }

    fn gateway_responses(&mut self) {
        for (kind, of) in members(self.document, "x-amazon-apigateway-gateway-responses") {
            let texts = |name: &str| -> Texts {
                members(of, name).filter_map(|(key, one)| Some((key.clone(), text_of(one)?))).collect()
            };
            let response = GatewayResponse {
                response_type: kind.clone(),
                status_code: of.get("statusCode").and_then(text_of),
                response_parameters: texts("responseParameters"),
                response_templates: texts("responseTemplates"),
                default_response: false,
            };
            let checked = if RESPONSE_TYPES.contains(&kind.as_str()) {
                check_gateway_response(&response)
            } else {
                Err(Fault::bad(format!("Invalid gateway response type: {kind}")))
            };
            match checked {
                Ok(()) => {
                    self.api.gateway_responses.insert(kind.clone(), response);
                }
                Err(fault) => self.errors.push(format!("Unable to put gateway response '{kind}': {}", fault.message)),
            }
        }
    }

    /// The id of the resource at a path, which is made with those above it where it is not there.
    pub(super) fn resource(&mut self, path: &str) -> Outcome<String> {
        let mut id = self.api.root_resource_id.clone();
        let mut whole = String::new();
        for part in path.split('/').filter(|part| !part.is_empty()) {
            whole.push('/');
            whole.push_str(part);
            id = match self.api.at(&whole) {
                Some(known) => known.id.clone(),
                None => {
                    let new = self.known.get(&whole).cloned().unwrap_or_else(|| self.control.id(6));
                    add(&mut self.api, &id, part, new)?
                }
            };
        }
        Ok(id)
    }
}

/// AWS lists required members in order.
fn sort_required(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            if let Some(Value::Array(required)) = members.get_mut("required") {
                required.sort_by(|one, other| one.as_str().cmp(&other.as_str()));
            }
            members.values_mut().for_each(sort_required);
        }
        Value::Array(list) => list.iter_mut().for_each(sort_required),
        _ => {}
    }
}
