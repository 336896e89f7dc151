//! The 18 intrinsic functions of JSONPath states, such as `States.Format('order {}', $.id)`.

mod format;
mod functions;
mod parse;

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use serde_json::Value;

use super::path::{Path, PathErrorKind};
use super::scope::{Entropy, EvaluationError, Problem, Scope};
use super::template::{too_large, BUILT_BYTES_MAX};
use super::value::weigh;
use functions::Failure;

/// Calls inside one another, as AWS allows them.
pub const NESTING_MAX: usize = 10;

/// A parsed call.
#[derive(Clone, Debug)]
pub struct Intrinsic {
    text: String,
    call: Call,
}

#[derive(Clone, Debug)]
struct Call {
    function: Function,
    arguments: Vec<Argument>,
}

#[derive(Clone, Debug)]
enum Argument {
    /// A number, `true`, `false`, `null`, or a text without its escapes.
    Literal(Value),
    /// The first argument of `States.Format`, with its escapes.
    Template(String),
    Path(Path),
    Call(Call),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Function {
    Array,
    ArrayContains,
    ArrayGetItem,
    ArrayLength,
    ArrayPartition,
    ArrayRange,
    ArrayUnique,
    Base64Decode,
    Base64Encode,
    Format,
    Hash,
    JsonMerge,
    JsonToString,
    MathAdd,
    MathRandom,
    StringSplit,
    StringToJson,
    Uuid,
}

impl Function {
    /// Each function with its name and the least and the most arguments it takes.
    const ALL: [(Self, &'static str, usize, usize); 18] = [
        (Self::Array, "States.Array", 0, usize::MAX),
        (Self::ArrayContains, "States.ArrayContains", 2, 2),
        (Self::ArrayGetItem, "States.ArrayGetItem", 2, 2),
        (Self::ArrayLength, "States.ArrayLength", 1, 1),
        (Self::ArrayPartition, "States.ArrayPartition", 2, 2),
        (Self::ArrayRange, "States.ArrayRange", 3, 3),
        (Self::ArrayUnique, "States.ArrayUnique", 1, 1),
        (Self::Base64Decode, "States.Base64Decode", 1, 1),
        (Self::Base64Encode, "States.Base64Encode", 1, 1),
        (Self::Format, "States.Format", 1, usize::MAX),
        (Self::Hash, "States.Hash", 2, 2),
        (Self::JsonMerge, "States.JsonMerge", 3, 3),
        (Self::JsonToString, "States.JsonToString", 1, 1),
        (Self::MathAdd, "States.MathAdd", 2, 2),
        (Self::MathRandom, "States.MathRandom", 2, 3),
        (Self::StringSplit, "States.StringSplit", 2, 2),
        (Self::StringToJson, "States.StringToJson", 1, 1),
        (Self::Uuid, "States.UUID", 0, 0),
    ];

    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(function, ..)| *function == self).map_or("", |(_, name, ..)| name)
    }
}

impl Intrinsic {
    /// Read a call with its arguments.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let call = parse::call(text).map_err(|message| Problem::schema("", message))?;
        Ok(Self { text: text.to_owned(), call })
    }

    /// The call's value. Its arguments and those of calls inside of it have room beside `built`, the bytes of a template.
    pub fn evaluate(
        &self,
        scope: &Scope<'_>,
        entropy: &mut dyn Entropy,
        built: &mut usize,
    ) -> Result<Value, EvaluationError> {
        self.call.evaluate(scope, entropy, built).map_err(|failure| {
            let detail = match failure {
                Failure::Path(error) if error.kind == PathErrorKind::Missing => format!(
                    "The JsonPath argument for the field '{}' could not be found in the input '{}'",
                    error.path, scope.input
                ),
                Failure::Path(error) => return error.evaluation(),
                Failure::TooLarge => return too_large(),
                Failure::Function(detail) => detail,
            };
            // AWS names the whole expression, also where an inner call fails.
            EvaluationError::runtime(format!("The function '{}' had the following error: {detail}", self.text))
        })
    }
}

impl Call {
    fn evaluate(&self, scope: &Scope<'_>, entropy: &mut dyn Entropy, built: &mut usize) -> Result<Value, Failure> {
        let before = *built;
        let mut values = Vec::with_capacity(self.arguments.len());
        for argument in &self.arguments {
            let value = match argument {
                Argument::Literal(value) => Cow::Borrowed(value),
                Argument::Template(text) => Cow::Owned(Value::String(text.clone())),
                Argument::Path(path) => path.find(scope).map_err(Failure::Path)?,
                Argument::Call(call) => {
                    let value = call.evaluate(scope, entropy, built)?;
                    count_built(&value, built)?;
                    values.push(value);
                    continue;
                }
            };
            // Looked at before it is copied.
            count_built(&value, built)?;
            values.push(value.into_owned());
        }
        let value = functions::apply(self.function, values, entropy)?;
        // The arguments are gone; who takes the value counts it.
        *built = before;
        Ok(value)
    }
}

fn count_built(value: &Value, built: &mut usize) -> Result<(), Failure> {
    *built += weigh(value, BUILT_BYTES_MAX);
    if *built > BUILT_BYTES_MAX {
        return Err(Failure::TooLarge);
    }
    Ok(())
}
