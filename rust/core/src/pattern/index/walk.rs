//! An event's bytes, walked once: the values that some rule asks for.
//!
//! The event was read as JSON when it was accepted. What is not JSON is found out only where it is looked at, and does no harm.

use crate::pattern::bus::number::comparable;
use crate::pattern::bus::{EventError, EVENT_DEPTH_MAX};
use crate::pattern::matcher::Scalar;

use super::paths::{Paths, ROOT};

/// No leaf; no path.
pub(super) const NONE: u32 = u32::MAX;

/// The place of a value that lies in no array.
pub(super) const NO_ELEMENT: u32 = 0;

/// A value of the event.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leaf {
    pub(super) path: u32,
    /// The next one of the same path.
    pub(super) next: u32,
    /// The innermost element of an array that it lies in.
    pub(super) element: u32,
    kind: Kind,
    start: u32,
    end: u32,
    number: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    String,
    /// A string that had escapes; it stands apart from the event.
    Unescaped,
    Number,
    Word,
}

/// An element of an array that is an object or an array.
#[derive(Clone, Copy, Debug)]
pub(super) struct Element {
    /// The element that its array lies in.
    pub(super) outer: u32,
    pub(super) array: u32,
}

/// When a name was last seen in an object, and the values that it had.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    object: u32,
    start: u32,
    end: u32,
}

/// What a walk finds. It is kept for the next event, so that none needs new memory.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) leaves: Vec<Leaf>,
    pub(super) elements: Vec<Element>,
    unescaped: String,
    /// By path.
    seen: Vec<Seen>,
    /// What objects that are still open have put in the place of what was seen before: a name with a dot leads to the same path.
    hidden: Vec<(u32, Seen)>,
    /// Over all events.
    objects: u32,
    arrays: u32,
}

impl Found {
    /// Walk an event.
    pub(super) fn walk(&mut self, text: &str, paths: &Paths) -> Result<(), EventError> {
        self.leaves.clear();
        self.elements.clear();
        self.elements.push(Element { outer: NO_ELEMENT, array: NONE });
        self.unescaped.clear();
        if self.objects > u32::MAX / 2 {
            self.seen.clear();
            self.objects = 0;
        }
        self.hidden.clear();
        self.seen.resize(self.seen.len().max(paths.len()), Seen::default());
        self.arrays = 0;
        if u32::try_from(text.len()).is_err() {
            return Err(EventError { reason: "it is larger than 4 GiB".into() });
        }
        let mut walker = Walker { text, bytes: text.as_bytes(), at: 0, paths, found: self };
        if walker.peek() != Some(b'{') {
            return Err(EventError { reason: "it is not an object".into() });
        }
        walker.object(ROOT, NO_ELEMENT, 1)
    }

    /// A leaf's value.
    pub(super) fn value<'a>(&'a self, leaf: &Leaf, event: &'a str) -> Scalar<'a> {
        let place = leaf.start as usize..leaf.end as usize;
        match leaf.kind {
            Kind::String => Scalar::String(&event[place]),
            Kind::Unescaped => Scalar::String(&self.unescaped[place]),
            Kind::Number => Scalar::Number(&event[place], leaf.number),
            Kind::Word => Scalar::Word(&event[place]),
        }
    }
}

struct Walker<'e, 'f> {
    text: &'e str,
    bytes: &'e [u8],
    at: usize,
    paths: &'f Paths,
    found: &'f mut Found,
}

type Walked<T> = Result<T, EventError>;

fn no_json<T>() -> Walked<T> {
    Err(EventError { reason: "it is not JSON".into() })
}

impl Walker<'_, '_> {
    /// The next byte that is not white space.
    fn peek(&mut self) -> Option<u8> {
        loop {
            match self.bytes.get(self.at) {
                Some(b' ' | b'\n' | b'\r' | b'\t') => self.at += 1,
                other => return other.copied(),
            }
        }
    }

    fn object(&mut self, path: u32, element: u32, depth: usize) -> Walked<()> {
        if depth > EVENT_DEPTH_MAX {
            return Err(EventError { reason: format!("objects and arrays may lie {EVENT_DEPTH_MAX} deep at most") });
        }
        self.found.objects += 1;
        let object = self.found.objects;
        let hidden = self.found.hidden.len();
        self.at += 1;
        loop {
            match self.peek() {
                Some(b'"') => {
                    let below = self.key(path)?;
                    if self.peek() != Some(b':') {
                        return no_json();
                    }
                    self.at += 1;
                    match below {
                        Some(below) => self.field(object, below, element, depth)?,
                        None => self.pass()?,
                    }
                }
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    for (path, seen) in self.found.hidden.drain(hidden..) {
                        self.found.seen[path as usize] = seen;
                    }
                    return Ok(());
                }
                _ => return no_json(),
            }
        }
    }

    /// The path of the next key, if a rule asks for it.
    fn key(&mut self, path: u32) -> Walked<Option<u32>> {
        let start = self.at + 1;
        if self.pass_string()? {
            let key = unescaped(&self.text[start - 1..self.at]);
            return Ok(self.paths.below(path, &key));
        }
        Ok(self.paths.below(path, &self.text[start..self.at - 1]))
    }

    fn field(&mut self, object: u32, path: u32, element: u32, depth: usize) -> Walked<()> {
        let seen = self.found.seen[path as usize];
        if seen.object == object {
            // Of two with one name the last counts.
            let earlier = &mut self.found.leaves[seen.start as usize..seen.end as usize];
            for leaf in earlier {
                leaf.path = NONE;
            }
        } else {
            self.found.hidden.push((path, seen));
        }
        let start = self.found.leaves.len() as u32;
        self.value(path, element, depth)?;
        self.found.seen[path as usize] = Seen { object, start, end: self.found.leaves.len() as u32 };
        Ok(())
    }

    fn value(&mut self, path: u32, element: u32, depth: usize) -> Walked<()> {
        match self.peek() {
            Some(b'{') if self.paths.has_children(path) => self.object(path, element, depth + 1),
            Some(b'[') => self.array(path, element, depth + 1),
            Some(b'{') => self.pass(),
            _ if !self.paths.is_used(path) => self.pass(),
            Some(b'"') => self.string(path, element),
            _ => self.literal(path, element),
        }
    }

    fn array(&mut self, path: u32, element: u32, depth: usize) -> Walked<()> {
        if depth > EVENT_DEPTH_MAX {
            return Err(EventError { reason: format!("objects and arrays may lie {EVENT_DEPTH_MAX} deep at most") });
        }
        let array = self.found.arrays;
        self.found.arrays += 1;
        self.at += 1;
        loop {
            match self.peek() {
                Some(b']') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b',') => self.at += 1,
                Some(b'{' | b'[') => {
                    let inner = self.found.elements.len() as u32;
                    self.found.elements.push(Element { outer: element, array });
                    self.value(path, inner, depth)?;
                }
                _ => self.value(path, element, depth)?,
            }
        }
    }

    fn string(&mut self, path: u32, element: u32) -> Walked<()> {
        let start = self.at;
        let (kind, start, end) = if self.pass_string()? {
            let begin = self.found.unescaped.len();
            self.found.unescaped += &unescaped(&self.text[start..self.at]);
            (Kind::Unescaped, begin, self.found.unescaped.len())
        } else {
            (Kind::String, start + 1, self.at - 1)
        };
        self.leaf(path, element, kind, start..end, 0.0);
        Ok(())
    }

    fn literal(&mut self, path: u32, element: u32) -> Walked<()> {
        let start = self.at;
        self.pass_literal()?;
        let text = &self.text[start..self.at];
        let number = comparable(text);
        let kind = if number.is_some() { Kind::Number } else { Kind::Word };
        self.leaf(path, element, kind, start..self.at, number.unwrap_or_default());
        Ok(())
    }

    fn leaf(&mut self, path: u32, element: u32, kind: Kind, place: std::ops::Range<usize>, number: f64) {
        let (start, end) = (place.start as u32, place.end as u32);
        self.found.leaves.push(Leaf { path, next: NONE, element, kind, start, end, number });
    }

    /// Go past a value.
    fn pass(&mut self) -> Walked<()> {
        match self.peek() {
            Some(b'{' | b'[') => self.pass_container(),
            Some(b'"') => self.pass_string().map(drop),
            _ => self.pass_literal(),
        }
    }

    fn pass_container(&mut self) -> Walked<()> {
        let mut open = 0_usize;
        loop {
            match self.bytes.get(self.at) {
                Some(b'"') => {
                    self.pass_string()?;
                    continue;
                }
                Some(b'{' | b'[') => open += 1,
                Some(b'}' | b']') => open -= 1,
                Some(_) => {}
                None => return no_json(),
            }
            self.at += 1;
            if open == 0 {
                return Ok(());
            }
        }
    }

    /// Go past a string; whether it has escapes.
    fn pass_string(&mut self) -> Walked<bool> {
        let mut has_escapes = false;
        self.at += 1;
        loop {
            match self.bytes.get(self.at) {
                Some(b'"') => break,
                Some(b'\\') => {
                    has_escapes = true;
                    self.at += 2;
                }
                Some(_) => self.at += 1,
                None => return no_json(),
            }
        }
        self.at += 1;
        Ok(has_escapes)
    }

    fn pass_literal(&mut self) -> Walked<()> {
        let start = self.at;
        let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.');
        while self.bytes.get(self.at).is_some_and(is_part) {
            self.at += 1;
        }
        if self.at == start {
            return no_json();
        }
        Ok(())
    }
}

/// A string in its quotes, read. Half of a surrogate pair is JSON but no text; it then stands as it is written.
fn unescaped(quoted: &str) -> String {
    serde_json::from_str(quoted).unwrap_or_else(|_| quoted[1..quoted.len() - 1].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Objects are numbered over all events. The numbers begin anew long before there are no more of them.
    #[test]
    fn numbers_of_objects_begin_anew_in_time() {
        let mut found = Found { objects: u32::MAX / 2 + 9, ..Found::default() };
        let mut paths = Paths::default();
        paths.add("a.b");
        found.walk(r#"{"a":{"b":1,"b":2}}"#, &paths).unwrap();
        assert_eq!(found.objects, 2);
        assert_eq!(
            found.leaves.iter().filter(|leaf| leaf.path != NONE).count(),
            1,
            "of two with one name the last counts"
        );
    }

    #[test]
    fn numbers_of_objects_go_on_from_event_to_event_up_to_half_of_all() {
        let paths = Paths::default();
        for (before, after) in [(0, 1), (1, 2), (2, 3), (u32::MAX / 2, u32::MAX / 2 + 1), (u32::MAX / 2 + 1, 1)] {
            let mut found = Found { objects: before, ..Found::default() };
            found.walk("{}", &paths).unwrap();
            assert_eq!(found.objects, after, "after {before}");
        }
    }

    #[test]
    fn only_what_a_rule_asks_for_is_walked_and_kept() {
        let mut paths = Paths::default();
        paths.add("a.b");
        for (event, leaves, objects) in [
            (r#"{"a":{"b":1,"c":2},"d":{"b":3}}"#, 1, 2),
            (r#"{"a":{"b":{"c":1}}}"#, 0, 2),
            (r#"{"a":1,"b":2}"#, 0, 1),
            (r#"{"a":["x",true,{"b":[1,2,{"b":3}]}]}"#, 2, 2),
        ] {
            let mut found = Found::default();
            found.walk(event, &paths).unwrap();
            assert_eq!((found.leaves.len(), found.objects), (leaves, objects), "{event}");
        }
    }
}
