//! The query protocol: a form for a request, XML for an answer.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::aws::model::{Kind, Location, Member, Model, Operation, Shape, TimeFormat};
use crate::aws::protocol::xml::{self, element, Writer};
use crate::aws::protocol::{
    base64_text, boolean_text, double_text, integer_text, last_of_each, time, Malformed, DEPTH_MAX,
};
use crate::aws::value::{Fields, Key, Value};

/// The content type of a form.
pub const KIND: &str = "application/x-www-form-urlencoded";
/// Most fields of a form, those that are there again among them.
const FIELDS_MAX: usize = 10_000;
/// How much is looked at of either end of a form, bytes.
const LOOKED_AT: usize = 8 << 10;
/// The fields that name an operation.
const NAMING: [&str; 2] = ["Action", "Version"];

/// A form: fields by their names, which have points in them.
#[derive(Debug, Default)]
pub struct Form {
    fields: BTreeMap<String, String>,
}

impl Form {
    /// Read a form, or a query string.
    pub fn read(body: &[u8]) -> Result<Self, Malformed> {
        let text = std::str::from_utf8(body).map_err(|_| Malformed::new("the form is not UTF-8"))?;
        let mut fields = BTreeMap::new();
        for (at, pair) in text.split('&').filter(|pair| !pair.is_empty()).enumerate() {
            if at == FIELDS_MAX {
                return Err(Malformed(format!("a form has at most {FIELDS_MAX} fields")));
            }
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            // Of two fields with one name the last one counts.
            fields.insert(decode(name)?, decode(value)?);
        }
        Ok(Self { fields })
    }

    /// What of a form names its operation, and nothing else: clients write it first or last. It takes no longer for a longer form.
    pub fn look(body: &[u8]) -> Self {
        let mut fields = BTreeMap::new();
        let mut look = |pairs: &[u8]| {
            for pair in pairs.split(|byte| *byte == b'&') {
                let Some((name, value)) = std::str::from_utf8(pair).ok().and_then(|pair| pair.split_once('=')) else {
                    continue;
                };
                if let (true, Ok(value)) = (NAMING.contains(&name), decode(value)) {
                    fields.insert(name.to_owned(), value);
                }
            }
        };
        if body.len() <= 2 * LOOKED_AT {
            look(body);
            return Self { fields };
        }
        // What is cut off at the inner ends is no whole field.
        let (begin, end) = (&body[..LOOKED_AT], &body[body.len() - LOOKED_AT..]);
        look(&begin[..begin.iter().rposition(|byte| *byte == b'&').unwrap_or(0)]);
        look(end.iter().position(|byte| *byte == b'&').map_or(&[][..], |at| &end[at..]));
        Self { fields }
    }

    /// A field.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }

    /// Add a field, unless it is there.
    pub fn add(&mut self, name: &str, value: String) {
        self.fields.entry(name.to_owned()).or_insert(value);
    }

    /// Put the fields whose names begin so under names that begin otherwise, unless these are there.
    pub fn rename(&mut self, from: &str, to: &str) {
        let named = self.fields.range(from.to_owned()..).take_while(|(name, _)| name.starts_with(from));
        let renamed: Vec<(String, String)> =
            named.map(|(name, value)| (format!("{to}{}", &name[from.len()..]), value.clone())).collect();
        for (name, value) in renamed {
            self.fields.entry(name).or_insert(value);
        }
    }

    /// Whether there is a field of a name, or one whose name goes on from it after a point.
    fn has(&self, name: &str) -> bool {
        let below = format!("{name}.");
        self.fields.contains_key(name)
            || self.fields.range(below.clone()..).next().is_some_and(|(key, _)| key.starts_with(&below))
    }

    /// The numbers that follow a name, in their order.
    fn numbers(&self, name: &str) -> Vec<u32> {
        let below = format!("{name}.");
        let fields = self.fields.range(below.clone()..).take_while(|(key, _)| key.starts_with(&below));
        let mut numbers: Vec<u32> =
            fields.filter_map(|(key, _)| key[below.len()..].split('.').next()?.parse().ok()).collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }
}

fn decode(text: &str) -> Result<String, Malformed> {
    let spaced = text.replace('+', " ");
    let decoded = percent_encoding::percent_decode_str(&spaced).decode_utf8();
    decoded.map(std::borrow::Cow::into_owned).map_err(|_| Malformed::new("the form is not UTF-8"))
}

/// Read a request.
pub fn read(model: &Model, shape: &Shape, form: &Form) -> Result<Value, Malformed> {
    let Kind::Structure { members, .. } = &shape.kind else { return Ok(Value::structure()) };
    Decoder { model, form }.structure(members, "", 0)
}

struct Decoder<'m> {
    model: &'m Model,
    form: &'m Form,
}

impl Decoder<'_> {
    fn structure(&self, members: &[Member], at: &str, depth: usize) -> Result<Value, Malformed> {
        if depth > DEPTH_MAX {
            return Err(Malformed(format!("the form has more than {DEPTH_MAX} levels")));
        }
        let mut fields = Fields::new();
        for member in members {
            if let Some(value) = self.member(member, at, depth)? {
                fields.push((Key::Borrowed(member.name), value));
            }
        }
        Ok(Value::Map(fields))
    }

    fn member(&self, member: &Member, at: &str, depth: usize) -> Result<Option<Value>, Malformed> {
        let shape = self.model.shape(member.shape);
        let is_flattened = member.is_flattened || shape.is_flattened;
        let name = match (&shape.kind, member.wire) {
            // A flattened list takes the name of its items where it has none itself.
            (Kind::List(item), None) if is_flattened => item.wire.unwrap_or(member.name),
            _ => member.wire_name(),
        };
        let name = if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") };
        if !self.form.has(&name) {
            return Ok(None);
        }
        self.value(shape, (member.time, is_flattened), &name, depth + 1).map(Some)
    }

    fn value(
        &self,
        shape: &Shape,
        (format, is_flattened): (Option<TimeFormat>, bool),
        at: &str,
        depth: usize,
    ) -> Result<Value, Malformed> {
        match &shape.kind {
            Kind::Structure { members, .. } => self.structure(members, at, depth),
            Kind::List(item) => {
                let within =
                    if is_flattened { at.to_owned() } else { format!("{at}.{}", item.wire.unwrap_or("member")) };
                let inner = self.model.shape(item.shape);
                let numbers = self.form.numbers(&within).into_iter();
                let items = numbers.map(|number| {
                    let at = format!("{within}.{number}");
                    self.value(inner, (item.time, inner.is_flattened), &at, depth + 1)
                });
                Ok(Value::List(items.collect::<Result<_, _>>()?))
            }
            Kind::Map(key, held) => {
                let within = if is_flattened { at.to_owned() } else { format!("{at}.entry") };
                let (key, value) = (key.wire.unwrap_or("key"), held.wire.unwrap_or("value"));
                let inner = self.model.shape(held.shape);
                let mut entries = Fields::new();
                for number in self.form.numbers(&within) {
                    let name = self.form.get(&format!("{within}.{number}.{key}")).unwrap_or_default();
                    let at = format!("{within}.{number}.{value}");
                    let value = self.value(inner, (held.time, inner.is_flattened), &at, depth + 1)?;
                    entries.push((Key::Owned(name.to_owned()), value));
                }
                Ok(Value::Map(last_of_each(entries)))
            }
            _ => plain(shape, format, self.form.get(at).unwrap_or_default()),
        }
    }
}

/// A value without members out of its text, in forms, query strings, headers and XML alike; a moment as RFC 3339 has it.
pub fn plain(shape: &Shape, format: Option<TimeFormat>, text: &str) -> Result<Value, Malformed> {
    Ok(match &shape.kind {
        Kind::Blob => Value::Blob(base64_text(text)?),
        Kind::Boolean => Value::Bool(boolean_text(text)?),
        Kind::Integer(bits) => Value::Int(integer_text(text, *bits)?),
        Kind::Double(_) => Value::Double(double_text(text)?),
        Kind::Time => Value::Time(time::read(text, format.or(shape.time).unwrap_or(TimeFormat::Iso))?),
        _ => Value::Text(text.to_owned()),
    })
}

/// Write an answer.
pub fn write(model: &Model, operation: &Operation, value: &Value, request_id: &str) -> Vec<u8> {
    let mut writer = Writer { model, text: String::new() };
    let name = operation.name;
    let _ = write!(writer.text, "<{name}Response xmlns=\"{}\">", model.namespace);
    if let Some(wrapper) = operation.result_wrapper {
        let _ = write!(writer.text, "<{wrapper}>");
        writer.members(model.members(operation.output), value);
        let _ = write!(writer.text, "</{wrapper}>");
    }
    writer.text.push_str("<ResponseMetadata>");
    element("RequestId", request_id, &mut writer.text);
    let _ = write!(writer.text, "</ResponseMetadata></{name}Response>");
    writer.text.into_bytes()
}

/// What an error says in the query protocol.
#[derive(Clone, Copy, Debug)]
pub struct Failure<'a> {
    /// Its code.
    pub code: &'a str,
    /// Its text.
    pub message: &'a str,
    /// Whether the sender made a mistake.
    pub is_senders: bool,
}

/// Write an error, with the members that its shape has besides.
pub fn write_error(
    model: &Model,
    shape: Option<&Shape>,
    failure: Failure<'_>,
    value: &Value,
    request_id: &str,
) -> Vec<u8> {
    let mut writer = Writer { model, text: String::new() };
    let space = if model.namespace.is_empty() { String::new() } else { format!(" xmlns=\"{}\"", model.namespace) };
    // S3 has no element around it, and EC2 has two.
    let (before, between, after, id) = match model.signing_name {
        "s3" => (String::new(), "", "</Error>", "RequestId"),
        "ec2" => ("<Response><Errors>".to_owned(), "</Error></Errors>", "</Response>", "RequestID"),
        _ => (format!("<ErrorResponse{space}>"), "</Error>", "</ErrorResponse>", "RequestId"),
    };
    let _ = write!(writer.text, "{before}<Error>");
    element("Type", if failure.is_senders { "Sender" } else { "Receiver" }, &mut writer.text);
    element("Code", failure.code, &mut writer.text);
    if !failure.message.is_empty() {
        element("Message", failure.message, &mut writer.text);
    }
    if let Some(Kind::Structure { members, .. }) = shape.map(|shape| &shape.kind) {
        let others = members.iter().filter(|one| one.location == Location::Body);
        for member in others.filter(|one| !one.name.eq_ignore_ascii_case("message")) {
            writer.members(std::slice::from_ref(member), value);
        }
    }
    // Errors of S3 have members, and no shapes.
    if let (Value::Map(fields), None, "s3") = (value, shape, model.signing_name) {
        for (name, text) in fields {
            element(name, &xml::plain(text), &mut writer.text);
        }
    }
    writer.text.push_str(between);
    element(id, request_id, &mut writer.text);
    writer.text.push_str(after);
    writer.text.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One unsigned form of eight million fields held up all other clients for seconds: it was read before anybody was asked who he is.
    #[test]
    fn only_the_ends_of_a_form_are_looked_at_for_its_operation() {
        let text = "x".repeat(1 << 20);
        let named = |form: &Form| NAMING.map(|name| form.get(name).map(str::to_owned));
        let both = ["A b", "2012-11-05"].map(|text| Some(text.to_owned()));
        for body in [
            "Action=A+b&Version=2012-11-05".to_owned(),
            format!("Action=A+b&Version=2012-11-05&M={text}"),
            format!("M={text}&Action=A+b&Version=2012-11-05"),
            format!("Version=2012-11-05&M={text}&Action=C&Action=A%20b"),
        ] {
            assert_eq!(named(&Form::look(body.as_bytes())), both);
            let read = Form::read(body.as_bytes()).unwrap();
            assert_eq!(named(&read), both, "as the whole form says");
        }
        let hidden = format!("M={text}&Action=A&N={text}");
        assert_eq!(named(&Form::look(hidden.as_bytes())), [None, None]);
        let mut cut = format!("{}Action=A&{text}", "&".repeat(LOOKED_AT - 8));
        assert_eq!(named(&Form::look(cut.as_bytes())), [None, None], "a field that is cut off is none");
        cut.insert_str(0, "Action=B&");
        assert_eq!(Form::look(cut.as_bytes()).get("Action"), Some("B"));
    }

    #[test]
    fn fields_are_counted_also_where_they_have_one_name() {
        let body = |count: usize| "a&".repeat(count);
        assert!(Form::read(body(FIELDS_MAX).as_bytes()).is_ok());
        assert!(Form::read(body(FIELDS_MAX + 1).as_bytes()).is_err());
    }
}
