//! Members of an operation by their own names, as JSON and back: for what the core answers in AWS's own form.

use serde_json::{Map, Value as Json};

use crate::aws::model::{Kind, Model, Shape};
use crate::aws::value::{Fields, Key, Value};

/// A value as JSON: all members, wherever a request has them. Bytes become text.
pub(super) fn to_json(model: &Model, shape: &Shape, value: &Value) -> Json {
    match (&shape.kind, value) {
        (Kind::Structure { members, .. }, Value::Map(_)) => {
            let given = members.iter().filter_map(|member| {
                let value = value.get(member.name)?;
                Some((member.name.to_owned(), to_json(model, model.shape(member.shape), value)))
            });
            Json::Object(given.collect::<Map<_, _>>())
        }
        (Kind::List(item), Value::List(items)) => {
            items.iter().map(|one| to_json(model, model.shape(item.shape), one)).collect()
        }
        (Kind::Map(_, held), Value::Map(entries)) => {
            let shape = model.shape(held.shape);
            let entries = entries.iter().map(|(key, one)| (key.clone().into_owned(), to_json(model, shape, one)));
            Json::Object(entries.collect::<Map<_, _>>())
        }
        (_, Value::Blob(bytes)) => String::from_utf8_lossy(bytes).into_owned().into(),
        (_, Value::Bool(flag)) => (*flag).into(),
        (_, Value::Int(number)) => (*number).into(),
        (_, Value::Double(number)) => Json::from(*number),
        (_, Value::Text(text)) => text.as_str().into(),
        (_, Value::Time(millis)) => (*millis as f64 / 1000.0).into(),
        (_, Value::Document(json)) => (**json).clone(),
        (_, Value::Null | Value::List(_) | Value::Map(_)) => Json::Null,
    }
}

/// A value out of JSON, as far as the model knows its members. Times are seconds; text becomes bytes where these are wanted.
pub(super) fn from_json(model: &Model, shape: &Shape, json: &Json) -> Value {
    match (&shape.kind, json) {
        (Kind::Structure { members, .. }, Json::Object(fields)) => {
            let mut given = Fields::new();
            for member in members {
                let value = fields.get(member.name).map(|one| from_json(model, model.shape(member.shape), one));
                if let Some(value) = value.filter(|value| *value != Value::Null) {
                    given.push((Key::Borrowed(member.name), value));
                }
            }
            Value::Map(given)
        }
        (Kind::List(item), Json::Array(items)) => {
            let shape = model.shape(item.shape);
            Value::List(items.iter().map(|one| from_json(model, shape, one)).collect())
        }
        (Kind::Map(_, held), Json::Object(fields)) => {
            let shape = model.shape(held.shape);
            let entries = fields.iter().map(|(key, one)| (Key::Owned(key.clone()), from_json(model, shape, one)));
            Value::Map(entries.collect())
        }
        (Kind::Blob, Json::String(text)) => Value::Blob(text.clone().into_bytes()),
        (Kind::Time, Json::Number(number)) => {
            Value::Time((number.as_f64().unwrap_or_default() * 1000.0).round() as i64)
        }
        // Lambda's times are texts, and its model has them so.
        (_, Json::String(text)) => Value::Text(text.clone()),
        (_, Json::Bool(flag)) => Value::Bool(*flag),
        (Kind::Double(_), Json::Number(number)) => Value::Double(number.as_f64().unwrap_or_default()),
        (_, Json::Number(number)) => {
            number.as_i64().map_or_else(|| Value::Double(number.as_f64().unwrap_or_default()), Value::Int)
        }
        _ => Value::Null,
    }
}
