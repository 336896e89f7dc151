//! Filters and patterns, checked where they are written and not first when the engine sees them.

use forebay_core::pattern::bus::Rule;
use forebay_core::pattern::policy::Scope;
use forebay_core::pattern::{Filter, FilterError, Filters, Source, KINESIS, SQS};
use forebay_engine::topics::parse_policy;
use pyo3::prelude::*;

use crate::errors::exception;
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

/// Refuse a filter policy, a JSON text, that no subscription can have; `body`: it looks at the body and not at attributes.
#[pyfunction]
pub(crate) fn check_filter_policy(py: Python<'_>, policy: &str, body: bool) -> PyResult<()> {
    let scope = if body { Scope::Body } else { Scope::Attributes };
    parse_policy(policy, scope).map(drop).map_err(|error| exception(py, &error))
}

/// Refuse the settings of a bus's rule, JSON, that no rule can have.
#[pyfunction]
pub(crate) fn check_event_rule(py: Python<'_>, settings: &[u8]) -> PyResult<()> {
    forebay_engine::buses::check_rule(settings).map_err(|error| exception(py, &error))
}

/// A field that fails: its path, the conditions, the event's values, and what is wrong, in words.
type Failing = (String, String, String, String);

/// See the stub.
#[pyfunction]
pub(crate) fn test_event_pattern(pattern: &str, event: &str) -> PyResult<(bool, Vec<Failing>)> {
    let rule = Rule::parse(pattern).map_err(|error| invalid(format!("{}\n at {}", error.summary(), error.place())))?;
    let report = rule.report(event).map_err(|error| invalid(format!("{error} Reason: {}", error.reason)))?;
    let failing = report.failures.into_iter().map(|one| (one.path, one.condition, one.value, one.reason));
    Ok((report.matches, failing.collect()))
}

fn check(source: Source, patterns: &[String]) -> PyResult<()> {
    let filters: Result<Vec<Filter>, FilterError> = patterns.iter().map(|text| Filter::parse(text)).collect();
    Filters::new(source, filters.map_err(invalid)?).map(drop).map_err(invalid)
}
