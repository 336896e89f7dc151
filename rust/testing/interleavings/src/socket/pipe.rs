//! The engine's `socket::pipe`, into which few bytes fit, so that whoever writes must wait.

use std::io;
use std::sync::Arc;

use loom::sync::{Condvar, Mutex, MutexGuard};

#[derive(Clone)]
pub(super) struct Pipe(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    room: usize,
}

#[derive(Default)]
struct State {
    written: Vec<u8>,
    read: usize,
    ended: bool,
}

impl Pipe {
    pub(super) fn of(room: usize) -> Self {
        Self(Arc::new(Shared { state: Mutex::default(), changed: Condvar::new(), room }))
    }

    pub(super) fn write_what_fits(&self, bytes: &[u8]) -> io::Result<usize> {
        self.write(&mut self.lock(), bytes)
    }

    pub(super) fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        let mut state = self.lock();
        loop {
            let written = self.write(&mut state, bytes)?;
            bytes = &bytes[written..];
            if bytes.is_empty() {
                return Ok(());
            }
            state = self.wait(state);
        }
    }

    fn write(&self, state: &mut State, bytes: &[u8]) -> io::Result<usize> {
        if state.ended {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let many = bytes.len().min(self.0.room - (state.written.len() - state.read));
        state.written.extend_from_slice(&bytes[..many]);
        self.0.changed.notify_all();
        Ok(many)
    }

    pub(super) fn end(&self) {
        self.lock().ended = true;
        self.0.changed.notify_all();
    }

    pub(super) fn hang_up(&self) {
        self.end();
    }

    /// The owner reads so many bytes.
    pub(super) fn read(&self, many: usize) {
        let mut state = self.lock();
        for _ in 0..many {
            while state.read == state.written.len() {
                state = self.wait(state);
            }
            state.read += 1;
            self.0.changed.notify_all();
        }
    }

    /// All that was ever written.
    pub(super) fn written(&self) -> Vec<u8> {
        self.lock().written.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap()
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.0.changed.wait(state).unwrap()
    }
}
