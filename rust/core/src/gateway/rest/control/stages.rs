//! Stages: the names under which deployments are served, with their settings.

use std::collections::BTreeMap;

use serde_json::{json, Value};

use crate::gateway::api::check_variable;
use crate::gateway::rest::control::fault::{Fault, Outcome};
use crate::gateway::rest::control::params::{Params, Patch};
use crate::gateway::rest::control::{seconds, Control, Row};
use crate::gateway::rest::model::{
    shown, AccessLogSettings, CacheControlStrategy, CanarySettings, MethodSetting, Stage,
};

/// Most stages of an API.
const STAGES_MAX: usize = 10;
const SIZES: [&str; 8] = ["0.5", "1.6", "6.1", "13.5", "28.4", "58.2", "118", "237"];
const NO_SUCH_LOG: &str =
    "Invalid accessLogSettings path. Must be one of : [/accessLogSettings/destinationArn, /accessLogSettings/format]";
/// As AWS lists them, its missing commas included.
const PATHS: &str = "/deploymentId, /description, /cacheClusterEnabled, /cacheClusterSize, /clientCertificateId, /accessLogSettings, /accessLogSettings/destinationArn, /accessLogSettings/format, /{resourcePath}/{httpMethod}/metrics/enabled, /{resourcePath}/{httpMethod}/logging/dataTrace, /{resourcePath}/{httpMethod}/logging/loglevel, /{resourcePath}/{httpMethod}/throttling/burstLimit/{resourcePath}/{httpMethod}/throttling/rateLimit/{resourcePath}/{httpMethod}/caching/ttlInSeconds, /{resourcePath}/{httpMethod}/caching/enabled, /{resourcePath}/{httpMethod}/caching/dataEncrypted, /{resourcePath}/{httpMethod}/caching/requireAuthorizationForCacheControl, /{resourcePath}/{httpMethod}/caching/unauthorizedCacheControlHeaderStrategy, /*/*/metrics/enabled, /*/*/logging/dataTrace, /*/*/logging/loglevel, /*/*/throttling/burstLimit /*/*/throttling/rateLimit /*/*/caching/ttlInSeconds, /*/*/caching/enabled, /*/*/caching/dataEncrypted, /*/*/caching/requireAuthorizationForCacheControl, /*/*/caching/unauthorizedCacheControlHeaderStrategy, /variables/{variable_name}, /tracingEnabled";

fn no_stage() -> Fault {
    Fault::missing("Invalid stage identifier specified")
}

fn no_deployment() -> Fault {
    Fault::bad("Deployment id does not exist")
}

/// Refuse what no stage can be called.
pub(super) fn check_stage_name(name: &str) -> Outcome<()> {
    let is_right = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    if is_right && (1..=128).contains(&name.len()) {
        return Ok(());
    }
    Err(Fault::bad("Stage name only allows a-zA-Z0-9_-"))
}

/// The variables that a call gives a stage.
pub(super) fn variables(params: Params, member: &str) -> Outcome<BTreeMap<String, String>> {
    let found = params.texts(member)?;
    found.iter().try_for_each(|(name, value)| check(name, value))?;
    Ok(found)
}

fn check(name: &str, value: &str) -> Outcome<()> {
    check_variable(name, value).map_err(Fault::bad)
}

/// A stage without a deployment.
pub(super) fn new_stage(name: &str, now_ms: u64) -> Stage {
    Stage {
        stage_name: name.to_owned(),
        cache_cluster_status: "NOT_AVAILABLE".into(),
        created_date: now_ms,
        last_updated_date: now_ms,
        ..Stage::default()
    }
}

/// The canary that a call declares; it goes to `deployment` unless it says otherwise.
pub(super) fn canary_of(params: Params, deployment: &str) -> Outcome<CanarySettings> {
    let percent = params.0.get("percentTraffic").and_then(Value::as_f64).unwrap_or_default();
    check_percent(percent)?;
    Ok(CanarySettings {
        percent_traffic: percent,
        deployment_id: params.filled("deploymentId")?.or_else(|| Some(deployment.to_owned())),
        stage_variable_overrides: variables(params, "stageVariableOverrides")?,
        use_stage_cache: params.flag("useStageCache")?.unwrap_or(false),
    })
}

fn check_percent(percent: f64) -> Outcome<()> {
    if (0.0..=100.0).contains(&percent) {
        return Ok(());
    }
    Err(Fault::bad("Invalid canarySettings percentTraffic. It should be between 0.0 and 100.0"))
}

impl Stage {
    /// Switch its cache on or off.
    pub(super) fn set_cache(&mut self, enabled: bool, size: Option<String>) {
        self.cache_cluster_enabled = enabled;
        self.cache_cluster_status = if enabled { "AVAILABLE" } else { "NOT_AVAILABLE" }.into();
        if size.is_some() {
            self.cache_cluster_size = size;
        } else if enabled && self.cache_cluster_size.is_none() {
            self.cache_cluster_size = Some(SIZES[0].into());
        }
    }
}

fn shown_stage(stage: &Stage) -> Value {
    seconds(shown(stage))
}

/// Keep a stage that a call changed.
pub(super) fn keep_stage(control: &mut Control<'_>, api: &str, stage: Stage) {
    control.changed.insert(Row::Stage(api.to_owned(), stage.stage_name.clone()));
    control.account.stages.insert((api.to_owned(), stage.stage_name.clone()), stage);
}

pub(super) fn stage<'a>(control: &'a Control<'_>, params: Params) -> Outcome<&'a Stage> {
    let key = (params.named("restApiId")?.to_owned(), params.named("stageName")?.to_owned());
    control.account.stages.get(&key).ok_or_else(no_stage)
}

fn has_deployment(control: &Control<'_>, api: &str, id: &str) -> bool {
    control.account.deployments.contains_key(&(api.to_owned(), id.to_owned()))
}

pub(super) fn create_stage(control: &mut Control<'_>, params: Params) -> Outcome<Value> {
    let api = control.api(params)?.id.clone();
    let (name, deployment) = (params.named("stageName")?, params.named("deploymentId")?);
    check_stage_name(name)?;
    if control.account.stages.contains_key(&(api.clone(), name.to_owned())) {
        return Err(Fault::conflict("Stage already exists"));
    }
    if !has_deployment(control, &api, deployment) {
        return Err(no_deployment());
    }
    if control.account.stages.keys().filter(|(of, _)| *of == api).count() >= STAGES_MAX {
        return Err(Fault::limit(format!("Maximum number of stages for this API has been reached: {STAGES_MAX}")));
    }
    let mut stage = Stage {
        deployment_id: deployment.to_owned(),
        description: params.filled("description")?,
        variables: variables(params, "variables")?,
        documentation_version: params.filled("documentationVersion")?,
        tracing_enabled: params.flag("tracingEnabled")?.unwrap_or(false),
        tags: params.texts("tags")?,
        ..new_stage(name, control.facts.now_ms)
    };
    if let Some(canary) = params.inner("canarySettings")? {
        let canary = canary_of(canary, deployment)?;
        if !canary.deployment_id.as_deref().is_some_and(|id| has_deployment(control, &api, id)) {
            return Err(no_deployment());
        }
        stage.canary_settings = Some(canary);
    }
    if params.flag("cacheClusterEnabled")? == Some(true) {
        stage.set_cache(true, params.filled("cacheClusterSize")?);
    }
    let answer = shown_stage(&stage);
    keep_stage(control, &api, stage);
    Ok(answer)
}

pub(super) fn get_stage(control: &mut Control<'_>, params: Params) -> Outcome<Value> {
    Ok(shown_stage(stage(control, params)?))
}

pub(super) fn get_stages(control: &mut Control<'_>, params: Params) -> Outcome<Value> {
    let api = &control.api(params)?.id;
    let deployment = params.filled("deploymentId")?;
    let of = control.account.stages.iter().filter(|((of, _), _)| of == api).map(|(_, stage)| stage);
    let fits = |stage: &&Stage| deployment.as_ref().is_none_or(|id| *id == stage.deployment_id);
    Ok(json!({"item": of.filter(fits).map(shown_stage).collect::<Vec<_>>()}))
}

pub(super) fn update_stage(control: &mut Control<'_>, params: Params) -> Outcome<Value> {
    let api = params.named("restApiId")?;
    let mut stage = stage(control, params)?.clone();
    for patch in params.patches()? {
        change_stage(control, api, &mut stage, &patch)?;
    }
    stage.last_updated_date = control.facts.now_ms;
    let answer = shown_stage(&stage);
    keep_stage(control, api, stage);
    Ok(answer)
}

pub(super) fn delete_stage(control: &mut Control<'_>, params: Params) -> Outcome<Value> {
    let stage = stage(control, params)?;
    let key = (params.named("restApiId")?.to_owned(), stage.stage_name.clone());
    let mut of_plans = control.account.plans.values().flat_map(|plan| &plan.api_stages);
    if of_plans.any(|of| of.api_id == key.0 && of.stage == key.1) {
        return Err(Fault::bad("Cannot delete a stage that is part of usage plans: remove it from the plans first"));
    }
    control.account.stages.remove(&key);
    control.changed.insert(Row::Stage(key.0, key.1));
    Ok(json!({}))
}

pub(super) fn flush_stage_cache(control: &mut Control<'_>, params: Params) -> Outcome<Value> {
    let name = stage(control, params)?.stage_name.clone();
    control.changed.insert(Row::Answers(params.named("restApiId")?.to_owned(), name));
    Ok(json!({}))
}

pub(super) fn flush_stage_authorizers_cache(control: &mut Control<'_>, params: Params) -> Outcome<Value> {
    let name = stage(control, params)?.stage_name.clone();
    control.changed.insert(Row::Decisions(params.named("restApiId")?.to_owned(), name));
    Ok(json!({}))
}

fn change_stage(control: &Control<'_>, api: &str, stage: &mut Stage, patch: &Patch) -> Outcome<()> {
    let path = patch.path.as_deref().unwrap_or_default();
    if patch.op == "copy" {
        return promote(stage, patch, path);
    }
    if let Some(name) = patch.below("/variables/") {
        if patch.op == "remove" {
            stage.variables.remove(&name);
        } else {
            check(&name, patch.text())?;
            stage.variables.insert(name, patch.text().to_owned());
        }
        return Ok(());
    }
    if path.starts_with("/accessLogSettings") {
        return change_access_log(stage, patch, path);
    }
    if path.starts_with("/canarySettings") {
        return change_canary(control, api, stage, patch, path);
    }
    if patch.op == "remove"
        && !["/description", "/clientCertificateId", "/cacheClusterSize", "/documentationVersion"].contains(&path)
    {
        return remove_setting(stage, path);
    }
    match path {
        "/deploymentId" if !has_deployment(control, api, patch.text()) => return Err(no_deployment()),
        "/deploymentId" => patch.text().clone_into(&mut stage.deployment_id),
        "/description" => stage.description = patch.filled(),
        "/cacheClusterEnabled" => stage.set_cache(patch.truth(), None),
        "/cacheClusterSize" => {
            let size = patch.filled();
            if size.as_deref().is_some_and(|size| !SIZES.contains(&size)) {
                return Err(Fault::bad(format!("Invalid cache cluster size. Must be one of: [{}]", SIZES.join(", "))));
            }
            stage.cache_cluster_size = size;
        }
        "/clientCertificateId" => {
            let id = patch.filled();
            if id.as_ref().is_some_and(|id| !control.account.certificates.contains_key(id)) {
                return Err(Fault::missing("Invalid Client Certificate identifier specified"));
            }
            stage.client_certificate_id = id;
        }
        "/documentationVersion" => stage.documentation_version = patch.filled(),
        "/tracingEnabled" => stage.tracing_enabled = patch.truth(),
        _ => return change_setting(stage, patch, path),
    }
    Ok(())
}

fn change_canary(control: &Control<'_>, api: &str, stage: &mut Stage, patch: &Patch, path: &str) -> Outcome<()> {
    if path == "/canarySettings" && patch.op == "remove" {
        stage.canary_settings = None;
        return Ok(());
    }
    if let Some(name) = patch.below("/canarySettings/stageVariableOverrides/") {
        let canary = stage.canary_settings.get_or_insert_default();
        if patch.op == "remove" {
            canary.stage_variable_overrides.remove(&name);
        } else {
            check(&name, patch.text())?;
            canary.stage_variable_overrides.insert(name, patch.text().to_owned());
        }
        return Ok(());
    }
    if patch.op == "remove" {
        return remove_setting(stage, path);
    }
    match path {
        "/canarySettings/percentTraffic" => {
            let percent = patch.text().parse().unwrap_or(-1.0);
            check_percent(percent)?;
            stage.canary_settings.get_or_insert_default().percent_traffic = percent;
        }
        "/canarySettings/deploymentId" => {
            if !has_deployment(control, api, patch.text()) {
                return Err(no_deployment());
            }
            stage.canary_settings.get_or_insert_default().deployment_id = patch.filled();
        }
        "/canarySettings/useStageCache" => {
            stage.canary_settings.get_or_insert_default().use_stage_cache = patch.truth();
        }
        _ => return Err(no_such_setting(path)),
    }
    // A canary that was made by a patch serves what the stage serves until it is told otherwise.
    if let Some(canary) = &mut stage.canary_settings {
        canary.deployment_id.get_or_insert_with(|| stage.deployment_id.clone());
    }
    Ok(())
}

fn no_such_setting(path: &str) -> Fault {
    Fault::bad(format!("Invalid method setting path: {path}. Must be one of: [{PATHS}]"))
}

/// Make what a canary serves the stage's own.
fn promote(stage: &mut Stage, patch: &Patch, path: &str) -> Outcome<()> {
    let from = patch.from.as_deref().unwrap_or("null");
    let fits = matches!(
        (from, path),
        ("/canarySettings/deploymentId", "/deploymentId") | ("/canarySettings/stageVariableOverrides", "/variables")
    );
    if !fits {
        return Err(Fault::bad(format!(
            "Invalid copy operation with path: {path} and from {from}. Valid copy:path are [/deploymentId, /variables] and valid copy:from are [/canarySettings/deploymentId, /canarySettings/stageVariableOverrides]"
        )));
    }
    // The percentage of a patch before this one makes a canary, too.
    let Some(canary) = &stage.canary_settings else {
        return Err(Fault::bad("Promotion not available. Canary does not exist."));
    };
    if path == "/deploymentId" {
        if let Some(id) = &canary.deployment_id {
            stage.deployment_id.clone_from(id);
        }
    } else {
        stage.variables.extend(canary.stage_variable_overrides.clone());
    }
    Ok(())
}

fn change_access_log(stage: &mut Stage, patch: &Patch, path: &str) -> Outcome<()> {
    if patch.op == "remove" {
        if path == "/accessLogSettings" {
            stage.access_log_settings = None;
            return Ok(());
        }
        return remove_setting(stage, path);
    }
    let settings = stage.access_log_settings.get_or_insert_with(AccessLogSettings::default);
    let place = match path {
        "/accessLogSettings/destinationArn" => &mut settings.destination_arn,
        "/accessLogSettings/format" => &mut settings.format,
        _ => return Err(Fault::bad(NO_SUCH_LOG)),
    };
    *place = Some(patch.filled().ok_or_else(|| Fault::bad("Access Log value must not be empty"))?);
    Ok(())
}

/// The method of a setting's path and the setting: `/pets/GET/caching/enabled` is `pets/GET` and `caching/enabled`.
fn setting_of(path: &str) -> Option<(String, &str)> {
    let rest = path.strip_prefix('/')?;
    let name_at = rest.rmatch_indices('/').nth(1)?.0;
    let (method, setting) = (&rest[..name_at], &rest[name_at + 1..]);
    let (resource, verb) = method.rsplit_once('/')?;
    let resource = resource.replace("~1", "/").replace("~0", "~");
    let resource = resource.strip_prefix('/').map_or(resource.clone(), str::to_owned);
    Some((format!("{resource}/{verb}"), setting))
}

fn remove_setting(stage: &mut Stage, path: &str) -> Outcome<()> {
    let bare = path.strip_prefix('/').unwrap_or(path);
    let decoded = bare.replace("~1", "/").replace("~0", "~");
    let key = decoded.strip_prefix('/').unwrap_or(&decoded);
    if stage.method_settings.remove(key).is_some() {
        return Ok(());
    }
    Err(Fault::bad(format!("Cannot remove method setting {bare} because there is no method setting for this method ")))
}

fn change_setting(stage: &mut Stage, patch: &Patch, path: &str) -> Outcome<()> {
    let Some((method, name)) = setting_of(path) else { return Err(no_such_setting(path)) };
    let base = stage.method_settings.get(&method).or_else(|| stage.method_settings.get("*/*")).cloned();
    let mut setting = base.unwrap_or_default();
    apply(&mut setting, name, patch, path)?;
    stage.method_settings.insert(method, setting);
    Ok(())
}

fn apply(setting: &mut MethodSetting, name: &str, patch: &Patch, path: &str) -> Outcome<()> {
    let wrong =
        |range: &str| Fault::bad(format!("Invalid value '{}' for method setting {path}: {range}", patch.text()));
    match name {
        "metrics/enabled" => setting.metrics_enabled = patch.truth(),
        "logging/dataTrace" => setting.data_trace_enabled = patch.truth(),
        "logging/loglevel" => {
            let level = patch.text().to_ascii_uppercase();
            if !["OFF", "ERROR", "INFO"].contains(&level.as_str()) {
                return Err(wrong("it must be one of [OFF, ERROR, INFO]"));
            }
            setting.logging_level = Some(level);
        }
        "throttling/burstLimit" => {
            let limit = patch.text().parse().ok().filter(|limit: &i64| *limit >= -1);
            setting.throttling_burst_limit = limit.ok_or_else(|| wrong("it must be a whole number of -1 or more"))?;
        }
        "throttling/rateLimit" => {
            let limit = patch.text().parse().ok().filter(|limit: &f64| limit.is_finite() && *limit >= -1.0);
            setting.throttling_rate_limit = limit.ok_or_else(|| wrong("it must be a number of -1 or more"))?;
        }
        "caching/enabled" => setting.caching_enabled = patch.truth(),
        "caching/ttlInSeconds" => {
            let ttl = patch.text().parse().ok().filter(|ttl: &u32| *ttl <= 3_600);
            setting.cache_ttl_in_seconds = ttl.ok_or_else(|| wrong("it must be between 0 and 3600"))?;
        }
        "caching/dataEncrypted" => setting.cache_data_encrypted = patch.truth(),
        "caching/requireAuthorizationForCacheControl" => {
            setting.require_authorization_for_cache_control = patch.truth();
        }
        "caching/unauthorizedCacheControlHeaderStrategy" => {
            setting.unauthorized_cache_control_header_strategy = match patch.text() {
                "FAIL_WITH_403" => CacheControlStrategy::FailWith403,
                "SUCCEED_WITH_RESPONSE_HEADER" => CacheControlStrategy::SucceedWithResponseHeader,
                "SUCCEED_WITHOUT_RESPONSE_HEADER" => CacheControlStrategy::SucceedWithoutResponseHeader,
                _ => return Err(wrong(
                    "it must be one of [FAIL_WITH_403, SUCCEED_WITH_RESPONSE_HEADER, SUCCEED_WITHOUT_RESPONSE_HEADER]",
                )),
            }
        }
        _ => return Err(no_such_setting(path)),
    }
    Ok(())
}
