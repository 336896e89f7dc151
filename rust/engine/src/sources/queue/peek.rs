//! Looking at messages without receiving them: what waits, and the life of one.

use std::collections::BTreeSet;
use std::sync::Arc;

use forebay_core::queue::protocol::{Delivery, Handle, Look};
use serde_json::value::{to_raw_value, RawValue};
use serde_json::{json, Map, Value};

use crate::api::queue::{Peek, Peeked};
use crate::base::error::EngineError;
use crate::commit::done::Done;
use crate::payload::message::{message_id, message_number, number_in_sequence, Message};
use crate::payload::messages::Item;
use crate::sources::queue::body_fetch::{self, Content};
use crate::sources::queue::participant::MESSAGES_BYTES;
use crate::sources::queue::QueueId;
use crate::sources::queue::QueueRoom;
use crate::sources::queue::Queues;
use crate::store::chunk::Chunk;
use crate::store::port::{ShardId, StoreError};

/// Most messages of one look, and bytes of them or of what one question looks through, about.
const LOOK_MAX: usize = 1_000;
const LOOK_BYTES_MAX: usize = 1 << 20;
/// Messages that one question looks through for an id.
const SEARCHED_MAX: usize = 1_024;

/// What looking through a portion of a queue has brought.
pub(crate) enum Found {
    Here(u64, Arc<Chunk>),
    /// From there on.
    Perhaps(u64),
    Nowhere,
}

/// Where a message stood or stands.
type Place = (QueueId, u64);

/// What is known of a message: what happened, and where it is now.
#[derive(Default)]
pub(crate) struct Life {
    pub(crate) facts: Vec<Value>,
    pub(crate) kept: Vec<Box<RawValue>>,
    pub(crate) is_running: bool,
    /// It left its place, and is perhaps in a dead-letter queue, or came back from one: where to look first.
    pub(crate) search: Option<Quest>,
}

/// A message that is looked for: through the log of a queue, from a number on, and then through where its dead letters go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Quest {
    pub(crate) log: ShardId,
    pub(crate) from: u64,
    pub(crate) id: u128,
}

/// Bytes that one more message costs a look: its whole chunk, which is perhaps read for it, once.
fn looked_through(chunk: &Chunk, seen: &mut Option<u64>) -> usize {
    let is_new = seen.replace(chunk.first()) != Some(chunk.first());
    if is_new {
        chunk.body().len()
    } else {
        0
    }
}

impl Life {
    /// Add a row that stands in the store.
    pub(crate) fn keep(&mut self, row: &Value) {
        self.kept.extend(to_raw_value(row));
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.facts.extend(other.facts);
        self.kept.extend(other.kept);
        self.is_running |= other.is_running;
    }
}

/// `queue.peek`: messages as they stand there, oldest first.
pub(crate) fn peek(room: &mut QueueRoom<'_>, peek: Peek) -> Result<Done, EngineError> {
    let id = room.queues.queue_id(&peek.name)?;
    let (mut messages, mut bytes, mut from) = (Vec::new(), 0, peek.after.map_or(0, |after| after.saturating_add(1)));
    let (limit, mut seen) = (peek.limit.clamp(1, LOOK_MAX), None);
    while let Some(number) = next_left(room.queues, id, from) {
        if messages.len() >= limit || bytes > LOOK_BYTES_MAX {
            return Ok(Done::at_once(Peeked { messages, next: from.checked_sub(1) }));
        }
        from = number + 1;
        if let Some(chunk) = message_chunk(room, id, number)? {
            bytes += looked_through(&chunk, &mut seen);
            messages.push(message_shown(room, id, number, chunk));
        }
    }
    Ok(Done::at_once(Peeked { messages, next: None }))
}

/// The first message that is there, from a number on.
fn next_left(queues: &Queues, id: QueueId, from: u64) -> Option<u64> {
    let queue = &queues.entries[id];
    let kept = queue.kept.range(from..).next().copied();
    [kept, queue.gone.first_left(from, queue.durable)].into_iter().flatten().min()
}

fn is_there(queues: &Queues, (id, number): Place) -> bool {
    next_left(queues, id, number) == Some(number)
}

fn message_chunk(room: &mut QueueRoom<'_>, id: QueueId, number: u64) -> Result<Option<Arc<Chunk>>, StoreError> {
    let chunk = match body_fetch::content(room, id, number)? {
        Content::Here(chunk) => Some(chunk),
        Content::Nowhere => None,
        Content::There => {
            // Those behind it as well: messages that were sent one by one stand in a chunk each, and others wait for the lock.
            let log = room.queues.entries[id].log();
            let chunks = room.ctx.commit.reader.chunks(log, number, MESSAGES_BYTES)?;
            let chunk = chunks.first().cloned();
            for chunk in chunks {
                room.queues.chunk_cache.put(log, chunk);
            }
            chunk
        }
    };
    Ok(chunk.filter(|chunk| chunk.first() <= number && number < chunk.end()))
}

/// A message as Lambda's event shows it, without a receipt, and with how it stands.
pub(crate) fn message_shown(room: &QueueRoom<'_>, id: QueueId, number: u64, chunk: Arc<Chunk>) -> Value {
    let queue = &room.queues.entries[id];
    let look = queue.machine.look(number, &room.ctx.now);
    let Look { receive_count, first_received_ms, .. } = look;
    let handle = Handle { number, receipt: 0 };
    let item = Item { delivery: Delivery { handle, receive_count, first_received_ms, alone: false }, chunk };
    let mut shown = item.json(&queue.source);
    if let Some(fields) = shown.as_object_mut() {
        fields.remove("receiptHandle");
        fields.extend(standing(room, id, &look, &item.message()));
    }
    shown
}

fn standing(room: &QueueRoom<'_>, id: QueueId, look: &Look, message: &Message<'_>) -> Map<String, Value> {
    let visible_at_ms = look.visible_at_ms.or_else(|| {
        let at_ms = message.sent_ms + message.delay_ms;
        (look.receive_count == 0 && at_ms > room.ctx.now.wall_ms).then_some(at_ms)
    });
    let state = match visible_at_ms {
        _ if look.is_running => "running",
        _ if look.is_held => "in flight",
        Some(_) => "delayed",
        None => "visible",
    };
    let mut fields = Map::new();
    fields.insert("queue".into(), room.queues.entries[id].row.name.clone().into());
    fields.insert("state".into(), state.into());
    if let Some(at_ms) = visible_at_ms {
        fields.insert("visible_at_ms".into(), at_ms.into());
    }
    fields
}

/// The life of the message with an id, as far as it is remembered, and where it is.
pub(crate) fn message_life(room: &mut QueueRoom<'_>, id: u128) -> Result<Life, StoreError> {
    origin(room.queues, id).map_or_else(|| Ok(Life::default()), |origin| life_from(room, origin))
}

/// The lives of the messages that have a sequence number: one for each FIFO queue that has come so far.
pub(crate) fn sequenced_lives(room: &mut QueueRoom<'_>, sequence: u64) -> Result<Vec<Life>, StoreError> {
    let Some(number) = number_in_sequence(sequence) else { return Ok(Vec::new()) };
    let is_far = |&id: &QueueId| {
        let queue = &room.queues.entries[id];
        queue.row.is_fifo() && number < queue.durable
    };
    let origins: BTreeSet<Place> = room.queues.live().filter(is_far).map(|id| beginning(room, (id, number))).collect();
    origins.into_iter().map(|origin| life_from(room, origin)).collect()
}

/// Where a message was sent that was moved here, as far back as is remembered.
fn beginning(room: &QueueRoom<'_>, mut at: Place) -> Place {
    while let Some((log, number)) = room.ctx.observe.history.batches.came_from((room.queues.entries[at.0].log(), at.1))
    {
        let Some(id) = room.queues.logs.get(&log) else { break };
        at = (*id, number);
    }
    at
}

fn life_from(room: &mut QueueRoom<'_>, origin: Place) -> Result<Life, StoreError> {
    let (mut life, mut at, mut has_left) = (Life::default(), origin, false);
    loop {
        let (id, number) = at;
        let log = room.queues.entries[id].log();
        let name = |mapping: u64| match room.queues.mappings.get(&mapping) {
            Some(mapping) => mapping.row.function.clone(),
            None => "(a mapping that was deleted)".into(),
        };
        life.facts.extend(room.ctx.observe.history.batches.tries_of((log, number), None, name));
        let Some(went) = room.ctx.observe.history.batches.went_from((log, number)) else { break };
        let to = room.queues.logs.get(&went.to.0).copied();
        let what = if went.is_dead { "became a dead letter" } else { "redriven" };
        let mut fact = json!({"at_ms": went.at_ms, "what": what, "from": room.queues.entries[id].row.name});
        if !std::mem::replace(&mut has_left, true) {
            life.facts.insert(0, json!({"at_ms": went.sent_ms, "what": "sent", "queue": fact["from"]}));
        }
        if let Some(to) = to {
            fact["to"] = room.queues.entries[to].row.name.clone().into();
            at = (to, went.to.1);
        }
        life.facts.push(fact);
        if to.is_none() {
            return Ok(life);
        }
    }
    if is_there(room.queues, at) {
        found_there(room, &mut life, at, has_left)?;
    } else if !has_left && life.facts.iter().all(|fact| fact["what"] != "handled") {
        let queue = &room.queues.entries[at.0];
        let id = message_id(queue.row.seed, at.1);
        life.search = next_place(room.queues, at.0, at.0).map(|_| Quest { log: queue.log(), from: at.1 + 1, id });
    }
    Ok(life)
}

fn found_there(
    room: &mut QueueRoom<'_>,
    life: &mut Life,
    (id, number): Place,
    has_left: bool,
) -> Result<(), StoreError> {
    let Some(chunk) = message_chunk(room, id, number)? else { return Ok(()) };
    let record = chunk.record(number);
    // What was moved may have begun anew.
    if let Some(message) = Message::of(&record).filter(|message| !has_left && message.source.is_empty()) {
        let queue = &room.queues.entries[id].row.name;
        let mut sent = json!({"at_ms": message.sent_ms, "what": "sent", "queue": queue});
        if !message.group.is_empty() {
            sent["group"] = message.group.into();
        }
        life.facts.insert(0, sent);
    }
    let mut shown = message_shown(room, id, number, chunk);
    shown["where"] = "message".into();
    life.is_running = shown["state"] == "running";
    life.keep(&shown);
    Ok(())
}

/// The queue that gave a message its id, and its number there.
fn origin(queues: &Queues, id: u128) -> Option<Place> {
    queues.live().find_map(|queue| {
        let entry = &queues.entries[queue];
        message_number(entry.row.seed, id).filter(|&number| number < entry.next).map(|number| (queue, number))
    })
}

/// The queue to look through for a message after this one: where its dead letters go. The way begins where the message was
/// sent, and no queue stands on it twice.
fn next_place(queues: &Queues, origin: QueueId, id: QueueId) -> Option<QueueId> {
    let dead_letters_of = |id: &QueueId| {
        let name = queues.entries[*id].row.settings.dead_letter_queue.as_ref()?;
        queues.names.get(name).copied()
    };
    let mut seen = BTreeSet::new();
    let mut way = std::iter::successors(Some(origin), dead_letters_of).take_while(|id| seen.insert(*id));
    way.find(|at| *at == id)?;
    way.next()
}

/// Look for a message through its queue and its dead-letter queues, a portion at a time; where to look on.
pub(crate) fn search_message(room: &mut QueueRoom<'_>, quest: Quest) -> Result<(Life, Option<Quest>), StoreError> {
    let mut life = Life::default();
    // A queue that was deleted meanwhile has taken the message along.
    let Some(&queue) = room.queues.logs.get(&quest.log) else { return Ok((life, None)) };
    Ok(match look_for(room, queue, quest.id, quest.from)? {
        Found::Here(number, _) => {
            found_there(room, &mut life, (queue, number), false)?;
            (life, None)
        }
        Found::Perhaps(from) => (life, Some(Quest { from, ..quest })),
        Found::Nowhere => {
            let next = origin(room.queues, quest.id).and_then(|(origin, _)| next_place(room.queues, origin, queue));
            let log = next.map(|next| room.queues.entries[next].log());
            (life, log.map(|log| Quest { log, from: 0, ..quest }))
        }
    })
}

/// Look for the message with an id through one portion of a queue.
pub(crate) fn look_for(room: &mut QueueRoom<'_>, queue: QueueId, id: u128, from: u64) -> Result<Found, StoreError> {
    let (mut from, mut bytes, mut seen) = (from, 0, None);
    for _ in 0..SEARCHED_MAX {
        let Some(number) = next_left(room.queues, queue, from) else { return Ok(Found::Nowhere) };
        if bytes > LOOK_BYTES_MAX {
            break;
        }
        from = number + 1;
        let Some(chunk) = message_chunk(room, queue, number)? else { continue };
        bytes += looked_through(&chunk, &mut seen);
        if Message::of(&chunk.record(number)).is_some_and(|message| message.id == id) {
            return Ok(Found::Here(number, chunk));
        }
    }
    Ok(Found::Perhaps(from))
}
