//! A condition's text becomes a matcher.

use super::compile::{Compiler, Parsed};
use super::number::comparable;
use super::token::Token;
use crate::pattern::cidr::Cidr;
use crate::pattern::matcher::{Bound, Exact, Matcher, Part, Range, Text};

const ONE_KEY: &str = "Only one key allowed in match expression";
/// AWS says so of anything-but, too.
const TOO_MANY: &str = "Too many elements in numeric expression";
const IGNORE_CASE: &str = "equals-ignore-case match pattern must be a string";
const ANYTHING_BUT_VALUE: &str = "Value of anything-but must be an array or single string/number value.";

/// A number that the event must have: by its value where it has one.
pub(super) fn number(text: &str) -> Exact {
    comparable(text).map_or_else(|| Exact::Literal(text.to_owned()), Exact::Number)
}

impl Compiler<'_> {
    /// A condition whose bracket was read.
    pub(super) fn condition(&mut self) -> Parsed<Matcher> {
        let Token::Name(name) = self.next()? else { return self.fail("Match expression name not found") };
        self.inside_key(&name, |inner| match &*name {
            "exactly" => {
                let text = inner.string("exact match pattern must be a string")?;
                inner.close(ONE_KEY, Matcher::Exactly(Exact::String(text)))
            }
            "prefix" | "suffix" => inner.affix(&name),
            "equals-ignore-case" => {
                let text = inner.string(IGNORE_CASE)?;
                inner.close(ONE_KEY, Matcher::Text(Text::EitherCase(Part::Whole, text)))
            }
            "wildcard" => {
                let text = inner.string("wildcard match pattern must be a string")?;
                let matcher = inner.wildcard(&text)?;
                inner.close(ONE_KEY, matcher)
            }
            "cidr" => {
                let text = inner.string("prefix match pattern must be a string")?;
                let block = Cidr::parse_block(&text)
                    .map_err(|reason| inner.placed(inner.tokens.error_without_place(reason)))?;
                inner.close(ONE_KEY, Matcher::Cidr(block))
            }
            "numeric" => inner.numeric(),
            "anything-but" => inner.anything_but(),
            "exists" => match inner.next()? {
                Token::Word(word @ ("true" | "false")) => inner.close(ONE_KEY, Matcher::Exists(word == "true")),
                _ => inner.fail("exists match pattern must be either true or false."),
            },
            _ => inner.fail(format!("Unrecognized match type {name}")),
        })
    }

    fn string(&mut self, otherwise: &str) -> Parsed<String> {
        match self.next()? {
            Token::String(text) => Ok(text.into_owned()),
            _ => self.fail(otherwise),
        }
    }

    /// The object must end here.
    fn close<T>(&mut self, otherwise: &str, done: T) -> Parsed<T> {
        match self.next()? {
            Token::ObjectEnd => Ok(done),
            _ => self.fail(otherwise),
        }
    }

    /// `prefix` or `suffix`: a text, or one without case.
    fn affix(&mut self, name: &str) -> Parsed<Matcher> {
        let is_prefix = name == "prefix";
        match self.next()? {
            Token::String(text) => {
                let text = text.into_owned();
                let text = if is_prefix { Text::Prefix(text) } else { Text::Suffix(text) };
                self.close(ONE_KEY, Matcher::Text(text))
            }
            Token::ObjectStart => {
                let capital = if is_prefix { "Prefix" } else { "Suffix" };
                let Token::Name(inner) = self.next()? else {
                    return self.fail(format!("{capital} expression name not found"));
                };
                if inner != "equals-ignore-case" {
                    return self.fail(format!("Unsupported {name} pattern: {inner}"));
                }
                let text = self.string(IGNORE_CASE)?;
                self.close(ONE_KEY, ())?;
                let part = if is_prefix { Part::Start } else { Part::End };
                self.close(ONE_KEY, Matcher::Text(Text::EitherCase(part, text)))
            }
            _ => self.fail(format!("{name} match pattern must be a string")),
        }
    }

    /// `*` stands for any text; `\*` and `\\` for themselves. AWS counts bytes from the quote on.
    fn wildcard(&self, pattern: &str) -> Parsed<Matcher> {
        let mut pieces = vec![String::new()];
        let mut characters = pattern.char_indices().peekable();
        while let Some((at, character)) = characters.next() {
            let following = characters.peek().map(|(_, following)| *following);
            let literal = match (character, following) {
                ('*', Some('*')) => {
                    return self.fail_after(format!("Consecutive wildcard characters at pos {}", at + 1))
                }
                ('*', _) => None,
                ('\\', Some(escaped @ ('*' | '\\'))) => {
                    characters.next();
                    Some(escaped)
                }
                ('\\', _) => return self.fail_after(format!("Invalid escape character at pos {}", at + 1)),
                (other, _) => Some(other),
            };
            match (literal, pieces.last_mut()) {
                (Some(literal), Some(piece)) => piece.push(literal),
                _ => pieces.push(String::new()),
            }
        }
        Ok(match pieces.as_mut_slice() {
            [only] => Matcher::Exactly(Exact::String(std::mem::take(only))),
            _ => Matcher::Text(Text::Wildcard(pieces)),
        })
    }

    fn anything_but(&mut self) -> Parsed<Matcher> {
        match self.next()? {
            Token::ObjectStart => {
                let Token::Name(name) = self.next()? else {
                    return self.fail("Anything-But expression name not found");
                };
                let others = self.inside_key(&name, |inner| inner.excluded_texts(&name))?;
                self.close(TOO_MANY, ())?;
                self.close(TOO_MANY, Matcher::AnythingBut(others))
            }
            Token::ArrayStart => {
                let others = self.excluded_values()?;
                self.close(TOO_MANY, Matcher::AnythingBut(others))
            }
            Token::String(text) => {
                let other = Matcher::Exactly(Exact::String(text.into_owned()));
                self.close(TOO_MANY, Matcher::AnythingBut(vec![other]))
            }
            Token::Number(text) => {
                let other = Matcher::Exactly(Exact::Number(self.number(text)?));
                self.close(TOO_MANY, Matcher::AnythingBut(vec![other]))
            }
            _ => self.fail(ANYTHING_BUT_VALUE),
        }
    }

    /// Strings, or numbers.
    fn excluded_values(&mut self) -> Parsed<Vec<Matcher>> {
        let mut others = Vec::new();
        let (mut has_strings, mut has_numbers) = (false, false);
        loop {
            let other = match self.next()? {
                Token::ArrayEnd => break,
                Token::String(text) => {
                    has_strings = true;
                    Exact::String(text.into_owned())
                }
                Token::Number(text) => {
                    has_numbers = true;
                    Exact::Number(self.number(text)?)
                }
                _ => return self.fail("Inside anything but list, start|null|boolean is not supported."),
            };
            others.push(Matcher::Exactly(other));
        }
        if has_strings == has_numbers {
            return self
                .fail("Inside anything but list, either all values are number or string, mixed type is not supported");
        }
        Ok(others)
    }

    /// One text or more under a condition that may be excluded.
    fn excluded_texts(&mut self, name: &str) -> Parsed<Vec<Matcher>> {
        if !["equals-ignore-case", "prefix", "suffix", "wildcard"].contains(&name) {
            return self.fail(format!("Unsupported anything-but pattern: {name}"));
        }
        match self.next()? {
            token @ (Token::String(_) | Token::Number(_)) => Ok(vec![self.excluded_text(name, token)?]),
            Token::ArrayStart => {
                let mut others = Vec::new();
                loop {
                    match self.next()? {
                        Token::ArrayEnd if others.is_empty() => return self.fail("Empty arrays are not allowed"),
                        Token::ArrayEnd => return Ok(others),
                        token => others.push(self.excluded_text(name, token)?),
                    }
                }
            }
            _ => self.fail(ANYTHING_BUT_VALUE),
        }
    }

    fn excluded_text(&mut self, name: &str, token: Token<'_>) -> Parsed<Matcher> {
        let Token::String(text) = token else {
            return self.fail(match name {
                "equals-ignore-case" => {
                    "Inside anything-but/equals-ignore-case list, number|start|null|boolean is not supported."
                }
                "wildcard" => "wildcard match pattern must be a string",
                _ => "prefix/suffix match pattern must be a string",
            });
        };
        let text = text.into_owned();
        match name {
            "equals-ignore-case" => Ok(Matcher::Text(Text::EitherCase(Part::Whole, text))),
            "wildcard" => self.wildcard(&text),
            _ if text.is_empty() => self.fail_after("Null prefix/suffix not allowed"),
            "prefix" => Ok(Matcher::Text(Text::Prefix(text))),
            _ => Ok(Matcher::Text(Text::Suffix(text))),
        }
    }

    /// A number that can be compared.
    fn number(&self, text: &str) -> Parsed<f64> {
        comparable(text).map_or_else(|| self.fail(format!("Cannot compare number : {text}")), Ok)
    }

    /// `["=", n]`, or a lower bound, an upper bound, or both in this order.
    fn numeric(&mut self) -> Parsed<Matcher> {
        if self.next()? != Token::ArrayStart {
            return self.fail("Value of numeric must be an array.");
        }
        let comparison = match self.next()? {
            Token::String(comparison) => comparison,
            other => return self.fail(format!("Invalid member in numeric match: {}", other.text())),
        };
        let first = self.next()?;
        let range = match &*comparison {
            "=" => {
                let bound = self.bound(&first, "=", "equals")?;
                self.end_of_list(TOO_MANY)?;
                Range { least: Some(bound), most: Some(bound) }
            }
            "<" | "<=" => {
                let most = self.bound(&first, &comparison, &comparison)?;
                self.end_of_list(TOO_MANY)?;
                Range { least: None, most: Some(most) }
            }
            ">" | ">=" => {
                let least = self.bound(&first, &comparison, &comparison)?;
                self.upper_bound(least)?
            }
            _ => return self.fail(format!("Unrecognized numeric range operator: {comparison}")),
        };
        self.close(TOO_MANY, Matcher::Numeric(range))
    }

    fn upper_bound(&mut self, least: Bound) -> Parsed<Range> {
        let comparison = match self.next()? {
            Token::ArrayEnd => return Ok(Range { least: Some(least), most: None }),
            Token::String(comparison) if ["<", "<="].contains(&&*comparison) => comparison,
            Token::String(other) => return self.fail_after(format!("Bad numeric range operator: {other}")),
            other => return self.fail(format!("Bad value in numeric range: {}", other.text())),
        };
        let limit = self.next()?;
        let most = self.bound(&limit, &comparison, &comparison)?;
        self.end_of_list("Too many terms in numeric range expression")?;
        if least.value >= most.value {
            return self.fail("Bottom must be less than top");
        }
        Ok(Range { least: Some(least), most: Some(most) })
    }

    fn bound(&self, token: &Token<'_>, comparison: &str, name: &str) -> Parsed<Bound> {
        match token {
            Token::Number(text) => Ok(Bound { value: self.number(text)?, is_inclusive: comparison.ends_with('=') }),
            _ => self.fail(format!("Value of {name} must be numeric")),
        }
    }

    fn end_of_list(&mut self, otherwise: &str) -> Parsed<()> {
        match self.next()? {
            Token::ArrayEnd => Ok(()),
            _ => self.fail(otherwise),
        }
    }
}
