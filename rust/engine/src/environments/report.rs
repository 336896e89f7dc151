//! START, END and REPORT: the lines that Lambda writes about each invocation.
//! <https://docs.aws.amazon.com/lambda/latest/dg/python-logging.html>

use std::time::Duration;

use crate::base::ids::uuid_text;
use crate::environments::process::Process;
use crate::environments::Launch;

/// What REPORT says about how an invocation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The environment answered, with a response or an error of the handler's own.
    Answered,
    /// The deadline.
    Timeout,
    /// The environment ended instead; Lambda's error type.
    Error(&'static str),
}

/// Writes one environment's lines.
#[derive(Debug)]
pub(crate) struct Reporter {
    version: String,
    memory_mebibytes: u64,
    /// Said by the first invocation, if it waited for the start.
    init: Option<Duration>,
    is_on_demand: bool,
    peak_bytes: u64,
}

impl Reporter {
    pub(crate) fn new(launch: &Launch) -> Self {
        Self {
            version: launch.program.version.clone(),
            memory_mebibytes: launch.program.memory_mebibytes,
            init: None,
            is_on_demand: launch.is_on_demand(),
            peak_bytes: 0,
        }
    }

    /// The environment takes work from now on.
    pub(crate) fn initialized(&mut self, took: Duration) {
        self.init = self.is_on_demand.then_some(took);
    }

    /// See how much memory it has taken, while it is there to be seen.
    pub(crate) fn look_at(&mut self, process: &Process) {
        self.peak_bytes = self.peak_bytes.max(process.peak());
    }

    pub(crate) fn start(&self, request: u128) -> String {
        format!("START RequestId: {} Version: {}", uuid_text(request), self.version)
    }

    pub(crate) fn end(&mut self, request: u128, took: Duration, end: End) -> String {
        let id = uuid_text(request);
        let ms = took.as_secs_f64() * 1e3;
        let init = self.init.take().map(|init| format!("\tInit Duration: {:.2} ms", init.as_secs_f64() * 1e3));
        let status = match end {
            End::Answered => String::new(),
            End::Timeout => "\tStatus: timeout".into(),
            End::Error(kind) => format!("\tStatus: error\tError Type: {kind}"),
        };
        format!(
            "END RequestId: {id}\nREPORT RequestId: {id}\tDuration: {ms:.2} ms\tBilled Duration: {:.0} ms\t\
             Memory Size: {} MB\tMax Memory Used: {} MB{}{status}",
            ms.ceil(),
            self.memory_mebibytes,
            self.peak_bytes.div_ceil(1 << 20),
            init.unwrap_or_default(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_lambdas_form_and_a_cold_start_is_told_once() {
        let mut reporter = Reporter {
            version: "$LATEST".into(),
            memory_mebibytes: 128,
            init: None,
            is_on_demand: true,
            peak_bytes: 38 << 20,
        };
        let id = "00000000-0000-0000-0000-000000000007";
        reporter.initialized(Duration::from_micros(130_250));
        assert_eq!(reporter.start(7), format!("START RequestId: {id} Version: $LATEST"));
        let report = format!(
            "END RequestId: {id}\nREPORT RequestId: {id}\tDuration: 1.23 ms\tBilled Duration: 2 ms\tMemory Size: 128 MB\t\
             Max Memory Used: 38 MB"
        );
        let took = Duration::from_micros(1_230);
        assert_eq!(reporter.end(7, took, End::Answered), format!("{report}\tInit Duration: 130.25 ms"));
        assert_eq!(reporter.end(7, took, End::Timeout), format!("{report}\tStatus: timeout"));
        let end = reporter.end(7, took, End::Error("Runtime.ExitError"));
        assert_eq!(end, format!("{report}\tStatus: error\tError Type: Runtime.ExitError"));
    }

    #[test]
    fn an_invocation_that_waited_for_no_start_tells_of_none() {
        let mut reporter =
            Reporter { version: "1".into(), memory_mebibytes: 512, init: None, is_on_demand: false, peak_bytes: 0 };
        reporter.initialized(Duration::from_secs(1));
        assert!(!reporter.end(1, Duration::ZERO, End::Answered).contains("Init Duration"));
    }
}
