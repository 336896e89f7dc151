//! What a client sends: written at once while the owner reads, by a thread of its own when it does not. Whoever asks never waits,
//! so an event loop runs on beside an owner that is stopped, or busy with another client.

use std::collections::VecDeque;

use crate::base::error::EngineError;
use crate::base::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use crate::socket::pipe::Pipe;

/// Bytes that wait for the owner to read them, from which on no further request is taken.
const WAITING_MAX: usize = 64 << 20;
/// When a refused request may be tried again.
const RETRY_AFTER_MS: u64 = 100;

/// A frame, what of it is written, and whose it is.
struct Waiting {
    id: u64,
    bytes: Vec<u8>,
    written: usize,
}

#[derive(Default)]
struct Line {
    waiting: VecDeque<Waiting>,
    bytes: usize,
    /// The thread writes what it has taken from the line: nothing may overtake it.
    writing: bool,
    closed: bool,
}

/// One client's frames.
pub(super) struct Outgoing {
    pipe: Pipe,
    line: Mutex<Line>,
    changed: Condvar,
}

/// What was not written whole when the owner hung up: certainly not accepted.
pub(super) type Unsent = Vec<u64>;

impl Outgoing {
    pub(crate) fn new(pipe: Pipe) -> Self {
        Self { pipe, line: Mutex::default(), changed: Condvar::new() }
    }

    /// Send a frame, in its turn. Fails when too much waits, unless it is one that goes `always`, and when the owner reads no more.
    pub(super) fn send(&self, id: u64, bytes: Vec<u8>, always: bool) -> Result<(), EngineError> {
        let mut line = self.lock();
        if line.closed {
            return Err(crate::socket::client::left());
        }
        let mut written = 0;
        if !line.writing && line.waiting.is_empty() {
            // An owner that reads no more has not got the whole frame, and so did not accept it.
            written = self.pipe.write_what_fits(&bytes).map_err(|_| {
                // A part of the frame may be written: another one behind it would be read as its rest.
                line.closed = true;
                self.pipe.end();
                crate::socket::client::left()
            })?;
            if written == bytes.len() {
                return Ok(());
            }
        } else if !always && line.bytes + bytes.len() > WAITING_MAX {
            return Err(EngineError::TooMany {
                message: format!(
                    "{} bytes of requests wait for the process that owns the store to read them, {WAITING_MAX} are allowed",
                    line.bytes
                ),
                reason: "StoreBacklog".into(),
                retry_after_ms: RETRY_AFTER_MS,
            });
        }
        line.bytes += bytes.len() - written;
        line.waiting.push_back(Waiting { id, bytes, written });
        self.changed.notify_one();
        Ok(())
    }

    /// Write what waits, until it is closed or the owner hangs up; give what is left. For a thread of its own.
    pub(super) fn write(&self) -> Unsent {
        loop {
            let mut line = self.lock();
            while line.waiting.is_empty() && !line.closed {
                line = self.changed.wait(line).unwrap_or_else(PoisonError::into_inner);
            }
            let Some(next) = line.waiting.pop_front() else { return Vec::new() };
            line.writing = true;
            drop(line);
            let written = self.pipe.write_all(&next.bytes[next.written..]).is_ok();
            let mut line = self.lock();
            line.writing = false;
            line.bytes -= next.bytes.len() - next.written;
            if !written {
                line.closed = true;
                line.bytes = 0;
                let rest = line.waiting.drain(..).map(|frame| frame.id);
                return std::iter::once(next.id).chain(rest).collect();
            }
        }
    }

    /// Hang up: what waits is not sent.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.pipe.hang_up();
        self.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
