//! How a function's asynchronous invocations are handled, as it is declared.

use forebay_core::invocation::protocol::Settings;
use serde::{Deserialize, Serialize};

use crate::base::error::EngineError;
use crate::base::limits::{
    BACKOFF_MS, EVENT_AGE_MS_MAX, EVENT_AGE_MS_MIN, EVENT_FIRST_RETRY_DELAY_MS, EVENT_RETRY_ATTEMPTS_MAX,
    EVENT_SECOND_RETRY_DELAY_MS,
};

/// Most waiting events of one function in memory.
pub(crate) const WAITING_MAX: usize = 2_048;

/// How a function is invoked asynchronously. A destination is named as it is registered; `function:NAME`, `queue:NAME` and `topic:NAME` are
/// of this store, and told in the same commit.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Asynchronous {
    /// How often an event is tried again.
    maximum_retry_attempts: u32,
    /// How old an event may be when it is tried.
    maximum_event_age_ms: u64,
    /// How long it waits before each retry.
    retry_delays_ms: Vec<u64>,
    /// Destination that is told of a success.
    #[serde(default)]
    pub(crate) on_success: Option<String>,
    /// Destination that is told of a failure.
    #[serde(default)]
    pub(crate) on_failure: Option<String>,
    /// Destination that gets the event of a failure.
    #[serde(default)]
    pub(crate) dead_letter: Option<String>,
}

impl Default for Asynchronous {
    /// As AWS has it.
    fn default() -> Self {
        Self {
            maximum_retry_attempts: EVENT_RETRY_ATTEMPTS_MAX,
            maximum_event_age_ms: EVENT_AGE_MS_MAX,
            retry_delays_ms: vec![EVENT_FIRST_RETRY_DELAY_MS, EVENT_SECOND_RETRY_DELAY_MS],
            on_success: None,
            on_failure: None,
            dead_letter: None,
        }
    }
}

impl Asynchronous {
    /// Refuse what a declaration could not have.
    pub(crate) fn check(&self) -> Result<(), EngineError> {
        if self.maximum_retry_attempts > EVENT_RETRY_ATTEMPTS_MAX {
            let given = self.maximum_retry_attempts;
            return Err(EngineError::Invalid(format!(
                "maximum_retry_attempts={given}: allowed are 0 to {EVENT_RETRY_ATTEMPTS_MAX}"
            )));
        }
        if !(EVENT_AGE_MS_MIN..=EVENT_AGE_MS_MAX).contains(&self.maximum_event_age_ms) {
            let given = self.maximum_event_age_ms;
            return Err(EngineError::Invalid(format!(
                "maximum_event_age_ms={given}: allowed are {EVENT_AGE_MS_MIN} to {EVENT_AGE_MS_MAX}"
            )));
        }
        Ok(())
    }

    /// The names of everything that may be told.
    pub(crate) fn destinations(&self) -> impl Iterator<Item = &str> {
        [&self.on_success, &self.on_failure, &self.dead_letter].into_iter().filter_map(Option::as_deref)
    }

    pub(crate) fn settings(&self, is_off: bool) -> Settings {
        Settings {
            maximum_retry_attempts: self.maximum_retry_attempts,
            maximum_event_age_ms: self.maximum_event_age_ms,
            retry_delays_ms: self.retry_delays_ms.clone(),
            backoff_ms: BACKOFF_MS,
            is_off,
            waiting_max: WAITING_MAX,
        }
    }
}
