//! The text of a schedule: which of the three forms it is, and the two short ones.

use jiff::civil::DateTime;

use super::{Cron, Dialect, Expression, EXPRESSION_CHARS_MAX};

pub(super) const MINUTE_MS: u64 = 60_000;
/// Most digits of a rate's number: no rate is longer than the calendar.
const RATE_DIGITS_MAX: usize = 8;

pub(super) fn expression(dialect: Dialect, text: &str) -> Result<Expression, String> {
    if text.chars().count() > EXPRESSION_CHARS_MAX {
        return Err(format!("An expression has at most {EXPRESSION_CHARS_MAX} characters."));
    }
    let inside = |name: &str| text.strip_prefix(name)?.strip_prefix('(')?.strip_suffix(')');
    if let Some(rate) = inside("rate") {
        return interval_ms(dialect, rate).map(|interval_ms| Expression::Rate { interval_ms });
    }
    if let Some(fields) = inside("cron") {
        return Cron::parse(fields).map(Expression::Cron);
    }
    match (inside("at"), dialect) {
        (Some(time), Dialect::Scheduler) => local(time).map(Expression::At),
        (Some(_), Dialect::Rule) => Err("A rule has rate(…) or cron(…); at(…) is for schedules.".into()),
        (None, Dialect::Rule) => Err("Write rate(5 minutes) or cron(0 12 * * ? *).".into()),
        (None, Dialect::Scheduler) => {
            Err("Write rate(5 minutes), cron(0 12 * * ? *) or at(2026-01-31T23:59:59).".into())
        }
    }
}

fn interval_ms(dialect: Dialect, text: &str) -> Result<u64, String> {
    let shape = "A rate is a number and a unit with one blank between: rate(5 minutes), rate(1 hour), rate(7 days).";
    let (number, unit) = text.split_once(' ').ok_or(shape)?;
    let is_number = number.len() <= RATE_DIGITS_MAX && number.bytes().all(|byte| byte.is_ascii_digit());
    let number = number.parse().ok().filter(|number: &u64| is_number && *number > 0).ok_or_else(|| {
        format!("The number of a rate is a whole one of at least 1 and at most {RATE_DIGITS_MAX} digits.")
    })?;
    let (minutes, is_plural) = match unit {
        "minute" | "minutes" => (1, unit == "minutes"),
        "hour" | "hours" => (60, unit == "hours"),
        "day" | "days" => (1440, unit == "days"),
        _ => return Err("The unit of a rate is minute, minutes, hour, hours, day or days, in small letters.".into()),
    };
    if dialect == Dialect::Rule && is_plural == (number == 1) {
        return Err("Number and unit must agree: rate(1 minute), rate(2 minutes).".into());
    }
    Ok(number * minutes * MINUTE_MS)
}

fn local(text: &str) -> Result<DateTime, String> {
    // Written back it must be the same text: no zone, no sixtieth second. A fraction of a second would make it longer.
    let is_same = |local: &DateTime| text.len() == 19 && local.to_string() == text;
    let parsed: Option<DateTime> = text.parse().ok().filter(is_same);
    parsed.ok_or_else(|| "A time is written at(yyyy-mm-ddThh:mm:ss), without a zone: that stands beside it.".into())
}
