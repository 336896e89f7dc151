//! What a function that runs in processes is declared with: the program, and how many processes of it there may be.

use forebay_core::environment::Settings;
use serde::Deserialize;

/// What an environment runs.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Program {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Environment variables beside those of the runtime itself.
    pub variables: Vec<(String, String)>,
    /// Where it runs.
    pub directory: String,
    /// It speaks the Lambda Runtime API instead of frames on its standard input.
    #[serde(default)]
    pub runtime_api: bool,
    /// The function's ARN without a qualifier, for the Runtime API.
    pub function_arn: String,
    /// Most resident memory of the process and its descendants, bytes.
    #[serde(default)]
    pub memory_bytes: Option<u64>,
    /// The function's version, as START lines tell it.
    pub version: String,
    /// The memory it is configured with, MiB, as REPORT lines tell it.
    pub memory_mebibytes: u64,
    /// Write START, END and REPORT lines.
    pub report_lines: bool,
    /// How long a process that is told to end while it does nothing may take to close what it has open; 0: killed at once.
    pub closing_ms: u64,
}

/// How a function's environments are registered.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Declared {
    /// What they run.
    #[serde(flatten)]
    pub program: Program,
    /// Kept initialised ahead of need.
    pub provisioned: usize,
    /// Most at once.
    pub maximum: usize,
    /// Most that can be asked for ahead of need. Where no maximum was given, so many as are provisioned may run.
    pub provisioned_maximum: usize,
    /// How long one may take to start.
    pub init_timeout_ms: u64,
    /// The same for one that starts ahead of need.
    pub provisioned_init_timeout_ms: u64,
    /// How long one that is not provisioned waits for work.
    pub idle_timeout_ms: u64,
    /// Replaced after so many invocations.
    #[serde(default)]
    pub recycle_invocations: Option<u64>,
    /// Replaced at this age.
    #[serde(default)]
    pub recycle_ms: Option<u64>,
}

impl Declared {
    pub(crate) fn settings(&self) -> Settings {
        let ns = |ms: u64| ms.saturating_mul(1_000_000);
        let maximum = self.maximum.max(1);
        Settings {
            provisioned: self.provisioned.min(maximum),
            maximum,
            init_ns: ns(self.init_timeout_ms),
            provisioned_init_ns: ns(self.provisioned_init_timeout_ms),
            idle_ns: ns(self.idle_timeout_ms),
            recycle_invocations: self.recycle_invocations,
            recycle_ns: self.recycle_ms.map(ns),
        }
    }
}
