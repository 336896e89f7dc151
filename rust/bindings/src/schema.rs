//! Schemas of events: inferred, checked, compared and held against events.

use forebay_core::schema::{compare, envelope_of, render, Document, Format, Node};
use pyo3::prelude::*;

use crate::errors::invalid;

/// See the stub.
#[pyfunction]
#[allow(clippy::needless_pass_by_value, reason = "what crosses is made anew, so it is handed over")]
pub(crate) fn infer_schema(samples: Vec<String>, schema_format: &str) -> PyResult<String> {
    let format = known(schema_format)?;
    let Some(first) = samples.first() else { return Err(invalid("A schema is inferred from one sample or more.")) };
    let envelope = envelope_of(first);
    let mut node = Node::default();
    for (at, sample) in samples.iter().enumerate() {
        if envelope_of(sample) != envelope {
            return Err(invalid(format!("Sample {at} has another source or detail-type than the first.")));
        }
        node.merge(Node::infer(sample).map_err(|error| invalid(format!("Sample {at}: {error}")))?);
    }
    let envelope = envelope.as_ref().map(|(source, detail_type)| (source.as_str(), detail_type.as_str()));
    Ok(render(&node, envelope, format))
}

/// See the stub.
#[pyfunction]
pub(crate) fn check_schema(content: &str, schema_format: &str) -> PyResult<Vec<String>> {
    Ok(parse(content, schema_format)?.unchecked().to_vec())
}

/// See the stub.
#[pyfunction]
pub(crate) fn compare_schemas(
    old: &str,
    old_format: &str,
    new: &str,
    new_format: &str,
) -> PyResult<Vec<(String, bool)>> {
    let changes = compare(&parse(old, old_format)?, &parse(new, new_format)?);
    Ok(changes.into_iter().map(|change| (change.to_string(), change.breaks_readers)).collect())
}

/// See the stub.
#[pyfunction]
pub(crate) fn misfit(event: &str, content: &str, schema_format: &str) -> PyResult<Option<(String, String)>> {
    let misfit = parse(content, schema_format)?.check(event).err();
    Ok(misfit.map(|misfit| (misfit.place, misfit.reason)))
}

fn parse(content: &str, format: &str) -> PyResult<Document> {
    Document::parse(known(format)?, content).map_err(invalid)
}

fn known(format: &str) -> PyResult<Format> {
    let wrong = || invalid(format!("A schema is OpenApi3 or JSONSchemaDraft4; '{format}' was given."));
    Format::from_name(format).ok_or_else(wrong)
}
