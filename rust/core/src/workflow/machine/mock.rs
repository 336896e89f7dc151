//! Holds a mocked result against its service's model, with AWS's words for what does not fit.

#[cfg(test)]
mod tests;

use serde_json::{Map, Value};

use crate::workflow::definition::Resource;
use crate::workflow::value::NESTING_MAX;

/// Check a result. `model` is `{"output": NAME, "shapes": {NAME: …}}`; `is_strict` wants the required fields, too.
pub(super) fn check_result(
    model: &Value,
    resource: Option<&Resource>,
    result: &Value,
    is_strict: bool,
) -> Result<(), String> {
    let (Some(output), Some(shapes)) =
        (model.get("output").and_then(Value::as_str), model.get("shapes").and_then(Value::as_object))
    else {
        return Ok(());
    };
    // What a function returns is its own matter; the model knows bytes only.
    let is_function = matches!(resource, Some(Resource::Service { service, action, .. }) if service.as_str() == "lambda" && action.starts_with("invoke"));
    let check = Check { shapes, is_strict, free: is_function.then_some("Payload") };
    check.value("", output, result, 0)
}

struct Check<'m> {
    shapes: &'m Map<String, Value>,
    is_strict: bool,
    /// A field that may hold anything.
    free: Option<&'static str>,
}

impl Check<'_> {
    fn value(&self, field: &str, shape: &str, value: &Value, depth: usize) -> Result<(), String> {
        let Some(shape) = self.shapes.get(shape).filter(|_| depth <= NESTING_MAX) else { return Ok(()) };
        let wrong = |what: &str| Err(format!("Field '{field}' {what}"));
        match shape.get("type").and_then(Value::as_str).unwrap_or_default() {
            "structure" => match value.as_object() {
                Some(fields) => self.structure(shape, fields, depth),
                None if field.is_empty() => Err("Mocked result must be an object".into()),
                None => wrong("must be an object"),
            },
            "list" => match value.as_array() {
                Some(items) => {
                    let member = shape.pointer("/member/shape").and_then(Value::as_str).unwrap_or_default();
                    items.iter().try_for_each(|item| self.value(field, member, item, depth + 1))
                }
                None => wrong("must be an array"),
            },
            "map" => match value.as_object() {
                Some(fields) => {
                    let member = shape.pointer("/value/shape").and_then(Value::as_str).unwrap_or_default();
                    fields.iter().try_for_each(|(name, value)| self.value(name, member, value, depth + 1))
                }
                None => wrong("must be an object"),
            },
            "string" | "blob" | "timestamp" => match value.as_str() {
                Some(text) => check_text(field, shape, text),
                None => wrong("must be a string"),
            },
            kind @ ("integer" | "long" | "float" | "double") => match number(kind, value) {
                Some(number) => check_number(field, shape, number),
                None => wrong("must be a number"),
            },
            "boolean" if !value.is_boolean() => wrong("must be a boolean"),
            _ => Ok(()),
        }
    }

    /// Task results name fields with a capital letter, whatever the model does.
    fn structure(&self, shape: &Value, fields: &Map<String, Value>, depth: usize) -> Result<(), String> {
        let required = shape.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        for name in required.filter(|_| self.is_strict).map(capitalized) {
            if !fields.contains_key(&name) {
                return Err(format!("Required field '{name}' is missing"));
            }
        }
        let members = shape.get("members").and_then(Value::as_object).into_iter().flatten();
        for (member, target) in members {
            let name = capitalized(member);
            let Some(value) = fields.get(&name).filter(|value| !value.is_null()) else { continue };
            if self.free == Some(name.as_str()) && depth == 0 {
                continue;
            }
            let target = target.get("shape").and_then(Value::as_str).unwrap_or_default();
            self.value(&name, target, value, depth + 1)?;
        }
        Ok(())
    }
}

fn check_text(field: &str, shape: &Value, text: &str) -> Result<(), String> {
    let wrong = |what: &str| Err(format!("Field '{field}' {what}"));
    let length = text.chars().count() as u64;
    if let Some(values) = shape.get("enum").and_then(Value::as_array) {
        if !values.iter().any(|value| value == text) {
            return wrong("is not an expected value");
        }
    }
    if shape.get("min").and_then(Value::as_u64).is_some_and(|least| length < least) {
        return wrong("is smaller than the minimum length");
    }
    if shape.get("max").and_then(Value::as_u64).is_some_and(|most| length > most) {
        return wrong("exceeds the maximum length");
    }
    Ok(())
}

fn number(kind: &str, value: &Value) -> Option<f64> {
    let is_whole = value.is_i64() || value.is_u64();
    value.as_f64().filter(|_| is_whole || matches!(kind, "float" | "double"))
}

fn check_number(field: &str, shape: &Value, number: f64) -> Result<(), String> {
    if shape.get("min").and_then(Value::as_f64).is_some_and(|least| number < least) {
        return Err(format!("Field '{field}' is less than the minimum value"));
    }
    if shape.get("max").and_then(Value::as_f64).is_some_and(|most| number > most) {
        return Err(format!("Field '{field}' exceeds the maximum value"));
    }
    Ok(())
}

fn capitalized(name: &str) -> String {
    let mut characters = name.chars();
    characters.next().map_or_else(String::new, |first| first.to_ascii_uppercase().to_string() + characters.as_str())
}
