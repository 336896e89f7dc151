//! `Engine`: one process's end of a store.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{mpsc, Arc};

use forebay_core::cluster::Stopped;
use forebay_core::Now;
use forebay_doors::ask::gone;
use forebay_doors::open::{open, End};
use forebay_engine::api::settings::Settings;
use forebay_engine::base::error::{Answer, EngineError, Reply, Waiter};
use forebay_engine::base::ids::{parse_uuid, uuid_text};
use forebay_engine::base::trace::Origin;
use forebay_engine::dispatch::attempts::{Settled, Task, Work};
use forebay_engine::dispatch::functions::Registration;
use forebay_engine::environments::assignment::{AssignedTask, Assignment, Given};
use forebay_engine::payload::message::NewMessage;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString, PyTuple};

use crate::arguments::bytes_of;
use crate::arguments::new_messages;
use crate::arguments::text_of;
use crate::arguments::Pairs;
use crate::batch::Batch;
use crate::errors::exception;
use crate::event::kinesis_event;
use crate::json::loads;
use crate::member::Member;
use crate::messages::{of_event, sqs_event};

/// `(token, status, body, duration_ns)`
type Outcome = (u64, u8, Option<Vec<u8>>, u64);

/// One process's end of a store: its owner, or a client of the owner.
#[pyclass(frozen, module = "forebay._core")]
pub struct Engine {
    end: Arc<End>,
    forked: Arc<AtomicBool>,
    /// Whether its calls give answers, and not tickets.
    waits: bool,
}

pub(crate) fn parse<T: serde::de::DeserializeOwned>(py: Python<'_>, settings: &[u8]) -> PyResult<T> {
    serde_json::from_slice(settings).map_err(|error| exception(py, &EngineError::Invalid(error.to_string())))
}

impl Engine {
    fn end(&self, py: Python<'_>) -> PyResult<&End> {
        if self.forked.load(Ordering::Relaxed) {
            let text = "this process is a fork of the one that opened the app: open an app of its own";
            return Err(exception(py, &EngineError::Closed(text.into())));
        }
        Ok(&self.end)
    }

    /// What a client was given over its connection, as the owner of this name knows it, once the connection is closed.
    pub(crate) fn stopped(&self) -> Option<(String, Stopped)> {
        match &*self.end {
            End::Owner(_) => None,
            End::Client(client) => client.owner().zip(client.stopped()),
        }
    }

    /// Ask, and give a ticket, or wait for the answer if that is what this engine does. `one`: of one number, not of a list.
    fn ask(&self, py: Python<'_>, one: bool, begin: impl FnOnce(&End, Waiter) + Send) -> PyResult<Py<PyAny>> {
        let end = self.end(py)?;
        if self.waits {
            return reply(py, &wait(py, |waiter| begin(end, waiter))?, one);
        }
        let ticket = match end {
            End::Owner(owner) => owner.engine.ticket(),
            End::Client(client) => client.ticket(),
        };
        let ticket = if one { ticket | ONE } else { ticket };
        py.detach(|| begin(end, Waiter::Bell(ticket)));
        Ok(ticket.into_pyobject(py)?.into_any().unbind())
    }
}

fn put(end: &End, stream: &str, records: &[(&str, &[u8])], trace: Option<&str>, waiter: Waiter) {
    match end {
        End::Owner(owner) => owner.engine.put(stream, records.iter().copied(), trace, waiter),
        End::Client(client) => client.put(stream, records.iter().copied(), trace, waiter),
    }
}

fn send(end: &End, queue: &str, messages: &[NewMessage], origin: Origin<'_>, waiter: Waiter) {
    match end {
        End::Owner(owner) => owner.engine.send(queue, messages, origin, waiter),
        End::Client(client) => {
            let parent = origin.parent.map(uuid_text);
            let asked =
                serde_json::json!({"name": queue, "messages": messages, "parent": parent, "trace": origin.trace});
            let body = asked.to_string();
            client.request("queue.send", body.as_bytes(), waiter);
        }
    }
}

fn invoke(end: &End, function: &str, payload: &[u8], trace: Option<&str>, waiter: Waiter) {
    match end {
        End::Owner(owner) => {
            owner.engine.invoke(function, payload.into(), trace, waiter);
        }
        End::Client(client) => client.invoke(function, payload, trace, waiter),
    }
}

fn invoke_async(end: &End, function: &str, payload: &[u8], origin: Origin<'_>, waiter: Waiter) {
    match end {
        End::Owner(owner) => owner.engine.invoke_async(function, payload, origin, waiter),
        End::Client(client) => client.invoke_async(function, payload, origin, waiter),
    }
}

/// A request id as a number; what is none names nothing.
fn request_number(id: Option<&str>) -> Option<u128> {
    id.and_then(parse_uuid)
}

fn request(end: &End, verb: &str, body: &[u8], waiter: Waiter) {
    match end {
        End::Owner(owner) => owner.engine.request(verb, body, waiter),
        End::Client(client) => client.request(verb, body, waiter),
    }
}

/// Ask, and wait for the answer without the interpreter's lock.
fn wait(py: Python<'_>, ask: impl FnOnce(Waiter) + Send) -> PyResult<Reply> {
    let answer = py.detach(|| {
        let (sender, receiver) = mpsc::sync_channel::<Answer>(1);
        ask(Waiter::Call(Box::new(move |answer| {
            // Nobody left to hear it means that the waiting call is gone with its thread.
            let _unheard = sender.send(answer);
        })));
        receiver.recv().unwrap_or_else(|_| Err(gone()))
    });
    answer.map_err(|error| exception(py, &error))
}

fn numbers(py: Python<'_>, numbers: &[u64]) -> PyResult<Py<PyAny>> {
    let texts = numbers.iter().map(|number| PyString::new(py, &number.to_string()));
    Ok(PyList::new(py, texts.collect::<Vec<_>>())?.into_any().unbind())
}

fn reply(py: Python<'_>, reply: &Reply, one: bool) -> PyResult<Py<PyAny>> {
    match reply {
        Reply::Json(json) | Reply::Added(json) => Ok(PyBytes::new(py, json).into_any().unbind()),
        Reply::Executed { json, version } => {
            let answer = (PyBytes::new(py, json), version.as_str());
            Ok(answer.into_pyobject(py)?.into_any().unbind())
        }
        Reply::Assignments(_) => Ok(py.None()),
        Reply::Typed(typed) => Ok(PyBytes::new(py, &typed.0.json()).into_any().unbind()),
        Reply::Request(id) => Ok(PyString::new(py, &uuid_text(*id)).into_any().unbind()),
        Reply::Numbers(given) if one => match given.first() {
            Some(number) => Ok(PyString::new(py, &number.to_string()).into_any().unbind()),
            None => numbers(py, given),
        },
        Reply::Numbers(given) => numbers(py, given),
    }
}

/// Marks the tickets of single puts, whose answer is one number and not a list.
const ONE: u64 = 1 << 63;

#[pymethods]
impl Engine {
    #[new]
    #[pyo3(signature = (settings, member = None))]
    fn new(py: Python<'_>, settings: &[u8], member: Option<&Member>) -> PyResult<Self> {
        let settings: Settings = parse(py, settings)?;
        let member = member.map(Member::share);
        let end = py.detach(|| open(settings, member)).map_err(|error| exception(py, &error))?;
        Ok(Self { end: Arc::new(end), forked: Arc::default(), waits: false })
    }

    #[getter]
    fn role(&self) -> &'static str {
        match &*self.end {
            End::Owner(_) => "owner",
            End::Client(client) if client.is_away() => "standby",
            End::Client(_) => "client",
        }
    }

    /// The name of the process that is asked, where several share the store.
    fn asks(&self) -> Option<String> {
        match &*self.end {
            End::Owner(_) => None,
            End::Client(client) => client.owner(),
        }
    }

    #[getter]
    fn fencing_token(&self) -> Option<u64> {
        match &*self.end {
            End::Owner(owner) => owner.fencing_token(),
            End::Client(client) => client.fencing_token(),
        }
    }

    fn fileno(&self) -> i32 {
        match &*self.end {
            End::Owner(owner) => owner.engine.fileno(),
            End::Client(client) => client.fileno(),
        }
    }

    fn quiet(&self) {
        match &*self.end {
            End::Owner(owner) => owner.engine.quiet(),
            End::Client(client) => client.quiet(),
        }
    }

    fn start(&self, py: Python<'_>) -> PyResult<()> {
        match self.end(py)? {
            End::Owner(owner) => py.detach(|| owner.engine.start()).map_err(|error| exception(py, &error)),
            End::Client(client) => {
                client.start();
                Ok(())
            }
        }
    }

    fn drain(&self, py: Python<'_>) -> PyResult<bool> {
        match self.end(py)? {
            End::Owner(owner) => Ok(py.detach(|| owner.drain())),
            End::Client(client) => {
                py.detach(|| client.leave());
                Ok(true)
            }
        }
    }

    /// Stop what other processes run for this one: it will be run again.
    fn interrupt(&self, py: Python<'_>) {
        if let End::Owner(owner) = &*self.end {
            py.detach(|| owner.engine.interrupt_runners());
        }
    }

    fn idle(&self, py: Python<'_>) -> bool {
        py.detach(|| match &*self.end {
            End::Owner(owner) => owner.engine.idle(),
            End::Client(client) => client.idle(),
        })
    }

    fn close(&self, py: Python<'_>) {
        if self.forked.load(Ordering::Relaxed) {
            return;
        }
        py.detach(|| match &*self.end {
            End::Owner(owner) => owner.close(),
            End::Client(client) => client.close(),
        });
    }

    fn forked(&self) {
        if !self.forked.swap(true, Ordering::Relaxed) {
            // Its threads and locks stayed with the parent: taking it apart here would wait for them for ever.
            std::mem::forget(self.end.clone());
        }
    }

    fn function(&self, py: Python<'_>, settings: &[u8]) -> PyResult<usize> {
        let registration: Registration = parse(py, settings)?;
        match self.end(py)? {
            End::Owner(owner) => {
                py.detach(|| owner.engine.register(&registration)).map_err(|error| exception(py, &error))
            }
            End::Client(client) => {
                let takes_batch = registration.wants.as_deref() == Some("batch");
                Ok(HANDLERS * client.function(&registration.name, takes_batch))
            }
        }
    }

    /// The same engine, whose calls wait: they give the answer and not a ticket.
    fn waiting(&self) -> Self {
        Self { end: self.end.clone(), forked: self.forked.clone(), waits: true }
    }

    #[pyo3(signature = (stream, key, data, trace = None))]
    fn put(
        &self,
        py: Python<'_>,
        stream: &str,
        key: &Bound<'_, PyAny>,
        data: &Bound<'_, PyAny>,
        trace: Option<&str>,
    ) -> PyResult<Py<PyAny>> {
        let records = [(text_of(key, "partition_key")?, bytes_of(data)?)];
        self.ask(py, true, |end, waiter| put(end, stream, &records, trace, waiter))
    }

    #[pyo3(signature = (stream, records, trace = None))]
    fn put_many(
        &self,
        py: Python<'_>,
        stream: &str,
        records: &Bound<'_, PyAny>,
        trace: Option<&str>,
    ) -> PyResult<Py<PyAny>> {
        let pairs = Pairs::of(records)?;
        let slices = pairs.slices()?;
        self.ask(py, false, |end, waiter| put(end, stream, &slices, trace, waiter))
    }

    #[pyo3(signature = (queue, messages, parent, trace = None))]
    fn send(
        &self,
        py: Python<'_>,
        queue: &str,
        messages: &Bound<'_, PyList>,
        parent: Option<&str>,
        trace: Option<&str>,
    ) -> PyResult<Py<PyAny>> {
        let (messages, origin) = (new_messages(messages)?, Origin { parent: request_number(parent), trace });
        self.ask(py, false, |end, waiter| send(end, queue, &messages, origin, waiter))
    }

    #[pyo3(signature = (function, payload, trace = None))]
    fn invoke(&self, py: Python<'_>, function: &str, payload: &[u8], trace: Option<&str>) -> PyResult<Py<PyAny>> {
        self.ask(py, false, |end, waiter| invoke(end, function, payload, trace, waiter))
    }

    #[pyo3(signature = (function, payload, parent, trace = None))]
    fn invoke_async(
        &self,
        py: Python<'_>,
        function: &str,
        payload: &[u8],
        parent: Option<&str>,
        trace: Option<&str>,
    ) -> PyResult<Py<PyAny>> {
        let origin = Origin { parent: request_number(parent), trace };
        self.ask(py, false, |end, waiter| invoke_async(end, function, payload, origin, waiter))
    }

    fn request(&self, py: Python<'_>, verb: &str, body: &[u8]) -> PyResult<Py<PyAny>> {
        self.ask(py, false, |end, waiter| request(end, verb, body, waiter))
    }

    fn exchange<'py>(
        &self,
        py: Python<'py>,
        outcomes: Vec<Outcome>,
        maximum: usize,
    ) -> PyResult<(Bound<'py, PyList>, Bound<'py, PyList>)> {
        let end = self.end(py)?;
        let settled =
            outcomes.into_iter().map(|(token, status, body, duration_ns)| Settled { token, status, body, duration_ns });
        let handed = PyList::empty(py);
        let answered = match end {
            End::Owner(owner) => {
                let (works, answered) = py.detach(|| owner.engine.exchange(settled.collect(), maximum));
                for work in works {
                    handed.append(work_tuple(py, work)?)?;
                }
                answered
            }
            End::Client(client) => {
                let (assignments, answered) =
                    py.detach(|| (client.exchange(settled.collect(), maximum), client.answered()));
                for (assignment, function) in assignments {
                    handed.append(assignment_tuple(py, assignment, function)?)?;
                }
                answered
            }
        };
        let resolved = PyList::empty(py);
        for (ticket, answer) in answered {
            let entry = match answer {
                Ok(given) => (ticket, true, reply(py, &given, ticket & ONE != 0)?),
                Err(error) => (ticket, false, exception(py, &error).into_value(py).into_any()),
            };
            resolved.append(entry)?;
        }
        Ok((handed, resolved))
    }

    /// Take text of an invocation, if somebody wants it; tell whether the lines of any invocation are wanted.
    fn tail(&self, py: Python<'_>, request_id: &str, text: &str) -> PyResult<bool> {
        let End::Owner(owner) = self.end(py)? else { return Ok(false) };
        let tails = owner.engine.tails();
        if let Some(request) = parse_uuid(request_id).filter(|_| tails.any()) {
            tails.add(request, text.as_bytes());
        }
        Ok(tails.any())
    }

    fn environments_at_work(&self, py: Python<'_>) -> PyResult<Vec<(String, String)>> {
        let End::Owner(owner) = self.end(py)? else { return Ok(Vec::new()) };
        Ok(py.detach(|| owner.engine.environments_at_work()))
    }

    fn execution_of(&self, py: Python<'_>, token: u64) -> PyResult<Option<(String, Option<String>)>> {
        let End::Owner(owner) = self.end(py)? else { return Ok(None) };
        Ok(py.detach(|| owner.engine.execution_of(token)))
    }

    fn turn(&self, py: Python<'_>, mono_ns: u64, wall_ms: u64, entropy: u64) -> PyResult<Option<u64>> {
        match self.end(py)? {
            End::Owner(owner) => Ok(py.detach(|| owner.engine.turn(Now { mono_ns, wall_ms, entropy }))),
            End::Client(_) => Ok(None),
        }
    }
}

/// Number of an asynchronous event among the kinds of work.
const EVENT: u8 = 7;
/// Handlers of one function in a client: one for each pair of whether its response is read, and whether partial failures are.
const HANDLERS: usize = 4;
const READS: usize = 1;
const REPORTS: usize = 2;

fn assignment_tuple(py: Python<'_>, assignment: Assignment, function: usize) -> PyResult<Bound<'_, PyTuple>> {
    let (token, handler) = (assignment.token, HANDLERS * function);
    let run = match assignment.task {
        AssignedTask::Run(run) => run,
        AssignedTask::Stop => return stop_tuple(py, token, handler, 3),
        AssignedTask::Interrupt => return stop_tuple(py, token, handler, 5),
    };
    let traces = if run.traces.is_empty() { None } else { Some(PyTuple::new(py, &run.traces)?) };
    let (kind, event) = match run.given {
        Given::Invoke(payload) => (0, PyBytes::new(py, &payload).into_any()),
        Given::Event(payload) => (EVENT, PyBytes::new(py, &payload).into_any()),
        Given::Batch(records, window, true) => (1, kinesis_event(py, &records, window.as_ref())?.into_any()),
        Given::Batch(records, window, false) => (2, Bound::new(py, Batch::new(records, window))?.into_any()),
        Given::Messages(event, true) => (1, loads(py, &event)?),
        Given::Messages(event, false) => (2, Bound::new(py, Batch::of_messages(of_event(&event)?))?.into_any()),
    };
    let reads = READS * usize::from(run.reads) + REPORTS * usize::from(run.reports);
    let request = uuid_text(run.request);
    (token, handler + reads, kind, event, request, run.deadline_ms, traces, run.qualifier).into_pyobject(py)
}

fn stop_tuple(py: Python<'_>, token: u64, handler: usize, kind: u8) -> PyResult<Bound<'_, PyTuple>> {
    (token, handler, kind, py.None(), "", 0, py.None(), py.None()).into_pyobject(py)
}

fn work_tuple(py: Python<'_>, work: Work) -> PyResult<Bound<'_, PyTuple>> {
    let traces = work.traces();
    let traces = if traces.is_empty() { None } else { Some(PyTuple::new(py, traces)?) };
    let (kind, event) = match work.task {
        Task::Invoke(payload) => (0, PyBytes::new(py, &payload).into_any()),
        Task::Batch { records, window, as_event: true } => {
            (1, kinesis_event(py, &records, window.as_ref())?.into_any())
        }
        Task::Batch { records, window, as_event: false } => {
            (2, Bound::new(py, Batch::new(records, window))?.into_any())
        }
        Task::Messages { messages, as_event: true } => (1, sqs_event(py, &messages)?.into_any()),
        Task::Messages { messages, as_event: false } => (2, Bound::new(py, Batch::of_messages(messages))?.into_any()),
        Task::Cancel => (3, py.None().into_bound(py)),
        Task::Deliver(record) => (4, PyBytes::new(py, &record).into_any()),
        Task::Event(payload) => (EVENT, PyBytes::new(py, &payload).into_any()),
    };
    let request = uuid_text(work.request);
    (work.token, work.handler, kind, event, request, work.deadline_ms, traces, work.qualifier.as_deref())
        .into_pyobject(py)
}
