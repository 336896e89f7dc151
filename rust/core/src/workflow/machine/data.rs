//! A document that passes through a machine: its value and its text, made once and shared.

use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::workflow::text::Text;
use crate::workflow::value::{is_deeper_than, NESTING_MAX};

/// Most bytes of UTF-8 of an input, an output or a result.
pub const DATA_MAX: usize = 262_144;

/// A JSON document.
#[derive(Clone, Debug)]
pub struct Data(Arc<Document>);

#[derive(Debug)]
struct Document {
    text: Text,
    /// What was written and is read again is parsed when it is needed: most of a hundred thousand executions wait.
    value: OnceLock<Value>,
}

/// Why a text is not a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DataError {
    /// It is not JSON; what the reader said.
    NotJson(String),
    /// Its arrays and objects nest too deep.
    TooDeep,
}

impl Data {
    /// Read a text; it is kept as it is written.
    pub fn parse(text: &str) -> Result<Self, DataError> {
        let value: Value = serde_json::from_str(text).map_err(|error| DataError::NotJson(error.to_string()))?;
        if is_deeper_than(&value, NESTING_MAX) {
            return Err(DataError::TooDeep);
        }
        Ok(Self::of(text.into(), value))
    }

    fn of(text: Text, value: Value) -> Self {
        Self(Arc::new(Document { text, value: value.into() }))
    }

    /// A document of which only the text is at hand.
    pub(super) fn unread(text: Text) -> Self {
        Self(Arc::new(Document { text, value: OnceLock::new() }))
    }

    /// Take a value.
    pub fn new(value: Value) -> Self {
        Self::of(value.to_string().into(), value)
    }

    /// The value.
    pub fn value(&self) -> &Value {
        // Only documents are written, so that what is read is one.
        self.0.value.get_or_init(|| serde_json::from_str(self.text().as_str()).unwrap_or_default())
    }

    /// The value, without a copy of it where nothing else has this document.
    pub fn into_value(self) -> Value {
        match Arc::try_unwrap(self.0) {
            Ok(Document { text, value }) => {
                value.into_inner().unwrap_or_else(|| serde_json::from_str(text.as_str()).unwrap_or_default())
            }
            Err(shared) => Self(shared).value().clone(),
        }
    }

    /// The text.
    pub fn text(&self) -> &Text {
        &self.0.text
    }

    /// Bytes of the text.
    pub fn size(&self) -> usize {
        self.text().len()
    }

    /// Whether it is larger than AWS lets a document be.
    pub fn is_too_large(&self) -> bool {
        self.size() > DATA_MAX
    }

    /// Whether it is too large, or nests deeper than a text of it could be read again.
    pub fn is_over_limit(&self) -> bool {
        self.is_too_large() || is_deeper_than(self.value(), NESTING_MAX)
    }
}

impl PartialEq for Data {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.value() == other.value()
    }
}

impl Serialize for Data {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.text().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Data {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Text::deserialize(deserializer).map(Self::unread)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn documents_are_equal_by_their_values_however_they_are_written() {
        let read = Data::parse(r#"{ "a": [1, 2] }"#).unwrap();
        assert_eq!(read.text().as_str(), r#"{ "a": [1, 2] }"#);
        assert_eq!(read, Data::new(json!({"a": [1, 2]})));
        assert_eq!(read, read.clone());
        assert_ne!(read, Data::new(json!({"a": [1, 3]})));
    }
}
