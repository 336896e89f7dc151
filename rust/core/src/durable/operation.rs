//! One operation of a durable execution.

use serde::{Deserialize, Serialize};
use serde_json::{json, Map, Value};

use crate::workflow::machine::Text;

/// About how many bytes an operation has beside its result and its error.
const OWN_BYTES: usize = 512;

/// What an operation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Kind {
    /// The execution itself.
    Execution,
    /// Operations that belong together.
    Context,
    /// A piece of work.
    Step,
    /// Time that passes.
    Wait,
    /// An answer from outside.
    Callback,
    /// Another function's invocation.
    ChainedInvoke,
}

/// Where an operation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// It has begun.
    Started,
    /// It is tried again later.
    Pending,
    /// It may be tried again.
    Ready,
    /// It ended with a result.
    Succeeded,
    /// It ended with an error.
    Failed,
    /// It was cancelled.
    Cancelled,
    /// It took too long.
    TimedOut,
}

/// How a function that was invoked has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InvokeEnd {
    /// With a result, JSON.
    Succeeded(String),
    /// With an error.
    Failed(Value),
    /// Its execution took too long.
    TimedOut(Value),
    /// Somebody has stopped its execution.
    Stopped(Value),
}

/// One operation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Operation {
    /// Its id, which the SDK makes from its place.
    pub id: String,
    /// The context that it is in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_id: Option<String>,
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it is.
    pub kind: Kind,
    /// What it is for the SDK.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sub_type: Option<String>,
    /// Where it stands.
    pub status: Status,
    pub(super) started_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ended_ms: Option<u64>,
    pub(super) attempt: u32,
    /// When it is tried again, when a wait ends, or when a callback is too late.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) heartbeat_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) heartbeat_due_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) result: Option<Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) callback_id: Option<String>,
    pub(super) replay_children: bool,
    /// It failed since somebody has stopped it. This is not a status of its own: releases before do not know that one, and read the rest.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) is_stopped: bool,
}

impl Operation {
    /// Whether it has ended.
    pub fn is_over(&self) -> bool {
        !matches!(self.status, Status::Started | Status::Pending | Status::Ready)
    }

    /// About how many bytes [`Self::to_json`] has.
    pub(super) fn size(&self) -> usize {
        let error = self.error.as_ref().map_or(0, |error| error.to_string().len());
        self.result.as_ref().map_or(0, |result| result.len()) + error + OWN_BYTES
    }

    /// When it changes by itself.
    pub(super) fn due_ms(&self) -> Option<u64> {
        let waits = matches!(
            (self.kind, self.status),
            (Kind::Wait | Kind::Callback, Status::Started) | (Kind::Step, Status::Pending)
        );
        self.next_ms.into_iter().chain(self.heartbeat_due_ms).min().filter(|_| waits)
    }

    /// Let come what was due.
    pub(super) fn pass_time(&mut self, now_ms: u64) {
        match self.kind {
            Kind::Wait => self.over(Status::Succeeded, now_ms),
            Kind::Callback => {
                // Nobody may have looked for long: what was over first tells why.
                let heartbeat_ms = self.heartbeat_due_ms.unwrap_or(u64::MAX);
                let is_heartbeat = self.next_ms.is_none_or(|at_ms| heartbeat_ms < at_ms);
                let (kind, text) = if is_heartbeat {
                    ("Callback.Heartbeat", "Callback timed out on heartbeat")
                } else {
                    ("Callback.Timeout", "Callback timed out")
                };
                self.error = Some(json!({"ErrorType": kind, "ErrorMessage": text}));
                self.over(Status::TimedOut, now_ms);
            }
            _ => self.status = Status::Ready,
        }
    }

    pub(super) fn end(&mut self, result: Result<String, Value>, now_ms: u64) {
        match result {
            Ok(result) => {
                // A callback may be told nothing, and a function may answer nothing: then there is no result.
                self.result = if result.is_empty() { None } else { Some(result.into()) };
                self.over(Status::Succeeded, now_ms);
            }
            Err(error) => {
                self.error = Some(error);
                self.over(Status::Failed, now_ms);
            }
        }
    }

    pub(super) fn end_invoke(&mut self, end: InvokeEnd, now_ms: u64) {
        match end {
            InvokeEnd::Succeeded(result) => self.end(Ok(result), now_ms),
            InvokeEnd::Failed(error) => self.end(Err(error), now_ms),
            InvokeEnd::TimedOut(error) => {
                self.error = Some(error);
                self.over(Status::TimedOut, now_ms);
            }
            InvokeEnd::Stopped(error) => {
                self.is_stopped = true;
                self.end(Err(error), now_ms);
            }
        }
    }

    pub(super) fn over(&mut self, status: Status, now_ms: u64) {
        (self.status, self.ended_ms) = (status, Some(now_ms));
    }

    /// As `GetDurableExecutionState` has it, with times in ms since 1970.
    pub fn to_json(&self) -> Value {
        let mut told = Map::new();
        told.insert("Id".into(), self.id.as_str().into());
        told.insert("Type".into(), json!(self.kind));
        told.insert("Status".into(), if self.is_stopped { "STOPPED".into() } else { json!(self.status) });
        told.insert("StartTimestamp".into(), self.started_ms.into());
        for (name, text) in [("ParentId", &self.parent_id), ("Name", &self.name), ("SubType", &self.sub_type)] {
            if let Some(text) = text {
                told.insert(name.into(), text.as_str().into());
            }
        }
        if let Some(ended_ms) = self.ended_ms {
            told.insert("EndTimestamp".into(), ended_ms.into());
        }
        let mut details = Map::new();
        let name = match self.kind {
            Kind::Execution | Kind::Context => {
                details.insert("ReplayChildren".into(), self.replay_children.into());
                "ContextDetails"
            }
            Kind::Step => {
                details.insert("Attempt".into(), self.attempt.into());
                if let Some(next_ms) = self.next_ms.filter(|_| self.status == Status::Pending) {
                    details.insert("NextAttemptTimestamp".into(), next_ms.into());
                }
                "StepDetails"
            }
            Kind::Wait => {
                details.insert("ScheduledEndTimestamp".into(), json!(self.next_ms));
                "WaitDetails"
            }
            Kind::Callback => {
                details.insert("CallbackId".into(), json!(self.callback_id));
                "CallbackDetails"
            }
            Kind::ChainedInvoke => "ChainedInvokeDetails",
        };
        if self.kind != Kind::Wait {
            if let Some(result) = &self.result {
                details.insert("Result".into(), result.as_str().into());
            }
            if let Some(error) = &self.error {
                details.insert("Error".into(), error.clone());
            }
        }
        told.insert(name.into(), Value::Object(details));
        Value::Object(told)
    }
}
