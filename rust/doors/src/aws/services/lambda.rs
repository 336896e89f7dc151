//! Lambda: functions are invoked, described and limited.

use std::sync::Arc;
use std::time::Instant;

use forebay_engine::api::function::{Named, Update};
use forebay_engine::api::{Empty, Request};
use forebay_engine::base::error::{EngineError, Reply};
use forebay_engine::base::limits::REQUEST_BYTES_MAX;
use forebay_engine::base::trace::Origin;
use http::{HeaderName, HeaderValue};
use serde_json::{json, Map, Value as Json};

use crate::ask::answer;
use crate::aws::call::{unavailable, Call, Output};
use crate::aws::fault::Fault;
use crate::aws::model::TimeFormat;
use crate::aws::protocol::{event_stream, text_of_bytes, time};
use crate::aws::services::lambda_aliases::{create_alias, delete_alias, get_alias, list_aliases, update_alias};
use crate::aws::services::lambda_configurations::{list_tags, Known};
use crate::aws::services::lambda_mappings::{
    create_event_source_mapping, delete_event_source_mapping, get_event_source_mapping, list_event_source_mappings,
    update_event_source_mapping,
};
use crate::aws::services::lambda_settings::{
    delete_function_event_invoke_config, delete_provisioned_concurrency_config, get_function_code_signing_config,
    get_function_event_invoke_config, get_function_recursion_config, get_policy, get_provisioned_concurrency_config,
    get_runtime_management_config, list_function_event_invoke_configs, list_provisioned_concurrency_configs,
    put_function_event_invoke_config, put_provisioned_concurrency_config, update_function_event_invoke_config,
};
use crate::aws::services::lambda_urls::{
    create_function_url_config, delete_function_url_config, get_function_url_config, list_function_url_configs,
    update_function_url_config,
};
use crate::aws::services::page::{page, Token};
use crate::aws::services::{lambda_logs, lambda_states};
use crate::aws::value::Value;
use crate::http::listener::whole;

super::operations! {
    Invoke => invoke,
    GetFunction => get_function,
    GetFunctionConfiguration => get_function_configuration,
    ListFunctions => list_functions,
    ListVersionsByFunction => list_versions_by_function,
    PublishVersion => publish_version,
    CreateEventSourceMapping => create_event_source_mapping,
    GetEventSourceMapping => get_event_source_mapping,
    ListEventSourceMappings => list_event_source_mappings,
    UpdateEventSourceMapping => update_event_source_mapping,
    DeleteEventSourceMapping => delete_event_source_mapping,
    PutFunctionConcurrency => put_function_concurrency,
    GetFunctionConcurrency => get_function_concurrency,
    DeleteFunctionConcurrency => delete_function_concurrency,
    CreateAlias => create_alias,
    GetAlias => get_alias,
    ListAliases => list_aliases,
    UpdateAlias => update_alias,
    DeleteAlias => delete_alias,
    ListTags => list_tags,
    GetAccountSettings => get_account_settings,
    InvokeAsync => invoke_async,
    InvokeWithResponseStream => invoke_with_response_stream,
    PutFunctionEventInvokeConfig => put_function_event_invoke_config,
    UpdateFunctionEventInvokeConfig => update_function_event_invoke_config,
    GetFunctionEventInvokeConfig => get_function_event_invoke_config,
    DeleteFunctionEventInvokeConfig => delete_function_event_invoke_config,
    ListFunctionEventInvokeConfigs => list_function_event_invoke_configs,
    PutProvisionedConcurrencyConfig => put_provisioned_concurrency_config,
    GetProvisionedConcurrencyConfig => get_provisioned_concurrency_config,
    DeleteProvisionedConcurrencyConfig => delete_provisioned_concurrency_config,
    ListProvisionedConcurrencyConfigs => list_provisioned_concurrency_configs,
    GetFunctionCodeSigningConfig => get_function_code_signing_config,
    GetFunctionRecursionConfig => get_function_recursion_config,
    GetRuntimeManagementConfig => get_runtime_management_config,
    GetPolicy => get_policy,
    CreateFunctionUrlConfig => create_function_url_config,
    GetFunctionUrlConfig => get_function_url_config,
    UpdateFunctionUrlConfig => update_function_url_config,
    DeleteFunctionUrlConfig => delete_function_url_config,
    ListFunctionUrlConfigs => list_function_url_configs,
}

/// Items of a page.
pub(super) const PAGE: usize = 50;

/// An engine's refusal in Lambda's words.
pub(super) fn fault(error: EngineError) -> Fault {
    let named = |name: &str, text: String, status: u16| Fault::new(name, text).status(status).with("Type", "User");
    match error {
        EngineError::NotFound(text) => named("ResourceNotFoundException", text, 404),
        EngineError::Invalid(text) => named("InvalidParameterValueException", text, 400),
        EngineError::TooLarge(text) => named("RequestTooLargeException", text, 413),
        EngineError::Conflict(text) => named("ResourceConflictException", text, 409),
        EngineError::TooMany { message, reason, retry_after_ms } => Fault {
            retry_after_ms: Some(retry_after_ms),
            ..named("TooManyRequestsException", message, 429).with("Reason", reason)
        },
        error => unavailable(&error),
    }
}

/// A function by its name, and the version or the alias that was asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// Its name.
    pub(super) name: String,
    /// A version's number or an alias's name.
    pub(super) qualifier: Option<String>,
}

impl Target {
    /// As the engine names it.
    pub(super) fn qualified(&self) -> String {
        match &self.qualifier {
            Some(qualifier) => format!("{}:{qualifier}", self.name),
            None => self.name.clone(),
        }
    }
}

pub(super) fn function_arn(call: &Call<'_>, name: &str) -> String {
    format!("arn:aws:lambda:{}:{}:function:{name}", call.region, call.account)
}

/// The function that a name, an ARN or a part of one names, and the `Qualifier` beside it.
pub(super) fn function(call: &Call<'_>) -> Result<Target, Fault> {
    function_of(call, call.input.needed("FunctionName"), call.input.text("Qualifier"))
}

/// The same, with `$LATEST` where it was given: the function reads it in its ARN.
fn invoked_function(call: &Call<'_>) -> Result<Target, Fault> {
    asked_function(call, call.input.needed("FunctionName"), call.input.text("Qualifier"))
}

pub(super) fn function_of(call: &Call<'_>, given: &str, qualifier: Option<&str>) -> Result<Target, Fault> {
    let asked = asked_function(call, given, qualifier)?;
    Ok(Target { qualifier: asked.qualifier.filter(|qualifier| qualifier != "$LATEST"), ..asked })
}

fn asked_function(call: &Call<'_>, given: &str, qualifier: Option<&str>) -> Result<Target, Fault> {
    let missing = || {
        let arn = if given.starts_with("arn:") { given.to_owned() } else { function_arn(call, given) };
        let text = format!("Function not found: {arn}");
        fault(EngineError::NotFound(text))
    };
    let whole = format!("arn:aws:lambda:{}:{}:function:", call.region, call.account);
    let partial = format!("{}:function:", call.account);
    if let Some(region) = elsewhere(given, call.region) {
        let text = format!("Functions from '{region}' are not reachable in this region ('{}')", call.region);
        return Err(fault(EngineError::NotFound(text)));
    }
    let rest = given.strip_prefix(&whole).or_else(|| given.strip_prefix(&partial)).unwrap_or(given);
    let (name, own) = rest.split_once(':').map_or((rest, None), |(name, own)| (name, Some(own)));
    if rest.contains("function:") || rest.starts_with("arn:") {
        return Err(missing());
    }
    if let (Some(own), Some(qualifier)) = (own, qualifier) {
        if own != qualifier {
            let text = "The derived qualifier from the function name does not match the specified qualifier.";
            return Err(fault(EngineError::Invalid(text.into())));
        }
    }
    Ok(Target { name: name.to_owned(), qualifier: qualifier.or(own).map(str::to_owned) })
}

pub(super) async fn described_function(call: &Call<'_>, target: &Target) -> Result<Json, Fault> {
    let described = call.ask(Request::FunctionDescribe(Named { name: target.qualified() })).await;
    described.map_err(|error| function_fault(call, target, error))
}

pub(super) fn function_fault(call: &Call<'_>, target: &Target, error: EngineError) -> Fault {
    match error {
        EngineError::NotFound(_) => {
            let arn = function_arn(call, &target.qualified());
            fault(EngineError::NotFound(format!("Function not found: {arn}")))
        }
        error => fault(error),
    }
}

/// The region of a function's ARN, if it is another one than the app's.
fn elsewhere<'g>(given: &'g str, region: &str) -> Option<&'g str> {
    let rest = given.strip_prefix("arn:aws:lambda:")?;
    rest.split(':').next().filter(|other| *other != region)
}

async fn invoke(call: &Call<'_>) -> Result<Value, Fault> {
    let target = invoked_function(call)?;
    let input = &call.input;
    refuse_options(input)?;
    let payload = payload_of(input.blob("Payload"))?;
    match input.text("InvocationType").unwrap_or("RequestResponse") {
        "DryRun" => {
            described_function(call, &target).await?;
            Ok(Value::structure().with("StatusCode", 204_i64))
        }
        "Event" => {
            accept(call, &target, payload).await?;
            Ok(Value::structure().with("StatusCode", 202_i64))
        }
        _ => invoke_now(call, &target, payload).await,
    }
}

/// What an invocation cannot have here.
fn refuse_options(input: &Value) -> Result<(), Fault> {
    for (member, what) in [
        ("ClientContext", "handlers have no client context"),
        ("DurableExecutionName", "a durable function is started by its workflow (StartExecution)"),
        ("TenantId", "there are no tenants"),
    ] {
        if input.text(member).is_some() {
            return Err(fault(EngineError::Invalid(format!("{member}: {what} here"))));
        }
    }
    Ok(())
}

/// A payload that is JSON; an empty one is an empty object.
fn payload_of(given: Option<&[u8]>) -> Result<&[u8], Fault> {
    let payload = match given {
        None | Some([]) => &b"{}"[..],
        Some(payload) => payload,
    };
    if let Err(error) = serde_json::from_slice::<&serde_json::value::RawValue>(payload) {
        let text = format!("Could not parse request body into json: Could not parse payload into json: {error}");
        return Err(Fault::new("InvalidRequestContentException", text).with("Type", "User"));
    }
    Ok(payload)
}

/// Have a function run later. The answer bears the event's own id.
async fn accept(call: &Call<'_>, target: &Target, payload: &[u8]) -> Result<(), Fault> {
    let name = target.qualified();
    let done = answer(|waiter| call.engine.invoke_async(&name, payload, Origin::default(), waiter)).await;
    let done = match done {
        Ok(done) => done,
        Err(error) => return Err(lambda_states::refused(call, target, error).await),
    };
    if let Reply::Request(id) = done {
        call.name(Some(id));
    }
    Ok(())
}

async fn invoke_async(call: &Call<'_>) -> Result<Value, Fault> {
    let target = function(call)?;
    accept(call, &target, payload_of(call.input.blob("InvokeArgs"))?).await?;
    Ok(Value::structure().with("Status", 202_i64))
}

/// What a handler gives, as a stream of one piece and its end: handlers do not stream.
async fn invoke_with_response_stream(call: &Call<'_>) -> Result<Output, Fault> {
    let target = invoked_function(call)?;
    refuse_options(&call.input)?;
    let payload = payload_of(call.input.blob("Payload"))?;
    if call.input.text("InvocationType") == Some("DryRun") {
        described_function(call, &target).await?;
        return Ok(Value::structure().with("StatusCode", 204_i64).into());
    }
    let given = invoke_now(call, &target, payload).await?;
    let json = given.blob("Payload").unwrap_or_default();
    let (mut frames, mut end) = match given.text("FunctionError") {
        None => (event_stream::event("PayloadChunk", "application/octet-stream", json), json!({})),
        Some(error) => {
            let details = String::from_utf8_lossy(json);
            (Vec::new(), json!({"ErrorCode": error, "ErrorDetails": details}))
        }
    };
    if let Some(logs) = given.text("LogResult") {
        end["LogResult"] = logs.into();
    }
    frames.extend(event_stream::event("InvokeComplete", "application/json", end.to_string().as_bytes()));
    let version = given.text("ExecutedVersion").and_then(|version| HeaderValue::try_from(version).ok());
    let version = version.map(|version| (HeaderName::from_static("x-amz-executed-version"), version));
    Ok(Output::Stream(whole(frames), version))
}

async fn invoke_now(call: &Call<'_>, target: &Target, payload: &[u8]) -> Result<Value, Fault> {
    if payload.len() > REQUEST_BYTES_MAX {
        let text = format!("Request must be smaller than {REQUEST_BYTES_MAX} bytes for the InvokeFunction operation");
        return Err(fault(EngineError::TooLarge(text)));
    }
    let name = target.qualified();
    let payload: Arc<[u8]> = payload.into();
    let (is_tailed, begun) = (call.input.text("LogType") == Some("Tail"), Instant::now());
    let mut tail = None;
    let done = answer(|waiter| {
        let request = if is_tailed {
            tail = call.engine.invoke_tailed(&name, payload, waiter);
            tail.as_ref().map(|tail| tail.request)
        } else {
            call.engine.invoke(&name, payload, None, waiter)
        };
        call.name(request);
    })
    .await;
    let (json, version, failure) = match done {
        Ok(Reply::Executed { json, version }) => (json, version, None),
        Ok(Reply::Json(json) | Reply::Added(json)) => (json, "$LATEST".to_owned(), None),
        Ok(Reply::Numbers(_) | Reply::Request(_) | Reply::Assignments(_) | Reply::Typed(_)) => {
            (b"null".to_vec(), "$LATEST".to_owned(), None)
        }
        Err(EngineError::Function { payload, version, .. }) => (payload.into_bytes(), version, Some("Unhandled")),
        Err(error) => return Err(lambda_states::refused(call, target, error).await),
    };
    let lines = tail.map(|tail| {
        let error = failure.map(|_| &json[..]);
        let ended = lambda_logs::Ended { request: tail.request, version: &version, took: begun.elapsed(), error };
        text_of_bytes(&ended.tail(&tail.written()))
    });
    Ok(Value::structure()
        .with("StatusCode", 200_i64)
        .with("FunctionError", failure)
        .with("ExecutedVersion", version)
        .with("LogResult", lines)
        .with("Payload", Value::Blob(json)))
}

/// What is known of every function or version. What stacks know besides is added.
fn configuration(call: &Call<'_>, name: &str, qualifier: Option<&str>, described: &Json) -> Value {
    let arn = function_arn(call, name);
    let arn = qualifier.map_or(arn.clone(), |qualifier| format!("{arn}:{qualifier}"));
    let timeout = described["timeout_ms"].as_u64().map(|ms| (ms.div_ceil(1000).max(1)) as i64);
    Value::structure()
        .with("FunctionName", name)
        .with("FunctionArn", arn)
        .with("Timeout", timeout)
        .with("Version", described["version"].as_str().unwrap_or("$LATEST"))
}

/// A moment as Lambda writes it: `2026-01-31T12:00:00.123+0000`.
pub(super) fn moment(ms: i64) -> String {
    let fraction = ms.rem_euclid(1000);
    let whole = time::write(ms - fraction, TimeFormat::Iso);
    format!("{}.{fraction:03}+0000", whole.trim_end_matches('Z'))
}

/// A configuration with what the app's code says, where no template has said it.
fn declared(configuration: Value, described: &Json) -> Value {
    let is_missing = |name: &str| configuration.get(name).is_none();
    let memory = described["memory_mebibytes"].as_i64().filter(|_| is_missing("MemorySize"));
    let modified = described["declared_ms"].as_i64().filter(|_| is_missing("LastModified"));
    configuration.with("MemorySize", memory).with("LastModified", modified.map(moment))
}

/// A function's configuration, and what stacks know of it.
async fn configured(call: &Call<'_>) -> Result<(Value, Known), Fault> {
    let target = function(call)?;
    let state = lambda_states::of(call, &target.name).await;
    let described = match described_function(call, &target).await {
        Err(fault) if lambda_states::serves(&state) => return Err(fault),
        described => described.unwrap_or_default(),
    };
    // An alias tells which version it leads to, and nothing else.
    let described = match described["version"].as_str() {
        Some(version) if described["timeout_ms"].is_null() => {
            let version = Target { name: target.name.clone(), qualifier: Some(version.to_owned()) };
            described_function(call, &version).await.unwrap_or(described)
        }
        _ => described,
    };
    let configuration = configuration(call, &target.name, target.qualifier.as_deref(), &described);
    let known = Known::of(call, Some(&target.name)).await;
    Ok((lambda_states::with(declared(known.added_to(configuration, call), &described), &state), known))
}

async fn get_function_configuration(call: &Call<'_>) -> Result<Value, Fault> {
    Ok(configured(call).await?.0)
}

async fn get_function(call: &Call<'_>) -> Result<Value, Fault> {
    let target = function(call)?;
    let (configuration, known) = configured(call).await?;
    let tags = known.tags(&target.name);
    // One that is being made has no concurrency yet.
    let described = described_function(call, &Target { name: target.name, qualifier: None }).await.unwrap_or_default();
    let reserved = described["reserved_concurrency"].as_i64();
    let concurrency = reserved.map(|reserved| Value::structure().with("ReservedConcurrentExecutions", reserved));
    Ok(Value::structure().with("Configuration", configuration).with("Tags", tags).with("Concurrency", concurrency))
}

async fn list_functions(call: &Call<'_>) -> Result<Value, Fault> {
    if call.input.text("FunctionVersion").is_some() {
        let text = "FunctionVersion: functions are listed without their versions; ask for those of each (ListVersionsByFunction)";
        return Err(fault(EngineError::Invalid(text.into())));
    }
    let listed = call.ask(Request::FunctionList(Empty {})).await.map_err(fault)?;
    let mut functions: Vec<&Json> = listed.as_array().into_iter().flatten().collect();
    functions.retain(|one| one["name"].as_str().is_some_and(|name| !name.contains(':')));
    functions.sort_by_key(|one| one["name"].as_str().unwrap_or_default().to_owned());
    let (functions, next) = paged(call, functions, |one| one["name"].as_str().unwrap_or_default())?;
    let known = Known::of(call, None).await;
    let functions: Vec<Value> = functions
        .into_iter()
        .map(|one| (configuration(call, one["name"].as_str().unwrap_or_default(), None, one), one))
        .map(|(told, one)| declared(known.added_to(told, call), one))
        .map(|told| lambda_states::with(told, &Json::Null))
        .collect();
    Ok(Value::structure().with("Functions", functions).with("NextMarker", next))
}

/// A page by `Marker` and `MaxItems`.
pub(super) fn paged<T>(
    call: &Call<'_>,
    sorted: Vec<T>,
    name: impl Fn(&T) -> &str,
) -> Result<(Vec<T>, Option<String>), Fault> {
    let wrong = || fault(EngineError::Invalid("Invalid Marker".into()));
    let from = Token::read(call.input.text("Marker")).ok_or_else(wrong)?;
    let most = call.input.int("MaxItems").map_or(PAGE, |most| most.clamp(1, 10_000) as usize);
    Ok(page(sorted, most.min(PAGE), from, name))
}

async fn list_versions_by_function(call: &Call<'_>) -> Result<Value, Fault> {
    let target = Target { qualifier: None, ..function(call)? };
    let described = described_function(call, &target).await?;
    let mut versions: Vec<(String, &Json)> = vec![("$LATEST".into(), &described)];
    for version in described["versions"].as_array().into_iter().flatten() {
        versions.push((version["version"].as_str().unwrap_or_default().to_owned(), version));
    }
    // `$` stands before every digit; numbers are sorted as such within a page's order.
    let key = |number: &str| format!("{number:0>12}");
    let mut keyed: Vec<(String, String, &Json)> = versions
        .into_iter()
        .map(|(number, one)| (if number == "$LATEST" { number.clone() } else { key(&number) }, number, one))
        .collect();
    keyed.sort_by(|one, other| one.0.cmp(&other.0));
    let (keyed, next) = paged(call, keyed, |(key, ..)| key)?;
    let known = Known::of(call, Some(&target.name)).await;
    let versions: Vec<Value> = keyed
        .iter()
        .map(|(_, number, one)| (configuration(call, &target.name, Some(number), one), one))
        .map(|(told, one)| declared(known.added_to(told, call), one))
        .map(|told| lambda_states::with(told, &Json::Null))
        .collect();
    Ok(Value::structure().with("Versions", versions).with("NextMarker", next))
}

/// Refuse what forebay's functions or aliases do not have.
pub(super) fn refuse_unversioned(call: &Call<'_>, names: &[&str], what: &str) -> Result<(), Fault> {
    match names.iter().find(|name| call.input.get(name).is_some()) {
        Some(name) => Err(fault(EngineError::Invalid(format!("{name}: {what} of forebay have none; leave it out")))),
        None => Ok(()),
    }
}

/// Give the newest version that is what `$LATEST` is, as AWS does where nothing has changed since it was published. What else there is to
/// publish only the program knows.
async fn publish_version(call: &Call<'_>) -> Result<Value, Fault> {
    let target = function(call)?;
    if target.qualifier.is_some() {
        return Err(fault(EngineError::Invalid("Function qualifier is not allowed: $LATEST is published".into())));
    }
    refuse_unversioned(call, &["CodeSha256", "Description", "RevisionId", "PublishTo"], "functions")?;
    let described = described_function(call, &target).await?;
    let versions = described["versions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let Some(published) = versions.iter().rev().find(|version| version["is_latest"] == true) else {
        let name = &target.name;
        return Err(fault(EngineError::Conflict(format!(
            "no version of {name} has the handler and the settings of $LATEST. Versions belong to the program: publish one there \
             by publish_version(), and start it again"
        ))));
    };
    let known = Known::of(call, Some(&target.name)).await;
    let told = configuration(call, &target.name, published["version"].as_str(), published);
    Ok(lambda_states::with(declared(known.added_to(told, call), published), &Json::Null))
}

async fn change_reserved(call: &Call<'_>, reserved: Json) -> Result<Value, Fault> {
    let target = Target { qualifier: None, ..function(call)? };
    let changes: Map<String, Json> = json!({"reserved_concurrency": reserved}).as_object().cloned().unwrap_or_default();
    let update = Update { name: target.name.clone(), changes: changes.into() };
    let updated =
        call.ask(Request::FunctionUpdate(update)).await.map_err(|error| function_fault(call, &target, error))?;
    Ok(Value::structure().with("ReservedConcurrentExecutions", updated["reserved_concurrency"].as_i64()))
}

async fn put_function_concurrency(call: &Call<'_>) -> Result<Value, Fault> {
    change_reserved(call, call.input.int("ReservedConcurrentExecutions").into()).await
}

async fn delete_function_concurrency(call: &Call<'_>) -> Result<Value, Fault> {
    change_reserved(call, Json::Null).await?;
    Ok(Value::structure())
}

async fn get_function_concurrency(call: &Call<'_>) -> Result<Value, Fault> {
    let target = Target { qualifier: None, ..function(call)? };
    let described = described_function(call, &target).await?;
    Ok(Value::structure().with("ReservedConcurrentExecutions", described["reserved_concurrency"].as_i64()))
}

async fn get_account_settings(call: &Call<'_>) -> Result<Value, Fault> {
    let account = call.ask(Request::AccountDescribe(Empty {})).await.map_err(fault)?;
    let functions = call.ask(Request::FunctionList(Empty {})).await.map_err(fault)?;
    let listed = functions.as_array().into_iter().flatten();
    let names = listed.filter(|one| one["name"].as_str().is_some_and(|name| !name.contains(':'))).count();
    let concurrency = account["concurrency"].as_i64().unwrap_or_default();
    let reserved: i64 =
        functions.as_array().into_iter().flatten().filter_map(|one| one["reserved_concurrency"].as_i64()).sum();
    let limits = Value::structure()
        .with("ConcurrentExecutions", concurrency)
        .with("UnreservedConcurrentExecutions", (concurrency - reserved).max(0));
    let usage = Value::structure().with("FunctionCount", names);
    Ok(Value::structure().with("AccountLimit", limits).with("AccountUsage", usage))
}
