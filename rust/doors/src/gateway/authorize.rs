//! Who is let in: by a token, or by what a function says. Whatever fails lets nobody in.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use forebay_core::gateway::answer::Answer;
use forebay_core::gateway::api::{Api, Kind, Route, DEFAULT_STAGE};
use forebay_core::gateway::authorizer::{described, digest, Authorizer, By, Decision, Digest, Said};
use forebay_core::gateway::event::{self, For, Format};
use forebay_core::gateway::jwt::{Refusal, Token, Wanted};
use forebay_core::gateway::request::{Arrival, Authorized, Request};
use forebay_core::gateway::routes;
use forebay_engine::base::error::Reply;
use forebay_engine::runtime::engine::Engine;

use crate::gateway::deployment::{Deployment, Kept, KnownToken};
use crate::gateway::trail::{Question, Trail};
use crate::gateway::Gateway;

/// How long a function may take to decide.
const DECISION_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a token that was found good is not looked at again.
pub(super) const TOKEN_KEPT_S: u64 = 300;
/// Why nobody is let in, for an operator.
const OTHERS_FAILED: &str = "its function has said nothing to another request of the same caller";
const NO_SCOPE: &str = "the token does not have a scope of the route";

/// What an authoriser is asked about.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) engine: &'a Engine,
    pub(super) deployment: &'a Deployment,
    pub(super) api: &'a Api,
    pub(super) route: &'a Route,
    pub(super) request: &'a Request<'a>,
    pub(super) arrival: &'a Arrival<'a>,
    pub(super) trail: &'a Trail,
}

/// Whom an authoriser is asked of: what is said holds for all requests of the key.
pub(super) struct Caller<'a> {
    pub(super) authorizer: &'a str,
    pub(super) key: Digest,
    pub(super) ttl_s: u32,
    /// How long others may ask for the same.
    pub(super) patience: Duration,
}

/// Who the caller is; the answer to it, where it is not let in.
pub(super) async fn authorize(gateway: &Gateway, asked: Asked<'_>) -> Result<Authorized, Answer> {
    let Some(at) = asked.route.authorizer else { return Ok(Authorized::Open) };
    let authorizer = &asked.api.authorizers[at];
    // The handler, or a server behind the route, may take another value than is looked at here.
    if let Some(source) = authorizer.sources.iter().find(|source| source.is_ambiguous(asked.request)) {
        asked.trail.not_let_in(&authorizer.name, &identity_twice(&source.text()));
        return Err(match &authorizer.by {
            By::Jwt { .. } => refused(Refusal::Invalid("the token stands in the request more than once")),
            By::Lambda { .. } | By::Iam {} => Answer::message(401, "Unauthorized"),
        });
    }
    match &authorizer.by {
        By::Jwt { .. } => {
            let source = authorizer.sources.first();
            let token = source.and_then(|source| source.find(asked.request, asked.arrival)).unwrap_or_default();
            by_token(gateway, asked, authorizer, &token).await
        }
        By::Lambda { .. } => {
            let mut found = Vec::with_capacity(authorizer.sources.len());
            for source in &authorizer.sources {
                let Some(value) = source.find(asked.request, asked.arrival) else {
                    asked.trail.not_let_in(&authorizer.name, &no_identity(&source.text()));
                    return Err(Answer::message(401, "Unauthorized"));
                };
                found.push(value.into_owned());
            }
            by_function(gateway, asked, authorizer, &found).await
        }
        By::Iam {} => Err(Answer::message(500, "Internal Server Error")),
    }
}

async fn by_token(
    gateway: &Gateway,
    asked: Asked<'_>,
    authorizer: &Authorizer,
    text: &str,
) -> Result<Authorized, Answer> {
    let refused = |refusal: Refusal| {
        asked.trail.not_let_in(&authorizer.name, why(refusal));
        refused(refusal)
    };
    let scopes = &asked.route.definition.scopes;
    let known = known_token(gateway, asked, authorizer, text).await.map_err(refused)?;
    let scopes = known.claims.granted(scopes).map_err(refused)?;
    Ok(Authorized::Jwt { claims: known.json.clone(), scopes })
}

async fn known_token(
    gateway: &Gateway,
    asked: Asked<'_>,
    authorizer: &Authorizer,
    text: &str,
) -> Result<Arc<KnownToken>, Refusal> {
    let now_s = asked.arrival.time_ms / 1000;
    let key = digest(&[&asked.api.id, asked.arrival.stage, &authorizer.name, &authorizer.written, text]);
    let entry = asked.deployment.tokens.entry(key);
    let mut entry = entry.lock().await;
    if let Some((_, known)) = entry.as_ref().filter(|(until_s, _)| *until_s > now_s) {
        return Ok(known.clone());
    }
    let token = Token::parse(text)?;
    let Some(wanted) = authorizer.wanted() else { return Err(Refusal::Missing) };
    check_signature(gateway, asked, &token, &wanted).await?;
    let claims = token.check(&wanted, now_s)?;
    let until_s = claims.until_s.min(now_s + TOKEN_KEPT_S);
    let known = Arc::new(KnownToken { json: claims.json().into(), claims });
    *entry = Some((until_s, known.clone()));
    Ok(known)
}

async fn check_signature(
    gateway: &Gateway,
    asked: Asked<'_>,
    token: &Token<'_>,
    wanted: &Wanted,
) -> Result<(), Refusal> {
    match gateway.issuers.verify(&wanted.issuer, token, gateway.mono_ns()).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(Refusal::Invalid("the token does not have a valid signature")),
        Err(text) => {
            asked
                .engine
                .remark_on_api(&asked.api.name, &format!("the keys of {} are not there: {text}", wanted.issuer));
            Err(Refusal::Invalid("the keys of the issuer are not there"))
        }
    }
}

/// What an authoriser has said within its time, or says now. Whoever shares the failure of another's question is told so; `late` is the
/// failure of those for whom others ask too long.
pub(super) async fn said<T, E: Clone>(
    gateway: &Gateway,
    kept: &Kept<T, E>,
    (caller, trail, late): (Caller<'_>, &Trail, E),
    ask: impl Future<Output = Result<T, E>>,
) -> Result<Arc<T>, E> {
    let mut has_asked = false;
    let ask = async {
        has_asked = true;
        let fresh = ask.await?;
        Ok((gateway.mono_ns() + u64::from(caller.ttl_s) * 1_000_000_000, fresh))
    };
    let place = (caller.key, || gateway.mono_ns(), caller.patience);
    let found = kept.find(place, ask).await.unwrap_or(Err(late));
    if found.is_err() && !has_asked {
        trail.not_let_in(caller.authorizer, OTHERS_FAILED);
    }
    found
}

async fn by_function(
    gateway: &Gateway,
    asked: Asked<'_>,
    authorizer: &Authorizer,
    sources: &[String],
) -> Result<Authorized, Answer> {
    let By::Lambda { ttl, function, .. } = &authorizer.by else {
        return Err(Answer::message(500, "Internal Server Error"));
    };
    let decision = if *ttl == 0 {
        Arc::new(ask_function(gateway, asked, authorizer, sources).await?)
    } else {
        let (name, written) = (authorizer.name.as_str(), authorizer.written.as_str());
        let flush = gateway.rest.served.caches.decisions(&asked.api.id, asked.arrival.stage).to_string();
        // Other code has not said what is kept.
        let code = asked.engine.code_of(function);
        let mut parts = vec![asked.api.id.as_str(), asked.arrival.stage, &flush, name, written, &code];
        parts.extend(sources.iter().map(String::as_str));
        let caller = Caller { authorizer: name, key: digest(&parts), ttl_s: *ttl, patience: DECISION_TIMEOUT };
        let late = Answer::message(500, "Internal Server Error");
        let ask = ask_function(gateway, asked, authorizer, sources);
        said(gateway, &asked.deployment.decisions, (caller, asked.trail, late), ask).await?
    };
    match decision.of(&route_arn(gateway, asked), &readings_of_route_arn(gateway, asked)) {
        Said::Allowed(authorized) => Ok(authorized),
        Said::Denied { .. } => {
            asked.trail.says_no(&authorizer.name);
            Err(Answer::message(403, "Forbidden"))
        }
    }
}

fn route_arn(gateway: &Gateway, asked: Asked<'_>) -> String {
    let Asked { api, arrival, request, .. } = asked;
    if api.kind == Kind::Websocket {
        let (region, account) = (&gateway.region, &gateway.account);
        return format!("arn:aws:execute-api:{region}:{account}:{}/{}/{}", api.id, arrival.stage, arrival.route_key);
    }
    format!("{}{}", method_arn(gateway, asked), path_in_stage(request.path, arrival.stage))
}

/// The same with the path as others may read it.
fn readings_of_route_arn(gateway: &Gateway, asked: Asked<'_>) -> Vec<String> {
    let Asked { api, arrival, request, .. } = asked;
    if api.kind == Kind::Websocket {
        return Vec::new();
    }
    let readings = routes::readings(path_in_stage(request.path, arrival.stage)).into_iter();
    readings.map(|path| format!("{}/{path}", method_arn(gateway, asked))).collect()
}

fn method_arn(gateway: &Gateway, Asked { api, arrival, request, .. }: Asked<'_>) -> String {
    let (region, account, method) = (&gateway.region, &gateway.account, request.method);
    format!("arn:aws:execute-api:{region}:{account}:{}/{}/{method}", api.id, arrival.stage)
}

async fn ask_function(
    gateway: &Gateway,
    asked: Asked<'_>,
    authorizer: &Authorizer,
    sources: &[String],
) -> Result<Decision, Answer> {
    let failed = || Answer::message(500, "Internal Server Error");
    let By::Lambda { function, payload_format, simple_responses, .. } = &authorizer.by else {
        return Err(failed());
    };
    let arn = route_arn(gateway, asked);
    let sources: Vec<&str> = sources.iter().map(String::as_str).collect();
    let payload = match payload_format {
        Format::Two => event::two(asked.request, asked.arrival, For::Authorizer(&arn, &sources)),
        Format::One => event::one(asked.request, asked.arrival, Some((&arn, &sources))),
    };
    let question = Question { function, authorizer: Some(&authorizer.name), trace: None, is_told: true };
    let told = match asked.trail.ask(asked.engine, question, payload.into(), DECISION_TIMEOUT).await {
        Some(Ok(Reply::Json(json) | Reply::Executed { json, .. })) => Decision::read(&json, *simple_responses),
        Some(Ok(_)) => Err("it gave no answer".into()),
        // A function that raises exactly this says no; anything else is its failure.
        Some(Err(error)) if error.to_string().ends_with("Exception: Unauthorized") => {
            asked.trail.says_no(&authorizer.name);
            return Err(Answer::message(401, "Unauthorized"));
        }
        Some(Err(error)) => Err(error.to_string()),
        None => Err("it took longer than 10 s".into()),
    };
    told.map_err(|text| {
        asked.trail.not_let_in(&authorizer.name, &text);
        let text = format!("authorizer {:?}, function {function}: {text}", authorizer.name);
        asked.engine.remark_on_api(&asked.api.name, &text);
        failed()
    })
}

/// Why nobody is let in whose request is without what callers are told by.
pub(super) fn no_identity(source: &str) -> String {
    format!("the request does not have {}", described(source))
}

/// Why nobody is let in whose request has it more than once.
pub(super) fn identity_twice(source: &str) -> String {
    format!("{} stands in the request more than once", described(source))
}

/// The path behind a stage that is named in it.
fn path_in_stage<'a>(path: &'a str, stage: &str) -> &'a str {
    if stage == DEFAULT_STAGE {
        return path;
    }
    path.strip_prefix('/').and_then(|rest| rest.strip_prefix(stage)).unwrap_or(path)
}

/// Why a token lets nobody in, for an operator.
pub(super) fn why(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::Missing => "there is no token",
        Refusal::Invalid(text) => text,
        Refusal::Scope => NO_SCOPE,
    }
}

fn refused(refusal: Refusal) -> Answer {
    let (status, message, challenge) = match refusal {
        Refusal::Missing => (401, "Unauthorized", "Bearer".to_owned()),
        Refusal::Invalid(text) => {
            let challenge = format!("Bearer scope=\"\" error=\"invalid_token\" error_description=\"{text}\"");
            (401, "Unauthorized", challenge)
        }
        Refusal::Scope => {
            let text = NO_SCOPE;
            (403, "Forbidden", format!("Bearer scope=\"\" error=\"insufficient_scope\" error_description=\"{text}\""))
        }
    };
    let mut answer = Answer::message(status, message);
    answer.headers.push(("www-authenticate".into(), challenge));
    answer
}
