//! Limits, as Python reads them; a function's reserved and provisioned concurrency, checked where it is written and not first when the
//! engine sees it.

use forebay_core::concurrency::{Account, Promises};
use forebay_engine::base::limits::{LIMITS, RATES};
use pyo3::prelude::*;
use pyo3::types::{IntoPyDict, PyDict};

use crate::errors::invalid;

/// Refuse promises, each a function's reserved and provisioned concurrency, that an account cannot keep.
#[pyfunction]
#[allow(clippy::needless_pass_by_value, reason = "what crosses is made anew, so it is handed over")]
pub(crate) fn check_limits(
    concurrency: u32,
    unreserved_minimum: u32,
    functions: Vec<(Option<u32>, u32)>,
) -> PyResult<()> {
    let mut promises = Promises::new(Account { concurrency, unreserved_minimum });
    functions.into_iter().try_for_each(|(reserved, provisioned)| {
        let function = promises.add();
        promises.set(function, reserved, u64::from(provisioned)).map_err(invalid)
    })
}

/// Whole numbers, by their names.
pub(crate) fn limits(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    LIMITS.into_py_dict(py)
}

/// Least and most of what may be given a second, by its name.
pub(crate) fn rates(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    RATES.iter().map(|(name, range)| (*name, (*range.start(), *range.end()))).into_py_dict(py)
}
