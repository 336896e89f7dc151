//! What the open states of an execution wait for, and what a durable function did last.

use serde::{Deserialize, Serialize};

/// A state that waits until a time or for a place: a `Wait` state, one before its next retry, or one whose task times out then or has not begun.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct StateWait {
    /// The event of the state's entry.
    pub event: u64,
    /// When it goes on, or its task fails for want of an end or a heartbeat, milliseconds since 1970.
    pub due_ms: Option<u64>,
    /// Why the function of its task does not run yet, or is late; `null`: nothing of this.
    pub held_by: Option<HeldBy>,
    /// What runs alone now, before anything else: an execution by its name, or a function.
    pub alone: Option<String>,
}

/// What keeps the function of a task from beginning or ending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum HeldBy {
    /// What ran when the last process died runs again, one after the other.
    Crash,
    /// A free place of its function, or of the app.
    Place,
    /// It runs, and is past its timeout: its thread has not ended.
    Late,
}

/// The operation that a durable function began or ended last.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct LastOperation {
    /// `STEP`, `WAIT`, `CALLBACK` or `CHAINED_INVOKE`.
    pub r#type: String,
    /// The name that the function gave it.
    pub name: Option<String>,
    /// Where it stood, as `SUCCEEDED`, `FAILED`, or `STARTED` if it had not ended.
    pub status: String,
}
