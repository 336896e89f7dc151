//! The functions at the end of a path: `length()`, `sum()`, `min()`, `max()`, `avg()`, `stddev()`, `keys()`,
//! `concat(…)`, `append(…)`.

use std::borrow::Cow;

use serde_json::{Number, Value};

use super::filter::ItemPath;
use super::walk::{Stop, Walk};
use super::SELECTED_BYTES_MAX;
use crate::workflow::value::weigh;

/// A function with its arguments.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) function: Function,
    pub(super) arguments: Vec<Argument>,
}

#[derive(Clone, Debug)]
pub(super) enum Argument {
    Path(ItemPath),
    Literal(Value),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    Length,
    Sum,
    Min,
    Max,
    Avg,
    StdDev,
    Keys,
    Concat,
    Append,
}

impl Function {
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "length" | "size" => Self::Length,
            "sum" => Self::Sum,
            "min" => Self::Min,
            "max" => Self::Max,
            "avg" => Self::Avg,
            "stddev" => Self::StdDev,
            "keys" => Self::Keys,
            "concat" => Self::Concat,
            "append" => Self::Append,
            _ => return None,
        })
    }
}

impl Call {
    /// The function's value over what the path has found.
    pub(super) fn apply(&self, found: &Value, walk: &mut Walk<'_>) -> Result<Value, Stop> {
        let arguments = self.arguments.iter().map(|argument| argument.value(walk)).collect::<Result<Vec<_>, _>>()?;
        match self.function {
            Function::Length => match found {
                Value::Array(items) => Ok(items.len().into()),
                Value::Object(fields) => Ok(fields.len().into()),
                _ => Ok(Value::Null),
            },
            Function::Keys => match found {
                Value::Object(fields) => Ok(fields.keys().cloned().collect()),
                _ => Err(Stop::Missing("The function keys() can only be applied to objects".to_owned())),
            },
            Function::Concat => {
                let parts = found.as_array().into_iter().flatten().chain(arguments.iter().map(AsRef::as_ref));
                let text: String = parts.filter_map(Value::as_str).collect();
                within_limit(Value::String(text))
            }
            Function::Append => {
                let mut items = found.as_array().cloned().unwrap_or_default();
                items.extend(arguments.into_iter().map(Cow::into_owned));
                within_limit(Value::Array(items))
            }
            Function::Sum | Function::Min | Function::Max | Function::Avg | Function::StdDev => {
                let of_path = found.as_array().into_iter().flatten();
                let of_arguments = arguments.iter().map(AsRef::as_ref).flat_map(numbers_in);
                aggregate(self.function, &of_path.filter_map(Value::as_f64).chain(of_arguments).collect::<Vec<_>>())
            }
        }
    }
}

impl Argument {
    fn value<'a, 'v: 'a>(&'a self, walk: &mut Walk<'v>) -> Result<Cow<'a, Value>, Stop> {
        match self {
            Self::Literal(value) => Ok(Cow::Borrowed(value)),
            Self::Path(path) => {
                let root = walk.root;
                path.find(root, walk)?
                    .ok_or_else(|| Stop::Missing("An argument of the function leads to nothing".to_owned()))
            }
        }
    }
}

fn within_limit(value: Value) -> Result<Value, Stop> {
    if weigh(&value, SELECTED_BYTES_MAX) > SELECTED_BYTES_MAX {
        return Err(Stop::TooLarge(format!("The path builds more than {SELECTED_BYTES_MAX} bytes")));
    }
    Ok(value)
}

fn numbers_in(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(items) => items.iter().filter_map(Value::as_f64).collect(),
        _ => value.as_f64().into_iter().collect(),
    }
}

fn aggregate(function: Function, numbers: &[f64]) -> Result<Value, Stop> {
    if numbers.is_empty() {
        return Err(Stop::Missing("Aggregation function attempted to calculate value using empty array".to_owned()));
    }
    let count = numbers.len() as f64;
    let sum: f64 = numbers.iter().sum();
    let result = match function {
        Function::Min => numbers.iter().copied().fold(f64::INFINITY, f64::min),
        Function::Max => numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        Function::Avg => sum / count,
        Function::StdDev => {
            let squares: f64 = numbers.iter().map(|number| number * number).sum();
            (squares / count - (sum / count).powi(2)).max(0.0).sqrt()
        }
        _ => sum,
    };
    Number::from_f64(result)
        .map(Value::Number)
        .ok_or_else(|| Stop::Missing("Aggregation function has no finite value".to_owned()))
}
