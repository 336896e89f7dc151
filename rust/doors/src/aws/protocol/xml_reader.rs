//! XML bodies of requests.

use quick_xml::events::Event;
use quick_xml::Reader;

use crate::aws::model::{Kind, Location, Member, Model, Shape};
use crate::aws::protocol::query::plain;
use crate::aws::protocol::{last_of_each, too_many, Malformed, DEPTH_MAX, VALUES_MAX};
use crate::aws::value::{Fields, Key, Value};

/// Most attributes of an element: each of them is compared with all before it.
const ATTRIBUTES_MAX: usize = 100;

/// An element.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Element {
    /// Its name without a prefix.
    pub name: String,
    /// Its attributes, by their whole names.
    pub attributes: Vec<(String, String)>,
    /// The elements in it.
    pub children: Vec<Element>,
    /// The text in it.
    pub text: String,
}

/// Read a document. Entities beyond XML's own five are refused.
pub fn parse(body: &[u8]) -> Result<Element, Malformed> {
    let malformed = || Malformed::new("the body is not XML");
    let text = std::str::from_utf8(body).map_err(|_| malformed())?;
    let mut reader = Reader::from_str(text);
    let mut open: Vec<Element> = vec![Element::default()];
    let mut left = VALUES_MAX;
    loop {
        let event = reader.read_event().map_err(|_| malformed())?;
        if matches!(event, Event::Start(_) | Event::Empty(_)) {
            left = left.checked_sub(1).ok_or_else(too_many)?;
        }
        match event {
            Event::Start(tag) => {
                if open.len() > DEPTH_MAX {
                    return Err(Malformed(format!("the body has more than {DEPTH_MAX} levels")));
                }
                open.push(begun(&tag)?);
            }
            Event::Empty(tag) => {
                let element = begun(&tag)?;
                open.last_mut().ok_or_else(malformed)?.children.push(element);
            }
            Event::End(_) => {
                let element = open.pop().ok_or_else(malformed)?;
                open.last_mut().ok_or_else(malformed)?.children.push(element);
            }
            Event::Text(text) => {
                open.last_mut().ok_or_else(malformed)?.text.push_str(&text);
            }
            Event::CData(text) => {
                open.last_mut().ok_or_else(malformed)?.text.push_str(&text);
            }
            Event::GeneralRef(entity) => {
                let text =
                    quick_xml::escape::unescape(&format!("&{};", &*entity)).map_err(|_| malformed())?.into_owned();
                open.last_mut().ok_or_else(malformed)?.text.push_str(&text);
            }
            Event::DocType(_) => return Err(malformed()),
            Event::Eof => break,
            Event::Decl(_) | Event::PI(_) | Event::Comment(_) => {}
        }
    }
    let [root] = &mut open[..] else { return Err(malformed()) };
    root.children.pop().filter(|_| root.children.is_empty()).ok_or_else(malformed)
}

fn begun(tag: &quick_xml::events::BytesStart<'_>) -> Result<Element, Malformed> {
    let malformed = || Malformed::new("the body is not XML");
    let name = tag.local_name().as_ref().to_owned();
    let mut attributes = Vec::new();
    for (at, attribute) in tag.attributes().enumerate() {
        if at == ATTRIBUTES_MAX {
            return Err(Malformed(format!("an element has more than {ATTRIBUTES_MAX} attributes")));
        }
        let attribute = attribute.map_err(|_| malformed())?;
        let name = attribute.key.as_ref().to_owned();
        let value = quick_xml::escape::unescape(&attribute.value).map_err(|_| malformed())?;
        attributes.push((name, value.into_owned()));
    }
    Ok(Element { name, attributes, ..Element::default() })
}

/// Read a body; an empty one is an empty structure.
pub fn read(model: &Model, shape: &Shape, body: &[u8]) -> Result<Value, Malformed> {
    if body.is_empty() {
        return Ok(Value::structure());
    }
    Decoder { model }.value(shape, None, &parse(body)?)
}

struct Decoder<'m> {
    model: &'m Model,
}

impl Decoder<'_> {
    fn value(&self, shape: &Shape, member: Option<&Member>, element: &Element) -> Result<Value, Malformed> {
        match &shape.kind {
            Kind::Structure { members, is_union, .. } => self.structure(members, *is_union, element),
            Kind::List(item) => {
                let name = item.wire.unwrap_or("member");
                self.items(item, element.children.iter().filter(|child| child.name == name))
            }
            Kind::Map(key, held) => {
                self.entries((key, held), element.children.iter().filter(|child| child.name == "entry"))
            }
            _ => plain(shape, member.and_then(|member| member.time), &element.text),
        }
    }

    fn items<'e>(&self, item: &Member, elements: impl Iterator<Item = &'e Element>) -> Result<Value, Malformed> {
        let shape = self.model.shape(item.shape);
        let values = elements.map(|element| self.value(shape, Some(item), element));
        Ok(Value::List(values.collect::<Result<_, _>>()?))
    }

    fn entries<'e>(
        &self,
        (key, held): (&Member, &Member),
        elements: impl Iterator<Item = &'e Element>,
    ) -> Result<Value, Malformed> {
        let (key, name) = (key.wire.unwrap_or("key"), held.wire.unwrap_or("value"));
        let shape = self.model.shape(held.shape);
        let mut entries = Fields::new();
        for element in elements {
            let child = |name: &str| element.children.iter().rfind(|child| child.name == name);
            let (Some(key), Some(value)) = (child(key), child(name)) else {
                return Err(Malformed::new("an entry of a map has a key and a value"));
            };
            entries.push((Key::Owned(key.text.clone()), self.value(shape, Some(held), value)?));
        }
        Ok(Value::Map(last_of_each(entries)))
    }

    fn structure(&self, members: &[Member], is_union: bool, element: &Element) -> Result<Value, Malformed> {
        let mut fields = Fields::new();
        for member in members.iter().filter(|member| member.location == Location::Body) {
            let shape = self.model.shape(member.shape);
            let name = member.wire_name();
            let named = || element.children.iter().filter(|child| child.name == name);
            let value = match &shape.kind {
                _ if member.is_attribute => {
                    let attribute = element.attributes.iter().find(|(key, _)| key == name);
                    attribute.map(|(_, text)| plain(shape, member.time, text)).transpose()?
                }
                _ if named().next().is_none() => None,
                Kind::List(item) if member.is_flattened || shape.is_flattened => Some(self.items(item, named())?),
                Kind::Map(key, held) if member.is_flattened || shape.is_flattened => {
                    Some(self.entries((key, held), named())?)
                }
                // Of two elements with one name the last one counts.
                _ => named().next_back().map(|child| self.value(shape, Some(member), child)).transpose()?,
            };
            if let Some(value) = value {
                fields.push((Key::Borrowed(member.name), value));
            }
        }
        if is_union && fields.len() != 1 {
            return Err(Malformed::new("exactly one member of a union is set"));
        }
        Ok(Value::Map(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_of_very_many_elements_or_attributes_is_refused() {
        let of = |count: usize| format!("<a>{}</a>", "<b/>".repeat(count));
        assert_eq!(parse(of(10).as_bytes()).unwrap().children.len(), 10);
        assert_eq!(parse(of(VALUES_MAX).as_bytes()), Err(too_many()));
        let with = |count: usize| (0..count).fold("<a".to_owned(), |text, at| format!("{text} b{at}=''")) + "/>";
        assert_eq!(parse(with(ATTRIBUTES_MAX).as_bytes()).unwrap().attributes.len(), ATTRIBUTES_MAX);
        assert!(parse(with(ATTRIBUTES_MAX + 1).as_bytes()).is_err());
    }
}
