//! JSON text to Python objects, by orjson: the one parser that handlers' data goes through.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyBytes;

static LOADS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// `orjson.loads`
pub(crate) fn loads<'py>(py: Python<'py>, text: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    let loads = LOADS.get_or_try_init(py, || PyResult::Ok(py.import("orjson")?.getattr("loads")?.unbind()))?;
    loads.bind(py).call1((PyBytes::new(py, text),))
}
