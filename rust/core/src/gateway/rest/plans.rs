//! API keys and usage plans at the time of a request: how fast a key's requests may come, and how many in a period.
//!
//! Source: <https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-api-usage-plans.html>

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use super::failure::{Failure, ResponseType};
use super::model::{ApiKey, Period, Quota, Throttle, UsagePlan};
use crate::token_bucket::{Rate, TokenBucket};

/// Days whose counts are kept: what `GetUsage` shows, and the longest period of a quota.
pub const DAYS_KEPT: u64 = 90;
const DAY_MS: u64 = 24 * 3_600 * 1_000;

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
    let key = keys.into_iter().find(|key| key.enabled && same(&key.value, value)).ok_or_else(refused)?;
    let plan = plans.into_iter().find(|plan| plan.keys.contains(&key.id) && stage_of(plan, place).is_some());
    plan.map(|plan| Client { key, plan }).ok_or_else(refused)
}

/// Whether two secrets are the same, in a time that says nothing about where they differ.
fn same(known: &str, given: &str) -> bool {
    known.len() == given.len() && known.bytes().zip(given.bytes()).fold(0, |found, (a, b)| found | (a ^ b)) == 0
}

fn stage_of<'a>(plan: &'a UsagePlan, place: Place<'_>) -> Option<&'a super::model::ApiStage> {
    plan.api_stages.iter().find(|stage| stage.api_id == place.api && stage.stage == place.stage)
}

/// What keys have used up. It is bounded by the keys and plans that there are: `forget` what is deleted.
#[derive(Debug, Default)]
pub struct Usage {
    /// By plan, key and method; the method of the plan's own limit is empty.
    buckets: HashMap<(String, String, String), TokenBucket>,
    /// By plan and key: requests of each day since 1970.
    days: BTreeMap<String, BTreeMap<String, Days>>,
}

/// Requests of each day since 1970, the last ones.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Days(BTreeMap<u64, u64>);

impl Usage {
    /// Let one request through, or say why not. Times are on the monotonic and on the wall clock.
    pub fn admit(&mut self, client: Client<'_>, place: Place<'_>, now_ns: u64, now_ms: u64) -> Result<(), Failure> {
        let stage = stage_of(client.plan, place);
        let own = stage.and_then(|stage| stage.throttle.get(place.method));
        let limits = [own.map(|limit| (place.method, limit)), client.plan.throttle.as_ref().map(|limit| ("", limit))];
        if let Some(quota) = &client.plan.quota {
            if self.used(client, quota, now_ms) >= u64::from(quota.limit) {
                return Err(Failure::new(ResponseType::QuotaExceeded));
            }
        }
        for (method, limit) in limits.into_iter().flatten() {
            if !self.take(client, method, *limit, now_ns) {
                return Err(Failure::new(ResponseType::Throttled));
            }
        }
        let days = self.days.entry(client.plan.id.clone()).or_default().entry(client.key.id.clone()).or_default();
        let today = now_ms / DAY_MS;
        *days.0.entry(today).or_default() += 1;
        while days.0.first_key_value().is_some_and(|(day, _)| day + DAYS_KEPT < today) {
            days.0.pop_first();
        }
        Ok(())
    }

    fn take(&mut self, client: Client<'_>, method: &str, limit: Throttle, now_ns: u64) -> bool {
        // A rate or a burst of nothing lets nothing through.
        let Some(rate) = Rate::per_second(limit.rate_limit) else { return false };
        let key = (client.plan.id.clone(), client.key.id.clone(), method.to_owned());
        let burst = u64::from(limit.burst_limit);
        let Some(fresh) = TokenBucket::new(rate, burst, now_ns) else { return false };
        let bucket = self.buckets.entry(key).or_insert(fresh);
        if bucket.rate() != rate || bucket.burst() != burst {
            bucket.configure(rate, burst, now_ns);
        }
        bucket.try_acquire(1, now_ns)
    }

    /// Requests of the current period.
    fn used(&self, client: Client<'_>, quota: &Quota, now_ms: u64) -> u64 {
        let (first, is_first_period) = period(quota.period, now_ms, client.key.created_date);
        let offset = if is_first_period { u64::from(quota.offset) } else { 0 };
        let days = self.days.get(&client.plan.id).and_then(|keys| keys.get(&client.key.id));
        offset + days.map_or(0, |days| days.0.range(first..).map(|(_, count)| count).sum())
    }

    /// Requests that a key has left in the period of this moment; `None` without a quota.
    pub fn left(&self, client: Client<'_>, now_ms: u64) -> Option<u64> {
        let quota = client.plan.quota.as_ref()?;
        Some(u64::from(quota.limit).saturating_sub(self.used(client, quota, now_ms)))
    }

    /// Requests of each day of a key, from one day to another, both since 1970 and included.
    pub fn by_day(&self, plan: &str, key: &str, from: u64, to: u64) -> Vec<u64> {
        let days = self.days.get(plan).and_then(|keys| keys.get(key));
        (from..=to.min(from + DAYS_KEPT))
            .map(|day| days.and_then(|days| days.0.get(&day)).copied().unwrap_or(0))
            .collect()
    }

    /// Take back what a plan, or a key of it, has used: it is deleted.
    pub fn forget(&mut self, plan: &str, key: Option<&str>) {
        self.buckets.retain(|known, _| known.0 != plan || key.is_some_and(|key| known.1 != key));
        match key {
            None => {
                self.days.remove(plan);
            }
            Some(key) => {
                if let Some(keys) = self.days.get_mut(plan) {
                    keys.remove(key);
                }
            }
        }
    }

    /// What is to be kept over a restart: requests by plan, key and day.
    pub fn kept(&self) -> &BTreeMap<String, BTreeMap<String, Days>> {
        &self.days
    }

    /// Go on from what was kept.
    pub fn restore(&mut self, kept: BTreeMap<String, BTreeMap<String, Days>>) {
        self.days = kept;
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

    fn key() -> ApiKey {
        ApiKey {
            id: "k".into(),
            value: "secret-secret-secret".into(),
            enabled: true,
            created_date: 0,
            ..ApiKey::default()
        }
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
    fn a_plan_lets_a_burst_through_and_then_its_rate() {
        let plan = plan(&json!({"throttle": {"burstLimit": 2, "rateLimit": 1.0},
            "apiStages": [{"apiId": "api", "stage": "dev", "throttle": {"/slow/GET": {"burstLimit": 1, "rateLimit": 1.0}, "/shut/GET": {"burstLimit": 0, "rateLimit": 0.0}}}]}));
        let key = key();
        let client = Client { key: &key, plan: &plan };
        let mut usage = Usage::default();
        let throttled = Err(Failure::new(ResponseType::Throttled));
        assert_eq!(usage.admit(client, PLACE, 0, NOW), Ok(()));
        assert_eq!(usage.admit(client, PLACE, 0, NOW), Ok(()));
        assert_eq!(usage.admit(client, PLACE, 0, NOW), throttled);
        assert_eq!(usage.admit(client, PLACE, 1_000_000_000, NOW), Ok(()));
        let slow = Place { method: "/slow/GET", ..PLACE };
        assert_eq!(usage.admit(client, slow, 5_000_000_000, NOW), Ok(()));
        assert_eq!(usage.admit(client, slow, 5_000_000_000, NOW), throttled);
        assert_eq!(usage.admit(client, Place { method: "/shut/GET", ..PLACE }, 9_000_000_000, NOW), throttled);
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
            assert_eq!(usage.admit(client, PLACE, 0, same.min(NOW)), Ok(()), "{period}");
            assert_eq!(usage.admit(client, PLACE, 0, same.max(NOW)), Ok(()), "{period}");
            let failure = usage.admit(client, PLACE, 0, same.max(NOW)).unwrap_err();
            assert_eq!(failure.response_type, ResponseType::QuotaExceeded, "{period}");
            assert_eq!(usage.left(client, next), Some(2), "{period}");
            let mut after = Usage::default();
            after.restore(usage.kept().clone());
            assert_eq!(after.left(client, same.max(NOW)), Some(0), "a restart forgets nothing that was kept");
            assert_eq!(usage.admit(client, PLACE, 0, next), Ok(()), "{period}");
            usage.forget("p", Some("k"));
            assert_eq!(usage.left(client, next), Some(2));
        }
    }

    #[test]
    fn usage_is_shown_by_day_and_old_days_go() {
        let (key, plan) = (key(), plan(&json!({})));
        let client = Client { key: &key, plan: &plan };
        let mut usage = Usage::default();
        let today = NOW / DAY_MS;
        for days in [200, 1, 1, 0] {
            usage.admit(client, PLACE, 0, NOW - days * DAY_MS).unwrap();
        }
        assert_eq!(usage.by_day("p", "k", today - 2, today), [0, 2, 1]);
        assert_eq!(usage.by_day("p", "k", today - 200, today - 200), [0]);
    }
}
