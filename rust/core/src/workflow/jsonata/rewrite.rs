//! Reading a program's tree: which values it needs, what AWS refuses of it, and where a guard has to be put in.
//!
//! jsonata-core counts time, depth and items, but no bytes: joining, padding and replacing texts make gigabytes of a
//! few. Such functions are replaced by guarded ones, which get the context as their last argument.

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

/// The functions that are guarded, each with its guarded form's name, which no program can write, and with the number of arguments that it
/// is given where a function takes it as a value.
const GUARDED: [(&str, &str, usize); 7] = [
    ("distinct", "distinct (guarded)", 1),
    ("formatInteger", "formatInteger (guarded)", 2),
    ("join", "join (guarded)", 2),
    ("pad", "pad (guarded)", 3),
    ("parseInteger", "parseInteger (guarded)", 2),
    ("replace", "replace (guarded)", 4),
    ("string", "string (guarded)", 1),
];
pub(super) const CONCATENATE: &str = "& (guarded)";
/// Counts the items of each value that a step of a path gives: `$a.($b)` has as many as both lists multiplied. Those of lists that functions
/// give, too.
pub(super) const STEP: &str = "step (guarded)";
/// Gives back a value that is not too large to be looked at as a whole. Values share parts: forty of them can be a tree of 2^40.
pub(super) const BOUNDED: &str = "bounded (guarded)";
/// The same, as a filter that lets everything pass.
pub(super) const IS_BOUNDED: &str = "is bounded (guarded)";

fn guarded_form(name: &str) -> Option<&'static str> {
    GUARDED.iter().find(|(plain, ..)| *plain == name).map(|(_, guarded, _)| *guarded)
}

/// Learn what there is to know of a program.
pub(super) fn survey(ast: &AstNode) -> Facts {
    let mut facts = Facts::default();
    facts.node(ast, true);
    let needed: Vec<_> = facts.variables.iter().filter_map(|name| guarded_form(name)).collect();
    facts.guarded.extend(needed);
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
                match op {
                    BinaryOp::Concatenate => self.guarded.insert(CONCATENATE),
                    BinaryOp::Equal | BinaryOp::NotEqual | BinaryOp::In => self.guarded.insert(BOUNDED),
                    _ => false,
                };
                self.nodes([lhs.as_ref(), rhs], is_top);
            }
            AstNode::Unary { operand, .. } => self.node(operand, is_top),
            AstNode::Descendant => {
                self.guarded.insert(IS_BOUNDED);
            }
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

/// The guarded functions' names that a program gives to values of its own, where the rewriting is.
#[derive(Default)]
pub(super) struct Scope {
    bound: Vec<String>,
    /// What the blocks around bind at some time: a function is called when they have.
    later: Vec<String>,
}

impl Scope {
    fn has(&self, name: &str) -> bool {
        self.bound.iter().any(|bound| bound == name)
    }

    /// Give a name of the program's own another one, under which nobody looks for the function.
    fn bind(&mut self, name: &mut String) {
        if guarded_form(name).is_some() {
            let own = own_name(name);
            self.bound.push(std::mem::replace(name, own));
        }
    }

    fn inside(&mut self, node: &mut AstNode, facts: &Facts) -> bool {
        let outer = [self.bound.len(), self.later.len()];
        let mut counts = false;
        match node {
            AstNode::Lambda { params, body, .. } => {
                self.bound.extend(self.later.iter().cloned());
                for param in params {
                    self.bind(param);
                }
                counts |= guard(body, facts, self);
            }
            AstNode::Block(items) => {
                let bound = items.iter().filter_map(|item| match item {
                    AstNode::Binary { op: BinaryOp::ColonEqual, lhs, .. } => match lhs.as_ref() {
                        AstNode::Variable(name) if guarded_form(name).is_some() => Some(name.clone()),
                        _ => None,
                    },
                    _ => None,
                });
                self.later.extend(bound.collect::<Vec<_>>());
                for item in items {
                    counts |= guard(item, facts, self);
                }
            }
            AstNode::Binary { op: BinaryOp::ColonEqual, lhs, rhs } => {
                counts |= guard(rhs, facts, self);
                if let AstNode::Variable(name) = lhs.as_mut() {
                    self.bind(name);
                }
                return counts;
            }
            AstNode::Path { steps } => {
                for step in steps {
                    // `**` as a step is bounded by the step before it.
                    let own = usize::from(matches!(step.node, AstNode::Descendant));
                    for part in in_step(step).skip(own) {
                        counts |= guard(part, facts, self);
                    }
                }
                return counts;
            }
            _ => {
                for child in children(node) {
                    counts |= guard(child, facts, self);
                }
                return counts;
            }
        }
        self.bound.truncate(outer[0]);
        self.later.truncate(outer[1]);
        counts
    }
}

fn own_name(name: &str) -> String {
    format!("{name} (own)")
}

/// Direct functions and operators that make much of little, or look at all of it, to their guarded forms. Tells whether steps are counted.
pub(super) fn guard(ast: &mut AstNode, facts: &Facts, scope: &mut Scope) -> bool {
    let mut counts = with_stack(|| scope.inside(ast, facts));
    match ast {
        AstNode::Path { steps } => {
            for step in steps.iter_mut().skip(1) {
                counts |= count_items(&mut step.node);
            }
            bound_descendants(steps);
        }
        AstNode::Lambda { body, .. } => counts |= count_list(body),
        AstNode::Descendant => {
            let mut steps = vec![PathStep::new(std::mem::replace(ast, AstNode::Null))];
            bound_descendants(&mut steps);
            *ast = AstNode::Path { steps };
        }
        AstNode::Variable(name) | AstNode::Function { name, .. } if scope.has(name) => *name = own_name(name),
        AstNode::Variable(name) => {
            if let Some((_, guarded, arguments)) = GUARDED.iter().find(|(plain, ..)| plain == name) {
                *ast = as_value(guarded, *arguments);
            }
        }
        AstNode::Function { name, args, .. } => {
            if matches!(name.as_str(), "map" | "filter" | "each" | "single") && !facts.bound.contains(name) {
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
        // To compare values costs what the smaller of them is, and a literal is small.
        AstNode::Binary { op: BinaryOp::Equal | BinaryOp::NotEqual | BinaryOp::In, lhs, rhs }
            if !is_literal(lhs) && !is_literal(rhs) =>
        {
            wrap(lhs, BOUNDED);
        }
        _ => {}
    }
    counts
}

/// A guarded function where its plain one stands as a value: its context is the one that it stands in.
fn as_value(guarded: &str, arguments: usize) -> AstNode {
    let params: Vec<String> = (0..arguments).map(|at| format!("argument{at}")).collect();
    let context = std::iter::once(String::new());
    let args = params.iter().cloned().chain(context).map(AstNode::Variable).collect();
    let call = AstNode::Function { name: guarded.to_owned(), args, is_builtin: true };
    AstNode::Lambda { params, body: Box::new(call), signature: None, thunk: false }
}

fn is_literal(node: &AstNode) -> bool {
    matches!(node, AstNode::String(_) | AstNode::Number(_) | AstNode::Boolean(_) | AstNode::Null | AstNode::Undefined)
}

fn wrap(node: &mut AstNode, function: &str) {
    let args = vec![std::mem::replace(node, AstNode::Null)];
    *node = AstNode::Function { name: function.to_owned(), args, is_builtin: true };
}

/// Have the value looked at whose descendants a step gives: `**` takes lists apart, so that a filter before it changes nothing.
fn bound_descendants(steps: &mut Vec<PathStep>) {
    let is_bounded = || {
        let args = vec![AstNode::Variable(String::new())];
        Stage::Filter(Box::new(AstNode::Function { name: IS_BOUNDED.to_owned(), args, is_builtin: true }))
    };
    if matches!(steps.first(), Some(first) if matches!(first.node, AstNode::Descendant)) {
        steps.insert(0, PathStep::new(AstNode::Variable(String::new())));
    }
    for at in 1..steps.len() {
        if matches!(steps[at].node, AstNode::Descendant) {
            steps[at - 1].stages.push(is_bounded());
        }
    }
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
            wrap(step, STEP);
            true
        }
        _ => false,
    }
}

/// Have the items counted of a list that a function writes out as its value: `$map` and `$reduce` make many of them.
fn count_list(body: &mut AstNode) -> bool {
    match body {
        AstNode::Array(_) => {
            wrap(body, STEP);
            true
        }
        AstNode::Block(items) => items.last_mut().is_some_and(count_list),
        AstNode::Conditional { then_branch, else_branch, .. } => {
            count_list(then_branch) | else_branch.as_deref_mut().is_some_and(count_list)
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
