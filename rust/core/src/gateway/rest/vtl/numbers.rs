//! Arithmetic and order, as Velocity has them.

use std::cmp::Ordering;

use super::syntax::Operator;
use super::value::Value;

/// The place that an index means in a list of this length; a negative one counts from the end.
pub(super) fn index(key: &Value<'_>, length: usize) -> Option<usize> {
    let index = whole(key)?;
    let index = if index < 0 { index.checked_add(length as i64)? } else { index };
    usize::try_from(index).ok()
}

/// A whole number, also where it is written as text.
pub(super) fn whole(value: &Value<'_>) -> Option<i64> {
    match value {
        Value::Whole(number) => Some(*number),
        Value::Float(number) if number.fract() == 0.0 && number.abs() < 1e15 => Some(*number as i64),
        Value::Text(text) => text.trim().parse().ok(),
        _ => None,
    }
}

pub(super) fn negated<'t>(value: &Value<'_>) -> Value<'t> {
    match value {
        Value::Whole(number) => number.checked_neg().map_or(Value::Float(-(*number as f64)), Value::Whole),
        Value::Float(number) => Value::Float(-number),
        _ => Value::Null,
    }
}

/// Arithmetic and comparisons of two numbers. Anything else gives null, or is false.
pub(super) fn binary<'t>(operator: Operator, left: &Value<'_>, right: &Value<'_>) -> Value<'t> {
    let test: fn(Ordering) -> bool = match operator {
        Operator::Less => Ordering::is_lt,
        Operator::LessOrEqual => Ordering::is_le,
        Operator::Greater => Ordering::is_gt,
        Operator::GreaterOrEqual => Ordering::is_ge,
        _ => return arithmetic(operator, left, right),
    };
    Value::Flag(order(left, right).is_some_and(test))
}

fn order(left: &Value<'_>, right: &Value<'_>) -> Option<Ordering> {
    match (left, right) {
        (Value::Whole(left), Value::Whole(right)) => Some(left.cmp(right)),
        _ => left.number()?.partial_cmp(&right.number()?),
    }
}

fn arithmetic<'t>(operator: Operator, left: &Value<'_>, right: &Value<'_>) -> Value<'t> {
    if let (Value::Whole(left), Value::Whole(right)) = (left, right) {
        let exact = match operator {
            Operator::Add => left.checked_add(*right),
            Operator::Subtract => left.checked_sub(*right),
            Operator::Multiply => left.checked_mul(*right),
            Operator::Divide => left.checked_div(*right),
            _ => left.checked_rem(*right),
        };
        if let Some(exact) = exact {
            return Value::Whole(exact);
        }
    }
    let (Some(left), Some(right)) = (left.number(), right.number()) else { return Value::Null };
    let found = match operator {
        Operator::Add => left + right,
        Operator::Subtract => left - right,
        Operator::Multiply => left * right,
        // What is divided by nothing is null, as in Velocity.
        _ if right == 0.0 => return Value::Null,
        Operator::Divide => left / right,
        _ => left % right,
    };
    Value::Float(found)
}
