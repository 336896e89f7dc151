//! Reference paths: names and single indices only, so that they can be written to (`ResultPath`).

use serde_json::{Map, Value};

use super::walk::Step;
use super::{Path, PathError, PathErrorKind, Root};
use crate::workflow::value::{is_deeper_than, NESTING_MAX};

/// A path that leads to one place, which may be there or not.
#[derive(Clone, Debug)]
pub struct ReferencePath {
    text: String,
    places: Vec<Place>,
}

#[derive(Clone, Debug)]
enum Place {
    Name(String),
    Index(usize),
}

impl ReferencePath {
    /// Read a path of names and non-negative indices that starts from `$`.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        let path = Path::parse(text)?;
        let refuse = || PathError {
            path: text.to_owned(),
            kind: PathErrorKind::Syntax,
            detail: "A reference path is '$' with names and non-negative indices only".to_owned(),
        };
        if path.root != Root::Input || path.call.is_some() || path.steps.len() > NESTING_MAX {
            return Err(refuse());
        }
        let place = |step: Step| match step {
            Step::Name(name) => Some(Place::Name(name)),
            Step::Index(index) => usize::try_from(index).ok().map(Place::Index),
            _ => None,
        };
        let places = path.steps.into_iter().map(place).collect::<Option<Vec<_>>>().ok_or_else(refuse)?;
        Ok(Self { text: text.to_owned(), places })
    }

    /// Put `value` into `into`, making the objects on the way. An index must be there already.
    pub fn write(&self, into: Value, value: Value) -> Result<Value, PathError> {
        self.check(&into, &value)?;
        Ok(self.put(into, value))
    }

    /// Refuse a value that cannot be put into another.
    pub fn check(&self, into: &Value, value: &Value) -> Result<(), PathError> {
        if is_deeper_than(value, NESTING_MAX - self.places.len()) {
            return Err(
                self.error(PathErrorKind::TooLarge, format!("The value would nest deeper than {NESTING_MAX} levels"))
            );
        }
        if !self.can_write(into) {
            let detail = format!("Unable to apply ReferencePath {} to input {into}", self.text);
            return Err(self.error(PathErrorKind::Unwritable, detail));
        }
        Ok(())
    }

    /// Put a value into another that it was checked against.
    pub fn put(&self, mut into: Value, value: Value) -> Value {
        let mut at = &mut into;
        for place in &self.places {
            at = match (place, at) {
                (Place::Name(name), Value::Object(fields)) => {
                    fields.entry(name.as_str()).or_insert_with(|| Value::Object(Map::new()))
                }
                (Place::Index(index), Value::Array(items)) => &mut items[*index],
                (_, at) => at,
            };
        }
        *at = value;
        into
    }

    fn can_write(&self, into: &Value) -> bool {
        let mut at = into;
        for (position, place) in self.places.iter().enumerate() {
            at = match (place, at) {
                (Place::Name(name), Value::Object(fields)) => match fields.get(name) {
                    Some(next) => next,
                    // What is not there yet is made of objects.
                    None => return self.places[position..].iter().all(|place| matches!(place, Place::Name(_))),
                },
                (Place::Index(index), Value::Array(items)) if *index < items.len() => &items[*index],
                _ => return false,
            };
        }
        true
    }

    fn error(&self, kind: PathErrorKind, detail: String) -> PathError {
        PathError { path: self.text.clone(), kind, detail }
    }
}
