//! What an engine is told at its start.

use crate::base::limits::AccountSettings;

/// What an engine is told at its start.
#[derive(Clone, Debug)]
pub struct Config {
    /// Name of the app.
    pub app: String,
    /// AWS region shown in ARNs and events.
    pub region: String,
    /// AWS account shown in ARNs.
    pub account: String,
    /// Its permits.
    pub limits: AccountSettings,
    /// Whether anything is counted.
    pub metrics: bool,
}
