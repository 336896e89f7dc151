//! Workflows: what a state machine's expressions mean, and the machine that runs them.
//!
//! Everything is bounded: nesting, the nodes a path may visit, the bytes and the milliseconds an expression may take, the
//! events of an execution.

pub mod budget;
pub mod choice;
pub mod definition;
mod digest;
pub mod intrinsic;
pub mod jsonata;
pub mod machine;
pub mod path;
mod query;
mod random;
pub mod scope;
pub mod template;
mod text;
pub mod timestamp;
pub mod value;

#[cfg(test)]
mod recorded;
