//! Putting guards into a program's tree.
//!
//! jsonata-core counts time, depth and the items of a sequence, but no bytes: a few texts or lists make gigabytes. Functions that make much of
//! little have a *guarded form*, which gets the context as its last argument and looks at sizes first. Of other functions that make lists and
//! texts the results are *charged*. A program may bind any name itself, and may take a function as a value (`$p := $pad`): which function a
//! name means is asked where the program runs.

use std::collections::BTreeSet;

use jsonata_core::ast::{AstNode, BinaryOp, PathStep, Stage};
use jsonata_core::value::with_stack;

use super::survey::Facts;

/// A function whose calls are looked at.
#[derive(Clone, Copy)]
struct Watched {
    name: &'static str,
    /// The name of its guarded form, which no program can write; `None`: its results are charged only.
    guarded: Option<&'static str>,
    /// What its result is charged for each item or field of a list or an object, in bytes; a text is charged by its length.
    each: Option<usize>,
    /// How many arguments it gets as a callback.
    arity: usize,
    /// The signature, where the context may stand in for the first argument.
    signature: Option<&'static str>,
}

const fn guarded(name: &'static str, form: &'static str, arity: usize, signature: Option<&'static str>) -> Watched {
    Watched { name, guarded: Some(form), each: None, arity, signature }
}

const fn charged(name: &'static str, each: usize, arity: usize, signature: Option<&'static str>) -> Watched {
    Watched { name, guarded: None, each: Some(each), arity, signature }
}

const fn both(watched: Watched, each: usize) -> Watched {
    Watched { each: Some(each), ..watched }
}

/// A list's item that is a value of its own takes more than one that is shared.
const WATCHED: &[Watched] = &[
    both(guarded("distinct", "distinct (guarded)", 1, None), 16),
    guarded("formatInteger", "formatInteger (guarded)", 2, Some("<n-s:s>")),
    guarded("join", "join (guarded)", 2, None),
    both(guarded("match", "match (guarded)", 3, Some("<s-f<s:o>n?:a<o>>")), 512),
    guarded("pad", "pad (guarded)", 3, Some("<s-ns?:s>")),
    guarded("parseInteger", "parseInteger (guarded)", 2, Some("<s-s:n>")),
    guarded("replace", "replace (guarded)", 4, Some("<s-(sf)(sf)n?:s>")),
    both(guarded("split", "split (guarded)", 3, Some("<s-(sf)n?:a<s>>")), 64),
    guarded("string", "string (guarded)", 1, Some("<x-b?:s>")),
    charged("append", 16, 2, None),
    charged("base64decode", 0, 1, Some("<s-:s>")),
    charged("base64encode", 0, 1, Some("<s-:s>")),
    charged("decodeUrl", 0, 1, Some("<s-:s>")),
    charged("decodeUrlComponent", 0, 1, Some("<s-:s>")),
    charged("encodeUrl", 0, 1, Some("<s-:s>")),
    charged("encodeUrlComponent", 0, 1, Some("<s-:s>")),
    charged("keys", 64, 1, Some("<x-:a<s>>")),
    charged("lookup", 16, 2, Some("<x-s:x>")),
    charged("lowercase", 0, 1, Some("<s-:s>")),
    charged("merge", 128, 1, None),
    charged("parse", 0, 1, None),
    charged("partition", 64, 2, None),
    charged("range", 16, 3, None),
    charged("reverse", 16, 1, None),
    charged("shuffle", 16, 1, None),
    charged("sort", 16, 2, None),
    charged("spread", 256, 1, Some("<x-:a<o>>")),
    charged("substring", 0, 3, Some("<s-nn?:s>")),
    charged("substringAfter", 0, 2, Some("<s-s:s>")),
    charged("substringBefore", 0, 2, Some("<s-s:s>")),
    charged("trim", 0, 1, Some("<s-:s>")),
    charged("uppercase", 0, 1, Some("<s-:s>")),
    charged("zip", 64, 0, None),
];

pub(super) const CONCATENATE: &str = "& (guarded)";
/// Counts the items of each value that a step of a path gives: `$a.($b)` has as many as both lists multiplied.
pub(super) const STEP: &str = "step (guarded)";
/// Charges for its first argument, and gives it. The second is what each item takes, the third what is charged besides.
pub(super) const CHARGE: &str = "charge (guarded)";
/// Whether its argument is a function of the language.
pub(super) const IS_BUILTIN: &str = "is builtin (guarded)";

/// Brings a number that is too large for a place in a text nearer to 0: jsonata-core adds two of them.
pub(super) const NEARER: &str = "nearer (guarded)";

/// Literals from which on making them counts: a function may make them again and again.
const LONG_TEXT: usize = 256;
const MANY_FIELDS: usize = 16;
/// What an item of a list and a field of an object take.
const ITEM_BYTES: usize = 16;
const FIELD_BYTES: usize = 64;

fn watched(name: &str) -> Option<&'static Watched> {
    WATCHED.iter().find(|watched| watched.name == name)
}

fn call(name: &str, args: Vec<AstNode>) -> AstNode {
    AstNode::Function { name: name.to_owned(), args, is_builtin: true }
}

fn context() -> AstNode {
    AstNode::Variable(String::new())
}

/// Put the guards in. The guarded functions that it takes are added to what is known of the program.
pub(super) fn guard(ast: &mut AstNode, facts: &mut Facts) {
    let mut guard = Guard { bound: &facts.bound, used: BTreeSet::new() };
    guard.node(ast);
    facts.guarded.extend(guard.used);
}

struct Guard<'f> {
    /// Names that the program binds itself, anywhere: what they mean in a place is known when it runs.
    bound: &'f BTreeSet<String>,
    used: BTreeSet<&'static str>,
}

/// What becomes of a chain.
enum Chained {
    Plain,
    /// Its value is charged so much for each item.
    Charged(usize),
    /// It is a call of a function that is known when the program runs, with these arguments behind the first.
    Called(AstNode, Vec<AstNode>),
}

impl Guard<'_> {
    fn node(&mut self, ast: &mut AstNode) {
        with_stack(|| self.visit(ast));
    }

    fn visit(&mut self, ast: &mut AstNode) {
        if let AstNode::Binary { op: BinaryOp::ChainPipe, lhs, rhs } = ast {
            self.node(lhs);
            match self.chained(rhs) {
                Chained::Plain => {}
                Chained::Charged(each) => self.charge(ast, each, 0),
                Chained::Called(procedure, mut args) => {
                    args.insert(0, std::mem::replace(lhs.as_mut(), AstNode::Null));
                    *ast = AstNode::Call { procedure: Box::new(procedure), args };
                }
            }
            return;
        }
        for child in children(ast) {
            self.node(child);
        }
        match ast {
            AstNode::Variable(name) => {
                if let Some(watched) = watched(name).filter(|watched| watched.arity > 0) {
                    *ast = self.value(watched);
                }
            }
            AstNode::String(text) if text.len() > LONG_TEXT => self.charge(ast, 0, 0),
            AstNode::Path { steps } => {
                for step in steps.iter_mut().skip(1) {
                    self.count_items(&mut step.node);
                }
            }
            AstNode::Function { name, .. } => {
                if let Some(watched) = watched(name) {
                    self.called(ast, watched);
                }
            }
            AstNode::Binary { op: BinaryOp::Concatenate, lhs, rhs } => {
                let operands = [lhs, rhs].map(|operand| std::mem::replace(operand.as_mut(), AstNode::Null));
                self.used.insert(CONCATENATE);
                *ast = call(CONCATENATE, operands.into());
            }
            AstNode::Binary { op: BinaryOp::Range, .. } => self.charge(ast, ITEM_BYTES, 0),
            AstNode::Array(items) => self.array(items),
            AstNode::Object(fields) if fields.len() > MANY_FIELDS => {
                let bytes = fields.len() * FIELD_BYTES;
                if let Some((_, value)) = fields.first_mut() {
                    self.charge(value, 0, bytes);
                }
            }
            _ => {}
        }
    }

    /// Lists among the items are copied into the new one.
    fn array(&mut self, items: &mut Vec<AstNode>) {
        for item in &mut *items {
            let copies = match item {
                AstNode::Path { steps } => {
                    !matches!(steps.first(), Some(first) if matches!(first.node, AstNode::Array(_)))
                }
                AstNode::Variable(_) | AstNode::Block(_) | AstNode::Conditional { .. } | AstNode::Call { .. } => true,
                AstNode::Function { name, .. } => name != CHARGE,
                _ => false,
            };
            if copies {
                self.charge(item, ITEM_BYTES, 0);
            }
        }
        if items.len() > MANY_FIELDS {
            // An item that is undefined is none.
            let mut charge = AstNode::Undefined;
            self.charge(&mut charge, 0, items.len() * ITEM_BYTES);
            items.push(charge);
        }
    }

    /// Have a node's value charged.
    fn charge(&mut self, node: &mut AstNode, each: usize, besides: usize) {
        let value = std::mem::replace(node, AstNode::Null);
        self.used.insert(CHARGE);
        *node = call(CHARGE, vec![value, AstNode::Number(each as f64), AstNode::Number(besides as f64)]);
    }

    /// A watched function's call by its name.
    fn called(&mut self, ast: &mut AstNode, watched: &'static Watched) {
        if let AstNode::Function { args, .. } = &mut *ast {
            // The first of three is the text.
            let text = usize::from(args.len() > 2);
            self.bring_nearer(watched, args, text);
        }
        if self.bound.contains(watched.name) && watched.arity > 0 {
            if let AstNode::Function { args, .. } = ast {
                let args = std::mem::take(args);
                // A partial application names its function.
                let procedure = Box::new(self.value(watched));
                *ast = AstNode::Call { procedure, args };
            }
            return;
        }
        self.direct(ast, watched);
        if let Some(each) = watched.each {
            self.charge(ast, each, 0);
        }
    }

    /// Keep the places of `$substring` to those that a text can have.
    fn bring_nearer(&mut self, watched: &Watched, args: &mut [AstNode], first: usize) {
        if watched.name != "substring" {
            return;
        }
        for argument in args.iter_mut().skip(first) {
            if !matches!(argument, AstNode::String(_) | AstNode::Placeholder) {
                self.used.insert(NEARER);
                *argument = call(NEARER, vec![std::mem::replace(argument, AstNode::Null)]);
            }
        }
    }

    /// Direct a call to the guarded form.
    fn direct(&mut self, ast: &mut AstNode, watched: &'static Watched) {
        if let (AstNode::Function { name, args, .. }, Some(form)) = (ast, watched.guarded) {
            form.clone_into(name);
            args.push(context());
            self.used.insert(form);
        }
    }

    /// What stands behind a `~>`. Its first argument comes from before it, so that nothing may be put around a call.
    fn chained(&mut self, rhs: &mut AstNode) -> Chained {
        let (name, is_partial) = match &*rhs {
            AstNode::Function { name, args, .. } => (name.as_str(), args.contains(&AstNode::Placeholder)),
            AstNode::Variable(name) => (name.as_str(), false),
            _ => ("", false),
        };
        let Some(watched) = watched(name).filter(|_| !is_partial) else {
            match rhs {
                AstNode::Function { args, .. } if !is_partial => {
                    for argument in args {
                        self.node(argument);
                    }
                }
                other => self.node(other),
            }
            return Chained::Plain;
        };
        let is_bound = self.bound.contains(watched.name) && watched.arity > 0;
        if let AstNode::Function { args, .. } = rhs {
            for argument in &mut *args {
                self.node(argument);
            }
            self.bring_nearer(watched, args, 0);
            if is_bound {
                let args = std::mem::take(args);
                return Chained::Called(self.value(watched), args);
            }
            self.direct(rhs, watched);
        } else if is_bound {
            *rhs = self.value(watched);
            return Chained::Plain;
        } else if watched.guarded.is_some() {
            // `list ~> $distinct` is a call, too.
            *rhs = call(watched.name, Vec::new());
            self.direct(rhs, watched);
        }
        watched.each.map_or(Chained::Plain, Chained::Charged)
    }

    /// A watched function as a value: what the name is bound to, or else a function that makes the guarded call.
    fn value(&mut self, watched: &'static Watched) -> AstNode {
        let params: Vec<String> = (0..watched.arity).map(|at| format!("argument{at}")).collect();
        let mut args: Vec<AstNode> = params.iter().map(|name| AstNode::Variable(name.clone())).collect();
        self.bring_nearer(watched, &mut args, 1);
        let mut body = call(watched.name, args);
        self.direct(&mut body, watched);
        if let Some(each) = watched.each {
            self.charge(&mut body, each, 0);
        }
        let signature = watched.signature.map(str::to_owned);
        let lambda = AstNode::Lambda { params, body: Box::new(body), signature, thunk: false };
        let named = || AstNode::Variable(watched.name.to_owned());
        self.used.insert(IS_BUILTIN);
        AstNode::Conditional {
            condition: Box::new(call(IS_BUILTIN, vec![named()])),
            then_branch: Box::new(lambda),
            else_branch: Some(Box::new(named())),
        }
    }

    /// Have the items counted of what a step gives, unless it only reads fields: those are no more than there were.
    fn count_items(&mut self, step: &mut AstNode) {
        match step {
            AstNode::FunctionApplication(inner) => self.count_items(inner),
            AstNode::Block(items) => {
                if let Some(last) = items.last_mut() {
                    self.count_items(last);
                }
            }
            AstNode::Variable(name) if name.is_empty() => {}
            AstNode::Path { steps } if steps.first().is_some_and(|first| matches!(first.node, AstNode::Name(_))) => {}
            AstNode::Variable(_)
            | AstNode::Path { .. }
            | AstNode::Function { .. }
            | AstNode::Call { .. }
            | AstNode::Conditional { .. }
            | AstNode::Array(_) => {
                self.used.insert(STEP);
                *step = call(STEP, vec![std::mem::replace(step, AstNode::Null)]);
            }
            _ => {}
        }
    }
}

/// The nodes right inside a node that are evaluated.
fn children(ast: &mut AstNode) -> Vec<&mut AstNode> {
    fn of_pairs(pairs: &mut [(AstNode, AstNode)]) -> impl Iterator<Item = &mut AstNode> {
        pairs.iter_mut().flat_map(|(key, value)| [key, value])
    }
    match ast {
        AstNode::Path { steps } => steps.iter_mut().flat_map(in_step).collect(),
        // The name that is bound.
        AstNode::Binary { op: BinaryOp::ColonEqual, rhs, .. } => vec![rhs],
        AstNode::Binary { op: BinaryOp::FocusBind | BinaryOp::IndexBind, lhs, .. } => vec![lhs],
        AstNode::Binary { lhs, rhs, .. } => vec![lhs, rhs],
        AstNode::Unary { operand: inner, .. }
        | AstNode::FunctionApplication(inner)
        | AstNode::Lambda { body: inner, .. } => vec![inner],
        AstNode::Function { args, .. } => args.iter_mut().collect(),
        AstNode::Call { procedure, args } => std::iter::once(&mut **procedure).chain(args).collect(),
        AstNode::Array(items) | AstNode::ArrayGroup(items) | AstNode::Block(items) => items.iter_mut().collect(),
        AstNode::Object(pairs) => of_pairs(pairs).collect(),
        AstNode::ObjectTransform { input, pattern } => std::iter::once(&mut **input).chain(of_pairs(pattern)).collect(),
        AstNode::Conditional { condition, then_branch, else_branch } => {
            [condition, then_branch].into_iter().chain(else_branch).map(|node| &mut **node).collect()
        }
        AstNode::Sort { input, terms } => {
            std::iter::once(&mut **input).chain(terms.iter_mut().map(|(term, _)| term)).collect()
        }
        AstNode::Transform { location, update, delete } => {
            [location, update].into_iter().chain(delete).map(|node| &mut **node).collect()
        }
        _ => Vec::new(),
    }
}

fn in_step(step: &mut PathStep) -> impl Iterator<Item = &mut AstNode> {
    let filters = step.stages.iter_mut().filter_map(|stage| match stage {
        Stage::Filter(filter) => Some(&mut **filter),
        Stage::KeepArray | Stage::Index(_) => None,
    });
    std::iter::once(&mut step.node).chain(filters)
}
