//! Engine errors become exceptions here and nowhere else.

use forebay_engine::base::error::EngineError;
use forebay_engine::store::port::StoreError;
use pyo3::prelude::*;

/// The exception that an engine error is in Python.
pub(crate) fn exception(py: Python<'_>, error: &EngineError) -> PyErr {
    build(py, error).map_or_else(|failed| failed, PyErr::from_value)
}

/// A refused argument: the text names the option, the value and the allowed range.
#[allow(clippy::needless_pass_by_value, reason = "`map_err(invalid)` hands it over by value")]
pub(crate) fn invalid(reason: impl ToString) -> PyErr {
    Python::attach(|py| exception(py, &EngineError::Invalid(reason.to_string())))
}

fn build<'py>(py: Python<'py>, error: &EngineError) -> PyResult<Bound<'py, PyAny>> {
    let errors = py.import("forebay.errors")?;
    let text = error.to_string();
    let name = match error {
        EngineError::Invalid(_) => "InvalidParameterValue",
        EngineError::TooLarge(_) => "RequestTooLarge",
        EngineError::NotFound(_) => "ResourceNotFound",
        EngineError::Conflict(_) => "ResourceConflict",
        EngineError::Closed(_) => "AppClosed",
        EngineError::Function { payload, version, .. } => {
            let payload = crate::json::loads(py, payload.as_bytes())?;
            return errors.getattr("FunctionError")?.call1((text, payload, version));
        }
        EngineError::TooMany { reason, retry_after_ms, .. } => {
            let seconds = *retry_after_ms as f64 / 1e3;
            return errors.getattr("TooManyRequests")?.call1((text, reason, seconds));
        }
        EngineError::OwnerLost(_) => "OwnerLost",
        EngineError::OwnerLeft(_) => "OwnerLeft",
        EngineError::Store(store) => match store {
            StoreError::Full(_) => "StoreFull",
            StoreError::Corrupt(_) => "StoreCorrupt",
            StoreError::NewerFormat { .. } => "StoreNewerFormat",
            StoreError::Locked(_) => "StoreLocked",
            StoreError::Refused(_) => "InvalidParameterValue",
            StoreError::Lost(_) => "OwnerLeft",
            _ => "StoreFailed",
        },
    };
    errors.getattr(name)?.call1((text,))
}
