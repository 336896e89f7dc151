//! Why a destination did not take what it was given, and what that means for the next try.

use serde::Deserialize;

/// What is known of a delivery in vain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Setback {
    pub(crate) error: Option<String>,
    /// AWS's word for it, as a dead letter has it.
    pub(crate) code: Option<String>,
    /// It wants to be left alone for so long.
    pub(crate) wait_ms: u64,
    /// It will never take it.
    pub(crate) is_final: bool,
}

/// An API destination's answer when it did not take an event. One that did answers nothing.
#[derive(Deserialize)]
struct Refusal {
    error_code: String,
    error_message: String,
    #[serde(default)]
    retry_after_ms: u64,
    #[serde(default)]
    is_final: bool,
}

impl Setback {
    /// How a delivery ended; `None`: it was confirmed.
    pub(crate) fn of(status: u8, body: Option<Vec<u8>>) -> Option<Self> {
        let text = body.map(|text| String::from_utf8_lossy(&text).into_owned());
        if status != 0 {
            return Some(Self { error: text, ..Self::default() });
        }
        let refusal: Refusal = serde_json::from_str(&text?).ok()?;
        Some(Self {
            error: Some(refusal.error_message),
            code: Some(refusal.error_code),
            wait_ms: refusal.retry_after_ms,
            is_final: refusal.is_final,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_confirms_an_error_and_a_refusal_do_not() {
        assert_eq!(Setback::of(0, None), None);
        let raised = Setback::of(1, Some(b"{\"errorType\":\"E\"}".to_vec())).unwrap();
        assert_eq!((raised.error.as_deref(), raised.is_final), (Some("{\"errorType\":\"E\"}"), false));
        let body = br#"{"error_code":"THROTTLING","error_message":"HTTP 429","retry_after_ms":5000}"#.to_vec();
        let refused = Setback::of(0, Some(body)).unwrap();
        assert_eq!((refused.code.as_deref(), refused.wait_ms, refused.is_final), (Some("THROTTLING"), 5_000, false));
    }
}
