//! EventBridge: archives and replays.

use forebay_engine::api::archive::{ArchiveNamed, PutArchive, ReplayNamed, StartReplay};
use forebay_engine::api::{bus, Empty, Request};
use forebay_engine::base::error::EngineError;
use serde_json::{json, Value as Json};

use crate::aws::call::Call;
use crate::aws::fault::Fault;
use crate::aws::services::events::{self, fault, no_bus, paged, settings};
use crate::aws::value::Value;

const DAY_MS: i64 = 86_400_000;

async fn described_archive(call: &Call<'_>, name: &str) -> Result<Json, Fault> {
    call.ask(Request::ArchiveDescribe(ArchiveNamed { name: name.to_owned() })).await.map_err(|error| match error {
        EngineError::NotFound(_) => Fault::new("ResourceNotFoundException", format!("Archive {name} does not exist.")),
        error => fault(error),
    })
}

fn archive_arn(call: &Call<'_>, name: &str) -> String {
    format!("arn:aws:events:{}:{}:archive/{name}", call.region, call.account)
}

async fn described_replay(call: &Call<'_>, name: &str) -> Result<Json, Fault> {
    call.ask(Request::ReplayDescribe(ReplayNamed { name: name.to_owned() })).await.map_err(|error| match error {
        EngineError::NotFound(_) => Fault::new("ResourceNotFoundException", format!("Replay {name} does not exist.")),
        error => fault(error),
    })
}

fn time(ms: &Json) -> Value {
    ms.as_i64().map_or(Value::Null, Value::Time)
}

fn shown(call: &Call<'_>, given: &Json) -> Value {
    let source =
        given["bus"].as_str().map(|bus| format!("arn:aws:events:{}:{}:event-bus/{bus}", call.region, call.account));
    Value::structure()
        .with("ArchiveName", given["name"].as_str())
        .with("EventSourceArn", source)
        .with("State", "ENABLED")
        .with("RetentionDays", given["retention_ms"].as_i64().map_or(0, |ms| ms / DAY_MS))
        .with("SizeBytes", given["bytes"].as_i64())
        .with("EventCount", given["events"].as_i64())
        .with("CreationTime", time(&given["created_ms"]))
}

async fn put(call: &Call<'_>, name: &str, bus: String, existing: Option<&Json>) -> Result<Value, Fault> {
    let input = &call.input;
    if input.text("KmsKeyIdentifier").is_some() {
        return Err(Fault::validation("KmsKeyIdentifier: forebay's archives have no key of their own; leave it out"));
    }
    let before = |field: &str| existing.map_or(Json::Null, |archive| archive[field].clone());
    let retention = match input.int("RetentionDays") {
        Some(0) => Json::Null,
        Some(days) => (days * DAY_MS).into(),
        None => before("retention_ms"),
    };
    let pattern = input.text("EventPattern").map_or_else(|| before("pattern"), Json::from);
    let description = input.text("Description").map_or_else(|| before("description"), Json::from);
    let archive: PutArchive = settings(json!({
        "name": name,
        "bus": bus,
        "only_new": existing.is_none(),
        "pattern": pattern,
        "description": description.as_str().unwrap_or_default(),
        "retention_ms": retention,
    }))?;
    let put = call.ask(Request::ArchivePut(archive)).await.map_err(|error| match error {
        EngineError::Conflict(text) if existing.is_none() => Fault::new("ResourceAlreadyExistsException", text),
        error => fault(error),
    })?;
    Ok(Value::structure()
        .with("ArchiveArn", put["arn"].as_str())
        .with("State", "ENABLED")
        .with("CreationTime", time(&put["created_ms"])))
}

pub(super) async fn create_archive(call: &Call<'_>) -> Result<Value, Fault> {
    let name = call.input.needed("ArchiveName");
    if described_archive(call, name).await.is_ok() {
        return Err(Fault::new("ResourceAlreadyExistsException", format!("Archive {name} already exists.")));
    }
    let bus = events::bus_of(call, call.input.text("EventSourceArn"))?;
    put(call, name, bus, None).await
}

pub(super) async fn update_archive(call: &Call<'_>) -> Result<Value, Fault> {
    let name = call.input.needed("ArchiveName");
    let existing = described_archive(call, name).await?;
    put(call, name, existing["bus"].as_str().unwrap_or_default().to_owned(), Some(&existing)).await
}

pub(super) async fn describe_archive(call: &Call<'_>) -> Result<Value, Fault> {
    let name = call.input.needed("ArchiveName");
    let given = described_archive(call, name).await?;
    Ok(shown(call, &given)
        .with("ArchiveArn", archive_arn(call, name))
        .with("EventPattern", given["pattern"].as_str())
        .with("Description", given["description"].as_str().filter(|text| !text.is_empty())))
}

pub(super) async fn list_archives(call: &Call<'_>) -> Result<Value, Fault> {
    let listed = call.ask(Request::ArchiveList(Empty {})).await.map_err(fault)?;
    let prefix = call.input.text("NamePrefix").unwrap_or_default();
    let source = call.input.text("EventSourceArn").map(|arn| events::bus_of(call, Some(arn))).transpose()?;
    if let Some(name) = &source {
        let described = call.ask(Request::BusDescribe(bus::Named { name: name.clone() })).await;
        described.map_err(|error| no_bus(name, error))?;
    }
    let mut archives: Vec<&Json> = listed.as_array().into_iter().flatten().collect();
    archives.retain(|one| one["name"].as_str().is_some_and(|name| name.starts_with(prefix)));
    archives.retain(|one| source.as_ref().is_none_or(|bus| one["bus"] == bus.as_str()));
    archives.sort_by_key(|one| one["name"].as_str().unwrap_or_default().to_owned());
    let (archives, next) = paged(call, archives, |one| one["name"].as_str().unwrap_or_default())?;
    let archives: Vec<Value> = archives.into_iter().map(|one| shown(call, one)).collect();
    Ok(Value::structure().with("Archives", archives).with("NextToken", next))
}

pub(super) async fn delete_archive(call: &Call<'_>) -> Result<Value, Fault> {
    let name = call.input.needed("ArchiveName");
    described_archive(call, name).await?;
    call.ask(Request::ArchiveDelete(ArchiveNamed { name: name.to_owned() })).await.map_err(fault)?;
    Ok(Value::structure())
}

/// The rules' names out of their ARNs: `…:rule/NAME`, or `…:rule/BUS/NAME`.
fn rules_of(destination: &Value) -> Option<Vec<String>> {
    destination.get("FilterArns")?;
    let names = destination.texts("FilterArns").filter_map(|arn| arn.rsplit('/').next().map(str::to_owned));
    Some(names.collect())
}

pub(super) async fn start_replay(call: &Call<'_>) -> Result<Value, Fault> {
    let input = &call.input;
    let name = input.needed("ReplayName");
    let empty = Value::structure();
    let destination = input.get("Destination").unwrap_or(&empty);
    let source = input.needed("EventSourceArn");
    let archive = source.strip_prefix(&archive_arn(call, "")).ok_or_else(|| {
        Fault::validation(format!("Parameter EventSourceArn is not valid. Reason: {source} is not an archive's ARN."))
    })?;
    if described_replay(call, name).await.is_ok() {
        return Err(Fault::new("ResourceAlreadyExistsException", format!("Replay {name} already exists.")));
    }
    let start: StartReplay = settings(json!({
        "name": name,
        "bus": events::bus_of(call, destination.text("Arn"))?,
        "archive": archive,
        "start_ms": input.time("EventStartTime").unwrap_or_default().max(0),
        "end_ms": input.time("EventEndTime").unwrap_or_default().max(0),
        "rules": rules_of(destination),
        "description": input.text("Description").unwrap_or_default(),
    }))?;
    let started = call.ask(Request::ReplayStart(start)).await.map_err(|error| match error {
        EngineError::NotFound(text) if text.starts_with("Parameter ") => Fault::validation(text),
        error => fault(error),
    })?;
    Ok(Value::structure()
        .with("ReplayArn", started["arn"].as_str())
        .with("State", started["state"].as_str())
        .with("ReplayStartTime", time(&started["started_ms"])))
}

fn replay(call: &Call<'_>, given: &Json) -> Value {
    Value::structure()
        .with("ReplayName", given["name"].as_str())
        .with("State", given["state"].as_str())
        .with("EventSourceArn", given["archive"].as_str().map(|name| archive_arn(call, name)))
        .with("EventStartTime", time(&given["start_ms"]))
        .with("EventEndTime", time(&given["end_ms"]))
        .with("EventLastReplayedTime", time(&given["last_event_ms"]))
        .with("ReplayStartTime", time(&given["started_ms"]))
        .with("ReplayEndTime", time(&given["ended_ms"]))
}

pub(super) async fn describe_replay(call: &Call<'_>) -> Result<Value, Fault> {
    let given = described_replay(call, call.input.needed("ReplayName")).await?;
    let bus = given["bus"].as_str().unwrap_or_default();
    let place = format!("{}:{}", call.region, call.account);
    let rules = given["rules"].as_array().map(|rules| {
        let arn = |name: &str| match bus {
            "default" => format!("arn:aws:events:{place}:rule/{name}"),
            bus => format!("arn:aws:events:{place}:rule/{bus}/{name}"),
        };
        rules.iter().filter_map(Json::as_str).map(arn).collect::<Vec<String>>()
    });
    let destination =
        Value::structure().with("Arn", format!("arn:aws:events:{place}:event-bus/{bus}")).with("FilterArns", rules);
    Ok(replay(call, &given)
        .with("ReplayArn", given["arn"].as_str())
        .with("Description", given["description"].as_str().filter(|text| !text.is_empty()))
        .with("Destination", destination))
}

pub(super) async fn list_replays(call: &Call<'_>) -> Result<Value, Fault> {
    let listed = call.ask(Request::ReplayList(Empty {})).await.map_err(fault)?;
    let prefix = call.input.text("NamePrefix").unwrap_or_default();
    let state = call.input.text("State");
    let mut replays: Vec<&Json> = listed.as_array().into_iter().flatten().collect();
    replays.retain(|one| one["name"].as_str().is_some_and(|name| name.starts_with(prefix)));
    replays.retain(|one| state.is_none_or(|state| one["state"] == state));
    replays.sort_by_key(|one| one["name"].as_str().unwrap_or_default().to_owned());
    let (replays, next) = paged(call, replays, |one| one["name"].as_str().unwrap_or_default())?;
    let replays: Vec<Value> = replays.into_iter().map(|one| replay(call, one)).collect();
    Ok(Value::structure().with("Replays", replays).with("NextToken", next))
}

pub(super) async fn cancel_replay(call: &Call<'_>) -> Result<Value, Fault> {
    let name = call.input.needed("ReplayName");
    described_replay(call, name).await?;
    let cancelled =
        call.ask(Request::ReplayCancel(ReplayNamed { name: name.to_owned() })).await.map_err(|error| match error {
            EngineError::Invalid(text) => Fault::new("IllegalStatusException", text),
            error => fault(error),
        })?;
    Ok(Value::structure().with("ReplayArn", cancelled["arn"].as_str()).with("State", cancelled["state"].as_str()))
}
