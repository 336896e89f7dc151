//! Activities and their tasks: what is asked of them, and what is answered.

use serde::{Deserialize, Serialize};

use crate::api::notes::Notes;

/// Names an activity.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ActivityNamed {
    /// The activity's name, 1 to 80 characters.
    pub name: String,
}

/// An activity: tasks that workers ask for.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Activity {
    /// Name.
    pub name: String,
    /// ARN.
    pub arn: String,
    /// When it was declared, milliseconds since 1970.
    pub created_ms: u64,
    /// Texts that are kept beside it, as tags.
    pub notes: Notes,
}

/// Ask for a task.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct GetActivityTask {
    /// The activity's name.
    pub name: String,
    /// The worker's name, which the history has.
    #[serde(default)]
    pub worker: Option<String>,
    /// How long to wait for a task, at most 60,000.
    pub wait_ms: u64,
}

/// A task that a worker has.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ActivityTask {
    /// The token that its end is told with.
    pub token: String,
    /// Its input, a JSON text.
    pub input: String,
}
