//! Permits: every start of a function takes one of the account's (`forebay_core::concurrency`), and holds it until its attempt is
//! over, however that comes about.
//!
//! ```text
//! synchronous invocation   takes its place when it is asked for, or is refused; where all environments of its function have work,
//!                          it waits in the function's line, and takes its place in turn
//! stream batch, redrive    waits in its function's line (`waiters`), and takes its place in turn
//! queue batch, event       is received, or begun, only when the turn of its mapping or function has brought a place
//! suspect of a crash       takes its place before all others, when nothing else runs; while it may not have one, others run
//! failure record           needs none: no function runs
//! ```
//!
//! The lease stands in the attempt (or in the batch that is being put together), and goes back when the attempt is settled or
//! withdrawn. So what is past its deadline and runs on keeps its place, and a process that died gives its own back.
//! What a function's processes cannot take (`Environments(maximum=…)`) does not wait with a place in hand: its unit stands
//! out of line until one of its attempts ends. What waits for a process to start does: it starts for it.

use crate::base::ids::RoomId;
use crate::dispatch::invoke::Invoke;
use crate::observe::happenings::{Happening, HappeningKind};
use serde_json::json;
use std::collections::BTreeMap;

use forebay_core::concurrency::{FunctionId, Kind as Start, Lease, Pool, Reason, Source, UnitId};

use crate::base::error::EngineError;
use crate::dispatch::attempts::{Attempt, HandlerId, Token};
use crate::dispatch::ready_list::Kind;
use crate::dispatch::waiters::{SourceId, Waiters};
use crate::dispatch::Dispatch;
use crate::dispatch::DispatchRoom;
use crate::metrics::{Counter, Metric};
use crate::observe::meters::{AccountMeters, ProvisionedMeters};

/// Most permits given before the engine's lock is let go.
pub(crate) const GIVEN_AT_ONCE: usize = 1_024;
/// When a caller may try again who was refused because everything is in use.
const RETRY_AFTER_MS: u64 = 1_000;
/// Why an invocation is refused because too many wait already.
const BACKLOG: &str = "InvocationBacklog";

/// The account's permits and who waits for them.
pub(crate) struct Permits {
    pub(crate) pool: Pool,
    /// By unit.
    pub(crate) waiters: Vec<Waiters>,
    /// When the pool's timer rings.
    pub(crate) armed: Option<u64>,
    meters: AccountMeters,
    throttles: BTreeMap<(UnitId, &'static str), Counter>,
    /// Of the units that have provisioned concurrency.
    pub(crate) provisioned: BTreeMap<UnitId, ProvisionedMeters>,
}

impl Permits {
    pub(crate) fn new(pool: Pool, meters: AccountMeters) -> Self {
        Self {
            pool,
            waiters: Vec::new(),
            armed: None,
            meters,
            throttles: BTreeMap::new(),
            provisioned: BTreeMap::new(),
        }
    }

    /// A function, with the unit of what a handler runs. Another version of it is another unit of the same function.
    pub(crate) fn add_function(&mut self, handler: HandlerId) -> (FunctionId, UnitId) {
        let function = self.pool.add_function();
        (function, self.add_unit(function, handler))
    }

    /// A version of a function, run by a handler of its own.
    pub(crate) fn add_unit(&mut self, function: FunctionId, handler: HandlerId) -> UnitId {
        self.waiters.push(Waiters::new(handler));
        self.pool.add_unit(function)
    }

    /// Attempts that wait for a place.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = Token> + '_ {
        self.waiters.iter().flat_map(Waiters::attempts)
    }

    /// A source is no more.
    pub(crate) fn forget_source(&mut self, id: SourceId) {
        self.waiters.iter_mut().for_each(|line| line.forget(id));
    }

    /// So many of a unit's environments can take work. Its provisioned concurrency, once ready, stays usable while some of them are
    /// replaced.
    pub(crate) fn environments_ready(&mut self, unit: UnitId, environments: usize) {
        let (requested, usable, _) = self.pool.provisioned(unit);
        if usable < requested && environments >= requested as usize {
            self.pool.provisioned_ready(unit, requested);
        }
    }

    /// Count where a place came from, now that it is used. What has nothing provisioned any more spills nothing over.
    pub(crate) fn count_source(&self, lease: Lease) {
        if let Some(meters) = self.provisioned.get(&lease.unit) {
            match lease.source {
                Source::Provisioned => meters.invocations.increment(),
                _ if self.pool.provisioned(lease.unit).0 == 0 => {}
                Source::Reserved | Source::Unreserved => meters.spilled.increment(),
            }
        }
    }

    /// Show what is in use.
    pub(crate) fn show(&mut self) {
        self.meters.show(self.pool.in_use());
        for (&unit, meters) in &mut self.provisioned {
            meters.show(self.pool.provisioned(unit));
        }
    }
}

/// The unit of a function's handler; a destination has none.
pub(crate) fn unit_of(dispatch: &Dispatch, handler: HandlerId) -> Option<UnitId> {
    dispatch.functions[handler].place.map(|(_, unit)| unit)
}

pub(crate) fn is_crowded(dispatch: &Dispatch) -> bool {
    dispatch.is_crowded
}

/// Whether an attempt whose turn has come is not to begin now. It passes its place on.
pub(crate) fn stands_aside(dispatch: &mut Dispatch, token: Token) -> bool {
    let stands = dispatch.is_crowded && dispatch.attempts.get(token).is_some_and(|attempt| attempt.job.may_wait());
    if stands {
        dispatch.standing_aside.push(token);
    }
    stands
}

/// Put an attempt in its function's line.
pub(crate) fn queue_attempt(room: &mut DispatchRoom<'_>, token: Token) {
    let Some(attempt) = room.dispatch.attempts.get_mut(token) else { return };
    let (handler, source) = (attempt.handler, attempt.job.source());
    let Some(unit) = unit_of(room.dispatch, handler) else { return };
    room.dispatch.permits.waiters[unit].push(source, token);
    wait_for_permit(room, unit);
}

/// A mapping or a function's events have something that is taken when there is a place for it.
pub(crate) fn queue_source(room: &mut DispatchRoom<'_>, handler: HandlerId, source_room: RoomId, source: SourceId) {
    let Some(unit) = unit_of(room.dispatch, handler) else { return };
    room.dispatch.permits.waiters[unit].pull(source_room, source);
    wait_for_permit(room, unit);
}

/// Let a unit wait for a place, if it has work and could run it.
pub(crate) fn wait_for_permit(room: &mut DispatchRoom<'_>, unit: UnitId) {
    if !room.dispatch.permits.waiters[unit].is_empty() && could_run(room, unit) {
        room.dispatch.permits.pool.wait(unit);
    }
}

/// Whether a unit has a process for one more attempt, or could have one; without processes, always.
pub(crate) fn could_run(room: &DispatchRoom<'_>, unit: UnitId) -> bool {
    let line = &room.dispatch.permits.waiters[unit];
    room.dispatch.process_lines.most(line.handler).is_none_or(|most| line.working < most)
}

/// Count what came to its turn and found no place.
pub(crate) fn count_refusals(room: &mut DispatchRoom<'_>) {
    for (unit, reason) in room.dispatch.permits.pool.refusals() {
        let handler = room.dispatch.permits.waiters[unit].handler;
        count_throttle(room, handler, reason.as_str());
    }
}

fn count_throttle(room: &mut DispatchRoom<'_>, handler: HandlerId, reason: &'static str) {
    let (registry, function) = (&room.ctx.registry, &room.dispatch.functions[handler]);
    let Some((_, unit)) = function.place else { return };
    let counter = || registry.counter(Metric::Throttles, &[&function.name, reason]);
    room.dispatch.permits.throttles.entry((unit, reason)).or_insert_with(counter).increment();
    let Some(throttles) = room.ctx.observe.happenings.throttles(&function.name, room.ctx.now.mono_ns) else {
        return;
    };
    let (name, arn) = (function.name.clone(), room.ctx.function_arn(&function.name));
    room.ctx.happen(|| Happening {
        kind: HappeningKind::Throttled,
        detail: json!({"functionName": name, "functionArn": arn, "reason": reason, "throttles": throttles}).to_string(),
        resources: vec![arn],
        hops: 0,
        trace: None,
    });
}

/// Give an attempt its place, and put it where it is taken from.
pub(crate) fn seat(room: &mut DispatchRoom<'_>, token: Token, lease: Lease) {
    let Some(attempt) = room.dispatch.attempts.get_mut(token) else { return free_unused(room, Some(lease)) };
    attempt.lease = Some(lease);
    let (handler, kind, alone) = (attempt.handler, attempt.job.kind(), attempt.alone);
    if room.dispatch.process_lines.push(handler, token, alone) {
        return;
    }
    match kind {
        Kind::Invoke => room.dispatch.ready_list.invokes.push_back(token),
        _ if alone => room.dispatch.ready_list.suspect = Some(token),
        _ => room.dispatch.ready_list.placed.push_back(token),
    }
    room.ctx.ring = true;
}

/// A function is switched off: whoever waits to invoke it is refused, as the next one is.
pub(crate) fn refuse_waiting_invocations(room: &mut DispatchRoom<'_>, handler: HandlerId) {
    let Some(unit) = unit_of(room.dispatch, handler) else { return };
    while let Some(token) = room.dispatch.permits.waiters[unit].next_invocation() {
        let refused = throttled(room, handler, Reason::ReservedConcurrent, None);
        refuse_invocation(room, token, refused);
    }
}

/// Answer an invocation that nobody has taken, and that stands in no line any more.
pub(crate) fn refuse_invocation(room: &mut DispatchRoom<'_>, token: Token, refused: EngineError) {
    let Some(Attempt { lease, job, .. }) = room.dispatch.attempts.remove(token) else { return };
    let Some(invoke) = job.into::<Invoke>() else { return };
    let Invoke { payload, waiter, .. } = *invoke;
    room.dispatch.ready_list.invoke_bytes -= payload.len();
    free_unused(room, lease);
    if let Some(waiter) = waiter {
        room.ctx.answer(waiter, Err(refused));
    }
}

/// AWS's refusal of an invocation.
pub(crate) fn throttled(
    room: &mut DispatchRoom<'_>,
    handler: HandlerId,
    reason: Reason,
    retry_at_ns: Option<u64>,
) -> EngineError {
    count_throttle(room, handler, reason.as_str());
    let wait_ns = retry_at_ns.map(|at_ns| at_ns.saturating_sub(room.ctx.now.mono_ns));
    EngineError::TooMany {
        message: Reason::MESSAGE.into(),
        reason: reason.as_str().into(),
        retry_after_ms: wait_ns.map_or(RETRY_AFTER_MS, |wait_ns| wait_ns.div_ceil(1_000_000)),
    }
}

/// The refusal of an invocation because too many wait here: no limit of AWS's.
pub(crate) fn backlog(room: &mut DispatchRoom<'_>, handler: HandlerId, message: String) -> EngineError {
    count_throttle(room, handler, BACKLOG);
    EngineError::TooMany { message, reason: BACKLOG.into(), retry_after_ms: RETRY_AFTER_MS }
}

/// A place that an attempt had is free.
pub(crate) fn free_permit(room: &mut DispatchRoom<'_>, lease: Option<Lease>) {
    if let Some(lease) = lease {
        room.dispatch.permits.pool.release(lease, room.ctx.now.mono_ns);
        room.dispatch.permits.waiters[lease.unit].working -= 1;
        wait_for_permit(room, lease.unit);
    }
}

/// The place of what was never handed out is free.
pub(crate) fn free_unused(room: &mut DispatchRoom<'_>, lease: Option<Lease>) {
    if let Some(lease) = lease {
        room.dispatch.permits.pool.release_unused(lease, room.ctx.now.mono_ns);
        room.dispatch.permits.waiters[lease.unit].working -= 1;
        wait_for_permit(room, lease.unit);
    }
}

/// Let the first suspect of a crash that may have a place be the next to run: at once if nothing else does. Those whose function
/// may not run hold up nobody; they stand in no line, so this tells when the first of them may run as time passes, mono ns.
pub(crate) fn choose_suspect(room: &mut DispatchRoom<'_>) -> Option<u64> {
    room.dispatch.ready_list.suspect_waits = false;
    if room.dispatch.ready_list.alone.is_empty() || room.dispatch.ready_list.running_alone {
        return None;
    }
    let now_ns = room.ctx.now.mono_ns;
    let mut due_ns: Option<u64> = None;
    for at in 0..room.dispatch.ready_list.alone.len() {
        let token = room.dispatch.ready_list.alone[at];
        let handler = room.dispatch.attempts.get_mut(token).map(|attempt| attempt.handler);
        let Some(unit) = handler.and_then(|handler| unit_of(room.dispatch, handler)) else { continue };
        if let Err(refused) = room.dispatch.permits.pool.may_start(unit, Start::Work, now_ns) {
            due_ns = due_ns.into_iter().chain(refused.retry_at_ns).min();
            continue;
        }
        if !room.dispatch.ready_list.suspect_may_run() {
            room.dispatch.ready_list.suspect_waits = true;
            return None;
        }
        if let Ok(lease) = room.dispatch.permits.pool.acquire(unit, Start::Work, now_ns) {
            room.dispatch.ready_list.alone.remove(at);
            room.dispatch.ready_list.running_alone = true;
            room.dispatch.permits.waiters[unit].working += 1;
            seat(room, token, lease);
        }
        return None;
    }
    due_ns
}

/// There is no room for answers that would wait, or there is again: then the attempts that stood aside are in line anew.
pub(crate) fn set_crowded(room: &mut DispatchRoom<'_>, is_crowded: bool) {
    room.dispatch.is_crowded = is_crowded;
    if !is_crowded {
        for token in std::mem::take(&mut room.dispatch.standing_aside) {
            queue_attempt(room, token);
        }
    }
}

/// Attempts that nobody has taken yet.
pub(crate) fn untaken(room: &DispatchRoom<'_>) -> Vec<Token> {
    room.dispatch
        .ready_list
        .untaken()
        .chain(room.dispatch.permits.waiting())
        .chain(room.dispatch.standing_aside.iter().copied())
        .chain(room.dispatch.process_lines.waiting())
        .collect()
}

/// Forget everything of a mapping that was not handed out.
pub(crate) fn withdraw_mapping(room: &mut DispatchRoom<'_>, id: u64) {
    for token in untaken(room) {
        if room.dispatch.attempts.get_mut(token).is_some_and(|attempt| attempt.job.source() == id) {
            withdraw(room, token);
        }
    }
}

/// Forget an attempt that was not handed out.
pub(crate) fn withdraw(room: &mut DispatchRoom<'_>, token: Token) -> Option<Attempt> {
    let attempt = room.dispatch.attempts.remove(token)?;
    if attempt.lease.is_some() {
        if attempt.alone {
            room.dispatch.ready_list.running_alone = false;
        }
        free_unused(room, attempt.lease);
        room.dispatch.process_lines.withdraw(|other| other == token);
    } else if let Some(unit) = unit_of(room.dispatch, attempt.handler) {
        room.dispatch.permits.waiters[unit].withdraw(attempt.job.source(), token);
    }
    room.dispatch.ready_list.withdraw(token);
    Some(attempt)
}
