//! The cache of a stage: answers of its methods, in memory.
//!
//! Source: <https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-caching.html>

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::failure::{Failure, ResponseType};
use super::model::{CacheControlStrategy, Integration, MethodSetting};
use super::parameter_mapping::{self, Sources};
use crate::gateway::answer::Answer;
use crate::gateway::request::{Authorized, Request};

/// Bytes of an answer that is kept, as AWS has it.
pub const ANSWER_BYTES_MAX: usize = 1_048_576;
/// What an entry takes beside its answer, about.
const ENTRY_BYTES: usize = 256;

/// The digest of what an answer depends on.
pub type Key = [u8; 32];

/// Answers that hold for a while; the oldest go when there is no room.
#[derive(Debug)]
pub struct Cache {
    most: usize,
    bytes: usize,
    next: u64,
    entries: HashMap<Key, Entry>,
    /// Keys by the order in which they came.
    order: BTreeMap<u64, Key>,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    until_ms: u64,
    bytes: usize,
    answer: Arc<Answer>,
}

/// What a request wants of the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Whatever is there.
    Kept,
    /// A fresh answer, which is kept.
    Fresh,
    /// A fresh one, which it may not have: it is told so by a header.
    KeptWithWarning,
}

impl Cache {
    /// An empty cache of so many bytes.
    pub fn new(most: usize) -> Self {
        Self { most, bytes: 0, next: 0, entries: HashMap::new(), order: BTreeMap::new() }
    }

    /// An answer that is there and still holds.
    pub fn get(&mut self, key: &Key, now_ms: u64) -> Option<Arc<Answer>> {
        let entry = self.entries.get(key)?;
        if entry.until_ms > now_ms {
            return Some(Arc::clone(&entry.answer));
        }
        self.remove(key);
        None
    }

    /// Keep an answer. One that is too large or sets a cookie is not kept.
    pub fn put(&mut self, key: Key, answer: &Arc<Answer>, ttl_s: u32, now_ms: u64) {
        self.remove(&key);
        let headers: usize = answer.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        let bytes = ENTRY_BYTES + headers + answer.body.len();
        let sets_cookie = answer.header("set-cookie").is_some();
        if ttl_s == 0 || sets_cookie || answer.body.len() > ANSWER_BYTES_MAX || bytes > self.most {
            return;
        }
        while self.bytes + bytes > self.most {
            let Some((_, oldest)) = self.order.first_key_value() else { break };
            let oldest = *oldest;
            self.remove(&oldest);
        }
        self.next += 1;
        self.bytes += bytes;
        self.order.insert(self.next, key);
        let until_ms = now_ms.saturating_add(u64::from(ttl_s) * 1_000);
        self.entries.insert(key, Entry { number: self.next, until_ms, bytes, answer: Arc::clone(answer) });
    }

    fn remove(&mut self, key: &Key) {
        if let Some(entry) = self.entries.remove(key) {
            self.bytes -= entry.bytes;
            self.order.remove(&entry.number);
        }
    }

    /// Bytes that are taken.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

/// The key of a request: the namespace, the path as it was sent, the chosen parameters, and who has asked.
pub fn key(integration: &Integration, request: &Request<'_>, by: &Authorized, sources: &Sources<'_>) -> Key {
    let (asker, known_by) = asker(by);
    let mut digest = Sha256::new();
    let mut part = |text: &str| {
        // With its length: two texts beside each other are not one.
        digest.update((text.len() as u64).to_le_bytes());
        digest.update(text);
    };
    for text in [integration.cache_namespace.as_str(), request.method, request.path, &asker, &known_by] {
        part(text);
    }
    for name in &integration.cache_key_parameters {
        part(name);
        let values = find_parameter(integration, name, sources);
        part(&values.len().to_string());
        for value in &values {
            part(value);
        }
    }
    digest.finalize().into()
}

/// Who has asked: an answer is not another caller's. Whoever cannot be told by a name is told by all that is known of it.
fn asker(by: &Authorized) -> (Cow<'_, str>, String) {
    let (name, known_by): (Cow<'_, str>, _) = match by {
        Authorized::Open => ("".into(), None),
        Authorized::Iam { access_key } => (access_key.into(), None),
        // A function may say of all whom it lets in that they are the same.
        Authorized::Lambda { context, principal, known_by } => {
            (principal.as_ref().unwrap_or(context).into(), known_by.as_ref())
        }
        Authorized::Jwt { claims, .. } => {
            let known: Value = serde_json::from_str(claims).unwrap_or_default();
            let subject = known["iss"].as_str().zip(known["sub"].as_str());
            (subject.map_or((&**claims).into(), |(issuer, subject)| format!("{issuer} {subject}").into()), None)
        }
    };
    (name, known_by.map(|digest| format!("{digest:?}")).unwrap_or_default())
}

/// A parameter of the method, or one of the integration by what it is taken from.
fn find_parameter(integration: &Integration, name: &str, sources: &Sources<'_>) -> Vec<String> {
    let source = integration.request_parameters.get(name).map_or(name, |source| source);
    // All values: whatever answers takes the one that it likes, and the answer is for whoever sends the same.
    parameter_mapping::find_all(source, sources)
}

/// What `Cache-Control: max-age=0` means, for a client that may ask for it or not.
pub fn wanted(cache_control: &str, setting: &MethodSetting, is_authorized: bool) -> Result<Wanted, Failure> {
    let asks = cache_control.split(',').any(|word| word.trim().eq_ignore_ascii_case("max-age=0"));
    if !asks {
        return Ok(Wanted::Kept);
    }
    if !setting.require_authorization_for_cache_control || is_authorized {
        return Ok(Wanted::Fresh);
    }
    match setting.unauthorized_cache_control_header_strategy {
        CacheControlStrategy::FailWith403 => Err(Failure::new(ResponseType::AccessDenied)),
        CacheControlStrategy::SucceedWithResponseHeader => Ok(Wanted::KeptWithWarning),
        CacheControlStrategy::SucceedWithoutResponseHeader => Ok(Wanted::Kept),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{json, Map};

    use super::*;
    use crate::gateway::rest::vtl::Params;

    fn answer(bytes: usize) -> Arc<Answer> {
        Arc::new(Answer { status: 200, headers: Vec::new(), body: vec![b'x'; bytes] })
    }

    #[test]
    fn an_answer_holds_for_its_time_and_the_oldest_go_first() {
        let mut cache = Cache::new(3 * (ENTRY_BYTES + 100));
        for at in 0..3 {
            cache.put([at; 32], &answer(100), 10, u64::from(at));
        }
        assert!(cache.get(&[0; 32], 9_999).is_some());
        assert!(cache.get(&[0; 32], 10_000).is_none(), "its time is over");
        cache.put([0; 32], &answer(100), 10, 0);
        cache.put([3; 32], &answer(100), 10, 0);
        assert!(cache.get(&[1; 32], 0).is_none() && cache.get(&[2; 32], 0).is_some());
        cache.put([2; 32], &answer(50), 10, 0);
        assert_eq!(cache.bytes(), 3 * ENTRY_BYTES + 250);
    }

    #[test]
    fn what_is_too_large_or_sets_a_cookie_is_not_kept() {
        let mut cache = Cache::new(10 << 20);
        cache.put([0; 32], &answer(ANSWER_BYTES_MAX + 1), 10, 0);
        cache.put([1; 32], &answer(1), 0, 0);
        let cookie = Answer { headers: vec![("Set-Cookie".into(), "a=b".into())], ..Answer::default() };
        cache.put([2; 32], &Arc::new(cookie), 10, 0);
        assert_eq!(cache.bytes(), 0);
    }

    #[test]
    fn the_key_has_the_chosen_parameters_alone() {
        let integration: Integration = serde_json::from_value(json!({
            "type": "MOCK", "cacheNamespace": "n", "cacheKeyParameters": ["method.request.querystring.a", "integration.request.header.B"],
            "requestParameters": {"integration.request.header.B": "method.request.header.B"},
        }))
        .unwrap();
        let context = Map::new();
        let request = Request {
            method: "GET",
            path: "/x",
            query: "",
            protocol: "HTTP/1.1",
            headers: &[],
            source_ip: "192.0.2.1",
            client_cert: None,
            body: b"",
        };
        let of = |a: &'static str, b: &'static str, other: &'static str, by: &Authorized| {
            let params = Params {
                query: vec![("a".into(), a.into()), ("other".into(), other.into())],
                headers: vec![("b".into(), b.into())],
                ..Params::default()
            };
            key(&integration, &request, by, &Sources::of_request(&context, &[], &params, b""))
        };
        let lambda = |principal: &str, known_by: Option<u8>| {
            let (context, principal, known_by) =
                ("null".into(), Some(principal.to_owned()), known_by.map(|by| [by; 32]));
            Authorized::Lambda { context, principal, known_by }
        };
        let key = |a, b, other, principal: &str| of(a, b, other, &lambda(principal, None));
        let first = key("1", "2", "3", "");
        // The last value alone was the key: what was answered to `a=evil&a=1` was given to whoever asked for `a=1`.
        let headers = vec![("b".into(), "2".into())];
        let query = vec![("a".into(), "evil".into()), ("a".into(), "1".into())];
        let twice = Params { query, headers, ..Params::default() };
        let sources = Sources::of_request(&context, &[], &twice, b"");
        assert_ne!(first, super::key(&integration, &request, &lambda("", None), &sources));
        // One function says `user` of all: what was answered to ann was given to bob.
        let user = |known_by| of("1", "2", "3", &lambda("user", Some(known_by)));
        assert_eq!(user(1), user(1));
        assert_ne!(user(1), user(2));
        assert_eq!(first, key("1", "2", "9", ""));
        for other in
            [key("9", "2", "3", ""), key("1", "9", "3", ""), key("1", "2", "3", "somebody"), key("12", "", "3", "")]
        {
            assert_ne!(first, other);
        }
        let iam = |key: &str| Authorized::Iam { access_key: key.into() };
        let jwt = |claims: Value| Authorized::Jwt { claims: claims.to_string().into(), scopes: "null".into() };
        let by = |by: &Authorized| of("1", "2", "3", by);
        assert_ne!(by(&iam("one")), by(&iam("two")));
        let one = jwt(json!({"iss": "i", "sub": "s", "iat": "1"}));
        assert_eq!(
            by(&one),
            by(&jwt(json!({"iss": "i", "sub": "s", "iat": "2"}))),
            "the same caller with another token"
        );
        for other in [json!({"iss": "i", "sub": "t"}), json!({"iss": "j", "sub": "s"}), json!({"iat": "1"})] {
            assert_ne!(by(&one), by(&jwt(other)));
        }
    }

    #[test]
    fn who_may_not_ask_for_a_fresh_answer_gets_what_is_set() {
        let setting = |strategy| MethodSetting {
            unauthorized_cache_control_header_strategy: strategy,
            ..MethodSetting::default()
        };
        let warns = setting(CacheControlStrategy::SucceedWithResponseHeader);
        assert_eq!(wanted("no-store", &warns, false), Ok(Wanted::Kept));
        assert_eq!(wanted("no-store, max-age=0", &warns, true), Ok(Wanted::Fresh));
        assert_eq!(wanted("max-age=0", &warns, false), Ok(Wanted::KeptWithWarning));
        assert_eq!(
            wanted("max-age=0", &setting(CacheControlStrategy::SucceedWithoutResponseHeader), false),
            Ok(Wanted::Kept)
        );
        assert!(wanted("max-age=0", &setting(CacheControlStrategy::FailWith403), false).is_err());
        let open = MethodSetting { require_authorization_for_cache_control: false, ..MethodSetting::default() };
        assert_eq!(wanted("max-age=0", &open, false), Ok(Wanted::Fresh));
    }
}
