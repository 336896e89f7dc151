//! The log of one request, as `TestInvokeMethod` shows it.

use std::fmt::Write as _;

/// Bytes of a log: what is longer is cut, as on AWS.
const BYTES_MAX: usize = 64 * 1024;
/// Bytes of a body in it.
const BODY_BYTES_MAX: usize = 1_024;

/// The lines of a log; nothing is written where nobody reads it.
#[derive(Clone, Debug, Default)]
pub struct Log {
    lines: Option<String>,
    time: String,
}

impl Log {
    /// A log that is kept, of a request that came at this time.
    pub fn kept(request_id: &str, time_ms: u64) -> Self {
        let at = jiff::Timestamp::from_millisecond(time_ms as i64).unwrap_or_default();
        let time = at.strftime("%a %b %d %H:%M:%S UTC %Y").to_string();
        let mut log = Self { lines: Some(format!("Execution log for request {request_id}\n")), time };
        log.line(|| format!("Starting execution for request: {request_id}"));
        log
    }

    /// Add a line.
    pub fn line(&mut self, text: impl FnOnce() -> String) {
        if let Some(lines) = self.lines.as_mut().filter(|lines| lines.len() < BYTES_MAX) {
            // Writing to memory does not fail.
            let _ = writeln!(lines, "{} : {}", self.time, text());
        }
    }

    /// Add a body, cut where it is long.
    pub fn body(&mut self, what: &str, body: &[u8]) {
        self.line(|| {
            let text = String::from_utf8_lossy(&body[..body.len().min(BODY_BYTES_MAX)]);
            let cut = if body.len() > BODY_BYTES_MAX { " [TRUNCATED]" } else { "" };
            format!("{what}: {text}{cut}")
        });
    }

    /// Add names with values.
    pub fn fields<N: AsRef<str>, V: AsRef<str>>(&mut self, what: &str, fields: &[(N, V)]) {
        self.line(|| {
            let all: Vec<String> = fields
                .iter()
                .map(|(name, value)| format!("{}={}", name.as_ref(), shown(name.as_ref(), value.as_ref())))
                .collect();
            format!("{what}: {{{}}}", all.join(", "))
        });
    }

    /// The text; empty where none was kept.
    pub fn text(&self) -> &str {
        self.lines.as_deref().unwrap_or_default()
    }
}

/// A value as a log has it: of what opens a door only the end.
fn shown(name: &str, value: &str) -> String {
    let is_secret =
        ["authorization", "x-api-key", "x-amz-security-token", "cookie"].contains(&name.to_ascii_lowercase().as_str());
    if !is_secret {
        return value.to_owned();
    }
    let end: String =
        value.chars().rev().take(if value.len() > 12 { 6 } else { 0 }).collect::<Vec<_>>().into_iter().rev().collect();
    format!("{}{end}", "*".repeat(20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_hides_secrets_and_is_bounded() {
        let mut log = Log::kept("r1", 1_573_077_594_000);
        log.fields(
            "Method request headers",
            &[("X-A", "1"), ("Authorization", "Bearer abcdefghijk"), ("x-api-key", "short")],
        );
        let stars = "*".repeat(20);
        let line = format!("Wed Nov 06 21:59:54 UTC 2019 : Method request headers: {{X-A=1, Authorization={stars}fghijk, x-api-key={stars}}}");
        assert_eq!(log.text().lines().nth(2), Some(&*line));
        for _ in 0..200 {
            log.body("Method request body", &[b'x'; 10_000]);
        }
        assert!(log.text().len() < BYTES_MAX + 2_000 && log.text().contains("[TRUNCATED]"));
        assert_eq!(Log::default().text(), "");
        // What is full gets no line more.
        for (bytes, expected) in [(BYTES_MAX - 1, true), (BYTES_MAX, false)] {
            let mut log = Log::kept("r1", 0);
            let frame = log.time.len() + " : \n".len();
            log.line(|| "x".repeat(bytes - log_bytes(&Log::kept("r1", 0)) - frame));
            assert_eq!(log_bytes(&log), bytes);
            log.line(|| "more".into());
            assert_eq!(log.text().ends_with(" : more\n"), expected, "{bytes}");
        }
    }

    fn log_bytes(log: &Log) -> usize {
        log.text().len()
    }
}
