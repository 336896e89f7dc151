//! Payload templates: `Parameters`, `ResultSelector`, `ItemSelector`, `Assign` of a JSONPath state.
//!
//! A key that ends in `.$` names a path or an intrinsic; its value takes the place of the field, without the ending.

use serde_json::{Map, Value};

use super::intrinsic::Intrinsic;
use super::path::Path;
use super::scope::{Entropy, EvaluationError, Problem, Scope, DATA_LIMIT_EXCEEDED};
use super::value::{is_deeper_than, weigh, NESTING_MAX};

#[cfg(test)]
mod tests;

/// Bytes that a template may build, as they lie in memory. A payload's text may have 262,144.
pub(super) const BUILT_BYTES_MAX: usize = 16 << 20;

/// The failure of a template that builds too much.
pub(super) fn too_large() -> EvaluationError {
    EvaluationError {
        error: DATA_LIMIT_EXCEEDED.to_owned(),
        cause: format!("The payload template builds more than {BUILT_BYTES_MAX} bytes"),
        location: None,
        is_limit: false,
    }
}

/// A parsed template.
#[derive(Clone, Debug)]
pub struct Template(Node);

#[derive(Clone, Debug)]
enum Node {
    /// A value without anything to evaluate.
    Literal(Value),
    Array(Vec<Node>),
    Object(Vec<(String, Node)>),
    /// A field's value, and the key as it is written.
    Path(Path, String),
    Intrinsic(Intrinsic),
}

/// The one expression of a field that takes a path or an intrinsic: `InputPath`, `ErrorPath`, a key of a template.
#[derive(Clone, Debug)]
pub struct FieldExpression(Node);

impl FieldExpression {
    /// Read a path or an intrinsic. `field` is what failures name.
    pub fn parse(text: &str, field: &str) -> Result<Self, Problem> {
        Node::parse_expression(text, field).map(Self).map_err(|message| Problem::schema("", message))
    }

    /// The expression's value.
    pub fn evaluate(&self, scope: &Scope<'_>, entropy: &mut dyn Entropy) -> Result<Value, EvaluationError> {
        self.0.evaluate(scope, entropy, &mut 0)
    }
}

impl Template {
    /// Read a template. What is not evaluated may be any JSON.
    pub fn parse(template: &Value) -> Result<Self, Problem> {
        if is_deeper_than(template, NESTING_MAX) {
            let message = format!("A template nests at most {NESTING_MAX} levels deep");
            return Err(Problem::schema("", message));
        }
        Node::parse(template, "").map(Self)
    }

    /// The payload that the template makes of a scope.
    pub fn evaluate(&self, scope: &Scope<'_>, entropy: &mut dyn Entropy) -> Result<Value, EvaluationError> {
        let payload = self.0.evaluate(scope, entropy, &mut 0)?;
        if is_deeper_than(&payload, NESTING_MAX) {
            return Err(EvaluationError::runtime(format!("The payload nests deeper than {NESTING_MAX} levels")));
        }
        Ok(payload)
    }
}

impl Node {
    fn parse(template: &Value, place: &str) -> Result<Self, Problem> {
        match template {
            Value::Array(items) => {
                let nodes = items.iter().enumerate().map(|(at, item)| Self::parse(item, &format!("{place}[{at}]")));
                Ok(Self::array(nodes.collect::<Result<_, _>>()?))
            }
            Value::Object(fields) => {
                let nodes = fields.iter().map(|(key, field)| Self::parse_field(key, field, place));
                Ok(Self::object(nodes.collect::<Result<_, _>>()?))
            }
            literal => Ok(Self::Literal(literal.clone())),
        }
    }

    fn parse_field(key: &str, field: &Value, place: &str) -> Result<(String, Self), Problem> {
        let Some(name) = key.strip_suffix(".$") else {
            return Ok((key.to_owned(), Self::parse(field, &format!("{place}/{key}"))?));
        };
        let refuse = || {
            let message =
                format!("The value for the field '{key}' must be a valid JSONPath or a valid intrinsic function call");
            Problem::schema(place, message)
        };
        let text = field.as_str().ok_or_else(refuse)?;
        let node = Self::parse_expression(text, key).map_err(|_| refuse())?;
        Ok((name.to_owned(), node))
    }

    fn parse_expression(text: &str, field: &str) -> Result<Self, String> {
        if text.starts_with('$') {
            let path = Path::parse(text).map_err(|error| error.to_string())?;
            return Ok(Self::Path(path, field.to_owned()));
        }
        Intrinsic::parse(text).map(Self::Intrinsic).map_err(|problem| problem.message)
    }

    /// Join literals into one, so that evaluating copies them at once.
    fn array(nodes: Vec<Self>) -> Self {
        if nodes.iter().all(|node| matches!(node, Self::Literal(_))) {
            return Self::Literal(nodes.into_iter().filter_map(Self::into_literal).collect());
        }
        Self::Array(nodes)
    }

    fn object(nodes: Vec<(String, Self)>) -> Self {
        if nodes.iter().all(|(_, node)| matches!(node, Self::Literal(_))) {
            let fields = nodes.into_iter().filter_map(|(name, node)| Some((name, node.into_literal()?)));
            return Self::Literal(Value::Object(fields.collect()));
        }
        Self::Object(nodes)
    }

    fn into_literal(self) -> Option<Value> {
        match self {
            Self::Literal(value) => Some(value),
            _ => None,
        }
    }

    fn evaluate(
        &self,
        scope: &Scope<'_>,
        entropy: &mut dyn Entropy,
        built: &mut usize,
    ) -> Result<Value, EvaluationError> {
        let value = match self {
            Self::Array(nodes) => {
                let items = nodes.iter().map(|node| node.evaluate(scope, entropy, built));
                return items.collect::<Result<Vec<_>, _>>().map(Value::Array);
            }
            Self::Object(nodes) => {
                let fields = nodes.iter().map(|(name, node)| Ok((name.clone(), node.evaluate(scope, entropy, built)?)));
                return fields.collect::<Result<Map<_, _>, _>>().map(Value::Object);
            }
            Self::Literal(value) => value.clone(),
            Self::Path(path, field) => path.select(scope).map_err(|error| error.of_field(field, scope.input))?,
            Self::Intrinsic(intrinsic) => intrinsic.evaluate(scope, entropy, built)?,
        };
        *built += weigh(&value, BUILT_BYTES_MAX);
        if *built > BUILT_BYTES_MAX {
            return Err(too_large());
        }
        Ok(value)
    }
}
