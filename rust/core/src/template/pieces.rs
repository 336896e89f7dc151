//! A template's text becomes pieces: text as it stands, and placeholders.

/// A piece of a template.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Piece {
    Text(String),
    /// A placeholder, inside a quoted text or for itself.
    Variable {
        variable: Variable,
        is_quoted: bool,
    },
}

/// What a placeholder stands for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Variable {
    /// The path with this number.
    Path(usize),
    RuleArn,
    RuleName,
    IngestionTime,
    /// The envelope without its detail.
    Event,
    /// The event as it came.
    EventJson,
}

impl Piece {
    /// What stands here when it is tried whether a template is JSON.
    pub(super) fn sample(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Variable { is_quoted: true, .. } => "",
            Self::Variable { is_quoted: false, .. } => "null",
        }
    }
}

/// Cut a template into pieces; `names` are its own variables. The error is a placeholder that stands for nothing.
pub(super) fn parse(template: &str, names: &[&str]) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut text = String::new();
    let mut is_quoted = false;
    let mut is_escaped = false;
    let mut rest = template;
    while let Some(character) = rest.chars().next() {
        if let Some(name) = placeholder(rest) {
            let variable = variable(name, names, is_quoted).ok_or(name)?;
            pieces.push(Piece::Text(std::mem::take(&mut text)));
            pieces.push(Piece::Variable { variable, is_quoted });
            rest = &rest[name.len() + 2..];
            is_escaped = false;
            continue;
        }
        if character == '"' && !is_escaped {
            is_quoted = !is_quoted;
        }
        is_escaped = character == '\\' && !is_escaped;
        text.push(character);
        rest = &rest[character.len_utf8()..];
    }
    pieces.push(Piece::Text(text));
    Ok(pieces)
}

/// The name of the placeholder that a text begins with.
fn placeholder(text: &str) -> Option<&str> {
    let (name, _) = text.strip_prefix('<')?.split_once('>')?;
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
    is_name.then_some(name)
}

fn variable(name: &str, names: &[&str], is_quoted: bool) -> Option<Variable> {
    match name {
        "aws.events.rule-arn" => Some(Variable::RuleArn),
        "aws.events.rule-name" => Some(Variable::RuleName),
        "aws.events.event.ingestion-time" => Some(Variable::IngestionTime),
        // A whole event has no place inside a text.
        "aws.events.event" if !is_quoted => Some(Variable::Event),
        "aws.events.event.json" if !is_quoted => Some(Variable::EventJson),
        _ => names.iter().position(|other| *other == name).map(Variable::Path),
    }
}
