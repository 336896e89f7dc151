//! One field of a cron expression: lists of values, ranges and steps.

/// What values a field can have, and what they are called.
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) min: u16,
    pub(super) max: u16,
    /// Names of the values from `min` on, in capitals.
    pub(super) names: &'static [&'static str],
    /// A range may run over the end: `FRI-MON`, `22-2`.
    pub(super) wraps: bool,
}

pub(super) const MINUTES: Field = Field { name: "minutes", min: 0, max: 59, names: &[], wraps: true };
pub(super) const HOURS: Field = Field { name: "hours", min: 0, max: 23, names: &[], wraps: true };
pub(super) const DAYS_OF_MONTH: Field = Field { name: "day of month", min: 1, max: 31, names: &[], wraps: true };
pub(super) const MONTHS: Field = Field {
    name: "month",
    min: 1,
    max: 12,
    names: &["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"],
    wraps: true,
};
pub(super) const DAYS_OF_WEEK: Field = Field {
    name: "day of week",
    min: 1,
    max: 7,
    names: &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"],
    wraps: true,
};
pub(super) const YEARS: Field = Field { name: "year", min: 1970, max: 2199, names: &[], wraps: false };

impl Field {
    /// Tell `add` each value of a list: `1,5-8,*/15,0/5`.
    pub(super) fn each(&self, text: &str, mut add: impl FnMut(u16)) -> Result<(), String> {
        text.split(',').try_for_each(|part| self.part(part, &mut add))
    }

    fn part(&self, text: &str, add: &mut impl FnMut(u16)) -> Result<(), String> {
        let (base, step) = match text.split_once('/') {
            Some((base, step)) => (base, Some(self.step(step)?)),
            None => (text, None),
        };
        let (first, last) = match base.split_once('-') {
            _ if base == "*" => (self.min, self.max),
            Some((first, last)) => (self.value(first)?, self.value(last)?),
            // `0/5` is every fifth from 0 on.
            None => self.value(base).map(|first| (first, if step.is_some() { self.max } else { first }))?,
        };
        if first > last && !self.wraps {
            return Err(self.wrong(base, "a range runs upwards"));
        }
        let count = self.max - self.min + 1;
        let length = if first > last { last + count - first } else { last - first };
        for distance in (0..=length).step_by(usize::from(step.unwrap_or(1))) {
            add(self.min + (first - self.min + distance) % count);
        }
        Ok(())
    }

    /// One value, as a number or by its name.
    pub(super) fn value(&self, text: &str) -> Result<u16, String> {
        if let Some(at) = self.names.iter().position(|name| name.eq_ignore_ascii_case(text)) {
            return Ok(self.min + at as u16);
        }
        let allowed = format!("values are {} to {}", self.min, self.max);
        number(text).filter(|value| (self.min..=self.max).contains(value)).ok_or_else(|| self.wrong(text, &allowed))
    }

    fn step(&self, text: &str) -> Result<u16, String> {
        let max = if self.wraps { self.max } else { self.max - self.min };
        let allowed = format!("a step is 1 to {max}");
        number(text).filter(|step| (1..=max).contains(step)).ok_or_else(|| self.wrong(text, &allowed))
    }

    /// Say what is wrong with a piece of this field.
    pub(super) fn wrong(&self, text: &str, allowed: &str) -> String {
        format!("In the field {}, '{text}' is wrong: {allowed}.", self.name)
    }
}

/// A number of digits alone: no sign, no blank.
pub(super) fn number(text: &str) -> Option<u16> {
    text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
}
