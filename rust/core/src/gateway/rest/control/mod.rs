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
mod tests;
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
        control.carry_out(operation, Params(members))?
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
    ($($name:literal $method:ident;)*) => {
        /// The names of the calls that are carried out.
        pub const OPERATIONS: &[&str] = &[$($name),*];

        impl Control<'_> {
            fn carry_out(&mut self, operation: &str, params: Params) -> Outcome<Value> {
                match operation {
                    $($name => self.$method(params),)*
                    _ => Err(Fault::unsupported(operation)),
                }
            }
        }
    };
}

operations! {
    "CreateRestApi" create_rest_api;
    "GetRestApi" get_rest_api;
    "GetRestApis" get_rest_apis;
    "UpdateRestApi" update_rest_api;
    "DeleteRestApi" delete_rest_api;
    "ImportRestApi" import_rest_api;
    "PutRestApi" put_rest_api;
    "GetExport" get_export;
    "CreateResource" create_resource;
    "GetResource" get_resource;
    "GetResources" get_resources;
    "UpdateResource" update_resource;
    "DeleteResource" delete_resource;
    "PutMethod" put_method;
    "GetMethod" get_method;
    "UpdateMethod" update_method;
    "DeleteMethod" delete_method;
    "PutMethodResponse" put_method_response;
    "GetMethodResponse" get_method_response;
    "UpdateMethodResponse" update_method_response;
    "DeleteMethodResponse" delete_method_response;
    "PutIntegration" put_integration;
    "GetIntegration" get_integration;
    "UpdateIntegration" update_integration;
    "DeleteIntegration" delete_integration;
    "PutIntegrationResponse" put_integration_response;
    "GetIntegrationResponse" get_integration_response;
    "UpdateIntegrationResponse" update_integration_response;
    "DeleteIntegrationResponse" delete_integration_response;
    "CreateModel" create_model;
    "GetModel" get_model;
    "GetModels" get_models;
    "UpdateModel" update_model;
    "DeleteModel" delete_model;
    "CreateRequestValidator" create_request_validator;
    "GetRequestValidator" get_request_validator;
    "GetRequestValidators" get_request_validators;
    "UpdateRequestValidator" update_request_validator;
    "DeleteRequestValidator" delete_request_validator;
    "PutGatewayResponse" put_gateway_response;
    "GetGatewayResponse" get_gateway_response;
    "GetGatewayResponses" get_gateway_responses;
    "UpdateGatewayResponse" update_gateway_response;
    "DeleteGatewayResponse" delete_gateway_response;
    "CreateAuthorizer" create_authorizer;
    "GetAuthorizer" get_authorizer;
    "GetAuthorizers" get_authorizers;
    "UpdateAuthorizer" update_authorizer;
    "DeleteAuthorizer" delete_authorizer;
    "CreateDeployment" create_deployment;
    "GetDeployment" get_deployment;
    "GetDeployments" get_deployments;
    "UpdateDeployment" update_deployment;
    "DeleteDeployment" delete_deployment;
    "CreateStage" create_stage;
    "GetStage" get_stage;
    "GetStages" get_stages;
    "UpdateStage" update_stage;
    "DeleteStage" delete_stage;
    "FlushStageCache" flush_stage_cache;
    "FlushStageAuthorizersCache" flush_stage_authorizers_cache;
    "CreateApiKey" create_api_key;
    "GetApiKey" get_api_key;
    "GetApiKeys" get_api_keys;
    "UpdateApiKey" update_api_key;
    "DeleteApiKey" delete_api_key;
    "ImportApiKeys" import_api_keys;
    "CreateUsagePlan" create_usage_plan;
    "GetUsagePlan" get_usage_plan;
    "GetUsagePlans" get_usage_plans;
    "UpdateUsagePlan" update_usage_plan;
    "GetUsage" get_usage;
    "UpdateUsage" update_usage;
    "DeleteUsagePlan" delete_usage_plan;
    "CreateUsagePlanKey" create_usage_plan_key;
    "GetUsagePlanKey" get_usage_plan_key;
    "GetUsagePlanKeys" get_usage_plan_keys;
    "DeleteUsagePlanKey" delete_usage_plan_key;
    "GenerateClientCertificate" generate_client_certificate;
    "GetClientCertificate" get_client_certificate;
    "GetClientCertificates" get_client_certificates;
    "UpdateClientCertificate" update_client_certificate;
    "DeleteClientCertificate" delete_client_certificate;
    "CreateDocumentationPart" create_documentation_part;
    "GetDocumentationPart" get_documentation_part;
    "GetDocumentationParts" get_documentation_parts;
    "UpdateDocumentationPart" update_documentation_part;
    "DeleteDocumentationPart" delete_documentation_part;
    "ImportDocumentationParts" import_documentation_parts;
    "CreateDocumentationVersion" create_documentation_version;
    "GetDocumentationVersion" get_documentation_version;
    "GetDocumentationVersions" get_documentation_versions;
    "DeleteDocumentationVersion" delete_documentation_version;
    "GetTags" get_tags;
    "TagResource" tag_resource;
    "UntagResource" untag_resource;
    "GetAccount" get_account;
    "GetVpcLink" no_vpc_link;
    "UpdateVpcLink" no_vpc_link;
    "DeleteVpcLink" no_vpc_link;
    "GetVpcLinks" get_vpc_links;
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
