//! Zones: a name becomes a zone, and a local time the instant at which it is due.

use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase};
use jiff::Timestamp;

use super::ScheduleError;

const MINUTE_MS: i64 = 60_000;
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
    let due = match zone.to_ambiguous_timestamp(local).offset() {
        AmbiguousOffset::Unambiguous { offset } | AmbiguousOffset::Fold { before: offset, .. } => {
            offset.to_timestamp(local).ok()?.as_millisecond()
        }
        AmbiguousOffset::Gap { after, .. } => {
            let before: Timestamp = after.to_timestamp(local).ok()?;
            let change = zone.following(before).next()?.timestamp().as_millisecond();
            change + (-change).rem_euclid(MINUTE_MS)
        }
    };
    Some(u64::try_from(due).unwrap_or(0))
}
