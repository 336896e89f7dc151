//! The bell: a socket pair whose reading end the event loop watches. It rings once however often it is struck before it is
//! heard.

use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};

/// One end for the engine to strike, one for the event loop to watch.
#[derive(Debug)]
pub struct Bell {
    strike: UnixStream,
    watch: UnixStream,
    rung: AtomicBool,
}

impl Bell {
    /// A silent bell.
    pub fn new() -> std::io::Result<Self> {
        let (strike, watch) = UnixStream::pair()?;
        strike.set_nonblocking(true)?;
        watch.set_nonblocking(true)?;
        Ok(Self { strike, watch, rung: AtomicBool::new(false) })
    }

    /// Make the watched end readable. Never waits: a full socket means that it rings already.
    pub fn ring(&self) {
        if !self.rung.swap(true, Ordering::SeqCst) {
            let _already_ringing = (&self.strike).write(&[1]);
        }
    }

    /// Make the watched end silent; look for what it rang for only afterwards. Drained first, then declared silent: the
    /// other way round a stroke in between would be drained while the bell counts as rung, and it would never ring again.
    pub fn quiet(&self) {
        self.drain();
        self.rung.store(false, Ordering::SeqCst);
    }

    fn drain(&self) {
        let mut drained = [0u8; 64];
        while matches!((&self.watch).read(&mut drained), Ok(read) if read == drained.len()) {}
    }

    /// The watched end.
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.watch.as_fd()
    }

    /// The descriptor to watch.
    pub fn fileno(&self) -> RawFd {
        self.watch.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rings(bell: &Bell) -> bool {
        matches!((&bell.watch).read(&mut [0u8; 1]), Ok(1))
    }

    #[test]
    fn it_rings_once_until_it_is_heard() {
        let bell = Bell::new().unwrap();
        assert!(!rings(&bell));
        for _ in 0..10_000 {
            bell.ring();
        }
        assert!(rings(&bell));
        assert!(!rings(&bell));
        bell.quiet();
        bell.ring();
        assert!(rings(&bell));
    }
    /// A mapping stood still for ever: a stroke between the two steps of `quiet` was drained while the bell counted as rung.
    #[test]
    fn a_stroke_while_it_is_made_silent_does_not_mute_it() {
        let bell = Bell::new().unwrap();
        bell.ring();
        bell.drain();
        bell.ring();
        bell.quiet();
        bell.ring();
        assert!(rings(&bell));
    }
}
