//! What the runtime counts about itself. `catalogue` says what there is, `numbers` and `registry` hold what was counted, `exposition` writes
//! them for Prometheus.
//!
//! Counting never waits for a reader: a handle is taken once per function, mapping or shard and kept; a page is written from
//! handles gathered beforehand. Points in time (`points`) are given rows and give rows: where those are kept is not known here.
#![forbid(unsafe_code)]

pub mod catalogue;
pub mod exports;
pub mod exposition;
pub mod numbers;
pub mod points;
pub mod query;
pub mod registry;
mod sync;

#[cfg(test)]
mod tests;

pub use catalogue::{Metric, CATALOGUE, METRICS};
pub use exposition::Format;
pub use numbers::{Counter, Gauge};
pub use registry::{Distribution, Registry};
