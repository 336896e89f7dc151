//! What `TestState` sees of one state: documents on their way, the mocked answer, what a failure leads to.

use serde_json::{json, Map, Value};

use super::history::ErrorDetails;
use super::map::Limits;
use super::Text;
use crate::workflow::definition::Retrier;

/// A look over a turn's shoulder.
#[derive(Clone, Debug, Default)]
pub(super) struct Inspection {
    /// A context object to use instead of the machine's.
    pub(super) context: Option<Value>,
    /// The answer of the state's work.
    pub(super) answer: Option<Result<Value, ErrorDetails>>,
    /// What the state's work was to be called with, where there was no answer.
    pub(super) arguments: Option<Value>,
    /// Attempts that the retrier has made before.
    pub(super) retries: u32,
    /// Items that a reader would have read.
    pub(super) reader_items: Option<Vec<Value>>,
    /// Iterations that are to count as failed.
    pub(super) failed_iterations: Option<u64>,
    /// AWS's `inspectionData`.
    pub(super) noted: Map<String, Value>,
    pub(super) error_details: Map<String, Value>,
    /// What the state failed with, before a retrier or a catcher took it.
    pub(super) failure: Option<ErrorDetails>,
    pub(super) is_retriable: bool,
    pub(super) is_caught: bool,
    /// The state's end: its output, the next state, what it assigned.
    pub(super) left: Option<Left>,
}

#[derive(Clone, Debug)]
pub(super) struct Left {
    pub(super) output: Value,
    pub(super) next: Option<String>,
    pub(super) assigned: Vec<(String, Text)>,
}

impl Inspection {
    pub(super) fn note(&mut self, field: &'static str, value: &Value) {
        self.noted.entry(field).or_insert_with(|| value.clone());
    }

    /// Whether the state was left: what comes behind it is not tested.
    pub(super) fn is_done(&self) -> bool {
        self.left.is_some()
    }

    pub(super) fn retried(&mut self, index: usize, retrier: &Retrier, made: u32) {
        self.error_details.insert("retryIndex".into(), index.into());
        if made < retrier.attempts {
            self.is_retriable = true;
            let seconds = retrier.delay_seconds(made).round() as u64;
            self.error_details.insert("retryBackoffIntervalSeconds".into(), seconds.into());
        }
    }

    pub(super) fn caught(&mut self, index: usize) {
        self.is_caught = true;
        self.error_details.insert("catchIndex".into(), index.into());
    }

    pub(super) fn left(&mut self, output: &Value, next: Option<&str>, assigned: &[(String, Text)]) {
        let next = next.map(ToOwned::to_owned);
        self.left = Some(Left { output: output.clone(), next, assigned: assigned.to_vec() });
    }

    pub(super) fn limits(&mut self, limits: &Limits) {
        self.noted.insert("maxConcurrency".into(), limits.concurrency.into());
        if let Some(count) = limits.tolerated.count {
            self.noted.insert("toleratedFailureCount".into(), count.into());
        }
        if let Some(percentage) = limits.tolerated.percentage {
            self.noted.insert("toleratedFailurePercentage".into(), json!(percentage));
        }
    }
}
