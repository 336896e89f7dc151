//! Reading a program's tree: which values it needs, what AWS refuses of it, and where a guard has to be put in.
//!
//! jsonata-core counts time, depth and items, but no bytes: joining, padding and replacing texts make gigabytes of a
//! few. Calls of such functions are directed to guarded ones, which get the context as their last argument.

use std::collections::BTreeSet;

use jsonata_core::ast::{AstNode, BinaryOp, PathStep, Stage};
use jsonata_core::value::with_stack;

/// What is known of a program before it runs.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    /// Names after a `$`: variables and functions.
    pub(super) variables: BTreeSet<String>,
    /// Names that the program binds itself.
    bound: BTreeSet<String>,
    /// The guarded functions it calls.
    pub(super) guarded: BTreeSet<&'static str>,
    /// `input` of `$states.input`, and so on.
    pub(super) states_fields: BTreeSet<String>,
    /// `$states` stands somewhere without a field after it.
    pub(super) reads_whole_states: bool,
    /// What Step Functions refuse, in AWS's words.
    pub(super) unsupported: Option<String>,
}

/// The functions that are guarded, each with its guarded form's name, which no program can write.
const GUARDED: [(&str, &str); 7] = [
    ("distinct", "distinct (guarded)"),
    ("formatInteger", "formatInteger (guarded)"),
    ("join", "join (guarded)"),
    ("pad", "pad (guarded)"),
    ("parseInteger", "parseInteger (guarded)"),
    ("replace", "replace (guarded)"),
    ("string", "string (guarded)"),
];
pub(super) const CONCATENATE: &str = "& (guarded)";
/// Counts the items of each value that a step of a path gives: `$a.($b)` has as many as both lists multiplied.
pub(super) const STEP: &str = "step (guarded)";

fn guarded_form(name: &str) -> Option<&'static str> {
    GUARDED.iter().find(|(plain, _)| *plain == name).map(|(_, guarded)| *guarded)
}

/// Learn what there is to know of a program.
pub(super) fn survey(ast: &AstNode) -> Facts {
    let mut facts = Facts::default();
    facts.node(ast, true);
    let needed =
        facts.variables.iter().filter(|name| !facts.bound.contains(*name)).filter_map(|name| guarded_form(name));
    facts.guarded.extend(needed.collect::<Vec<_>>());
    facts
}

impl Facts {
    /// `is_top` says whether the node's context is the top level's, where there is none.
    fn node(&mut self, node: &AstNode, is_top: bool) {
        with_stack(|| self.visit(node, is_top));
    }

    fn nodes<'n>(&mut self, nodes: impl IntoIterator<Item = &'n AstNode>, is_top: bool) {
        nodes.into_iter().for_each(|node| self.node(node, is_top));
    }

    fn pairs(&mut self, pairs: &[(AstNode, AstNode)], is_top: bool) {
        self.nodes(pairs.iter().flat_map(|(key, value)| [key, value]), is_top);
    }

    fn refuse(&mut self, message: String) {
        self.unsupported.get_or_insert(message);
    }

    fn visit(&mut self, node: &AstNode, is_top: bool) {
        match node {
            AstNode::Name(name) if is_top => {
                self.refuse(format!("Reference to '{name}' at the top level is not supported."));
            }
            AstNode::Variable(name) => {
                self.reads_whole_states |= name == "states";
                self.variables.insert(name.clone());
            }
            AstNode::ParentVariable(_) => self.refuse("Reference to '$$' is not supported.".to_owned()),
            AstNode::Path { steps } => self.path(steps, is_top),
            AstNode::Binary { op, lhs, rhs } => {
                if let (BinaryOp::ColonEqual, AstNode::Variable(name)) = (op, lhs.as_ref()) {
                    self.bound.insert(name.clone());
                }
                if *op == BinaryOp::Concatenate {
                    self.guarded.insert(CONCATENATE);
                }
                self.nodes([lhs.as_ref(), rhs], is_top);
            }
            AstNode::Unary { operand, .. } => self.node(operand, is_top),
            AstNode::Function { name, args, .. } => {
                self.variables.insert(name.clone());
                self.nodes(args, is_top);
            }
            AstNode::Call { procedure, args } => {
                self.node(procedure, is_top);
                self.nodes(args, is_top);
            }
            AstNode::Lambda { params, body, .. } => {
                self.bound.extend(params.iter().cloned());
                self.node(body, is_top);
            }
            AstNode::Array(items) | AstNode::ArrayGroup(items) | AstNode::Block(items) => self.nodes(items, is_top),
            AstNode::Object(pairs) => self.pairs(pairs, is_top),
            AstNode::ObjectTransform { input, pattern } => {
                self.node(input, is_top);
                self.pairs(pattern, false);
            }
            AstNode::Conditional { condition, then_branch, else_branch } => {
                self.nodes([condition.as_ref(), then_branch], is_top);
                self.nodes(else_branch.as_deref(), is_top);
            }
            AstNode::FunctionApplication(inner) => self.node(inner, is_top),
            AstNode::Sort { input, terms } => {
                self.node(input, is_top);
                self.nodes(terms.iter().map(|(term, _)| term), false);
            }
            AstNode::Transform { location, update, delete } => {
                self.nodes([location.as_ref(), update], false);
                self.nodes(delete.as_deref(), false);
            }
            _ => {}
        }
    }

    /// Only the first step of a path is read in the context that the path stands in.
    fn path(&mut self, steps: &[PathStep], is_top: bool) {
        let field_of_states = match steps {
            [first, second, ..]
                if first.stages.is_empty() && matches!(&first.node, AstNode::Variable(name) if name == "states") =>
            {
                match &second.node {
                    AstNode::Name(field) => Some(field),
                    _ => None,
                }
            }
            _ => None,
        };
        for (position, step) in steps.iter().enumerate() {
            match field_of_states {
                Some(field) if position == 0 => {
                    self.variables.insert("states".to_owned());
                    self.states_fields.insert(field.clone());
                }
                _ => self.node(&step.node, is_top && position == 0),
            }
            for stage in &step.stages {
                if let Stage::Filter(filter) = stage {
                    self.node(filter, false);
                }
            }
        }
    }
}

/// `$map(texts, $parse)`: a function that gets an item with its index and its list must be told to take the item only.
fn take_one_argument(args: &mut [AstNode], facts: &Facts) {
    // The first argument is the list, unless the list comes from a chain.
    let first = usize::from(args.len() > 1);
    for argument in &mut args[first..] {
        if matches!(argument, AstNode::Variable(name) if name == "parse" && !facts.bound.contains(name)) {
            let value = || "value".to_owned();
            let call = AstNode::Function {
                name: "parse".to_owned(),
                args: vec![AstNode::Variable(value())],
                is_builtin: true,
            };
            *argument = AstNode::Lambda { params: vec![value()], body: Box::new(call), signature: None, thunk: false };
        }
    }
}

/// Direct the calls of functions that make much of little to their guarded forms. Tells whether steps are counted.
pub(super) fn guard(ast: &mut AstNode, facts: &Facts) -> bool {
    let mut counts = with_stack(|| children(ast).into_iter().fold(false, |counts, node| guard(node, facts) | counts));
    match ast {
        AstNode::Path { steps } => {
            for step in steps.iter_mut().skip(1) {
                counts |= count_items(&mut step.node);
            }
        }
        AstNode::Function { name, args, .. } if !facts.bound.contains(name.as_str()) => {
            if matches!(name.as_str(), "map" | "filter" | "each" | "single") {
                take_one_argument(args, facts);
            }
            if let Some(guarded) = guarded_form(name) {
                guarded.clone_into(name);
                args.push(AstNode::Variable(String::new()));
            }
        }
        AstNode::Binary { op: BinaryOp::Concatenate, lhs, rhs } => {
            let operands = [lhs, rhs].map(|operand| std::mem::replace(operand.as_mut(), AstNode::Null));
            *ast = AstNode::Function { name: CONCATENATE.to_owned(), args: operands.into(), is_builtin: true };
        }
        AstNode::Binary { op: BinaryOp::ChainPipe, rhs, .. } => {
            // `list ~> $distinct` is a call, too.
            let guarded = match rhs.as_ref() {
                AstNode::Variable(name) if !facts.bound.contains(name) => guarded_form(name),
                _ => None,
            };
            if let Some(guarded) = guarded {
                let args = vec![AstNode::Variable(String::new())];
                **rhs = AstNode::Function { name: guarded.to_owned(), args, is_builtin: true };
            }
        }
        _ => {}
    }
    counts
}

/// Have the items counted of what a step gives, unless it only reads fields: those are no more than there were.
fn count_items(step: &mut AstNode) -> bool {
    match step {
        AstNode::FunctionApplication(inner) => count_items(inner),
        AstNode::Block(items) => items.last_mut().is_some_and(count_items),
        AstNode::Variable(name) if name.is_empty() => false,
        AstNode::Path { steps } if steps.first().is_some_and(|first| matches!(first.node, AstNode::Name(_))) => false,
        AstNode::Variable(_)
        | AstNode::Path { .. }
        | AstNode::Function { .. }
        | AstNode::Call { .. }
        | AstNode::Conditional { .. }
        | AstNode::Array(_) => {
            let args = vec![std::mem::replace(step, AstNode::Null)];
            *step = AstNode::Function { name: STEP.to_owned(), args, is_builtin: true };
            true
        }
        _ => false,
    }
}

/// The nodes right inside a node.
fn children(ast: &mut AstNode) -> Vec<&mut AstNode> {
    fn both(pairs: &mut [(AstNode, AstNode)]) -> impl Iterator<Item = &mut AstNode> {
        pairs.iter_mut().flat_map(|(key, value)| [key, value])
    }
    match ast {
        AstNode::Path { steps } => steps.iter_mut().flat_map(in_step).collect(),
        AstNode::Binary { lhs, rhs, .. } => vec![lhs, rhs],
        AstNode::Unary { operand: inner, .. }
        | AstNode::FunctionApplication(inner)
        | AstNode::Lambda { body: inner, .. } => vec![inner],
        AstNode::Function { args, .. } => args.iter_mut().collect(),
        AstNode::Call { procedure, args } => std::iter::once(&mut **procedure).chain(args).collect(),
        AstNode::Array(items) | AstNode::ArrayGroup(items) | AstNode::Block(items) => items.iter_mut().collect(),
        AstNode::Object(pairs) => both(pairs).collect(),
        AstNode::ObjectTransform { input, pattern } => std::iter::once(&mut **input).chain(both(pattern)).collect(),
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
