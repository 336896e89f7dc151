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

use std::collections::{BTreeMap, BTreeSet};

use forebay_core::concurrency::{FunctionId, Kind as Start, Lease, Pool, Reason, Refused, Source, UnitId};

use crate::base::error::EngineError;
use crate::base::timers::Timer;
use crate::dispatch::attempts::{Attempt, HandlerId, Job, Token};
use crate::dispatch::ready_list::Kind;
use crate::dispatch::waiters::{Next, SourceId, Waiters, INVOCATIONS};
use crate::metrics::{Counter, Metric};
use crate::observe::meters::{AccountMeters, ProvisionedMeters};
use crate::runtime::rooms::State;

/// Most permits given before the engine's lock is let go.
const GIVEN_AT_ONCE: usize = 1_024;
/// When a caller may try again who was refused because everything is in use.
const RETRY_AFTER_MS: u64 = 1_000;
/// Why an invocation is refused because too many wait already.
const BACKLOG: &str = "InvocationBacklog";

/// The account's permits and who waits for them.
pub(crate) struct Permits {
    pub(crate) pool: Pool,
    /// By unit.
    waiters: Vec<Waiters>,
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

    /// A function, with the unit of what a slot runs. Another version of it is another unit of the same function.
    pub(crate) fn add_function(&mut self, slot: HandlerId) -> (FunctionId, UnitId) {
        let function = self.pool.add_function();
        (function, self.add_unit(function, slot))
    }

    /// A version of a function, run by a slot of its own.
    pub(crate) fn add_unit(&mut self, function: FunctionId, slot: HandlerId) -> UnitId {
        self.waiters.push(Waiters::new(slot));
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
    fn show(&mut self) {
        self.meters.show(self.pool.in_use());
        for (&unit, meters) in &mut self.provisioned {
            meters.show(self.pool.provisioned(unit));
        }
    }
}

impl Attempt {
    /// Whose turn it waits for.
    fn source(&self) -> SourceId {
        match &self.job {
            Job::Batch { records, .. } => records.source.mapping,
            Job::Redrive { key, .. } | Job::Delivery { key, .. } => key.mapping,
            Job::Messages(job) => job.mapping,
            Job::Event { queue, .. } => *queue,
            Job::Invoke { .. } => INVOCATIONS,
        }
    }
}

impl State {
    /// The unit of a function's slot; a destination has none.
    pub(crate) fn unit_of(&self, slot: HandlerId) -> Option<UnitId> {
        self.functions[slot].place.map(|(_, unit)| unit)
    }

    /// Put an attempt in its function's line.
    pub(crate) fn queue_attempt(&mut self, token: Token) {
        let Some(attempt) = self.attempts.get_mut(token) else { return };
        let (slot, source) = (attempt.slot, attempt.source());
        let Some(unit) = self.unit_of(slot) else { return };
        self.permits.waiters[unit].push(source, token);
        self.wait_for_permit(unit);
    }

    /// A mapping or a function's events have something that is taken when there is a place for it.
    pub(crate) fn queue_source(&mut self, slot: HandlerId, source: SourceId) {
        let Some(unit) = self.unit_of(slot) else { return };
        self.permits.waiters[unit].pull(source);
        self.wait_for_permit(unit);
    }

    /// Let a unit wait for a place, if it has work and could run it.
    pub(crate) fn wait_for_permit(&mut self, unit: UnitId) {
        if !self.permits.waiters[unit].is_empty() && self.could_run(unit) {
            self.permits.pool.wait(unit);
        }
    }

    /// Whether a unit has a process for one more attempt, or could have one; without processes, always.
    fn could_run(&self, unit: UnitId) -> bool {
        let line = &self.permits.waiters[unit];
        self.pools.most(line.slot).is_none_or(|most| line.working < most)
    }

    /// Give permits to what waits for them, in turn.
    pub(crate) fn give_permits(&mut self) {
        if self.started && !self.draining {
            let could_run = self.ready_list.batch_may_run();
            let suspect_due = self.choose_suspect();
            if could_run && !self.ready_list.batch_may_run() {
                self.withdraw_strict();
            }
            let mut given = 0;
            while given < GIVEN_AT_ONCE && self.ready_list.batch_may_run() {
                let Some(lease) = self.permits.pool.next(self.now.mono_ns) else { break };
                self.give(lease);
                given += 1;
            }
            let due = if !self.ready_list.batch_may_run() {
                self.give_to_invocations()
            } else if given < GIVEN_AT_ONCE {
                self.permits.pool.next_due().into_iter().chain(suspect_due).min()
            } else {
                Some(self.now.mono_ns)
            };
            if let Some(due_ns) = due {
                self.timers.arm(&mut self.permits.armed, due_ns, Timer::Permits);
            }
            self.count_refusals();
        }
        self.permits.show();
    }

    /// Invocations run beside a suspect of a crash, whose handler may be waiting for one. When the first of those that must wait for
    /// time to pass may run, mono ns.
    fn give_to_invocations(&mut self) -> Option<u64> {
        let mut due_ns: Option<u64> = None;
        for unit in 0..self.permits.waiters.len() {
            while self.permits.waiters[unit].invocations() > 0 && self.could_run(unit) {
                let lease = match self.permits.pool.acquire(unit, Start::Work, self.now.mono_ns) {
                    Ok(lease) => lease,
                    Err(refused) => {
                        due_ns = due_ns.into_iter().chain(refused.retry_at_ns).min();
                        break;
                    }
                };
                self.permits.waiters[unit].working += 1;
                match self.permits.waiters[unit].next_invocation() {
                    Some(token) => self.seat(token, lease),
                    None => self.free_unused(Some(lease)),
                }
            }
        }
        due_ns
    }

    /// Count what came to its turn and found no place.
    fn count_refusals(&mut self) {
        for (unit, reason) in self.permits.pool.refusals() {
            let slot = self.permits.waiters[unit].slot;
            self.count_throttle(slot, reason.as_str());
        }
    }

    fn count_throttle(&mut self, slot: HandlerId, reason: &'static str) {
        let (registry, function) = (&self.registry, &self.functions[slot]);
        let Some((_, unit)) = function.place else { return };
        let counter = || registry.counter(Metric::Throttles, &[&function.name, reason]);
        self.permits.throttles.entry((unit, reason)).or_insert_with(counter).increment();
    }

    /// Use a place for what is next in its unit's line. What turns out to have nothing to run passes it on.
    fn give(&mut self, lease: Lease) {
        let unit = lease.unit;
        let mut left = Some(lease);
        self.permits.waiters[unit].working += 1;
        while let Some(lease) = left.take() {
            match self.permits.waiters[unit].next() {
                Some(Next::Attempt(token)) => self.seat(token, lease),
                Some(Next::Pull(source)) if self.queues.mappings.contains_key(&source) => {
                    left = self.receive_with(source, lease);
                }
                Some(Next::Pull(source)) => left = self.start_event(source, lease),
                None => self.free_unused(Some(lease)),
            }
        }
        self.wait_for_permit(unit);
    }

    /// Give an attempt its place, and put it where it is taken from.
    pub(crate) fn seat(&mut self, token: Token, lease: Lease) {
        let Some(attempt) = self.attempts.get_mut(token) else { return self.free_unused(Some(lease)) };
        attempt.lease = Some(lease);
        let (slot, kind, alone) = (attempt.slot, attempt.job.kind(), attempt.alone);
        if self.pools.queue_attempt(slot, token, alone) {
            return;
        }
        match kind {
            Kind::Invoke => self.ready_list.invokes.push_back(token),
            _ if alone => self.ready_list.suspect = Some(token),
            _ => self.ready_list.placed.push_back(token),
        }
        self.ring = true;
    }

    /// Take a place for a synchronous invocation, after whatever waits for one. `None`: its function's environments all have work,
    /// so it is to wait in line, without a place that others could use.
    pub(crate) fn permit_of_invoke(&mut self, slot: HandlerId) -> Result<Option<Lease>, EngineError> {
        self.give_permits();
        let Some(unit) = self.unit_of(slot) else { return Err(self.throttled(slot, Reason::Concurrent, None)) };
        let now_ns = self.now.mono_ns;
        let most = self.config.limits.concurrency as usize;
        let admitted = if self.could_run(unit) {
            self.permits.pool.acquire(unit, Start::Invoke, now_ns).map(Some)
        } else if self.permits.waiters[unit].invocations() < most {
            self.permits.pool.request(unit, now_ns).map(|()| None)
        } else {
            return Err(
                self.backlog(slot, format!("{most} invocations wait for an environment of this function already"))
            );
        };
        if let Ok(Some(_)) = admitted {
            self.permits.waiters[unit].working += 1;
        }
        admitted.map_err(|Refused { reason, retry_at_ns, .. }| self.throttled(slot, reason, retry_at_ns))
    }

    /// A function is switched off: whoever waits to invoke it is refused, as the next one is.
    pub(crate) fn refuse_waiting_invocations(&mut self, slot: HandlerId) {
        let Some(unit) = self.unit_of(slot) else { return };
        while let Some(token) = self.permits.waiters[unit].next_invocation() {
            let refused = self.throttled(slot, Reason::ReservedConcurrent, None);
            self.refuse_invocation(token, refused);
        }
    }

    /// Hand out no new work. Whoever waits for an invocation that has not begun is told so at once: it never will. Messages whose receive
    /// is on disk already are as if they had not been received.
    pub(crate) fn drain(&mut self) {
        self.draining = true;
        let mut unbegun: BTreeSet<Token> = self.ready_list.invokes.drain(..).collect();
        for line in &mut self.permits.waiters {
            unbegun.extend(std::iter::from_fn(|| line.next_invocation()));
        }
        let attempts = &mut self.attempts;
        let mut is_invocation =
            |token| attempts.get_mut(token).is_some_and(|attempt| attempt.job.kind() == Kind::Invoke);
        unbegun.extend(self.pools.waiting().filter(|&token| is_invocation(token)));
        self.pools.withdraw(|token| unbegun.contains(&token));
        for token in unbegun {
            let Some(slot) = self.attempts.get_mut(token).map(|attempt| attempt.slot) else { continue };
            let name = self.functions[slot].qualified();
            let text = format!("function {name:?} did not begin: the app is stopping; it is safe to invoke it again");
            self.refuse_invocation(token, EngineError::Closed(text));
        }
        self.withdraw_strict();
    }

    /// Answer an invocation that nobody has taken, and that stands in no line any more.
    fn refuse_invocation(&mut self, token: Token, refused: EngineError) {
        let Some(Attempt { lease, job: Job::Invoke { payload, waiter, .. }, .. }) = self.attempts.remove(token) else {
            return;
        };
        self.ready_list.invoke_bytes -= payload.len();
        self.free_unused(lease);
        if let Some(waiter) = waiter {
            self.answer(waiter, Err(refused));
        }
    }

    /// AWS's refusal of an invocation.
    fn throttled(&mut self, slot: HandlerId, reason: Reason, retry_at_ns: Option<u64>) -> EngineError {
        self.count_throttle(slot, reason.as_str());
        let wait_ns = retry_at_ns.map(|at_ns| at_ns.saturating_sub(self.now.mono_ns));
        EngineError::TooMany {
            message: Reason::MESSAGE.into(),
            reason: reason.as_str().into(),
            retry_after_ms: wait_ns.map_or(RETRY_AFTER_MS, |wait_ns| wait_ns.div_ceil(1_000_000)),
        }
    }

    /// The refusal of an invocation because too many wait here: no limit of AWS's.
    pub(crate) fn backlog(&mut self, slot: HandlerId, message: String) -> EngineError {
        self.count_throttle(slot, BACKLOG);
        EngineError::TooMany { message, reason: BACKLOG.into(), retry_after_ms: RETRY_AFTER_MS }
    }

    /// A place that an attempt had is free.
    pub(crate) fn free_permit(&mut self, lease: Option<Lease>) {
        if let Some(lease) = lease {
            self.permits.pool.release(lease, self.now.mono_ns);
            self.permits.waiters[lease.unit].working -= 1;
            self.wait_for_permit(lease.unit);
        }
    }

    /// The place of what was never handed out is free.
    pub(crate) fn free_unused(&mut self, lease: Option<Lease>) {
        if let Some(lease) = lease {
            self.permits.pool.release_unused(lease, self.now.mono_ns);
            self.permits.waiters[lease.unit].working -= 1;
            self.wait_for_permit(lease.unit);
        }
    }

    /// Let the first suspect of a crash that may have a place be the next to run: at once if nothing else does. Those whose function
    /// may not run hold up nobody; they stand in no line, so this tells when the first of them may run as time passes, mono ns.
    fn choose_suspect(&mut self) -> Option<u64> {
        self.ready_list.suspect_waits = false;
        if self.ready_list.alone.is_empty() || self.ready_list.running_alone {
            return None;
        }
        let now_ns = self.now.mono_ns;
        let mut due_ns: Option<u64> = None;
        for at in 0..self.ready_list.alone.len() {
            let token = self.ready_list.alone[at];
            let slot = self.attempts.get_mut(token).map(|attempt| attempt.slot);
            let Some(unit) = slot.and_then(|slot| self.unit_of(slot)) else { continue };
            if let Err(refused) = self.permits.pool.may_start(unit, Start::Work, now_ns) {
                due_ns = due_ns.into_iter().chain(refused.retry_at_ns).min();
                continue;
            }
            if !self.ready_list.suspect_may_run() {
                self.ready_list.suspect_waits = true;
                return None;
            }
            if let Ok(lease) = self.permits.pool.acquire(unit, Start::Work, now_ns) {
                self.ready_list.alone.remove(at);
                self.ready_list.running_alone = true;
                self.permits.waiters[unit].working += 1;
                self.seat(token, lease);
            }
            return None;
        }
        due_ns
    }

    /// Attempts that nobody has taken yet.
    pub(crate) fn untaken(&self) -> Vec<Token> {
        self.ready_list.untaken().chain(self.permits.waiting()).chain(self.pools.waiting()).collect()
    }

    /// Forget an attempt that was not handed out.
    pub(crate) fn withdraw(&mut self, token: Token) -> Option<Attempt> {
        let attempt = self.attempts.remove(token)?;
        if attempt.lease.is_some() {
            if attempt.alone {
                self.ready_list.running_alone = false;
            }
            self.free_unused(attempt.lease);
            self.pools.withdraw(|other| other == token);
        } else if let Some(unit) = self.unit_of(attempt.slot) {
            self.permits.waiters[unit].withdraw(attempt.source(), token);
        }
        self.ready_list.withdraw(token);
        Some(attempt)
    }
}
