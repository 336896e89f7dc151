//! What an attempt means for its batch.
//!
//! The order of the questions: did it reach the function at all; what did the answer say; can the batch be split; is a
//! retry left. Record age is asked before every attempt, in `dispatch`, because it also ends batches that never ran.

use super::lane::{Batch, Lane};
use super::protocol::{Outcome, Report, Settings};

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Every record is done.
    Done,
    /// The first `done` records are done (1 or more, not all); the first after them failed.
    Partly { done: usize },
    /// The whole batch failed. `by_report`: the function returned, and its answer said so.
    Failed { by_report: bool },
    /// It never reached the function.
    NotInvoked,
    /// It was cut short by us.
    Interrupted,
}

/// What happens to a batch that is not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Try the same records again after the back-off.
    Retry,
    /// Try the first `left` records, and the others after them, as batches of their own.
    Split { left: usize },
    /// No retry is left.
    GiveUp,
}

/// Read an outcome. `needs_state`: the answer must carry the state of a tumbling window.
pub(super) fn judge(outcome: &Outcome, lane: &Lane, batch: &Batch, settings: &Settings, needs_state: bool) -> Verdict {
    match outcome {
        Outcome::Success { state: None, .. } if needs_state => Verdict::Failed { by_report: true },
        Outcome::Success { report, .. } if settings.report_item_failures => judge_report(report, lane, batch),
        Outcome::Success { .. } => Verdict::Done,
        Outcome::Error | Outcome::Timeout => Verdict::Failed { by_report: false },
        Outcome::NotInvoked => Verdict::NotInvoked,
        Outcome::Interrupted => Verdict::Interrupted,
    }
}

/// The lowest failed position is where the batch begins anew. One that is not in the batch fails the whole batch.
fn judge_report(report: &Report, lane: &Lane, batch: &Batch) -> Verdict {
    let failed = match report {
        Report::AllSucceeded => return Verdict::Done,
        Report::Malformed => return Verdict::Failed { by_report: true },
        Report::Failed(positions) => positions,
    };
    let mut done = batch.len;
    for position in failed {
        match lane.pending.binary_search_by_key(position, |record| record.position) {
            Ok(index) if index < batch.len => done = done.min(index),
            _ => return Verdict::Failed { by_report: true },
        }
    }
    match done {
        done if done == batch.len => Verdict::Done,
        0 => Verdict::Failed { by_report: true },
        done => Verdict::Partly { done },
    }
}

/// Decide about a failed batch whose failure is already counted. With bisect on, only a single record is ever retried:
/// splitting uses no retry.
pub(super) fn of_failed(batch: &Batch, settings: &Settings) -> Fate {
    if batch.skipped {
        return Fate::GiveUp;
    }
    if settings.bisect && batch.len > 1 {
        return Fate::Split { left: batch.len / 2 };
    }
    match settings.maximum_retry_attempts {
        Some(retries) if batch.failures > retries => Fate::GiveUp,
        _ => Fate::Retry,
    }
}
