//! CloudWatch Logs: groups, streams, and events that are put and read. A group is a stream of the store under a name that no user's stream
//! can have; a log stream is its records of one key.

use std::collections::BTreeMap;

use forebay_core::sequence;
use forebay_engine::api::logs::{group_stream, record, stream_note, GROUP, STREAM_NOTE};
use forebay_engine::api::notes::Annotate;
use forebay_engine::api::stream::{Alter, Declare, Named, Read, Record, Records, StartingPosition};
use forebay_engine::api::{Empty, Request};
use forebay_engine::base::error::EngineError;
use serde_json::Value as Json;

use crate::ask::{answer, typed};
use crate::aws::call::{typed_of, unavailable, Call};
use crate::aws::fault::Fault;
use crate::aws::services::logs_filter::Filter;
use crate::aws::services::logs_moments::{ends, moments};
use crate::aws::services::logs_tokens::{place, token_of};
use crate::aws::services::page::{page, Token};
use crate::aws::value::Value;

super::operations! {
    CreateLogGroup => create_log_group,
    DeleteLogGroup => delete_log_group,
    DescribeLogGroups => describe_log_groups,
    PutRetentionPolicy => put_retention_policy,
    DeleteRetentionPolicy => delete_retention_policy,
    CreateLogStream => create_log_stream,
    DeleteLogStream => delete_log_stream,
    DescribeLogStreams => describe_log_streams,
    PutLogEvents => put_log_events,
    GetLogEvents => get_log_events,
    FilterLogEvents => filter_log_events,
}

/// The one shard of a group.
const SHARD: &str = "shardId-000000000000";
const DAY_MS: u64 = 86_400_000;
/// How long the events of a group are kept for which nothing is said.
const RETENTION_DAYS: u64 = 7;
/// Most bytes of a group; the oldest events go.
const GROUP_BYTES: u64 = 256 << 20;
/// Most events of a put and of an answer, and most bytes of a put.
/// <https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutLogEvents.html>
const EVENTS_MAX: usize = 10_000;
const PUT_BYTES_MAX: usize = 1_048_576;
const EVENT_BYTES: usize = 26;
/// Records that one call looks through; the next one goes on from there.
const SCANNED_MAX: u64 = 50_000;
/// Bytes that one call looks through, once for each term of its pattern: about a tenth of a second, in which all others wait.
const SEARCHED_MAX: usize = 64 << 20;
/// Records of one read.
const BLOCK: u64 = 5_000;
/// Most bytes of the events of an answer: the same page.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// How much later than its own time an event may have been put before it is looked for, ms: events may be two hours ahead.
const AHEAD_MS: i64 = 7_200_000;
/// How much older than now an event may be: the same page.
const OLD_MS: i64 = 14 * 86_400_000;

pub(super) fn invalid(text: impl Into<String>) -> Fault {
    Fault::new("InvalidParameterException", text)
}

fn missing(what: &str) -> Fault {
    Fault::new("ResourceNotFoundException", format!("The specified log {what} does not exist."))
}

fn fault(error: EngineError) -> Fault {
    match error {
        EngineError::NotFound(_) => missing("group"),
        EngineError::Invalid(text) | EngineError::TooLarge(text) => invalid(text),
        EngineError::Conflict(text) => Fault::new("OperationAbortedException", text),
        EngineError::TooMany { message, retry_after_ms, .. } => {
            Fault { retry_after_ms: Some(retry_after_ms), ..Fault::new("ThrottlingException", message) }
        }
        error => unavailable(&error),
    }
}

/// The stream of the group that the input names, by its name or its ARN.
fn group(call: &Call<'_>) -> Result<String, Fault> {
    let given = call.input.text("logGroupName").or(call.input.text("logGroupIdentifier"));
    let given = given.ok_or_else(|| invalid("logGroupName or logGroupIdentifier must be given."))?;
    let prefix = group_arn(call, "");
    let name = given.strip_prefix(&prefix).map_or(given, |name| name.trim_end_matches(":*"));
    if name.starts_with("arn:") {
        return Err(missing("group"));
    }
    Ok(group_stream(name))
}

fn group_arn(call: &Call<'_>, name: &str) -> String {
    format!("arn:aws:logs:{}:{}:log-group:{name}", call.region, call.account)
}

async fn described_group(call: &Call<'_>) -> Result<Json, Fault> {
    let name = group(call)?;
    call.ask(Request::StreamDescribe(Named { name })).await.map_err(fault)
}

fn name_of(group: &Json) -> &str {
    let name = group["name"].as_str().unwrap_or_default();
    name.strip_prefix(GROUP).unwrap_or(name)
}

/// The log streams of a group, by their names, and when each was created.
fn streams_of(group: &Json) -> BTreeMap<String, i64> {
    let notes = group["notes"].as_object().into_iter().flatten();
    let stream = |(note, text): (&String, &Json)| {
        Some((note.strip_prefix(STREAM_NOTE)?.to_owned(), text.as_str()?.parse::<i64>().ok()?))
    };
    notes.filter_map(stream).collect()
}

// ---- groups

async fn create_log_group(call: &Call<'_>) -> Result<Value, Fault> {
    let input = &call.input;
    if input.text("kmsKeyId").is_some() || input.flag("deletionProtectionEnabled") == Some(true) {
        return Err(invalid(
            "kmsKeyId and deletionProtectionEnabled: forebay's log groups have neither; leave them out",
        ));
    }
    if input.text("logGroupClass").is_some_and(|class| class != "STANDARD") {
        return Err(invalid("logGroupClass: there are groups of the class STANDARD alone"));
    }
    if !input.entries("tags").is_empty() {
        return Err(invalid("tags: forebay's log groups have no tags; leave them out"));
    }
    let (name, retention_ms, retention_bytes) = (group(call)?, RETENTION_DAYS * DAY_MS, Some(GROUP_BYTES));
    let declare = Declare { name, shards: 1, retention_ms, retention_bytes, notes: BTreeMap::new(), only_new: true };
    let exists = || Fault::new("ResourceAlreadyExistsException", "The specified log group already exists");
    call.ask(Request::StreamDeclare(declare)).await.map(|_| Value::structure()).map_err(|error| match error {
        EngineError::Conflict(_) => exists(),
        error => fault(error),
    })
}

async fn delete_log_group(call: &Call<'_>) -> Result<Value, Fault> {
    call.ask(Request::StreamDelete(Named { name: group(call)? })).await.map_err(fault)?;
    Ok(Value::structure())
}

async fn describe_log_groups(call: &Call<'_>) -> Result<Value, Fault> {
    let input = &call.input;
    let (prefix, pattern) = (input.text("logGroupNamePrefix"), input.text("logGroupNamePattern"));
    if prefix.is_some() && pattern.is_some() {
        return Err(invalid("logGroupNamePrefix and logGroupNamePattern cannot be given together."));
    }
    let listed = call.ask(Request::StreamListLogs(Empty {})).await.map_err(fault)?;
    let mut groups: Vec<&Json> = listed.as_array().into_iter().flatten().collect();
    groups.retain(|group| {
        let name = name_of(group);
        prefix.is_none_or(|prefix| name.starts_with(prefix))
            && pattern.is_none_or(|part| name.to_lowercase().contains(&part.to_lowercase()))
    });
    groups.sort_by(|one, other| name_of(one).cmp(name_of(other)));
    let from = Token::read(input.text("nextToken")).ok_or_else(|| invalid("The specified nextToken is invalid."))?;
    let limit = input.int("limit").unwrap_or(50).clamp(1, 50) as usize;
    let (groups, next) = page(groups, limit, from, |group| name_of(group));
    let group = |group: &&Json| {
        let arn = group_arn(call, name_of(group));
        Value::structure()
            .with("logGroupName", name_of(group))
            .with("creationTime", group["created_ms"].as_i64())
            .with("retentionInDays", (group["retention_ms"].as_u64().unwrap_or_default() / DAY_MS) as i64)
            .with("metricFilterCount", 0_i64)
            .with("arn", format!("{arn}:*"))
            .with("logGroupArn", arn)
            .with("storedBytes", group["bytes"].as_i64())
            .with("logGroupClass", "STANDARD")
    };
    let groups: Vec<Value> = groups.iter().map(group).collect();
    Ok(Value::structure().with("logGroups", groups).with("nextToken", next))
}

async fn keep_for(call: &Call<'_>, days: u64) -> Result<Value, Fault> {
    let alter = Alter { name: group(call)?, retention_ms: Some(days * DAY_MS), retention_bytes: None };
    call.ask(Request::StreamAlter(alter)).await.map_err(fault)?;
    Ok(Value::structure())
}

/// <https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutRetentionPolicy.html>
const DAYS: [i64; 22] =
    [1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653];

async fn put_retention_policy(call: &Call<'_>) -> Result<Value, Fault> {
    let days = call.input.int("retentionInDays").unwrap_or_default();
    if !DAYS.contains(&days) {
        return Err(invalid(format!("retentionInDays is {days}: allowed are {DAYS:?}.")));
    }
    keep_for(call, days as u64).await
}

async fn delete_retention_policy(call: &Call<'_>) -> Result<Value, Fault> {
    keep_for(call, RETENTION_DAYS).await
}

// ---- streams

/// Change the notes of a group that are its streams.
async fn note(call: &Call<'_>, group: &Json, name: &str, created_ms: Option<i64>) -> Result<(), Fault> {
    let mut notes = BTreeMap::from([(stream_note(name), created_ms.map(|at| at.to_string()))]);
    if let Some(now_ms) = created_ms {
        // Streams whose events are all gone go with them, unless they were made lately.
        let kept_ms = group["retention_ms"].as_i64().unwrap_or_default();
        let old = streams_of(group).into_iter().filter(|(_, created)| created + kept_ms + OLD_MS < now_ms);
        notes.extend(old.map(|(name, _)| (stream_note(&name), None)));
    }
    let annotate = Annotate { name: group["name"].as_str().unwrap_or_default().to_owned(), notes };
    call.ask(Request::StreamAnnotate(annotate)).await.map_err(|error| match error {
        EngineError::TooLarge(_) => {
            Fault::new("LimitExceededException", "Resource limit exceeded: the group has too many streams.")
        }
        error => fault(error),
    })?;
    Ok(())
}

async fn create_log_stream(call: &Call<'_>) -> Result<Value, Fault> {
    let group = described_group(call).await?;
    let name = call.input.needed("logStreamName");
    if name.chars().count() > 256 {
        return Err(invalid("logStreamName: forebay's log streams have names of at most 256 characters"));
    }
    if streams_of(&group).contains_key(name) {
        return Err(Fault::new("ResourceAlreadyExistsException", "The specified log stream already exists"));
    }
    note(call, &group, name, Some(call.now_ms())).await?;
    Ok(Value::structure())
}

/// The stream is not listed any more. Its events go with the group's retention.
async fn delete_log_stream(call: &Call<'_>) -> Result<Value, Fault> {
    let group = described_group(call).await?;
    let name = call.input.needed("logStreamName");
    if !streams_of(&group).contains_key(name) {
        return Err(missing("stream"));
    }
    note(call, &group, name, None).await?;
    Ok(Value::structure())
}

async fn describe_log_streams(call: &Call<'_>) -> Result<Value, Fault> {
    let input = &call.input;
    let group = described_group(call).await?;
    let prefix = input.text("logStreamNamePrefix").unwrap_or_default();
    let by_time = input.text("orderBy") == Some("LastEventTime");
    if by_time && !prefix.is_empty() {
        return Err(invalid("Cannot order by LastEventTime with a logStreamNamePrefix."));
    }
    let wrong = || invalid("The specified nextToken is invalid.");
    let from = Token::read(input.text("nextToken")).ok_or_else(wrong)?;
    // By their last events: the following pages know no event that came after the first one, so that their order stays as it was.
    let (end, from) = match from.name().filter(|_| by_time) {
        Some(name) => {
            let (end, key) = name.split_once('/').ok_or_else(wrong)?;
            (end.parse::<u64>().map_err(|_| wrong())?, Some(key.to_owned()))
        }
        None => (ends(&group).1, from.name().map(str::to_owned)),
    };
    let known = moments(call, &group, end).await?;
    let key = |name: &str, created: i64| {
        let last = known.get(name).and_then(|moments| moments.last).unwrap_or(created);
        if by_time {
            format!("{last:0>15} {name}")
        } else {
            name.to_owned()
        }
    };
    let mut streams: Vec<(String, String, i64)> = streams_of(&group)
        .into_iter()
        .filter(|(name, _)| name.starts_with(prefix))
        .map(|(name, created)| (key(&name, created), name, created))
        .collect();
    streams.sort();
    let limit = input.int("limit").unwrap_or(50).clamp(1, 50) as usize;
    let is_descending = input.flag("descending") == Some(true);
    if is_descending {
        streams.reverse();
    }
    let is_next = |key: &str, from: &str| if is_descending { key < from } else { key > from };
    streams.retain(|(key, ..)| from.as_ref().is_none_or(|from| is_next(key, from)));
    let last = streams.get(limit - 1).filter(|_| streams.len() > limit).map(|(key, ..)| key);
    let next = last.map(|key| Token::after(&if by_time { format!("{end}/{key}") } else { key.clone() }));
    streams.truncate(limit);
    let arn = group_arn(call, name_of(&group));
    let stream = |(_, name, created): &(String, String, i64)| {
        let moments = known.get(name);
        Value::structure()
            .with("logStreamName", name.as_str())
            .with("creationTime", *created)
            .with("firstEventTimestamp", moments.and_then(|moments| moments.first))
            .with("lastEventTimestamp", moments.and_then(|moments| moments.last))
            .with("lastIngestionTime", moments.and_then(|moments| moments.put))
            .with("arn", format!("{arn}:log-stream:{name}"))
            .with("storedBytes", 0_i64)
    };
    let streams: Vec<Value> = streams.iter().map(stream).collect();
    Ok(Value::structure().with("logStreams", streams).with("nextToken", next))
}

// ---- events

/// An event as it stands in a group.
struct Event {
    position: u64,
    /// Its log stream.
    stream: String,
    /// When it happened.
    time_ms: i64,
    /// When it was put.
    put_ms: i64,
    message: String,
}

async fn put_log_events(call: &Call<'_>) -> Result<Value, Fault> {
    let (group, stream) = (described_group(call).await?, call.input.needed("logStreamName"));
    if !streams_of(&group).contains_key(stream) {
        return Err(missing("stream"));
    }
    let given = call.input.list("logEvents");
    let bytes: usize = given.iter().map(|event| event.needed("message").len() + EVENT_BYTES).sum();
    if given.is_empty() || given.len() > EVENTS_MAX || bytes > PUT_BYTES_MAX {
        let text = format!("logEvents: a put has 1 to {EVENTS_MAX} events and at most {PUT_BYTES_MAX} bytes.");
        return Err(invalid(text));
    }
    let times: Vec<i64> = given.iter().map(|event| event.int("timestamp").unwrap_or_default()).collect();
    if !times.is_sorted() {
        return Err(invalid("Log events in a single PutLogEvents request must be in chronological order."));
    }
    let now_ms = call.now_ms();
    let kept_ms = group["retention_ms"].as_i64().unwrap_or_default().min(OLD_MS);
    let (too_old, too_new) =
        (times.partition_point(|at| *at < now_ms - kept_ms), times.partition_point(|at| *at <= now_ms + AHEAD_MS));
    let records: Vec<Vec<u8>> = given[too_old..too_new.max(too_old)]
        .iter()
        .zip(&times[too_old..])
        .map(|(event, at)| record(*at as u64, event.needed("message")))
        .collect();
    if !records.is_empty() {
        let name = group["name"].as_str().unwrap_or_default();
        let entries = records.iter().map(|record| (stream, record.as_slice()));
        let entries: Vec<(&str, &[u8])> = entries.collect();
        answer(|waiter| call.engine.put(name, entries.iter().copied(), None, waiter)).await.map_err(fault)?;
    }
    let rejected = (too_old > 0 || too_new < given.len()).then(|| {
        Value::structure()
            .with("tooOldLogEventEndIndex", (too_old > 0).then_some(too_old))
            .with("tooNewLogEventStartIndex", (too_new < given.len()).then_some(too_new))
    });
    // Tokens have had no meaning since 2023, and some clients still want one.
    Ok(Value::structure().with("nextSequenceToken", now_ms.to_string()).with("rejectedLogEventsInfo", rejected))
}

/// Events of a group from a position on, as they are wanted; where to read on, and whether that is its end.
pub(super) async fn block<T>(
    call: &Call<'_>,
    group: &str,
    at: Start,
    limit: u64,
    wanted: impl Fn(&Record) -> Option<T>,
) -> Result<(Vec<T>, u64, bool), Fault> {
    let (cursors, position, timestamp_ms) = match at {
        Start::At(position) => (Some(BTreeMap::from([(SHARD.to_owned(), position.to_string())])), None, None),
        Start::Since(ms) if ms > 0 => (None, Some(StartingPosition::AtTimestamp), Some(ms as u64)),
        Start::Since(_) => (None, Some(StartingPosition::TrimHorizon), None),
    };
    let read = Read {
        name: group.to_owned(),
        cursors,
        position,
        timestamp_ms,
        shard: Some(SHARD.into()),
        limit: limit as usize,
    };
    let given = typed(|waiter| call.engine.call(Request::StreamRead(read), waiter)).await.map_err(fault)?;
    let given: &Records = typed_of(&given).map_err(fault)?;
    let next = given.cursors.get(SHARD).and_then(|text| text.parse().ok()).unwrap_or_default();
    Ok((given.records.iter().filter_map(wanted).collect(), next, given.behind == 0))
}

/// Where events are looked for.
#[derive(Clone, Copy)]
pub(super) enum Start {
    At(u64),
    Since(i64),
}

fn event(record: &Record) -> Option<Event> {
    let (_, position) = sequence::parse(&record.sequence_number)?;
    let (time, message) = record.data.split_first_chunk::<8>()?;
    Some(Event {
        position,
        stream: record.partition_key.clone(),
        time_ms: i64::from_be_bytes(*time),
        put_ms: (record.approximate_arrival_timestamp * 1000.0) as i64,
        message: String::from_utf8_lossy(message).into_owned(),
    })
}

/// Which events are wanted.
struct Wanted {
    streams: Vec<String>,
    prefix: Option<String>,
    from_ms: i64,
    until_ms: i64,
    filter: Filter,
}

impl Wanted {
    fn of(input: &Value, streams: Vec<String>, until_is_in: bool) -> Result<Self, Fault> {
        let until_ms = input.int("endTime").unwrap_or(i64::MAX);
        Ok(Self {
            streams,
            prefix: input.text("logStreamNamePrefix").map(str::to_owned),
            from_ms: input.int("startTime").unwrap_or(i64::MIN),
            until_ms: if until_is_in { until_ms.saturating_add(1) } else { until_ms },
            filter: Filter::read(input.text("filterPattern").unwrap_or_default())?,
        })
    }

    /// What it costs to look at an event.
    fn cost(&self, event: &Event) -> usize {
        (event.message.len() + EVENT_BYTES) * (1 + self.filter.terms())
    }

    fn takes(&self, event: &Event) -> bool {
        (self.streams.is_empty() || self.streams.contains(&event.stream))
            && self.prefix.as_ref().is_none_or(|prefix| event.stream.starts_with(prefix.as_str()))
            && (self.from_ms..self.until_ms).contains(&event.time_ms)
            && self.filter.matches(&event.message)
    }

    /// Where to begin: an event is put after its own time, or at most two hours before.
    fn start(&self) -> Start {
        Start::Since(self.from_ms.saturating_sub(AHEAD_MS))
    }

    /// Read on from a place; the events, where the next call goes on, and whether the end was reached.
    async fn forward(
        &self,
        call: &Call<'_>,
        group: &str,
        start: Start,
        limit: usize,
    ) -> Result<(Vec<Event>, u64, bool), Fault> {
        let (mut found, mut bytes, mut scanned, mut searched, mut at) = (Vec::new(), 0, 0, 0, start);
        loop {
            let (events, next, is_end) = block(call, group, at, BLOCK, event).await?;
            scanned += events.len() as u64;
            for event in events {
                if searched > SEARCHED_MAX {
                    return Ok((found, event.position, false));
                }
                searched += self.cost(&event);
                if !self.takes(&event) {
                    continue;
                }
                bytes += event.message.len() + EVENT_BYTES;
                if found.len() == limit || bytes > ANSWER_BYTES_MAX && !found.is_empty() {
                    return Ok((found, event.position, false));
                }
                found.push(event);
            }
            if is_end || scanned >= SCANNED_MAX || searched > SEARCHED_MAX {
                return Ok((found, next, is_end));
            }
            at = Start::At(next);
        }
    }

    /// The last events before a position, oldest first.
    async fn backward(
        &self,
        call: &Call<'_>,
        group: &Json,
        end: u64,
        limit: usize,
    ) -> Result<(Vec<Event>, u64), Fault> {
        let shard = &group["shards"][0];
        let first = shard["first_sequence_number"].as_str().and_then(sequence::parse).map_or(end, |(_, at)| at);
        let (mut found, mut scanned, mut searched, mut high, mut step) = (Vec::new(), 0, 0, end, 1_000);
        while high > first && found.len() < limit && scanned < SCANNED_MAX && searched <= SEARCHED_MAX {
            let low = high.saturating_sub(step).max(first);
            let name = group["name"].as_str().unwrap_or_default();
            let mut below = Vec::new();
            let mut at = low;
            while at < high {
                let (events, next, _) = block(call, name, Start::At(at), high - at, event).await?;
                searched += events.iter().map(|event| self.cost(event)).sum::<usize>();
                below.extend(events.into_iter().filter(|event| event.position < high && self.takes(event)));
                if next <= at {
                    break;
                }
                at = next;
            }
            below.append(&mut found);
            found = below;
            scanned += high - low;
            high = low;
            step = BLOCK;
        }
        let surplus = found.len().saturating_sub(limit);
        let found = found.split_off(surplus);
        let begin = found.first().map_or(high, |event| event.position);
        Ok((found, begin))
    }
}

fn limit(call: &Call<'_>) -> usize {
    call.input.int("limit").map_or(EVENTS_MAX, |limit| limit.clamp(1, EVENTS_MAX as i64) as usize)
}

/// Events of an answer by when they happened. They are found in the order in which they were put.
fn in_time(mut events: Vec<Event>) -> Vec<Event> {
    events.sort_by_key(|event| event.time_ms);
    events
}

async fn get_log_events(call: &Call<'_>) -> Result<Value, Fault> {
    let group = described_group(call).await?;
    let stream = call.input.needed("logStreamName");
    if !streams_of(&group).contains_key(stream) {
        return Err(missing("stream"));
    }
    let wanted = Wanted::of(&call.input, vec![stream.to_owned()], false)?;
    let name = group["name"].as_str().unwrap_or_default();
    let (_, end) = ends(&group);
    let token = call.input.text("nextToken").map(place).transpose()?;
    let (events, begin, after) = match token {
        Some((true, at)) => {
            let (events, next, _) = wanted.forward(call, name, Start::At(at), limit(call)).await?;
            (events, at, next)
        }
        Some((false, at)) => {
            let (events, begin) = wanted.backward(call, &group, at, limit(call)).await?;
            (events, begin, at)
        }
        None if call.input.flag("startFromHead") == Some(true) => {
            let (events, next, _) = wanted.forward(call, name, wanted.start(), limit(call)).await?;
            let begin = events.first().map_or(0, |event| event.position);
            (events, begin, next)
        }
        None => {
            let (events, begin) = wanted.backward(call, &group, end, limit(call)).await?;
            (events, begin, end)
        }
    };
    let events = in_time(events);
    let event = |event: Event| {
        Value::structure()
            .with("timestamp", event.time_ms)
            .with("message", event.message)
            .with("ingestionTime", event.put_ms)
    };
    Ok(Value::structure()
        .with("events", events.into_iter().map(event).collect::<Vec<Value>>())
        .with("nextForwardToken", token_of(true, after))
        .with("nextBackwardToken", token_of(false, begin)))
}

async fn filter_log_events(call: &Call<'_>) -> Result<Value, Fault> {
    let input = &call.input;
    let group = described_group(call).await?;
    let streams: Vec<String> = input.texts("logStreamNames").map(str::to_owned).collect();
    if !streams.is_empty() && input.text("logStreamNamePrefix").is_some() {
        return Err(invalid("logStreamNames and logStreamNamePrefix cannot be given together."));
    }
    if input.flag("startFromHead") == Some(false) {
        return Err(invalid("startFromHead: events are found from the oldest on; leave it out"));
    }
    let known = streams_of(&group);
    if !streams.iter().all(|stream| known.contains_key(stream)) {
        return Err(missing("stream"));
    }
    let wanted = Wanted::of(input, streams, true)?;
    let start = match input.text("nextToken").map(place).transpose()? {
        Some((_, at)) => Start::At(at),
        None => wanted.start(),
    };
    let name = group["name"].as_str().unwrap_or_default();
    let (events, next, is_end) = wanted.forward(call, name, start, limit(call)).await?;
    let events = in_time(events);
    let event = |event: Event| {
        Value::structure()
            .with("logStreamName", event.stream)
            .with("timestamp", event.time_ms)
            .with("message", event.message)
            .with("ingestionTime", event.put_ms)
            .with("eventId", format!("{:0>56}", sequence::number(0, event.position)))
    };
    Ok(Value::structure()
        .with("events", events.into_iter().map(event).collect::<Vec<Value>>())
        .with("searchedLogStreams", Vec::<Value>::new())
        .with("nextToken", (!is_end).then(|| token_of(true, next))))
}
