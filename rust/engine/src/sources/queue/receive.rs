//! Whoever receives by hand: at once or after a wait, holds for a time, deletes, or gives back.

use forebay_core::queue::protocol::{Handle, Hold, Receive, Refusal};

use crate::api::queue;
use crate::base::error::{EngineError, Reply, Waiter};
use crate::base::limits::{MESSAGES_OF_A_CALL_MAX, RECEIVE_WAIT_MS_MAX, VISIBILITY_MS_MAX};
use crate::payload::message::handle_of;
use crate::sources::queue::body_fetch::Purpose;
use crate::sources::queue::polls::Poll;
use crate::sources::queue::serve;
use crate::sources::queue::QueueId;
use crate::sources::queue::QueueRoom;

const ATTEMPT_CHARS_MAX: usize = 128;
/// Most receives that wait for messages of one queue.
const POLLS_MAX: usize = 10_240;
const NS_PER_MS: u64 = 1_000_000;

pub(crate) fn begin_receive(room: &mut QueueRoom<'_>, id: QueueId, request: queue::Receive, waiter: Waiter) {
    if let Some(error) = room.ctx.commit.failed.clone() {
        return room.ctx.answer(waiter, Err(error.into()));
    }
    let queue = &room.queues.entries[id];
    if let Err(error) = check_wish(&request, queue.row.is_fifo()) {
        return room.ctx.answer(waiter, Err(error));
    }
    if queue.polls.len() >= POLLS_MAX {
        room.queues.entries[id].polls.sweep();
    }
    let queue = &room.queues.entries[id];
    if queue.polls.len() >= POLLS_MAX {
        let error = EngineError::TooMany {
            message: format!("{POLLS_MAX} receives wait for queue {:?} already", queue.row.name),
            reason: "WaitingReceives".into(),
            retry_after_ms: 1_000,
        };
        return room.ctx.answer(waiter, Err(error));
    }
    let until_ns = room.ctx.now.mono_ns + request.wait_ms * NS_PER_MS;
    room.queues.entries[id].polls.push(Poll { request, until_ns, waiter });
    serve::serve_queue(room, id);
}

/// Answer receives in turn as long as there is something to be received, and those whose wait is over.
pub(crate) fn answer_polls(room: &mut QueueRoom<'_>, id: QueueId) {
    let now = room.ctx.now;
    for number in room.queues.entries[id].polls.again() {
        if let Some(poll) = room.queues.entries[id].polls.take(number) {
            answer_poll(room, id, (number, poll));
        }
    }
    while room.queues.entries[id].machine.is_ready(&now) {
        let Some(first) = room.queues.entries[id].polls.take_first() else { break };
        if !answer_poll(room, id, first) {
            break;
        }
    }
    while let Some(poll) = room.queues.entries[id].polls.take_over(now.mono_ns) {
        answer_poll(room, id, (0, poll));
    }
    serve::carry_out_queue(room, id);
}

/// Answer a receive, or let it wait on where there is nothing for it; false if it waits on.
fn answer_poll(room: &mut QueueRoom<'_>, id: QueueId, (number, poll): (u64, Poll)) -> bool {
    // Whoever has left takes nothing: what it would be given is for the next one.
    if poll.waiter.has_left() {
        return true;
    }
    let now = room.ctx.now;
    let queue = &mut room.queues.entries[id];
    let visibility_ms = poll.request.visibility_timeout_ms.unwrap_or(queue.row.settings.visibility_timeout_ms);
    let receive = Receive {
        maximum: poll.request.maximum,
        hold: Hold::For { visibility_ms },
        attempt: poll.request.attempt_id.as_deref(),
    };
    match queue.machine.receive(&receive, &now) {
        Ok(deliveries) if deliveries.is_empty() && poll.until_ns > now.mono_ns => {
            queue.polls.insert(number, poll);
            return false;
        }
        Ok(deliveries) => {
            queue.meters.received.add(deliveries.len() as u64);
            queue.meters.empty_receives.add(u64::from(deliveries.is_empty()));
            let durable = !deliveries.is_empty();
            serve::carry_out_queue(room, id);
            serve::fetch(room, id, deliveries, Purpose::Answer { waiter: poll.waiter, durable });
        }
        Err(over) => {
            let error = EngineError::TooMany {
                message: format!(
                    "OverLimit: queue {:?} has {} messages in flight; delete what is done",
                    queue.row.name, over.in_flight_max
                ),
                reason: "OverLimit".into(),
                retry_after_ms: 1_000,
            };
            room.ctx.answer(poll.waiter, Err(error));
        }
    }
    true
}

/// Answer now, or when what was written for it is durable.
pub(crate) fn answer_when_durable(room: &mut QueueRoom<'_>, waiter: Waiter, reply: Reply, durable: bool) {
    if durable && room.ctx.has_unwritten() {
        room.ctx.commit.pending.urgent = true;
        room.ctx.commit.pending.waiters.push((waiter, reply));
    } else {
        room.ctx.answer(waiter, Ok(reply));
    }
}

pub(crate) fn delete_message(room: &mut QueueRoom<'_>, id: QueueId, receipt: &str) -> Result<(), EngineError> {
    remove_message(room, id, receipt)?;
    serve::serve_queue(room, id);
    Ok(())
}

/// Delete messages; tell of each what prevented it.
pub(crate) fn delete_messages(room: &mut QueueRoom<'_>, id: QueueId, receipts: &[String]) -> Vec<Option<String>> {
    let refused = receipts.iter().map(|receipt| remove_message(room, id, receipt).err().map(|error| error.to_string()));
    let refused = refused.collect();
    serve::serve_queue(room, id);
    refused
}

fn remove_message(room: &mut QueueRoom<'_>, id: QueueId, receipt: &str) -> Result<(), EngineError> {
    let queue = &mut room.queues.entries[id];
    let handle = handle_of(receipt, queue.log())?;
    queue.machine.delete(handle).map_err(|refusal| refused(refusal, receipt))
}

pub(crate) fn change_message(
    room: &mut QueueRoom<'_>,
    id: QueueId,
    receipt: &str,
    visibility_ms: u64,
) -> Result<(), EngineError> {
    check_visibility(visibility_ms)?;
    let now = room.ctx.now;
    let queue = &mut room.queues.entries[id];
    let handle: Handle = handle_of(receipt, queue.log())?;
    queue.machine.change_visibility(handle, visibility_ms, &now).map_err(|refusal| refused(refusal, receipt))?;
    serve::serve_queue(room, id);
    Ok(())
}

fn check_visibility(visibility_ms: u64) -> Result<(), EngineError> {
    if visibility_ms <= VISIBILITY_MS_MAX {
        return Ok(());
    }
    Err(EngineError::Invalid(format!(
        "Value {} for parameter VisibilityTimeout is invalid. Reason: Must be between 0 and 43200, if provided.",
        visibility_ms / 1000
    )))
}

fn check_wish(request: &queue::Receive, is_fifo: bool) -> Result<(), EngineError> {
    if !(1..=MESSAGES_OF_A_CALL_MAX as u32).contains(&request.maximum) {
        return Err(EngineError::Invalid(format!(
            "Value {} for parameter MaxNumberOfMessages is invalid. Reason: Must be between 1 and 10, if provided.",
            request.maximum
        )));
    }
    if request.wait_ms > RECEIVE_WAIT_MS_MAX {
        return Err(EngineError::Invalid(format!(
            "Value {} for parameter WaitTimeSeconds is invalid. Reason: Must be >= 0 and <= 20, if provided.",
            request.wait_ms / 1000
        )));
    }
    check_visibility(request.visibility_timeout_ms.unwrap_or(0))?;
    match &request.attempt_id {
        Some(_) if !is_fifo => {
            Err(EngineError::Invalid("attempt_id: only a FIFO queue has receive request attempt ids".into()))
        }
        Some(id)
            if id.is_empty() || id.len() > ATTEMPT_CHARS_MAX || !id.bytes().all(|byte| byte.is_ascii_graphic()) =>
        {
            Err(EngineError::Invalid(format!(
                "attempt_id: allowed are 1 to {ATTEMPT_CHARS_MAX} letters, digits and punctuation, got {} bytes",
                id.len()
            )))
        }
        _ => Ok(()),
    }
}

fn refused(refusal: Refusal, receipt: &str) -> EngineError {
    EngineError::Invalid(match refusal {
        Refusal::StaleReceipt => format!(
            "Value {receipt} for parameter ReceiptHandle is invalid. Reason: The receipt handle has expired."
        ),
        Refusal::NotInFlight => format!(
            "Value {receipt} for parameter ReceiptHandle is invalid. Reason: Message does not exist or is not available for visibility timeout change."
        ),
        Refusal::TooLong => "Value for parameter VisibilityTimeout is invalid. Reason: Total VisibilityTimeout for the message is beyond the limit [43200 seconds].".into(),
    })
}
