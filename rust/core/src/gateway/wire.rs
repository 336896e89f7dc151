//! The texts of HTTP: escapes of a URL, fields of a query, cookies, the content types that are text.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Decode `%XX`; what is not an escape stays as it is, and so does a text that would be no UTF-8.
pub fn decoded(text: &str) -> Cow<'_, str> {
    whole(text, false)
}

/// The same, but bytes that are no UTF-8 become `U+FFFD`: nothing in the text keeps its other escapes from being decoded.
pub fn decoded_anyway(text: &str) -> Cow<'_, str> {
    unescaped(text, false).map_or(text.into(), |bytes| String::from_utf8_lossy(&bytes).into_owned().into())
}

/// Decode a name or a value of a query: `+` is a space, too.
pub fn decoded_field(text: &str) -> Cow<'_, str> {
    whole(text, true)
}

fn whole(text: &str, plus: bool) -> Cow<'_, str> {
    unescaped(text, plus).and_then(|bytes| String::from_utf8(bytes).ok()).map_or(text.into(), Cow::Owned)
}

/// The bytes of a text with escapes; `None`: it has none.
fn unescaped(text: &str, plus: bool) -> Option<Vec<u8>> {
    if !text.bytes().any(|byte| byte == b'%' || (plus && byte == b'+')) {
        return None;
    }
    let bytes = text.as_bytes();
    let mut found = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escape = (bytes[at] == b'%').then(|| bytes.get(at + 1..at + 3).and_then(hex)).flatten();
        match escape {
            Some(byte) => {
                found.push(byte);
                at += 3;
            }
            None => {
                found.push(if plus && bytes[at] == b'+' { b' ' } else { bytes[at] });
                at += 1;
            }
        }
    }
    Some(found)
}

fn hex(digits: &[u8]) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    Some((digit(digits[0])? * 16 + digit(digits[1])?) as u8)
}

/// Encode what a segment of a path must not hold as it is.
pub fn encoded(text: &str) -> String {
    let mut found = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            found.push(byte.into());
        } else {
            // Writing to memory does not fail.
            let _ = write!(found, "%{byte:02X}");
        }
    }
    found
}

/// Encode what a path cannot hold, and leave what is encoded already.
pub fn as_path(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut found = String::with_capacity(text.len());
    for (at, &byte) in bytes.iter().enumerate() {
        let is_escape = byte == b'%' && bytes.get(at + 1..at + 3).and_then(hex).is_some();
        if is_escape || byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/".contains(&byte) {
            found.push(byte.into());
        } else {
            // Writing to memory does not fail.
            let _ = write!(found, "%{byte:02X}");
        }
    }
    found
}

/// The fields of a query as they were sent, decoded, in their order.
pub fn query_fields(query: &str) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    query.split('&').filter(|field| !field.is_empty()).map(|field| {
        let (name, value) = field.split_once('=').unwrap_or((field, ""));
        (decoded_field(name), decoded_field(value))
    })
}

/// The cookies of a `Cookie` header, as they were sent.
pub fn cookies(header: &str) -> impl Iterator<Item = &str> {
    header.split(';').map(str::trim).filter(|cookie| !cookie.is_empty())
}

/// Whether a body of this content type and encoding is handed on as text; else as base64.
pub fn is_text(content_type: &str, content_encoding: &str) -> bool {
    if !content_encoding.is_empty() {
        return false;
    }
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let Some((kind, subtype)) = essence.split_once('/') else { return false };
    let subtype_is = |word: &str| subtype == word || subtype.rsplit('+').next().is_some_and(|suffix| suffix == word);
    kind == "text" || subtype_is("json") || subtype_is("xml") || subtype_is("javascript")
}

/// Whether a header may be sent: a name of token characters, a value without control characters.
pub fn is_header(name: &str, value: &str) -> bool {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let is_shown = |byte: u8| byte == b'\t' || (byte >= b' ' && byte != 0x7f);
    !name.is_empty() && name.bytes().all(is_token) && value.bytes().all(is_shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_decoded_and_what_is_none_stays() {
        for (text, expected) in [
            ("a%20b", "a b"),
            ("%2F%2f", "//"),
            ("100%", "100%"),
            ("%zz%4", "%zz%4"),
            ("%c3%a9", "\u{e9}"),
            ("%ff", "%ff"),
            ("a+b", "a+b"),
            ("pa2%Fth", "pa2%Fth"),
        ] {
            assert_eq!(decoded(text), expected, "{text}");
        }
        for (field, expected) in [("a+b%2B", "a b+"), ("+", " "), ("++", "  "), ("%", "%"), ("", "")] {
            assert_eq!(decoded_field(field), expected, "{field}");
        }
        // A text without an escape is not copied.
        assert!(["ab", "a+b"].iter().all(|text| matches!(decoded(text), Cow::Borrowed(_))));
        assert!(matches!(decoded_field("ab"), Cow::Borrowed(_)));
        assert_eq!(encoded("a b/\u{e9}"), "a%20b%2F%C3%A9");
    }

    #[test]
    fn a_query_has_its_fields_in_order() {
        let fields: Vec<_> = query_fields("a=1&&b=%2Fx&a=2&c&=d&e=f=g").collect();
        let pairs: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(pairs, [("a", "1"), ("b", "/x"), ("a", "2"), ("c", ""), ("", "d"), ("e", "f=g")]);
    }

    #[test]
    fn text_is_what_aws_takes_for_text() {
        for (content_type, expected) in [
            ("text/plain", true),
            ("text/html; charset=utf-8", true),
            ("application/json", true),
            ("Application/Vnd.api+JSON", true),
            ("application/xml", true),
            ("image/svg+xml", true),
            ("application/javascript", true),
            ("application/x-www-form-urlencoded", false),
            ("multipart/form-data; boundary=x", false),
            ("application/octet-stream", false),
            ("", false),
        ] {
            assert_eq!(is_text(content_type, ""), expected, "{content_type}");
        }
        assert!(!is_text("text/plain", "gzip"));
    }

    #[test]
    fn a_header_cannot_hold_another() {
        assert!(is_header("x-a", "1\t2 \u{e9}"));
        for (name, value) in [("x", "a\r\nb: c"), ("x", "a\n"), ("x", "\0"), ("x\r\ny", "1"), ("", "1"), ("x y", "1")] {
            assert!(!is_header(name, value), "{name:?} {value:?}");
        }
    }
}
