//! The engine: it owns stores, threads and sockets, and carries out what `forebay_core` decides.
#![forbid(unsafe_code)]
// Whatever carries out a request takes it whole, and may refuse it: also what only looks at it, and what never refuses. So one table
// can call them all.
#![allow(clippy::needless_pass_by_value, clippy::unnecessary_wraps)]

pub mod api;
pub mod base;
pub mod buses;
mod commit;
mod ctx;
mod destinations;
pub mod dispatch;
pub mod environments;
mod failures;
#[cfg(feature = "failpoints")]
pub mod fuzzing;
pub mod gateways;
mod observe;
pub mod payload;
pub mod runtime;
mod schemas;
pub mod sources;
pub mod topics;
pub mod workflows;

pub use forebay_metrics as metrics;
pub use forebay_store as store;
