//! How the engine and an environment talk: frames over a socket, or the Lambda Runtime API. Never waiting for either.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;

use crate::environments::frame;
use crate::environments::frame::Said;
use crate::environments::mailbox::Invocation;
use crate::environments::runtime_api::Endpoint;

/// Bytes read at once.
const READ: usize = 64 << 10;

/// The two ways to talk.
#[derive(Debug)]
pub(crate) enum Link {
    /// A Python environment's standard input.
    Frames(Frames),
    /// Any language's client of the Runtime API.
    Api(Endpoint),
}

impl Link {
    /// Begin to send an invocation.
    pub(crate) fn send(&mut self, invocation: &Invocation) {
        match self {
            Self::Frames(frames) => frames.send(invocation),
            Self::Api(endpoint) => endpoint.give(invocation),
        }
    }

    /// Send on what could not be sent at once.
    pub(crate) fn flush(&mut self) {
        if let Self::Frames(frames) = self {
            frames.flush();
        }
    }

    /// Something is left to be sent.
    pub(crate) fn is_sending(&self) -> bool {
        matches!(self, Self::Frames(frames) if frames.is_sending())
    }

    /// Read some of what is there; false if there is nothing.
    pub(crate) fn fill(&mut self) -> bool {
        match self {
            Self::Frames(frames) => frames.fill(),
            Self::Api(_) => false,
        }
    }

    /// The next thing that was said; the error says what makes no sense.
    pub(crate) fn said(&mut self) -> Result<Option<Said>, String> {
        match self {
            Self::Frames(frames) => frame::take(&mut frames.read),
            Self::Api(endpoint) => Ok(endpoint.said()),
        }
    }

    /// Say that there will be no more work.
    pub(crate) fn hang_up(&self) {
        if let Self::Frames(frames) = self {
            // One that is already gone needs not be told.
            let _gone = frames.socket.shutdown(std::net::Shutdown::Write);
        }
    }

    /// The other end is closed.
    pub(crate) fn has_hung_up(&self) -> bool {
        matches!(self, Self::Frames(frames) if frames.hung_up)
    }
}

/// A socket and what is under way on it.
#[derive(Debug)]
pub(crate) struct Frames {
    pub(crate) socket: UnixStream,
    out: Vec<u8>,
    written: usize,
    read: Vec<u8>,
    buffer: Box<[u8]>,
    hung_up: bool,
}

impl Frames {
    pub(crate) fn new(socket: UnixStream) -> std::io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self { socket, out: Vec::new(), written: 0, read: Vec::new(), buffer: vec![0; READ].into(), hung_up: false })
    }

    fn send(&mut self, invocation: &Invocation) {
        self.out = frame::invocation(invocation);
        self.written = 0;
        self.flush();
    }

    /// A socket that takes nothing any more shows by its end when it is read.
    fn flush(&mut self) {
        while self.is_sending() {
            match self.socket.write(&self.out[self.written..]) {
                Ok(written) => self.written += written,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => self.written = self.out.len(),
            }
        }
    }

    fn is_sending(&self) -> bool {
        self.written < self.out.len()
    }

    fn fill(&mut self) -> bool {
        match self.socket.read(&mut self.buffer) {
            Ok(0) => self.hung_up = true,
            Ok(read) => {
                self.read.extend_from_slice(&self.buffer[..read]);
                return true;
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(_) => self.hung_up = true,
        }
        false
    }
}
