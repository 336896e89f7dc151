//! The protocols: from bytes to values by the shapes of a model, and back.

pub mod aws_chunked;
pub mod cbor;
pub mod event_stream;
pub mod json;
pub mod query;
pub mod rest;
pub mod time;
pub mod xml;
pub mod xml_reader;

use std::collections::HashSet;

use crate::aws::value::Fields;

/// A request that does not have the form of its protocol.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub String);

impl Malformed {
    /// Refused for this reason.
    pub fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

/// Most levels of a JSON or XML body.
pub(crate) const DEPTH_MAX: usize = 64;

/// Most values of a JSON or CBOR body, those inside others among them: an empty one takes a byte or two there, and far more here.
pub(crate) const VALUES_MAX: usize = 1_000_000;

/// A body that has more.
pub(crate) fn too_many() -> Malformed {
    Malformed(format!("the body has more than {VALUES_MAX} values"))
}

/// A whole number in the range of its shape.
pub(crate) fn integer(number: i64, bits: u32) -> Result<i64, Malformed> {
    let limit = 1_i128 << (bits - 1);
    if (-limit..limit).contains(&i128::from(number)) {
        return Ok(number);
    }
    Err(Malformed(format!("{number} is out of the range of {bits} bits")))
}

/// A whole number that is written as text.
pub(crate) fn integer_text(text: &str, bits: u32) -> Result<i64, Malformed> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(Malformed::new("a whole number is expected"));
    }
    text.parse().map_err(|_| Malformed::new("the number is out of range")).and_then(|number| integer(number, bits))
}

/// A number that is written as text, the three that are none included.
pub(crate) fn double_text(text: &str) -> Result<f64, Malformed> {
    match text {
        "NaN" => Ok(f64::NAN),
        "Infinity" => Ok(f64::INFINITY),
        "-Infinity" => Ok(f64::NEG_INFINITY),
        _ => {
            let is_number = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
            text.parse().ok().filter(|_| is_number).ok_or_else(|| Malformed::new("a number is expected"))
        }
    }
}

/// True or false that is written as text.
pub(crate) fn boolean_text(text: &str) -> Result<bool, Malformed> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(Malformed::new("true or false is expected")),
    }
}

/// A number as text, the three that are none included.
pub(crate) fn text_of_double(number: f64) -> String {
    if number.is_nan() {
        "NaN".into()
    } else if number.is_infinite() {
        if number > 0.0 { "Infinity" } else { "-Infinity" }.into()
    } else {
        serde_json::Number::from_f64(number).map(|number| number.to_string()).unwrap_or_default()
    }
}

/// Bytes out of base64.
pub(crate) fn base64_text(text: &str) -> Result<Vec<u8>, Malformed> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(text).map_err(|_| Malformed::new("base64 is expected"))
}

/// Bytes as base64.
pub(crate) fn text_of_bytes(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// The entries, of two with one key the last.
pub(crate) fn last_of_each(entries: Fields) -> Fields {
    if entries.iter().map(|(key, _)| key.as_ref()).collect::<HashSet<&str>>().len() == entries.len() {
        return entries;
    }
    let mut seen = HashSet::new();
    let mut kept: Fields = entries.into_iter().rev().filter(|(key, _)| seen.insert(key.clone())).collect();
    kept.reverse();
    kept
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use crate::aws::model::Model;
    use crate::aws::protocol::cbor::{self, Dialect};
    use crate::aws::protocol::json::{self, Names};
    use crate::aws::protocol::query::{self, Form};
    use crate::aws::protocol::{rest, xml_reader};
    use crate::aws::value::Value;

    const TABLE: &str = r#"{"metadata": {}, "shapes": {
        "I": {"type": "structure", "members": {"a": {"shape": "T"}, "m": {"shape": "M"}}},
        "T": {"type": "string"},
        "M": {"type": "map", "key": {"shape": "T"}, "value": {"shape": "T"}}
    }, "operations": {"O": {"input": {"shape": "I"}}}}"#;

    /// CBOR and the query protocol kept all of them, and found the first: one request meant two things by its protocol.
    #[test]
    fn of_two_values_with_one_name_the_last_one_counts_in_each_protocol() {
        let model = Model::read(TABLE).unwrap();
        let shape = model.shape(model.operation("O").unwrap().input.unwrap());
        let text = r#"{"a": "1", "m": {"k": "1", "k": "2"}, "a": "2"}"#;
        // The same in CBOR: {"a": "1", "m": {"k": "1", "k": "2"}, "a": "2"}.
        let bytes = b"\xa3\x61a\x611\x61m\xa2\x61k\x611\x61k\x612\x61a\x612";
        let entry = |number: u32, value: u32| format!("m.entry.{number}.key=k&m.entry.{number}.value={value}");
        let form = format!("a=1&{}&{}&a=2", entry(1, 1), entry(2, 2));
        let element = |value: u32| format!("<entry><key>k</key><value>{value}</value></entry>");
        let document = format!("<I><a>1</a><m>{}{}</m><a>2</a></I>", element(1), element(2));
        for read in [
            json::read(model, shape, Names::Own, text.as_bytes()),
            cbor::read(model, shape, Dialect::Kinesis, bytes),
            cbor::read(model, shape, Dialect::RpcV2, bytes),
            query::read(model, shape, &Form::read(form.as_bytes()).unwrap()),
            xml_reader::read(model, shape, document.as_bytes()),
        ] {
            let read = read.unwrap();
            assert_eq!(read.text("a"), Some("2"));
            assert_eq!(read.entries("m"), [("k".into(), Value::from("2"))]);
            let Value::Map(fields) = read else { panic!("a structure is read") };
            assert_eq!(fields.len(), 2);
        }
    }

    #[test]
    fn a_member_that_stands_twice_in_a_query_string_is_refused() {
        let table = TABLE.replace(r#""a": {"shape": "T"}"#, r#""a": {"shape": "T", "location": "querystring"}"#);
        let model = Model::read(&table).unwrap();
        let query = rest::pairs("a=1&a=2").unwrap();
        let request = rest::Request { labels: &[], query: &query, headers: &HeaderMap::new(), body: &[] };
        assert!(rest::read(model, model.operation("O").unwrap(), request).is_err());
    }
}
