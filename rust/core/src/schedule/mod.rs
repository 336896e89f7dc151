//! When a schedule is due: `rate(…)`, `cron(…)` and `at(…)`, as `EventBridge`'s rules and its Scheduler have them.
//!
//! Nothing here reads a clock or a file: a time comes in, a time goes out, and the caller hands over the database of zones.
//! Where the clocks change, a local time that does not exist is due at the first minute after the gap, and one that comes
//! twice is due the first time only. Rates run on elapsed time and know no zone.
//!
//! <https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html>

mod catch_up;
mod cron;
mod field;
mod parse;
mod window;
mod zone;

use std::fmt;

pub use catch_up::{CatchUp, Due, LATE_MS_MAX, MISSED_COUNT_MAX};
pub use cron::Cron;
use jiff::civil::DateTime;
pub use jiff::tz::{db as zones, TimeZone, TimeZoneDatabase};
pub use window::{FlexibleWindow, WINDOW_MINUTES_MAX};
pub use zone::find_zone;

/// What AWS says of every wrong expression of a rule.
pub const RULE_REFUSAL: &str = "Parameter ScheduleExpression is not valid.";
/// What AWS says of a rule that has a schedule and is not on the default bus.
pub const CUSTOM_BUS_REFUSAL: &str = "ScheduleExpression is supported only on the default event bus.";
/// Longest expression, characters (AWS's API).
pub const EXPRESSION_CHARS_MAX: usize = 256;

/// Whose expressions are read. Rules know no `at(…)`, and want the number and the unit of a rate to agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// `EventBridge` rules: UTC, `rate` and `cron`.
    Rule,
    /// `EventBridge` Scheduler: zones, and `at` beside them.
    Scheduler,
}

/// Why a schedule was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScheduleError {
    /// AWS's text; empty where AWS has none.
    pub message: String,
    /// What is wrong, and where.
    pub reason: String,
}

impl fmt::Display for ScheduleError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let space = if self.message.is_empty() { "" } else { " " };
        write!(formatter, "{}{space}{}", self.message, self.reason)
    }
}

impl std::error::Error for ScheduleError {}

/// A parsed expression.
#[derive(Clone, Debug, PartialEq)]
pub enum Expression {
    /// Every so many milliseconds, a whole number of minutes.
    Rate {
        /// At least a minute.
        interval_ms: u64,
    },
    /// At the minutes of a calendar.
    Cron(Cron),
    /// Once, at a local time.
    At(DateTime),
}

impl Expression {
    /// Parse an expression.
    pub fn parse(dialect: Dialect, text: &str) -> Result<Self, ScheduleError> {
        parse::expression(dialect, text).map_err(|reason| {
            let message = match dialect {
                Dialect::Rule => RULE_REFUSAL.to_owned(),
                Dialect::Scheduler => format!("Invalid Schedule Expression {text}."),
            };
            ScheduleError { message, reason }
        })
    }
}

/// What a schedule has beside its expression. Times are milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// The zone of `cron` and `at`.
    pub zone: TimeZone,
    /// When the schedule was made or enabled last: rates count from here unless there is a start.
    pub enabled_ms: u64,
    /// Not due before. A rate is due at its start, and counts from there.
    pub start_ms: Option<u64>,
    /// Not due after.
    pub end_ms: Option<u64>,
}

/// An expression with its zone and bounds: everything that says when it is due.
#[derive(Clone, Debug)]
pub struct Schedule {
    expression: Expression,
    bounds: Bounds,
}

impl Schedule {
    /// Make a schedule. Refused: an end before the start, and either of them with `at`, which they would not move.
    pub fn new(expression: Expression, bounds: Bounds) -> Result<Self, ScheduleError> {
        let refuse = |reason: &str| Err(ScheduleError { message: String::new(), reason: reason.into() });
        if matches!(expression, Expression::At(_)) && (bounds.start_ms.is_some() || bounds.end_ms.is_some()) {
            return refuse("at(…) is due once: it has neither a start nor an end. Leave them out.");
        }
        match (bounds.start_ms, bounds.end_ms) {
            (Some(start), Some(end)) if end < start => refuse("The end of a schedule must not lie before its start."),
            _ => Ok(Self { expression, bounds }),
        }
    }

    /// The expression.
    pub fn expression(&self) -> &Expression {
        &self.expression
    }

    /// The first due time after a time; `None` if there is none any more.
    pub fn next_after(&self, after_ms: u64) -> Option<u64> {
        let Bounds { zone, enabled_ms, start_ms, end_ms } = &self.bounds;
        let after = start_ms.map_or(after_ms, |start| after_ms.max(start.saturating_sub(1)));
        let due = match &self.expression {
            Expression::Rate { interval_ms } => rate_after(start_ms.unwrap_or(*enabled_ms), *interval_ms, after),
            Expression::Cron(cron) => cron.next_after(zone, after),
            Expression::At(local) => zone::instant(zone, *local).filter(|due| *due > after),
        };
        due.filter(|due| end_ms.is_none_or(|end| *due <= end))
    }

    /// The next due times after a time, `count` at most.
    pub fn upcoming(&self, after_ms: u64, count: usize) -> Vec<u64> {
        std::iter::successors(self.next_after(after_ms), |due| self.next_after(*due)).take(count).collect()
    }
}

fn rate_after(anchor_ms: u64, interval_ms: u64, after_ms: u64) -> Option<u64> {
    if after_ms < anchor_ms {
        return Some(anchor_ms);
    }
    let steps = (after_ms - anchor_ms) / interval_ms + 1;
    steps.checked_mul(interval_ms)?.checked_add(anchor_ms).filter(|due| *due <= zone::MS_MAX)
}
