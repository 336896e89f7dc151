//! The client's end of the owner's socket, as far as it is written to.

use std::io::{self, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use rustix::io::Errno;
use rustix::net::{send, SendFlags};

pub(super) struct Pipe(UnixStream);

impl Pipe {
    pub(crate) fn new(stream: UnixStream) -> Self {
        Self(stream)
    }

    /// Write what fits at once; how much that was. Fails when the owner reads no more.
    pub(super) fn write_what_fits(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut written = 0;
        while written < bytes.len() {
            match send(&self.0, &bytes[written..], SendFlags::DONTWAIT) {
                Ok(more) => written += more,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(written)
    }

    /// Write all of it, however long the owner takes to read it.
    pub(super) fn write_all(&self, bytes: &[u8]) -> io::Result<()> {
        (&self.0).write_all(bytes)
    }

    /// Write no more. Answers still come.
    pub(super) fn end(&self) {
        let _closed = self.0.shutdown(Shutdown::Write);
    }

    /// Neither write nor read any more. Whoever waits to do so fails.
    pub(super) fn hang_up(&self) {
        let _closed = self.0.shutdown(Shutdown::Both);
    }
}
