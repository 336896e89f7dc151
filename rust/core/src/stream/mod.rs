//! One shard's life under one event source mapping: fetched records become batches, outcomes become progress.
//!
//! `machine` owns the state; `lanes` keeps order per key; `batch` cuts; `fate` decides after a failure; `checkpoint`
//! says what a restart may skip. Positions are the shard's own dense counter (`0, 1, 2, …`); their public decimal form
//! is `sequence::number`.

pub mod checkpoint;
pub mod face;
pub mod report;
