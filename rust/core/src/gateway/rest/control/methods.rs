//! Methods of resources and the responses that they may give.

use std::collections::BTreeMap;

use serde_json::{json, Value};

use crate::gateway::rest::control::fault::{Fault, Outcome};
use crate::gateway::rest::control::params::{check_media_type, Params, Patch};
use crate::gateway::rest::control::Control;
use crate::gateway::rest::model::{shown, Method, MethodResponse, RestApi, Texts};

pub(super) const VERBS: &[&str] = &["ANY", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"];
const TYPES: &[&str] = &["NONE", "AWS_IAM", "CUSTOM", "COGNITO_USER_POOLS"];

pub(super) fn no_method() -> Fault {
    Fault::missing("Invalid Method identifier specified")
}

fn no_status() -> Fault {
    Fault::missing("Invalid Response status code specified")
}

/// The kind of a list of parameters and its names, of `method.request.{kind}.{name}`.
fn parameter(text: &str, of: &str, kinds: &[&str]) -> Option<(String, String)> {
    let (kind, name) = text.strip_prefix(of)?.split_once('.')?;
    (kinds.contains(&kind) && !name.is_empty()).then(|| (kind.to_owned(), name.to_owned()))
}

fn invalid_parameter(name: &str) -> Fault {
    Fault::bad(format!(
        "Invalid mapping expression specified: Validation Result: warnings : [], errors : [Invalid mapping expression parameter specified: {name}]"
    ))
}

fn check_request_parameters(parameters: &BTreeMap<String, bool>) -> Outcome<()> {
    const KINDS: &[&str] = &["path", "querystring", "header", "multivaluequerystring", "multivalueheader"];
    let mut seen: Vec<String> = Vec::new();
    for text in parameters.keys() {
        let (_, name) = parameter(text, "method.request.", KINDS).ok_or_else(|| invalid_parameter(text))?;
        if seen.contains(&name) {
            return Err(Fault::bad("Parameter names must be unique across querystring, header and path"));
        }
        seen.push(name);
    }
    Ok(())
}

fn check_response_parameters(parameters: &BTreeMap<String, bool>) -> Outcome<()> {
    match parameters.keys().find(|text| parameter(text, "method.response.", &["header"]).is_none()) {
        Some(wrong) => Err(invalid_parameter(wrong)),
        None => Ok(()),
    }
}

fn check_models(api: &RestApi, models: &Texts) -> Outcome<()> {
    for (kind, name) in models {
        check_media_type(kind)?;
        if !api.models.contains_key(name) {
            return Err(Fault::bad(format!("Invalid model identifier specified: {name}")));
        }
    }
    Ok(())
}

/// Refuse an authorisation that cannot work.
fn check_authorization(api: &RestApi, method: &mut Method) -> Outcome<()> {
    method.authorization_type.make_ascii_uppercase();
    let kind = method.authorization_type.as_str();
    if !TYPES.contains(&kind) {
        return Err(Fault::bad(format!(
            "Invalid authorization type specified. Must be one of: [{}]",
            TYPES.join(", ")
        )));
    }
    if kind != "CUSTOM" && kind != "COGNITO_USER_POOLS" {
        return Ok(());
    }
    let fits = |id: &String| {
        api.authorizers.get(id).is_some_and(|one| (one.kind == "COGNITO_USER_POOLS") == (kind == "COGNITO_USER_POOLS"))
    };
    if method.authorizer_id.as_ref().is_some_and(fits) {
        return Ok(());
    }
    Err(Fault::bad(
        "Invalid authorizer ID specified. Setting the authorization type to CUSTOM or COGNITO_USER_POOLS requires a valid authorizer.",
    ))
}

fn check_validator(api: &RestApi, id: Option<&String>) -> Outcome<()> {
    match id {
        Some(id) if !api.request_validators.contains_key(id) => {
            Err(Fault::bad("Invalid Request Validator identifier specified"))
        }
        _ => Ok(()),
    }
}

/// Put a method where it belongs, if everything it names is there.
pub(super) fn check_method(api: &RestApi, method: &mut Method) -> Outcome<()> {
    if !VERBS.contains(&method.http_method.as_str()) {
        return Err(Fault::bad(
            "Invalid HttpMethod specified. Valid options are GET,PUT,POST,DELETE,PATCH,OPTIONS,HEAD,ANY",
        ));
    }
    check_authorization(api, method)?;
    check_validator(api, method.request_validator_id.as_ref())?;
    check_request_parameters(&method.request_parameters)?;
    check_models(api, &method.request_models)
}

/// The method that the members of `PutMethod` say.
pub(super) fn method_of(api: &RestApi, params: Params) -> Outcome<Method> {
    let mut method = Method {
        http_method: params.named("httpMethod")?.to_owned(),
        authorization_type: params.named("authorizationType")?.to_owned(),
        authorizer_id: params.filled("authorizerId")?,
        authorization_scopes: params.list("authorizationScopes")?,
        api_key_required: params.flag("apiKeyRequired")?.unwrap_or(false),
        operation_name: params.filled("operationName")?,
        request_validator_id: params.filled("requestValidatorId")?,
        request_models: params.texts("requestModels")?,
        request_parameters: params.flags("requestParameters")?,
        ..Method::default()
    };
    check_method(api, &mut method)?;
    Ok(method)
}

/// Check a method response against its API.
pub(super) fn check_response(api: &RestApi, response: &MethodResponse) -> Outcome<()> {
    check_response_parameters(&response.response_parameters)?;
    check_models(api, &response.response_models)
}

fn method<'a>(control: &'a Control<'_>, params: Params) -> Outcome<(&'a RestApi, &'a str, &'a Method)> {
    let (api, resource) = control.resource(params)?;
    let method = resource.methods.get(params.named("httpMethod")?).ok_or_else(no_method)?;
    Ok((api, &resource.id, method))
}

/// Change a method by what `change` does to it.
pub(super) fn change_method<T>(
    control: &mut Control<'_>,
    params: Params,
    change: impl FnOnce(&RestApi, &str, &mut Method) -> Outcome<T>,
) -> Outcome<T> {
    let (api, resource, method) = method(control, params)?;
    let (mut api, resource, mut method) = (api.clone(), resource.to_owned(), method.clone());
    let answer = change(&api, &resource, &mut method)?;
    if let Some(resource) = api.resources.get_mut(&resource) {
        resource.methods.insert(method.http_method.clone(), method);
    }
    control.keep(api);
    Ok(answer)
}

pub(super) fn put_method(control: &mut Control<'_>, params: Params) -> Outcome<Value> {
    let (api, resource) = control.resource(params)?;
    let verb = params.named("httpMethod")?;
    let method = method_of(api, params)?;
    if resource.methods.contains_key(verb) {
        return Err(Fault::conflict("Method already exists for this resource"));
    }
    let (mut api, id, answer) = (api.clone(), resource.id.clone(), shown(&method));
    if let Some(resource) = api.resources.get_mut(&id) {
        resource.methods.insert(verb.to_owned(), method);
        // It is the caller's now, whatever the program declared there.
        api.declared_methods.remove(&(resource.path.clone(), verb.to_owned()));
    }
    control.keep(api);
    Ok(answer)
}

pub(super) fn get_method(control: &mut Control<'_>, params: Params) -> Outcome<Value> {
    Ok(shown(method(control, params)?.2))
}

pub(super) fn update_method(control: &mut Control<'_>, params: Params) -> Outcome<Value> {
    let patches = params.patches()?;
    change_method(control, params, |api, _, method| {
        for patch in &patches {
            change(method, patch)?;
        }
        check_method(api, method)?;
        Ok(shown(method))
    })
}

pub(super) fn delete_method(control: &mut Control<'_>, params: Params) -> Outcome<Value> {
    let (api, resource, method) = method(control, params)?;
    let (mut api, resource, verb) = (api.clone(), resource.to_owned(), method.http_method.clone());
    if let Some(resource) = api.resources.get_mut(&resource) {
        resource.methods.remove(&verb);
        api.declared_methods.remove(&(resource.path.clone(), verb));
    }
    control.keep(api);
    Ok(json!({}))
}

pub(super) fn put_method_response(control: &mut Control<'_>, params: Params) -> Outcome<Value> {
    let response = MethodResponse {
        status_code: params.named("statusCode")?.to_owned(),
        response_parameters: params.flags("responseParameters")?,
        response_models: params.texts("responseModels")?,
    };
    change_method(control, params, |api, _, method| {
        if method.method_responses.contains_key(&response.status_code) {
            return Err(Fault::conflict("Response already exists for this resource"));
        }
        check_response(api, &response)?;
        let answer = shown(&response);
        method.method_responses.insert(response.status_code.clone(), response);
        Ok(answer)
    })
}

pub(super) fn get_method_response(control: &mut Control<'_>, params: Params) -> Outcome<Value> {
    let (_, _, method) = method(control, params)?;
    method.method_responses.get(params.named("statusCode")?).map(shown).ok_or_else(no_status)
}

pub(super) fn update_method_response(control: &mut Control<'_>, params: Params) -> Outcome<Value> {
    let (status, patches) = (params.named("statusCode")?, params.patches()?);
    change_method(control, params, |api, _, method| {
        let response = method.method_responses.get_mut(status).ok_or_else(no_status)?;
        for patch in &patches {
            if let Some(name) = patch.below("/responseParameters/") {
                change_flag(&mut response.response_parameters, patch, name)?;
            } else if let Some(kind) = patch.below("/responseModels/") {
                change_model(&mut response.response_models, patch, kind)?;
            } else {
                return Err(patch.no_such_path());
            }
        }
        check_response(api, response)?;
        Ok(shown(response))
    })
}

pub(super) fn delete_method_response(control: &mut Control<'_>, params: Params) -> Outcome<Value> {
    let status = params.named("statusCode")?;
    change_method(control, params, |_, _, method| {
        method.method_responses.remove(status).map(|_| json!({})).ok_or_else(no_status)
    })
}

fn change_flag(flags: &mut BTreeMap<String, bool>, patch: &Patch, name: String) -> Outcome<()> {
    if patch.op != "add" && !flags.contains_key(&name) {
        return Err(Fault::missing("Invalid parameter name specified"));
    }
    match patch.op.as_str() {
        "remove" => {
            flags.remove(&name);
        }
        "add" | "replace" => {
            flags.insert(name, patch.truth());
        }
        _ => return Err(patch.no_such_path()),
    }
    Ok(())
}

fn change_model(models: &mut Texts, patch: &Patch, kind: String) -> Outcome<()> {
    if patch.op != "add" && !models.contains_key(&kind) {
        return Err(Fault::missing("Content-Type specified was not found"));
    }
    match patch.op.as_str() {
        "remove" => {
            models.remove(&kind);
        }
        "add" | "replace" => {
            models.insert(kind, patch.text().to_owned());
        }
        _ => return Err(patch.no_such_path()),
    }
    Ok(())
}

fn change(method: &mut Method, patch: &Patch) -> Outcome<()> {
    if let Some(name) = patch.below("/requestParameters/") {
        return change_flag(&mut method.request_parameters, patch, name);
    }
    if let Some(kind) = patch.below("/requestModels/") {
        return change_model(&mut method.request_models, patch, kind);
    }
    let path = patch.path.as_deref().unwrap_or_default();
    if path == "/authorizationScopes" {
        let scopes = patch.filled().or_else(|| patch.value.clone()).unwrap_or_default();
        for scope in scopes.split(',').map(str::trim).filter(|scope| !scope.is_empty()) {
            method.authorization_scopes.retain(|known| known != scope);
            if patch.op != "remove" {
                method.authorization_scopes.push(scope.to_owned());
            }
        }
        return Ok(());
    }
    if patch.op != "replace" {
        return Err(patch.no_such_path());
    }
    match path {
        "/authorizationType" => patch.text().clone_into(&mut method.authorization_type),
        "/authorizerId" => method.authorizer_id = patch.filled(),
        "/apiKeyRequired" => method.api_key_required = patch.truth(),
        "/operationName" => method.operation_name = patch.filled(),
        "/requestValidatorId" => method.request_validator_id = patch.filled(),
        _ => return Err(patch.no_such_path()),
    }
    Ok(())
}
