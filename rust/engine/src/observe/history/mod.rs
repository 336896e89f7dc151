//! What happened lately, by request: for an operator who asks what became of one. Bounded, and gone with the process; what lasts
//! stands in the store.

pub(crate) mod batches;
pub(crate) mod publications;
mod ring;
pub(crate) mod routes;

use std::collections::VecDeque;
use std::sync::Arc;

use forebay_core::invocation::protocol::Condition;
use serde_json::{json, Value};

use crate::observe::history::batches::Batches;
use crate::observe::history::publications::Publications;
use crate::observe::history::routes::Routes;

/// Most facts that are remembered.
const FACTS_MAX: usize = 50_000;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RequestEvent {
    /// It was accepted for a function, to run at once or when it is due.
    Accepted { queue: u64, due_ms: Option<u64>, deduplication_id: Option<Arc<str>> },
    /// Another one with its deduplication id was not accepted.
    Repeated,
    /// It was handed to the function.
    Started { queue: u64, attempt: u32 },
    /// It waits for another attempt; `status` is that of the last one.
    Retry { queue: u64, status: u16, due_ms: u64 },
    /// Its life is over.
    Ended { queue: u64, condition: Condition },
    /// A destination was told.
    Told { destination: Arc<str> },
    /// An operator had it run again.
    Redriven,
    /// A function failed that ran for a task of an execution.
    CallFailed { function: Arc<str>, execution: Arc<str>, error: Arc<str> },
}

#[derive(Debug)]
struct Fact {
    at_ms: u64,
    request: u128,
    what: RequestEvent,
}

/// The newest facts, oldest first.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// Since when anything is remembered, wall ms.
    pub(crate) began_ms: u64,
    requests: VecDeque<Fact>,
    /// Of records and messages.
    pub(crate) batches: Batches,
    pub(crate) publications: Publications,
    pub(crate) routes: Routes,
}

impl History {
    pub(crate) fn since(began_ms: u64) -> Self {
        Self { began_ms, ..Self::default() }
    }

    pub(crate) fn note(&mut self, at_ms: u64, request: u128, what: RequestEvent) {
        if self.requests.len() >= FACTS_MAX {
            self.requests.pop_front();
        }
        self.requests.push_back(Fact { at_ms, request, what });
    }

    /// What is remembered of a request, oldest first.
    pub(crate) fn of(&self, request: u128) -> Vec<(u64, RequestEvent)> {
        let ours = self.requests.iter().filter(|fact| fact.request == request);
        ours.map(|fact| (fact.at_ms, fact.what.clone())).collect()
    }
}

impl RequestEvent {
    /// The words for it; `name` is the function's.
    pub(crate) fn shown(&self, at_ms: u64, name: impl Fn(u64) -> String) -> Value {
        match self {
            Self::Accepted { queue, due_ms, deduplication_id } => {
                let mut fact = json!({"at_ms": at_ms, "what": "accepted", "function": name(*queue)});
                if let Some(due_ms) = due_ms {
                    fact["due_ms"] = json!(due_ms);
                }
                if let Some(id) = deduplication_id {
                    fact["deduplication_id"] = json!(&**id);
                }
                fact
            }
            Self::Repeated => json!({"at_ms": at_ms, "what": "asked for again"}),
            Self::Started { queue, attempt } => {
                json!({"at_ms": at_ms, "what": "started", "function": name(*queue), "attempt": attempt})
            }
            Self::Retry { queue, status, due_ms } => {
                let why = if *status == 200 { "failed" } else { "not reached" };
                json!({"at_ms": at_ms, "what": why, "function": name(*queue), "next_attempt_ms": due_ms})
            }
            Self::Ended { queue, condition } => {
                json!({"at_ms": at_ms, "what": "ended", "function": name(*queue), "condition": condition.as_str()})
            }
            Self::Told { destination } => json!({"at_ms": at_ms, "what": "delivered", "destination": &**destination}),
            Self::Redriven => json!({"at_ms": at_ms, "what": "redriven"}),
            Self::CallFailed { function, execution, error } => json!({
                "at_ms": at_ms, "what": "failed for a task", "function": &**function, "execution": &**execution, "error": &**error,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_facts_are_remembered_and_no_more() {
        let mut history = History::default();
        for n in 0..FACTS_MAX as u64 + 10 {
            history.note(n, u128::from(n % 2), RequestEvent::Redriven);
        }
        assert_eq!(history.requests.len(), FACTS_MAX);
        assert_eq!(history.of(1)[0], (11, RequestEvent::Redriven));
        assert_eq!(history.of(2), []);
    }
}
