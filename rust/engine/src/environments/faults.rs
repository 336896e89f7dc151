//! What a function's caller is told when its environment ended instead of answering: Lambda's error objects, in its words.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use serde_json::json;

use crate::base::ids::uuid_text;
use crate::environments::report::End;

/// Why an environment gave no answer.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// It said itself why it cannot start: an error object, JSON.
    Reported(Vec<u8>),
    /// Its process could not be made.
    NotStarted(String),
    /// Its process ended.
    Exited(ExitStatus),
    /// It hung up and lived on.
    HungUp,
    /// It said what makes no sense.
    Nonsense(String),
    /// It held more memory than it may; how much, for people.
    OutOfMemory(String),
    /// It was not ready in time.
    InitTimeout(u64),
    /// The function's deadline.
    Deadline,
    /// The app stops.
    Stopped,
}

impl Fault {
    /// How the attempt in hand has ended: see `_core.pyi`.
    pub(crate) fn status(&self) -> u8 {
        match self {
            Self::Deadline => 2,
            Self::Stopped => 4,
            _ => 1,
        }
    }

    /// Lambda's type of the error, where it is not the environment that names one or the engine that wished it.
    fn kind(&self) -> Option<&'static str> {
        match self {
            Self::Reported(_) | Self::Deadline | Self::Stopped => None,
            Self::NotStarted(_) => Some("Runtime.InvalidEntrypoint"),
            Self::Nonsense(_) => Some("Runtime.Unknown"),
            Self::InitTimeout(_) => Some("Sandbox.Timedout"),
            Self::Exited(_) | Self::HungUp | Self::OutOfMemory(_) => Some("Runtime.ExitError"),
        }
    }

    /// What the REPORT line of the invocation in hand says.
    pub(crate) fn end(&self) -> End {
        match self {
            Self::Deadline => End::Timeout,
            _ => self.kind().map_or(End::Answered, End::Error),
        }
    }

    /// Lambda's error object for the invocation that gets no answer.
    pub(crate) fn body(&self, request: u128) -> Option<Vec<u8>> {
        if let Self::Reported(body) = self {
            return Some(body.clone());
        }
        let text = format!("RequestId: {} Error: {}", uuid_text(request), self.reason());
        Some(json!({"errorType": self.kind()?, "errorMessage": text}).to_string().into_bytes())
    }

    /// What the log says of it. Lambda's words for the caller leave out that a limit was passed.
    pub(crate) fn told(&self) -> String {
        match self {
            Self::OutOfMemory(held) => held.clone(),
            _ => self.reason(),
        }
    }

    /// The same in Lambda's words; empty when the ending was the engine's own wish.
    pub(crate) fn reason(&self) -> String {
        match self {
            Self::Reported(body) => String::from_utf8_lossy(body).into_owned(),
            Self::NotStarted(error) => format!("the process cannot be started: {error}"),
            Self::Exited(status) => exit_reason(*status),
            Self::HungUp => "Runtime exited without providing a reason".into(),
            Self::Nonsense(what) => format!("Runtime gave an answer that cannot be used: {what}"),
            Self::OutOfMemory(_) => "Runtime exited with error: signal: killed".into(),
            Self::InitTimeout(ns) => format!("Init timed out after {:.2} seconds", *ns as f64 / 1e9),
            Self::Deadline | Self::Stopped => String::new(),
        }
    }
}

fn exit_reason(status: ExitStatus) -> String {
    let core = if status.core_dumped() { " (core dumped)" } else { "" };
    match (status.signal(), status.code()) {
        (Some(signal), _) => format!("Runtime exited with error: signal: {}{core}", signal_name(signal)),
        (None, Some(0) | None) => "Runtime exited without providing a reason".into(),
        (None, Some(code)) => format!("Runtime exited with error: exit status {code}"),
    }
}

/// The words that Lambda uses for the signals that end a process.
fn signal_name(signal: i32) -> String {
    use rustix::process::Signal;
    let known = [
        (Signal::HUP, "hangup"),
        (Signal::INT, "interrupt"),
        (Signal::QUIT, "quit"),
        (Signal::ILL, "illegal instruction"),
        (Signal::TRAP, "trace/breakpoint trap"),
        (Signal::ABORT, "aborted"),
        (Signal::BUS, "bus error"),
        (Signal::FPE, "floating point exception"),
        (Signal::KILL, "killed"),
        (Signal::SEGV, "segmentation fault"),
        (Signal::PIPE, "broken pipe"),
        (Signal::ALARM, "alarm clock"),
        (Signal::TERM, "terminated"),
    ];
    let name = known.iter().find(|(one, _)| one.as_raw() == signal).map(|(_, name)| (*name).to_owned());
    name.unwrap_or_else(|| format!("signal {signal}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_is_told_in_lambdas_words() {
        for (raw, text) in [
            (0, "Runtime exited without providing a reason"),
            (127 << 8, "Runtime exited with error: exit status 127"),
            (9, "Runtime exited with error: signal: killed"),
            (11, "Runtime exited with error: signal: segmentation fault"),
            (0x8b, "Runtime exited with error: signal: segmentation fault (core dumped)"),
            (6, "Runtime exited with error: signal: aborted"),
        ] {
            let fault = Fault::Exited(ExitStatus::from_raw(raw));
            let body: serde_json::Value = serde_json::from_slice(&fault.body(7).unwrap()).unwrap();
            assert_eq!(body["errorType"], "Runtime.ExitError");
            assert_eq!(body["errorMessage"], format!("RequestId: 00000000-0000-0000-0000-000000000007 Error: {text}"));
        }
    }

    #[test]
    fn endings_that_the_engine_wished_carry_no_error() {
        assert_eq!((Fault::Deadline.status(), Fault::Deadline.body(1)), (2, None));
        assert_eq!((Fault::Stopped.status(), Fault::Stopped.body(1)), (4, None));
    }

    /// The log said "signal: killed", as it does of a process that somebody killed by hand.
    #[test]
    fn the_log_says_that_a_limit_of_memory_was_passed_and_the_caller_has_lambdas_words() {
        let fault = Fault::OutOfMemory("killed: 300 MiB".into());
        assert_eq!(fault.told(), "killed: 300 MiB");
        assert_eq!(fault.reason(), "Runtime exited with error: signal: killed");
    }
}
