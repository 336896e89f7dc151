//! Kinesis: streams, their shards and tags.

use std::collections::BTreeMap;

use forebay_engine::api::notes::Annotate;
use forebay_engine::api::stream::{Alter, Declare, Merge, Named, Reshard, Split};
use forebay_engine::api::{Empty, Request};
use forebay_engine::base::error::EngineError;
use serde_json::Value as Json;

use crate::aws::call::Call;
use crate::aws::fault::Fault;
use crate::aws::services::kinesis::{self, fault};
use crate::aws::services::kinesis_consumers::consumers_of;
use crate::aws::services::page::{page, Token};
use crate::aws::value::Value;

const HOUR_MS: u64 = 3_600_000;
/// Retention of a new stream, and the least there is.
const RETENTION_HOURS: i64 = 24;
/// The greatest retention.
const RETENTION_HOURS_MAX: i64 = 8_760;
/// Shards of a stream that is made on demand.
const ON_DEMAND_SHARDS: i64 = 4;
/// Most KiB of a record, which is AWS's default.
const RECORD_KIB_MAX: i64 = 1_024;
/// Most shards of a stream.
const SHARDS_MAX: i64 = 1_000;
/// Begins the notes that are tags.
const NOTE_TAG: &str = "tag:";
/// The note of a stream whose mode is another one than `PROVISIONED`.
const NOTE_MODE: &str = "kinesis:mode";
const PROVISIONED: &str = "PROVISIONED";
const ON_DEMAND: &str = "ON_DEMAND";

fn invalid(text: impl Into<String>) -> Fault {
    Fault::new("InvalidArgumentException", text)
}

pub(super) async fn described_stream(call: &Call<'_>, name: &str) -> Result<Json, Fault> {
    let described = call.ask(Request::StreamDescribe(Named { name: name.to_owned() })).await;
    described.map_err(|error| kinesis::stream_fault(call, name, error))
}

fn shard_count(count: i64) -> Result<u32, Fault> {
    if count > SHARDS_MAX {
        let text = format!(
            "This request would exceed the shard limit: {SHARDS_MAX} shards of a stream. You asked for {count}."
        );
        return Err(Fault::new("LimitExceededException", text));
    }
    u32::try_from(count).map_err(|_| invalid("ShardCount must be positive"))
}

pub(super) async fn create_stream(call: &Call<'_>) -> Result<Value, Fault> {
    let name = call.input.needed("StreamName").to_owned();
    let mode = asked_mode(call);
    let count = match (call.input.int("ShardCount"), mode) {
        (Some(count), _) => count,
        (None, ON_DEMAND) => ON_DEMAND_SHARDS,
        (None, _) => return Err(Fault::validation("ShardCount must be given for a stream in PROVISIONED mode")),
    };
    let shards = shard_count(count)?;
    if call.input.int("WarmThroughputMiBps").is_some() {
        return Err(invalid("WarmThroughputMiBps: a shard has no limit of bytes a second here; leave it out"));
    }
    if call.input.int("MaxRecordSizeInKiB").is_some_and(|size| size != RECORD_KIB_MAX) {
        let text = format!("MaxRecordSizeInKiB: a record has at most {RECORD_KIB_MAX} KiB here; leave it out");
        return Err(invalid(text));
    }
    let retention_ms = RETENTION_HOURS as u64 * HOUR_MS;
    let tags = call.input.entries("Tags").iter().map(|(key, value)| (key.as_ref(), value.as_text()));
    let mut notes = tag_notes(tags);
    if mode == ON_DEMAND {
        notes.insert(NOTE_MODE.into(), Some(mode.into()));
    }
    let exists = format!("Stream {name} under account {} already exists.", call.account);
    let declare = Declare { name, shards, retention_ms, retention_bytes: None, notes, only_new: true };
    call.ask(Request::StreamDeclare(declare)).await.map_err(|error| match error {
        EngineError::Conflict(_) => Fault::new("ResourceInUseException", exists),
        error => fault(error),
    })?;
    Ok(Value::structure())
}

pub(super) async fn delete_stream(call: &Call<'_>) -> Result<Value, Fault> {
    let name = kinesis::stream(call)?;
    let stream = described_stream(call, &name).await?;
    if call.input.flag("EnforceConsumerDeletion") != Some(true) && !consumers_of(&stream).is_empty() {
        let text = format!("Stream {name} under account {} has enabled consumers", call.account);
        return Err(Fault::new("ResourceInUseException", text));
    }
    let deleted = call.ask(Request::StreamDelete(Named { name: name.clone() })).await;
    deleted.map_err(|error| kinesis::stream_fault(call, &name, error))?;
    call.tell_deleted(&format!("stream {name:?}"));
    Ok(Value::structure())
}

fn asked_mode<'c>(call: &'c Call<'_>) -> &'c str {
    call.input.get("StreamModeDetails").map_or(PROVISIONED, |mode| mode.needed("StreamMode"))
}

fn mode_of(stream: &Json) -> &str {
    stream["notes"][NOTE_MODE].as_str().unwrap_or(PROVISIONED)
}

/// Only the shards of a PROVISIONED stream can be changed.
async fn check_provisioned(call: &Call<'_>, name: &str) -> Result<Json, Fault> {
    let stream = described_stream(call, name).await?;
    if mode_of(&stream) == PROVISIONED {
        return Ok(stream);
    }
    let text = "it must be PROVISIONED before its shards are changed (UpdateStreamMode)";
    Err(Fault::validation(format!("Stream {name} under account {} is ON_DEMAND: {text}.", call.account)))
}

fn described(stream: &Json) -> Value {
    Value::structure()
        .with("StreamName", stream["name"].as_str())
        .with("StreamARN", stream["arn"].as_str())
        .with("StreamStatus", "ACTIVE")
        .with("StreamModeDetails", Value::structure().with("StreamMode", mode_of(stream)))
        .with("RetentionPeriodHours", (stream["retention_ms"].as_u64().unwrap_or(0) / HOUR_MS) as i64)
        .with("StreamCreationTimestamp", Value::Time(stream["created_ms"].as_i64().unwrap_or(0)))
        .with("EnhancedMonitoring", vec![Value::structure().with("ShardLevelMetrics", Value::List(Vec::new()))])
        .with("EncryptionType", "NONE")
}

pub(super) async fn describe_stream(call: &Call<'_>) -> Result<Value, Fault> {
    let stream = described_stream(call, &kinesis::stream(call)?).await?;
    let limit = call.input.int("Limit").unwrap_or(100).clamp(1, 10_000) as usize;
    let after = call.input.text("ExclusiveStartShardId").unwrap_or_default();
    let all = stream["shards"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut rest = all.iter().filter(|shard| shard["shard_id"].as_str().unwrap_or_default() > after);
    let shards: Vec<Value> = rest.by_ref().take(limit).map(shard).collect();
    let description = described(&stream).with("Shards", shards).with("HasMoreShards", rest.next().is_some());
    Ok(Value::structure().with("StreamDescription", description))
}

pub(super) async fn describe_stream_summary(call: &Call<'_>) -> Result<Value, Fault> {
    let stream = described_stream(call, &kinesis::stream(call)?).await?;
    let summary = described(&stream)
        .with("OpenShardCount", stream["open_shards"].as_i64())
        .with("ConsumerCount", consumers_of(&stream).len());
    Ok(Value::structure().with("StreamDescriptionSummary", summary))
}

/// The hashes of a shard's keys. The engine knows their upper halves.
pub(super) fn hash_range(shard: &Json) -> Value {
    let half = |name: &str| shard[name].as_str().and_then(|text| text.parse::<u64>().ok()).unwrap_or_default();
    let (low, high) = (u128::from(half("hash_low")) << 64, u128::from(half("hash_high")) << 64 | u128::from(u64::MAX));
    Value::structure().with("StartingHashKey", low.to_string()).with("EndingHashKey", high.to_string())
}

fn shard(shard: &Json) -> Value {
    let numbers = Value::structure()
        .with("StartingSequenceNumber", shard["starting_sequence_number"].as_str())
        .with("EndingSequenceNumber", shard["ending_sequence_number"].as_str());
    Value::structure()
        .with("ShardId", shard["shard_id"].as_str())
        .with("ParentShardId", shard["parents"][0].as_str())
        .with("AdjacentParentShardId", shard["parents"][1].as_str())
        .with("HashKeyRange", hash_range(shard))
        .with("SequenceNumberRange", numbers)
}

pub(super) async fn list_streams(call: &Call<'_>) -> Result<Value, Fault> {
    let listed = call.ask(Request::StreamList(Empty {})).await.map_err(fault)?;
    let mut streams: Vec<&Json> = listed.as_array().into_iter().flatten().collect();
    let name = |stream: &Json| stream["name"].as_str().unwrap_or_default().to_owned();
    streams.sort_by_key(|stream| name(stream));
    let from = match call.input.text("ExclusiveStartStreamName") {
        Some(name) => Token::read(Some(&Token::after(name))),
        None => Token::read(call.input.text("NextToken")),
    };
    let from = from.ok_or_else(|| invalid("NextToken is invalid."))?;
    let limit = call.input.int("Limit").unwrap_or(100).clamp(1, 10_000) as usize;
    let (streams, next) = page(streams, limit, from, |stream| stream["name"].as_str().unwrap_or_default());
    let summary = |stream: &&Json| {
        Value::structure()
            .with("StreamName", stream["name"].as_str())
            .with("StreamARN", stream["arn"].as_str())
            .with("StreamStatus", "ACTIVE")
            .with("StreamModeDetails", Value::structure().with("StreamMode", mode_of(stream)))
            .with("StreamCreationTimestamp", Value::Time(stream["created_ms"].as_i64().unwrap_or(0)))
    };
    Ok(Value::structure()
        .with("StreamNames", streams.iter().map(|stream| name(stream)).collect::<Vec<String>>())
        .with("HasMoreStreams", next.is_some())
        .with("NextToken", next)
        .with("StreamSummaries", streams.iter().map(summary).collect::<Vec<Value>>()))
}

/// A token of `ListShards` names the stream as well, which the next request does not.
fn shards_token(call: &Call<'_>) -> Result<(String, Option<String>), Fault> {
    let Some(text) = call.input.text("NextToken") else { return Ok((kinesis::stream(call)?, None)) };
    let wrong = || Fault::new("ExpiredNextTokenException", "NextToken is invalid.");
    if call.input.text("StreamName").is_some() {
        return Err(invalid("NextToken and StreamName cannot be provided together."));
    }
    let token = Token::read(Some(text)).ok_or_else(wrong)?;
    let (stream, shard) = token.name().and_then(|name| name.split_once('/')).ok_or_else(wrong)?;
    // A client may name the stream by its ARN beside the token, and means that one.
    if call.input.text("StreamARN").is_some() && kinesis::stream(call)? != stream {
        return Err(wrong());
    }
    Ok((kinesis::not_a_group(call, stream)?, Some(shard.to_owned())))
}

pub(super) async fn list_shards(call: &Call<'_>) -> Result<Value, Fault> {
    let (name, after) = shards_token(call)?;
    let after = after.or(call.input.text("ExclusiveStartShardId").map(str::to_owned)).unwrap_or_default();
    let stream = described_stream(call, &name).await?;
    let all: Vec<&Json> = stream["shards"].as_array().into_iter().flatten().collect();
    let filter = call.input.get("ShardFilter");
    let mut kept = all.clone();
    match filter.map(|filter| filter.needed("Type")).unwrap_or_default() {
        // What is open now.
        "AT_LATEST" => kept.retain(|shard| shard["open"] == true),
        // The oldest shards that still hold something, or are open: those without a parent among them.
        "AT_TRIM_HORIZON" => {
            let is_live = |shard: &Json| shard["open"] == true || shard["records"].as_u64() > Some(0);
            let live: Vec<&Json> = all.iter().copied().filter(|shard| is_live(shard)).collect();
            let has_live_parent = |shard: &Json| {
                let mut parents = shard["parents"].as_array().into_iter().flatten();
                parents.any(|parent| live.iter().any(|other| other["shard_id"] == *parent))
            };
            kept = live.iter().copied().filter(|shard| !has_live_parent(shard)).collect();
        }
        "AFTER_SHARD_ID" => {
            let id = filter.and_then(|filter| filter.text("ShardId")).unwrap_or_default().to_owned();
            kept.retain(|shard| shard["shard_id"].as_str() > Some(id.as_str()));
        }
        "" | "FROM_TRIM_HORIZON" => {}
        other => {
            let text = format!(
                "ShardFilter: forebay lists no shards by {other}; use FROM_TRIM_HORIZON, AT_TRIM_HORIZON or AT_LATEST"
            );
            return Err(invalid(text));
        }
    }
    kept.retain(|shard| shard["shard_id"].as_str() > Some(after.as_str()));
    let limit = call.input.int("MaxResults").unwrap_or(1_000).clamp(1, 10_000) as usize;
    let next = (kept.len() > limit)
        .then(|| Token::after(&format!("{name}/{}", kept[limit - 1]["shard_id"].as_str().unwrap_or_default())));
    let shards: Vec<Value> = kept.into_iter().take(limit).map(shard).collect();
    Ok(Value::structure().with("Shards", shards).with("NextToken", next))
}

pub(super) async fn update_shard_count(call: &Call<'_>) -> Result<Value, Fault> {
    let name = kinesis::stream(call)?;
    let target = call.input.int("TargetShardCount").unwrap_or_default();
    let before = check_provisioned(call, &name).await?;
    let reshard = Reshard { name: name.clone(), shards: shard_count(target)? };
    call.ask(Request::StreamReshard(reshard)).await.map_err(|error| kinesis::stream_fault(call, &name, error))?;
    Ok(Value::structure()
        .with("StreamName", name)
        .with("CurrentShardCount", before["open_shards"].as_i64())
        .with("TargetShardCount", target)
        .with("StreamARN", before["arn"].as_str()))
}

/// Hashes have 128 bits, and the engine knows the upper 64 of them: a shard is split at the next one that it can tell apart.
pub(super) async fn split_shard(call: &Call<'_>) -> Result<Value, Fault> {
    let (name, shard) = (kinesis::stream(call)?, call.input.needed("ShardToSplit").to_owned());
    let hash = call.input.needed("NewStartingHashKey").parse::<u128>();
    let hash = hash.map_err(|_| invalid("NewStartingHashKey is greater than 2^128 - 1."))?;
    let at = (hash >> 64) + u128::from(hash & u128::from(u64::MAX) != 0);
    check_provisioned(call, &name).await?;
    let split = Split { name: name.clone(), shard: shard.clone(), at: at.to_string() };
    call.ask(Request::StreamSplit(split)).await.map_err(|error| match error {
        EngineError::Invalid(text) if text.starts_with("at is") => invalid(format!(
            "NewStartingHashKey {hash} used in SplitShard() on shard {shard} in stream {name} under account {} is not both greater than one plus the shard's StartingHashKey and less than the shard's EndingHashKey - 1.",
            call.account
        )),
        error => changed_shard(call, &name, &shard, error),
    })?;
    Ok(Value::structure())
}

pub(super) async fn merge_shards(call: &Call<'_>) -> Result<Value, Fault> {
    let (name, shard) = (kinesis::stream(call)?, call.input.needed("ShardToMerge").to_owned());
    let adjacent = call.input.needed("AdjacentShardToMerge").to_owned();
    check_provisioned(call, &name).await?;
    let merge = Merge { name: name.clone(), shard: shard.clone(), adjacent: adjacent.clone() };
    call.ask(Request::StreamMerge(merge)).await.map_err(|error| match error {
        EngineError::Invalid(text) if text.ends_with("are not adjacent") => invalid(format!(
            "Shards {shard} and {adjacent} in stream {name} under account {} are not an adjacent pair of shards eligible for merging",
            call.account
        )),
        error => changed_shard(call, &name, &shard, error),
    })?;
    Ok(Value::structure())
}

fn changed_shard(call: &Call<'_>, name: &str, shard: &str, error: EngineError) -> Fault {
    match error {
        EngineError::NotFound(text) if text.contains("has no shard") => Fault::new(
            "ResourceNotFoundException",
            format!("Could not find shard {shard} in stream {name} under account {}.", call.account),
        ),
        error => kinesis::stream_fault(call, name, error),
    }
}

pub(super) async fn increase_stream_retention_period(call: &Call<'_>) -> Result<Value, Fault> {
    change_retention(call, |hours, now| hours >= now, "less").await
}

pub(super) async fn decrease_stream_retention_period(call: &Call<'_>) -> Result<Value, Fault> {
    change_retention(call, |hours, now| hours <= now, "longer").await
}

async fn change_retention(call: &Call<'_>, is_right: fn(i64, i64) -> bool, wrong: &str) -> Result<Value, Fault> {
    let name = kinesis::stream(call)?;
    let hours = call.input.int("RetentionPeriodHours").unwrap_or_default();
    if !(RETENTION_HOURS..=RETENTION_HOURS_MAX).contains(&hours) {
        let text =
            format!("RetentionPeriodHours is {hours}: allowed are {RETENTION_HOURS} to {RETENTION_HOURS_MAX} hours.");
        return Err(invalid(text));
    }
    let stream = described_stream(call, &name).await?;
    let now = (stream["retention_ms"].as_u64().unwrap_or(0) / HOUR_MS) as i64;
    if !is_right(hours, now) {
        let text = format!("Requested retention period ({hours} hours) for stream {name} can not be {wrong} than existing retention period ({now} hours).");
        return Err(invalid(text));
    }
    let alter = Alter { name: name.clone(), retention_ms: Some(hours as u64 * HOUR_MS), retention_bytes: None };
    call.ask(Request::StreamAlter(alter)).await.map_err(|error| kinesis::stream_fault(call, &name, error))?;
    Ok(Value::structure())
}

type Notes = BTreeMap<String, Option<String>>;

async fn note(call: &Call<'_>, name: &str, notes: Notes) -> Result<(), Fault> {
    if !notes.is_empty() {
        let annotate = Annotate { name: name.to_owned(), notes };
        call.ask(Request::StreamAnnotate(annotate)).await.map_err(|error| kinesis::stream_fault(call, name, error))?;
    }
    Ok(())
}

fn tag_notes<'t>(tags: impl Iterator<Item = (&'t str, Option<&'t str>)>) -> Notes {
    tags.map(|(key, text)| (format!("{NOTE_TAG}{key}"), text.map(str::to_owned))).collect()
}

async fn tag_with(call: &Call<'_>, name: &str) -> Result<Value, Fault> {
    let tags = call.input.entries("Tags").iter().map(|(key, value)| (key.as_ref(), value.as_text()));
    note(call, name, tag_notes(tags)).await?;
    Ok(Value::structure())
}

async fn untag(call: &Call<'_>, name: &str) -> Result<Value, Fault> {
    note(call, name, tag_notes(call.input.texts("TagKeys").map(|key| (key, None)))).await?;
    Ok(Value::structure())
}

pub(super) async fn add_tags_to_stream(call: &Call<'_>) -> Result<Value, Fault> {
    tag_with(call, &kinesis::stream(call)?).await
}

pub(super) async fn remove_tags_from_stream(call: &Call<'_>) -> Result<Value, Fault> {
    untag(call, &kinesis::stream(call)?).await
}

pub(super) async fn tag_resource(call: &Call<'_>) -> Result<Value, Fault> {
    tag_with(call, &kinesis::stream_of_arn(call, call.input.needed("ResourceARN"))?).await
}

pub(super) async fn untag_resource(call: &Call<'_>) -> Result<Value, Fault> {
    untag(call, &kinesis::stream_of_arn(call, call.input.needed("ResourceARN"))?).await
}

fn tags_of(stream: &Json) -> Vec<(String, String)> {
    let notes = stream["notes"].as_object().into_iter().flatten();
    let tags = notes.filter_map(|(note, text)| Some((note.strip_prefix(NOTE_TAG)?, text.as_str()?)));
    tags.map(|(key, text)| (key.to_owned(), text.to_owned())).collect()
}

fn tag((key, value): (String, String)) -> Value {
    Value::structure().with("Key", key).with("Value", value)
}

pub(super) async fn list_tags_for_stream(call: &Call<'_>) -> Result<Value, Fault> {
    let stream = described_stream(call, &kinesis::stream(call)?).await?;
    let after = call.input.text("ExclusiveStartTagKey").unwrap_or_default();
    let limit = call.input.int("Limit").unwrap_or(50).clamp(1, 50) as usize;
    let mut tags = tags_of(&stream);
    tags.retain(|(key, _)| key.as_str() > after);
    let has_more = tags.len() > limit;
    tags.truncate(limit);
    Ok(Value::structure().with("Tags", tags.into_iter().map(tag).collect::<Vec<Value>>()).with("HasMoreTags", has_more))
}

pub(super) async fn list_tags_for_resource(call: &Call<'_>) -> Result<Value, Fault> {
    let stream = described_stream(call, &kinesis::stream_of_arn(call, call.input.needed("ResourceARN"))?).await?;
    Ok(Value::structure().with("Tags", tags_of(&stream).into_iter().map(tag).collect::<Vec<Value>>()))
}

pub(super) async fn describe_limits(call: &Call<'_>) -> Result<Value, Fault> {
    let listed = call.ask(Request::StreamList(Empty {})).await.map_err(fault)?;
    let streams = || listed.as_array().into_iter().flatten();
    let open: i64 = streams().filter_map(|stream| stream["open_shards"].as_i64()).sum();
    let on_demand = streams().filter(|stream| mode_of(stream) == ON_DEMAND).count();
    Ok(Value::structure()
        .with("ShardLimit", SHARDS_MAX)
        .with("OpenShardCount", open)
        .with("OnDemandStreamCount", on_demand)
        .with("OnDemandStreamCountLimit", SHARDS_MAX))
}

/// Nothing is billed here.
#[allow(clippy::unused_async)] // each operation is one that is awaited
pub(super) async fn describe_account_settings(_call: &Call<'_>) -> Result<Value, Fault> {
    let commitment = Value::structure().with("Status", "DISABLED");
    Ok(Value::structure().with("MinimumThroughputBillingCommitment", commitment))
}

/// No shard has a limit of records or bytes, so a stream on demand has what it needs in the shards that it has.
pub(super) async fn update_stream_mode(call: &Call<'_>) -> Result<Value, Fault> {
    let name = kinesis::stream(call)?;
    described_stream(call, &name).await?;
    let mode = Some(asked_mode(call)).filter(|mode| *mode == ON_DEMAND);
    note(call, &name, Notes::from([(NOTE_MODE.into(), mode.map(str::to_owned))])).await?;
    Ok(Value::structure())
}
