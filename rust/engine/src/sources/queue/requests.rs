//! `queue.*`, and `mapping.*` where a queue is named.

use serde::Deserialize;
use serde_json::{json, Map, Value};

use crate::api::{changed, read, Done};
use crate::base::error::{EngineError, Waiter};
use crate::base::ids::parse_uuid;
use crate::base::trace::Origin;
use crate::dispatch::versions::check_unqualified;
use crate::payload::message::NewMessage;
use crate::sources::queue::mapping::QueueMapping;
use crate::sources::queue::mapping_row::{QueueMappingRow, INTERNAL as MAPPING_INTERNAL};
use crate::sources::queue::meters::MappingMeters;
use crate::sources::queue::receive::ReceiveRequest;
use crate::sources::queue::row::{QueueRow, INTERNAL};
use crate::sources::queue::QueueId;
use crate::sources::queue::QueueRoom;
use crate::sources::queue::Queues;
use crate::store::port::Table;

#[derive(Deserialize)]
pub(crate) struct Named {
    pub(crate) name: String,
}

#[derive(Deserialize)]
struct Send {
    name: String,
    messages: Vec<NewMessage>,
    #[serde(default)]
    parent: Option<String>,
    #[serde(default)]
    trace: Option<String>,
}

#[derive(Deserialize)]
struct ReceiveAsked {
    name: String,
    maximum: u32,
    #[serde(default)]
    wait_ms: u64,
    #[serde(default)]
    visibility_timeout_ms: Option<u64>,
    #[serde(default)]
    attempt_id: Option<String>,
}

impl ReceiveAsked {
    fn request(self) -> ReceiveRequest {
        ReceiveRequest {
            maximum: self.maximum,
            wait_ms: self.wait_ms,
            visibility_ms: self.visibility_timeout_ms,
            attempt: self.attempt_id,
        }
    }
}

#[derive(Deserialize)]
struct Held {
    name: String,
    receipt_handle: String,
    #[serde(default)]
    visibility_timeout_ms: u64,
}

#[derive(Deserialize)]
struct Redrive {
    name: String,
    #[serde(default)]
    to: Option<String>,
    #[serde(default)]
    rate: Option<f64>,
}

#[derive(Deserialize)]
struct Bound {
    queue: String,
    function: String,
}

/// Whether a body is about a mapping on a queue.
pub(crate) fn names_queue(body: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Names {
        #[serde(default)]
        queue: Option<String>,
    }
    serde_json::from_slice::<Names>(body).is_ok_and(|names| names.queue.is_some())
}

impl QueueRoom<'_> {
    /// Verbs whose answer may come later than the verb is carried out.
    pub(crate) fn queue_exchange(&mut self, verb: &str, body: &[u8], waiter: Waiter) {
        if let Some(error) = &self.ctx.commit.failed {
            let error = error.clone().into();
            return self.ctx.answer(waiter, Err(error));
        }
        match verb {
            "queue.send" => match read::<Send>(body) {
                Ok(send) => {
                    let origin =
                        Origin { parent: send.parent.as_deref().and_then(parse_uuid), trace: send.trace.as_deref() };
                    self.send_messages(&send.name, &send.messages, origin, waiter);
                }
                Err(error) => self.ctx.answer(waiter, Err(error)),
            },
            "queue.redrive_message" => match read(body) {
                Ok(asked) => self.redrive_message(&asked, waiter),
                Err(error) => self.ctx.answer(waiter, Err(error)),
            },
            _ => match read::<ReceiveAsked>(body).and_then(|asked| Ok((self.queues.queue_id(&asked.name)?, asked))) {
                Ok((id, asked)) => self.begin_receive(id, asked.request(), waiter),
                Err(error) => self.ctx.answer(waiter, Err(error)),
            },
        }
    }

    pub(crate) fn queue_verb(&mut self, verb: &str, body: &[u8]) -> Result<Done, EngineError> {
        match verb {
            "queue.declare" => self.queue_declare(read(body)?),
            "queue.list" => {
                let list: Vec<Value> = self.queues.live().map(|id| self.describe_queue(id)).collect();
                Ok(Done::at_once(list))
            }
            "queue.describe" => {
                let id = self.queues.queue_id(&read::<Named>(body)?.name)?;
                Ok(Done::at_once(self.describe_queue(id)))
            }
            "queue.depth" => {
                let id = self.queues.queue_id(&read::<Named>(body)?.name)?;
                Ok(Done::at_once(self.queues.depth_json(id)))
            }
            "queue.delete_message" => {
                let asked = read::<Held>(body)?;
                let id = self.queues.queue_id(&asked.name)?;
                self.delete_message(id, &asked.receipt_handle)?;
                Ok(Done::when_durable(json!({})))
            }
            "queue.change_visibility" => {
                let asked = read::<Held>(body)?;
                let id = self.queues.queue_id(&asked.name)?;
                self.change_message(id, &asked.receipt_handle, asked.visibility_timeout_ms)?;
                Ok(Done::when_durable(json!({})))
            }
            "queue.purge" => {
                let id = self.queues.queue_id(&read::<Named>(body)?.name)?;
                let depth = self.queues.depth_json(id);
                self.queues.entries[id].machine.purge();
                self.serve_queue(id);
                Ok(Done::when_durable(depth))
            }
            "queue.redrive" => {
                let asked = read::<Redrive>(body)?;
                let id = self.queues.queue_id(&asked.name)?;
                let moving = self.begin_redrive(id, asked.to, asked.rate)?;
                Ok(Done::when_durable(json!({ "moving": moving })))
            }
            "queue.peek" => self.peek(&read(body)?),
            "queue.cancel_redrive" => {
                let id = self.queues.queue_id(&read::<Named>(body)?.name)?;
                let (moved, left) = self.cancel_redrive(id)?;
                Ok(Done::when_durable(json!({ "moved": moved, "left": left })))
            }
            _ => Err(EngineError::Invalid(format!("there is no verb {verb:?}"))),
        }
    }

    fn queue_declare(&mut self, mut row: QueueRow) -> Result<Done, EngineError> {
        row.check()?;
        if let Some(name) = &row.dead_letter_queue {
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
                queue.machine.configure(row.settings(), &now);
                (row.log, row.seed, row.created_ms) = (queue.row.log, queue.row.seed, queue.row.created_ms);
                row.redrive = queue.row.redrive.take();
                queue.row = row;
                id
            }
            None => self.add_queue(row)?,
        };
        self.save_queue(id);
        self.serve_queue(id);
        Ok(Done::when_durable(self.describe_queue(id)))
    }

    pub(crate) fn save_queue(&mut self, id: QueueId) {
        let (key, value) = self.queues.entries[id].row.stored();
        self.ctx.commit.pending.set(Table::Queue, key, value);
        self.ctx.commit.pending.urgent = true;
    }
}

impl Queues {
    fn depth_json(&self, id: QueueId) -> Value {
        let depth = self.entries[id].machine.depth();
        json!({"visible": depth.visible, "in_flight": depth.in_flight, "delayed": depth.delayed})
    }
}

impl QueueRoom<'_> {
    fn describe_queue(&self, id: QueueId) -> Value {
        let queue = &self.queues.entries[id];
        let mut answer = serde_json::to_value(&queue.row).unwrap_or_default();
        if let Some(settings) = answer.as_object_mut() {
            settings.retain(|name, _| !INTERNAL.contains(&name.as_str()));
        }
        answer["arn"] = queue.source.arn.clone().into();
        answer["fifo"] = queue.row.is_fifo().into();
        for (name, value) in self.queues.depth_json(id).as_object().into_iter().flatten() {
            answer[name] = value.clone();
        }
        answer["oldest_age_ms"] = queue.machine.oldest_age_ms(&self.ctx.now).into();
        answer["dead_letter_sources"] = self.queues.buried_in(&queue.row.name).cloned().collect();
        answer["redrive"] = self.queues.redrive_shown(id).into();
        answer
    }

    // --- mappings
}

impl Queues {
    pub(crate) fn queue_mapping_id(&self, queue: &str, function: &str) -> Option<u64> {
        let ours = |mapping: &QueueMapping| mapping.row.queue == queue && mapping.row.function == function;
        self.mappings.iter().find(|(_, mapping)| ours(mapping)).map(|(&id, _)| id)
    }

    /// Whether a function that is registered has this queue's messages.
    pub(crate) fn is_handled(&self, queue: &str, function: &str) -> bool {
        let mapping = self.queue_mapping_id(queue, function).and_then(|id| self.mappings.get(&id));
        mapping.is_some_and(|mapping| mapping.declared && mapping.slot.is_some())
    }
}

impl QueueRoom<'_> {
    pub(crate) fn queue_mapping_verb(&mut self, verb: &str, body: &[u8]) -> Result<Done, EngineError> {
        if verb == "mapping.declare" {
            return self.queue_mapping_declare(read(body)?);
        }
        let changes: Map<String, Value> = read(body)?;
        let bound: Bound = read(body)?;
        let id = self.queues.queue_mapping_id(&bound.queue, &bound.function).ok_or_else(|| {
            EngineError::NotFound(format!(
                "there is no mapping of queue {:?} to function {:?}",
                bound.queue, bound.function
            ))
        })?;
        let mut row = self.queues.mappings[&id].row.clone();
        match verb {
            "mapping.describe" => return Ok(Done::at_once(self.queues.describe_queue_mapping(id))),
            "mapping.delete" => return Ok(self.queue_mapping_delete(id)),
            "mapping.pause" => row.enabled = false,
            "mapping.resume" => row.enabled = true,
            "mapping.update" => row = changed(&row, changes, "a mapping on a queue", &MAPPING_INTERNAL)?,
            _ => {
                return Err(EngineError::Invalid(format!(
                    "{verb}: a mapping on a queue has no place in a stream to move"
                )))
            }
        }
        self.apply_queue_mapping(id, row)?;
        Ok(Done::when_durable(self.queues.describe_queue_mapping(id)))
    }

    fn queue_mapping_declare(&mut self, mut row: QueueMappingRow) -> Result<Done, EngineError> {
        check_unqualified(&row.function, "mapping")?;
        let queue = self.queues.queue_id(&row.queue).map_err(|_| {
            EngineError::NotFound(format!(
                "Error occurred while ReceiveMessage. SQS Error Code: AWS.SimpleQueueService.NonExistentQueue. SQS Error Message: The specified queue does not exist. (queue {:?})",
                row.queue
            ))
        })?;
        row.declared_enabled = Some(row.enabled);
        let id = match self.queues.queue_mapping_id(&row.queue, &row.function) {
            Some(id) => {
                let before = &self.queues.mappings[&id].row;
                // A mapping that an operator paused stays paused over restarts, until the declaration itself changes.
                if before.declared_enabled == row.declared_enabled {
                    row.enabled = before.enabled;
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
        Ok(Done::when_durable(self.queues.describe_queue_mapping(id)))
    }

    /// AWS refuses a queue that would hand a message out again while the function still runs. Ours never does, unless told to.
    fn check_visibility_timeout(&self, queue: QueueId, row: &QueueMappingRow) -> Result<(), EngineError> {
        let Some(&slot) = self.dispatch.function_names.get(&row.function) else { return Ok(()) };
        let visibility_ms = self.queues.entries[queue].row.visibility_timeout_ms;
        let timeout_ms = self.dispatch.functions[slot].timeout_ns / 1_000_000;
        if !row.strict_lambda || visibility_ms >= timeout_ms {
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
        let enabled = row.enabled;
        if let Some(mapping) = self.queues.mappings.get_mut(&id) {
            mapping.row = row;
            mapping.filters = filters;
        }
        if is_changed {
            self.save_queue_mapping(id);
        }
        if !enabled {
            self.withdraw_messages(id);
        }
        self.bind_queue_mappings();
        self.serve_queue(queue);
        Ok(())
    }

    fn save_queue_mapping(&mut self, id: u64) {
        let value = serde_json::to_vec(&self.queues.mappings[&id].row).unwrap_or_default();
        self.ctx.commit.pending.set(Table::QueueMapping, id.to_be_bytes().to_vec(), value);
        self.ctx.commit.pending.urgent = true;
    }

    pub(crate) fn queue_mapping_delete(&mut self, id: u64) -> Done {
        self.withdraw_messages(id);
        self.dispatch.permits.forget_source(id);
        if let Some(QueueMapping { row, queue, .. }) = self.queues.mappings.remove(&id) {
            self.queues.entries[queue].readers.retain(|&other| other != id);
            self.ctx.observe.mappings_gone.push((row.queue, row.function));
        }
        self.ctx.commit.pending.remove(Table::QueueMapping, id.to_be_bytes().to_vec());
        self.ctx.commit.pending.urgent = true;
        Done::when_durable(json!({}))
    }

    /// Bind mappings to what is registered, and let them look.
    pub(crate) fn bind_queue_mappings(&mut self) {
        let ids: Vec<u64> = self.queues.mappings.keys().copied().collect();
        for id in ids {
            if let Some(mapping) = self.queues.mappings.get_mut(&id) {
                mapping.slot = self.dispatch.function_names.get(&mapping.row.function).copied();
            }
            self.look_again(id);
        }
    }
}

impl Queues {
    pub(crate) fn list_queue_mappings(&self) -> Vec<Value> {
        self.mappings.keys().map(|&id| self.describe_queue_mapping(id)).collect()
    }

    fn describe_queue_mapping(&self, id: u64) -> Value {
        let mapping = &self.mappings[&id];
        let mut answer = serde_json::to_value(&mapping.row).unwrap_or_default();
        if let Some(settings) = answer.as_object_mut() {
            settings.retain(|name, _| !MAPPING_INTERNAL.contains(&name.as_str()));
        }
        answer["state"] = if mapping.row.enabled { "Enabled" } else { "Disabled" }.into();
        answer["declared"] = (mapping.declared && mapping.slot.is_some()).into();
        answer["last_result"] = mapping.last_result.into();
        answer["batches_in_flight"] = mapping.in_flight.into();
        for (name, value) in self.depth_json(mapping.queue).as_object().into_iter().flatten() {
            answer[name] = value.clone();
        }
        answer
    }
}
