//! Moments as RFC 3339 writes them: `2012-10-09T19:00:55Z`, with a fraction or an offset if wanted.

/// A moment, to the nanosecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp {
    /// Seconds since 1970-01-01T00:00:00Z.
    pub seconds: i64,
    /// Below 1,000,000,000.
    pub nanoseconds: u32,
}

impl Timestamp {
    /// Read a moment; `None` if the text is none. The `T`, the seconds and the offset have to be there.
    pub fn parse(text: &str) -> Option<Self> {
        let (date, rest) = text.split_once('T')?;
        let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
        let time = rest.get(..8)?;
        let [hour, minute, second] = numbers(time, ':', [2, 2, 2])?;
        let (nanoseconds, offset) = fraction(&rest[8..])?;
        let offset_s = offset_s(offset)?;
        let is_day = (1..=12).contains(&month) && (1..=days_in(year, month)).contains(&day);
        if !is_day || hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        let seconds = days_since_1970(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second - offset_s;
        Some(Self { seconds, nanoseconds })
    }

    /// Milliseconds since 1970, rounded down.
    pub fn milliseconds(self) -> i64 {
        self.seconds * 1_000 + i64::from(self.nanoseconds / 1_000_000)
    }
}

/// Three numbers of so many digits each.
fn numbers(text: &str, between: char, digits: [usize; 3]) -> Option<[i64; 3]> {
    let mut parts = text.split(between);
    let mut found = [0; 3];
    for (number, count) in found.iter_mut().zip(digits) {
        let part = parts.next()?;
        if part.len() != count || !part.bytes().all(|each| each.is_ascii_digit()) {
            return None;
        }
        *number = part.parse().ok()?;
    }
    parts.next().is_none().then_some(found)
}

/// The nanoseconds of `.123`, and what follows it.
fn fraction(text: &str) -> Option<(u32, &str)> {
    let Some(rest) = text.strip_prefix('.') else { return Some((0, text)) };
    let count = rest.bytes().take_while(u8::is_ascii_digit).count();
    if !(1..=9).contains(&count) {
        return None;
    }
    let (digits, rest) = rest.split_at(count);
    Some((digits.parse::<u32>().ok()? * 10_u32.pow(9 - count as u32), rest))
}

fn offset_s(text: &str) -> Option<i64> {
    if text == "Z" {
        return Some(0);
    }
    let sign = match text.chars().next()? {
        '+' => 1,
        '-' => -1,
        _ => return None,
    };
    let [hours, minutes, _] = numbers(&format!("{}:00", &text[1..]), ':', [2, 2, 2])?;
    (hours <= 18 && minutes <= 59).then_some(sign * (hours * 3_600 + minutes * 60))
}

fn days_in(year: i64, month: i64) -> i64 {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 => 28 + i64::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days of the Gregorian calendar. Years begin in March here, so that the leap day is the last of its year.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(text: &str) -> Option<i64> {
        Timestamp::parse(text).map(|moment| moment.seconds)
    }

    #[test]
    fn moments_are_seconds_since_1970() {
        assert_eq!(seconds("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(seconds("2012-10-09T19:00:55Z"), Some(1_349_809_255));
        assert_eq!(seconds("2012-10-09T20:00:55+01:00"), Some(1_349_809_255));
        assert_eq!(seconds("2012-10-09T17:30:55-01:30"), Some(1_349_809_255));
        assert_eq!(seconds("2000-02-29T00:00:00Z"), Some(951_782_400));
        assert_eq!(seconds("0001-01-01T00:00:00Z"), Some(-62_135_596_800));
        assert_eq!(seconds("9999-12-31T23:59:59Z"), Some(253_402_300_799));
    }

    #[test]
    fn a_fraction_counts_to_the_nanosecond() {
        let moment = |text| Timestamp::parse(text).unwrap();
        assert_eq!(moment("1970-01-01T00:00:01.25Z").milliseconds(), 1_250);
        assert!(moment("1970-01-01T00:00:00.000000001Z") > moment("1970-01-01T00:00:00Z"));
    }

    #[test]
    fn every_month_has_its_days() {
        let mut days = -719_162;
        for year in 1..2_402 {
            let is_leap = year % 400 == 0 || (year % 4 == 0 && year % 100 != 0);
            let lengths = [31, if is_leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
            for (month, length) in (1..).zip(lengths) {
                let moment = |day: i64| seconds(&format!("{year:04}-{month:02}-{day:02}T00:00:00Z"));
                assert_eq!([moment(0), moment(1)], [None, Some(days * 86_400)], "{year}-{month}");
                let last = Some((days + length - 1) * 86_400);
                assert_eq!([moment(length), moment(length + 1)], [last, None], "{year}-{month}");
                days += length;
            }
            assert_eq!(seconds(&format!("{year:04}-00-01T00:00:00Z")), None);
        }
    }

    #[test]
    fn offsets_and_fractions_have_their_places() {
        for (text, seconds, nanoseconds, milliseconds) in [
            ("1970-01-01T23:59:59Z", 86_399, 0, 86_399_000),
            ("1970-01-01T00:00:00+18:00", -64_800, 0, -64_800_000),
            ("1970-01-01T00:00:00-18:00", 64_800, 0, 64_800_000),
            ("1970-01-01T00:00:00+00:59", -3_540, 0, -3_540_000),
            ("1970-01-01T01:02:03.5-02:30", 12_723, 500_000_000, 12_723_500),
            ("1970-01-01T00:00:00.123456789Z", 0, 123_456_789, 123),
            ("1970-01-01T00:00:00.000000001+00:00", 0, 1, 0),
            ("1969-12-31T23:59:59.9999Z", -1, 999_900_000, -1),
        ] {
            let moment = Timestamp::parse(text).unwrap();
            assert_eq!((moment.seconds, moment.nanoseconds), (seconds, nanoseconds), "{text}");
            assert_eq!(moment.milliseconds(), milliseconds, "{text}");
        }
        for offset in ["+00:60", "+0a:00", "+00:00:00", "+", "+1:00", "*01:00", "z", ".5", ".Z", ".5+", "é01:00"] {
            assert_eq!(seconds(&format!("1970-01-01T00:00:00{offset}")), None, "{offset}");
        }
        for time in ["23:60:00", "0:00:00.", "00-00-00", "00:00:0a", "00:00:60", "24:00:00"] {
            assert_eq!(seconds(&format!("1970-01-01T{time}Z")), None, "{time}");
        }
    }

    #[test]
    fn what_is_no_moment_is_refused() {
        for text in [
            "",
            "T",
            "2012-10-09",
            "2012-10-09T19:00:55",
            "2012-10-09 19:00:55Z",
            "2012-10-09T19:00Z",
            "2012-13-09T19:00:55Z",
            "2012-10-32T19:00:55Z",
            "2013-02-29T19:00:55Z",
            "2012-10-09T24:00:00Z",
            "2012-10-09T19:00:60Z",
            "05-12-2016T21:29:29Z",
            "2012-10-09T19:00:55.Z",
            "2012-10-09T19:00:55.1234567890Z",
            "2012-10-09T19:00:55+0100",
            "2012-10-09T19:00:55+01",
            "2012-10-09T19:00:55+19:00",
            "2012-10-09T19:00:55Zz",
            "2012-10-09T19:00:5é",
            "+012-10-09T19:00:55Z",
        ] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }
}
