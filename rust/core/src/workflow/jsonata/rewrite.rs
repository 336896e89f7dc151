//! Reading a program's tree: which values it needs, what AWS refuses of it, and where a guard has to be put in.
//!
//! jsonata-core counts time, depth and items, but no bytes: joining, padding and replacing texts make gigabytes of a
//! few. Calls of such functions become calls of guarded ones, which get the context as their last argument.

use std::collections::BTreeSet;

use jsonata_core::ast::{AstNode, BinaryOp, PathStep, Stage};
use jsonata_core::value::with_stack;

use super::guarded::guarded;

/// What is known of a program before it runs.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    /// Names after a `$`: variables and functions.
    pub(super) variables: BTreeSet<String>,
    /// Names that the program binds itself.
    bound: BTreeSet<String>,
    /// It names a guarded function where it does not call it.
    has_values: bool,
    /// Guards that stand for an operator.
    pub(super) guards: BTreeSet<&'static str>,
    /// `input` of `$states.input`, and so on.
    pub(super) states_fields: BTreeSet<String>,
    /// `$states` stands somewhere without a field after it.
    pub(super) reads_whole_states: bool,
    /// What Step Functions refuse, in AWS's words.
    pub(super) unsupported: Option<String>,
    /// It may look at more than the data that it is given. What it makes may share parts, so that forty values are a tree of 2^40.
    pub(super) is_watched: bool,
}

pub(super) const CONCATENATE: &str = "& (guarded)";
/// Counts the items of each value that a step of a path gives: `$a.($b)` has as many as both lists multiplied. Those of lists that functions
/// give, too.
pub(super) const STEP: &str = "step (guarded)";
/// Lets a value pass whose descendants fit into memory. Values share parts: forty of them can be a tree of 2^40. An evaluation that is left
/// behind must not take all memory, so what writes such a tree out needs a guard, and what only looks at it needs none.
pub(super) const IS_BOUNDED: &str = "is bounded (guarded)";
/// Gives back what is to be an object's key, if it fits into memory: an error would have it as a text.
pub(super) const KEY: &str = "key (guarded)";
/// Counts the bytes of what a function gives that `$replace` is given.
pub(super) const BUILT: &str = "built (guarded)";

/// Notes the context of the call that it stands in. A guarded function that is called by its value is given its arguments alone, and what
/// is left out of them is the context.
pub(super) const CONTEXT: &str = "context (guarded)";

/// Learn what there is to know of a program, and put its guards in.
pub(super) fn survey(ast: &mut AstNode) -> Facts {
    let mut facts = Facts { is_watched: !is_plain(ast, true), ..Facts::default() };
    facts.node(ast, true);
    if facts.variables.contains("replace") {
        facts.guards.insert(BUILT);
    }
    let Facts { bound, guards, has_values, .. } = &mut facts;
    let has_values = *has_values || bound.iter().any(|name| guarded(name).is_some());
    guard(ast, &Names { bound, has_values }, guards);
    facts
}

/// What a program's names are.
struct Names<'f> {
    bound: &'f BTreeSet<String>,
    /// A guarded function may be called by its value.
    has_values: bool,
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
                self.has_values |= guarded(name).is_some();
                self.variables.insert(name.clone());
            }
            AstNode::ParentVariable(_) => self.refuse("Reference to '$$' is not supported.".to_owned()),
            AstNode::Path { steps } => self.path(steps, is_top),
            AstNode::Binary { op, lhs, rhs } => {
                if let (BinaryOp::ColonEqual, AstNode::Variable(name)) = (op, lhs.as_ref()) {
                    self.bound.insert(name.clone());
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
            self.bound.extend(step.focus.iter().chain(&step.index_var).cloned());
            match field_of_states {
                Some(field) if position == 0 => {
                    self.variables.insert("states".to_owned());
                    self.states_fields.insert(field.clone());
                }
                _ => self.node(&step.node, is_top && position == 0),
            }
            for stage in &step.stages {
                match stage {
                    Stage::Filter(filter) => self.node(filter, false),
                    Stage::Index(name) => _ = self.bound.insert(name.clone()),
                    Stage::KeepArray => {}
                }
            }
        }
    }
}

/// Direct functions and operators that make much of little to their guarded forms.
///
/// A function whose name the program gives to something of its own, somewhere, is looked up when it is called.
fn guard(ast: &mut AstNode, names: &Names<'_>, guards: &mut BTreeSet<&'static str>) {
    with_stack(|| children(ast).into_iter().for_each(|child| guard(child, names, guards)));
    match ast {
        AstNode::Path { steps } => {
            for step in steps.iter_mut().skip(1) {
                count_items(&mut step.node, guards);
            }
            steps.iter_mut().for_each(rename_bound);
            bound_descendants(steps, guards);
        }
        AstNode::Lambda { params, body, .. } => {
            params.iter_mut().for_each(rename);
            count_list(body, guards);
        }
        AstNode::Variable(name) => rename(name),
        AstNode::Object(pairs) | AstNode::ObjectTransform { pattern: pairs, .. } => {
            for (key, _) in pairs.iter_mut().filter(|(key, _)| !matches!(key, AstNode::String(_))) {
                wrap(key, KEY, guards);
            }
        }
        AstNode::Wildcard => bound_wildcard(ast, guards),
        AstNode::Descendant => {
            let mut steps = vec![PathStep::new(std::mem::replace(ast, AstNode::Null))];
            bound_descendants(&mut steps, guards);
            *ast = AstNode::Path { steps };
        }
        AstNode::Function { name, .. } if names.bound.contains(name) => {
            rename(name);
            if names.has_values {
                pass_context(ast, guards);
            }
        }
        AstNode::Function { name, args, .. } => {
            if let Some(guarded) = guarded(name) {
                guarded.call.clone_into(name);
                args.push(AstNode::Variable(String::new()));
            }
        }
        AstNode::Call { .. } if names.has_values => pass_context(ast, guards),
        AstNode::Binary { op: BinaryOp::Concatenate, lhs, rhs } => {
            let operands = [lhs, rhs].map(|operand| std::mem::replace(operand.as_mut(), AstNode::Null));
            *ast = AstNode::Function { name: CONCATENATE.to_owned(), args: operands.into(), is_builtin: true };
            guards.insert(CONCATENATE);
        }
        AstNode::Binary { op: BinaryOp::Range, .. } => wrap(ast, STEP, guards),
        _ => {}
    }
}

/// Give a name that a guarded function has the one under which its value is found.
fn rename(name: &mut String) {
    if let Some(guarded) = guarded(name) {
        guarded.value.clone_into(name);
    }
}

fn rename_bound(step: &mut PathStep) {
    step.focus.iter_mut().chain(&mut step.index_var).for_each(rename);
    for stage in &mut step.stages {
        if let Stage::Index(name) = stage {
            rename(name);
        }
    }
}

/// Have the context of a call noted when all else that it needs is there: its last argument, or without one the function.
fn pass_context(call: &mut AstNode, guards: &mut BTreeSet<&'static str>) {
    if let AstNode::Function { name, args, is_builtin: true } = call {
        if args.is_empty() {
            let procedure = Box::new(AstNode::Variable(std::mem::take(name)));
            *call = AstNode::Call { procedure, args: Vec::new() };
        }
    }
    let (AstNode::Function { args, .. } | AstNode::Call { args, .. }) = &mut *call else { return };
    if args.iter().any(|argument| matches!(argument, AstNode::Placeholder)) {
        return;
    }
    let last = match call {
        AstNode::Function { args, .. } => args.last_mut(),
        AstNode::Call { procedure, args } => Some(args.last_mut().unwrap_or(&mut **procedure)),
        _ => None,
    };
    if let Some(last) = last {
        let args = vec![std::mem::replace(last, AstNode::Null), AstNode::Variable(String::new())];
        *last = AstNode::Function { name: CONTEXT.to_owned(), args, is_builtin: true };
        guards.insert(CONTEXT);
    }
}

/// Have a value looked at by a guard that gives it back.
fn wrap(node: &mut AstNode, guard: &'static str, guards: &mut BTreeSet<&'static str>) {
    let args = vec![std::mem::replace(node, AstNode::Null)];
    *node = AstNode::Function { name: guard.to_owned(), args, is_builtin: true };
    guards.insert(guard);
}

/// Have the value looked at whose descendants a step gives: such steps take lists apart, so that a filter before them changes nothing. A
/// path that goes back to parents keeps those of all its steps.
fn bound_descendants(steps: &mut Vec<PathStep>, guards: &mut BTreeSet<&'static str>) {
    match steps.first_mut().map(|first| &mut first.node) {
        Some(AstNode::Descendant) => steps.insert(0, PathStep::new(AstNode::Variable(String::new()))),
        Some(node @ AstNode::Wildcard) => bound_wildcard(node, guards),
        _ => {}
    }
    let goes_back = steps.iter().any(|step| matches!(step.node, AstNode::Parent(_)));
    for at in 1..steps.len() {
        if writes_out(&steps[at].node) || (at == 1 && goes_back) {
            steps[at - 1].stages.push(Stage::Filter(Box::new(is_bounded(guards))));
        }
    }
}

/// Have the context looked at before its fields are taken: a list is one value here.
fn bound_wildcard(node: &mut AstNode, guards: &mut BTreeSet<&'static str>) {
    let then_branch = Box::new(std::mem::replace(node, AstNode::Null));
    *node = AstNode::Conditional { condition: Box::new(is_bounded(guards)), then_branch, else_branch: None };
}

fn is_bounded(guards: &mut BTreeSet<&'static str>) -> AstNode {
    guards.insert(IS_BOUNDED);
    let args = vec![AstNode::Variable(String::new())];
    AstNode::Function { name: IS_BOUNDED.to_owned(), args, is_builtin: true }
}

fn writes_out(node: &AstNode) -> bool {
    matches!(node, AstNode::Descendant | AstNode::Wildcard)
}

/// Have the items counted of what a step gives, unless it only reads fields: those are no more than there were.
fn count_items(step: &mut AstNode, guards: &mut BTreeSet<&'static str>) {
    match step {
        AstNode::FunctionApplication(inner) => count_items(inner, guards),
        AstNode::Block(items) => {
            if let Some(last) = items.last_mut() {
                count_items(last, guards);
            }
        }
        AstNode::Variable(name) if name.is_empty() => {}
        AstNode::Path { steps } if steps.first().is_some_and(|first| matches!(first.node, AstNode::Name(_))) => {}
        AstNode::Variable(_)
        | AstNode::Path { .. }
        | AstNode::Function { .. }
        | AstNode::Call { .. }
        | AstNode::Conditional { .. }
        | AstNode::Array(_) => wrap(step, STEP, guards),
        _ => {}
    }
}

/// Have the items counted of a list that a function writes out as its value: `$map` and `$reduce` make many of them.
fn count_list(body: &mut AstNode, guards: &mut BTreeSet<&'static str>) {
    match body {
        AstNode::Array(_) => wrap(body, STEP, guards),
        AstNode::Block(items) => {
            if let Some(last) = items.last_mut() {
                count_list(last, guards);
            }
        }
        AstNode::Conditional { then_branch, else_branch, .. } => {
            count_list(then_branch, guards);
            if let Some(branch) = else_branch {
                count_list(branch, guards);
            }
        }
        _ => {}
    }
}

/// The nodes right inside a node. `**` and `*` as steps are bounded by the step before them.
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
    std::iter::once(&mut step.node).filter(|node| !writes_out(node)).chain(filters)
}

/// Functions whose results are no larger than what they are given, and are texts, numbers or truth values.
const OF_TEXTS_AND_NUMBERS: &[&str] = &[
    "abs",
    "average",
    "base64decode",
    "base64encode",
    "boolean",
    "ceil",
    "contains",
    "count",
    "decodeUrl",
    "decodeUrlComponent",
    "encodeUrl",
    "encodeUrlComponent",
    "exists",
    "floor",
    "formatBase",
    "formatInteger",
    "formatNumber",
    "fromMillis",
    "hash",
    "join",
    "length",
    "lowercase",
    "max",
    "millis",
    "min",
    "not",
    "now",
    "number",
    "pad",
    "parseInteger",
    "power",
    "random",
    "replace",
    "round",
    "sqrt",
    "string",
    "substring",
    "substringAfter",
    "substringBefore",
    "sum",
    "toMillis",
    "trim",
    "type",
    "uppercase",
    "uuid",
];
/// Functions of lists and objects that look at each once.
const OF_LISTS: &[&str] =
    &["append", "keys", "lookup", "merge", "parse", "partition", "range", "reverse", "shuffle", "spread", "zip"];

/// Whether a program looks at the data that it is given, and at nothing that it has made of them: it binds nothing, and its lists,
/// objects and functions' results are its own result (`is_result`) and are read no more. Whatever is not known to be so is not.
fn is_plain(node: &AstNode, is_result: bool) -> bool {
    with_stack(|| is_plain_inside(node, is_result))
}

fn is_plain_inside(node: &AstNode, is_result: bool) -> bool {
    let are_plain = |nodes: &[AstNode]| nodes.iter().all(|node| is_plain(node, is_result));
    match node {
        AstNode::String(_)
        | AstNode::Name(_)
        | AstNode::Number(_)
        | AstNode::Boolean(_)
        | AstNode::Null
        | AstNode::Undefined
        | AstNode::Variable(_)
        | AstNode::Wildcard => true,
        AstNode::Path { steps } => is_plain_path(steps, is_result),
        AstNode::Unary { operand, .. } => is_plain(operand, false),
        AstNode::Binary { op, lhs, rhs } => match op {
            BinaryOp::ColonEqual | BinaryOp::FocusBind | BinaryOp::IndexBind | BinaryOp::ChainPipe => false,
            BinaryOp::Default | BinaryOp::Coalesce => is_plain(lhs, false) && is_plain(rhs, is_result),
            _ => is_plain(lhs, false) && is_plain(rhs, false),
        },
        AstNode::Function { name, args, .. } => {
            let is_known = OF_TEXTS_AND_NUMBERS.contains(&name.as_str());
            (is_known || (is_result && OF_LISTS.contains(&name.as_str())))
                && args.iter().all(|argument| is_plain(argument, false))
        }
        AstNode::Array(items) if items.iter().all(is_flat) => true,
        AstNode::Array(items) | AstNode::ArrayGroup(items) => is_result && are_plain(items),
        AstNode::Object(pairs) => {
            is_result && pairs.iter().all(|(key, value)| is_plain(key, false) && is_plain(value, true))
        }
        AstNode::Block(items) => {
            items.split_last().is_none_or(|(last, before)| before.is_empty() && is_plain(last, is_result))
        }
        AstNode::Conditional { condition, then_branch, else_branch } => {
            is_plain(condition, false)
                && is_plain(then_branch, is_result)
                && else_branch.as_deref().is_none_or(|branch| is_plain(branch, is_result))
        }
        _ => false,
    }
}

/// Whether all that a list gets of it are texts and numbers, so that it can be looked at again.
fn is_flat(item: &AstNode) -> bool {
    match item {
        AstNode::String(_) | AstNode::Number(_) | AstNode::Boolean(_) | AstNode::Null => true,
        AstNode::Binary { op: BinaryOp::Range, lhs, rhs } => is_plain(lhs, false) && is_plain(rhs, false),
        _ => false,
    }
}

/// Only the last step may make something of each item that it is given.
fn is_plain_path(steps: &[PathStep], is_result: bool) -> bool {
    steps.iter().enumerate().all(|(at, step)| {
        let is_read = at == 0 || matches!(step.node, AstNode::Name(_) | AstNode::Wildcard);
        let is_last = at + 1 == steps.len();
        let made = is_result && is_last && step.stages.is_empty();
        let stages_are_plain = step.stages.iter().all(|stage| match stage {
            Stage::Filter(filter) => is_plain(filter, false),
            Stage::KeepArray => true,
            Stage::Index(_) => false,
        });
        (is_read || is_last) && is_plain(&step.node, made) && !step.is_tuple && stages_are_plain
    })
}
