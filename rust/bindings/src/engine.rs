//! `Engine`: one process's end of a store.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{mpsc, Arc};

use forebay_core::Now;
use forebay_engine::attempts::{Settled, Task, Work};
use forebay_engine::error::{Answer, EngineError, Reply, Ticket, Waiter};
use forebay_engine::functions::Registration;
use forebay_engine::open::{End, Settings};
use forebay_engine::queue::message::{Attribute, NewMessage};
use forebay_engine::state::{parse_uuid, uuid_text};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString, PyTuple};

use crate::batch::Batch;
use crate::errors::exception;
use crate::event::kinesis_event;
use crate::messages::sqs_event;

/// `(token, status, body, duration_ns)`
type Outcome = (u64, u8, Option<Vec<u8>>, u64);

/// One process's end of a store: its owner, or a client of the owner.
#[pyclass(frozen, module = "forebay._core")]
pub struct Engine {
    end: Arc<End>,
    forked: AtomicBool,
}

fn parse<T: serde::de::DeserializeOwned>(py: Python<'_>, settings: &[u8]) -> PyResult<T> {
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

    fn ticket(&self, py: Python<'_>) -> PyResult<(&End, Ticket, Waiter)> {
        let end = self.end(py)?;
        let (ticket, waiter) = match end {
            End::Owner(owner) => owner.engine.ticket(),
            End::Client(client) => client.ticket(),
        };
        Ok((end, ticket, waiter))
    }
}

fn put(end: &End, stream: &str, records: &[(&str, &[u8])], waiter: Waiter) {
    match end {
        End::Owner(owner) => owner.engine.put(stream, records.iter().copied(), waiter),
        End::Client(client) => client.put(stream, records.iter().copied(), waiter),
    }
}

fn send(end: &End, queue: &str, messages: &[NewMessage], parent: Option<u128>, waiter: Waiter) {
    match end {
        End::Owner(owner) => owner.engine.send(queue, messages, parent, waiter),
        End::Client(client) => {
            let body =
                serde_json::json!({"name": queue, "messages": messages, "parent": parent.map(uuid_text)}).to_string();
            client.request("queue.send", body.as_bytes(), waiter);
        }
    }
}

/// Messages out of `(body, group, deduplication id, delay in ms, attributes)`, each attribute `(name, type, value)`.
fn new_messages(given: &Bound<'_, PyList>) -> PyResult<Vec<NewMessage>> {
    given.iter().map(|one| new_message(&one)).collect()
}

type Texts = (Option<String>, Option<String>, Option<u64>, Vec<(String, String, String)>);

fn new_message(given: &Bound<'_, PyAny>) -> PyResult<NewMessage> {
    let body = text_of(&given.get_item(0)?, "body")?.to_owned();
    let texts: PyResult<Texts> = (|| {
        Ok((
            given.get_item(1)?.extract()?,
            given.get_item(2)?.extract()?,
            given.get_item(3)?.extract()?,
            given.get_item(4)?.extract()?,
        ))
    })();
    let (group_id, deduplication_id, delay_ms, attributes) =
        texts.map_err(|_| refused(given, "a message", "not made of text without lone surrogates"))?;
    let attributes =
        attributes.into_iter().map(|(name, data_type, value)| Attribute { name, data_type, value }).collect();
    Ok(NewMessage { body, group_id, deduplication_id, delay_ms, attributes })
}

fn invoke(end: &End, function: &str, payload: &[u8], waiter: Waiter) {
    match end {
        End::Owner(owner) => owner.engine.invoke(function, payload.into(), waiter),
        End::Client(client) => client.invoke(function, payload, waiter),
    }
}

fn invoke_async(end: &End, function: &str, payload: &[u8], parent: Option<u128>, waiter: Waiter) {
    match end {
        End::Owner(owner) => owner.engine.invoke_async(function, payload, parent, waiter),
        End::Client(client) => client.invoke_async(function, payload, parent, waiter),
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
        receiver.recv().unwrap_or_else(|_| Err(EngineError::Closed("the app stopped before it answered".into())))
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

/// Data as bytes: `bytes` as they are, `str` as UTF-8.
fn bytes_of<'a>(data: &'a Bound<'_, PyAny>) -> PyResult<&'a [u8]> {
    if let Ok(bytes) = data.cast::<PyBytes>() {
        return Ok(bytes.as_bytes());
    }
    match data.cast::<PyString>() {
        Ok(text) => text.to_str().map(str::as_bytes).map_err(|_| refused(data, "data", "text with a lone surrogate")),
        Err(_) => {
            let kind = data.get_type().name().map_or_else(|_| "?".to_owned(), |name| name.to_string());
            Err(refused(data, "data", &format!("{kind}: allowed are bytes and str")))
        }
    }
}

fn text_of<'a>(text: &'a Bound<'_, PyAny>, what: &str) -> PyResult<&'a str> {
    let Ok(string) = text.cast::<PyString>() else {
        let kind = text.get_type().name().map_or_else(|_| "?".to_owned(), |name| name.to_string());
        return Err(refused(text, what, &format!("{kind}: it must be a str")));
    };
    string.to_str().map_err(|_| refused(text, what, "text with a lone surrogate"))
}

fn refused(value: &Bound<'_, PyAny>, what: &str, why: &str) -> PyErr {
    exception(value.py(), &EngineError::Invalid(format!("{what} is {why}")))
}

/// `(data, partition key)` pairs, borrowed from their objects.
struct Pairs<'py>(Vec<(Bound<'py, PyAny>, Bound<'py, PyAny>)>);

impl<'py> Pairs<'py> {
    fn of(records: &Bound<'py, PyAny>) -> PyResult<Self> {
        let mut pairs = Vec::with_capacity(records.len().unwrap_or(0));
        for item in records.try_iter()? {
            let item = item?;
            let Ok(pair) = item.cast::<PyTuple>() else {
                return Err(refused(&item, "a record", "no (data, partition_key) tuple"));
            };
            if pair.len() != 2 {
                return Err(refused(&item, "a record", "no (data, partition_key) tuple"));
            }
            pairs.push((pair.get_item(0)?, pair.get_item(1)?));
        }
        Ok(Self(pairs))
    }

    fn slices(&self) -> PyResult<Vec<(&str, &[u8])>> {
        self.0.iter().map(|(data, key)| Ok((text_of(key, "partition_key")?, bytes_of(data)?))).collect()
    }
}

#[pymethods]
impl Engine {
    #[new]
    fn new(py: Python<'_>, settings: &[u8]) -> PyResult<Self> {
        let settings: Settings = parse(py, settings)?;
        let end = py.detach(|| settings.open()).map_err(|error| exception(py, &error))?;
        Ok(Self { end: Arc::new(end), forked: AtomicBool::new(false) })
    }

    #[getter]
    fn role(&self) -> &'static str {
        match *self.end {
            End::Owner(_) => "owner",
            End::Client(_) => "client",
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
            End::Client(_) => Ok(()),
        }
    }

    fn drain(&self, py: Python<'_>) -> PyResult<()> {
        if let End::Owner(owner) = self.end(py)? {
            py.detach(|| owner.engine.drain());
        }
        Ok(())
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
            End::Client(_) => Ok(0),
        }
    }

    fn put(&self, py: Python<'_>, stream: &str, key: &Bound<'_, PyAny>, data: &Bound<'_, PyAny>) -> PyResult<Ticket> {
        let records = [(text_of(key, "partition_key")?, bytes_of(data)?)];
        let (end, ticket, _) = self.ticket(py)?;
        py.detach(|| put(end, stream, &records, Waiter::Bell(ticket | ONE)));
        Ok(ticket | ONE)
    }

    fn put_many(&self, py: Python<'_>, stream: &str, records: &Bound<'_, PyAny>) -> PyResult<Ticket> {
        let pairs = Pairs::of(records)?;
        let slices = pairs.slices()?;
        let (end, ticket, waiter) = self.ticket(py)?;
        py.detach(|| put(end, stream, &slices, waiter));
        Ok(ticket)
    }

    fn put_sync(
        &self,
        py: Python<'_>,
        stream: &str,
        key: &Bound<'_, PyAny>,
        data: &Bound<'_, PyAny>,
    ) -> PyResult<Py<PyAny>> {
        let records = [(text_of(key, "partition_key")?, bytes_of(data)?)];
        let end = self.end(py)?;
        reply(py, &wait(py, |waiter| put(end, stream, &records, waiter))?, true)
    }

    fn put_many_sync(&self, py: Python<'_>, stream: &str, records: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        let pairs = Pairs::of(records)?;
        let slices = pairs.slices()?;
        let end = self.end(py)?;
        reply(py, &wait(py, |waiter| put(end, stream, &slices, waiter))?, false)
    }

    fn send(
        &self,
        py: Python<'_>,
        queue: &str,
        messages: &Bound<'_, PyList>,
        parent: Option<&str>,
    ) -> PyResult<Ticket> {
        let (messages, parent) = (new_messages(messages)?, request_number(parent));
        let (end, ticket, waiter) = self.ticket(py)?;
        py.detach(|| send(end, queue, &messages, parent, waiter));
        Ok(ticket)
    }

    fn send_sync(
        &self,
        py: Python<'_>,
        queue: &str,
        messages: &Bound<'_, PyList>,
        parent: Option<&str>,
    ) -> PyResult<Py<PyAny>> {
        let (messages, parent) = (new_messages(messages)?, request_number(parent));
        let end = self.end(py)?;
        reply(py, &wait(py, |waiter| send(end, queue, &messages, parent, waiter))?, false)
    }

    fn invoke(&self, py: Python<'_>, function: &str, payload: &[u8]) -> PyResult<Ticket> {
        let (end, ticket, waiter) = self.ticket(py)?;
        py.detach(|| invoke(end, function, payload, waiter));
        Ok(ticket)
    }

    fn invoke_sync(&self, py: Python<'_>, function: &str, payload: &[u8]) -> PyResult<Py<PyAny>> {
        let end = self.end(py)?;
        reply(py, &wait(py, |waiter| invoke(end, function, payload, waiter))?, false)
    }

    fn invoke_async(&self, py: Python<'_>, function: &str, payload: &[u8], parent: Option<&str>) -> PyResult<Ticket> {
        let (end, ticket, waiter) = self.ticket(py)?;
        let parent = request_number(parent);
        py.detach(|| invoke_async(end, function, payload, parent, waiter));
        Ok(ticket)
    }

    fn invoke_async_sync(
        &self,
        py: Python<'_>,
        function: &str,
        payload: &[u8],
        parent: Option<&str>,
    ) -> PyResult<Py<PyAny>> {
        let end = self.end(py)?;
        let parent = request_number(parent);
        reply(py, &wait(py, |waiter| invoke_async(end, function, payload, parent, waiter))?, false)
    }

    fn request(&self, py: Python<'_>, verb: &str, body: &[u8]) -> PyResult<Ticket> {
        let (end, ticket, waiter) = self.ticket(py)?;
        py.detach(|| request(end, verb, body, waiter));
        Ok(ticket)
    }

    fn request_sync(&self, py: Python<'_>, verb: &str, body: &[u8]) -> PyResult<Py<PyAny>> {
        let end = self.end(py)?;
        reply(py, &wait(py, |waiter| request(end, verb, body, waiter))?, false)
    }

    fn exchange<'py>(
        &self,
        py: Python<'py>,
        outcomes: Vec<Outcome>,
        maximum: usize,
    ) -> PyResult<(Bound<'py, PyList>, Bound<'py, PyList>)> {
        let (works, answered) = match self.end(py)? {
            End::Owner(owner) => py.detach(|| {
                let settled = outcomes.into_iter().map(|(token, status, body, duration_ns)| Settled {
                    token,
                    status,
                    body,
                    duration_ns,
                });
                owner.engine.exchange(settled.collect(), maximum)
            }),
            End::Client(client) => (Vec::new(), client.answered()),
        };
        let handed = PyList::empty(py);
        for work in works {
            handed.append(work_tuple(py, work)?)?;
        }
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

    fn environments_at_work(&self, py: Python<'_>) -> PyResult<Vec<(String, String)>> {
        let End::Owner(owner) = self.end(py)? else { return Ok(Vec::new()) };
        Ok(py.detach(|| owner.engine.environments_at_work()))
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

fn work_tuple(py: Python<'_>, work: Work) -> PyResult<Bound<'_, PyTuple>> {
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
    (work.token, work.slot, kind, event, uuid_text(work.request), work.deadline_ms).into_pyobject(py)
}
