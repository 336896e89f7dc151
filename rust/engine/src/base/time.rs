//! The machine's clock, and times as AWS writes them.

use std::time::{SystemTime, UNIX_EPOCH};

/// What the machine's clock says, ms since 1970.
pub fn machine_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}

/// ISO 8601, UTC, milliseconds.
pub fn iso_millis(wall_ms: u64) -> String {
    let (days, rest) = (wall_ms / 86_400_000, wall_ms % 86_400_000);
    let (year, month, day) = civil(days as i64);
    let (hour, minute, second, millis) = (rest / 3_600_000, rest / 60_000 % 60, rest / 1_000 % 60, rest % 1_000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

/// The same without milliseconds.
pub fn iso_seconds(wall_ms: u64) -> String {
    let mut text = iso_millis(wall_ms);
    text.replace_range(19..23, "");
    text
}

/// Date of a day counted from 1970-01-01 (Howard Hinnant's days-to-civil arithmetic).
fn civil(days: i64) -> (i64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097) as u64;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_shifted + 2) / 5 + 1;
    let month = if month_shifted < 10 { month_shifted + 3 } else { month_shifted - 9 };
    let year = year_of_era as i64 + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_aws_writes_them() {
        assert_eq!(iso_millis(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(iso_millis(1_573_755_365_568), "2019-11-14T18:16:05.568Z");
        assert_eq!(iso_millis(1_582_934_400_001), "2020-02-29T00:00:00.001Z");
        assert_eq!(iso_seconds(1_582_934_400_999), "2020-02-29T00:00:00Z");
    }
}
