//! Request validators: what of a request is validated.

use serde_json::{json, Value};

use crate::gateway::rest::control::fault::{Fault, Outcome};
use crate::gateway::rest::control::params::Params;
use crate::gateway::rest::control::{page, Control};
use crate::gateway::rest::model::{shown, RequestValidator, RestApi};

const PATHS: &[&str] = &["/name", "/validateRequestParameters", "/validateRequestBody"];

fn no_validator() -> Fault {
    Fault::missing("Invalid Request Validator identifier specified")
}

fn validator<'a>(control: &'a Control<'_>, params: Params) -> Outcome<(&'a RestApi, &'a RequestValidator)> {
    let api = control.account.apis.get(params.named("restApiId")?).ok_or_else(no_validator)?;
    Ok((api, api.request_validators.get(params.named("requestValidatorId")?).ok_or_else(no_validator)?))
}

pub(super) fn create_request_validator(control: &mut Control<'_>, params: Params) -> Outcome<Value> {
    let no_api = || Fault::bad("Invalid REST API identifier specified");
    let mut api = control.account.apis.get(params.named("restApiId")?).ok_or_else(no_api)?.as_ref().clone();
    if params.text("name")? == Some("") {
        return Err(Fault::bad("Request Validator name cannot be blank"));
    }
    let validator = RequestValidator {
        id: control.id(6),
        name: params.filled("name")?,
        validate_request_body: params.flag("validateRequestBody")?.unwrap_or(false),
        validate_request_parameters: params.flag("validateRequestParameters")?.unwrap_or(false),
    };
    let answer = shown(&validator);
    api.request_validators.insert(validator.id.clone(), validator);
    control.keep(api);
    Ok(answer)
}

pub(super) fn get_request_validator(control: &mut Control<'_>, params: Params) -> Outcome<Value> {
    Ok(shown(validator(control, params)?.1))
}

pub(super) fn get_request_validators(control: &mut Control<'_>, params: Params) -> Outcome<Value> {
    let api = control.api(params)?;
    page(params, api.request_validators.iter().map(|(id, one)| (id.as_str(), one)), shown)
}

pub(super) fn update_request_validator(control: &mut Control<'_>, params: Params) -> Outcome<Value> {
    let (api, validator) = validator(control, params)?;
    let (mut api, mut validator) = (api.clone(), validator.clone());
    for patch in params.patches()? {
        match (patch.op.as_str(), patch.path.as_deref()) {
            ("replace", Some("/name")) if patch.text().is_empty() => {
                return Err(Fault::bad("Request Validator name cannot be blank"));
            }
            ("replace", Some("/name")) => validator.name = patch.filled(),
            ("replace", Some("/validateRequestBody")) => validator.validate_request_body = patch.truth(),
            ("replace", Some("/validateRequestParameters")) => {
                validator.validate_request_parameters = patch.truth();
            }
            _ => return Err(patch.unsupported(PATHS)),
        }
    }
    let answer = shown(&validator);
    api.request_validators.insert(validator.id.clone(), validator);
    control.keep(api);
    Ok(answer)
}

pub(super) fn delete_request_validator(control: &mut Control<'_>, params: Params) -> Outcome<Value> {
    let (api, validator) = validator(control, params)?;
    let (mut api, id) = (api.clone(), validator.id.clone());
    let mut methods = api.resources.values().flat_map(|resource| resource.methods.values());
    if methods.any(|method| method.request_validator_id.as_ref() == Some(&id)) {
        return Err(Fault::bad(
            "Cannot delete a Request Validator that methods use: set their requestValidatorId to another one first",
        ));
    }
    api.request_validators.remove(&id);
    control.keep(api);
    Ok(json!({}))
}
