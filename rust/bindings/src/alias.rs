//! An alias, checked where it is written and not first when the engine sees it.

use std::collections::BTreeMap;

use forebay_core::alias::{check_name, Alias};
use pyo3::prelude::*;

use crate::errors::invalid;

/// Refuse an alias that there cannot be; give each of its versions and its share of what is provisioned.
#[pyfunction]
#[allow(clippy::needless_pass_by_value, reason = "what crosses is made anew, so it is handed over")]
pub(crate) fn check_alias(
    name: &str,
    version: &str,
    weights: BTreeMap<String, f64>,
    provisioned: u32,
) -> PyResult<Vec<(String, u32)>> {
    check_name(name).map_err(invalid)?;
    let alias = Alias::new(version, weights.iter().map(|(version, weight)| (version.as_str(), *weight)));
    let shares = alias.and_then(|alias| alias.share(provisioned)).map_err(invalid)?;
    Ok(shares.into_iter().map(|(version, share)| (version.to_string(), share)).collect())
}
