//! The methods of strings.

use std::fmt::Write as _;
use std::rc::Rc;

use super::budget::{Budget, Stop};
use super::numbers;
use super::patterns::whole;
use super::render::Render;
use super::value::Value;

/// As Java has it: what stands between words, but for spaces that hold them together.
fn is_whitespace(one: char) -> bool {
    (one.is_whitespace() && !matches!(one, '\u{a0}' | '\u{2007}' | '\u{202f}')) || ('\u{1c}'..='\u{1f}').contains(&one)
}

impl<'a> Render<'a> {
    /// Call a method of a string; none where there is no such method.
    pub(super) fn method_of_text(
        &mut self,
        text: &Rc<str>,
        name: &str,
        arguments: &[Value<'a>],
    ) -> Result<Option<Value<'a>>, Stop> {
        // Most look at each character once.
        self.budget.spend_bytes(text.len())?;
        let mut texts = Vec::with_capacity(arguments.len());
        for argument in arguments {
            texts.push(self.text(argument)?);
        }
        let given: Vec<&str> = texts.iter().map(|text| &**text).collect();
        if let ("matches", [pattern]) = (name, &given[..]) {
            // The whole text has to fit, as in Java.
            let pattern = self.patterns.compiled(&whole(pattern), &mut self.budget)?;
            return Ok(Some(Value::Flag(pattern.is_match(text))));
        }
        if let Some(found) = look(text, name, &given) {
            return Ok(Some(found));
        }
        if let Some(found) = self.parse(text, name, &given)? {
            return Ok(Some(found));
        }
        let numbers: Vec<Option<i64>> = arguments.iter().map(numbers::whole).collect();
        let changed = match (name, &given[..], &numbers[..]) {
            ("strip", [], _) => text.trim_matches(is_whitespace).into(),
            ("trim", [], _) => text.trim_matches(|one| one <= ' ').into(),
            ("toString", [], _) => Rc::clone(text),
            ("toLowerCase", [], _) => text.to_lowercase().into(),
            ("toUpperCase", [], _) => text.to_uppercase().into(),
            ("concat", [more], _) => format!("{text}{more}").into(),
            ("substring" | "subSequence", [_], [Some(from)]) => cut(text, *from, None)?,
            ("substring" | "subSequence", [_, _], [Some(from), Some(to)]) => cut(text, *from, Some(*to))?,
            ("charAt", [_], [Some(at)]) => cut(text, *at, Some(at.saturating_add(1)))?,
            ("replace", [from, to], _) => {
                self.room_for(text, from, to)?;
                text.replace(from, to).into()
            }
            ("replaceAll" | "replaceFirst", [pattern, to], _) => {
                let pattern = self.patterns.compiled(pattern, &mut self.budget)?;
                let to = replacement(to);
                self.budget.spend_bytes(text.len().saturating_mul(1 + to.len()))?;
                let most = usize::from(name == "replaceFirst");
                pattern.replacen(text, most, &*to).into()
            }
            ("repeat", [_], [Some(count)]) => {
                let count =
                    usize::try_from(*count).map_err(|_| Stop::Failed("repeat takes no negative count".into()))?;
                self.budget.spend_bytes(text.len().saturating_mul(count))?;
                text.repeat(count).into()
            }
            ("split", [pattern], _) => return self.split(text, pattern, 0).map(Some),
            ("split", [pattern, _], [_, Some(limit)]) => return self.split(text, pattern, *limit).map(Some),
            _ => return Ok(None),
        };
        self.budget.spend_bytes(changed.len())?;
        Ok(Some(Value::Text(changed)))
    }

    fn room_for(&mut self, text: &str, from: &str, to: &str) -> Result<(), Stop> {
        let most = (text.len() / from.len().max(1) + 1).saturating_mul(to.len());
        // A long replacement is counted exactly before it is built.
        let grown = if most > text.len() { text.matches(from).count() * to.len() } else { most };
        self.budget.spend_bytes(grown)
    }

    /// As Java: empty texts at the end are left out where no limit is given.
    fn split(&mut self, text: &str, pattern: &str, limit: i64) -> Result<Value<'a>, Stop> {
        let pattern = self.patterns.compiled(pattern, &mut self.budget)?;
        let most = usize::try_from(limit).unwrap_or(0);
        let mut parts: Vec<&str> = Vec::new();
        let mut from = 0;
        for found in pattern.find_iter(text) {
            if most > 0 && parts.len() + 1 == most {
                break;
            }
            // A match of no width at the beginning gives no empty text.
            if found.end() == 0 || (found.start() == text.len() && found.is_empty()) {
                continue;
            }
            parts.push(&text[from..found.start()]);
            from = found.end();
        }
        parts.push(&text[from..]);
        if limit == 0 && parts.len() > 1 {
            let kept = parts.iter().rposition(|part| !part.is_empty()).map_or(0, |last| last + 1);
            parts.truncate(kept);
        }
        self.budget.spend(parts.len())?;
        self.budget.spend_bytes(text.len())?;
        let items = parts.into_iter().map(Value::text).collect();
        Ok(self.heap.new_list(items, false))
    }

    /// Numbers and booleans by the methods of `Integer` and its like, which templates call on any string.
    fn parse(&mut self, text: &str, name: &str, given: &[&str]) -> Result<Option<Value<'a>>, Stop> {
        let source = match given {
            [] => text,
            [source] => source,
            _ => return Ok(None),
        };
        self.budget.spend_bytes(source.len())?;
        let failed = || Stop::Failed(format!("For input string: \"{}\"", source.chars().take(100).collect::<String>()));
        Ok(Some(match (name, given.len()) {
            ("parseInt" | "parseLong", 1) | ("intValue" | "longValue", 0) => {
                Value::Whole(source.parse().map_err(|_| failed())?)
            }
            ("parseDouble" | "parseFloat", 1) | ("doubleValue" | "floatValue", 0) => {
                Value::Float(source.trim().parse().map_err(|_| failed())?)
            }
            ("parseBoolean", 1) => Value::Flag(source.eq_ignore_ascii_case("true")),
            ("valueOf", 1) => Value::text(source),
            _ => return Ok(None),
        }))
    }
}

/// What is found by looking at a string.
fn look<'t>(text: &Rc<str>, name: &str, given: &[&str]) -> Option<Value<'t>> {
    let place = |found: Option<usize>| Value::Whole(found.map_or(-1, |at| units(&text[..at]) as i64));
    Some(match (name, given) {
        ("length", []) => Value::Whole(units(text) as i64),
        ("isEmpty", []) => Value::Flag(text.is_empty()),
        ("isBlank", []) => Value::Flag(text.trim().is_empty()),
        ("contains", [other]) => Value::Flag(text.contains(other)),
        ("startsWith", [other]) => Value::Flag(text.starts_with(other)),
        ("endsWith", [other]) => Value::Flag(text.ends_with(other)),
        ("equals", [other]) => Value::Flag(**text == **other),
        ("equalsIgnoreCase", [other]) => Value::Flag(text.to_lowercase() == other.to_lowercase()),
        ("indexOf", [other]) => place(text.find(other)),
        ("lastIndexOf", [other]) => place(text.rfind(other)),
        ("compareTo", [other]) => Value::Whole(compare(text, other)),
        ("compareToIgnoreCase", [other]) => Value::Whole(compare(&text.to_lowercase(), &other.to_lowercase())),
        ("hashCode", []) => {
            let hash = text.encode_utf16().fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(unit.into()));
            Value::Whole(hash.into())
        }
        _ => return None,
    })
}

/// Java counts UTF-16 units.
fn units(text: &str) -> usize {
    text.encode_utf16().count()
}

fn compare(left: &str, right: &str) -> i64 {
    let (mut left_units, mut right_units) = (left.encode_utf16(), right.encode_utf16());
    loop {
        match (left_units.next(), right_units.next()) {
            (Some(left), Some(right)) if left == right => {}
            (Some(left), Some(right)) => return i64::from(left) - i64::from(right),
            _ => return units(left) as i64 - units(right) as i64,
        }
    }
}

fn cut(text: &str, from: i64, to: Option<i64>) -> Result<Rc<str>, Stop> {
    let length = units(text);
    let end = to.unwrap_or(length as i64);
    let range = usize::try_from(from).ok().zip(usize::try_from(end).ok());
    let range = range.filter(|(from, end)| from <= end && *end <= length);
    let (from, end) =
        range.ok_or_else(|| Stop::Failed(format!("String index out of range: {from} to {end} of {length}")))?;
    if text.is_ascii() {
        return Ok(text[from..end].into());
    }
    let cut: Vec<u16> = text.encode_utf16().skip(from).take(end - from).collect();
    Ok(String::from_utf16_lossy(&cut).into())
}

/// Java's replacement, in which `$1` is a group and `\` makes the next character plain.
fn replacement(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(found) = rest.next() {
        match found {
            '\\' => match rest.next() {
                Some('$') => out.push_str("$$"),
                Some(plain) => out.push(plain),
                None => {}
            },
            '$' if rest.peek().is_some_and(char::is_ascii_digit) => {
                // Java takes one digit, and more as long as there are such groups: one is what templates use.
                let digit = rest.next().unwrap_or('0');
                out.push_str("${");
                out.push(digit);
                out.push('}');
            }
            '$' => out.push_str("$$"),
            _ => out.push(found),
        }
    }
    out
}

/// Escape a text for JavaScript, as `$util.escapeJavaScript` does.
pub(super) fn escape_java_script(text: &str, budget: &mut Budget) -> Result<String, Stop> {
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    let mut units = [0; 2];
    for found in text.chars() {
        match found {
            '\'' | '"' | '\\' | '/' => out.extend(['\\', found]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            ' '..='\u{7f}' => out.push(found),
            _ => {
                for unit in found.encode_utf16(&mut units) {
                    // Writing to memory does not fail.
                    let _ = write!(out, "\\u{unit:04X}");
                }
            }
        }
    }
    budget.spend_bytes(text.len() + out.len())?;
    Ok(out)
}
