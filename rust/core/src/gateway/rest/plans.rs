//! API keys and usage plans at the time of a request: how fast a key's requests may come, and how many in a period.
//!
//! Source: <https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-api-usage-plans.html>

use std::collections::{BTreeMap, HashMap};
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use super::failure::{Failure, ResponseType};
use super::model::{ApiKey, Period, Quota, Throttle, UsagePlan};
use crate::gateway::throttle;
use crate::secret::is_same;
use crate::token_bucket::TokenBucket;

/// Days whose counts are kept: what `GetUsage` shows, and the longest period of a quota.
pub const DAYS_KEPT: u64 = 90;
/// A day, ms.
pub const DAY_MS: u64 = 24 * 3_600 * 1_000;

/// What stands behind the value that a client has sent.
#[derive(Clone, Copy, Debug)]
pub struct Client<'a> {
    /// The key.
    pub key: &'a ApiKey,
    /// The plan that opens the stage to it.
    pub plan: &'a UsagePlan,
}

/// Where a request goes, for a plan.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The API's id.
    pub api: &'a str,
    /// The stage.
    pub stage: &'a str,
    /// `/pets/{id}/GET`.
    pub method: &'a str,
}

/// Find the key and the plan of a value. What AWS answers is the same for none, for an unknown and for a disabled one.
pub fn client<'a>(
    keys: impl IntoIterator<Item = &'a ApiKey>,
    plans: impl IntoIterator<Item = &'a UsagePlan>,
    place: Place<'_>,
    value: &str,
) -> Result<Client<'a>, Failure> {
    let refused = || Failure::new(ResponseType::InvalidApiKey);
    if value.is_empty() {
        return Err(refused());
    }
    let key = keys
        .into_iter()
        .find(|key| key.enabled && is_same(key.value.as_bytes(), value.as_bytes()))
        .ok_or_else(refused)?;
    let plan = plans.into_iter().find(|plan| plan.keys.contains(&key.id) && stage_of(plan, place).is_some());
    plan.map(|plan| Client { key, plan }).ok_or_else(refused)
}

/// Keys by their values, and plans by their keys: a request looks at its own alone, however many there are.
#[derive(Clone, Debug, Default)]
pub struct Directory {
    keys: HashMap<String, String>,
    plans: HashMap<String, Vec<String>>,
}

impl Directory {
    /// Of these keys and plans.
    pub fn new(keys: &BTreeMap<String, ApiKey>, plans: &BTreeMap<String, UsagePlan>) -> Self {
        let mut of_keys: HashMap<String, Vec<String>> = HashMap::new();
        for (id, plan) in plans {
            for key in &plan.keys {
                of_keys.entry(key.clone()).or_default().push(id.clone());
            }
        }
        Self { keys: keys.iter().map(|(id, key)| (key.value.clone(), id.clone())).collect(), plans: of_keys }
    }

    /// Find the key and the plan of a value, as [`client`] does, among the keys and plans that this was made of.
    pub fn client<'a>(
        &self,
        (keys, plans): (&'a BTreeMap<String, ApiKey>, &'a BTreeMap<String, UsagePlan>),
        place: Place<'_>,
        value: &str,
    ) -> Result<Client<'a>, Failure> {
        let key = self.keys.get(value).and_then(|id| keys.get(id));
        let of_key = key.and_then(|key| self.plans.get(&key.id)).into_iter().flatten();
        client(key, of_key.filter_map(|id| plans.get(id)), place, value)
    }
}

fn stage_of<'a>(plan: &'a UsagePlan, place: Place<'_>) -> Option<&'a super::model::ApiStage> {
    plan.api_stages.iter().find(|stage| stage.api_id == place.api && stage.stage == place.stage)
}

/// What keys have used up. It is bounded by the keys and plans that there are: [`Usage::keep_only`] forgets what is deleted.
#[derive(Clone, Debug, Default)]
pub struct Usage {
    /// By plan and key.
    counted: BTreeMap<String, BTreeMap<String, Counted>>,
    /// Plans and keys that were forgotten, until they are gone where they were kept.
    forgotten: Vec<(String, String)>,
}

/// What a key has used up, and whether what is kept of it says less.
#[derive(Clone, Debug, Default)]
struct Counted {
    /// By method; that of the plan's own limit is empty.
    buckets: HashMap<String, TokenBucket>,
    days: Days,
    is_changed: bool,
    /// The period of the last request.
    span: Option<Span>,
}

/// The period of a quota in which a day is.
#[derive(Clone, Copy, Debug)]
struct Span {
    period: Period,
    day: u64,
    first: u64,
    /// Whether the key was made in it.
    is_first: bool,
}

impl Span {
    fn of(quota: &Quota, key: &ApiKey, at_ms: u64) -> Self {
        let (first, is_first) = period(quota.period, at_ms, key.created_date);
        Self { period: quota.period, day: at_ms / DAY_MS, first, is_first }
    }
}

impl Counted {
    /// The period of a moment; it is found out once a day.
    fn span(&mut self, quota: &Quota, key: &ApiKey, now_ms: u64) -> Span {
        let known = self.span.filter(|known| known.day == now_ms / DAY_MS && known.period == quota.period);
        *self.span.insert(known.unwrap_or_else(|| Span::of(quota, key, now_ms)))
    }

    fn take(&mut self, method: &str, limit: Throttle, now_ns: u64) -> bool {
        let Some(full) = throttle::full(limit.rate_limit, limit.burst_limit.into(), now_ns) else { return false };
        if let Some(bucket) = self.buckets.get_mut(method) {
            return throttle::admits(bucket, &full, now_ns);
        }
        throttle::admits(self.buckets.entry(method.to_owned()).or_insert(full), &full, now_ns)
    }

    fn count(&mut self, now_ms: u64) {
        self.is_changed = true;
        let (days, today) = (&mut self.days.counts, now_ms / DAY_MS);
        *days.entry(today).or_default() += 1;
        while days.first_key_value().is_some_and(|(day, _)| day + DAYS_KEPT < today) {
            days.pop_first();
        }
        self.days.granted.retain(|first, _| first + DAYS_KEPT >= today);
    }
}

/// What is to be kept of a plan and a key: the days, or that there are none any more.
pub type Change = ((String, String), Option<Days>);

/// Requests of each day since 1970, the last ones, and what was granted beside the quota.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Days {
    counts: BTreeMap<u64, u64>,
    /// Requests more, or fewer, than the quota has, by the first day of their period.
    granted: BTreeMap<u64, i64>,
}

/// Days as they are written: by the names of days, and alone where nothing was granted.
#[derive(Deserialize, Serialize)]
#[serde(untagged)]
enum Written {
    With { counts: BTreeMap<String, u64>, granted: BTreeMap<String, i64> },
    Alone(BTreeMap<String, u64>),
}

impl From<Days> for Written {
    fn from(days: Days) -> Self {
        let counts = days.counts.into_iter().map(|(day, count)| (day.to_string(), count)).collect();
        if days.granted.is_empty() {
            return Self::Alone(counts);
        }
        Self::With { counts, granted: days.granted.into_iter().map(|(day, more)| (day.to_string(), more)).collect() }
    }
}

impl TryFrom<Written> for Days {
    type Error = std::num::ParseIntError;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        let (counts, granted) = match written {
            Written::With { counts, granted } => (counts, granted),
            Written::Alone(counts) => (counts, BTreeMap::new()),
        };
        let counts = counts.into_iter().map(|(day, count)| Ok((day.parse()?, count)));
        let granted = granted.into_iter().map(|(day, more)| Ok((day.parse()?, more)));
        Ok(Self {
            counts: counts.collect::<Result<_, Self::Error>>()?,
            granted: granted.collect::<Result<_, Self::Error>>()?,
        })
    }
}

impl Days {
    /// Requests that a key may have in a period.
    fn allowed(&self, quota: &Quota, span: Span) -> u64 {
        u64::from(quota.limit).saturating_add_signed(self.granted.get(&span.first).copied().unwrap_or(0))
    }

    /// Requests of a period, up to its day.
    fn used(&self, quota: &Quota, span: Span) -> u64 {
        let offset = if span.is_first { u64::from(quota.offset) } else { 0 };
        offset + self.counts.range(span.first..=span.day).map(|(_, count)| count).sum::<u64>()
    }
}

/// Requests of a key beside its quota, in one period.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Grant {
    /// The plan's id.
    pub plan: String,
    /// The key's id.
    pub key: String,
    /// The first day of the period, since 1970.
    pub first_day: u64,
    /// More than the quota has, or fewer.
    pub requests: i64,
}

impl Usage {
    /// Let one request through, or say why not. Times are on the monotonic and on the wall clock. `last` is a limit that is no key's, and
    /// is asked when nothing else refuses the request.
    pub fn admit(
        &mut self,
        client: Client<'_>,
        place: Place<'_>,
        (now_ns, now_ms): (u64, u64),
        last: impl FnOnce() -> bool,
    ) -> Result<(), Failure> {
        let Client { plan, key } = client;
        let own = stage_of(plan, place).and_then(|stage| stage.throttle.get(place.method));
        let limits = [own.map(|limit| (place.method, limit)), plan.throttle.as_ref().map(|limit| ("", limit))];
        if self.counted.get(&plan.id).is_none_or(|keys| !keys.contains_key(&key.id)) {
            self.counted.entry(plan.id.clone()).or_default().insert(key.id.clone(), Counted::default());
        }
        let counted = self.counted.get_mut(&plan.id).and_then(|keys| keys.get_mut(&key.id));
        let Some(counted) = counted else { return Err(Failure::new(ResponseType::Throttled)) };
        if let Some(quota) = &plan.quota {
            let span = counted.span(quota, key, now_ms);
            if counted.days.used(quota, span) >= counted.days.allowed(quota, span) {
                return Err(Failure::new(ResponseType::QuotaExceeded));
            }
        }
        let limits = || limits.into_iter().flatten();
        let refusing = limits().position(|(method, limit)| !counted.take(method, *limit, now_ns));
        if refusing.is_some() || !last() {
            // What is refused uses nothing up.
            for (method, _) in limits().take(refusing.unwrap_or(usize::MAX)) {
                if let Some(bucket) = counted.buckets.get_mut(method) {
                    bucket.give_back(1, now_ns);
                }
            }
            return Err(Failure::new(ResponseType::Throttled));
        }
        counted.count(now_ms);
        Ok(())
    }

    fn days_of(&self, client: Client<'_>) -> Option<&Days> {
        self.counted.get(&client.plan.id)?.get(&client.key.id).map(|counted| &counted.days)
    }

    /// Requests that a key has left in the period of this moment; `None` without a quota.
    pub fn left(&self, client: Client<'_>, now_ms: u64) -> Option<u64> {
        let quota = client.plan.quota.as_ref()?;
        let (none, span) = (Days::default(), Span::of(quota, client.key, now_ms));
        let days = self.days_of(client).unwrap_or(&none);
        Some(days.allowed(quota, span).saturating_sub(days.used(quota, span)))
    }

    /// What makes so many requests the ones that a key has left in the period of this moment; `None` without a quota.
    pub fn grant(&self, client: Client<'_>, left: u32, now_ms: u64) -> Option<Grant> {
        let quota = client.plan.quota.as_ref()?;
        let (none, span) = (Days::default(), Span::of(quota, client.key, now_ms));
        let used = self.days_of(client).unwrap_or(&none).used(quota, span);
        let requests = i64::from(left) + used as i64 - i64::from(quota.limit);
        Some(Grant { plan: client.plan.id.clone(), key: client.key.id.clone(), first_day: span.first, requests })
    }

    /// Let a key have what was granted, in place of what was before.
    pub fn allow(&mut self, grant: &Grant) {
        let keys = self.counted.entry(grant.plan.clone()).or_default();
        let counted = keys.entry(grant.key.clone()).or_default();
        counted.days.granted.insert(grant.first_day, grant.requests);
        counted.is_changed = true;
    }

    /// Of each of these days since 1970: the requests of a key, and those that its quota had left then, 0 without a quota.
    pub fn by_day(&self, client: Client<'_>, days: RangeInclusive<u64>) -> Vec<[u64; 2]> {
        let (known, first) = (self.days_of(client), *days.start());
        let used = |day: u64| known.and_then(|known| known.counts.get(&day)).copied().unwrap_or(0);
        let left = |day: u64| self.left(client, day * DAY_MS).unwrap_or(0);
        days.take_while(|day| *day <= first + DAYS_KEPT).map(|day| [used(day), left(day)]).collect()
    }

    /// Forget what keys have used that are in no plan any more.
    pub fn keep_only(&mut self, plans: &BTreeMap<String, UsagePlan>) {
        let is_there = |plan: &str, key: &str| plans.get(plan).is_some_and(|plan| plan.keys.contains(key));
        for (plan, keys) in &mut self.counted {
            keys.retain(|key, _| {
                let stays = is_there(plan, key);
                if !stays {
                    self.forgotten.push((plan.clone(), key.clone()));
                }
                stays
            });
        }
        self.counted.retain(|_, keys| !keys.is_empty());
    }

    /// What is to be kept and was not taken yet.
    pub fn take_changes(&mut self) -> Vec<Change> {
        let mut changes: Vec<Change> = self.forgotten.drain(..).map(|gone| (gone, None)).collect();
        for (plan, keys) in &mut self.counted {
            for (key, counted) in keys.iter_mut().filter(|(_, counted)| counted.is_changed) {
                counted.is_changed = false;
                changes.push(((plan.clone(), key.clone()), Some(counted.days.clone())));
            }
        }
        changes
    }

    /// Go on from what was kept.
    pub fn restore(&mut self, kept: impl IntoIterator<Item = ((String, String), Days)>) {
        for ((plan, key), days) in kept {
            self.counted.entry(plan).or_default().insert(key, Counted { days, ..Counted::default() });
        }
    }
}

/// The first day of the period of a moment, and whether a key that was made at `made_ms` is in its first one.
fn period(period: Period, now_ms: u64, made_ms: u64) -> (u64, bool) {
    let first = |ms: u64| {
        let day = ms / DAY_MS;
        match period {
            Period::Day => day,
            // The first of January 1970 was a Thursday; a week begins on Sunday.
            Period::Week => day.saturating_sub((day + 4) % 7),
            Period::Month => {
                let at = jiff::Timestamp::from_second((ms / 1_000) as i64).unwrap_or_default();
                let at = jiff::tz::Offset::UTC.to_datetime(at);
                day - (at.day() as u64 - 1)
            }
        }
    };
    (first(now_ms), first(now_ms) == first(made_ms))
}

#[cfg(test)]
mod tests {
    use serde_json::{json, Value};

    use super::*;

    const PLACE: Place<'_> = Place { api: "api", stage: "dev", method: "/pets/GET" };
    /// Saturday 28 November 2026, 12:00 UTC.
    const NOW: u64 = 1_795_867_200_000;

    fn plan(more: &Value) -> UsagePlan {
        let mut plan =
            json!({"id": "p", "name": "plan", "apiStages": [{"apiId": "api", "stage": "dev"}], "keys": ["k"]});
        for (name, value) in more.as_object().unwrap() {
            plan[name] = value.clone();
        }
        serde_json::from_value(plan).unwrap()
    }

    /// No limit but those of keys.
    fn no_other() -> bool {
        true
    }

    fn key() -> ApiKey {
        ApiKey {
            id: "k".into(),
            value: "secret-secret-secret".into(),
            enabled: true,
            created_date: 0,
            ..ApiKey::default()
        }
    }

    /// What the plan's own limit refused was taken from the method's.
    #[test]
    fn a_request_that_is_refused_uses_nothing_up() {
        let throttle = |burst: u32| json!({"rateLimit": 1e-9, "burstLimit": burst});
        let known = key();
        let mut plan = plan(&json!({"throttle": throttle(1)}));
        let own: Throttle = serde_json::from_value(throttle(2)).unwrap();
        plan.api_stages[0].throttle.insert(PLACE.method.into(), own);
        let mut usage = Usage::default();
        let mut admits =
            |plan: &UsagePlan| usage.admit(Client { key: &known, plan }, PLACE, (0, NOW), no_other).is_ok();
        assert_eq!([admits(&plan), admits(&plan), admits(&plan)], [true, false, false]);
        let alone = UsagePlan { throttle: None, ..plan };
        assert_eq!([admits(&alone), admits(&alone)], [true, false], "the method's limit has let one through");
    }

    /// What the stage's limit for a method refused was counted, and taken from the plan's limits.
    #[test]
    fn what_the_stage_refuses_last_uses_nothing_up() {
        let known = key();
        let plan = plan(
            &json!({"quota": {"limit": 1, "offset": 0, "period": "DAY"}, "throttle": {"rateLimit": 1e-9, "burstLimit": 1}}),
        );
        let client = Client { key: &known, plan: &plan };
        let mut usage = Usage::default();
        let refused = usage.admit(client, PLACE, (0, NOW), || false).map_err(|failure| failure.response_type);
        assert_eq!((refused, usage.left(client, NOW)), (Err(ResponseType::Throttled), Some(1)));
        assert_eq!(usage.admit(client, PLACE, (0, NOW), no_other), Ok(()));
        let unasked = || panic!("what a key may not have is asked of nobody else");
        assert!(usage.admit(client, PLACE, (0, NOW), unasked).is_err());
    }

    #[test]
    fn only_an_enabled_key_of_a_plan_of_the_stage_opens_it() {
        let (known, plan) = (key(), plan(&json!({})));
        let off = ApiKey { enabled: false, ..key() };
        let other = UsagePlan { api_stages: Vec::new(), ..plan.clone() };
        let stranger = UsagePlan { keys: std::collections::BTreeSet::new(), ..plan.clone() };
        let refused = Failure::new(ResponseType::InvalidApiKey);
        for (key, plan, value, opens) in [
            (&known, &plan, "secret-secret-secret", true),
            (&known, &plan, "secret-secret-secreT", false),
            (&known, &plan, "", false),
            (&off, &plan, "secret-secret-secret", false),
            (&known, &other, "secret-secret-secret", false),
            (&known, &stranger, "secret-secret-secret", false),
        ] {
            match client([key], [plan], PLACE, value) {
                Ok(found) => assert!(opens && found.key.id == "k"),
                Err(failure) => assert!(!opens && failure == refused),
            }
        }
        assert!(client([&known], [&plan], Place { stage: "prod", ..PLACE }, "secret-secret-secret").is_err());
    }

    #[test]
    fn a_directory_finds_what_looking_at_all_finds() {
        let (key, plan) = (key(), plan(&json!({})));
        let other = UsagePlan { id: "o".into(), keys: ["k".to_owned()].into(), api_stages: Vec::new(), ..plan.clone() };
        let off =
            ApiKey { id: "off".into(), value: "another-secret-secret".into(), enabled: false, ..ApiKey::default() };
        let keys: BTreeMap<_, _> = [key, off].into_iter().map(|key| (key.id.clone(), key)).collect();
        let plans: BTreeMap<_, _> = [plan, other].into_iter().map(|plan| (plan.id.clone(), plan)).collect();
        let directory = Directory::new(&keys, &plans);
        for value in ["secret-secret-secret", "another-secret-secret", "unknown", ""] {
            for place in [PLACE, Place { stage: "prod", ..PLACE }] {
                let names =
                    |found: Result<Client<'_>, Failure>| found.map(|one| (one.key.id.clone(), one.plan.id.clone()));
                let found = directory.client((&keys, &plans), place, value);
                assert_eq!(names(found), names(client(keys.values(), plans.values(), place, value)), "{value}");
            }
        }
        assert!(directory.client((&keys, &plans), PLACE, "secret-secret-secret").is_ok());
    }

    #[test]
    fn a_plan_lets_a_burst_through_and_then_its_rate() {
        let plan = plan(&json!({"throttle": {"burstLimit": 2, "rateLimit": 1.0},
            "apiStages": [{"apiId": "api", "stage": "dev", "throttle": {"/slow/GET": {"burstLimit": 1, "rateLimit": 1.0}, "/shut/GET": {"burstLimit": 0, "rateLimit": 0.0}}}]}));
        let key = key();
        let client = Client { key: &key, plan: &plan };
        let mut usage = Usage::default();
        let throttled = Err(Failure::new(ResponseType::Throttled));
        assert_eq!(usage.admit(client, PLACE, (0, NOW), no_other), Ok(()));
        assert_eq!(usage.admit(client, PLACE, (0, NOW), no_other), Ok(()));
        assert_eq!(usage.admit(client, PLACE, (0, NOW), no_other), throttled);
        assert_eq!(usage.admit(client, PLACE, (1_000_000_000, NOW), no_other), Ok(()));
        let slow = Place { method: "/slow/GET", ..PLACE };
        assert_eq!(usage.admit(client, slow, (5_000_000_000, NOW), no_other), Ok(()));
        assert_eq!(usage.admit(client, slow, (5_000_000_000, NOW), no_other), throttled);
        assert_eq!(
            usage.admit(client, Place { method: "/shut/GET", ..PLACE }, (9_000_000_000, NOW), no_other),
            throttled
        );
    }

    #[test]
    fn a_quota_begins_anew_with_its_period() {
        let day = DAY_MS;
        for (period, same, next) in [
            ("DAY", NOW + day / 4, NOW + day / 2),
            ("WEEK", NOW - 6 * day, NOW + day),
            ("MONTH", NOW - 27 * day, NOW + 3 * day),
        ] {
            let plan = plan(&json!({"quota": {"limit": 2, "offset": 0, "period": period}}));
            let key = key();
            let client = Client { key: &key, plan: &plan };
            let mut usage = Usage::default();
            assert_eq!(usage.admit(client, PLACE, (0, same.min(NOW)), no_other), Ok(()), "{period}");
            assert_eq!(usage.admit(client, PLACE, (0, same.max(NOW)), no_other), Ok(()), "{period}");
            let failure = usage.admit(client, PLACE, (0, same.max(NOW)), no_other).unwrap_err();
            assert_eq!(failure.response_type, ResponseType::QuotaExceeded, "{period}");
            assert_eq!(usage.left(client, next), Some(2), "{period}");
            assert_eq!(usage.admit(client, PLACE, (0, next), no_other), Ok(()), "{period}");
        }
    }

    #[test]
    fn a_restart_forgets_nothing_that_was_kept_and_what_is_deleted_is_forgotten() {
        let (key, plan) = (key(), plan(&json!({"quota": {"limit": 2, "offset": 0, "period": "DAY"}})));
        let client = Client { key: &key, plan: &plan };
        let mut usage = Usage::default();
        usage.admit(client, PLACE, (0, NOW), no_other).unwrap();
        usage.admit(client, PLACE, (0, NOW), no_other).unwrap();
        let changes = usage.take_changes();
        assert_eq!(changes.len(), 1, "one row for all requests: {changes:?}");
        assert!(usage.take_changes().is_empty());
        let mut after = Usage::default();
        after.restore(changes.into_iter().map(|(name, days)| (name, days.unwrap())));
        assert_eq!((after.left(client, NOW), after.take_changes().len()), (Some(0), 0));
        let mut plans = BTreeMap::from([("p".to_owned(), plan.clone())]);
        after.keep_only(&plans);
        assert_eq!(after.left(client, NOW), Some(0));
        plans.get_mut("p").unwrap().keys.clear();
        after.keep_only(&plans);
        assert_eq!(after.left(client, NOW), Some(2));
        let gone: Change = (("p".to_owned(), "k".to_owned()), None);
        assert_eq!(after.take_changes(), vec![gone]);
    }

    #[test]
    fn what_was_granted_holds_for_its_period_and_over_a_restart() {
        let (key, plan) = (key(), plan(&json!({"quota": {"limit": 1, "offset": 0, "period": "DAY"}})));
        let client = Client { key: &key, plan: &plan };
        let mut usage = Usage::default();
        usage.admit(client, PLACE, (0, NOW), no_other).unwrap();
        assert!(usage.admit(client, PLACE, (0, NOW), no_other).is_err());
        usage.allow(&usage.grant(client, 2, NOW).unwrap());
        let kept: Vec<_> = usage.take_changes().into_iter().map(|(name, days)| (name, days.unwrap())).collect();
        let written = serde_json::to_string(&kept[0].1).unwrap();
        let mut after = Usage::default();
        after.restore([(kept[0].0.clone(), serde_json::from_str(&written).unwrap())]);
        assert_eq!((after.left(client, NOW), after.left(client, NOW + DAY_MS)), (Some(2), Some(1)));
        for outcome in [true, true, false] {
            assert_eq!(after.admit(client, PLACE, (0, NOW), no_other).is_ok(), outcome);
        }
        // Less than the quota can be left, too, and a later word takes the place of an earlier one.
        after.allow(&after.grant(client, 0, NOW).unwrap());
        assert_eq!(after.left(client, NOW), Some(0));
        assert_eq!(usage.grant(Client { plan: &UsagePlan { quota: None, ..plan.clone() }, ..client }, 1, NOW), None);
    }

    #[test]
    fn days_of_an_earlier_release_are_read() {
        let days: Days = serde_json::from_str(r#"{"20000":3,"20001":4}"#).unwrap();
        assert_eq!(days.counts.values().sum::<u64>(), 7);
        assert_eq!(serde_json::to_string(&days).unwrap(), r#"{"20000":3,"20001":4}"#);
        assert!(serde_json::from_str::<Days>(r#"{"monday":3}"#).is_err());
    }

    #[test]
    fn usage_is_shown_by_day_and_old_days_go() {
        let (key, plan) = (key(), plan(&json!({"quota": {"limit": 9, "offset": 0, "period": "WEEK"}})));
        let client = Client { key: &key, plan: &plan };
        let mut usage = Usage::default();
        let today = NOW / DAY_MS;
        for days in [200, 1, 1, 0] {
            usage.admit(client, PLACE, (0, NOW - days * DAY_MS), no_other).unwrap();
        }
        // Today is a Saturday: tomorrow begins a week.
        assert_eq!(usage.by_day(client, today - 2..=today + 1), [[0, 9], [2, 7], [1, 6], [0, 9]]);
        assert_eq!(usage.by_day(client, today - 200..=today - 200), [[0, 9]]);
        let free = UsagePlan { quota: None, ..plan.clone() };
        assert_eq!(usage.by_day(Client { plan: &free, ..client }, today..=today), [[1, 0]]);
        assert_eq!(usage.by_day(client, 0..=today).len() as u64, DAYS_KEPT + 1);
    }
}
