//! Authorisers: how they are declared, where a caller's identity stands in a request, what their answers mean.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::gateway::event::Format;
use crate::gateway::jwt::Wanted;
use crate::gateway::policy::{evaluate, Verdict};
use crate::gateway::request::{Arrival, Authorized, Request};
use crate::gateway::wire::query_fields;

/// The digest of what somebody is known by.
pub type Digest = [u8; 32];

/// Put what somebody is known by into one digest, each part with its length: two parts beside each other are not one.
pub fn digest(parts: &[&str]) -> Digest {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// Most audiences of an authoriser.
pub const AUDIENCES_MAX: usize = 50;
/// How long an answer of a function may be kept, seconds.
pub const TTL_SECONDS_MAX: u32 = 3_600;
/// Most bytes of the context that a function gives.
const CONTEXT_BYTES_MAX: usize = 64 * 1024;

/// An authoriser, as it is declared.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    /// Its name.
    pub name: String,
    /// How it decides.
    pub by: By,
    /// Where the identity stands; of a token one place.
    pub identity_sources: Vec<String>,
}

/// How an authoriser decides.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum By {
    /// By a token's signature and claims.
    Jwt {
        /// Who has issued it: the URL at which its keys are found.
        issuer: String,
        /// For whom it is.
        audiences: Vec<String>,
    },
    /// By what a function says.
    Lambda {
        /// The function.
        function: String,
        /// The form of its event.
        payload_format: Format,
        /// Whether it answers `{"isAuthorized": …}` rather than a policy.
        simple_responses: bool,
        /// How long an answer is kept for the same identity, seconds; 0: not.
        ttl: u32,
    },
    /// By the signature of the request, made with one of the app's access keys.
    Iam {},
}

/// An authoriser that is served.
#[derive(Clone, Debug)]
pub struct Authorizer {
    /// Its name.
    pub name: String,
    /// How it decides.
    pub by: By,
    /// Where the identity stands.
    pub sources: Vec<Source>,
    /// All of it as a text: what another one has said is not its own.
    pub written: String,
}

/// A place in a request where an identity stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// `$request.header.name`
    Header(String),
    /// `$request.querystring.name`
    Query(String),
    /// `$context.routeKey` and the like.
    Context(ContextField),
    /// `$stageVariables.name`
    StageVariable(String),
}

/// For people, what an identity source names: `method.request.header.Authorization` is "the header authorization".
pub fn described(source: &str) -> String {
    let kinds = [("request.header.", "the header"), ("request.querystring.", "the query parameter")];
    let named = kinds.iter().find_map(|(part, kind)| Some((kind, source.split_once(part)?.1)));
    named.map_or_else(|| source.to_owned(), |(kind, name)| format!("{kind} {name}"))
}

/// What of the context may be an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContextField {
    /// The route's key.
    RouteKey,
    /// The stage.
    Stage,
    /// The path.
    Path,
    /// The method.
    Method,
    /// The client's address.
    SourceIp,
}

const CONTEXT_FIELDS: [(&str, ContextField); 5] = [
    ("$context.routeKey", ContextField::RouteKey),
    ("$context.stage", ContextField::Stage),
    ("$context.path", ContextField::Path),
    ("$context.httpMethod", ContextField::Method),
    ("$context.identity.sourceIp", ContextField::SourceIp),
];

impl Source {
    /// Read `$request.header.Authorization` and the like; for WebSocket APIs AWS writes `route.request.header.Authorization`.
    pub fn parse(given: &str) -> Result<Self, String> {
        let named = |rest: &str| (!rest.is_empty()).then(|| rest.to_owned());
        let spelled = match given.strip_prefix("route.request.") {
            Some(rest) => format!("$request.{rest}"),
            None if given.starts_with("stageVariables.") || given.starts_with("context.") => format!("${given}"),
            None => given.to_owned(),
        };
        let text = spelled.as_str();
        let found = if let Some(rest) = text.strip_prefix("$request.header.") {
            named(rest).map(|name| Self::Header(name.to_ascii_lowercase()))
        } else if let Some(rest) = text.strip_prefix("$request.querystring.") {
            named(rest).map(Self::Query)
        } else if let Some(rest) = text.strip_prefix("$stageVariables.") {
            named(rest).map(Self::StageVariable)
        } else {
            CONTEXT_FIELDS.iter().find(|(known, _)| *known == text).map(|(_, field)| Self::Context(*field))
        };
        found.ok_or_else(|| {
            format!(
                "identity source {given:?}: allowed are $request.header.NAME, $request.querystring.NAME, $stageVariables.NAME, \
                 $context.routeKey, $context.stage, $context.path, $context.httpMethod and $context.identity.sourceIp, or as WebSocket APIs write them: route.request.header.NAME, \
                 route.request.querystring.NAME, stageVariables.NAME and context.…"
            )
        })
    }

    /// As it is declared.
    pub fn text(&self) -> String {
        match self {
            Self::Header(name) => format!("$request.header.{name}"),
            Self::Query(name) => format!("$request.querystring.{name}"),
            Self::StageVariable(name) => format!("$stageVariables.{name}"),
            Self::Context(field) => CONTEXT_FIELDS
                .iter()
                .find(|(_, known)| known == field)
                .map(|(text, _)| (*text).to_owned())
                .unwrap_or_default(),
        }
    }

    /// What stands there; `None` where nothing does.
    pub fn find<'a>(&'a self, request: &Request<'a>, arrival: &Arrival<'a>) -> Option<Cow<'a, str>> {
        let found = match self {
            Self::Header(name) => request.values(name).next().map(Cow::from),
            Self::Query(name) => query_fields(request.query).find(|(known, _)| known == name).map(|(_, value)| value),
            Self::StageVariable(name) => {
                arrival.stage_variables.iter().find(|(known, _)| known == name).map(|(_, value)| value.into())
            }
            Self::Context(field) => Some(
                match field {
                    ContextField::RouteKey => arrival.route_key,
                    ContextField::Stage => arrival.stage,
                    ContextField::Path => request.path,
                    ContextField::Method => request.method,
                    ContextField::SourceIp => request.source_ip,
                }
                .into(),
            ),
        };
        found.filter(|text| !text.is_empty())
    }

    /// Whether a request has more than one value there: whoever reads it next may take another one than is looked at here.
    pub fn is_ambiguous(&self, request: &Request<'_>) -> bool {
        match self {
            Self::Header(name) => request.values(name).nth(1).is_some(),
            Self::Query(name) => query_fields(request.query).filter(|(known, _)| known == name).nth(1).is_some(),
            Self::Context(_) | Self::StageVariable(_) => false,
        }
    }
}

impl Authorizer {
    pub(super) fn compile(definition: Definition) -> Result<Self, String> {
        let Definition { name, by, identity_sources } = definition;
        let wrong = |what: String| format!("authorizer {name:?}: {what}");
        let sources: Vec<Source> =
            identity_sources.iter().map(|text| Source::parse(text)).collect::<Result<_, _>>().map_err(&wrong)?;
        match &by {
            By::Jwt { issuer, audiences } => {
                if !is_issuer(issuer) {
                    return Err(wrong(format!(
                        "issuer is {issuer:?}: allowed is an https:// URL, and http:// for this machine only"
                    )));
                }
                if !(1..=AUDIENCES_MAX).contains(&audiences.len()) {
                    return Err(wrong(format!(
                        "it has {} audiences: allowed are 1 to {AUDIENCES_MAX}",
                        audiences.len()
                    )));
                }
                if sources.len() != 1 || !matches!(sources[0], Source::Header(_) | Source::Query(_)) {
                    return Err(wrong("a token stands in one header or one field of the query".into()));
                }
            }
            By::Lambda { ttl, payload_format, simple_responses, .. } => {
                if *ttl > TTL_SECONDS_MAX {
                    return Err(wrong(format!("ttl is {ttl}: allowed are 0 to {TTL_SECONDS_MAX} seconds")));
                }
                if *ttl > 0 && sources.is_empty() {
                    return Err(wrong("its answers are kept by identity: name a source, or give ttl=0".into()));
                }
                if *simple_responses && *payload_format == Format::One {
                    return Err(wrong("simple responses are of payload format 2.0".into()));
                }
            }
            By::Iam {} => {}
        }
        let written = format!("{by:?} {sources:?}");
        Ok(Self { name, by, sources, written })
    }

    /// The function that it asks.
    pub fn function(&self) -> Option<&str> {
        match &self.by {
            By::Lambda { function, .. } => Some(function),
            By::Jwt { .. } | By::Iam {} => None,
        }
    }

    /// What its tokens must say.
    pub fn wanted(&self) -> Option<Wanted> {
        match &self.by {
            By::Jwt { issuer, audiences } => Some(Wanted { issuer: issuer.clone(), audiences: audiences.clone() }),
            _ => None,
        }
    }
}

/// Whether keys may be fetched from this URL: over TLS, so that nobody on the way can be the issuer, or from this machine.
pub fn is_issuer(issuer: &str) -> bool {
    if issuer.contains(['?', '#', ' ', '@']) {
        return false;
    }
    let host = |rest: &str| rest.split('/').next().unwrap_or_default().to_owned();
    match (issuer.strip_prefix("https://"), issuer.strip_prefix("http://")) {
        (Some(rest), _) => !host(rest).is_empty(),
        (_, Some(rest)) => {
            let host = host(rest);
            let name = host.rsplit_once(':').map_or(host.as_str(), |(name, _)| name);
            matches!(name, "localhost" | "127.0.0.1" | "[::1]")
        }
        _ => false,
    }
}

/// What a function that authorises has said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// It lets the caller in.
    Allowed(Authorized),
    /// It does not: a statement of its policy denies it, or none allows it.
    Denied {
        /// Whether a statement denies it.
        explicitly: bool,
    },
}

/// An answer of such a function, which may be kept: what a policy says depends on the route.
#[derive(Clone, Debug)]
pub struct Decision {
    is_allowed: Option<bool>,
    policy: Value,
    context: String,
    principal: Option<String>,
    usage_key: Option<String>,
}

impl Decision {
    /// The API key that it names for the caller: `usageIdentifierKey`.
    pub fn usage_key(&self) -> Option<&str> {
        self.usage_key.as_deref()
    }

    /// The same, of a function that has to say who the caller is, as REST APIs want it.
    pub fn named(self) -> Result<Self, String> {
        if self.principal.is_none() {
            return Err("the answer has no principalId that is a text".into());
        }
        Ok(self)
    }

    /// Who the function says that the caller is.
    pub fn principal(&self) -> Option<&str> {
        self.principal.as_deref()
    }

    /// The policy that it has given.
    pub fn policy(&self) -> &Value {
        &self.policy
    }

    /// Read the answer of a function; the error says why it is none.
    pub fn read(json: &[u8], simple: bool) -> Result<Self, String> {
        let value: Value = serde_json::from_slice(json).map_err(|error| format!("the answer is not JSON: {error}"))?;
        let context = match value.get("context") {
            None | Some(Value::Null) => "null".into(),
            Some(Value::Object(fields)) if simple => Value::Object(fields.clone()).to_string(),
            Some(Value::Object(fields)) => {
                if fields.values().any(|value| value.is_object() || value.is_array()) {
                    return Err("the context has a value that is an object or a list".into());
                }
                Value::Object(fields.clone()).to_string()
            }
            Some(_) => return Err("the context is not an object".into()),
        };
        if context.len() > CONTEXT_BYTES_MAX {
            return Err(format!("the context has {} bytes: at most {CONTEXT_BYTES_MAX} are allowed", context.len()));
        }
        let text = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
        let (principal, usage_key) = (text("principalId"), text("usageIdentifierKey"));
        if simple {
            let is_allowed = value.get("isAuthorized").and_then(Value::as_bool);
            let is_allowed = Some(is_allowed.ok_or("the answer has no isAuthorized that is true or false")?);
            return Ok(Self { is_allowed, policy: Value::Null, context, principal, usage_key });
        }
        let policy = value.get("policyDocument").cloned().ok_or("the answer has no policyDocument")?;
        evaluate(&policy, "", &[])?;
        Ok(Self { is_allowed: None, policy, context, principal, usage_key })
    }

    /// What it means for a route; of its two ARNs see [`evaluate`].
    pub fn of(&self, arn: &str, readings: &[String]) -> Said {
        let verdict = match self.is_allowed {
            Some(true) => Verdict::Allow,
            Some(false) => Verdict::Silent,
            None => evaluate(&self.policy, arn, readings).unwrap_or(Verdict::Silent),
        };
        if verdict != Verdict::Allow {
            return Said::Denied { explicitly: verdict == Verdict::Deny };
        }
        let (context, principal) = (self.context.clone(), self.principal.clone());
        Said::Allowed(Authorized::Lambda { context, principal, known_by: None })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn compile(by: &Value, sources: &[&str]) -> Result<Authorizer, String> {
        let definition = json!({"name": "a", "by": by, "identity_sources": sources});
        Authorizer::compile(serde_json::from_value(definition).map_err(|error| error.to_string())?)
    }

    fn lambda(ttl: u32, simple: bool, format: &str) -> Value {
        json!({"lambda": {"function": "f", "payload_format": format, "simple_responses": simple, "ttl": ttl}})
    }

    #[test]
    fn a_source_is_described_as_its_sender_knows_it() {
        for (source, text) in [
            ("$request.header.authorization", "the header authorization"),
            ("route.request.querystring.token", "the query parameter token"),
            ("method.request.header.X-A", "the header X-A"),
            ("$context.routeKey", "$context.routeKey"),
        ] {
            assert_eq!(described(source), text);
        }
    }

    #[test]
    fn settings_that_cannot_be_are_refused() {
        let jwt = |issuer: &str| json!({"jwt": {"issuer": issuer, "audiences": ["x"]}});
        let token = ["$request.header.Authorization"];
        for issuer in ["https://a.example.com/pool", "http://localhost:8000", "http://127.0.0.1/x", "http://[::1]:1/"] {
            assert!(compile(&jwt(issuer), &token).is_ok(), "{issuer}");
        }
        for (by, sources, part) in [
            (jwt("http://a.example.com"), &token[..], "https://"),
            (jwt("http://localhost@a.example.com"), &token[..], "https://"),
            (jwt("https://"), &token[..], "https://"),
            (jwt("https://a.example.com"), &[][..], "one header"),
            (json!({"jwt": {"issuer": "https://a.example.com", "audiences": []}}), &token[..], "1 to 50"),
            (lambda(3_601, true, "2.0"), &token[..], "0 to 3600"),
            (lambda(300, true, "2.0"), &[][..], "name a source"),
            (lambda(0, true, "1.0"), &[][..], "payload format 2.0"),
            (lambda(0, true, "2.0"), &["$request.body.x"][..], "identity source"),
        ] {
            let error = compile(&by, sources).unwrap_err();
            assert!(error.contains(part), "{by}: {error}");
        }
    }

    #[test]
    fn a_source_is_read_as_websocket_apis_of_aws_write_it() {
        for (theirs, ours) in [
            ("route.request.header.Auth", "$request.header.auth"),
            ("route.request.querystring.Token", "$request.querystring.Token"),
            ("stageVariables.a", "$stageVariables.a"),
            ("context.identity.sourceIp", "$context.identity.sourceIp"),
        ] {
            assert_eq!(Source::parse(theirs).map(|source| source.text()), Ok(ours.to_owned()));
        }
        for wrong in ["route.request.body.x", "route.request.header.", "request.header.x", "context.nothing"] {
            assert!(Source::parse(wrong).unwrap_err().contains(&format!("{wrong:?}")), "{wrong}");
        }
    }

    /// The first one was looked at and its verdict kept, and the handler was given the last one.
    #[test]
    fn an_identity_that_stands_twice_is_none() {
        let header = |name: &'static str, value: &'static str| (name.into(), value.into());
        let headers = [header("X-Tenant", "good"), header("x-tenant", "evil"), header("x-user", "ann")];
        let request = Request {
            method: "GET",
            path: "/",
            query: "tenant=good&user=ann&%74enant=evil",
            protocol: "HTTP/1.1",
            headers: &headers,
            source_ip: "::1",
            client_cert: None,
            body: &[],
        };
        for (source, expected) in [
            ("$request.header.x-tenant", true),
            ("$request.header.x-user", false),
            ("$request.header.x-none", false),
            ("$request.querystring.tenant", true),
            ("$request.querystring.user", false),
            ("$context.path", false),
        ] {
            assert_eq!(Source::parse(source).unwrap().is_ambiguous(&request), expected, "{source}");
        }
    }

    #[test]
    fn a_simple_answer_says_yes_or_no() {
        let read = |answer: Value| Decision::read(answer.to_string().as_bytes(), true);
        let context = Authorized::Lambda { context: r#"{"k":[1]}"#.into(), principal: None, known_by: None };
        let yes = read(json!({"isAuthorized": true, "context": {"k": [1]}})).unwrap();
        assert_eq!(yes.of("arn:x", &[]), Said::Allowed(context));
        assert_eq!(read(json!({"isAuthorized": false})).unwrap().of("arn:x", &[]), Said::Denied { explicitly: false });
        for answer in [json!({}), json!({"isAuthorized": "true"}), json!(true), json!(null), json!({"isAuthorized": 1})]
        {
            assert!(read(answer.clone()).is_err(), "{answer}");
        }
    }

    #[test]
    fn a_policy_that_was_kept_is_held_against_each_route() {
        let statement = json!({"Action": "execute-api:Invoke", "Effect": "Allow", "Resource": "arn:*/GET/a"});
        let answer = json!({"principalId": "p", "policyDocument": {"Statement": [&statement]}, "context": {"n": 1}});
        let decision = Decision::read(answer.to_string().as_bytes(), false).unwrap();
        assert!(matches!(decision.of("arn:x/GET/a", &[]), Said::Allowed(_)));
        assert_eq!(decision.of("arn:x/GET/b", &[]), Said::Denied { explicitly: false });
        assert!(decision.named().is_ok());
        let deny = json!({"Action": "execute-api:Invoke", "Effect": "Deny", "Resource": "arn:*/GET/a"});
        let answer = json!({"policyDocument": {"Statement": [statement, deny]}});
        let decision = Decision::read(answer.to_string().as_bytes(), false).unwrap();
        assert!(decision.clone().named().is_err(), "a REST API let everybody in as the same caller");
        assert_eq!(decision.of("arn:x/GET/a", &[]), Said::Denied { explicitly: true });
        for answer in [
            json!({"principalId": "p"}),
            json!({"policyDocument": {}}),
            json!({"policyDocument": {"Statement": []}, "context": {"n": {}}}),
        ] {
            assert!(Decision::read(answer.to_string().as_bytes(), false).is_err(), "{answer}");
        }
    }
}
