//! `Message`: a view of a queue's message that stays in Rust until it is touched, and Lambda's event dict for a batch of them.

use std::sync::Arc;

use base64::engine::general_purpose::STANDARD;
use base64::Engine as _;
use forebay_core::queue::protocol::Delivery;
use forebay_engine::base::ids::uuid_text;
use forebay_engine::payload::message::{is_binary, parse_receipt, receipt_text, sequence_number, Attribute};
use forebay_engine::payload::messages::{received, Item, Messages, QueueSource, Received};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyInt, PyList, PyString};
use pyo3::{intern, IntoPyObjectExt};
use serde::Deserialize;

use crate::errors::invalid;

/// One message of a queue.
#[pyclass(frozen, module = "forebay")]
pub struct Message {
    item: Item,
    source: Arc<QueueSource>,
}

impl Message {
    pub(crate) fn new(item: Item, source: Arc<QueueSource>) -> Self {
        Self { item, source }
    }

    pub(crate) fn number(&self) -> u64 {
        self.item.delivery.handle.number
    }

    pub(crate) fn is_of(&self, source: &Arc<QueueSource>) -> bool {
        Arc::ptr_eq(&self.source, source)
    }
}

/// A trace context as OpenTelemetry's propagators read it.
pub(crate) fn carrier<'py>(py: Python<'py>, trace: &str) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    let (parent, state) = trace.split_once('\n').unwrap_or((trace, ""));
    dict.set_item(intern!(py, "traceparent"), parent)?;
    if !state.is_empty() {
        dict.set_item(intern!(py, "tracestate"), state)?;
    }
    Ok(dict)
}

fn present(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

#[pymethods]
impl Message {
    /// What it says.
    #[getter]
    fn body<'py>(&self, py: Python<'py>) -> Bound<'py, PyString> {
        PyString::new(py, self.item.message().body)
    }

    /// The body as JSON.
    fn json<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        crate::json::loads(py, self.item.message().body.as_bytes())
    }

    /// A UUID, the same over all receives and moves.
    #[getter]
    pub(crate) fn message_id(&self) -> String {
        uuid_text(self.item.message().id)
    }

    /// Names this receive, for `delete` and `change_visibility`.
    #[getter]
    fn receipt_handle(&self) -> String {
        receipt_text(self.source.log, self.item.delivery.handle)
    }

    /// Message group; None in a standard queue.
    #[getter]
    fn group_id(&self) -> Option<&str> {
        present(self.item.message().group)
    }

    /// Deduplication id; None in a standard queue.
    #[getter]
    fn deduplication_id(&self) -> Option<&str> {
        present(self.item.message().deduplication_id)
    }

    /// 20 digits that grow from message to message; None in a standard queue.
    #[getter]
    fn sequence_number(&self) -> Option<String> {
        self.source.is_fifo.then(|| sequence_number(self.number()).to_string())
    }

    /// Times it was received, this one included.
    #[getter]
    fn receive_count(&self) -> u32 {
        self.item.delivery.receive_count
    }

    /// Seconds since 1970.
    #[getter]
    fn sent_timestamp(&self) -> f64 {
        self.item.message().sent_ms as f64 / 1e3
    }

    /// The queue whose dead letter it is; None if it is none.
    #[getter]
    fn dead_letter_source(&self) -> Option<&str> {
        present(self.item.message().source)
    }

    /// The trace context it was sent with, as a carrier of W3C's headers.
    #[getter]
    fn trace_context<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        self.item.trace().map(|trace| carrier(py, trace)).transpose()
    }

    /// Message attributes by name: text, numbers and bytes.
    #[getter]
    fn attributes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let dict = PyDict::new(py);
        for (name, kind, value) in self.item.message().attributes() {
            if is_binary(kind) {
                dict.set_item(name, PyBytes::new(py, value))?;
                continue;
            }
            let text = String::from_utf8_lossy(value);
            match kind.split('.').next() {
                Some("Number") => dict.set_item(name, number(py, &text)?)?,
                _ => dict.set_item(name, text)?,
            }
        }
        Ok(dict)
    }

    fn __repr__(&self) -> String {
        let message = self.item.message();
        format!("<Message {} of {} {} bytes>", uuid_text(message.id), self.source.name, message.body.len())
    }
}

/// An attribute's number: a whole one with all its digits, if Python reads so many.
fn number<'py>(py: Python<'py>, text: &str) -> PyResult<Bound<'py, PyAny>> {
    if let Ok(small) = text.parse::<i64>() {
        return small.into_bound_py_any(py);
    }
    let is_whole = text.trim_start_matches('-').bytes().all(|byte| byte.is_ascii_digit());
    let whole = if is_whole { py.get_type::<PyInt>().call1((text,)).ok() } else { None };
    whole.map_or_else(|| text.parse::<f64>().ok().into_bound_py_any(py), Ok)
}

/// The event of a batch: <https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html>
pub(crate) fn sqs_event<'py>(py: Python<'py>, messages: &Messages) -> PyResult<Bound<'py, PyDict>> {
    let source = &messages.source;
    let arn = PyString::new(py, &source.arn);
    let region = PyString::new(py, &source.region);
    let list = PyList::empty(py);
    for item in messages.items.iter() {
        let message = item.message();
        let record = PyDict::new(py);
        record.set_item(intern!(py, "messageId"), uuid_text(message.id))?;
        record.set_item(intern!(py, "receiptHandle"), receipt_text(source.log, item.delivery.handle))?;
        record.set_item(intern!(py, "body"), message.body)?;
        record.set_item(intern!(py, "attributes"), system_attributes(py, item, source)?)?;
        record.set_item(intern!(py, "messageAttributes"), message_attributes(py, item)?)?;
        if let Some(sum) = message.md5_of_attributes() {
            record.set_item(intern!(py, "md5OfMessageAttributes"), sum)?;
        }
        record.set_item(intern!(py, "md5OfBody"), message.md5_of_body())?;
        record.set_item(intern!(py, "eventSource"), intern!(py, "aws:sqs"))?;
        record.set_item(intern!(py, "eventSourceARN"), &arn)?;
        record.set_item(intern!(py, "awsRegion"), &region)?;
        list.append(record)?;
    }
    let event = PyDict::new(py);
    event.set_item(intern!(py, "Records"), list)?;
    Ok(event)
}

fn system_attributes<'py>(py: Python<'py>, item: &Item, source: &QueueSource) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for (name, value) in item.system_attributes(source) {
        dict.set_item(PyString::intern(py, name), value)?;
    }
    Ok(dict)
}

fn message_attributes<'py>(py: Python<'py>, item: &Item) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for (name, kind, value) in item.message().attributes() {
        let one = PyDict::new(py);
        if is_binary(kind) {
            one.set_item(intern!(py, "binaryValue"), STANDARD.encode(value))?;
        } else {
            one.set_item(intern!(py, "stringValue"), String::from_utf8_lossy(value))?;
        }
        one.set_item(intern!(py, "stringListValues"), PyList::empty(py))?;
        one.set_item(intern!(py, "binaryListValues"), PyList::empty(py))?;
        one.set_item(intern!(py, "dataType"), kind)?;
        dict.set_item(name, one)?;
    }
    Ok(dict)
}

/// A record of the event, as `queue.receive` answers it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answered {
    message_id: String,
    receipt_handle: String,
    body: String,
    attributes: std::collections::BTreeMap<String, String>,
    message_attributes: std::collections::BTreeMap<String, AnsweredAttribute>,
    #[serde(rename = "eventSourceARN")]
    arn: String,
    aws_region: String,
    #[serde(default)]
    trace_context: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AnsweredAttribute {
    data_type: String,
    #[serde(default)]
    string_value: Option<String>,
    #[serde(default)]
    binary_value: Option<String>,
}

/// Messages out of the answer to a receive.
#[pyfunction]
pub(crate) fn messages(answer: &[u8]) -> PyResult<Vec<Message>> {
    let list: Vec<Answered> = serde_json::from_slice(answer).map_err(invalid)?;
    list.iter().map(|answered| item(answered).map(|(item, source)| Message::new(item, Arc::new(source)))).collect()
}

#[derive(Deserialize)]
struct Event {
    #[serde(rename = "Records")]
    records: Vec<Answered>,
}

/// The messages of an event, all of them of the same queue.
pub(crate) fn of_event(event: &[u8]) -> PyResult<Messages> {
    let event: Event = serde_json::from_slice(event).map_err(invalid)?;
    let (items, mut sources): (Vec<Item>, Vec<QueueSource>) =
        event.records.iter().map(item).collect::<PyResult<Vec<_>>>()?.into_iter().unzip();
    let source = sources.pop().ok_or_else(|| invalid("an event without messages"))?;
    Ok(Messages { source: Arc::new(source), items: items.into() })
}

fn item(answered: &Answered) -> PyResult<(Item, QueueSource)> {
    let text = |name: &str| answered.attributes.get(name).map_or("", String::as_str);
    let number = |name: &str| text(name).parse::<u64>().unwrap_or(0);
    let (log, handle) =
        parse_receipt(&answered.receipt_handle).ok_or_else(|| invalid("receiptHandle cannot be read"))?;
    let id = u128::from_str_radix(&answered.message_id.replace('-', ""), 16).map_err(invalid)?;
    let attributes: Vec<Attribute> = answered
        .message_attributes
        .iter()
        .map(|(name, given)| Attribute {
            name: name.clone(),
            data_type: given.data_type.clone(),
            value: given.string_value.clone().or_else(|| given.binary_value.clone()).unwrap_or_default(),
        })
        .collect();
    let name_of = |arn: &str| arn.rsplit(':').next().unwrap_or_default().to_owned();
    let source = QueueSource {
        name: name_of(&answered.arn),
        arn: answered.arn.clone(),
        region: answered.aws_region.clone(),
        account: text("SenderId").to_owned(),
        log,
        is_fifo: answered.attributes.contains_key("SequenceNumber"),
    };
    let delivery = Delivery {
        handle,
        receive_count: number("ApproximateReceiveCount") as u32,
        first_received_ms: number("ApproximateFirstReceiveTimestamp"),
        alone: false,
    };
    let item = received(
        delivery,
        &Received {
            id,
            group: text("MessageGroupId"),
            deduplication_id: text("MessageDeduplicationId"),
            sent_ms: number("SentTimestamp"),
            source: &name_of(text("DeadLetterQueueSourceArn")),
            attributes: &attributes,
            body: &answered.body,
            trace: answered.trace_context.as_deref(),
        },
    );
    Ok((item, source))
}
