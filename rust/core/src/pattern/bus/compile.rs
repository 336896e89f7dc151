//! A pattern's text becomes alternatives: paths and what each must hold.

use std::collections::BTreeMap;

use super::error::PatternError;
use super::token::{Token, Tokens};
use super::{Alternative, Condition, Conditions, ALTERNATIVES_MAX, PATTERN_CHARS_MAX};
use crate::pattern::cidr::Cidr;
use crate::pattern::matcher::{Exact, Matcher};

/// What cannot be the name of a field inside `$or`: conditions and comparisons, those that may come among them.
const RESERVED_IN_OR: [&str; 24] = [
    "exactly",
    "equals-ignore-case",
    "prefix",
    "suffix",
    "anything-but",
    "exists",
    "wildcard",
    "numeric",
    "cidr",
    "=",
    "<",
    "<=",
    ">",
    ">=",
    "regex",
    "not-wildcard",
    "not-equals-ignore-case",
    "date-after",
    "date-on-or-after",
    "date-before",
    "date-on-or-before",
    "in-date-range",
    "ip-address-in-range",
    "ip-address-not-in-range",
];

pub(super) type Parsed<T> = Result<T, PatternError>;

type Alternatives = Vec<BTreeMap<String, Conditions>>;

/// Reads a pattern and knows where it is.
pub(super) struct Compiler<'a> {
    pub(super) tokens: Tokens<'a>,
    text: &'a str,
    /// The path in the event, its names joined with dots; `None` at the root.
    path: Option<String>,
    /// The place in the pattern, for errors.
    place: String,
}

/// The alternatives of a pattern.
pub(super) fn alternatives(text: &str) -> Parsed<Vec<Alternative>> {
    let mut compiler = Compiler { tokens: Tokens::new(text), text, path: None, place: String::new() };
    let length = text.chars().count();
    if length > PATTERN_CHARS_MAX {
        let reason = format!("It has {length} characters, at most {PATTERN_CHARS_MAX} are allowed");
        return Err(compiler.tokens.error_without_place(reason));
    }
    if compiler.next()? != Token::ObjectStart {
        return compiler.fail("Filter is not an object");
    }
    let mut alternatives = vec![BTreeMap::new()];
    compiler.object(&mut alternatives, false)?;
    Ok(alternatives.into_iter().map(|paths| paths.into_iter().collect()).collect())
}

impl<'a> Compiler<'a> {
    pub(super) fn next(&mut self) -> Parsed<Token<'a>> {
        self.tokens.next().map_err(|error| self.placed(error))
    }

    pub(super) fn placed(&self, error: PatternError) -> PatternError {
        PatternError { path: self.place.clone(), ..error }
    }

    /// Refuse the last token.
    pub(super) fn fail<T>(&self, reason: impl Into<String>) -> Parsed<T> {
        Err(self.placed(self.tokens.error(reason)))
    }

    /// Refuse what the last token says.
    pub(super) fn fail_after<T>(&self, reason: impl Into<String>) -> Parsed<T> {
        Err(self.placed(self.tokens.error_after(reason)))
    }

    /// Do something one step further inside the pattern. After an error the place stays: the error has it.
    pub(super) fn inside<T>(&mut self, step: &str, inner: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        let length = self.place.len();
        self.place += step;
        let done = inner(self)?;
        self.place.truncate(length);
        Ok(done)
    }

    /// As `inside`, for a key.
    pub(super) fn inside_key<T>(&mut self, key: &str, inner: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        let dot = if self.place.is_empty() { "" } else { "." };
        self.inside(&format!("{dot}{key}"), inner)
    }

    fn object(&mut self, alternatives: &mut Alternatives, is_choice: bool) -> Parsed<()> {
        let mut is_empty = true;
        loop {
            match self.next()? {
                Token::Name(name) => {
                    is_empty = false;
                    self.inside_key(&name, |inner| inner.field(&name, alternatives, is_choice))?;
                }
                _ if is_empty => return self.fail("Empty objects are not allowed"),
                _ => return Ok(()),
            }
        }
    }

    fn field(&mut self, name: &str, alternatives: &mut Alternatives, is_choice: bool) -> Parsed<()> {
        if name == "$or" {
            return self.choices(alternatives);
        }
        if is_choice && RESERVED_IN_OR.contains(&name) {
            return self.fail(format!("{name} is Ruler reserved fieldName which cannot be used inside $or."));
        }
        let path = self.path.as_ref().map_or_else(|| name.to_owned(), |path| format!("{path}.{name}"));
        match self.next()? {
            Token::ObjectStart => {
                let outer = self.path.replace(path);
                self.object(alternatives, is_choice)?;
                self.path = outer;
                Ok(())
            }
            Token::ArrayStart => {
                let conditions = self.conditions()?;
                for alternative in alternatives {
                    alternative.insert(path.clone(), conditions.clone());
                }
                Ok(())
            }
            _ => self.fail(format!("\"{name}\" must be an object or an array")),
        }
    }

    fn choices(&mut self, alternatives: &mut Alternatives) -> Parsed<()> {
        if self.next()? != Token::ArrayStart {
            return self.fail("It must be an Array followed with $or.");
        }
        let before = std::mem::take(alternatives);
        for index in 0_usize.. {
            match self.next()? {
                Token::ObjectStart => {
                    let mut choice = before.clone();
                    self.inside(&format!("[{index}]"), |inner| inner.object(&mut choice, true))?;
                    alternatives.append(&mut choice);
                }
                Token::ArrayEnd if index < 2 => {
                    return self.fail("There must have at least 2 Objects in $or relationship.");
                }
                Token::ArrayEnd => break,
                _ => return self.fail("Only JSON object is allowed in array of $or relationship."),
            }
            if alternatives.len() > ALTERNATIVES_MAX {
                return self.fail(format!("The $or make more than {ALTERNATIVES_MAX} combinations"));
            }
        }
        Ok(())
    }

    fn conditions(&mut self) -> Parsed<Conditions> {
        let mut conditions = Vec::new();
        loop {
            let before = self.tokens.offset();
            let token = self.next()?;
            if token == Token::ArrayEnd {
                break;
            }
            let step = format!("[{}]", conditions.len());
            let matcher = self.inside(&step, |inner| inner.matcher(token))?;
            let text = self.text[before..self.tokens.offset()].trim_start_matches([',', ' ', '\n', '\r', '\t']);
            conditions.push(Condition { matcher, text: text.to_owned() });
        }
        if conditions.is_empty() {
            return self.fail("Empty arrays are not allowed");
        }
        Ok(conditions.into())
    }

    fn matcher(&mut self, token: Token<'a>) -> Parsed<Matcher> {
        match token {
            Token::ObjectStart => self.condition(),
            // An address is that address, however an event writes it.
            Token::String(text) => Ok(match Cidr::one(&text) {
                Some(address) => Matcher::Cidr(address),
                None => Matcher::Exactly(Exact::String(text.into_owned())),
            }),
            Token::Number(text) => Ok(Matcher::Exactly(super::condition::number(text))),
            Token::Word(text) => Ok(Matcher::Exactly(Exact::Literal(text.to_owned()))),
            _ => self.fail("Match value must be String, number, true, false, or null"),
        }
    }
}
