//! Going along a path's steps through a value. Every node that is visited and every byte that is copied is counted.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Deref;
use std::rc::Rc;

use serde_json::{Map, Value};

use super::filter::{ItemPath, Test};
use super::SELECTED_BYTES_MAX;
use crate::workflow::value::weigh;

/// Nodes that the paths of a state may visit together. Several `..` in one path multiply.
const VISITS_MAX: usize = 2_000_000;
/// Bytes of a text that are compared in the time of a visit.
const BYTES_OF_VISIT: usize = 64;

/// One step of a path.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// `.name`, `['name']`.
    Name(String),
    /// `['a','b']`.
    Names(Vec<String>),
    /// `[0]`, `[-1]`.
    Index(i64),
    /// `[0,2]`.
    Indices(Vec<i64>),
    /// `[1:3]`, `[-2:]`, `[:5]`.
    Slice(Option<i64>, Option<i64>),
    /// `.*`, `[*]`.
    Wildcard,
    /// `[?(…)]`.
    Filter(Test),
    /// `..`: the value and all inside it.
    Descend,
}

/// Why a walk ended early.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stop {
    Missing(String),
    TooLarge(String),
    TogetherTooLarge(String),
}

/// Whether steps lead to one value. Several names at the end make one object of them.
pub(super) fn is_definite(steps: &[Step]) -> bool {
    let last = steps.len().saturating_sub(1);
    steps.iter().enumerate().all(|(at, step)| match step {
        Step::Name(_) | Step::Index(_) => true,
        Step::Names(_) => at == last,
        _ => false,
    })
}

/// One walk: its document and what it has used up.
pub(super) struct Walk<'v> {
    pub(super) root: &'v Value,
    /// Those of the walks before it.
    before: usize,
    visits: usize,
    copied: usize,
    /// What paths from the root inside of filters lead to. They are the same for each item.
    of_root: HashMap<*const ItemPath, Option<Found<'v>>>,
}

/// A value that a path inside of a filter leads to.
#[derive(Clone, Debug)]
pub(super) enum Found<'v> {
    Part(&'v Value),
    Made(Rc<Value>),
}

impl Deref for Found<'_> {
    type Target = Value;

    fn deref(&self) -> &Value {
        match self {
            Self::Part(value) => value,
            Self::Made(value) => value,
        }
    }
}

impl<'v> From<Cow<'v, Value>> for Found<'v> {
    fn from(value: Cow<'v, Value>) -> Self {
        match value {
            Cow::Borrowed(value) => Self::Part(value),
            Cow::Owned(value) => Self::Made(Rc::new(value)),
        }
    }
}

impl<'v> Walk<'v> {
    /// A walk, after those before it have made so many visits.
    pub(super) fn new(root: &'v Value, visits: usize) -> Self {
        Self { root, before: visits, visits, copied: 0, of_root: HashMap::new() }
    }

    pub(super) fn visits(&self) -> usize {
        self.visits
    }

    /// What a path from the root leads to, which is found once.
    pub(super) fn once(
        &mut self,
        path: &ItemPath,
        find: impl FnOnce(&mut Self) -> Result<Option<Found<'v>>, Stop>,
    ) -> Result<Option<Found<'v>>, Stop> {
        self.visit(1)?;
        let key = std::ptr::from_ref(path);
        if let Some(found) = self.of_root.get(&key) {
            return Ok(found.clone());
        }
        let found = find(self)?;
        self.of_root.insert(key, found.clone());
        Ok(found)
    }

    /// What the steps lead to from `start`.
    pub(super) fn select(&mut self, start: &'v Value, steps: &[Step]) -> Result<Cow<'v, Value>, Stop> {
        if is_definite(steps) {
            return self.one(start, steps);
        }
        let found = self.many(start, steps)?;
        let mut list = Vec::with_capacity(found.len());
        for value in found {
            if let Cow::Borrowed(value) = value {
                self.count_copy(value)?;
            }
            list.push(value.into_owned());
        }
        Ok(Cow::Owned(Value::Array(list)))
    }

    /// Count a value that is copied.
    pub(super) fn count_copy(&mut self, value: &Value) -> Result<(), Stop> {
        self.count_bytes(weigh(value, SELECTED_BYTES_MAX))
    }

    /// Count bytes that are copied.
    pub(super) fn count_bytes(&mut self, bytes: usize) -> Result<(), Stop> {
        self.copied = self.copied.saturating_add(bytes);
        if self.copied > SELECTED_BYTES_MAX {
            return Err(Stop::TooLarge(format!("The path selects more than {SELECTED_BYTES_MAX} bytes")));
        }
        Ok(())
    }

    /// Count nodes that are looked at.
    pub(super) fn visit(&mut self, nodes: usize) -> Result<(), Stop> {
        self.visits += nodes;
        if self.visits > VISITS_MAX {
            // One that does not fit alone is at fault itself.
            return Err(if self.visits - self.before > VISITS_MAX {
                Stop::TooLarge(format!("more than {VISITS_MAX} values are visited"))
            } else {
                Stop::TogetherTooLarge(format!("The paths of the state look at more than {VISITS_MAX} values together"))
            });
        }
        Ok(())
    }

    /// Count what a comparison of two values looks at, at most: the whole of the smaller one.
    pub(super) fn visit_both(&mut self, left: &Value, right: &Value) -> Result<(), Stop> {
        let most = VISITS_MAX.saturating_sub(self.visits) + 1;
        // Neither is counted far beyond the other: a filter compares a large value with each of many small ones.
        let mut limit = 16;
        while limit < most {
            let least = size(left, limit).min(size(right, limit));
            if least < limit {
                return self.visit(least);
            }
            limit *= 2;
        }
        self.visit(size(left, most).min(size(right, most)))
    }

    /// Count a text that is looked through.
    pub(super) fn visit_text(&mut self, text: &str) -> Result<(), Stop> {
        // A pattern takes several times as long as a comparison.
        self.visit(text.len() / (BYTES_OF_VISIT / 8))
    }

    fn one(&mut self, start: &'v Value, steps: &[Step]) -> Result<Cow<'v, Value>, Stop> {
        let mut at = start;
        for (position, step) in steps.iter().enumerate() {
            self.visit(1)?;
            let next = match step {
                Step::Name(name) => at.as_object().map(|fields| fields.get(name)),
                Step::Index(index) => at.as_array().map(|items| item(items, *index)),
                Step::Names(names) => {
                    self.visit(names.len())?;
                    let object = object_of(at, names).ok_or_else(|| miss(at, steps, position))?;
                    self.count_copy(&object)?;
                    return Ok(Cow::Owned(object));
                }
                _ => None,
            };
            at = next.flatten().ok_or_else(|| miss(at, steps, position))?;
        }
        Ok(Cow::Borrowed(at))
    }

    fn many(&mut self, start: &'v Value, steps: &[Step]) -> Result<Vec<Cow<'v, Value>>, Stop> {
        let mut found: Vec<&'v Value> = vec![start];
        for (position, step) in steps.iter().enumerate() {
            let is_last = position + 1 == steps.len();
            if let (Step::Names(names), true) = (step, is_last) {
                return self.objects_of(&found, names);
            }
            let is_descended = position > 0 && matches!(steps[position - 1], Step::Descend);
            let mut next = Vec::new();
            for value in found {
                let before = next.len();
                self.step(value, step, is_descended, &mut next)?;
                self.visit(1 + next.len() - before)?;
            }
            found = next;
        }
        Ok(found.into_iter().map(Cow::Borrowed).collect())
    }

    fn objects_of(&mut self, found: &[&'v Value], names: &[String]) -> Result<Vec<Cow<'v, Value>>, Stop> {
        let mut objects = Vec::new();
        for value in found {
            self.visit(names.len())?;
            if let Some(object) = object_of(value, names) {
                self.count_copy(&object)?;
                objects.push(Cow::Owned(object));
            }
        }
        Ok(objects)
    }

    fn step(&mut self, at: &'v Value, step: &Step, is_descended: bool, found: &mut Vec<&'v Value>) -> Result<(), Stop> {
        match (step, at) {
            (Step::Name(name), Value::Object(fields)) => found.extend(fields.get(name)),
            (Step::Names(names), Value::Object(fields)) => {
                found.extend(names.iter().filter_map(|name| fields.get(name)));
            }
            (Step::Index(index), Value::Array(items)) => found.extend(item(items, *index)),
            (Step::Indices(indices), Value::Array(items)) => {
                found.extend(indices.iter().filter_map(|index| item(items, *index)));
            }
            (Step::Slice(from, to), Value::Array(items)) => found.extend(slice(items, *from, *to)),
            (Step::Wildcard, Value::Array(items)) => found.extend(items),
            (Step::Wildcard, Value::Object(fields)) => found.extend(fields.values()),
            (Step::Filter(test), Value::Array(items)) => {
                for item in items {
                    self.visit(1)?;
                    // After `..` the object is tested when its turn comes.
                    if is_descended && item.is_object() {
                        continue;
                    }
                    if test.accepts(item, self)? {
                        found.push(item);
                    }
                }
            }
            (Step::Filter(test), Value::Object(_)) => found.extend(test.accepts(at, self)?.then_some(at)),
            (Step::Descend, _) => return self.descend(at, found),
            _ => {}
        }
        Ok(())
    }

    /// The value, then all inside it, each before what it holds.
    fn descend(&mut self, at: &'v Value, found: &mut Vec<&'v Value>) -> Result<(), Stop> {
        let mut open = vec![at];
        while let Some(value) = open.pop() {
            self.visit(1)?;
            match value {
                Value::Array(items) => open.extend(items.iter().rev()),
                Value::Object(fields) => open.extend(fields.values().rev()),
                _ => continue,
            }
            found.push(value);
        }
        Ok(())
    }
}

/// The visits that looking at all of a value takes, counted up to `most`.
fn size(value: &Value, most: usize) -> usize {
    let mut visits = 1;
    let mut inside = |part: &Value| {
        visits += size(part, most - visits);
        visits < most
    };
    if most == 0 {
        return 0;
    }
    match value {
        Value::Array(items) => {
            items.iter().all(&mut inside);
        }
        Value::Object(fields) => {
            fields.values().all(&mut inside);
        }
        Value::String(text) => visits += text.len() / BYTES_OF_VISIT,
        _ => {}
    }
    visits.min(most)
}

fn item(items: &[Value], index: i64) -> Option<&Value> {
    let at = if index < 0 { index + items.len() as i64 } else { index };
    usize::try_from(at).ok().and_then(|at| items.get(at))
}

fn slice(items: &[Value], from: Option<i64>, to: Option<i64>) -> &[Value] {
    let length = items.len() as i64;
    let place = |index: i64| if index < 0 { index.saturating_add(length).max(0) } else { index.min(length) };
    let (from, to) = (place(from.unwrap_or(0)), place(to.unwrap_or(length)));
    items.get(from as usize..to as usize).unwrap_or_default()
}

/// The named fields as an object of their own; `None` if the value is not an object.
fn object_of(value: &Value, names: &[String]) -> Option<Value> {
    let fields = value.as_object()?;
    let picked: Map<String, Value> =
        names.iter().filter_map(|name| Some((name.clone(), fields.get(name)?.clone()))).collect();
    Some(Value::Object(picked))
}

/// Jayway's words for a definite path that leads nowhere at `position`, where `at` is what it had found by then.
fn miss(at: &Value, steps: &[Step], position: usize) -> Stop {
    let so_far = written(&steps[..position]);
    let is_last = position + 1 == steps.len();
    Stop::Missing(match (&steps[position], at) {
        (Step::Name(_) | Step::Names(_), Value::Object(_)) if !is_last => {
            format!("Missing property in path {}", written(&steps[..=position]))
        }
        (Step::Name(_) | Step::Names(_), Value::Object(_)) | (Step::Index(_), Value::Array(_)) => {
            format!("No results for path: {}", written(steps))
        }
        (Step::Index(_), Value::Null) => format!("The path {so_far} is null"),
        (Step::Index(index), _) => {
            format!("Filter: [{index}] can only be applied to arrays. Current context is: {at}")
        }
        (step, _) => format!(
            "Expected to find an object with property {} in path {so_far} but found {}",
            written(std::slice::from_ref(step)).trim_start_matches('$'),
            kind(at)
        ),
    })
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// Steps as Jayway writes them: `$['order']['items'][0]`. Only a definite path tells where it ended.
fn written(steps: &[Step]) -> String {
    let write = |step: &Step| match step {
        Step::Name(name) => format!("['{name}']"),
        Step::Names(names) => format!("['{}']", names.join("','")),
        Step::Index(index) => format!("[{index}]"),
        _ => "[*]".to_owned(),
    };
    std::iter::once("$".to_owned()).chain(steps.iter().map(write)).collect()
}
