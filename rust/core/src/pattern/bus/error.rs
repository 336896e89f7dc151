//! Why a pattern was refused.

use std::fmt;

/// Characters of the pattern that an error shows.
const SOURCE_CHARS_MAX: usize = 500;

/// Why a pattern was refused: `InvalidEventPatternException`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatternError {
    /// What is wrong, in AWS's words where it has them.
    pub reason: String,
    /// Where in the pattern, as `detail.state[0].prefix`; empty for the whole.
    pub path: String,
    /// Line and column, from 1 on, of the character after what was read; `None` if the mistake has no place in the text.
    pub position: Option<(usize, usize)>,
    /// The pattern in quotes, shortened.
    pub(super) source: String,
}

impl PatternError {
    /// The first line of the message, without the pattern itself.
    pub fn summary(&self) -> String {
        format!("Event pattern is not valid. Reason: {}", self.reason)
    }

    /// Where the mistake is, for people: `detail.state[0].prefix, line 1, column 31`.
    pub fn place(&self) -> String {
        let path = if self.path.is_empty() { "the root" } else { &self.path };
        self.position.map_or_else(|| path.to_owned(), |(line, column)| format!("{path}, line {line}, column {column}"))
    }
}

impl fmt::Display for PatternError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.summary())?;
        match self.position {
            Some((line, column)) => write!(formatter, "\n at {}", place(&self.source, line, column)),
            None => Ok(()),
        }
    }
}

impl std::error::Error for PatternError {}

/// A place as AWS shows it.
pub(super) fn place(source: &str, line: usize, column: usize) -> String {
    format!("[Source: (String){source}; line: {line}, column: {column}]")
}

/// A pattern as errors show it.
pub(super) fn shortened(text: &str) -> String {
    match text.char_indices().nth(SOURCE_CHARS_MAX) {
        Some((end, _)) => format!("\"{}\"[truncated {} chars]", &text[..end], text[end..].chars().count()),
        None => format!("\"{text}\""),
    }
}
