//! JSON bodies: of JSON 1.0 and 1.1, and of REST.

use serde_json::{Map, Value as Json};

use crate::aws::model::{Kind, Location, Member, Model, Shape, TimeFormat};
use crate::aws::protocol::{base64_text, double_text, integer, text_of_bytes, time, Malformed, DEPTH_MAX};
use crate::aws::value::{Fields, Key, Value};

/// Which names JSON has: of JSON 1.0 and 1.1 the members' own, of REST those that the model gives for the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// The members' own.
    Own,
    /// Those of the wire.
    Wire,
}

impl Names {
    fn of(self, member: &Member) -> &'static str {
        match self {
            Self::Own => member.name,
            Self::Wire => member.wire_name(),
        }
    }
}

/// Read a body; an empty one is an empty structure.
pub fn read(model: &Model, shape: &Shape, names: Names, body: &[u8]) -> Result<Value, Malformed> {
    if body.is_empty() {
        return Ok(Value::structure());
    }
    let json: Json = serde_json::from_slice(body).map_err(|_| Malformed::new("the body is not JSON"))?;
    if json.is_null() && matches!(shape.kind, Kind::Structure { .. }) {
        return Err(Malformed::new("the body is null"));
    }
    Decoder { model, names }.value(shape, None, json, 0)
}

/// Read a value out of JSON.
pub fn value_of(model: &Model, shape: &Shape, names: Names, json: Json) -> Result<Value, Malformed> {
    Decoder { model, names }.value(shape, None, json, 0)
}

/// Write a body.
pub fn write(model: &Model, shape: &Shape, names: Names, value: &Value) -> Vec<u8> {
    Encoder { model, names }.value(shape, None, value).to_string().into_bytes()
}

/// Write a value as JSON.
pub fn json_of(model: &Model, shape: &Shape, names: Names, value: &Value) -> Json {
    Encoder { model, names }.value(shape, None, value)
}

struct Decoder<'m> {
    model: &'m Model,
    names: Names,
}

impl Decoder<'_> {
    fn value(&self, shape: &Shape, format: Option<TimeFormat>, json: Json, depth: usize) -> Result<Value, Malformed> {
        if depth > DEPTH_MAX {
            return Err(Malformed(format!("the body has more than {DEPTH_MAX} levels")));
        }
        Ok(match (&shape.kind, json) {
            (Kind::Document, json) => Value::Document(Box::new(json)),
            (_, Json::Null) => Value::Null,
            (Kind::Structure { members, is_union, .. }, Json::Object(fields)) => {
                self.structure(members, *is_union, fields, depth)?
            }
            (Kind::List(item), Json::Array(items)) => {
                let inner = self.model.shape(item.shape);
                let items = items.into_iter().map(|one| {
                    let value = self.value(inner, item.time, one, depth + 1)?;
                    refuse_null(shape, &value)?;
                    Ok(value)
                });
                Value::List(items.collect::<Result<_, _>>()?)
            }
            (Kind::Map(_, held), Json::Object(fields)) => {
                let inner = self.model.shape(held.shape);
                let entries = fields.into_iter().map(|(key, one)| {
                    let value = self.value(inner, held.time, one, depth + 1)?;
                    refuse_null(shape, &value)?;
                    Ok((Key::Owned(key), value))
                });
                Value::Map(entries.collect::<Result<_, _>>()?)
            }
            (Kind::Text, Json::String(text)) => Value::Text(text),
            (Kind::Blob, Json::String(text)) => Value::Blob(base64_text(&text)?),
            (Kind::Boolean, Json::Bool(flag)) => Value::Bool(flag),
            (Kind::Integer(bits), Json::Number(number)) => {
                let whole =
                    number.as_i64().ok_or_else(|| Malformed(format!("{number} is no whole number in range")))?;
                Value::Int(integer(whole, *bits)?)
            }
            (Kind::Double(_), Json::Number(number)) => {
                Value::Double(number.as_f64().ok_or_else(|| Malformed::new("the number is out of range"))?)
            }
            (Kind::Double(_), Json::String(text)) if !text.starts_with(|first: char| first.is_ascii_digit()) => {
                Value::Double(
                    double_text(&text)
                        .ok()
                        .filter(|number| !number.is_finite())
                        .ok_or_else(|| wrong(shape, "java.lang.String"))?,
                )
            }
            (Kind::Time, json) => Value::Time(moment(format.or(shape.time), &json)?),
            (_, Json::Bool(_)) => return Err(wrong(shape, "java.lang.Boolean")),
            (_, Json::Number(_)) => {
                return Err(wrong(shape, "com.amazon.coral.value.json.numbers.TruncatingBigNumber"))
            }
            (Kind::Structure { .. } | Kind::Map(..) | Kind::List(_), Json::String(_)) => {
                return Err(Malformed::new("Expected list or null"))
            }
            (_, Json::String(_)) => return Err(wrong(shape, "java.lang.String")),
            (_, Json::Array(_)) => return Err(Malformed::new("Start of list found where not expected")),
            (_, Json::Object(_)) => return Err(Malformed::new("Start of structure or map found where not expected.")),
        })
    }

    /// Members that nobody knows are passed over.
    fn structure(
        &self,
        members: &[Member],
        is_union: bool,
        mut given: Map<String, Json>,
        depth: usize,
    ) -> Result<Value, Malformed> {
        if is_union {
            let known = |name: &&String| name.as_str() != "__type";
            let set = given.iter().filter(|(name, value)| known(name) && !value.is_null()).count();
            if set != 1 {
                return Err(Malformed::new("exactly one member of a union is set"));
            }
            given.retain(|_, value| !value.is_null());
        }
        let mut fields = Fields::with_capacity(given.len().min(members.len()));
        for member in members.iter().filter(|member| member.location == Location::Body) {
            let Some(json) = given.get_mut(self.names.of(member)) else { continue };
            let shape = self.model.shape(member.shape);
            let value = self.value(shape, member.time, json.take(), depth + 1)?;
            if value != Value::Null {
                fields.push((Key::Borrowed(member.name), value));
            }
        }
        if is_union && fields.is_empty() {
            return Err(Malformed::new("the union has no such member"));
        }
        Ok(Value::Map(fields))
    }
}

fn refuse_null(shape: &Shape, value: &Value) -> Result<(), Malformed> {
    if *value == Value::Null && !shape.is_sparse {
        return Err(Malformed::new("null stands where a value is expected"));
    }
    Ok(())
}

/// AWS's words for a value of another type.
fn wrong(shape: &Shape, class: &str) -> Malformed {
    let wanted = match shape.kind {
        Kind::Text => "an String",
        Kind::Integer(64) => "a Long",
        Kind::Integer(_) => "an Integer",
        Kind::Boolean => "a Boolean",
        Kind::Double(_) => "a Double",
        Kind::Blob => "a Blob",
        Kind::Time => "a Timestamp",
        Kind::List(_) => return Malformed::new("Expected list or null"),
        _ => return Malformed::new("Expected null"),
    };
    Malformed(format!("class {class} can not be converted to {wanted}"))
}

fn moment(format: Option<TimeFormat>, json: &Json) -> Result<i64, Malformed> {
    let format = format.unwrap_or(TimeFormat::Epoch);
    match (format, json) {
        (TimeFormat::Epoch, Json::Number(number)) => {
            number.as_f64().ok_or_else(|| Malformed::new("the time is out of range")).and_then(time::from_seconds)
        }
        (TimeFormat::Iso | TimeFormat::Http, Json::String(text)) => time::read(text, format),
        _ => Err(Malformed::new("the value has not the form of a timestamp")),
    }
}

struct Encoder<'m> {
    model: &'m Model,
    names: Names,
}

impl Encoder<'_> {
    fn value(&self, shape: &Shape, format: Option<TimeFormat>, value: &Value) -> Json {
        match (&shape.kind, value) {
            (Kind::Structure { members, .. }, Value::Map(_)) => {
                let mut fields = Map::new();
                for member in members.iter().filter(|member| member.is_in_answer()) {
                    if let Some(value) = value.get(member.name) {
                        let json = self.value(self.model.shape(member.shape), member.time, value);
                        fields.insert(self.names.of(member).to_owned(), json);
                    }
                }
                Json::Object(fields)
            }
            (Kind::List(item), Value::List(values)) => {
                let shape = self.model.shape(item.shape);
                values.iter().map(|value| self.value(shape, item.time, value)).collect()
            }
            (Kind::Map(_, held), Value::Map(entries)) => {
                let shape = self.model.shape(held.shape);
                let entries = entries.iter();
                entries.map(|(key, value)| (key.clone().into_owned(), self.value(shape, held.time, value))).collect()
            }
            (_, value) => plain(format.or(shape.time), value),
        }
    }
}

/// A value that has no members.
fn plain(format: Option<TimeFormat>, value: &Value) -> Json {
    match value {
        Value::Bool(flag) => Json::Bool(*flag),
        Value::Int(number) => (*number).into(),
        Value::Double(number) if number.is_finite() => Json::from(*number),
        Value::Double(number) => crate::aws::protocol::text_of_double(*number).into(),
        Value::Text(text) => text.as_str().into(),
        Value::Blob(bytes) => text_of_bytes(bytes).into(),
        Value::Time(millis) => match format.unwrap_or(TimeFormat::Epoch) {
            TimeFormat::Epoch => Json::Number(time::seconds(*millis)),
            format => time::write(*millis, format).into(),
        },
        Value::Document(json) => (**json).clone(),
        Value::Null | Value::List(_) | Value::Map(_) => Json::Null,
    }
}
