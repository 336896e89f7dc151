//! The engine as a whole: its lock, its threads, its turn.

pub(crate) mod commits;
pub(crate) mod deletion;
pub mod engine;
pub(crate) mod environments;
pub(crate) mod failures;
pub(crate) mod functions;
pub(crate) mod hand_out;
pub(crate) mod launching;
pub mod measuring;
pub mod metric_points;
pub(crate) mod participants;
pub(crate) mod permits;
pub mod recovery;
pub mod requests;
pub mod rooms;
pub mod runners;
pub mod settle;
#[cfg(test)]
pub(crate) mod test_engine;
pub mod threads;
pub(crate) mod under_way;
pub mod wakes;
pub(crate) mod wanted;
pub mod why;
