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
            serde_json::from_slice(&found).map_err(|error| format!("{discovery} is not JSON: {error}"))?;
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

#[cfg(test)]
mod tests {
    use base64::prelude::{Engine as _, BASE64_URL_SAFE_NO_PAD};
    use forebay_core::gateway::jwt::Wanted;
    use serde_json::{json, Value};

    use super::*;

    /// A good token until 2100, signed with the key of `tests/gateway/tokens.py`.
    const GOOD: &str = concat!(
        "eyJhbGciOiAiUlMyNTYiLCAia2lkIjogIm9uZSIsICJ0eXAiOiAiSldUIn0.eyJpc3MiOiAiaHR0cHM6Ly9pc3N1ZXIuZXhhbXBs",
        "ZS5jb20iLCAiYXVkIjogInNob3AiLCAiZXhwIjogNDEwMjQ0NDgwMCwgIm5iZiI6IDAsICJpYXQiOiAwLCAic2NvcGUiOiAicmVh",
        "ZCJ9.auwfzOWlRHRYyXaVk_C0m6PqpO75hFqWcEpVYj8k2IyPWdQRM_QbaY6rCBCeJmjQSZcNxMewhS3y-fTm1Kpe76VGr-",
        "ZKKZuMUPoja6V-4csMdfU1XikWWPFGcYsIJLiRgfh0eGPLR2yfFByR3ma3dNb-S_dvwXQvw2rgp1xBB03fxkGU5XC2dyvfye-IRm",
        "AVwNE6f3s5kqFVKxbzHfaUS4gZt6py42V0IN12KUqLRgRbqWRERqepR-",
        "e7re3Wd_Nm4MXWms3m6v29pJE5CyzGN2Tz5ghaBBeW6fKxMLOTpL3BKozQpOysthRDbWroMqIN8_Sn8XHGDSRGX9fWN9WHTg",
    );
    const MODULUS: &str = concat!(
        "pCapNE5o9EUBKmet7udVHcnUuSkjh2XQ5JCE6voyJ68f0UiEof4Bde8G1IH6dnypQRxwFYdcnG2OdaPRuRno2Bpo-",
        "acPSu5QWERT6qH1HaI8AM89rYrkbPDYY4EdJefC6HqkZvm2dNKmvc8KIkp2J_stSM3Tn8iKg-gy_2nIHC22i3T9UAKwyabhfZT7I",
        "D4Wk2R4vm7nuE5LPmpNeNTnBul3XeQ6fT2dYxrzP90iAMa8E4iXeqCI20GTChyBPR_K1ODTPMQ9W33fRfooKOKoDP8pJ3Yc4Gs1u",
        "cuOgJVTR32mFX2cR2m-Gx3TOjfF1YSr6PV2YDTxkYZtENR-Lox3oQ",
    );
    const MUTATIONS: usize = 100_000;
    const NOW_S: u64 = 1_800_000_000;

    fn is_let_in(text: &str, keys: &[Key]) -> bool {
        let wanted = Wanted { issuer: "https://issuer.example.com".into(), audiences: vec!["shop".into()] };
        let Ok(token) = Token::parse(text) else { return false };
        let key = keys.iter().find(|key| key.id == token.key);
        key.is_some_and(|key| is_signed(key, &token)) && token.check(&wanted, NOW_S).is_ok()
    }

    struct Random(u64);

    impl Random {
        fn below(&mut self, most: usize) -> usize {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) as usize % most
        }
    }

    fn part(text: &str) -> Value {
        serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap()
    }

    /// One thing of a good token changed: a letter, a member of its header or its claims, or its signature.
    fn mutated(random: &mut Random) -> String {
        const VALUES: [&str; 12] = [
            "null",
            "0",
            "9999999999999",
            "-1",
            "\"none\"",
            "\"HS256\"",
            "\"RS384\"",
            "\"two\"",
            "\"shop\"",
            "[\"shop\"]",
            "\"https://issuer.example.com\"",
            "{}",
        ];
        const NAMES: [&str; 10] = ["alg", "kid", "exp", "nbf", "iat", "aud", "iss", "scope", "crit", "jwk"];
        let parts: Vec<&str> = GOOD.split('.').collect();
        match random.below(4) {
            0 => {
                let mut letters = GOOD.as_bytes().to_vec();
                let at = random.below(letters.len());
                letters[at] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_. ="[random.below(67)];
                String::from_utf8(letters).unwrap()
            }
            kind @ (1 | 2) => {
                let mut objects = [part(parts[0]), part(parts[1])];
                let value: Value = serde_json::from_str(VALUES[random.below(VALUES.len())]).unwrap();
                objects[kind - 1][NAMES[random.below(NAMES.len())]] = value;
                let [header, claims] = objects.map(|object| BASE64_URL_SAFE_NO_PAD.encode(object.to_string()));
                format!("{header}.{claims}.{}", parts[2])
            }
            _ => {
                let signature = BASE64_URL_SAFE_NO_PAD.decode(parts[2]).unwrap();
                let end = random.below(signature.len());
                let signature = BASE64_URL_SAFE_NO_PAD.encode(&signature[..end]);
                format!("{}.{}.{signature}", parts[0], parts[1])
            }
        }
    }

    #[test]
    fn of_a_hundred_thousand_changed_tokens_none_lets_anybody_in() {
        let set = json!({"keys": [
            {"kty": "RSA", "use": "sig", "kid": "one", "n": MODULUS, "e": "AQAB"},
            {"kty": "RSA", "use": "sig", "kid": "two", "alg": "RS512", "n": MODULUS, "e": "AQAB"},
        ]});
        let keys = key_set(set.to_string().as_bytes()).unwrap();
        assert!(is_let_in(GOOD, &keys));
        let mut random = Random(7);
        for round in 0..MUTATIONS {
            let text = mutated(&mut random);
            assert!(text.trim() == GOOD || !is_let_in(&text, &keys), "{round}: {text}");
        }
    }
}
