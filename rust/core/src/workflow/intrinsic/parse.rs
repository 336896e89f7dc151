//! From a call's text to its function and arguments.

use serde_json::Value;

use super::{Argument, Call, Function, NESTING_MAX};
use crate::workflow::path::Path;

type Parsed<T> = Result<T, String>;

pub(super) fn call(text: &str) -> Parsed<Call> {
    let mut reader = Reader { text, at: 0 };
    reader.skip_blanks();
    let call = reader.call(1)?;
    reader.skip_blanks();
    match reader.rest() {
        "" => Ok(call),
        rest => Err(format!("Unexpected '{}' after the call", rest.chars().take(20).collect::<String>())),
    }
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Reader<'t> {
    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn skip_blanks(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    fn eat(&mut self, expected: char) -> bool {
        let is_there = self.rest().starts_with(expected);
        if is_there {
            self.at += expected.len_utf8();
        }
        is_there
    }

    fn take(&mut self, wanted: impl Fn(char) -> bool) -> &'t str {
        let rest = self.rest();
        let taken = &rest[..rest.find(|each| !wanted(each)).unwrap_or(rest.len())];
        self.at += taken.len();
        taken
    }

    fn call(&mut self, depth: usize) -> Parsed<Call> {
        if depth > NESTING_MAX {
            return Err(format!("Intrinsic functions nest at most {NESTING_MAX} levels deep"));
        }
        let name = self.take(|each| each.is_ascii_alphanumeric() || each == '.');
        let known = Function::ALL.into_iter().find(|(_, known, ..)| *known == name);
        let (function, _, least, most) = known.ok_or_else(|| format!("'{name}' is not an intrinsic function"))?;
        self.skip_blanks();
        if !self.eat('(') {
            return Err(format!("Expected '(' after {name}"));
        }
        let arguments = self.arguments(function, depth)?;
        if !(least..=most).contains(&arguments.len()) {
            let wanted = match (least, most) {
                (least, most) if least == most => least.to_string(),
                (least, usize::MAX) => format!("at least {least}"),
                (least, most) => format!("{least} to {most}"),
            };
            return Err(format!("{name} takes {wanted} arguments, not {}", arguments.len()));
        }
        Ok(Call { function, arguments })
    }

    fn arguments(&mut self, function: Function, depth: usize) -> Parsed<Vec<Argument>> {
        let mut arguments = Vec::new();
        loop {
            self.skip_blanks();
            if arguments.is_empty() && self.eat(')') {
                return Ok(arguments);
            }
            let is_template = function == Function::Format && arguments.is_empty();
            arguments.push(self.argument(is_template, depth)?);
            self.skip_blanks();
            if self.eat(')') {
                return Ok(arguments);
            }
            if !self.eat(',') {
                return Err(format!("Expected ',' or ')' at position {}", self.at));
            }
        }
    }

    fn argument(&mut self, is_template: bool, depth: usize) -> Parsed<Argument> {
        match self.rest().chars().next() {
            Some('\'') => self.quoted(is_template),
            Some('$') => {
                let text = self.path()?;
                Path::parse(text).map(Argument::Path).map_err(|error| error.to_string())
            }
            Some('S') => self.call(depth + 1).map(Argument::Call),
            _ => {
                let start = self.at;
                let word = self.take(|each| each.is_ascii_alphanumeric() || matches!(each, '.' | '-' | '+'));
                serde_json::from_str::<Value>(word).map(Argument::Literal).map_err(|_| {
                    format!("Expected a text, a number, true, false, null, a path or a call at position {start}")
                })
            }
        }
    }

    /// A path ends with the argument; brackets and parentheses inside it are its own.
    fn path(&mut self) -> Parsed<&'t str> {
        let rest = self.rest();
        let mut open = 0_usize;
        let mut quote = None;
        let mut is_escaped = false;
        for (at, each) in rest.char_indices() {
            match (quote, each) {
                _ if is_escaped => is_escaped = false,
                (Some(_), '\\') => is_escaped = true,
                (Some(opened), _) if each == opened => quote = None,
                (None, '\'' | '"') if open > 0 => quote = Some(each),
                (None, '[' | '(') => open += 1,
                (None, ',' | ')') if open == 0 => {
                    self.at += at;
                    return Ok(rest[..at].trim_end());
                }
                (None, ']' | ')') => open = open.saturating_sub(1),
                _ => {}
            }
        }
        Err("The call is not closed with a ')'".to_owned())
    }

    /// A text in single quotes. `\'`, `\{`, `\}` and `\\` are the escapes there are.
    fn quoted(&mut self, is_template: bool) -> Parsed<Argument> {
        let start = self.at;
        let mut text = String::new();
        let mut characters = self.rest().char_indices().skip(1);
        while let Some((at, each)) = characters.next() {
            match each {
                '\'' => {
                    self.at = start + at + 1;
                    return Ok(if is_template { Argument::Template(text) } else { Argument::Literal(text.into()) });
                }
                '\\' => match characters.next() {
                    Some((_, escaped @ ('\'' | '{' | '}' | '\\'))) => {
                        // A template keeps what tells its braces from placeholders.
                        if is_template && escaped != '\'' {
                            text.push('\\');
                        }
                        text.push(escaped);
                    }
                    _ => return Err(format!("A '\\' stands before ', {{, }} or \\ only, at position {}", start + at)),
                },
                each => text.push(each),
            }
        }
        Err(format!("The text at position {start} is not closed with a \"'\""))
    }
}
