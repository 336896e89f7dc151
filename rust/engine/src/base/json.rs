//! What counts as JSON where others will read it: what orjson reads too, at most a hundred deep.
//!
//! Passing over a text, as `IgnoredAny` does, lets half of a surrogate pair through, bytes that are no UTF-8 and numbers that no float
//! can hold; whoever has to read it then cannot. `tests/cases/json.json` is read by both parsers.

use std::fmt;

use forebay_core::pattern::NESTING_MAX;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// Refuse what somebody could not read.
pub(crate) fn check(text: &[u8]) -> Result<(), serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_slice(text);
    Value { deeper: NESTING_MAX }.deserialize(&mut reader)?;
    reader.end()
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

    use super::check;

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
