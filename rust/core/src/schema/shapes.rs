//! A document's schemas as a table: references resolved, keywords read, wrong ones refused with their place.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::{Map, Value as Json};

use super::document::DocumentError;
use super::names::WORD_PREFIX;

/// A schema's number in the table.
pub(super) type Id = usize;

/// References that lead to references, at most.
const HOPS_MAX: usize = 32;

/// Types, as bits.
pub(super) const TYPES: [(&str, u8); 7] =
    [("array", 1), ("boolean", 2), ("integer", 4), ("null", 8), ("number", 16 | 4), ("object", 32), ("string", 64)];
pub(super) const NULL: u8 = 8;
/// Any type.
pub(super) const ANY: u8 = 127;

/// What may stand beside the named properties.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Additional {
    Anything,
    Nothing,
    Schema(Id),
}

/// Bounds that need no schema of their own. A number's bound may itself be left out.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Limits {
    pub(super) minimum: Option<f64>,
    pub(super) maximum: Option<f64>,
    pub(super) is_above_minimum: bool,
    pub(super) is_below_maximum: bool,
    pub(super) multiple_of: Option<f64>,
    pub(super) length: (Option<u64>, Option<u64>),
    pub(super) items: (Option<u64>, Option<u64>),
    pub(super) properties: (Option<u64>, Option<u64>),
    pub(super) is_unique: bool,
}

/// One schema.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Shape {
    pub(super) types: u8,
    pub(super) format: Option<String>,
    pub(super) properties: BTreeMap<String, Id>,
    pub(super) required: BTreeSet<String>,
    pub(super) additional: Additional,
    pub(super) items: Option<Id>,
    pub(super) choices: Option<Vec<Json>>,
    pub(super) limits: Limits,
    pub(super) all_of: Vec<Id>,
    pub(super) any_of: Vec<Id>,
    pub(super) one_of: Vec<Id>,
    pub(super) not: Option<Id>,
}

impl Shape {
    const EMPTY: Self = Self {
        types: ANY,
        format: None,
        properties: BTreeMap::new(),
        required: BTreeSet::new(),
        additional: Additional::Anything,
        items: None,
        choices: None,
        limits: Limits {
            minimum: None,
            maximum: None,
            is_above_minimum: false,
            is_below_maximum: false,
            multiple_of: None,
            length: (None, None),
            items: (None, None),
            properties: (None, None),
            is_unique: false,
        },
        all_of: Vec::new(),
        any_of: Vec::new(),
        one_of: Vec::new(),
        not: None,
    };
}

/// All schemas of a document.
#[derive(Clone, Debug)]
pub(super) struct Shapes {
    pub(super) table: Vec<Shape>,
    /// Places of keywords that cannot be held against an event here.
    pub(super) unchecked: Vec<String>,
}

/// Reads schemas into a table. References are followed later, one after the other, not one inside the other.
pub(super) struct Reader<'a> {
    document: &'a Json,
    shapes: Shapes,
    by_pointer: HashMap<String, Id>,
    waiting: Vec<(Id, &'a Json, String)>,
}

type Read<T> = Result<T, DocumentError>;

fn wrong<T>(place: &str, reason: impl Into<String>) -> Read<T> {
    Err(DocumentError { place: place.into(), reason: reason.into() })
}

impl<'a> Reader<'a> {
    pub(super) fn new(document: &'a Json) -> Self {
        let shapes = Shapes { table: Vec::new(), unchecked: Vec::new() };
        Self { document, shapes, by_pointer: HashMap::new(), waiting: Vec::new() }
    }

    /// Everything that was asked for and whatever that refers to.
    pub(super) fn finish(mut self) -> Read<Shapes> {
        while let Some((id, json, place)) = self.waiting.pop() {
            self.shapes.table[id] = self.shape(json, &place)?;
        }
        self.shapes.unchecked.sort();
        Ok(self.shapes)
    }

    /// The number of the schema at a place, which is read in its turn.
    pub(super) fn at(&mut self, json: &'a Json, place: &str) -> Read<Id> {
        let (mut json, mut place) = (json, place.to_owned());
        for _ in 0..HOPS_MAX {
            let Some(reference) = json.get("$ref") else {
                if let Some(id) = self.by_pointer.get(&place) {
                    return Ok(*id);
                }
                let id = self.shapes.table.len();
                self.shapes.table.push(Shape::EMPTY);
                self.by_pointer.insert(place.clone(), id);
                self.waiting.push((id, json, place));
                return Ok(id);
            };
            let found = reference.as_str().and_then(|text| text.strip_prefix('#'));
            let found = found.and_then(|pointer| Some((self.document.pointer(pointer)?, pointer)));
            let Some((target, pointer)) = found else {
                return wrong(&format!("{place}.$ref"), format!("{reference} is not a place in this document"));
            };
            (json, place) = (target, format!("${}", pointer.replace('/', ".")));
        }
        wrong(&place, "the references here never come to a schema")
    }

    fn shape(&mut self, json: &'a Json, place: &str) -> Read<Shape> {
        let Some(keywords) = json.as_object() else { return wrong(place, "a schema is an object") };
        let mut shape = Shape::EMPTY;
        for (keyword, value) in keywords {
            let place = format!("{place}.{keyword}");
            match keyword.as_str() {
                "type" => shape.types = types(value, &place)?,
                "format" => shape.format = Some(text(value, &place)?),
                "required" => shape.required = required(value, &place)?,
                "properties" => shape.properties = self.properties(value, &place)?,
                "additionalProperties" => {
                    shape.additional = match value {
                        Json::Bool(true) => Additional::Anything,
                        Json::Bool(false) => Additional::Nothing,
                        _ => Additional::Schema(self.at(value, &place)?),
                    }
                }
                "items" if value.is_array() => self.shapes.unchecked.push(place),
                "items" => shape.items = Some(self.at(value, &place)?),
                "enum" => shape.choices = Some(list(value, &place)?.clone()),
                "allOf" => shape.all_of = self.several(value, &place)?,
                "anyOf" => shape.any_of = self.several(value, &place)?,
                "oneOf" => shape.one_of = self.several(value, &place)?,
                "not" => shape.not = Some(self.at(value, &place)?),
                "pattern" | "patternProperties" | "dependencies" | "additionalItems" => {
                    self.shapes.unchecked.push(place);
                }
                // Annotations, which say nothing about what fits; those that bound something are read below.
                _ => {}
            }
        }
        shape.limits = limits(keywords, place)?;
        if keywords.get("nullable") == Some(&Json::Bool(true)) {
            shape.types |= NULL;
            if let Some(choices) = &mut shape.choices {
                list_null(choices);
            }
        }
        Ok(shape)
    }

    fn properties(&mut self, value: &'a Json, place: &str) -> Read<BTreeMap<String, Id>> {
        let Some(properties) = value.as_object() else { return wrong(place, "an object is expected") };
        let each = properties.iter().map(|(name, schema)| {
            let key = name.strip_prefix(WORD_PREFIX).unwrap_or(name);
            Ok((key.to_owned(), self.at(schema, &format!("{place}.{name}"))?))
        });
        each.collect()
    }

    fn several(&mut self, value: &'a Json, place: &str) -> Read<Vec<Id>> {
        let schemas = list(value, place)?;
        if schemas.is_empty() {
            return wrong(place, "it holds no schema");
        }
        schemas.iter().enumerate().map(|(at, schema)| self.at(schema, &format!("{place}[{at}]"))).collect()
    }
}

/// Have the choices of a schema that is `nullable` list null.
pub(super) fn list_null(choices: &mut Vec<Json>) {
    if !choices.contains(&Json::Null) {
        choices.push(Json::Null);
    }
}

fn types(value: &Json, place: &str) -> Read<u8> {
    let bit = |name: &Json| TYPES.iter().find(|(known, _)| name == known).map(|(_, bit)| *bit);
    let found = match value {
        Json::Array(names) if !names.is_empty() => names.iter().map(bit).try_fold(0, |bits, bit| Some(bits | bit?)),
        one => bit(one),
    };
    let known = TYPES.map(|(name, _)| name).join(", ");
    found.map_or_else(|| wrong(place, format!("{value} is not a type; there are {known}")), Ok)
}

fn text(value: &Json, place: &str) -> Read<String> {
    value.as_str().map_or_else(|| wrong(place, "a text is expected"), |text| Ok(text.to_owned()))
}

fn list<'a>(value: &'a Json, place: &str) -> Read<&'a Vec<Json>> {
    value.as_array().map_or_else(|| wrong(place, "a list is expected"), Ok)
}

fn required(value: &Json, place: &str) -> Read<BTreeSet<String>> {
    list(value, place)?.iter().map(|name| text(name, place)).collect()
}

fn limits(keywords: &Map<String, Json>, place: &str) -> Read<Limits> {
    let at = |keyword: &str| format!("{place}.{keyword}");
    let number = |keyword: &str| match keywords.get(keyword) {
        None => Ok(None),
        Some(value) => {
            value.as_f64().map_or_else(|| wrong(&at(keyword), "a number is expected"), |number| Ok(Some(number)))
        }
    };
    let count = |keyword: &str| match keywords.get(keyword) {
        None => Ok(None),
        Some(value) => value
            .as_u64()
            .map_or_else(|| wrong(&at(keyword), "a whole number of at least 0 is expected"), |count| Ok(Some(count))),
    };
    let flag = |keyword: &str| match keywords.get(keyword) {
        None => Ok(false),
        Some(value) => value.as_bool().map_or_else(|| wrong(&at(keyword), "true or false is expected"), Ok),
    };
    let multiple_of = number("multipleOf")?;
    if multiple_of.is_some_and(|step| step <= 0.0) {
        return wrong(&at("multipleOf"), "a number above 0 is expected");
    }
    Ok(Limits {
        minimum: number("minimum")?,
        maximum: number("maximum")?,
        is_above_minimum: flag("exclusiveMinimum")?,
        is_below_maximum: flag("exclusiveMaximum")?,
        multiple_of,
        length: (count("minLength")?, count("maxLength")?),
        items: (count("minItems")?, count("maxItems")?),
        properties: (count("minProperties")?, count("maxProperties")?),
        is_unique: flag("uniqueItems")?,
    })
}
