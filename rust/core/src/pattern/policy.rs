//! Filter policies of a topic's subscriptions: the same language as a mapping's filters, over a message's attributes or its body.
//!
//! Numbers are compared by their value here, however they are written.
//!
//! <https://docs.aws.amazon.com/sns/latest/dg/sns-subscription-filter-policies.html>

use std::borrow::Cow;

use super::json::{self, Value, NESTING_MAX};
use super::tree::{self, Field, Node, Numbers};
use super::{is_node_met, FilterError};

/// What a policy looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The attributes of a message.
    Attributes,
    /// Its body, which must be a JSON object.
    Body,
}

/// A message attribute as a policy sees it.
#[derive(Clone, Copy, Debug)]
pub struct Attribute<'a> {
    /// Its name.
    pub name: &'a str,
    /// `String`, `String.Array`, `Number` or `Binary`, which no policy looks into.
    pub data_type: &'a str,
    /// Its value; of an array the JSON text.
    pub value: &'a str,
}

/// A subscription's filter policy.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    root: Node,
    scope: Scope,
    /// Every field name, sorted.
    names: Vec<String>,
}

impl Policy {
    /// Parse a policy's JSON text.
    pub fn parse(text: &str, scope: Scope) -> Result<Self, FilterError> {
        let root = tree::parse(text, Numbers::ByValue)?;
        if scope == Scope::Attributes {
            if let Some(name) = nested(&root) {
                let reason = "Filter policy scope MessageAttributes does not support nested filter policy".into();
                return Err(FilterError { path: name.to_owned(), reason });
            }
        }
        let mut names = Vec::new();
        super::collect_names(&root, &mut names);
        names.sort_unstable();
        names.dedup();
        Ok(Self { root, scope, names })
    }

    /// Whether a message goes to the subscription.
    pub fn passes(&self, body: &str, attributes: &[Attribute<'_>]) -> bool {
        match self.scope {
            // Without attributes no policy on them matches, not even one that wants an attribute to be absent.
            Scope::Attributes if attributes.is_empty() => false,
            Scope::Attributes => {
                let fields: Vec<_> = attributes.iter().filter_map(|one| Some((one.name.into(), seen(one)?))).collect();
                is_node_met(&self.root, &fields)
            }
            Scope::Body => {
                let wants = |name: &str| self.names.binary_search_by(|known| known.as_str().cmp(name)).is_ok();
                matches!(json::read(body, &wants), Some(Value::Object(fields)) if is_node_met(&self.root, &fields))
            }
        }
    }
}

/// An attribute's value; `None` if a policy does not look into it.
fn seen<'a>(attribute: &Attribute<'a>) -> Option<Value<'a>> {
    let text = Cow::Borrowed(attribute.value);
    match attribute.data_type {
        "String.Array" | "Number.Array" => match json::read_whole(attribute.value, NESTING_MAX) {
            Ok(elements @ Value::Array(_)) => Some(elements),
            _ => None,
        },
        kind if kind.starts_with("Binary") => None,
        kind if kind.starts_with("Number") => Some(Value::Literal(text)),
        _ => Some(Value::String(text)),
    }
}

/// A field of a node that has fields of its own.
fn nested(node: &Node) -> Option<&str> {
    let inner = node.fields.iter().find(|(_, field)| matches!(field, Field::Inner(_))).map(|(name, _)| name.as_str());
    inner.or_else(|| node.choices.iter().flatten().find_map(nested))
}
