//! Giving permits: who is next in turn gets one, and each room begins its own work with it.

use crate::base::error::EngineError;
use crate::dispatch::attempts::HandlerId;
use crate::dispatch::attempts::Token;
use crate::dispatch::permits::{self, GIVEN_AT_ONCE};
use crate::dispatch::ready_list::Kind;
use crate::dispatch::waiters::Next;
use crate::dispatch::PERMITS;
use crate::runtime::rooms::Rooms;
use crate::sources::queue::mapping;
use crate::workflows::throttle;
use forebay_core::concurrency::Kind as Start;
use forebay_core::concurrency::Lease;
use forebay_core::concurrency::Reason;
use forebay_core::concurrency::Refused;
use std::collections::BTreeSet;

/// Give permits to what waits for them, in turn.
pub(crate) fn give_permits(rooms: &mut Rooms) {
    if rooms.ctx.started && !rooms.ctx.is_paused() {
        let could_run = rooms.dispatch.ready_list.batch_may_run();
        let suspect_due = permits::choose_suspect(&mut rooms.dispatch());
        if could_run && !rooms.dispatch.ready_list.batch_may_run() {
            mapping::withdraw_strict(&mut rooms.queues());
        }
        let mut given = 0;
        while given < GIVEN_AT_ONCE && rooms.dispatch.ready_list.batch_may_run() {
            let Some(lease) = rooms.dispatch.permits.pool.next(rooms.ctx.now.mono_ns) else { break };
            give(rooms, lease);
            given += 1;
        }
        let due = if !rooms.dispatch.ready_list.batch_may_run() {
            give_to_invocations(rooms)
        } else if given < GIVEN_AT_ONCE {
            rooms.dispatch.permits.pool.next_due().into_iter().chain(suspect_due).min()
        } else {
            Some(rooms.ctx.now.mono_ns)
        };
        if let Some(due_ns) = due {
            rooms.ctx.timers.arm(&mut rooms.dispatch.permits.armed, due_ns, PERMITS);
        }
        permits::count_refusals(&mut rooms.dispatch());
    }
    rooms.dispatch.permits.show();
}

/// Invocations run beside a suspect of a crash, whose handler may be waiting for one. When the first of those that must wait for
/// time to pass may run, mono ns.
fn give_to_invocations(rooms: &mut Rooms) -> Option<u64> {
    let mut due_ns: Option<u64> = None;
    for unit in 0..rooms.dispatch.permits.waiters.len() {
        while rooms.dispatch.permits.waiters[unit].invocations() > 0 && permits::could_run(&rooms.dispatch(), unit) {
            let lease = match rooms.dispatch.permits.pool.acquire(unit, Start::Work, rooms.ctx.now.mono_ns) {
                Ok(lease) => lease,
                Err(refused) => {
                    due_ns = due_ns.into_iter().chain(refused.retry_at_ns).min();
                    break;
                }
            };
            rooms.dispatch.permits.waiters[unit].working += 1;
            match rooms.dispatch.permits.waiters[unit].next_invocation() {
                Some(token) => permits::seat(&mut rooms.dispatch(), token, lease),
                None => permits::free_unused(&mut rooms.dispatch(), Some(lease)),
            }
        }
    }
    due_ns
}

/// Use a place for what is next in its unit's line. What turns out to have nothing to run passes it on.
fn give(rooms: &mut Rooms, lease: Lease) {
    let unit = lease.unit;
    let mut left = Some(lease);
    rooms.dispatch.permits.waiters[unit].working += 1;
    while let Some(lease) = left.take() {
        match rooms.dispatch.permits.waiters[unit].next() {
            Some(Next::Attempt(token)) if permits::stands_aside(&mut rooms.dispatch, token) => left = Some(lease),
            Some(Next::Attempt(token)) => permits::seat(&mut rooms.dispatch(), token, lease),
            Some(Next::Pull(room, source)) => left = rooms.participant(room, |one| one.grant(source, lease)),
            None => permits::free_unused(&mut rooms.dispatch(), Some(lease)),
        }
    }
    permits::wait_for_permit(&mut rooms.dispatch(), unit);
}

/// Take a place for a synchronous invocation, after whatever waits for one. `None`: its function's environments all have work,
/// so it is to wait in line, without a place that others could use.
pub(crate) fn permit_of_invoke(rooms: &mut Rooms, handler: HandlerId) -> Result<Option<Lease>, EngineError> {
    give_permits(rooms);
    let Some(unit) = permits::unit_of(&rooms.dispatch, handler) else {
        return Err(permits::throttled(&mut rooms.dispatch(), handler, Reason::Concurrent, None));
    };
    let now_ns = rooms.ctx.now.mono_ns;
    let most = rooms.ctx.config.limits.concurrency as usize;
    let admitted = if permits::could_run(&rooms.dispatch(), unit) {
        rooms.dispatch.permits.pool.acquire(unit, Start::Invoke, now_ns).map(Some)
    } else if rooms.dispatch.permits.waiters[unit].invocations() < most {
        rooms.dispatch.permits.pool.request(unit, now_ns).map(|()| None)
    } else {
        return Err(permits::backlog(
            &mut rooms.dispatch(),
            handler,
            format!("{most} invocations wait for an environment of this function already"),
        ));
    };
    if let Ok(Some(_)) = admitted {
        rooms.dispatch.permits.waiters[unit].working += 1;
    }
    admitted.map_err(|Refused { reason, retry_at_ns, .. }| {
        permits::throttled(&mut rooms.dispatch(), handler, reason, retry_at_ns)
    })
}

/// Hand out no new work. Whoever waits for an invocation that has not begun is told so at once: it never will. Messages whose receive
/// is on disk already are as if they had not been received.
pub(crate) fn drain(rooms: &mut Rooms) {
    rooms.ctx.draining = true;
    let mut unbegun: BTreeSet<Token> = rooms.dispatch.ready_list.invokes.drain(..).collect();
    for line in &mut rooms.dispatch.permits.waiters {
        unbegun.extend(std::iter::from_fn(|| line.next_invocation()));
    }
    let attempts = &mut rooms.dispatch.attempts;
    let mut is_invocation = |token| attempts.get_mut(token).is_some_and(|attempt| attempt.job.kind() == Kind::Invoke);
    unbegun.extend(rooms.dispatch.process_lines.waiting().filter(|&token| is_invocation(token)));
    rooms.dispatch.process_lines.withdraw(|token| unbegun.contains(&token));
    for token in unbegun {
        let Some(handler) = rooms.dispatch.attempts.get_mut(token).map(|attempt| attempt.handler) else { continue };
        let name = rooms.dispatch.functions[handler].qualified();
        let text = format!("function {name:?} did not begin: the app is stopping; it is safe to invoke it again");
        permits::refuse_invocation(&mut rooms.dispatch(), token, EngineError::Closed(text));
    }
    mapping::withdraw_strict(&mut rooms.queues());
    throttle::bring_answers(&mut rooms.workflows);
}
