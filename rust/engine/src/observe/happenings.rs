//! What happened in the engine, as events for the default bus: asked for by the app, in AWS's shape where AWS has one.
//!
//! A happening goes into the commit that is gathered when it happens. Chains of them end: each says how far its chain has come, and a token
//! bucket bounds how many there are.

use std::collections::BTreeMap;

use forebay_core::chain;
use forebay_core::token_bucket::{Rate, TokenBucket};
use serde_json::Value;

/// Most happenings in a second, and at once: the rest are counted, not emitted.
const RATE: u32 = 100;
const BURST: u64 = 1_000;
/// How often it is said of one function that it is throttled.
const THROTTLED_EVERY_NS: u64 = 1_000_000_000;
/// Most functions of which that is remembered.
const THROTTLED_MAX: usize = 10_000;

/// An event for the default bus.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Happening {
    pub(crate) kind: HappeningKind,
    /// What it is about.
    pub(crate) resources: Vec<String>,
    /// JSON.
    pub(crate) detail: String,
    /// How far the chain has come that this ends.
    pub(crate) hops: u32,
    pub(crate) trace: Option<String>,
}

/// Kinds of happenings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HappeningKind {
    /// An asynchronous event was given up: as a Lambda destination tells it on EventBridge.
    /// <https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html>
    InvocationFailed,
    /// A batch of a stream was given up.
    BatchGivenUp,
    /// A message went to a dead-letter queue.
    DeadLettered,
    /// A target or a destination did not take an event, and is tried no more.
    DeliveryGivenUp,
    /// A function had no place for what came.
    Throttled,
    /// The database behind a proxy moved to another server: as RDS tells it.
    /// <https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/USER_Events.Messages.html>
    Failover,
    /// An alert rule fires, or fires no more: as CloudWatch tells it of an alarm.
    /// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch-and-eventbridge.html>
    Alarm,
}

impl HappeningKind {
    pub(crate) const ALL: [Self; 7] = [
        Self::InvocationFailed,
        Self::BatchGivenUp,
        Self::DeadLettered,
        Self::DeliveryGivenUp,
        Self::Throttled,
        Self::Failover,
        Self::Alarm,
    ];

    /// Source and detail-type.
    pub(crate) fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::InvocationFailed => ("lambda", "Lambda Function Invocation Result - Failure"),
            Self::BatchGivenUp => ("forebay", "Batch Given Up"),
            Self::DeadLettered => ("forebay", "Message Dead-Lettered"),
            Self::DeliveryGivenUp => ("forebay", "Delivery Given Up"),
            Self::Throttled => ("forebay", "Function Throttled"),
            Self::Failover => ("aws.rds", "RDS DB Cluster Event"),
            Self::Alarm => ("aws.cloudwatch", "CloudWatch Alarm State Change"),
        }
    }
}

/// Those that wait for the commit that is gathered.
#[derive(Default)]
pub(crate) struct Happenings {
    is_wanted: bool,
    waiting: Vec<Happening>,
    bucket: Option<TokenBucket>,
    /// When each function was told of last, and how often it was throttled since.
    throttled: BTreeMap<String, (u64, u64)>,
}

impl Happenings {
    /// Put what happens on the default bus, or do so no more.
    pub(crate) fn want(&mut self, is_wanted: bool) {
        self.is_wanted = is_wanted;
        if !is_wanted {
            self.waiting.clear();
            self.throttled.clear();
        }
    }

    /// Something happened. `make` is called if somebody wants to know; false: there are too many.
    pub(crate) fn add(&mut self, now_ns: u64, make: impl FnOnce() -> Happening) -> bool {
        if !self.is_wanted {
            return true;
        }
        if self.bucket.is_none() {
            self.bucket = Rate::per_second(RATE.into()).and_then(|rate| TokenBucket::new(rate, BURST, now_ns));
        }
        if !self.bucket.as_mut().is_some_and(|bucket| bucket.try_acquire(1, now_ns)) {
            return false;
        }
        let happening = make();
        if chain::is_within(happening.hops) {
            self.waiting.push(happening);
        }
        true
    }

    /// A function was throttled; gives how often since that was told last, if it is time to tell it.
    pub(crate) fn throttles(&mut self, function: &str, now_ns: u64) -> Option<u64> {
        if !self.is_wanted {
            return None;
        }
        if self.throttled.len() >= THROTTLED_MAX {
            self.throttled.retain(|_, (told_ns, _)| now_ns < *told_ns + THROTTLED_EVERY_NS);
        }
        let Some((told_ns, count)) = self.throttled.get_mut(function) else {
            self.throttled.insert(function.to_owned(), (now_ns, 0));
            return Some(1);
        };
        *count += 1;
        if now_ns < *told_ns + THROTTLED_EVERY_NS {
            return None;
        }
        *told_ns = now_ns;
        Some(std::mem::take(count))
    }

    pub(crate) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    pub(crate) fn take(&mut self) -> Vec<Happening> {
        std::mem::take(&mut self.waiting)
    }
}

/// What a detail may hold of a record that a payload makes too large for an event.
pub(crate) fn without_payload(record: &Value) -> String {
    let mut record = record.clone();
    if let Some(fields) = record.as_object_mut() {
        fields.remove("payload");
    }
    record.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn happening(hops: u32) -> Happening {
        Happening { kind: HappeningKind::BatchGivenUp, resources: Vec::new(), detail: "{}".into(), hops, trace: None }
    }

    #[test]
    fn there_are_only_so_many_and_no_chain_is_endless() {
        let mut happenings = Happenings::default();
        happenings.add(0, || unreachable!("nobody wants it"));
        happenings.want(true);
        let added = (0..BURST + 5).filter(|_| happenings.add(0, || happening(0))).count() as u64;
        assert_eq!((added, happenings.take().len() as u64), (BURST, BURST));
        happenings.add(1_000_000_000, || happening(chain::HOPS_MAX + 1));
        assert!(!happenings.has_waiting());
    }

    #[test]
    fn it_is_told_once_a_second_that_a_function_is_throttled_and_how_often() {
        let mut happenings = Happenings::default();
        happenings.want(true);
        let told: Vec<Option<u64>> =
            [0, 1, 2, 1_000_000_001].into_iter().map(|now_ns| happenings.throttles("f", now_ns)).collect();
        assert_eq!(told, [Some(1), None, None, Some(3)]);
    }
}
