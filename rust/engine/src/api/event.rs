//! Asynchronous events with options, and their results: what is asked, and what is answered.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
#[cfg(test)]
use serde_json::Value;

/// Have a function run on a payload later.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Invoke {
    /// A function, a version (`name:number`) or an alias (`name:alias`).
    pub function: String,
    /// What the function is given.
    #[cfg_attr(test, schemars(with = "Value"))]
    pub payload: Box<RawValue>,
    /// How long after it was accepted it is due, up to 365 days. Its age counts from then on.
    #[serde(default)]
    pub delay_ms: Option<u64>,
    /// When it is due, milliseconds since 1970, instead of a delay. A moment that has passed is now.
    #[serde(default)]
    pub at_ms: Option<u64>,
    /// While this is remembered, another event of the function with the same id is not accepted: its answer is the first one's request id.
    #[serde(default)]
    pub deduplication_id: Option<String>,
    /// How long the id is remembered, one second to a day; without it, five minutes.
    #[serde(default)]
    pub deduplication_window_ms: Option<u64>,
    /// Keep the result for a day after the event has ended. It is refused with an id whose first event keeps none.
    #[serde(default)]
    pub keep_result: bool,
    /// Id of the request whose handler asks.
    #[serde(default)]
    pub parent: Option<String>,
    /// W3C trace context: the `traceparent`, and the `tracestate` on a second line.
    #[serde(default)]
    pub trace: Option<String>,
}

/// Ask what became of an event whose result is kept.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Which {
    /// The function's name, without a version.
    pub function: String,
    /// The request id.
    pub request_id: String,
    /// How long to wait for its end, up to a day.
    #[serde(default)]
    pub wait_ms: u64,
}

/// What became of an event.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct EventResult {
    /// The function, or the version that ran: `name:number`.
    pub function: String,
    /// `$LATEST`, or a number.
    pub version: String,
    /// How it ended; absent while it has not.
    #[serde(flatten)]
    pub end: Option<End>,
}

/// How an event ended.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct End {
    /// `Success`, `RetriesExhausted`, `EventAgeExceeded`, `ZeroReservedConcurrency`, `RecursiveInvocation` or `RuntimeInterrupted`.
    pub condition: &'static str,
    /// Attempts that reached the function.
    pub attempts: u32,
    /// When it ended, milliseconds since 1970.
    pub ended_ms: u64,
    /// Until when this is kept, milliseconds since 1970.
    pub expires_ms: u64,
    /// The response of the last attempt, or its error object.
    #[cfg_attr(test, schemars(with = "Option<Value>"))]
    pub response: Option<Box<RawValue>>,
    /// Bytes of the response: over 1 MiB it is not kept.
    pub response_bytes: u32,
}
