//! `AWS_PROXY`: the event that a function gets, and its answer.
//!
//! Source: recorded in `spec/gateway.md`, section 5, and
//! <https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html>

use std::borrow::Cow;

use base64::prelude::{Engine as _, BASE64_STANDARD};
use serde_json::{json, Map, Value};

use super::compiled::Route;
use super::context::{request_context, Arrival};
use super::failure::Failure;
use super::model::RestApi;
use super::vtl::Params;
use crate::gateway::answer::{Answer, ANSWER_BYTES_MAX};
use crate::gateway::request::Request;
use crate::gateway::wire::is_header;

/// Keys that an answer may have.
const KEYS: [&str; 5] = ["statusCode", "headers", "multiValueHeaders", "body", "isBase64Encoded"];

/// Whether bodies of a media type are bytes.
pub fn is_binary(binary_media_types: &[String], media_type: &str) -> bool {
    let fits = |known: &String| known == "*/*" || (!media_type.is_empty() && known.eq_ignore_ascii_case(media_type));
    binary_media_types.iter().any(fits)
}

/// The media type of a `Content-Type` or an `Accept`: the first one, without its parameters, in small letters.
pub fn media_type(header: &str) -> String {
    header.split([',', ';']).next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// The event of a request. Its path is without the stage.
pub(super) fn event(
    request: &Request<'_>,
    (params, arrival): (&Params<'_>, &Arrival<'_>),
    api: &RestApi,
    route: &Route,
) -> Vec<u8> {
    let binary = &api.binary_media_types;
    let is_bytes = !request.body.is_empty() && is_binary(binary, &media_type(request.header("content-type")));
    let body = match request.body {
        [] => Value::Null,
        bytes if is_bytes => BASE64_STANDARD.encode(bytes).into(),
        bytes => String::from_utf8_lossy(bytes).into(),
    };
    let (headers, all_headers) = maps(params.headers.iter().cloned(), true);
    let (query, all_query) = maps(params.query.iter().cloned(), false);
    let texts = |pairs: &mut dyn Iterator<Item = (&str, &str)>| {
        let fields: Map<String, Value> = pairs.map(|(name, value)| (name.to_owned(), value.into())).collect();
        if fields.is_empty() {
            Value::Null
        } else {
            Value::Object(fields)
        }
    };
    let path = format!("/{}", request.path.trim_start_matches('/'));
    json!({
        "resource": route.resource_path,
        "path": path,
        "httpMethod": request.method,
        "headers": headers,
        "multiValueHeaders": all_headers,
        "queryStringParameters": query,
        "multiValueQueryStringParameters": all_query,
        "pathParameters": texts(&mut arrival.parameters.iter().copied()),
        "stageVariables": texts(&mut arrival.stage_variables.iter().map(|(name, value)| (&**name, &**value))),
        "requestContext": request_context(request, arrival, &api.id, Some(route)),
        "isBase64Encoded": is_bytes,
        "body": body,
    })
    .to_string()
    .into_bytes()
}

/// Fields with their last value, and with all of them; null where there is none.
fn maps<'a>(fields: impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)>, is_header: bool) -> (Value, Value) {
    let mut all: Vec<(Cow<'a, str>, Vec<Value>)> = Vec::new();
    for (name, value) in fields {
        let same = |known: &str| known == name || (is_header && known.eq_ignore_ascii_case(&name));
        match all.iter_mut().find(|(known, _)| same(known)) {
            Some((_, values)) => values.push(value.into()),
            None => all.push((name, vec![value.into()])),
        }
    }
    if all.is_empty() {
        return (Value::Null, Value::Null);
    }
    let last = all.iter().map(|(name, values)| (name.to_string(), values.last().cloned().unwrap_or_default()));
    let last: Map<String, Value> = last.collect();
    let all = all.into_iter().map(|(name, values)| (name.into_owned(), Value::Array(values)));
    (Value::Object(last), Value::Object(all.collect()))
}

/// Read the answer of a function. `accept` is the client's header.
pub fn reply(json: &[u8], binary: &[String], accept: &str) -> Result<Answer, Failure> {
    let wrong = |what: &str| Failure::malformed(format!("Malformed Lambda proxy response: {what}"));
    if json.len() > ANSWER_BYTES_MAX {
        return Err(wrong(&format!("it has {} bytes, at most {ANSWER_BYTES_MAX} are allowed", json.len())));
    }
    let value: Value = serde_json::from_slice(json).map_err(|error| wrong(&error.to_string()))?;
    let Value::Object(mut fields) = value else { return Err(wrong("it is not an object")) };
    if let Some(key) = fields.keys().find(|key| !KEYS.contains(&key.as_str())) {
        return Err(wrong(&format!("{key:?} is none of its keys")));
    }
    let status = match fields.get("statusCode") {
        None | Some(Value::Null) => Some(200),
        Some(Value::Number(number)) => number.as_u64(),
        Some(Value::String(text)) => text.trim().parse().ok(),
        Some(_) => None,
    };
    let status = status.filter(|status| (200..=599).contains(status));
    let status = status.ok_or_else(|| wrong("statusCode is not a status"))? as u16;
    let headers = headers(&fields).map_err(|what| wrong(&what))?;
    let is_base64 = matches!(fields.get("isBase64Encoded"), Some(Value::Bool(true)));
    let body = match fields.get_mut("body").map(Value::take) {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::String(text)) if is_base64 && turns_binary(binary, accept, &headers) => {
            BASE64_STANDARD.decode(&text).map_err(|error| wrong(&format!("the body is not base64: {error}")))?
        }
        Some(Value::String(text)) => text.into_bytes(),
        Some(_) => return Err(wrong("the body is not text")),
    };
    Ok(Answer { status, headers, body })
}

/// Whether base64 becomes bytes: the client has to accept a binary media type, or the answer to be of one.
fn turns_binary(binary: &[String], accept: &str, headers: &[(String, String)]) -> bool {
    let own = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    is_binary(binary, &media_type(accept)) || own.is_some_and(|(_, value)| is_binary(binary, &media_type(value)))
}

/// The headers of an answer: those with several values first.
fn headers(fields: &Map<String, Value>) -> Result<Vec<(String, String)>, String> {
    let mut headers: Vec<(String, String)> = Vec::new();
    let mut add = |name: &str, value: &Value| {
        let text = match value {
            Value::Null => return Ok(()),
            Value::Array(_) | Value::Object(_) => return Err(format!("the header {name:?} is not text")),
            other => super::parameter_mapping::plain(other).unwrap_or_default(),
        };
        // The same header keeps the spelling of its first one.
        let known = headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(known, _)| known.clone());
        if !is_header(name, &text) {
            return Err(format!("the header {name:?} has a character that no header has"));
        }
        headers.push((known.unwrap_or_else(|| name.to_owned()), text));
        Ok(())
    };
    match fields.get("multiValueHeaders") {
        None | Some(Value::Null) => {}
        Some(Value::Object(lists)) => {
            for (name, values) in lists {
                let Value::Array(values) = values else {
                    return Err(format!("multiValueHeaders[{name:?}] is not a list"));
                };
                values.iter().try_for_each(|value| add(name, value))?;
            }
        }
        Some(_) => return Err("multiValueHeaders is not an object".into()),
    }
    match fields.get("headers") {
        None | Some(Value::Null) => {}
        Some(Value::Object(given)) => given.iter().try_for_each(|(name, value)| add(name, value))?,
        Some(_) => return Err("headers is not an object".into()),
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(answer: &Value) -> Result<Answer, u16> {
        reply(answer.to_string().as_bytes(), &[], "*/*").map_err(|failure| failure.status.unwrap_or(0))
    }

    #[test]
    fn an_answer_of_the_five_keys_is_read() {
        let answer = read(&json!({"statusCode": "201", "headers": {"a": true, "gone": null}, "body": "x"})).unwrap();
        assert_eq!((answer.status, answer.header("a"), &answer.body[..]), (201, Some("true"), &b"x"[..]));
        assert_eq!(read(&json!({"headers": {"a": "b"}})).unwrap().status, 200);
        assert_eq!(read(&json!({"statusCode": 200, "headers": null})).unwrap().headers, []);
        let both = read(
            &json!({"statusCode": 200, "multiValueHeaders": {"tesT-Multi": ["m"]}, "headers": {"test-multi": "s"}}),
        );
        let expected = [("tesT-Multi".to_owned(), "m".to_owned()), ("tesT-Multi".to_owned(), "s".to_owned())];
        assert_eq!(both.unwrap().headers, expected);
    }

    #[test]
    fn anything_else_is_a_bad_gateway() {
        for answer in [
            json!({"statusCode": 200, "wrongValue": "value"}),
            json!("text"),
            json!(null),
            json!([]),
            json!({"statusCode": "test"}),
            json!({"statusCode": 99}),
            json!({"multiValueHeaders": {"a": "b"}}),
            json!({"headers": {"a": ["b"]}}),
            json!({"headers": {"a": "b\r\nc: d"}}),
            json!({"body": {"a": 1}}),
        ] {
            assert_eq!(read(&answer), Err(502), "{answer}");
        }
    }

    #[test]
    fn base64_becomes_bytes_for_binary_media_types_alone() {
        let answer = br#"{"isBase64Encoded": true, "body": "/wA="}"#;
        let binary = ["image/png".to_owned()];
        assert_eq!(reply(answer, &[], "image/png").unwrap().body, b"/wA=");
        assert_eq!(reply(answer, &binary, "text/html").unwrap().body, b"/wA=");
        assert_eq!(reply(answer, &binary, "image/png, */*").unwrap().body, [0xff, 0]);
        assert_eq!(reply(answer, &["*/*".to_owned()], "text/html").unwrap().body, [0xff, 0]);
    }

    /// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
    #[test]
    fn an_answer_has_at_most_six_mebibytes() {
        let of = |bytes: usize| format!(r#"{{"body":"{}"}}"#, "x".repeat(bytes - 11));
        let read = |bytes: usize| reply(of(bytes).as_bytes(), &[], "").map(|answer| answer.body.len());
        assert_eq!(read(ANSWER_BYTES_MAX).unwrap(), ANSWER_BYTES_MAX - 11);
        assert_eq!(read(ANSWER_BYTES_MAX + 1).unwrap_err().status, Some(502));
    }

    /// Mangum's answers without a Content-Type came as base64 to clients that send no Accept, although all types are binary.
    #[test]
    fn all_types_are_binary_where_none_is_named_too() {
        let answer = br#"{"isBase64Encoded": true, "body": "/wA="}"#;
        assert_eq!(reply(answer, &["*/*".to_owned()], "").unwrap().body, [0xff, 0]);
        assert_eq!(reply(answer, &["image/png".to_owned()], "").unwrap().body, b"/wA=");
    }
}
