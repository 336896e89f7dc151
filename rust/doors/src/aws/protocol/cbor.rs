//! CBOR bodies, in two dialects: rpc-v2's, and the older one that Kinesis speaks with Java.

use crate::aws::model::{Kind, Member, Model, Shape};
use crate::aws::protocol::{integer, last_of_each, time, too_many, Malformed, VALUES_MAX};
use crate::aws::value::{Fields, Key, Value};

/// Most levels of a body.
const LEVELS_MAX: usize = 32;
/// Tag of a moment.
const EPOCH: u64 = 1;

/// How a dialect writes a moment, after its tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Seconds, whole or not.
    RpcV2,
    /// Whole milliseconds.
    Kinesis,
}

/// Read a body; an empty one is an empty structure.
pub fn read(model: &Model, shape: &Shape, dialect: Dialect, body: &[u8]) -> Result<Value, Malformed> {
    if body.is_empty() {
        return Ok(Value::structure());
    }
    let mut reader = Reader { rest: body, left: VALUES_MAX };
    let item = reader.item(0)?;
    if !reader.rest.is_empty() {
        return Err(Malformed::new("bytes follow the body"));
    }
    Decoder { model, dialect }.value(shape, item)
}

/// One item as it was written, without what tells how long it is.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// A whole number.
    Int(i128),
    /// Bytes.
    Bytes(Vec<u8>),
    /// Text.
    Text(String),
    /// A list.
    Array(Vec<Item>),
    /// Items by text.
    Map(Vec<(String, Item)>),
    /// A moment, its tag taken off.
    Moment(Box<Item>),
    /// True or false.
    Bool(bool),
    /// A number.
    Float(f64),
    /// Nothing.
    Null,
}

/// Read a whole body without a shape.
pub fn items(body: &[u8]) -> Result<Item, Malformed> {
    Reader { rest: body, left: VALUES_MAX }.item(0)
}

struct Reader<'b> {
    rest: &'b [u8],
    /// How many items may still come.
    left: usize,
}

impl<'b> Reader<'b> {
    fn bytes(&mut self, count: u64) -> Result<&'b [u8], Malformed> {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let (taken, rest) = self.rest.split_at_checked(count).ok_or_else(|| Malformed::new("the body ends early"))?;
        self.rest = rest;
        Ok(taken)
    }

    fn head(&mut self) -> Result<(u8, u8), Malformed> {
        let first = self.bytes(1)?[0];
        Ok((first >> 5, first & 31))
    }

    /// The number of a head; `None`: a break ends what begins here.
    fn count(&mut self, info: u8) -> Result<Option<u64>, Malformed> {
        let width = match info {
            0..=23 => return Ok(Some(u64::from(info))),
            24..=27 => 1 << (info - 24),
            31 => return Ok(None),
            _ => return Err(Malformed::new("the body is not CBOR")),
        };
        let number = self.bytes(width)?.iter().fold(0, |number, &byte| number << 8 | u64::from(byte));
        Ok(Some(number))
    }

    fn at_break(&mut self) -> bool {
        match self.rest.split_first() {
            Some((0xFF, rest)) => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    fn item(&mut self, level: usize) -> Result<Item, Malformed> {
        if level > LEVELS_MAX {
            return Err(Malformed(format!("the body has more than {LEVELS_MAX} levels")));
        }
        self.left = self.left.checked_sub(1).ok_or_else(too_many)?;
        let (major, info) = self.head()?;
        if major == 7 {
            return self.simple(info);
        }
        let count = self.count(info)?;
        match (major, count) {
            (0, Some(number)) => Ok(Item::Int(i128::from(number))),
            (1, Some(number)) => Ok(Item::Int(-1 - i128::from(number))),
            (2, count) => self.string(2, count).map(Item::Bytes),
            (3, count) => {
                let text = String::from_utf8(self.string(3, count)?);
                text.map(Item::Text).map_err(|_| Malformed::new("a text is not UTF-8"))
            }
            (4, count) => self.array(count, level),
            (5, count) => self.map(count, level),
            (6, Some(EPOCH)) => Ok(Item::Moment(Box::new(self.item(level + 1)?))),
            (6, Some(_)) => self.item(level + 1),
            _ => Err(Malformed::new("the body is not CBOR")),
        }
    }

    fn string(&mut self, major: u8, count: Option<u64>) -> Result<Vec<u8>, Malformed> {
        if let Some(count) = count {
            return Ok(self.bytes(count)?.to_vec());
        }
        let mut whole = Vec::new();
        while !self.at_break() {
            let (kind, info) = self.head()?;
            let count = self.count(info)?.filter(|_| kind == major);
            whole
                .extend_from_slice(self.bytes(count.ok_or_else(|| Malformed::new("a text has a part that is none"))?)?);
        }
        Ok(whole)
    }

    /// Whether one more item follows. A count is what the sender says: nothing is set aside for it.
    fn goes_on(&mut self, count: Option<u64>, so_far: usize) -> bool {
        match count {
            Some(count) => (so_far as u64) < count,
            None => !self.at_break(),
        }
    }

    fn array(&mut self, count: Option<u64>, level: usize) -> Result<Item, Malformed> {
        let mut items = Vec::new();
        while self.goes_on(count, items.len()) {
            items.push(self.item(level + 1)?);
        }
        Ok(Item::Array(items))
    }

    fn map(&mut self, count: Option<u64>, level: usize) -> Result<Item, Malformed> {
        let mut entries = Vec::new();
        while self.goes_on(count, entries.len()) {
            let Item::Text(key) = self.item(level + 1)? else {
                return Err(Malformed::new("a key is not text"));
            };
            entries.push((key, self.item(level + 1)?));
        }
        Ok(Item::Map(entries))
    }

    fn simple(&mut self, info: u8) -> Result<Item, Malformed> {
        Ok(match info {
            20 => Item::Bool(false),
            21 => Item::Bool(true),
            22 | 23 => Item::Null,
            25 => {
                let bytes = self.bytes(2)?;
                Item::Float(half(u16::from_be_bytes([bytes[0], bytes[1]])))
            }
            26 => {
                let bytes = self.bytes(4)?;
                Item::Float(f64::from(f32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])))
            }
            27 => {
                let bytes = self.bytes(8)?;
                let mut whole = [0; 8];
                whole.copy_from_slice(bytes);
                Item::Float(f64::from_be_bytes(whole))
            }
            _ => return Err(Malformed::new("the body is not CBOR")),
        })
    }
}

fn half(bits: u16) -> f64 {
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f64::from(bits & 1023));
    let magnitude = match exponent {
        0 => fraction * 2_f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1024.0 + fraction) * 2_f64.powi(exponent - 25),
    };
    if bits >> 15 == 1 {
        -magnitude
    } else {
        magnitude
    }
}

struct Decoder<'m> {
    model: &'m Model,
    dialect: Dialect,
}

impl Decoder<'_> {
    fn value(&self, shape: &Shape, item: Item) -> Result<Value, Malformed> {
        Ok(match (&shape.kind, item) {
            (_, Item::Null) => Value::Null,
            (Kind::Structure { members, is_union, .. }, Item::Map(entries)) => {
                self.structure(members, *is_union, entries)?
            }
            (Kind::List(held), Item::Array(items)) => {
                let inner = self.model.shape(held.shape);
                let items = items.into_iter().map(|item| self.held(shape, inner, item));
                Value::List(items.collect::<Result<_, _>>()?)
            }
            (Kind::Map(_, held), Item::Map(entries)) => {
                let inner = self.model.shape(held.shape);
                let entries = entries.into_iter();
                let entries = entries.map(|(key, item)| Ok((Key::Owned(key), self.held(shape, inner, item)?)));
                Value::Map(last_of_each(entries.collect::<Result<_, Malformed>>()?))
            }
            (Kind::Text, Item::Text(text)) => Value::Text(text),
            (Kind::Blob, Item::Bytes(bytes)) => Value::Blob(bytes),
            (Kind::Boolean, Item::Bool(flag)) => Value::Bool(flag),
            (Kind::Integer(bits), Item::Int(number)) => Value::Int(whole(number, *bits)?),
            (Kind::Integer(bits), Item::Float(number)) if number.fract() == 0.0 => {
                Value::Int(whole(number as i128, *bits)?)
            }
            (Kind::Double(_), Item::Float(number)) => Value::Double(number),
            (Kind::Double(_), Item::Int(number)) => Value::Double(number as f64),
            (Kind::Time, Item::Moment(item)) => Value::Time(self.moment(&item)?),
            (Kind::Time, item @ (Item::Int(_) | Item::Float(_))) => Value::Time(self.moment(&item)?),
            _ => return Err(Malformed(format!("a value is no {}", shape.name))),
        })
    }

    fn held(&self, outer: &Shape, inner: &Shape, item: Item) -> Result<Value, Malformed> {
        match self.value(inner, item)? {
            Value::Null if !outer.is_sparse => Err(Malformed::new("null stands where a value is expected")),
            value => Ok(value),
        }
    }

    fn structure(&self, members: &[Member], is_union: bool, entries: Vec<(String, Item)>) -> Result<Value, Malformed> {
        let mut fields = Fields::new();
        for (key, item) in entries {
            let Some(member) = members.iter().find(|member| member.name == key) else { continue };
            let value = self.value(self.model.shape(member.shape), item)?;
            // Of two values with one name the last one counts, as in JSON.
            fields.retain(|(name, _)| *name != member.name);
            if value != Value::Null {
                fields.push((Key::Borrowed(member.name), value));
            }
        }
        if is_union && fields.len() != 1 {
            return Err(Malformed::new("exactly one member of a union is set"));
        }
        Ok(Value::Map(fields))
    }

    fn moment(&self, item: &Item) -> Result<i64, Malformed> {
        let number = match item {
            Item::Int(number) => *number as f64,
            Item::Float(number) => *number,
            _ => return Err(Malformed::new("a time is not a number")),
        };
        time::from_seconds(if self.dialect == Dialect::Kinesis { number / 1000.0 } else { number })
    }
}

fn whole(number: i128, bits: u32) -> Result<i64, Malformed> {
    let number = i64::try_from(number).map_err(|_| Malformed::new("a number is out of range"))?;
    integer(number, bits)
}

/// Write a body.
pub fn write(model: &Model, shape: &Shape, dialect: Dialect, value: &Value) -> Vec<u8> {
    let mut writer = Writer { model, dialect, bytes: Vec::new() };
    writer.value(shape, value);
    writer.bytes
}

/// Write an error: its name, its message, and the members that its shape has besides.
pub fn write_error(
    model: &Model,
    (shape, name): (Option<&Shape>, &str),
    dialect: Dialect,
    message: &str,
    value: &Value,
) -> Vec<u8> {
    let mut writer = Writer { model, dialect, bytes: Vec::new() };
    let members = match shape.map(|shape| &shape.kind) {
        Some(Kind::Structure { members, .. }) => members.as_slice(),
        _ => &[],
    };
    let others: Vec<(&Member, &Value)> = members
        .iter()
        .filter(|member| !member.name.eq_ignore_ascii_case("message"))
        .filter_map(|member| Some((member, value.get(member.name)?)))
        .collect();
    writer.head(5, 1 + u64::from(!message.is_empty()) + others.len() as u64);
    writer.text("__type");
    writer.text(name);
    if !message.is_empty() {
        writer.text(members.iter().map(|one| one.name).find(|name| *name == "Message").unwrap_or("message"));
        writer.text(message);
    }
    for (member, value) in others {
        writer.text(member.name);
        writer.value(model.shape(member.shape), value);
    }
    writer.bytes
}

struct Writer<'m> {
    model: &'m Model,
    dialect: Dialect,
    bytes: Vec<u8>,
}

impl Writer<'_> {
    fn head(&mut self, major: u8, count: u64) {
        let major = major << 5;
        match count {
            0..=23 => self.bytes.push(major | count as u8),
            24..=0xFF => self.bytes.extend([major + 24, count as u8]),
            0x100..=0xFFFF => {
                self.bytes.push(major + 25);
                self.bytes.extend((count as u16).to_be_bytes());
            }
            0x1_0000..=0xFFFF_FFFF => {
                self.bytes.push(major + 26);
                self.bytes.extend((count as u32).to_be_bytes());
            }
            _ => {
                self.bytes.push(major + 27);
                self.bytes.extend(count.to_be_bytes());
            }
        }
    }

    fn text(&mut self, text: &str) {
        self.head(3, text.len() as u64);
        self.bytes.extend_from_slice(text.as_bytes());
    }

    fn int(&mut self, number: i64) {
        if number < 0 {
            self.head(1, !number as u64);
        } else {
            self.head(0, number as u64);
        }
    }

    fn double(&mut self, number: f64) {
        self.bytes.push(0xFB);
        self.bytes.extend(number.to_be_bytes());
    }

    fn value(&mut self, shape: &Shape, value: &Value) {
        match (&shape.kind, value) {
            (Kind::Structure { members, .. }, Value::Map(_)) => {
                let given = members.iter().filter(|member| member.is_in_answer());
                let given: Vec<_> = given.filter_map(|member| Some((member, value.get(member.name)?))).collect();
                self.head(5, given.len() as u64);
                for (member, value) in given {
                    self.text(member.name);
                    self.value(self.model.shape(member.shape), value);
                }
            }
            (Kind::List(held), Value::List(values)) => {
                self.head(4, values.len() as u64);
                for value in values {
                    self.value(self.model.shape(held.shape), value);
                }
            }
            (Kind::Map(_, held), Value::Map(entries)) => {
                self.head(5, entries.len() as u64);
                for (key, value) in entries {
                    self.text(key);
                    self.value(self.model.shape(held.shape), value);
                }
            }
            (Kind::Double(32), Value::Double(number)) => {
                self.bytes.push(0xFA);
                self.bytes.extend((*number as f32).to_be_bytes());
            }
            _ => self.plain(value),
        }
    }

    fn plain(&mut self, value: &Value) {
        match value {
            Value::Bool(flag) => self.bytes.push(if *flag { 0xF5 } else { 0xF4 }),
            Value::Int(number) => self.int(*number),
            Value::Double(number) => self.double(*number),
            Value::Text(text) => self.text(text),
            Value::Blob(bytes) => {
                self.head(2, bytes.len() as u64);
                self.bytes.extend_from_slice(bytes);
            }
            Value::Time(millis) => {
                self.head(6, EPOCH);
                match self.dialect {
                    Dialect::Kinesis => self.int(*millis),
                    Dialect::RpcV2 if millis % 1000 == 0 => self.int(millis / 1000),
                    Dialect::RpcV2 => self.double(*millis as f64 / 1000.0),
                }
            }
            Value::Null | Value::List(_) | Value::Map(_) | Value::Document(_) => self.bytes.push(0xF6),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_of_very_many_items_is_refused() {
        let of = |count: usize| [&[0x9F][..], &vec![0xF6; count], &[0xFF]].concat();
        assert!(items(&of(VALUES_MAX - 1)).is_ok());
        assert_eq!(items(&of(VALUES_MAX)), Err(too_many()));
    }
}
