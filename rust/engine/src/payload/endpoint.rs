//! What is subscribed to a topic.

use serde::{Deserialize, Serialize};

/// What is subscribed. An endpoint is subscribed to a topic once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Endpoint {
    Queue(String),
    Function(String),
}
