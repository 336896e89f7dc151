//! Resources: the tree of paths of an API.

use std::collections::BTreeMap;

use serde_json::{json, Value};

use crate::gateway::rest::control::fault::{Fault, Outcome};
use crate::gateway::rest::control::params::Params;
use crate::gateway::rest::control::{page, Control};
use crate::gateway::rest::model::{shown, Resource, RestApi};

/// Most resources of an API.
const RESOURCES_MAX: usize = 300;
const PATHS: &[&str] = &["/parentId", "/pathPart"];

/// Whether a part is `{name+}`.
fn is_greedy(part: &str) -> bool {
    part.starts_with('{') && part.ends_with("+}")
}

/// Whether a part is `{name}` or `{name+}`: one that opens has been seen to close ([`check_part`]).
fn is_variable(part: &str) -> bool {
    part.starts_with('{')
}

/// Refuse what no part of a path can be.
pub(super) fn check_part(part: &str) -> Outcome<()> {
    let is_plain = |text: &str| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-:".contains(&byte))
    };
    let inner = part.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
    let is_right = match inner {
        Some(name) => is_plain(name.strip_suffix('+').unwrap_or(name)),
        None => is_plain(part),
    };
    if is_right {
        return Ok(());
    }
    Err(Fault::bad(
        "Resource's path part only allow a-zA-Z0-9._-: or a valid greedy path variable and curly braces at the beginning and the end.",
    ))
}

/// Refuse a part that does not fit among the resources beside it; `id` is its own, if it is there already.
fn check_place(api: &RestApi, parent: &Resource, part: &str, id: Option<&str>) -> Outcome<()> {
    let beside = || {
        let of = |one: &&Resource| one.parent_id.as_deref() == Some(&parent.id) && Some(one.id.as_str()) != id;
        api.resources.values().filter(of).filter_map(|one| one.path_part.as_deref())
    };
    if beside().any(|other| other == part) {
        return Err(Fault::conflict(format!("Another resource with the same parent already has this name: {part}")));
    }
    if is_variable(part) {
        if let Some(other) = beside().find(|other| is_variable(other)) {
            return Err(Fault::bad(format!(
                "A sibling ({other}) of this resource already has a variable path part -- only one is allowed"
            )));
        }
    }
    if let Some(above) = parent.path_part.as_deref().filter(|part| is_greedy(part)) {
        return Err(Fault::bad(format!("Cannot create a child of a resource with a greedy path variable: {above}")));
    }
    Ok(())
}

fn joined(parent: &str, part: &str) -> String {
    if parent == "/" {
        return format!("/{part}");
    }
    format!("{parent}/{part}")
}

/// Make a resource below another.
pub(super) fn add(api: &mut RestApi, parent_id: &str, part: &str, id: String) -> Outcome<String> {
    check_part(part)?;
    let parent = api.resources.get(parent_id).ok_or_else(|| Fault::missing("Invalid Resource identifier specified"))?;
    check_place(api, parent, part, None)?;
    if api.resources.len() >= RESOURCES_MAX {
        return Err(Fault::limit(format!(
            "Maximum number of resources for this API has been reached: {RESOURCES_MAX}"
        )));
    }
    let resource = Resource {
        id: id.clone(),
        parent_id: Some(parent.id.clone()),
        path_part: Some(part.to_owned()),
        path: joined(&parent.path, part),
        methods: BTreeMap::new(),
    };
    api.resources.insert(id.clone(), resource);
    Ok(id)
}

/// Remove a resource with everything below it.
pub(super) fn remove(api: &mut RestApi, id: &str) {
    let mut gone = vec![id.to_owned()];
    while let Some(id) = gone.pop() {
        if let Some(resource) = api.resources.remove(&id) {
            // What is made there anew is the caller's.
            api.declared_methods.retain(|(path, _)| *path != resource.path);
        }
        let below = api.resources.values().filter(|one| one.parent_id.as_deref() == Some(&id));
        gone.extend(below.map(|one| one.id.clone()));
    }
}

/// Bring the paths below a resource up to date. A tree has at most so many levels as resources.
fn repath(api: &mut RestApi, id: &str) {
    let mut work = vec![id.to_owned()];
    while let Some(id) = work.pop() {
        let Some(resource) = api.resources.get(&id) else { continue };
        if let (Some(parent), Some(part)) = (&resource.parent_id, &resource.path_part) {
            let path = api.resources.get(parent).map_or_else(String::new, |parent| joined(&parent.path, part));
            if let Some(resource) = api.resources.get_mut(&id) {
                resource.path = path;
            }
        }
        work.extend(
            api.resources.values().filter(|one| one.parent_id.as_deref() == Some(&id)).map(|one| one.id.clone()),
        );
    }
}

/// A resource as AWS shows it: its methods by name, or whole where they are asked for.
fn shown_resource(resource: &Resource, with_methods: bool) -> Value {
    let mut shape = shown(resource);
    if !with_methods && !resource.methods.is_empty() {
        shape["resourceMethods"] = resource.methods.keys().map(|verb| (verb.clone(), json!({}))).collect();
    }
    shape
}

pub(super) fn create_resource(control: &mut Control<'_>, params: Params) -> Outcome<Value> {
    let mut api = control.api(params)?.clone();
    let id = control.id(6);
    let id = add(&mut api, params.named("parentId")?, params.named("pathPart")?, id)?;
    let answer = shown_resource(&api.resources[&id], false);
    control.keep(api);
    Ok(answer)
}

pub(super) fn get_resource(control: &mut Control<'_>, params: Params) -> Outcome<Value> {
    let (_, resource) = control.resource(params)?;
    Ok(shown_resource(resource, params.list("embed")?.iter().any(|part| part == "methods")))
}

pub(super) fn get_resources(control: &mut Control<'_>, params: Params) -> Outcome<Value> {
    let api = control.api(params)?;
    let with_methods = params.list("embed")?.iter().any(|part| part == "methods");
    let mut resources: Vec<&Resource> = api.resources.values().collect();
    resources.sort_by(|one, other| one.path.cmp(&other.path));
    page(params, resources.into_iter().map(|one| (one.path.as_str(), one)), |one| shown_resource(one, with_methods))
}

pub(super) fn update_resource(control: &mut Control<'_>, params: Params) -> Outcome<Value> {
    let (api, resource) = control.resource(params)?;
    let (mut api, id) = (api.clone(), resource.id.clone());
    for patch in params.patches()? {
        let path = patch.path.as_deref().unwrap_or_default();
        if patch.op != "replace" || !PATHS.contains(&path) {
            return Err(patch.unsupported(PATHS));
        }
        let Some(Resource { parent_id: Some(parent_id), path_part: Some(part), .. }) = api.resources.get(&id) else {
            return Err(Fault::bad("Root resource cannot be updated"));
        };
        let (mut parent_id, mut part) = (parent_id.clone(), part.clone());
        if path == "/parentId" {
            patch.text().clone_into(&mut parent_id);
        } else {
            patch.text().clone_into(&mut part);
            check_part(&part)?;
        }
        let no_parent = || Fault::missing("Invalid Resource identifier specified");
        let parent = api.resources.get(&parent_id).ok_or_else(no_parent)?;
        let mut above = Some(parent);
        while let Some(one) = above {
            if one.id == id {
                return Err(Fault::bad("Resources cannot be cyclical."));
            }
            above = one.parent_id.as_ref().and_then(|id| api.resources.get(id));
        }
        check_place(&api, parent, &part, Some(&id))?;
        if let Some(resource) = api.resources.get_mut(&id) {
            resource.parent_id = Some(parent_id);
            resource.path_part = Some(part);
        }
        repath(&mut api, &id);
    }
    let answer = shown_resource(&api.resources[&id], false);
    control.keep(api);
    Ok(answer)
}

pub(super) fn delete_resource(control: &mut Control<'_>, params: Params) -> Outcome<Value> {
    let (api, resource) = control.resource(params)?;
    if resource.parent_id.is_none() {
        return Err(Fault::bad("Root resource cannot be deleted"));
    }
    let (mut api, id) = (api.clone(), resource.id.clone());
    remove(&mut api, &id);
    control.keep(api);
    Ok(json!({}))
}
