//! What a process that is an execution environment asks of the extension.

use forebay_engine::metrics::query::catalogue;
use pyo3::prelude::*;

/// Be killed when the runtime dies.
#[pyfunction]
pub(crate) fn end_with_parent(parent: u32) -> PyResult<()> {
    Ok(forebay_engine::environments::end_with_parent(parent)?)
}

/// Every metric there is, as JSON: what `metrics.list` gives, without the number of series.
#[pyfunction]
pub(crate) fn metrics_catalogue() -> Vec<u8> {
    catalogue().to_string().into_bytes()
}
