//! Models: JSON schemas, draft 4, under a name.

use std::collections::BTreeMap;

use serde_json::{json, Value};

use crate::gateway::rest::control::fault::{Fault, Outcome};
use crate::gateway::rest::control::params::{check_media_type, Params};
use crate::gateway::rest::control::{page, Control};
use crate::gateway::rest::model::{shown, Model, RestApi};

const PATHS: &[&str] = &["/description", "/schema"];
/// Keywords of draft 4 that AWS takes; what is not here is refused. `example` and `x-…` are let through.
const KEYWORDS: &[&str] = &[
    "$schema",
    "$ref",
    "id",
    "title",
    "description",
    "default",
    "multipleOf",
    "maximum",
    "exclusiveMaximum",
    "minimum",
    "exclusiveMinimum",
    "maxLength",
    "minLength",
    "pattern",
    "additionalItems",
    "items",
    "maxItems",
    "minItems",
    "uniqueItems",
    "maxProperties",
    "minProperties",
    "required",
    "additionalProperties",
    "definitions",
    "properties",
    "patternProperties",
    "dependencies",
    "enum",
    "type",
    "format",
    "allOf",
    "anyOf",
    "oneOf",
    "not",
    "example",
    "examples",
    "discriminator",
    "readOnly",
    "xml",
    "externalDocs",
];
/// Types of draft 4, and `file`, which Swagger 2 has for answers.
const TYPES: [&str; 8] = ["array", "boolean", "integer", "null", "number", "object", "string", "file"];
/// How deep a schema may be.
const DEPTH_MAX: usize = 100;

fn no_model(name: &str) -> Fault {
    Fault::missing(format!("Invalid model name specified: {name}"))
}

/// The models of an API that was not imported.
pub(super) fn default_models(id: &mut dyn FnMut() -> String) -> BTreeMap<String, Model> {
    let draft = "http://json-schema.org/draft-04/schema#";
    let empty =
        format!("{{\n  \"$schema\": \"{draft}\",\n  \"title\" : \"Empty Schema\",\n  \"type\" : \"object\"\n}}");
    let error = format!(
        "{{\n  \"$schema\" : \"{draft}\",\n  \"title\" : \"Error Schema\",\n  \"type\" : \"object\",\n  \"properties\" : {{\n    \"message\" : {{ \"type\" : \"string\" }}\n  }}\n}}"
    );
    let mut model = |name: &str, schema: String| Model {
        id: id(),
        name: name.to_owned(),
        description: Some(format!("This is a default {} schema model", name.to_lowercase())),
        schema: Some(schema),
        content_type: "application/json".into(),
    };
    [model("Empty", empty), model("Error", error)].into_iter().map(|one| (one.name.clone(), one)).collect()
}

/// Find the keywords that are not draft 4's. The error says what else is none of its schemas: with it, each request of the model
/// would fail.
fn unknown_keywords<'a>(schema: &'a Value, depth: usize, found: &mut Vec<&'a str>) -> Result<(), String> {
    let Value::Object(members) = schema else { return Ok(()) };
    if depth > DEPTH_MAX {
        return Err(format!("It is deeper than {DEPTH_MAX}"));
    }
    members.iter().try_for_each(|(key, value)| {
        if !KEYWORDS.contains(&key.as_str()) && !key.starts_with("x-") {
            found.push(key);
        }
        match (key.as_str(), value) {
            ("properties" | "patternProperties" | "definitions", Value::Object(of)) => {
                of.values().try_for_each(|one| unknown_keywords(one, depth + 1, found))
            }
            ("allOf" | "anyOf" | "oneOf" | "items", Value::Array(list)) => {
                list.iter().try_for_each(|one| unknown_keywords(one, depth + 1, found))
            }
            ("items" | "not" | "additionalProperties" | "additionalItems", one) => {
                unknown_keywords(one, depth + 1, found)
            }
            ("type", one) => one_or_more(one)
                .iter()
                .find(|of| !is_type(of))
                .map_or(Ok(()), |of| Err(format!("There is no type {of}: it is one of {}", TYPES.join(", ")))),
            _ => Ok(()),
        }
    })
}

fn one_or_more(value: &Value) -> &[Value] {
    value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice)
}

fn is_type(value: &Value) -> bool {
    value.as_str().is_some_and(|name| TYPES.contains(&name))
}

/// Refuse a schema that is none.
pub(super) fn check_schema(schema: Option<&str>, content_type: &str) -> Outcome<()> {
    let Some(schema) = schema.filter(|schema| !schema.is_empty()) else {
        return Err(Fault::bad("Model schema must have at least 1 property or array items defined"));
    };
    let invalid = |more: &str| {
        Fault::bad(format!(
            "Invalid model specified: Validation Result: warnings : [], errors : [Invalid model schema specified{more}]"
        ))
    };
    if !content_type.contains("json") {
        return Ok(());
    }
    let Ok(document @ Value::Object(_)) = serde_json::from_str::<Value>(schema) else { return Err(invalid("")) };
    let mut unknown = Vec::new();
    unknown_keywords(&document, 0, &mut unknown).map_err(|wrong| invalid(&format!(". {wrong}")))?;
    if unknown.is_empty() {
        return Ok(());
    }
    Err(invalid(&format!(". Unsupported keyword(s): {}", json!(unknown))))
}

fn shown_model(model: &Model) -> Value {
    shown(model)
}

/// Where a model is used: a method's requests or responses, or another model.
fn used_by(api: &RestApi, name: &str) -> Option<String> {
    for resource in api.resources.values() {
        for (verb, method) in &resource.methods {
            let in_responses =
                method.method_responses.values().any(|one| one.response_models.values().any(|of| of == name));
            if in_responses || method.request_models.values().any(|of| of == name) {
                return Some(format!("method {verb} of resource {}", resource.path));
            }
        }
    }
    let link = format!("/models/{name}\"");
    let other =
        api.models.values().find(|model| model.name != name && model.schema.iter().any(|text| text.contains(&link)));
    other.map(|model| format!("model {}", model.name))
}

fn model<'a>(control: &'a Control<'_>, params: Params) -> Outcome<(&'a RestApi, &'a Model)> {
    let name = params.named("modelName")?;
    let api = control.account.apis.get(params.named("restApiId")?).ok_or_else(|| no_model(name))?;
    Ok((api, api.models.get(name).ok_or_else(|| no_model(name))?))
}

pub(super) fn create_model(control: &mut Control<'_>, params: Params) -> Outcome<Value> {
    let mut api = control.api(params)?.clone();
    let name = params.named("name")?;
    if name.is_empty() {
        return Err(Fault::bad("Model name must be non-empty"));
    }
    if !name.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(Fault::bad(format!("Model name must be alphanumeric: {name}")));
    }
    if api.models.contains_key(name) {
        return Err(Fault::conflict("Model name already exists for this REST API"));
    }
    let content_type = params.named("contentType")?;
    check_media_type(content_type)?;
    let schema = params.filled("schema")?;
    check_schema(schema.as_deref(), content_type)?;
    let model = Model {
        id: control.id(6),
        name: name.to_owned(),
        description: params.filled("description")?,
        schema,
        content_type: content_type.to_owned(),
    };
    let answer = shown_model(&model);
    api.models.insert(name.to_owned(), model);
    control.keep(api);
    Ok(answer)
}

pub(super) fn get_model(control: &mut Control<'_>, params: Params) -> Outcome<Value> {
    Ok(shown_model(model(control, params)?.1))
}

pub(super) fn get_models(control: &mut Control<'_>, params: Params) -> Outcome<Value> {
    let api = control.api(params)?;
    page(params, api.models.iter().map(|(name, model)| (name.as_str(), model)), shown_model)
}

pub(super) fn update_model(control: &mut Control<'_>, params: Params) -> Outcome<Value> {
    let (api, model) = model(control, params)?;
    let (mut api, mut model) = (api.clone(), model.clone());
    for patch in params.patches()? {
        match (patch.op.as_str(), patch.path.as_deref()) {
            ("replace", Some("/description")) => model.description = patch.filled(),
            ("replace", Some("/schema")) => {
                model.schema = patch.filled();
                check_schema(model.schema.as_deref(), &model.content_type)?;
            }
            _ => return Err(patch.unsupported(PATHS)),
        }
    }
    let answer = shown_model(&model);
    api.models.insert(model.name.clone(), model);
    control.keep(api);
    Ok(answer)
}

pub(super) fn delete_model(control: &mut Control<'_>, params: Params) -> Outcome<Value> {
    let (api, model) = model(control, params)?;
    if let Some(place) = used_by(api, &model.name) {
        return Err(Fault::conflict(format!("Cannot delete model '{}', is referenced in {place}", model.name)));
    }
    let (mut api, name) = (api.clone(), model.name.clone());
    api.models.remove(&name);
    control.keep(api);
    Ok(json!({}))
}
