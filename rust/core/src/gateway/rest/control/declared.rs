//! The methods that the app's program declares: in one step its API and its stage have them, and those that it declares no longer are gone.

use std::collections::BTreeSet;

use serde_json::{json, Map, Value};

use crate::gateway::rest::control::deployments::{self, check_complete};
use crate::gateway::rest::control::fault::{Fault, Outcome};
use crate::gateway::rest::control::integrations::integration_of;
use crate::gateway::rest::control::methods::method_of;
use crate::gateway::rest::control::params::Params;
use crate::gateway::rest::control::resources::add;
use crate::gateway::rest::control::stages::check_stage_name;
use crate::gateway::rest::control::Control;
use crate::gateway::rest::model::{Method, RestApi};

/// A method that is declared: its path, and what it is.
type Declared = (String, Method);

/// `restApiId`, `methods`, and the `stageName` of the stage that is to serve them. Each of the methods has a `path`, the members of
/// `PutMethod`, and in `integration` those of `PutIntegration`. `areAll`: whether what is not among them is declared no longer.
/// `isLate`: it was declared while the app ran. It may be declared late at the next start, too, so it never counts as declared no longer.
/// `removed` of the answer are those that are gone now.
pub(super) fn declare_methods(control: &mut Control, params: Params) -> Outcome<Value> {
    let before = control.api(params)?.clone();
    let mut api = before.clone();
    let (mut declared, mut names) = (Vec::new(), BTreeSet::new());
    for given in params.0.get("methods").and_then(Value::as_array).into_iter().flatten() {
        let Some(members) = given.as_object() else { continue };
        let (verb, path) = (Params(members).named("httpMethod")?, Params(members).named("path")?);
        let one = declare(control, &mut api, members).map_err(within(&format!("{verb} {path}")))?;
        let name = (one.0.clone(), one.1.http_method.clone());
        if Params(members).flag("isLate")?.unwrap_or(false) {
            api.declared_methods.remove(&name);
        } else {
            names.insert(name);
        }
        declared.push(one);
    }
    let mut removed = Vec::new();
    if params.flag("areAll")?.unwrap_or(true) {
        for (path, verb) in api.declared_methods.difference(&names) {
            let resource = api.resources.values_mut().find(|resource| resource.path == *path);
            if resource.is_some_and(|resource| resource.methods.remove(verb).is_some()) {
                removed.push(json!({"httpMethod": verb, "path": path}));
            }
        }
    } else {
        names.extend(api.declared_methods.iter().cloned());
    }
    api.declared_methods = names;
    // A stage is held against what it serves, not against what has changed now: whoever changed it may have been killed before it was
    // deployed.
    let stage = params.text("stageName")?.filter(|stage| !serves(control, &api, stage, &declared));
    if let Some(stage) = stage {
        // AWS deploys no API without a method. A stage whose methods are all gone serves none.
        let is_empty = api.resources.values().all(|resource| resource.methods.is_empty());
        let checked = check_stage_name(stage).and_then(|()| if is_empty { Ok(()) } else { check_complete(&api) });
        checked.map_err(within("CreateDeployment")).map_err(within(&format!("stage='{stage}'")))?;
    }
    if api != before {
        control.keep(api.clone());
    }
    let Some(stage) = stage else { return Ok(json!({"removed": removed})) };
    let named = Map::from_iter([("stageName".to_owned(), json!(stage))]);
    Ok(json!({"deploymentId": deployments::deploy(control, api, Params(&named))?.id, "removed": removed}))
}

/// Put a method where it belongs. One that serves the same stays as it is, with what calls have made of the rest.
fn declare(control: &mut Control, api: &mut RestApi, members: &Map<String, Value>) -> Outcome<Declared> {
    let params = Params(members);
    let path = params.named("path")?.to_owned();
    let mut id = api.root_resource_id.clone();
    let mut whole = String::new();
    for part in path.split('/').filter(|part| !part.is_empty()) {
        whole = format!("{whole}/{part}");
        id = match api.at(&whole) {
            Some(known) => known.id.clone(),
            None => {
                let new = control.id(6);
                add(api, &id, part, new).map_err(within("CreateResource"))?
            }
        };
    }
    let mut method = method_of(api, params).map_err(within("PutMethod"))?;
    let integration = params.inner("integration")?.ok_or_else(|| Fault::bad("No integration defined for method"))?;
    method.integration = Some(integration_of(&id, &method, integration).map_err(within("PutIntegration"))?);
    if let Some(resource) = api.resources.get_mut(&id) {
        if !resource.methods.get(&method.http_method).is_some_and(|known| is_same(known, &method)) {
            resource.methods.insert(method.http_method.clone(), method.clone());
        }
    }
    Ok((if whole.is_empty() { "/".into() } else { whole }, method))
}

/// Whether a stage serves what is declared, and nothing that was.
fn serves(control: &Control, api: &RestApi, stage: &str, declared: &[Declared]) -> bool {
    let Some(stage) = control.account.stages.get(&(api.id.clone(), stage.to_owned())) else {
        return declared.is_empty();
    };
    let deployment = control.account.deployments.get(&(api.id.clone(), stage.deployment_id.clone()));
    let Some(served) = deployment.map(|deployment| &deployment.api) else { return false };
    let has = |path: &str, verb: &str| served.at(path).and_then(|resource| resource.methods.get(verb));
    let is_gone = |(path, verb): &(String, String)| has(path, verb).is_none();
    declared.iter().all(|(path, method)| has(path, &method.http_method).is_some_and(|known| is_same(known, method)))
        && served.declared_methods.difference(&api.declared_methods).all(is_gone)
}

/// Whether a method is what a declaration says of it.
fn is_same(known: &Method, declared: &Method) -> bool {
    let settings = |method: &Method| {
        let Method {
            authorization_type,
            authorizer_id,
            authorization_scopes,
            api_key_required,
            request_parameters,
            ..
        } = method.clone();
        let integration = method.integration.as_ref().map(|one| (one.kind, one.uri.clone(), one.timeout_in_millis));
        (authorization_type, authorizer_id, authorization_scopes, api_key_required, request_parameters, integration)
    };
    settings(known) == settings(declared)
}

/// Say first where a refusal is.
fn within(place: &str) -> impl Fn(Fault) -> Fault + '_ {
    move |fault| Fault { message: format!("{place}: {}", fault.message), ..fault }
}
