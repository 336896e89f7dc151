//! One shard's life under one event source mapping: fetched records become batches, outcomes become progress.
//!
//! `machine` owns the state and takes the facts; `dispatch` does what has become possible; `lane_reset` changes the lanes; `lane_reservation`
//! keeps them for what is run again; `intake` says what to read; `lanes` keeps order per key; `batch` cuts; `fate` decides
//! after an attempt; `window` is the tumbling window; `suspects` isolates what killed the process; `checkpoint` says what a
//! restart may skip; `report` reads a handler's answer; `status` tells people. Positions are the shard's own dense counter
//! (`0, 1, 2, …`); their public decimal form is `sequence::number`.

mod backoff;
mod batch;
pub mod checkpoint;
mod dispatch;
mod fate;
mod intake;
mod lane;
mod lane_reservation;
mod lane_reset;
mod machine;
pub mod protocol;
pub mod report;
pub mod status;
mod suspects;
mod tumbling_window;

pub use machine::ShardMachine;
