//! A REST API as it is kept and served, with AWS's member names.
//!
//! The control plane changes a [`RestApi`]; a [`Deployment`] holds a copy that no longer changes, and a [`Stage`] points at one.
//! Source: <https://docs.aws.amazon.com/apigateway/latest/api/API_Operations.html>

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

mod stage;

pub use stage::*;

/// Texts by name, in order.
pub type Texts = BTreeMap<String, String>;
/// Templates by media type. One that is `None` (AWS writes `null`) hands the body on as it is.
pub type Templates = BTreeMap<String, Option<String>>;

/// A REST API, without its deployments and stages.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct RestApi {
    /// Ten characters of `[a-z0-9]`.
    pub id: String,
    /// Its name; need not be unique.
    pub name: String,
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// When it was made, ms since 1970.
    pub created_date: u64,
    /// Of its documentation: `info.version` of an import.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Media types whose bodies are bytes. `*/*` is all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub binary_media_types: Vec<String>,
    /// Answers of at least so many bytes are compressed, 0 to 10,485,760. `None`: none are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minimum_compression_size: Option<u32>,
    /// Where a request's API key is looked for.
    pub api_key_source: ApiKeySource,
    /// Which kind of endpoint AWS would give it.
    pub endpoint_configuration: EndpointConfiguration,
    /// Its resource policy, a JSON text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// Its tags.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: Texts,
    /// Whether it is not to be reached at its own address.
    pub disable_execute_api_endpoint: bool,
    /// The id of the resource `/`.
    pub root_resource_id: String,
    /// The resources, by id.
    pub resources: BTreeMap<String, Resource>,
    /// The models, by name.
    pub models: BTreeMap<String, Model>,
    /// The request validators, by id.
    pub request_validators: BTreeMap<String, RequestValidator>,
    /// The authorisers, by id.
    pub authorizers: BTreeMap<String, Authorizer>,
    /// The gateway responses that were set, by type (`DEFAULT_4XX`). Those that are not here have AWS's defaults.
    pub gateway_responses: BTreeMap<String, GatewayResponse>,
    /// Texts about its parts, by id.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub documentation_parts: BTreeMap<String, DocumentationPart>,
    /// Versions of those texts, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub documentation_versions: BTreeMap<String, DocumentationVersion>,
    /// The methods that the app's program declares, by path and verb. They go with their declarations.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub declared_methods: BTreeSet<(String, String)>,
}

/// Where a request's API key is looked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ApiKeySource {
    /// In the header `x-api-key`.
    #[default]
    Header,
    /// In the authoriser's `usageIdentifierKey`.
    Authorizer,
}

/// Which kind of endpoint AWS would give an API. It is kept and shown; here every API is reached on the same port.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct EndpointConfiguration {
    /// `EDGE`, `REGIONAL` or `PRIVATE`.
    pub types: Vec<String>,
    /// `ipv4` or `dualstack`.
    pub ip_address_type: String,
    /// Of a private API.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub vpc_endpoint_ids: Vec<String>,
}

impl Default for EndpointConfiguration {
    fn default() -> Self {
        Self { types: vec!["EDGE".into()], ip_address_type: "ipv4".into(), vpc_endpoint_ids: Vec::new() }
    }
}

/// A part of the tree of paths.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Resource {
    /// Unique in its API.
    pub id: String,
    /// The resource above it; the root has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_id: Option<String>,
    /// The last part of its path: `pets`, `{id}`, `{proxy+}`; the root has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_part: Option<String>,
    /// Its whole path, `/` and `/pets/{id}`.
    pub path: String,
    /// Its methods, by verb; `ANY` is every verb that has none of its own.
    #[serde(rename = "resourceMethods", skip_serializing_if = "BTreeMap::is_empty")]
    pub methods: BTreeMap<String, Method>,
}

/// A method of a resource.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Method {
    /// `GET`, …, `ANY`.
    pub http_method: String,
    /// `NONE`, `AWS_IAM`, `CUSTOM` or `COGNITO_USER_POOLS`.
    pub authorization_type: String,
    /// The authoriser of `CUSTOM` and `COGNITO_USER_POOLS`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorizer_id: Option<String>,
    /// What a token must allow, one of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub authorization_scopes: Vec<String>,
    /// Whether a request needs an API key of a usage plan.
    pub api_key_required: bool,
    /// A name for people and for code generators.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation_name: Option<String>,
    /// The validator of its requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_validator_id: Option<String>,
    /// The models of its bodies, by media type.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub request_models: Texts,
    /// Its parameters (`method.request.querystring.page`), and whether a request must have them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub request_parameters: BTreeMap<String, bool>,
    /// Its responses, by status code.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub method_responses: BTreeMap<String, MethodResponse>,
    /// What answers it.
    #[serde(rename = "methodIntegration", skip_serializing_if = "Option::is_none")]
    pub integration: Option<Integration>,
}

/// What a method may answer with a status code.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct MethodResponse {
    /// Three digits.
    pub status_code: String,
    /// Its headers (`method.response.header.Location`). The flag has no effect, as on AWS.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub response_parameters: BTreeMap<String, bool>,
    /// The models of its bodies, by media type. They serve documentation alone, as on AWS.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub response_models: Texts,
}

/// What kind of integration it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum IntegrationType {
    /// A server, with mappings.
    Http,
    /// A server that gets the request as it is.
    HttpProxy,
    /// A service of AWS, a function among them, with mappings.
    Aws,
    /// A function that gets the request as an event.
    AwsProxy,
    /// Nothing: the mappings alone make the answer.
    #[default]
    Mock,
}

impl IntegrationType {
    /// Whether the request goes on as it is.
    pub fn is_proxy(self) -> bool {
        matches!(self, Self::HttpProxy | Self::AwsProxy)
    }
}

/// What becomes of a body for which there is no template.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Passthrough {
    /// It goes on as it is.
    #[default]
    WhenNoMatch,
    /// It goes on as it is if there is no template at all, else 415.
    WhenNoTemplates,
    /// 415.
    Never,
}

/// How a body is turned into bytes or a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ContentHandling {
    /// A text in base64 becomes bytes.
    ConvertToBinary,
    /// Bytes become a text in base64.
    ConvertToText,
}

/// What answers a method.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Integration {
    /// Its kind.
    #[serde(rename = "type")]
    pub kind: IntegrationType,
    /// The verb it is called with; a mock has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_method: Option<String>,
    /// A URL, or `arn:aws:apigateway:{region}:{service}:path|action/…`; may have `${stageVariables.x}` and `{path}` parts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
    /// `INTERNET` or `VPC_LINK`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection_type: Option<String>,
    /// The VPC link.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection_id: Option<String>,
    /// A role's ARN. It is kept and shown; there are no roles here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials: Option<String>,
    /// What the request gets (`integration.request.header.X`), and from where (`method.request.path.id`, `'text'`).
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub request_parameters: Texts,
    /// Templates of the request's body, by media type.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub request_templates: Templates,
    /// What becomes of a body without a template.
    pub passthrough_behavior: Passthrough,
    /// How the request's body is turned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_handling: Option<ContentHandling>,
    /// How long an answer may take, 50 to 29,000 ms.
    pub timeout_in_millis: u32,
    /// Which entries of the cache it shares; the resource's id unless it is set.
    pub cache_namespace: String,
    /// Parameters that are part of a cache entry's key (`method.request.querystring.page`).
    pub cache_key_parameters: Vec<String>,
    /// Of a server with HTTPS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_config: Option<TlsConfig>,
    /// Its responses, by the status code of the method response they become.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub integration_responses: BTreeMap<String, IntegrationResponse>,
}

impl Integration {
    /// Whether its requests go by a VPC link, which is not there.
    pub fn is_by_vpc_link(&self) -> bool {
        self.connection_type.as_deref() == Some("VPC_LINK")
    }
}

/// How a server's certificate is looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct TlsConfig {
    /// Whether any certificate will do.
    pub insecure_skip_verification: bool,
}

/// How an answer of the integration becomes one of the method.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct IntegrationResponse {
    /// The method response it becomes.
    pub status_code: String,
    /// Which answers it is for: a regular expression over the status code, or over a function's `errorMessage`. Absent or empty: all others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selection_pattern: Option<String>,
    /// What headers the answer gets (`method.response.header.X`), and from where (`integration.response.header.Y`, `'text'`).
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub response_parameters: Texts,
    /// Templates of the answer's body, by media type.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub response_templates: Templates,
    /// How the answer's body is turned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_handling: Option<ContentHandling>,
}

/// A JSON schema, draft 4, under a name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Model {
    /// Unique in its API.
    pub id: String,
    /// Letters and digits.
    pub name: String,
    /// What it describes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The schema, a JSON text. `$ref` may name a model: `https://apigateway.amazonaws.com/restapis/{id}/models/{name}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// The media type of what it describes.
    pub content_type: String,
}

/// What of a request is validated.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct RequestValidator {
    /// Unique in its API.
    pub id: String,
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The body, by the method's models.
    pub validate_request_body: bool,
    /// Whether the required parameters are there.
    pub validate_request_parameters: bool,
}

/// Who decides whether a request is let in.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Authorizer {
    /// Unique in its API.
    pub id: String,
    /// Its name, unique in its API.
    pub name: String,
    /// `TOKEN`, `REQUEST`, `COGNITO_USER_POOLS`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The user pools of `COGNITO_USER_POOLS`.
    #[serde(rename = "providerARNs", skip_serializing_if = "Vec::is_empty")]
    pub provider_arns: Vec<String>,
    /// `custom`, `oauth2`, `cognito_user_pools`: of an import, and for export alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_type: Option<String>,
    /// `arn:aws:apigateway:{region}:lambda:path/2015-03-31/functions/{arn}/invocations`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorizer_uri: Option<String>,
    /// A role's ARN. It is kept and shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorizer_credentials: Option<String>,
    /// `method.request.header.Authorization`; of `REQUEST` several, with commas.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity_source: Option<String>,
    /// What a token must look like, a regular expression; one that does not is 401 without a call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity_validation_expression: Option<String>,
    /// How long a verdict is kept, 0 to 3,600 s; 300 unless it is set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorizer_result_ttl_in_seconds: Option<u32>,
}

/// How an error of the gateway itself looks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct GatewayResponse {
    /// `ACCESS_DENIED`, …, `DEFAULT_4XX`.
    pub response_type: String,
    /// Three digits; absent: as the default has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_code: Option<String>,
    /// Headers (`gatewayresponse.header.X`), and from where.
    pub response_parameters: Texts,
    /// Templates of the body, by media type. Only `$context…` and the like are replaced there.
    pub response_templates: Texts,
    /// Whether it is AWS's own and was not set.
    pub default_response: bool,
}

/// A copy of an API as it was when it was deployed.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Deployment {
    /// Unique in its API.
    pub id: String,
    /// What is new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// When it was made, ms since 1970.
    pub created_date: u64,
    /// The API as it was.
    #[serde(with = "shared")]
    pub api: Arc<RestApi>,
}

/// A shared value is written as the value.
mod shared {
    use super::{Arc, RestApi};
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    pub(super) fn serialize<S: Serializer>(api: &Arc<RestApi>, to: S) -> Result<S::Ok, S::Error> {
        api.as_ref().serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Arc<RestApi>, D::Error> {
        RestApi::deserialize(from).map(Arc::new)
    }
}

/// A text about a part of an API.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DocumentationPart {
    /// Unique in its API.
    pub id: String,
    /// What it is about: `{type, path?, method?, statusCode?, name?}`.
    pub location: Value,
    /// The text, a JSON object.
    pub properties: String,
}

/// A version of the texts about an API.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DocumentationVersion {
    /// Its name.
    pub version: String,
    /// When it was made, ms since 1970.
    pub created_date: u64,
    /// What is new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

impl RestApi {
    /// The resource at a path (`/pets/{id}`).
    pub fn at(&self, path: &str) -> Option<&Resource> {
        self.resources.values().find(|resource| resource.path == path)
    }
}

/// A shape as JSON, with AWS's member names.
pub fn shown(value: &impl Serialize) -> Value {
    // These types have text keys and finite numbers alone: nothing of them has no JSON.
    serde_json::to_value(value).unwrap_or(Value::Null)
}
