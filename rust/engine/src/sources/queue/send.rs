//! Sending: from a caller's words to durable messages.
//!
//! Sends wait in their queue until the next commit takes them; only then do they get their numbers. On a full disk what a
//! caller sent is refused, and what the engine itself has to send is given back to where it came from, or waits.

use std::collections::BTreeMap;
use std::sync::Arc;

use forebay_core::queue::dedup::{Key, Offer, Row as IdRow, WINDOW_MS};
use forebay_core::queue::protocol::Sent;
use sha2::{Digest, Sha256};

use crate::base::bytes::hex;
use crate::base::error::{EngineError, Reply, Waiter};
use crate::base::trace::{check_trace, kept, Carried, Origin};
use crate::commit::pending::Pending;
use crate::dispatch::functions;
use crate::payload::message::{message_id, pack_attributes, Message, NewMessage};
use crate::payload::messages::{MessageIds, Numbered};
use crate::sources::queue::check::{check_entries, check_message, name_entry};
use crate::sources::queue::outgoing::{Outgoing, Packed, Sender};
use crate::sources::queue::serve;
use crate::sources::queue::size_estimate::{event_bytes, mean};
use crate::sources::queue::transfer::{self, Transferred};
use crate::sources::queue::QueueRoom;
use crate::sources::queue::{message_key, QueueId};
use crate::store::chunk::Chunk;
use crate::store::port::{StoreError, Table, Write};

/// A chunk is closed when it has grown so large: a single message is read with all of its chunk.
const CHUNK_BYTES: usize = 32 << 10;
/// Deduplication ids of one row.
const IDS_OF_ROW: usize = 4096;
/// Bytes of an id in its row: key, number, when it was accepted.
pub(crate) const ID_BYTES: usize = 32;

/// The messages of one queue in a commit on its way.
pub(crate) struct SentCommit {
    queue: QueueId,
    chunks: Vec<Arc<Chunk>>,
    /// Who sent them, and how many each.
    senders: Vec<(u64, Vec<Numbered>, Sender)>,
    keys: Vec<Key>,
    bytes: usize,
}

/// Send messages; the waiter is answered when they are durable, with an array of their ids.
pub(crate) fn send_messages(
    room: &mut QueueRoom<'_>,
    queue: &str,
    messages: &[NewMessage],
    origin: Origin<'_>,
    waiter: Waiter,
) {
    let carried = functions::carried(room.dispatch, origin);
    let accepted = room.ctx.check_room().and_then(|()| {
        check_entries(messages)?;
        check_trace(origin.trace)?;
        let id = room.queues.queue_id(queue)?;
        Ok((id, accept_messages(room, id, messages, carried)?))
    });
    match accepted {
        Ok((id, (packed, ids))) => {
            queue_outgoing(room, id, Outgoing { packed, ids, sender: Sender::Caller(waiter) });
            room.ctx.commit.pending.urgent = true;
        }
        Err(error) => room.ctx.answer(waiter, Err(error)),
    }
}

/// Send one message by the engine's own doing. Refused like anybody's; once accepted it is sent when there is room.
pub(crate) fn queue_send(
    room: &mut QueueRoom<'_>,
    queue: &str,
    message: &NewMessage,
    carried: Carried<'_>,
    sender: Sender,
) -> Result<(), EngineError> {
    let id = room.queues.queue_id(queue)?;
    let (packed, ids) = accept_messages(room, id, std::slice::from_ref(message), carried)?;
    queue_outgoing(room, id, Outgoing { packed, ids, sender });
    room.ctx.commit.pending.urgent = true;
    Ok(())
}

/// Accept a message that comes of a publication; with `queue_outgoing` it is sent.
pub(crate) fn accept_part(
    room: &mut QueueRoom<'_>,
    id: QueueId,
    message: &NewMessage,
    carried: Carried<'_>,
) -> Result<Outgoing, EngineError> {
    let (packed, ids) = accept_messages(room, id, std::slice::from_ref(message), carried)?;
    Ok(Outgoing { packed, ids, sender: Sender::Publisher })
}

/// Send a message of one queue to another.
pub(crate) fn send_moved(
    room: &mut QueueRoom<'_>,
    id: QueueId,
    message: &Message<'_>,
    trace: Option<&str>,
    moved: Transferred,
) {
    let (data, trace) = (message.pack(), kept(trace));
    let packed = Packed { group: message.group.into(), data, trace, sent_ms: message.sent_ms, key: None };
    queue_outgoing(room, id, Outgoing { packed: vec![packed], ids: Vec::new(), sender: Sender::Move(moved) });
    room.ctx.commit.pending.begin_lazily(room.ctx.now.mono_ns);
}

pub(crate) fn queue_outgoing(room: &mut QueueRoom<'_>, id: QueueId, outgoing: Outgoing) {
    let queue = &mut room.queues.entries[id];
    if queue.sends.is_empty() {
        room.queues.to_send.push(id);
    }
    room.ctx.commit.pending.bytes += outgoing.packed.iter().map(Packed::bytes).sum::<usize>();
    queue.sends_count += outgoing.packed.len() as u64;
    queue.inbound += u64::from(outgoing.sender.is_engine());
    queue.sends.push(outgoing);
}

/// Check messages and give them ids; all of them or none.
fn accept_messages(
    room: &mut QueueRoom<'_>,
    id: QueueId,
    messages: &[NewMessage],
    carried: Carried<'_>,
) -> Result<(Vec<Packed>, Vec<Numbered>), EngineError> {
    let queue = &room.queues.entries[id];
    for (at, message) in messages.iter().enumerate() {
        check_message(message, &queue.row).map_err(|error| name_entry(error, at, messages.len()))?;
    }
    // Those of the commit under way are not in the machine yet, either.
    let unwritten = queue.next - queue.durable + queue.sends_count;
    if queue.machine.room() < unwritten + messages.len() as u64 {
        return Err(EngineError::TooMany {
            message: format!("queue {:?} is full: it has {} messages", queue.row.name, queue.machine.len()),
            reason: "QueueFull".into(),
            retry_after_ms: 1_000,
        });
    }
    let mut taken = Vec::new();
    match pack_all(room, id, (messages, carried), &mut taken) {
        Ok(accepted) => Ok(accepted),
        Err(error) => {
            let queue = &mut room.queues.entries[id];
            for key in taken {
                queue.ids.take_back(key);
            }
            Err(error)
        }
    }
}

fn pack_all(
    room: &mut QueueRoom<'_>,
    id: QueueId,
    (messages, carried): (&[NewMessage], Carried<'_>),
    taken: &mut Vec<Key>,
) -> Result<(Vec<Packed>, Vec<Numbered>), EngineError> {
    let now = room.ctx.now;
    let queue = &mut room.queues.entries[id];
    let is_fifo = queue.row.is_fifo();
    let trace = kept(carried.trace);
    let mut number = queue.unsent();
    let (mut packed, mut ids) = (Vec::with_capacity(messages.len()), Vec::with_capacity(messages.len()));
    for message in messages {
        let group = message.group_id.as_deref().unwrap_or_default();
        let digest;
        let (mut deduplication_id, mut key) = ("", None);
        if is_fifo {
            deduplication_id = match &message.deduplication_id {
                Some(id) => id,
                None => {
                    digest = hex(&Sha256::digest(message.body.as_bytes()));
                    &digest
                }
            };
            let offered = Key::new(queue.row.settings.deduplication_scope, group, deduplication_id);
            match queue.ids.offer(offered, number, &now) {
                Offer::New { .. } => {
                    taken.push(offered);
                    key = Some(offered);
                }
                Offer::Duplicate { number } => {
                    ids.push((message_id(queue.row.seed, number), number));
                    queue.meters.deduplicated.increment();
                    continue;
                }
                Offer::Full { retry_after_ms } => return Err(too_many_ids(&queue.row.name, retry_after_ms)),
            }
        }
        let id = message_id(queue.row.seed, number);
        let attributes = pack_attributes(&message.attributes);
        let delay_ms = message.delay_ms.unwrap_or(queue.row.settings.delay_ms);
        let whole = Message::new(id, (group, deduplication_id), (now.wall_ms, delay_ms), &attributes, &message.body);
        let data = Message { hops: carried.hops, ..whole }.pack();
        packed.push(Packed { group: group.into(), data, trace: trace.clone(), sent_ms: now.wall_ms, key });
        ids.push((id, number));
        number += 1;
    }
    Ok((packed, ids))
}

/// Put what waits in a queue into a commit.
pub(crate) fn take_sends(
    room: &mut QueueRoom<'_>,
    id: QueueId,
    pending: &mut Pending,
    writes: &mut Vec<Write>,
) -> SentCommit {
    let queue = &mut room.queues.entries[id];
    let log = queue.log();
    let sends = std::mem::take(&mut queue.sends);
    queue.sends_count = 0;
    let mut commit = SentCommit {
        queue: id,
        chunks: Vec::new(),
        senders: Vec::with_capacity(sends.len()),
        keys: Vec::new(),
        bytes: 0,
    };
    let mut chunk = Chunk::starting_at(queue.next);
    let mut ids: Vec<(Key, IdRow)> = Vec::new();
    for outgoing in sends {
        for packed in &outgoing.packed {
            if chunk.body().len() >= CHUNK_BYTES {
                let full = std::mem::replace(&mut chunk, Chunk::starting_at(queue.next));
                commit.chunks.push(Arc::new(full));
            }
            chunk.push_traced(&packed.group, &packed.data, 0, packed.sent_ms, packed.trace.as_deref());
            commit.bytes += packed.bytes();
            if let Some(key) = packed.key {
                ids.push((key, IdRow { number: queue.next, accepted_ms: packed.sent_ms }));
            }
            queue.next += 1;
        }
        if let Sender::Attachment(bound) = &outgoing.sender {
            bound.join(pending);
        }
        commit.senders.push((outgoing.packed.len() as u64, outgoing.ids, outgoing.sender));
    }
    if !chunk.is_empty() {
        commit.chunks.push(Arc::new(chunk));
    }
    for part in ids.chunks(IDS_OF_ROW) {
        queue.id_rows.push_back((room.ctx.now.wall_ms, part[0].1.number));
        pending.set(Table::Deduplication, message_key(log, part[0].1.number), id_row(part));
    }
    commit.keys = ids.into_iter().map(|(key, _)| key).collect();
    writes.extend(commit.chunks.iter().map(|chunk| Write::Append { shard: log, chunk: chunk.clone() }));
    for (_, _, sender) in &mut commit.senders {
        if let Sender::Move(moved) = sender {
            transfer::leave(room.queues, moved, pending);
        }
    }
    commit
}

/// The messages of a commit are durable: they may be handed out.
pub(crate) fn sends_durable(room: &mut QueueRoom<'_>, commit: SentCommit) {
    let now = room.ctx.now;
    let queue = &mut room.queues.entries[commit.queue];
    let log = queue.log();
    let (mut count, mut bytes, waited) = (0, 0, queue.waiting());
    let mut next = commit.chunks.first().map_or(queue.durable, |chunk| chunk.first());
    // Sent while it was deleted: they are gone with it.
    let chunks = if queue.is_deleted { Vec::new() } else { commit.chunks };
    for chunk in chunks {
        for number in chunk.first()..chunk.end() {
            let Some(message) = Message::of(&chunk.record(number)) else { continue };
            let Message { group, sent_ms, delay_ms, .. } = message;
            queue.machine.sent(&Sent { number, group, sent_ms, delay_ms }, &now);
            queue.meters.size.record(message.size() as f64);
            count += 1;
            bytes += event_bytes(&message);
        }
        queue.durable = chunk.end();
        room.queues.chunk_cache.put(log, chunk);
    }
    queue.estimate_in(waited, mean(bytes, count));
    queue.meters.sent.add(count);
    for (count, ids, sender) in commit.senders {
        let number = next;
        next += count;
        room.queues.entries[commit.queue].inbound -= u64::from(sender.is_engine());
        match sender {
            Sender::Caller(waiter) => {
                let is_fifo = room.queues.entries[commit.queue].row.is_fifo();
                let reply = Reply::of(Arc::new(MessageIds { named: ids, is_fifo }), &waiter);
                room.ctx.answer(waiter, Ok(reply));
            }
            Sender::Attachment(attachment) => room.queues.attached.push(attachment),
            Sender::Publisher => {}
            Sender::Move(moved) => transfer::moved(room, &moved, (log, number)),
        }
    }
    serve::serve_queue(room, commit.queue);
}

/// A commit could not be written: its messages are not sent, and those that came after it must not be either.
pub(crate) fn refuse_sends(room: &mut QueueRoom<'_>, commits: Vec<SentCommit>, error: &StoreError) {
    let mut later = std::mem::take(&mut room.queues.to_send);
    let mut names = BTreeMap::new();
    for commit in commits {
        let id = commit.queue;
        later.retain(|&other| other != id);
        sends_refused(room, Some(commit), id, error, &mut names);
    }
    for id in later {
        sends_refused(room, None, id, error, &mut names);
    }
    for &id in &room.queues.to_send {
        for outgoing in &mut room.queues.entries[id].sends {
            if let Sender::Attachment(bound) = &mut outgoing.sender {
                bound.renamed(&names);
            }
        }
    }
}

fn sends_refused(
    room: &mut QueueRoom<'_>,
    commit: Option<SentCommit>,
    id: QueueId,
    error: &StoreError,
    names: &mut BTreeMap<u128, u128>,
) {
    let queue = &mut room.queues.entries[id];
    queue.next = queue.durable;
    let later = std::mem::take(&mut queue.sends);
    queue.sends_count = 0;
    let mut taken = Vec::new();
    if let Some(commit) = commit {
        commit.keys.into_iter().for_each(|key| queue.ids.take_back(key));
        let log = queue.log();
        let mut records = commit.chunks.iter().flat_map(|chunk| (chunk.first()..chunk.end()).map(|n| chunk.record(n)));
        let mut senders = Vec::new();
        for (count, ids, sender) in commit.senders {
            let packed: Vec<Packed> = records.by_ref().take(count as usize).map(|record| Packed::of(&record)).collect();
            senders.push(Outgoing { packed, ids, sender });
        }
        while queue.id_rows.back().is_some_and(|(_, number)| *number >= queue.next) {
            let Some((_, number)) = queue.id_rows.pop_back() else { break };
            room.ctx.commit.pending.cancel(Table::Deduplication, message_key(log, number));
        }
        taken = senders;
    }
    let all = taken.into_iter().map(|one| (one, true)).chain(later.into_iter().map(|one| (one, false)));
    for (mut outgoing, was_taken) in all {
        let queue = &mut room.queues.entries[id];
        outgoing.packed.iter_mut().filter_map(|packed| packed.key.take()).for_each(|key| queue.ids.take_back(key));
        queue.inbound -= u64::from(outgoing.sender.is_engine());
        match outgoing.sender {
            Sender::Caller(waiter) => room.ctx.answer(waiter, Err(error.clone().into())),
            Sender::Publisher => {}
            Sender::Attachment(bound) => {
                bound.part(&mut room.ctx.commit.pending);
                let (first, seed) = (room.queues.entries[id].unsent(), room.queues.entries[id].row.seed);
                let mut again = Outgoing { sender: Sender::Attachment(bound), ..outgoing };
                names.extend(again.renumber(seed, first));
                queue_outgoing(room, id, again);
            }
            Sender::Move(moved) => transfer::move_refused(room, moved, was_taken),
        }
    }
}

/// The store has failed: whoever waits for a queue is told so.
pub(crate) fn fail_queues(room: &mut QueueRoom<'_>, error: &StoreError) {
    for id in 0..room.queues.entries.len() {
        for outgoing in std::mem::take(&mut room.queues.entries[id].sends) {
            if let Sender::Caller(waiter) = outgoing.sender {
                room.ctx.answer(waiter, Err(error.clone().into()));
            }
        }
        room.refuse_waiting(id, &error.clone().into());
    }
}

/// Remove rows of deduplication ids that are forgotten.
pub(crate) fn forget_ids(room: &mut QueueRoom<'_>, id: QueueId) {
    let now = room.ctx.now;
    let queue = &mut room.queues.entries[id];
    // Those of a clock that was ahead are as old as can be told: now they begin to age.
    for (written_ms, _) in &mut queue.id_rows {
        *written_ms = now.wall_ms.min(*written_ms);
    }
    while queue.id_rows.front().is_some_and(|(written_ms, _)| ids_due_ms(*written_ms) <= now.wall_ms) {
        let Some((_, number)) = queue.id_rows.pop_front() else { break };
        room.ctx.commit.pending.remove(Table::Deduplication, message_key(queue.row.log, number));
        room.ctx.commit.pending.begin_lazily(now.mono_ns);
    }
    drop(queue.ids.due(&now));
}

impl SentCommit {
    /// Tell whoever sent that the store has failed.
    pub(crate) fn into_waiters(self) -> impl Iterator<Item = Waiter> {
        self.senders.into_iter().filter_map(|(_, _, sender)| match sender {
            Sender::Caller(waiter) => Some(waiter),
            _ => None,
        })
    }
}

/// When a row of ids is forgotten. Two windows: an id of a process whose clock was ahead is remembered for one from the restart on.
pub(crate) fn ids_due_ms(written_ms: u64) -> u64 {
    written_ms.saturating_add(2 * WINDOW_MS).saturating_add(1)
}

fn id_row(ids: &[(Key, IdRow)]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(ids.len() * ID_BYTES);
    for (key, row) in ids {
        bytes.extend_from_slice(&key.0.to_le_bytes());
        bytes.extend_from_slice(&row.number.to_le_bytes());
        bytes.extend_from_slice(&row.accepted_ms.to_le_bytes());
    }
    bytes
}

fn too_many_ids(queue: &str, retry_after_ms: u64) -> EngineError {
    EngineError::TooMany {
        message: format!(
            "queue {queue:?} remembers {} deduplication ids, which is as many as it can: send again when older ones are forgotten",
            crate::sources::queue::IDS_MAX
        ),
        reason: "DeduplicationIds".into(),
        retry_after_ms,
    }
}
