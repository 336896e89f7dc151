//! A queue's life: which messages may be handed out, what becomes of them, and what a restart must know of it.
//!
//! `machine` owns the state of a queue and takes the facts; `receive` hands messages out, `settle` takes them back; `line`
//! holds what waits, `standard` and `fifo` by the rule of the queue's kind. `fifo` is the group-aware batcher, which can be
//! used on its own. `ages` finds what retention removes; `attempts` repeats a receive whose answer was lost.
//! `dedup` tells a FIFO queue which message it has seen before. [`crate::timeline`] keeps waits safe from jumps of the wall clock.

mod ages;
mod attempts;
pub mod dedup;
pub mod fifo;
mod groups;
mod linked_lists;
mod machine;
pub mod protocol;
mod receive;
mod settle;
mod standard;
mod waiting;

pub use machine::{QueueMachine, DELAY_MS_MAX, VISIBILITY_MS_MAX};
