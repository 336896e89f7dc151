//! `OpenAPI` documents, in (2.0 and 3.0) and out, with `x-amazon-apigateway-…`.
//!
//! Source: <https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-swagger-extensions.html>

pub(super) mod export;
pub(super) mod import;
mod methods;

use serde_json::{Map, Value};

/// Most bytes of a document.
pub const BYTES_MAX: usize = 6 << 20;

/// Read a document, JSON or YAML; `None` if it is neither an object nor small enough.
pub fn document(text: &str) -> Option<Value> {
    if text.len() > BYTES_MAX {
        return None;
    }
    let read = match serde_json::from_str(text) {
        Ok(value) => value,
        // An alias that repeats itself without end is refused by the reader.
        Err(_) => plain(serde_yaml_ng::from_str(text).ok()?),
    };
    matches!(read, Value::Object(_)).then_some(read)
}

/// YAML's values as JSON has them: a key may be a number there (`200:`).
fn plain(value: serde_yaml_ng::Value) -> Value {
    use serde_yaml_ng::Value as Yaml;
    match value {
        Yaml::Mapping(members) => {
            let key = |key: Yaml| match key {
                Yaml::String(text) => text,
                Yaml::Number(number) => number.to_string(),
                Yaml::Bool(flag) => flag.to_string(),
                other => plain(other).to_string(),
            };
            Value::Object(members.into_iter().map(|(name, value)| (key(name), plain(value))).collect())
        }
        Yaml::Sequence(list) => list.into_iter().map(plain).collect(),
        Yaml::Tagged(tagged) => plain(tagged.value),
        other => serde_json::to_value(other).unwrap_or(Value::Null),
    }
}

/// A member's text, where a number or a flag stands for one.
fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    }
}

fn members<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    value.get(name).and_then(Value::as_object).into_iter().flat_map(Map::iter)
}

/// The security schemes that an operation names, with their scopes: its own, or the document's.
///
/// # Errors
///
/// It is not as a document has it, so nobody can tell who is let in.
pub fn security<'d>(document: &'d Value, operation: &'d Value) -> Result<Vec<(&'d String, &'d Value)>, String> {
    let Some(wanted) = operation.get("security").or_else(|| document.get("security")) else { return Ok(Vec::new()) };
    let all = wanted.as_array().and_then(|all| all.iter().map(Value::as_object).collect::<Option<Vec<_>>>());
    let all = all.ok_or("security is not a list of objects: [{\"scheme\": []}]")?;
    Ok(all.into_iter().flatten().collect())
}

/// Rewrite the references of a schema.
fn with_references(schema: &Value, rewrite: &dyn Fn(&str) -> String) -> Value {
    match schema {
        Value::Object(of) => {
            let member = |(key, value): (&String, &Value)| match (key.as_str(), value) {
                ("$ref", Value::String(text)) => (key.clone(), Value::String(rewrite(text))),
                _ => (key.clone(), with_references(value, rewrite)),
            };
            Value::Object(of.iter().map(member).collect())
        }
        Value::Array(list) => list.iter().map(|one| with_references(one, rewrite)).collect(),
        other => other.clone(),
    }
}
