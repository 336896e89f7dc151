//! Why a control call was refused, in AWS's words.

/// A refusal: AWS's name of the error, its HTTP status and its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// `BadRequestException`.
    pub code: &'static str,
    /// 400.
    pub status: u16,
    /// What is wrong.
    pub message: String,
}

/// What a control operation gives.
pub type Outcome<T> = Result<T, Fault>;

impl Fault {
    /// The request itself is wrong.
    pub fn bad(message: impl Into<String>) -> Self {
        Self { code: "BadRequestException", status: 400, message: message.into() }
    }

    /// What it names is not there.
    pub fn missing(message: impl Into<String>) -> Self {
        Self { code: "NotFoundException", status: 404, message: message.into() }
    }

    /// Something else stands in its way.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self { code: "ConflictException", status: 409, message: message.into() }
    }

    /// A limit is reached.
    pub fn limit(message: impl Into<String>) -> Self {
        Self { code: "LimitExceededException", status: 429, message: message.into() }
    }

    /// A member has a form that it cannot have.
    pub fn invalid(problems: &[String]) -> Self {
        let count = problems.len();
        let word = if count == 1 { "error" } else { "errors" };
        let message = format!("{count} validation {word} detected: {}", problems.join("; "));
        Self { code: "ValidationException", status: 400, message }
    }

    /// A member has another type.
    pub fn serialization(message: impl Into<String>) -> Self {
        Self { code: "SerializationException", status: 400, message: message.into() }
    }

    /// forebay does not have it.
    pub fn unsupported(what: &str) -> Self {
        Self { code: "NotImplementedException", status: 501, message: format!("{what} is not supported by forebay") }
    }
}
