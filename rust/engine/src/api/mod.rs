//! What operators, the app and the command line ask of the engine, and how they are answered.

use crate::base::error::EngineError;
use crate::commit::read_jobs::ReadJob;
use serde::de::DeserializeOwned;
use serde::Serialize;
use serde_json::{Map, Value};
/// Most bytes of an answer that lists things, about; what does not fit comes with the next call.
pub(crate) const ANSWER_BYTES_MAX: usize = 8 << 20;

/// What a verb gives: its answer, and when the caller may have it.
pub(crate) enum Done {
    /// JSON.
    AtOnce(Vec<u8>),
    /// JSON, when the next commit is durable.
    WhenDurable(Vec<u8>),
    /// When the reader has found it.
    WhenRead(Box<dyn ReadJob>),
}

impl Done {
    pub(crate) fn at_once(answer: impl Serialize) -> Self {
        Self::AtOnce(serde_json::to_vec(&answer).unwrap_or_default())
    }

    pub(crate) fn when_durable(answer: impl Serialize) -> Self {
        Self::WhenDurable(serde_json::to_vec(&answer).unwrap_or_default())
    }
}

/// Settings of which some are changed. A name that is none of theirs, or is `internal`, is refused.
pub(crate) fn changed<T: Serialize + DeserializeOwned>(
    before: &T,
    changes: Map<String, Value>,
    of: &str,
    internal: &[&str],
) -> Result<T, EngineError> {
    let mut fields = serde_json::to_value(before).unwrap_or_default();
    for (name, value) in changes {
        if fields.get(&name).is_none() || internal.contains(&name.as_str()) {
            return Err(EngineError::Invalid(format!("{of} has no setting {name:?}")));
        }
        fields[&name] = value;
    }
    serde_json::from_value(fields).map_err(|error| EngineError::Invalid(error.to_string()))
}

/// A body as the type that a verb reads; a wrong field is refused by its name.
pub(crate) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, EngineError> {
    serde_json::from_slice(body).map_err(|error| EngineError::Invalid(error.to_string()))
}
