//! A mapping's settings, as they cross the seam and as they are kept.

use crate::sources::common::BackoffRow;
use crate::sources::common::BATCH_BYTES_MAX;
use forebay_core::pattern::{Filter, FilterError, Filters, KINESIS};
use forebay_core::stream::protocol::Settings;
use serde::{Deserialize, Serialize};

use crate::base::error::EngineError;

/// Where a mapping begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum StartingPosition {
    /// The oldest record kept.
    TrimHorizon,
    /// After everything that was there when the mapping was first seen.
    Latest,
    /// The first record that arrived at or after a time.
    AtTimestamp,
}

/// A mapping's row: identity and every setting.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct MappingRow {
    /// Source stream.
    pub stream: String,
    /// Target function.
    pub function: String,
    /// The function's ARN, as failure records show it.
    #[serde(default)]
    pub function_arn: String,
    /// Where it began; fixed at first sight.
    pub starting_position: StartingPosition,
    /// Time of `AT_TIMESTAMP`.
    #[serde(default)]
    pub starting_position_timestamp_ms: Option<u64>,
    batch_size: u32,
    maximum_batching_window_ms: u64,
    parallelization_factor: u8,
    maximum_retry_attempts: i64,
    maximum_record_age_ms: i64,
    bisect_batch_on_function_error: bool,
    pub(crate) report_batch_item_failures: bool,
    filters: Vec<String>,
    tumbling_window_ms: u64,
    /// Name of the on-failure destination.
    #[serde(default)]
    pub on_failure: Option<String>,
    /// Failure records carry the event.
    pub include_payload: bool,
    retry_backoff: BackoffRow,
    /// Whether it runs.
    pub enabled: bool,
    /// What the newest declaration said of that.
    #[serde(default)]
    pub(crate) declared_enabled: Option<bool>,
}

impl MappingRow {
    /// Whether the handler's response matters.
    pub(crate) fn reads_response(&self) -> bool {
        self.report_batch_item_failures || self.tumbling_window_ms > 0
    }

    /// Refuse what no machine can run. Python refuses earlier and with AWS's words; this holds for every other door.
    pub(crate) fn check(&self) -> Result<(), EngineError> {
        let refuse = |text: String| Err(EngineError::Invalid(text));
        if !(1..=10_000).contains(&self.batch_size) {
            return refuse(format!("batch_size is {}: allowed are 1 to 10000", self.batch_size));
        }
        if self.maximum_batching_window_ms > 300_000 {
            return refuse(format!(
                "maximum_batching_window is {} ms: allowed are 0 to 300000",
                self.maximum_batching_window_ms
            ));
        }
        if !(1..=10).contains(&self.parallelization_factor) {
            return refuse(format!("parallelization_factor is {}: allowed are 1 to 10", self.parallelization_factor));
        }
        if !(-1..=10_000).contains(&self.maximum_retry_attempts) {
            return refuse(format!(
                "maximum_retry_attempts is {}: allowed are -1 to 10000",
                self.maximum_retry_attempts
            ));
        }
        if self.maximum_record_age_ms != -1 && !(60_000..=604_800_000).contains(&self.maximum_record_age_ms) {
            return refuse(format!(
                "maximum_record_age is {} ms: allowed are -1, or 60000 to 604800000",
                self.maximum_record_age_ms
            ));
        }
        if !(0.0..=1.0).contains(&self.retry_backoff.jitter) {
            return refuse(format!("retry_backoff.jitter is {}: allowed are 0 to 1", self.retry_backoff.jitter));
        }
        if self.tumbling_window_ms > 900_000 {
            return refuse(format!("tumbling_window is {} ms: allowed are 0 to 900000", self.tumbling_window_ms));
        }
        if self.tumbling_window_ms > 0 && self.parallelization_factor > 1 {
            return refuse("tumbling_window needs parallelization_factor 1: a window's state is one per shard".into());
        }
        Ok(())
    }

    /// The parallelization factor.
    pub(crate) fn lanes(&self) -> u8 {
        self.parallelization_factor
    }

    pub(crate) fn settings(&self) -> Settings {
        Settings {
            batch_size: self.batch_size,
            window_ms: self.maximum_batching_window_ms,
            batch_bytes_max: BATCH_BYTES_MAX,
            parallelization_factor: self.parallelization_factor,
            maximum_retry_attempts: u32::try_from(self.maximum_retry_attempts).ok(),
            maximum_record_age_ms: u64::try_from(self.maximum_record_age_ms).ok(),
            bisect: self.bisect_batch_on_function_error,
            report_item_failures: self.report_batch_item_failures,
            tumbling_window_ms: self.tumbling_window_ms,
            backoff: self.retry_backoff.backoff(),
        }
    }

    pub(crate) fn parse_filters(&self) -> Result<Filters, EngineError> {
        let refused = |error: FilterError| EngineError::Invalid(error.to_string());
        let filters: Result<Vec<Filter>, FilterError> = self.filters.iter().map(|text| Filter::parse(text)).collect();
        Filters::new(KINESIS, filters.map_err(refused)?).map_err(refused)
    }
}
