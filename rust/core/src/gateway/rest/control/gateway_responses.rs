//! Gateway responses: how the errors of the gateway itself look, AWS's defaults among them.

use serde_json::{json, Value};

use crate::gateway::rest::control::fault::{Fault, Outcome};
use crate::gateway::rest::control::params::{check_media_type, is_status, Params, Patch, RESPONSE_TYPES};
use crate::gateway::rest::control::Control;
use crate::gateway::rest::model::{shown, GatewayResponse, RestApi, Texts};

const TEMPLATE: &str = r#"{"message":$context.error.messageString}"#;

/// The status that AWS gives a type; `DEFAULT_4XX` and `DEFAULT_5XX` have none.
fn status_of(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "BAD_REQUEST_BODY" | "BAD_REQUEST_PARAMETERS" => "400",
        "UNAUTHORIZED" => "401",
        "ACCESS_DENIED"
        | "EXPIRED_TOKEN"
        | "INVALID_API_KEY"
        | "INVALID_SIGNATURE"
        | "MISSING_AUTHENTICATION_TOKEN"
        | "WAF_FILTERED" => "403",
        "RESOURCE_NOT_FOUND" => "404",
        "REQUEST_TOO_LARGE" => "413",
        "UNSUPPORTED_MEDIA_TYPE" => "415",
        "QUOTA_EXCEEDED" | "THROTTLED" => "429",
        "API_CONFIGURATION_ERROR" | "AUTHORIZER_CONFIGURATION_ERROR" | "AUTHORIZER_FAILURE" => "500",
        "INTEGRATION_FAILURE" | "INTEGRATION_TIMEOUT" => "504",
        _ => return None,
    })
}

/// The response of a type: the one that was set, or AWS's own.
pub fn gateway_response(api: &RestApi, kind: &str) -> GatewayResponse {
    api.gateway_responses.get(kind).cloned().unwrap_or_else(|| GatewayResponse {
        response_type: kind.to_owned(),
        status_code: status_of(kind).map(str::to_owned),
        response_parameters: Texts::new(),
        response_templates: [("application/json".to_owned(), TEMPLATE.to_owned())].into(),
        default_response: true,
    })
}

/// Refuse a response that the gateway cannot give.
pub(super) fn check_gateway_response(response: &GatewayResponse) -> Outcome<()> {
    for target in response.response_parameters.keys() {
        if target.strip_prefix("gatewayresponse.header.").is_none_or(str::is_empty) {
            return Err(Fault::bad(format!(
                "Invalid mapping expression specified: Validation Result: warnings : [], errors : [Invalid mapping expression parameter specified: {target}]"
            )));
        }
    }
    response.response_templates.keys().try_for_each(|kind| check_media_type(kind))
}

pub(super) fn put_gateway_response(control: &mut Control<'_>, params: Params) -> Outcome<Value> {
    let mut api = control.api(params)?.clone();
    let kind = params.named("responseType")?;
    let response = GatewayResponse {
        response_type: kind.to_owned(),
        status_code: params.filled("statusCode")?.or_else(|| status_of(kind).map(str::to_owned)),
        response_parameters: params.texts("responseParameters")?,
        response_templates: params.texts("responseTemplates")?,
        default_response: false,
    };
    check_gateway_response(&response)?;
    let answer = shown(&response);
    api.gateway_responses.insert(kind.to_owned(), response);
    control.keep(api);
    Ok(answer)
}

pub(super) fn get_gateway_response(control: &mut Control<'_>, params: Params) -> Outcome<Value> {
    Ok(shown(&gateway_response(control.api(params)?, params.named("responseType")?)))
}

pub(super) fn get_gateway_responses(control: &mut Control<'_>, params: Params) -> Outcome<Value> {
    let api = control.api(params)?;
    let mut kinds = RESPONSE_TYPES.to_vec();
    kinds.sort_unstable();
    let items: Vec<Value> = kinds.iter().map(|kind| shown(&gateway_response(api, kind))).collect();
    Ok(json!({"items": items}))
}

pub(super) fn update_gateway_response(control: &mut Control<'_>, params: Params) -> Outcome<Value> {
    let mut api = control.api(params)?.clone();
    let kind = params.named("responseType")?;
    let mut response = gateway_response(&api, kind);
    for patch in params.patches()? {
        change(&mut response, &patch)?;
    }
    response.default_response = false;
    check_gateway_response(&response)?;
    let answer = shown(&response);
    api.gateway_responses.insert(kind.to_owned(), response);
    control.keep(api);
    Ok(answer)
}

pub(super) fn delete_gateway_response(control: &mut Control<'_>, params: Params) -> Outcome<Value> {
    let mut api = control.api(params)?.clone();
    if api.gateway_responses.remove(params.named("responseType")?).is_none() {
        return Err(Fault::missing("Gateway response type not defined on api"));
    }
    control.keep(api);
    Ok(json!({}))
}

fn change(response: &mut GatewayResponse, patch: &Patch) -> Outcome<()> {
    if patch.path.as_deref() == Some("/statusCode") {
        if patch.op != "replace" {
            return Err(patch.no_such_path());
        }
        if !is_status(patch.text()) {
            return Err(Fault::bad("Invalid status code specified"));
        }
        response.status_code = patch.filled();
        return Ok(());
    }
    let (texts, name, member, missing) = if let Some(name) = patch.below("/responseParameters/") {
        (&mut response.response_parameters, name, "responseParameters", "Invalid parameter name specified")
    } else if let Some(kind) = patch.below("/responseTemplates/") {
        (&mut response.response_templates, kind, "responseTemplates", "Invalid content type specified")
    } else {
        return Err(patch.no_such_path());
    };
    if patch.op != "add" && !texts.contains_key(&name) {
        return Err(Fault::missing(missing));
    }
    match (patch.op.as_str(), patch.filled()) {
        ("remove", _) => {
            texts.remove(&name);
        }
        ("add" | "replace", None) => return Err(Fault::bad(format!("Invalid null or empty value in {member}"))),
        ("add" | "replace", Some(value)) => {
            texts.insert(name, value);
        }
        _ => return Err(patch.no_such_path()),
    }
    Ok(())
}
