//! Whether an event fits a schema, and where it does not.

use serde_json::{Map, Number, Value as Json};

use super::document::Misfit;
use super::names::is_date_time;
use super::shapes::{Additional, Id, Limits, Shape, Shapes, NULL, TYPES};

/// Schemas inside one another that are held against one event, at most: one may name itself.
const DEPTH_MAX: usize = 400;

pub(super) fn check(shapes: &Shapes, root: Id, event: &Json) -> Result<(), Misfit> {
    Fit { shapes, place: "$".into(), depth: 0 }.schema(root, event)
}

struct Fit<'a> {
    shapes: &'a Shapes,
    /// Where in the event.
    place: String,
    depth: usize,
}

impl Fit<'_> {
    fn refuse<T>(&self, reason: impl Into<String>) -> Result<T, Misfit> {
        Err(Misfit { place: self.place.clone(), reason: reason.into() })
    }

    /// Look at a value inside this one.
    fn inside(&mut self, step: &str, id: Id, value: &Json) -> Result<(), Misfit> {
        let length = self.place.len();
        self.place.push_str(step);
        self.schema(id, value)?;
        self.place.truncate(length);
        Ok(())
    }

    fn schema(&mut self, id: Id, value: &Json) -> Result<(), Misfit> {
        let shape = &self.shapes.table[id];
        if self.depth >= DEPTH_MAX {
            return self.refuse("the schema never comes to an end here");
        }
        self.depth += 1;
        self.own(shape, value)?;
        match value {
            Json::Object(fields) => self.object(shape, fields)?,
            Json::Array(elements) => self.array(shape, elements)?,
            Json::String(text) => self.text(shape, text)?,
            Json::Number(number) => self.number(shape, number)?,
            _ => {}
        }
        self.combined(shape, value)?;
        self.depth -= 1;
        Ok(())
    }

    fn own(&self, shape: &Shape, value: &Json) -> Result<(), Misfit> {
        let found = type_of(value);
        if shape.types & found.1 == 0 {
            return self.refuse(format!("{} is expected, {} was found", described(shape.types), found.0));
        }
        match &shape.choices {
            Some(choices) if !choices.contains(value) => {
                let choices: Vec<String> = choices.iter().map(Json::to_string).collect();
                self.refuse(format!("one of {} is expected", choices.join(", ")))
            }
            _ => Ok(()),
        }
    }

    fn object(&mut self, shape: &Shape, fields: &Map<String, Json>) -> Result<(), Misfit> {
        if let Some(missing) = shape.required.iter().find(|name| !fields.contains_key(*name)) {
            return self.refuse(format!("the required key '{missing}' is missing"));
        }
        self.bounded("keys", fields.len(), shape.limits.properties)?;
        for (key, field) in fields {
            let id = match (shape.properties.get(key), shape.additional) {
                (Some(id), _) => *id,
                (None, Additional::Schema(id)) => id,
                (None, Additional::Anything) => continue,
                (None, Additional::Nothing) => {
                    return self.refuse(format!("the key '{key}' is not known to the schema"))
                }
            };
            self.inside(&format!(".{key}"), id, field)?;
        }
        Ok(())
    }

    fn array(&mut self, shape: &Shape, elements: &[Json]) -> Result<(), Misfit> {
        self.bounded("elements", elements.len(), shape.limits.items)?;
        if shape.limits.is_unique && elements.iter().enumerate().any(|(at, one)| elements[..at].contains(one)) {
            return self.refuse("the elements must differ");
        }
        let Some(id) = shape.items else { return Ok(()) };
        elements.iter().enumerate().try_for_each(|(at, element)| self.inside(&format!("[{at}]"), id, element))
    }

    fn text(&self, shape: &Shape, text: &str) -> Result<(), Misfit> {
        if shape.format.as_deref() == Some("date-time") && !is_date_time(text.as_bytes()) {
            return self.refuse("a date and time is expected, as 2026-01-31T23:59:59Z");
        }
        self.bounded("characters", text.chars().count(), shape.limits.length)
    }

    fn number(&self, shape: &Shape, number: &Number) -> Result<(), Misfit> {
        let Some(value) = number.as_f64() else { return Ok(()) };
        match (shape.format.as_deref(), number.as_i64()) {
            (Some("int32"), Some(whole)) if i32::try_from(whole).is_err() => {
                return self.refuse("it has more than 32 bits")
            }
            (Some("int32" | "int64"), None) if number.is_u64() => return self.refuse("it has more than 64 bits"),
            _ => {}
        }
        let Limits { minimum, maximum, is_above_minimum, is_below_maximum, multiple_of, .. } = &shape.limits;
        if minimum.is_some_and(|bound| value < bound || *is_above_minimum && value <= bound) {
            return self.refuse(format!("{value} is below the minimum"));
        }
        if maximum.is_some_and(|bound| value > bound || *is_below_maximum && value >= bound) {
            return self.refuse(format!("{value} is above the maximum"));
        }
        match multiple_of {
            Some(step) if (value / step).fract() != 0.0 => self.refuse(format!("a multiple of {step} is expected")),
            _ => Ok(()),
        }
    }

    fn bounded(&self, what: &str, count: usize, (least, most): (Option<u64>, Option<u64>)) -> Result<(), Misfit> {
        let count = count as u64;
        match (least, most) {
            (Some(least), _) if count < least => {
                self.refuse(format!("it has {count} {what}, at least {least} are expected"))
            }
            (_, Some(most)) if count > most => {
                self.refuse(format!("it has {count} {what}, at most {most} are allowed"))
            }
            _ => Ok(()),
        }
    }

    fn combined(&mut self, shape: &Shape, value: &Json) -> Result<(), Misfit> {
        for id in &shape.all_of {
            self.inside("", *id, value)?;
        }
        let fitting = |fit: &Self, ids: &[Id]| {
            let mut fits = ids.iter().map(|id| fit.apart().schema(*id, value).is_ok());
            (fits.by_ref().any(|is_fit| is_fit), fits.any(|is_fit| is_fit))
        };
        if !shape.any_of.is_empty() && !fitting(self, &shape.any_of).0 {
            return self.refuse("it fits none of the schemas of anyOf");
        }
        match fitting(self, &shape.one_of) {
            (false, _) if !shape.one_of.is_empty() => return self.refuse("it fits none of the schemas of oneOf"),
            (true, true) => return self.refuse("it fits more than one schema of oneOf"),
            _ => {}
        }
        match shape.not {
            Some(id) if self.apart().schema(id, value).is_ok() => self.refuse("it fits the schema of not"),
            _ => Ok(()),
        }
    }

    /// To try a schema that may fail.
    fn apart(&self) -> Self {
        Self { shapes: self.shapes, place: self.place.clone(), depth: self.depth }
    }
}

/// The type of a value: its name and its bits.
fn type_of(value: &Json) -> (&'static str, u8) {
    match value {
        Json::Array(_) => ("an array", 1),
        Json::Bool(_) => ("a boolean", 2),
        Json::Number(number) if number.is_f64() => ("a fraction", 16),
        Json::Number(_) => ("an integer", 4),
        Json::Null => ("null", NULL),
        Json::Object(_) => ("an object", 32),
        Json::String(_) => ("a string", 64),
    }
}

/// Types for a reader: `string or null`.
pub(super) fn described(types: u8) -> String {
    let is_number = types & 16 != 0;
    let names = TYPES.iter().filter(|(name, bits)| types & bits == *bits && !(is_number && *name == "integer"));
    names.map(|(name, _)| *name).collect::<Vec<_>>().join(" or ")
}
