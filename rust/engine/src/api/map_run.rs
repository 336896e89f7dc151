//! Runs of distributed Maps: what is asked of them, and what is answered.

use serde::{Deserialize, Serialize};

use crate::api::workflow::Execution;

/// Give the results of a distributed Map's run.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct MapResults {
    /// The run's number, as its writer is given it.
    pub map_run: u64,
    /// Most children of the answer, 1 to 1,000. It may have fewer although there are more: see `next`.
    pub limit: usize,
    /// The `next` of the answer before.
    #[serde(default)]
    pub after: Option<u64>,
}

/// A page of results.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct MapResultsPage {
    /// The children, the first first.
    pub children: Vec<Execution>,
    /// Gives the next page; `null`: there is none.
    pub next: Option<u64>,
}

/// Names a run of a distributed Map.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct MapRunNamed {
    /// Its ARN.
    pub arn: String,
}

/// The runs of an execution's distributed Maps.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct MapRuns {
    /// At most the last 1,000, in the order of their ends; those that run come last.
    pub map_runs: Vec<MapRun>,
}

/// A run of a distributed Map.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct MapRun {
    /// ARN.
    pub arn: String,
    /// The ARN of its execution.
    pub execution_arn: String,
    /// The ARN of the workflow.
    pub workflow_arn: String,
    /// `RUNNING`, `SUCCEEDED`, `FAILED` or `ABORTED`.
    pub status: String,
    /// When it began, milliseconds since 1970.
    pub started_ms: u64,
    /// When it ended, milliseconds since 1970.
    pub stopped_ms: Option<u64>,
    /// How many children run at once.
    pub max_concurrency: u32,
    /// How many items may fail.
    pub tolerated_failure_count: u64,
    /// The percentage of its items that may fail.
    pub tolerated_failure_percentage: f64,
    /// Its children.
    #[serde(flatten)]
    pub children: MapRunCounts,
    /// The same of items: a child has several where they are put together.
    pub items: MapRunCounts,
    /// How often it was redriven.
    pub redrive_count: u32,
}

/// The children of a distributed Map's run, or their items, by what became of the children.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct MapRunCounts {
    /// How many are still to be started, where their items are known.
    pub pending: u64,
    /// How many run.
    pub running: u64,
    /// How many have succeeded.
    pub succeeded: u64,
    /// How many have failed.
    pub failed: u64,
    /// How many took too long.
    pub timed_out: u64,
    /// How many were stopped.
    pub aborted: u64,
}
