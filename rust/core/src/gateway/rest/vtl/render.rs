//! Renders a template.

use std::collections::HashMap;
use std::rc::Rc;

use indexmap::IndexMap;

use super::budget::{Budget, Stop};
use super::input::Document;
use super::numbers;
use super::patterns::Patterns;
use super::syntax::{Expr, Macro, Node, Operator, Reference, Step};
use super::value::{Heap, Value};
use super::{Globals, Template, OUTPUT_BYTES_MAX, ROUNDS_MAX};

/// Blocks, macros and expressions inside each other.
const DEPTH_MAX: usize = 100;
/// Parts of the context that live on after a template.
const OVERRIDES: [&str; 2] = ["requestOverride", "responseOverride"];

/// How a block ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    Next,
    Break,
    Stop,
}

pub(super) struct Render<'a> {
    template: &'a Template,
    pub(super) document: Document<'a>,
    pub(super) heap: Heap<'a>,
    pub(super) budget: Budget,
    pub(super) patterns: Patterns,
    names: HashMap<String, Value<'a>>,
    out: String,
    depth: usize,
    /// Where the reference stands that is looked at.
    at: usize,
}

/// Render a template; the error comes with its place.
pub(super) fn render<'a>(
    template: &'a Template,
    globals: Globals<'a>,
    budget: Budget,
) -> Result<String, (Stop, usize)> {
    let mut render = Render {
        template,
        document: Document::new(globals.input),
        heap: Heap::default(),
        budget,
        patterns: Patterns::default(),
        names: HashMap::new(),
        out: String::new(),
        depth: 0,
        at: 0,
    };
    let found = render.run(globals.context, globals.stage_variables);
    found.map(|()| std::mem::take(&mut render.out)).map_err(|stop| (stop, render.at))
}

impl<'a> Render<'a> {
    fn run(
        &mut self,
        context: &mut serde_json::Map<String, serde_json::Value>,
        stage_variables: &[(String, String)],
    ) -> Result<(), Stop> {
        let mut fields = IndexMap::new();
        for (name, value) in context.iter() {
            fields.insert(Rc::from(name.as_str()), self.heap.read(value, &mut self.budget)?);
        }
        let context_id = self.heap.new_map(fields);
        let variables = stage_variables.iter().map(|(name, value)| (Rc::from(name.as_str()), Value::text(value)));
        let variables = self.heap.new_map(variables.collect());
        self.names.insert("context".into(), context_id.clone());
        self.names.insert("stageVariables".into(), variables);
        self.names.insert("input".into(), Value::Input);
        self.names.insert("util".into(), Value::Util);
        self.block(&self.template.nodes)?;
        let Value::Map(id) = context_id else { return Ok(()) };
        for name in OVERRIDES {
            if let Some(value) = self.heap.map(id).get(name).cloned() {
                let json = self.heap.json(&value, &mut self.budget)?;
                context.insert(name.into(), json);
            }
        }
        Ok(())
    }

    fn deeper(&mut self) -> Result<(), Stop> {
        self.budget.spend(1)?;
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(Stop::Failed(format!("it nests deeper than {DEPTH_MAX} levels")));
        }
        Ok(())
    }

    fn write(&mut self, text: &str) -> Result<(), Stop> {
        self.budget.spend_bytes(text.len())?;
        if self.out.len() + text.len() > OUTPUT_BYTES_MAX {
            return Err(Stop::Failed(format!("the template renders to more than {OUTPUT_BYTES_MAX} bytes")));
        }
        self.out.push_str(text);
        Ok(())
    }

    fn block(&mut self, nodes: &'a [Node]) -> Result<Flow, Stop> {
        self.deeper()?;
        for node in nodes {
            let flow = self.node(node)?;
            if flow != Flow::Next {
                self.depth -= 1;
                return Ok(flow);
            }
        }
        self.depth -= 1;
        Ok(Flow::Next)
    }

    fn node(&mut self, node: &'a Node) -> Result<Flow, Stop> {
        self.budget.spend(1)?;
        match node {
            Node::Text(text) => self.write(text)?,
            Node::Reference(reference) => {
                let value = self.reference(reference)?;
                self.print(&value)?;
            }
            Node::Set(target, value) => {
                let value = self.value(value)?;
                self.set(target, value)?;
            }
            Node::If(branches, otherwise) => {
                for (condition, body) in branches {
                    if self.value(condition)?.holds() {
                        return self.block(body);
                    }
                }
                return self.block(otherwise);
            }
            Node::Foreach { name, over, body } => return self.foreach(name, over, body),
            Node::Break => return Ok(Flow::Break),
            Node::Stop => return Ok(Flow::Stop),
            Node::Define(name, body) => {
                self.names.insert(name.clone(), Value::Block(body));
            }
            Node::Call { name, arguments, text } => match self.template.macros.get(name) {
                Some(definition) => return self.call(definition, arguments),
                None => self.write(text)?,
            },
        }
        Ok(Flow::Next)
    }

    /// What `$value` renders to: nothing, where it is null.
    fn print(&mut self, value: &Value<'a>) -> Result<(), Stop> {
        match value {
            Value::Null => Ok(()),
            Value::Text(text) => self.write(text),
            _ => {
                let text = self.text(value)?;
                self.write(&text)
            }
        }
    }

    /// A value's text; that of a block is what it renders to.
    pub(super) fn text(&mut self, value: &Value<'a>) -> Result<Rc<str>, Stop> {
        match value {
            Value::Block(nodes) => self.rendered(nodes),
            _ => self.heap.text(value, &mut self.budget),
        }
    }

    fn rendered(&mut self, nodes: &'a [Node]) -> Result<Rc<str>, Stop> {
        let outer = std::mem::take(&mut self.out);
        let flow = self.block(nodes);
        let text = std::mem::replace(&mut self.out, outer);
        flow?;
        Ok(text.into())
    }

    fn foreach(&mut self, name: &str, over: &'a Expr, body: &'a [Node]) -> Result<Flow, Stop> {
        let items: Vec<Value<'a>> = match self.value(over)? {
            Value::List(id) => self.heap.list(id).items.clone(),
            Value::Map(id) => self.heap.map(id).values().cloned().collect(),
            _ => Vec::new(),
        };
        self.budget.spend(items.len())?;
        if items.len() > ROUNDS_MAX {
            let reason = format!("#foreach goes over {} items: at most {ROUNDS_MAX} are allowed", items.len());
            return Err(Stop::Failed(reason));
        }
        let outer: Vec<_> = [name, "foreach", "velocityCount", "velocityHasNext"]
            .into_iter()
            .map(|name| (name, self.names.get(name).cloned()))
            .collect();
        let count = items.len();
        let parent = self.names.get("foreach").cloned().unwrap_or(Value::Null);
        let mut end = Flow::Next;
        for (index, item) in items.into_iter().enumerate() {
            let number = index as i64 + 1;
            let has_next = Value::Flag(index + 1 < count);
            let fields = [
                ("index", Value::Whole(number - 1)),
                ("count", Value::Whole(number)),
                ("hasNext", has_next.clone()),
                ("first", Value::Flag(index == 0)),
                ("last", Value::Flag(index + 1 == count)),
                ("parent", parent.clone()),
            ];
            let fields = fields.into_iter().map(|(name, value)| (Rc::from(name), value)).collect();
            let state = self.heap.new_map(fields);
            self.names.insert("foreach".into(), state);
            self.names.insert("velocityCount".into(), Value::Whole(number));
            self.names.insert("velocityHasNext".into(), has_next);
            self.names.insert(name.to_owned(), item);
            match self.block(body)? {
                Flow::Next => {}
                Flow::Break => break,
                Flow::Stop => {
                    end = Flow::Stop;
                    break;
                }
            }
        }
        self.give_back(outer);
        Ok(end)
    }

    fn give_back<'n>(&mut self, outer: impl IntoIterator<Item = (&'n str, Option<Value<'a>>)>) {
        for (name, value) in outer {
            match value {
                Some(value) => self.names.insert(name.to_owned(), value),
                None => self.names.remove(name),
            };
        }
    }

    fn call(&mut self, definition: &'a Macro, arguments: &'a [Expr]) -> Result<Flow, Stop> {
        let mut values = Vec::with_capacity(arguments.len());
        for argument in arguments {
            values.push(self.value(argument)?);
        }
        values.resize(definition.parameters.len(), Value::Null);
        let mut outer = Vec::with_capacity(values.len());
        for (name, value) in definition.parameters.iter().zip(values) {
            outer.push((name.as_str(), self.names.insert(name.clone(), value)));
        }
        let flow = self.block(&definition.body)?;
        self.give_back(outer);
        Ok(if flow == Flow::Stop { Flow::Stop } else { Flow::Next })
    }

    fn set(&mut self, target: &'a Reference, value: Value<'a>) -> Result<(), Stop> {
        self.at = target.at;
        let Some((last, before)) = target.steps.split_last() else {
            self.names.insert(target.name.clone(), value);
            return Ok(());
        };
        let mut into = self.names.get(&target.name).cloned().unwrap_or(Value::Null);
        for step in before {
            into = self.step(&into, step)?;
        }
        let key = match last {
            Step::Field(name) => Value::text(name),
            Step::Index(index) => self.value(index)?,
            // The parser refuses it.
            Step::Method(..) => return Ok(()),
        };
        match into {
            Value::Map(id) => {
                let key = self.text(&key)?;
                self.heap.map_mut(id).insert(key, value);
            }
            Value::List(id) => {
                let length = self.heap.list(id).items.len();
                let index = numbers::index(&key, length).filter(|index| *index < length);
                let index =
                    index.ok_or_else(|| Stop::Failed(format!("the list has no such place: it has {length}")))?;
                self.heap.list_mut(id)[index] = value;
            }
            // What is not there takes nothing, as in Velocity.
            Value::Null => {}
            other => return Err(Stop::Failed(format!("#set cannot set a part of {}", other.kind()))),
        }
        Ok(())
    }

    fn reference(&mut self, reference: &'a Reference) -> Result<Value<'a>, Stop> {
        self.at = reference.at;
        let mut value = self.names.get(&reference.name).cloned().unwrap_or(Value::Null);
        for step in &reference.steps {
            value = self.step(&value, step)?;
            self.at = reference.at;
        }
        Ok(value)
    }

    fn step(&mut self, value: &Value<'a>, step: &'a Step) -> Result<Value<'a>, Stop> {
        self.budget.spend(1)?;
        match step {
            Step::Field(name) => Ok(self.field(value, name)),
            Step::Index(index) => {
                let index = self.value(index)?;
                Ok(match value {
                    Value::List(id) => {
                        let items = &self.heap.list(*id).items;
                        numbers::index(&index, items.len()).and_then(|at| items.get(at)).cloned().unwrap_or(Value::Null)
                    }
                    Value::Map(id) => {
                        let key = self.text(&index)?;
                        self.heap.map(*id).get(&key).cloned().unwrap_or(Value::Null)
                    }
                    _ => Value::Null,
                })
            }
            Step::Method(name, arguments) => {
                let mut values = Vec::with_capacity(arguments.len());
                for argument in arguments {
                    values.push(self.value(argument)?);
                }
                self.method(value, name, &values)
            }
        }
    }

    fn field(&self, value: &Value<'a>, name: &str) -> Value<'a> {
        match (value, name) {
            (Value::Map(id), _) => self.heap.map(*id).get(name).cloned().unwrap_or(Value::Null),
            (Value::Entry(entry), "key") => Value::Text(Rc::clone(&entry.0)),
            (Value::Entry(entry), "value") => entry.1.clone(),
            (Value::List(id), "empty") => Value::Flag(self.heap.list(*id).items.is_empty()),
            (Value::List(id), "length") => Value::Whole(self.heap.list(*id).items.len() as i64),
            (Value::Text(text), "empty") => Value::Flag(text.is_empty()),
            (Value::Input, "body") => Value::text(self.document.body()),
            _ => Value::Null,
        }
    }

    fn value(&mut self, expr: &'a Expr) -> Result<Value<'a>, Stop> {
        self.deeper()?;
        let value = self.value_within(expr)?;
        self.depth -= 1;
        Ok(value)
    }

    fn value_within(&mut self, expr: &'a Expr) -> Result<Value<'a>, Stop> {
        Ok(match expr {
            Expr::Whole(number) => Value::Whole(*number),
            Expr::Float(number) => Value::Float(*number),
            Expr::Flag(flag) => Value::Flag(*flag),
            Expr::Text(text) => {
                self.budget.spend_bytes(text.len())?;
                Value::text(text)
            }
            Expr::Rendered(nodes) => Value::Text(self.rendered(nodes)?),
            Expr::Reference(reference) => self.reference(reference)?,
            Expr::List(items) => {
                let items = items.iter().map(|item| self.value(item)).collect::<Result<_, _>>()?;
                self.heap.new_list(items, false)
            }
            Expr::Range(first, last) => {
                let (first, last) = (self.value(first)?, self.value(last)?);
                self.range(&first, &last)?
            }
            Expr::Map(pairs) => {
                let mut fields = IndexMap::with_capacity(pairs.len());
                for (key, value) in pairs {
                    let key = self.value(key)?;
                    fields.insert(self.text(&key)?, self.value(value)?);
                }
                self.heap.new_map(fields)
            }
            Expr::Not(inner) => Value::Flag(!self.value(inner)?.holds()),
            Expr::Minus(inner) => numbers::negated(&self.value(inner)?),
            Expr::Binary(operator, left, right) => return self.binary(*operator, left, right),
        })
    }

    fn range(&mut self, first: &Value, last: &Value) -> Result<Value<'a>, Stop> {
        let (Value::Whole(first), Value::Whole(last)) = (first, last) else { return Ok(Value::Null) };
        let count = last.abs_diff(*first).saturating_add(1);
        if count > 10 * ROUNDS_MAX as u64 {
            return Err(Stop::Failed(format!(
                "the range has {count} numbers: at most {} are allowed",
                10 * ROUNDS_MAX
            )));
        }
        self.budget.spend(count as usize)?;
        let step = if last >= first { 1 } else { -1 };
        let items = (0..count as i64).map(|at| Value::Whole(first + step * at)).collect();
        Ok(self.heap.new_list(items, false))
    }

    fn binary(&mut self, operator: Operator, left: &'a Expr, right: &'a Expr) -> Result<Value<'a>, Stop> {
        let left = self.value(left)?;
        match operator {
            Operator::Or if left.holds() => return Ok(Value::Flag(true)),
            Operator::And if !left.holds() => return Ok(Value::Flag(false)),
            _ => {}
        }
        let right = self.value(right)?;
        let flag = match operator {
            Operator::Or | Operator::And => right.holds(),
            Operator::Equal => self.heap.equal(&left, &right, &mut self.budget)?,
            Operator::Unequal => !self.heap.equal(&left, &right, &mut self.budget)?,
            Operator::Add if matches!(left, Value::Text(_)) || matches!(right, Value::Text(_)) => {
                let (left, right) = (self.text(&left)?, self.text(&right)?);
                self.budget.spend_bytes(left.len() + right.len())?;
                return Ok(Value::Text(format!("{left}{right}").into()));
            }
            _ => return Ok(numbers::binary(operator, &left, &right)),
        };
        Ok(Value::Flag(flag))
    }
}
