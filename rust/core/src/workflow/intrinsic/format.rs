//! `States.Format`: placeholders, escapes, and values as Java writes them.

use serde_json::Value;

/// Why a template cannot be filled.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unfit {
    /// A `{` without its `}`.
    Unclosed,
    /// A `}` without its `{`.
    Unopened,
    /// More or fewer values than placeholders.
    Count,
    /// The text would be longer than is allowed.
    TooLong,
}

/// Put the values in the place of the template's `{}`, in their order.
pub(super) fn fill(template: &str, values: &[Value], bytes_max: usize) -> Result<String, Unfit> {
    let mut text = String::with_capacity(template.len());
    let mut values = values.iter();
    let mut characters = template.chars().peekable();
    while let Some(each) = characters.next() {
        match each {
            '\\' => text.push(characters.next_if(|next| matches!(next, '{' | '}' | '\\')).unwrap_or('\\')),
            '{' => {
                characters.next_if_eq(&'}').ok_or(Unfit::Unclosed)?;
                write(values.next().ok_or(Unfit::Count)?, &mut text);
                if text.len() > bytes_max {
                    return Err(Unfit::TooLong);
                }
            }
            '}' => return Err(Unfit::Unopened),
            each => text.push(each),
        }
    }
    match values.next() {
        Some(_) => Err(Unfit::Count),
        None => Ok(text),
    }
}

/// A value as Java's maps and lists write it: `{Arg1=1, Arg2=[]}`.
fn write(value: &Value, text: &mut String) {
    match value {
        Value::String(part) => text.push_str(part),
        Value::Array(items) => {
            text.push('[');
            for (at, item) in items.iter().enumerate() {
                text.push_str(if at == 0 { "" } else { ", " });
                write(item, text);
            }
            text.push(']');
        }
        Value::Object(fields) => {
            text.push('{');
            for (at, (name, field)) in fields.iter().enumerate() {
                text.push_str(if at == 0 { "" } else { ", " });
                text.push_str(name);
                text.push('=');
                write(field, text);
            }
            text.push('}');
        }
        other => text.push_str(&other.to_string()),
    }
}
