//! A pattern's JSON, token by token, with the words for its mistakes that AWS uses.
//!
//! A pattern is judged while it is read: of two mistakes the one that comes first is told.

use std::borrow::Cow;

use super::error::{place, shortened, PatternError};

const VALUE_EXPECTED: &str = "(JSON String, Number, Array, Object or token 'null', 'true' or 'false')";

/// What a pattern is made of.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token<'a> {
    ObjectStart,
    ObjectEnd,
    ArrayStart,
    ArrayEnd,
    Name(Cow<'a, str>),
    String(Cow<'a, str>),
    Number(&'a str),
    /// `true`, `false` or `null`.
    Word(&'a str),
    /// Nothing is left.
    End,
}

impl Token<'_> {
    /// The token as messages have it.
    pub(super) fn text(&self) -> &str {
        match self {
            Self::ObjectStart => "{",
            Self::ObjectEnd => "}",
            Self::ArrayStart => "[",
            Self::ArrayEnd => "]",
            Self::Name(text) | Self::String(text) => text,
            Self::Number(text) | Self::Word(text) => text,
            Self::End => "",
        }
    }
}

/// An object or array that is open.
struct Open {
    is_object: bool,
    start: usize,
    is_empty: bool,
    /// A name was read, its value was not.
    has_name: bool,
}

/// Reads a pattern.
pub(super) struct Tokens<'a> {
    text: &'a str,
    at: usize,
    /// The place that an error about the last token has: after its first character if it is a text.
    head: usize,
    open: Vec<Open>,
}

type Read<T> = Result<T, PatternError>;

impl<'a> Tokens<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0, head: 0, open: Vec::new() }
    }

    /// Bytes that were read.
    pub(super) fn offset(&self) -> usize {
        self.at
    }

    /// An error about the last token.
    pub(super) fn error(&self, reason: impl Into<String>) -> PatternError {
        self.error_at(self.head, reason)
    }

    /// An error about what the last token says.
    pub(super) fn error_after(&self, reason: impl Into<String>) -> PatternError {
        self.error_at(self.at, reason)
    }

    /// An error that is about no place in the text.
    pub(super) fn error_without_place(&self, reason: impl Into<String>) -> PatternError {
        PatternError { position: None, ..self.error(reason) }
    }

    fn error_at(&self, offset: usize, reason: impl Into<String>) -> PatternError {
        let position = Some(self.position(offset));
        PatternError { reason: reason.into(), path: String::new(), position, source: shortened(self.text) }
    }

    /// Line and column, from 1 on.
    fn position(&self, offset: usize) -> (usize, usize) {
        let before = &self.text[..offset];
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        (before.matches('\n').count() + 1, before[start..].encode_utf16().count() + 1)
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// The next byte that is not white space.
    fn peek(&mut self) -> Option<u8> {
        while matches!(self.byte(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
        self.byte()
    }

    /// The next token.
    pub(super) fn next(&mut self) -> Read<Token<'a>> {
        let first = self.peek();
        let Some(open) = self.open.last_mut() else {
            return match first {
                None => {
                    self.head = self.at;
                    Ok(Token::End)
                }
                Some(_) => self.value(),
            };
        };
        if open.has_name {
            open.has_name = false;
            return match first {
                None => Err(self.error_after("Unexpected end-of-input within/between Object entries")),
                Some(b'}') => self.unexpected("expected a value"),
                Some(_) => self.value(),
            };
        }
        let (is_object, is_first) = (open.is_object, open.is_empty);
        open.is_empty = false;
        match first {
            None => self.unfinished(),
            Some(close @ (b'}' | b']')) => self.close(close),
            Some(b',') if !is_first => {
                self.at += 1;
                match (self.peek(), is_object) {
                    (None, _) => self.unfinished(),
                    (Some(_), true) => self.name(),
                    (Some(_), false) => self.value(),
                }
            }
            Some(_) if is_first && is_object => self.name(),
            Some(_) if is_first => self.value(),
            Some(_) => {
                let kind = if is_object { "Object" } else { "Array" };
                self.unexpected(&format!("was expecting comma to separate {kind} entries"))
            }
        }
    }

    fn close(&mut self, close: u8) -> Read<Token<'a>> {
        let Some(open) = self.open.pop() else { return Ok(Token::End) };
        let (kind, expected, token) =
            if open.is_object { ("Object", b'}', Token::ObjectEnd) } else { ("Array", b']', Token::ArrayEnd) };
        if close != expected {
            let (line, column) = self.position(open.start);
            let start = place(&shortened(self.text), line, column);
            let (close, expected) = (char::from(close), char::from(expected));
            let reason =
                format!("Unexpected close marker '{close}': expected '{expected}' (for {kind} starting at {start})");
            return Err(self.error_after(reason));
        }
        self.at += 1;
        self.head = self.at;
        Ok(token)
    }

    fn unfinished<T>(&self) -> Read<T> {
        let Some(open) = self.open.last() else { return Err(self.error_after("Unexpected end-of-input")) };
        let (line, column) = self.position(open.start);
        let kind = if open.is_object { "Object" } else { "Array" };
        let start = place(&shortened(self.text), line, column);
        Err(self.error_after(format!(
            "Unexpected end-of-input: expected close marker for {kind} (start marker at {start})"
        )))
    }

    fn unexpected<T>(&self, expected: &str) -> Read<T> {
        let character = self.text[self.at..].chars().next().unwrap_or_default();
        Err(self.error_after(format!("Unexpected character ({}): {expected}", named(character))))
    }

    fn name(&mut self) -> Read<Token<'a>> {
        if self.byte() != Some(b'"') {
            return self.unexpected("was expecting double-quote to start field name");
        }
        let name = self.string("Unexpected end-of-input in field name")?;
        match self.peek() {
            Some(b':') => self.at += 1,
            Some(_) => return self.unexpected("was expecting a colon to separate field name and value"),
            None => return Err(self.error_after("Unexpected end-of-input within/between Object entries")),
        }
        if let Some(open) = self.open.last_mut() {
            open.has_name = true;
        }
        // AWS reads on to the value before it looks at the name.
        self.head = match self.peek() {
            Some(b'"' | b'[' | b'{') => self.at + 1,
            _ => {
                let rest = &self.text[self.at..];
                self.at + rest.find([',', ']', '}', ' ', '\n', '\r', '\t']).unwrap_or(rest.len())
            }
        };
        Ok(Token::Name(name))
    }

    fn value(&mut self) -> Read<Token<'a>> {
        let start = self.at;
        match self.byte() {
            Some(first @ (b'{' | b'[')) => {
                let is_object = first == b'{';
                self.open.push(Open { is_object, start, is_empty: true, has_name: false });
                self.at += 1;
                self.head = self.at;
                Ok(if is_object { Token::ObjectStart } else { Token::ArrayStart })
            }
            Some(b'"') => {
                let text = self.string("Unexpected end-of-input: was expecting closing quote for a string value")?;
                self.head = start + 1;
                Ok(Token::String(text))
            }
            Some(b'-' | b'0'..=b'9') => {
                let number = self.number()?;
                self.head = self.at;
                Ok(Token::Number(number))
            }
            _ => self.word(),
        }
    }

    fn word(&mut self) -> Read<Token<'a>> {
        let rest = &self.text[self.at..];
        let is_part = |character: char| character.is_alphanumeric() || character == '_' || character == '$';
        let word = &rest[..rest.find(|character| !is_part(character)).unwrap_or(rest.len())];
        if word.is_empty() {
            return self.unexpected(&format!("expected a valid value {VALUE_EXPECTED}"));
        }
        self.at += word.len();
        self.head = self.at;
        match word {
            "true" | "false" | "null" => Ok(Token::Word(word)),
            _ => Err(self.error(format!("Unrecognized token '{word}': was expecting {VALUE_EXPECTED}"))),
        }
    }

    fn number(&mut self) -> Read<&'a str> {
        let start = self.at;
        self.at += usize::from(self.byte() == Some(b'-'));
        match self.byte() {
            Some(b'0') => {
                self.at += 1;
                if matches!(self.byte(), Some(b'0'..=b'9')) {
                    return Err(self.error_after("Invalid numeric value: Leading zeroes not allowed"));
                }
            }
            _ => self.digits("expected digit (0-9) to follow minus sign, for valid numeric value")?,
        }
        if self.byte() == Some(b'.') {
            self.at += 1;
            self.digits("Decimal point not followed by a digit")?;
        }
        if matches!(self.byte(), Some(b'e' | b'E')) {
            self.at += 1;
            self.at += usize::from(matches!(self.byte(), Some(b'+' | b'-')));
            self.digits("Exponent indicator not followed by a digit")?;
        }
        Ok(&self.text[start..self.at])
    }

    fn digits(&mut self, missing: &str) -> Read<()> {
        let start = self.at;
        while matches!(self.byte(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at > start {
            return Ok(());
        }
        match self.text[self.at..].chars().next() {
            Some(character) => {
                Err(self
                    .error_after(format!("Unexpected character ({}) in numeric value: {missing}", named(character))))
            }
            None => Err(self.error_after("Unexpected end-of-input in a number value")),
        }
    }

    fn string(&mut self, unfinished: &str) -> Read<Cow<'a, str>> {
        let start = self.at;
        self.at += 1;
        let mut has_escapes = false;
        loop {
            match self.byte() {
                None => return Err(self.error_after(unfinished)),
                Some(b'"') => break,
                Some(b'\\') => {
                    has_escapes = true;
                    self.escape()?;
                }
                Some(control @ 0..=31) => {
                    let reason = "has to be escaped using backslash to be included in string value";
                    let named = named(char::from(control));
                    return Err(self.error_after(format!("Illegal unquoted character ({named}): {reason}")));
                }
                Some(_) => self.at += 1,
            }
        }
        self.at += 1;
        let inner = &self.text[start + 1..self.at - 1];
        if !has_escapes {
            return Ok(Cow::Borrowed(inner));
        }
        // Half of a surrogate pair is JSON but no text; it then stands as it is written, in events too.
        Ok(serde_json::from_str(&self.text[start..self.at]).map_or(Cow::Borrowed(inner), Cow::Owned))
    }

    fn escape(&mut self) -> Read<()> {
        let unfinished = "Unexpected end-of-input in character escape sequence";
        self.at += 1;
        let Some(character) = self.text[self.at..].chars().next() else { return Err(self.error_after(unfinished)) };
        if !matches!(character, '"' | '\\' | '/' | 'b' | 'f' | 'n' | 'r' | 't' | 'u') {
            return Err(self.error_after(format!("Unrecognized character escape {}", named(character))));
        }
        self.at += 1;
        for _ in 0..if character == 'u' { 4 } else { 0 } {
            match self.byte() {
                Some(digit) if digit.is_ascii_hexdigit() => self.at += 1,
                Some(_) => return self.unexpected("expected a hex-digit for character escape sequence"),
                None => return Err(self.error_after(unfinished)),
            }
        }
        Ok(())
    }
}

/// A character as messages show it.
fn named(character: char) -> String {
    let code = u32::from(character);
    match code {
        0..=31 => format!("(CTRL-CHAR, code {code})"),
        32..=255 => format!("'{character}' (code {code})"),
        _ => format!("'{character}' (code {code} / 0x{code:x})"),
    }
}
