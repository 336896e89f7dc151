//! `failed.*`

use crate::api::failure::{Failure, Named};
use crate::base::error::EngineError;
use crate::commit::done::Done;
use crate::failures::log::{decode, FailureRow};
use crate::failures::FailureRoom;
use crate::payload::failure_key::FailureKey;
use crate::store::port::Table;

impl FailureRoom<'_> {
    pub(crate) fn failed_get(&mut self, one: Named) -> Result<Done, EngineError> {
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
        if row.ended.is_some() || row.routed.is_some() {
            // As text: numbers in it stay as they are.
            failure.payload = Some(String::from_utf8_lossy(payload).into());
        }
        Ok(Done::at_once(failure))
    }
}

/// A failure as it is listed.
pub(crate) fn shown(
    key: FailureKey,
    row: &FailureRow,
    payload: &[u8],
    (function, stream): (&str, Option<&str>),
) -> Failure {
    Failure {
        id: key.text(),
        function: function.into(),
        stream: stream.map(str::to_owned),
        failed_ms: row.failed_ms,
        destination: row.destination.clone(),
        undelivered_to: row.undelivered_to.clone(),
        delivery_attempts: row.delivery_attempts,
        last_error: row.last_error.clone(),
        record: row.shown(payload),
        redrivable: row.can_be_redriven(payload),
        payload: None,
    }
}

pub(crate) fn failure_key(text: &str) -> Result<FailureKey, EngineError> {
    FailureKey::from_text(text).ok_or_else(|| {
        EngineError::Invalid(format!(
            "{text:?} is not a failure's id: take one from `forebay dlq list`; a message of a dead-letter queue is named together with its \
             queue, by --queue"
        ))
    })
}
