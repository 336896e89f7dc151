//! `why`: what has become of a request, a message or a record.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::Value;

/// Ask what has become of something.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Why {
    /// Id of a request, a message or a publication, or the sequence number of a record.
    pub id: String,
    /// The `cursor` of the answer before: the search goes on through the store.
    #[serde(default)]
    pub cursor: Option<String>,
}

/// What is known of it.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Life {
    /// As it was asked.
    pub id: String,
    /// What happened, oldest first: `{at_ms, what, …}`.
    pub facts: Vec<Value>,
    /// Whether it runs now.
    pub running: bool,
    /// Where it stands, each with `where`: a waiting event (`queue`), the result of one that has ended (`result`, as `events.result` gives it), a message (`message`, as `queue.peek` gives it), a record and a
    /// function that reads its stream (`record`, with the state `unread`, `waiting`, `running`, `retried`, `done` or `lost`), a
    /// failure (`failed`).
    #[cfg_attr(test, schemars(with = "Vec<Value>"))]
    pub kept: Vec<Box<RawValue>>,
    /// There is more of the store to look through: ask again with it.
    pub cursor: Option<String>,
    /// Since when facts are remembered, milliseconds since 1970.
    pub remembered_since_ms: u64,
}
