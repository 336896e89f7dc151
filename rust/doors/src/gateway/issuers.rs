//! The keys of those who issue tokens: fetched, kept, and used to check signatures.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use forebay_core::gateway::authorizer::is_issuer;
use forebay_core::gateway::jwt::{key_set, Algorithm, Key, Token, KEY_SET_BYTES_MAX};
use ring::signature::{
    RsaParameters, RsaPublicKeyComponents, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512,
};
use tokio::time::timeout;

use crate::gateway::proxy::Outside;

const SECOND_NS: u64 = 1_000_000_000;
/// How long discovery and keys may take together.
const FETCH_TIMEOUT: Duration = Duration::from_millis(1_500);
/// Keys are fetched anew after this time; where that fails, they are used for so much longer.
const FRESH_NS: u64 = 3_600 * SECOND_NS;
const STALE_NS: u64 = 24 * 3_600 * SECOND_NS;
/// A key that is not known has them fetched anew, but not more often than this.
const AGAIN_NS: u64 = 10 * SECOND_NS;

#[derive(Default)]
struct Known {
    keys: Vec<Key>,
    fetched_ns: Option<u64>,
    tried_ns: Option<u64>,
    error: Option<String>,
}

pub(super) struct Issuers {
    known: Mutex<HashMap<String, Arc<tokio::sync::Mutex<Known>>>>,
    outside: Outside,
}

impl Issuers {
    pub(super) fn new(outside: Outside) -> Self {
        Self { known: Mutex::default(), outside }
    }

    /// Whether a token is signed with a key of its issuer; an error where its keys cannot be had. Issuers are those that APIs name, so
    /// there are few.
    pub(super) async fn verify(&self, issuer: &str, token: &Token<'_>, now_ns: u64) -> Result<bool, String> {
        let known =
            self.known.lock().unwrap_or_else(PoisonError::into_inner).entry(issuer.to_owned()).or_default().clone();
        // Held over the fetch: everybody else waits for the same one.
        let mut known = known.lock().await;
        let age = known.fetched_ns.map(|at| now_ns.saturating_sub(at));
        let has_key = known.keys.iter().any(|key| key.id == token.key);
        let is_wanted = age.is_none_or(|age| age > FRESH_NS) || !has_key;
        let may_ask = known.tried_ns.is_none_or(|at| now_ns.saturating_sub(at) > AGAIN_NS);
        if is_wanted && may_ask {
            known.tried_ns = Some(now_ns);
            match timeout(FETCH_TIMEOUT, self.fetch(issuer)).await {
                Ok(Ok(keys)) => {
                    known.keys = keys;
                    known.fetched_ns = Some(now_ns);
                    known.error = None;
                }
                Ok(Err(text)) => known.error = Some(text),
                Err(_) => known.error = Some("they did not come within 1.5 s".into()),
            }
        }
        let is_usable = known.fetched_ns.is_some_and(|at| now_ns.saturating_sub(at) <= FRESH_NS + STALE_NS);
        if !is_usable {
            return Err(known.error.clone().unwrap_or_else(|| "they were not fetched".into()));
        }
        let key = known.keys.iter().find(|key| key.id == token.key);
        Ok(key.is_some_and(|key| is_signed(key, token)))
    }

    async fn fetch(&self, issuer: &str) -> Result<Vec<Key>, String> {
        let discovery = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        let found = self.outside.get(&discovery, KEY_SET_BYTES_MAX).await?;
        let found: serde_json::Value =
            serde_json::from_slice(&found).map_err(|error| format!("{discovery} is no JSON: {error}"))?;
        let place = found["jwks_uri"].as_str().ok_or_else(|| format!("{discovery} has no jwks_uri"))?;
        if !is_issuer(place) {
            return Err(format!("{discovery}: the jwks_uri is not reached over https"));
        }
        key_set(&self.outside.get(place, KEY_SET_BYTES_MAX).await?)
    }
}

fn is_signed(key: &Key, token: &Token<'_>) -> bool {
    if key.algorithm.is_some_and(|algorithm| algorithm != token.algorithm) {
        return false;
    }
    let parameters: &RsaParameters = match token.algorithm {
        Algorithm::Rs256 => &RSA_PKCS1_2048_8192_SHA256,
        Algorithm::Rs384 => &RSA_PKCS1_2048_8192_SHA384,
        Algorithm::Rs512 => &RSA_PKCS1_2048_8192_SHA512,
    };
    let public = RsaPublicKeyComponents { n: &key.modulus, e: &key.exponent };
    public.verify(parameters, token.signed, &token.signature).is_ok()
}
