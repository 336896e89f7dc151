//! Documentation parts and versions: texts about parts of an API.

use serde_json::{json, Value};

use crate::gateway::rest::control::fault::{Fault, Outcome};
use crate::gateway::rest::control::openapi::document;
use crate::gateway::rest::control::params::Params;
use crate::gateway::rest::control::{page, seconds, Control};
use crate::gateway::rest::model::{shown, DocumentationPart, DocumentationVersion, RestApi};

fn no_part() -> Fault {
    Fault::missing("Invalid Documentation part identifier specified")
}

fn no_version() -> Fault {
    Fault::missing("Invalid Documentation version specified")
}

fn check_properties(properties: &str) -> Outcome<()> {
    if properties.is_empty() {
        return Err(Fault::bad("Documentation part properties must be non-empty"));
    }
    match serde_json::from_str::<Value>(properties) {
        Ok(Value::Object(_)) => Ok(()),
        _ => Err(Fault::bad("Documentation part properties must be a valid JSON object")),
    }
}

fn part<'a>(control: &'a Control<'_>, params: Params) -> Outcome<(&'a RestApi, &'a DocumentationPart)> {
    let api = control.api(params)?;
    Ok((api, api.documentation_parts.get(params.named("documentationPartId")?).ok_or_else(no_part)?))
}

pub(super) fn create_documentation_part(control: &mut Control<'_>, params: Params) -> Outcome<Value> {
    let mut api = control.api(params)?.clone();
    let properties = params.named("properties")?;
    check_properties(properties)?;
    let location = params.0.get("location").cloned().unwrap_or(Value::Null);
    if api.documentation_parts.values().any(|part| part.location == location) {
        return Err(Fault::conflict("Documentation part already exists for the specified location"));
    }
    let part = DocumentationPart { id: control.id(6), location, properties: properties.to_owned() };
    let answer = shown(&part);
    api.documentation_parts.insert(part.id.clone(), part);
    control.keep(api);
    Ok(answer)
}

pub(super) fn get_documentation_part(control: &mut Control<'_>, params: Params) -> Outcome<Value> {
    Ok(shown(part(control, params)?.1))
}

pub(super) fn get_documentation_parts(control: &mut Control<'_>, params: Params) -> Outcome<Value> {
    let api = control.api(params)?;
    let (kind, name, path) = (params.text("type")?, params.text("nameQuery")?, params.text("path")?);
    let is = |part: &DocumentationPart, member: &str, wanted: Option<&str>| {
        wanted.is_none_or(|wanted| part.location.get(member).and_then(Value::as_str) == Some(wanted))
    };
    let fits = |part: &DocumentationPart| is(part, "type", kind) && is(part, "name", name) && is(part, "path", path);
    let list = api.documentation_parts.iter().filter(|(_, part)| fits(part));
    page(params, list.map(|(id, part)| (id.as_str(), part)), shown)
}

pub(super) fn update_documentation_part(control: &mut Control<'_>, params: Params) -> Outcome<Value> {
    let (api, part) = part(control, params)?;
    let (mut api, mut part) = (api.clone(), part.clone());
    for patch in params.patches()? {
        match (patch.op.as_str(), patch.path.as_deref()) {
            ("replace", Some("/properties")) => patch.text().clone_into(&mut part.properties),
            _ => return Err(patch.unsupported(&["/properties"])),
        }
        check_properties(&part.properties)?;
    }
    let answer = shown(&part);
    api.documentation_parts.insert(part.id.clone(), part);
    control.keep(api);
    Ok(answer)
}

pub(super) fn delete_documentation_part(control: &mut Control<'_>, params: Params) -> Outcome<Value> {
    let (api, part) = part(control, params)?;
    let (mut api, id) = (api.clone(), part.id.clone());
    api.documentation_parts.remove(&id);
    control.keep(api);
    Ok(json!({}))
}

pub(super) fn import_documentation_parts(control: &mut Control<'_>, params: Params) -> Outcome<Value> {
    let mut api = control.api(params)?.clone();
    let text = params.named("body")?;
    let document = document(text).ok_or_else(|| Fault::bad("Unable to build importer with provided input."))?;
    let parts = document
        .get("documentationParts")
        .or_else(|| document.get("x-amazon-apigateway-documentation")?.get("documentationParts"));
    if params.text("mode")? == Some("overwrite") {
        api.documentation_parts.clear();
    }
    let mut ids = Vec::new();
    for part in parts.and_then(Value::as_array).into_iter().flatten() {
        let location = part.get("location").cloned().unwrap_or(Value::Null);
        let properties = part.get("properties").map(Value::to_string).unwrap_or_default();
        check_properties(&properties)?;
        let known = api.documentation_parts.values().find(|known| known.location == location);
        let id = known.map_or_else(|| control.id(6), |known| known.id.clone());
        ids.push(id.clone());
        api.documentation_parts.insert(id.clone(), DocumentationPart { id, location, properties });
    }
    control.keep(api);
    Ok(json!({"ids": ids, "warnings": []}))
}

pub(super) fn create_documentation_version(control: &mut Control<'_>, params: Params) -> Outcome<Value> {
    let mut api = control.api(params)?.clone();
    let version = params.named("documentationVersion")?.to_owned();
    if api.documentation_versions.contains_key(&version) {
        return Err(Fault::conflict(format!("Version already exists: {version}")));
    }
    let made = DocumentationVersion {
        version: version.clone(),
        created_date: control.facts.now_ms,
        description: params.filled("description")?,
    };
    let answer = seconds(shown(&made));
    api.documentation_versions.insert(version, made);
    control.keep(api);
    Ok(answer)
}

pub(super) fn get_documentation_version(control: &mut Control<'_>, params: Params) -> Outcome<Value> {
    let api = control.api(params)?;
    let found = api.documentation_versions.get(params.named("documentationVersion")?);
    Ok(seconds(shown(found.ok_or_else(no_version)?)))
}

pub(super) fn get_documentation_versions(control: &mut Control<'_>, params: Params) -> Outcome<Value> {
    let api = control.api(params)?;
    let list = api.documentation_versions.iter().map(|(name, one)| (name.as_str(), one));
    page(params, list, |one| seconds(shown(one)))
}

pub(super) fn delete_documentation_version(control: &mut Control<'_>, params: Params) -> Outcome<Value> {
    let mut api = control.api(params)?.clone();
    api.documentation_versions.remove(params.named("documentationVersion")?).ok_or_else(no_version)?;
    control.keep(api);
    Ok(json!({}))
}
