//! A mapping's filters, checked where they are written and not first when the engine sees them.

use forebay_core::filter::{Filter, FilterError, Filters, Source, KINESIS, SQS};
use pyo3::prelude::*;

use crate::errors::invalid;

/// Refuse filter patterns, each a JSON text, that no mapping on a stream can have.
#[pyfunction]
#[allow(clippy::needless_pass_by_value, reason = "what crosses is made anew, so it is handed over")]
pub(crate) fn check_filters(patterns: Vec<String>) -> PyResult<()> {
    check(KINESIS, &patterns)
}

/// Refuse filter patterns, each a JSON text, that no mapping on a queue can have.
#[pyfunction]
#[allow(clippy::needless_pass_by_value, reason = "what crosses is made anew, so it is handed over")]
pub(crate) fn check_queue_filters(patterns: Vec<String>) -> PyResult<()> {
    check(SQS, &patterns)
}

fn check(source: Source, patterns: &[String]) -> PyResult<()> {
    let filters: Result<Vec<Filter>, FilterError> = patterns.iter().map(|text| Filter::parse(text)).collect();
    Filters::new(source, filters.map_err(invalid)?).map(drop).map_err(invalid)
}
