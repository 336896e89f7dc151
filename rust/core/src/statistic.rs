//! CloudWatch's statistics by name: read the name, work the number out of a histogram.
//!
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Statistics-definitions.html>

use crate::histogram::Histogram;
use crate::histogram::Percent;
use crate::histogram::Span;

/// What can be asked of many values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Statistic {
    /// How many values.
    SampleCount,
    /// Their sum.
    Sum,
    /// Their mean.
    Average,
    /// The smallest.
    Minimum,
    /// The greatest.
    Maximum,
    /// `p99.9`: the value at nearest rank.
    Percentile(Percent),
    /// `tm90`, `TM(10%:90%)`, `TM(0:500)`, `IQM`: the mean of a stretch of the values.
    TrimmedMean(Span),
    /// `wm90`, `WM(10%:90%)`: the mean after values outside the stretch are moved to its ends.
    WinsorizedMean(Span),
    /// `tc90`, `TC(0:500)`: how many values lie in the stretch.
    TrimmedCount(Span),
    /// `ts90`, `TS(0:500)`: their sum.
    TrimmedSum(Span),
    /// `PR(0:500)`: the share of values in the stretch, in percent.
    PercentileRank {
        /// Exclusive.
        above: f64,
        /// Inclusive.
        up_to: f64,
    },
}

/// Examples of every form, for whoever mistyped one.
pub const EXAMPLES: &[&str] = &[
    "Average",
    "Sum",
    "Minimum",
    "Maximum",
    "SampleCount",
    "p50",
    "p90",
    "p99",
    "p99.9",
    "IQM",
    "tm90",
    "wm90",
    "tc90",
    "ts90",
    "TM(10%:90%)",
    "WM(10%:90%)",
    "TC(10%:90%)",
    "TS(10%:90%)",
    "PR(:100)",
];

impl Statistic {
    /// Read a name; upper and lower case are the same. `None` when it is none.
    pub fn parse(name: &str) -> Option<Self> {
        let name = name.trim().to_ascii_lowercase();
        match name.as_str() {
            "samplecount" => return Some(Self::SampleCount),
            "sum" => return Some(Self::Sum),
            "average" => return Some(Self::Average),
            "minimum" => return Some(Self::Minimum),
            "maximum" => return Some(Self::Maximum),
            "iqm" => return Some(Self::TrimmedMean(Span::Share { from: percent("25")?, to: percent("75")? })),
            _ => {}
        }
        if let Some(share) = name.strip_prefix('p').filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit())) {
            return Some(Self::Percentile(percent(share)?));
        }
        let (kind, rest) = name.split_at_checked(2)?;
        let span =
            if rest.starts_with('(') { span(rest)? } else { Span::Share { from: Percent::NONE, to: percent(rest)? } };
        match (kind, span) {
            ("tm", span) => Some(Self::TrimmedMean(span)),
            ("wm", span) => Some(Self::WinsorizedMean(span)),
            ("tc", span) => Some(Self::TrimmedCount(span)),
            ("ts", span) => Some(Self::TrimmedSum(span)),
            ("pr", Span::Values { above, up_to }) => Some(Self::PercentileRank { above, up_to }),
            _ => None,
        }
    }

    /// The number for these values, which were recorded in a unit `scale` times as great as the one that names of values and the
    /// answer are in. `None` when there is nothing to tell.
    pub fn of(self, values: &Histogram, scale: f64) -> Option<f64> {
        let span = |span| match span {
            Span::Values { above, up_to } => Span::Values { above: above / scale, up_to: up_to / scale },
            share @ Span::Share { .. } => share,
        };
        let scaled = |value: Option<f64>| value.map(|value| rescale(value, scale));
        if values.is_empty() {
            return None;
        }
        match self {
            Self::SampleCount => Some(values.count() as f64),
            Self::Sum => scaled(Some(values.sum())),
            Self::Average => scaled(values.mean()),
            Self::Minimum => scaled(values.min()),
            Self::Maximum => scaled(values.max()),
            Self::Percentile(percent) => scaled(values.percentile(percent)),
            Self::TrimmedMean(s) => scaled(values.trimmed_mean(span(s))),
            Self::WinsorizedMean(s) => scaled(values.winsorized_mean(span(s))),
            Self::TrimmedCount(s) => Some(values.slice(span(s)).count),
            Self::TrimmedSum(s) => scaled(Some(values.slice(span(s)).sum)),
            Self::PercentileRank { above, up_to } => values.percentile_rank(above / scale, up_to / scale),
        }
    }
}

/// In another unit, without what the multiplication adds behind the fifteenth digit.
fn rescale(value: f64, scale: f64) -> f64 {
    let exact = value * scale;
    if scale.to_bits() == 1f64.to_bits() {
        exact
    } else {
        format!("{exact:.14e}").parse().unwrap_or(exact)
    }
}

/// Digits, perhaps with a fraction; no sign, no exponent.
fn number(text: &str) -> Option<f64> {
    let plain = text.bytes().all(|b| b.is_ascii_digit() || b == b'.') && text.starts_with(|c: char| c.is_ascii_digit());
    plain.then(|| text.parse().ok())?
}

fn percent(text: &str) -> Option<Percent> {
    Percent::new(number(text)?).ok()
}

/// `(10%:90%)`, `(:90%)`, `(100:500)`, `(100:)`: both ends in percent or none; a missing one is open.
fn span(text: &str) -> Option<Span> {
    let (low, high) = text.strip_prefix('(')?.strip_suffix(')')?.split_once(':')?;
    let in_percent = low.ends_with('%') || high.ends_with('%');
    let end = |text: &str, open: f64| match text {
        "" => Some(open),
        text if in_percent => number(text.strip_suffix('%')?),
        text => number(text),
    };
    if low.is_empty() && high.is_empty() {
        return None;
    }
    let (low, high) = if in_percent {
        (end(low, 0.0)?, end(high, 100.0)?)
    } else {
        (end(low, f64::NEG_INFINITY)?, end(high, f64::INFINITY)?)
    };
    if low >= high {
        return None;
    }
    Some(if in_percent {
        Span::Share { from: Percent::new(low).ok()?, to: Percent::new(high).ok()? }
    } else {
        Span::Values { above: low, up_to: high }
    })
}

/// The words most like a mistyped one, best first, at most three: by the number of letters to change, and those that begin
/// with it before all others.
pub fn nearest<'a>(word: &str, words: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let word = word.to_ascii_lowercase();
    let far = |other: &str| {
        let other = other.to_ascii_lowercase();
        if word.len() > 1 && other.starts_with(&word) {
            0
        } else {
            distance(&word, &other)
        }
    };
    let mut near: Vec<(usize, &str)> = words.into_iter().map(|other| (far(other), other)).collect();
    near.sort_by_key(|&(distance, _)| distance);
    near.dedup();
    near.into_iter()
        .take_while(|&(distance, other)| distance <= 1 + other.len() / 3)
        .take(3)
        .map(|(_, other)| other)
        .collect()
}

/// Levenshtein's distance, in bytes.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let change = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = change.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests;
