//! What is kept of each request: numbers for each operation, the facts of `forebay why`, and lines of the access log.

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::mpsc::{sync_channel, Receiver, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use forebay_engine::base::ids::uuid_text;
use forebay_engine::gateways::calls::{Called, Calls};
use forebay_engine::metrics::{Counter, Distribution, Metric, Registry};
use serde::Deserialize;
use serde_json::json;

use crate::aws::model::TimeFormat;
use crate::aws::protocol::time;
use crate::aws::value::Value;
use crate::clock::now_ms;
use crate::http::StartError;

/// Most lines that wait to be written; beyond them lines are left out, and one says how many.
const LINES_MAX: usize = 16_384;

/// About how many bytes are written at once.
const WRITE_BYTES: usize = 1 << 16;

/// Most characters of an error's text that are remembered.
const TEXT_MAX: usize = 300;

/// Why what is not served was not let in, as a metric names it.
pub const NOT_SERVED: &str = "not_served";

/// Where the access log goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogTo {
    /// To standard error.
    Stderr,
    /// To the end of a file.
    File(PathBuf),
}

/// Status in the log of a request whose client hung up before its answer, as other servers write it.
const HUNG_UP: u16 = 499;

/// A request under way. It is kept when this is dropped, which is also what happens when the client hangs up.
pub struct Entry<'d> {
    ledger: &'d Ledger,
    begun: Instant,
    client: SocketAddr,
    /// Its id.
    pub id: u128,
    /// Service and operation; empty where none was found.
    pub operation: (&'static str, &'static str),
    /// Whether that operation is served.
    pub is_served: bool,
    /// The key that signed, if its signature is right: also of a request that it may not send.
    pub key_id: String,
    /// Status of the answer.
    pub status: u16,
    /// The code and the text of an error, as the client has them.
    pub error: Option<(String, String)>,
    /// Why it was not let in.
    pub refused: Option<&'static str>,
    /// What became of a function that was invoked, where it failed.
    pub function_error: Option<String>,
    /// The type and the message of what it raised.
    thrown: Option<(String, String)>,
    /// What it made.
    pub made: Vec<String>,
    /// What a client calls its request, retries included.
    pub invocation: String,
    /// Whether the client wants errors as the older query protocol has them.
    pub is_in_query_mode: bool,
}

impl Entry<'_> {
    /// Note how a function that was invoked has failed, if it has.
    pub fn note_failure(&mut self, output: &Value) {
        let Some(error) = output.text("FunctionError") else { return };
        self.function_error = Some(error.to_owned());
        let thrown = output.blob("Payload").and_then(|payload| serde_json::from_slice(payload).ok());
        self.thrown = thrown.map(|Thrown { kind, message }| (kind, message));
    }
}

/// The error of a function as Lambda writes it.
#[derive(Deserialize)]
struct Thrown {
    #[serde(rename = "errorType")]
    kind: String,
    #[serde(rename = "errorMessage", default)]
    message: String,
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        self.ledger.keep(self, now_ms() as i64);
    }
}

#[derive(Clone)]
struct Meters {
    outcomes: [Counter; 3],
    duration: Distribution,
}

/// Keeps what is kept.
pub struct Ledger {
    calls: Arc<Calls>,
    registry: Arc<Registry>,
    meters: Mutex<HashMap<(&'static str, &'static str), Meters>>,
    log: Option<AccessLog>,
}

impl Ledger {
    /// Begin; a log that cannot be opened is refused.
    pub fn begin(registry: Arc<Registry>, calls: Arc<Calls>, log: Option<LogTo>) -> Result<Self, StartError> {
        let log = log.map(AccessLog::begin).transpose()?;
        Ok(Self { calls, registry, meters: Mutex::default(), log })
    }

    /// A request has come from somewhere.
    pub fn enter(&self, id: u128, client: SocketAddr) -> Entry<'_> {
        Entry {
            ledger: self,
            begun: Instant::now(),
            client,
            id,
            operation: ("", ""),
            is_served: false,
            key_id: String::new(),
            status: HUNG_UP,
            error: None,
            refused: None,
            function_error: None,
            thrown: None,
            made: Vec::new(),
            invocation: String::new(),
            is_in_query_mode: false,
        }
    }

    fn keep(&self, entry: &mut Entry<'_>, now_ms: i64) {
        let took = entry.begun.elapsed();
        // It is no failure of the server either.
        let refused = entry.refused.or((entry.status == 501).then_some(NOT_SERVED));
        if let Some(reason) = refused {
            self.registry.counter(Metric::AwsRefused, &[reason]).increment();
        }
        // Who has no key makes no series and pushes nothing out.
        if !entry.key_id.is_empty() && !entry.operation.1.is_empty() {
            if entry.is_served && refused.is_none() {
                let meters = self.meters(entry.operation);
                meters.outcomes[usize::from(entry.status >= 400) + usize::from(entry.status >= 500)].increment();
                meters.duration.record(took.as_secs_f64());
            }
            self.calls.note(Called {
                at_ms: now_ms as u64,
                id: entry.id,
                service: entry.operation.0,
                operation: entry.operation.1,
                key_id: entry.key_id.as_str().into(),
                status: entry.status,
                error: entry.error.as_ref().or(entry.thrown.as_ref()).map(told).map(Box::new),
                function_error: entry.function_error.as_deref().map(Into::into),
                took_ms: u32::try_from(took.as_millis()).unwrap_or(u32::MAX),
                made: std::mem::take(&mut entry.made),
            });
        }
        if let Some(log) = &self.log {
            log.write(line(entry, took, now_ms));
        }
    }

    fn meters(&self, operation: (&'static str, &'static str)) -> Meters {
        let mut meters = self.meters.lock().unwrap_or_else(PoisonError::into_inner);
        let made = || {
            let (service, name) = operation;
            let counted = |outcome| self.registry.counter(Metric::AwsRequests, &[service, name, outcome]);
            Meters {
                outcomes: ["success", "client_error", "server_error"].map(counted),
                duration: self.registry.distribution(Metric::AwsDuration, &[service, name]),
            }
        };
        meters.entry(operation).or_insert_with(made).clone()
    }
}

/// What `why` is to tell of an error: a text may repeat what was sent, and fifty thousand of them are remembered.
fn told((code, text): &(String, String)) -> (String, String) {
    (code.clone(), text.chars().take(TEXT_MAX).collect())
}

/// No body, no signature and no token is in it.
fn line(entry: &Entry<'_>, took: Duration, now_ms: i64) -> String {
    let (service, operation) = entry.operation;
    let mut line = json!({
        "time": time::write(now_ms, TimeFormat::Iso), "request_id": uuid_text(entry.id), "key_id": &entry.key_id,
        "service": service, "operation": operation, "status": entry.status,
        "took_ms": took.as_micros() as f64 / 1000.0,
    });
    if let Some((code, _)) = &entry.error {
        line["error"] = code.as_str().into();
    }
    if entry.refused.is_some() {
        line["client"] = entry.client.ip().to_string().into();
    }
    if let Some(error) = &entry.function_error {
        line["function_error"] = error.as_str().into();
    }
    if !entry.invocation.is_empty() {
        line["invocation_id"] = entry.invocation.as_str().into();
    }
    format!("{line}\n")
}

/// Lines are written by a thread of their own, so that a slow disk holds up no answer.
struct AccessLog {
    lines: Option<SyncSender<String>>,
    left_out: Arc<std::sync::atomic::AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl AccessLog {
    fn begin(to: LogTo) -> Result<Self, StartError> {
        let out: Box<dyn Write + Send> = match to {
            LogTo::Stderr => Box::new(io::stderr()),
            LogTo::File(path) => match OpenOptions::new().append(true).create(true).open(&path) {
                Ok(file) => Box::new(file),
                Err(error) => return Err(StartError::AccessLog(path, error)),
            },
        };
        let (lines, waiting) = sync_channel(LINES_MAX);
        let left_out = Arc::new(std::sync::atomic::AtomicU64::new(0));
        let counted = Arc::clone(&left_out);
        let thread = std::thread::Builder::new()
            .name("forebay-access".into())
            .spawn(move || write_lines(&waiting, out, &counted))?;
        Ok(Self { lines: Some(lines), left_out, thread: Some(thread) })
    }

    fn write(&self, line: String) {
        let sent = self.lines.as_ref().is_some_and(|lines| lines.try_send(line).is_ok());
        if !sent {
            self.left_out.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
    }
}

fn write_lines(waiting: &Receiver<String>, mut out: Box<dyn Write + Send>, left_out: &std::sync::atomic::AtomicU64) {
    while let Ok(first) = waiting.recv() {
        let mut text = first;
        while text.len() < WRITE_BYTES {
            let Ok(next) = waiting.try_recv() else { break };
            text.push_str(&next);
        }
        let lost = left_out.swap(0, std::sync::atomic::Ordering::Relaxed);
        if lost > 0 {
            text.push_str(&json!({"left_out": lost}).to_string());
            text.push('\n');
        }
        // A log that cannot be written is no reason to refuse requests. What is lost is counted as left out.
        if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
            left_out.fetch_add(text.lines().count() as u64, std::sync::atomic::Ordering::Relaxed);
        }
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        self.lines = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported on standard error.
            let _ended = thread.join();
        }
    }
}
