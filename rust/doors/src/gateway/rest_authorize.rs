//! Authorisers of REST APIs: a function, or a token of a user pool, says who is let in. Whatever fails lets nobody in.

use std::sync::Arc;
use std::time::Duration;

use forebay_core::gateway::authorizer::{digest, is_issuer, Decision, Said};
use forebay_core::gateway::jwt::{pool_issuer, Refusal, Token, EXPIRED};
use forebay_core::gateway::request::Authorized;
use forebay_core::gateway::rest::failure::{Failure, ResponseType};
use forebay_core::gateway::rest::model::Authorizer;
use forebay_core::gateway::rest::pipeline::Exchange;
use forebay_core::gateway::rest::{log::Log, parameter_mapping, uri};
use forebay_engine::base::error::Reply;
use serde_json::json;

use crate::gateway::authorize::{self, identity_twice, no_identity, why, Caller, TOKEN_KEPT_S};
use crate::gateway::deployment::KnownToken;
use crate::gateway::rest::{self, Reached};
use crate::gateway::trail::Question;
use crate::gateway::Gateway;

/// How long a function may take to decide.
const DECISION_TIMEOUT: Duration = Duration::from_secs(29);
/// What a caller is told whom a statement of the policy denies it.
const DENIED: &str = "User is not authorized to access this resource with an explicit deny";
/// How long a verdict is kept unless it is said.
const TTL_S: u32 = 300;

/// Who the method's authoriser says has sent a request, and the key it names.
pub(super) async fn ask_authorizer(
    gateway: &Gateway,
    reached: &Reached<'_>,
    arn: &str,
) -> Result<(Authorized, Option<String>), Failure> {
    let api = &reached.served.api;
    let id = reached.route.method.authorizer_id.as_ref();
    let authorizer = id.and_then(|id| api.authorizers.get(id));
    let authorizer = authorizer.ok_or_else(|| Failure::new(ResponseType::AuthorizerConfigurationError))?;
    let trail = reached.trail;
    let sources = known_by(reached, authorizer)?;
    let ttl = authorizer.authorizer_result_ttl_in_seconds.unwrap_or(TTL_S);
    let decision = if ttl == 0 || sources.is_empty() {
        Arc::new(decide(gateway, reached, authorizer, &sources, arn).await?)
    } else {
        let flush = gateway.rest.served.caches.decisions(&api.id, reached.arrival.stage).to_string();
        // Another function, or other code, has not said what is kept.
        let function = function_of(reached, authorizer)?;
        let code = reached.engine.code_of(&function);
        // Nor has another authoriser of its id, as it was set or is set for a canary.
        let written = format!("{authorizer:?}");
        let mut parts = vec![api.id.as_str(), reached.arrival.stage, &flush, &written, &function, &code];
        parts.extend(sources.iter().map(String::as_str));
        let name = authorizer.name.as_str();
        let caller = Caller { authorizer: name, key: digest(&parts), ttl_s: ttl, patience: DECISION_TIMEOUT };
        let late = Failure::new(ResponseType::AuthorizerConfigurationError);
        let ask = decide(gateway, reached, authorizer, &sources, arn);
        authorize::said(gateway, &gateway.rest.decisions, (caller, trail, late), ask).await?
    };
    match decision.of(arn, &rest::readings_of_arn(gateway, reached)) {
        Said::Allowed(mut authorized) => {
            if let Authorized::Lambda { known_by, .. } = &mut authorized {
                let sources: Vec<&str> = sources.iter().map(String::as_str).collect();
                *known_by = Some(digest(&sources));
            }
            Ok((authorized, decision.usage_key().map(str::to_owned)))
        }
        Said::Denied { explicitly } => {
            trail.says_no(&authorizer.name);
            let failure = Failure::new(ResponseType::AccessDenied);
            Err(if explicitly { failure.message(DENIED) } else { failure })
        }
    }
}

/// What the authoriser's function says, asked now.
pub(super) async fn ask_now(gateway: &Gateway, reached: &Reached<'_>, arn: &str) -> Result<Decision, Failure> {
    let id = reached.route.method.authorizer_id.as_ref();
    let authorizer = id.and_then(|id| reached.served.api.authorizers.get(id));
    let authorizer = authorizer.ok_or_else(|| Failure::new(ResponseType::AuthorizerConfigurationError))?;
    let sources = known_by(reached, authorizer)?;
    decide(gateway, reached, authorizer, &sources, arn).await
}

async fn decide(
    _gateway: &Gateway,
    reached: &Reached<'_>,
    authorizer: &Authorizer,
    sources: &[String],
    arn: &str,
) -> Result<Decision, Failure> {
    let function = function_of(reached, authorizer)?;
    let payload = if authorizer.kind == "TOKEN" {
        json!({"type": "TOKEN", "methodArn": arn, "authorizationToken": sources.first()}).to_string().into_bytes()
    } else {
        let Reached { served, route, request, arrival, .. } = *reached;
        Exchange::new(served, route, request, arrival, Log::default()).authorizer_event(arn)
    };
    let question = Question { function: &function, authorizer: Some(&authorizer.name), trace: None, is_told: true };
    let told = match reached.trail.ask(reached.engine, question, payload.into(), DECISION_TIMEOUT).await {
        Some(Ok(Reply::Json(json) | Reply::Executed { json, .. })) => {
            Decision::read(&json, false).and_then(Decision::named)
        }
        // A function that raises exactly this says no; anything else is its failure.
        Some(Err(error)) if error.to_string().ends_with("Exception: Unauthorized") => {
            reached.trail.says_no(&authorizer.name);
            return Err(Failure::new(ResponseType::Unauthorized));
        }
        Some(Ok(_)) => Err("it gave no answer".into()),
        Some(Err(error)) => Err(error.to_string()),
        None => Err(format!("it took longer than {} s", DECISION_TIMEOUT.as_secs())),
    };
    told.map_err(|text| wrong(format!("authorizer {}, function {function}: {text}", authorizer.name)))
}

/// Who the token of a request is about.
pub(super) async fn ask_user_pool(gateway: &Gateway, reached: &Reached<'_>) -> Result<Authorized, Failure> {
    let (api, method) = (&reached.served.api, &reached.route.method);
    let authorizer = method.authorizer_id.as_ref().and_then(|id| api.authorizers.get(id));
    let authorizer = authorizer.ok_or_else(|| Failure::new(ResponseType::AuthorizerConfigurationError))?;
    let sources = known_by(reached, authorizer)?;
    let text = sources.first().map(String::as_str).unwrap_or_default();
    let known = known_token_of_pool(gateway, reached, authorizer, text).await?;
    let scopes = &method.authorization_scopes;
    // Without scopes a method wants the token that says who somebody is, with scopes the one that says what it may do.
    let use_wanted = if scopes.is_empty() { "id" } else { "access" };
    let unauthorized = |why: &str| {
        reached.trail.not_let_in(&authorizer.name, why);
        Failure::new(ResponseType::Unauthorized)
    };
    if known.claims.text("token_use") != Some(use_wanted) {
        return Err(unauthorized(&format!("the method wants an {use_wanted} token")));
    }
    let granted = known.claims.granted(scopes).map_err(|refusal| unauthorized(why(refusal)))?;
    let audience = known.claims.text("aud").unwrap_or_default();
    if use_wanted == "id" && !reached.served.looks_right(&authorizer.id, audience) {
        return Err(unauthorized("the token is for another audience"));
    }
    Ok(Authorized::Jwt { claims: known.json.clone(), scopes: granted })
}

async fn known_token_of_pool(
    gateway: &Gateway,
    reached: &Reached<'_>,
    authorizer: &Authorizer,
    text: &str,
) -> Result<Arc<KnownToken>, Failure> {
    let now_s = reached.arrival.time_ms / 1000;
    let api = &reached.served.api;
    // A token is good for the pools that the authoriser names now.
    let mut parts = vec![api.id.as_str(), authorizer.id.as_str(), text];
    parts.extend(authorizer.provider_arns.iter().map(String::as_str));
    let entry = gateway.rest.tokens.entry(digest(&parts));
    let mut entry = entry.lock().await;
    if let Some((_, known)) = entry.as_ref().filter(|(until_s, _)| *until_s > now_s) {
        return Ok(known.clone());
    }
    let away = |why: &str| reached.trail.not_let_in(&authorizer.name, why);
    let refused = |refusal: Refusal| {
        away(why(refusal));
        let failure = Failure::new(ResponseType::Unauthorized);
        if refusal == EXPIRED {
            failure.message("The incoming token has expired")
        } else {
            failure
        }
    };
    let token = Token::parse(text).map_err(refused)?;
    let issuers = authorizer.provider_arns.iter().filter_map(|arn| pool_issuer(arn, &gateway.pools));
    let issuer = issuers.filter(|issuer| is_issuer(issuer)).find(|issuer| token.issuer() == Some(issuer));
    let issuer = issuer.ok_or_else(|| {
        away("no pool of the authorizer has issued the token");
        Failure::new(ResponseType::Unauthorized)
    })?;
    match gateway.issuers.verify(&issuer, &token, gateway.mono_ns()).await {
        Ok(true) => {}
        Ok(false) => {
            away("the token does not have a valid signature");
            return Err(Failure::new(ResponseType::Unauthorized));
        }
        Err(text) => {
            let text = format!("the keys of {issuer} are not there: {text}");
            away(&text);
            reached.engine.remark_on_api(&api.name, &text);
            return Err(Failure::new(ResponseType::Unauthorized));
        }
    }
    let claims = token.check_issued(&issuer, now_s).map_err(refused)?;
    let until_s = claims.until_s.min(now_s + TOKEN_KEPT_S);
    let known = Arc::new(KnownToken { json: claims.json().into(), claims });
    *entry = Some((until_s, known.clone()));
    Ok(known)
}

fn wrong(text: String) -> Failure {
    Failure::new(ResponseType::AuthorizerConfigurationError).remark(text)
}

/// The function that an authoriser asks in the stage.
fn function_of(reached: &Reached<'_>, authorizer: &Authorizer) -> Result<String, Failure> {
    let uri =
        uri::filled(authorizer.authorizer_uri.as_deref().unwrap_or_default(), &[], reached.arrival.stage_variables);
    match uri::target(&uri) {
        Ok(uri::Target::Function(function)) => Ok(function),
        _ => Err(wrong(format!("authorizer {}: {uri:?} names no function", authorizer.name))),
    }
}

/// What a caller is known by; one without it, or with more than one, is 401, and nobody is asked.
fn known_by(reached: &Reached<'_>, authorizer: &Authorizer) -> Result<Vec<String>, Failure> {
    identity(reached, authorizer).map_err(|why| {
        reached.trail.not_let_in(&authorizer.name, &why);
        Failure::new(ResponseType::Unauthorized)
    })
}

fn identity(reached: &Reached<'_>, authorizer: &Authorizer) -> Result<Vec<String>, String> {
    let exchange = Exchange::new(reached.served, reached.route, reached.request, reached.arrival, Log::default());
    let mut found = Vec::new();
    for source in authorizer.identity_source.as_deref().unwrap_or_default().split(',').map(str::trim) {
        if source.is_empty() {
            continue;
        }
        match parameter_mapping::find_all(source, &exchange.sources()).as_slice() {
            [value] if !value.is_empty() => found.push(value.clone()),
            [] | [_] => return Err(no_identity(source)),
            _ => return Err(identity_twice(source)),
        }
    }
    let is_wrong = |token: &String| !reached.served.looks_right(&authorizer.id, token);
    if authorizer.kind == "TOKEN" && found.first().is_some_and(is_wrong) {
        return Err("the token does not match the authorizer's validation expression".into());
    }
    Ok(found)
}
