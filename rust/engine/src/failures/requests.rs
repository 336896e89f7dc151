//! `failed.*`

use serde::Deserialize;
use serde_json::{json, Value};

use crate::api::Done;
use crate::base::error::EngineError;
use crate::failures::log::{decode, FailureRow};
use crate::failures::FailureRoom;
use crate::payload::failure_key::FailureKey;
use crate::store::port::Table;

#[derive(Deserialize)]
pub(crate) struct List {
    #[serde(default)]
    pub(crate) function: Option<String>,
    #[serde(default)]
    pub(crate) stream: Option<String>,
    pub(crate) limit: usize,
    #[serde(default)]
    pub(crate) after: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct Again {
    pub(crate) function: String,
    #[serde(default)]
    pub(crate) ids: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) rate: Option<f64>,
    /// Another payload, JSON text, for the one event that `ids` names.
    #[serde(default)]
    pub(crate) payload: Option<String>,
    #[serde(default)]
    pub(crate) dry_run: bool,
}

#[derive(Deserialize)]
pub(crate) struct One {
    id: String,
}

impl FailureRoom<'_> {
    pub(crate) fn failed_get(&mut self, one: &One) -> Result<Done, EngineError> {
        let key = failure_key(&one.id)?;
        let bytes = self.ctx.row(Table::Failure, &key.bytes())?;
        let named = self.failures.failed_of(key);
        let (Some(bytes), Some(named)) = (bytes, named) else {
            return Err(EngineError::NotFound(format!("no failure {:?} is listed", one.id)));
        };
        let Some((row, payload)) = decode(&bytes) else {
            return Err(EngineError::NotFound(format!("the failure {:?} cannot be read", one.id)));
        };
        let mut failure = shown(key, &row, payload, named);
        if row.ended.is_some() {
            // As text: numbers in it stay as they are.
            failure["payload"] = String::from_utf8_lossy(payload).into();
        }
        Ok(Done::at_once(failure))
    }
}

impl FailureRoom<'_> {}

/// A failure as it is listed.
pub(crate) fn shown(
    key: FailureKey,
    row: &FailureRow,
    payload: &[u8],
    (function, stream): (&str, Option<&str>),
) -> Value {
    json!({
        "id": key.text(), "function": function, "stream": stream, "failed_ms": row.failed_ms,
        "destination": row.destination, "undelivered_to": row.undelivered_to,
        "delivery_attempts": row.delivery_attempts, "last_error": row.last_error, "record": row.shown(payload),
        "redrivable": row.destination.is_none() && !payload.is_empty(),
    })
}

pub(crate) fn failure_key(text: &str) -> Result<FailureKey, EngineError> {
    FailureKey::from_text(text).ok_or_else(|| {
        EngineError::Invalid(format!(
            "{text:?} is no failure's id: take one from `forebay dlq list`; a message of a dead-letter queue is named together with its \
             queue, by --queue"
        ))
    })
}
