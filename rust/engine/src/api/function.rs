//! Functions, their versions and aliases: what is asked of them, and what is answered.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::api::changes::Changes;
pub use crate::base::asynchronous::Asynchronous;
pub use crate::base::limits::FunctionLimits;

/// Names a function, a version (`name:number`) or an alias (`name:alias`).
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Named {
    /// The name.
    pub name: String,
}

/// Change the limits of a function until the app starts next. What is absent stays; null takes a limit away.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Update {
    /// A function, or a version: `name:number`.
    pub name: String,
    /// Limits.
    #[serde(flatten)]
    pub changes: Changes<FunctionLimits>,
}

/// Change how a function is invoked asynchronously until the app starts next. What is absent stays; without changes it is only told.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ChangeAsynchronous {
    /// A function, or a version: `name:number`.
    pub name: String,
    /// How it is invoked.
    #[serde(flatten)]
    pub changes: Changes<Asynchronous>,
}

/// How a function is invoked asynchronously.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct AsynchronousSettings {
    /// Now.
    pub now: Asynchronous,
    /// As the app declares it.
    pub declared: Asynchronous,
}

/// Declare an alias until the app ends.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DeclareAlias {
    /// The function's name.
    pub function: String,
    /// The alias's name.
    pub name: String,
    /// Where it points.
    #[serde(flatten)]
    pub settings: AliasSettings,
}

/// Where an alias points.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct AliasSettings {
    /// The version that runs.
    pub version: String,
    /// The second version's share, by its number: `{"2": 0.1}`.
    #[serde(default)]
    pub weights: Map<String, Value>,
    /// Permits that are its own and need no growth.
    #[serde(default)]
    pub provisioned_concurrency: u32,
}

/// Change an alias. What is absent stays.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct UpdateAlias {
    /// The function's name.
    pub function: String,
    /// The alias's name.
    pub name: String,
    /// Where it points.
    #[serde(flatten)]
    pub changes: Changes<AliasSettings>,
}

/// A version of a function, and what runs of it.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Version {
    /// `name:number`; of what is declared, the function's name.
    pub name: String,
    /// `$LATEST`, or a number.
    pub version: String,
    /// Whether it has the handler and the settings of what is declared.
    pub is_latest: bool,
    /// Where handlers run: `task`, `thread` or `process`.
    pub isolation: String,
    /// What a handler takes, `event` or `batch`.
    pub wants: &'static str,
    /// How long a handler may run.
    pub timeout_ms: u64,
    /// Permits that are its own and need no growth.
    pub provisioned_concurrency: u32,
    /// How many of them are ready.
    pub provisioned_ready: u32,
    /// Attempts that run; of a function, those of all its versions.
    pub in_flight: u64,
    /// Most memory that a process of it may use, MiB; null: no limit.
    pub memory_mebibytes: Option<u64>,
    /// When the program that runs declared it, milliseconds since 1970.
    pub declared_ms: u64,
}

/// A function, and what runs of it.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Function {
    /// What is declared.
    #[serde(flatten)]
    pub latest: Version,
    /// Most attempts at once, which are set aside for it.
    pub reserved_concurrency: Option<u32>,
    /// Starts a second.
    pub rate_limit: Option<f64>,
    /// Handlers of all versions that run on past their timeout.
    pub past_deadline: u64,
    /// Its published versions; absent in a list of functions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub versions: Option<Vec<Version>>,
    /// Its aliases; absent in a list of functions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aliases: Option<Vec<Alias>>,
}

/// An alias.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Alias {
    /// Where it points.
    #[serde(flatten)]
    pub settings: AliasSettings,
    /// The function's name.
    pub function: String,
    /// The alias's name.
    pub name: String,
    /// ARN.
    pub arn: String,
}

/// What a name stands for.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum Described {
    /// A function.
    Function(Function),
    /// A version of a function.
    Version(Version),
    /// An alias of a function.
    Alias(Alias),
}

/// The asynchronous events of a function.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Events {
    /// A function, or a version: `name:number`.
    pub function: String,
    /// Whether something that runs has the function.
    pub registered: bool,
    /// Those in memory that wait.
    pub waiting: usize,
    /// Whether the store may hold others.
    pub more: bool,
    /// Those that run.
    pub running: usize,
    /// Age of the oldest one that waits in memory.
    pub oldest_age_ms: Option<u64>,
}

/// How many processes of a function do what.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct EnvironmentCounts {
    /// A function, or a version: `name:number`.
    pub function: String,
    /// Those that start.
    pub starting: usize,
    /// Those that wait for work.
    pub idle: usize,
    /// Those that work.
    pub busy: usize,
    /// Those that end.
    pub ending: usize,
}
