//! JSON bodies: of JSON 1.0 and 1.1, and of REST. They are read and written by the shapes of a model, with no tree of JSON between.

use std::cell::{Cell, RefCell};
use std::fmt;

use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::ser::SerializeMap as _;
use serde::{Deserialize as _, Deserializer, Serialize, Serializer};
use serde_json::{Number, Value as Json};

use crate::aws::model::{Kind, Location, Member, Model, Shape, ShapeId, TimeFormat};
use crate::aws::protocol::{
    base64_text, double_text, integer, last_of_each, text_of_bytes, time, too_many, Malformed, DEPTH_MAX, VALUES_MAX,
};
use crate::aws::value::{Fields, Key, Value};

/// Which names JSON has: of JSON 1.0 and 1.1 the members' own, of REST those that the model gives for the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// The members' own.
    Own,
    /// Those of the wire.
    Wire,
}

impl Names {
    fn of(self, member: &Member) -> &'static str {
        match self {
            Self::Own => member.name,
            Self::Wire => member.wire_name(),
        }
    }
}

/// Read a body; an empty one is an empty structure.
pub fn read(model: &Model, shape: &Shape, names: Names, body: &[u8]) -> Result<Value, Malformed> {
    if body.is_empty() {
        return Ok(Value::structure());
    }
    let (refused, left) = (RefCell::default(), Cell::new(VALUES_MAX));
    let mut json = serde_json::Deserializer::from_slice(body);
    let decoder = Decoder { model, names, shape, format: None, depth: 0, left: &left, refused: &refused };
    let value = decoder.deserialize(&mut json);
    let value = value.and_then(|value| json.end().map(|()| value));
    let value = value.map_err(|_| refused.take().unwrap_or_else(|| Malformed::new("the body is not JSON")))?;
    if value == Value::Null && matches!(shape.kind, Kind::Structure { .. }) {
        return Err(Malformed::new("the body is null"));
    }
    Ok(value)
}

/// Write a body.
pub fn write(model: &Model, shape: &Shape, names: Names, value: &Value) -> Vec<u8> {
    // Nothing in it can fail: its keys are text.
    serde_json::to_vec(&Encoder { model, names, shape, format: None, value }).unwrap_or_default()
}

/// Write a value as JSON.
pub fn json_of(model: &Model, shape: &Shape, names: Names, value: &Value) -> Json {
    serde_json::to_value(Encoder { model, names, shape, format: None, value }).unwrap_or_default()
}

/// Reads a value of a shape.
#[derive(Clone, Copy)]
struct Decoder<'m> {
    model: &'m Model,
    names: Names,
    shape: &'m Shape,
    format: Option<TimeFormat>,
    depth: usize,
    /// How many values may still come.
    left: &'m Cell<usize>,
    /// Why the body is refused: serde's errors bear a text of their own.
    refused: &'m RefCell<Option<Malformed>>,
}

impl<'m> Decoder<'m> {
    fn inside(self, shape: ShapeId, format: Option<TimeFormat>) -> Self {
        Self { shape: self.model.shape(shape), format, depth: self.depth + 1, ..self }
    }

    fn refuse<E: Error>(self, why: Malformed) -> E {
        let error = E::custom(&why);
        self.refused.borrow_mut().get_or_insert(why);
        error
    }

    fn told<E: Error>(self, value: Result<Value, Malformed>) -> Result<Value, E> {
        value.map_err(|why| self.refuse(why))
    }

    fn boolean(self, flag: bool) -> Result<Value, Malformed> {
        match self.shape.kind {
            Kind::Boolean => Ok(Value::Bool(flag)),
            Kind::Time => Err(no_moment()),
            _ => Err(wrong(self.shape, "java.lang.Boolean")),
        }
    }

    fn number(self, number: &Number) -> Result<Value, Malformed> {
        match self.shape.kind {
            Kind::Integer(bits) => {
                let whole =
                    number.as_i64().ok_or_else(|| Malformed(format!("{number} is not a whole number in range")))?;
                Ok(Value::Int(integer(whole, bits)?))
            }
            Kind::Double(_) => {
                number.as_f64().map(Value::Double).ok_or_else(|| Malformed::new("the number is out of range"))
            }
            Kind::Time => match (self.time(), number.as_f64()) {
                (TimeFormat::Epoch, Some(seconds)) => time::from_seconds(seconds).map(Value::Time),
                (TimeFormat::Epoch, None) => Err(Malformed::new("the time is out of range")),
                _ => Err(no_moment()),
            },
            _ => Err(wrong(self.shape, "com.amazon.coral.value.json.numbers.TruncatingBigNumber")),
        }
    }

    /// What a text is, where it is none.
    fn other_text(self, text: &str) -> Result<Value, Malformed> {
        match self.shape.kind {
            Kind::Blob => base64_text(text).map(Value::Blob),
            Kind::Double(_) if !text.starts_with(|first: char| first.is_ascii_digit()) => double_text(text)
                .ok()
                .filter(|number| !number.is_finite())
                .map(Value::Double)
                .ok_or_else(|| wrong(self.shape, "java.lang.String")),
            Kind::Time => match self.time() {
                TimeFormat::Epoch => Err(no_moment()),
                format => time::read(text, format).map(Value::Time),
            },
            Kind::Structure { .. } | Kind::Map(..) | Kind::List(_) => Err(Malformed::new("Expected list or null")),
            _ => Err(wrong(self.shape, "java.lang.String")),
        }
    }

    fn time(self) -> TimeFormat {
        self.format.or(self.shape.time).unwrap_or(TimeFormat::Epoch)
    }

    /// Members that nobody knows are passed over.
    fn structure<'de, A: MapAccess<'de>>(
        self,
        members: &'m [Member],
        mut given: A,
    ) -> Result<(Fields, usize), A::Error> {
        let mut fields = Fields::new();
        let mut set = 0;
        while let Some(name) = given.next_key_seed(Name { members, names: self.names })? {
            let Named::Member(member) = name else {
                let is_set = given.next_value::<Option<IgnoredAny>>()?.is_some();
                set += usize::from(is_set && matches!(name, Named::Unknown));
                continue;
            };
            let value = given.next_value_seed(self.inside(member.shape, member.time))?;
            // Of two values with one name the last one counts.
            fields.retain(|(name, _)| *name != member.name);
            if value != Value::Null {
                set += 1;
                fields.push((Key::Borrowed(member.name), value));
            }
        }
        Ok((fields, set))
    }

    fn entries<'de, A: MapAccess<'de>>(self, held: &Member, mut given: A) -> Result<Fields, A::Error> {
        let mut entries = Fields::new();
        while let Some(key) = given.next_key::<String>()? {
            let value = given.next_value_seed(self.inside(held.shape, held.time))?;
            self.refuse_null(&value)?;
            entries.push((Key::Owned(key), value));
        }
        Ok(last_of_each(entries))
    }

    fn refuse_null<E: Error>(self, value: &Value) -> Result<(), E> {
        if *value == Value::Null && !self.shape.is_sparse {
            return Err(self.refuse(Malformed::new("null stands where a value is expected")));
        }
        Ok(())
    }
}

/// What the name of a member says.
enum Named<'m> {
    Member(&'m Member),
    /// What kind of structure it is, which clients may add.
    Kind,
    Unknown,
}

/// Reads the name of a member.
struct Name<'m> {
    members: &'m [Member],
    names: Names,
}

impl<'de, 'm> DeserializeSeed<'de> for Name<'m> {
    type Value = Named<'m>;

    fn deserialize<D: Deserializer<'de>>(self, name: D) -> Result<Named<'m>, D::Error> {
        name.deserialize_str(self)
    }
}

impl<'m> Visitor<'_> for Name<'m> {
    type Value = Named<'m>;

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("the name of a member")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Named<'m>, E> {
        let in_body = |member: &&Member| member.location == Location::Body && self.names.of(member) == name;
        Ok(match self.members.iter().find(in_body) {
            Some(member) => Named::Member(member),
            None if name == "__type" => Named::Kind,
            None => Named::Unknown,
        })
    }
}

impl<'de> DeserializeSeed<'de> for Decoder<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Value, D::Error> {
        if self.depth > DEPTH_MAX {
            return Err(self.refuse(Malformed(format!("the body has more than {DEPTH_MAX} levels"))));
        }
        match self.left.get().checked_sub(1) {
            Some(left) => self.left.set(left),
            None => return Err(self.refuse(too_many())),
        }
        if matches!(self.shape.kind, Kind::Document) {
            return Json::deserialize(json).map(|json| Value::Document(Box::new(json)));
        }
        json.deserialize_any(self)
    }
}

/// AWS's words for what stands where something else is expected are those of [`wrong`].
impl<'de> Visitor<'de> for Decoder<'_> {
    type Value = Value;

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "a value of {}", self.shape.name)
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<Value, E> {
        self.told(self.boolean(flag))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Value, E> {
        self.told(self.number(&number.into()))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Value, E> {
        self.told(self.number(&number.into()))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Value, E> {
        let number = Number::from_f64(number).ok_or_else(|| Malformed::new("the number is out of range"));
        self.told(number.and_then(|number| self.number(&number)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        match self.shape.kind {
            Kind::Text => Ok(Value::Text(text.to_owned())),
            _ => self.told(self.other_text(text)),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut given: A) -> Result<Value, A::Error> {
        let Kind::List(item) = &self.shape.kind else {
            return self.told(Err(match self.shape.kind {
                Kind::Time => no_moment(),
                _ => Malformed::new("Start of list found where not expected"),
            }));
        };
        let mut values = Vec::new();
        while let Some(value) = given.next_element_seed(self.inside(item.shape, item.time))? {
            self.refuse_null(&value)?;
            values.push(value);
        }
        Ok(Value::List(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, given: A) -> Result<Value, A::Error> {
        match &self.shape.kind {
            Kind::Structure { members, is_union, .. } => {
                let (fields, set) = self.structure(members, given)?;
                if *is_union && set != 1 {
                    return Err(self.refuse(Malformed::new("exactly one member of a union is set")));
                }
                if *is_union && fields.is_empty() {
                    return Err(self.refuse(Malformed::new("the union has no such member")));
                }
                Ok(Value::Map(fields))
            }
            Kind::Map(_, held) => self.entries(held, given).map(Value::Map),
            Kind::Time => self.told(Err(no_moment())),
            _ => self.told(Err(Malformed::new("Start of structure or map found where not expected."))),
        }
    }
}

fn no_moment() -> Malformed {
    Malformed::new("the value has not the form of a timestamp")
}

/// AWS's words for a value of another type.
fn wrong(shape: &Shape, class: &str) -> Malformed {
    let wanted = match shape.kind {
        Kind::Text => "an String",
        Kind::Integer(64) => "a Long",
        Kind::Integer(_) => "an Integer",
        Kind::Boolean => "a Boolean",
        Kind::Double(_) => "a Double",
        Kind::Blob => "a Blob",
        Kind::Time => "a Timestamp",
        Kind::List(_) => return Malformed::new("Expected list or null"),
        _ => return Malformed::new("Expected null"),
    };
    Malformed(format!("class {class} can not be converted to {wanted}"))
}

/// Writes a value of a shape.
#[derive(Clone, Copy)]
struct Encoder<'m> {
    model: &'m Model,
    names: Names,
    shape: &'m Shape,
    format: Option<TimeFormat>,
    value: &'m Value,
}

impl<'m> Encoder<'m> {
    fn inside(self, shape: ShapeId, format: Option<TimeFormat>, value: &'m Value) -> Self {
        Self { shape: self.model.shape(shape), format, value, ..self }
    }
}

impl Serialize for Encoder<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match (&self.shape.kind, self.value) {
            (Kind::Structure { members, .. }, Value::Map(_)) => {
                let mut fields = to.serialize_map(None)?;
                for member in members.iter().filter(|member| member.is_in_answer()) {
                    if let Some(value) = self.value.get(member.name) {
                        let value = self.inside(member.shape, member.time, value);
                        fields.serialize_entry(self.names.of(member), &value)?;
                    }
                }
                fields.end()
            }
            (Kind::List(item), Value::List(values)) => {
                to.collect_seq(values.iter().map(|value| self.inside(item.shape, item.time, value)))
            }
            (Kind::Map(_, held), Value::Map(entries)) => {
                to.collect_map(entries.iter().map(|(key, value)| (key, self.inside(held.shape, held.time, value))))
            }
            (_, value) => plain(self.format.or(self.shape.time), value, to),
        }
    }
}

/// A value that has no members.
fn plain<S: Serializer>(format: Option<TimeFormat>, value: &Value, to: S) -> Result<S::Ok, S::Error> {
    match value {
        Value::Bool(flag) => to.serialize_bool(*flag),
        Value::Int(number) => to.serialize_i64(*number),
        Value::Double(number) if number.is_finite() => to.serialize_f64(*number),
        Value::Double(number) => to.serialize_str(&crate::aws::protocol::text_of_double(*number)),
        Value::Text(text) => to.serialize_str(text),
        Value::Blob(bytes) => to.serialize_str(&text_of_bytes(bytes)),
        Value::Time(millis) => match format.unwrap_or(TimeFormat::Epoch) {
            TimeFormat::Epoch => time::seconds(*millis).serialize(to),
            format => to.serialize_str(&time::write(*millis, format)),
        },
        Value::Document(json) => json.serialize(to),
        Value::Null | Value::List(_) | Value::Map(_) => to.serialize_unit(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;
    use crate::aws::services::SERVICES;

    /// Makes values of a shape out of numbers.
    struct Maker<'m> {
        model: &'m Model,
        numbers: std::vec::IntoIter<u64>,
    }

    impl Maker<'_> {
        /// A number below this one; 0 when there are no more, so that every value ends.
        fn below(&mut self, end: u64) -> u64 {
            self.numbers.next().unwrap_or(0) % end
        }

        fn text(&mut self) -> String {
            const LETTERS: [&str; 8] = ["a", "B", "7", "\"", "\\", "\n", "é", "🜚"];
            (0..self.below(5)).map(|_| LETTERS[self.below(8) as usize]).collect()
        }

        fn value(&mut self, shape: &Shape) -> Value {
            match &shape.kind {
                Kind::Structure { members, is_union, .. } if *is_union => {
                    let member = &members[self.below(members.len() as u64) as usize];
                    Value::Map(vec![(Key::Borrowed(member.name), self.value(self.model.shape(member.shape)))])
                }
                Kind::Structure { members, .. } => {
                    let mut fields = Fields::new();
                    for member in members {
                        if self.below(2) == 1 {
                            fields.push((Key::Borrowed(member.name), self.value(self.model.shape(member.shape))));
                        }
                    }
                    Value::Map(fields)
                }
                Kind::List(item) => {
                    let item = self.model.shape(item.shape);
                    Value::List((0..self.below(4)).map(|_| self.value(item)).collect())
                }
                Kind::Map(_, held) => {
                    let held = self.model.shape(held.shape);
                    let count = self.below(4);
                    Value::Map((0..count).map(|at| (format!("{at}{}", self.text()).into(), self.value(held))).collect())
                }
                Kind::Text => Value::Text(self.text()),
                Kind::Blob => Value::Blob((0..self.below(6)).map(|_| self.below(256) as u8).collect()),
                Kind::Boolean => Value::Bool(self.below(2) == 1),
                Kind::Integer(bits) => Value::Int(self.below(u64::MAX) as i64 >> (64 - bits)),
                Kind::Double(_) => Value::Double(self.below(1 << 20) as f64 / 4.0 - 1000.0),
                Kind::Time => Value::Time(self.below(1 << 32) as i64 * 1000),
                Kind::Document => Value::Document(Box::new(serde_json::json!({ (self.text()): [1, null] }))),
            }
        }
    }

    proptest! {
        /// Every input of the services that speak JSON, and every output.
        #[test]
        fn what_is_written_is_read_again(numbers in prop::collection::vec(any::<u64>(), 0..80), which in any::<Index>()) {
            let shapes: Vec<(&Model, ShapeId)> = SERVICES
                .iter()
                .map(crate::aws::services::Service::model)
                .filter(|model| !model.target_prefix.is_empty())
                .flat_map(|model| model.operations.iter().flat_map(move |one| one.input.into_iter().chain(one.output)).map(move |id| (model, id)))
                .collect();
            let &(model, id) = which.get(&shapes);
            let shape = model.shape(id);
            let value = Maker { model, numbers: numbers.into_iter() }.value(shape);
            let body = write(model, shape, Names::Own, &value);
            prop_assert_eq!(read(model, shape, Names::Own, &body), Ok(value.clone()));
            // Spaces, unknown members and a repetition change nothing.
            let Json::Object(fields) = json_of(model, shape, Names::Own, &value) else { return Ok(()) };
            let text = serde_json::to_string_pretty(&fields).unwrap_or_default();
            let more = text.replacen('{', "{\"__type\": \"any\", \"NobodyKnows\": [{\"a\": [1.5, null]}], ", 1);
            let more = if fields.is_empty() { more.replacen(", }", "}", 1) } else { more };
            prop_assert_eq!(read(model, shape, Names::Own, more.as_bytes()), Ok(value));
        }

        /// A body that is cut off anywhere is refused.
        #[test]
        fn half_a_body_is_refused(numbers in prop::collection::vec(any::<u64>(), 20..40), at in any::<Index>()) {
            let model = SERVICES[0].model();
            let Some(id) = model.operation("SendMessageBatch").and_then(|operation| operation.input) else { return Ok(()) };
            let value = Maker { model, numbers: numbers.into_iter() }.value(model.shape(id));
            let body = write(model, model.shape(id), Names::Own, &value);
            let end = 1 + at.index(body.len() - 1);
            prop_assert_eq!(
                read(model, model.shape(id), Names::Own, &body[..end]),
                Err(Malformed::new("the body is not JSON"))
            );
        }
    }

    #[test]
    fn a_body_of_very_many_values_is_refused() {
        let model = SERVICES[0].model();
        let input = model.operation("SendMessageBatch").and_then(|operation| operation.input);
        let shape = model.shape(input.unwrap());
        let of = |count: usize| format!("{{\"Entries\": [{}{{}}]}}", "{},".repeat(count - 1));
        // The body and the list are values, too.
        assert!(read(model, shape, Names::Own, of(VALUES_MAX - 2).as_bytes()).is_ok());
        assert_eq!(read(model, shape, Names::Own, of(VALUES_MAX - 1).as_bytes()), Err(too_many()));
    }

    #[test]
    fn of_two_values_with_one_name_the_last_counts() {
        let model = SERVICES[0].model();
        let input = model.operation("CreateQueue").and_then(|operation| operation.input);
        let shape = model.shape(input.unwrap());
        let body = br#"{"QueueName": "a", "tags": {"k": "1", "l": "2", "k": "3"}, "QueueName": "b"}"#;
        let tags = Value::Map(vec![("l".into(), "2".into()), ("k".into(), "3".into())]);
        let wanted = Value::Map(vec![("tags".into(), tags), ("QueueName".into(), "b".into())]);
        assert_eq!(read(model, shape, Names::Own, body), Ok(wanted));
    }

    #[test]
    fn what_has_another_type_is_refused_in_javas_words() {
        let model = SERVICES[0].model();
        let input = model.operation("SendMessage").and_then(|operation| operation.input);
        let shape = model.shape(input.unwrap());
        for (body, why) in [
            (
                r#"{"MessageBody": 1}"#,
                "class com.amazon.coral.value.json.numbers.TruncatingBigNumber can not be converted to an String",
            ),
            (r#"{"DelaySeconds": "1"}"#, "class java.lang.String can not be converted to an Integer"),
            (r#"{"DelaySeconds": 1.5}"#, "1.5 is not a whole number in range"),
            (r#"{"DelaySeconds": 4294967296}"#, "4294967296 is out of the range of 32 bits"),
            (r#"{"MessageBody": true}"#, "class java.lang.Boolean can not be converted to an String"),
            (r#"{"MessageBody": []}"#, "Start of list found where not expected"),
            (r#"{"MessageAttributes": "a"}"#, "Expected list or null"),
            (r#"{"MessageBody": {}}"#, "Start of structure or map found where not expected."),
            ("null", "the body is null"),
            ("{} {}", "the body is not JSON"),
        ] {
            assert_eq!(read(model, shape, Names::Own, body.as_bytes()), Err(Malformed::new(why)), "{body}");
        }
    }
}
