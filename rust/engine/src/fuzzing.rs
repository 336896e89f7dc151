//! Doors to the decoders that no other crate may call, for the tests that give them hostile bytes. Built for tests alone.

use std::future::Future;
use std::io;
use std::pin::{pin, Pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use hyper::rt::{Read, ReadBufCursor, Write};

use crate::base::{json, trace};
use crate::dispatch::attempts::{Task, Work};
use crate::environments;
use crate::environments::assignment;
use crate::environments::frame::Said;
use crate::environments::mailbox::{Invocation, Mailbox};
use crate::environments::output::{Output, Speaker};
use crate::environments::runtime_api::PendingInvocations;
use crate::failures::{log, search};
use crate::payload::event as row;
use crate::payload::event::Event;

/// The id of the invocation that [`runtime_api`] has to give.
pub const REQUEST_ID: &str = "00000000-0000-0000-0000-000000000007";

/// Read what an environment's process says, frame by frame, until there is no whole one.
pub fn environment_frames(bytes: &[u8]) -> Result<usize, String> {
    let (mut rest, mut frames) = (bytes.to_vec(), 0);
    while environments::frame::take(&mut rest)?.is_some() {
        frames += 1;
    }
    Ok(frames)
}

/// Work for another process, and what is to be stopped there, as it is sent.
pub fn assignments() -> Vec<Vec<u8>> {
    let given = |task: Task| {
        let (qualifier, trace) = (Some("live".into()), Some("00-1-2-01".into()));
        let work = Work { token: 7, handler: 0, request: 9, deadline_ms: 11, qualifier, trace, task };
        let mut bytes = Vec::new();
        assignment::put(&work, 2, (true, false), &mut bytes);
        assignment::put_stop(8, true, &mut bytes);
        bytes
    };
    [Task::Event((*b"{}").into()), Task::Invoke((*b"1").into())].map(given).into()
}

/// Pass on what an environment's process writes during one invocation, read in these pieces.
pub fn environment_output<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let (mut output, mut passed) = (Output::default(), Vec::new());
    let who = Speaker { function: "f", request: Some(7), tails: None };
    for mut piece in pieces {
        while !piece.is_empty() {
            output.read(&mut piece, &who, &mut passed);
        }
    }
    output.close(&who, &mut passed);
    passed
}

/// Whether a payload or a response counts as JSON.
pub fn is_json(bytes: &[u8]) -> bool {
    json::check(bytes).is_ok()
}

/// Read the row of an asynchronous event; give it as it would be written again.
pub fn event_row(bytes: &[u8]) -> Option<Vec<u8>> {
    Event::decode(bytes).map(|event| event.encode())
}

/// Whether these bytes are the key of an asynchronous event's row.
pub fn is_event_key(bytes: &[u8]) -> bool {
    row::parse_key(bytes).is_some()
}

/// Read a failure's row: how many bytes of payload stand in it.
pub fn failure_row(bytes: &[u8]) -> Option<usize> {
    log::decode(bytes).map(|(_, payload)| payload.len())
}

/// Whether a token names a place to go on from in a list.
pub fn is_search_token(text: &str) -> bool {
    search::parse_token(text).is_some()
}

/// A trace context as callers give it: refused, or in the form that the Runtime API hands on.
pub fn trace_context(text: &str) -> Result<Option<String>, crate::base::error::EngineError> {
    trace::check_trace(Some(text))?;
    Ok(trace::x_ray(text))
}

/// Say these bytes to the Runtime API of an environment that has one invocation to do. What it answers, and how often the invocation
/// was ended.
pub fn runtime_api(bytes: &[u8]) -> (Vec<u8>, usize) {
    let Ok(mailbox) = Mailbox::new() else { return Default::default() };
    let pending = PendingInvocations::new(Arc::new(mailbox), "arn".into());
    let task = Task::Invoke(b"{}"[..].into());
    let work = Work { token: 1, handler: 0, request: 7, deadline_ms: 1, trace: None, qualifier: None, task };
    pending.give(&Invocation { work, reads: true, reports: true });
    let said = hear(bytes, |wire| pending.converse(wire));
    let told = std::iter::from_fn(|| pending.said());
    (said, told.filter(|told| matches!(told, Said::Returned(_) | Said::Raised(_))).count())
}

/// Have a conversation until nothing goes on in it: a server may wait for ever for what nobody will give it.
pub fn hear<F: Future<Output = ()>>(bytes: &[u8], converse: impl FnOnce(Wire) -> F) -> Vec<u8> {
    let said = Arc::<Mutex<Vec<u8>>>::default();
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_time().build() else { return Vec::new() };
    let _timers = runtime.enter();
    let mut conversation = pin!(converse(Wire { bytes: bytes.to_vec(), at: 0, waited: false, said: said.clone() }));
    let woken = Arc::new(Woken(AtomicBool::new(true)));
    let waker = Waker::from(woken.clone());
    while woken.0.swap(false, Ordering::Relaxed) {
        if conversation.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
            break;
        }
    }
    let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
    std::mem::take(&mut said)
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A connection that brings what it was given, waits for an answer, and hangs up; what is said to it is kept.
pub struct Wire {
    bytes: Vec<u8>,
    at: usize,
    waited: bool,
    said: Arc<Mutex<Vec<u8>>>,
}

impl Read for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if self.at == self.bytes.len() && !std::mem::replace(&mut self.waited, true) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let end = self.bytes.len().min(self.at + buffer.remaining());
        buffer.put_slice(&self.bytes[self.at..end]);
        self.at = end;
        Poll::Ready(Ok(()))
    }
}

impl Write for Wire {
    fn poll_write(self: Pin<&mut Self>, _context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
