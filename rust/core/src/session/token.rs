//! What a statement is made of, whatever the server.

use std::borrow::Cow;

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A word without quotes: a keyword or a name. Its value is lower case.
    Word,
    /// A name in quotes. Its value is the name itself, its escapes undone.
    Quoted,
    /// A literal in quotes.
    Text,
    /// A number, or a literal of bits.
    Number,
    /// A run of operator characters, or a single sign such as `(`.
    Sign,
    /// Where an argument goes.
    Parameter,
    /// `@name`, MySQL's variable of the user.
    UserVariable,
    /// `@@name`, MySQL's variable of the server. Its value is the name in lower case, with its scope.
    SystemVariable,
}

/// One piece of a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token<'t> {
    /// What it is.
    pub(crate) kind: Kind,
    /// What it says; of a text, what it stands for if it is `plain`.
    pub(crate) value: Cow<'t, str>,
    /// What is written.
    pub(crate) raw: &'t str,
    /// A text that means the same whatever the session's settings are.
    pub(crate) plain: bool,
    /// Where it begins, in bytes.
    pub(crate) start: usize,
    /// Where the text goes on after it.
    pub(crate) end: usize,
}

impl<'t> Token<'t> {
    /// A token that is what is written.
    pub(crate) fn new(kind: Kind, text: &'t str, start: usize, end: usize) -> Self {
        Self::of(kind, Cow::Borrowed(&text[start..end]), text, start, end)
    }

    /// A token that stands for something else than is written.
    pub(crate) fn of(kind: Kind, value: Cow<'t, str>, text: &'t str, start: usize, end: usize) -> Self {
        Self { kind, value, raw: &text[start..end], plain: true, start, end }
    }

    /// Whether it is this keyword.
    pub(crate) fn is(&self, word: &str) -> bool {
        self.kind == Kind::Word && self.value == word
    }

    /// Whether it is this sign.
    pub(crate) fn is_sign(&self, sign: &str) -> bool {
        self.kind == Kind::Sign && self.value == sign
    }

    /// A name in the case in which it is written.
    pub(crate) fn name(&self) -> &str {
        if self.kind == Kind::Word {
            self.raw
        } else {
            &self.value
        }
    }

    /// Whether it is a name, or a keyword that might be one.
    pub(crate) fn is_name(&self) -> bool {
        matches!(self.kind, Kind::Word | Kind::Quoted)
    }
}

/// A word in lower case, without a copy where it is that already.
pub(crate) fn lower(word: &str) -> Cow<'_, str> {
    if word.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(word.to_ascii_lowercase())
    } else {
        Cow::Borrowed(word)
    }
}

/// A text that cannot be read to its end: a quote or a comment is open, or it has a character that no server knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unreadable;

/// Whether the tokens begin with these words.
pub(crate) fn begins(tokens: &[Token<'_>], words: &[&str]) -> bool {
    tokens.len() >= words.len() && tokens.iter().zip(words).all(|(token, word)| token.is(word))
}

/// Whether the tokens are these words and no more.
pub(crate) fn are(tokens: &[Token<'_>], words: &[&str]) -> bool {
    tokens.len() == words.len() && begins(tokens, words)
}

/// The position after the parenthesis that closes the first one from a position on; the end when none does.
pub(crate) fn after_parenthesis(tokens: &[Token<'_>], from: usize) -> usize {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(from) {
        if token.is_sign("(") {
            depth += 1;
        } else if token.is_sign(")") {
            depth = depth.saturating_sub(1);
            if depth == 0 {
                return at + 1;
            }
        }
    }
    tokens.len()
}

/// The parts between commas that stand outside of parentheses.
pub(crate) fn split_at_commas<'s, 't>(tokens: &'s [Token<'t>]) -> Vec<&'s [Token<'t>]> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0_usize, 0);
    for (at, token) in tokens.iter().enumerate() {
        if token.is_sign("(") {
            depth += 1;
        } else if token.is_sign(")") {
            depth = depth.saturating_sub(1);
        } else if depth == 0 && token.is_sign(",") {
            parts.push(&tokens[start..at]);
            start = at + 1;
        }
    }
    parts.push(&tokens[start..]);
    parts
}

/// A statement for people: every literal is a `?`, comments are left out, and it is cut after so many characters.
pub(crate) fn digest(text: &str, tokens: &[Token<'_>], characters_max: usize) -> String {
    let mut told = String::new();
    let mut end = 0;
    for token in tokens {
        if end > 0 && token.start > end {
            told.push(' ');
        }
        end = token.end;
        match token.kind {
            Kind::Text | Kind::Number => told.push('?'),
            _ => told.push_str(&text[token.start..token.end]),
        }
        if told.len() > characters_max * 4 {
            break;
        }
    }
    if told.chars().count() > characters_max {
        told = told.chars().take(characters_max - 1).collect::<String>() + "…";
    }
    told
}
