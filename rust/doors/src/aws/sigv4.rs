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

const TOKEN: &str = "x-amz-security-token";
const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const CREDENTIAL: &str = "X-Amz-Credential";
/// What a query string has that is signed by version 2.
const KEY_OF_2: &str = "AWSAccessKeyId=";
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
    /// So does that of a presigned URL, or it says what none may say.
    InUrl(String),
    /// Headers came that are not signed, and have to be.
    NotSigned(String),
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
    /// The time of its presigned URL is over.
    Over(Over),
}

/// A presigned URL whose time is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Over {
    /// In the words of most services.
    pub text: String,
    /// How long it held.
    pub seconds: i64,
    /// Until when, milliseconds since 1970.
    pub until_ms: i64,
    /// When it came, milliseconds since 1970.
    pub now_ms: i64,
}

impl Refused {
    /// What most services say of headers that are not signed.
    pub fn of_unsigned(headers: &str) -> String {
        let first = headers.split(", ").next().unwrap_or_default();
        format!("'{first}' must be a 'SignedHeader' in the AWS Authorization.")
    }
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
    /// What a presigned URL tells of the body.
    content: Option<String>,
    /// A session token was sent with it.
    pub has_token: bool,
    /// It stands in the query string: the URL is presigned.
    pub is_in_query: bool,
}

/// Read a request's signature, wherever it stands.
pub fn read(given: Given<'_>) -> Result<Signature, Refused> {
    let header = given.headers.get("authorization").map(|value| value.to_str().unwrap_or_default());
    let signature = match (header, is_presigned(given.query)) {
        (Some(_), true) => Err(Refused::Both),
        (Some(header), false) => from_header(header, given.headers),
        (None, true) => from_query(given.query),
        (None, false) if given.query.contains(KEY_OF_2) => {
            Err(Refused::Unsupported("Signature Version 2 is not supported: sign with Signature Version 4"))
        }
        (None, false) => Err(Refused::Missing),
    }?;
    let mut names = given.query.split('&').map(|pair| pair.split('=').next().unwrap_or_default());
    let has_token = given.headers.contains_key(TOKEN)
        || signature.is_in_query && names.any(|name| name.eq_ignore_ascii_case(TOKEN));
    Ok(Signature { has_token, ..signature })
}

/// Whether a signature stands in the query string.
pub fn is_presigned(query: &str) -> bool {
    query.contains("X-Amz-Algorithm=") || query.contains("X-Amz-Signature=")
}

/// For which service a request says that it is signed, whatever else its signature says.
pub fn service_of(given: Given<'_>) -> Option<String> {
    let header = given.headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (algorithm, rest) = header.split_once(' ').unwrap_or_default();
    // Version 2, which says of no service; boto3 presigns so for S3 if it is told nothing else. Those of other services say their version.
    if algorithm == "AWS" || given.query.contains(KEY_OF_2) && !given.query.contains("SignatureVersion=") {
        return Some("s3".to_owned());
    }
    let credential = in_query(given.query, CREDENTIAL).or_else(|| field(rest, "Credential").map(str::to_owned))?;
    credential.rsplit('/').nth(1).map(str::to_owned)
}

/// What a header says by a name.
fn field<'h>(header: &'h str, name: &str) -> Option<&'h str> {
    header.split(',').find_map(|part| part.trim().strip_prefix(name).and_then(|part| part.strip_prefix('=')))
}

/// What a query string says by a name. Of two with one name the last one counts.
fn in_query(query: &str, name: &str) -> Option<String> {
    let mut pairs = query.rsplit('&').filter_map(|pair| pair.split_once('='));
    let value = pairs.find(|(key, _)| *key == name).map(|(_, value)| value)?;
    percent_decode_str(value).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

fn from_header(header: &str, headers: &HeaderMap) -> Result<Signature, Refused> {
    let (algorithm, rest) = header.split_once(' ').unwrap_or((header, ""));
    check_algorithm(algorithm)?;
    let needed = |name: &str| {
        field(rest, name)
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
    let value = |name: &str| in_query(query, name);
    let needed = |name: &str| {
        value(name).ok_or_else(|| Refused::InUrl(format!("AWS query-string parameters must include '{name}'.")))
    };
    check_algorithm(&needed("X-Amz-Algorithm")?)?;
    let (credential, signed) = (needed(CREDENTIAL)?, needed("X-Amz-SignedHeaders")?);
    let expires = seconds_of(&needed("X-Amz-Expires")?, credential.ends_with("/s3/aws4_request"))?;
    let signature = needed("X-Amz-Signature")?;
    let signature = signature_of(&credential, &signed, &signature, needed("X-Amz-Date")?, Some(expires))?;
    let content = value("X-Amz-Content-Sha256").or_else(|| value("x-amz-content-sha256"));
    if content.as_deref().is_some_and(|content| content.starts_with("STREAMING-")) {
        return Err(Refused::Unsupported("a body in chunks of its own is not served by a presigned URL"));
    }
    Ok(Signature { content, ..signature })
}

/// How long a URL holds. S3 says what is wrong, and takes 0.
fn seconds_of(text: &str, is_s3: bool) -> Result<i64, Refused> {
    let seconds: Option<i64> = text.parse().ok();
    let why = match seconds {
        Some(seconds) if (i64::from(!is_s3)..=EXPIRES_MAX).contains(&seconds) => return Ok(seconds),
        _ if !is_s3 => format!("X-Amz-Expires must be between 1 and {EXPIRES_MAX} seconds."),
        None => "X-Amz-Expires should be a number".to_owned(),
        Some(..0) => "X-Amz-Expires must be non-negative".to_owned(),
        Some(_) => format!(
            "X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than {EXPIRES_MAX} seconds"
        ),
    };
    Err(Refused::InUrl(why))
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
        content: None,
        has_token: false,
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
        self.verify_over(signature, given, (secret, &content(signature, given)), now_ms)?;
        check_body(signature, given)
    }

    /// The same of the head alone, whatever its body is (`check_body`). False: what was signed is known when the body is there.
    pub fn verify_head(
        &self,
        signature: &Signature,
        given: Given<'_>,
        secret: &str,
        now_ms: i64,
    ) -> Result<bool, Refused> {
        let Some(content) = told_content(signature, given.headers) else { return Ok(false) };
        self.verify_over(signature, given, (secret, content), now_ms).map(|()| true)
    }

    fn verify_over(
        &self,
        signature: &Signature,
        given: Given<'_>,
        (secret, content): (&str, &str),
        now_ms: i64,
    ) -> Result<(), Refused> {
        check_time(signature, now_ms)?;
        check_signed(signature, given.headers)?;
        let canonical = canonical_request(signature, given, content);
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

/// Whether a signature is of now.
pub fn check_time(signature: &Signature, now_ms: i64) -> Result<(), Refused> {
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
        let text = |ago: String| format!("Signature expired: {stamp} is now earlier than {earliest} ({now} - {ago})");
        return Err(match signature.expires {
            None => Refused::Expired(text("15 min.".to_owned())),
            Some(seconds) => {
                Refused::Over(Over { text: text(format!("{seconds} s")), seconds, until_ms: sent + life, now_ms })
            }
        });
    }
    Ok(())
}

/// The host is signed, and every `x-amz-` header that came. A session token may be added afterwards: it says nothing of the request.
fn check_signed(signature: &Signature, headers: &HeaderMap) -> Result<(), Refused> {
    let is_signed = |name: &str| signature.signed_headers.iter().any(|signed| signed == name);
    let missing = headers
        .keys()
        .map(http::HeaderName::as_str)
        .filter(|name| name.starts_with("x-amz-") && *name != TOKEN && !is_signed(name));
    let missing: Vec<&str> = missing.collect();
    if !is_signed("host") && !is_signed(":authority") {
        let text = "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.";
        return Err(Refused::Incomplete(text.into()));
    }
    if missing.is_empty() {
        return Ok(());
    }
    Err(Refused::NotSigned(missing.join(", ")))
}

const UNSIGNED: &str = "UNSIGNED-PAYLOAD";

/// What the head tells of the body: its hash, or that it is not signed.
fn told_content<'g>(signature: &'g Signature, headers: &'g HeaderMap) -> Option<&'g str> {
    let is_unsigned = signature.is_in_query && signature.service == "s3";
    sent_content(headers).or(is_unsigned.then(|| signature.content.as_deref().unwrap_or(UNSIGNED)))
}

fn sent_content(headers: &HeaderMap) -> Option<&str> {
    headers.get("x-amz-content-sha256").and_then(|value| value.to_str().ok())
}

/// What was signed of the body.
fn content(signature: &Signature, given: Given<'_>) -> String {
    told_content(signature, given.headers).map_or_else(|| hex(&Sha256::digest(given.body)), str::to_owned)
}

/// Whether the body has the hash that the head tells, if it tells one.
pub fn check_body(signature: &Signature, given: Given<'_>) -> Result<(), Refused> {
    match told_content(signature, given.headers) {
        Some(sent) if sent == UNSIGNED || sent.starts_with("STREAMING-") => Ok(()),
        Some(sent) if sent != hex(&Sha256::digest(given.body)) => Err(Refused::Wrong),
        _ => Ok(()),
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
mod tests;
