//! Where work comes from, a folder for each kind.

pub(crate) mod common;
pub mod invocation;
pub mod queue;
pub mod stream;
#[cfg(test)]
pub(crate) mod ticks;
