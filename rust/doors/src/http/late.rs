//! A server whose port another program may hold: it listens as soon as the port is free.

use std::io;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::http::server::{Server, StartError};

const RETRY: Duration = Duration::from_secs(2);

/// A server that listens, or tries to. It stops when this is dropped.
#[derive(Debug)]
pub struct LateServer {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl LateServer {
    /// Begin to listen, again and again until it succeeds. `report` is given the first error, and `None` once the server listens.
    pub fn start(
        begin: impl Fn() -> Result<Server, StartError> + Send + 'static,
        report: impl Fn(Option<&StartError>) + Send + 'static,
    ) -> io::Result<Self> {
        let (stop, stopped) = mpsc::channel::<()>();
        let thread = thread::Builder::new().name("forebay-http-late".into()).spawn(move || {
            let mut refused = false;
            let server = loop {
                match begin() {
                    Ok(server) => break server,
                    Err(error) if !refused => report(Some(&error)),
                    Err(_) => {}
                }
                refused = true;
                if stopped.recv_timeout(RETRY) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            };
            report(None);
            // Nothing is ever sent: this ends when the other end is dropped.
            let _ = stopped.recv();
            drop(server);
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for LateServer {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported on standard error; stopping goes on.
            let _ = thread.join();
        }
    }
}
