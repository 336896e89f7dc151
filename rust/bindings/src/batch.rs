//! `Batch` and `Record`: views of records and messages that stay in Rust until they are touched.

use std::sync::{Arc, Mutex, PoisonError};

use forebay_core::sequence;
use forebay_core::stream::protocol::Window;
use forebay_engine::base::ids::uuid_text;
use forebay_engine::environments::frame::decode_batch;
use forebay_engine::payload::messages::Messages;
use forebay_engine::payload::records::{Records, Source};
use forebay_engine::store::chunk::Chunk;
use pyo3::exceptions::{PyIndexError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::messages::carrier;
use crate::messages::Message;

/// A batch, undecoded: a lazy sequence of a stream's records, `Batch[Record]`, or of a queue's messages, `Batch[Message]`.
#[pyclass(frozen, generic, module = "forebay")]
pub struct Batch {
    content: Content,
    window: Option<Window>,
    failed: Mutex<Vec<u64>>,
}

enum Content {
    Records(Records),
    Messages(Messages),
}

impl Content {
    fn len(&self) -> usize {
        match self {
            Self::Records(records) => records.positions.len(),
            Self::Messages(messages) => messages.items.len(),
        }
    }

    fn records(&self) -> Option<&Records> {
        match self {
            Self::Records(records) => Some(records),
            Self::Messages(_) => None,
        }
    }
}

impl Batch {
    pub(crate) fn new(records: Records, window: Option<Window>) -> Self {
        Self { content: Content::Records(records), window, failed: Mutex::new(Vec::new()) }
    }

    pub(crate) fn of_messages(messages: Messages) -> Self {
        Self { content: Content::Messages(messages), window: None, failed: Mutex::new(Vec::new()) }
    }

    /// An item, and the chunk where it was found.
    fn at<'py>(&self, py: Python<'py>, index: usize, hint: usize) -> PyResult<(Bound<'py, PyAny>, usize)> {
        match &self.content {
            Content::Records(records) => {
                let position = records.positions[index];
                let chunk = records.chunk_of(position, hint);
                let record = Record { chunk: records.chunks[chunk].clone(), position, source: records.source.clone() };
                Ok((Bound::new(py, record)?.into_any(), chunk))
            }
            Content::Messages(messages) => {
                let message = Message::new(messages.items[index].clone(), messages.source.clone());
                Ok((Bound::new(py, message)?.into_any(), 0))
            }
        }
    }

    fn report(&self, number: u64) {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        if !failed.contains(&number) {
            failed.push(number);
        }
    }
}

#[pymethods]
impl Batch {
    /// What the engine sent to another process.
    #[staticmethod]
    fn _decode(encoded: &[u8]) -> PyResult<Self> {
        let (records, window) =
            decode_batch(encoded).ok_or_else(|| PyValueError::new_err("these bytes are not a batch"))?;
        Ok(Self::new(records, window))
    }

    /// The event of a queue's batch, JSON, as the engine sent it to another process.
    #[staticmethod]
    fn _of_event(event: &[u8]) -> PyResult<Self> {
        Ok(Self::of_messages(crate::messages::of_event(event)?))
    }

    fn __len__(&self) -> usize {
        self.content.len()
    }

    fn __getitem__<'py>(&self, py: Python<'py>, index: isize) -> PyResult<Bound<'py, PyAny>> {
        let length = self.content.len() as isize;
        let at = if index < 0 { index + length } else { index };
        if !(0..length).contains(&at) {
            return Err(PyIndexError::new_err(format!("a batch of {length} has no item {index}")));
        }
        Ok(self.at(py, at as usize, 0)?.0)
    }

    fn __iter__(slf: Py<Self>) -> BatchIterator {
        BatchIterator { batch: slf, next: Mutex::new((0, 0)) }
    }

    fn __repr__(&self) -> String {
        match &self.content {
            Content::Records(records) => {
                let source = &records.source;
                format!("<Batch of {} records of {} {}>", records.positions.len(), source.stream, source.shard_id)
            }
            Content::Messages(messages) => {
                format!("<Batch of {} messages of {}>", messages.items.len(), messages.source.name)
            }
        }
    }

    /// Report one record or message as failed.
    fn fail(&self, item: &Bound<'_, PyAny>) -> PyResult<()> {
        let (number, name, ours) = match &self.content {
            Content::Records(records) => {
                let record = item.cast::<Record>()?.get();
                let ours = Arc::ptr_eq(&record.source, &records.source)
                    && records.positions.binary_search(&record.position).is_ok();
                (record.position, record.sequence_number(), ours)
            }
            Content::Messages(messages) => {
                let message = item.cast::<Message>()?.get();
                let number = message.number();
                let ours = message.is_of(&messages.source)
                    && messages.items.iter().any(|item| item.delivery.handle.number == number);
                (number, message.message_id(), ours)
            }
        };
        if !ours {
            return Err(PyValueError::new_err(format!("{name} is not in this batch")));
        }
        self.report(number);
        Ok(())
    }

    /// What was reported as failed: sequence numbers of records, ids of messages.
    #[getter]
    fn failures(&self) -> Vec<String> {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        match &self.content {
            Content::Records(records) => {
                let index = records.source.shard_index;
                failed.iter().map(|&position| sequence::number(index, position).to_string()).collect()
            }
            Content::Messages(messages) => {
                let ours = messages.items.iter().filter(|item| failed.contains(&item.delivery.handle.number));
                ours.map(|item| uuid_text(item.message().id)).collect()
            }
        }
    }

    /// The stream; None for messages of a queue.
    #[getter]
    fn stream(&self) -> Option<&str> {
        self.content.records().map(|records| records.source.stream.as_str())
    }

    /// The shard; None for messages of a queue.
    #[getter]
    fn shard_id(&self) -> Option<&str> {
        self.content.records().map(|records| records.source.shard_id.as_str())
    }

    /// The queue; None for records of a stream.
    #[getter]
    fn queue(&self) -> Option<&str> {
        match &self.content {
            Content::Records(_) => None,
            Content::Messages(messages) => Some(&messages.source.name),
        }
    }

    /// ARN of the stream or queue.
    #[getter]
    fn source_arn(&self) -> &str {
        match &self.content {
            Content::Records(records) => &records.source.stream_arn,
            Content::Messages(messages) => &messages.source.arn,
        }
    }

    /// The tumbling window (`start`, `end`, `is_final`, `is_terminated_early`), `None` without one.
    #[getter]
    fn window<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        let Some(window) = &self.window else { return Ok(None) };
        let dict = PyDict::new(py);
        dict.set_item("start", window.start_ms as f64 / 1e3)?;
        dict.set_item("end", window.end_ms as f64 / 1e3)?;
        dict.set_item("is_final", window.is_final)?;
        dict.set_item("is_terminated_early", window.is_terminated_early)?;
        Ok(Some(dict))
    }

    /// The tumbling window's state, `None` without a window.
    #[getter]
    fn state<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.window.as_ref().map(|window| crate::json::loads(py, window.state.as_bytes())).transpose()
    }
}

/// Walks over a batch once.
#[pyclass(frozen, module = "forebay")]
pub struct BatchIterator {
    batch: Py<Batch>,
    /// Next record, and the chunk where the last one was found.
    next: Mutex<(usize, usize)>,
}

#[pymethods]
impl BatchIterator {
    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let batch = self.batch.get();
        if next.0 >= batch.content.len() {
            return Ok(None);
        }
        let (item, chunk) = batch.at(py, next.0, next.1)?;
        *next = (next.0 + 1, chunk);
        Ok(Some(item))
    }
}

/// One record of a stream.
#[pyclass(frozen, module = "forebay")]
pub struct Record {
    chunk: Arc<Chunk>,
    position: u64,
    source: Arc<Source>,
}

#[pymethods]
impl Record {
    /// Payload.
    #[getter]
    fn data<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.chunk.record(self.position).data)
    }

    #[getter]
    fn partition_key(&self) -> &str {
        self.chunk.record(self.position).key
    }

    #[getter]
    fn sequence_number(&self) -> String {
        sequence::number(self.source.shard_index, self.position).to_string()
    }

    /// Seconds since 1970.
    #[getter]
    fn approximate_arrival_timestamp(&self) -> f64 {
        self.chunk.record(self.position).arrival_ms as f64 / 1e3
    }

    /// The trace context it was put with, as a carrier of W3C's headers.
    #[getter]
    fn trace_context<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        self.chunk.record(self.position).trace.map(|trace| carrier(py, trace)).transpose()
    }

    /// The payload as JSON.
    fn json<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        crate::json::loads(py, self.chunk.record(self.position).data)
    }

    fn __repr__(&self) -> String {
        let record = self.chunk.record(self.position);
        format!("<Record {} key={:?} {} bytes>", self.sequence_number(), record.key, record.data.len())
    }
}
