//! The rules of a Choice state in JSONPath: comparisons, `And`, `Or`, `Not`.
//!
//! A value of another type makes a comparison false. A variable that leads to nothing fails the state, unless the
//! comparison asks whether it is there.

use std::borrow::Cow;
use std::cmp::Ordering;

use serde_json::{Map, Value};

use super::path::{Path, PathErrorKind};
use super::scope::{EvaluationError, Problem, Scope};
use super::timestamp::Timestamp;
use super::value::compare_numbers;

#[cfg(test)]
mod tests;

/// `And`, `Or` and `Not` inside one another.
pub(super) const NESTING_MAX: usize = 32;

/// What a choice rule demands. Its `Next`, `Assign` and `Output` are read elsewhere.
#[derive(Clone, Debug)]
pub struct ChoiceRule(Rule);

#[derive(Clone, Debug)]
enum Rule {
    And(Vec<Rule>),
    Or(Vec<Rule>),
    Not(Box<Rule>),
    Is { variable: Path, kind: Kind, expected: bool },
    IsPresent { variable: Path, expected: bool },
    Matches { variable: Path, pattern: Vec<String> },
    Compare { variable: Path, kind: Kind, relation: Relation, expected: Expected },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Null,
    Boolean,
    Numeric,
    String,
    Timestamp,
}

#[derive(Clone, Copy, Debug)]
enum Relation {
    Equals,
    LessThan,
    GreaterThan,
    LessThanEquals,
    GreaterThanEquals,
}

#[derive(Clone, Debug)]
enum Expected {
    Literal(Value),
    Path(Path),
}

/// The fields of a rule that are not an operator.
const PLAIN_FIELDS: [&str; 6] = ["Variable", "Next", "Comment", "Assign", "Output", "QueryLanguage"];

impl ChoiceRule {
    /// Read one of a Choice state's `Choices`.
    pub fn parse(rule: &Value) -> Result<Self, Problem> {
        Rule::parse(rule, "", 0).map(Self)
    }

    /// Whether the rule holds.
    pub fn evaluate(&self, scope: &Scope<'_>) -> Result<bool, EvaluationError> {
        self.0.holds(scope)
    }
}

fn problem(place: &str, message: impl Into<String>) -> Problem {
    Problem::schema(place, message)
}

impl Rule {
    fn parse(rule: &Value, place: &str, depth: usize) -> Result<Self, Problem> {
        if depth > NESTING_MAX {
            return Err(problem(place, format!("Choice rules nest at most {NESTING_MAX} levels deep")));
        }
        let fields = rule.as_object().ok_or_else(|| problem(place, "Expected value of type [OBJECT]"))?;
        let mut operators = fields.iter().filter(|(name, _)| !PLAIN_FIELDS.contains(&name.as_str()));
        let Some((name, operand)) = operators.next() else {
            return Err(problem(
                place,
                "A choice rule has one comparison operator, or And, Or or Not; this one has none",
            ));
        };
        if let Some((other, _)) = operators.next() {
            return Err(problem(place, format!("A choice rule has one operator; this one has '{name}' and '{other}'")));
        }
        let place_of_operand = format!("{place}/{name}");
        match name.as_str() {
            "And" => Self::parse_several(operand, &place_of_operand, depth).map(Self::And),
            "Or" => Self::parse_several(operand, &place_of_operand, depth).map(Self::Or),
            "Not" => Ok(Self::Not(Box::new(Self::parse(operand, &place_of_operand, depth + 1)?))),
            _ => Self::parse_comparison(fields, place, name, operand),
        }
    }

    fn parse_several(operand: &Value, place: &str, depth: usize) -> Result<Vec<Self>, Problem> {
        let rules = operand.as_array().ok_or_else(|| problem(place, "Expected value of type [ARRAY]"))?;
        if rules.is_empty() {
            return Err(problem(place, "Value cannot be empty"));
        }
        rules.iter().enumerate().map(|(at, rule)| Self::parse(rule, &format!("{place}[{at}]"), depth + 1)).collect()
    }

    fn parse_comparison(
        fields: &Map<String, Value>,
        place: &str,
        name: &str,
        operand: &Value,
    ) -> Result<Self, Problem> {
        let variable = fields.get("Variable").ok_or_else(|| problem(place, "These fields are required: [Variable]"))?;
        let variable = parse_path(variable, &format!("{place}/Variable"))?;
        let place = &format!("{place}/{name}");
        let boolean = || operand.as_bool().ok_or_else(|| problem(place, "Expected value of type [BOOLEAN]"));
        match name {
            "IsPresent" => return Ok(Self::IsPresent { variable, expected: boolean()? }),
            "StringMatches" => {
                let text = operand.as_str().ok_or_else(|| problem(place, "Expected value of type [STRING]"))?;
                return Ok(Self::Matches { variable, pattern: pattern(text) });
            }
            _ => {}
        }
        if let Some(kind) = name.strip_prefix("Is").and_then(Kind::named) {
            return Ok(Self::Is { variable, kind, expected: boolean()? });
        }
        let (kind, relation, is_path) =
            operator(name).ok_or_else(|| problem(place, format!("Field '{name}' is not supported")))?;
        let expected = if is_path {
            Expected::Path(parse_path(operand, place)?)
        } else {
            if !kind.is_of(operand) {
                return Err(problem(place, kind.expectation()));
            }
            Expected::Literal(operand.clone())
        };
        Ok(Self::Compare { variable, kind, relation, expected })
    }

    fn holds(&self, scope: &Scope<'_>) -> Result<bool, EvaluationError> {
        let find = |path: &Path| path.find(scope).map_err(|error| error.evaluation());
        match self {
            Self::And(rules) => {
                for rule in rules {
                    if !rule.holds(scope)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Self::Or(rules) => {
                for rule in rules {
                    if rule.holds(scope)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Self::Not(rule) => Ok(!rule.holds(scope)?),
            Self::Is { variable, kind, expected } => {
                let value = find(variable)?;
                Ok(kind.is_of(&value) == *expected)
            }
            Self::IsPresent { variable, expected } => match variable.find(scope) {
                Ok(found) => {
                    let is_empty_list = !variable.is_definite() && found.as_array().is_some_and(Vec::is_empty);
                    Ok(is_empty_list != *expected)
                }
                Err(error) if error.kind == PathErrorKind::Missing => Ok(!expected),
                Err(error) => Err(error.evaluation()),
            },
            Self::Matches { variable, pattern } => {
                let value = find(variable)?;
                Ok(value.as_str().is_some_and(|text| matches(text, pattern)))
            }
            Self::Compare { variable, kind, relation, expected } => {
                let value = find(variable)?;
                let expected = match expected {
                    Expected::Literal(literal) => Cow::Borrowed(literal),
                    Expected::Path(path) => find(path)?,
                };
                Ok(kind.order(&value, &expected).is_some_and(|order| relation.allows(order)))
            }
        }
    }
}

fn parse_path(text: &Value, place: &str) -> Result<Path, Problem> {
    let text = text.as_str().ok_or_else(|| problem(place, "Expected value of type [STRING]"))?;
    Path::parse(text).map_err(|error| problem(place, error.to_string()))
}

/// `NumericLessThanEqualsPath` and the like.
fn operator(name: &str) -> Option<(Kind, Relation, bool)> {
    let (name, is_path) = name.strip_suffix("Path").map_or((name, false), |name| (name, true));
    let relations = [
        ("LessThanEquals", Relation::LessThanEquals),
        ("GreaterThanEquals", Relation::GreaterThanEquals),
        ("LessThan", Relation::LessThan),
        ("GreaterThan", Relation::GreaterThan),
        ("Equals", Relation::Equals),
    ];
    let (kind, relation) =
        relations.into_iter().find_map(|(ending, relation)| Some((name.strip_suffix(ending)?, relation)))?;
    let kind = Kind::named(kind)?;
    let is_known = match kind {
        Kind::Null => false,
        Kind::Boolean => matches!(relation, Relation::Equals),
        Kind::Numeric | Kind::String | Kind::Timestamp => true,
    };
    is_known.then_some((kind, relation, is_path))
}

impl Relation {
    fn allows(self, order: Ordering) -> bool {
        match self {
            Self::Equals => order.is_eq(),
            Self::LessThan => order.is_lt(),
            Self::GreaterThan => order.is_gt(),
            Self::LessThanEquals => order.is_le(),
            Self::GreaterThanEquals => order.is_ge(),
        }
    }
}

impl Kind {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "Null" => Self::Null,
            "Boolean" => Self::Boolean,
            "Numeric" => Self::Numeric,
            "String" => Self::String,
            "Timestamp" => Self::Timestamp,
            _ => return None,
        })
    }

    fn is_of(self, value: &Value) -> bool {
        match self {
            Self::Null => value.is_null(),
            Self::Boolean => value.is_boolean(),
            Self::Numeric => value.is_number(),
            Self::String => value.is_string(),
            Self::Timestamp => value.as_str().and_then(Timestamp::parse).is_some(),
        }
    }

    fn expectation(self) -> &'static str {
        match self {
            Self::Null => "Expected value of type [NULL]",
            Self::Boolean => "Expected value of type [BOOLEAN]",
            Self::Numeric => "Expected value of type [NUMBER]",
            Self::String => "Expected value of type [STRING]",
            Self::Timestamp => "String does not match RFC3339 timestamp",
        }
    }

    /// How two values of this kind compare; `None` if one of them is of another.
    fn order(self, left: &Value, right: &Value) -> Option<Ordering> {
        match self {
            Self::Null => None,
            Self::Boolean => Some(left.as_bool()?.cmp(&right.as_bool()?)),
            Self::Numeric => match (left, right) {
                (Value::Number(left), Value::Number(right)) => Some(compare_numbers(left, right)),
                _ => None,
            },
            // Java orders texts by their UTF-16 units.
            Self::String => Some(left.as_str()?.encode_utf16().cmp(right.as_str()?.encode_utf16())),
            Self::Timestamp => Some(Timestamp::parse(left.as_str()?)?.cmp(&Timestamp::parse(right.as_str()?)?)),
        }
    }
}

/// The literal parts of a pattern between its wildcards. `\*` and `\\` stand for themselves.
fn pattern(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut characters = text.chars().peekable();
    while let Some(each) = characters.next() {
        let escaped = if each == '\\' { characters.next_if(|next| matches!(next, '*' | '\\')) } else { None };
        match (each, escaped, parts.last_mut()) {
            ('*', None, _) => parts.push(String::new()),
            (each, escaped, Some(part)) => part.push(escaped.unwrap_or(each)),
            (_, _, None) => {}
        }
    }
    parts
}

/// Whether a text has the parts in their order, the first at its start and the last at its end.
fn matches(text: &str, parts: &[String]) -> bool {
    let [first, middle @ .., last] = parts else { return parts.iter().all(|part| part == text) };
    let Some(mut rest) = text.strip_prefix(first.as_str()) else { return false };
    for part in middle {
        match rest.find(part.as_str()) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last.as_str())
}
