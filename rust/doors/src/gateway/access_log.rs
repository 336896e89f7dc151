//! The access log of the gateway: lines go to a thread that writes them, so that no answer waits for a disk.

use std::fs::OpenOptions;
use std::io::{self, BufWriter, Write};
use std::sync::mpsc::{sync_channel, RecvTimeoutError, SyncSender, TrySendError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use forebay_core::gateway::access_log::{Facts, Format};
use forebay_engine::metrics::{Counter, Metric, Registry};

/// Lines that wait to be written; what comes beyond them is dropped and counted.
const LINES_MAX: usize = 10_000;
/// A line is in the file after this time.
const FLUSH: Duration = Duration::from_millis(500);

/// A log that is being written.
pub(super) struct AccessLog {
    format: Format,
    lines: Option<SyncSender<Vec<u8>>>,
    dropped: Counter,
    thread: Option<JoinHandle<()>>,
}

impl AccessLog {
    /// Write to the end of a file, or to standard output for `-`.
    pub(super) fn open(path: &str, format: &str, registry: &Registry) -> Result<Self, String> {
        let format = Format::parse(format).map_err(|error| format!("http_access_log_format: {error}"))?;
        let output: Box<dyn Write + Send> = if path == "-" {
            Box::new(io::stdout())
        } else {
            let file = OpenOptions::new().create(true).append(true).open(path);
            Box::new(file.map_err(|error| format!("http_access_log: {path}: {error}"))?)
        };
        let (lines, waiting) = sync_channel::<Vec<u8>>(LINES_MAX);
        let write = move || {
            let mut output = BufWriter::new(output);
            loop {
                // A disk that takes no log must not end the program: what it does not take is lost.
                match waiting.recv_timeout(FLUSH) {
                    Ok(line) => drop(output.write_all(&line)),
                    Err(RecvTimeoutError::Timeout) => drop(output.flush()),
                    Err(RecvTimeoutError::Disconnected) => break drop(output.flush()),
                }
            }
        };
        let thread = thread::Builder::new().name("forebay-access".into()).spawn(write);
        let thread = thread.map_err(|error| format!("no thread can be started: {error}"))?;
        let dropped = registry.counter(Metric::AccessLogDropped, &[]);
        Ok(Self { format, lines: Some(lines), dropped, thread: Some(thread) })
    }

    pub(super) fn write(&self, facts: &Facts<'_>) {
        let Some(lines) = &self.lines else { return };
        if let Err(TrySendError::Full(_)) = lines.try_send(self.format.line(facts)) {
            self.dropped.add(1);
        }
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        self.lines = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported on standard error; stopping goes on.
            let _ = thread.join();
        }
    }
}
