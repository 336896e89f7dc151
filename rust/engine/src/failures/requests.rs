//! `failed.*`

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{json, Value};

use crate::base::error::EngineError;
use crate::failures::log::{decode, FailureKey, FailureRow};
use crate::failures::search::{parse_token, Aim, Page, Redriven, Search};
use crate::runtime::requests::Done;
use crate::runtime::rooms::State;
use crate::store::port::Table;

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
    /// Another payload, JSON text, for the one event that `ids` names.
    #[serde(default)]
    payload: Option<String>,
    #[serde(default)]
    dry_run: bool,
}

#[derive(Deserialize)]
pub(crate) struct One {
    id: String,
}

impl State {
    /// The function that a failure is of, and the stream, if it is a batch.
    pub(crate) fn failed_of(&self, key: FailureKey) -> Option<(&str, Option<&str>)> {
        if let Some(mapping) = self.mappings.get(&key.mapping) {
            return Some((&mapping.row.function, Some(&mapping.row.stream)));
        }
        self.events.queues.get(&key.mapping).map(|events| (events.function.as_str(), None))
    }

    pub(crate) fn failed_get(&mut self, one: &One) -> Result<Done, EngineError> {
        let key = failure_key(&one.id)?;
        let bytes = self.row(Table::Failure, &key.bytes())?;
        let named = self.failed_of(key);
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

    pub(crate) fn failed_list(&mut self, list: &List) -> Result<Done, EngineError> {
        let after = match &list.after {
            None => None,
            Some(token) => Some(parse_token(token).ok_or_else(|| {
                EngineError::Invalid(format!("after is {token:?}: allowed is what an answer gave as `next`"))
            })?),
        };
        let of_mappings =
            self.mappings.iter().map(|(&id, of)| (id, (of.row.function.clone(), Some(of.row.stream.clone()))));
        let of_events = self.events.queues.iter().map(|(&id, of)| (id, (of.function.clone(), None)));
        let is_wanted = |(_, (function, stream)): &(u64, (String, Option<String>))| {
            list.function.as_ref().is_none_or(|name| name == function)
                && list.stream.as_ref().is_none_or(|name| Some(name) == stream.as_ref())
        };
        let names: BTreeMap<u64, (String, Option<String>)> = of_mappings.chain(of_events).filter(is_wanted).collect();
        let ids: Vec<u64> = names.keys().copied().collect();
        let page = Page { names, limit: list.limit.max(1), after, found: BTreeMap::new(), bytes: 0, end: None };
        Ok(Done::WhenFound(Search::new(ids, Aim::List(page))))
    }

    pub(crate) fn failed_redrive(&mut self, again: &Again) -> Result<Done, EngineError> {
        if again.rate.is_some_and(|rate| !(rate > 0.0 && rate.is_finite())) {
            return Err(EngineError::Invalid("rate must be above 0 failures per second".into()));
        }
        if let Some(payload) = &again.payload {
            return self.redrive_edited(again, payload);
        }
        let function = &again.function;
        let running = self.mappings.iter().filter(|(_, of)| of.row.function == *function && of.slot.is_some());
        // An event begins its new life in the store: it waits there for whoever has its function.
        let events = self.events.queues.iter().filter(|(_, events)| events.function == *function);
        let of_whom: Vec<u64> = running.map(|(&id, _)| id).chain(events.map(|(&id, _)| id)).collect();
        // A function that runs and has never failed has nothing to run again.
        if of_whom.is_empty() && !self.function_names.contains_key(function) {
            return Err(EngineError::NotFound(format!(
                "nothing that runs has the function {function:?}: start the app that declares it, then redrive"
            )));
        }
        let Some(ids) = &again.ids else {
            // Those of versions that are published no more stay listed.
            let (gone, of_whom): (Vec<u64>, Vec<u64>) =
                of_whom.into_iter().partition(|&id| self.unpublished(id).is_some());
            if let (Some(&id), true) = (gone.first(), of_whom.is_empty()) {
                self.check_published(id)?;
            }
            let redriven = Redriven { rate: again.rate, dry_run: again.dry_run, keys: Vec::new(), more: false };
            return Ok(Done::WhenFound(Search::new(of_whom, Aim::Redrive(redriven))));
        };
        let mut keys = Vec::with_capacity(ids.len());
        for text in ids {
            keys.push(self.redrivable(function, &of_whom, text)?);
        }
        let redriven = if again.dry_run { keys.len() } else { self.redrive(keys, again.rate)? };
        Ok(Done::when_durable(json!({ "redriven": redriven, "more": false })))
    }

    /// A failure that may be run again.
    fn redrivable(&mut self, function: &str, of_whom: &[u64], text: &str) -> Result<FailureKey, EngineError> {
        let key = failure_key(text)?;
        let bytes = if of_whom.contains(&key.mapping) { self.row(Table::Failure, &key.bytes())? } else { None };
        let Some((row, kept)) = bytes.as_deref().and_then(decode) else {
            return Err(EngineError::NotFound(format!("no failure {text:?} of function {function:?} is listed")));
        };
        if let Some(destination) = row.destination {
            return Err(EngineError::Conflict(format!(
                "the failure {text:?} waits for its destination {destination:?}, which is tried for 24 hours: only what is listed then is \
                 run again; `forebay dlq show {text}` tells how it stands"
            )));
        }
        self.check_published(key.mapping)?;
        if kept.is_empty() {
            return Err(EngineError::NotFound(format!(
                "the records of the failure {text:?} are past the stream's retention: they cannot be run again, `forebay dlq show {text}` \
                 has what is kept of them"
            )));
        }
        Ok(key)
    }

    /// Refuse to run again what would only wait for its age to end it.
    fn check_published(&self, queue: u64) -> Result<(), EngineError> {
        self.unpublished(queue).map_or(Ok(()), |events| Err(self.no_version(&events.name())))
    }

    /// Run one event again with another payload.
    fn redrive_edited(&mut self, again: &Again, payload: &str) -> Result<Done, EngineError> {
        let [id] = again.ids.as_deref().unwrap_or_default() else {
            return Err(EngineError::Invalid("payload: name the one failure that it is for".into()));
        };
        let key = failure_key(id)?;
        let bytes = self.row(Table::Failure, &key.bytes())?;
        let (ended, trace) = match bytes.as_deref().and_then(decode) {
            Some((row, _)) => (row.ended, row.trace),
            None => (None, None),
        };
        let Some(ended) = ended.filter(|ended| ended.function == again.function) else {
            return Err(EngineError::NotFound(format!(
                "no asynchronous event {id:?} of {:?} is listed",
                again.function
            )));
        };
        self.check_published(key.mapping)?;
        crate::sources::invocation::check_payload(payload.as_bytes())?;
        if !again.dry_run {
            self.revive_event(key, &ended, trace.as_deref(), payload.as_bytes());
        }
        Ok(Done::when_durable(json!({ "redriven": 1, "more": false })))
    }
}

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

fn failure_key(text: &str) -> Result<FailureKey, EngineError> {
    FailureKey::from_text(text).ok_or_else(|| {
        EngineError::Invalid(format!(
            "{text:?} is no failure's id: take one from `forebay dlq list`; a message of a dead-letter queue is named together with its \
             queue, by --queue"
        ))
    })
}
