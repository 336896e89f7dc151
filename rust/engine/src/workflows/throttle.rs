//! How often executions may begin, and Standard ones enter states: AWS's token buckets, where the app asks for them.
//!
//! A start without a token is refused, as on AWS. A state without one waits: what would let its execution go on is held back. A turn may
//! enter more states than there are tokens; the rest is paid before the next turn.

use std::collections::VecDeque;

use forebay_core::durable::InvokeEnd;
use forebay_core::token_bucket::TokenBucket;
use forebay_core::workflow::machine::{Command, ErrorDetails, EventKind, Fact};

use crate::api::workflow::Kind;
use crate::base::error::EngineError;
use crate::base::limits::WorkflowLimits;
use crate::commit::starts::full_bucket;
use crate::dispatch::permits;
use crate::dispatch::DispatchRoom;
use crate::workflows::durable::Told;
use crate::workflows::outside::Brings;
use crate::workflows::{Happened, WorkflowRoom, Workflows};

/// While about so many bytes of answers of functions wait, no other function is called that may bring one.
pub(super) const ANSWER_BYTES_MAX: usize = 64 << 20;

/// The bucket of transitions, and what waits for tokens.
#[derive(Default)]
pub(crate) struct Throttles {
    /// What the bucket is made of.
    limits: WorkflowLimits,
    transitions: Option<TokenBucket>,
    /// States that were entered without a token.
    debt: u64,
    waiting: VecDeque<Happened>,
    /// About how many bytes of answers wait.
    bytes: usize,
    /// There may be tokens for what waits.
    pub(crate) is_due: bool,
}

impl Throttles {
    /// Take over limits that have changed; the new bucket is full.
    fn follow(&mut self, limits: WorkflowLimits, now_ns: u64) {
        if self.limits == limits {
            return;
        }
        if self.limits.transitions != limits.transitions {
            (self.transitions, self.debt) = (full_bucket(limits.transitions, now_ns), 0);
        }
        self.limits = limits;
    }

    /// Pay for states that were entered without a token. Whether there is one for the next.
    fn has_token(&mut self, now_ns: u64) -> bool {
        let Some(bucket) = &mut self.transitions else { return true };
        let paid = self.debt.min(bucket.tokens(now_ns) as u64);
        // So many are there.
        let _taken = bucket.try_acquire(paid, now_ns);
        self.debt -= paid;
        self.debt == 0 && bucket.time_until(1, now_ns) == Some(0)
    }

    /// How long until what waits may go on; `None`: nothing waits.
    pub(crate) fn wait_ns(&mut self, now_ns: u64) -> Option<u64> {
        if self.waiting.is_empty() {
            return None;
        }
        let Some(bucket) = &mut self.transitions else { return Some(0) };
        bucket.time_until((self.debt + 1).min(bucket.burst()), now_ns)
    }
}

/// Take a token for a start.
pub(super) fn take_start(room: &mut WorkflowRoom<'_>, kind: Kind) -> Result<(), EngineError> {
    take_starts(room, kind, 1)
}

/// Take tokens for several starts: all of them or none.
pub(super) fn take_starts(room: &mut WorkflowRoom<'_>, kind: Kind, count: usize) -> Result<(), EngineError> {
    let ctx = &mut *room.below.ctx;
    ctx.starts.take(kind == Kind::Express, count, ctx.config.limits.workflows, ctx.now.mono_ns)
}

/// What an execution is brought next: first what has waited for a token, in its order.
pub(super) fn next(room: &mut WorkflowRoom<'_>) -> Option<Happened> {
    loop {
        let ctx = &*room.below.ctx;
        let (limits, now_ns) = (ctx.config.limits.workflows, ctx.now.mono_ns);
        let throttles = &mut room.workflows.throttles;
        throttles.is_due = false;
        if !throttles.waiting.is_empty() {
            throttles.follow(limits, now_ns);
            if throttles.has_token(now_ns) {
                let next = throttles.waiting.pop_front();
                throttles.bytes -= next.as_ref().map_or(0, answer_bytes);
                // Not for each answer that goes on: all that stood aside is in line anew.
                if throttles.bytes <= ANSWER_BYTES_MAX / 2 && permits::is_crowded(room.below.dispatch) {
                    permits::set_crowded(&mut line(room), false);
                }
                return next;
            }
        }
        let happened = room.workflows.inbox.pop_front()?;
        if let Some(happened) = admit(room, happened) {
            return Some(happened);
        }
    }
}

/// Give back what may go on now. What may not is held until there are tokens: only what a restart would bring again.
pub(super) fn admit(room: &mut WorkflowRoom<'_>, happened: Happened) -> Option<Happened> {
    let ctx = &*room.below.ctx;
    let (limits, now_ns) = (ctx.config.limits.workflows, ctx.now.mono_ns);
    if limits.transitions.is_none() && room.workflows.throttles.waiting.is_empty() {
        return Some(happened);
    }
    // A submission enters no state, and names a job that nobody else knows of. What an app that stops was answered is written at once, too.
    let passes = matches!(happened.fact, Fact::ChildEnded(..) | Fact::TaskSubmitted(..)) || ctx.draining;
    let is_again = happened.is_kept && !passes;
    let is_held_back = is_again || matches!(happened.fact, Fact::Start | Fact::Due);
    let Some(run) = room.workflows.runs.get(&happened.run).filter(|run| is_held_back && run.memory.is_none()) else {
        return Some(happened);
    };
    let throttled = run.machine.meters.throttled.clone();
    let throttles = &mut room.workflows.throttles;
    throttles.follow(limits, now_ns);
    if throttles.waiting.is_empty() && throttles.has_token(now_ns) {
        return Some(happened);
    }
    throttled.increment();
    throttles.bytes += answer_bytes(&happened);
    let is_crowded = throttles.bytes >= ANSWER_BYTES_MAX;
    throttles.waiting.push_back(happened);
    if is_crowded && !permits::is_crowded(room.below.dispatch) {
        permits::set_crowded(&mut line(room), true);
    }
    None
}

/// Those who wait for their turn to be handed out.
fn line<'a>(room: &'a mut WorkflowRoom<'_>) -> DispatchRoom<'a> {
    DispatchRoom { ctx: room.below.ctx, dispatch: room.below.dispatch }
}

/// About how many bytes an answer has that waits. What an execution only wants of itself has none.
fn answer_bytes(happened: &Happened) -> usize {
    let details = |details: &ErrorDetails| {
        let texts = [&details.error, &details.cause];
        texts.into_iter().flatten().map(String::len).sum::<usize>()
    };
    let answer = match &happened.fact {
        Fact::Start | Fact::Due => return 0,
        Fact::TaskSucceeded(_, data) | Fact::TaskSubmitted(_, data) | Fact::Written(_, data) => data.size(),
        Fact::TaskFailed(_, error)
        | Fact::TaskSubmitFailed(_, error)
        | Fact::TaskStartFailed(_, error)
        | Fact::ReadFailed(_, error)
        | Fact::WriteFailed(_, error) => details(error),
        Fact::Items(_, items, _) => items.iter().map(|item| item.to_string().len()).sum(),
        _ => 0,
    };
    let brought = match &happened.brings {
        Some(Brings::Call(call)) => call.payload.len(),
        Some(Brings::Durable(Told::Invoked(_, InvokeEnd::Succeeded(result)))) => result.len(),
        _ => 0,
    };
    size_of::<Happened>() + answer + brought
}

/// The app stops: what functions have answered is brought now, for a restart would call them again.
pub(crate) fn bring_answers(workflows: &mut Workflows) {
    let throttles = &mut workflows.throttles;
    let waiting = std::mem::take(&mut throttles.waiting).into_iter();
    let (answers, others): (VecDeque<Happened>, _) = waiting.partition(|happened| happened.is_kept);
    (throttles.waiting, throttles.bytes) = (others, 0);
    workflows.inbox.extend(answers);
}

/// Take tokens for the states that a turn has entered.
pub(super) fn spend(room: &mut WorkflowRoom<'_>, commands: &[Command]) {
    let ctx = &*room.below.ctx;
    let (limits, now_ns) = (ctx.config.limits.workflows, ctx.now.mono_ns);
    let throttles = &mut room.workflows.throttles;
    // Limits that were taken away owe nothing.
    throttles.follow(limits, now_ns);
    let Some(bucket) = &mut throttles.transitions else { return };
    let events = commands.iter().filter_map(|command| match command {
        Command::Record(events) => Some(events),
        _ => None,
    });
    let entered = events.flatten().filter(|event| matches!(event.kind, EventKind::StateEntered(..))).count() as u64;
    let paid = entered.min(bucket.tokens(now_ns) as u64);
    let _taken = bucket.try_acquire(paid, now_ns);
    throttles.debt += entered - paid;
}
