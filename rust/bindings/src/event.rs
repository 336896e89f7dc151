//! Lambda's event dict for a stream batch, built without a detour over JSON text.

use base64::engine::general_purpose::STANDARD;
use base64::Engine as _;
use forebay_core::sequence;
use forebay_core::stream::protocol::Window;
use forebay_engine::base::time::iso_millis;
use forebay_engine::payload::records::Records;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString};
use pyo3::{intern, IntoPyObjectExt};

/// The event of a batch: <https://docs.aws.amazon.com/lambda/latest/dg/with-kinesis.html>
pub(crate) fn kinesis_event<'py>(
    py: Python<'py>,
    records: &Records,
    window: Option<&Window>,
) -> PyResult<Bound<'py, PyDict>> {
    let source = &records.source;
    let arn = PyString::new(py, &source.stream_arn);
    let region = PyString::new(py, &source.region);
    let role = PyString::new(py, &source.role_arn);
    let mut text = String::new();
    let list = PyList::empty(py);
    for (position, record) in records.iter() {
        let number = sequence::number(source.shard_index, position).to_string();
        let kinesis = PyDict::new(py);
        kinesis.set_item(intern!(py, "kinesisSchemaVersion"), intern!(py, "1.0"))?;
        kinesis.set_item(intern!(py, "partitionKey"), record.key)?;
        kinesis.set_item(intern!(py, "sequenceNumber"), &number)?;
        text.clear();
        STANDARD.encode_string(record.data, &mut text);
        kinesis.set_item(intern!(py, "data"), &text)?;
        kinesis.set_item(intern!(py, "approximateArrivalTimestamp"), record.arrival_ms as f64 / 1e3)?;
        text.clear();
        text.push_str(&source.shard_id);
        text.push(':');
        text.push_str(&number);
        let item = PyDict::new(py);
        item.set_item(intern!(py, "kinesis"), kinesis)?;
        item.set_item(intern!(py, "eventSource"), intern!(py, "aws:kinesis"))?;
        item.set_item(intern!(py, "eventVersion"), intern!(py, "1.0"))?;
        item.set_item(intern!(py, "eventID"), &text)?;
        item.set_item(intern!(py, "eventName"), intern!(py, "aws:kinesis:record"))?;
        item.set_item(intern!(py, "invokeIdentityArn"), &role)?;
        item.set_item(intern!(py, "awsRegion"), &region)?;
        item.set_item(intern!(py, "eventSourceARN"), &arn)?;
        list.append(item)?;
    }
    let event = PyDict::new(py);
    event.set_item(intern!(py, "Records"), list)?;
    if let Some(window) = window {
        let span = PyDict::new(py);
        span.set_item("start", iso_millis(window.start_ms))?;
        span.set_item("end", iso_millis(window.end_ms))?;
        event.set_item("window", span)?;
        event.set_item("state", crate::json::loads(py, window.state.as_bytes())?)?;
        event.set_item("shardId", &source.shard_id)?;
        event.set_item("eventSourceARN", &arn)?;
        event.set_item("isFinalInvokeForWindow", window.is_final.into_bound_py_any(py)?)?;
        event.set_item("isWindowTerminatedEarly", window.is_terminated_early.into_bound_py_any(py)?)?;
    }
    Ok(event)
}
