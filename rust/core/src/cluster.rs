//! Several processes on one store: who is alive, who owns a unit of it, and when an owner must stop.
//!
//! Beats are for liveness, and the head row of a unit is for safety: whoever takes a unit changes its head by compare-and-set, and each
//! commit of the owner expects the head that it wrote last. So even a wrong decision here never writes anything twice; it costs a handler
//! that runs in two processes.

mod lease;
mod placement;
mod store_time;

pub use lease::{Command, Head, Lease, Rules, Stopped, Taken, View};
pub use placement::placed;
pub use store_time::{on_machine, StoreTime};

/// A process on its way from start to end. A process that starts again has another name.
pub type Member = String;
/// The number of a unit of ownership.
pub type UnitId = u32;

#[cfg(test)]
mod tests;
