//! Mapping templates: the part of Velocity that API Gateway speaks.
//!
//! A method that is not listed is an error of the template; nothing is ever looked up by its name. Each rendering has
//! a budget of steps and bytes. Source:
//! <https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-mapping-template-reference.html>

mod budget;
mod expression;
mod input;
mod methods;
mod numbers;
mod parse;
mod patterns;
mod render;
mod syntax;
mod text;
mod value;

#[cfg(test)]
mod tests;

use std::fmt;

use serde_json::{Map, Value as Json};

use budget::{Budget, Stop};
pub use input::{Input, Params};

/// Bytes of a template, as AWS has it.
pub const TEMPLATE_BYTES_MAX: usize = 300 * 1024;
/// Rounds of one `#foreach`, as AWS has it.
pub const ROUNDS_MAX: usize = 1_000;
/// Bytes of what a template renders to: what a request or an answer may have.
pub const OUTPUT_BYTES_MAX: usize = 10 * 1024 * 1024;
/// Nodes, values and calls of one rendering.
pub const STEPS_MAX: usize = 1_000_000;

/// A template that was read.
#[derive(Debug)]
pub struct Template {
    text: String,
    nodes: Vec<syntax::Node>,
    macros: syntax::Macros,
}

/// Why a text is not a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Bytes before the place.
    pub at: usize,
    /// What is wrong there.
    pub reason: String,
}

/// Why a template was not rendered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RenderError {
    /// A fault of the template, with its line: for whoever wrote it.
    Template(String),
    /// The template reads the body as JSON, and it is none.
    NoJson,
    /// It takes longer than others may be made to wait: to be rendered at leisure.
    Long,
}

impl fmt::Display for RenderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Template(reason) => f.write_str(reason),
            Self::NoJson => f.write_str("Invalid JSON in request body"),
            Self::Long => f.write_str("the template takes long"),
        }
    }
}

impl std::error::Error for RenderError {}

/// What a template sees.
#[derive(Debug)]
pub struct Globals<'a> {
    /// `$input`.
    pub input: Input<'a>,
    /// `$context`. What the template sets below `requestOverride` and `responseOverride` is written back.
    pub context: &'a mut Map<String, Json>,
    /// `$stageVariables`.
    pub stage_variables: &'a [(String, String)],
}

impl Template {
    /// Read a template.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (nodes, macros) =
            parse::template(text).map_err(|problem| format!("line {}: {}", line(text, problem.at), problem.reason))?;
        Ok(Self { text: text.to_owned(), nodes, macros })
    }

    /// Render the template. Unless that is done at leisure, one that takes long is left, and has changed nothing.
    pub fn render(&self, globals: Globals<'_>, is_at_leisure: bool) -> Result<String, RenderError> {
        let budget = if is_at_leisure { Budget::new() } else { Budget::brief() };
        render::render(self, globals, budget).map_err(|(stop, at)| match stop {
            Stop::Long => RenderError::Long,
            Stop::Failed(reason) => RenderError::Template(format!("line {}: {reason}", line(&self.text, at))),
            Stop::NoJson => RenderError::NoJson,
        })
    }
}

fn line(text: &str, at: usize) -> usize {
    let before = &text.as_bytes()[..at.min(text.len())];
    before.split(|byte| *byte == b'\n').count()
}
