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
use crate::sources::queue::peek::Found;
use crate::sources::queue::transfer::{Again, Transfer};
use crate::sources::queue::QueueId;
use crate::sources::queue::QueueRoom;
use crate::store::chunk::Chunk;

impl QueueRoom<'_> {
    /// `queue.redrive_message`: look for the message through a portion of the queue, and move it when it is found.
    pub(crate) fn redrive_message(&mut self, asked: RedriveMessage, waiter: Waiter) {
        match self.redrive_one(&asked) {
            // What a full disk refuses stays where it was, and whoever asked is told so.
            Ok((answer, true)) => {
                self.ctx.commit.pending.urgent = true;
                self.ctx.commit.pending.waiters.push((waiter, Reply::Added(json(answer))));
            }
            Ok((answer, false)) => self.ctx.answer(waiter, Ok(Reply::Json(json(answer)))),
            Err(error) => self.ctx.answer(waiter, Err(error)),
        }
    }

    /// The answer, and whether it is to wait until what it says is durable.
    fn redrive_one(&mut self, asked: &RedriveMessage) -> Result<(RedrivenMessage, bool), EngineError> {
        self.ctx.check_room()?;
        let id = self.queues.queue_id(&asked.name)?;
        let to = self.queues.redrive_target(id, asked.to.as_deref())?;
        let wanted = parse_uuid(&asked.id).ok_or_else(|| {
            EngineError::Invalid(format!(
                "{:?} is not a message id: take what send gave, or a list of the queue",
                asked.id
            ))
        })?;
        let (number, chunk) = match self.look_for(id, wanted, asked.next.unwrap_or(0))? {
            Found::Here(number, chunk) => (number, chunk),
            Found::Perhaps(next) => {
                return Ok((RedrivenMessage { redriven: 0, message: None, next: Some(next) }, false))
            }
            Found::Nowhere => {
                return Err(EngineError::NotFound(format!(
                    "there is no message {} in queue {:?}",
                    asked.id, asked.name
                )))
            }
        };
        let shown = match &asked.body {
            None => self.message_shown(id, number, chunk.clone()),
            Some(body) => self.message_shown(id, number, Arc::new(edited(&chunk, number, body)?)),
        };
        self.move_one(id, (number, chunk), to, asked)?;
        Ok((RedrivenMessage { redriven: 1, message: Some(shown), next: None }, !asked.dry_run))
    }

    /// Move it, or only see whether it could be.
    fn move_one(
        &mut self,
        id: QueueId,
        (number, chunk): (u64, Arc<Chunk>),
        to: Option<QueueId>,
        asked: &RedriveMessage,
    ) -> Result<(), EngineError> {
        let now = self.ctx.now;
        let refuse = |text: &str| Err(EngineError::Conflict(format!("the message cannot be moved now: {text}")));
        let queue = &mut self.queues.entries[id];
        let delivery = queue.machine.receive_one(number, chunk.record(number).key, &now);
        self.carry_out_queue(id);
        let Some(delivery) = delivery else {
            return refuse(
                "it is in flight, or waits for a delay to end, or, in a FIFO queue, stands behind others of its group: redrive those first",
            );
        };
        let to = to.map(|to| self.queues.entries[to].log());
        let (item, transferring) = (Item { delivery, chunk }, Transfer::Redriven { to, by: None });
        let moves = if asked.dry_run {
            let moves = self.queues.target(id, transferring, &item).map(drop);
            self.give_back(id, &[item.delivery.handle]);
            moves
        } else {
            self.carry_one(id, transferring, item, asked.body.as_deref()).map_err(|(moved, again)| {
                self.put_back(moved, again);
                again
            })
        };
        match moves {
            Ok(()) => Ok(()),
            Err(Again::Yes) => refuse("its queue is full"),
            Err(Again::No) => refuse("there is no queue that it came from: give one (to)"),
        }
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
