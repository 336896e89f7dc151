//! The control calls of REST APIs, by AWS's names and with AWS's members: what each changes, answers and refuses.
//!
//! [`Account`] is what a store keeps. A call either changes it and tells which rows changed, or refuses and leaves it as it was.

mod apis;
mod authorizers;
mod certificates;
mod declared;
mod deployments;
mod documentation;
pub mod fault;
mod gateway_responses;
mod integrations;
mod keys;
pub mod members;
mod methods;
mod models;
pub mod openapi;
pub mod params;
mod plans;
mod resources;
mod stages;
mod tags;
#[cfg(test)]
pub(crate) mod tests;
mod validators;

pub use gateway_responses::gateway_response;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{json, Map, Value};
use sha2::{Digest as _, Sha256};

use crate::gateway::rest::control::fault::{Fault, Outcome};
use crate::gateway::rest::control::params::{check, Params};
use crate::gateway::rest::model::{
    ApiKey, ClientCertificate, Deployment, PrivateKey, Resource, RestApi, Stage, UsagePlan,
};
use crate::gateway::rest::plans::{Grant, Usage};

/// Most REST APIs of an account.
pub const APIS_MAX: usize = 600;
/// Most entries of a page, and how many it has unless it is asked for others.
const PAGE_MAX: usize = 500;
const PAGE: usize = 25;

/// What a store keeps of REST APIs.
#[derive(Clone, Debug, Default)]
pub struct Account {
    /// The APIs, by id.
    pub apis: BTreeMap<String, Arc<RestApi>>,
    /// The deployments, by the API's id and their own.
    pub deployments: BTreeMap<(String, String), Deployment>,
    /// The stages, by the API's id and their name.
    pub stages: BTreeMap<(String, String), Stage>,
    /// The API keys, by id.
    pub keys: BTreeMap<String, ApiKey>,
    /// The usage plans, by id.
    pub plans: BTreeMap<String, UsagePlan>,
    /// The client certificates, by id.
    pub certificates: BTreeMap<String, ClientCertificate>,
}

/// Names what a call changed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Row {
    /// An API, by id.
    Api(String),
    /// A deployment, by the API's id and its own.
    Deployment(String, String),
    /// A stage, by the API's id and its name.
    Stage(String, String),
    /// An API key.
    Key(String),
    /// A usage plan.
    Plan(String),
    /// A client certificate.
    Certificate(String),
    /// What a key may use beside its quota.
    Usage(Grant),
    /// The answers that a stage has kept are to be forgotten, by the API's id and its name.
    Answers(String, String),
    /// What authorisers have said for a stage is to be forgotten, by the API's id and its name.
    Decisions(String, String),
}

/// What a call is not told by its members.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// Now, ms since 1970.
    pub now_ms: u64,
    /// The account's number.
    pub account: &'a str,
    /// The region.
    pub region: &'a str,
    /// Where ids and keys come from: different for each call.
    pub seed: [u8; 32],
    /// What the keys of usage plans have used.
    pub usage: &'a Usage,
    /// The id that an API gets which the call makes; without one, it is drawn.
    pub api_id: Option<&'a str>,
    /// A certificate that was made for this call, where it is one that needs one.
    pub certificate: Option<&'a Made>,
}

/// A certificate, and its key.
#[derive(Clone, Debug, Default)]
pub struct Made {
    /// PEM.
    pub certificate: String,
    /// PEM.
    pub key: PrivateKey,
    /// When it ends, ms since 1970.
    pub ends_ms: u64,
}

/// The call for which a certificate is made.
pub const NEEDS_CERTIFICATE: &str = "GenerateClientCertificate";

/// The call that an app makes for what its program declares. AWS has none like it.
pub const DECLARE: &str = "DeclareMethods";

/// What a call answers.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The members.
    pub body: Value,
}

/// A call under way.
pub(super) struct Control<'a> {
    account: &'a mut Account,
    facts: &'a Facts<'a>,
    drawn: u32,
    changed: BTreeSet<Row>,
}

/// Carry out a call; the answer is what it says and which rows changed.
///
/// # Errors
///
/// What AWS answers to the same mistake. Nothing was changed then.
pub fn call(
    account: &mut Account,
    facts: &Facts,
    operation: &str,
    members: &Map<String, Value>,
) -> Outcome<(Answer, BTreeSet<Row>)> {
    members::check(operation, members)?;
    check(operation, members)?;
    let mut control = Control { account, facts, drawn: 0, changed: BTreeSet::new() };
    let body = if operation == DECLARE {
        declared::declare_methods(&mut control, Params(members))?
    } else {
        carry_out(&mut control, operation, Params(members))?
    };
    Ok((Answer { status: status_of(operation), body }, control.changed))
}

/// The HTTP status of a call that was carried out.
fn status_of(operation: &str) -> u16 {
    match operation {
        "DeleteMethod"
        | "DeleteMethodResponse"
        | "DeleteIntegration"
        | "DeleteIntegrationResponse"
        | "TagResource"
        | "UntagResource" => 204,
        "PutRestApi" | "ImportDocumentationParts" => 200,
        "UpdateMethodResponse" => 201,
        _ if operation.starts_with("Delete") || operation.starts_with("Flush") => 202,
        _ if ["Create", "Put", "Import", "Generate"].iter().any(|verb| operation.starts_with(verb)) => 201,
        _ => 200,
    }
}

macro_rules! operations {
    ($($name:literal $function:path;)*) => {
        /// The names of the calls that are carried out.
        pub const OPERATIONS: &[&str] = &[$($name),*];

        fn carry_out(control: &mut Control<'_>, operation: &str, params: Params) -> Outcome<Value> {
            match operation {
                $($name => $function(control, params),)*
                _ => Err(Fault::unsupported(operation)),
            }
        }
    };
}

operations! {
    "CreateRestApi" apis::create_rest_api;
    "GetRestApi" apis::get_rest_api;
    "GetRestApis" apis::get_rest_apis;
    "UpdateRestApi" apis::update_rest_api;
    "DeleteRestApi" apis::delete_rest_api;
    "ImportRestApi" openapi::import::import_rest_api;
    "PutRestApi" openapi::import::put_rest_api;
    "GetExport" openapi::export::get_export;
    "CreateResource" resources::create_resource;
    "GetResource" resources::get_resource;
    "GetResources" resources::get_resources;
    "UpdateResource" resources::update_resource;
    "DeleteResource" resources::delete_resource;
    "PutMethod" methods::put_method;
    "GetMethod" methods::get_method;
    "UpdateMethod" methods::update_method;
    "DeleteMethod" methods::delete_method;
    "PutMethodResponse" methods::put_method_response;
    "GetMethodResponse" methods::get_method_response;
    "UpdateMethodResponse" methods::update_method_response;
    "DeleteMethodResponse" methods::delete_method_response;
    "PutIntegration" integrations::put_integration;
    "GetIntegration" integrations::get_integration;
    "UpdateIntegration" integrations::update_integration;
    "DeleteIntegration" integrations::delete_integration;
    "PutIntegrationResponse" integrations::put_integration_response;
    "GetIntegrationResponse" integrations::get_integration_response;
    "UpdateIntegrationResponse" integrations::update_integration_response;
    "DeleteIntegrationResponse" integrations::delete_integration_response;
    "CreateModel" models::create_model;
    "GetModel" models::get_model;
    "GetModels" models::get_models;
    "UpdateModel" models::update_model;
    "DeleteModel" models::delete_model;
    "CreateRequestValidator" validators::create_request_validator;
    "GetRequestValidator" validators::get_request_validator;
    "GetRequestValidators" validators::get_request_validators;
    "UpdateRequestValidator" validators::update_request_validator;
    "DeleteRequestValidator" validators::delete_request_validator;
    "PutGatewayResponse" gateway_responses::put_gateway_response;
    "GetGatewayResponse" gateway_responses::get_gateway_response;
    "GetGatewayResponses" gateway_responses::get_gateway_responses;
    "UpdateGatewayResponse" gateway_responses::update_gateway_response;
    "DeleteGatewayResponse" gateway_responses::delete_gateway_response;
    "CreateAuthorizer" authorizers::create_authorizer;
    "GetAuthorizer" authorizers::get_authorizer;
    "GetAuthorizers" authorizers::get_authorizers;
    "UpdateAuthorizer" authorizers::update_authorizer;
    "DeleteAuthorizer" authorizers::delete_authorizer;
    "CreateDeployment" deployments::create_deployment;
    "GetDeployment" deployments::get_deployment;
    "GetDeployments" deployments::get_deployments;
    "UpdateDeployment" deployments::update_deployment;
    "DeleteDeployment" deployments::delete_deployment;
    "CreateStage" stages::create_stage;
    "GetStage" stages::get_stage;
    "GetStages" stages::get_stages;
    "UpdateStage" stages::update_stage;
    "DeleteStage" stages::delete_stage;
    "FlushStageCache" stages::flush_stage_cache;
    "FlushStageAuthorizersCache" stages::flush_stage_authorizers_cache;
    "CreateApiKey" keys::create_api_key;
    "GetApiKey" keys::get_api_key;
    "GetApiKeys" keys::get_api_keys;
    "UpdateApiKey" keys::update_api_key;
    "DeleteApiKey" keys::delete_api_key;
    "ImportApiKeys" keys::import_api_keys;
    "CreateUsagePlan" plans::create_usage_plan;
    "GetUsagePlan" plans::get_usage_plan;
    "GetUsagePlans" plans::get_usage_plans;
    "UpdateUsagePlan" plans::update_usage_plan;
    "GetUsage" plans::get_usage;
    "UpdateUsage" plans::update_usage;
    "DeleteUsagePlan" plans::delete_usage_plan;
    "CreateUsagePlanKey" plans::create_usage_plan_key;
    "GetUsagePlanKey" plans::get_usage_plan_key;
    "GetUsagePlanKeys" plans::get_usage_plan_keys;
    "DeleteUsagePlanKey" plans::delete_usage_plan_key;
    "GenerateClientCertificate" certificates::generate_client_certificate;
    "GetClientCertificate" certificates::get_client_certificate;
    "GetClientCertificates" certificates::get_client_certificates;
    "UpdateClientCertificate" certificates::update_client_certificate;
    "DeleteClientCertificate" certificates::delete_client_certificate;
    "CreateDocumentationPart" documentation::create_documentation_part;
    "GetDocumentationPart" documentation::get_documentation_part;
    "GetDocumentationParts" documentation::get_documentation_parts;
    "UpdateDocumentationPart" documentation::update_documentation_part;
    "DeleteDocumentationPart" documentation::delete_documentation_part;
    "ImportDocumentationParts" documentation::import_documentation_parts;
    "CreateDocumentationVersion" documentation::create_documentation_version;
    "GetDocumentationVersion" documentation::get_documentation_version;
    "GetDocumentationVersions" documentation::get_documentation_versions;
    "DeleteDocumentationVersion" documentation::delete_documentation_version;
    "GetTags" tags::get_tags;
    "TagResource" tags::tag_resource;
    "UntagResource" tags::untag_resource;
    "GetAccount" Control::get_account;
    "GetVpcLink" Control::no_vpc_link;
    "UpdateVpcLink" Control::no_vpc_link;
    "DeleteVpcLink" Control::no_vpc_link;
    "GetVpcLinks" Control::get_vpc_links;
}

impl Control<'_> {
    /// An id of so many characters of `[a-z0-9]`, another at each call.
    fn id(&mut self, characters: usize) -> String {
        const LETTERS: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
        let bytes = self.draw();
        bytes.iter().take(characters).map(|byte| char::from(LETTERS[usize::from(*byte) % 36])).collect()
    }

    /// A secret of 40 letters and digits.
    fn secret(&mut self) -> String {
        const LETTERS: &[u8; 62] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
        let (one, two) = (self.draw(), self.draw());
        // 62 of 256 do not divide evenly: values that would favour the first letters are left out. 64 bytes hold 40 that are not.
        let even = one.iter().chain(&two).filter(|byte| **byte < 248);
        even.take(40).map(|byte| char::from(LETTERS[usize::from(*byte) % 62])).collect()
    }

    fn draw(&mut self) -> [u8; 32] {
        self.drawn += 1;
        // What is there already goes in, too: a clock of tests gives the same seeds after a restart, and an id must not come again.
        let account = &*self.account;
        let parts: usize = account.apis.values().map(|api| api.resources.len() + api.models.len()).sum();
        let lists = [account.apis.len(), account.deployments.len(), account.keys.len(), account.plans.len(), parts];
        let mut digest = Sha256::new().chain_update(self.facts.seed).chain_update(self.drawn.to_be_bytes());
        for length in lists {
            digest.update(length.to_be_bytes());
        }
        digest.finalize().into()
    }

    /// An API that is there.
    fn api(&self, params: Params) -> Outcome<&RestApi> {
        let id = params.named("restApiId")?;
        self.account.apis.get(id).map(|api| &**api).ok_or_else(|| self.no_api(id))
    }

    fn no_api(&self, id: &str) -> Fault {
        Fault::missing(format!("Invalid API identifier specified {}:{id}", self.facts.account))
    }

    /// An API and one of its resources; AWS says the same of both if one is not there.
    fn resource(&self, params: Params) -> Outcome<(&RestApi, &Resource)> {
        let no_resource = || Fault::missing("Invalid Resource identifier specified");
        let api = self.account.apis.get(params.named("restApiId")?).ok_or_else(no_resource)?;
        let resource = api.resources.get(params.named("resourceId")?).ok_or_else(no_resource)?;
        Ok((api, resource))
    }

    /// Keep an API that a call changed.
    fn keep(&mut self, api: RestApi) {
        self.changed.insert(Row::Api(api.id.clone()));
        self.account.apis.insert(api.id.clone(), Arc::new(api));
    }

    // Each call is one that may refuse.
    #[allow(clippy::unnecessary_wraps, clippy::unused_self)]
    fn get_account(&mut self, _: Params) -> Outcome<Value> {
        Ok(json!({
            "throttleSettings": {"burstLimit": 5_000, "rateLimit": 10_000.0},
            "features": ["UsagePlans"],
            "apiKeyVersion": "4",
        }))
    }

    #[allow(clippy::unused_self)]
    fn no_vpc_link(&mut self, _: Params) -> Outcome<Value> {
        Err(Fault::missing("Invalid Vpc Link identifier specified"))
    }

    #[allow(clippy::unnecessary_wraps, clippy::unused_self)]
    fn get_vpc_links(&mut self, _: Params) -> Outcome<Value> {
        Ok(json!({"items": []}))
    }
}

/// A page of a list: what the members `limit` and `position` ask for. A position is the key of the last entry before it.
fn page<'a, T>(
    params: Params,
    entries: impl Iterator<Item = (&'a str, T)>,
    mut show: impl FnMut(T) -> Value,
) -> Outcome<Value> {
    let limit = match params.number("limit")? {
        None => PAGE,
        Some(limit) => usize::try_from(limit).unwrap_or_default().min(PAGE_MAX),
    };
    let limit = if limit == 0 { PAGE } else { limit };
    let position = params.text("position")?.filter(|position| !position.is_empty());
    let mut entries = entries.peekable();
    if let Some(position) = position {
        if !entries.by_ref().any(|(key, _)| position == position_of(key)) {
            return Err(Fault::bad(format!("Invalid position parameter specified: {position}")));
        }
    }
    let (mut items, mut last) = (Vec::new(), "");
    while items.len() < limit {
        let Some((key, entry)) = entries.next() else { break };
        items.push(show(entry));
        last = key;
    }
    let mut answer = json!({"items": items});
    if entries.peek().is_some() {
        answer["position"] = json!(position_of(last));
    }
    Ok(answer)
}

/// What stands for a key in `position`: nothing that a caller could build on.
fn position_of(key: &str) -> String {
    use base64::prelude::{Engine as _, BASE64_URL_SAFE_NO_PAD};
    BASE64_URL_SAFE_NO_PAD.encode(&Sha256::digest(key)[..12])
}

/// Times are kept in ms; AWS's JSON has seconds.
fn seconds(mut shape: Value) -> Value {
    for name in ["createdDate", "lastUpdatedDate", "expirationDate"] {
        if let Some(ms) = shape.get(name).and_then(Value::as_u64) {
            shape[name] = json!(ms / 1_000);
        }
    }
    shape
}

/// Leave members out of a shape.
fn without(mut shape: Value, names: &[&str]) -> Value {
    if let Some(members) = shape.as_object_mut() {
        for name in names {
            members.remove(*name);
        }
    }
    shape
}
