//! Expressions of either language behind one face: what a state machine evaluates, and what it sees.

use serde_json::{Map, Value};

use super::budget::Budget;
use super::choice::ChoiceRule;
use super::jsonata::{Bindings, JsonataTemplate};
use super::path::Path;
use super::scope::{Entropy, EvaluationError, Scope};
use super::template::{FieldExpression, Template};
use super::value::type_name;

/// Most seconds of a timeout, a wait and an interval, and most attempts of a retrier.
pub(super) const SECONDS_MAX: i64 = 99_999_999;

/// What an expression can read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Documents<'a> {
    /// JSONPath's `$`: the input behind `InputPath`, a result, or what was caught.
    pub(super) root: &'a Value,
    /// `$states.input`.
    pub(super) input: &'a Value,
    /// `$states.result`.
    pub(super) result: Option<&'a Value>,
    /// `$states.errorOutput`.
    pub(super) error_output: Option<&'a Value>,
    /// `$$`, `$states.context`.
    pub(super) context: &'a Value,
    /// `$name`.
    pub(super) variables: &'a Map<String, Value>,
    /// What `$now()` tells, in milliseconds since 1970.
    pub(super) now_ms: u64,
    pub(super) budget: &'a Budget<'a>,
}

/// A template of either language.
#[derive(Debug)]
pub(super) enum Payload {
    JsonPath(Template),
    Jsonata(JsonataTemplate),
}

/// A single value of a definition: written there, or found when the state runs.
#[derive(Debug)]
pub(super) enum Operand {
    Literal(Value),
    /// A field whose name ends in `Path`.
    Path(Path),
    /// `ErrorPath` or `CausePath`: a path or an intrinsic function.
    Field(FieldExpression),
    Jsonata(JsonataTemplate),
}

/// The rules of a Choice state.
#[derive(Debug)]
pub(super) enum Choices {
    JsonPath(Vec<ChoiceRule>),
    Jsonata(Vec<JsonataTemplate>),
}

impl<'a> Documents<'a> {
    pub(super) fn of_input(
        input: &'a Value,
        context: &'a Value,
        variables: &'a Map<String, Value>,
        now_ms: u64,
        budget: &'a Budget<'a>,
    ) -> Self {
        Self { root: input, input, result: None, error_output: None, context, variables, now_ms, budget }
    }

    pub(super) fn scope(&self) -> Scope<'a> {
        let visits = Some(self.budget.visits());
        Scope { input: self.root, context: self.context, variables: self.variables, visits }
    }
}

/// Evaluate a template of JSONata: `$states` has what there is.
fn jsonata(
    template: &JsonataTemplate,
    documents: &Documents<'_>,
    entropy: &mut dyn Entropy,
) -> Result<Value, EvaluationError> {
    if let Some(value) = template.literal() {
        return Ok(value.clone());
    }
    let Some(guards) = documents.budget.guards(documents) else {
        return Err(EvaluationError::query("The turn is made again, with more time", ""));
    };
    if !documents.budget.is_short() && template.is_hindered(&guards) {
        // Perhaps by its own evaluation, which was left behind where others waited and ends soon.
        documents.budget.pause(|| template.await_place(&guards));
    }
    let mut states = Map::new();
    states.insert("input".into(), documents.input.clone());
    states.insert("context".into(), documents.context.clone());
    if let Some(result) = documents.result {
        states.insert("result".into(), result.clone());
    }
    if let Some(error_output) = documents.error_output {
        states.insert("errorOutput".into(), error_output.clone());
    }
    let states = Value::Object(states);
    let now_ms = i64::try_from(documents.now_ms).unwrap_or(i64::MAX);
    let bindings = Bindings { states: &states, variables: documents.variables, now_ms };
    let is_over = || documents.budget.has_no_time();
    template.evaluate(&bindings, &guards, entropy, &is_over).inspect_err(|error| {
        if error.is_limit {
            documents.budget.limit_met();
        }
    })
}

/// The same, where the value has to be of a type, as "array".
fn typed(
    template: &JsonataTemplate,
    field: &str,
    expected: &str,
    documents: &Documents<'_>,
    entropy: &mut dyn Entropy,
) -> Result<Value, EvaluationError> {
    let value = jsonata(template, documents, entropy)?;
    if type_name(&value) == expected {
        return Ok(value);
    }
    Err(match template.expression() {
        Some(expression) => expression.unexpected(expected, &value),
        None => {
            EvaluationError::query(format!("The field '{field}' must be of type {expected}, but was {value}"), field)
        }
    })
}

impl Payload {
    /// The template's value.
    pub(super) fn evaluate(
        &self,
        documents: &Documents<'_>,
        entropy: &mut dyn Entropy,
    ) -> Result<Value, EvaluationError> {
        match self {
            Self::JsonPath(template) => template.evaluate(&documents.scope(), entropy),
            Self::Jsonata(template) => jsonata(template, documents, entropy),
        }
    }

    /// The template's value, which has to be of a type in JSONata.
    pub(super) fn typed(
        &self,
        field: &str,
        expected: &str,
        documents: &Documents<'_>,
        entropy: &mut dyn Entropy,
    ) -> Result<Value, EvaluationError> {
        match self {
            Self::JsonPath(_) => self.evaluate(documents, entropy),
            Self::Jsonata(template) => typed(template, field, expected, documents, entropy),
        }
    }
}

impl Operand {
    /// A text.
    pub(super) fn text(
        &self,
        field: &str,
        documents: &Documents<'_>,
        entropy: &mut dyn Entropy,
    ) -> Result<String, EvaluationError> {
        let value = match self {
            Self::Literal(value) => value.clone(),
            Self::Path(path) => path.select(&documents.scope()).map_err(|error| error.evaluation())?,
            Self::Field(expression) => expression.evaluate(&documents.scope(), entropy)?,
            Self::Jsonata(template) => typed(template, field, "string", documents, entropy)?,
        };
        match value {
            Value::String(text) => Ok(text),
            other => Err(EvaluationError::runtime(format!("The field '{field}' must be a string, but was {other}"))),
        }
    }

    /// A number, as it is found.
    pub(super) fn number(
        &self,
        field: &str,
        documents: &Documents<'_>,
        entropy: &mut dyn Entropy,
    ) -> Result<Value, EvaluationError> {
        match self {
            Self::Literal(value) => Ok(value.clone()),
            Self::Path(path) => path.select(&documents.scope()).map_err(|error| error.evaluation()),
            Self::Field(expression) => expression.evaluate(&documents.scope(), entropy),
            Self::Jsonata(template) => typed(template, field, "number", documents, entropy),
        }
    }

    /// A whole number of seconds above 0.
    pub(super) fn seconds(
        &self,
        field: &str,
        documents: &Documents<'_>,
        entropy: &mut dyn Entropy,
    ) -> Result<u64, EvaluationError> {
        let value = self.number(field, documents, entropy)?;
        let whole = value.as_u64().or_else(|| {
            let double = value.as_f64().filter(|double| double.fract() == 0.0 && (0.0..1e15).contains(double));
            double.map(|double| double as u64)
        });
        if let Some(seconds) = whole.filter(|seconds| (1..=SECONDS_MAX.unsigned_abs()).contains(seconds)) {
            return Ok(seconds);
        }
        let cause = format!("{field} must be a whole number from 1 to {SECONDS_MAX}, but was {value}");
        match self {
            Self::Jsonata(_) => Err(EvaluationError::query(cause, field)),
            _ => Err(EvaluationError::runtime(cause)),
        }
    }
}

impl Choices {
    /// The first rule that holds.
    pub(super) fn choose(
        &self,
        documents: &Documents<'_>,
        entropy: &mut dyn Entropy,
    ) -> Result<Option<usize>, EvaluationError> {
        match self {
            Self::JsonPath(rules) => {
                let scope = documents.scope();
                for (index, rule) in rules.iter().enumerate() {
                    if rule.evaluate(&scope)? {
                        return Ok(Some(index));
                    }
                }
            }
            Self::Jsonata(conditions) => {
                for (index, condition) in conditions.iter().enumerate() {
                    let field = format!("Choices[{index}]/Condition");
                    if typed(condition, &field, "boolean", documents, entropy)? == Value::Bool(true) {
                        return Ok(Some(index));
                    }
                }
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::workflow::scope::{QUERY_EVALUATION_ERROR, RUNTIME};

    struct Zero;

    impl Entropy for Zero {
        fn next_u64(&mut self) -> u64 {
            0
        }
    }

    /// 1 to 99,999,999, written as JSON or JSONata write it.
    #[test]
    fn seconds_are_a_whole_number_above_0() {
        let (budget, variables) = (Budget::unclocked(), Map::new());
        let seconds = |operand: &Operand, value: &Value| {
            let documents = Documents::of_input(value, &Value::Null, &variables, 0, &budget);
            operand.seconds("TimeoutSeconds", &documents, &mut Zero)
        };
        let of_path = || Operand::Path(Path::parse("$").unwrap());
        let jsonata =
            || Operand::Jsonata(JsonataTemplate::parse(&json!("{% $states.input %}"), "TimeoutSeconds").unwrap());
        for (value, expected) in
            [(json!(1), 1), (json!(5.0), 5), (json!(99_999_999), 99_999_999), (json!(99_999_999.0), 99_999_999)]
        {
            for operand in [Operand::Literal(value.clone()), of_path(), jsonata()] {
                assert_eq!(seconds(&operand, &value), Ok(expected), "{operand:?} {value}");
            }
        }
        for value in [json!(0), json!(0.0), json!(5.5), json!(-3), json!(-3.0), json!(100_000_000), json!(1e300)] {
            for (operand, error) in
                [(Operand::Literal(value.clone()), RUNTIME), (of_path(), RUNTIME), (jsonata(), QUERY_EVALUATION_ERROR)]
            {
                let told = format!("TimeoutSeconds must be a whole number from 1 to 99999999, but was {value}");
                let failure = seconds(&operand, &value).unwrap_err();
                assert_eq!(failure.error, error, "{operand:?} {value}");
                // JSONata has no integers of its own.
                assert!(failure.cause == told || error == QUERY_EVALUATION_ERROR, "{}", failure.cause);
            }
        }
    }
}
