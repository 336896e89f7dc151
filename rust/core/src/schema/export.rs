//! A registry's `OpenAPI` 3 document becomes one of JSON Schema Draft 4.

use serde_json::{json, Map, Value as Json};

use super::names;
use super::shapes::list_null;

const COMPONENTS: &str = "#/components/schemas/";

/// The schema of the event, as Draft 4: components become definitions, and `nullable` a type. The text is a document that was read before.
pub fn draft_4_of(open_api: &str) -> Option<String> {
    let document: Json = serde_json::from_str(open_api).ok()?;
    let title = document["info"]["title"].as_str()?;
    let components = document["components"]["schemas"].as_object()?;
    let called = |wanted: &str| components.contains_key(wanted).then(|| wanted.to_owned());
    let only = || components.keys().next().filter(|_| components.len() == 1).cloned();
    let root_name =
        called("AWSEvent").or_else(|| called(title)).or_else(|| called(&names::title(title))).or_else(only)?;
    let Json::Object(root) = converted(&components[&root_name], &root_name) else { return None };
    let others = components.iter().filter(|(name, _)| **name != root_name);
    let definitions: Map<String, Json> =
        others.map(|(name, schema)| (name.clone(), converted(schema, &root_name))).collect();
    let mut draft = Map::new();
    draft.insert("$schema".into(), "http://json-schema.org/draft-04/schema#".into());
    draft.insert("definitions".into(), definitions.into());
    draft.insert("title".into(), title.into());
    draft.extend(root);
    Some(Json::from(draft).to_string())
}

/// A schema, or what lies within one.
fn converted(schema: &Json, root: &str) -> Json {
    let Json::Object(fields) = schema else { return schema.clone() };
    let mut converted_fields = Map::new();
    for (key, value) in fields {
        let value = match (key.as_str(), value) {
            ("nullable", Json::Bool(_)) => continue,
            ("$ref", Json::String(to)) => reference(to, root).into(),
            ("properties", Json::Object(properties)) => {
                properties.iter().map(|(name, schema)| (name.clone(), converted(schema, root))).collect()
            }
            ("allOf" | "anyOf" | "oneOf", Json::Array(schemas)) => {
                schemas.iter().map(|schema| converted(schema, root)).collect()
            }
            ("items" | "additionalProperties" | "not", value) => converted(value, root),
            // Values of events, and words: `enum`, `required`, `format`.
            _ => value.clone(),
        };
        converted_fields.insert(key.clone(), value);
    }
    if fields.get("nullable") == Some(&Json::Bool(true)) {
        if let Some(name) = converted_fields.get("type").filter(|name| name.is_string()) {
            let types = json!([name, "null"]);
            converted_fields.insert("type".into(), types);
        }
        if let Some(Json::Array(choices)) = converted_fields.get_mut("enum") {
            list_null(choices);
        }
    }
    converted_fields.into()
}

fn reference(to: &str, root: &str) -> String {
    match to.strip_prefix(COMPONENTS) {
        Some(name) if name == root => "#".into(),
        Some(name) => format!("#/definitions/{name}"),
        None => to.to_owned(),
    }
}
