//! Functions of jsonata-core that make much of little, with a look at the sizes first.
//!
//! Each gets the arguments as they are written, then the context (which stands in for a first argument that is left
//! out), and hands them on to jsonata-core's own.

use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;

use jsonata_core::ast::AstNode;
use jsonata_core::evaluator::{Context, Evaluator, EvaluatorError};
use jsonata_core::functions::string;
use jsonata_core::value::JValue;

use super::convert::{check_size, to_json, MEMORY};
use super::engine::{options, register, Failure, Shared};
use super::functions::{no_function, Outcome};
use super::rewrite::{Facts, BUILT, CONCATENATE, CONTEXT, IS_BOUNDED, KEY, STEP};
use crate::workflow::value::canonical;

pub(super) type Function = fn(&[JValue], &Rc<Shared>, &Arc<Facts>) -> Outcome;

/// What stands for operators.
pub(super) const OPERATORS: &[(&str, Function)] = &[
    (BUILT, built),
    (CONCATENATE, concatenate),
    (CONTEXT, note_context),
    (IS_BOUNDED, is_bounded),
    (KEY, key),
    (STEP, step),
];

/// What ends the names that no program can write.
pub(super) const ENDS: [char; 2] = ['\u{1}', '\u{2}'];

/// A function with a guard.
pub(super) struct Guarded {
    pub(super) name: &'static str,
    /// What is called for a direct call; it gets the context, too.
    pub(super) call: &'static str,
    /// What the name becomes where it may also be a name of the program's own. The function is what it is unless it is bound.
    pub(super) value: &'static str,
    /// How many arguments it takes from a function that it is given to.
    arity: usize,
    /// How many it can have.
    most: usize,
    pub(super) function: Function,
}

macro_rules! guarded {
    ($($name:literal $arity:literal $most:literal $function:ident)*) => {
        &[$(Guarded {
            name: $name,
            call: concat!($name, "\u{1}"),
            value: concat!($name, "\u{2}"),
            arity: $arity,
            most: $most,
            function: $function,
        }),*]
    };
}

pub(super) const GUARDED: &[Guarded] = guarded! {
    "distinct" 1 1 distinct
    "formatInteger" 2 2 format_integer
    "formatNumber" 3 3 format_number
    "fromMillis" 3 3 from_millis
    "join" 2 2 join
    "pad" 3 3 pad
    "parseInteger" 2 2 parse_integer
    "replace" 4 4 replace
    "string" 1 2 text_of
    "toMillis" 2 2 to_millis
};

/// The function of a name that has a guard.
pub(super) fn guarded(name: &str) -> Option<&'static Guarded> {
    GUARDED.iter().find(|guarded| guarded.name == name)
}

impl Guarded {
    /// Call it by its value: the context is what was noted before the call, and nothing where another function calls it.
    pub(super) fn call_value(&self, arguments: &[JValue], shared: &Rc<Shared>, facts: &Arc<Facts>) -> Outcome {
        // Only another function gives more than there can be.
        let taken = if arguments.len() > self.most { self.arity } else { arguments.len() };
        let context = shared.context.replace(JValue::Undefined);
        let with_context: Vec<JValue> = arguments[..taken].iter().cloned().chain([context]).collect();
        (self.function)(&with_context, shared, facts)
    }
}

/// What an item of a list takes.
const ITEM_BYTES: usize = size_of::<JValue>();
/// Items from which on comparing each with each takes too long.
const FEW_ITEMS: usize = 1_000;
/// Bytes of an item that is compared with all others.
const FEW_BYTES: usize = 1_000;
/// Bytes of a picture of numbers or of moments, and of what is read by one.
const PICTURE_MAX: usize = 1_000;
/// Digits of a width in a picture.
const WIDTH_DIGITS_MAX: usize = 3;
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
fn hand_on(name: &'static str, arguments: &[JValue], shared: &Rc<Shared>, facts: &Arc<Facts>) -> Outcome {
    call(name, names(split(arguments).1), arguments, shared, facts)
}

/// The names under which a function finds its arguments.
fn names(written: &[JValue]) -> Vec<AstNode> {
    (0..written.len()).map(|at| AstNode::Variable(format!("argument{at}"))).collect()
}

/// The same with `args` for what is written, in which the arguments have their names.
fn call(
    name: &'static str,
    args: Vec<AstNode>,
    arguments: &[JValue],
    shared: &Rc<Shared>,
    facts: &Arc<Facts>,
) -> Outcome {
    let (context, arguments) = split(arguments);
    let mut names = Context::new();
    for (at, argument) in arguments.iter().enumerate() {
        names.bind(format!("argument{at}"), argument.clone());
    }
    let mut evaluator = Evaluator::with_options(names, options(shared));
    if arguments.iter().any(JValue::is_function) {
        // A function among the arguments may call guarded ones itself.
        register(&mut evaluator, facts, shared);
    }
    evaluator.evaluate(&AstNode::Function { name: name.to_owned(), args, is_builtin: true }, context)
}

fn split(arguments: &[JValue]) -> (&JValue, &[JValue]) {
    arguments.split_last().unwrap_or((&JValue::Undefined, &[]))
}

fn concatenate(arguments: &[JValue], shared: &Rc<Shared>, _: &Arc<Facts>) -> Outcome {
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

/// Note the context, the second argument, of the call that comes next, and give back the first.
fn note_context(arguments: &[JValue], shared: &Rc<Shared>, facts: &Arc<Facts>) -> Outcome {
    let [value, context] = arguments else { return no_function(arguments, shared, facts) };
    shared.context.replace(context.clone());
    Ok(value.clone())
}

/// jsonata-core looks at the length of a path's result when it has made it.
fn step(arguments: &[JValue], shared: &Rc<Shared>, _: &Arc<Facts>) -> Outcome {
    let value = arguments.first().cloned().unwrap_or(JValue::Undefined);
    if let JValue::Array(items) = &value {
        let mut left = shared.left.borrow_mut();
        let bytes = items.len().saturating_mul(ITEM_BYTES);
        *left = left.checked_sub(bytes).ok_or_else(|| Failure::Limit(MEMORY.to_owned()))?;
    }
    Ok(value)
}

fn is_bounded(arguments: &[JValue], shared: &Rc<Shared>, _: &Arc<Facts>) -> Outcome {
    for argument in arguments {
        check_size(argument, shared.guards.value_bytes_max)?;
    }
    Ok(JValue::Bool(true))
}

fn key(arguments: &[JValue], shared: &Rc<Shared>, facts: &Arc<Facts>) -> Outcome {
    is_bounded(arguments, shared, facts)?;
    Ok(arguments.first().cloned().unwrap_or(JValue::Undefined))
}

/// Look at the texts among the arguments of a function that takes a picture: the text that is read is short, too.
fn check_pictures(written: &[JValue]) -> Result<(), Failure> {
    let is_wide = |text: &str| {
        let markers = text.split('[').skip(1).filter_map(|rest| rest.split(']').next()?.split_once(','));
        let mut widths =
            markers.flat_map(|(_, width)| width.split(|each: char| !each.is_ascii_digit() && !each.is_whitespace()));
        widths.any(|digits| digits.chars().filter(char::is_ascii_digit).count() > WIDTH_DIGITS_MAX)
    };
    if written.iter().filter_map(JValue::as_str).any(|text| text.len() > PICTURE_MAX || is_wide(text)) {
        return Err(Failure::Limit(MEMORY.to_owned()));
    }
    Ok(())
}

/// How a number of the arguments is to be written, without what follows a semicolon.
fn picture(arguments: &[JValue]) -> Result<&str, Failure> {
    let written = split(arguments).1;
    check_pictures(written)?;
    let picture = written.last().and_then(JValue::as_str).unwrap_or_default();
    Ok(picture.rsplit_once(';').map_or(picture, |(primary, _)| primary))
}

fn format_number(arguments: &[JValue], shared: &Rc<Shared>, facts: &Arc<Facts>) -> Outcome {
    check_pictures(split(arguments).1)?;
    hand_on("formatNumber", arguments, shared, facts)
}

fn from_millis(arguments: &[JValue], shared: &Rc<Shared>, facts: &Arc<Facts>) -> Outcome {
    check_pictures(split(arguments).1)?;
    hand_on("fromMillis", arguments, shared, facts)
}

fn to_millis(arguments: &[JValue], shared: &Rc<Shared>, facts: &Arc<Facts>) -> Outcome {
    check_pictures(split(arguments).1)?;
    hand_on("toMillis", arguments, shared, facts)
}

fn format_integer(arguments: &[JValue], shared: &Rc<Shared>, facts: &Arc<Facts>) -> Outcome {
    if matches!(picture(arguments)?, "I" | "i") {
        // A thousand is one letter.
        let largest =
            arguments.iter().filter_map(JValue::as_f64).fold(0.0_f64, |largest, each| largest.max(each.abs()));
        shared.build((largest / 1_000.0) as usize)?;
    }
    hand_on("formatInteger", arguments, shared, facts)
}

fn parse_integer(arguments: &[JValue], shared: &Rc<Shared>, facts: &Arc<Facts>) -> Outcome {
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

fn text_of(arguments: &[JValue], shared: &Rc<Shared>, facts: &Arc<Facts>) -> Outcome {
    for argument in arguments {
        check_size(argument, shared.guards.value_bytes_max)?;
    }
    hand_on("string", arguments, shared, facts)
}

fn join(arguments: &[JValue], shared: &Rc<Shared>, facts: &Arc<Facts>) -> Outcome {
    if let (_, [JValue::Array(items), JValue::String(between)]) = split(arguments) {
        let texts: usize = items.iter().filter_map(JValue::as_str).map(str::len).sum();
        shared.build(texts.saturating_add(between.len().saturating_mul(items.len())))?;
    }
    hand_on("join", arguments, shared, facts)
}

fn pad(arguments: &[JValue], shared: &Rc<Shared>, facts: &Arc<Facts>) -> Outcome {
    for argument in arguments {
        if let JValue::Number(width) = argument {
            // A character may take four bytes.
            shared.build((width.abs() * 4.0) as usize)?;
        }
    }
    hand_on("pad", arguments, shared, facts)
}

fn replace(arguments: &[JValue], shared: &Rc<Shared>, facts: &Arc<Facts>) -> Outcome {
    let (context, written) = split(arguments);
    let (text, rest) = match written {
        [text @ JValue::String(_), _, third, ..] if !third.is_number() => (text, &written[1..]),
        // Without its first argument the text is the context.
        _ => (context, written),
    };
    let bytes = text.as_str().map_or(0, str::len);
    let most = bytes.saturating_add(1);
    match rest {
        [pattern, JValue::String(replacement), limit @ ..] => {
            let dollars = replacement.matches('$').count();
            let limit = limit.first().and_then(JValue::as_f64).map_or(usize::MAX, |limit| limit.ceil() as usize);
            if is_matcher(pattern) {
                // It may have found any text at each place, and go back for it.
                let found = dollars.saturating_mul(shared.guards.value_bytes_max).saturating_add(bytes);
                if most.saturating_mul(replacement.len().saturating_add(found)) > shared.guards.built_bytes_max {
                    return Err(Failure::Limit(MEMORY.to_owned()).into());
                }
            } else {
                // Matches do not overlap: what stands for one `$` is as long as the text over all of them.
                let built = |matches: usize| {
                    let found = dollars.saturating_add(1).saturating_mul(bytes);
                    matches.saturating_mul(replacement.len()).saturating_add(found)
                };
                if built(most) > shared.guards.value_bytes_max {
                    shared.build(built(matches(text, pattern, limit).unwrap_or(most)))?;
                    return hand_on("replace", arguments, shared, facts);
                }
            }
            // Few enough replacements need no count before they are made.
            let done = hand_on("replace", arguments, shared, facts)?;
            shared.build(done.as_str().map_or(0, str::len))?;
            Ok(done)
        }
        [pattern, replacement, ..] if replacement.is_function() => {
            shared.build(if is_matcher(pattern) { bytes.saturating_mul(most) } else { bytes })?;
            let mut args = names(written);
            let at = written.len() - rest.len() + 1;
            args[at] = counting(std::mem::replace(&mut args[at], AstNode::Null));
            call("replace", args, arguments, shared, facts)
        }
        _ => hand_on("replace", arguments, shared, facts),
    }
}

/// Whether a pattern is a function of the program.
fn is_matcher(pattern: &JValue) -> bool {
    pattern.is_function() && !pattern.is_regex()
}

/// How often a pattern that is no function is in a text, up to so many times.
fn matches(text: &JValue, pattern: &JValue, most: usize) -> Option<usize> {
    let text = text.as_str()?;
    match pattern {
        JValue::String(pattern) => Some(text.matches(&**pattern).take(most).count()),
        JValue::Regex { pattern, flags } => {
            Some(string::build_regex(pattern, flags).ok()?.find_iter(text).take(most).count())
        }
        _ => None,
    }
}

/// A function of one argument that counts the bytes of what another one gives.
fn counting(procedure: AstNode) -> AstNode {
    let argument = || AstNode::Variable("argument".to_owned());
    let given = AstNode::Call { procedure: Box::new(procedure), args: vec![argument()] };
    let body = AstNode::Function { name: BUILT.to_owned(), args: vec![given], is_builtin: true };
    AstNode::Lambda { params: vec!["argument".to_owned()], body: Box::new(body), signature: None, thunk: false }
}

/// Count the bytes of a text that becomes part of another one, and give it back.
fn built(arguments: &[JValue], shared: &Rc<Shared>, _: &Arc<Facts>) -> Outcome {
    let text = arguments.first().cloned().unwrap_or(JValue::Undefined);
    shared.build(text.as_str().map_or(0, str::len))?;
    Ok(text)
}

fn distinct(arguments: &[JValue], shared: &Rc<Shared>, facts: &Arc<Facts>) -> Outcome {
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

/// The time as `$now` tells it, in a picture and a time zone if they are given.
pub(super) fn now(arguments: &[JValue], shared: &Rc<Shared>, facts: &Arc<Facts>) -> Outcome {
    if arguments.len() > 2 {
        let message = "T0410: Argument 3 of function \"now\" does not match function signature";
        return Err(EvaluatorError::EvaluationError(message.to_owned()));
    }
    let now = std::iter::once(JValue::from(shared.now_ms));
    let with_context: Vec<JValue> = now.chain(arguments.iter().cloned()).chain([JValue::Undefined]).collect();
    from_millis(&with_context, shared, facts)
}
