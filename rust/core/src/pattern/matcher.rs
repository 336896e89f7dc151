//! One condition on one value.

use super::cidr::Cidr;
use super::json::Value;

/// One value that is neither an object nor an array.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Scalar<'a> {
    String(&'a str),
    /// A number, `true`, `false` or `null`, as it is written. Its number is read when a condition asks for it.
    Literal(&'a str),
    /// A number, as it is written, and what it is.
    Number(&'a str, f64),
    /// `true`, `false`, `null`, or a number that is compared as it is written.
    Word(&'a str),
}

impl Scalar<'_> {
    fn number(self) -> Option<f64> {
        match self {
            Self::Number(_, number) => Some(number),
            Self::Literal(text) => text.parse().ok(),
            Self::String(_) | Self::Word(_) => None,
        }
    }
}

/// A condition out of a pattern's array.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Matcher {
    /// The same value.
    Exactly(Exact),
    /// A string that fits.
    Text(Text),
    /// A number between two bounds.
    Numeric(Range),
    /// A string that is an IP address of a block.
    Cidr(Cidr),
    /// A value that none of these takes; there must be one.
    AnythingBut(Vec<Matcher>),
    /// Whether there is a value at all.
    Exists(bool),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Exact {
    String(String),
    /// `true`, `false`, `null`, or a number that is written the same.
    Literal(String),
    /// A number, however it is written.
    Number(f64),
}

/// Lower case where it is compared without case, but for `EitherCase`.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Text {
    EqualsIgnoreCase(String),
    Prefix(String),
    PrefixIgnoreCase(String),
    Suffix(String),
    SuffixIgnoreCase(String),
    /// The pieces between the asterisks, two or more.
    Wildcard(Vec<String>),
    /// Each character stands in the text in lower or in upper case. What is one character in one case may be more in the
    /// other.
    EitherCase(Part, String),
}

/// Which part of a text is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Whole,
    Start,
    End,
}

/// Numbers from `least` to `most`; `None` is no bound.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Range {
    pub(super) least: Option<Bound>,
    pub(super) most: Option<Bound>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Bound {
    pub(super) value: f64,
    pub(super) is_inclusive: bool,
}

impl Matcher {
    /// Whether it is met by a field; `None`: the event does not have it. Of an array any element will do. Objects are no
    /// values: their fields are.
    pub(super) fn is_met_by(&self, field: Option<&Value<'_>>) -> bool {
        match self {
            Self::Exists(false) => !field.is_some_and(|value| any_leaf(value, &mut |_| true)),
            _ => field.is_some_and(|value| any_leaf(value, &mut |leaf| self.takes(leaf))),
        }
    }

    /// Whether a value that is there meets it.
    pub(super) fn takes(&self, leaf: Scalar<'_>) -> bool {
        match (self, leaf) {
            (Self::Exists(expected), _) => *expected,
            (Self::AnythingBut(others), leaf) => !others.iter().any(|other| other.takes(leaf)),
            (Self::Exactly(Exact::String(expected)), Scalar::String(text))
            | (Self::Exactly(Exact::Literal(expected)), Scalar::Literal(text) | Scalar::Word(text)) => text == expected,
            (Self::Exactly(Exact::Number(expected)), leaf) => leaf.number() == Some(*expected),
            (Self::Text(expected), Scalar::String(text)) => expected.fits(text),
            (Self::Cidr(block), Scalar::String(text)) => block.holds(text),
            (Self::Numeric(range), leaf) => leaf.number().is_some_and(|number| range.holds(number)),
            _ => false,
        }
    }
}

/// Whether any string, number, `true`, `false` or `null` in a value, or in the arrays inside it, satisfies.
fn any_leaf(value: &Value<'_>, satisfies: &mut dyn FnMut(Scalar<'_>) -> bool) -> bool {
    match value {
        Value::Array(elements) => elements.iter().any(|element| any_leaf(element, satisfies)),
        Value::Object(_) => false,
        Value::String(text) => satisfies(Scalar::String(text)),
        Value::Literal(text) => satisfies(Scalar::Literal(text)),
    }
}

impl Text {
    fn fits(&self, text: &str) -> bool {
        match self {
            Self::EqualsIgnoreCase(expected) => lower(text).eq(expected.chars()),
            Self::Prefix(expected) => text.starts_with(expected),
            Self::PrefixIgnoreCase(expected) => begins(lower(text), expected.chars()),
            Self::Suffix(expected) => text.ends_with(expected),
            Self::SuffixIgnoreCase(expected) => begins(lower(text).rev(), expected.chars().rev()),
            Self::Wildcard(pieces) => fits_wildcard(text, pieces),
            Self::EitherCase(part, expected) => fits_either_case(*part, text, expected),
        }
    }
}

/// Each character on its own, so that it reads the same from both ends.
pub(super) fn lower(text: &str) -> impl DoubleEndedIterator<Item = char> + '_ {
    text.chars().flat_map(char::to_lowercase)
}

fn begins(mut text: impl Iterator<Item = char>, mut expected: impl Iterator<Item = char>) -> bool {
    expected.all(|expected| text.next() == Some(expected))
}

fn fits_either_case(part: Part, text: &str, expected: &str) -> bool {
    let mut rest = text;
    let mut take = |character: char| {
        let lower: String = character.to_lowercase().collect();
        let upper: String = character.to_uppercase().collect();
        let after = match part {
            Part::Whole | Part::Start => rest.strip_prefix(&*lower).or_else(|| rest.strip_prefix(&*upper)),
            Part::End => rest.strip_suffix(&*lower).or_else(|| rest.strip_suffix(&*upper)),
        };
        after.map(|after| rest = after).is_some()
    };
    let has_all = match part {
        Part::Whole | Part::Start => expected.chars().all(&mut take),
        Part::End => expected.chars().rev().all(&mut take),
    };
    has_all && (part != Part::Whole || rest.is_empty())
}

/// Each piece in its first place after the one before: if any placing works, this one does, and nothing is read twice.
fn fits_wildcard(text: &str, pieces: &[String]) -> bool {
    let [first, middle @ .., last] = pieces else { return false };
    let Some(mut rest) = text.strip_prefix(first.as_str()).and_then(|rest| rest.strip_suffix(last.as_str())) else {
        return false;
    };
    for piece in middle {
        match rest.find(piece.as_str()) {
            Some(start) => rest = &rest[start + piece.len()..],
            None => return false,
        }
    }
    true
}

impl Range {
    fn holds(&self, number: f64) -> bool {
        let is_over = |least: Bound| if least.is_inclusive { number >= least.value } else { number > least.value };
        let is_under = |most: Bound| if most.is_inclusive { number <= most.value } else { number < most.value };
        self.least.is_none_or(is_over) && self.most.is_none_or(is_under)
    }

    /// Whether any number lies in it.
    pub(super) fn is_possible(&self) -> bool {
        match (self.least, self.most) {
            (Some(least), Some(most)) if least.is_inclusive && most.is_inclusive => least.value <= most.value,
            (Some(least), Some(most)) => least.value < most.value,
            _ => true,
        }
    }
}
