//! REST APIs: create, get, change, delete.

use serde_json::{json, Value};

use crate::gateway::rest::control::fault::{Fault, Outcome};
use crate::gateway::rest::control::models::default_models;
use crate::gateway::rest::control::params::{Params, Patch};
use crate::gateway::rest::control::{page, seconds, without, Control, Row, APIS_MAX};
use crate::gateway::rest::gate;
use crate::gateway::rest::model::{shown, ApiKeySource, EndpointConfiguration, Resource, RestApi};

const COMPRESSION_MAX: i64 = 10_485_760;
/// Most characters of an id that is given: it may be a label of a host's name.
const ID_CHARACTERS_MAX: usize = 63;
const KINDS: [&str; 3] = ["REGIONAL", "EDGE", "PRIVATE"];
const PATHS: &[&str] = &[
    "/name",
    "/description",
    "/policy",
    "/apiKeySource",
    "/minimumCompressionSize",
    "/disableExecuteApiEndpoint",
    "/binaryMediaTypes/{mediaType}",
    "/endpointConfiguration/types/{type}",
    "/endpointConfiguration/ipAddressType",
    "/endpointConfiguration/vpcEndpointIds",
];
/// What only the calls for each of them show.
const PARTS: &[&str] = &[
    "resources",
    "models",
    "requestValidators",
    "authorizers",
    "gatewayResponses",
    "documentationParts",
    "documentationVersions",
    "declaredMethods",
];

fn only_dualstack() -> Fault {
    Fault::bad("Only dualstack ipAddressType is supported for Private APIs.")
}

fn compression(size: Option<i64>) -> Outcome<Option<u32>> {
    match size {
        None => Ok(None),
        Some(size @ 0..=COMPRESSION_MAX) => Ok(u32::try_from(size).ok()),
        Some(_) => {
            Err(Fault::bad(format!("Invalid minimum compression size, must be between 0 and {COMPRESSION_MAX}")))
        }
    }
}

/// An API as AWS shows it.
pub(super) fn shown_api(api: &RestApi) -> Value {
    without(seconds(shown(api)), PARTS)
}

/// The same where AWS shows tags even if there are none.
pub(super) fn shown_with_tags(api: &RestApi) -> Value {
    let mut shape = shown_api(api);
    shape["tags"] = json!(api.tags);
    shape
}

/// An API with nothing but its root.
pub(super) fn new_api(control: &mut Control<'_>, name: &str) -> Outcome<RestApi> {
    if control.account.apis.len() >= APIS_MAX {
        return Err(Fault::limit("Maximum number of REST APIs for this account reached"));
    }
    let (id, root) = (api_id(control)?, control.id(10));
    // Lists are in the order of their making.
    let latest = control.account.apis.values().map(|api| api.created_date).max().unwrap_or_default();
    Ok(RestApi {
        id,
        name: name.to_owned(),
        created_date: control.facts.now_ms.max(latest + 1),
        root_resource_id: root.clone(),
        resources: [(root.clone(), Resource { id: root, path: "/".into(), ..Resource::default() })].into(),
        ..RestApi::default()
    })
}

/// The id that a new API is given, or one of its own.
fn api_id(control: &mut Control<'_>) -> Outcome<String> {
    let Some(given) = control.facts.api_id else { return Ok(control.id(10)) };
    let is_label = given.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if !is_label || !(1..=ID_CHARACTERS_MAX).contains(&given.len()) {
        let allowed = format!("1 to {ID_CHARACTERS_MAX} letters, digits and hyphens");
        return Err(Fault::bad(format!("api_id is {given:?}: allowed are {allowed}")));
    }
    if control.account.apis.contains_key(given) {
        return Err(Fault::conflict(format!("There is a REST API {given} already")));
    }
    Ok(given.to_owned())
}

pub(super) fn create_rest_api(control: &mut Control<'_>, params: Params) -> Outcome<Value> {
    let name = params.named("name")?;
    if name.is_empty() {
        return Err(Fault::bad("API name cannot be empty"));
    }
    if params.text("description")? == Some("") {
        return Err(Fault::bad("Description cannot be an empty string"));
    }
    let mut api = match params.filled("cloneFrom")? {
        Some(from) => {
            let base = RestApi::clone(control.account.apis.get(&from).ok_or_else(|| control.no_api(&from))?);
            let new = new_api(control, name)?;
            RestApi { id: new.id, name: new.name, created_date: new.created_date, ..base }
        }
        None => RestApi { models: default_models(&mut || control.id(6)), ..new_api(control, name)? },
    };
    if let Some(description) = params.filled("description")? {
        api.description = Some(description);
    }
    if let Some(version) = params.filled("version")? {
        api.version = Some(version);
    }
    if params.text("apiKeySource")? == Some("AUTHORIZER") {
        api.api_key_source = ApiKeySource::Authorizer;
    }
    if let Some(endpoints) = params.inner("endpointConfiguration")? {
        api.endpoint_configuration = endpoint_configuration(endpoints)?;
    }
    if let Some(size) = compression(params.number("minimumCompressionSize")?)? {
        api.minimum_compression_size = Some(size);
    }
    let types = params.list("binaryMediaTypes")?;
    if !types.is_empty() {
        api.binary_media_types = types;
    }
    api.policy = params.filled("policy")?.or(api.policy);
    if let Some(policy) = &api.policy {
        check_policy(policy)?;
    }
    api.tags = params.texts("tags")?;
    api.disable_execute_api_endpoint = params.flag("disableExecuteApiEndpoint")?.unwrap_or(false);
    let answer = shown_api(&api);
    control.keep(api);
    Ok(answer)
}

pub(super) fn get_rest_api(control: &mut Control<'_>, params: Params) -> Outcome<Value> {
    Ok(shown_with_tags(control.api(params)?))
}

pub(super) fn get_rest_apis(control: &mut Control<'_>, params: Params) -> Outcome<Value> {
    let mut apis: Vec<&RestApi> = control.account.apis.values().map(|api| &**api).collect();
    apis.sort_by_key(|api| api.created_date);
    page(params, apis.into_iter().map(|api| (api.id.as_str(), api)), shown_api)
}

pub(super) fn update_rest_api(control: &mut Control<'_>, params: Params) -> Outcome<Value> {
    let mut api = control.api(params)?.clone();
    for patch in params.patches()? {
        change(&mut api, &patch)?;
    }
    let answer = shown_with_tags(&api);
    control.keep(api);
    Ok(answer)
}

pub(super) fn delete_rest_api(control: &mut Control<'_>, params: Params) -> Outcome<Value> {
    let id = control.api(params)?.id.clone();
    if control.account.plans.values().any(|plan| plan.api_stages.iter().any(|stage| stage.api_id == id)) {
        return Err(Fault::bad(
            "Cannot delete a REST API whose stages are part of usage plans: remove them from the plans first",
        ));
    }
    control.account.apis.remove(&id);
    let stages: Vec<_> = control.account.stages.keys().filter(|(api, _)| *api == id).cloned().collect();
    for key in stages {
        control.account.stages.remove(&key);
        control.changed.insert(Row::Stage(key.0, key.1));
    }
    let deployments: Vec<_> = control.account.deployments.keys().filter(|(api, _)| *api == id).cloned().collect();
    for key in deployments {
        control.account.deployments.remove(&key);
        control.changed.insert(Row::Deployment(key.0, key.1));
    }
    control.changed.insert(Row::Api(id));
    Ok(json!({}))
}

/// Refuse a resource policy that cannot be used, or not whole.
pub(super) fn check_policy(policy: &str) -> Outcome<()> {
    const TEXT: &str = "Invalid policy document. Please check the policy syntax and ensure that Principals are valid.";
    match gate::check(policy) {
        Ok(()) => Ok(()),
        Err(reason) => Err(Fault::bad(format!("{TEXT} Here: {reason}."))),
    }
}

fn endpoint_configuration(params: Params) -> Outcome<EndpointConfiguration> {
    let mut types = params.list("types")?;
    if types.len() > 1 {
        return Err(Fault::bad("Cannot create an api with multiple Endpoint Types."));
    }
    if let Some(wrong) = types.iter().find(|kind| !KINDS.contains(&kind.as_str())) {
        return Err(Fault::invalid(&[format!(
            "Value '[{wrong}]' at 'createRestApiInput.endpointConfiguration.types' failed to satisfy constraint: Member must satisfy constraint: [Member must satisfy enum value set: [PRIVATE, EDGE, REGIONAL]]"
        )]));
    }
    if types.is_empty() {
        types.push("EDGE".into());
    }
    let is_private = types[0] == "PRIVATE";
    let ip = params.filled("ipAddressType")?;
    if is_private && ip.as_deref() == Some("ipv4") {
        return Err(only_dualstack());
    }
    let ip = ip.unwrap_or_else(|| if is_private { "dualstack".into() } else { "ipv4".into() });
    Ok(EndpointConfiguration { types, ip_address_type: ip, vpc_endpoint_ids: params.list("vpcEndpointIds")? })
}

fn change(api: &mut RestApi, patch: &Patch) -> Outcome<()> {
    let path = patch.path.as_deref().unwrap_or_default();
    if let Some(kind) = patch.below("/binaryMediaTypes/") {
        return change_media_types(api, patch, kind);
    }
    if path.starts_with("/endpointConfiguration/") {
        return change_endpoints(&mut api.endpoint_configuration, patch, path);
    }
    if !PATHS.contains(&path) {
        return Err(patch.unsupported(PATHS));
    }
    let removes = patch.op == "remove";
    if !removes && !["add", "replace"].contains(&patch.op.as_str()) {
        return Err(Fault::bad("Invalid patch operation specified. Must be 'add'|'remove'|'replace'"));
    }
    match path {
        "/name" if removes || patch.text().is_empty() => return Err(Fault::bad("API name cannot be empty")),
        "/name" => patch.text().clone_into(&mut api.name),
        "/description" => api.description = patch.filled(),
        "/policy" => {
            api.policy = patch.filled();
            if let Some(policy) = &api.policy {
                check_policy(policy)?;
            }
        }
        "/apiKeySource" => {
            api.api_key_source = match patch.text() {
                "HEADER" => ApiKeySource::Header,
                "AUTHORIZER" => ApiKeySource::Authorizer,
                _ => return Err(Fault::bad("Invalid API Key source. Valid values are HEADER and AUTHORIZER")),
            }
        }
        "/minimumCompressionSize" => {
            api.minimum_compression_size = match patch.filled() {
                None => None,
                // What is not a number is out of range, too.
                Some(text) => compression(Some(text.parse().unwrap_or(-1)))?,
            }
        }
        _ => api.disable_execute_api_endpoint = !removes && patch.truth(),
    }
    Ok(())
}

fn change_media_types(api: &mut RestApi, patch: &Patch, kind: String) -> Outcome<()> {
    let types = &mut api.binary_media_types;
    let known = types.iter().position(|known| *known == kind);
    match patch.op.as_str() {
        "add" if known.is_none() => types.push(kind),
        "add" => {}
        "remove" | "replace" => {
            let Some(place) = known else {
                return Err(Fault::missing("Invalid binary media type specified"));
            };
            types.remove(place);
            if patch.op == "replace" {
                types.push(patch.filled().unwrap_or(kind));
            }
        }
        _ => return Err(Fault::bad("Invalid patch operation specified. Must be 'add'|'remove'|'replace'")),
    }
    Ok(())
}

fn change_endpoints(endpoints: &mut EndpointConfiguration, patch: &Patch, path: &str) -> Outcome<()> {
    let is_private = endpoints.types.iter().any(|kind| kind == "PRIVATE");
    if path.starts_with("/endpointConfiguration/types/") {
        if patch.op != "replace" {
            return Err(Fault::bad("Invalid patch operation specified. Must be 'add'|'remove'|'replace'"));
        }
        if !KINDS.contains(&patch.text()) {
            return Err(Fault::bad("Invalid EndpointTypes specified. Valid options are REGIONAL,EDGE,PRIVATE"));
        }
        endpoints.types = vec![patch.text().to_owned()];
        if patch.text() == "PRIVATE" {
            endpoints.ip_address_type = "dualstack".into();
        }
    } else if path == "/endpointConfiguration/ipAddressType" {
        if patch.op != "replace" {
            return Err(Fault::bad("Invalid patch operation specified. Must be one of: [replace]"));
        }
        match patch.text() {
            "ipv4" if is_private => return Err(only_dualstack()),
            "ipv4" | "dualstack" => patch.text().clone_into(&mut endpoints.ip_address_type),
            _ => return Err(Fault::bad("ipAddressType must be either ipv4 or dualstack.")),
        }
    } else if path.starts_with("/endpointConfiguration/vpcEndpointIds") {
        let id = patch.below("/endpointConfiguration/vpcEndpointIds/").or_else(|| patch.filled());
        let id = id.ok_or_else(|| patch.no_such_path())?;
        endpoints.vpc_endpoint_ids.retain(|known| *known != id);
        if patch.op != "remove" {
            endpoints.vpc_endpoint_ids.push(id);
        }
    } else {
        return Err(patch.unsupported(PATHS));
    }
    Ok(())
}
