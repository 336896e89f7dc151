//! Zones: a name becomes a zone, and a local time the instant at which it is due.

use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase};
use jiff::Timestamp;

use super::parse::MINUTE_MS;
use super::ScheduleError;

/// Last time that there is: the end of 9999, in milliseconds since 1970.
pub(super) const MS_MAX: u64 = 253_402_207_200_000;

/// Find a zone by its IANA name in the caller's database: `zones()` is the system's with the bundled one behind it.
pub fn find_zone(database: &TimeZoneDatabase, name: &str) -> Result<TimeZone, ScheduleError> {
    database.get(name).map_err(|_| ScheduleError {
        message: String::new(),
        reason: format!("There is no time zone '{name}'. Zones have IANA's names, as UTC, Europe/Paris or Asia/Tokyo."),
    })
}

/// When a local time is due, milliseconds since 1970. What lies in a gap is due at the first whole minute behind it; of a
/// time that comes twice the first counts. What was before 1970 counts as its first moment.
pub(super) fn instant(zone: &TimeZone, local: DateTime) -> Option<u64> {
    Some(match zone.to_ambiguous_timestamp(local).offset() {
        AmbiguousOffset::Unambiguous { offset } | AmbiguousOffset::Fold { before: offset, .. } => {
            since_1970_ms(offset.to_timestamp(local).ok()?)
        }
        AmbiguousOffset::Gap { after, .. } => {
            let before: Timestamp = after.to_timestamp(local).ok()?;
            since_1970_ms(zone.following(before).next()?.timestamp()).next_multiple_of(MINUTE_MS)
        }
    })
}

fn since_1970_ms(time: Timestamp) -> u64 {
    u64::try_from(time.as_millisecond()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_local_time_that_is_skipped_or_comes_twice_is_due_once() {
        let zone = |name: &str| find_zone(jiff::tz::db(), name).unwrap();
        for (name, local, due) in [
            ("Europe/Paris", "2026-03-29T02:30", "2026-03-29T01:00Z"),
            ("Europe/Paris", "2026-10-25T02:30", "2026-10-25T00:30Z"),
            // Liberia's clocks were 44 minutes and a half behind.
            ("Africa/Monrovia", "1972-01-07T00:10", "1972-01-07T00:45Z"),
            // What was before 1970, as it is and in a gap.
            ("Africa/Monrovia", "1969-01-07T00:10", "1970-01-01T00:00Z"),
            ("Europe/London", "1968-02-18T02:30", "1970-01-01T00:00Z"),
        ] {
            let wanted: Timestamp = due.parse().unwrap();
            assert_eq!(instant(&zone(name), local.parse().unwrap()), Some(since_1970_ms(wanted)), "{name} {local}");
        }
    }
}
