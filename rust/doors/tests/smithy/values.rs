//! Values as Smithy's cases have them, in the product's form, and bodies that are compared.

use forebay_doors::aws::model::{Kind, Model, Shape};
use forebay_doors::aws::protocol::cbor::Item;
use forebay_doors::aws::protocol::xml_reader::Element;
use forebay_doors::aws::value::{Fields, Key, Value};
use serde_json::Value as Json;

/// A case's parameters as a value.
pub(crate) fn value(model: &Model, shape: &Shape, json: &Json) -> Value {
    match (&shape.kind, json) {
        (_, Json::Null) => Value::Null,
        (Kind::Structure { members, .. }, Json::Object(given)) => {
            let known = members.iter().filter_map(|member| {
                let value = value(model, model.shape(member.shape), given.get(member.name)?);
                Some((Key::Borrowed(member.name), value))
            });
            Value::Map(known.filter(|(_, value)| *value != Value::Null).collect())
        }
        (Kind::List(item), Json::Array(items)) => {
            Value::List(items.iter().map(|one| value(model, model.shape(item.shape), one)).collect())
        }
        (Kind::Map(_, held), Json::Object(given)) => {
            let inner = model.shape(held.shape);
            let entries = given.iter().map(|(key, one)| (Key::Owned(key.clone()), value(model, inner, one)));
            Value::Map(entries.collect::<Fields>())
        }
        (Kind::Document, json) => Value::Document(Box::new(json.clone())),
        (Kind::Blob, Json::String(text)) => Value::Blob(text.clone().into_bytes()),
        (Kind::Time, Json::Number(number)) => Value::Time((number.as_f64().unwrap() * 1000.0).round() as i64),
        (Kind::Double(_), Json::Number(number)) => Value::Double(number.as_f64().unwrap()),
        (Kind::Double(_), Json::String(text)) => Value::Double(match text.as_str() {
            "NaN" => f64::NAN,
            "Infinity" => f64::INFINITY,
            "-Infinity" => f64::NEG_INFINITY,
            other => other.parse().unwrap(),
        }),
        (Kind::Integer(_), Json::Number(number)) => Value::Int(number.as_i64().unwrap()),
        (_, Json::Bool(flag)) => Value::Bool(*flag),
        (_, Json::String(text)) => Value::Text(text.clone()),
        (_, json) => panic!("{} does not take {json}", shape.name),
    }
}

/// A value whose text is that of every equal one: NaN equals NaN, and members have no order.
pub(crate) fn comparable(value: &Value) -> String {
    fn sorted(value: &Value) -> Value {
        match value {
            Value::Map(fields) => {
                let mut fields: Fields = fields.iter().map(|(key, value)| (key.clone(), sorted(value))).collect();
                fields.sort_by(|one, other| one.0.cmp(&other.0));
                Value::Map(fields)
            }
            Value::List(values) => Value::List(values.iter().map(sorted).collect()),
            Value::Document(json) => Value::Text(json.to_string()),
            value => value.clone(),
        }
    }
    format!("{:?}", sorted(value))
}

/// The same of XML: children of one name keep their order, others have none, and blanks between elements count for nothing.
pub(crate) fn comparable_xml(element: &Element) -> String {
    let mut attributes = element.attributes.clone();
    attributes.sort();
    let mut children: Vec<(String, String)> =
        element.children.iter().map(|child| (child.name.clone(), comparable_xml(child))).collect();
    children.sort_by(|one, other| one.0.cmp(&other.0));
    let text = if children.is_empty() { element.text.clone() } else { String::new() };
    let inside: Vec<String> = children.into_iter().map(|(_, text)| text).collect();
    format!("<{} {attributes:?}>{text}{}</>", element.name, inside.join(""))
}

/// The same of CBOR: a number is a number, and entries have no order.
pub(crate) fn comparable_cbor(item: &Item) -> String {
    match item {
        Item::Map(entries) => {
            let mut entries: Vec<String> =
                entries.iter().map(|(key, item)| format!("{key:?}:{}", comparable_cbor(item))).collect();
            entries.sort();
            format!("{{{}}}", entries.join(","))
        }
        Item::Array(items) => format!("[{}]", items.iter().map(comparable_cbor).collect::<Vec<_>>().join(",")),
        Item::Moment(item) => format!("time({})", comparable_cbor(item)),
        Item::Int(number) => format!("{:?}", *number as f64),
        item => format!("{item:?}").replace("Float(", "").trim_end_matches(')').to_owned(),
    }
}
