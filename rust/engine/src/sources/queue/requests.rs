//! `queue.*`, and `mapping.*` where a queue is named.

use crate::api::mapping::{DeclareOnQueue, Mapping, OnQueue, QueueMapping as Described, Status, UpdateOnQueue};
use crate::api::notes::{Annotate, Notes};
use crate::api::queue::{
    Before, ChangeVisibility, Declare, DeleteMessage, DeleteMessages, Depth, Moved, Moving, Named, Peek, Queue,
    Receive, Redrive, RedriveMessage, Send,
};
use crate::api::Empty;
use crate::base::error::{EngineError, Waiter};
use crate::base::ids::parse_uuid;
use crate::base::limits::MESSAGES_OF_A_CALL_MAX;
use crate::base::trace::Origin;
use crate::commit::done::Done;
use crate::dispatch::versions::check_unqualified;
use crate::sources::queue::mapping::{self, QueueMapping};
use crate::sources::queue::mapping_row::QueueMappingRow;
use crate::sources::queue::meters::MappingMeters;
use crate::sources::queue::row::QueueRow;
use crate::sources::queue::QueueId;
use crate::sources::queue::QueueRoom;
use crate::sources::queue::Queues;
use crate::sources::queue::{create, receive, redrive, send, serve};
use crate::sources::queue::{peek, redrive_one};
use crate::store::port::Table;

impl QueueRoom<'_> {
    /// Answered when what is sent is durable.
    pub(crate) fn queue_send_all(&mut self, asked: Send, waiter: Waiter) {
        let origin = Origin { parent: asked.parent.as_deref().and_then(parse_uuid), trace: asked.trace.as_deref() };
        send::send_messages(self, &asked.name, &asked.messages, origin, waiter);
    }

    /// Answered when there are messages, or when the wait is over.
    pub(crate) fn queue_receive(&mut self, asked: Receive, waiter: Waiter) {
        match self.queues.queue_id(&asked.name) {
            Ok(id) => receive::begin_receive(self, id, asked, waiter),
            Err(error) => self.ctx.answer(waiter, Err(error)),
        }
    }

    pub(crate) fn queue_list(&mut self, _: Empty) -> Result<Done, EngineError> {
        let list: Vec<Queue> = self.queues.live().map(|id| self.describe_queue(id)).collect();
        Ok(Done::at_once(list))
    }

    pub(crate) fn queue_describe(&mut self, named: Named) -> Result<Done, EngineError> {
        let id = self.queues.queue_id(&named.name)?;
        Ok(Done::at_once(self.describe_queue(id)))
    }

    pub(crate) fn queue_depth(&mut self, named: Named) -> Result<Done, EngineError> {
        let id = self.queues.queue_id(&named.name)?;
        Ok(Done::at_once(depth(self.queues, id)))
    }

    pub(crate) fn queue_delete_message(&mut self, asked: DeleteMessage) -> Result<Done, EngineError> {
        let id = self.queues.queue_id(&asked.name)?;
        receive::delete_message(self, id, &asked.receipt_handle)?;
        Ok(Done::when_durable(Empty {}))
    }

    pub(crate) fn queue_delete_messages(&mut self, asked: DeleteMessages) -> Result<Done, EngineError> {
        let id = self.queues.queue_id(&asked.name)?;
        if asked.receipt_handles.len() > MESSAGES_OF_A_CALL_MAX {
            return Err(EngineError::Invalid(format!(
                "receipt_handles: at most {MESSAGES_OF_A_CALL_MAX} are allowed, got {}",
                asked.receipt_handles.len()
            )));
        }
        Ok(Done::when_durable(receive::delete_messages(self, id, &asked.receipt_handles)))
    }

    pub(crate) fn queue_change_visibility(&mut self, asked: ChangeVisibility) -> Result<Done, EngineError> {
        let id = self.queues.queue_id(&asked.name)?;
        receive::change_message(self, id, &asked.receipt_handle, asked.visibility_timeout_ms)?;
        Ok(Done::when_durable(Empty {}))
    }

    pub(crate) fn queue_purge(&mut self, named: Named) -> Result<Done, EngineError> {
        let id = self.queues.queue_id(&named.name)?;
        let depth = depth(self.queues, id);
        self.queues.entries[id].machine.purge();
        serve::serve_queue(self, id);
        Ok(Done::when_durable(depth))
    }

    pub(crate) fn queue_redrive(&mut self, asked: Redrive) -> Result<Done, EngineError> {
        let id = self.queues.queue_id(&asked.name)?;
        let moving = redrive::begin_redrive(self, id, asked.to, asked.rate)?;
        Ok(Done::when_durable(Moving { moving }))
    }

    pub(crate) fn queue_cancel_redrive(&mut self, named: Named) -> Result<Done, EngineError> {
        let id = self.queues.queue_id(&named.name)?;
        let (moved, left) = redrive::cancel_redrive(self, id)?;
        Ok(Done::when_durable(Moved { moved, left }))
    }

    pub(crate) fn queue_declare(&mut self, asked: Declare) -> Result<Done, EngineError> {
        let Declare { name, settings, notes, only_new, instead_of } = asked;
        let known = self.queues.names.get(&name).map(|id| &self.queues.entries[*id].row);
        if only_new && known.is_some() {
            return Err(EngineError::Conflict(format!("queue {name:?} already exists")));
        }
        let is_as =
            |wanted: &Before| known.is_some_and(|row| row.settings == wanted.settings && row.notes == wanted.notes);
        if instead_of.is_some_and(|wanted| !is_as(&wanted)) {
            return Err(EngineError::Conflict(format!("queue {name:?} was changed meanwhile")));
        }
        let notes = Annotate { name: name.clone(), notes }.applied(known.map_or(&Notes::new(), |row| &row.notes))?;
        let (created_ms, modified_ms) = (0, None);
        let mut row = QueueRow { name, log: 0, seed: 0, created_ms, modified_ms, settings, redrive: None, notes };
        row.check()?;
        if let Some(name) = &row.settings.dead_letter_queue {
            let target = &self.queues.entries[self.queues.queue_id(name)?].row;
            if target.is_fifo() != row.is_fifo() {
                let kind = |row: &QueueRow| if row.is_fifo() { "FIFO" } else { "standard" };
                return Err(EngineError::Invalid(format!(
                    "dead_letter_queue: queue {name:?} is a {} queue and {:?} is a {} one: both must be of one kind",
                    kind(target),
                    row.name,
                    kind(&row)
                )));
            }
        }
        let now = self.ctx.now;
        let id = match self.queues.names.get(&row.name).copied() {
            Some(id) => {
                let queue = &mut self.queues.entries[id];
                queue.machine.configure(row.of_core(), &now);
                (row.log, row.seed, row.created_ms) = (queue.row.log, queue.row.seed, queue.row.created_ms);
                row.redrive = queue.row.redrive.take();
                // Each start of an app declares its queues anew.
                let is_same = row.settings == queue.row.settings && row.notes == queue.row.notes;
                row.modified_ms = if is_same { queue.row.modified_ms } else { Some(now.wall_ms) };
                queue.row = row;
                id
            }
            None => create::add_queue(self, row)?,
        };
        self.save_queue(id);
        serve::serve_queue(self, id);
        Ok(Done::when_durable(self.describe_queue(id)))
    }

    pub(crate) fn queue_annotate(&mut self, asked: Annotate) -> Result<Done, EngineError> {
        let id = self.queues.queue_id(&asked.name)?;
        let row = &mut self.queues.entries[id].row;
        row.notes = asked.applied(&row.notes)?;
        self.save_queue(id);
        Ok(Done::when_durable(self.describe_queue(id)))
    }

    pub(crate) fn save_queue(&mut self, id: QueueId) {
        let (key, value) = self.queues.entries[id].row.stored();
        self.ctx.commit.pending.set(Table::Queue, key, value);
        self.ctx.commit.pending.urgent = true;
    }
}

fn depth(queues: &Queues, id: QueueId) -> Depth {
    let depth = queues.entries[id].machine.depth();
    Depth { visible: depth.visible, in_flight: depth.in_flight, delayed: depth.delayed }
}

impl QueueRoom<'_> {
    fn describe_queue(&self, id: QueueId) -> Queue {
        let queue = &self.queues.entries[id];
        Queue {
            name: queue.row.name.clone(),
            created_ms: queue.row.created_ms,
            modified_ms: queue.row.modified_ms.unwrap_or(queue.row.created_ms),
            settings: queue.row.settings.clone(),
            arn: queue.source.arn.clone(),
            fifo: queue.row.is_fifo(),
            depth: depth(self.queues, id),
            oldest_age_ms: queue.machine.oldest_age_ms(&self.ctx.now),
            dead_letter_sources: self.queues.buried_in(&queue.row.name).cloned().collect(),
            redrive: redrive::redrive_shown(self.queues, id),
            notes: queue.row.notes.clone(),
        }
    }
}

// Mappings.

pub(crate) fn queue_mapping_id(queues: &Queues, queue: &str, function: &str) -> Option<u64> {
    let ours = |mapping: &QueueMapping| mapping.row.queue == queue && mapping.row.function == function;
    queues.mappings.iter().find(|(_, mapping)| ours(mapping)).map(|(&id, _)| id)
}

/// Whether a function that is registered has this queue's messages.
pub(crate) fn is_handled(queues: &Queues, queue: &str, function: &str) -> bool {
    let mapping = queue_mapping_id(queues, queue, function).and_then(|id| queues.mappings.get(&id));
    mapping.is_some_and(|mapping| mapping.declared && mapping.handler.is_some())
}

fn mapping_on(queues: &Queues, OnQueue { queue, function }: &OnQueue) -> Result<(u64, QueueMappingRow), EngineError> {
    let id = queue_mapping_id(queues, queue, function).ok_or_else(|| {
        EngineError::NotFound(format!("there is no mapping of queue {queue:?} to function {function:?}"))
    })?;
    Ok((id, queues.mappings[&id].row.clone()))
}

impl QueueRoom<'_> {
    pub(crate) fn queue_mapping_describe(&mut self, named: OnQueue) -> Result<Done, EngineError> {
        let (id, _) = mapping_on(self.queues, &named)?;
        Ok(Done::at_once(describe_queue_mapping(self.queues, id)))
    }

    pub(crate) fn queue_mapping_enable(&mut self, named: OnQueue, enabled: bool) -> Result<Done, EngineError> {
        let (id, mut row) = mapping_on(self.queues, &named)?;
        row.settings.enabled = enabled;
        self.change_queue_mapping(id, row)
    }

    pub(crate) fn queue_mapping_update(&mut self, asked: UpdateOnQueue) -> Result<Done, EngineError> {
        let UpdateOnQueue { queue, function, changes } = asked;
        let (id, mut row) = mapping_on(self.queues, &OnQueue { queue, function })?;
        row.settings = changes.apply(&row.settings, "a mapping on a queue")?;
        self.change_queue_mapping(id, row)
    }

    fn change_queue_mapping(&mut self, id: u64, row: QueueMappingRow) -> Result<Done, EngineError> {
        self.apply_queue_mapping(id, row)?;
        Ok(Done::when_durable(describe_queue_mapping(self.queues, id)))
    }

    pub(crate) fn queue_mapping_remove(&mut self, named: OnQueue) -> Result<Done, EngineError> {
        let (id, _) = mapping_on(self.queues, &named)?;
        self.queue_mapping_delete(id);
        Ok(Done::when_durable(Empty {}))
    }

    /// Refuse to move what has no place.
    pub(crate) fn queue_mapping_move(&mut self, named: OnQueue, operation: &str) -> Result<Done, EngineError> {
        mapping_on(self.queues, &named)?;
        Err(EngineError::Invalid(format!("{operation}: a mapping on a queue has no place in a stream to move")))
    }

    pub(crate) fn queue_mapping_declare(&mut self, asked: DeclareOnQueue) -> Result<Done, EngineError> {
        let DeclareOnQueue { queue, function, settings, by_client, only_new } = asked;
        let declared_enabled = Some(settings.enabled);
        let mut row = QueueMappingRow { queue, function, settings, declared_enabled, by_client };
        check_unqualified(&row.function, "mapping")?;
        let queue = self.queues.queue_id(&row.queue).map_err(|_| {
            EngineError::NotFound(format!(
                "Error occurred while ReceiveMessage. SQS Error Code: AWS.SimpleQueueService.NonExistentQueue. SQS Error Message: The specified queue does not exist. (queue {:?})",
                row.queue
            ))
        })?;
        let id = match queue_mapping_id(self.queues, &row.queue, &row.function) {
            // One that nobody declares any more reads nothing: whoever makes it anew has it read.
            Some(id) if only_new && self.queues.mappings[&id].declared => {
                let (queue, function) = (&row.queue, &row.function);
                return Err(EngineError::Conflict(format!("queue {queue:?} has a mapping to {function:?} already")));
            }
            Some(id) => {
                let known = &self.queues.mappings[&id];
                let before = &known.row;
                // What the app's code declares stays its own.
                row.by_client = by_client && (before.by_client || !known.declared);
                // A mapping that an operator paused stays paused over restarts, until the declaration itself changes.
                if before.declared_enabled == row.declared_enabled {
                    row.settings.enabled = before.settings.enabled;
                }
                id
            }
            None => {
                row.check(&self.queues.entries[queue].row)?;
                self.check_visibility_timeout(queue, &row)?;
                let id = self.ctx.new_mapping_id();
                let meters = MappingMeters::new(&self.ctx.registry, &row.queue, &row.function);
                let mapping = QueueMapping::new(row.clone(), queue, row.parse_filters()?, meters);
                self.queues.mappings.insert(id, mapping);
                self.queues.entries[queue].readers.push(id);
                self.save_queue_mapping(id);
                id
            }
        };
        if let Some(mapping) = self.queues.mappings.get_mut(&id) {
            mapping.declared = true;
        }
        self.apply_queue_mapping(id, row)?;
        Ok(Done::when_durable(describe_queue_mapping(self.queues, id)))
    }

    /// AWS refuses a queue that would hand a message out again while the function still runs. Ours never does, unless told to.
    fn check_visibility_timeout(&self, queue: QueueId, row: &QueueMappingRow) -> Result<(), EngineError> {
        let Some(&handler) = self.dispatch.function_names.get(&row.function) else { return Ok(()) };
        let visibility_ms = self.queues.entries[queue].row.settings.visibility_timeout_ms;
        let timeout_ms = self.dispatch.functions[handler].timeout_ns / 1_000_000;
        if !row.settings.strict_lambda || visibility_ms >= timeout_ms {
            return Ok(());
        }
        Err(EngineError::Invalid(format!(
            "Queue visibility timeout: {} seconds is less than Function timeout: {} seconds",
            visibility_ms as f64 / 1e3,
            timeout_ms as f64 / 1e3
        )))
    }

    fn apply_queue_mapping(&mut self, id: u64, row: QueueMappingRow) -> Result<(), EngineError> {
        let Some(mapping) = self.queues.mappings.get(&id) else { return Ok(()) };
        let queue = mapping.queue;
        row.check(&self.queues.entries[queue].row)?;
        self.check_visibility_timeout(queue, &row)?;
        let filters = row.parse_filters()?;
        let is_changed = mapping.row != row;
        let enabled = row.settings.enabled;
        if let Some(mapping) = self.queues.mappings.get_mut(&id) {
            mapping.row = row;
            mapping.filters = filters;
        }
        if is_changed {
            self.save_queue_mapping(id);
        }
        if !enabled {
            mapping::withdraw_messages(self, id);
        }
        self.bind_queue_mappings();
        serve::serve_queue(self, queue);
        Ok(())
    }

    fn save_queue_mapping(&mut self, id: u64) {
        let value = serde_json::to_vec(&self.queues.mappings[&id].row).unwrap_or_default();
        self.ctx.commit.pending.set(Table::QueueMapping, id.to_be_bytes().to_vec(), value);
        self.ctx.commit.pending.urgent = true;
    }

    pub(crate) fn queue_mapping_delete(&mut self, id: u64) {
        mapping::withdraw_messages(self, id);
        self.dispatch.permits.forget_source(id);
        if let Some(QueueMapping { row, queue, .. }) = self.queues.mappings.remove(&id) {
            self.queues.entries[queue].readers.retain(|&other| other != id);
            self.ctx.observe.mappings_gone.push((row.queue, row.function));
        }
        self.ctx.commit.pending.remove(Table::QueueMapping, id.to_be_bytes().to_vec());
        self.ctx.commit.pending.urgent = true;
    }

    /// Bind mappings to what is registered, and let them look.
    pub(crate) fn bind_queue_mappings(&mut self) {
        let ids: Vec<u64> = self.queues.mappings.keys().copied().collect();
        for id in ids {
            if let Some(mapping) = self.queues.mappings.get_mut(&id) {
                mapping.handler = self.dispatch.function_names.get(&mapping.row.function).copied();
            }
            mapping::look_again(self, id);
        }
    }
}

pub(crate) fn list_queue_mappings(queues: &Queues) -> impl Iterator<Item = Mapping> + '_ {
    queues.mappings.keys().map(|&id| Mapping::Queue(describe_queue_mapping(queues, id)))
}

fn describe_queue_mapping(queues: &Queues, id: u64) -> Described {
    let mapping = &queues.mappings[&id];
    Described {
        queue: mapping.row.queue.clone(),
        function: mapping.row.function.clone(),
        settings: mapping.row.settings.clone(),
        status: Status::of(
            mapping.row.settings.enabled,
            mapping.declared && mapping.handler.is_some(),
            mapping.last_result,
        ),
        batches_in_flight: mapping.in_flight,
        depth: depth(queues, mapping.queue),
    }
}

/// What is carried out in the files that tell of it.
impl QueueRoom<'_> {
    pub(crate) fn peek(&mut self, asked: Peek) -> Result<Done, EngineError> {
        peek::peek(self, asked)
    }

    pub(crate) fn redrive_message(&mut self, asked: RedriveMessage, waiter: Waiter) {
        redrive_one::redrive_message(self, asked, waiter);
    }
}
