//! Takes in events that callers ask for: now or later, each of them or only one for a deduplication id.

use forebay_core::queue::dedup::{Key as Digest, Scope};

use crate::api::event::Invoke;
use crate::base::error::{EngineError, Reply, Waiter};
use crate::base::ids::uuid_text;
use crate::base::limits::{
    EVENT_DELAY_MS_MAX, EVENT_ID_CHARACTERS_MAX, EVENT_ID_WINDOW_MS, EVENT_ID_WINDOW_MS_MAX, EVENT_ID_WINDOW_MS_MIN,
};
use crate::base::trace::{check_trace, kept, Origin};
use crate::dispatch::functions;
use crate::observe::history::RequestEvent;
use crate::payload::event::RememberedId;
use crate::sources::invocation::expiry::{self, Known};
use crate::sources::invocation::{check_payload, InvocationRoom};

/// What a caller wants beside the run.
#[derive(Default)]
pub(crate) struct InvokeOptions<'a> {
    delay_ms: u64,
    /// Until when the id is remembered, wall ms.
    deduplication: Option<(&'a str, u64)>,
    keeps_result: bool,
}

impl<'a> InvokeOptions<'a> {
    /// What was asked for at a moment.
    pub(crate) fn of(asked: &'a Invoke, wall_ms: u64) -> Result<Self, EngineError> {
        let refused = |text: String| Err(EngineError::Invalid(text));
        let delay_ms = match (asked.delay_ms, asked.at_ms) {
            (Some(_), Some(_)) => return refused("delay and at: give one of them".into()),
            (Some(delay_ms), None) => delay_ms,
            (None, at_ms) => at_ms.map_or(0, |at_ms| at_ms.saturating_sub(wall_ms)),
        };
        if delay_ms > EVENT_DELAY_MS_MAX {
            let days = delay_ms / 86_400_000;
            return refused(format!("an event may be due in up to 365 days, not in {days}"));
        }
        let window_ms = asked.deduplication_window_ms;
        let deduplication = match &asked.deduplication_id {
            None if window_ms.is_some() => {
                return refused(
                    "deduplication_window: it is for how long a deduplication_id is remembered: give one".into(),
                )
            }
            None => None,
            Some(id) if !(1..=EVENT_ID_CHARACTERS_MAX).contains(&id.chars().count()) => {
                return refused(format!("deduplication_id: allowed are 1 to {EVENT_ID_CHARACTERS_MAX} characters"));
            }
            Some(id) => {
                let window_ms = window_ms.unwrap_or(EVENT_ID_WINDOW_MS);
                if !(EVENT_ID_WINDOW_MS_MIN..=EVENT_ID_WINDOW_MS_MAX).contains(&window_ms) {
                    return refused(format!(
                        "deduplication_window={}: allowed are {} to {} seconds",
                        window_ms as f64 / 1e3,
                        EVENT_ID_WINDOW_MS_MIN / 1_000,
                        EVENT_ID_WINDOW_MS_MAX / 1_000
                    ));
                }
                Some((id.as_str(), wall_ms + window_ms))
            }
        };
        Ok(Self { delay_ms, deduplication, keeps_result: asked.keep_result })
    }
}

/// Accept an event for a function; the waiter is given its request id when it is durable.
pub(crate) fn invoke_async(
    room: &mut InvocationRoom<'_>,
    function: &str,
    payload: &[u8],
    origin: Origin<'_>,
    waiter: Waiter,
) {
    accept(room, function, payload, origin, &InvokeOptions::default(), (waiter, Reply::Request));
}

/// The same with options; `reply` makes the answer of the request id.
pub(crate) fn accept(
    room: &mut InvocationRoom<'_>,
    function: &str,
    payload: &[u8],
    origin: Origin<'_>,
    options: &InvokeOptions<'_>,
    (waiter, reply): (Waiter, impl Fn(u128) -> Reply),
) {
    let accepted = room.ctx.check_room().and_then(|()| {
        check_payload(payload)?;
        check_trace(origin.trace)?;
        let (queue, qualifier) = room.event_queue(function)?;
        let remembered = options.deduplication.map(|(id, until_ms)| remembered(room, queue, id, until_ms));
        let known = remembered.map_or(Ok(None), |one| expiry::known_id(room, one.digest))?;
        if let Some(known) = known.as_ref().filter(|known| options.keeps_result && !known.keeps_result) {
            return Err(not_kept_for(known.request));
        }
        Ok((queue, qualifier, remembered, known))
    });
    match accepted {
        Ok((_, _, _, Some(Known { request, is_durable, .. }))) => {
            room.ctx.observe.history.note(room.ctx.now.wall_ms, request, RequestEvent::Repeated);
            if is_durable {
                return room.ctx.answer(waiter, Ok(reply(request)));
            }
            // Answered, or refused, with the first one.
            room.ctx.commit.pending.waiters.push((waiter, reply(request)));
            room.ctx.commit.pending.urgent = true;
        }
        Ok((queue, qualifier, remembered, None)) => {
            let hops = functions::hops_after(room.dispatch, origin.parent);
            let request = room.ctx.rng.uuid();
            let mut event = room.new_event(request, hops, payload.into(), (kept(origin.trace), qualifier));
            event.life.delay_ms = options.delay_ms;
            event.keeps_result = options.keeps_result;
            event.deduplication_id = options.deduplication.map(|(id, _)| id.into());
            if let Some(remembered) = remembered {
                expiry::remember_id(room, remembered, &event);
            }
            let mut accepted = room.number_event(queue, event);
            accepted.remembered = remembered;
            room.ctx.commit.pending.bytes += accepted.bytes();
            room.events.accepted.push(accepted);
            room.ctx.commit.pending.waiters.push((waiter, reply(request)));
            room.ctx.commit.pending.urgent = true;
        }
        Err(error) => room.ctx.answer(waiter, Err(error)),
    }
}

/// An id is the function's, whichever version or alias is asked for.
fn remembered(room: &InvocationRoom<'_>, queue: u64, id: &str, until_ms: u64) -> RememberedId {
    let function = room.events.queues.get(&queue).map_or("", |events| events.function.as_str());
    RememberedId { digest: Digest::new(Scope::MessageGroup, function, id).0, until_ms }
}

/// A repeated event wants what the first one does not do.
fn not_kept_for(request: u128) -> EngineError {
    EngineError::Invalid(format!(
        "keep_result: no result is kept of request {}, which was accepted with this deduplication_id before: give keep_result with \
         each event of an id, or with none",
        uuid_text(request)
    ))
}
