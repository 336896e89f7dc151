//! Schedules, checked where they are written, and when they are due.

use forebay_core::schedule::{find_zone, zones, Bounds, Dialect, Expression, Schedule};
use pyo3::prelude::*;

use crate::errors::invalid;

/// See the stub.
#[pyfunction]
#[pyo3(signature = (expression, *, rule, count, after_ms, zone = "UTC", enabled_ms = None, start_ms = None, end_ms = None))]
#[allow(clippy::too_many_arguments, reason = "a schedule has as many options on AWS")]
pub(crate) fn upcoming(
    expression: &str,
    rule: bool,
    count: usize,
    after_ms: u64,
    zone: &str,
    enabled_ms: Option<u64>,
    start_ms: Option<u64>,
    end_ms: Option<u64>,
) -> PyResult<Vec<u64>> {
    let dialect = if rule { Dialect::Rule } else { Dialect::Scheduler };
    let expression = Expression::parse(dialect, expression).map_err(invalid)?;
    let zone = find_zone(zones(), zone).map_err(invalid)?;
    let bounds = Bounds { zone, enabled_ms: enabled_ms.unwrap_or(after_ms), start_ms, end_ms };
    Ok(Schedule::new(expression, bounds).map_err(invalid)?.upcoming(after_ms, count))
}
