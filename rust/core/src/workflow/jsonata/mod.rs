//! JSONata as AWS's Step Functions have it: `{% … %}` in `Arguments`, `Output`, `Assign`, `Condition` and the like.
//!
//! The language is the crate jsonata-core's. Its values and its evaluator are named in this folder only, and nothing of
//! them shows here: an expression is read once, may be shared by threads, and takes and gives plain JSON.

mod contained;
mod convert;
mod engine;
mod functions;
mod guarded;
mod rewrite;
mod watched;

#[cfg(test)]
mod bounded;
#[cfg(test)]
mod suite;
#[cfg(test)]
mod surveyed;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Duration;

use jsonata_core::evaluator::CancelToken;
use serde_json::{Map, Value};

use super::scope::{Entropy, EvaluationError, Problem};
use super::value::{is_deeper_than, type_name, NESTING_MAX};
use contained::contain;
use engine::{Draws, Failure, Program, Session};
use watched::{await_place, is_hindered, watch, Task, Unanswered};

/// Characters of an expression.
pub const EXPRESSION_CHARS_MAX: usize = 100_000;

const CROWDED: &str = "Two expressions that took too long are still being evaluated, so this one is not begun";

/// What an expression can read.
#[derive(Clone, Copy, Debug)]
pub struct Bindings<'a> {
    /// `$states`: an object of `input`, `context`, and `result` or `errorOutput` where there is one.
    pub states: &'a Value,
    /// The workflow's variables, each under its name.
    pub variables: &'a Map<String, Value>,
    /// What `$now()` and `$millis()` tell, in milliseconds since 1970.
    pub now_ms: i64,
}

/// How much one evaluation may use. Over a limit the state fails with `States.QueryEvaluationError`.
#[derive(Clone, Copy, Debug)]
pub struct Guards {
    /// Milliseconds of wall time. What may not look at its clock for long is left behind when they are over.
    pub time_ms_max: u64,
    /// Evaluations inside one another.
    pub depth_max: usize,
    /// Items of a sequence.
    pub sequence_items_max: usize,
    /// Bytes of one text or result: a character counts one, a number eight.
    pub value_bytes_max: usize,
    /// Bytes of all texts that an evaluation joins, pads or replaces.
    pub built_bytes_max: usize,
    /// Threads of evaluations that nobody waits for any more. While there are so many, nothing is evaluated that could become one.
    pub stuck_max: usize,
    /// Threads of trials are counted apart from others: whoever tries a state holds no execution up.
    pub is_trial: bool,
}

impl Default for Guards {
    /// AWS refuses a value of more than 6,990,256 bytes and a sequence of more than 873,782 numbers.
    fn default() -> Self {
        Self {
            time_ms_max: 1_000,
            depth_max: 500,
            sequence_items_max: 873_782,
            value_bytes_max: 6_990_256,
            built_bytes_max: 64 << 20,
            stuck_max: 2,
            is_trial: false,
        }
    }
}

impl Guards {
    /// For an evaluation on which others wait: what no clock is looked at in, as a sort, stays short, too.
    pub fn short() -> Self {
        let (value_bytes_max, built_bytes_max) = (1 << 20, 1 << 20);
        // The second one is for an evaluation on which nobody waits.
        Self { sequence_items_max: 20_000, value_bytes_max, built_bytes_max, stuck_max: 1, ..Self::default() }
    }
}

/// One parsed expression, and the field it stands in.
#[derive(Debug)]
pub struct Expression {
    text: String,
    field: String,
    program: Program,
}

/// The expression inside `{% … %}`, if the whole text is one.
pub fn expression_in(text: &str) -> Option<&str> {
    text.strip_prefix("{%")?.strip_suffix("%}").map(str::trim)
}

impl Expression {
    /// Read an expression without its `{%` and `%}`. Failures name `field`, such as `Choices[0]/Condition`.
    pub fn parse(text: &str, field: &str) -> Result<Self, Problem> {
        let refuse = |code, message| Problem { code, place: String::new(), message };
        if text.chars().count() > EXPRESSION_CHARS_MAX {
            let message = format!("An expression has at most {EXPRESSION_CHARS_MAX} characters");
            return Err(refuse("INVALID_JSONATA_EXPRESSION", message));
        }
        let program = Program::parse(text).map_err(|message| refuse("INVALID_JSONATA_EXPRESSION", message))?;
        if let Some(message) = program.unsupported() {
            return Err(refuse("UNSUPPORTED_JSONATA_EXPRESSION", message));
        }
        Ok(Self { text: text.to_owned(), field: field.to_owned(), program })
    }

    /// The expression's value; `None` if it is undefined.
    fn evaluate(&self, session: &mut Session) -> Result<Option<Value>, EvaluationError> {
        session.run(&self.program).map_err(|failure| self.failed(failure))
    }

    fn failed(&self, failure: Failure) -> EvaluationError {
        let is_limit = matches!(failure, Failure::Limit(_));
        let error = self.failure(&match failure {
            Failure::Unsupported => "returned an unsupported result type.".to_owned(),
            // AWS joins a coded message with a full stop and a bare one with a colon.
            Failure::Coded(message) => format!("threw an error during evaluation. {message}"),
            Failure::Limit(message) | Failure::Broken(message) => {
                format!("threw an error during evaluation: {message}")
            }
        });
        EvaluationError { is_limit, ..error }
    }

    /// The failure of an expression for which those before it have left no time.
    fn late(&self) -> EvaluationError {
        self.failed(Failure::Limit("the expressions before it took all the time".to_owned()))
    }

    /// The failure of a field that must not be undefined.
    pub fn undefined(&self) -> EvaluationError {
        self.failure("returned nothing (undefined).")
    }

    /// The failure of a field whose value is of another type than `expected`, such as `array`.
    pub fn unexpected(&self, expected: &str, value: &Value) -> EvaluationError {
        let kind = type_name(value);
        self.failure(&format!(
            "returned an unexpected result type. Expected '{expected}', but was '{kind}' for value: {value}"
        ))
    }

    fn failure(&self, what: &str) -> EvaluationError {
        let cause = format!("The JSONata expression '{}' specified for the field '{}' {what}", self.text, self.field);
        EvaluationError::query(cause, &self.field)
    }
}

/// A field of a JSONata state: any JSON, in which texts `{% … %}` are expressions.
#[derive(Debug)]
pub struct JsonataTemplate(Arc<Node>);

#[derive(Debug)]
enum Node {
    /// A value without an expression in it.
    Literal(Value),
    Array(Vec<Node>),
    Object(Vec<(String, Node)>),
    Expression(Expression),
}

impl JsonataTemplate {
    /// Read a field's value. `field` is its name in the state, such as `Output` or `Catch[0]/Assign`.
    pub fn parse(template: &Value, field: &str) -> Result<Self, Problem> {
        if is_deeper_than(template, NESTING_MAX) {
            let message = format!("A template nests at most {NESTING_MAX} levels deep");
            return Err(Problem::schema(String::new(), message));
        }
        Node::parse(template, field, "").map(|node| Self(Arc::new(node)))
    }

    /// The one expression that the field consists of, if it does.
    pub fn expression(&self) -> Option<&Expression> {
        match &*self.0 {
            Node::Expression(expression) => Some(expression),
            _ => None,
        }
    }

    /// The field's value without an evaluation, if there is no expression in it.
    pub fn literal(&self) -> Option<&Value> {
        match &*self.0 {
            Node::Literal(value) => Some(value),
            _ => None,
        }
    }

    /// The field's value. An undefined expression anywhere in it is an error. `is_over`: there is no time for a further one.
    pub fn evaluate(
        &self,
        bindings: &Bindings<'_>,
        guards: &Guards,
        entropy: &mut dyn Entropy,
        is_over: &dyn Fn() -> bool,
    ) -> Result<Value, EvaluationError> {
        if let Some(value) = self.literal() {
            return Ok(value.clone());
        }
        let programs = self.0.programs();
        let draws = Draws::new(&programs, entropy);
        let value = if programs.iter().any(|program| program.facts.is_watched) {
            self.evaluate_aside(&programs, bindings, guards, draws, is_over)?
        } else {
            let mut session = Session::open(&programs, bindings, guards, draws, CancelToken::new());
            self.0.evaluate(&mut session, is_over, &AtomicUsize::new(0))?
        };
        if is_deeper_than(&value, NESTING_MAX) {
            let cause = format!("The field's value nests deeper than {NESTING_MAX} levels");
            return Err(EvaluationError { location: None, ..EvaluationError::query(cause, "") });
        }
        Ok(value)
    }

    /// Whether the field cannot be evaluated now, because of evaluations that nobody waits for any more.
    pub(super) fn is_hindered(&self, guards: &Guards) -> bool {
        is_hindered(self.task(guards), guards.stuck_max)
            && self.0.programs().iter().any(|program| program.facts.is_watched)
    }

    /// Wait for them, as long as the guards say.
    pub(super) fn await_place(&self, guards: &Guards) {
        await_place(self.task(guards), guards.stuck_max, Duration::from_millis(guards.time_ms_max));
    }

    fn task(&self, guards: &Guards) -> Task {
        Task { template: Arc::as_ptr(&self.0).addr(), is_trial: guards.is_trial }
    }

    /// The same on another thread. It takes no longer than the guards say.
    fn evaluate_aside(
        &self,
        programs: &[&Program],
        bindings: &Bindings<'_>,
        guards: &Guards,
        draws: Draws,
        is_over: &dyn Fn() -> bool,
    ) -> Result<Value, EvaluationError> {
        let (guards, now_ms, cancel) = (*guards, bindings.now_ms, CancelToken::new());
        let begun = Arc::new(AtomicUsize::new(0));
        let failed = |failure| {
            let mut expressions = Vec::new();
            self.0.collect(&mut expressions);
            let at = begun.load(Ordering::Relaxed).saturating_sub(1);
            expressions.get(at).map_or_else(|| EvaluationError::query("", ""), |expression| expression.failed(failure))
        };
        if is_over() {
            return Err(failed(Failure::Limit("the expressions before it took all the time".to_owned())));
        }
        let (states, variables) = engine::read(programs, bindings);
        let (node, counted, cancelled) = (Arc::clone(&self.0), Arc::clone(&begun), cancel.clone());
        let answer = watch(guards.time_ms_max, self.task(&guards), guards.stuck_max, move |is_over| {
            contain(|| {
                let bindings = Bindings { states: &states, variables: &variables, now_ms };
                let mut session = Session::open(&node.programs(), &bindings, &guards, draws, cancelled);
                node.evaluate(&mut session, is_over, &counted)
            })
        });
        match answer {
            Ok(done) => done.unwrap_or_else(|panic| Err(failed(Failure::Broken(panic)))),
            Err(unanswered) => {
                cancel.cancel();
                Err(failed(Failure::Limit(
                    match unanswered {
                        Unanswered::Late => engine::TIMEOUT,
                        Unanswered::Crowded => CROWDED,
                        Unanswered::NoThread => "The system gives no thread for it",
                    }
                    .to_owned(),
                )))
            }
        }
    }
}

impl Node {
    /// `place` is the way inside the field, which `field` has at its end, too.
    fn parse(template: &Value, field: &str, place: &str) -> Result<Self, Problem> {
        let inside = |step: &str| (format!("{field}{step}"), format!("{place}{step}"));
        match template {
            Value::String(text) => match expression_in(text) {
                Some(text) => Expression::parse(text, field)
                    .map(Self::Expression)
                    .map_err(|problem| Problem { place: place.to_owned(), ..problem }),
                None => Ok(Self::Literal(template.clone())),
            },
            Value::Array(items) => {
                let parse = |(at, item): (usize, &Value)| {
                    let (field, place) = inside(&format!("[{at}]"));
                    Self::parse(item, &field, &place)
                };
                let nodes = items.iter().enumerate().map(parse).collect::<Result<Vec<_>, _>>()?;
                let is_literal = nodes.iter().all(|node| matches!(node, Self::Literal(_)));
                Ok(if is_literal { Self::Literal(template.clone()) } else { Self::Array(nodes) })
            }
            Value::Object(fields) => {
                let parse = |(name, value): (&String, &Value)| {
                    let (field, place) = inside(&format!("/{name}"));
                    Ok((name.clone(), Self::parse(value, &field, &place)?))
                };
                let nodes = fields.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
                let is_literal = nodes.iter().all(|(_, node)| matches!(node, Self::Literal(_)));
                Ok(if is_literal { Self::Literal(template.clone()) } else { Self::Object(nodes) })
            }
            literal => Ok(Self::Literal(literal.clone())),
        }
    }

    fn collect<'n>(&'n self, found: &mut Vec<&'n Expression>) {
        match self {
            Self::Literal(_) => {}
            Self::Array(nodes) => nodes.iter().for_each(|node| node.collect(found)),
            Self::Object(nodes) => nodes.iter().for_each(|(_, node)| node.collect(found)),
            Self::Expression(expression) => found.push(expression),
        }
    }

    fn programs(&self) -> Vec<&Program> {
        let mut expressions = Vec::new();
        self.collect(&mut expressions);
        expressions.into_iter().map(|expression| &expression.program).collect()
    }

    /// `begun` counts the expressions that were begun.
    fn evaluate(
        &self,
        session: &mut Session,
        is_over: &dyn Fn() -> bool,
        begun: &AtomicUsize,
    ) -> Result<Value, EvaluationError> {
        match self {
            Self::Literal(value) => Ok(value.clone()),
            Self::Array(nodes) => nodes.iter().map(|node| node.evaluate(session, is_over, begun)).collect(),
            Self::Object(nodes) => {
                let evaluate =
                    |(name, node): &(String, Self)| Ok((name.clone(), node.evaluate(session, is_over, begun)?));
                nodes.iter().map(evaluate).collect::<Result<Map<_, _>, _>>().map(Value::Object)
            }
            Self::Expression(expression) if is_over() => Err(expression.late()),
            Self::Expression(expression) => {
                begun.fetch_add(1, Ordering::Relaxed);
                expression.evaluate(session)?.ok_or_else(|| expression.undefined())
            }
        }
    }
}
