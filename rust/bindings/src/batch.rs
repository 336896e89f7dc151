//! `Batch` and `Record`: views of records that stay in Rust until they are touched.

use std::sync::{Arc, Mutex, PoisonError};

use forebay_core::sequence;
use forebay_core::stream::face::Window;
use forebay_engine::chunk::Chunk;
use forebay_engine::pollers::{Records, Source};
use pyo3::exceptions::{PyIndexError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

/// A batch of stream records, undecoded: a lazy sequence of `Record`.
#[pyclass(frozen, module = "forebay")]
pub struct Batch {
    records: Records,
    window: Option<Window>,
    failed: Mutex<Vec<u64>>,
}

impl Batch {
    pub(crate) fn new(records: Records, window: Option<Window>) -> Self {
        Self { records, window, failed: Mutex::new(Vec::new()) }
    }

    fn at(&self, index: usize, hint: usize) -> (Record, usize) {
        let position = self.records.positions[index];
        let chunk = self.records.chunk_of(position, hint);
        let record =
            Record { chunk: self.records.chunks[chunk].clone(), position, source: self.records.source.clone() };
        (record, chunk)
    }
}

#[pymethods]
impl Batch {
    fn __len__(&self) -> usize {
        self.records.positions.len()
    }

    fn __getitem__(&self, index: isize) -> PyResult<Record> {
        let length = self.records.positions.len() as isize;
        let at = if index < 0 { index + length } else { index };
        if !(0..length).contains(&at) {
            return Err(PyIndexError::new_err(format!("a batch of {length} records has no record {index}")));
        }
        Ok(self.at(at as usize, 0).0)
    }

    fn __iter__(slf: Py<Self>) -> BatchIterator {
        BatchIterator { batch: slf, next: Mutex::new((0, 0)) }
    }

    fn __repr__(&self) -> String {
        let source = &self.records.source;
        format!("<Batch of {} records of {} {}>", self.records.positions.len(), source.stream, source.shard_id)
    }

    /// Report one record as failed.
    fn fail(&self, item: &Record) -> PyResult<()> {
        let ours = Arc::ptr_eq(&item.source, &self.records.source)
            && self.records.positions.binary_search(&item.position).is_ok();
        if !ours {
            return Err(PyValueError::new_err(format!("{} is not in this batch", item.sequence_number())));
        }
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        if !failed.contains(&item.position) {
            failed.push(item.position);
        }
        Ok(())
    }

    /// Sequence numbers reported as failed.
    #[getter]
    fn failures(&self) -> Vec<String> {
        let index = self.records.source.shard_index;
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.iter().map(|&position| sequence::number(index, position).to_string()).collect()
    }

    #[getter]
    fn stream(&self) -> &str {
        &self.records.source.stream
    }

    #[getter]
    fn shard_id(&self) -> &str {
        &self.records.source.shard_id
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

    fn __next__(&self) -> Option<Record> {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let batch = self.batch.get();
        if next.0 >= batch.records.positions.len() {
            return None;
        }
        let (record, chunk) = batch.at(next.0, next.1);
        *next = (next.0 + 1, chunk);
        Some(record)
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

    /// The payload as JSON.
    fn json<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        crate::json::loads(py, self.chunk.record(self.position).data)
    }

    fn __repr__(&self) -> String {
        let record = self.chunk.record(self.position);
        format!("<Record {} key={:?} {} bytes>", self.sequence_number(), record.key, record.data.len())
    }
}
