//! Failures that are listed: what is asked of them, and what is answered.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
#[cfg(test)]
use serde_json::Value;

/// List failures, oldest first.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct List {
    /// Only of this function.
    #[serde(default)]
    pub function: Option<String>,
    /// Only of this stream.
    #[serde(default)]
    pub stream: Option<String>,
    /// Most failures of the answer. It has fewer when they are over 8 MiB.
    pub limit: usize,
    /// The `next` of the answer before.
    #[serde(default)]
    pub after: Option<String>,
}

/// Names a failure.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Named {
    /// As it is listed.
    pub id: String,
}

/// Run failures again. A batch goes to its function as it was; an asynchronous event begins a new life with the same request id. One
/// that fails again stays listed.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Redrive {
    /// The function whose failures they are.
    pub function: String,
    /// Which failures; without it, all of them.
    #[serde(default)]
    pub ids: Option<Vec<String>>,
    /// Failures a second.
    #[serde(default)]
    pub rate: Option<f64>,
    /// Another payload, a JSON text, for the one event that `ids` names.
    #[serde(default)]
    pub payload: Option<String>,
    /// Only count them.
    #[serde(default)]
    pub dry_run: bool,
}

/// A failure.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Failure {
    /// Its id.
    pub id: String,
    /// The function that failed.
    pub function: String,
    /// The stream its records are of; null for an asynchronous event.
    pub stream: Option<String>,
    /// When it was given up, milliseconds since 1970.
    pub failed_ms: u64,
    /// The destination that it waits for.
    pub destination: Option<String>,
    /// The destination that did not take it within 24 hours, or that nothing which runs has had for so long.
    pub undelivered_to: Option<String>,
    /// How often the destination was tried.
    pub delivery_attempts: u32,
    /// Why the destination did not take it.
    pub last_error: Option<String>,
    /// Lambda's record for on-failure destinations; numbers of the payload stay as they are written.
    #[cfg_attr(test, schemars(with = "Option<Value>"))]
    pub record: Option<Box<RawValue>>,
    /// Whether it can be run again.
    pub redrivable: bool,
    /// The event of an asynchronous invocation, a JSON text; absent in a list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<String>,
}

/// Failures in the order in which they failed.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Page {
    /// The failures.
    #[cfg_attr(test, schemars(with = "Vec<Failure>"))]
    pub failures: Vec<Box<RawValue>>,
    /// There are more: ask again with it as `after`.
    pub next: Option<String>,
}

/// Failures that were run again.
#[derive(Clone, Copy, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Redriven {
    /// How many.
    pub redriven: usize,
    /// Over 100,000 are listed: ask again when these have run.
    pub more: bool,
}
