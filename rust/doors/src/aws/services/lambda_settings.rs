//! Lambda: how functions are invoked asynchronously, provisioned concurrency, and what is the same of every function here.

use forebay_engine::api::function::{ChangeAsynchronous, Update, UpdateAlias};
use forebay_engine::api::{queue, topic, Request};
use forebay_engine::base::error::EngineError;
use serde_json::{json, Map, Value as Json};

use crate::aws::call::Call;
use crate::aws::fault::Fault;
use crate::aws::services::lambda::{self, fault, moment, paged, Target};
use crate::aws::services::remembered::Setting;
use crate::aws::value::Value;

// ---- asynchronous invocation

/// The function or the version that is configured.
fn configured(call: &Call<'_>) -> Result<Target, Fault> {
    let target = lambda::function(call)?;
    match target.qualifier.as_deref() {
        None | Some("$LATEST") => Ok(Target { qualifier: None, ..target }),
        Some(number) if number.bytes().all(|digit| digit.is_ascii_digit()) => Ok(target),
        Some(alias) => Err(fault(EngineError::Invalid(format!(
            "Qualifier: the alias {alias} has no event invoke config of its own here; configure the function or a version"
        )))),
    }
}

async fn asynchronous(call: &Call<'_>, target: &Target, changes: Map<String, Json>) -> Result<Json, Fault> {
    let change = ChangeAsynchronous { name: target.qualified(), changes: changes.into() };
    let done = call.ask(Request::FunctionAsynchronous(change)).await;
    done.map_err(|error| lambda::function_fault(call, target, error))
}

/// A destination of this store by its ARN, as the engine names it.
async fn destination(call: &Call<'_>, arn: &str) -> Result<String, Fault> {
    let wrong = || {
        let text =
            format!("The destination ARN {arn} is invalid: a queue, a topic or a function of this app can be one.");
        fault(EngineError::Invalid(text))
    };
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let ["arn", "aws", service, region, account, name] = parts[..] else { return Err(wrong()) };
    if region != call.region || account != call.account {
        return Err(wrong());
    }
    let (kind, name, found) = match service {
        "sqs" => ("queue", name, call.ask(Request::QueueDescribe(queue::Named { name: name.into() })).await),
        "sns" => ("topic", name, call.ask(Request::TopicDescribe(topic::Named { name: name.into() })).await),
        "lambda" => {
            let name = name.strip_prefix("function:").ok_or_else(wrong)?;
            let target = Target { name: name.to_owned(), qualifier: None };
            lambda::described_function(call, &target).await?;
            return Ok(format!("function:{name}"));
        }
        _ => return Err(wrong()),
    };
    found.map_err(|_| wrong())?;
    Ok(format!("{kind}:{name}"))
}

/// An ARN out of what the engine names; a destination that only the app knows has none.
fn destination_arn(call: &Call<'_>, name: &str) -> Option<String> {
    let (kind, name) = name.split_once(':')?;
    let service = match kind {
        "queue" => "sqs",
        "topic" => "sns",
        "function" => return Some(lambda::function_arn(call, name)),
        _ => return None,
    };
    Some(format!("arn:aws:{service}:{}:{}:{name}", call.region, call.account))
}

/// What is changed. With `all`, what the input leaves out gets its default.
async fn changes(call: &Call<'_>, all: bool) -> Result<Map<String, Json>, Fault> {
    let input = &call.input;
    let mut changes = Map::new();
    if all {
        changes.extend(defaults().map(|(name, value)| (name.to_owned(), value)));
    }
    if let Some(retries) = input.int("MaximumRetryAttempts") {
        changes.insert("maximum_retry_attempts".into(), retries.into());
    }
    if let Some(seconds) = input.int("MaximumEventAgeInSeconds") {
        changes.insert("maximum_event_age_ms".into(), (seconds * 1000).into());
    }
    let given = input.get("DestinationConfig").cloned().unwrap_or_else(Value::structure);
    for (member, name) in [("OnSuccess", "on_success"), ("OnFailure", "on_failure")] {
        let Some(given) = given.get(member) else { continue };
        let told = match given.text("Destination") {
            Some(arn) if !arn.is_empty() => destination(call, arn).await?.into(),
            _ => Json::Null,
        };
        changes.insert(name.into(), told);
    }
    Ok(changes)
}

/// What holds where nothing is configured.
/// <https://docs.aws.amazon.com/lambda/latest/api/API_PutFunctionEventInvokeConfig.html>
fn defaults() -> [(&'static str, Json); 4] {
    [
        ("maximum_retry_attempts", json!(2)),
        ("maximum_event_age_ms", json!(21_600_000)),
        ("on_success", Json::Null),
        ("on_failure", Json::Null),
    ]
}

/// The settings of a function or a version, and when they were configured; none where neither a client nor the app's code did.
async fn known_config(call: &Call<'_>, target: &Target) -> Result<Option<(Json, i64)>, Fault> {
    let settings = asynchronous(call, target, Map::new()).await?;
    if let Some(set_ms) = call.remembered.set_ms(Setting::InvokeConfig, target.qualified()) {
        return Ok(Some((settings, set_ms)));
    }
    if defaults().iter().all(|(name, value)| settings["now"][name] == *value) {
        return Ok(None);
    }
    let described = lambda::described_function(call, target).await?;
    Ok(Some((settings, described["declared_ms"].as_i64().unwrap_or_default())))
}

fn not_configured(call: &Call<'_>, target: &Target) -> Fault {
    let arn = lambda::function_arn(call, &target.name);
    let qualifier = target.qualifier.as_deref().unwrap_or("$LATEST");
    fault(EngineError::NotFound(format!("The function {arn}:{qualifier} doesn't have an EventInvokeConfig")))
}

fn event_invoke_config(call: &Call<'_>, target: &Target, (settings, set_ms): (&Json, i64)) -> Value {
    let now = &settings["now"];
    let told = |name: &str| {
        let arn = now[name].as_str().and_then(|name| destination_arn(call, name));
        arn.map_or_else(Value::structure, |arn| Value::structure().with("Destination", arn))
    };
    let destinations = Value::structure().with("OnSuccess", told("on_success")).with("OnFailure", told("on_failure"));
    let arn = lambda::function_arn(call, &target.name);
    Value::structure()
        .with("LastModified", Value::Time(set_ms))
        .with("FunctionArn", format!("{arn}:{}", target.qualifier.as_deref().unwrap_or("$LATEST")))
        .with("MaximumRetryAttempts", now["maximum_retry_attempts"].as_i64())
        .with("MaximumEventAgeInSeconds", now["maximum_event_age_ms"].as_i64().map(|ms| ms / 1000))
        .with("DestinationConfig", destinations)
}

async fn change_event_invoke_config(call: &Call<'_>, all: bool) -> Result<Value, Fault> {
    let target = configured(call)?;
    if !all && known_config(call, &target).await?.is_none() {
        return Err(not_configured(call, &target));
    }
    let settings = asynchronous(call, &target, changes(call, all).await?).await?;
    let now_ms = call.now_ms();
    call.remembered.set(Setting::InvokeConfig, target.qualified(), Some(now_ms));
    Ok(event_invoke_config(call, &target, (&settings, now_ms)))
}

pub(super) async fn put_function_event_invoke_config(call: &Call<'_>) -> Result<Value, Fault> {
    change_event_invoke_config(call, true).await
}

pub(super) async fn update_function_event_invoke_config(call: &Call<'_>) -> Result<Value, Fault> {
    change_event_invoke_config(call, false).await
}

pub(super) async fn get_function_event_invoke_config(call: &Call<'_>) -> Result<Value, Fault> {
    let target = configured(call)?;
    let (settings, set_ms) = known_config(call, &target).await?.ok_or_else(|| not_configured(call, &target))?;
    Ok(event_invoke_config(call, &target, (&settings, set_ms)))
}

/// What the app declares holds again.
pub(super) async fn delete_function_event_invoke_config(call: &Call<'_>) -> Result<Value, Fault> {
    let target = configured(call)?;
    let (settings, _) = known_config(call, &target).await?.ok_or_else(|| not_configured(call, &target))?;
    let declared = settings["declared"].as_object().cloned().unwrap_or_default();
    asynchronous(call, &target, declared).await?;
    call.remembered.set(Setting::InvokeConfig, target.qualified(), None);
    Ok(Value::structure())
}

pub(super) async fn list_function_event_invoke_configs(call: &Call<'_>) -> Result<Value, Fault> {
    let name = lambda::function(call)?.name;
    let described = lambda::described_function(call, &Target { name: name.clone(), qualifier: None }).await?;
    let numbers = described["versions"].as_array().into_iter().flatten();
    let numbers = numbers.filter_map(|one| one["version"].as_str().map(str::to_owned));
    let mut qualifiers: Vec<String> = numbers.collect();
    qualifiers.sort_unstable();
    qualifiers.insert(0, "$LATEST".into());
    let (qualifiers, next) = paged(call, qualifiers, |one| one)?;
    let mut configs = Vec::new();
    for qualifier in qualifiers {
        let qualifier = Some(qualifier).filter(|one| one != "$LATEST");
        let target = Target { name: name.clone(), qualifier };
        if let Some((settings, set_ms)) = known_config(call, &target).await? {
            configs.push(event_invoke_config(call, &target, (&settings, set_ms)));
        }
    }
    Ok(Value::structure().with("FunctionEventInvokeConfigs", configs).with("NextMarker", next))
}

// ---- provisioned concurrency

/// Keep so many ready of a version or of an alias.
async fn provision(call: &Call<'_>, provisioned: i64) -> Result<(), Fault> {
    let target = lambda::function(call)?;
    let qualifier = target.qualifier.clone().unwrap_or_default();
    let changes = json!({"provisioned_concurrency": provisioned}).as_object().cloned().unwrap_or_default();
    let is_version = !qualifier.is_empty() && qualifier.bytes().all(|digit| digit.is_ascii_digit());
    let done = if is_version {
        let update = Update { name: target.qualified(), changes: changes.into() };
        call.ask(Request::FunctionUpdate(update)).await
    } else if qualifier == "$LATEST" || qualifier.is_empty() {
        let text = "Provisioned Concurrency Configs cannot be applied to unpublished function versions.";
        return Err(fault(EngineError::Invalid(text.into())));
    } else {
        let update = UpdateAlias { function: target.name.clone(), name: qualifier, changes: changes.into() };
        call.ask(Request::AliasUpdate(update)).await
    };
    done.map_err(|error| lambda::function_fault(call, &target, error))?;
    let set_ms = (provisioned > 0).then(|| call.now_ms());
    call.remembered.set(Setting::Provisioned, target.qualified(), set_ms);
    Ok(())
}

/// Whether an alias has provisioned a version of a function: what is set is the alias's then.
fn is_of_alias(function: &Json, version: &Json) -> bool {
    let number = version["version"].as_str().unwrap_or_default();
    let aliases = function["aliases"].as_array().into_iter().flatten();
    let mut giving = aliases.filter(|one| one["provisioned_concurrency"] != 0);
    giving.any(|one| one["version"] == number || one["weights"].get(number).is_some())
}

/// What is provisioned, how much of it is ready, and when it was set.
async fn provisioned(call: &Call<'_>, target: &Target) -> Result<Option<Value>, Fault> {
    let described = lambda::described_function(call, target).await?;
    let requested = described["provisioned_concurrency"].as_i64().unwrap_or_default();
    if requested == 0 {
        return Ok(None);
    }
    let unqualified = Target { name: target.name.clone(), qualifier: None };
    // What is ready for an alias is its version's.
    let version = if described["provisioned_ready"].is_null() {
        let qualifier = described["version"].as_str().map(str::to_owned);
        lambda::described_function(call, &Target { qualifier, ..unqualified }).await?
    } else if is_of_alias(&lambda::described_function(call, &unqualified).await?, &described) {
        return Ok(None);
    } else {
        described
    };
    let ready = version["provisioned_ready"].as_i64().unwrap_or_default();
    let set_ms = call.remembered.set_ms(Setting::Provisioned, target.qualified());
    let set_ms = set_ms.or(version["declared_ms"].as_i64()).unwrap_or_default();
    let status = if ready >= requested { "READY" } else { "IN_PROGRESS" };
    Ok(Some(
        Value::structure()
            .with("RequestedProvisionedConcurrentExecutions", requested)
            .with("AvailableProvisionedConcurrentExecutions", ready)
            .with("AllocatedProvisionedConcurrentExecutions", ready)
            .with("Status", status)
            .with("LastModified", moment(set_ms)),
    ))
}

fn not_provisioned() -> Fault {
    let text = "No Provisioned Concurrency Config found for this function";
    Fault::new("ProvisionedConcurrencyConfigNotFoundException", text).status(404).with("Type", "User")
}

pub(super) async fn put_provisioned_concurrency_config(call: &Call<'_>) -> Result<Value, Fault> {
    provision(call, call.input.int("ProvisionedConcurrentExecutions").unwrap_or_default()).await?;
    provisioned(call, &lambda::function(call)?).await?.ok_or_else(not_provisioned)
}

pub(super) async fn get_provisioned_concurrency_config(call: &Call<'_>) -> Result<Value, Fault> {
    provisioned(call, &lambda::function(call)?).await?.ok_or_else(not_provisioned)
}

pub(super) async fn delete_provisioned_concurrency_config(call: &Call<'_>) -> Result<Value, Fault> {
    provision(call, 0).await?;
    Ok(Value::structure())
}

pub(super) async fn list_provisioned_concurrency_configs(call: &Call<'_>) -> Result<Value, Fault> {
    let name = lambda::function(call)?.name;
    let described = lambda::described_function(call, &Target { name: name.clone(), qualifier: None }).await?;
    let named = |list: &str, field: &str| -> Vec<String> {
        let all = described[list].as_array().into_iter().flatten();
        all.filter_map(|one| one[field].as_str().map(str::to_owned)).collect()
    };
    let mut qualifiers = named("aliases", "name");
    qualifiers.extend(named("versions", "version"));
    qualifiers.sort_unstable();
    let (qualifiers, next) = paged(call, qualifiers, |one| one)?;
    let mut configs = Vec::new();
    for qualifier in qualifiers {
        let arn = format!("{}:{qualifier}", lambda::function_arn(call, &name));
        let target = Target { name: name.clone(), qualifier: Some(qualifier) };
        if let Some(config) = provisioned(call, &target).await? {
            configs.push(config.with("FunctionArn", arn));
        }
    }
    Ok(Value::structure().with("ProvisionedConcurrencyConfigs", configs).with("NextMarker", next))
}

// ---- what is the same of every function

/// A function that is there.
async fn existing(call: &Call<'_>) -> Result<Target, Fault> {
    let target = lambda::function(call)?;
    lambda::described_function(call, &target).await?;
    Ok(target)
}

/// Code is not signed here.
pub(super) async fn get_function_code_signing_config(call: &Call<'_>) -> Result<Value, Fault> {
    let target = existing(call).await?;
    Ok(Value::structure().with("CodeSigningConfigArn", "").with("FunctionName", target.name))
}

pub(super) async fn get_function_recursion_config(call: &Call<'_>) -> Result<Value, Fault> {
    existing(call).await?;
    Ok(Value::structure().with("RecursiveLoop", "Terminate"))
}

pub(super) async fn get_runtime_management_config(call: &Call<'_>) -> Result<Value, Fault> {
    let target = existing(call).await?;
    let arn = lambda::function_arn(call, &target.name);
    Ok(Value::structure().with("UpdateRuntimeOn", "Auto").with("FunctionArn", arn))
}

/// Whoever has a key may invoke: a function has no policy.
pub(super) async fn get_policy(call: &Call<'_>) -> Result<Value, Fault> {
    existing(call).await?;
    Err(fault(EngineError::NotFound("The resource you requested does not exist.".into())))
}
