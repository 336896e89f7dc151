//! A mapping on a queue, as it is kept.

use forebay_core::pattern::{Filter, FilterError, Filters, SQS};
use forebay_core::stream::protocol::Backoff;
use serde::{Deserialize, Serialize};

use crate::api::mapping::QueueSettings;
use crate::base::error::EngineError;
use crate::base::limits::{
    BATCHING_WINDOW_MS_MAX, FIFO_BATCH_SIZE_MAX, MAPPING_CONCURRENCY_MAX, MAPPING_CONCURRENCY_MIN,
    MAPPING_CONCURRENCY_MIN_ON_AWS, QUEUE_BATCH_SIZE_MAX,
};
use crate::sources::queue::row::QueueRow;

/// Longest first delay of a retry, where the mapping names none.
pub(crate) const RETRY_BASE_MS: u64 = 1_000;
const RETRY_JITTER: f64 = 0.2;

/// A mapping's row: what a restart must know.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct QueueMappingRow {
    /// Source queue.
    pub(crate) queue: String,
    /// Target function.
    pub(crate) function: String,
    #[serde(flatten)]
    pub(crate) settings: QueueSettings,
    /// What the newest declaration said of that.
    #[serde(default)]
    pub(crate) declared_enabled: Option<bool>,
    /// A client of AWS's wire API has made it, and no code declares it.
    #[serde(default)]
    pub(crate) by_client: bool,
}

impl QueueMappingRow {
    /// Refuse what no mapping on this queue can be, in AWS's words where it has some.
    pub(crate) fn check(&self, queue: &QueueRow) -> Result<(), EngineError> {
        let refuse = |text: String| Err(EngineError::Invalid(text));
        let most = if queue.is_fifo() { FIFO_BATCH_SIZE_MAX } else { QUEUE_BATCH_SIZE_MAX };
        if !(1..=most).contains(&self.settings.batch_size) {
            return refuse(format!(
                "batch_size is {}: allowed are 1 to {most} for queue {:?}",
                self.settings.batch_size, queue.name
            ));
        }
        if queue.is_fifo() && self.settings.maximum_batching_window_ms > 0 {
            return refuse(format!(
                "maximum_batching_window is {} ms: a mapping on a FIFO queue has none; allowed is 0",
                self.settings.maximum_batching_window_ms
            ));
        }
        if self.settings.maximum_batching_window_ms > BATCHING_WINDOW_MS_MAX {
            return refuse(format!(
                "maximum_batching_window is {} ms: allowed are 0 to {BATCHING_WINDOW_MS_MAX}",
                self.settings.maximum_batching_window_ms
            ));
        }
        if self.settings.batch_size > 10 && self.settings.maximum_batching_window_ms == 0 {
            return refuse(
                "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10"
                    .into(),
            );
        }
        let least = if self.settings.strict_lambda { MAPPING_CONCURRENCY_MIN_ON_AWS } else { MAPPING_CONCURRENCY_MIN };
        if let Some(most) =
            self.settings.maximum_concurrency.filter(|most| !(least..=MAPPING_CONCURRENCY_MAX).contains(most))
        {
            return refuse(format!(
                "maximum_concurrency is {most}: allowed are {least} to {MAPPING_CONCURRENCY_MAX}, or none"
            ));
        }
        if self.settings.strict_lambda && self.settings.retry_delay.is_some() {
            return refuse("retry_delay: with strict_lambda a failed message waits for its visibility timeout".into());
        }
        Ok(())
    }

    /// How long a failed message waits.
    pub(crate) fn backoff(&self, queue: &QueueRow) -> Backoff {
        match self.settings.retry_delay {
            Some(given) => given.of_core(),
            None => Backoff {
                base_ms: RETRY_BASE_MS.min(queue.settings.visibility_timeout_ms),
                cap_ms: queue.settings.visibility_timeout_ms,
                jitter: RETRY_JITTER,
            },
        }
    }

    pub(crate) fn parse_filters(&self) -> Result<Filters, EngineError> {
        let refused = |error: FilterError| EngineError::Invalid(error.to_string());
        let filters: Result<Vec<Filter>, FilterError> =
            self.settings.filters.iter().map(|text| Filter::parse(text)).collect();
        Filters::new(SQS, filters.map_err(refused)?).map_err(refused)
    }
}
