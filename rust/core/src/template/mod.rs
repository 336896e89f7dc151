//! What a target gets of an event: all of it, a fixed text, the place of a path, or a template with variables in it.
//!
//! Values are copied as they stand in the event's text, so numbers keep their digits. A path of `InputPath` that finds
//! nothing gives `null`; a variable that finds nothing is an empty text.
//!
//! <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-transform-target-input.html>

mod path;
mod pieces;

use std::borrow::Cow;
use std::fmt;

pub use path::{Path, PATH_CHARS_MAX};
use pieces::{Piece, Variable};
use serde::de::IgnoredAny;

/// Longest fixed input and longest template, characters.
pub const INPUT_CHARS_MAX: usize = 8192;
/// What a template makes is cut off behind so many bytes; whoever asked for it refuses what is longer.
pub const FILLED_BYTES_MAX: usize = 6 << 20;
/// Most variables of a template.
pub const VARIABLES_MAX: usize = 100;

/// Why an input was refused: AWS's text where AWS has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputError(pub String);

impl fmt::Display for InputError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for InputError {}

/// What was said about a target's input: one of these at most.
#[derive(Clone, Copy, Debug, Default)]
pub struct InputTexts<'a> {
    /// A fixed JSON text.
    pub input: Option<&'a str>,
    /// A path into the event.
    pub input_path: Option<&'a str>,
    /// A template.
    pub transformer: Option<TransformerTexts<'a>>,
}

/// A transformer as it was written.
#[derive(Clone, Copy, Debug)]
pub struct TransformerTexts<'a> {
    /// Variables: name and path.
    pub paths: &'a [(String, String)],
    /// The template.
    pub template: &'a str,
}

/// What reserved variables say beside the event.
#[derive(Clone, Copy, Debug)]
pub struct Reserved<'a> {
    /// `<aws.events.rule-arn>`.
    pub rule_arn: &'a str,
    /// `<aws.events.rule-name>`.
    pub rule_name: &'a str,
    /// `<aws.events.event.ingestion-time>`, as `2026-01-31T23:59:59Z`.
    pub ingestion_time: &'a str,
}

/// A target's input.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// The event as it came.
    Event,
    /// Always the same text.
    Fixed(String),
    /// What stands at a path.
    Path(Path),
    /// A template with the event's values.
    Template(Template),
}

impl Input {
    /// Read what was said about the input of the target with this id.
    pub fn parse(target: &str, texts: &InputTexts<'_>) -> Result<Self, InputError> {
        match (texts.input, texts.input_path, texts.transformer) {
            (None, None, None) => Ok(Self::Event),
            (Some(input), None, None) => {
                check_length(target, "Input", input)?;
                check_json(input)
                    .map_err(|place| InputError(format!("JSON syntax error in input for target {target}: {place}")))?;
                Ok(Self::Fixed(input.to_owned()))
            }
            (None, Some(path), None) => match Path::parse(path) {
                Ok(path) => Ok(Self::Path(path)),
                Err(reason) => Err(InputError(format!("InputPath for target {target} is not valid: {reason}"))),
            },
            (None, None, Some(transformer)) => Template::parse(target, transformer).map(Self::Template),
            _ => {
                let text = "Only one of Input, InputPath, or InputTransformer must be provided for target";
                Err(InputError(format!("{text} {target}.")))
            }
        }
    }

    /// What the target gets of an event, which is the JSON text of an object.
    pub fn of<'a>(&'a self, event: &'a str, reserved: &Reserved<'_>) -> Cow<'a, str> {
        match self {
            Self::Event => event.into(),
            Self::Fixed(text) => text.into(),
            Self::Path(path) => path.find(event).unwrap_or("null".into()),
            Self::Template(template) => template.fill(event, reserved).into(),
        }
    }
}

/// A template: JSON with placeholders, or lines of quoted text.
#[derive(Clone, Debug, PartialEq)]
pub struct Template {
    pieces: Vec<Piece>,
    paths: Vec<Path>,
}

impl Template {
    fn parse(target: &str, texts: TransformerTexts<'_>) -> Result<Self, InputError> {
        check_length(target, "InputTemplate", texts.template)?;
        if texts.paths.len() > VARIABLES_MAX {
            let count = texts.paths.len();
            let text = format!("InputPathsMap for target {target} has {count} variables, at most {VARIABLES_MAX}.");
            return Err(InputError(text));
        }
        let mut names = Vec::new();
        let mut paths = Vec::new();
        for (name, path) in texts.paths {
            let wrong =
                |reason: &str| InputError(format!("InputPathsMap for target {target}: variable {name}: {reason}"));
            if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte)) {
                return Err(wrong("a name has letters, digits, _ and - only."));
            }
            if name.get(..3).is_some_and(|first| first.eq_ignore_ascii_case("aws")) {
                return Err(wrong("a name must not begin with AWS."));
            }
            names.push(name.as_str());
            paths.push(Path::parse(path).map_err(|reason| wrong(&reason))?);
        }
        let pieces = pieces::parse(texts.template, &names).map_err(|name| {
            InputError(format!("InputTemplate for target {target} contains invalid placeholder {name}."))
        })?;
        match check_template(&pieces) {
            Ok(()) => Ok(Self { pieces, paths }),
            Err(place) => Err(InputError(format!("Invalid InputTemplate for target {target} : {place}"))),
        }
    }

    fn fill(&self, event: &str, reserved: &Reserved<'_>) -> String {
        let found: Vec<_> = self.paths.iter().map(|path| path.find(event)).collect();
        let mut text = String::new();
        for piece in &self.pieces {
            // No target takes it any more: a template may name an event of a megabyte hundreds of times.
            if text.len() > FILLED_BYTES_MAX {
                break;
            }
            let (variable, is_quoted) = match piece {
                Piece::Text(piece) => {
                    text.push_str(piece);
                    continue;
                }
                Piece::Variable { variable, is_quoted } => (variable, *is_quoted),
            };
            let quoted = |text: &str| Some(Cow::from(serde_json::Value::from(text).to_string()));
            let value = match variable {
                Variable::Path(at) => found[*at].clone(),
                Variable::RuleArn => quoted(reserved.rule_arn),
                Variable::RuleName => quoted(reserved.rule_name),
                Variable::IngestionTime => quoted(reserved.ingestion_time),
                Variable::Event => Some(path::without_detail(event).into()),
                Variable::EventJson => Some(event.into()),
            };
            match value {
                Some(value) if is_quoted => push_without_quotes(&mut text, &value),
                Some(value) => text.push_str(&value),
                None if is_quoted => {}
                None => text.push_str("\"\""),
            }
        }
        text
    }
}

/// Copy a JSON value into a text that stands in quotes: what was escaped stays escaped, quotes and blanks around it go.
fn push_without_quotes(text: &mut String, value: &str) {
    let mut is_string = false;
    let mut is_escaped = false;
    for character in value.chars() {
        match character {
            '"' if !is_escaped => is_string = !is_string,
            ' ' | '\n' | '\r' | '\t' if !is_string => {}
            _ => text.push(character),
        }
        is_escaped = character == '\\' && !is_escaped;
    }
}

fn check_length(target: &str, name: &str, text: &str) -> Result<(), InputError> {
    let length = text.chars().count();
    if (1..=INPUT_CHARS_MAX).contains(&length) {
        return Ok(());
    }
    let text = format!("{name} for target {target} has {length} characters; 1 to {INPUT_CHARS_MAX} are allowed.");
    Err(InputError(text))
}

/// A template is JSON with a value in each placeholder, or each of its lines is a quoted text.
fn check_template(pieces: &[Piece]) -> Result<(), String> {
    let sample: String = pieces.iter().map(Piece::sample).collect();
    let wrong = match check_json(&sample) {
        Ok(()) => return Ok(()),
        Err(place) => place,
    };
    let mut lines = sample.lines().map(str::trim).filter(|line| !line.is_empty()).peekable();
    let is_text = lines.peek().is_some() && lines.all(|line| serde_json::from_str::<String>(line).is_ok());
    is_text.then_some(()).ok_or(wrong)
}

/// Refuse what is not JSON, with the place as AWS writes it.
fn check_json(text: &str) -> Result<(), String> {
    serde_json::from_str::<IgnoredAny>(text)
        .map(drop)
        .map_err(|error| format!("[Source: (String)\"{text}\"; line: {}, column: {}]", error.line(), error.column()))
}
