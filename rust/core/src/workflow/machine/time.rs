//! Times as AWS writes them: `2025-01-15T10:30:01.500Z`.

/// A time in milliseconds since 1970.
pub fn iso(ms: u64) -> String {
    let (days, of_day) = (ms / 86_400_000, ms % 86_400_000);
    let (year, month, day) = date(days);
    let (hour, minute) = (of_day / 3_600_000, of_day / 60_000 % 60);
    let (second, milli) = (of_day / 1_000 % 60, of_day % 1_000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
}

/// The Gregorian date so many days after 1970-01-01. Years are counted from March here, so that a leap day is a year's last.
fn date(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::iso;
    use crate::workflow::timestamp::Timestamp;

    #[test]
    fn every_day_has_the_date_that_a_calendar_gives_it() {
        let (mut year, mut month, mut day) = (1970, 1, 1);
        for days in 0..160_000_u64 {
            let ms_of_day = days * 7_919_113 % 86_400_000;
            let ms = days * 86_400_000 + ms_of_day;
            let text = iso(ms);
            let (second, milli) = (ms_of_day / 1_000, ms_of_day % 1_000);
            let time = format!("{:02}:{:02}:{:02}.{milli:03}", second / 3_600, second % 3_600 / 60, second % 60);
            assert_eq!(text, format!("{year:04}-{month:02}-{day:02}T{time}Z"));
            assert_eq!(Timestamp::parse(&text).map(Timestamp::milliseconds), i64::try_from(ms).ok());
            let is_leap = year % 400 == 0 || (year % 4 == 0 && year % 100 != 0);
            let lengths = [31, if is_leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
            day += 1;
            if day > lengths[month - 1] {
                (day, month) = (1, month + 1);
            }
            if month > 12 {
                (month, year) = (1, year + 1);
            }
        }
        assert_eq!(year, 2408, "the years of all centuries were seen");
    }

    #[test]
    fn times_are_written_to_the_millisecond() {
        assert_eq!(iso(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(iso(951_782_400_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(iso(1_736_937_001_500), "2025-01-15T10:30:01.500Z");
    }
}
