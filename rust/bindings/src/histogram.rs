//! `Histogram`, as Python has it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use forebay_core::histogram::{self as core, Percent, Span};
use pyo3::buffer::PyBuffer;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::errors::invalid;

/// Any percentile of recorded numbers, within 0.1%, in bounded memory.
#[pyclass(frozen, module = "forebay", name = "Histogram")]
#[derive(Default)]
pub(crate) struct Histogram(Mutex<core::Histogram>);

impl Histogram {
    /// No Python code runs while this is held.
    fn lock(&self) -> MutexGuard<'_, core::Histogram> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn share(from: f64, to: f64) -> PyResult<Span> {
    if from >= to {
        return Err(invalid(format!("the lower percentile {from} must be below the upper one, {to}")));
    }
    Ok(Span::Share { from: Percent::new(from).map_err(invalid)?, to: Percent::new(to).map_err(invalid)? })
}

#[pymethods]
impl Histogram {
    #[new]
    fn new() -> Self {
        Self::default()
    }

    /// Record one value, 0 or more.
    fn record(&self, value: f64) -> PyResult<()> {
        self.lock().record(value).map_err(invalid)
    }

    /// Record an iterable or a buffer of 64-bit floats; when one value is refused, none is recorded.
    fn record_many(&self, py: Python<'_>, values: &Bound<'_, PyAny>) -> PyResult<()> {
        let values: Vec<f64> = match PyBuffer::<f64>::get(values) {
            Ok(buffer) => buffer.to_vec(py)?,
            Err(_) => values.try_iter()?.map(|value| value?.extract()).collect::<PyResult<_>>()?,
        };
        py.detach(|| {
            values.iter().try_for_each(|&value| core::check(value))?;
            let mut histogram = self.lock();
            values.iter().try_for_each(|&value| histogram.record(value))
        })
        .map_err(invalid)
    }

    /// Give the percentile (0 to 100) by nearest rank, None when nothing was recorded.
    fn percentile(&self, percent: f64) -> PyResult<Option<f64>> {
        let percent = Percent::new(percent).map_err(invalid)?;
        Ok(self.lock().percentile(percent))
    }

    /// Give the share, in percent, of values above the one and up to the other.
    fn percentile_rank(&self, above: f64, up_to: f64) -> Option<f64> {
        self.lock().percentile_rank(above, up_to)
    }

    /// Give the mean of the values between two percentiles.
    fn trimmed_mean(&self, lower: f64, upper: f64) -> PyResult<Option<f64>> {
        let span = share(lower, upper)?;
        Ok(self.lock().trimmed_mean(span))
    }

    /// Give the mean after moving values outside two percentiles to them.
    fn winsorized_mean(&self, lower: f64, upper: f64) -> PyResult<Option<f64>> {
        let span = share(lower, upper)?;
        Ok(self.lock().winsorized_mean(span))
    }

    /// Give the mean of the middle half of the values.
    fn interquartile_mean(&self) -> Option<f64> {
        self.lock().interquartile_mean()
    }

    /// Add everything another histogram holds.
    fn merge(&self, other: &Self) {
        let other = other.lock().clone();
        self.lock().merge(&other);
    }

    /// Take away everything another histogram holds.
    fn subtract(&self, other: &Self) -> PyResult<()> {
        let other = other.lock().clone();
        self.lock().subtract(&other).map_err(invalid)
    }

    /// Give the histogram as bytes, in a format that later versions read.
    fn to_bytes<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.lock().to_bytes())
    }

    /// Read what `to_bytes` gave.
    #[staticmethod]
    fn from_bytes(data: &[u8]) -> PyResult<Self> {
        core::Histogram::from_bytes(data).map(|histogram| Self(Mutex::new(histogram))).map_err(invalid)
    }

    /// Number of values.
    #[getter]
    fn count(&self) -> u64 {
        self.lock().count()
    }

    /// Sum of the values.
    #[getter]
    fn sum(&self) -> f64 {
        self.lock().sum()
    }

    /// Arithmetic mean.
    #[getter]
    fn mean(&self) -> Option<f64> {
        self.lock().mean()
    }

    /// Smallest value.
    #[getter]
    fn min(&self) -> Option<f64> {
        self.lock().min()
    }

    /// Greatest value.
    #[getter]
    fn max(&self) -> Option<f64> {
        self.lock().max()
    }

    /// Number of zeros.
    #[getter]
    fn zero(&self) -> u64 {
        self.lock().zero()
    }

    /// Number of values above zero and below 1e-9.
    #[getter]
    fn below(&self) -> u64 {
        self.lock().below()
    }

    /// Number of values above 1e9.
    #[getter]
    fn above(&self) -> u64 {
        self.lock().above()
    }

    fn __len__(&self) -> usize {
        self.lock().count() as usize
    }

    fn __eq__(&self, other: &Self) -> bool {
        let other = other.lock().clone();
        *self.lock() == other
    }

    fn __repr__(&self) -> String {
        let histogram = self.lock();
        match (histogram.min(), histogram.mean(), histogram.max()) {
            (Some(min), Some(mean), Some(max)) => {
                format!("<Histogram count={} min={min} mean={mean} max={max}>", histogram.count())
            }
            _ => "<Histogram count=0>".into(),
        }
    }
}
