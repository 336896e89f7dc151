//! Authorisers: who decides whether a request is let in.

use serde_json::{json, Value};

use crate::gateway::rest::compiled::whole;
use crate::gateway::rest::control::fault::{Fault, Outcome};
use crate::gateway::rest::control::params::{Params, Patch};
use crate::gateway::rest::control::{page, Control};
use crate::gateway::rest::model::{shown, Authorizer, RestApi};

/// Most authorisers of an API.
const AUTHORIZERS_MAX: usize = 10;
/// How long a verdict may be kept, s.
const TTL_MAX: i64 = 3_600;

fn no_authorizer() -> Fault {
    Fault::missing("Invalid Authorizer identifier specified")
}

fn ttl(seconds: Option<i64>) -> Outcome<Option<u32>> {
    match seconds {
        None => Ok(None),
        Some(seconds @ 0..=TTL_MAX) => Ok(u32::try_from(seconds).ok()),
        Some(_) => {
            Err(Fault::bad(format!("Invalid Authorizer Result TTL: it should be between 0 and {TTL_MAX} seconds")))
        }
    }
}

/// Refuse an authoriser that cannot decide.
pub(super) fn check_authorizer(authorizer: &Authorizer) -> Outcome<()> {
    if authorizer.name.is_empty() {
        return Err(Fault::bad("Authorizer name cannot be empty"));
    }
    if authorizer.kind == "COGNITO_USER_POOLS" {
        return match authorizer.provider_arns.as_slice() {
            [] => Err(Fault::bad("Invalid Authorizer configuration: COGNITO_USER_POOLS requires providerARNs")),
            arns => match arns.iter().find(|arn| !arn.starts_with("arn:")) {
                Some(wrong) => Err(Fault::bad(format!("Invalid Cognito User Pool ARN: {wrong}"))),
                None => Ok(()),
            },
        };
    }
    let uri = authorizer.authorizer_uri.as_deref();
    let is_arn = uri.is_some_and(|uri| uri.starts_with("arn:") && uri.contains(":apigateway:"));
    if !is_arn {
        return Err(Fault::bad(format!(
            "Invalid Authorizer URI: {}. Authorizer URI should be a valid API Gateway ARN that represents a Lambda function invocation.",
            uri.unwrap_or("null")
        )));
    }
    let needs_source =
        authorizer.kind == "TOKEN" || authorizer.authorizer_result_ttl_in_seconds.is_none_or(|ttl| ttl > 0);
    if needs_source && authorizer.identity_source.is_none() {
        return Err(Fault::bad("Identity source must be specified when caching is enabled or the type is TOKEN"));
    }
    if let Some(expression) = &authorizer.identity_validation_expression {
        if whole(expression).is_err() {
            return Err(Fault::bad(format!("Invalid identity validation expression: {expression}")));
        }
    }
    Ok(())
}

fn authorizer<'a>(control: &'a Control<'_>, params: Params) -> Outcome<(&'a RestApi, &'a Authorizer)> {
    let api = control.account.apis.get(params.named("restApiId")?).ok_or_else(no_authorizer)?;
    Ok((api, api.authorizers.get(params.named("authorizerId")?).ok_or_else(no_authorizer)?))
}

pub(super) fn create_authorizer(control: &mut Control<'_>, params: Params) -> Outcome<Value> {
    // What AWS answers where there is no such API.
    let busy = "Unable to complete operation due to concurrent modification. Please try again later.";
    let api = control.account.apis.get(params.named("restApiId")?).ok_or_else(|| Fault::conflict(busy))?;
    let mut api = RestApi::clone(api);
    let kind = params.named("type")?.to_owned();
    let auth_type = if kind == "COGNITO_USER_POOLS" { "cognito_user_pools" } else { "custom" };
    let authorizer = Authorizer {
        id: control.id(6),
        name: params.named("name")?.to_owned(),
        provider_arns: params.list("providerARNs")?,
        auth_type: params.filled("authType")?.or_else(|| Some(auth_type.to_owned())),
        authorizer_uri: params.filled("authorizerUri")?,
        authorizer_credentials: params.filled("authorizerCredentials")?,
        identity_source: params.filled("identitySource")?,
        identity_validation_expression: params.filled("identityValidationExpression")?,
        authorizer_result_ttl_in_seconds: ttl(params.number("authorizerResultTtlInSeconds")?)?,
        kind,
    };
    check_authorizer(&authorizer)?;
    if api.authorizers.values().any(|known| known.name == authorizer.name) {
        return Err(Fault::conflict(format!(
            "Authorizer name must be unique. Authorizer {} already exists in this RestApi.",
            authorizer.name
        )));
    }
    if api.authorizers.len() >= AUTHORIZERS_MAX {
        return Err(Fault::limit(format!(
            "Maximum number of Authorizers for this API has been reached: {AUTHORIZERS_MAX}"
        )));
    }
    let answer = shown(&authorizer);
    api.authorizers.insert(authorizer.id.clone(), authorizer);
    control.keep(api);
    Ok(answer)
}

pub(super) fn get_authorizer(control: &mut Control<'_>, params: Params) -> Outcome<Value> {
    Ok(shown(authorizer(control, params)?.1))
}

pub(super) fn get_authorizers(control: &mut Control<'_>, params: Params) -> Outcome<Value> {
    let api = control.api(params)?;
    let mut list: Vec<&Authorizer> = api.authorizers.values().collect();
    list.sort_by(|one, other| one.name.cmp(&other.name));
    page(params, list.into_iter().map(|one| (one.id.as_str(), one)), shown)
}

pub(super) fn update_authorizer(control: &mut Control<'_>, params: Params) -> Outcome<Value> {
    let (api, authorizer) = authorizer(control, params)?;
    let (mut api, mut authorizer) = (api.clone(), authorizer.clone());
    for patch in params.patches()? {
        change(&mut authorizer, &patch)?;
    }
    check_authorizer(&authorizer)?;
    let answer = shown(&authorizer);
    api.authorizers.insert(authorizer.id.clone(), authorizer);
    control.keep(api);
    Ok(answer)
}

pub(super) fn delete_authorizer(control: &mut Control<'_>, params: Params) -> Outcome<Value> {
    let (api, authorizer) = authorizer(control, params)?;
    let (mut api, id, name) = (api.clone(), authorizer.id.clone(), authorizer.name.clone());
    for resource in api.resources.values() {
        if resource.methods.values().any(|method| method.authorizer_id.as_ref() == Some(&id)) {
            return Err(Fault::conflict(format!(
                "Cannot delete authorizer '{name}', is referenced in a method of resource {}",
                resource.path
            )));
        }
    }
    api.authorizers.remove(&id);
    control.keep(api);
    Ok(json!({}))
}

fn change(authorizer: &mut Authorizer, patch: &Patch) -> Outcome<()> {
    if patch.path.as_deref().is_some_and(|path| path.starts_with("/providerARNs")) {
        let arn = patch.filled().or_else(|| patch.value.clone()).ok_or_else(|| patch.no_such_path())?;
        authorizer.provider_arns.retain(|known| *known != arn);
        if patch.op != "remove" {
            authorizer.provider_arns.push(arn);
        }
        return Ok(());
    }
    if patch.op != "replace" {
        return Err(patch.no_such_path());
    }
    match patch.path.as_deref().unwrap_or_default() {
        "/name" => patch.text().clone_into(&mut authorizer.name),
        "/type" => match patch.text() {
            kind @ ("TOKEN" | "REQUEST" | "COGNITO_USER_POOLS") => kind.clone_into(&mut authorizer.kind),
            other => return Err(Fault::bad(format!("Invalid Authorizer type specified: {other}"))),
        },
        "/authType" => authorizer.auth_type = patch.filled(),
        "/authorizerUri" => authorizer.authorizer_uri = patch.filled(),
        "/authorizerCredentials" => authorizer.authorizer_credentials = patch.filled(),
        "/identitySource" => authorizer.identity_source = patch.filled(),
        "/identityValidationExpression" => authorizer.identity_validation_expression = patch.filled(),
        "/authorizerResultTtlInSeconds" => {
            authorizer.authorizer_result_ttl_in_seconds = match patch.filled() {
                None => None,
                Some(text) => ttl(Some(text.parse().unwrap_or(-1)))?,
            }
        }
        _ => return Err(patch.no_such_path()),
    }
    Ok(())
}
