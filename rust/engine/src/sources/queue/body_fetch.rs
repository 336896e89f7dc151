//! From numbers to contents: what is in the cache at once, the rest when the reader has fetched it.

use crate::sources::queue::participant::ReadMessages;
use std::collections::VecDeque;
use std::sync::Arc;

use forebay_core::queue::protocol::{Delivery, Outcome};
use forebay_core::stream::protocol::Backoff;

use crate::base::error::{Reply, Waiter};
use crate::payload::message::Message;
use crate::payload::messages::{Item, Messages};
use crate::sources::queue::mapping::{self, Assembly};
use crate::sources::queue::transfer::{self, Transfer};
use crate::sources::queue::QueueRoom;
use crate::sources::queue::{message_key, QueueId};
use crate::sources::queue::{receive, redrive, serve};
use crate::store::chunk::Chunk;
use crate::store::port::{StoreError, Table};

/// Messages whose contents somebody waits for.
pub(crate) struct BodyFetch {
    missing: VecDeque<Delivery>,
    found: Vec<Item>,
    purpose: Purpose,
}

pub(crate) enum Purpose {
    /// A function's batch.
    Batch(Assembly),
    /// The answer to a receive.
    Answer { waiter: Waiter, durable: bool },
    /// To another queue.
    Move(Transfer),
}

impl BodyFetch {
    pub(crate) fn new(deliveries: Vec<Delivery>, purpose: Purpose) -> Self {
        Self { found: Vec::with_capacity(deliveries.len()), missing: deliveries.into(), purpose }
    }

    pub(crate) fn is_answer(&self) -> bool {
        matches!(self.purpose, Purpose::Answer { .. })
    }

    pub(crate) fn is_burial(&self) -> bool {
        matches!(self.purpose, Purpose::Move(Transfer::Buried))
    }

    /// Fetch one more, after the others.
    pub(crate) fn then(&mut self, delivery: Delivery) {
        self.missing.push_back(delivery);
    }

    pub(crate) fn into_waiter(self) -> Option<Waiter> {
        match self.purpose {
            Purpose::Answer { waiter, .. } => Some(waiter),
            _ => None,
        }
    }
}

pub(crate) enum Content {
    Here(Arc<Chunk>),
    /// On disk.
    There,
    /// Purged meanwhile.
    Nowhere,
}

/// Go after what a want misses; act when everything is there.
pub(crate) fn fetch_bodies(room: &mut QueueRoom<'_>, id: QueueId, want: BodyFetch) {
    let mut next = Some(want);
    while let Some(want) = next.take() {
        // Filters may have let so little through that more was received.
        next = pursue_one(room, id, want);
    }
}

fn pursue_one(room: &mut QueueRoom<'_>, id: QueueId, mut want: BodyFetch) -> Option<BodyFetch> {
    while let Some(delivery) = want.missing.front().copied() {
        let content = match content(room, id, delivery.handle.number) {
            Ok(content) => content,
            Err(error) => {
                room.ctx.fail(error);
                return None;
            }
        };
        match content {
            Content::Here(chunk) => want.found.push(Item { delivery, chunk }),
            Content::Nowhere => {
                let now = room.ctx.now;
                let queue = &mut room.queues.entries[id];
                if want.is_burial() {
                    queue.machine.redriven(delivery.handle.number);
                }
                queue.machine.completed(&[delivery.handle], &Outcome::Success, &Backoff::NONE, &now);
                if let Purpose::Move(transferring) = &want.purpose {
                    redrive::move_ended(room, id, transferring);
                }
            }
            Content::There => {
                read_messages(room, id, delivery.handle.number);
                let found = std::mem::take(&mut want.found);
                let Purpose::Move(transferring) = want.purpose else {
                    room.queues.entries[id].wants.push_back(BodyFetch { found, ..want });
                    return None;
                };
                room.queues.entries[id].wants.push_back(want);
                // What moves need not wait for what moves after it.
                transfer::carry(room, id, &transferring, found);
                return None;
            }
        }
        want.missing.pop_front();
    }
    match want.purpose {
        Purpose::Batch(assembly) => return mapping::assembled(room, id, assembly, want.found),
        Purpose::Answer { waiter, durable } => {
            let messages = Messages { source: room.queues.entries[id].source.clone(), items: want.found.into() };
            let reply = Reply::of(Arc::new(messages), &waiter);
            receive::answer_when_durable(room, waiter, reply, durable);
        }
        Purpose::Move(transferring) => transfer::carry(room, id, &transferring, want.found),
    }
    None
}

pub(crate) fn content(room: &mut QueueRoom<'_>, id: QueueId, number: u64) -> Result<Content, StoreError> {
    let queue = &room.queues.entries[id];
    let log = queue.log();
    if let Some(chunk) = room.queues.chunk_cache.find(log, number) {
        let is_message = Message::stands_in(&chunk.record(number));
        return Ok(if is_message { Content::Here(chunk.clone()) } else { Content::Nowhere });
    }
    if queue.kept.contains(&number) {
        let row = room.ctx.row(Table::MessageKept, &message_key(log, number))?;
        let chunk = row.and_then(|body| Chunk::open(number, body)).map(Arc::new);
        return Ok(chunk.map_or(Content::Nowhere, Content::Here));
    }
    Ok(if number < queue.gone.low() { Content::Nowhere } else { Content::There })
}

/// Have the reader fetch a message that is not at hand, and those behind it. One read of a queue at a time: where the next one must
/// begin is only known when this one has come, and two that overlap bring the same twice.
fn read_messages(room: &mut QueueRoom<'_>, id: QueueId, number: u64) {
    let queue = &mut room.queues.entries[id];
    if queue.reading.is_none() {
        queue.reading = Some(number);
        let log = queue.row.log;
        let read = ReadMessages { queue: id, log, from: number, chunks: None };
        room.ctx.commit.reads.push_back(Box::new(read));
    }
}

/// A read came back.
pub(crate) fn messages_read(room: &mut QueueRoom<'_>, id: QueueId, from: u64, chunks: Vec<Arc<Chunk>>) {
    let queue = &mut room.queues.entries[id];
    queue.reading = None;
    let brought = chunks.first().map_or(from, |chunk| chunk.first())..chunks.last().map_or(from, |chunk| chunk.end());
    let log = queue.log();
    if chunks.first().is_none_or(|chunk| chunk.first() > from) && from >= queue.gone.low() {
        let text = format!("message {from} of queue {:?} is not where it was written", queue.row.name);
        return room.ctx.fail(StoreError::Corrupt(text));
    }
    for chunk in chunks.into_iter().filter(|_| !queue.is_deleted) {
        room.queues.chunk_cache.put(log, chunk);
    }
    // One by one: those that are not looked at yet must be seen by what follows from the others.
    for _ in 0..room.queues.entries[id].wants.len() {
        let Some(want) = room.queues.entries[id].wants.pop_front() else { break };
        // Once the next read is under way, only who waits for what came is looked at: there may be a thousand others.
        let is_here = want.missing.front().is_none_or(|delivery| brought.contains(&delivery.handle.number));
        if !is_here && room.queues.entries[id].reading.is_some() {
            room.queues.entries[id].wants.push_back(want);
        } else {
            fetch_bodies(room, id, want);
        }
    }
    serve::serve_queue(room, id);
}
