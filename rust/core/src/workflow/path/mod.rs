//! JSONPath as AWS's Step Functions read it: Jayway's dialect, with its rules for lists and its error texts.
//!
//! A definite path (names and single indices) gives the one value it leads to, or fails. Any other path gives a list,
//! also of one value or of none; a wildcard over something that is missing gives the empty list, as AWS does.

mod filter;
mod function;
mod parse;
mod reference;
mod walk;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;

use serde_json::Value;

pub use reference::ReferencePath;

use super::scope::{EvaluationError, Scope, DATA_LIMIT_EXCEEDED};
use function::Call;
use walk::{Step, Walk};

/// Characters of a path.
pub const PATH_CHARS_MAX: usize = 10_000;
/// Bytes of what one path selects, as they lie in memory.
pub const SELECTED_BYTES_MAX: usize = 16 << 20;

/// A parsed path.
#[derive(Clone, Debug)]
pub struct Path {
    text: String,
    root: Root,
    steps: Vec<Step>,
    call: Option<Call>,
}

/// The document a path starts from.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Root {
    Input,
    Context,
    Variable(String),
}

/// Why a path is none, or has no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathError {
    /// The path as it is written.
    pub path: String,
    /// What is wrong.
    pub kind: PathErrorKind,
    /// Jayway's words for it.
    pub detail: String,
}

/// The ways in which a path fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathErrorKind {
    /// The text is not a path. Only parsing says so.
    Syntax,
    /// The path leads to nothing.
    Missing,
    /// A reference path cannot write into the value.
    Unwritable,
    /// The path selects, visits or builds more than is allowed.
    TooLarge,
    /// The paths of a state together visit more than is allowed. No one of them need be at fault.
    TogetherTooLarge,
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            PathErrorKind::Unwritable | PathErrorKind::TogetherTooLarge => f.write_str(&self.detail),
            _ => write!(f, "Invalid path '{}' : {}", self.path, self.detail),
        }
    }
}

impl std::error::Error for PathError {}

impl PathError {
    /// The failure of a choice, a `SecondsPath` and so on, which tells Jayway's words.
    pub fn evaluation(&self) -> EvaluationError {
        let mut failure = EvaluationError::runtime(self.to_string());
        match self.kind {
            PathErrorKind::TooLarge | PathErrorKind::TogetherTooLarge => {
                DATA_LIMIT_EXCEEDED.clone_into(&mut failure.error);
            }
            PathErrorKind::Unwritable => "States.ResultPathMatchFailure".clone_into(&mut failure.error),
            PathErrorKind::Syntax | PathErrorKind::Missing => {}
        }
        failure
    }

    /// The failure of a field that names a path: `InputPath`, `ErrorPath`, or one of a payload template (`total.$`).
    pub fn of_field(&self, field: &str, input: &Value) -> EvaluationError {
        if self.kind != PathErrorKind::Missing {
            return self.evaluation();
        }
        EvaluationError::runtime(format!(
            "The JSONPath '{}' specified for the field '{field}' could not be found in the input '{input}'",
            self.path
        ))
    }
}

impl Path {
    /// Read a path such as `$.order.items[0]`, `$$.Execution.Id` or `$total`.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        parse::path(text)
    }

    /// The path as it is written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether the path leads to one value; otherwise its value is a list.
    pub fn is_definite(&self) -> bool {
        self.call.is_some() || walk::is_definite(&self.steps)
    }

    /// The variable that the path reads, if it reads one.
    pub fn variable(&self) -> Option<&str> {
        match &self.root {
            Root::Variable(name) => Some(name),
            Root::Input | Root::Context => None,
        }
    }

    /// Whether the path reads the context object.
    pub fn is_of_context(&self) -> bool {
        self.root == Root::Context
    }

    /// The value the path leads to.
    pub fn select(&self, scope: &Scope<'_>) -> Result<Value, PathError> {
        self.find(scope).map(Cow::into_owned)
    }

    /// The value the path leads to, without a copy where it is part of the document.
    pub fn find<'v>(&self, scope: &Scope<'v>) -> Result<Cow<'v, Value>, PathError> {
        let root = match &self.root {
            Root::Input => scope.input,
            Root::Context => scope.context,
            Root::Variable(name) => scope
                .variables
                .get(name)
                .ok_or_else(|| self.error(PathErrorKind::Missing, format!("The variable '{name}' has no value")))?,
        };
        let mut walk = Walk::new(root, scope.visits.map_or(0, Cell::get));
        let found = walk.select(root, &self.steps).and_then(|found| match &self.call {
            None => Ok(found),
            Some(call) => call.apply(&found, &mut walk).map(Cow::Owned),
        });
        if let Some(visits) = scope.visits {
            visits.set(walk.visits());
        }
        found.map_err(|stop| self.stopped(stop))
    }

    fn error(&self, kind: PathErrorKind, detail: String) -> PathError {
        PathError { path: self.text.clone(), kind, detail }
    }

    fn stopped(&self, stop: walk::Stop) -> PathError {
        match stop {
            walk::Stop::Missing(detail) => self.error(PathErrorKind::Missing, detail),
            walk::Stop::TooLarge(detail) => self.error(PathErrorKind::TooLarge, detail),
            walk::Stop::TogetherTooLarge(detail) => {
                self.error(PathErrorKind::TogetherTooLarge, format!("{detail}; the last of them is '{}'", self.text))
            }
        }
    }
}
