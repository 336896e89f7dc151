//! `why`: the life of one request, one message or one record, as far as it is remembered and as it stands in the store.

use forebay_core::sequence;
use forebay_core::stream::status;
use serde::Serialize;
use serde_json::value::{to_raw_value, RawValue};
use serde_json::{json, Value};

use crate::api::event::EventResult;
use crate::api::failure::Failure;
use crate::api::why::{self, Why};
use crate::base::bytes::hex;
use crate::base::error::EngineError;
use crate::base::ids::uuid_text;
use crate::commit::done::Done;
use crate::failures::log::decode;
use crate::failures::requests::shown;
use crate::gateways::requests::short_id;
use crate::payload::failure_key::{FailureKey, Part};
use crate::runtime::rooms::Rooms;
use crate::sources::invocation::kept_results;
use crate::sources::invocation::Events;
use crate::sources::queue::peek;
use crate::sources::queue::{Life, Quest};
use crate::store::chunk::Chunk;
use crate::store::port::{ShardId, StoreError, Table};

/// Rows read at once: each may hold a batch of 6 MB.
const ROWS: usize = 64;
/// Rows that one question looks through.
const ROWS_OF_A_CALL: usize = 2_048;

/// A failure, as one of the places where something stands. It stays as it is written, with all digits of the numbers of a payload.
fn listed(failure: &Failure) -> Option<Box<RawValue>> {
    #[derive(Serialize)]
    struct Listed<'a> {
        #[serde(flatten)]
        failure: &'a Failure,
        r#where: &'static str,
    }
    to_raw_value(&Listed { failure, r#where: "failed" }).ok()
}

/// A result, as one of the places where something stands.
fn of_result(result: &EventResult) -> Option<Box<RawValue>> {
    #[derive(Serialize)]
    struct Kept<'a> {
        #[serde(flatten)]
        result: &'a EventResult,
        r#where: &'static str,
    }
    to_raw_value(&Kept { result, r#where: "result" }).ok()
}

/// What an id names.
#[derive(Clone, Copy)]
enum Subject {
    /// A request, or a message.
    Uuid(u128),
    /// A request to an HTTP or a WebSocket API.
    ApiRequest(u128),
    /// A record of a stream, or a message of a FIFO queue: its sequence number, and what that says of a record.
    Sequence(u64, (u32, u64)),
}

impl Subject {
    fn of(text: &str) -> Option<Self> {
        if let Some(place) = sequence::parse(text) {
            return Some(Self::Sequence(text.parse().ok()?, place));
        }
        if let Some(id) = short_id(text) {
            return Some(Self::ApiRequest(id));
        }
        let hex = text.replace('-', "");
        u128::from_str_radix(&hex, 16).ok().filter(|_| hex.len() == 32).map(Self::Uuid)
    }
}

/// Where `why` looks on: through the rows of a table, or for messages through their queues.
type Cursor = (Table, Option<Vec<u8>>);

/// Bytes of a quest in a cursor.
const QUEST: usize = 28;

pub(crate) fn why(rooms: &mut Rooms, why: Why) -> Result<Done, EngineError> {
    let Some(subject) = Subject::of(&why.id) else {
        return Err(EngineError::Invalid(format!(
            "{:?} is not a request id, message id or sequence number: take what invoke_async, send or put gave, or the id in an API's \
             answer",
            why.id
        )));
    };
    let (life, cursor) = match &why.cursor {
        None => life_of(rooms, subject)?,
        Some(text) => {
            let at = parse_cursor(text).ok_or_else(|| EngineError::Invalid("cursor: take it from an answer".into()))?;
            look_on(rooms, subject, at)?
        }
    };
    let mut facts = life.facts;
    facts.sort_by_key(|fact| fact["at_ms"].as_u64());
    let cursor = cursor.map(|(table, after)| cursor_text(table, after.as_deref().unwrap_or_default()));
    Ok(Done::at_once(why::Life {
        id: why.id,
        facts,
        running: life.is_running,
        kept: life.kept,
        cursor,
        remembered_since_ms: rooms.ctx.observe.history.batches.since_ms(rooms.ctx.observe.history.began_ms),
    }))
}

/// What is known without looking through the store, and where to look then.
fn life_of(rooms: &mut Rooms, subject: Subject) -> Result<(Life, Option<Cursor>), StoreError> {
    let mut life = Life::default();
    match subject {
        Subject::ApiRequest(id) => {
            tell_api_request(rooms, id, &mut life);
            Ok((life, None))
        }
        Subject::Uuid(id) => {
            let known = rooms.ctx.observe.history.of(id);
            let name = |queue: u64| rooms.events.queues.get(&queue).map(Events::name).unwrap_or_default();
            life.facts = rooms.ctx.observe.history.routes.of(id);
            life.facts.extend(rooms.gateways.calls.of(id));
            tell_api_request(rooms, id, &mut life);
            life.facts.extend(rooms.ctx.observe.history.publications.of(id));
            life.facts.extend(known.iter().map(|(at_ms, what)| what.shown(*at_ms, name)));
            life.is_running |= rooms.dispatch.hops_running.contains_key(&id);
            life.kept.extend(kept_results::kept_result(&mut rooms.events(), id)?.as_ref().and_then(of_result));
            let message = peek::message_life(&mut rooms.queues(), id)?;
            let is_message = !message.facts.is_empty() || !message.kept.is_empty();
            let quests: Vec<Quest> = message.search.into_iter().collect();
            life.add(message);
            let rows = (!is_message).then_some((Table::Event, None));
            Ok((life, quest_cursor(&quests).or(rows)))
        }
        Subject::Sequence(number, (index, position)) => {
            let mut quests = Vec::new();
            for message in peek::sequenced_lives(&mut rooms.queues(), number)? {
                quests.extend(message.search);
                life.add(message);
            }
            for id in 0..rooms.streams.shards.len() {
                let is_ours = |shard: &crate::sources::stream::shards::Shard| {
                    shard.row.index == index && position < shard.durable
                };
                if rooms.streams.shards[id].as_ref().is_some_and(is_ours) {
                    let record = record_life(rooms, id as ShardId, position)?;
                    life.add(record);
                }
            }
            Ok((life, quest_cursor(&quests).or(Some((Table::Failure, None)))))
        }
    }
}

/// What is remembered of a request to an API, and whether an attempt that it has led to runs on.
fn tell_api_request(rooms: &Rooms, id: u128, life: &mut Life) {
    let requests = &rooms.gateways.requests;
    life.facts.extend(requests.of(id));
    life.is_running |= requests.attempts_of(id).into_iter().any(|attempt| rooms.dispatch.attempts.has_open(attempt));
}

/// Look on for the first of some messages.
fn quest(rooms: &mut Rooms, subject: Subject, mut quests: Vec<Quest>) -> Result<(Life, Option<Cursor>), StoreError> {
    let Some(first) = quests.pop() else { return Ok((Life::default(), None)) };
    let (life, next) = peek::search_message(&mut rooms.queues(), first)?;
    quests.extend(next);
    // Records of streams may have the sequence number, too.
    let rows = matches!(subject, Subject::Sequence(..)).then_some((Table::Failure, None));
    Ok((life, quest_cursor(&quests).or(rows)))
}

/// The life of a record: put, attempts of each mapping, and how it stands with them.
fn record_life(rooms: &mut Rooms, id: ShardId, position: u64) -> Result<Life, StoreError> {
    let mut life = Life::default();
    let chunk = rooms.ctx.commit.reader.chunks(id, position, 1)?.into_iter().next();
    let chunk = chunk.filter(|chunk| (chunk.first()..chunk.end()).contains(&position));
    let Some(shard) = rooms.streams.shards[id as usize].as_ref() else { return Ok(life) };
    let (stream, shard_id) = (shard.row.stream.clone(), sequence::shard_id(shard.row.index));
    let record = chunk.as_deref().map(|chunk: &Chunk| chunk.record(position));
    let key_hash = record.map(|record| record.key_hash);
    if let Some(record) = record.filter(|record| !record.lost) {
        life.facts.push(json!({
            "at_ms": record.arrival_ms, "what": "put", "stream": stream, "shard_id": shard_id,
            "partition_key": record.key,
        }));
    }
    let name = |mapping: u64| match rooms.streams.mappings.get(&mapping) {
        Some(mapping) => mapping.row.function.clone(),
        None => "(a mapping that was deleted)".into(),
    };
    let batches = &rooms.ctx.observe.history.batches;
    life.facts.extend(batches.tries_of((id, position), key_hash, name));
    for fact in batches.given_up_of(id, position) {
        let (function, condition) = (name(fact.key.mapping), fact.condition);
        life.facts.push(json!({
            "at_ms": fact.at_ms, "what": "given up", "function": function, "condition": condition,
            "failure": fact.key.text(),
        }));
        if let (Some(at_ms), Some(destination)) = (fact.told_ms, &fact.destination) {
            life.facts.push(json!({"at_ms": at_ms, "what": "delivered", "destination": destination}));
        }
    }
    if record.is_some_and(|record| record.lost) {
        // Mappings step over it.
        life.keep(&json!({"where": "record", "stream": stream, "shard_id": shard_id, "state": "lost"}));
        return Ok(life);
    }
    let readers = shard.pollers.iter().filter_map(|&poller| rooms.streams.pollers[poller].as_ref());
    for poller in readers {
        let mapping = poller.source.mapping;
        let standing = key_hash.map(|hash| status::standing(&poller.machine, position, hash));
        let state = match standing {
            Some((_, state)) if state != "done" => state,
            // Being passed says nothing of success: that is known of what is remembered alone.
            _ => batches.verdict(mapping, (id, position), key_hash).unwrap_or("passed"),
        };
        life.is_running |= state == "running";
        life.keep(&json!({
            "where": "record", "stream": stream, "shard_id": shard_id, "function": name(mapping),
            "lane": standing.map(|(lane, _)| lane), "state": state, "is_in_stream": record.is_some(),
            "on_failure": rooms.streams.mappings.get(&mapping).and_then(|mapping| mapping.row.settings.on_failure.as_deref()),
        }));
    }
    Ok(life)
}

/// Look on through the store.
fn look_on(rooms: &mut Rooms, subject: Subject, (table, after): Cursor) -> Result<(Life, Option<Cursor>), StoreError> {
    let mut life = Life::default();
    if table == Table::MessageKept {
        return quest(rooms, subject, quests_of(&after.unwrap_or_default()));
    }
    let (mut after, mut seen) = (after, 0);
    loop {
        let (rows, all) = rooms.ctx.rows_after(table, &[], after.as_deref(), ROWS)?;
        seen += rows.len();
        life.kept.extend(rows.iter().filter_map(|(key, bytes)| row_about(rooms, table, key, bytes, subject)));
        match rows.into_iter().next_back() {
            Some((last, _)) if !all => after = Some(last),
            _ if table == Table::Event => return Ok((life, Some((Table::Failure, None)))),
            _ => return Ok((life, None)),
        }
        if seen >= ROWS_OF_A_CALL {
            return Ok((life, Some((table, after))));
        }
    }
}

/// A row as it tells of a subject; `None` if it is about another.
fn row_about(rooms: &Rooms, table: Table, key: &[u8], bytes: &[u8], subject: Subject) -> Option<Box<RawValue>> {
    match (table, subject) {
        (Table::Event, Subject::Uuid(request)) => to_raw_value(&event_about(rooms, key, bytes, request)?).ok(),
        (Table::Failure, Subject::Uuid(request)) => {
            let (key, (row, payload)) = (FailureKey::parse(key)?, decode(bytes)?);
            let ended = row.ended.as_ref().filter(|ended| ended.request == uuid_text(request))?;
            let failure = shown(key, &row, payload, (&ended.function, None));
            listed(&failure)
        }
        (Table::Failure, Subject::Sequence(_, (index, position))) => {
            let key = FailureKey::parse(key)?;
            let mapping = rooms.streams.mappings.get(&key.mapping)?;
            let shard = rooms.streams.shards.get(key.shard as usize)?.as_ref()?;
            if shard.row.index != index || key.first > position {
                return None;
            }
            let (row, payload) = decode(bytes)?;
            let is_unread = key.part == Part::Unread && reach_of(&row.record) >= Some(position);
            if !is_unread && row.positions.binary_search(&position).is_err() {
                return None;
            }
            let named = (mapping.row.function.as_str(), Some(mapping.row.stream.as_str()));
            let failure = shown(key, &row, payload, named);
            listed(&failure)
        }
        _ => None,
    }
}

fn event_about(rooms: &Rooms, key: &[u8], bytes: &[u8], request: u128) -> Option<Value> {
    let event = crate::payload::event::Event::decode(bytes).filter(|event| event.request == request)?;
    let due = crate::payload::event::parse_key(key)?;
    let queue = key.first_chunk().copied().map(u64::from_be_bytes)?;
    let events = rooms.events.queues.get(&queue)?;
    Some(json!({
        "where": "queue", "function": events.name(), "due_ms": events.due_ms(due, &rooms.ctx.now),
        "accepted_ms": event.life.accepted_ms, "failures": event.life.failures,
        "deduplication_id": event.deduplication_id.as_deref(), "last_error": event.error.as_deref(),
    }))
}

/// The last position of records that retention dropped unread.
fn reach_of(record: &Value) -> Option<u64> {
    let last = record["KinesisBatchInfo"]["endSequenceNumber"].as_str();
    last.and_then(sequence::parse).map(|(_, position)| position)
}

fn quest_cursor(quests: &[Quest]) -> Option<Cursor> {
    let mut bytes = Vec::with_capacity(quests.len() * QUEST);
    for Quest { log, from, id } in quests {
        bytes.extend_from_slice(&log.to_be_bytes());
        bytes.extend_from_slice(&from.to_be_bytes());
        bytes.extend_from_slice(&id.to_be_bytes());
    }
    (!bytes.is_empty()).then_some((Table::MessageKept, Some(bytes)))
}

fn quests_of(bytes: &[u8]) -> Vec<Quest> {
    let one = |bytes: &[u8]| {
        let (log, rest) = bytes.split_first_chunk()?;
        let (from, id) = rest.split_first_chunk()?;
        let id = u128::from_be_bytes(id.try_into().ok()?);
        Some(Quest { log: ShardId::from_be_bytes(*log), from: u64::from_be_bytes(*from), id })
    };
    bytes.chunks_exact(QUEST).filter_map(one).collect()
}

fn cursor_text(table: Table, after: &[u8]) -> String {
    format!("{}-{}", table as u8, hex(after))
}

fn parse_cursor(text: &str) -> Option<Cursor> {
    let (table, hex) = text.split_once('-')?;
    let table = Table::numbered(table.parse().ok()?)?;
    if hex.is_empty() {
        return Some((table, None));
    }
    let pairs = hex.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
    Some((table, Some(pairs.collect::<Option<Vec<u8>>>()?)))
}
