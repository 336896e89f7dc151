//! An error that a service answers, whatever protocol carries it.

use crate::aws::value::Value;

/// What a request is refused with.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// The name of its shape, or the one that all services have for it.
    pub name: String,
    /// Its code in the query protocol, where that is neither in the model nor its name.
    pub code: Option<&'static str>,
    /// HTTP status.
    pub status: u16,
    /// What is wrong.
    pub message: String,
    /// Further members of its shape.
    pub members: Value,
    /// When another try makes sense.
    pub retry_after_ms: Option<u64>,
}

impl Fault {
    /// A mistake of whoever asks.
    pub fn new(name: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            code: None,
            status: 400,
            message: message.into(),
            members: Value::structure(),
            retry_after_ms: None,
        }
    }

    /// The same with another status.
    #[must_use]
    pub fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// The same with a code of its own in the query protocol.
    #[must_use]
    pub fn code(mut self, code: &'static str) -> Self {
        self.code = Some(code);
        self
    }

    /// The same with one more member.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.members = self.members.with(name, value);
        self
    }

    /// A request whose bytes have not the form of the protocol.
    pub fn malformed(message: impl Into<String>) -> Self {
        Self::new("SerializationException", message)
    }

    /// What a model does not allow.
    pub fn validation(message: impl Into<String>) -> Self {
        Self::new("ValidationException", message).code("ValidationError")
    }
}
