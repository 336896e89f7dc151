//! Making a queue: the number of its log, and its entry. Both are those of a deleted queue again once nothing speaks of it, so that
//! a program which makes a queue for each job holds no more than one that makes a few.

use std::sync::Arc;

use forebay_core::queue::dedup::Deduplication;

use crate::base::error::EngineError;
use crate::commit::rows::damaged;
use crate::payload::messages::QueueSource;
use crate::sources::queue::meters::QueueMeters;
use crate::sources::queue::row::QueueRow;
use crate::sources::queue::QueueRoom;
use crate::sources::queue::{Queue, QueueId, Queues, IDS_MAX};
use crate::store::format::keys::NEXT_LOG;
use crate::store::format::FIRST_QUEUE_LOG;
use crate::store::port::{ShardId, StoreError, Table};
use crate::store::SHARD_LIMIT;

impl Queue {
    /// Whether nothing speaks of a deleted queue any more: no handler, no read, no message on its way.
    fn is_forgotten(&self) -> bool {
        // Whoever has some of its messages in hand holds the source.
        let is_held = Arc::strong_count(&self.source) > 1 || self.transferring > 0 || self.reading.is_some();
        !(is_held || !self.wants.is_empty() || !self.sends.is_empty())
    }
}

fn is_taken(queues: &Queues, log: ShardId) -> bool {
    queues.logs.contains_key(&log)
        || queues.dropping.iter().any(|dropping| dropping.log == log)
        || queues.vacant.iter().any(|&id| queues.entries[id].log() == log && !queues.entries[id].is_forgotten())
}

/// The next number that no log has. One that was given back is given out again as late as can be: receipts name it.
fn free_log(queues: &Queues, shards: usize) -> Option<ShardId> {
    let first = FIRST_QUEUE_LOG.max(shards as ShardId);
    let from = if queues.next_log < SHARD_LIMIT { queues.next_log.max(first) } else { first };
    (from..SHARD_LIMIT).chain(first..from).find(|&log| !is_taken(queues, log))
}

/// Put a queue into an entry.
fn enter(queues: &mut Queues, queue: Queue) -> QueueId {
    let log = queue.log();
    let id = match queues.vacant.iter().position(|&id| queues.entries[id].is_forgotten()) {
        Some(at) => {
            let id = queues.vacant.swap_remove(at);
            queues.entries[id] = queue;
            id
        }
        None => {
            queues.entries.push(queue);
            queues.entries.len() - 1
        }
    };
    queues.logs.insert(log, id);
    id
}

/// Make a queue that is not known yet.
pub(crate) fn add_queue(room: &mut QueueRoom<'_>, mut row: QueueRow) -> Result<QueueId, EngineError> {
    row.log = free_log(room.queues, room.ctx.commit.next_shard as usize).ok_or_else(|| {
        let most = SHARD_LIMIT - FIRST_QUEUE_LOG;
        EngineError::Invalid(format!("there are {most} queues, which is as many as a store can have: delete some"))
    })?;
    room.queues.next_log = row.log + 1;
    room.ctx.commit.pending.set(Table::Meta, NEXT_LOG.to_vec(), room.queues.next_log.to_be_bytes().to_vec());
    row.seed = room.ctx.rng.next();
    row.redrive = None;
    row.created_ms = room.ctx.now.wall_ms;
    let ids = Deduplication::new(IDS_MAX, [], &room.ctx.now);
    Ok(open_queue(room, row, ids))
}

pub(crate) fn open_queue(room: &mut QueueRoom<'_>, row: QueueRow, ids: Deduplication) -> QueueId {
    let source = Arc::new(QueueSource {
        name: row.name.clone(),
        arn: room.ctx.queue_arn(&row.name),
        region: room.ctx.config.region.clone(),
        account: room.ctx.config.account.clone(),
        log: row.log,
        is_fifo: row.is_fifo(),
    });
    let meters = QueueMeters::new(&room.ctx.registry, &row.name);
    let name = row.name.clone();
    let id = enter(room.queues, Queue::new(row, source, ids, meters, &room.ctx.now));
    room.queues.names.insert(name, id);
    id
}

/// Read which log comes next.
pub(crate) fn restore_next_log(room: &mut QueueRoom<'_>) -> Result<(), StoreError> {
    if let Some(bytes) = room.ctx.commit.reader.get(Table::Meta, NEXT_LOG)? {
        let next = bytes.try_into().map(ShardId::from_be_bytes);
        room.queues.next_log = next.map_err(|_| damaged("next_log"))?;
    }
    Ok(())
}
