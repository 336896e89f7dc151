//! Tokens: what they say, and whether that is enough. The signature is checked by whoever has the keys.
//!
//! Source: <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-jwt-authorizer.html>

use base64::prelude::{Engine as _, BASE64_URL_SAFE_NO_PAD};
use serde_json::{Map, Value};

use crate::gateway::json::Json;

/// Most bytes of a token.
const TOKEN_BYTES_MAX: usize = 8_192;
/// Most bytes of a key set.
pub const KEY_SET_BYTES_MAX: usize = 150_000;

/// The algorithms that are accepted: RSA with SHA-2 only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// With SHA-256.
    Rs256,
    /// With SHA-384.
    Rs384,
    /// With SHA-512.
    Rs512,
}

impl Algorithm {
    fn parse(name: &str) -> Option<Self> {
        match name {
            "RS256" => Some(Self::Rs256),
            "RS384" => Some(Self::Rs384),
            "RS512" => Some(Self::Rs512),
            _ => None,
        }
    }
}

/// Why a token lets nobody in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is none.
    Missing,
    /// It is none, or a claim is not right; the text tells which.
    Invalid(&'static str),
    /// It allows nothing that the route wants.
    Scope,
}

/// Why a token lets nobody in whose time is over.
pub const EXPIRED: Refusal = Refusal::Invalid("the token has expired");

/// A token that was taken apart. Nothing of it is to be believed before its signature is checked.
#[derive(Clone, Debug)]
pub struct Token<'a> {
    /// How it is signed.
    pub algorithm: Algorithm,
    /// Names the key.
    pub key: String,
    /// What is signed.
    pub signed: &'a [u8],
    /// The signature.
    pub signature: Vec<u8>,
    claims: Map<String, Value>,
}

impl<'a> Token<'a> {
    /// Take a token apart; `Bearer ` may stand before it.
    pub fn parse(text: &'a str) -> Result<Self, Refusal> {
        let bare = match text.split_once(' ') {
            Some((word, rest)) if word.eq_ignore_ascii_case("bearer") => rest.trim(),
            _ => text.trim(),
        };
        if bare.is_empty() {
            return Err(Refusal::Missing);
        }
        let wrong = Refusal::Invalid("the token is not a valid JWT");
        if bare.len() > TOKEN_BYTES_MAX {
            return Err(Refusal::Invalid("the token is too large"));
        }
        let (signed, signature) = bare.rsplit_once('.').ok_or(wrong)?;
        let (header, claims) = signed.split_once('.').ok_or(wrong)?;
        let header = object(header).ok_or(wrong)?;
        let word = |name: &str| header.get(name).and_then(Value::as_str);
        let algorithm = word("alg").and_then(Algorithm::parse);
        let algorithm =
            algorithm.ok_or(Refusal::Invalid("the token is not signed with an algorithm that is accepted"))?;
        if header.contains_key("crit") {
            return Err(Refusal::Invalid("the token has an extension that is not known"));
        }
        let key = word("kid").ok_or(Refusal::Invalid("the token does not name its key"))?.to_owned();
        let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).map_err(|_| wrong)?;
        let claims = object(claims).ok_or(wrong)?;
        Ok(Self { algorithm, key, signed: signed.as_bytes(), signature, claims })
    }

    /// Hold the claims against what is wanted; `now_s` is the wall clock in seconds.
    pub fn check(&self, wanted: &Wanted, now_s: u64) -> Result<Claims, Refusal> {
        self.check_issuer(&wanted.issuer)?;
        let audience = self.claims.get("aud").or_else(|| self.claims.get("client_id"));
        let is_wanted = |value: &Value| value.as_str().is_some_and(|one| wanted.audiences.iter().any(|it| it == one));
        let has_audience = match audience {
            Some(Value::Array(several)) => several.iter().any(is_wanted),
            Some(one) => is_wanted(one),
            None => false,
        };
        if !has_audience {
            return Err(Refusal::Invalid("the token does not have a valid audience"));
        }
        self.check_times(now_s)
    }

    /// Who says that it has issued the token.
    pub fn issuer(&self) -> Option<&str> {
        self.claims.get("iss").and_then(Value::as_str)
    }

    /// Hold the issuer and the times against what is wanted, for whomever the token is.
    pub fn check_issued(&self, issuer: &str, now_s: u64) -> Result<Claims, Refusal> {
        self.check_issuer(issuer)?;
        self.check_times(now_s)
    }

    fn check_issuer(&self, issuer: &str) -> Result<(), Refusal> {
        if self.issuer() == Some(issuer) {
            return Ok(());
        }
        Err(Refusal::Invalid("the token does not have a valid issuer"))
    }

    fn check_times(&self, now_s: u64) -> Result<Claims, Refusal> {
        let now = now_s as f64;
        let moment = |name: &str| match self.claims.get(name) {
            None => Ok(None),
            Some(value) => value.as_f64().map(Some).ok_or(Refusal::Invalid("a time in the token is not a number")),
        };
        match moment("exp")? {
            Some(end) if end > now => {}
            Some(_) => return Err(EXPIRED),
            None => return Err(Refusal::Invalid("the token does not expire")),
        }
        if moment("nbf")?.is_some_and(|start| start > now) || moment("iat")?.is_some_and(|made| made > now) {
            return Err(Refusal::Invalid("the token is not valid yet"));
        }
        Ok(Claims::new(self.claims.clone(), moment("exp")?.unwrap_or_default() as u64))
    }
}

fn object(part: &str) -> Option<Map<String, Value>> {
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

/// What a token must say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Who has issued it.
    pub issuer: String,
    /// For whom: one of these.
    pub audiences: Vec<String>,
}

/// The claims of a token that was found good.
#[derive(Clone, Debug)]
pub struct Claims {
    all: Map<String, Value>,
    scopes: Vec<String>,
    /// When it ends, seconds since 1970.
    pub until_s: u64,
}

impl Claims {
    /// A claim that is a text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.all.get(name).and_then(Value::as_str)
    }

    fn new(all: Map<String, Value>, until_s: u64) -> Self {
        let scopes: Vec<&str> = match all.get("scope").or_else(|| all.get("scp")) {
            Some(Value::String(text)) => text.split(' ').filter(|scope| !scope.is_empty()).collect(),
            Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        Self { scopes: scopes.into_iter().map(str::to_owned).collect(), all, until_s }
    }

    /// The scopes of a route that it has, as an event has them: JSON, null where the route wants none. It needs one of them.
    pub fn granted(&self, wanted: &[String]) -> Result<String, Refusal> {
        if wanted.is_empty() {
            return Ok("null".into());
        }
        let has = |one: &&String| self.scopes.contains(*one);
        let mut granted = wanted.iter().filter(has).map(String::as_str).peekable();
        granted.peek().ok_or(Refusal::Scope)?;
        let mut json = Json::default();
        json.list(granted);
        Ok(String::from_utf8(json.done()).unwrap_or_default())
    }

    /// As an event has them: every value a text, a list as `[a b]`.
    pub fn json(&self) -> String {
        let texts: Map<String, Value> =
            self.all.iter().map(|(name, value)| (name.clone(), Value::String(claim_text(value)))).collect();
        Value::Object(texts).to_string()
    }
}

/// The issuer of the tokens of a user pool, by the pool's ARN: Cognito's own, unless another one stands for the pool.
pub fn pool_issuer(arn: &str, others: &std::collections::BTreeMap<String, String>) -> Option<String> {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let ["arn", partition, "cognito-idp", region, _, resource] = parts[..] else { return None };
    let pool = resource.strip_prefix("userpool/").filter(|pool| !pool.is_empty())?;
    let domain = if partition == "aws-cn" { "amazonaws.com.cn" } else { "amazonaws.com" };
    let own = || format!("https://cognito-idp.{region}.{domain}/{pool}");
    Some(others.get(pool).cloned().unwrap_or_else(own))
}

fn claim_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(list) => format!("[{}]", list.iter().map(claim_text).collect::<Vec<_>>().join(" ")),
        other => other.to_string(),
    }
}

/// A public key of a key set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its name.
    pub id: String,
    /// The algorithm that it is for; `None`: any.
    pub algorithm: Option<Algorithm>,
    /// The modulus, big-endian.
    pub modulus: Vec<u8>,
    /// The exponent, big-endian.
    pub exponent: Vec<u8>,
}

/// The RSA keys of a key set; others are passed over. The error says why it is none.
pub fn key_set(json: &[u8]) -> Result<Vec<Key>, String> {
    if json.len() > KEY_SET_BYTES_MAX {
        return Err(format!("the key set has {} bytes: at most {KEY_SET_BYTES_MAX} are read", json.len()));
    }
    let set: Value = serde_json::from_slice(json).map_err(|error| format!("the key set is not JSON: {error}"))?;
    let keys = set.get("keys").and_then(Value::as_array).ok_or("the key set has no keys")?;
    let bytes = |value: &Value, name: &str| {
        let text = value.get(name).and_then(Value::as_str)?;
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok()?;
        Some(bytes.into_iter().skip_while(|&byte| byte == 0).collect::<Vec<u8>>())
    };
    let read = |key: &Value| {
        let word = |name: &str| key.get(name).and_then(Value::as_str);
        if word("kty") != Some("RSA") || word("use").is_some_and(|purpose| purpose != "sig") {
            return None;
        }
        let algorithm = match word("alg") {
            Some(name) => Some(Algorithm::parse(name)?),
            None => None,
        };
        Some(Key { id: word("kid")?.to_owned(), algorithm, modulus: bytes(key, "n")?, exponent: bytes(key, "e")? })
    };
    Ok(keys.iter().filter_map(read).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn part(value: &Value) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(value.to_string())
    }

    fn token(header: &Value, claims: &Value) -> String {
        format!("{}.{}.AAAA", part(header), part(claims))
    }

    fn wanted() -> Wanted {
        Wanted { issuer: "https://issuer.example.com".into(), audiences: vec!["shop".into(), "app".into()] }
    }

    fn check(more: &Value) -> Result<Claims, Refusal> {
        let mut claims = json!({"iss": "https://issuer.example.com", "aud": "shop", "exp": 2_000});
        for (name, value) in more.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        let text = token(&json!({"alg": "RS256", "kid": "k"}), &claims);
        Token::parse(&text).unwrap().check(&wanted(), 1_000)
    }

    #[test]
    fn good_claims_are_let_in() {
        for more in [
            json!({}),
            json!({"aud": ["other", "app"]}),
            json!({"aud": null, "client_id": "app"}),
            json!({"nbf": 1_000, "iat": 1_000}),
            json!({"exp": 1_000.5}),
        ] {
            assert!(check(&more).is_ok(), "{more}");
        }
    }

    #[test]
    fn each_wrong_claim_keeps_out() {
        for (more, text) in [
            (json!({"iss": "https://other.example.com"}), "the token does not have a valid issuer"),
            (json!({"iss": null}), "the token does not have a valid issuer"),
            (json!({"aud": "other"}), "the token does not have a valid audience"),
            (json!({"aud": "other", "client_id": "app"}), "the token does not have a valid audience"),
            (json!({"aud": null}), "the token does not have a valid audience"),
            (json!({"exp": 1_000}), "the token has expired"),
            (json!({"exp": null}), "the token does not expire"),
            (json!({"exp": "9999"}), "a time in the token is not a number"),
            (json!({"nbf": 1_001}), "the token is not valid yet"),
            (json!({"iat": 1_001}), "the token is not valid yet"),
        ] {
            assert_eq!(check(&more).map(drop), Err(Refusal::Invalid(text)), "{more}");
        }
    }

    #[test]
    fn what_is_no_token_of_ours_is_refused_before_any_key_is_looked_at() {
        let claims = json!({});
        for (text, is_missing) in [
            (String::new(), true),
            ("Bearer ".into(), true),
            ("a.b".into(), false),
            ("a.b.c".into(), false),
            (token(&json!({"alg": "none", "kid": "k"}), &claims), false),
            (token(&json!({"alg": "HS256", "kid": "k"}), &claims), false),
            (token(&json!({"alg": "ES256", "kid": "k"}), &claims), false),
            (token(&json!({"alg": "RS256"}), &claims), false),
            (token(&json!({"alg": "RS256", "kid": "k", "crit": ["x"]}), &claims), false),
            (format!("Basic {}", token(&json!({"alg": "RS256", "kid": "k"}), &claims)), false),
            (format!("{}.", token(&json!({"alg": "RS256", "kid": "k"}), &claims)), false),
            ("x".repeat(TOKEN_BYTES_MAX + 1), false),
        ] {
            let refusal = Token::parse(&text).map(drop).unwrap_err();
            assert_eq!(refusal == Refusal::Missing, is_missing, "{text}: {refusal:?}");
        }
    }

    #[test]
    fn bearer_may_stand_before_a_token() {
        let text = token(&json!({"alg": "RS256", "kid": "k"}), &json!({}));
        for before in ["", " ", "Bearer ", "bearer  "] {
            assert_eq!(Token::parse(&format!("{before}{text}")).map(|token| token.key), Ok("k".into()), "{before:?}");
        }
    }

    #[test]
    fn a_scope_of_the_route_must_be_there() {
        let claims = check(&json!({"scope": "read write", "n": 1, "groups": ["a", "b"]})).unwrap();
        let scopes = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
        assert_eq!(claims.granted(&[]), Ok("null".into()));
        assert_eq!(claims.granted(&scopes(&["admin", "write", "read"])), Ok(r#"["write","read"]"#.into()));
        assert_eq!(claims.granted(&scopes(&["admin"])), Err(Refusal::Scope));
        let read: Value = serde_json::from_str(&claims.json()).unwrap();
        assert_eq!((&read["n"], &read["groups"]), (&json!("1"), &json!("[a b]")));
    }

    #[test]
    fn a_key_set_has_the_rsa_keys_for_signatures() {
        let key = |more: Value| {
            let mut key = json!({"kty": "RSA", "kid": "k", "n": "AQAB", "e": "AQAB"});
            key.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            key
        };
        let set = json!({"keys": [key(json!({})), key(json!({"alg": "RS384"})), key(json!({"use": "enc"})),
                                  key(json!({"kty": "EC"})), key(json!({"alg": "HS256"}))]});
        let keys = key_set(set.to_string().as_bytes()).unwrap();
        let algorithms: Vec<_> = keys.iter().map(|key| key.algorithm).collect();
        assert_eq!(algorithms, [None, Some(Algorithm::Rs384)]);
        assert_eq!(keys[0].exponent, [1, 0, 1]);
        assert!(key_set(b"[]").is_err() && key_set(&vec![b' '; KEY_SET_BYTES_MAX + 1]).is_err());
    }
}
