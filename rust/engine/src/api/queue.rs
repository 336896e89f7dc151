//! Queues: what is asked of them, and what is answered.

use std::collections::BTreeMap;

use forebay_core::queue::dedup::Scope;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::api::notes::Notes;
use crate::payload::message::NewMessage;

/// Create a queue, or change the settings of one that exists.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Declare {
    /// Name, unique in the store; one that ends in `.fifo` makes it a FIFO queue.
    pub name: String,
    /// How it behaves.
    #[serde(flatten)]
    pub settings: Settings,
    /// Texts that are kept beside it, by name; null removes one, and those that are not named stay.
    #[serde(default)]
    pub notes: BTreeMap<String, Option<String>>,
    /// Refused (`Conflict`) where there is one already.
    #[serde(default)]
    pub only_new: bool,
    /// What it is to be before; refused (`Conflict`) where it is otherwise. Without it, whatever it is.
    #[serde(default)]
    pub instead_of: Option<Before>,
}

/// What a queue is to be before it is changed.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Before {
    /// How it behaves.
    #[serde(flatten)]
    pub settings: Settings,
    /// Notes that are kept beside it.
    #[serde(default)]
    pub notes: Notes,
}

/// How a queue behaves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Settings {
    /// How long a received message stays hidden from others.
    pub visibility_timeout_ms: u64,
    /// How long a new message cannot be received.
    pub delay_ms: u64,
    /// How long a message is kept.
    pub retention_ms: u64,
    /// FIFO: a message without a deduplication id gets the digest of its body.
    pub content_based_deduplication: bool,
    /// FIFO: within what a deduplication id counts, `queue` or `messageGroup`.
    #[cfg_attr(test, schemars(with = "String"))]
    pub deduplication_scope: Scope,
    /// The queue that takes what was received too often.
    #[serde(default)]
    pub dead_letter_queue: Option<String>,
    /// How often a message may be received before it goes there.
    pub maximum_receive_count: u32,
}

/// Names a queue.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Named {
    /// The queue's name.
    pub name: String,
}

/// Send messages.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Send {
    /// The queue's name.
    pub name: String,
    /// At most ten.
    pub messages: Vec<NewMessage>,
    /// Id of the request whose handler sends.
    #[serde(default)]
    pub parent: Option<String>,
    /// W3C trace context: the `traceparent`, and the `tracestate` on a second line.
    #[serde(default)]
    pub trace: Option<String>,
}

/// Receive messages, at once or after a wait.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Receive {
    /// The queue's name.
    pub name: String,
    /// Most messages of the answer, 1 to 10.
    pub maximum: u32,
    /// How long to wait for the first message.
    #[serde(default)]
    pub wait_ms: u64,
    /// How long the messages stay hidden from others; without it, as long as the queue says.
    #[serde(default)]
    pub visibility_timeout_ms: Option<u64>,
    /// FIFO: asked again with the same id, the answer is the same.
    #[serde(default)]
    pub attempt_id: Option<String>,
}

/// Delete a message that was received.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DeleteMessage {
    /// The queue's name.
    pub name: String,
    /// As it was received.
    pub receipt_handle: String,
}

/// Delete messages that were received.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DeleteMessages {
    /// The queue's name.
    pub name: String,
    /// As they were received, at most 10.
    pub receipt_handles: Vec<String>,
}

/// Change how long a message that was received stays hidden from others.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ChangeVisibility {
    /// The queue's name.
    pub name: String,
    /// As it was received.
    pub receipt_handle: String,
    /// From now on; 0 gives it back at once.
    #[serde(default)]
    pub visibility_timeout_ms: u64,
}

/// Look at messages without receiving them, oldest first.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Peek {
    /// The queue's name.
    pub name: String,
    /// Most messages of the answer, 1 to 1000.
    pub limit: usize,
    /// The `next` of the answer before.
    #[serde(default)]
    pub after: Option<u64>,
}

/// Move the messages of a queue to another one. The move goes on after a restart; a queue has one at a time.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Redrive {
    /// The queue's name.
    pub name: String,
    /// The queue that takes them; without it, each goes back to the queue it came from.
    #[serde(default)]
    pub to: Option<String>,
    /// Most messages a second.
    #[serde(default)]
    pub rate: Option<f64>,
}

/// Move one message of a queue to another one.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RedriveMessage {
    /// The queue's name.
    pub name: String,
    /// Message id.
    pub id: String,
    /// The queue that takes it; without it, the queue it came from.
    #[serde(default)]
    pub to: Option<String>,
    /// Text in place of its own.
    #[serde(default)]
    pub body: Option<String>,
    /// The `next` of the answer before.
    #[serde(default)]
    pub next: Option<u64>,
    /// Only see whether it could be moved.
    #[serde(default)]
    pub dry_run: bool,
}

/// A queue and what it holds.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Queue {
    /// Name.
    pub name: String,
    /// When it was declared, milliseconds since 1970.
    pub created_ms: u64,
    /// When its settings were changed last, milliseconds since 1970.
    pub modified_ms: u64,
    /// How it behaves.
    #[serde(flatten)]
    pub settings: Settings,
    /// ARN.
    pub arn: String,
    /// Whether it is a FIFO queue.
    pub fifo: bool,
    /// How many messages it holds.
    #[serde(flatten)]
    pub depth: Depth,
    /// Age of the oldest message; null when it is empty.
    pub oldest_age_ms: Option<u64>,
    /// Queues whose dead-letter queue it is.
    pub dead_letter_sources: Vec<String>,
    /// The redrive under way, or the last one: `{status, to, rate, messages, moved, left, began_ms, failure_reason?, waits_for?}`. The
    /// status is `RUNNING`, `COMPLETED`, `CANCELLED` or `FAILED`; `messages` is how many waited when it began.
    pub redrive: Option<Value>,
    /// Notes that are kept beside it; absent without any.
    #[serde(skip_serializing_if = "Notes::is_empty")]
    pub notes: Notes,
}

/// How many messages a queue holds.
#[derive(Clone, Copy, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Depth {
    /// Messages that can be received now.
    pub visible: u64,
    /// Messages that were received and are not deleted.
    pub in_flight: u64,
    /// Messages that can be received later.
    pub delayed: u64,
}

/// Messages as they stand in a queue.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Peeked {
    /// Each is a record of Lambda's event for SQS without a receipt, with `queue`, `state` (`visible`, `delayed`, `in flight` or
    /// `running`) and perhaps `visible_at_ms`.
    pub messages: Vec<Value>,
    /// There are more: ask again with it as `after`.
    pub next: Option<u64>,
}

/// A redrive has begun.
#[derive(Clone, Copy, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Moving {
    /// Messages that will move.
    pub moving: u64,
}

/// How far a cancelled redrive had come.
#[derive(Clone, Copy, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Moved {
    /// Messages that have moved.
    pub moved: u64,
    /// Messages that have not.
    pub left: u64,
}

/// One message was moved, or looked for.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RedrivenMessage {
    /// 1, or 0 if it was not found yet.
    pub redriven: u8,
    /// The message, as `queue.peek` gives it.
    pub message: Option<Value>,
    /// It was not found yet: ask again with this.
    pub next: Option<u64>,
}

/// A queue was deleted.
#[derive(Clone, Copy, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Deleted {
    /// Messages that were in it.
    pub removed: u64,
}
