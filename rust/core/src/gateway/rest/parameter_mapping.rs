//! Parameter mappings: what a header, a part of the path or a field of the query is taken from.
//!
//! Source: <https://docs.aws.amazon.com/apigateway/latest/developerguide/request-response-data-mappings.html>

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::vtl::Params;
use crate::gateway::wire::is_header;
use crate::workflow::path::Path;
use crate::workflow::scope::Scope;

/// Where values are taken from.
#[derive(Clone, Copy, Debug)]
pub struct Sources<'a> {
    /// `context.…`.
    pub context: &'a Map<String, Value>,
    /// `stageVariables.…`.
    pub stage_variables: &'a [(String, String)],
    /// `method.request.…`.
    pub request: &'a Params<'a>,
    /// `method.request.body`, as it was sent.
    pub request_body: &'a [u8],
    /// `integration.response.header.…`, where the integration has answered.
    pub response_headers: Option<&'a [(String, String)]>,
    /// `integration.response.body`.
    pub response_body: &'a [u8],
}

impl<'a> Sources<'a> {
    /// What a request alone has.
    pub fn of_request(
        context: &'a Map<String, Value>,
        stage_variables: &'a [(String, String)],
        request: &'a Params<'a>,
        request_body: &'a [u8],
    ) -> Self {
        Self { context, stage_variables, request, request_body, response_headers: None, response_body: &[] }
    }
}

/// The values of a source such as `method.request.header.X` or `'text'`; `None` where there is nothing.
pub fn find(source: &str, sources: &Sources<'_>) -> Option<Vec<String>> {
    if let Some(text) = source.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')) {
        return Some(vec![text.to_owned()]);
    }
    if let Some(name) = source.strip_prefix("stageVariables.") {
        let found = sources.stage_variables.iter().find(|(known, _)| known == name);
        return found.map(|(_, value)| vec![value.clone()]);
    }
    if let Some(path) = source.strip_prefix("context.") {
        return of_context(path, sources.context).map(|value| vec![value]);
    }
    if let Some(place) = source.strip_prefix("method.request.") {
        let request = sources.request;
        return match place.split_once('.') {
            Some(("path", name)) => named(&request.path, name, false, false),
            Some(("querystring", name)) => named(&request.query, name, false, false),
            Some(("multivaluequerystring", name)) => named(&request.query, name, false, true),
            Some(("header", name)) => named(&request.headers, name, true, false),
            Some(("multivalueheader", name)) => named(&request.headers, name, true, true),
            _ => of_body(place, sources.request_body),
        };
    }
    let place = source.strip_prefix("integration.response.")?;
    let headers = sources.response_headers?;
    match place.split_once('.') {
        Some(("header", name)) => named(headers, name, true, false),
        Some(("multivalueheader", name)) => named(headers, name, true, true),
        _ => of_body(place, sources.response_body),
    }
}

/// The same with all values of a parameter of the request, where [`find`] gives the last one. Whoever reads the request next may take another.
pub fn find_all(source: &str, sources: &Sources<'_>) -> Vec<String> {
    let place = source.strip_prefix("method.request.").and_then(|place| place.split_once('.'));
    let found = match place {
        Some(("querystring", name)) => named(&sources.request.query, name, false, true),
        Some(("header", name)) => named(&sources.request.headers, name, true, true),
        _ => find(source, sources),
    };
    found.unwrap_or_default()
}

/// All values of a name, or the last one.
fn named<N: AsRef<str>, V: AsRef<str>>(
    fields: &[(N, V)],
    name: &str,
    is_header: bool,
    all: bool,
) -> Option<Vec<String>> {
    let is_it = |known: &str| if is_header { known.eq_ignore_ascii_case(name) } else { known == name };
    let mut found: Vec<String> =
        fields.iter().filter(|(known, _)| is_it(known.as_ref())).map(|(_, value)| value.as_ref().to_owned()).collect();
    if !all {
        found.drain(..found.len().saturating_sub(1));
    }
    (!found.is_empty()).then_some(found)
}

/// `body` or `body.a.b`: the whole, or what the path leads to.
fn of_body(place: &str, body: &[u8]) -> Option<Vec<String>> {
    let path = place.strip_prefix("body")?;
    if path.is_empty() {
        return Some(vec![String::from_utf8_lossy(body).into_owned()]);
    }
    let json: Value = serde_json::from_slice(body).ok()?;
    let path = Path::parse(&format!("${path}")).ok()?;
    let found =
        path.select(&Scope { input: &json, context: &Value::Null, variables: &Map::new(), visits: None }).ok()?;
    plain(&found).map(|text| vec![text])
}

fn of_context(path: &str, context: &Map<String, Value>) -> Option<String> {
    let mut at = context.get(path.split('.').next()?)?;
    for name in path.split('.').skip(1) {
        at = at.get(name)?;
    }
    plain(at)
}

/// A value as a header has it.
pub(super) fn plain(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

/// Replace `$context.a.b`, `$stageVariables.x` and `$method.request.…` in a text that is not a template.
pub(super) fn substituted(text: &str, sources: &Sources<'_>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let behind = &rest[at + 1..];
        let (inner, is_formal) = behind.strip_prefix('{').map_or((behind, false), |inner| (inner, true));
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
        let length = inner.bytes().position(|byte| !is_part(byte)).unwrap_or(inner.len());
        // A dot or a dash at the end is text, as in templates: $context.requestId-$context.stage.
        let name = inner[..length].trim_end_matches(['.', '-']);
        let is_known = ["context.", "stageVariables.", "method.request."].iter().any(|root| name.starts_with(root));
        if is_known && (!is_formal || inner[name.len()..].starts_with('}')) {
            let found = find(name, sources).unwrap_or_default();
            // Where there is nothing, `$context.error.message` is null to JSON.
            out.push_str(found.last().map_or("", |value| value));
            rest = &inner[name.len() + usize::from(is_formal)..];
        } else {
            out.push('$');
            rest = behind;
        }
    }
    out.push_str(rest);
    out
}

/// What says where a message ends, and whether the connection goes on.
const FRAMING: [&str; 6] = ["connection", "content-length", "keep-alive", "te", "transfer-encoding", "upgrade"];

/// Add a header, unless it cannot be sent: a value with a line end would be two headers.
pub(super) fn push_header(headers: &mut Vec<(String, String)>, name: &str, value: impl Into<Cow<'static, str>>) {
    let value = value.into();
    if is_header(name, &value) {
        headers.push((name.to_owned(), value.into_owned()));
    }
}

/// Add a header to an answer. How that is framed says whoever sends it: two lengths of one body would make two messages of it.
pub(super) fn push_mapped(headers: &mut Vec<(String, String)>, name: &str, value: impl Into<Cow<'static, str>>) {
    if !FRAMING.iter().any(|framing| name.eq_ignore_ascii_case(framing)) {
        push_header(headers, name, value);
    }
}

/// Set a header: what was there under this name is gone.
pub(super) fn set_header(headers: &mut Vec<(String, String)>, name: &str, value: &str) {
    headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
    push_header(headers, name, value.to_owned());
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A mapped `Content-Length` was sent beside a longer body: the rest of the body was read as the answer to another request.
    #[test]
    fn nobody_says_how_a_message_is_framed() {
        let mut headers = Vec::new();
        for name in ["Content-Length", "transfer-encoding", "Connection", "X-Length"] {
            push_mapped(&mut headers, name, "5");
        }
        assert_eq!(headers, [("X-Length".to_owned(), "5".to_owned())]);
    }

    #[test]
    fn every_source_is_found() {
        let context = json!({"requestId": "r", "identity": {"sourceIp": "::1"}, "n": 1, "none": null});
        let Value::Object(context) = context else { return };
        let variables = [("env".to_owned(), "prod".to_owned())];
        let request = Params {
            path: vec![("id".into(), "a%2Fb".into())],
            query: vec![("q".into(), "1".into()), ("q".into(), "2".into())],
            headers: vec![("X-A".into(), "x".into())],
        };
        let answered = [
            ("Location".to_owned(), "/1".to_owned()),
            ("Via".to_owned(), "a".to_owned()),
            ("via".to_owned(), "b".to_owned()),
        ];
        let sources = Sources {
            response_headers: Some(&answered),
            response_body: br#"{"id": 7, "list": [{"x": "y"}]}"#,
            ..Sources::of_request(&context, &variables, &request, br#"{"a": {"b": "c"}}"#)
        };
        for (source, expected) in [
            ("'text'", Some(vec!["text"])),
            ("''", Some(vec![""])),
            ("stageVariables.env", Some(vec!["prod"])),
            ("stageVariables.none", None),
            ("context.identity.sourceIp", Some(vec!["::1"])),
            ("context.n", Some(vec!["1"])),
            ("context.none", None),
            ("method.request.path.id", Some(vec!["a%2Fb"])),
            ("method.request.querystring.q", Some(vec!["2"])),
            ("method.request.multivaluequerystring.q", Some(vec!["1", "2"])),
            ("method.request.header.x-a", Some(vec!["x"])),
            ("method.request.body", Some(vec![r#"{"a": {"b": "c"}}"#])),
            ("method.request.body.a.b", Some(vec!["c"])),
            ("method.request.body.a", Some(vec![r#"{"b":"c"}"#])),
            ("method.request.body.z", None),
            ("integration.response.header.location", Some(vec!["/1"])),
            ("integration.response.multivalueheader.via", Some(vec!["a", "b"])),
            ("integration.response.body.list[0].x", Some(vec!["y"])),
            ("nonsense", None),
        ] {
            let found = find(source, &sources);
            assert_eq!(found, expected.map(|values| values.into_iter().map(str::to_owned).collect()), "{source}");
        }
        let text = "$context.requestId/${stageVariables.env}$5 $context.identity.sourceIp. $unknown.x";
        assert_eq!(substituted(text, &sources), "r/prod$5 ::1. $unknown.x");
    }

    #[test]
    fn a_header_with_a_line_end_is_left_out() {
        let mut headers = Vec::new();
        push_header(&mut headers, "X-A", "a\r\nX-B: b");
        set_header(&mut headers, "X-C", "c");
        assert_eq!(headers, [("X-C".to_owned(), "c".to_owned())]);
    }
}
