//! Who has signed a request: Signature Version 4, with an access key of the app. Where there are no keys, nobody is let in.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use forebay_core::gateway::answer::Answer;
use forebay_core::gateway::request::Authorized;
use forebay_core::gateway::rest::failure::{Failure, ResponseType};

use crate::aws::keys::{Found, Key, Keys};
use crate::aws::sigv4::{self, Given, Refused, Signature, Verifier};
use crate::clock::now_ms;

/// The service for which requests of APIs are signed.
pub(super) const OF_APIS: &str = "execute-api";
/// The service for which requests of functions' URLs are signed.
pub(super) const OF_URLS: &str = "lambda";
/// Methods that only read.
const READING: [&str; 3] = ["GET", "HEAD", "OPTIONS"];

/// The access keys of the app.
#[derive(Debug)]
pub(super) struct Signers {
    keys: Keys,
    verifier: Verifier,
}

/// Why a request is not let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unsigned {
    /// Its signature is none, or a wrong one.
    Refused(Refused),
    /// It is signed for another service.
    Scope(&'static str),
    /// The key that signed may not do this.
    Forbidden(String),
}

impl Signers {
    pub(super) fn new(keys: Option<PathBuf>) -> Self {
        Self { keys: Keys::at(keys), verifier: Verifier::default() }
    }

    /// Who has signed a request for a service.
    pub(super) fn signer(&self, given: Given<'_>, service: &'static str) -> Result<Authorized, Unsigned> {
        let (signature, key) = self.claimed(given, service)?;
        self.verifier.verify(&signature, given, &key.secret, now_ms() as i64).map_err(Unsigned::Refused)?;
        let is_of_service = key.services.is_empty() || key.services.iter().any(|allowed| allowed == service);
        if !is_of_service || key.read_only && !READING.contains(&given.method) {
            return Err(Unsigned::Forbidden(key.id.clone()));
        }
        Ok(Authorized::Iam { access_key: key.id.clone() })
    }

    /// Refuse by its head alone a request that nobody can have signed: its body is not worth reading. A signature in which the body's hash
    /// stands is verified here.
    pub(super) fn check_head(&self, given: Given<'_>, service: &'static str) -> Result<(), Unsigned> {
        let (signature, key) = self.claimed(given, service)?;
        let now_ms = now_ms() as i64;
        let in_time = sigv4::check_time(&signature, now_ms);
        let right = in_time.and_then(|()| self.verifier.verify_head(&signature, given, &key.secret, now_ms));
        right.map(drop).map_err(Unsigned::Refused)
    }

    /// A request's signature for a service, and the key that it names.
    fn claimed(&self, given: Given<'_>, service: &'static str) -> Result<(Signature, Arc<Key>), Unsigned> {
        let signature = sigv4::read(given).map_err(Unsigned::Refused)?;
        if signature.service != service {
            return Err(Unsigned::Scope(service));
        }
        let Found::Key(key) = self.keys.find(&signature.key_id) else {
            return Err(Unsigned::Refused(Refused::UnknownKey));
        };
        // Keys here are lasting ones: a token of a session is nobody's. The chunks of a streamed body are signed one by one, which
        // nobody would verify, and a body that is not signed could be anybody's.
        if signature.has_token {
            return Err(Unsigned::Refused(Refused::UnknownKey));
        }
        let is_unsigned = |word: &[u8]| word == b"UNSIGNED-PAYLOAD" || word.starts_with(b"STREAMING-");
        if given.headers.get("x-amz-content-sha256").is_some_and(|value| is_unsigned(value.as_bytes())) {
            return Err(Unsigned::Refused(Refused::Wrong));
        }
        // A signature is of the path without dot segments and without empty ones, and a route is found by the path as it came.
        if !is_as_signed(given.path) {
            return Err(Unsigned::Refused(Refused::Wrong));
        }
        Ok((signature, key))
    }
}

/// Whether a path has nothing that a signature passes over.
fn is_as_signed(path: &str) -> bool {
    let inner = path.strip_prefix('/').unwrap_or(path);
    let is_passed_over = |part: &str| matches!(part, "" | "." | "..");
    inner.is_empty() || !inner.strip_suffix('/').unwrap_or(inner).split('/').any(is_passed_over)
}

impl Unsigned {
    /// What a REST API says; `arn` names the method.
    pub(super) fn failure(&self, arn: &str) -> Failure {
        let invalid = |text: &str| Failure::new(ResponseType::InvalidSignature).message(text);
        match self {
            Self::Refused(Refused::Missing) => Failure::new(ResponseType::MissingAuthenticationToken),
            Self::Refused(Refused::Incomplete(text) | Refused::InUrl(text) | Refused::Expired(text)) => invalid(text),
            Self::Refused(Refused::Over(over)) => invalid(&over.text),
            Self::Refused(Refused::NotSigned(headers)) => invalid(&Refused::of_unsigned(headers)),
            Self::Refused(Refused::Unsupported(text)) => invalid(text),
            Self::Refused(Refused::Both) => {
                invalid("a request is signed in its header or in its query string, not in both")
            }
            Self::Refused(Refused::UnknownKey) => invalid("The security token included in the request is invalid."),
            Self::Refused(Refused::Wrong) => Failure::new(ResponseType::InvalidSignature),
            Self::Scope(service) => invalid(&format!("Credential should be scoped to correct service: '{service}'.")),
            Self::Forbidden(key) => Failure::new(ResponseType::AccessDenied)
                .message(format!("User: {key} is not authorized to perform: execute-api:Invoke on resource: {arn}")),
        }
    }
}

/// For an operator: a client learns less.
impl fmt::Display for Unsigned {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(Refused::Missing) => to.write_str("it is not signed"),
            Self::Refused(Refused::Incomplete(text) | Refused::InUrl(text) | Refused::Expired(text)) => {
                to.write_str(text)
            }
            Self::Refused(Refused::Over(over)) => to.write_str(&over.text),
            Self::Refused(Refused::NotSigned(headers)) => to.write_str(&Refused::of_unsigned(headers)),
            Self::Refused(Refused::Unsupported(text)) => to.write_str(text),
            Self::Refused(Refused::Both) => to.write_str("it is signed in its header and in its query string"),
            Self::Refused(Refused::UnknownKey) => to.write_str("the app has no access key of that id"),
            Self::Refused(Refused::Wrong) => to.write_str("its signature is not that of the request"),
            Self::Scope(service) => write!(to, "it is not signed for the service {service}"),
            Self::Forbidden(key) => write!(to, "the access key {key} may not do this"),
        }
    }
}

/// What an HTTP API says to a caller that is not let in.
pub(super) fn forbidden() -> Answer {
    Answer::message(403, "Forbidden")
}

/// What the URL of a function says to it.
pub(super) fn forbidden_url() -> Answer {
    let text = "Forbidden. For troubleshooting Function URL authorization issues, see: \
                https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html";
    Answer {
        status: 403,
        headers: vec![
            ("content-type".into(), "application/json".into()),
            ("x-amzn-ErrorType".into(), "AccessDeniedException".into()),
        ],
        body: serde_json::json!({ "Message": text }).to_string().into_bytes(),
    }
}
