//! Workflows: what a state machine's expressions mean. Values in, values or AWS's error texts out.
//!
//! Nothing here keeps a state between calls, and everything is bounded: nesting, the nodes a path may visit, the bytes
//! and the milliseconds an expression may take.

pub mod choice;
mod digest;
pub mod intrinsic;
pub mod jsonata;
pub mod path;
mod random;
pub mod scope;
pub mod template;
pub mod timestamp;
pub mod value;

#[cfg(test)]
mod recorded;
