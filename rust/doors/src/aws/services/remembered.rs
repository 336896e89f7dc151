//! What is remembered of earlier requests until the app starts again.
//!
//! By its client token a request that an SDK sends once more, since the first answer was lost, is answered as the first one was.

use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasher as _;
use std::sync::{Mutex, PoisonError};

use crate::aws::value::Value;

/// Most requests that are remembered.
const KEPT_MAX: usize = 4_096;

/// What is remembered.
#[derive(Debug, Default)]
pub struct Remembered {
    seed: std::hash::RandomState,
    /// The newest requests that had a token, and what each was answered.
    kept: Mutex<VecDeque<(u64, Value)>>,
    /// What of functions, versions and aliases a client has set, and when. It lasts as long as what was set.
    set: Mutex<HashMap<(Setting, String), i64>>,
}

/// What can be set of a function, a version or an alias.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Setting {
    /// Its event invoke config.
    InvokeConfig,
    /// Its provisioned concurrency.
    Provisioned,
}

impl Remembered {
    /// When a client set it.
    pub(super) fn set_ms(&self, setting: Setting, name: String) -> Option<i64> {
        self.set.lock().unwrap_or_else(PoisonError::into_inner).get(&(setting, name)).copied()
    }

    /// A client has set it, or set it back.
    pub(super) fn set(&self, setting: Setting, name: String, set_ms: Option<i64>) {
        let mut set = self.set.lock().unwrap_or_else(PoisonError::into_inner);
        match set_ms {
            Some(set_ms) => set.insert((setting, name), set_ms),
            None => set.remove(&(setting, name)),
        };
    }

    fn keep(&self, request: u64, answer: Value) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT_MAX {
            kept.pop_front();
        }
        kept.push_back((request, answer));
    }

    fn find(&self, request: u64) -> Option<Value> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().rev().find(|(own, _)| *own == request).map(|(_, answer)| answer.clone())
    }

    /// The request as it is told from others: all of its input counts, so that a token with another input is another request.
    fn with_token(&self, operation: &str, input: &Value) -> Option<u64> {
        input.text("ClientToken")?;
        Some(self.seed.hash_one(format!("{operation} {input:?}")))
    }

    /// What the same request was answered before.
    pub(super) fn answered_before(&self, operation: &str, input: &Value) -> Option<Value> {
        self.with_token(operation, input).and_then(|request| self.find(request))
    }

    /// Keep an answer for the same request.
    pub(super) fn keep_answer(&self, operation: &str, input: &Value, answer: &Value) {
        if let Some(request) = self.with_token(operation, input) {
            self.keep(request, answer.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_found_until_newer_ones_push_it_out() {
        let remembered = Remembered::default();
        for request in 0..=KEPT_MAX as u64 {
            remembered.keep(request, Value::structure().with("Arn", "a"));
        }
        assert_eq!(remembered.find(0), None);
        assert_eq!(remembered.find(1), Some(Value::structure().with("Arn", "a")));
    }
}
