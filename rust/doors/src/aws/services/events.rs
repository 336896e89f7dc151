//! EventBridge: events are put, rules route them.

use std::collections::BTreeMap;

use forebay_core::schedule::RULE_REFUSAL;
use forebay_engine::api::bus::{EnableRule, Entry, Named, Put, PutRule, RuleNamed, RuleSettings, Target, TestPattern};
use forebay_engine::api::{Empty, Request};
use forebay_engine::base::error::EngineError;
use serde_json::{json, Value as Json};

use crate::aws::call::{unavailable, Call};
use crate::aws::fault::Fault;
use crate::aws::services::events_archives::{
    cancel_replay, create_archive, delete_archive, describe_archive, describe_replay, list_archives, list_replays,
    start_replay, update_archive,
};
use crate::aws::services::events_connections::{
    create_api_destination, create_connection, deauthorize_connection, delete_api_destination, delete_connection,
    describe_api_destination, describe_connection, list_api_destinations, list_connections, update_api_destination,
    update_connection,
};
use crate::aws::services::events_tags::{
    check_tags, list_tags_for_resource, policy_of, put_permission, remove_permission, tag_notes, tag_resource,
    untag_resource,
};
use crate::aws::services::kinesis;
use crate::aws::services::page::{page, Token};
use crate::aws::services::scheduler::message_group;
use crate::aws::value::{Fields, Key, Value};

super::operations! {
    PutEvents => put_events,
    PutRule => put_rule,
    DescribeRule => describe_rule,
    ListRules => list_rules,
    EnableRule => enable_rule,
    DisableRule => disable_rule,
    DeleteRule => delete_rule,
    PutTargets => put_targets,
    RemoveTargets => remove_targets,
    ListTargetsByRule => list_targets_by_rule,
    ListRuleNamesByTarget => list_rule_names_by_target,
    TestEventPattern => test_event_pattern,
    CreateEventBus => create_event_bus,
    DescribeEventBus => describe_event_bus,
    ListEventBuses => list_event_buses,
    UpdateEventBus => update_event_bus,
    DeleteEventBus => delete_event_bus,
    CreateArchive => create_archive,
    DescribeArchive => describe_archive,
    ListArchives => list_archives,
    UpdateArchive => update_archive,
    DeleteArchive => delete_archive,
    TagResource => tag_resource,
    UntagResource => untag_resource,
    ListTagsForResource => list_tags_for_resource,
    PutPermission => put_permission,
    RemovePermission => remove_permission,
    CreateConnection => create_connection,
    UpdateConnection => update_connection,
    DescribeConnection => describe_connection,
    ListConnections => list_connections,
    DeauthorizeConnection => deauthorize_connection,
    DeleteConnection => delete_connection,
    CreateApiDestination => create_api_destination,
    UpdateApiDestination => update_api_destination,
    DescribeApiDestination => describe_api_destination,
    ListApiDestinations => list_api_destinations,
    DeleteApiDestination => delete_api_destination,
    StartReplay => start_replay,
    DescribeReplay => describe_replay,
    ListReplays => list_replays,
    CancelReplay => cancel_replay,
}

/// Items of a page.
const PAGE: usize = 100;

/// What takes events: its service, what its ARN has before its name, and the engine's word for it.
const RECIPIENTS: [(&str, &str, &str); 7] = [
    ("lambda", "function:", "function"),
    ("sqs", "", "queue"),
    ("sns", "", "topic"),
    ("kinesis", "stream/", "stream"),
    ("events", "event-bus/", "bus"),
    ("states", "stateMachine:", "workflow"),
    ("events", "api-destination/", "api_destination"),
];

/// An engine's refusal in EventBridge's words.
pub(super) fn fault(error: EngineError) -> Fault {
    match error {
        EngineError::NotFound(text) => Fault::new("ResourceNotFoundException", text),
        EngineError::Invalid(text) if text.starts_with("The requested resource exceeds") => {
            Fault::new("LimitExceededException", text)
        }
        EngineError::Invalid(text) if text.contains("vent pattern") => Fault::new("InvalidEventPatternException", text),
        EngineError::Invalid(text) | EngineError::TooLarge(text) | EngineError::Conflict(text) => {
            Fault::validation(text)
        }
        EngineError::TooMany { message, retry_after_ms, .. } => {
            Fault { retry_after_ms: Some(retry_after_ms), ..Fault::new("ThrottlingException", message) }
        }
        error => unavailable(&error),
    }
}

fn refuse<T>(text: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::validation(text))
}

/// A request's settings out of the engine's own JSON: what it has besides keeps its default.
pub(super) fn settings<T: serde::de::DeserializeOwned>(json: Json) -> Result<T, Fault> {
    serde_json::from_value(json).map_err(|error| Fault::validation(error.to_string()))
}

/// The bus that a member names, by its name or its ARN.
pub(super) fn bus_of(call: &Call<'_>, given: Option<&str>) -> Result<String, Fault> {
    let given = given.unwrap_or("default");
    let prefix = format!("arn:aws:events:{}:{}:event-bus/", call.region, call.account);
    match given.strip_prefix(&prefix) {
        Some(name) => Ok(name.to_owned()),
        None if given.starts_with("arn:") => {
            Err(Fault::new("ResourceNotFoundException", format!("Event bus {given} does not exist.")))
        }
        None => Ok(given.to_owned()),
    }
}

fn named_bus(call: &Call<'_>) -> Result<String, Fault> {
    bus_of(call, call.input.text("EventBusName"))
}

async fn described_rule(call: &Call<'_>, member: &str) -> Result<(RuleNamed, Json), Fault> {
    let named = RuleNamed { bus: named_bus(call)?, name: call.input.needed(member).to_owned() };
    let rule = call.ask(Request::RuleDescribe(named.clone())).await.map_err(|error| rule_fault(&named, error))?;
    Ok((named, rule))
}

/// What an ARN names, as the engine names it: `{"queue": "orders"}`.
pub(super) fn recipient(call: &Call<'_>, arn: &str) -> Result<(&'static str, String), Fault> {
    let place = format!("{}:{}", call.region, call.account);
    for (service, kind, key) in RECIPIENTS {
        if let Some(name) = arn.strip_prefix(&format!("arn:aws:{service}:{place}:{kind}")) {
            // On AWS the ARN of an API destination ends in an id.
            let name = if key == "api_destination" { name.split('/').next().unwrap_or(name) } else { name };
            return Ok((key, if key == "stream" { kinesis::not_a_group(call, name)? } else { name.to_owned() }));
        }
    }
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    if let ["arn", "aws", service, region, account, _] = parts[..] {
        let is_here = region == call.region && account == call.account;
        if service == "scheduler" || is_here && RECIPIENTS.iter().all(|(own, ..)| *own != service) {
            let text = "forebay has no such targets: functions, queues, topics, streams, buses, state machines and API destinations are some. A function can make any call";
            return refuse(format!("Parameter {arn} is not valid. Reason: {text}."));
        }
    }
    refuse(format!("Parameter {arn} is not valid. Reason: Provided Arn is not in correct format."))
}

/// The ARN of what the engine names.
pub(super) fn recipient_arn(call: &Call<'_>, given: &Json) -> String {
    let place = format!("{}:{}", call.region, call.account);
    for (service, kind, key) in RECIPIENTS {
        if let Some(name) = given[key].as_str() {
            return format!("arn:aws:{service}:{place}:{kind}{name}");
        }
    }
    String::new()
}

pub(super) fn queue_arn(call: &Call<'_>, name: Option<&str>) -> Option<String> {
    name.map(|name| format!("arn:aws:sqs:{}:{}:{name}", call.region, call.account))
}

pub(super) fn rule_fault(named: &RuleNamed, error: EngineError) -> Fault {
    match error {
        EngineError::NotFound(_) => Fault::new(
            "ResourceNotFoundException",
            format!("Rule {} does not exist on EventBus {}.", named.name, named.bus),
        ),
        error => fault(error),
    }
}

/// Events for one bus each are put in one commit; the answers keep the order of the entries.
async fn put_events(call: &Call<'_>) -> Result<Value, Fault> {
    let mut by_bus: Vec<(String, Vec<usize>, Vec<Entry>)> = Vec::new();
    let given = call.input.list("Entries");
    for (at, one) in given.iter().enumerate() {
        let bus = bus_of(call, one.text("EventBusName"))?;
        let text = |name: &str| one.text(name).unwrap_or_default().to_owned();
        let entry = Entry {
            source: text("Source"),
            detail_type: text("DetailType"),
            detail: text("Detail"),
            resources: one.texts("Resources").map(str::to_owned).collect(),
            time_ms: one.time("Time").map(|time| time.max(0) as u64),
        };
        match by_bus.iter_mut().find(|(name, ..)| *name == bus) {
            Some((_, places, entries)) => {
                places.push(at);
                entries.push(entry);
            }
            None => by_bus.push((bus, vec![at], vec![entry])),
        }
    }
    let mut results = vec![Value::Null; given.len()];
    let is_one = by_bus.len() == 1;
    for (bus, places, entries) in by_bus {
        let put = Put { bus, entries, may_be_dropped: true, parent: None, trace: None };
        let answered = match call.ask(Request::BusPut(put)).await {
            Ok(answered) => answered,
            Err(error) if is_one => return Err(fault(error)),
            // What other buses were given stays: each entry of this one is told.
            Err(error) => {
                let refused = fault(error);
                let told = Value::structure().with("ErrorCode", refused.name).with("ErrorMessage", refused.message);
                for place in places {
                    results[place] = told.clone();
                }
                continue;
            }
        };
        for (place, one) in places.into_iter().zip(answered.as_array().into_iter().flatten()) {
            results[place] = Value::structure()
                .with("EventId", one["event_id"].as_str())
                .with("ErrorCode", one["error_code"].as_str())
                .with("ErrorMessage", one["error_message"].as_str());
        }
    }
    let failed = results.iter().filter(|result| result.text("ErrorCode").is_some()).count();
    Ok(Value::structure().with("FailedEntryCount", failed).with("Entries", results))
}

async fn put_rule(call: &Call<'_>) -> Result<Value, Fault> {
    let input = &call.input;
    let (bus, name) = (named_bus(call)?, input.needed("Name").to_owned());
    let existing = call.ask(Request::RuleDescribe(RuleNamed { bus: bus.clone(), name: name.clone() })).await;
    let targets = existing.as_ref().map_or_else(|_| json!([]), |rule| rule["targets"].clone());
    let rule: RuleSettings = settings(json!({
        "pattern": input.text("EventPattern").unwrap_or_default(),
        "schedule_expression": input.text("ScheduleExpression"),
        "description": input.text("Description").unwrap_or_default(),
        "enabled": input.text("State") != Some("DISABLED"),
        "role": input.text("RoleArn"),
        "targets": targets,
    }))?;
    // Those of a rule that exists stay, as on AWS.
    let tags = if existing.is_ok() { BTreeMap::new() } else { tag_notes(input.list("Tags")) };
    check_tags(&Json::Null, &tags)?;
    let instead_of = existing.ok().map(settings).transpose()?;
    let put = PutRule { bus, name, instead_of, notes: tags, settings: rule };
    let put = call.ask(Request::RulePut(put)).await.map_err(rule_refused)?;
    Ok(Value::structure().with("RuleArn", put["arn"].as_str()))
}

/// AWS does not say what is wrong with a schedule.
fn rule_refused(error: EngineError) -> Fault {
    match error {
        EngineError::Conflict(text) => Fault::new("ConcurrentModificationException", text),
        EngineError::Invalid(text) if text.starts_with(RULE_REFUSAL) => Fault::validation(RULE_REFUSAL),
        error => fault(error),
    }
}

fn rule(given: &Json) -> Value {
    let description = given["description"].as_str().filter(|text| !text.is_empty());
    Value::structure()
        .with("Name", given["name"].as_str())
        .with("Arn", given["arn"].as_str())
        .with("EventPattern", given["pattern"].as_str().filter(|text| !text.is_empty()))
        .with("ScheduleExpression", given["schedule_expression"].as_str())
        .with("State", if given["enabled"] == true { "ENABLED" } else { "DISABLED" })
        .with("Description", description)
        .with("RoleArn", given["role"].as_str())
        .with("EventBusName", given["bus"].as_str())
}

async fn describe_rule(call: &Call<'_>) -> Result<Value, Fault> {
    let (_, given) = described_rule(call, "Name").await?;
    Ok(rule(&given).with("CreatedBy", call.account))
}

async fn rules(call: &Call<'_>) -> Result<Vec<Json>, Fault> {
    let listed = call.ask(Request::RuleList(Named { name: named_bus(call)? })).await.map_err(fault)?;
    let Json::Array(mut rules) = listed else { return Ok(Vec::new()) };
    rules.sort_by_key(|one| one["name"].as_str().unwrap_or_default().to_owned());
    Ok(rules)
}

/// A page by `NextToken` and `Limit`.
pub(super) fn paged<T>(
    call: &Call<'_>,
    sorted: Vec<T>,
    name: impl Fn(&T) -> &str,
) -> Result<(Vec<T>, Option<String>), Fault> {
    let from = Token::read(call.input.text("NextToken")).ok_or_else(|| Fault::validation("NextToken is invalid."))?;
    let most = call.input.int("Limit").map_or(PAGE, |most| most.clamp(1, PAGE as i64) as usize);
    Ok(page(sorted, most, from, name))
}

async fn list_rules(call: &Call<'_>) -> Result<Value, Fault> {
    let prefix = call.input.text("NamePrefix").unwrap_or_default();
    let mut listed = rules(call).await?;
    listed.retain(|one| one["name"].as_str().is_some_and(|name| name.starts_with(prefix)));
    let (listed, next) = paged(call, listed, |one| one["name"].as_str().unwrap_or_default())?;
    let listed: Vec<Value> = listed.iter().map(rule).collect();
    Ok(Value::structure().with("Rules", listed).with("NextToken", next))
}

async fn enable(call: &Call<'_>, enabled: bool) -> Result<Value, Fault> {
    let (named, _) = described_rule(call, "Name").await?;
    let RuleNamed { bus, name } = named;
    call.ask(Request::RuleEnable(EnableRule { bus, name, enabled })).await.map_err(fault)?;
    Ok(Value::structure())
}

async fn enable_rule(call: &Call<'_>) -> Result<Value, Fault> {
    enable(call, true).await
}

async fn disable_rule(call: &Call<'_>) -> Result<Value, Fault> {
    enable(call, false).await
}

async fn delete_rule(call: &Call<'_>) -> Result<Value, Fault> {
    // A rule that is not there is deleted, as on AWS; one with targets is not.
    let Ok((named, rule)) = described_rule(call, "Name").await else { return Ok(Value::structure()) };
    if rule["targets"].as_array().is_some_and(|targets| !targets.is_empty()) {
        return refuse("Rule can't be deleted since it has targets.");
    }
    call.ask(Request::RuleDelete(named)).await.map_err(fault)?;
    Ok(Value::structure())
}

/// A target as the engine has it.
fn target_of(call: &Call<'_>, given: &Value) -> Result<Target, Fault> {
    let known = [
        "Id",
        "Arn",
        "RoleArn",
        "Input",
        "InputPath",
        "InputTransformer",
        "KinesisParameters",
        "SqsParameters",
        "DeadLetterConfig",
        "RetryPolicy",
        "HttpParameters",
    ];
    if let Value::Map(fields) = given {
        if let Some((other, _)) = fields.iter().find(|(name, _)| !known.contains(&name.as_ref())) {
            return refuse(format!("{other}: forebay's targets do not have it"));
        }
    }
    let (kind, name) = recipient(call, given.needed("Arn"))?;
    let dead_letters = given.get("DeadLetterConfig").and_then(|config| config.text("Arn"));
    let dead_letters = dead_letters.map(|arn| recipient(call, arn).map(|(_, name)| name)).transpose()?;
    let transformer = given.get("InputTransformer").map(|transformer| {
        let paths = transformer.entries("InputPathsMap").iter();
        let paths: Vec<(String, String)> = paths
            .map(|(name, path)| (name.clone().into_owned(), path.as_text().unwrap_or_default().to_owned()))
            .collect();
        json!({"paths": paths, "template": transformer.needed("InputTemplate")})
    });
    let mut json = json!({
        "id": given.needed("Id"),
        "group_id": message_group(given, kind, &name)?,
        "partition_key_path": given.get("KinesisParameters").and_then(|one| one.text("PartitionKeyPath")),
        "input": given.text("Input"),
        "input_path": given.text("InputPath"),
        "input_transformer": transformer,
        "dead_letter_queue": dead_letters,
        "role": given.text("RoleArn"),
    });
    if let Some(policy) = given.get("RetryPolicy") {
        json["maximum_retry_attempts"] = policy.int("MaximumRetryAttempts").into();
        json["maximum_event_age_ms"] = policy.int("MaximumEventAgeInSeconds").map(|seconds| seconds * 1000).into();
    }
    if let Some(http) = given.get("HttpParameters") {
        let texts = |member: &str| -> serde_json::Map<String, Json> {
            let entries = http.entries(member).iter();
            entries.filter_map(|(name, text)| Some((name.to_string(), text.as_text()?.into()))).collect()
        };
        json["http_parameters"] = json!({
            "path_parameter_values": http.texts("PathParameterValues").collect::<Vec<_>>(),
            "header_parameters": texts("HeaderParameters"),
            "query_string_parameters": texts("QueryStringParameters"),
        });
    }
    json[kind] = name.into();
    settings(json)
}

fn target(call: &Call<'_>, given: &Json) -> Value {
    let transformer = given["input_transformer"].as_object().map(|transformer| {
        let paths = transformer.get("paths").and_then(Json::as_array).into_iter().flatten();
        let paths: Fields = paths
            .map(|pair| {
                let text = |at: usize| pair[at].as_str().unwrap_or_default().to_owned();
                (Key::Owned(text(0)), text(1).into())
            })
            .collect();
        let template = transformer.get("template").and_then(Json::as_str);
        Value::structure().with("InputPathsMap", Value::Map(paths)).with("InputTemplate", template)
    });
    let one = |name: &'static str, text: Option<&str>| text.map(|text| Value::structure().with(name, text));
    let (attempts, age_ms) = (given["maximum_retry_attempts"].as_i64(), given["maximum_event_age_ms"].as_i64());
    let retry = (attempts.is_some() || age_ms.is_some()).then(|| {
        let retry = Value::structure().with("MaximumRetryAttempts", attempts);
        retry.with("MaximumEventAgeInSeconds", age_ms.map(|age_ms| age_ms / 1000))
    });
    Value::structure()
        .with("RetryPolicy", retry)
        .with(
            "HttpParameters",
            given["http_parameters"].as_object().map(|_| http_parameters(&given["http_parameters"])),
        )
        .with("Id", given["id"].as_str())
        .with("Arn", recipient_arn(call, given))
        .with("RoleArn", given["role"].as_str())
        .with("Input", given["input"].as_str())
        .with("InputPath", given["input_path"].as_str())
        .with("InputTransformer", transformer)
        .with("KinesisParameters", one("PartitionKeyPath", given["partition_key_path"].as_str()))
        .with("SqsParameters", one("MessageGroupId", given["group_id"].as_str()))
        .with("DeadLetterConfig", one("Arn", queue_arn(call, given["dead_letter_queue"].as_str()).as_deref()))
}

fn http_parameters(given: &Json) -> Value {
    let values = given["path_parameter_values"].as_array().into_iter().flatten();
    let values: Vec<Value> = values.filter_map(|one| one.as_str().map(Value::from)).collect();
    let entries = |member: &str| {
        let entries = given[member].as_object().into_iter().flatten();
        let fields: Fields =
            entries.map(|(name, text)| (Key::Owned(name.clone()), text.as_str().unwrap_or_default().into())).collect();
        (!fields.is_empty()).then_some(Value::Map(fields))
    };
    Value::structure()
        .with("PathParameterValues", (!values.is_empty()).then_some(values))
        .with("HeaderParameters", entries("header_parameters"))
        .with("QueryStringParameters", entries("query_string_parameters"))
}

async fn put_rule_again(call: &Call<'_>, named: RuleNamed, mut rule: Json, targets: Json) -> Result<(), Fault> {
    // Somebody else may have changed the rule since it was described: that change must not be lost.
    let instead_of = Some(settings(rule.clone())?);
    rule["targets"] = targets;
    let RuleNamed { bus, name } = named;
    let put = PutRule { bus, name, instead_of, notes: BTreeMap::new(), settings: settings(rule)? };
    call.ask(Request::RulePut(put)).await.map_err(rule_refused)?;
    Ok(())
}

async fn put_targets(call: &Call<'_>) -> Result<Value, Fault> {
    let (named, rule) = described_rule(call, "Rule").await?;
    let mut targets = rule["targets"].as_array().cloned().unwrap_or_default();
    for given in call.input.list("Targets") {
        let target = json!(target_of(call, given)?);
        match targets.iter_mut().find(|one| one["id"] == target["id"]) {
            Some(one) => *one = target,
            None => targets.push(target),
        }
    }
    put_rule_again(call, named, rule, targets.into()).await?;
    Ok(Value::structure().with("FailedEntryCount", 0_i64).with("FailedEntries", Value::List(Vec::new())))
}

async fn remove_targets(call: &Call<'_>) -> Result<Value, Fault> {
    let (named, rule) = described_rule(call, "Rule").await?;
    let ids: Vec<&str> = call.input.texts("Ids").collect();
    let mut targets = rule["targets"].as_array().cloned().unwrap_or_default();
    targets.retain(|one| !one["id"].as_str().is_some_and(|id| ids.contains(&id)));
    put_rule_again(call, named, rule, targets.into()).await?;
    Ok(Value::structure().with("FailedEntryCount", 0_i64).with("FailedEntries", Value::List(Vec::new())))
}

async fn list_targets_by_rule(call: &Call<'_>) -> Result<Value, Fault> {
    let (_, rule) = described_rule(call, "Rule").await?;
    let mut targets: Vec<&Json> = rule["targets"].as_array().into_iter().flatten().collect();
    targets.sort_by_key(|one| one["id"].as_str().unwrap_or_default().to_owned());
    let (targets, next) = paged(call, targets, |one| one["id"].as_str().unwrap_or_default())?;
    let targets: Vec<Value> = targets.into_iter().map(|one| target(call, one)).collect();
    Ok(Value::structure().with("Targets", targets).with("NextToken", next))
}

async fn list_rule_names_by_target(call: &Call<'_>) -> Result<Value, Fault> {
    let arn = call.input.needed("TargetArn");
    let has_target = |rule: &Json| {
        rule["targets"].as_array().is_some_and(|targets| targets.iter().any(|one| recipient_arn(call, one) == arn))
    };
    let listed: Vec<Json> = rules(call).await?.into_iter().filter(has_target).collect();
    let (listed, next) = paged(call, listed, |one| one["name"].as_str().unwrap_or_default())?;
    let names: Vec<String> = listed.iter().filter_map(|one| one["name"].as_str().map(str::to_owned)).collect();
    Ok(Value::structure().with("RuleNames", names).with("NextToken", next))
}

async fn test_event_pattern(call: &Call<'_>) -> Result<Value, Fault> {
    let text = |name: &str| call.input.needed(name).to_owned();
    let asked = TestPattern { pattern: text("EventPattern"), event: text("Event"), whole: true };
    let tested = call.ask_aside(Request::BusTest(asked)).await?.map_err(fault)?;
    Ok(Value::structure().with("Result", tested["matches"].as_bool()))
}

async fn create_event_bus(call: &Call<'_>) -> Result<Value, Fault> {
    let name = call.input.needed("Name").to_owned();
    let existing = || Fault::new("ResourceAlreadyExistsException", format!("Event bus {name} already exists."));
    if call.ask(Request::BusDescribe(Named { name: name.clone() })).await.is_ok() {
        return Err(existing());
    }
    refuse_unknown(call)?;
    let tags = tag_notes(call.input.list("Tags"));
    check_tags(&Json::Null, &tags)?;
    let described = call.input.text("Description");
    let declare = settings(json!({"name": name, "description": described, "notes": tags, "only_new": true}))?;
    let bus = call.ask(Request::BusDeclare(declare)).await.map_err(|error| match error {
        EngineError::Conflict(_) => existing(),
        error => fault(error),
    })?;
    Ok(Value::structure().with("EventBusArn", bus["arn"].as_str()).with("Description", described))
}

fn refuse_unknown(call: &Call<'_>) -> Result<(), Fault> {
    for member in ["KmsKeyIdentifier", "EventSourceName"] {
        if call.input.text(member).is_some_and(|text| !text.is_empty()) {
            return refuse(format!("{member}: forebay's buses do not have it; leave it out"));
        }
    }
    for member in ["DeadLetterConfig", "LogConfig"] {
        if call.input.get(member).is_some() {
            return refuse(format!("{member}: forebay's buses do not have it; leave it out"));
        }
    }
    Ok(())
}

async fn update_event_bus(call: &Call<'_>) -> Result<Value, Fault> {
    refuse_unknown(call)?;
    let name = bus_of(call, call.input.text("Name"))?;
    let described = call.ask(Request::BusDescribe(Named { name: name.clone() })).await;
    described.map_err(|error| no_bus(&name, error))?;
    let declare = settings(json!({"name": name, "description": call.input.text("Description")}))?;
    let bus = call.ask(Request::BusDeclare(declare)).await.map_err(fault)?;
    Ok(Value::structure()
        .with("Arn", bus["arn"].as_str())
        .with("Name", bus["name"].as_str())
        .with("Description", bus["description"].as_str().filter(|text| !text.is_empty())))
}

fn shown_bus(given: &Json) -> Value {
    Value::structure()
        .with("Name", given["name"].as_str())
        .with("Arn", given["arn"].as_str())
        .with("Description", given["description"].as_str().filter(|text| !text.is_empty()))
        .with("Policy", policy_of(given))
        .with("CreationTime", given["created_ms"].as_i64().map_or(Value::Null, Value::Time))
        .with("LastModifiedTime", given["created_ms"].as_i64().map_or(Value::Null, Value::Time))
}

/// A refusal, in AWS's words where it is that there is no such bus.
pub(super) fn no_bus(name: &str, error: EngineError) -> Fault {
    match error {
        EngineError::NotFound(_) => {
            Fault::new("ResourceNotFoundException", format!("Event bus {name} does not exist."))
        }
        error => fault(error),
    }
}

async fn describe_event_bus(call: &Call<'_>) -> Result<Value, Fault> {
    let name = bus_of(call, call.input.text("Name"))?;
    let described = call.ask(Request::BusDescribe(Named { name: name.clone() })).await;
    Ok(shown_bus(&described.map_err(|error| no_bus(&name, error))?))
}

async fn list_event_buses(call: &Call<'_>) -> Result<Value, Fault> {
    let listed = call.ask(Request::BusList(Empty {})).await.map_err(fault)?;
    let prefix = call.input.text("NamePrefix").unwrap_or_default();
    let mut buses: Vec<&Json> = listed.as_array().into_iter().flatten().collect();
    buses.retain(|one| one["name"].as_str().is_some_and(|name| name.starts_with(prefix)));
    buses.sort_by_key(|one| one["name"].as_str().unwrap_or_default().to_owned());
    let (buses, next) = paged(call, buses, |one| one["name"].as_str().unwrap_or_default())?;
    let buses: Vec<Value> = buses.into_iter().map(shown_bus).collect();
    Ok(Value::structure().with("EventBuses", buses).with("NextToken", next))
}

async fn delete_event_bus(call: &Call<'_>) -> Result<Value, Fault> {
    let name = bus_of(call, call.input.text("Name"))?;
    match call.ask(Request::BusDelete(Named { name: name.clone() })).await {
        Ok(_) | Err(EngineError::NotFound(_)) => Ok(Value::structure()),
        Err(EngineError::Conflict(text)) if text.contains(" rule") => {
            Err(Fault::validation(format!("Cannot delete event bus {name} since it has rules.")))
        }
        Err(error) => Err(fault(error)),
    }
}
