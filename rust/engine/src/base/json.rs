//! What counts as JSON where others will read it: what Python reads too, at most a hundred deep.
//!
//! Passing over a text, as `IgnoredAny` does, lets half of a surrogate pair through, bytes that are not UTF-8 and numbers that no float
//! can hold; whoever has to read it then cannot. `tests/cases/json.json` is read by both parsers.
//!
//! Whole numbers have no such bound: Python's are exact at any size. Both parsers would make floats of those beyond 64 bits, and refuse
//! those beyond every float, so [`shortened`] takes such numbers out of what they are given.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use forebay_core::pattern::NESTING_MAX;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// Most digits of a whole number: Python reads no more, unless it is told to.
const DIGITS_MAX: usize = 4_300;
/// Digits from which on a whole number may not fit into 64 bits.
const LONG: usize = 19;

/// Refuse what somebody could not read.
pub(crate) fn check(text: &[u8]) -> Result<(), serde_json::Error> {
    let text = shortened(text);
    let mut reader = serde_json::Deserializer::from_slice(&text);
    Value { deeper: NESTING_MAX }.deserialize(&mut reader)?;
    reader.end()
}

/// The text with only the first digit of each whole number beyond 64 bits, and spaces for the others. It is JSON exactly if the text
/// is. Borrowed: there is no such number. Owned: there may be one; inside a string, the same characters look alike.
#[must_use]
pub fn shortened(text: &[u8]) -> Cow<'_, [u8]> {
    let mut short = Cow::Borrowed(text);
    let mut from = 0;
    while let Some(digits) = long_run(text, from) {
        from = digits.end;
        if is_beyond_64_bits(text, &digits) {
            short.to_mut()[digits.start + 1..digits.end].fill(b' ');
        }
    }
    short
}

/// The next run of digits long enough to look at. Only every 19th byte is read where there is none.
fn long_run(text: &[u8], from: usize) -> Option<Range<usize>> {
    let mut at = from + LONG - 1;
    while at < text.len() {
        if text[at].is_ascii_digit() {
            let before = text[from..at].iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
            let after = text[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
            if before + after >= LONG {
                return Some(at - before..at + after);
            }
            at += after;
        }
        at += LONG;
    }
    None
}

/// Whether digits are a whole number of that size, as far as the characters around them tell.
fn is_beyond_64_bits(text: &[u8], digits: &Range<usize>) -> bool {
    let start = digits.start - usize::from(text[..digits.start].last() == Some(&b'-'));
    let begins = text[..start].last().is_none_or(|byte| b" \t\r\n[,:".contains(byte)) && text[digits.start] != b'0';
    let ends = text.get(digits.end).is_none_or(|byte| b" \t\r\n],}".contains(byte));
    let fits = |number: &str| number.parse::<u64>().is_ok() || number.parse::<i64>().is_ok();
    begins && ends && digits.len() <= DIGITS_MAX && !std::str::from_utf8(&text[start..digits.end]).is_ok_and(fits)
}

/// One value, inside of which so many arrays and objects may lie.
#[derive(Clone, Copy)]
pub(crate) struct Value {
    deeper: usize,
}

impl Value {
    fn inside<E: Error>(self) -> Result<Self, E> {
        let deeper = self.deeper.checked_sub(1);
        let deeper =
            deeper.ok_or_else(|| E::custom(format!("objects and arrays may lie {NESTING_MAX} deep at most")))?;
        Ok(Self { deeper })
    }
}

impl<'de> DeserializeSeed<'de> for Value {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        let element = self.inside()?;
        while elements.next_element_seed(element)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        let field = self.inside()?;
        while fields.next_key_seed(field)?.is_some() {
            fields.next_value_seed(field)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use proptest::prelude::*;

    use super::{check, shortened};

    #[test]
    fn whole_numbers_beyond_64_bits_are_shortened_and_nothing_else_is() {
        let short = |text: &str| String::from_utf8(shortened(text.as_bytes()).into_owned()).unwrap();
        for same in [
            "18446744073709551615",
            "[-9223372036854775808,9223372036854775807]",
            "12345678901234567890.5",
            "12345678901234567890e3",
            "0.12345678901234567890",
            "00000000000000000000000",
            r#"{"sequenceNumber": "49590338271490256608559692538361571095921575989136588898"}"#,
            "1844674407370955161",
        ] {
            assert_eq!(short(same), same);
        }
        assert_eq!(short("18446744073709551616"), "1                   ");
        assert_eq!(short("[-9223372036854775809]"), "[-9                  ]");
        let nines = "9".repeat(400);
        assert_eq!(short(&format!("{{\"a\":{nines},\"b\": 7}}")), format!("{{\"a\":9{},\"b\": 7}}", " ".repeat(399)));
    }

    proptest! {
        /// The digits are found wherever they lie, though only every 19th byte is looked at.
        #[test]
        fn none_is_overlooked(parts in prop::collection::vec("[a-z., ]{1,30}x[0-9]{1,24}", 0..9), number in "[1-9][0-9]{20,60}") {
            let around = parts.concat();
            let text = format!("{around}[{number}]{around}");
            let start = around.len() + 1;
            let short = shortened(text.as_bytes());
            prop_assert_eq!(short[start], text.as_bytes()[start]);
            prop_assert!(short[start + 1..start + number.len()].iter().all(|byte| *byte == b' '));
        }
    }

    #[derive(Deserialize)]
    struct Case {
        name: String,
        text: Option<String>,
        bytes: Option<String>,
        /// `[opening, times, middle, closing]`
        nested: Option<(String, usize, String, String)>,
        forebay: bool,
    }

    #[test]
    fn the_table_of_texts_is_read_and_refused_as_it_says() {
        use base64::Engine;
        let cases: Vec<Case> = serde_json::from_str(include_str!("../../../../tests/cases/json.json")).unwrap();
        for Case { name, text, bytes, nested, forebay } in cases {
            let nested = nested.map(|(opening, times, middle, closing)| {
                format!("{}{middle}{}", opening.repeat(times), closing.repeat(times))
            });
            let written = text.or(nested).map(String::into_bytes);
            let written =
                written.unwrap_or_else(|| base64::engine::general_purpose::STANDARD.decode(bytes.unwrap()).unwrap());
            assert_eq!(check(&written).is_ok(), forebay, "{name}: {:?}", check(&written));
        }
    }
}
