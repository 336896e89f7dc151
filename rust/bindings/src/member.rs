//! `Member`: this process among those that share a store on a server; and what an operator does to such stores.

use std::sync::Arc;

use forebay_doors::member::Member as Joined;
use forebay_doors::migrate;
use forebay_doors::on_server as server;
use forebay_doors::open::join;
use forebay_engine::store::migrate::Copied;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::engine::{parse, Engine};
use crate::errors::exception;

/// One process among those that share a store, until it leaves.
#[pyclass(frozen, module = "forebay._core")]
pub(crate) struct Member(Arc<Joined>);

impl Member {
    pub(crate) fn share(&self) -> Arc<Joined> {
        self.0.clone()
    }
}

#[pymethods]
impl Member {
    #[new]
    fn new(py: Python<'_>, settings: &[u8]) -> PyResult<Self> {
        let settings = parse(py, settings)?;
        py.detach(|| join(settings)).map(Self).map_err(|error| exception(py, &error))
    }

    fn stopped(&self, py: Python<'_>) {
        py.detach(|| self.0.stopped());
    }

    fn decline(&self, py: Python<'_>) {
        py.detach(|| self.0.decline());
    }

    fn has_stopped(&self, py: Python<'_>, engine: &Engine) {
        if let Some((owner, stopped)) = engine.stopped() {
            py.detach(|| self.0.has_stopped(&owner, stopped));
        }
    }

    fn accept(&self, py: Python<'_>) {
        py.detach(|| self.0.accept());
    }

    #[getter]
    fn hands_over(&self) -> bool {
        self.0.hands_over()
    }

    fn leave(&self, py: Python<'_>) {
        py.detach(|| self.0.leave());
    }
}

/// Look at a store on a server without sharing it: what the server promises, who owns the store, which processes share it. JSON.
#[pyfunction]
#[pyo3(signature = (url, app = None))]
pub(crate) fn look_at_server<'py>(py: Python<'py>, url: &str, app: Option<&str>) -> PyResult<Bound<'py, PyBytes>> {
    let seen = py.detach(|| server::look(url, app)).map_err(|error| exception(py, &error))?;
    Ok(PyBytes::new(py, seen.to_string().as_bytes()))
}

/// Have the process with this name own a store on a server. False: no such process shares the store, or it is drained.
#[pyfunction]
pub(crate) fn move_on_server(py: Python<'_>, url: &str, member: &str) -> PyResult<bool> {
    py.detach(|| server::want(url, member)).map_err(|error| exception(py, &error))
}

/// Have the process with this name own nothing, or let it own the store again. False: no such process shares the store.
#[pyfunction]
pub(crate) fn drain_on_server(py: Python<'_>, url: &str, member: &str, drained: bool) -> PyResult<bool> {
    py.detach(|| server::drain(url, member, drained)).map_err(|error| exception(py, &error))
}

/// Let an app open a store again that a migration has copied to another one; gives where that is. `None`: no migration has.
#[pyfunction]
#[pyo3(signature = (store, app))]
pub(crate) fn unmark_store(py: Python<'_>, store: &str, app: Option<&str>) -> PyResult<Option<String>> {
    py.detach(|| migrate::unmark(store, app)).map_err(|error| exception(py, &error))
}

/// The app, the records and the rows that were copied now, and those of earlier runs.
type Migrated = (String, u64, u64, u64, u64);

/// Copy a store from a directory to a server or back; gives the app whose it is, how many records and rows were copied this time, and
/// how many a copy that was stopped had left. `progress` is called with the sums; an exception of it, or of a signal's
/// handler, stops the copy, which can be continued.
#[pyfunction]
#[pyo3(signature = (source, target, app, progress))]
#[allow(clippy::needless_pass_by_value, reason = "what crosses is made anew, so it is handed over")]
pub(crate) fn migrate_store(
    py: Python<'_>,
    source: &str,
    target: &str,
    app: Option<&str>,
    progress: Py<PyAny>,
) -> PyResult<Option<Migrated>> {
    let mut ended = None;
    let mut goes_on = |copied: Copied| {
        Python::attach(|py| {
            let told = py.check_signals().and_then(|()| {
                progress.call1(py, (copied.records + copied.earlier_records, copied.rows + copied.earlier_rows))
            });
            told.map_err(|error| ended = Some(error)).is_ok()
        })
    };
    let copied = py.detach(|| migrate::run(source, target, app, &mut goes_on));
    if let Some(error) = ended {
        return Err(error);
    }
    let copied = copied.map_err(|error| exception(py, &error))?;
    Ok(copied.map(|(app, copied)| (app, copied.records, copied.rows, copied.earlier_records, copied.earlier_rows)))
}
