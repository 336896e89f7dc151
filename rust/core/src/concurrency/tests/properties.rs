//! What holds whatever happens, against a model that knows nothing but sums.

use super::*;

const FUNCTIONS: usize = 4;
/// Two versions of each function.
const UNITS: usize = 2 * FUNCTIONS;

#[derive(Clone, Debug)]
enum Fact {
    Wait(UnitId),
    Withdraw(UnitId),
    Invoke(UnitId),
    /// Hand out at most so many, as one exchange does.
    Take(usize),
    /// The lease at this place of those that are out, counted round.
    End(usize),
    Pass(u64),
    Reserve(FunctionId, Option<u32>),
    Provision(UnitId, u32),
    Ready(UnitId),
    RateLimit(FunctionId, Option<u32>),
    Concurrency(u32),
}

fn fact() -> impl Strategy<Value = Fact> {
    prop_oneof![
        3 => (0..UNITS).prop_map(Fact::Wait),
        1 => (0..UNITS).prop_map(Fact::Withdraw),
        2 => (0..UNITS).prop_map(Fact::Invoke),
        4 => (0..6usize).prop_map(Fact::Take),
        5 => (0..64usize).prop_map(Fact::End),
        2 => (1..400u64).prop_map(Fact::Pass),
        1 => (0..FUNCTIONS, prop::option::of(0..6u32)).prop_map(|(function, reserved)| Fact::Reserve(function, reserved)),
        1 => (0..UNITS, 0..4u32).prop_map(|(unit, requested)| Fact::Provision(unit, requested)),
        1 => (0..UNITS).prop_map(Fact::Ready),
        1 => (0..FUNCTIONS, prop::option::of(1..9u32)).prop_map(|(function, rate)| Fact::RateLimit(function, rate)),
        1 => (4..12u32).prop_map(Fact::Concurrency),
    ]
}

fn account(concurrency: u32, scope: Scope) -> AccountLimits {
    AccountLimits {
        account: Account { concurrency, unreserved_minimum: 1 },
        scaling: Scaling::new(scope, 5, 60).unwrap(),
        requests: None,
    }
}

/// The pool beside a model of it: what was promised, what is out.
struct World {
    pool: Pool,
    scope: Scope,
    now: u64,
    concurrency: u32,
    limits: [Limits; FUNCTIONS],
    requested: [u32; UNITS],
    ready: [bool; UNITS],
    /// Starts on demand that count in what is set aside.
    lent: [u64; UNITS],
    out: Vec<Lease>,
    waiting: [bool; UNITS],
}

impl World {
    fn new(scope: Scope) -> Self {
        let mut pool = Pool::new(account(10, scope), 0);
        for function in 0..FUNCTIONS {
            pool.add_function();
            pool.add_unit(function);
            pool.add_unit(function);
        }
        Self {
            pool,
            scope,
            now: 0,
            concurrency: 10,
            limits: [Limits::default(); FUNCTIONS],
            requested: [0; UNITS],
            ready: [false; UNITS],
            lent: [0; UNITS],
            out: Vec::new(),
            waiting: [false; UNITS],
        }
    }

    fn out_of(&self, function: FunctionId) -> u64 {
        self.out.iter().filter(|lease| lease.unit / 2 == function).count() as u64
    }

    fn provisioned_out_of(&self, unit: UnitId) -> u64 {
        self.out.iter().filter(|lease| lease.unit == unit && lease.source == Source::Provisioned).count() as u64
    }

    fn apply(&mut self, fact: &Fact) {
        match *fact {
            Fact::Wait(unit) => {
                self.waiting[unit] = true;
                self.pool.wait(unit);
            }
            Fact::Withdraw(unit) => {
                self.waiting[unit] = false;
                self.pool.withdraw(unit);
            }
            Fact::Invoke(unit) => {
                if let Ok(lease) = self.pool.acquire(unit, Kind::Invoke, self.now) {
                    self.started(lease);
                }
            }
            Fact::Take(most) => self.take(most),
            Fact::End(at) if !self.out.is_empty() => {
                let lease = self.out.remove(at % self.out.len());
                self.ended(lease);
            }
            Fact::End(_) => {}
            Fact::Pass(ms) => self.now += ms * 1_000_000,
            Fact::Reserve(function, reserved) => {
                self.set(function, Limits { reserved, ..self.limits[function] }, None);
            }
            Fact::Provision(unit, requested) => self.set(unit / 2, self.limits[unit / 2], Some((unit, requested))),
            Fact::Ready(unit) => {
                self.ready[unit] = true;
                self.pool.provisioned_ready(unit, self.requested[unit]);
            }
            Fact::RateLimit(function, rate) => {
                let rate = rate.and_then(|rate| Rate::per_second(f64::from(rate)));
                self.set(function, Limits { rate, ..self.limits[function] }, None);
            }
            Fact::Concurrency(concurrency) => {
                if self.pool.set_account(account(concurrency, self.scope), self.now).is_ok() {
                    self.concurrency = concurrency;
                }
            }
        }
    }

    fn set(&mut self, function: FunctionId, limits: Limits, provisioned: Option<(UnitId, u32)>) {
        let (unit, requested) = provisioned.unwrap_or((2 * function, self.requested[2 * function]));
        let foretold = self.pool.may_set(Some(function), Some(unit), limits.reserved, requested);
        let result = self.pool.set_function(function, limits, provisioned.as_slice(), self.now);
        assert_eq!(foretold, result);
        if result.is_ok() {
            self.limits[function] = limits;
            if let Some((unit, requested)) = provisioned {
                self.ready[unit] &= requested <= self.requested[unit];
                self.requested[unit] = requested;
            }
        }
    }

    fn take(&mut self, most: usize) {
        for _ in 0..most {
            let Some(lease) = self.pool.next(self.now) else {
                return self.nobody_could_start();
            };
            assert!(self.waiting[lease.unit], "{lease:?} was given to somebody who does not wait");
            self.started(lease);
            self.pool.wait(lease.unit);
        }
    }

    fn ended(&mut self, lease: Lease) {
        if lease.source != Source::Provisioned {
            self.lent[lease.unit] = self.lent[lease.unit].saturating_sub(1);
        }
        self.pool.release(lease, self.now);
    }

    /// No limit is passed by what starts now.
    fn started(&mut self, lease: Lease) {
        let (unit, function) = (lease.unit, lease.unit / 2);
        let has_own = self.provisioned_out_of(unit) + self.lent[unit] < u64::from(self.requested[unit]);
        assert_eq!(lease.source == Source::Provisioned, has_own && self.ready[unit]);
        let is_lent = has_own && !self.ready[unit];
        self.lent[unit] += u64::from(is_lent);
        self.out.push(lease);
        assert!(self.out.len() <= self.concurrency as usize, "more runs than the account has");
        if let Some(reserved) = self.limits[function].reserved {
            assert!(self.out_of(function) <= u64::from(reserved), "more runs than is reserved");
            assert_ne!(lease.source, Source::Unreserved);
        } else {
            assert_ne!(lease.source, Source::Reserved);
        }
        if lease.source == Source::Provisioned {
            assert!(self.provisioned_out_of(lease.unit) <= u64::from(self.requested[lease.unit]));
        }
        if lease.source == Source::Unreserved && !is_lent {
            assert!(self.claimed() <= u64::from(self.concurrency), "a place was taken that is set aside");
        }
    }

    /// What nobody else can have, summed up anew.
    fn claimed(&self) -> u64 {
        let of = |function: FunctionId| {
            let held = self.held(function);
            self.limits[function].reserved.map_or(held, |reserved| held.max(u64::from(reserved)))
        };
        (0..FUNCTIONS).map(of).sum()
    }

    /// Places a function's units have or keep.
    fn held(&self, function: FunctionId) -> u64 {
        let units = [2 * function, 2 * function + 1];
        let own = |unit: UnitId| self.provisioned_out_of(unit) + self.lent[unit];
        let aside = units.iter().map(|&unit| own(unit).max(u64::from(self.requested[unit])));
        self.out_of(function) - units.map(own).iter().sum::<u64>() + aside.sum::<u64>()
    }

    /// `next` gave nothing: then nobody who waits could start, and none is forgotten.
    fn nobody_could_start(&mut self) {
        for unit in (0..UNITS).filter(|&unit| self.waiting[unit]) {
            let mut pool = self.pool.clone();
            if let Ok(lease) = pool.acquire(unit, Kind::Work, self.now) {
                panic!("{lease:?} was free and nobody was given it");
            }
        }
    }

    fn check(&mut self) {
        let Use { running, claimed, .. } = self.pool.in_use();
        assert_eq!(running, self.out.len() as u64);
        assert_eq!(claimed, self.claimed());
        if claimed > u64::from(self.concurrency) {
            return; // limits were lowered, and not enough has ended yet
        }
        // Floors hold: what is reserved can be had by its function, whatever the others do.
        for function in 0..FUNCTIONS {
            let Some(reserved) = self.limits[function].reserved else { continue };
            let free = u64::from(reserved).saturating_sub(self.held(function));
            let refused = self.pool.may_start(2 * function, Kind::Work, self.now).err().map(|refused| refused.reason);
            if free > 0 {
                assert!(refused.is_none_or(|reason| reason == Reason::ReservedRate), "{function}: {refused:?}");
            }
        }
    }
}

fn live(facts: &[Fact], scope: Scope) {
    let mut world = World::new(scope);
    for fact in facts {
        world.apply(fact);
        world.check();
    }
    // Time and ends bring everybody who waits to a start, unless a limit of nothing forbids it.
    for _ in 0..UNITS * 40 {
        world.now += 1_000_000_000;
        for lease in std::mem::take(&mut world.out) {
            world.ended(lease);
        }
        let started = world.pool.next(world.now);
        if let Some(lease) = started {
            world.waiting[lease.unit] = false;
            world.started(lease);
        }
    }
    let waiting = world.waiting;
    for unit in (0..UNITS).filter(|&unit| waiting[unit]) {
        for lease in std::mem::take(&mut world.out) {
            world.ended(lease);
        }
        let refused = world.pool.may_start(unit, Kind::Work, world.now);
        assert!(refused.is_err(), "{unit} waits for ever");
        let set_aside = world.pool.in_use().claimed;
        let nothing_left = set_aside >= u64::from(world.concurrency);
        let reserved = world.limits[unit / 2].reserved;
        assert!(nothing_left || reserved.is_some_and(|reserved| world.held(unit / 2) >= u64::from(reserved)));
    }
}

proptest! {
    #[test]
    fn no_limit_is_passed_floors_hold_and_nobody_is_forgotten(facts in prop::collection::vec(fact(), 0..300)) {
        live(&facts, Scope::Function);
    }

    #[test]
    fn the_same_where_the_account_grows_as_a_whole(facts in prop::collection::vec(fact(), 0..300)) {
        live(&facts, Scope::Account);
    }

    /// Whoever waits for what others wait for, too, sees each of them start once before itself, at most.
    #[test]
    fn turns_are_strict(
        concurrency in 1..6u32,
        reserved in prop::option::of(1..4u32),
        exchanges in prop::collection::vec((0..5usize, prop::collection::vec(0..64usize, 0..6)), 1..200),
    ) {
        let limits = AccountLimits { scaling: Scaling::new(Scope::Function, 1000, 6000).unwrap(), ..account(concurrency + 4, Scope::Function) };
        let mut pool = Pool::new(limits, 0);
        // Versions of one function compete for its reservation, functions for the account.
        let units: Vec<UnitId> = if reserved.is_some() {
            let function = pool.add_function();
            pool.set_function(function, Limits { reserved, rate: None }, &[], 0).unwrap();
            (0..5).map(|_| pool.add_unit(function)).collect()
        } else {
            (0..5).map(|_| { let function = pool.add_function(); pool.add_unit(function) }).collect()
        };
        for &unit in &units {
            pool.wait(unit);
        }
        let mut out: Vec<Lease> = Vec::new();
        let mut since = [[0u32; 5]; 5];
        for (most, ends) in exchanges {
            for end in ends {
                if !out.is_empty() {
                    pool.release(out.swap_remove(end % out.len()), 0);
                }
            }
            for _ in 0..most {
                let Some(lease) = pool.next(0) else { break };
                out.push(lease);
                pool.wait(lease.unit);
                for (waiter, seen) in since.iter_mut().enumerate() {
                    seen[lease.unit] += 1;
                    prop_assert!(waiter == lease.unit || seen[lease.unit] <= 1, "{} passed {waiter} twice", lease.unit);
                }
                since[lease.unit] = [0; 5];
            }
        }
    }
}
