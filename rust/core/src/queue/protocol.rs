//! The facts a queue machine takes and the commands it gives.

use serde::{Deserialize, Serialize};

/// What order a queue keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// None: messages go out about as they came in.
    Standard,
    /// The messages of a group go out in order, and no later one while an earlier one is in flight.
    Fifo,
}

/// Settings of a queue, already validated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Never changes.
    pub kind: Kind,
    /// How long a message that nobody deletes stays, 60,000..=1,209,600,000 ms.
    pub retention_ms: u64,
    /// A message that was received so often and comes back moves to the dead-letter queue, 1..=1000; `None` without one.
    pub maximum_receive_count: Option<u32>,
    /// Most messages in flight: 120,000 on SQS.
    pub in_flight_max: u32,
    /// Most messages in the queue, whatever their state.
    pub messages_max: u32,
}

/// A message that has become durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent<'a> {
    /// Its place in the queue: grows from message to message, and is never used again.
    pub number: u64,
    /// Message group of a FIFO queue; not looked at in a standard queue.
    pub group: &'a str,
    /// When its retention began, wall ms. A standard dead-letter queue keeps that of the source, a FIFO one begins anew.
    pub sent_ms: u64,
    /// How long after that it cannot be received, 0..=900,000 ms.
    pub delay_ms: u64,
}

/// What must be known of a message that has been received, for a restart. All 0 for one that was not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Times it was received.
    pub receive_count: u32,
    /// When it was received first, wall ms.
    pub first_received_ms: u64,
    /// When it is visible again, wall ms.
    pub visible_at_ms: u64,
    /// Receipt of whoever holds it until then; 0 when it only waits.
    pub receipt: u64,
    /// To be handed out in a batch of its own, since the process died while it was in flight.
    pub alone: bool,
}

/// A message found in the store at start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restored<'a> {
    /// As it was sent.
    pub sent: Sent<'a>,
    /// Its row, if there is one.
    pub row: Row,
    /// A handler had it in its hands (`Hold::WhileRunning`) when the process died. That counts as a receive, so that a message
    /// that kills the process is not tried for ever; and it goes alone next time, so that it takes no other with it again.
    pub was_running: bool,
}

/// A message in somebody's hands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Handle {
    /// The message.
    pub number: u64,
    /// Names the receive. An older one is stale.
    pub receipt: u64,
}

/// A message handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// For `delete`, `change_visibility` and `completed`.
    pub handle: Handle,
    /// `ApproximateReceiveCount`, this time included.
    pub receive_count: u32,
    /// `ApproximateFirstReceiveTimestamp`, wall ms.
    pub first_received_ms: u64,
    /// It was in flight when the process died, and stands in a batch of its own: best run while nothing else runs.
    pub alone: bool,
}

/// How long a receiver holds what it receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// Until the visibility timeout is over, 0..=43,200,000 ms; then the message is visible again. Written down, so that it
    /// outlives the process. This is SQS's way.
    For {
        /// From now.
        visibility_ms: u64,
    },
    /// Until `completed`: the receiver is a handler of this process, and a slow one is never run twice. Nothing is written,
    /// since the death of the process ends the handler, too.
    WhileRunning,
}

/// A request for messages.
#[derive(Clone, Copy, Debug)]
pub struct Receive<'a> {
    /// Most messages, 1..=10,000.
    pub maximum: u32,
    /// How long they are held.
    pub hold: Hold,
    /// `ReceiveRequestAttemptId` of a FIFO queue: within five minutes the same one gives the same messages.
    pub attempt: Option<&'a str>,
}

/// How a message stands that is in the queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// Times it was received.
    pub receive_count: u32,
    /// When it was received first, wall ms; 0 if it was not.
    pub first_received_ms: u64,
    /// Somebody has it.
    pub is_held: bool,
    /// A handler of ours has it.
    pub is_running: bool,
    /// When it is visible again, wall ms, if that is still to come and known.
    pub visible_at_ms: Option<u64>,
}

/// How a handler's attempt at a batch ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everything is done.
    Success,
    /// The response named these numbers as failed. One that is not in the batch makes the whole batch fail.
    Failed(Vec<u64>),
    /// The handler raised, ran out of time, or gave a malformed response: the whole batch failed.
    Error,
    /// The batch never reached the function (throttle, system error): it does not count as received.
    NotInvoked,
    /// The runtime stopped the attempt by its own doing: it does not count as received, and comes back at once.
    Interrupted,
}

/// Why a request about one message is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The message was received again since, or its visibility timeout is over (`ReceiptHandleIsInvalid`).
    StaleReceipt,
    /// It waits: there is no visibility timeout to change (`MessageNotInflight`).
    NotInFlight,
    /// It would be held for more than twelve hours since it was received (`InvalidParameterValue`).
    TooLong,
}

/// Too many messages are in flight (`OverLimit`; a FIFO queue gives nothing instead).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverLimit {
    /// That many.
    pub in_flight_max: u32,
}

/// Why messages are gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// Whoever received it is done with it.
    Deleted,
    /// Older than the retention.
    Expired,
}

/// What the engine must do, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Keep this row; it supersedes the message's earlier one.
    Set {
        /// The message.
        number: u64,
        /// All zero: the row may as well be removed.
        row: Row,
    },
    /// Remove messages and their rows.
    Remove {
        /// The first of them.
        first: u64,
        /// As many, numbers without a gap.
        count: u64,
        /// For the metrics.
        reason: Removal,
    },
    /// Move a message to the dead-letter queue: remove it here and send it there, in one commit, and say so by `redriven`.
    /// Where that cannot be done, give it back by `restored`.
    Redrive {
        /// The message.
        number: u64,
        /// Times it was received.
        receive_count: u32,
    },
    /// Remove every message below this number, and its row.
    Purge {
        /// First number to keep.
        before: u64,
    },
}

/// How many messages are in which state, as SQS counts them. Their sum is the number of messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    /// Waiting, those of groups held back included (`ApproximateNumberOfMessages`).
    pub visible: u64,
    /// Received (`ApproximateNumberOfMessagesNotVisible`).
    pub in_flight: u64,
    /// Waiting for a delay to end (`ApproximateNumberOfMessagesDelayed`).
    pub delayed: u64,
}
