//! What the template of a mock says.

use serde_json::Value;

/// `statusCode` of a mock's template. Its names may stand without quotes, as `{statusCode: 200}`.
pub(super) fn status(body: &[u8]) -> Option<u16> {
    let text = std::str::from_utf8(body).ok()?;
    let json: Value = serde_json::from_str(text).or_else(|_| serde_json::from_str(&quoted(text))).ok()?;
    let status = match json.get("statusCode")? {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    status.filter(|status| (100..=999).contains(status)).map(|status| status as u16)
}

/// The text with quotes around the names of fields, and with double ones for single ones.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    let mut in_text: Option<char> = None;
    let mut rest = text.chars().peekable();
    let mut before = ' ';
    while let Some(found) = rest.next() {
        match in_text {
            Some(quote) if found == quote => {
                out.push('"');
                in_text = None;
            }
            None if found == '"' || found == '\'' => {
                out.push('"');
                in_text = Some(found);
            }
            None if (found.is_ascii_alphabetic() || found == '_') && (before == '{' || before == ',') => {
                out.push('"');
                out.push(found);
                while let Some(more) = rest.next_if(|more| more.is_ascii_alphanumeric() || *more == '_') {
                    out.push(more);
                }
                out.push('"');
            }
            _ => out.push(found),
        }
        if !found.is_whitespace() {
            before = found;
        }
    }
    out
}
