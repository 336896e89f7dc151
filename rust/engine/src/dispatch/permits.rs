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

impl Dispatch {
    /// The unit of a function's handler; a destination has none.
    pub(crate) fn unit_of(&self, handler: HandlerId) -> Option<UnitId> {
        self.functions[handler].place.map(|(_, unit)| unit)
    }

    pub(crate) fn is_crowded(&self) -> bool {
        self.is_crowded
    }

    /// Whether an attempt whose turn has come is not to begin now. It passes its place on.
    pub(crate) fn stands_aside(&mut self, token: Token) -> bool {
        let stands = self.is_crowded && self.attempts.get(token).is_some_and(|attempt| attempt.job.may_wait());
        if stands {
            self.standing_aside.push(token);
        }
        stands
    }
}

impl DispatchRoom<'_> {
    /// Put an attempt in its function's line.
    pub(crate) fn queue_attempt(&mut self, token: Token) {
        let Some(attempt) = self.dispatch.attempts.get_mut(token) else { return };
        let (handler, source) = (attempt.handler, attempt.job.source());
        let Some(unit) = self.dispatch.unit_of(handler) else { return };
        self.dispatch.permits.waiters[unit].push(source, token);
        self.wait_for_permit(unit);
    }

    /// A mapping or a function's events have something that is taken when there is a place for it.
    pub(crate) fn queue_source(&mut self, handler: HandlerId, room: RoomId, source: SourceId) {
        let Some(unit) = self.dispatch.unit_of(handler) else { return };
        self.dispatch.permits.waiters[unit].pull(room, source);
        self.wait_for_permit(unit);
    }

    /// Let a unit wait for a place, if it has work and could run it.
    pub(crate) fn wait_for_permit(&mut self, unit: UnitId) {
        if !self.dispatch.permits.waiters[unit].is_empty() && self.could_run(unit) {
            self.dispatch.permits.pool.wait(unit);
        }
    }

    /// Whether a unit has a process for one more attempt, or could have one; without processes, always.
    pub(crate) fn could_run(&self, unit: UnitId) -> bool {
        let line = &self.dispatch.permits.waiters[unit];
        self.dispatch.process_lines.most(line.handler).is_none_or(|most| line.working < most)
    }
}

impl DispatchRoom<'_> {
    /// Count what came to its turn and found no place.
    pub(crate) fn count_refusals(&mut self) {
        for (unit, reason) in self.dispatch.permits.pool.refusals() {
            let handler = self.dispatch.permits.waiters[unit].handler;
            self.count_throttle(handler, reason.as_str());
        }
    }

    fn count_throttle(&mut self, handler: HandlerId, reason: &'static str) {
        let (registry, function) = (&self.ctx.registry, &self.dispatch.functions[handler]);
        let Some((_, unit)) = function.place else { return };
        let counter = || registry.counter(Metric::Throttles, &[&function.name, reason]);
        self.dispatch.permits.throttles.entry((unit, reason)).or_insert_with(counter).increment();
        let Some(throttles) = self.ctx.observe.happenings.throttles(&function.name, self.ctx.now.mono_ns) else {
            return;
        };
        let (name, arn) = (function.name.clone(), self.ctx.function_arn(&function.name));
        self.ctx.happen(|| Happening {
            kind: HappeningKind::Throttled,
            detail: json!({"functionName": name, "functionArn": arn, "reason": reason, "throttles": throttles})
                .to_string(),
            resources: vec![arn],
            hops: 0,
            trace: None,
        });
    }
}

impl DispatchRoom<'_> {
    /// Give an attempt its place, and put it where it is taken from.
    pub(crate) fn seat(&mut self, token: Token, lease: Lease) {
        let Some(attempt) = self.dispatch.attempts.get_mut(token) else { return self.free_unused(Some(lease)) };
        attempt.lease = Some(lease);
        let (handler, kind, alone) = (attempt.handler, attempt.job.kind(), attempt.alone);
        if self.dispatch.process_lines.push(handler, token, alone) {
            return;
        }
        match kind {
            Kind::Invoke => self.dispatch.ready_list.invokes.push_back(token),
            _ if alone => self.dispatch.ready_list.suspect = Some(token),
            _ => self.dispatch.ready_list.placed.push_back(token),
        }
        self.ctx.ring = true;
    }
}

impl DispatchRoom<'_> {
    /// A function is switched off: whoever waits to invoke it is refused, as the next one is.
    pub(crate) fn refuse_waiting_invocations(&mut self, handler: HandlerId) {
        let Some(unit) = self.dispatch.unit_of(handler) else { return };
        while let Some(token) = self.dispatch.permits.waiters[unit].next_invocation() {
            let refused = self.throttled(handler, Reason::ReservedConcurrent, None);
            self.refuse_invocation(token, refused);
        }
    }
}

impl DispatchRoom<'_> {
    /// Answer an invocation that nobody has taken, and that stands in no line any more.
    pub(crate) fn refuse_invocation(&mut self, token: Token, refused: EngineError) {
        let Some(Attempt { lease, job, .. }) = self.dispatch.attempts.remove(token) else { return };
        let Some(invoke) = job.into::<Invoke>() else { return };
        let Invoke { payload, waiter, .. } = *invoke;
        self.dispatch.ready_list.invoke_bytes -= payload.len();
        self.free_unused(lease);
        if let Some(waiter) = waiter {
            self.ctx.answer(waiter, Err(refused));
        }
    }

    /// AWS's refusal of an invocation.
    pub(crate) fn throttled(&mut self, handler: HandlerId, reason: Reason, retry_at_ns: Option<u64>) -> EngineError {
        self.count_throttle(handler, reason.as_str());
        let wait_ns = retry_at_ns.map(|at_ns| at_ns.saturating_sub(self.ctx.now.mono_ns));
        EngineError::TooMany {
            message: Reason::MESSAGE.into(),
            reason: reason.as_str().into(),
            retry_after_ms: wait_ns.map_or(RETRY_AFTER_MS, |wait_ns| wait_ns.div_ceil(1_000_000)),
        }
    }

    /// The refusal of an invocation because too many wait here: no limit of AWS's.
    pub(crate) fn backlog(&mut self, handler: HandlerId, message: String) -> EngineError {
        self.count_throttle(handler, BACKLOG);
        EngineError::TooMany { message, reason: BACKLOG.into(), retry_after_ms: RETRY_AFTER_MS }
    }

    /// A place that an attempt had is free.
    pub(crate) fn free_permit(&mut self, lease: Option<Lease>) {
        if let Some(lease) = lease {
            self.dispatch.permits.pool.release(lease, self.ctx.now.mono_ns);
            self.dispatch.permits.waiters[lease.unit].working -= 1;
            self.wait_for_permit(lease.unit);
        }
    }

    /// The place of what was never handed out is free.
    pub(crate) fn free_unused(&mut self, lease: Option<Lease>) {
        if let Some(lease) = lease {
            self.dispatch.permits.pool.release_unused(lease, self.ctx.now.mono_ns);
            self.dispatch.permits.waiters[lease.unit].working -= 1;
            self.wait_for_permit(lease.unit);
        }
    }

    /// Let the first suspect of a crash that may have a place be the next to run: at once if nothing else does. Those whose function
    /// may not run hold up nobody; they stand in no line, so this tells when the first of them may run as time passes, mono ns.
    pub(crate) fn choose_suspect(&mut self) -> Option<u64> {
        self.dispatch.ready_list.suspect_waits = false;
        if self.dispatch.ready_list.alone.is_empty() || self.dispatch.ready_list.running_alone {
            return None;
        }
        let now_ns = self.ctx.now.mono_ns;
        let mut due_ns: Option<u64> = None;
        for at in 0..self.dispatch.ready_list.alone.len() {
            let token = self.dispatch.ready_list.alone[at];
            let handler = self.dispatch.attempts.get_mut(token).map(|attempt| attempt.handler);
            let Some(unit) = handler.and_then(|handler| self.dispatch.unit_of(handler)) else { continue };
            if let Err(refused) = self.dispatch.permits.pool.may_start(unit, Start::Work, now_ns) {
                due_ns = due_ns.into_iter().chain(refused.retry_at_ns).min();
                continue;
            }
            if !self.dispatch.ready_list.suspect_may_run() {
                self.dispatch.ready_list.suspect_waits = true;
                return None;
            }
            if let Ok(lease) = self.dispatch.permits.pool.acquire(unit, Start::Work, now_ns) {
                self.dispatch.ready_list.alone.remove(at);
                self.dispatch.ready_list.running_alone = true;
                self.dispatch.permits.waiters[unit].working += 1;
                self.seat(token, lease);
            }
            return None;
        }
        due_ns
    }

    /// There is no room for answers that would wait, or there is again: then the attempts that stood aside are in line anew.
    pub(crate) fn set_crowded(&mut self, is_crowded: bool) {
        self.dispatch.is_crowded = is_crowded;
        if !is_crowded {
            for token in std::mem::take(&mut self.dispatch.standing_aside) {
                self.queue_attempt(token);
            }
        }
    }

    /// Attempts that nobody has taken yet.
    pub(crate) fn untaken(&self) -> Vec<Token> {
        self.dispatch
            .ready_list
            .untaken()
            .chain(self.dispatch.permits.waiting())
            .chain(self.dispatch.standing_aside.iter().copied())
            .chain(self.dispatch.process_lines.waiting())
            .collect()
    }

    /// Forget everything of a mapping that was not handed out.
    pub(crate) fn withdraw_mapping(&mut self, id: u64) {
        for token in self.untaken() {
            if self.dispatch.attempts.get_mut(token).is_some_and(|attempt| attempt.job.source() == id) {
                self.withdraw(token);
            }
        }
    }

    /// Forget an attempt that was not handed out.
    pub(crate) fn withdraw(&mut self, token: Token) -> Option<Attempt> {
        let attempt = self.dispatch.attempts.remove(token)?;
        if attempt.lease.is_some() {
            if attempt.alone {
                self.dispatch.ready_list.running_alone = false;
            }
            self.free_unused(attempt.lease);
            self.dispatch.process_lines.withdraw(|other| other == token);
        } else if let Some(unit) = self.dispatch.unit_of(attempt.handler) {
            self.dispatch.permits.waiters[unit].withdraw(attempt.job.source(), token);
        }
        self.dispatch.ready_list.withdraw(token);
        Some(attempt)
    }
}
