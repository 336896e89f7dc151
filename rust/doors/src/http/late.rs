//! A listener of an owner whose port another program may hold. Whoever takes a store over owns it nevertheless, and listens when the port
//! is free.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use forebay_engine::base::error::EngineError;

use crate::mutex::lock;

/// How long until a port is tried again.
const AGAIN: Duration = Duration::from_millis(500);

enum State<T> {
    Waiting,
    Open(T),
    Closed,
}

struct Shared<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

/// A listener that may come later. It closes when this is dropped.
pub(crate) struct Late<T> {
    shared: Arc<Shared<T>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl<T> Late<T> {
    fn with(state: State<T>) -> Self {
        Self {
            shared: Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() }),
            thread: Mutex::default(),
        }
    }

    /// Nothing listens.
    pub(crate) fn none() -> Self {
        Self::with(State::Closed)
    }

    /// Have what listens retire; what does not listen yet never will.
    pub(crate) fn retire(&self, retire: impl FnOnce(&mut T)) {
        let mut state = lock(&self.shared.state);
        match &mut *state {
            State::Open(listener) => retire(listener),
            State::Waiting => *state = State::Closed,
            State::Closed => {}
        }
        drop(state);
        self.shared.changed.notify_all();
    }

    /// Whether it is so of what listens; it is where nothing does.
    pub(crate) fn is_so(&self, ask: impl FnOnce(&T) -> bool) -> bool {
        match &*lock(&self.shared.state) {
            State::Open(listener) => ask(listener),
            State::Waiting | State::Closed => true,
        }
    }

    /// Close, and wait until that is done.
    pub(crate) fn close(&self) {
        let state = std::mem::replace(&mut *lock(&self.shared.state), State::Closed);
        self.shared.changed.notify_all();
        drop(state);
        if let Some(thread) = lock(&self.thread).take() {
            // A panic of the thread has been reported on standard error; closing goes on.
            let _ = thread.join();
        }
    }
}

impl<T: Send + 'static> Late<T> {
    /// Listen now; where that fails and `waits`, as soon as it succeeds. Of one that waits `report` is given the first error, and
    /// `None` once something listens.
    pub(crate) fn open(
        begin: impl Fn() -> Result<T, EngineError> + Send + 'static,
        waits: bool,
        report: impl Fn(Option<&EngineError>) + Send + 'static,
    ) -> Result<Self, EngineError> {
        let error = match begin() {
            Ok(listener) => {
                if waits {
                    report(None);
                }
                return Ok(Self::with(State::Open(listener)));
            }
            Err(error) if !waits => return Err(error),
            Err(error) => error,
        };
        report(Some(&error));
        Self::later(begin, AGAIN, report, true)
    }

    /// The same, where nobody waits for the first attempt either.
    pub(crate) fn soon(
        begin: impl Fn() -> Result<T, EngineError> + Send + 'static,
        report: impl Fn(Option<&EngineError>) + Send + 'static,
    ) -> Result<Self, EngineError> {
        Self::later(begin, Duration::ZERO, report, false)
    }

    fn later(
        begin: impl Fn() -> Result<T, EngineError> + Send + 'static,
        mut wait: Duration,
        report: impl Fn(Option<&EngineError>) + Send + 'static,
        mut has_reported: bool,
    ) -> Result<Self, EngineError> {
        let late = Self::with(State::Waiting);
        let shared = Arc::clone(&late.shared);
        let again = move || loop {
            let state = lock(&shared.state);
            let (state, _) = shared.changed.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner);
            if !matches!(*state, State::Waiting) {
                return;
            }
            // Whoever closes meanwhile does not wait for it to begin.
            drop(state);
            match begin() {
                Ok(listener) => {
                    let mut state = lock(&shared.state);
                    if matches!(*state, State::Waiting) {
                        *state = State::Open(listener);
                        drop(state);
                        report(None);
                    }
                    return;
                }
                Err(error) if !has_reported => report(Some(&error)),
                Err(_) => {}
            }
            (wait, has_reported) = (AGAIN, true);
        };
        let thread = thread::Builder::new().name("forebay-late".into()).spawn(again);
        let thread = thread.map_err(|error| EngineError::Closed(format!("no thread can be started: {error}")))?;
        *lock(&late.thread) = Some(thread);
        Ok(late)
    }
}

impl<T> Drop for Late<T> {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::sync::mpsc;

    use super::*;

    fn begin_at(port: u16) -> impl Fn() -> Result<TcpListener, EngineError> {
        move || TcpListener::bind(("127.0.0.1", port)).map_err(|error| EngineError::Invalid(error.to_string()))
    }

    #[test]
    fn a_port_that_is_held_is_waited_for() {
        let held = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = held.local_addr().unwrap().port();
        assert!(Late::open(begin_at(port), false, |_| {}).is_err());
        let (told, reports) = mpsc::channel();
        let report = move |error: Option<&EngineError>| told.send(error.is_some()).unwrap();
        let late = Late::open(begin_at(port), true, report).unwrap();
        assert_eq!(reports.recv(), Ok(true));
        drop(held);
        assert_eq!(reports.recv(), Ok(false));
        let mut listens = false;
        late.retire(|_| listens = true);
        assert!(listens);
        late.close();
        assert!(TcpListener::bind(("127.0.0.1", port)).is_ok());
    }

    #[test]
    fn what_is_to_listen_soon_says_once_that_it_cannot_yet() {
        let held = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = held.local_addr().unwrap().port();
        let (told, reports) = mpsc::channel();
        let report = move |error: Option<&EngineError>| told.send(error.is_some()).unwrap();
        let late = Late::soon(begin_at(port), report).unwrap();
        assert_eq!(reports.recv(), Ok(true));
        drop(held);
        assert_eq!(reports.recv(), Ok(false));
        late.close();
    }

    #[test]
    fn what_is_closed_before_it_listens_never_does() {
        let held = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = held.local_addr().unwrap().port();
        let late = Late::open(begin_at(port), true, |_| {}).unwrap();
        late.close();
        drop(held);
        assert!(TcpListener::bind(("127.0.0.1", port)).is_ok());
        Late::<TcpListener>::none().close();
    }
}
