//! Where work comes from, a folder for each kind.

pub mod invocation;
pub mod queue;
pub mod stream;
