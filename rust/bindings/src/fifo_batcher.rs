//! `FifoBatcher`, as Python has it: any hashable names a message, and time is a clock's.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use forebay_core::queue::fifo::{self as core, Taken, MESSAGES_MAX};
use forebay_engine::base::error::EngineError;
use pyo3::prelude::*;
use pyo3::types::{PyDelta, PyDict, PyList, PySet};

use crate::errors::exception;
use crate::errors::invalid;
use crate::token_bucket::read;

/// As long as the longest visibility timeout of SQS.
const DELAY_SECONDS_MAX: f64 = 43_200.0;

/// What a batcher and its batches share. No Python code runs while `state` is held.
struct Shared {
    state: Mutex<State>,
    clock: Option<Py<PyAny>>,
    started: Instant,
}

struct State {
    batcher: core::FifoBatcher,
    /// Ids of the messages that wait; a batch holds its own.
    ids: HashMap<u64, Py<PyAny>>,
    put: u64,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ms(&self, py: Python<'_>) -> PyResult<u64> {
        match &self.clock {
            Some(clock) => Ok(read(clock.bind(py))? / 1_000_000),
            None => Ok(self.started.elapsed().as_millis() as u64),
        }
    }

    /// The moment a delay ends, 0 for none.
    fn after(&self, py: Python<'_>, delay: &Bound<'_, PyAny>) -> PyResult<u64> {
        let plain = if delay.is_instance_of::<PyDelta>() { &delay.call_method0("total_seconds")? } else { delay };
        let seconds: f64 = plain.extract()?;
        if !(0.0..=DELAY_SECONDS_MAX).contains(&seconds) {
            return Err(invalid(format!("delay={delay}: allowed are 0 to {DELAY_SECONDS_MAX:.0} seconds")));
        }
        // Never shorter than asked for.
        let delay_ms = (seconds * 1e3).ceil() as u64;
        Ok(if delay_ms == 0 { 0 } else { self.now_ms(py)? + delay_ms })
    }
}

/// Batches of messages whose order inside a group is kept.
#[pyclass(frozen, generic, module = "forebay", name = "FifoBatcher")]
pub(crate) struct FifoBatcher(Arc<Shared>);

#[pymethods]
impl FifoBatcher {
    #[new]
    #[pyo3(signature = (*, maximum_messages=1_000_000, clock=None))]
    fn new(maximum_messages: i64, clock: Option<Py<PyAny>>) -> PyResult<Self> {
        let messages_max = u32::try_from(maximum_messages)
            .ok()
            .filter(|maximum| (1..=MESSAGES_MAX).contains(maximum))
            .ok_or_else(|| invalid(format!("maximum_messages={maximum_messages}: allowed are 1 to {MESSAGES_MAX}")))?;
        let state = State { batcher: core::FifoBatcher::new(messages_max), ids: HashMap::new(), put: 0 };
        Ok(Self(Arc::new(Shared { state: Mutex::new(state), clock, started: Instant::now() })))
    }

    /// Add a message at the end of its group.
    #[pyo3(signature = (message_id, group, *, delay=None))]
    fn put(
        &self,
        py: Python<'_>,
        message_id: Bound<'_, PyAny>,
        group: &str,
        delay: Option<Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        message_id.hash()?;
        let visible_at = delay.map_or(Ok(0), |delay| self.0.after(py, &delay))?;
        let mut state = self.0.lock();
        let number = state.put;
        if let Err(full) = state.batcher.push(number, group, visible_at) {
            drop(state);
            return Err(refused(py, full));
        }
        state.ids.insert(number, message_id.unbind());
        state.put += 1;
        Ok(())
    }

    /// Take a batch, None when no group is ready.
    #[pyo3(signature = (maximum=10))]
    fn take(&self, py: Python<'_>, maximum: i64) -> PyResult<Option<FifoBatch>> {
        let maximum = usize::try_from(maximum)
            .ok()
            .filter(|maximum| (1..=MESSAGES_MAX as usize).contains(maximum))
            .ok_or_else(|| invalid(format!("maximum={maximum}: allowed are 1 to {MESSAGES_MAX}")))?;
        let now_ms = self.0.now_ms(py)?;
        let mut state = self.0.lock();
        let taken = state.batcher.take(maximum, now_ms);
        if taken.is_empty() {
            return Ok(None);
        }
        let messages = taken
            .into_iter()
            .map(|taken| Message {
                taken,
                id: state.ids.remove(&taken.number).expect("a message that waits has its id"),
                group: Arc::clone(state.batcher.name(taken.group)),
            })
            .collect();
        Ok(Some(FifoBatch { shared: Arc::clone(&self.0), messages: Mutex::new(Some(messages)) }))
    }

    /// Settle a batch; gives the ids that are done.
    #[pyo3(signature = (batch, failed=None, *, delay=None))]
    fn settle<'py>(
        &self,
        py: Python<'py>,
        batch: &FifoBatch,
        failed: Option<Bound<'py, PyAny>>,
        delay: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyList>> {
        if !Arc::ptr_eq(&self.0, &batch.shared) {
            return Err(invalid("this batch was taken from another batcher"));
        }
        let visible_at = delay.map_or(Ok(0), |delay| self.0.after(py, &delay))?;
        let has_failed = match failed {
            Some(failed) => batch.find(py, &failed)?,
            None => HashSet::new(),
        };
        let messages = batch.claim().ok_or_else(settled)?;
        PyList::new(py, self.0.settle(messages, |number| has_failed.contains(&number), visible_at))
    }

    /// Seconds until `take` may give something.
    fn time_until_ready(&self, py: Python<'_>) -> PyResult<Option<f64>> {
        let now_ms = self.0.now_ms(py)?;
        let state = self.0.lock();
        if state.batcher.is_ready(now_ms) {
            return Ok(Some(0.0));
        }
        Ok(state.batcher.next_due().map(|due_ms| due_ms.saturating_sub(now_ms) as f64 / 1e3))
    }

    /// Messages that wait and are not delayed.
    #[getter]
    fn visible(&self, py: Python<'_>) -> PyResult<usize> {
        self.count(py, core::FifoBatcher::visible)
    }

    /// Messages that wait for their delay to end.
    #[getter]
    fn delayed(&self, py: Python<'_>) -> PyResult<usize> {
        self.count(py, core::FifoBatcher::delayed)
    }

    /// Messages taken and not settled.
    #[getter]
    fn in_flight(&self) -> usize {
        self.0.lock().batcher.in_flight()
    }

    /// Groups that have messages.
    #[getter]
    fn groups(&self) -> usize {
        self.0.lock().batcher.groups()
    }

    /// Most messages, waiting and in flight together.
    #[getter]
    fn maximum_messages(&self) -> u32 {
        self.0.lock().batcher.messages_max()
    }

    fn __len__(&self) -> usize {
        self.0.lock().batcher.len()
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let (visible, delayed) = (self.visible(py)?, self.delayed(py)?);
        let (in_flight, groups) = (self.in_flight(), self.groups());
        Ok(format!("<FifoBatcher visible={visible} delayed={delayed} in_flight={in_flight} groups={groups}>"))
    }
}

impl FifoBatcher {
    fn count(&self, py: Python<'_>, of: impl Fn(&core::FifoBatcher) -> usize) -> PyResult<usize> {
        let now_ms = self.0.now_ms(py)?;
        let mut state = self.0.lock();
        state.batcher.due(now_ms);
        Ok(of(&state.batcher))
    }
}

impl Shared {
    /// Gives the ids that are done.
    fn settle(&self, messages: Vec<Message>, has_failed: impl Fn(u64) -> bool, visible_at_ms: u64) -> Vec<Py<PyAny>> {
        let batch: Vec<Taken> = messages.iter().map(|message| message.taken).collect();
        let mut state = self.lock();
        let back = state.batcher.settle(&batch, has_failed, visible_at_ms);
        let mut done = Vec::with_capacity(messages.len());
        for (message, is_back) in messages.into_iter().zip(back) {
            if is_back {
                state.ids.insert(message.taken.number, message.id);
            } else {
                done.push(message.id);
            }
        }
        done
    }
}

struct Message {
    taken: Taken,
    id: Py<PyAny>,
    group: Arc<str>,
}

impl Message {
    fn share(&self, py: Python<'_>) -> Self {
        Self { taken: self.taken, id: self.id.clone_ref(py), group: Arc::clone(&self.group) }
    }
}

/// Messages taken together, until they are settled.
#[pyclass(frozen, generic, module = "forebay", name = "FifoBatch")]
pub(crate) struct FifoBatch {
    shared: Arc<Shared>,
    /// `None` once they are settled.
    messages: Mutex<Option<Vec<Message>>>,
}

impl FifoBatch {
    fn lock(&self) -> MutexGuard<'_, Option<Vec<Message>>> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn claim(&self) -> Option<Vec<Message>> {
        self.lock().take()
    }

    fn list(&self, py: Python<'_>) -> PyResult<Vec<Message>> {
        let messages = self.lock();
        let messages = messages.as_ref().ok_or_else(settled)?;
        Ok(messages.iter().map(|message| message.share(py)).collect())
    }

    /// Numbers of these ids; one that is not in the batch is refused.
    fn find(&self, py: Python<'_>, ids: &Bound<'_, PyAny>) -> PyResult<HashSet<u64>> {
        let wanted = PySet::empty(py)?;
        for id in ids.try_iter()? {
            wanted.add(id?)?;
        }
        let mut found = HashSet::new();
        let strangers = PySet::new(py, wanted.iter())?;
        for message in self.list(py)? {
            if wanted.contains(&message.id)? {
                found.insert(message.taken.number);
                strangers.discard(&message.id)?;
            }
        }
        match strangers.iter().next() {
            Some(stranger) => Err(invalid(format!("failed: {} is not in this batch", stranger.repr()?))),
            None => Ok(found),
        }
    }
}

#[pymethods]
impl FifoBatch {
    /// Ids in the order in which they must be done.
    #[getter]
    fn ids<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        PyList::new(py, self.list(py)?.into_iter().map(|message| message.id))
    }

    /// Ids by group.
    #[getter]
    fn groups<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let groups = PyDict::new(py);
        let mut last: Option<(Arc<str>, Bound<'py, PyList>)> = None;
        for Message { id, group, .. } in self.list(py)? {
            match &last {
                Some((name, ids)) if *name == group => ids.append(id)?,
                _ => {
                    let ids = PyList::new(py, [id])?;
                    groups.set_item(&*group, &ids)?;
                    last = Some((group, ids));
                }
            }
        }
        Ok(groups)
    }

    /// Whether it is settled.
    #[getter]
    fn settled(&self) -> bool {
        self.lock().is_none()
    }

    fn __len__(&self) -> PyResult<usize> {
        self.lock().as_ref().map(Vec::len).ok_or_else(settled)
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        Ok(self.ids(py)?.try_iter()?.into_any())
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        if self.settled() {
            return Ok("<FifoBatch settled>".to_owned());
        }
        Ok(format!("<FifoBatch {}>", self.groups(py)?.repr()?))
    }
}

impl Drop for FifoBatch {
    /// What nobody settled is not done: it comes back.
    fn drop(&mut self) {
        if let Some(messages) = self.claim() {
            self.shared.settle(messages, |_| true, 0);
        }
    }
}

fn settled() -> PyErr {
    invalid("this batch is settled")
}

fn refused(py: Python<'_>, core::Full { messages_max }: core::Full) -> PyErr {
    let message =
        format!("the batcher holds maximum_messages={messages_max}: settle a batch as done, or give it room for more");
    exception(py, &EngineError::TooMany { message, reason: "OverLimit".to_owned(), retry_after_ms: 1000 })
}
