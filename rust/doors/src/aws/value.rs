//! What an operation is given and what it gives, whatever protocol carries it.

use std::borrow::Cow;

use serde_json::Value as Json;

/// The name of a member, or a map's key.
pub type Key = Cow<'static, str>;

/// The members of a structure, or the entries of a map, in their order.
pub type Fields = Vec<(Key, Value)>;

/// One value of a request or an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Absent. In a list or a map that may hold nothing: nothing.
    Null,
    /// A boolean.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number.
    Double(f64),
    /// Text.
    Text(String),
    /// Bytes.
    Blob(Vec<u8>),
    /// A moment, milliseconds since 1970.
    Time(i64),
    /// A list.
    List(Vec<Value>),
    /// A structure or a map.
    Map(Fields),
    /// JSON of any shape.
    Document(Box<Json>),
}

impl Value {
    /// A structure that grows by [`Value::with`].
    pub fn structure() -> Self {
        Self::Map(Vec::new())
    }

    /// The same structure with one more member; an absent one adds nothing.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        let value = value.into();
        if let (Self::Map(fields), false) = (&mut self, value == Self::Null) {
            fields.push((Key::Borrowed(name), value));
        }
        self
    }

    /// A member that is there.
    pub fn get(&self, name: &str) -> Option<&Value> {
        let Self::Map(fields) = self else { return None };
        fields.iter().find(|(key, value)| key == name && *value != Self::Null).map(|(_, value)| value)
    }

    /// A member that is text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(Value::as_text)
    }

    /// A member that is text; empty without one. What the model requires has been checked.
    pub fn needed(&self, name: &str) -> &str {
        self.text(name).unwrap_or_default()
    }

    /// A member that is a whole number.
    pub fn int(&self, name: &str) -> Option<i64> {
        match self.get(name) {
            Some(Self::Int(number)) => Some(*number),
            _ => None,
        }
    }

    /// A member that is a number.
    pub fn double(&self, name: &str) -> Option<f64> {
        self.get(name).and_then(Value::as_double)
    }

    /// A member that is true or false.
    pub fn flag(&self, name: &str) -> Option<bool> {
        match self.get(name) {
            Some(Self::Bool(flag)) => Some(*flag),
            _ => None,
        }
    }

    /// A member that is a moment, milliseconds since 1970.
    pub fn time(&self, name: &str) -> Option<i64> {
        match self.get(name) {
            Some(Self::Time(time)) => Some(*time),
            _ => None,
        }
    }

    /// A member that is bytes.
    pub fn blob(&self, name: &str) -> Option<&[u8]> {
        match self.get(name) {
            Some(Self::Blob(bytes)) => Some(bytes),
            _ => None,
        }
    }

    /// A member that is a list; an empty one without it.
    pub fn list(&self, name: &str) -> &[Value] {
        match self.get(name) {
            Some(Self::List(values)) => values,
            _ => &[],
        }
    }

    /// The texts of a member that is a list of them.
    pub fn texts(&self, name: &str) -> impl Iterator<Item = &str> {
        self.list(name).iter().filter_map(Value::as_text)
    }

    /// The entries of a member that is a map; none without it.
    pub fn entries(&self, name: &str) -> &[(Key, Value)] {
        match self.get(name) {
            Some(Self::Map(fields)) => fields,
            _ => &[],
        }
    }

    /// The text of a value that is one.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The number of a value that is one.
    pub fn as_double(&self) -> Option<f64> {
        match self {
            Self::Double(number) => Some(*number),
            Self::Int(number) => Some(*number as f64),
            _ => None,
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Bool(flag)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Int(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Int(i64::from(number))
    }
}

impl From<usize> for Value {
    fn from(number: usize) -> Self {
        Self::from(number as u64)
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Double(number)
    }
}

impl From<Vec<Value>> for Value {
    fn from(values: Vec<Value>) -> Self {
        Self::List(values)
    }
}

impl From<Vec<String>> for Value {
    fn from(values: Vec<String>) -> Self {
        Self::List(values.into_iter().map(Value::Text).collect())
    }
}

impl From<Fields> for Value {
    fn from(fields: Fields) -> Self {
        Self::Map(fields)
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}
