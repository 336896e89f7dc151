//! What is served at a moment, with all that belongs to it: limits, counters, what authorisers have said.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use forebay_core::gateway::api::{Api, Throttle};
use forebay_core::gateway::apis::Apis;
use forebay_core::gateway::authorizer::{Decision, Digest};
use forebay_core::token_bucket::{Rate, TokenBucket};
use forebay_engine::metrics::{Counter, Distribution, Metric, Registry};
use tokio::time::timeout;

/// What authorisers have said, at most.
const KEPT_MAX: usize = 10_000;

pub(super) struct Deployment {
    /// The APIs of the app and the URLs that were made by AWS's calls.
    pub(super) apis: Arc<Apis>,
    /// What it was made of.
    pub(super) declared: Arc<Apis>,
    pub(super) urls: Arc<Apis>,
    stages: Vec<Vec<StageState>>,
    pub(super) decisions: Kept<Decision>,
    pub(super) tokens: Kept<KnownToken>,
}

/// A token that was found good.
pub(super) struct KnownToken {
    pub(super) claims: forebay_core::gateway::jwt::Claims,
    pub(super) json: Arc<str>,
}

pub(super) struct StageState {
    bucket: Bucket,
    routes: Vec<RouteState>,
    /// Of requests that found no route.
    unrouted: RouteState,
    pub(super) opened: Counter,
    pub(super) messages: Counter,
    pub(super) latency: Distribution,
    pub(super) integration_latency: Distribution,
}

pub(super) struct RouteState {
    bucket: Bucket,
    requests: Counter,
    client_errors: Counter,
    server_errors: Counter,
}

impl RouteState {
    fn new(registry: &Registry, labels: &[&str], throttle: Option<Throttle>, now_ns: u64) -> Self {
        Self {
            bucket: Bucket::new(throttle, now_ns),
            requests: registry.counter(Metric::ApiRequests, labels),
            client_errors: registry.counter(Metric::ApiClientErrors, labels),
            server_errors: registry.counter(Metric::ApiServerErrors, labels),
        }
    }

    pub(super) fn count(&self, status: u16) {
        self.requests.add(1);
        match status {
            400..=499 => self.client_errors.add(1),
            500..=599 => self.server_errors.add(1),
            _ => {}
        }
    }
}

impl Deployment {
    pub(super) fn new(declared: Arc<Apis>, urls: Arc<Apis>, registry: &Registry, now_ns: u64) -> Self {
        let apis = if urls.list().is_empty() { declared.clone() } else { Arc::new(declared.and(&urls)) };
        let stages = apis.list().iter().map(|api| stages(api, registry, now_ns)).collect();
        Self { apis, declared, urls, stages, decisions: Kept::default(), tokens: Kept::default() }
    }

    pub(super) fn stage(&self, api: usize, stage: usize) -> &StageState {
        &self.stages[api][stage]
    }
}

fn stages(api: &Api, registry: &Registry, now_ns: u64) -> Vec<StageState> {
    let state = |stage: &forebay_core::gateway::api::Stage| {
        let labels = |route| [api.name.as_str(), stage.name.as_str(), route];
        let routes = api
            .routes
            .iter()
            .map(|route| RouteState::new(registry, &labels(&route.definition.key), route.definition.throttle, now_ns));
        StageState {
            bucket: Bucket::new(stage.throttle, now_ns),
            routes: routes.collect(),
            unrouted: RouteState::new(registry, &labels(""), None, now_ns),
            opened: registry.counter(Metric::ApiConnects, &labels("")[..2]),
            messages: registry.counter(Metric::ApiMessages, &labels("")[..2]),
            latency: registry.distribution(Metric::ApiLatency, &labels("")[..2]),
            integration_latency: registry.distribution(Metric::ApiIntegrationLatency, &labels("")[..2]),
        }
    };
    api.stages.iter().map(state).collect()
}

impl StageState {
    pub(super) fn route(&self, route: Option<usize>) -> &RouteState {
        route.map_or(&self.unrouted, |route| &self.routes[route])
    }

    /// Whether one more request of a route may begin.
    pub(super) fn admits(&self, route: usize, now_ns: u64) -> bool {
        self.routes[route].bucket.try_acquire(now_ns) && self.bucket.try_acquire(now_ns)
    }
}

/// A limit; without one, everything is let through.
struct Bucket(Option<Mutex<Option<TokenBucket>>>);

impl Bucket {
    fn new(throttle: Option<Throttle>, now_ns: u64) -> Self {
        Self(throttle.map(|throttle| {
            let rate = Rate::per_second(throttle.rate);
            // A rate or a burst of nothing lets nothing through.
            Mutex::new(rate.and_then(|rate| TokenBucket::new(rate, throttle.burst.into(), now_ns)))
        }))
    }

    fn try_acquire(&self, now_ns: u64) -> bool {
        self.0.as_ref().is_none_or(|bucket| {
            let mut bucket = bucket.lock().unwrap_or_else(PoisonError::into_inner);
            bucket.as_mut().is_some_and(|bucket| bucket.try_acquire(1, now_ns))
        })
    }
}

/// Answers that hold for a while. Whoever asks for one that is being found out waits for it.
pub(super) struct Kept<T>(Mutex<HashMap<Digest, Arc<Entry<T>>>>);

/// One of them: until when it holds, mono ns.
type Entry<T> = tokio::sync::Mutex<Option<(u64, Arc<T>)>>;

/// One of them, for whoever has it alone.
type Place<T> = tokio::sync::OwnedMutexGuard<Option<(u64, Arc<T>)>>;

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> Kept<T> {
    /// The place of a key, for whoever finds out what belongs there; `None` if others do for so long. Each of them may have no success.
    pub(super) async fn place(&self, key: Digest, patience: Duration) -> Option<Place<T>> {
        timeout(patience, self.entry(key).lock_owned()).await.ok()
    }

    /// The place of a key. It is bounded: where it is full, it begins anew.
    pub(super) fn entry(&self, key: Digest) -> Arc<Entry<T>> {
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if map.len() >= KEPT_MAX && !map.contains_key(&key) {
            map.clear();
        }
        map.entry(key).or_default().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nobody_waits_for_ever_for_what_others_find_out() {
        let kept = Kept::<u8>::default();
        let (one, other) = ([1; 32], [2; 32]);
        let held = kept.place(one, Duration::from_secs(9)).await.unwrap();
        assert!(kept.place(one, Duration::from_millis(1)).await.is_none());
        assert!(kept.place(other, Duration::from_millis(1)).await.is_some());
        drop(held);
        assert!(kept.place(one, Duration::from_secs(9)).await.is_some());
    }
}
