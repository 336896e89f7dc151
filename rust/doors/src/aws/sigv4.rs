//! Signature Version 4: what a request's signature says, and whether it is right.

use std::collections::HashMap;
use std::sync::Mutex;

use hmac::{Hmac, KeyInit, Mac};
use http::HeaderMap;
use percent_encoding::percent_decode_str;
use sha2::{Digest, Sha256};

use crate::aws::model::TimeFormat;
use crate::aws::protocol::time;
use forebay_engine::base::bytes::{hex, unhex};

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// How far a client's clock may be off.
const SKEW_MS: i64 = 15 * 60 * 1000;
/// The longest life of a presigned URL, seconds.
const EXPIRES_MAX: i64 = 604_800;
/// Most derived keys that are remembered.
const DERIVED_MAX: usize = 1024;
/// Most characters of an access key's id, and of each part of its scope: ids are kept, and AWS's have at most 128.
const NAME_MAX: usize = 128;
/// Most headers of a signature.
const SIGNED_MAX: usize = 100;

/// A request as it came.
#[derive(Clone, Copy, Debug)]
pub struct Given<'r> {
    /// HTTP method.
    pub method: &'r str,
    /// The path as it came.
    pub path: &'r str,
    /// The query string as it came.
    pub query: &'r str,
    /// The headers.
    pub headers: &'r HeaderMap,
    /// `Host`, or HTTP/2's `:authority`.
    pub authority: &'r str,
    /// The body as it came.
    pub body: &'r [u8],
}

/// Why a request is not let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It is not signed.
    Missing,
    /// The signature lacks something, which the text names.
    Incomplete(String),
    /// It is signed in a way that we do not take.
    Unsupported(&'static str),
    /// It is signed twice.
    Both,
    /// Nobody has the key.
    UnknownKey,
    /// The signature is not that of the request.
    Wrong,
    /// Its time is not now.
    Expired(String),
}

/// What a signature says.
#[derive(Clone, Debug)]
pub struct Signature {
    /// Access key id.
    pub key_id: String,
    /// Region of its scope.
    pub region: String,
    /// Service of its scope.
    pub service: String,
    day: String,
    signed_headers: Vec<String>,
    digits: String,
    /// As it was sent, `20260101T000000Z`.
    stamp: String,
    expires: Option<i64>,
    /// It stands in the query string: the URL is presigned.
    pub is_in_query: bool,
}

/// Read a request's signature, wherever it stands.
pub fn read(given: Given<'_>) -> Result<Signature, Refused> {
    let in_query = given.query.contains("X-Amz-Algorithm=") || given.query.contains("X-Amz-Signature=");
    let header = given.headers.get("authorization").map(|value| value.to_str().unwrap_or_default());
    match (header, in_query) {
        (Some(_), true) => Err(Refused::Both),
        (Some(header), false) => from_header(header, given.headers),
        (None, true) => from_query(given.query),
        (None, false) if given.query.contains("AWSAccessKeyId=") => {
            Err(Refused::Unsupported("Signature Version 2 is not supported: sign with Signature Version 4"))
        }
        (None, false) => Err(Refused::Missing),
    }
}

fn from_header(header: &str, headers: &HeaderMap) -> Result<Signature, Refused> {
    let (algorithm, rest) = header.split_once(' ').unwrap_or((header, ""));
    check_algorithm(algorithm)?;
    let field = |name: &str| {
        rest.split(',').find_map(|part| part.trim().strip_prefix(name).and_then(|part| part.strip_prefix('=')))
    };
    let needed = |name: &str| {
        field(name)
            .filter(|value| !value.is_empty())
            .ok_or_else(|| Refused::Incomplete(format!("Authorization header requires '{name}' parameter.")))
    };
    let (credential, signed, signature) = (needed("Credential")?, needed("SignedHeaders")?, needed("Signature")?);
    let stamp = match headers.get("x-amz-date").and_then(|value| value.to_str().ok()) {
        Some(stamp) => stamp.to_owned(),
        None => stamp_of_date(headers)?,
    };
    signature_of(credential, signed, signature, stamp, None)
}

/// The time of a request without `X-Amz-Date`.
fn stamp_of_date(headers: &HeaderMap) -> Result<String, Refused> {
    let date = headers.get("date").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let missing = || {
        Refused::Incomplete(
            "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.".into(),
        )
    };
    if stamp_ms(date).is_some() {
        return Ok(date.to_owned());
    }
    let millis = time::read(date, TimeFormat::Http).map_err(|_| missing())?;
    Ok(stamp_text(millis))
}

fn from_query(query: &str) -> Result<Signature, Refused> {
    let value = |name: &str| {
        // Of two with one name the last one counts.
        let mut pairs = query.rsplit('&').filter_map(|pair| pair.split_once('='));
        let value = pairs.find(|(key, _)| *key == name).map(|(_, value)| value)?;
        percent_decode_str(value).decode_utf8().ok().map(std::borrow::Cow::into_owned)
    };
    let needed = |name: &str| {
        value(name).ok_or_else(|| Refused::Incomplete(format!("AWS query-string parameters must include '{name}'.")))
    };
    check_algorithm(&needed("X-Amz-Algorithm")?)?;
    let expires = needed("X-Amz-Expires")?.parse().ok().filter(|seconds| (1..=EXPIRES_MAX).contains(seconds));
    let expires = expires
        .ok_or_else(|| Refused::Incomplete(format!("X-Amz-Expires must be between 1 and {EXPIRES_MAX} seconds.")))?;
    let signature = needed("X-Amz-Signature")?;
    let (credential, signed) = (needed("X-Amz-Credential")?, needed("X-Amz-SignedHeaders")?);
    signature_of(&credential, &signed, &signature, needed("X-Amz-Date")?, Some(expires))
}

fn check_algorithm(algorithm: &str) -> Result<(), Refused> {
    match algorithm {
        ALGORITHM => Ok(()),
        "AWS4-ECDSA-P256-SHA256" => Err(Refused::Unsupported("SigV4A is not supported: sign with AWS4-HMAC-SHA256")),
        "AWS" => Err(Refused::Unsupported("Signature Version 2 is not supported: sign with Signature Version 4")),
        _ => Err(Refused::Unsupported("the Authorization header must begin with AWS4-HMAC-SHA256")),
    }
}

fn signature_of(
    credential: &str,
    signed: &str,
    signature: &str,
    stamp: String,
    expires: Option<i64>,
) -> Result<Signature, Refused> {
    // An access key id may hold slashes; the scope has four parts.
    let parts: Vec<&str> = credential.rsplitn(5, '/').collect();
    let [terminator, service, region, day, key_id] = parts[..] else {
        return Err(Refused::Incomplete(
            "Credential must have 5 parts: access key id, day, region, service and 'aws4_request'.".into(),
        ));
    };
    let is_scope = terminator == "aws4_request" && day.len() == 8 && !key_id.is_empty() && !service.is_empty();
    if !is_scope || stamp_ms(&stamp).is_none() || !stamp.starts_with(day) {
        return Err(Refused::Incomplete(
            "Credential must be scoped to the day of the request and to 'aws4_request'.".into(),
        ));
    }
    if [key_id, region, service].iter().any(|name| name.len() > NAME_MAX) {
        let text = format!("an access key id, a region and a service have at most {NAME_MAX} characters each");
        return Err(Refused::Incomplete(text));
    }
    let signed_headers: Vec<String> = signed.split(';').map(str::to_ascii_lowercase).collect();
    if signed_headers.len() > SIGNED_MAX {
        return Err(Refused::Incomplete(format!("at most {SIGNED_MAX} headers can be signed")));
    }
    Ok(Signature {
        key_id: key_id.to_owned(),
        region: region.to_owned(),
        service: service.to_owned(),
        day: day.to_owned(),
        signed_headers,
        digits: signature.to_owned(),
        stamp,
        is_in_query: expires.is_some(),
        expires,
    })
}

/// A key, after the secret that it was derived from: an access key's secret may be changed.
type Derived = (Box<str>, [u8; 32]);

/// Checks signatures.
#[derive(Debug, Default)]
pub struct Verifier {
    /// By the access key's id and what the key was derived for.
    derived: Mutex<HashMap<String, Derived>>,
}

impl Verifier {
    /// Whether a request was signed with a secret, and now.
    pub fn verify(&self, signature: &Signature, given: Given<'_>, secret: &str, now_ms: i64) -> Result<(), Refused> {
        check_time(signature, now_ms)?;
        check_signed(signature, given.headers)?;
        let content = payload_hash(signature, given)?;
        let canonical = canonical_request(signature, given, &content);
        let text = string_to_sign(signature, &canonical);
        let key = self.derive(signature, secret);
        let sent = unhex(&signature.digits).ok_or(Refused::Wrong)?;
        let mut mac = keyed(&key);
        mac.update(text.as_bytes());
        mac.verify_slice(&sent).map_err(|_| Refused::Wrong)
    }

    fn derive(&self, signature: &Signature, secret: &str) -> [u8; 32] {
        let Signature { key_id, day, region, service, .. } = signature;
        // Only the id may hold slashes.
        let name = format!("{day}/{region}/{service}/{key_id}");
        let mut derived = self.derived.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some((_, key)) = derived.get(&name).filter(|(known, _)| **known == *secret) {
            return *key;
        }
        let mut key = sign(format!("AWS4{secret}").as_bytes(), day);
        for part in [region, service, "aws4_request"] {
            key = sign(&key, part);
        }
        if derived.len() >= DERIVED_MAX {
            derived.clear();
        }
        derived.insert(name, (secret.into(), key));
        key
    }
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    // A key of any length is one.
    Hmac::<Sha256>::new_from_slice(key).unwrap_or_else(|_| Hmac::<Sha256>::new(&[0_u8; 64].into()))
}

fn sign(key: &[u8], text: &str) -> [u8; 32] {
    let mut mac = keyed(key);
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().into()
}

fn check_time(signature: &Signature, now_ms: i64) -> Result<(), Refused> {
    let Some(sent) = stamp_ms(&signature.stamp) else { return Err(Refused::Wrong) };
    let (now, stamp) = (stamp_text(now_ms), &signature.stamp);
    if sent > now_ms + SKEW_MS {
        let latest = stamp_text(now_ms + SKEW_MS);
        return Err(Refused::Expired(format!(
            "Signature not yet current: {stamp} is still later than {latest} ({now} + 15 min.)"
        )));
    }
    let life = signature.expires.map_or(SKEW_MS, |seconds| seconds * 1000);
    if sent + life < now_ms {
        let earliest = stamp_text(now_ms - life);
        return Err(Refused::Expired(match signature.expires {
            None => format!("Signature expired: {stamp} is now earlier than {earliest} ({now} - 15 min.)"),
            Some(seconds) => format!("Signature expired: {stamp} is now earlier than {earliest} ({now} - {seconds} s)"),
        }));
    }
    Ok(())
}

/// The host is signed, and every `x-amz-` header that came. A session token may be added afterwards: it says nothing of the request.
fn check_signed(signature: &Signature, headers: &HeaderMap) -> Result<(), Refused> {
    let is_signed = |name: &str| signature.signed_headers.iter().any(|signed| signed == name);
    let missing = headers
        .keys()
        .map(http::HeaderName::as_str)
        .find(|name| name.starts_with("x-amz-") && *name != "x-amz-security-token" && !is_signed(name));
    match missing {
        _ if !is_signed("host") && !is_signed(":authority") => {
            Err(Refused::Incomplete("'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.".into()))
        }
        Some(name) => Err(Refused::Incomplete(format!("'{name}' must be a 'SignedHeader' in the AWS Authorization."))),
        None => Ok(()),
    }
}

/// The hash of the body, which must be right where the header has one.
fn payload_hash(signature: &Signature, given: Given<'_>) -> Result<String, Refused> {
    let sent = given.headers.get("x-amz-content-sha256").and_then(|value| value.to_str().ok());
    match sent {
        Some(sent) if sent == "UNSIGNED-PAYLOAD" || sent.starts_with("STREAMING-") => Ok(sent.to_owned()),
        Some(sent) => {
            let own = hex(&Sha256::digest(given.body));
            if own == sent {
                Ok(own)
            } else {
                Err(Refused::Wrong)
            }
        }
        None if signature.is_in_query && signature.service == "s3" => Ok("UNSIGNED-PAYLOAD".into()),
        None => Ok(hex(&Sha256::digest(given.body))),
    }
}

fn canonical_request(signature: &Signature, given: Given<'_>, content: &str) -> String {
    let path = if signature.service == "s3" { given.path.to_owned() } else { encode_path(given.path) };
    let mut text = format!("{}\n{path}\n{}\n", given.method, canonical_query(given.query));
    for name in &signature.signed_headers {
        text.push_str(name);
        text.push(':');
        if name == "host" || name == ":authority" {
            text.push_str(given.authority);
        } else {
            let values = given.headers.get_all(name.as_str()).iter();
            let values = values.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
            let trimmed = values.map(|value| value.split_whitespace().collect::<Vec<_>>().join(" "));
            text.push_str(&trimmed.collect::<Vec<_>>().join(","));
        }
        text.push('\n');
    }
    text.push('\n');
    text.push_str(&signature.signed_headers.join(";"));
    text.push('\n');
    text.push_str(content);
    text
}

fn string_to_sign(signature: &Signature, canonical: &str) -> String {
    let Signature { stamp, day, region, service, .. } = signature;
    let digest = hex(&Sha256::digest(canonical.as_bytes()));
    format!("{ALGORITHM}\n{stamp}\n{day}/{region}/{service}/aws4_request\n{digest}")
}

/// A path without dot segments, percent-encoded as a whole once more.
fn encode_path(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                kept.pop();
            }
            part => kept.push(part),
        }
    }
    let mut encoded = String::with_capacity(path.len() + 8);
    for part in &kept {
        encoded.push('/');
        encode(part.as_bytes(), &mut encoded);
    }
    if encoded.is_empty() || path.ends_with('/') || path.ends_with("/.") || path.ends_with("/..") {
        encoded.push('/');
    }
    encoded
}

fn canonical_query(query: &str) -> String {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let mut encoded: Vec<(String, String)> = pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .filter(|(name, _)| *name != "X-Amz-Signature")
        .map(|(name, value)| (encode_again(name), encode_again(value)))
        .collect();
    encoded.sort();
    encoded.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

fn encode_again(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    encode(&percent_decode_str(text).collect::<Vec<u8>>(), &mut encoded);
    encoded
}

fn encode(bytes: &[u8], into: &mut String) {
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            into.push(char::from(byte));
        } else {
            into.push('%');
            for digit in [byte >> 4, byte & 15] {
                into.push(char::from(b"0123456789ABCDEF"[usize::from(digit)]));
            }
        }
    }
}

/// `20260101T000000Z` as milliseconds since 1970.
fn stamp_ms(stamp: &str) -> Option<i64> {
    let bytes = stamp.as_bytes();
    let is_framed = bytes.len() == 16 && stamp.is_ascii() && bytes[8] == b'T' && bytes[15] == b'Z';
    if !is_framed {
        return None;
    }
    let part = |from: usize, to: usize| &stamp[from..to];
    let (date, clock) = ([part(0, 4), part(4, 6), part(6, 8)], [part(9, 11), part(11, 13), part(13, 15)]);
    time::read(&format!("{}T{}Z", date.join("-"), clock.join(":")), TimeFormat::Iso).ok()
}

fn stamp_text(millis: i64) -> String {
    time::write(millis - millis.rem_euclid(1000), TimeFormat::Iso).replace(['-', ':'], "")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The official suite: requests as they came, and the signatures that are right.
    const SUITE: &str = include_str!("../../tests/vectors/sigv4.json");
    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

    struct Case {
        method: String,
        path: String,
        query: String,
        headers: HeaderMap,
        authority: String,
        body: String,
    }

    impl Case {
        fn of(text: &str) -> Self {
            let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
            let mut lines = head.lines();
            let first = lines.next().unwrap();
            let (method, rest) = first.split_once(' ').unwrap();
            let (target, _) = rest.rsplit_once(' ').unwrap();
            let (path, query) = target.split_once('?').unwrap_or((target, ""));
            let mut headers: Vec<(String, String)> = Vec::new();
            for line in lines {
                match line.strip_prefix([' ', '\t']) {
                    // A folded line is not a header of its own. What suits here suits a server that unfolds.
                    Some(more) => {
                        let (_, value) = headers.last_mut().unwrap();
                        value.push(' ');
                        value.push_str(more);
                    }
                    None => {
                        let (name, value) = line.split_once(':').unwrap();
                        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
                    }
                }
            }
            let authority = headers.iter().find(|(name, _)| name == "host").unwrap().1.clone();
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                let name = http::HeaderName::from_bytes(name.as_bytes()).unwrap();
                map.append(name, http::HeaderValue::from_bytes(value.as_bytes()).unwrap());
            }
            let (method, path, query) = (method.to_owned(), path.to_owned(), query.to_owned());
            Self { method, path, query, headers: map, authority, body: body.to_owned() }
        }

        fn given(&self) -> Given<'_> {
            Given {
                method: &self.method,
                path: &self.path,
                query: &self.query,
                headers: &self.headers,
                authority: &self.authority,
                body: self.body.as_bytes(),
            }
        }
    }

    #[test]
    fn the_official_suite_is_let_in_and_a_changed_request_is_not() {
        let suite: serde_json::Value = serde_json::from_str(SUITE).unwrap();
        let cases = suite["cases"].as_object().unwrap();
        assert!(cases.len() >= 30);
        for (name, case) in cases {
            let mut request = Case::of(case["sreq"].as_str().unwrap());
            let authorization = case["authz"].as_str().unwrap();
            request.headers.insert("authorization", authorization.parse().unwrap());
            let signature = read(request.given()).unwrap();
            let now = stamp_ms("20150830T123600Z").unwrap();
            let content = payload_hash(&signature, request.given()).unwrap();
            let canonical = canonical_request(&signature, request.given(), &content);
            assert_eq!(canonical, case["creq"].as_str().unwrap(), "{name}");
            assert_eq!(string_to_sign(&signature, &canonical), case["sts"].as_str().unwrap(), "{name}");
            let verifier = Verifier::default();
            assert_eq!(verifier.verify(&signature, request.given(), SECRET, now), Ok(()), "{name}");
            let other = Given { body: b"other", ..request.given() };
            assert_eq!(verifier.verify(&signature, other, SECRET, now), Err(Refused::Wrong), "{name}");
            // The secret of a key may be changed while what was derived from the old one is remembered.
            assert_eq!(verifier.verify(&signature, request.given(), "other", now), Err(Refused::Wrong), "{name}");
            assert_eq!(verifier.verify(&signature, request.given(), SECRET, now), Ok(()), "{name}");
            let late = now + SKEW_MS + 1000;
            assert!(matches!(verifier.verify(&signature, request.given(), SECRET, late), Err(Refused::Expired(_))));
        }
    }

    #[test]
    fn a_header_that_was_added_on_the_way_is_refused() {
        let suite: serde_json::Value = serde_json::from_str(SUITE).unwrap();
        let case = &suite["cases"]["get-vanilla"];
        let mut request = Case::of(case["req"].as_str().unwrap());
        request.headers.insert("authorization", case["authz"].as_str().unwrap().parse().unwrap());
        request.headers.insert("x-amz-target", "AmazonSQS.PurgeQueue".parse().unwrap());
        let signature = read(request.given()).unwrap();
        let now = stamp_ms("20150830T123600Z").unwrap();
        let refused = Verifier::default().verify(&signature, request.given(), SECRET, now);
        assert!(matches!(refused, Err(Refused::Incomplete(_))), "{refused:?}");
    }

    #[test]
    fn what_is_no_signature_is_told_apart() {
        let refused = |header: Option<&str>, query: &str| {
            let mut headers = HeaderMap::new();
            if let Some(header) = header {
                headers.insert("authorization", header.parse().unwrap());
            }
            let given = Given { method: "GET", path: "/", query, headers: &headers, authority: "h", body: b"" };
            read(given).unwrap_err()
        };
        assert_eq!(refused(None, ""), Refused::Missing);
        assert_eq!(refused(Some("AWS4-HMAC-SHA256 x"), "X-Amz-Signature=1"), Refused::Both);
        assert!(matches!(refused(Some("AWS a:b"), ""), Refused::Unsupported(_)));
        assert!(matches!(refused(Some("AWS4-HMAC-SHA256 Credential=a"), ""), Refused::Incomplete(_)));
        assert!(matches!(refused(None, "X-Amz-Algorithm=AWS4-HMAC-SHA256"), Refused::Incomplete(_)));
    }

    const MUTATIONS: usize = 100_000;

    struct Random(u64);

    impl Random {
        fn below(&mut self, most: usize) -> usize {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) as usize % most.max(1)
        }

        /// A text with one letter changed, left out or put in.
        fn changed(&mut self, text: &str) -> String {
            let mut letters: Vec<char> = text.chars().collect();
            let at = self.below(letters.len());
            let letter = char::from(b"aZ0 /%=&;,:~\x7e+\"A4"[self.below(17)]);
            match self.below(3) {
                0 if !letters.is_empty() => letters[at] = letter,
                1 if !letters.is_empty() => drop(letters.remove(at)),
                _ => letters.insert(at, letter),
            }
            letters.into_iter().collect()
        }

        fn mutate(&mut self, request: &mut Case) {
            match self.below(6) {
                0 => request.method = ["GET", "POST", "PUT", "get", ""][self.below(5)].into(),
                1 => request.path = self.changed(&request.path),
                2 => request.query = self.changed(&request.query),
                3 => request.body = self.changed(&request.body),
                4 => request.authority = self.changed(&request.authority),
                _ => {
                    let names: Vec<http::HeaderName> = request.headers.keys().cloned().collect();
                    let name = names[self.below(names.len())].clone();
                    let value = self.changed(&String::from_utf8_lossy(request.headers[&name].as_bytes()));
                    if let Ok(value) = http::HeaderValue::from_str(&value) {
                        request.headers.insert(name, value);
                    }
                }
            }
        }
    }

    /// What a signature is made over, and the signature. The key's id only says whose secret is looked up.
    fn signed(request: &Case) -> Option<(String, String)> {
        let signature = read(request.given()).ok()?;
        let content = payload_hash(&signature, request.given()).ok()?;
        let canonical = canonical_request(&signature, request.given(), &content);
        let text = string_to_sign(&signature, &canonical);
        Some((text, signature.digits.to_ascii_lowercase()))
    }

    #[test]
    fn of_a_hundred_thousand_changed_requests_only_those_that_say_the_same_are_let_in() {
        let suite: serde_json::Value = serde_json::from_str(SUITE).unwrap();
        let cases: Vec<&serde_json::Value> = suite["cases"].as_object().unwrap().values().collect();
        let (mut random, verifier, mut refused) = (Random(11), Verifier::default(), 0);
        let now = stamp_ms("20150830T123600Z").unwrap();
        for round in 0..MUTATIONS {
            let case = cases[random.below(cases.len())];
            let mut request = Case::of(case["sreq"].as_str().unwrap());
            request.headers.insert("authorization", case["authz"].as_str().unwrap().parse().unwrap());
            let before = signed(&request);
            random.mutate(&mut request);
            let verdict =
                read(request.given()).and_then(|signature| verifier.verify(&signature, request.given(), SECRET, now));
            if verdict.is_ok() {
                assert_eq!(signed(&request), before, "{round}: {:?}", request.given());
            } else {
                refused += 1;
            }
        }
        assert!(refused > MUTATIONS / 2, "{refused}");
    }
}
