//! JSON as patterns see it: numbers as they are written, of objects only the keys that are asked for.
//!
//! `serde_json` says whether a text is JSON; what stands here walks a text that is known to be, and is never given another.

use std::borrow::Cow;

use serde::de::IgnoredAny;

/// Objects and arrays inside one another; what lies deeper is not looked at.
pub const NESTING_MAX: usize = 100;

/// One value of an event.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// A string.
    String(Cow<'a, str>),
    /// A number, `true`, `false` or `null`, as it is written.
    Literal(Cow<'a, str>),
    /// An array.
    Array(Vec<Value<'a>>),
    /// An object's fields in their order; of two with one name the last counts.
    Object(Vec<(Cow<'a, str>, Value<'a>)>),
}

/// Fields of an object, in their order.
pub(super) type Fields<'a> = [(Cow<'a, str>, Value<'a>)];

impl Value<'_> {
    pub(super) fn is_container(&self) -> bool {
        matches!(self, Self::Array(_) | Self::Object(_))
    }
}

/// Read a text, keeping of objects the fields that `wants` names. `None` if it is not JSON.
pub(super) fn read<'a>(text: &'a str, wants: &dyn Fn(&str) -> bool) -> Option<Value<'a>> {
    serde_json::from_str::<IgnoredAny>(text).ok()?;
    Some(Walker { text, at: 0, is_cut: false, depth_max: NESTING_MAX, wants }.value(0))
}

/// Why a text could not be read to its depths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    NotJson,
    TooDeep,
}

/// Read a text with everything that is in it, which may lie `depth_max` deep.
pub(super) fn read_whole(text: &str, depth_max: usize) -> Result<Value<'_>, Unreadable> {
    serde_json::from_str::<IgnoredAny>(text).map_err(|_| Unreadable::NotJson)?;
    let mut walker = Walker { text, at: 0, is_cut: false, depth_max, wants: &|_| true };
    let value = walker.value(0);
    if walker.is_cut {
        return Err(Unreadable::TooDeep);
    }
    Ok(value)
}

struct Walker<'a, 'w> {
    text: &'a str,
    at: usize,
    /// Something lay too deep to be looked at.
    is_cut: bool,
    depth_max: usize,
    wants: &'w dyn Fn(&str) -> bool,
}

impl<'a> Walker<'a, '_> {
    /// The next byte that is not white space.
    fn peek(&mut self) -> u8 {
        while matches!(self.text.as_bytes()[self.at], b' ' | b'\n' | b'\r' | b'\t') {
            self.at += 1;
        }
        self.text.as_bytes()[self.at]
    }

    fn value(&mut self, depth: usize) -> Value<'a> {
        match self.peek() {
            b'{' if depth < self.depth_max => Value::Object(self.object(depth)),
            b'[' if depth < self.depth_max => Value::Array(self.array(depth)),
            b'{' | b'[' => {
                self.is_cut = true;
                self.pass_container();
                Value::Array(Vec::new())
            }
            b'"' => Value::String(self.string()),
            _ => Value::Literal(Cow::Borrowed(self.literal())),
        }
    }

    fn object(&mut self, depth: usize) -> Vec<(Cow<'a, str>, Value<'a>)> {
        let mut fields = Vec::new();
        self.at += 1;
        loop {
            match self.peek() {
                b'"' => {
                    let name = self.string();
                    self.peek();
                    self.at += 1; // the colon
                    if (self.wants)(&name) {
                        fields.push((name, self.value(depth + 1)));
                    } else {
                        self.pass();
                    }
                }
                b',' => self.at += 1,
                _ => {
                    self.at += 1;
                    return fields;
                }
            }
        }
    }

    fn array(&mut self, depth: usize) -> Vec<Value<'a>> {
        let mut elements = Vec::new();
        self.at += 1;
        loop {
            match self.peek() {
                b']' => {
                    self.at += 1;
                    return elements;
                }
                b',' => self.at += 1,
                _ => elements.push(self.value(depth + 1)),
            }
        }
    }

    /// Go past a value.
    fn pass(&mut self) {
        match self.peek() {
            b'{' | b'[' => self.pass_container(),
            b'"' => {
                self.pass_string();
            }
            _ => {
                self.literal();
            }
        }
    }

    fn pass_container(&mut self) {
        let mut open = 0;
        loop {
            match self.text.as_bytes()[self.at] {
                b'"' => {
                    self.pass_string();
                    continue;
                }
                b'{' | b'[' => open += 1,
                b'}' | b']' => open -= 1,
                _ => {}
            }
            self.at += 1;
            if open == 0 {
                return;
            }
        }
    }

    /// Go past a string; its text, and whether it has escapes.
    fn pass_string(&mut self) -> (&'a str, bool) {
        let start = self.at + 1;
        let mut has_escapes = false;
        self.at = start;
        loop {
            match self.text.as_bytes()[self.at] {
                b'"' => break,
                b'\\' => {
                    has_escapes = true;
                    self.at += 2;
                }
                _ => self.at += 1,
            }
        }
        self.at += 1;
        (&self.text[start..self.at - 1], has_escapes)
    }

    fn string(&mut self) -> Cow<'a, str> {
        let start = self.at;
        let (text, has_escapes) = self.pass_string();
        if !has_escapes {
            return Cow::Borrowed(text);
        }
        // Half of a surrogate pair is JSON but no text; it then stands as it is written.
        serde_json::from_str(&self.text[start..self.at]).map_or(Cow::Borrowed(text), Cow::Owned)
    }

    fn literal(&mut self) -> &'a str {
        let start = self.at;
        let rest = &self.text.as_bytes()[start..];
        let is_end = |byte: &u8| matches!(byte, b',' | b']' | b'}' | b' ' | b'\n' | b'\r' | b'\t');
        self.at += rest.iter().position(is_end).unwrap_or(rest.len());
        &self.text[start..self.at]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read_all(text: &str) -> Option<Value<'_>> {
        read_whole(text, NESTING_MAX).ok()
    }

    /// The same value by `serde_json`, which forgets how numbers are written: so numbers are compared as it reads them.
    fn agrees(value: &Value<'_>, other: &serde_json::Value) -> bool {
        match (value, other) {
            (Value::String(text), serde_json::Value::String(other)) => text == other,
            (Value::Literal(text), other) if !other.is_string() && !other.is_array() && !other.is_object() => {
                serde_json::from_str::<serde_json::Value>(text).unwrap() == *other
            }
            (Value::Array(elements), serde_json::Value::Array(others)) => {
                elements.len() == others.len() && elements.iter().zip(others).all(|(a, b)| agrees(a, b))
            }
            (Value::Object(fields), serde_json::Value::Object(others)) => {
                let last = |name: &str| &fields.iter().rev().find(|field| field.0 == name).unwrap().1;
                fields.iter().all(|field| others.contains_key(&*field.0))
                    && others.iter().all(|(name, other)| agrees(last(name), other))
            }
            _ => false,
        }
    }

    fn documents() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            Just("null".to_owned()),
            any::<bool>().prop_map(|b| b.to_string()),
            any::<i64>().prop_map(|n| n.to_string()),
            prop_oneof![Just("3.0e2"), Just("-0"), Just("1E+5"), Just("0.10")].prop_map(str::to_owned),
            any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
            Just(r#""\u00e9\ud83d\ude00\n\/""#.to_owned()),
        ];
        leaf.prop_recursive(5, 60, 6, |inner| {
            let space = prop_oneof![Just(""), Just(" "), Just("\r\n\t")];
            let key = prop_oneof![Just("a"), Just("b"), Just("a b\\\""), Just("")].prop_map(|key| format!("\"{key}\""));
            prop_oneof![
                (prop::collection::vec(inner.clone(), 0..5), space.clone()).prop_map(|(elements, space)| format!(
                    "[{space}{}{space}]",
                    elements.join(&format!("{space},{space}"))
                )),
                (prop::collection::vec((key, inner), 0..5), space).prop_map(|(fields, space)| {
                    let fields: Vec<String> =
                        fields.iter().map(|(k, v)| format!("{space}{k}{space}:{space}{v}{space}")).collect();
                    format!("{{{}}}{space}", fields.join(","))
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_document_reads_as_serde_json_reads_it(text in documents()) {
            prop_assert!(agrees(&read_all(&text).unwrap(), &serde_json::from_str(&text).unwrap()), "{}", text);
        }

        #[test]
        fn any_text_is_read_or_refused_without_a_panic(text in r#"[\[\]{}",:\\ueE0-9.+\- ntf]{0,40}"#) {
            prop_assert_eq!(read_all(&text).is_some(), serde_json::from_str::<IgnoredAny>(&text).is_ok());
        }
    }

    #[test]
    fn numbers_stay_as_they_are_written() {
        let literal = |text| Value::Literal(Cow::Borrowed(text));
        assert_eq!(
            read_all("[300, 3.0e2,300.0]"),
            Some(Value::Array(vec![literal("300"), literal("3.0e2"), literal("300.0")]))
        );
    }

    #[test]
    fn fields_that_nobody_wants_are_passed_over() {
        let text = r#"{"skip": {"a": "}\"]"}, "a": [1], "also": [[{}], "x"], "no": "\\"}"#;
        let kept = read(text, &|name| name == "a").unwrap();
        assert_eq!(kept, Value::Object(vec![("a".into(), Value::Array(vec![Value::Literal("1".into())]))]));
        for passed in [r#""x, y""#, r#""}""#, "[1, 2]", r#"{"b": 1, "c": [{}]}"#, "true", "-1.5e3"] {
            let text = format!(r#"{{"skip": {passed}, "a": 1}}"#);
            let kept = read(&text, &|name| name == "a");
            assert_eq!(kept, Some(Value::Object(vec![("a".into(), Value::Literal("1".into()))])), "{passed}");
        }
    }

    #[test]
    fn a_million_brackets_are_walked_without_recursion() {
        let text = "[".repeat(1_000_000) + &"]".repeat(1_000_000);
        assert!(read(&text, &|_| true).is_some());
        assert_eq!(read_whole(&text, NESTING_MAX), Err(Unreadable::TooDeep));
    }

    #[test]
    fn half_of_a_surrogate_pair_stands_as_it_is_written() {
        assert_eq!(read_all(r#""\ud83d""#), Some(Value::String(r"\ud83d".into())));
    }
}
