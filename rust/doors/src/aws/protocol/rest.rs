//! REST: where members stand in a path, a query string, headers and a body, and how the path names the operation.

use http::{HeaderMap, HeaderValue};
use percent_encoding::percent_decode_str;

use crate::aws::model::{Kind, Location, Member, Model, Operation, Segment, Shape, TimeFormat};
use crate::aws::protocol::json::{self, Names};
use crate::aws::protocol::query::plain;
use crate::aws::protocol::{base64_text, text_of_bytes, time, xml, xml_reader, Malformed};
use crate::aws::value::{Fields, Key, Value};

/// What a path gives for the labels of an operation, in the order of its segments.
pub type Labels = Vec<(&'static str, String)>;

/// A query string's pairs, decoded.
pub type Pairs = Vec<(String, String)>;

/// Read a query string.
pub fn pairs(query: &str) -> Result<Pairs, Malformed> {
    let decode = |text: &str| {
        let text = text.replace('+', " ");
        let decoded = percent_decode_str(&text).decode_utf8().map(std::borrow::Cow::into_owned);
        decoded.map_err(|_| Malformed::new("the query string is not UTF-8"))
    };
    let split = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    split.map(|(name, value)| Ok((decode(name)?, decode(value)?))).collect()
}

/// Refuse a query string that `pairs` cannot read.
pub fn check_pairs(query: &str) -> Result<(), Malformed> {
    // Most have nothing that is encoded.
    if query.contains('%') {
        pairs(query)?;
    }
    Ok(())
}

/// How well a request fits an operation: how much literal text its path has, how much of the query string is demanded by name, whether
/// nothing that it needs is missing, and how much of that is there.
pub type Fit = (usize, usize, bool, usize);

fn fit(path: &[Segment], demanded: usize, needed: impl Iterator<Item = bool>) -> Fit {
    let literals = path.iter().filter(|segment| matches!(segment, Segment::Literal(_))).count();
    let (mut found, mut missing) = (0, false);
    for is_there in needed {
        found += usize::from(is_there);
        missing |= !is_there;
    }
    (literals, demanded, !missing, found)
}

fn holds(query: &[(String, String)], demanded: &[(&str, &str)]) -> bool {
    demanded.iter().all(|(name, value)| query.iter().any(|(k, v)| k == name && (value.is_empty() || v == value)))
}

/// The operation of a method and a path, and its labels. The one with more literal text goes first, then the one that finds in the
/// query string all that it needs: `PUT` of a part of an object differs from `PUT` of an object by nothing else.
pub fn route<'m>(
    model: &'m Model,
    method: &str,
    path: &str,
    query: &[(String, String)],
) -> Option<(Fit, &'m Operation, Labels)> {
    let parts: Vec<&str> = path.strip_prefix('/').unwrap_or(path).split('/').collect();
    let fitting = model.operations.iter().filter(|operation| operation.method == method).filter_map(|operation| {
        let labels = holds(query, &operation.query).then(|| labels(&operation.path, &parts)).flatten()?;
        let members = model.members(operation.input).iter();
        let needed = members.filter(|one| one.is_required && one.location == Location::Query);
        let needed = needed.map(|member| query.iter().any(|(name, _)| name == member.wire_name()));
        Some((fit(&operation.path, operation.query.len(), needed), operation, labels))
    });
    fitting.max_by_key(|(fit, ..)| *fit)
}

/// The operation that is not served and that a request fits best. The newer one of two names of one operation is the longer one.
pub fn other(
    model: &Model,
    method: &str,
    path: &str,
    (query, headers): (&[(String, String)], &HeaderMap),
) -> Option<(Fit, &'static str)> {
    let parts: Vec<&str> = path.strip_prefix('/').unwrap_or(path).split('/').collect();
    let fitting = model.other_routes.iter().filter(|other| other.method == method).filter_map(|other| {
        (holds(query, &other.query) && labels(&other.path, &parts).is_some()).then_some(())?;
        let in_query = other.in_query.iter().map(|name| query.iter().any(|(given, _)| given == name));
        let in_headers = other.in_headers.iter().map(|name| headers.contains_key(*name));
        Some((fit(&other.path, other.query.len(), in_query.chain(in_headers)), other.name))
    });
    fitting.max_by_key(|(fit, _)| *fit)
}

/// What a query string of S3 holds that the operation does not know: a sub-resource, which is something else than the object itself.
pub fn unknown_in_query<'q>(model: &Model, operation: &Operation, query: &'q [(String, String)]) -> Option<&'q str> {
    let is_known = |name: &str| {
        let members = model.members(operation.input).iter();
        operation.query.iter().any(|(known, _)| *known == name)
            || members.filter(|one| one.location == Location::Query).any(|one| one.wire_name() == name)
    };
    let is_its_name = |name: &str, value: &str| name == OPERATION && value == operation.name;
    query.iter().find(|(name, value)| !(is_known(name) || is_its_name(name, value))).map(|(name, _)| name.as_str())
}

/// Some SDKs name the operation in the query string, too.
const OPERATION: &str = "x-id";

/// The operation that a query string names.
pub fn named_in_query(query: &[(String, String)]) -> Option<&str> {
    query.iter().find(|(name, _)| name == OPERATION).map(|(_, value)| value.as_str())
}

fn labels(wanted: &[Segment], parts: &[&str]) -> Option<Labels> {
    // The slash at the end of a key of S3 is the key's.
    let ends_in_key = matches!(wanted.last(), Some(Segment::Greedy(_)));
    let parts = match parts {
        [rest @ .., ""] if rest.len() >= wanted.len() && !ends_in_key => rest,
        all => all,
    };
    let mut found = Labels::new();
    let mut at = 0;
    for (index, segment) in wanted.iter().enumerate() {
        let part = parts.get(at)?;
        let decoded = |text: &str| percent_decode_str(text).decode_utf8().ok().map(std::borrow::Cow::into_owned);
        match segment {
            Segment::Literal(text) if decoded(part)? != *text => return None,
            Segment::Literal(_) => at += 1,
            Segment::Label(_) if part.is_empty() => return None,
            Segment::Label(name) => {
                found.push((*name, decoded(part)?));
                at += 1;
            }
            Segment::Greedy(name) => {
                let after = wanted.len() - index - 1;
                let end = parts.len().checked_sub(after).filter(|end| *end > at && parts[at..*end] != [""])?;
                found.push((*name, decoded(&parts[at..end].join("/"))?));
                at = end;
            }
        }
    }
    (at == parts.len()).then_some(found)
}

/// A request whose operation is known.
#[derive(Clone, Copy, Debug)]
pub struct Request<'r> {
    /// What the path gave.
    pub labels: &'r [(&'static str, String)],
    /// The query string.
    pub query: &'r [(String, String)],
    /// The headers.
    pub headers: &'r HeaderMap,
    /// The body.
    pub body: &'r [u8],
}

/// Read a request.
pub fn read(model: &Model, operation: &Operation, request: Request<'_>) -> Result<Value, Malformed> {
    let members = model.members(operation.input);
    let mut fields = Fields::new();
    for member in members {
        let shape = model.shape(member.shape);
        let value = match member.location {
            Location::Body | Location::Status => Value::Null,
            Location::Uri => {
                let label = request.labels.iter().find(|(name, _)| *name == member.wire_name());
                label.map_or(Ok(Value::Null), |(_, text)| plain(shape, member.time, text))?
            }
            Location::Query => from_query(model, member, request.query)?,
            Location::Header => from_header(model, member, request.headers)?,
            Location::Headers => prefixed(member.wire_name(), request.headers)?,
        };
        if value != Value::Null {
            fields.push((Key::Borrowed(member.name), value));
        }
    }
    if let Some(member) = model.payload(operation.input) {
        let value = from_payload(model, member, request.body)?;
        if value != Value::Null {
            fields.push((Key::Borrowed(member.name), value));
        }
    } else if let Some(input) = operation.input {
        if let Value::Map(body) = read_body(model, model.shape(input), request.body)? {
            fields.extend(body);
        }
    }
    Ok(Value::Map(fields))
}

fn from_query(model: &Model, member: &Member, query: &[(String, String)]) -> Result<Value, Malformed> {
    let shape = model.shape(member.shape);
    let mut given = query.iter().filter(|(name, _)| name == member.wire_name()).map(|(_, value)| value.as_str());
    match &shape.kind {
        Kind::Map(_, held) => {
            let is_list = matches!(model.shape(held.shape).kind, Kind::List(_));
            let mut entries = Fields::new();
            // All of the query string, with what other members have, too.
            for (name, value) in query {
                let text = Value::Text(value.clone());
                match entries.iter_mut().find(|(key, _)| key == name) {
                    Some((_, Value::List(values))) => values.push(text),
                    Some((_, value)) => *value = text,
                    None => {
                        entries.push((Key::Owned(name.clone()), if is_list { Value::List(vec![text]) } else { text }));
                    }
                }
            }
            Ok(if entries.is_empty() { Value::Null } else { Value::Map(entries) })
        }
        Kind::List(item) => {
            let inner = model.shape(item.shape);
            let values: Vec<Value> = given.map(|text| plain(inner, item.time, text)).collect::<Result<_, _>>()?;
            Ok(if values.is_empty() { Value::Null } else { Value::List(values) })
        }
        _ => match (given.next(), given.next()) {
            (None, _) => Ok(Value::Null),
            (Some(text), None) => plain(shape, member.time, text),
            (Some(_), Some(_)) => Err(Malformed(format!("{} is given more than once", member.wire_name()))),
        },
    }
}

fn from_header(model: &Model, member: &Member, headers: &HeaderMap) -> Result<Value, Malformed> {
    let shape = model.shape(member.shape);
    let mut values = Vec::new();
    for value in headers.get_all(member.wire_name()) {
        values.push(text_of(value)?);
    }
    if values.is_empty() {
        return Ok(Value::Null);
    }
    let joined = values.join(", ");
    let Kind::List(item) = &shape.kind else { return header_value(shape, member, &joined) };
    let inner = model.shape(item.shape);
    let format = item.time.or(inner.time).unwrap_or(TimeFormat::Http);
    let parts = if matches!(inner.kind, Kind::Time) && format == TimeFormat::Http {
        let commas: Vec<&str> = joined.split(',').collect();
        commas.chunks(2).map(|pair| pair.join(",").trim().to_owned()).collect()
    } else {
        header_items(&joined)?
    };
    let parts = parts.iter().map(|part| plain(inner, Some(format), part));
    Ok(Value::List(parts.collect::<Result<_, _>>()?))
}

/// The items of a header, which stand between quotes where they hold commas.
fn header_items(text: &str) -> Result<Vec<String>, Malformed> {
    let mut items = Vec::new();
    let mut rest = text.trim();
    loop {
        let after = if let Some(quoted) = rest.strip_prefix('"') {
            let (mut item, mut end, mut is_escaped) = (String::new(), None, false);
            for (at, one) in quoted.char_indices() {
                match one {
                    _ if is_escaped => {
                        item.push(one);
                        is_escaped = false;
                    }
                    '\\' => is_escaped = true,
                    '"' => {
                        end = Some(at + 1);
                        break;
                    }
                    _ => item.push(one),
                }
            }
            items.push(item);
            quoted[end.ok_or_else(|| Malformed::new("a header's quotes do not end"))?..].trim_start()
        } else {
            let end = rest.find(',').unwrap_or(rest.len());
            items.push(rest[..end].trim().to_owned());
            &rest[end..]
        };
        match after.strip_prefix(',') {
            Some(next) => rest = next.trim_start(),
            None if after.is_empty() => return Ok(items),
            None => return Err(Malformed::new("a header's item goes on after its quotes")),
        }
    }
}

fn header_value(shape: &Shape, member: &Member, text: &str) -> Result<Value, Malformed> {
    match shape.kind {
        Kind::Text if member.is_json_value || shape.media_type.is_some() => {
            let text = String::from_utf8(base64_text(text)?);
            text.map(Value::Text).map_err(|_| Malformed::new("a header's base64 is not UTF-8"))
        }
        _ => plain(shape, Some(member.time.or(shape.time).unwrap_or(TimeFormat::Http)), text),
    }
}

fn prefixed(prefix: &str, headers: &HeaderMap) -> Result<Value, Malformed> {
    let prefix = prefix.to_ascii_lowercase();
    let mut entries = Fields::new();
    for (name, value) in headers {
        if let Some(name) = name.as_str().strip_prefix(&prefix) {
            entries.push((Key::Owned(name.to_owned()), text_of(value)?.into()));
        }
    }
    Ok(if entries.is_empty() { Value::Null } else { Value::Map(entries) })
}

fn text_of(value: &HeaderValue) -> Result<&str, Malformed> {
    value.to_str().map_err(|_| Malformed::new("a header is not text"))
}

fn from_payload(model: &Model, member: &Member, body: &[u8]) -> Result<Value, Malformed> {
    let shape = model.shape(member.shape);
    match shape.kind {
        _ if body.is_empty() => Ok(Value::Null),
        Kind::Blob => Ok(Value::Blob(body.to_vec())),
        Kind::Text => {
            let text = String::from_utf8(body.to_vec());
            text.map(Value::Text).map_err(|_| Malformed::new("the body is not UTF-8"))
        }
        _ => read_body(model, shape, body),
    }
}

fn read_body(model: &Model, shape: &Shape, body: &[u8]) -> Result<Value, Malformed> {
    if model.is_rest_xml {
        return xml_reader::read(model, shape, body);
    }
    json::read(model, shape, Names::Wire, body)
}

/// The outer element of answers of S3 that bear another name than their shape; botocore's models do not say it, since boto3 does not look.
///
/// Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html> and the pages of the others.
const OF_S3: [(&str, &str); 4] = [
    ("CompleteMultipartUploadOutput", "CompleteMultipartUploadResult"),
    ("CreateMultipartUploadOutput", "InitiateMultipartUploadResult"),
    ("DeleteObjectsOutput", "DeleteResult"),
    ("ListObjectsV2Output", "ListBucketResult"),
];
const SPACE_OF_S3: &str = "http://s3.amazonaws.com/doc/2006-03-01/";

fn element_of<'m>(model: &Model, shape: &'m Shape) -> &'m str {
    let known = OF_S3.iter().find(|(name, _)| model.signing_name == "s3" && *name == shape.name);
    shape.element.or(known.map(|(_, element)| *element)).unwrap_or(shape.name)
}

/// A body and its content type.
fn write_body(model: &Model, shape: &Shape, name: &str, value: &Value) -> (Vec<u8>, &'static str) {
    if !model.is_rest_xml {
        return (json::write(model, shape, Names::Wire, value), "application/json");
    }
    let mut writer = xml::Writer { model, text: String::new() };
    let is_of_s3 = OF_S3.iter().any(|(_, element)| model.signing_name == "s3" && *element == name);
    let own = if is_of_s3 { SPACE_OF_S3 } else { model.namespace };
    let own = Some(("", own)).filter(|(_, uri)| !uri.is_empty());
    writer.value(shape, name, shape.namespace.or(own), value);
    (writer.text.into_bytes(), "application/xml")
}

/// An answer as it goes out.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// HTTP status.
    pub status: u16,
    /// Headers, the content type among them.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// Write an answer, or an error of a shape.
pub fn write(model: &Model, shape: Option<&Shape>, status: u16, value: &Value) -> Written {
    let mut written = Written { status, ..Written::default() };
    let Some((shape, Kind::Structure { members, payload, .. })) = shape.map(|shape| (shape, &shape.kind)) else {
        return written;
    };
    for member in members {
        let Some(value) = value.get(member.name) else { continue };
        match (member.location, value) {
            (Location::Status, Value::Int(status)) => written.status = *status as u16,
            (Location::Header, value) => {
                let text = header_text(model, member, value);
                written.headers.push((member.wire_name().to_ascii_lowercase(), text));
            }
            (Location::Headers, Value::Map(entries)) => {
                let named = |(key, value): &(Key, Value)| {
                    (format!("{}{key}", member.wire_name()).to_ascii_lowercase(), xml::plain(value))
                };
                written.headers.extend(entries.iter().map(named));
            }
            _ => {}
        }
    }
    match payload.map(|at| &members[at]) {
        Some(member) => write_payload(model, member, value.get(member.name), &mut written),
        // XML has a body where there is something to be put into it, JSON always.
        None if has_body(written.status) && (!model.is_rest_xml || members.iter().any(Member::is_in_answer))
            || shape.error.is_some() =>
        {
            let (body, kind) = write_body(model, shape, element_of(model, shape), value);
            written.body = body;
            written.headers.push(("content-type".into(), kind.into()));
        }
        None => {}
    }
    written
}

/// Write an answer whose one member is the whole body, as S3 writes where a bucket is.
pub fn write_unwrapped(model: &Model, operation: &Operation, value: &Value) -> Written {
    let mut writer = xml::Writer { model, text: String::new() };
    let own = Some(("", model.namespace)).filter(|(_, uri)| !uri.is_empty());
    for member in model.members(operation.output) {
        let given = value.get(member.name).unwrap_or(&Value::Null);
        writer.value(model.shape(member.shape), member.wire_name(), own, given);
    }
    let headers = vec![("content-type".into(), "application/xml".into())];
    Written { status: operation.status, headers, body: writer.text.into_bytes() }
}

fn has_body(status: u16) -> bool {
    ![204, 205, 304].contains(&status)
}

fn write_payload(model: &Model, member: &Member, value: Option<&Value>, written: &mut Written) {
    let shape = model.shape(member.shape);
    let kind = match (&shape.kind, value) {
        (Kind::Blob, Some(Value::Blob(bytes))) => {
            written.body.clone_from(bytes);
            shape.media_type.unwrap_or("application/octet-stream")
        }
        (Kind::Text, Some(Value::Text(text))) => {
            written.body = text.as_bytes().to_vec();
            shape.media_type.unwrap_or("text/plain")
        }
        (_, Some(value)) => {
            let name = member.wire.or(shape.element).unwrap_or(shape.name);
            let (body, kind) = write_body(model, shape, name, value);
            written.body = body;
            kind
        }
        (_, None) => return,
    };
    if !written.headers.iter().any(|(name, _)| name == "content-type") {
        written.headers.push(("content-type".into(), kind.into()));
    }
}

fn header_text(model: &Model, member: &Member, value: &Value) -> String {
    let shape = model.shape(member.shape);
    let format = member.time.or(shape.time).unwrap_or(TimeFormat::Http);
    match (&shape.kind, value) {
        (Kind::List(item), Value::List(values)) => {
            let inner = model.shape(item.shape);
            let format = item.time.or(inner.time).unwrap_or(TimeFormat::Http);
            let texts = values.iter().map(|value| match value {
                Value::Time(millis) => time::write(*millis, format),
                Value::Text(text) if text.contains([',', '"']) => {
                    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
                }
                value => xml::plain(value),
            });
            texts.collect::<Vec<_>>().join(", ")
        }
        (_, Value::Time(millis)) => time::write(*millis, format),
        (Kind::Text, Value::Text(text)) if member.is_json_value || shape.media_type.is_some() => {
            text_of_bytes(text.as_bytes())
        }
        (_, value) => xml::plain(value),
    }
}
