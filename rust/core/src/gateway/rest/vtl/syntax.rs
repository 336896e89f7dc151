//! What a template is made of.

use std::collections::HashMap;
use std::sync::Arc;

/// A piece of a template.
#[derive(Debug)]
pub(super) enum Node {
    Text(String),
    Reference(Reference),
    Set(Reference, Expr),
    /// Conditions with their blocks; what stands under `#else`.
    If(Vec<(Expr, Vec<Node>)>, Vec<Node>),
    Foreach {
        name: String,
        over: Expr,
        body: Vec<Node>,
    },
    Break,
    Stop,
    /// A block that is rendered where the name is used.
    Define(String, Vec<Node>),
    /// `#name(…)`: a macro's call, or text where no macro has this name.
    Call {
        name: String,
        arguments: Vec<Expr>,
        text: String,
    },
}

/// `$name.field[0].method(…)`.
#[derive(Debug)]
pub(super) struct Reference {
    pub(super) name: String,
    pub(super) steps: Vec<Step>,
    /// Where it stands in the template, from 0.
    pub(super) at: usize,
}

/// A step from a value to one of its parts.
#[derive(Debug)]
pub(super) enum Step {
    Field(String),
    Index(Expr),
    Method(String, Vec<Expr>),
}

#[derive(Debug)]
pub(super) enum Expr {
    Whole(i64),
    Float(f64),
    Flag(bool),
    Text(String),
    /// A text in double quotes with references or directives in it.
    Rendered(Vec<Node>),
    Reference(Reference),
    List(Vec<Expr>),
    Range(Box<Expr>, Box<Expr>),
    Map(Vec<(Expr, Expr)>),
    Not(Box<Expr>),
    Minus(Box<Expr>),
    Binary(Operator, Box<Expr>, Box<Expr>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Or,
    And,
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

/// `#macro(name $a $b) … #end`.
#[derive(Debug)]
pub(super) struct Macro {
    pub(super) parameters: Vec<String>,
    pub(super) body: Vec<Node>,
}

/// The macros of a template, by name.
pub(super) type Macros = HashMap<String, Arc<Macro>>;
