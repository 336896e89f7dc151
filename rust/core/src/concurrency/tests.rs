use std::collections::BTreeMap;

use super::*;
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    #[serde(default, rename = "source")]
    _source: Option<String>,
    #[serde(default)]
    account: Value,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    at: Option<f64>,
    start: Option<String>,
    end: Option<String>,
    set: Option<String>,
    set_account: Option<Value>,
    ready: Option<String>,
    wait: Option<Vec<String>>,
    withdraw: Option<String>,
    /// Count an invocation that waits.
    request: Option<String>,
    /// Refusals of what waits, since they were asked for last.
    refusals: Option<Vec<(String, String)>>,
    next: Option<Vec<Option<String>>>,
    due: Option<f64>,
    #[serde(rename = "use")]
    in_use: Option<BTreeMap<String, u64>>,

    times: Option<usize>,
    #[serde(default)]
    invoke: bool,
    from: Option<String>,
    refused: Option<String>,
    retry_after: Option<f64>,
    source: Option<String>,
    error: Option<String>,
    /// `null` takes the limit away.
    #[serde(default, deserialize_with = "given")]
    reserved: Option<Value>,
    #[serde(default, deserialize_with = "given")]
    rate_limit: Option<Value>,
    #[serde(default)]
    provisioned: BTreeMap<String, u32>,
    environments: Option<u32>,
}

fn given<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(from).map(Some)
}

fn ns(seconds: f64) -> u64 {
    (seconds * 1e9).round() as u64
}

fn scaling(value: &Value) -> Scaling {
    let (scope, burst, per_minute) = match value {
        Value::Null => (Scope::Function, 1000, 6000),
        Value::String(profile) if profile == "2019" => (Scope::Account, 1000, 500),
        other => {
            let scope = if other["scope"] == "account" { Scope::Account } else { Scope::Function };
            (scope, other["burst"].as_u64().unwrap(), other["per_minute"].as_u64().unwrap())
        }
    };
    Scaling::new(scope, burst, per_minute).unwrap()
}

fn limits(value: &Value) -> AccountLimits {
    let number = |name: &str, default: u64| u32::try_from(value[name].as_u64().unwrap_or(default)).unwrap();
    AccountLimits {
        account: Account {
            concurrency: number("concurrency", 1000),
            unreserved_minimum: number("unreserved_minimum", 100),
        },
        scaling: scaling(&value["scaling"]),
        requests: value["requests_per_second"].as_f64().and_then(Rate::per_second),
    }
}

/// A pool whose units have names: a function's own, or with a version behind a colon.
struct Named {
    pool: Pool,
    functions: BTreeMap<String, (FunctionId, Limits)>,
    units: BTreeMap<String, UnitId>,
    leases: Vec<Lease>,
    waiting: Vec<UnitId>,
    now: u64,
}

impl Named {
    fn unit(&mut self, name: &str) -> UnitId {
        let function = self.function(name).0;
        let pool = &mut self.pool;
        *self.units.entry(name.to_owned()).or_insert_with(|| pool.add_unit(function))
    }

    fn function(&mut self, name: &str) -> &mut (FunctionId, Limits) {
        let function = name.split(':').next().unwrap();
        let pool = &mut self.pool;
        self.functions.entry(function.to_owned()).or_insert_with(|| (pool.add_function(), Limits::default()))
    }

    fn start(&mut self, name: &str, step: &Step) {
        let unit = self.unit(name);
        let kind = if step.invoke { Kind::Invoke } else { Kind::Work };
        for _ in 0..step.times.unwrap_or(1) {
            match self.pool.acquire(unit, kind, self.now) {
                Ok(lease) => {
                    assert_eq!(step.from, Some(format!("{:?}", lease.source).to_lowercase()));
                    self.leases.push(lease);
                }
                Err(refused) => {
                    assert_eq!(step.refused.as_deref(), Some(refused.reason.as_str()));
                    assert_eq!(refused.retry_at_ns, step.retry_after.map(|after| self.now + ns(after)));
                }
            }
        }
    }

    fn end(&mut self, name: &str, step: &Step) {
        let unit = self.unit(name);
        for _ in 0..step.times.unwrap_or(1) {
            let of = |source: Source| format!("{source:?}").to_lowercase();
            let fits = |lease: &Lease| {
                lease.unit == unit && step.source.as_ref().is_none_or(|source| of(lease.source) == *source)
            };
            let at = self.leases.iter().position(fits).expect("a lease to end");
            self.pool.release(self.leases.remove(at), self.now);
        }
    }

    fn set(&mut self, name: &str, step: &Step) {
        let provisioned: Vec<(UnitId, u32)> =
            step.provisioned.iter().map(|(name, &requested)| (self.unit(name), requested)).collect();
        let (id, mut limits) = *self.function(name);
        if let Some(reserved) = &step.reserved {
            limits.reserved = reserved.as_u64().map(|reserved| u32::try_from(reserved).unwrap());
        }
        if let Some(rate) = &step.rate_limit {
            limits.rate = rate.as_f64().and_then(Rate::per_second);
        }
        let before = (self.pool.in_use(), self.pool.reserved(id));
        let result = self.pool.set_function(id, limits, &provisioned, self.now);
        assert_eq!(result.err().map(|error| error.to_string()), step.error);
        if step.error.is_none() {
            assert_eq!(self.pool.reserved(id), limits.reserved);
            self.function(name).1 = limits;
        } else {
            assert_eq!((self.pool.in_use(), self.pool.reserved(id)), before, "a refusal changes nothing");
        }
    }

    fn next(&mut self) -> Option<UnitId> {
        let lease = self.pool.next(self.now)?;
        self.leases.push(lease);
        if self.waiting.contains(&lease.unit) {
            self.pool.wait(lease.unit);
        }
        Some(lease.unit)
    }

    fn step(&mut self, step: &Step) {
        self.now = step.at.map_or(self.now, ns);
        if let Some(name) = &step.start {
            self.start(name, step);
        }
        if let Some(name) = &step.end {
            self.end(name, step);
        }
        if let Some(name) = &step.set {
            self.set(name, step);
        }
        if let Some(account) = &step.set_account {
            let result = self.pool.set_account(limits(account), self.now);
            assert_eq!(result.err().map(|error| error.to_string()), step.error);
        }
        if let (Some(name), Some(environments)) = (&step.ready, step.environments) {
            let unit = self.unit(name);
            self.pool.provisioned_ready(unit, environments);
        }
        for name in step.wait.iter().flatten() {
            let unit = self.unit(name);
            self.waiting.push(unit);
            self.pool.wait(unit);
        }
        if let Some(name) = &step.withdraw {
            let unit = self.unit(name);
            self.waiting.retain(|&other| other != unit);
            self.pool.withdraw(unit);
        }
        for expected in step.next.iter().flatten() {
            let expected = expected.as_ref().map(|name| self.unit(name));
            assert_eq!(self.next(), expected, "{:?}", self.units);
        }
        if let Some(name) = &step.request {
            let unit = self.unit(name);
            let refused = self.pool.request(unit, self.now).err();
            assert_eq!(refused.map(|refused| refused.reason.as_str()), step.refused.as_deref());
        }
        if let Some(expected) = &step.refusals {
            let named = |id| self.units.iter().find(|(_, unit)| **unit == id).map(|(name, _)| name.clone());
            let seen: Vec<(String, String)> = self
                .pool
                .refusals()
                .into_iter()
                .map(|(unit, reason)| (named(unit).expect("a unit"), reason.as_str().to_owned()))
                .collect();
            assert_eq!(&seen, expected);
        }
        if let Some(due) = step.due {
            assert_eq!(self.pool.next_due(), Some(ns(due)));
        }
        for (name, &expected) in step.in_use.iter().flatten() {
            let Use { running, unreserved, claimed } = self.pool.in_use();
            let seen = match name.as_str() {
                "running" => running,
                "unreserved" => unreserved,
                "claimed" => claimed,
                other => panic!("no use is called {other}"),
            };
            assert_eq!(seen, expected, "{name}");
        }
    }
}

#[test]
fn table_of_cases() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("../../../../tests/cases/concurrency.json")).unwrap();
    for case in cases {
        let mut named = Named {
            pool: Pool::new(limits(&case.account), 0),
            functions: BTreeMap::new(),
            units: BTreeMap::new(),
            leases: Vec::new(),
            waiting: Vec::new(),
            now: 0,
        };
        for (number, step) in case.steps.iter().enumerate() {
            eprintln!("{}: step {number}", case.name);
            named.step(step);
        }
    }
}

/// A permit that turned out to be of no use was still counted as a start, and slowed the function down.
#[test]
fn a_permit_that_was_not_used_counts_as_no_start() {
    let mut pool = Pool::new(limits(&Value::Null), 0);
    let function = pool.add_function();
    let unit = pool.add_unit(function);
    pool.set_function(function, Limits { rate: Rate::per_second(1.0), ..Limits::default() }, &[], 0).unwrap();
    for _ in 0..3 {
        let lease = pool.acquire(unit, Kind::Work, 0).unwrap();
        pool.release_unused(lease, 0);
    }
    assert_eq!(pool.in_use().running, 0);
    let used = pool.acquire(unit, Kind::Work, 0).unwrap();
    pool.release(used, 0);
    assert_eq!(pool.acquire(unit, Kind::Work, 0).unwrap_err().retry_at_ns, Some(1_000_000_000));
}

/// A pool with one function of one unit, which grows by one permit and then by one a minute.
fn slow() -> (Pool, FunctionId, UnitId) {
    let mut pool = Pool::new(limits(&serde_json::json!({"scaling": {"burst": 1, "per_minute": 1}})), 0);
    let function = pool.add_function();
    let unit = pool.add_unit(function);
    (pool, function, unit)
}

#[test]
fn growth_begins_anew_where_its_limit_has_changed_and_only_there() {
    for (scaling, starts) in [
        (serde_json::json!({"burst": 1, "per_minute": 1}), [true, false, false]),
        (serde_json::json!({"burst": 2, "per_minute": 1}), [true, true, true]),
        (serde_json::json!({"scope": "account", "burst": 1, "per_minute": 1}), [true, true, false]),
    ] {
        let (mut pool, _, unit) = slow();
        let first = pool.acquire(unit, Kind::Work, 0).is_ok();
        pool.set_account(limits(&serde_json::json!({"concurrency": 500, "scaling": scaling})), 0).unwrap();
        let seen = [first, pool.acquire(unit, Kind::Work, 0).is_ok(), pool.acquire(unit, Kind::Work, 0).is_ok()];
        assert_eq!((seen, pool.account().concurrency), (starts, 500), "{scaling}");
    }
}

#[test]
fn a_unit_shows_its_provisioned_concurrency_and_the_places_it_has() {
    let mut pool = Pool::new(limits(&Value::Null), 0);
    let function = pool.add_function();
    let [unit, other] = [(); 2].map(|()| pool.add_unit(function));
    // Asked for, usable, in use; and places in all.
    let shown = |pool: &Pool| (pool.provisioned(unit), pool.running(unit));
    assert_eq!(shown(&pool), ((0, 0, 0), 0));
    let early = pool.acquire(unit, Kind::Work, 0).unwrap();
    pool.set_function(function, Limits::default(), &[(unit, 3)], 0).unwrap();
    assert_eq!(shown(&pool), ((3, 0, 0), 1), "its environments are not ready");
    pool.provisioned_ready(unit, 2);
    assert_eq!(shown(&pool), ((3, 0, 0), 1), "nor all of them");
    pool.provisioned_ready(unit, 3);
    assert_eq!(shown(&pool), ((3, 3, 0), 1));
    let leases = [(); 5].map(|()| pool.acquire(unit, Kind::Work, 0).unwrap());
    assert_eq!((shown(&pool), pool.running(other)), (((3, 3, 3), 6), 0));
    for lease in leases.into_iter().filter(|lease| lease.source == Source::Provisioned).take(2).chain([early]) {
        pool.release(lease, 0);
    }
    assert_eq!(shown(&pool), ((3, 3, 1), 3));
}

/// One version waits for the function to grow, another for its rate.
#[test]
fn who_waits_for_a_function_is_woken_by_the_limit_that_is_over_first() {
    const SECOND_NS: u64 = 1_000_000_000;
    let (mut pool, function, unit) = slow();
    let provisioned = pool.add_unit(function);
    let rate = Limits { rate: Rate::per_second(1.0), ..Limits::default() };
    pool.set_function(function, rate, &[(provisioned, 9)], 0).unwrap();
    pool.provisioned_ready(provisioned, 9);
    pool.wait(unit);
    assert_eq!(pool.next(0).map(|lease| lease.unit), Some(unit));
    pool.wait(unit);
    assert_eq!((pool.next(SECOND_NS), pool.next_due()), (None, Some(60 * SECOND_NS)));
    for at in [1, 2] {
        pool.wait(provisioned);
        assert_eq!(pool.next(at * SECOND_NS).map(|lease| lease.unit), Some(provisioned));
        pool.wait(provisioned);
        assert_eq!((pool.next(at * SECOND_NS), pool.next_due()), (None, Some((at + 1) * SECOND_NS)));
    }
    pool.wait(unit);
    assert_eq!((pool.next(2 * SECOND_NS), pool.next_due()), (None, Some(3 * SECOND_NS)), "none later puts it off");
}

#[test]
fn provisioned_concurrency_may_be_more_than_there_is_or_leave_too_little() {
    for (provisioned, error) in [
        (6, None),
        (7, Some(LimitsError::ProvisionedBelowMinimum { minimum: 2 })),
        (8, Some(LimitsError::ProvisionedBelowMinimum { minimum: 2 })),
        (9, Some(LimitsError::ProvisionedOverAccount { unreserved: 8 })),
    ] {
        let mut promises = Promises::new(Account { concurrency: 10, unreserved_minimum: 2 });
        let [first, second] = [(); 2].map(|()| promises.add());
        promises.set(first, Some(2), 0).unwrap();
        assert_eq!(promises.set(second, None, provisioned).err(), error, "{provisioned}");
    }
}

mod properties;
