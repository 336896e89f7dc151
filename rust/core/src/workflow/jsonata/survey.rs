//! Reading a program's tree: which values it needs, and what AWS refuses of it.

use std::collections::BTreeSet;

use jsonata_core::ast::{AstNode, BinaryOp, PathStep, Stage};
use jsonata_core::value::with_stack;

/// What is known of a program before it runs.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    /// Names after a `$`: variables and functions.
    pub(super) variables: BTreeSet<String>,
    /// Names that the program binds itself, anywhere.
    pub(super) bound: BTreeSet<String>,
    /// The guarded functions it calls, known when the guards are put in.
    pub(super) guarded: BTreeSet<&'static str>,
    /// `input` of `$states.input`, and so on.
    pub(super) states_fields: BTreeSet<String>,
    /// `$states` stands somewhere without a field after it.
    pub(super) reads_whole_states: bool,
    /// What Step Functions refuse, in AWS's words.
    pub(super) unsupported: Option<String>,
}

/// Learn what there is to know of a program.
pub(super) fn survey(ast: &AstNode) -> Facts {
    let mut facts = Facts::default();
    facts.node(ast, true);
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
