//! One message of a dead-letter queue moved by an operator's request: found by its id, and perhaps with another body.
//!
//! It moves as those of a redrive do. In a FIFO queue only the first of its group can: the order within a group is kept.

use std::sync::Arc;

use crate::api::queue::{RedriveMessage, RedrivenMessage};
use crate::base::error::{EngineError, Reply, Waiter};
use crate::base::ids::parse_uuid;
use crate::commit::done::json;
use crate::payload::message::Message;
use crate::payload::messages::Item;
use crate::sources::queue::check::check_body;
use crate::sources::queue::peek::{self, Found};
use crate::sources::queue::transfer::{self, Again, Transfer};
use crate::sources::queue::QueueId;
use crate::sources::queue::QueueRoom;
use crate::sources::queue::{mapping, redrive, serve};
use crate::store::chunk::Chunk;

/// `queue.redrive_message`: look for the message through a portion of the queue, and move it when it is found.
pub(crate) fn redrive_message(room: &mut QueueRoom<'_>, asked: RedriveMessage, waiter: Waiter) {
    match redrive_one(room, &asked) {
        // What a full disk refuses stays where it was, and whoever asked is told so.
        Ok((answer, true)) => {
            room.ctx.commit.pending.urgent = true;
            room.ctx.commit.pending.waiters.push((waiter, Reply::Added(json(answer))));
        }
        Ok((answer, false)) => room.ctx.answer(waiter, Ok(Reply::Json(json(answer)))),
        Err(error) => room.ctx.answer(waiter, Err(error)),
    }
}

/// The answer, and whether it is to wait until what it says is durable.
fn redrive_one(room: &mut QueueRoom<'_>, asked: &RedriveMessage) -> Result<(RedrivenMessage, bool), EngineError> {
    room.ctx.check_room()?;
    let id = room.queues.queue_id(&asked.name)?;
    let to = redrive::redrive_target(room.queues, id, asked.to.as_deref())?;
    let wanted = parse_uuid(&asked.id).ok_or_else(|| {
        EngineError::Invalid(format!("{:?} is not a message id: take what send gave, or a list of the queue", asked.id))
    })?;
    let (number, chunk) = match peek::look_for(room, id, wanted, asked.next.unwrap_or(0))? {
        Found::Here(number, chunk) => (number, chunk),
        Found::Perhaps(next) => return Ok((RedrivenMessage { redriven: 0, message: None, next: Some(next) }, false)),
        Found::Nowhere => {
            return Err(EngineError::NotFound(format!("there is no message {} in queue {:?}", asked.id, asked.name)))
        }
    };
    let shown = match &asked.body {
        None => peek::message_shown(room, id, number, chunk.clone()),
        Some(body) => peek::message_shown(room, id, number, Arc::new(edited(&chunk, number, body)?)),
    };
    move_one(room, id, (number, chunk), to, asked)?;
    Ok((RedrivenMessage { redriven: 1, message: Some(shown), next: None }, !asked.dry_run))
}

/// Move it, or only see whether it could be.
fn move_one(
    room: &mut QueueRoom<'_>,
    id: QueueId,
    (number, chunk): (u64, Arc<Chunk>),
    to: Option<QueueId>,
    asked: &RedriveMessage,
) -> Result<(), EngineError> {
    let now = room.ctx.now;
    let refuse = |text: &str| Err(EngineError::Conflict(format!("the message cannot be moved now: {text}")));
    let queue = &mut room.queues.entries[id];
    let delivery = queue.machine.receive_one(number, chunk.record(number).key, &now);
    serve::carry_out_queue(room, id);
    let Some(delivery) = delivery else {
        return refuse(
            "it is in flight, or waits for a delay to end, or, in a FIFO queue, stands behind others of its group: redrive those first",
        );
    };
    let to = to.map(|to| room.queues.entries[to].log());
    let (item, transferring) = (Item { delivery, chunk }, Transfer::Redriven { to, by: None });
    let moves = if asked.dry_run {
        let moves = transfer::target(room.queues, id, transferring, &item).map(drop);
        mapping::give_back(room, id, &[item.delivery.handle]);
        moves
    } else {
        transfer::carry_one(room, id, transferring, item, asked.body.as_deref()).map_err(|(moved, again)| {
            transfer::put_back(room, moved, again);
            again
        })
    };
    match moves {
        Ok(()) => Ok(()),
        Err(Again::Yes) => refuse("its queue is full"),
        Err(Again::No) => refuse("there is no queue that it came from: give one (to)"),
    }
}

/// A message with another body, in a chunk of its own.
fn edited(chunk: &Chunk, number: u64, body: &str) -> Result<Chunk, EngineError> {
    let record = chunk.record(number);
    let mut alone = Chunk::starting_at(number);
    if let Some(message) = Message::of(&record) {
        check_body(body, message.size() - message.body.len())?;
        let data = Message { body, ..message }.pack();
        alone.push_traced(record.key, &data, 0, record.arrival_ms, record.trace);
    }
    Ok(alone)
}
