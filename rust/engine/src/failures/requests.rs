//! `failed.*`

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

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
        let text = row.ended.is_some().then(|| String::from_utf8_lossy(payload));
        Ok(Done::at_once(WithPayload { failure: Shown::of(key, &row, payload, named), payload: text }))
    }
}

impl FailureRoom<'_> {}

/// A failure as it is listed.
#[derive(Serialize)]
pub(crate) struct Shown<'a> {
    id: String,
    function: &'a str,
    stream: Option<&'a str>,
    failed_ms: u64,
    destination: Option<&'a str>,
    undelivered_to: Option<&'a str>,
    delivery_attempts: u32,
    last_error: Option<&'a str>,
    record: Option<Box<RawValue>>,
    redrivable: bool,
}

impl<'a> Shown<'a> {
    pub(crate) fn of(
        key: FailureKey,
        row: &'a FailureRow,
        payload: &[u8],
        (function, stream): (&'a str, Option<&'a str>),
    ) -> Self {
        Self {
            id: key.text(),
            function,
            stream,
            failed_ms: row.failed_ms,
            destination: row.destination.as_deref(),
            undelivered_to: row.undelivered_to.as_deref(),
            delivery_attempts: row.delivery_attempts,
            last_error: row.last_error.as_deref(),
            record: row.shown(payload),
            redrivable: row.destination.is_none() && !payload.is_empty(),
        }
    }
}

/// A failure with the payload of its event, as text: nothing of it is changed.
#[derive(Serialize)]
struct WithPayload<'a> {
    #[serde(flatten)]
    failure: Shown<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<Cow<'a, str>>,
}

pub(crate) fn failure_key(text: &str) -> Result<FailureKey, EngineError> {
    FailureKey::from_text(text).ok_or_else(|| {
        EngineError::Invalid(format!(
            "{text:?} is no failure's id: take one from `forebay dlq list`; a message of a dead-letter queue is named together with its \
             queue, by --queue"
        ))
    })
}
