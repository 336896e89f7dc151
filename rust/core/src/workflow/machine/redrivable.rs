//! Whether an execution that has ended may go on with a redrive: one rule for those who ask and for those who do it.

use super::{EVENTS_MAX, REDRIVES_MAX, REDRIVE_MS_MAX};

/// What the rule looks at of a Standard execution that has ended.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// It has an output.
    pub has_succeeded: bool,
    /// When it ended.
    pub stopped_ms: u64,
    /// How many events its history has.
    pub events: u32,
    /// How often it was redriven.
    pub redrives: u32,
}

/// Why an execution may not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotRedrivable {
    /// It is of an Express workflow.
    Express,
    /// It has not ended.
    Running,
    /// It has nothing to do again.
    Succeeded,
    /// It ended too long ago.
    Period,
    /// Its history has no room.
    Events,
    /// It was redriven too often.
    Redrives,
}

impl Ended {
    /// Why it may not go on; `None`: it may.
    /// <https://docs.aws.amazon.com/step-functions/latest/apireference/API_RedriveExecution.html>
    pub fn not_redrivable(&self, now_ms: u64) -> Option<NotRedrivable> {
        let rules = [
            (self.has_succeeded, NotRedrivable::Succeeded),
            (now_ms.saturating_sub(self.stopped_ms) > REDRIVE_MS_MAX, NotRedrivable::Period),
            (self.events + 1 >= EVENTS_MAX - 1, NotRedrivable::Events),
            (self.redrives >= REDRIVES_MAX, NotRedrivable::Redrives),
        ];
        rules.into_iter().find(|(is_so, _)| *is_so).map(|(_, why)| why)
    }
}

impl NotRedrivable {
    /// The end of a sentence that begins with the execution.
    pub fn what(self) -> &'static str {
        match self {
            Self::Express => "is of an Express workflow",
            Self::Running => "is running",
            Self::Succeeded => "has succeeded",
            Self::Period => "ended more than 14 days ago",
            Self::Events => "has 24,999 events",
            Self::Redrives => "was redriven 1,000 times",
        }
    }

    /// What `DescribeExecution` says of it. AWS has no text for the last one.
    /// <https://docs.aws.amazon.com/step-functions/latest/apireference/API_DescribeExecution.html>
    pub fn reason(self) -> &'static str {
        match self {
            Self::Express => "Execution is of an Express workflow and cannot be redriven",
            Self::Running => "Execution is RUNNING and cannot be redriven",
            Self::Succeeded => "Execution is SUCCEEDED and cannot be redriven",
            Self::Period => "Execution redrivable period exceeded",
            Self::Events => "Execution history event limit exceeded",
            Self::Redrives => "Execution redrive limit exceeded",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_changes_where_a_redrive_is_refused() {
        let failed = Ended { has_succeeded: false, stopped_ms: 1_000, events: 24_997, redrives: 999 };
        let at = REDRIVE_MS_MAX + 1_000;
        assert_eq!(failed.not_redrivable(at), None);
        assert_eq!(failed.not_redrivable(at + 1), Some(NotRedrivable::Period));
        assert_eq!(Ended { events: 24_998, ..failed }.not_redrivable(at), Some(NotRedrivable::Events));
        assert_eq!(Ended { redrives: 1_000, ..failed }.not_redrivable(at), Some(NotRedrivable::Redrives));
        assert_eq!(Ended { has_succeeded: true, ..failed }.not_redrivable(at), Some(NotRedrivable::Succeeded));
    }

    #[test]
    fn each_reason_has_its_words() {
        for (why, what, reason) in [
            (NotRedrivable::Express, "of an Express workflow", "of an Express workflow and cannot be redriven"),
            (NotRedrivable::Running, "is running", "Execution is RUNNING and cannot be redriven"),
            (NotRedrivable::Succeeded, "has succeeded", "Execution is SUCCEEDED and cannot be redriven"),
            (NotRedrivable::Period, "14 days ago", "Execution redrivable period exceeded"),
            (NotRedrivable::Events, "24,999 events", "Execution history event limit exceeded"),
            (NotRedrivable::Redrives, "1,000 times", "Execution redrive limit exceeded"),
        ] {
            assert!(why.what().ends_with(what) && why.reason().ends_with(reason), "{why:?}");
        }
    }
}
