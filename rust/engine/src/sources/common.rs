//! What mappings and redrives of every source share: the size of a batch, back-off, the rate of a redrive.

use forebay_core::stream;

use crate::api::mapping::Backoff;
use crate::base::error::EngineError;
use crate::base::limits::REDRIVE_RATES;

/// Most payload bytes of one batch: Lambda's synchronous payload.
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
pub(crate) const BATCH_BYTES_MAX: u64 = 6_291_556;

impl Backoff {
    /// As the core takes it.
    pub(crate) fn of_core(self) -> stream::protocol::Backoff {
        stream::protocol::Backoff { base_ms: self.base_ms, cap_ms: self.cap_ms, jitter: self.jitter }
    }
}

/// Refuse a rate that is none.
pub(crate) fn check_rate(rate: Option<f64>) -> Result<(), EngineError> {
    match rate.filter(|rate| !REDRIVE_RATES.contains(rate)) {
        Some(rate) => {
            Err(EngineError::Invalid(format!("rate is {rate}: allowed is 0.001 to 1000000 a second, or none")))
        }
        None => Ok(()),
    }
}

/// From one to the next at so many a second.
pub(crate) fn spacing_ns(rate: Option<f64>) -> u64 {
    rate.map_or(0, |rate| (1e9 / rate) as u64)
}
