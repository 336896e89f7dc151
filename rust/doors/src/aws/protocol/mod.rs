//! The protocols: from bytes to values by the shapes of a model, and back.

pub mod aws_chunked;
pub mod cbor;
pub mod event_stream;
pub mod json;
pub mod query;
pub mod rest;
pub mod time;
pub mod xml;
pub mod xml_reader;

/// A request that does not have the form of its protocol.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub String);

impl Malformed {
    /// Refused for this reason.
    pub fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

/// Most levels of a JSON or XML body.
pub(crate) const DEPTH_MAX: usize = 64;

/// Most values of a JSON or CBOR body, those inside others among them: an empty one takes a byte or two there, and far more here.
pub(crate) const VALUES_MAX: usize = 1_000_000;

/// A body that has more.
pub(crate) fn too_many() -> Malformed {
    Malformed(format!("the body has more than {VALUES_MAX} values"))
}

/// A whole number in the range of its shape.
pub(crate) fn integer(number: i64, bits: u32) -> Result<i64, Malformed> {
    let limit = 1_i128 << (bits - 1);
    if (-limit..limit).contains(&i128::from(number)) {
        return Ok(number);
    }
    Err(Malformed(format!("{number} is out of the range of {bits} bits")))
}

/// A whole number that is written as text.
pub(crate) fn integer_text(text: &str, bits: u32) -> Result<i64, Malformed> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(Malformed::new("a whole number is expected"));
    }
    text.parse().map_err(|_| Malformed::new("the number is out of range")).and_then(|number| integer(number, bits))
}

/// A number that is written as text, the three that are none included.
pub(crate) fn double_text(text: &str) -> Result<f64, Malformed> {
    match text {
        "NaN" => Ok(f64::NAN),
        "Infinity" => Ok(f64::INFINITY),
        "-Infinity" => Ok(f64::NEG_INFINITY),
        _ => {
            let is_number = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
            text.parse().ok().filter(|_| is_number).ok_or_else(|| Malformed::new("a number is expected"))
        }
    }
}

/// True or false that is written as text.
pub(crate) fn boolean_text(text: &str) -> Result<bool, Malformed> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(Malformed::new("true or false is expected")),
    }
}

/// A number as text, the three that are none included.
pub(crate) fn text_of_double(number: f64) -> String {
    if number.is_nan() {
        "NaN".into()
    } else if number.is_infinite() {
        if number > 0.0 { "Infinity" } else { "-Infinity" }.into()
    } else {
        serde_json::Number::from_f64(number).map(|number| number.to_string()).unwrap_or_default()
    }
}

/// Bytes out of base64.
pub(crate) fn base64_text(text: &str) -> Result<Vec<u8>, Malformed> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(text).map_err(|_| Malformed::new("base64 is expected"))
}

/// Bytes as base64.
pub(crate) fn text_of_bytes(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}
