//! The functions at the end of a path: `length()`, `sum()`, `min()`, `max()`, `avg()`, `stddev()`, `keys()`,
//! `concat(…)`, `append(…)`.

use serde_json::{Number, Value};

use super::filter::ItemPath;
use super::walk::{Found, Stop, Walk};

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
        let arguments = || {
            arguments.iter().map(|argument| match argument {
                Given::Literal(value) => *value,
                Given::Found(found) => &**found,
            })
        };
        match self.function {
            Function::Length => match found {
                Value::Array(items) => Ok(items.len().into()),
                Value::Object(fields) => Ok(fields.len().into()),
                _ => Ok(Value::Null),
            },
            Function::Keys => match found {
                Value::Object(fields) => {
                    walk.visit(fields.len())?;
                    let keys = fields.keys().map(|name| {
                        walk.count_bytes(size_of::<Value>() + name.len())?;
                        Ok(Value::from(name.as_str()))
                    });
                    keys.collect()
                }
                _ => Err(Stop::Missing("The function keys() can only be applied to objects".to_owned())),
            },
            Function::Concat => {
                let mut text = String::new();
                for part in items(found).chain(arguments()) {
                    walk.visit(1)?;
                    if let Some(part) = part.as_str() {
                        walk.count_bytes(part.len())?;
                        text.push_str(part);
                    }
                }
                Ok(Value::String(text))
            }
            Function::Append => {
                let mut appended = Vec::new();
                for item in items(found).chain(arguments()) {
                    walk.visit(1)?;
                    walk.count_copy(item)?;
                    appended.push(item.clone());
                }
                Ok(Value::Array(appended))
            }
            Function::Sum | Function::Min | Function::Max | Function::Avg | Function::StdDev => {
                let mut numbers = Vec::new();
                for item in items(found).chain(arguments().flat_map(numbers_in)) {
                    walk.visit(1)?;
                    numbers.extend(item.as_f64());
                }
                aggregate(self.function, &numbers)
            }
        }
    }
}

/// What an argument is.
enum Given<'a, 'v> {
    Literal(&'a Value),
    Found(Found<'v>),
}

impl Argument {
    fn value<'v>(&self, walk: &mut Walk<'v>) -> Result<Given<'_, 'v>, Stop> {
        match self {
            Self::Literal(value) => Ok(Given::Literal(value)),
            Self::Path(path) => {
                let root = walk.root;
                let found = path.find(root, walk)?;
                found
                    .map(Given::Found)
                    .ok_or_else(|| Stop::Missing("An argument of the function leads to nothing".to_owned()))
            }
        }
    }
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// The items of a list, or the value itself.
fn numbers_in(value: &Value) -> &[Value] {
    match value {
        Value::Array(items) => items,
        _ => std::slice::from_ref(value),
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
