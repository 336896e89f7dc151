//! JSON between Python and its handlers: by orjson, and exact where orjson is not.

use std::borrow::Cow;

use forebay_engine::base::json::shortened;
use memchr::memmem;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple, PyType};

static ORJSON_LOADS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
static JSON_LOADS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
static DECIMAL: PyOnceLock<Py<PyType>> = PyOnceLock::new();
static ENUM: PyOnceLock<Py<PyType>> = PyOnceLock::new();

/// How deep a search for a number goes. What is deeper, or holds itself, has other mistakes than that number.
const DEPTH_MAX: usize = 1_000;
/// Most characters of a place.
const PLACE_MAX: usize = 120;

fn function<'py>(
    py: Python<'py>,
    cell: &'static PyOnceLock<Py<PyAny>>,
    module: &str,
    name: &str,
) -> PyResult<&'py Bound<'py, PyAny>> {
    cell.get_or_try_init(py, || PyResult::Ok(py.import(module)?.getattr(name)?.unbind())).map(|loads| loads.bind(py))
}

/// Text as it comes from the engine, read for a handler.
pub(crate) fn loads<'py>(py: Python<'py>, text: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    read(py, text, || PyBytes::new(py, text).into_any())
}

/// See the stub.
#[pyfunction(name = "loads")]
#[pyo3(signature = (text, /))]
pub(crate) fn loads_text<'py>(text: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let bytes = match text.cast::<PyString>() {
        Ok(string) => string.to_str().ok().map(str::as_bytes),
        Err(_) => text.cast::<PyBytes>().ok().map(PyBytesMethods::as_bytes),
    };
    // Half a surrogate pair, or no text at all: orjson has the words for it.
    read(text.py(), bytes.unwrap_or_default(), || text.clone())
}

fn read<'py>(py: Python<'py>, text: &[u8], whole: impl FnOnce() -> Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let loads = function(py, &ORJSON_LOADS, "orjson", "loads")?;
    match shortened(text) {
        Cow::Borrowed(_) => loads.call1((whole(),)),
        Cow::Owned(short) => {
            // orjson says whether it is JSON; the standard library, which is less strict, reads all digits.
            loads.call1((PyBytes::new(py, &short),))?;
            function(py, &JSON_LOADS, "json", "loads")?.call1((whole(),))
        }
    }
}

/// Why a search for a number ended.
enum Found {
    /// Which, and where, from the outside in.
    NonFinite(&'static str, String),
    TooDeep,
}

/// See the stub.
#[pyfunction]
#[pyo3(signature = (value, text=None, /))]
pub(crate) fn non_finite(value: &Bound<'_, PyAny>, text: Option<&[u8]>) -> Option<String> {
    if text.is_some_and(|text| memmem::find(text, b"null").is_none()) {
        return None;
    }
    match search(value, DEPTH_MAX) {
        Err(Found::NonFinite(number, place)) => {
            let place: String = place.chars().take(PLACE_MAX).collect();
            Some(format!("{number} at ${place}"))
        }
        Ok(()) | Err(Found::TooDeep) => None,
    }
}

fn search(value: &Bound<'_, PyAny>, deeper: usize) -> Result<(), Found> {
    // What there is most of comes first, and by its exact type, which is one comparison.
    if value.is_exact_instance_of::<PyString>() || value.is_exact_instance_of::<PyInt>() || value.is_none() {
        return Ok(());
    }
    if let Ok(number) = value.cast_exact::<PyFloat>() {
        return finite(number.value());
    }
    let deeper = deeper.checked_sub(1).ok_or(Found::TooDeep)?;
    if let Ok(fields) = value.cast::<PyDict>() {
        for (name, value) in fields {
            search(&value, deeper)
                .and_then(|()| search(&name, deeper))
                .map_err(|found| found.inside(|| step(&name)))?;
        }
    } else if let Ok(elements) = value.cast::<PyList>() {
        for (at, element) in elements.iter().enumerate() {
            search(&element, deeper).map_err(|found| found.inside(|| format!("[{at}]")))?;
        }
    } else if let Ok(elements) = value.cast::<PyTuple>() {
        for (at, element) in elements.iter().enumerate() {
            search(&element, deeper).map_err(|found| found.inside(|| format!("[{at}]")))?;
        }
    } else if let Ok(number) = value.cast::<PyFloat>() {
        return finite(number.value());
    } else if !value.is_instance_of::<PyBool>() {
        return search_other(value, deeper);
    }
    Ok(())
}

/// What becomes a number only when it is written.
fn search_other(value: &Bound<'_, PyAny>, deeper: usize) -> Result<(), Found> {
    let py = value.py();
    let is = |cell: &PyOnceLock<Py<PyType>>, module: &str, name: &str| {
        cell.import(py, module, name).and_then(|kind| value.is_instance(kind)).unwrap_or(false)
    };
    if is(&DECIMAL, "decimal", "Decimal") {
        return value.extract().map_or(Ok(()), finite);
    }
    if is(&ENUM, "enum", "Enum") {
        return value.getattr("_value_").map_or(Ok(()), |value| search(&value, deeper));
    }
    Ok(())
}

fn finite(number: f64) -> Result<(), Found> {
    let name = match number {
        _ if number.is_finite() => return Ok(()),
        _ if number.is_nan() => "NaN",
        _ if number > 0.0 => "Infinity",
        _ => "-Infinity",
    };
    Err(Found::NonFinite(name, String::new()))
}

impl Found {
    fn inside(self, step: impl FnOnce() -> String) -> Self {
        match self {
            Self::NonFinite(number, place) => Self::NonFinite(number, step() + &place),
            Self::TooDeep => Self::TooDeep,
        }
    }
}

/// One step of a place: a name as it stands, where it is a plain one.
fn step(name: &Bound<'_, PyAny>) -> String {
    match name.str().as_ref().map(|name| name.to_string_lossy()) {
        Ok(name) if !name.is_empty() && name.chars().all(|one| one.is_alphanumeric() || one == '_') => {
            format!(".{name}")
        }
        Ok(name) => format!("[{name:?}]"),
        Err(_) => "[?]".to_owned(),
    }
}
