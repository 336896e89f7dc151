//! The permits of an account, and who has them.

use super::fair_queue::{FairQueue, FunctionWaiters, QueueEntry};
use super::{
    Account, AccountLimits, FunctionId, Kind, Lease, Limits, LimitsError, Promises, Reason, Refused, Scaling, Source,
    UnitId, Use, Wait, IDLE_NS,
};
use crate::token_bucket::Rate;
use crate::token_bucket::TokenBucket;

/// How many permits were in use lately, by two windows of [`IDLE_NS`].
#[derive(Clone, Copy, Debug, Default)]
struct Warm {
    since_ns: u64,
    before: u32,
    peak: u32,
}

impl Warm {
    /// How many permits are warm, used ones included. It must be told before fewer are used: what was in use until now counts.
    fn count(&mut self, in_use: u32, now_ns: u64) -> u32 {
        let passed = now_ns.saturating_sub(self.since_ns);
        if passed >= IDLE_NS {
            let before = if passed < 2 * IDLE_NS { self.peak } else { in_use };
            *self = Self { since_ns: now_ns, before, peak: in_use };
        }
        self.before.max(self.peak).max(in_use)
    }
}

#[derive(Clone, Debug)]
pub(super) struct Unit {
    pub(super) function: FunctionId,
    pub(super) entry: QueueEntry,
    /// Provisioned concurrency asked for, and whether all of it is ready.
    requested: u32,
    ready: bool,
    provisioned: u32,
    on_demand: u32,
    /// Those on demand that run on permits set aside for it, begun while these were not ready. They count there until they end.
    lent: u32,
    warm: Warm,
}

impl Unit {
    /// Places set aside for it that are in use.
    fn own(&self) -> u32 {
        self.provisioned + self.lent
    }

    /// Places set aside for it. After its provisioned concurrency was lowered, those that still run count.
    fn claim(&self) -> u64 {
        u64::from(self.requested.max(self.own()))
    }
}

#[derive(Clone, Debug)]
pub(super) struct Function {
    reserved: Option<u32>,
    /// In use, of what is set aside for its units, and beyond it.
    own: u64,
    on_demand: u64,
    /// The claims of its units.
    set_aside: u64,
    growth: Option<TokenBucket>,
    rate: Option<TokenBucket>,
    pub(super) waiters: FunctionWaiters,
}

impl Function {
    /// Places of the account that nobody else can have because of it.
    fn claim(&self) -> u64 {
        let held = self.on_demand + self.set_aside;
        self.reserved.map_or(held, |reserved| held.max(u64::from(reserved)))
    }

    fn unreserved(&self) -> u64 {
        if self.reserved.is_some() {
            0
        } else {
            self.on_demand
        }
    }

    fn over_rate(&self) -> Reason {
        if self.reserved.is_some() {
            Reason::ReservedRate
        } else {
            Reason::Rate
        }
    }
}

/// See [`super`].
#[derive(Clone, Debug)]
pub struct Pool {
    promises: Promises,
    scaling: Scaling,
    requests: Option<TokenBucket>,
    growth: Option<TokenBucket>,
    pub(super) functions: Vec<Function>,
    pub(super) units: Vec<Unit>,
    total: Use,
    pub(super) queue: FairQueue,
    pub(super) refusals: Vec<(UnitId, Reason)>,
}

impl Pool {
    /// A pool without functions.
    pub fn new(limits: AccountLimits, now_ns: u64) -> Self {
        let mut pool = Self {
            promises: Promises::new(limits.account),
            scaling: limits.scaling,
            requests: None,
            growth: limits.scaling.of_account(),
            functions: Vec::new(),
            units: Vec::new(),
            total: Use::default(),
            queue: FairQueue::default(),
            refusals: Vec::new(),
        };
        set_rate(&mut pool.requests, limits.requests, now_ns);
        pool
    }

    // --- what is set

    /// Change what holds for the account. Buckets begin anew where their limit changed. On an error nothing has changed.
    pub fn set_account(&mut self, limits: AccountLimits, now_ns: u64) -> Result<(), LimitsError> {
        self.promises.set_account(limits.account)?;
        if limits.scaling != self.scaling {
            self.scaling = limits.scaling;
            self.growth = limits.scaling.of_account();
            for function in &mut self.functions {
                function.growth = limits.scaling.of_function();
            }
        }
        set_rate(&mut self.requests, limits.requests, now_ns);
        self.wake_all();
        Ok(())
    }

    /// Add a function without limits of its own.
    pub fn add_function(&mut self) -> FunctionId {
        self.functions.push(Function {
            reserved: None,
            own: 0,
            on_demand: 0,
            set_aside: 0,
            growth: self.scaling.of_function(),
            rate: None,
            waiters: self.queue.add_own(),
        });
        self.promises.add()
    }

    /// Add a version of a function.
    pub fn add_unit(&mut self, function: FunctionId) -> UnitId {
        self.units.push(Unit {
            function,
            entry: self.queue.add_unit(self.units.len()),
            requested: 0,
            ready: false,
            provisioned: 0,
            on_demand: 0,
            lent: 0,
            warm: Warm::default(),
        });
        self.units.len() - 1
    }

    /// Set a function's limits, and the provisioned concurrency of some of its units; that of its others stays. On an error nothing
    /// has changed. More provisioned concurrency is usable from [`Pool::provisioned_ready`] on.
    pub fn set_function(
        &mut self,
        id: FunctionId,
        limits: Limits,
        provisioned: &[(UnitId, u32)],
        now_ns: u64,
    ) -> Result<(), LimitsError> {
        debug_assert!(
            provisioned.iter().all(|(unit, _)| self.units[*unit].function == id),
            "units of function {id} only"
        );
        self.promises.set(id, limits.reserved, self.total_of(id, provisioned))?;
        set_rate(&mut self.functions[id].rate, limits.rate, now_ns);
        self.change(id, |function, units| {
            function.reserved = limits.reserved;
            for &(unit, requested) in provisioned {
                let unit = &mut units[unit];
                function.set_aside -= unit.claim();
                unit.ready &= requested <= unit.requested;
                unit.requested = requested;
                function.set_aside += unit.claim();
            }
        });
        self.wake_all();
        Ok(())
    }

    /// Whether [`Pool::set_function`] would take these for a unit of a function; `None`: for a new unit, of a new function.
    pub fn may_set(
        &self,
        function: Option<FunctionId>,
        unit: Option<UnitId>,
        reserved: Option<u32>,
        provisioned: u32,
    ) -> Result<(), LimitsError> {
        let mut promises = self.promises.clone();
        let own = unit.map(|unit| (unit, 0));
        let of_others = function.map_or(0, |id| self.total_of(id, own.as_slice()));
        let function = function.unwrap_or_else(|| promises.add());
        promises.set(function, reserved, of_others + u64::from(provisioned))
    }

    /// A function's provisioned concurrency, when that of some of its units has changed.
    fn total_of(&self, id: FunctionId, changed: &[(UnitId, u32)]) -> u64 {
        let own = self.units.iter().enumerate().filter(|(_, unit)| unit.function == id);
        let asked = |at: UnitId| changed.iter().find(|(unit, _)| *unit == at).map(|(_, requested)| *requested);
        own.map(|(at, unit)| u64::from(asked(at).unwrap_or(unit.requested))).sum()
    }

    /// So many environments of a unit are ready. Its provisioned concurrency is usable when that is as many as were asked for.
    pub fn provisioned_ready(&mut self, unit: UnitId, environments: u32) {
        self.units[unit].ready = environments >= self.units[unit].requested;
        self.wake_all();
    }

    // --- what may start

    /// Take a permit now, or hear which limit is in the way.
    pub fn acquire(&mut self, unit: UnitId, kind: Kind, now_ns: u64) -> Result<Lease, Refused> {
        let (source, is_new) = self.check(unit, kind, now_ns)?;
        let own = self.units[unit].function;
        let requests = if kind == Kind::Invoke { self.requests.as_mut() } else { None };
        let function = &mut self.functions[own];
        let growth = if is_new { self.growth.as_mut().or(function.growth.as_mut()) } else { None };
        for bucket in [requests, function.rate.as_mut(), growth].into_iter().flatten() {
            let taken = bucket.try_acquire(1, now_ns);
            debug_assert!(taken, "a token that was there is gone");
        }
        self.change(own, |function, units| {
            let unit = &mut units[unit];
            let is_own = unit.own() < unit.requested;
            if source == Source::Provisioned {
                unit.provisioned += 1;
            } else {
                unit.on_demand += 1;
                unit.warm.peak = unit.warm.peak.max(unit.on_demand);
                unit.lent += u32::from(is_own);
            }
            *(if is_own { &mut function.own } else { &mut function.on_demand }) += 1;
        });
        self.total.running += 1;
        Ok(Lease { unit, source })
    }

    /// Count a synchronous invocation that is to wait, as [`Pool::acquire`] counts one that starts; it starts as [`Kind::Work`], and what
    /// its function's own rate allows it takes then. Of a function that is switched off, or over its rate now, none may wait.
    pub fn request(&mut self, unit: UnitId, now_ns: u64) -> Result<(), Refused> {
        let function = &mut self.functions[self.units[unit].function];
        if function.reserved == Some(0) {
            return Err(Refused::now(Reason::ReservedConcurrent, Wait::Function));
        }
        let reason = function.over_rate();
        for bucket in [self.requests.as_mut(), function.rate.as_mut()].into_iter().flatten() {
            until_token(bucket, now_ns).map_err(|at| Refused::until(at, reason, Wait::Function))?;
        }
        let taken = self.requests.as_mut().is_none_or(|requests| requests.try_acquire(1, now_ns));
        debug_assert!(taken, "a token that was there is gone");
        Ok(())
    }

    /// Whether a permit could be taken now; takes none.
    pub fn may_start(&mut self, unit: UnitId, kind: Kind, now_ns: u64) -> Result<(), Refused> {
        self.check(unit, kind, now_ns).map(|_| ())
    }

    /// Give a permit back.
    pub fn release(&mut self, lease: Lease, now_ns: u64) {
        let Lease { unit: id, source } = lease;
        let own = self.units[id].function;
        let in_use = self.units[id].on_demand;
        self.units[id].warm.count(in_use, now_ns);
        // What was lent is given back first: whoever waits for provisioned concurrency that is ready by now has it soonest.
        let is_own = source == Source::Provisioned || self.units[id].lent > 0;
        self.change(own, |function, units| {
            let unit = &mut units[id];
            function.set_aside -= unit.claim();
            if source == Source::Provisioned {
                unit.provisioned -= 1;
            } else {
                unit.on_demand -= 1;
                unit.lent -= u32::from(is_own);
            }
            function.set_aside += unit.claim();
            *(if is_own { &mut function.own } else { &mut function.on_demand }) -= 1;
        });
        self.total.running -= 1;
        self.queue.freed(&mut self.units[id].entry, is_own, &self.functions[own].waiters);
    }

    /// Give a permit back that nothing was started on: it counts as no start of a `rate`.
    pub fn release_unused(&mut self, lease: Lease, now_ns: u64) {
        let own = self.units[lease.unit].function;
        if let Some(rate) = &mut self.functions[own].rate {
            rate.give_back(1, now_ns);
        }
        self.release(lease, now_ns);
    }

    /// Change a function's counts, and the account's with them.
    fn change(&mut self, id: FunctionId, act: impl FnOnce(&mut Function, &mut [Unit])) {
        let function = &mut self.functions[id];
        self.total.claimed -= function.claim();
        self.total.unreserved -= function.unreserved();
        act(function, &mut self.units);
        self.total.claimed += function.claim();
        self.total.unreserved += function.unreserved();
    }

    /// Where a unit's next permit would come from, and whether that permit is new.
    fn check(&mut self, id: UnitId, kind: Kind, now_ns: u64) -> Result<(Source, bool), Refused> {
        let source = self.source_of(id)?;
        let unit = &mut self.units[id];
        let function = &mut self.functions[unit.function];
        let reason = function.over_rate();
        let requests = if kind == Kind::Invoke { self.requests.as_mut() } else { None };
        for bucket in [requests, function.rate.as_mut()].into_iter().flatten() {
            until_token(bucket, now_ns).map_err(|at| Refused::until(at, reason, Wait::Function))?;
        }
        let is_new = source != Source::Provisioned && unit.on_demand >= unit.warm.count(unit.on_demand, now_ns);
        if is_new {
            let (bucket, wait) = match (self.growth.as_mut(), function.growth.as_mut()) {
                (Some(bucket), _) => (Some(bucket), Wait::Growth),
                (None, bucket) => (bucket, Wait::Function),
            };
            if let Some(bucket) = bucket {
                until_token(bucket, now_ns).map_err(|at| Refused::until(at, reason, wait))?;
            }
        }
        Ok((source, is_new))
    }

    fn source_of(&self, id: UnitId) -> Result<Source, Refused> {
        let unit = &self.units[id];
        let function = &self.functions[unit.function];
        let (has_room, has_any) = self.room();
        let is_own = unit.own() < unit.requested;
        if let Some(reserved) = function.reserved {
            let aside = if is_own { function.own } else { function.set_aside };
            if aside + function.on_demand >= u64::from(reserved) {
                return Err(Refused::now(Reason::ReservedConcurrent, Wait::Function));
            }
        } else if !is_own && !has_room {
            return Err(Refused::now(Reason::Concurrent, Wait::Account));
        }
        if !has_any {
            return Err(Refused::now(Reason::Concurrent, Wait::Crowded));
        }
        let on_demand = if function.reserved.is_some() { Source::Reserved } else { Source::Unreserved };
        Ok(if is_own && unit.ready { Source::Provisioned } else { on_demand })
    }

    // --- what there is to see

    /// Whose turn came for nothing since this was asked last, and which limit was in the way: once for each time that a unit was sent
    /// to wait for what it lacked.
    pub fn refusals(&mut self) -> Vec<(UnitId, Reason)> {
        std::mem::take(&mut self.refusals)
    }

    /// How much is in use and set aside.
    pub fn in_use(&self) -> Use {
        self.total
    }

    /// Places that a unit has.
    pub fn running(&self, unit: UnitId) -> u32 {
        self.units[unit].provisioned + self.units[unit].on_demand
    }

    /// A unit's provisioned concurrency: asked for, usable, in use.
    pub fn provisioned(&self, unit: UnitId) -> (u32, u32, u32) {
        let unit = &self.units[unit];
        (unit.requested, if unit.ready { unit.requested } else { 0 }, unit.provisioned)
    }

    /// Whether a permit of the account is free that nobody has set aside, and whether any is.
    pub(super) fn room(&self) -> (bool, bool) {
        let concurrency = u64::from(self.promises.account().concurrency);
        let any = self.total.running < concurrency;
        (any && self.total.claimed < concurrency, any)
    }

    /// A function's reservation.
    pub fn reserved(&self, function: FunctionId) -> Option<u32> {
        self.promises.reserved(function)
    }

    /// What is set for the account.
    pub fn account(&self) -> Account {
        self.promises.account()
    }
}

/// Whether a token is there; if not, when.
fn until_token(bucket: &mut TokenBucket, now_ns: u64) -> Result<(), u64> {
    match bucket.time_until(1, now_ns) {
        Some(0) => Ok(()),
        wait => Err(now_ns.saturating_add(wait.unwrap_or(u64::MAX))),
    }
}

/// Let a bucket follow a rate, with one second's worth at once. One whose rate is the same goes on.
fn set_rate(bucket: &mut Option<TokenBucket>, rate: Option<Rate>, now_ns: u64) {
    if bucket.as_ref().map(TokenBucket::rate) != rate {
        *bucket = rate.and_then(|rate| TokenBucket::new(rate, rate.get().ceil().max(1.0) as u64, now_ns));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permit_stays_warm_for_five_minutes_and_for_ten_at_most() {
        for (passed_ns, warm) in [(0, 5), (IDLE_NS - 1, 5), (IDLE_NS, 5), (2 * IDLE_NS - 1, 5), (2 * IDLE_NS, 2)] {
            let mut five_were_used = Warm { since_ns: 7, before: 0, peak: 5 };
            assert_eq!(five_were_used.count(2, 7 + passed_ns), warm, "after {passed_ns} ns");
        }
        let mut warm = Warm { since_ns: 0, before: 0, peak: 5 };
        let seen = [IDLE_NS, 2 * IDLE_NS - 1, 2 * IDLE_NS].map(|now_ns| warm.count(2, now_ns));
        assert_eq!(seen, [5, 5, 2], "what was used in the window before is not used any more");
    }
}
