//! The methods of lists, maps, entries, numbers and booleans. What is not listed here or in `text.rs` is not a method.

use std::rc::Rc;

use super::budget::Stop;
use super::input;
use super::numbers;
use super::render::Render;
use super::value::Value;

impl<'a> Render<'a> {
    /// Call a method. A method of null is null.
    pub(super) fn method(&mut self, value: &Value<'a>, name: &str, given: &[Value<'a>]) -> Result<Value<'a>, Stop> {
        self.budget.spend(1)?;
        let found = match value {
            Value::Null => Some(Value::Null),
            Value::Text(text) => self.method_of_text(text, name, given)?,
            Value::List(id) => self.method_of_list(*id, name, given)?,
            Value::Map(id) => self.method_of_map(*id, name, given)?,
            Value::Entry(entry) => match (name, given) {
                ("getKey", []) => Some(Value::Text(Rc::clone(&entry.0))),
                ("getValue", []) => Some(entry.1.clone()),
                _ => self.method_of_any(value, name, given)?,
            },
            Value::Whole(_) | Value::Float(_) | Value::Flag(_) => self.method_of_number(value, name, given)?,
            Value::Input => input::method_of_input(self, name, given)?,
            Value::Util => input::method_of_util(self, name, given)?,
            Value::Block(_) => None,
        };
        found.ok_or_else(|| {
            let count = given.len();
            let plural = if count == 1 { "" } else { "s" };
            Stop::Failed(format!("{} has no method {name} with {count} argument{plural}", value.kind()))
        })
    }

    fn method_of_any(&mut self, value: &Value<'a>, name: &str, given: &[Value<'a>]) -> Result<Option<Value<'a>>, Stop> {
        Ok(match (name, given) {
            ("toString", []) => Some(Value::Text(self.text(value)?)),
            ("equals", [other]) => Some(Value::Flag(self.heap.equal(value, other, &mut self.budget)?)),
            _ => None,
        })
    }

    fn place_in(&mut self, id: usize, wanted: &Value<'a>, last: bool) -> Result<Option<usize>, Stop> {
        let items = &self.heap.list(id).items;
        let mut found = None;
        for (at, item) in items.iter().enumerate() {
            if self.heap.equal(item, wanted, &mut self.budget)? {
                found = Some(at);
                if !last {
                    break;
                }
            }
        }
        Ok(found)
    }

    fn method_of_list(&mut self, id: usize, name: &str, given: &[Value<'a>]) -> Result<Option<Value<'a>>, Stop> {
        let length = self.heap.list(id).items.len();
        let index = |key: &Value<'_>, most: usize| {
            let index = numbers::whole(key).and_then(|index| usize::try_from(index).ok());
            index
                .filter(|index| *index < most)
                .ok_or_else(|| Stop::Failed(format!("Index out of range: Size: {length}")))
        };
        Ok(Some(match (name, given) {
            ("size" | "length", []) => Value::Whole(length as i64),
            ("isEmpty", []) => Value::Flag(length == 0),
            ("get", [at]) => self.heap.list(id).items[index(at, length)?].clone(),
            ("add", [item]) => {
                self.heap.list_mut(id).push(item.clone());
                Value::Flag(true)
            }
            ("add", [at, item]) => {
                self.budget.spend(length / 16)?;
                let at = index(at, length + 1)?;
                self.heap.list_mut(id).insert(at, item.clone());
                Value::Null
            }
            ("addAll", [Value::List(other)]) => {
                let more = self.heap.list(*other).items.clone();
                self.budget.spend(more.len())?;
                self.heap.list_mut(id).extend(more);
                Value::Flag(true)
            }
            ("set", [at, item]) => {
                let at = index(at, length)?;
                std::mem::replace(&mut self.heap.list_mut(id)[at], item.clone())
            }
            ("remove", [at]) => {
                self.budget.spend(length / 16)?;
                let at = index(at, length)?;
                self.heap.list_mut(id).remove(at)
            }
            ("clear", []) => {
                self.heap.list_mut(id).clear();
                Value::Null
            }
            ("contains", [item]) => Value::Flag(self.place_in(id, item, false)?.is_some()),
            ("indexOf" | "lastIndexOf", [item]) => {
                let place = self.place_in(id, item, name == "lastIndexOf")?;
                Value::Whole(place.map_or(-1, |at| at as i64))
            }
            ("subList", [from, to]) => {
                let (from, to) = (index(from, length + 1)?, index(to, length + 1)?);
                if from > to {
                    return Err(Stop::Failed(format!("subList goes from {from} to {to}")));
                }
                self.budget.spend(to - from)?;
                let items = self.heap.list(id).items[from..to].to_vec();
                self.heap.new_list(items, false)
            }
            _ => return self.method_of_any(&Value::List(id), name, given),
        }))
    }

    fn method_of_map(&mut self, id: usize, name: &str, given: &[Value<'a>]) -> Result<Option<Value<'a>>, Stop> {
        let count = self.heap.map(id).len();
        // Those that go over all fields.
        if matches!(name, "keySet" | "values" | "entrySet" | "putAll" | "remove") {
            self.budget.spend(count)?;
        }
        let key = match given.first() {
            Some(key) if matches!(name, "get" | "getOrDefault" | "put" | "putIfAbsent" | "containsKey" | "remove") => {
                self.text(key)?
            }
            _ => Rc::from(""),
        };
        Ok(Some(match (name, given) {
            ("size", []) => Value::Whole(count as i64),
            ("isEmpty", []) => Value::Flag(count == 0),
            ("get", [_]) => self.heap.map(id).get(&key).cloned().unwrap_or(Value::Null),
            ("getOrDefault", [_, other]) => self.heap.map(id).get(&key).unwrap_or(other).clone(),
            ("put", [_, value]) => self.heap.map_mut(id).insert(key, value.clone()).unwrap_or(Value::Null),
            ("putIfAbsent", [_, value]) => match self.heap.map(id).get(&key) {
                Some(known) => known.clone(),
                None => {
                    self.heap.map_mut(id).insert(key, value.clone());
                    Value::Null
                }
            },
            ("putAll", [Value::Map(other)]) => {
                let more = self.heap.map(*other).clone();
                self.budget.spend(more.len())?;
                self.heap.map_mut(id).extend(more);
                Value::Null
            }
            ("remove", [_]) => self.heap.map_mut(id).shift_remove(&key).unwrap_or(Value::Null),
            ("clear", []) => {
                self.heap.map_mut(id).clear();
                Value::Null
            }
            ("containsKey", [_]) => Value::Flag(self.heap.map(id).contains_key(&key)),
            ("containsValue", [value]) => {
                let mut is_there = false;
                for known in self.heap.map(id).values() {
                    is_there |= self.heap.equal(known, value, &mut self.budget)?;
                }
                Value::Flag(is_there)
            }
            ("keySet", []) => {
                let keys = self.heap.map(id).keys().map(|key| Value::Text(Rc::clone(key))).collect();
                self.heap.new_list(keys, false)
            }
            ("values", []) => {
                let values = self.heap.map(id).values().cloned().collect();
                self.heap.new_list(values, false)
            }
            ("entrySet", []) => {
                let fields = self.heap.map(id).iter();
                let entries = fields.map(|(key, value)| Value::Entry(Rc::new((Rc::clone(key), value.clone()))));
                let entries = entries.collect();
                self.heap.new_list(entries, false)
            }
            _ => return self.method_of_any(&Value::Map(id), name, given),
        }))
    }

    /// Numbers and booleans. `#set($Integer = 0)` and `$Integer.parseInt("12")` is how templates read numbers.
    fn method_of_number(
        &mut self,
        value: &Value<'a>,
        name: &str,
        given: &[Value<'a>],
    ) -> Result<Option<Value<'a>>, Stop> {
        if let [source @ Value::Text(text)] = given {
            match name {
                "parseInt" | "parseLong" | "parseDouble" | "parseFloat" | "parseBoolean" => {
                    let text = Rc::clone(text);
                    return self.method_of_text(&text, name, std::slice::from_ref(source));
                }
                "valueOf" => {
                    let method = if matches!(value, Value::Float(_)) { "parseDouble" } else { "parseInt" };
                    let text = Rc::clone(text);
                    return self.method_of_text(&text, method, std::slice::from_ref(source));
                }
                _ => {}
            }
        }
        Ok(Some(match (name, value, given) {
            ("intValue" | "longValue", Value::Whole(number), []) => Value::Whole(*number),
            ("intValue" | "longValue", Value::Float(number), []) => Value::Whole(*number as i64),
            ("doubleValue" | "floatValue", _, []) => value.number().map_or(Value::Null, Value::Float),
            ("booleanValue", Value::Flag(flag), []) => Value::Flag(*flag),
            ("compareTo", _, [other]) => {
                let order = value.number().zip(other.number()).and_then(|(left, right)| left.partial_cmp(&right));
                let order = order.ok_or_else(|| Stop::Failed("compareTo compares numbers".into()))?;
                Value::Whole(order as i64)
            }
            ("max" | "min", _, [left, right]) => match (left.number(), right.number()) {
                (Some(of), Some(to)) if (of >= to) == (name == "max") => left.clone(),
                (Some(_), Some(_)) => right.clone(),
                _ => return Ok(None),
            },
            ("toString" | "valueOf", _, [other]) => Value::Text(self.text(other)?),
            _ => return self.method_of_any(value, name, given),
        }))
    }
}
