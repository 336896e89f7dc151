//! XML: bodies of answers of the query protocol and of REST, and bodies of REST's requests.

use std::fmt::Write as _;

use crate::aws::model::{Kind, Member, Model, Shape, TimeFormat};
use crate::aws::protocol::{text_of_bytes, text_of_double, time};
use crate::aws::value::Value;

/// Text between tags.
pub fn escape(text: &str, into: &mut String) {
    for one in text.chars() {
        match one {
            '&' => into.push_str("&amp;"),
            '<' => into.push_str("&lt;"),
            '>' => into.push_str("&gt;"),
            '"' => into.push_str("&quot;"),
            '\r' => into.push_str("&#xD;"),
            '\n' => into.push_str("&#xA;"),
            '\u{85}' => into.push_str("&#x85;"),
            '\u{2028}' => into.push_str("&#x2028;"),
            '\t' => into.push(one),
            // XML has no way to write these, and no reader takes an answer that has one.
            '\0'..' ' | '\u{FFFE}' | '\u{FFFF}' => into.push('\u{FFFD}'),
            _ => into.push(one),
        }
    }
}

/// An element with text.
pub fn element(name: &str, text: &str, into: &mut String) {
    let _ = write!(into, "<{name}>");
    escape(text, into);
    let _ = write!(into, "</{name}>");
}

/// Writes values as XML.
pub struct Writer<'m> {
    /// Whose shapes.
    pub model: &'m Model,
    /// What is written.
    pub text: String,
}

impl Writer<'_> {
    /// The members of a structure that are elements.
    pub fn members(&mut self, members: &[Member], value: &Value) {
        for member in members.iter().filter(|member| member.is_in_answer() && !member.is_attribute) {
            if let Some(value) = value.get(member.name) {
                self.member(member, member.wire_name(), value);
            }
        }
    }

    /// A whole element around a value.
    pub fn value(&mut self, shape: &Shape, name: &str, namespace: Option<(&str, &str)>, value: &Value) {
        self.open(name, namespace, shape, value);
        self.inside(shape, None, value);
        self.close(name);
    }

    fn open(&mut self, name: &str, namespace: Option<(&str, &str)>, shape: &Shape, value: &Value) {
        let _ = write!(self.text, "<{name}");
        if let Some((prefix, uri)) = namespace {
            let colon = if prefix.is_empty() { "" } else { ":" };
            let _ = write!(self.text, " xmlns{colon}{prefix}=\"{uri}\"");
        }
        if let Kind::Structure { members, .. } = &shape.kind {
            for member in members.iter().filter(|member| member.is_attribute) {
                if let Some(value) = value.get(member.name) {
                    let text = moment_or_plain(self.model.shape(member.shape), member.time, value);
                    let _ = write!(self.text, " {}=\"", member.wire_name());
                    escape(&text, &mut self.text);
                    self.text.push('"');
                }
            }
        }
        self.text.push('>');
    }

    fn close(&mut self, name: &str) {
        let _ = write!(self.text, "</{name}>");
    }

    fn member(&mut self, member: &Member, name: &str, value: &Value) {
        let shape = self.model.shape(member.shape);
        let is_flattened = member.is_flattened || shape.is_flattened;
        // A shape's own namespace is that of a whole document.
        let namespace = member.namespace;
        match (&shape.kind, value) {
            (Kind::List(item), Value::List(values)) if is_flattened => {
                let name = if member.wire.is_some() { name } else { item.wire.unwrap_or(name) };
                for value in values {
                    self.wrapped(item, name, item.namespace, value);
                }
            }
            (Kind::Map(key, held), Value::Map(entries)) if is_flattened => {
                for (one, value) in entries {
                    self.entry((key, held), (name, namespace), one, value);
                }
            }
            _ => self.wrapped(member, name, namespace, value),
        }
    }

    /// An element around what a member, a list or a map holds.
    fn wrapped(&mut self, member: &Member, name: &str, namespace: Option<(&str, &str)>, value: &Value) {
        let shape = self.model.shape(member.shape);
        self.open(name, namespace, shape, value);
        self.inside(shape, member.time, value);
        self.close(name);
    }

    fn entry(
        &mut self,
        (key, held): (&Member, &Member),
        (name, namespace): (&str, Option<(&str, &str)>),
        one: &str,
        value: &Value,
    ) {
        let empty = Value::Null;
        self.open(name, namespace, self.model.shape(key.shape), &empty);
        let key_shape = self.model.shape(key.shape);
        self.open(key.wire.unwrap_or("key"), key.namespace, key_shape, &empty);
        escape(one, &mut self.text);
        self.close(key.wire.unwrap_or("key"));
        let held_name = held.wire.unwrap_or("value");
        self.wrapped(held, held_name, held.namespace, value);
        self.close(name);
    }

    fn inside(&mut self, shape: &Shape, format: Option<TimeFormat>, value: &Value) {
        match (&shape.kind, value) {
            (Kind::Structure { members, .. }, Value::Map(_)) => self.members(members, value),
            (Kind::List(item), Value::List(values)) => {
                for value in values {
                    self.wrapped(item, item.wire.unwrap_or("member"), item.namespace, value);
                }
            }
            (Kind::Map(key, held), Value::Map(entries)) => {
                for (one, value) in entries {
                    self.entry((key, held), ("entry", None), one, value);
                }
            }
            _ => {
                let text = moment_or_plain(shape, format, value);
                escape(&text, &mut self.text);
            }
        }
    }
}

fn moment_or_plain(shape: &Shape, format: Option<TimeFormat>, value: &Value) -> String {
    match value {
        Value::Time(millis) => time::write(*millis, format.or(shape.time).unwrap_or(TimeFormat::Iso)),
        _ => plain(value),
    }
}

/// A value without members as text; a moment as RFC 3339 has it.
pub fn plain(value: &Value) -> String {
    match value {
        Value::Bool(flag) => flag.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Double(number) => text_of_double(*number),
        Value::Text(text) => text.clone(),
        Value::Blob(bytes) => text_of_bytes(bytes),
        Value::Time(millis) => time::write(*millis, TimeFormat::Iso),
        Value::Document(json) => json.to_string(),
        Value::Null | Value::List(_) | Value::Map(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer with U+0001 in it was no XML, and whoever asked for it could not go on.
    #[test]
    fn a_character_that_xml_cannot_have_is_never_written() {
        let mut text = String::new();
        escape("a\u{1}\u{b}\u{fffe}\t\n\r<\u{e9}", &mut text);
        assert_eq!(text, "a\u{fffd}\u{fffd}\u{fffd}\t&#xA;&#xD;&lt;\u{e9}");
    }
}
