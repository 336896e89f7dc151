//! The values of a template: Java's, as its text forms and comparisons show them.

use std::fmt::Write as _;
use std::rc::Rc;

use indexmap::IndexMap;
use serde_json::{Map, Number, Value as Json};

use super::budget::{Budget, Stop};
use super::syntax::Node;

/// Lists and maps inside each other, where they are written out.
const DEPTH_MAX: usize = 100;

/// A value. Lists and maps are named by their place in the heap: two names may stand for one of them.
#[derive(Clone, Debug)]
pub(super) enum Value<'t> {
    Null,
    Flag(bool),
    Whole(i64),
    Float(f64),
    Text(Rc<str>),
    List(usize),
    Map(usize),
    Entry(Rc<(Rc<str>, Value<'t>)>),
    /// What `#define` keeps.
    Block(&'t [Node]),
    /// `$input`, `$util`.
    Input,
    Util,
}

/// A list.
#[derive(Debug, Default)]
pub(super) struct List<'t> {
    pub(super) items: Vec<Value<'t>>,
    /// A list of a JSON document is written as JSON, any other as Java writes it.
    pub(super) is_json: bool,
}

/// A map's fields, in their order.
pub(super) type Fields<'t> = IndexMap<Rc<str>, Value<'t>>;

/// The lists and maps of one rendering.
#[derive(Debug, Default)]
pub(super) struct Heap<'t> {
    lists: Vec<List<'t>>,
    maps: Vec<Fields<'t>>,
}

impl Value<'_> {
    pub(super) fn text(text: &str) -> Self {
        Self::Text(text.into())
    }

    /// Whether a condition holds.
    pub(super) fn holds(&self) -> bool {
        !matches!(self, Self::Null | Self::Flag(false))
    }

    pub(super) fn number(&self) -> Option<f64> {
        match self {
            Self::Whole(number) => Some(*number as f64),
            Self::Float(number) => Some(*number),
            _ => None,
        }
    }

    /// What Java would call it, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Flag(_) => "a boolean",
            Self::Whole(_) | Self::Float(_) => "a number",
            Self::Text(_) => "a string",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
            Self::Entry(_) => "an entry",
            Self::Block(_) => "a block",
            Self::Input => "$input",
            Self::Util => "$util",
        }
    }
}

impl<'t> Heap<'t> {
    pub(super) fn list(&self, id: usize) -> &List<'t> {
        &self.lists[id]
    }

    pub(super) fn list_mut(&mut self, id: usize) -> &mut Vec<Value<'t>> {
        &mut self.lists[id].items
    }

    pub(super) fn map(&self, id: usize) -> &Fields<'t> {
        &self.maps[id]
    }

    pub(super) fn map_mut(&mut self, id: usize) -> &mut Fields<'t> {
        &mut self.maps[id]
    }

    pub(super) fn new_list(&mut self, items: Vec<Value<'t>>, is_json: bool) -> Value<'t> {
        self.lists.push(List { items, is_json });
        Value::List(self.lists.len() - 1)
    }

    pub(super) fn new_map(&mut self, fields: Fields<'t>) -> Value<'t> {
        self.maps.push(fields);
        Value::Map(self.maps.len() - 1)
    }

    /// A JSON document as values of its own.
    pub(super) fn read(&mut self, json: &Json, budget: &mut Budget) -> Result<Value<'t>, Stop> {
        budget.spend(1)?;
        Ok(match json {
            Json::Null => Value::Null,
            Json::Bool(flag) => Value::Flag(*flag),
            Json::Number(number) => match number.as_i64() {
                Some(whole) => Value::Whole(whole),
                None => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
            },
            Json::String(text) => {
                budget.spend_bytes(text.len())?;
                Value::text(text)
            }
            Json::Array(items) => {
                let items = items.iter().map(|item| self.read(item, budget)).collect::<Result<_, _>>()?;
                self.new_list(items, true)
            }
            Json::Object(fields) => {
                let mut read = IndexMap::with_capacity(fields.len());
                for (name, value) in fields {
                    read.insert(Rc::from(name.as_str()), self.read(value, budget)?);
                }
                self.new_map(read)
            }
        })
    }

    /// A value as JSON.
    pub(super) fn json(&self, value: &Value<'t>, budget: &mut Budget) -> Result<Json, Stop> {
        self.json_within(value, DEPTH_MAX, budget)
    }

    fn json_within(&self, value: &Value<'t>, depth: usize, budget: &mut Budget) -> Result<Json, Stop> {
        budget.spend(1)?;
        let depth = depth.checked_sub(1).ok_or_else(too_deep)?;
        Ok(match value {
            Value::Null | Value::Block(_) | Value::Input | Value::Util => Json::Null,
            Value::Flag(flag) => Json::Bool(*flag),
            Value::Whole(number) => Json::from(*number),
            Value::Float(number) => Number::from_f64(*number).map_or(Json::Null, Json::Number),
            Value::Text(text) => {
                budget.spend_bytes(text.len())?;
                Json::from(&**text)
            }
            Value::List(id) => {
                let items = self.list(*id).items.iter();
                Json::Array(items.map(|item| self.json_within(item, depth, budget)).collect::<Result<_, _>>()?)
            }
            Value::Map(id) => {
                let mut fields = Map::new();
                for (name, value) in self.map(*id) {
                    budget.spend_bytes(name.len())?;
                    fields.insert(name.to_string(), self.json_within(value, depth, budget)?);
                }
                Json::Object(fields)
            }
            Value::Entry(entry) => {
                let value = self.json_within(&entry.1, depth, budget)?;
                Json::Object([(entry.0.to_string(), value)].into_iter().collect())
            }
        })
    }

    /// Write a value as Java's `toString` does; null is `null` here.
    pub(super) fn write(&self, value: &Value<'t>, out: &mut String, budget: &mut Budget) -> Result<(), Stop> {
        self.write_within(value, DEPTH_MAX, out, budget)
    }

    /// A value's text; null has none.
    pub(super) fn text(&self, value: &Value<'t>, budget: &mut Budget) -> Result<Rc<str>, Stop> {
        if let Value::Text(text) = value {
            return Ok(Rc::clone(text));
        }
        let mut out = String::new();
        if !matches!(value, Value::Null) {
            self.write(value, &mut out, budget)?;
        }
        Ok(out.into())
    }

    fn write_within(&self, value: &Value<'t>, depth: usize, out: &mut String, budget: &mut Budget) -> Result<(), Stop> {
        budget.spend(1)?;
        let depth = depth.checked_sub(1).ok_or_else(too_deep)?;
        match value {
            Value::Null => out.push_str("null"),
            Value::Flag(flag) => out.push_str(if *flag { "true" } else { "false" }),
            // Writing to memory does not fail.
            Value::Whole(number) => {
                let _ = write!(out, "{number}");
            }
            Value::Float(number) => out.push_str(&java_double(*number)),
            Value::Text(text) => {
                budget.spend_bytes(text.len())?;
                out.push_str(text);
            }
            Value::List(id) if self.list(*id).is_json => {
                let json = self.json_within(value, depth, budget)?.to_string();
                budget.spend_bytes(json.len())?;
                out.push_str(&json);
            }
            Value::List(id) => {
                out.push('[');
                for (at, item) in self.list(*id).items.iter().enumerate() {
                    out.push_str(if at > 0 { ", " } else { "" });
                    self.write_within(item, depth, out, budget)?;
                }
                out.push(']');
            }
            Value::Map(id) => {
                out.push('{');
                for (at, (name, value)) in self.map(*id).iter().enumerate() {
                    out.push_str(if at > 0 { ", " } else { "" });
                    budget.spend_bytes(name.len())?;
                    out.push_str(name);
                    out.push('=');
                    self.write_within(value, depth, out, budget)?;
                }
                out.push('}');
            }
            Value::Entry(entry) => {
                out.push_str(&entry.0);
                out.push('=');
                self.write_within(&entry.1, depth, out, budget)?;
            }
            Value::Block(_) | Value::Input | Value::Util => {}
        }
        Ok(())
    }

    /// `==`: numbers by their value, things of different kinds by their text; null is the empty text.
    pub(super) fn equal(&self, left: &Value<'t>, right: &Value<'t>, budget: &mut Budget) -> Result<bool, Stop> {
        budget.spend(1)?;
        match (left, right) {
            (Value::Null, Value::Null) => Ok(true),
            (Value::Flag(left), Value::Flag(right)) => Ok(left == right),
            (Value::Whole(left), Value::Whole(right)) => Ok(left == right),
            (Value::List(left), Value::List(right)) if left == right => Ok(true),
            (Value::Map(left), Value::Map(right)) if left == right => Ok(true),
            (Value::List(_), Value::List(_)) | (Value::Map(_), Value::Map(_)) => {
                Ok(self.json(left, budget)? == self.json(right, budget)?)
            }
            (Value::List(_) | Value::Map(_), Value::Null) | (Value::Null, Value::List(_) | Value::Map(_)) => Ok(false),
            _ => match (left.number(), right.number()) {
                (Some(left), Some(right)) => Ok(left.partial_cmp(&right).is_some_and(std::cmp::Ordering::is_eq)),
                _ => Ok(self.text(left, budget)? == self.text(right, budget)?),
            },
        }
    }
}

fn too_deep() -> Stop {
    Stop::Failed(format!("a value nests deeper than {DEPTH_MAX} levels"))
}

/// A double as Java writes it: `1.0`, `1.5E10`.
fn java_double(number: f64) -> String {
    if number.is_nan() {
        return "NaN".into();
    }
    if number.is_infinite() {
        return if number > 0.0 { "Infinity".into() } else { "-Infinity".into() };
    }
    let size = number.abs();
    if size == 0.0 || (1e-3..1e7).contains(&size) {
        let text = number.to_string();
        return if text.contains('.') { text } else { text + ".0" };
    }
    let text = format!("{number:E}");
    match text.split_once('E') {
        Some((digits, exponent)) if !digits.contains('.') => format!("{digits}.0E{exponent}"),
        _ => text,
    }
}
