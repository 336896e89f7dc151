//! What is subscribed to a topic.

use serde::{Deserialize, Serialize};

/// What is subscribed. An endpoint is subscribed to a topic once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Endpoint {
    /// A queue, by its name.
    Queue(String),
    /// A function, by its name.
    Function(String),
}
