//! What a handler answered, read as HTTP.
//!
//! Source: <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html>

use base64::prelude::{Engine as _, BASE64_STANDARD};
use serde_json::{Map, Value};

use crate::gateway::event::Format;
use crate::gateway::wire::is_header;

/// Most bytes of a handler's answer, as Lambda has it.
pub const ANSWER_BYTES_MAX: usize = 6 * 1024 * 1024;

const JSON: &str = "application/json";

/// An answer in terms of HTTP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The status, 200 to 599.
    pub status: u16,
    /// Headers; a name may stand there more than once.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// An answer of the gateway itself.
    pub fn json(status: u16, body: &str) -> Self {
        let headers = vec![("content-type".into(), JSON.into())];
        Self { status, headers, body: body.as_bytes().to_vec() }
    }

    /// `{"message": …}`.
    pub fn message(status: u16, message: &str) -> Self {
        Self::json(status, &serde_json::json!({ "message": message }).to_string())
    }

    /// A header's first value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// Who reads: the rules differ in small things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// An HTTP API, in a payload format.
    Http(Format),
    /// A function URL.
    Url,
}

/// Read a handler's answer, JSON; the error says what is wrong with it, for whoever wrote the handler.
pub fn read(reader: Reader, json: &[u8]) -> Result<Answer, String> {
    if json.len() > ANSWER_BYTES_MAX {
        return Err(format!("the answer has {} bytes: at most {ANSWER_BYTES_MAX} are allowed", json.len()));
    }
    let value: Value = serde_json::from_slice(json).map_err(|error| format!("the answer is not JSON: {error}"))?;
    let infers = reader != Reader::Http(Format::One);
    match value {
        Value::Object(mut fields) if fields.contains_key("statusCode") || !infers => structured(reader, &mut fields),
        _ if !infers => Err("the answer is not an object: format 1.0 wants {\"statusCode\": …}".into()),
        Value::String(text) => Ok(inferred(text.into_bytes())),
        _ => Ok(inferred(json.to_vec())),
    }
}

fn inferred(body: Vec<u8>) -> Answer {
    Answer { status: 200, headers: vec![("content-type".into(), JSON.into())], body }
}

fn structured(reader: Reader, fields: &mut Map<String, Value>) -> Result<Answer, String> {
    let status = status(fields.get("statusCode"))?;
    let mut headers = Vec::new();
    if let Some(lists) = object(fields, "multiValueHeaders")? {
        if reader == Reader::Http(Format::One) {
            for (name, values) in lists {
                let Value::Array(values) = values else {
                    return Err(format!("multiValueHeaders[{name:?}] is not a list"));
                };
                for value in values {
                    push(&mut headers, name, text(value).ok_or_else(|| format!("header {name:?} is not text"))?)?;
                }
            }
        }
    }
    if let Some(given) = object(fields, "headers")? {
        for (name, value) in given {
            // Null is no value.
            if !value.is_null() {
                push(&mut headers, name, text(value).ok_or_else(|| format!("header {name:?} is not text"))?)?;
            }
        }
    }
    if reader != Reader::Http(Format::One) {
        match fields.get("cookies") {
            None | Some(Value::Null) => {}
            Some(Value::Array(cookies)) => {
                for cookie in cookies {
                    push(&mut headers, "set-cookie", text(cookie).ok_or("a cookie is not text")?)?;
                }
            }
            Some(_) => return Err("cookies is not a list".into()),
        }
    }
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
        let default = if reader == Reader::Url { JSON } else { "text/plain; charset=utf-8" };
        headers.push(("content-type".into(), default.into()));
    }
    let is_base64 = matches!(fields.get("isBase64Encoded"), Some(Value::Bool(true)));
    let body = match fields.get_mut("body").map(Value::take) {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::String(text)) if is_base64 => {
            BASE64_STANDARD.decode(text).map_err(|error| format!("the body is not base64: {error}"))?
        }
        Some(Value::String(text)) => text.into_bytes(),
        Some(other) if reader == Reader::Url => other.to_string().into_bytes(),
        Some(_) => return Err("the body is not text: dump it as JSON first".into()),
    };
    Ok(Answer { status, headers, body })
}

fn status(given: Option<&Value>) -> Result<u16, String> {
    let number = match given {
        None => return Err("the answer has no statusCode".into()),
        Some(Value::Number(number)) => number.as_u64(),
        Some(Value::String(text)) => text.parse().ok(),
        Some(_) => None,
    };
    let allowed = number.filter(|number| (200..=599).contains(number));
    allowed.map(|number| number as u16).ok_or_else(|| "the statusCode is not a number from 200 to 599".into())
}

fn object<'a>(fields: &'a Map<String, Value>, name: &str) -> Result<Option<&'a Map<String, Value>>, String> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(found)) => Ok(Some(found)),
        Some(_) => Err(format!("{name} is not an object")),
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

/// Headers that say how the answer is sent, which is not the handler's to say.
const OWN: [&str; 6] = ["connection", "content-length", "keep-alive", "te", "transfer-encoding", "upgrade"];

fn push(headers: &mut Vec<(String, String)>, name: &str, value: String) -> Result<(), String> {
    if !is_header(name, &value) {
        return Err(format!("header {name:?} has a character that no header has"));
    }
    if !OWN.iter().any(|own| own.eq_ignore_ascii_case(name)) {
        headers.push((name.to_ascii_lowercase(), value));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: Reader = Reader::Http(Format::Two);
    const ONE: Reader = Reader::Http(Format::One);

    fn answered(status: u16, content_type: &str, body: &str) -> Answer {
        Answer { status, headers: vec![("content-type".into(), content_type.into())], body: body.as_bytes().to_vec() }
    }

    #[test]
    fn an_answer_without_a_status_is_the_body() {
        for (given, body) in [
            (r#"{"hello":"world"}"#, r#"{"hello":"world"}"#),
            (r#"["hello",3,true]"#, r#"["hello",3,true]"#),
            ("3.1", "3.1"),
            ("true", "true"),
            ("null", "null"),
            (r#""hello""#, "hello"),
        ] {
            for reader in [TWO, Reader::Url] {
                assert_eq!(read(reader, given.as_bytes()), Ok(answered(200, JSON, body)), "{given}");
            }
            assert!(read(ONE, given.as_bytes()).is_err(), "{given}");
        }
    }

    #[test]
    fn an_answer_with_a_status_is_read() {
        let given =
            br#"{"statusCode":"201","headers":{"X-A":1,"content-length":"9"},"cookies":["a=1","b=2"],"body":"x"}"#;
        let headers =
            [("x-a", "1"), ("set-cookie", "a=1"), ("set-cookie", "b=2"), ("content-type", "text/plain; charset=utf-8")];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        assert_eq!(read(TWO, given), Ok(Answer { status: 201, headers, body: b"x".to_vec() }));
        let given = br#"{"statusCode":200,"multiValueHeaders":{"a":["1","2"]},"headers":{"a":"3"},"body":null}"#;
        let answer = read(ONE, given).unwrap();
        let values: Vec<&str> =
            answer.headers.iter().filter(|(name, _)| name == "a").map(|(_, value)| &**value).collect();
        assert_eq!(values, ["1", "2", "3"]);
        let given = br#"{"statusCode":200,"isBase64Encoded":true,"body":"/wA=","cookies":null}"#;
        assert_eq!(read(TWO, given).unwrap().body, [0xff, 0]);
        assert_eq!(read(Reader::Url, br#"{"statusCode":200,"body":"x"}"#), Ok(answered(200, JSON, "x")));
    }

    #[test]
    fn nonsense_is_told() {
        for given in [
            "{",
            r#"{"statusCode":"x"}"#,
            r#"{"statusCode":101}"#,
            r#"{"statusCode":600}"#,
            r#"{"statusCode":null}"#,
            r#"{"statusCode":200,"headers":[]}"#,
            r#"{"statusCode":200,"headers":{"a":[1]}}"#,
            r#"{"statusCode":200,"headers":{"a":"1\r\nb: 2"}}"#,
            r#"{"statusCode":200,"headers":{"a\nb":"1"}}"#,
            r#"{"statusCode":200,"cookies":["a\r\n"]}"#,
            // The cookie was left out of the answer, and nobody was told.
            r#"{"statusCode":200,"cookies":"a=1"}"#,
            r#"{"statusCode":200,"cookies":{"a":"1"}}"#,
            r#"{"statusCode":200,"isBase64Encoded":true,"body":"***"}"#,
            r#"{"statusCode":200,"body":{"a":1}}"#,
        ] {
            assert!(read(TWO, given.as_bytes()).is_err(), "{given}");
        }
        assert!(read(ONE, br#"{"statusCode":200,"multiValueHeaders":{"a":"1"}}"#).is_err());
        let large = format!("\"{}\"", "a".repeat(ANSWER_BYTES_MAX));
        assert!(read(TWO, large.as_bytes()).unwrap_err().contains("at most"));
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(read(TWO, deep.as_bytes()).is_err(), "a bomb of brackets is not an answer");
    }
}
