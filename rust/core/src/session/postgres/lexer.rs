//! PostgreSQL's lexical rules.
//! <https://www.postgresql.org/docs/current/sql-syntax-lexical.html>

use std::borrow::Cow;

use crate::session::fold::Fold;
use crate::session::token::{lower, Kind, Token, Unreadable};

/// Bytes of a name that count; the server cuts the rest off.
const NAME_BYTES_MAX: usize = 63;
const OPERATORS: &[u8] = b"~!@#^&|`?+-*/%<>=";

/// Read a whole text.
///
/// # Errors
/// It does not end where a statement can.
pub(crate) fn read(text: &str, standard_strings: bool) -> Result<Vec<Token<'_>>, Unreadable> {
    each(text, standard_strings, Vec::push)
}

/// Read a whole text, and leave out what says nothing more of its session.
///
/// # Errors
/// It does not end where a statement can.
pub(crate) fn read_folded(text: &str, standard_strings: bool) -> Result<Vec<Token<'_>>, Unreadable> {
    let mut fold = Fold::default();
    each(text, standard_strings, |tokens, token| fold.push(tokens, token))
}

fn each<'t>(
    text: &'t str,
    standard_strings: bool,
    mut push: impl FnMut(&mut Vec<Token<'t>>, Token<'t>),
) -> Result<Vec<Token<'t>>, Unreadable> {
    let mut lexer = Lexer { text, bytes: text.as_bytes(), at: 0, standard_strings };
    let mut tokens = Vec::with_capacity((text.len() / 5).min(4_096));
    while lexer.skip_space()? {
        let token = lexer.token()?;
        push(&mut tokens, token);
    }
    Ok(tokens)
}

#[derive(Clone, Copy)]
struct Lexer<'t> {
    text: &'t str,
    bytes: &'t [u8],
    at: usize,
    standard_strings: bool,
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0B | 0x0C)
}

fn begins_name(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

fn continues_name(byte: u8) -> bool {
    begins_name(byte) || byte.is_ascii_digit() || byte == b'$'
}

/// Cut a name where the server does. Where that is depends on the server's encoding if the name is more than ASCII.
fn clipped(name: Cow<'_, str>) -> Result<Cow<'_, str>, Unreadable> {
    if name.len() <= NAME_BYTES_MAX {
        return Ok(name);
    }
    if name.is_ascii() {
        Ok(Cow::Owned(name[..NAME_BYTES_MAX].to_owned()))
    } else {
        Err(Unreadable)
    }
}

impl<'t> Lexer<'t> {
    fn peek(&self, ahead: usize) -> u8 {
        self.bytes.get(self.at + ahead).copied().unwrap_or(0)
    }

    /// Go past space and comments; tell whether there is anything after them.
    fn skip_space(&mut self) -> Result<bool, Unreadable> {
        while self.at < self.bytes.len() {
            let byte = self.peek(0);
            if is_space(byte) {
                self.at += 1;
            } else if byte == b'-' && self.peek(1) == b'-' {
                self.skip_line();
            } else if byte == b'/' && self.peek(1) == b'*' {
                self.skip_comment()?;
            } else {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn skip_line(&mut self) {
        let rest = &self.bytes[self.at..];
        self.at += rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')).unwrap_or(rest.len());
    }

    /// Comments nest.
    fn skip_comment(&mut self) -> Result<(), Unreadable> {
        let mut depth = 0_usize;
        loop {
            match &self.bytes[self.at..] {
                [] => return Err(Unreadable),
                [b'/', b'*', ..] => {
                    depth += 1;
                    self.at += 2;
                }
                [b'*', b'/', ..] => {
                    depth -= 1;
                    self.at += 2;
                    if depth == 0 {
                        return Ok(());
                    }
                }
                _ => self.at += 1,
            }
        }
    }

    fn token(&mut self) -> Result<Token<'t>, Unreadable> {
        let start = self.at;
        let (first, second) = (self.peek(0), self.peek(1));
        match first {
            b'\'' => return self.string(start, !self.standard_strings),
            b'"' => return self.quoted_name(start, false),
            b'e' | b'E' if second == b'\'' => {
                self.at += 1;
                return self.string(start, true);
            }
            b'b' | b'B' | b'x' | b'X' if second == b'\'' => {
                self.at += 1;
                return self.string(start, false);
            }
            b'n' | b'N' if second == b'\'' => {
                self.at += 1;
                return self.string(start, !self.standard_strings);
            }
            b'u' | b'U' if second == b'&' && matches!(self.peek(2), b'\'' | b'"') => {
                self.at += 2;
                return if self.peek(0) == b'"' { self.quoted_name(start, true) } else { self.unicode_text(start) };
            }
            b'$' if second.is_ascii_digit() => {
                self.at += 1;
                self.skip_digits();
                return Ok(Token::new(Kind::Parameter, self.text, start, self.at));
            }
            b'$' => return self.dollar_text(start),
            _ => {}
        }
        if begins_name(first) {
            while continues_name(self.peek(0)) {
                self.at += 1;
            }
            let value = clipped(lower(&self.text[start..self.at]))?;
            return Ok(Token::of(Kind::Word, value, self.text, start, self.at));
        }
        if first.is_ascii_digit() || (first == b'.' && second.is_ascii_digit()) {
            self.skip_number();
            return Ok(Token::new(Kind::Number, self.text, start, self.at));
        }
        if OPERATORS.contains(&first) {
            self.skip_operator();
            return Ok(Token::new(Kind::Sign, self.text, start, self.at));
        }
        let length = match first {
            b':' if matches!(second, b':' | b'=') => 2,
            b'.' if second == b'.' => 2,
            b'(' | b')' | b'[' | b']' | b',' | b';' | b':' | b'.' => 1,
            _ => return Err(Unreadable),
        };
        self.at += length;
        Ok(Token::new(Kind::Sign, self.text, start, self.at))
    }

    fn skip_digits(&mut self) {
        while self.peek(0).is_ascii_digit() {
            self.at += 1;
        }
    }

    /// The digits alone, as the oldest servers read them: a word may follow without a space (`1INTO`).
    fn skip_number(&mut self) {
        self.skip_digits();
        if self.peek(0) == b'.' && self.peek(1) != b'.' {
            self.at += 1;
            self.skip_digits();
        }
        if matches!(self.peek(0), b'e' | b'E') {
            let sign = usize::from(matches!(self.peek(1), b'+' | b'-'));
            if self.peek(1 + sign).is_ascii_digit() {
                self.at += 1 + sign;
                self.skip_digits();
            }
        }
    }

    /// An operator ends before a comment, and not in `+` or `-` unless it has a character that arithmetic has not.
    fn skip_operator(&mut self) {
        let start = self.at;
        while OPERATORS.contains(&self.peek(0)) {
            if matches!((self.peek(0), self.peek(1)), (b'-', b'-') | (b'/', b'*')) {
                break;
            }
            self.at += 1;
        }
        let is_free = self.bytes[start..self.at].iter().any(|byte| b"~!@#^&|`?%".contains(byte));
        while !is_free && self.at > start + 1 && matches!(self.bytes[self.at - 1], b'+' | b'-') {
            self.at -= 1;
        }
    }

    /// A text in quotes, and what goes on with it on a later line. It stands at its opening quote.
    fn string(&mut self, start: usize, has_escapes: bool) -> Result<Token<'t>, Unreadable> {
        let mut value = String::new();
        let (mut plain, mut content) = (true, self.at + 1);
        loop {
            self.at += 1;
            match self.bytes.get(self.at) {
                None => return Err(Unreadable),
                Some(b'\\') => {
                    plain = false;
                    self.at += usize::from(has_escapes);
                }
                Some(b'\'') if self.peek(1) == b'\'' => {
                    value.push_str(&self.text[content..=self.at]);
                    self.at += 1;
                    content = self.at + 1;
                }
                Some(b'\'') => {
                    value.push_str(self.text.get(content..self.at).ok_or(Unreadable)?);
                    self.at += 1;
                    let Some(next) = self.continued() else { break };
                    self.at = next;
                    content = next + 1;
                }
                Some(_) => {}
            }
        }
        plain &= self.bytes[start] == b'\'';
        Ok(Token { plain, ..Token::of(Kind::Text, Cow::Owned(value), self.text, start, self.at) })
    }

    /// Where a text that has been closed is opened again: after a line break, with space and comments around it.
    fn continued(&self) -> Option<usize> {
        let mut ahead = *self;
        let mut is_next_line = false;
        loop {
            match ahead.peek(0) {
                b'\'' => return is_next_line.then_some(ahead.at),
                b'-' if ahead.peek(1) == b'-' => ahead.skip_line(),
                byte if is_space(byte) => {
                    is_next_line |= matches!(byte, b'\n' | b'\r');
                    ahead.at += 1;
                }
                _ => return None,
            }
        }
    }

    /// `U&'…'`, with the `UESCAPE` after it.
    fn unicode_text(&mut self, start: usize) -> Result<Token<'t>, Unreadable> {
        let mut token = self.string(start, false)?;
        self.escape_character()?;
        token.plain = false;
        token.end = self.at;
        Ok(token)
    }

    fn quoted_name(&mut self, start: usize, has_escapes: bool) -> Result<Token<'t>, Unreadable> {
        let content = self.at + 1;
        let mut is_doubled = false;
        loop {
            self.at += 1;
            match self.bytes.get(self.at) {
                None => return Err(Unreadable),
                Some(b'"') if self.peek(1) == b'"' => {
                    is_doubled = true;
                    self.at += 1;
                }
                Some(b'"') => break,
                Some(_) => {}
            }
        }
        let raw = &self.text[content..self.at];
        self.at += 1;
        let mut value = if is_doubled { Cow::Owned(raw.replace("\"\"", "\"")) } else { Cow::Borrowed(raw) };
        if has_escapes {
            let escape = self.escape_character()?;
            value = Cow::Owned(unescaped(&value, escape)?);
        }
        Ok(Token::of(Kind::Quoted, clipped(value)?, self.text, start, self.at))
    }

    /// The character that escapes in the `U&` before: a backslash, or what `UESCAPE` names.
    fn escape_character(&mut self) -> Result<char, Unreadable> {
        let back = self.at;
        self.skip_space()?;
        let ahead = &self.text[self.at..];
        let is_named = ahead.get(..7).is_some_and(|word| word.eq_ignore_ascii_case("uescape"));
        if !is_named || continues_name(self.peek(7)) {
            self.at = back;
            return Ok('\\');
        }
        self.at += 7;
        self.skip_space()?;
        let mut rest = self.text[self.at..].chars();
        let (Some('\''), Some(escape), Some('\'')) = (rest.next(), rest.next(), rest.next()) else {
            return Err(Unreadable);
        };
        self.at += 2 + escape.len_utf8();
        Ok(escape)
    }

    fn dollar_text(&mut self, start: usize) -> Result<Token<'t>, Unreadable> {
        self.at += 1;
        if begins_name(self.peek(0)) {
            while self.peek(0) != b'$' && continues_name(self.peek(0)) {
                self.at += 1;
            }
        }
        if self.peek(0) != b'$' {
            return Err(Unreadable);
        }
        self.at += 1;
        let tag = &self.text[start..self.at];
        let length = self.text[self.at..].find(tag).ok_or(Unreadable)?;
        let value = &self.text[self.at..self.at + length];
        self.at += length + tag.len();
        let plain = !value.contains('\\');
        Ok(Token { plain, ..Token::of(Kind::Text, Cow::Borrowed(value), self.text, start, self.at) })
    }
}

/// Undo the escapes of `U&"…"`.
fn unescaped(name: &str, escape: char) -> Result<String, Unreadable> {
    let mut plain = Vec::new();
    let mut rest = name;
    while let Some(at) = rest.find(escape) {
        plain.extend(rest[..at].encode_utf16());
        rest = &rest[at + escape.len_utf8()..];
        if let Some(after) = rest.strip_prefix(escape) {
            plain.extend(escape.encode_utf16(&mut [0; 2]).iter());
            rest = after;
            continue;
        }
        let (skip, digits) = if rest.starts_with('+') { (1, 6) } else { (0, 4) };
        let code =
            rest.get(skip..skip + digits).and_then(|code| u32::from_str_radix(code, 16).ok()).ok_or(Unreadable)?;
        match u16::try_from(code) {
            Ok(unit) => plain.push(unit), // a half of a pair, perhaps
            Err(_) => plain.extend(char::from_u32(code).ok_or(Unreadable)?.encode_utf16(&mut [0; 2]).iter()),
        }
        rest = &rest[skip + digits..];
    }
    plain.extend(rest.encode_utf16());
    String::from_utf16(&plain).map_err(|_| Unreadable)
}
