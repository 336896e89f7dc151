//! Functions of jsonata-core that make much of little, with a look at the sizes first.
//!
//! Each gets the arguments as they are written, then the context (which stands in for a first argument that is left
//! out), and hands them on to jsonata-core's own.

use std::cell::OnceCell;
use std::collections::HashSet;
use std::rc::Rc;

use jsonata_core::ast::AstNode;
use jsonata_core::evaluator::{Context, Evaluator, EvaluatorError};
use jsonata_core::functions::string;
use jsonata_core::parser;
use jsonata_core::value::JValue;

use super::convert::{check_size, to_json, MEMORY};
use super::engine::{options, register, Failure, Shared};
use super::functions::Outcome;
use super::rewrite::{Facts, BOUNDED, CONCATENATE, IS_BOUNDED, STEP};
use crate::workflow::value::canonical;

type Function = fn(&[JValue], &Rc<Shared>, &Facts) -> Outcome;

pub(super) const ALL: &[(&str, Function)] = &[
    (BOUNDED, bounded),
    (CONCATENATE, concatenate),
    (IS_BOUNDED, is_bounded),
    ("distinct (guarded)", distinct),
    ("formatInteger (guarded)", format_integer),
    ("join (guarded)", join),
    ("pad (guarded)", pad),
    ("parseInteger (guarded)", parse_integer),
    ("replace (guarded)", replace),
    ("string (guarded)", text_of),
    (STEP, step),
];

/// What an item of a list takes.
const ITEM_BYTES: usize = size_of::<JValue>();
/// Items from which on comparing each with each takes too long.
const FEW_ITEMS: usize = 1_000;
/// Bytes of an item that is compared with all others.
const FEW_BYTES: usize = 1_000;
/// Bytes of a picture of numbers.
const PICTURE_MAX: usize = 1_000;
/// Letters of the largest number in spreadsheets' columns that fits 64 bits.
const LETTERS_MAX: usize = 13;

impl Shared {
    /// Make room for a text of so many bytes, or fail.
    fn build(&self, bytes: usize) -> Result<(), Failure> {
        let mut left = self.left.borrow_mut();
        if bytes > self.guards.value_bytes_max || bytes > *left {
            return Err(Failure::Limit(MEMORY.to_owned()));
        }
        *left -= bytes;
        Ok(())
    }
}

/// Call jsonata-core's function with what a guarded one was given.
fn hand_on(name: &'static str, arguments: &[JValue], shared: &Rc<Shared>, facts: &Facts) -> Outcome {
    let (context, arguments) = split(arguments);
    let mut names = Context::new();
    for (at, argument) in arguments.iter().enumerate() {
        names.bind(format!("argument{at}"), argument.clone());
    }
    let mut evaluator = Evaluator::with_options(names, options(&shared.guards));
    if arguments.iter().any(JValue::is_function) {
        // A function among the arguments may call guarded ones itself.
        register(&mut evaluator, facts, shared);
    }
    evaluator.evaluate(&call_of(name, arguments.len())?, context)
}

fn split(arguments: &[JValue]) -> (&JValue, &[JValue]) {
    arguments.split_last().unwrap_or((&JValue::Undefined, &[]))
}

/// `$name($argument0, …)`.
fn call_of(name: &str, arguments: usize) -> Result<AstNode, EvaluatorError> {
    let written: Vec<String> = (0..arguments).map(|at| format!("$argument{at}")).collect();
    let text = format!("${name}({})", written.join(","));
    parser::parse(&text).map_err(|error| EvaluatorError::EvaluationError(error.to_string()))
}

fn concatenate(arguments: &[JValue], shared: &Rc<Shared>, _: &Facts) -> Outcome {
    let mut parts = Vec::with_capacity(2);
    for argument in arguments {
        parts.push(match argument {
            JValue::String(text) => Rc::clone(text),
            JValue::Undefined | JValue::Lambda(_) | JValue::Builtin { .. } | JValue::Regex { .. } => Rc::from(""),
            other => {
                check_size(other, shared.guards.value_bytes_max)?;
                match string::string(other, None)? {
                    JValue::String(text) => text,
                    _ => Rc::from(""),
                }
            }
        });
    }
    shared.build(parts.iter().map(|part| part.len()).sum())?;
    Ok(JValue::from(parts.concat()))
}

/// jsonata-core looks at the length of a path's result when it has made it.
fn step(arguments: &[JValue], shared: &Rc<Shared>, _: &Facts) -> Outcome {
    let value = arguments.first().cloned().unwrap_or(JValue::Undefined);
    if let JValue::Array(items) = &value {
        let mut left = shared.left.borrow_mut();
        let bytes = items.len().saturating_mul(ITEM_BYTES);
        *left = left.checked_sub(bytes).ok_or_else(|| Failure::Limit(MEMORY.to_owned()))?;
    }
    Ok(value)
}

/// The value, if it is not too large to be looked at as a whole.
fn bounded(arguments: &[JValue], shared: &Rc<Shared>, _: &Facts) -> Outcome {
    let value = arguments.first().cloned().unwrap_or(JValue::Undefined);
    if matches!(value, JValue::Array(_) | JValue::Object(_)) {
        check_size(&value, shared.guards.value_bytes_max)?;
    }
    Ok(value)
}

fn is_bounded(arguments: &[JValue], shared: &Rc<Shared>, facts: &Facts) -> Outcome {
    bounded(arguments, shared, facts).map(|_| JValue::Bool(true))
}

/// How a number of the arguments is to be written, without what follows a semicolon.
fn picture(arguments: &[JValue]) -> Result<&str, Failure> {
    let picture = split(arguments).1.last().and_then(JValue::as_str).unwrap_or_default();
    if picture.len() > PICTURE_MAX {
        return Err(Failure::Limit(MEMORY.to_owned()));
    }
    Ok(picture.rsplit_once(';').map_or(picture, |(primary, _)| primary))
}

fn format_integer(arguments: &[JValue], shared: &Rc<Shared>, facts: &Facts) -> Outcome {
    if matches!(picture(arguments)?, "I" | "i") {
        // A thousand is one letter.
        let largest =
            arguments.iter().filter_map(JValue::as_f64).fold(0.0_f64, |largest, each| largest.max(each.abs()));
        shared.build((largest / 1_000.0) as usize)?;
    }
    hand_on("formatInteger", arguments, shared, facts)
}

fn parse_integer(arguments: &[JValue], shared: &Rc<Shared>, facts: &Facts) -> Outcome {
    let is_of_letters = matches!(picture(arguments)?, "A" | "a");
    let (context, written) = split(arguments);
    // Without its first argument the text is the context.
    let text = written.first().filter(|_| written.len() > 1).unwrap_or(context).as_str();
    if is_of_letters && text.is_some_and(|text| text.len() > LETTERS_MAX) {
        let message = format!("D3137: A number of more than {LETTERS_MAX} letters is too large");
        return Err(EvaluatorError::EvaluationError(message));
    }
    hand_on("parseInteger", arguments, shared, facts)
}

fn text_of(arguments: &[JValue], shared: &Rc<Shared>, facts: &Facts) -> Outcome {
    for argument in arguments {
        check_size(argument, shared.guards.value_bytes_max)?;
    }
    hand_on("string", arguments, shared, facts)
}

fn join(arguments: &[JValue], shared: &Rc<Shared>, facts: &Facts) -> Outcome {
    if let (_, [JValue::Array(items), JValue::String(between)]) = split(arguments) {
        let texts: usize = items.iter().filter_map(JValue::as_str).map(str::len).sum();
        shared.build(texts.saturating_add(between.len().saturating_mul(items.len())))?;
    }
    hand_on("join", arguments, shared, facts)
}

fn pad(arguments: &[JValue], shared: &Rc<Shared>, facts: &Facts) -> Outcome {
    for argument in arguments {
        if let JValue::Number(width) = argument {
            // A character may take four bytes.
            shared.build((width.abs() * 4.0) as usize)?;
        }
    }
    hand_on("pad", arguments, shared, facts)
}

fn replace(arguments: &[JValue], shared: &Rc<Shared>, facts: &Facts) -> Outcome {
    let (context, written) = split(arguments);
    // Without its first argument the text is the context.
    let text = written.first().filter(|first| written.len() > 2 || first.is_regex()).unwrap_or(context);
    let bytes = text.as_str().map_or(0, str::len);
    let longest = written.iter().filter_map(JValue::as_str).map(str::len).max().unwrap_or_default();
    // At most one replacement for each character; few enough of them need no count.
    let most = bytes.saturating_add(1).saturating_mul(longest);
    if most > shared.guards.value_bytes_max {
        shared.build(expected_length(written).unwrap_or(most))?;
    }
    hand_on("replace", arguments, shared, facts)
}

/// The bytes of `$replace(text, pattern, replacement)` where all three are texts.
fn expected_length(arguments: &[JValue]) -> Option<usize> {
    let [JValue::String(text), pattern, JValue::String(replacement), ..] = arguments else { return None };
    let count = match pattern {
        JValue::String(pattern) if !pattern.is_empty() => text.matches(&**pattern).count(),
        JValue::Regex { pattern, flags } => string::build_regex(pattern, flags).ok()?.find_iter(text).count(),
        _ => return None,
    };
    // `$0` in a replacement is as long as the text at most.
    let longest = replacement.len().saturating_add(replacement.matches('$').count().saturating_mul(text.len()));
    Some(text.len().saturating_add(count.saturating_mul(longest)))
}

fn distinct(arguments: &[JValue], shared: &Rc<Shared>, facts: &Facts) -> Outcome {
    let (_, [JValue::Array(items)]) = split(arguments) else {
        return hand_on("distinct", arguments, shared, facts);
    };
    // Each is compared with each, as a whole.
    if items.len() <= FEW_ITEMS && items.iter().all(|item| check_size(item, FEW_BYTES).is_ok()) {
        return hand_on("distinct", arguments, shared, facts);
    }
    let mut left = shared.guards.value_bytes_max;
    let mut seen = HashSet::new();
    let mut distinct = Vec::new();
    for item in items {
        let key = canonical(&to_json(item, left)?);
        left = left.saturating_sub(key.len());
        if seen.insert(key) {
            distinct.push(item.clone());
        }
    }
    Ok(if items.sequence { JValue::sequence(distinct) } else { JValue::array(distinct) })
}

thread_local! {
    /// `$fromMillis`, with none, one or two of its further arguments.
    static FROM_MILLIS: [OnceCell<AstNode>; 3] = const { [OnceCell::new(), OnceCell::new(), OnceCell::new()] };
}

/// A moment as `$now` tells it, in a picture and a time zone if they are given.
pub(super) fn moment(now_ms: i64, arguments: &[JValue], shared: &Rc<Shared>) -> Outcome {
    let mut names = Context::new();
    for (at, argument) in std::iter::once(&JValue::from(now_ms)).chain(arguments).enumerate() {
        names.bind(format!("argument{at}"), argument.clone());
    }
    let mut evaluator = Evaluator::with_options(names, options(&shared.guards));
    FROM_MILLIS.with(|calls| {
        let call = calls.get(arguments.len()).ok_or_else(|| {
            EvaluatorError::EvaluationError(
                "T0410: Argument 3 of function \"now\" does not match function signature".to_owned(),
            )
        })?;
        let ast = match call.get() {
            Some(ast) => ast,
            None => {
                let ast = call_of("fromMillis", 1 + arguments.len())?;
                call.get_or_init(|| ast)
            }
        };
        evaluator.evaluate(ast, &JValue::Undefined)
    })
}
