//! Deleting a queue: its name is free at once, and what it held goes in slices, commit by commit, so that nobody waits for it.
//!
//! A row of `Meta` names a log that is on its way out; after a crash the next process goes on with it. The queue's entry stays as
//! long as a handler has some of its messages in its hands, and is then another queue's (`adding`).

use forebay_core::queue::dedup::Deduplication;
use forebay_core::queue::QueueMachine;

use crate::api::queue::Deleted;
use crate::base::error::EngineError;
use crate::commit::done::Done;
use crate::commit::rows::damaged;
use crate::sources::queue::deletion_bitmap::DeletionBitmap;
use crate::sources::queue::outgoing::Sender;
use crate::sources::queue::{Dropping, QueueId, IDS_MAX, NO_QUEUE};
use crate::sources::queue::{QueueRoom, Queues};
use crate::store::format::keys::{dropped_log_key, DROPPED_LOG};
use crate::store::port::{ShardId, StoreError, Table};

/// What a queue has beside its log, by the log's number.
const TABLES: [Table; 4] = [Table::MessageState, Table::MessagesGone, Table::MessageKept, Table::Deduplication];
/// Most rows of each table, and chunks of the log, that one commit removes.
const SLICE: usize = 256;

/// The name of a queue.
pub(crate) fn name_of(queues: &Queues, id: QueueId) -> &str {
    &queues.entries[id].row.name
}

/// Refuse to delete a queue that the app's own code reads, or that another one's dead letters go to.
pub(crate) fn check_unread(queues: &Queues, id: QueueId) -> Result<(), EngineError> {
    let queue = &queues.entries[id];
    let name = &queue.row.name;
    let refuse = |text: String| Err(EngineError::Conflict(format!("queue {name:?} {text}")));
    let declared = |id: &&u64| {
        let mapping = queues.mappings.get(id);
        mapping.is_some_and(|mapping| mapping.declared && !mapping.row.by_client && mapping.handler.is_some())
    };
    if let Some(mapping) = queue.readers.iter().find(declared) {
        let function = &queues.mappings[mapping].row.function;
        return refuse(format!(
            "is read by function {function:?}, which runs: stop the app or delete that mapping first"
        ));
    }
    if let Some(source) = queues.buried_in(name).next() {
        return refuse(format!("is the dead-letter queue of {source:?}: give that one another first"));
    }
    Ok(())
}

/// Refuse to delete a queue while messages are on their way to it, or from it.
pub(crate) fn check_unmoved(queues: &Queues, id: QueueId) -> Result<(), EngineError> {
    let queue = &queues.entries[id];
    let refuse = |text: &str| Err(EngineError::Conflict(format!("queue {:?} {text}", queue.row.name)));
    if queues.tasks.contains_key(&id) || queues.tasks.values().any(|task| task.goes_to(queue.log())) {
        return refuse("is part of a redrive: cancel that first, or wait for its end");
    }
    if queue.inbound > 0 {
        return refuse("is just being sent messages by the engine: try again");
    }
    Ok(())
}

/// Delete a queue with everything in it, and the mappings on it that no running code declares.
pub(crate) fn delete_queue(room: &mut QueueRoom<'_>, id: QueueId) -> Done {
    for mapping in room.queues.entries[id].readers.clone() {
        room.queue_mapping_delete(mapping);
    }
    let queue = &room.queues.entries[id];
    let (name, log, removed) = (queue.row.name.clone(), queue.log(), queue.machine.len());
    let gone = EngineError::NotFound(format!("{NO_QUEUE} (queue {name:?} was just deleted)"));
    room.refuse_waiting(id, &gone);
    for outgoing in std::mem::take(&mut room.queues.entries[id].sends) {
        if let Sender::Caller(waiter) = outgoing.sender() {
            room.ctx.answer(waiter, Err(gone.clone()));
        }
    }
    for table in TABLES {
        room.ctx.remove_rows_on_their_way(table, &log.to_be_bytes());
    }
    let (registry, now) = (room.ctx.registry.clone(), room.ctx.now);
    room.queues.names.remove(&name);
    room.queues.logs.remove(&log);
    let queue = &mut room.queues.entries[id];
    registry.forget_all("queue", &name);
    queue.is_deleted = true;
    queue.sends_count = 0;
    queue.machine = QueueMachine::new(queue.row.of_core(), &now);
    queue.ids = Deduplication::new(IDS_MAX, [], &now);
    queue.gone = DeletionBitmap::default();
    queue.gone.mark_below(u64::MAX);
    queue.purged_below = u64::MAX;
    queue.id_rows.clear();
    queue.stated.clear();
    queue.kept.clear();
    room.queues.chunk_cache.trim(log, u64::MAX);
    room.ctx.commit.pending.remove(Table::Queue, name.into_bytes());
    room.ctx.commit.pending.set(Table::Meta, dropped_log_key(log), log.to_be_bytes().to_vec());
    room.ctx.commit.pending.urgent = true;
    room.queues.dropping.push_back(Dropping { log, entry: Some(id) });
    Done::when_durable(Deleted { removed })
}

/// Go on with what a process before this one had begun to remove.
pub(crate) fn restore_dropping(room: &mut QueueRoom<'_>) -> Result<(), StoreError> {
    for (_, log) in room.ctx.commit.reader.scan(Table::Meta, DROPPED_LOG, None, usize::MAX)? {
        let log = log.as_slice().try_into().map_err(|_| damaged("the number of a log to be removed"))?;
        room.queues.dropping.push_back(Dropping { log: ShardId::from_be_bytes(log), entry: None });
        room.ctx.commit.pending.begin_lazily(room.ctx.now.mono_ns);
    }
    Ok(())
}

/// A commit is durable: remove the next slice of what deleted queues held.
pub(crate) fn drop_slice(room: &mut QueueRoom<'_>) {
    // What is left when the app stops is removed after the next start.
    if room.ctx.draining || room.ctx.closed {
        return;
    }
    let Some(dropping) = room.queues.dropping.front() else { return };
    if let Err(error) = drop_slice_of(room, dropping.log) {
        room.ctx.fail(error);
    }
}

fn drop_slice_of(room: &mut QueueRoom<'_>, log: ShardId) -> Result<(), StoreError> {
    let mut is_empty = true;
    for table in TABLES {
        for (key, _) in room.ctx.commit.reader.scan(table, &log.to_be_bytes(), None, SLICE)? {
            room.ctx.commit.pending.remove(table, key);
            is_empty = false;
        }
    }
    match room.ctx.commit.reader.sizes(log, SLICE)?.last() {
        Some((first, count, _, _)) => room.ctx.commit.pending.trim(log, first + u64::from(*count)),
        None if is_empty => {
            room.ctx.commit.pending.trim(log, u64::MAX);
            room.ctx.commit.pending.remove(Table::Meta, dropped_log_key(log));
            let entry = room.queues.dropping.pop_front().and_then(|dropping| dropping.entry);
            room.queues.vacant.extend(entry);
        }
        None => {}
    }
    room.ctx.commit.pending.begin_lazily(room.ctx.now.mono_ns);
    Ok(())
}
