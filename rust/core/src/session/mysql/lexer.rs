//! The lexical rules of MySQL and MariaDB.
//! <https://dev.mysql.com/doc/refman/8.4/en/language-structure.html>

use std::borrow::Cow;

use super::Mode;
use crate::session::fold::Fold;
use crate::session::token::{lower, Kind, Token, Unreadable};

/// What a text holds that no reading of it can be sure of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// It cannot be read to its end.
    Unreadable,
    /// A comment that the server may run, by its version.
    RunComment,
    /// An argument inside of quotes or a comment.
    QuotedParameter,
    /// A placeholder that is neither `%s` nor `%(name)s`.
    Placeholder,
}

impl From<Unreadable> for Trouble {
    fn from(_: Unreadable) -> Self {
        Self::Unreadable
    }
}

/// Read a whole text. With arguments, `%s` and `%(name)s` are where they go, and `%%` is a percent sign.
///
/// # Errors
/// It cannot be read for sure.
pub(crate) fn read(text: &str, mode: Mode, has_arguments: bool) -> Result<Vec<Token<'_>>, Trouble> {
    each(text, mode, has_arguments, Vec::push)
}

/// Read a whole text, and leave out what says nothing more of its session.
///
/// # Errors
/// It cannot be read for sure.
pub(crate) fn read_folded(text: &str, mode: Mode, has_arguments: bool) -> Result<Vec<Token<'_>>, Trouble> {
    let mut fold = Fold::default();
    each(text, mode, has_arguments, |tokens, token| fold.push(tokens, token))
}

fn each<'t>(
    text: &'t str,
    mode: Mode,
    has_arguments: bool,
    mut push: impl FnMut(&mut Vec<Token<'t>>, Token<'t>),
) -> Result<Vec<Token<'t>>, Trouble> {
    let mut lexer = Lexer { text, bytes: text.as_bytes(), at: 0, mode, has_arguments };
    let mut tokens = Vec::with_capacity((text.len() / 5).min(4_096));
    while lexer.skip_space()? {
        let is_after_point = tokens.last().is_some_and(|last: &Token<'_>| last.is_sign("."));
        let token = match tokens.last() {
            // What begins with a point at the end of a word is the next part of its name.
            Some(last) if last.kind == Kind::Word && last.end == lexer.at && lexer.peek(0) == b'.' => lexer.sign(1),
            _ => lexer.token(is_after_point)?,
        };
        push(&mut tokens, token);
    }
    Ok(tokens)
}

struct Lexer<'t> {
    text: &'t str,
    bytes: &'t [u8],
    at: usize,
    mode: Mode,
    has_arguments: bool,
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0B | 0x0C)
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$') || byte >= 0x80
}

impl<'t> Lexer<'t> {
    fn peek(&self, ahead: usize) -> u8 {
        self.bytes.get(self.at + ahead).copied().unwrap_or(0)
    }

    /// Go past space and comments; tell whether there is anything after them.
    fn skip_space(&mut self) -> Result<bool, Trouble> {
        while self.at < self.bytes.len() {
            match (self.peek(0), self.peek(1)) {
                (byte, _) if is_space(byte) => self.at += 1,
                (b'#', _) => self.skip_line()?,
                // Two dashes begin a comment before space and control characters alone; a no-break space is neither.
                (b'-', b'-') if self.peek(2) <= b' ' || self.peek(2) == 0x7F => {
                    self.skip_line()?;
                }
                (b'/', b'*') => self.skip_comment()?,
                _ => return Ok(true),
            }
        }
        Ok(false)
    }

    fn skip_line(&mut self) -> Result<(), Trouble> {
        let length = self.text[self.at..].find('\n').unwrap_or(self.bytes.len() - self.at);
        self.no_parameter(self.at, self.at + length)?;
        self.at += length;
        Ok(())
    }

    fn skip_comment(&mut self) -> Result<(), Trouble> {
        let inside = &self.text[self.at + 2..];
        if inside.starts_with('!') || inside.starts_with("M!") {
            return Err(Trouble::RunComment);
        }
        let length = inside.find("*/").ok_or(Trouble::Unreadable)?;
        self.no_parameter(self.at, self.at + 2 + length)?;
        self.at += length + 4;
        Ok(())
    }

    /// Refuse arguments where they would not be what they are: their own quotes would end these.
    fn no_parameter(&self, start: usize, end: usize) -> Result<(), Trouble> {
        if !self.has_arguments {
            return Ok(());
        }
        let mut rest = self.bytes[start..end].iter();
        while let Some(byte) = rest.next() {
            if *byte == b'%' && rest.next() != Some(&b'%') {
                return Err(Trouble::QuotedParameter);
            }
        }
        Ok(())
    }

    fn token(&mut self, is_after_point: bool) -> Result<Token<'t>, Trouble> {
        let start = self.at;
        let (first, second) = (self.peek(0), self.peek(1));
        match first {
            b'\'' => return self.string(start),
            b'"' if !self.mode.ansi_quotes => return self.string(start),
            b'"' | b'`' => return self.quoted_name(start),
            b'x' | b'X' | b'b' | b'B' | b'n' | b'N' if second == b'\'' => {
                self.at += 1;
                let mut token = self.string(start)?;
                token.plain = false;
                return Ok(token);
            }
            b'@' if second == b'@' => return self.system_variable(start),
            b'@' => return self.user_variable(start),
            b'%' if self.has_arguments => return self.placeholder(start),
            _ => {}
        }
        if is_name(first) {
            while is_name(self.peek(0)) {
                self.at += 1;
            }
            return self.word(start, is_after_point);
        }
        if first == b'.' && second.is_ascii_digit() && !is_after_point {
            self.at += 1;
            while self.peek(0).is_ascii_digit() {
                self.at += 1;
            }
            return self.number(start);
        }
        let length = match first {
            b':' if second == b'=' => 2,
            b'<' | b'>' | b'!' | b'|' | b'&' | b'=' if matches!(second, b'=' | b'>' | b'<' | b'|' | b'&') => 2,
            b'(' | b')' | b'{' | b'}' | b',' | b';' | b'.' | b'?' | b'+' | b'-' | b'*' | b'/' | b'%' | b'=' | b'<'
            | b'>' | b'!' | b'|' | b'&' | b'^' | b'~' | b':' => 1,
            _ => return Err(Trouble::Unreadable),
        };
        Ok(self.sign(length))
    }

    fn sign(&mut self, length: usize) -> Token<'t> {
        self.at += length;
        Token::new(Kind::Sign, self.text, self.at - length, self.at)
    }

    /// What begins with a digit may be a name, and a number may run into a word; which, is left to those who write so.
    fn word(&mut self, start: usize, is_after_point: bool) -> Result<Token<'t>, Trouble> {
        let run = &self.text[start..self.at];
        if is_after_point || !run.as_bytes()[0].is_ascii_digit() {
            return Ok(Token::of(Kind::Word, lower(run), self.text, start, self.at));
        }
        let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if is_digits(run) {
            if self.peek(0) == b'.' {
                self.at += 1;
                while self.peek(0).is_ascii_digit() {
                    self.at += 1;
                }
            }
            return self.number(start);
        }
        let is_hexadecimal = run.strip_prefix("0x").is_some_and(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()));
        let is_binary = run.strip_prefix("0b").is_some_and(|bits| bits.bytes().all(|b| matches!(b, b'0' | b'1')));
        if is_hexadecimal || is_binary {
            return Ok(Token::new(Kind::Number, self.text, start, self.at));
        }
        let (digits, exponent) = run.split_at(run.find(['e', 'E']).unwrap_or(run.len()));
        if is_digits(digits) && !exponent.is_empty() {
            self.at = start + digits.len();
            return self.number(start);
        }
        Err(Trouble::Unreadable)
    }

    /// The exponent of a number, if it has one, after which no word may stand at once.
    fn number(&mut self, start: usize) -> Result<Token<'t>, Trouble> {
        if matches!(self.peek(0), b'e' | b'E') {
            self.at += 1 + usize::from(matches!(self.peek(1), b'+' | b'-'));
            if !self.peek(0).is_ascii_digit() {
                return Err(Trouble::Unreadable);
            }
            while self.peek(0).is_ascii_digit() {
                self.at += 1;
            }
        }
        if is_name(self.peek(0)) {
            return Err(Trouble::Unreadable);
        }
        Ok(Token::new(Kind::Number, self.text, start, self.at))
    }

    /// A text in quotes. It stands at its opening quote.
    fn string(&mut self, start: usize) -> Result<Token<'t>, Trouble> {
        let (quote, content) = (self.peek(0), self.at + 1);
        let (mut plain, mut is_doubled) = (true, false);
        loop {
            self.at += 1;
            match self.bytes.get(self.at) {
                None => return Err(Trouble::Unreadable),
                Some(b'\\') => {
                    plain = false;
                    self.at += usize::from(!self.mode.no_backslash_escapes);
                }
                Some(&byte) if byte == quote && self.peek(1) == quote => {
                    is_doubled = true;
                    self.at += 1;
                }
                Some(&byte) if byte == quote => break,
                Some(_) => {}
            }
        }
        let raw = self.text.get(content..self.at).ok_or(Trouble::Unreadable)?;
        self.no_parameter(content, self.at)?;
        self.at += 1;
        let mut value = Cow::Borrowed(raw);
        if is_doubled {
            let one = if quote == b'"' { "\"" } else { "'" };
            value = Cow::Owned(raw.replace(&one.repeat(2), one));
        }
        if self.has_arguments && value.contains("%%") {
            value = Cow::Owned(value.replace("%%", "%"));
        }
        Ok(Token { plain, ..Token::of(Kind::Text, value, self.text, start, self.at) })
    }

    fn quoted_name(&mut self, start: usize) -> Result<Token<'t>, Trouble> {
        let quote = self.text[self.at..].chars().next().ok_or(Trouble::Unreadable)?;
        let content = self.at + 1;
        self.at = content;
        loop {
            let length = self.text[self.at..].find(quote).ok_or(Trouble::Unreadable)?;
            self.at += length + 1;
            if self.text[self.at..].starts_with(quote) {
                self.at += 1;
            } else {
                break;
            }
        }
        let raw = &self.text[content..self.at - 1];
        self.no_parameter(content, self.at)?;
        let doubled: String = [quote, quote].iter().collect();
        let mut value = if raw.contains(&doubled) {
            Cow::Owned(raw.replace(&doubled, &quote.to_string()))
        } else {
            Cow::Borrowed(raw)
        };
        if self.has_arguments && value.contains("%%") {
            value = Cow::Owned(value.replace("%%", "%"));
        }
        Ok(Token::of(Kind::Quoted, value, self.text, start, self.at))
    }

    /// `@name`, `@'name'`, or a sign that an argument follows; each is a variable of the user.
    fn user_variable(&mut self, start: usize) -> Result<Token<'t>, Trouble> {
        self.at += 1;
        match self.peek(0) {
            b'\'' | b'"' => {
                self.string(start)?;
            }
            b'`' => {
                self.quoted_name(start)?;
            }
            _ => {
                while is_name(self.peek(0)) || self.peek(0) == b'.' {
                    self.at += 1;
                }
            }
        }
        Ok(Token::new(Kind::UserVariable, self.text, start, self.at))
    }

    /// `@@name` and `@@scope.name`, each part in backquotes or not.
    fn system_variable(&mut self, start: usize) -> Result<Token<'t>, Trouble> {
        self.at += 2;
        let mut name = String::new();
        loop {
            self.skip_space()?;
            if self.peek(0) == b'`' {
                name.push_str(&self.quoted_name(start)?.value.to_ascii_lowercase());
            } else {
                let from = self.at;
                while is_name(self.peek(0)) {
                    self.at += 1;
                }
                name.push_str(&self.text[from..self.at].to_ascii_lowercase());
            }
            let end = self.at;
            self.skip_space()?;
            if self.peek(0) != b'.' {
                self.at = end;
                break;
            }
            name.push('.');
            self.at += 1;
        }
        Ok(Token::of(Kind::SystemVariable, Cow::Owned(name), self.text, start, self.at))
    }

    /// `%s`, `%(name)s`, `%%`: what the driver fills in, and nothing that would cut or quote it once more.
    fn placeholder(&mut self, start: usize) -> Result<Token<'t>, Trouble> {
        let rest = &self.text[start + 1..];
        let (kind, length) = if rest.starts_with('%') {
            (Kind::Sign, 1)
        } else if rest.starts_with('s') {
            (Kind::Parameter, 1)
        } else {
            let close = rest.find(')').filter(|_| rest.starts_with('(')).ok_or(Trouble::Placeholder)?;
            if !rest[close + 1..].starts_with('s') {
                return Err(Trouble::Placeholder);
            }
            (Kind::Parameter, close + 2)
        };
        self.at += 1 + length;
        Ok(Token::new(kind, self.text, start, self.at))
    }
}
