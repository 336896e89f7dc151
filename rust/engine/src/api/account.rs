//! The account and the health of an engine.

use serde::Serialize;
use serde_json::Value;

pub use crate::base::limits::{AccountSettings, BucketSettings, ScalingSettings, WorkflowLimits};

/// The account's limits, and what is in use.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Account {
    /// Its limits.
    #[serde(flatten)]
    pub limits: AccountSettings,
    /// Permits in use.
    pub in_use: u64,
    /// How many of them no function has reserved.
    pub unreserved_in_use: u64,
    /// Permits that functions have set aside.
    pub claimed: u64,
    /// What keeps the memory limits of processes, and why: `{kept_by, why}`.
    pub memory_limits: Value,
}

/// A process that runs handlers.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Process {
    /// Its name among those that share the store; `null`: the one that owns it.
    pub member: Option<String>,
    /// Attempts that it runs. The owner's are those in processes of functions, too.
    pub running: usize,
}

/// How the engine is.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Health {
    /// `owner`.
    pub role: &'static str,
    /// Whether it takes work.
    pub ready: bool,
    /// Why it does not.
    pub reasons: Vec<String>,
    /// The app whose store it is, if it is known.
    pub app: Option<String>,
    /// The store takes no further write, for this reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}
