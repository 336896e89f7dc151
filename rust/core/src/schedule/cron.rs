//! `cron(minutes hours day-of-month month day-of-week year)`: the calendar as sets of bits, and the search in it.

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use super::field::{number, Field, DAYS_OF_MONTH, DAYS_OF_WEEK, HOURS, MINUTES, MONTHS, YEARS};
use super::zone;

/// Furthest distance from the end of a month: `L-30`.
const BEFORE_LAST_MAX: u16 = 30;
/// The first day of a month and those that share its weekday.
const EVERY_SEVENTH: u32 = 0b1_0000001_0000001_0000001_0000001;

/// The six fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cron {
    minutes: u64,
    hours: u32,
    days: Days,
    /// Bit 0 is January.
    months: u16,
    /// Bit 0 of the first word is 1970.
    years: [u64; 4],
}

/// Which days of a month: what stands in the one field of days that is not `?`. A weekday is 0 for Sunday to 6.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Days {
    /// By their dates; bit 0 is the first.
    Dates(u32),
    /// `L`, `L-n`: so many days before the last.
    BeforeLast(u8),
    /// `LW`: the last day that is a Monday to Friday.
    LastWorkday,
    /// `nW`: the Monday to Friday nearest to a date, in the same month.
    NearestWorkday(u8),
    /// By weekday; bit 0 is Sunday.
    Weekdays(u8),
    /// `nL`: the last of a weekday.
    LastOf(u8),
    /// `n#k`: the k-th of a weekday, 1 to 5.
    Nth(u8, u8),
}

impl Cron {
    /// Parse what stands between the parentheses.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let fields: Vec<&str> = text.split(' ').filter(|field| !field.is_empty()).collect();
        let &[minutes, hours, day_of_month, month, day_of_week, year] = fields.as_slice() else {
            let shape = "minutes hours day-of-month month day-of-week year";
            return Err(format!("cron has six fields ({shape}); {} were given.", fields.len()));
        };
        if text.starts_with(' ') || text.ends_with(' ') {
            return Err("No blank may stand after the opening or before the closing parenthesis.".into());
        }
        let days = match (day_of_month, day_of_week) {
            ("?", "?") => return Err("One of the two fields of days is ?, the other says which days.".into()),
            (days, "?") => days_of_month(days)?,
            ("?", days) => days_of_week(days)?,
            _ => return Err("One of the two fields of days, of the month or of the week, must be ?.".into()),
        };
        let mut years = [0; 4];
        YEARS.each(year, |year| years[usize::from(year - YEARS.min) / 64] |= 1 << ((year - YEARS.min) % 64))?;
        let months = bits(&MONTHS, month)? as u16;
        Ok(Self { minutes: bits(&MINUTES, minutes)?, hours: bits(&HOURS, hours)? as u32, days, months, years })
    }

    /// The first due time after a time, in milliseconds since 1970.
    pub(super) fn next_after(&self, zone: &TimeZone, after_ms: u64) -> Option<u64> {
        let after = Timestamp::from_millisecond(i64::try_from(after_ms).ok()?).ok()?;
        let mut from = zone.to_datetime(after).with().second(0).subsec_nanosecond(0).build().ok()?;
        // Local times become instants in order, if not in strict order: what is past at the change of clocks is passed over.
        loop {
            let local = self.next_local(from)?;
            let due = zone::instant(zone, local)?;
            if due > after_ms {
                return Some(due);
            }
            from = local.checked_add(1.minute()).ok()?;
        }
    }

    /// The first minute of the calendar that is not before `from`.
    fn next_local(&self, from: DateTime) -> Option<DateTime> {
        let first_year = (from.year().max(1970)) as u16;
        for year in (first_year..=YEARS.max).filter(|year| self.has_year(*year)) {
            let year = year as i16;
            for month in 1..=12 {
                if self.months >> (month - 1) & 1 == 0 || (year, month) < (from.year(), from.month()) {
                    continue;
                }
                let mut days = self.days.of(year, month);
                if (year, month) == (from.year(), from.month()) {
                    days &= u32::MAX << (from.day() - 1);
                }
                while days != 0 {
                    let date = Date::new(year, month, days.trailing_zeros() as i8 + 1).ok()?;
                    days &= days - 1;
                    let (hour, minute) = if date == from.date() { (from.hour(), from.minute()) } else { (0, 0) };
                    if let Some((hour, minute)) = self.time_from(hour, minute) {
                        return Some(date.at(hour, minute, 0, 0));
                    }
                }
            }
        }
        None
    }

    fn has_year(&self, year: u16) -> bool {
        let at = year - YEARS.min;
        self.years[usize::from(at) / 64] >> (at % 64) & 1 == 1
    }

    /// The first hour and minute of a day that are not before these.
    fn time_from(&self, hour: i8, minute: i8) -> Option<(i8, i8)> {
        let minutes = self.minutes & u64::MAX << minute;
        if self.hours >> hour & 1 == 1 && minutes != 0 {
            return Some((hour, minutes.trailing_zeros() as i8));
        }
        let hours = self.hours & u32::MAX << (hour + 1);
        (hours != 0).then(|| (hours.trailing_zeros() as i8, self.minutes.trailing_zeros() as i8))
    }
}

/// The values of a field below 64, as bits from its least on.
fn bits(field: &Field, text: &str) -> Result<u64, String> {
    let mut bits = 0;
    field.each(text, |value| bits |= 1 << (value - field.min))?;
    Ok(bits)
}

fn days_of_month(text: &str) -> Result<Days, String> {
    let field = &DAYS_OF_MONTH;
    if text == "L" {
        return Ok(Days::BeforeLast(0));
    }
    if text == "LW" {
        return Ok(Days::LastWorkday);
    }
    if let Some(distance) = text.strip_prefix("L-") {
        let distance = number(distance).filter(|days| (1..=BEFORE_LAST_MAX).contains(days));
        let allowed = format!("L-1 to L-{BEFORE_LAST_MAX} count from the last day");
        return distance.map(|days| Days::BeforeLast(days as u8)).ok_or_else(|| field.wrong(text, &allowed));
    }
    if let Some(day) = text.strip_suffix('W') {
        return field.value(day).map(|day| Days::NearestWorkday(day as u8));
    }
    bits(field, text).map(|days| Days::Dates(days as u32))
}

fn days_of_week(text: &str) -> Result<Days, String> {
    let field = &DAYS_OF_WEEK;
    let weekday = |text| field.value(text).map(|day| (day - 1) as u8);
    if text == "L" {
        return Ok(Days::Weekdays(1 << 6));
    }
    if let Some((day, nth)) = text.split_once('#') {
        let nth = number(nth).filter(|nth| (1..=5).contains(nth));
        let nth = nth.ok_or_else(|| field.wrong(text, "one weekday and # and 1 to 5 stand alone, as 6#3"))?;
        return weekday(day).map(|day| Days::Nth(day, nth as u8));
    }
    if let Some(day) = text.strip_suffix('L') {
        return weekday(day).map(Days::LastOf);
    }
    bits(field, text).map(|days| Days::Weekdays(days as u8))
}

impl Days {
    /// The days of a month, bit 0 the first.
    fn of(&self, year: i16, month: i8) -> u32 {
        let Ok(first) = Date::new(year, month, 1) else { return 0 };
        let length = first.days_in_month() as u8;
        let all = u32::MAX >> (32 - length);
        let offset = first.weekday().to_sunday_zero_offset() as u8;
        let each = |weekday: u8| EVERY_SEVENTH << ((7 + weekday - offset) % 7) & all;
        let weekday = |day: u8| (offset + day - 1) % 7;
        match *self {
            Self::Dates(dates) => dates & all,
            Self::BeforeLast(distance) => length.checked_sub(distance + 1).map_or(0, |at| 1 << at),
            Self::LastWorkday => 1 << (nearest_workday(length, weekday(length), length) - 1),
            Self::NearestWorkday(day) if day > length => 0,
            Self::NearestWorkday(day) => 1 << (nearest_workday(day, weekday(day), length) - 1),
            Self::Weekdays(weekdays) => (0..7).filter(|day| weekdays >> day & 1 == 1).map(each).sum(),
            Self::LastOf(weekday) => 1 << each(weekday).ilog2(),
            Self::Nth(weekday, nth) => (each(weekday) >> (7 * (nth - 1)) & 0x7f) << (7 * (nth - 1)),
        }
    }
}

/// The Monday to Friday nearest to a day. It never leaves the month.
fn nearest_workday(day: u8, weekday: u8, length: u8) -> u8 {
    match weekday {
        6 if day == 1 => day + 2,
        6 => day - 1,
        0 if day == length => day - 2,
        0 => day + 1,
        _ => day,
    }
}
