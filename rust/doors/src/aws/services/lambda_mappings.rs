//! Lambda: event source mappings, by UUIDs that follow from what a mapping binds.

use forebay_engine::api::logs::GROUP;
use forebay_engine::api::mapping::{
    Backoff, BySource, DeclareOnQueue, DeclareOnStream, OnQueue, OnStream, QueueSettings, StreamSettings,
    UpdateOnQueue, UpdateOnStream,
};
use forebay_engine::api::stream::StartingPosition;
use forebay_engine::api::{Empty, Request};
use forebay_engine::base::error::EngineError;
use forebay_engine::base::ids::uuid_text;
use md5::{Digest, Md5};
use serde_json::{Map, Value as Json};

use crate::aws::call::Call;
use crate::aws::fault::Fault;
use crate::aws::services::lambda::{self, fault, paged, Target};
use crate::aws::services::lambda_states;
use crate::aws::value::Value;

fn invalid(text: impl Into<String>) -> Fault {
    fault(EngineError::Invalid(text.into()))
}

/// What a mapping reads.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Source {
    Stream(String),
    Queue(String),
}

fn source_of_arn(call: &Call<'_>, arn: &str) -> Result<Source, Fault> {
    let within = |service: &str, kind: &str| {
        let prefix = format!("arn:aws:{service}:{}:{}:{kind}", call.region, call.account);
        arn.strip_prefix(&prefix).filter(|name| !name.is_empty()).map(str::to_owned)
    };
    // A log group is a stream of the store, and none of Kinesis's.
    let stream = within("kinesis", "stream/").filter(|name| !name.starts_with(GROUP)).map(Source::Stream);
    stream.or_else(|| within("sqs", "").map(Source::Queue)).ok_or_else(|| invalid("Unrecognized event source."))
}

fn source_arn(call: &Call<'_>, source: &Source) -> String {
    match source {
        Source::Stream(name) => format!("arn:aws:kinesis:{}:{}:stream/{name}", call.region, call.account),
        Source::Queue(name) => format!("arn:aws:sqs:{}:{}:{name}", call.region, call.account),
    }
}

/// A mapping's UUID: a queue or a stream is bound to a function once.
fn mapping_uuid(call: &Call<'_>, source: &Source, function: &str) -> String {
    let text = format!("{} {function}", source_arn(call, source));
    let sum: [u8; 16] = Md5::digest(text.as_bytes()).into();
    uuid_text(u128::from_be_bytes(sum) & !(0xF << 76) & !(0x3 << 62) | (0x3 << 76) | (0x2 << 62))
}

async fn mappings(call: &Call<'_>) -> Result<Vec<Found>, Fault> {
    let listed = call.ask(Request::MappingList(Empty {})).await.map_err(fault)?;
    let Json::Array(listed) = listed else { return Ok(Vec::new()) };
    Ok(listed.into_iter().filter_map(|given| Found::of(call, given)).collect())
}

async fn mapping(call: &Call<'_>) -> Result<Found, Fault> {
    let uuid = call.input.needed("UUID");
    let found = mappings(call).await?.into_iter().find(|one| one.uuid == uuid);
    found.ok_or_else(|| fault(EngineError::NotFound("The resource you requested does not exist.".into())))
}

/// A mapping that there is.
struct Found {
    uuid: String,
    source: Source,
    function: String,
    given: Json,
}

impl Found {
    fn of(call: &Call<'_>, given: Json) -> Option<Self> {
        let text = |name: &str| given[name].as_str().map(str::to_owned);
        let source = text("queue").map(Source::Queue).or_else(|| text("stream").map(Source::Stream))?;
        let function = text("function")?;
        Some(Self { uuid: mapping_uuid(call, &source, &function), source, function, given })
    }

    /// As Lambda shows it; `state` where it is about to change.
    fn shown(&self, call: &Call<'_>, state: Option<&str>) -> Value {
        let given = &self.given;
        let seconds = |name: &str| given[name].as_i64().map(|ms| if ms < 0 { -1 } else { ms / 1000 });
        let own = if given["state"] == "Enabled" { "Enabled" } else { "Disabled" };
        let reports = given["report_batch_item_failures"] == true;
        let filters = given["filters"].as_array().into_iter().flatten();
        let filters: Vec<Value> = filters.map(|text| Value::structure().with("Pattern", text.as_str())).collect();
        let mut shown = Value::structure()
            .with("UUID", self.uuid.as_str())
            .with("EventSourceArn", source_arn(call, &self.source))
            .with("FunctionArn", lambda::function_arn(call, &self.function))
            .with("State", state.unwrap_or(own))
            .with("BatchSize", given["batch_size"].as_i64())
            .with("MaximumBatchingWindowInSeconds", seconds("maximum_batching_window_ms"))
            .with(
                "FunctionResponseTypes",
                if reports { vec!["ReportBatchItemFailures".to_owned()] } else { Vec::new() },
            )
            .with("LastProcessingResult", given["last_result"].as_str());
        if !filters.is_empty() {
            shown = shown.with("FilterCriteria", Value::structure().with("Filters", filters));
        }
        match &self.source {
            Source::Queue(_) => {
                let most = given["maximum_concurrency"].as_i64();
                let scaling = most.map(|most| Value::structure().with("MaximumConcurrency", most));
                shown.with("StateTransitionReason", "USER_INITIATED").with("ScalingConfig", scaling)
            }
            Source::Stream(_) => shown
                .with("StateTransitionReason", "User action")
                .with("StartingPosition", given["starting_position"].as_str())
                .with(
                    "StartingPositionTimestamp",
                    given["starting_position_timestamp_ms"].as_i64().map_or(Value::Null, Value::Time),
                )
                .with("ParallelizationFactor", given["parallelization_factor"].as_i64())
                .with("MaximumRetryAttempts", given["maximum_retry_attempts"].as_i64())
                .with("MaximumRecordAgeInSeconds", seconds("maximum_record_age_ms"))
                .with("BisectBatchOnFunctionError", given["bisect_batch_on_function_error"].as_bool())
                .with("TumblingWindowInSeconds", seconds("tumbling_window_ms"))
                .with("DestinationConfig", Value::structure().with("OnFailure", Value::structure())),
        }
    }
}

/// What no mapping here has.
const NOT_HAD: [&str; 12] = [
    "AmazonManagedKafkaEventSourceConfig",
    "DocumentDBEventSourceConfig",
    "LoggingConfig",
    "SelfManagedEventSource",
    "SelfManagedKafkaEventSourceConfig",
    "SourceAccessConfigurations",
    "ProvisionedPollerConfig",
    "MetricsConfig",
    "KMSKeyArn",
    "Tags",
    "Topics",
    "Queues",
];

/// The settings that the input names, as the engine names them.
fn changes(call: &Call<'_>, source: &Source) -> Result<Map<String, Json>, Fault> {
    let input = &call.input;
    let mut changes = Map::new();
    let mut set = |name: &str, value: Json| drop(changes.insert(name.to_owned(), value));
    let ms = |seconds: i64| if seconds < 0 { -1 } else { seconds * 1000 };
    if let Some(enabled) = input.flag("Enabled") {
        set("enabled", enabled.into());
    }
    if let Some(size) = input.int("BatchSize") {
        set("batch_size", size.into());
    }
    if let Some(seconds) = input.int("MaximumBatchingWindowInSeconds") {
        set("maximum_batching_window_ms", ms(seconds).into());
    }
    if input.get("FunctionResponseTypes").is_some() {
        let reports = input.texts("FunctionResponseTypes").any(|kind| kind == "ReportBatchItemFailures");
        set("report_batch_item_failures", reports.into());
    }
    if let Some(criteria) = input.get("FilterCriteria") {
        let patterns: Vec<&str> = criteria.list("Filters").iter().map(|filter| filter.needed("Pattern")).collect();
        set("filters", patterns.into());
    }
    let of_streams = [
        ("ParallelizationFactor", "parallelization_factor", 1),
        ("MaximumRetryAttempts", "maximum_retry_attempts", 1),
        ("MaximumRecordAgeInSeconds", "maximum_record_age_ms", 1000),
        ("TumblingWindowInSeconds", "tumbling_window_ms", 1000),
    ];
    for (member, name, factor) in of_streams {
        let Some(number) = input.int(member) else { continue };
        if matches!(source, Source::Queue(_)) {
            return Err(invalid(format!("Unsupported {member} parameter for given event source mapping type.")));
        }
        set(name, if number < 0 { number } else { number * factor }.into());
    }
    if let Some(bisect) = input.flag("BisectBatchOnFunctionError") {
        if matches!(source, Source::Queue(_)) {
            return Err(invalid(
                "Unsupported BisectBatchOnFunctionError parameter for given event source mapping type.",
            ));
        }
        set("bisect_batch_on_function_error", bisect.into());
    }
    if let Some(scaling) = input.get("ScalingConfig") {
        if matches!(source, Source::Stream(_)) {
            return Err(invalid("Unsupported ScalingConfig parameter for given event source mapping type."));
        }
        set("maximum_concurrency", scaling.int("MaximumConcurrency").into());
    }
    let destination = input.get("DestinationConfig").and_then(|config| config.get("OnFailure"));
    if destination.is_some_and(|one| one.text("Destination").is_some()) {
        return Err(invalid("DestinationConfig: an app names the destinations of its mappings; declare it there"));
    }
    for member in ["StartingPosition", "StartingPositionTimestamp"] {
        if input.get(member).is_some() && matches!(source, Source::Queue(_)) {
            return Err(invalid(format!("Unsupported {member} parameter for given event source mapping type.")));
        }
    }
    for member in NOT_HAD {
        if input.get(member).is_some() {
            return Err(invalid(format!("{member}: forebay's mappings do not have it")));
        }
    }
    Ok(changes)
}

fn with_changes<T: serde::Serialize + serde::de::DeserializeOwned>(
    settings: &T,
    changes: Map<String, Json>,
) -> Result<T, Fault> {
    let mut fields = serde_json::to_value(settings).unwrap_or_default();
    for (name, value) in changes {
        fields[name] = value;
    }
    serde_json::from_value(fields).map_err(|error| invalid(error.to_string()))
}

/// AWS's defaults for a mapping on a stream.
fn stream_settings(call: &Call<'_>) -> Result<StreamSettings, Fault> {
    let is_at_another = call.input.text("StartingPosition").is_some_and(|position| position != "AT_TIMESTAMP");
    if is_at_another && call.input.time("StartingPositionTimestamp").is_some() {
        return Err(invalid("StartingPositionTimestamp is taken with StartingPosition AT_TIMESTAMP alone."));
    }
    let starting_position = match call.input.text("StartingPosition") {
        Some("TRIM_HORIZON") => StartingPosition::TrimHorizon,
        Some("LATEST") => StartingPosition::Latest,
        Some("AT_TIMESTAMP") if call.input.time("StartingPositionTimestamp").is_none() => {
            return Err(invalid("StartingPositionTimestamp is required with StartingPosition AT_TIMESTAMP."));
        }
        Some("AT_TIMESTAMP") => StartingPosition::AtTimestamp,
        _ => {
            let text = "1 validation error detected: Value null at 'startingPosition' failed to satisfy constraint: Member must not be null.";
            return Err(invalid(text));
        }
    };
    Ok(StreamSettings {
        starting_position,
        starting_position_timestamp_ms: call.input.time("StartingPositionTimestamp").map(|time| time.max(0) as u64),
        batch_size: 100,
        maximum_batching_window_ms: 0,
        parallelization_factor: 1,
        maximum_retry_attempts: -1,
        maximum_record_age_ms: -1,
        bisect_batch_on_function_error: false,
        report_batch_item_failures: false,
        filters: Vec::new(),
        tumbling_window_ms: 0,
        on_failure: None,
        include_payload: false,
        retry_backoff: Backoff { base_ms: 1_000, cap_ms: 60_000, jitter: 0.5 },
        enabled: true,
    })
}

/// AWS's defaults for a mapping on a queue.
fn queue_settings() -> QueueSettings {
    QueueSettings {
        batch_size: 10,
        maximum_batching_window_ms: 0,
        maximum_concurrency: None,
        report_batch_item_failures: false,
        filters: Vec::new(),
        retry_delay: None,
        strict_lambda: true,
        enabled: true,
    }
}

pub(super) async fn create_event_source_mapping(call: &Call<'_>) -> Result<Value, Fault> {
    let arn = call.input.text("EventSourceArn").ok_or_else(|| invalid("Unrecognized event source."))?;
    let source = source_of_arn(call, arn)?;
    let target = lambda::function(call)?;
    if let Some(qualifier) = &target.qualifier {
        return Err(invalid(format!("{qualifier}: forebay's mappings run what is declared; leave the qualifier out")));
    }
    let function = target.name.clone();
    if lambda::described_function(call, &target).await.is_err() {
        return Err(invalid("Function does not exist"));
    }
    let uuid = mapping_uuid(call, &source, &function);
    let changes = changes(call, &source)?;
    let declare = match source.clone() {
        Source::Stream(stream) => {
            let settings = with_changes(&stream_settings(call)?, changes)?;
            BySource::Stream(DeclareOnStream { stream, function, settings, by_client: true, only_new: true })
        }
        Source::Queue(queue) => {
            let settings = with_changes(&queue_settings(), changes)?;
            BySource::Queue(DeclareOnQueue { queue, function, settings, by_client: true, only_new: true })
        }
    };
    let given = call.ask(Request::MappingDeclare(declare)).await.map_err(|error| match error {
        EngineError::Conflict(_) => fault(EngineError::Conflict(is_there(&source, arn, &target.name, &uuid))),
        error => fault(error),
    })?;
    let found = Found { uuid, source, function: target.name, given };
    Ok(found.shown(call, Some("Creating")))
}

/// What AWS says of a mapping that is to be new.
fn is_there(source: &Source, arn: &str, function: &str, uuid: &str) -> String {
    let kind = match source {
        Source::Queue(_) => {
            format!(
                "An event source mapping with SQS arn (\" {arn} \") and function (\" {function} \") already exists."
            )
        }
        Source::Stream(_) => {
            format!(
                "The event source arn (\" {arn} \") and function (\" {function} \") provided mapping already exists."
            )
        }
    };
    format!("{kind} Please update or delete the existing mapping with UUID {uuid}")
}

pub(super) async fn get_event_source_mapping(call: &Call<'_>) -> Result<Value, Fault> {
    Ok(mapping(call).await?.shown(call, None))
}

/// Refuse a function that is none. One that a stack is making does not serve yet.
async fn check_there(call: &Call<'_>, function: &str) -> Result<(), Fault> {
    let target = Target { name: function.to_owned(), qualifier: None };
    match lambda::described_function(call, &target).await {
        Err(fault) if lambda_states::serves(&lambda_states::of(call, function).await) => Err(fault),
        _ => Ok(()),
    }
}

pub(super) async fn list_event_source_mappings(call: &Call<'_>) -> Result<Value, Fault> {
    let source = call.input.text("EventSourceArn").map(|arn| source_of_arn(call, arn)).transpose()?;
    let function = call.input.text("FunctionName").map(|name| lambda::function_of(call, name, None)).transpose()?;
    let mut mappings = mappings(call).await?;
    if let Some(function) = &function {
        mappings.retain(|one| one.function == function.name);
        if mappings.is_empty() {
            check_there(call, &function.name).await?;
        }
    }
    mappings.retain(|one| source.as_ref().is_none_or(|source| one.source == *source));
    mappings.sort_by(|one, other| one.uuid.cmp(&other.uuid));
    let (mappings, next) = paged(call, mappings, |one| &one.uuid)?;
    let shown: Vec<Value> = mappings.iter().map(|one| one.shown(call, None)).collect();
    Ok(Value::structure().with("EventSourceMappings", shown).with("NextMarker", next))
}

pub(super) async fn update_event_source_mapping(call: &Call<'_>) -> Result<Value, Fault> {
    let found = mapping(call).await?;
    if call
        .input
        .text("FunctionName")
        .is_some_and(|name| lambda::function_of(call, name, None).map_or(true, |target| target.name != found.function))
    {
        return Err(invalid("FunctionName: a mapping keeps its function; create another one"));
    }
    let changes = changes(call, &found.source)?;
    let function = found.function.clone();
    let update = match found.source.clone() {
        Source::Stream(stream) => BySource::Stream(UpdateOnStream { stream, function, changes: changes.into() }),
        Source::Queue(queue) => BySource::Queue(UpdateOnQueue { queue, function, changes: changes.into() }),
    };
    let given = call.ask(Request::MappingUpdate(update)).await.map_err(fault)?;
    Ok(Found { given, ..found }.shown(call, Some("Updating")))
}

pub(super) async fn delete_event_source_mapping(call: &Call<'_>) -> Result<Value, Fault> {
    let found = mapping(call).await?;
    let function = found.function.clone();
    let named = match found.source.clone() {
        Source::Stream(stream) => BySource::Stream(OnStream { stream, function }),
        Source::Queue(queue) => BySource::Queue(OnQueue { queue, function }),
    };
    call.ask(Request::MappingDelete(named)).await.map_err(fault)?;
    let source = match &found.source {
        Source::Stream(name) => format!("stream {name:?}"),
        Source::Queue(name) => format!("queue {name:?}"),
    };
    call.tell_deleted(&format!("the mapping of {source} to function {:?}", found.function));
    Ok(found.shown(call, Some("Deleting")))
}
