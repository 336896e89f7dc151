//! `$input` and `$util`.

use std::borrow::Cow;
use std::rc::Rc;

use base64::prelude::{Engine as _, BASE64_STANDARD};
use serde_json::{Map, Value as Json};

use super::budget::Stop;
use super::render::Render;
use super::text::escape_java_script;
use super::value::{Fields, Value};
use crate::gateway::wire;
use crate::workflow::path::{Path, PathErrorKind};
use crate::workflow::scope::Scope;

/// The parameters of a request, each with one value.
#[derive(Clone, Debug, Default)]
pub struct Params<'a> {
    /// Variables of the path.
    pub path: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    /// The query.
    pub query: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    /// Headers.
    pub headers: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

/// What `$input` reads.
#[derive(Clone, Debug)]
pub struct Input<'a> {
    /// The body of the request, or of the integration's answer. An empty one is `{}` here.
    pub body: &'a str,
    /// The parameters of the request.
    pub params: &'a Params<'a>,
}

/// The input, read as JSON when it is first asked for.
pub(super) struct Document<'a> {
    input: Input<'a>,
    json: Option<Json>,
}

impl<'a> Document<'a> {
    pub(super) fn new(input: Input<'a>) -> Self {
        Self { input, json: None }
    }

    /// The body as `$input.body` has it.
    pub(super) fn body(&self) -> &'a str {
        if self.input.body.is_empty() {
            "{}"
        } else {
            self.input.body
        }
    }
}

/// Call a method of `$input`.
pub(super) fn method_of_input<'a>(
    render: &mut Render<'a>,
    name: &str,
    given: &[Value<'a>],
) -> Result<Option<Value<'a>>, Stop> {
    let argument = match given {
        [] => None,
        [argument] => Some(render.text(argument)?),
        _ => return Ok(None),
    };
    Ok(match (name, argument) {
        ("path", Some(path)) => Some(match selected(render, &path)? {
            Some(found) => render.heap.read(&found, &mut render.budget)?,
            None => Value::Null,
        }),
        ("json", Some(path)) => {
            let found = selected(render, &path)?;
            // What is missing is the empty text, in quotes.
            let text = found.map_or_else(|| "\"\"".to_owned(), |found| found.to_string());
            render.budget.spend_bytes(text.len())?;
            Some(Value::text(&text))
        }
        ("params", Some(name)) => Some(Value::text(param(render, &name).unwrap_or_default())),
        ("params", None) => Some(params(render)),
        _ => None,
    })
}

/// What a path selects of the body.
fn selected(render: &mut Render<'_>, path: &str) -> Result<Option<Json>, Stop> {
    let path = Path::parse(path).map_err(|error| Stop::Failed(error.to_string()))?;
    if path.variable().is_some() || path.is_of_context() {
        return Err(Stop::Failed(format!("the path {} does not begin with $", path.text())));
    }
    if render.document.json.is_none() {
        let body = render.document.body();
        render.budget.spend_bytes(body.len())?;
        render.document.json = Some(serde_json::from_str(body).map_err(|_| Stop::NoJson)?);
    }
    let Some(json) = &render.document.json else { return Ok(None) };
    if !path.is_definite() {
        // It may look at the whole document.
        render.budget.spend_bytes(render.document.body().len())?;
    }
    let scope = Scope { input: json, context: &Json::Null, variables: &Map::new(), visits: None };
    match path.find(&scope) {
        Ok(found) => {
            render.budget.spend(1)?;
            Ok(Some(found.into_owned()))
        }
        Err(error) if error.kind == PathErrorKind::Missing => Ok(None),
        Err(error) => Err(Stop::Failed(error.to_string())),
    }
}

/// A parameter: of the path, of the query, of the headers, whichever has it first.
fn param<'a>(render: &Render<'a>, name: &str) -> Option<&'a str> {
    let params = render.document.input.params;
    let exact = [&params.path, &params.query, &params.headers]
        .into_iter()
        .find_map(|part| part.iter().rev().find(|(known, _)| known == name));
    let header = || params.headers.iter().rev().find(|(known, _)| known.eq_ignore_ascii_case(name));
    exact.or_else(header).map(|(_, value)| &**value)
}

fn params<'a>(render: &mut Render<'a>) -> Value<'a> {
    let params = render.document.input.params;
    let mut parts = Fields::new();
    for (name, part) in [("path", &params.path), ("querystring", &params.query), ("header", &params.headers)] {
        let fields = part.iter().map(|(name, value)| (Rc::from(&**name), Value::text(value))).collect();
        parts.insert(name.into(), render.heap.new_map(fields));
    }
    render.heap.new_map(parts)
}

/// Call a function of `$util`.
pub(super) fn method_of_util<'a>(
    render: &mut Render<'a>,
    name: &str,
    given: &[Value<'a>],
) -> Result<Option<Value<'a>>, Stop> {
    let [argument] = given else { return Ok(None) };
    let text = render.text(argument)?;
    render.budget.spend_bytes(text.len())?;
    let changed = match name {
        "escapeJavaScript" => escape_java_script(&text, &mut render.budget)?,
        "parseJson" => {
            let json: Json = serde_json::from_str(&text)
                .map_err(|error| Stop::Failed(format!("$util.parseJson was given no JSON: {error}")))?;
            return render.heap.read(&json, &mut render.budget).map(Some);
        }
        "urlEncode" => wire::encoded(&text).replace("%20", "+").replace('~', "%7E").replace("%2A", "*"),
        "urlDecode" => wire::decoded_field(&text).into_owned(),
        "base64Encode" => BASE64_STANDARD.encode(&*text),
        "base64Decode" => {
            let bytes = BASE64_STANDARD
                .decode(text.trim())
                .map_err(|error| Stop::Failed(format!("$util.base64Decode was given no base64: {error}")))?;
            String::from_utf8_lossy(&bytes).into_owned()
        }
        _ => return Ok(None),
    };
    render.budget.spend_bytes(changed.len())?;
    Ok(Some(Value::text(&changed)))
}
