//! Paths into an event: `$.detail.items[0].id`, `$['detail-type']`, `$.detail.items[*].id`.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// Longest path, characters.
pub const PATH_CHARS_MAX: usize = 256;

/// A path. With `*` in it, it finds a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    steps: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Name(String),
    Index(usize),
    Every,
}

impl Path {
    /// Parse a path; the error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.chars().count() > PATH_CHARS_MAX {
            return Err(format!("a path has at most {PATH_CHARS_MAX} characters."));
        }
        let mut rest = text.strip_prefix('$').ok_or("a path begins with $, as $.detail.id.")?;
        let mut steps = Vec::new();
        while !rest.is_empty() {
            let (step, after) = step(rest).ok_or_else(|| {
                format!("at '{rest}' one of .name, ['name'], [0], [*] or .* is expected; filters and .. are not known.")
            })?;
            steps.push(step);
            rest = after;
        }
        Ok(Self { steps })
    }

    /// The JSON text of what stands at the path; `None` if nothing does.
    pub fn find<'a>(&self, event: &'a str) -> Option<Cow<'a, str>> {
        let mut found = Vec::new();
        collect(event, &self.steps, &mut found);
        if self.steps.contains(&Step::Every) {
            return (!found.is_empty()).then(|| format!("[{}]", found.join(",")).into());
        }
        found.pop().map(Cow::from)
    }
}

/// The step at the beginning of a text, and what is behind it.
fn step(text: &str) -> Option<(Step, &str)> {
    if let Some(inside) = text.strip_prefix('[') {
        let quote = inside.chars().next().filter(|first| matches!(first, '\'' | '"'));
        if let Some(quote) = quote {
            let (name, rest) = inside[1..].split_once(quote)?;
            return Some((Step::Name(name.into()), rest.strip_prefix(']')?));
        }
        let (index, rest) = inside.split_once(']')?;
        let has_digits_only = index.bytes().all(|byte| byte.is_ascii_digit());
        let step =
            if index == "*" { Step::Every } else { Step::Index(index.parse().ok().filter(|_| has_digits_only)?) };
        return Some((step, rest));
    }
    let rest = text.strip_prefix('.')?;
    let (name, rest) = rest.split_at(rest.find(['.', '[']).unwrap_or(rest.len()));
    let is_name = !name.is_empty() && !name.contains(['*', '?', '@', '(', ')', ']', '\'', '"', ' ']);
    match name {
        "*" => Some((Step::Every, rest)),
        _ => is_name.then(|| (Step::Name(name.into()), rest)),
    }
}

fn collect<'a>(json: &'a str, steps: &[Step], found: &mut Vec<&'a str>) {
    let Some((step, rest)) = steps.split_first() else {
        found.push(json.trim());
        return;
    };
    let mut inner = Vec::new();
    let mut reader = serde_json::Deserializer::from_str(json);
    // A text or a number has nothing inside: that is not an error, the path finds nothing.
    if (Inside { step, found: &mut inner }).deserialize(&mut reader).is_ok() {
        for json in inner {
            collect(json, rest, found);
        }
    }
}

/// Reads one object or array and keeps what a step names.
struct Inside<'a, 's> {
    step: &'s Step,
    found: &'s mut Vec<&'a str>,
}

impl<'a> DeserializeSeed<'a> for Inside<'a, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'a> Visitor<'a> for Inside<'a, '_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object or an array")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut fields: A) -> Result<(), A::Error> {
        while let Some(key) = fields.next_key::<Cow<'_, str>>()? {
            match self.step {
                Step::Every => self.found.push(fields.next_value::<&RawValue>()?.get()),
                Step::Name(name) if *name == key => {
                    // Of fields with one name the last counts.
                    self.found.clear();
                    self.found.push(fields.next_value::<&RawValue>()?.get());
                }
                _ => drop(fields.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut elements: A) -> Result<(), A::Error> {
        let mut at = 0;
        while let Some(element) = elements.next_element::<&RawValue>()? {
            if *self.step == Step::Every || *self.step == Step::Index(at) {
                self.found.push(element.get());
            }
            at += 1;
        }
        Ok(())
    }
}

/// The envelope without its detail, and with `detailType` for `detail-type`: AWS's `<aws.events.event>`.
pub(super) fn without_detail(event: &str) -> String {
    let fields: Vec<(String, &RawValue)> =
        serde_json::Deserializer::from_str(event).deserialize_map(Fields).unwrap_or_default();
    let fields = fields.into_iter().filter(|(name, _)| name != "detail").map(|(name, value)| {
        let name = if name == "detail-type" { "detailType".into() } else { name };
        format!("{}:{}", serde_json::Value::from(name), value.get())
    });
    format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
}

struct Fields;

impl<'a> Visitor<'a> for Fields {
    type Value = Vec<(String, &'a RawValue)>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = map.next_entry()? {
            fields.push(field);
        }
        Ok(fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_nothing_inside_is_refused_with_what_was_expected() {
        let reader = |json| serde_json::Deserializer::from_str(json);
        let inside = Inside { step: &Step::Every, found: &mut Vec::new() }.deserialize(&mut reader("1")).unwrap_err();
        assert!(inside.to_string().contains("expected an object or an array"), "{inside}");
        let fields = reader("[]").deserialize_map(Fields).unwrap_err();
        assert!(fields.to_string().contains("expected an object"), "{fields}");
        assert_eq!(without_detail("[]"), "{}");
    }
}
