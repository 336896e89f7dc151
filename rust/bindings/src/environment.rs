//! What a process that is an execution environment asks of the extension.

use pyo3::prelude::*;

/// Be killed when the runtime dies.
#[pyfunction]
pub(crate) fn end_with_parent(parent: u32) -> PyResult<()> {
    Ok(forebay_engine::environments::end_with_parent(parent)?)
}
