//! What an expression sees, where its randomness comes from, and how its failure is told.

use std::cell::Cell;
use std::fmt;

use serde_json::{Map, Value};

/// The documents that a JSONPath expression of a state can read.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// `$`: the state's input, or its result where a field says so.
    pub input: &'a Value,
    /// `$$`: the context object.
    pub context: &'a Value,
    /// `$name`: the workflow's variables.
    pub variables: &'a Map<String, Value>,
    /// How many values the paths of a state have looked at; `None`: each path counts for itself.
    pub visits: Option<&'a Cell<usize>>,
}

/// Where random numbers come from. A turn that is run again must be given the same ones.
pub trait Entropy {
    /// Draw 64 random bits.
    fn next_u64(&mut self) -> u64;
}

/// Draw a number of at least 0 and less than 1.
pub(super) fn fraction(entropy: &mut dyn Entropy) -> f64 {
    // 53 bits are what a double holds exactly.
    (entropy.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
}

/// Draw a UUID, version 4.
pub(super) fn uuid(entropy: &mut dyn Entropy) -> String {
    let high = entropy.next_u64() & !0xf000 | 0x4000;
    let low = entropy.next_u64() & !(0b11 << 62) | (0b10 << 62);
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xffff,
        low >> 48,
        low & 0xffff_ffff_ffff
    )
}

/// The error of a path, a template or an intrinsic that fails.
pub const RUNTIME: &str = "States.Runtime";
/// The error of a JSONata expression that fails.
pub const QUERY_EVALUATION_ERROR: &str = "States.QueryEvaluationError";
/// The error of a value over a limit.
pub const DATA_LIMIT_EXCEEDED: &str = "States.DataLimitExceeded";

/// Why an expression has no value.
///
/// The cause lacks AWS's preface (`An error occurred while executing the state …`); who runs the state knows its name
/// and the id of its event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvaluationError {
    /// AWS's name, such as `States.Runtime`.
    pub error: String,
    /// AWS's text, without its preface.
    pub cause: String,
    /// The field, such as `Output/total`, as `EvaluationFailed` events have it. JSONata only.
    pub location: Option<String>,
    /// An expression needed more than it may use.
    pub is_limit: bool,
}

impl EvaluationError {
    /// A failure of a path, a template or an intrinsic.
    pub fn runtime(cause: impl Into<String>) -> Self {
        Self { error: RUNTIME.to_owned(), cause: cause.into(), location: None, is_limit: false }
    }

    /// A failure of a JSONata field.
    pub fn query(cause: impl Into<String>, field: &str) -> Self {
        Self {
            error: QUERY_EVALUATION_ERROR.to_owned(),
            cause: cause.into(),
            location: Some(field.to_owned()),
            is_limit: false,
        }
    }
}

impl fmt::Display for EvaluationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.error, self.cause)
    }
}

impl std::error::Error for EvaluationError {}

/// What is wrong with a field of a definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// AWS's code, such as `SCHEMA_VALIDATION_FAILED`.
    pub code: &'static str,
    /// The place inside the field, such as `/And[0]` or `/order/total`; empty for the field itself.
    pub place: String,
    /// AWS's text where it has one.
    pub message: String,
}

impl Problem {
    /// A field that is not what it has to be.
    pub fn schema(place: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: "SCHEMA_VALIDATION_FAILED", place: place.into(), message: message.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} at {}", self.code, self.message, self.place)
    }
}

impl std::error::Error for Problem {}

#[cfg(test)]
mod tests {
    use super::*;

    struct Always(u64);

    impl Entropy for Always {
        fn next_u64(&mut self) -> u64 {
            self.0
        }
    }

    /// RFC 9562: four bits are the version, two the variant, and all others are drawn.
    #[test]
    fn a_uuid_is_of_version_4() {
        assert_eq!(uuid(&mut Always(0)), "00000000-0000-4000-8000-000000000000");
        assert_eq!(uuid(&mut Always(u64::MAX)), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(uuid(&mut Always(0x0123_4567_89ab_cdef)), "01234567-89ab-4def-8123-456789abcdef");
    }

    #[test]
    fn what_is_wrong_is_told_with_its_name() {
        assert_eq!(EvaluationError::runtime("no").to_string(), "States.Runtime: no");
        assert_eq!(EvaluationError::query("no", "Output").to_string(), "States.QueryEvaluationError: no");
        assert_eq!(Problem::schema("/a", "no").to_string(), "SCHEMA_VALIDATION_FAILED: no at /a");
    }
}
