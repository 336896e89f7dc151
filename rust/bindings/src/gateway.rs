//! APIs, checked where they are declared.

use forebay_core::gateway::api::{Api, Definition};
use forebay_core::gateway::openapi;
use forebay_doors::aws::services::SERVICES;
use forebay_engine::base::error::EngineError;
use pyo3::prelude::*;
use pyo3::types::{IntoPyDict as _, PyDict};

use crate::errors::exception;

/// Refuse the definition of an API, JSON, that cannot be served; give the API's id.
#[pyfunction]
pub(crate) fn check_api(py: Python<'_>, app: &str, definition: &[u8]) -> PyResult<String> {
    let read: Result<Definition, _> = serde_json::from_slice(definition).map_err(|error| error.to_string());
    let api = read.and_then(|definition| Api::compile(app, definition));
    api.map(|api| api.id).map_err(|text| exception(py, &EngineError::Invalid(text)))
}

/// Read an `OpenAPI` document as what an HTTP API is declared with, JSON.
#[pyfunction]
pub(crate) fn read_openapi(py: Python<'_>, document: &str) -> PyResult<String> {
    let imported = openapi::import(document);
    let written = imported.and_then(|imported| serde_json::to_string(&imported).map_err(|error| error.to_string()));
    written.map_err(|text| exception(py, &EngineError::Invalid(text)))
}

/// The services of AWS's wire API by the names that they sign for, and whether a method of an API reaches them.
pub(crate) fn wire_services(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    SERVICES.iter().map(|service| (service.name, service.is_for_methods)).into_py_dict(py)
}
