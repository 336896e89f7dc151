//! `TokenBucket`, as Python has it, but for waiting: `forebay/token_bucket.py` adds that.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use forebay_core::token_bucket::{self as core, Rate, BURST_MAX, RATE_MAX, RATE_MIN};
use pyo3::exceptions::PyOverflowError;
use pyo3::prelude::*;

use crate::errors::invalid;

/// All of `forebay.TokenBucket` that does not wait.
#[pyclass(frozen, subclass, module = "forebay._core", name = "TokenBucket")]
pub(crate) struct TokenBucket {
    state: Mutex<State>,
    clock: Option<Py<PyAny>>,
    started: Instant,
}

struct State {
    bucket: core::TokenBucket,
    /// Calls of `acquire` that wait: whoever comes later takes nothing before them.
    waiting: usize,
}

/// What `state()` gives and a new bucket takes.
#[derive(FromPyObject, IntoPyObject)]
#[pyo3(from_item_all)]
struct Saved {
    /// Whole tokens.
    tokens: u64,
    /// Billionths of one.
    billionths: u32,
    /// When, in seconds since 1970.
    time: f64,
}

/// A number of tokens.
#[derive(Clone, Copy)]
struct Tokens(u64);

impl<'a, 'py> FromPyObject<'a, 'py> for Tokens {
    type Error = PyErr;

    #[inline]
    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        match object.extract::<i64>() {
            Ok(n) if (1..=BURST_MAX as i64).contains(&n) => Ok(Self(n as u64)),
            Err(error) if !error.is_instance_of::<PyOverflowError>(object.py()) => Err(error),
            _ => Err(invalid(format!("a number of tokens is a whole number from 1 to {BURST_MAX}, not {}", &*object))),
        }
    }
}

impl TokenBucket {
    /// The state, and what the clock says once it is held: no reading is older than the one before. (A clock of the
    /// caller's is asked before, since its code may do anything.)
    #[inline]
    fn now(&self, py: Python<'_>) -> PyResult<(MutexGuard<'_, State>, u64)> {
        let theirs = self.clock.as_ref().map(|clock| read(clock.bind(py))).transpose()?;
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = theirs.unwrap_or_else(|| {
            let elapsed = self.started.elapsed();
            elapsed.as_secs() * 1_000_000_000 + u64::from(elapsed.subsec_nanos())
        });
        Ok((state, now))
    }
}

impl State {
    #[inline]
    fn check(&self, n: u64) -> PyResult<()> {
        let burst = self.bucket.burst();
        if n > burst {
            return Err(invalid(format!(
                "{n} tokens are more than the burst of {burst}: the bucket never holds as many"
            )));
        }
        Ok(())
    }
}

/// What a forebay clock says, in nanoseconds.
pub(crate) fn read(clock: &Bound<'_, PyAny>) -> PyResult<u64> {
    let seconds: f64 = clock.call_method0("monotonic")?.extract()?;
    Ok((seconds * 1e9).round() as u64)
}

fn wall(clock: Option<&Bound<'_, PyAny>>) -> PyResult<f64> {
    match clock {
        Some(clock) => clock.call_method0("time")?.extract(),
        None => Ok(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |passed| passed.as_secs_f64())),
    }
}

fn rate(per_second: f64) -> PyResult<Rate> {
    Rate::per_second(per_second).ok_or_else(|| {
        invalid(format!(
            "rate {per_second} is out of range: it must be from {RATE_MIN:e} to {RATE_MAX:e} tokens a second"
        ))
    })
}

#[pymethods]
impl TokenBucket {
    #[new]
    #[pyo3(signature = (rate, burst, clock=None, *, state=None))]
    fn new(
        rate: f64,
        burst: Tokens,
        clock: Option<Bound<'_, PyAny>>,
        state: Option<Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let rate = self::rate(rate)?;
        let started = Instant::now();
        let now = clock.as_ref().map_or(Ok(0), read)?;
        let mut bucket = core::TokenBucket::new(rate, burst.0, now).ok_or_else(|| invalid("burst is out of range"))?;
        if let Some(state) = state {
            let saved: Saved =
                state.extract().map_err(|error| invalid(format!("state is not what state() gave: {error}")))?;
            let elapsed = wall(clock.as_ref())? - saved.time;
            // Casting clamps: a wall clock that went back counts as no time passed.
            bucket.restore((saved.tokens, saved.billionths), (elapsed * 1e9) as u64, now);
        }
        let state = Mutex::new(State { bucket, waiting: 0 });
        Ok(Self { state, clock: clock.map(Bound::unbind), started })
    }

    /// Take `n` tokens if all of them are there; tell whether they were taken.
    #[pyo3(signature = (n=Tokens(1)), text_signature = "($self, n=1)")]
    fn try_acquire(&self, py: Python<'_>, n: Tokens) -> PyResult<bool> {
        let (mut state, now) = self.now(py)?;
        state.check(n.0)?;
        Ok(state.waiting == 0 && state.bucket.try_acquire(n.0, now))
    }

    /// Give the seconds until `n` tokens are there, 0.0 when they are.
    #[pyo3(signature = (n=Tokens(1)), text_signature = "($self, n=1)")]
    fn time_until(&self, py: Python<'_>, n: Tokens) -> PyResult<f64> {
        let (mut state, now) = self.now(py)?;
        state.check(n.0)?;
        let wait = state.bucket.time_until(n.0, now).unwrap_or(u64::MAX);
        Ok(wait as f64 / 1e9)
    }

    /// Change rate or burst from now on.
    #[pyo3(signature = (*, rate=None, burst=None))]
    fn update(&self, py: Python<'_>, rate: Option<f64>, burst: Option<Tokens>) -> PyResult<()> {
        let rate = rate.map(self::rate).transpose()?;
        let (mut state, now) = self.now(py)?;
        let rate = rate.unwrap_or(state.bucket.rate());
        let burst = burst.map_or(state.bucket.burst(), |burst| burst.0);
        state.bucket.configure(rate, burst, now);
        Ok(())
    }

    /// Give the state to keep: `TokenBucket(rate, burst, state=...)` goes on from it.
    fn state(&self, py: Python<'_>) -> PyResult<Saved> {
        let time = wall(self.clock.as_ref().map(|clock| clock.bind(py)))?;
        let (mut state, now) = self.now(py)?;
        let (tokens, billionths) = state.bucket.save(now);
        Ok(Saved { tokens, billionths, time })
    }

    /// Tokens that are there.
    #[getter]
    fn tokens(&self, py: Python<'_>) -> PyResult<f64> {
        let (mut state, now) = self.now(py)?;
        Ok(state.bucket.tokens(now))
    }

    /// Tokens that flow in each second.
    #[getter]
    fn rate(&self, py: Python<'_>) -> PyResult<f64> {
        Ok(self.now(py)?.0.bucket.rate().get())
    }

    /// Most tokens there can be.
    #[getter]
    fn burst(&self, py: Python<'_>) -> PyResult<u64> {
        Ok(self.now(py)?.0.bucket.burst())
    }

    /// One more call waits, from here to `_leave`.
    #[pyo3(name = "_join")]
    fn join(&self, py: Python<'_>) -> PyResult<()> {
        self.now(py)?.0.waiting += 1;
        Ok(())
    }

    #[pyo3(name = "_leave")]
    fn leave(&self, py: Python<'_>) -> PyResult<()> {
        self.now(py)?.0.waiting -= 1;
        Ok(())
    }

    /// Take tokens although somebody waits: the first of those who wait does.
    #[pyo3(name = "_take")]
    fn take(&self, py: Python<'_>, n: Tokens) -> PyResult<bool> {
        let (mut state, now) = self.now(py)?;
        state.check(n.0)?;
        Ok(state.bucket.try_acquire(n.0, now))
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let (mut state, now) = self.now(py)?;
        let tokens = state.bucket.tokens(now);
        Ok(format!("<TokenBucket rate={} burst={} tokens={tokens}>", state.bucket.rate().get(), state.bucket.burst()))
    }
}
