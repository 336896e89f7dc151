//! What is served at a moment, with all that belongs to it: limits, counters, what authorisers have said.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use forebay_core::gateway::answer::Answer;
use forebay_core::gateway::api::{Api, Stage, Throttle};
use forebay_core::gateway::apis::Apis;
use forebay_core::gateway::authorizer::{Decision, Digest};
use forebay_core::gateway::throttle;
use forebay_core::token_bucket::TokenBucket;
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
    pub(super) decisions: Arc<Kept<Decision, Answer>>,
    pub(super) tokens: Arc<Kept<KnownToken>>,
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
    fn new(registry: &Registry, labels: &[&str], bucket: Bucket) -> Self {
        Self {
            bucket,
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
    /// `before`: what was served until now. What was counted and found out for it holds on, however much else has changed: nobody gets round
    /// a limit by changing another API.
    pub(super) fn new(
        (declared, urls): (Arc<Apis>, Arc<Apis>),
        registry: &Registry,
        now_ns: u64,
        before: Option<&Self>,
    ) -> Self {
        let apis = if urls.list().is_empty() { declared.clone() } else { Arc::new(declared.and(&urls)) };
        let stages = apis.list().iter().map(|api| stages(api, registry, now_ns, before)).collect();
        let decisions = before.map(|before| before.decisions.clone()).unwrap_or_default();
        let tokens = before.map(|before| before.tokens.clone()).unwrap_or_default();
        Self { apis, declared, urls, stages, decisions, tokens }
    }

    /// The state of a stage, with its API.
    fn known(&self, api: &str, stage: &str) -> Option<(&Api, &StageState)> {
        let apis = self.apis.list().iter().zip(&self.stages).filter(|(known, _)| known.id == api);
        let mut stages = apis.flat_map(|(api, states)| api.stages.iter().zip(states).map(move |one| (api, one)));
        stages.find(|(_, (known, _))| known.name == stage).map(|(api, (_, state))| (&**api, state))
    }

    /// Where the stage of an API stands among all, and where in it.
    pub(super) fn place(&self, api: &str, stage: &str) -> Option<(usize, usize)> {
        let stages = |known: &Api| known.stages.iter().position(|known| known.name == stage);
        let mut apis = self.apis.list().iter().enumerate().filter(|(_, known)| known.id == api);
        apis.find_map(|(index, known)| Some((index, stages(known)?)))
    }

    pub(super) fn stage(&self, api: usize, stage: usize) -> &StageState {
        &self.stages[api][stage]
    }
}

fn stages(api: &Api, registry: &Registry, now_ns: u64, before: Option<&Deployment>) -> Vec<StageState> {
    let state = |stage: &Stage| {
        let labels = |route| [api.name.as_str(), stage.name.as_str(), route];
        let known = before.and_then(|before| before.known(&api.id, &stage.name));
        let routes = api.routes.iter().map(|route| {
            let key = &route.definition.key;
            let known = known.and_then(|(api, state)| Some(&state.routes[api.route_named(key)?].bucket));
            RouteState::new(registry, &labels(key), Bucket::new(route.definition.throttle, known, now_ns))
        });
        StageState {
            bucket: Bucket::new(stage.throttle, known.map(|(_, state)| &state.bucket), now_ns),
            routes: routes.collect(),
            unrouted: RouteState::new(registry, &labels(""), Bucket(None)),
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

    /// Whether one more request of a route may begin. What is refused uses nothing up.
    pub(super) fn admits(&self, route: usize, now_ns: u64) -> bool {
        let of_route = &self.routes[route].bucket;
        if !of_route.try_acquire(now_ns) {
            return false;
        }
        let is_admitted = self.bucket.try_acquire(now_ns);
        if !is_admitted {
            of_route.give_back(now_ns);
        }
        is_admitted
    }
}

/// A limit; without one, everything is let through.
struct Bucket(Option<Arc<Limit>>);

struct Limit {
    throttle: Throttle,
    bucket: Mutex<Option<TokenBucket>>,
}

impl Bucket {
    /// `known`: the one of the same stage or route before, whose tokens are this one's.
    fn new(throttle: Option<Throttle>, known: Option<&Self>, now_ns: u64) -> Self {
        let known = known.and_then(|known| known.0.as_ref());
        Self(throttle.map(|throttle| match known {
            Some(known) if known.throttle == throttle => known.clone(),
            _ => Arc::new(Limit { throttle, bucket: Mutex::new(filled(throttle, known, now_ns)) }),
        }))
    }

    fn try_acquire(&self, now_ns: u64) -> bool {
        self.0.as_ref().is_none_or(|limit| limit.bucket().as_mut().is_some_and(|bucket| bucket.try_acquire(1, now_ns)))
    }

    fn give_back(&self, now_ns: u64) {
        if let Some(limit) = &self.0 {
            limit.bucket().iter_mut().for_each(|bucket| bucket.give_back(1, now_ns));
        }
    }
}

impl Limit {
    fn bucket(&self) -> MutexGuard<'_, Option<TokenBucket>> {
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// With as many tokens as the one before has, or full.
fn filled(limit: Throttle, known: Option<&Arc<Limit>>, now_ns: u64) -> Option<TokenBucket> {
    let full = throttle::full(limit.rate, limit.burst.into(), now_ns)?;
    let Some(mut bucket) = known.and_then(|known| *known.bucket()) else { return Some(full) };
    throttle::set(&mut bucket, &full, now_ns);
    Some(bucket)
}

/// Answers that hold for a while. Whoever asks for one that is being found out waits for it, and shares a failure of that, too: one that
/// takes long would be waited for by each of them after the other.
pub(super) struct Kept<T, E = ()>(Mutex<HashMap<Digest, Arc<Entry<T, E>>>>);

/// One of them.
pub(super) struct Entry<T, E> {
    /// Until when it holds, mono ns, and what it is.
    known: tokio::sync::Mutex<Option<(u64, Arc<T>)>>,
    failed: Mutex<Failed<E>>,
}

/// How often nothing was found out, and why, the last time.
type Failed<E> = (u64, Option<E>);

impl<T, E> Default for Kept<T, E> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T, E> Entry<T, E> {
    pub(super) async fn lock(&self) -> tokio::sync::MutexGuard<'_, Option<(u64, Arc<T>)>> {
        self.known.lock().await
    }

    fn failed(&self) -> MutexGuard<'_, Failed<E>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T, E: Clone> Kept<T, E> {
    /// What belongs to a key, and is asked for now if nobody knows it: until when it holds, and what it is. `None` if others ask for so
    /// long.
    pub(super) async fn find(
        &self,
        (key, now_ns, patience): (Digest, impl Fn() -> u64, Duration),
        ask: impl Future<Output = Result<(u64, T), E>>,
    ) -> Option<Result<Arc<T>, E>> {
        let entry = self.entry(key);
        let before = entry.failed().0;
        let mut known = timeout(patience, entry.lock()).await.ok()?;
        if let Some((_, found)) = known.as_ref().filter(|(until_ns, _)| *until_ns > now_ns()) {
            return Some(Ok(found.clone()));
        }
        if let (count, Some(failure)) = &*entry.failed() {
            if *count != before {
                return Some(Err(failure.clone()));
            }
        }
        Some(match ask.await {
            Ok((until_ns, found)) => {
                let found = Arc::new(found);
                *known = Some((until_ns, found.clone()));
                Ok(found)
            }
            Err(failure) => {
                let mut failed = entry.failed();
                *failed = (failed.0 + 1, Some(failure.clone()));
                Err(failure)
            }
        })
    }
}

impl<T, E> Kept<T, E> {
    /// The place of a key. It is bounded: where it is full, it begins anew.
    pub(super) fn entry(&self, key: Digest) -> Arc<Entry<T, E>> {
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if map.len() >= KEPT_MAX && !map.contains_key(&key) {
            map.clear();
        }
        let fresh = || Arc::new(Entry { known: tokio::sync::Mutex::default(), failed: Mutex::new((0, None)) });
        map.entry(key).or_insert_with(fresh).clone()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn bucket(rate: f64, burst: u32, known: Option<&Bucket>) -> Bucket {
        Bucket::new(Some(Throttle { rate, burst }), known, 0)
    }

    #[test]
    fn a_limit_that_is_changed_is_not_full_again() {
        let taken = |bucket: &Bucket| (0..9).filter(|_| bucket.try_acquire(0)).count();
        let first = bucket(0.01, 2, None);
        assert_eq!(taken(&first), 2);
        assert_eq!(taken(&bucket(0.01, 2, Some(&first))), 0);
        assert_eq!(taken(&bucket(0.02, 2, Some(&first))), 0);
        assert_eq!(taken(&bucket(0.01, 2, Some(&Bucket::new(None, Some(&first), 0)))), 2);
    }

    /// What the stage's limit refused was taken from the route's.
    #[test]
    fn a_request_that_is_refused_uses_nothing_up() {
        let route = |key: &str, burst: u32| json!({"key": key, "target": {"function": "f"}, "throttle": {"rate": 1e-9, "burst": burst}});
        let definition = json!({"name": "shop", "routes": [route("GET /a", 1), route("GET /b", 1)],
            "stages": [{"name": "$default", "throttle": {"rate": 1.0, "burst": 1}}]});
        let api = Api::compile("app", serde_json::from_value(definition).unwrap()).unwrap();
        let state = &stages(&api, &Registry::new(), 0, None)[0];
        let admitted =
            [(0, 0), (1, 0), (1, 0), (1, 2_000_000_000), (1, 4_000_000_000)].map(|(route, at)| state.admits(route, at));
        assert_eq!(admitted, [true, false, false, true, false]);
    }

    #[tokio::test]
    async fn nobody_waits_for_ever_for_what_others_find_out() {
        let kept = Kept::<u8, u8>::default();
        let (one, other) = ([1; 32], [2; 32]);
        let entry = kept.entry(one);
        let held = entry.lock().await;
        let find = |key, patience| kept.find((key, || 0, Duration::from_millis(patience)), async { Ok((1, 7)) });
        assert!(find(one, 1).await.is_none());
        assert!(find(other, 1).await.is_some());
        drop(held);
        assert_eq!(find(one, 9_000).await, Some(Ok(Arc::new(7))));
    }

    /// Each of ten requests waited for the failure of those before it, three seconds each.
    #[tokio::test]
    async fn whoever_waits_shares_a_failure_and_whoever_comes_later_asks_anew() {
        let kept = Kept::<u8, &str>::default();
        let (goes_on, asked) = (tokio::sync::Notify::new(), std::cell::Cell::new(0));
        let find = |now_ns| {
            kept.find(([1; 32], move || now_ns, Duration::from_secs(9)), async {
                asked.set(asked.get() + 1);
                goes_on.notified().await;
                if asked.get() == 1 {
                    Err("down")
                } else {
                    Ok((5, 7))
                }
            })
        };
        let on = async {
            tokio::task::yield_now().await;
            goes_on.notify_one();
        };
        let (first, second, third, ()) = tokio::join!(find(0), find(0), find(0), on);
        assert_eq!([first, second, third], [Some(Err("down")), Some(Err("down")), Some(Err("down"))]);
        assert_eq!(asked.get(), 1);
        goes_on.notify_one();
        let found = Some(Ok(Arc::new(7)));
        assert_eq!((find(0).await, find(4).await, asked.get()), (found.clone(), found.clone(), 2));
        goes_on.notify_one();
        assert_eq!((find(5).await, asked.get()), (found, 3), "its time is over");
    }
}
