//! A mapping on a stream, as it is kept.

use crate::sources::common::BATCH_BYTES_MAX;
use forebay_core::pattern::{Filter, FilterError, Filters, KINESIS};
use forebay_core::stream::protocol::Settings;
use serde::{Deserialize, Serialize};

use crate::api::mapping::StreamSettings;
use crate::base::error::EngineError;
use crate::base::limits::{
    BATCHING_WINDOW_MS_MAX, BATCH_SIZE_MAX, PARALLELIZATION_FACTOR_MAX, RECORD_AGE_MS_MAX, RECORD_AGE_MS_MIN,
    RETRY_ATTEMPTS_MAX, TUMBLING_WINDOW_MS_MAX,
};

/// A mapping's row: what a restart must know.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct MappingRow {
    /// Source stream.
    pub stream: String,
    /// Target function.
    pub function: String,
    /// The function's ARN, as failure records show it.
    #[serde(default)]
    pub function_arn: String,
    #[serde(flatten)]
    pub settings: StreamSettings,
    /// What the newest declaration said of that.
    #[serde(default)]
    pub(crate) declared_enabled: Option<bool>,
    /// A client of AWS's wire API has made it, and no code declares it.
    #[serde(default)]
    pub(crate) by_client: bool,
}

impl MappingRow {
    /// Whether the handler's response matters.
    pub(crate) fn reads_response(&self) -> bool {
        self.settings.report_batch_item_failures || self.settings.tumbling_window_ms > 0
    }

    /// Refuse what no machine can run. Python refuses earlier and with AWS's words; this holds for every other door.
    pub(crate) fn check(&self) -> Result<(), EngineError> {
        let refuse = |text: String| Err(EngineError::Invalid(text));
        if !(1..=BATCH_SIZE_MAX).contains(&self.settings.batch_size) {
            return refuse(format!("batch_size is {}: allowed are 1 to {BATCH_SIZE_MAX}", self.settings.batch_size));
        }
        if self.settings.maximum_batching_window_ms > BATCHING_WINDOW_MS_MAX {
            return refuse(format!(
                "maximum_batching_window is {} ms: allowed are 0 to {BATCHING_WINDOW_MS_MAX}",
                self.settings.maximum_batching_window_ms
            ));
        }
        if !(1..=PARALLELIZATION_FACTOR_MAX).contains(&self.settings.parallelization_factor) {
            return refuse(format!(
                "parallelization_factor is {}: allowed are 1 to {PARALLELIZATION_FACTOR_MAX}",
                self.settings.parallelization_factor
            ));
        }
        if !(-1..=i64::from(RETRY_ATTEMPTS_MAX)).contains(&self.settings.maximum_retry_attempts) {
            return refuse(format!(
                "maximum_retry_attempts is {}: allowed are -1 to {RETRY_ATTEMPTS_MAX}",
                self.settings.maximum_retry_attempts
            ));
        }
        if self.settings.maximum_record_age_ms != -1
            && !(RECORD_AGE_MS_MIN as i64..=RECORD_AGE_MS_MAX as i64).contains(&self.settings.maximum_record_age_ms)
        {
            return refuse(format!(
                "maximum_record_age is {} ms: allowed are -1, or {RECORD_AGE_MS_MIN} to {RECORD_AGE_MS_MAX}",
                self.settings.maximum_record_age_ms
            ));
        }
        if !(0.0..=1.0).contains(&self.settings.retry_backoff.jitter) {
            return refuse(format!(
                "retry_backoff.jitter is {}: allowed are 0 to 1",
                self.settings.retry_backoff.jitter
            ));
        }
        if self.settings.tumbling_window_ms > TUMBLING_WINDOW_MS_MAX {
            return refuse(format!(
                "tumbling_window is {} ms: allowed are 0 to {TUMBLING_WINDOW_MS_MAX}",
                self.settings.tumbling_window_ms
            ));
        }
        if self.settings.tumbling_window_ms > 0 && self.settings.parallelization_factor > 1 {
            return refuse("tumbling_window needs parallelization_factor 1: a window's state is one per shard".into());
        }
        Ok(())
    }

    /// The parallelization factor.
    pub(crate) fn lanes(&self) -> u8 {
        self.settings.parallelization_factor
    }

    pub(crate) fn of_core(&self) -> Settings {
        Settings {
            batch_size: self.settings.batch_size,
            window_ms: self.settings.maximum_batching_window_ms,
            batch_bytes_max: BATCH_BYTES_MAX,
            parallelization_factor: self.settings.parallelization_factor,
            maximum_retry_attempts: u32::try_from(self.settings.maximum_retry_attempts).ok(),
            maximum_record_age_ms: u64::try_from(self.settings.maximum_record_age_ms).ok(),
            bisect: self.settings.bisect_batch_on_function_error,
            report_item_failures: self.settings.report_batch_item_failures,
            tumbling_window_ms: self.settings.tumbling_window_ms,
            backoff: self.settings.retry_backoff.of_core(),
        }
    }

    pub(crate) fn parse_filters(&self) -> Result<Filters, EngineError> {
        let refused = |error: FilterError| EngineError::Invalid(error.to_string());
        let filters: Result<Vec<Filter>, FilterError> =
            self.settings.filters.iter().map(|text| Filter::parse(text)).collect();
        Filters::new(KINESIS, filters.map_err(refused)?).map_err(refused)
    }
}
