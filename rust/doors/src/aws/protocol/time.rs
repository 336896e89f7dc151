//! Moments as the protocols write them. A moment is milliseconds since 1970.

use jiff::Timestamp;

use crate::aws::model::TimeFormat;
use crate::aws::protocol::Malformed;

/// Read a moment that is text.
pub fn read(text: &str, format: TimeFormat) -> Result<i64, Malformed> {
    match format {
        TimeFormat::Epoch => {
            let is_number = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
            let seconds = text.parse::<f64>().ok().filter(|_| is_number);
            seconds.ok_or_else(|| Malformed::new("seconds since 1970 are expected")).and_then(from_seconds)
        }
        TimeFormat::Iso => read_iso(text),
        TimeFormat::Http => read_http(text),
    }
}

/// Seconds since 1970 as milliseconds.
pub fn from_seconds(seconds: f64) -> Result<i64, Malformed> {
    let millis = (seconds * 1000.0).round();
    // The years 1 to 9999.
    if !(-62_135_596_800_000.0..=253_402_300_799_999.0).contains(&millis) {
        return Err(Malformed::new("the time is out of range"));
    }
    Ok(millis as i64)
}

/// As RFC 3339 has it, upper case, in UTC.
fn read_iso(text: &str) -> Result<i64, Malformed> {
    let refused = || Malformed::new("a date-time as in RFC 3339 is expected");
    let bytes = text.as_bytes();
    let is_framed = bytes.len() >= 20 && bytes[4] == b'-' && bytes[7] == b'-' && bytes[10] == b'T' && bytes[13] == b':';
    let is_whole = is_framed && bytes[16] == b':' && bytes[10..].iter().all(|byte| b"0123456789:.TZ".contains(byte));
    if !is_whole || !text.ends_with('Z') {
        return Err(refused());
    }
    text.parse::<Timestamp>().map(Timestamp::as_millisecond).map_err(|_| refused())
}

/// As HTTP's `Date`, perhaps with a fraction of the second: `Tue, 29 Apr 2014 18:30:38.123 GMT`.
fn read_http(text: &str) -> Result<i64, Malformed> {
    let refused = || Malformed::new("a date as in HTTP is expected");
    let (stem, fraction) = match text.strip_suffix(" GMT").and_then(|stem| stem.split_once('.')) {
        Some((stem, fraction)) => (format!("{stem} GMT"), fraction),
        None => (text.to_owned(), ""),
    };
    let is_framed = stem.len() == 29 && stem.ends_with(" GMT") && stem.as_bytes()[3] == b',';
    if !is_framed || fraction.len() > 9 || !fraction.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(refused());
    }
    let millis: String = fraction.chars().chain("000".chars()).take(3).collect();
    let parsed = jiff::fmt::rfc2822::parse(&stem).map_err(|_| refused())?;
    Ok(parsed.timestamp().as_millisecond() + millis.parse::<i64>().unwrap_or(0))
}

/// Write a moment as text.
pub fn write(millis: i64, format: TimeFormat) -> String {
    let Ok(moment) = Timestamp::from_millisecond(millis) else { return String::new() };
    match format {
        TimeFormat::Epoch => seconds(millis).to_string(),
        TimeFormat::Http => moment.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string(),
        TimeFormat::Iso if millis.rem_euclid(1000) == 0 => moment.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        TimeFormat::Iso => moment.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string(),
    }
}

/// Seconds since 1970 as a JSON number: whole ones without a fraction.
pub fn seconds(millis: i64) -> serde_json::Number {
    if millis % 1000 == 0 {
        return (millis / 1000).into();
    }
    serde_json::Number::from_f64(millis as f64 / 1000.0).unwrap_or_else(|| 0.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_reads_back_in_every_form() {
        for (format, text) in [
            (TimeFormat::Epoch, "1398796238"),
            (TimeFormat::Iso, "2014-04-29T18:30:38Z"),
            (TimeFormat::Http, "Tue, 29 Apr 2014 18:30:38 GMT"),
        ] {
            assert_eq!(read(text, format), Ok(1_398_796_238_000), "{text}");
            assert_eq!(write(1_398_796_238_000, format), text);
        }
        assert_eq!(read("Sun, 02 Jan 2000 20:34:56.456 GMT", TimeFormat::Http), Ok(946_845_296_456));
        assert_eq!(write(946_845_296_456, TimeFormat::Iso), "2000-01-02T20:34:56.456Z");
        assert_eq!(write(946_845_296_456, TimeFormat::Epoch), "946845296.456");
    }

    #[test]
    fn what_is_no_moment_is_refused() {
        for text in [
            "",
            "yesterday",
            "2014-04-29",
            "1996-12-19T16:39:57-08:00",
            "1996-12-19T16:39:57+00",
            "1985-04-12t23:20:50z",
            "Infinity",
            "0x42",
            "1e300",
        ] {
            for format in [TimeFormat::Epoch, TimeFormat::Iso, TimeFormat::Http] {
                assert!(read(text, format).is_err(), "{text} as {format:?}");
            }
        }
    }
}
