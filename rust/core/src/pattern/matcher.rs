//! One condition on one value.

use super::cidr::Cidr;
use super::json::Value;

/// A condition out of a pattern's array.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Matcher {
    /// A string that is the same, a number that is written the same, `true`, `false`, `null`.
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
    Literal(String),
}

/// Lower case where it is compared without case.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Text {
    EqualsIgnoreCase(String),
    Prefix(String),
    PrefixIgnoreCase(String),
    Suffix(String),
    SuffixIgnoreCase(String),
    /// The pieces between the asterisks, two or more.
    Wildcard(Vec<String>),
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
            Self::Exists(expected) => field.is_some_and(|value| any_leaf(value, &mut |_| true)) == *expected,
            _ => field.is_some_and(|value| any_leaf(value, &mut |leaf| self.takes(leaf))),
        }
    }

    fn takes(&self, leaf: &Value<'_>) -> bool {
        match (self, leaf) {
            (Self::Exactly(Exact::String(expected)), Value::String(text))
            | (Self::Exactly(Exact::Literal(expected)), Value::Literal(text)) => text == expected,
            (Self::Text(expected), Value::String(text)) => expected.fits(text),
            (Self::Cidr(block), Value::String(text)) => block.holds(text),
            (Self::Numeric(range), Value::Literal(text)) => text.parse().is_ok_and(|number| range.holds(number)),
            (Self::AnythingBut(others), leaf) => !others.iter().any(|other| other.takes(leaf)),
            _ => false,
        }
    }
}

/// Whether any string, number, `true`, `false` or `null` in a value, or in the arrays inside it, satisfies.
fn any_leaf(value: &Value<'_>, satisfies: &mut dyn FnMut(&Value<'_>) -> bool) -> bool {
    match value {
        Value::Array(elements) => elements.iter().any(|element| any_leaf(element, satisfies)),
        Value::Object(_) => false,
        leaf => satisfies(leaf),
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
