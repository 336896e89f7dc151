//! The newest requests of AWS's wire API, found again by their ids: for `why`. They are gone with the process.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{json, Value};

use crate::base::ids::uuid_text;

/// Most requests that are remembered.
const CALLS_MAX: usize = 50_000;

/// A request that was answered.
#[derive(Clone, Debug)]
pub struct Called {
    /// When it was answered, milliseconds since 1970.
    pub at_ms: u64,
    /// Its id.
    pub id: u128,
    /// The service, by the name that signs.
    pub service: &'static str,
    /// The operation.
    pub operation: &'static str,
    /// The access key that signed.
    pub key_id: Box<str>,
    /// Status of the answer.
    pub status: u16,
    /// The code and the text of an error, as the client has them; of a function that failed, the type and the message of its error.
    pub error: Option<Box<(String, String)>>,
    /// What became of a function that was invoked, where it failed.
    pub function_error: Option<Box<str>>,
    /// How long it took.
    pub took_ms: u32,
    /// What it made: ids that `why` knows as well.
    pub made: Vec<String>,
}

/// The newest requests.
#[derive(Debug, Default)]
pub struct Calls(Mutex<VecDeque<Called>>);

impl Calls {
    /// Remember a request.
    pub fn note(&self, called: Called) {
        let mut calls = self.lock();
        if calls.len() >= CALLS_MAX {
            calls.pop_front();
        }
        calls.push_back(called);
    }

    /// What is remembered of a request's id, or of what it made.
    pub(crate) fn of(&self, id: u128) -> Vec<Value> {
        let made = uuid_text(id);
        let calls = self.lock();
        let ours = calls.iter().filter(|call| call.id == id || call.made.contains(&made));
        ours.map(Called::shown).collect()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Called>> {
        // Nothing is done with the lock held that could panic half way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Called {
    fn shown(&self) -> Value {
        let mut fact = json!({
            "at_ms": self.at_ms, "what": "asked over AWS's wire API", "operation": format!("{}:{}", self.service, self.operation),
            "key": &*self.key_id, "status": self.status, "took_ms": self.took_ms, "request": uuid_text(self.id),
        });
        if let Some((code, text)) = self.error.as_deref() {
            fact["error"] = code.as_str().into();
            fact["text"] = text.as_str().into();
        }
        if let Some(error) = self.function_error.as_deref() {
            fact["function_error"] = error.into();
        }
        if !self.made.is_empty() {
            fact["made"] = self.made.join(" ").into();
        }
        fact
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_found_by_its_id_and_by_what_it_made_until_newer_ones_push_it_out() {
        let calls = Calls::default();
        let called = |number: u64| Called {
            at_ms: number,
            id: u128::from(number),
            service: "sqs",
            operation: "SendMessage",
            key_id: "k".into(),
            status: 200,
            error: None,
            function_error: None,
            took_ms: 1,
            made: vec![uuid_text(u128::from(number) << 64)],
        };
        for number in 1..=CALLS_MAX as u64 + 1 {
            calls.note(called(number));
        }
        assert!(calls.of(1).is_empty());
        assert_eq!(calls.of(2)[0]["operation"], "sqs:SendMessage");
        assert_eq!(calls.of(2 << 64), calls.of(2));
        let error = Some(Box::new(("NonExistentQueue".into(), "there is none".into())));
        calls.note(Called { error, made: Vec::new(), ..called(0) });
        assert_eq!(calls.of(0)[0]["error"], "NonExistentQueue");
        assert_eq!(calls.of(0)[0]["text"], "there is none");
    }
}
