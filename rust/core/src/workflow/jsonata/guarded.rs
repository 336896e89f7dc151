//! Functions of jsonata-core that make much of little, with a look at the sizes first.
//!
//! Each gets the arguments as they are written, then the context (which stands in for a first argument that is left
//! out), and hands them on to jsonata-core's own.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use jsonata_core::ast::AstNode;
use jsonata_core::evaluator::{Context, Evaluator, EvaluatorError};
use jsonata_core::functions::string;
use jsonata_core::parser;
use jsonata_core::value::JValue;

use super::convert::{check_size, to_json, MEMORY};
use super::engine::{options, register, Failure, Shared};
use super::functions::Outcome;
use super::rewrite::{CHARGE, CONCATENATE, IS_BUILTIN, NEARER, STEP};
use super::survey::Facts;
use crate::workflow::value::canonical;

type Function = fn(&[JValue], &Rc<Shared>, &Facts) -> Outcome;

pub(super) const ALL: &[(&str, Function)] = &[
    (CHARGE, charge),
    (CONCATENATE, concatenate),
    ("distinct (guarded)", distinct),
    ("formatInteger (guarded)", format_integer),
    (IS_BUILTIN, |arguments, _, _| Ok(JValue::Bool(matches!(arguments.first(), Some(JValue::Builtin { .. }))))),
    ("join (guarded)", join),
    ("match (guarded)", |arguments, shared, facts| cut("match", arguments, 512, shared, facts)),
    (NEARER, |arguments, _, _| Ok(nearer(arguments))),
    ("pad (guarded)", pad),
    ("parseInteger (guarded)", parse_integer),
    ("replace (guarded)", replace),
    ("split (guarded)", |arguments, shared, facts| cut("split", arguments, 64, shared, facts)),
    (STEP, step),
    ("string (guarded)", text_of),
];

/// What an item of a list takes.
const ITEM_BYTES: usize = size_of::<JValue>();
/// Items from which on comparing each with each takes too long.
const FEW_ITEMS: usize = 1_000;
/// No function has more arguments than so many; a call may.
const ARGUMENTS_KEPT: usize = 4;
/// Bytes of a picture of numbers.
const PICTURE_MAX: usize = 1_000;
/// No text has so many characters.
const PLACE_MAX: f64 = 1e15;
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

    /// Make room for a list or a text of another function, or fail.
    pub(super) fn make(&self, bytes: usize) -> Result<(), Failure> {
        let mut left = self.unmade.borrow_mut();
        *left = left.checked_sub(bytes).ok_or_else(|| Failure::Limit(MEMORY.to_owned()))?;
        Ok(())
    }
}

/// Call jsonata-core's function with what a guarded one was given.
fn hand_on(name: &'static str, arguments: &[JValue], shared: &Rc<Shared>, facts: &Facts) -> Outcome {
    let (context, arguments) = split(arguments);
    // A function that is called as a value gets all it may have: what is left out at the end is undefined there.
    let needed = arguments.len().min(if name == "replace" { 3 } else { 2 });
    let given = arguments.iter().rposition(|argument| !argument.is_undefined()).map_or(0, |last| last + 1);
    let arguments = &arguments[..given.max(needed)];
    let mut names = Context::new();
    for (at, argument) in arguments.iter().enumerate() {
        names.bind(format!("argument{at}"), argument.clone());
    }
    let mut evaluator = Evaluator::with_options(names, options(&shared.guards));
    if arguments.iter().any(JValue::is_function) {
        // A function among the arguments may call guarded ones itself.
        register(&mut evaluator, facts, shared);
    }
    evaluator.evaluate(&*call_of(name, arguments.len())?, context)
}

fn split(arguments: &[JValue]) -> (&JValue, &[JValue]) {
    arguments.split_last().unwrap_or((&JValue::Undefined, &[]))
}

thread_local! {
    /// Calls that were read before, by their functions and how many arguments they have.
    static CALLS: RefCell<HashMap<(&'static str, usize), Rc<AstNode>>> = RefCell::default();
}

/// `$name($argument0, …)`.
fn call_of(name: &'static str, arguments: usize) -> Result<Rc<AstNode>, EvaluatorError> {
    if let Some(call) = CALLS.with_borrow(|calls| calls.get(&(name, arguments)).cloned()) {
        return Ok(call);
    }
    let written: Vec<String> = (0..arguments).map(|at| format!("$argument{at}")).collect();
    let text = format!("${name}({})", written.join(","));
    let call = parser::parse(&text).map_err(|error| EvaluatorError::EvaluationError(error.to_string()))?;
    let call = Rc::new(call);
    if arguments <= ARGUMENTS_KEPT {
        CALLS.with_borrow_mut(|calls| calls.insert((name, arguments), Rc::clone(&call)));
    }
    Ok(call)
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

fn charge(arguments: &[JValue], shared: &Rc<Shared>, _: &Facts) -> Outcome {
    let number = |at: usize| arguments.get(at).and_then(JValue::as_f64).unwrap_or_default() as usize;
    let (value, each) = (arguments.first().cloned().unwrap_or(JValue::Undefined), number(1));
    shared.make(number(2).saturating_add(match &value {
        JValue::Array(items) => items.len().saturating_mul(each),
        JValue::Object(fields) => fields.len().saturating_mul(each),
        JValue::String(text) => text.len(),
        _ => 0,
    }))?;
    Ok(value)
}

fn nearer(arguments: &[JValue]) -> JValue {
    match arguments.first() {
        Some(JValue::Number(number)) => JValue::Number(number.clamp(-PLACE_MAX, PLACE_MAX)),
        other => other.cloned().unwrap_or(JValue::Undefined),
    }
}

/// `$split` and `$match`: each character may become an item, before anybody looks at their number.
fn cut(name: &'static str, arguments: &[JValue], each: usize, shared: &Rc<Shared>, facts: &Facts) -> Outcome {
    let longest = arguments.iter().filter_map(JValue::as_str).map(str::len).max().unwrap_or_default();
    if longest.saturating_mul(each) > *shared.unmade.borrow() {
        return Err(Failure::Limit(MEMORY.to_owned()).into());
    }
    hand_on(name, arguments, shared, facts)
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
    if items.len() <= FEW_ITEMS {
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

/// A moment as `$now` tells it, in a picture and a time zone if they are given.
pub(super) fn moment(now_ms: i64, arguments: &[JValue], shared: &Rc<Shared>) -> Outcome {
    if arguments.len() > 2 {
        let message = "T0410: Argument 3 of function \"now\" does not match function signature";
        return Err(EvaluatorError::EvaluationError(message.to_owned()));
    }
    let mut names = Context::new();
    for (at, argument) in std::iter::once(&JValue::from(now_ms)).chain(arguments).enumerate() {
        names.bind(format!("argument{at}"), argument.clone());
    }
    let mut evaluator = Evaluator::with_options(names, options(&shared.guards));
    evaluator.evaluate(&*call_of("fromMillis", 1 + arguments.len())?, &JValue::Undefined)
}
