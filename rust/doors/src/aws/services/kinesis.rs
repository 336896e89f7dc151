//! Kinesis: records go in and come out.

use std::collections::BTreeMap;

use forebay_core::sequence;
use forebay_engine::api::logs::GROUP;
use forebay_engine::api::stream::{Read, Record, Records, StartingPosition};
use forebay_engine::api::Request;
use forebay_engine::base::error::{EngineError, Reply};
use serde_json::Value as Json;

use crate::ask::{answer, typed};
use crate::aws::call::{otherwise, typed_of, unavailable, Call};
use crate::aws::fault::Fault;
use crate::aws::services::kinesis_consumers::{
    deregister_stream_consumer, describe_stream_consumer, list_stream_consumers, register_stream_consumer,
};
use crate::aws::services::kinesis_iterator::ShardIterator;
use crate::aws::services::kinesis_streams::{
    self, add_tags_to_stream, create_stream, decrease_stream_retention_period, delete_stream,
    describe_account_settings, describe_limits, describe_stream, describe_stream_summary,
    increase_stream_retention_period, list_shards, list_streams, list_tags_for_resource, list_tags_for_stream,
    merge_shards, remove_tags_from_stream, split_shard, tag_resource, untag_resource, update_shard_count,
    update_stream_mode,
};
use crate::aws::services::kinesis_subscription::subscribe_to_shard;
use crate::aws::value::Value;
use crate::clock::now_ms;

super::operations! {
    CreateStream => create_stream,
    DeleteStream => delete_stream,
    DescribeStream => describe_stream,
    DescribeStreamSummary => describe_stream_summary,
    ListStreams => list_streams,
    ListShards => list_shards,
    PutRecord => put_record,
    PutRecords => put_records,
    GetShardIterator => get_shard_iterator,
    GetRecords => get_records,
    UpdateShardCount => update_shard_count,
    IncreaseStreamRetentionPeriod => increase_stream_retention_period,
    DecreaseStreamRetentionPeriod => decrease_stream_retention_period,
    AddTagsToStream => add_tags_to_stream,
    RemoveTagsFromStream => remove_tags_from_stream,
    ListTagsForStream => list_tags_for_stream,
    TagResource => tag_resource,
    UntagResource => untag_resource,
    ListTagsForResource => list_tags_for_resource,
    DescribeLimits => describe_limits,
    DescribeAccountSettings => describe_account_settings,
    UpdateStreamMode => update_stream_mode,
    SplitShard => split_shard,
    MergeShards => merge_shards,
    RegisterStreamConsumer => register_stream_consumer,
    DeregisterStreamConsumer => deregister_stream_consumer,
    DescribeStreamConsumer => describe_stream_consumer,
    ListStreamConsumers => list_stream_consumers,
    SubscribeToShard => subscribe_to_shard,
}

/// Most records of an answer.
const RECORDS_MAX: i64 = 10_000;
/// What stands for the number before the first one of a shard, where a subscription has seen no record yet.
const BEFORE_ALL: &str = "0";
/// Most bytes of the records of one put.
const PUT_BYTES_MAX: usize = 10 << 20;

/// An engine's refusal in Kinesis's words.
pub(super) fn fault(error: EngineError) -> Fault {
    match error {
        EngineError::NotFound(text) => Fault::new("ResourceNotFoundException", text),
        EngineError::Invalid(text) | EngineError::TooLarge(text) => Fault::new("InvalidArgumentException", text),
        EngineError::Conflict(text) => Fault::new("ResourceInUseException", text),
        EngineError::TooMany { message, retry_after_ms, .. } => Fault {
            retry_after_ms: Some(retry_after_ms),
            ..Fault::new("ProvisionedThroughputExceededException", message)
        },
        error => unavailable(&error),
    }
}

/// The stream that the input names, by its name or its ARN.
pub(super) fn stream(call: &Call<'_>) -> Result<String, Fault> {
    let (name, arn) = (call.input.text("StreamName"), call.input.text("StreamARN"));
    let Some(arn) = arn else {
        let text = "Either StreamName or StreamARN must be given.";
        return not_a_group(call, name.ok_or_else(|| Fault::new("InvalidArgumentException", text))?);
    };
    let named = stream_of_arn(call, arn)?;
    if let Some(name) = name.filter(|name| *name != named) {
        let text = format!("StreamARN names the stream {named}, and StreamName the stream {name}.");
        return Err(Fault::new("InvalidArgumentException", text));
    }
    Ok(named)
}

pub(super) fn stream_of_arn(call: &Call<'_>, arn: &str) -> Result<String, Fault> {
    let prefix = format!("arn:aws:kinesis:{}:{}:stream/", call.region, call.account);
    let name = arn.strip_prefix(&prefix).and_then(|rest| rest.split('/').next());
    not_a_group(call, name.ok_or_else(|| no_stream(call, arn))?)
}

/// A stream's name, unless it is that of a log group: those are none of Kinesis's, and a key of Kinesis has none of them.
pub(super) fn not_a_group(call: &Call<'_>, name: &str) -> Result<String, Fault> {
    if name.starts_with(GROUP) {
        return Err(no_stream(call, name));
    }
    Ok(name.to_owned())
}

pub(super) fn no_stream(call: &Call<'_>, name: &str) -> Fault {
    Fault::new("ResourceNotFoundException", format!("Stream {name} under account {} not found.", call.account))
}

/// The same error, in AWS's words where it is that there is no stream.
pub(super) fn stream_fault(call: &Call<'_>, name: &str, error: EngineError) -> Fault {
    match error {
        EngineError::NotFound(_) => no_stream(call, name),
        error => fault(error),
    }
}

/// A record's key and data out of the input of a put.
fn record_of(given: &Value) -> Result<(&str, &[u8]), Fault> {
    if given.text("ExplicitHashKey").is_some() {
        let text = "ExplicitHashKey: forebay's streams take a record's shard from its partition key; leave it out";
        return Err(Fault::new("InvalidArgumentException", text));
    }
    Ok((given.needed("PartitionKey"), given.blob("Data").unwrap_or_default()))
}

async fn put(call: &Call<'_>, stream: &str, records: &[(&str, &[u8])]) -> Result<Vec<u64>, Fault> {
    let done = answer(|waiter| call.engine.put(stream, records.iter().copied(), None, waiter)).await;
    match done {
        Ok(Reply::Numbers(numbers)) => Ok(numbers),
        Ok(_) => Err(fault(otherwise())),
        Err(error) => Err(stream_fault(call, stream, error)),
    }
}

fn accepted(number: u64) -> Value {
    let text = number.to_string();
    let shard = sequence::parse(&text).map(|(shard, _)| sequence::shard_id(shard));
    Value::structure().with("SequenceNumber", text).with("ShardId", shard)
}

async fn put_record(call: &Call<'_>) -> Result<Value, Fault> {
    let numbers = put(call, &stream(call)?, &[record_of(&call.input)?]).await?;
    Ok(accepted(numbers.first().copied().unwrap_or_default()))
}

async fn put_records(call: &Call<'_>) -> Result<Value, Fault> {
    let records: Vec<(&str, &[u8])> = call.input.list("Records").iter().map(record_of).collect::<Result<_, _>>()?;
    let bytes: usize = records.iter().map(|(key, data)| key.len() + data.len()).sum();
    if bytes > PUT_BYTES_MAX {
        let text = format!("Records size exceeds {PUT_BYTES_MAX} bytes");
        return Err(Fault::new("InvalidArgumentException", text));
    }
    let numbers = put(call, &stream(call)?, &records).await?;
    let accepted: Vec<Value> = numbers.into_iter().map(accepted).collect();
    Ok(Value::structure().with("FailedRecordCount", 0_i64).with("Records", accepted))
}

/// Read a shard; without a limit, only where that would begin.
async fn read(call: &Call<'_>, read: Read) -> Result<Reply, Fault> {
    let name = read.name.clone();
    let read = typed(|waiter| call.engine.call(Request::StreamRead(read), waiter)).await;
    read.map_err(|error| stream_fault(call, &name, error))
}

async fn get_shard_iterator(call: &Call<'_>) -> Result<Value, Fault> {
    let (name, input) = (stream(call)?, &call.input);
    let shard = input.needed("ShardId").to_owned();
    let described = kinesis_streams::described_stream(call, &name).await?;
    let place = (input.needed("ShardIteratorType"), input.text("StartingSequenceNumber"), input.time("Timestamp"));
    let at = start_of(call, &described, &shard, place).await?;
    let stream_ms = described["created_ms"].as_u64().unwrap_or_default();
    let iterator = ShardIterator { stream: name, stream_ms, shard, at, issued_ms: call.now_ms() as u64 };
    Ok(Value::structure().with("ShardIterator", iterator.write()))
}

/// The position in a shard of a described stream that a kind of iterator means.
pub(super) async fn start_of(
    call: &Call<'_>,
    stream: &Json,
    shard: &str,
    (kind, number, timestamp): (&str, Option<&str>, Option<i64>),
) -> Result<u64, Fault> {
    let name = stream["name"].as_str().unwrap_or_default();
    let mut shards = stream["shards"].as_array().into_iter().flatten();
    let Some(own) = shards.find(|one| one["shard_id"] == shard) else {
        let text = format!("Shard {shard} in stream {name} under account {} does not exist", call.account);
        return Err(Fault::new("ResourceNotFoundException", text));
    };
    let (position, timestamp_ms) = match kind {
        "AT_SEQUENCE_NUMBER" | "AFTER_SEQUENCE_NUMBER" => {
            let Some(number) = number else {
                let text = format!("Must specify StartingSequenceNumber for an iterator of type {kind}.");
                return Err(Fault::new("InvalidArgumentException", text));
            };
            if number == BEFORE_ALL {
                return Ok(0);
            }
            let position = position_in(shard, number).ok_or_else(|| {
                let text = format!(
                    "Invalid StartingSequenceNumber {number:?} of {shard} in stream {name}: it is none of this shard's"
                );
                Fault::new("InvalidArgumentException", text)
            })?;
            return Ok(position + u64::from(kind == "AFTER_SEQUENCE_NUMBER"));
        }
        "LATEST" => (StartingPosition::Latest, None),
        "AT_TIMESTAMP" => {
            let Some(time) = timestamp else {
                let text = "Must specify timestampInMillis parameter for iterator of type AT_TIMESTAMP. Current request has no timestamp parameter.";
                return Err(Fault::new("InvalidArgumentException", text));
            };
            (StartingPosition::AtTimestamp, Some(time.max(0) as u64))
        }
        _ => (StartingPosition::TrimHorizon, None),
    };
    let asked = Read {
        name: name.to_owned(),
        cursors: None,
        position: Some(position),
        timestamp_ms,
        shard: Some(shard.to_owned()),
        limit: 0,
    };
    let given = read(call, asked).await?;
    let given: &Records = typed_of(&given).map_err(fault)?;
    let cursor = given.cursors.get(shard).and_then(|text| text.parse().ok());
    Ok(cursor.unwrap_or_else(|| end_of(shard, own)))
}

/// The number of the last record before a position, whether it was one of this shard's or not.
pub(super) fn continuation(shard: &str, at: u64) -> String {
    let index = sequence::parse_shard_id(shard).unwrap_or_default();
    at.checked_sub(1).map_or_else(|| BEFORE_ALL.to_owned(), |before| sequence::number(index, before).to_string())
}

/// Behind the last record of a closed shard.
fn end_of(shard: &str, own: &Json) -> u64 {
    let end = own["ending_sequence_number"].as_str().and_then(|number| position_in(shard, number));
    end.unwrap_or_default()
}

/// The position of a sequence number that is of this shard.
fn position_in(shard: &str, number: &str) -> Option<u64> {
    let (index, position) = sequence::parse(number)?;
    (sequence::shard_id(index) == shard).then_some(position)
}

async fn get_records(call: &Call<'_>) -> Result<Value, Fault> {
    let now_ms = call.now_ms() as u64;
    let iterator = ShardIterator::read(call.input.needed("ShardIterator"), now_ms)?;
    not_a_group(call, &iterator.stream)?;
    let limit = call.input.int("Limit").unwrap_or(RECORDS_MAX).clamp(1, RECORDS_MAX) as usize;
    let asked = Read {
        name: iterator.stream.clone(),
        cursors: Some(BTreeMap::from([(iterator.shard.clone(), iterator.at.to_string())])),
        position: None,
        timestamp_ms: None,
        shard: Some(iterator.shard.clone()),
        limit,
    };
    let given = read(call, asked).await?;
    let given: &Records = typed_of(&given).map_err(fault)?;
    if given.created_ms != iterator.stream_ms {
        return Err(no_stream(call, &iterator.stream));
    }
    let records: Vec<Value> = given.records.iter().map(record).collect();
    let cursor = given.cursors.get(&iterator.shard).and_then(|text| text.parse().ok());
    let answer = Value::structure().with("Records", records).with("MillisBehindLatest", behind_ms(given));
    Ok(match cursor {
        Some(at) => {
            let next = ShardIterator { at, issued_ms: now_ms, ..iterator };
            answer.with("NextShardIterator", next.write())
        }
        None => {
            let described = kinesis_streams::described_stream(call, &iterator.stream).await?;
            answer.with("ChildShards", children(&described, &iterator.shard))
        }
    })
}

/// How far behind the newest record what was read is.
pub(super) fn behind_ms(given: &Records) -> u64 {
    match given.records.last() {
        Some(last) if given.behind > 0 => now_ms().saturating_sub((last.approximate_arrival_timestamp * 1000.0) as u64),
        _ => 0,
    }
}

fn record(given: &Record) -> Value {
    let arrived = given.approximate_arrival_timestamp * 1000.0;
    Value::structure()
        .with("SequenceNumber", given.sequence_number.as_str())
        .with("ApproximateArrivalTimestamp", Value::Time(arrived.round() as i64))
        .with("Data", Value::Blob(given.data.clone()))
        .with("PartitionKey", given.partition_key.as_str())
}

/// The shards that go on where a closed one ended.
pub(super) fn children(stream: &Json, parent: &str) -> Vec<Value> {
    let shards = stream["shards"].as_array().into_iter().flatten();
    let has_parent =
        |shard: &&Json| shard["parents"].as_array().is_some_and(|parents| parents.iter().any(|one| one == parent));
    let child = |shard: &Json| {
        let parents = shard["parents"].as_array().into_iter().flatten();
        let parents: Vec<String> = parents.filter_map(|one| one.as_str().map(str::to_owned)).collect();
        Value::structure()
            .with("ShardId", shard["shard_id"].as_str())
            .with("ParentShards", parents)
            .with("HashKeyRange", super::kinesis_streams::hash_range(shard))
    };
    shards.filter(has_parent).map(child).collect()
}
