//! How an attempt ends, as the engine and the ledger are told.

use forebay_engine::dispatch::attempts::Token;
use serde_json::{json, Value};

use super::work::{Job, Running, Script};
use crate::chance::scramble;
use crate::ledger::End;
use crate::ledger::MessagesEnd;
use crate::plan::Sabotage;

/// An end, as the engine and the ledger are told.
pub(super) struct Outcome {
    pub(super) status: u8,
    pub(super) end: End,
    pub(super) response: Option<Value>,
    /// Places that the response names, where it is read.
    failed: Vec<usize>,
}

impl Outcome {
    /// `reads`: the mapping reads what the handler of a stream's batch reports.
    pub(super) fn of(running: &Running, reads: bool, timed_out: bool) -> Self {
        let count = running.job.count();
        let handled = |done: usize| if timed_out { End::Failed } else { End::Handled { done } };
        let plain = |status, end| Self { status, end, response: None, failed: Vec::new() };
        match &running.script {
            Script::Returns | Script::Kills => {
                Self { response: running.job.response(count, &[]), ..plain(0, handled(count)) }
            }
            Script::Reports(failed) => {
                let is_batch = matches!(running.job, Job::Batch { .. });
                let done = if reads || !is_batch { failed.iter().copied().min().unwrap_or(count) } else { count };
                let response = running.job.response(done, failed);
                // A report in which the first record failed is a failure of the whole.
                let end = if done == 0 && count > 0 && is_batch { End::Failed } else { handled(done) };
                Self { response, failed: failed.clone(), ..plain(0, end) }
            }
            Script::Babbles => {
                let is_read = reads || !matches!(running.job, Job::Batch { .. });
                let response = running.job.response(if is_read { 0 } else { count }, &[]);
                let mut response = response.unwrap_or_else(|| json!({}));
                response["batchItemFailures"] = json!([{"itemIdentifier": ""}]);
                let end = if is_read { End::Failed } else { handled(count) };
                Self { response: Some(response), ..plain(0, end) }
            }
            Script::Raises => plain(1, End::Failed),
            Script::Hangs { .. } => plain(2, End::Failed),
            Script::NotInvoked if timed_out => plain(3, End::Failed),
            Script::Interrupted if timed_out => plain(4, End::Failed),
            Script::NotInvoked => plain(3, End::NoAttempt),
            Script::Interrupted => plain(4, End::NoAttempt),
        }
    }

    pub(super) fn messages_end(&self) -> MessagesEnd {
        match self.end {
            End::Handled { .. } => MessagesEnd::Done { failed: self.failed.clone() },
            End::Failed => MessagesEnd::Failed,
            End::NoAttempt => MessagesEnd::NoAttempt,
        }
    }

    /// What the engine is told of an end. This is where the saboteur sits, too.
    pub(super) fn told(mut self, sabotage: Option<Sabotage>, token: Token, job: &Job) -> Option<Self> {
        let (is_delivery, failed) = (matches!(job, Job::Delivery), self.end == End::Failed);
        let is_handled = matches!(self.end, End::Handled { .. });
        let Some(sabotage) = sabotage else { return Some(self) };
        match sabotage {
            Sabotage::UnboundedRetry if failed => self.status = 3,
            // Of a queue nothing is written down that a store could forget: a message that failed is taken for done.
            Sabotage::SilentDrop if failed && matches!(job, Job::Messages(_)) => self.status = 0,
            Sabotage::ForgottenEnd if is_handled && !is_delivery => self.status = 3,
            Sabotage::LostEnd if is_handled && scramble(token).is_multiple_of(100) => return None,
            Sabotage::ForgottenConfirmation if is_handled && is_delivery => self.status = 1,
            Sabotage::Miscount => {
                let counted = self.response.as_mut().and_then(|response| response.pointer_mut("/state/count"));
                if let Some(count) = counted {
                    *count = (count.as_u64().unwrap_or_default() + 1).into();
                }
            }
            _ => {}
        }
        Some(self)
    }
}
