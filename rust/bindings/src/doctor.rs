//! What is done to an embedded store beside its owner: the doctor's report, a copy of what is whole, a backup.

use std::ops::ControlFlow;
use std::path::PathBuf;

use forebay_engine::base::error::EngineError;
use forebay_engine::environments::memory_would_be_kept_by;
use forebay_engine::store::port::StoreError;
use forebay_engine::store::sqlite::backup::backup;
use forebay_salvage as doctor;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::errors::exception;

/// Check every byte of the store in a directory; the report is JSON. It tells, too, who would keep the memory limits of processes here.
#[pyfunction]
#[allow(clippy::needless_pass_by_value, reason = "what crosses is made anew, so it is handed over")]
pub(crate) fn examine_store(py: Python<'_>, store: PathBuf) -> PyResult<Bound<'_, PyBytes>> {
    let memory_limits = memory_would_be_kept_by();
    told(py, py.detach(|| doctor::examine(&store)).map(|report| Examined { report, memory_limits }))
}

/// Copy what is whole into a new store; what became of it is JSON.
#[pyfunction]
#[allow(clippy::needless_pass_by_value, reason = "what crosses is made anew, so it is handed over")]
pub(crate) fn salvage_store(py: Python<'_>, store: PathBuf, into: PathBuf) -> PyResult<Bound<'_, PyBytes>> {
    told(py, py.detach(|| doctor::salvage(&store, &into)))
}

/// Copy a store as it is at one moment, also while its owner runs; what was copied is JSON. `progress` is called with the bytes that are
/// copied and all bytes; an exception of it, or of a signal's handler, ends the copy.
#[pyfunction]
#[allow(clippy::needless_pass_by_value, reason = "what crosses is made anew, so it is handed over")]
pub(crate) fn backup_store(
    py: Python<'_>,
    store: PathBuf,
    into: PathBuf,
    progress: Py<PyAny>,
) -> PyResult<Bound<'_, PyBytes>> {
    let mut ended = None;
    let tell = |copied: u64, all: u64| {
        Python::attach(|py| match py.check_signals().and_then(|()| progress.call1(py, (copied, all))) {
            Ok(_) => ControlFlow::Continue(()),
            Err(error) => {
                ended = Some(error);
                ControlFlow::Break(())
            }
        })
    };
    let copied = py.detach(|| backup(&store, &into, tell));
    ended.map_or_else(|| told(py, copied), Err)
}

/// What was found in a store, and what an operator should know of this machine beside it.
#[derive(serde::Serialize)]
struct Examined {
    #[serde(flatten)]
    report: doctor::Report,
    memory_limits: serde_json::Value,
}

fn told<T: serde::Serialize>(py: Python<'_>, result: Result<T, StoreError>) -> PyResult<Bound<'_, PyBytes>> {
    let report = result.map_err(|error| exception(py, &EngineError::Store(error)))?;
    let json = serde_json::to_vec(&report).map_err(|error| exception(py, &EngineError::Invalid(error.to_string())))?;
    Ok(PyBytes::new(py, &json))
}
