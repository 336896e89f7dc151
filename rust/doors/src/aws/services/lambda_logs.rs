//! The last lines of an invocation, as `LogType=Tail` gives them: START, what its function wrote, END, REPORT.
//! <https://docs.aws.amazon.com/lambda/latest/dg/python-logging.html>

use std::fmt::Write as _;
use std::time::Duration;

use forebay_engine::base::ids::uuid_text;
use forebay_engine::environments::tails::{Written, TAIL_BYTES};
use serde_json::Value as Json;

/// What a function may have where nothing else is said, as its context tells it.
const MEBIBYTES_DEFAULT: u64 = 128;
const TIMED_OUT: &str = "Sandbox.Timedout";

/// An invocation that has ended.
pub(super) struct Ended<'e> {
    pub(super) request: u128,
    pub(super) version: &'e str,
    pub(super) took: Duration,
    /// Its error object, where it has failed.
    pub(super) error: Option<&'e [u8]>,
}

impl Ended<'_> {
    /// The last bytes of its lines.
    pub(super) fn tail(&self, written: &Written) -> Vec<u8> {
        let id = uuid_text(self.request);
        let mut lines = format!("START RequestId: {id} Version: {}\n", self.version).into_bytes();
        lines.extend_from_slice(&written.text);
        if !lines.ends_with(b"\n") {
            lines.push(b'\n');
        }
        let error: Json = self.error.and_then(|error| serde_json::from_slice(error).ok()).unwrap_or_default();
        lines.extend(told(&error).into_bytes());
        let ms = self.took.as_secs_f64() * 1e3;
        let (limit, peak) = written.memory.unwrap_or_else(|| (MEBIBYTES_DEFAULT << 20, peak().unwrap_or_default()));
        let status = if error["errorType"] == TIMED_OUT { "\tStatus: timeout" } else { "" };
        let report = format!(
            "END RequestId: {id}\nREPORT RequestId: {id}\tDuration: {ms:.2} ms\tBilled Duration: {:.0} ms\t\
             Memory Size: {} MB\tMax Memory Used: {} MB{status}\n",
            ms.ceil(),
            limit >> 20,
            peak.div_ceil(1 << 20),
        );
        lines.extend(report.into_bytes());
        lines.split_off(lines.len().saturating_sub(TAIL_BYTES))
    }
}

/// The lines that Lambda's Python runtime writes of an error that a handler has not caught.
fn told(error: &Json) -> String {
    let mut lines = String::new();
    let (kind, text) = (error["errorType"].as_str(), error["errorMessage"].as_str());
    if kind == Some(TIMED_OUT) {
        // It says which request it was, as Lambda's line does.
        let _ = writeln!(lines, "{}", text.unwrap_or_default());
    } else if kind.is_some() || text.is_some() {
        let _ = writeln!(lines, "[ERROR] {}: {}", kind.unwrap_or("Error"), text.unwrap_or_default());
        let trace: Vec<&str> = error["stackTrace"].as_array().into_iter().flatten().filter_map(Json::as_str).collect();
        if !trace.is_empty() {
            let _ = writeln!(lines, "Traceback (most recent call last):\n{}", trace.concat().trim_end());
        }
    }
    lines
}

/// The most memory that this process has had, bytes, where the system tells it.
fn peak() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_lambdas_form_and_the_last_of_them_are_kept() {
        let ended = |error| Ended { request: 7, version: "3", took: Duration::from_micros(1_230), error };
        let id = "00000000-0000-0000-0000-000000000007";
        let written = |text: &[u8]| Written { text: text.to_vec(), memory: Some((256 << 20, (38 << 20) - 1)) };
        let end = format!(
            "END RequestId: {id}\nREPORT RequestId: {id}\tDuration: 1.23 ms\tBilled Duration: 2 ms\tMemory Size: 256 MB\t\
             Max Memory Used: 38 MB"
        );
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let begin = format!("START RequestId: {id} Version: 3\n");
        assert_eq!(text(ended(None).tail(&written(b"hello"))), format!("{begin}hello\n{end}\n"));
        let error =
            br#"{"errorType": "KeyError", "errorMessage": "'a'", "stackTrace": ["  File \"f.py\"\n", "    x\n"]}"#;
        let told = "[ERROR] KeyError: 'a'\nTraceback (most recent call last):\n  File \"f.py\"\n    x\n";
        assert_eq!(text(ended(Some(error)).tail(&written(b""))), format!("{begin}{told}{end}\n"));
        let late = br#"{"errorType": "Sandbox.Timedout", "errorMessage": "Task timed out"}"#;
        let told = format!("{begin}Task timed out\n{end}\tStatus: timeout\n");
        assert_eq!(text(ended(Some(late)).tail(&written(b""))), told);
        let long = ended(None).tail(&written(&[b'x'; TAIL_BYTES]));
        assert_eq!((long.len(), long[0]), (TAIL_BYTES, b'x'));
        assert!(text(long).ends_with(&format!("{end}\n")));
    }

    #[test]
    fn a_function_of_this_process_has_its_memory() {
        let ended = Ended { request: 1, version: "$LATEST", took: Duration::ZERO, error: None };
        let told = String::from_utf8(ended.tail(&Written::default())).unwrap();
        assert!(told.contains("Memory Size: 128 MB\tMax Memory Used: "), "{told}");
    }
}
