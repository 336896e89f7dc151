//! Throttling: how many requests a second, and at once, an API, a method or a key may have.
//!
//! Source: <https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-request-throttling.html>

use super::rest::model::Stage;
use crate::token_bucket::{Rate, TokenBucket};

/// A full bucket of a limit; `None`: a rate or a burst of nothing lets nothing through.
pub fn full(rate: f64, burst: u64, now_ns: u64) -> Option<TokenBucket> {
    TokenBucket::new(Rate::per_second(rate)?, burst, now_ns)
}

/// Give a bucket the limit of a full one. What is there stays, as far as the limit holds it.
pub fn set(bucket: &mut TokenBucket, full: &TokenBucket, now_ns: u64) {
    if bucket.rate() != full.rate() || bucket.burst() != full.burst() {
        bucket.configure(full.rate(), full.burst(), now_ns);
    }
}

/// Let one request through a bucket, whose limit may have changed.
pub fn admits(bucket: &mut TokenBucket, full: &TokenBucket, now_ns: u64) -> bool {
    set(bucket, full, now_ns);
    bucket.try_acquire(1, now_ns)
}

/// The rate and the burst of a REST API's method (`/pets/GET`) in a stage: its own, or those of all methods; `None`: it has no limit.
pub fn of_method(stage: &Stage, method: &str) -> Option<(f64, u64)> {
    let setting = stage.method_settings.get(method).or_else(|| stage.method_settings.get("*/*"))?;
    let burst = u64::try_from(setting.throttling_burst_limit).ok()?;
    (setting.throttling_rate_limit >= 0.0).then_some((setting.throttling_rate_limit, burst))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::rest::model::MethodSetting;

    const SECOND_NS: u64 = 1_000_000_000;

    #[test]
    fn a_rate_or_a_burst_of_nothing_lets_nothing_through() {
        assert_eq!(full(0.0, 5, 0), None);
        assert_eq!(full(5.0, 0, 0), None);
    }

    #[test]
    fn a_changed_limit_keeps_what_was_there() {
        let mut bucket = full(1.0, 10, 0).unwrap();
        let (narrow, wide) = (full(1.0, 2, 0).unwrap(), full(1.0, 10, 0).unwrap());
        assert!((0..2).all(|_| admits(&mut bucket, &narrow, 0)));
        assert!(!admits(&mut bucket, &narrow, 0));
        assert!(!admits(&mut bucket, &wide, 0), "it was not filled anew");
        assert!(admits(&mut bucket, &wide, SECOND_NS));
        // The rate may change alone.
        let quick = full(5.0, 10, 0).unwrap();
        let admitted = |bucket: &mut TokenBucket, at_ns| (0..9).filter(|_| admits(bucket, &quick, at_ns)).count();
        assert_eq!([SECOND_NS, 2 * SECOND_NS].map(|at_ns| admitted(&mut bucket, at_ns)), [0, 5]);
    }

    #[test]
    fn a_method_has_its_own_limit_or_that_of_all_and_a_negative_one_is_none() {
        let setting = |rate, burst| MethodSetting {
            throttling_rate_limit: rate,
            throttling_burst_limit: burst,
            ..MethodSetting::default()
        };
        let mut stage = Stage::default();
        assert_eq!(of_method(&stage, "/pets/GET"), None);
        stage.method_settings.insert("*/*".into(), setting(5.0, 2));
        assert_eq!(of_method(&stage, "/pets/GET"), Some((5.0, 2)));
        stage.method_settings.insert("/pets/GET".into(), setting(0.0, 0));
        assert_eq!(of_method(&stage, "/pets/GET"), Some((0.0, 0)));
        for (rate, burst) in [(-1.0, 2), (5.0, -1)] {
            stage.method_settings.insert("/pets/GET".into(), setting(rate, burst));
            assert_eq!(of_method(&stage, "/pets/GET"), None);
        }
    }
}
