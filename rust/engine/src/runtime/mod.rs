//! The engine as a whole: its lock, its threads, its turn, and how it opens.

pub mod bell;
pub mod engine;
pub mod measuring;
pub mod metric_points;
pub mod open;
pub mod recovery;
pub mod requests;
pub mod rooms;
pub mod settle;
#[cfg(test)]
pub(crate) mod test_engine;
pub mod threads;
pub mod wakes;
pub mod why;
