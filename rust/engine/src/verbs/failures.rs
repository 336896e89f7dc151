//! `failed.*`

use serde::Deserialize;
use serde_json::{json, Value};

use super::Done;
use crate::error::EngineError;
use crate::failures::{decode, FailureKey};
use crate::port::Table;
use crate::state::State;

#[derive(Deserialize)]
pub(crate) struct List {
    #[serde(default)]
    function: Option<String>,
    #[serde(default)]
    stream: Option<String>,
    limit: usize,
    #[serde(default)]
    after: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct Again {
    function: String,
    #[serde(default)]
    ids: Option<Vec<String>>,
    #[serde(default)]
    rate: Option<f64>,
}

impl State {
    pub(super) fn failed_list(&mut self, list: &List) -> Result<Done, EngineError> {
        let mut after = match &list.after {
            None => None,
            Some(text) => Some(failure_key(text)?.bytes()),
        };
        let mut found = Vec::new();
        while found.len() < list.limit {
            let rows = self.reader.scan(Table::Failure, &[], after.as_deref(), 256)?;
            let Some((last, _)) = rows.last() else { break };
            after = Some(last.clone());
            for (key, bytes) in &rows {
                let (Some(key), Some((row, _))) = (FailureKey::parse(key), decode(bytes)) else { continue };
                let Some(mapping) = self.mappings.get(&key.mapping) else { continue };
                let ours = list.function.as_ref().is_none_or(|name| *name == mapping.row.function)
                    && list.stream.as_ref().is_none_or(|name| *name == mapping.row.stream);
                if ours && found.len() < list.limit {
                    found.push(json!({
                        "id": key.text(), "function": mapping.row.function, "stream": mapping.row.stream,
                        "failed_ms": row.failed_ms, "destination": row.destination,
                        "delivery_attempts": row.delivery_attempts, "last_error": row.last_error, "record": row.record,
                    }));
                }
            }
        }
        found.sort_by_key(|failure| failure["failed_ms"].as_u64());
        Ok(Done::at_once(Value::Array(found)))
    }

    pub(super) fn failed_redrive(&mut self, again: &Again) -> Result<Done, EngineError> {
        if again.rate.is_some_and(|rate| !(rate > 0.0 && rate.is_finite())) {
            return Err(EngineError::Invalid("rate must be above 0 failures per second".into()));
        }
        let mappings: Vec<u64> = self
            .mappings
            .iter()
            .filter(|(_, mapping)| mapping.row.function == again.function)
            .map(|(&id, _)| id)
            .collect();
        let mut redriven = 0;
        for id in mappings {
            let keys = match &again.ids {
                Some(ids) => {
                    let mut keys = Vec::with_capacity(ids.len());
                    for text in ids {
                        let key = failure_key(text)?;
                        if key.mapping == id {
                            if self.row(Table::Failure, &key.bytes())?.is_none() {
                                return Err(EngineError::NotFound(format!("no failure {text:?} is listed")));
                            }
                            keys.push(key);
                        }
                    }
                    keys
                }
                None => {
                    let rows = self.reader.scan(Table::Failure, &id.to_be_bytes(), None, usize::MAX)?;
                    // One whose records retention has taken cannot be run again.
                    let listed = rows.iter().filter(|(_, bytes)| {
                        decode(bytes).is_some_and(|(row, packed)| row.destination.is_none() && !packed.is_empty())
                    });
                    listed.filter_map(|(key, _)| FailureKey::parse(key)).collect()
                }
            };
            redriven += keys.len();
            self.redrive(id, keys, again.rate);
        }
        Ok(Done::at_once(json!({ "redriven": redriven })))
    }
}

fn failure_key(text: &str) -> Result<FailureKey, EngineError> {
    FailureKey::from_text(text)
        .ok_or_else(|| EngineError::Invalid(format!("{text:?} is no failure's id: take one from the list of failures")))
}
