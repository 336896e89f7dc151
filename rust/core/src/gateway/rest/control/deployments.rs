//! Deployments: copies of an API that no longer change.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{json, Map, Value};

use crate::gateway::rest::control::fault::{Fault, Outcome};
use crate::gateway::rest::control::integrations::no_vpc_link;
use crate::gateway::rest::control::params::Params;
use crate::gateway::rest::control::stages::{self, canary_of, check_stage_name, new_stage, variables};
use crate::gateway::rest::control::{page, seconds, without, Control, Row};
use crate::gateway::rest::model::{shown, Deployment, RestApi};

fn no_deployment() -> Fault {
    Fault::missing("Invalid Deployment identifier specified")
}

fn shown_deployment(deployment: &Deployment, with_summary: bool) -> Value {
    let mut shape = without(seconds(shown(deployment)), &["api"]);
    if with_summary {
        let mut paths = Map::new();
        for resource in deployment.api.resources.values().filter(|resource| !resource.methods.is_empty()) {
            let of = resource.methods.iter().map(|(verb, method)| {
                let told = json!({
                    "apiKeyRequired": method.api_key_required,
                    "authorizationType": method.authorization_type,
                });
                (verb.clone(), told)
            });
            paths.insert(resource.path.clone(), of.collect());
        }
        shape["apiSummary"] = Value::Object(paths);
    }
    shape
}

/// Refuse to deploy what answers nothing.
pub(super) fn check_complete(api: &RestApi) -> Outcome<()> {
    let mut methods = api.resources.values().flat_map(|resource| resource.methods.values()).peekable();
    if methods.peek().is_none() {
        return Err(Fault::bad("The REST API doesn't contain any methods"));
    }
    methods.try_for_each(|method| match &method.integration {
        None => Err(Fault::bad("No integration defined for method")),
        Some(integration) if integration.is_by_vpc_link() => Err(no_vpc_link()),
        Some(_) => Ok(()),
    })
}

fn deployment<'a>(control: &'a Control<'_>, params: Params) -> Outcome<&'a Deployment> {
    let key = (params.named("restApiId")?.to_owned(), params.named("deploymentId")?.to_owned());
    control.account.deployments.get(&key).ok_or_else(no_deployment)
}

pub(super) fn create_deployment(control: &mut Control<'_>, params: Params) -> Outcome<Value> {
    let api = control.api(params)?.clone();
    check_complete(&api)?;
    Ok(shown_deployment(&deploy(control, api, params)?, false))
}

/// Bring an API as it stands to a stage, if one is named.
pub(super) fn deploy(control: &mut Control<'_>, api: RestApi, params: Params) -> Outcome<Deployment> {
    let stage_name = params.filled("stageName")?;
    let canary = params.inner("canarySettings")?;
    let stage =
        stage_name.as_ref().and_then(|name| control.account.stages.get(&(api.id.clone(), name.clone()))).cloned();
    if canary.is_some() {
        let Some(name) = &stage_name else {
            return Err(Fault::bad(
                "Invalid deployment content specified.Non null and non empty stageName must be provided for canary deployment. Provided value is null",
            ));
        };
        if stage.is_none() {
            return Err(Fault::bad(format!(
                "Invalid deployment content specified.Stage {name} must already be created before making a canary release deployment"
            )));
        }
    }
    let of_api = || control.account.deployments.iter().filter(|((of, _), _)| *of == api.id);
    let latest = of_api().map(|(_, one)| one.created_date).max().unwrap_or_default();
    let deployment = Deployment {
        id: control.id(6),
        description: params.filled("description")?,
        created_date: control.facts.now_ms.max(latest + 1),
        api: Arc::new(RestApi {
            documentation_parts: BTreeMap::new(),
            documentation_versions: BTreeMap::new(),
            ..api.clone()
        }),
    };
    if let Some(name) = stage_name {
        check_stage_name(&name)?;
        let mut stage = stage.unwrap_or_else(|| new_stage(&name, control.facts.now_ms));
        stage.last_updated_date = control.facts.now_ms;
        if let Some(canary) = canary {
            stage.canary_settings = Some(canary_of(canary, &deployment.id)?);
        } else {
            stage.deployment_id.clone_from(&deployment.id);
            stage.variables.extend(variables(params, "variables")?);
            stage.description = params.filled("stageDescription")?.or(stage.description);
            if let Some(enabled) = params.flag("cacheClusterEnabled")? {
                stage.set_cache(enabled, params.filled("cacheClusterSize")?);
            }
            stage.tracing_enabled = params.flag("tracingEnabled")?.unwrap_or(stage.tracing_enabled);
        }
        stages::keep_stage(control, &api.id, stage);
    }
    control.changed.insert(Row::Deployment(api.id.clone(), deployment.id.clone()));
    control.account.deployments.insert((api.id, deployment.id.clone()), deployment.clone());
    Ok(deployment)
}

pub(super) fn get_deployment(control: &mut Control<'_>, params: Params) -> Outcome<Value> {
    let with_summary = params.list("embed")?.iter().any(|part| part == "apisummary");
    Ok(shown_deployment(deployment(control, params)?, with_summary))
}

pub(super) fn get_deployments(control: &mut Control<'_>, params: Params) -> Outcome<Value> {
    let id = control.api(params)?.id.clone();
    let mut list: Vec<&Deployment> =
        control.account.deployments.iter().filter(|((of, _), _)| *of == id).map(|(_, one)| one).collect();
    list.sort_by_key(|one| std::cmp::Reverse(one.created_date));
    page(params, list.into_iter().map(|one| (one.id.as_str(), one)), |one| shown_deployment(one, false))
}

pub(super) fn update_deployment(control: &mut Control<'_>, params: Params) -> Outcome<Value> {
    let mut deployment = deployment(control, params)?.clone();
    for patch in params.patches()? {
        match (patch.op.as_str(), patch.path.as_deref()) {
            ("replace", Some("/description")) => deployment.description = patch.filled(),
            _ => return Err(patch.unsupported(&["/description"])),
        }
    }
    let answer = shown_deployment(&deployment, false);
    let key = (params.named("restApiId")?.to_owned(), deployment.id.clone());
    control.changed.insert(Row::Deployment(key.0.clone(), key.1.clone()));
    control.account.deployments.insert(key, deployment);
    Ok(answer)
}

pub(super) fn delete_deployment(control: &mut Control<'_>, params: Params) -> Outcome<Value> {
    let id = deployment(control, params)?.id.clone();
    let api = params.named("restApiId")?.to_owned();
    let mut stages = control.account.stages.iter().filter(|((of, _), _)| *of == api).map(|(_, stage)| stage);
    let serves = stages.any(|stage| {
        let canary = stage.canary_settings.as_ref().and_then(|canary| canary.deployment_id.as_ref());
        stage.deployment_id == id || canary == Some(&id)
    });
    if serves {
        return Err(Fault::bad("Active stages pointing to this deployment must be moved or deleted"));
    }
    control.account.deployments.remove(&(api.clone(), id.clone()));
    control.changed.insert(Row::Deployment(api, id));
    Ok(json!({}))
}
